//! Toolchains: finds what a compiler needs to run elsewhere, packs it, and keeps unpacked trees on a builder.
//!
//! A client calls [`probe::identify`] and [`pack::package`]; a builder has a [`store::ToolchainStore`]. Headers are no part
//! of a toolchain: they travel as inputs of each unit.

mod archive;
mod ask;
mod clang;
#[cfg(test)]
mod damage;
mod elf;
mod foreign;
#[cfg(fuzzing)]
pub mod fuzzing;
mod gcc;
mod libraries;
mod locale;
pub mod pack;
mod prefixes;
pub mod probe;
mod program;
mod route;
pub mod store;
mod substitute;
mod tree;
mod unpack;

pub use archive::ArchiveError;
pub use foreign::ForeignError;
pub use pack::{PackError, Package, Subject, Unpackable, Variables, package, package_from};
pub use probe::{ProbeError, identify};
pub use program::{is_launcher, normal_path};
pub use store::{Held, StoreError, Stored, ToolchainStore};
pub use substitute::Replacement;
pub use unpack::UnpackError;
