//! How farcc was called: by a compiler's name, in front of a command, or for itself.

use std::ffi::{OsStr, OsString};
use std::io::Write;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Invocation {
    Help,
    Version,
    /// Flags that users of sccache know, in the words of `farccctl`.
    Control(Vec<OsString>),
    StartDaemon,
    Compile(Command),
}

/// A command to stand in for.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Command {
    /// The compiler as the build named it: its `argv[0]`.
    pub(crate) name: OsString,
    pub(crate) arguments: Vec<OsString>,
    /// farcc was called by this name, as a link, and not in front of it.
    pub(crate) is_link: bool,
}

impl Invocation {
    pub(crate) fn parse(argv: Vec<OsString>) -> Self {
        let mut words = argv.into_iter();
        let Some(own_name) = words.next() else { return Self::Help };
        // By a symlink's name (`/usr/lib/farcc/gcc`): the link's name is the compiler's.
        if base_name(&own_name) != OWN_NAME {
            return Self::Compile(Command { name: own_name, arguments: words.collect(), is_link: true });
        }
        let Some(first) = words.next() else { return Self::Help };
        let rest: Vec<OsString> = words.collect();
        match first.to_str() {
            Some("-h" | "--help") => Self::Help,
            Some("-V" | "--version") => Self::Version,
            Some("-s" | "--show-stats") if asks_for_json(&rest) => Self::control(&["stats", "--json"]),
            Some("--stats-format=json") => Self::control(&["stats", "--json"]),
            Some("--stats-format") if asks_for_json(&rest) => Self::control(&["stats", "--json"]),
            Some("-s" | "--show-stats") => Self::control(&["stats"]),
            Some("-z" | "--zero-stats") => Self::control(&["stats", "--reset"]),
            Some("--dist-status") => Self::control(&["status", "--dist"]),
            Some("--dist-auth") => Self::control(&["auth", "check"]),
            Some("--start-server") => Self::StartDaemon,
            Some("--stop-server") => Self::control(&["stop"]),
            Some("--package-toolchain") => Self::Control([vec!["toolchain".into(), "package".into()], rest].concat()),
            Some("--") => match rest.split_first() {
                Some((name, arguments)) => Self::compile(name.clone(), arguments.to_vec()),
                None => Self::Help,
            },
            // A launcher in front of a launcher.
            _ if base_name(&first) == OWN_NAME => Self::parse([vec![first], rest].concat()),
            _ => Self::compile(first, rest),
        }
    }

    fn compile(name: OsString, arguments: Vec<OsString>) -> Self {
        Self::Compile(Command { name, arguments, is_link: false })
    }

    fn control(words: &[&str]) -> Self {
        Self::Control(words.iter().map(OsString::from).collect())
    }
}

impl Command {
    /// The compiler's name without directories.
    pub(crate) fn base_name(&self) -> &OsStr {
        base_name(&self.name)
    }

    /// For messages: the first argument that looks like a source, else the compiler.
    pub(crate) fn unit(&self) -> &Path {
        let is_source = |argument: &&OsString| {
            let extension = Path::new(argument).extension().and_then(OsStr::to_str);
            !argument.as_bytes().starts_with(b"-") && extension.is_some_and(|extension| SOURCES.contains(&extension))
        };
        Path::new(self.arguments.iter().find(is_source).unwrap_or(&self.name))
    }
}

fn base_name(name: &OsStr) -> &OsStr {
    Path::new(name).file_name().unwrap_or(name)
}

/// `--show-stats --stats-format json`, in either order and spelling.
fn asks_for_json(words: &[OsString]) -> bool {
    words.iter().any(|word| word == "json" || word == "--stats-format=json")
}

/// Prints to standard output; the exit status.
pub(crate) fn print(text: &str) -> u8 {
    // Nobody reads on: nothing left to do.
    std::io::stdout().write_all(text.as_bytes()).ok();
    0
}

/// The one name under which farcc does not stand for a compiler.
pub(crate) const OWN_NAME: &str = "farcc";

