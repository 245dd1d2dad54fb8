//! Runs real programs, gcc among them, in real sandboxes, as an ordinary user.
//!
//! What a job can and cannot do is told by `tests/sandbox/probe.c`, linked statically, which is all there is in the toolchain
//! of most tests. Started by root, each test runs itself again as nobody: namespaces of root prove less.

#![expect(clippy::unwrap_used, reason = "a test that fails says where")]

mod alone;

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::CStr;
use std::fs;
use std::io::{Read, Write};
use std::net::TcpListener;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use farcc::model::digest::Digest;
use farcc::model::id::{Instance, JobId};
use farcc::model::job::{Bytes, Ending, Entry, FileTime, JobLimits, JobSpec, Manifest, Node};
use farcc::model::path::SandboxPath;
use farcc::model::toolchain::ToolchainId;
use farcc::os::process::privileges;
use farcc::os::sandbox::{
    Cancel, Helper, HelperSettings, OpenError, Ran, RunFault, SandboxError, Stacking, Workshop, WorkshopSettings,
};
use farcc::os::store::ReceiveError;
use tempfile::TempDir;

use alone::as_user;

/// Waits for something that other processes do; gives up long after it should have happened, so that a fault ends the test.
#[track_caller]
fn wait_until(mut done: impl FnMut() -> bool) {
    let begin = std::time::Instant::now();
    while !done() {
        assert!(begin.elapsed() < Duration::from_secs(100), "it does not happen");
        std::thread::yield_now();
    }
}

/// A builder's directories, with a toolchain.
struct Site {
    workshop: Workshop,
    toolchain: PathBuf,
    directory: TempDir,
}

fn helper(stacking: Option<Stacking>) -> Arc<Helper> {
    Arc::new(Helper::fork(HelperSettings { bwrap: "/usr/bin/bwrap".into(), stacking, slots: 2 }).unwrap())
}

/// The probe is all there is in the toolchain.
fn site() -> Site {
    with_probe(bare_site(1 << 30))
}

fn with_probe(site: Site) -> Site {
    fs::create_dir(site.toolchain.join("bin")).unwrap();
    let mut gcc = Command::new("gcc")
        .args(["-static", "-x", "c", "-", "-o"])
        .arg(site.toolchain.join("bin/probe"))
        .stdin(Stdio::piped())
        .spawn()
        .unwrap();
    gcc.stdin.take().unwrap().write_all(include_bytes!("sandbox/probe.c")).unwrap();
    assert!(gcc.wait().unwrap().success());
    site
}

fn bare_site(input_cache_bytes: u64) -> Site {
    site_of(helper(None), input_cache_bytes)
}

fn site_of(helper: Arc<Helper>, input_cache_bytes: u64) -> Site {
    let directory = tempfile::tempdir().unwrap();
    let (state, toolchain) = (directory.path().join("state"), directory.path().join("toolchain"));
    fs::create_dir(&state).unwrap();
    fs::create_dir(&toolchain).unwrap();
    let workshop = Workshop::open(&state, helper, &WorkshopSettings { input_cache_bytes }).unwrap();
    Site { workshop, toolchain, directory }
}

impl Site {
    fn run(&self, job: &Job) -> Result<Ran, RunFault> {
        self.run_until(job, &Cancel::new().unwrap())
    }

    fn run_until(&self, job: &Job, cancel: &Cancel) -> Result<Ran, RunFault> {
        let spec = job.spec();
        let reservation = self.workshop.reserve(&spec.manifest).unwrap();
        for digest in reservation.missing() {
            let content = &job.blobs[&digest];
            let mut writer = self.workshop.receive(digest, content.len() as u64).unwrap();
            writer.write_all(content).unwrap();
            writer.finish().unwrap();
        }
        self.workshop.run(reservation, &spec, &self.toolchain, cancel)
    }

    /// What the probe says to `commands`.
    fn ask(&self, commands: &str) -> String {
        let ran = self.run(&Job::probe(commands)).unwrap();
        String::from_utf8(ran.compilation.stdout.to_vec()).unwrap()
    }

    /// Everything below the trees of inputs, which stay for the next job.
    fn left(&self) -> Vec<String> {
        let trees = self.directory.path().join("state/trees");
        let mut found = Vec::new();
        let mut directories = vec![trees.clone()];
        while let Some(directory) = directories.pop() {
            for entry in fs::read_dir(directory).unwrap().map(Result::unwrap) {
                found.push(entry.path().strip_prefix(&trees).unwrap().to_str().unwrap().to_owned());
                if entry.file_type().unwrap().is_dir() {
                    directories.push(entry.path());
                }
            }
        }
        found.sort();
        found
    }
}

