//! The store as shards, through the library.

use std::collections::HashSet;
use std::fs::{self, OpenOptions};
use std::os::unix::fs::FileExt;
use std::path::Path;

use offswarm::client::shards::Shard;
use offswarm::client::{Client, Settings};
use offswarm::id::{BlockId, PieceHash};
use offswarm::off::{Block, BlockSize};
use offswarm::torrent::metainfo::{Metainfo, pack_name};
use rand::SeedableRng;
use rand::rngs::StdRng;

const BLOCK: usize = 131_072;

/// A home with blocks that belong to no URL.
struct Hoard {
    client: Client,
    rng: StdRng,
    folder: tempfile::TempDir,
}

impl Hoard {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let client = Client::open(&folder.path().join("home"), &Settings::default()).unwrap();
        Self { client, rng: StdRng::seed_from_u64(5), folder }
    }

    fn put(&mut self, count: usize) -> Vec<BlockId> {
        let blocks = (0..count).map(|_| Block::random(BlockSize::Native, &mut self.rng));
        let put = |block: Block| {
            self.client.store().put(&block).unwrap();
            block.id()
        };
        blocks.map(put).collect()
    }

    /// Publishes the store: the shards, each with its blocks.
    fn publish(&self) -> Vec<(Shard, Vec<BlockId>)> {
        let shards = self.client.publish_store(&["http://127.0.0.1:1/".into()]).unwrap();
        let catalog = self.client.catalog();
        assert_eq!(catalog.torrent_count().unwrap(), shards.len() as u64);
        let order = |shard: Shard| {
            let order = catalog.order(shard.infohash).unwrap().unwrap();
            assert_eq!(shard.blocks, order.len() as u64);
            assert_eq!((&shard.name, shard.sealed), (&pack_name(&order), order.len() == 1_024));
            (shard, order)
        };
        let mut shards: Vec<_> = shards.into_iter().map(order).collect();
        shards.sort_by_key(|(shard, _)| !shard.sealed);
        let all: Vec<BlockId> = shards.iter().flat_map(|(_, order)| order.clone()).collect();
        let distinct: HashSet<&BlockId> = all.iter().collect();
        assert_eq!(distinct.len(), all.len(), "no block is in two shards");
        assert_eq!(all.len() as u64, self.client.store().census().unwrap().blocks);
        shards
    }

    fn metainfo(&self, shard: &Shard) -> Metainfo {
        self.client.metainfo(shard.infohash).unwrap().unwrap()
    }

    /// Spoils the block in a slot of the first slab.
    fn spoil(&self, slot: usize) {
        let slab = self.folder.path().join("home/store/000000.slab");
        let slab = OpenOptions::new().write(true).open(slab).unwrap();
        slab.write_all_at(b"not what was written", (slot * BLOCK) as u64).unwrap();
    }
}

fn check_file(path: &Path, metainfo: &Metainfo) {
    let contents = fs::read(path).unwrap();
    let hashes: Vec<PieceHash> = contents.chunks(BLOCK).map(PieceHash::of).collect();
    assert_eq!(metainfo.info.length(), contents.len() as u64);
    assert_eq!(metainfo.info.piece_hashes().unwrap(), hashes);
    let ids: Vec<BlockId> = contents.chunks(BLOCK).map(BlockId::of).collect();
    assert_eq!(metainfo.ids, Some(ids));
}

#[test]
fn the_store_grows_shard_by_shard() {
    let mut hoard = Hoard::new();
    assert!(hoard.publish().is_empty());
    let mut ids = hoard.put(3);
    let first = hoard.publish();
    assert_eq!(first[0].1, ids);
    assert_eq!((first.len(), &first[0].0.file), (1, &None), "it may grow yet");
    assert_eq!(hoard.publish(), first);

    ids.extend(hoard.put(1_021 + 5));
    let second = hoard.publish();
    let [(full, full_order), (open, open_order)] = &*second else { panic!("{second:?}") };
    assert_eq!((&**full_order, &**open_order), (&ids[..1_024], &ids[1_024..]));
    assert_eq!(hoard.client.catalog().torrent(first[0].0.infohash).unwrap(), None);
    let file = full.file.clone().unwrap();
    assert!(file.is_absolute() && file.ends_with("home/store/000000.slab"), "{file:?}");
    assert_eq!(open.file, None);
    let metainfo = hoard.metainfo(full);
    check_file(&file, &metainfo);
    assert_eq!((&metainfo.info.name, metainfo.trackers.len()), (&full.name, 1));
    assert_eq!(hoard.publish(), second);

    // What was hashed is not read again, neither sealed nor open.
    hoard.spoil(7);
    hoard.put(2);
    let third = hoard.publish();
    assert_eq!((third[0].0.infohash, third[1].1.len()), (full.infohash, 7));
    let others = hoard.client.publish_store(&[]).unwrap();
    assert_eq!(others.len(), 2);
    assert!(others.iter().all(|shard| hoard.metainfo(shard).trackers.is_empty()));
}

