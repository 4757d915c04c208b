//! `offswarm get` of a directory: a tree of files.

use std::path::{Path, PathBuf};

use serde::Serialize;

use crate::client::fetch::{Fetched, Ways};
use crate::client::{GetError, ReadError};
use crate::off::{OffUrl, directory, name};
use crate::store::StoreError;

use super::args::{GetArgs, Global};
use super::exit::{CliError, Exit};
use super::get::{Sources, fetch};
use super::output::Output;
use super::signals::Signals;

#[derive(Serialize)]
struct Shown<'a> {
    path: &'a Path,
    files: u64,
    bytes: u64,
    #[serde(flatten)]
    sources: Sources,
}

pub(super) async fn run(
    global: &Global,
    args: &GetArgs,
    url: &OffUrl,
    ways: &Ways,
    output: &Output,
    signals: &Signals,
) -> Result<Exit, CliError> {
    let target = choose(global, args.output.as_deref(), url)?;
    let place = global.env.at(&target);
    let client = global.client()?;
    let mut total = Fetched::default();
    loop {
        let fetched = fetch(&client, url, ways, output, signals.stop()).await?;
        total = total.then(fetched);
        let written = tokio::task::block_in_place(|| {
            let mut progress = output.progress(None, true);
            client.write_directory(url, &place, signals.stop(), &mut |bytes| progress.set(bytes))
        });
        let written = match written {
            Ok(written) => written,
            // The block has left the index, so the next round fetches it or says who is hurt.
            Err(error) if is_damage(&error) => {
                tokio::task::block_in_place(|| client.find_damage(url))?;
                continue;
            }
            Err(error) => return Err(error.into()),
        };
        let sources = Sources::from(total);
        let shown = Shown { path: &target, files: written.files, bytes: written.bytes, sources };
        output.result(&target.display().to_string(), &shown)?;
        output.remark(&format!("{} files, {} bytes; {sources}", written.files, written.bytes));
        return Ok(Exit::Done);
    }
}

/// The folder to make. None that exists is changed.
pub(super) fn choose(
    global: &Global,
    output: Option<&Path>,
    url: &OffUrl,
) -> Result<PathBuf, CliError> {
    let stem = url.name().strip_suffix(directory::EXTENSION).unwrap_or(url.name());
    let own = name::safe(stem, &url.file().to_string());
    let target = match output {
        Some(path) if path.as_os_str() == "-" => {
            return Err(CliError::new(Exit::Usage, "a folder cannot go to standard output")
                .hint("name a folder with --output, or list its files with ls"));
        }
        Some(path) if global.env.at(path).is_dir() => path.join(own),
        Some(path) => path.to_owned(),
        None => own.into(),
    };
    if global.env.at(&target).symlink_metadata().is_ok() {
        return Err(CliError::failed(format!("cannot write {}", target.display()), "it exists")
            .hint("name another folder with --output"));
    }
    Ok(target)
}

const fn is_damage(error: &GetError) -> bool {
    let read = match error {
        GetError::Read(read) => read,
        GetError::Member { source, .. } => source,
        _ => return false,
    };
    matches!(read, ReadError::Store(StoreError::Damaged { .. }))
}
