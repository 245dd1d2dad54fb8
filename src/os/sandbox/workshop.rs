//! Where a builder keeps inputs and runs jobs. One call runs a job; one value owns what it made, until it is dropped.

use std::fs::{DirBuilder, File};
use std::io::{self, Read, Seek};
use std::os::fd::OwnedFd;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use rustix::fs::{FlockOperation, MemfdFlags, OFlags, fcntl_setfl, flock, memfd_create};

use crate::model::digest::Digest;
use crate::model::job::{Bytes, Compilation, Ending, JobLimits, JobSpec, Manifest, OutputFile, Usage};
use crate::model::limits::{JOB_OUTPUT_BYTES_MAX, JOB_WALL_MAX};
use crate::model::path::SandboxPath;
use crate::os::sandbox::bwrap;
use crate::os::sandbox::collect::{self, CollectError, Made};
use crate::os::sandbox::helper::{BwrapError, Cancel, Captured, Helper, LaunchError, Run, Stopped};
use crate::os::sandbox::launch::Launch;
use crate::os::sandbox::stage::{self, StageError};
use crate::os::sandbox::tree::Trees;
use crate::os::store::inputs::{BlobWriter, InputStore, Pins, ReceiveError};
use crate::os::store::remove::remove_tree;

/// Inputs, directories of jobs and the helper that runs them. Shared between threads; every call blocks.
#[derive(Debug)]
pub struct Workshop {
    helper: Arc<Helper>,
    inputs: InputStore,
    trees: Trees,
    /// Held: another builder here would take our jobs for leftovers.
    _lock: File,
}

#[derive(Clone, Debug)]
pub struct WorkshopSettings {
    /// Bound of the input cache. Files that running jobs use stay even beyond it.
    pub input_cache_bytes: u64,
}

#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    #[error("{} is in use by another builder", .0.display())]
    InUse(PathBuf),
    #[error("cannot use {}", directory.display())]
    Io { directory: PathBuf, source: io::Error },
}

/// A job whose inputs are held in the cache, as far as they are there.
#[derive(Debug)]
#[must_use = "dropping a Reservation lets its inputs be evicted"]
pub struct Reservation {
    pins: Pins,
}

impl Reservation {
    /// What the client has to send before the job can run, in order of digest.
    pub fn missing(&self) -> Vec<Digest> {
        self.pins.missing()
    }
}

/// What is in each output, where that is little.
type Contents = Vec<Option<Vec<u8>>>;

/// A job that ran to its own end.
#[derive(Debug)]
pub struct Ran {
    pub compilation: Compilation,
    contents: Contents,
    /// In memory, and with this value gone.
    upper: OwnedFd,
}

impl Ran {
    /// The bytes of `compilation.outputs[i]`, where they are at hand.
    pub fn output_at_hand(&self, i: usize) -> Option<&[u8]> {
        self.contents.get(i)?.as_deref()
    }

    /// The bytes of `compilation.outputs[i]`. None beyond the last.
    pub fn open_output(&self, i: usize) -> io::Result<Option<File>> {
        let open = |output: &OutputFile| collect::open_file(&self.upper, &output.path);
        self.compilation.outputs.get(i).map(open).transpose()
    }
}

