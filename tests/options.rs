//! Every option of the table that reads or writes a file: compiled plainly and on a farm, in the same directory. Status, messages,
//! and all files afterwards must be the same, and the unit must have gone to the builder unless its row says otherwise.
//!
//! The commands are made from the rows, so that a new row is a new case. A compiler that does not know an option must say so in
//! the same words either way.

#![expect(clippy::unwrap_used, reason = "a test that cannot set up its scene has failed")]

mod on_a_farm;

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::PathBuf;
use std::process::Command;
use std::time::{Duration, SystemTime};

use farcc::engine::compiler::CompilerFamily;
use farcc::engine::compiler::options::{OPTIONS, Opt, Role, Takes};

use on_a_farm::{Done, files_below, paths, stats, test_on_a_farm};

use CompilerFamily::{Clang, Gcc};

#[test]
fn gcc_makes_the_same_files_on_a_farm() {
    test_on_a_farm("gcc_makes_the_same_files_on_a_farm", || check(Gcc));
}

#[test]
fn clang_makes_the_same_files_on_a_farm() {
    test_on_a_farm("clang_makes_the_same_files_on_a_farm", || check(Clang));
}

/// Files that every command finds.
const SCENE: &[(&str, &str)] = &[
    (
        "t.c",
        "#include <stdio.h>\n#include \"h.h\"\nstatic int twice(int x) { return x * 2 + H; }\n\
         int sum(const int *a, int n) { int s = 0; for (int i = 0; i < n; i++) s += twice(a[i]); return s; }\n\
         int main(void) { int a[4] = {1, 2, 3, 4}, unused; printf(\"%d\\n\", sum(a, 4)); return 0; }\n",
    ),
    ("h.h", "#define H 1\n"),
    ("inc/in.h", "#define IN 2\n"),
    ("inc/blob", "blob"),
    ("inc/part.inc", ".long 7\n.incbin \"inc/blob\"\n"),
    ("a.S", "#include \"h.h\"\n.data\n.long H\n.include \"part.inc\"\n"),
    ("b.c", "__asm__(\".data\\nblob: .incbin \\\"inc/\" \"blob\\\"\\n\");\n"),
    ("own.specs", "*cc1:\n+ -DFROM_SPECS\n\n"),
    ("list", "fun:twice\n"),
    ("tools/include/tool.h", "#define TOOL 1\n"),
    ("o/keep", ""),
];

/// One command line.
struct Case {
    row: &'static str,
    words: Vec<String>,
    is_local: bool,
}

fn check(family: CompilerFamily) {
    let scene = Scene::new(family);
    let mut wrong = Vec::new();
    let (mut n_cases, mut unknown) = (0, Vec::new());
    for case in cases(family) {
        n_cases += 1;
        let before = stats();
        let plain = scene.run(&case.words, &scene.plain_path);
        let mut again = scene.run(&case.words, &scene.plain_path);
        let ours = scene.run(&case.words, &scene.farm_path);
        let after = stats();
        let line = case.words.join(" ");
        if plain.status != Some(0) {
            unknown.push(line.clone());
        }
        // What differs from run to run anyway: times, addresses of the compiler's own memory.
        again.files.retain(|path, content| plain.files.get(path) != Some(content));
        if let Some(difference) = plain.differs(&ours, |path| again.files.contains_key(path)) {
            wrong.push(format!("{} ({}): {difference}", line, case.row));
        }
        let is_remote = after.remote > before.remote;
        if plain.status == Some(0) && is_remote == case.is_local {
            let reasons: Vec<_> =
                after.reasons.iter().filter(|(name, n)| before.reasons.get(*name) != Some(n)).collect();
            wrong.push(format!("{line} ({}): {} {reasons:?}", case.row, if is_remote { "remote" } else { "local" }));
        }
    }
    assert!(n_cases > 60 && unknown.len() < n_cases / 5, "of {n_cases} commands the compiler refused {unknown:?}");
    assert!(wrong.is_empty(), "{} of {n_cases} commands differ:\n{}", wrong.len(), wrong.join("\n"));
}

fn cases(family: CompilerFamily) -> Vec<Case> {
    let of_rows =
        OPTIONS.iter().filter(|row| row.only.is_none_or(|only| only == family)).flat_map(|row| of_row(family, row));
    let by_hand = BY_HAND.iter().filter(|(only, _)| only.is_none_or(|only| only == family)).map(|(_, line)| Case {
        row: "by hand",
        words: line.split(' ').map(str::to_owned).collect(),
        is_local: false,
    });
    of_rows.chain(by_hand).collect()
}

