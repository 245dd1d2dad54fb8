//! From a wrapper's request to a unit that can be sent, or to the reason why it cannot.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io::Read;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustix::fs::{Mode, OFlags};
use tokio::sync::Semaphore;
use tokio::task::spawn_blocking;

use super::forecast::{Forecasts, Sourcing};
use super::native::Natives;
use super::pool::Pool;
use super::remote::Proofs;
use super::toolchains::Toolchains;
use crate::engine::compiler::{
    Classification, CompileCommand, CompilerFamily, Expansion, Files, Native, Stage, Terminal, classify, expand,
    native::SPECS_PATH, remote_environment,
};
use crate::engine::toolchain::selectors::selectors;
use crate::engine::wire::farm::Class;
use crate::engine::wire::local::{CompileRequest, Placing};
use crate::model::job::Bytes;
use crate::model::limits::ARGUMENT_BYTES_MAX;
use crate::model::path::SandboxPath;
use crate::model::reason::{Reason, Why};
use crate::os::inputs::{ScanCache, Unit as Wanted};
use crate::os::toolchain::{Package, Subject, Variables, normal_path};

/// What all units of a daemon share.
#[derive(Debug)]
pub(super) struct Workbench {
    pub(super) pool: Pool,
    pub(super) toolchains: Toolchains,
    pub(super) scans: Arc<ScanCache>,
    pub(super) forecasts: Forecasts,
    pub(super) proofs: Proofs,
    pub(super) natives: Natives,
    /// Dependency runs at a time: more than there are processors would only slow each other down.
    pub(super) runs: Semaphore,
    pub(super) architecture: String,
    pub(super) view: View,
    /// Compilers whose units the configuration keeps here.
    pub(super) no_dist: Vec<PathBuf>,
}

/// A unit that can be sent.
#[derive(Debug)]
pub(super) struct Unit {
    pub(super) compiler: PathBuf,
    pub(super) program: SandboxPath,
    /// For a builder: says what `native` is here.
    pub(super) command: CompileCommand,
    /// Asks the driver here which programs it would run.
    pub(super) probe_here: Vec<Bytes>,
    /// As the build wrote it, response files included.
    pub(super) argv: Vec<Bytes>,
    pub(super) cwd: PathBuf,
    pub(super) sandbox_cwd: SandboxPath,
    /// The allow-list's part of the caller's environment.
    pub(super) env: Vec<(Bytes, Bytes)>,
    pub(super) sourcing: Sourcing,
    pub(super) package: Arc<Package>,
    pub(super) class: Class,
    pub(super) terminal: Option<Terminal>,
    /// By the path that the job will write them at.
    pub(super) outputs: BTreeMap<SandboxPath, ExpectedOutput>,
    /// Where the compiler may put files whose names it makes up: physical path, and path as the command spells it.
    side_places: Vec<(SandboxPath, PathBuf)>,
}

/// A file that the command is going to write.
#[derive(Clone, Debug)]
pub(super) struct ExpectedOutput {
    /// Absolute, as the command spells it.
    pub(super) path: PathBuf,
    pub(super) role: OutputRole,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum OutputRole {
    /// The object or assembly file: must be there and not empty.
    Main,
    Depfile,
    /// Split debug information: there is none where the source has no code.
    SplitDebug,
    /// Whatever else options ask for. Which of it the compiler writes depends on the source.
    Side,
}

/// What becomes of a request before any machine is asked.
#[derive(Debug)]
pub(super) enum Prepared {
    StepAside(Why),
    Local { why: Why, source: PathBuf, output: PathBuf },
    Remote(Box<Unit>),
}

/// What this daemon sees as its file system.
#[derive(Debug)]
pub(super) struct View {
    root: (u64, u64),
    mount_namespace: u64,
}

impl View {
    pub(super) fn ours() -> std::io::Result<Self> {
        use std::os::unix::fs::MetadataExt;
        let root = std::fs::metadata("/")?;
        let namespace = std::fs::metadata("/proc/self/ns/mnt")?;
        Ok(Self { root: (root.dev(), root.ino()), mount_namespace: namespace.ino() })
    }