/// A job in the making.
#[derive(Clone)]
struct Job {
    argv: Vec<Bytes>,
    program: String,
    env: Vec<(Bytes, Bytes)>,
    cwd: String,
    nodes: BTreeMap<SandboxPath, Node>,
    blobs: BTreeMap<Digest, Vec<u8>>,
    report: Option<SandboxPath>,
    limits: JobLimits,
}

const TIME: FileTime = FileTime { seconds: 1_000_000_000, nanoseconds: 123_456_789 };

fn bytes(text: &str) -> Bytes {
    Bytes::from(text.as_bytes())
}

fn path(text: &str) -> SandboxPath {
    SandboxPath::new(text.as_bytes()).unwrap()
}

impl Job {
    fn new(program: &str, argv: &[&str]) -> Self {
        let limits = JobLimits { wall: Duration::from_secs(60), output_bytes: 64 << 20 };
        let argv = argv.iter().map(|word| bytes(word)).collect();
        let (env, nodes, blobs) = (Vec::new(), BTreeMap::new(), BTreeMap::new());
        Self { argv, program: program.into(), env, cwd: "/".into(), nodes, blobs, report: None, limits }
            .directory("/work")
            .cwd("/work")
    }

    fn probe(commands: &str) -> Self {
        let argv: Vec<_> = ["/bin/probe"].into_iter().chain(commands.split_whitespace()).collect();
        Self::new("/bin/probe", &argv)
    }

    fn cwd(mut self, cwd: &str) -> Self {
        self.cwd = cwd.into();
        self
    }

    fn env(mut self, name: &str, value: &str) -> Self {
        self.env.push((bytes(name), bytes(value)));
        self
    }

    fn node(mut self, name: &str, node: Node) -> Self {
        let mut parent = path(name).parent();
        while let Some(directory) = parent {
            parent = directory.parent();
            self.nodes.entry(directory).or_insert(Node::Directory);
        }
        self.nodes.insert(path(name), node);
        self
    }

    fn directory(self, name: &str) -> Self {
        self.node(name, Node::Directory)
    }

    fn symlink(self, name: &str, target: &str) -> Self {
        self.node(name, Node::Symlink { target: bytes(target) })
    }

    /// A file that is one inode of its own.
    fn file(self, name: &str, content: &str) -> Self {
        let group = self.nodes.len() as u32;
        self.file_of_group(name, content, TIME, group)
    }

    fn file_of_group(mut self, name: &str, content: &str, mtime: FileTime, link_group: u32) -> Self {
        let (digest, size) = (Digest::of(content.as_bytes()), content.len() as u64);
        self.blobs.insert(digest, content.as_bytes().to_vec());
        self.node(name, Node::File { digest, size, mode: 0o640, mtime, link_group })
    }

    fn wall(mut self, wall: Duration) -> Self {
        self.limits.wall = wall;
        self
    }

    fn output_bytes(mut self, max: u64) -> Self {
        self.limits.output_bytes = max;
        self
    }

    fn spec(&self) -> JobSpec {
        let entries = self.nodes.iter().map(|(path, node)| Entry { path: path.clone(), node: node.clone() }).collect();
        JobSpec {
            job: JobId { instance: Instance(1), number: 1 },
            toolchain: ToolchainId(Digest::of(b"")),
            program: path(&self.program),
            argv: self.argv.clone(),
            env: self.env.clone(),
            cwd: path(&self.cwd),
            manifest: Manifest { entries },
            report: self.report.clone(),
            limits: self.limits,
        }
    }
}

/// Paths of a run's outputs with their contents.
fn outputs(ran: &Ran) -> Vec<(String, String)> {
    let content = |i| {
        let mut text = String::new();
        ran.open_output(i).unwrap().unwrap().read_to_string(&mut text).unwrap();
        assert!(ran.output_at_hand(i).is_none_or(|bytes| bytes == text.as_bytes()));
        text
    };
    let outputs = &ran.compilation.outputs;
    outputs.iter().enumerate().map(|(i, output)| (output.path.to_string(), content(i))).collect()
}

