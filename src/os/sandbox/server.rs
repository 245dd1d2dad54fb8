//! The helper process: keeps chambers ready, hands out jobs, tells when they have ended.
//!
//! It has one thread and no state beyond the processes it has started. It ends when the network half does.

use std::collections::VecDeque;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};

use crate::os::sandbox::chamber::{Chamber, ChamberError, Craft};
use crate::os::sandbox::launch::{Attached, Reply, Request};
use crate::os::sandbox::message;
use crate::os::sys;

#[derive(Debug)]
pub(crate) struct Server {
    control: OwnedFd,
    craft: Craft,
    /// Ready for a job.
    warm: VecDeque<Chamber>,
    refills: Refills,
    /// This machine has just refused to make a chamber: the next request tries again, and says why if it fails.
    out_of_order: bool,
    busy: Vec<Busy>,
}

/// A chamber with a job in it.
#[derive(Debug)]
struct Busy {
    pid: i32,
    pidfd: OwnedFd,
    reply: OwnedFd,
}

/// Whether the helper goes on.
enum Next {
    Serve,
    End,
}

impl Server {
    /// Keeps `n_warm` chambers ready.
    pub(crate) fn new(control: OwnedFd, craft: Craft, n_warm: usize) -> Self {
        let refills = Refills::new(n_warm, Instant::now());
        Self { control, craft, warm: VecDeque::new(), refills, out_of_order: false, busy: Vec::new() }
    }

    /// Serves until the network half closes the line.
    pub(crate) fn serve(mut self) -> io::Result<()> {
        // Where it is not to be had, only time is lost.
        sys::ask_for_short_turns().ok();
        loop {
            let ready = self.wait(self.patience())?;
            self.reap(&ready.ended)?;
            // Requests first: a chamber takes as long to make as a small job to run.
            if ready.control {
                if matches!(self.answer()?, Next::End) {
                    return Ok(());
                }
            } else if self.patience() == Some(Duration::ZERO) {
                self.refill();
            }
        }
    }

    /// How long until a chamber is to be made ahead of need, if one is.
    fn patience(&self) -> Option<Duration> {
        self.refills.wait(Instant::now()).filter(|_| !self.out_of_order)
    }

    /// Waits for a request or the end of a process; no longer than `patience`.
    fn wait(&self, patience: Option<Duration>) -> io::Result<Ready> {
        let watched = self.busy.iter().map(|busy| &busy.pidfd).chain(self.warm.iter().map(|chamber| &chamber.pidfd));
        let mut fds = vec![PollFd::new(&self.control, PollFlags::IN)];
        fds.extend(watched.map(|pidfd| PollFd::new(pidfd, PollFlags::IN)));
        let patience = patience.map(|patience| Timespec::try_from(patience).expect("a moment"));
        match poll(&mut fds, patience.as_ref()) {
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(errno) => return Err(errno.into()),
        }
        let mut ready = fds.iter().map(|fd| !fd.revents().is_empty());
        Ok(Ready { control: ready.next().unwrap_or(false), ended: ready.collect() })
    }

    /// Takes one request and sends it into a chamber.
    fn answer(&mut self) -> io::Result<Next> {
        let Some((Request {}, descriptors)) = message::receive(&self.control)? else { return Ok(Next::End) };
        // The network half is not trusted: what makes no sense is dropped, and the dropped line tells it so.
        let Some(attached) = Attached::from_descriptors(descriptors) else { return Ok(Next::Serve) };
        let told = match self.chamber(&attached) {
            Ok(chamber) => {
                let told = message::send(&attached.reply, &Reply::Started, &[chamber.pidfd.as_fd()]);
                self.busy.push(Busy { pid: chamber.pid, pidfd: chamber.pidfd, reply: attached.reply });
                told
            }
            Err(error) => message::send(&attached.reply, &Reply::Failed(error.to_string()), &[]),
        };
        // A caller that is gone has killed its job, or will not miss the answer.
        told.ok();
        Ok(Next::Serve)
    }

