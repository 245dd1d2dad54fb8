//! The one place where daemons start other programs outside a sandbox: compilers that are asked something, `bwrap --version`.
//!
//! What is started gets exactly the arguments and the environment that are written down, dies with the thread that
//! waits for it, may write only so much and live only so long. There is no shell and no search along `PATH`.

use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::{Path, PathBuf};
use std::process::{self, Child, ExitStatus, Stdio};
use std::time::Duration;

use rustix::event::{PollFd, PollFlags};
use rustix::process::{Pid, PidfdFlags, Signal, kill_process_group, pidfd_open};

use crate::model::job::Ending;
use crate::model::limits::{SPAWN_OUTPUT_BYTES_MAX, SPAWN_WALL_MAX};
use crate::os::process::wait::{Deadline, wait_for};
use crate::os::sys;

/// A program to run to its end.
#[derive(Clone, Debug)]
pub struct Command {
    program: PathBuf,
    argv0: OsString,
    args: Vec<OsString>,
    env: Vec<(OsString, OsString)>,
    cwd: PathBuf,
    wall: Duration,
    output_bytes: usize,
}

/// How it ended and what it wrote.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Output {
    pub ending: Ending,
    pub stdout: Vec<u8>,
    pub stderr: Vec<u8>,
}

#[derive(Debug, thiserror::Error)]
pub enum SpawnError {
    #[error("cannot run {}", program.display())]
    Start { program: PathBuf, source: io::Error },
    #[error("{} took longer than {} s", program.display(), wall.as_secs())]
    TooLong { program: PathBuf, wall: Duration },
    #[error("{} wrote more than {max} bytes", program.display())]
    TooMuch { program: PathBuf, max: usize },
    #[error("cannot read what {} writes", program.display())]
    Read { program: PathBuf, source: io::Error },
}

impl Command {
    /// Runs `program`, a path, with no argument, an empty environment, in `/`.
    pub fn new(program: impl Into<PathBuf>) -> Self {
        let program = program.into();
        Self {
            argv0: program.as_os_str().to_owned(),
            program,
            args: Vec::new(),
            env: Vec::new(),
            cwd: PathBuf::from("/"),
            wall: SPAWN_WALL_MAX,
            output_bytes: SPAWN_OUTPUT_BYTES_MAX,
        }
    }

    /// The name that the program sees as its own; its path by default.
    pub fn argv0(mut self, name: impl Into<OsString>) -> Self {
        self.argv0 = name.into();
        self
    }

    pub fn args<A: AsRef<OsStr>>(mut self, args: impl IntoIterator<Item = A>) -> Self {
        self.args.extend(args.into_iter().map(|arg| arg.as_ref().to_owned()));
        self
    }

    pub fn env<K: AsRef<OsStr>, V: AsRef<OsStr>>(mut self, env: impl IntoIterator<Item = (K, V)>) -> Self {
        self.env.extend(env.into_iter().map(|(name, value)| (name.as_ref().to_owned(), value.as_ref().to_owned())));
        self
    }

    pub fn cwd(mut self, directory: impl Into<PathBuf>) -> Self {
        self.cwd = directory.into();
        self
    }

    /// Kills it after this long; [`SPAWN_WALL_MAX`] by default.
    pub fn wall(mut self, wall: Duration) -> Self {
        self.wall = wall;
        self
    }

    /// Lets it write this much to each of its two streams; [`SPAWN_OUTPUT_BYTES_MAX`] by default.
    pub fn output_bytes(mut self, max: usize) -> Self {
        self.output_bytes = max;
        self
    }

    /// Runs it with nothing on its standard input.
    pub fn run(&self) -> Result<Output, SpawnError> {
        self.run_with_input(&[])
    }

    /// Runs it with `input` on its standard input. Blocks until it has ended.
    pub fn run_with_input(&self, input: &[u8]) -> Result<Output, SpawnError> {
        let deadline = Deadline::after(self.wall);
        let mut group = Group(self.start(input)?, None);
        let (stdout, stderr) = self.converse(&mut group.0, input, deadline)?;
        let status = self.wait(group, deadline)?;
        Ok(Output { ending: ending(status), stdout, stderr })
    }

