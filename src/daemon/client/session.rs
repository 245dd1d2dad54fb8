//! One wrapper's connection, from its request to its end.

use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::{Instant, MissedTickBehavior, interval_at};

use super::driver::{Event, Outcome};
use super::prepare::{Prepared, Unit, Workbench};
use super::project::Projects;
use super::remote::Remote;
use super::scheduler::LinkState;
use crate::engine::wire::local::{CompileRequest, Finished, FinishedOutput, FromDaemon, LOCAL_VERSION, ToDaemon};
use crate::model::id::RequestId;
use crate::model::job::Bytes;
use crate::model::limits::{SCHEDULER_GRACE, SIGN_OF_LIFE_EVERY};
use crate::model::reason::{Reason, Why};
use crate::os::net::local::{LocalError, LocalStream};
use crate::os::systemd::messages;

/// What a session shares with the rest of the daemon.
#[derive(Clone)]
pub(super) struct Hall {
    pub(super) bench: Arc<Workbench>,
    pub(super) inbox: mpsc::Sender<Event>,
    pub(super) link: watch::Receiver<LinkState>,
    /// By order, everything stays here.
    pub(super) paused: Arc<AtomicBool>,
    pub(super) projects: Arc<Projects>,
}

/// What the loop tells a session to do.
#[derive(Debug)]
pub(super) enum Directive {
    RunLocal(Why),
    Finished(Box<Remote>),
}

/// A unit that has reached the loop.
pub(super) struct Arrival {
    pub(super) source: PathBuf,
    pub(super) output: PathBuf,
    pub(super) placement: Placement,
}

pub(super) enum Placement {
    Local(Why),
    Anywhere(Arc<Unit>),
}

impl Hall {
    /// Serves one wrapper, or one question of the control command.
    pub(super) async fn serve(self, request: RequestId, stream: tokio::net::UnixStream) {
        let pid = stream.peer_cred().ok().and_then(|peer| peer.pid()).unwrap_or_default();
        let mut stream = LocalStream::new(stream);
        match self.greet_and_serve(request, &mut stream).await {
            Ok(()) => {}
            Err(error @ (LocalError::Stranger | LocalError::Frame(_))) => tracing::warn!(
                message_id = messages::PEER_REFUSED,
                farcc_peer = format!("process {pid}"),
                farcc_reason = %error,
                "refused a connection"
            ),
            Err(error) => tracing::debug!(request = request.0, %error, "a wrapper's connection ended early"),
        }
        drop(self.inbox.send(Event::Closed { request }).await);
    }

    async fn greet_and_serve(&self, request: RequestId, stream: &mut LocalStream) -> Result<(), LocalError> {
        match stream.greet().await {
            Ok(()) => {}
            Err(LocalError::Version(version)) => {
                tracing::warn!(version, speaks = LOCAL_VERSION, "a wrapper of another version; it compiles by itself");
                return stream.send(&FromDaemon::Upgrade { speaks: LOCAL_VERSION }, &[]).await;
            }
            Err(error) => return Err(error),
        }
        match stream.next().await? {
            ToDaemon::Compile(compile) => self.compile(request, compile, stream).await,
            ToDaemon::Ask(question) => {
                let (reply, answer) = oneshot::channel();
                drop(self.inbox.send(Event::Asked { question, reply }).await);
                let json = answer.await.map_err(|_| LocalError::Ended)?;
                stream.send(&FromDaemon::Answer { json }, &[]).await
            }
            // Answers to nothing.
            ToDaemon::LocalEnded { .. } | ToDaemon::Written | ToDaemon::WriteFailed { .. } => Err(LocalError::Stranger),
        }
    }

