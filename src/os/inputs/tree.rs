//! Follows paths component by component, as the kernel does, and remembers what a job must find on the way.

use std::collections::{BTreeMap, HashMap};
use std::ffi::OsStr;
use std::fs::{self, Metadata};
use std::io;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use crate::model::job::Bytes;
use crate::model::limits::{MANIFEST_ENTRIES_MAX, SYMLINKS_MAX};
use crate::model::reason::{Reason, Why};
use crate::os::inputs::cache::Identity;

/// Where a path leads.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum End {
    Missing,
    Directory(Identity),
    File(Stat),
    /// Socket, FIFO or device.
    Special,
}

/// A regular file.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Stat {
    pub(super) identity: Identity,
    pub(super) mode: u32,
}

/// A path followed to its end.
#[derive(Debug)]
pub(super) struct Walked {
    /// Without symlinks. Where the end is missing, as far as it goes and the rest as spelled.
    pub(super) physical: Vec<u8>,
    pub(super) end: End,
    /// Directories and symlinks passed, by physical path.
    trail: Vec<Vec<u8>>,
    /// The last component is a symlink.
    is_link: bool,
}

impl Walked {
    /// The path is a symlink to nowhere.
    pub(super) fn dangles(&self) -> bool {
        self.end == End::Missing && self.is_link
    }
}

/// What one physical path is.
#[derive(Clone, Debug)]
enum Seen {
    Missing,
    Directory(Identity),
    Link(Bytes),
    File(Stat),
    Special,
}

/// What a job finds at a physical path.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Kept {
    Directory,
    Link(Bytes),
    File(Stat),
    /// With the identity of what it stands for.
    Tombstone(Option<Identity>),
}

/// The part of the file system that one unit touches. Each path is looked at once.
#[derive(Default)]
pub(super) struct Tree {
    seen: HashMap<Vec<u8>, Seen>,
    kept: BTreeMap<Vec<u8>, Kept>,
}

impl Tree {
    /// Follows `path` from the physical directory `from`.
    ///
    /// # Errors
    /// [`Reason::UnusableInput`] where the kernel would refuse for another reason than absence.
    pub(super) fn walk(&mut self, from: &[u8], path: &[u8]) -> Result<Walked, Why> {
        let mut walk = Walk::new(from, path);
        let mut n_links = 0;
        let mut is_link = false;
        while let Some(component) = walk.ahead.pop() {
            if !walk.is_in_directory() {
                // A component behind a file: ENOTDIR.
                walk.end = End::Missing;
                break;
            }
            match component.as_slice() {
                b"." => continue,
                b".." => {
                    walk.ascend();
                    continue;
                }
                name => walk.descend(name),
            }
            match self.look(&walk.physical)? {
                Seen::Missing => {
                    walk.end = End::Missing;
                    break;
                }
                Seen::Directory(identity) => {
                    walk.trail.push(walk.physical.clone());
                    walk.end = End::Directory(identity);
                }
                Seen::File(stat) => walk.end = End::File(stat),
                Seen::Special => walk.end = End::Special,
                Seen::Link(target) => {
                    n_links += 1;
                    if n_links > SYMLINKS_MAX {
                        return Err(Why::new(Reason::UnusableInput, display(path)));
                    }
                    is_link |= walk.ahead.is_empty();
                    walk.follow(&target);
                }
            }
        }
        self.finish(walk, is_link)
    }

    fn finish(&mut self, walk: Walk, is_link: bool) -> Result<Walked, Why> {
        let end = match walk.end {
            // A path that ended by going up, or never left its start.
            End::Directory(_) => match self.look(&walk.physical)? {
                Seen::Directory(identity) => End::Directory(identity),
                _ => End::Missing,
            },
            end => end,
        };
        Ok(Walked { physical: walk.physical, end, trail: walk.trail, is_link })
    }

    fn look(&mut self, physical: &[u8]) -> Result<Seen, Why> {
        if let Some(seen) = self.seen.get(physical) {
            return Ok(seen.clone());
        }
        let seen = look(physical)
            .map_err(|error| Why::new(Reason::UnusableInput, format!("{}: {error}", display(physical))))?;
        self.seen.insert(physical.to_vec(), seen.clone());
        Ok(seen)
    }

