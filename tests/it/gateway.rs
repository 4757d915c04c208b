//! The HTTP gateway as browsers, players and `curl` see it.

mod api;
mod legacy;
mod reading;
mod refusing;
mod rig;
mod storing;
