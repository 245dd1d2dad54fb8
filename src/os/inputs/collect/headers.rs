//! Names of headers: what else they could lead to than the headers that the compiler has read.

use std::collections::BTreeSet;

use super::{Collector, beside, directory_of};
use crate::engine::compiler::CompilerFamily;
use crate::engine::compiler::tokens::{self, HeaderName};
use crate::model::job::Bytes;
use crate::model::limits::HAS_INCLUDE_MACROS_MAX;
use crate::model::reason::{Reason, Why};
use crate::os::inputs::cache::Macros;
use crate::os::inputs::candidates::Places;
use crate::os::inputs::dependency_run::Dependencies;
use crate::os::inputs::read::ReadFile;
use crate::os::inputs::tree::display;

impl Collector<'_> {
    /// What else headers of the names in the files could be.
    pub(super) fn header_names(&mut self, dependencies: &Dependencies, read: &[ReadFile]) -> Result<(), Why> {
        let cwd = self.unit.cwd.clone();
        let mut places = Places::new(self.cache, &cwd, &dependencies.search, &mut self.tree)?;
        self.probed(&mut places, read)?;
        self.included(&mut places, dependencies, read)?;
        self.embedded(dependencies, read)
    }

    /// Whatever `__has_include` could find is shipped.
    fn probed(&mut self, places: &mut Places<'_>, read: &[ReadFile]) -> Result<(), Why> {
        let mut probed = Probed::default();
        probed.by_macros.extend(self.defined.probed_by_macros.iter().cloned());
        for file in read {
            probed.names.extend(beside(&file.known.scan.probed, &file.spelled));
            probed.by_macros.extend(file.known.scan.probed_by_macros.iter().cloned());
        }
        self.probed_through_macros(read, &mut probed)?;
        for name in &probed.by_macros {
            // Who uses the macro is not known here.
            for file in read {
                probed.names.extend(beside(std::slice::from_ref(name), &file.spelled));
            }
        }
        for (directory, name) in &probed.names {
            self.ship_all(places, name, directory)?;
        }
        Ok(())
    }

    /// `#define HAS_INCLUDE(x) __has_include(x)` and the like: what such macros are applied to.
    fn probed_through_macros(&self, read: &[ReadFile], probed: &mut Probed) -> Result<(), Why> {
        let names = |file: &ReadFile| file.known.scan.has_include_macros.clone();
        let mut macros: BTreeSet<Box<[u8]>> = read.iter().flat_map(names).collect();
        macros.extend(self.defined.has_include_macros.iter().cloned());
        while !macros.is_empty() {
            if macros.len() > HAS_INCLUDE_MACROS_MAX {
                return Err(Reason::ComputedHasInclude.into());
            }
            let wanted = Macros::new(macros.clone());
            let uses = tokens::uses(&self.definitions, &wanted.names);
            probed.by_macros.extend(uses.probed_by_macros);
            macros.extend(uses.has_include_macros);
            for file in read {
                let uses = self.cache.uses(&file.physical, file.identity, &wanted)?;
                if uses.is_computed {
                    return Err(Why::new(Reason::ComputedHasInclude, display(&file.spelled)));
                }
                probed.names.extend(beside(&uses.probed, &file.spelled));
                probed.by_macros.extend(uses.probed_by_macros.iter().cloned());
                macros.extend(uses.has_include_macros.iter().cloned());
            }
            if macros.len() == wanted.names.len() {
                break;
            }
        }
        Ok(())
    }

    /// Whatever an `#include` could find besides what it does find becomes a tombstone.
    fn included(&mut self, places: &mut Places<'_>, dependencies: &Dependencies, read: &[ReadFile]) -> Result<(), Why> {
        let searched = searched_names(dependencies);
        let forced: Vec<HeaderName> = self
            .unit
            .command
            .include_files()
            .map(|name| HeaderName { quoted: true, name: name.as_slice().into() })
            .collect();
        let defined = self.defined.included.clone();
        // Options search from the working directory on.
        let mut names: BTreeSet<(&[u8], &HeaderName)> =
            searched.iter().chain(&forced).map(|name| (&b"."[..], name)).collect();
        for file in read {
            let directory = directory_of(&file.spelled);
            // A macro of the command line means a header beside whichever file uses it.
            let included = file.known.scan.included.iter().chain(&defined);
            names.extend(included.map(|name| (if name.quoted { directory } else { b"." }, name)));
        }
        for (directory, name) in names {
            // Nothing can stand in for an absolute name: if it is missing, the job says so.
            let is_searched = !name.name.starts_with(b"/");
            for walked in if is_searched { places.of(name, directory, &mut self.tree)? } else { Vec::new() } {
                self.keep_unshipped(&walked)?;
            }
            if self.unit.command.family == CompilerFamily::Gcc {
                self.precompiled(places, name, directory, b".gch")?;
            }
        }
        for name in &forced {
            self.precompiled(places, name, b".", b".gch")?;
            self.precompiled(places, name, b".", b".pch")?;
        }
        for path in self.unit.command.precompiled_headers() {
            self.ship_named(path)?;
        }
        self.precompiled_headers(read)
    }
}

/// Names that `__has_include` is applied to.
#[derive(Default)]
struct Probed {
    /// With the directory that `"…"` starts from.
    names: BTreeSet<(Bytes, HeaderName)>,
    by_macros: BTreeSet<HeaderName>,
}

/// What the files of the list must have been called if they were found by searching: covers names that macros put together.
fn searched_names(dependencies: &Dependencies) -> Vec<HeaderName> {
    let mut names = BTreeSet::new();
    for file in &dependencies.files {
        for directory in dependencies.search.quote.iter().chain(&dependencies.search.bracket) {
            let rest = file.strip_prefix(directory.as_slice()).and_then(|rest| rest.strip_prefix(b"/"));
            names.extend(rest.filter(|rest| !rest.is_empty()));
        }
    }
    names.into_iter().map(|name| HeaderName { quoted: false, name: name.into() }).collect()
}
