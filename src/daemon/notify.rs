//! What systemd is told (`sd_notify(3)`), if it started us: that we are ready, that we are alive, that
//! we stop. Without it nothing happens.

use std::time::Duration;

use sd_notify::NotifyState;
use tokio_util::sync::CancellationToken;

use crate::supervise::Board;

use super::services::statuses;

fn tell(states: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(states) {
        tracing::warn!("systemd is not told: {error}");
    }
}

/// Says that everybody can reach us.
pub(super) fn ready(status: &str) {
    tell(&[NotifyState::Ready, NotifyState::Status(status)]);
}

/// Says that we stop.
pub(super) fn stopping() {
    tell(&[NotifyState::Stopping]);
}

/// Says now and then that we are alive, until it is stopped. Who has given up on a service does not
/// say it.
pub(super) async fn keep_alive(board: Board, stop: CancellationToken) {
    let Some(period) = sd_notify::watchdog_enabled() else { return };
    let mut beats = tokio::time::interval((period / 2).max(Duration::from_millis(100)));
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            _ = beats.tick() => {
                if statuses(&board).iter().all(|service| service.state != "failed") {
                    tell(&[NotifyState::Watchdog]);
                }
            }
        }
    }
}
