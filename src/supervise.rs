//! Supervision: services that are restarted when they end or panic, and a board of how they stand.
