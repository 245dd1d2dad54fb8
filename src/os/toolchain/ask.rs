//! Asks a compiler driver something, in a clean environment.

use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};

use crate::model::limits::{DRIVER_ANSWER_BYTES_MAX, DRIVER_ANSWER_MAX};
use crate::model::toolchain::LEVEL_VARIABLE;
use crate::os::process::{Command, Output, SpawnError};

/// A driver to ask, by the path it is called under, with the options that go with each question.
#[derive(Debug)]
pub(super) struct Driver<'a> {
    pub(super) path: &'a Path,
    /// Options that select what the driver finds (`--sysroot=`, `-m32`, `--target=`).
    pub(super) selectors: &'a [OsString],
    /// The caller's `PATH`: drivers look for the assembler there.
    pub(super) search_path: &'a OsStr,
}

#[derive(Debug, thiserror::Error)]
pub enum AskError {
    #[error(transparent)]
    Run(#[from] SpawnError),
    #[error("{} fails when asked {question}", path.display())]
    Failed { path: PathBuf, question: String },
}

impl Driver<'_> {
    /// Standard output of a question that must succeed.
    pub(super) fn ask(&self, question: &[&str]) -> Result<Vec<u8>, AskError> {
        let output = self.run(question)?;
        if output.ending.is_success() {
            return Ok(output.stdout);
        }
        Err(AskError::Failed { path: self.path.to_owned(), question: question.join(" ") })
    }

    /// Whatever comes, success or not.
    pub(super) fn run(&self, question: &[&str]) -> Result<Output, SpawnError> {
        // Only what a driver needs to answer, and in English: messages are parsed.
        // A script that calls farcc must not turn to the daemon that is asking.
        let env = [("PATH", self.search_path), ("LC_ALL", OsStr::new("C")), (LEVEL_VARIABLE, OsStr::new("1"))];
        let command = Command::new(self.path).args(self.selectors).args(question).env(env);
        command.wall(DRIVER_ANSWER_MAX).output_bytes(DRIVER_ANSWER_BYTES_MAX).run()
    }
}