#[test]
fn environment_directory_and_name_are_exactly_as_given() {
    as_user(|| {
        let site = site();
        let mut job = Job::probe("env").env("A", "b c").env("PATH", "/bin");
        let ran = site.run(&job).unwrap();
        let said = String::from_utf8(ran.compilation.stdout.to_vec()).unwrap();
        assert_eq!(said, "argv0=/bin/probe\ncwd=/work\nA=b c\nPATH=/bin\nPWD=/work\n");
        assert_eq!((ran.compilation.ending, ran.compilation.stderr.len()), (Ending::Exited(0), 0));

        // A name that is found along PATH.
        job.argv[0] = bytes("probe");
        assert!(site.run(&job).unwrap().compilation.stdout.starts_with(b"argv0=probe\n"));
        // A relative one.
        let mut job = job.cwd("/");
        job.argv[0] = bytes("bin/probe");
        assert!(site.run(&job).unwrap().compilation.stdout.starts_with(b"argv0=bin/probe\n"));
        // One that leads elsewhere, which an old bwrap cannot give: nothing is wrong with the builder.
        job.argv[0] = bytes("elsewhere");
        match site.run(&job) {
            Ok(ran) => assert!(ran.compilation.stdout.starts_with(b"argv0=elsewhere\n")),
            Err(fault) => assert!(matches!(fault, RunFault::Command(_)), "{fault}"),
        }
        // The name of the working directory stays what it is, if it is one.
        let job = Job::probe("env").directory("/home/real").symlink("/home/me", "real").cwd("/home/real");
        let said = site.run(&job.clone().env("PWD", "/home/me")).unwrap().compilation.stdout;
        assert_eq!(said, b"argv0=/bin/probe\ncwd=/home/real\nPWD=/home/me\n");
        let said = site.run(&job.env("PWD", "/home")).unwrap().compilation.stdout;
        assert_eq!(said, b"argv0=/bin/probe\ncwd=/home/real\nPWD=/home/real\n");
    });
}

#[test]
fn endings_are_told_apart() {
    as_user(|| {
        let site = site();
        let ending = |job: &Job| site.run(job).map(|ran| ran.compilation.ending);
        assert_eq!(ending(&Job::probe("exit 1")).unwrap(), Ending::Exited(1));
        assert_eq!(ending(&Job::probe("exit 127")).unwrap(), Ending::Exited(127));
        assert_eq!(ending(&Job::probe("die 11")).unwrap(), Ending::Signalled(11));
        let missing = ending(&Job::new("/bin/cc", &["/bin/cc"]));
        assert!(
            matches!(&missing, Err(RunFault::ProgramMissing(program)) if *program == path("/bin/cc")),
            "{missing:?}"
        );
        let lost = ending(&Job::probe("exit 0").cwd("/nowhere"));
        assert!(matches!(&lost, Err(RunFault::Sandbox(why)) if why.contains("/nowhere")), "{lost:?}");
    });
}

#[test]
fn what_a_job_made_comes_back() {
    as_user(|| {
        let site = site();
        let mut job = Job::probe(
            "write a.o object ; write b.d depends ; chmod b.d 0 ; write /tmp/c.s assembly ; chmod /tmp/c.s 755 ; write in.c changed ; unlink gone.c",
        )
        .file("/work/in.c", "original")
        .file("/work/gone.c", "there");
        job.report = Some(path("/work/b.d"));
        let ran = site.run(&job).unwrap();
        let made = [("/tmp/c.s", "assembly"), ("/work/a.o", "object"), ("/work/in.c", "changed")];
        assert_eq!(outputs(&ran), made.map(|(path, content)| (path.to_owned(), content.to_owned())));
        assert_eq!(ran.compilation.report, Some(bytes("depends")));
        let described: Vec<_> =
            ran.compilation.outputs.iter().map(|output| (output.digest, output.size, output.executable)).collect();
        let expected = [("assembly", true), ("object", false), ("changed", false)];
        assert_eq!(
            described,
            expected.map(|(text, executable)| (Digest::of(text.as_bytes()), text.len() as u64, executable))
        );
        assert!(ran.open_output(3).unwrap().is_none());
        // The next job sees the file as it was.
        drop(ran);
        let mut again = Job::probe("cat in.c");
        (again.nodes, again.blobs) = (job.nodes.clone(), job.blobs.clone());
        assert_eq!(site.run(&again).unwrap().compilation.stdout, b"original");
    });
}

#[test]
fn what_is_large_is_not_kept_in_memory() {
    as_user(|| {
        let site = site();
        let mut job = Job::probe("write a.d depends ; write b.o object ; fill c.o 327680 ; write d.o object");
        job.report = Some(path("/work/a.d"));
        let ran = site.run(&job).unwrap();
        let sizes: Vec<_> = outputs(&ran).iter().map(|(_, content)| content.len()).collect();
        assert_eq!(sizes, [6, 327_680, 6]);
        let kept = [0, 1, 2, 3].map(|i| ran.output_at_hand(i));
        assert_eq!(kept, [Some(&b"object"[..]), None, Some(b"object"), None]);
    });
}

#[test]
fn nothing_of_the_host_is_to_be_seen() {
    as_user(|| {
        let site = site();
        assert_eq!(sorted(&site.ask("ls /")), ["bin", "dev", "proc", "tmp", "work"]);
        assert_eq!(sorted(&site.ask("ls /work")), Vec::<String>::new());
        // Itself and the init of its PID namespace.
        let processes: Vec<_> =
            sorted(&site.ask("ls /proc")).into_iter().filter(|name| name.parse::<u32>().is_ok()).collect();
        assert_eq!(processes.len(), 2, "{processes:?}");
        assert_eq!(site.ask("readlink /proc/1/root ; readlink /proc/1/cwd").lines().count(), 2);
        let host = fs::read_link("/proc/self/ns/net").unwrap();
        let inside = site.ask("readlink /proc/self/ns/net");
        assert!(inside.starts_with("net:[") && inside.trim() != host.to_str().unwrap(), "{inside}");
        for descriptor in ["3", "4", "5", "6", "7", "8", "9"] {
            assert_eq!(site.ask(&format!("readlink /proc/self/fd/{descriptor}")), "readlink: ENOENT\n");
        }
        assert_eq!(site.ask("readlink /proc/self/fd/0"), "/dev/null\n");
    });
}

