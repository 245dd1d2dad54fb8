//! Why a unit went where it went. One list for statistics, journal, D-Bus and `farccctl why`; docs/reasons.md explains each.

use std::fmt;

use serde::{Deserialize, Serialize};

macro_rules! reasons {
    ($($(#[$doc:meta])* $variant:ident = $name:literal,)*) => {
        /// A reason's name is an interface: never renamed, never reused.
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
        pub enum Reason {
            $($(#[$doc])* #[serde(rename = $name)] $variant,)*
        }

        impl Reason {
            pub const ALL: &[Self] = &[$(Self::$variant),*];

            /// The documented name, in kebab case.
            pub fn name(self) -> &'static str {
                match self { $(Self::$variant => $name,)* }
            }
        }
    };
}

reasons! {
    // Bypass: not a compile of one translation unit, so farcc steps aside at once.
    /// The command links, or makes something else than one object or assembly file.
    Link = "link",
    /// rustc passes through untouched, jobserver and all.
    Rustc = "rustc",
    /// The program is no compiler that farcc knows.
    UnknownCompiler = "unknown-compiler",
    /// The command only asks the compiler something (`--version`, `-print-…`, `-###`).
    Query = "query",
    /// Preprocesses only (`-E`, `-M`, `-MM`).
    Preprocess = "preprocess",
    /// No input file that farcc knows as a source.
    NoSource = "no-source",

    // Local by classification: a compile, but not one that is distributed.
    /// The option is in no row of the option table; it could name an input or an output.
    UnknownOption = "unknown-option",
    /// An option of the command keeps the unit on this machine; the detail names it.
    LocalOption = "local-option",
    /// More than one source in one command.
    SeveralSources = "several-sources",
    /// The source comes from standard input.
    StandardInput = "standard-input",
    /// The result goes to standard output, a device or another special file.
    SpecialOutput = "special-output",
    /// Makes or uses a precompiled header.
    PrecompiledHeader = "precompiled-header",
    /// C++20 or clang modules.
    Modules = "modules",
    /// Depends on this machine's processor (`-march=native`).
    Native = "native",
    /// `.incbin` or `.include` of a file that only the assembler could tell.
    Incbin = "incbin",
    /// `#embed` of a file that only preprocessing could tell.
    Embed = "embed",
    /// `__has_include` on something that only preprocessing could tell.
    ComputedHasInclude = "computed-has-include",
    /// `__DATE__` or `__TIME__`, and no `SOURCE_DATE_EPOCH` to take them from.
    TimeMacro = "time-macro",
    /// A variable of the environment changes what the compiler writes or reads.
    Environment = "environment",
    /// An input or the working directory lies below /dev, /proc or /sys.
    SpecialInput = "special-input",
    /// The wrapper sees other files than the daemon (chroot, container, other mount namespace).
    OtherView = "other-view",
    /// The compiler's own dependency run failed; the local compiler reports the error.
    DependencyRun = "dependency-run",
    /// An input cannot be read or travels badly; the detail names it.
    UnusableInput = "unusable-input",
    /// More files or bytes than a job may have.
    TooLarge = "too-large",
    /// The compiler cannot be packaged; the detail says why.
    ToolchainUnpackable = "toolchain-unpackable",
    /// The packaged compiler would run other commands than the one here (`-###` differs).
    ToolchainDiffers = "toolchain-differs",

    // Local by choice or need of the moment.
    /// The configuration says so of this compiler (`no_dist`).
    NoDist = "no-dist",
    /// A local slot was free first.
    LocalSlot = "local-slot",
    /// The client daemon was told to keep everything here (`farccctl pause`).
    Paused = "paused",
    /// No scheduler is configured.
    NotConfigured = "not-configured",
    /// The scheduler does not answer, and no lease is left.
    NoScheduler = "no-scheduler",
    /// The scheduler has no builder that could take the unit.
    NoBuilder = "no-builder",

    // Fallback: it was sent, or about to be, and came back without a result.
    /// The connection to the builder broke or would not come up.
    BuilderLost = "builder-lost",
    /// The builder refused the job; the detail says why.
    BuilderRefused = "builder-refused",
    /// The builder could not run the job; the detail says why.
    BuilderFault = "builder-fault",
    /// The job took longer than it may.
    Timeout = "timeout",
    /// The remote compiler exited with an error; the local one says what is wrong.
    RemoteError = "remote-error",
    /// The remote compiler died by a signal.
    RemoteSignal = "remote-signal",
    /// Success without the object, or with an empty one.
    MissingOutput = "missing-output",
    /// The compiler wrote a file that nobody predicted.
    UnexpectedOutput = "unexpected-output",
    /// The job read other files than predicted.
    DependenciesDiffer = "dependencies-differ",
    /// An input changed while the unit was on its way.
    InputChanged = "input-changed",
    /// A blob did not match its digest.
    Corrupt = "corrupt",
    /// The wrapper could not write the result; the local compiler reports why.
    WriteFailed = "write-failed",
}

impl Reason {
    /// A fallback is farcc's own failure; everything else is a decision.
    pub fn is_fallback(self) -> bool {
        self >= Self::BuilderLost
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A reason with what it refers to: an option, a file, an error text.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Why {
    pub reason: Reason,
    /// Empty where the reason says it all.
    #[serde(default)]
    pub detail: String,
}

impl Why {
    pub fn new(reason: Reason, detail: impl Into<String>) -> Self {
        Self { reason, detail: detail.into() }
    }
}

impl From<Reason> for Why {
    fn from(reason: Reason) -> Self {
        Self { reason, detail: String::new() }
    }
}

impl fmt::Display for Why {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.detail.as_str() {
            "" => self.reason.fmt(f),
            detail => write!(f, "{}: {detail}", self.reason),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_distinct_kebab_case() {
        let mut names: Vec<_> = Reason::ALL.iter().map(|reason| reason.name()).collect();
        assert!(names.iter().all(|name| name.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'-')));
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), Reason::ALL.len());
    }

    #[test]
    fn fallbacks_are_the_last_group() {
        assert!(
            !Reason::NoBuilder.is_fallback() && Reason::BuilderLost.is_fallback() && Reason::WriteFailed.is_fallback()
        );
    }
}
