//! A compile command as understood, and the other command lines that follow from it.

use crate::engine::compiler::environment::Terminal;
use crate::engine::compiler::native::{Native, SPECS_PATH};
use crate::engine::compiler::options::Role;
use crate::engine::compiler::{CompilerFamily, passed, side_files};
use crate::model::job::Bytes;

/// What the source is.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Language {
    C,
    Cxx,
    PreprocessedC,
    PreprocessedCxx,
    AssemblerWithCpp,
    Assembler,
}

impl Language {
    /// As `-x` has it.
    pub fn name(self) -> &'static str {
        match self {
            Self::C => "c",
            Self::Cxx => "c++",
            Self::PreprocessedC => "cpp-output",
            Self::PreprocessedCxx => "c++-cpp-output",
            Self::AssemblerWithCpp => "assembler-with-cpp",
            Self::Assembler => "assembler",
        }
    }

    /// False where the source is the only input.
    pub fn is_preprocessed_by_compiler(self) -> bool {
        matches!(self, Self::C | Self::Cxx | Self::AssemblerWithCpp)
    }

    pub fn is_assembler(self) -> bool {
        matches!(self, Self::AssemblerWithCpp | Self::Assembler)
    }
}

/// Where the command stops.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Stage {
    /// `-c`
    Object,
    /// `-S`
    Assembly,
}

impl Stage {
    fn option(self) -> &'static [u8] {
        match self {
            Self::Object => b"-c",
            Self::Assembly => b"-S",
        }
    }

    /// Of an output that the command does not name.
    pub(super) fn extension(self) -> &'static [u8] {
        match self {
            Self::Object => b"o",
            Self::Assembly => b"s",
        }
    }
}

/// The dependency file that the build asked for.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct DependencyOutput {
    pub path: Bytes,
    /// False for `-MMD`.
    pub lists_system_headers: bool,
}

/// The words of one option, or one operand.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Part {
    Program(Bytes),
    Input(Bytes),
    Option { role: Role, words: Vec<Bytes>, value: Bytes },
}

/// A command that compiles one source into one object or assembly file.
///
/// Paths are as the command writes them, relative ones to the working directory.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct CompileCommand {
    pub family: CompilerFamily,
    pub language: Language,
    pub stage: Stage,
    pub source: Bytes,
    pub output: Bytes,
    /// Where split debug information goes, if the command makes any.
    pub split_debug: Option<Bytes>,
    pub dependencies: Option<DependencyOutput>,
    /// What else options name for writing. Whether the compiler writes them depends on the source.
    pub side_files: Vec<Bytes>,
    /// The compiler writes files besides whose names it makes up: see [`Self::may_name_side_file`].
    pub has_side_files: bool,
    pub(super) parts: Vec<Part>,
}

/// The command for a builder.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct RemoteCommand {
    pub argv: Vec<Bytes>,
    /// True where words were added that write a dependency list into the report; otherwise the build asked for one itself, or
    /// the source includes nothing.
    pub report: bool,
}

impl CompileCommand {
    /// The compiler as its own `argv[0]`.
    pub fn program(&self) -> &[u8] {
        match self.parts.first() {
            Some(Part::Program(word)) => word,
            _ => b"",
        }
    }

    /// Every file that the command will write.
    pub fn outputs(&self) -> impl Iterator<Item = &Bytes> {
        let dependencies = self.dependencies.as_ref().map(|dependencies| &dependencies.path);
        std::iter::once(&self.output).chain(dependencies).chain(&self.split_debug).chain(&self.side_files)
    }

    /// Whether a file of this name, in the working directory or the output's, could be one that the compiler makes up: they are
    /// called after the output or the source.
    pub fn may_name_side_file(&self, name: &[u8]) -> bool {
        self.has_side_files && [&self.output, &self.source].iter().any(|path| side_files::may_be_made_of(path, name))
    }

    /// True where the object is made by the assembler, a program of its own.
    pub fn runs_assembler(&self) -> bool {
        let words = self.parts.iter().rev().filter_map(|part| match part {
            Part::Option { words, .. } => Some(words[0].as_slice()),
            _ => None,
        });
        let mut said = words.filter_map(|word| match word {
            b"-fno-integrated-as" | b"-no-integrated-as" => Some(true),
            b"-fintegrated-as" | b"-integrated-as" => Some(false),
            _ => None,
        });
        self.family == CompilerFamily::Gcc || said.next() == Some(true)
    }

    /// Files that options name for reading before the source. They are searched like headers if not found as written.
    pub fn include_files(&self) -> impl Iterator<Item = &Bytes> {
        self.values(|role| role == Role::IncludeFile)
    }

