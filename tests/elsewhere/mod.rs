//! A toolchain where nothing else is: packaged here, unpacked as on a builder, run in a sandbox, compared with the compiler here.

#![allow(dead_code, reason = "each test file uses a part of it")]

use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use farcc::os::toolchain::{Package, Subject, ToolchainStore, Variables, package};

pub(crate) const PATH: &str = "/usr/local/bin:/usr/bin:/bin";

pub(crate) fn subject(compiler: &str, variables: &[(&str, &str)]) -> Subject {
    let variables = [("PATH", PATH)].iter().chain(variables);
    Subject { compiler: compiler.into(), selectors: Vec::new(), variables: Variables::of(variables.copied()) }
}

pub(crate) fn archive(package: &Package) -> Vec<u8> {
    let mut bytes = Vec::new();
    package.write_archive(&mut bytes).unwrap();
    bytes
}

pub(crate) struct Packed {
    pub(crate) package: Package,
    pub(crate) archive: Vec<u8>,
}

impl Packed {
    pub(crate) fn of(package: Package) -> Self {
        Self { archive: archive(&package), package }
    }

    /// Paths of its files.
    pub(crate) fn files(&self) -> Vec<String> {
        use farcc::model::toolchain::ToolchainNode::File;
        let entries = self.package.manifest.entries.iter();
        entries.filter(|entry| matches!(entry.node, File { .. })).map(|entry| entry.path.to_string()).collect()
    }
}

pub(crate) fn packed(compiler: &str) -> Packed {
    Packed::of(package(&subject(compiler, &[])).unwrap())
}

pub(crate) fn packed_with(compiler: &str, selectors: &[&str]) -> Packed {
    let selectors = selectors.iter().map(OsString::from).collect();
    Packed::of(package(&Subject { selectors, ..subject(compiler, &[]) }).unwrap())
}

pub(crate) fn store(max_bytes: u64) -> (tempfile::TempDir, ToolchainStore) {
    let directory = tempfile::tempdir_in("/var/tmp").unwrap();
    let store = ToolchainStore::open(directory.path(), max_bytes).unwrap();
    (directory, store)
}

/// A toolchain unpacked on a machine that has nothing else, with the headers and sources of this one as inputs.
pub(crate) struct Elsewhere {
    pub(crate) root: PathBuf,
    work: tempfile::TempDir,
    _store: (tempfile::TempDir, ToolchainStore),
}

/// Where headers are, the kernel's too: what travels as inputs.
const INPUTS: &[&str] = &["/usr/include", "/usr/local/include", "/usr/lib/linux"];

impl Elsewhere {
    pub(crate) fn with(packed: &Packed) -> Self {
        let store = store(u64::MAX);
        let held = store.1.unpack(&packed.package.id, packed.archive.as_slice()).unwrap();
        // The sandbox needs mount points for inputs, which a builder's other layers provide; the tree itself stays as it is.
        let work = tempfile::tempdir_in("/var/tmp").unwrap();
        let root = work.path().join("root");
        let copied = Command::new("cp").arg("-al").arg(held.path()).arg(&root).status().unwrap();
        assert!(copied.success());
        fs::create_dir(work.path().join("unit")).unwrap();
        for (name, text) in [("a.c", C), ("a.cc", CPP), ("a.S", ASSEMBLER)] {
            fs::write(work.path().join("unit").join(name), text).unwrap();
        }
        Self { root, work, _store: store }
    }

    pub(crate) fn unit(&self) -> PathBuf {
        self.work.path().join("unit")
    }

    pub(crate) fn write(&self, name: &str, text: &str) {
        fs::write(self.unit().join(name), text).unwrap();
    }

    fn outside(&self, command: &[&str]) -> Output {
        let mut outside = Command::new(command[0]);
        outside.args(&command[1..]).current_dir(self.unit()).env_clear().env("PATH", PATH);
        outside.output().unwrap()
    }

    /// The same command where only the toolchain, the unit and `inputs` exist. A job has no `PATH`; here there is one for commands
    /// that are found by it.
    fn inside(&self, command: &[&str], inputs: &[PathBuf]) -> Output {
        let mut bwrap = Command::new("bwrap");
        bwrap.args(["--unshare-all", "--clearenv", "--bind"]).arg(&self.root).arg("/");
        if !command[0].contains('/') {
            bwrap.args(["--setenv", "PATH", PATH]);
        }
        for input in inputs.iter().chain([&self.unit()]) {
            fs::create_dir_all(self.root.join(input.strip_prefix("/").unwrap())).unwrap();
            bwrap.arg("--bind").arg(input).arg(input);
        }
        bwrap.args(["--proc", "/proc", "--dev", "/dev", "--chdir"]).arg(self.unit()).arg("--").args(command);
        bwrap.output().unwrap()
    }

    #[track_caller]
    pub(crate) fn check_driver(&self, command: &[&str]) {
        let (outside, inside) = (self.outside(command), self.inside(command, &[]));
        let (outside, inside) = (normalized(&outside.stderr), normalized(&inside.stderr));
        assert!(outside.contains("cc1"), "{command:?} compiles nothing: {outside}");
        assert_eq!(outside, inside, "{command:?}");
    }

