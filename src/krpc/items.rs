//! The items that others have put at us (BEP 44).
//!
//! Everybody who has shown a token may put, so the room is shared out. At most [`MAX_ITEMS`] items
//! are kept, each below 1,200 bytes, and at most [`MAX_ITEMS_PER_HOST`] of one host. An item is
//! charged to the host that brought it here, for as long as it stays: who puts again what somebody
//! else has brought renews it and takes nothing over, or else it could be pulled into the quota of
//! a flood and be evicted with that.
//!
//! Nothing is refused for want of room. A host at its limit loses its item that was put the longest
//! ago; when all room is taken, the host with the most items does, among equals the one with the
//! oldest. So nobody gains a place from a host that has fewer items than itself: to drive out the
//! one item of a publisher, a flood has to come from as many hosts as there are items, and as
//! publishers put again every hour, it has to go on. Two rules that are in use were left: to refuse
//! who comes last lets the first flood keep the room for ever, and to keep what is nearest to our
//! id favours who chooses targets, which costs an attacker a few hashes and a publisher his name.
//!
//! Memory is bounded by the count. Nothing here depends on the order of a hash map: what is evicted
//! follows from what was put and when.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Instant;

use super::contact::Host;
use super::item::{Item, MutableItem};
use crate::id::Target;
use crate::limits::dht::{ITEM_LIFE, MAX_ITEMS, MAX_ITEMS_PER_HOST};

/// Why an item does not take the place of the one that is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// The sender wanted to replace another one (`cas`).
    #[error("the item that is kept has sequence number {kept}")]
    Cas {
        /// The sequence number of the item that is kept.
        kept: i64,
    },
    /// The sequence number is lower, or the same for another value.
    #[error("the item that is kept is of sequence number {kept} already")]
    Sequence {
        /// The sequence number of the item that is kept.
        kept: i64,
    },
    /// An item of the other kind has the same place: a value may look like a key.
    #[error("another item is kept there")]
    Taken,
}

impl Refusal {
    /// The number of the KRPC error that tells the sender (BEP 44).
    #[must_use]
    pub const fn code(&self) -> i64 {
        match self {
            Self::Cas { .. } => 301,
            Self::Sequence { .. } => 302,
            Self::Taken => 203,
        }
    }
}

/// Items, by their places and by the hosts that brought them.
#[derive(Debug, Clone, Default)]
pub struct Items {
    kept: BTreeMap<Target, Kept>,
    /// When each item of a host was put for the last time; no host is without one.
    hosts: BTreeMap<Host, BTreeSet<(Instant, Target)>>,
}

#[derive(Debug, Clone)]
struct Kept {
    item: Item,
    from: Host,
    put: Instant,
}

impl Kept {
    fn is_expired(&self, now: Instant) -> bool {
        is_expired(self.put, now)
    }
}

impl Items {
    /// Keeps an item, or renews the life of the one that is kept. `cas` is the sequence number of
    /// the item that the sender wants to replace; it means nothing if none is kept.
    pub fn put(
        &mut self,
        item: Item,
        cas: Option<i64>,
        from: Host,
        now: Instant,
    ) -> Result<(), Refusal> {
        let target = item.target();
        match self.remove(&target).filter(|kept| !kept.is_expired(now)) {
            Some(kept) => {
                let answer = may_replace(&kept.item, &item, cas);
                let (item, put) = if answer.is_ok() { (item, now) } else { (kept.item, kept.put) };
                self.insert(target, Kept { item, from: kept.from, put });
                answer
            }
            None => {
                self.insert(target, Kept { item, from, put: now });
                self.make_room(from, now);
                Ok(())
            }
        }
    }

    /// The item that is kept at a place.
    #[must_use]
    pub fn get(&self, target: &Target, now: Instant) -> Option<&Item> {
        let kept = self.kept.get(target)?;
        (!kept.is_expired(now)).then_some(&kept.item)
    }

    /// Forgets what nobody has put again for [`ITEM_LIFE`]. Nothing else depends on it being
    /// called: it gives memory back.
    pub fn expire(&mut self, now: Instant) {
        let old = self.hosts.values().flatten().filter(|(put, _)| is_expired(*put, now));
        for target in old.map(|(_, target)| *target).collect::<Vec<_>>() {
            self.remove(&target);
        }
    }

    /// How many are kept, with those that have expired since [`Self::expire`].
    #[must_use]
    pub fn len(&self) -> usize {
        self.kept.len()
    }

