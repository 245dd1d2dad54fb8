//! Real compilers, packaged, unpacked and run where nothing else is; archives from a peer that lies.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs;
use std::io::Write;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::{Arc, LazyLock};

use farcc::engine::toolchain::driver::Family;
use farcc::model::digest::Digest;
use farcc::model::toolchain::{ToolchainId, ToolchainNode};
use farcc::os::toolchain::{PackError, Package, StoreError, Subject, ToolchainStore, UnpackError, Variables, package};
use tar::{EntryType, Header};

const PATH: &str = "/usr/local/bin:/usr/bin:/bin";

fn subject(compiler: &str, variables: &[(&str, &str)]) -> Subject {
    let variables = [("PATH", PATH)].iter().chain(variables);
    Subject { compiler: compiler.into(), selectors: Vec::new(), variables: Variables::of(variables.copied()) }
}

fn archive(package: &Package) -> Vec<u8> {
    let mut bytes = Vec::new();
    package.write_archive(&mut bytes).unwrap();
    bytes
}

struct Packed {
    package: Package,
    archive: Vec<u8>,
}

fn packed(compiler: &str) -> Packed {
    let package = package(&subject(compiler, &[])).unwrap();
    let archive = archive(&package);
    Packed { package, archive }
}

static GCC: LazyLock<Packed> = LazyLock::new(|| packed("/usr/bin/gcc"));
static CLANG: LazyLock<Packed> = LazyLock::new(|| packed("/usr/bin/clang"));

fn store(max_bytes: u64) -> (tempfile::TempDir, ToolchainStore) {
    let directory = tempfile::tempdir_in("/var/tmp").unwrap();
    let store = ToolchainStore::open(directory.path(), max_bytes).unwrap();
    (directory, store)
}

/// A toolchain unpacked on a machine that has nothing else, with the headers and sources of this one as inputs.
struct Elsewhere {
    root: PathBuf,
    work: tempfile::TempDir,
    _store: (tempfile::TempDir, ToolchainStore),
}

/// Where headers and start files are: what travels as inputs.
const INPUTS: &[&str] = &["/usr/include", "/usr/local/include"];

impl Elsewhere {
    fn with(packed: &Packed) -> Self {
        let store = store(u64::MAX);
        let held = store.1.unpack(&packed.package.id, packed.archive.as_slice()).unwrap();
        // The sandbox needs mount points for inputs, which a builder's other layers provide; the tree itself stays as it is.
        let work = tempfile::tempdir_in("/var/tmp").unwrap();
        let root = work.path().join("root");
        let copied = Command::new("cp").arg("-al").arg(held.path()).arg(&root).status().unwrap();
        assert!(copied.success());
        fs::create_dir(work.path().join("unit")).unwrap();
        Self { root, work, _store: store }
    }

    fn unit(&self) -> PathBuf {
        self.work.path().join("unit")
    }

    fn write(&self, name: &str, text: &str) {
        fs::write(self.unit().join(name), text).unwrap();
    }

    fn outside(&self, command: &[&str]) -> Output {
        Command::new(command[0])
            .args(&command[1..])
            .current_dir(self.unit())
            .env_clear()
            .env("PATH", PATH)
            .output()
            .unwrap()
    }

    /// The same command where only the toolchain, the unit and `inputs` exist.
    fn inside(&self, command: &[&str], inputs: &[PathBuf]) -> Output {
        let mut bwrap = Command::new("bwrap");
        bwrap.args(["--unshare-all", "--clearenv", "--setenv", "PATH", PATH, "--bind"]).arg(&self.root).arg("/");
        for input in inputs.iter().chain([&self.unit()]) {
            bwrap.arg("--bind").arg(input).arg(input);
        }
        bwrap.args(["--proc", "/proc", "--dev", "/dev", "--chdir"]).arg(self.unit()).arg("--").args(command);
        bwrap.output().unwrap()
    }

    #[track_caller]
    fn check_driver(&self, command: &[&str]) {
        let (outside, inside) = (self.outside(command), self.inside(command, &[]));
        let (outside, inside) = (normalized(&outside.stderr), normalized(&inside.stderr));
        assert!(outside.contains("cc1"), "{command:?} compiles nothing: {outside}");
        assert_eq!(outside, inside, "{command:?}");
    }

