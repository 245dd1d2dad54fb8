//! Programs that tests have elsewhere.

use std::ffi::OsStr;
use std::process::Command;

/// Copies a program, in a process of its own: what this one has open for writing, other tests' children have open as well until
/// they are what they are to be, and the kernel runs no such file.
pub(crate) fn copy_program(from: impl AsRef<OsStr>, to: impl AsRef<OsStr>) {
    assert!(Command::new("cp").arg(from).arg(to).status().unwrap().success());
}
