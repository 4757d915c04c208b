//! Messages of the native peer protocol; [the module](super) says what is in them.

use bytes::{BufMut, Bytes, BytesMut};

use crate::bencode::{self, Dict, put_integer, put_string};
use crate::id::{BlockId, ID_LEN};
use crate::limits::{MAX_ASKED, MAX_NATIVE_QUEUE, MIN_NATIVE_QUEUE};

/// The version of the protocol that we speak. Others may add keys and messages to it, not change
/// them.
pub const VERSION: i64 = 1;

/// One message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NativeMessage {
    /// Which of these blocks are there, and if `uses`, how much they are used.
    Ask {
        /// The blocks, at most [`MAX_ASKED`].
        ids: Vec<BlockId>,
        /// Whether to tell how much they are used.
        uses: bool,
    },
    /// The answer to an ask or a push.
    Have {
        /// One bit a block, the first is the highest.
        bits: Vec<u8>,
        /// One number a block if that was asked for; empty else.
        uses: Vec<u8>,
    },
    /// Blocks that are to be sent, at most [`MAX_ASKED`].
    Want(Vec<BlockId>),
    /// A block. Whether the bytes are the right ones nobody has looked at.
    Block(BlockId, Bytes),
    /// Wanted blocks that are not there.
    Lack(Vec<BlockId>),
    /// Blocks that are not wanted any more.
    Cancel(Vec<BlockId>),
    /// A block to be kept. Whether the bytes are the right ones nobody has looked at.
    Push(BlockId, Bytes),
    /// Peers that speak the protocol, as in BEP 11; the body is read by
    /// [`pex_peers`](crate::peer::extension::pex_peers).
    Peers(Bytes),
}

/// The messages by their names in the extension handshake, and our numbers for them.
const NAMES: [(&str, u8); 8] = [
    ("off_ask", 1),
    ("off_have", 2),
    ("off_want", 3),
    ("off_block", 4),
    ("off_lack", 5),
    ("off_cancel", 6),
    ("off_push", 7),
    ("ut_pex", 8),
];

/// Bytes that are no message of the protocol.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NativeError {
    /// The part before the block is no dictionary.
    #[error("message {0} has no dictionary")]
    NoDict(u8),
    /// The ids are missing, none, too many, or cut off.
    #[error("message {0} names no blocks, too many, or parts of one")]
    Ids(u8),
    /// The bits are missing or more than for [`MAX_ASKED`] blocks.
    #[error("an answer without bits, or with too many")]
    Bits,
}

impl NativeMessage {
    /// Reads a message that came under one of our numbers, bounded by the length of `body`; `None`
    /// if the number is none of ours.
    pub fn decode(number: u8, body: &Bytes) -> Result<Option<Self>, NativeError> {
        if number == 8 {
            return Ok(Some(Self::Peers(body.clone())));
        }
        if !NAMES.iter().any(|(_, ours)| *ours == number) {
            return Ok(None);
        }
        let no_dict = NativeError::NoDict(number);
        let len = bencode::prefix_len(body).map_err(|_| no_dict)?;
        let head = Dict::check(body.get(..len).unwrap_or_default()).map_err(|_| no_dict)?;
        if !head.is_dict() {
            return Err(no_dict);
        }
        let ids = || ids(&head).ok_or(NativeError::Ids(number));
        let id = || head.string("id").and_then(BlockId::from_slice).ok_or(NativeError::Ids(number));
        let rest = body.slice(len..);
        Ok(Some(match number {
            1 => Self::Ask { ids: ids()?, uses: head.integer("u") == Some(1) },
            2 => {
                let bits = head.string("bits").filter(|bits| bits.len() <= MAX_ASKED.div_ceil(8));
                let uses = head.string("u").unwrap_or_default();
                Self::Have { bits: bits.ok_or(NativeError::Bits)?.to_vec(), uses: uses.to_vec() }
            }
            3 => Self::Want(ids()?),
            4 => Self::Block(id()?, rest),
            5 => Self::Lack(ids()?),
            6 => Self::Cancel(ids()?),
            _ => Self::Push(id()?, rest),
        }))
    }

    /// Its place in [`NAMES`].
    const fn place(&self) -> usize {
        match self {
            Self::Ask { .. } => 0,
            Self::Have { .. } => 1,
            Self::Want(_) => 2,
            Self::Block(..) => 3,
            Self::Lack(_) => 4,
            Self::Cancel(_) => 5,
            Self::Push(..) => 6,
            Self::Peers(_) => 7,
        }
    }