fn sorted(lines: &str) -> Vec<String> {
    let mut lines: Vec<_> = lines.lines().map(str::to_owned).collect();
    lines.sort();
    lines
}

#[test]
fn there_is_no_network() {
    as_user(|| {
        let site = site();
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        assert_eq!(site.ask(&format!("connect {port}")), "connect: EAFNOSUPPORT\n");
        // Not only for want of a socket: there is no interface to send from.
        let devices = site.ask("cat /proc/net/dev");
        let devices: Vec<_> = devices.lines().skip(2).map(|line| line.split(':').next().unwrap().trim()).collect();
        assert_eq!(devices, ["lo"]);
    });
}

#[test]
fn the_kernel_is_out_of_reach() {
    as_user(|| {
        let site = site();
        for call in
            [libc::SYS_keyctl, libc::SYS_bpf, libc::SYS_perf_event_open, libc::SYS_io_uring_setup, libc::SYS_ptrace]
        {
            assert_eq!(site.ask(&format!("syscall {call}")), "syscall: ENOSYS\n", "{call}");
        }
        assert_eq!(site.ask("unshare ; clone"), "unshare: ENOSYS\nclone: EPERM\n");
        let status = site.ask("cat /proc/self/status ; limit");
        for line in
            ["CapEff:\t0000000000000000", "CapBnd:\t0000000000000000", "NoNewPrivs:\t1", "Seccomp:\t2", "core=0"]
        {
            assert!(status.lines().any(|is| is == line), "{line}: {status}");
        }
        assert_eq!(site.ask("write /dev/x y ; write /dev/null y"), "write: EROFS\nwrite: ok\n");
        assert_eq!(sorted(&site.ask("ls /dev")), DEVICES);
    });
}

const DEVICES: [&str; 9] = ["fd", "full", "null", "random", "stderr", "stdin", "stdout", "urandom", "zero"];

#[test]
fn jobs_do_not_meet() {
    as_user(|| {
        let site = site();
        let cancel = Cancel::new().unwrap();
        let mark = format!("first-{}", std::process::id());
        let job = Job::probe(&format!("write {mark} yes ; hide ; pause")).file("/work/secret.c", "secret");
        std::thread::scope(|scope| {
            let first = scope.spawn(|| site.run_until(&job, &cancel));
            wait_until(|| marked(&mark) >= MARKED || first.is_finished());
            assert_eq!(site.ask("ls /work"), "");
            let processes = sorted(&site.ask("ls /proc"));
            assert_eq!(processes.iter().filter(|name| name.parse::<u32>().is_ok()).count(), 2);
            cancel.cancel();
            let ended = first.join().unwrap();
            assert!(matches!(ended, Err(RunFault::Cancelled)), "{ended:?}");
        });
        assert_eq!(marked(&mark), 0);
    });
}

#[test]
fn time_is_limited() {
    as_user(|| {
        let site = site();
        let fault = site.run(&Job::probe("hide ; pause").wall(Duration::from_millis(300))).unwrap_err();
        assert!(matches!(fault, RunFault::Wall(_)), "{fault}");
        let cancelled = Cancel::new().unwrap();
        cancelled.cancel();
        let fault = site.run_until(&Job::probe("pause"), &cancelled).unwrap_err();
        assert!(matches!(fault, RunFault::Cancelled), "{fault}");
    });
}

#[test]
fn output_is_limited() {
    as_user(|| {
        let site = site();
        let too_much = |commands: &str| {
            let fault = site.run(&Job::probe(commands).output_bytes(1 << 20)).unwrap_err();
            assert!(matches!(fault, RunFault::TooMuchOutput(_)), "{commands}: {fault}");
        };
        too_much("fill big 2000000");
        too_much("fill - 2000000");
        too_much("fill a 524288 ; fill b 589824");
        too_much("fill a 524288 ; fill - 589824");
        let ran = site.run(&Job::probe("fill a 524288 ; fill - 524288").output_bytes(1 << 20)).unwrap();
        assert_eq!((ran.compilation.outputs[0].size, ran.compilation.stdout.len()), (1 << 19, 1 << 19));
    });
}

