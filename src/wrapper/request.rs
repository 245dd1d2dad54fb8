//! The question to the daemon: the command with everything around it that could matter.

use std::ffi::OsString;
use std::io;
use std::os::unix::ffi::OsStringExt;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use rustix::fs::{Mode, OFlags, open};

use crate::engine::wire::local::{CompileRequest, ToDaemon};
use crate::model::job::Bytes;
use crate::os::local::{Link, LinkError};
use crate::wrapper::find::Compiler;
use crate::wrapper::invocation::Command;

/// Asks what is to happen with `command`; the answers come over the same link.
pub(crate) fn ask(link: &Link, command: &Command, compiler: &Compiler) -> Result<(), LinkError> {
    let request = describe(command, compiler)?;
    let directory = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let root = open("/", directory, Mode::empty()).map_err(io::Error::from)?;
    let here = open(".", directory, Mode::empty()).map_err(io::Error::from)?;
    use std::os::fd::AsFd;
    link.open(&ToDaemon::Compile(request), &[root.as_fd(), here.as_fd()])
}

fn describe(command: &Command, compiler: &Compiler) -> io::Result<CompileRequest> {
    let cwd = std::env::current_dir()?;
    let argv = std::iter::once(&compiler.argv0).chain(&command.arguments);
    Ok(CompileRequest {
        compiler: bytes(cwd.join(&compiler.path).into_os_string()),
        argv: argv.map(|word| bytes(word.clone())).collect(),
        cwd: bytes(cwd.into_os_string()),
        env: std::env::vars_os().map(|(name, value)| (bytes(name), bytes(value))).collect(),
        // Without /proc there is no knowing; zero is nobody's namespace, so the unit stays here.
        mount_namespace: Path::new("/proc/self/ns/mnt").metadata().map_or(0, |meta| meta.ino()),
        // Anything but a terminal has no size.
        stderr_columns: rustix::termios::tcgetwinsize(io::stderr()).map_or(0, |size| size.ws_col),
    })
}

fn bytes(text: OsString) -> Bytes {
    Bytes::from(text.into_vec())
}
