//! Fuzzing of KRPC (ATTACKS 1 and 13 to 17): whatever a datagram says, nothing panics, and what is
//! understood is written such that it is understood the same.
//!
//! [`Forge`] makes the datagrams: noise, messages grown from the words of the protocol with fitting
//! and unfitting values, and messages that were valid before something was done to them. It knows
//! nothing of who reads them. Each run has a seed; a failure prints it with the datagram.
//! `OFFSWARM_FUZZ_SECONDS` has the test go on for that long, with seeds of the clock, and
//! `OFFSWARM_FUZZ_SEED` repeats a run.

use std::env;
use std::fmt::Display;
use std::net::SocketAddr;
use std::str::FromStr;
use std::thread;
use std::time::{Duration, Instant, SystemTime};

use offswarm::id::{BlockId, InfoHash};
use offswarm::krpc::contact::Family;
use offswarm::krpc::machine::{Aim, Event, TaskId};
use offswarm::krpc::message::{Message, MessageError};
use offswarm::limits::dht::{MAX_ITEMS, MAX_NATIVES, MAX_STORED_PEERS};
use rand::rngs::StdRng;
use rand::seq::{IndexedMutRandom, IndexedRandom};
use rand::{Rng, RngExt, SeedableRng};

use crate::trials::network;
use crate::world::{Weather, World};

/// Datagrams of a usual run, on all threads.
const DATAGRAMS: usize = 1_000_000;
const THREADS: u64 = 2;

/// Bytes of the longest datagram: what the driver reads.
const MAX_LEN: usize = 4_096;

/// Messages of every kind, as they are seen on the network.
const SEEN: [&[u8]; 12] = [
    b"d1:ad2:id20:abcdefghij0123456789e1:q4:ping1:t2:aa1:v4:LT\x01\x021:y1:qe",
    b"d1:ad2:id20:abcdefghij01234567896:target20:mnopqrstuvwxyz1234564:wantl2:n42:n6ee1:q9:find_node1:t8:aaaabbbb1:y1:qe",
    b"d1:ad2:id20:abcdefghij01234567899:info_hash20:mnopqrstuvwxyz1234563:offd3:ids32:abcdefghijklmnopqrstuvwxyz0123451:pi6881e1:vi1ee6:scrapei1ee1:q9:get_peers2:roi1e1:t2:aa1:y1:qe",
    b"d1:ad2:id20:abcdefghij012345678912:implied_porti1e9:info_hash20:mnopqrstuvwxyz1234564:name3:abc4:porti6881e4:seedi1e5:token8:aoeusnthe1:q13:announce_peer1:t2:aa1:y1:qe",
    b"d1:ad2:id20:abcdefghij01234567893:seqi4e6:target20:mnopqrstuvwxyz123456e1:q3:get1:t2:aa1:y1:qe",
    b"d1:ad3:casi3e2:id20:abcdefghij01234567891:k32:abcdefghijklmnopqrstuvwxyz0123454:salt6:foobar3:seqi4e3:sig64:abcdefghijklmnopqrstuvwxyz012345abcdefghijklmnopqrstuvwxyz0123455:token8:aoeusnth1:v12:Hello World!e1:q3:put1:t2:aa1:y1:qe",
    b"d1:ad2:id20:abcdefghij01234567896:target20:mnopqrstuvwxyz123456e1:q8:off_find1:t2:aa1:y1:qe",
    b"d2:ip6:\x08\x08\x08\x08\x1a\xe11:rd2:id20:abcdefghij01234567895:nodes26:mnopqrstuvwxyz123456\x08\x08\x04\x04\x1a\xe16:nodes638:mnopqrstuvwxyz123456\x20\x01\x0d\xb8\0\0\0\0\0\0\0\0\0\0\0\x05\x1a\xe15:token4:abcd6:valuesl6:\x09\x09\x09\x09\x1a\xe118:\x20\x01\x0d\xb8\0\0\0\0\0\0\0\0\0\0\0\x06\x1a\xe1ee1:t2:aa1:y1:re",
    b"d1:rd2:id20:abcdefghij01234567893:offd1:ci1e4:have1:\x802:on26:mnopqrstuvwxyz123456\x08\x08\x04\x04\x1a\xe13:on638:mnopqrstuvwxyz123456\x20\x01\x0d\xb8\0\0\0\0\0\0\0\0\0\0\0\x05\x1a\xe11:pi6881e1:vi1eee1:t2:aa1:y1:re",
    b"d1:rd2:id20:abcdefghij01234567891:k32:abcdefghijklmnopqrstuvwxyz0123453:seqi4e3:sig64:abcdefghijklmnopqrstuvwxyz012345abcdefghijklmnopqrstuvwxyz0123455:token4:abcd1:vd1:ali1e1:beee1:t2:aa1:y1:re",
    b"d1:eli203e14:Protocol Errore1:t2:aa1:y1:ee",
    b"d1:ad2:id20:abcdefghij01234567896:target20:mnopqrstuvwxyz123456e1:q4:vote1:t2:aa1:y1:q1:zd1:xleee",
];