#[test]
fn what_cannot_travel_is_a_fault() {
    as_user(|| {
        let site = site();
        for commands in ["symlink /etc/passwd a.o", "mkfifo a.o"] {
            let fault = site.run(&Job::probe(commands)).unwrap_err();
            assert!(fault.to_string().contains("/work/a.o"), "{fault}");
        }
        let fault = site.run(&Job::probe("burrow 300")).unwrap_err();
        assert!(matches!(fault, RunFault::Collect(_)), "{fault}");
    });
}

#[test]
fn nothing_is_left_of_a_job() {
    as_user(|| {
        let site = site();
        let job = || Job::probe("write a x ; write in/a.h y ; burrow 100 ; hide").file("/work/in/a.h", "");
        let ran = site.run(&job()).unwrap();
        assert!(!ran.compilation.outputs.is_empty());
        let inputs = ["0", "0/dev", "0/proc", "0/tmp", "0/work", "0/work/in", "0/work/in/a.h"];
        assert_eq!(site.left(), inputs);
        drop(ran);
        assert_eq!(site.left(), inputs);
        assert_eq!(site.ask("ls /work"), "", "the next job finds what was not shipped to it");
        assert_eq!(site.left(), ["0", "0/dev", "0/proc", "0/tmp", "0/work"]);
    });
}

/// Whatever the job before had, a job has what its manifest says.
#[test]
fn a_tree_becomes_the_next() {
    as_user(|| {
        let site = site();
        let whole = |job: Job| String::from_utf8(site.run(&job).unwrap().compilation.stdout.to_vec()).unwrap();
        let jobs = [
            Job::probe("cat a ; cat d/b").file("/work/a", "1").file("/work/d/b", "2"),
            Job::probe("cat a ; cat d/b").file("/work/a", "changed").file("/work/d/b", "2"),
            // A directory in the place of a file, and the other way round.
            Job::probe("cat a/c ; cat d").file("/work/a/c", "3").file("/work/d", "4"),
            Job::probe("cat a ; cat d").file("/work/x", "5").symlink("/work/a", "x").node("/work/d", Node::Tombstone),
            Job::probe("cat a ; cat d ; ls /work"),
        ];
        let said: Vec<_> = jobs.into_iter().map(whole).collect();
        assert_eq!(said[..3], ["12", "changed2", "34"]);
        assert_eq!(said[3], "5cat: ELOOP\n");
        assert_eq!(said[4], "cat: ENOENT\ncat: ENOENT\n");
        assert_eq!(site.left().iter().filter(|name| !name.contains('/')).count(), 1, "one tree was enough");
    });
}

#[test]
fn clients_do_not_share_trees() {
    as_user(|| {
        let site = site();
        site.run(&Job::probe("").file("/work/secret.c", "secret")).unwrap();
        let mut other = Job::probe("ls /work").spec();
        other.job.instance = Instance(2);
        let ran = site.workshop.run(
            site.workshop.reserve(&other.manifest).unwrap(),
            &other,
            &site.toolchain,
            &Cancel::new().unwrap(),
        );
        assert_eq!(ran.unwrap().compilation.stdout, b"");
        assert!(site.left().contains(&"0/work/secret.c".to_owned()), "{:?}", site.left());
    });
}

#[test]
fn usage_is_accounted() {
    as_user(|| {
        let site = site();
        let usage = site.run(&Job::probe("allocate 100000000 ; burn 150")).unwrap().compilation.usage;
        assert!(usage.cpu >= Duration::from_millis(150) && usage.wall >= Duration::from_millis(150), "{usage:?}");
        assert!((100_000_000..1_000_000_000).contains(&usage.peak_bytes), "{usage:?}");
    });
}

#[test]
fn inputs_look_as_on_the_client() {
    as_user(|| {
        let site = site();
        let other = FileTime { seconds: -1, nanoseconds: 0 };
        let job = Job::probe("stat a ; stat b ; stat c ; stat d ; stat e")
            .file_of_group("/work/a", "same", TIME, 1)
            .file_of_group("/work/b", "same", TIME, 2)
            .file_of_group("/work/c", "same", other, 3)
            .file_of_group("/work/d", "same", TIME, 1)
            .file_of_group("/work/e", "else", TIME, 4);
        let check = || {
            let said = String::from_utf8(site.run(&job).unwrap().compilation.stdout.to_vec()).unwrap();
            let field = |name: &str| -> Vec<String> {
                let words = said.split_whitespace().filter_map(|word| word.strip_prefix(name));
                words.map(str::to_owned).collect()
            };
            let inodes = field("ino=");
            assert_eq!(inodes[0], inodes[3], "one on the client, one here");
            let distinct: BTreeSet<_> = inodes.iter().collect();
            assert_eq!(distinct.len(), 4, "{said}");
            let [time, before] = ["1000000000.123456789", "-1.000000000"];
            assert_eq!(field("mtime="), [time, time, before, time, time]);
            assert_eq!(field("mode="), ["100640"; 5]);
        };
        check();
        // From the files that the first made.
        check();
        assert_eq!(fs::read_dir(site.directory.path().join("state/inputs")).unwrap().count(), 4);
    });
}

