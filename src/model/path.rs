//! Paths that came from, or go to, another machine.

use std::ffi::OsStr;
use std::fmt;
use std::os::unix::ffi::OsStrExt;
use std::path::{Component, Path, PathBuf};

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::model::limits::{PATH_BYTES_MAX, PATH_COMPONENT_BYTES_MAX};

/// `/a/./b/../c` is `/a/c`, as the words go: for people, who do not think of symlinks. What acts on files asks the kernel.
pub fn without_detours(path: &Path) -> PathBuf {
    path.components().fold(PathBuf::new(), |mut short, component| {
        match component {
            Component::CurDir => {}
            Component::ParentDir => {
                short.pop();
            }
            component => short.push(component),
        }
        short
    })
}

/// An absolute path inside a job's root: bytes, never joined to a host path as a string.
///
/// Holds: begins with `/`, no NUL, no empty, `.` or `..` component, within the kernel's length limits. The root itself is `/`.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SandboxPath(Box<[u8]>);

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PathError {
    #[error("path is not absolute")]
    Relative,
    #[error("path has a NUL byte")]
    Nul,
    #[error("path is not normal: it has an empty, `.` or `..` component")]
    NotNormal,
    #[error("path or one of its components is too long")]
    TooLong,
}

impl SandboxPath {
    /// Checks and takes `bytes`; no normalisation happens.
    pub fn new(bytes: impl Into<Box<[u8]>>) -> Result<Self, PathError> {
        let bytes = bytes.into();
        let rest = bytes.strip_prefix(b"/").ok_or(PathError::Relative)?;
        if bytes.contains(&0) {
            return Err(PathError::Nul);
        }
        if bytes.len() > PATH_BYTES_MAX {
            return Err(PathError::TooLong);
        }
        if rest.is_empty() {
            return Ok(Self(bytes));
        }
        for component in rest.split(|&byte| byte == b'/') {
            if component.is_empty() || component == b"." || component == b".." {
                return Err(PathError::NotNormal);
            }
            if component.len() > PATH_COMPONENT_BYTES_MAX {
                return Err(PathError::TooLong);
            }
        }
        Ok(Self(bytes))
    }

    pub fn from_path(path: &Path) -> Result<Self, PathError> {
        Self::new(path.as_os_str().as_bytes())
    }

    pub fn root() -> Self {
        Self(Box::from(*b"/"))
    }

    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// The same path on the machine that made it.
    pub fn as_path(&self) -> &Path {
        Path::new(OsStr::from_bytes(&self.0))
    }

    /// Relative to the root, for `openat2` below it; the root itself is `.`.
    pub fn below_root(&self) -> &Path {
        match &self.0[1..] {
            b"" => Path::new("."),
            rest => Path::new(OsStr::from_bytes(rest)),
        }
    }

    /// Names from the root down.
    pub fn components(&self) -> impl DoubleEndedIterator<Item = &[u8]> {
        self.0[1..].split(|&byte| byte == b'/').filter(|component| !component.is_empty())
    }

    /// The directory that holds it; none for the root.
    pub fn parent(&self) -> Option<Self> {
        if self.0.len() == 1 {
            return None;
        }
        let cut = self.0.iter().rposition(|&byte| byte == b'/').unwrap_or(0).max(1);
        Some(Self(Box::from(&self.0[..cut])))
    }

    /// True for itself and everything below it.
    pub fn is_below(&self, directory: &Self) -> bool {
        directory.0.len() == 1
            || (self.0.starts_with(&directory.0) && matches!(self.0.get(directory.0.len()), None | Some(b'/')))
    }
}

impl fmt::Display for SandboxPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.as_path().display())
    }
}

impl fmt::Debug for SandboxPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self.as_path(), f)
    }
}

impl Serialize for SandboxPath {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_bytes(&self.0)
    }
}

impl<'de> Deserialize<'de> for SandboxPath {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let bytes = serde_bytes::ByteBuf::deserialize(deserializer)?;
        Self::new(bytes.into_vec()).map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_normal_absolute_paths_pass() {
        let check = |text: &str| SandboxPath::new(text.as_bytes()).map(|path| path.to_string());
        assert_eq!(check("/"), Ok("/".into()));
        assert_eq!(check("/a/b c"), Ok("/a/b c".into()));
        assert_eq!(check("a"), Err(PathError::Relative));
        assert_eq!(check(""), Err(PathError::Relative));
        assert_eq!(check("/a\0"), Err(PathError::Nul));
        for bad in ["//", "/a/", "/a//b", "/./a", "/a/..", "/../a"] {
            assert_eq!(check(bad), Err(PathError::NotNormal), "{bad}");
        }
        assert_eq!(check(&format!("/{}", "n".repeat(256))), Err(PathError::TooLong));
    }

    #[test]
    fn detours_are_left_out() {
        assert_eq!(without_detours(Path::new("/a/./b/../c")), Path::new("/a/c"));
        assert_eq!(without_detours(Path::new("/../a")), Path::new("/a"));
        assert_eq!(without_detours(Path::new("")), Path::new(""));
    }

    #[test]
    fn parents_and_descendants() {
        let path = |text: &str| SandboxPath::new(text.as_bytes()).unwrap();
        assert_eq!(path("/a/b").parent(), Some(path("/a")));
        assert_eq!(path("/a").parent(), Some(path("/")));
        assert_eq!(path("/").parent(), None);
        assert!(
            path("/a/b").is_below(&path("/a")) && path("/a").is_below(&path("/a")) && path("/a").is_below(&path("/"))
        );
        assert!(!path("/ab").is_below(&path("/a")));
        assert_eq!(path("/a/b").components().collect::<Vec<_>>(), [b"a", b"b"]);
    }
}