    /// Whether a wrapper with these directories sees the same files as this daemon.
    fn is_shared(&self, fds: &[OwnedFd], cwd: &Path, mount_namespace: u64) -> bool {
        let identity = |fd: &OwnedFd| rustix::fs::fstat(fd.as_fd()).ok().map(|stat| (stat.st_dev, stat.st_ino));
        let named = |path: &Path| rustix::fs::stat(path).ok().map(|stat| (stat.st_dev, stat.st_ino));
        let [root, directory] = fds else { return false };
        mount_namespace == self.mount_namespace
            && identity(root) == Some(self.root)
            && identity(directory).is_some()
            && identity(directory) == named(cwd)
    }
}

impl Workbench {
    /// Decides by the command alone, then gathers what a builder would need. `farm` tells why nothing could be sent anyway.
    pub(super) async fn prepare(
        self: &Arc<Self>,
        mut request: CompileRequest,
        fds: Vec<OwnedFd>,
        farm: Option<Why>,
    ) -> Prepared {
        let compiler = Path::new(OsStr::from_bytes(&request.compiler));
        let cwd = PathBuf::from(OsStr::from_bytes(&request.cwd));
        if compiler.file_name().is_some_and(|name| name.as_bytes().starts_with(b"rustc")) {
            return Prepared::StepAside(Reason::Rustc.into());
        }
        let compiler = match normal_path(compiler) {
            Ok(compiler) => compiler,
            Err(error) => return Prepared::StepAside(Why::new(Reason::UnknownCompiler, error.to_string())),
        };
        let identity = match self.toolchains.identify(&compiler).await {
            Ok(identity) => identity,
            Err(detail) => return Prepared::StepAside(Why::new(Reason::UnknownCompiler, detail)),
        };
        // Drivers find their parts from the name they are called by: through PATH, which a job has none of, or from a path, as
        // which it shows in names of headers.
        if let Some(name) = request.argv.first_mut().filter(|name| !name.contains(&b'/')) {
            *name = Bytes::from(compiler.as_os_str().as_bytes());
        }
        let (expanded, response_files) = match expanded(&request.argv, &cwd).await {
            Ok(expanded) => expanded,
            Err(why) => return Prepared::StepAside(why),
        };
        let command = match classify(identity.family, &expanded, &request.env) {
            Classification::Compile(command) => *command,
            Classification::StepAside(why) => return Prepared::StepAside(why),
            Classification::Local(why) => {
                let (source, output) = guess_names(&expanded, &cwd);
                return Prepared::Local { why, source, output };
            }
        };
        let (source, output) = names(&command, &cwd);
        let local = |why| Prepared::Local { why, source: source.clone(), output: output.clone() };
        if self.no_dist.contains(&compiler) {
            return local(Why::new(Reason::NoDist, compiler.display().to_string()));
        }
        if !self.view.is_shared(&fds, &cwd, request.mount_namespace) {
            return local(Reason::OtherView.into());
        }
        if let Some(why) = farm {
            return local(why);
        }
        match self.gather(request, compiler, command, cwd, response_files).await {
            Ok(unit) => Prepared::Remote(Box::new(unit)),
            Err(why) => local(why),
        }
    }

