//! The announce over HTTP (BEP 3).
//!
//! The request is a GET of the announce URL with the parameters appended to whatever query it has.
//! The answer is a bencoded dictionary of at most 1 MiB:
//!
//! | key | value |
//! |---|---|
//! | `failure reason` | why there is nothing else |
//! | `warning message` | for the user |
//! | `interval`, `min interval` | seconds |
//! | `tracker id` | to be sent back with the next announce |
//! | `complete`, `incomplete` | peers that have everything, and others |
//! | `peers` | 6 bytes a peer (BEP 23), or a list of dictionaries `ip`, `port`, `peer id` |
//! | `peers6` | 18 bytes a peer (BEP 7) |
//! | `external ip` | our address, 4 or 16 bytes (BEP 24) |
//!
//! Peers named by a host name instead of an address are left out: no stranger makes us resolve a
//! name for each of them.

use std::fmt::Write;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_encode};
use serde::Deserialize;
use serde_bytes::ByteBuf;
use url::Url;

use super::{Announce, Announced, AnswerError, Event, Reply, Tracker, TrackerError};
use crate::address::{all_from_compact, ip_from_compact};
use crate::bencode::Dict;
use crate::id::excerpt;
use crate::limits::MAX_TRACKER_REPLY;
use crate::swarm::guard::{Guard, Purpose};

const OK: u16 = 200;

/// Where a tracker is that has no address to judge it by: in the world (RFC 5737).
const SOMEWHERE: IpAddr = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1));

/// Announces to an HTTP tracker.
pub(super) async fn announce(
    guard: &Guard,
    tracker: &Tracker,
    what: &Announce,
) -> Result<Announced, TrackerError> {
    let url = request(tracker.url(), what);
    let answer = guard.get(&url, tracker.origin(), Purpose::Tracker, None).await?;
    let (status, address) = (answer.status(), answer.address());
    let body = answer.body(MAX_TRACKER_REPLY).await?;
    let tracker = || tracker.to_string();
    match decode(&body, &what.peer_id) {
        Ok(Outcome::Failure(reason)) => Err(TrackerError::Refused { tracker: tracker(), reason }),
        _ if status != OK => Err(TrackerError::Status { tracker: tracker(), status }),
        Ok(Outcome::Reply(reply)) => {
            let teller = address.map_or(SOMEWHERE, |address| address.ip());
            Ok(reply.believed(what, teller, &[]))
        }
        Err(source) => Err(TrackerError::Answer { tracker: tracker(), source }),
    }
}

/// The URL that announces.
#[must_use]
pub fn request(announce_url: &Url, what: &Announce) -> Url {
    const UNRESERVED: &AsciiSet =
        &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');
    let escape = |bytes| percent_encode(bytes, UNRESERVED);
    let mut query = match announce_url.query() {
        Some(query) if !query.is_empty() => format!("{query}&"),
        _ => String::new(),
    };
    let Announce { port, uploaded, downloaded, left, want, key, .. } = what;
    let event = match what.event {
        Some(Event::Started) => "&event=started",
        Some(Event::Completed) => "&event=completed",
        Some(Event::Stopped) => "&event=stopped",
        None => "",
    };
    // Writing to a string does not fail.
    let _ = write!(
        query,
        "info_hash={}&peer_id={}&port={port}&uploaded={uploaded}&downloaded={downloaded}\
         &left={left}&numwant={want}&key={key:08x}&compact=1&no_peer_id=1{event}",
        escape(what.infohash.as_bytes()),
        escape(&what.peer_id),
    );
    if let Some(id) = &what.tracker_id {
        let _ = write!(query, "&trackerid={}", escape(id));
    }
    let mut url = announce_url.clone();
    url.set_query(Some(&query));
    url
}

/// What an answer says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// It refuses us, for a reason cut to 80 characters.
    Failure(String),
    /// It serves us.
    Reply(Reply),
}

/// Reads an answer. Peers with our own id are left out.
pub fn decode(bytes: &[u8], our_id: &[u8; 20]) -> Result<Outcome, AnswerError> {
    let fields = Dict::check(bytes)?;
    if !fields.is_dict() {
        return Err(AnswerError::Form("it is no dictionary"));
    }
    let text = |key| fields.string(key).map(|text| String::from_utf8_lossy(text).into_owned());
    let count = |key| u64::try_from(fields.integer(key)?).ok();
    if let Some(reason) = text("failure reason") {
        return Ok(Outcome::Failure(excerpt(&reason)));
    }
    let mut peers = match fields.raw("peers") {
        Some(list) if list.starts_with(b"l") => listed(list, our_id)?,
        Some(_) => all_from_compact::<6>(fields.string("peers").unwrap_or_default()).collect(),
        None => Vec::new(),
    };
    peers.extend(all_from_compact::<18>(fields.string("peers6").unwrap_or_default()));
    let external = fields.string("external ip").and_then(ip_from_compact);
    Ok(Outcome::Reply(Reply {
        interval: fields.integer("interval"),
        min_interval: fields.integer("min interval"),
        peers,
        seeders: count("complete"),
        leechers: count("incomplete"),
        warning: text("warning message"),
        tracker_id: fields.string("tracker id").map(<[u8]>::to_vec),
        external,
    }))
}

#[derive(Deserialize)]
struct ListedPeer {
    ip: String,
    port: i64,
    #[serde(rename = "peer id", default)]
    id: ByteBuf,
}

