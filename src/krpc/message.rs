//! KRPC messages.
