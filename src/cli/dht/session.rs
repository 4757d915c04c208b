//! Asking the network as somebody who is about to leave.

use std::future::Future;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, timeout_at};

use crate::cli::args::{AskArgs, Global};
use crate::cli::exit::{CliError, Exit};
use crate::cli::output::Output;
use crate::krpc::driver::{Dht, DhtError, Joined, News, Options, Search, beside};
use crate::krpc::machine::{Aim, Nothing, Outcome};

use super::memory::Memory;

/// When to give up; `None` is never.
#[derive(Clone, Copy)]
pub(super) struct Deadline(Option<Instant>);

impl Deadline {
    pub(super) fn of(ask: &AskArgs) -> Self {
        let ends = ask.timeout > Duration::ZERO;
        // A time so far away that it cannot be told never comes.
        Self(ends.then(|| Instant::now().checked_add(ask.timeout)).flatten())
    }

    /// What comes in time.
    pub(super) async fn keep<T>(self, future: impl Future<Output = T>) -> Option<T> {
        match self.0 {
            Some(at) => timeout_at(at, future).await.ok(),
            None => Some(future.await),
        }
    }
}

/// A node that asks and answers nobody (BEP 43).
pub(super) struct Session {
    pub(super) dht: Dht,
    pub(super) memory: Memory,
    /// How joining went; `None` if it took too long.
    joined: Option<Joined>,
    deadline: Deadline,
    output: Output,
}

impl Session {
    /// Joins the network, or says why not.
    pub(super) async fn join(
        global: &Global,
        ask: &AskArgs,
        output: &Output,
    ) -> Result<Self, CliError> {
        let session = Self::try_join(global, ask, output).await?;
        match session.outside() {
            Some(error) => Err(error),
            None => Ok(session),
        }
    }

    /// Joins the network, or not.
    pub(super) async fn try_join(
        global: &Global,
        ask: &AskArgs,
        output: &Output,
    ) -> Result<Self, CliError> {
        let bootstrap = global.dht_entries(&ask.entries)?;
        let deadline = Deadline::of(ask);
        let memory = Memory::read(global.folder()?);
        let dht = start(Options { bootstrap, known: memory.known(), ..asker(ask) })?;
        let joined = deadline.keep(dht.joined()).await;
        Ok(Self { dht, memory, joined, deadline, output: output.clone() })
    }

    /// Why we are not in the network, if we are not.
    pub(super) fn outside(&self) -> Option<CliError> {
        let Some(joined) = &self.joined else {
            return Some(CliError::new(Exit::NotFound, "cannot join the DHT in time"));
        };
        joined.families.is_empty().then(|| not_joined(joined))
    }

    /// Begins to look for something.
    pub(super) async fn begin(&self, aim: Aim) -> Search {
        self.dht.search(aim, Vec::new()).await
    }

    /// What comes in next; `None` when it is over, or the time.
    pub(super) async fn next(&self, search: &mut Search) -> Option<News> {
        self.deadline.keep(search.next()).await.flatten()
    }

    /// What comes before the time is over.
    pub(super) async fn in_time<T>(&self, future: impl Future<Output = T>) -> Option<T> {
        self.deadline.keep(future).await
    }

    /// How it went, if it is over in time.
    pub(super) async fn outcome(&self, search: Search) -> Option<Outcome> {
        self.deadline.keep(search.outcome()).await
    }

    /// Leaves, and remembers the nodes if there is a home to do it in.
    pub(super) async fn leave(mut self) {
        if self.memory.has_home() {
            self.remember().await;
        }
        self.dht.stop().await;
    }

    /// Remembers the nodes. False if that is up to another process, or did not work out.
    pub(super) async fn remember(&mut self) -> bool {
        let found = self.dht.status().await.to_save();
        self.memory.write(found).unwrap_or_else(|error| {
            let error = CliError::from(error).chain().join(": ");
            self.output.remark(&format!("the nodes are not remembered: {error}"));
            false
        })
    }
}

/// Starts a node.
pub(super) fn start(options: Options) -> Result<Dht, CliError> {
    Dht::start(options).map_err(|error: DhtError| CliError::new(Exit::Failed, error))
}

/// A node that knows nobody and answers nobody.
pub(super) fn asker(ask: &AskArgs) -> Options {
    let from = ask.listen.unwrap_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED));
    Options {
        listen: beside(SocketAddr::new(from, 0)),
        read_only: true,
        native_port: 0,
        bootstrap: Vec::new(),
        state: None,
        known: Vec::new(),
        holdings: Arc::new(Nothing),
    }
}

/// Nobody let us in.
pub(super) fn not_joined(joined: &Joined) -> CliError {
    let asked = match joined.asked {
        0 => "no node to begin with is known".into(),
        1 => "1 node was asked, and it did not answer".into(),
        asked => format!("{asked} nodes were asked, and none answered"),
    };
    let unknown = match joined.unknown {
        0 => String::new(),
        1 => "; the name of another has no address".into(),
        unknown => format!("; the names of {unknown} others have no address"),
    };
    CliError::new(Exit::NotFound, format!("cannot join the DHT: {asked}{unknown}"))
        .hint("name a node that is there with --dht-bootstrap HOST:PORT")
}