    /// Driver specification files that options name. One without a slash is searched in the compiler's own directories.
    pub fn specs_files(&self) -> impl Iterator<Item = &Bytes> {
        self.values(|role| role == Role::SpecsFile)
    }

    /// Precompiled headers that options name.
    pub fn precompiled_headers(&self) -> impl Iterator<Item = &Bytes> {
        self.values(|role| role == Role::PrecompiledHeader)
    }

    /// Further files that options name for reading.
    pub fn input_files(&self) -> impl Iterator<Item = &Bytes> {
        self.values(|role| role == Role::InputFile)
    }

    /// Profiles that options name: files, directories, or nothing.
    pub fn profiles(&self) -> impl Iterator<Item = &Bytes> {
        self.values(|role| role == Role::Profile)
    }

    /// gcc removes the profile of an earlier run where its own stamp would not tell old from new (`coverage_finish` in its
    /// coverage.c).
    pub fn removes_profile(&self) -> bool {
        let has = |is_wanted: &dyn Fn(Role, &[u8]) -> bool| {
            self.parts.iter().any(|part| match part {
                Part::Option { role, words, .. } => is_wanted(*role, &words[0]),
                _ => false,
            })
        };
        self.family == CompilerFamily::Gcc
            && has(&|role, _| role == Role::Coverage)
            && has(&|_, word| word.starts_with(b"-frandom-seed="))
    }

    fn values(&self, wanted: impl Fn(Role) -> bool) -> impl Iterator<Item = &Bytes> {
        self.parts.iter().filter_map(move |part| match part {
            Part::Option { role, value, .. } if wanted(*role) => Some(value),
            _ => None,
        })
    }

    /// Directories given by `-I`: the ones whose headers are not system headers.
    pub fn user_directories(&self) -> impl Iterator<Item = &[u8]> {
        self.parts.iter().filter_map(|part| match part {
            Part::Option { role: Role::SearchPath, words, value } if is_user_search(&words[0]) => {
                Some(value.as_slice())
            }
            _ => None,
        })
    }

    /// Directories that options give to the assembler for `.include` and `.incbin`: those given for headers are handed on, which
    /// ones depends on compiler and version.
    pub fn assembler_directories(&self) -> impl Iterator<Item = &[u8]> {
        self.parts.iter().flat_map(|part| match part {
            Part::Option { role: Role::SearchPath, value, .. } => vec![value.as_slice()],
            Part::Option { role: Role::Assembler, value, .. } => passed::assembler_directories(value).collect(),
            _ => Vec::new(),
        })
    }

    /// `--embed-dir`
    pub fn embed_directories(&self) -> impl Iterator<Item = &Bytes> {
        self.values(|role| role == Role::EmbedPath)
    }

    /// The macros that options define, as the lines of a source would.
    pub fn definitions(&self) -> Vec<u8> {
        let mut text = Vec::new();
        for option in self.macro_options().filter(|option| option.defines) {
            let mut parts = option.value.splitn(2, |&byte| byte == b'=');
            let name = parts.next().unwrap_or_default();
            let body = parts.next().unwrap_or(b"1");
            let line = [b"#define ", name, b" ", body].concat();
            // What is behind a line's end is lost on the compilers.
            text.extend(line.into_iter().map(|byte| if byte == b'\n' { b' ' } else { byte }));
            text.push(b'\n');
        }
        text
    }

    /// Whether an option gives the macro `name` another meaning, or none, before the source begins.
    pub fn redefines(&self, name: &[u8]) -> bool {
        self.macro_options().any(|option| option.value.split(|&byte| byte == b'=').next() == Some(name))
    }

    fn macro_options(&self) -> impl Iterator<Item = MacroOption> {
        self.parts.iter().flat_map(|part| match part {
            Part::Option { role: Role::Define, words, value } => {
                MacroOption::of(&words[0], value.clone()).into_iter().collect()
            }
            Part::Option { role: Role::Preprocessor, value, .. } => {
                let kept = passed::preprocessor_words(value).map(|words| words.kept).unwrap_or_default();
                kept.iter().filter_map(|word| MacroOption::of(word, Bytes::from(word.get(2..)?))).collect()
            }
            _ => Vec::new(),
        })
    }

    /// The oracle: preprocesses to nowhere, writes what it opened into `depfile` and its search path to standard error.
    ///
    /// None where the source is the only input. `-E -MD` and not `-M`, which does not expand macros in text and so misses
    /// what those decide.
    pub fn dependency_run(&self, depfile: &[u8]) -> Option<Vec<Bytes>> {
        self.preprocessing(&[b"-v", b"-MD", b"-MF", depfile, b"-MT", b"x", b"-o", b"/dev/null"])
    }

