//! Packs: blocks back to back in a file, each in its slot ([`Carriage`]): the one form in which blocks
//! travel outside of torrents.

use std::collections::HashSet;
use std::fs::File;
use std::io::{self, Read, Write};
use std::num::NonZeroUsize;
use std::path::Path;

use crate::id::{BlockId, InfoHash, PieceHasher};
use crate::limits::{BLOCK_LEN, MAX_LISTED_IDS};
use crate::off::{Carriage, OffUrl};
use crate::store::StoreError;
use crate::torrent::mapping::{Mapping, blocks_per_piece};
use crate::torrent::metainfo::{Info, Metainfo, PieceLayers, content_name, pack_name};

use super::digests::slot_of;
use super::{Client, PublishError, ReadError, UpkeepError};

/// Blocks listed in one go.
const BATCH: usize = 1_024;

/// What a pack holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pack {
    /// Its blocks, each once.
    order: Vec<BlockId>,
    /// The OFF URL, if it is the pack of just one.
    url: Option<OffUrl>,
}

impl Pack {
    /// Its blocks in order, each once.
    #[must_use]
    pub fn order(&self) -> &[BlockId] {
        &self.order
    }

    /// The name of the content file of its torrent: that of the OFF URL if it is the pack of just
    /// one, so that both have one swarm.
    #[must_use]
    pub fn name(&self) -> String {
        match (&self.url, self.order.first()) {
            (Some(_), Some(first)) => content_name(*first),
            _ => pack_name(&self.order),
        }
    }
}

impl Client {
    /// The pack of some URLs that are whole here: the blocks of their torrents one after the other,
    /// each block once.
    pub fn pack_of(&self, urls: &[OffUrl]) -> Result<Pack, PublishError> {
        let (mut order, mut seen, mut carriage) = (Mapping::new(), HashSet::new(), None);
        for url in urls.iter().map(OffUrl::canonical) {
            let text = url.to_string();
            let survey = self.survey(&url);
            let survey =
                survey.map_err(|source| PublishError::Read { url: text.clone(), source })?;
            if !survey.is_whole() {
                let (missing, blocks) = (survey.lacking(), survey.blocks);
                return Err(PublishError::Incomplete { url: text, missing, blocks });
            }
            let carries = self.carriage(&url, &survey.order)?;
            let expected = *carriage.get_or_insert(carries);
            if carries != expected {
                let [expected, found] =
                    [expected, carries].map(|one| one.block_size().len() as u64);
                return Err(PublishError::MixedBlocks { url: text, expected, found });
            }
            order.extend(survey.order);
            seen.insert(text);
        }
        let url = urls.first().filter(|_| seen.len() == 1).map(OffUrl::canonical);
        Ok(Pack { order: order.into_order(), url })
    }

    /// The pack of all native blocks of the store, in the order of their places.
    pub fn pack_of_all(&self) -> Result<Pack, PublishError> {
        let (mut place, mut order) = (0, Vec::new());
        loop {
            let part = self.store.walk(place, BATCH)?;
            let Some((last, _)) = part.last() else { return Ok(Pack { order, url: None }) };
            place = last + 1;
            for (_, id) in part {
                if self.is_native(&id)? {
                    order.push(id);
                }
            }
        }
    }

    /// Whether a block is here and has the size of a native one.
    pub(super) fn is_native(&self, id: &BlockId) -> Result<bool, StoreError> {
        Ok(self.store.locate(id)?.is_some_and(|found| found.len == BLOCK_LEN as u64))
    }

