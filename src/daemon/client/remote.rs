//! One attempt to compile a unit at a builder: send what is missing, take the result, believe it only if it is what was predicted.

use std::borrow::Cow;
use std::fmt::Display;
use std::fs::File;
use std::io::{self, Write};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use hyper::Response;
use hyper::body::Incoming;
use tokio::sync::mpsc;
use tokio::task::spawn_blocking;
use tokio::time::timeout;

use super::classes::ByClass;
use super::native::run_here;
use super::pool::Warm;
use super::prepare::{ExpectedOutput, OutputRole, Unit, Workbench};
use crate::engine::client::Failure;
use crate::engine::compiler::{commands_difference, memory_line, same_commands};
use crate::engine::wire::farm::{
    BlobStart, Encoding, JobFault, JobReply, JobRequest, Lease, Opening, Refusal, ToolchainOffer, ToolchainReply,
};
use crate::engine::wire::handshake::OURS;
use crate::model::digest::Digest;
use crate::model::id::JobId;
use crate::model::job::{Bytes, Compilation, Ending, JobLimits, JobSpec, Node, OutputFile};
use crate::model::limits::{JOB_OUTPUT_BYTES_MAX, JOB_WALL_MAX};
use crate::model::path::SandboxPath;
use crate::model::reason::{Reason, Why};
use crate::os::inputs::Inputs;
use crate::os::net::{self, Body, FrameReader, FrameWriter, StreamError};
use crate::os::systemd::messages;
use crate::os::toolchain::Package;

/// A result that was checked and waits to be written by the wrapper.
#[derive(Debug)]
pub(super) struct Remote {
    pub(super) builder: String,
    pub(super) stdout: Bytes,
    pub(super) stderr: Bytes,
    pub(super) outputs: Vec<RemoteOutput>,
}

#[derive(Debug)]
pub(super) struct RemoteOutput {
    /// Where the compiler would have written it: absolute, as the command spells it.
    pub(super) path: PathBuf,
    pub(super) size: u64,
    pub(super) executable: bool,
    pub(super) content: File,
}

/// A job asks again when something was missing. More rounds than this are a builder that loses what it is sent.
const ROUNDS_MAX: u32 = 4;
/// A builder that says nothing for this long beyond a job's own limit is broken.
const ANSWER_GRACE: Duration = Duration::from_secs(30);

/// A driver that only says what it would run has said it by then.
const PROBE_WALL_MAX: Duration = Duration::from_secs(20);
/// Somebody else may be sending the same toolchain to the builder, over a slow line; then another builder is worth trying.
const OFFER_ANSWER_MAX: Duration = Duration::from_secs(120);
/// A piece of a toolchain that is not taken for so long, or an archive that is not judged, will not be.
const UPLOAD_STALL_MAX: Duration = Duration::from_secs(30);

/// What came of comparing `-###` inside and outside.
pub(super) type Proofs = ByClass<Result<(), Why>>;

/// What a builder is to run.
struct Order {
    argv: Vec<Bytes>,
    report: Option<SandboxPath>,
    wall: Duration,
}

/// One attempt of one unit under one lease.
pub(super) struct Attempt {
    pub(super) bench: Arc<Workbench>,
    pub(super) unit: Arc<Unit>,
    pub(super) lease: Lease,
    pub(super) job: JobId,
}

impl Attempt {
    /// Everything from the connection to the check of the result.
    pub(super) async fn run(&self) -> Result<Remote, Failure> {
        let warm = self.bench.pool.connection(&self.lease).await.map_err(lost)?;
        self.offer_toolchain(&warm).await?;
        let class = self.unit.command.class_words();
        let proof = self.bench.proofs.of(self.unit.package.id, class);
        proof.get_or_try_init(|| self.prove(&warm)).await?.clone().map_err(Failure::Unit)?;
        let report = report_path(self.job);
        let command = self.unit.command.remote(&self.unit.argv, report.as_bytes(), self.unit.terminal);
        let report = command.report.then_some(report);
        let guessed = self.unit.sourcing.best().map_err(Failure::Unit)?;
        let order = Order { argv: command.argv, report, wall: JOB_WALL_MAX };
        let first = self.compile(&warm, &order, &guessed).await;
        let inputs = self.unit.sourcing.settled().await.map_err(Failure::Unit)?;
        let (compilation, contents) =
            if Arc::ptr_eq(&inputs, &guessed) { first? } else { self.compile(&warm, &order, &inputs).await? };
        self.accept(compilation, contents, inputs).await
    }

