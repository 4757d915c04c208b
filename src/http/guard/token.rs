//! The secret that lets a request in.

use std::fmt;

use subtle::ConstantTimeEq;

/// A secret text. It is never printed, and comparing takes as long whatever is wrong.
#[derive(Clone)]
pub struct Token(String);

impl Token {
    /// A token of a text, which should be long and random.
    #[must_use]
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// Whether somebody knows it. An empty token is known by nobody.
    #[must_use]
    pub fn is(&self, text: &[u8]) -> bool {
        !self.0.is_empty() && bool::from(self.0.as_bytes().ct_eq(text))
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Token(..)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tells_right_from_wrong_and_does_not_show_itself() {
        let token = Token::new("sesame");
        assert!(token.is(b"sesame"));
        for wrong in ["", "sesam", "sesame ", "Sesame"] {
            assert!(!token.is(wrong.as_bytes()), "{wrong:?}");
        }
        assert!(!Token::new("").is(b""));
        assert!(!format!("{token:?}").contains("sesame"));
    }
}
