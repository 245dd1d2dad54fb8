//! Compilers of this machine: what they are, and their packages. Each is asked and packaged once, however many units wait.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::OnceCell;
use tokio::task::spawn_blocking;

use crate::engine::config::PathOverride;
use crate::engine::toolchain::driver::Identity;
use crate::model::causes::with_causes;
use crate::model::limits::TOOLCHAINS_KNOWN_MAX;
use crate::model::report::{PackageReport, ToolchainReport};
use crate::os::toolchain::{self, Package, Replacement, Subject, Unpackable};

/// One outcome for all that wait for it.
type Shared<T> = Arc<OnceCell<Result<Arc<T>, Mishap>>>;

/// A package is compared with the files it was made of at most this often; an upgrade in the middle of a build is noticed
/// by then, and by the digests when the archive is written.
const CURRENT_EVERY: Duration = Duration::from_secs(1);

/// How long a failure is believed that no change of a file would end: long enough for a build not to ask once for each unit,
/// short enough that whoever has mended what was wrong need not know that there is a daemon.
const FAILURES_KEPT: Duration = Duration::from_secs(30);

#[derive(Debug, Default)]
pub(super) struct Toolchains {
    identities: Mutex<BTreeMap<FileStamp, Shared<Identity>>>,
    packages: Mutex<BTreeMap<Subject, Packaged>>,
    replacements: BTreeMap<PathBuf, Replacement>,
    patience: Patience,
}

/// How long things are believed without a look.
#[derive(Clone, Copy, Debug)]
struct Patience {
    packages: Duration,
    failures: Duration,
}

impl Default for Patience {
    fn default() -> Self {
        Self { packages: CURRENT_EVERY, failures: FAILURES_KEPT }
    }
}

#[derive(Debug, Clone)]
struct Packaged {
    package: Shared<Package>,
    checked: Arc<Mutex<Instant>>,
}

/// Why there is none, with all causes, and since when.
#[derive(Debug, Clone)]
struct Mishap {
    detail: String,
    since: Instant,
    /// What the failure depends on, where it is a matter of files.
    settled: Option<Arc<Unpackable>>,
}

impl Mishap {
    fn of(error: &dyn std::error::Error) -> Self {
        Self { detail: with_causes(error), since: Instant::now(), settled: None }
    }

    fn of_package(unpackable: Unpackable) -> Self {
        let mishap = Self::of(&unpackable);
        Self { settled: Some(Arc::new(unpackable)).filter(|unpackable| unpackable.is_settled()), ..mishap }
    }

    /// Whether trying again would only show the same.
    fn stands(&self, patience: Patience) -> bool {
        match &self.settled {
            Some(unpackable) => unpackable.is_current(),
            None => self.since.elapsed() < patience.failures,
        }
    }
}

/// A file that is the same as long as this is.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
struct FileStamp {
    path: PathBuf,
    device: u64,
    inode: u64,
    size: u64,
    changed: (i64, i64),
}

impl FileStamp {
    fn of(path: &Path) -> std::io::Result<Self> {
        use std::os::unix::fs::MetadataExt;
        let stat = std::fs::metadata(path)?;
        Ok(Self {
            path: path.to_owned(),
            device: stat.dev(),
            inode: stat.ino(),
            size: stat.size(),
            changed: (stat.ctime(), stat.ctime_nsec()),
        })
    }
}

impl Toolchains {
    pub(super) fn new(path_override: Vec<PathOverride>) -> Self {
        let replacements = path_override.into_iter().map(|PathOverride { compiler, archive, archive_compiler }| {
            (compiler, Replacement { archive, program: archive_compiler })
        });
        Self { replacements: replacements.collect(), ..Self::default() }
    }

