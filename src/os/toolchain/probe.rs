//! Asks a program whether it is a compiler that farcc knows.
//!
//! Names say little (`cc`, a vendor's `foo-gcc` that is clang), so the compiler's own predefined macros decide. The answer
//! holds as long as the file does; callers remember it by the file's stat identity.

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
    identify_by(&Driver { path: compiler, selectors: &[], search_path: "/usr/bin:/bin".as_ref() })
}

pub(super) fn identify_by(driver: &Driver<'_>) -> Result<Identity, ProbeError> {
    let answer = driver.run(&["-E", "-dM", "-x", "c", "/dev/null"])?;
    // Other programs fail, or print something else; which of the two makes no difference.
    let macros = String::from_utf8_lossy(&answer.stdout);
    answer.ending.is_success().then(|| driver::identity(&macros)).flatten().ok_or(ProbeError::Unknown)
}

#[cfg(test)]
mod tests {
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
        let talker = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(talker.path(), "#!/bin/sh\nexec cat /dev/zero\n").unwrap();
        std::fs::set_permissions(talker.path(), std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
        let talker = talker.into_temp_path();
        assert!(matches!(identify(&talker), Err(ProbeError::Run(SpawnError::TooMuch { .. }))));
    }
}
