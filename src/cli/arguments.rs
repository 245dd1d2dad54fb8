//! The command line.

use std::ffi::OsString;
use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};
use clap_complete::Shell;

use crate::engine::config::Part;

/// Look at farcc, set it up, try it out
#[derive(Parser, Debug)]
#[command(name = "farccctl", version, after_help = "See farccctl(1).", max_term_width = 100)]
pub(crate) struct Arguments {
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Subcommand, Debug)]
pub(crate) enum Command {
    /// How many units went where, and why
    Stats(StatsOptions),
    /// What happened to the last compile of a file, and why
    Why(WhyOptions),
    /// The client daemon, its scheduler and the whole farm
    Status(StatusOptions),
    /// The builders of the farm
    Builders(BuildersOptions),
    /// Units that are being compiled now
    Jobs(JobsOptions),
    /// The farm and what is being compiled, live
    Top(TopOptions),
    /// Let a builder take no new jobs: this machine's, or the one of that name, on the scheduler's machine
    Drain(DrainOptions),
    /// Let a drained or quarantined builder take jobs again; without a name, end whatever `pause` or `drain` stopped here
    Resume(ResumeOptions),
    /// On the scheduler's machine: give a builder no jobs for a while
    Quarantine(QuarantineOptions),
    /// On the scheduler's machine: forget failures and orders about a builder
    Forget(ForgetOptions),
    /// Let this machine's builder run so many jobs at a time, until it starts anew
    Slots(SlotsOptions),
    /// End a job of this machine's builder; its client has it compiled elsewhere
    Cancel(CancelOptions),
    /// Compile everything on this machine until `resume`
    Pause,
    /// Find what is wrong on this machine, and say how to mend it
    Doctor(DoctorOptions),
    /// A number for `make -j`: what the farm and this machine can do at a time
    JobsWanted(JobsWantedOptions),
    /// Look at configuration files, or bring some along from sccache
    Config {
        #[command(subcommand)]
        command: ConfigCommand,
    },
    /// Compilers, as builders get them
    Toolchain {
        #[command(subcommand)]
        command: ToolchainCommand,
    },
    /// Bring machines together
    Farm {
        #[command(subcommand)]
        command: FarmCommand,
    },
    /// Make tokens, or try one out
    Auth {
        #[command(subcommand)]
        command: AuthCommand,
    },
    /// Run a command with a throwaway farm of three daemons on this machine
    Try(TryOptions),
    /// End the client daemon; the next compile starts it again
    Stop,
    /// Whether this user could run jobs; for `doctor`
    #[command(hide = true)]
    SandboxCheck(SandboxCheckOptions),
    /// What a shell needs to complete farccctl's command lines; for packages
    #[command(hide = true)]
    Completions {
        /// The shell
        shell: Shell,
    },
}

#[derive(Args, Debug)]
pub(crate) struct StatsOptions {
    /// As a JSON document
    #[arg(long)]
    pub(crate) json: bool,
    /// Those of one project: the top of a tree under version control, the end of its path, or what FARCC_PROJECT said
    #[arg(long, value_name = "PROJECT")]
    pub(crate) project: Option<String>,
    /// Show them, then begin to count anew
    #[arg(long)]
    pub(crate) reset: bool,
}

#[derive(Args, Debug)]
pub(crate) struct WhyOptions {
    /// A source or an object
    pub(crate) file: PathBuf,
    /// As a JSON document
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Args, Debug)]
pub(crate) struct StatusOptions {
    /// As a JSON document
    #[arg(long)]
    pub(crate) json: bool,
    /// The farm's numbers as `sccache --dist-status` prints them
    #[arg(long, conflicts_with = "json")]
    pub(crate) dist: bool,
}

#[derive(Args, Debug)]
pub(crate) struct BuildersOptions {
    /// As a JSON document
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Args, Debug)]
pub(crate) struct JobsOptions {
    /// As a JSON document
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Args, Debug)]
pub(crate) struct DoctorOptions {
    /// Which part of farcc; without it, the client and every daemon that is set up here
    pub(crate) role: Option<Role>,
    /// This file instead of those that are looked for
    #[arg(long, value_name = "FILE", requires = "role")]
    pub(crate) config: Option<PathBuf>,
    /// As a JSON document
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Args, Debug)]
pub(crate) struct TopOptions {
    /// How often to look: 1s, 5s
    #[arg(long, value_name = "TIME", default_value = "1s", value_parser = crate::cli::manage::parse_time)]
    pub(crate) every: std::time::Duration,
}

