//! A peer of the legacy network, and its locator.
//!
//! A locator is how users tell each other of a node: base58 (Bitcoin alphabet) of a CBOR map
//!
//! ```text
//! a5 62 "id" 5820 <32 bytes>  65 "extIp" <text>  67 "extPort" <uint>
//!                             65 "intIp" <text>  67 "intPort" <uint>
//! ```
//!
//! js-offs writes the entries in this order with the shortest integers, and so do we; any order is read,
//! and what else there may be is skipped. The addresses are texts, IPv4 or IPv6, no names. The internal
//! one is for whoever is behind the same external one.

use std::fmt;
use std::net::{IpAddr, SocketAddr};

use minicbor::data::Type;
use minicbor::{Decoder, Encoder};

use crate::address::{Reach, may_dial, may_dial_told, reach};
use crate::id::{LegacyId, excerpt};
use crate::limits::legacy::MAX_LEGACY_LOCATOR_LEN;

/// A node of the legacy network: its id, and where it is reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct LegacyPeer {
    /// Its id.
    pub id: LegacyId,
    /// Where the world reaches it.
    pub external: SocketAddr,
    /// Where its own network reaches it.
    pub internal: SocketAddr,
}

/// Why a text is not a locator.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("no locator of a js-offs node ({why}): \"{}\"", excerpt(text))]
pub struct LocatorError {
    text: String,
    why: String,
}

impl LegacyPeer {
    /// Where to dial it: like js-offs its internal address if it shares our external one.
    #[must_use]
    pub fn address(&self, ours: Option<IpAddr>) -> SocketAddr {
        if ours == Some(self.external.ip()) { self.internal } else { self.external }
    }

    /// Whether it is at an address, as whoever it calls sees it. Who calls from the world is at its
    /// external address: the internal one may be any number, while the other is somebody else's.
    #[must_use]
    pub fn is_at(&self, ip: IpAddr) -> bool {
        let is = |own: SocketAddr| own.ip().to_canonical() == ip.to_canonical();
        is(self.external) || (is(self.internal) && reach(ip) != Reach::Public)
    }

    /// Whether it may be dialled at what somebody at an address says of it: who is out in the world knows
    /// nobody on our networks, and nobody's own network is this machine.
    #[must_use]
    pub fn may_be_told(&self, by: IpAddr) -> bool {
        let inside = self.internal.ip().to_canonical();
        let is_here = inside.is_loopback() && !by.to_canonical().is_loopback();
        let is_somebodys = may_dial(self.internal) && reach(inside) != Reach::Nowhere;
        may_dial_told(self.external, by) && is_somebodys && !is_here
    }

    /// Reads a locator.
    pub fn parse(text: &str) -> Result<Self, LocatorError> {
        let failed = |why: &str| LocatorError { text: text.to_owned(), why: why.to_owned() };
        if text.len() > MAX_LEGACY_LOCATOR_LEN {
            return Err(failed("it is too long"));
        }
        let bytes = bs58::decode(text).into_vec().map_err(|_| failed("not base58"))?;
        let entries = Entries::decode(&bytes).map_err(|why| failed(&why))?;
        entries.peer().map_err(|why| failed(&why))
    }

    /// The locator, as [`parse`](Self::parse) reads it.
    #[must_use]
    pub fn locator(&self) -> String {
        let mut bytes = Vec::with_capacity(128);
        // Writing to memory cannot fail.
        let _ = self.encode(&mut bytes);
        bs58::encode(bytes).into_string()
    }

    fn encode(
        &self,
        bytes: &mut Vec<u8>,
    ) -> Result<(), minicbor::encode::Error<std::convert::Infallible>> {
        let (external, internal) = (self.external, self.internal);
        Encoder::new(bytes)
            .map(5)?
            .str("id")?
            .bytes(self.id.as_bytes())?
            .str("extIp")?
            .str(&external.ip().to_string())?
            .str("extPort")?
            .u16(external.port())?
            .str("intIp")?
            .str(&internal.ip().to_string())?
            .str("intPort")?
            .u16(internal.port())?;
        Ok(())
    }
}

impl fmt::Display for LegacyPeer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} at {}", self.id, self.external)
    }
}

/// An address of its two parts, as locators and messages have them.
pub(super) fn address(ip: &str, port: i128) -> Result<SocketAddr, String> {
    let ip: IpAddr = ip.parse().map_err(|_| format!("{:?} is no IP address", excerpt(ip)))?;
    let port = u16::try_from(port).ok().filter(|port| *port > 0);
    let port = port.ok_or_else(|| "a port is not between 1 and 65535".to_owned())?;
    Ok(SocketAddr::new(ip, port))
}

/// What a locator says.
#[derive(Default)]
struct Entries {
    id: Option<Vec<u8>>,
    ips: [Option<String>; 2],
    ports: [Option<i128>; 2],
}

impl Entries {
    fn decode(bytes: &[u8]) -> Result<Self, String> {
        let cbor = |error: minicbor::decode::Error| format!("not CBOR: {error}");
        let mut decoder = Decoder::new(bytes);
        let count = decoder.map().map_err(cbor)?;
        let (mut entries, mut seen) = (Self::default(), 0);
        loop {
            let is_over = match count {
                Some(count) => seen == count,
                None => decoder.datatype().map_err(cbor)? == Type::Break,
            };
            if is_over {
                break;
            }
            seen += 1;
            entries.take(&mut decoder).map_err(cbor)?;
        }
        if count.is_none() {
            decoder.skip().map_err(cbor)?;
        }
        if decoder.position() < bytes.len() {
            return Err("something follows it".into());
        }
        Ok(entries)
    }