    /// The job finds everything on the way there.
    pub(super) fn keep_trail(&mut self, walked: &Walked) {
        for path in &walked.trail {
            match self.seen.get(path) {
                Some(Seen::Directory(_)) => self.keep(path, Kept::Directory),
                Some(Seen::Link(target)) => {
                    let target = target.clone();
                    self.keep(path, Kept::Link(target));
                }
                _ => {}
            }
        }
    }

    /// The job finds the file there; it overrides a tombstone.
    pub(super) fn keep_file(&mut self, walked: &Walked, stat: Stat) {
        self.keep_trail(walked);
        self.kept.insert(walked.physical.clone(), Kept::File(stat));
    }

    /// The job finds something there that it cannot open, unless the file itself is kept.
    pub(super) fn keep_tombstone(&mut self, walked: &Walked) {
        self.keep_trail(walked);
        let stamp = match walked.end {
            End::File(stat) => Some(stat.identity),
            _ => None,
        };
        self.keep(&walked.physical, Kept::Tombstone(stamp));
    }

    fn keep(&mut self, path: &[u8], what: Kept) {
        if !self.kept.contains_key(path) {
            self.kept.insert(path.to_vec(), what);
        }
    }

    pub(super) fn has_file(&self, physical: &[u8]) -> bool {
        matches!(self.kept.get(physical), Some(Kept::File(_)))
    }

    /// All that is kept, each with all its parents, sorted by path.
    ///
    /// # Errors
    /// [`Reason::TooLarge`]
    pub(super) fn into_kept(mut self) -> Result<BTreeMap<Vec<u8>, Kept>, Why> {
        let paths: Vec<Vec<u8>> = self.kept.keys().cloned().collect();
        self.keep(b"/", Kept::Directory);
        for path in paths {
            let mut parent = path.as_slice();
            while let Some(slash) = parent.iter().rposition(|&byte| byte == b'/').filter(|&slash| slash > 0) {
                parent = &parent[..slash];
                if self.kept.contains_key(parent) {
                    break;
                }
                self.kept.insert(parent.to_vec(), Kept::Directory);
            }
        }
        if self.kept.len() > MANIFEST_ENTRIES_MAX {
            return Err(Why::new(Reason::TooLarge, format!("more than {MANIFEST_ENTRIES_MAX} files")));
        }
        Ok(self.kept)
    }
}

/// A walk on its way.
struct Walk {
    physical: Vec<u8>,
    end: End,
    trail: Vec<Vec<u8>>,
    /// Components still to go, the next one last.
    ahead: Vec<Vec<u8>>,
}

/// A directory that nobody has looked at yet.
const UNSEEN: End = End::Directory(Identity::NONE);

impl Walk {
    fn new(from: &[u8], path: &[u8]) -> Self {
        let mut walk = Self { physical: from.to_vec(), end: UNSEEN, trail: Vec::new(), ahead: Vec::new() };
        walk.turn_to(path);
        walk
    }

    fn turn_to(&mut self, path: &[u8]) {
        if path.starts_with(b"/") {
            self.physical = b"/".to_vec();
        }
        let components = path.split(|&byte| byte == b'/').rev().filter(|component| !component.is_empty());
        self.ahead.extend(components.map(<[u8]>::to_vec));
        if path.ends_with(b"/") {
            // `file/` is no file.
            let behind_last = self.ahead.len() - path.split(|&byte| byte == b'/').filter(|c| !c.is_empty()).count();
            self.ahead.insert(behind_last, b".".to_vec());
        }
    }

    fn is_in_directory(&self) -> bool {
        matches!(self.end, End::Directory(_))
    }

    fn descend(&mut self, name: &[u8]) {
        if self.physical != b"/" {
            self.physical.push(b'/');
        }
        self.physical.extend_from_slice(name);
    }

    fn ascend(&mut self) {
        let slash = self.physical.iter().rposition(|&byte| byte == b'/').unwrap_or(0);
        self.physical.truncate(slash.max(1));
        self.end = UNSEEN;
    }

    fn follow(&mut self, target: &[u8]) {
        self.trail.push(self.physical.clone());
        self.ascend();
        self.turn_to(target);
    }
}

