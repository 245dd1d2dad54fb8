//! The service manager's watchdog (`WatchdogSec=`): a loop that hangs gets the daemon restarted.
//!
//! The ping comes from the daemon's main loop and from nowhere else: a thread of its own would vouch for a loop that is stuck.

use std::time::Duration;

use sd_notify::NotifyState;

use crate::model::moment::Moment;
use crate::os::systemd::notify::send;

#[derive(Debug)]
pub struct Watchdog {
    every: Duration,
    due: Moment,
}

impl Watchdog {
    /// None where the service manager watches nobody.
    pub fn from_environment() -> Option<Self> {
        sd_notify::watchdog_enabled().map(Self::with_limit)
    }

    /// Half of the limit leaves room for one slow turn of the loop.
    fn with_limit(limit: Duration) -> Self {
        Self { every: limit / 2, due: Moment::START }
    }

    /// When the loop has to turn next.
    pub fn next(&self) -> Moment {
        self.due
    }

    /// Called in each turn of the loop.
    pub fn tick(&mut self, now: Moment) {
        if self.due <= now {
            send(&[NotifyState::Watchdog]);
            self.due = now + self.every;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pings_twice_as_often_as_it_must() {
        let mut watchdog = Watchdog::with_limit(Duration::from_secs(60));
        let at = |seconds| Moment::START + Duration::from_secs(seconds);
        watchdog.tick(at(0));
        assert_eq!(watchdog.next(), at(30));
        watchdog.tick(at(10));
        assert_eq!(watchdog.next(), at(30));
        watchdog.tick(at(31));
        assert_eq!(watchdog.next(), at(61));
    }
}