    /// What kind of compiler `compiler` is.
    pub(super) async fn identify(&self, compiler: &Path) -> Result<Arc<Identity>, String> {
        let stamp = FileStamp::of(compiler).map_err(|error| error.to_string())?;
        loop {
            let cell = {
                let mut identities = lock(&self.identities);
                make_room(&mut identities, |cell| cell.initialized());
                identities.entry(stamp.clone()).or_default().clone()
            };
            let is_old = cell.initialized();
            let compiler = compiler.to_owned();
            let ask = move || toolchain::identify(&compiler).map(Arc::new).map_err(|error| Mishap::of(&error));
            match outcome(&cell, ask).await {
                Err(mishap) if is_old && !mishap.stands(self.patience) => {
                    let mut identities = lock(&self.identities);
                    if identities.get(&stamp).is_some_and(|now| Arc::ptr_eq(now, &cell)) {
                        identities.remove(&stamp);
                    }
                }
                known => return known.map_err(|mishap| mishap.detail),
            }
        }
    }

    /// The package of the compiler that `subject` describes.
    pub(super) async fn package(&self, subject: &Subject) -> Result<Arc<Package>, String> {
        loop {
            let known = {
                let mut packages = lock(&self.packages);
                make_room(&mut packages, |packaged| packaged.package.initialized());
                packages.entry(subject.clone()).or_insert_with(Packaged::new).clone()
            };
            let is_old = known.package.initialized();
            let (wanted, replacement) = (subject.clone(), self.replacements.get(&subject.compiler).cloned());
            let pack = move || pack(&wanted, replacement.as_ref());
            let outcome = outcome(&known.package, pack).await;
            let stands = || match &outcome {
                Ok(package) => package.is_current(),
                Err(mishap) => mishap.stands(self.patience),
            };
            if !is_old || known.is_fresh(self.patience.packages) || stands() {
                return outcome.map_err(|mishap| mishap.detail);
            }
            let mut packages = lock(&self.packages);
            if packages.get(subject).is_some_and(|now| Arc::ptr_eq(&now.package, &known.package)) {
                packages.remove(subject);
            }
        }
    }

    /// Every compiler that was packaged, or could not be, for people.
    pub(super) fn report(&self) -> Vec<ToolchainReport> {
        let text = |text: &OsStr| text.to_string_lossy().into_owned();
        let packages = lock(&self.packages);
        let report = |(subject, packaged): (&Subject, &Packaged)| ToolchainReport {
            compiler: text(subject.compiler.as_os_str()),
            options: subject.selectors.iter().map(|option| text(option)).collect(),
            variables: subject.variables.iter().map(|(name, value)| (text(name), text(value))).collect(),
            package: match packaged.package.get() {
                None => PackageReport::Running,
                Some(Err(mishap)) => PackageReport::Failed { why: mishap.detail.clone() },
                Some(Ok(package)) => PackageReport::Packaged(package.summary()),
            },
        };
        packages.iter().map(report).collect()
    }
}

fn pack(subject: &Subject, replacement: Option<&Replacement>) -> Result<Arc<Package>, Mishap> {
    let packed = match replacement {
        None => toolchain::package(subject),
        Some(replacement) => toolchain::package_from(replacement, subject),
    };
    packed.map(Arc::new).map_err(Mishap::of_package)
}

/// What is in `cell`; `find` puts it there where nobody has yet.
async fn outcome<T: Send + Sync + 'static>(
    cell: &Shared<T>,
    find: impl FnOnce() -> Result<Arc<T>, Mishap> + Send + 'static,
) -> Result<Arc<T>, Mishap> {
    let found = || async { spawn_blocking(find).await.unwrap_or_else(|error| Err(Mishap::of(&error))) };
    cell.get_or_init(found).await.clone()
}

/// Forgets what nobody waits for, where there is too much of it: whoever needs it finds it again.
fn make_room<K: Ord, V>(known: &mut BTreeMap<K, V>, is_idle: impl Fn(&V) -> bool) {
    if known.len() >= TOOLCHAINS_KNOWN_MAX {
        known.retain(|_, value| !is_idle(value));
    }
}

impl Packaged {
    fn new() -> Self {
        Self { package: Shared::default(), checked: Arc::new(Mutex::new(Instant::now())) }
    }

    /// True where it was looked at a moment ago; otherwise that is to be done now, by whoever asked.
    fn is_fresh(&self, kept: Duration) -> bool {
        let mut checked = lock(&self.checked);
        if checked.elapsed() < kept {
            return true;
        }
        *checked = Instant::now();
        false
    }
}

