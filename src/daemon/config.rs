//! The configuration: one table of keys ([`KEYS`]), each with its flag, its environment variable,
//! its default, and where its value came from.
//!
//! A flag goes before the environment, that before the file, and that before the default. The file
//! is TOML; the name of a key is its section, a dot and its name there:
//!
//! ```toml
//! [store]
//! limit_bytes = 10737418240
//!
//! [http]
//! listen = "127.0.0.1:23402"
//! ```
//!
//! All of it is for the daemon. A command that opens the store itself keeps to `[store]`, `[native]`,
//! `[dht]` and the limits under `[peers]`; what else it does its own flags say.
//!
//! What is not in the table, is of another kind or out of range is an error with file, line, key
//! and what is allowed: a key that is misspelt must not be a key that is not there.

mod input;
mod keys;
pub mod parse;

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{ErrorKind, Read};
use std::net::{Ipv4Addr, SocketAddr};
use std::num::NonZeroU32;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::Serialize;
use toml::de::{DeTable, DeValue};

use crate::client::fetch::Ways;
use crate::client::{Percent, Settings};
use crate::id::excerpt;
use crate::limits::MAX_CONFIG_LEN;
use crate::limits::legacy::LEGACY_BRIDGE_TIME;
use crate::peer::front::Limits;
use crate::swarm::native::NativeOptions;
use crate::swarm::session::{DhtOptions, Options};

use input::Input;
pub use keys::{KEYS, Key, Kind, key};

/// Where clients find the DHT that know no node of it yet: run by the makers of libtorrent,
/// BitTorrent and Transmission.
const BOOTSTRAP: [&str; 4] = [
    "dht.libtorrent.org:25401",
    "router.bittorrent.com:6881",
    "router.utorrent.com:6881",
    "dht.transmissionbt.com:6881",
];

/// What every key is set to.
#[derive(Debug, Clone)]
pub struct Values {
    /// Bytes of blocks the store may hold.
    pub limit: Option<u64>,
    /// The share of the limit for blocks of others.
    pub host_share: Percent,
    /// Native peers to connect to.
    pub native_peers: Vec<SocketAddr>,
    /// Whether native peers are looked for on the local network.
    pub lan: bool,
    /// Whether we take part in the DHT.
    pub dht: bool,
    /// Nodes of the DHT to begin with.
    pub bootstrap: Vec<String>,
    /// Where to listen for peers; any free port by default.
    pub peers_listen: Option<SocketAddr>,
    /// Connections to peers.
    pub max_peers: usize,
    /// Bytes a second out.
    pub up_limit: Option<NonZeroU32>,
    /// Bytes a second in.
    pub down_limit: Option<NonZeroU32>,
    /// Trackers to announce to and ask.
    pub trackers: Vec<String>,
    /// Whether HTTP is served.
    pub http: bool,
    /// Where HTTP is served.
    pub http_listen: SocketAddr,
    /// Names by which browsers may ask besides.
    pub http_hosts: Vec<String>,
    /// How js-offs nodes are answered.
    pub legacy: LegacyValues,
    /// How long a fetch waits for anything to come; zero is for ever.
    pub stall: Duration,
    /// How long a fetch may take; zero is for ever.
    pub timeout: Duration,
    /// What to log.
    pub log: String,
    /// How long what is under way may go on at the end.
    pub drain: Duration,
}

/// How js-offs nodes are answered.
#[derive(Debug, Clone, Copy)]
pub struct LegacyValues {
    /// Whether they are.
    pub enabled: bool,
    /// Where.
    pub listen: SocketAddr,
    /// Where the world reaches us, for their sake; what they see by default.
    pub address: Option<SocketAddr>,
    /// How long they wait for a block that is not here; zero: none is brought.
    pub bridge: Duration,
}

impl Default for LegacyValues {
    fn default() -> Self {
        let listen = (Ipv4Addr::UNSPECIFIED, 8200).into();
        Self { enabled: false, listen, address: None, bridge: LEGACY_BRIDGE_TIME }
    }
}

impl Default for Values {
    fn default() -> Self {
        Self {
            limit: None,
            host_share: Percent::ZERO,
            native_peers: Vec::new(),
            lan: false,
            dht: true,
            bootstrap: BOOTSTRAP.map(str::to_owned).to_vec(),
            peers_listen: None,
            max_peers: Limits::default().max_peers,
            up_limit: None,
            down_limit: None,
            trackers: Vec::new(),
            http: true,
            http_listen: (Ipv4Addr::LOCALHOST, 23402).into(),
            http_hosts: Vec::new(),
            legacy: LegacyValues::default(),
            stall: Duration::from_secs(60),
            timeout: Duration::ZERO,
            log: "error,offswarm=warn".to_owned(),
            drain: Duration::from_secs(10),
        }
    }
}

