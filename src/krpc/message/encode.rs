//! Messages to datagrams.

use std::collections::BTreeMap;

use super::{Body, Extra, KrpcError, Message, Method, Query, RawItem, Response, Want};
use crate::address::put_compact;
use crate::bencode::{put_signed, put_string};
use crate::krpc::contact::Contact;

/// A dictionary that is being written: its keys in order, its values in bencode.
#[derive(Debug, Default)]
pub(in crate::krpc) struct Fields(BTreeMap<Vec<u8>, Vec<u8>>);

impl Fields {
    pub(in crate::krpc) fn raw(&mut self, key: &str, value: Vec<u8>) {
        self.0.insert(key.into(), value);
    }

    pub(in crate::krpc) fn string(&mut self, key: &str, string: impl AsRef<[u8]>) {
        let mut value = Vec::new();
        put_string(&mut value, string);
        self.raw(key, value);
    }

    pub(in crate::krpc) fn integer(&mut self, key: &str, number: impl Into<i64>) {
        let mut value = Vec::new();
        put_signed(&mut value, number.into());
        self.raw(key, value);
    }

    /// Keys that are kept from what came; none replaces one that is understood.
    fn extra(&mut self, extra: &Extra) {
        for (key, value) in extra {
            self.0.entry(key.clone()).or_insert_with(|| value.clone());
        }
    }

    pub(in crate::krpc) fn encode(&self) -> Vec<u8> {
        let mut out = vec![b'd'];
        for (key, value) in &self.0 {
            put_string(&mut out, key);
            out.extend_from_slice(value);
        }
        out.push(b'e');
        out
    }
}

impl Message {
    /// Writes the datagram.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut top = Fields::default();
        top.string("t", &self.transaction);
        match &self.body {
            Body::Query(query) => {
                top.string("y", "q");
                top.string("q", query.method.name());
                top.raw("a", query.arguments());
            }
            Body::Response(response) => {
                top.string("y", "r");
                top.raw("r", response.fields());
            }
            Body::Error(error) => {
                top.string("y", "e");
                top.raw("e", error.list());
            }
        }
        if let Some(version) = &self.version {
            top.string("v", version);
        }
        if let Some(ip) = self.ip {
            let mut compact = Vec::new();
            put_compact(&mut compact, ip);
            top.string("ip", compact);
        }
        if self.read_only {
            top.integer("ro", 1);
        }
        top.extra(&self.extra);
        top.encode()
    }
}

impl Method {
    /// Its name on the wire.
    #[must_use]
    pub fn name(&self) -> &[u8] {
        match self {
            Self::Ping => b"ping",
            Self::FindNode { .. } => b"find_node",
            Self::GetPeers { .. } => b"get_peers",
            Self::AnnouncePeer { .. } => b"announce_peer",
            Self::Get { .. } => b"get",
            Self::Put { .. } => b"put",
            Self::OffFind { .. } => b"off_find",
            Self::Unknown { name, .. } => name,
        }
    }

    fn put(&self, arguments: &mut Fields) {
        match self {
            Self::Ping | Self::Unknown { target: None, .. } => {}
            Self::FindNode { target }
            | Self::OffFind { target }
            | Self::Unknown { target: Some(target), .. } => {
                arguments.string("target", target.as_bytes());
            }
            Self::GetPeers { infohash } => arguments.string("info_hash", infohash.as_bytes()),
            Self::AnnouncePeer { infohash, port, implied_port, seed } => {
                arguments.string("info_hash", infohash.as_bytes());
                arguments.integer("port", *port);
                arguments.integer("implied_port", *implied_port);
                arguments.integer("seed", *seed);
            }
            Self::Get { target, seq } => {
                arguments.string("target", target.as_bytes());
                if let Some(seq) = seq {
                    arguments.integer("seq", *seq);
                }
            }
            Self::Put { item, cas } => {
                item.put(arguments);
                if let Some(cas) = cas {
                    arguments.integer("cas", *cas);
                }
            }
        }
    }
}

impl Query {
    fn arguments(&self) -> Vec<u8> {
        let mut arguments = Fields::default();
        arguments.string("id", self.id.as_bytes());
        self.method.put(&mut arguments);
        if self.want != Want::default() {
            let families = [(self.want.v4, "2:n4"), (self.want.v6, "2:n6")];
            let wanted: String =
                families.iter().filter(|(wanted, _)| *wanted).map(|(_, name)| *name).collect();
            arguments.raw("want", format!("l{wanted}e").into());
        }
        if let Some(token) = &self.token {
            arguments.string("token", token);
        }
        if let Some(off) = &self.off {
            arguments.raw("off", off.encode());
        }
        arguments.extra(&self.extra);
        arguments.encode()
    }
}

impl Response {
    fn fields(&self) -> Vec<u8> {
        let mut fields = Fields::default();
        fields.string("id", self.id.as_bytes());
        for (key, nodes) in [("nodes", &self.nodes), ("nodes6", &self.nodes6)] {
            if let Some(nodes) = nodes {
                fields.string(key, compact(nodes));
            }
        }
        if !self.values.is_empty() {
            let mut list = vec![b'l'];
            for peer in &self.values {
                let mut value = Vec::new();
                put_compact(&mut value, *peer);
                put_string(&mut list, value);
            }
            list.push(b'e');
            fields.raw("values", list);
        }
        if let Some(token) = &self.token {
            fields.string("token", token);
        }
        if let Some(item) = &self.item {
            item.put(&mut fields);
        }
        if let Some(off) = &self.off {
            fields.raw("off", off.encode());
        }
        fields.extra(&self.extra);
        fields.encode()
    }
}

impl RawItem {
    fn put(&self, fields: &mut Fields) {
        if let Some(value) = &self.value {
            fields.raw("v", value.clone());
        }
        if let Some(key) = &self.key {
            fields.string("k", key.as_bytes());
        }
        if let Some(signature) = &self.signature {
            fields.string("sig", signature);
        }
        if !self.salt.is_empty() {
            fields.string("salt", &self.salt);
        }
        if let Some(seq) = self.seq {
            fields.integer("seq", seq);
        }
    }
}

impl KrpcError {
    fn list(&self) -> Vec<u8> {
        let mut list = vec![b'l'];
        put_signed(&mut list, self.code);
        put_string(&mut list, &self.message);
        list.push(b'e');
        list
    }
}

/// Compact nodes back to back.
pub(in crate::krpc) fn compact(nodes: &[Contact]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for node in nodes {
        node.put(&mut bytes);
    }
    bytes
}