    /// Preprocesses to standard output, without line numbers. None where the source is the only input.
    pub fn preprocessing_run(&self) -> Option<Vec<Bytes>> {
        self.preprocessing(&[b"-P"])
    }

    fn preprocessing(&self, added: &[&[u8]]) -> Option<Vec<Bytes>> {
        if !self.language.is_preprocessed_by_compiler() {
            return None;
        }
        let (program, rest) = self.parts.split_first()?;
        let mut argv = Vec::with_capacity(self.parts.len() + 12);
        push_words(program, &mut argv);
        argv.push(Bytes::from(*b"-E"));
        argv.extend(added.iter().map(|word| Bytes::from(*word)));
        if self.family == CompilerFamily::Clang {
            // Options for later stages are unused here, which `-Werror` would make an error.
            argv.push(Bytes::from(*b"-Qunused-arguments"));
        }
        for part in rest {
            match part {
                Part::Option { role, .. } if is_of_the_outputs(*role) => {}
                Part::Option {
                    role: Role::SideFiles | Role::Coverage | Role::PreprocessingWithPrecompiledHeader,
                    ..
                } => {}
                Part::Option { role: Role::Preprocessor, value, .. } => {
                    let kept = passed::preprocessor_words(value).map(|words| words.kept).unwrap_or_default();
                    argv.extend(kept.iter().map(|word| Bytes::from([b"-Wp,", word.as_slice()].concat())));
                }
                part => push_words(part, &mut argv),
            }
        }
        Some(argv)
    }

    /// The command for a builder: `written`, the build's own words before response files were expanded, with as little added as
    /// possible. A dependency list goes into `report` if the build asks for none; messages get colour if `terminal` would show it.
    ///
    /// What is added stands first, so that the build's own words win, and changes no object: compilers leave these options out
    /// of debug information, and commands that record their options are local.
    pub fn remote(&self, written: &[Bytes], report: &[u8], terminal: Option<Terminal>) -> RemoteCommand {
        let reports = self.dependencies.is_none() && self.language.is_preprocessed_by_compiler();
        let mut added: Vec<Bytes> = Vec::new();
        if reports {
            added.extend([&b"-MD"[..], b"-MF", report, b"-MT", b"x"].into_iter().map(Bytes::from));
        }
        if let Some(terminal) = terminal.filter(|_| self.leaves_colour_open()) {
            added.extend(terminal.options(self.family, self.language));
        }
        let mut argv = Vec::with_capacity(written.len() + added.len());
        if let Some((program, rest)) = written.split_first() {
            argv.push(program.clone());
            argv.append(&mut added);
            argv.extend_from_slice(rest);
        }
        RemoteCommand { argv, report: reports }
    }

    /// No option says whether messages have colour.
    fn leaves_colour_open(&self) -> bool {
        !self.parts.iter().any(|part| matches!(part, Part::Option { role: Role::Colour, .. }))
    }

    /// The option that repeats the command in an output, if [`Self::remote`] would add words for `terminal` to that, or clang's
    /// [`Self::resolved`] would have other words than the build has written.
    pub fn would_record(&self, terminal: Option<Terminal>) -> Option<&[u8]> {
        let option = self.parts.iter().find_map(|part| match part {
            Part::Option { role: Role::Records, words, .. } => Some(words[0].as_slice()),
            _ => None,
        });
        let adds_colour = terminal.is_some() && self.leaves_colour_open();
        option.filter(|_| adds_colour || (self.family == CompilerFamily::Clang && self.is_native()))
    }

    /// The code is for this machine's processor.
    pub fn is_native(&self) -> bool {
        self.parts.iter().any(|part| matches!(part, Part::Option { role: Role::Native, .. }))
    }

    /// The same command for another machine, where `native` would mean another processor.
    pub fn resolved(&self, native: &Native) -> Self {
        let mut resolved = self.clone();
        let option = |role, words: Vec<Bytes>| Part::Option { role, words, value: Bytes::new() };
        match native {
            Native::Specs(_) => {
                let word = Bytes::from([b"-specs=", SPECS_PATH].concat());
                resolved.parts.insert(1.min(self.parts.len()), option(Role::Setting, vec![word]));
            }
            Native::Words { cpu, tune, features } => {
                for part in &mut resolved.parts {
                    if let Part::Option { role: role @ Role::Native, words, value } = part {
                        *role = Role::Processor;
                        let name = words[0].strip_suffix(value.as_slice()).unwrap_or_default().to_vec();
                        let cpu = tune.as_ref().filter(|_| name == b"-mtune=").unwrap_or(cpu);
                        *words = vec![Bytes::from([&name, cpu.as_slice()].concat())];
                    }
                }
                let front_end = |word: &[u8]| [Bytes::from(*b"-Xclang"), Bytes::from(word)];
                for feature in features {
                    let words = [front_end(b"-target-feature"), front_end(feature)].concat();
                    resolved.parts.push(option(Role::FrontEnd, words));
                }
            }
        }
        resolved
    }