impl Values {
    /// What a client keeps to.
    pub fn settings(&self) -> Result<Settings, ConfigError> {
        let Self { limit, host_share, .. } = *self;
        if limit.is_none() && host_share > Percent::ZERO {
            return Err(ConfigError::Endless { host_share });
        }
        Ok(Settings { limit, host_share })
    }

    /// What swarms keep to that stay open.
    #[must_use]
    pub fn swarms(&self) -> Options {
        let limits = Limits {
            max_peers: self.max_peers,
            upload: self.up_limit,
            download: self.down_limit,
            ..Limits::default()
        };
        let bootstrap = self.bootstrap.clone();
        let dht = self.dht.then_some(DhtOptions { bootstrap, stays: true, state: None });
        let native = NativeOptions { peers: self.native_peers.clone(), lan: self.lan, stays: true };
        Options { listen: self.peers_listen, limits, dht, native, tended: false }
    }

    /// How blocks are looked for.
    #[must_use]
    pub fn ways(&self) -> Ways {
        let limit = |time: Duration| (!time.is_zero()).then_some(time);
        Ways {
            trackers: self.trackers.clone(),
            swarms: self.swarms(),
            timeout: limit(self.timeout),
            stall: limit(self.stall),
            ..Ways::default()
        }
    }
}

/// Where a value came from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Origin {
    /// Nobody said anything.
    Default,
    /// The configuration file.
    File,
    /// An environment variable.
    Environment,
    /// The command line.
    Flag,
}

impl std::fmt::Display for Origin {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad(match self {
            Self::Default => "default",
            Self::File => "file",
            Self::Environment => "environment",
            Self::Flag => "flag",
        })
    }
}

/// A key that was given on the command line or in the environment.
#[derive(Debug, Clone)]
pub struct Given {
    /// The key.
    pub key: &'static Key,
    /// Its value, or its values.
    pub texts: Vec<String>,
    /// Which of the two.
    pub origin: Origin,
}

/// The configuration of a run.
#[derive(Debug, Clone)]
pub struct Config {
    /// The file, whether there is one or not.
    pub file: PathBuf,
    /// What every key is set to.
    pub values: Values,
    origins: BTreeMap<&'static str, Origin>,
}

/// One key, as `config show` and the API tell it.
#[derive(Debug, Serialize)]
pub struct Shown {
    /// Section and name.
    pub key: &'static str,
    /// What it is set to; `null` is nothing, or no limit.
    pub value: serde_json::Value,
    /// Where that came from.
    pub origin: Origin,
    /// The flag.
    pub flag: String,
    /// The environment variable.
    pub environment: String,
    /// What it is if nobody says anything.
    pub default: serde_json::Value,
    /// What it is for.
    pub about: &'static str,
}

impl Config {
    /// Reads the file, if there is one, and puts what was given over it.
    pub fn load(file: &Path, given: &[Given]) -> Result<Self, ConfigError> {
        let mut config =
            Self { file: file.to_owned(), values: Values::default(), origins: BTreeMap::new() };
        if let Some(text) = read(file)? {
            config.take_file(&text)?;
        }
        for Given { key, texts, origin } in given {
            let taken = (key.take)(&mut config.values, Input::Texts(texts));
            taken.map_err(|why| {
                let place = match origin {
                    Origin::Environment => key.environment(),
                    _ => format!("--{}", key.flag),
                };
                ConfigError::value(key, place, &texts.join(","), why)
            })?;
            config.origins.insert(key.name, *origin);
        }
        Ok(config)
    }

    /// Where the value of a key came from.
    #[must_use]
    pub fn origin(&self, key: &Key) -> Origin {
        self.origins.get(key.name).copied().unwrap_or(Origin::Default)
    }

