//! The option table: one row for each option, with the words it takes and what it means for a unit that may travel.
//!
//! An option in no row is unknown, and an unknown option keeps the unit local: it could name an input or an output. Rows for a
//! whole family of options by prefix exist only where no member of the family touches a file (`-W…`) or where the rest of the
//! word is checked (`-f…` against [`super::switches`], `-m…` for not being a path). The longest spelling that fits a word wins,
//! so that a row for one option overrides its family's.
//!
//! Left out on purpose: spellings that drivers accept as abbreviations of others (`--inc` for `--include`), and everything for
//! languages other than C, C++ and assembler.

use crate::engine::compiler::{CompilerFamily, switches};
use crate::model::reason::Reason;

/// Which words belong to an option.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Takes {
    /// The word alone.
    Nothing,
    /// The rest of the word, which is not empty.
    Joined,
    /// The rest of the word, which may be empty.
    Rest,
    /// The next word.
    Separate,
    /// The rest of the word, or else the next word.
    JoinedOrSeparate,
}

/// What an option means for a unit.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Role {
    /// Changes code, language, debug information or messages; reads and writes nothing.
    Setting,
    /// An `-f` option: [`Role::Setting`] if its name is known to be.
    Switch,
    /// An `-m` option: [`Role::Setting`] unless its value is a path.
    Target,
    /// Selects a processor; with `native`, this machine's: [`Role::Native`].
    Processor,
    /// This machine's processor.
    Native,
    /// Debug information. Whether there is any decides about split files.
    Debug {
        on: bool,
    },
    /// Debug information in a file of its own, beside the object.
    SplitDebug,
    /// Sets whether messages have colour.
    Colour,
    /// Says which macros are defined; does not change which programs run.
    Define,
    /// A directory that is searched for headers.
    SearchPath,
    /// A directory that is searched for what `#embed` names.
    EmbedPath,
    /// A file that is read before the source.
    IncludeFile,
    /// A precompiled header, by its own name.
    PrecompiledHeader,
    /// Keeps `-E` from reading the headers in a precompiled one; nothing else looks at it.
    PreprocessingWithPrecompiledHeader,
    /// A driver specification file.
    SpecsFile,
    /// Another file that is read.
    InputFile,
    /// Profiles of earlier runs: a file, a directory of them, or nothing for names that the compiler makes up.
    Profile,
    /// A library that is loaded into the compiler: [`Role::InputFile`] if the value is a path.
    Plugin,
    /// [`Role::Setting`] unless it could be a path.
    PluginArgument,
    Output,
    /// `-c`.
    StopAfterAssembling,
    /// `-S`.
    StopAfterCompiling,
    /// `-x`.
    Language,
    /// `-MD`, `-MMD`: write a dependency file besides compiling.
    Dependencies {
        system_headers: bool,
    },
    /// `-MF`.
    DependencyFile,
    /// `-MT`, `-MQ`, `-MP`: what the dependency file says.
    DependencyStyle,
    /// Writes another file, named by the value.
    SideFile,
    /// Writes files beside the output, or into the working directory, that are named after output or source.
    SideFiles,
    /// [`Role::SideFiles`]; gcc may remove the profile of an earlier run.
    Coverage,
    /// `-fdump-…`: [`Role::SideFile`] with a name behind `=`, otherwise [`Role::SideFiles`].
    Dump,
    /// [`Role::SideFile`] with a name behind `=`, otherwise messages.
    Report,
    /// Repeats the command's options in an output, so that no other option may be added.
    Records,
    /// Words for the preprocessor, separated by commas (`-Wp,`) or one at a time (`-Xpreprocessor`).
    Preprocessor,
    /// Words for the assembler.
    Assembler,
    /// A word for clang's front end.
    FrontEnd,
    /// One that says what the next one names.
    FrontEndName,
    /// A word for LLVM.
    Backend,
    /// Only linking looks at it.
    Linker,
    /// Asks the compiler something.
    Query,
    /// Preprocesses only.
    Preprocess,
    /// Keeps the unit on this machine.
    Local(Reason),
}

/// One row.
#[derive(Clone, Copy, Debug)]
pub struct Opt {
    pub spelling: &'static str,
    pub takes: Takes,
    pub role: Role,
    /// None: both families.
    pub only: Option<CompilerFamily>,
}

/// An option as found on a command line.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Found<'a> {
    pub role: Role,
    /// The part of the word after the spelling; empty where the option takes the next word.
    pub rest: &'a [u8],
    /// True where the next word belongs to it.
    pub takes_next: bool,
}

/// Looks up a word that begins with `-`. None: unknown.
pub fn find(family: CompilerFamily, word: &[u8]) -> Option<Found<'_>> {
    let row = OPTIONS
        .iter()
        .filter(|row| row.only.is_none_or(|only| only == family) && fits(row, word))
        .max_by_key(|row| row.spelling.len())?;
    let rest = &word[row.spelling.len()..];
    let takes_next = row.takes == Takes::Separate || (row.takes == Takes::JoinedOrSeparate && rest.is_empty());
    let role = refine(row.role, rest)?;
    let rest = match row.role {
        Role::Dump | Role::Report => behind_equals(rest).unwrap_or_default(),
        _ => rest,
    };
    Some(Found { role, rest, takes_next })
}

