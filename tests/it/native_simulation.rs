//! A day of a native network of 200 nodes: what is put stays retrievable.
//!
//! The machines are the real ones, without sockets and under a clock that is a number: two
//! [`Session`](offswarm::peer::native::session::Session)s a connection, a
//! [`Picker`](offswarm::peer::native::picker::Picker) a get, blocks that are checked.
//!
//! # What is modelled
//!
//! - Nodes are up and down for times with an exponential distribution, leave without a word, and
//!   keep what they have. Each sends 2 to 40 blocks a second in all, and a message takes 10 to
//!   150 ms. The store has a limit; what the fewest known URLs use is evicted first.
//! - A URL is 12 blocks, up to 4 of them recycled from what is there. Every 20 minutes somebody puts
//!   one, and every 150 seconds somebody gets one that is not whole there, in 5 minutes at most.
//! - Who puts or got a URL looks after it: once an hour it asks up to 20 holders, and pushes blocks
//!   of which there are fewer than 4 copies to nodes it meets. 60 % of the nodes keep blocks of
//!   others, in half their store. In one row a holder has to give one of the blocks it says it has,
//!   chosen at random, to be counted; else it is believed.
//! - Who holds blocks of a URL announces it when it comes up and every 20 minutes. A lookup gives
//!   those who did so in the last 30 minutes, up or not, each but for one in 20. It is done again
//!   every 30 seconds while a get lasts. At most 40 nodes are connected at a time.
//! - Liars announce every URL, and do one thing each: send wrong bytes, lack what they said they
//!   have, give nothing, answer nothing, or throw away what they said they keep. Who gets wrong
//!   bytes bans the sender.
//! - Messages weigh what they weigh on the wire, where one in 32 is written and read. A block of 136
//!   bytes stands for one of 128 KiB and weighs as much.
//!
//! # What is not
//!
//! - TCP, bandwidth other than the senders', the DHT itself (see `krpc_simulation`), gossip.
//! - Connections that serve several fetches of a node, or both its sides: each get has its own.
//! - A host of pushed blocks announces their URL, as though it had been told. The program's hosts
//!   do not know it, and are met as any native nodes are.
//! - Pins, web seeds and torrents. Liars who push, flood or break the form of the protocol.
//!
//! # What is expected
//!
//! A holder *stays* for a get if it is honest, up, announced and has the block when the get begins,
//! and neither goes down nor evicts the block until it is over. If each block that is missing has a
//! holder that stays, the get succeeds, always: all that could keep it from that is that ten lookups
//! in a row miss the holder, once in 10^13.

mod get;
mod links;
mod network;
mod node;
mod row;
mod tend;
mod wire;

use std::path::Path;
use std::time::Duration;
use std::{env, fs, thread};

use network::World;
use row::{Row, Weather};

const SEED: u64 = 0x0ff5;

const HOUR: Duration = Duration::from_secs(3_600);

const FAIR: Weather = Weather {
    name: "fair: 8 h up, 4 h down",
    nodes: 200,
    up: Duration::from_secs(8 * 3_600),
    down: Duration::from_secs(4 * 3_600),
    liars: 0.0,
    store: 600,
    proof: false,
};

const LIARS: Weather = Weather { name: "30 % liars", liars: 0.3, ..FAIR };

const ROWS: [Weather; 6] = [
    FAIR,
    Weather { name: "1 h up, 1 h down", up: HOUR, down: HOUR, ..FAIR },
    Weather { name: "10 % liars", liars: 0.1, ..FAIR },
    LIARS,
    Weather { name: "30 % liars, copies proved", proof: true, ..LIARS },
    Weather { name: "stores of 32 blocks", store: 32, ..FAIR },
];

fn run(weather: Weather, seed: u64, time: Duration) -> Row {
    Row { weather, tally: World::new(seed, weather).run(time) }
}

/// Compares with what is written, or writes it.
fn check_golden(table: &str) {
    let made = format!(
        "# What a simulated native network does in a day\n\n\
        Written by `native_simulation.rs`, which says what is modelled.\n\n{table}"
    );
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it/native_simulation.md");
    if env::var_os("OFFSWARM_BLESS").is_some() {
        fs::write(&path, made).unwrap();
    } else {
        let golden = fs::read_to_string(&path).unwrap_or_default();
        assert_eq!(golden, made, "OFFSWARM_BLESS=1 writes it anew");
    }
}

/// The work of a row is done by one thread.
#[test]
fn what_is_put_stays_retrievable_while_a_holder_of_each_block_stays() {
    let rows: Vec<Row> = thread::scope(|scope| {
        let started = ROWS.map(|weather| scope.spawn(move || run(weather, SEED, 24 * HOUR)));
        started.into_iter().map(|row| row.join().unwrap()).collect()
    });
    let table: String = rows.iter().map(ToString::to_string).collect();
    println!("{}{table}", Row::HEAD);
    for row in &rows {
        println!("{:?}", row.tally);
        for share in row.tally.lasting {
            assert!(share.all >= 250 && share.part == share.all, "seed {SEED}: {row}");
        }
        // Nothing piles up: what there is to come is little beside what happened.
        assert!(row.tally.at_once < 30_000 && row.tally.happened < 5_000_000, "{:?}", row.tally);
    }
    check_golden(&format!("{}{table}", Row::HEAD));
}

#[test]
fn the_same_seed_gives_the_same_day() {
    let weather = Weather { nodes: 40, ..LIARS };
    let [one, same, other] = [1, 1, 2].map(|seed| run(weather, seed, 4 * HOUR).to_string());
    assert_eq!(one, same);
    assert_ne!(one, other);
}
