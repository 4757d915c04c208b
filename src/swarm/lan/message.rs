//! Announces to bytes and back (BEP 14).
//!
//! ```text
//! BT-SEARCH * HTTP/1.1\r\n
//! Host: 239.192.152.143:6771\r\n          the group it is sent to
//! Port: 6881\r\n                          where the sender takes peers, TCP or uTP
//! Infohash: 0b0c..\r\n                    40 hex digits, any number of these
//! cookie: 1f2e..\r\n                      opaque, optional
//! \r\n
//! \r\n
//! ```
//!
//! Read is what others may write: lines that end without `\r`, names of headers in either case,
//! headers in any order or unknown. Of several ports or cookies the first counts. The host is not
//! looked at. A message ends with an empty line, so that nothing that was cut off is taken for whole.

use std::fmt::Write;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};

use crate::id::InfoHash;
use crate::limits::lan::{MAX_LAN_COOKIE_LEN, MAX_LAN_DATAGRAM_LEN, MAX_LAN_INFOHASHES};

/// The UDP port of both groups.
pub const LAN_PORT: u16 = 6771;

const START: &str = "BT-SEARCH * HTTP/1.1";

/// A multicast group in which clients hear each other.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Group {
    /// `239.192.152.143`.
    V4,
    /// `ff15::efc0:988f`.
    V6,
}

impl Group {
    /// Both of them.
    pub const ALL: [Self; 2] = [Self::V4, Self::V6];

    /// The group of IPv4.
    pub const IPV4: Ipv4Addr = Ipv4Addr::new(239, 192, 152, 143);

    /// The group of IPv6.
    pub const IPV6: Ipv6Addr = Ipv6Addr::new(0xff15, 0, 0, 0, 0, 0, 0xefc0, 0x988f);

    /// Where its datagrams are sent to.
    #[must_use]
    pub fn address(self) -> SocketAddr {
        match self {
            Self::V4 => (Self::IPV4, LAN_PORT).into(),
            Self::V6 => (Self::IPV6, LAN_PORT).into(),
        }
    }
}

/// What the sender of a datagram knows its own by: 1 to [`MAX_LAN_COOKIE_LEN`] visible ASCII
/// characters.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cookie(String);

impl Cookie {
    /// Checks the characters.
    #[must_use]
    pub fn new(text: &str) -> Option<Self> {
        let fits = (1..=MAX_LAN_COOKIE_LEN).contains(&text.len());
        (fits && text.bytes().all(|byte| byte.is_ascii_graphic())).then(|| Self(text.to_owned()))
    }

    /// A cookie of 16 hex digits. Clients of libtorrent read it as a number, and compare it with
    /// one of their own that has eight at most.
    #[must_use]
    pub fn of_number(number: u64) -> Self {
        Self(format!("{number:016x}"))
    }
}

/// Somebody is in some swarms.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Announce {
    /// Where peers of it are taken; others may say 0.
    pub port: u16,
    /// The swarms, one at least; at most [`MAX_LAN_INFOHASHES`] if it is to be written.
    pub infohashes: Vec<InfoHash>,
    /// Whose it is. One that is no [`Cookie`] is read as none.
    pub cookie: Option<Cookie>,
}

/// Why a datagram is no announce.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum MessageError {
    /// Longer than BEP 14 allows.
    #[error("an announce of {len} bytes; {MAX_LAN_DATAGRAM_LEN} are allowed")]
    TooLong {
        /// Its bytes.
        len: usize,
    },
    /// It does not begin with `BT-SEARCH * HTTP/1.1`.
    #[error("this is no BT-SEARCH")]
    NotSearch,
    /// There is no empty line at its end.
    #[error("the announce is cut off")]
    CutOff,
    /// The first port is none.
    #[error("the port of the announce is no number below 65536")]
    Port,
    /// A header that has to be there is not.
    #[error("the announce has no {name}")]
    Lacks {
        /// Its name.
        name: &'static str,
    },
}

