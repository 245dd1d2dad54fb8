//! Real compilers, packaged, unpacked and run where nothing else is; archives from a peer that lies.

#![expect(clippy::unwrap_used, reason = "a test that cannot set up its scene has failed")]

mod copied;
mod elsewhere;
mod installed;

use std::fs;
use std::io::{self, Read, Write};
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{LazyLock, mpsc};
use std::time::Duration;

use farcc::engine::toolchain::driver::Family;
use farcc::model::digest::Digest;
use farcc::model::path::SandboxPath;
use farcc::model::toolchain::{ToolchainEntry, ToolchainId, ToolchainManifest, ToolchainNode};
use farcc::os::toolchain::{ArchiveError, Held, PackError, StoreError, Subject, ToolchainStore, UnpackError, package};

use copied::copy_program;
use tar::{EntryType, Header};

use elsewhere::{
    Elsewhere, PATH, Packed, archive, check_compiles, clang_headers, copy, gcc_headers, inputs, libraries, packed,
    packed_with, store, subject,
};
use installed::need;

static GCC: LazyLock<Packed> = LazyLock::new(|| packed("/usr/bin/gcc"));
static CLANG: LazyLock<Packed> = LazyLock::new(|| packed("/usr/bin/clang"));

#[test]
fn gcc_compiles_where_nothing_else_is() {
    let elsewhere = Elsewhere::with(&GCC);
    check_compiles(&elsewhere, "gcc", "g++", &gcc_headers("gcc"));
    check_compiles(&elsewhere, "/usr/bin/cc", "/usr/bin/c++", &gcc_headers("gcc"));
}

#[test]
fn clang_compiles_where_nothing_else_is() {
    let elsewhere = Elsewhere::with(&CLANG);
    check_compiles(&elsewhere, "clang", "clang++", &clang_headers("clang"));
    let command = ["clang", "-fno-integrated-as", "-c", "a.c", "-o", "out.o"];
    elsewhere.check_object(&command, &inputs(&clang_headers("clang")));
}

/// Options that make drivers look around.
const FLAGS: &[&[&str]] = &[
    &["-O2"],
    &["-g"],
    &["-flto"],
    &["-fPIC"],
    &["-fsanitize=address"],
    &["-fsanitize=undefined,leak"],
    &["-fopenmp"],
    &["-gsplit-dwarf", "-g"],
    &["-pg"],
    &["--coverage"],
    &["-static"],
    &["-pthread", "-std=c11"],
];

#[cfg(target_arch = "x86_64")]
const MACHINE_FLAGS: &[&[&str]] = &[&["-m32"], &["-mx32"], &["-march=x86-64-v3"]];
#[cfg(not(target_arch = "x86_64"))]
const MACHINE_FLAGS: &[&[&str]] = &[];

