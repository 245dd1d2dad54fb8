//! Pure parts of packaging and keeping toolchains: which options select one, what a driver's answers say, where a loader
//! looks, which files a locale needs, what may enter a tree, which trees make room.
//!
//! `os::toolchain` asks the drivers, reads the files and keeps the trees.

pub mod admission;
pub mod driver;
pub mod eviction;
pub mod loader;
pub mod locale;
pub mod programs;
pub mod selectors;
