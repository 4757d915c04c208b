//! `offswarm torrent`: look at torrents.
//!
//! A torrent is somebody else's word. It is read within limits and shown with everything in it
//! inert; nothing it names is written or contacted.

use std::path::Path;

use serde::Serialize;

use crate::catalog::{Priority, Standing};
use crate::client::survey::Survey;
use crate::client::{Client, PublishError, ReadError};
use crate::off::OffUrl;
use crate::store::Presence;
use crate::torrent::magnet::Magnet;
use crate::torrent::metainfo::{Info, Metainfo, PieceLayers, Version, content_name};

use super::args::{Global, TorrentCommand};
use super::exit::{CliError, Exit};
use super::get::read_torrent;
use super::home::parse_url;
use super::output::{Output, inert};
use super::report::ratio;

/// Files of a foreign torrent that are listed for people.
const LISTED: usize = 20;

/// Characters of a foreign name that are shown to people.
const SHOWN: usize = 200;

#[derive(Debug, Default, Serialize)]
struct Shown {
    infohash: Option<String>,
    infohash_v2: Option<String>,
    #[serde(flatten)]
    contents: Option<Contents>,
    name: Option<String>,
    trackers: Vec<String>,
    web_seeds: Vec<String>,
    /// OFF blocks it carries.
    blocks: Option<u64>,
    /// Whether the torrent file lists their ids.
    lists_blocks: bool,
    not_off: Option<String>,
    /// The OFF URL it carries, if it is known.
    url: Option<String>,
    /// How many of its blocks are here.
    blocks_here: Option<u64>,
    /// How it stands, if it was published or joined here.
    standing: Option<ShownStanding>,
}

/// What a torrent has moved over all runs, and what the user wants of it.
#[derive(Debug, Serialize)]
struct ShownStanding {
    priority: Priority,
    sent: u64,
    received: u64,
    /// Bytes sent for each received; nothing was received if there is none.
    ratio: Option<f64>,
}

/// What is known once there is an info dict.
#[derive(Debug, Serialize)]
struct Contents {
    version: String,
    length: u64,
    piece_length: u64,
    pieces: u64,
    files: Vec<(String, u64)>,
    unsafe_names: u64,
    links: u64,
    collisions: u64,
}

pub(super) fn run(
    global: &Global,
    command: &TorrentCommand,
    output: &Output,
) -> Result<Exit, CliError> {
    let TorrentCommand::Show { what } = command;
    let is_file = global.env.at(Path::new(what)).is_file();
    let shown = if !is_file && Magnet::is_magnet(what) {
        of_magnet(global, what, output)?
    } else if !is_file && what.contains("/offsystem/") {
        of_url(global, what)?
    } else {
        let metainfo = read_torrent(global, Path::new(what))?;
        of_torrent(&metainfo, here(global, output).as_ref())?
    };
    output.result(&lines(&shown).join("\n"), &shown)?;
    Ok(Exit::Done)
}

/// The store, for a torrent that can be shown without one.
fn here(global: &Global, output: &Output) -> Option<Client> {
    let opened = global.existing_client();
    let failed = opened.as_ref().err().filter(|error| error.exit != Exit::NoStore);
    if let Some(error) = failed {
        output.remark(&format!("not looking up what is here: {}", error.chain().join(": ")));
    }
    opened.ok()
}

fn of_url(global: &Global, text: &str) -> Result<Shown, CliError> {
    let url = parse_url(text)?;
    let client = global.existing_client()?;
    match client.torrent_of(&url, &[]) {
        Ok(published) => {
            let shown = of_torrent(&published.metainfo, None)?;
            let blocks_here = Some(published.order.len() as u64);
            let standing = standing(&client, &published.metainfo.info)?;
            Ok(Shown { url: Some(url.canonical().to_string()), blocks_here, standing, ..shown })
        }
        Err(error @ PublishError::Incomplete { .. }) => {
            Err(CliError::from(error).hint("get it first: a torrent is made from its blocks"))
        }
        Err(error) => Err(error.into()),
    }
}

