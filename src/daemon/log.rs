//! What is logged, and changing it while the program runs.

use std::fmt::Display;
use std::io::Write;
use std::sync::{Arc, Mutex, PoisonError};

use tracing_subscriber::EnvFilter;

type Change = Box<dyn Fn(EnvFilter) -> Result<(), String> + Send + Sync>;

/// The filter of the log. Cloning it makes another handle to the same.
#[derive(Clone)]
pub struct LogFilter(Arc<Shared>);

struct Shared {
    text: Mutex<String>,
    change: Change,
}

impl std::fmt::Debug for LogFilter {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("LogFilter").field(&self.filter()).finish()
    }
}

impl LogFilter {
    /// Logs to what `writer` makes, for the whole process. A second call changes nothing, and what
    /// it returns changes nothing either.
    pub fn install<W: Write>(
        filter: &str,
        writer: impl Fn() -> W + Send + Sync + 'static,
        colours: bool,
    ) -> Self {
        let parsed = EnvFilter::try_new(filter).unwrap_or_else(|_| EnvFilter::new("error"));
        let log = tracing_subscriber::fmt().with_writer(writer).with_env_filter(parsed);
        let log = log.with_ansi(colours).with_filter_reloading();
        let handle = log.reload_handle();
        // A second logger can only be a second call, and then the first one stays.
        let _ = log.try_init();
        let change = move |filter| handle.reload(filter).map_err(|error| error.to_string());
        Self(Arc::new(Shared { text: Mutex::new(filter.to_owned()), change: Box::new(change) }))
    }

    /// What is logged.
    #[must_use]
    pub fn filter(&self) -> String {
        self.0.text.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Logs something else from now on, or says why not.
    pub fn set(&self, filter: &str) -> Result<(), String> {
        let said = |error: &dyn Display| format!("{filter:?} is no filter: {error}");
        let parsed = EnvFilter::try_new(filter).map_err(|error| said(&error))?;
        (self.0.change)(parsed)?;
        filter.clone_into(&mut self.0.text.lock().unwrap_or_else(PoisonError::into_inner));
        Ok(())
    }
}