/// Words that mean something in a message.
const WORDS: [&str; 32] = [
    "a",
    "cas",
    "e",
    "id",
    "implied_port",
    "info_hash",
    "ip",
    "k",
    "nodes",
    "nodes6",
    "off",
    "on",
    "on6",
    "p",
    "port",
    "q",
    "r",
    "ro",
    "salt",
    "seed",
    "seq",
    "sig",
    "t",
    "target",
    "token",
    "v",
    "values",
    "want",
    "y",
    "have",
    "ids",
    "c",
];

/// Strings that stand where words are chosen among.
const CHOICES: [&str; 13] = [
    "q",
    "r",
    "e",
    "n4",
    "n6",
    "ping",
    "find_node",
    "get_peers",
    "announce_peer",
    "get",
    "put",
    "off_find",
    "",
];

/// Numbers at the ends of something.
const NUMBERS: [&str; 16] = [
    "0",
    "1",
    "-1",
    "2",
    "-0",
    "00",
    "255",
    "256",
    "65535",
    "65536",
    "2147483648",
    "4294967296",
    "9223372036854775807",
    "-9223372036854775808",
    "9223372036854775808",
    "",
];

/// Lengths of things in a message, and those next to them.
const LENGTHS: [usize; 18] =
    [0, 1, 2, 4, 6, 18, 19, 20, 21, 26, 32, 38, 64, 65, 76, 768, 800, 1_000];

/// Makes datagrams, the same ones from the same seed.
pub(crate) struct Forge {
    chance: StdRng,
    /// Messages to begin from: those of [`SEEN`], and what has been understood since.
    valid: Vec<Vec<u8>>,
}

impl Forge {
    /// Messages remembered at most.
    const REMEMBERED: usize = 512;

    pub(crate) fn new(seed: u64) -> Self {
        let valid = SEEN.iter().map(|seen| seen.to_vec()).collect();
        Self { chance: StdRng::seed_from_u64(seed), valid }
    }

    /// The next datagram.
    pub(crate) fn datagram(&mut self) -> Vec<u8> {
        let mut datagram = match self.chance.random_range(0..16) {
            0 => self.noise(),
            1..=4 => self.grown(),
            _ => self.mutated(),
        };
        datagram.truncate(MAX_LEN);
        datagram
    }

    /// Notes that a datagram was understood: others may be made from it.
    pub(crate) fn remember(&mut self, datagram: Vec<u8>) {
        if self.valid.len() < Self::REMEMBERED {
            self.valid.push(datagram);
        } else if self.chance.random_ratio(1, 64) {
            let at = self.chance.random_range(SEEN.len()..Self::REMEMBERED);
            self.valid[at] = datagram;
        }
    }

    fn noise(&mut self) -> Vec<u8> {
        let mut noise = vec![0; self.chance.random_range(0..200)];
        self.chance.fill_bytes(&mut noise);
        if self.chance.random() {
            for byte in &mut noise {
                *byte = b"dlei0123456789:-"[usize::from(*byte % 16)];
            }
        }
        noise
    }

