//! What is kept for others, and what is not.

use rand::SeedableRng;
use rand::rngs::StdRng;
use tempfile::TempDir;

use super::*;
use crate::client::put::PutOptions;
use crate::off::{BlockSize, OffUrl};

/// What a native block takes.
const TAKES: u64 = 131_072;

/// A client whose store takes so many blocks, so many percent of them for others.
fn open(folder: &TempDir, blocks: u64, percent: u8) -> Client {
    let host_share = Percent::new(percent).unwrap();
    let settings = Settings { limit: Some(blocks * TAKES), host_share };
    Client::open(folder.path(), &settings).unwrap()
}

fn blocks(count: usize) -> Vec<Block> {
    let mut rng = StdRng::seed_from_u64(count as u64);
    (0..count).map(|_| Block::random(BlockSize::Native, &mut rng)).collect()
}

/// Puts a stream of four blocks: ten are new in a cold store.
fn put(client: &Client) -> OffUrl {
    let stream = vec![7; 4 * TAKES as usize];
    client.put(&mut &*stream, &PutOptions::default(), &mut |_| {}).unwrap().url
}

fn total(blocks: u64) -> HostedTotal {
    HostedTotal { blocks, bytes: blocks * TAKES }
}

fn held(client: &Client, blocks: &[Block]) -> usize {
    let held = |block: &&Block| client.store.presence(&block.id()).unwrap() == Presence::Held;
    blocks.iter().filter(held).count()
}

#[test]
fn nothing_is_kept_for_others_unless_they_were_given_a_share() {
    let block = &blocks(1)[0];
    let folder = tempfile::tempdir().unwrap();
    let refused = |client: Client| {
        assert_eq!(held(&client, &blocks(1)), 0);
        client.host(block).unwrap()
    };
    assert_eq!(refused(open(&folder, 8, 0)), Hosted::Refused(Refusal::NotOptedIn));
    let no_limit = Settings { limit: None, host_share: Percent::new(50).unwrap() };
    let client = Client::open(folder.path(), &no_limit).unwrap();
    assert_eq!(refused(client), Hosted::Refused(Refusal::NoLimit));
    assert_eq!(refused(open(&folder, 8, 12)), Hosted::Refused(Refusal::ShareUsedUp));
    assert_eq!(open(&folder, 8, 13).host(block).unwrap(), Hosted::Kept);
    assert_eq!(open(&folder, 8, 13).host(block).unwrap(), Hosted::Held);
}

#[test]
fn the_share_is_kept_to_over_a_reopening_and_gc_leaves_it() {
    let folder = tempfile::tempdir().unwrap();
    let blocks = blocks(5);
    for part in blocks.chunks(3) {
        let client = open(&folder, 8, 50);
        for block in part {
            let kept = client.host(block).unwrap();
            let refused = Hosted::Refused(Refusal::ShareUsedUp);
            assert_eq!(kept, if *block == blocks[4] { refused } else { Hosted::Kept });
        }
        assert_eq!(client.gc(false).unwrap(), crate::client::upkeep::Freed::default());
    }
    let client = open(&folder, 8, 50);
    assert_eq!((client.hosted().unwrap(), held(&client, &blocks)), (total(4), 4));
    assert_eq!(client.host(&blocks[4]).unwrap(), Hosted::Refused(Refusal::ShareUsedUp));
}

#[test]
fn what_was_evicted_makes_room_for_others() {
    let folder = tempfile::tempdir().unwrap();
    let client = open(&folder, 200, 50);
    let many = blocks(101);
    assert_eq!(many.iter().filter(|b| client.host(b).unwrap() == Hosted::Kept).count(), 100);
    assert_eq!(client.host(&many[100]).unwrap(), Hosted::Refused(Refusal::ShareUsedUp));
    assert_eq!(client.store.evict(1, 30, false).unwrap().blocks, 30);
    assert_eq!(client.hosted().unwrap(), total(70), "what is here, whoever else was entered");
    // Two looks go over all that are entered.
    let kept = blocks(33).iter().filter(|b| client.host(b).unwrap() == Hosted::Kept).count();
    assert!((28..=30).contains(&kept), "{kept}");
    assert!(client.hosted().unwrap().blocks <= 100);
    client.gc(false).unwrap();
    let entered = client.catalog.hosted_after(None, 999).unwrap();
    assert_eq!(entered.len() as u64, client.hosted().unwrap().blocks);
}

#[test]
fn a_hosted_block_that_was_evicted_may_come_again_and_counts_once() {
    let folder = tempfile::tempdir().unwrap();
    let client = open(&folder, 8, 25);
    let two = blocks(2);
    for block in &two {
        client.host(block).unwrap();
    }
    for _ in 0..3 {
        assert_eq!(client.store.evict(1, 2, false).unwrap().blocks, 2);
        for block in &two {
            assert_eq!(client.host(block).unwrap(), Hosted::Kept);
            assert_eq!(client.store.uses(&block.id()).unwrap().uses, 1);
        }
    }
    assert_eq!(client.hosted().unwrap(), total(2));
    assert_eq!(client.gc(false).unwrap().recounted, 0);
}

