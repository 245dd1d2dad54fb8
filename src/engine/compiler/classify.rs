//! Reads a command line and decides what it is: a compile that may travel, one that may not, or no compile at all.

use crate::engine::compiler::command::{CompileCommand, DependencyOutput, Language, Part, Stage};
use crate::engine::compiler::names::{file_name, with_extension};
use crate::engine::compiler::options::{self, Role};
use crate::engine::compiler::{CompilerFamily, environment, passed};
use crate::model::job::Bytes;
use crate::model::reason::{Reason, Why};

/// What farcc does with a command.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Classification {
    /// Compiles one translation unit and may be distributed.
    Compile(Box<CompileCommand>),
    /// Compiles, but only here.
    Local(Why),
    /// Not a compile of one unit.
    StepAside(Why),
}

/// Classifies `argv`, whose response files are expanded.
pub fn classify(family: CompilerFamily, argv: &[Bytes], env: &[(Bytes, Bytes)]) -> Classification {
    let mut reader = Reader::new(family, argv);
    reader.read(argv);
    if let Some(why) = reader.no_compile() {
        return Classification::StepAside(why);
    }
    match reader.compile_command().and_then(|command| environment::check(env).map(|()| command)) {
        Ok(command) => Classification::Compile(Box::new(command)),
        Err(why) => Classification::Local(why),
    }
}

/// What a command line has said so far.
struct Reader {
    family: CompilerFamily,
    /// A driver by a name like `g++` takes C sources for C++.
    is_cxx_driver: bool,
    parts: Vec<Part>,
    /// Of the sources that follow; none: by extension.
    language: Option<Result<Language, Why>>,
    sources: Vec<(Bytes, Result<Language, Why>)>,
    other_inputs: Vec<Bytes>,
    outputs: Vec<Bytes>,
    stage: Option<Stage>,
    is_query: bool,
    is_preprocess: bool,
    dependencies: Dependencies,
    has_debug: bool,
    splits_debug: bool,
    side_files: Vec<Bytes>,
    has_side_files: bool,
    /// An option that repeats the others.
    records: Option<Bytes>,
    /// What the next word for clang's front end is.
    front_end_value: Option<Role>,
    /// The first thing that keeps the unit here.
    local: Option<Why>,
}

#[derive(Default)]
struct Dependencies {
    /// `-MD` or `-MMD`, with what they say about system headers.
    wanted: Option<bool>,
    file: Option<Bytes>,
    /// `-Wp,-MD,FILE`.
    passed: Option<(Bytes, bool)>,
    has_style: bool,
}

impl Reader {
    fn new(family: CompilerFamily, argv: &[Bytes]) -> Self {
        Self {
            family,
            is_cxx_driver: argv.first().is_some_and(|program| is_cxx_driver(program)),
            parts: Vec::with_capacity(argv.len()),
            language: None,
            sources: Vec::new(),
            other_inputs: Vec::new(),
            outputs: Vec::new(),
            stage: None,
            is_query: false,
            is_preprocess: false,
            dependencies: Dependencies::default(),
            has_debug: false,
            splits_debug: false,
            side_files: Vec::new(),
            has_side_files: false,
            records: None,
            front_end_value: None,
            local: None,
        }
    }

    fn keep_local(&mut self, reason: Reason, detail: &[u8]) {
        self.local.get_or_insert_with(|| Why::new(reason, String::from_utf8_lossy(detail)));
    }

    fn read(&mut self, argv: &[Bytes]) {
        let mut words = argv.iter();
        if let Some(program) = words.next() {
            self.parts.push(Part::Program(program.clone()));
        }
        while let Some(word) = words.next() {
            if word.len() < 2 || word[0] != b'-' {
                self.input(word);
                continue;
            }
            let Some(found) = options::find(self.family, word) else {
                self.keep_local(Reason::UnknownOption, word);
                continue;
            };
            let next = if found.takes_next { words.next() } else { None };
            if found.takes_next && next.is_none() {
                self.keep_local(Reason::UnknownOption, word);
                continue;
            }
            let value = next.map_or(found.rest, |next| next.as_slice());
            let role = match found.role {
                Role::FrontEnd => self.front_end(word, value),
                role => role,
            };
            self.option(role, word, value);
            let words = std::iter::once(word).chain(next).cloned().collect();
            self.parts.push(Part::Option { role, words, value: Bytes::from(value) });
        }
        if self.front_end_value.is_some() {
            self.keep_local(Reason::UnknownOption, b"-Xclang without a word after it");
        }
    }

