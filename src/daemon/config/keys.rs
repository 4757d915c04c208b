//! The table of keys.

use std::net::SocketAddr;

use serde_json::{Value as Json, json};

use crate::limits::{MAX_CONFIG_LIST, MAX_HINTS};

use super::input::Input;
use super::{Values, parse};

/// How a key is given on the command line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A flag without a value that turns it on.
    On,
    /// A flag without a value that turns it off.
    Off,
    /// One value; its name in the help.
    One(&'static str),
    /// A flag that may be repeated; the name of its value in the help.
    Many(&'static str),
}

/// A key of the configuration.
pub struct Key {
    /// Section and name, as in `http.listen`.
    pub name: &'static str,
    /// The flag without its dashes.
    pub flag: &'static str,
    /// How the flag is given.
    pub kind: Kind,
    /// What it is for: one sentence without its full stop.
    pub about: &'static str,
    /// What values it may have.
    pub allowed: &'static str,
    pub(super) take: fn(&mut Values, Input<'_>) -> Result<(), String>,
    pub(super) show: fn(&Values) -> Json,
}

impl std::fmt::Debug for Key {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Key").field(&self.name).finish()
    }
}

impl Key {
    /// The environment variable.
    #[must_use]
    pub fn environment(&self) -> String {
        format!("OFFSWARM_{}", self.flag.replace('-', "_").to_uppercase())
    }

    /// What it is if nobody says anything; `null` is nothing, or no limit.
    #[must_use]
    pub fn default(&self) -> Json {
        (self.show)(&Values::default())
    }

    /// Whether a text can be a value of it, or one of its values.
    pub fn check(&self, text: &str) -> Result<(), String> {
        (self.take)(&mut Values::default(), Input::Texts(&[text.to_owned()]))
            .map_err(|why| format!("{why}; allowed is {}", self.allowed))
    }
}

fn socket(text: &str) -> Result<SocketAddr, String> {
    text.parse().map_err(|_| format!("{text:?} is no address and port"))
}

/// All keys, in the order of the file.
pub static KEYS: &[Key] = &[
    Key {
        name: "store.limit_bytes",
        flag: "limit",
        kind: Kind::One("SIZE"),
        about: "Bytes of blocks the store may hold",
        allowed: "a number of bytes, or a size like \"10GiB\"",
        take: |values, input| input.read(parse::size).map(|limit| values.limit = Some(limit)),
        show: |values| json!(values.limit),
    },
    Key {
        name: "native.peers",
        flag: "native-peer",
        kind: Kind::Many("ADDR:PORT"),
        about: "Native peers to connect to",
        allowed: "a list of addresses with ports, as in [\"192.0.2.7:6881\"]",
        take: |values, input| {
            input.list(MAX_CONFIG_LIST, socket).map(|peers| values.native_peers = peers)
        },
        show: |values| json!(values.native_peers),
    },
    Key {
        name: "native.lan",
        flag: "lan",
        kind: Kind::On,
        about: "Look for native peers on the local network, and be found there (BEP 14)",
        allowed: "true or false",
        take: |values, input| input.switch().map(|lan| values.lan = lan),
        show: |values| json!(values.lan),
    },
    Key {
        name: "native.host_share_percent",
        flag: "host-share",
        kind: Kind::One("PERCENT"),
        about: "How much of the limit may be blocks that others push to us",
        allowed: "a number from 0 to 100",
        take: |values, input| input.read(parse::percent).map(|share| values.host_share = share),
        show: |values| json!(values.host_share.get()),
    },
    Key {
        name: "dht.enabled",
        flag: "no-dht",
        kind: Kind::Off,
        about: "Take part in the DHT",
        allowed: "true or false",
        take: |values, input| input.switch().map(|dht| values.dht = dht),
        show: |values| json!(values.dht),
    },
    Key {
        name: "dht.bootstrap",
        flag: "dht-bootstrap",
        kind: Kind::Many("HOST:PORT"),
        about: "Nodes of the DHT to begin with",
        allowed: "a list of names or addresses with ports, as in [\"dht.libtorrent.org:25401\"]",
        take: |values, input| {
            input.list(MAX_CONFIG_LIST, parse::entry).map(|entries| values.bootstrap = entries)
        },
        show: |values| json!(values.bootstrap),
    },
    Key {
        name: "peers.listen",
        flag: "listen",
        kind: Kind::One("ADDR:PORT"),
        about: "Where to listen for BitTorrent and native peers (TCP)",
        allowed: "an address and port, as in \"0.0.0.0:6881\"; without, any free port is taken",
        take: |values, input| input.read(socket).map(|listen| values.peers_listen = Some(listen)),
        show: |values| json!(values.peers_listen),
    },
    Key {
        name: "peers.max_peers",
        flag: "max-peers",
        kind: Kind::One("NUMBER"),
        about: "Connections to peers, at most",
        allowed: "a number from 1 to 10000",
        take: |values, input| input.read(parse::peers).map(|most| values.max_peers = most),
        show: |values| json!(values.max_peers),
    },
    Key {
        name: "peers.up_limit",
        flag: "up-limit",
        kind: Kind::One("SIZE"),
        about: "Bytes to send a second, at most",
        allowed: "a number of bytes from 1 to 4294967295, or a size like \"2MiB\"",
        take: |values, input| input.read(parse::rate).map(|rate| values.up_limit = Some(rate)),
        show: |values| json!(values.up_limit),
    },
    Key {
        name: "peers.down_limit",
        flag: "down-limit",
        kind: Kind::One("SIZE"),
        about: "Bytes to receive a second, at most",
        allowed: "a number of bytes from 1 to 4294967295, or a size like \"2MiB\"",
        take: |values, input| input.read(parse::rate).map(|rate| values.down_limit = Some(rate)),
        show: |values| json!(values.down_limit),
    },
    Key {
        name: "peers.trackers",
        flag: "tracker",
        kind: Kind::Many("URL"),
        about: "Trackers to announce to and ask",
        allowed: "a list of http, https or udp addresses",
        take: |values, input| {
            input.list(MAX_HINTS, parse::tracker).map(|trackers| values.trackers = trackers)
        },
        show: |values| json!(values.trackers),
    },
    Key {
        name: "http.enabled",
        flag: "no-http",
        kind: Kind::Off,
        about: "Serve the gateway, the API and the web page",
        allowed: "true or false",
        take: |values, input| input.switch().map(|http| values.http = http),
        show: |values| json!(values.http),
    },
    Key {
        name: "http.listen",
        flag: "http-listen",
        kind: Kind::One("ADDR:PORT"),
        about: "Where to serve HTTP; other addresses than this machine's own need the token in \
                api.token in the home",
        allowed: "an address and port, as in \"127.0.0.1:23402\"",
        take: |values, input| input.read(socket).map(|listen| values.http_listen = listen),
        show: |values| json!(values.http_listen),
    },
    Key {
        name: "http.hosts",
        flag: "http-host",
        kind: Kind::Many("NAME"),
        about: "Names besides localhost and the address itself by which browsers may ask",
        allowed: "a list of host names without ports, as in [\"nas.example\"]",
        take: |values, input| {
            input.list(MAX_CONFIG_LIST, parse::host).map(|hosts| values.http_hosts = hosts)
        },
        show: |values| json!(values.http_hosts),
    },
    Key {
        name: "legacy.enabled",
        flag: "legacy",
        kind: Kind::On,
        about: "Answer js-offs nodes, and bring what they ask for from native nodes and swarms",
        allowed: "true or false",
        take: |values, input| input.switch().map(|legacy| values.legacy.enabled = legacy),
        show: |values| json!(values.legacy.enabled),
    },
    Key {
        name: "legacy.listen",
        flag: "legacy-listen",
        kind: Kind::One("ADDR:PORT"),
        about: "Where to answer js-offs nodes",
        allowed: "an address and port, as in \"0.0.0.0:8200\"",
        take: |values, input| input.read(socket).map(|listen| values.legacy.listen = listen),
        show: |values| json!(values.legacy.listen),
    },
    Key {
        name: "legacy.address",
        flag: "legacy-address",
        kind: Kind::One("ADDR:PORT"),
        about: "Where the world reaches us, to tell js-offs nodes",
        allowed: "an address and port, as in \"203.0.113.5:8200\"; without, each node is told the \
                  address at which it sees us",
        take: |values, input| {
            input.read(socket).map(|address| values.legacy.address = Some(address))
        },
        show: |values| json!(values.legacy.address),
    },
    Key {
        name: "legacy.bridge_seconds",
        flag: "legacy-bridge",
        kind: Kind::One("TIME"),
        about: "How long a js-offs node waits for a block that is brought from elsewhere, into a \
                store with a limit; 0: none is brought",
        allowed: "a number of seconds up to 100, or a time like \"30s\"",
        take: |values, input| {
            let patience = input.seconds()?;
            // js-offs gives up after 120 s.
            if patience.as_secs() > 100 {
                return Err("that is longer than 100 seconds".into());
            }
            values.legacy.bridge = patience;
            Ok(())
        },
        show: |values| json!(values.legacy.bridge.as_secs_f64()),
    },
    Key {
        name: "fetch.stall_seconds",
        flag: "stall",
        kind: Kind::One("TIME"),
        about: "Give a fetch up when nothing has come for so long; 0 is never",
        allowed: "a number of seconds, or a time like \"5m\"",
        take: |values, input| input.seconds().map(|time| values.stall = time),
        show: |values| json!(values.stall.as_secs_f64()),
    },
    Key {
        name: "fetch.timeout_seconds",
        flag: "timeout",
        kind: Kind::One("TIME"),
        about: "Give a fetch up after so long; 0 is never",
        allowed: "a number of seconds, or a time like \"5m\"",
        take: |values, input| input.seconds().map(|time| values.timeout = time),
        show: |values| json!(values.timeout.as_secs_f64()),
    },
    Key {
        name: "log.filter",
        flag: "log",
        kind: Kind::One("FILTER"),
        about: "What to log to stderr",
        allowed: "levels and modules, as in \"offswarm=debug\"",
        take: |values, input| input.read(parse::log_filter).map(|filter| values.log = filter),
        show: |values| json!(values.log),
    },
    Key {
        name: "serve.drain_seconds",
        flag: "drain",
        kind: Kind::One("TIME"),
        about: "How long what is under way may go on when the daemon is told to stop",
        allowed: "a number of seconds up to 600, or a time like \"10s\"",
        take: |values, input| {
            let drain = input.seconds()?;
            if drain.as_secs() > 600 {
                return Err("that is longer than 600 seconds".into());
            }
            values.drain = drain;
            Ok(())
        },
        show: |values| json!(values.drain.as_secs_f64()),
    },
];

/// The key of a name.
#[must_use]
pub fn key(name: &str) -> Option<&'static Key> {
    KEYS.iter().find(|key| key.name == name)
}
