//! KRPC: a node of the mainline DHT that carries the OFF extension.
//!
//! | file | what it does |
//! |---|---|
//! | [`contact`] | a node and where it is; distances |
//! | [`message`] | datagrams to values and back |
//! | [`native`] | the OFF extension |
//! | [`machine`] | a node without socket and clock |
//! | [`lookup`] | whom to ask next on the way to a target |
//! | [`queries`] | queries that wait to be sent or answered |
//! | [`natives`] | the nodes of our kind that have shown themselves |
//! | [`fit`] | cuts an answer to the length it may have |

pub mod contact;
pub mod fit;
pub mod lookup;
pub mod machine;
pub mod message;
pub mod native;
pub mod natives;
pub mod queries;
