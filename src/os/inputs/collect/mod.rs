//! Puts a unit's inputs together.

mod headers;
mod precompiled;
mod unlisted;

use std::collections::{BTreeMap, HashMap, HashSet};
use std::fs;
use std::sync::Arc;

use crate::engine::compiler::tokens::{self, HeaderName, Scan};
use crate::engine::compiler::{CompilerFamily, Language};
use crate::model::digest::Digest;
use crate::model::job::{Bytes, Entry, FileTime, Manifest, Node};
use crate::model::limits::INPUTS_BYTES_MAX;
use crate::model::path::SandboxPath;
use crate::model::reason::{Reason, Why};
use crate::os::inputs::cache::{Identity, Known, ScanCache};
use crate::os::inputs::candidates::Places;
use crate::os::inputs::dependency_run::{self, Dependencies};
use crate::os::inputs::read::ReadFile;
use crate::os::inputs::tree::{End, Kept, Stat, Tree, Walked, display, os_path};
use crate::os::inputs::{Inputs, Predicted, Unit, is_below};

/// Finds and hashes everything a compile of `unit` could read: [`ask`], then [`complete`].
///
/// # Errors
/// The reason for which the unit stays local.
pub fn collect(unit: &Unit, cache: &ScanCache) -> Result<Inputs, Why> {
    complete(unit, &ask(unit)?, cache)
}

/// Runs the compiler's dependency output. Blocks.
///
/// # Errors
/// The reason for which the unit stays local.
pub fn ask(unit: &Unit) -> Result<Dependencies, Why> {
    refuse_special(&unit.cwd)?;
    refuse_streams(unit)?;
    dependency_run::run(unit)
}

/// Everything that a compile could read if the compiler says `dependencies`: the same for the same answer, as long as no file
/// changes. Blocks.
///
/// # Errors
/// The reason for which the unit stays local.
pub fn complete(unit: &Unit, dependencies: &Dependencies, cache: &ScanCache) -> Result<Inputs, Why> {
    let mut collector = Collector::new(unit, cache);
    collector.directories(dependencies)?;
    let read = collector.predicted(dependencies)?;
    collector.named_files()?;
    collector.refuse_what_cannot_travel(&read)?;
    collector.quoted_sources(&read)?;
    collector.assembled(dependencies, &read)?;
    if unit.command.language.is_preprocessed_by_compiler() {
        collector.header_names(dependencies, &read)?;
    }
    collector.finish()
}

struct Collector<'a> {
    unit: &'a Unit,
    cache: &'a ScanCache,
    tree: Tree,
    predicted: Predicted,
    system_directories: Vec<Bytes>,
    known: HashMap<Identity, Arc<Known>>,
    /// Macros of the command line, read as the file that they are to the compiler.
    definitions: Vec<u8>,
    defined: Scan,
    /// Physical paths.
    outputs: HashSet<Vec<u8>>,
    /// Size and seconds of modification of each shipped file: what gcc looks at to find the same header once more.
    looks: HashSet<(u64, i64)>,
    /// Name of the header, physical path and identity of what stands precompiled for it.
    precompiled: Vec<(Bytes, Vec<u8>, Identity)>,
    bytes: u64,
}

impl<'a> Collector<'a> {
    fn new(unit: &'a Unit, cache: &'a ScanCache) -> Self {
        let is_preprocessed = unit.command.language.is_preprocessed_by_compiler();
        let definitions = if is_preprocessed { unit.command.definitions() } else { Vec::new() };
        Self {
            unit,
            cache,
            tree: Tree::default(),
            predicted: Predicted::default(),
            system_directories: Vec::new(),
            known: HashMap::new(),
            defined: tokens::scan(&definitions),
            definitions,
            outputs: HashSet::new(),
            looks: HashSet::new(),
            precompiled: Vec::new(),
            bytes: 0,
        }
    }

    fn walk(&mut self, path: &[u8]) -> Result<Walked, Why> {
        self.tree.walk(&self.unit.cwd, path)
    }