    async fn gather(
        self: &Arc<Self>,
        request: CompileRequest,
        compiler: PathBuf,
        command: CompileCommand,
        cwd: PathBuf,
        response_files: Vec<Bytes>,
    ) -> Result<Unit, Why> {
        let terminal = Terminal::of(&request.env, request.stderr_columns);
        if let Some(option) = command.would_record(terminal) {
            let detail = format!("{} with words that are not the build's", String::from_utf8_lossy(option));
            return Err(Why::new(Reason::LocalOption, detail));
        }
        let env = remote_environment(&request.env, terminal)?;
        let outputs = expected_outputs(&command, &cwd)?;
        let side_places = side_places(&command, &cwd);
        let variables = request.env.iter().map(|(name, value)| (to_os(name), to_os(value)));
        let subject = Subject {
            compiler: compiler.clone(),
            selectors: selectors(&command.class_words(), &cwd),
            variables: Variables::of(variables),
        };
        let package =
            self.toolchains.package(&subject).await.map_err(|detail| Why::new(Reason::ToolchainUnpackable, detail))?;
        let unusable = |path: &Path| Why::new(Reason::UnusableInput, path.display().to_string());
        let program = SandboxPath::from_path(&compiler).map_err(|_| unusable(&compiler))?;
        let sandbox_cwd = SandboxPath::from_path(&cwd).map_err(|_| unusable(&cwd))?;
        let mut wanted = Wanted {
            compiler: compiler.clone(),
            command: command.clone(),
            cwd: request.cwd.clone(),
            env: request.env,
            response_files,
            provided: BTreeMap::new(),
        };
        let class = Class { toolchain: package.id, architecture: self.architecture.clone(), level: package.level };
        let (mut command, mut argv, mut probe_here) = (command, request.argv, None);
        if command.is_native() {
            let native = self.natives.resolve(package.id, &wanted).await?;
            if let Native::Specs(specs) = native.as_ref() {
                wanted.provided.insert(Bytes::from(SPECS_PATH), specs.clone());
                probe_here = Some(command.probe());
            }
            command = command.resolved(&native);
            argv = command.words();
        }
        let probe_here = probe_here.unwrap_or_else(|| command.probe());
        let sourcing = self.source(wanted).await?;
        Ok(Unit {
            compiler,
            program,
            command,
            probe_here,
            argv,
            cwd,
            sandbox_cwd,
            env,
            sourcing,
            package,
            class,
            terminal,
            outputs,
            side_places,
        })
    }
}

impl Unit {
    /// How the compiler would put the output at `path` where a file is already.
    pub(super) fn placing(&self, path: &Path) -> Placing {
        let role = self.outputs.values().find(|output| output.path == path).map(|output| output.role);
        placing(&self.command, role.unwrap_or(OutputRole::Side))
    }

    /// A file that no option names, if the compiler may have made it all the same.
    pub(super) fn side_file(&self, written: &SandboxPath) -> Option<ExpectedOutput> {
        let slash = written.as_bytes().iter().rposition(|&byte| byte == b'/')?;
        let (directory, name) = (&written.as_bytes()[..slash], &written.as_bytes()[slash + 1..]);
        let (_, spelled) = self.side_places.iter().find(|(physical, _)| physical.as_bytes() == directory)?;
        let path = spelled.join(OsStr::from_bytes(name));
        self.command.may_name_side_file(name).then_some(ExpectedOutput { path, role: OutputRole::Side })
    }

