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

// Of `farccctl` alone.

/// The answer is no: the file is not known, the farm does not answer, something is there already.
pub const NEGATIVE: u8 = 1;
/// There is no daemon to ask.
pub const NO_DAEMON: u8 = 69;
/// The answer could not be written.
pub const OUTPUT: u8 = 74;
/// This user may not do that.
pub const DENIED: u8 = 77;

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

/// What `farccctl` knows in addition, in the same form.
pub const CONTROL: &[(u8, &str)] =
    &[(NEGATIVE, "negative answer"), (NO_DAEMON, "no daemon"), (OUTPUT, "output not written"), (DENIED, "not allowed")];

#[cfg(test)]
mod tests {
    use super::*;

    /// Each page names the statuses its daemon can end with, in the words of [`ALL`]; together they name every one.
    #[test]
    fn the_man_pages_say_the_same() {
        let pages = [
            include_str!("../../docs/man/farcc-clientd.8.md"),
            include_str!("../../docs/man/farcc-schedulerd.8.md"),
            include_str!("../../docs/man/farcc-builderd.8.md"),
        ];
        let documented = |page: &str| -> Vec<String> {
            let (_, section) = page.split_once("# EXIT STATUS\n").expect("a section");
            let (section, _) = section.split_once("\n# ").expect("another after it");
            section.lines().filter(|line| line.starts_with("**")).map(str::to_owned).collect()
        };
        let all: Vec<_> = ALL.iter().map(|(status, name)| format!("**{status}** ({name})")).collect();
        let named: Vec<_> = pages.iter().flat_map(|page| documented(page)).collect();
        assert!(named.iter().all(|line| all.contains(line)), "{named:?}");
        assert!(all.iter().all(|line| named.contains(line)), "{all:?}");

        let control = documented(include_str!("../../docs/man/farccctl.1.md"));
        let known: Vec<_> = ALL.iter().chain(CONTROL).map(|(status, name)| format!("**{status}** ({name})")).collect();
        let own: Vec<_> = CONTROL.iter().map(|(status, name)| format!("**{status}** ({name})")).collect();
        assert!(control.iter().all(|line| known.contains(line)), "{control:?}");
        assert!(own.iter().all(|line| control.contains(line)), "{control:?}");
    }
}