    /// Directories that exist for the job even if nothing in them does.
    fn directories(&mut self, dependencies: &Dependencies) -> Result<(), Why> {
        let working = self.walk(&self.unit.cwd.clone())?;
        self.tree.keep_trail(&working);
        self.other_name_of(&working)?;
        self.temporary_directory()?;
        self.way_to_the_compiler()?;
        self.output_directories()?;
        self.search_directories(dependencies)
    }

    /// `PWD`: where it leads to the working directory, compilers write it into debug information as it stands, so it must lead
    /// there in the job as well.
    fn other_name_of(&mut self, working: &Walked) -> Result<(), Why> {
        let unit = self.unit;
        let Some((_, pwd)) = unit.env.iter().find(|(name, _)| name.as_slice() == b"PWD") else { return Ok(()) };
        if *pwd == unit.cwd || !pwd.starts_with(b"/") {
            return Ok(());
        }
        let unusable = || Why::new(Reason::UnusableInput, format!("PWD is {}", display(pwd)));
        if is_special(pwd) {
            // Leads elsewhere for whoever looks: `/proc/self/cwd`.
            return Err(unusable());
        }
        let walked = self.walk(pwd)?;
        let (End::Directory(named), End::Directory(here)) = (walked.end, working.end) else { return Ok(()) };
        if (named.device, named.inode) != (here.device, here.inode) {
            return Ok(());
        }
        // A spelling that no job could be started with (`…/.`), or a second mount of the directory.
        if SandboxPath::new(pwd.as_slice()).is_err() || walked.physical != working.physical {
            return Err(unusable());
        }
        self.tree.keep_trail(&walked);
        Ok(())
    }

    /// gcc puts the assembler's input there.
    fn temporary_directory(&mut self) -> Result<(), Why> {
        let walked = self.walk(b"/tmp")?;
        self.tree.keep_trail(&walked);
        Ok(())
    }

    /// A compiler that is called by a relative path, or by a detour, finds its parts from there. The compiler itself belongs to the
    /// toolchain.
    fn way_to_the_compiler(&mut self) -> Result<(), Why> {
        let program = self.unit.command.program();
        let slash = program.iter().rposition(|&byte| byte == b'/');
        if let Some(slash) = slash.filter(|_| SandboxPath::new(program).is_err()) {
            let walked = self.walk(&program[..=slash])?;
            self.tree.keep_trail(&walked);
        }
        Ok(())
    }

    fn output_directories(&mut self) -> Result<(), Why> {
        for output in self.unit.command.outputs() {
            let slash = output.iter().rposition(|&byte| byte == b'/');
            let (directory, name) = output.split_at(slash.map_or(0, |slash| slash + 1));
            let walked = self.walk(directory)?;
            if !matches!(walked.end, End::Directory(_)) {
                return Err(Why::new(Reason::UnusableInput, format!("no directory for {}", display(output))));
            }
            self.tree.keep_trail(&walked);
            let existing = self.walk(output)?;
            // Written through a symlink, or to a device: the local compiler knows how.
            let is_itself = existing.physical == joined(&walked.physical, name);
            if !is_itself || !matches!(existing.end, End::Missing | End::File(_)) {
                return Err(Why::new(Reason::SpecialOutput, display(output)));
            }
            self.outputs.insert(existing.physical);
        }
        Ok(())
    }

    fn search_directories(&mut self, dependencies: &Dependencies) -> Result<(), Why> {
        let mut by_inode: HashMap<(u64, u64), Vec<u8>> = HashMap::new();
        for directory in dependencies.search.directories() {
            let walked = self.walk(directory)?;
            let End::Directory(identity) = walked.end else { continue };
            refuse_special(&walked.physical)?;
            self.tree.keep_trail(&walked);
            let first = by_inode.entry((identity.device, identity.inode)).or_insert_with(|| walked.physical.clone());
            if *first != walked.physical {
                // The compiler takes both for one; in the job they would be two.
                return Err(Why::new(Reason::UnusableInput, format!("{} is mounted twice", display(directory))));
            }
        }
        self.system_directories = self.system_directories(dependencies)?;
        Ok(())
    }

