//! Toolchains: a compiler with everything it needs to run on a machine that has none.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::model::digest::Digest;
use crate::model::job::Bytes;
use crate::model::path::SandboxPath;

/// Identity of a toolchain: the digest of its canonical manifest, not of any archive of it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct ToolchainId(pub Digest);

impl fmt::Display for ToolchainId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Debug for ToolchainId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Which generation of its architecture's instructions a program needs, or a processor has: 3 for `x86-64-v3`. Zero where nobody has
/// said, or the architecture counts no generations.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default, Serialize, Deserialize)]
pub struct IsaLevel(pub u8);

impl IsaLevel {
    /// Whether a processor of this level runs what needs `needed`. One that has not said is given the benefit of the doubt.
    pub fn runs(self, needed: Self) -> bool {
        self == Self::default() || needed <= self
    }
}

/// What a toolchain's tree holds. Sorted by path, no path twice, parents before children, each parent an entry.
///
/// Owners, times and write bits are not part of it: builders unpack files read-only with fixed times.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct ToolchainManifest {
    pub entries: Vec<ToolchainEntry>,
}

#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct ToolchainEntry {
    pub path: SandboxPath,
    pub node: ToolchainNode,
}

#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum ToolchainNode {
    Directory,
    Symlink { target: Bytes },
    File { digest: Digest, size: u64, executable: bool },
}

impl ToolchainManifest {
    /// The digest of a canonical encoding: for each entry its path, a kind byte and the kind's fields, every variable part
    /// preceded by its length as a little-endian `u64`, so that no two manifests encode alike.
    pub fn id(&self) -> ToolchainId {
        let mut canonical = Vec::new();
        let mut field = |bytes: &[u8]| {
            canonical.extend_from_slice(&(bytes.len() as u64).to_le_bytes());
            canonical.extend_from_slice(bytes);
        };
        field(b"farcc toolchain 1");
        for ToolchainEntry { path, node } in &self.entries {
            field(path.as_bytes());
            match node {
                ToolchainNode::Directory => field(b"d"),
                ToolchainNode::Symlink { target } => {
                    field(b"l");
                    field(target);
                }
                ToolchainNode::File { digest, size, executable } => {
                    field(if *executable { b"x" } else { b"f" });
                    field(digest.as_bytes());
                    field(&size.to_le_bytes());
                }
            }
        }
        ToolchainId(Digest::of(&canonical))
    }

    /// Sum of all file sizes in bytes.
    pub fn bytes(&self) -> u64 {
        self.entries
            .iter()
            .map(|entry| match entry.node {
                ToolchainNode::File { size, .. } => size,
                _ => 0,
            })
            .sum()
    }
}
/// Set for a compiler that farcc runs, and so for all that it starts: a wrapper that sees it is the plain compiler at once.
pub const LEVEL_VARIABLE: &str = "FARCC_LEVEL";

/// Programs that go by compilers' names and start the compiler, which they look for in `PATH`.
pub const LAUNCHERS: &[&str] = &["ccache", "sccache", "distcc", "icecc", "farcc", "colorgcc"];