    #[track_caller]
    fn check_object(&self, command: &[&str], inputs: &[PathBuf]) {
        let object = self.unit().join("out.o");
        let mut objects = Vec::new();
        for place in ["outside", "inside"] {
            let output = if place == "inside" { self.inside(command, inputs) } else { self.outside(command) };
            assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
            objects.push((fs::read(&object).unwrap(), output.stdout, output.stderr));
            fs::remove_file(&object).unwrap();
        }
        assert!(objects[0] == objects[1], "{command:?} makes another object");
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

fn inputs(resources: &str) -> Vec<PathBuf> {
    let exist = |path: &PathBuf| path.is_dir();
    INPUTS.iter().map(PathBuf::from).chain([PathBuf::from(resources)]).filter(exist).collect()
}

fn answer(command: &[&str]) -> String {
    let output = Command::new(command[0]).args(&command[1..]).output().unwrap();
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}

fn check_compiles(elsewhere: &Elsewhere, c: &str, cpp: &str, resources: &str) {
    let inputs = inputs(resources);
    for directory in &inputs {
        fs::create_dir_all(elsewhere.root.join(directory.strip_prefix("/").unwrap())).unwrap();
    }
    let unit = elsewhere.unit();
    fs::create_dir_all(elsewhere.root.join(unit.strip_prefix("/").unwrap())).unwrap();
    for (name, text) in [("a.c", C), ("a.cc", CPP), ("a.S", ASSEMBLER)] {
        elsewhere.write(name, text);
    }
    for (compiler, source) in [(c, "a.c"), (cpp, "a.cc"), (c, "a.S")] {
        elsewhere.check_object(&[compiler, "-O2", "-g", "-c", source, "-o", "out.o"], &inputs);
    }
    elsewhere.check_object(&[c, "-g", "-gsplit-dwarf", "-c", "a.c", "-o", "out.o"], &inputs);
}

#[test]
fn gcc_compiles_where_nothing_else_is() {
    let elsewhere = Elsewhere::with(&GCC);
    check_compiles(&elsewhere, "gcc", "g++", &answer(&["gcc", "-print-file-name=include"]));
    check_compiles(&elsewhere, "/usr/bin/cc", "/usr/bin/c++", &answer(&["gcc", "-print-file-name=include"]));
}

#[test]
fn clang_compiles_where_nothing_else_is() {
    let elsewhere = Elsewhere::with(&CLANG);
    let resources = format!("{}/include", answer(&["clang", "-print-resource-dir"]));
    check_compiles(&elsewhere, "clang", "clang++", &resources);
    elsewhere.check_object(&["clang", "-fno-integrated-as", "-c", "a.c", "-o", "out.o"], &inputs(&resources));
}

/// Options that make drivers look around.
const FLAGS: &[&[&str]] = &[
    &["-O2"],
    &["-g"],
    &["-flto"],
    &["-fPIC"],
    &["-m32"],
    &["-fsanitize=address"],
    &["-fsanitize=undefined,leak"],
    &["-fopenmp"],
    &["-march=x86-64-v3"],
    &["-gsplit-dwarf", "-g"],
    &["-pg"],
    &["--coverage"],
    &["-static"],
    &["-pthread", "-std=c11"],
];

fn check_drivers(packed: &Packed, drivers: [&str; 2], more: &[&[&str]]) {
    let elsewhere = Elsewhere::with(packed);
    fs::create_dir_all(elsewhere.root.join(elsewhere.unit().strip_prefix("/").unwrap())).unwrap();
    elsewhere.write("a.c", "");
    elsewhere.write("a.cc", "");
    for (driver, source) in drivers.iter().zip(["a.c", "a.cc"]) {
        for flags in FLAGS.iter().chain(more) {
            let command = [&[*driver, "-###"], *flags, &["-c", source]].concat();
            elsewhere.check_driver(&command);
        }
    }
}

#[test]
fn gcc_runs_the_same_commands() {
    check_drivers(&GCC, ["gcc", "g++"], &[]);
}

#[test]
fn clang_runs_the_same_commands() {
    check_drivers(&CLANG, ["clang", "clang++"], &[&["-stdlib=libc++"], &["--target=i686-linux-gnu"], &["-v"]]);
}

#[test]
fn a_sysroot_selects_another_package() {
    let sysroot = tempfile::tempdir_in("/var/tmp").unwrap();
    for directory in ["usr/lib/x86_64-linux-gnu", "lib", "usr/include/c++/99"] {
        fs::create_dir_all(sysroot.path().join(directory)).unwrap();
    }
    let option = format!("--sysroot={}", sysroot.path().display());
    for compiler in ["gcc", "clang++"] {
        let mut subject = subject(&format!("/usr/bin/{compiler}"), &[]);
        subject.selectors = vec![OsString::from(&option)];
        let package = package(&subject).unwrap();
        let packed = Packed { archive: archive(&package), package };
        let elsewhere = Elsewhere::with(&packed);
        fs::create_dir_all(elsewhere.root.join(elsewhere.unit().strip_prefix("/").unwrap())).unwrap();
        elsewhere.write("a.cc", "");
        elsewhere.check_driver(&[compiler, "-###", &option, "-c", "a.cc"]);
    }
}

#[test]
fn packages_are_deterministic_and_shared_by_all_names() {
    let again = packed("/usr/bin/gcc");
    assert_eq!(again.package.id, GCC.package.id);
    assert!(again.archive == GCC.archive, "two archives of one package differ");
    assert_eq!(GCC.package.identity.family, Family::Gcc);
    for name in ["/usr/bin/g++", "/usr/bin/cc"] {
        let package = package(&subject(name, &[])).unwrap();
        if fs::canonicalize(name).unwrap().to_string_lossy().contains("clang") {
            continue;
        }
        assert_eq!(package.id, GCC.package.id, "{name}");
    }
    assert_eq!(package(&subject("/usr/bin/clang++", &[])).unwrap().id, CLANG.package.id);
}

#[test]
fn no_header_travels() {
    for packed in [&*GCC, &*CLANG] {
        for entry in &packed.package.manifest.entries {
            let is_file = matches!(entry.node, ToolchainNode::File { .. });
            assert!(!is_file || !entry.path.to_string().contains("/include/"), "{}", entry.path);
        }
    }
}

#[test]
fn languages_bring_their_files() {
    let has = |variables: &[(&str, &str)], path: &str| {
        let package = package(&subject("/usr/bin/gcc", variables)).unwrap();
        package.manifest.entries.iter().any(|entry| entry.path.to_string().starts_with(path))
    };
    let locale = "/usr/lib/locale/C.utf8/LC_CTYPE";
    assert!(Path::new(locale).exists());
    assert!(has(&[("LANG", "C.UTF-8")], locale));
    assert!(!has(&[("LANG", "C.UTF-8"), ("LC_ALL", "C")], "/usr/lib/locale"));
    assert!(!has(&[], "/usr/lib/locale"));
}

#[test]
fn scripts_and_strangers_are_refused_in_plain_words() {
    let directory = tempfile::tempdir().unwrap();
    let script = directory.path().join("gcc");
    fs::write(&script, "#!/bin/sh\nexec /usr/bin/gcc \"$@\"\n").unwrap();
    fs::set_permissions(&script, fs::Permissions::from_mode(0o755)).unwrap();
    let refused = |path: &str| package(&subject(path, &[])).unwrap_err();
    let script = script.to_str().unwrap();
    assert!(matches!(refused(script), PackError::Script { .. }));
    assert_eq!(refused(script).to_string(), format!("{script} is a script, not a compiler that could run elsewhere"));
    assert!(matches!(refused("/usr/bin/true"), PackError::Probe(_)));
    assert!(matches!(refused("/nonexistent/gcc"), PackError::Missing));
    assert!(matches!(refused("gcc"), PackError::Relative));

    let launcher = directory.path().join("ccache");
    fs::copy("/bin/true", &launcher).unwrap();
    symlink(&launcher, directory.path().join("cc")).unwrap();
    assert!(matches!(refused(directory.path().join("cc").to_str().unwrap()), PackError::Launcher { .. }));
}
