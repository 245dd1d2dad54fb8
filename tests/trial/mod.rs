//! A shell script on a farm of its own, by `farccctl try`: the real daemons, the real sandbox, nothing compiled here by choice.

use std::path::Path;
use std::process::Command;

/// Runs `script` in `directory`; what the farm says about its units. `farcc` and `farccctl` are commands in it.
#[track_caller]
pub(crate) fn script_on_a_farm(directory: &Path, script: &str) -> String {
    let mut farm = Command::new(env!("CARGO_BIN_EXE_farccctl"));
    farm.args(["try", "--slots", "2", "--", "sh", "-eu", "-c", script]).current_dir(directory);
    for name in ["FARCC_SOCKET", "FARCC_LOG", "FARCC_DISABLE", "CPATH", "LANG", "LC_ALL"] {
        farm.env_remove(name);
    }
    let output = farm.output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{said}\n{}", String::from_utf8_lossy(&output.stdout));
    said
}