    /// Whether none is kept.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.kept.is_empty()
    }

    /// Evicts what there is too much of after an item from a host.
    fn make_room(&mut self, from: Host, now: Instant) {
        if self.hosts.get(&from).is_some_and(|items| items.len() > MAX_ITEMS_PER_HOST) {
            self.evict_from(from);
        }
        if self.kept.len() > MAX_ITEMS {
            self.expire(now);
        }
        if self.kept.len() > MAX_ITEMS
            && let Some(greediest) = self.greediest()
        {
            self.evict_from(greediest);
        }
    }

    /// The host with the most items, among equals the one with the oldest.
    fn greediest(&self) -> Option<Host> {
        let rank =
            |(_, items): &(&Host, &BTreeSet<_>)| (items.len(), Reverse(items.first().copied()));
        self.hosts.iter().max_by_key(rank).map(|(host, _)| *host)
    }

    fn evict_from(&mut self, host: Host) {
        let oldest = self.hosts.get(&host).and_then(BTreeSet::first).copied();
        if let Some((_, target)) = oldest {
            self.remove(&target);
        }
    }

    fn insert(&mut self, target: Target, kept: Kept) {
        self.hosts.entry(kept.from).or_default().insert((kept.put, target));
        self.kept.insert(target, kept);
    }

    fn remove(&mut self, target: &Target) -> Option<Kept> {
        let kept = self.kept.remove(target)?;
        if let Some(items) = self.hosts.get_mut(&kept.from) {
            items.remove(&(kept.put, *target));
            if items.is_empty() {
                self.hosts.remove(&kept.from);
            }
        }
        Some(kept)
    }
}

fn is_expired(put: Instant, now: Instant) -> bool {
    now.saturating_duration_since(put) >= ITEM_LIFE
}

fn may_replace(kept: &Item, item: &Item, cas: Option<i64>) -> Result<(), Refusal> {
    match (kept, item) {
        (Item::Mutable(kept), Item::Mutable(item)) => may_follow(kept, item, cas),
        (Item::Immutable(kept), Item::Immutable(item)) if kept == item => Ok(()),
        _ => Err(Refusal::Taken),
    }
}

