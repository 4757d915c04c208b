//! `offswarm share` and `offswarm seed`: let peers have blocks until interrupted.

use std::collections::BTreeSet;
use std::io::{self, Write};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, UdpSocket};
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::Serialize;
use tempfile::NamedTempFile;

use crate::client::publish::Published;
use crate::client::{Client, PublishError};
use crate::off::OffUrl;
use crate::torrent::magnet::Magnet;
use crate::torrent::session::{Swarm, Swarms};

use super::args::{Global, SeedArgs, ShareArgs, SwarmArgs};
use super::exit::{CliError, Exit};
use super::get::temporary;
use super::home::parse_url;
use super::output::Output;
use super::put::Source;
use super::signals::Signals;

/// How often a seeder says how it is doing.
const REPORT_EVERY: Duration = Duration::from_secs(60);

#[derive(Serialize)]
struct Shared {
    url: String,
    magnet: String,
    infohash: Option<String>,
    blocks: u64,
    listen: SocketAddr,
}

pub(super) async fn share(
    global: &Global,
    args: ShareArgs,
    output: Output,
    signals: &Signals,
) -> Result<Exit, CliError> {
    let source = Source::open(&args.file, &args.how)?;
    // Before the work, so that a name that is wrong does not come up after it.
    let torrent_out = args.torrent_out.as_deref().map(TorrentOut::create).transpose()?;
    let client = global.client()?;
    let swarms = start(&client, &args.swarm).await?;
    let work = tokio::task::spawn_blocking({
        let (output, trackers) = (output, args.swarm.tracker.clone());
        move || {
            let done = source.put(&client, output)?;
            let (exit, url) = (done.exit(), done.put.url);
            let published = publish(&client, &url, &trackers)?;
            // The client goes on living: its lock is what keeps the store ours.
            Ok::<_, CliError>((client, exit, url, published))
        }
    });
    let (client, exit, url, published) = tokio::select! {
        done = work => done.map_err(|error| CliError::failed("the put broke off", error))??,
        () = signals.stop().cancelled() => return Ok(Exit::Interrupted),
    };
    if let (Some(out), Some(published)) = (torrent_out, &published) {
        out.write(&published.metainfo.encode())?;
    }
    let mut seeding = Vec::new();
    if let Some(published) = &published {
        seeding.push(start_seeding(&swarms, &url, published, &args.swarm).await?);
    } else {
        output.remark("the empty file has no blocks: its URL is all there is to it");
    }
    show(&url, published.as_ref(), &swarms, &args.swarm, output)?;
    run_until_stopped(swarms, seeding, output, signals).await;
    drop(client);
    Ok(if exit == Exit::Done { signals.end() } else { exit })
}

/// The file for the torrent, opened before there is one.
pub(super) struct TorrentOut {
    path: PathBuf,
    file: NamedTempFile,
}

impl TorrentOut {
    pub(super) fn create(path: &Path) -> Result<Self, CliError> {
        let file = temporary(path).map_err(|error| Self::failed(path, error))?;
        Ok(Self { path: path.to_owned(), file })
    }

    pub(super) fn write(mut self, torrent: &[u8]) -> Result<(), CliError> {
        self.file.write_all(torrent).map_err(|error| Self::failed(&self.path, error))?;
        let named = self.file.persist(&self.path);
        named.map(|_| ()).map_err(|error| Self::failed(&self.path, error.error))
    }

    fn failed(path: &Path, error: io::Error) -> CliError {
        CliError::failed(format!("cannot write {}", path.display()), error)
    }
}

pub(super) async fn seed(
    global: &Global,
    args: SeedArgs,
    output: Output,
    signals: &Signals,
) -> Result<Exit, CliError> {
    let urls = args.urls.iter().map(|url| parse_url(url)).collect::<Result<Vec<_>, _>>()?;
    let client = global.existing_client()?;
    let urls = if urls.is_empty() { published_urls(&client)? } else { urls };
    if urls.is_empty() {
        return Err(CliError::new(Exit::NotFound, "nothing was published or downloaded here yet")
            .hint("name the OFF URL to seed, or use share"));
    }
    let swarms = start(&client, &args.swarm).await?;
    let mut seeding = Vec::new();
    let mut hurt = None;
    for url in &urls {
        match seed_one(&client, &swarms, url, &args.swarm, output).await {
            Ok(swarm) => seeding.extend(swarm),
            Err(error) => {
                hurt = Some(output.fail(&error));
            }
        }
        if signals.stop().is_cancelled() {
            return Ok(signals.end());
        }
    }
    if let (true, Some(exit)) = (seeding.is_empty(), hurt) {
        return Ok(exit);
    }
    run_until_stopped(swarms, seeding, output, signals).await;
    Ok(if hurt.is_some() { Exit::Partial } else { signals.end() })
}

