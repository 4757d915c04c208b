//! Shards: the whole store as torrents, each of at most 1,024 blocks (128 MiB).
//!
//! Each native block of the store is in one shard. A shard of 1,024 blocks is *sealed*: it stays
//! as it is while all its blocks are here, whatever else is put. The blocks that are left over
//! make up the *open* shard, which is replaced when there are others. A sealed shard that has lost
//! a block is dropped, and its other blocks are left over until the next 1,024 are together.
//! Nothing is read that was hashed for a torrent before.
//!
//! A shard shows that somebody has these blocks, and as blocks lie in the order in which they came,
//! roughly which of them came together.
//!
//! Where a slab of the store is full and none of its blocks is in a shard yet, these blocks in the
//! order of their slots are a shard. Then the slab file is its content as it stands
//! ([`Shard::file`]), and any BitTorrent client can seed it without a copy, once the file goes
//! by the name that the torrent gives it:
//!
//! ```text
//! ln -s STORE/000003.slab 0b0cf6ec05bafd5b.off
//! ```
//!
//! A client that seeds a slab must not be able to write to it. When the store takes a block out,
//! the shard is dropped, the slot is used for another block, and a client that finds the old block
//! missing would fetch it and put it back in the new one's place. So let it run as a user who may
//! only read the slab, or give it a copy that shares the bytes on disk
//! (`cp --reflink=auto STORE/000003.slab NAME.off`), which always holds what the torrent says.
//!
//! [`Client::write_torrents`] keeps a folder of torrent files, `NAME.off.torrent` each, beside a
//! list of them, `shards.json`:
//!
//! ```text
//! {"shards": [{"name": "0b0cf6ec05bafd5b.off", "infohash": "<40 hex digits>", "blocks": 1024,
//!              "sealed": true, "file": "/home/me/.local/share/offswarm/store/000003.slab"}]}
//! ```
//!
//! `file` is null where no file holds just the shard.

use std::collections::{HashMap, HashSet};
use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::PoisonError;

use serde::{Deserialize, Serialize};

use crate::catalog::ShardRecord;
use crate::id::{BlockId, InfoHash, PieceHash};
use crate::limits::{SHARD_BLOCKS, SLOTS_PER_SLAB};
use crate::store::StoreError;
use crate::torrent::metainfo::{Info, pack_name};

use super::{Client, PublishError, ReadError};

/// The list of the torrents in a folder.
const LIST: &str = "shards.json";

/// A part of the store that has a torrent of its own, which the catalog holds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Shard {
    /// The name of its content file.
    pub name: String,
    /// Its swarm.
    pub infohash: InfoHash,
    /// How many blocks it has.
    pub blocks: u64,
    /// Whether it stays as it is when more blocks are put.
    pub sealed: bool,
    /// The file that is its content as it stands, if there is one. It is for reading only.
    pub file: Option<PathBuf>,
}

impl Shard {
    /// The name of its torrent file.
    #[must_use]
    pub fn torrent_name(&self) -> String {
        format!("{}.torrent", self.name)
    }
}

#[derive(Default, Serialize, Deserialize)]
struct List {
    shards: Vec<Shard>,
}

impl Client {
    /// Publishes the whole store: each of its native blocks is in one of the shards, in the order
    /// of their infohashes. What is published already stays. Blocks that turn out to be damaged
    /// are left out.
    ///
    /// Takes some 400 bytes of memory for each shard.
    pub fn publish_store(&self, trackers: &[String]) -> Result<Vec<Shard>, PublishError> {
        let _alone = self.sharding.lock().unwrap_or_else(PoisonError::into_inner);
        let mut sharding = Sharding::new(self, trackers);
        sharding.keep_sealed()?;
        sharding.shard_the_rest()?;
        sharding.finish()
    }

    /// Makes a folder hold the torrent files of these shards and a list of them; those of shards
    /// that were listed before and are no more go.
    pub fn write_torrents(&self, shards: &[Shard], folder: &Path) -> Result<(), PublishError> {
        let failed = |path: PathBuf| |source| PublishError::File { path, source };
        fs::create_dir_all(folder).map_err(failed(folder.to_owned()))?;
        let list_path = folder.join(LIST);
        let before = match fs::read(&list_path) {
            Ok(json) => serde_json::from_slice(&json).unwrap_or_default(),
            Err(error) if error.kind() == io::ErrorKind::NotFound => List::default(),
            Err(source) => return Err(PublishError::File { path: list_path, source }),
        };
        for shard in shards {
            let Some(metainfo) = self.metainfo(shard.infohash)? else { continue };
            let path = folder.join(shard.torrent_name());
            replace(&path, &metainfo.encode()).map_err(failed(path))?;
        }
        let current: HashSet<&str> = shards.iter().map(|shard| shard.name.as_str()).collect();
        for shard in &before.shards {
            if !current.contains(shard.name.as_str()) && is_shard_name(&shard.name) {
                let path = folder.join(shard.torrent_name());
                match fs::remove_file(&path) {
                    Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                    done => done.map_err(failed(path))?,
                }
            }
        }
        let list = serde_json::to_vec_pretty(&List { shards: shards.to_vec() });
        let list = list.map_err(io::Error::from).map_err(failed(list_path.clone()))?;
        replace(&list_path, &list).map_err(failed(list_path))
    }
}

