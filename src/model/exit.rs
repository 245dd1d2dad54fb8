//! Exit statuses of the daemons and of `farccctl`. An interface: documented in every man page, never reused.
//!
//! The wrapper has none of its own: its status is the compiler's.

/// Everything asked for was done.
pub const OK: u8 = 0;
/// The command line makes no sense.
pub const USAGE: u8 = 2;
/// A configuration file, a variable or a credential is missing, unreadable or wrong.
pub const CONFIGURATION: u8 = 3;
/// The address to listen on is in use or not of this machine.
pub const LISTEN: u8 = 4;
/// Jobs cannot be isolated here: no bubblewrap, or user namespaces are forbidden.
pub const SANDBOX: u8 = 5;
/// Started by root and unable to become an ordinary user.
pub const ROOT: u8 = 6;
/// The state or cache directory cannot be used.
pub const DIRECTORY: u8 = 7;
/// farcc's own mistake; the journal has the rest.
pub const INTERNAL: u8 = 70;

/// Name and sentence of each status: the man pages have the same table, and a test compares them.
pub const ALL: &[(u8, &str)] = &[
    (OK, "success"),
    (USAGE, "wrong usage"),
    (CONFIGURATION, "wrong configuration"),
    (LISTEN, "cannot listen"),
    (SANDBOX, "no sandbox"),
    (ROOT, "cannot give up root"),
    (DIRECTORY, "directory not usable"),
    (INTERNAL, "internal error"),
];
