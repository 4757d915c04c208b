//! `offswarm share` and `offswarm seed`: let peers have blocks until interrupted.

use std::io::{self, Write};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, UdpSocket};
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::Serialize;
use tempfile::NamedTempFile;

use crate::catalog::Standing;
use crate::client::fetch::trackers;
use crate::client::publish::Published;
use crate::client::seeding::SEEDED_SINGLY;
use crate::client::shards::Shard;
use crate::client::{Client, Engaged, PublishError};
use crate::off::OffUrl;
use crate::swarm::session::{Sources, Swarm, Swarms};
use crate::torrent::magnet::Magnet;
use crate::torrent::metainfo::{Info, Metainfo};

use super::args::{Global, LinkArgs, ReportArgs, SeedArgs, ShareArgs, SwarmArgs};
use super::exit::{CliError, Exit};
use super::get::temporary;
use super::home::parse_url;
use super::output::Output;
use super::put::Source;
use super::report::Report;
use super::session::swarms;
use super::signals::Signals;

/// How often what was moved is written down.
const ACCOUNT_EVERY: Duration = Duration::from_secs(60);

/// Torrents listed at a time.
const TORRENTS_AT_ONCE: usize = 256;

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
    output: &Output,
    signals: &Signals,
) -> Result<Exit, CliError> {
    let source = Source::open(global, &args.file, &args.how, signals)?;
    // Before the work, so that a name that is wrong does not come up after it.
    let torrent_out =
        args.torrent_out.as_deref().map(|path| TorrentOut::create(global, path)).transpose()?;
    let client = global.client()?;
    let swarms = swarms(global, &client, &args.swarm).await?;
    let work = tokio::task::spawn_blocking({
        let (trackers, web_seeds) = (args.swarm.tracker.clone(), args.web_seed.clone());
        let output = output.clone();
        move || {
            let done = source.put(&client, &output)?;
            let (exit, url) = (done.exit(), done.put.url);
            let mut published = publish(&client, &url, &trackers)?;
            if let Some(Published { metainfo, .. }) = &mut published {
                name_web_seeds(&client, metainfo, &web_seeds)?;
            }
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
        seeding.push(start_seeding(&swarms, published, &args.swarm).await?);
    } else {
        output.remark("the empty file has no blocks: its URL is all there is to it");
    }
    let place = Place::of(&swarms, &args.swarm, args.links);
    show_published(&url, published.as_ref(), place, output)?;
    run_until_stopped(swarms, seeding, &args.report, output, signals).await?;
    drop(client);
    Ok(if exit == Exit::Done { signals.end() } else { exit })
}

/// Names HTTP servers that have the content file in a torrent, and remembers them.
pub(super) fn name_web_seeds(
    client: &Client,
    metainfo: &mut Metainfo,
    web_seeds: &[String],
) -> Result<(), CliError> {
    metainfo.web_seeds = web_seeds.to_vec();
    let web_seeds = web_seeds.to_vec();
    let change = move |standing: &mut Standing| standing.web_seeds.clone_from(&web_seeds);
    Ok(client.catalog().change_standing(metainfo.info.infohash, change)?)
}

/// The file for the torrent, opened before there is one.
pub(super) struct TorrentOut {
    path: PathBuf,
    /// Where that is.
    place: PathBuf,
    file: NamedTempFile,
}

impl TorrentOut {
    pub(super) fn create(global: &Global, path: &Path) -> Result<Self, CliError> {
        let place = global.env.at(path);
        let file = temporary(&place).map_err(|error| Self::failed(path, error))?;
        Ok(Self { path: path.to_owned(), place, file })
    }

    pub(super) fn write(mut self, torrent: &[u8]) -> Result<(), CliError> {
        self.file.write_all(torrent).map_err(|error| Self::failed(&self.path, error))?;
        let named = self.file.persist(&self.place);
        named.map(|_| ()).map_err(|error| Self::failed(&self.path, error.error))
    }

    fn failed(path: &Path, error: io::Error) -> CliError {
        CliError::failed(format!("cannot write {}", path.display()), error)
    }
}

pub(super) async fn seed(
    global: &Global,
    args: SeedArgs,
    output: &Output,
    signals: &Signals,
) -> Result<Exit, CliError> {
    let urls = args.urls.iter().map(|url| parse_url(url)).collect::<Result<Vec<_>, _>>()?;
    let client = global.existing_client()?;
    if args.store {
        publish_store(global, &client, &args, output)?;
    }
    if urls.is_empty() {
        tokio::task::block_in_place(|| client.publish_what_came(&args.swarm.tracker))?;
    }
    let known = client.catalog().torrent_count()?;
    if urls.is_empty() && known == 0 {
        return Err(CliError::new(Exit::NotFound, "nothing was published or downloaded here yet")
            .hint("name the OFF URL to seed, or use share"));
    }
    let swarms = swarms(global, &client, &args.swarm).await?;
    if urls.is_empty() {
        return seed_all(&client, swarms, known, &args, output, signals).await;
    }
    let mut seeding = Vec::new();
    let mut hurt = None;
    for url in &urls {
        match seed_one(&client, &swarms, url, &args, output).await {
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
    run_until_stopped(swarms, seeding, &args.report, output, signals).await?;
    Ok(if hurt.is_some() { Exit::Partial } else { signals.end() })
}

/// Publishes the whole store as shards, and says which.
fn publish_store(
    global: &Global,
    client: &Client,
    args: &SeedArgs,
    output: &Output,
) -> Result<(), CliError> {
    let shards = tokio::task::block_in_place(|| {
        let shards = client.publish_store(&args.swarm.tracker)?;
        if let Some(folder) = &args.torrent_dir {
            client.write_torrents(&shards, &global.env.at(folder))?;
        }
        Ok::<_, CliError>(shards)
    })?;
    for shard in &shards {
        let magnet = client.metainfo(shard.infohash)?.map(|metainfo| Magnet::to_torrent(&metainfo));
        let shown = ShownShard { shard, magnet: magnet.as_ref().map(ToString::to_string) };
        let text = magnet.map_or_else(|| shard.infohash.to_string(), |magnet| magnet.to_string());
        output.result(&text, &shown)?;
    }
    let blocks: u64 = shards.iter().map(|shard| shard.blocks).sum();
    output.remark(&format!("{blocks} blocks in {} shards", shards.len()));
    Ok(())
}

#[derive(Serialize)]
struct ShownShard<'a> {
    #[serde(flatten)]
    shard: &'a Shard,
    magnet: Option<String>,
}

/// Seeds all torrents of the catalog. Nothing is read for one that nobody asks for.
async fn seed_all(
    client: &Client,
    swarms: Engaged,
    torrents: u64,
    args: &SeedArgs,
    output: &Output,
    signals: &Signals,
) -> Result<Exit, CliError> {
    let few = torrents <= SEEDED_SINGLY;
    if !few {
        swarms.offer(client.offers(args.swarm.tracker.clone()));
    }
    output.remark(&format!("seeding {torrents} torrents on {}", swarms.listen()));
    // Whoever does not read the list does not keep us from seeding.
    let (listed, place) = (client.clone(), Place::of(&swarms, &args.swarm, args.links));
    let told = output.clone();
    let _listing = tokio::task::spawn_blocking(move || {
        list(&listed, place, &told).unwrap_or_else(|error| {
            told.fail(&error);
        });
    });
    let peers = &args.swarm.peer;
    let seeding = if few || !peers.is_empty() {
        client.seed_singly(&swarms, peers, few.then_some(&args.swarm.tracker)).await?
    } else {
        Vec::new()
    };
    run_until_stopped(swarms, seeding, &args.report, output, signals).await?;
    Ok(signals.end())
}

/// Prints every torrent of the catalog that carries an OFF URL, page by page.
fn list(client: &Client, place: Place, output: &Output) -> Result<(), CliError> {
    let mut last = None;
    loop {
        let page = client.catalog().torrents_from(last, TORRENTS_AT_ONCE)?;
        let Some((next, _)) = page.last() else { return Ok(()) };
        last = Some(*next);
        for (infohash, record) in page {
            let url = record.url.as_deref().and_then(|url| OffUrl::parse(url).ok());
            let info = client.catalog().info_dict(infohash)?.map(|raw| Info::decode(raw.into()));
            if let (Some(mut url), Some(Ok(info))) = (url, info) {
                url.hints.infohash = Some(infohash);
                url.hints.trackers = record.trackers;
                url.hints.web_seeds = client.catalog().standing(infohash)?.web_seeds;
                show(url, info.blocks().unwrap_or(0), place, output)?;
            }
        }
    }
}

async fn seed_one(
    client: &Client,
    swarms: &Swarms,
    url: &OffUrl,
    args: &SeedArgs,
    output: &Output,
) -> Result<Option<Swarm>, CliError> {
    let SeedArgs { swarm, priority, links, .. } = args;
    let mut trackers = swarm.tracker.clone();
    trackers.extend(known_trackers(client, url)?);
    trackers.dedup();
    let mut published = tokio::task::block_in_place(|| publish(client, url, &trackers))?;
    if let (Some(Published { metainfo, .. }), Some(priority)) = (&published, *priority) {
        let change = move |standing: &mut Standing| standing.priority = priority.into();
        client.catalog().change_standing(metainfo.info.infohash, change)?;
    }
    if let Some(Published { metainfo, .. }) = &mut published {
        metainfo.web_seeds = client.catalog().standing(metainfo.info.infohash)?.web_seeds;
    }
    let seeding = match &published {
        Some(published) => Some(start_seeding(swarms, published, swarm).await?),
        None => None,
    };
    show_published(url, published.as_ref(), Place::of(swarms, swarm, *links), output)?;
    Ok(seeding)
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

/// Announces a torrent, and dials the peers that the user named.
async fn start_seeding(
    swarms: &Swarms,
    published: &Published,
    args: &SwarmArgs,
) -> Result<Swarm, CliError> {
    let metainfo = &published.metainfo;
    let sources = Sources {
        peers: args.peer.clone(),
        trackers: trackers(&metainfo.trackers, std::iter::empty()),
        web_seeds: Vec::new(),
        descriptor: published.order.first().copied(),
    };
    Ok(swarms.seed(metainfo.info.infohash, &sources).await?)
}

fn show_published(
    url: &OffUrl,
    published: Option<&Published>,
    place: Place,
    output: &Output,
) -> Result<(), CliError> {
    let mut url = url.canonical();
    if let Some(Published { metainfo, .. }) = published {
        url.hints.infohash = Some(metainfo.info.infohash);
        url.hints.trackers.clone_from(&metainfo.trackers);
        url.hints.web_seeds.clone_from(&metainfo.web_seeds);
    }
    let blocks = published.map_or(0, |published| published.order.len() as u64);
    show(url, blocks, place, output)?;
    output.remark(&format!("seeding {blocks} blocks on {}; stop with Ctrl-C", place.listen));
    Ok(())
}

/// Where we can be found, as links say it.
#[derive(Debug, Clone, Copy)]
struct Place {
    listen: SocketAddr,
    asked: Option<SocketAddr>,
    links: LinkArgs,
}

impl Place {
    fn of(swarms: &Swarms, args: &SwarmArgs, links: LinkArgs) -> Self {
        Self { listen: swarms.listen(), asked: args.listen, links }
    }
}

/// Prints an OFF URL and its magnet link, with everything that helps to find the blocks: where we
/// listen is added if it has a swarm. A bare URL has nothing of it.
fn show(mut url: OffUrl, blocks: u64, place: Place, output: &Output) -> Result<(), CliError> {
    let Place { listen, asked, links } = place;
    if url.hints.infohash.is_some() && !links.bare {
        url.hints.peers = vec![reachable(listen, asked)];
    }
    let magnet = Magnet::to_url(&url).to_string();
    let infohash = url.hints.infohash;
    if links.bare {
        url = url.canonical();
    }
    let shown = Shared {
        url: url.to_string(),
        magnet: magnet.clone(),
        infohash: infohash.map(|infohash| infohash.to_string()),
        blocks,
        listen,
    };
    output.result(&format!("{url}\n{magnet}"), &shown)
}

async fn run_until_stopped(
    swarms: Engaged,
    seeding: Vec<Swarm>,
    args: &ReportArgs,
    output: &Output,
    signals: &Signals,
) -> Result<(), CliError> {
    let mut report = Report::new(args, output);
    let mut accounts = tokio::time::interval(ACCOUNT_EVERY);
    loop {
        tokio::select! {
            () = signals.stop().cancelled() => break,
            () = report.due() => report.tell(&swarms)?,
            _ = accounts.tick() => swarms.account().await,
        }
    }
    let mut leaving: Vec<_> =
        seeding.into_iter().map(|swarm| Box::pin(swarms.leave(swarm))).collect();
    for swarm in &mut leaving {
        swarm.await;
    }
    drop(leaving);
    swarms.end().await;
    Ok(())
}

fn known_trackers(client: &Client, url: &OffUrl) -> Result<Vec<String>, CliError> {
    let catalog = client.catalog();
    let infohash = catalog.url(url)?.and_then(|record| record.infohash);
    let record = infohash.map(|infohash| catalog.torrent(infohash)).transpose()?.flatten();
    Ok(record.map(|record| record.trackers).unwrap_or_default())
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
