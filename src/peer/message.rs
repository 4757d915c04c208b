//! The messages of the peer protocol: BEP 3, the Fast extension (BEP 6), the extension protocol
//! (BEP 10) and the hashes of version 2 (BEP 52).
//!
//! On the wire each has its length in 4 bytes, big endian, then a byte that says which it is, then
//! its fields, each 4 bytes, big endian. A length of 0 is a keep-alive.
//!
//! | id | message | fields |
//! |---|---|---|
//! | 0, 1, 2, 3 | choke, unchoke, interested, not interested | |
//! | 4 | have | piece |
//! | 5 | bitfield | a bit a piece |
//! | 6, 8, 16 | request, cancel, reject | piece, offset, length |
//! | 7 | piece | piece, offset, the bytes |
//! | 9 | port | the UDP port of the sender's DHT node (BEP 5), 2 bytes |
//! | 13, 17 | suggest, allowed fast | piece |
//! | 14, 15 | have all, have none | |
//! | 20 | extended | one byte: which; then its body |
//! | 21, 23 | hash request, hash reject | root (32 bytes), base layer, index, length, proof layers |
//! | 22 | hashes | the same, then the hashes |
//!
//! Other ids are skipped, as BEP 3 clients do. A message longer than [`MAX_MESSAGE_LEN`] ends the connection before it is read.

use bytes::{Buf, BufMut, Bytes, BytesMut};

use crate::limits::MAX_MESSAGE_LEN;

use super::pieces::Chunk;

/// One message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Message {
    /// Nothing, so that the connection is not closed.
    KeepAlive,
    /// Requests are not answered any more.
    Choke,
    /// Requests are answered.
    Unchoke,
    /// The other side has something this one wants.
    Interested,
    /// It has not.
    NotInterested,
    /// A piece has come.
    Have(u32),
    /// The pieces that are here.
    Bitfield(Bytes),
    /// Asks for a chunk.
    Request(Chunk),
    /// A chunk.
    Piece {
        /// Which piece it is of.
        piece: u32,
        /// Bytes of the piece before it.
        offset: u32,
        /// Its bytes.
        bytes: Bytes,
    },
    /// Takes a request back.
    Cancel(Chunk),
    /// Every piece is here.
    HaveAll,
    /// No piece is here.
    HaveNone,
    /// A request is not answered.
    Reject(Chunk),
    /// A piece that may be asked for while choked.
    AllowedFast(u32),
    /// Where the sender's node of the DHT listens (UDP).
    Port(u16),
    /// A message of an extension: its number, and its body.
    Extended(u8, Bytes),
    /// Asks for hashes of a version 2 torrent.
    HashRequest(HashRange),
    /// Such hashes, 32 bytes each.
    Hashes(HashRange, Bytes),
    /// They are not given.
    HashReject(HashRange),
    /// Anything else.
    Other(u8),
}

/// Which hashes of a merkle tree (BEP 52).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HashRange {
    /// The root of the tree.
    pub root: [u8; 32],
    /// The layer, 0 being that of the 16 KiB leaves.
    pub base: u32,
    /// The first hash in the layer.
    pub index: u32,
    /// How many.
    pub length: u32,
    /// Layers of uncles that prove them.
    pub proofs: u32,
}

/// Bytes that are no message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum WireError {
    /// Longer than any message we take.
    #[error("a message of {0} bytes (limit {MAX_MESSAGE_LEN})")]
    TooLong(u32),
    /// Shorter or longer than such a message is.
    #[error("message {id} has {len} bytes")]
    Length {
        /// Which message.
        id: u8,
        /// Bytes of its fields.
        len: usize,
    },
}

/// Takes the next message out of `buffer`; `None` if it has not all come.
pub fn decode(buffer: &mut BytesMut) -> Result<Option<Message>, WireError> {
    let Some(prefix) = buffer.first_chunk::<4>() else {
        return Ok(None);
    };
    let len = u32::from_be_bytes(*prefix);
    if len > MAX_MESSAGE_LEN {
        return Err(WireError::TooLong(len));
    }
    let whole = 4 + len as usize;
    if buffer.len() < whole {
        // Room for all of it at once; bounded above.
        buffer.reserve(whole - buffer.len());
        return Ok(None);
    }
    let mut body = buffer.split_to(whole).freeze();
    body.advance(4);
    if body.is_empty() {
        return Ok(Some(Message::KeepAlive));
    }
    let id = body.get_u8();
    fields(id, body).map(Some)
}

