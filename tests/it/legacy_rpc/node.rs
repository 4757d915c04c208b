//! A node that speaks like js-offs, and shares nothing with the library: a protobuf reader and writer of
//! its own, a thread for each connection.

use std::collections::HashMap;
use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use offswarm::id::LegacyId;
use offswarm::legacy::peer::LegacyPeer;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

/// Sends bytes, half-closes, and reads to the end; what an abrupt end leaves is what came.
pub(super) async fn exchange(address: SocketAddr, request: &[u8]) -> Vec<u8> {
    let mut stream = tokio::net::TcpStream::connect(address).await.unwrap();
    let mut answer = Vec::new();
    if stream.write_all(request).await.is_ok() && stream.shutdown().await.is_ok() {
        let _ = stream.read_to_end(&mut answer).await;
    }
    answer
}

/// A field of a protobuf message.
#[derive(Debug, Clone)]
pub(super) enum Field {
    Number(u64),
    Bytes(Vec<u8>),
    Fixed32([u8; 4]),
}

fn varint(bytes: &mut &[u8]) -> u64 {
    let (mut number, mut shift) = (0, 0);
    loop {
        let byte = bytes[0];
        *bytes = &bytes[1..];
        number |= u64::from(byte & 0x7f) << shift;
        if byte < 0x80 {
            return number;
        }
        shift += 7;
    }
}

/// The fields of a message, in order.
pub(super) fn fields(mut bytes: &[u8]) -> Vec<(u64, Field)> {
    let mut found = Vec::new();
    while !bytes.is_empty() {
        let tag = varint(&mut bytes);
        let field = match tag & 7 {
            0 => Field::Number(varint(&mut bytes)),
            2 => {
                let len = varint(&mut bytes) as usize;
                let (field, rest) = bytes.split_at(len);
                bytes = rest;
                Field::Bytes(field.to_vec())
            }
            5 => {
                let (field, rest) = bytes.split_at(4);
                bytes = rest;
                Field::Fixed32(field.try_into().unwrap())
            }
            other => panic!("wire type {other}"),
        };
        found.push((tag >> 3, field));
    }
    found
}

pub(super) fn bytes_of(fields: &[(u64, Field)], number: u64) -> Option<Vec<u8>> {
    fields.iter().find_map(|(at, field)| match field {
        Field::Bytes(bytes) if *at == number => Some(bytes.clone()),
        _ => None,
    })
}

pub(super) fn number_of(fields: &[(u64, Field)], number: u64) -> Option<u64> {
    fields.iter().find_map(|(at, field)| match field {
        Field::Number(value) if *at == number => Some(*value),
        _ => None,
    })
}

fn put_varint(out: &mut Vec<u8>, mut number: u64) {
    while number >= 0x80 {
        out.push(number as u8 | 0x80);
        number >>= 7;
    }
    out.push(number as u8);
}

pub(super) fn put_number(out: &mut Vec<u8>, field: u64, number: u64) {
    put_varint(out, field << 3);
    put_varint(out, number);
}

pub(super) fn put_bytes(out: &mut Vec<u8>, field: u64, bytes: &[u8]) {
    put_varint(out, field << 3 | 2);
    put_varint(out, bytes.len() as u64);
    out.extend_from_slice(bytes);
}

pub(super) fn peer_message(id: &[u8], address: SocketAddr) -> Vec<u8> {
    let mut out = Vec::new();
    put_bytes(&mut out, 1, id);
    put_bytes(&mut out, 2, address.ip().to_string().as_bytes());
    put_number(&mut out, 3, address.port().into());
    put_bytes(&mut out, 4, address.ip().to_string().as_bytes());
    put_number(&mut out, 5, address.port().into());
    out
}

/// A request as js-offs writes it.
pub(super) fn request(kind: u64, from: &[u8], payload: Option<&[u8]>) -> Vec<u8> {
    let mut out = Vec::new();
    put_number(&mut out, 1, kind);
    put_bytes(&mut out, 2, from);
    put_number(&mut out, 3, 2);
    put_bytes(&mut out, 4, b"\x12\x34");
    if let Some(payload) = payload {
        put_bytes(&mut out, 5, payload);
    }
    out
}

/// The payload of `Find_Value`.
pub(super) fn find_value(class: u64, hash: &[u8]) -> Vec<u8> {
    let mut payload = Vec::new();
    put_number(&mut payload, 1, class);
    put_bytes(&mut payload, 2, hash);
    put_number(&mut payload, 3, 10);
    payload
}

/// What a node does that is not as it should be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) enum Habit {
    #[default]
    Honest,
    /// Gives other bytes than were asked for.
    Lies,
    /// Accepts connections and says nothing.
    Mute,
    /// Answers with what is no message.
    Babbles,
    /// Sends without end.
    Floods,
}

/// A node that runs until it is dropped.
pub(super) struct Node {
    pub(super) peer: LegacyPeer,
    shared: Arc<Shared>,
}

/// Blocks by class and id.
type Blocks = HashMap<(u64, Vec<u8>), Vec<u8>>;

struct Shared {
    id: [u8; 32],
    address: SocketAddr,
    blocks: Mutex<Blocks>,
    /// Whom it names if it does not have a block: protobuf peers.
    named: Mutex<Vec<Vec<u8>>>,
    habit: Habit,
    /// How long an answer takes.
    pause: Duration,
    calls: Mutex<Vec<(u64, Vec<u8>)>>,
    under_way: AtomicUsize,
    most: AtomicUsize,
    stopped: AtomicBool,
}

