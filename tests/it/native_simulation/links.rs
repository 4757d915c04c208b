//! The links of the simulated network: what goes over them, and what nodes answer.

use std::time::{Duration, Instant};

use bytes::Bytes;
use offswarm::off::Block;
use offswarm::peer::native::message::NativeMessage;
use offswarm::peer::native::session::{Output, Session, bits};

use super::network::{Happening, LinkKey, NodeKey, Task, TaskKey, World};
use super::node::Nature;

/// A connection: the first end has brought it about and wants something of the second.
pub(super) struct Link {
    task: TaskKey,
    ends: [NodeKey; 2],
    sessions: [Session; 2],
    since: Instant,
    delay: Duration,
    /// When all is there that goes to each end.
    clear: [Instant; 2],
    serves: bool,
    /// What its task has moved is counted here.
    purpose: Purpose,
}

/// What a task is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Purpose {
    Get,
    Copies,
}

/// How connections come about, and end.
impl World {
    /// Begins a connection, if the other node is up.
    pub(super) fn dial(
        &mut self,
        task: TaskKey,
        purpose: Purpose,
        ends: [NodeKey; 2],
    ) -> Option<LinkKey> {
        let [from, to] = ends;
        if !self.nodes[to].is_up() || self.nodes[from].banned.contains(&to) {
            return None;
        }
        self.number += 1;
        let (key, now, delay) =
            (self.number, self.now, self.nodes[from].delay + self.nodes[to].delay);
        let sessions = [Session::new(now), Session::new(now)];
        let link = Link {
            task,
            ends,
            sessions,
            since: now,
            delay,
            clear: [now; 2],
            serves: false,
            purpose,
        };
        self.links.insert(key, link);
        // To and fro for the connection, and once more for the handshakes.
        self.after(delay * 4, Happening::Greeted(key));
        Some(key)
    }

    pub(super) fn hang_up(&mut self, link: LinkKey) {
        self.links.remove(&link);
    }

    /// The session of the end that has brought a link about.
    pub(super) fn session(&mut self, link: LinkKey) -> &mut Session {
        &mut self.links.get_mut(&link).unwrap().sessions[0]
    }

    /// Does what one end of a link has to do.
    pub(super) fn pump(&mut self, key: LinkKey, end: usize) {
        loop {
            let Some(link) = self.links.get_mut(&key) else { return };
            let Some(output) = link.sessions[end].poll(false) else { break };
            if let Some(message) = self.act(key, end, output) {
                self.send(key, end, message, self.now);
            }
        }
        let Some(link) = self.links.get_mut(&key) else { return };
        if link.sessions[end].to_serve() > 0 && !link.serves {
            link.serves = true;
            let free = self.nodes[link.ends[end]].busy_until.max(self.now);
            self.at(free, Happening::Serve(key));
        }
    }
}

/// What goes over links.
impl World {
    /// The other end of a link, if it has not left since.
    fn is_there(&self, key: LinkKey) -> bool {
        self.links.get(&key).is_some_and(|link| {
            self.nodes[link.ends[1]].up_since.is_some_and(|since| since <= link.since)
        })
    }

    pub(super) fn greeted(&mut self, key: LinkKey) {
        if !self.is_there(key) {
            return;
        }
        let hello = |node: NodeKey| self.wire.hello(self.nodes[node].hosts);
        let [ours, theirs] = self.links[&key].ends.map(hello);
        let link = self.links.get_mut(&key).unwrap();
        link.sessions[0].greeted(theirs);
        link.sessions[1].greeted(ours);
        let task = link.task;
        self.with(task, |world, task| match task {
            Task::Get(get) => get.greeted(world, key),
            Task::Tend(tend) => tend.greeted(world, key),
        });
    }

    fn send(&mut self, key: LinkKey, from: usize, message: NativeMessage, ready: Instant) {
        let (message, weight) = self.wire.pass(message);
        let Some(link) = self.links.get_mut(&key) else { return };
        let at = (ready + link.delay).max(link.clear[1 - from]);
        link.clear[1 - from] = at;
        match link.purpose {
            Purpose::Get => self.tally.moved += weight,
            Purpose::Copies => self.tally.tended += weight,
        }
        self.at(at, Happening::Message(key, 1 - from, message));
    }

    pub(super) fn hear(&mut self, key: LinkKey, end: usize, message: NativeMessage) {
        if end == 1 && !self.is_there(key) {
            return;
        }
        let now = self.now;
        let Some(link) = self.links.get_mut(&key) else { return };
        let (ends, task) = (link.ends, link.task);
        let event = link.sessions[end].handle(message, now);
        let event = event.unwrap_or_else(|error| panic!("{ends:?} to {end}: {error}"));
        match event {
            None => self.pump(key, end),
            Some(event) => self.with(task, |world, task| match task {
                Task::Get(get) => get.happened(world, key, event),
                Task::Tend(tend) => tend.happened(world, key, event),
            }),
        }
    }

    /// What a node answers, if it does.
    fn act(&mut self, key: LinkKey, end: usize, output: Output) -> Option<NativeMessage> {
        let link = &self.links[&key];
        let node = &mut self.nodes[link.ends[end]];
        match output {
            Output::Send(message) => Some(message),
            Output::Look { ids, uses } => {
                let have: Option<Vec<bool>> = ids.iter().map(|id| node.claims(id)).collect();
                let uses = if uses { vec![1; ids.len()] } else { Vec::new() };
                Some(NativeMessage::Have { bits: bits(have?), uses })
            }
            Output::Host(id, bytes) => {
                let kept = match node.nature {
                    Nature::Deaf => return None,
                    Nature::Honest => {
                        let block = Block::check(id, bytes).unwrap();
                        node.hosts && node.store.host(id, block.bytes().clone(), self.now)
                    }
                    _ => true,
                };
                self.tally.pushed.count(kept);
                let url = self.tasks.get(&link.task).map(Task::url);
                if let (true, Some(url)) = (kept, url) {
                    node.helps.insert(url);
                    let host = link.ends[end];
                    self.announce(url, host);
                }
                Some(NativeMessage::Have { bits: bits([kept]), uses: Vec::new() })
            }
            Output::Serve(_) => panic!("nothing is served before its turn"),
        }
    }

    /// Sends the next block of a link, or that it is not here.
    pub(super) fn serve(&mut self, key: LinkKey) {
        if !self.is_there(key) {
            return;
        }
        let Some(link) = self.links.get_mut(&key) else { return };
        link.serves = false;
        let Some(Output::Serve(id)) = link.sessions[1].poll(true) else { return };
        let node = &mut self.nodes[link.ends[1]];
        let bytes = match node.nature {
            Nature::Honest => node.store.read(&id),
            Nature::Wrong => Some(Bytes::from_static(&[7; 136])),
            _ => None,
        };
        let is_silent = matches!(node.nature, Nature::Mute | Nature::Deaf);
        let mut ready = self.now;
        if bytes.is_some() {
            node.busy_until = node.busy_until.max(self.now) + node.pace;
            ready = node.busy_until;
        }
        if !is_silent {
            let lack = || NativeMessage::Lack(vec![id]);
            let message = bytes.map_or_else(lack, |bytes| NativeMessage::Block(id, bytes));
            self.send(key, 1, message, ready);
        }
        self.pump(key, 1);
    }
}
