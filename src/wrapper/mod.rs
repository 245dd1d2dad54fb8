//! The wrapper: stands where the compiler stands in a build, and asks the client daemon whether to be it.
//!
//! It starts once for each unit, so it is small and blocking: no runtime, no configuration files, one question over one
//! socket. It owns every side effect of the build, and on any trouble it becomes the plain compiler, silently: what farcc
//! cannot do must not be visible in a build. Deciding what is distributed is the daemon's business alone.

mod autostart;
mod find;
mod invocation;
mod local;
mod log;
mod outputs;
mod request;
mod settings;
mod unit;

use std::ffi::OsString;
use std::process::ExitCode;

use crate::model::exit;
use crate::os::sys::wrapper::GivenSignals;
use crate::wrapper::invocation::Invocation;
use crate::wrapper::settings::Settings;

/// What `farcc` does from its arguments to its exit status; often it never comes back, because it has become the compiler.
pub fn run() -> ExitCode {
    let signals = GivenSignals::note();
    let settings = Settings::from_environment();
    let code = match Invocation::parse(std::env::args_os().collect()) {
        Invocation::Help => invocation::print(invocation::HELP),
        Invocation::Version => invocation::print(invocation::VERSION),
        Invocation::Control(words) => hand_over(&words, signals),
        Invocation::StartDaemon => start_daemon(&settings),
        Invocation::Compile(command) => unit::compile(&command, &settings, signals),
    };
    ExitCode::from(code)
}

/// Becomes the control command.
fn hand_over(words: &[OsString], signals: GivenSignals) -> u8 {
    let program = find::beside(&["farccctl"]).unwrap_or_else(|| "farccctl".into());
    local::become_program(&program, "farccctl".as_ref(), words, signals)
}

/// `--start-server`: has a daemon listen, whoever started it.
fn start_daemon(settings: &Settings) -> u8 {
    match autostart::connect(settings) {
        Ok(_) => 0,
        Err(error) => {
            log::say(format_args!("cannot start the client daemon: {error}"));
            exit::NO_DAEMON
        }
    }
}