/// What a magnet link says, and what is known here of its torrent.
fn of_magnet(global: &Global, text: &str, output: &Output) -> Result<Shown, CliError> {
    let magnet = Magnet::parse(text)
        .map_err(|error| CliError::usage("cannot read the magnet link", error))?;
    let swarm = magnet.infohash.or(magnet.infohash_v2.map(|hash| hash.truncated()));
    if swarm.is_none() && magnet.off.is_none() {
        return Err(CliError::new(
            Exit::Usage,
            "the magnet link names neither a torrent (xt) nor an OFF URL (x.off)",
        ));
    }
    let client = here(global, output);
    if let Some(client) = &client
        && let Some(info) = known_info(client, &magnet)?
    {
        let (trackers, web_seeds) = (magnet.trackers, magnet.web_seeds);
        let piece_layers = PieceLayers::default();
        let metainfo = Metainfo { info, trackers, web_seeds, piece_layers, ids: None };
        return of_torrent(&metainfo, Some(client));
    }
    let mut shown = Shown {
        infohash: magnet.infohash.map(|hash| hash.to_string()),
        infohash_v2: magnet.infohash_v2.map(|hash| hash.to_string()),
        name: magnet.name,
        trackers: magnet.trackers,
        web_seeds: magnet.web_seeds,
        ..Shown::default()
    };
    match (&magnet.off, client) {
        (None, _) => {
            shown.not_off = Some("the magnet link carries no OFF URL (x.off)".into());
        }
        (Some(url), None) => shown.url = Some(url.canonical().to_string()),
        (Some(url), Some(client)) => {
            let survey = survey(&client, url)?;
            shown.url = Some(url.canonical().to_string());
            shown.blocks = survey.as_ref().filter(|all| all.complete).map(|all| all.blocks);
            shown.blocks_here = survey.map(|all| all.blocks - all.lacking());
        }
    }
    Ok(shown)
}

/// The info dict that a magnet link names: remembered, or made from the blocks of its OFF URL.
fn known_info(client: &Client, magnet: &Magnet) -> Result<Option<Info>, CliError> {
    let swarms = [magnet.infohash, magnet.infohash_v2.map(|hash| hash.truncated())];
    for swarm in swarms.into_iter().flatten() {
        let raw = client.catalog().info_dict(swarm)?;
        let info = raw.and_then(|raw| Info::decode(raw.into()).ok());
        if let Some(info) = info.filter(|info| info.handshakes().contains(&swarm)) {
            return Ok(Some(info));
        }
    }
    let Some(url) = &magnet.off else { return Ok(None) };
    let version = match (magnet.infohash, magnet.infohash_v2) {
        (None, Some(_)) => Version::V2,
        _ => Version::V1,
    };
    let info = match client.torrent_as(url, version, &[]) {
        Ok(published) => published.metainfo.info,
        Err(PublishError::Incomplete { .. } | PublishError::Empty) => return Ok(None),
        Err(error) => return Err(error.into()),
    };
    let names = info.handshakes();
    Ok(swarms.into_iter().flatten().all(|swarm| names.contains(&swarm)).then_some(info))
}

fn of_torrent(metainfo: &Metainfo, client: Option<&Client>) -> Result<Shown, CliError> {
    let Metainfo { info, trackers, web_seeds, .. } = metainfo;
    let blocks = info.content_blocks();
    let mut shown = Shown {
        infohash: info.version.has_v1().then(|| info.infohash.to_string()),
        infohash_v2: info.infohash_v2.map(|hash| hash.to_string()),
        contents: Some(Contents::of(info)),
        name: Some(info.name.clone()),
        trackers: trackers.clone(),
        web_seeds: web_seeds.clone(),
        blocks: blocks.as_ref().ok().copied(),
        lists_blocks: metainfo.ids.is_some(),
        not_off: blocks.as_ref().err().map(|why| why.0.clone()),
        ..Shown::default()
    };
    if let (Some(client), Ok(blocks)) = (client, blocks) {
        shown.standing = standing(client, info)?;
        match url_of(client, info, blocks)? {
            Some(url) => {
                let survey = survey(client, &url)?;
                shown.url = Some(url.to_string());
                shown.blocks_here = survey.map(|all| all.blocks - all.lacking());
            }
            None => shown.blocks_here = Some(held(client, metainfo)?),
        }
    }
    Ok(shown)
}

/// How a torrent stands, under all its names; `None` if it is not known here.
fn standing(client: &Client, info: &Info) -> Result<Option<ShownStanding>, CliError> {
    let mut found: Option<ShownStanding> = None;
    for name in info.handshakes() {
        if client.catalog().torrent(name)?.is_none() {
            continue;
        }
        let Standing { priority, sent, received, .. } = client.catalog().standing(name)?;
        let before = found.map_or((0, 0), |found| (found.sent, found.received));
        let (sent, received) = (before.0 + sent, before.1 + received);
        found = Some(ShownStanding { priority, sent, received, ratio: ratio(sent, received) });
    }
    Ok(found)
}

/// How many blocks of a torrent without a URL are here: a pack's, or those of a download begun.
fn held(client: &Client, metainfo: &Metainfo) -> Result<u64, CliError> {
    let infohash = metainfo.info.infohash;
    let known = client.catalog().order(infohash)?;
    let Some(ids) = known.as_ref().or(metainfo.ids.as_ref()) else {
        return Ok(client.catalog().download(infohash)?.len() as u64);
    };
    let mut held = 0;
    for id in ids {
        held += u64::from(client.store().presence(id)? == Presence::Held);
    }
    Ok(held)
}