    /// Compares what the driver would run inside with what it runs here, by a job like any other.
    async fn prove(&self, warm: &Arc<Warm>) -> Result<Result<(), Why>, Failure> {
        let unit = self.unit.clone();
        let order = Order { argv: self.unit.command.probe(), report: None, wall: PROBE_WALL_MAX };
        let differs = |error: String| Failure::Unit(Why::new(Reason::ToolchainDiffers, error));
        let here = spawn_blocking(move || run_here(unit.sourcing.wanted(), &unit.probe_here)).await;
        let here = here.map_err(|error| differs(error.to_string()))?;
        let here = here.map_err(|error| differs(error.to_string()))?.stderr;
        let inputs = self.unit.sourcing.best().map_err(Failure::Unit)?;
        let (there, _) = self.compile(warm, &order, &inputs).await?;
        if let Ending::Signalled(signal) = there.ending {
            return Err(signalled(signal));
        }
        if there.ending.is_success() && same_commands(&here, &there.stderr) {
            return Ok(Ok(()));
        }
        let detail = commands_difference(&here, &there.stderr);
        tracing::warn!(
            message_id = messages::TOOLCHAIN_LOCAL_ONLY,
            farcc_toolchain = %self.unit.package.id,
            compiler = %self.unit.compiler.display(),
            cause = detail,
            "the packaged compiler would run other commands than the one here; its units stay local"
        );
        Ok(Err(Why::new(Reason::ToolchainDiffers, detail)))
    }

    async fn compile(
        &self,
        warm: &Arc<Warm>,
        order: &Order,
        inputs: &Arc<Inputs>,
    ) -> Result<(Compilation, Vec<File>), Failure> {
        let unit = &self.unit;
        let spec = JobSpec {
            job: self.job,
            toolchain: unit.package.id,
            program: unit.program.clone(),
            argv: order.argv.clone(),
            env: unit.env.clone(),
            cwd: unit.sandbox_cwd.clone(),
            manifest: inputs.manifest.clone(),
            report: order.report.clone(),
            limits: JobLimits { wall: order.wall, output_bytes: JOB_OUTPUT_BYTES_MAX },
        };
        let digests: Vec<Digest> = spec
            .manifest
            .entries
            .iter()
            .filter_map(|entry| match entry.node {
                Node::File { digest, .. } => Some(digest),
                _ => None,
            })
            .collect();
        for _ in 0..ROUNDS_MAX {
            let unknown = warm.unknown_blobs(digests.iter().copied());
            let blobs = read_blobs(inputs.clone(), unknown.iter().copied().collect()).await?;
            let (reply, reader) = self.post_job(warm, spec.clone(), blobs).await?;
            match reply {
                JobReply::Finished { compilation } => {
                    warm.note_blobs(digests.iter().copied());
                    let contents = receive_outputs(reader, &compilation.outputs).await?;
                    return Ok((compilation, contents));
                }
                JobReply::NeedBlobs { digests: missing } => {
                    warm.note_blobs(digests.iter().copied());
                    warm.forget_blobs(&missing);
                }
                JobReply::NeedToolchain => {
                    warm.note_blobs(unknown.into_iter());
                    warm.note_toolchain(spec.toolchain, false);
                    self.offer_toolchain(warm).await?;
                }
                JobReply::Refused { why, message } => return Err(refused(why, message)),
                JobReply::Fault { fault, message } => return Err(self.fault(fault, message)),
            }
        }
        Err(Failure::Builder(Why::new(Reason::BuilderFault, "it keeps losing what it was sent")))
    }

