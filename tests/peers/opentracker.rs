//! The tracker opentracker, on loopback.
//!
//! Debian builds it with a whitelist: it serves only infohashes that are in a file, which it
//! reads when it starts and at each hangup signal. Run by root it becomes `nobody` and locks
//! itself into the folder of that file, so the folder must be open to all.

use std::fs::{self, Permissions};
use std::io::{Read, Write};
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt;
use std::process::Command;

use offswarm::id::InfoHash;
use tempfile::TempDir;

use crate::common::child::{Running, poll};
use crate::programs::{connect, free_address, program};

const WHITELIST: &str = "whitelist";

/// A running tracker.
pub(crate) struct Tracker {
    running: Running,
    folder: TempDir,
    address: SocketAddr,
}

impl Tracker {
    /// Starts a tracker that serves nothing yet.
    pub(crate) fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        fs::set_permissions(folder.path(), Permissions::from_mode(0o755)).unwrap();
        fs::write(folder.path().join(WHITELIST), "").unwrap();
        let address = free_address();
        let (ip, port) = (address.ip().to_string(), address.port().to_string());
        let mut command = Command::new(program("opentracker", "opentracker"));
        command.args(["-i", &ip, "-p", &port, "-w", WHITELIST, "-d"]);
        let running = Running::start(command.arg(folder.path()).current_dir(folder.path()));
        connect(address);
        Self { running, folder, address }
    }

    /// Where to announce.
    pub(crate) fn url(&self) -> String {
        format!("http://{}/announce", self.address)
    }

    /// Serves a swarm from now on.
    pub(crate) fn allow(&self, infohash: InfoHash) {
        let whitelist = self.folder.path().join(WHITELIST);
        fs::write(whitelist, format!("{infohash}\n")).unwrap();
        self.running.signal("HUP");
        // A peer that leaves is answered in any case, so ask as one that comes.
        poll("the tracker to serve the swarm", || {
            (!self.announce(infohash, "started").contains("failure reason")).then_some(())
        });
        self.announce(infohash, "stopped");
    }

    /// The answer to a peer that comes or goes.
    fn announce(&self, infohash: InfoHash, event: &str) -> String {
        let escape = |byte: &u8| format!("%{byte:02x}");
        let infohash = infohash.as_bytes().iter().map(escape).collect::<String>();
        let request = format!(
            "GET /announce?info_hash={infohash}&peer_id=-ask-it-what-it-does&port=1&left=1\
             &event={event}&compact=1 HTTP/1.0\r\n\r\n"
        );
        let mut answer = Vec::new();
        let mut stream = connect(self.address);
        stream.write_all(request.as_bytes()).unwrap();
        stream.read_to_end(&mut answer).unwrap();
        String::from_utf8_lossy(&answer).into_owned()
    }
}
