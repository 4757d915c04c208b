//! The nodes we knew, from one start to the next: the file `dht.state` of a home.
//!
//! ```text
//! d 2:v4 d 2:id 20:<our id> 5:nodes <compact nodes, 26 bytes each> e
//!   2:v6 d 2:id 20:<our id> 5:nodes <compact nodes, 38 bytes each> e
//!   7:version i1e
//! e
//! ```
//!
//! A network we were not in is left out. A file that is damaged or of another version is as good
//! as none: the network is found anew.

use std::io;
use std::path::Path;

use super::contact::{Contact, Family};
use super::machine::Saved;
use super::message::{Fields, compact};
use crate::bencode::Dict;
use crate::id::NodeId;
use crate::limits::dht::{MAX_SAVED_LEN, MAX_SAVED_NODES};

const VERSION: u8 = 1;

/// The bytes of the file.
#[must_use]
pub fn encode(saved: &[Saved]) -> Vec<u8> {
    let mut file = Fields::default();
    for Saved { family, id, contacts } in saved {
        let mut side = Fields::default();
        side.string("id", id.as_bytes());
        side.string("nodes", compact(contacts.get(..MAX_SAVED_NODES).unwrap_or(contacts)));
        file.raw(key(*family), side.encode());
    }
    file.integer("version", VERSION);
    file.encode()
}

/// Reads the bytes of the file; nothing, if they are not what they should be.
#[must_use]
pub fn decode(bytes: &[u8]) -> Vec<Saved> {
    let Ok(file) = Dict::check(bytes) else { return Vec::new() };
    if file.integer("version") != Some(VERSION.into()) {
        return Vec::new();
    }
    let side = |family: Family| {
        let side = file.dict(key(family))?;
        let id = NodeId::from_slice(side.string("id")?)?;
        let contacts = Contact::all_from(side.string("nodes")?, family);
        Some(Saved { family, id, contacts: contacts.take(MAX_SAVED_NODES).collect() })
    };
    Family::ALL.into_iter().filter_map(side).collect()
}

/// Reads the file; one that is not there, or damaged, has nothing in it.
#[must_use]
pub fn read(path: &Path) -> Vec<Saved> {
    let mut bytes = Vec::new();
    let file = std::fs::File::open(path);
    let read = file.and_then(|file| {
        io::Read::read_to_end(&mut io::Read::take(file, MAX_SAVED_LEN), &mut bytes)
    });
    match read {
        Ok(_) => decode(&bytes),
        Err(_) => Vec::new(),
    }
}

/// Writes the file, whole or not at all.
pub fn write(path: &Path, saved: &[Saved]) -> io::Result<()> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
    let mut file = tempfile::NamedTempFile::new_in(folder.unwrap_or(Path::new(".")))?;
    io::Write::write_all(&mut file, &encode(saved))?;
    file.persist(path).map(|_| ()).map_err(|error| error.error)
}

const fn key(family: Family) -> &'static str {
    match family {
        Family::V4 => "v4",
        Family::V6 => "v6",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn saved() -> Vec<Saved> {
        let side = |family, address: &str| {
            let id = NodeId::from_bytes([7; 20]);
            Saved { family, id, contacts: vec![Contact { id, address: address.parse().unwrap() }] }
        };
        vec![side(Family::V4, "203.0.113.5:6881"), side(Family::V6, "[2001:db8::5]:6881")]
    }

    #[test]
    fn gives_back_what_was_saved() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("dht.state");
        assert_eq!(read(&path), []);
        write(&path, &saved()).unwrap();
        assert_eq!(read(&path), saved());
        assert!(encode(&saved()[..1]).starts_with(b"d2:v4d2:id20:\x07"));
    }

    #[test]
    fn a_damaged_file_is_as_good_as_none() {
        let good = encode(&saved());
        for cut in 0..good.len() {
            assert_eq!(decode(&good[..cut]), []);
        }
        assert_eq!(decode(b"d7:versioni2ee"), []);
        assert_eq!(decode(b"d2:v4d2:id3:abc5:nodes0:e7:versioni1ee"), []);
    }
}