    /// What a word for clang's front end is: some take the next such word for their value, as cmake hands headers over.
    fn front_end(&mut self, word: &[u8], value: &[u8]) -> Role {
        if let Some(role) = self.front_end_value.take() {
            return role;
        }
        let of_value = match value {
            b"-include" => Some(Role::IncludeFile),
            b"-include-pch" => Some(Role::PrecompiledHeader),
            _ => None,
        };
        match of_value {
            Some(_) => {
                self.front_end_value = of_value;
                Role::FrontEndName
            }
            None => {
                if !passed::is_safe_front_end_word(value) {
                    self.keep_local(Reason::LocalOption, &joined(word, value));
                }
                Role::FrontEnd
            }
        }
    }

    fn option(&mut self, role: Role, word: &[u8], value: &[u8]) {
        match role {
            Role::Query => self.is_query = true,
            Role::Preprocess => self.is_preprocess = true,
            Role::StopAfterAssembling => self.stage = self.stage.or(Some(Stage::Object)),
            // Stops earlier, so it wins over `-c` wherever it stands.
            Role::StopAfterCompiling => self.stage = Some(Stage::Assembly),
            Role::Language => self.language = language_by_name(value),
            Role::Output => self.outputs.push(Bytes::from(value)),
            Role::Dependencies { system_headers } => {
                if self.dependencies.wanted.is_some_and(|before| before != system_headers) {
                    self.keep_local(Reason::LocalOption, b"-MD with -MMD");
                }
                self.dependencies.wanted = Some(system_headers);
            }
            Role::DependencyFile => self.dependencies.file = Some(Bytes::from(value)),
            Role::DependencyStyle => self.dependencies.has_style = true,
            Role::Debug { on } => self.has_debug = on,
            Role::SplitDebug => self.splits_debug = true,
            Role::SideFile => self.side_files.push(Bytes::from(value)),
            Role::SideFiles | Role::Coverage => self.has_side_files = true,
            Role::Records => {
                self.records.get_or_insert_with(|| Bytes::from(word));
            }
            Role::Assembler => self.assembler(word, value),
            Role::Preprocessor => self.preprocessor(word, value),
            Role::Backend if !passed::is_safe_backend_word(value) => {
                self.keep_local(Reason::LocalOption, &joined(word, value));
            }
            Role::Local(reason) => self.keep_local(reason, word),
            Role::Setting
            | Role::Switch
            | Role::Target
            | Role::Processor
            | Role::Native
            | Role::Colour
            | Role::Define
            | Role::SearchPath
            | Role::EmbedPath
            | Role::IncludeFile
            | Role::SpecsFile
            | Role::PrecompiledHeader
            | Role::PreprocessingWithPrecompiledHeader
            | Role::InputFile
            | Role::Profile
            | Role::Plugin
            | Role::PluginArgument
            | Role::Dump
            | Role::Report
            | Role::Linker
            | Role::FrontEnd
            | Role::FrontEndName
            | Role::Backend => {}
        }
    }

    fn preprocessor(&mut self, word: &[u8], value: &[u8]) {
        match passed::preprocessor_words(value) {
            None => self.keep_local(Reason::LocalOption, &joined(word, value)),
            Some(words) if words.dependencies.is_some() => {
                if self.dependencies.passed.is_some() {
                    self.keep_local(Reason::LocalOption, word);
                }
                self.dependencies.passed = words.dependencies;
            }
            Some(_) => {}
        }
    }

    fn assembler(&mut self, word: &[u8], value: &[u8]) {
        match passed::assembler_words(value) {
            None => self.keep_local(Reason::LocalOption, &joined(word, value)),
            Some(words) => self.side_files.extend(words.listing.map(Bytes::from)),
        }
    }

    fn input(&mut self, word: &Bytes) {
        self.parts.push(Part::Input(word.clone()));
        if word.starts_with(b"@") {
            // A response file that could not be read; the compiler says so.
            self.keep_local(Reason::UnusableInput, word);
        }
        let language = match &self.language {
            Some(language) => Some(language.clone()),
            None if word.as_slice() == b"-" => Some(Err(Reason::StandardInput.into())),
            None => language_by_extension(self.family, word),
        };
        match language {
            Some(language) => self.sources.push((word.clone(), language.map(|language| self.driven(language)))),
            None => self.other_inputs.push(word.clone()),
        }
    }

    /// The language a source has for this driver.
    fn driven(&self, language: Language) -> Language {
        match language {
            Language::C if self.is_cxx_driver && self.language.is_none() => Language::Cxx,
            Language::PreprocessedC if self.is_cxx_driver && self.language.is_none() => Language::PreprocessedCxx,
            language => language,
        }
    }