    /// A message of the right form with anything in it.
    fn grown(&mut self) -> Vec<u8> {
        let mut out = b"d".to_vec();
        for part in ["a", "r", "e"] {
            if self.chance.random_ratio(2, 3) {
                string(&mut out, part.as_bytes());
                self.dict(&mut out, 1);
            }
        }
        string(&mut out, b"q");
        let method = *CHOICES.choose(&mut self.chance).unwrap();
        string(&mut out, method.as_bytes());
        string(&mut out, b"t");
        self.string(&mut out);
        if self.chance.random() {
            let word = *WORDS.choose(&mut self.chance).unwrap();
            string(&mut out, word.as_bytes());
            self.value(&mut out, 1);
        }
        string(&mut out, b"y");
        let kind = *CHOICES[..3].choose(&mut self.chance).unwrap();
        string(&mut out, kind.as_bytes());
        out.push(b'e');
        out
    }

    fn dict(&mut self, out: &mut Vec<u8>, depth: usize) {
        out.push(b'd');
        let mut words = WORDS.to_vec();
        if self.chance.random_ratio(3, 4) {
            string(out, b"id");
            string(out, &[b'i'; 20]);
            words.retain(|word| *word != "id");
        }
        for _ in 0..self.chance.random_range(0..6) {
            // Mostly no key twice: nothing else of such a message would be looked at.
            let at = self.chance.random_range(0..words.len());
            let word =
                if self.chance.random_ratio(1, 64) { words[at] } else { words.swap_remove(at) };
            string(out, word.as_bytes());
            self.value(out, depth + 1);
        }
        out.push(b'e');
    }

    fn value(&mut self, out: &mut Vec<u8>, depth: usize) {
        match self.chance.random_range(0..10) {
            0 if depth < 6 => self.dict(out, depth),
            1 | 2 if depth < 6 => {
                out.push(b'l');
                for _ in 0..self.chance.random_range(0..5) {
                    self.value(out, depth + 1);
                }
                out.push(b'e');
            }
            3..=5 => {
                let number = *NUMBERS.choose(&mut self.chance).unwrap();
                // Those that are none are last, and rare.
                let valid = !["-0", "00", "9223372036854775808", ""].contains(&number);
                let number = if valid || self.chance.random_ratio(1, 16) { number } else { "7" };
                out.extend(format!("i{number}e").into_bytes());
            }
            _ => self.string(out),
        }
    }

    fn string(&mut self, out: &mut Vec<u8>) {
        if self.chance.random_ratio(1, 4) {
            let choice = *CHOICES.choose(&mut self.chance).unwrap();
            return string(out, choice.as_bytes());
        }
        let mut content = vec![0; *LENGTHS.choose(&mut self.chance).unwrap()];
        self.chance.fill_bytes(&mut content);
        string(out, &content);
    }

    /// A message to which one to four things were done.
    fn mutated(&mut self) -> Vec<u8> {
        let mut datagram = self.valid.choose(&mut self.chance).unwrap().clone();
        for _ in 0..self.chance.random_range(1..=4) {
            self.mutate(&mut datagram);
        }
        datagram
    }

    fn mutate(&mut self, datagram: &mut Vec<u8>) {
        match self.chance.random_range(0..9) {
            0 => self.flip(datagram),
            1 => datagram.truncate(self.place(datagram)),
            2 => self.splice(datagram),
            3 => self.change_number(datagram),
            4 => self.repeat(datagram),
            5 => self.replace_value(datagram),
            6 => self.resize(datagram),
            7 => {
                let at = self.place(datagram);
                let inserted = *b"dlei0:".choose(&mut self.chance).unwrap();
                datagram.insert(at, inserted);
            }
            _ => {
                let (at, times) = (self.place(datagram), self.chance.random_range(1..300));
                datagram.splice(at..at, vec![b'l'; times]);
            }
        }
    }

    fn place(&mut self, datagram: &[u8]) -> usize {
        self.chance.random_range(0..=datagram.len())
    }

    fn flip(&mut self, datagram: &mut [u8]) {
        let bit = self.chance.random_range(0..8);
        if let Some(byte) = datagram.choose_mut(&mut self.chance) {
            *byte ^= 1_u8 << bit;
        }
    }

    /// The head of one message and the tail of another.
    fn splice(&mut self, datagram: &mut Vec<u8>) {
        let other = self.valid.choose(&mut self.chance).unwrap().clone();
        let (head, tail) = (self.place(datagram), self.place(&other));
        datagram.truncate(head);
        datagram.extend(&other[tail..]);
    }

