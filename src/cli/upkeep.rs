//! `offswarm pin`, `unpin`, `rm` and `gc`: what is worth keeping.

use serde::Serialize;

use super::args::{GcArgs, Global, UrlArgs};
use super::exit::{CliError, Exit};
use super::home::parse_url;
use super::output::Output;

#[derive(Serialize)]
struct Pinned {
    url: String,
    pinned: bool,
}

pub(super) fn pin(
    global: &Global,
    args: &UrlArgs,
    pinned: bool,
    output: &Output,
) -> Result<Exit, CliError> {
    let urls = args.urls.iter().map(|url| parse_url(url)).collect::<Result<Vec<_>, _>>()?;
    let client = global.existing_client()?;
    for url in urls {
        let changed = if pinned { client.pin(&url)? } else { client.unpin(&url)? };
        let url = url.canonical().to_string();
        let what = if pinned { "pinned" } else { "not pinned" };
        let already = if changed { "" } else { " already" };
        output.result(&format!("{url} is {what}{already}"), &Pinned { url, pinned })?;
    }
    Ok(Exit::Done)
}

#[derive(Serialize)]
struct Removed {
    url: Option<String>,
    freed_blocks: u64,
    freed_bytes: u64,
    dry_run: bool,
}

pub(super) fn rm(global: &Global, args: &UrlArgs, output: &Output) -> Result<Exit, CliError> {
    let urls = args.urls.iter().map(|url| parse_url(url)).collect::<Result<Vec<_>, _>>()?;
    let client = global.existing_client()?;
    for url in urls {
        let freed = client.rm(&url)?;
        let text = format!("freed {} bytes ({} blocks)", freed.bytes, freed.blocks);
        let removed = Removed {
            url: Some(url.canonical().to_string()),
            freed_blocks: freed.blocks,
            freed_bytes: freed.bytes,
            dry_run: false,
        };
        output.result(&text, &removed)?;
    }
    Ok(Exit::Done)
}

pub(super) fn gc(global: &Global, args: &GcArgs, output: &Output) -> Result<Exit, CliError> {
    let client = global.existing_client()?;
    let freed = client.gc(args.dry_run)?;
    let would = if args.dry_run { "would free" } else { "freed" };
    let text = format!("{would} {} bytes ({} blocks)", freed.bytes, freed.blocks);
    let removed = Removed {
        url: None,
        freed_blocks: freed.blocks,
        freed_bytes: freed.bytes,
        dry_run: args.dry_run,
    };
    output.result(&text, &removed)?;
    Ok(Exit::Done)
}
