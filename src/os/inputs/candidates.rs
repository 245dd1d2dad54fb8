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
    cache: &'a ScanCache,
    cwd: &'a [u8],
    quote: Vec<Directory>,
    bracket: Vec<Directory>,
    /// Directories of includers, as spelled.
    beside: HashMap<Vec<u8>, Option<Directory>>,
}

impl<'a> Places<'a> {
    pub(super) fn new(cache: &'a ScanCache, cwd: &'a [u8], search: &SearchPath, tree: &mut Tree) -> Result<Self, Why> {
        let mut places = Self { cache, cwd, quote: Vec::new(), bracket: Vec::new(), beside: HashMap::new() };
        places.quote = places.directories(&search.quote, tree)?;
        places.bracket = places.directories(&search.bracket, tree)?;
        Ok(places)
    }

    fn directories(&self, spelled: &[Bytes], tree: &mut Tree) -> Result<Vec<Directory>, Why> {
        let found: Result<Vec<_>, Why> = spelled.iter().map(|spelled| self.directory(spelled, tree)).collect();
        Ok(found?.into_iter().flatten().collect())
    }

    fn directory(&self, spelled: &[u8], tree: &mut Tree) -> Result<Option<Directory>, Why> {
        let walked = tree.walk(self.cwd, spelled)?;
        let End::Directory(identity) = walked.end else { return Ok(None) };
        let names = self.cache.listing(&walked.physical, identity);
        Ok(Some(Directory { physical: walked.physical.into(), names }))
    }

    /// Every place that has something by this name, as included by the file at `includer`. Dangling symlinks are among them.
    pub(super) fn of(&mut self, name: &HeaderName, includer: &[u8], tree: &mut Tree) -> Result<Vec<Walked>, Why> {
        if name.name.starts_with(b"/") {
            let walked = tree.walk(self.cwd, &name.name)?;
            return Ok(Vec::from_iter(exists(&walked).then_some(walked)));
        }
        let mut found = Vec::new();
        if name.quoted {
            self.add_beside(&name.name, includer, tree, &mut found)?;
            for directory in &self.quote {
                found.extend(look_in(directory, &name.name, tree)?);
            }
        }
        for directory in &self.bracket {
            found.extend(look_in(directory, &name.name, tree)?);
        }
        Ok(found)
    }

    fn add_beside(
        &mut self,
        name: &[u8],
        includer: &[u8],
        tree: &mut Tree,
        found: &mut Vec<Walked>,
    ) -> Result<(), Why> {
        let spelled = directory_of(includer);
        if !self.beside.contains_key(spelled) {
            let directory = self.directory(spelled, tree)?;
            self.beside.insert(spelled.to_vec(), directory);
        }
        if let Some(Some(directory)) = self.beside.get(spelled) {
            found.extend(look_in(directory, name, tree)?);
        }
        Ok(())
    }
}

fn look_in(directory: &Directory, name: &[u8], tree: &mut Tree) -> Result<Option<Walked>, Why> {
    let first = name.split(|&byte| byte == b'/').next().unwrap_or(name);
    let is_listed = match directory.names.as_ref() {
        Some(names) => first == b"." || first == b".." || names.contains(first),
        None => true,
    };
    if !is_listed {
        return Ok(None);
    }
    let walked = tree.walk(&directory.physical, name)?;
    Ok(exists(&walked).then_some(walked))
}

fn exists(walked: &Walked) -> bool {
    walked.end != End::Missing || walked.dangles()
}

/// As spelled, and as the compiler prefixes names with it.
fn directory_of(path: &[u8]) -> &[u8] {
    match path.iter().rposition(|&byte| byte == b'/') {
        Some(0) => b"/",
        Some(slash) => &path[..slash],
        None => b".",
    }
}
