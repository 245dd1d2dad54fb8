//! The network half's handle on the helper process: starts it, asks it to run programs, stops them.

use std::fs::File;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use rustix::event::{EventfdFlags, PollFd, PollFlags, eventfd, poll};
use rustix::process::{DumpableBehavior, Signal, pidfd_send_signal, set_dumpable_behavior};
use tokio::sync::oneshot;

use crate::model::limits::{SANDBOX_START_MAX, WARM_SANDBOXES_MAX};
use crate::os::process::wait::{Deadline, wait_for};
use crate::os::process::{Command, SpawnError};
use crate::os::sandbox::bwrap::{BwrapVersion, Stacking};
use crate::os::sandbox::chamber::Craft;
use crate::os::sandbox::launch::{Launch, Reply, Request};
use crate::os::sandbox::message;
use crate::os::sandbox::server::Server;
use crate::os::sys::{self, Fork};

#[derive(Clone, Debug)]
pub struct HelperSettings {
    pub bwrap: PathBuf,
    /// None: [`Stacking::ByBwrap`] where bwrap can.
    pub stacking: Option<Stacking>,
    /// Jobs that may arrive at once; as many sandboxes are kept ready, up to [`WARM_SANDBOXES_MAX`].
    pub slots: usize,
}

/// The only process of a builder that makes namespaces and mounts. It dies with this value, and with the thread that forked it:
/// that has to be one that lives as long as the builder.
#[derive(Debug)]
pub struct Helper {
    pid: i32,
    control: OwnedFd,
    craft: Result<Craft, BwrapError>,
}

/// Why there is no bwrap to work with.
#[derive(Clone, Debug, thiserror::Error)]
pub enum BwrapError {
    #[error("{0} is missing")]
    Missing(String),
    #[error("{path} cannot be run: {why}")]
    Broken { path: String, why: String },
    #[error("{path} is bubblewrap {version}, which is too old")]
    TooOld { path: String, version: BwrapVersion },
    #[error("{path} is bubblewrap {version}, which cannot stack directories")]
    CannotStack { path: String, version: BwrapVersion },
}

/// Stops a job, from any thread, before it starts or while it runs.
#[derive(Clone, Debug)]
pub struct Cancel(Arc<OwnedFd>);

impl Cancel {
    pub fn new() -> io::Result<Self> {
        Ok(Self(Arc::new(eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?)))
    }

    pub fn cancel(&self) {
        // It counts up to 2^64 - 2 and is never read.
        rustix::io::write(&*self.0, &1_u64.to_ne_bytes()).ok();
    }
}

/// Where a program writes to.
#[derive(Debug)]
pub(crate) struct Captured {
    pub stdout: File,
    pub stderr: File,
}

/// How a sandbox ended.
#[derive(Debug)]
pub(crate) struct Run {
    /// What the program made; none where there was no sandbox.
    pub upper: Option<OwnedFd>,
    pub stopped: Option<Stopped>,
    /// Why there was no sandbox.
    pub failed: Option<String>,
    /// What is wrong with the command.
    pub refused: Option<String>,
    /// bwrap's account of the program's end.
    pub status: Vec<u8>,
    pub wall: Duration,
    pub cpu: Duration,
    pub peak_bytes: u64,
}

/// Why it was killed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Stopped {
    Cancelled,
    Wall,
}