    fn system_directories(&mut self, dependencies: &Dependencies) -> Result<Vec<Bytes>, Why> {
        let mut user = HashSet::new();
        for directory in self.unit.command.user_directories() {
            user.insert(self.walk(directory)?.physical);
        }
        for directory in &dependencies.search.system_duplicates {
            user.remove(&self.walk(directory)?.physical);
        }
        let mut system = Vec::new();
        for directory in &dependencies.search.bracket {
            let physical = self.walk(directory)?.physical;
            if !user.contains(&physical) {
                system.push(Bytes::from(physical));
            }
        }
        Ok(system)
    }

    /// The files of the compiler's own list.
    fn predicted(&mut self, dependencies: &Dependencies) -> Result<Vec<ReadFile>, Why> {
        let mut read = Vec::with_capacity(dependencies.files.len());
        let source = &self.unit.command.source;
        let source = (!dependencies.files.contains(source)).then_some(source);
        for spelled in dependencies.files.iter().chain(source) {
            let walked = self.walk(spelled)?;
            let stat = match walked.end {
                End::File(stat) => stat,
                End::Special => return Err(Why::new(Reason::SpecialInput, display(spelled))),
                End::Missing | End::Directory(_) => return Err(Why::new(Reason::UnusableInput, display(spelled))),
            };
            let known = self.ship(&walked, stat)?;
            let physical = Bytes::from(walked.physical);
            self.predicted.physical.insert(physical.clone());
            read.push(ReadFile { spelled: spelled.clone(), physical, identity: stat.identity, known });
        }
        self.predicted.spelled = dependencies.files.iter().cloned().collect();
        self.predicted.read.clone_from(&read);
        Ok(read)
    }

    fn refuse_what_cannot_travel(&self, read: &[ReadFile]) -> Result<(), Why> {
        let files = read.iter().map(|file| (&file.known.scan, display(&file.spelled)));
        for (scan, name) in files.chain([(&self.defined, "-D".to_owned())]) {
            if let Some(reason) = self.refusal(scan) {
                return Err(Why::new(reason, name));
            }
        }
        Ok(())
    }

    /// Why a unit with this in one of its files stays here.
    fn refusal(&self, scan: &Scan) -> Option<Reason> {
        let is_preprocessed = self.unit.command.language.is_preprocessed_by_compiler();
        if is_preprocessed && scan.has_computed_embed {
            Some(Reason::Embed)
        } else if is_preprocessed && scan.has_computed_has_include {
            Some(Reason::ComputedHasInclude)
        } else if is_preprocessed && self.tells_the_time(scan) {
            Some(Reason::TimeMacro)
        } else if self.obeys_directives_unasked(scan) {
            Some(Reason::UnusableInput)
        } else {
            None
        }
    }

    /// By the clock of whichever machine compiles.
    fn tells_the_time(&self, scan: &Scan) -> bool {
        let command = &self.unit.command;
        let is_fixed = || self.unit.env.iter().any(|(name, _)| name.as_slice() == b"SOURCE_DATE_EPOCH");
        let asks_clock =
            (scan.has_date && !command.redefines(b"__DATE__")) || (scan.has_time && !command.redefines(b"__TIME__"));
        // clang before 16 does not know the variable, and which clang this is is not known here.
        asks_clock && !(command.family == CompilerFamily::Gcc && is_fixed())
    }

    /// clang runs directives in sources that claim to be preprocessed.
    fn obeys_directives_unasked(&self, scan: &Scan) -> bool {
        let command = &self.unit.command;
        let is_output_of_preprocessor = matches!(command.language, Language::PreprocessedC | Language::PreprocessedCxx);
        command.family == CompilerFamily::Clang
            && is_output_of_preprocessor
            && !(scan.included.is_empty() && scan.probed.is_empty() && scan.embedded.is_empty())
    }

