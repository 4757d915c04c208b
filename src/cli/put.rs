//! `offswarm put`: store a file or folder and print its OFF URL.

use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use serde::Serialize;

use crate::client::Client;
use crate::client::put::{Put, PutOptions};
use crate::client::put_directory::{PutDirectory, Skipped, content_type_of};
use crate::off::Version;

use super::args::{Global, HidingArgs, HowToPut, PutArgs};
use super::env::Env;
use super::exit::{CliError, Exit};
use super::home::parse_url;
use super::output::Output;
use super::signals::Signals;

#[derive(Serialize)]
struct Shown {
    url: String,
    length: u64,
    new_blocks: u64,
    #[serde(flatten)]
    folder: Option<ShownFolder>,
}

#[derive(Serialize)]
struct ShownFolder {
    files: u64,
    bytes: u64,
    skipped: Vec<ShownSkipped>,
}

#[derive(Serialize)]
struct ShownSkipped {
    path: String,
    why: String,
}

pub(super) async fn run(
    global: &Global,
    args: PutArgs,
    output: &Output,
    signals: &Signals,
) -> Result<Exit, CliError> {
    // The file first: a name that is wrong should not leave a store behind.
    let source = Source::open(global, &args.file, &args.how, signals)?;
    let source = if args.v3 { source.in_version(Version::V3) } else { source };
    let client = global.client()?;
    let put = tokio::task::spawn_blocking({
        let output = output.clone();
        move || source.put(&client, &output)
    });
    let put = tokio::select! {
        put = put => put.map_err(|error| CliError::failed("the put broke off", error))??,
        () = signals.stop().cancelled() => return Ok(Exit::Interrupted),
    };
    put.tell(output)
}

impl HidingArgs {
    /// The options of a put that is hidden so and ends with the program.
    pub(super) fn options(&self, signals: &Signals) -> Result<PutOptions, CliError> {
        Ok(PutOptions {
            tuple: self.tuple,
            sealed: !self.plain,
            randomizers: self.randomizers.into(),
            recycle: self.recycle.iter().map(|url| parse_url(url)).collect::<Result<_, _>>()?,
            stop: signals.stop().clone(),
            ..PutOptions::default()
        })
    }
}

/// What came of a put.
pub(super) struct Done {
    pub(super) put: Put,
    folder: Option<ShownFolder>,
}

impl Done {
    /// How the program ends if nothing else goes wrong.
    pub(super) fn exit(&self) -> Exit {
        match &self.folder {
            Some(folder) if !folder.skipped.is_empty() => Exit::Partial,
            _ => Exit::Done,
        }
    }

    /// Of a file.
    pub(super) const fn file(put: Put) -> Self {
        Self { put, folder: None }
    }

    /// Of a folder, with what was left out `as_typed`.
    pub(super) fn folder(done: PutDirectory, as_typed: impl Fn(PathBuf) -> PathBuf) -> Self {
        let PutDirectory { put, files, bytes, skipped } = done;
        let skipped = skipped.into_iter().map(|Skipped { path, why }| {
            let path = as_typed(path).display().to_string();
            ShownSkipped { path, why }
        });
        let folder = ShownFolder { files, bytes, skipped: skipped.collect() };
        Self { put, folder: Some(folder) }
    }

    /// Says what was left out.
    pub(super) fn remark(&self, output: &Output) {
        for ShownSkipped { path, why } in self.folder.iter().flat_map(|folder| &folder.skipped) {
            output.remark(&format!("left out {path:?}: {why}"));
        }
    }

    /// Prints the URL: how the program ends.
    pub(super) fn tell(self, output: &Output) -> Result<Exit, CliError> {
        let exit = self.exit();
        let Self { put, folder } = self;
        let url = put.url.to_string();
        let (length, new_blocks) = (put.url.length(), put.new_blocks);
        output.result(&url, &Shown { url: url.clone(), length, new_blocks, folder })?;
        Ok(exit)
    }
}

/// What to put.
pub(super) struct Source {
    kind: Kind,
    /// As it was typed.
    path: PathBuf,
    env: Env,
    options: PutOptions,
}

enum Kind {
    /// A stream, open, and its bytes if they are known.
    Stream(Box<dyn Read + Send>, Option<u64>),
    Folder(PathBuf),
}

impl Source {
    /// Opens a file, or standard input for `-`, or takes a folder.
    pub(super) fn open(
        global: &Global,
        path: &Path,
        how: &HowToPut,
        signals: &Signals,
    ) -> Result<Self, CliError> {
        let (label, place) = (path.display(), global.env.at(path));
        let kind = if path.as_os_str() == "-" {
            Kind::Stream(global.env.stdin(), None)
        } else if place.is_dir() {
            std::fs::read_dir(&place)
                .map_err(|error| CliError::failed(format!("cannot read {label}"), error))?;
            Kind::Folder(place.clone())
        } else {
            let (file, length) = open_file(&place)
                .map_err(|error| CliError::failed(format!("cannot read {label}"), error))?;
            Kind::Stream(Box::new(file), length)
        };
        if let (Kind::Folder(_), Some(_)) = (&kind, &how.content_type) {
            let why = "a folder has a content type of its own";
            return Err(CliError::usage(format!("cannot use --type with {label}"), why));
        }
        let name = how.name.clone().unwrap_or_else(|| file_name(path, &place));
        let options = PutOptions {
            content_type: how.content_type.clone().unwrap_or_else(|| content_type_of(&name)),
            name: name.clone(),
            executable: false,
            ..how.hiding.options(signals)?
        };
        Ok(Self { kind, path: path.to_owned(), env: global.env.clone(), options })
    }

    /// Has its URL be one of this version.
    fn in_version(self, version: Version) -> Self {
        Self { options: PutOptions { version, ..self.options }, ..self }
    }

    /// Puts it, with a progress bar.
    pub(super) fn put(self, client: &Client, output: &Output) -> Result<Done, CliError> {
        let Self { kind, path: typed, env, options } = self;
        let length = if let Kind::Stream(_, length) = &kind { *length } else { None };
        let mut progress = output.progress(length, true);
        let mut progress = |read| progress.set(read);
        let done = match kind {
            Kind::Stream(mut stream, _) => {
                client.put(&mut *stream, &options, &mut progress).map(Done::file)
            }
            Kind::Folder(path) => client
                .put_directory(&path, &options, &mut progress)
                .map(|done| Done::folder(done, |path| env.typed(&typed, &path).to_owned())),
        };
        let done = done.map_err(|error| {
            let CliError { exit, error, hints } = error.into();
            let attempt = CliError::failed(format!("cannot put {}", typed.display()), error);
            CliError { exit, hints, ..attempt }
        })?;
        done.remark(output);
        Ok(done)
    }
}

fn open_file(path: &Path) -> io::Result<(File, Option<u64>)> {
    let file = File::open(path)?;
    let metadata = file.metadata()?;
    Ok((file, metadata.is_file().then_some(metadata.len())))
}

/// The name of a file or folder, also of one called `.`.
fn file_name(path: &Path, place: &Path) -> String {
    let whole = if place.is_dir() { place.canonicalize().ok() } else { None };
    match whole.as_deref().unwrap_or(path).file_name() {
        Some(name) if path.as_os_str() != "-" => name.to_string_lossy().into_owned(),
        _ => "stdin".into(),
    }
}