    async fn compile(
        &self,
        request: RequestId,
        compile: CompileRequest,
        stream: &mut LocalStream,
    ) -> Result<(), LocalError> {
        let fds = stream.take_fds();
        stream.send(&FromDaemon::SignOfLife, &[]).await?;
        let (directives, mut directed) = mpsc::channel(1);
        let project = waiting(stream, self.projects.of(&compile)).await?;
        drop(self.inbox.send(Event::Began { request, project, directives }).await);
        let preparing = self.bench.prepare(compile, fds, self.no_farm());
        let mut sent = None;
        let arrival = match waiting(stream, preparing).await? {
            Prepared::StepAside(why) => {
                self.ended(request, Outcome::SteppedAside(why.clone())).await;
                return stream.send(&FromDaemon::StepAside { why }, &[]).await;
            }
            Prepared::Local { why, source, output } => Arrival { source, output, placement: Placement::Local(why) },
            Prepared::Remote(unit) => {
                let unit = Arc::new(*unit);
                let (source, output) = unit.names();
                sent = Some(unit.clone());
                Arrival { source, output, placement: Placement::Anywhere(unit) }
            }
        };
        drop(self.inbox.send(Event::Arrived { request, arrival }).await);
        let directive = waiting(stream, directed.recv()).await?;
        match directive.ok_or(LocalError::Ended)? {
            Directive::RunLocal(why) => {
                stream.send(&FromDaemon::RunLocal { why: why.clone() }, &[]).await?;
                let ended = stream.next().await;
                self.ended(request, Outcome::Local(why)).await;
                ended.map(|_: ToDaemon| ())
            }
            Directive::Finished(remote) => {
                let unit = sent.ok_or(LocalError::Ended)?;
                self.hand_over(request, &unit, *remote, stream).await
            }
        }
    }

    async fn hand_over(
        &self,
        request: RequestId,
        unit: &Unit,
        remote: Remote,
        stream: &mut LocalStream,
    ) -> Result<(), LocalError> {
        let outputs = remote.outputs.iter().map(|output| FinishedOutput {
            path: Bytes::from(output.path.as_os_str().as_bytes().to_vec()),
            size: output.size,
            executable: output.executable,
            placing: unit.placing(&output.path),
        });
        let finished = Finished {
            builder: remote.builder,
            stdout: remote.stdout,
            stderr: remote.stderr,
            outputs: outputs.collect(),
        };
        let fds: Vec<BorrowedFd<'_>> = remote.outputs.iter().map(|output| output.content.as_fd()).collect();
        stream.send(&FromDaemon::Finished(finished), &fds).await?;
        match stream.next().await? {
            ToDaemon::WriteFailed { detail } => {
                self.ended(request, Outcome::Local(Why::new(Reason::WriteFailed, detail))).await;
            }
            _ => self.ended(request, Outcome::Remote).await,
        }
        Ok(())
    }

    async fn ended(&self, request: RequestId, outcome: Outcome) {
        drop(self.inbox.send(Event::Ended { request, outcome }).await);
    }

    /// Why nothing can be sent anyway, so that a unit's inputs need not be gathered in vain.
    fn no_farm(&self) -> Option<Why> {
        if self.paused.load(Ordering::Relaxed) {
            return Some(Reason::Paused.into());
        }
        match &*self.link.borrow() {
            LinkState::NotConfigured => Some(Reason::NotConfigured.into()),
            // It may be back before anybody has missed it.
            LinkState::Down { why, since } if since.elapsed() >= SCHEDULER_GRACE => {
                Some(Why::new(Reason::NoScheduler, why))
            }
            LinkState::Connected | LinkState::Connecting | LinkState::Down { .. } => None,
        }
    }
}

/// Waits for `work` while telling the wrapper that it is not forgotten; the end of its connection ends the work.
async fn waiting<T>(stream: &mut LocalStream, work: impl Future<Output = T>) -> Result<T, LocalError> {
    tokio::pin!(work);
    // The first tick of an `interval` comes at once, which for a timer is up to a millisecond.
    let mut beat = interval_at(Instant::now() + SIGN_OF_LIFE_EVERY, SIGN_OF_LIFE_EVERY);
    beat.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        enum Woken<T> {
            Done(T),
            Beat,
        }
        let woken = tokio::select! {
            done = &mut work => Woken::Done(done),
            _ = beat.tick() => Woken::Beat,
            // A wrapper has nothing to say now: whatever comes is the end of it.
            heard = stream.next::<ToDaemon>() => return Err(heard.err().unwrap_or(LocalError::Stranger)),
        };
        match woken {
            Woken::Done(done) => return Ok(done),
            Woken::Beat => stream.send(&FromDaemon::SignOfLife, &[]).await?,
        }
    }
}
