//! The control command: asks the client daemon, writes configuration, and tries a farm out.
//!
//! It knows nothing by itself: what it shows are the daemon's documents (`model::report`), put into words here and nowhere
//! else. Blocking, like the wrapper: it does one thing and ends.

mod arguments;
mod ask;
mod auth;
mod config;
mod credstore;
mod doctor;
mod explain;
mod farm;
mod jobs;
mod jobs_wanted;
mod manage;
mod manager;
mod place;
mod reach;
mod render;
mod stats;
mod status;
mod toolchain;
mod top;
mod trial;
mod why;

use std::fmt::Display;
use std::io::{self, Write};
use std::process::ExitCode;

use clap::{CommandFactory, Parser};
use clap_complete::Shell;

use crate::cli::arguments::{Arguments, AuthCommand, Command, ConfigCommand, FarmCommand, ToolchainCommand};
use crate::model::exit;
use crate::os::sys::wrapper::GivenSignals;

/// Why there is no answer: an exit status of [`exit`] and one line for people.
#[derive(Debug)]
struct Failure {
    status: u8,
    line: String,
}

impl Failure {
    fn new(status: u8, cause: impl Display) -> Self {
        Self { status, line: cause.to_string() }
    }

    /// For `map_err`.
    fn with<E: Display>(status: u8) -> impl Fn(E) -> Self {
        move |cause| Self::new(status, cause)
    }
}

/// What `farccctl` does from its arguments to its exit status.
pub fn run() -> ExitCode {
    let signals = GivenSignals::note();
    let status = match perform(Arguments::parse().command, signals) {
        Ok(status) => status,
        Err(failure) => {
            say(&failure.line);
            failure.status
        }
    };
    ExitCode::from(status)
}

fn perform(command: Command, signals: GivenSignals) -> Result<u8, Failure> {
    match command {
        Command::Stats(options) => stats::show(&options),
        Command::Why(options) => why::show(&options),
        Command::Status(options) => status::show(&options),
        Command::Builders(options) => status::show_builders(&options),
        Command::Jobs(options) => jobs::show(&options),
        Command::Top(options) => top::run(&options),
        Command::Drain(options) => manage::drain(&options),
        Command::Resume(options) => manage::resume(&options),
        Command::Quarantine(options) => manage::quarantine(&options),
        Command::Forget(options) => manage::forget(&options),
        Command::Slots(options) => manage::set_slots(&options),
        Command::Cancel(options) => manage::cancel(&options),
        Command::Pause => manage::pause(),
        Command::Config { command: ConfigCommand::Check(options) } => config::check(&options),
        Command::Config { command: ConfigCommand::Show(options) } => config::show(&options),
        Command::Config { command: ConfigCommand::Import(options) } => config::import(&options),
        Command::Doctor(options) => doctor::examine(&options),
        Command::SandboxCheck(options) => doctor::check_sandbox(&options),
        Command::JobsWanted(options) => jobs_wanted::show(&options),
        Command::Toolchain { command: ToolchainCommand::Package(options) } => toolchain::package(&options),
        Command::Toolchain { command: ToolchainCommand::List(options) } => toolchain::list(&options),
        Command::Toolchain { command: ToolchainCommand::Show(options) } => toolchain::show(&options),
        Command::Toolchain { command: ToolchainCommand::Check(options) } => toolchain::check(&options, signals),
        Command::Toolchain { command: ToolchainCommand::Purge } => manage::purge_toolchains(),
        Command::Farm { command: FarmCommand::Invite(options) } => farm::invite(&options),
        Command::Farm { command: FarmCommand::Join(options) } => farm::join(&options),
        Command::Auth { command: AuthCommand::GenerateSharedToken(options) } => auth::generate_token(&options),
        Command::Auth { command: AuthCommand::Check(options) } => auth::check(&options),
        Command::Auth { command: AuthCommand::GenerateJwtKey(_) | AuthCommand::GenerateJwtServerToken(_) } => {
            Err(auth::refuse_jwt())
        }
        Command::Stop => status::stop(),
        Command::Try(options) => trial::run(&options, signals),
        Command::Completions { shell } => print_completions(shell),
    }
}

/// `make install` asks for these, so that no release has those of another command line.
fn print_completions(shell: Shell) -> Result<u8, Failure> {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Arguments::command(), "farccctl", &mut script);
    print(&String::from_utf8_lossy(&script))
}

/// Writes an answer. A reader that has seen enough is no failure.
fn print(text: &str) -> Result<u8, Failure> {
    let mut stdout = io::stdout().lock();
    match stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush()) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
            Err(Failure::new(exit::OUTPUT, format_args!("cannot write the answer: {error}")))
        }
        _ => Ok(exit::OK),
    }
}

/// One line, or a few, for people.
fn say(words: &str) {
    // Nobody is there to be told that nobody can be told.
    io::stderr().write_all(format!("farccctl: {words}\n").as_bytes()).ok();
}
