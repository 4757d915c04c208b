//! Panics that reach the top.
//!
//! redb takes its pages on trust between its checks, so a damaged database can make it panic where
//! an error would be right. That is told as what it is; any other panic is a fault of ours.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, Ordering};

use super::exit::{CORRUPTED, CliError, Exit};

/// Whether a panic came out of the database.
static IN_DATABASE: AtomicBool = AtomicBool::new(false);

/// Runs the program, and makes an error of a panic.
pub(super) fn caught(run: impl FnOnce() -> Result<Exit, CliError>) -> Result<Exit, CliError> {
    std::panic::set_hook(Box::new(|panic| {
        let file = panic.location().map_or("", |location| location.file());
        if file.contains("/redb-") {
            IN_DATABASE.store(true, Ordering::Release);
        }
        tracing::debug!("{panic}");
    }));
    catch_unwind(AssertUnwindSafe(run)).unwrap_or_else(|panic| Err(told(&*panic))).map_err(blamed)
}

fn told(panic: &(dyn Any + Send)) -> CliError {
    let text = panic.downcast_ref::<String>().map(String::as_str);
    let text = text.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("no reason given");
    CliError::failed("a fault in offswarm", text.to_owned())
        .hint("please report it, with what --log debug says")
}

/// A task that broke off because the database is damaged says so.
fn blamed(error: CliError) -> CliError {
    if IN_DATABASE.load(Ordering::Acquire) {
        return CliError::new(Exit::Integrity, "the catalog or the index of the store is damaged")
            .hint(CORRUPTED);
    }
    error
}
