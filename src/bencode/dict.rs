//! Reading the entries of a dictionary by their keys.

use super::{BencodeError, Entry, check, integer, string};

/// A dictionary that has been checked. A value of another type than a reader expects is as good as
/// none: strangers err, and what else they say may be of use.
#[derive(Debug, Clone)]
pub struct Dict<'a> {
    bytes: &'a [u8],
    entries: Vec<Entry<'a>>,
}

impl<'a> Dict<'a> {
    /// Checks that `bytes` are one well-formed value, and takes its entries: none if it is no
    /// dictionary.
    pub fn check(bytes: &'a [u8]) -> Result<Self, BencodeError> {
        Ok(Self { bytes, entries: check(bytes)? })
    }

    /// Whether the value is a dictionary at all.
    #[must_use]
    pub fn is_dict(&self) -> bool {
        self.bytes.first() == Some(&b'd')
    }

    /// The bytes of a value as they came.
    #[must_use]
    pub fn raw(&self, key: impl AsRef<[u8]>) -> Option<&'a [u8]> {
        let (_, range) = self.entries.iter().find(|(found, _)| *found == key.as_ref())?;
        self.bytes.get(range.clone())
    }

    /// A string.
    #[must_use]
    pub fn string(&self, key: impl AsRef<[u8]>) -> Option<&'a [u8]> {
        string(self.raw(key)?)
    }

    /// An integer.
    #[must_use]
    pub fn integer(&self, key: impl AsRef<[u8]>) -> Option<i64> {
        integer(self.raw(key)?)
    }

    /// A dictionary.
    #[must_use]
    pub fn dict(&self, key: impl AsRef<[u8]>) -> Option<Self> {
        let dict = Self::check(self.raw(key)?).ok()?;
        dict.is_dict().then_some(dict)
    }

    /// The entries whose keys are none of these, as they came and in their order.
    pub fn others(&self, known: &[&str]) -> impl Iterator<Item = (&'a [u8], &'a [u8])> {
        let is_known = |key: &[u8]| known.iter().any(|known| known.as_bytes() == key);
        let others = self.entries.iter().filter(move |(key, _)| !is_known(key));
        others.filter_map(|(key, range)| Some((*key, self.bytes.get(range.clone())?)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gives_values_of_the_expected_type_only() {
        let dict = Dict::check(b"d1:ad1:xi7ee1:bi-3e1:c2:hi1:dlee").unwrap();
        assert_eq!(dict.dict("a").unwrap().integer("x"), Some(7));
        assert_eq!((dict.integer("b"), dict.string("b")), (Some(-3), None));
        assert_eq!((dict.string("c"), dict.integer("c")), (Some(&b"hi"[..]), None));
        assert!(dict.dict("d").is_none() && dict.raw("d") == Some(b"le"));
        let others: Vec<_> = dict.others(&["a", "c"]).collect();
        assert_eq!(others, [(&b"b"[..], &b"i-3e"[..]), (b"d", b"le")]);
        assert!(!Dict::check(b"le").unwrap().is_dict());
    }
}