fn may_follow(kept: &MutableItem, item: &MutableItem, cas: Option<i64>) -> Result<(), Refusal> {
    if cas.is_some_and(|cas| cas != kept.seq()) {
        return Err(Refusal::Cas { kept: kept.seq() });
    }
    let same = item.seq() == kept.seq() && item.value() == kept.value();
    if item.seq() > kept.seq() || same {
        return Ok(());
    }
    Err(Refusal::Sequence { kept: kept.seq() })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bencode::put_string;
    use crate::krpc::item::{ItemSecret, Value};
    use proptest::prelude::*;
    use std::time::Duration;

    fn host(number: u32) -> Host {
        Host::V4(number.to_be_bytes())
    }

    fn value(text: &str) -> Value {
        let mut bencoded = Vec::new();
        put_string(&mut bencoded, text);
        Value::check(&bencoded).unwrap()
    }

    fn immutable(text: impl ToString + Copy) -> Item {
        Item::Immutable(value(&text.to_string()))
    }

    fn mutable(seq: i64, text: &str) -> Item {
        Item::Mutable(ItemSecret::from_seed([9; 32]).sign(b"salt", seq, value(text)).unwrap())
    }

    /// Every row of the table for items that come after another one: (kept, put, cas) to answer.
    #[test]
    fn refuses_replays_and_lost_races() {
        let now = Instant::now();
        let kept = mutable(5, "kept");
        for (seq, text, cas, answer) in [
            (6, "next", None, None),
            (6, "next", Some(5), None),
            (5, "kept", None, None),
            (5, "kept", Some(5), None),
            (4, "old", None, Some(302)),
            (4, "kept", None, Some(302)),
            (i64::MIN, "old", None, Some(302)),
            (5, "other", None, Some(302)),
            (5, "other", Some(5), Some(302)),
            (6, "next", Some(4), Some(301)),
            (6, "next", Some(6), Some(301)),
            (6, "next", Some(-1), Some(301)),
            (4, "old", Some(4), Some(301)),
            (i64::MAX, "last", None, None),
        ] {
            let mut items = Items::default();
            items.put(kept.clone(), Some(77), host(1), now).unwrap();
            let item = mutable(seq, text);
            let found = items.put(item.clone(), cas, host(2), now);
            assert_eq!(
                found.map_err(|refusal| refusal.code()).err(),
                answer,
                "{seq} {text} {cas:?}"
            );
            let there = items.get(&kept.target(), now);
            assert_eq!(there, Some(if answer.is_none() { &item } else { &kept }));
            assert_eq!(items.len(), 1);
        }
    }

    #[test]
    fn a_refusal_renews_nothing_and_a_refresh_does() {
        let (start, half) = (Instant::now(), ITEM_LIFE / 2);
        let mut items = Items::default();
        let [item, other] = [mutable(5, "kept"), immutable("value")];
        let target = item.target();
        items.put(item.clone(), None, host(1), start).unwrap();
        items.put(other.clone(), None, host(1), start).unwrap();
        items.put(mutable(4, "old"), None, host(1), start + half).unwrap_err();
        assert!(items.get(&target, start + ITEM_LIFE).is_none());
        items.put(item.clone(), None, host(2), start + half).unwrap();
        items.put(other.clone(), Some(3), host(2), start + half).unwrap();
        assert!(items.get(&target, start + ITEM_LIFE).is_some());
        assert!(items.get(&other.target(), start + ITEM_LIFE).is_some());
        assert!(items.get(&target, start + half + ITEM_LIFE).is_none());
        items.expire(start + ITEM_LIFE);
        assert_eq!(items.len(), 2);
        items.expire(start + half + ITEM_LIFE);
        assert!(items.is_empty() && items.hosts.is_empty());
    }

    #[test]
    fn an_item_that_has_expired_holds_no_place_against_an_older_one() {
        let start = Instant::now();
        let mut items = Items::default();
        items.put(mutable(5, "kept"), None, host(1), start).unwrap();
        items.put(mutable(1, "old"), Some(9), host(2), start + ITEM_LIFE).unwrap();
        assert_eq!(
            items.get(&mutable(1, "old").target(), start + ITEM_LIFE),
            Some(&mutable(1, "old"))
        );
    }

    #[test]
    fn a_flood_from_one_host_pushes_out_its_own_items_only() {
        let now = Instant::now();
        let mut items = Items::default();
        let honest = mutable(1, "honest");
        items.put(honest.clone(), None, host(1), now).unwrap();
        for number in 0..5_000_u32 {
            let later = now + Duration::from_millis(number.into());
            items.put(immutable(number), None, host(2), later).unwrap();
        }
        assert_eq!(items.len(), 1 + MAX_ITEMS_PER_HOST);
        assert!(items.get(&honest.target(), now).is_some());
        assert!(items.get(&immutable(4_999).target(), now).is_some());
        assert!(items.get(&immutable(4_899).target(), now).is_none());
    }

    /// Who puts again what is kept already does not get it into its own quota.
    #[test]
    fn a_flood_does_not_take_what_it_has_refreshed_with_it() {
        let now = Instant::now();
        let mut items = Items::default();
        let honest = mutable(1, "honest");
        items.put(honest.clone(), None, host(1), now).unwrap();
        items.put(honest.clone(), None, host(2), now).unwrap();
        for number in 0..=MAX_ITEMS_PER_HOST {
            items.put(immutable(number), None, host(2), now).unwrap();
        }
        assert!(items.get(&honest.target(), now).is_some());
    }

    #[test]
    fn a_flood_from_many_hosts_cannot_outdo_those_who_have_less() {
        let now = Instant::now();
        let mut items = Items::default();
        for number in 0..1_000 {
            items.put(immutable(number), None, host(number), now).unwrap();
        }
        for number in 1_000..20_000_u32 {
            let later = now + Duration::from_millis(number.into());
            items.put(immutable(number), None, host(5_000 + number % 400), later).unwrap();
        }
        assert_eq!(items.len(), MAX_ITEMS);
        let honest = |number: &u32| items.get(&immutable(*number).target(), now).is_some();
        assert_eq!((0..1_000).filter(honest).count(), 1_000);
    }

    #[test]
    fn what_has_expired_makes_room_first() {
        let start = Instant::now();
        let mut items = Items::default();
        let room = u32::try_from(MAX_ITEMS).unwrap();
        for number in 0..room {
            let put = if number % 2 == 0 { start } else { start + ITEM_LIFE / 2 };
            items.put(immutable(number), None, host(number / 4), put).unwrap();
        }
        items.put(immutable("new"), None, host(room), start + ITEM_LIFE).unwrap();
        assert_eq!(items.len(), MAX_ITEMS / 2 + 1);
    }

    #[test]
    fn both_orders_agree_that_a_value_is_no_key() {
        let [one, other] = [mutable(1, "x"), immutable("x")];
        assert_eq!(may_replace(&one, &other, None), Err(Refusal::Taken));
        assert_eq!(may_replace(&other, &one, None).unwrap_err().code(), 203);
    }

    proptest! {
        #[test]
        fn the_limits_hold_and_both_indexes_agree(
            puts in prop::collection::vec((0..400_u32, 0..6_u32, 0..3_600_u64), 0..800)
        ) {
            let (mut items, mut now) = (Items::default(), Instant::now());
            for (text, from, wait) in puts {
                now += Duration::from_secs(wait / 200);
                let item = immutable(text);
                prop_assert!(items.put(item.clone(), None, host(from), now).is_ok());
                prop_assert_eq!(items.get(&item.target(), now), Some(&item));
                let indexed: usize = items.hosts.values().map(BTreeSet::len).sum();
                prop_assert_eq!(indexed, items.len());
                prop_assert!(items.hosts.values().all(|of| (1..=MAX_ITEMS_PER_HOST).contains(&of.len())));
            }
            for (target, kept) in &items.kept {
                let indexed = items.hosts.get(&kept.from).unwrap();
                prop_assert!(indexed.contains(&(kept.put, *target)));
            }
        }
    }
}
