//! The token of a home: what whoever asks from elsewhere has to know.
//!
//! `<home>/api.token` has 64 hexadecimal digits, 32 random bytes, and the end of the line. It is its
//! owner's alone (mode 0600) and stays the same until it is deleted.

use std::fs::File;
use std::io::{self, ErrorKind, Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use data_encoding::HEXLOWER;
use tempfile::NamedTempFile;

/// Its name in the home.
pub const NAME: &str = "api.token";

/// Characters of the shortest token that somebody may have written there.
const SHORTEST: usize = 32;

/// Characters of the longest.
const LONGEST: u64 = 256;

/// Reads the token of a home, and makes one if there is none.
pub fn of(home: &Path) -> io::Result<String> {
    let path = home.join(NAME);
    match read(&path) {
        Err(error) if error.kind() == ErrorKind::NotFound => {}
        token => return token,
    }
    // Such files are their owner's alone from the beginning.
    let mut file = NamedTempFile::new_in(home)?;
    let secret: [u8; 32] = rand::random();
    writeln!(file, "{}", HEXLOWER.encode(&secret))?;
    file.as_file().sync_all()?;
    match file.persist_noclobber(&path) {
        Err(error) if error.error.kind() != ErrorKind::AlreadyExists => return Err(error.error),
        _ => {}
    }
    read(&path)
}

fn read(path: &Path) -> io::Result<String> {
    let mut text = String::new();
    let file = File::open(path)?;
    if file.metadata()?.permissions().mode() & 0o077 != 0 {
        let why = "others can read or write it; make it yours alone (chmod 600)";
        return Err(io::Error::new(ErrorKind::PermissionDenied, why));
    }
    file.take(LONGEST + 1).read_to_string(&mut text)?;
    let token = text.trim();
    let fits = token.len() >= SHORTEST && text.len() as u64 <= LONGEST;
    if !fits || !token.bytes().all(|byte| byte.is_ascii_graphic()) {
        let why = "it holds no token of 32 characters or more; delete it for a new one";
        return Err(io::Error::new(ErrorKind::InvalidData, why));
    }
    Ok(token.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn is_made_once_for_its_owner_alone() {
        let home = tempfile::tempdir().unwrap();
        let token = of(home.path()).unwrap();
        assert_eq!((token.len(), of(home.path()).unwrap()), (64, token));
        let mode = std::fs::metadata(home.path().join(NAME)).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
    }

    #[test]
    fn a_short_one_is_refused_and_not_shown() {
        let home = tempfile::tempdir().unwrap();
        for bad in ["", "hunter2", "hunter2 ".repeat(9).as_str()] {
            std::fs::write(home.path().join(NAME), bad).unwrap();
            assert!(!of(home.path()).unwrap_err().to_string().contains("hunter2"));
        }
    }
}