fn look(physical: &[u8]) -> io::Result<Seen> {
    let path = os_path(physical);
    let metadata = match fs::symlink_metadata(path) {
        Ok(metadata) => metadata,
        Err(error) if is_absence(&error) => return Ok(Seen::Missing),
        Err(error) => return Err(error),
    };
    let kind = metadata.file_type();
    Ok(if kind.is_dir() {
        Seen::Directory(Identity::of(&metadata))
    } else if kind.is_symlink() {
        Seen::Link(Bytes::from(fs::read_link(path)?.into_os_string().into_vec()))
    } else if kind.is_file() {
        Seen::File(Stat::of(&metadata))
    } else {
        Seen::Special
    })
}

fn is_absence(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::NotFound
            | io::ErrorKind::NotADirectory
            | io::ErrorKind::InvalidFilename
            | io::ErrorKind::InvalidInput
    )
}

impl Stat {
    pub(super) fn of(metadata: &Metadata) -> Self {
        Self { identity: Identity::of(metadata), mode: metadata.mode() & 0o7777 }
    }
}

pub(super) fn os_path(bytes: &[u8]) -> &Path {
    Path::new(OsStr::from_bytes(bytes))
}

pub(super) fn display(path: &[u8]) -> String {
    String::from_utf8_lossy(path).into_owned()
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn paths_lead_where_the_kernel_says() {
        let root = tempfile::tempdir().unwrap();
        let at = fs::canonicalize(root.path()).unwrap();
        fs::create_dir_all(at.join("deep/dir")).unwrap();
        fs::write(at.join("deep/x.h"), "deep").unwrap();
        fs::write(at.join("x.h"), "top").unwrap();
        symlink("deep/dir", at.join("lk")).unwrap();
        symlink("loop", at.join("loop")).unwrap();
        symlink("nowhere", at.join("dangling")).unwrap();
        let from = at.as_os_str().as_bytes();
        let mut tree = Tree::default();
        let mut check = |path: &str, expected: &str| {
            let walked = tree.walk(from, path.as_bytes()).unwrap();
            let shown = match walked.end {
                End::File(_) => "file ",
                End::Directory(_) => "directory ",
                End::Special => "special ",
                End::Missing => "",
            };
            let below = os_path(&walked.physical).strip_prefix(&at).map_or("outside", |rest| rest.to_str().unwrap());
            let found = if shown.is_empty() { String::from("missing") } else { format!("{shown}{below}") };
            assert_eq!(found, expected, "{path}");
        };
        check("x.h", "file x.h");
        check("lk/../x.h", "file deep/x.h");
        check("./deep//dir/", "directory deep/dir");
        check("deep/none/../x.h", "missing");
        check("x.h/", "missing");
        check("x.h/..", "missing");
        check("x.h/y", "missing");
        check("dangling", "missing");
        check("", "directory ");
        check("deep/..", "directory ");
        check("/dev/null", "special outside");
        assert_eq!(tree.walk(from, b"loop").map_err(|why| why.reason).unwrap_err(), Reason::UnusableInput);
        assert!(tree.walk(from, b"dangling").unwrap().dangles());
        assert!(!tree.walk(from, b"lk/none").unwrap().dangles());
        assert!(!tree.walk(from, b"lk/../none").unwrap().dangles());
    }

    #[test]
    fn everything_on_the_way_is_kept() {
        let root = tempfile::tempdir().unwrap();
        let at = fs::canonicalize(root.path()).unwrap();
        fs::create_dir_all(at.join("a/b")).unwrap();
        fs::write(at.join("a/x.h"), "x").unwrap();
        symlink("a", at.join("l")).unwrap();
        let from = at.as_os_str().as_bytes();
        let mut tree = Tree::default();
        let walked = tree.walk(from, b"l/b/../x.h").unwrap();
        let End::File(stat) = walked.end else { panic!("{walked:?}") };
        tree.keep_file(&walked, stat);
        let kept = tree.into_kept().unwrap();
        let kind = |path: &str| kept.get(at.join(path).as_os_str().as_bytes());
        assert_eq!(kind("l"), Some(&Kept::Link(Bytes::from(*b"a"))));
        assert_eq!(kind("a"), Some(&Kept::Directory));
        assert_eq!(kind("a/b"), Some(&Kept::Directory));
        assert_eq!(kind("a/x.h"), Some(&Kept::File(stat)));
        assert_eq!(kept.get(&b"/"[..]), Some(&Kept::Directory));
    }
}
