//! Compilers for another machine, and those that are reached by detours: Debian's cross gcc, clang with a target, scripts, musl.

#![expect(clippy::unwrap_used, reason = "a test that cannot set up its scene has failed")]

mod elsewhere;
mod installed;
mod trial;

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

#[cfg(target_arch = "x86_64")]
use farcc::model::toolchain::IsaLevel;
use farcc::os::toolchain::{PackError, package};

use elsewhere::{Elsewhere, clang_headers, gcc_headers, inputs, packed, packed_with, subject};
use installed::need;
use trial::script_on_a_farm;

const CROSS: &str = "/usr/bin/aarch64-linux-gnu-gcc";
const CROSS_CXX: &str = "/usr/bin/aarch64-linux-gnu-g++";
const TARGET: &str = "--target=aarch64-linux-gnu";

fn need_cross() {
    need(&[
        (CROSS, "gcc-aarch64-linux-gnu"),
        (CROSS_CXX, "g++-aarch64-linux-gnu"),
        ("/usr/aarch64-linux-gnu/include/stdio.h", "libc6-dev-arm64-cross"),
    ]);
}

/// The target's own headers beside the machine's.
fn cross_inputs(resources: &str) -> Vec<PathBuf> {
    let mut inputs = inputs(resources);
    inputs.push("/usr/aarch64-linux-gnu/include".into());
    inputs
}

fn object<'a>(compiler: &'a str, options: &[&'a str], source: &'a str) -> Vec<&'a str> {
    let fixed = ["-O2", "-g", "-MD", "-MF", "out.d", "-c", source, "-o", "out.o"];
    [&[compiler], options, &fixed].concat()
}

#[test]
fn a_cross_gcc_compiles_where_nothing_else_is() {
    need_cross();
    let packed = packed(CROSS);
    let files = packed.files();
    assert!(files.iter().any(|file| file.ends_with("aarch64-linux-gnu-as")), "{files:?}");
    assert!(!files.iter().any(|file| file.ends_with("x86_64-linux-gnu-as")), "this machine's assembler came along");
    let elsewhere = Elsewhere::with(&packed);
    for (compiler, source) in [(CROSS, "a.c"), (CROSS_CXX, "a.cc"), (CROSS, "a.S")] {
        elsewhere.check_driver(&[compiler, "-###", "-O2", "-c", source]);
        elsewhere.check_object(&object(compiler, &[], source), &cross_inputs(&gcc_headers(compiler)));
    }
    assert_eq!(packed.package.id, self::packed(CROSS_CXX).package.id, "C and C++ have one toolchain");
}

#[test]
fn clang_compiles_for_another_machine() {
    need_cross();
    let packed = packed_with("/usr/bin/clang", &[TARGET]);
    let elsewhere = Elsewhere::with(&packed);
    for (compiler, source) in [("/usr/bin/clang", "a.c"), ("/usr/bin/clang++", "a.cc"), ("/usr/bin/clang", "a.S")] {
        for options in [&[TARGET][..], &["-target", "aarch64-linux-gnu"]] {
            let question = [&[compiler, "-###"], options, &["-O2", "-c", source]].concat();
            elsewhere.check_commands(&question);
        }
        elsewhere.check_object(&object(compiler, &[TARGET], source), &cross_inputs(&clang_headers("clang")));
    }
    // The assembler of the target, by the name that only this target looks for.
    let question = ["/usr/bin/clang", "-###", TARGET, "-fno-integrated-as", "-c", "a.c"];
    elsewhere.check_commands(&question);
    let command = object("/usr/bin/clang", &[TARGET, "-fno-integrated-as"], "a.c");
    elsewhere.check_object(&command, &cross_inputs(&clang_headers("clang")));
}

#[test]
fn every_way_through_symlinks_is_kept() {
    let directory = tempfile::tempdir_in("/var/tmp").unwrap();
    let at = |name: &str| directory.path().join(name);
    fs::create_dir_all(at("alternatives")).unwrap();
    symlink("/usr/bin/gcc", at("alternatives/cc")).unwrap();
    symlink("alternatives", at("current")).unwrap();
    symlink("current/cc", at("x86-cc")).unwrap();
    let compiler = at("x86-cc").display().to_string();
    let elsewhere = Elsewhere::with(&packed(&compiler));
    elsewhere.check_object(&object(&compiler, &[], "a.c"), &inputs(&gcc_headers("gcc")));
}

/// A script could do anything; what it is called says which.
#[test]
fn scripts_are_named() {
    need(&[("/usr/bin/musl-gcc", "musl-tools")]);
    let refused = |path: &str| package(&subject(path, &[])).unwrap_err();
    let musl = refused("/usr/bin/musl-gcc");
    assert!(matches!(musl.why, PackError::Script { .. }) && musl.is_settled(), "{musl}");
    let script = fs::canonicalize("/usr/bin/musl-gcc").unwrap();
    assert_eq!(musl.to_string(), format!("{} is a script, not a compiler that could run elsewhere", script.display()));
}

/// Where jobs run, 32-bit programs are ended by the filter of system calls: better no than that.
#[test]
#[cfg(target_arch = "x86_64")]
fn programs_for_other_machines_are_refused_by_name() {
    let directory = tempfile::tempdir_in("/var/tmp").unwrap();
    let (source, assembler) = (directory.path().join("as.c"), directory.path().join("as"));
    fs::write(&source, "void _start(void) { for (;;); }\n").unwrap();
    let words = ["-m32", "-static", "-nostdlib", source.to_str().unwrap(), "-o", assembler.to_str().unwrap()];
    assert!(std::process::Command::new("gcc").args(words).status().unwrap().success());
    let path = format!("{}:{}", directory.path().display(), elsewhere::PATH);
    let refused = package(&subject("/usr/bin/gcc", &[("PATH", &path)])).unwrap_err();
    assert!(refused.is_settled());
    let expected = format!("{} is a program for i386 (32-bit), which builders do not run", assembler.display());
    assert_eq!(refused.to_string(), expected);
}

