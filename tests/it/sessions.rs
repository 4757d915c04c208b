//! A session: readers and fetches that share swarms and each other's work.

use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::{Duration, Instant};

use offswarm::client::fetch::{Rungs, Ways};
use offswarm::client::put::PutOptions;
use offswarm::client::session::{Session, Source, Transfer, TransferState};
use offswarm::client::{Client, Settings};
use offswarm::off::OffUrl;
use offswarm::peer::front::Limits;
use offswarm::swarm::session::{Options, Swarms};

use crate::program::{Place, noise};

/// Somebody who has a file, and lets others have it.
struct Giver {
    url: OffUrl,
    bytes: Vec<u8>,
    client: Client,
    swarms: Swarms,
}

fn options(download: Option<u32>) -> Options {
    let listen = Some("127.0.0.1:0".parse().unwrap());
    let limits = Limits { download: download.and_then(NonZeroU32::new), ..Limits::default() };
    Options { listen, limits, ..Options::default() }
}

impl Giver {
    async fn new(place: &Place, len: usize) -> Self {
        let client = Client::open(&place.path("giver"), &Settings::default()).unwrap();
        let bytes = noise(len);
        let put = client.put(&mut &*bytes, &PutOptions::default(), &mut |_| ()).unwrap();
        let url = client.publish(&put.url, &[]).map(|published| {
            let mut url = put.url.clone();
            url.hints.infohash = Some(published.metainfo.info.infohash);
            url
        });
        let swarms = client.swarms(&options(None)).await.unwrap();
        Self { url: url.unwrap(), bytes, client, swarms }
    }

    /// Somebody who has nothing yet and knows this one.
    async fn session(&self, place: &Place, rungs: Rungs, download: Option<u32>) -> Session {
        let client = Client::open(&place.path("taker"), &Settings::default()).unwrap();
        let ways = Ways {
            peers: vec![self.swarms.listen()],
            swarms: options(download),
            rungs,
            stall: Some(Duration::from_secs(20)),
            ..Ways::default()
        };
        let session = Session::new(client, ways);
        open(&session, download).await;
        session
    }
}

async fn open(session: &Session, download: Option<u32>) {
    let swarms = session.client().swarms(&options(download)).await.unwrap();
    session.set_swarms(Some(Arc::new(swarms)));
}

