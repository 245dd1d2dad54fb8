//! One job from its opening frame to the last byte of its outputs.
//!
//! Runs inside the request's future: where the client resets the stream or is lost, that future is dropped, which kills what
//! runs. The slot is free when that is gone.

use std::collections::BTreeSet;
use std::io::{Read, Write};
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::task::spawn_blocking;

use super::driver::Event;
use super::session::{Counter, Turned, reply};
use super::slot::Slot;
use crate::engine::builder::JobEnd;
use crate::engine::wire::farm::{BlobStart, Encoding, JobFault, JobReply, JobRequest, Refusal};
use crate::model::causes::with_causes;
use crate::model::digest::Digest;
use crate::model::id::ClientId;
use crate::model::job::{Entry, JobSpec, Manifest, Node};
use crate::model::limits::{INPUT_BYTES_MAX, INPUTS_BYTES_MAX, MANIFEST_ENTRIES_MAX};
use crate::os::net::{Body, FrameReader, FrameWriter, Peer, body_channel};
use crate::os::sandbox::{Cancel, CollectError, Ran, Reservation, RunFault, StageError, Workshop};
use crate::os::store::ReceiveError;
use crate::os::systemd::messages;
use crate::os::toolchain::ToolchainStore;

/// Blobs that arrived and wait to be written; small ones are written many at a time.
const BATCH_BYTES: u64 = 4 << 20;

/// Stops the job when the request is dropped.
struct Stop(Cancel);

impl Drop for Stop {
    fn drop(&mut self) {
        self.0.cancel();
    }
}

impl Counter {
    pub(super) async fn job(&self, peer: &Peer, mut reader: FrameReader) -> Result<Body, Turned> {
        let opening = self.open(peer, &mut reader).await?;
        let job = opening.job.ok_or_else(|| Turned::new(Refusal::Request, "no job named"))?;
        let (client, lease) = (ClientId(peer.fingerprint), opening.lease);
        let lease_id = lease.id;
        let cancel = Cancel::new().map_err(|error| Turned::new(Refusal::Full, error.to_string()))?;
        let _stop = Stop(cancel.clone());
        let admission = self.ask(|reply| Event::Admit { client, lease, job, cancel: cancel.clone(), reply }).await?;
        let slot = admission.map_err(|(why, message)| Turned { why, message })?;
        let request: JobRequest = reader.next().await.map_err(Turned::broken)?;
        check_request(&request)?;
        let start = Instant::now();
        tracing::debug!(farcc_job = %job, farcc_lease = %lease_id, farcc_toolchain = %request.spec.toolchain, "job taken");
        let JobRequest { spec, blobs } = request;
        let (spec, reservation) = match blobs {
            // With nothing to wait for, the thread that runs the job reserves.
            0 => (spec, None),
            _ => match self.take_in(&mut reader, spec, blobs).await? {
                Ok((spec, reservation)) => (spec, Some(reservation)),
                Err(fault) => return reply(&fault),
            },
        };
        match self.run(slot, spec, reservation, cancel).await? {
            Outcome::Reply(answer) => reply(&answer),
            Outcome::Ran(ran) => {
                tracing::debug!(
                    farcc_job = %job,
                    farcc_lease = %lease_id,
                    ending = ?ran.compilation.ending,
                    farcc_duration_usec = start.elapsed().as_micros() as u64,
                    "job done"
                );
                Ok(results(ran, self.patience.pace.idle, self.deliveries.clone()))
            }
            Outcome::Fault(fault, message) => {
                tracing::warn!(
                    message_id = messages::JOB_FAILED,
                    farcc_job = %job,
                    farcc_lease = %lease_id,
                    farcc_builder = self.name,
                    farcc_reason = ?fault,
                    cause = message,
                    "a job could not be run"
                );
                reply(&JobReply::Fault { fault, message })
            }
            // Where the client is there to hear it, somebody here ended the job: another builder will do.
            Outcome::Abandoned => Err(Turned::new(Refusal::Draining, "the job was cancelled")),
        }
    }