fn check_drivers(packed: &Packed, drivers: [&str; 2], more: &[&[&str]]) {
    let elsewhere = Elsewhere::with(packed);
    elsewhere.write("a.c", "");
    elsewhere.write("a.cc", "");
    for (driver, source) in drivers.iter().zip(["a.c", "a.cc"]) {
        for flags in FLAGS.iter().chain(MACHINE_FLAGS).chain(more) {
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
        let elsewhere = Elsewhere::with(&packed_with(&format!("/usr/bin/{compiler}"), &[&option]));
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
    let refused = |path: &str| package(&subject(path, &[])).unwrap_err().why;
    let script = script.to_str().unwrap();
    assert!(matches!(refused(script), PackError::Script { .. }));
    assert_eq!(refused(script).to_string(), format!("{script} is a script, not a compiler that could run elsewhere"));
    assert!(matches!(refused("/usr/bin/true"), PackError::Probe(_)));
    assert!(matches!(refused("/nonexistent/gcc"), PackError::Missing));
    assert!(matches!(refused("gcc"), PackError::Relative));

    let launcher = directory.path().join("ccache");
    copy_program("/bin/true", &launcher);
    symlink(&launcher, directory.path().join("cc")).unwrap();
    assert!(matches!(refused(directory.path().join("cc").to_str().unwrap()), PackError::Launcher { .. }));
}

/// One entry of a handmade archive, however wrong.
struct Piece {
    kind: EntryType,
    name: &'static str,
    target: &'static str,
    content: Vec<u8>,
    mode: u32,
    /// What the header says.
    size: u64,
}

fn piece(kind: EntryType, name: &'static str, target: &'static str, content: &[u8]) -> Piece {
    Piece { kind, name, target, content: content.to_vec(), mode: 0o444, size: content.len() as u64 }
}

fn directory(name: &'static str) -> Piece {
    piece(EntryType::Directory, name, "", b"")
}

fn file(name: &'static str, content: &[u8]) -> Piece {
    piece(EntryType::Regular, name, "", content)
}

fn link(name: &'static str, target: &'static str) -> Piece {
    piece(EntryType::Symlink, name, target, b"")
}

fn tar_of(pieces: &[Piece]) -> Vec<u8> {
    let mut builder = tar::Builder::new(Vec::new());
    for piece in pieces {
        let mut header = Header::new_gnu();
        header.set_entry_type(piece.kind);
        header.set_mode(piece.mode);
        header.set_size(piece.size);
        header.as_old_mut().name[..piece.name.len()].copy_from_slice(piece.name.as_bytes());
        header.as_old_mut().linkname[..piece.target.len()].copy_from_slice(piece.target.as_bytes());
        header.set_cksum();
        builder.append(&header, piece.content.as_slice()).unwrap();
    }
    builder.into_inner().unwrap()
}

fn compressed(tar: &[u8]) -> Vec<u8> {
    zstd::encode_all(tar, 1).unwrap()
}

/// A small toolchain with one of everything, and what it ought to be called.
fn small(seed: u8, size: usize) -> (Vec<Piece>, ToolchainId) {
    let content: Vec<u8> = (0..size).map(|at| (at as u8).wrapping_mul(31) ^ seed).collect();
    let mut program = file("bin/cc", &content);
    program.mode = 0o755;
    let pieces = vec![directory("bin/"), program, link("cc", "bin/cc"), file("empty", b"")];
    let path = |name: &str| SandboxPath::new(format!("/{name}").into_bytes()).unwrap();
    let regular = |content: &[u8], executable| ToolchainNode::File {
        digest: Digest::of(content),
        size: content.len() as u64,
        executable,
    };
    let entries = vec![
        ToolchainEntry { path: path("bin"), node: ToolchainNode::Directory },
        ToolchainEntry { path: path("bin/cc"), node: regular(&content, true) },
        ToolchainEntry { path: path("cc"), node: ToolchainNode::Symlink { target: b"bin/cc".to_vec().into() } },
        ToolchainEntry { path: path("empty"), node: regular(b"", false) },
    ];
    (pieces, ToolchainManifest { entries }.id())
}

fn put(store: &ToolchainStore, seed: u8, size: usize) -> Held {
    let (pieces, id) = small(seed, size);
    store.unpack(&id, compressed(&tar_of(&pieces)).as_slice()).unwrap()
}

fn names_in(directory: &Path) -> Vec<String> {
    let mut names: Vec<_> =
        fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

#[track_caller]
fn refuse(archive: &[u8], id: ToolchainId) -> UnpackError {
    let (directory, store) = store(1 << 20);
    let refused = store.unpack(&id, archive).expect_err("it was taken");
    assert_eq!(names_in(directory.path()), ["lock"], "{refused} leaves something behind");
    assert!(store.get(&id).is_none() && store.list().is_empty());
    refused
}

#[test]
fn what_arrives_is_what_was_sent() {
    let (_directory, store) = store(1 << 20);
    let held = put(&store, 1, 1000);
    let (root, unpacked) = (held.path(), |name: &str| fs::symlink_metadata(held.path().join(name)).unwrap());
    assert_eq!(unpacked("bin/cc").permissions().mode() & 0o7777, 0o555);
    assert_eq!(unpacked("empty").permissions().mode() & 0o7777, 0o444);
    assert_eq!(unpacked("bin").permissions().mode() & 0o7777, 0o755);
    assert_eq!((unpacked("bin/cc").mtime(), unpacked("bin/cc").len()), (0, 1000));
    assert_eq!(fs::read_link(root.join("cc")).unwrap(), Path::new("bin/cc"));
}

#[test]
fn a_wrong_id_is_refused() {
    let (pieces, _) = small(1, 100);
    let claimed = small(2, 100).1;
    assert!(matches!(refuse(&compressed(&tar_of(&pieces)), claimed), UnpackError::WrongId { .. }));
}

#[test]
fn damage_anywhere_is_refused() {
    let (pieces, id) = small(1, 5000);
    let whole = compressed(&tar_of(&pieces));
    for at in 0..whole.len() {
        let mut flipped = whole.clone();
        flipped[at] ^= 0x10;
        // A bit of the frame's header may mean nothing; then all of the content must be there.
        let (directory, store) = store(1 << 20);
        match store.unpack(&id, flipped.as_slice()) {
            Ok(held) => assert_eq!(fs::read(held.path().join("bin/cc")).unwrap(), pieces[1].content),
            Err(_) => assert_eq!(names_in(directory.path()), ["lock"], "byte {at}"),
        }
    }
    for length in 0..whole.len() {
        assert!(matches!(refuse(&whole[..length], id), UnpackError::Damaged(_)), "cut at {length}");
    }
}

#[test]
fn more_or_less_than_the_id_says_is_refused() {
    let changes: [fn(&mut Vec<Piece>); 5] = [
        |pieces| pieces.push(file("extra", b"x")),
        |pieces| pieces.push(directory("extra")),
        |pieces| drop(pieces.pop()),
        |pieces| pieces[1].mode = 0o644,
        |pieces| pieces[2].target = "bin/cd",
    ];
    for change in changes {
        let (mut pieces, id) = small(1, 100);
        change(&mut pieces);
        pieces.sort_by_key(|piece| piece.name);
        assert!(matches!(refuse(&compressed(&tar_of(&pieces)), id), UnpackError::WrongId { .. }));
    }
}

#[test]
fn escapes_and_strange_entries_are_refused() {
    let id = small(1, 1).1;
    let refused = |pieces: &[Piece]| refuse(&compressed(&tar_of(pieces)), id).to_string();
    let outside = tempfile::tempdir().unwrap();
    let target: &'static str = Box::leak(outside.path().to_str().unwrap().to_owned().into_boxed_str());
    assert!(refused(&[link("l", target), file("l/x", b"x")]).contains("/l/x lies in no directory"));
    assert!(refused(&[link("l", target), directory("l/d")]).contains("/l/d lies in no directory"));
    assert!(refused(&[link("l", target), file("l", b"x")]).contains("there twice"));
    assert!(refused(&[directory("d"), link("d", target), file("d/x", b"x")]).contains("there twice"));
    assert_eq!(names_in(outside.path()), [""; 0], "something got out");

    for name in ["/etc/x", "../x", "d/../../x", "./x", "d//x", ""] {
        let pieces = [directory("d"), file(name, b"x")];
        assert!(refused(&pieces).starts_with("the archive is refused"), "{name:?}");
    }
    for kind in
        [EntryType::Link, EntryType::Char, EntryType::Block, EntryType::Fifo, EntryType::XHeader, EntryType::GNUSparse]
    {
        assert!(refused(&[piece(kind, "x", "/etc/passwd", b"")]).contains("entry of kind"), "{kind:?}");
    }
    assert!(refused(&[link("l", "")]).contains("without a usable target"));
    assert!(refused(&[piece(EntryType::Directory, "d", "", b"x")]).contains("entry of kind"));
}

#[test]
fn sizes_are_bounded_before_they_are_taken() {
    let id = small(1, 1).1;
    let mut huge = file("huge", b"");
    huge.size = 1 << 40;
    let refused = refuse(&compressed(&tar_of(&[huge])), id);
    assert!(refused.to_string().contains("more than 1048576 bytes"), "{refused}");

    let bomb = file("bomb", &vec![0; 2 << 20]);
    assert!(matches!(refuse(&compressed(&tar_of(&[bomb])), id), UnpackError::Refused(_)));

    for kind in [EntryType::GNULongName, EntryType::GNULongLink] {
        let long = piece(kind, "././@LongLink", "", &vec![b'a'; 1 << 20]);
        assert!(matches!(refuse(&compressed(&tar_of(&[long, file("x", b"")])), id), UnpackError::Damaged(_)));
        let twice = [piece(kind, "l", "", b"a\0"), piece(kind, "l", "", b"b\0"), file("x", b"")];
        assert!(matches!(refuse(&compressed(&tar_of(&twice)), id), UnpackError::Damaged(_)));
    }

    let (pieces, id) = small(1, 100);
    let mut encoder = zstd::Encoder::new(Vec::new(), 1).unwrap();
    encoder.window_log(27).unwrap();
    encoder.write_all(&tar_of(&pieces)).unwrap();
    assert!(matches!(refuse(&encoder.finish().unwrap(), id), UnpackError::Damaged(_)), "wants 128 MB for its window");
}

#[test]
fn nothing_follows_the_end() {
    let (pieces, id) = small(1, 100);
    let mut tar = tar_of(&pieces);
    tar.extend(tar_of(&[file("x", b"")]));
    assert!(matches!(refuse(&compressed(&tar), id), UnpackError::Trailing));
    let mut frames = compressed(&tar_of(&pieces));
    frames.extend(compressed(&vec![0; 1 << 20]));
    assert!(matches!(refuse(&frames, id), UnpackError::Trailing));
}

#[test]
fn an_assembler_that_comes_earlier_in_the_path_is_taken() {
    let directory = tempfile::tempdir().unwrap();
    let path = format!("{}:{PATH}", directory.path().display());
    let subject = subject("/usr/bin/gcc", &[("PATH", &path)]);
    let before = package(&subject).unwrap();
    assert_eq!(before.id, GCC.package.id);
    symlink("/usr/bin/as", directory.path().join("as")).unwrap();
    assert!(!before.is_current());
    let after = package(&subject).unwrap();
    let assembler = directory.path().join("as");
    assert!(after.manifest.entries.iter().any(|entry| entry.path.as_path() == assembler));
}

#[test]
fn a_failure_stands_until_a_file_changes() {
    let directory = tempfile::tempdir().unwrap();
    let compiler = directory.path().join("gcc");
    let refused = || package(&subject(compiler.to_str().unwrap(), &[])).unwrap_err();
    let missing = refused();
    assert!(matches!(missing.why, PackError::Missing) && missing.is_settled() && missing.is_current());
    fs::write(&compiler, "#!/bin/sh\n").unwrap();
    assert!(!missing.is_current());

    let script = refused();
    assert!(matches!(script.why, PackError::Script { .. }) && script.is_settled() && script.is_current());
    fs::write(directory.path().join("other"), "").unwrap();
    assert!(script.is_current(), "it has nothing to do with this");
    fs::write(&compiler, "#!/bin/sh\nexec gcc\n").unwrap();
    assert!(!script.is_current());
}

#[test]
fn a_library_that_is_missing_may_come() {
    need(&[("/usr/bin/patchelf", "patchelf")]);
    let directory = tempfile::tempdir().unwrap();
    let assembler = directory.path().join("as");
    copy("/usr/bin/as", &assembler);
    let rpath = ["--force-rpath", "--set-rpath", directory.path().to_str().unwrap()];
    for change in [&["--add-needed", "libneeded.so.1"][..], &rpath] {
        assert!(Command::new("patchelf").args(change).arg(&assembler).status().unwrap().success());
    }
    let path = format!("{}:{PATH}", directory.path().display());
    let subject = subject("/usr/bin/gcc", &[("PATH", &path)]);
    let refused = package(&subject).unwrap_err();
    assert!(matches!(&refused.why, PackError::MissingLibrary { name, .. } if name == "libneeded.so.1"), "{refused}");
    assert!(refused.is_settled() && refused.is_current());
    let (_, library) = libraries(Path::new("/usr/bin/as")).swap_remove(0);
    copy(library, directory.path().join("libneeded.so.1"));
    assert!(!refused.is_current());
    assert!(package(&subject).is_ok());
}

#[test]
fn static_programs_need_nothing_else() {
    let directory = tempfile::tempdir().unwrap();
    let source = directory.path().join("as.c");
    fs::write(&source, "int main(void) { return 0; }\n").unwrap();
    let path = format!("{}:{PATH}", directory.path().display());
    for options in [&["-static"][..], &["-static-pie"]] {
        let assembler = directory.path().join("as");
        let built = Command::new("gcc").args(options).arg(&source).arg("-o").arg(&assembler).status().unwrap();
        assert!(built.success());
        let files = Packed::of(package(&subject("/usr/bin/gcc", &[("PATH", &path)])).unwrap()).files();
        assert!(files.contains(&assembler.to_str().unwrap().to_owned()));
        let other = fs::canonicalize("/usr/bin/as").unwrap().display().to_string();
        assert!(!files.contains(&other), "the machine's own assembler came along");
    }
}

/// Makes a compiler in a prefix of its own, which finds its parts beside itself; tells whose copy it is.
fn relocated_gcc(prefix: &Path) -> PathBuf {
    let real = fs::canonicalize("/usr/bin/gcc").unwrap();
    fs::create_dir(prefix.join("bin")).unwrap();
    copy_program(&real, prefix.join("bin/really-gcc"));
    for parts in ["lib", "libexec"] {
        symlink(Path::new("/usr").join(parts), prefix.join(parts)).unwrap();
    }
    real
}

#[test]
fn long_names_travel() {
    let directory = tempfile::tempdir_in("/var/tmp").unwrap();
    let deep = directory.path().join("d".repeat(120)).join("e".repeat(120));
    fs::create_dir_all(&deep).unwrap();
    let real = relocated_gcc(&deep);
    symlink(deep.join("bin/really-gcc"), deep.join("gcc")).unwrap();
    let package = package(&subject(deep.join("gcc").to_str().unwrap(), &[])).unwrap();
    let (_directory, store) = store(u64::MAX);
    let held = store.unpack(&package.id, archive(&package).as_slice()).unwrap();
    let inside = held.path().join(deep.strip_prefix("/").unwrap());
    assert_eq!(fs::read_link(inside.join("gcc")).unwrap(), deep.join("bin/really-gcc"));
    assert_eq!(fs::read(inside.join("bin/really-gcc")).unwrap(), fs::read(&real).unwrap());
}

#[test]
fn the_least_recently_used_goes_first_and_held_ones_stay() {
    let (directory, store) = store(3500);
    let oldest = put(&store, 1, 1000);
    let (second, third) = (put(&store, 2, 1000).id(), put(&store, 3, 1000).id());
    assert!(store.get(&second).is_some());
    let fourth = put(&store, 4, 1000).id();
    assert!(store.get(&third).is_none(), "the first is held, the second was used later");
    let left: Vec<_> = store.list().iter().map(|stored| (stored.id, stored.held)).collect();
    assert_eq!(left, [(oldest.id(), true), (second, false), (fourth, false)]);
    assert!(oldest.path().join("bin/cc").exists());
    assert_eq!(names_in(directory.path()).len(), 4, "three trees and the lock");
}

#[test]
fn what_is_held_leaves_no_room() {
    let (directory, store) = store(1500);
    let held = put(&store, 1, 1000);
    let (pieces, id) = small(2, 1000);
    let archive = compressed(&tar_of(&pieces));
    assert!(matches!(store.unpack(&id, archive.as_slice()), Err(UnpackError::NoRoom { bytes: 1000 })));
    assert_eq!(names_in(directory.path()).len(), 2, "one tree and the lock");
    drop(held);
    assert!(store.unpack(&id, archive.as_slice()).is_ok());
    assert_eq!(store.list().len(), 1);
}

#[test]
fn a_restart_keeps_trees_and_their_order_and_removes_leftovers() {
    let directory = tempfile::tempdir().unwrap();
    let open = |max_bytes| ToolchainStore::open(directory.path(), max_bytes).unwrap();
    let ids = {
        let store = open(3500);
        let ids = [1, 2, 3].map(|seed| put(&store, seed, 1000).id());
        fs::create_dir(directory.path().join("tmp-9")).unwrap();
        fs::write(directory.path().join("somebody-else's"), "").unwrap();
        assert!(matches!(ToolchainStore::open(directory.path(), 1), Err(StoreError::InUse { .. })));
        ids
    };
    // Distinct times, as uses minutes apart have them.
    for (id, seconds) in ids.iter().zip([30, 10, 20]) {
        let manifest = fs::File::open(directory.path().join(id.to_string()).join("manifest")).unwrap();
        manifest.set_modified(std::time::UNIX_EPOCH + std::time::Duration::from_secs(seconds)).unwrap();
    }
    let order = |store: &ToolchainStore| store.list().iter().map(|stored| stored.id).collect::<Vec<_>>();
    assert_eq!(order(&open(3500)), [ids[1], ids[2], ids[0]]);
    assert_eq!(order(&open(2500)), [ids[2], ids[0]], "the bound has become lower");
    assert!(open(3500).get(&ids[0]).is_some());
    assert!(names_in(directory.path()).contains(&"somebody-else's".to_owned()));
    assert!(!names_in(directory.path()).iter().any(|name| name.starts_with("tmp-")));
}

#[test]
fn damage_between_two_starts_is_found_before_the_first_use() {
    let damages: [fn(&Path); 6] = [
        |tree| {
            fs::set_permissions(tree.join("bin/cc"), fs::Permissions::from_mode(0o755)).unwrap();
            let mut content = fs::read(tree.join("bin/cc")).unwrap();
            content[500] ^= 1;
            fs::write(tree.join("bin/cc"), content).unwrap();
        },
        |tree| fs::remove_file(tree.join("empty")).unwrap(),
        |tree| fs::write(tree.join("extra"), "").unwrap(),
        |tree| fs::set_permissions(tree.join("bin/cc"), fs::Permissions::from_mode(0o444)).unwrap(),
        |tree| {
            fs::remove_file(tree.join("cc")).unwrap();
            symlink("/bin/sh", tree.join("cc")).unwrap();
        },
        |tree| fs::write(tree.parent().unwrap().join("manifest"), "").unwrap(),
    ];
    for damage in damages {
        let directory = tempfile::tempdir().unwrap();
        let open = || ToolchainStore::open(directory.path(), 1 << 20).unwrap();
        let (id, path) = {
            let store = open();
            let held = put(&store, 1, 1000);
            (held.id(), held.path().to_owned())
        };
        assert!(open().get(&id).is_some(), "whole trees survive");
        damage(&path);
        let store = open();
        assert!(store.get(&id).is_none());
        assert_eq!(names_in(directory.path()), ["lock"]);
        assert_eq!(put(&store, 1, 1000).id(), id, "it can come again");
    }
}

#[test]
fn many_uploads_of_one_toolchain_end_in_one_tree() {
    let (directory, store) = store(1 << 20);
    let id = small(1, 1000).1;
    std::thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| assert_eq!(put(&store, 1, 1000).id(), id));
        }
    });
    assert_eq!(names_in(directory.path()), [id.to_string(), "lock".to_owned()]);
}