/// The OFF URL of the catalog that a torrent of so many blocks carries.
fn url_of(client: &Client, info: &Info, blocks: u64) -> Result<Option<OffUrl>, CliError> {
    for name in info.handshakes() {
        let record = client.catalog().torrent(name)?;
        let url = record.and_then(|record| record.url);
        if let Some(url) = url.and_then(|url| OffUrl::parse(&url).ok()) {
            return Ok(Some(url));
        }
    }
    // Not published or joined here: then its name tells, which is the descriptor's.
    let has_name = |url: &OffUrl| {
        url.descriptor().is_some_and(|descriptor| content_name(descriptor) == info.name)
    };
    for (url, _) in client.known_urls()?.into_iter().filter(|(url, _)| has_name(url)) {
        if survey(client, &url)?.is_some_and(|all| all.blocks == blocks) {
            return Ok(Some(url));
        }
    }
    Ok(None)
}

/// The blocks of a URL, unless whoever made it broke its descriptor.
fn survey(client: &Client, url: &OffUrl) -> Result<Option<Survey>, CliError> {
    match client.survey(url) {
        Err(error @ ReadError::Store(_)) => Err(error.into()),
        found => Ok(found.ok()),
    }
}

impl Contents {
    fn of(info: &Info) -> Self {
        Self {
            version: info.version.to_string(),
            length: info.length(),
            piece_length: info.piece_length,
            pieces: info.pieces,
            files: info.files.iter().map(|file| (file.path.clone(), file.length)).collect(),
            unsafe_names: info.hazards.unsafe_names,
            links: info.hazards.links,
            collisions: info.hazards.collisions,
        }
    }

    fn lines(&self) -> Vec<String> {
        let mut lines = vec![
            format!("version       {}", self.version),
            format!("length        {}", self.length),
            format!("piece length  {}", self.piece_length),
            format!("pieces        {}", self.pieces),
        ];
        if self.files.len() > 1 {
            lines.push(format!("files         {}", self.files.len()));
            let listed = self.files.iter().take(LISTED);
            lines.extend(listed.map(|(path, length)| format!("  {length:>14}  {}", short(path))));
            if let Some(more) = self.files.len().checked_sub(LISTED).filter(|more| *more > 0) {
                lines.push(format!("  and {more} more"));
            }
        }
        for (count, what) in [
            (self.unsafe_names, "names are unsafe to write as they are"),
            (self.links, "files are symbolic links"),
            (self.collisions, "files are in each other's way"),
        ] {
            if count > 0 {
                lines.push(format!("beware        {count} {what}"));
            }
        }
        lines
    }
}

fn lines(shown: &Shown) -> Vec<String> {
    let mut lines = Vec::new();
    lines.extend(shown.infohash.iter().map(|hash| format!("infohash      {hash}")));
    lines.extend(shown.infohash_v2.iter().map(|hash| format!("infohash v2   {hash}")));
    lines.extend(shown.name.iter().map(|name| format!("name          {}", short(name))));
    lines.extend(shown.contents.iter().flat_map(Contents::lines));
    lines.extend(shown.trackers.iter().map(|tracker| format!("tracker       {}", short(tracker))));
    lines.extend(shown.web_seeds.iter().map(|seed| format!("web seed      {}", short(seed))));
    if let Some(why) = &shown.not_off {
        lines.push(format!("carries       nothing for us, not an OFF torrent: {}", short(why)));
        return lines;
    }
    let listed = if shown.lists_blocks { ", listed" } else { "" };
    lines.extend(shown.blocks.map(|blocks| format!("carries       {blocks} OFF blocks{listed}")));
    let url = shown.url.as_deref();
    lines.push(format!("OFF URL       {}", url.unwrap_or("not known here")));
    lines.extend(shown.blocks_here.map(|here| format!("here          {here} blocks")));
    lines.extend(shown.standing.iter().flat_map(ShownStanding::lines));
    lines
}

impl ShownStanding {
    fn lines(&self) -> [String; 2] {
        let ratio = self.ratio.map_or(String::new(), |ratio| format!(", ratio {ratio:.2}"));
        let moved = format!("moved         {} bytes sent, {} received", self.sent, self.received);
        [moved + &ratio, format!("priority      {}", self.priority)]
    }
}

/// A foreign text, cut and inert.
fn short(text: &str) -> String {
    let mut shown: String = text.chars().take(SHOWN).collect();
    if shown.len() < text.len() {
        shown.push('…');
    }
    inert(&shown)
}
