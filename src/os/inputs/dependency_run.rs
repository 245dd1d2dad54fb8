//! Runs the compiler's own dependency output.
//!
//! The list comes through the compiler's standard output, which it opens once more by way of `/proc`: no temporary file to
//! choose a place for, and nothing a failing compiler could remove.

use std::ffi::OsStr;
use std::fs::File;
use std::io::{self, Read};
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::OFlags;
use rustix::io::Errno;

use crate::engine::compiler::depfile;
use crate::engine::compiler::search::SearchPath;
use crate::model::job::Bytes;
use crate::model::limits::{DEPENDENCY_OUTPUT_BYTES_MAX, DEPENDENCY_RUN_MAX};
use crate::model::reason::{Reason, Why};
use crate::model::toolchain::LEVEL_VARIABLE;
use crate::os::inputs::Unit;
use crate::os::inputs::tree::os_path;
use crate::os::sys;

/// The compiler's standard output, under a name that it can open.
const STANDARD_OUTPUT: &[u8] = b"/proc/self/fd/1";

/// What the compiler says about a unit.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Dependencies {
    /// As spelled, the source among them.
    pub(super) files: Vec<Bytes>,
    pub(super) search: SearchPath,
}

impl Dependencies {
    /// About what it takes in memory.
    pub fn bytes(&self) -> usize {
        self.files.iter().chain(self.search.directories()).map(|path| path.len() + size_of::<Bytes>()).sum()
    }
}

/// Asks the compiler. A source that is not preprocessed is its own only dependency.
pub(super) fn run(unit: &Unit) -> Result<Dependencies, Why> {
    let Some(argv) = unit.command.dependency_run(STANDARD_OUTPUT) else {
        return Ok(Dependencies { files: vec![unit.command.source.clone()], search: SearchPath::default() });
    };
    let failed = |detail: String| Why::new(Reason::DependencyRun, detail);
    let (list, messages) = output_of(&mut command(unit, &argv)).map_err(|error| failed(error.to_string()))?;
    let Some(list) = list else { return Err(failed(first_error(&messages))) };
    let files = depfile::prerequisites(&list).map_err(|error| failed(error.to_string()))?;
    let search = SearchPath::parse(&messages).map_err(|error| failed(error.to_string()))?;
    Ok(Dependencies { files, search })
}

/// The unit as the compiler proper gets it: preprocessed, or as it is if nothing is to be preprocessed.
pub(super) fn preprocessed(unit: &Unit) -> Result<Vec<u8>, Why> {
    let Some(argv) = unit.command.preprocessing_run() else {
        let path = os_path(&unit.cwd).join(os_path(&unit.command.source));
        let unusable = |error: io::Error| Why::new(Reason::UnusableInput, format!("{}: {error}", path.display()));
        let mut bytes = Vec::new();
        let file = File::open(&path).map_err(unusable)?;
        file.take(DEPENDENCY_OUTPUT_BYTES_MAX).read_to_end(&mut bytes).map_err(unusable)?;
        return Ok(bytes);
    };
    let failed = |detail: String| Why::new(Reason::DependencyRun, detail);
    let (text, messages) = output_of(&mut command(unit, &argv)).map_err(|error| failed(error.to_string()))?;
    text.ok_or_else(|| failed(first_error(&messages)))
}

fn command(unit: &Unit, argv: &[Bytes]) -> Command {
    let mut command = Command::new(&unit.compiler);
    command
        // Where it finds its parts, and how it spells their names, may depend on its own.
        .arg0(OsStr::from_bytes(&argv[0]))
        .args(argv[1..].iter().map(|word| OsStr::from_bytes(word)))
        .env_clear()
        .envs(unit.env.iter().map(|(name, value)| (OsStr::from_bytes(name), OsStr::from_bytes(value))))
        // The search path is read out of the messages.
        .env("LC_ALL", "C")
        // A script that calls farcc must not turn to the daemon that is asking.
        .env(LEVEL_VARIABLE, "1")
        .current_dir(os_path(&unit.cwd))
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    command
}

/// How long messages may wait to be read. What the compiler is asked for comes in dozens of pieces, and to be woken for each costs it
/// more than to write it. A pipe has room for some tens of kilobytes; who has more to say waits for us that long.
const MESSAGES_EVERY: Duration = Duration::from_millis(5);

