//! `offswarm check` and `repair`: what is damaged, whom it hurts, and how it heals.

use serde::Serialize;

use crate::client::Client;
use crate::client::fetch::Fetched;
use crate::client::upkeep::Hurt;

use super::args::{CheckArgs, Global, RepairArgs};
use super::exit::{CliError, Exit};
use super::get::{fetch, swarm_ways};
use super::home::parse_url;
use super::network;
use super::output::Output;
use super::signals::Signals;

#[derive(Serialize)]
struct HurtUrl {
    url: String,
    damaged: Vec<String>,
    missing: u64,
    blocks: u64,
}

#[derive(Serialize)]
struct Checked {
    blocks: u64,
    blocks_read: u64,
    damaged: Vec<String>,
    urls: usize,
    urls_hurt: usize,
}

pub(super) fn check(
    global: &Global,
    args: &CheckArgs,
    output: &Output,
    signals: &Signals,
) -> Result<Exit, CliError> {
    let client = global.existing_client()?;
    let mut read = 0;
    if args.read_data {
        match read_data(&client, args.restart, output, signals)? {
            Some(blocks) => read = blocks,
            None => return Ok(Exit::Interrupted),
        }
    }
    let hurt = client.hurt()?;
    let damaged: Vec<String> = client.store().damaged()?.iter().map(ToString::to_string).collect();
    for id in &damaged {
        output.remark(&format!("block {id} is damaged"));
    }
    for hurt in &hurt {
        show(hurt, output)?;
    }
    let checked = Checked {
        blocks: client.store().census()?.blocks,
        blocks_read: read,
        urls: client.known_urls()?.len(),
        urls_hurt: hurt.len(),
        damaged,
    };
    let text = format!(
        "{} blocks, {read} of them read, {} damaged; {} of {} URLs hurt",
        checked.blocks,
        checked.damaged.len(),
        checked.urls_hurt,
        checked.urls
    );
    output.result(&text, &checked)?;
    Ok(match (checked.damaged.is_empty(), hurt.is_empty()) {
        (false, _) => Exit::Integrity,
        (true, false) => Exit::Partial,
        (true, true) => Exit::Done,
    })
}

/// Reads every block: how many, or `None` if it was interrupted. The place is remembered after
/// every batch.
fn read_data(
    client: &Client,
    restart: bool,
    output: &Output,
    signals: &Signals,
) -> Result<Option<u64>, CliError> {
    let catalog = client.catalog();
    let mut place = if restart { None } else { catalog.check_place()? }.unwrap_or(0);
    if place > 0 {
        output.remark("going on with the check that was interrupted");
    }
    let mut progress = output.progress(Some(client.store().census()?.blocks), false);
    let mut read = 0;
    while let Some((next, blocks)) = client.verify_some(place)? {
        place = next;
        read += blocks;
        progress.set(read);
        catalog.set_check_place(Some(place))?;
        if signals.stop().is_cancelled() {
            return Ok(None);
        }
    }
    catalog.set_check_place(None)?;
    Ok(Some(read))
}

fn show(hurt: &Hurt, output: &Output) -> Result<(), CliError> {
    let shown = HurtUrl {
        url: hurt.url.to_string(),
        damaged: hurt.damaged.iter().map(ToString::to_string).collect(),
        missing: hurt.missing,
        blocks: hurt.blocks,
    };
    let HurtUrl { url, damaged, missing, blocks } = &shown;
    let damaged = damaged.len();
    output.result(&format!("{url} lacks {missing} of {blocks} blocks, {damaged} damaged"), &shown)
}

#[derive(Serialize)]
struct Repaired {
    url: String,
    healed: bool,
    blocks_fetched: u64,
}

pub(super) async fn repair(
    global: &Global,
    args: &RepairArgs,
    output: &Output,
    signals: &Signals,
) -> Result<Exit, CliError> {
    let named = args.urls.iter().map(|url| parse_url(url)).collect::<Result<Vec<_>, _>>()?;
    let client = global.existing_client()?;
    let urls = if named.is_empty() {
        client.hurt()?.into_iter().map(|hurt| hurt.url).collect()
    } else {
        named
    };
    let ways = swarm_ways(global, &args.swarm, args.rungs, &args.patience)?;
    let (mut healed, mut last) = (0, Exit::Done);
    for url in &urls {
        tokio::task::block_in_place(|| client.find_damage(url))?;
        let fetched = fetch(&client, url, &ways, output, signals.stop()).await;
        let is_whole = fetched.is_ok();
        let blocks_fetched = fetched.as_ref().map_or(0, Fetched::came);
        match fetched {
            Ok(_) => healed += 1,
            Err(error) if error.exit == Exit::Interrupted => return Err(error),
            Err(error) => last = output.fail(&error),
        }
        let shown = Repaired { url: url.canonical().to_string(), healed: is_whole, blocks_fetched };
        let how = if is_whole { "is whole" } else { "is still hurt" };
        output.result(&format!("{} {how}", shown.url), &shown)?;
        if let Some(copies) = args.push.filter(|_| is_whole)
            && !network::push(&client, url, &ways, copies, (output, signals.stop())).await?
        {
            last = Exit::Partial;
        }
    }
    output.remark(&format!("{healed} of {} URLs are whole", urls.len()));
    Ok(if healed > 0 && last != Exit::Done { Exit::Partial } else { last })
}
