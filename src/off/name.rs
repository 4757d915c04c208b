//! File names from strangers, made safe to create on any file system.
//!
//! A name comes from an OFF URL, a magnet link or a directory, so from anybody. [`safe`] makes one
//! path component of it that cannot leave its folder, hide its extension or collide with a device.

use crate::id::is_active;
use crate::limits::MAX_NAME_LEN;

/// Names that mean a device on Windows, whatever their extension.
const DEVICES: [&str; 4] = ["con", "prn", "aux", "nul"];

/// One safe path component for `name`; `fallback` where nothing usable is left of it.
///
/// Separators, control and invisible characters become `_`; leading and trailing spaces and
/// trailing dots go; device names get a `_` in front; the result has at most 255 bytes and keeps
/// its extension.
#[must_use]
pub fn safe(name: &str, fallback: &str) -> String {
    let clean: String = name.chars().map(|c| if is_unsafe(c) { '_' } else { c }).collect();
    let clean = clean.trim_start().trim_end_matches(|c: char| c == '.' || c.is_whitespace());
    if clean.is_empty() {
        return fallback.to_owned();
    }
    let stem = clean.split('.').next().unwrap_or(clean).trim_end().to_ascii_lowercase();
    let clean = if is_device(&stem) { format!("_{clean}") } else { clean.to_owned() };
    shortened(&clean)
}

fn is_unsafe(c: char) -> bool {
    is_active(c) || "/\\:*?\"<>|".contains(c)
}

fn is_device(stem: &str) -> bool {
    DEVICES.contains(&stem)
        || ["com", "lpt"].iter().any(|port| {
            stem.strip_prefix(port)
                .is_some_and(|rest| rest.len() == 1 && rest.as_bytes().is_ascii())
                && stem.ends_with(|c: char| c.is_ascii_digit())
        })
}

fn shortened(name: &str) -> String {
    if name.len() <= MAX_NAME_LEN {
        return name.to_owned();
    }
    let extension = name
        .rsplit_once('.')
        .map(|(_, extension)| format!(".{extension}"))
        .filter(|extension| extension.len() <= 16)
        .unwrap_or_default();
    let mut end = MAX_NAME_LEN - extension.len();
    while !name.is_char_boundary(end) {
        end -= 1;
    }
    format!("{}{extension}", name.get(..end).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn makes_hostile_names_harmless() {
        for (name, expected) in [
            ("report.pdf", "report.pdf"),
            ("naïve résumé 漢字.txt", "naïve résumé 漢字.txt"),
            ("../../x", ".._.._x"),
            ("/etc/x", "_etc_x"),
            ("a\\..\\b", "a_.._b"),
            ("C:\\", "C__"),
            ("con", "_con"),
            ("NUL.txt", "_NUL.txt"),
            ("com1", "_com1"),
            ("comet", "comet"),
            ("a\0b", "a_b"),
            ("gpj\u{202e}exe", "gpj_exe"),
            ("..", "fallback"),
            (".", "fallback"),
            ("", "fallback"),
            (" . ", "fallback"),
            (".bashrc", ".bashrc"),
        ] {
            assert_eq!(safe(name, "fallback"), expected, "{name:?}");
        }
    }

    #[test]
    fn shortens_long_names_and_keeps_the_extension() {
        let name = safe(&format!("{}.tar", "ü".repeat(300)), "f");
        assert!(name.len() <= MAX_NAME_LEN && name.ends_with("ü.tar"), "{name}");
    }

    proptest! {
        #[test]
        fn is_always_one_component(name in "\\PC*|[./\\\\\0a:]*") {
            let safe = safe(&name, "f");
            prop_assert!(!safe.is_empty() && safe.len() <= MAX_NAME_LEN);
            prop_assert!(safe != "." && safe != "..");
            prop_assert!(!safe.contains(['/', '\\', '\0']));
        }
    }
}
