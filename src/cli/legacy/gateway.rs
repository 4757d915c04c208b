//! `offswarm legacy gateway`: files from the HTTP ports of other OFF programs.

use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::Serialize;
use tokio_util::sync::CancellationToken;

use crate::cli::args::{GatewayGetArgs, Global};
use crate::cli::exit::{CliError, Exit};
use crate::cli::get::{Sink, Target, typed};
use crate::cli::get_directory;
use crate::cli::output::Output;
use crate::cli::signals::Signals;
use crate::client::gateway::{TakeError, Tree, ask, member, take, take_directory};
use crate::client::put::PutOptions;
use crate::client::{Client, GetError, PutError};
use crate::gateway::{GatewayError, Node, NodeError, Wanted};
use crate::id::FileHash;
use crate::off::Directory;

#[derive(Serialize)]
struct Shown<'a> {
    path: Option<&'a Path>,
    /// The URL of what was put.
    url: Option<String>,
    files: u64,
    length: u64,
    /// What makes the file id: `sha256` or `blake3`. In a folder it may be another for each file.
    verified: Option<&'static str>,
    new_blocks: Option<u64>,
}

/// What is to be got, of whom, and for how long.
struct Errand<'a> {
    global: &'a Global,
    args: &'a GatewayGetArgs,
    output: &'a Output,
    node: Node,
    stop: CancellationToken,
}

pub(super) async fn get(
    global: &Global,
    args: &GatewayGetArgs,
    output: &Output,
    signals: &Signals,
) -> Result<Exit, CliError> {
    if args.put && args.output.as_deref().is_some_and(is_stdout) {
        let why = "the new OFF URL goes there";
        return Err(CliError::usage("cannot use --put with standard output for the file", why));
    }
    let text = typed(global, &args.url)?;
    let parsed = Wanted::parse(&text);
    let (wanted, path) =
        parsed.map_err(|error| CliError::usage("cannot read the OFF URL", error))?;
    wanted.check().map_err(TakeError::from)?;
    let limit = |time: Duration| (!time.is_zero()).then_some(time);
    let node = Node::new(&args.from, limit(args.patience.stall))?;
    // Not dropped when its time is over, so that a put that has begun is undone.
    let stop = signals.stop().child_token();
    let errand = Errand { global, args, output, node, stop: stop.clone() };
    let mut got = std::pin::pin!(errand.run(wanted, path));
    let Some(time) = limit(args.patience.timeout) else { return got.await };
    tokio::select! {
        got = &mut got => got,
        () = tokio::time::sleep(time) => {
            stop.cancel();
            match got.await {
                Err(error) if error.exit == Exit::Interrupted && !signals.stop().is_cancelled() => {
                    let why = format!("it did not come within {} s", time.as_secs_f64());
                    let late = CliError::failed(format!("cannot get it from {}", args.from), why);
                    Err(CliError { exit: Exit::NotFound, ..late })
                }
                got => got,
            }
        }
    }
}

impl Errand<'_> {
    async fn run(&self, wanted: Wanted, path: Option<String>) -> Result<Exit, CliError> {
        if !wanted.url().is_directory() {
            return self.file(&wanted, wanted.url().name()).await;
        }
        let Some(path) = path else { return self.directory(&wanted).await };
        let directory = take_directory(&self.node, &wanted, &self.stop).await?;
        let file = member(&directory, &path)?;
        self.file(&file, path.rsplit('/').next().unwrap_or(&path)).await
    }

    async fn file(&self, wanted: &Wanted, name: &str) -> Result<Exit, CliError> {
        let url = wanted.url();
        let mut sink = self.sink(name, &url.file().to_string())?;
        let mut body = ask(&self.node, wanted, &self.stop).await?;
        // The store only then: a node that has no such file should not leave one behind.
        let client = self.client()?;
        let options =
            PutOptions { content_type: url.content_type().to_owned(), ..self.options(name) };
        let put = client.as_ref().map(|client| (client, options));
        let mut progress = self.output.progress(Some(url.length()), true);
        let mut come = 0;
        let mut write = |part: &[u8]| {
            come += part.len() as u64;
            progress.set(come);
            sink.write(part, self.output)
        };
        let taken = take(&mut body, &mut write, put, &self.stop).await;
        drop(progress);
        let (hash, put) = match taken {
            // Whoever read our output has had enough.
            Err(TakeError::Write(error)) if error.kind() == io::ErrorKind::BrokenPipe => {
                return Ok(Exit::Done);
            }
            taken => taken.map_err(|error| sink.blamed(error))?,
        };
        let path = sink.keep()?;
        let shown = Shown {
            path: path.as_deref(),
            url: put.as_ref().map(|put| put.url.to_string()),
            files: 1,
            length: url.length(),
            verified: hash.map(hash_name),
            new_blocks: put.as_ref().map(|put| put.new_blocks),
        };
        self.show(&shown)?;
        let by = hash.map_or("", by_whom);
        self.output.remark(&format!("{} bytes, verified by {by}", url.length()));
        Ok(Exit::Done)
    }

    async fn directory(&self, wanted: &Wanted) -> Result<Exit, CliError> {
        let (args, global) = (self.args, self.global);
        let target = if args.put && args.output.is_none() {
            None
        } else {
            Some(get_directory::choose(global, args.output.as_deref(), wanted.url())?)
        };
        let directory = take_directory(&self.node, wanted, &self.stop).await?;
        let client = self.client()?;
        let place = target.as_deref().map(|target| global.env.at(target));
        let tree = Tree {
            node: &self.node,
            directory: &directory,
            target: place.as_deref(),
            put: client.as_ref().map(|client| (client, self.options(wanted.url().name()))),
            stop: &self.stop,
        };
        let mut progress = self.output.progress(Some(length_of(&directory)), true);
        let taken = tree.take(&mut |come| progress.set(come)).await?;
        drop(progress);
        let (put, written) = (taken.put.map(|done| done.put), taken.written);
        let shown = Shown {
            path: target.as_deref(),
            url: put.as_ref().map(|put| put.url.to_string()),
            files: written.files,
            length: written.bytes,
            verified: None,
            new_blocks: put.as_ref().map(|put| put.new_blocks),
        };
        self.show(&shown)?;
        let remark = format!("{} files, {} bytes, each verified", written.files, written.bytes);
        self.output.remark(&remark);
        Ok(Exit::Done)
    }

    /// Prints the new URL if there is one, else where the file is.
    fn show(&self, shown: &Shown<'_>) -> Result<(), CliError> {
        let text = match (&shown.url, shown.path) {
            (Some(url), _) => url.clone(),
            (None, Some(path)) => path.display().to_string(),
            // Bytes on standard output stay alone there.
            (None, None) => return Ok(()),
        };
        self.output.result(&text, shown)
    }

    /// Where to put it, if it is to be put.
    fn client(&self) -> Result<Option<Client>, CliError> {
        self.args.put.then(|| self.global.client()).transpose()
    }

    fn options(&self, name: &str) -> PutOptions {
        PutOptions {
            name: name.to_owned(),
            sealed: !self.args.plain,
            stop: self.stop.clone(),
            ..PutOptions::default()
        }
    }

    fn sink(&self, name: &str, fallback: &str) -> Result<Place, CliError> {
        match self.args.output.as_deref() {
            None if self.args.put => Ok(Place::Nowhere),
            Some(path) if is_stdout(path) => Ok(Place::Stdout),
            path => {
                let target = Target::choose(self.global, path, self.args.force, name, fallback)?;
                let sink = target.begin()?;
                Ok(Place::File(target, sink))
            }
        }
    }
}

