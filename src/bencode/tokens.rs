//! One pass over bencode that has been checked, and the writing of it.
//!
//! [`Tokens`] keeps no state but its place, so whatever a stranger nests, nothing here recurses or
//! allocates. Bytes that were not checked end the pass early; they never panic.

/// What stands next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Token<'a> {
    /// An integer.
    Integer(i64),
    /// A string, or a key of a dictionary.
    String(&'a [u8]),
    /// A list begins.
    List,
    /// A dictionary begins.
    Dict,
    /// The innermost list or dictionary ends.
    End,
}

/// The tokens of a value that [`check`](super::check) has passed.
#[derive(Debug, Clone)]
pub struct Tokens<'a>(&'a [u8]);

impl<'a> Tokens<'a> {
    /// Begins at the first byte.
    #[must_use]
    pub const fn of(bytes: &'a [u8]) -> Self {
        Self(bytes)
    }

    /// Passes over the next value with everything in it; `None` if there is none.
    pub fn skip_value(&mut self) -> Option<()> {
        let mut open = 0_usize;
        loop {
            match self.next()? {
                Token::List | Token::Dict => open += 1,
                Token::End => open = open.checked_sub(1)?,
                Token::Integer(_) | Token::String(_) => {}
            }
            if open == 0 {
                return Some(());
            }
        }
    }

    /// The bytes before the next `end`, which is passed over.
    fn number(&mut self, end: u8) -> Option<&'a str> {
        let length = self.0.iter().take(21).position(|&byte| byte == end)?;
        let (number, rest) = self.0.split_at_checked(length)?;
        self.0 = rest.get(1..)?;
        std::str::from_utf8(number).ok()
    }
}

impl<'a> Iterator for Tokens<'a> {
    type Item = Token<'a>;

    fn next(&mut self) -> Option<Token<'a>> {
        let first = *self.0.first()?;
        if first.is_ascii_digit() {
            let length = self.number(b':')?.parse().ok()?;
            let (string, rest) = self.0.split_at_checked(length)?;
            self.0 = rest;
            return Some(Token::String(string));
        }
        self.0 = self.0.get(1..)?;
        match first {
            b'i' => self.number(b'e')?.parse().ok().map(Token::Integer),
            b'l' => Some(Token::List),
            b'd' => Some(Token::Dict),
            b'e' => Some(Token::End),
            _ => None,
        }
    }
}

/// The integer that a checked value is, if it is one.
#[must_use]
pub fn integer(value: &[u8]) -> Option<i64> {
    match Tokens::of(value).next() {
        Some(Token::Integer(number)) => Some(number),
        _ => None,
    }
}

/// The string that a checked value is, if it is one.
#[must_use]
pub fn string(value: &[u8]) -> Option<&[u8]> {
    match Tokens::of(value).next() {
        Some(Token::String(string)) => Some(string),
        _ => None,
    }
}

/// Writes a string, or a key of a dictionary.
pub fn put_string(out: &mut Vec<u8>, string: impl AsRef<[u8]>) {
    let string = string.as_ref();
    out.extend_from_slice(string.len().to_string().as_bytes());
    out.push(b':');
    out.extend_from_slice(string);
}

/// Writes an integer.
pub fn put_integer(out: &mut Vec<u8>, number: u64) {
    out.extend_from_slice(format!("i{number}e").as_bytes());
}

/// Writes an integer that may be negative.
pub fn put_signed(out: &mut Vec<u8>, number: i64) {
    out.extend_from_slice(format!("i{number}e").as_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tells_what_stands_next() {
        let tokens: Vec<_> = Tokens::of(b"d1:ali-7e0:ee").collect();
        assert_eq!(
            tokens,
            [
                Token::Dict,
                Token::String(b"a"),
                Token::List,
                Token::Integer(-7),
                Token::String(b""),
                Token::End,
                Token::End
            ]
        );
        let mut tokens = Tokens::of(b"ld1:alleeee3:abci1e");
        assert_eq!(tokens.skip_value(), Some(()));
        assert_eq!(tokens.skip_value(), Some(()));
        assert_eq!(tokens.next(), Some(Token::Integer(1)));
        assert_eq!((tokens.next(), tokens.skip_value()), (None, None));
    }

    #[test]
    fn unchecked_bytes_end_the_pass() {
        for bad in [&b"9:abc"[..], b"i1", b"x", b"99999999999999999999:", b"e"] {
            assert_eq!(Tokens::of(bad).skip_value(), None, "{bad:?}");
        }
    }
}