    /// Makes the job find what is there without its content.
    fn keep_unshipped(&mut self, walked: &Walked) -> Result<(), Why> {
        match walked.end {
            End::Missing | End::Directory(_) => self.tree.keep_trail(walked),
            // Some literal has the output's name; the job must be able to write it.
            End::File(_) if self.outputs.contains(&walked.physical) => {}
            End::File(_) if self.tree.has_file(&walked.physical) => self.tree.keep_trail(walked),
            // gcc may open it to see whether it is a header it has read already, and lists it only if not.
            End::File(stat) if self.looks.contains(&look(&stat)) => {
                self.ship(walked, stat)?;
            }
            End::File(_) => {
                refuse_special(&walked.physical)?;
                self.tree.keep_tombstone(walked);
            }
            End::Special => return Err(Why::new(Reason::SpecialInput, display(&walked.physical))),
        }
        Ok(())
    }

    /// Ships whatever files `name` could lead to, as included by a file in `directory`.
    fn ship_all(
        &mut self,
        places: &mut Places<'_>,
        name: &HeaderName,
        directory: &[u8],
    ) -> Result<Vec<Arc<Known>>, Why> {
        let mut shipped = Vec::new();
        for walked in places.of(name, directory, &mut self.tree)? {
            shipped.extend(self.ship_found(&walked)?);
        }
        Ok(shipped)
    }

    /// Ships what was found if it is a file.
    fn ship_found(&mut self, walked: &Walked) -> Result<Option<Arc<Known>>, Why> {
        match walked.end {
            End::File(stat) => self.ship(walked, stat).map(Some),
            _ => self.keep_unshipped(walked).map(|()| None),
        }
    }

    fn ship(&mut self, walked: &Walked, stat: Stat) -> Result<Arc<Known>, Why> {
        if self.tree.has_file(&walked.physical) {
            self.tree.keep_trail(walked);
            return self.cached(&walked.physical, stat);
        }
        refuse_special(&walked.physical)?;
        self.bytes = self.bytes.saturating_add(stat.identity.size);
        if self.bytes > INPUTS_BYTES_MAX {
            return Err(Why::new(Reason::TooLarge, format!("inputs of more than {INPUTS_BYTES_MAX} bytes")));
        }
        self.tree.keep_file(walked, stat);
        self.looks.insert(look(&stat));
        self.cached(&walked.physical, stat)
    }

    /// One answer for one file throughout a unit, even if the cache forgets.
    fn cached(&mut self, physical: &[u8], stat: Stat) -> Result<Arc<Known>, Why> {
        if let Some(known) = self.known.get(&stat.identity) {
            return Ok(Arc::clone(known));
        }
        let known = self.cache.file(physical, stat.identity)?;
        self.known.insert(stat.identity, Arc::clone(&known));
        Ok(known)
    }

    fn finish(self) -> Result<Inputs, Why> {
        let mut inputs = Inputs {
            manifest: Manifest::default(),
            cwd: self.unit.cwd.clone(),
            predicted: self.predicted,
            system_directories: self.system_directories,
            stamps: BTreeMap::new(),
            links: BTreeMap::new(),
            by_digest: BTreeMap::new(),
            provided: BTreeMap::new(),
        };
        let mut groups = LinkGroups::default();
        for (path, kept) in self.tree.into_kept()? {
            let node = match kept {
                Kept::Directory => Node::Directory,
                Kept::Link(target) => {
                    inputs.links.insert(Bytes::from(path.clone()), target.clone());
                    Node::Symlink { target }
                }
                Kept::Tombstone(stamp) => {
                    inputs.stamps.extend(stamp.map(|stamp| (Bytes::from(path.clone()), stamp)));
                    Node::Tombstone
                }
                Kept::File(stat) => {
                    let known = self.known.get(&stat.identity);
                    let digest = known.ok_or_else(|| Why::new(Reason::InputChanged, display(&path)))?.digest;
                    inputs.by_digest.insert(digest, Bytes::from(path.clone()));
                    inputs.stamps.insert(Bytes::from(path.clone()), stat.identity);
                    file_node(digest, &stat, groups.of(&stat.identity))
                }
            };
            let unusable = |error| Why::new(Reason::UnusableInput, format!("{}: {error}", display(&path)));
            inputs.manifest.entries.push(Entry { path: SandboxPath::new(path.as_slice()).map_err(unusable)?, node });
        }
        for (path, content) in &self.unit.provided {
            let digest = Digest::of(content);
            let unusable = |error| Why::new(Reason::UnusableInput, format!("{}: {error}", display(path)));
            let path = SandboxPath::new(path.as_slice()).map_err(unusable)?;
            inputs
                .manifest
                .entries
                .push(Entry { path, node: provided_node(digest, content.len(), groups.of_its_own()) });
            inputs.provided.insert(digest, content.clone());
        }
        inputs.manifest.entries.sort_by(|a, b| a.path.cmp(&b.path));
        Ok(inputs)
    }
}

