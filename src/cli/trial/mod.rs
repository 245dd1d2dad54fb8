//! `farccctl try`: a command with a farm of its own, which lives as long as the command.
//!
//! The three daemons are the real ones, on this machine, in a directory that goes away with them. Signals wait from the
//! first step to the last, so that an interruption finds nothing half made: it is looked for wherever something is waited
//! for, and takes effect when all is taken down.

mod daemon;
pub(crate) mod directory;
mod farm;
mod report;

pub(crate) use farm::COMPILERS;

use std::io;
use std::process::Command;

use crate::cli::arguments::TryOptions;
use crate::cli::trial::farm::Farm;
use crate::cli::{Failure, say};
use crate::model::exit;
use crate::os::process::foreground;
use crate::os::sys::wrapper::{GivenSignals, Reaped, SignalSet};

pub(crate) fn run(options: &TryOptions, signals: GivenSignals) -> Result<u8, Failure> {
    let mask = interruptions(signals).block();
    let ended = Farm::start(options, signals).and_then(|farm| {
        let ended = run_command(options, &farm, signals);
        match farm.report() {
            Ok(report) => say(&report),
            Err(failure) => say(&format!("nothing can be told of the units: {}", failure.line)),
        }
        farm.take_down();
        ended
    });
    mask.make_mask();
    Ok(foreground::end_as(ended?.ending))
}

fn run_command(options: &TryOptions, farm: &Farm, signals: GivenSignals) -> Result<Reaped, Failure> {
    let (program, arguments) =
        options.command.split_first().ok_or_else(|| Failure::new(exit::USAGE, "there is no command to run"))?;
    let mut command = Command::new(program);
    command.args(arguments);
    farm.enter(&mut command);
    foreground::run(command, signals).map_err(|error| {
        let status = if error.kind() == io::ErrorKind::NotFound { NOT_FOUND } else { NOT_RUN };
        Failure::new(status, format_args!("{}: {error}", program.display()))
    })
}

/// The signals that end a command, but for those that the caller blocks.
pub(crate) fn interruptions(signals: GivenSignals) -> SignalSet {
    SignalSet::new(INTERRUPTIONS.iter().copied().filter(|&signal| !signals.blocks(signal)))
}

/// Whether the caller wants an end.
pub(crate) fn is_interrupted() -> bool {
    let pending = SignalSet::pending();
    INTERRUPTIONS.iter().any(|&signal| pending.contains(signal))
}

const INTERRUPTIONS: &[i32] = &[libc::SIGHUP, libc::SIGINT, libc::SIGQUIT, libc::SIGTERM];
/// As shells have it.
const NOT_FOUND: u8 = 127;
const NOT_RUN: u8 = 126;
