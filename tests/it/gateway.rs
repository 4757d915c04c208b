//! The HTTP gateway as browsers, players and `curl` see it.

mod reading;
mod refusing;
mod rig;
mod storing;
