//! One announce to one tracker: we are in a swarm, who else is?
//!
//! | file | what it does |
//! |---|---|
//! | [`http`] | the announce over HTTP (BEP 3, compact peers BEP 23, IPv6 peers BEP 7) |
//! | [`udp`] | the announce over UDP: its datagrams and its exchange (BEP 15, BEP 41) |
//!
//! A tracker is a stranger, whoever named it: its answer is bounded before it is decoded, at most
//! 200 peers are taken from it, and only those that [`address`](crate::address) lets us dial. A tracker out in the
//! world tells of no peer on our own networks. Its intervals are held between a minute and a day.

pub mod http;
pub mod udp;

use std::fmt;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use tokio::time::timeout;
use url::Url;

use super::guard::{Guard, GuardError, Origin, server};
use crate::address::may_dial_told;
use crate::bencode::BencodeError;
use crate::id::{InfoHash, excerpt};
use crate::limits::{
    ANNOUNCE_DEADLINE, ANNOUNCE_INTERVAL, MAX_ANNOUNCE_INTERVAL, MAX_TOLD_PEERS,
    MAX_TRACKER_ID_LEN, MAX_TRACKER_URL_LEN, MIN_ANNOUNCE_INTERVAL,
};
use crate::torrent::hints::may_ask;

/// Why a text is not a tracker.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TrackerUrlError {
    /// Longer than any sensible URL.
    #[error("a tracker's URL of {0} characters is refused (limit {MAX_TRACKER_URL_LEN})")]
    TooLong(usize),
    /// No URL.
    #[error("a tracker's URL does not parse: \"{text}\"")]
    Form {
        /// The text, cut to 80 characters.
        text: String,
        /// What the parser said.
        source: url::ParseError,
    },
    /// Another protocol.
    #[error("a tracker's URL begins with http, https or udp: \"{0}\"")]
    Scheme(String),
    /// UDP knows no port of trackers.
    #[error("a UDP tracker's URL needs a host and a port: \"{0}\"")]
    Port(String),
    /// Against the rules for what strangers name.
    #[error("a stranger's tracker on a local network is asked only at /announce: \"{0}\"")]
    Refused(String),
}

/// A tracker. Its text form has no path and query, where trackers keep passkeys.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Tracker {
    url: Url,
    origin: Origin,
}

impl Tracker {
    /// Reads an announce URL.
    pub fn parse(text: &str, origin: Origin) -> Result<Self, TrackerUrlError> {
        if text.len() > MAX_TRACKER_URL_LEN {
            return Err(TrackerUrlError::TooLong(text.len()));
        }
        let mut url = Url::parse(text.trim())
            .map_err(|source| TrackerUrlError::Form { text: excerpt(text), source })?;
        match url.scheme() {
            "http" | "https" => {}
            "udp" if url.has_host() && url.port().is_some_and(|port| port != 0) => {}
            "udp" => return Err(TrackerUrlError::Port(excerpt(text))),
            _ => return Err(TrackerUrlError::Scheme(excerpt(text))),
        }
        url.set_fragment(None);
        if origin == Origin::Stranger && !may_ask(url.as_str()) {
            return Err(TrackerUrlError::Refused(excerpt(text)));
        }
        Ok(Self { url, origin })
    }

    /// The announce URL, secrets included.
    #[must_use]
    pub const fn url(&self) -> &Url {
        &self.url
    }

    /// Who named it.
    #[must_use]
    pub const fn origin(&self) -> Origin {
        self.origin
    }
}

impl fmt::Display for Tracker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&server(&self.url))
    }
}

impl fmt::Debug for Tracker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Tracker({self}, named by {:?})", self.origin)
    }
}

/// What a tracker is told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Announce {
    /// The swarm.
    pub infohash: InfoHash,
    /// Who we are in it.
    pub peer_id: [u8; 20],
    /// The TCP port where peers find us.
    pub port: u16,
    /// Bytes sent to peers since `started`.
    pub uploaded: u64,
    /// Bytes received from peers since `started`.
    pub downloaded: u64,
    /// Bytes that are missing.
    pub left: u64,
    /// What has happened, if anything.
    pub event: Option<Event>,
    /// Peers wanted; more than 200 are not taken.
    pub want: u32,
    /// A number that proves who we are when our address changes.
    pub key: u32,
    /// What this tracker gave as its id earlier (BEP 3).
    pub tracker_id: Option<Vec<u8>>,
}

/// What has happened to a torrent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Event {
    /// We joined the swarm.
    Started,
    /// We have all of it now, and had not when we joined.
    Completed,
    /// We leave.
    Stopped,
}

