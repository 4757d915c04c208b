//! `offswarm legacy import`: the blocks of a js-offs cache.

use serde::Serialize;

use crate::cli::args::{Global, ImportArgs};
use crate::cli::exit::{CliError, Exit, full_disk_hint, store_exit};
use crate::cli::output::{Output, inert};
use crate::cli::signals::Signals;
use crate::client::import::{ImportError, LegacyCache, Taken, Told, Unsound};

/// Files that are named on a terminal. Elsewhere all are.
const SHOWN: u64 = 50;

#[derive(Serialize)]
struct Shown {
    folder: String,
    new: u64,
    here: u64,
    bytes: u64,
    unsound: u64,
    classes: Vec<ShownClass>,
}

#[derive(Serialize)]
struct ShownClass {
    class: &'static str,
    new: u64,
    here: u64,
    bytes: u64,
    unsound: u64,
}

#[derive(Serialize)]
struct ShownUnsound {
    file: String,
    why: String,
}

pub(super) fn run(
    global: &Global,
    args: &ImportArgs,
    output: &Output,
    signals: &Signals,
) -> Result<Exit, CliError> {
    // The cache first: a name that is wrong should not leave a store behind.
    let cache = LegacyCache::find(&global.env.at(&args.folder))?;
    let client = global.client()?;
    let mut telling = Telling::new(global, args, output);
    let taken = tokio::task::block_in_place(|| {
        client.import(&cache, signals.stop(), &mut |told| telling.tell(&told))
    });
    telling.end()?;
    let shown = Shown::new(args.folder.display().to_string(), &taken?);
    let Shown { folder, new, here, bytes, unsound, .. } = &shown;
    let text = format!(
        "{}: {new} new blocks, {bytes} bytes; {here} were here; {unsound} files are no sound block",
        inert(folder)
    );
    output.result(&text, &shown)?;
    if new + here > 0 {
        output.remark("no OFF URL uses these blocks yet, and gc frees them: get those you have");
    }
    Ok(if *unsound > 0 { Exit::Partial } else { Exit::Done })
}

impl Shown {
    fn new(folder: String, taken: &[Taken]) -> Self {
        let sum = |part: fn(&Taken) -> u64| taken.iter().map(part).sum();
        let classes = taken.iter().map(|&Taken { size, new, here, bytes, unsound }| {
            let class = size.class();
            ShownClass { class, new, here, bytes, unsound }
        });
        Self {
            folder,
            new: sum(|taken| taken.new),
            here: sum(|taken| taken.here),
            bytes: sum(|taken| taken.bytes),
            unsound: sum(|taken| taken.unsound),
            classes: classes.collect(),
        }
    }
}

/// What is said while it runs.
struct Telling<'a> {
    global: &'a Global,
    args: &'a ImportArgs,
    output: &'a Output,
    progress: crate::cli::output::Progress,
    unsound: u64,
    /// What could not be printed.
    failed: Result<(), CliError>,
}

impl<'a> Telling<'a> {
    fn new(global: &'a Global, args: &'a ImportArgs, output: &'a Output) -> Self {
        let progress = output.progress(None, true);
        Self { global, args, output, progress, unsound: 0, failed: Ok(()) }
    }

    fn tell(&mut self, told: &Told<'_>) {
        match told {
            Told::Read(bytes) => self.progress.set(*bytes),
            Told::Unsound(unsound) => {
                self.unsound += 1;
                if self.unsound <= SHOWN || !self.progress.is_shown() {
                    self.name(unsound);
                }
            }
        }
    }

    fn name(&mut self, Unsound { path, flaw }: &Unsound) {
        let path = self.global.env.typed(&self.args.folder, path).display().to_string();
        let text = format!("left out {path:?}: {flaw}");
        let told = self.output.event(&text, &ShownUnsound { file: path, why: flaw.to_string() });
        if self.failed.is_ok() {
            self.failed = told;
        }
    }

    fn end(self) -> Result<(), CliError> {
        let unnamed = self.unsound.saturating_sub(SHOWN);
        if unnamed > 0 && self.progress.is_shown() {
            drop(self.progress);
            self.output.remark(&format!(
                "and {unnamed} more files, which --json, or stderr in a file, names as well"
            ));
        }
        self.failed
    }
}

impl From<ImportError> for CliError {
    fn from(error: ImportError) -> Self {
        match error {
            ImportError::NoCache { .. } => Self::new(Exit::Failed, error).hint(
                "name the home of js-offs, which is .offs in yours unless it was told otherwise",
            ),
            ImportError::Stopped { .. } => Self::new(Exit::Interrupted, error),
            ImportError::Store { taken, source } => {
                let (exit, hints) = (store_exit(&source), full_disk_hint(&source));
                Self { hints, ..Self::new(exit, ImportError::Store { taken, source }) }
            }
            ImportError::Folder { .. } => Self::new(Exit::Failed, error),
        }
    }
}
