//! `offswarm convert`: put what an OFF URL stands for again, with one of the other version.

use crate::client::Client;
use crate::client::ReadError;
use crate::client::convert::{ConvertError, Converted};
use crate::client::put::PutOptions;
use crate::off::{OffUrl, TupleSize, Version};
use crate::store::StoreError;

use super::args::{ConvertArgs, Global, VersionArg};
use super::exit::{CliError, Exit};
use super::get::{Wanted, typed};
use super::home::parse_url_with_path;
use super::output::Output;
use super::put::Done;
use super::signals::Signals;

pub(super) async fn run(
    global: &Global,
    args: ConvertArgs,
    output: &Output,
    signals: &Signals,
) -> Result<Exit, CliError> {
    let version = Version::from(args.to);
    if args.to == VersionArg::V3 && args.hiding.tuple != TupleSize::default() {
        let why = "tuples of version 3 have three blocks";
        return Err(CliError::usage("cannot use --tuple with --to v3", why));
    }
    let (url, path) = parse_url_with_path(&typed(global, &args.from.what)?)?;
    // Of a directory it shows in its files, too.
    if !url.is_directory() && url.version() == version {
        let url = url.canonical().to_string();
        return Err(ConvertError::Already { url, version }.into());
    }
    let options = PutOptions { version, ..args.hiding.options(signals)? };
    let ways = args.from.ways(global)?;
    let client = global.client()?;
    let wanted = Wanted { url, path };
    loop {
        let (url, _) = wanted.fetch(&client, &ways, output, signals.stop()).await?;
        let converted = tokio::task::block_in_place(|| convert(&client, &url, &options, output));
        match converted {
            Ok(done) => return done.tell(output),
            // The block has left the index, so the next round fetches it or says who is hurt.
            Err(error) if is_damage(&error) => {
                tokio::task::block_in_place(|| client.find_damage(&url))?;
            }
            Err(error) => return Err(error.into()),
        }
    }
}

/// Converts a URL whose blocks are here, with a progress bar.
fn convert(
    client: &Client,
    url: &OffUrl,
    options: &PutOptions,
    output: &Output,
) -> Result<Done, ConvertError> {
    let length = (!url.is_directory()).then_some(url.length());
    let mut progress = output.progress(length, true);
    let done = match client.convert(url, options, &mut |read| progress.set(read))? {
        Converted::File(put) => Done::file(put),
        Converted::Directory(done) => Done::folder(done, |path| path),
    };
    done.remark(output);
    Ok(done)
}

fn is_damage(error: &ConvertError) -> bool {
    let source = match error {
        ConvertError::Read(source) => source,
        ConvertError::Member { source, .. } => source,
        _ => return false,
    };
    matches!(source, ReadError::Store(StoreError::Damaged { .. }))
}