    /// Holds what is here of a job's inputs, and what comes with the job: other jobs must not drive out what has just arrived.
    async fn take_in(
        &self,
        reader: &mut FrameReader,
        spec: JobSpec,
        n_blobs: u32,
    ) -> Result<Result<(JobSpec, Reservation), JobReply>, Turned> {
        let workshop = self.workshop.clone();
        let reserving = spawn_blocking(move || workshop.reserve(&spec.manifest).map(|reservation| (spec, reservation)));
        let (spec, reservation) = match reserving.await.map_err(|_| Turned::stopping())? {
            Ok(reserved) => reserved,
            Err(error) => return Ok(Err(unusable(&error))),
        };
        let received = self.receive_blobs(reader, &spec.manifest, n_blobs).await?;
        Ok(received.map(|()| (spec, reservation)))
    }

    /// Takes in the blobs that come with a job: those that its manifest names, each once.
    async fn receive_blobs(
        &self,
        reader: &mut FrameReader,
        manifest: &Manifest,
        n_blobs: u32,
    ) -> Result<Result<(), JobReply>, Turned> {
        let mut named = digests(manifest);
        let mut batch = Vec::new();
        let mut batch_bytes = 0;
        let mut total_bytes: u64 = 0;
        for _ in 0..n_blobs {
            let start: BlobStart = reader.next().await.map_err(Turned::broken)?;
            if !named.remove(&start.digest) {
                return Err(Turned::new(Refusal::Request, "a blob that the manifest does not name, or names no more"));
            }
            total_bytes = total_bytes.saturating_add(start.size);
            if start.size > INPUT_BYTES_MAX || start.wire_bytes > INPUT_BYTES_MAX || total_bytes > INPUTS_BYTES_MAX {
                return Err(Turned::new(
                    Refusal::Request,
                    format!("inputs above the limit of {INPUTS_BYTES_MAX} bytes"),
                ));
            }
            let bytes = receive_bytes(reader, start.wire_bytes).await?;
            batch_bytes += start.wire_bytes;
            batch.push((start, bytes));
            if batch_bytes >= BATCH_BYTES {
                if let Err(fault) = self.store(std::mem::take(&mut batch)).await? {
                    return Ok(Err(fault));
                }
                batch_bytes = 0;
            }
        }
        self.store(batch).await
    }

    async fn store(&self, batch: Vec<(BlobStart, Vec<u8>)>) -> Result<Result<(), JobReply>, Turned> {
        if batch.is_empty() {
            return Ok(Ok(()));
        }
        let workshop = self.workshop.clone();
        let stored =
            spawn_blocking(move || batch.iter().try_for_each(|(start, bytes)| store_blob(&workshop, start, bytes)));
        let stored = stored.await.map_err(|_| Turned::stopping())?;
        Ok(stored.map_err(|error| {
            let (fault, message) = (fault_of(&error), with_causes(&error));
            tracing::warn!(?fault, cause = message, "an input was not stored; nothing of it is left");
            JobReply::Fault { fault, message }
        }))
    }

    /// Runs the job where everything is at hand, else says what is missing. The thread that works has the slot: where the client
    /// goes away, killing and clearing up still take their time.
    async fn run(
        &self,
        mut slot: Slot,
        spec: JobSpec,
        reservation: Option<Reservation>,
        cancel: Cancel,
    ) -> Result<Outcome, Turned> {
        let (workshop, toolchains) = (self.workshop.clone(), self.toolchains.clone());
        let working = spawn_blocking(move || {
            let outcome = attempt(&workshop, &toolchains, reservation, &spec, &cancel);
            slot.ends(outcome.end());
            outcome
        });
        working.await.map_err(|_| Turned::stopping())
    }
}

/// The answer to a manifest that cannot be laid out.
fn unusable(error: &StageError) -> JobReply {
    JobReply::Fault { fault: JobFault::Job, message: with_causes(error) }
}