async fn read(session: &Session, url: &OffUrl, range: std::ops::Range<u64>) -> Vec<u8> {
    let mut reading = session.read(&Source::from(url.clone()), range).await.unwrap();
    let mut bytes = Vec::new();
    while let Some(part) = reading.next().await {
        bytes.extend_from_slice(&part.unwrap());
    }
    bytes
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_file_that_is_not_what_its_url_says_is_cut_each_time() {
    let place = Place::new();
    let giver = Giver::new(&place, 300_000).await;
    let other =
        OffUrl::parse(&giver.url.to_string().replace(
            &giver.url.file().to_string(),
            &offswarm::id::FileId::of_nothing().to_string(),
        ));
    let session = giver.session(&place, Rungs::All, None).await;
    assert!(read(&session, &giver.url, 0..300_000).await == giver.bytes);
    for _ in 0..2 {
        let mut reading = session.read(&other.clone().unwrap().into(), 0..300_000).await.unwrap();
        let mut came = 0;
        let error = loop {
            match reading.next().await.expect("an error comes before the end") {
                Ok(part) => came += part.len(),
                Err(error) => break error,
            }
        };
        assert!(came < 300_000 && error.to_string().contains("decode"), "{came}: {error}");
        assert!(read(&session, &giver.url, 0..300_000).await == giver.bytes, "the right one is");
    }
}

/// Waits until something is so of a transfer.
async fn until(session: &Session, id: u64, is_so: impl Fn(&Transfer) -> bool) -> Transfer {
    let started = Instant::now();
    loop {
        let transfer = session.transfer(id).unwrap();
        if is_so(&transfer) {
            return transfer;
        }
        assert!(started.elapsed() < Duration::from_secs(30), "{transfer:?}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

fn blocks(session: &Session) -> u64 {
    session.client().store().census().unwrap().blocks
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_range_near_the_end_comes_without_the_rest() {
    for rungs in [Rungs::NativeOnly, Rungs::SwarmOnly] {
        let place = Place::new();
        let giver = Giver::new(&place, 12 << 20).await;
        let session = giver.session(&place, rungs, None).await;
        let end = giver.bytes.len();
        let began = Instant::now();
        let last = read(&session, &giver.url, end as u64 - 100_000..end as u64).await;
        assert!(last == giver.bytes[end - 100_000..]);
        assert!(began.elapsed() < Duration::from_secs(5), "{:?}", began.elapsed());
        assert!(blocks(&session) < 20, "{} blocks for a range of one or two", blocks(&session));
        assert!(
            session.client().known_urls().unwrap().is_empty(),
            "what is only read is not entered"
        );
        // The second time nobody is asked.
        session.set_swarms(None);
        assert!(
            read(&session, &giver.url, end as u64 - 5..end as u64).await == giver.bytes[end - 5..]
        );
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn readers_and_a_fetch_share_one_transfer() {
    let place = Place::new();
    let giver = Giver::new(&place, 12 << 20).await;
    let session = giver.session(&place, Rungs::All, Some(8 << 20)).await;
    let (len, url) = (giver.bytes.len() as u64, &giver.url);
    let (whole, tail, fetched) =
        tokio::join!(read(&session, url, 0..len), read(&session, url, len - 1_000..len), async {
            let id = session.fetch(url, &Ways::default());
            until(&session, id, |transfer| transfer.state != TransferState::Running).await
        });
    assert!(whole == giver.bytes && tail == giver.bytes[giver.bytes.len() - 1_000..]);
    assert_eq!(fetched.state, TransferState::Done, "{fetched:?}");
    assert_eq!(session.transfers().len(), 1, "{:?}", session.transfers());
    assert_eq!(fetched.missing, 0);
    assert_eq!(fetched.bytes_done, len);
    assert_eq!(session.client().known_urls().unwrap().len(), 1, "it was to be kept");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn when_its_readers_are_gone_a_fetch_ends_and_nothing_moves_any_more() {
    for rungs in [Rungs::NativeOnly, Rungs::SwarmOnly] {
        let place = Place::new();
        let giver = Giver::new(&place, 16 << 20).await;
        let session = giver.session(&place, rungs, Some(1 << 20)).await;
        let source = Source::from(giver.url.clone());
        let mut reading = session.read(&source, 0..giver.url.length()).await.unwrap();
        reading.next().await.unwrap().unwrap();
        drop(reading);
        let id = session.transfers()[0].id;
        let ended = until(&session, id, |transfer| transfer.state != TransferState::Running).await;
        assert_eq!(ended.state, TransferState::Stopped);
        let swarms = session.swarms().unwrap();
        // What was asked for is still on its way.
        tokio::time::sleep(Duration::from_secs(2)).await;
        let before = swarms.traffic().received;
        tokio::time::sleep(Duration::from_secs(1)).await;
        assert!(swarms.traffic().received - before < 300_000, "{rungs:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_fetch_goes_on_when_the_swarms_were_closed_and_opened() {
    let place = Place::new();
    let giver = Giver::new(&place, 12 << 20).await;
    let session = giver.session(&place, Rungs::All, Some(6 << 20)).await;
    let id = session.fetch(&giver.url, &Ways::default());
    until(&session, id, |transfer| transfer.blocks_native + transfer.blocks_swarm > 8).await;
    let swarms = session.swarms().unwrap();
    session.set_swarms(None);
    swarms.stop().await;
    drop(swarms);
    open(&session, None).await;
    let ended = until(&session, id, |transfer| transfer.state != TransferState::Running).await;
    assert_eq!(ended.state, TransferState::Done, "{ended:?}");
    assert!(read(&session, &giver.url, 0..giver.url.length()).await == giver.bytes);
}

/// A torrent that is in use is what it was when it was looked at first. What is lost meanwhile has
/// to be fetched all the same.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn what_was_lost_is_fetched_again_though_its_torrent_is_in_use() {
    let place = Place::new();
    let giver = Giver::new(&place, 3 << 20).await;
    let session = giver.session(&place, Rungs::SwarmOnly, None).await;
    for round in 0..3 {
        let id = session.fetch(&giver.url, &Ways::default());
        let ended = until(&session, id, |transfer| transfer.state != TransferState::Running).await;
        assert_eq!(ended.state, TransferState::Done, "round {round}: {ended:?}");
        assert!(ended.blocks_swarm > 20, "{ended:?}");
        let bytes = read(&session, &giver.url, 0..giver.url.length()).await;
        assert!(bytes == giver.bytes, "round {round}");
        assert!(session.client().rm(&giver.url).unwrap().blocks > 20);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_transfer_can_be_cancelled_and_says_why_it_failed() {
    let place = Place::new();
    let giver = Giver::new(&place, 12 << 20).await;
    let session = giver.session(&place, Rungs::All, Some(1 << 20)).await;
    let id = session.fetch(&giver.url, &Ways::default());
    until(&session, id, |transfer| transfer.missing > 0 && !transfer.reason.is_empty()).await;
    assert!(session.cancel(id) && !session.cancel(id + 1));
    let ended = until(&session, id, |transfer| transfer.state != TransferState::Running).await;
    assert_eq!((ended.state, ended.error), (TransferState::Stopped, None));
    assert!(!session.cancel(id), "it has ended");
    giver.swarms.stop().await;
    drop(giver.swarms);
    let short = Ways { stall: Some(Duration::from_secs(1)), ..Ways::default() };
    let nothing = Client::open(&place.path("lonely"), &Settings::default()).unwrap();
    let lonely = Session::new(nothing, short);
    open(&lonely, None).await;
    let error = lonely.read(&giver.url.clone().into(), 0..10).await.unwrap_err();
    assert!(error.to_string().contains("blocks not found"), "{error}");
    assert_eq!(session.clear(), 1);
    drop(giver.client);
}