/// Standard output, none if the program failed, and standard error.
fn output_of(command: &mut Command) -> io::Result<(Option<Vec<u8>>, Vec<u8>)> {
    let mut child = Running(command.spawn()?);
    // It computes for longer than most, and often only confirms what is under way. Where it is not to be had, others wait for it.
    sys::give_long_turns(child.0.id()).ok();
    let end = Instant::now() + DEPENDENCY_RUN_MAX;
    let (mut list, mut messages) = (Stream::new(child.0.stdout.take())?, Stream::new(child.0.stderr.take())?);
    while !list.has_ended() {
        list.wait(end.min(Instant::now() + MESSAGES_EVERY))?;
        list.read()?;
        messages.read()?;
        in_time(end)?;
    }
    while !messages.has_ended() {
        messages.wait(end)?;
        messages.read()?;
        in_time(end)?;
    }
    let status = child.0.wait()?;
    Ok((status.success().then_some(list.bytes), messages.bytes))
}

fn in_time(end: Instant) -> io::Result<()> {
    if Instant::now() < end { Ok(()) } else { Err(io::ErrorKind::TimedOut.into()) }
}

/// A child that does not outlive its caller.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        // Both fail where it has ended already, which is all that is wanted.
        self.0.kill().ok();
        self.0.wait().ok();
    }
}

/// What a program writes to a pipe, as far as it has come.
struct Stream {
    /// None at its end.
    pipe: Option<File>,
    bytes: Vec<u8>,
}

impl Stream {
    /// Of no pipe, an empty one.
    fn new(pipe: Option<impl Into<OwnedFd>>) -> io::Result<Self> {
        let pipe = pipe.map(|pipe| File::from(pipe.into()));
        if let Some(pipe) = &pipe {
            rustix::fs::fcntl_setfl(pipe, OFlags::NONBLOCK)?;
        }
        Ok(Self { pipe, bytes: Vec::new() })
    }

    fn has_ended(&self) -> bool {
        self.pipe.is_none()
    }

    /// Until there is something to read, or its end; no longer than until `moment`.
    fn wait(&self, moment: Instant) -> io::Result<()> {
        let Some(pipe) = &self.pipe else { return Ok(()) };
        let left = Timespec::try_from(moment.saturating_duration_since(Instant::now())).map_err(io::Error::other)?;
        match poll(&mut [PollFd::new(pipe, PollFlags::IN)], Some(&left)) {
            Ok(_) | Err(Errno::INTR) => Ok(()),
            Err(errno) => Err(errno.into()),
        }
    }

    /// Reads what is there.
    fn read(&mut self) -> io::Result<()> {
        let Some(pipe) = &self.pipe else { return Ok(()) };
        let left = (DEPENDENCY_OUTPUT_BYTES_MAX + 1).saturating_sub(self.bytes.len() as u64);
        match pipe.take(left).read_to_end(&mut self.bytes) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(error) => return Err(error),
            Ok(_) => self.pipe = None,
        }
        if self.bytes.len() as u64 > DEPENDENCY_OUTPUT_BYTES_MAX {
            return Err(io::ErrorKind::FileTooLarge.into());
        }
        Ok(())
    }
}

/// The line that says what is wrong, for people.
fn first_error(messages: &[u8]) -> String {
    let is_error = |line: &&[u8]| line.windows(6).any(|window| window == b"error:");
    let line = messages.split(|&byte| byte == b'\n').find(is_error).unwrap_or_default();
    String::from_utf8_lossy(line).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn output_of_script(script: &str) -> io::Result<(Option<Vec<u8>>, Vec<u8>)> {
        let mut command = Command::new("/bin/sh");
        output_of(command.args(["-c", script]).stdout(Stdio::piped()).stderr(Stdio::piped()))
    }

    #[test]
    fn neither_stream_waits_for_the_other() {
        let (list, messages) = output_of_script(
            "head -c 200000 /dev/zero >&2; head -c 200000 /dev/zero; exec >&-; head -c 100000 /dev/zero >&2",
        )
        .unwrap();
        assert_eq!((list.map(|list| list.len()), messages.len()), (Some(200_000), 300_000));
    }

    #[test]
    fn a_failure_has_messages_and_no_list() {
        assert_eq!(output_of_script("echo list; echo why >&2; exit 1").unwrap(), (None, b"why\n".to_vec()));
    }

    #[test]
    fn no_stream_is_endless() {
        for script in ["cat /dev/zero", "exec >&-; cat /dev/zero >&2"] {
            assert_eq!(output_of_script(script).unwrap_err().kind(), io::ErrorKind::FileTooLarge, "{script}");
        }
    }
}
