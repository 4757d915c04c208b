//! Which home the user means.

use std::io::ErrorKind;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use etcetera::BaseStrategy;
use serde::Deserialize;

use crate::client::{Client, Percent, Settings};
use crate::off::OffUrl;
use crate::swarm::native::NativeOptions;
use crate::torrent::magnet::Magnet;

use super::args::{DhtFlags, EntryArgs, Global, NativeFlags};
use super::exit::{CliError, Exit};

/// Where clients find the DHT that know no node of it yet: run by the makers of libtorrent,
/// BitTorrent and Transmission.
const BOOTSTRAP: [&str; 4] = [
    "dht.libtorrent.org:25401",
    "router.bittorrent.com:6881",
    "router.utorrent.com:6881",
    "dht.transmissionbt.com:6881",
];

/// The configuration file:
///
/// ```toml
/// [store]
/// limit_bytes = 10737418240
///
/// [native]
/// host_share_percent = 25
///
/// [dht]
/// enabled = true
/// bootstrap = ["dht.libtorrent.org:25401"]
///
/// [native]
/// peers = ["192.0.2.7:6881"]
/// ```
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Config {
    store: StoreConfig,
    native: NativeConfig,
    dht: DhtConfig,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct DhtConfig {
    enabled: Option<bool>,
    bootstrap: Option<Vec<String>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct StoreConfig {
    limit_bytes: Option<u64>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct NativeConfig {
    peers: Vec<SocketAddr>,
    lan: Option<bool>,
    host_share_percent: Option<u8>,
}

impl NativeConfig {
    fn host_share(&self) -> Result<Percent, CliError> {
        let percent = self.host_share_percent.unwrap_or_default();
        Percent::new(percent).ok_or_else(|| {
            let why = format!("host_share_percent is {percent}, and more than 100 cannot be had");
            CliError::usage("cannot use config.toml", why)
        })
    }
}

impl Config {
    /// Reads the file; one that is not there says nothing.
    fn read(path: &Path) -> Result<Self, CliError> {
        let text = match std::fs::read_to_string(path) {
            Ok(text) => text,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Self::default()),
            Err(error) => {
                return Err(CliError::failed(format!("cannot read {}", path.display()), error));
            }
        };
        toml::from_str(&text)
            .map_err(|error| CliError::usage(format!("cannot use {}", path.display()), error))
    }
}

impl DhtConfig {
    /// The nodes to begin with: those of the flags, else those of the file, else the usual ones.
    fn entries(self, flags: &[String]) -> Vec<String> {
        if !flags.is_empty() {
            return flags.to_vec();
        }
        self.bootstrap.unwrap_or_else(|| BOOTSTRAP.map(str::to_owned).to_vec())
    }
}

impl Global {
    /// The home of `--home`, else `offswarm` in the user's data folder (XDG).
    pub(super) fn folder(&self) -> Result<PathBuf, CliError> {
        if let Some(home) = &self.home {
            return Ok(home.clone());
        }
        let dirs = etcetera::choose_base_strategy().map_err(|error| {
            CliError::failed("cannot tell the home folder", error).hint("name one with --home")
        })?;
        Ok(dirs.data_dir().join("offswarm"))
    }

    /// Flags (and their environment twins) first, then the configuration file.
    fn settings(&self) -> Result<Settings, CliError> {
        let configured = Config::read(&self.config_file()?)?;
        let limit = self.limit.or(configured.store.limit_bytes);
        let host_share = self.host_share.map_or_else(|| configured.native.host_share(), Ok)?;
        if limit.is_none() && host_share > Percent::ZERO {
            let error = format!("{host_share} for others of a store without a limit has no end");
            return Err(CliError::new(Exit::Usage, error)
                .hint("set --limit, or limit_bytes under [store] in config.toml"));
        }
        Ok(Settings { limit, host_share })
    }

    /// The nodes of the DHT to begin with; `None` if we take no part in it. Flags come first, then
    /// the configuration file, then those that everybody begins with.
    pub(super) fn dht(&self, flags: &DhtFlags) -> Result<Option<Vec<String>>, CliError> {
        let configured = Config::read(&self.config_file()?)?.dht;
        if flags.no_dht || (flags.dht_bootstrap.is_empty() && configured.enabled == Some(false)) {
            return Ok(None);
        }
        Ok(Some(configured.entries(&flags.dht_bootstrap)))
    }

    /// Where native peers are found: those of the flags, else those of the file.
    pub(super) fn native(&self, flags: &NativeFlags) -> Result<NativeOptions, CliError> {
        let configured = Config::read(&self.config_file()?)?.native;
        let named = !flags.native_peer.is_empty();
        Ok(NativeOptions {
            peers: if named { flags.native_peer.clone() } else { configured.peers },
            lan: flags.lan || configured.lan.unwrap_or_default(),
            stays: false,
        })
    }

    /// The nodes of the DHT to begin with, for somebody who wants it.
    pub(super) fn dht_entries(&self, flags: &EntryArgs) -> Result<Vec<String>, CliError> {
        Ok(Config::read(&self.config_file()?)?.dht.entries(&flags.dht_bootstrap))
    }

    /// `config.toml` in the home that was named, else in the user's configuration folder.
    fn config_file(&self) -> Result<PathBuf, CliError> {
        if let Some(home) = &self.home {
            return Ok(home.join("config.toml"));
        }
        let dirs = etcetera::choose_base_strategy()
            .map_err(|error| CliError::failed("cannot tell the configuration folder", error))?;
        Ok(dirs.config_dir().join("offswarm/config.toml"))
    }

    /// Opens the home, new or old.
    pub(super) fn client(&self) -> Result<Client, CliError> {
        Ok(Client::open(&self.folder()?, &self.settings()?)?)
    }

    /// Opens a home that must be there.
    pub(super) fn existing_client(&self) -> Result<Client, CliError> {
        Ok(Client::open_existing(&self.folder()?, &self.settings()?)?)
    }
}

/// Reads an OFF URL, or a magnet link that carries one. The URL of a directory may go on with the
/// path of one of its files.
pub(super) fn parse_url_with_path(text: &str) -> Result<(OffUrl, Option<String>), CliError> {
    if Magnet::is_magnet(text) {
        return parse_url(text).map(|url| (url, None));
    }
    OffUrl::parse_with_path(text).map_err(|error| CliError::usage("cannot read the OFF URL", error))
}

/// Reads an OFF URL, or a magnet link that carries one.
pub(super) fn parse_url(text: &str) -> Result<OffUrl, CliError> {
    if !Magnet::is_magnet(text) {
        return OffUrl::parse(text)
            .map_err(|error| CliError::usage("cannot read the OFF URL", error));
    }
    let magnet = Magnet::parse(text)
        .map_err(|error| CliError::usage("cannot read the magnet link", error))?;
    magnet.hinted_url().ok_or_else(|| {
        CliError::new(
            Exit::Usage,
            "the magnet link carries no OFF URL (x.off), so nothing decodes it",
        )
        .hint("get it with any BitTorrent client")
    })
}
