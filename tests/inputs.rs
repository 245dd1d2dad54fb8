//! Inputs of real units, found with the real compilers: what `tests/cases/compiler/includes.txt` says about each case, and what a
//! compile sees that is given only the collected files.

#![expect(clippy::unwrap_used, reason = "a test that cannot set up its scene has failed")]

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::{Duration, SystemTime};

use farcc::engine::compiler::{Classification, CompileCommand, CompilerFamily, Expansion, Files, classify, expand};
use farcc::model::job::{Bytes, Node};
use farcc::model::reason::{Reason, Why};
use farcc::os::inputs::{Inputs, ScanCache, Unit, collect};

use CompilerFamily::{Clang, Gcc};

/// A directory with files, and a compiler in it.
struct Bench {
    _root: tempfile::TempDir,
    /// Physical path of the directory.
    at: PathBuf,
    family: CompilerFamily,
    env: Vec<(Bytes, Bytes)>,
    cache: ScanCache,
}

fn bytes(text: impl AsRef<[u8]>) -> Bytes {
    Bytes::from(text.as_ref())
}

impl Bench {
    fn new(family: CompilerFamily) -> Self {
        let root = tempfile::tempdir().unwrap();
        let at = fs::canonicalize(root.path()).unwrap();
        fs::set_permissions(&at, fs::Permissions::from_mode(0o755)).unwrap();
        Self { _root: root, at, family, env: vec![(bytes("PATH"), bytes("/usr/bin:/bin"))], cache: ScanCache::new() }
    }

    fn file(&self, path: &str, text: impl AsRef<[u8]>) -> &Self {
        let path = self.at.join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
        self
    }

    fn directory(&self, path: &str) -> &Self {
        fs::create_dir_all(self.at.join(path)).unwrap();
        self
    }

    fn link(&self, path: &str, target: &str) -> &Self {
        let path = self.at.join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        symlink(target, path).unwrap();
        self
    }

    /// Sets a file's modification time, in seconds.
    fn touch(&self, path: &str, seconds: u64) -> &Self {
        let time = SystemTime::UNIX_EPOCH + Duration::from_secs(seconds);
        fs::File::options().write(true).open(self.at.join(path)).unwrap().set_modified(time).unwrap();
        self
    }

    fn compiler(&self, is_cxx: bool) -> &'static str {
        match (self.family, is_cxx) {
            (Gcc, false) => "/usr/bin/gcc",
            (Gcc, true) => "/usr/bin/g++",
            (Clang, false) => "/usr/bin/clang",
            (Clang, true) => "/usr/bin/clang++",
        }
    }

    fn collect(&self, args: &[&str]) -> Result<(CompileCommand, Inputs), Why> {
        let is_cxx = args.iter().any(|arg| arg.ends_with(".cc"));
        self.collect_as(self.compiler(is_cxx), args)
    }

    /// With the compiler called by another name.
    fn collect_as(&self, name: &str, args: &[&str]) -> Result<(CompileCommand, Inputs), Why> {
        let is_cxx = args.iter().any(|arg| arg.ends_with(".cc"));
        let argv: Vec<Bytes> = std::iter::once(name).chain(args.iter().copied()).map(bytes).collect();
        let (argv, files) = self.expand(&argv);
        let command = match classify(self.family, &argv, &self.env) {
            Classification::Compile(command) => *command,
            Classification::Local(why) | Classification::StepAside(why) => return Err(why),
        };
        let unit = Unit {
            compiler: self.compiler(is_cxx).into(),
            command: command.clone(),
            cwd: bytes(self.at.as_os_str().as_bytes()),
            env: self.env.clone(),
            response_files: files.into_keys().collect(),
            provided: BTreeMap::new(),
        };
        collect(&unit, &self.cache).map(|inputs| (command, inputs))
    }

    fn expand(&self, argv: &[Bytes]) -> (Vec<Bytes>, Files) {
        let mut files = Files::new();
        loop {
            match expand(argv, &files).unwrap() {
                Expansion::Done(words) => return (words, files),
                Expansion::Needs(name) => {
                    let text = fs::read(self.at.join(OsStr::from_bytes(&name))).ok();
                    files.insert(name, text.map(Bytes::from));
                }
            }
        }
    }

    /// Paths below the directory.
    fn below<'a>(&self, path: &'a [u8]) -> Option<&'a str> {
        Path::new(OsStr::from_bytes(path)).strip_prefix(&self.at).ok().and_then(Path::to_str)
    }

    /// What the manifest has below the directory: `d name`, `l name`, `f name`, `t name`.
    fn manifest(&self, inputs: &Inputs) -> Vec<String> {
        let entries = inputs.manifest.entries.iter().filter_map(|entry| {
            let kind = match entry.node {
                Node::Directory => 'd',
                Node::Symlink { .. } => 'l',
                Node::File { .. } => 'f',
                Node::Tombstone => 't',
            };
            self.below(entry.path.as_bytes()).filter(|name| !name.is_empty()).map(|name| format!("{kind} {name}"))
        });
        entries.collect()
    }

    fn run_locally(&self, args: &[&str]) -> Output {
        let is_cxx = args.iter().any(|arg| arg.ends_with(".cc"));
        let mut command = Command::new(self.compiler(is_cxx));
        self.environment(command.args(args).current_dir(&self.at)).output().unwrap()
    }

    fn environment<'a>(&self, command: &'a mut Command) -> &'a mut Command {
        let env = self.env.iter().map(|(name, value)| (OsStr::from_bytes(name), OsStr::from_bytes(value)));
        command.env_clear().envs(env)
    }

    /// Makes a directory that has just what the manifest says, and compiles with it in place of the real one. The rest of the
    /// system is the real one.
    fn run_staged(&self, inputs: &Inputs, words: &[Bytes]) -> (Output, tempfile::TempDir) {
        let staged = tempfile::tempdir().unwrap();
        let mut groups = BTreeMap::new();
        for entry in &inputs.manifest.entries {
            let Some(name) = self.below(entry.path.as_bytes()).filter(|name| !name.is_empty()) else { continue };
            let path = staged.path().join(name);
            match &entry.node {
                Node::Directory => fs::create_dir(path).unwrap(),
                Node::Symlink { target } => symlink(OsStr::from_bytes(target), path).unwrap(),
                Node::Tombstone => symlink(entry.path.as_path(), path).unwrap(),
                Node::File { digest, mode, mtime, link_group, .. } => match groups.get(link_group) {
                    Some(first) => fs::hard_link::<&PathBuf, _>(first, path).unwrap(),
                    None => {
                        fs::write(&path, inputs.read(digest).unwrap()).unwrap();
                        let time = SystemTime::UNIX_EPOCH + Duration::new(mtime.seconds as u64, mtime.nanoseconds);
                        fs::File::options().write(true).open(&path).unwrap().set_modified(time).unwrap();
                        fs::set_permissions(&path, fs::Permissions::from_mode(*mode)).unwrap();
                        groups.insert(*link_group, path);
                    }
                },
            }
        }
        let mut bwrap = Command::new("/usr/bin/bwrap");
        // As a builder does: bwrap sets `PWD` to what it is told to change to.
        let pwd = self.env.iter().find(|(name, _)| **name == *b"PWD").map(|(_, pwd)| Path::new(OsStr::from_bytes(pwd)));
        bwrap.args(["--dev-bind", "/", "/", "--bind"]).arg(staged.path()).arg(&self.at);
        bwrap.arg("--chdir").arg(pwd.unwrap_or(&self.at));
        bwrap.args(words.iter().map(|word| OsStr::from_bytes(word)));
        (self.environment(&mut bwrap).output().unwrap(), staged)
    }

    /// Compiles both ways and compares object, messages and dependency list.
    #[track_caller]
    fn compare(&self, args: &[&str], inputs: &Inputs, command: &CompileCommand, local: &Output) {
        assert!(local.status.success(), "{}", String::from_utf8_lossy(&local.stderr));
        let is_cxx = args.iter().any(|arg| arg.ends_with(".cc"));
        let written: Vec<Bytes> =
            std::iter::once(self.compiler(is_cxx)).chain(args.iter().copied()).map(bytes).collect();
        let remote = command.remote(&written, b"farcc-report.d", None);
        let (output, staged) = self.run_staged(inputs, &remote.argv);
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        assert_eq!(String::from_utf8_lossy(&output.stderr), String::from_utf8_lossy(&local.stderr));
        for name in command.outputs() {
            let name = OsStr::from_bytes(name);
            assert!(
                fs::read(self.at.join(name)).unwrap() == fs::read(staged.path().join(name)).unwrap(),
                "{name:?} differs"
            );
        }
        if remote.report {
            let list = fs::read(staged.path().join("farcc-report.d")).unwrap();
            assert_eq!(inputs.check_dependencies(&list, true), Ok(()));
        }
        if let Some(dependencies) = &command.dependencies {
            let list = fs::read(staged.path().join(OsStr::from_bytes(&dependencies.path))).unwrap();
            assert_eq!(inputs.check_dependencies(&list, dependencies.lists_system_headers), Ok(()));
        }
        for name in command.outputs() {
            fs::remove_file(self.at.join(OsStr::from_bytes(name))).unwrap();
        }
    }

    #[track_caller]
    fn check(&self, args: &[&str]) -> Inputs {
        let (command, inputs) = self.collect(args).unwrap();
        self.compare(args, &inputs, &command, &self.run_locally(args));
        inputs
    }
}

