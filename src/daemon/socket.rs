//! The socket in a home at which its daemon takes commands.
//!
//! `<home>/daemon.sock` is a stream socket of the Unix domain, mode 0600, and whoever connects must
//! be the same user: both ends ask the kernel. It is opened by whoever holds the lock of the home,
//! so one that is there already was left behind by a daemon that was killed.
//!
//! The path of such a socket has 107 bytes at most. A longer one is reached through the folder,
//! opened before (`/proc/self/fd/N/daemon.sock`).

use std::fs::{File, Permissions};
use std::io::{self, ErrorKind};
use std::os::fd::AsRawFd;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixStream as StdStream;
use std::path::{Path, PathBuf};

use tokio::net::{UnixListener, UnixStream};

/// Its name in the home.
pub const NAME: &str = "daemon.sock";

/// Bytes of the longest path of a socket that every Unix takes.
const MAX_PATH: usize = 100;

/// Why there is no talking at the socket.
#[derive(Debug, thiserror::Error)]
pub enum SocketError {
    /// It could not be made.
    #[error("cannot take commands at {}", path.display())]
    Open {
        /// The socket.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// It may not be used by us.
    #[error("cannot reach the daemon at {}", path.display())]
    Refused {
        /// The socket.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// Somebody else listens there.
    #[error("the daemon at {} is of the user {user}, not of ours", path.display())]
    Stranger {
        /// The socket.
        path: PathBuf,
        /// The number of the user.
        user: u32,
    },
}

/// The socket, open. It is gone when this is dropped.
#[derive(Debug)]
pub struct Door {
    listener: UnixListener,
    path: PathBuf,
    user: u32,
}

impl Door {
    /// Opens the socket in a home whose lock is held by this process.
    pub fn open(home: &Path) -> Result<Self, SocketError> {
        let path = home.join(NAME);
        Self::bind(home).map_err(|source| SocketError::Open { path, source })
    }

    fn bind(home: &Path) -> io::Result<Self> {
        let path = home.join(NAME);
        match std::fs::remove_file(&path) {
            Err(error) if error.kind() != ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let way = Way::to(home)?;
        let listener = UnixListener::bind(&way.path)?;
        std::fs::set_permissions(&path, Permissions::from_mode(0o600))?;
        Ok(Self { listener, path, user: own_user()? })
    }

    /// The next caller. One that is another user is hung up on.
    pub async fn accept(&self) -> Result<StdStream, SocketError> {
        let failed = |source| SocketError::Open { path: self.path.clone(), source };
        loop {
            let (stream, _) = self.listener.accept().await.map_err(failed)?;
            match stream.peer_cred() {
                Ok(caller) if caller.uid() == self.user => return blocking(stream).map_err(failed),
                Ok(caller) => tracing::warn!("refused the user {} at the socket", caller.uid()),
                Err(error) => tracing::debug!("cannot tell who calls at the socket: {error}"),
            }
        }
    }
}

impl Drop for Door {
    fn drop(&mut self) {
        // If it cannot be removed, the next daemon does.
        let _ = std::fs::remove_file(&self.path);
    }
}

/// Connects to the daemon of a home; `None` if nobody answers there.
pub async fn connect(home: &Path) -> Result<Option<StdStream>, SocketError> {
    let Ok(way) = Way::to(home) else { return Ok(None) };
    let stream = match UnixStream::connect(&way.path).await {
        Ok(stream) => stream,
        Err(source) if source.kind() == ErrorKind::PermissionDenied => {
            return Err(SocketError::Refused { path: home.join(NAME), source });
        }
        Err(_) => return Ok(None),
    };
    let (Ok(theirs), Ok(ours)) = (stream.peer_cred(), own_user()) else { return Ok(None) };
    if theirs.uid() != ours {
        return Err(SocketError::Stranger { path: home.join(NAME), user: theirs.uid() });
    }
    Ok(blocking(stream).ok())
}

fn blocking(stream: UnixStream) -> io::Result<StdStream> {
    let stream = stream.into_std()?;
    stream.set_nonblocking(false)?;
    Ok(stream)
}

/// Who we are, as others are told.
fn own_user() -> io::Result<u32> {
    Ok(UnixStream::pair()?.0.peer_cred()?.uid())
}

/// A path of the socket that is short enough, while this lives.
struct Way {
    path: PathBuf,
    _folder: Option<File>,
}

impl Way {
    fn to(home: &Path) -> io::Result<Self> {
        let path = home.join(NAME);
        if path.as_os_str().len() <= MAX_PATH {
            return Ok(Self { path, _folder: None });
        }
        let folder = File::open(home)?;
        let path = format!("/proc/self/fd/{}/{NAME}", folder.as_raw_fd()).into();
        Ok(Self { path, _folder: Some(folder) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn meets(home: &Path) {
        let door = Door::open(home).unwrap();
        let mode = std::fs::metadata(home.join(NAME)).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        let (came, went) = tokio::join!(door.accept(), connect(home));
        assert!(came.is_ok() && went.unwrap().is_some());
        drop(door);
        assert!(!home.join(NAME).exists());
    }

    #[tokio::test]
    async fn is_its_owners_alone_and_gone_at_the_end() {
        let folder = tempfile::tempdir().unwrap();
        assert!(connect(folder.path()).await.unwrap().is_none());
        meets(folder.path()).await;
    }

    #[tokio::test]
    async fn a_long_path_is_no_hindrance() {
        let folder = tempfile::tempdir().unwrap();
        let home = folder.path().join("long/".repeat(60));
        std::fs::create_dir_all(&home).unwrap();
        meets(&home).await;
    }

    #[tokio::test]
    async fn another_user_is_hung_up_on() {
        let folder = tempfile::tempdir().unwrap();
        let mut door = Door::open(folder.path()).unwrap();
        door.user += 1;
        let caller = async {
            let stream = connect(folder.path()).await.unwrap().unwrap();
            stream.set_nonblocking(true).unwrap();
            let mut stream = UnixStream::from_std(stream).unwrap();
            tokio::io::AsyncReadExt::read(&mut stream, &mut [0; 8]).await.unwrap()
        };
        tokio::select! {
            read = caller => assert_eq!(read, 0),
            accepted = door.accept() => panic!("let in: {accepted:?}"),
        }
    }

    #[tokio::test]
    async fn what_a_killed_daemon_left_is_replaced() {
        let folder = tempfile::tempdir().unwrap();
        drop(UnixListener::bind(folder.path().join(NAME)).unwrap());
        assert!(folder.path().join(NAME).exists());
        assert!(connect(folder.path()).await.unwrap().is_none());
        meets(folder.path()).await;
    }
}
