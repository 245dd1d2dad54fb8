//! What of the environment a remote compile gets, and what in it keeps a unit local.
//!
//! An allow-list: the environment of a build holds secrets, and nothing that is not named here leaves the machine.

use crate::engine::compiler::{CompilerFamily, Language};
use crate::model::job::Bytes;
use crate::model::reason::{Reason, Why};

/// What a variable is to a compiler.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Role {
    /// Language and characters of messages.
    Messages,
    /// Directories searched for headers; the dependency run sees them too.
    SearchPath,
    /// Goes into the object.
    Content,
    /// Adds or changes outputs, inputs or programs: the unit stays here.
    Local,
}

/// Names ending in `*` stand for all with that beginning.
const VARIABLES: &[(&str, Role)] = &[
    ("LANG", Role::Messages),
    ("LANGUAGE", Role::Messages),
    ("LC_*", Role::Messages),
    ("GCC_COLORS", Role::Messages),
    ("COLUMNS", Role::Messages),
    ("GCC_EXTRA_DIAGNOSTIC_OUTPUT", Role::Messages),
    ("CPATH", Role::SearchPath),
    ("C_INCLUDE_PATH", Role::SearchPath),
    ("CPLUS_INCLUDE_PATH", Role::SearchPath),
    // Times in __DATE__, __TIME__ and __TIMESTAMP__.
    ("SOURCE_DATE_EPOCH", Role::Content),
    ("TZ", Role::Content),
    // The spelling of the working directory in debug information, where it leads to the real one.
    ("PWD", Role::Content),
    // Whether clang reads configuration files.
    ("CLANG_NO_DEFAULT_CONFIG", Role::Content),
    ("DEPENDENCIES_OUTPUT", Role::Local),
    ("SUNPRO_DEPENDENCIES", Role::Local),
    ("GCC_COMPARE_DEBUG", Role::Local),
    ("GCC_EXEC_PREFIX", Role::Local),
    ("COMPILER_PATH", Role::Local),
    ("EXPERIMENTAL_SARIF_SOCKET", Role::Local),
    ("CCC_OVERRIDE_OPTIONS", Role::Local),
    ("CCC_ADD_ARGS", Role::Local),
    ("CCC_PRINT_OPTIONS", Role::Local),
    ("CCC_PRINT_BINDINGS", Role::Local),
    ("CC_PRINT_*", Role::Local),
    ("CC_LOG_DIAGNOSTICS*", Role::Local),
    ("CLANG_CRASH_DIAGNOSTICS_DIR", Role::Local),
    ("RC_DEBUG_OPTIONS", Role::Local),
    ("LIBCLANG_*", Role::Local),
];

/// The environment of a remote compile. Where messages go to `terminal`, its width travels too.
///
/// # Errors
/// [`Reason::Environment`] with the name of a variable that keeps the unit local.
pub fn remote_environment(env: &[(Bytes, Bytes)], terminal: Option<Terminal>) -> Result<Vec<(Bytes, Bytes)>, Why> {
    check(env)?;
    let mut remote: Vec<_> = env.iter().filter(|(name, _)| role(name).is_some()).cloned().collect();
    if let Some(terminal) = terminal
        && !remote.iter().any(|(name, _)| name.as_slice() == b"COLUMNS")
    {
        remote.push((Bytes::from(*b"COLUMNS"), Bytes::from(terminal.columns.to_string().into_bytes())));
    }
    Ok(remote)
}

/// # Errors
/// As [`remote_environment`].
pub(super) fn check(env: &[(Bytes, Bytes)]) -> Result<(), Why> {
    match env.iter().find(|(name, _)| role(name) == Some(Role::Local)) {
        Some((name, _)) => Err(Why::new(Reason::Environment, String::from_utf8_lossy(name))),
        None => Ok(()),
    }
}