/// One case of the table.
#[derive(Default)]
struct Case {
    title: String,
    source: String,
    args: Vec<String>,
    env: Vec<(String, String)>,
    files: Vec<(String, String)>,
    links: Vec<(String, String)>,
    gcc: String,
    clang: String,
}

fn cases(text: &str) -> Vec<Case> {
    let mut cases: Vec<Case> = Vec::new();
    for line in text.lines().filter(|line| !line.is_empty() && !line.starts_with('#')) {
        let (key, rest) = line.split_once(' ').unwrap_or((line, ""));
        if key == "case" {
            cases.push(Case { title: rest.to_owned(), source: "t.c".to_owned(), ..Case::default() });
            continue;
        }
        let case = cases.last_mut().unwrap();
        let pair = || {
            rest.split_once(' ').map(|(a, b)| (a.to_owned(), b.to_owned())).unwrap_or((rest.to_owned(), String::new()))
        };
        match key {
            "source" => case.source = rest.to_owned(),
            "args" => case.args = rest.split(' ').map(str::to_owned).collect(),
            "env" => case.env.push(pair()),
            "file" => case.files.push((unescape(&pair().0), unescape(&pair().1))),
            "link" => case.links.push(pair()),
            "gcc" => case.gcc = rest.to_owned(),
            "clang" => case.clang = rest.to_owned(),
            _ => panic!("{line}"),
        }
    }
    cases
}

fn unescape(text: &str) -> String {
    let mut chars = text.chars();
    let mut plain = String::new();
    while let Some(char) = chars.next() {
        plain.push(match char {
            '\\' => match chars.next().unwrap() {
                'n' => '\n',
                't' => '\t',
                'r' => '\r',
                'f' => '\x0c',
                'v' => '\x0b',
                'B' => '\u{feff}',
                's' => ' ',
                other => other,
            },
            char => char,
        });
    }
    plain
}

