//! Supervision: services that are started again when they fail, and a board of how they stand.
//!
//! A [`Service`] is a name and a factory of futures: each start of the service is a fresh future in
//! a task of its own. A [`Supervisor`] owns the tasks of its services. It starts them in the order
//! in which they were added, starts them again when they end as they should not, and stops them in
//! the reverse order. A supervisor can be a service of another one ([`Service::nested`]). The
//! [`Board`] shows all services of a tree and takes requests for them.
//!
//! Goals: one failing service takes no other with it that does not depend on it; nothing a service
//! does or omits blocks its supervisor; every stop has an end; who looks at the board learns of
//! every failure and its reason. Non-goals: messages between services (they hold channels), state
//! that outlives a crash (it is on the disk, never in a task), services that come and go while
//! their supervisor runs (tasks for a connection belong to the service that accepts it).
//!
//! # Ends
//!
//! A start of a service ends well (`Ok`), or fails: by an error, by a panic (its text is kept), or
//! because it gave no heartbeat for longer than its [watchdog](Service::watchdog) allows.
//!
//! | [`Restart`] | ended well | failed |
//! |---|---|---|
//! | `Permanent` | started again | started again |
//! | `Transient` | left alone: stopped | started again |
//! | `Temporary` | left alone: stopped | left alone: failed |
//!
//! * [`Strategy::OneForOne`]: only the service that failed is started again.
//! * [`Strategy::RestForOne`]: a service depends on those before it. When one is to be started again,
//!   those after it are stopped first, the last one first, and all are started again in order;
//!   `Transient` ones that had ended well, too; `Temporary` ones not. A service is started only when
//!   all before it are ready (see [`Service::says_ready`]) or left alone.
//! * [`Backoff`]: the first restart comes after `first`, each further one after twice the time of the
//!   one before, up to `most`, give or take a quarter. A start that was ready for `reset_after` or
//!   longer makes the count begin anew.
//! * [`Intensity`]: after `restarts` restarts `within` a time, counted over all services of the
//!   supervisor, one more failure makes it give up: it stops its services and returns [`GaveUp`].
//!   Of a nested supervisor that is a failure, which its parent treats as any other.
//!
//! # Stopping
//!
//! A service is told to stop by its [`Context::stop`]. It has its [grace](Service::grace) to end;
//! then its task is aborted. Its token is also cancelled when its task ends in another way, so that
//! tasks that it has spawned learn of it. A task that heeds no abort blocks its thread: the board
//! shows it as degraded, and it is not started a second time beside itself. A supervisor that is
//! told to stop takes at most [`Supervisor::shutdown`] and a second: whatever is left then is cut
//! off. Dropping the future of [`Supervisor::run`] aborts all its tasks.
//!
//! # Requests
//!
//! [`Board::restart`] stops a service (under `RestForOne` those after it, too) and starts it again at
//! once, whatever its state; it counts neither for the intensity nor for the backoff.
//! [`Board::panic`] makes the task of a service panic, to see that the program survives it.
//!
//! # Example
//!
//! ```
//! use offswarm::supervise::{Service, Strategy, Supervisor};
//! use tokio_util::sync::CancellationToken;
//!
//! # #[tokio::main(flavor = "current_thread")] async fn main() {
//! let clock = Service::new("clock", |context| async move {
//!     context.stop.cancelled().await;
//!     Ok(())
//! });
//! let supervisor = Supervisor::new(Strategy::OneForOne).service(clock);
//! let board = supervisor.board();
//! let stop = CancellationToken::new();
//! let running = tokio::spawn({
//!     let stop = stop.clone();
//!     async move { supervisor.run(stop).await }
//! });
//! assert_eq!(board.snapshot()[0].name, "clock");
//! stop.cancel();
//! assert!(running.await.unwrap().is_ok());
//! # }
//! ```

mod board;
mod policy;
mod run;
mod service;
mod supervisor;

pub use board::{Board, Health, State, Status};
pub use policy::{Backoff, Intensity, Restart, Strategy};
pub use service::{BoxError, Context, Reporter, Service};
pub use supervisor::{GaveUp, Supervisor};

#[cfg(test)]
mod tests;
