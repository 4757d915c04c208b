//! `offswarm torrent`: look at torrents.

use std::path::Path;

use serde::Serialize;

use crate::client::PublishError;
use crate::id::excerpt;
use crate::torrent::magnet::Magnet;
use crate::torrent::metainfo::Metainfo;

use super::args::{Global, TorrentCommand};
use super::exit::{CliError, Exit};
use super::get::read_torrent;
use super::home::parse_url;
use super::output::Output;

/// Files of a foreign torrent that are listed.
const LISTED: usize = 20;

#[derive(Serialize)]
struct Shown {
    infohash: String,
    name: String,
    length: u64,
    piece_length: u64,
    pieces: u64,
    files: Vec<(String, u64)>,
    trackers: Vec<String>,
    web_seeds: Vec<String>,
    blocks: Option<u64>,
    lists_blocks: bool,
    not_off: Option<String>,
}

pub(super) fn run(
    global: &Global,
    command: &TorrentCommand,
    output: Output,
) -> Result<Exit, CliError> {
    let TorrentCommand::Show { what } = command;
    let is_file = Path::new(what).is_file();
    let metainfo = if !is_file && (what.contains("/offsystem/") || Magnet::is_magnet(what)) {
        of_url(global, what)?
    } else {
        read_torrent(Path::new(what))?
    };
    show(&metainfo, output)
}

fn of_url(global: &Global, text: &str) -> Result<Metainfo, CliError> {
    let url = parse_url(text)?;
    let client = global.existing_client()?;
    match client.torrent_of(&url, &[]) {
        Ok(published) => Ok(published.metainfo),
        Err(error @ PublishError::Incomplete { .. }) => {
            Err(CliError::from(error).hint("get it first: a torrent is made from its blocks"))
        }
        Err(error) => Err(error.into()),
    }
}

fn show(metainfo: &Metainfo, output: Output) -> Result<Exit, CliError> {
    let Metainfo { info, trackers, web_seeds, ids } = metainfo;
    let blocks = info.blocks();
    let shown = Shown {
        infohash: info.infohash.to_string(),
        name: info.name.clone(),
        length: info.length(),
        piece_length: info.piece_length,
        pieces: info.pieces,
        files: info.files.clone(),
        trackers: trackers.clone(),
        web_seeds: web_seeds.clone(),
        blocks: blocks.as_ref().ok().copied(),
        lists_blocks: ids.is_some(),
        not_off: blocks.as_ref().err().map(ToString::to_string),
    };
    let mut lines = vec![
        format!("infohash      {}", shown.infohash),
        format!("name          {}", excerpt(&shown.name)),
        format!("length        {}", shown.length),
        format!("piece length  {}", shown.piece_length),
        format!("pieces        {}", shown.pieces),
    ];
    if shown.files.len() > 1 {
        lines.push(format!("files         {}", shown.files.len()));
        let listed = shown.files.iter().take(LISTED);
        lines.extend(listed.map(|(path, length)| format!("  {length:>14}  {}", excerpt(path))));
    }
    lines.extend(trackers.iter().map(|tracker| format!("tracker       {}", excerpt(tracker))));
    lines.extend(web_seeds.iter().map(|seed| format!("web seed      {}", excerpt(seed))));
    lines.push(match &blocks {
        Ok(blocks) if ids.is_some() => format!("carries       {blocks} OFF blocks, listed"),
        Ok(blocks) => format!("carries       {blocks} OFF blocks"),
        Err(why) => format!("carries       no OFF blocks: {}", why.0),
    });
    output.result(&lines.join("\n"), &shown)?;
    Ok(Exit::Done)
}