pub(crate) const VERSION: &str = concat!("farcc ", env!("CARGO_PKG_VERSION"), "\n");

pub(crate) const HELP: &str = "\
Usage: farcc COMPILER ARGUMENTS…
   or: COMPILER ARGUMENTS…       through a symlink of that name to farcc

Runs the compile command on another machine where that can be done, and as it is everywhere else.

  -s, --show-stats [--stats-format json]   what happened so far (farccctl stats)
  -z, --zero-stats                         begin to count anew
      --dist-status                        the farm, as sccache users know it
      --dist-auth                          whether the scheduler takes our token (farccctl auth check)
      --package-toolchain EXE OUT          what a builder gets of a compiler (farccctl toolchain package)
      --start-server, --stop-server        the client daemon; it also starts by itself
  -h, --help
  -V, --version

  FARCC_LOG=info     say on standard error where each unit goes, and why
  FARCC_DISABLE=1    be the plain compiler

See farcc(1), and farccctl(1) for `why`, `status` and `try`.
";

/// Extensions of sources, for messages only.
const SOURCES: &[&str] = &[
    "c", "cc", "cpp", "cxx", "c++", "C", "cp", "CPP", "i", "ii", "s", "S", "sx", "m", "mm", "M", "cu", "f", "f90", "rs",
];

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(line: &str) -> Invocation {
        Invocation::parse(line.split_whitespace().map(OsString::from).collect())
    }

    #[track_caller]
    fn check_compile(line: &str, expected: &str) {
        let Invocation::Compile(command) = parse(line) else { panic!("{line}: no compile") };
        let mut words = vec![command.name.to_string_lossy().into_owned()];
        words.extend(command.arguments.iter().map(|word| word.to_string_lossy().into_owned()));
        assert_eq!(words.join(" "), expected);
    }

    #[track_caller]
    fn check_control(line: &str, expected: &str) {
        let words = expected.split_whitespace().map(OsString::from).collect();
        assert_eq!(parse(line), Invocation::Control(words), "{line}");
    }

    #[test]
    fn in_front_of_a_command_and_by_name() {
        check_compile("farcc gcc -c a.c", "gcc -c a.c");
        check_compile("/usr/bin/farcc /opt/gcc -s a.c", "/opt/gcc -s a.c");
        check_compile("farcc -- gcc --version", "gcc --version");
        check_compile("farcc /usr/bin/farcc gcc -c a.c", "gcc -c a.c");
        check_compile("gcc --help", "gcc --help");
        check_compile("/usr/lib/farcc/gcc -s a.o", "/usr/lib/farcc/gcc -s a.o");
    }

    #[test]
    fn for_itself() {
        assert_eq!(parse("farcc"), Invocation::Help);
        assert_eq!(parse("farcc --help"), Invocation::Help);
        assert_eq!(parse("farcc -V"), Invocation::Version);
        assert_eq!(parse(""), Invocation::Help);
        assert_eq!(parse("farcc --start-server"), Invocation::StartDaemon);
    }

    #[test]
    fn the_flags_of_sccache() {
        check_control("farcc -s", "stats");
        check_control("farcc --show-stats", "stats");
        check_control("farcc --show-stats --stats-format json", "stats --json");
        check_control("farcc --show-stats --stats-format=json", "stats --json");
        check_control("farcc --stats-format json --show-stats", "stats --json");
        check_control("farcc -z", "stats --reset");
        check_control("farcc --dist-status", "status --dist");
        check_control("farcc --dist-auth", "auth check");
        check_control("farcc --stop-server", "stop");
        check_control("farcc --package-toolchain gcc out.tar", "toolchain package gcc out.tar");
    }

    #[test]
    fn the_unit_is_the_source() {
        let unit = |line| match parse(line) {
            Invocation::Compile(command) => command.unit().to_owned(),
            other => panic!("{other:?}"),
        };
        assert_eq!(unit("farcc gcc -O2 -Ix.c -c src/a.c -o a.o"), Path::new("src/a.c"));
        assert_eq!(unit("farcc gcc a.o -o a"), Path::new("gcc"));
    }
}
