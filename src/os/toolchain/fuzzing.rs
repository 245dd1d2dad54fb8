//! Ways in for the fuzz targets (`fuzz/`), which are no part of any program.

use std::path::PathBuf;
use std::sync::LazyLock;

use rustix::fs::{MemfdFlags, memfd_create};
use rustix::io::write;

use crate::engine::toolchain::loader::{self, BuiltIn};
use crate::model::digest::Digest;
use crate::model::toolchain::ToolchainId;
use crate::os::toolchain::elf;
use crate::os::toolchain::foreign::Foreign;
use crate::os::toolchain::store::ToolchainStore;

/// A program or library, also as a loader.
pub fn elf(bytes: &[u8]) {
    with_file(bytes, |path| drop(elf::read(&path)));
    let BuiltIn { directories, cache } = BuiltIn::read(bytes);
    assert!(directories.iter().chain(&cache).all(|path| path.is_absolute()));
    loader::parse_conf(bytes);
    assert!(loader::parse_musl_path(bytes).iter().all(|path| path.is_absolute()));
}

/// An archive that another tool made, or a peer has sent: it is not what was asked for, whatever it is.
pub fn archive(bytes: &[u8]) {
    static STORE: LazyLock<ToolchainStore> = LazyLock::new(|| {
        let directory = std::env::temp_dir().join(format!("farcc-fuzz-{}", std::process::id()));
        ToolchainStore::open(&directory, 1 << 20).expect("a directory for archives")
    });
    with_file(bytes, |path| {
        if let Ok(foreign) = Foreign::read(&path) {
            for path in foreign.nodes.keys() {
                foreign.resolve(path.as_path());
            }
        }
    });
    let id = ToolchainId(Digest::of(b"nobody's"));
    assert!(STORE.unpack(&id, bytes).is_err());
    let packed = zstd::encode_all(bytes, 1).expect("memory");
    assert!(STORE.unpack(&id, packed.as_slice()).is_err());
}

fn with_file(bytes: &[u8], read: impl FnOnce(PathBuf)) {
    let file = memfd_create("fuzz", MemfdFlags::CLOEXEC).expect("a file in memory");
    assert_eq!(write(&file, bytes).ok(), Some(bytes.len()));
    read(PathBuf::from(format!("/proc/self/fd/{}", std::os::fd::AsRawFd::as_raw_fd(&file))));
}
