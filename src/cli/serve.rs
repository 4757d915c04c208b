//! `offswarm serve`, `status` and `log`: the daemon.

use std::sync::Arc;

use serde::Serialize;

use crate::daemon::config::Config;
use crate::daemon::log::LogFilter;
use crate::daemon::status::{ServiceStatus, Status};
use crate::daemon::token;
use crate::daemon::{Daemon, DaemonError, Ready, Setup};

use super::args::{DaemonArgs, Global, LogArgs};
use super::exit::{CliError, Exit};
use super::output::{Output, inert};
use super::remote::server::Server;
use super::signals::Signals;

#[derive(Serialize)]
struct ShownReady {
    http: Option<String>,
    peers: Option<String>,
    legacy: Option<String>,
    home: String,
}

pub(super) async fn run(
    global: &Global,
    args: &DaemonArgs,
    log: &LogFilter,
    output: &Output,
    signals: &Signals,
) -> Result<Exit, CliError> {
    let config = Config::load(&global.config_file()?, &args.keys.0)?;
    let home = std::path::absolute(global.folder()?)
        .map_err(|error| CliError::failed("cannot tell the home", error))?;
    // The file may say something else than the flags that this process began with.
    log.set(&config.values.log).map_err(|why| CliError::usage("cannot log", why))?;
    let setup = Setup {
        home: home.clone(),
        config,
        log: log.clone(),
        commands: Arc::new(Server),
        fault_injection: args.fault_injection,
    };
    let mut told = Ok(());
    let ready = |ready: &Ready| told = say_ready(ready, home.display().to_string(), output);
    crate::daemon::run(setup, signals.stop().clone(), ready).await?;
    told?;
    Ok(signals.end())
}

fn say_ready(ready: &Ready, home: String, output: &Output) -> Result<(), CliError> {
    let shown = ShownReady {
        http: ready.http.map(|address| format!("http://{address}/")),
        peers: ready.peers.map(|address| address.to_string()),
        legacy: ready.legacy.map(|address| address.to_string()),
        home,
    };
    match &shown.http {
        None if !output.is_json() => output.remark("no HTTP is served"),
        http => output.result(http.as_deref().unwrap_or_default(), &shown)?,
    }
    if let Some(legacy) = &shown.legacy {
        output.remark(&format!("answering js-offs nodes at {legacy}; legacy id shows our locator"));
    }
    output.remark(&format!("serving {}; stop with Ctrl-C", shown.home));
    if ready.http.is_some_and(|address| !address.ip().is_loopback()) {
        output.remark(&format!("whoever asks needs the token in {}/{}", shown.home, token::NAME));
    }
    Ok(())
}

/// The daemon that runs the command. There is none if the command runs here.
fn daemon(global: &Global) -> Result<&Daemon, CliError> {
    let home = || global.folder().map_or(String::new(), |home| home.display().to_string());
    global.env.daemon().ok_or_else(|| {
        CliError::new(Exit::Failed, format!("no daemon runs in {}", home()))
            .hint("start one with offswarm serve")
    })
}

pub(super) fn status(global: &Global, output: &Output) -> Result<Exit, CliError> {
    let status = daemon(global)?.status()?;
    output.result(&text(&status), &status)?;
    Ok(Exit::Done)
}

fn text(status: &Status) -> String {
    let or_none = |text: &Option<String>| text.clone().unwrap_or_else(|| "nowhere".into());
    let bytes = |count: u64| bytesize::ByteSize(count).to_string();
    let Status { version, home, store, rates, totals, peers, .. } = status;
    let limit = store.limit.map_or(String::new(), |limit| format!(" of {}", bytes(limit)));
    let up = std::time::Duration::from_secs(status.uptime_ms / 1_000);
    let mut lines = vec![
        format!("version   {version}"),
        format!("home      {home}"),
        format!("up        {}", humantime::format_duration(up)),
        format!("http      {}", or_none(&status.listen)),
        format!("peers at  {}", or_none(&status.peers_listen)),
        format!(
            "store     {} blocks, {}{limit}, {} damaged",
            store.blocks,
            bytes(store.bytes),
            store.damaged
        ),
        format!("sent      {} ({}/s)", bytes(totals.sent), bytes(rates.sent_per_second)),
        format!("received  {} ({}/s)", bytes(totals.received), bytes(rates.received_per_second)),
        format!("peers     {} of BitTorrent, {} native", peers.bittorrent, peers.native),
    ];
    lines.extend(status.dht_nodes.map(|nodes| format!("DHT       {nodes} nodes")));
    lines.push(format!("transfers {} under way", status.transfers_running));
    lines.extend(status.services.iter().map(service));
    lines.join("\n")
}

fn service(service: &ServiceStatus) -> String {
    let ServiceStatus { name, state, health, reason, restarts, last_error, .. } = service;
    let mut line = format!("service   {name}: {state}, {health}");
    let mut add = |what: String| {
        line.push_str(", ");
        line.push_str(&inert(&what));
    };
    if let Some(reason) = reason {
        add(reason.clone());
    }
    if *restarts > 0 {
        add(format!("started again {restarts} times"));
    }
    if let Some(error) = last_error {
        add(format!("the last error: {error}"));
    }
    line
}

#[derive(Serialize)]
struct ShownFilter {
    filter: String,
}

pub(super) fn log(global: &Global, args: &LogArgs, output: &Output) -> Result<Exit, CliError> {
    let log = daemon(global)?.log();
    if let Some(filter) = &args.filter {
        log.set(filter).map_err(|why| CliError::usage("cannot log", why))?;
    }
    let filter = log.filter();
    output.result(&filter.clone(), &ShownFilter { filter })?;
    Ok(Exit::Done)
}

impl From<DaemonError> for CliError {
    fn from(error: DaemonError) -> Self {
        match error {
            DaemonError::Config(error) => error.into(),
            DaemonError::Open(error) => error.into(),
            DaemonError::Peers { .. } => Self::new(Exit::Failed, error)
                .hint("another program has the port; name another with --listen"),
            DaemonError::Listen { .. } => Self::new(Exit::Failed, error)
                .hint("another program has the port; name another with --http-listen"),
            DaemonError::Legacy { .. } => Self::new(Exit::Failed, error)
                .hint("another program has the port; name another with --legacy-listen"),
            error => Self::new(Exit::Failed, error),
        }
    }
}
