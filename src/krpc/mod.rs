//! KRPC: a node of the mainline DHT that carries the OFF extension.
//!
//! | file | what it does |
//! |---|---|
//! | [`contact`] | a node and where it is; distances |
//! | [`message`] | datagrams to values and back |
//! | [`native`] | the OFF extension |

pub mod contact;
pub mod message;
pub mod native;
