//! Tokens: who shows one has received a datagram of ours at its address (BEP 5).
//!
//! A token is eight bytes of a hash over a secret, the number of the five minutes it was made in,
//! and the IP address; the port may change from query to query. Nothing is stored per token. It is
//! good for 10 minutes at least and 15 at most. Guessing one takes 2^63 datagrams on average.

use std::net::{IpAddr, SocketAddr};
use std::time::Instant;

use rand::Rng;

use crate::id::checksum;
use crate::limits::dht::{TOKEN_EPOCH, TOKEN_EPOCHS};

/// What makes and checks tokens.
pub struct Tokens {
    secret: [u8; 32],
    since: Instant,
}

impl std::fmt::Debug for Tokens {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Tokens(..)")
    }
}

impl Tokens {
    /// Bytes of a token.
    pub const LEN: usize = 8;

    /// With a new secret.
    #[must_use]
    pub fn new(chance: &mut impl Rng, now: Instant) -> Self {
        let mut secret = [0; 32];
        chance.fill_bytes(&mut secret);
        Self { secret, since: now }
    }

    /// The token for an address.
    #[must_use]
    pub fn token(&self, address: SocketAddr, now: Instant) -> [u8; Self::LEN] {
        self.token_of(address, self.epoch(now))
    }

    /// Whether an address shows a token that it was given within 10 minutes.
    #[must_use]
    pub fn check(&self, token: &[u8], address: SocketAddr, now: Instant) -> bool {
        let epoch = self.epoch(now);
        token.len() == Self::LEN
            && (epoch.saturating_sub(TOKEN_EPOCHS - 1)..=epoch)
                .any(|epoch| self.token_of(address, epoch) == token)
    }

    fn epoch(&self, now: Instant) -> u64 {
        now.saturating_duration_since(self.since).as_secs() / TOKEN_EPOCH.as_secs()
    }

    fn token_of(&self, address: SocketAddr, epoch: u64) -> [u8; Self::LEN] {
        let mut key = [0; 40];
        let bytes = self.secret.into_iter().chain(epoch.to_be_bytes());
        key.iter_mut().zip(bytes).for_each(|(to, from)| *to = from);
        match address.ip().to_canonical() {
            IpAddr::V4(ip) => checksum(&key, &ip.octets()),
            IpAddr::V6(ip) => checksum(&key, &ip.octets()),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use proptest::prelude::*;
    use rand::SeedableRng;
    use rand::rngs::SmallRng;

    use super::*;

    fn tokens(seed: u64, now: Instant) -> Tokens {
        Tokens::new(&mut SmallRng::seed_from_u64(seed), now)
    }

    #[test]
    fn a_token_is_bound_to_the_address_and_the_node_and_not_to_the_port() {
        let (now, at) = (Instant::now(), |text: &str| text.parse::<SocketAddr>().unwrap());
        let (ours, others) = (tokens(1, now), tokens(2, now));
        for (own, port, other) in [
            ("203.0.113.5:6881", "203.0.113.5:1", "203.0.113.6:6881"),
            ("[2001:db8::5]:6881", "[2001:db8::5]:1", "[2001:db8::6]:6881"),
        ] {
            let token = ours.token(at(own), now);
            assert!(ours.check(&token, at(own), now) && ours.check(&token, at(port), now));
            assert!(!ours.check(&token, at(other), now) && !others.check(&token, at(own), now));
        }
        let token = ours.token(at("[::ffff:203.0.113.5]:1"), now);
        assert!(ours.check(&token, at("203.0.113.5:2"), now));
    }

    proptest! {
        #[test]
        fn a_token_is_good_for_ten_minutes_and_not_for_fifteen(
            made in 0u64..100_000, age in 0u64..2_000, address: std::net::Ipv6Addr,
        ) {
            let (start, address) = (Instant::now(), SocketAddr::new(address.into(), 1));
            let (tokens, made) = (tokens(made, start), start + Duration::from_secs(made));
            let token = tokens.token(address, made);
            let good = tokens.check(&token, address, made + Duration::from_secs(age));
            prop_assert!(good || age > 600);
            prop_assert!(!good || age < 900);
        }

        #[test]
        fn anything_else_is_no_token(bytes in prop::collection::vec(any::<u8>(), 0..40)) {
            let (now, address) = (Instant::now(), "203.0.113.5:1".parse().unwrap());
            let tokens = tokens(1, now);
            prop_assert!(!tokens.check(&bytes, address, now));
            let longer = [&tokens.token(address, now)[..], &bytes].concat();
            prop_assert_eq!(tokens.check(&longer, address, now), bytes.is_empty());
        }
    }
}