    /// The command as it was read.
    pub fn words(&self) -> Vec<Bytes> {
        let mut argv = Vec::with_capacity(self.parts.len());
        self.parts.iter().for_each(|part| push_words(part, &mut argv));
        argv
    }

    /// Makes an assembly file whose head tells of the machine's memory; see [`memory_line`](super::memory_line).
    pub fn shows_memory(&self) -> bool {
        let is_verbose = |part: &Part| matches!(part, Part::Option { words, .. } if *words[0] == *b"-fverbose-asm");
        self.family == CompilerFamily::Gcc && self.stage == Stage::Assembly && self.parts.iter().any(is_verbose)
    }

    /// Such a file of nothing, on standard output.
    pub fn memory_question(&self) -> Vec<Bytes> {
        let words = ["-S", "-fverbose-asm", "-x", "c", "/dev/null", "-o", "-"];
        std::iter::once(self.program()).chain(words.map(str::as_bytes)).map(Bytes::from).collect()
    }

    /// Asks the driver which programs it would run for this class of commands. Names no file of the unit, so that it can be
    /// asked anywhere.
    pub fn probe(&self) -> Vec<Bytes> {
        let mut argv = self.class_words();
        argv.insert(1.min(argv.len()), Bytes::from(*b"-###"));
        let source = [&b"-x"[..], self.language.name().as_bytes(), b"/dev/null", b"-o", b"/dev/null"];
        argv.extend(source.into_iter().map(Bytes::from));
        argv
    }

    /// What decides which programs the driver runs and how: equal words, equal answers to [`Self::probe`]. Leaves out what is
    /// handed through without a choice: macros, search directories, warnings, file names.
    pub fn class_words(&self) -> Vec<Bytes> {
        let mut words = Vec::new();
        for part in &self.parts {
            match part {
                Part::Input(_) => {}
                Part::Option { role, .. } if is_handed_through(*role) => {}
                Part::Option { words, .. } if is_warning(&words[0]) => {}
                part => push_words(part, &mut words),
            }
        }
        words.push(Bytes::from(self.stage.option()));
        words
    }
}

/// `-D` or `-U`, in whatever spelling.
struct MacroOption {
    defines: bool,
    /// `NAME`, `NAME=BODY` or `NAME(ARGUMENTS)=BODY`.
    value: Bytes,
}

impl MacroOption {
    /// None for an assertion (`-A`).
    fn of(word: &[u8], value: Bytes) -> Option<Self> {
        let is = |names: [&[u8]; 2]| names.iter().any(|name| word.starts_with(name));
        let defines = is([b"-D", b"--define-macro"]);
        (defines || is([b"-U", b"--undefine-macro"])).then_some(Self { defines, value })
    }
}

fn push_words(part: &Part, argv: &mut Vec<Bytes>) {
    match part {
        Part::Program(word) | Part::Input(word) => argv.push(word.clone()),
        Part::Option { words, .. } => argv.extend_from_slice(words),
    }
}

fn is_of_the_outputs(role: Role) -> bool {
    matches!(
        role,
        Role::StopAfterAssembling
            | Role::StopAfterCompiling
            | Role::Output
            | Role::Dependencies { .. }
            | Role::DependencyFile
            | Role::DependencyStyle
            | Role::SideFile
    )
}

fn is_handed_through(role: Role) -> bool {
    is_of_the_outputs(role)
        || matches!(
            role,
            Role::Define
                | Role::SearchPath
                | Role::EmbedPath
                | Role::IncludeFile
                | Role::FrontEndName
                | Role::PrecompiledHeader
                | Role::InputFile
                | Role::Profile
                | Role::Language
                | Role::Linker
                | Role::Preprocessor
        )
}

fn is_warning(word: &[u8]) -> bool {
    word == b"-w" || (word.starts_with(b"-W") && !word.starts_with(b"-Wa,"))
}

fn is_user_search(option: &[u8]) -> bool {
    [&b"-I"[..], b"-iquote", b"--include-directory", b"-iwithprefixbefore"].iter().any(|name| option.starts_with(name))
}
