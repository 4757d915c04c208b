//! `offswarm pack`: blocks out and in as packs.

use std::ffi::OsString;
use std::io::{BufWriter, Write};
use std::path::Path;

use serde::Serialize;
use tempfile::NamedTempFile;

use crate::torrent::magnet::Magnet;

use super::args::{AdoptArgs, ExportArgs, Global, PackCommand};
use super::exit::{CliError, Exit};
use super::get::temporary;
use super::home::parse_url;
use super::output::Output;

#[derive(Serialize)]
struct Exported {
    file: String,
    blocks: u64,
    torrent: String,
    name: String,
    infohash: String,
    magnet: String,
}

#[derive(Serialize)]
struct Adopted {
    file: String,
    blocks: u64,
}

pub(super) fn run(
    global: &Global,
    command: &PackCommand,
    output: &Output,
) -> Result<Exit, CliError> {
    match command {
        PackCommand::Export(args) => export(global, args, output),
        PackCommand::Adopt(args) => adopt(global, args, output),
    }
}

fn export(global: &Global, args: &ExportArgs, output: &Output) -> Result<Exit, CliError> {
    let urls = args.urls.iter().map(|url| parse_url(url)).collect::<Result<Vec<_>, _>>()?;
    let client = global.existing_client()?;
    let torrent = args.torrent_out.clone().unwrap_or_else(|| {
        let mut name = OsString::from(&args.file);
        name.push(".torrent");
        name.into()
    });
    // Both before the work, so that a name that is wrong does not come up after it.
    let (mut pack_file, mut torrent_file) =
        (create(global, &args.file)?, create(global, &torrent)?);
    let pack = if args.all { client.pack_of_all()? } else { client.pack_of(&urls)? };
    let info = client.export(&pack, &mut BufWriter::new(&mut pack_file))?;
    keep(global, pack_file, &args.file)?;
    let metainfo = client.publish_pack(&pack, info, &args.tracker, &args.web_seed)?;
    torrent_file.write_all(&metainfo.encode()).map_err(|error| failed(&torrent, error))?;
    keep(global, torrent_file, &torrent)?;
    let info = &metainfo.info;
    let magnet = Magnet::to_torrent(&metainfo);
    let shown = Exported {
        file: args.file.display().to_string(),
        blocks: pack.order().len() as u64,
        torrent: torrent.display().to_string(),
        name: info.name.clone(),
        infohash: info.infohash.to_string(),
        magnet: magnet.to_string(),
    };
    output.result(&shown.magnet, &shown)?;
    let Exported { file, blocks, torrent, name, .. } = &shown;
    output.remark(&format!("{file}: {blocks} blocks; {torrent} names it {name}"));
    Ok(Exit::Done)
}

fn adopt(global: &Global, args: &AdoptArgs, output: &Output) -> Result<Exit, CliError> {
    let client = global.client()?;
    let blocks = client.adopt(&global.env.at(&args.file), args.in_place)?;
    let file = args.file.display().to_string();
    output
        .result(&format!("{file}: {blocks} new blocks"), &Adopted { file: file.clone(), blocks })?;
    Ok(Exit::Done)
}

fn create(global: &Global, path: &Path) -> Result<NamedTempFile, CliError> {
    temporary(&global.env.at(path)).map_err(|error| failed(path, error))
}

/// Gives a file its name, now that it is complete.
fn keep(global: &Global, file: NamedTempFile, path: &Path) -> Result<(), CliError> {
    file.as_file().sync_all().map_err(|error| failed(path, error))?;
    file.persist(global.env.at(path)).map_err(|error| failed(path, error.error))?;
    Ok(())
}

fn failed(path: &Path, error: std::io::Error) -> CliError {
    CliError::failed(format!("cannot write {}", path.display()), error)
}
