//! Property tests: whatever stands in a file, reading it ends in a value or a named refusal, never in a panic or without end.
//!
//! Real files with some bytes changed, cut off or repeated. Each round is made from its seed alone, which is printed where one
//! fails; `FARCC_SEED=N` runs that one.

use std::fs;
use std::io::Write;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;

use crate::engine::toolchain::loader::{self, BuiltIn};
use crate::model::digest::Digest;
use crate::model::toolchain::ToolchainId;
use crate::os::toolchain::elf;
use crate::os::toolchain::foreign::Foreign;
use crate::os::toolchain::store::ToolchainStore;

const ROUNDS: u64 = 400;

/// xorshift64*: the same numbers from the same seed, everywhere.
struct Chance(u64);

impl Chance {
    fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    fn below(&mut self, bound: usize) -> usize {
        (self.next() % bound.max(1) as u64) as usize
    }
}

/// `whole` with a few things wrong, most of them near its beginning, where headers are.
fn damaged(whole: &[u8], chance: &mut Chance) -> Vec<u8> {
    let mut bytes = whole.to_vec();
    for _ in 0..=chance.below(8) {
        let reach = [64, 1024, bytes.len()][chance.below(3)].min(bytes.len());
        let at = chance.below(reach);
        match chance.below(6) {
            0 => bytes.truncate(at),
            1 => bytes.extend_from_within(at..),
            2 => drop(bytes.drain(at..(at + chance.below(64)).min(bytes.len()))),
            3 => {
                let extreme = [0, 0x7f, 0x80, 0xff][chance.below(4)];
                let end = (at + 1 + chance.below(8)).min(bytes.len());
                bytes[at..end].fill(extreme);
            }
            _ => {
                if let Some(byte) = bytes.get_mut(at) {
                    *byte ^= 1 << chance.below(8);
                }
            }
        }
        if bytes.is_empty() {
            break;
        }
    }
    bytes
}

/// Runs `round` on many damaged copies of `whole`.
fn survive(whole: &[u8], rounds: u64, mut round: impl FnMut(&[u8])) {
    let only = std::env::var("FARCC_SEED").ok().and_then(|seed| seed.parse().ok());
    let seeds = only.map_or(0..rounds, |seed: u64| seed..seed + 1);
    for seed in seeds {
        let bytes = damaged(whole, &mut Chance::new(seed));
        let survived = catch_unwind(AssertUnwindSafe(|| round(&bytes)));
        assert!(survived.is_ok(), "FARCC_SEED={seed}");
    }
}

fn file_of(bytes: &[u8]) -> tempfile::NamedTempFile {
    let mut file = tempfile::NamedTempFile::new().unwrap();
    file.write_all(bytes).unwrap();
    file
}

/// A small archive with one of everything, from real files.
fn tar() -> Vec<u8> {
    let mut builder = tar::Builder::new(Vec::new());
    let mut add = |name: &str, kind, target: &str, content: &[u8]| {
        let mut header = tar::Header::new_gnu();
        header.set_entry_type(kind);
        header.set_mode(0o755);
        header.set_size(content.len() as u64);
        if !target.is_empty() {
            header.set_link_name(target).unwrap();
        }
        builder.append_data(&mut header, name, content).unwrap();
    };
    let program = fs::read("/bin/true").unwrap();
    add("bin/", tar::EntryType::Directory, "", b"");
    add("bin/cc", tar::EntryType::Regular, "", &program[..4096]);
    add("cc", tar::EntryType::Symlink, "bin/cc", b"");
    add(&format!("dir/{}", "n".repeat(150)), tar::EntryType::Regular, "", b"x");
    builder.into_inner().unwrap()
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

#[test]
fn elf_files() {
    for name in
        ["/usr/bin/env", "/lib64/ld-linux-x86-64.so.2", "/usr/bin/gcc"].iter().filter(|name| Path::new(name).exists())
    {
        let whole = fs::read(name).unwrap();
        survive(&whole[..whole.len().min(64 << 10)], ROUNDS, |bytes| drop(elf::read(file_of(bytes).path())));
    }
}

#[test]
fn what_loaders_have_compiled_in() {
    let whole =
        b"\x7fELF\0/lib/x86_64-linux-gnu/\0/usr/lib/x86_64-linux-gnu/\0/lib/\0/usr/lib/\0/etc/ld.so.cache\0".to_vec();
    survive(&whole, 20 * ROUNDS, |bytes| {
        let BuiltIn { directories, cache } = BuiltIn::read(bytes);
        assert!(directories.iter().chain(&cache).all(|path| path.is_absolute()));
    });
    let configuration = b"# c\ninclude ld.so.conf.d/*.conf\n/opt/a b/lib # why\n/old=libc5\n";
    survive(configuration, 20 * ROUNDS, |bytes| drop(loader::parse_conf(bytes)));
    survive(b"/a:/b\n/c\n", 20 * ROUNDS, |bytes| {
        assert!(loader::parse_musl_path(bytes).iter().all(|path| path.is_absolute()))
    });
}

/// A damaged archive that still is one gives normal paths and no more bytes than it has.
#[test]
fn archives_of_others() {
    let tar = tar();
    // Checksums catch most of what is done to a tar: the packed ones break earlier, so the bare one counts most.
    let archives = [
        (tar.clone(), 5 * ROUNDS),
        (gzip(&tar), ROUNDS),
        (zstd::encode_all(&*tar, 1).unwrap(), ROUNDS),
        (xz(), ROUNDS),
    ];
    for (whole, rounds) in archives {
        survive(&whole, rounds, |bytes| {
            if let Ok(foreign) = Foreign::read(file_of(bytes).path()) {
                for path in foreign.nodes.keys() {
                    foreign.resolve(path.as_path());
                }
            }
        });
    }
}

/// The same tar as `xz` packs it: there is nothing in this package that does.
fn xz() -> Vec<u8> {
    let input = file_of(&tar());
    let output = crate::os::process::Command::new("/usr/bin/xz").args(["-0", "-k", "-c"]).args([input.path()]).run();
    output.unwrap().stdout
}

/// Nothing but the right bytes passes, and nothing is left of the others.
#[test]
fn archives_of_peers() {
    let directory = tempfile::tempdir().unwrap();
    let store = ToolchainStore::open(directory.path(), 1 << 20).unwrap();
    let id = ToolchainId(Digest::of(b"nobody's"));
    survive(&zstd::encode_all(&*tar(), 1).unwrap(), ROUNDS, |bytes| assert!(store.unpack(&id, bytes).is_err()));
    survive(&tar(), 5 * ROUNDS, |bytes| {
        let packed = zstd::encode_all(bytes, 1).unwrap();
        assert!(store.unpack(&id, packed.as_slice()).is_err());
    });
    let left: Vec<_> = fs::read_dir(directory.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(left, ["lock"]);
}

/// The copies differ, or all of this would show nothing.
#[test]
fn damage_is_done() {
    let whole = vec![7; 1000];
    let n_whole = (0..ROUNDS).filter(|&seed| damaged(&whole, &mut Chance::new(seed)) == whole).count();
    assert!(n_whole < ROUNDS as usize / 10, "{n_whole} copies are whole");
}