/// Why there is no compilation.
#[derive(Debug, thiserror::Error)]
pub enum RunFault {
    /// The client's doing.
    #[error("{} inputs are missing, {} among them", .0.len(), .0.first().map(Digest::short).unwrap_or_default())]
    Missing(Vec<Digest>),
    #[error("the manifest cannot be laid out: {0}")]
    Stage(#[from] StageError),
    #[error("the command cannot be run: {0}")]
    Command(String),
    #[error("the program {0} is missing")]
    ProgramMissing(SandboxPath),
    #[error("cancelled")]
    Cancelled,
    #[error("took longer than {} s", .0.as_secs())]
    Wall(Duration),
    #[error("wrote more than {0} bytes")]
    TooMuchOutput(u64),
    #[error("{0}")]
    Collect(#[source] CollectError),
    /// The builder's doing.
    #[error("no sandbox: {0}")]
    Sandbox(String),
    #[error("the sandbox ended without saying how its program did")]
    NoEnding,
    #[error("no bubblewrap: {0}")]
    Bwrap(#[from] BwrapError),
    #[error("{0}")]
    Helper(&'static str),
    #[error("cannot keep the job's files: {0}")]
    Io(#[from] io::Error),
}

impl Workshop {
    /// Opens `directory`, which is the workshop's alone. What an earlier builder left in it goes.
    pub fn open(directory: &Path, helper: Arc<Helper>, settings: &WorkshopSettings) -> Result<Self, OpenError> {
        let fail = |source: io::Error| OpenError::Io { directory: directory.to_owned(), source };
        DirBuilder::new().recursive(true).mode(0o700).create(directory).map_err(fail)?;
        let lock = File::open(directory).map_err(fail)?;
        match flock(&lock, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => {}
            Err(rustix::io::Errno::WOULDBLOCK) => return Err(OpenError::InUse(directory.to_owned())),
            Err(errno) => return Err(fail(errno.into())),
        }
        let trees = directory.join("trees");
        remove_tree(&trees).map_err(fail)?;
        DirBuilder::new().mode(0o700).create(&trees).map_err(fail)?;
        let inputs = InputStore::open(&directory.join("inputs"), settings.input_cache_bytes).map_err(fail)?;
        // The helper resolves names on its own.
        let trees = Trees::new(trees.canonicalize().map_err(fail)?);
        Ok(Self { helper, inputs, trees, _lock: lock })
    }

    /// Holds what is there of a job's inputs. Refuses a manifest that could not be laid out.
    pub fn reserve(&self, manifest: &Manifest) -> Result<Reservation, StageError> {
        stage::check(manifest)?;
        Ok(Reservation { pins: self.inputs.pin(stage::digests(manifest)) })
    }

    /// Takes an input from the client.
    pub fn receive(&self, digest: Digest, size: u64) -> Result<BlobWriter, ReceiveError> {
        self.inputs.receive(digest, size)
    }

    /// Runs a job on `toolchain`, the directory of an unpacked one, which must not change meanwhile.
    ///
    /// The reservation is that of the job's manifest; it ends with the run.
    pub fn run(
        &self,
        reservation: Reservation,
        spec: &JobSpec,
        toolchain: &Path,
        cancel: &Cancel,
    ) -> Result<Ran, RunFault> {
        let missing = reservation.missing();
        if !missing.is_empty() {
            return Err(RunFault::Missing(missing));
        }
        check_command(spec)?;
        let limits = JobLimits {
            wall: spec.limits.wall.min(JOB_WALL_MAX),
            output_bytes: spec.limits.output_bytes.min(JOB_OUTPUT_BYTES_MAX),
        };
        let tree = self.trees.lay_out(spec.job.instance, &spec.manifest, &self.inputs)?;
        drop(reservation);

        let mut output = Captured { stdout: unnamed_file()?, stderr: unnamed_file()? };
        let launch = launch(spec, &limits, tree.path(), toolchain.canonicalize()?);
        // Where this fails, the tree may still be in use; it is not used again.
        let mut run = self.helper.run(&launch, &output, limits.wall, cancel)?;
        self.trees.keep(tree);
        let upper = run.upper.take();
        let ending = ending(&run, spec, &limits, &mut output.stderr)?;
        let upper = upper.ok_or(RunFault::NoEnding)?;
        let (compilation, contents) = compilation(&upper, spec, &limits, ending, &run, &mut output)?;
        Ok(Ran { compilation, contents, upper })
    }

    /// Bytes of the inputs that are kept.
    pub fn input_bytes(&self) -> u64 {
        self.inputs.bytes()
    }

    pub(crate) fn helper(&self) -> &Helper {
        &self.helper
    }

    /// Where inputs of jobs are laid out.
    pub(crate) fn trees(&self) -> &Path {
        self.trees.directory()
    }
}

/// Puts together what the job made; with it the content of each output that is at hand.
fn compilation(
    upper: &OwnedFd,
    spec: &JobSpec,
    limits: &JobLimits,
    ending: Ending,
    run: &Run,
    output: &mut Captured,
) -> Result<(Compilation, Contents), RunFault> {
    let too_much = || RunFault::TooMuchOutput(limits.output_bytes);
    let streams = output.stdout.metadata()?.len() + output.stderr.metadata()?.len();
    let left = limits.output_bytes.checked_sub(streams).ok_or_else(too_much)?;
    let mut made = collect::collect(upper, left).map_err(|error| match error {
        CollectError::TooLarge { .. } => too_much(),
        other => RunFault::Collect(other),
    })?;
    let report = take_report(upper, spec, &mut made)?;
    let (outputs, contents) = made.into_iter().map(|Made { file, content }| (file, content)).unzip();
    let usage = Usage { wall: run.wall, cpu: run.cpu, peak_bytes: run.peak_bytes };
    let (stdout, stderr) = (all(&mut output.stdout)?, all(&mut output.stderr)?);
    Ok((Compilation { ending, stdout, stderr, outputs, report, usage }, contents))
}

/// Takes the report out of the outputs.
fn take_report(upper: &OwnedFd, spec: &JobSpec, made: &mut Vec<Made>) -> Result<Option<Bytes>, RunFault> {
    let Some(i) = made.iter().position(|made| Some(&made.file.path) == spec.report.as_ref()) else {
        return Ok(None);
    };
    let Made { file, content } = made.remove(i);
    let content = match content {
        Some(content) => content,
        None => collect::read(collect::open_file(upper, &file.path)?, file.size)?,
    };
    Ok(Some(Bytes::from(content)))
}

/// A file that has no name which a job could learn. Its size is limited with those of all other files of the job.
fn unnamed_file() -> io::Result<File> {
    let file = memfd_create("farcc-stream", MemfdFlags::CLOEXEC)?;
    // Two descriptors of it, as with `2>&1`, do not write over one another.
    fcntl_setfl(&file, OFlags::APPEND)?;
    Ok(File::from(file))
}

impl From<LaunchError> for RunFault {
    fn from(error: LaunchError) -> Self {
        match error {
            LaunchError::Bwrap(error) => Self::Bwrap(error),
            LaunchError::HelperGone => Self::Helper("the sandbox helper is gone"),
            LaunchError::HelperHangs => Self::Helper("the sandbox helper does not answer"),
            LaunchError::Undying => Self::Helper("a killed sandbox does not end"),
            LaunchError::Io(error) => Self::Io(error),
        }
    }
}

/// What no program could be started with.
fn check_command(spec: &JobSpec) -> Result<(), RunFault> {
    let nul = |bytes: &Bytes| bytes.contains(&0);
    if spec.argv.is_empty() {
        return Err(RunFault::Command("it is empty".into()));
    }
    if spec.argv.iter().any(nul) || spec.env.iter().any(|(name, value)| nul(name) || nul(value)) {
        return Err(RunFault::Command("it has a NUL byte".into()));
    }
    if spec.env.iter().any(|(name, _)| name.is_empty() || name.contains(&b'=')) {
        return Err(RunFault::Command("a variable of its environment has no proper name".into()));
    }
    Ok(())
}

/// The name of the working directory: bwrap sets `PWD` to what it is told to change to, and compilers write `PWD` into what they
/// make where it names the directory that they are in. So it keeps the value it has, if that is right.
fn working_directory(spec: &JobSpec) -> SandboxPath {
    let pwd = spec.env.iter().find(|(name, _)| name.as_slice() == b"PWD");
    let pwd = pwd.and_then(|(_, value)| SandboxPath::new(value.to_vec()).ok());
    pwd.filter(|pwd| stage::resolve(&spec.manifest, pwd).as_ref() == Some(&spec.cwd))
        .unwrap_or_else(|| spec.cwd.clone())
}

fn launch(spec: &JobSpec, limits: &JobLimits, inputs: &Path, toolchain: PathBuf) -> Launch {
    Launch {
        inputs: inputs.to_owned(),
        toolchain,
        program: spec.program.clone(),
        argv: spec.argv.clone(),
        env: spec.env.clone(),
        cwd: working_directory(spec),
        file_bytes: limits.output_bytes,
        cpu: limits.wall,
    }
}

/// How the program ended, or why there is nothing to tell.
fn ending(run: &Run, spec: &JobSpec, limits: &JobLimits, stderr: &mut File) -> Result<Ending, RunFault> {
    const SIGXCPU: u8 = libc::SIGXCPU as u8;
    const SIGXFSZ: u8 = libc::SIGXFSZ as u8;
    if let (None, Some(why)) = (run.stopped, &run.refused) {
        return Err(RunFault::Command(why.clone()));
    }
    match (run.stopped, &run.failed, bwrap::ending(&run.status)) {
        (Some(Stopped::Cancelled), ..) => Err(RunFault::Cancelled),
        (Some(Stopped::Wall), ..) | (None, None, Some(Ending::Signalled(SIGXCPU))) => Err(RunFault::Wall(limits.wall)),
        (None, Some(why), _) => Err(RunFault::Sandbox(why.clone())),
        (None, None, Some(Ending::Signalled(SIGXFSZ))) => Err(RunFault::TooMuchOutput(limits.output_bytes)),
        (None, None, Some(ending)) => Ok(ending),
        // The program has not been executed, and bwrap says why where the compiler would have; or bwrap itself was killed.
        (None, None, None) => Err(match String::from_utf8_lossy(&all(stderr)?).trim() {
            text if text.starts_with("bwrap: execvp ") => RunFault::ProgramMissing(spec.program.clone()),
            text if text.starts_with("bwrap: ") => {
                RunFault::Sandbox(text.lines().next().unwrap_or_default().to_owned())
            }
            _ => RunFault::NoEnding,
        }),
    }
}

/// A captured stream from its beginning.
fn all(file: &mut File) -> io::Result<Bytes> {
    let mut bytes = Vec::new();
    file.rewind()?;
    file.read_to_end(&mut bytes)?;
    Ok(Bytes::from(bytes))
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;
    use crate::model::id::{Instance, JobId};
    use crate::model::job::Manifest;
    use crate::model::toolchain::ToolchainId;

    /// bwrap died before it could tell, or something kept it from telling.
    #[test]
    fn a_compile_without_an_ending_is_the_builders_fault() {
        let path = |text: &str| SandboxPath::new(text.as_bytes()).unwrap();
        let limits = JobLimits { wall: Duration::from_secs(1), output_bytes: 1 };
        let spec = JobSpec {
            job: JobId { instance: Instance(1), number: 1 },
            toolchain: ToolchainId(Digest::of(b"")),
            program: path("/cc"),
            argv: Vec::new(),
            env: Vec::new(),
            cwd: path("/"),
            manifest: Manifest::default(),
            report: None,
            limits,
        };
        let run = Run {
            upper: None,
            stopped: None,
            failed: None,
            refused: None,
            status: Vec::new(),
            wall: Duration::ZERO,
            cpu: Duration::ZERO,
            peak_bytes: 0,
        };
        let found = |said: &str| {
            let mut stderr = tempfile::tempfile().unwrap();
            stderr.write_all(said.as_bytes()).unwrap();
            ending(&run, &spec, &limits, &mut stderr)
        };
        assert!(matches!(found(""), Err(RunFault::NoEnding)));
        assert!(matches!(found("a.c:1: warning: x\n"), Err(RunFault::NoEnding)));
        assert!(matches!(found("bwrap: execvp /cc: No such file\n"), Err(RunFault::ProgramMissing(_))));
        assert!(matches!(found("bwrap: no room\n"), Err(RunFault::Sandbox(_))));
    }
}