    /// Writes the message as the other side numbers it, all but the bytes of a block, which are
    /// given to be sent behind it. `None` if the other side does not know such a message.
    pub fn encode(self, numbers: &Numbers, out: &mut BytesMut) -> Option<Bytes> {
        let number = numbers.of(&self)?;
        let mut head = Vec::new();
        head.push(b'd');
        let mut block = Bytes::new();
        match self {
            Self::Ask { ids, uses } => {
                put_ids(&mut head, &ids);
                if uses {
                    put_string(&mut head, "u");
                    put_integer(&mut head, 1);
                }
            }
            Self::Have { bits, uses } => {
                put_string(&mut head, "bits");
                put_string(&mut head, bits);
                if !uses.is_empty() {
                    put_string(&mut head, "u");
                    put_string(&mut head, uses);
                }
            }
            Self::Want(ids) | Self::Lack(ids) | Self::Cancel(ids) => put_ids(&mut head, &ids),
            Self::Block(id, bytes) | Self::Push(id, bytes) => {
                put_string(&mut head, "id");
                put_string(&mut head, id.as_bytes());
                block = bytes;
            }
            Self::Peers(body) => {
                put_head(out, number, body.len());
                out.put_slice(&body);
                return Some(block);
            }
        }
        head.push(b'e');
        put_head(out, number, head.len() + block.len());
        out.put_slice(&head);
        Some(block)
    }
}

/// The length of a message of the extension protocol, and what stands before its body.
fn put_head(out: &mut BytesMut, number: u8, body: usize) {
    // A block and its head are far below 4 GiB.
    out.put_u32(u32::try_from(body + 2).unwrap_or(u32::MAX));
    out.put_slice(&[20, number]);
}

fn put_ids(head: &mut Vec<u8>, ids: &[BlockId]) {
    let bytes: Vec<u8> = ids.iter().flat_map(|id| *id.as_bytes()).collect();
    put_string(head, "ids");
    put_string(head, bytes);
}

fn ids(head: &Dict<'_>) -> Option<Vec<BlockId>> {
    let (ids, cut_off) = head.string("ids")?.as_chunks::<ID_LEN>();
    let count = 1..=MAX_ASKED;
    let are_ids = cut_off.is_empty() && count.contains(&ids.len());
    are_ids.then(|| ids.iter().map(|id| BlockId::from_bytes(*id)).collect())
}

/// The numbers of the other side for messages; 0 stands for one that it does not know.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Numbers([u8; NAMES.len()]);

impl Numbers {
    /// Ours, as whoever reads our handshake sees them.
    #[must_use]
    pub fn ours() -> Self {
        Self(NAMES.map(|(_, number)| number))
    }

    fn of(self, message: &NativeMessage) -> Option<u8> {
        self.0.get(message.place()).copied().filter(|number| *number > 0)
    }

    /// Whether it knows how to be given blocks.
    fn know_pushes(self) -> bool {
        self.0.get(6).is_some_and(|number| *number > 0)
    }

    /// Whether it knows all that is needed to ask for blocks and to be asked.
    #[must_use]
    pub fn suffice(self) -> bool {
        self.0.iter().take(5).all(|number| *number > 0)
    }
}

/// What the other side said of itself in the extension handshake.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NativeHello {
    /// Its numbers for messages.
    pub numbers: Numbers,
    /// The port it listens on.
    pub port: Option<u16>,
    /// Wanted blocks it lets wait.
    pub queue: usize,
    /// Whether it keeps blocks of others.
    pub hosts: bool,
}

impl NativeHello {
    /// Reads what a peer said. What makes no sense is left out; `None` if it speaks no version of the
    /// protocol that is understood.
    #[must_use]
    pub fn decode(body: &[u8]) -> Option<Self> {
        let dict = Dict::check(body).ok()?;
        let off = dict.dict("off").filter(|off| off.integer("v") == Some(VERSION))?;
        let named = dict.dict("m")?;
        let number = |(name, _)| named.integer(name).and_then(|n| u8::try_from(n).ok());
        let numbers = Numbers(NAMES.map(|one| number(one).unwrap_or(0)));
        let queue = dict.integer("reqq").and_then(|n| usize::try_from(n).ok()).filter(|n| *n > 0);
        Some(Self {
            numbers,
            port: dict.integer("p").and_then(|n| u16::try_from(n).ok()).filter(|port| *port > 0),
            queue: queue.unwrap_or(MIN_NATIVE_QUEUE).min(MAX_NATIVE_QUEUE),
            hosts: off.integer("h") == Some(1) && numbers.know_pushes(),
        })
    }

