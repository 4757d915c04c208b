//! Who is served: of the peers that want something, so many at a time.
//!
//! If there is room, everybody is. Else the slots but one go to those who give us most while we
//! download, and to those who take fastest while we seed; the last slot goes round, so that
//! newcomers can show what they are good for (BEP 3).

use std::collections::BTreeSet;

use super::picker::Key;

/// Seconds between two decisions about who is best.
const ROUND: u64 = 10;

/// Rounds for which the slot that goes round stays with a peer.
const ROUNDS_OF_A_TURN: u64 = 3;

/// How a peer stands.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Standing {
    /// Bytes of chunks received from it.
    pub received: u64,
    /// Bytes of chunks sent to it.
    pub sent: u64,
    /// Bytes a second from it.
    pub rate_in: u64,
    /// Bytes a second to it.
    pub rate_out: u64,
    /// Whether it wants something of us.
    pub is_interested: bool,
    /// Whether it is served.
    pub is_served: bool,
    /// Pieces it has.
    pub has: u32,
}

/// Chooses who is served, of those who want something. `second` counts up by one a second.
#[must_use]
pub fn choose(
    wanting: &[(Key, Standing)],
    slots: usize,
    downloading: bool,
    second: u64,
) -> BTreeSet<Key> {
    if wanting.len() <= slots {
        return wanting.iter().map(|(key, _)| *key).collect();
    }
    let served: Vec<Key> =
        wanting.iter().filter(|(_, one)| one.is_served).map(|(key, _)| *key).collect();
    if !second.is_multiple_of(ROUND) && served.len() >= slots {
        return served.into_iter().collect();
    }
    let rate = |one: &Standing| if downloading { one.rate_in } else { one.rate_out };
    let mut ranked: Vec<_> = wanting.iter().collect();
    // The key, so that equals keep their order.
    ranked.sort_by_key(|(key, one)| (std::cmp::Reverse(rate(one)), *key));
    let (best, rest) = ranked.split_at(slots.saturating_sub(1).min(ranked.len()));
    let mut chosen: BTreeSet<Key> = best.iter().map(|(key, _)| *key).collect();
    let mut others: Vec<Key> = rest.iter().map(|(key, _)| *key).collect();
    others.sort_unstable();
    let turn = second / (ROUND * ROUNDS_OF_A_TURN);
    let place = usize::try_from(turn % (others.len().max(1) as u64)).unwrap_or_default();
    chosen.extend(others.get(place));
    chosen
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wanting(count: u64) -> Vec<(Key, Standing)> {
        let standing =
            |rate| Standing { rate_in: rate, rate_out: 100 - rate, ..Standing::default() };
        (0..count).map(|key| (key, standing(key))).collect()
    }

    #[test]
    fn everybody_is_served_while_there_is_room() {
        assert_eq!(choose(&wanting(4), 4, true, 5).len(), 4);
        assert!(choose(&[], 4, true, 0).is_empty());
    }

    #[test]
    fn the_best_are_served() {
        let chosen = choose(&wanting(10), 4, true, 0);
        assert!(chosen.is_superset(&[7, 8, 9].into()) && chosen.len() == 4);
        let chosen = choose(&wanting(10), 4, false, 0);
        assert!(chosen.is_superset(&[0, 1, 2].into()) && chosen.len() == 4);
    }

    #[test]
    fn everybody_has_a_turn() {
        let turns = (0..7).map(|turn| choose(&wanting(10), 4, true, turn * 30));
        assert_eq!(turns.flatten().collect::<BTreeSet<_>>().len(), 10);
    }

    #[test]
    fn between_the_rounds_nobody_is_cut_off() {
        let mut wanting = wanting(10);
        for (_, one) in wanting.iter_mut().take(4) {
            one.is_served = true;
        }
        assert_eq!(choose(&wanting, 4, true, 31), [0, 1, 2, 3].into());
    }
}
