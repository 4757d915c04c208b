//! The gateway: OFF URLs over HTTP.