/// The store on its way into shards.
struct Sharding<'a> {
    client: &'a Client,
    trackers: &'a [String],
    shards: Vec<Shard>,
    /// Where the blocks of the sealed shards are.
    taken: Places,
    /// Shards to forget when the others are there.
    gone: Vec<InfoHash>,
    /// Blocks without a shard.
    left: Vec<BlockId>,
}

impl<'a> Sharding<'a> {
    fn new(client: &'a Client, trackers: &'a [String]) -> Self {
        let (shards, taken, gone) = (Vec::new(), Places::default(), Vec::new());
        Self { client, trackers, shards, taken, gone, left: Vec::new() }
    }

    /// Keeps the sealed shards all of whose blocks are here.
    fn keep_sealed(&mut self) -> Result<(), PublishError> {
        for (infohash, ShardRecord { sealed }) in self.client.catalog.shards()? {
            let ids = self.client.catalog.order(infohash)?.unwrap_or_default();
            let places = if sealed { self.places(&ids)? } else { None };
            let Some(places) = places else {
                self.gone.push(infohash);
                continue;
            };
            self.client.catalog.set_trackers(infohash, self.trackers)?;
            let file = self.file(&places)?;
            let (name, blocks) = (pack_name(&ids), ids.len() as u64);
            self.shards.push(Shard { name, infohash, blocks, sealed, file });
            for place in places {
                self.taken.insert(place);
            }
        }
        Ok(())
    }

    /// Makes shards of the blocks that are in none.
    fn shard_the_rest(&mut self) -> Result<(), PublishError> {
        let mut slab = 0;
        loop {
            let found = self.client.store.walk(slab * SLOTS_PER_SLAB, SHARD_BLOCKS)?;
            let Some((first, _)) = found.first() else { break };
            slab = first / SLOTS_PER_SLAB;
            let mut free = Vec::new();
            for (place, id) in found {
                let is_in_slab = place / SLOTS_PER_SLAB == slab;
                if is_in_slab && !self.taken.contains(place) && self.client.is_native(&id)? {
                    free.push(id);
                }
            }
            slab += 1;
            if free.len() == SHARD_BLOCKS {
                self.seal(free)?;
            } else {
                self.left.extend(free);
            }
            while self.left.len() >= SHARD_BLOCKS {
                let ids = self.left.drain(..SHARD_BLOCKS).collect();
                self.seal(ids)?;
            }
        }
        let left = std::mem::take(&mut self.left);
        let pieces = self.hashed(left)?;
        if pieces.is_empty() { Ok(()) } else { self.publish(&pieces, false) }
    }

    fn finish(mut self) -> Result<Vec<Shard>, PublishError> {
        for infohash in self.gone {
            self.client.catalog.forget_torrent(infohash)?;
        }
        self.shards.sort_unstable_by_key(|shard| shard.infohash);
        Ok(self.shards)
    }

    /// Makes a sealed shard, or if a block is damaged leaves the others over.
    fn seal(&mut self, ids: Vec<BlockId>) -> Result<(), PublishError> {
        let pieces = self.hashed(ids)?;
        if pieces.len() == SHARD_BLOCKS {
            return self.publish(&pieces, true);
        }
        self.left.extend(pieces.iter().map(|(id, _)| *id));
        Ok(())
    }

    fn publish(
        &mut self,
        pieces: &[(BlockId, PieceHash)],
        sealed: bool,
    ) -> Result<(), PublishError> {
        let (ids, hashes): (Vec<BlockId>, Vec<PieceHash>) = pieces.iter().copied().unzip();
        let (name, blocks) = (pack_name(&ids), ids.len() as u64);
        let info = Info::named(name.clone(), blocks, &hashes)?;
        let (catalog, infohash) = (&self.client.catalog, info.infohash);
        if self.gone.contains(&infohash) {
            // The open shard is what it was before.
            self.gone.retain(|gone| *gone != infohash);
            catalog.set_trackers(infohash, self.trackers)?;
        } else {
            let record = ShardRecord { sealed };
            catalog.publish_shard(infohash, &info.raw, &ids, self.trackers, record)?;
        }
        let places = if sealed { self.places(&ids)? } else { None };
        let file = self.file(&places.unwrap_or_default())?;
        self.shards.push(Shard { name, infohash, blocks, sealed, file });
        Ok(())
    }