    async fn post_job(
        &self,
        warm: &Warm,
        spec: JobSpec,
        blobs: Vec<(Digest, Vec<u8>)>,
    ) -> Result<(JobReply, FrameReader), Failure> {
        let (mut writer, body) = net::body_channel();
        let opening = self.opening(Some(self.job));
        let patience = spec.limits.wall + ANSWER_GRACE;
        let sending = async move {
            writer.send(&opening).await?;
            writer.send(&JobRequest { spec, blobs: blobs.len() as u32 }).await?;
            for (digest, bytes) in blobs {
                writer.send_blob(digest, &bytes).await?;
            }
            Ok::<(), StreamError>(())
        };
        let answering = timeout(patience, exchange(warm, "/v1/job", body, sending));
        let response = answering.await.map_err(|_| Failure::Builder(Reason::Timeout.into()))??;
        let mut reader = FrameReader::new(response.into_body());
        reader.trust();
        let reply = reader.next().await.map_err(lost)?;
        Ok((reply, reader))
    }

    /// Sees to it that the builder has the toolchain; one unit at a time, over a connection of its own.
    async fn offer_toolchain(&self, warm: &Warm) -> Result<(), Failure> {
        let toolchain = self.unit.package.id;
        if warm.has_toolchain(toolchain) {
            return Ok(());
        }
        let _turn = warm.offering.lock().await;
        if warm.has_toolchain(toolchain) {
            return Ok(());
        }
        let own = net::connect(&self.lease.addresses, self.bench.pool.identity(), Some(self.lease.builder.0))
            .await
            .map_err(lost)?;
        let (mut writer, body) = net::body_channel();
        let opening = self.opening(None);
        let offering = async {
            writer.send(&opening).await?;
            writer.send(&ToolchainOffer { toolchain }).await
        };
        let offered = timeout(OFFER_ANSWER_MAX, async {
            let (offered, response) = tokio::join!(offering, own.post("/v1/toolchain", body));
            let mut reader = FrameReader::new(response.map_err(lost)?.into_body());
            let reply = reader.next().await.map_err(lost)?;
            offered.map_err(lost).map(|()| (reader, reply))
        });
        let (reader, reply) = offered.await.map_err(|_| lost("no answer to the offer of a toolchain"))??;
        match reply {
            ToolchainReply::Ready => {}
            ToolchainReply::Refused { why, message } => return Err(refused(why, message)),
            ToolchainReply::Upload => self.upload(writer, reader).await?,
        }
        warm.note_toolchain(toolchain, true);
        Ok(())
    }

    async fn upload(&self, mut writer: FrameWriter, mut reader: FrameReader) -> Result<(), Failure> {
        let start = Instant::now();
        let package = self.unit.package.clone();
        let (pieces, mut queue) = mpsc::channel::<Vec<u8>>(UPLOAD_QUEUE);
        let packing = spawn_blocking(move || pack(&package, pieces));
        // Owns the queue: packing ends with it.
        let sending = async move {
            while let Some(piece) = queue.recv().await {
                timeout(UPLOAD_STALL_MAX, writer.send_bytes(&piece)).await.map_err(lost)?.map_err(lost)?;
            }
            Ok::<(), Failure>(())
        };
        let (sent, packed) = tokio::join!(sending, packing);
        // A builder that has had enough says why.
        let reply = timeout(UPLOAD_STALL_MAX, reader.next()).await;
        if let Ok(Ok(ToolchainReply::Refused { message, .. })) = reply {
            return Err(Failure::Builder(Why::new(Reason::BuilderRefused, message)));
        }
        sent?;
        let changed = |detail: String| Failure::Unit(Why::new(Reason::InputChanged, detail));
        packed.map_err(|error| changed(error.to_string()))?.map_err(|error| changed(error.to_string()))?;
        match reply.map_err(lost)?.map_err(lost)? {
            ToolchainReply::Ready => {
                tracing::debug!(
                    farcc_toolchain = %self.unit.package.id,
                    farcc_builder = self.lease.builder_name,
                    farcc_duration_usec = start.elapsed().as_micros() as u64,
                    "toolchain uploaded"
                );
                Ok(())
            }
            ToolchainReply::Refused { .. } | ToolchainReply::Upload => {
                Err(Failure::Builder(Why::new(Reason::BuilderFault, "it asks for a toolchain twice")))
            }
        }
    }