fn attempt(
    workshop: &Workshop,
    toolchains: &ToolchainStore,
    reservation: Option<Reservation>,
    spec: &JobSpec,
    cancel: &Cancel,
) -> Outcome {
    let reservation = match reservation.map_or_else(|| workshop.reserve(&spec.manifest), Ok) {
        Ok(reservation) => reservation,
        Err(error) => return Outcome::Reply(unusable(&error)),
    };
    let Some(toolchain) = toolchains.get(&spec.toolchain) else {
        return Outcome::Reply(JobReply::NeedToolchain);
    };
    let missing = reservation.missing();
    if !missing.is_empty() {
        return Outcome::Reply(JobReply::NeedBlobs { digests: missing });
    }
    match workshop.run(reservation, spec, toolchain.path(), cancel) {
        Ok(ran) => Outcome::Ran(ran),
        Err(RunFault::Cancelled) => Outcome::Abandoned,
        Err(fault) => Outcome::Fault(kind_of(&fault), with_causes(&fault)),
    }
}

enum Outcome {
    Ran(Ran),
    Reply(JobReply),
    Fault(JobFault, String),
    /// The client went away, or the administrator ended it.
    Abandoned,
}

impl Outcome {
    fn end(&self) -> JobEnd {
        match self {
            Self::Ran(_) => JobEnd::Finished,
            Self::Fault(fault, _) => JobEnd::of(*fault),
            Self::Reply(_) | Self::Abandoned => JobEnd::NothingRan,
        }
    }
}

fn kind_of(fault: &RunFault) -> JobFault {
    match fault {
        RunFault::Stage(StageError::Io { .. }) | RunFault::Collect(CollectError::Io(_)) => JobFault::Resources,
        RunFault::Missing(_) | RunFault::Stage(_) | RunFault::Command(_) | RunFault::ProgramMissing(_) => JobFault::Job,
        RunFault::Collect(_) => JobFault::Job,
        RunFault::Wall(_) => JobFault::Timeout,
        RunFault::TooMuchOutput(_) => JobFault::Output,
        RunFault::NoEnding | RunFault::Cancelled => JobFault::NoEnding,
        RunFault::Sandbox(_) | RunFault::Bwrap(_) | RunFault::Helper(_) => JobFault::Sandbox,
        RunFault::Io(_) => JobFault::Resources,
    }
}

/// What the kernel says is about this machine (a full disk), everything else about what the client sent.
fn fault_of(error: &ReceiveError) -> JobFault {
    match error {
        ReceiveError::Io(error) if error.raw_os_error().is_some() => JobFault::Resources,
        ReceiveError::Io(_) | ReceiveError::Corrupt { .. } => JobFault::Corrupt,
    }
}

/// Bounds that the types do not hold by themselves.
fn check_request(request: &JobRequest) -> Result<(), Turned> {
    let invalid = |message: String| Err(Turned::new(Refusal::Request, message));
    let manifest = &request.spec.manifest;
    if manifest.entries.len() > MANIFEST_ENTRIES_MAX {
        return invalid(format!("more than {MANIFEST_ENTRIES_MAX} entries in a manifest"));
    }
    if !manifest.entries.is_sorted_by(|a, b| a.path < b.path) {
        return invalid("a manifest that is not sorted".to_owned());
    }
    if request.blobs as usize > manifest.entries.len() {
        return invalid(format!("{} blobs for {} entries of a manifest", request.blobs, manifest.entries.len()));
    }
    let bytes = manifest.entries.iter().fold(0u64, |sum, entry| match entry.node {
        Node::File { size, .. } => sum.saturating_add(size),
        _ => sum,
    });
    if bytes > INPUTS_BYTES_MAX {
        return invalid(format!("inputs above the limit of {INPUTS_BYTES_MAX} bytes"));
    }
    Ok(())
}

fn digests(manifest: &Manifest) -> BTreeSet<Digest> {
    let digest = |entry: &Entry| match entry.node {
        Node::File { digest, .. } => Some(digest),
        _ => None,
    };
    manifest.entries.iter().filter_map(digest).collect()
}