fn fits(row: &Opt, word: &[u8]) -> bool {
    let Some(rest) = word.strip_prefix(row.spelling.as_bytes()) else { return false };
    match row.takes {
        Takes::Nothing | Takes::Separate => rest.is_empty(),
        Takes::Joined => !rest.is_empty(),
        Takes::Rest | Takes::JoinedOrSeparate => true,
    }
}

/// Settles roles that depend on the rest of the word. None: unknown after all.
fn refine(role: Role, rest: &[u8]) -> Option<Role> {
    match role {
        Role::Switch => switches::is_known(rest).then_some(Role::Setting),
        Role::Target => {
            rest.iter().all(|byte| byte.is_ascii_alphanumeric() || b"_-+.=,:".contains(byte)).then_some(Role::Setting)
        }
        Role::Processor if rest.starts_with(b"native") => Some(match rest {
            b"native" => Role::Native,
            _ => Role::Local(Reason::Native),
        }),
        Role::Processor => Some(Role::Setting),
        Role::Plugin if rest.contains(&b'/') => Some(Role::InputFile),
        Role::Plugin => Some(LOCAL),
        Role::PluginArgument => Some(if rest.contains(&b'/') { LOCAL } else { Role::Setting }),
        Role::Dump | Role::Report => Some(match (behind_equals(rest), role) {
            (Some(b"stdout" | b"stderr" | b"-"), _) | (None, Role::Report) => Role::Setting,
            (Some(_), _) => Role::SideFile,
            (None, _) => Role::SideFiles,
        }),
        role => Some(role),
    }
}

fn behind_equals(word: &[u8]) -> Option<&[u8]> {
    let equals = word.iter().position(|&byte| byte == b'=')?;
    Some(&word[equals + 1..])
}

const fn opt(spelling: &'static str, takes: Takes, role: Role) -> Opt {
    Opt { spelling, takes, role, only: None }
}

const fn gcc(spelling: &'static str, takes: Takes, role: Role) -> Opt {
    Opt { spelling, takes, role, only: Some(CompilerFamily::Gcc) }
}

const fn clang(spelling: &'static str, takes: Takes, role: Role) -> Opt {
    Opt { spelling, takes, role, only: Some(CompilerFamily::Clang) }
}

const LOCAL: Role = Role::Local(Reason::LocalOption);
const MODULES: Role = Role::Local(Reason::Modules);
const PCH: Role = Role::Local(Reason::PrecompiledHeader);
const UNKNOWN: Role = Role::Local(Reason::UnknownOption);

use Role::{Colour, Define, Linker, Query, SearchPath, Setting};
use Takes::{Joined, JoinedOrSeparate, Nothing, Rest, Separate};

