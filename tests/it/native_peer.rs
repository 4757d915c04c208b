//! A native peer written by hand from the description of the wire, with a bare socket: it shares no
//! code with ours, so that a mistake of ours is not one of both sides.

use std::collections::BTreeMap;
use std::io::Write;
use std::path::Path;

use offswarm::client::{Client, Settings};
use offswarm::id::BlockId;
use offswarm::off::OffUrl;

use crate::peer_wire::{EXTENDED, Peer, extended};
use crate::program::{Place, Seeder};

/// SHA-1 of "offswarm native 1".
pub(crate) const NATIVE: &str = "776a67d6bf07e1231ee02a97232daf2a042e8751";

pub(crate) const NAMES: [&str; 8] = [
    "off_ask",
    "off_have",
    "off_want",
    "off_block",
    "off_lack",
    "off_cancel",
    "off_push",
    "ut_pex",
];

/// What we call the messages, other numbers than anybody would choose.
const FIRST_NUMBER: u8 = 101;

/// A bencoded value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Value {
    Integer(i64),
    Bytes(Vec<u8>),
    List(Vec<Value>),
    Dict(BTreeMap<Vec<u8>, Value>),
}

impl Value {
    /// The value that `bytes` begin with, and its length.
    pub(crate) fn read(bytes: &[u8]) -> (Self, usize) {
        let find = |end: u8| bytes.iter().position(|byte| *byte == end).unwrap();
        let number = |from: usize, to: usize| {
            std::str::from_utf8(&bytes[from..to]).unwrap().parse::<i64>().unwrap()
        };
        match bytes[0] {
            b'i' => (Self::Integer(number(1, find(b'e'))), find(b'e') + 1),
            b'l' | b'd' => {
                let (mut items, mut at) = (Vec::new(), 1);
                while bytes[at] != b'e' {
                    let (item, len) = Self::read(&bytes[at..]);
                    items.push(item);
                    at += len;
                }
                let value = if bytes[0] == b'l' { Self::List(items) } else { pairs(&items) };
                (value, at + 1)
            }
            _ => {
                let colon = find(b':');
                let end = colon + 1 + usize::try_from(number(0, colon)).unwrap();
                (Self::Bytes(bytes[colon + 1..end].to_vec()), end)
            }
        }
    }

    /// What a dictionary has at a key.
    pub(crate) fn at(&self, key: &str) -> Option<&Self> {
        match self {
            Self::Dict(entries) => entries.get(key.as_bytes()),
            _ => None,
        }
    }

    pub(crate) fn integer(&self, key: &str) -> Option<i64> {
        match self.at(key)? {
            Self::Integer(number) => Some(*number),
            _ => None,
        }
    }

    pub(crate) fn bytes(&self, key: &str) -> Option<&[u8]> {
        match self.at(key)? {
            Self::Bytes(bytes) => Some(bytes),
            _ => None,
        }
    }

    /// The ids at the key `ids`.
    pub(crate) fn ids(&self) -> Vec<BlockId> {
        let ids = self.bytes("ids").unwrap_or_default().chunks(32);
        ids.map(|id| BlockId::from_slice(id).unwrap()).collect()
    }
}

/// A dictionary, whose keys must be in order.
fn pairs(items: &[Value]) -> Value {
    let mut entries = BTreeMap::new();
    for pair in items.chunks(2) {
        let [Value::Bytes(key), value] = pair else { panic!("a key that is no string") };
        assert!(entries.keys().next_back().is_none_or(|last| last < key), "keys out of order");
        entries.insert(key.clone(), value.clone());
    }
    Value::Dict(entries)
}

pub(crate) fn string(bytes: &[u8]) -> Vec<u8> {
    [format!("{}:", bytes.len()).as_bytes(), bytes].concat()
}

/// A dictionary that names blocks, and has `more` behind that.
pub(crate) fn names_blocks(ids: &[BlockId], more: &str) -> Vec<u8> {
    let ids: Vec<u8> = ids.iter().flat_map(|id| *id.as_bytes()).collect();
    [&b"d3:ids"[..], &string(&ids), more.as_bytes(), b"e"].concat()
}

/// What comes with a block.
pub(crate) fn with_block(id: BlockId, bytes: &[u8]) -> Vec<u8> {
    [&b"d2:id32:"[..], id.as_bytes(), b"e", bytes].concat()
}

/// Bits, the first is the highest of the first byte.
pub(crate) fn bits(have: &[bool]) -> Vec<u8> {
    let byte =
        |eight: &[bool]| (0..8).map(|at| u8::from(eight.get(at) == Some(&true)) << (7 - at)).sum();
    have.chunks(8).map(byte).collect()
}

/// The body of a handshake that names our numbers.
pub(crate) fn hello(more: &str) -> Vec<u8> {
    let mut named: Vec<_> = (FIRST_NUMBER..).zip(NAMES).map(|(n, name)| (name, n)).collect();
    named.sort_unstable();
    let named = named.iter().map(|(name, n)| format!("{}:{name}i{n}e", name.len()));
    format!("d1:md{}e3:offd1:hi0e1:vi1ee{more}e", named.collect::<String>()).into_bytes()
}

/// A message from the program: the name under which we offered it, what was said, and what stood
/// behind that.
#[derive(Debug)]
pub(crate) struct Said {
    pub(crate) name: &'static str,
    pub(crate) head: Value,
    pub(crate) rest: Vec<u8>,
}