    /// The blocks with the hashes of their pieces, without those that cannot be read.
    fn hashed(&self, ids: Vec<BlockId>) -> Result<Vec<(BlockId, PieceHash)>, PublishError> {
        let mut pieces = Vec::with_capacity(ids.len());
        let mut new = Vec::new();
        for id in ids {
            match self.client.digests(&id, None, &mut new) {
                Ok(digests) => pieces.push((id, digests.piece)),
                Err(ReadError::Missing(_)) => {}
                Err(ReadError::Store(StoreError::Damaged { id, place, .. })) => {
                    tracing::warn!(%id, place, "a block is damaged");
                }
                Err(error) => return Err(error.into()),
            }
        }
        self.client.store.keep_digests(&new)?;
        Ok(pieces)
    }

    /// The places of some blocks; `None` if one is not here.
    fn places(&self, ids: &[BlockId]) -> Result<Option<Vec<u64>>, PublishError> {
        let (store, Some(first)) = (&self.client.store, ids.first()) else { return Ok(None) };
        let Some(first) = store.locate(first)? else { return Ok(None) };
        // Mostly they are one after the other, which is seen in one go.
        let run = store.walk(first.place, ids.len())?;
        if run.iter().map(|(_, id)| id).eq(ids) {
            return Ok(Some(run.into_iter().map(|(place, _)| place).collect()));
        }
        let mut places = Vec::with_capacity(ids.len());
        for id in ids {
            let Some(found) = store.locate(id)? else { return Ok(None) };
            places.push(found.place);
        }
        Ok(Some(places))
    }

    /// The file that consists of these places.
    fn file(&self, places: &[u64]) -> Result<Option<PathBuf>, PublishError> {
        let Some(first) = places.first() else { return Ok(None) };
        if !(*first..).zip(places).all(|(expected, place)| expected == *place) {
            return Ok(None);
        }
        let found = self.client.store.file_of(*first, places.len() as u64)?;
        Ok(found.map(|path| std::path::absolute(&path).unwrap_or(path)))
    }
}

/// A set of places: a bit each, for slabs with any. A slab has as many slots as a shard blocks.
#[derive(Default)]
struct Places(HashMap<u64, [u64; SHARD_BLOCKS / 64]>);

impl Places {
    fn insert(&mut self, place: u64) {
        let (slab, word, bit) = Self::split(place);
        if let Some(word) = self.0.entry(slab).or_default().get_mut(word) {
            *word |= bit;
        }
    }

    fn contains(&self, place: u64) -> bool {
        let (slab, word, bit) = Self::split(place);
        self.0.get(&slab).and_then(|words| words.get(word)).is_some_and(|word| word & bit != 0)
    }

    fn split(place: u64) -> (u64, usize, u64) {
        let slot = place % SLOTS_PER_SLAB;
        (place / SLOTS_PER_SLAB, slot as usize / 64, 1 << (slot % 64))
    }
}

/// Whether we may have written a torrent of this name: a list is only a file.
fn is_shard_name(name: &str) -> bool {
    name.strip_suffix(".off")
        .is_some_and(|stem| stem.len() == 16 && stem.bytes().all(|byte| byte.is_ascii_hexdigit()))
}

/// Gives a file other contents, all or nothing. One that has them already is left alone: who
/// watches the folder need not look again.
fn replace(path: &Path, contents: &[u8]) -> io::Result<()> {
    use std::os::unix::fs::PermissionsExt;
    if fs::metadata(path).is_ok_and(|metadata| metadata.len() == contents.len() as u64)
        && fs::read(path)? == contents
    {
        return Ok(());
    }
    let mut file = tempfile::Builder::new()
        .prefix(".offswarm-")
        .suffix(".part")
        .permissions(fs::Permissions::from_mode(0o666))
        .tempfile_in(path.parent().unwrap_or(Path::new(".")))?;
    file.write_all(contents)?;
    file.as_file().sync_all()?;
    file.persist(path).map(|_| ()).map_err(|error| error.error)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_kept_apart() {
        let mut places = Places::default();
        let far = (1 << 50) + 63;
        for place in [0, 63, 64, 1_023, 1_024, far] {
            assert!(!places.contains(place), "{place}");
            places.insert(place);
            assert!(places.contains(place), "{place}");
        }
        assert!(!places.contains(1) && !places.contains(far + 1));
    }

    #[test]
    fn only_names_of_shards_are_taken_for_ours() {
        assert!(is_shard_name("0b0cf6ec05bafd5b.off"));
        for name in ["", ".off", "../../etc/passwd.off", "0b0cf6ec05bafd5b", "0b0cf6ec05bafd5.off"]
        {
            assert!(!is_shard_name(name), "{name}");
        }
    }
}
