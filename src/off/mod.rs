//! The OFF formats: pure functions from bytes to values and back.
//!
//! Participants: a *source block* is a piece of somebody's stream and has no id; *randomizers*
//! are blocks that are in the store already; XORing them gives the *off block*, the only thing
//! that is stored. The ids of the blocks whose XOR is the source block are its *tuple*; the tuples
//! in stream order are the *descriptor*, stored as a chain of blocks; the *OFF URL* names the
//! chain, the length and the key of the seal.
//!
//! Goals: every stored block looks like noise and belongs to many streams and none; a stream can
//! be read from any offset; whoever lacks the URL learns nothing from all blocks together (see
//! [`seal`]). Non-goals: finding blocks, keeping them, naming files; nothing here does I/O, looks
//! at a clock or draws randomness except from the generator it is handed.
//!
//! One stream of `L` bytes with blocks of `B` bytes and tuples of `t` ids:
//!
//! ```text
//! sealed   = plain xor keystream(stream)                      seal.rs
//! source i = sealed[i*B .. (i+1)*B], the last one padded with random bytes
//! off i    = source i xor R1 xor .. xor R(t-1)                tuple.rs
//! tuple i  = [id(off i), id(R1), .., id(R(t-1))]              id = SHA-256 of all B bytes
//! chain    = ids of all tuples in order, cut into blocks      descriptor.rs
//! URL      = type, L, SHA-256(plain), id of the first chain block, name, t, key    url.rs
//! ```
//!
//! What js-offs (v0.1.0) made or is to read is the same with `t` = 3, without a seal, with `B` chosen by
//! the length ([`BlockSize::legacy_of`]), and with a URL of its own form (url/legacy.rs).
//!
//! Torrents and packs carry blocks in slots of one length (carriage.rs).
//!
//! A *directory* is a stream that lists the OFF URLs of files by their paths (directory.rs).

pub mod block;
pub mod carriage;
pub mod descriptor;
pub mod directory;
pub mod name;
pub mod seal;
pub mod tuple;
pub mod url;

pub use block::{Block, BlockSize, SourceBlock, WrongBlock};
pub use carriage::Carriage;
pub use directory::Directory;
pub use seal::{Seal, SealKey};
pub use tuple::{Tuple, TupleSize};
pub use url::{OffUrl, Version};