fn fields(id: u8, mut body: Bytes) -> Result<Message, WireError> {
    let len = body.len();
    let wrong = WireError::Length { id, len };
    let exactly = |expected: usize| if len == expected { Ok(()) } else { Err(wrong) };
    Ok(match id {
        0..=3 | 14 | 15 => {
            exactly(0)?;
            match id {
                0 => Message::Choke,
                1 => Message::Unchoke,
                2 => Message::Interested,
                3 => Message::NotInterested,
                14 => Message::HaveAll,
                _ => Message::HaveNone,
            }
        }
        4 | 17 => {
            exactly(4)?;
            let piece = body.get_u32();
            if id == 4 { Message::Have(piece) } else { Message::AllowedFast(piece) }
        }
        5 => Message::Bitfield(body),
        6 | 8 | 16 => {
            exactly(12)?;
            let chunk =
                Chunk { piece: body.get_u32(), offset: body.get_u32(), len: body.get_u32() };
            match id {
                6 => Message::Request(chunk),
                8 => Message::Cancel(chunk),
                _ => Message::Reject(chunk),
            }
        }
        7 if len >= 8 => {
            Message::Piece { piece: body.get_u32(), offset: body.get_u32(), bytes: body }
        }
        9 => {
            exactly(2)?;
            Message::Port(body.get_u16())
        }
        20 if len >= 1 => Message::Extended(body.get_u8(), body),
        21..=23 => {
            let range = HashRange::decode(&mut body).ok_or(wrong)?;
            match id {
                21 if body.is_empty() => Message::HashRequest(range),
                22 => Message::Hashes(range, body),
                23 if body.is_empty() => Message::HashReject(range),
                _ => return Err(wrong),
            }
        }
        7 | 20 => return Err(wrong),
        _ => Message::Other(id),
    })
}

impl HashRange {
    const LEN: usize = 32 + 4 * 4;

    fn decode(body: &mut Bytes) -> Option<Self> {
        if body.len() < Self::LEN {
            return None;
        }
        let mut root = [0; 32];
        body.copy_to_slice(&mut root);
        let (base, index) = (body.get_u32(), body.get_u32());
        Some(Self { root, base, index, length: body.get_u32(), proofs: body.get_u32() })
    }

    fn encode(&self, out: &mut BytesMut) {
        out.put_slice(&self.root);
        for field in [self.base, self.index, self.length, self.proofs] {
            out.put_u32(field);
        }
    }
}

impl Message {
    /// Writes the message.
    pub fn encode(&self, out: &mut BytesMut) {
        match self {
            Self::KeepAlive => out.put_u32(0),
            Self::Choke => head(out, 0, 0),
            Self::Unchoke => head(out, 1, 0),
            Self::Interested => head(out, 2, 0),
            Self::NotInterested => head(out, 3, 0),
            Self::Have(piece) => number(out, 4, *piece),
            Self::Bitfield(bits) => {
                head(out, 5, bits.len());
                out.put_slice(bits);
            }
            Self::Request(asked) => chunk(out, 6, *asked),
            Self::Piece { piece, offset, bytes } => {
                head(out, 7, 8 + bytes.len());
                out.put_u32(*piece);
                out.put_u32(*offset);
                out.put_slice(bytes);
            }
            Self::Cancel(asked) => chunk(out, 8, *asked),
            Self::HaveAll => head(out, 14, 0),
            Self::HaveNone => head(out, 15, 0),
            Self::Reject(asked) => chunk(out, 16, *asked),
            Self::AllowedFast(piece) => number(out, 17, *piece),
            Self::Extended(which, body) => {
                head(out, 20, 1 + body.len());
                out.put_u8(*which);
                out.put_slice(body);
            }
            Self::Port(port) => {
                head(out, 9, 2);
                out.put_u16(*port);
            }
            Self::HashRequest(range) => hashes(out, 21, range, &[]),
            Self::Hashes(range, found) => hashes(out, 22, range, found),
            Self::HashReject(range) => hashes(out, 23, range, &[]),
            Self::Other(id) => head(out, *id, 0),
        }
    }
}

