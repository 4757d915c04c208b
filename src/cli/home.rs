//! Which home the user means.

use std::path::PathBuf;

use etcetera::BaseStrategy;

use crate::client::Client;
use crate::off::OffUrl;
use crate::torrent::magnet::Magnet;

use super::args::Global;
use super::exit::{CliError, Exit};

impl Global {
    /// The home of `--home`, else `offswarm` in the user's data folder (XDG).
    fn folder(&self) -> Result<PathBuf, CliError> {
        if let Some(home) = &self.home {
            return Ok(home.clone());
        }
        let dirs = etcetera::choose_base_strategy().map_err(|error| {
            CliError::failed("cannot tell the home folder", error).hint("name one with --home")
        })?;
        Ok(dirs.data_dir().join("offswarm"))
    }

    /// Opens the home, new or old.
    pub(super) fn client(&self) -> Result<Client, CliError> {
        Ok(Client::open(&self.folder()?)?)
    }

    /// Opens a home that must be there.
    pub(super) fn existing_client(&self) -> Result<Client, CliError> {
        Ok(Client::open_existing(&self.folder()?)?)
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