async fn receive_bytes(reader: &mut FrameReader, n_bytes: u64) -> Result<Vec<u8>, Turned> {
    let mut bytes = Vec::new();
    while (bytes.len() as u64) < n_bytes {
        let chunk = reader.next_bytes().await.map_err(Turned::broken)?;
        match chunk {
            Some(chunk) if !chunk.is_empty() => bytes.extend_from_slice(&chunk),
            _ => return Err(Turned::new(Refusal::Request, "a blob breaks off")),
        }
    }
    if bytes.len() as u64 > n_bytes {
        return Err(Turned::new(Refusal::Request, "a blob is longer than announced"));
    }
    Ok(bytes)
}

fn store_blob(workshop: &Workshop, start: &BlobStart, bytes: &[u8]) -> Result<(), ReceiveError> {
    let mut writer = workshop.receive(start.digest, start.size)?;
    match start.encoding {
        Encoding::Plain => writer.write_all(bytes)?,
        // Bounded by the announced size: one byte more is enough to notice a bomb.
        Encoding::Zstd => {
            let decoder = zstd::stream::read::Decoder::new(bytes)?;
            std::io::copy(&mut decoder.take(start.size + 1), &mut writer)?;
        }
    }
    writer.finish()
}

/// The answer of a finished job: its status, then its outputs. What the job left on disk goes when the last byte is out.
fn results(ran: Ran, idle: Duration, delivery: Arc<()>) -> Body {
    let (mut writer, body) = body_channel();
    writer.expect_reader(idle);
    // Ends with the body: a client that goes away drops the other end, one that does not read is not waited for.
    tokio::spawn(async move {
        if let Err(error) = send_results(ran, writer).await {
            tracing::debug!(%error, "a client did not take its results");
        }
        drop(delivery);
    });
    body
}

async fn send_results(ran: Ran, mut writer: FrameWriter) -> anyhow::Result<()> {
    let ran = Arc::new(ran);
    writer.send(&JobReply::Finished { compilation: ran.compilation.clone() }).await?;
    for (index, output) in ran.compilation.outputs.iter().enumerate() {
        if let Some(bytes) = ran.output_at_hand(index) {
            writer.send_blob(output.digest, bytes).await?;
            continue;
        }
        let (source, size) = (ran.clone(), usize::try_from(output.size)?);
        let bytes = spawn_blocking(move || {
            let mut bytes = Vec::with_capacity(size);
            let mut file = source.open_output(index)?.ok_or(std::io::ErrorKind::NotFound)?;
            file.read_to_end(&mut bytes).map(|_| bytes)
        });
        writer.send_blob(output.digest, &bytes.await??).await?;
    }
    drop(writer);
    spawn_blocking(move || drop(ran)).await?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::io;

    use super::*;

    #[test]
    fn a_job_without_an_ending_failed_and_is_no_fault_of_its_own() {
        let fault = kind_of(&RunFault::NoEnding);
        assert_eq!((fault, JobEnd::of(fault)), (JobFault::NoEnding, JobEnd::Failed));
    }

    #[test]
    fn a_full_disk_is_the_builders_fault_and_named() {
        let full = || io::Error::from_raw_os_error(libc::ENOSPC);
        let path = crate::model::path::SandboxPath::root();
        let staged = RunFault::Stage(StageError::Io { path, source: full() });
        let said = with_causes(&staged);
        assert!(said.contains("No space left on device"), "{said}");
        for fault in [staged, RunFault::Collect(CollectError::Io(full())), RunFault::Io(full())] {
            assert_eq!(kind_of(&fault), JobFault::Resources, "{fault}");
            assert!(with_causes(&fault).contains("No space left on device"), "{fault}");
        }
        let stored = ReceiveError::Io(full());
        assert_eq!(fault_of(&stored), JobFault::Resources);
        assert!(with_causes(&stored).contains("No space left on device"));
        let sent = ReceiveError::Io(io::ErrorKind::InvalidData.into());
        assert_eq!(fault_of(&sent), JobFault::Corrupt);
    }
}
