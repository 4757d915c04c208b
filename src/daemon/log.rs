//! What is logged, and changing it while the program runs.

use std::io::Write;
use std::sync::{Arc, Mutex, PoisonError};

use tracing_subscriber::EnvFilter;

/// Bytes of the longest filter.
const MAX_FILTER_LEN: usize = 1_024;

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
        (self.0.change)(parse(filter)?)?;
        filter.clone_into(&mut self.0.text.lock().unwrap_or_else(PoisonError::into_inner));
        Ok(())
    }
}

/// Reads a filter. A lone word that is no level would be taken for a module, and nothing be logged.
pub(super) fn parse(text: &str) -> Result<EnvFilter, String> {
    if text.len() > MAX_FILTER_LEN || text.contains('[') {
        // A pattern of a field's value can take minutes and gigabytes to get ready for.
        let why = format!("of at most {MAX_FILTER_LEN} bytes and without fields ([...])");
        return Err(format!("a filter consists of levels and modules, {why}"));
    }
    let levels = ["off", "error", "warn", "info", "debug", "trace"];
    let is_known = |word: &str| {
        let lower = word.to_ascii_lowercase();
        word.contains('=') || levels.contains(&&*lower) || word.starts_with("offswarm")
    };
    if let Some(word) = text.split(',').map(str::trim).find(|word| !is_known(word)) {
        return Err(format!("{word:?} is neither a level nor a module of offswarm"));
    }
    EnvFilter::try_new(text).map_err(|error| format!("{text:?} is no filter: {error}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_misspelt_level_is_no_filter() {
        for filter in ["debug", "error,offswarm=warn", "offswarm::http", "WARN", "hyper=info,off"] {
            assert!(parse(filter).is_ok(), "{filter}");
        }
        for filter in
            ["debg", "nonsense", "", "error,offswarm=loud", "warn,debgu", "[{a=[ab]*}]=info"]
        {
            assert!(parse(filter).is_err(), "{filter}");
        }
    }
}