fn listed(list: &[u8], our_id: &[u8; 20]) -> Result<Vec<SocketAddr>, AnswerError> {
    let listed: Vec<ListedPeer> = serde_bencode::from_bytes(list)
        .map_err(|_| AnswerError::Form("its peers are not a list of peers"))?;
    let others = listed.into_iter().filter(|peer| peer.id.as_slice() != our_id);
    let peer = |peer: ListedPeer| {
        Some(SocketAddr::new(peer.ip.parse().ok()?, u16::try_from(peer.port).ok()?))
    };
    Ok(others.filter_map(peer).collect())
}

#[cfg(test)]
mod tests {
    use super::super::tests::an_announce;
    use super::*;
    use crate::id::InfoHash;
    use proptest::prelude::*;

    const OURS: [u8; 20] = *b"-OS0100-abcdefghijkl";

    fn reply(bytes: &[u8]) -> Reply {
        match decode(bytes, &OURS) {
            Ok(Outcome::Reply(reply)) => reply,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn appends_to_the_query_that_is_there() {
        let mut what = an_announce();
        what.infohash = InfoHash::from_bytes(*b"\x12\x34 &=?/#%+az09-._~\xff\x00");
        let url = request(&"http://t.example/announce?passkey=a%20b".parse().unwrap(), &what);
        assert_eq!(
            url.as_str(),
            "http://t.example/announce?passkey=a%20b\
             &info_hash=%124%20%26%3D%3F%2F%23%25%2Baz09-._~%FF%00\
             &peer_id=-OS0100-abcdefghijkl&port=6881&uploaded=1&downloaded=2&left=3&numwant=50\
             &key=deadbeef&compact=1&no_peer_id=1&event=started"
        );
        what.event = None;
        what.tracker_id = Some(b"a&b".to_vec());
        let url = request(&"http://t.example/announce".parse().unwrap(), &what);
        assert!(url.query().unwrap().starts_with("info_hash=%124"));
        assert!(url.query().unwrap().ends_with("&no_peer_id=1&trackerid=a%26b"));
    }

    #[test]
    fn reads_compact_peers_of_both_families() {
        let mut bytes = b"d8:completei5e10:incompletei7e8:intervali1800e12:min intervali900e\
            5:peers13:\x7f\0\0\x01\x1a\xe1\xcb\0\x71\x05\0\x50x6:peers618:"
            .to_vec();
        bytes.extend(b"\x20\x01\x0d\xb8\0\0\0\0\0\0\0\0\0\0\0\x05\x1a\xe1");
        bytes.extend(b"10:tracker id2:ab15:warning message2:hie");
        let reply = reply(&bytes);
        let peers: Vec<_> = reply.peers.iter().map(ToString::to_string).collect();
        assert_eq!(peers, ["127.0.0.1:6881", "203.0.113.5:80", "[2001:db8::5]:6881"]);
        assert_eq!((reply.interval, reply.min_interval), (Some(1800), Some(900)));
        assert_eq!((reply.seeders, reply.leechers), (Some(5), Some(7)));
        assert_eq!(reply.tracker_id.as_deref(), Some(&b"ab"[..]));
        assert_eq!(reply.warning.as_deref(), Some("hi"));
    }

    #[test]
    fn reads_listed_peers_but_no_names_and_not_itself() {
        let bytes = b"d5:peersl\
            d2:ip11:203.0.113.57:peer id20:aaaaaaaaaaaaaaaaaaaa4:porti6881ee\
            d2:ip11:203.0.113.67:peer id20:-OS0100-abcdefghijkl4:porti6881ee\
            d2:ip11:2001:db8::54:porti6882ee\
            d2:ip9:localhost4:porti6881ee\
            d2:ip11:203.0.113.74:porti65536ee\
            d2:ip11:203.0.113.84:porti-1eeee";
        let peers: Vec<_> = reply(bytes).peers.iter().map(ToString::to_string).collect();
        assert_eq!(peers, ["203.0.113.5:6881", "[2001:db8::5]:6882"]);
    }

    #[test]
    fn a_failure_is_all_there_is() {
        let failed = decode(b"d14:failure reason9:go\x01\xff away8:intervali9ee", &OURS).unwrap();
        assert_eq!(failed, Outcome::Failure("go\u{fffd}\u{fffd} away".into()));
    }

    #[test]
    fn survives_hostile_answers() {
        let bad: [&[u8]; 7] = [
            b"",
            b"<html>not found</html>",
            b"le",
            b"i1e",
            b"d5:peers99999999999:xe",
            b"d5:peersli1eee",
            b"d5:peersld2:ip1:x4:port1:yeee",
        ];
        for bytes in bad {
            assert!(decode(bytes, &OURS).is_err(), "{}", String::from_utf8_lossy(bytes));
        }
        assert!(decode(&b"l".repeat(MAX_TRACKER_REPLY), &OURS).is_err());
        let odd = b"d8:complete1:x11:external ip3:abc10:incompletei-5e8:interval2:30\
            5:peersi5e6:peers6dee";
        assert_eq!(reply(odd), Reply::default());
    }

    proptest! {
        #[test]
        fn never_panics(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = decode(&bytes, &OURS);
            let _ = decode(&[b"d5:peers", &bytes[..], b"e"].concat(), &OURS);
            let _ = decode(&[b"d5:peersl", &bytes[..], b"ee"].concat(), &OURS);
        }
    }
}
