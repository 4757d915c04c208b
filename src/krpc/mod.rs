//! KRPC: a node of the mainline DHT that carries the OFF extension.
//!
//! | file | what it does |
//! |---|---|
//! | [`contact`] | a node and where it is; distances |
//! | [`item`] | small values that nodes keep for each other |
//! | [`items`] | those that others have put at us |
//! | [`rendezvous`] | where those meet who hold the blocks of an OFF URL |
//! | [`republish`] | when that is said again |
//! | [`message`] | datagrams to values and back |
//! | [`native`] | the OFF extension |

pub mod contact;
pub mod item;
pub mod items;
pub mod message;
pub mod native;
pub mod rendezvous;
pub mod republish;
