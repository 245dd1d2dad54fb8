//! Wrong results that others are known for, each tried on a throwaway farm: docs/wrong-results.md says which is which.
//!
//! Every command is run plainly and through farcc in the same place; whatever it leaves behind must be the same.

#![expect(clippy::unwrap_used, reason = "a test that cannot set up its scene has failed")]

mod on_a_farm;

use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::process::Command;

use on_a_farm::{Done, files_below, paths, stats, test_on_a_farm};

/// A directory with sources. What is compiled there is compared, and then removed.
struct Yard {
    _root: tempfile::TempDir,
    at: PathBuf,
}

impl Yard {
    fn new() -> Self {
        let root = tempfile::tempdir().unwrap();
        fs::set_permissions(root.path(), fs::Permissions::from_mode(0o755)).unwrap();
        let at = fs::canonicalize(root.path()).unwrap();
        Self { _root: root, at }
    }

    fn file(&self, path: &str, text: &str) -> &Self {
        let path = self.at.join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
        self
    }

    fn run(&self, path: &str, script: &str) -> Done {
        let before = files_below(&self.at);
        let output = Command::new("sh")
            .args(["-c", script])
            .current_dir(&self.at)
            .env("PATH", path)
            .env("LC_ALL", "C")
            .env_remove("SOURCE_DATE_EPOCH")
            .output()
            .unwrap();
        let mut files = files_below(&self.at);
        files.retain(|name, now| before.get(name) != Some(now));
        for name in files.keys().filter(|name| !before.contains_key(*name)) {
            fs::remove_file(self.at.join(name)).unwrap();
        }
        Done { status: output.status.code(), stdout: output.stdout, stderr: output.stderr, files }
    }

    /// As [`Self::run_on_farm`], and plainly: all that comes of it must be the same.
    #[track_caller]
    fn compile(&self, n_units: u64, script: &str) -> Done {
        let [plain, _] = paths();
        let expected = self.run(&plain, script);
        assert_eq!(expected.status, Some(0), "{script}: {}", String::from_utf8_lossy(&expected.stderr));
        let found = self.run_on_farm(n_units, script);
        assert_eq!(expected.differs(&found, |_| false), None, "{script}");
        found
    }

    /// Runs `script` on the farm alone; its `n_units` units must all have been compiled by the builder.
    #[track_caller]
    fn run_on_farm(&self, n_units: u64, script: &str) -> Done {
        let [_, farm] = paths();
        let before = stats();
        let done = self.run(&farm, script);
        let after = stats();
        assert_eq!(after.remote - before.remote, n_units, "{script}: {:?}", after.reasons);
        done
    }

    /// As [`Self::compile`], with an outcome that differs from that of the time before.
    #[track_caller]
    fn compile_anew(&self, before: &Done, script: &str) -> Done {
        let done = self.compile(1, script);
        assert!(done.files != before.files, "{script}: the change made no difference");
        done
    }
}

#[test]
fn the_working_directory_counts() {
    test_on_a_farm("the_working_directory_counts", || {
        let yard = Yard::new();
        yard.file("s.c", "#include <config.h>\nint x = X;\n");
        yard.file("one/config.h", "#define X 1\n").file("two/config.h", "#define X 2\n");
        let script = "for d in one two; do (cd $d && gcc -g -I. -c \"$OLDPWD/s.c\" -o s.o); done";
        let done = yard.compile(2, script);
        assert!(done.files[&PathBuf::from("one/s.o")] != done.files[&PathBuf::from("two/s.o")]);
    });
}

#[test]
fn a_header_that_appears_earlier_is_taken() {
    test_on_a_farm("a_header_that_appears_earlier_is_taken", || {
        let yard = Yard::new();
        yard.file(
            "s.c",
            "#include <h.h>\n#if __has_include(<opt.h>)\n#include <opt.h>\n#endif\nint x = X;\nint y = Y;\n",
        );
        yard.file("b/h.h", "#define X 1\n#ifndef Y\n#define Y 0\n#endif\n").file("a/none", "");
        let script = "gcc -Ia -Ib -c s.c";
        let first = yard.compile(1, script);
        yard.file("a/h.h", "#define X 2\n#define Y 0\n");
        let second = yard.compile_anew(&first, script);
        yard.file("a/opt.h", "#undef Y\n#define Y 3\n");
        let third = yard.compile_anew(&second, script);
        fs::remove_file(yard.at.join("a/opt.h")).unwrap();
        fs::remove_file(yard.at.join("a/h.h")).unwrap();
        let last = yard.compile_anew(&third, script);
        assert!(last.files == first.files);
    });
}

#[test]
fn a_dependency_file_names_its_own_object() {
    test_on_a_farm("a_dependency_file_names_its_own_object", || {
        let yard = Yard::new();
        yard.file("s.c", "#include \"h.h\"\n").file("h.h", "int x;\n");
        yard.compile(
            4,
            "for n in A B; do gcc -MD -MT $n.o -MF $n.d -c s.c -o $n.o; gcc -MMD -MP -c s.c -o $n.2.o; done",
        );
    });
}