    fn opening(&self, job: Option<JobId>) -> Opening {
        Opening { version: OURS, lease: self.lease.clone(), job }
    }

    fn fault(&self, fault: JobFault, message: String) -> Failure {
        match fault {
            JobFault::Timeout => Failure::Unit(Why::new(Reason::Timeout, message)),
            JobFault::Output => Failure::Unit(Why::new(Reason::TooLarge, message)),
            JobFault::Job => Failure::Unit(Why::new(Reason::BuilderFault, message)),
            JobFault::Corrupt => Failure::Builder(Why::new(Reason::Corrupt, message)),
            JobFault::Sandbox | JobFault::Resources | JobFault::NoEnding => {
                Failure::Builder(Why::new(Reason::BuilderFault, message))
            }
        }
    }

    /// Believes a result only if its status, its files and what it read are what was predicted.
    async fn accept(
        &self,
        compilation: Compilation,
        contents: Vec<File>,
        inputs: Arc<Inputs>,
    ) -> Result<Remote, Failure> {
        let unit = &self.unit;
        let failed = |reason, detail: String| Failure::Unit(Why::new(reason, detail));
        match compilation.ending {
            Ending::Exited(0) => {}
            Ending::Exited(status) => return Err(failed(Reason::RemoteError, first_line(status, &compilation.stderr))),
            Ending::Signalled(signal) => return Err(signalled(signal)),
        }
        let mut expected = unit.outputs.clone();
        let mut outputs = Vec::new();
        let mut dependencies = compilation.report.as_ref().map(|report| report.to_vec());
        for (file, content) in compilation.outputs.iter().zip(contents) {
            let Some(known) = expected.remove(&file.path).or_else(|| unit.side_file(&file.path)) else {
                return Err(failed(Reason::UnexpectedOutput, file.path.to_string()));
            };
            match known.role {
                OutputRole::Main if file.size == 0 => {
                    return Err(failed(Reason::MissingOutput, format!("{} is empty", file.path)));
                }
                OutputRole::Depfile => {
                    let list = read_all(&content).map_err(|error| failed(Reason::MissingOutput, error.to_string()))?;
                    dependencies = Some(list);
                }
                OutputRole::Main if unit.command.shows_memory() => self.compare_memory(&content).await?,
                OutputRole::Main | OutputRole::SplitDebug | OutputRole::Side => {}
            }
            outputs.push(RemoteOutput { path: known.path, size: file.size, executable: file.executable, content });
        }
        let must_be = |output: &ExpectedOutput| matches!(output.role, OutputRole::Main | OutputRole::Depfile);
        if let Some((path, _)) = expected.iter().find(|(_, output)| must_be(output)) {
            return Err(failed(Reason::MissingOutput, path.to_string()));
        }
        let unit = self.unit.clone();
        let check = move || {
            if unit.command.language.is_preprocessed_by_compiler() {
                let dependencies = dependencies.ok_or(Why::new(Reason::MissingOutput, "no dependency list"))?;
                let system_headers =
                    unit.command.dependencies.as_ref().is_none_or(|wanted| wanted.lists_system_headers);
                inputs.check_dependencies(&dependencies, system_headers)?;
            }
            if inputs.unchanged() { Ok(()) } else { Err(Reason::InputChanged.into()) }
        };
        spawn_blocking(check)
            .await
            .map_err(|error| failed(Reason::DependenciesDiffer, error.to_string()))?
            .map_err(Failure::Unit)?;
        Ok(Remote {
            builder: self.lease.builder_name.clone(),
            stdout: compilation.stdout,
            stderr: compilation.stderr,
            outputs,
        })
    }
}

