//! `dht key`: files of secret keys.
//!
//! A file holds the 32 bytes of an ed25519 seed (RFC 8032, 5.1.5) as 64 hexadecimal digits and the
//! end of the line. It is its owner's alone (mode 0600).

use std::fs::File;
use std::io::{ErrorKind, Read, Write};
use std::path::Path;

use data_encoding::{HEXLOWER, HEXLOWER_PERMISSIVE};
use serde::Serialize;
use tempfile::NamedTempFile;

use crate::cli::exit::{CliError, Exit};
use crate::cli::output::Output;
use crate::id::ItemKey;
use crate::krpc::item::ItemSecret;

/// Bytes that are read: more than there are in a file that is one.
const READ: u64 = 256;

#[derive(Serialize)]
struct ShownKey {
    key: ItemKey,
    file: String,
    /// Whether it was made now.
    created: bool,
}

pub(super) fn key(path: &Path, output: &Output) -> Result<Exit, CliError> {
    let created = create(path)?;
    let key = read_secret(path)?.key();
    let file = path.display().to_string();
    if !created {
        output.remark(&format!("{file} was there already"));
    }
    output.result(&key.to_string(), &ShownKey { key, file, created })?;
    Ok(Exit::Done)
}

/// Makes a file with a new key, unless there is one.
fn create(path: &Path) -> Result<bool, CliError> {
    let failed = |error| CliError::failed(format!("cannot write {}", path.display()), error);
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
    if path.symlink_metadata().is_ok() {
        return Ok(false);
    }
    // Such files are their owner's alone from the beginning.
    let mut file = NamedTempFile::new_in(folder.unwrap_or(Path::new("."))).map_err(failed)?;
    let seed: [u8; 32] = rand::random();
    writeln!(file, "{}", HEXLOWER.encode(&seed)).map_err(failed)?;
    file.as_file().sync_all().map_err(failed)?;
    match file.persist_noclobber(path) {
        Ok(_) => Ok(true),
        Err(error) if error.error.kind() == ErrorKind::AlreadyExists => Ok(false),
        Err(error) => Err(failed(error.error)),
    }
}

/// Reads a secret key. No error shows what is in the file.
pub(super) fn read_secret(path: &Path) -> Result<ItemSecret, CliError> {
    let mut text = String::new();
    let read = File::open(path).and_then(|file| file.take(READ).read_to_string(&mut text));
    let shown = path.display();
    match read {
        Ok(_) => {}
        Err(error) if error.kind() == ErrorKind::InvalidData => text.clear(),
        Err(error) => {
            let failed = CliError::failed(format!("cannot read {shown}"), error);
            return Err(failed.hint("make a key with `offswarm dht key FILE`"));
        }
    }
    let seed = HEXLOWER_PERMISSIVE.decode(text.trim().as_bytes()).ok();
    let seed = seed.and_then(|seed| <[u8; 32]>::try_from(seed).ok());
    let no_key = || CliError::new(Exit::Usage, format!("{shown} is no key of 64 hex digits"));
    seed.map(ItemSecret::from_seed).ok_or_else(no_key)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn makes_a_key_once_for_its_owner_alone() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("key");
        assert!(create(&path).unwrap());
        let key = read_secret(&path).unwrap().key();
        assert!(!create(&path).unwrap());
        assert_eq!(read_secret(&path).unwrap().key(), key);
        let mode = std::fs::metadata(&path).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
    }

    #[test]
    fn an_error_does_not_show_what_is_in_the_file() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("key");
        let secret = "77".repeat(31);
        for bad in [secret.as_bytes(), b"", b"\xff\xfe", "77".repeat(33).as_bytes()] {
            std::fs::write(&path, bad).unwrap();
            let error = read_secret(&path).unwrap_err();
            assert_eq!(error.exit, Exit::Usage);
            assert!(!error.chain().join(" ").contains("7777"));
        }
    }
}
