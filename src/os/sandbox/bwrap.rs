//! The command line of bwrap, its versions, and what it says about how the program ended.

use std::fmt;
use std::os::fd::RawFd;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::model::job::{Bytes, Ending};
use crate::model::path::SandboxPath;
use crate::os::sandbox::chamber::DEVICES_AT;

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct BwrapVersion {
    pub major: u32,
    pub minor: u32,
    pub patch: u32,
}

impl BwrapVersion {
    const fn new(major: u32, minor: u32, patch: u32) -> Self {
        Self { major, minor, patch }
    }

    /// From what `bwrap --version` prints.
    pub fn parse(text: &str) -> Option<Self> {
        let mut numbers = text.trim().strip_prefix("bubblewrap ")?.split('.').map(|number| number.parse().ok());
        Some(Self::new(numbers.next()??, numbers.next()??, numbers.next().unwrap_or(Some(0))?))
    }

    /// Older ones lack options that we need (`--clearenv`, `--json-status-fd` that tells whether the program was executed).
    pub(crate) fn is_usable(self) -> bool {
        self >= Self::new(0, 8, 0)
    }

    /// Has `--overlay`.
    pub(crate) fn stacks(self) -> bool {
        self >= Self::new(0, 11, 0)
    }

    /// Has `--argv0`.
    pub(crate) fn names_program(self) -> bool {
        self >= Self::new(0, 9, 0)
    }
}

impl fmt::Display for BwrapVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}.{}", self.major, self.minor, self.patch)
    }
}

/// Who stacks toolchain, inputs and writable layer.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Stacking {
    /// The helper, in a namespace outside of bwrap's. Works with every bwrap.
    ByHelper,
    /// bwrap itself, from 0.11.
    ByBwrap,
}

/// What the root of a sandbox is made of.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Root {
    /// Stacked already.
    Merged(PathBuf),
    /// To be stacked, lowest first.
    Layers { toolchain: PathBuf, inputs: PathBuf, upper: PathBuf, work: PathBuf },
}

/// One run of bwrap.
#[derive(Clone, Debug)]
pub(crate) struct Sandbox<'a> {
    pub version: BwrapVersion,
    pub root: Root,
    pub program: &'a SandboxPath,
    pub argv: &'a [Bytes],
    pub env: &'a [(Bytes, Bytes)],
    pub cwd: &'a SandboxPath,
    /// Holds the system call filter.
    pub filter: RawFd,
    /// Takes what [`ending`] reads.
    pub status: RawFd,
}

/// The chamber's network, IPC, UTS and cgroup namespaces are as empty as any that bwrap could make, and were made ahead of need; only those are made
/// again that hide the chamber itself. That no further user namespace can be made is the chamber's doing as well.
const ISOLATION: &[&str] =
    &["--unshare-user", "--unshare-pid", "--die-with-parent", "--new-session", "--cap-drop", "ALL"];

/// The chamber's /dev has the few devices that compilers open. bwrap's own would cost it a dozen mounts and another user namespace.
const KERNEL_FILES: &[&str] = &["--proc", "/proc", "--dev-bind", DEVICES_AT, "/dev"];

/// The arguments of bwrap, its own name first.
pub(crate) fn arguments(sandbox: &Sandbox<'_>) -> Vec<Vec<u8>> {
    let mut words = Words(vec![b"bwrap".to_vec()]);
    words.add_all(ISOLATION);
    words.add("--seccomp").add(sandbox.filter.to_string());
    words.add("--json-status-fd").add(sandbox.status.to_string());
    match &sandbox.root {
        Root::Merged(merged) => words.add("--bind").add_path(merged).add("/"),
        Root::Layers { toolchain, inputs, upper, work } => {
            words.add("--overlay-src").add_path(toolchain).add("--overlay-src").add_path(inputs);
            words.add("--overlay").add_path(upper).add_path(work).add("/")
        }
    };
    words.add_all(KERNEL_FILES);
    // Not the environment of bwrap itself: LD_PRELOAD and its like must not act out here.
    words.add("--clearenv");
    for (name, value) in sandbox.env {
        words.add("--setenv").add(name.as_ref()).add(value.as_ref());
    }
    words.add("--chdir").add(sandbox.cwd.as_bytes());
    match sandbox.argv.split_first() {
        Some((argv0, rest)) if sandbox.version.names_program() => {
            words.add("--argv0").add(argv0.as_ref()).add("--").add(sandbox.program.as_bytes()).add_rest(rest);
        }
        // An older one takes the name from the program it looks up; the caller has checked that it finds the right one.
        _ => {
            words.add("--").add_rest(sandbox.argv);
        }
    }
    words.0
}

