//! `farccctl toolchain check`: does a packaged compiler do the same as the one here?
//!
//! The package is written, taken in again as a builder would, and run in a builder's sandbox on a builder's kind of inputs; only
//! the network is missing. Compared are the programs that the driver runs and everything that a compile leaves behind.

use std::ffi::{OsStr, OsString};
use std::fs;
use std::io::{Read, Write};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::cli::arguments::CheckToolchainOptions;
use crate::cli::render::plain;
use crate::cli::toolchain::{describe, pack, subject};
use crate::cli::trial::directory::Directory;
use crate::cli::trial::interruptions;
use crate::cli::{Failure, print};
use crate::engine::compiler::{
    Classification, CompileCommand, classify, commands_difference, first_difference, remote_environment, same_commands,
};
use crate::model::exit;
use crate::model::id::{Instance, JobId};
use crate::model::job::{Bytes, Ending, JobLimits, JobSpec, Node};
use crate::model::limits::{DRIVER_ANSWER_MAX, INPUTS_BYTES_MAX, JOB_OUTPUT_BYTES_MAX, TOOLCHAIN_BYTES_MAX};
use crate::model::path::SandboxPath;
use crate::model::toolchain::LEVEL_VARIABLE;
use crate::os::inputs::{self, Inputs, ScanCache, Unit};
use crate::os::process::Command;
use crate::os::sandbox::{Cancel, Helper, HelperSettings, Ran, Workshop, WorkshopSettings};
use crate::os::sys::wrapper::GivenSignals;
use crate::os::toolchain::{Held, Package, Subject, ToolchainStore};

pub(crate) fn check(options: &CheckToolchainOptions, signals: GivenSignals) -> Result<u8, Failure> {
    // An interruption is looked for between two steps, and takes effect when nothing is left behind.
    let mask = interruptions(signals).block();
    let answer = compare(options);
    mask.make_mask();
    let Answer { text, differs } = answer?;
    print(&text)?;
    Ok(if differs { exit::NEGATIVE } else { exit::OK })
}

struct Answer {
    text: String,
    differs: bool,
}

fn compare(options: &CheckToolchainOptions) -> Result<Answer, Failure> {
    // While there is one thread.
    let settings = HelperSettings { bwrap: options.bwrap.clone(), stacking: None, slots: 1 };
    let helper = Helper::fork(settings).map_err(Failure::with(exit::SANDBOX))?;
    let subject = subject(&options.compiler, &options.options)?;
    let package = pack(&subject)?;
    let directory = Directory::create(false).map_err(Failure::with(exit::DIRECTORY))?;
    let elsewhere = Elsewhere::new(helper, &package, &directory)?;
    let mut text = format!("{}: {}\n", subject.compiler.display(), describe(&package.summary()));
    let mut differs = false;
    for (n, probe) in PROBES.iter().enumerate() {
        let unit = directory.join(format!("unit-{n}"));
        fs::create_dir(&unit).map_err(Failure::with(exit::DIRECTORY))?;
        let trial = Trial::new(&subject, &package, probe, &options.options, unit)?;
        let found = trial.compare(&elsewhere)?;
        differs |= matches!(found, Found::Differs(_));
        text.push_str(&format!("{}: {}\n", probe.language, found.describe()));
        if crate::cli::trial::is_interrupted() {
            break;
        }
    }
    Ok(Answer { text, differs })
}

/// A source for each language that a driver compiles.
struct Probe {
    language: &'static str,
    file: &'static str,
    text: &'static str,
}

