//! A stock client seeds a part of the store straight from the disk.

use std::fs;
use std::os::unix::fs::symlink;

use offswarm::client::{Client, Settings};
use offswarm::id::BlockId;
use offswarm::off::{Block, BlockSize};
use rand::SeedableRng;
use rand::rngs::StdRng;

use crate::common::Home;
use crate::journey::Link;
use crate::libtorrent::Libtorrent;

/// A client that has nothing but the torrent and a link to the slab has it all, and another one
/// gets it from there.
#[test]
fn libtorrent_seeds_a_slab_as_it_stands() {
    let home = Home::new();
    let client = Client::open(&home.path(), &Settings::default()).unwrap();
    let mut rng = StdRng::seed_from_u64(7);
    let ids: Vec<BlockId> = (0..1_024)
        .map(|_| {
            let block = Block::random(BlockSize::Native, &mut rng);
            client.store().put(&block).unwrap();
            block.id()
        })
        .collect();
    let shards = client.publish_store(&[]).unwrap();
    let torrents = home.beside("torrents");
    client.write_torrents(&shards, &torrents).unwrap();
    drop(client);
    let slab = shards[0].file.clone().unwrap();
    let before = fs::read(&slab).unwrap();
    let folder = tempfile::tempdir().unwrap();
    symlink(&slab, folder.path().join(&shards[0].name)).unwrap();

    let torrent = Link::Torrent(torrents.join(shards[0].torrent_name()));
    let seeder = Libtorrent::seed(&torrent, folder);
    seeder.wait_until_complete();
    let leecher = Libtorrent::join(&torrent, &[seeder.address]);
    let copy = fs::read(leecher.wait_until_complete()).unwrap();

    assert_eq!(copy.chunks(131_072).map(BlockId::of).collect::<Vec<_>>(), ids);
    assert!(fs::read(&slab).unwrap() == before, "the slab was written to");
}