impl Attempt {
    /// gcc fits its own use of memory to the machine, and `-fverbose-asm` tells: what a machine of another size made is not what
    /// this one would have made.
    async fn compare_memory(&self, assembly: &File) -> Result<(), Failure> {
        let failed = |detail: String| Failure::Unit(Why::new(Reason::UnexpectedOutput, detail));
        let there = read_all(assembly).map_err(|error| failed(error.to_string()))?;
        let unit = self.unit.clone();
        let ask = move || run_here(unit.sourcing.wanted(), &unit.command.memory_question());
        let here = spawn_blocking(ask).await.map_err(|error| failed(error.to_string()))?;
        let here = here.map_err(|error| failed(error.to_string()))?.stdout;
        match memory_line(&here) == memory_line(&there) {
            true => Ok(()),
            false => Err(failed("-fverbose-asm on a machine with another amount of memory".to_owned())),
        }
    }
}

async fn read_blobs(inputs: Arc<Inputs>, digests: Vec<Digest>) -> Result<Vec<(Digest, Vec<u8>)>, Failure> {
    if digests.is_empty() {
        return Ok(Vec::new());
    }
    let read = move |digest| Ok((digest, inputs.read(&digest)?));
    let read = move || digests.into_iter().map(read).collect::<Result<Vec<_>, Why>>();
    spawn_blocking(read)
        .await
        .map_err(|error| Failure::Unit(Why::new(Reason::UnusableInput, error.to_string())))?
        .map_err(Failure::Unit)
}

/// Pieces of an archive between packing and network.
const UPLOAD_QUEUE: usize = 16;
/// Of this size each.
const UPLOAD_PIECE_BYTES: usize = 256 << 10;

fn pack(package: &Package, pieces: mpsc::Sender<Vec<u8>>) -> io::Result<()> {
    struct Pieces(mpsc::Sender<Vec<u8>>);
    impl Write for Pieces {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            let gone = |_| io::Error::from(io::ErrorKind::BrokenPipe);
            self.0.blocking_send(bytes.to_vec()).map_err(gone)?;
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }
    let mut writer = io::BufWriter::with_capacity(UPLOAD_PIECE_BYTES, Pieces(pieces));
    package.write_archive(&mut writer).map_err(io::Error::other)?;
    writer.flush()
}

/// Sends a body while waiting for the answer: whichever ends first decides, since a refusal may come before all is sent.
async fn exchange(
    warm: &Warm,
    path: &'static str,
    body: Body,
    sending: impl Future<Output = Result<(), StreamError>>,
) -> Result<Response<Incoming>, Failure> {
    let answering = warm.connection.post(path, body);
    tokio::pin!(sending, answering);
    let response = tokio::select! {
        response = &mut answering => response,
        // Where it broke off, the answer says why.
        _ = &mut sending => answering.await,
    };
    response.map_err(lost)
}

/// An output that is unpacked, compared and copied in less time than it takes to have another thread do it: some 0.1 ms.
const QUICK_BYTES: u64 = 64 << 10;

