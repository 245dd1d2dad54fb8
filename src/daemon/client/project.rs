//! What project a command belongs to, for counters.

use std::collections::HashMap;
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use tokio::task::spawn_blocking;

use crate::engine::wire::local::CompileRequest;

/// A variable that names it: what a build system knows better.
const VARIABLE: &[u8] = b"FARCC_PROJECT";
/// What version control has at the top of a tree.
const MARKS: [&str; 5] = [".git", ".hg", ".svn", ".jj", ".bzr"];
/// Working directories whose project is remembered; then all are looked at anew.
const KNOWN_MAX: usize = 4096;

/// Remembers directories that were looked at.
#[derive(Debug, Default)]
pub(super) struct Projects(Mutex<HashMap<PathBuf, String>>);

impl Projects {
    /// By the variable, or else the top of the tree under version control; empty where there is neither.
    pub(super) async fn of(&self, request: &CompileRequest) -> String {
        let named = request.env.iter().find(|(name, value)| name.as_ref() == VARIABLE && !value.as_ref().is_empty());
        if let Some((_, name)) = named {
            return String::from_utf8_lossy(name.as_ref()).into_owned();
        }
        let directory = Path::new(OsStr::from_bytes(request.cwd.as_ref()));
        // Each insertion is whole, so a panic elsewhere has spoilt nothing.
        if let Some(known) = self.0.lock().unwrap_or_else(PoisonError::into_inner).get(directory) {
            return known.clone();
        }
        // A file system that does not answer must not keep others waiting.
        let looked_at = directory.to_owned();
        let looking = spawn_blocking(move || top(&looked_at).map(|top| top.display().to_string()));
        let found = looking.await.ok().flatten().unwrap_or_default();
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if known.len() >= KNOWN_MAX {
            known.clear();
        }
        known.insert(directory.to_owned(), found.clone());
        found
    }
}

/// The outermost would be a submodule's parent; people think of the innermost.
fn top(directory: &Path) -> Option<&Path> {
    directory.ancestors().find(|ancestor| MARKS.iter().any(|mark| ancestor.join(mark).exists()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(cwd: &Path, env: &[(&str, &str)]) -> CompileRequest {
        let bytes = |text: &str| text.as_bytes().to_vec().into();
        CompileRequest {
            compiler: bytes("/usr/bin/gcc"),
            argv: Vec::new(),
            cwd: cwd.as_os_str().as_bytes().to_vec().into(),
            env: env.iter().map(|(name, value)| (bytes(name), bytes(value))).collect(),
            mount_namespace: 0,
            stderr_columns: 0,
        }
    }

    #[tokio::test]
    async fn a_project_is_a_tree_under_version_control_or_what_a_variable_says() {
        let directory = tempfile::tempdir().unwrap();
        let project = directory.path().join("project");
        let below = project.join("src/deep");
        std::fs::create_dir_all(&below).unwrap();
        std::fs::create_dir(project.join(".git")).unwrap();
        let projects = Projects::default();
        for _ in 0..2 {
            assert_eq!(projects.of(&request(&below, &[])).await, project.display().to_string());
        }
        assert_eq!(projects.of(&request(&below, &[("FARCC_PROJECT", "recipe")])).await, "recipe");
    }
}
