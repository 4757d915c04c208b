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
//!
//! # What stock nodes answer
//!
//! Found by asking them, and asked anew by `tests/peers/krpc`, which also writes down each answer
//! (`tests/peers/KRPC.md`) and what our node and each client do for each other
//! (`tests/peers/DHT.md`). libtorrent 2.0.8 is in qBittorrent and Deluge, too.
//!
//! | | libtorrent 2.0 | rTorrent 0.9.8 | aria2 1.36 | Transmission 3.00 |
//! |---|---|---|---|---|
//! | `ping`, `find_node`, `get_peers`, `announce_peer` (BEP 5) | yes | yes | yes | yes |
//! | the same with `off`, other keys, another `v`, a `t` of 8 bytes | the same | the same | the same | the same |
//! | `values` | the peers | their ports with bytes swapped | the peers | the peers |
//! | `announce_peer` with a bad token | error 203 | error 203 | nothing | error 203 |
//! | `get`, `put` (BEP 44) | yes | error 204 | nothing | nothing |
//! | `off_find` with `target` | as `find_node` | error 204 | nothing | nothing |
//! | `off_find` without | error 203 | error 204 | nothing | nothing |
//! | `v` and `ip` in answers | both | `v` | `v` | neither |
//!
//! So the extension rides on ordinary queries, which all of them answer, and `off_find` goes to nodes
//! only that have shown themselves native. A `get` or `put` that is not answered says nothing against
//! a node: it is pinged instead ([`Method::is_common`](message::Method::is_common)).

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
