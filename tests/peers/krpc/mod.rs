//! Stock clients as nodes of a DHT, in closed networks: what each answers to which query.
//!
//! It is foreign code that asks them (`krpc_probe.py`), so that what is found here does not depend
//! on ours. What was found is recorded in `KRPC.md`.

mod bencode;
mod items;
mod mutual;
mod natives;
mod node;
mod ours;
pub(crate) mod private;
mod probe;
mod program;
pub(crate) mod promise;
mod table;