/// A connection to the program on which both sides have introduced themselves.
pub(crate) struct Native {
    pub(crate) peer: Peer,
    /// How the program introduced itself.
    pub(crate) theirs: Value,
}

impl Native {
    /// Connects to where the program listens.
    pub(crate) fn connect(address: &str) -> Self {
        Self::connect_with(address, &hello("4:reqqi16e")).unwrap()
    }

    /// The same, introducing itself in other words.
    pub(crate) fn connect_with(address: &str, hello: &[u8]) -> Option<Self> {
        Self::meet(Peer::connect(address, NATIVE)?, hello)
    }

    /// Introduces itself on a connection whose first handshakes are done.
    pub(crate) fn meet(mut peer: Peer, hello: &[u8]) -> Option<Self> {
        peer.0.write_all(&extended(0, hello)).ok()?;
        let (id, body) = peer.receive()?;
        assert_eq!((id, body.first()), (EXTENDED, Some(&0)), "the handshake comes first");
        let (theirs, len) = Value::read(&body[1..]);
        assert_eq!(len, body.len() - 1, "nothing stands behind the handshake");
        Some(Self { peer, theirs })
    }

    /// The number by which the program wants to hear of something.
    pub(crate) fn number(&self, name: &str) -> u8 {
        u8::try_from(self.theirs.at("m").unwrap().integer(name).unwrap()).unwrap()
    }

    /// A whole message, to be sent.
    pub(crate) fn frame(&self, name: &str, body: &[u8]) -> Vec<u8> {
        extended(self.number(name), body)
    }

    pub(crate) fn say(&mut self, name: &str, body: &[u8]) -> std::io::Result<()> {
        let frame = self.frame(name, body);
        self.peer.0.write_all(&frame)
    }

    /// The next message; nothing at the end.
    pub(crate) fn hear(&mut self) -> Option<Said> {
        let (id, body) = self.peer.receive()?;
        assert_eq!(id, EXTENDED, "only extension messages come");
        let name = NAMES[usize::from(body[0].checked_sub(FIRST_NUMBER).unwrap())];
        let (head, len) = Value::read(&body[1..]);
        Some(Said { name, head, rest: body[1 + len..].to_vec() })
    }

    /// The next message, which must be this one.
    #[track_caller]
    pub(crate) fn hear_of(&mut self, name: &str) -> Said {
        let said = self.hear().expect("the connection to last");
        assert_eq!(said.name, name, "{:?}", said.head);
        said
    }

    /// Asks which of these blocks are there, and how much they are used: bits and numbers.
    #[track_caller]
    pub(crate) fn ask(&mut self, ids: &[BlockId]) -> (Vec<u8>, Vec<u8>) {
        self.say("off_ask", &names_blocks(ids, "1:ui1e")).unwrap();
        let told = self.hear_of("off_have").head;
        (told.bytes("bits").unwrap().to_vec(), told.bytes("u").unwrap().to_vec())
    }

    /// Whether a block is kept that is given away.
    #[track_caller]
    pub(crate) fn push(&mut self, block: &[u8]) -> bool {
        self.say("off_push", &with_block(BlockId::of(block), block)).unwrap();
        let told = self.hear_of("off_have").head;
        assert_eq!(told.at("u"), None);
        match told.bytes("bits").unwrap() {
            [0x80] => true,
            [0] => false,
            other => panic!("{other:?} is not one bit"),
        }
    }

    /// One block, if it is there.
    #[track_caller]
    pub(crate) fn want(&mut self, id: BlockId) -> Option<Vec<u8>> {
        self.say("off_want", &names_blocks(&[id], "")).unwrap();
        let said = self.hear().expect("the connection to last");
        match said.name {
            "off_block" => {
                assert_eq!(said.head.bytes("id"), Some(&id.as_bytes()[..]));
                assert_eq!(BlockId::of(&said.rest), id, "the bytes are the block's");
                Some(said.rest)
            }
            "off_lack" => {
                assert_eq!(said.head.ids(), [id]);
                None
            }
            other => panic!("{other} is no answer"),
        }
    }
}

/// A URL, its blocks, and who serves them.
pub(crate) struct Shared {
    pub(crate) url: String,
    pub(crate) ids: Vec<BlockId>,
    pub(crate) blocks: Vec<Vec<u8>>,
}

impl Shared {
    /// Puts a file into a home that nobody serves from yet.
    pub(crate) fn put(place: &Place, home: &str, file: &Path) -> Self {
        let url = place.put(home, file);
        let client = Client::open_existing(&place.path(home), &Settings::default()).unwrap();
        let ids = client.survey(&OffUrl::parse(&url).unwrap()).unwrap().order;
        let bytes = |id| client.store().get(id).unwrap().unwrap().contents().to_vec();
        let blocks = ids.iter().map(bytes).collect();
        Self { url, ids, blocks }
    }

    /// The first one, which is the descriptor.
    pub(crate) fn first(&self) -> (BlockId, Vec<u8>) {
        (self.ids[0], self.blocks[0].clone())
    }

    /// Serves them from a home.
    pub(crate) fn seed<'a>(
        &self,
        place: &Place,
        home: &str,
        more: impl IntoIterator<Item = &'a str>,
    ) -> Seeder {
        let mut command = place.command(home, ["seed", &self.url, "--listen", "127.0.0.1:0"]);
        command.args(more);
        Seeder::start(command)
    }
}
