//! Runs the compiler's own dependency output.
//!
//! The list comes through the compiler's standard output, which it opens once more by way of `/proc`: no temporary file to
//! choose a place for, and nothing a failing compiler could remove.

use std::ffi::OsStr;
use std::io::{self, Read};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{self, Receiver};
use std::thread;

use crate::engine::compiler::depfile;
use crate::engine::compiler::search::SearchPath;
use crate::model::job::Bytes;
use crate::model::limits::{DEPENDENCY_OUTPUT_BYTES_MAX, DEPENDENCY_RUN_MAX};
use crate::model::reason::{Reason, Why};
use crate::model::toolchain::LEVEL_VARIABLE;
use crate::os::inputs::Unit;
use crate::os::inputs::tree::os_path;

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
    let (list, messages) = output_of(command(unit, &argv)).map_err(|error| failed(error.to_string()))?;
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
        let file = std::fs::File::open(&path).map_err(unusable)?;
        file.take(DEPENDENCY_OUTPUT_BYTES_MAX).read_to_end(&mut bytes).map_err(unusable)?;
        return Ok(bytes);
    };
    let failed = |detail: String| Why::new(Reason::DependencyRun, detail);
    let (text, messages) = output_of(command(unit, &argv)).map_err(|error| failed(error.to_string()))?;
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

/// Standard output, none if the program failed, and standard error.
fn output_of(mut command: Command) -> io::Result<(Option<Vec<u8>>, Vec<u8>)> {
    let mut child = Running(command.spawn()?);
    let stdout = read_aside(child.0.stdout.take());
    let stderr = read_aside(child.0.stderr.take());
    let late = |_| io::Error::from(io::ErrorKind::TimedOut);
    let messages = stderr.recv_timeout(DEPENDENCY_RUN_MAX).map_err(late)??;
    let list = stdout.recv_timeout(DEPENDENCY_RUN_MAX).map_err(late)??;
    let status = child.0.wait()?;
    Ok((status.success().then_some(list), messages))
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

/// Reads a stream to its end on a thread of its own, so that two streams cannot block each other.
fn read_aside(stream: Option<impl Read + Send + 'static>) -> Receiver<io::Result<Vec<u8>>> {
    let (sender, receiver) = mpsc::channel();
    thread::spawn(move || {
        let mut bytes = Vec::new();
        let read = match stream {
            Some(stream) => stream.take(DEPENDENCY_OUTPUT_BYTES_MAX + 1).read_to_end(&mut bytes),
            None => Ok(0),
        };
        let result = match read {
            Ok(n) if n as u64 > DEPENDENCY_OUTPUT_BYTES_MAX => Err(io::Error::from(io::ErrorKind::FileTooLarge)),
            Ok(_) => Ok(bytes),
            Err(error) => Err(error),
        };
        // The receiver may have given up.
        sender.send(result).ok();
    });
    receiver
}

/// The line that says what is wrong, for people.
fn first_error(messages: &[u8]) -> String {
    let is_error = |line: &&[u8]| line.windows(6).any(|window| window == b"error:");
    let line = messages.split(|&byte| byte == b'\n').find(is_error).unwrap_or_default();
    String::from_utf8_lossy(line).into_owned()
}