/// Whoever wants another toolchain meanwhile does not wait.
#[test]
fn an_archive_that_stalls_is_in_nobodys_way() {
    struct Stalled(mpsc::Sender<()>, mpsc::Receiver<()>);
    impl Read for Stalled {
        fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
            self.0.send(()).unwrap();
            self.1.recv().ok();
            Ok(0)
        }
    }
    let (_directory, store) = store(1 << 20);
    let ((begun, begins), (release, released), (done, ends)) = (mpsc::channel(), mpsc::channel(), mpsc::channel());
    std::thread::scope(|scope| {
        scope.spawn(|| store.unpack(&small(1, 1000).1, Stalled(begun, released)).unwrap_err());
        begins.recv().unwrap();
        scope.spawn(|| done.send(put(&store, 2, 1000).id()).unwrap());
        let id = ends.recv_timeout(Duration::from_secs(100));
        drop(release);
        assert_eq!(id, Ok(small(2, 1000).1));
    });
}

#[test]
fn a_file_that_changes_makes_the_package_stale() {
    let directory = tempfile::tempdir().unwrap();
    relocated_gcc(directory.path());
    let compiler = directory.path().join("bin/really-gcc");
    let package = package(&subject(compiler.to_str().unwrap(), &[])).unwrap();
    assert!(package.is_current());
    let mut grown = fs::OpenOptions::new().append(true).open(&compiler).unwrap();
    grown.write_all(b"x").unwrap();
    assert!(!package.is_current());
    let mut archive = Vec::new();
    let refused = package.write_archive(&mut archive).unwrap_err();
    assert!(matches!(&refused, ArchiveError::Changed(path) if path.as_path() == compiler), "{refused}");
    let (_directory, store) = store(u64::MAX);
    assert!(store.unpack(&package.id, archive.as_slice()).is_err(), "half an archive passes for a whole one");
}