fn role(name: &[u8]) -> Option<Role> {
    let matches = |pattern: &str| match pattern.strip_suffix('*') {
        Some(prefix) => name.starts_with(prefix.as_bytes()),
        None => name == pattern.as_bytes(),
    };
    VARIABLES.iter().find(|(pattern, _)| matches(pattern)).map(|(_, role)| *role)
}

/// A terminal that the compiler's messages go to and that shows colour.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Terminal {
    pub columns: u16,
    /// What `COLUMNS` says: clang asks nobody else, and a shell that does not export it makes messages that do not wrap.
    exported: Option<u16>,
}

impl Terminal {
    /// The terminal of a caller whose standard error is one with this many columns, if a compiler would write colour to it.
    pub fn of(env: &[(Bytes, Bytes)], columns: u16) -> Option<Self> {
        let term = value(env, "TERM")?;
        let exported = value(env, "COLUMNS").and_then(|text| std::str::from_utf8(text).ok()?.trim().parse().ok());
        let exported = exported.filter(|&columns: &u16| columns > 0);
        (!term.is_empty() && term.as_slice() != b"dumb" && columns > 0).then_some(Self { columns, exported })
    }

    /// Options that make messages look as if the compiler's standard error were this terminal.
    pub(super) fn options(self, family: CompilerFamily, language: Language) -> Vec<Bytes> {
        let colour = Bytes::from(*b"-fdiagnostics-color=always");
        match (family, language) {
            // gcc takes the width from COLUMNS.
            (CompilerFamily::Gcc, _) => vec![colour],
            // The assembler uses neither, and clang warns of options that nothing uses.
            (CompilerFamily::Clang, Language::Assembler) => Vec::new(),
            (CompilerFamily::Clang, _) => {
                let width = self.exported.map(|columns| format!("-fmessage-length={columns}").into_bytes());
                std::iter::once(colour).chain(width.map(Bytes::from)).collect()
            }
        }
    }
}

fn value<'a>(env: &'a [(Bytes, Bytes)], wanted: &str) -> Option<&'a Bytes> {
    env.iter().find(|(name, _)| name.as_slice() == wanted.as_bytes()).map(|(_, value)| value)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn env(pairs: &[(&str, &str)]) -> Vec<(Bytes, Bytes)> {
        pairs.iter().map(|(name, value)| (Bytes::from(name.as_bytes()), Bytes::from(value.as_bytes()))).collect()
    }

    #[test]
    fn only_the_listed_variables_travel() {
        let all = env(&[
            ("AWS_SECRET", "x"),
            ("LC_ALL", "C"),
            ("PATH", "/bin"),
            ("SOURCE_DATE_EPOCH", "1"),
            ("LD_PRELOAD", "x.so"),
        ]);
        assert_eq!(remote_environment(&all, None), Ok(env(&[("LC_ALL", "C"), ("SOURCE_DATE_EPOCH", "1")])));
    }

    #[test]
    fn variables_with_side_effects_keep_the_unit_here() {
        for name in [
            "DEPENDENCIES_OUTPUT",
            "SUNPRO_DEPENDENCIES",
            "CCC_OVERRIDE_OPTIONS",
            "GCC_COMPARE_DEBUG",
            "CC_PRINT_HEADERS",
        ] {
            let why = remote_environment(&env(&[(name, "")]), None).unwrap_err();
            assert_eq!(why, Why::new(Reason::Environment, name));
        }
    }

    #[test]
    fn the_width_of_a_terminal_travels_unless_the_caller_says_one() {
        let terminal = Terminal::of(&env(&[("TERM", "xterm")]), 80);
        assert_eq!(remote_environment(&env(&[]), terminal), Ok(env(&[("COLUMNS", "80")])));
        let own = env(&[("COLUMNS", "100")]);
        assert_eq!(remote_environment(&own, terminal), Ok(own.clone()));
        assert_eq!(Terminal::of(&env(&[("TERM", "dumb")]), 80), None);
        assert_eq!(Terminal::of(&env(&[]), 80), None);
    }
}
