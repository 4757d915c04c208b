//! What others are answered.

use std::net::SocketAddr;
use std::time::Instant;

use super::tasks::{check, raw};
use super::{
    Body, Contact, Family, Holdings, KrpcError, Machine, Method, OffAnswer, Query, Response,
};
use crate::id::{InfoHash, Target};
use crate::krpc::contact::Host;
use crate::krpc::message::RawItem;
use crate::krpc::native::have_bits;
use crate::krpc::peers::Wanted;
use crate::limits::dht::{BUCKET_NODES, MAX_GOSSIP, MAX_VALUES_SENT};

impl Machine {
    /// Answers a query that is within the rates.
    pub(super) fn answer(
        &mut self,
        from: SocketAddr,
        transaction: Vec<u8>,
        query: &Query,
        read_only: bool,
        holdings: &dyn Holdings,
        now: Instant,
    ) {
        let Some(id) = self.id(Family::of(&from)).filter(|id| *id != query.id) else { return };
        if query.token.as_ref().is_some_and(|token| self.tokens.check(token, from, now)) {
            self.guard.prove(from, now);
        }
        let asker = Contact { id: query.id, address: from };
        let is_new = !read_only && self.is_wanted(&asker, now);
        let is_proven = self.guard.allowance(from, now) == usize::MAX;
        let mut response = Response::of(id);
        let body = match self.fill(&mut response, from, query, now) {
            Ok(()) => {
                if let Some(off) = &query.off {
                    let have = off.ids.iter().map(|id| holdings.has(id));
                    response.off = Some(OffAnswer {
                        // Who asks again with the token is proven, and we can get to know it.
                        cut: is_new && !is_proven,
                        have: have_bits(have),
                        on: self.gossip(from, now),
                        port: self.config.native_port,
                    });
                    let may_return = is_new || query.method.finds_nodes();
                    if response.token.is_none() && !is_proven && may_return {
                        response.token = Some(self.tokens.token(from, now).to_vec());
                    }
                }
                Body::Response(Box::new(response))
            }
            Err(error) => Body::Error(error),
        };
        // What a stranger need not know leaves it some credit, and enough of that buys a ping.
        self.reply(from, transaction, body, is_new && !is_proven, now);
        if !read_only {
            self.meet(asker, now);
        }
    }

    /// Whether there is a place for a node in the routing table.
    pub(super) fn is_wanted(&self, contact: &Contact, now: Instant) -> bool {
        let side = self.side(Family::of(&contact.address));
        side.is_some_and(|side| side.table.wants(contact, now))
    }

    /// What a method answers, beside the id.
    fn fill(
        &mut self,
        response: &mut Response,
        from: SocketAddr,
        query: &Query,
        now: Instant,
    ) -> Result<(), KrpcError> {
        match &query.method {
            Method::Ping => {}
            Method::FindNode { target } => self.name_nodes(response, target, query, from, now),
            Method::GetPeers { infohash } => {
                let wanted = Wanted {
                    infohash: *infohash,
                    family: Family::of(&from),
                    no_seeds: query.wants_no_seeds(),
                    at_most: MAX_VALUES_SENT,
                };
                response.values = self.peers.values(&wanted, &mut self.chance, now);
                response.token = Some(self.tokens.token(from, now).to_vec());
                self.name_nodes(response, &infohash.target(), query, from, now);
            }
            Method::AnnouncePeer { infohash, port, implied_port, seed } => {
                self.check_token(query, from, now)?;
                let port = if *implied_port { from.port() } else { *port };
                self.keep_peer(*infohash, SocketAddr::new(from.ip(), port), *seed, now)?;
            }
            Method::Get { target, seq } => {
                response.token = Some(self.tokens.token(from, now).to_vec());
                response.item = self.items.get(target, now).map(raw).map(|item| newer(item, *seq));
                self.name_nodes(response, target, query, from, now);
            }
            Method::Put { item, cas } => {
                self.check_token(query, from, now)?;
                let item = check(item, &item.salt)?;
                let kept = self.items.put(item, *cas, Host::of(from), now);
                kept.map_err(|refusal| KrpcError::new(refusal.code(), refusal.to_string()))?;
            }
            Method::OffFind { target } => {
                for family in Family::ALL {
                    if query.want.includes(family, Family::of(&from)) {
                        let closest = self.natives.closest(target, family, BUCKET_NODES, now);
                        *response.nodes_of(family) = Some(closest);
                    }
                }
            }
            Method::Unknown { target: Some(target), .. } => {
                self.name_nodes(response, target, query, from, now);
            }
            Method::Unknown { .. } => {
                return Err(KrpcError::new(
                    KrpcError::UNKNOWN_METHOD,
                    "nobody here knows this method",
                ));
            }
        }
        Ok(())
    }

    fn name_nodes(
        &self,
        response: &mut Response,
        target: &Target,
        query: &Query,
        from: SocketAddr,
        now: Instant,
    ) {
        for side in &self.sides {
            if query.want.includes(side.family, Family::of(&from)) {
                let mut closest = side.table.closest(target, BUCKET_NODES + 1, now);
                closest.retain(|contact| contact.address != from);
                closest.truncate(BUCKET_NODES);
                *response.nodes_of(side.family) = Some(closest);
            }
        }
    }

    fn check_token(&self, query: &Query, from: SocketAddr, now: Instant) -> Result<(), KrpcError> {
        let good = query.token.as_ref().is_some_and(|token| self.tokens.check(token, from, now));
        good.then_some(()).ok_or_else(|| KrpcError::new(KrpcError::PROTOCOL, "bad token"))
    }

    fn keep_peer(
        &mut self,
        infohash: InfoHash,
        peer: SocketAddr,
        seed: bool,
        now: Instant,
    ) -> Result<(), KrpcError> {
        if peer.port() == 0 {
            return Err(KrpcError::new(KrpcError::PROTOCOL, "no peer listens on port 0"));
        }
        // Who may not have more is not told so: it would only announce something else.
        self.peers.announce(infohash, peer, seed, now);
        Ok(())
    }

    /// Native nodes for one that asks.
    fn gossip(&mut self, from: SocketAddr, now: Instant) -> Vec<Contact> {
        let family = Family::of(&from);
        let mut on = self.natives.some(family, MAX_GOSSIP, &mut self.chance, now);
        on.retain(|contact| contact.address != from);
        on
    }
}

/// What is left of an item for who has one of this number already (BEP 44).
fn newer(item: RawItem, seq: Option<i64>) -> RawItem {
    match (seq, item.seq) {
        (Some(known), Some(kept)) if kept <= known => {
            RawItem { seq: Some(kept), ..RawItem::default() }
        }
        _ => RawItem { salt: Vec::new(), ..item },
    }
}
