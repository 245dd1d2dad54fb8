//! The helper process: keeps chambers ready, hands out jobs, tells when they have ended.
//!
//! It has one thread and no state beyond the processes it has started. It ends when the network half does.

use std::collections::VecDeque;
use std::io;
use std::os::fd::{AsFd, OwnedFd};

use rustix::event::{PollFd, PollFlags, Timespec, poll};

use crate::os::sandbox::chamber::{Chamber, ChamberError, Craft};
use crate::os::sandbox::launch::{Attached, Reply, Request};
use crate::os::sandbox::message;
use crate::os::sys;

/// Small jobs have ended by then.
const QUIET: Timespec = Timespec { tv_sec: 0, tv_nsec: 100_000_000 };

#[derive(Debug)]
pub(crate) struct Server {
    control: OwnedFd,
    craft: Craft,
    /// Chambers to keep ready.
    n_warm: usize,
    warm: VecDeque<Chamber>,
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
    pub(crate) fn new(control: OwnedFd, craft: Craft, n_warm: usize) -> Self {
        Self { control, craft, n_warm, warm: VecDeque::new(), out_of_order: false, busy: Vec::new() }
    }

    /// Serves until the network half closes the line.
    pub(crate) fn serve(mut self) -> io::Result<()> {
        loop {
            let ready = self.wait(self.patience())?;
            self.reap(&ready.ended)?;
            // Requests first: a chamber takes as long to make as a small job to run.
            if ready.control {
                if matches!(self.answer()?, Next::End) {
                    return Ok(());
                }
            } else if self.wants_more() && (ready.quiet || ready.ended.contains(&true)) {
                self.refill();
            }
        }
    }

    fn wants_more(&self) -> bool {
        self.warm.len() < self.n_warm && !self.out_of_order
    }

    /// How long nothing must happen until a chamber is made ahead of need, if one is to be made. To make one takes processor time and
    /// the kernel's locks from a job that has just begun; when one has ended, nothing is in a hurry for a moment.
    fn patience(&self) -> Option<Timespec> {
        match self.warm.len() {
            0 => self.wants_more().then(Timespec::default),
            _ => self.wants_more().then_some(QUIET),
        }
    }

    /// Waits for a request or the end of a process; no longer than `patience`.
    fn wait(&self, patience: Option<Timespec>) -> io::Result<Ready> {
        let watched = self.busy.iter().map(|busy| &busy.pidfd).chain(self.warm.iter().map(|chamber| &chamber.pidfd));
        let mut fds = vec![PollFd::new(&self.control, PollFlags::IN)];
        fds.extend(watched.map(|pidfd| PollFd::new(pidfd, PollFlags::IN)));
        let quiet = match poll(&mut fds, patience.as_ref()) {
            Ok(n_ready) => n_ready == 0,
            Err(rustix::io::Errno::INTR) => false,
            Err(errno) => return Err(errno.into()),
        };
        let mut ready = fds.iter().map(|fd| !fd.revents().is_empty());
        Ok(Ready { quiet, control: ready.next().unwrap_or(false), ended: ready.collect() })
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

    /// Makes one more chamber, ahead of need.
    fn refill(&mut self) {
        match Chamber::make(&self.craft) {
            Ok(chamber) => self.warm.push_back(chamber),
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
    /// Nothing has happened for as long as was to be waited.
    quiet: bool,
    control: bool,
    /// One for each busy and then each warm chamber.
    ended: Vec<bool>,
}
