//! `offswarm ls` and `offswarm stat`: what is here.

use std::fmt::Write as _;

use serde::Serialize;

use crate::catalog::{Origin, UrlRecord};
use crate::client::{Client, HostedTotal, ReadError};
use crate::off::OffUrl;

use super::args::{Global, LsArgs, StatArgs};
use super::exit::{CliError, Exit};
use super::home::parse_url;
use super::output::Output;

#[derive(Serialize)]
struct Listed<'a> {
    url: &'a str,
    length: u64,
    name: &'a str,
    #[serde(flatten)]
    record: &'a UrlRecord,
}

#[derive(Serialize)]
struct ListedFile<'a> {
    path: &'a str,
    length: u64,
    executable: bool,
    url: Option<String>,
}

pub(super) fn ls(global: &Global, args: &LsArgs, output: &Output) -> Result<Exit, CliError> {
    let url = args.url.as_deref().map(parse_url).transpose()?;
    let client = global.existing_client()?;
    match url {
        Some(url) => ls_directory(&client, &url, output),
        None => ls_urls(&client, output),
    }
}

fn ls_directory(client: &Client, url: &OffUrl, output: &Output) -> Result<Exit, CliError> {
    let directory = client.directory(url).map_err(|error| {
        let is_missing = matches!(error, ReadError::Missing(_));
        let error = CliError::from(error);
        if is_missing {
            error.hint("get it first: only what is stored here is listed")
        } else {
            error
        }
    })?;
    for entry in directory.entries() {
        let length = entry.url.map_or(0, OffUrl::length);
        let executable = entry.url.is_some_and(OffUrl::is_executable);
        let listed = ListedFile {
            path: entry.path,
            length,
            executable,
            url: entry.url.map(ToString::to_string),
        };
        let (flag, slash) = match entry.url {
            None => ('d', "/"),
            Some(_) if executable => ('x', ""),
            Some(_) => ('-', ""),
        };
        // The path as it is created: a stranger's own could rewrite the terminal.
        let path = entry.safe_path();
        output.result(&format!("{length:>14}  {flag}  {path}{slash}"), &listed)?;
    }
    Ok(Exit::Done)
}

fn ls_urls(client: &Client, output: &Output) -> Result<Exit, CliError> {
    for (url, record) in client.known_urls()? {
        let text = url.to_string();
        let listed = Listed { url: &text, length: url.length(), name: url.name(), record: &record };
        output.result(&text, &listed)?;
    }
    Ok(Exit::Done)
}

#[derive(Serialize)]
struct StoreStat {
    home: String,
    blocks: u64,
    bytes: u64,
    damaged: u64,
    urls: usize,
    torrents: u64,
    /// Pairs: used by so many URLs, so many blocks.
    sharing: Vec<(u32, u64)>,
    /// Kept for others.
    hosted_blocks: u64,
    hosted_bytes: u64,
    stored_per_byte: f64,
}

#[derive(Serialize)]
struct UrlStat {
    url: String,
    length: u64,
    bytes: u64,
    content_type: String,
    name: String,
    sealed: bool,
    tuple: u64,
    descriptor_complete: bool,
    blocks: u64,
    blocks_here: u64,
    blocks_damaged: u64,
    fetched_per_byte: f64,
    origin: Option<Origin>,
    infohash: Option<String>,
    pinned: bool,
}

pub(super) fn stat(global: &Global, args: &StatArgs, output: &Output) -> Result<Exit, CliError> {
    let url = args.url.as_deref().map(parse_url).transpose()?;
    let client = global.existing_client()?;
    match url {
        Some(url) => stat_url(&client, &url, output),
        None => stat_store(&client, output),
    }
}

fn stat_store(client: &Client, output: &Output) -> Result<Exit, CliError> {
    let census = client.store().census()?;
    let urls = client.known_urls()?;
    let lengths = urls.iter().map(|(url, _)| url.length()).sum();
    let sharing = client.store().sharing()?;
    let hosted = client.hosted()?;
    let stat = StoreStat {
        home: client.home().path().display().to_string(),
        blocks: census.blocks,
        bytes: census.bytes,
        damaged: census.damaged,
        urls: urls.len(),
        torrents: client.catalog().torrent_count()?,
        sharing,
        hosted_blocks: hosted.blocks,
        hosted_bytes: hosted.bytes,
        stored_per_byte: ratio(census.bytes, lengths),
    };
    let StoreStat { home, blocks, bytes, damaged, urls, torrents, .. } = &stat;
    let mut text = format!(
        "home      {home}\nblocks    {blocks}\nbytes     {bytes}\ndamaged   {damaged}\n\
         urls      {urls}\ntorrents  {torrents}\n\
         stored    {:.2} bytes per byte of the URLs",
        stat.stored_per_byte
    );
    for (uses, blocks) in &stat.sharing {
        // Writing into a string cannot fail.
        let _ = write!(text, "\nshared    {blocks} blocks are used by {uses} URLs");
    }
    if hosted.blocks > 0 {
        let HostedTotal { blocks, bytes } = hosted;
        let _ = write!(text, "\nhosted    {blocks} blocks ({bytes} bytes) are kept for others");
    }
    output.result(&text, &stat)?;
    Ok(Exit::Done)
}

fn stat_url(client: &Client, url: &OffUrl, output: &Output) -> Result<Exit, CliError> {
    let survey = client.survey(url)?;
    let record = client.catalog().url(url)?;
    let here = survey.blocks - survey.lacking();
    let stat = UrlStat {
        url: url.canonical().to_string(),
        length: url.length(),
        bytes: survey.bytes,
        content_type: url.content_type().to_owned(),
        name: url.name().to_owned(),
        sealed: matches!(url.seal(), crate::off::Seal::Key(_)),
        tuple: url.tuple().ids(),
        descriptor_complete: survey.complete,
        blocks: survey.blocks,
        blocks_here: here,
        blocks_damaged: survey.damaged.len() as u64,
        fetched_per_byte: ratio(survey.blocks * url.block_size().len() as u64, survey.bytes),
        origin: record.as_ref().map(|record| record.origin),
        pinned: record.as_ref().is_some_and(|record| record.pinned),
        infohash: record.and_then(|record| record.infohash).map(|hash| hash.to_string()),
    };
    let about = if survey.complete { "" } else { "at most " };
    let text = format!(
        "length    {}\ntype      {}\nname      {:?}\nsealed    {}\ntuple     {}\n\
         blocks    {here} of {about}{} here, {} damaged\nfetched   {:.2} bytes per byte\n\
         infohash  {}",
        stat.length,
        stat.content_type,
        stat.name,
        stat.sealed,
        stat.tuple,
        stat.blocks,
        stat.blocks_damaged,
        stat.fetched_per_byte,
        stat.infohash.as_deref().unwrap_or("not published"),
    );
    output.result(&text, &stat)?;
    Ok(if survey.is_whole() { Exit::Done } else { Exit::Partial })
}

#[expect(clippy::cast_precision_loss, reason = "a ratio for people, two digits of it")]
fn ratio(of: u64, to: u64) -> f64 {
    if to == 0 { 0.0 } else { of as f64 / to as f64 }
}