impl Announce {
    /// The datagram for a group. Infohashes beyond [`MAX_LAN_INFOHASHES`] have no room.
    #[must_use]
    pub fn encode(&self, group: Group) -> Vec<u8> {
        let mut text = format!("{START}\r\nHost: {}\r\nPort: {}\r\n", group.address(), self.port);
        // Writing to a string cannot fail.
        for infohash in self.infohashes.iter().take(MAX_LAN_INFOHASHES) {
            let _ = write!(text, "Infohash: {infohash}\r\n");
        }
        if let Some(Cookie(cookie)) = &self.cookie {
            let _ = write!(text, "cookie: {cookie}\r\n");
        }
        text.push_str("\r\n\r\n");
        text.into_bytes()
    }

    /// Reads a datagram. An infohash that is none is passed over.
    pub fn decode(datagram: &[u8]) -> Result<Self, MessageError> {
        if datagram.len() > MAX_LAN_DATAGRAM_LEN {
            return Err(MessageError::TooLong { len: datagram.len() });
        }
        let mut lines = Lines(datagram);
        let start = lines.next();
        if !start.is_some_and(|line| line.eq_ignore_ascii_case(START.as_bytes())) {
            return Err(MessageError::NotSearch);
        }
        let (mut port, mut cookie, mut infohashes) = (None, None, Vec::new());
        loop {
            let line = lines.next().ok_or(MessageError::CutOff)?;
            if line.is_empty() {
                break;
            }
            let Some((name, value)) = header(line) else { continue };
            if name.eq_ignore_ascii_case(b"port") {
                port = port.or(Some(value));
            } else if name.eq_ignore_ascii_case(b"infohash") {
                infohashes.extend(infohash(value));
            } else if name.eq_ignore_ascii_case(b"cookie") {
                cookie = cookie.or(Some(value));
            }
        }
        let port = port.ok_or(MessageError::Lacks { name: "port" })?;
        let port = number(port).ok_or(MessageError::Port)?;
        if infohashes.is_empty() {
            return Err(MessageError::Lacks { name: "infohash" });
        }
        let cookie = cookie.and_then(|value| Cookie::new(std::str::from_utf8(value).ok()?));
        Ok(Self { port, infohashes, cookie })
    }
}

/// The lines that have an end, without it.
struct Lines<'a>(&'a [u8]);

impl<'a> Iterator for Lines<'a> {
    type Item = &'a [u8];

    fn next(&mut self) -> Option<&'a [u8]> {
        let end = self.0.iter().position(|byte| *byte == b'\n')?;
        let (line, rest) = self.0.split_at_checked(end)?;
        self.0 = rest.get(1..)?;
        Some(line.strip_suffix(b"\r").unwrap_or(line))
    }
}

/// Name and value; none if it is no header.
fn header(line: &[u8]) -> Option<(&[u8], &[u8])> {
    let colon = line.iter().position(|byte| *byte == b':')?;
    let (name, value) = line.split_at_checked(colon)?;
    Some((name.trim_ascii(), value.get(1..)?.trim_ascii()))
}

fn infohash(value: &[u8]) -> Option<InfoHash> {
    InfoHash::parse(&std::str::from_utf8(value).ok()?.to_ascii_lowercase()).ok()
}

