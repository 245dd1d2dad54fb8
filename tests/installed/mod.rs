//! Debian packages that a test needs: found, or installed where the test may.

use std::path::Path;
use std::process::Command;
use std::sync::Mutex;

/// Sees to it that all of these programs or files are there; each comes with the package that brings it.
#[track_caller]
pub(crate) fn need(wanted: &[(&str, &str)]) {
    static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());
    let _turn = ONE_AT_A_TIME.lock().unwrap();
    let missing = || wanted.iter().filter(|(file, _)| !Path::new(file).exists()).map(|(_, package)| *package);
    let packages: Vec<&str> = missing().collect();
    if packages.is_empty() {
        return;
    }
    assert!(rustix::process::geteuid().is_root(), "install these Debian packages: {}", packages.join(" "));
    // Others may be installing something as well.
    let options = ["-o", "DPkg::Lock::Timeout=300", "-y", "--no-install-recommends"];
    let mut apt = Command::new("apt-get");
    let installed = apt.env("DEBIAN_FRONTEND", "noninteractive").args(options).arg("install").args(&packages).output();
    let installed = installed.unwrap();
    let said = String::from_utf8_lossy(&installed.stderr);
    assert_eq!(missing().next(), None, "{} cannot be installed: {said}", packages.join(" "));
}