    /// Another number where there is one, of a string's length or an integer.
    fn change_number(&mut self, datagram: &mut Vec<u8>) {
        let is_digit = |at: &usize| datagram[*at].is_ascii_digit();
        let digits: Vec<usize> = (0..datagram.len()).filter(is_digit).collect();
        let Some(&start) = digits.choose(&mut self.chance) else { return };
        let length = datagram[start..].iter().take_while(|byte| byte.is_ascii_digit()).count();
        let number = *NUMBERS.choose(&mut self.chance).unwrap();
        datagram.splice(start..start + length, number.bytes());
    }

    /// A value, often a dictionary, twice: as a value behind itself, or as its own content.
    fn repeat(&mut self, datagram: &mut Vec<u8>) {
        let Some((start, end)) = self.some_value(datagram) else { return };
        let copy = datagram[start..end].to_vec();
        let at = *[start, end, start + 1].choose(&mut self.chance).unwrap();
        datagram.splice(at..at, copy);
    }

    /// Another value in the place of one: what is around it stays whole.
    fn replace_value(&mut self, datagram: &mut Vec<u8>) {
        let Some((start, end)) = self.some_value(datagram) else { return };
        let mut value = Vec::new();
        self.value(&mut value, 1);
        datagram.splice(start..end, value);
    }

    /// A string of another length, declared as it is.
    fn resize(&mut self, datagram: &mut Vec<u8>) {
        let Some((start, end)) = self.some_value(datagram) else { return };
        if datagram[start].is_ascii_digit() {
            let mut value = Vec::new();
            self.string(&mut value);
            datagram.splice(start..end, value);
        }
    }

    /// Where one value or key begins and ends, if the datagram is whole.
    fn some_value(&mut self, datagram: &[u8]) -> Option<(usize, usize)> {
        let (mut at, mut open, mut values) = (0, Vec::new(), Vec::new());
        while let Some(first) = datagram.get(at) {
            let start = at;
            at = match first {
                b'd' | b'l' => {
                    open.push(at);
                    at + 1
                }
                b'e' => {
                    values.push((open.pop()?, at + 1));
                    at + 1
                }
                b'i' => at + 1 + datagram[at..].iter().position(|byte| *byte == b'e')?,
                _ => {
                    let colon = at + datagram[at..].iter().position(|byte| *byte == b':')?;
                    let length = std::str::from_utf8(&datagram[at..colon]).ok()?;
                    (colon + 1).checked_add(length.parse().ok()?)?
                }
            };
            if at > datagram.len() {
                return None;
            }
            if !matches!(first, b'd' | b'l' | b'e') {
                values.push((start, at));
            }
        }
        values.choose(&mut self.chance).copied()
    }
}

fn string(out: &mut Vec<u8>, content: &[u8]) {
    out.extend(format!("{}:", content.len()).into_bytes());
    out.extend(content);
}

/// Prints the datagram at which a test ends.
pub(crate) struct Witness {
    seed: u64,
    number: usize,
    datagram: Vec<u8>,
}

impl Witness {
    pub(crate) const fn new(seed: u64) -> Self {
        Self { seed, number: 0, datagram: Vec::new() }
    }

    pub(crate) fn sees(&mut self, datagram: &[u8]) {
        self.number += 1;
        self.datagram.clear();
        self.datagram.extend(datagram);
    }
}

impl Drop for Witness {
    #[allow(clippy::print_stderr, reason = "a failure that cannot be repeated is of no use")]
    fn drop(&mut self) {
        if thread::panicking() {
            let shown = self.datagram.escape_ascii();
            eprintln!("OFFSWARM_FUZZ_SEED={} datagram {}: {shown}", self.seed, self.number);
        }
    }
}

/// How long a fuzz test goes on, and from which seed.
pub(crate) struct Budget {
    seed: u64,
    datagrams: usize,
    until: Option<Instant>,
}

impl Budget {
    /// `datagrams` in a usual run.
    pub(crate) fn of(datagrams: usize) -> Self {
        let seconds = variable::<u64>("OFFSWARM_FUZZ_SECONDS").map(Duration::from_secs);
        let clock = || SystemTime::UNIX_EPOCH.elapsed().unwrap().as_nanos() as u64;
        let chosen = seconds.map_or(44, |_| clock());
        let seed = variable("OFFSWARM_FUZZ_SEED").unwrap_or(chosen);
        Self { seed, datagrams, until: seconds.map(|seconds| Instant::now() + seconds) }
    }