    /// Writes the blocks of a pack, each verified: what its torrent says of them.
    pub fn export(&self, pack: &Pack, file: &mut dyn Write) -> Result<Info, PublishError> {
        if pack.order.is_empty() {
            return Err(PublishError::Empty);
        }
        let blocks = pack.order.len() as u64;
        let per_piece = usize::try_from(blocks_per_piece(blocks)).ok().and_then(NonZeroUsize::new);
        let mut pieces = Vec::new();
        for ids in pack.order.chunks(per_piece.map_or(1, NonZeroUsize::get)) {
            let mut hasher = PieceHasher::default();
            for id in ids {
                let block = self.store.get(id).map_err(ReadError::from)?;
                let block = block.ok_or(ReadError::Missing(*id))?;
                let slot = slot_of(&block)?;
                hasher.update(&slot);
                file.write_all(&slot).map_err(PublishError::Write)?;
            }
            pieces.push(hasher.finish());
        }
        file.flush().map_err(PublishError::Write)?;
        Ok(Info::named(pack.name(), blocks, &pieces)?)
    }

    /// Remembers the torrent of a pack, so that it can be seeded. Its torrent file lists the blocks
    /// unless they are too many.
    pub fn publish_pack(
        &self,
        pack: &Pack,
        info: Info,
        trackers: &[String],
        web_seeds: &[String],
    ) -> Result<Metainfo, PublishError> {
        match &pack.url {
            Some(url) => self.catalog.publish(url, info.infohash, &info.raw, trackers)?,
            None => {
                let order = &pack.order;
                self.catalog.publish_blocks(info.infohash, &info.raw, order, trackers)?;
            }
        }
        let ids = listable(pack.order.clone());
        Ok(Metainfo {
            info,
            trackers: trackers.to_vec(),
            web_seeds: web_seeds.to_vec(),
            ids,
            piece_layers: PieceLayers::default(),
        })
    }

    /// The torrent file of a torrent that the catalog knows.
    pub fn metainfo(&self, infohash: InfoHash) -> Result<Option<Metainfo>, PublishError> {
        let (Some(record), Some(info)) =
            (self.catalog.torrent(infohash)?, self.catalog.info_dict(infohash)?)
        else {
            return Ok(None);
        };
        let info = Info::decode(info.into())?;
        let ids = self.catalog.order(infohash)?.and_then(listable);
        Ok(Some(Metainfo {
            info,
            trackers: record.trackers,
            web_seeds: Vec::new(),
            ids,
            piece_layers: PieceLayers::default(),
        }))
    }

    /// Takes the blocks of a pack in: how many are new. With `in_place` the file is read where it
    /// is from then on, verified on every read and never written; else its blocks are copied. What a
    /// slot holds shows in how it ends, see [`Carriage::found_in`].
    pub fn adopt(&self, pack: &Path, in_place: bool) -> Result<u64, UpkeepError> {
        if in_place {
            return Ok(self.store.adopt(pack)?);
        }
        let failed = |source| UpkeepError::Pack { path: pack.to_owned(), source };
        let mut file = File::open(pack).map_err(failed)?;
        let length = file.metadata().map_err(failed)?.len();
        if length == 0 || length % BLOCK_LEN as u64 != 0 {
            let why = format!("its {length} bytes are no whole number of blocks");
            return Err(StoreError::NotAPack { path: pack.to_owned(), why }.into());
        }
        let mut new = 0;
        while let Some(contents) = next_block(&mut file).map_err(failed)? {
            if let Ok(block) = Carriage::found_in(&contents).unload(&contents.into()) {
                new += u64::from(self.store.put(&block)?);
            }
        }
        self.store.commit()?;
        Ok(new)
    }
}

/// The blocks, if a torrent file may list so many.
fn listable(ids: Vec<BlockId>) -> Option<Vec<BlockId>> {
    Some(ids).filter(|ids| ids.len() <= MAX_LISTED_IDS)
}

fn next_block(file: &mut File) -> io::Result<Option<Vec<u8>>> {
    let mut contents = Vec::with_capacity(BLOCK_LEN);
    file.take(BLOCK_LEN as u64).read_to_end(&mut contents)?;
    Ok((contents.len() == BLOCK_LEN).then_some(contents))
}
