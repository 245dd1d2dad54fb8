//! `farccctl jobs-wanted`: how many compiles at a time are worth starting, for `make -j$(farccctl jobs-wanted)`.
//!
//! Any larger number works as well, since wrappers wait their turn; a smaller one leaves builders idle. Without a client daemon it
//! is what `make -j$(nproc)` would take, so that a build script needs no other case.

use std::thread;
use std::time::{Duration, Instant};

use serde_json::json;

use crate::cli::arguments::JobsWantedOptions;
use crate::cli::ask::{self, Answer};
use crate::cli::{Failure, print};
use crate::engine::wire::local::Question;
use crate::model::limits::FARM_NEWS_MAX;
use crate::model::report::{BuilderReport, ClientStatus};

pub(crate) fn show(options: &JobsWantedOptions) -> Result<u8, Failure> {
    let processors = thread::available_parallelism().map_or(1, |n| n.get() as u64);
    let status = settled_status();
    let machine = rustix::system::uname().machine().to_string_lossy().into_owned();
    let wanted = Wanted::new(processors, status.as_ref(), &machine);
    if options.json {
        let Wanted { processors, local, farm } = wanted;
        let document =
            json!({ "jobs": wanted.jobs(), "processors": processors, "local_slots": local, "farm_slots": farm });
        return print(&format!("{document}\n"));
    }
    print(&format!("{}\n", wanted.jobs()))
}

/// What can be compiled at a time.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Wanted {
    processors: u64,
    local: u64,
    farm: u64,
}

impl Wanted {
    fn new(processors: u64, status: Option<&ClientStatus>, machine: &str) -> Self {
        let builders = status.and_then(|status| status.farm.as_ref()).map_or(&[][..], |farm| &farm.builders);
        // Others' builds may have the slots at the moment; the scheduler shares them out again.
        let is_usable = |builder: &&BuilderReport| builder.state == READY && builder.architecture == machine;
        let farm = builders.iter().filter(is_usable).map(|builder| u64::from(builder.slots)).sum();
        Self { processors, local: status.map_or(0, |status| status.local_slots.into()), farm }
    }

    fn jobs(&self) -> u64 {
        let slots = self.local + self.farm;
        // While a unit is made ready here or its result is written, its slot would have nothing to do.
        let head_room = if self.farm == 0 { 0 } else { slots.div_ceil(HEAD_ROOM_PART) };
        (slots + head_room).max(self.processors)
    }
}

/// As the scheduler calls a builder that takes jobs.
const READY: &str = "ready";
/// Making a unit ready takes about an eighth of the time of compiling it.
const HEAD_ROOM_PART: u64 = 8;

/// The daemon's view, once it knows the farm: one that this question has started needs a moment for that.
fn settled_status() -> Option<ClientStatus> {
    let since = Instant::now();
    loop {
        let Ok(Answer::Document(json)) = ask::try_ask(Question::Status) else { return None };
        let status: ClientStatus = serde_json::from_str(&json).ok()?;
        if status.connection != CONNECTING || since.elapsed() > FARM_NEWS_MAX {
            return Some(status);
        }
        thread::sleep(LOOK_EVERY);
    }
}

const CONNECTING: &str = "connecting";
const LOOK_EVERY: Duration = Duration::from_millis(50);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::report::FarmReport;

    fn status(local_slots: u32, builders: &[(&str, u32, &str)]) -> ClientStatus {
        let builder = |&(architecture, slots, state): &(&str, u32, &str)| BuilderReport {
            architecture: architecture.into(),
            slots,
            state: state.into(),
            ..BuilderReport::default()
        };
        let farm = FarmReport { builders: builders.iter().map(builder).collect(), ..FarmReport::default() };
        ClientStatus { local_slots, farm: Some(farm), ..ClientStatus::default() }
    }

    #[track_caller]
    fn check(status: Option<&ClientStatus>, expected: u64) {
        assert_eq!(Wanted::new(4, status, "x86_64").jobs(), expected);
    }

    #[test]
    fn usable_slots_count_and_never_fewer_than_processors() {
        check(None, 4);
        check(Some(&status(2, &[])), 4);
        check(Some(&status(4, &[("x86_64", 16, "ready"), ("x86_64", 12, "ready")])), 36);
        check(Some(&status(4, &[("x86_64", 16, "quarantined"), ("aarch64", 16, "ready")])), 4);
        check(Some(&status(0, &[("x86_64", 1, "ready")])), 4);
        check(Some(&status(0, &[("x86_64", 8, "ready")])), 9);
    }
}