/// Each includes a header of the compiler's own, and says something that compilers warn of. The code needs no C library, which a
/// cross compiler may not have.
const PROBES: &[Probe] = &[
    Probe {
        language: "c",
        file: "probe.c",
        text: "#include <stddef.h>\n#include <stdarg.h>\n\
               static int unused;\nsize_t probe(const char *s) { int n; return s[0] ? sizeof s + __LINE__ + n : 0; }\n",
    },
    Probe {
        language: "c++",
        file: "probe.cc",
        text: "#include <stddef.h>\n\
               template <class T> static T twice(T t) { int unused; return t + t; }\n\
               size_t probe(const char *s) { try { return twice(sizeof s); } catch (...) { throw; } }\n",
    },
    Probe {
        language: "assembler",
        file: "probe.S",
        text: "#ifdef __ELF__\n\t.globl probe\nprobe:\n\t.long __LINE__\n#endif\n",
    },
];

/// What came of one comparison.
enum Found {
    Same,
    /// All but the object, which is another one each time here as well.
    Unsteady,
    Differs(String),
    /// Not even here, so that there is nothing to compare.
    NotHere(String),
}

impl Found {
    fn describe(&self) -> String {
        match self {
            Self::Same => "the same commands, object, dependency list and messages".to_owned(),
            Self::Unsteady => {
                "the same commands, dependency list and messages; the object is another one each time, here as well"
                    .to_owned()
            }
            Self::Differs(what) => plain(what),
            Self::NotHere(why) => format!("not compared; the compiler here does not compile it: {}", plain(why)),
        }
    }
}

/// A builder without a network.
struct Elsewhere {
    workshop: Workshop,
    toolchain: Held,
}

impl Elsewhere {
    fn new(helper: Helper, package: &Package, directory: &Directory) -> Result<Self, Failure> {
        let unusable = |error: String| Failure::new(exit::DIRECTORY, error);
        let store = ToolchainStore::open(&directory.join("toolchains"), TOOLCHAIN_BYTES_MAX);
        let store = store.map_err(|error| unusable(error.to_string()))?;
        let archive = directory.join("archive");
        let file = fs::File::create_new(&archive).map_err(|error| unusable(error.to_string()))?;
        package.write_archive(file).map_err(|error| unusable(error.to_string()))?;
        let file = fs::File::open(&archive).map_err(|error| unusable(error.to_string()))?;
        let toolchain = store.unpack(&package.id, file).map_err(|error| unusable(error.to_string()))?;
        let settings = WorkshopSettings { input_cache_bytes: INPUTS_BYTES_MAX };
        let workshop = Workshop::open(&directory.join("jobs"), Arc::new(helper), &settings);
        let workshop = workshop.map_err(|error| unusable(error.to_string()))?;
        workshop.check().map_err(Failure::with(exit::SANDBOX))?;
        Ok(Self { workshop, toolchain })
    }

    fn run(&self, trial: &Trial<'_>, argv: Vec<Bytes>, inputs: &Inputs) -> Result<Ran, Failure> {
        let failed = |error: &dyn std::fmt::Display| Failure::new(exit::SANDBOX, error);
        let path = |path: &Path| SandboxPath::from_path(path).map_err(|error| failed(&error));
        let spec = JobSpec {
            job: JobId { instance: Instance(0), number: 0 },
            toolchain: self.toolchain.id(),
            program: path(&trial.subject.compiler)?,
            argv,
            env: trial.remote_env.clone(),
            cwd: path(&trial.unit)?,
            manifest: inputs.manifest.clone(),
            report: None,
            limits: JobLimits { wall: DRIVER_ANSWER_MAX, output_bytes: JOB_OUTPUT_BYTES_MAX },
        };
        let reservation = self.workshop.reserve(&spec.manifest).map_err(|error| failed(&error))?;
        let missing = reservation.missing();
        for entry in &spec.manifest.entries {
            if let Node::File { digest, size, .. } = entry.node
                && missing.contains(&digest)
            {
                let bytes = inputs.read(&digest).map_err(|error| failed(&error))?;
                let mut writer = self.workshop.receive(digest, size).map_err(|error| failed(&error))?;
                writer.write_all(&bytes).map_err(|error| failed(&error))?;
                writer.finish().map_err(|error| failed(&error))?;
            }
        }
        let cancel = Cancel::new().map_err(|error| failed(&error))?;
        self.workshop.run(reservation, &spec, self.toolchain.path(), &cancel).map_err(|error| failed(&error))
    }
}