/// gcc with what it runs and what these need, at their own paths.
fn gcc_site() -> Site {
    let site = bare_site(1 << 30);
    let ask = |question: &str| {
        let answer = Command::new("gcc").arg(question).output().unwrap().stdout;
        PathBuf::from(String::from_utf8(answer).unwrap().trim())
    };
    for link in ["/bin", "/lib", "/lib64"] {
        if let Ok(target) = fs::read_link(link) {
            symlink(&target, site.toolchain.join(&link[1..])).unwrap();
            fs::create_dir_all(site.toolchain.join(target)).unwrap();
        }
    }
    let mut programs = vec![PathBuf::from("/usr/bin/gcc"), ask("-print-prog-name=cc1"), "/usr/bin/as".into()];
    let mut done = BTreeSet::new();
    while let Some(file) = programs.pop() {
        if !done.insert(file.clone()) {
            continue;
        }
        let content = fs::read(&file).unwrap();
        let below = site.toolchain.join(file.strip_prefix("/").unwrap());
        fs::create_dir_all(below.parent().unwrap()).unwrap();
        fs::write(&below, &content).unwrap();
        fs::set_permissions(&below, fs::Permissions::from_mode(0o755)).unwrap();
        let elf = goblin::elf::Elf::parse(&content).unwrap();
        programs.extend(elf.interpreter.map(PathBuf::from));
        programs.extend(elf.libraries.iter().map(|library| ask(&format!("-print-file-name={library}"))));
        let found = |library: &PathBuf| library.is_absolute();
        assert!(programs.iter().all(found), "{programs:?}");
    }
    site
}

fn gcc(words: &str) -> Job {
    let argv: Vec<_> = words.split_whitespace().collect();
    Job::new("/usr/bin/gcc", &argv).env("PATH", "/usr/bin").env("LC_ALL", "C")
}

#[test]
fn what_is_not_shipped_does_not_look_absent() {
    as_user(|| {
        let site = gcc_site();
        let compile = |source: &str, tombstone: bool| {
            let job =
                gcc("gcc -Ix -Iy -c a.c -o a.o").file("/work/a.c", source).directory("/work/x").file("/work/y/h.h", "");
            let job = if tombstone { job.node("/work/x/h.h", Node::Tombstone) } else { job };
            let compilation = site.run(&job).unwrap().compilation;
            (compilation.ending, String::from_utf8(compilation.stderr.to_vec()).unwrap())
        };
        for source in ["#include \"h.h\"\n", "#include <h.h>\n", "#if __has_include(<h.h>)\n#endif\n"] {
            assert_eq!(compile(source, false), (Ending::Exited(0), String::new()), "{source}");
            let (ending, said) = compile(source, true);
            assert_eq!(ending, Ending::Exited(1), "{source}");
            assert!(said.contains("Too many levels of symbolic links"), "{said}");
        }
    });
}

#[test]
fn equal_headers_at_two_paths_are_two_headers() {
    as_user(|| {
        let site = gcc_site();
        // Each includes its neighbour; one inode for both would make the second vanish.
        let header = "#pragma once\n#include \"value.h\"\n";
        let source = "#include \"a/h.h\"\n#include \"b/h.h\"\nint sum = A + B;\n";
        let later = FileTime { seconds: TIME.seconds + 1, ..TIME };
        let job = gcc("gcc -I. -S a.c -o a.s")
            .file("/work/a.c", source)
            .file_of_group("/work/a/h.h", header, TIME, 100)
            .file_of_group("/work/b/h.h", header, later, 101)
            .file("/work/a/value.h", "enum { A = 3 };\n")
            .file("/work/b/value.h", "enum { B = 4 };\n");
        let ran = site.run(&job).unwrap();
        assert_eq!(String::from_utf8_lossy(&ran.compilation.stderr), "");
        assert!(outputs(&ran)[0].1.contains("7"), "{:?}", outputs(&ran));
    });
}

#[test]
fn blobs_are_verified() {
    as_user(|| {
        let site = bare_site(1 << 20);
        let digest = Digest::of(b"right");
        let send = |content: &[u8], size| {
            let mut writer = site.workshop.receive(digest, size).unwrap();
            writer.write_all(content).map_err(ReceiveError::from).and_then(|()| writer.finish())
        };
        assert!(matches!(send(b"wrong", 5), Err(ReceiveError::Corrupt { .. })));
        assert!(matches!(send(b"righ", 5), Err(ReceiveError::Corrupt { .. })));
        assert!(matches!(send(b"right and more", 5), Err(ReceiveError::Io(_))));
        drop(site.workshop.receive(digest, 5).unwrap());
        let inputs = site.directory.path().join("state/inputs");
        assert_eq!(fs::read_dir(&inputs).unwrap().count(), 0);
        let job = Job::probe("").file("/work/a", "right").spec();
        let reservation = site.workshop.reserve(&job.manifest).unwrap();
        assert_eq!(reservation.missing(), [digest]);
        send(b"right", 5).unwrap();
        // Another job has missed it at the same time.
        send(b"right", 5).unwrap();
        assert_eq!(reservation.missing(), []);
        assert_eq!(fs::read_dir(&inputs).unwrap().count(), 1);
    });
}

