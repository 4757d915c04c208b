//! Exit codes, and which error leads to which.

use std::error::Error;
use std::process::ExitCode;

use crate::client::convert::ConvertError;
use crate::client::{GetError, OpenError, PublishError, PutError, ReadError, UpkeepError};
use crate::id::excerpt;
use crate::store::StoreError;
use crate::swarm::session::SwarmError;

/// The table of exit codes as the help shows it.
pub(super) const HELP: &str = "\
Exit codes:
    0  done
    1  failed
    2  wrong usage
    3  done in part
    4  not found in time
    5  integrity failure
   10  no store
   11  store locked
  130  interrupted

Every flag --some-flag can be given as the environment variable OFFSWARM_SOME_FLAG.";

/// What to try when a database is damaged.
pub(super) const CORRUPTED: &str =
    "restore it from a backup, or start with another --home and get your URLs again";

/// How the program ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Exit {
    Done = 0,
    Failed = 1,
    Usage = 2,
    Partial = 3,
    NotFound = 4,
    Integrity = 5,
    NoStore = 10,
    Locked = 11,
    Interrupted = 130,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit as u8)
    }
}

/// An error on its way to the user: how the program ends, what was wrong, what to try.
#[derive(Debug)]
pub(super) struct CliError {
    pub(super) exit: Exit,
    pub(super) error: Box<dyn Error + Send + Sync>,
    pub(super) hints: Vec<String>,
}

/// What was attempted, on what; the source says why it failed.
#[derive(Debug, thiserror::Error)]
#[error("{attempt}")]
struct Attempt {
    attempt: String,
    source: Box<dyn Error + Send + Sync>,
}

impl CliError {
    pub(super) fn new(exit: Exit, error: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Self { exit, error: error.into(), hints: Vec::new() }
    }

    pub(super) fn failed(
        attempt: impl Into<String>,
        source: impl Into<Box<dyn Error + Send + Sync>>,
    ) -> Self {
        let (attempt, source) = (attempt.into(), source.into());
        Self::new(Exit::Failed, Attempt { attempt, source })
    }

    pub(super) fn usage(
        attempt: impl Into<String>,
        source: impl Into<Box<dyn Error + Send + Sync>>,
    ) -> Self {
        Self { exit: Exit::Usage, ..Self::failed(attempt, source) }
    }

    pub(super) fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hints.push(hint.into());
        self
    }

    /// The error and its causes, outermost first.
    pub(super) fn chain(&self) -> Vec<String> {
        let mut chain = vec![self.error.to_string()];
        let mut cause = self.error.source();
        while let Some(error) = cause {
            let text = error.to_string();
            // Transparent wrappers repeat their source.
            if chain.last() != Some(&text) {
                chain.push(text);
            }
            cause = error.source();
        }
        chain
    }
}

impl From<OpenError> for CliError {
    fn from(error: OpenError) -> Self {
        match &error {
            OpenError::NoStore { .. } => Self::new(Exit::NoStore, error)
                .hint("put or get a file first, or name another folder with --home"),
            OpenError::Locked { .. } => Self::new(Exit::Locked, error)
                .hint("stop the other offswarm, or name another folder with --home"),
            OpenError::Store(store) => {
                let (exit, mut hints) = (store_exit(store), full_disk_hint(store));
                if store.is_corruption() {
                    hints.push(CORRUPTED.into());
                }
                Self { hints, ..Self::new(exit, error) }
            }
            OpenError::Catalog(catalog) if catalog.is_corruption() => {
                Self::new(Exit::Integrity, error).hint(CORRUPTED)
            }
            OpenError::Folder { .. } | OpenError::Catalog(_) => Self::new(Exit::Failed, error),
        }
    }
}

impl From<PutError> for CliError {
    fn from(error: PutError) -> Self {
        match &error {
            PutError::Store(store) => {
                let (exit, hints) = (store_exit(store), full_disk_hint(store));
                Self { hints, ..Self::new(exit, error) }
            }
            PutError::TooFewRandomizers { .. } => {
                Self::new(Exit::Failed, error).hint("use --randomizers mixed")
            }
            PutError::Url(_) => Self::new(Exit::Usage, error),
            PutError::Stopped => Self::new(Exit::Interrupted, error),
            PutError::Directory(_) => {
                Self::new(Exit::Failed, error).hint("put parts of it as directories of their own")
            }
            _ => Self::new(Exit::Failed, error),
        }
    }
}

impl From<ReadError> for CliError {
    fn from(error: ReadError) -> Self {
        let exit = match &error {
            ReadError::Missing(_) | ReadError::NoMember(_) => Exit::NotFound,
            ReadError::NotDirectory(_) | ReadError::Range { .. } => Exit::Usage,
            ReadError::TooManyBlocks { .. } => Exit::Failed,
            ReadError::Chain(_)
            | ReadError::Tuple { .. }
            | ReadError::Directory(_)
            | ReadError::WrongFile { .. } => Exit::Integrity,
            ReadError::Store(store) => store_exit(store),
        };
        Self::new(exit, error)
    }
}