/// One source to compile in both places.
struct Trial<'a> {
    subject: &'a Subject,
    command: CompileCommand,
    argv: Vec<Bytes>,
    env: Vec<(Bytes, Bytes)>,
    remote_env: Vec<(Bytes, Bytes)>,
    unit: PathBuf,
}

/// What a compile writes.
const OBJECT: &str = "probe.o";
const DEPENDENCIES: &str = "probe.d";

/// What it left behind.
#[derive(PartialEq)]
struct Left {
    ending: Ending,
    messages: Vec<u8>,
    object: Option<Vec<u8>>,
    dependencies: Option<Vec<u8>>,
}

impl<'a> Trial<'a> {
    fn new(
        subject: &'a Subject,
        package: &Package,
        probe: &Probe,
        options: &[OsString],
        unit: PathBuf,
    ) -> Result<Self, Failure> {
        fs::write(unit.join(probe.file), probe.text).map_err(Failure::with(exit::DIRECTORY))?;
        let unit = unit.canonicalize().map_err(Failure::with(exit::DIRECTORY))?;
        let fixed = ["-O2", "-g", "-Wall", "-Wextra", "-MD", "-MF", DEPENDENCIES, "-c", probe.file, "-o", OBJECT];
        let words = std::iter::once(subject.compiler.as_os_str()).chain(options.iter().map(OsString::as_os_str));
        let argv: Vec<Bytes> = words.chain(fixed.map(OsStr::new)).map(|word| Bytes::from(word.as_bytes())).collect();
        let env: Vec<(Bytes, Bytes)> = std::env::vars_os()
            .filter(|(name, _)| name != "PWD")
            .map(|(name, value)| (Bytes::from(name.into_vec()), Bytes::from(value.into_vec())))
            .collect();
        let kept_here = |why: &dyn std::fmt::Display| {
            Failure::new(exit::NEGATIVE, format_args!("units with these options are compiled on this machine: {why}"))
        };
        let command = match classify(package.identity.family, &argv, &env) {
            Classification::Compile(command) => *command,
            Classification::Local(why) | Classification::StepAside(why) => return Err(kept_here(&why)),
        };
        let remote_env = remote_environment(&env, None).map_err(|why| kept_here(&why))?;
        Ok(Self { subject, command, argv, env, remote_env, unit })
    }

    fn compare(&self, elsewhere: &Elsewhere) -> Result<Found, Failure> {
        let here = self.compile_here()?;
        if !here.ending.is_success() {
            return Ok(Found::NotHere(first_line(&here.messages)));
        }
        let wanted = Unit {
            compiler: self.subject.compiler.clone(),
            command: self.command.clone(),
            cwd: Bytes::from(self.unit.as_os_str().as_bytes()),
            env: self.env.clone(),
            response_files: Vec::new(),
            provided: std::collections::BTreeMap::new(),
        };
        let inputs = match inputs::collect(&wanted, &ScanCache::new()) {
            Ok(inputs) => inputs,
            Err(why) => return Ok(Found::Differs(format!("its inputs cannot be gathered: {why}"))),
        };
        let question = self.command.probe();
        let driver = elsewhere.run(self, question.clone(), &inputs)?;
        let (said, said_there) = (self.run_here(&question)?.stderr, driver.compilation.stderr);
        if !same_commands(&said, &said_there) {
            return Ok(Found::Differs(format!("other commands: {}", commands_difference(&said, &said_there))));
        }
        let there = self.left_there(&elsewhere.run(self, self.argv.clone(), &inputs)?)?;
        // LTO without a seed, for one.
        let is_unsteady = here.object != there.object && self.compile_here()?.object != here.object;
        let there = if is_unsteady { Left { object: here.object.clone(), ..there } } else { there };
        Ok(match difference(&here, &there) {
            Some(difference) => Found::Differs(difference),
            None if is_unsteady => Found::Unsteady,
            None => Found::Same,
        })
    }

