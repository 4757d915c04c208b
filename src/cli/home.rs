//! Which home the user means.

use std::path::PathBuf;

use etcetera::BaseStrategy;

use crate::client::link::{self, LinkError};
use crate::client::{Client, Settings};
use crate::daemon::config::{Config, ConfigError, Values};
use crate::off::OffUrl;
use crate::torrent::magnet::Magnet;

use super::args::{EntryArgs, Global};
use super::exit::{CliError, Exit};

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
        let mut values = self.values()?;
        values.limit = self.limit.or(values.limit);
        values.host_share = self.host_share.unwrap_or(values.host_share);
        Ok(values.settings()?)
    }

    /// What the configuration says: that of the daemon, or the file.
    pub(super) fn values(&self) -> Result<Values, CliError> {
        match self.env.daemon() {
            Some(daemon) => Ok(daemon.config().values.clone()),
            None => Ok(Config::load(&self.config_file()?, &[])?.values),
        }
    }

    /// The nodes of the DHT to begin with, for somebody who wants it.
    pub(super) fn dht_entries(&self, flags: &EntryArgs) -> Result<Vec<String>, CliError> {
        match &*flags.dht_bootstrap {
            [] => Ok(self.values()?.bootstrap),
            named => Ok(named.to_vec()),
        }
    }

    /// `config.toml` in the home that was named, else in the user's configuration folder.
    pub(super) fn config_file(&self) -> Result<PathBuf, CliError> {
        if let Some(home) = &self.home {
            return Ok(home.join("config.toml"));
        }
        let dirs = etcetera::choose_base_strategy()
            .map_err(|error| CliError::failed("cannot tell the configuration folder", error))?;
        Ok(dirs.config_dir().join("offswarm/config.toml"))
    }

    /// Opens the home, new or old.
    pub(super) fn client(&self) -> Result<Client, CliError> {
        if let Some(client) = self.daemons()? {
            return Ok(client);
        }
        Ok(Client::open(&self.folder()?, &self.settings()?)?)
    }

    /// Opens a home that must be there.
    pub(super) fn existing_client(&self) -> Result<Client, CliError> {
        if let Some(client) = self.daemons()? {
            return Ok(client);
        }
        Ok(Client::open_existing(&self.folder()?, &self.settings()?)?)
    }

    /// The client of the daemon, if the command runs in one. What the store keeps to has been
    /// settled then.
    fn daemons(&self) -> Result<Option<Client>, CliError> {
        let Some(daemon) = self.env.daemon() else { return Ok(None) };
        let flags =
            [("--limit", self.limit.is_some()), ("--host-share", self.host_share.is_some())];
        if let Some((flag, _)) = flags.iter().find(|(_, given)| *given) {
            let why = "the store is the daemon's, and it was told when it was started";
            return Err(CliError::usage(format!("cannot use {flag}"), why)
                .hint(format!("stop the daemon, or start it with {flag}")));
        }
        Ok(Some(daemon.client().clone()))
    }
}

impl From<ConfigError> for CliError {
    fn from(error: ConfigError) -> Self {
        let exit = if error.is_usage() { Exit::Usage } else { Exit::Failed };
        let is_endless = matches!(error, ConfigError::Endless { .. });
        let error = Self::new(exit, error);
        if !is_endless {
            return error;
        }
        error.hint("set --limit, or limit_bytes under [store] in config.toml")
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
    link::parse(text).map_err(|error| {
        let is_bare = error == LinkError::NoUrl;
        let error = CliError::new(Exit::Usage, error);
        if is_bare { error.hint("get it with any BitTorrent client") } else { error }
    })
}