#[test]
fn the_variables_that_matter_are_there() {
    test_on_a_farm("the_variables_that_matter_are_there", || {
        let yard = Yard::new();
        yard.file("s.c", "const char d[] = __DATE__ __TIME__ __TIMESTAMP__;\n").file("i/h.h", "int h;\n");
        yard.file("t.c", "#include <h.h>\n");
        let first = yard.compile(1, "SOURCE_DATE_EPOCH=86400 gcc -c s.c");
        yard.compile_anew(&first, "SOURCE_DATE_EPOCH=864000 gcc -c s.c");
        yard.compile(1, "CPATH=i gcc -g -c t.c");
        yard.compile(1, "C_INCLUDE_PATH=/nonexistent:i gcc -g -c t.c");
        yard.file("t.cc", "#include <h.h>\n").file("w.c", "const char w[] = __TIMESTAMP__;\n");
        yard.compile(1, "CPLUS_INCLUDE_PATH=i g++ -g -c t.cc");
        let west = yard.compile(1, "TZ=XYZ+5 gcc -c w.c");
        yard.compile_anew(&west, "TZ=XYZ-5 gcc -c w.c");
        std::os::unix::fs::symlink(".", yard.at.join("here")).unwrap();
        yard.compile(1, "cd here && gcc -g -Ii -c t.c");
    });
}

#[test]
fn files_that_the_assembler_reads_count() {
    test_on_a_farm("files_that_the_assembler_reads_count", || {
        let yard = Yard::new();
        yard.file("s.c", "__asm__(\".data\\n.incbin \\\"blob\\\"\\n\");\n").file("blob", "1");
        yard.file("t.S", ".data\n.include \"part.inc\"\n").file("part.inc", ".long 1\n");
        let [s, t] = ["gcc -c s.c", "gcc -c t.S"];
        let (first, second) = (yard.compile(1, s), yard.compile(1, t));
        yard.file("blob", "2").file("part.inc", ".long 2\n");
        yard.compile_anew(&first, s);
        yard.compile_anew(&second, t);
    });
}

#[test]
fn the_callers_umask_counts() {
    test_on_a_farm("the_callers_umask_counts", || {
        let yard = Yard::new();
        yard.file("s.c", "int f(void) { return 1; }\n");
        for umask in ["022", "077", "002", "000"] {
            yard.compile(1, &format!("umask {umask} && gcc -MD -fstack-usage -c s.c"));
        }
    });
}

#[test]
fn a_precompiled_header_that_was_made_anew_counts() {
    test_on_a_farm("a_precompiled_header_that_was_made_anew_counts", || {
        let yard = Yard::new();
        yard.file("p.h", "#include <stdio.h>\n#define P 1\n").file("s.c", "#include \"p.h\"\nint x = P;\n");
        let [plain, _] = paths();
        let precompile = || {
            let made = Command::new("gcc").args(["-O1", "p.h"]).current_dir(&yard.at).env("PATH", &plain).status();
            assert!(made.unwrap().success());
        };
        precompile();
        let first = yard.compile(1, "gcc -O1 -Winvalid-pch -c s.c");
        yard.file("p.h", "#include <stdio.h>\n#define P 2\n");
        precompile();
        yard.compile_anew(&first, "gcc -O1 -Winvalid-pch -c s.c");
    });
}

/// `../sources/s.c`, as recipes of OpenEmbedded call it.
#[test]
fn inputs_outside_the_working_directory_are_found() {
    test_on_a_farm("inputs_outside_the_working_directory_are_found", || {
        let yard = Yard::new();
        yard.file("sources/s.c", "#include \"../common/h.h\"\n#include \"sub dir/k.h\"\nint x = H + K;\n");
        yard.file("common/h.h", "#define H 1\n")
            .file("sources/sub dir/k.h", "#define K 2\n")
            .file("build/deep/none", "");
        yard.compile(1, "cd build && gcc -g -MD -c ../sources/s.c -o deep/s.o");
        yard.compile(1, "cd build/deep && gcc -g -MD -I ../../common -c ../../sources/./s.c");
        yard.file("odd/a b é.c", "#include <h.h>\nconst char *f = __FILE__;\n");
        yard.compile(1, "cd build && gcc -g -MD -I../common -c '../odd/a b é.c' -o 'deep/a b.o'");
        let bytes = yard.at.join(OsStr::from_bytes(b"odd/\xff.c"));
        fs::write(bytes, "int x;\n").unwrap();
        yard.compile(1, "cd build && gcc -g -c ../odd/$(printf '\\377').c -o deep/bytes.o");
        // Dependency lists have no way to write this name.
        yard.file("odd/a\nb.c", "int x;\n");
        yard.compile(0, "cd build && gcc -g -c '../odd/a\nb.c' -o 'deep/a\nb.o'");
        let many: String = (0..5_000).map(|n| format!(" -DM{n}={n}")).collect();
        yard.file("build/words", &many);
        yard.compile(1, "cd build && gcc @words -c ../sources/s.c");
    });
}