    /// Why the command compiles no unit; none if it does.
    fn no_compile(&self) -> Option<Why> {
        if self.is_query {
            return Some(Reason::Query.into());
        }
        if self.sources.is_empty() && (self.stage.is_some() || self.is_preprocess || self.other_inputs.is_empty()) {
            return Some(Reason::NoSource.into());
        }
        if self.is_preprocess {
            return Some(Reason::Preprocess.into());
        }
        if self.stage.is_none() && !self.makes_precompiled_header() {
            return Some(Reason::Link.into());
        }
        None
    }

    fn makes_precompiled_header(&self) -> bool {
        let is_header =
            |language: &Result<Language, Why>| matches!(language, Err(why) if why.reason == Reason::PrecompiledHeader);
        self.sources.first().is_some_and(|(_, language)| is_header(language))
    }

    fn compile_command(self) -> Result<CompileCommand, Why> {
        // First, since an option that was not understood may have taken a word that looks like an input.
        if let Some(why) = self.local {
            return Err(why);
        }
        let (source, language) = self.single_source()?;
        let stage = self.stage.unwrap_or(Stage::Object);
        if stage == Stage::Assembly && matches!(language, Language::Assembler | Language::AssemblerWithCpp) {
            return Err(Why::new(Reason::LocalOption, "-S"));
        }
        let named_output = single_output(&self.outputs)?;
        let dependencies = match language.is_preprocessed_by_compiler() {
            true => self.dependencies.output(&source, named_output.as_ref())?,
            // Neither compiler writes a dependency file for these.
            false => None,
        };
        let output = match named_output {
            Some(output) => output,
            None => with_extension(file_name(&source), stage.extension()),
        };
        if let Some(option) = self.records.as_ref().filter(|_| dependencies.is_none())
            && language.is_preprocessed_by_compiler()
        {
            // A dependency list would have to be asked for by options of its own.
            return Err(Why::new(Reason::LocalOption, String::from_utf8_lossy(option)));
        }
        let side_files: Result<Vec<Bytes>, Why> = self.side_files.into_iter().map(ordinary_output).collect();
        let writes_split_debug =
            self.splits_debug && stage == Stage::Object && (self.family == CompilerFamily::Gcc || self.has_debug);
        let split_debug = writes_split_debug.then(|| with_extension(&output, b"dwo"));
        Ok(CompileCommand {
            family: self.family,
            language,
            stage,
            source,
            output,
            split_debug,
            dependencies,
            side_files: side_files?,
            has_side_files: self.has_side_files,
            parts: self.parts,
        })
    }

    fn single_source(&self) -> Result<(Bytes, Language), Why> {
        let [(source, language)] = self.sources.as_slice() else { return Err(Reason::SeveralSources.into()) };
        if source.as_slice() == b"-" {
            return Err(Reason::StandardInput.into());
        }
        let language = language.clone()?;
        if let Some(other) = self.other_inputs.first() {
            return Err(Why::new(Reason::SeveralSources, String::from_utf8_lossy(other)));
        }
        if [&b"/dev/"[..], b"/proc/", b"/sys/"].iter().any(|special| source.starts_with(special)) {
            return Err(Why::new(Reason::SpecialInput, String::from_utf8_lossy(source)));
        }
        Ok((source.clone(), language))
    }
}

impl Dependencies {
    fn output(&self, source: &[u8], output: Option<&Bytes>) -> Result<Option<DependencyOutput>, Why> {
        let local = |what: &str| Err(Why::new(Reason::LocalOption, what));
        let found = match (self.wanted, &self.passed) {
            (Some(_), Some(_)) => return local("-MD with -Wp,-MD"),
            (None, None) if self.file.is_some() || self.has_style => return local("-MF without -MD"),
            (None, None) => None,
            (None, Some((path, lists_system_headers))) => {
                if self.file.is_some() {
                    return local("-MF with -Wp,-MD");
                }
                Some(DependencyOutput { path: path.clone(), lists_system_headers: *lists_system_headers })
            }
            (Some(lists_system_headers), None) => {
                let path = match (&self.file, output) {
                    (Some(file), _) => file.clone(),
                    (None, Some(output)) => with_extension(output, b"d"),
                    (None, None) => with_extension(file_name(source), b"d"),
                };
                Some(DependencyOutput { path, lists_system_headers })
            }
        };
        match found {
            Some(found) => Ok(Some(DependencyOutput { path: ordinary_output(found.path)?, ..found })),
            None => Ok(None),
        }
    }
}