/// Takes in the blobs of a job's outputs, in order, each into memory that has a descriptor.
async fn receive_outputs(mut reader: FrameReader, outputs: &[OutputFile]) -> Result<Vec<File>, Failure> {
    let mut contents = Vec::with_capacity(outputs.len());
    let mut total_bytes: u64 = 0;
    for output in outputs {
        let start: BlobStart = reader.next().await.map_err(lost)?;
        total_bytes = total_bytes.saturating_add(start.size.max(start.wire_bytes));
        if start.digest != output.digest || start.size != output.size || total_bytes > JOB_OUTPUT_BYTES_MAX {
            return Err(corrupt(output));
        }
        let mut wire = Vec::new();
        while (wire.len() as u64) < start.wire_bytes {
            match reader.next_bytes().await.map_err(lost)? {
                Some(bytes) if !bytes.is_empty() => wire.extend_from_slice(&bytes),
                _ => return Err(lost("a result breaks off")),
            }
        }
        let (output, bytes) = (output.clone(), start.size.max(start.wire_bytes));
        let unpack = move || {
            let bytes = unpack_output(&start, &wire).ok_or_else(|| corrupt(&output))?;
            in_memory(&bytes).map_err(|error| Failure::Unit(Why::new(Reason::TooLarge, error.to_string())))
        };
        contents.push(match bytes {
            ..=QUICK_BYTES => unpack(),
            _ => spawn_blocking(unpack).await.map_err(lost)?,
        }?);
    }
    Ok(contents)
}

/// The verified content of one output.
fn unpack_output<'a>(start: &BlobStart, wire: &'a [u8]) -> Option<Cow<'a, [u8]>> {
    let bytes = match start.encoding {
        Encoding::Plain => Cow::Borrowed(wire),
        Encoding::Zstd => Cow::Owned(zstd::bulk::decompress(wire, usize::try_from(start.size).ok()?).ok()?),
    };
    (Digest::of(&bytes) == start.digest).then_some(bytes)
}

/// A descriptor that a wrapper can read `bytes` from. Where there is none, this machine has too little of something.
fn in_memory(bytes: &[u8]) -> io::Result<File> {
    let mut file = File::from(rustix::fs::memfd_create("farcc-output", rustix::fs::MemfdFlags::CLOEXEC)?);
    file.write_all(bytes)?;
    Ok(file)
}

fn read_all(file: &File) -> io::Result<Vec<u8>> {
    use std::os::unix::fs::FileExt;
    let mut bytes = vec![0; usize::try_from(file.metadata()?.len()).unwrap_or(0)];
    file.read_exact_at(&mut bytes, 0)?;
    Ok(bytes)
}

/// Another machine may have the memory or the instructions that this one lacks. Memory may be there the next time.
fn signalled(signal: u8) -> Failure {
    const SIGILL: u8 = libc::SIGILL as u8;
    let why = Why::new(Reason::RemoteSignal, format!("signal {signal}"));
    match signal {
        SIGILL => Failure::Unfit(why),
        _ => Failure::Builder(why),
    }
}

fn lost(cause: impl Display) -> Failure {
    Failure::Builder(Why::new(Reason::BuilderLost, cause.to_string()))
}

fn corrupt(output: &OutputFile) -> Failure {
    Failure::Builder(Why::new(Reason::Corrupt, output.path.to_string()))
}

fn refused(why: Refusal, message: String) -> Failure {
    let reason = Why::new(Reason::BuilderRefused, message);
    match why {
        // The lease was overtaken by events, or the builder is on its way out: nobody's fault.
        Refusal::Lease | Refusal::Busy | Refusal::Draining | Refusal::Full => Failure::Lease(reason),
        Refusal::Version | Refusal::Secret | Refusal::Offer => Failure::Builder(reason),
        Refusal::Request => Failure::Unit(reason),
    }
}

/// Exit status and the first thing that the remote compiler complained of.
fn first_line(status: u8, stderr: &[u8]) -> String {
    const LINE_CHARS_MAX: usize = 200;
    let text = String::from_utf8_lossy(stderr);
    let line = text.lines().find(|line| line.contains("error")).or_else(|| text.lines().next()).unwrap_or_default();
    format!("exit status {status}: {}", line.chars().take(LINE_CHARS_MAX).collect::<String>())
}

/// A name that no build uses, in a directory that every job has.
fn report_path(job: JobId) -> SandboxPath {
    SandboxPath::new(format!("/tmp/.farcc-{job}.d").into_bytes()).expect("hexadecimal digits make a normal path")
}
