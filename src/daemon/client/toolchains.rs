//! Compilers of this machine: what they are, and their packages. Each is asked and packaged once, however many units wait.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::OnceCell;
use tokio::task::spawn_blocking;

use crate::engine::toolchain::driver::Identity;
use crate::os::toolchain::{self, Package, Subject};

type Shared<T> = Arc<OnceCell<Result<Arc<T>, String>>>;

/// A package is compared with the files it was made of at most this often; an upgrade in the middle of a build is noticed
/// by then, and by the digests when the archive is written.
const CURRENT_EVERY: Duration = Duration::from_secs(1);

#[derive(Debug, Default)]
pub(super) struct Toolchains {
    identities: Mutex<BTreeMap<FileStamp, Shared<Identity>>>,
    packages: Mutex<BTreeMap<Subject, Packaged>>,
}

#[derive(Debug, Clone)]
struct Packaged {
    package: Shared<Package>,
    checked: Arc<Mutex<Instant>>,
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
    /// What kind of compiler `compiler` is.
    pub(super) async fn identify(&self, compiler: &Path) -> Result<Arc<Identity>, String> {
        let stamp = FileStamp::of(compiler).map_err(|error| error.to_string())?;
        let cell = lock(&self.identities).entry(stamp).or_default().clone();
        let compiler = compiler.to_owned();
        cell.get_or_init(|| async {
            spawn_blocking(move || toolchain::identify(&compiler).map(Arc::new).map_err(|error| error.to_string()))
                .await
                .unwrap_or_else(|error| Err(error.to_string()))
        })
        .await
        .clone()
    }

    /// The package of the compiler that `subject` describes. A failure is remembered until the daemon ends.
    pub(super) async fn package(&self, subject: &Subject) -> Result<Arc<Package>, String> {
        loop {
            let known = lock(&self.packages)
                .entry(subject.clone())
                .or_insert_with(|| Packaged {
                    package: Shared::default(),
                    checked: Arc::new(Mutex::new(Instant::now())),
                })
                .clone();
            let wanted = subject.clone();
            let pack = move || toolchain::package(&wanted).map(Arc::new).map_err(|error| error.to_string());
            let outcome = known
                .package
                .get_or_init(|| async { spawn_blocking(pack).await.unwrap_or_else(|error| Err(error.to_string())) })
                .await
                .clone();
            if known.is_fresh() || outcome.as_ref().map_or(true, |package| package.is_current()) {
                return outcome;
            }
            let mut packages = lock(&self.packages);
            if packages.get(subject).is_some_and(|now| Arc::ptr_eq(&now.package, &known.package)) {
                packages.remove(subject);
            }
        }
    }
}

impl Packaged {
    /// True where it was looked at a moment ago; otherwise that is to be done now, by whoever asked.
    fn is_fresh(&self) -> bool {
        let mut checked = lock(&self.checked);
        if checked.elapsed() < CURRENT_EVERY {
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