struct Words(Vec<Vec<u8>>);

impl Words {
    fn add(&mut self, word: impl AsRef<[u8]>) -> &mut Self {
        self.0.push(word.as_ref().to_vec());
        self
    }

    fn add_path(&mut self, path: &Path) -> &mut Self {
        self.add(path.as_os_str().as_bytes())
    }

    fn add_all(&mut self, words: &[&str]) -> &mut Self {
        self.0.extend(words.iter().map(|word| word.as_bytes().to_vec()));
        self
    }

    fn add_rest(&mut self, words: &[Bytes]) -> &mut Self {
        self.0.extend(words.iter().map(|word| word.to_vec()));
        self
    }
}

/// How the program ended, from bwrap's status documents. None where it was never executed, or where bwrap died before it knew:
/// then bwrap's own exit status and the program's cannot be mixed up.
pub(crate) fn ending(documents: &[u8]) -> Option<Ending> {
    let documents = serde_json::Deserializer::from_slice(documents).into_iter::<Value>();
    let code = documents.map_while(Result::ok).find_map(|document| document.get("exit-code")?.as_u64())?;
    let code = u8::try_from(code).ok()?;
    // bwrap tells a death by signal N as 128 + N, as shells do. No compiler ends like that by its own will.
    match code {
        129..=192 => Some(Ending::Signalled(code - 128)),
        code => Some(Ending::Exited(code)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn command_line(version: &str, root: Root) -> String {
        let bytes = |text: &str| Bytes::from(text.as_bytes().to_vec());
        let path = |text: &str| SandboxPath::new(text.as_bytes()).unwrap();
        let words = arguments(&Sandbox {
            version: BwrapVersion::parse(version).unwrap(),
            root,
            program: &path("/usr/bin/gcc"),
            argv: &[bytes("gcc"), bytes("-c"), bytes("a.c")],
            env: &[(bytes("LANG"), bytes("C"))],
            cwd: &path("/home/me"),
            filter: 5,
            status: 6,
        });
        words.iter().map(|word| String::from_utf8(word.clone()).unwrap()).collect::<Vec<_>>().join(" ")
    }

    const BEFORE: &str = "bwrap --unshare-user --unshare-pid --die-with-parent --new-session --cap-drop ALL --seccomp 5 --json-status-fd 6";
    const AFTER: &str = "--proc /proc --dev-bind /sys/dev /dev --clearenv --setenv LANG C --chdir /home/me";

    #[test]
    fn old_bwrap() {
        assert_eq!(
            command_line("bubblewrap 0.8.0\n", Root::Merged("/j/merged".into())),
            format!("{BEFORE} --bind /j/merged / {AFTER} -- gcc -c a.c")
        );
    }

    #[test]
    fn new_bwrap() {
        let root = Root::Layers {
            toolchain: "/t".into(),
            inputs: "/j/inputs".into(),
            upper: "/j/upper".into(),
            work: "/j/work".into(),
        };
        assert_eq!(
            command_line("bubblewrap 0.12.0", root),
            format!(
                "{BEFORE} --overlay-src /t --overlay-src /j/inputs --overlay /j/upper /j/work / {AFTER} --argv0 gcc -- /usr/bin/gcc -c a.c"
            )
        );
    }

    #[test]
    fn endings() {
        let check = |text: &str, expected| assert_eq!(ending(text.as_bytes()), expected, "{text}");
        check("{ \"child-pid\": 3, \"mnt-namespace\": 4 }\n{ \"exit-code\": 127 }\n", Some(Ending::Exited(127)));
        check("{ \"child-pid\": 3 }\n{ \"exit-code\": 139 }\n", Some(Ending::Signalled(11)));
        check("{ \"child-pid\": 3 }\n{ \"exit-code\": 255 }\n", Some(Ending::Exited(255)));
        check("{ \"child-pid\": 3 }\n", None);
        check("{ \"child-pid\": 3 }\n{ \"exit", None);
        check("", None);
    }

    #[test]
    fn versions() {
        let check = |text, expected: Option<(u32, u32, u32)>| {
            assert_eq!(BwrapVersion::parse(text), expected.map(|(a, b, c)| BwrapVersion::new(a, b, c)), "{text}");
        };
        check("bubblewrap 0.8.0\n", Some((0, 8, 0)));
        check("bubblewrap 1.0", Some((1, 0, 0)));
        check("bubblewrap", None);
        check("bwrap 1.0.0", None);
    }
}
