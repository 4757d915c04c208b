//! The protocol by which js-offs nodes (v0.1.0) speak with each other.
//!
//! Participants: nodes of js-offs and we, both as clients and as servers. Goals: their blocks for us,
//! ours for them. Non-goals: the versions before 0.1.0 and mainline OFF, which differ.
//!
//! # Wire
//!
//! TCP, one request per connection, no length prefix, no encryption, no handshake. The client writes
//! one protobuf message ([`message`]) and half-closes; the server reads to the end, writes one message
//! and closes; the client reads to the end. What js-offs cannot answer it never answers, and does not
//! close either, so a client needs patience of its own.
//!
//! | call | request | answer |
//! |---|---|---|
//! | Ping | none | Success |
//! | `Find_Node` | target, count | Success: the closest peers, whoever asks among them |
//! | `Find_Value` | class, block id, count | Success: the block; or Failure: the peers closest to its id |
//! | Store | class, block | Success, or Failure if it is not kept |
//! | Random | class, filter | Success: a block outside of the [filter](cuckoo), or Failure |
//! | `Ping_Value` | class, block id | Success: it is there; or Failure |
//! | `Ping_Storage` | class | Success: how full it is, in percent |
//!
//! Closest is by Hamming distance, and who is as close as another one stands where it was first seen.
//!
//! # What js-offs does that we mind
//!
//! * An id of any other length than 32 bytes makes it deaf to `Find_Node` and `Find_Value` for as long as
//!   it remembers that peer. So an id of ours is a [`LegacyId`](crate::id::LegacyId), never a node id of
//!   the DHT, and peers with other ids are refused.
//! * It keeps four peers, for ever at the address it first saw, and breaks off calls of a fifth. So we
//!   have one id for as long as the home lives; and who only asks takes the id of the node that it asks
//!   ([`Identity`](caller::Identity)), which answers and remembers nobody.
//! * A status of Failure counts as a yes to `Ping_Value`, and blocks that enough peers "have" are deleted.
//!   So for a block that is not here the connection is closed without an answer: it counts as an error,
//!   and the block stays.
//! * It stores what is too short, filled up with noise under another name. We store whole blocks only.
//!
//! | file | what it does |
//! |---|---|
//! | [`message`] | bytes to calls and answers, and back |
//! | [`peer`] | a peer, and its locator |
//! | [`cuckoo`] | the filter of Random |
//! | [`contacts`] | the peers that are known: no socket, no clock |
//! | [`picker`] | which block is asked of which node: no socket, no clock |
//! | [`caller`] | one call over the network |
//! | [`errand`] | legacy nodes as a source of blocks |
//! | [`upkeep`] | pings, and introducing ourselves |

pub mod caller;
pub mod contacts;
pub mod cuckoo;
pub mod errand;
pub mod message;
pub mod peer;
pub mod picker;
pub mod upkeep;