fn head(out: &mut BytesMut, id: u8, fields: usize) {
    // Everything we send is far below 4 GiB.
    out.put_u32(u32::try_from(fields + 1).unwrap_or(u32::MAX));
    out.put_u8(id);
}

fn number(out: &mut BytesMut, id: u8, field: u32) {
    head(out, id, 4);
    out.put_u32(field);
}

fn chunk(out: &mut BytesMut, id: u8, chunk: Chunk) {
    head(out, id, 12);
    for field in [chunk.piece, chunk.offset, chunk.len] {
        out.put_u32(field);
    }
}

fn hashes(out: &mut BytesMut, id: u8, range: &HashRange, found: &[u8]) {
    head(out, id, HashRange::LEN + found.len());
    range.encode(out);
    out.put_slice(found);
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn decode_all(bytes: &[u8]) -> Result<Vec<Message>, WireError> {
        let mut buffer = BytesMut::from(bytes);
        let mut found = Vec::new();
        while let Some(message) = decode(&mut buffer)? {
            found.push(message);
        }
        Ok(found)
    }

    fn any_message() -> impl Strategy<Value = Message> {
        let bytes = proptest::collection::vec(any::<u8>(), 0..50).prop_map(Bytes::from);
        let chunk =
            any::<(u32, u32, u32)>().prop_map(|(piece, offset, len)| Chunk { piece, offset, len });
        let range = any::<([u8; 32], u32, u32, u32, u32)>().prop_map(
            |(root, base, index, length, proofs)| HashRange { root, base, index, length, proofs },
        );
        prop_oneof![
            Just(Message::KeepAlive),
            Just(Message::Choke),
            Just(Message::Unchoke),
            Just(Message::Interested),
            Just(Message::NotInterested),
            Just(Message::HaveAll),
            Just(Message::HaveNone),
            Just(Message::Other(10)),
            any::<u16>().prop_map(Message::Port),
            any::<u32>().prop_map(Message::Have),
            any::<u32>().prop_map(Message::AllowedFast),
            bytes.clone().prop_map(Message::Bitfield),
            chunk.clone().prop_map(Message::Request),
            chunk.clone().prop_map(Message::Cancel),
            chunk.prop_map(Message::Reject),
            (any::<u32>(), any::<u32>(), bytes.clone())
                .prop_map(|(piece, offset, bytes)| Message::Piece { piece, offset, bytes }),
            (any::<u8>(), bytes.clone()).prop_map(|(id, body)| Message::Extended(id, body)),
            range.clone().prop_map(Message::HashRequest),
            range.clone().prop_map(Message::HashReject),
            (range, bytes).prop_map(|(range, found)| Message::Hashes(range, found)),
        ]
    }

    proptest! {
        #[test]
        fn reads_what_it_writes(messages in proptest::collection::vec(any_message(), 0..5)) {
            let mut out = BytesMut::new();
            for message in &messages {
                message.encode(&mut out);
            }
            prop_assert_eq!(decode_all(&out), Ok(messages));
        }

        #[test]
        fn takes_any_bytes(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = decode_all(&bytes);
        }
    }

    #[test]
    fn refuses_absurd_lengths_before_it_reads_on() {
        assert_eq!(decode_all(&[0xFF; 4]), Err(WireError::TooLong(u32::MAX)));
        assert_eq!(decode_all(&[0, 0, 0, 4, 4, 0, 0, 0]), Err(WireError::Length { id: 4, len: 3 }));
        assert_eq!(decode_all(&[0, 0, 0, 1, 7]), Err(WireError::Length { id: 7, len: 0 }));
        assert_eq!(decode_all(&[0, 0, 0, 1, 20]), Err(WireError::Length { id: 20, len: 0 }));
        assert_eq!(decode_all(&[0, 0, 0, 9, 6]), Ok(vec![]));
    }
}
