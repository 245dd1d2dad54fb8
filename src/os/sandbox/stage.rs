//! What a manifest must be like before it is laid out, and where names in it lead.

use std::collections::{HashMap, HashSet};
use std::io;

use crate::model::digest::Digest;
use crate::model::job::{Entry, Manifest, Node};
use crate::model::limits::{INPUT_BYTES_MAX, INPUTS_BYTES_MAX, MANIFEST_ENTRIES_MAX, SYMLINKS_MAX};
use crate::model::path::SandboxPath;

#[derive(Debug, thiserror::Error)]
pub enum StageError {
    #[error("{path}: {fault}")]
    Manifest { path: SandboxPath, fault: ManifestFault },
    #[error("cannot lay out {path}")]
    Io { path: SandboxPath, source: io::Error },
}

/// What can be wrong with a manifest, beside the paths in it.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum ManifestFault {
    #[error("more than {MANIFEST_ENTRIES_MAX} entries")]
    TooMany,
    #[error("larger than {INPUT_BYTES_MAX} bytes, or than {INPUTS_BYTES_MAX} with all before it")]
    TooLarge,
    #[error("below a directory that the sandbox makes itself")]
    Special,
    #[error("its directory is no entry before it, or it is there twice")]
    Order,
    #[error("files of one link group differ, or of one digest in size")]
    Contradiction,
    #[error("no such time")]
    Time,
}

/// Nothing of a client can be there.
const SPECIAL: &[&[u8]] = &[b"proc", b"dev"];

/// Checks all that can be checked without a file.
pub(crate) fn check(manifest: &Manifest) -> Result<(), StageError> {
    let root = SandboxPath::root();
    let mut directories = HashSet::from([&root]);
    let mut sizes: HashMap<Digest, u64> = HashMap::new();
    let mut groups: HashMap<u32, &Node> = HashMap::new();
    let mut left = INPUTS_BYTES_MAX;
    let mut previous: Option<&SandboxPath> = None;
    for (i, Entry { path, node }) in manifest.entries.iter().enumerate() {
        let fault = |fault| Err(StageError::Manifest { path: path.clone(), fault });
        if i >= MANIFEST_ENTRIES_MAX {
            return fault(ManifestFault::TooMany);
        }
        let in_order = previous.is_none_or(|previous| previous < path);
        if !in_order || path.parent().is_some_and(|parent| !directories.contains(&parent)) {
            return fault(ManifestFault::Order);
        }
        previous = Some(path);
        let special = path.components().next().is_some_and(|first| SPECIAL.contains(&first));
        if special && (path.components().count() > 1 || *node != Node::Directory) {
            return fault(ManifestFault::Special);
        }
        match node {
            Node::Directory => drop(directories.insert(path)),
            Node::Symlink { .. } | Node::Tombstone => {}
            Node::File { digest, size, mtime, link_group, .. } => {
                left = match left.checked_sub(*size) {
                    Some(left) if *size <= INPUT_BYTES_MAX => left,
                    _ => return fault(ManifestFault::TooLarge),
                };
                if *sizes.entry(*digest).or_insert(*size) != *size || *groups.entry(*link_group).or_insert(node) != node
                {
                    return fault(ManifestFault::Contradiction);
                }
                if mtime.nanoseconds >= 1_000_000_000 {
                    return fault(ManifestFault::Time);
                }
            }
        }
    }
    Ok(())
}

/// The digests of all files.
pub(crate) fn digests(manifest: &Manifest) -> impl Iterator<Item = Digest> {
    manifest.entries.iter().filter_map(|entry| match &entry.node {
        Node::File { digest, .. } => Some(*digest),
        _ => None,
    })
}

/// Where `path` leads, as far as the manifest knows.
pub(crate) fn resolve(manifest: &Manifest, path: &SandboxPath) -> Option<SandboxPath> {
    let mut left: Vec<Vec<u8>> = path.components().rev().map(<[u8]>::to_vec).collect();
    let mut at = SandboxPath::root();
    let mut n_symlinks = 0;
    while let Some(name) = left.pop() {
        let next = match name.as_slice() {
            b"" | b"." => continue,
            b".." => {
                at = at.parent().unwrap_or(at);
                continue;
            }
            name => join(&at, name)?,
        };
        let i = manifest.entries.binary_search_by(|entry| entry.path.cmp(&next)).ok()?;
        match &manifest.entries[i].node {
            Node::Symlink { target } if n_symlinks < SYMLINKS_MAX => {
                n_symlinks += 1;
                if target.starts_with(b"/") {
                    at = SandboxPath::root();
                }
                left.extend(target.split(|&byte| byte == b'/').rev().map(<[u8]>::to_vec));
            }
            Node::Directory | Node::File { .. } => at = next,
            Node::Symlink { .. } | Node::Tombstone => return None,
        }
    }
    Some(at)
}

fn join(directory: &SandboxPath, name: &[u8]) -> Option<SandboxPath> {
    let directory = directory.as_bytes().strip_suffix(b"/").unwrap_or(directory.as_bytes());
    SandboxPath::new([directory, b"/", name].concat()).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::job::Bytes;

    #[test]
    fn names_lead_where_the_manifest_says() {
        let path = |text: &str| SandboxPath::new(text.as_bytes()).unwrap();
        let link = |target: &str| Node::Symlink { target: Bytes::from(target.as_bytes()) };
        let nodes = [
            ("/", Node::Directory),
            ("/gone", Node::Tombstone),
            ("/home", Node::Directory),
            ("/home/me", link("../srv/./me/")),
            ("/loop", link("loop")),
            ("/srv", link("/data")),
            ("/data", Node::Directory),
            ("/data/me", Node::Directory),
        ];
        let mut entries: Vec<_> = nodes.map(|(name, node)| Entry { path: path(name), node }).into();
        entries.sort_by(|a, b| a.path.cmp(&b.path));
        let manifest = Manifest { entries };
        let check =
            |name, expected: Option<&str>| assert_eq!(resolve(&manifest, &path(name)), expected.map(path), "{name}");
        check("/", Some("/"));
        check("/home/me", Some("/data/me"));
        check("/data/me", Some("/data/me"));
        for lost in ["/loop", "/gone", "/home/you"] {
            check(lost, None);
        }
    }
}
