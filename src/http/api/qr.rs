//! QR codes, drawn here so that the page needs nobody else's.

use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE};
use axum::response::IntoResponse;
use qrcode::render::svg;
use qrcode::{EcLevel, QrCode};
use serde::Deserialize;

use super::answers::{Asked, Failure};

/// Bytes of the longest text: the largest code holds 2,953.
const MAX_TEXT_LEN: usize = 2_900;

/// Units of the drawing that a module of the code takes.
const MODULE: u32 = 4;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Wish {
    text: String,
}

pub(super) async fn qr(Asked(wish): Asked<Wish>) -> Result<impl IntoResponse, Failure> {
    let drawing = draw(&wish.text)?;
    let headers = [(CONTENT_TYPE, "image/svg+xml"), (CACHE_CONTROL, "private, max-age=86400")];
    Ok((headers, drawing))
}

/// Black on white with a margin of four modules (the quiet zone), whatever the page looks like:
/// cameras need it so. Short texts get a code that can be read though some of it is smudged.
fn draw(text: &str) -> Result<String, Failure> {
    if text.is_empty() || text.len() > MAX_TEXT_LEN {
        let found = text.len();
        let message =
            format!("a QR code of {found} bytes cannot be drawn (1 to {MAX_TEXT_LEN} can)");
        return Err(Failure::bad_request(message));
    }
    let code = QrCode::with_error_correction_level(text, EcLevel::M)
        .or_else(|_| QrCode::with_error_correction_level(text, EcLevel::L))
        .map_err(|error| Failure::bad_request(format!("cannot draw the QR code: {error}")))?;
    let mut renderer = code.render::<svg::Color<'_>>();
    Ok(renderer.quiet_zone(true).module_dimensions(MODULE, MODULE).build())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn draws_with_a_margin_and_nothing_from_elsewhere() {
        let drawing = draw("http://localhost:23402/").unwrap();
        assert!(drawing.contains("<svg xmlns=\"http://www.w3.org/2000/svg\""));
        assert_eq!(drawing.matches("http").count(), 1, "the name space alone");
        // 25 modules of version 2 and four on either side.
        assert!(drawing.contains("viewBox=\"0 0 132 132\""), "{drawing:.200}");
        assert!(!drawing.contains("M0 0") && !drawing.contains("M12 12"), "a module in the margin");
    }

    #[test]
    fn draws_the_longest_text_and_refuses_longer_ones() {
        for text in ["x".repeat(MAX_TEXT_LEN), "漢".repeat(MAX_TEXT_LEN / 3)] {
            assert!(draw(&text).is_ok(), "{}", text.len());
        }
        for text in [String::new(), "x".repeat(MAX_TEXT_LEN + 1)] {
            assert!(draw(&text).is_err(), "{}", text.len());
        }
    }
}
