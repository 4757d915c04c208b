//! rTorrent, steered by XML-RPC over SCGI over a Unix socket.
//!
//! It refuses a torrent without a tracker unless its DHT is on; here that finds nobody. When it has the metadata it forgets the peers that it had them from.
//! <https://rtorrent-docs.readthedocs.io/en/latest/cmd-ref.html>

use std::fs;
use std::io::{Read, Write};
use std::net::SocketAddr;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::common::child::{Running, poll};
use crate::journey::{Link, text};
use crate::programs::program;
use crate::stage::{Size, Stage};

use super::{Client, Desk, PEER_PORT, Task, version_in};

/// What it logs, in the state folder.
const LOG: &str = "log";

/// What is in an answer that reports a failure.
const FAULT: &str = "<fault>";

pub(crate) struct RTorrent {
    _running: Running,
    socket: PathBuf,
    /// How it names the torrent.
    hash: String,
    peers: Vec<SocketAddr>,
}

impl Client for RTorrent {
    const NAME: &str = "rTorrent";
    const CAN_BE_TOLD_PEERS: bool = true;
    const REMARK: &str = "\
To download it is told the peer. It refuses a torrent without a tracker while its DHT is off
(`Could not find any trackers`), so that is on, in a network without other nodes. As a seeder it
answers one request for metadata and drops those that came right behind it.";

    fn version() -> String {
        version_in(Command::new(program("rtorrent", "rtorrent")).arg("-h"))
    }

    fn join(desk: &Desk, task: &Task) -> Self {
        let client = Self::start(desk, task, "on");
        poll("rTorrent to have started the torrent", || {
            (client.tell("d.is_active")? == "1").then_some(())
        });
        client.tell_peers();
        client
    }

    fn wait_for_metadata(&self) {
        poll("rTorrent to have the metadata", || (self.tell("d.is_meta")? == "0").then_some(()));
    }

    fn wait_until_complete(&self) {
        self.wait_for_metadata();
        self.tell_peers();
        poll("rTorrent to be complete", || {
            let told = ["d.is_meta", "d.complete", "d.is_active"].map(|what| self.tell(what));
            (told == ["0", "1", "1"].map(|value| Some(value.to_owned()))).then_some(())
        });
    }
}

impl RTorrent {
    /// Starts it, and asks it to start the torrent.
    fn start(desk: &Desk, task: &Task, dht: &str) -> Self {
        let socket = desk.state().join("socket");
        let settings = desk.write("rtorrent.rc", &settings(desk, &socket, dht));
        let mut command = desk.command(&program("rtorrent", "rtorrent"));
        command.args(["-n", "-o"]).arg(format!("import={}", settings.display()));
        let running = Running::start(command.env("TERM", "dumb"));
        let hash = task.infohash.to_string().to_uppercase();
        let client = Self { _running: running, socket, hash, peers: task.peers.clone() };
        poll("rTorrent to answer", || UnixStream::connect(&client.socket).ok());
        if let Some(entry) = desk.entry() {
            let answer = client.call("dht.add_node", &["", &entry.to_string()]);
            assert!(!answer.contains(FAULT), "{answer}");
        }
        let what = match &task.link {
            Link::Torrent(path) => path.to_str().unwrap(),
            Link::Magnet(link) => link,
        };
        client.call("load.start_verbose", &["", what]);
        client
    }

    fn tell_peers(&self) {
        for peer in &self.peers {
            let answer = self.call("add_peer", &[&self.hash, &peer.to_string()]);
            assert!(!answer.contains(FAULT), "{answer}");
        }
    }

    /// What it tells about the torrent; nothing if it does not have it at the moment.
    fn tell(&self, what: &str) -> Option<String> {
        let answer = self.call(what, &[&self.hash]);
        let value = answer.split("<value><i").nth(1)?.split_once('>')?.1.split('<').next()?;
        (!answer.contains(FAULT)).then(|| value.to_owned())
    }

    fn call(&self, method: &str, params: &[&str]) -> String {
        let escape = |text: &str| text.replace('&', "&amp;").replace('<', "&lt;");
        let param = |text: &&str| {
            format!("<param><value><string>{}</string></value></param>", escape(text))
        };
        let params = params.iter().map(param).collect::<String>();
        let body = format!(
            "<?xml version=\"1.0\"?><methodCall><methodName>{method}</methodName>\
             <params>{params}</params></methodCall>"
        );
        let header = format!("CONTENT_LENGTH\0{}\0SCGI\x001\0", body.len());
        let mut socket = UnixStream::connect(&self.socket).unwrap();
        write!(socket, "{}:{header},{body}", header.len()).unwrap();
        let mut answer = Vec::new();
        socket.read_to_end(&mut answer).unwrap();
        text(&answer)
    }
}

fn settings(desk: &Desk, socket: &Path, dht: &str) -> String {
    format!(
        "system.daemon.set = true\n\
         directory.default.set = {content}\n\
         session.path.set = {session}\n\
         network.bind_address.set = {ip}\n\
         network.port_range.set = {PEER_PORT}-{PEER_PORT}\n\
         network.port_random.set = no\n\
         network.scgi.open_local = {socket}\n\
         dht.port.set = {PEER_PORT}\n\
         dht.mode.set = {dht}\n\
         log.open_file = \"log\", {log}\n\
         log.add_output = \"info\", \"log\"\n\
         protocol.pex.set = no\n\
         trackers.use_udp.set = no\n",
        content = desk.content().display(),
        session = desk.state().display(),
        ip = desk.address().ip(),
        socket = socket.display(),
        log = desk.state().join(LOG).display(),
    )
}

#[test]
fn rtorrent_refuses_a_torrent_without_a_tracker_while_its_dht_is_off() {
    let stage = Stage::new(Size::SMALL);
    let desk = Desk::new(&stage.net.theirs);
    let client = RTorrent::start(&desk, &stage.by_torrent(&[]), "disable");
    poll("rTorrent to refuse the torrent", || {
        assert_eq!(client.tell("d.is_active"), None);
        let log = fs::read(desk.state().join(LOG)).unwrap();
        text(&log).contains("Could not find any trackers").then_some(())
    });
}
