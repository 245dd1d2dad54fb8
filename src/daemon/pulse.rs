//! What a daemon's loop tells the service manager: that it is ready, how it is, that it still turns.

use crate::model::moment::Moment;
use crate::os::systemd::messages;
use crate::os::systemd::notify::Notifier;
use crate::os::systemd::watchdog::Watchdog;

/// Owned by the loop itself: a watchdog that anybody else could feed would prove nothing.
#[derive(Debug, Default)]
pub struct Pulse {
    watchdog: Option<Watchdog>,
    notifier: Notifier,
    is_ready: bool,
}

impl Pulse {
    pub fn from_environment() -> Self {
        Self { watchdog: Watchdog::from_environment(), notifier: Notifier::new(), is_ready: false }
    }

    /// One turn of the loop. The first one after the daemon can serve says so; `status` is what `systemctl status` shows.
    pub fn beat(&mut self, now: Moment, can_serve: bool, status: &str) {
        if can_serve && !self.is_ready {
            self.is_ready = true;
            tracing::info!(message_id = messages::STARTED, "started");
            self.notifier.ready(now, status);
        }
        self.notifier.status(now, status);
        if let Some(watchdog) = &mut self.watchdog {
            watchdog.tick(now);
        }
    }

    /// The configuration has been read again: `systemctl reload` ends with this.
    pub fn reloaded(&mut self, now: Moment, status: &str) {
        self.notifier.reloading();
        self.notifier.ready(now, status);
    }

    /// From here on nothing new is taken.
    pub fn stopping(&self) {
        tracing::info!(message_id = messages::STOPPING, "stopping");
        self.notifier.stopping("stopping");
    }
}