    fn start(&self, input: &[u8]) -> Result<Child, SpawnError> {
        let mut command = process::Command::new(&self.program);
        command
            .arg0(&self.argv0)
            .args(&self.args)
            .env_clear()
            .envs(self.env.iter().map(|(name, value)| (name, value)))
            .current_dir(&self.cwd)
            .process_group(0)
            .stdin(if input.is_empty() { Stdio::null() } else { Stdio::piped() })
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        sys::tie_to_parent(&mut command)
            .spawn()
            .map_err(|source| SpawnError::Start { program: self.program.clone(), source })
    }

    /// Feeds it and reads both streams to their ends.
    fn converse(&self, child: &mut Child, input: &[u8], deadline: Deadline) -> Result<(Vec<u8>, Vec<u8>), SpawnError> {
        let read = |source| SpawnError::Read { program: self.program.clone(), source };
        let (mut stdin, mut unsent) = (child.stdin.take(), input);
        let mut streams = [Stream::new(child.stdout.take()), Stream::new(child.stderr.take())];
        for fd in stdin.iter().map(AsFd::as_fd).chain(streams.iter().filter_map(Stream::fd)) {
            rustix::io::ioctl_fionbio(fd, true).map_err(|errno| read(errno.into()))?;
        }
        while streams.iter().any(|stream| stream.fd().is_some()) {
            let mut waited: Vec<_> =
                streams.iter().filter_map(Stream::fd).map(|fd| PollFd::from_borrowed_fd(fd, PollFlags::IN)).collect();
            waited.extend(stdin.iter().map(|pipe| PollFd::new(pipe, PollFlags::OUT)));
            if !wait_for(&mut waited, deadline).map_err(read)? {
                return Err(self.too_long());
            }
            drop(waited);
            for stream in &mut streams {
                if stream.read(self.output_bytes).map_err(read)? == Progress::Full {
                    return Err(SpawnError::TooMuch { program: self.program.clone(), max: self.output_bytes });
                }
            }
            // A program that does not want its input is no error of ours: its exit status says what it thinks.
            let refused = match stdin.as_mut().map(|pipe| pipe.write(unsent)) {
                Some(Ok(n)) => {
                    unsent = &unsent[n..];
                    false
                }
                Some(Err(error)) => error.kind() != io::ErrorKind::WouldBlock,
                None => false,
            };
            if refused || unsent.is_empty() {
                stdin = None;
            }
        }
        let [stdout, stderr] = streams.map(|stream| stream.bytes);
        Ok((stdout, stderr))
    }

    fn wait(&self, group: Group, deadline: Deadline) -> Result<ExitStatus, SpawnError> {
        let read = |source| SpawnError::Read { program: self.program.clone(), source };
        let pidfd = pidfd_open(Pid::from_child(&group.0), PidfdFlags::empty()).map_err(|errno| read(errno.into()))?;
        if !wait_for(&mut [PollFd::new(&pidfd, PollFlags::IN)], deadline).map_err(read)? {
            return Err(self.too_long());
        }
        group.end().map_err(read)
    }

    fn too_long(&self) -> SpawnError {
        SpawnError::TooLong { program: self.program.clone(), wall: self.wall }
    }

    pub fn program(&self) -> &Path {
        &self.program
    }
}

/// A started program with all it started itself: both end with this value at the latest.
struct Group(Child, Option<ExitStatus>);

impl Group {
    /// Kills what is left of it and tells how the program ended.
    fn end(mut self) -> io::Result<ExitStatus> {
        self.kill()
    }

    fn kill(&mut self) -> io::Result<ExitStatus> {
        if let Some(status) = self.1 {
            return Ok(status);
        }
        // Killed before it is waited for: until then its number, which is the group's, cannot belong to anybody else.
        kill_process_group(Pid::from_child(&self.0), Signal::KILL).ok();
        let status = self.0.wait()?;
        self.1 = Some(status);
        Ok(status)
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        self.kill().ok();
    }
}

