//! KRPC: a node of the mainline DHT that carries the OFF extension.
//!
//! | file | what it does |
//! |---|---|
//! | [`contact`] | a node and where it is; distances |
//! | [`guard`] | what may be sent to an address and taken from it |
//! | [`message`] | datagrams to values and back |
//! | [`peers`] | the peers that others announce to us |
//! | [`routing`] | the nodes we know |
//! | [`secure`] | ids that follow from addresses; our own address |
//! | [`tokens`] | who has received a datagram of ours |

pub mod contact;
pub mod guard;
pub mod message;
pub mod peers;
pub mod routing;
pub mod secure;
pub mod tokens;
