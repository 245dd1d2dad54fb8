//! One path for a compiler, however a build writes it, and what is no compiler although it is called like one.

use std::io;
use std::path::{Component, Path, PathBuf};

use crate::model::toolchain::LAUNCHERS;

/// `path`, which is absolute, without `.` and `..`. It leads to the same file by the same name: what comes before a `..` is
/// resolved where it is a symlink, and nothing else.
///
/// # Errors
/// Where such a symlink cannot be resolved.
pub fn normal_path(path: &Path) -> io::Result<PathBuf> {
    let mut normal = PathBuf::new();
    for component in path.components() {
        match component {
            Component::ParentDir => {
                if normal.symlink_metadata()?.is_symlink() {
                    normal = normal.canonicalize()?;
                }
                normal.pop();
            }
            Component::CurDir => {}
            other => normal.push(other),
        }
    }
    Ok(normal)
}

/// Whether `program` really is one that goes by compilers' names and starts the compiler: ccache, distcc, farcc itself.
pub fn is_launcher(program: &Path) -> bool {
    let real = program.canonicalize().unwrap_or_else(|_| program.to_owned());
    real.file_name().is_some_and(|name| LAUNCHERS.iter().any(|launcher| name == *launcher))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn symlinks_stay_unless_a_path_goes_up_from_them() {
        let root = tempfile::tempdir().unwrap();
        let at = root.path().canonicalize().unwrap();
        for directory in ["out/x", "deep/down/bin", "deep/llvm/bin", "llvm/bin"] {
            std::fs::create_dir_all(at.join(directory)).unwrap();
        }
        std::os::unix::fs::symlink("deep/down", at.join("link")).unwrap();
        let check =
            |path: &str, expected: &str| assert_eq!(normal_path(&at.join(path)).unwrap(), at.join(expected), "{path}");
        check("out/x/../../llvm/bin/clang", "llvm/bin/clang");
        check("./link/./bin//gcc", "link/bin/gcc");
        check("link/../llvm/bin/clang", "deep/llvm/bin/clang");
        check("link/bin/../gcc", "link/gcc");
        assert_eq!(normal_path(Path::new("/../usr/bin/cc")).unwrap(), Path::new("/usr/bin/cc"));
        assert!(normal_path(&at.join("none/../gcc")).is_err());
    }
}