/// One output stream while it is read.
struct Stream {
    pipe: Option<File>,
    bytes: Vec<u8>,
}

#[derive(PartialEq)]
enum Progress {
    Open,
    Ended,
    Full,
}

impl Stream {
    fn new(pipe: Option<impl Into<OwnedFd>>) -> Self {
        Self { pipe: pipe.map(|pipe| File::from(pipe.into())), bytes: Vec::new() }
    }

    fn fd(&self) -> Option<BorrowedFd<'_>> {
        self.pipe.as_ref().map(AsFd::as_fd)
    }

    /// Takes what is there.
    fn read(&mut self, max: usize) -> io::Result<Progress> {
        let Some(pipe) = &mut self.pipe else { return Ok(Progress::Ended) };
        let mut chunk = [0; 16 << 10];
        loop {
            match pipe.read(&mut chunk) {
                Ok(0) => {
                    self.pipe = None;
                    return Ok(Progress::Ended);
                }
                Ok(n) if self.bytes.len() + n > max => return Ok(Progress::Full),
                Ok(n) => self.bytes.extend_from_slice(&chunk[..n]),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(Progress::Open),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
    }
}

/// How a process ended, as jobs have it.
fn ending(status: ExitStatus) -> Ending {
    match (status.code(), status.signal()) {
        (Some(code), _) => Ending::Exited(code as u8),
        (None, signal) => Ending::Signalled(signal.unwrap_or_default() as u8),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shell(script: &str) -> Command {
        Command::new("/bin/sh").args(["-c", script])
    }

    #[test]
    fn everything_is_explicit() {
        let output = shell("echo $0; /usr/bin/env; pwd; cat; echo no >&2; exit 7")
            .argv0("name")
            .env([("A", "b"), ("PATH", "/bin:/usr/bin")])
            .run_with_input(b"input\n")
            .unwrap();
        assert_eq!(output.ending, Ending::Exited(7));
        let text = String::from_utf8(output.stdout).unwrap();
        let lines: Vec<_> = text.lines().filter(|line| !line.starts_with("_=") && !line.starts_with("PWD=")).collect();
        assert_eq!(lines, ["name", "A=b", "PATH=/bin:/usr/bin", "/", "input"]);
        assert_eq!(output.stderr, b"no\n");
    }

    #[test]
    fn a_signal_is_not_a_status() {
        assert_eq!(shell("kill -9 $$").run().unwrap().ending, Ending::Signalled(9));
    }

    #[test]
    fn a_program_that_ignores_its_input_is_no_error() {
        let output = shell("exec <&-; echo done").run_with_input(&vec![b'x'; 1 << 20]).unwrap();
        assert_eq!(output.stdout, b"done\n");
    }

    #[test]
    fn bounds_hold() {
        let hung = shell("sleep 1000 & echo $!; wait").wall(Duration::from_millis(50)).run();
        assert!(matches!(hung, Err(SpawnError::TooLong { .. })), "{hung:?}");
        let loud = shell("cat /dev/zero").output_bytes(1 << 20).run();
        assert!(matches!(loud, Err(SpawnError::TooMuch { .. })), "{loud:?}");
        let missing = Command::new("/nonexistent").run();
        assert!(matches!(missing, Err(SpawnError::Start { .. })), "{missing:?}");
    }

    #[test]
    fn what_it_left_running_ends_with_it() {
        let output = shell("sleep 1000 >&- 2>&- & echo $!").run().unwrap();
        let pid: i32 = String::from_utf8(output.stdout).unwrap().trim().parse().unwrap();
        // Killed already; it may take the kernel a moment.
        let lives = |stat: std::io::Result<String>| stat.is_ok_and(|stat| !stat.contains(") Z"));
        let patience = Deadline::after(SPAWN_WALL_MAX);
        while lives(std::fs::read_to_string(format!("/proc/{pid}/stat"))) {
            assert!(!patience.left().is_zero(), "it lives");
            std::thread::yield_now();
        }
    }
}
