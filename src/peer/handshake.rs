//! The first 68 bytes of a connection (BEP 3): `19`, `"BitTorrent protocol"`, 8 reserved bytes,
//! infohash, peer id.
//!
//! | reserved bit | means |
//! |---|---|
//! | byte 5, `0x10` | the extension protocol (BEP 10) |
//! | byte 7, `0x04` | the Fast extension (BEP 6) |
//! | byte 7, `0x01` | the DHT (BEP 5): the port of one's node is told to who has one, too |
//!
//! The bit of version 2 (byte 7, `0x10`) asks to go on under a hybrid's other infohash (BEP 52);
//! libtorrent hangs up on it where there is no such torrent. We never set it.

use crate::id::InfoHash;

/// Bytes of a handshake.
pub const HANDSHAKE_LEN: usize = 68;

/// Bytes of it from which the torrent is known.
pub const ROUTED_LEN: usize = 48;

const PROTOCOL: &[u8; 20] = b"\x13BitTorrent protocol";

/// Who a peer says it is.
pub type PeerId = [u8; 20];

/// One side's handshake.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Handshake {
    /// The torrent.
    pub infohash: InfoHash,
    /// Who speaks.
    pub peer_id: PeerId,
    /// Whether it speaks the extension protocol.
    pub extended: bool,
    /// Whether it speaks the Fast extension.
    pub fast: bool,
    /// Whether it takes part in the DHT.
    pub dht: bool,
}

impl Handshake {
    /// Ours, for a torrent.
    #[must_use]
    pub const fn ours(infohash: InfoHash, peer_id: PeerId, dht: bool) -> Self {
        Self { infohash, peer_id, extended: true, fast: true, dht }
    }

    /// The bytes.
    #[must_use]
    pub fn encode(&self) -> [u8; HANDSHAKE_LEN] {
        let mut reserved = [0; 8];
        let [.., extensions, _, others] = &mut reserved;
        *extensions = if self.extended { 0x10 } else { 0 };
        *others = if self.fast { 0x04 } else { 0 } | u8::from(self.dht);
        let mut out = [0; HANDSHAKE_LEN];
        let parts = [&PROTOCOL[..], &reserved, self.infohash.as_bytes(), &self.peer_id];
        for (place, byte) in out.iter_mut().zip(parts.concat()) {
            *place = byte;
        }
        out
    }

    /// The torrent, from the first [`ROUTED_LEN`] bytes; `None` if this is another protocol.
    #[must_use]
    pub fn route(bytes: &[u8; ROUTED_LEN]) -> Option<InfoHash> {
        let (protocol, rest) = bytes.split_first_chunk::<20>()?;
        let (_, infohash) = rest.split_at_checked(8)?;
        InfoHash::from_slice(infohash).filter(|_| protocol == PROTOCOL)
    }

    /// Reads a handshake; `None` if this is another protocol.
    #[must_use]
    pub fn decode(bytes: &[u8; HANDSHAKE_LEN]) -> Option<Self> {
        let (routed, peer_id) = bytes.split_first_chunk::<ROUTED_LEN>()?;
        let infohash = Self::route(routed)?;
        let reserved = routed.get(20..28)?.first_chunk::<8>()?;
        let [.., extensions, _, others] = reserved;
        Some(Self {
            infohash,
            peer_id: *peer_id.first_chunk()?,
            extended: extensions & 0x10 != 0,
            fast: others & 0x04 != 0,
            dht: others & 0x01 != 0,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_it_writes() {
        for (extended, fast) in [(false, false), (true, false), (false, true), (true, true)] {
            let infohash = InfoHash::of(b"info");
            let (peer_id, dht) = (*b"-OS0100-abcdefghijkl", extended != fast);
            let shake = Handshake { infohash, peer_id, extended, fast, dht };
            let bytes = shake.encode();
            assert_eq!(Handshake::decode(&bytes), Some(shake));
            assert_eq!(Handshake::route(bytes.first_chunk().unwrap()), Some(infohash));
        }
    }

    #[test]
    fn other_protocols_are_none() {
        let mut bytes = Handshake::ours(InfoHash::of(b"info"), [7; 20], true).encode();
        bytes[0] = 18;
        assert_eq!(Handshake::decode(&bytes), None);
        assert_eq!(Handshake::route(bytes.first_chunk().unwrap()), None);
    }
}
