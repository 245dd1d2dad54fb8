//! The only place that reads a clock.

use std::time::{Duration, Instant, SystemTime};

use crate::model::job::FileTime;
use crate::model::moment::Moment;
use crate::os::sys;

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

/// The time of day, in the form that file systems have it.
pub fn file_time_now() -> FileTime {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    FileTime { seconds: i64::try_from(now.as_secs()).unwrap_or(i64::MAX), nanoseconds: now.subsec_nanos() }
}

/// The time of day, in microseconds, as D-Bus interfaces have it.
pub fn usec_since_1970() -> u64 {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    u64::try_from(now.as_micros()).unwrap_or(u64::MAX)
}

/// User plus system time of this process and of all children it has waited for.
pub fn cpu_time() -> Duration {
    sys::cpu_time(sys::Whose::Own) + sys::cpu_time(sys::Whose::Children)
}
