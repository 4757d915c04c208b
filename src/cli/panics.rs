//! Panics that reach the top.
//!
//! redb takes its pages on trust between its checks, so a damaged database can make it panic where
//! an error would be right. That is told as what it is; any other panic is a fault of ours.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Once;
use std::sync::atomic::{AtomicU64, Ordering};

use super::exit::{CORRUPTED, CliError, Exit};

/// How many panics came out of the database.
static IN_DATABASE: AtomicU64 = AtomicU64::new(0);

/// The hook is the process's; a daemon runs many commands.
static HOOK: Once = Once::new();

/// Runs a command, and makes an error of a panic.
pub(super) fn caught<T>(run: impl FnOnce() -> Result<T, CliError>) -> Result<T, CliError> {
    HOOK.call_once(|| {
        std::panic::set_hook(Box::new(|panic| {
            let file = panic.location().map_or("", |location| location.file());
            if file.contains("/redb-") {
                IN_DATABASE.fetch_add(1, Ordering::AcqRel);
            }
            tracing::debug!("{panic}");
        }));
    });
    let before = IN_DATABASE.load(Ordering::Acquire);
    let done = catch_unwind(AssertUnwindSafe(run)).unwrap_or_else(|panic| Err(told(&*panic)));
    done.map_err(|error| blamed(error, before))
}

fn told(panic: &(dyn Any + Send)) -> CliError {
    let text = panic.downcast_ref::<String>().map(String::as_str);
    let text = text.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("no reason given");
    CliError::failed("a fault in offswarm", text.to_owned())
        .hint("please report it, with what --log debug says")
}

/// A task that broke off because the database is damaged says so.
fn blamed(error: CliError, before: u64) -> CliError {
    if IN_DATABASE.load(Ordering::Acquire) > before {
        return CliError::new(Exit::Integrity, "the catalog or the index of the store is damaged")
            .hint(CORRUPTED);
    }
    error
}
