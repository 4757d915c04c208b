//! `offswarm put`: store a file and print its OFF URL.

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

use serde::Serialize;

use crate::client::Client;
use crate::client::put::{Put, PutOptions};

use super::args::{Global, HowToPut, PutArgs};
use super::exit::{CliError, Exit};
use super::home::parse_url;
use super::output::Output;
use super::signals::Signals;

#[derive(Serialize)]
struct Shown {
    url: String,
    length: u64,
    new_blocks: u64,
}

pub(super) async fn run(
    global: &Global,
    args: PutArgs,
    output: Output,
    signals: &Signals,
) -> Result<Exit, CliError> {
    // The file first: a name that is wrong should not leave a store behind.
    let source = Source::open(&args.file, &args.how)?;
    let client = global.client()?;
    let put = tokio::task::spawn_blocking(move || source.put(&client, output));
    let put = tokio::select! {
        put = put => put.map_err(|error| CliError::failed("the put broke off", error))??,
        () = signals.stop().cancelled() => return Ok(Exit::Interrupted),
    };
    let url = put.url.to_string();
    let shown = Shown { url: url.clone(), length: put.url.length(), new_blocks: put.new_blocks };
    output.result(&url, &shown)?;
    Ok(Exit::Done)
}

/// A stream to put, open.
pub(super) struct Source {
    stream: Box<dyn Read + Send>,
    length: Option<u64>,
    label: String,
    options: PutOptions,
}

impl Source {
    /// Opens a file, or standard input for `-`.
    pub(super) fn open(path: &Path, how: &HowToPut) -> Result<Self, CliError> {
        let label = path.display().to_string();
        let (stream, length): (Box<dyn Read + Send>, _) = if path.as_os_str() == "-" {
            (Box::new(io::stdin()), None)
        } else {
            let (file, length) = open_file(path)
                .map_err(|error| CliError::failed(format!("cannot read {label}"), error))?;
            (Box::new(file), length)
        };
        let name = how.name.clone().unwrap_or_else(|| file_name(path));
        let guessed =
            || mime_guess::from_path(&name).first_or_octet_stream().essence_str().to_owned();
        let options = PutOptions {
            content_type: how.content_type.clone().unwrap_or_else(guessed),
            name: name.clone(),
            tuple: how.tuple,
            sealed: !how.plain,
            randomizers: how.randomizers.into(),
            recycle: how.recycle.iter().map(|url| parse_url(url)).collect::<Result<_, _>>()?,
        };
        Ok(Self { stream, length, label, options })
    }

    /// Puts it, with a progress bar.
    pub(super) fn put(mut self, client: &Client, output: Output) -> Result<Put, CliError> {
        let mut progress = output.progress(self.length, true);
        let put = client.put(&mut *self.stream, &self.options, &mut |read| {
            progress.set(read);
        });
        put.map_err(|error| {
            let CliError { exit, error, hints } = error.into();
            let attempt = CliError::failed(format!("cannot put {}", self.label), error);
            CliError { exit, hints, ..attempt }
        })
    }
}

fn open_file(path: &Path) -> io::Result<(File, Option<u64>)> {
    let file = File::open(path)?;
    let metadata = file.metadata()?;
    if metadata.is_dir() {
        return Err(io::ErrorKind::IsADirectory.into());
    }
    Ok((file, metadata.is_file().then_some(metadata.len())))
}

fn file_name(path: &Path) -> String {
    match path.file_name() {
        Some(name) if path.as_os_str() != "-" => name.to_string_lossy().into_owned(),
        _ => "stdin".into(),
    }
}