fn file_node(digest: Digest, stat: &Stat, link_group: u32) -> Node {
    let Identity { size, mtime, .. } = stat.identity;
    Node::File { digest, size, mode: stat.mode, mtime, link_group }
}

fn provided_node(digest: Digest, size: usize, link_group: u32) -> Node {
    let mtime = FileTime { seconds: 0, nanoseconds: 0 };
    Node::File { digest, size: size as u64, mode: 0o444, mtime, link_group }
}

/// One number for each inode.
#[derive(Default)]
struct LinkGroups {
    known: HashMap<(u64, u64), u32>,
    n_others: u32,
}

impl LinkGroups {
    fn of(&mut self, identity: &Identity) -> u32 {
        let next = self.next();
        *self.known.entry((identity.device, identity.inode)).or_insert(next)
    }

    /// For a file that is none of this machine.
    fn of_its_own(&mut self) -> u32 {
        let next = self.next();
        self.n_others += 1;
        next
    }

    fn next(&self) -> u32 {
        u32::try_from(self.known.len()).unwrap_or(u32::MAX).saturating_add(self.n_others)
    }
}

fn joined(directory: &[u8], name: &[u8]) -> Vec<u8> {
    let slash: &[u8] = if directory == b"/" { b"" } else { b"/" };
    [directory, slash, name].concat()
}

fn look(stat: &Stat) -> (u64, i64) {
    (stat.identity.size, stat.identity.mtime.seconds)
}

/// Each name with the directory of its includer as spelled, which matters for `"…"` only.
fn beside<'a>(names: &'a [HeaderName], includer: &'a [u8]) -> impl Iterator<Item = (Bytes, HeaderName)> + 'a {
    let directory = directory_of(includer);
    names.iter().map(move |name| (Bytes::from(if name.quoted { directory } else { b"." }), name.clone()))
}

/// As the compiler prefixes names with it.
fn directory_of(path: &[u8]) -> &[u8] {
    match path.iter().rposition(|&byte| byte == b'/') {
        Some(0) => b"/",
        Some(slash) => &path[..slash],
        None => b".",
    }
}

/// Devices and kernel interfaces are not files that another machine could have.
fn refuse_special(physical: &[u8]) -> Result<(), Why> {
    match is_special(physical) {
        true => Err(Why::new(Reason::SpecialInput, display(physical))),
        false => Ok(()),
    }
}

/// What can be read only once is left to the compiler: the dependency run would take it away. `/dev/fd/63` is another file for
/// the caller than it is here.
fn refuse_streams(unit: &Unit) -> Result<(), Why> {
    let named = std::iter::once(&unit.command.source).chain(unit.command.include_files());
    for name in named {
        let found = fs::metadata(os_path(&unit.cwd).join(os_path(name)));
        if is_special(name) || found.is_ok_and(|metadata| !metadata.is_file()) {
            return Err(Why::new(Reason::SpecialInput, display(name)));
        }
    }
    Ok(())
}

fn is_special(path: &[u8]) -> bool {
    [&b"/dev"[..], b"/proc", b"/sys"].iter().any(|special| is_below(path, special))
}
