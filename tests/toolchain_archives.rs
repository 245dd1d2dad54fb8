//! Archives that other tools made, in place of a compiler (`path_override`): Debian's `icecc-create-env`, a prefix of somebody
//! else's machine, and archives that are none.

#![expect(clippy::unwrap_used, reason = "a test that cannot set up its scene has failed")]

mod elsewhere;
mod installed;
mod trial;

use std::fs;
use std::io::Write;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;

use farcc::model::digest::Digest;
use farcc::model::toolchain::ToolchainNode;
use farcc::os::toolchain::{PackError, Package, Replacement, Unpackable, package_from};
use tar::{EntryType, Header};

use elsewhere::{Elsewhere, Packed, answer, clang_headers, copy, gcc_headers, inputs, libraries, subject};
use installed::need;
use trial::script_on_a_farm;

/// What `icecc-create-env` makes of a compiler: a bare tar.
fn icecc_archive(compiler: &str, directory: &Path) -> PathBuf {
    need(&[("/usr/bin/icecc-create-env", "icecc"), ("/usr/bin/file", "file")]);
    let mut create = Command::new("icecc-create-env");
    let created = create.args([compiler, "--compression", "none"]).current_dir(directory).output().unwrap();
    assert!(created.status.success(), "{}", String::from_utf8_lossy(&created.stderr));
    let mut archives = fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path());
    archives.find(|path| path.extension().is_some_and(|extension| extension == "tar")).unwrap()
}

/// The same as it would compress it, in a hurry.
fn compressed(archive: &Path, program: &str, options: &[&str]) -> PathBuf {
    need(&[("/usr/bin/xz", "xz-utils"), ("/usr/bin/zstd", "zstd")]);
    let packed = archive.with_extension(program);
    let output = fs::File::create(&packed).unwrap();
    let done = Command::new(program).args(options).arg("-c").arg(archive).stdout(output).status().unwrap();
    assert!(done.success());
    packed
}

fn substituted(compiler: &str, archive: &Path, program: &str) -> Result<Package, Unpackable> {
    let replacement = Replacement { archive: archive.to_owned(), program: program.into() };
    package_from(&replacement, &subject(compiler, &[]))
}

/// The digest of a file of the package.
fn digest_of(package: &Package, path: &Path) -> Digest {
    let entry = package.manifest.entries.iter().find(|entry| entry.path.as_path() == path).unwrap();
    match entry.node {
        ToolchainNode::File { digest, .. } => digest,
        ref other => panic!("{}: {other:?}", path.display()),
    }
}

fn check_units(package: Package, drivers: [&str; 2], headers: &str) {
    let packed = Packed::of(package);
    assert!(!packed.files().iter().any(|file| file.contains("/include/")), "headers came along");
    let elsewhere = Elsewhere::with(&packed);
    for (driver, source) in [(drivers[0], "a.c"), (drivers[1], "a.cc"), (drivers[0], "a.S")] {
        for options in [&["-O2", "-g"][..], &["-fPIC", "-fopenmp"]] {
            elsewhere.check_commands(&[&[driver, "-###"], options, &["-flto", "-c", source]].concat());
            let command = [&[driver], options, &["-MD", "-MF", "out.d", "-c", source, "-o", "out.o"]].concat();
            elsewhere.check_object(&command, &inputs(headers));
        }
    }
}

#[test]
fn icecc_archives_work_however_they_are_compressed() {
    let directory = tempfile::tempdir_in("/var/tmp").unwrap();
    let bare = icecc_archive("/usr/bin/gcc", directory.path());
    let package = substituted("/usr/bin/gcc", &bare, "/usr/bin/gcc").unwrap();
    for (program, options) in [("gzip", &["-1"][..]), ("xz", &["-0", "-T2"]), ("zstd", &["-1"])] {
        let archive = compressed(&bare, program, options);
        let same = substituted("/usr/bin/gcc", &archive, "/usr/bin/gcc").unwrap();
        assert_eq!(same.id, package.id, "{program}");
        assert_eq!(same.summary().archive.as_deref(), archive.to_str());
    }
    check_units(package, ["/usr/bin/gcc", "/usr/bin/g++"], &gcc_headers("gcc"));
}

#[test]
fn icecc_archives_of_clang_work() {
    let directory = tempfile::tempdir_in("/var/tmp").unwrap();
    let archive = icecc_archive("/usr/bin/clang", directory.path());
    let package = substituted("/usr/bin/clang", &archive, "/usr/bin/clang").unwrap();
    check_units(package, ["/usr/bin/clang", "/usr/bin/clang++"], &clang_headers("clang"));
}