/// What a tracker answers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Announced {
    /// When to announce again, between a minute and a day.
    pub interval: Duration,
    /// How soon at the earliest, if it says; never more than a day.
    pub min_interval: Option<Duration>,
    /// Peers that may be dialled, at most 200, each once.
    pub peers: Vec<SocketAddr>,
    /// How many have all of it, if it says.
    pub seeders: Option<u64>,
    /// How many have not, if it says.
    pub leechers: Option<u64>,
    /// Something it wants the user to know, cut to 80 characters.
    pub warning: Option<String>,
    /// To be sent with the next announce to this tracker.
    pub tracker_id: Option<Vec<u8>>,
}

/// Why an announce failed.
#[derive(Debug, thiserror::Error)]
pub enum TrackerError {
    /// The tracker was not reached, or may not be.
    #[error(transparent)]
    Guard(#[from] GuardError),
    /// It refuses us.
    #[error("{tracker} refuses the announce: {reason}")]
    Refused {
        /// The tracker.
        tracker: String,
        /// Its words, cut to 80 characters.
        reason: String,
    },
    /// Not an answer of a tracker.
    #[error("{tracker} answers the announce with HTTP status {status}")]
    Status {
        /// The tracker.
        tracker: String,
        /// The status.
        status: u16,
    },
    /// Its answer is not what it should be.
    #[error("the answer of {tracker} makes no sense")]
    Answer {
        /// The tracker.
        tracker: String,
        /// What is wrong with it.
        source: AnswerError,
    },
    /// It has not answered in time.
    #[error("{tracker} has not answered within {} s", waited.as_secs())]
    Silent {
        /// The tracker.
        tracker: String,
        /// How long.
        waited: Duration,
    },
    /// Its datagrams do not come through.
    #[error("cannot exchange datagrams with {tracker}")]
    Datagrams {
        /// The tracker.
        tracker: String,
        /// What the system said.
        source: io::Error,
    },
}

/// What is wrong with a tracker's answer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AnswerError {
    /// Not bencode.
    #[error(transparent)]
    Bencode(#[from] BencodeError),
    /// Another form than a tracker's answer has.
    #[error("{0}")]
    Form(&'static str),
}

/// Tells a tracker of us, and hears from it who else is in the swarm. Takes a minute at most.
pub async fn announce(
    guard: &Guard,
    tracker: &Tracker,
    what: &Announce,
) -> Result<Announced, TrackerError> {
    let asked = async {
        match tracker.url.scheme() {
            "udp" => udp::announce(guard, tracker, what).await,
            _ => http::announce(guard, tracker, what).await,
        }
    };
    timeout(ANNOUNCE_DEADLINE, asked).await.unwrap_or_else(|_| {
        Err(TrackerError::Silent { tracker: tracker.to_string(), waited: ANNOUNCE_DEADLINE })
    })
}

/// An answer as it was decoded: bounded, but not believed yet.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Reply {
    /// Seconds.
    pub interval: Option<i64>,
    /// Seconds.
    pub min_interval: Option<i64>,
    /// All peers it tells of, in its order.
    pub peers: Vec<SocketAddr>,
    /// How many have all of it.
    pub seeders: Option<u64>,
    /// How many have not.
    pub leechers: Option<u64>,
    /// Any text.
    pub warning: Option<String>,
    /// Any bytes.
    pub tracker_id: Option<Vec<u8>>,
    /// What it says our address is (BEP 24).
    pub external: Option<IpAddr>,
}

impl Reply {
    /// What of it is used: `teller` is the tracker's address, `ours` our own ones.
    #[must_use]
    pub fn believed(self, what: &Announce, teller: IpAddr, ours: &[IpAddr]) -> Announced {
        let mut mine = vec![self.external];
        mine.extend(ours.iter().copied().map(Some));
        // On loopback there is but one machine: ours.
        mine.extend(teller.is_loopback().then_some(Some(teller)));
        let mine: Vec<_> = mine.into_iter().flatten().map(|ip| ip.to_canonical()).collect();
        let most = usize::try_from(what.want).unwrap_or(usize::MAX).min(MAX_TOLD_PEERS);
        let mut peers: Vec<SocketAddr> = Vec::new();
        for peer in self.peers {
            let peer = SocketAddr::new(peer.ip().to_canonical(), peer.port());
            let ourselves = peer.port() == what.port && mine.contains(&peer.ip());
            if peers.len() < most
                && !ourselves
                && may_dial_told(peer, teller)
                && !peers.contains(&peer)
            {
                peers.push(peer);
            }
        }
        Announced {
            interval: self.interval.map_or(ANNOUNCE_INTERVAL, interval),
            min_interval: self.min_interval.map(interval),
            peers,
            seeders: self.seeders,
            leechers: self.leechers,
            warning: self.warning.map(|text| excerpt(&text)),
            tracker_id: self.tracker_id.filter(|id| id.len() <= MAX_TRACKER_ID_LEN),
        }
    }
}

fn interval(seconds: i64) -> Duration {
    let declared = Duration::from_secs(u64::try_from(seconds).unwrap_or(0));
    declared.clamp(MIN_ANNOUNCE_INTERVAL, MAX_ANNOUNCE_INTERVAL)
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    pub(in crate::swarm) fn an_announce() -> Announce {
        Announce {
            infohash: InfoHash::of(b"x"),
            peer_id: *b"-OS0100-abcdefghijkl",
            port: 6881,
            uploaded: 1,
            downloaded: 2,
            left: 3,
            event: Some(Event::Started),
            want: 50,
            key: 0xdead_beef,
            tracker_id: None,
        }
    }

    fn reply(peers: &[&str]) -> Reply {
        let peers = peers.iter().map(|peer| peer.parse().unwrap()).collect();
        Reply { peers, ..Reply::default() }
    }

    fn believed(peers: &[&str], teller: &str) -> Vec<String> {
        let announced = reply(peers).believed(&an_announce(), teller.parse().unwrap(), &[]);
        announced.peers.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn takes_no_local_privileged_or_impossible_peers_from_the_world() {
        let peers = [
            "127.0.0.1:7000",
            "192.168.0.1:7000",
            "169.254.169.254:7000",
            "224.0.0.1:7000",
            "0.0.0.0:7000",
            "203.0.113.5:0",
            "203.0.113.5:25",
            "[::1]:7000",
            "[::ffff:10.0.0.1]:7000",
            "203.0.113.5:7000",
            "203.0.113.5:7000",
            "[2001:db8::5]:7000",
        ];
        assert_eq!(believed(&peers, "198.51.100.1"), ["203.0.113.5:7000", "[2001:db8::5]:7000"]);
        let from_here = believed(&peers, "127.0.0.1");
        assert_eq!(from_here.first().map(String::as_str), Some("127.0.0.1:7000"));
        assert!(!from_here.contains(&"224.0.0.1:7000".to_owned()));
    }

    #[test]
    fn takes_no_crowd_and_not_more_than_it_wants() {
        let crowd = |port: u16| SocketAddr::from(([203, 0, 113, 5], port));
        let reply = Reply { peers: (1024..=65_535).map(crowd).collect(), ..Reply::default() };
        let most = |want| {
            let what = Announce { want, ..an_announce() };
            reply.clone().believed(&what, "198.51.100.1".parse().unwrap(), &[]).peers.len()
        };
        assert_eq!((most(u32::MAX), most(30), most(0)), (MAX_TOLD_PEERS, 30, 0));
    }

    #[test]
    fn does_not_meet_itself() {
        assert_eq!(believed(&["127.0.0.1:6881"], "127.0.0.1"), [""; 0]);
        assert_eq!(believed(&["127.0.0.1:6882"], "127.0.0.1"), ["127.0.0.1:6882"]);
        let ours = "203.0.113.9".parse().unwrap();
        let told = Reply { external: Some(ours), ..reply(&["203.0.113.9:6881"]) };
        let world = "198.51.100.1".parse().unwrap();
        assert!(told.believed(&an_announce(), world, &[]).peers.is_empty());
        let told = reply(&["203.0.113.9:6881"]);
        assert!(told.believed(&an_announce(), world, &[ours]).peers.is_empty());
    }

    #[test]
    fn holds_intervals_within_bounds() {
        for (seconds, held) in [(-1, 60), (0, 60), (1800, 1800), (i64::MAX, 86_400)] {
            assert_eq!(interval(seconds).as_secs(), held);
        }
        let announced = Reply::default().believed(&an_announce(), [127, 0, 0, 1].into(), &[]);
        assert_eq!((announced.interval, announced.min_interval), (ANNOUNCE_INTERVAL, None));
    }

    #[test]
    fn says_what_is_wrong_with_a_url() {
        let stranger = |text: &str| Tracker::parse(text, Origin::Stranger).unwrap_err();
        assert!(matches!(stranger("nonsense"), TrackerUrlError::Form { .. }));
        assert!(matches!(stranger("wss://t.example/announce"), TrackerUrlError::Scheme(_)));
        assert!(matches!(stranger("udp://t.example/announce"), TrackerUrlError::Port(_)));
        assert!(matches!(stranger("udp://t.example:0"), TrackerUrlError::Port(_)));
        assert!(matches!(stranger("http://127.0.0.1/reboot"), TrackerUrlError::Refused(_)));
        assert!(matches!(stranger(&"udp://".repeat(500)), TrackerUrlError::TooLong(_)));
        assert!(Tracker::parse("http://127.0.0.1/x", Origin::User).is_ok());
        let private = Tracker::parse("http://t.example/secret/announce", Origin::User).unwrap();
        assert!(!format!("{private} {private:?}").contains("secret"));
    }
}
