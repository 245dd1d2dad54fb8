//! Programs that tests send signals to.

use std::ffi::OsStr;
use std::process::Command;

/// `program`, with no such signal ignored: what whoever runs the tests ignores (`nohup`, a script that puts them into the
/// background) would stay ignored, and a test would wait for ever.
pub(crate) fn heeding(program: impl AsRef<OsStr>) -> Command {
    // By its path, for tests that give the program another PATH.
    let mut command = Command::new("/usr/bin/env");
    command.arg("--default-signal=HUP,INT,QUIT,TERM").arg(program);
    command
}