impl Node {
    pub(super) fn start(seed: u8, habit: Habit, pause: Duration) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let shared = Arc::new(Shared {
            id: [seed; 32],
            address,
            blocks: Mutex::default(),
            named: Mutex::default(),
            habit,
            pause,
            calls: Mutex::default(),
            under_way: AtomicUsize::new(0),
            most: AtomicUsize::new(0),
            stopped: AtomicBool::new(false),
        });
        let accepting = Arc::clone(&shared);
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                if accepting.stopped.load(Ordering::Acquire) {
                    return;
                }
                let (node, stream) = (Arc::clone(&accepting), stream.unwrap());
                std::thread::spawn(move || node.answer(stream));
            }
        });
        let id = LegacyId::from_bytes([seed; 32]);
        Self { peer: LegacyPeer { id, external: address, internal: address }, shared }
    }

    /// Gives it blocks of a class.
    pub(super) fn has(&self, class: u64, blocks: impl IntoIterator<Item = (Vec<u8>, Vec<u8>)>) {
        let mut here = self.shared.blocks.lock().unwrap();
        here.extend(blocks.into_iter().map(|(hash, bytes)| ((class, hash), bytes)));
    }

    /// Has it name another one.
    pub(super) fn names(&self, id: &[u8], address: SocketAddr) {
        self.shared.named.lock().unwrap().push(peer_message(id, address));
    }

    /// Calls so far: the kind of each, and who called.
    pub(super) fn calls(&self) -> Vec<(u64, Vec<u8>)> {
        self.shared.calls.lock().unwrap().clone()
    }

    /// Connections that were open at the same time.
    pub(super) fn most_at_once(&self) -> usize {
        self.shared.most.load(Ordering::Acquire)
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        self.shared.stopped.store(true, Ordering::Release);
        let _ = TcpStream::connect(self.shared.address);
    }
}

impl Shared {
    fn answer(&self, mut stream: TcpStream) {
        let now = self.under_way.fetch_add(1, Ordering::AcqRel) + 1;
        self.most.fetch_max(now, Ordering::AcqRel);
        let mut request = Vec::new();
        let _ = stream.read_to_end(&mut request);
        if self.habit == Habit::Honest {
            std::thread::sleep(self.pause);
        }
        // Whoever has the answer calls again before we know that it has.
        self.under_way.fetch_sub(1, Ordering::AcqRel);
        if !request.is_empty() {
            match self.habit {
                Habit::Mute => drop(stream.read(&mut [0])),
                Habit::Babbles => drop(stream.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n")),
                Habit::Floods => while stream.write_all(&[7; 4096]).is_ok() {},
                Habit::Honest | Habit::Lies => {
                    let _ = stream.write_all(&self.answer_to(&request));
                }
            }
        }
        let _ = stream.shutdown(Shutdown::Both);
    }

    fn answer_to(&self, request: &[u8]) -> Vec<u8> {
        let request = fields(request);
        let kind = number_of(&request, 1).unwrap();
        let from = fields(&bytes_of(&request, 2).unwrap());
        self.calls.lock().unwrap().push((kind, bytes_of(&from, 1).unwrap()));
        let (payload, success) = self.payload(kind, bytes_of(&request, 5));
        let mut out = Vec::new();
        put_number(&mut out, 1, kind);
        put_bytes(&mut out, 2, &peer_message(&self.id, self.address));
        put_number(&mut out, 3, 1);
        put_bytes(&mut out, 4, &bytes_of(&request, 4).unwrap());
        if let Some(payload) = payload {
            put_bytes(&mut out, 5, &payload);
        }
        put_number(&mut out, 6, if success { 1 } else { 2 });
        out
    }

    fn payload(&self, kind: u64, payload: Option<Vec<u8>>) -> (Option<Vec<u8>>, bool) {
        let asked = payload.map(|payload| fields(&payload)).unwrap_or_default();
        let class = number_of(&asked, 1).unwrap_or_default();
        let hash = bytes_of(&asked, 2).unwrap_or_default();
        let found = self.blocks.lock().unwrap().get(&(class, hash.clone())).cloned();
        let named = self.named.lock().unwrap().clone();
        let mut out = Vec::new();
        match kind {
            1 | 4 => (None, true),
            2 => {
                for peer in &named {
                    put_bytes(&mut out, 1, peer);
                }
                (Some(out), true)
            }
            3 => {
                put_number(&mut out, 1, class);
                put_bytes(&mut out, 2, &hash);
                let is_here = found.is_some();
                match found {
                    Some(mut data) => {
                        if self.habit == Habit::Lies {
                            data[0] ^= 1;
                        }
                        put_bytes(&mut out, 3, &data);
                    }
                    None => {
                        for peer in &named {
                            put_bytes(&mut out, 4, peer);
                        }
                    }
                }
                (Some(out), is_here)
            }
            5 => {
                let blocks = self.blocks.lock().unwrap();
                let Some((_, block)) = blocks.iter().find(|((at, _), _)| *at == class) else {
                    return (None, false);
                };
                put_number(&mut out, 1, class);
                put_bytes(&mut out, 2, block);
                (Some(out), true)
            }
            6 => (None, found.is_some()),
            _ => {
                out.push(1 << 3 | 5);
                out.extend(12.5_f32.to_le_bytes());
                (Some(out), true)
            }
        }
    }
}
