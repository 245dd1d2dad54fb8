//! The only place that reads a clock.

use std::time::Instant;

use crate::model::moment::Moment;

/// Time since the daemon started.
#[derive(Clone, Copy, Debug)]
pub struct Clock {
    start: Instant,
}

impl Clock {
    /// Starts at zero now.
    #[expect(clippy::new_without_default, reason = "a clock that starts by default would start by accident")]
    pub fn new() -> Self {
        Self { start: Instant::now() }
    }

    pub fn now(&self) -> Moment {
        Moment::after_start(self.start.elapsed())
    }

    /// When `moment` will be, for timers.
    pub fn instant(&self, moment: Moment) -> Instant {
        self.start + moment.since_start()
    }
}
