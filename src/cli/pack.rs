//! `offswarm export` and `adopt`: packs out and in.

use std::io::BufWriter;

use serde::Serialize;

use super::args::{AdoptArgs, ExportArgs, Global};
use super::exit::{CliError, Exit};
use super::get::temporary;
use super::home::parse_url;
use super::output::Output;

#[derive(Serialize)]
struct Pack {
    file: String,
    blocks: u64,
}

pub(super) fn export(global: &Global, args: &ExportArgs, output: Output) -> Result<Exit, CliError> {
    let urls = args.urls.iter().map(|url| parse_url(url)).collect::<Result<Vec<_>, _>>()?;
    let client = global.existing_client()?;
    let order = if args.all { client.all_blocks()? } else { client.blocks_of(&urls)? };
    let shown = args.file.display().to_string();
    let failed = |error| CliError::failed(format!("cannot write {shown}"), error);
    let mut file = temporary(&args.file).map_err(failed)?;
    let blocks = client.export(&order, &mut BufWriter::new(&mut file))?;
    file.as_file().sync_all().map_err(failed)?;
    file.persist(&args.file).map_err(|error| failed(error.error))?;
    output.result(&format!("{shown}: {blocks} blocks"), &Pack { file: shown.clone(), blocks })?;
    Ok(Exit::Done)
}

pub(super) fn adopt(global: &Global, args: &AdoptArgs, output: Output) -> Result<Exit, CliError> {
    let client = global.client()?;
    let blocks = client.adopt(&args.file, args.in_place)?;
    let file = args.file.display().to_string();
    output.result(&format!("{file}: {blocks} new blocks"), &Pack { file: file.clone(), blocks })?;
    Ok(Exit::Done)
}
