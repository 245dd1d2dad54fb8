//! Where a header of some name could be found: all the places the compiler would look, not only the first that has it.

use std::collections::HashMap;
use std::sync::Arc;

use crate::engine::compiler::search::SearchPath;
use crate::engine::compiler::tokens::HeaderName;
use crate::model::job::Bytes;
use crate::model::reason::Why;
use crate::os::inputs::cache::{Listing, ScanCache};
use crate::os::inputs::tree::{End, Tree, Walked};

/// A directory that is searched.
#[derive(Clone, Debug)]
struct Directory {
    physical: Arc<[u8]>,
    names: Arc<Listing>,
}

/// The places of one unit. Directories are listed once, so that the many places without a header cost no system call.
pub(super) struct Places<'a> {
    quote: Vec<Directory>,
    bracket: Vec<Directory>,
    directories: Directories<'a>,
}

/// Directories that names lead to, by where they start and how they are spelled.
struct Directories<'a> {
    cache: &'a ScanCache,
    cwd: &'a [u8],
    /// The key is the physical start, a NUL, and the spelling.
    known: HashMap<Vec<u8>, Option<Directory>>,
}

impl<'a> Places<'a> {
    pub(super) fn new(cache: &'a ScanCache, cwd: &'a [u8], search: &SearchPath, tree: &mut Tree) -> Result<Self, Why> {
        let mut directories = Directories { cache, cwd, known: HashMap::new() };
        let quote = directories.chain(&search.quote, tree)?;
        let bracket = directories.chain(&search.bracket, tree)?;
        Ok(Self { quote, bracket, directories })
    }

    /// Every place that has something by this name, as included by a file in `directory`. Dangling symlinks are among them.
    pub(super) fn of(&mut self, name: &HeaderName, directory: &[u8], tree: &mut Tree) -> Result<Vec<Walked>, Why> {
        let directories = &mut self.directories;
        if name.name.starts_with(b"/") {
            let walked = tree.walk(directories.cwd, &name.name)?;
            return Ok(Vec::from_iter(exists(&walked).then_some(walked)));
        }
        let mut found = Vec::new();
        if name.quoted {
            if let Some(beside) = directories.of(directories.cwd, directory, tree)? {
                found.extend(directories.look_in(&beside, &name.name, tree)?);
            }
            for directory in &self.quote {
                found.extend(directories.look_in(directory, &name.name, tree)?);
            }
        }
        for directory in &self.bracket {
            found.extend(directories.look_in(directory, &name.name, tree)?);
        }
        Ok(found)
    }
}

impl Directories<'_> {
    fn chain(&mut self, spelled: &[Bytes], tree: &mut Tree) -> Result<Vec<Directory>, Why> {
        let found: Result<Vec<_>, Why> = spelled.iter().map(|spelled| self.of(self.cwd, spelled, tree)).collect();
        Ok(found?.into_iter().flatten().collect())
    }

    /// The directory that `spelled` leads to from the physical directory `from`; none if that is no directory.
    fn of(&mut self, from: &[u8], spelled: &[u8], tree: &mut Tree) -> Result<Option<Directory>, Why> {
        let key = [from, b"\0", spelled].concat();
        if let Some(known) = self.known.get(&key) {
            return Ok(known.clone());
        }
        let walked = tree.walk(from, spelled)?;
        let directory = match walked.end {
            End::Directory(identity) => {
                let names = self.cache.listing(&walked.physical, identity);
                Some(Directory { physical: walked.physical.into(), names })
            }
            _ => None,
        };
        self.known.insert(key, directory.clone());
        Ok(directory)
    }

    fn look_in(&mut self, directory: &Directory, name: &[u8], tree: &mut Tree) -> Result<Option<Walked>, Why> {
        let is_listed = match name.iter().rposition(|&byte| byte == b'/') {
            None => directory.may_have(name),
            Some(slash) => {
                let holder = match directory.may_have(first_component(name)) {
                    true => self.of(&directory.physical, &name[..slash], tree)?,
                    false => None,
                };
                holder.is_some_and(|holder| holder.may_have(&name[slash + 1..]))
            }
        };
        if !is_listed {
            return Ok(None);
        }
        let walked = tree.walk(&directory.physical, name)?;
        Ok(exists(&walked).then_some(walked))
    }
}

impl Directory {
    fn may_have(&self, name: &[u8]) -> bool {
        match self.names.as_ref() {
            Some(names) => matches!(name, b"" | b"." | b"..") || names.contains(name),
            None => true,
        }
    }
}

fn first_component(name: &[u8]) -> &[u8] {
    name.split(|&byte| byte == b'/').next().unwrap_or(name)
}

fn exists(walked: &Walked) -> bool {
    walked.end != End::Missing || walked.dangles()
}
