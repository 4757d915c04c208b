//! The daemon: configuration to client to supervised services.

pub mod config;
