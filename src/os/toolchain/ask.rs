//! Asks a compiler driver something and reads the answer: bounded in time and size, in a clean environment.

use std::ffi::OsStr;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc;
use std::thread;

use crate::model::limits::{DRIVER_ANSWER_BYTES_MAX, DRIVER_ANSWER_MAX};

/// A driver to ask, by the path it is called under, with the options that go with each question.
#[derive(Debug)]
pub(super) struct Driver<'a> {
    pub(super) path: &'a Path,
    /// Options that select what the driver finds (`--sysroot=`, `-m32`, `--target=`).
    pub(super) selectors: &'a [std::ffi::OsString],
    /// The caller's `PATH`: drivers look for the assembler there.
    pub(super) search_path: &'a OsStr,
}

#[derive(Debug)]
pub(super) struct Answer {
    pub(super) status: ExitStatus,
    pub(super) stdout: Vec<u8>,
    pub(super) stderr: Vec<u8>,
}

#[derive(Debug, thiserror::Error)]
pub enum AskError {
    #[error("{} cannot be run", path.display())]
    Run { path: PathBuf, source: io::Error },
    #[error("{} does not answer", path.display())]
    Silent { path: PathBuf },
    #[error("{} says more than {DRIVER_ANSWER_BYTES_MAX} bytes", path.display())]
    TooLong { path: PathBuf },
    #[error("{} fails when asked {question}", path.display())]
    Failed { path: PathBuf, question: String },
}

impl Driver<'_> {
    /// Standard output of a question that must succeed.
    pub(super) fn ask(&self, question: &[&str]) -> Result<Vec<u8>, AskError> {
        let answer = self.run(question)?;
        if answer.status.success() {
            return Ok(answer.stdout);
        }
        Err(AskError::Failed { path: self.path.to_owned(), question: question.join(" ") })
    }

    /// Whatever comes, success or not.
    pub(super) fn run(&self, question: &[&str]) -> Result<Answer, AskError> {
        let mut command = Command::new(self.path);
        command.args(self.selectors).args(question);
        // Only what a driver needs to answer, and in English: messages are parsed.
        command.env_clear().env("PATH", self.search_path).env("LC_ALL", "C").current_dir("/");
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let child = command.spawn().map_err(|source| AskError::Run { path: self.path.to_owned(), source })?;
        collect(child, self.path)
    }
}

fn collect(mut child: Child, path: &Path) -> Result<Answer, AskError> {
    let stdout = child.stdout.take().map(drain);
    let stderr = child.stderr.take().map(drain);
    let outputs = (received(stdout, path), received(stderr, path));
    if outputs.0.is_err() || outputs.1.is_err() {
        // A driver that is done already cannot be killed; either way it is waited for below.
        child.kill().ok();
    }
    let status = child.wait().map_err(|source| AskError::Run { path: path.to_owned(), source })?;
    Ok(Answer { status, stdout: outputs.0?, stderr: outputs.1? })
}

type Drained = mpsc::Receiver<io::Result<Vec<u8>>>;

/// Reads a pipe to its end in a thread of its own, since a driver may fill either pipe first.
fn drain(pipe: impl Read + Send + 'static) -> Drained {
    let (sender, receiver) = mpsc::sync_channel(1);
    thread::spawn(move || {
        let mut bytes = Vec::new();
        let read = pipe.take(DRIVER_ANSWER_BYTES_MAX + 1).read_to_end(&mut bytes);
        // The receiver is gone where the driver took too long; then nobody wants the bytes.
        sender.send(read.map(|_| bytes)).ok();
    });
    receiver
}

fn received(drained: Option<Drained>, path: &Path) -> Result<Vec<u8>, AskError> {
    let Some(drained) = drained else { return Ok(Vec::new()) };
    let silent = |_| AskError::Silent { path: path.to_owned() };
    let bytes = drained.recv_timeout(DRIVER_ANSWER_MAX).map_err(silent)?;
    let bytes = bytes.map_err(|source| AskError::Run { path: path.to_owned(), source })?;
    if bytes.len() as u64 > DRIVER_ANSWER_BYTES_MAX {
        return Err(AskError::TooLong { path: path.to_owned() });
    }
    Ok(bytes)
}
