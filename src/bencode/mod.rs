//! Bencode from strangers, checked in one bounded pass before anything decodes it (BEP 3).
//!
//! Decoders that recurse or believe declared lengths are brought down by a few bytes, so nothing
//! from outside reaches one before [`check`] has walked over it: no recursion, no allocation but one
//! key list per open dictionary, an error with its offset. What has passed is read by [`Tokens`]. Refused: nesting beyond 100, lengths beyond the
//! input, integers that are not canonical or exceed 64 bits, keys that are not strings, duplicate
//! keys, trailing bytes. Unsorted keys are let through, because the infohash is over the bytes as
//! they came and clients in the wild write them.

mod dict;
mod tokens;

use std::ops::Range;

pub use dict::Dict;
pub use tokens::{Token, Tokens, integer, put_integer, put_signed, put_string, string};

use crate::limits::MAX_BENCODE_DEPTH;

/// Where and why bytes are not acceptable bencode.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("bad bencode at byte {offset}: {why}")]
pub struct BencodeError {
    /// Bytes before the fault.
    pub offset: usize,
    /// The fault.
    pub why: &'static str,
}

/// A key of the outermost dictionary and where its value stands.
pub type Entry<'a> = (&'a [u8], Range<usize>);

/// Checks that `bytes` are one well-formed value.
///
/// If that is a dictionary, its entries come back in the order they stand in; else the list is
/// empty.
pub fn check(bytes: &[u8]) -> Result<Vec<Entry<'_>>, BencodeError> {
    let scan = Scan::of_value(bytes)?;
    if scan.at < bytes.len() {
        return Err(scan.error("bytes after the end"));
    }
    Ok(scan.entries)
}

/// Checks that `bytes` begin with a well-formed value: its length. (Messages about an info dict
/// have bytes of it behind their dictionary, BEP 9.)
pub fn prefix_len(bytes: &[u8]) -> Result<usize, BencodeError> {
    Ok(Scan::of_value(bytes)?.at)
}

struct Scan<'a> {
    bytes: &'a [u8],
    at: usize,
    open: Vec<Container<'a>>,
    entries: Vec<Entry<'a>>,
}

enum Container<'a> {
    List,
    Dict { keys: Vec<&'a [u8]>, value_start: Option<usize> },
}

impl<'a> Scan<'a> {
    fn of_value(bytes: &'a [u8]) -> Result<Self, BencodeError> {
        let mut scan = Scan { bytes, at: 0, open: Vec::new(), entries: Vec::new() };
        scan.value()?;
        while !scan.open.is_empty() {
            scan.step()?;
        }
        Ok(scan)
    }

    /// One element of the innermost open container, or its end.
    fn step(&mut self) -> Result<(), BencodeError> {
        self.note_entry();
        if self.peek() == Some(b'e') {
            return self.close();
        }
        if let Some(Container::Dict { .. }) = self.open.last() {
            let key = self.string()?;
            let start = self.at;
            if let Some(Container::Dict { keys, value_start }) = self.open.last_mut() {
                keys.push(key);
                *value_start = Some(start);
            }
        }
        self.value()
    }

    /// Remembers the value of the outermost dictionary that has just ended.
    fn note_entry(&mut self) {
        let outermost = self.open.len() == 1;
        if let Some(Container::Dict { keys, value_start }) = self.open.last_mut()
            && let Some(start) = value_start.take()
            && let Some(key) = keys.last()
            && outermost
        {
            self.entries.push((key, start..self.at));
        }
    }

    fn close(&mut self) -> Result<(), BencodeError> {
        if let Some(Container::Dict { mut keys, .. }) = self.open.pop() {
            keys.sort_unstable();
            if keys.windows(2).any(|pair| pair.first() == pair.last()) {
                return Err(self.error("a dictionary has a key twice"));
            }
        }
        self.at += 1;
        Ok(())
    }

    /// A whole string or integer, or the start of a container.
    fn value(&mut self) -> Result<(), BencodeError> {
        match self.peek() {
            Some(b'i') => self.integer(),
            Some(b'l') => self.enter(Container::List),
            Some(b'd') => self.enter(Container::Dict { keys: Vec::new(), value_start: None }),
            Some(b'0'..=b'9') => self.string().map(|_| ()),
            Some(_) => Err(self.error("no value starts with this byte")),
            None => Err(self.error("ends too early")),
        }
    }

    fn enter(&mut self, container: Container<'a>) -> Result<(), BencodeError> {
        if self.open.len() >= MAX_BENCODE_DEPTH {
            return Err(self.error("nested too deeply"));
        }
        self.at += 1;
        self.open.push(container);
        Ok(())
    }

