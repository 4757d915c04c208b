//! KRPC: a node of the mainline DHT that carries the OFF extension.
//!
//! | file | what it does |
//! |---|---|
//! | [`message`], [`native`], [`contact`] | datagrams to values and back; the OFF extension; nodes and distances |
//! | [`machine`] | a node without socket and clock |
//! | [`driver`], [`saved`] | its sockets, and what it remembers from one start to the next |
//! | [`routing`], [`secure`] | the nodes it knows; ids that follow from addresses |
//! | [`lookup`], [`queries`] | whom to ask next on the way to a target; what was asked |
//! | [`guard`], [`tokens`], [`fit`] | what may be sent to and taken from whom |
//! | [`peers`], [`item`], [`items`] | what others have it keep |
//! | [`natives`] | the nodes of our kind that have shown themselves |
//! | [`rendezvous`], [`republish`] | where those meet who hold the blocks of an OFF URL, and when that is said again |

pub mod contact;
pub mod driver;
pub mod fit;
pub mod guard;
pub mod item;
pub mod items;
pub mod lookup;
pub mod machine;
pub mod message;
pub mod native;
pub mod natives;
pub mod peers;
pub mod queries;
pub mod rendezvous;
pub mod republish;
pub mod routing;
pub mod saved;
pub mod secure;
pub mod tokens;
