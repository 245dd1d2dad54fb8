//! Runs a program in this process's place, while this process goes on to exist: what the caller does to one happens to the
//! other.
//!
//! Signals sent to this process go on to the program, those of the terminal reach both by themselves, stopping and
//! continuing too, and a program that a signal has ended takes this process with it by the same signal. Nothing inherited
//! is touched: streams, descriptors, limits, signals given as ignored or blocked.

use std::io;
use std::process::Command;

use rustix::process::{Pid, Signal, kill_process};

use crate::model::job::Ending;
use crate::os::sys::wrapper::{Arrived, GivenSignals, Reaped, SignalSet, die_by, is_ignored, reap, stop_by};

/// Runs `command` to its end. Only for a process that has nothing else to do meanwhile.
///
/// # Errors
/// Where it cannot be started.
pub fn run(mut command: Command, signals: GivenSignals) -> io::Result<Reaped> {
    signals.pass_to(&mut command);
    let watched = watched_signals(&signals);
    let mask = watched.block();
    let ended = command.spawn().and_then(|child| supervise(child.id(), &watched));
    mask.make_mask();
    ended
}

/// Ends as the program did: by the same signal, or with the exit status that comes back.
pub fn end_as(ending: Ending) -> u8 {
    match ending {
        Ending::Exited(status) => status,
        Ending::Signalled(signal) => {
            die_by(i32::from(signal));
            // A signal that does not kill cannot have killed; a shell's number for it all the same.
            128 + signal
        }
    }
}

/// Signals that are for the program as much as for us, and its end. What was given as ignored stays ignored, what was
/// given as blocked stays pending: the program has inherited both.
fn watched_signals(given: &GivenSignals) -> SignalSet {
    let passed_on = PASSED_ON.iter().copied().filter(|&signal| !is_ignored(signal) && !given.blocks(signal));
    SignalSet::new(passed_on.chain([libc::SIGCHLD]))
}

/// Passes signals on until the program has ended.
fn supervise(child: u32, watched: &SignalSet) -> io::Result<Reaped> {
    loop {
        let Arrived { signal, from_kernel } = watched.wait();
        match signal {
            libc::SIGCHLD => {
                if let Some(reaped) = reap(child)? {
                    return Ok(reaped);
                }
            }
            // The terminal has sent it to the program as well.
            libc::SIGINT | libc::SIGQUIT | libc::SIGHUP if from_kernel => {}
            libc::SIGTSTP => {
                if !from_kernel {
                    pass_on(child, signal);
                }
                stop_by(signal);
                // Whoever continues this process alone means the program.
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
    // It may have ended, or have changed its user; without us it would not have got the signal either.
    kill_process(pid, signal).ok();
}

/// Signals that people and tools send to compilers and builds. The others do to us what they would do to the program, which
/// then dies with us if its start asked for that.
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
