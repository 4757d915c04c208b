//! `offswarm publish`: make a torrent of a URL without seeding it.

use serde::Serialize;

use crate::torrent::magnet::Magnet;
use crate::torrent::metainfo::Version;

use super::args::{Global, PublishArgs};
use super::exit::{CliError, Exit};
use super::home::parse_url;
use super::output::Output;
use super::seed::{TorrentOut, name_web_seeds};
use super::signals::Signals;

#[derive(Serialize)]
struct Shown {
    url: String,
    magnet: String,
    version: String,
    infohash: Option<String>,
    infohash_v2: Option<String>,
    blocks: usize,
}

pub(super) async fn run(
    global: &Global,
    args: PublishArgs,
    output: &Output,
    signals: &Signals,
) -> Result<Exit, CliError> {
    let url = parse_url(&args.url)?;
    let version = match (args.v2, args.hybrid) {
        (true, _) => Version::V2,
        (_, true) => Version::Hybrid,
        _ => Version::V1,
    };
    let client = global.existing_client()?;
    let torrent_out =
        args.torrent_out.as_deref().map(|path| TorrentOut::create(global, path)).transpose()?;
    let work = tokio::task::spawn_blocking({
        let (url, trackers) = (url.clone(), args.tracker);
        move || client.publish_as(&url, version, &trackers).map(|published| (client, published))
    });
    let (client, published) = tokio::select! {
        done = work => done.map_err(|error| CliError::failed("the work broke off", error))??,
        () = signals.stop().cancelled() => return Ok(Exit::Interrupted),
    };
    let mut metainfo = published.metainfo;
    name_web_seeds(&client, &mut metainfo, &args.web_seed)?;
    if let Some(out) = torrent_out {
        out.write(&metainfo.encode())?;
    }
    let info = &metainfo.info;
    let v1 = version.has_v1().then_some(info.infohash);
    // The URL leads to blocks by version 1, which every offswarm speaks.
    let mut url = url.canonical();
    url.hints.infohash = match v1 {
        Some(infohash) => Some(infohash),
        None => client.catalog().url(&url)?.and_then(|record| record.infohash),
    };
    url.hints.trackers.clone_from(&metainfo.trackers);
    url.hints.web_seeds.clone_from(&metainfo.web_seeds);
    let magnet = match info.infohash_v2 {
        Some(v2) if version == Version::V2 => Magnet::to_url_v2(&url, v2),
        _ => Magnet::to_url(&url),
    };
    if args.links.bare {
        url = url.canonical();
    }
    let shown = Shown {
        url: url.to_string(),
        magnet: magnet.to_string(),
        version: version.to_string(),
        infohash: v1.map(|infohash| infohash.to_string()),
        infohash_v2: info.infohash_v2.map(|infohash| infohash.to_string()),
        blocks: published.order.len(),
    };
    output.result(&format!("{}\n{}", shown.url, shown.magnet), &shown)?;
    let blocks = shown.blocks;
    output.remark(&format!("{blocks} blocks are ready; a daemon seeds them, or offswarm seed"));
    Ok(Exit::Done)
}