/// The compiler lies in one prefix here and in another there, as where an archive was made by somebody else. The archive's own
/// headers, which are not the same, must not be seen.
#[test]
fn a_compiler_from_another_prefix_names_the_headers_here() {
    let work = tempfile::tempdir_in("/var/tmp").unwrap();
    let (here, there) = (work.path().join("here"), work.path().join("archive/builds/gcc"));
    let parts = PathBuf::from(answer(&["gcc", "-print-prog-name=cc1"])).parent().unwrap().to_owned();
    let below = parts.strip_prefix("/usr").unwrap();
    let programs = [
        (fs::canonicalize("/usr/bin/gcc").unwrap(), PathBuf::from("bin/x-gcc")),
        (parts.join("cc1"), below.join("cc1")),
        (fs::canonicalize("/usr/bin/as").unwrap(), PathBuf::from("x86_64-linux-gnu/bin/as")),
    ];
    for (real, name) in &programs {
        copy(real, here.join(name));
        copy(real, there.join(name));
        // Nobody reads what is behind the end of a program: it works the same and is another one.
        let mut marked = fs::OpenOptions::new().append(true).open(there.join(name)).unwrap();
        marked.write_all(b"the archive's").unwrap();
        for (_, library) in libraries(real) {
            copy(&library, work.path().join("archive").join(library.strip_prefix("/").unwrap()));
        }
    }
    copy("/lib64/ld-linux-x86-64.so.2", work.path().join("archive/lib64/ld-linux-x86-64.so.2"));
    for headers in [&here, &there] {
        let copied = Command::new("cp").arg("-r").arg(parts.join("include")).arg(headers.join(below)).status().unwrap();
        assert!(copied.success());
    }
    fs::write(there.join(below).join("include/stddef.h"), "#error the archive's\n").unwrap();
    let archive = work.path().join("gcc.tar");
    let mut tar = tar::Builder::new(fs::File::create(&archive).unwrap());
    tar.append_dir_all("./", work.path().join("archive")).unwrap();
    tar.finish().unwrap();

    let compiler = here.join("bin/x-gcc").display().to_string();
    let package = substituted(&compiler, &archive, "/builds/gcc/bin/x-gcc").unwrap();
    for (_, name) in &programs {
        let archived = fs::read(there.join(name)).unwrap();
        assert_eq!(digest_of(&package, &here.join(name)), Digest::of(&archived), "{}", name.display());
    }
    let elsewhere = Elsewhere::with(&Packed::of(package));
    let headers = here.join(below).join("include").display().to_string();
    elsewhere.check_commands(&[&compiler, "-###", "-O2", "-c", "a.c"]);
    let command = [&compiler, "-O2", "-g", "-MD", "-MF", "out.d", "-c", "a.c", "-o", "out.o"];
    elsewhere.check_object(&command, &inputs(&headers));
}

/// A client daemon of its own on a farm of its own, whose configuration names an archive: the whole way.
#[test]
fn a_unit_is_compiled_by_the_archives_compiler() {
    let work = tempfile::tempdir_in("/var/tmp").unwrap();
    let archive = icecc_archive("/usr/bin/gcc", work.path());
    fs::write(
        work.path().join("a.c"),
        "#include <stddef.h>\n#include <stdio.h>\nint f(void) { return puts(__FILE__); }\n",
    )
    .unwrap();
    let script = format!(
        "farm=$(dirname $(dirname $(command -v farccctl)))
         cat $farm/client.toml - >own.toml <<'END'
[[dist.toolchains]]
type = \"path_override\"
compiler_executable = \"/usr/bin/gcc\"
archive = \"{}\"
archive_compiler_executable = \"/usr/bin/gcc\"
END
         export FARCC_SOCKET=$PWD/own.sock
         {} --config own.toml &
         daemon=$!
         trap 'kill $daemon' EXIT
         until farccctl status >status 2>&1 && grep -q ', connected' status; do kill -0 $daemon; done
         for way in plain farcc; do
           FARCC_DISABLE=$(test $way = farcc || echo 1) farcc /usr/bin/gcc -g -MD -MF out.d -c a.c -o out.o
           mkdir $way
           mv out.o out.d $way
         done
         diff -r plain farcc
         farccctl why a.c >told
         farccctl toolchain list >>told",
        archive.display(),
        env!("CARGO_BIN_EXE_farcc-clientd")
    );
    script_on_a_farm(work.path(), &script);
    let told = fs::read_to_string(work.path().join("told")).unwrap();
    for words in ["Builder builder compiled it".to_owned(), format!(", from {}\n", archive.display())] {
        assert!(told.contains(&words), "{words}: {told}");
    }
}