    /// Source and main output, absolute, for people.
    pub(super) fn names(&self) -> (PathBuf, PathBuf) {
        names(&self.command, &self.cwd)
    }
}

fn placing(command: &CompileCommand, role: OutputRole) -> Placing {
    match (command.family, role) {
        (_, OutputRole::Depfile | OutputRole::Side) => Placing::InPlace,
        (CompilerFamily::Gcc, OutputRole::Main) if command.stage == Stage::Assembly => Placing::InPlace,
        (CompilerFamily::Clang, OutputRole::Main) if command.stage == Stage::Assembly => Placing::Renamed,
        // The assembler, or objcopy after it.
        _ if command.runs_assembler() => Placing::Removed,
        (_, OutputRole::SplitDebug) => Placing::InPlace,
        (_, OutputRole::Main) if command.language.is_assembler() => Placing::InPlace,
        (_, OutputRole::Main) => Placing::Renamed,
    }
}

fn to_os(bytes: &Bytes) -> OsString {
    OsStr::from_bytes(bytes).to_owned()
}

fn names(command: &CompileCommand, cwd: &Path) -> (PathBuf, PathBuf) {
    (cwd.join(OsStr::from_bytes(&command.source)), cwd.join(OsStr::from_bytes(&command.output)))
}

/// Where a command that was not understood to the end probably reads and writes; for `farccctl why` only.
fn guess_names(words: &[Bytes], cwd: &Path) -> (PathBuf, PathBuf) {
    const SOURCES: &[&str] = &["c", "cc", "cpp", "cxx", "c++", "C", "i", "ii", "s", "S", "sx", "m", "mm"];
    let path = |word: &Bytes| Path::new(OsStr::from_bytes(word)).to_owned();
    let is_source = |word: &&Bytes| {
        !word.starts_with(b"-")
            && path(word).extension().and_then(OsStr::to_str).is_some_and(|extension| SOURCES.contains(&extension))
    };
    let output = words.windows(2).find(|pair| *pair[0] == *b"-o").map(|pair| cwd.join(path(&pair[1])));
    let source = words.iter().skip(1).find(is_source).map(|word| cwd.join(path(word)));
    (source.unwrap_or_default(), output.unwrap_or_default())
}

/// What the command will write, by the physical path that a job writes it at.
fn expected_outputs(command: &CompileCommand, cwd: &Path) -> Result<BTreeMap<SandboxPath, ExpectedOutput>, Why> {
    let mut outputs = BTreeMap::new();
    let dependencies = command.dependencies.as_ref().map(|dependencies| &dependencies.path);
    for written in command.outputs() {
        let path = cwd.join(OsStr::from_bytes(written));
        let unusable = |_| Why::new(Reason::SpecialOutput, path.display().to_string());
        let parent = path.parent().unwrap_or(Path::new("/")).canonicalize().map_err(unusable)?;
        let name = path.file_name().ok_or_else(|| Why::new(Reason::SpecialOutput, path.display().to_string()))?;
        let physical = SandboxPath::from_path(&parent.join(name))
            .map_err(|error| Why::new(Reason::SpecialOutput, format!("{}: {error}", path.display())))?;
        let role = match written {
            _ if *written == command.output => OutputRole::Main,
            _ if Some(written) == dependencies => OutputRole::Depfile,
            _ if Some(written) == command.split_debug.as_ref() => OutputRole::SplitDebug,
            _ => OutputRole::Side,
        };
        outputs.insert(physical, ExpectedOutput { path: path.clone(), role });
    }
    Ok(outputs)
}

/// Directories that files may appear in whose names the compiler makes up.
fn side_places(command: &CompileCommand, cwd: &Path) -> Vec<(SandboxPath, PathBuf)> {
    if !command.has_side_files {
        return Vec::new();
    }
    let output = cwd.join(OsStr::from_bytes(&command.output));
    let beside = output.parent().unwrap_or(cwd).to_owned();
    let physical = |place: PathBuf| Some((SandboxPath::from_path(&place.canonicalize().ok()?).ok()?, place));
    [beside, cwd.to_owned()].into_iter().filter_map(physical).collect()
}

/// The words that `argv` comes to, and the response files in it.
async fn expanded(argv: &[Bytes], cwd: &Path) -> Result<(Vec<Bytes>, Vec<Bytes>), Why> {
    if !argv.iter().any(|word| word.starts_with(b"@")) {
        return Ok((argv.to_vec(), Vec::new()));
    }
    let (argv, cwd) = (argv.to_vec(), cwd.to_owned());
    let read = spawn_blocking(move || expand_response_files(&argv, &cwd)).await;
    read.map_err(|error| Why::new(Reason::UnusableInput, error.to_string()))?
}

/// Reads the response files that `argv` names, as the compiler would; returns the words and the files.
fn expand_response_files(argv: &[Bytes], cwd: &Path) -> Result<(Vec<Bytes>, Vec<Bytes>), Why> {
    let mut files = Files::default();
    loop {
        match expand(argv, &files)? {
            Expansion::Done(words) => {
                let read = files.into_iter().filter_map(|(path, content)| content.map(|_| path));
                return Ok((words, read.collect()));
            }
            Expansion::Needs(path) => {
                let content = response_file(&cwd.join(OsStr::from_bytes(&path)))?;
                files.insert(path, content);
            }
        }
    }
}

/// The content of one; none if it cannot be read: the compiler takes the word as it is then. A pipe is not touched, since what is
/// read here would be lost to the compiler, and `/dev/fd/63` is another file for the caller than it is here.
fn response_file(path: &Path) -> Result<Option<Bytes>, Why> {
    let unusable = |reason| Err(Why::new(reason, path.display().to_string()));
    let Ok(metadata) = path.metadata() else { return Ok(None) };
    let is_special = ["/dev", "/proc", "/sys"].iter().any(|special| path.starts_with(special));
    if is_special || !metadata.is_file() {
        return unusable(Reason::SpecialInput);
    }
    // It may have become a pipe meanwhile.
    let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let Ok(file) = rustix::fs::open(path, flags, Mode::empty()) else { return Ok(None) };
    let mut content = Vec::new();
    match File::from(file).take(ARGUMENT_BYTES_MAX as u64 + 1).read_to_end(&mut content) {
        Ok(bytes) if bytes > ARGUMENT_BYTES_MAX => unusable(Reason::TooLarge),
        Ok(_) => Ok(Some(Bytes::from(content))),
        Err(_) => Ok(None),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_are_put_as_the_compiler_puts_them() {
        use OutputRole::{Depfile, Main, SplitDebug};
        let check = |family, line: &str, expected: [Placing; 3]| {
            let argv: Vec<Bytes> = line.split(' ').map(|word| Bytes::from(word.as_bytes())).collect();
            let Classification::Compile(command) = classify(family, &argv, &[]) else { panic!("{line}") };
            assert_eq!([Main, Depfile, SplitDebug].map(|role| placing(&command, role)), expected, "{line}");
        };
        use CompilerFamily::{Clang, Gcc};
        use Placing::{InPlace, Removed, Renamed};
        check(Gcc, "gcc -c a.c", [Removed, InPlace, Removed]);
        check(Gcc, "gcc -S a.c", [InPlace, InPlace, Removed]);
        check(Clang, "clang -c a.c", [Renamed, InPlace, InPlace]);
        check(Clang, "clang -S a.c", [Renamed, InPlace, InPlace]);
        check(Clang, "clang -c a.S", [InPlace, InPlace, InPlace]);
        check(Clang, "clang -fno-integrated-as -c a.S", [Removed, InPlace, Removed]);
        check(Clang, "clang -fno-integrated-as -fintegrated-as -c a.c", [Renamed, InPlace, InPlace]);
    }

    #[test]
    fn response_files_are_files() {
        let directory = tempfile::tempdir().unwrap();
        let at = |name: &str| directory.path().join(name);
        std::fs::write(at("words"), "-c a.c").unwrap();
        std::fs::File::create(at("endless")).unwrap().set_len(ARGUMENT_BYTES_MAX as u64 + 1).unwrap();
        rustix::fs::mkfifoat(rustix::fs::CWD, at("pipe"), Mode::RUSR).unwrap();
        let expand = |word: &str| {
            let argv = [Bytes::from(*b"gcc"), Bytes::from(word.as_bytes())];
            expand_response_files(&argv, directory.path()).map(|(words, _)| words.len()).map_err(|why| why.reason)
        };
        assert_eq!(expand("@words"), Ok(3));
        assert_eq!(expand("@none"), Ok(2));
        assert_eq!(expand("@pipe"), Err(Reason::SpecialInput));
        assert_eq!(expand("@/dev/fd/0"), Err(Reason::SpecialInput));
        assert_eq!(expand("@endless"), Err(Reason::TooLarge));
    }
}