/// Digits only: a sign would do for `parse`.
fn number(value: &[u8]) -> Option<u16> {
    let digits = value.iter().all(u8::is_ascii_digit);
    std::str::from_utf8(value).ok().filter(|_| digits)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;

    const ONE: &str = "0123456789abcdef0123456789abcdef01234567";
    const OTHER: &str = "89abcdef0123456789abcdef0123456789abcdef";

    fn announce() -> impl Strategy<Value = Announce> {
        let infohashes =
            vec(any::<[u8; 20]>().prop_map(InfoHash::from_bytes), 1..=MAX_LAN_INFOHASHES);
        let cookie = proptest::option::of("[!-~]{1,64}".prop_map(|text| Cookie::new(&text)));
        (any::<u16>(), infohashes, cookie).prop_map(|(port, infohashes, cookie)| Announce {
            port,
            infohashes,
            cookie: cookie.flatten(),
        })
    }

    fn read(text: &str) -> Result<Announce, MessageError> {
        Announce::decode(text.as_bytes())
    }

    #[test]
    fn writes_what_the_bep_shows() {
        let announce = Announce {
            port: 6881,
            infohashes: [ONE, OTHER].map(|text| InfoHash::parse(text).unwrap()).to_vec(),
            cookie: Some(Cookie::of_number(0xff)),
        };
        let wanted = |host: &str| {
            format!(
                "BT-SEARCH * HTTP/1.1\r\nHost: {host}:6771\r\nPort: 6881\r\nInfohash: {ONE}\r\n\
                 Infohash: {OTHER}\r\ncookie: 00000000000000ff\r\n\r\n\r\n"
            )
        };
        assert_eq!(announce.encode(Group::V4), wanted("239.192.152.143").into_bytes());
        assert_eq!(announce.encode(Group::V6), wanted("[ff15::efc0:988f]").into_bytes());
    }

    #[test]
    fn reads_what_others_may_write() {
        let text = format!(
            "bt-search * http/1.1\nINFOHASH:{}\nX-Other: 1\nnonsense\nport: 7 \nPort: 8\n\
             Infohash: short\ninfohash: {OTHER}\nCookie: two words\n\n",
            ONE.to_uppercase()
        );
        let infohashes = [ONE, OTHER].map(|text| InfoHash::parse(text).unwrap()).to_vec();
        assert_eq!(read(&text), Ok(Announce { port: 7, infohashes, cookie: None }));
    }

    #[test]
    fn says_what_is_wrong() {
        let head = "BT-SEARCH * HTTP/1.1\r\n";
        let hash = format!("Infohash: {ONE}\r\n");
        assert_eq!(read(""), Err(MessageError::NotSearch));
        assert_eq!(read("M-SEARCH * HTTP/1.1\r\n\r\n"), Err(MessageError::NotSearch));
        assert_eq!(read(head), Err(MessageError::CutOff));
        let lacks = |name| Err(MessageError::Lacks { name });
        assert_eq!(read(&format!("{head}{hash}\r\n")), lacks("port"));
        assert_eq!(read(&format!("{head}Port: 1\r\nInfohash: x\r\n\r\n")), lacks("infohash"));
        for port in ["", "+1", "-1", "1 2", "65536", "\u{661}", "99999999999999999999"] {
            let text = format!("{head}Port: {port}\r\n{hash}\r\n");
            assert_eq!(read(&text), Err(MessageError::Port), "{port}");
        }
        let long = format!("{head}Port: 1\r\n{hash}X: {}\r\n\r\n", "x".repeat(1_400));
        assert_eq!(read(&long), Err(MessageError::TooLong { len: long.len() }));
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_and_fits(announce in announce()) {
            for group in Group::ALL {
                let datagram = announce.encode(group);
                prop_assert!(datagram.len() <= MAX_LAN_DATAGRAM_LEN);
                prop_assert_eq!(Announce::decode(&datagram), Ok(announce.clone()));
            }
        }

        /// The last two bytes are the second empty line, which nobody waits for.
        #[test]
        fn what_is_cut_off_anywhere_is_refused(announce in announce()) {
            let datagram = announce.encode(Group::V4);
            for len in 0..datagram.len() - 2 {
                prop_assert!(Announce::decode(&datagram[..len]).is_err(), "{}", len);
            }
            for len in datagram.len() - 2..datagram.len() {
                prop_assert_eq!(Announce::decode(&datagram[..len]), Ok(announce.clone()));
            }
        }

        #[test]
        fn any_bytes_are_read_or_refused(bytes in vec(any::<u8>(), 0..1_500)) {
            let _ = Announce::decode(&bytes);
            let _ = Announce::decode(&[b"BT-SEARCH * HTTP/1.1\r\n", &bytes[..]].concat());
        }

        #[test]
        fn any_headers_are_read_or_refused(
            lines in vec("(port|infohash|cookie|[ -~]{0,9}):? ?[ -~]{0,50}\r?\n?", 0..20),
        ) {
            let text = format!("BT-SEARCH * HTTP/1.1\r\n{}\r\n\r\n", lines.concat());
            if let Ok(announce) = read(&text) {
                prop_assert!(!announce.infohashes.is_empty());
            }
        }
    }
}
