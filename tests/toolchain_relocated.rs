//! A compiler with a dynamic loader and a C library of its own, as OpenEmbedded's `uninative` gives to all its native programs.
//!
//! Made here of Debian's gcc: every program gets another interpreter, whose own default directories are written over in its
//! file, as OpenEmbedded's relocation does; everything that the system's loader would find is out of its reach.

#![cfg(target_arch = "x86_64")]
#![expect(clippy::unwrap_used, reason = "a test that cannot set up its scene has failed")]

mod elsewhere;
mod installed;
mod trial;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use farcc::os::toolchain::{PackError, package};

use elsewhere::{Elsewhere, Packed, copy, gcc_headers, inputs, libraries, packed, subject};
use installed::need;
use trial::script_on_a_farm;

/// What the system's loader has compiled in, and what stands in its place. Names of equal length: the loader has their lengths, too.
const SYSTEM_DIRECTORIES: [&str; 2] = ["/lib/x86_64-linux-gnu/", "/usr/lib/x86_64-linux-gnu/"];
const OUT_OF_REACH: &[(&str, &str)] =
    &[("/lib/", "/nil/"), ("/usr/lib/", "/nil/nil/"), ("/etc/ld.so.cache", "/nil/ld.so.cache")];

/// Where libraries other than libc go: a place that only the loader's own word leads to.
const OTHERS: &str = "more/lib";

/// `x86_64-linux-gnu/12`, below `lib/gcc`.
fn version_directory() -> PathBuf {
    let real = PathBuf::from(elsewhere::answer(&["gcc", "-print-prog-name=cc1"]));
    real.parent().unwrap().strip_prefix("/usr/lib/gcc").unwrap().to_owned()
}

struct Sysroot {
    prefix: tempfile::TempDir,
    /// Below `cross`, in the layout by which a gcc finds its parts beside itself.
    programs: Vec<PathBuf>,
}

impl Sysroot {
    fn path(&self) -> &Path {
        self.prefix.path()
    }

    fn loader(&self) -> PathBuf {
        self.path().join("lib/ld-linux-x86-64.so.2")
    }

    fn compiler(&self) -> String {
        self.path().join("cross/bin/x86_64-oe-linux-gcc").display().to_string()
    }

    fn new() -> Self {
        need(&[("/usr/bin/patchelf", "patchelf")]);
        // As short as the first of the system's directories, with `/lib/` behind it.
        let prefix = tempfile::Builder::new().prefix("o").rand_bytes(5).tempdir_in("/var/tmp").unwrap();
        let cross = prefix.path().join("cross");
        let version = version_directory();
        let parts = cross.join("lib/gcc").join(&version);
        let machine = version.parent().unwrap();
        let real_parts = Path::new("/usr/lib/gcc").join(&version);
        let programs = [
            (fs::canonicalize("/usr/bin/gcc").unwrap(), cross.join("bin/x86_64-oe-linux-gcc")),
            (real_parts.join("cc1"), parts.join("cc1")),
            (fs::canonicalize("/usr/bin/as").unwrap(), cross.join(machine).join("bin/as")),
            (fs::canonicalize("/usr/bin/objcopy").unwrap(), cross.join(machine).join("bin/objcopy")),
        ];
        for (real, program) in &programs {
            copy(real, program);
        }
        let headers = Command::new("cp").arg("-r").arg(real_parts.join("include")).arg(&parts).status().unwrap();
        assert!(headers.success());
        let sysroot = Self { prefix, programs: programs.into_iter().map(|(_, program)| program).collect() };
        sysroot.bring_libraries();
        sysroot.relocate_loader();
        for program in &sysroot.programs {
            let mut patchelf = Command::new("patchelf");
            assert!(patchelf.arg("--set-interpreter").arg(sysroot.loader()).arg(program).status().unwrap().success());
        }
        sysroot
    }

    /// libc's own go beside the loader, the others into its second directory.
    fn bring_libraries(&self) {
        for (name, real) in self.programs.iter().flat_map(|program| libraries(program)) {
            let directory =
                if ["libc.so", "libm.so"].iter().any(|libc| name.starts_with(libc)) { "lib" } else { OTHERS };
            copy(real, self.path().join(directory).join(name));
        }
    }

    fn relocate_loader(&self) {
        let [first, second] = ["lib", OTHERS].map(|directory| format!("{}/{directory}", self.path().display()));
        let padded = |path: String, old: &str| {
            assert!(path.len() < old.len(), "{path} is too long");
            format!("{path:/<width$}", width = old.len())
        };
        let [old_first, old_second] = SYSTEM_DIRECTORIES;
        let own = [(old_first, padded(first, old_first)), (old_second, padded(second, old_second))];
        let away = OUT_OF_REACH.iter().map(|(old, new)| (*old, (*new).to_owned()));
        let written: Vec<(&str, String)> = own.into_iter().chain(away).collect();
        let real = fs::read("/lib64/ld-linux-x86-64.so.2").unwrap();
        let strings = real.split(|&byte| byte == 0).map(|text| {
            let found = written.iter().find(|(old, _)| text == old.as_bytes());
            found.map_or(text, |(_, new)| new.as_bytes())
        });
        let relocated = strings.collect::<Vec<_>>().join(&0);
        assert!(relocated.len() == real.len() && relocated != real);
        copy("/lib64/ld-linux-x86-64.so.2", self.loader());
        fs::write(self.loader(), relocated).unwrap();
    }
}