    /// Compiles as a build would, takes what it made and leaves the directory as it was.
    fn compile_here(&self) -> Result<Left, Failure> {
        let output = self.run_here(&self.argv)?;
        let take = |name: &str| {
            let path = self.unit.join(name);
            let content = fs::read(&path).ok();
            fs::remove_file(path).ok();
            content
        };
        let (object, dependencies) = (take(OBJECT), take(DEPENDENCIES));
        Ok(Left { ending: output.ending, messages: output.stderr, object, dependencies })
    }

    fn run_here(&self, argv: &[Bytes]) -> Result<crate::os::process::Output, Failure> {
        let word = |bytes: &Bytes| OsStr::from_bytes(bytes).to_owned();
        Command::new(&self.subject.compiler)
            .args(argv[1..].iter().map(word))
            .env(self.env.iter().map(|(name, value)| (word(name), word(value))))
            // What goes by this name may be a script in front of farcc.
            .env([(LEVEL_VARIABLE, "1")])
            .cwd(&self.unit)
            .run()
            .map_err(Failure::with(exit::NEGATIVE))
    }

    fn left_there(&self, ran: &Ran) -> Result<Left, Failure> {
        let read = |name: &str| -> Result<Option<Vec<u8>>, Failure> {
            let path = self.unit.join(name);
            let at = ran.compilation.outputs.iter().position(|output| output.path.as_path() == path);
            let Some(at) = at else { return Ok(None) };
            let mut content = Vec::new();
            let opened = ran.open_output(at).map_err(Failure::with(exit::SANDBOX))?;
            if let Some(mut file) = opened {
                file.read_to_end(&mut content).map_err(Failure::with(exit::SANDBOX))?;
            }
            Ok(Some(content))
        };
        let (object, dependencies) = (read(OBJECT)?, read(DEPENDENCIES)?);
        let messages = ran.compilation.stderr.to_vec();
        Ok(Left { ending: ran.compilation.ending, messages, object, dependencies })
    }
}

/// The first thing in which two compiles differ, in the order of what tells most about the cause.
fn difference(here: &Left, there: &Left) -> Option<String> {
    if here.messages != there.messages {
        return Some(format!("other messages: {}", first_difference(&here.messages, &there.messages)));
    }
    if here.ending != there.ending {
        return Some(format!("it ends otherwise: here {:?}, packaged {:?}", here.ending, there.ending));
    }
    if here.dependencies != there.dependencies {
        let list = |left: &Left| left.dependencies.clone().unwrap_or_default();
        return Some(format!("another dependency list: {}", first_difference(&list(here), &list(there))));
    }
    (here.object != there.object).then(|| "another object from the same commands".to_owned())
}

fn first_line(text: &[u8]) -> String {
    let text = String::from_utf8_lossy(text);
    text.lines().next().unwrap_or("it says nothing").chars().take(LINE_CHARS_MAX).collect()
}

/// As much of a line as tells what it is about.
const LINE_CHARS_MAX: usize = 300;

#[cfg(test)]
mod tests {
    use super::*;

    fn left(messages: &str, object: &str) -> Left {
        let [messages, object] = [messages, object].map(|text| text.as_bytes().to_vec());
        Left { ending: Ending::Exited(0), messages, object: Some(object), dependencies: None }
    }

    #[test]
    fn what_tells_most_comes_first() {
        assert_eq!(difference(&left("a\n", "o"), &left("a\n", "o")), None);
        let told = difference(&left("a\nb\n", "o"), &left("a\nc\n", "p")).unwrap();
        assert_eq!(told, "other messages: here `b`, packaged `c`");
        assert!(difference(&left("", "o"), &left("", "p")).unwrap().contains("another object"));
        let missing = Left { ending: Ending::Signalled(4), ..left("", "o") };
        assert!(difference(&left("", "o"), &missing).unwrap().contains("Signalled(4)"));
    }
}