/// Every case: the files that the compiler reads are predicted, and a compile with nothing but the manifest is the same.
fn check_cases(family: CompilerFamily) {
    let mut wrong = Vec::new();
    for case in cases(include_str!("cases/compiler/includes.txt")) {
        let mut bench = Bench::new(family);
        bench.env.extend(case.env.iter().map(|(name, value)| (bytes(name), bytes(value))));
        bench.file("yes.h", "").file("no.h", "");
        for (name, text) in &case.files {
            bench.file(name, text);
        }
        for (name, target) in &case.links {
            bench.link(name, target);
        }
        let mut args: Vec<&str> = case.args.iter().map(String::as_str).filter(|arg| !arg.is_empty()).collect();
        args.extend(["-c", case.source.as_str(), "-o", "out.o"]);
        let found = match bench.collect(&args) {
            Err(why) => format!("local: {}", why.reason),
            Ok((command, inputs)) => {
                let local = bench.run_locally(&args);
                if local.status.success() {
                    bench.compare(&args, &inputs, &command, &local);
                    let read = inputs.predicted().iter().filter_map(|path| bench.below(path));
                    let mut read: Vec<_> = read.filter(|name| *name != case.source).collect();
                    read.sort_unstable();
                    read.join(" ")
                } else {
                    "error".to_owned()
                }
            }
        };
        let expected = if family == Gcc { &case.gcc } else { &case.clang };
        if found != *expected {
            wrong.push(format!("case {}\n{family:?} {found}\n", case.title));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn cases_with_gcc() {
    check_cases(Gcc);
}

#[test]
fn cases_with_clang() {
    check_cases(Clang);
}

fn both(test: impl Fn(&Bench)) {
    for family in [Gcc, Clang] {
        test(&Bench::new(family));
    }
}

#[track_caller]
fn reason(result: Result<(CompileCommand, Inputs), Why>) -> Reason {
    result.map(|_| ()).unwrap_err().reason
}

/// W18: two equal files are two headers to the compiler if they are two inodes.
#[test]
fn equal_files_stay_two_headers() {
    both(|bench| {
        let header = "#pragma once\nstatic int NAME(void) { return 1; }\n";
        bench.file("a/x.h", header).touch("a/x.h", 1_000_000).file("b/x.h", header).touch("b/x.h", 2_000_000);
        bench.file(
            "t.c",
            "#define NAME one\n#include \"a/x.h\"\n#undef NAME\n#define NAME two\n#include \"b/x.h\"\nint f(void) { return one() + two(); }\n",
        );
        let inputs = bench.check(&["-c", "-g", "t.c", "-o", "t.o"]);
        let groups: Vec<_> = inputs
            .manifest
            .entries
            .iter()
            .filter(|entry| entry.path.to_string().ends_with("/x.h"))
            .map(|entry| match &entry.node {
                Node::File { link_group, mtime, digest, .. } => (*link_group, mtime.seconds, *digest),
                other => panic!("{other:?}"),
            })
            .collect();
        assert_eq!(groups.len(), 2);
        assert!(groups[0].0 != groups[1].0 && groups[0].1 != groups[1].1 && groups[0].2 == groups[1].2);
    });
}

/// gcc takes two equal files of one time for one header, opens the second to compare, and lists only the first.
#[test]
fn a_header_that_is_skipped_after_a_look_is_shipped() {
    both(|bench| {
        let header = "#pragma once\nint x;\n";
        bench.file("a/x.h", header).touch("a/x.h", 1_000_000).file("b/x.h", header).touch("b/x.h", 1_000_000);
        bench.file("t.c", "#include \"a/x.h\"\n#include \"b/x.h\"\n");
        let inputs = bench.check(&["-c", "t.c", "-o", "t.o"]);
        assert!(bench.manifest(&inputs).contains(&"f b/x.h".to_owned()));
    });
}

/// W19: a job without the first of two headers of one name must not find the second.
#[test]
fn a_shadowed_header_is_a_tombstone() {
    both(|bench| {
        bench
            .file("x/h.h", "#define V 1\n")
            .file("y/h.h", "#define V 20\n")
            .file("t.c", "#include <h.h>\nint v = V;\n");
        let args = ["-Ix", "-Iy", "-c", "t.c", "-o", "t.o"];
        let inputs = bench.check(&args);
        assert_eq!(bench.manifest(&inputs), ["f t.c", "d x", "f x/h.h", "d y", "t y/h.h"]);

        let mut wrong = inputs.clone();
        wrong.manifest.entries.retain(|entry| !entry.path.to_string().ends_with("x/h.h"));
        let argv: Vec<Bytes> = std::iter::once(bench.compiler(false)).chain(args).map(bytes).collect();
        let (output, _) = bench.run_staged(&wrong, &argv);
        assert!(!output.status.success(), "the wrong header was compiled");
    });
}

#[test]
fn names_that_only_macros_make_are_searched_too() {
    both(|bench| {
        bench.file("x/made.h", "int x;\n").file("y/made.h", "long y;\n");
        bench.file("t.c", "#define S(x) S2(x)\n#define S2(x) #x\n#define N made\n#include S(N.h)\n");
        let inputs = bench.check(&["-Ix", "-Iy", "-c", "t.c", "-o", "t.o"]);
        assert!(bench.manifest(&inputs).contains(&"t y/made.h".to_owned()));
    });
}

#[test]
fn what_has_include_finds_is_shipped_wherever_it_is() {
    both(|bench| {
        bench.file("x/opt.h", "").file("y/opt.h", "").file("sub/opt.h", "");
        bench.file(
            "t.c",
            "#if __has_include(<opt.h>)\nint yes;\n#endif\n#if __has_include(\"sub/opt.h\")\nint sub;\n#endif\n",
        );
        let inputs = bench.check(&["-Ix", "-Iy", "-c", "t.c", "-o", "t.o"]);
        assert_eq!(bench.manifest(&inputs), ["d sub", "f sub/opt.h", "f t.c", "d x", "f x/opt.h", "d y", "f y/opt.h"]);
    });
}

/// zstd and many others have a macro for it.
#[test]
fn has_include_by_another_name() {
    both(|bench| {
        bench.file("x/opt.h", "").file("sub/beside.h", "").file("sub/use.h", "#if M\nint m;\n#endif\n");
        bench.file("has.h", "#define HAS __has_include\n#define HAS_TOO(x) HAS(x)\n#define M HAS(\"beside.h\")\n");
        bench.file("t.c", "#include \"has.h\"\n#include \"sub/use.h\"\n#if HAS_TOO(<opt.h>)\nint x;\n#endif\n");
        let inputs = bench.check(&["-Ix", "-c", "t.c", "-o", "t.o"]);
        let manifest = bench.manifest(&inputs);
        assert!(
            manifest.contains(&"f x/opt.h".to_owned()) && manifest.contains(&"f sub/beside.h".to_owned()),
            "{manifest:?}"
        );
        bench.file("t.c", "#include \"has.h\"\n#define N <opt.h>\n#if HAS_TOO(N)\nint x;\n#endif\n");
        assert_eq!(reason(bench.collect(&["-Ix", "-c", "t.c"])), Reason::ComputedHasInclude);
    });
}

/// What the command line defines is read by no dependency list, and can look for files all the same.
#[test]
fn has_include_from_the_command_line() {
    both(|bench| {
        bench.file("x/opt.h", "").file("sub/beside.h", "").file("sub/use.h", "#if HAVE\nint m;\n#endif\n");
        bench.file("t.c", "#include \"sub/use.h\"\n#if HAVE\nint x;\n#endif\n");
        let check = |args: &[&str], file: &str| {
            let args: Vec<&str> = ["-Ix"].iter().chain(args).chain(&["-c", "t.c", "-o", "t.o"]).copied().collect();
            let manifest = bench.manifest(&bench.check(&args));
            assert!(manifest.contains(&format!("f {file}")), "{args:?} {manifest:?}");
        };
        check(&["-DHAVE=__has_include(<opt.h>)"], "x/opt.h");
        check(&["-D", "HAVE=__has_include(<opt.h>)"], "x/opt.h");
        check(&["--define-macro=HAVE=__has_include(<opt.h>)"], "x/opt.h");
        check(&["-Wp,-DHAVE=__has_include(<opt.h>)"], "x/opt.h");
        check(&["-Xpreprocessor", "-DHAVE=__has_include(<opt.h>)"], "x/opt.h");
        check(&["-DHAS(x)=__has_include(x)", "-DHAVE=HAS(<opt.h>)"], "x/opt.h");
        check(&["-DHAVE=__has_include(\"beside.h\")"], "sub/beside.h");
        bench.file("t.c", "#if HAS(<opt.h>)\nint x;\n#endif\n");
        check(&["-DHAS(x)=__has_include(x)"], "x/opt.h");
        check(&["-DHAS=__has_include"], "x/opt.h");
        let refused = |args: &[&str]| reason(bench.collect(&[args, &["-Ix", "-c", "t.c"]].concat()));
        bench.file("t.c", "#define N <opt.h>\n#if HAS(N)\nint x;\n#endif\n");
        assert_eq!(refused(&["-DHAS(x)=__has_include(x)"]), Reason::ComputedHasInclude);
        bench.file("t.c", "#define HAS(k, n) __has_##k(n)\n#if HAS(include, <opt.h>)\nint x;\n#endif\n");
        assert_eq!(refused(&[]), Reason::ComputedHasInclude);
        bench.file("t.c", "CODE\n");
        assert_eq!(refused(&["-DCODE=asm(\".incbin \\\"\\\\f\\\"\");"]), Reason::Incbin);
    });
}

/// A builder's clock is not the caller's.
#[test]
fn the_time_of_the_compile_is_told_here() {
    for family in [Gcc, Clang] {
        let mut bench = Bench::new(family);
        bench.file("when.h", "#define WHEN __DATE__ \" \" __TIME__\n").file("t.c", "#include \"when.h\"\n");
        let args = ["-c", "t.c", "-o", "t.o"];
        assert_eq!(reason(bench.collect(&args)), Reason::TimeMacro);
        assert_eq!(reason(bench.collect(&["-D__DATE__=\"never\"", "-c", "t.c"])), Reason::TimeMacro);
        bench.check(&["-D__DATE__=\"never\"", "-Wp,-D__TIME__=\"never\"", "-c", "t.c", "-o", "t.o"]);
        bench.file("u.c", "const char *when = __TIMESTAMP__;\n").file("v.c", "const char *when = WHEN;\n");
        bench.check(&["-c", "u.c", "-o", "u.o"]);
        assert_eq!(reason(bench.collect(&["-DWHEN=__TIME__", "-c", "v.c"])), Reason::TimeMacro);
        bench.env.push((bytes("SOURCE_DATE_EPOCH"), bytes("1")));
        match family {
            Gcc => drop(bench.check(&args)),
            Clang => assert_eq!(reason(bench.collect(&args)), Reason::TimeMacro),
        }
    }
}

/// A string that happens to name a program, or the output, hides neither from the job.
#[test]
fn strings_that_are_no_headers_hide_nothing() {
    both(|bench| {
        let text = "#define SHELL \"/bin/sh\"\n#define CONSOLE \"/dev/console\"\n#define SELF \"t.o\"\nint x;\n";
        bench.file("t.c", text).file("t.o", "from the last build");
        let inputs = bench.check(&["-c", "t.c", "-o", "t.o"]);
        assert_eq!(bench.manifest(&inputs), ["f t.c"]);
        assert!(!inputs.manifest.entries.iter().any(|entry| entry.node == Node::Tombstone));
    });
}

#[test]
fn links_directories_and_detours_are_there() {
    both(|bench| {
        bench.file("deep/x.h", "int deep;\n").directory("deep/dir").link("lk", "deep/dir").file("x.h", "int top;\n");
        bench.file("real/r.h", "#include \"beside.h\"\n").file("beside.h", "int b;\n").link("r.h", "real/r.h");
        bench.directory("empty").file("with blank/s.h", "int s;\n");
        bench.file("t.c", "#include \"lk/../x.h\"\n#include \"r.h\"\n#include <s.h>\n");
        let inputs = bench.check(&["-Iempty", "-Iwith blank", "-c", "./deep/../t.c", "-o", "t.o"]);
        let manifest = bench.manifest(&inputs);
        for entry in ["l lk", "d deep/dir", "f deep/x.h", "l r.h", "f real/r.h", "d empty", "f with blank/s.h"] {
            assert!(manifest.contains(&entry.to_owned()), "{entry} is not in {manifest:?}");
        }
        assert!(!manifest.iter().any(|entry| entry.ends_with(" x.h")), "{manifest:?}");
    });
}

/// Debug information names the directory by `PWD` where that leads to it: the object below is the plain compiler's, name and all.
#[test]
fn the_working_directory_keeps_the_name_that_the_build_has_for_it() {
    for family in [Gcc, Clang] {
        let mut bench = Bench::new(family);
        bench.file("t.c", "int f(int x) { return x; }\n").directory("other").link("far", "near").link("near", ".");
        let at = bench.at.to_str().unwrap().to_owned();
        let args = ["-g", "-c", "t.c", "-o", "t.o"];
        let mut with = |pwd: String, test: &dyn Fn(&Bench)| {
            bench.env.push((bytes("PWD"), bytes(pwd)));
            test(&bench);
            bench.env.pop();
        };
        with(format!("{at}/far"), &|bench| {
            bench.run_locally(&args);
            let object = fs::read(bench.at.join("t.o")).unwrap();
            let name = format!("{at}/far\0");
            assert!(object.windows(name.len()).any(|window| window == name.as_bytes()), "PWD is not used");
            assert_eq!(bench.manifest(&bench.check(&args)), ["l far", "l near", "f t.c"]);
        });
        for pwd in [format!("{at}/."), format!("{at}/"), "/proc/self/cwd".to_owned()] {
            with(pwd, &|bench| assert_eq!(reason(bench.collect(&args)), Reason::UnusableInput));
        }
        for pwd in [format!("{at}/other"), format!("{at}/none"), "far".to_owned()] {
            with(pwd, &|bench| assert_eq!(bench.manifest(&bench.collect(&args).unwrap().1), ["f t.c"]));
        }
    }
}

/// Compilers find their parts from the path they are called by, and some spell headers by it.
#[test]
fn a_compiler_has_the_path_that_the_build_calls_it_by() {
    both(|bench| {
        bench.file("t.c", "#include <stddef.h>\n").directory("deep/down").link("way", "deep/down").directory("detour");
        let up = "../".repeat(bench.at.components().count() + 1);
        let name = format!("detour/../way/../../{up}{}", &bench.compiler(false)[1..]);
        let args = ["-no-canonical-prefixes", "-MD", "-c", "t.c", "-o", "t.o"];
        let (command, inputs) = bench.collect_as(&name, &args).unwrap();
        let argv: Vec<Bytes> = std::iter::once(name.as_str()).chain(args).map(bytes).collect();
        let local = bench.environment(Command::new(&name).args(args).current_dir(&bench.at)).output().unwrap();
        assert!(local.status.success(), "{}", String::from_utf8_lossy(&local.stderr));
        let remote = command.remote(&argv, b"report.d", None);
        let (output, staged) = bench.run_staged(&inputs, &remote.argv);
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let list = fs::read_to_string(bench.at.join("t.d")).unwrap();
        // gcc spells system headers by their shortest names.
        assert!(bench.family == Gcc || list.contains("detour/../way/../../"), "{list}");
        assert_eq!(list, fs::read_to_string(staged.path().join("t.d")).unwrap());
        assert_eq!(inputs.check_dependencies(list.as_bytes(), true), Ok(()));
    });
}

#[test]
fn hard_links_are_one_group() {
    both(|bench| {
        bench.file("a.h", "#pragma once\nint a;\n").directory("d");
        fs::hard_link(bench.at.join("a.h"), bench.at.join("d/b.h")).unwrap();
        bench.file("t.c", "#include \"a.h\"\n#include \"d/b.h\"\n");
        let inputs = bench.check(&["-c", "t.c", "-o", "t.o"]);
        let group = |name: &str| {
            let entry = inputs.manifest.entries.iter().find(|entry| entry.path.to_string().ends_with(name)).unwrap();
            match entry.node {
                Node::File { link_group, .. } => link_group,
                ref other => panic!("{other:?}"),
            }
        };
        assert_eq!(group("/a.h"), group("/d/b.h"));
        assert_eq!(fs::metadata(bench.at.join("a.h")).unwrap().nlink(), 2);
    });
}

#[test]
fn a_dangling_link_and_a_directory_of_a_headers_name_are_shipped_as_such() {
    both(|bench| {
        bench.directory("a/x.h").link("b/x.h", "nowhere").file("c/x.h", "int x;\n").file("t.c", "#include <x.h>\n");
        let inputs = bench.check(&["-Ia", "-Ib", "-Ic", "-c", "t.c", "-o", "t.o"]);
        assert_eq!(bench.manifest(&inputs), ["d a", "d a/x.h", "d b", "l b/x.h", "d c", "f c/x.h", "f t.c"]);
    });
}

#[test]
fn files_named_by_the_command() {
    both(|bench| {
        bench.file("args", "-DX=3 @more").file("more", "-include forced.h").file("forced.h", "#define Y 4\n");
        bench.file("t.c", "int v = X + Y;\n").directory("out");
        let inputs = bench.check(&["@args", "-c", "t.c", "-o", "out/t.o"]);
        assert_eq!(bench.manifest(&inputs), ["f args", "f forced.h", "f more", "d out", "f t.c"]);
    });
}

#[test]
fn messages_quote_the_files_that_line_directives_name() {
    both(|bench| {
        bench.file("gram.y", "unused_here;\n").file("t.c", "#line 1 \"gram.y\"\nint f(void) { int v; return 0; }\n");
        let inputs = bench.check(&["-Wall", "-c", "t.c", "-o", "t.o"]);
        assert_eq!(bench.manifest(&inputs), ["f gram.y", "f t.c"]);
    });
}

#[test]
fn dependency_files_of_every_kind() {
    both(|bench| {
        bench.file("h.h", "").file("t.c", "#include <stdio.h>\n#include \"h.h\"\n");
        for args in
            [&["-MD"][..], &["-MMD", "-MP"], &["-MD", "-MF", "d.d", "-MT", "x y"], &["-Wp,-MMD,k.d"], &["-Wp,-MD,k.d"]]
        {
            let args: Vec<&str> = args.iter().copied().chain(["-c", "t.c", "-o", "t.o"]).collect();
            bench.check(&args);
        }
    });
}

/// As the kernel's headers are on Debian 13: links out of a system directory, to a place with a shorter name.
#[test]
fn a_system_header_behind_a_link_need_not_be_listed() {
    both(|bench| {
        bench
            .file("k/h.h", "")
            .link("system/with/a/longer/name/h.h", "../../../../../k/h.h")
            .file("t.c", "#include <h.h>\n");
        let system = bench.at.join("system/with/a/longer/name");
        let system = system.to_str().unwrap();
        for kind in ["-MD", "-MMD"] {
            bench.check(&["-isystem", system, kind, "-c", "t.c", "-o", "t.o"]);
        }
        let (_, inputs) = bench.collect(&["-I", system, "-c", "t.c", "-o", "t.o"]).unwrap();
        assert!(inputs.check_dependencies(b"t.o: t.c", false).is_err(), "not a system directory");
    });
}

/// The system position wins where a directory has two, and what a system header includes is one too.
#[test]
fn compilers_decide_what_a_system_header_is() {
    both(|bench| {
        bench.file("sys/s.h", "#include <conf.h>\n#include \"beside.h\"\n").file("sys/beside.h", "");
        bench.file("usr/conf.h", "#include \"deep.h\"\n").file("usr/deep.h", "").file("usr/own.h", "");
        bench.file("t.c", "#include <s.h>\n#include <own.h>\n#include <stdio.h>\n");
        for args in [
            &["-I/usr/include", "-I/usr/local/include", "-Iusr", "-isystem", "sys"][..],
            &["-Isys", "-isystem", "sys", "-Iusr"],
            &["-isystem", "sys", "-Iusr"],
        ] {
            let inputs = bench.check(&[args, &["-MMD", "-c", "t.c", "-o", "t.o"]].concat());
            let check = |list: &str| inputs.check_dependencies(list.as_bytes(), false).map_err(|why| why.detail);
            assert_eq!(check("x: t.c usr/own.h"), Ok(()), "{args:?}");
            assert_eq!(check("x: t.c"), Err(bench.at.join("usr/own.h").to_str().unwrap().to_owned()), "{args:?}");
        }
    });
}

#[test]
fn a_list_that_differs_is_refused() {
    both(|bench| {
        bench.file("h.h", "").file("other.h", "").file("t.c", "#include \"h.h\"\n#include <stddef.h>\n");
        let (_, inputs) = bench.collect(&["-c", "t.c", "-o", "t.o"]).unwrap();
        let check = |list: &str, system| inputs.check_dependencies(list.as_bytes(), system).map_err(|why| why.reason);
        assert_eq!(check("x: t.c ./h.h", false), Ok(()));
        assert_eq!(check("x: t.c h.h", true), Err(Reason::DependenciesDiffer));
        assert_eq!(check("x: t.c", false), Err(Reason::DependenciesDiffer));
        assert_eq!(check("x: t.c h.h other.h", false), Err(Reason::DependenciesDiffer));
        assert_eq!(check("x: t.c h.h none.h", false), Err(Reason::DependenciesDiffer));
        assert_eq!(check("", false), Err(Reason::DependenciesDiffer));
    });
}

#[test]
fn units_that_stay_here() {
    both(|bench| {
        bench.file("t.c", "#include \"h.h\"\n").file("h.h", "int x;\n");
        let check = |text: &str, args: &[&str], expected: Reason| {
            bench.file("h.h", text);
            let args: Vec<&str> = args.iter().copied().chain(["-c", "t.c"]).collect();
            assert_eq!(reason(bench.collect(&args)), expected, "{text} {args:?}");
        };
        check("asm(\".macro m f\\n.incbin \\\"\\\\f\\\"\\n.endm\");\n", &[], Reason::Incbin);
        check("#if 0\n#embed NAME\n#endif\n", &[], Reason::Embed);
        check("#define H \"h.h\"\n#if __has_include(H)\n#endif\n", &[], Reason::ComputedHasInclude);
        check("#include \"none.h\"\n", &[], Reason::DependencyRun);
        check("", &["-include", "/dev/null"], Reason::SpecialInput);
        check("", &["-o", "none/t.o"], Reason::UnusableInput);
        bench.link("out.o", "elsewhere.o");
        check("", &["-o", "out.o"], Reason::SpecialOutput);
        if bench.family == Clang {
            // It does not even get past a file that is no precompiled header.
            bench.file("f.h", "").file("f.h.gch", "");
            check("", &["-include", "f.h"], Reason::DependencyRun);
        }
    });
}

/// The dependency run would read a pipe empty, and the compiler would wait for ever.
#[test]
fn pipes_are_left_to_the_compiler() {
    both(|bench| {
        bench.file("t.c", "int x;\n").directory("d").link("d/l.c", "../pipe.c");
        assert!(Command::new("mkfifo").arg(bench.at.join("pipe.c")).status().unwrap().success());
        for args in [&["pipe.c"][..], &["d/l.c"], &["-include", "pipe.c", "t.c"], &["-imacros", "./pipe.c", "t.c"]] {
            assert_eq!(reason(bench.collect(&[&["-c"], args].concat())), Reason::SpecialInput, "{args:?}");
        }
        assert_eq!(reason(bench.collect(&["-c", "-include", "/dev/fd/0", "t.c"])), Reason::SpecialInput);
    });
}

#[test]
fn assembler_sources() {
    both(|bench| {
        bench.file("h.h", "#define N 3\n").file("t.S", "#include \"h.h\"\n.long N\n").file("u.s", ".long 4\n");
        bench.check(&["-c", "t.S", "-o", "t.o"]);
        let inputs = bench.check(&["-c", "u.s", "-o", "u.o"]);
        assert_eq!(bench.manifest(&inputs), ["f u.s"]);
        bench.file("v.S", ".include FILE\n").file("t.inc", ".long 5\n");
        bench.check(&["-DFILE=\"t.inc\"", "-c", "v.S", "-o", "v.o"]);
        bench.file("v.s", ".include FILE\n");
        assert_eq!(reason(bench.collect(&["-c", "v.s"])), Reason::Incbin);
    });
}

#[test]
fn split_debug_information_is_predicted() {
    both(|bench| {
        bench.file("t.c", "int f(int x) { return x; }\n").directory("o");
        let args = ["-g", "-gsplit-dwarf", "-c", "t.c", "-o", "o/t.o"];
        let (command, inputs) = bench.collect(&args).unwrap();
        assert_eq!(command.split_debug, Some(bytes("o/t.dwo")));
        bench.compare(&args, &inputs, &command, &bench.run_locally(&args));
        let (command, _) = bench.collect(&["-gsplit-dwarf", "-g", "-g0", "-c", "t.c"]).unwrap();
        bench.run_locally(&["-gsplit-dwarf", "-g", "-g0", "-c", "t.c"]);
        assert_eq!(command.split_debug.is_some(), bench.at.join("t.dwo").exists());
    });
}

#[test]
fn changes_are_noticed() {
    both(|bench| {
        bench.file("h.h", "int x;\n").file("t.c", "#include \"h.h\"\n").link("l.h", "h.h");
        let args = ["-include", "l.h", "-c", "t.c", "-o", "t.o"];
        let (_, inputs) = bench.collect(&args).unwrap();
        assert!(inputs.unchanged());
        let digest = inputs.manifest.entries.iter().find_map(|entry| match entry.node {
            Node::File { digest, .. } if entry.path.to_string().ends_with("/h.h") => Some(digest),
            _ => None,
        });
        assert_eq!(inputs.read(&digest.unwrap()), Ok(b"int x;\n".to_vec()));
        bench.file("h.h", "int y;\n");
        assert!(!inputs.unchanged());
        assert_eq!(inputs.read(&digest.unwrap()).unwrap_err().reason, Reason::InputChanged);
        let (_, inputs) = bench.collect(&args).unwrap();
        assert!(inputs.unchanged());
        fs::remove_file(bench.at.join("l.h")).unwrap();
        bench.link("l.h", "t.c");
        assert!(!inputs.unchanged());
    });
}

/// Debug information must not tell that words were added for the builder.
#[test]
fn added_options_leave_the_object_alone() {
    both(|bench| {
        bench.file("t.c", "#include <stddef.h>\nint f(int x) { int unused; return x; }\n");
        let args = ["-g3", "-O2", "-Wall", "-c", "t.c", "-o", "t.o"];
        let (command, _) = bench.collect(&args).unwrap();
        let written: Vec<Bytes> = std::iter::once(bench.compiler(false)).chain(args).map(bytes).collect();
        bench.run_locally(&args);
        let plain = fs::read(bench.at.join("t.o")).unwrap();
        let terminal = farcc::engine::compiler::Terminal::of(&[(bytes("TERM"), bytes("xterm"))], 80);
        let remote = command.remote(&written, b"report.d", terminal);
        let words: Vec<&str> = remote.argv[1..].iter().map(|word| std::str::from_utf8(word).unwrap()).collect();
        let output = bench.run_locally(&words);
        assert!(fs::read(bench.at.join("t.o")).unwrap() == plain);
        assert!(output.stderr.windows(2).any(|two| two == b"\x1b["), "no colour");
    });
}

/// Messages wrap where the plain compiler's would, and a compile with `-Werror` does not fail for an option that was added.
#[test]
fn options_for_a_terminal_are_used() {
    both(|bench| {
        bench.file("t.c", "int f(void) { int unused; return 0; }\n").file("t.s", ".long 4\n").file("t.S", ".long 4\n");
        let added = |source: &str, env: &[(&str, &str)]| {
            let args = ["-Werror", "-c", source, "-o", "t.o"];
            let (command, _) = bench.collect(&args).unwrap();
            let env: Vec<_> = env.iter().map(|(name, value)| (bytes(name), bytes(value))).collect();
            let terminal = farcc::engine::compiler::Terminal::of(&env, 80);
            let written: Vec<Bytes> = std::iter::once(bench.compiler(false)).chain(args).map(bytes).collect();
            let argv = command.remote(&written, b"report.d", terminal).argv;
            let words: Vec<String> = argv[1..].iter().map(|word| String::from_utf8(word.to_vec()).unwrap()).collect();
            let output = bench.run_locally(&words.iter().map(String::as_str).collect::<Vec<_>>());
            assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
            words.into_iter().filter(|word| word.starts_with("-f")).collect::<Vec<_>>().join(" ")
        };
        let (colour, is_clang) = ("-fdiagnostics-color=always", bench.family == Clang);
        assert_eq!(added("t.s", &[("TERM", "xterm"), ("COLUMNS", "60")]), if is_clang { "" } else { colour });
        assert_eq!(added("t.S", &[("TERM", "xterm")]), colour);
        assert_eq!(added("t.c", &[("TERM", "xterm")]), colour);
        let with_width = format!("{colour} -fmessage-length=60");
        let exported = added("t.c", &[("TERM", "xterm"), ("COLUMNS", "60")]);
        assert_eq!(exported, if is_clang { &with_width } else { colour });
    });
}

#[test]
fn probes_run_and_compare() {
    both(|bench| {
        bench.file("t.c", "");
        let probe = |args: &[&str]| {
            let (command, _) = bench.collect(args).unwrap();
            let argv = command.probe();
            let words: Vec<&str> = argv[1..].iter().map(|word| std::str::from_utf8(word).unwrap()).collect();
            (command.class_words(), bench.run_locally(&words).stderr)
        };
        let (class, first) = probe(&["-O2", "-DX", "-Wall", "-c", "t.c"]);
        let (same_class, second) = probe(&["-O2", "-I.", "-MD", "-c", "t.c", "-o", "x.o"]);
        let (other_class, third) = probe(&["-O1", "-c", "t.c"]);
        assert!(class == same_class && class != other_class);
        assert!(farcc::engine::compiler::same_commands(&first, &second));
        assert!(!farcc::engine::compiler::same_commands(&first, &third));
    });
}

/// What only the assembler reads is in no list, and the dependency check cannot miss it: so it must be shipped.
#[test]
fn files_of_the_assembler_travel() {
    both(|bench| {
        bench.file("blob", "one").file("a/blob", "two").file("b/part.inc", ".long 1\n.include \"more.inc\"\n");
        bench.file("a/more.inc", ".incbin \"deep/blob\"\n").file("a/deep/blob", "three").directory("a/deep");
        let check = |text: &str, source: &str, expected: &[&str]| {
            bench.file(source, text);
            let inputs = bench.check(&["-Ib", "-Ia", "-c", source, "-o", "t.o"]);
            let shipped = bench.manifest(&inputs);
            for name in expected {
                assert!(shipped.contains(&format!("f {name}")), "{text}: {name} not in {shipped:?}");
            }
        };
        check("__asm__(\".data\\n.incbin \\\"blob\\\"\\n\");\n", "t.c", &["blob", "a/blob"]);
        check(
            "#define FILE \"deep/blob\"\n__asm__(\".data\\n.incbin \\\"\" FILE \"\\\",1,2\\n\");\n",
            "t.c",
            &["a/deep/blob"],
        );
        check(
            "__asm__(\".data\\n.include \\\"part.inc\\\"\\n\");\n",
            "t.c",
            &["b/part.inc", "a/more.inc", "a/deep/blob"],
        );
        check(".data\n.include \"part.inc\"\n", "t.S", &["b/part.inc", "a/more.inc", "a/deep/blob"]);
        check("#define NAME \"blob\"\n.data\n.incbin NAME\n", "t.S", &["blob"]);
        check(".data\n.incbin \"blob\"\n", "t.s", &["blob"]);
        let absolute = bench.at.join("a/deep/blob");
        check(&format!(".data\n.incbin \"{}\"\n", absolute.display()), "t.S", &["a/deep/blob"]);
    });
}

#[test]
fn gccs_precompiled_headers_travel() {
    let bench = Bench::new(Gcc);
    bench.file("p.h", "#include \"q.h\"\n").file("q.h", "#include <stddef.h>\n#define Q 4\n");
    bench.file("t.c", "#include \"p.h\"\n#include <limits.h>\nint x = Q;\n").file("u.c", "int x = Q;\n");
    let precompile = |args: &[&str]| {
        let output = bench.run_locally(args);
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    };
    let check = |args: &[&str], is_used: bool| {
        let said = String::from_utf8_lossy(&bench.run_locally(&[args, &["-H"]].concat()).stderr).into_owned();
        assert_eq!(said.contains("! "), is_used, "{said}");
        let inputs = bench.check(args);
        let shipped = bench.manifest(&inputs);
        assert!(["f p.h", "f q.h"].iter().all(|name| shipped.iter().any(|entry| entry == name)), "{shipped:?}");
        assert!(shipped.iter().any(|entry| entry.starts_with("f p.h.gch")), "{shipped:?}");
    };
    precompile(&["-O1", "-g", "p.h", "-o", "p.h.gch"]);
    check(&["-O1", "-g", "-c", "t.c", "-o", "t.o"], true);
    check(&["-O1", "-g", "-MMD", "-c", "t.c", "-o", "t.o"], true);
    check(&["-O1", "-g", "-fpch-preprocess", "-Winvalid-pch", "-include", "p.h", "-c", "u.c", "-o", "u.o"], true);
    // One that the compiler rejects: it reads the header after all.
    check(&["-O1", "-g", "-fexceptions", "-c", "t.c", "-o", "t.o"], false);
    fs::remove_file(bench.at.join("p.h.gch")).unwrap();
    bench.directory("p.h.gch");
    precompile(&["-O1", "-g", "p.h", "-o", "p.h.gch/one"]);
    precompile(&["-O1", "p.h", "-o", "p.h.gch/two"]);
    check(&["-O1", "-g", "-c", "t.c", "-o", "t.o"], true);
    // gcc would go on to use what is in the precompiled header, and the dependency run would not.
    bench.file("q.h", "#define Q 5\n");
    assert_eq!(reason(bench.collect(&["-O1", "-g", "-c", "t.c", "-o", "t.o"])), Reason::PrecompiledHeader);
    // Another header's change does not matter.
    fs::remove_dir_all(bench.at.join("p.h.gch")).unwrap();
    precompile(&["-O1", "-g", "p.h", "-o", "p.h.gch"]);
    bench.file("t.c", "#include \"p.h\"\n#include \"new.h\"\nint x = Q;\n").file("new.h", "int y;\n");
    check(&["-O1", "-g", "-c", "t.c", "-o", "t.o"], true);
}

#[test]
fn clangs_precompiled_headers_travel() {
    let bench = Bench::new(Clang);
    bench.file("p.h", "#include \"q.h\"\n").file("q.h", "#include <stddef.h>\n#define Q 4\n");
    bench.file("u.c", "int x = Q;\n");
    for (made, args) in [
        ("p.pch", &["-include-pch", "p.pch"][..]),
        ("p.h.pch", &["-include", "p.h"]),
        ("p.pch", &["-Xclang", "-include-pch", "-Xclang", "p.pch", "-Xclang", "-include", "-Xclang", "p.h"]),
    ] {
        let output = bench.run_locally(&["-g", "-x", "c-header", "p.h", "-o", made]);
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        for more in [&["-g", "-c", "u.c", "-o", "u.o"][..], &["-g", "-MD", "-c", "u.c", "-o", "u.o"]] {
            let inputs = bench.check(&[args, more].concat());
            let shipped = bench.manifest(&inputs);
            for name in [made, "p.h", "q.h"] {
                assert!(shipped.contains(&format!("f {name}")), "{name} not in {shipped:?}");
            }
        }
    }
}

/// A profile left out would silently make another object.
#[test]
fn profiles_travel() {
    let bench = Bench::new(Gcc);
    let program = "static int f(int x) { return x > 3 ? x * 7 : x / 3; }\n\
                   int main(void) { int s = 0; for (int i = 0; i < 100; i++) s += f(i); return s == 0; }\n";
    bench.file("t.c", program).directory("profiles");
    let train = |args: &[&str]| {
        let output = bench.run_locally(&[args, &["-O2", "t.c", "-o", "o-t"]].concat());
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        assert!(Command::new(bench.at.join("o-t")).current_dir(&bench.at).status().unwrap().success());
    };
    train(&["-fprofile-generate=profiles", "-dumpbase", "t", "-dumpdir", "./"]);
    let plain = |args: &[&str]| {
        let output = bench.run_locally(args);
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        fs::read(bench.at.join("t.o")).unwrap()
    };
    let trained = ["-O2", "-fprofile-use=profiles", "-c", "t.c", "-o", "t.o"];
    assert!(plain(&trained) != plain(&["-O2", "-c", "t.c", "-o", "t.o"]), "the profile makes no difference");
    let inputs = bench.check(&trained);
    assert!(bench.manifest(&inputs).iter().any(|entry| entry.ends_with(".gcda")));
}