async fn seed_one(
    client: &Client,
    swarms: &Swarms,
    url: &OffUrl,
    swarm: &SwarmArgs,
    output: Output,
) -> Result<Option<Swarm>, CliError> {
    let mut trackers = swarm.tracker.clone();
    trackers.extend(known_trackers(client, url)?);
    trackers.dedup();
    let published = tokio::task::block_in_place(|| publish(client, url, &trackers))?;
    let seeding = match &published {
        Some(published) => Some(start_seeding(swarms, url, published, swarm).await?),
        None => None,
    };
    show(url, published.as_ref(), swarms, swarm, output)?;
    Ok(seeding)
}

async fn start(client: &Client, args: &SwarmArgs) -> Result<Swarms, CliError> {
    Ok(client.swarms(args.listen).await?)
}

fn publish(
    client: &Client,
    url: &OffUrl,
    trackers: &[String],
) -> Result<Option<Published>, CliError> {
    match client.publish(url, trackers) {
        Ok(published) => Ok(Some(published)),
        Err(PublishError::Empty) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

async fn start_seeding(
    swarms: &Swarms,
    url: &OffUrl,
    published: &Published,
    args: &SwarmArgs,
) -> Result<Swarm, CliError> {
    let Published { metainfo, order } = published;
    swarms.seed(metainfo, order, args.peer.clone()).await.map_err(|error| {
        let CliError { exit, error, hints } = error.into();
        CliError { exit, hints, ..CliError::failed(format!("{} is hurt", url.canonical()), error) }
    })
}

/// Prints the OFF URL and the magnet link, with everything that helps to find the blocks.
fn show(
    url: &OffUrl,
    published: Option<&Published>,
    swarms: &Swarms,
    args: &SwarmArgs,
    output: Output,
) -> Result<(), CliError> {
    let mut url = url.canonical();
    if let Some(Published { metainfo, .. }) = published {
        url.hints.infohash = Some(metainfo.info.infohash);
        url.hints.trackers.clone_from(&metainfo.trackers);
        url.hints.peers = vec![reachable(swarms.listen(), args.listen)];
    }
    let magnet = Magnet::to_url(&url).to_string();
    let shown = Shared {
        url: url.to_string(),
        magnet: magnet.clone(),
        infohash: url.hints.infohash.map(|infohash| infohash.to_string()),
        blocks: published.map_or(0, |published| published.order.len() as u64),
        listen: swarms.listen(),
    };
    output.result(&format!("{url}\n{magnet}"), &shown)?;
    let blocks = shown.blocks;
    output.remark(&format!("seeding {blocks} blocks on {}; stop with Ctrl-C", swarms.listen()));
    Ok(())
}

async fn run_until_stopped(swarms: Swarms, seeding: Vec<Swarm>, output: Output, signals: &Signals) {
    let mut reports = tokio::time::interval(REPORT_EVERY);
    reports.tick().await;
    loop {
        tokio::select! {
            () = signals.stop().cancelled() => break,
            _ = reports.tick() => {
                let all = seeding.iter().map(Swarm::status);
                let (peers, sent) =
                    all.fold((0, 0), |(peers, sent), one| (peers + one.peers, sent + one.sent));
                let torrents = seeding.len();
                output.remark(&format!("{torrents} torrents, {peers} peers, {sent} bytes sent"));
            }
        }
    }
    for swarm in seeding {
        swarms.leave(swarm).await;
    }
    swarms.stop();
}

fn published_urls(client: &Client) -> Result<Vec<OffUrl>, CliError> {
    let torrents = client.catalog().torrents()?;
    // The twins of a torrent carry the same URL.
    let urls: BTreeSet<&str> =
        torrents.iter().filter_map(|(_, record)| record.url.as_deref()).collect();
    Ok(urls.into_iter().filter_map(|url| OffUrl::parse(url).ok()).collect())
}

fn known_trackers(client: &Client, url: &OffUrl) -> Result<Vec<String>, CliError> {
    let key = url.canonical().to_string();
    let torrents = client.catalog().torrents()?;
    let known = torrents.into_iter().find(|(_, record)| record.url.as_ref() == Some(&key));
    Ok(known.map(|(_, record)| record.trackers).unwrap_or_default())
}

/// The address that others can dial: the one asked for, or this machine's towards the outside.
fn reachable(listen: SocketAddr, asked: Option<SocketAddr>) -> SocketAddr {
    match asked {
        Some(asked) if !asked.ip().is_unspecified() => listen,
        _ => SocketAddr::new(outward_address(), listen.port()),
    }
}

/// Asks the routing table by naming a destination (a documentation address of RFC 5737). Nothing
/// is sent.
fn outward_address() -> IpAddr {
    let routed = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0)).and_then(|socket| {
        socket.connect((Ipv4Addr::new(192, 0, 2, 1), 9))?;
        socket.local_addr()
    });
    routed.map_or(Ipv4Addr::LOCALHOST.into(), |address| address.ip())
}
