//! Runs the real compiler, as if farcc were not there.
//!
//! Stepping aside is exec: nothing of farcc is left. A compile that holds a local slot of the daemon has farcc as parent until
//! it has ended; `os::foreground` makes the two look like one.

use std::ffi::{OsStr, OsString};
use std::io;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Command;

use crate::engine::wire::local::ToDaemon;
use crate::model::toolchain::LEVEL_VARIABLE;
use crate::os::local::Link;
use crate::os::process::foreground;
use crate::os::sys::wrapper::{GivenSignals, Reaped, die_with_this_process};
use crate::wrapper::find::Compiler;
use crate::wrapper::log::say;

/// Replaces this process by `program`; comes back, with what a shell would exit with, only where that fails.
pub(crate) fn become_program(program: &Path, argv0: &OsStr, arguments: &[OsString], signals: GivenSignals) -> u8 {
    become_command(Command::new(program).arg0(argv0).args(arguments), argv0, signals)
}

/// Replaces this process by the compiler. `level` is for what it starts in turn, if this is known to be a compiler.
pub(crate) fn become_compiler(
    compiler: &Compiler,
    arguments: &[OsString],
    level: Option<u32>,
    signals: GivenSignals,
) -> u8 {
    let mut command = Command::new(&compiler.path);
    command.arg0(&compiler.argv0).args(arguments);
    if let Some(level) = level {
        command.env(LEVEL_VARIABLE, level.to_string());
    }
    become_command(&mut command, &compiler.argv0, signals)
}

fn become_command(command: &mut Command, argv0: &OsStr, signals: GivenSignals) -> u8 {
    signals.pass_to(command);
    cannot_run(argv0, &command.exec())
}

/// Runs the compiler to its end, tells the daemon, and ends as the compiler did.
pub(crate) fn run_compiler(
    compiler: &Compiler,
    arguments: &[OsString],
    level: u32,
    signals: GivenSignals,
    link: &Link,
) -> u8 {
    let mut command = Command::new(&compiler.path);
    command.arg0(&compiler.argv0).args(arguments).env(LEVEL_VARIABLE, level.to_string());
    // A compiler that outlived its killed wrapper would write an object behind the back of a build that has ended, or begun
    // anew. Killing the driver is what the caller meant, and all that killing the plain compiler would have done.
    die_with_this_process(&mut command, libc::SIGKILL);
    match foreground::run(command, signals) {
        Ok(Reaped { ending, cpu }) => {
            // Should the daemon be gone, nobody needs to know.
            link.send(&ToDaemon::LocalEnded { ending, cpu }).ok();
            foreground::end_as(ending)
        }
        Err(error) => cannot_run(&compiler.argv0, &error),
    }
}

/// Says why a program cannot be started, as a shell would, and with its exit status.
fn cannot_run(argv0: &OsStr, error: &io::Error) -> u8 {
    say(format_args!("{}: {error}", argv0.display()));
    if error.kind() == io::ErrorKind::NotFound { 127 } else { 126 }
}
