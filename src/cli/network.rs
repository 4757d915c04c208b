//! `offswarm stat --network` and `repair --push`: copies of blocks in the network.

use std::time::Duration;

use serde::Serialize;
use tokio_util::sync::CancellationToken;

use crate::client::Client;
use crate::client::copies::{Copies, Pushed};
use crate::client::fetch::Ways;
use crate::off::OffUrl;

use super::args::{Global, Patience, StatArgs};
use super::exit::{CliError, Exit};
use super::get::swarm_ways;
use super::home::parse_url;
use super::output::Output;
use super::signals::Signals;

/// How long peers are looked for where the user set no limit.
const LOOK: Duration = Duration::from_secs(10);

/// How many copies of a URL's blocks were found elsewhere.
#[derive(Serialize)]
struct ShownCopies {
    url: String,
    blocks: usize,
    native_peers: u64,
    native_hosts: u64,
    swarm_peers: u64,
    copies_min: u32,
    copies_mean: f64,
    /// Blocks with fewer than `copies_wanted` copies.
    blocks_below: u64,
    copies_wanted: u32,
}

impl ShownCopies {
    fn new(url: &OffUrl, copies: &Copies, wanted: u32) -> Self {
        Self {
            url: url.canonical().to_string(),
            blocks: copies.counts().len(),
            native_peers: copies.native_peers(),
            native_hosts: copies.hosts(),
            swarm_peers: copies.swarm_peers(),
            copies_min: copies.least(),
            copies_mean: copies.mean(),
            blocks_below: copies.below(wanted),
            copies_wanted: wanted,
        }
    }

    fn text(&self) -> String {
        let Self { native_peers, native_hosts, swarm_peers, copies_min, copies_mean, .. } = self;
        format!(
            "asked     {native_peers} native peers ({native_hosts} keep blocks of others), \
             {swarm_peers} others in the swarm\n\
             copies    {copies_min} at least, {copies_mean:.2} on the average, elsewhere\n\
             below     {} of {} blocks have fewer than {} copies",
            self.blocks_below, self.blocks, self.copies_wanted
        )
    }
}

/// Shows how many copies of the blocks of a URL there are elsewhere.
pub(super) async fn stat(
    global: &Global,
    args: &StatArgs,
    output: &Output,
    signals: &Signals,
) -> Result<Exit, CliError> {
    let url = parse_url(args.url.as_deref().unwrap_or_default())?;
    let client = global.existing_client()?;
    let patience = Patience { timeout: args.timeout, stall: args.timeout };
    let ways = swarm_ways(global, &args.swarm, args.rungs, &patience)?;
    let network = client.network(&url, &ways, args.timeout, signals.stop()).await?;
    let copies = network.copies(signals.stop()).await;
    network.leave().await;
    if signals.stop().is_cancelled() {
        return Ok(Exit::Interrupted);
    }
    let shown = ShownCopies::new(&url, &copies, args.copies);
    output.result(&shown.text(), &shown)?;
    Ok(if shown.blocks_below == 0 { Exit::Done } else { Exit::Partial })
}

#[derive(Serialize)]
struct ShownPushed {
    url: String,
    copies_made: u64,
    pushes_refused: u64,
    blocks_below: u64,
    copies_wanted: u32,
}

/// Has native peers keep copies of the blocks of a URL that have fewer than `wanted`: whether all
/// have as many now.
pub(super) async fn push(
    client: &Client,
    url: &OffUrl,
    ways: &Ways,
    wanted: u32,
    (output, stop): (&Output, &CancellationToken),
) -> Result<bool, CliError> {
    let patience = ways.timeout.unwrap_or(LOOK);
    let network = client.network(url, ways, patience, stop).await?;
    let mut copies = network.copies(stop).await;
    let found = ShownCopies::new(url, &copies, wanted);
    found.text().lines().for_each(|line| output.remark(line));
    let mut progress = output.progress(Some(found.blocks_below), false);
    let pushed = network.push(&mut copies, wanted, stop, &mut |made| progress.set(made)).await;
    drop(progress);
    network.leave().await;
    let Pushed { copies: copies_made, refused: pushes_refused, below } = pushed;
    let shown = ShownPushed {
        url: url.canonical().to_string(),
        copies_made,
        pushes_refused,
        blocks_below: below,
        copies_wanted: wanted,
    };
    let text = format!(
        "{copies_made} copies made, {pushes_refused} pushes refused; \
         {below} blocks have fewer than {wanted} copies"
    );
    output.result(&text, &shown)?;
    Ok(below == 0)
}
