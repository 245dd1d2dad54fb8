//! Runs the real compiler, as if farcc were not there.
//!
//! Stepping aside is exec: nothing of farcc is left. A compile that holds a local slot of the daemon has farcc as parent until
//! it has ended. Everything inherited passes through untouched: standard input, make's jobserver, limits, signals given
//! as ignored or blocked; and what the caller does to farcc reaches the compiler, what ends the compiler ends farcc.

use std::ffi::{OsStr, OsString};
use std::io;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Command;

use rustix::process::{Pid, Signal, kill_process};

use crate::engine::wire::local::ToDaemon;
use crate::model::job::Ending;
use crate::os::local::Link;
use crate::os::sys::wrapper::{
    Arrived, GivenSignals, Reaped, SignalSet, die_by, die_with_this_process, is_ignored, reap, stop_by,
};
use crate::wrapper::find::Compiler;
use crate::wrapper::log::say;

/// Replaces this process by `program`; comes back, with what a shell would exit with, only where that fails.
pub(crate) fn become_program(program: &Path, argv0: &OsStr, arguments: &[OsString], signals: GivenSignals) -> u8 {
    let mut command = Command::new(program);
    command.arg0(argv0).args(arguments);
    signals.pass_to(&mut command);
    cannot_run(argv0, &command.exec())
}

/// Runs the compiler to its end, tells the daemon, and ends as the compiler did.
pub(crate) fn run_compiler(compiler: &Compiler, arguments: &[OsString], signals: GivenSignals, link: &Link) -> u8 {
    let mut command = Command::new(&compiler.path);
    command.arg0(&compiler.argv0).args(arguments);
    signals.pass_to(&mut command);
    // A compiler that outlived its killed wrapper would write an object behind the back of a build that has ended, or begun
    // anew. Killing the driver is what the caller meant, and all that killing the plain compiler would have done.
    die_with_this_process(&mut command);

    let watched = watched_signals();
    let mask = watched.block();
    let ended = command.spawn().map(|child| supervise(child.id(), &watched));
    let status = match ended {
        Ok(Ok(Reaped { ending, cpu })) => {
            // Should the daemon be gone, nobody needs to know.
            drop(link.send(&ToDaemon::LocalEnded { ending, cpu }));
            end_as(ending)
        }
        Ok(Err(error)) | Err(error) => cannot_run(&compiler.argv0, &error),
    };
    mask.make_mask();
    status
}

/// Signals that are for the compiler as much as for us, and its end. What was given as ignored stays ignored, what was
/// given as blocked stays pending: the compiler has inherited both.
fn watched_signals() -> SignalSet {
    let given = SignalSet::blocked();
    let passed_on = PASSED_ON.iter().copied().filter(|&signal| !is_ignored(signal) && !given.contains(signal));
    SignalSet::new(passed_on.chain([libc::SIGCHLD]))
}

/// Passes signals on until the compiler has ended.
fn supervise(child: u32, watched: &SignalSet) -> io::Result<Reaped> {
    loop {
        let Arrived { signal, from_kernel } = watched.wait();
        match signal {
            libc::SIGCHLD => {
                if let Some(reaped) = reap(child)? {
                    return Ok(reaped);
                }
            }
            // The terminal has sent it to the compiler as well.
            libc::SIGINT | libc::SIGQUIT | libc::SIGHUP if from_kernel => {}
            libc::SIGTSTP => {
                if !from_kernel {
                    pass_on(child, signal);
                }
                stop_by(signal);
                // Whoever continues this process alone means the compiler.
                pass_on(child, libc::SIGCONT);
            }
            signal => pass_on(child, signal),
        }
    }
}

/// The child is not collected yet: its number is still its own.
fn pass_on(child: u32, signal: i32) {
    let Some(pid) = Pid::from_raw(child.cast_signed()) else { return };
    let Some(signal) = Signal::from_named_raw(signal) else { return };
    // It may have ended, or have changed its user; the plain compiler would not have got the signal either.
    kill_process(pid, signal).ok();
}

/// Exits as the compiler did, dying by the same signal if one killed it.
fn end_as(ending: Ending) -> u8 {
    match ending {
        Ending::Exited(status) => status,
        Ending::Signalled(signal) => {
            die_by(i32::from(signal));
            // A signal that does not kill cannot have killed; a shell's number for it all the same.
            128 + signal
        }
    }
}

/// Says why a program cannot be started, as a shell would, and with its exit status.
fn cannot_run(argv0: &OsStr, error: &io::Error) -> u8 {
    say(format_args!("{}: {error}", argv0.display()));
    if error.kind() == io::ErrorKind::NotFound { 127 } else { 126 }
}

/// Signals that people and tools send, and that have a meaning for a compiler. The others do to farcc what they would do to the
/// compiler, which then dies with it.
const PASSED_ON: &[i32] = &[
    libc::SIGHUP,
    libc::SIGINT,
    libc::SIGQUIT,
    libc::SIGTERM,
    libc::SIGUSR1,
    libc::SIGUSR2,
    libc::SIGALRM,
    libc::SIGXCPU,
    libc::SIGTSTP,
];