    fn integer(&mut self) -> Result<(), BencodeError> {
        let text = self.until(b'e', 1)?;
        let canonical = std::str::from_utf8(text)
            .ok()
            .and_then(|text| Some((text, text.parse::<i64>().ok()?)))
            .is_some_and(|(text, number)| number.to_string() == text);
        if !canonical {
            return Err(self.error("not a canonical 64-bit integer"));
        }
        self.at += text.len() + 2;
        Ok(())
    }

    fn string(&mut self) -> Result<&'a [u8], BencodeError> {
        let digits = self.until(b':', 0)?;
        let length = std::str::from_utf8(digits)
            .ok()
            .and_then(|text| Some((text, text.parse::<usize>().ok()?)))
            .filter(|(text, number)| number.to_string() == *text)
            .ok_or_else(|| self.error("not the length of a string"))?
            .1;
        let start = self.at + digits.len() + 1;
        let string = start
            .checked_add(length)
            .and_then(|end| self.bytes.get(start..end))
            .ok_or_else(|| self.error("a string longer than what is left"))?;
        self.at = start + length;
        Ok(string)
    }

    /// The bytes between here, `skip` bytes on, and the next `end`, which is near: no number has
    /// more than 20 characters.
    fn until(&self, end: u8, skip: usize) -> Result<&'a [u8], BencodeError> {
        let rest = self.bytes.get(self.at + skip..).unwrap_or_default();
        let near = rest.get(..rest.len().min(21)).unwrap_or_default();
        let length = near.iter().position(|&byte| byte == end);
        length
            .and_then(|length| near.get(..length))
            .ok_or_else(|| self.error("a number without an end"))
    }

    fn peek(&self) -> Option<u8> {
        self.bytes.get(self.at).copied()
    }

    const fn error(&self, why: &'static str) -> BencodeError {
        BencodeError { offset: self.at, why }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn takes_what_bep_3_shows() {
        for good in ["4:spam", "0:", "i3e", "i-3e", "i0e", "l4:spam4:eggse", "le", "de"] {
            assert_eq!(check(good.as_bytes()), Ok(vec![]), "{good}");
        }
        let entries = check(b"d3:cow3:moo4:spaml1:aee").unwrap();
        assert_eq!(entries, [(&b"cow"[..], 6..11), (&b"spam"[..], 17..22)]);
    }

    #[test]
    fn says_where_bad_input_goes_wrong() {
        for (bad, offset) in [
            (&b"d2222222222:l"[..], 1),
            (b"99999999999999999999:", 0),
            (b"i-0e", 0),
            (b"i03e", 0),
            (b"i1", 0),
            (b"ie", 0),
            (b"i9223372036854775808e", 0),
            (b"03:abc", 0),
            (b"-1:a", 0),
            (b"", 0),
            (b"l", 1),
            (b"d1:a", 4),
            (b"di1e1:ae", 1),
            (b"d1:ai1e1:ai2ee", 13),
            (b"i1ei2e", 3),
            (b"x", 0),
        ] {
            let error = check(bad).unwrap_err();
            assert_eq!(error.offset, offset, "{}: {error}", String::from_utf8_lossy(bad));
        }
    }

    #[test]
    fn ten_million_nested_lists_cost_nothing() {
        let error = check(&vec![b'l'; 10_000_000]).unwrap_err();
        assert_eq!(error, BencodeError { offset: 100, why: "nested too deeply" });
    }

    #[test]
    fn lets_unsorted_keys_through_but_no_key_twice() {
        assert!(check(b"d1:bi1e1:ai2ee").is_ok());
        assert!(check(b"d1:bi1e1:ai2e1:bi3ee").is_err());
        assert!(check(b"ld1:ai1e1:ai1eee").is_err());
    }

    proptest! {
        #[test]
        fn never_panics_and_accepts_only_what_serde_bencode_reads(
            bytes in prop::collection::vec(prop::sample::select(b"dlei0123:-a".to_vec()), 0..40)
        ) {
            if check(&bytes).is_ok() {
                let decoded = serde_bencode::from_bytes::<serde_bencode::value::Value>(&bytes);
                prop_assert!(decoded.is_ok(), "{}", String::from_utf8_lossy(&bytes));
                let mut tokens = Tokens::of(&bytes);
                prop_assert!(tokens.skip_value().is_some() && tokens.next().is_none());
            }
        }
    }
}
