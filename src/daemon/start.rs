//! What the three `main` functions share: arguments, one-line errors, the runtime, the end.

use std::ffi::OsString;
use std::fmt::Display;
use std::future::Future;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::mpsc;

use crate::engine::config::Warning;
use crate::model::causes::with_causes;
use crate::model::exit;
use crate::os::bus::Orders;
use crate::os::sys;
use crate::os::systemd::messages;

/// What a daemon was called with.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Arguments {
    /// Replaces every configuration file that would be looked for.
    pub config: Option<PathBuf>,
}

/// Why a daemon ends before it serves: an exit status of [`exit`] and one line for people.
#[derive(Debug)]
pub struct Failure {
    pub status: u8,
    pub line: String,
}

impl Failure {
    pub fn new(status: u8, cause: impl Display) -> Self {
        Self { status, line: cause.to_string() }
    }

    /// For `map_err`: the error with all its causes, on one line.
    pub fn with<E: std::error::Error>(status: u8) -> impl Fn(E) -> Self {
        move |error| Self { status, line: with_causes(&error) }
    }
}

/// Runs a daemon's own part of `main`, and says on standard error why it failed.
#[expect(clippy::print_stderr, clippy::print_stdout, reason = "before there is a log, and for --help and --version")]
pub fn main(name: &str, run: impl FnOnce(Arguments) -> Result<(), Failure>) -> ExitCode {
    let arguments = match parse(std::env::args_os().skip(1)) {
        Ok(Parsed::Run(arguments)) => arguments,
        Ok(Parsed::Version) => {
            println!("{name} {}", env!("CARGO_PKG_VERSION"));
            return ExitCode::from(exit::OK);
        }
        Ok(Parsed::Help) => {
            println!("Usage: {name} [--config FILE]\n\nSee {name}(8).");
            return ExitCode::from(exit::OK);
        }
        Err(word) => {
            eprintln!("{name}: unknown argument {word:?}; it takes --config FILE, --help and --version");
            return ExitCode::from(exit::USAGE);
        }
    };
    match run(arguments) {
        Ok(()) => ExitCode::from(exit::OK),
        Err(Failure { status, line }) => {
            eprintln!("{name}: {line}");
            ExitCode::from(status)
        }
    }
}

#[derive(PartialEq, Eq, Debug)]
enum Parsed {
    Run(Arguments),
    Version,
    Help,
}

fn parse(mut words: impl Iterator<Item = OsString>) -> Result<Parsed, OsString> {
    let mut arguments = Arguments::default();
    while let Some(word) = words.next() {
        match word.to_str() {
            Some("--config") => arguments.config = Some(words.next().ok_or(word)?.into()),
            Some("--version") => return Ok(Parsed::Version),
            Some("--help" | "-h") => return Ok(Parsed::Help),
            Some(joined) if joined.starts_with("--config=") => {
                arguments.config = Some(joined["--config=".len()..].into())
            }
            _ => return Err(word),
        }
    }
    Ok(Parsed::Run(arguments))
}

/// Runs `serve` on a runtime of its own until it ends, with at most so many threads for work that blocks. Call it single-threaded:
/// threads start here.
pub fn block_on<T: Send + 'static>(
    n_blocking: usize,
    serve: impl Future<Output = Result<T, Failure>> + Send + 'static,
) -> Result<T, Failure> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .max_blocking_threads(n_blocking)
        // Where it is not to be had, only time is lost.
        .on_thread_start(|| drop(sys::ask_for_short_turns()))
        .build()
        .map_err(|error| Failure::new(exit::INTERNAL, format!("cannot start threads: {error}")))?;
    // A task like the others: what it says to one is then said on the same thread, without waiting for another to wake up.
    let served = runtime.block_on(async { tokio::spawn(serve).await });
    let served = served.unwrap_or_else(|error| Err(Failure::new(exit::INTERNAL, error)));
    // Blocking work that nobody waits for any more must not hold up the end.
    runtime.shutdown_background();
    served
}

/// Ready when the daemon is asked to end: SIGTERM or SIGINT.
///
/// # Errors
/// Where signals cannot be taken.
pub fn shutdown() -> Result<impl Future<Output = ()>, Failure> {
    let mut requests = shutdowns()?;
    Ok(async move { requests.recv().await.unwrap_or_default() })
}

