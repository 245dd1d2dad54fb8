//! `farccctl why FILE`: the story of one unit.

use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use crate::cli::arguments::WhyOptions;
use crate::cli::explain::explain;
use crate::cli::render::{duration, plain};
use crate::cli::{Failure, ask, print};
use crate::engine::wire::local::Question;
use crate::model::exit;
use crate::model::job::Bytes;
use crate::model::path::without_detours;
use crate::model::reason::Why;
use crate::model::report::{Outcome, UnitRecord};

pub(crate) fn show(options: &WhyOptions) -> Result<u8, Failure> {
    for path in spellings(&options.file)? {
        let json = ask::ask(Question::Why { path: Bytes::from(path.as_os_str().as_bytes()) })?;
        if let Some(record) = ask::read::<Option<UnitRecord>>(&json)? {
            return print(&if options.json { format!("{json}\n") } else { tell(&record) });
        }
    }
    if let Some(record) = find_by_place(&options.file)? {
        let json = serde_json::to_string(&record).expect("plain data with text keys has a JSON form");
        return print(&if options.json { format!("{json}\n") } else { tell(&record) });
    }
    let cause = format_args!(
        "{}: the client daemon has not seen a compile of this file since it started",
        options.file.display()
    )
    .to_string();
    Err(Failure::new(exit::NEGATIVE, cause))
}

/// The names under which a build may have meant `file`: as it is written, without detours, and where it really is.
fn spellings(file: &Path) -> Result<Vec<PathBuf>, Failure> {
    let cwd = std::env::current_dir()
        .map_err(|error| Failure::new(exit::NEGATIVE, format_args!("cannot tell the working directory: {error}")))?;
    let written = cwd.join(file);
    let mut spellings = vec![written.clone(), without_detours(&written)];
    spellings.extend(written.canonicalize());
    spellings.dedup();
    Ok(spellings)
}

/// The last unit whose source or output is really `file`, by whatever symlinks the build came to it.
fn find_by_place(file: &Path) -> Result<Option<UnitRecord>, Failure> {
    let Ok(place) = file.canonicalize() else { return Ok(None) };
    let history: Vec<UnitRecord> = ask::read(&ask::ask(Question::History)?)?;
    let is_there = |path: &String| Path::new(path).canonicalize().is_ok_and(|real| real == place);
    Ok(history.into_iter().rev().find(|record| is_there(&record.source) || is_there(&record.output)))
}

/// What happened, in sentences.
fn tell(record: &UnitRecord) -> String {
    let mut sentences = vec![match record.output.as_str() {
        "" => format!("{}:", plain(&record.source)),
        output => format!("{}, to {}:", plain(&record.source), plain(output)),
    }];
    for attempt in &record.attempts {
        let builder = plain(&attempt.builder);
        sentences.push(format!("Builder {builder} was to compile it, without a result (job {}).", attempt.job));
        sentences.push(because(&attempt.why));
    }
    match &record.outcome {
        Outcome::Running => sentences.push("It is on its way.".to_owned()),
        Outcome::Remote { builder, job } => {
            sentences.push(format!("Builder {} compiled it (job {job}).", plain(builder)));
        }
        Outcome::Local { why } => {
            let then = if record.attempts.is_empty() { "" } else { ", then" };
            sentences.push(format!("It was compiled on this machine{then}."));
            sentences.push(because(why));
        }
        Outcome::StepAside { why } => {
            sentences.push("farcc stepped aside, and the compiler ran as if farcc were not there.".to_owned());
            sentences.push(because(why));
        }
        Outcome::Abandoned => sentences.push("Nobody waited for it any more: the wrapper went away.".to_owned()),
    }
    if let Some(times) = spent(record) {
        sentences.push(times);
    }
    sentences.join("\n") + "\n"
}

/// The reason's name, which documentation and statistics use, and what it means.
fn because(why: &Why) -> String {
    format!("  {}\n  {}", plain(&why.to_string()), explain(why.reason))
}

fn spent(record: &UnitRecord) -> Option<String> {
    let times = record.times;
    let parts = [
        (times.inputs, "finding and hashing inputs"),
        (times.queued, "waiting for a slot"),
        (times.remote, "at the builder"),
    ];
    let parts: Vec<_> = parts
        .iter()
        .filter(|(time, _)| !time.is_zero())
        .map(|(time, what)| format!("{} {what}", duration(*time)))
        .collect();
    match (times.total.is_zero(), parts.is_empty()) {
        (true, _) => None,
        (false, true) => Some(format!("It took {}.", duration(times.total))),
        (false, false) => Some(format!("It took {}: {}.", duration(times.total), parts.join(", "))),
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::model::reason::Reason;
    use crate::model::report::{Attempt, Times};

    fn record(outcome: Outcome) -> UnitRecord {
        UnitRecord {
            request: 1,
            source: "/b/a.c".into(),
            output: "/b/a.o".into(),
            outcome,
            attempts: Vec::new(),
            times: Times::default(),
        }
    }

    #[test]
    fn a_remote_unit() {
        let mut unit = record(Outcome::Remote { builder: "b1".into(), job: "0a-1".into() });
        unit.times = Times {
            total: Duration::from_millis(1300),
            inputs: Duration::from_millis(12),
            queued: Duration::ZERO,
            remote: Duration::from_millis(1280),
        };
        assert_eq!(
            tell(&unit),
            "/b/a.c, to /b/a.o:\nBuilder b1 compiled it (job 0a-1).\n\
             It took 1.3 s: 12 ms finding and hashing inputs, 1.3 s at the builder.\n"
        );
    }

    #[test]
    fn a_unit_that_came_back() {
        let mut unit = record(Outcome::Local { why: Why::new(Reason::BuilderLost, "connection reset") });
        let why = Why::new(Reason::BuilderLost, "connection \x1b[31mreset");
        unit.attempts.push(Attempt { builder: "b2".into(), job: "0a-2".into(), why });
        let story = tell(&unit);
        for words in ["Builder b2 was to compile it", "0a-2", "compiled on this machine, then", "connection reset"] {
            assert!(story.contains(words), "{words}: {story}");
        }
        assert!(!story.contains('\x1b'));
    }
}