    /// A chamber that has taken the job.
    fn chamber(&mut self, attached: &Attached) -> Result<Chamber, ChamberError> {
        while let Some(chamber) = self.warm.pop_front() {
            self.refills.taken(Instant::now());
            if chamber.enter(attached).is_ok() {
                return Ok(chamber);
            }
            // Killed from outside while it waited; `wait` has not shown it yet.
            sys::wait_with_usage(chamber.pid).ok();
        }
        let chamber = Chamber::make(&self.craft)?;
        self.out_of_order = false;
        chamber.enter(attached)?;
        Ok(chamber)
    }

    /// Makes the chamber that is due.
    fn refill(&mut self) {
        match Chamber::make(&self.craft) {
            Ok(chamber) => {
                self.refills.made(Instant::now());
                self.warm.push_back(chamber);
            }
            Err(_) => self.out_of_order = true,
        }
    }

    /// Waits for the processes that have ended, in the order of [`Server::wait`], and tells whom it concerns.
    fn reap(&mut self, ended: &[bool]) -> io::Result<()> {
        let (mut busy, mut warm) = (ended.iter().take(self.busy.len()), ended.iter().skip(self.busy.len()));
        let jobs = self.busy.extract_if(.., |_| busy.next() == Some(&true)).collect::<Vec<_>>();
        self.warm.retain(|chamber| {
            let ended = warm.next() == Some(&true);
            if ended {
                sys::wait_with_usage(chamber.pid).ok();
                self.refills.taken(Instant::now());
            }
            !ended
        });
        for job in jobs {
            let usage = sys::wait_with_usage(job.pid)?;
            message::send(&job.reply, &Reply::Ended { cpu: usage.cpu, peak_bytes: usage.peak_bytes }, &[]).ok();
        }
        Ok(())
    }
}

struct Ready {
    control: bool,
    /// One for each busy and then each warm chamber.
    ended: Vec<bool>,
}

/// Between the entry into a chamber and the making of the next: to make one takes processor time and the kernel's locks from whoever
/// starts something, and from a result that is on its way. By then most jobs have mounted, forked and executed what they need, and
/// compute; only an almost empty unit is done soon after (measured with `make bench`).
const SETTLED: Duration = Duration::from_millis(15);
/// Between two of them: jobs that began together leave the processors to each other.
const PAUSE: Duration = Duration::from_millis(5);

/// When chambers are made ahead of need: for each that is missing, not before this.
#[derive(Debug)]
struct Refills(VecDeque<Instant>);

impl Refills {
    fn new(n_missing: usize, now: Instant) -> Self {
        Self(std::iter::repeat_n(now, n_missing).collect())
    }

    /// One chamber less is ready.
    fn taken(&mut self, now: Instant) {
        self.0.push_back(now + SETTLED);
    }

    /// One chamber more is ready.
    fn made(&mut self, now: Instant) {
        self.0.pop_front();
        if let Some(next) = self.0.front_mut() {
            *next = (*next).max(now + PAUSE);
        }
    }

    /// How long until the next is to be made, if one is missing.
    fn wait(&self, now: Instant) -> Option<Duration> {
        Some(self.0.front()?.saturating_duration_since(now))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_chamber_is_replaced_when_its_job_has_settled() {
        let start = Instant::now();
        let at = |millis| start + Duration::from_millis(millis);
        let mut refills = Refills::new(2, start);
        assert_eq!(refills.wait(start), Some(Duration::ZERO));
        refills.made(start);
        assert_eq!(refills.wait(start), Some(PAUSE));
        refills.made(start + PAUSE);
        assert_eq!(refills.wait(start + PAUSE), None);
        refills.taken(at(100));
        refills.taken(at(110));
        assert_eq!(refills.wait(at(110)), Some(SETTLED - Duration::from_millis(10)));
        assert_eq!(refills.wait(at(100) + SETTLED), Some(Duration::ZERO));
        refills.made(at(100) + SETTLED);
        assert_eq!(refills.wait(at(100) + SETTLED), Some(Duration::from_millis(10)));
        refills.made(at(200));
        assert_eq!(refills.wait(at(200)), None);
    }
}
