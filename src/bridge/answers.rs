//! What is answered to each call.

use std::net::IpAddr;
use std::sync::Arc;

use bytes::Bytes;
use tokio::task::spawn_blocking;

use crate::client::Hosted;
use crate::id::{BlockId, LegacyId};
use crate::legacy::contacts::distance;
use crate::legacy::cuckoo::Filter;
use crate::legacy::message::{Answer, Call, Request};
use crate::legacy::upkeep::locked;
use crate::limits::legacy::LEGACY_RANDOM_SAMPLE;
use crate::off::{Block, BlockSize};
use crate::store::{Presence, StoreError, Upkeep};

use super::{Shared, household};

impl Shared {
    /// The answer to a request; `None` is silence.
    /// `from` is where it came from.
    pub(super) async fn answer_to(&self, request: &Request, from: IpAddr) -> Option<Answer> {
        let caller = request.caller;
        match &request.call {
            Call::Ping => Some(Answer::Success),
            Call::FindNode { target, count } => {
                let contacts = locked(&self.contacts);
                Some(Answer::Nodes(contacts.closest(target.as_bytes(), *count, caller)))
            }
            Call::FindValue { size, id, count } => {
                let found = match self.look_for(*size, *id, from).await {
                    Some(block) => {
                        Answer::Value { size: *size, id: *id, data: block.bytes().clone() }
                    }
                    None => {
                        let nodes = locked(&self.contacts).closest(id.as_bytes(), *count, caller);
                        Answer::Elsewhere { size: *size, id: *id, nodes }
                    }
                };
                Some(found)
            }
            Call::Store { size, value } => Some(self.keep(*size, value.clone()).await),
            Call::Random { size, filter } => Some(self.random(*size, filter.clone(), caller).await),
            Call::PingValue { size, id } => {
                let is_here = self.block(*id).await.is_some_and(|block| block.size() == *size);
                is_here.then_some(Answer::Success)
            }
            Call::PingStorage { .. } => Some(Answer::Capacity(self.fullness().await)),
        }
    }

    /// A block that is here, or is brought because somebody at an address asks for it.
    async fn look_for(&self, size: BlockSize, id: BlockId, by: IpAddr) -> Option<Block> {
        let here = self.block(id).await.filter(|block| block.size() == size);
        let patience = self.bounds.patience;
        match here {
            None if patience.is_zero() => None,
            None => self.relay.bring(id, size, household(by), patience).await,
            here => here,
        }
    }

    /// A block that is here.
    async fn block(&self, id: BlockId) -> Option<Block> {
        let store = Arc::clone(self.session.client().store());
        let read = spawn_blocking(move || store.get(&id)).await.ok()?;
        let failed = |error: &StoreError| {
            self.complaints.fail(&format_args!("cannot serve the block {id}: {error}"));
        };
        read.inspect_err(failed).ok()?
    }

    /// Keeps a block for somebody else, if that is our policy. It has no id: it is what it is.
    async fn keep(&self, size: BlockSize, value: Bytes) -> Answer {
        if value.len() != size.len() {
            tracing::debug!(len = value.len(), ?size, "a block to keep has another length");
            return Answer::Failure;
        }
        let client = self.session.client().clone();
        if !client.hosts() {
            return Answer::Failure;
        }
        let kept = spawn_blocking(move || {
            // It outlives the request, which may be much longer.
            let value = Bytes::copy_from_slice(&value);
            let block = Block::check(BlockId::of(&value), value).ok()?;
            Some(client.host(&block))
        });
        match kept.await {
            Ok(Some(Ok(Hosted::Kept | Hosted::Held))) => Answer::Success,
            Ok(Some(Ok(Hosted::Refused(why)))) => {
                tracing::debug!("a block of somebody else is not taken in: {why}");
                Answer::Failure
            }
            Ok(Some(Err(error))) => {
                self.complaints.fail(&format_args!("cannot keep a block: {error}"));
                Answer::Failure
            }
            Ok(None) | Err(_) => Answer::Failure,
        }
    }

    async fn random(&self, size: BlockSize, filter: Bytes, caller: LegacyId) -> Answer {
        // Nobody closes these.
        let _place = self.random.acquire().await;
        let store = Arc::clone(self.session.client().store());
        let picked = spawn_blocking(move || {
            let filter = match Filter::decode(&filter) {
                Ok(filter) => filter,
                Err(error) => {
                    tracing::debug!("no block for a filter that is none: {error}");
                    return Ok(None);
                }
            };
            match closest_outside(&*store, size, &filter, caller)? {
                Some(id) => store.get(&id),
                None => Ok(None),
            }
        });
        match picked.await {
            Ok(Ok(Some(block))) => Answer::Random { size, value: block.bytes().clone() },
            Ok(Ok(None)) | Err(_) => Answer::Failure,
            Ok(Err(error)) => {
                self.complaints.fail(&format_args!("cannot look for a block: {error}"));
                Answer::Failure
            }
        }
    }

    /// How full the store is, in percent of its limit. One without a limit is never full.
    async fn fullness(&self) -> f32 {
        let client = self.session.client().clone();
        let census = spawn_blocking(move || Some((client.store().census().ok()?, client.limit()?)));
        match census.await {
            Ok(Some((census, limit))) => percent(census.bytes, limit),
            _ => 0.0,
        }
    }
}

#[expect(clippy::cast_precision_loss, reason = "nobody needs more digits than a float has")]
fn percent(part: u64, whole: u64) -> f32 {
    part as f32 * 100.0 / whole.max(1) as f32
}

/// Of the blocks that are here the one closest to a node that it does not have. Of a large store only
/// some are looked at, drawn at random.
fn closest_outside(
    store: &dyn Upkeep,
    size: BlockSize,
    filter: &Filter,
    to: LegacyId,
) -> Result<Option<BlockId>, StoreError> {
    let mut closest: Option<(u32, BlockId)> = None;
    for id in store.draws(size, rand::random())?.take(LEGACY_RANDOM_SAMPLE) {
        let id = id?;
        let far = distance(id.as_bytes(), to.as_bytes());
        let is_closer = closest.is_none_or(|(other, _)| far < other);
        if is_closer && !filter.contains(&id) && store.presence(&id)? == Presence::Held {
            closest = Some((far, id));
        }
    }
    Ok(closest.map(|(_, id)| id))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fullness_is_in_percent() {
        assert!((percent(1, 4) - 25.0).abs() < f32::EPSILON);
        assert!(percent(0, 0) < f32::EPSILON);
    }
}