#[test]
fn inputs_in_use_are_not_evicted() {
    as_user(|| {
        let site = bare_site(10);
        let hold =
            |content: &str| site.workshop.reserve(&Job::probe("").file("/work/a", content).spec().manifest).unwrap();
        let send = |content: &str| {
            let mut writer = site.workshop.receive(Digest::of(content.as_bytes()), 8).unwrap();
            writer.write_all(content.as_bytes()).unwrap();
            writer.finish().unwrap();
        };
        let first = hold("12345678");
        send("12345678");
        let second = hold("abcdefgh");
        send("abcdefgh");
        assert_eq!((first.missing(), second.missing()), (vec![], vec![]));
        drop(first);
        assert_eq!(hold("12345678").missing().len(), 1);
        assert_eq!(second.missing(), []);
    });
}

#[test]
fn bad_manifests_are_refused() {
    as_user(|| {
        let site = bare_site(1 << 20);
        let refused = |nodes: Vec<(&str, Node)>| {
            let entries = nodes.into_iter().map(|(name, node)| Entry { path: path(name), node }).collect();
            site.workshop.reserve(&Manifest { entries }).unwrap_err().to_string()
        };
        let file = |size, link_group| Node::File { digest: Digest::of(b""), size, mode: 0, mtime: TIME, link_group };
        assert_eq!(
            refused(vec![("/a/b", file(0, 0))]),
            "/a/b: its directory is no entry before it, or it is there twice"
        );
        let link = Node::Symlink { target: bytes("/etc") };
        assert!(refused(vec![("/a", link), ("/a/b", file(0, 0))]).starts_with("/a/b: its directory is no entry"));
        assert!(refused(vec![("/a", Node::Directory), ("/a", Node::Directory)]).ends_with("it is there twice"));
        assert!(
            refused(vec![("/proc", Node::Directory), ("/proc/a", file(0, 0))]).contains("the sandbox makes itself")
        );
        assert!(refused(vec![("/dev", file(0, 0))]).contains("the sandbox makes itself"));
        assert!(refused(vec![("/a", file(1 << 40, 0))]).contains("larger than"));
        assert!(refused(vec![("/a", file(1, 0)), ("/b", file(2, 1))]).contains("differ"));
    });
}

#[test]
fn two_builders_do_not_share_a_directory() {
    as_user(|| {
        // Before there is a lock that they would hold until they have closed what they inherit.
        let [first, second, third] = [helper(None), helper(None), helper(None)];
        let directory = tempfile::tempdir().unwrap();
        let state = directory.path();
        let open = |helper| Workshop::open(state, helper, &WorkshopSettings { input_cache_bytes: 0 });
        let workshop = open(first).unwrap();
        fs::create_dir_all(state.join("trees/7/work/work")).unwrap();
        fs::set_permissions(state.join("trees/7/work/work"), fs::Permissions::from_mode(0o0)).unwrap();
        assert!(matches!(open(second), Err(OpenError::InUse(_))));
        drop(workshop);
        let again = open(third).unwrap();
        assert!(!state.join("trees/7").exists(), "leftovers go");
        again.check().unwrap();
    });
}

#[test]
fn bwrap_stacks_where_it_can() {
    as_user(|| {
        let site = with_probe(site_of(helper(Some(Stacking::ByBwrap)), 1 << 20));
        match site.workshop.check() {
            Err(SandboxError::BwrapBroken { why, .. }) => assert!(why.ends_with("cannot stack directories"), "{why}"),
            facts => {
                assert_eq!(facts.unwrap().stacking, Stacking::ByBwrap);
                let job = Job::probe("cat in.c ; write in.c changed").file("/work/in.c", "original\n");
                let ran = site.run(&job).unwrap();
                assert_eq!(ran.compilation.stdout, b"original\nwrite: ok\n");
                assert_eq!(outputs(&ran), [("/work/in.c".to_owned(), "changed".to_owned())]);
            }
        }
    });
}

