//! Web seeds from lighttpd, a server that knows ranges.

use std::fs;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::Command;

use offswarm::swarm::guard::{Guard, Origin};
use offswarm::swarm::webseed::{WebSeed, WebSeedError};
use tempfile::TempDir;

use crate::common::child::Running;
use crate::programs::{connect, free_address, program};

const NAME: &str = "0123456789abcdef.off";

/// A running server of one folder.
pub(crate) struct Server {
    _running: Running,
    folder: TempDir,
    address: SocketAddr,
}

impl Server {
    pub(crate) fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let address = free_address();
        let configuration = format!(
            "server.document-root = \"{}\"\nserver.bind = \"{}\"\nserver.port = {}\n\
             server.modules = ()\nmimetype.assign = (\"\" => \"application/octet-stream\")\n",
            folder.path().display(),
            address.ip(),
            address.port(),
        );
        let path = folder.path().join("lighttpd.conf");
        fs::write(&path, configuration).unwrap();
        let mut command = Command::new(program("lighttpd", "lighttpd"));
        // It stays in the foreground, and its log is our standard error.
        let running = Running::start(command.arg("-D").arg("-f").arg(path));
        connect(address);
        Self { _running: running, folder, address }
    }

    /// Where a file of its folder lies.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub(crate) fn url(&self, path: &str) -> String {
        format!("http://{}/{path}", self.address)
    }
}

#[tokio::test]
async fn ranges_of_a_file_come_from_lighttpd() {
    let server = Server::start();
    let content: Vec<u8> = (0..1_000_000_u32).flat_map(u32::to_le_bytes).collect();
    fs::write(server.folder.path().join(NAME), &content).unwrap();
    let total = content.len() as u64;
    let guard = Guard::new().unwrap();
    let seed = WebSeed::new(&server.url(""), NAME, Origin::Stranger).unwrap();
    assert_eq!(seed.url().as_str(), server.url(NAME));
    for range in [0..1, 131_072..262_144, total - 5..total, 0..total] {
        let mut chunks = seed.fetch(&guard, range.clone(), total).await.unwrap();
        let mut found = Vec::new();
        while let Some(chunk) = chunks.next().await.unwrap() {
            found.extend_from_slice(&chunk);
        }
        let (start, end) = (usize::try_from(range.start), usize::try_from(range.end));
        assert!(found == content[start.unwrap()..end.unwrap()], "{range:?}");
    }
}

#[tokio::test]
async fn a_file_that_lighttpd_lacks_or_has_in_another_length_is_refused() {
    let server = Server::start();
    fs::write(server.folder.path().join(NAME), [7; 1_000]).unwrap();
    let guard = Guard::new().unwrap();
    let fetch = async |path: &str, total| {
        let seed = WebSeed::new(&server.url(path), NAME, Origin::Stranger).unwrap();
        seed.fetch(&guard, total - 10..total, total).await.unwrap_err()
    };
    let missing = fetch("missing.off", 1_000).await;
    assert!(matches!(missing, WebSeedError::Status { status: 404, .. }), "{missing}");
    let longer = fetch("", 999).await;
    assert!(matches!(longer, WebSeedError::OtherRange { .. }), "{longer}");
    let shorter = fetch("", 2_000).await;
    assert!(matches!(shorter, WebSeedError::Status { status: 416, .. }), "{shorter}");
}