#[test]
fn a_shard_that_lost_a_block_is_dropped_and_the_others_find_new_ones() {
    let mut hoard = Hoard::new();
    let ids = hoard.put(1_024 + 5);
    let before = hoard.publish();
    assert_eq!(hoard.client.store().remove_unused(&ids[10..13]).unwrap().blocks, 3);
    let after = hoard.publish();
    let [(sealed, order), (_, open)] = &*after else { panic!("{after:?}") };
    assert!(before.iter().all(|(old, _)| after.iter().all(|(new, _)| new != old)));
    assert_eq!(sealed.file, None, "its blocks are in two slabs");
    let rest: Vec<BlockId> = ids[..10].iter().chain(&ids[13..]).copied().collect();
    assert_eq!((&**order, &**open), (&rest[..1_024], &rest[1_024..]));
    // What fills the holes does not touch what is sealed.
    hoard.put(4);
    let filled = hoard.publish();
    assert_eq!((filled[0].0.infohash, filled[1].1.len()), (sealed.infohash, 6));
    hoard.client.gc(false).unwrap();
    assert!(hoard.publish().is_empty());
}

#[test]
fn a_damaged_block_is_left_out() {
    let mut hoard = Hoard::new();
    // More than are kept in memory.
    let ids = hoard.put(60);
    hoard.client.store().commit().unwrap();
    hoard.spoil(4);
    let shards = hoard.publish();
    assert_eq!(shards[0].1, [&ids[..4], &ids[5..]].concat());
}

#[test]
fn a_pack_of_1024_blocks_that_is_read_in_place_is_a_shard() {
    let mut hoard = Hoard::new();
    let pack = hoard.folder.path().join("pack.off");
    let blocks = (0..1_024).map(|_| Block::random(BlockSize::Native, &mut hoard.rng));
    let contents: Vec<u8> = blocks.flat_map(|block| block.contents().to_vec()).collect();
    fs::write(&pack, contents).unwrap();
    hoard.put(2);
    assert_eq!(hoard.client.adopt(&pack, true).unwrap(), 1_024);
    let shards = hoard.publish();
    let file = shards[0].0.file.clone().unwrap();
    assert_eq!(file, pack.canonicalize().unwrap());
    check_file(&file, &hoard.metainfo(&shards[0].0));
    assert_eq!((shards.len(), shards[1].1.len()), (2, 2));
}

#[test]
fn a_folder_of_torrents_follows_the_store() {
    let mut hoard = Hoard::new();
    let torrents = hoard.folder.path().join("torrents");
    let names = || {
        let mut names: Vec<String> = fs::read_dir(&torrents)
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        names
    };
    let mut write = |more: usize| {
        hoard.put(more);
        let shards = hoard.client.publish_store(&[]).unwrap();
        hoard.client.write_torrents(&shards, &torrents).unwrap();
        assert_eq!(shards.len(), 1);
        let name = shards[0].torrent_name();
        let written = Metainfo::decode(&fs::read(torrents.join(&name)).unwrap()).unwrap();
        assert_eq!(written, hoard.metainfo(&shards[0]));
        let list = fs::read(torrents.join("shards.json")).unwrap();
        let list: serde_json::Value = serde_json::from_slice(&list).unwrap();
        assert_eq!(list["shards"][0]["name"], shards[0].name);
        assert_eq!(list["shards"][0]["infohash"], shards[0].infohash.to_string());
        assert_eq!(list["shards"][0]["file"], serde_json::Value::Null);
        name
    };
    let first = write(2);
    fs::write(torrents.join("0123456789abcdef.off.torrent"), "not one of ours").unwrap();
    assert_eq!(write(0), first);
    let second = write(1);
    assert_ne!(first, second);
    let mut expected = ["0123456789abcdef.off.torrent".to_owned(), second, "shards.json".into()];
    expected.sort();
    assert_eq!(names(), expected);
}
