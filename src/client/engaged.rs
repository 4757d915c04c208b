//! Swarms that a task uses: its own, or those that are open for everybody.

use std::ops::Deref;
use std::sync::Arc;

use crate::swarm::session::{SwarmError, Swarms};

use super::Client;
use super::fetch::Ways;

/// Swarms in use.
#[derive(Debug)]
pub enum Engaged {
    /// Opened for the task, and closed when it [ends](Self::end).
    Own(Box<Swarms>),
    /// Others use them, too.
    Shared(Arc<Swarms>),
}

impl Client {
    /// Those that `ways` names if it does, else some of its own.
    pub(super) async fn engage(&self, ways: &Ways) -> Result<Engaged, SwarmError> {
        match &ways.open {
            Some(open) => Ok(Engaged::Shared(Arc::clone(open))),
            None => Ok(Engaged::Own(Box::new(self.swarms(&ways.swarms).await?))),
        }
    }
}

impl Engaged {
    /// Closes them, if nobody else uses them.
    pub async fn end(self) {
        if let Self::Own(swarms) = self {
            swarms.stop().await;
        }
    }
}

impl Deref for Engaged {
    type Target = Swarms;

    fn deref(&self) -> &Swarms {
        match self {
            Self::Own(swarms) => swarms,
            Self::Shared(swarms) => swarms,
        }
    }
}
