//! What is under way, and what has ended lately.

use std::collections::BTreeMap;
use std::error::Error;
use std::ops::Range;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::SystemTime;

use tokio::sync::broadcast;
use tokio_util::sync::CancellationToken;

use crate::client::GetError;
use crate::client::arrivals::{Arrivals, Reader};
use crate::client::fetch::Fetched;
use crate::off::OffUrl;

use super::Event;

/// Transfers that have ended and are still listed.
const ENDED_LISTED: usize = 200;

/// Which way bytes go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TransferKind {
    /// Into the store.
    Put,
    /// From others into the store.
    Get,
}

/// How a transfer stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TransferState {
    /// It is under way.
    Running,
    /// It has done what it was to do.
    Done,
    /// It could not: see [`Transfer::error`].
    Failed,
    /// Somebody stopped it, or nobody wanted it any more.
    Stopped,
}

/// A look at a transfer.
#[derive(Debug, Clone)]
pub struct Transfer {
    /// Its number.
    pub id: u64,
    /// The name that whoever began it gave it, for finding it again.
    pub tag: Option<String>,
    /// Which way.
    pub kind: TransferKind,
    /// The name of the file.
    pub name: String,
    /// The URL; of a put once it is done.
    pub url: Option<OffUrl>,
    /// How it stands.
    pub state: TransferState,
    /// Bytes of the file, if they are known.
    pub bytes_total: Option<u64>,
    /// Bytes read (put), or bytes of blocks that are here (get).
    pub bytes_done: u64,
    /// Blocks it takes, or an upper bound; 0 if unknown.
    pub blocks: u64,
    /// Blocks that are not here.
    pub missing: u64,
    /// What is being waited for, in words.
    pub reason: String,
    /// Why it failed, with causes.
    pub error: Option<String>,
    /// Blocks that were here.
    pub blocks_local: u64,
    /// Blocks that came from native peers.
    pub blocks_native: u64,
    /// Blocks that came from swarms.
    pub blocks_swarm: u64,
    /// Blocks that came from legacy nodes (js-offs).
    pub blocks_legacy: u64,
    /// Bytes a second that come in now.
    pub received_per_second: u64,
    /// Native peers connected.
    pub native_peers: u64,
    /// Peers of swarms connected.
    pub swarm_peers: u64,
    /// When it began.
    pub started: SystemTime,
    /// When it ended.
    pub ended: Option<SystemTime>,
}

#[derive(Clone)]
pub(super) struct Transfers(Arc<Mutex<Table>>, broadcast::Sender<Event>);

#[derive(Default)]
struct Table {
    last: u64,
    all: BTreeMap<u64, Entry>,
}

struct Entry {
    transfer: Transfer,
    stop: CancellationToken,
    /// The fetch, for those who want to take part in it.
    flow: Option<Arrivals>,
    /// Why it failed.
    error: Option<Arc<GetError>>,
    /// Is cancelled when it has ended.
    ended: CancellationToken,
}

impl Table {
    fn begin(
        &mut self,
        kind: TransferKind,
        name: &str,
        url: Option<&OffUrl>,
        flow: Option<Arrivals>,
    ) -> u64 {
        self.last += 1;
        let id = self.last;
        let transfer = Transfer {
            id,
            tag: None,
            kind,
            name: name.to_owned(),
            bytes_total: url.map(OffUrl::length),
            url: url.cloned(),
            state: TransferState::Running,
            bytes_done: 0,
            blocks: 0,
            missing: 0,
            reason: String::new(),
            error: None,
            blocks_local: 0,
            blocks_native: 0,
            blocks_swarm: 0,
            blocks_legacy: 0,
            received_per_second: 0,
            native_peers: 0,
            swarm_peers: 0,
            started: SystemTime::now(),
            ended: None,
        };
        let stop = CancellationToken::new();
        self.all.insert(
            id,
            Entry { transfer, stop, flow, error: None, ended: CancellationToken::new() },
        );
        id
    }
}

impl Transfers {
    pub(super) fn new(events: broadcast::Sender<Event>) -> Self {
        Self(Arc::default(), events)
    }

