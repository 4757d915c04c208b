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
        Self::with_whitelist("")
    }

    /// Starts a tracker that serves a swarm from the beginning: a hangup signal in its first moments
    /// would end it.
    pub(crate) fn serving(infohash: InfoHash) -> Self {
        let tracker = Self::with_whitelist(&format!("{infohash}\n"));
        tracker.wait_until_it_serves(infohash);
        tracker
    }

    fn with_whitelist(whitelist: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        fs::set_permissions(folder.path(), Permissions::from_mode(0o755)).unwrap();
        fs::write(folder.path().join(WHITELIST), whitelist).unwrap();
        let address = free_address();
        let (ip, port) = (address.ip().to_string(), address.port().to_string());
        let mut command = Command::new(program("opentracker", "opentracker"));
        command.args(["-i", &ip, "-p", &port, "-P", &port, "-w", WHITELIST, "-d"]);
        let running = Running::start(command.arg(folder.path()).current_dir(folder.path()));
        connect(address);
        Self { running, folder, address }
    }

    /// Where to announce.
    pub(crate) fn url(&self) -> String {
        format!("http://{}/announce", self.address)
    }

    /// Where to announce over UDP.
    pub(crate) fn udp_url(&self) -> String {
        format!("udp://{}/announce", self.address)
    }

    /// Serves a swarm from now on.
    pub(crate) fn allow(&self, infohash: InfoHash) {
        let whitelist = self.folder.path().join(WHITELIST);
        fs::write(whitelist, format!("{infohash}\n")).unwrap();
        self.running.signal("HUP");
        self.wait_until_it_serves(infohash);
    }

    fn wait_until_it_serves(&self, infohash: InfoHash) {
        for event in ["started", "stopped"] {
            poll("the tracker to serve the swarm", || {
                self.tell(infohash, event)?.contains("interval").then_some(())
            });
        }
    }

    /// Announces a peer that is not there, unless the tracker is too busy with its start. Only
    /// joining shows whether it serves a swarm: it takes a farewell from anybody.
    fn tell(&self, infohash: InfoHash, event: &str) -> Option<String> {
        let escape = |byte: &u8| format!("%{byte:02x}");
        let infohash = infohash.as_bytes().iter().map(escape).collect::<String>();
        let request = format!(
            "GET /announce?info_hash={infohash}&peer_id=-ask-it-what-it-does&port=1&left=1\
             &event={event}&compact=1 HTTP/1.0\r\n\r\n"
        );
        let mut answer = Vec::new();
        let mut stream = connect(self.address);
        stream.write_all(request.as_bytes()).ok()?;
        stream.read_to_end(&mut answer).ok()?;
        Some(String::from_utf8_lossy(&answer).into_owned())
    }
}