    /// A seed for each thread: the first is the budget's own, so that it is repeated first.
    pub(crate) fn seeds(&self, threads: u64) -> impl Iterator<Item = u64> + use<> {
        let seed = self.seed;
        (0..threads).map(move |thread| seed.wrapping_add(thread))
    }

    /// Whether a thread of so many goes on after as many datagrams.
    pub(crate) fn goes_on(&self, done: usize, threads: u64) -> bool {
        match self.until {
            None => done < self.datagrams / threads as usize,
            Some(until) => !done.is_multiple_of(1_024) || Instant::now() < until,
        }
    }
}

fn variable<T: FromStr<Err: Display>>(name: &str) -> Option<T> {
    let value = env::var(name).ok()?;
    Some(value.parse().unwrap_or_else(|error| panic!("{name}={value}: {error}")))
}

/// Reads a datagram, and what would be written for it. Whether it was understood.
fn settles(datagram: &[u8]) -> bool {
    match Message::decode(datagram) {
        Ok(read) => {
            let written = read.encode();
            assert_eq!(Message::decode(&written).as_ref(), Ok(&read));
            // Flags are written that were left out, and what is no text in the words of an error,
            // 80 of them at most, is three bytes each.
            assert!(written.len() <= datagram.len() + 256, "{} bytes", written.len());
            true
        }
        Err(MessageError::Query { transaction, lacks }) => {
            assert!(transaction.len() < datagram.len() && !lacks.is_empty());
            false
        }
        Err(_) => false,
    }
}

/// Of what the forge makes a good part must be understood, or little is tested.
#[test]
fn forged_messages_are_read_and_written_or_refused() {
    let budget = &Budget::of(DATAGRAMS);
    let run = |seed| {
        let (mut forge, mut witness, mut read, mut done) =
            (Forge::new(seed), Witness::new(seed), 0, 0);
        while budget.goes_on(done, THREADS) {
            let datagram = forge.datagram();
            witness.sees(&datagram);
            if settles(&datagram) {
                read += 1;
                forge.remember(datagram);
            }
            done += 1;
        }
        assert!(read > done / 10 && read < done / 10 * 9, "{read} of {done} were understood");
        (read, done)
    };
    let runs: Vec<(usize, usize)> = thread::scope(|scope| {
        let started: Vec<_> =
            budget.seeds(THREADS).map(|seed| scope.spawn(move || run(seed))).collect();
        started.into_iter().map(|run| run.join().expect("see the datagram above")).collect()
    });
    println!("understood and made: {runs:?}");
}

/// The datagram with another transaction id, if it has one.
fn with_transaction(datagram: &[u8], transaction: &[u8]) -> Option<Vec<u8>> {
    let at = 3 + datagram.windows(3).rposition(|window| window == b"1:t")?;
    let colon = at + datagram[at..].iter().position(|byte| *byte == b':')?;
    let length: usize = std::str::from_utf8(&datagram[at..colon]).ok()?.parse().ok()?;
    let rest = datagram.get(colon.checked_add(1)?.checked_add(length)?..)?;
    let mut changed = datagram[..at].to_vec();
    string(&mut changed, transaction);
    changed.extend(rest);
    Some(changed)
}

/// A network of honest nodes, one of which hears what the forge makes.
struct Siege {
    world: World,
    forge: Forge,
    chance: StdRng,
    tasks: Vec<TaskId>,
    answered: usize,
}

const BESIEGED: usize = 10;

impl Siege {
    fn new(seed: u64) -> Self {
        let mut world = network(seed, 30, Weather::FAIR);
        world.lost = Some(Vec::new());
        let chance = StdRng::seed_from_u64(seed);
        Self { world, forge: Forge::new(seed), chance, tasks: Vec::new(), answered: 0 }
    }

    /// The next datagram: to what the node sent somewhere, an answer of a kind; or anything.
    fn next(&mut self) -> (SocketAddr, Vec<u8>) {
        let sent = self.world.lost.as_mut().and_then(Vec::pop);
        let datagram = self.forge.datagram();
        if let Some((to, sent)) = sent {
            let transaction = Message::decode(&sent).unwrap().transaction;
            self.forge.remember(sent);
            if let Some(answer) = with_transaction(&datagram, &transaction) {
                self.answered += 1;
                return (to, answer);
            }
        }
        let number: u32 = self.chance.random_range(0..5_000);
        ((std::net::Ipv4Addr::from(0x6400_0001 + (number << 8)), 6881).into(), datagram)
    }