#[derive(Args, Debug)]
pub(crate) struct DrainOptions {
    /// Name of a builder, or the first digits of its id
    pub(crate) builder: Option<String>,
}

#[derive(Args, Debug)]
pub(crate) struct ResumeOptions {
    /// Name of a builder, or the first digits of its id
    pub(crate) builder: Option<String>,
}

#[derive(Args, Debug)]
pub(crate) struct QuarantineOptions {
    /// Name of a builder, or the first digits of its id
    pub(crate) builder: String,
    /// How long: 90s, 15m, 2h, 1d
    #[arg(long = "for", value_name = "TIME", default_value = "15m", value_parser = crate::cli::manage::parse_time)]
    pub(crate) time: std::time::Duration,
}

#[derive(Args, Debug)]
pub(crate) struct ForgetOptions {
    /// Name of a builder, or the first digits of its id
    pub(crate) builder: String,
}

#[derive(Args, Debug)]
pub(crate) struct SlotsOptions {
    /// Jobs at a time
    #[arg(value_parser = clap::value_parser!(u32).range(1..=i64::from(crate::model::limits::SLOTS_MAX)))]
    pub(crate) slots: u32,
}

#[derive(Args, Debug)]
pub(crate) struct CancelOptions {
    /// Its id, as journal records have it in FARCC_JOB=
    pub(crate) job: String,
}

#[derive(Args, Debug)]
pub(crate) struct SandboxCheckOptions {
    #[arg(long)]
    pub(crate) bwrap: PathBuf,
    /// Where to work, first choice first
    #[arg(required = true)]
    pub(crate) directories: Vec<PathBuf>,
}

#[derive(Args, Debug)]
pub(crate) struct JobsWantedOptions {
    /// As a JSON document, with what the number is made of
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Subcommand, Debug)]
pub(crate) enum ConfigCommand {
    /// Read what the daemons would read, and show what it means
    Check(CheckOptions),
    /// Every setting in effect, and which line says so
    Show(ShowConfigOptions),
    /// Make a configuration file of farcc's of one of sccache's or sccache-dist's
    Import(ImportOptions),
}

#[derive(Args, Debug)]
pub(crate) struct ShowConfigOptions {
    /// Whose configuration; without it, the client's and that of every daemon that has one here
    pub(crate) role: Option<Role>,
    /// This file instead of those that are looked for
    #[arg(long, value_name = "FILE", requires = "role")]
    pub(crate) config: Option<PathBuf>,
    /// As a JSON document
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Args, Debug)]
pub(crate) struct ImportOptions {
    /// The file: ~/.config/sccache/config, or what `sccache-dist` got by --config
    pub(crate) file: PathBuf,
    /// Whose it is, where it does not say so itself
    #[arg(long)]
    pub(crate) role: Option<Role>,
    /// Replace files that say something else
    #[arg(long)]
    pub(crate) force: bool,
    /// What was done, as a JSON document
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Args, Debug)]
pub(crate) struct CheckOptions {
    /// Whose configuration; without it, the client's and that of every daemon that has one here
    pub(crate) role: Option<Role>,
    /// This file instead of those that are looked for
    #[arg(long, value_name = "FILE", requires = "role")]
    pub(crate) config: Option<PathBuf>,
    /// As a JSON document
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(ValueEnum, Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Role {
    Client,
    Scheduler,
    Builder,
}

impl Role {
    pub(crate) const ALL: [Self; 3] = [Self::Client, Self::Scheduler, Self::Builder];

    pub(crate) fn name(self) -> &'static str {
        Part::from(self).name()
    }
}

impl From<Role> for Part {
    fn from(role: Role) -> Self {
        match role {
            Role::Client => Self::Client,
            Role::Scheduler => Self::Scheduler,
            Role::Builder => Self::Builder,
        }
    }
}

#[derive(Subcommand, Debug)]
pub(crate) enum ToolchainCommand {
    /// Pack a compiler with all that it needs into an archive: what a builder gets
    Package(PackageOptions),
    /// The compilers that units have come from, and their packages
    List(ListOptions),
    /// All that is known of one of them
    Show(ShowOptions),
    /// Pack a compiler, run it in a sandbox where nothing else is, and compare what it does there with what it does here
    Check(CheckToolchainOptions),
    /// Remove the toolchains that this machine's builder keeps and no job uses
    Purge,
}

#[derive(Args, Debug)]
pub(crate) struct PackageOptions {
    /// A compiler: its path, or a name that PATH leads to
    #[arg(value_name = "EXE")]
    pub(crate) compiler: PathBuf,
    /// The archive to write
    #[arg(value_name = "OUT")]
    pub(crate) archive: PathBuf,
    /// Options of the build that select what the compiler finds, such as --sysroot=DIR, --target=TRIPLE, -m32
    #[arg(last = true, value_name = "OPTION")]
    pub(crate) options: Vec<OsString>,
}

#[derive(Args, Debug)]
pub(crate) struct ListOptions {
    /// As a JSON document
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Args, Debug)]
pub(crate) struct ShowOptions {
    /// A compiler's path or name, or the first digits of a toolchain's id
    #[arg(value_name = "EXE|ID")]
    pub(crate) wanted: String,
    /// As a JSON document
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Args, Debug)]
pub(crate) struct CheckToolchainOptions {
    /// A compiler: its path, or a name that PATH leads to
    #[arg(value_name = "EXE")]
    pub(crate) compiler: PathBuf,
    /// The bubblewrap that makes the sandbox
    #[arg(long, value_name = "FILE", default_value = "/usr/bin/bwrap")]
    pub(crate) bwrap: PathBuf,
    /// Options of the build; all of them go into the commands that are compared
    #[arg(last = true, value_name = "OPTION")]
    pub(crate) options: Vec<OsString>,
}

