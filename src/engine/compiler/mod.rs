//! Understands compiler commands: what a command would read and write, and whether another machine can run it instead.
//!
//! Pure: the caller reads the response files, runs the compiler and looks at the file system (`os::inputs`). Knowledge is
//! tables: [`options`] has every option that may travel, and what is in no table keeps the unit on this machine.

pub mod assembled;
mod classify;
mod command;
mod comments;
pub mod depfile;
pub mod environment;
pub mod names;
pub mod native;
pub mod options;
mod passed;
mod probe;
mod response;
pub mod search;
mod side_files;
mod switches;
pub mod tokens;

pub use classify::{Classification, classify};
pub use command::{CompileCommand, DependencyOutput, Language, RemoteCommand, Stage};
pub use environment::{Terminal, remote_environment};
pub use native::Native;
pub use probe::{commands_difference, first_difference, memory_line, same_commands};
pub use response::{Expansion, Files, expand};

/// Whose command line it is. Versions and targets differ within a family; the option table holds what all of them share.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum CompilerFamily {
    Gcc,
    Clang,
}