/// Leaf data that every writer leaves whole: a panic elsewhere is no reason to give it up.
fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{PermissionsExt, symlink};

    use super::*;
    use crate::os::toolchain::Variables;

    fn wait<T>(work: impl Future<Output = T>) -> T {
        tokio::runtime::Runtime::new().unwrap().block_on(work)
    }

    fn subject(compiler: &Path) -> Subject {
        let variables = Variables::of([("PATH", "/usr/bin:/bin")]);
        Subject { compiler: compiler.to_owned(), selectors: Vec::new(), variables }
    }

    fn patient(packages: Duration, failures: Duration) -> Toolchains {
        Toolchains { patience: Patience { packages, failures }, ..Toolchains::default() }
    }

    fn script(path: &Path, text: &str) {
        std::fs::write(path, format!("#!/bin/sh\n{text}\n")).unwrap();
        std::fs::set_permissions(path, PermissionsExt::from_mode(0o755)).unwrap();
    }

    /// The script stays what it is; what it starts is mended.
    #[test]
    fn failures_of_the_moment_are_believed_for_a_while() {
        for (failures_kept, is_mended) in [(FAILURES_KEPT, false), (Duration::ZERO, true)] {
            let directory = tempfile::tempdir().unwrap();
            let (compiler, real) = (directory.path().join("cc"), directory.path().join("real-gcc"));
            script(&compiler, &format!("exec {} \"$@\"", real.display()));
            let toolchains = patient(CURRENT_EVERY, failures_kept);
            assert!(wait(toolchains.identify(&compiler)).is_err());
            symlink("/usr/bin/gcc", &real).unwrap();
            assert_eq!(wait(toolchains.identify(&compiler)).is_ok(), is_mended);
        }
    }

    #[test]
    fn what_cannot_be_packaged_stays_so_until_a_file_changes() {
        let directory = tempfile::tempdir().unwrap();
        let compiler = directory.path().join("gcc");
        let toolchains = patient(Duration::ZERO, Duration::ZERO);
        let package = || wait(toolchains.package(&subject(&compiler)));
        let attempt = || lock(&toolchains.packages)[&subject(&compiler)].package.clone();
        assert!(package().unwrap_err().contains("not there"));
        let first = attempt();
        assert!(package().is_err() && Arc::ptr_eq(&first, &attempt()), "it was tried again");

        script(&compiler, "exec /usr/bin/gcc \"$@\"");
        assert!(package().unwrap_err().contains("is a script"));
        let second = attempt();
        assert!(package().is_err() && Arc::ptr_eq(&second, &attempt()), "it was tried again");
        let [ToolchainReport { package: PackageReport::Failed { why }, .. }] = &toolchains.report()[..] else {
            panic!("{:?}", toolchains.report())
        };
        assert_eq!(*why, format!("{} is a script, not a compiler that could run elsewhere", compiler.display()));

        std::fs::remove_file(&compiler).unwrap();
        symlink("/usr/bin/gcc", &compiler).unwrap();
        let packaged = package().unwrap();
        let report = toolchains.report().remove(0);
        assert_eq!(report.variables["PATH"], "/usr/bin:/bin");
        let PackageReport::Packaged(summary) = report.package else { panic!("{:?}", report.package) };
        assert_eq!(summary.id, packaged.id.to_string());
        assert!(summary.compiler.starts_with("gcc ") && summary.files > 5 && summary.bytes > 1 << 20, "{summary:?}");
    }

    #[test]
    fn what_is_known_is_bounded_and_nobody_loses_what_they_wait_for() {
        let mut known: BTreeMap<usize, bool> = (0..TOOLCHAINS_KNOWN_MAX).map(|n| (n, n != 7)).collect();
        make_room(&mut known, |is_idle| *is_idle);
        assert_eq!(known.keys().collect::<Vec<_>>(), [&7]);
        make_room(&mut known, |is_idle| *is_idle);
        assert_eq!(known.len(), 1);
    }

    #[test]
    fn failures_name_their_cause() {
        let directory = tempfile::tempdir().unwrap();
        let program = directory.path().join("gcc");
        std::fs::write(&program, "\x7fELF, or not").unwrap();
        let said = wait(Toolchains::default().identify(&program)).unwrap_err();
        assert!(said.contains("cannot run") && said.contains("Permission denied"), "{said}");
    }
}