    fn table(&self) -> MutexGuard<'_, Table> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn list(&self) -> Vec<Transfer> {
        self.table().all.values().rev().map(|entry| entry.transfer.clone()).collect()
    }

    pub(super) fn find(&self, id: u64) -> Option<Transfer> {
        self.table().all.get(&id).map(|entry| entry.transfer.clone())
    }

    pub(super) fn cancel(&self, id: u64) -> bool {
        let table = self.table();
        let running = |entry: &&Entry| entry.transfer.state == TransferState::Running;
        let found = table.all.get(&id).filter(running);
        found.inspect(|entry| entry.stop.cancel()).is_some()
    }

    pub(super) fn cancel_all(&self) {
        self.table().all.values().for_each(|entry| entry.stop.cancel());
    }

    pub(super) fn clear(&self) -> usize {
        let mut table = self.table();
        let before = table.all.len();
        table.all.retain(|_, entry| entry.transfer.state == TransferState::Running);
        before - table.all.len()
    }

    /// Takes part in the fetch of a URL: its number, what its readers share, a part in it, and
    /// whether it is new and has to be begun.
    pub(super) fn join(
        &self,
        url: &OffUrl,
        range: Option<Range<u64>>,
    ) -> (u64, Arrivals, Reader, bool) {
        let mut table = self.table();
        let is_same = |entry: &&Entry| {
            entry.transfer.url.as_ref().is_some_and(|other| other.canonical() == url.canonical())
        };
        let same = table.all.values().filter(is_same);
        let mut taken = same.filter_map(|entry| {
            let flow = entry.flow.clone()?;
            let reader = flow.reader(range.clone())?;
            Some((entry.transfer.id, flow, reader))
        });
        if let Some((id, flow, reader)) = taken.next_back() {
            return (id, flow, reader, false);
        }
        let (flow, reader) = Arrivals::following(range);
        let id = table.begin(TransferKind::Get, url.name(), Some(url), Some(flow.clone()));
        drop(table);
        let _ = self.1.send(Event::Transfer(id));
        (id, flow, reader, true)
    }

    /// A fetch has ended, in which others took part.
    pub(super) fn ended(&self, id: u64, ended: Result<Fetched, GetError>, kept: bool) {
        self.settle(id, ended.as_ref().copied(), kept);
        if let Some(entry) = self.table().all.get_mut(&id) {
            entry.error = ended.err().map(Arc::new);
        }
    }

    /// A fetch has ended: all of its URL is here if it was to be `kept` and went well.
    pub(super) fn settle(&self, id: u64, ended: Result<Fetched, &GetError>, kept: bool) {
        self.change(id, |transfer| match ended {
            Ok(fetched) => {
                transfer.state = TransferState::Done;
                transfer.blocks_local = fetched.local;
                transfer.blocks_native = fetched.native;
                transfer.blocks_swarm = fetched.swarm;
                transfer.blocks_legacy = fetched.legacy;
                if kept {
                    transfer.missing = 0;
                    transfer.bytes_done = transfer.bytes_total.unwrap_or_default();
                    transfer.blocks = transfer.blocks.max(fetched.local);
                }
            }
            Err(GetError::Stopped) => transfer.state = TransferState::Stopped,
            Err(why) => {
                transfer.state = TransferState::Failed;
                transfer.error = Some(told(why));
            }
        });
    }

    /// Why a fetch failed.
    pub(super) fn error_of(&self, id: u64) -> Option<Arc<GetError>> {
        self.table().all.get(&id)?.error.clone()
    }

    pub(super) fn begin(&self, kind: TransferKind, name: &str) -> u64 {
        let id = self.table().begin(kind, name, None, None);
        let _ = self.1.send(Event::Transfer(id));
        id
    }

    pub(super) fn stop_of(&self, id: u64) -> CancellationToken {
        self.table().all.get(&id).map(|entry| entry.stop.clone()).unwrap_or_default()
    }

    /// Is cancelled when a transfer has ended.
    pub(super) fn ended_of(&self, id: u64) -> CancellationToken {
        self.table().all.get(&id).map(|entry| entry.ended.clone()).unwrap_or_default()
    }

    /// Changes one and tells everybody.
    pub(super) fn change(&self, id: u64, act: impl FnOnce(&mut Transfer)) {
        let mut table = self.table();
        let Some(entry) = table.all.get_mut(&id) else { return };
        act(&mut entry.transfer);
        if entry.transfer.state != TransferState::Running && entry.transfer.ended.is_none() {
            entry.transfer.ended = Some(SystemTime::now());
            entry.transfer.reason.clear();
            entry.transfer.received_per_second = 0;
            entry.ended.cancel();
            let ended = |entry: &Entry| entry.transfer.ended.is_some();
            let over = table.all.values().filter(|entry| ended(entry)).count();
            let oldest = table.all.iter().find(|(_, entry)| ended(entry)).map(|(id, _)| *id);
            if let (true, Some(oldest)) = (over > ENDED_LISTED, oldest) {
                table.all.remove(&oldest);
            }
        }
        drop(table);
        let _ = self.1.send(Event::Transfer(id));
    }
}

/// An error with its causes, outermost first.
#[must_use]
pub fn told(error: &(dyn Error + 'static)) -> String {
    let (mut text, mut cause) = (error.to_string(), error.source());
    let mut last = text.clone();
    while let Some(error) = cause {
        let next = error.to_string();
        // Transparent wrappers repeat their source.
        if next != last {
            text = format!("{text}: {next}");
        }
        (last, cause) = (next, error.source());
    }
    text
}

/// A put that is under way.
pub struct PutTicket {
    transfers: Transfers,
    id: u64,
    stop: CancellationToken,
}

impl PutTicket {
    pub(super) fn new(transfers: Transfers, name: &str, length: Option<u64>) -> Self {
        let id = transfers.begin(TransferKind::Put, name);
        transfers.change(id, |transfer| transfer.bytes_total = length);
        let stop = transfers.stop_of(id);
        Self { transfers, id, stop }
    }

    /// The number of the transfer.
    #[must_use]
    pub const fn id(&self) -> u64 {
        self.id
    }

    /// Gives it a name to be found by.
    pub fn tag(&self, tag: &str) {
        self.transfers.change(self.id, |transfer| transfer.tag = Some(tag.to_owned()));
    }

    /// Is cancelled when somebody wants it stopped.
    #[must_use]
    pub const fn stop(&self) -> &CancellationToken {
        &self.stop
    }

    /// So many bytes were read.
    pub fn read(&self, bytes: u64) {
        self.transfers.change(self.id, |transfer| transfer.bytes_done = bytes);
    }

    /// It is done.
    pub fn done(self, url: &OffUrl) {
        self.transfers.change(self.id, |transfer| {
            transfer.state = TransferState::Done;
            transfer.url = Some(url.clone());
        });
    }

    /// It failed.
    pub fn failed(self, error: &str) {
        self.transfers.change(self.id, |transfer| {
            transfer.state = TransferState::Failed;
            transfer.error = Some(error.to_owned());
        });
    }
}

impl Drop for PutTicket {
    fn drop(&mut self) {
        self.transfers.change(self.id, |transfer| {
            if transfer.state == TransferState::Running {
                transfer.state = TransferState::Stopped;
            }
        });
    }
}