/// Fails where libraries are looked for beside the loader, or where the system has them, and not where the loader would look.
#[test]
fn a_relocated_compiler_runs_with_its_own_loader_and_libraries_alone() {
    let sysroot = Sysroot::new();
    let compiler = sysroot.compiler();
    let packed = packed(&compiler);
    let prefix = sysroot.path().to_str().unwrap();
    let is_library = |file: &&String| file.contains(".so");
    let files = packed.files();
    let strangers: Vec<_> = files.iter().filter(is_library).filter(|file| !file.starts_with(prefix)).collect();
    assert!(strangers.iter().all(|file| file.contains("/gconv/")), "{strangers:?}");
    assert!(files.contains(&sysroot.loader().display().to_string()));
    for (directory, name) in [("lib", "libc.so.6"), (OTHERS, "libmpfr.so.6")] {
        assert!(files.contains(&sysroot.path().join(directory).join(name).display().to_string()), "{name} is missing");
    }

    let elsewhere = Elsewhere::with(&packed);
    elsewhere.check_driver(&[&compiler, "-###", "-O2", "-c", "a.c"]);
    let inputs = inputs(&gcc_headers(&compiler));
    for source in ["a.c", "a.S"] {
        let command = [&compiler, "-O2", "-g", "-MD", "-MF", "out.d", "-c", source, "-o", "out.o"];
        elsewhere.check_object(&command, &inputs);
    }
}

/// What lies in the system's directories is not what the relocated loader takes.
#[test]
fn a_library_that_only_the_system_has_is_missing() {
    let sysroot = Sysroot::new();
    let (name, _) = libraries(Path::new("/usr/bin/as")).into_iter().find(|(name, _)| name.contains("bfd")).unwrap();
    let gone = sysroot.path().join(OTHERS).join(&name);
    fs::remove_file(&gone).unwrap();
    let refused = package(&subject(&sysroot.compiler(), &[])).unwrap_err();
    let is_about = matches!(&refused.why, PackError::MissingLibrary { name: missing, .. } if *missing == *name);
    assert!(is_about, "{refused}");
    assert!(refused.is_current());
    copy(Path::new("/usr/lib/x86_64-linux-gnu").join(&name), &gone);
    assert!(!refused.is_current());
}

/// Drivers stay what they are where a distribution upgrades a library under them.
#[test]
fn a_library_that_changes_makes_another_package() {
    let sysroot = Sysroot::new();
    let pack = || package(&subject(&sysroot.compiler(), &[])).unwrap();
    let before = pack();
    assert!(before.is_current());
    let library = sysroot.path().join(OTHERS).join("libmpfr.so.6");
    let mut content = fs::read(&library).unwrap();
    content.push(0);
    fs::write(&library, content).unwrap();
    assert!(!before.is_current());
    assert!(pack().id != before.id);
}

/// A copy of the system's loader goes on looking where the system's does.
#[test]
fn a_copied_loader_is_no_relocated_one() {
    need(&[("/usr/bin/patchelf", "patchelf")]);
    let directory = tempfile::tempdir_in("/var/tmp").unwrap();
    let (loader, assembler) = (directory.path().join("lib/ld.so"), directory.path().join("as"));
    copy("/lib64/ld-linux-x86-64.so.2", &loader);
    copy("/usr/bin/as", &assembler);
    let patched = Command::new("patchelf").arg("--set-interpreter").arg(&loader).arg(&assembler).status().unwrap();
    assert!(patched.success());
    let path = format!("{}:{}", directory.path().display(), elsewhere::PATH);
    let packed = Packed::of(package(&subject("/usr/bin/gcc", &[("PATH", &path)])).unwrap());
    assert!(packed.files().contains(&loader.display().to_string()));
    let elsewhere = Elsewhere::with(&packed);
    let assembler = assembler.to_str().unwrap();
    elsewhere.check_object(&[assembler, "-o", "out.o", "/dev/null"], &[]);
}

/// A recipe as OpenEmbedded builds it: sources beside the build directory, flags in `CC`, and a probe that fails where the compiler
/// prints a word that it would not print alone.
#[test]
fn a_recipe_builds_out_of_tree_on_a_farm() {
    let sysroot = Sysroot::new();
    let recipe = tempfile::tempdir_in("/var/tmp").unwrap();
    fs::create_dir_all(recipe.path().join("sources/include")).unwrap();
    fs::create_dir(recipe.path().join("build")).unwrap();
    let write = |name: &str, text: &str| fs::write(recipe.path().join("sources").join(name), text).unwrap();
    write("include/config.h", "#define ANSWER 42\n");
    write(
        "a.c",
        "#include <stdio.h>\n#include \"config.h\"\nint a(void) { return printf(\"%d %s\", ANSWER, __FILE__); }\n",
    );
    write("b.c", "#include <stddef.h>\n#include \"config.h\"\nsize_t b(void) { return ANSWER; }\n");
    let script = format!(
        "CC='{} -m64 --sysroot=/ -O2 -g -fPIC'
         echo 'int probe;' >conftest.c
         farcc $CC -c conftest.c 2>conftest.err
         test ! -s conftest.err
         for way in '' farcc; do
           mkdir -p out
           for unit in a b; do
             $way $CC -I../sources/include -MD -MF out/$unit.d -c ../sources/$unit.c -o out/$unit.o 2>out/$unit.err
           done
           mv out made-by-$way
         done
         diff -r made-by- made-by-farcc",
        sysroot.compiler()
    );
    let said = script_on_a_farm(&recipe.path().join("build"), &script);
    assert!(said.contains("3 units: 3 remote, 0 local"), "{said}");
}