/// What no row makes.
const BY_HAND: &[(Option<CompilerFamily>, &str)] = &[
    (None, "-c t.c"),
    (None, "-S t.c"),
    (None, "-c a.S -Iinc"),
    (None, "-c a.S -Wa,-Iinc"),
    (None, "-c b.c"),
    // A directory with an assembler in it.
    (None, "-c -fno-integrated-as -Btools/ t.c"),
    (Some(Gcc), "-c -Btools t.c"),
    (Some(Gcc), "-c -B tools/ -MD -include tool.h t.c"),
    (Some(Gcc), "-c -g --prefix=tools/ t.c"),
    (Some(Gcc), "-c -fexec-charset=IBM1047 -fwide-exec-charset=UTF-16BE t.c"),
    (Some(Clang), "-c -fprofile-arcs -ftest-coverage t.c -o o/t.o"),
    (None, "-O2 -march=native -g -c t.c"),
    (None, "-O2 -mtune=native -g -c t.c"),
    (None, "-O2 -fPIC -march=native -mno-avx -c t.c"),
    (Some(Gcc), "-O2 -fdump-tree-all -fdump-ipa-all -c t.c -o o/other.o"),
    // More files than descriptors go with one message.
    (Some(Gcc), "-O2 -fdump-tree-all-graph -fdump-ipa-all-graph -fdump-rtl-all-graph -c t.c"),
    (
        Some(Gcc),
        "-O2 -frandom-seed=1 -fdump-tree-optimized-graph -fdump-final-insns -fdump-statistics -fdump-earlydebug -c t.c",
    ),
    (
        Some(Gcc),
        "-O1 -fanalyzer -fdump-analyzer-supergraph -fdump-analyzer-json -fdump-analyzer-exploded-nodes-2 -c t.c",
    ),
    (Some(Gcc), "-O2 -fverbose-asm -MD -S t.c"),
    (Some(Gcc), "-O2 -fdump-rtl-all -c t.c -o o/other.o"),
    (None, "-O2 -flto -frandom-seed=1 -march=native -c t.c"),
    (Some(Clang), "-fsanitize=address -fsanitize-ignorelist=list -c t.c"),
    (Some(Gcc), "-save-temps=obj -g -c t.c -o o/other.o"),
    (Some(Gcc), "-Wa,-adhlns=side.lst -pipe -g -c t.c"),
    (Some(Gcc), "-Wa,-alh -pipe -c t.c"),
    (Some(Clang), "-Xclang -include -Xclang h.h -c t.c"),
];

/// The commands that show what one row does; none if it touches no file.
fn of_row(family: CompilerFamily, row: &'static Opt) -> Vec<Case> {
    let value = match row.role {
        Role::SearchPath => "inc",
        Role::EmbedPath => "inc",
        Role::IncludeFile => "inc/in.h",
        Role::SpecsFile => "own.specs",
        Role::PrecompiledHeader => "h.pch",
        Role::Output => "o/t.o",
        Role::Language => "c",
        Role::DependencyFile => "o/t.dep",
        Role::DependencyStyle => "target",
        Role::SideFile => "side.out",
        Role::InputFile if row.spelling.contains("profile-sample") || row.spelling.contains("auto-profile") => "t.prof",
        Role::InputFile => "list",
        Role::Profile => match family {
            Gcc => ".",
            Clang => "t.profdata",
        },
        Role::Dump => "tree-original",
        Role::Report => "-vec=side.out",
        Role::Preprocessor => "-MD,t.dep",
        Role::SideFiles if row.takes == Takes::Joined => match row.spelling.contains("optimization") {
            true => "yaml",
            false => "obj",
        },
        Role::SideFiles
        | Role::Coverage
        | Role::Dependencies { .. }
        | Role::SplitDebug
        | Role::Records
        | Role::StopAfterAssembling
        | Role::StopAfterCompiling => "",
        _ => return Vec::new(),
    };
    let with = |words: Vec<String>| {
        let mut all: Vec<String> = ["-O1", "-g"].map(String::from).to_vec();
        all.extend(words);
        match row.role {
            Role::StopAfterCompiling | Role::StopAfterAssembling => {}
            _ => all.push("-c".into()),
        }
        match row.role {
            Role::DependencyFile | Role::DependencyStyle | Role::Records => all.push("-MD".into()),
            // Stamps that differ from run to run otherwise.
            Role::SideFiles | Role::Coverage => all.push("-frandom-seed=1".into()),
            _ => {}
        }
        all.push("t.c".into());
        // gcc would remove the profile that the scene has.
        let is_local = family == Gcc && row.role == Role::Coverage;
        Case { row: row.spelling, words: all, is_local }
    };
    let joined = || with(vec![format!("{}{value}", row.spelling)]);
    let separate = || with(vec![row.spelling.to_owned(), value.to_owned()]);
    match row.takes {
        Takes::Nothing => vec![with(vec![row.spelling.to_owned()])],
        Takes::Joined | Takes::Rest => vec![joined()],
        Takes::Separate => vec![separate()],
        Takes::JoinedOrSeparate => vec![joined(), separate()],
    }
}