/// Becomes a builder with a job that never ends, if its parent wants it to.
#[test]
fn nothing_outlives_a_killed_builder() {
    const BUILDER: &str = "FARCC_TEST_BUILDER";
    as_user(|| {
        if let Some(mark) = std::env::var_os(BUILDER) {
            let fault =
                site().run(&Job::probe(&format!("hide ; write {} up ; pause", mark.to_str().unwrap()))).unwrap_err();
            panic!("{fault}");
        }
        let mark = format!("mark-{}", std::process::id());
        let directory = tempfile::tempdir().unwrap();
        let mut builder = Command::new("/proc/self/exe")
            .args(["--exact", "nothing_outlives_a_killed_builder"])
            .env(BUILDER, &mark)
            .env("TMPDIR", directory.path())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut site = PathBuf::new();
        wait_until(|| {
            assert!(builder.try_wait().unwrap().is_none(), "the builder has ended");
            site = fs::read_dir(directory.path()).unwrap().next().map_or(PathBuf::new(), |entry| entry.unwrap().path());
            marked(&mark) >= MARKED
        });
        builder.kill().unwrap();
        builder.wait().unwrap();
        wait_until(|| marked(&mark) == 0);
        let settings = WorkshopSettings { input_cache_bytes: 0 };
        Workshop::open(&site.join("state"), helper(None), &settings).unwrap();
        assert_eq!(fs::read_dir(site.join("state/trees")).unwrap().count(), 0);
    });
}

/// A job, the process that it hides, and the two bwraps, which have its words on their command lines.
const MARKED: usize = 4;

/// How many processes have `mark` on their command line.
fn marked(mark: &str) -> usize {
    let processes = fs::read_dir("/proc").unwrap().map(|entry| entry.unwrap().path().join("cmdline"));
    let words = processes.filter_map(|path| fs::read_to_string(path).ok());
    words.filter(|words| words.split('\0').any(|word| word == mark)).count()
}

/// The only one for root; others have nothing to leave.
#[test]
fn root_is_left_for_good() {
    const CHILD: &str = "FARCC_TEST_ALONE";
    if std::env::var_os(CHILD).is_none() {
        let mut alone = Command::new("/proc/self/exe");
        alone.args(["--exact", "root_is_left_for_good", "--test-threads", "1"]).env(CHILD, "1");
        let output = alone.output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
        return;
    }
    let was_root = rustix::process::getuid().is_root();
    let user = privileges::leave_root("no-such-user").unwrap();
    assert_eq!(user.map(|user| user.name), was_root.then(|| "nobody".to_owned()));
    if was_root {
        let status = fs::read_to_string("/proc/thread-self/status").unwrap();
        for line in ["CapPrm:\t0000000000000000", "CapBnd:\t0000000000000000", "NoNewPrivs:\t1", "Groups:\t "] {
            assert!(status.lines().any(|is| is == line), "{line}: {status}");
        }
        assert!(status.contains("Uid:\t65534\t65534\t65534\t65534\n"), "{status}");
        rustix::thread::set_thread_res_uid(
            rustix::process::Uid::ROOT,
            rustix::process::Uid::ROOT,
            rustix::process::Uid::ROOT,
        )
        .unwrap_err();
    }
}

#[test]
fn what_is_given_up_is_gone() {
    as_user(|| {
        let workshop = site();
        // In a process of its own: this test's. The helper keeps what it needs.
        privileges::drop_all().unwrap();
        privileges::seal().unwrap();
        let status = fs::read_to_string("/proc/self/status").unwrap();
        for line in ["CapPrm:\t0000000000000000", "NoNewPrivs:\t1", "Seccomp:\t2"] {
            assert!(status.lines().any(|is| is == line), "{line}: {status}");
        }
        let mounted = rustix::mount::mount("none", "/tmp", "tmpfs", rustix::mount::MountFlags::empty(), None::<&CStr>);
        assert_eq!(mounted, Err(rustix::io::Errno::NOSYS));
        assert!(!Command::new("unshare").args(["-U", "true"]).status().unwrap().success());
        TcpListener::bind("127.0.0.1:0").unwrap();
        std::thread::spawn(|| ()).join().unwrap();
        assert_eq!(workshop.ask("ls /work"), "");
    });
}

#[test]
fn the_machine_is_checked() {
    as_user(|| {
        let site = bare_site(1 << 20);
        let facts = site.workshop.check().unwrap();
        assert_eq!(facts.bwrap, Path::new("/usr/bin/bwrap"));
        assert_eq!(facts.stacking, Stacking::ByHelper);
        let missing = HelperSettings { bwrap: "/nonexistent/bwrap".into(), stacking: None, slots: 1 };
        let state = tempfile::tempdir().unwrap();
        let settings = WorkshopSettings { input_cache_bytes: 0 };
        let workshop = Workshop::open(state.path(), Arc::new(Helper::fork(missing).unwrap()), &settings).unwrap();
        let error = workshop.check().unwrap_err();
        assert!(
            matches!(error, SandboxError::BwrapMissing { .. }) && error.to_string().contains("`bubblewrap`"),
            "{error}"
        );
    });
}
