//! Waiting for descriptors, with a bound.

use std::io;
use std::time::Duration;

use rustix::event::{PollFd, Timespec, poll};
use rustix::io::Errno;

use crate::os::clock::Clock;

/// A moment in the future.
#[derive(Clone, Copy, Debug)]
pub struct Deadline {
    clock: Clock,
    after: Duration,
}

impl Deadline {
    pub fn after(duration: Duration) -> Self {
        Self { clock: Clock::new(), after: duration }
    }

    /// Zero once it has passed.
    pub fn left(&self) -> Duration {
        self.after.saturating_sub(self.elapsed())
    }

    /// Since it was set.
    pub fn elapsed(&self) -> Duration {
        self.clock.now().since_start()
    }
}

/// True as soon as one of `fds` is ready, false when `deadline` passes first.
pub fn wait_for(fds: &mut [PollFd<'_>], deadline: Deadline) -> io::Result<bool> {
    loop {
        let left = deadline.left();
        // A deadline beyond what the kernel counts is none.
        let timeout = Timespec::try_from(left).ok();
        match poll(fds, timeout.as_ref()) {
            Ok(0) => return Ok(false),
            Ok(_) => return Ok(true),
            Err(Errno::INTR) => {}
            Err(errno) => return Err(errno.into()),
        }
    }
}