    fn take(&mut self, decoder: &mut Decoder<'_>) -> Result<(), minicbor::decode::Error> {
        let key = decoder.str()?;
        let [external_ip, internal_ip] = &mut self.ips;
        let [external_port, internal_port] = &mut self.ports;
        match key {
            "id" => self.id = Some(decoder.bytes()?.to_vec()),
            "extIp" => *external_ip = Some(decoder.str()?.to_owned()),
            "intIp" => *internal_ip = Some(decoder.str()?.to_owned()),
            "extPort" => *external_port = Some(i128::from(decoder.int()?)),
            "intPort" => *internal_port = Some(i128::from(decoder.int()?)),
            _ => decoder.skip()?,
        }
        Ok(())
    }

    fn peer(self) -> Result<LegacyPeer, String> {
        let id = self.id.ok_or("it has no id")?;
        let len = id.len();
        let id = LegacyId::from_slice(&id)
            .ok_or_else(|| format!("its id has {len} bytes instead of {}", LegacyId::LEN))?;
        let ([Some(external), Some(internal)], [Some(at), Some(inside)]) = (self.ips, self.ports)
        else {
            return Err("an address is missing".into());
        };
        Ok(LegacyPeer {
            id,
            external: address(&external, at)?,
            internal: address(&internal, inside)?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn peer() -> LegacyPeer {
        LegacyPeer {
            id: LegacyId::from_bytes([7; 32]),
            external: "203.0.113.5:8200".parse().unwrap(),
            internal: "[fd12::1]:23".parse().unwrap(),
        }
    }

    #[test]
    fn a_locator_gives_the_peer_back() {
        assert_eq!(LegacyPeer::parse(&peer().locator()), Ok(peer()));
    }

    #[test]
    fn entries_may_come_in_any_order_beside_others_and_in_a_map_without_length() {
        let mut bytes = Vec::new();
        let mut encoder = Encoder::new(&mut bytes);
        encoder.begin_map().unwrap();
        encoder.str("intPort").unwrap().u64(23).unwrap();
        encoder.str("more").unwrap().array(2).unwrap().u8(1).unwrap().null().unwrap();
        encoder.str("extIp").unwrap().str("203.0.113.5").unwrap();
        encoder.str("intIp").unwrap().str("fd12::1").unwrap();
        encoder.str("extPort").unwrap().u64(8200).unwrap();
        encoder.str("id").unwrap().bytes(&[7; 32]).unwrap();
        encoder.end().unwrap();
        assert_eq!(LegacyPeer::parse(&bs58::encode(bytes).into_string()), Ok(peer()));
    }

    fn refusal(id: &[u8], ip: &str, port: i64) -> String {
        let mut bytes = Vec::new();
        let mut encoder = Encoder::new(&mut bytes);
        encoder.map(5).unwrap().str("id").unwrap().bytes(id).unwrap();
        encoder.str("extIp").unwrap().str(ip).unwrap().str("extPort").unwrap().i64(port).unwrap();
        encoder.str("intIp").unwrap().str("10.0.0.1").unwrap();
        encoder.str("intPort").unwrap().u16(1).unwrap();
        LegacyPeer::parse(&bs58::encode(bytes).into_string()).unwrap_err().to_string()
    }

    #[test]
    fn says_what_is_wrong() {
        assert!(refusal(&[7; 20], "203.0.113.5", 1).contains("has 20 bytes instead of 32"));
        assert!(refusal(&[7; 32], "node.example", 1).contains("\"node.example\" is no IP address"));
        for port in [0, -1, 65_536, i64::MIN] {
            assert!(refusal(&[7; 32], "203.0.113.5", port).contains("between 1 and 65535"));
        }
        let why = |text: &str| LegacyPeer::parse(text).unwrap_err().to_string();
        assert!(why("0OIl").contains("not base58"));
        assert!(why("").contains("not CBOR"));
        assert!(why(&"1".repeat(10_000)).contains("too long"));
        assert!(why(&format!("{}1", peer().locator())).contains("locator"));
    }

    #[test]
    fn dials_inside_only_behind_the_same_address() {
        let (inside, outside) = (peer().internal, peer().external);
        assert_eq!(peer().address(None), outside);
        assert_eq!(peer().address(Some("198.51.100.1".parse().unwrap())), outside);
        assert_eq!(peer().address(Some("203.0.113.5".parse().unwrap())), inside);
        assert!(peer().is_at("::ffff:203.0.113.5".parse().unwrap()));
        assert!(!peer().is_at("198.51.100.1".parse().unwrap()));
    }

    /// Its internal address was enough, so that anybody could have us knock at any external one.
    #[test]
    fn who_calls_from_the_world_is_where_the_world_reaches_it() {
        let ours = "198.51.100.1".parse().unwrap();
        let elsewhere = LegacyPeer { internal: "198.51.100.1:8200".parse().unwrap(), ..peer() };
        assert!(!elsewhere.is_at(ours));
        let inside = LegacyPeer { internal: "192.168.1.2:8200".parse().unwrap(), ..peer() };
        assert!(inside.is_at("192.168.1.2".parse().unwrap()));
    }

    #[test]
    fn the_internal_address_of_a_stranger_is_none_of_this_machine_and_no_mail_server() {
        let by = "203.0.113.9".parse().unwrap();
        let behind = |internal: &str| LegacyPeer { internal: internal.parse().unwrap(), ..peer() };
        assert!(behind("192.168.1.2:8200").may_be_told(by));
        assert!(!behind("192.168.1.2:25").may_be_told(by));
        assert!(!behind("127.0.0.1:6379").may_be_told(by));
        assert!(!behind("169.254.169.254:8200").may_be_told(by));
        assert!(!behind("[::ffff:127.0.0.1]:6379").may_be_told(by));
        assert!(behind("127.0.0.1:8200").may_be_told("127.0.0.1".parse().unwrap()));
    }
}
