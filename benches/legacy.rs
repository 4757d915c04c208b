//! Blocks from one js-offs node: one after the other as js-offs itself asks, and as a fetch of ours asks.
//!
//! The node is a stand-in with the pace that was measured of js-offs (v0.1.0 on two cores): it has one
//! thread, so that it gives 274 blocks of 128,000 bytes a second to four connections, and 132 to 141 to
//! somebody who asks for one after the other. Here a call takes 3.65 ms of its thread and 3.5 ms beside it.
//! `items/s` are blocks a second.

#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    missing_docs,
    reason = "a benchmark that cannot go on fails"
)]

use std::collections::HashMap;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use divan::Bencher;
use divan::counter::ItemsCount;
use offswarm::id::{BlockId, LegacyId};
use offswarm::legacy::caller::{Identity, call};
use offswarm::legacy::errand::LegacyErrand;
use offswarm::legacy::message::{Answer, Call, Request, Response};
use offswarm::legacy::peer::LegacyPeer;
use offswarm::off::{Block, BlockSize};
use offswarm::source::BlockSource;
use offswarm::store::{BlockStore, MemoryStore};
use rand::SeedableRng;
use rand::rngs::StdRng;

const BLOCKS: usize = 300;

/// What a call takes of the node's only thread.
const WORK: Duration = Duration::from_micros(3_650);

/// What it takes beside.
const WAY: Duration = Duration::from_micros(3_500);

fn main() {
    divan::main();
}

struct Node {
    peer: LegacyPeer,
    ids: Vec<BlockId>,
}

fn start() -> Node {
    let mut rng = StdRng::seed_from_u64(1);
    let blocks: Vec<Block> =
        (0..BLOCKS).map(|_| Block::random(BlockSize::LegacyBlock, &mut rng)).collect();
    let ids = blocks.iter().map(Block::id).collect();
    let blocks: HashMap<_, _> = blocks.into_iter().map(|block| (block.id(), block)).collect();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address: SocketAddr = listener.local_addr().unwrap();
    let (blocks, thread) = (Arc::new(blocks), Arc::new(Mutex::new(())));
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let (blocks, thread) = (Arc::clone(&blocks), Arc::clone(&thread));
            std::thread::spawn(move || answer(stream.unwrap(), &blocks, &thread));
        }
    });
    let id = LegacyId::from_bytes([1; 32]);
    Node { peer: LegacyPeer { id, external: address, internal: address }, ids }
}

fn answer(mut stream: TcpStream, blocks: &HashMap<BlockId, Block>, thread: &Mutex<()>) {
    let mut request = Vec::new();
    stream.read_to_end(&mut request).unwrap();
    let Request { number, call, .. } = Request::decode(request.into()).unwrap();
    let Call::FindValue { size, id, .. } = &call else { return };
    std::thread::sleep(WAY);
    let work = thread.lock().unwrap();
    let began = Instant::now();
    let data = blocks[id].bytes().clone();
    let answer = Answer::Value { size: *size, id: *id, data };
    let bytes = Response { from: None, number, answer }.encode(&call);
    std::thread::sleep(WORK.saturating_sub(began.elapsed()));
    drop(work);
    let _ = stream.write_all(&bytes);
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap()
}

/// As js-offs: the next block is asked for when the last has come.
#[divan::bench(sample_count = 5, sample_size = 1)]
fn one_after_the_other(bencher: Bencher<'_, '_>) {
    let (node, runtime) = (start(), runtime());
    bencher.counter(ItemsCount::new(BLOCKS)).bench_local(|| {
        runtime.block_on(async {
            for id in &node.ids {
                let asked = Call::FindValue { size: BlockSize::LegacyBlock, id: *id, count: 10 };
                let answered = call(&node.peer, &Identity::Guest, &asked).await.unwrap();
                let Answer::Value { data, .. } = answered.answer else { panic!("no block") };
                Block::check(*id, data).unwrap();
            }
        });
    });
}

/// As a fetch: up to eight calls at the same time.
#[divan::bench(sample_count = 5, sample_size = 1)]
fn as_a_fetch_does(bencher: Bencher<'_, '_>) {
    let (node, runtime) = (start(), runtime());
    bencher.counter(ItemsCount::new(BLOCKS)).bench_local(|| {
        runtime.block_on(async {
            let store: Arc<dyn BlockStore> = Arc::new(MemoryStore::new());
            let errand = LegacyErrand::begin(store, [node.peer], Identity::Guest);
            errand.learn(node.ids.iter().map(|id| (*id, BlockSize::LegacyBlock)));
            errand.want(&node.ids);
            while errand.wanted() > 0 {
                let changed = errand.changed();
                if errand.wanted() > 0 {
                    changed.await;
                }
            }
        });
    });
}