/// As [`shutdown`], one message each time that it is asked, for a daemon that may take its time over the first.
///
/// # Errors
/// Where signals cannot be taken.
pub fn shutdowns() -> Result<mpsc::Receiver<()>, Failure> {
    let take = |kind| signal(kind).map_err(|error| Failure::new(exit::INTERNAL, error));
    let (mut terminate, mut interrupt) = (take(SignalKind::terminate())?, take(SignalKind::interrupt())?);
    let (request, requests) = mpsc::channel(1);
    tokio::spawn(async move {
        loop {
            tokio::select! { _ = terminate.recv() => {} _ = interrupt.recv() => {} }
            if request.send(()).await.is_err() {
                return;
            }
        }
    });
    Ok(requests)
}

/// Gives `order` to the daemon's loop at each SIGHUP, which is what `systemctl reload` sends.
///
/// # Errors
/// Where the signal cannot be taken.
pub fn reload_at_hangup<W: Clone + Send + Sync + 'static>(orders: Orders<W>, order: W) -> Result<(), Failure> {
    let mut hangups = signal(SignalKind::hangup()).map_err(|error| Failure::new(exit::INTERNAL, error))?;
    tokio::spawn(async move {
        while hangups.recv().await.is_some() {
            // What is wrong is in the journal.
            drop(orders.give(order.clone()).await);
        }
    });
    Ok(())
}

/// Takes as many descriptors as the kernel gives this process: a client daemon that a build has started has that build's limit
/// otherwise, and a few descriptors for each of its units.
pub fn raise_descriptor_limit() {
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    if current != maximum {
        // Within its maximum a limit may be set by everybody.
        setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum }).ok();
    }
}

/// Makes a directory of this user only, with its parents, where it is not there yet.
///
/// # Errors
/// Where it cannot be made.
pub fn make_directory(path: &Path) -> Result<(), Failure> {
    let made = std::fs::DirBuilder::new().recursive(true).mode(0o700).create(path);
    made.map_err(|error| Failure::new(exit::DIRECTORY, format!("cannot make {}: {error}", path.display())))
}

/// Hands sockets to the runtime.
///
/// # Errors
/// Where it does not take one.
pub fn listening<S, L>(sockets: Vec<S>, convert: impl Fn(S) -> std::io::Result<L>) -> Result<Vec<L>, Failure> {
    sockets.into_iter().map(convert).collect::<Result<_, _>>().map_err(Failure::with(exit::LISTEN))
}

/// The port that peers find this daemon at: that of its first socket.
pub fn port_of(listeners: &[std::net::TcpListener], configured: u16) -> u16 {
    let bound = listeners.first().and_then(|listener| listener.local_addr().ok());
    bound.map_or(configured, |address| address.port())
}

/// Says what is odd about a configuration that works all the same.
pub fn log_warnings(warnings: &[Warning]) {
    for warning in warnings {
        tracing::warn!(message_id = messages::CONFIGURATION_WARNING, "{warning}");
    }
}

/// Processors that this process may use.
pub fn processors() -> u32 {
    std::thread::available_parallelism().map_or(1, |n| u32::try_from(n.get()).unwrap_or(u32::MAX))
}

/// As `uname -m` has it.
pub fn architecture() -> String {
    rustix::system::uname().machine().to_string_lossy().into_owned()
}

/// Threads for blocking work, where it is all short: files, hashes, compiler drivers.
pub const BLOCKING_THREADS: usize = 512;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arguments() {
        let check = |words: &[&str]| parse(words.iter().map(OsString::from));
        let run = |config: Option<&str>| Ok(Parsed::Run(Arguments { config: config.map(PathBuf::from) }));
        assert_eq!(check(&[]), run(None));
        assert_eq!(check(&["--config", "a.toml"]), run(Some("a.toml")));
        assert_eq!(check(&["--config=a.toml"]), run(Some("a.toml")));
        assert_eq!(check(&["--config"]), Err("--config".into()));
        assert_eq!(check(&["--version"]), Ok(Parsed::Version));
        assert_eq!(check(&["scheduler"]), Err("scheduler".into()));
    }
}