#[derive(Subcommand, Debug)]
pub(crate) enum FarmCommand {
    /// On the scheduler: print one line with which other machines join. It holds the farm's secrets
    Invite(InviteOptions),
    /// On other machines: join the farm that the line is from
    Join(JoinOptions),
}

#[derive(Args, Debug)]
pub(crate) struct InviteOptions {
    /// First switch the scheduler's service on, now and with each start of the machine
    #[arg(long)]
    pub(crate) now: bool,
    /// The scheduler's address as others see it; by default `public_addr`, or else the name of this host
    #[arg(long, value_name = "HOST[:PORT]")]
    pub(crate) address: Option<String>,
    /// Invite clients only
    #[arg(long)]
    pub(crate) client: bool,
    /// Invite builders only
    #[arg(long, conflicts_with = "client")]
    pub(crate) builder: bool,
    /// The scheduler's configuration file
    #[arg(long, value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,
}

#[derive(Args, Debug)]
pub(crate) struct JoinOptions {
    /// The line that `farccctl farm invite` has printed
    pub(crate) line: String,
    /// Then switch the socket on, now and with each start
    #[arg(long)]
    pub(crate) now: bool,
    /// As a client: for this user. The default of ordinary users
    #[arg(long)]
    pub(crate) client: bool,
    /// As a builder: for this machine, or run by this user if it is not root. The default of root
    #[arg(long, conflicts_with = "client")]
    pub(crate) builder: bool,
    /// With --client: for every user of this machine
    #[arg(long, requires = "client")]
    pub(crate) system: bool,
    /// Replace a file that says something else
    #[arg(long)]
    pub(crate) force: bool,
}

#[derive(Subcommand, Debug)]
pub(crate) enum AuthCommand {
    /// Print a token that nobody can guess
    GenerateSharedToken(TokenOptions),
    /// Whether the scheduler takes the client's token
    Check(AuthCheckOptions),
    /// Not supported
    #[command(name = "generate-jwt-hs256-key", hide = true)]
    GenerateJwtKey(Ignored),
    /// Not supported
    #[command(name = "generate-jwt-hs256-server-token", hide = true)]
    GenerateJwtServerToken(Ignored),
}

#[derive(Args, Debug)]
pub(crate) struct TokenOptions {
    /// How many bits nobody can guess
    #[arg(long, default_value = "256", value_parser = clap::value_parser!(u32).range(128..=4096))]
    pub(crate) bits: u32,
    /// As a JSON document
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Args, Debug)]
pub(crate) struct AuthCheckOptions {
    /// As a JSON document
    #[arg(long)]
    pub(crate) json: bool,
}

/// Words of a command that is refused whatever they are.
#[derive(Args, Debug)]
pub(crate) struct Ignored {
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    _words: Vec<OsString>,
}

#[derive(Args, Debug)]
pub(crate) struct TryOptions {
    /// Slots of the builder; by default one for each processor
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..=i64::from(crate::model::limits::SLOTS_MAX)))]
    pub(crate) slots: Option<u32>,
    /// Keep the directory with configuration, caches and logs, and log everything
    #[arg(long)]
    pub(crate) keep: bool,
    /// The command, in which `gcc`, `cc`, `clang` and so on are farcc's
    #[arg(last = true, required = true, value_name = "COMMAND")]
    pub(crate) command: Vec<OsString>,
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    #[test]
    fn the_command_line_is_consistent() {
        super::Arguments::command().debug_assert();
    }
}