#[test]
fn an_archive_that_changes_makes_another_package() {
    let directory = tempfile::tempdir_in("/var/tmp").unwrap();
    let archive = directory.path().join("a.tar");
    let missing = substituted("/usr/bin/gcc", &archive, "/usr/bin/gcc").unwrap_err();
    assert!(missing.is_settled() && missing.is_current());
    fs::write(&archive, tar_of(&[("usr/bin/gcc", EntryType::Regular, "")])).unwrap();
    assert!(!missing.is_current());
    let package = substituted("/usr/bin/gcc", &archive, "/usr/bin/gcc").unwrap();
    assert!(package.is_current());
    fs::write(&archive, tar_of(&[("usr/bin/gcc", EntryType::Regular, ""), ("x", EntryType::Directory, "")])).unwrap();
    assert!(!package.is_current());
}

fn tar_of(entries: &[(&str, EntryType, &str)]) -> Vec<u8> {
    let mut builder = tar::Builder::new(Vec::new());
    for (name, kind, target) in entries {
        let content: &[u8] = if *kind == EntryType::Regular { b"content" } else { b"" };
        let mut header = Header::new_gnu();
        header.set_entry_type(*kind);
        header.set_mode(0o755);
        header.set_size(content.len() as u64);
        header.as_old_mut().name[..name.len()].copy_from_slice(name.as_bytes());
        header.as_old_mut().linkname[..target.len()].copy_from_slice(target.as_bytes());
        header.set_cksum();
        builder.append(&header, content).unwrap();
    }
    builder.into_inner().unwrap()
}

#[track_caller]
fn refused(archive: &[u8]) -> String {
    let mut file = tempfile::NamedTempFile::new().unwrap();
    file.write_all(archive).unwrap();
    let refused = substituted("/usr/bin/gcc", file.path(), "/usr/bin/gcc").unwrap_err();
    assert!(matches!(refused.why, PackError::Archive { .. }), "{refused}");
    let text = farcc::model::causes::with_causes(&refused);
    text.strip_prefix(file.path().to_str().unwrap()).unwrap().to_owned()
}

#[test]
fn archives_of_no_use_are_refused_by_name() {
    use EntryType::{Block, Directory, Link, Regular, Symlink};
    let file = ("usr/bin/gcc", Regular, "");
    assert_eq!(refused(&tar_of(&[("usr", Directory, "")])), " has no program /usr/bin/gcc");
    assert_eq!(refused(&tar_of(&[("usr/bin/gcc", Symlink, "gcc")])), " has no program /usr/bin/gcc");
    assert!(refused(&tar_of(&[file, ("disk", Block, "")])).starts_with(" has /disk of kind"));
    assert!(refused(&tar_of(&[file, ("../x", Regular, "")])).contains("a name that cannot be used: ../x"));
    assert!(refused(&tar_of(&[file, ("x", Link, "usr/bin/none")])).contains("hard link /x"));
    assert!(refused(&tar_of(&[file, ("usr/bin/gcc/x", Regular, "")])).contains("/usr/bin/gcc/x where"));
    assert!(refused(b"hello, this is no archive").starts_with(" is damaged, or no tar archive"));
    let whole = tar_of(&[file]);
    assert!(refused(&whole[..600]).starts_with(" is damaged"));
    let xz = [&[0xfd, b'7', b'z', b'X', b'Z', 0][..], b"nonsense nonsense nonsense"].concat();
    for damaged in [&xz[..], &[0x1f, 0x8b, 8, 0, 1, 2, 3], &[0x28, 0xb5, 0x2f, 0xfd, 1, 2, 3]] {
        assert!(refused(damaged).starts_with(" is damaged"), "{damaged:?}");
    }
}

/// Names with a dot in front, hard links, symlinks on the way: as tar tools leave them.
#[test]
fn names_and_links_of_all_kinds_lead_to_the_program() {
    use EntryType::{Directory, Link, Regular, Symlink};
    let directory = tempfile::tempdir_in("/var/tmp").unwrap();
    let archive = directory.path().join("a.tar");
    let entries = [
        ("./", Directory, ""),
        ("./opt/x/gcc-12", Regular, ""),
        ("./opt/x/gcc", Link, "./opt/x/gcc-12"),
        ("./opt/y", Symlink, "x"),
        ("./usr/bin/cc", Symlink, "../../opt/y/gcc"),
    ];
    fs::write(&archive, tar_of(&entries)).unwrap();
    symlink("/usr/bin/gcc", directory.path().join("gcc")).unwrap();
    let compiler = directory.path().join("gcc").display().to_string();
    let package = substituted(&compiler, &archive, "/usr/bin/cc").unwrap();
    let real = fs::canonicalize("/usr/bin/gcc").unwrap();
    for path in [real.as_path(), Path::new("/opt/x/gcc"), Path::new("/opt/x/gcc-12")] {
        assert_eq!(digest_of(&package, path), Digest::of(b"content"), "{}", path.display());
    }
    let held = elsewhere::store(u64::MAX);
    let held = held.1.unpack(&package.id, elsewhere::archive(&package).as_slice()).unwrap();
    assert_eq!(fs::read(held.path().join("opt/y/gcc")).unwrap(), b"content");
}