impl From<GetError> for CliError {
    fn from(error: GetError) -> Self {
        match error {
            GetError::Read(error) => {
                let Self { exit, error, hints } = error.into();
                let attempt = Attempt { attempt: "cannot decode the stream".into(), source: error };
                Self { exit, error: attempt.into(), hints }
            }
            GetError::Swarm(error) => {
                let Self { exit, error, hints } = error.into();
                let attempt =
                    Attempt { attempt: "cannot download the blocks".into(), source: error };
                Self { exit, error: attempt.into(), hints }
            }
            GetError::Member { path, source } => {
                let Self { exit, error, hints } = (*source).into();
                let attempt = format!("cannot decode {:?} of the directory", excerpt(&path));
                let attempt = Attempt { attempt, source: error };
                Self { exit, error: attempt.into(), hints }
            }
            GetError::NotFound { .. } => Self::new(Exit::NotFound, error)
                .hint("name a peer (--peer, --native-peer), a tracker (--tracker) or the torrent (--torrent)"),
            GetError::Damaged { .. } => Self::new(Exit::Integrity, error).hint(
                "a swarm that has the blocks heals it: name a peer, a tracker or the torrent",
            ),
            GetError::Forged { .. } => Self::new(Exit::Integrity, error)
                .hint("the link is damaged or forged: ask for it again"),
            GetError::WrongTorrent { .. } => Self::new(Exit::Usage, error),
            GetError::Stopped => Self::new(Exit::Interrupted, error),
            GetError::Write(_)
            | GetError::Keep { .. }
            | GetError::File { .. }
            | GetError::Catalog(_)
            | GetError::Upkeep(_) => Self::new(Exit::Failed, error),
        }
    }
}

impl From<PublishError> for CliError {
    fn from(error: PublishError) -> Self {
        let exit = match &error {
            PublishError::Incomplete { .. }
            | PublishError::Read { source: ReadError::Missing(_), .. }
            | PublishError::Blocks(ReadError::Missing(_)) => Exit::NotFound,
            PublishError::Read { source: ReadError::Store(store), .. }
            | PublishError::Blocks(ReadError::Store(store))
            | PublishError::Store(store) => store_exit(store),
            PublishError::Read { .. } | PublishError::Blocks(_) => Exit::Integrity,
            PublishError::Catalog(catalog) if catalog.is_corruption() => Exit::Integrity,
            PublishError::Empty
            | PublishError::ShortBlocks { .. }
            | PublishError::MixedBlocks { .. }
            | PublishError::Write(_)
            | PublishError::File { .. }
            | PublishError::Metainfo(_)
            | PublishError::Catalog(_)
            | PublishError::Upkeep(_) => Exit::Failed,
        };
        let other_blocks =
            matches!(error, PublishError::ShortBlocks { .. } | PublishError::MixedBlocks { .. });
        let hint = "offswarm convert URL --to v4 puts the same in blocks that fill a torrent";
        let error = Self::new(exit, error);
        if other_blocks { error.hint(hint) } else { error }
    }
}

impl From<ConvertError> for CliError {
    fn from(error: ConvertError) -> Self {
        match error {
            ConvertError::Already { .. } => {
                Self::new(Exit::Usage, error).hint("get reads it as it is; put stores a file anew")
            }
            ConvertError::Read(error) => GetError::Read(error).into(),
            ConvertError::Member { path, source } => GetError::Member { path, source }.into(),
            ConvertError::Put(error) => error.into(),
        }
    }
}

impl From<UpkeepError> for CliError {
    fn from(error: UpkeepError) -> Self {
        let exit = match &error {
            UpkeepError::Unknown { .. } | UpkeepError::Read(ReadError::Missing(_)) => {
                Exit::NotFound
            }
            UpkeepError::Read(ReadError::Store(store)) | UpkeepError::Store(store) => {
                store_exit(store)
            }
            UpkeepError::Read(_) => Exit::Integrity,
            UpkeepError::Catalog(catalog) if catalog.is_corruption() => Exit::Integrity,
            UpkeepError::Catalog(_) | UpkeepError::Pack { .. } => Exit::Failed,
        };
        Self::new(exit, error)
    }
}

impl From<SwarmError> for CliError {
    fn from(error: SwarmError) -> Self {
        let exit = match &error {
            SwarmError::NotOff { .. } => Exit::Integrity,
            _ => Exit::Failed,
        };
        Self::new(exit, error)
    }
}

impl From<crate::catalog::CatalogError> for CliError {
    fn from(error: crate::catalog::CatalogError) -> Self {
        if error.is_corruption() {
            Self::new(Exit::Integrity, error).hint(CORRUPTED)
        } else {
            Self::new(Exit::Failed, error)
        }
    }
}

impl From<StoreError> for CliError {
    fn from(error: StoreError) -> Self {
        Self::new(store_exit(&error), error)
    }
}

pub(super) fn store_exit(error: &StoreError) -> Exit {
    if error.is_corruption() { Exit::Integrity } else { Exit::Failed }
}

/// What to try when a store or its disk is full.
pub(super) fn full_disk_hint(error: &StoreError) -> Vec<String> {
    let hint = match error {
        StoreError::Full { .. } => "raise --limit, or unpin or rm something",
        error if error.is_disk_full() => {
            "the disk is full; what was stored before is untouched. Free some space and try again"
        }
        _ => return Vec::new(),
    };
    vec![hint.into()]
}