    /// Our handshake as a whole message: `port` is where we listen (0: nowhere), `hosts` whether
    /// blocks of others are kept.
    #[must_use]
    pub fn ours(port: u16, hosts: bool) -> Bytes {
        let mut body = b"d1:md".to_vec();
        let mut names = NAMES;
        names.sort_unstable();
        for (name, number) in names {
            put_string(&mut body, name);
            put_integer(&mut body, number.into());
        }
        body.extend_from_slice(b"e3:offd1:h");
        put_integer(&mut body, hosts.into());
        body.extend_from_slice(b"1:vi1ee");
        if port > 0 {
            put_string(&mut body, "p");
            put_integer(&mut body, port.into());
        }
        put_string(&mut body, "reqq");
        put_integer(&mut body, MAX_NATIVE_QUEUE as u64);
        put_string(&mut body, "v");
        put_string(&mut body, concat!("offswarm ", env!("CARGO_PKG_VERSION")));
        body.push(b'e');
        let mut out = BytesMut::new();
        put_head(&mut out, super::super::extension::HANDSHAKE, body.len());
        out.put_slice(&body);
        out.freeze()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::peer::message::{self, Message};
    use proptest::prelude::*;

    fn id(n: u8) -> BlockId {
        BlockId::from_bytes([n; 32])
    }

    /// As it goes over the wire and comes out on the other side.
    fn passed(message: NativeMessage) -> Result<Option<NativeMessage>, NativeError> {
        let mut wire = BytesMut::new();
        let block = message.encode(&Numbers::ours(), &mut wire).unwrap();
        wire.extend_from_slice(&block);
        let Message::Extended(number, body) = message::decode(&mut wire).unwrap().unwrap() else {
            panic!("no extension message");
        };
        assert!(wire.is_empty());
        NativeMessage::decode(number, &body)
    }

    fn any_message() -> impl Strategy<Value = NativeMessage> {
        use NativeMessage as M;
        let one = any::<[u8; 32]>().prop_map(BlockId::from_bytes);
        let some = proptest::collection::vec(one.clone(), 1..40);
        let bytes = proptest::collection::vec(any::<u8>(), 0..300);
        let raw = bytes.clone().prop_map(Bytes::from);
        prop_oneof![
            (some.clone(), any::<bool>()).prop_map(|(ids, uses)| M::Ask { ids, uses }),
            (bytes.clone(), bytes.clone()).prop_map(|(mut bits, uses)| {
                bits.truncate(128);
                M::Have { bits, uses }
            }),
            some.clone().prop_map(M::Want),
            (one.clone(), raw.clone()).prop_map(|(id, bytes)| M::Block(id, bytes)),
            some.clone().prop_map(M::Lack),
            some.prop_map(M::Cancel),
            (one, raw.clone()).prop_map(|(id, bytes)| M::Push(id, bytes)),
            raw.prop_map(M::Peers),
        ]
    }

    proptest! {
        #[test]
        fn reads_what_it_writes(message in any_message()) {
            prop_assert_eq!(passed(message.clone()), Ok(Some(message)));
        }

        #[test]
        fn takes_any_bytes(number in 0..12_u8, body in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = NativeMessage::decode(number, &body.clone().into());
            let _ = NativeHello::decode(&body);
        }
    }

    #[test]
    fn our_handshake_is_understood() {
        let mut wire = BytesMut::from(&NativeHello::ours(6881, true)[..]);
        let Ok(Some(Message::Extended(0, body))) = message::decode(&mut wire) else {
            panic!("no handshake");
        };
        bencode::check(&body).unwrap();
        let hello = NativeHello::decode(&body).unwrap();
        assert!(hello.numbers == Numbers::ours() && hello.numbers.suffice() && hello.hosts);
        assert_eq!((hello.port, hello.queue), (Some(6881), MAX_NATIVE_QUEUE));
    }

    #[test]
    fn other_handshakes_are_none() {
        for body in [
            &b"d1:md6:off_aski1eee"[..],
            b"d1:mde3:offd1:vi2eee",
            b"d3:offd1:vi1eee",
            b"le",
            b"",
            b"d1:mde3:offd1:vi1ee",
        ] {
            assert_eq!(NativeHello::decode(body), None, "{}", body.escape_ascii());
        }
        let hello = NativeHello::decode(b"d1:md7:off_aski300ee3:offd1:vi1ee1:pi0e4:reqqi-1ee");
        let hello = hello.unwrap();
        assert!(!hello.numbers.suffice() && !hello.hosts);
        assert_eq!((hello.port, hello.queue), (None, MIN_NATIVE_QUEUE));
    }

    #[test]
    fn ids_are_whole_and_few() {
        let body = |ids: &[u8]| {
            let mut body = b"d3:ids".to_vec();
            put_string(&mut body, ids);
            body.push(b'e');
            NativeMessage::decode(3, &body.into())
        };
        assert_eq!(body(&[]), Err(NativeError::Ids(3)));
        assert_eq!(body(&[7; 33]), Err(NativeError::Ids(3)));
        assert_eq!(body(&[7; 64]), Ok(Some(NativeMessage::Want(vec![id(7), id(7)]))));
        assert!(body(&vec![7; 32 * MAX_ASKED]).is_ok());
        assert_eq!(body(&vec![7; 32 * (MAX_ASKED + 1)]), Err(NativeError::Ids(3)));
        let bare = NativeMessage::decode(4, &Bytes::from_static(b"d2:id3:abce"));
        assert_eq!(bare, Err(NativeError::Ids(4)));
        let bits = NativeMessage::decode(2, &Bytes::from_static(b"de"));
        assert_eq!(bits, Err(NativeError::Bits));
        assert_eq!(NativeMessage::decode(1, &Bytes::new()), Err(NativeError::NoDict(1)));
        assert_eq!(NativeMessage::decode(9, &Bytes::new()), Ok(None));
    }

    #[test]
    fn what_the_other_side_does_not_know_is_not_sent() {
        let numbers = Numbers([1, 2, 3, 4, 5, 0, 0, 0]);
        let mut out = BytesMut::new();
        assert!(numbers.suffice());
        assert_eq!(NativeMessage::Cancel(vec![id(1)]).encode(&numbers, &mut out), None);
        assert!(out.is_empty());
    }
}
