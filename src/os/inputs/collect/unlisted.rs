//! Files that a compile reads and no dependency list has: named by options, by `#line`, by the assembler's directives, by `#embed`.
//! Whatever a name could mean is shipped: too much costs a file, too little could make another object.

use std::collections::BTreeSet;

use super::{Collector, beside, directory_of, joined};
use crate::engine::compiler::assembled;
use crate::engine::compiler::names::stem;
use crate::engine::compiler::search::SearchPath;
use crate::engine::compiler::tokens::HeaderName;
use crate::model::job::Bytes;
use crate::model::reason::{Reason, Why};
use crate::os::inputs::cache::Identity;
use crate::os::inputs::candidates::Places;
use crate::os::inputs::dependency_run::{self, Dependencies};
use crate::os::inputs::read::ReadFile;
use crate::os::inputs::tree::{End, Walked, display};

impl Collector<'_> {
    /// Files that the command names and that no dependency list has.
    pub(super) fn named_files(&mut self) -> Result<(), Why> {
        let unit = self.unit;
        for path in &unit.response_files {
            let walked = self.walk(path)?;
            match walked.end {
                End::File(stat) => self.ship(&walked, stat)?,
                _ => return Err(Why::new(Reason::UnusableInput, display(path))),
            };
        }
        for path in unit.command.specs_files() {
            let walked = self.walk(path)?;
            match walked.end {
                End::File(stat) => {
                    self.ship(&walked, stat)?;
                }
                // Then it is among the compiler's own files.
                End::Missing if !path.contains(&b'/') => {}
                _ => return Err(Why::new(Reason::UnusableInput, display(path))),
            }
        }
        for path in unit.command.input_files() {
            self.ship_named(path)?;
        }
        self.profiles()
    }

    /// A file that an option names. What is missing here is missing there.
    pub(super) fn ship_named(&mut self, path: &[u8]) -> Result<(), Why> {
        let walked = self.walk(path)?;
        self.ship_found(&walked).map(drop)
    }

    /// Profiles: named themselves, or in a directory under a name that the compiler makes up of the output's or the source's.
    /// One that is missing would silently make another object, so whatever could be meant is shipped.
    fn profiles(&mut self) -> Result<(), Why> {
        let command = &self.unit.command;
        let mut named: BTreeSet<Bytes> = command.profiles().cloned().collect();
        if named.is_empty() && !command.removes_profile() {
            return Ok(());
        }
        named.insert(Bytes::from(directory_of(&command.output)));
        named.insert(Bytes::from(*b"."));
        for path in named {
            let walked = self.walk(&path)?;
            match walked.end {
                End::Directory(identity) => self.profiles_in(&walked, identity)?,
                _ => self.ship_named(&path)?,
            }
        }
        Ok(())
    }

    fn profiles_in(&mut self, directory: &Walked, identity: Identity) -> Result<(), Why> {
        let command = &self.unit.command;
        let stems = [&command.output, &command.source].map(|path| stem(path).to_vec());
        self.tree.keep_trail(directory);
        let listing = self.cache.listing(&directory.physical, identity);
        let too_many = || Why::new(Reason::UnusableInput, display(&directory.physical));
        for name in listing.as_ref().as_ref().ok_or_else(too_many)?.iter().filter(|name| is_profile(name, &stems)) {
            let path = joined(&directory.physical, name);
            if command.removes_profile() {
                return Err(Why::new(Reason::LocalOption, format!("-frandom-seed with {}", display(&path))));
            }
            self.ship_named(&path)?;
        }
        Ok(())
    }

    /// Files named by `#line`: messages show their lines where they exist.
    pub(super) fn quoted_sources(&mut self, read: &[ReadFile]) -> Result<(), Why> {
        let names: BTreeSet<&Bytes> = read.iter().flat_map(|file| &file.known.scan.quoted_sources).collect();
        for name in names {
            let walked = self.walk(name)?;
            if let End::File(stat) = walked.end {
                self.ship(&walked, stat)?;
            }
        }
        Ok(())
    }

    /// Whatever the assembler could find by the names in `.incbin` and `.include` is shipped, and what it finds there in turn.
    pub(super) fn assembled(&mut self, dependencies: &Dependencies, read: &[ReadFile]) -> Result<(), Why> {
        let language = self.unit.command.language;
        let mut reads = self.defined.assembled.clone();
        read.iter().for_each(|file| reads.merge(&file.known.scan.assembled));
        if !reads.is_settled(language) {
            let text = dependency_run::preprocessed(self.unit)?;
            reads = assembled::reads(&text, language);
        }
        if reads.is_empty() {
            return Ok(());
        }
        let unit = self.unit;
        let search = SearchPath {
            quote: unit.command.assembler_directories().map(Bytes::from).collect(),
            bracket: dependencies.search.directories().cloned().collect(),
            ..SearchPath::default()
        };
        let mut places = Places::new(self.cache, &unit.cwd, &search, &mut self.tree)?;
        let searched = |name: &Bytes| HeaderName { quoted: true, name: name.as_slice().into() };
        let mut done = BTreeSet::new();
        while let Some(name) = reads.included.pop_first() {
            if !done.insert(name.clone()) {
                continue;
            }
            for known in self.ship_all(&mut places, &searched(&name), b".")? {
                reads.merge(&known.scan.assembled);
            }
        }
        if reads.has_computed {
            return Err(Reason::Incbin.into());
        }
        for name in &reads.embedded {
            self.ship_all(&mut places, &searched(name), b".")?;
        }
        Ok(())
    }

    /// Whatever `#embed` could find is shipped.
    pub(super) fn embedded(&mut self, dependencies: &Dependencies, read: &[ReadFile]) -> Result<(), Why> {
        let unit = self.unit;
        let names: BTreeSet<(Bytes, HeaderName)> =
            read.iter().flat_map(|file| beside(&file.known.scan.embedded, &file.spelled)).collect();
        if names.is_empty() {
            return Ok(());
        }
        let search = SearchPath {
            quote: dependencies.search.quote.clone(),
            bracket: unit.command.embed_directories().chain(&dependencies.search.bracket).cloned().collect(),
            ..SearchPath::default()
        };
        let mut places = Places::new(self.cache, &unit.cwd, &search, &mut self.tree)?;
        for (directory, name) in &names {
            self.ship_all(&mut places, name, directory)?;
        }
        Ok(())
    }
}

/// gcc's `[MANGLED DIRECTORY#]STEM.gcda`, clang's `default.profdata`.
fn is_profile(name: &[u8], stems: &[Vec<u8>]) -> bool {
    let is_of_unit = |name: &[u8]| stems.iter().any(|stem| name.ends_with(stem));
    name == b"default.profdata" || name.strip_suffix(b".gcda").is_some_and(is_of_unit)
}
