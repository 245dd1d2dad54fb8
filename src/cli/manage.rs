//! `farccctl drain`, `resume`, `quarantine`, `forget`, `slots`, `cancel`, `pause`: orders to daemons.
//!
//! Those about a builder go over the system bus to the daemon on this machine: without a name to the builder here, with one to the
//! scheduler here. The daemon, and polkit, say who may.

use std::time::Duration;

use crate::cli::arguments::{
    CancelOptions, DrainOptions, ForgetOptions, QuarantineOptions, ResumeOptions, SlotsOptions,
};
use crate::cli::render::{count, duration};
use crate::cli::{Failure, ask, say};
use crate::engine::wire::local::Question;
use crate::model::exit;
use crate::model::limits::QUARANTINE_ORDERED_MAX;
use crate::model::report::ClientStatus;
use crate::os::bus::{BUILDER, CallError, SCHEDULER, call};

pub(crate) fn drain(options: &DrainOptions) -> Result<u8, Failure> {
    match &options.builder {
        Some(name) => ask_scheduler("Drain", name)?,
        None => ask_builder("Drain", &())?,
    }
    let name = options.builder.as_deref().map(|name| format!(" {name}")).unwrap_or_default();
    say(&format!("{} takes no new jobs; `farccctl resume{name}` ends that", described(options.builder.as_deref())));
    Ok(exit::OK)
}

/// Without a name: whatever was stopped here, by `pause` or by `drain`.
pub(crate) fn resume(options: &ResumeOptions) -> Result<u8, Failure> {
    if let Some(name) = &options.builder {
        ask_scheduler("Resume", name)?;
        say(&format!("{} takes jobs again", described(Some(name))));
        return Ok(exit::OK);
    }
    let client = ask::ask(Question::Status).and_then(|json| ask::read::<ClientStatus>(&json));
    let was_paused = client.is_ok_and(|status| status.paused);
    if was_paused {
        ask::ask(Question::Pause { paused: false })?;
        say("the client daemon sends units to builders again");
    }
    match call::<_, ()>(BUILDER, "Resume", &()) {
        Ok(()) => say("this machine's builder takes jobs"),
        Err(CallError::NoBus(_) | CallError::NotRunning(_)) if was_paused => {}
        Err(CallError::NoBus(_) | CallError::NotRunning(_)) => {
            return Err(Failure::new(exit::NEGATIVE, "nothing is paused or drained on this machine"));
        }
        // A user ends his own pause; the builder is another matter.
        Err(CallError::Denied(_)) if was_paused => {}
        Err(error) => return Err(failure(error)),
    }
    Ok(exit::OK)
}

pub(crate) fn quarantine(options: &QuarantineOptions) -> Result<u8, Failure> {
    let time = options.time;
    if time > QUARANTINE_ORDERED_MAX {
        let most = QUARANTINE_ORDERED_MAX.as_secs() / (24 * 3600);
        return Err(Failure::new(exit::USAGE, format_args!("at most {most} days; `farccctl drain` holds for ever")));
    }
    let usec = u64::try_from(time.as_micros()).unwrap_or(u64::MAX);
    call::<_, ()>(SCHEDULER, "Quarantine", &(&options.builder, usec)).map_err(failure)?;
    say(&format!("{} gets no jobs for {}", described(Some(&options.builder)), duration(time)));
    Ok(exit::OK)
}

pub(crate) fn forget(options: &ForgetOptions) -> Result<u8, Failure> {
    ask_scheduler("Forget", &options.builder)?;
    say(&format!("nothing is held against {} any more", described(Some(&options.builder))));
    Ok(exit::OK)
}

pub(crate) fn set_slots(options: &SlotsOptions) -> Result<u8, Failure> {
    ask_builder("SetSlots", &options.slots)?;
    say(&format!("this machine's builder has {} until it starts anew", count(options.slots, "slot")));
    Ok(exit::OK)
}

pub(crate) fn cancel(options: &CancelOptions) -> Result<u8, Failure> {
    ask_builder("Cancel", &options.job)?;
    say(&format!("job {} is being ended; its client has it compiled elsewhere", options.job));
    Ok(exit::OK)
}

/// Removes what no job of the builder here uses.
pub(crate) fn purge_toolchains() -> Result<u8, Failure> {
    let bytes: u64 = call(BUILDER, "PurgeToolchains", &()).map_err(failure)?;
    say(&format!("{} freed; clients upload again what they need", crate::cli::render::size(bytes)));
    Ok(exit::OK)
}

pub(crate) fn pause() -> Result<u8, Failure> {
    ask::ask(Question::Pause { paused: true })?;
    say("everything is compiled on this machine until `farccctl resume`; what is under way goes on");
    Ok(exit::OK)
}

/// `90`, `90s`, `15m`, `2h`, `1d`.
pub(crate) fn parse_time(text: &str) -> Result<Duration, String> {
    let (number, unit) = match text.find(|c: char| !c.is_ascii_digit()) {
        Some(end) => text.split_at(end),
        None => (text, "s"),
    };
    let seconds = match unit {
        "s" => 1,
        "m" | "min" => 60,
        "h" => 3600,
        "d" => 24 * 3600,
        _ => return Err("use a number and s, m, h or d, like 15m".to_owned()),
    };
    let number: u64 = number.parse().map_err(|_| "use a number and s, m, h or d, like 15m".to_owned())?;
    match number.checked_mul(seconds) {
        Some(seconds) if seconds > 0 => Ok(Duration::from_secs(seconds)),
        _ => Err("that is no time to wait".to_owned()),
    }
}

fn ask_builder(method: &str, body: &(impl serde::Serialize + zbus::DynamicType + Sync)) -> Result<(), Failure> {
    call(BUILDER, method, body).map_err(failure)
}

fn ask_scheduler(method: &str, builder: &str) -> Result<(), Failure> {
    call(SCHEDULER, method, &builder).map_err(failure)
}

fn described(builder: Option<&str>) -> String {
    builder.map_or_else(|| "this machine's builder".to_owned(), |name| format!("builder {name}"))
}

fn failure(error: CallError) -> Failure {
    let status = match error {
        CallError::NotFound(_) | CallError::Refused(_) => exit::NEGATIVE,
        CallError::Denied(_) => exit::DENIED,
        CallError::NoBus(_) | CallError::NotRunning(_) => exit::NO_DAEMON,
    };
    match error {
        CallError::NotRunning(name) if name == SCHEDULER.name => Failure::new(
            status,
            "the farm's scheduler does not run on this machine: give orders about builders by name there",
        ),
        CallError::NotRunning(_) => Failure::new(
            status,
            "no builder runs on this machine; `systemctl enable --now builder.socket` makes it one",
        ),
        error => Failure::new(status, error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_have_units() {
        let check = |text| parse_time(text).map(|time| time.as_secs());
        assert_eq!([check("90"), check("15m"), check("2h"), check("1d")], [Ok(90), Ok(900), Ok(7200), Ok(86_400)]);
        for bad in ["", "m", "1y", "-1", "0", "1.5h", "99999999999999999999"] {
            assert!(check(bad).is_err(), "{bad}");
        }
    }
}
