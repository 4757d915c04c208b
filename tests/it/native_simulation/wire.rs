//! What messages weigh, and that they pass the wire.

use bytes::{Buf, BytesMut};
use offswarm::limits::BLOCK_LEN;
use offswarm::peer::message::{self, Message};
use offswarm::peer::native::message::{NativeHello, NativeMessage, Numbers};

/// Of so many messages one is handed over as bytes.
const SAMPLE: u64 = 32;

/// Weighs all messages, and has what nodes say of themselves. A block of 136 bytes stands for one of 128 KiB and weighs as much.
#[derive(Debug)]
pub(super) struct Wire {
    messages: u64,
    scratch: BytesMut,
    hellos: [NativeHello; 2],
}

impl Wire {
    pub(super) fn new() -> Self {
        let hellos = [false, true].map(hello);
        Self { messages: 0, scratch: BytesMut::new(), hellos }
    }

    /// What a node says of itself, as the other side reads it.
    pub(super) const fn hello(&self, hosts: bool) -> NativeHello {
        self.hellos[hosts as usize]
    }

    /// The message as it comes out at the other side, and how many bytes it is on the way.
    pub(super) fn pass(&mut self, message: NativeMessage) -> (NativeMessage, u64) {
        self.messages += 1;
        self.scratch.clear();
        let block = message.clone().encode(&Numbers::ours(), &mut self.scratch).unwrap();
        let weight = self.scratch.len() + if block.is_empty() { 0 } else { BLOCK_LEN };
        if !self.messages.is_multiple_of(SAMPLE) {
            return (message, weight as u64);
        }
        self.scratch.extend_from_slice(&block);
        let Ok(Some(Message::Extended(number, body))) = message::decode(&mut self.scratch) else {
            panic!("no extension message: {message:?}");
        };
        let passed = NativeMessage::decode(number, &body).unwrap().unwrap();
        assert_eq!(passed, message);
        (passed, weight as u64)
    }
}

fn hello(hosts: bool) -> NativeHello {
    let mut said = NativeHello::ours(6881, hosts);
    // The length, and twice a number: of extension messages, and of the handshake among them.
    said.advance(6);
    NativeHello::decode(&said).unwrap()
}
