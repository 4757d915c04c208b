//! The protobuf messages (proto2), field for field.
//!
//! Enums are read as numbers: what a number means that we do not know is for the caller to say.

use bytes::Bytes;

#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct Peer {
    #[prost(bytes = "bytes", required, tag = "1")]
    pub(super) id: Bytes,
    #[prost(string, required, tag = "2")]
    pub(super) ext_ip: String,
    #[prost(int64, required, tag = "3")]
    pub(super) ext_port: i64,
    #[prost(string, required, tag = "4")]
    pub(super) int_ip: String,
    #[prost(int64, required, tag = "5")]
    pub(super) int_port: i64,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct Rpc {
    #[prost(int32, required, tag = "1")]
    pub(super) kind: i32,
    #[prost(message, optional, tag = "2")]
    pub(super) from: Option<Peer>,
    #[prost(int32, required, tag = "3")]
    pub(super) direction: i32,
    #[prost(bytes = "bytes", required, tag = "4")]
    pub(super) id: Bytes,
    #[prost(bytes = "bytes", optional, tag = "5")]
    pub(super) payload: Option<Bytes>,
    #[prost(int32, optional, tag = "6")]
    pub(super) status: Option<i32>,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct FindNodeRequest {
    #[prost(bytes = "bytes", required, tag = "1")]
    pub(super) id: Bytes,
    #[prost(int64, required, tag = "2")]
    pub(super) count: i64,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct FindNodeResponse {
    #[prost(message, repeated, tag = "1")]
    pub(super) nodes: Vec<Peer>,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct FindValueRequest {
    #[prost(int32, required, tag = "1")]
    pub(super) class: i32,
    #[prost(bytes = "bytes", required, tag = "2")]
    pub(super) hash: Bytes,
    #[prost(int64, required, tag = "3")]
    pub(super) count: i64,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct FindValueResponse {
    #[prost(int32, required, tag = "1")]
    pub(super) class: i32,
    #[prost(bytes = "bytes", required, tag = "2")]
    pub(super) hash: Bytes,
    #[prost(bytes = "bytes", optional, tag = "3")]
    pub(super) data: Option<Bytes>,
    #[prost(message, repeated, tag = "4")]
    pub(super) nodes: Vec<Peer>,
}

/// The requests Store and Random, and the answer to Random.
#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct ClassAndBytes {
    #[prost(int32, required, tag = "1")]
    pub(super) class: i32,
    #[prost(bytes = "bytes", required, tag = "2")]
    pub(super) bytes: Bytes,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct PingStorageRequest {
    #[prost(int32, required, tag = "1")]
    pub(super) class: i32,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct PingStorageResponse {
    #[prost(float, required, tag = "1")]
    pub(super) capacity: f32,
}
