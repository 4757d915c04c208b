//! Datagrams to bytes and back: the table is in the module above.

use url::Url;

use super::super::{Announce, Event, Reply};
use crate::address::all_from_compact;
use crate::limits::MAX_UDP_URL_DATA;

pub(super) const PROTOCOL: u64 = 0x0417_2710_1980;
pub(super) const CONNECT: u32 = 0;
pub(super) const ANNOUNCE: u32 = 1;
pub(super) const ERROR: u32 = 3;

/// What is announced, and how.
#[derive(Debug, Clone)]
pub struct Request<'a> {
    /// What the tracker is told.
    pub what: &'a Announce,
    /// Path and query of its URL, or nothing.
    pub url_data: String,
    /// Whether it is asked over IPv6.
    pub ipv6: bool,
}

/// The path and query that a URL's announces carry: none for a bare `udp://host:port`.
#[must_use]
pub fn url_data(url: &Url) -> String {
    let query = url.query().map(|query| format!("?{query}")).unwrap_or_default();
    let data = format!("{}{query}", url.path());
    if data == "/" || data.len() > MAX_UDP_URL_DATA { String::new() } else { data }
}

/// The datagram that asks for a connection id.
#[must_use]
pub fn encode_connect(transaction: u32) -> Vec<u8> {
    [&PROTOCOL.to_be_bytes()[..], &CONNECT.to_be_bytes(), &transaction.to_be_bytes()].concat()
}

/// The datagram that announces.
#[must_use]
pub fn encode_announce(connection: u64, transaction: u32, request: &Request<'_>) -> Vec<u8> {
    let Announce { infohash, peer_id, port, uploaded, downloaded, left, event, want, key, .. } =
        request.what;
    let event: u32 = match event {
        None => 0,
        Some(Event::Completed) => 1,
        Some(Event::Started) => 2,
        Some(Event::Stopped) => 3,
    };
    let mut out = Vec::with_capacity(98 + request.url_data.len() + 16);
    out.extend(connection.to_be_bytes());
    out.extend(ANNOUNCE.to_be_bytes());
    out.extend(transaction.to_be_bytes());
    out.extend(infohash.as_bytes());
    out.extend(peer_id);
    out.extend(downloaded.to_be_bytes());
    out.extend(left.to_be_bytes());
    out.extend(uploaded.to_be_bytes());
    out.extend(event.to_be_bytes());
    // Our address is where the datagram comes from.
    out.extend(0_u32.to_be_bytes());
    out.extend(key.to_be_bytes());
    out.extend(want.to_be_bytes());
    out.extend(port.to_be_bytes());
    put_url_data(&mut out, &request.url_data);
    out
}

/// BEP 41: options of a type, a length and as many bytes. The end is that of the datagram.
fn put_url_data(out: &mut Vec<u8>, url_data: &str) {
    const URL_DATA: u8 = 2;
    for part in url_data.as_bytes().chunks(usize::from(u8::MAX)) {
        out.push(URL_DATA);
        out.extend(u8::try_from(part.len()));
        out.extend(part);
    }
}

pub(super) fn decode_announced(mut reader: Reader<'_>, ipv6: bool) -> Option<Reply> {
    let (interval, leechers, seeders) = (reader.u32()?, reader.u32()?, reader.u32()?);
    let peers = if ipv6 {
        all_from_compact::<18>(reader.0).collect()
    } else {
        all_from_compact::<6>(reader.0).collect()
    };
    Some(Reply {
        interval: Some(interval.into()),
        peers,
        seeders: Some(seeders.into()),
        leechers: Some(leechers.into()),
        ..Reply::default()
    })
}

/// What is left of a datagram.
pub(super) struct Reader<'a>(pub(super) &'a [u8]);

impl Reader<'_> {
    fn take<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (first, rest) = self.0.split_first_chunk()?;
        self.0 = rest;
        Some(*first)
    }

    pub(super) fn u32(&mut self) -> Option<u32> {
        self.take().map(u32::from_be_bytes)
    }

    pub(super) fn u64(&mut self) -> Option<u64> {
        self.take().map(u64::from_be_bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::super::super::tests::an_announce;
    use super::*;

    const ID: u64 = 0x0102_0304_0506_0708;

    #[test]
    fn announces_as_the_table_says() {
        let what = an_announce();
        let request = Request { what: &what, url_data: String::new(), ipv6: false };
        let bytes = encode_announce(ID, 7, &request);
        let (head, tail) = bytes.split_at(56);
        let ids = [what.infohash.as_bytes(), &what.peer_id[..]].concat();
        assert_eq!(head, [&ID.to_be_bytes()[..], &[0, 0, 0, 1, 0, 0, 0, 7], &ids].concat());
        assert_eq!(
            tail,
            b"\0\0\0\0\0\0\0\x02\0\0\0\0\0\0\0\x03\0\0\0\0\0\0\0\x01\0\0\0\x02\0\0\0\0\
              \xde\xad\xbe\xef\0\0\0\x32\x1a\xe1"
        );
    }

    #[test]
    fn carries_path_and_query_in_options() {
        let of = |url: &str| url_data(&url.parse().unwrap());
        assert_eq!(of("udp://t.example:80"), "");
        assert_eq!(of("udp://t.example:80/"), "");
        assert_eq!(of("udp://t.example:80/announce?k=1"), "/announce?k=1");
        assert_eq!(of(&format!("udp://t.example:80/{}", "x".repeat(MAX_UDP_URL_DATA))), "");
        let mut out = Vec::new();
        put_url_data(&mut out, &"x".repeat(300));
        assert_eq!((out.len(), &out[..2], &out[257..259]), (304, &[2, 255][..], &[2, 45][..]));
    }

    #[test]
    fn reads_peers_of_the_family_it_was_asked_over() {
        let peer = b"\x20\x01\x0d\xb8\0\0\0\0\0\0\0\0\0\0\0\x05\x1a\xe1";
        let bytes = [&[0; 12][..], peer].concat();
        let peers = decode_announced(Reader(&bytes), true).unwrap().peers;
        assert_eq!(peers, ["[2001:db8::5]:6881".parse().unwrap()]);
    }
}
