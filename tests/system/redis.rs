//! Builds redis on the client's machine, with farcc or without, and compares what comes out.

use std::collections::BTreeMap;
use std::process::ExitStatus;
use std::sync::OnceLock;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crate::farm::CLIENT;

/// What `make` gets to do.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Part {
    /// Everything, jemalloc with its configure script included.
    Whole,
    /// The server alone, on libraries that were compiled before, without optimization and debug information: for builds that are made
    /// many times. What makes a build take now longer and now shorter by itself is less of it.
    Server,
}

/// Path of an object below the tree, to the digest of its content.
pub(crate) type Objects = BTreeMap<String, String>;

/// The time of build goes into `release.h`.
const ENVIRONMENT: &str = "SOURCE_DATE_EPOCH=1700000000";

/// A build that has been started and not waited for.
#[derive(Debug)]
pub(crate) struct Running {
    /// Waits for it, so that it takes as long as it takes whatever else is waited for.
    make: JoinHandle<(ExitStatus, Duration)>,
}

/// Starts a build from fresh sources, always at the same path. `variables` are shell words before `make`.
pub(crate) fn start(part: Part, compiler: &str, variables: &str) -> Running {
    CLIENT.dev(&format!("rm -rf ~/redis && cp -a {} ~/redis", tree(part))).ok();
    // Redis compiles with `-flto` unless told otherwise, and two of such objects always differ: gcc puts a random number in each.
    let options = match part {
        Part::Whole => "OPTIMIZATION=-O2",
        Part::Server => SERVER_OPTIONS,
    };
    let script =
        format!("cd ~/redis && {ENVIRONMENT} {variables} make V=1 {options} CC='{compiler}' -j8 >../make.log 2>&1");
    let started = Instant::now();
    let mut make = CLIENT.start_dev(&script);
    Running { make: std::thread::spawn(move || (make.wait().expect("started"), started.elapsed())) }
}

/// How `make` is told of [`Part::Server`].
const SERVER_OPTIONS: &str = "-C src redis-server OPTIMIZATION=-O0 DEBUG= MALLOC=libc";

/// Where the sources are to be had as the build begins with them.
fn tree(part: Part) -> &'static str {
    static WITH_LIBRARIES: OnceLock<()> = OnceLock::new();
    if part == Part::Server {
        WITH_LIBRARIES.get_or_init(|| {
            let make = format!("make {SERVER_OPTIONS} CC=gcc -j8 >../make.log 2>&1");
            let script = format!(
                "rm -rf ~/redis && cp -r /usr/src/redis ~/redis && cd ~/redis && {ENVIRONMENT} {make} &&
                 rm src/*.o src/redis-server && mv ~/redis ~/redis-with-libraries"
            );
            drop(CLIENT.dev(&script).ok());
        });
        return "~/redis-with-libraries";
    }
    "/usr/src/redis"
}

impl Running {
    /// The objects, and how long it took. A build that fails fails the test.
    #[track_caller]
    pub(crate) fn finish(self) -> (Objects, Duration) {
        let (status, wall) = self.make.join().expect("it only waits");
        assert!(status.success(), "make failed:\n{}", CLIENT.dev("tail -n 40 ~/make.log").stdout);
        (objects(), wall)
    }

    pub(crate) fn is_running(&self) -> bool {
        !self.make.is_finished()
    }
}

#[track_caller]
pub(crate) fn build(part: Part, compiler: &str, variables: &str) -> (Objects, Duration) {
    start(part, compiler, variables).finish()
}

fn objects() -> Objects {
    let sums = CLIENT.dev("cd ~/redis && find . -name '*.o' -print0 | xargs -0 sha256sum").ok();
    sums.lines().filter_map(|line| line.split_once("  ")).map(|(sum, path)| (path.to_owned(), sum.to_owned())).collect()
}

/// What plain gcc makes. Built twice for the whole: what differs between two plain builds could not be asked of farcc.
pub(crate) fn reference(part: Part) -> &'static Objects {
    static WHOLE: OnceLock<Objects> = OnceLock::new();
    static SERVER: OnceLock<Objects> = OnceLock::new();
    let plain = || build(part, "gcc", "").0;
    match part {
        Part::Whole => WHOLE.get_or_init(|| {
            let first = plain();
            assert_same(&first, &plain());
            first
        }),
        Part::Server => SERVER.get_or_init(plain),
    }
}

#[track_caller]
pub(crate) fn assert_same(plain: &Objects, other: &Objects) {
    assert!(plain.len() > 100, "redis has more objects than {}", plain.len());
    let differing: Vec<_> =
        plain.iter().filter(|(path, sum)| other.get(*path) != Some(sum)).map(|(path, _)| path).collect();
    assert!(
        differing.is_empty(),
        "{} of {} objects differ or are missing: {differing:?}",
        differing.len(),
        plain.len()
    );
    assert_eq!(plain.len(), other.len(), "objects that plain gcc does not make");
}