#[derive(Debug, thiserror::Error)]
pub(crate) enum LaunchError {
    #[error(transparent)]
    Bwrap(#[from] BwrapError),
    #[error("the sandbox helper is gone")]
    HelperGone,
    #[error("the sandbox helper does not answer")]
    HelperHangs,
    #[error("a killed sandbox does not end")]
    Undying,
    #[error(transparent)]
    Io(#[from] io::Error),
}

impl Helper {
    /// Forks the helper. To be called while there is one thread, and before any connection exists that it could inherit.
    ///
    /// What bwrap is like is found out here, but told by [`Helper::check`], which knows what to do about it.
    pub fn fork(settings: HelperSettings) -> io::Result<Self> {
        let craft = inspect(&settings);
        let n_warm = settings.slots.min(WARM_SANDBOXES_MAX);
        let (control, inner) = message::pair()?;
        let parent = rustix::process::getpid();
        match sys::fork()? {
            Fork::Parent(pid) => Ok(Self { pid, control, craft }),
            Fork::Child => {
                // A panic must not unwind into what this process is a copy of.
                let served = catch_unwind(AssertUnwindSafe(|| {
                    become_helper(&inner, parent)?;
                    let craft = craft.map_err(io::Error::other)?;
                    Server::new(inner, craft, n_warm).serve()
                }));
                sys::exit_at_once(i32::from(!matches!(served, Ok(Ok(())))))
            }
        }
    }

    /// Closed when the helper process has ended, which it never does of its own accord: without it there are no jobs.
    pub(crate) fn ended(&self) -> io::Result<oneshot::Receiver<()>> {
        let pid = rustix::process::Pid::from_raw(self.pid).ok_or(io::ErrorKind::NotFound)?;
        let process = rustix::process::pidfd_open(pid, rustix::process::PidfdFlags::empty())?;
        let (watcher, ended) = oneshot::channel();
        // A thread of its own: it waits for as long as the builder lives.
        thread::Builder::new().name("helper-watch".to_owned()).spawn(move || {
            while poll(&mut [PollFd::new(&process, PollFlags::IN)], None) == Err(rustix::io::Errno::INTR) {}
            drop(watcher);
        })?;
        Ok(ended)
    }

    pub(crate) fn craft(&self) -> Result<&Craft, BwrapError> {
        self.craft.as_ref().map_err(Clone::clone)
    }

    /// Runs a program to its end, or stops it.
    pub(crate) fn run(
        &self,
        launch: &Launch,
        output: &Captured,
        wall: Duration,
        cancel: &Cancel,
    ) -> Result<Run, LaunchError> {
        self.craft()?;
        let body = rmp_serde::to_vec_named(launch).map_err(io::Error::other)?;
        let body = message::in_memory(&body)?;
        let status = message::in_memory(&[])?;
        let (line, theirs) = message::pair()?;
        let attached = [theirs.as_fd(), body.as_fd(), output.stdout.as_fd(), output.stderr.as_fd(), status.as_fd()];
        message::send(&self.control, &Request {}, &attached).map_err(|_| LaunchError::HelperGone)?;
        drop(theirs);
        let mut run = Following { line, process: None, upper: None, stopped: None, failed: None, refused: None }
            .follow(wall, cancel)?;
        run.status = message::content(status, STATUS_BYTES_MAX)?;
        Ok(run)
    }
}

impl Drop for Helper {
    fn drop(&mut self) {
        // Ends the helper, and with it every job.
        rustix::net::shutdown(&self.control, rustix::net::Shutdown::Both).ok();
        sys::wait_with_usage(self.pid).ok();
    }
}

/// bwrap writes a few hundred bytes; nothing of the job can write there.
const STATUS_BYTES_MAX: u64 = 64 << 10;

/// A launch under way.
struct Following {
    line: OwnedFd,
    process: Option<OwnedFd>,
    upper: Option<OwnedFd>,
    stopped: Option<Stopped>,
    failed: Option<String>,
    refused: Option<String>,
}

impl Following {
    fn follow(mut self, wall: Duration, cancel: &Cancel) -> Result<Run, LaunchError> {
        let since = Deadline::after(wall);
        let mut patience = Deadline::after(SANDBOX_START_MAX);
        loop {
            let running = self.process.is_some() && self.stopped.is_none();
            let deadline = if running { since } else { patience };
            let mut fds = vec![PollFd::new(&self.line, PollFlags::IN)];
            if self.stopped.is_none() {
                fds.push(PollFd::new(&*cancel.0, PollFlags::IN));
            }
            let in_time = wait_for(&mut fds, deadline)?;
            let [line, cancelled] = [0, 1].map(|i| fds.get(i).is_some_and(|fd| !fd.revents().is_empty()));
            drop(fds);
            if line {
                match message::receive(&self.line)? {
                    Some((Reply::Started, processes)) => {
                        self.process = processes.into_iter().next();
                        self.kill_if_stopped()?;
                    }
                    Some((Reply::Upper, directories)) => self.upper = directories.into_iter().next(),
                    Some((Reply::Failed(why), _)) if self.process.is_none() => return Ok(self.ended(why, &since)),
                    Some((Reply::Failed(why), _)) => self.failed = Some(why),
                    Some((Reply::Refused(why), _)) => self.refused = Some(why),
                    Some((Reply::Ended { cpu, peak_bytes }, _)) => {
                        let Self { upper, stopped, failed, refused, .. } = self;
                        let (status, wall) = (Vec::new(), since.elapsed());
                        return Ok(Run { upper, stopped, failed, refused, status, wall, cpu, peak_bytes });
                    }
                    None => return Err(LaunchError::HelperGone),
                }
            } else if cancelled || (!in_time && running) {
                self.stopped = Some(if cancelled { Stopped::Cancelled } else { Stopped::Wall });
                patience = Deadline::after(SANDBOX_START_MAX);
                self.kill_if_stopped()?;
            } else if !in_time {
                return Err(if self.process.is_some() { LaunchError::Undying } else { LaunchError::HelperHangs });
            }
        }
    }

    fn ended(self, why: String, since: &Deadline) -> Run {
        Run {
            upper: None,
            stopped: self.stopped,
            failed: Some(why),
            refused: None,
            status: Vec::new(),
            wall: since.elapsed(),
            cpu: Duration::ZERO,
            peak_bytes: 0,
        }
    }

    fn kill_if_stopped(&self) -> io::Result<()> {
        match (&self.process, self.stopped) {
            (Some(process), Some(_)) => match pidfd_send_signal(process, Signal::KILL) {
                // It has just ended by itself.
                Ok(()) | Err(rustix::io::Errno::SRCH) => Ok(()),
                Err(errno) => Err(errno.into()),
            },
            _ => Ok(()),
        }
    }
}

/// The first acts of the helper.
fn become_helper(control: &OwnedFd, parent: rustix::process::Pid) -> io::Result<()> {
    rustix::process::set_parent_process_death_signal(Some(Signal::KILL))?;
    if rustix::process::getppid() != Some(parent) {
        return Err(io::Error::other("the builder has died"));
    }
    sys::close_all_but(control.as_fd())?;
    // Jobs that run go on while the builder drains: the helper ends with the builder, not with a signal to the whole group.
    sys::default_signals();
    sys::ignore_signals(&[libc::SIGHUP, libc::SIGINT, libc::SIGTERM, libc::SIGPIPE]);
    rustix::process::setsid().ok();
    // The network half has the same uid and must not write to the memory of this process.
    set_dumpable_behavior(DumpableBehavior::NotDumpable)?;
    rustix::thread::set_no_new_privs(true)?;
    rustix::thread::set_name(c"farcc-helper")?;
    Ok(())
}

/// Finds out which bwrap there is.
fn inspect(settings: &HelperSettings) -> Result<Craft, BwrapError> {
    let path = settings.bwrap.display().to_string();
    let broken = |why: String| BwrapError::Broken { path: path.clone(), why };
    let output = match Command::new(&settings.bwrap).args(["--version"]).wall(SANDBOX_START_MAX).run() {
        Ok(output) => output,
        Err(SpawnError::Start { source, .. }) if source.kind() == io::ErrorKind::NotFound => {
            return Err(BwrapError::Missing(path));
        }
        Err(SpawnError::Start { source, .. }) => return Err(broken(source.to_string())),
        Err(error) => return Err(broken(error.to_string())),
    };
    let version = BwrapVersion::parse(&String::from_utf8_lossy(&output.stdout))
        .ok_or_else(|| broken(String::from_utf8_lossy(&output.stderr).trim().to_owned()))?;
    let own = if version.stacks() { Stacking::ByBwrap } else { Stacking::ByHelper };
    let stacking = settings.stacking.unwrap_or(own);
    if !version.is_usable() {
        return Err(BwrapError::TooOld { path, version });
    }
    if stacking == Stacking::ByBwrap && !version.stacks() {
        return Err(BwrapError::CannotStack { path, version });
    }
    Ok(Craft { bwrap: settings.bwrap.clone(), version, stacking })
}
