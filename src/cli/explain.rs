//! Each reason in a sentence for whoever asks why.

use crate::model::reason::Reason;

/// What the reason means, and where there is something to be done about it, what.
pub(crate) fn explain(reason: Reason) -> &'static str {
    match reason {
        Reason::Link => "The command links, or makes something else than one object or assembly file.",
        Reason::Rustc => "rustc is not distributed.",
        Reason::UnknownCompiler => "The program is no compiler that farcc knows.",
        Reason::Query => "The command only asks the compiler something.",
        Reason::Preprocess => "The command only preprocesses, which is what distributing would cost as well.",
        Reason::NoSource => "The command names no file that farcc knows as a source.",
        Reason::UnknownOption => {
            "farcc does not know this option; it could name a file that is read or written, so the unit stays here."
        }
        Reason::LocalOption => "This option ties the unit to this machine.",
        Reason::SeveralSources => "The command compiles several sources at once; one a command can be distributed.",
        Reason::StandardInput => "The source comes from standard input.",
        Reason::SpecialOutput => "The result goes to standard output, a device or another special file.",
        Reason::PrecompiledHeader => {
            "The command makes a precompiled header, or uses one that is older than a header in it."
        }
        Reason::Modules => "The unit uses C++20 or clang modules.",
        Reason::Native => {
            "The code depends on this machine's processor, and the compiler does not say in words what that has."
        }
        Reason::Incbin => "The unit embeds a file with .incbin whose name only the assembler could tell.",
        Reason::Embed => "The unit embeds a file with #embed whose name is no literal.",
        Reason::ComputedHasInclude => "A __has_include asks for a name that only preprocessing could tell.",
        Reason::TimeMacro => "__DATE__ or __TIME__ would be the builder's; SOURCE_DATE_EPOCH fixes both for gcc.",
        Reason::Environment => "This variable of the environment changes what the compiler reads or writes.",
        Reason::SpecialInput => "An input or the working directory lies below /dev, /proc or /sys.",
        Reason::OtherView => {
            "The build sees other files than the client daemon: it runs in a chroot, container or other mount namespace."
        }
        Reason::DependencyRun => {
            "The compiler could not list what the unit includes; the local compile said what is wrong."
        }
        Reason::UnusableInput => "This input cannot be read, or cannot be shown to a builder as it is.",
        Reason::TooLarge => "The unit has more files or bytes than one job may have.",
        Reason::ToolchainUnpackable => "The compiler cannot be packaged for builders.",
        Reason::ToolchainDiffers => "The packaged compiler would run other commands than the one here.",
        Reason::NoDist => "The configuration keeps this compiler's units here.",
        Reason::LocalSlot => "A slot of this machine was free before one of the farm.",
        Reason::Paused => "The client daemon keeps everything here; `farccctl resume` ends that.",
        Reason::NotConfigured => "No scheduler is configured; `farccctl farm join` does that.",
        Reason::NoScheduler => "The scheduler does not answer; `farccctl status` tells more.",
        Reason::NoBuilder => "The farm has no builder that could take this unit; `farccctl builders` lists them.",
        Reason::BuilderLost => "The connection to the builder broke, or did not come up.",
        Reason::BuilderRefused => "The builder refused the job.",
        Reason::BuilderFault => "The builder could not run the job; its journal tells more.",
        Reason::Timeout => "The job took longer than it may.",
        Reason::RemoteError => "The compiler reported an error there; the local compile said which, or succeeded.",
        Reason::RemoteSignal => "A signal ended the compiler there, for want of memory perhaps.",
        Reason::MissingOutput => "The compiler succeeded there without an object, or with an empty one.",
        Reason::UnexpectedOutput => "The compiler wrote a file there that farcc had not expected.",
        Reason::DependenciesDiffer => {
            "The job read other files than farcc had foreseen, so its result was thrown away. Please report this."
        }
        Reason::InputChanged => "An input changed while the unit was on its way.",
        Reason::Corrupt => "Something did not arrive as it was sent, so it was thrown away.",
        Reason::WriteFailed => "The result could not be written; the local compiler said why, or could.",
    }
}
