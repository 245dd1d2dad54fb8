//! Tests that fork, and that root should not run as root: namespaces of root prove less.

use std::fs::File;
use std::process::Command;

/// Runs `test` as an ordinary user and in a process of its own. Its name is that of the function that made it.
pub(crate) fn as_user<F: FnOnce()>(test: F) {
    const ALONE: &str = "FARCC_TEST_ALONE";
    if std::env::var_os(ALONE).is_some() {
        return test();
    }
    let name = std::any::type_name::<F>().split("::").nth(1).unwrap();
    // By descriptor: the directories above this program may be closed to others.
    let program = File::open("/proc/self/exe").unwrap();
    let words = ["setpriv", "--reuid", "65534", "--regid", "65534", "--clear-groups", "--", "/proc/self/fd/0"];
    let words = if rustix::process::getuid().is_root() { &words[..] } else { &words[7..] };
    let output = Command::new(words[0])
        .args(&words[1..])
        .args(["--exact", name, "--nocapture", "--test-threads", "1"])
        .env(ALONE, "1")
        .current_dir("/")
        .stdin(program)
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && said.contains("1 passed"), "{said}");
}