/// A compile that fails on the builder only is done once more here, and counted; one that fails everywhere is told of once.
#[test]
fn what_fails_on_the_builder_only_is_compiled_here() {
    test_on_a_farm("what_fails_on_the_builder_only_is_compiled_here", || {
        let yard = Yard::new();
        // The assembler puts the directive together, so that nobody sees it.
        yard.file("s.c", "__asm__(\".macro m a, b\\n\\\\a\\\\b \\\"blob\\\"\\n.endm\\n.data\\nm .inc, bin\\n\");\n");
        yard.file("blob", "1").file("bad.c", "int x = y;\n");
        let before = stats();
        yard.compile(0, "gcc -c s.c");
        let after = stats();
        assert_eq!(after.fallbacks, before.fallbacks + 1, "{after:?}");
        assert_eq!(after.reasons.get("remote-error"), Some(&1), "{after:?}");
        let [plain, farm] = paths();
        let (expected, found) = (yard.run(&plain, "gcc -c bad.c"), yard.run(&farm, "gcc -c bad.c"));
        assert_eq!(expected.status, Some(1));
        assert_eq!(expected.differs(&found, |_| false), None);
    });
}

/// Options say that a compile makes no other file. One that does all the same is done once more here.
#[test]
fn a_file_that_nobody_expected_is_not_lost() {
    test_on_a_farm("a_file_that_nobody_expected_is_not_lost", || {
        let yard = Yard::new();
        yard.file("s.c", "int f(void) { return 1; }\n").file("own.specs", "*cc1:\n+ -aux-info side.X\n\n");
        let done = yard.compile(0, "gcc -specs=own.specs -c s.c");
        assert!(done.files.contains_key(&PathBuf::from("side.X")));
        assert_eq!(stats().reasons.get("unexpected-output"), Some(&1));
    });
}

/// A job that reads what the dependency run did not: here by a specification that tells the two apart.
#[test]
fn a_file_that_only_the_job_has_read_counts() {
    test_on_a_farm("a_file_that_only_the_job_has_read_counts", || {
        let yard = Yard::new();
        yard.file("own.specs", "*cc1:\n+ %{!E:-include more.h}\n\n").file("more.h", "int more;\n");
        yard.file("s.c", "#if __has_include(\"more.h\")\nint x;\n#endif\n");
        yard.compile(0, "gcc -specs=own.specs -c s.c");
        assert_eq!(stats().reasons.get("dependencies-differ"), Some(&1), "{:?}", stats().reasons);
    });
}

/// Larger than what is kept in memory on the way, in either daemon.
#[test]
fn large_objects_come_back_whole() {
    test_on_a_farm("large_objects_come_back_whole", || {
        let yard = Yard::new();
        yard.file("s.c", "int large[100000] = {1, [99999] = 2};\n");
        yard.compile(1, "gcc -c s.c");
    });
}

/// Every program that is started with this variable complains of it.
#[test]
fn a_variable_that_is_not_listed_stays_here() {
    test_on_a_farm("a_variable_that_is_not_listed_stays_here", || {
        let yard = Yard::new();
        yard.file("s.c", "int x;\n");
        let done = yard.run_on_farm(1, "LD_PRELOAD=/nonexistent/secret.so gcc -c s.c");
        let said = String::from_utf8_lossy(&done.stderr).into_owned();
        assert_eq!(said.matches("secret.so").count(), 1, "more than the wrapper has it: {said}");
    });
}

/// Client and builder are one machine here, and would say the same of their processor: a job of gcc shows that it was told.
#[test]
fn native_is_the_callers_processor() {
    test_on_a_farm("native_is_the_callers_processor", || {
        let yard = Yard::new();
        yard.file("s.c", "#if __has_include(\"/tmp/.farcc-native.specs\")\nint told;\n#endif\nint x;\n");
        let done = yard.run_on_farm(1, "gcc -march=native -c s.c");
        let (_, object) = &done.files[&PathBuf::from("s.o")];
        assert!(object.windows(4).any(|window| window == b"told"));
        // clang is told by other words than the build's; where it writes them down, the unit stays here.
        yard.compile(0, "clang -g -grecord-command-line -march=native -MD -c s.c");
        yard.compile(1, "clang -g -march=native -MD -c s.c");
    });
}

/// Each decision with its reason and its builder, for whoever asks for it.
#[test]
fn decisions_are_visible() {
    test_on_a_farm("decisions_are_visible", || {
        let yard = Yard::new();
        yard.file("s.c", "int x;\n");
        let [_, farm] = paths();
        let said = |script: &str| String::from_utf8_lossy(&yard.run(&farm, script).stderr).into_owned();
        assert_eq!(said("gcc -c s.c"), "");
        let remote = said("FARCC_LOG=info gcc -c s.c");
        assert!(remote.contains("s.c") && remote.contains("builder"), "{remote}");
        let local = said("FARCC_LOG=info gcc -c s.c -o /dev/null");
        assert!(local.contains("special-output: /dev/null"), "{local}");
    });
}