    fn begin_something(&mut self) {
        let infohash = InfoHash::of(&self.chance.random::<[u8; 8]>());
        let aim = match self.chance.random_range(0..5) {
            0 => Aim::Nodes(infohash.target()),
            1 => Aim::Peers { infohash: InfoHash::native(), ids: vec![BlockId::of(b"block"); 24] },
            2 => Aim::Announce { infohash, port: 6881, seed: true },
            3 => Aim::Item { target: infohash.target(), salt: Vec::new() },
            _ => Aim::Natives(infohash.target()),
        };
        self.tasks.push(self.world.begin(BESIEGED, aim));
        if self.tasks.len() > 50 {
            let (world, tasks) = (&mut self.world, &mut self.tasks);
            tasks.retain(|task| {
                !world.is_over(BESIEGED, *task) || world.told(BESIEGED, *task).is_none()
            });
            // Each has so many queries at most, and each of those an end.
            assert!(tasks.len() <= 50, "{} tasks go on for ever", tasks.len());
        }
    }

    fn check(&self) {
        let machine = self.world.machine(BESIEGED);
        let (peers, items) = machine.kept();
        assert!(peers <= MAX_STORED_PEERS && items <= MAX_ITEMS);
        assert!(machine.contacts(Family::V4, self.world.now).len() <= 320);
        assert!(machine.native_nodes(self.world.now).len() <= MAX_NATIVES);
    }
}

/// Whatever arrives, and if it has the transaction ids of our own queries: a node goes on, sends no
/// more than it should, and still finds what is in its network.
#[test]
fn a_besieged_node_stays_in_its_network() {
    let budget = &Budget::of(DATAGRAMS);
    let run = |seed| {
        let (mut siege, mut witness, mut done) = (Siege::new(seed), Witness::new(seed), 0);
        while budget.goes_on(done, THREADS) {
            let (from, datagram) = siege.next();
            witness.sees(&datagram);
            let before = siege.world.sent(BESIEGED).0;
            siege.world.inject(BESIEGED, from, &datagram);
            let sent = siege.world.sent(BESIEGED).0 - before;
            assert!(sent <= 64, "{sent} datagrams for one");
            siege.world.pass(Duration::from_millis(1));
            if done % 5_000 == 0 {
                siege.begin_something();
                siege.check();
            }
            done += 1;
        }
        let world = &mut siege.world;
        world.pass(Duration::from_secs(60));
        let infohash = InfoHash::of(b"wanted");
        let announce = Aim::Announce { infohash, port: 6881, seed: true };
        let announced = world.begin(BESIEGED + 1, announce);
        world.wait_for(BESIEGED + 1, announced, Duration::from_secs(120));
        let search = world.begin(BESIEGED, Aim::Peers { infohash, ids: Vec::new() });
        world.wait_for(BESIEGED, search, Duration::from_secs(120));
        let (told, _) = world.told(BESIEGED, search).expect("a search ends");
        let holder = world.address(BESIEGED + 1);
        let found = told.iter().any(
            |(_, event)| matches!(event, Event::Peers { peers, .. } if peers.contains(&holder)),
        );
        assert!(found && siege.answered > done / 1_000, "{found} {} {done}", siege.answered);
        (siege.answered, done)
    };
    let runs: Vec<(usize, usize)> = thread::scope(|scope| {
        let started: Vec<_> =
            budget.seeds(THREADS).map(|seed| scope.spawn(move || run(seed))).collect();
        started.into_iter().map(|run| run.join().expect("see the datagram above")).collect()
    });
    println!("answers to its own queries, and all: {runs:?}");
}

#[test]
fn the_same_seed_forges_the_same_datagrams() {
    let some = |seed| {
        let mut forge = Forge::new(seed);
        (0..500).map(|_| forge.datagram()).collect::<Vec<_>>()
    };
    assert_eq!(some(1), some(1));
    assert_ne!(some(1), some(2));
}

#[test]
fn what_is_seen_on_the_network_is_understood() {
    for seen in SEEN {
        assert!(settles(seen), "{}", seen.escape_ascii());
    }
}