/// The linker notes which generation of processors a program is made for; the toolchain needs what the most demanding one needs.
#[test]
#[cfg(target_arch = "x86_64")]
fn a_toolchain_needs_what_its_programs_note() {
    let directory = tempfile::tempdir_in("/var/tmp").unwrap();
    let (source, assembler) = (directory.path().join("as.c"), directory.path().join("as"));
    fs::write(&source, "int main(void) { return 0; }\n").unwrap();
    let path = format!("{}:{}", directory.path().display(), elsewhere::PATH);
    for (option, expected) in [("-Wl,-z,x86-64-v3", 3), ("-Wl,-z,x86-64-v2", 2), ("-Wl,-O1", 1)] {
        let words = [option, source.to_str().unwrap(), "-o", assembler.to_str().unwrap()];
        assert!(std::process::Command::new("gcc").args(words).status().unwrap().success());
        let package = package(&subject("/usr/bin/gcc", &[("PATH", &path)])).unwrap();
        assert_eq!(package.level, IsaLevel(expected), "{option}");
    }
}

/// A musl program finds its libraries by musl's rules: its loader is its C library.
#[test]
fn programs_of_musl_bring_its_loader() {
    need(&[("/usr/bin/musl-gcc", "musl-tools")]);
    let directory = tempfile::tempdir_in("/var/tmp").unwrap();
    let assembler = directory.path().join("as");
    let source = directory.path().join("as.c");
    fs::write(
        &source,
        "#include <stdio.h>\nint main(int n, char **words) { return fopen(words[n - 1], \"w\") == 0; }\n",
    )
    .unwrap();
    let words = ["-o", assembler.to_str().unwrap(), source.to_str().unwrap()];
    assert!(std::process::Command::new("musl-gcc").args(words).status().unwrap().success());
    let path = format!("{}:{}", directory.path().display(), elsewhere::PATH);
    let packed = elsewhere::Packed::of(package(&subject("/usr/bin/gcc", &[("PATH", &path)])).unwrap());
    let loader = fs::canonicalize("/lib/ld-musl-x86_64.so.1").unwrap();
    assert!(packed.files().contains(&loader.display().to_string()), "{}", loader.display());
    assert!(Path::new(&assembler).exists());
    Elsewhere::with(&packed).check_object(&[assembler.to_str().unwrap(), "out.o"], &[]);
}

const UNIT: &str =
    "#include <stdio.h>\n#include <stddef.h>\nsize_t f(void) { return puts(__FILE__) + sizeof(size_t); }\n";

/// Every spelling of a target is the same toolchain, sent once.
#[test]
fn units_for_another_machine_are_compiled_on_a_farm() {
    need_cross();
    let work = tempfile::tempdir_in("/var/tmp").unwrap();
    fs::write(work.path().join("a.c"), UNIT).unwrap();
    let script = "
        for cc in 'aarch64-linux-gnu-gcc' 'clang --target=aarch64-linux-gnu' 'clang -target aarch64-linux-gnu' \
                  'clang -target aarch64-linux-gnu --sysroot /'; do
          for way in plain farcc; do
            FARCC_DISABLE=$(test $way = farcc || echo 1) farcc $cc -O2 -g -MD -MF out.d -c a.c -o out.o
            mkdir $way
            mv out.o out.d $way
          done
          diff -r plain farcc
          rm -r plain farcc
        done
        farccctl toolchain list";
    let said = script_on_a_farm(work.path(), &format!("{script} >list"));
    assert!(said.contains("4 units: 4 remote, 0 local"), "{said}");
    let list = fs::read_to_string(work.path().join("list")).unwrap();
    assert_eq!(list.lines().count(), 3, "{list}");
    for words in ["/usr/bin/aarch64-linux-gnu-gcc  ", "/usr/bin/clang --target=aarch64-linux-gnu  ", "--sysroot=/  "] {
        assert!(list.contains(words), "{words}: {list}");
    }
}

/// Whatever a script does, the unit is compiled, and whoever asks is told what kept it here.
#[test]
fn units_of_a_script_stay_here_and_say_so() {
    let work = tempfile::tempdir_in("/var/tmp").unwrap();
    let compiler = work.path().join("my-gcc");
    fs::write(work.path().join("a.c"), UNIT).unwrap();
    fs::write(&compiler, "#!/bin/sh\nexec gcc \"$@\"\n").unwrap();
    fs::set_permissions(&compiler, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    let script = "
        for n in 1 2 3; do farcc ./my-gcc -c a.c -o a.o; done
        farccctl why a.c
        farccctl toolchain show my-gcc";
    let said = script_on_a_farm(work.path(), &format!("{{ {script}\n }} >told"));
    assert!(said.contains("3 units: 0 remote, 3 local, 0 of these after a failure"), "{said}");
    let told = fs::read_to_string(work.path().join("told")).unwrap();
    let because = format!("{} is a script, not a compiler that could run elsewhere", compiler.display());
    assert!(told.contains(&format!("toolchain-unpackable: {because}")), "{told}");
    assert!(told.contains(&format!("because    {because}")), "{told}");
}