/// Where the bytes of a file go.
enum Place {
    Nowhere,
    Stdout,
    File(Target, Sink),
}

impl Place {
    fn write(&mut self, part: &[u8], output: &Output) -> io::Result<()> {
        match self {
            Self::Nowhere => Ok(()),
            Self::File(_, sink) => sink.writer().write_all(part),
            Self::Stdout => {
                let mut stdout = output.stdout();
                stdout.write_all(part).and_then(|()| stdout.flush())
            }
        }
    }

    /// An error with the name of the file in it.
    fn blamed(&self, error: TakeError) -> CliError {
        match (self, error) {
            (Self::File(target, _), TakeError::Write(error)) => target.failed(error),
            (_, error) => error.into(),
        }
    }

    /// Gives a file its name: which.
    fn keep(self) -> Result<Option<PathBuf>, CliError> {
        let Self::File(target, sink) = self else { return Ok(None) };
        target.keep(sink, false)?;
        Ok(Some(target.path))
    }
}

fn is_stdout(path: &Path) -> bool {
    path.as_os_str() == "-"
}

fn length_of(directory: &Directory) -> u64 {
    directory.files().fold(0, |sum, url| sum.saturating_add(url.length()))
}

const fn hash_name(hash: FileHash) -> &'static str {
    match hash {
        FileHash::Sha256 => "sha256",
        FileHash::Blake3 => "blake3",
    }
}

const fn by_whom(hash: FileHash) -> &'static str {
    match hash {
        FileHash::Sha256 => "SHA-256 (js-offs)",
        FileHash::Blake3 => "BLAKE3 (OFFS)",
    }
}

impl From<NodeError> for CliError {
    fn from(error: NodeError) -> Self {
        let exit = match error {
            NodeError::Form(_) => Exit::Usage,
            NodeError::Client { .. } => Exit::Failed,
        };
        Self::new(exit, error)
    }
}

impl From<TakeError> for CliError {
    fn from(error: TakeError) -> Self {
        match error {
            TakeError::Gateway(source) => Self::new(exit_of(&source), source),
            TakeError::Member { ref source, .. } => Self::new(exit_of(source), error),
            TakeError::Directory(_) => Self::new(Exit::Integrity, error),
            TakeError::NoMember(_) => Self::new(Exit::NotFound, error),
            TakeError::Write(_) => Self::new(Exit::Failed, error),
            TakeError::Put(PutError::Stopped) | TakeError::Stopped => GetError::Stopped.into(),
            TakeError::Put(source) => source.into(),
            TakeError::Tree(source) => source.into(),
        }
    }
}

/// "Not there" and "not in time" are one, as where blocks are looked for; "another file" is a lie.
const fn exit_of(error: &GatewayError) -> Exit {
    match error {
        GatewayError::Version { .. } => Exit::Usage,
        GatewayError::Connect { .. }
        | GatewayError::Silent { .. }
        | GatewayError::Absent { .. }
        | GatewayError::Broken { .. }
        | GatewayError::Short { .. } => Exit::NotFound,
        GatewayError::Redirect { .. }
        | GatewayError::Status { .. }
        | GatewayError::Encoded { .. } => Exit::Failed,
        GatewayError::Long { .. } | GatewayError::WrongFile { .. } => Exit::Integrity,
    }
}