fn single_output(outputs: &[Bytes]) -> Result<Option<Bytes>, Why> {
    match outputs {
        [] => Ok(None),
        [output] => ordinary_output(output.clone()).map(Some),
        _ => Err(Why::new(Reason::LocalOption, "-o more than once")),
    }
}

/// Refuses names that stand for standard output or lie below `/dev`.
fn ordinary_output(output: Bytes) -> Result<Bytes, Why> {
    let special = output.is_empty()
        || output.ends_with(b"/")
        || output.as_slice() == b"-"
        || output.as_slice() == b"/dev"
        || [&b"/dev/"[..], b"/proc/", b"/sys/"].iter().any(|special| output.starts_with(special));
    match special {
        true => Err(Why::new(Reason::SpecialOutput, String::from_utf8_lossy(&output))),
        false => Ok(output),
    }
}

/// An option and its value in one text, for a reason's detail.
fn joined(word: &[u8], value: &[u8]) -> Vec<u8> {
    match word.ends_with(value) {
        true => word.to_vec(),
        false => [word, b" ", value].concat(),
    }
}

/// `g++`, `clang++-14`, `x86_64-linux-gnu-c++`.
fn is_cxx_driver(program: &[u8]) -> bool {
    let name = file_name(program);
    let version = name.iter().rev().take_while(|byte| byte.is_ascii_digit() || **byte == b'.').count();
    let stem = match &name[..name.len() - version] {
        [stem @ .., b'-'] => stem,
        stem => stem,
    };
    stem.ends_with(b"++")
}

fn language_by_name(name: &[u8]) -> Option<Result<Language, Why>> {
    let local = |reason: Reason| Err(Why::new(reason, format!("-x {}", String::from_utf8_lossy(name))));
    Some(match name {
        b"none" => return None,
        b"c" => Ok(Language::C),
        b"c++" => Ok(Language::Cxx),
        b"cpp-output" => Ok(Language::PreprocessedC),
        b"c++-cpp-output" => Ok(Language::PreprocessedCxx),
        b"assembler" => Ok(Language::Assembler),
        b"assembler-with-cpp" => Ok(Language::AssemblerWithCpp),
        b"c-header" | b"c++-header" => local(Reason::PrecompiledHeader),
        b"c++-module" | b"c++-system-header" | b"c++-user-header" | b"c++-header-unit-header" => local(Reason::Modules),
        _ => local(Reason::LocalOption),
    })
}

/// None: nothing that either driver would compile.
fn language_by_extension(family: CompilerFamily, path: &[u8]) -> Option<Result<Language, Why>> {
    let name = file_name(path);
    let dot = name.iter().rposition(|&byte| byte == b'.')?;
    let extension = std::str::from_utf8(&name[dot + 1..]).ok()?;
    let local = |reason: Reason| Err(Why::new(reason, format!(".{extension} file")));
    Some(match extension {
        "c" => Ok(Language::C),
        "cc" | "cp" | "cxx" | "cpp" | "CPP" | "c++" | "C" => Ok(Language::Cxx),
        "CC" | "CXX" | "C++" if family == CompilerFamily::Clang => Ok(Language::Cxx),
        "i" => Ok(Language::PreprocessedC),
        "ii" => Ok(Language::PreprocessedCxx),
        "s" => Ok(Language::Assembler),
        "S" => Ok(Language::AssemblerWithCpp),
        "sx" if family == CompilerFamily::Gcc => Ok(Language::AssemblerWithCpp),
        "h" | "hh" | "H" | "hp" | "hxx" | "hpp" | "HPP" | "h++" | "tcc" => local(Reason::PrecompiledHeader),
        "cppm" | "ccm" | "cxxm" | "c++m" | "ixx" | "pcm" => local(Reason::Modules),
        "m" | "mi" | "mm" | "M" | "mii" | "f" | "for" | "ftn" | "F" | "FOR" | "fpp" | "FPP" | "FTN" | "f90" | "f95"
        | "f03" | "f08" | "F90" | "F95" | "F03" | "F08" | "adb" | "ads" | "d" | "di" | "go" | "cu" | "cl" | "hip"
        | "ll" | "bc" | "ast" | "rs" | "mod" => local(Reason::LocalOption),
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn drivers_for_cxx_by_name() {
        for name in ["g++", "/usr/bin/g++-12", "clang++-14", "arm-none-eabi-c++", "g++-12.2.0"] {
            assert!(is_cxx_driver(name.as_bytes()), "{name}");
        }
        for name in ["gcc", "g++/gcc", "clang-14", "cc", "", "14"] {
            assert!(!is_cxx_driver(name.as_bytes()), "{name}");
        }
    }
}