/// What a build puts before the compiler's own programs counts from the moment it is there.
#[test]
fn a_program_that_appears_at_a_prefix_makes_the_package_stale() {
    for compiler in ["/usr/bin/gcc", "/usr/bin/clang"] {
        let directory = tempfile::tempdir().unwrap();
        let tools = directory.path().join("tools");
        let selectors = vec![format!("-B{}", tools.display()).into()];
        let packed = || package(&Subject { selectors: selectors.clone(), ..subject(compiler, &[]) }).unwrap();
        let package = packed();
        assert!(package.is_current());
        fs::create_dir(&tools).unwrap();
        assert!(!package.is_current(), "{compiler}: the prefix is a directory now");
        let package = packed();
        fs::write(tools.join("no-tool"), "").unwrap();
        assert!(package.is_current(), "{compiler}: nobody asks for that");
        symlink("/usr/bin/as", tools.join("as")).unwrap();
        assert!(!package.is_current(), "{compiler}");
        assert!(packed().manifest.entries.iter().any(|entry| entry.path.as_path() == tools.join("as")));
    }
}

/// Root may do what permissions forbid: runs the test of this name once more, as an ordinary user. True where that was done.
fn again_as_an_ordinary_user(test: &str) -> bool {
    if !rustix::process::geteuid().is_root() {
        return false;
    }
    let directory = tempfile::tempdir().unwrap();
    fs::set_permissions(directory.path(), fs::Permissions::from_mode(0o777)).unwrap();
    let program = directory.path().join("tests");
    copy_program(std::env::current_exe().unwrap(), &program);
    let mut setpriv = Command::new("setpriv");
    setpriv.args(["--reuid", "65534", "--regid", "65534", "--clear-groups"]).arg(&program).args(["--exact", test]);
    let output = setpriv.env("TMPDIR", directory.path()).current_dir("/").output().unwrap();
    let report = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success() && report.contains("1 passed"), "{report}");
    true
}

#[test]
fn an_ordinary_user_packs_keeps_and_evicts() {
    if again_as_an_ordinary_user("an_ordinary_user_packs_keeps_and_evicts") {
        return;
    }
    let directory = tempfile::tempdir().unwrap();
    let store = ToolchainStore::open(directory.path(), GCC.package.manifest.bytes() + 100).unwrap();
    let root = store.unpack(&GCC.package.id, GCC.archive.as_slice()).unwrap().path().to_owned();
    assert!(fs::write(root.join("usr/bin/x86_64-linux-gnu-as"), "").is_err(), "files are read-only");
    for directory in ["usr/bin", "usr", ""] {
        fs::set_permissions(root.join(directory), fs::Permissions::from_mode(0o555)).unwrap();
    }
    let small = put(&store, 1, 1000);
    assert!(store.get(&GCC.package.id).is_none());
    assert_eq!(names_in(directory.path()), [small.id().to_string(), "lock".to_owned()]);
}
