//! Asks a program whether it is a compiler that farcc knows.
//!
//! Names say little (`cc`, a vendor's `foo-gcc` that is clang), so the compiler's own predefined macros decide. The answer
//! holds as long as the file does; callers remember it by the file's stat identity.
//!
//! Asking is running it. A program is expected to refuse what it does not understand; a script that somebody put farcc in front
//! of may as well do its work, with `-E` for the name of something. So scripts are asked only under a compiler's name.

use std::fs::File;
use std::io::Read;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use crate::engine::toolchain::driver::{self, Identity};
use crate::os::process::SpawnError;
use crate::os::toolchain::ask::Driver;

#[derive(Debug, thiserror::Error)]
pub enum ProbeError {
    #[error(transparent)]
    Run(#[from] SpawnError),
    #[error("it is neither gcc nor clang")]
    Unknown,
}

/// What `compiler` says it is.
pub fn identify(compiler: &Path) -> Result<Identity, ProbeError> {
    if is_script(compiler) && !has_compilers_name(compiler) {
        return Err(ProbeError::Unknown);
    }
    identify_by(&Driver { path: compiler, selectors: &[], search_path: "/usr/bin:/bin".as_ref() })
}

fn is_script(program: &Path) -> bool {
    let mut start = [0; 2];
    File::open(program).is_ok_and(|mut file| file.read_exact(&mut start).is_ok() && start == *b"#!")
}

/// `cc`, `gcc-12`, `my-c++.sh`, `clang-wrapper`.
fn has_compilers_name(program: &Path) -> bool {
    let name = program.file_name().unwrap_or_default().as_bytes();
    ["cc", "g++", "c++", "clang"].iter().any(|word| name.windows(word.len()).any(|part| part == word.as_bytes()))
}

pub(super) fn identify_by(driver: &Driver<'_>) -> Result<Identity, ProbeError> {
    let answer = driver.run(&["-E", "-dM", "-x", "c", "/dev/null"])?;
    // Other programs fail, or print something else; which of the two makes no difference.
    let macros = String::from_utf8_lossy(&answer.stdout);
    answer.ending.is_success().then(|| driver::identity(&macros)).flatten().ok_or(ProbeError::Unknown)
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use super::*;
    use crate::engine::toolchain::driver::Family;

    #[test]
    fn compilers_know_what_they_are() {
        let family = |path: &str| identify(Path::new(path)).unwrap().family;
        assert_eq!(family("/usr/bin/gcc"), Family::Gcc);
        assert_eq!(family("/usr/bin/g++"), Family::Gcc);
        assert_eq!(family("/usr/bin/clang"), Family::Clang);
    }

    #[test]
    fn other_programs_are_none() {
        assert!(matches!(identify(Path::new("/bin/true")), Err(ProbeError::Unknown)));
        assert!(matches!(identify(Path::new("/bin/cat")), Err(ProbeError::Unknown)));
        assert!(matches!(identify(Path::new("/nonexistent")), Err(ProbeError::Run(SpawnError::Start { .. }))));
    }

    #[test]
    fn endless_talk_is_cut_off() {
        assert!(matches!(identify(Path::new("/usr/bin/yes")), Err(ProbeError::Unknown)), "yes refuses -E");
        let directory = tempfile::tempdir().unwrap();
        let talker = script(&directory.path().join("talking-cc"), "exec cat /dev/zero");
        assert!(matches!(identify(&talker), Err(ProbeError::Run(SpawnError::TooMuch { .. }))));
    }

    #[test]
    fn a_script_is_run_only_if_its_name_says_that_it_compiles() {
        let directory = tempfile::tempdir().unwrap();
        let done = directory.path().join("done");
        let body = format!("echo >{}; exec gcc \"$@\"", done.display());
        for name in ["deploy", "run.sh", "make"] {
            let program = script(&directory.path().join(name), &body);
            assert!(matches!(identify(&program), Err(ProbeError::Unknown)) && !done.exists(), "{name}");
        }
        for name in ["cc.sh", "x86_64-gcc", "my-c++", "g++-wrapper", "clang-cached"] {
            let program = script(&directory.path().join(name), &body);
            assert_eq!(identify(&program).unwrap().family, Family::Gcc, "{name}");
        }
    }

    fn script(path: &Path, body: &str) -> PathBuf {
        std::fs::write(path, format!("#!/bin/sh\n{body}\n")).unwrap();
        std::fs::set_permissions(path, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
        path.to_owned()
    }
}