pub const OPTIONS: &[Opt] = &[
    // What the command makes.
    opt("-c", Nothing, Role::StopAfterAssembling),
    opt("--compile", Nothing, Role::StopAfterAssembling),
    opt("-S", Nothing, Role::StopAfterCompiling),
    opt("--assemble", Nothing, Role::StopAfterCompiling),
    opt("-o", JoinedOrSeparate, Role::Output),
    opt("--output", Separate, Role::Output),
    opt("--output=", Joined, Role::Output),
    // clang reads these as options of their own, not as an output name.
    clang("-object", Rest, LOCAL),
    clang("-objc", Rest, LOCAL),
    clang("-output", Rest, LOCAL),
    opt("-x", JoinedOrSeparate, Role::Language),
    opt("--language", Separate, Role::Language),
    opt("--language=", Joined, Role::Language),
    opt("-E", Nothing, Role::Preprocess),
    opt("--preprocess", Nothing, Role::Preprocess),
    opt("-M", Nothing, Role::Preprocess),
    opt("-MM", Nothing, Role::Preprocess),
    opt("--dependencies", Nothing, Role::Preprocess),
    opt("--user-dependencies", Nothing, Role::Preprocess),
    opt("-fsyntax-only", Nothing, LOCAL),
    opt("-emit-llvm", Nothing, LOCAL),
    opt("-emit-ast", Nothing, LOCAL),
    opt("--analyze", Rest, LOCAL),
    opt("--precompile", Nothing, MODULES),
    // Dependency output.
    opt("-MD", Nothing, Role::Dependencies { system_headers: true }),
    opt("--write-dependencies", Nothing, Role::Dependencies { system_headers: true }),
    opt("-MMD", Nothing, Role::Dependencies { system_headers: false }),
    opt("--write-user-dependencies", Nothing, Role::Dependencies { system_headers: false }),
    opt("-MF", JoinedOrSeparate, Role::DependencyFile),
    opt("-MT", JoinedOrSeparate, Role::DependencyStyle),
    opt("-MQ", JoinedOrSeparate, Role::DependencyStyle),
    opt("-MP", Nothing, Role::DependencyStyle),
    // Headers that do not exist yet would have to be told from headers left out.
    opt("-MG", Nothing, LOCAL),
    opt("-MV", Nothing, LOCAL),
    opt("-MJ", JoinedOrSeparate, LOCAL),
    gcc("-Mmodules", Nothing, MODULES),
    gcc("-Mno-modules", Nothing, Setting),
    // Macros.
    opt("-D", JoinedOrSeparate, Define),
    opt("--define-macro", Separate, Define),
    opt("--define-macro=", Joined, Define),
    opt("-U", JoinedOrSeparate, Define),
    opt("--undefine-macro", Separate, Define),
    opt("--undefine-macro=", Joined, Define),
    opt("-A", JoinedOrSeparate, Define),
    gcc("--assert", Separate, Define),
    gcc("--assert=", Joined, Define),
    gcc("-posix", Nothing, Setting),
    opt("-undef", Nothing, Setting),
    // Where headers are searched.
    opt("-I", JoinedOrSeparate, SearchPath),
    opt("--include-directory", Separate, SearchPath),
    opt("--include-directory=", Joined, SearchPath),
    opt("--include-directory-after", Separate, SearchPath),
    opt("--include-directory-after=", Joined, SearchPath),
    opt("-isystem", JoinedOrSeparate, SearchPath),
    clang("-isystem-after", JoinedOrSeparate, SearchPath),
    clang("-cxx-isystem", JoinedOrSeparate, SearchPath),
    clang("-stdlib++-isystem", JoinedOrSeparate, SearchPath),
    opt("-iquote", JoinedOrSeparate, SearchPath),
    opt("-idirafter", JoinedOrSeparate, SearchPath),
    opt("-iprefix", JoinedOrSeparate, SearchPath),
    opt("-iwithprefix", JoinedOrSeparate, SearchPath),
    opt("-iwithprefixbefore", JoinedOrSeparate, SearchPath),
    opt("--include-prefix", Separate, SearchPath),
    opt("--include-prefix=", Joined, SearchPath),
    opt("--include-with-prefix", Separate, SearchPath),
    opt("--include-with-prefix=", Joined, SearchPath),
    opt("--include-with-prefix-after", Separate, SearchPath),
    opt("--include-with-prefix-after=", Joined, SearchPath),
    opt("--include-with-prefix-before", Separate, SearchPath),
    opt("--include-with-prefix-before=", Joined, SearchPath),
    clang("-iwithsysroot", JoinedOrSeparate, SearchPath),
    clang("-ibuiltininc", Nothing, Setting),
    // Where programs are searched belongs to the toolchain, see engine::toolchain::selectors.
    opt("-B", JoinedOrSeparate, Setting),
    opt("--prefix", Separate, Setting),
    opt("--prefix=", Joined, Setting),
    opt("-isysroot", JoinedOrSeparate, Setting),
    opt("--sysroot", Separate, Setting),
    opt("--sysroot=", Joined, Setting),
    opt("--no-sysroot-suffix", Nothing, Setting),
    opt("-imultilib", JoinedOrSeparate, Setting),
    opt("-imultiarch", JoinedOrSeparate, Setting),
    opt("-nostdinc", Nothing, Setting),
    opt("--no-standard-includes", Nothing, Setting),
    opt("-nostdinc++", Nothing, Setting),
    clang("-nostdlibinc", Nothing, Setting),
    clang("-nobuiltininc", Nothing, Setting),
    clang("-nogpuinc", Nothing, Setting),
    opt("--embed-dir=", Joined, Role::EmbedPath),
    // The old separator of quote and bracket chain, header maps and the like: not modelled.
    opt("-I-", Nothing, LOCAL),
    opt("--include-barrier", Nothing, LOCAL),
    opt("-remap", Nothing, LOCAL),
    opt("-F", JoinedOrSeparate, LOCAL),
    opt("-iframework", JoinedOrSeparate, LOCAL),
    clang("-ivfsoverlay", JoinedOrSeparate, LOCAL),
    clang("-vfsoverlay", JoinedOrSeparate, LOCAL),
    clang("-working-directory", Rest, LOCAL),
    // Files read before the source.
    opt("-include", JoinedOrSeparate, Role::IncludeFile),
    opt("--include", Separate, Role::IncludeFile),
    opt("--include=", Joined, Role::IncludeFile),
    opt("-imacros", JoinedOrSeparate, Role::IncludeFile),
    opt("--imacros", Separate, Role::IncludeFile),
    opt("--imacros=", Joined, Role::IncludeFile),
    clang("-include-pch", Separate, Role::PrecompiledHeader),
    opt("-fpch", Rest, PCH),
    opt("-fpch-deps", Nothing, Setting),
    opt("-fpch-preprocess", Nothing, Role::PreprocessingWithPrecompiledHeader),
    clang("-fpch-validate-input-files-content", Nothing, Setting),
    clang("-fpch-instantiate-templates", Nothing, Setting),
    opt("-emit-pch", Nothing, PCH),
    gcc("--output-pch", Rest, PCH),
    gcc("-specs=", Joined, Role::SpecsFile),
    gcc("--specs=", Joined, Role::SpecsFile),
    gcc("-specs", Separate, Role::SpecsFile),
    gcc("--specs", Separate, Role::SpecsFile),
    clang("--config", Rest, LOCAL),
    clang("--no-default-config", Nothing, Setting),
    // Language.
    opt("-std=", Joined, Setting),
    opt("--std=", Joined, Setting),
    opt("--std", Separate, Setting),
    opt("-ansi", Nothing, Setting),
    opt("--ansi", Nothing, Setting),
    opt("-trigraphs", Nothing, Setting),
    opt("--trigraphs", Nothing, Setting),
    opt("-pedantic", Nothing, Setting),
    opt("--pedantic", Nothing, Setting),
    opt("-pedantic-errors", Nothing, Setting),
    opt("--pedantic-errors", Nothing, Setting),
    opt("-traditional", Nothing, LOCAL),
    opt("-traditional-cpp", Nothing, LOCAL),
    opt("--traditional-cpp", Nothing, LOCAL),
    opt("-quiet", Nothing, LOCAL),
    clang("-stdlib=", Joined, Setting),
    clang("--stdlib=", Joined, Setting),
    gcc("-stdlib=", Joined, Setting),
    opt("-ObjC", Rest, LOCAL),
    // Messages.
    opt("-W", Rest, Setting),
    opt("--warn-", Joined, Setting),
    opt("--all-warnings", Nothing, Setting),
    opt("--extra-warnings", Nothing, Setting),
    opt("--no-warnings", Nothing, Setting),
    clang("--warning-suppression-mappings=", Joined, Role::InputFile),
    opt("-w", Nothing, Setting),
    clang("-Qunused-arguments", Nothing, Setting),
    opt("-fdiagnostics-color", Rest, Colour),
    opt("-fno-diagnostics-color", Nothing, Colour),
    clang("-fcolor-diagnostics", Nothing, Colour),
    clang("-fno-color-diagnostics", Nothing, Colour),
    clang("-fansi-escape-codes", Nothing, Colour),
    gcc("-fdiagnostics-plain-output", Nothing, Colour),
    // Newer formats write a file beside the object.
    opt("-fdiagnostics-format=", Joined, LOCAL),
    opt("-fdiagnostics-format=text", Nothing, Setting),
    opt("-fdiagnostics-format=json", Nothing, Setting),
    opt("-fdiagnostics-format=json-stderr", Nothing, Setting),
    gcc("-fdiagnostics-format=json-file", Nothing, Role::SideFiles),
    opt("-fdiagnostics-format=sarif-stderr", Nothing, Role::Records),
    clang("-fdiagnostics-format=clang", Nothing, Setting),
    clang("-fdiagnostics-format=msvc", Nothing, Setting),
    clang("-fdiagnostics-format=vi", Nothing, Setting),
    opt("-fdiagnostics-add-output=", Joined, LOCAL),
    opt("-fdiagnostics-set-output=", Joined, LOCAL),
    clang("--serialize-diagnostics", Separate, Role::SideFile),
    clang("-serialize-diagnostics", Separate, Role::SideFile),
    // These print what differs from run to run, or names of temporary files.
    opt("-v", Nothing, LOCAL),
    opt("--verbose", Nothing, LOCAL),
    opt("-H", Nothing, Setting),
    opt("--trace-includes", Nothing, Setting),
    clang("-fshow-skipped-includes", Nothing, Setting),
    clang("-R", Joined, Setting),
    opt("-Q", Nothing, LOCAL),
    // Whether the object says who made it.
    opt("-Qn", Nothing, Setting),
    opt("-Qy", Nothing, Setting),
    opt("-fdebug-cpp", Nothing, LOCAL),
    opt("-fira-verbose=", Joined, LOCAL),
    opt("-fsched-verbose=", Joined, LOCAL),
    opt("-flang-info-", Joined, LOCAL),
    opt("-flto-report", Rest, LOCAL),
    opt("-freport-bug", Nothing, LOCAL),
    opt("-fvtv-", Joined, LOCAL),
    opt("-fself-test=", Joined, LOCAL),
    opt("-fhelp", Rest, LOCAL),
    opt("-fversion", Nothing, LOCAL),
    opt("-ftarget-help", Nothing, LOCAL),
    clang("-save-stats", Nothing, Role::SideFiles),
    clang("-save-stats=", Joined, Role::SideFiles),
    opt("-time", Rest, LOCAL),
    opt("-ftime-report", Rest, LOCAL),
    opt("-fmem-report", Rest, LOCAL),
    opt("-fpre-ipa-mem-report", Nothing, LOCAL),
    opt("-fpost-ipa-mem-report", Nothing, LOCAL),
    opt("-fstats", Nothing, LOCAL),
    clang("-print-stats", Nothing, LOCAL),
    clang("-fproc-stat-report", Rest, LOCAL),
    // Code and target.
    opt("-O", Rest, Setting),
    opt("--optimize", Nothing, Setting),
    opt("--optimize=", Joined, Setting),
    opt("-f", Joined, Role::Switch),
    opt("-fbuiltin-", Joined, Setting),
    opt("-fno-builtin-", Joined, Setting),
    opt("-fcall-saved-", Joined, Setting),
    opt("-fcall-used-", Joined, Setting),
    opt("-ffixed-", Joined, Setting),
    opt("-ftemplate-depth-", Joined, Setting),
    opt("-finline-limit-", Joined, Setting),
    opt("-fname-mangling-version-", Joined, Setting),
    opt("-fenable-", Joined, Setting),
    opt("-fdisable-", Joined, Setting),
    opt("-m", Joined, Role::Target),
    opt("-march=", Joined, Role::Processor),
    opt("-mcpu=", Joined, Role::Processor),
    opt("-mtune=", Joined, Role::Processor),
    opt("-mdump", Rest, LOCAL),
    opt("-mdebug", Rest, LOCAL),
    clang("-mllvm", Separate, Role::Backend),
    clang("-mllvm=", Joined, Role::Backend),
    clang("-mmlir", Separate, LOCAL),
    clang("-module", Rest, MODULES),
    clang("-mthread-model", Separate, Setting),
    // The family would take the name and leave the value to be read as an option.
    gcc("-mllvm", Separate, UNKNOWN),
    gcc("-mmlir", Separate, UNKNOWN),
    gcc("-mthread-model", Separate, UNKNOWN),
    clang("-mlinker-version=", Joined, Setting),
    opt("--param", Separate, Setting),
    opt("--param=", Joined, Setting),
    opt("-p", Nothing, Setting),
    opt("-profile", Nothing, Setting),
    opt("-pg", Nothing, Setting),
    opt("--profile", Nothing, Setting),
    opt("-pipe", Nothing, Setting),
    opt("--pipe", Nothing, Setting),
    opt("-pthread", Nothing, Setting),
    opt("-pthreads", Nothing, Setting),
    clang("-target", Separate, Setting),
    clang("--target=", Joined, Setting),
    clang("--target", Separate, Setting),
    clang("-arch", Separate, LOCAL),
    clang("-Xarch", Rest, LOCAL),
    clang("-Xanalyzer", Separate, LOCAL),
    clang("-G", JoinedOrSeparate, LOCAL),
    gcc("-tno-android-cc", Nothing, Setting),
    gcc("-tno-android-ld", Nothing, Setting),
    clang("-fintegrated-as", Nothing, Setting),
    clang("-integrated-as", Nothing, Setting),
    clang("-no-integrated-as", Nothing, Setting),
    // Changes what extensions mean.
    clang("--driver-mode=", Joined, LOCAL),
    opt("-no-canonical-prefixes", Nothing, Setting),
    clang("-canonical-prefixes", Nothing, Setting),
    clang("--rtlib=", Joined, Setting),
    clang("-rtlib=", Joined, Setting),
    clang("--unwindlib=", Joined, Setting),
    clang("-unwindlib=", Joined, Setting),
    clang("-enable-trivial-auto-var-init-zero-knowing-it-will-be-removed-from-clang", Nothing, Setting),
    clang("--start-no-unused-arguments", Nothing, Setting),
    clang("--end-no-unused-arguments", Nothing, Setting),
    gcc("-pass-exit-codes", Nothing, Setting),
    gcc("--pass-exit-codes", Nothing, Setting),
    gcc("-mno-cygwin", Nothing, Setting),
    // Debug information.
    opt("-g", Nothing, Role::Debug { on: true }),
    opt("--debug", Nothing, Role::Debug { on: true }),
    opt("-g0", Nothing, Role::Debug { on: false }),
    opt("-ggdb0", Nothing, Role::Debug { on: false }),
    opt("-g1", Nothing, Role::Debug { on: true }),
    opt("-g2", Nothing, Role::Debug { on: true }),
    opt("-g3", Nothing, Role::Debug { on: true }),
    opt("-ggdb", Nothing, Role::Debug { on: true }),
    opt("-ggdb1", Nothing, Role::Debug { on: true }),
    opt("-ggdb2", Nothing, Role::Debug { on: true }),
    opt("-ggdb3", Nothing, Role::Debug { on: true }),
    opt("-glldb", Nothing, Role::Debug { on: true }),
    opt("-gsce", Nothing, Role::Debug { on: true }),
    opt("-gdbx", Nothing, Role::Debug { on: true }),
    opt("-gdwarf", Nothing, Role::Debug { on: true }),
    opt("-gdwarf-", Joined, Role::Debug { on: true }),
    opt("-gdwarf32", Nothing, Setting),
    opt("-gdwarf64", Nothing, Setting),
    opt("-gcoff", Rest, Role::Debug { on: true }),
    opt("-gvms", Rest, Role::Debug { on: true }),
    opt("-gxcoff", Rest, Role::Debug { on: true }),
    opt("-gstabs", Rest, Role::Debug { on: true }),
    opt("-gctf", Rest, Role::Debug { on: true }),
    opt("-gbtf", Nothing, Role::Debug { on: true }),
    opt("-gmlt", Nothing, Role::Debug { on: true }),
    opt("-gline-tables-only", Nothing, Role::Debug { on: true }),
    opt("-gline-directives-only", Nothing, Role::Debug { on: true }),
    opt("-gfull", Nothing, Role::Debug { on: true }),
    opt("-gused", Nothing, Role::Debug { on: true }),
    opt("-gsplit-dwarf", Nothing, Role::SplitDebug),
    clang("-gsplit-dwarf=split", Nothing, Role::SplitDebug),
    clang("-gsplit-dwarf=single", Nothing, Setting),
    opt("-gno-", Joined, Setting),
    clang("-gno-split-dwarf", Nothing, LOCAL),
    opt("-gas-loc-support", Nothing, Setting),
    opt("-gas-locview-support", Nothing, Setting),
    opt("-gcodeview", Rest, Setting),
    opt("-gcolumn-info", Nothing, Setting),
    opt("-gdescribe-dies", Nothing, Setting),
    opt("-gdwarf-aranges", Nothing, Setting),
    opt("-gembed-source", Nothing, Setting),
    opt("-ggnu-pubnames", Nothing, Setting),
    opt("-ginline-line-tables", Nothing, Setting),
    opt("-ginline-points", Nothing, Setting),
    opt("-ginternal-reset-location-views", Nothing, Setting),
    opt("-gkey-instructions", Nothing, Setting),
    opt("-gpubnames", Nothing, Setting),
    clang("-grecord-gcc-switches", Nothing, Role::Records),
    // gcc's default anyway; it leaves dependency, search and message options out.
    gcc("-grecord-gcc-switches", Nothing, Setting),
    opt("-grecord-command-line", Nothing, Role::Records),
    opt("-gsimple-template-names", Rest, Setting),
    opt("-gsrc-hash=", Joined, Setting),
    opt("-gstatement-frontiers", Nothing, Setting),
    opt("-gstrict-dwarf", Nothing, Setting),
    opt("-gstructor-decl-linkage-names", Nothing, Setting),
    opt("-gtemplate-alias", Nothing, Setting),
    opt("-gtoggle", Nothing, LOCAL),
    opt("-gvariable-location-views", Rest, Setting),
    opt("-gz", Nothing, Setting),
    opt("-gz=", Joined, Setting),
    clang("-gmodules", Nothing, MODULES),
    // Words for other programs.
    opt("-Wp,", Joined, Role::Preprocessor),
    opt("-Xpreprocessor", Separate, Role::Preprocessor),
    opt("-Wa,", Joined, Role::Assembler),
    opt("-Xassembler", Separate, Role::Assembler),
    clang("-Xclang", Separate, Role::FrontEnd),
    clang("-Xclang=", Joined, Role::FrontEnd),
    opt("-Wl,", Joined, Linker),
    opt("-Xlinker", Separate, Linker),
    // Linking.
    opt("-l", JoinedOrSeparate, Linker),
    opt("-L", JoinedOrSeparate, Linker),
    opt("--library-directory=", Joined, Linker),
    opt("-s", Nothing, Linker),
    opt("-z", JoinedOrSeparate, Linker),
    opt("-u", JoinedOrSeparate, Linker),
    opt("-T", JoinedOrSeparate, Linker),
    opt("-e", Separate, Linker),
    opt("-n", Nothing, Linker),
    opt("-N", Nothing, Linker),
    opt("-t", Nothing, Linker),
    opt("-Z", Nothing, Linker),
    opt("-r", Nothing, Linker),
    opt("-rdynamic", Nothing, Linker),
    opt("-static", Nothing, Setting),
    opt("-static-pie", Nothing, Setting),
    opt("-static-libgcc", Nothing, Linker),
    opt("-static-libstdc++", Nothing, Linker),
    opt("-static-libasan", Nothing, Linker),
    opt("-static-libubsan", Nothing, Linker),
    opt("-static-libhwasan", Nothing, Linker),
    opt("-static-liblsan", Nothing, Linker),
    opt("-static-libtsan", Nothing, Linker),
    clang("-static-openmp", Nothing, Linker),
    clang("-static-libsan", Nothing, Linker),
    clang("-shared-libsan", Nothing, Linker),
    clang("-shared-libasan", Nothing, Linker),
    opt("-shared", Nothing, Setting),
    opt("-shared-libgcc", Nothing, Linker),
    opt("-symbolic", Nothing, Linker),
    opt("-pie", Nothing, Setting),
    opt("-no-pie", Nothing, Setting),
    opt("-nopie", Nothing, Setting),
    opt("-nostdlib", Nothing, Linker),
    opt("--no-standard-libraries", Nothing, Linker),
    opt("-nostdlib++", Nothing, Linker),
    opt("-nodefaultlibs", Nothing, Linker),
    opt("-nostartfiles", Nothing, Linker),
    opt("-nolibc", Nothing, Linker),
    opt("-fuse-ld=", Joined, Linker),
    clang("--ld-path=", Joined, Linker),
    // Files that are read, or written beside the object.
    opt("-wrapper", Separate, LOCAL),
    gcc("-aux-info", Separate, Role::SideFile),
    gcc("-aux-info=", Joined, Role::SideFile),
    opt("-d", Joined, LOCAL),
    gcc("-da", Nothing, Role::SideFiles),
    gcc("-dA", Nothing, Setting),
    gcc("-dp", Nothing, Setting),
    gcc("-dP", Nothing, Setting),
    gcc("--dump", Separate, LOCAL),
    gcc("--dump=", Joined, LOCAL),
    gcc("-dumpdir", Separate, LOCAL),
    gcc("--dumpdir", Separate, LOCAL),
    gcc("--dumpbase", Separate, LOCAL),
    gcc("--dumpbase-ext", Separate, LOCAL),
    gcc("-fada-spec-parent=", Joined, LOCAL),
    // Writes `.rpo` files, in gcc 8 and 9.
    opt("-frepo", Nothing, LOCAL),
    opt("-fwpa", Rest, LOCAL),
    opt("-flinker-output=", Joined, LOCAL),
    opt("-iplugindir=", Joined, LOCAL),
    clang("-emit-interface-stubs", Nothing, LOCAL),
    clang("-emit-merged-ifs", Nothing, LOCAL),
    clang("-extract-api", Nothing, LOCAL),
    clang("-verify-pch", Nothing, LOCAL),
    clang("-relocatable-pch", Nothing, PCH),
    clang("-index-header-map", Nothing, LOCAL),
    clang("--rsp-quoting=", Joined, LOCAL),
    clang("--verify-debug-info", Nothing, LOCAL),
    gcc("-dumpbase", Separate, LOCAL),
    gcc("-dumpbase-ext", Separate, LOCAL),
    opt("-save-temps", Nothing, Role::SideFiles),
    opt("--save-temps", Nothing, Role::SideFiles),
    opt("-save-temps=", Joined, Role::SideFiles),
    opt("--save-temps=", Joined, Role::SideFiles),
    opt("--coverage", Nothing, Role::Coverage),
    opt("-coverage", Nothing, Role::Coverage),
    opt("-ftest-coverage", Nothing, Role::Coverage),
    opt("-fprofile-use", Nothing, Role::Profile),
    opt("-fprofile-use=", Joined, Role::Profile),
    clang("-fprofile-instr-use", Nothing, Role::Profile),
    clang("-fprofile-instr-use=", Joined, Role::Profile),
    clang("-fprofile-sample-use=", Joined, Role::InputFile),
    clang("-fprofile-sample-use", Nothing, LOCAL),
    clang("-fprofile-list=", Joined, Role::InputFile),
    clang("-fprofile-remapping-file=", Joined, Role::InputFile),
    opt("-fprofile-generate=", Joined, Setting),
    opt("-fprofile-instr-generate=", Joined, Setting),
    opt("-fprofile-dir=", Joined, LOCAL),
    gcc("-fprofile-note=", Joined, Role::SideFile),
    opt("-fprofile-report", Nothing, LOCAL),
    opt("-fauto-profile", Nothing, LOCAL),
    opt("-fauto-profile=", Joined, Role::InputFile),
    opt("-fbranch-probabilities", Nothing, Role::Profile),
    gcc("-fcallgraph-info", Rest, Role::SideFiles),
    opt("-fcompare-debug", Rest, LOCAL),
    opt("-fdbg-cnt", Rest, LOCAL),
    opt("-fdebug-pass", Rest, LOCAL),
    opt("-fdeps-", Joined, MODULES),
    opt("-fdirectives-only", Nothing, LOCAL),
    opt("-fdump", Rest, LOCAL),
    gcc("-fdump-", Joined, Role::Dump),
    // Named after headers.
    gcc("-fdump-ada-spec", Rest, LOCAL),
    clang("-fdump-record-layouts", Rest, Setting),
    opt("-fembed-offload-object=", Joined, LOCAL),
    opt("-foffload", Rest, LOCAL),
    opt("-fopenmp-targets=", Joined, LOCAL),
    gcc("-fopt-info", Rest, Role::Report),
    clang("-foptimization-record-file=", Joined, Role::SideFile),
    clang("-foptimization-record-passes=", Joined, Setting),
    opt("-fsave-optimization-record", Nothing, Role::SideFiles),
    clang("-fsave-optimization-record=", Joined, Role::SideFiles),
    // What arguments mean is known to the plugin only; one that is no path names no file.
    opt("-fplugin", Rest, LOCAL),
    opt("-fplugin=", Joined, Role::Plugin),
    opt("-fplugin-arg-", Joined, Role::PluginArgument),
    clang("-fpass-plugin=", Joined, Role::Plugin),
    opt("-fpreprocessed", Nothing, LOCAL),
    clang("-frandomize-layout-seed-file=", Joined, Role::InputFile),
    opt("-frecord-gcc-switches", Nothing, Role::Records),
    opt("-frecord-command-line", Nothing, Role::Records),
    opt("-frewrite", Rest, LOCAL),
    clang("-fsanitize-blacklist=", Joined, Role::InputFile),
    clang("-fsanitize-ignorelist=", Joined, Role::InputFile),
    clang("-fsanitize-system-ignorelist=", Joined, Role::InputFile),
    clang("-fsanitize-system-blacklist=", Joined, Role::InputFile),
    clang("-fsanitize-coverage-whitelist=", Joined, Role::InputFile),
    clang("-fsanitize-coverage-blacklist=", Joined, Role::InputFile),
    clang("-fsanitize-coverage-allowlist=", Joined, Role::InputFile),
    clang("-fsanitize-coverage-ignorelist=", Joined, Role::InputFile),
    opt("-fsanitize-stats", Nothing, LOCAL),
    opt("-fstack-usage", Nothing, Role::SideFiles),
    opt("-fthin", Rest, LOCAL),
    clang("-ftime-trace", Nothing, Role::SideFiles),
    clang("-ftime-trace=", Joined, LOCAL),
    clang("-ftime-trace-granularity=", Joined, Setting),
    clang("-ftime-trace-verbose", Nothing, Setting),
    // Its comments list the options of the run.
    opt("-fverbose-asm", Nothing, Role::Records),
    clang("-fxray-always-instrument=", Joined, Role::InputFile),
    clang("-fxray-never-instrument=", Joined, Role::InputFile),
    clang("-fxray-attr-list=", Joined, Role::InputFile),
    // The conversion tables of the C library are in the toolchain, but farcc itself reads sources as they are.
    opt("-finput-charset=", Joined, LOCAL),
    opt("-finput-charset=UTF-8", Nothing, Setting),
    opt("-finput-charset=utf-8", Nothing, Setting),
    opt("-fexec-charset=", Joined, Setting),
    opt("-fwide-exec-charset=", Joined, Setting),
    // Modules.
    opt("-fmodule", Rest, MODULES),
    opt("-fcxx-modules", Nothing, MODULES),
    opt("-fimplicit-module-maps", Nothing, MODULES),
    opt("-fimplicit-modules", Nothing, MODULES),
    opt("-fprebuilt", Rest, MODULES),
    opt("-fbuild-session", Rest, MODULES),
    opt("-fsearch-all-headers", Nothing, MODULES),
    clang("-fsystem-module", Nothing, MODULES),
    // Toolchain and tools of the driver.
    clang("-resource-dir", Rest, LOCAL),
    clang("--gcc-toolchain=", Joined, Setting),
    clang("--gcc-install-dir=", Joined, Setting),
    clang("--gcc-triple=", Joined, Setting),
    clang("-ccc-", Joined, LOCAL),
    clang("--cuda", Rest, LOCAL),
    clang("--offload", Rest, LOCAL),
    clang("-fbasic-block-sections=", Joined, LOCAL),
    clang("-fbasic-block-sections=all", Nothing, Setting),
    clang("-fbasic-block-sections=none", Nothing, Setting),
    clang("-fbasic-block-sections=labels", Nothing, Setting),
    clang("-fembed-bitcode", Rest, Setting),
    // Only with `-E`.
    opt("--comments", Nothing, LOCAL),
    opt("--comments-in-macros", Nothing, LOCAL),
    opt("--no-line-commands", Nothing, LOCAL),
    clang("-fminimize-whitespace", Nothing, LOCAL),
    opt("-C", Nothing, LOCAL),
    opt("-CC", Nothing, LOCAL),
    opt("-P", Nothing, LOCAL),
    // Questions.
    opt("-###", Nothing, Query),
    opt("--version", Nothing, Query),
    opt("-dumpversion", Nothing, Query),
    opt("-dumpfullversion", Nothing, Query),
    opt("-dumpmachine", Nothing, Query),
    opt("-dumpspecs", Nothing, Query),
    opt("-print-", Joined, Query),
    opt("--print-", Joined, Query),
    opt("--help", Rest, Query),
    opt("-help", Nothing, Query),
    opt("--target-help", Nothing, Query),
    opt("--completion=", Joined, Query),
    clang("--autocomplete=", Joined, Query),
    clang("-cc1", Rest, Query),
    clang("-V", Nothing, Query),
    gcc("-V", Nothing, Query),
    gcc("-qversion", Nothing, Query),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(family: CompilerFamily, word: &str, expected: Option<Role>) {
        assert_eq!(find(family, word.as_bytes()).map(|found| found.role), expected, "{word}");
    }

    #[test]
    fn the_longest_row_that_fits_wins() {
        use CompilerFamily::{Clang, Gcc};
        check(Gcc, "-Wall", Some(Setting));
        check(Gcc, "-Wa,-ahl=x", Some(Role::Assembler));
        check(Gcc, "-MMD", Some(Role::Dependencies { system_headers: false }));
        check(Gcc, "-MMDx", None);
        check(Gcc, "-fPIC", Some(Setting));
        check(Gcc, "-fnever-heard-of", None);
        check(Gcc, "-mavx512f", Some(Setting));
        check(Gcc, "-mfoo=/etc/passwd", None);
        check(Gcc, "-march=native", Some(Role::Native));
        check(Gcc, "-mcpu=native+crc", Some(Role::Local(Reason::Native)));
        check(Gcc, "-march=znver3", Some(Setting));
        check(Clang, "-module-dependency-dir", Some(MODULES));
        check(Clang, "-include-pch", Some(Role::PrecompiledHeader));
        check(Gcc, "-fdump-tree-all", Some(Role::SideFiles));
        check(Gcc, "-fdump-tree-all=stderr", Some(Setting));
        check(Gcc, "-fdump-tree-all=x", Some(Role::SideFile));
        check(Gcc, "-fopt-info-vec", Some(Setting));
        check(Gcc, "-fplugin=x.so", Some(LOCAL));
        check(Gcc, "-fplugin=./x.so", Some(Role::InputFile));
        check(Gcc, "-include", Some(Role::IncludeFile));
        check(Gcc, "-finput-charset=UTF-8", Some(Setting));
        check(Gcc, "-finput-charset=KOI8-R", Some(LOCAL));
        check(Gcc, "-Xclang", None);
        check(Gcc, "-nonsense", None);
    }

    /// Then the value would be read as an option, or as a source.
    #[test]
    fn no_family_of_options_takes_a_name_without_its_value() {
        use CompilerFamily::{Clang, Gcc};
        for row in OPTIONS.iter().filter(|row| row.takes == Separate) {
            for other in [Gcc, Clang].into_iter().filter(|other| row.only.is_some_and(|only| only != *other)) {
                let found = find(other, row.spelling.as_bytes());
                let is_left = found.is_some_and(|found| found.role == Setting && !found.takes_next);
                assert!(!is_left, "{} of the other family", row.spelling);
            }
        }
    }

    #[test]
    fn no_two_rows_contradict() {
        for family in [CompilerFamily::Gcc, CompilerFamily::Clang] {
            let mut seen = std::collections::BTreeMap::new();
            for row in OPTIONS.iter().filter(|row| row.only == Some(family)) {
                assert!(seen.insert(row.spelling, row).is_none(), "{} twice", row.spelling);
            }
        }
        let mut seen = std::collections::BTreeSet::new();
        for row in OPTIONS.iter().filter(|row| row.only.is_none()) {
            assert!(seen.insert(row.spelling), "{} twice", row.spelling);
            assert!(row.spelling.starts_with('-') && row.spelling.is_ascii());
        }
    }
}