    /// All keys, in the order of the table. There are no secrets among them.
    #[must_use]
    pub fn show(&self) -> Vec<Shown> {
        let shown = |key: &'static Key| Shown {
            key: key.name,
            value: (key.show)(&self.values),
            origin: self.origin(key),
            flag: format!("--{}", key.flag),
            environment: key.environment(),
            default: key.default(),
            about: key.about,
        };
        KEYS.iter().map(shown).collect()
    }

    fn take_file(&mut self, text: &str) -> Result<(), ConfigError> {
        let path = || self.file.clone();
        let line = |at: usize| text.get(..at).unwrap_or(text).matches('\n').count() + 1;
        let table = DeTable::parse(text).map_err(|error| ConfigError::Syntax {
            path: path(),
            line: line(error.span().map_or(0, |span| span.start)),
            why: error.message().to_owned(),
        })?;
        for (section, contents) in table.get_ref() {
            let name = section.get_ref();
            let DeValue::Table(contents) = contents.get_ref() else {
                let (key, line) = (name.to_string(), line(section.span().start));
                return Err(ConfigError::unknown(path(), line, key));
            };
            let prefix = format!("{name}.");
            if !KEYS.iter().any(|key| key.name.starts_with(&prefix)) {
                let line = line(section.span().start);
                return Err(ConfigError::UnknownSection {
                    path: path(),
                    line,
                    name: name.to_string(),
                });
            }
            for (name, value) in contents {
                let full = format!("{prefix}{}", name.get_ref());
                let line = line(name.span().start);
                let key =
                    key(&full).ok_or_else(|| ConfigError::unknown(path(), line, full.clone()))?;
                (key.take)(&mut self.values, Input::Toml(value.get_ref())).map_err(|why| {
                    let place = format!("{}, line {line}", self.file.display());
                    ConfigError::value(key, place, text.get(value.span()).unwrap_or(""), why)
                })?;
                self.origins.insert(key.name, Origin::File);
            }
        }
        Ok(())
    }
}

/// The text of a file, or `None` if there is none.
fn read(path: &Path) -> Result<Option<String>, ConfigError> {
    let failed = |source| ConfigError::Read { path: path.to_owned(), source };
    let file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(failed(error)),
    };
    let mut text = String::new();
    file.take(MAX_CONFIG_LEN + 1).read_to_string(&mut text).map_err(failed)?;
    if text.len() as u64 > MAX_CONFIG_LEN {
        let why = format!("it is longer than {MAX_CONFIG_LEN} bytes");
        return Err(failed(std::io::Error::new(ErrorKind::FileTooLarge, why)));
    }
    Ok(Some(text))
}

/// Why a configuration is of no use.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file could not be read.
    #[error("cannot read {}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// The file is not TOML.
    #[error("cannot use {}, line {line}: {why}", path.display())]
    Syntax {
        /// The file.
        path: PathBuf,
        /// Counted from 1.
        line: usize,
        /// What is wrong with it.
        why: String,
    },
    /// There is no such key.
    #[error("cannot use {}, line {line}: unknown key `{key}`; allowed are {allowed}", path.display())]
    Unknown {
        /// The file.
        path: PathBuf,
        /// Counted from 1.
        line: usize,
        /// The key.
        key: String,
        /// The keys of its section.
        allowed: String,
    },
    /// There is no such section.
    #[error("cannot use {}, line {line}: unknown section `[{name}]`; allowed are {}", path.display(), sections())]
    UnknownSection {
        /// The file.
        path: PathBuf,
        /// Counted from 1.
        line: usize,
        /// The section.
        name: String,
    },
    /// A value does not fit its key.
    #[error("cannot use {place}: `{key}` is {given}: {why}; allowed is {allowed}")]
    Value {
        /// The file and line, the flag or the environment variable.
        place: String,
        /// The key.
        key: &'static str,
        /// The beginning of it.
        given: String,
        /// What is wrong with it.
        why: String,
        /// What values it may have.
        allowed: &'static str,
    },
    /// A share for others of a store that may grow for ever.
    #[error("{host_share} for others of a store without a limit has no end")]
    Endless {
        /// The share.
        host_share: Percent,
    },
}

impl ConfigError {
    /// Whether the user has to change something, rather than the system.
    #[must_use]
    pub const fn is_usage(&self) -> bool {
        !matches!(self, Self::Read { .. })
    }

    fn value(key: &Key, place: String, given: &str, why: String) -> Self {
        let given = excerpt(given);
        Self::Value { place, key: key.name, given, why, allowed: key.allowed }
    }

    fn unknown(path: PathBuf, line: usize, key: String) -> Self {
        let section = key.split_once('.').map_or("", |(section, _)| section);
        let prefix = format!("{section}.");
        let names = KEYS.iter().filter_map(|key| key.name.strip_prefix(&prefix));
        let allowed: Vec<_> = names.map(|name| format!("`{name}`")).collect();
        let allowed = if allowed.is_empty() {
            format!("the sections {}", sections())
        } else {
            allowed.join(", ")
        };
        Self::Unknown { path, line, key, allowed }
    }
}

/// All sections, for an error.
fn sections() -> String {
    let mut names: Vec<_> = KEYS
        .iter()
        .filter_map(|key| key.name.split_once('.'))
        .map(|(name, _)| format!("`[{name}]`"))
        .collect();
    names.dedup();
    names.sort();
    names.dedup();
    names.join(", ")
}

#[cfg(test)]
mod tests;
