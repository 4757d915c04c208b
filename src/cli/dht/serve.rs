//! `dht serve`: a node that others can ask.

use std::net::{Ipv4Addr, SocketAddr};
use std::pin::pin;
use std::sync::Arc;

use serde::Serialize;

use crate::cli::args::{Global, ServeArgs};
use crate::cli::exit::{CliError, Exit};
use crate::cli::output::Output;
use crate::cli::report::Report;
use crate::cli::signals::Signals;
use crate::krpc::driver::{Dht, Options, Status, beside};
use crate::krpc::machine::Nothing;
use crate::limits::dht::SAVE_EVERY;

use super::memory::Memory;
use super::nodes::ShownNetwork;
use super::session::{not_joined, start};

#[derive(Serialize)]
struct Listening<'a> {
    listen: &'a [SocketAddr],
}

#[derive(Serialize)]
struct ShownNode<'a> {
    listen: &'a [SocketAddr],
    networks: Vec<ShownNetwork>,
    /// Peers and items that others have it keep.
    kept_peers: usize,
    kept_items: usize,
    /// Datagrams and their bytes.
    sent: u64,
    sent_bytes: u64,
    received: u64,
    received_bytes: u64,
    /// Datagrams that were too many.
    dropped: u64,
}

impl<'a> ShownNode<'a> {
    fn of(dht: &'a Dht, status: &Status) -> Self {
        let counters = status.counters;
        Self {
            listen: dht.addresses(),
            networks: ShownNetwork::all(status),
            kept_peers: status.kept_peers,
            kept_items: status.kept_items,
            sent: counters.sent,
            sent_bytes: counters.sent_bytes,
            received: counters.received,
            received_bytes: counters.received_bytes,
            dropped: counters.dropped,
        }
    }

    fn line(&self) -> String {
        let sum =
            |count: fn(&ShownNetwork) -> usize| self.networks.iter().map(count).sum::<usize>();
        format!(
            "{} good nodes, {} questionable, {} bad, {} native; keeps {} peers and {} items; {} \
             datagrams sent, {} received",
            sum(|network| network.good),
            sum(|network| network.questionable),
            sum(|network| network.bad),
            sum(|network| network.native_nodes.len()),
            self.kept_peers,
            self.kept_items,
            self.sent,
            self.received,
        )
    }
}

pub(super) async fn run(
    global: &Global,
    args: &ServeArgs,
    output: &Output,
    signals: &Signals,
) -> Result<Exit, CliError> {
    let bootstrap = global.dht_entries(&args.entries)?;
    let mut memory = Memory::take(global.folder()?);
    let dht = start(Options {
        listen: beside(args.listen.unwrap_or((Ipv4Addr::UNSPECIFIED, 0).into())),
        read_only: false,
        native_port: 0,
        bootstrap,
        state: None,
        known: memory.known(),
        holdings: Arc::new(Nothing),
    })?;
    let lines: Vec<String> = dht.addresses().iter().map(ToString::to_string).collect();
    output.result(&lines.join("\n"), &Listening { listen: dht.addresses() })?;
    output.remark("answering nodes of the DHT; stop with Ctrl-C");
    let mut report = Report::new(&args.report, output);
    let mut save = tokio::time::interval_at(tokio::time::Instant::now() + SAVE_EVERY, SAVE_EVERY);
    let (mut joined, mut told) = (pin!(dht.joined()), false);
    loop {
        tokio::select! {
            () = signals.stop().cancelled() => break,
            joined = &mut joined, if !told => {
                told = true;
                if joined.families.is_empty() {
                    let error = not_joined(&joined).chain().join(": ");
                    output.remark(&format!("{error}. It is tried again, and others may ask"));
                }
            }
            () = report.due() => {
                let shown = ShownNode::of(&dht, &dht.status().await);
                report.say(&shown.line(), &shown)?;
            }
            _ = save.tick() => remember(&mut memory, &dht, output).await,
        }
    }
    remember(&mut memory, &dht, output).await;
    dht.stop().await;
    Ok(signals.end())
}

async fn remember(memory: &mut Memory, dht: &Dht, output: &Output) {
    if !memory.is_own() {
        return;
    }
    if let Err(error) = memory.write(dht.status().await.to_save()) {
        let error = CliError::from(error).chain().join(": ");
        output.remark(&format!("the nodes are not remembered: {error}"));
    }
}