#[test]
fn a_block_that_nobody_uses_is_evicted_before_a_hosted_one() {
    let folder = tempfile::tempdir().unwrap();
    let client = open(&folder, 4, 50);
    let (hosted, unused) = (&blocks(2)[..], &blocks(5)[..]);
    for block in hosted {
        client.host(block).unwrap();
    }
    for block in unused {
        client.store.put(block).unwrap();
    }
    assert_eq!((held(&client, hosted), held(&client, unused)), (2, 2));
}

#[test]
fn the_use_of_a_url_and_that_of_others_both_count() {
    let folder = tempfile::tempdir().unwrap();
    let client = open(&folder, 100, 50);
    let url = put(&client);
    let mut others = client.survey(&url).unwrap().order;
    let first = others.remove(1);
    let block = client.store.get(&first).unwrap().unwrap();
    assert_eq!(client.host(&block).unwrap(), Hosted::Held, "ours is not theirs");
    // Somebody pushes what is lost here, and the URL still counts on it.
    client.touch_all(&others).unwrap();
    client.store.evict(1, 1, false).unwrap();
    assert_eq!(client.host(&block).unwrap(), Hosted::Kept);
    assert_eq!(client.store.uses(&first).unwrap().uses, 2);
    assert_eq!(client.uses_by_urls(&first).unwrap(), 1, "what peers are told");
    assert_eq!(client.gc(false).unwrap().recounted, 0, "gc counts the same");
    client.catalog.remove(&url).unwrap();
    client.gc(false).unwrap();
    assert_eq!(client.store.uses(&first).unwrap().uses, 1);
    assert_eq!((client.hosted().unwrap(), client.uses_by_urls(&first).unwrap()), (total(1), 0));
}

#[test]
fn gc_gives_back_what_is_over_a_smaller_share() {
    let folder = tempfile::tempdir().unwrap();
    let blocks = blocks(6);
    let client = open(&folder, 12, 50);
    for block in &blocks {
        assert_eq!(client.host(block).unwrap(), Hosted::Kept);
    }
    client.popular(&[(blocks[1].id(), 2), (blocks[4].id(), 9)]).unwrap();
    drop(client);
    let client = open(&folder, 12, 17);
    let dry = client.gc(true).unwrap();
    assert_eq!((dry.blocks, client.hosted().unwrap()), (4, total(6)));
    assert_eq!(client.store.uses(&blocks[0].id()).unwrap().uses, 1, "dry changes nothing");
    assert_eq!(client.gc(false).unwrap().blocks, 4);
    assert_eq!((client.hosted().unwrap(), held(&client, &blocks)), (total(2), 2));
    assert_eq!(held(&client, &[blocks[1].clone(), blocks[4].clone()]), 2, "the popular stay");
    assert_eq!(client.catalog.hosted_after(None, 9).unwrap().len(), 2);
    drop(client);
    assert_eq!(open(&folder, 12, 0).gc(false).unwrap().blocks, 2);
}

/// What a crash between counting and entering leaves behind is found by gc.
#[test]
fn gc_takes_out_what_was_counted_and_never_entered() {
    let folder = tempfile::tempdir().unwrap();
    let client = open(&folder, 12, 50);
    let block = &blocks(1)[0];
    client.host(block).unwrap();
    client.catalog.unhost(&[block.id()]).unwrap();
    let freed = client.gc(false).unwrap();
    assert_eq!((freed.blocks, freed.recounted, held(&client, &blocks(1))), (1, 1, 0));
}

#[test]
fn a_store_full_of_pinned_blocks_refuses_and_stays_as_it_was() {
    let folder = tempfile::tempdir().unwrap();
    let client = open(&folder, 10, 100);
    let url = put(&client);
    client.pin(&url).unwrap();
    let (block, before) = (&blocks(1)[0], client.store.census().unwrap());
    assert_eq!(before.blocks, 10);
    assert_eq!(client.host(block).unwrap(), Hosted::Refused(Refusal::StoreFull));
    assert_eq!((client.store.census().unwrap(), client.hosted().unwrap()), (before, total(0)));
    assert_eq!(client.store.uses(&block.id()).unwrap().uses, 0);
}

#[test]
fn a_sample_is_of_blocks_that_are_held_and_each_once() {
    let folder = tempfile::tempdir().unwrap();
    let client = open(&folder, 20, 100);
    let mut ids: Vec<BlockId> = blocks(12).iter().map(Block::id).collect();
    for block in blocks(12) {
        client.host(&block).unwrap();
    }
    assert_eq!(client.sample(1, 5).unwrap().len(), 5);
    assert_ne!(client.sample(1, 5).unwrap(), client.sample(2, 5).unwrap());
    let mut all = client.sample(3, 99).unwrap();
    all.sort_unstable();
    ids.sort_unstable();
    assert_eq!(all, ids);
}

#[test]
fn a_share_of_any_limit_is_right_to_the_byte() {
    let share = |percent| Percent::new(percent).unwrap();
    assert_eq!(share(25).of(10 << 30), 10 << 28);
    assert_eq!((share(33).of(1_000), share(99).of(99)), (330, 98));
    assert_eq!((share(100).of(u64::MAX), share(0).of(u64::MAX)), (u64::MAX, 0));
    assert_eq!(Percent::new(101), None);
}