/// A directory to compile in.
struct Scene {
    _root: tempfile::TempDir,
    at: PathBuf,
    family: CompilerFamily,
    /// `PATH` with farcc's names first, and without.
    farm_path: String,
    plain_path: String,
    /// What costs too much to be made each time: profiles and precompiled headers.
    made: BTreeMap<PathBuf, Vec<u8>>,
}

impl Scene {
    fn new(family: CompilerFamily) -> Self {
        let root = tempfile::tempdir().unwrap();
        let at = fs::canonicalize(root.path()).unwrap().join("w");
        fs::set_permissions(root.path(), fs::Permissions::from_mode(0o755)).unwrap();
        let [plain_path, farm_path] = paths();
        let mut scene = Self { _root: root, at, family, farm_path, plain_path, made: BTreeMap::new() };
        scene.prepare();
        scene
    }

    /// Profiles of a run of the program, and a precompiled header.
    fn prepare(&mut self) {
        self.lay_out();
        let script = match self.family {
            Gcc => "gcc -O1 -g -fprofile-generate -c t.c -o t.o && gcc -fprofile-generate t.o -o t && ./t >&2",
            Clang => {
                "clang -O1 -g -x c-header h.h -o h.pch
                 if clang -fprofile-instr-generate t.c -o t && LLVM_PROFILE_FILE=t.profraw ./t >&2; then
                   profdata=$(clang -print-prog-name=llvm-profdata)
                   $profdata merge t.profraw -o t.profdata && cp t.profdata default.profdata
                   printf 'sum:1000:10\\n 1: 10\\n 2: 20\\n' >t.prof
                 fi"
            }
        };
        let output =
            Command::new("sh").args(["-ec", script]).current_dir(&self.at).env("PATH", &self.plain_path).output();
        let output = output.unwrap();
        assert!(output.status.success() || self.family == Clang, "{}", String::from_utf8_lossy(&output.stderr));
        for (path, (_, content)) in files_below(&self.at) {
            let kept = ["gcda", "pch", "profdata", "prof"];
            if path.extension().is_some_and(|extension| kept.iter().any(|kept| extension == *kept)) {
                self.made.insert(path, content);
            }
        }
    }

    fn lay_out(&self) {
        if self.at.exists() {
            fs::remove_dir_all(&self.at).unwrap();
        }
        let scene = SCENE.iter().map(|(path, content)| (PathBuf::from(path), content.as_bytes()));
        let made = self.made.iter().map(|(path, content)| (path.clone(), content.as_slice()));
        for (path, content) in scene.chain(made) {
            let path = self.at.join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(&path, content).unwrap();
            // Precompiled headers know the times of what is in them.
            let time = SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000_000);
            fs::File::options().write(true).open(&path).unwrap().set_modified(time).unwrap();
        }
        symlink("/usr/bin/as", self.at.join("tools/as")).unwrap();
    }

    fn run(&self, words: &[String], path: &str) -> Done {
        self.lay_out();
        let name = match self.family {
            Gcc => "gcc",
            Clang => "clang",
        };
        // A shell looks the name up in the PATH that it is given.
        let output = Command::new("sh")
            .args(["-c", "exec \"$0\" \"$@\"", name])
            .args(words)
            .current_dir(&self.at)
            .env("PATH", path)
            .env("LC_ALL", "C")
            .output()
            .unwrap();
        let files = files_below(&self.at);
        Done { status: output.status.code(), stdout: output.stdout, stderr: output.stderr, files }
    }
}