    /// As [`Self::check_driver`], by the lines that tell of commands alone: what else a driver lists are directories for linking.
    #[track_caller]
    pub(crate) fn check_commands(&self, command: &[&str]) {
        let (outside, inside) = (self.outside(command), self.inside(command, &[]));
        let [outside, inside] = [outside, inside].map(|output| {
            let text = String::from_utf8_lossy(&output.stderr).into_owned();
            (farcc::engine::compiler::same_commands(&output.stderr, &output.stderr), text)
        });
        let is_same = farcc::engine::compiler::same_commands(outside.1.as_bytes(), inside.1.as_bytes());
        assert!(outside.0 && is_same, "{command:?}: here\n{}\nthere\n{}", outside.1, inside.1);
    }

    /// Compares object, dependency list, split debug information and messages.
    #[track_caller]
    pub(crate) fn check_object(&self, command: &[&str], inputs: &[PathBuf]) {
        const WRITTEN: &[&str] = &["out.o", "out.d", "out.dwo"];
        let mut left = Vec::new();
        for place in ["outside", "inside"] {
            let output = if place == "inside" { self.inside(command, inputs) } else { self.outside(command) };
            assert!(output.status.success(), "{place}: {command:?}: {}", String::from_utf8_lossy(&output.stderr));
            let files: Vec<_> = WRITTEN.iter().map(|name| fs::read(self.unit().join(name)).ok()).collect();
            assert!(files[0].is_some(), "{place}: {command:?} makes no object");
            for name in WRITTEN {
                fs::remove_file(self.unit().join(name)).ok();
            }
            left.push((files, output.stdout, output.stderr));
        }
        let depfile = |at: usize| left[at].0[1].as_ref().map(|list| String::from_utf8_lossy(list).into_owned());
        assert_eq!(depfile(0), depfile(1), "{command:?}");
        assert!(left[0] == left[1], "{command:?} makes something else");
    }
}

/// Names of temporary files differ from run to run.
fn normalized(text: &[u8]) -> String {
    let text = String::from_utf8_lossy(text);
    let words = text.split_inclusive(char::is_whitespace).map(|word| match word.find("/tmp/") {
        Some(at) if !word.contains("/var/tmp") => format!("{}TEMPORARY\n", &word[..at]),
        _ => word.to_owned(),
    });
    words.collect()
}

const C: &str =
    "#include <stdio.h>\n#include <stddef.h>\nint main(void) { printf(\"%zu\\n\", sizeof(size_t)); return 0; }\n";
const CPP: &str =
    "#include <vector>\n#include <string>\nint main() { return std::vector<std::string>(3).size() + __LINE__; }\n";
const ASSEMBLER: &str = "#include <features.h>\n.globl f\nf: nop\n ret\n";

/// The machine's headers and those in `resources`.
pub(crate) fn inputs(resources: &str) -> Vec<PathBuf> {
    let exist = |path: &PathBuf| path.is_dir();
    INPUTS.iter().map(PathBuf::from).chain([PathBuf::from(resources)]).filter(exist).collect()
}

/// What a program prints.
pub(crate) fn answer(command: &[&str]) -> String {
    let output = Command::new(command[0]).args(&command[1..]).output().unwrap();
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}

/// Where a gcc has its own headers.
pub(crate) fn gcc_headers(compiler: &str) -> String {
    answer(&[compiler, "-print-file-name=include"])
}

/// Where a clang has its own.
pub(crate) fn clang_headers(compiler: &str) -> String {
    format!("{}/include", answer(&[compiler, "-print-resource-dir"]))
}

pub(crate) fn check_compiles(elsewhere: &Elsewhere, c: &str, cpp: &str, resources: &str) {
    let inputs = inputs(resources);
    for (compiler, source) in [(c, "a.c"), (cpp, "a.cc"), (c, "a.S")] {
        elsewhere.check_object(&[compiler, "-O2", "-g", "-MD", "-MF", "out.d", "-c", source, "-o", "out.o"], &inputs);
    }
    elsewhere.check_object(&[c, "-g", "-gsplit-dwarf", "-c", "a.c", "-o", "out.o"], &inputs);
}

/// A copy of `from` at `to`, with the directories above it.
pub(crate) fn copy(from: impl AsRef<Path>, to: impl AsRef<Path>) {
    fs::create_dir_all(to.as_ref().parent().unwrap()).unwrap();
    fs::copy(from, to).unwrap();
}

/// `name`, and where the dynamic loader finds the libraries of `program`, as `ldd` has it.
pub(crate) fn libraries(program: &Path) -> Vec<(String, PathBuf)> {
    let listed = answer(&["ldd", program.to_str().unwrap()]);
    let pair = |line: &str| {
        let (name, rest) = line.trim().split_once(" => ")?;
        Some((name.to_owned(), PathBuf::from(rest.split_once(" (")?.0)))
    };
    listed.lines().filter_map(pair).collect()
}
