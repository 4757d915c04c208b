//! Machines on one bus, under a virtual clock.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;

use proptest::prelude::*;

use super::super::message::Group;
use super::*;

const SECOND: Duration = Duration::from_secs(1);
const MINUTE: Duration = Duration::from_secs(60);
const PORT: u16 = 6881;

fn swarm(number: usize) -> InfoHash {
    let mut bytes = [7; 20];
    bytes[..8].copy_from_slice(&(number as u64).to_be_bytes());
    InfoHash::from_bytes(bytes)
}

fn machine(seed: u8, now: Instant) -> Machine {
    Machine::new(PORT, [seed; 32], now)
}

fn host(number: u32) -> SocketAddr {
    (Ipv4Addr::from(0x0a00_0000 + number), 50_000).into()
}

fn said(port: u16, swarms: &[usize]) -> Vec<u8> {
    let infohashes = swarms.iter().map(|number| swarm(*number)).collect();
    Announce { port, infohashes, cookie: None }.encode(Group::V4)
}

/// All that is polled until a time, with the times.
fn polled(machine: &mut Machine, from: Instant, until: Instant) -> Vec<(Instant, Announce)> {
    let (mut now, mut all) = (from, Vec::new());
    while let Some(next) = machine.next(now).filter(|next| *next <= until) {
        now = now.max(next);
        all.extend(machine.poll(now).map(|announce| (now, announce)));
    }
    all
}

/// A network on which everybody hears everything, the sender included.
struct Bus {
    now: Instant,
    chance: StdRng,
    /// Each is there from a time on.
    machines: Vec<(Instant, Machine)>,
    under_way: BTreeSet<(Instant, usize, Vec<u8>)>,
    /// Who told of whom, and when.
    found: BTreeMap<(usize, SocketAddr), Vec<Instant>>,
    datagrams: usize,
}

impl Bus {
    fn new(seed: u8) -> Self {
        let (now, chance) = (Instant::now(), StdRng::from_seed([seed; 32]));
        let (machines, under_way) = (Vec::new(), BTreeSet::new());
        Self { now, chance, machines, under_way, found: BTreeMap::new(), datagrams: 0 }
    }

    fn at(number: usize) -> SocketAddr {
        host(number as u32 + 1)
    }

    /// Somebody comes within some time, and is in one swarm with all others.
    fn join(&mut self, within: Duration) {
        let from = self.now + self.chance.random_range(Duration::ZERO..=within);
        let mut machine = Machine::new(PORT, self.chance.random(), from);
        assert!(machine.announce(swarm(0), from));
        self.machines.push((from, machine));
    }

    fn run(&mut self, time: Duration) {
        let until = self.now + time;
        loop {
            let now = self.now;
            let next = self.machines.iter().filter_map(|(from, machine)| {
                machine.next(now.max(*from)).map(|next| next.max(*from))
            });
            let next = next.chain(self.under_way.first().map(|first| first.0)).min();
            let Some(next) = next.filter(|next| *next <= until) else { break };
            self.now = now.max(next);
            self.deliver();
            self.send();
        }
        self.now = until;
    }

    fn deliver(&mut self) {
        while self.under_way.first().is_some_and(|first| first.0 <= self.now) {
            let (_, sender, datagram) = self.under_way.pop_first().unwrap();
            let source = Self::at(sender);
            for (number, (from, machine)) in self.machines.iter_mut().enumerate() {
                if *from > self.now {
                    continue;
                }
                for (infohash, peer) in machine.hear(source, &datagram, self.now) {
                    assert_eq!((infohash, peer), (swarm(0), SocketAddr::new(source.ip(), PORT)));
                    self.found.entry((number, source)).or_default().push(self.now);
                }
            }
        }
    }

    fn send(&mut self) {
        for (number, (from, machine)) in self.machines.iter_mut().enumerate() {
            while *from <= self.now
                && let Some(announce) = machine.poll(self.now)
            {
                let delay = self.chance.random_range(Duration::ZERO..Duration::from_millis(50));
                let datagram = announce.encode(Group::V4);
                self.under_way.insert((self.now + delay, number, datagram));
                self.datagrams += 1;
            }
        }
    }

