//! The tracker opentracker.
//!
//! Debian builds it with a whitelist: it serves only infohashes that are in a file, which it
//! reads when it starts and at each hangup signal. Run by root it becomes `nobody` and locks
//! itself into the folder of that file, so the folder must be open to all.

use std::fs::{self, Permissions};
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt;

use offswarm::id::InfoHash;
use tempfile::TempDir;

use crate::common::child::{Running, poll};
use crate::net::Machine;
use crate::programs::{free_address, program};

const WHITELIST: &str = "whitelist";

/// What is in an answer that gives no peers.
const REFUSAL: &str = "failure reason";

/// A running tracker.
pub(crate) struct Tracker {
    running: Running,
    folder: TempDir,
    machine: Machine,
    address: SocketAddr,
}

impl Tracker {
    /// Starts a tracker on loopback that serves nothing yet.
    pub(crate) fn start() -> Self {
        Self::start_on(Machine::this(), free_address())
    }

    /// Starts a tracker on a machine, at one of its addresses, that serves nothing yet.
    pub(crate) fn start_on(machine: Machine, address: SocketAddr) -> Self {
        Self::with_whitelist(machine, address, "")
    }

    /// Starts a tracker on loopback that serves a swarm from the beginning: a hangup signal in its
    /// first moments would end it.
    pub(crate) fn serving(infohash: InfoHash) -> Self {
        let whitelist = format!("{infohash}\n");
        let tracker = Self::with_whitelist(Machine::this(), free_address(), &whitelist);
        tracker.wait_until_it_serves(infohash);
        tracker
    }

    fn with_whitelist(machine: Machine, address: SocketAddr, whitelist: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        fs::set_permissions(folder.path(), Permissions::from_mode(0o755)).unwrap();
        fs::write(folder.path().join(WHITELIST), whitelist).unwrap();
        let (ip, port) = (address.ip().to_string(), address.port().to_string());
        let mut command = machine.command_of_nobody(program("opentracker", "opentracker"));
        command.args(["-i", &ip, "-p", &port, "-P", &port, "-w", WHITELIST, "-d"]);
        let running = Running::start(command.arg(folder.path()).current_dir(folder.path()));
        let tracker = Self { running, folder, machine, address };
        poll("an answer of the tracker", || tracker.machine.curl([tracker.url()]));
        tracker
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
        // A peer that leaves is answered in any case, so ask as one that comes.
        poll("the tracker to serve the swarm", || {
            (!self.announce(infohash, "started")?.contains(REFUSAL)).then_some(())
        });
        self.announce(infohash, "stopped").expect("an answer to a farewell");
    }

    /// Waits until somebody has announced to have everything.
    pub(crate) fn wait_for_a_seed(&self, infohash: InfoHash) {
        poll("a seed that the tracker knows", || {
            self.announce(infohash, "stopped")?.contains("8:completei1e").then_some(())
        });
    }

    /// The answer to a peer that comes or goes. It tells how many are in the swarm.
    fn announce(&self, infohash: InfoHash, event: &str) -> Option<String> {
        let escape = |byte: &u8| format!("%{byte:02x}");
        let infohash = infohash.as_bytes().iter().map(escape).collect::<String>();
        let query = format!("peer_id=-ask-it-what-it-does&port=1&left=1&event={event}");
        self.machine.curl([format!("{}?info_hash={infohash}&compact=1&{query}", self.url())])
    }
}