    /// Each has told of each other, and of nobody else. At least one of two has within `soon`,
    /// which is enough for them to be connected, and both within `late`, after the later one came.
    fn all_have_met(&self, soon: Duration, late: Duration) {
        let all = self.machines.len();
        assert_eq!(self.found.len(), all * (all - 1));
        for (one, (from, _)) in self.machines.iter().enumerate() {
            for (other, (later, _)) in self.machines.iter().enumerate().take(one) {
                let met =
                    [(one, Self::at(other)), (other, Self::at(one))].map(|of| self.found[&of][0]);
                let after = met.map(|met| met - *from.max(later));
                assert!(after.iter().any(|after| *after <= soon), "{after:?}");
                assert!(after.iter().all(|after| *after <= late), "{after:?}");
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(20))]

    /// A first announce and one for those who came later is all it takes. In the hour that follows
    /// nobody is new, so that each says one thing in five minutes, and is told once by it.
    #[test]
    fn twenty_machines_find_each_other_within_seconds(seed: u8, millis in 0u64..900) {
        let mut bus = Bus::new(seed);
        (0..20).for_each(|_| bus.join(Duration::from_millis(millis)));
        bus.run(15 * SECOND);
        bus.all_have_met(SECOND / 20, 8 * SECOND);
        prop_assert!(bus.found.values().all(|times| times.len() == 1));
        prop_assert!((20..=40).contains(&bus.datagrams), "{}", bus.datagrams);
        bus.run(60 * MINUTE);
        prop_assert!(bus.datagrams <= 40 + 20 * 13, "{}", bus.datagrams);
        prop_assert!(bus.found.values().all(|times| (12..=14).contains(&times.len())));
    }

    /// Who has just answered somebody else answers the next one a minute later, but hears him.
    #[test]
    fn machines_that_come_over_a_minute_find_each_other(seed: u8) {
        let mut bus = Bus::new(seed);
        (0..20).for_each(|_| bus.join(MINUTE));
        bus.run(3 * MINUTE);
        bus.all_have_met(SECOND / 20, LAN_REPLY_EVERY + 7 * SECOND);
        prop_assert!(bus.datagrams <= 20 * 4, "{}", bus.datagrams);
    }

    #[test]
    fn who_comes_later_is_met_within_seconds_as_well(seed: u8) {
        let mut bus = Bus::new(seed);
        (0..20).for_each(|_| bus.join(SECOND / 2));
        bus.run(7 * MINUTE);
        let before = bus.datagrams;
        bus.join(Duration::ZERO);
        bus.run(10 * SECOND);
        bus.all_have_met(SECOND / 20, 7 * SECOND);
        // All others answer the newcomer, for whom they are new as well.
        prop_assert!(bus.datagrams - before <= 22, "{}", bus.datagrams - before);
    }

    #[test]
    fn a_crowd_that_comes_one_by_one_brings_about_one_announce_a_minute(
        seed: u8, gaps in prop::collection::vec(1u64..5_000, 100..200),
    ) {
        let start = Instant::now();
        let (mut machine, mut now, mut times) = (machine(seed, start), start, Vec::new());
        machine.announce(swarm(0), now);
        for (number, gap) in gaps.into_iter().enumerate() {
            let until = now + Duration::from_millis(gap);
            times.extend(polled(&mut machine, now, until).into_iter().map(|(at, _)| at));
            now = until;
            prop_assert_eq!(machine.hear(host(number as u32), &said(PORT, &[0]), now).len(), 1);
        }
        prop_assert_eq!(times[0], start);
        prop_assert!(times.windows(2).skip(1).all(|pair| pair[1] - pair[0] >= LAN_REPLY_EVERY));
    }

    #[test]
    fn never_more_than_one_datagram_a_second_beyond_the_burst(
        counts in prop::collection::vec((1usize..200, 0u64..5_000), 1..30),
    ) {
        let start = Instant::now();
        let (mut machine, mut now, mut all, mut times) = (machine(1, start), start, 0, Vec::new());
        for (count, pause) in counts {
            (all..all + count).for_each(|number| assert!(machine.announce(swarm(number), now)));
            all += count;
            let until = now + Duration::from_millis(pause);
            times.extend(polled(&mut machine, now, until).into_iter().map(|(at, _)| at));
            now = until;
        }
        let burst = LAN_SEND_BURST as usize;
        for window in times.windows(burst + 1) {
            prop_assert!(window[burst] - window[0] >= LAN_SEND_GAP);
        }
    }
}

#[test]
fn infohashes_share_datagrams_and_are_announced_every_five_minutes() {
    let start = Instant::now();
    let mut machine = machine(1, start);
    (0..100).for_each(|number| assert!(machine.announce(swarm(number), start)));
    let first = polled(&mut machine, start, start + MINUTE);
    let sizes: Vec<_> = first.iter().map(|(_, announce)| announce.infohashes.len()).collect();
    assert_eq!(sizes, [24, 24, 24, 24, 4]);
    assert_eq!(first[4].0 - start, LAN_SEND_GAP);
    let second = polled(&mut machine, start + MINUTE, start + LAN_ANNOUNCE_EVERY + MINUTE);
    let named = |datagrams: &[(Instant, Announce)]| {
        let mut all: Vec<_> =
            datagrams.iter().flat_map(|(_, announce)| announce.infohashes.clone()).collect();
        all.sort();
        all
    };
    assert_eq!(named(&first), (0..100).map(swarm).collect::<Vec<_>>());
    assert_eq!(named(&first), named(&second));
    assert_eq!(second[0].0 - start, LAN_ANNOUNCE_EVERY);
}

#[test]
fn infohashes_that_came_one_by_one_share_their_second_datagram() {
    let (start, mut sizes) = (Instant::now(), Vec::new());
    let mut machine = machine(1, start);
    for number in 0..20 {
        let now = start + number * SECOND;
        machine.announce(swarm(number as usize), now);
        sizes.extend(polled(&mut machine, now, now).iter().map(|one| one.1.infohashes.len()));
    }
    assert_eq!(sizes, [1; 20]);
    let second = polled(&mut machine, start + 20 * SECOND, start + LAN_ANNOUNCE_EVERY + MINUTE);
    assert_eq!(second.len(), 1);
    assert_eq!(second[0].1.infohashes.len(), 20);
}

#[test]
fn as_many_swarms_as_there_may_be_are_all_announced_in_time() {
    let start = Instant::now();
    let mut machine = machine(1, start);
    (0..MAX_LAN_SWARMS).for_each(|number| assert!(machine.announce(swarm(number), start)));
    assert!(!machine.announce(swarm(MAX_LAN_SWARMS), start));
    assert!(machine.announce(swarm(0), start), "it is announced already");
    let all = polled(&mut machine, start, start + LAN_ANNOUNCE_EVERY);
    let named: BTreeSet<_> =
        all.iter().flat_map(|(_, announce)| announce.infohashes.clone()).collect();
    assert_eq!(named.len(), MAX_LAN_SWARMS);
    assert!(all.len() <= 300 + LAN_SEND_BURST as usize);
}

#[test]
fn tells_neighbours_of_our_swarms_and_nobody_else() {
    let now = Instant::now();
    let mut machine = machine(1, now);
    machine.announce(swarm(1), now);
    let own = machine.poll(now).unwrap().encode(Group::V4);
    let good = said(PORT, &[2, 1, 1]);
    let at = |text: &str| text.parse::<SocketAddr>().unwrap();
    let heard = |machine: &mut Machine, from: &str, datagram: &[u8]| {
        machine.hear(at(from), datagram, now).into_iter().map(|(_, peer)| peer).collect::<Vec<_>>()
    };
    for from in ["203.0.113.5:6771", "[2001:db8::5]:6771", "169.254.169.254:80", "100.64.0.1:1"] {
        assert_eq!(heard(&mut machine, from, &good), [], "{from}");
    }
    for datagram in [&own[..], &said(0, &[1]), &said(22, &[1]), &said(PORT, &[2]), b"", b"x"] {
        assert_eq!(heard(&mut machine, "10.0.0.1:6771", datagram), []);
    }
    assert_eq!(machine.kept(), (1, 0));
    for (from, peer) in [
        ("10.0.0.1:6771", "10.0.0.1:6881"),
        ("[::ffff:10.0.0.2]:6771", "10.0.0.2:6881"),
        ("127.0.0.1:9", "127.0.0.1:6881"),
        ("[fe80::5%3]:6771", "[fe80::5%3]:6881"),
        ("[fd00::5]:6771", "[fd00::5]:6881"),
    ] {
        assert_eq!(heard(&mut machine, from, &good), [at(peer)]);
        assert_eq!(heard(&mut machine, from, &good), [], "it was told just now");
    }
}

#[test]
fn tells_a_peer_again_after_minutes_and_answers_it_again_after_a_long_silence() {
    let start = Instant::now();
    let mut machine = machine(1, start);
    machine.announce(swarm(1), start);
    let hear = |machine: &mut Machine, after: Duration| {
        let next = machine.next(start + after);
        let told = machine.hear(host(1), &said(PORT, &[1]), start + after).len();
        (told, machine.next(start + after) != next)
    };
    assert_eq!(polled(&mut machine, start, start).len(), 1);
    assert_eq!(hear(&mut machine, SECOND), (1, true));
    assert_eq!(hear(&mut machine, LAN_TELL_AGAIN), (0, false));
    assert_eq!(hear(&mut machine, LAN_TELL_AGAIN + SECOND), (1, false));
    let later = LAN_TELL_AGAIN + LAN_PEER_LIFE + MINUTE;
    polled(&mut machine, start, start + later);
    assert_eq!(hear(&mut machine, later), (1, true));
}

#[test]
fn what_is_withdrawn_is_neither_announced_nor_heard_until_it_is_announced_again() {
    let now = Instant::now();
    let mut machine = machine(1, now);
    let heard = |machine: &mut Machine| machine.hear(host(1), &said(PORT, &[1]), now).len();
    machine.announce(swarm(1), now);
    assert_eq!(heard(&mut machine), 1);
    machine.withdraw(&swarm(1));
    machine.withdraw(&swarm(2));
    assert_eq!((machine.poll(now), machine.next(now), machine.kept()), (None, None, (0, 0)));
    assert_eq!(heard(&mut machine), 0);
    machine.announce(swarm(1), now);
    assert_eq!((machine.poll(now).is_some(), heard(&mut machine)), (true, 1));
}

/// Forged datagrams for ten minutes from thousands of addresses, for a swarm that we are in: what we
/// remember, tell and say stays within bounds, and somebody true is heard once it is over.
#[test]
fn a_flood_of_forged_datagrams_leaves_memory_and_output_bounded() {
    let start = Instant::now();
    let (mut machine, mut told, mut sent) = (machine(1, start), 0, 0);
    machine.announce(swarm(0), start);
    let (ticks, flood) = (6_000, 50);
    for tick in 0..ticks {
        let now = start + tick * SECOND / 10;
        for one in 0..flood {
            let number = (tick * flood + one) % 60_000;
            told += machine.hear(host(number), &said(PORT, &[0]), now).len();
        }
        sent += polled(&mut machine, now, now).len();
        assert!(machine.kept().1 <= MAX_LAN_PEERS);
    }
    assert!(told > 0 && told <= (LAN_TOLD_BURST + 600 * LAN_TOLD_PER_SECOND) as usize, "{told}");
    assert!(sent <= 12, "{sent}");
    let later = start + 11 * MINUTE;
    assert_eq!(machine.hear(host(70_000), &said(PORT, &[0]), later).len(), 1);
}
