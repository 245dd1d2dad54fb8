//! `farccctl status`, `builders` and `stop`: the daemon, and the farm as it knows it.

use rustix::process::{Pid, Signal, kill_process};
use serde_json::json;

use crate::cli::arguments::{BuildersOptions, StatusOptions};
use crate::cli::render::{count, duration, plain, table};
use crate::cli::{Failure, ask, print, say};
use crate::engine::wire::local::Question;
use crate::model::exit;
use crate::model::report::{BuilderReport, ClientStatus, FarmReport};

pub(crate) fn show(options: &StatusOptions) -> Result<u8, Failure> {
    let json = ask::ask(Question::Status)?;
    match options {
        StatusOptions { json: true, .. } => print(&format!("{json}\n")),
        StatusOptions { dist: true, .. } => show_dist(&ask::read(&json)?),
        _ => print(&render(&ask::read(&json)?)),
    }
}

pub(crate) fn show_builders(options: &BuildersOptions) -> Result<u8, Failure> {
    let status: ClientStatus = ask::read(&ask::ask(Question::Status)?)?;
    let farm = farm_of(&status)?;
    if options.json {
        let json = serde_json::to_string(&farm.builders).map_err(Failure::with(exit::INTERNAL))?;
        return print(&format!("{json}\n"));
    }
    if farm.builders.is_empty() {
        say("the scheduler knows no builder; `systemctl enable --now builder.socket` on a machine adds it");
        return Ok(exit::NEGATIVE);
    }
    print(&builders(&farm.builders))
}

/// Ends the daemon by the signal that it takes for that.
pub(crate) fn stop() -> Result<u8, Failure> {
    let status: ClientStatus = ask::read(&ask::ask(Question::Status)?)?;
    let pid = Pid::from_raw(status.pid.cast_signed()).filter(|pid| !pid.is_init());
    let pid = pid.ok_or_else(|| Failure::new(exit::NEGATIVE, "the client daemon is not a process of this machine"))?;
    kill_process(pid, Signal::TERM)
        .map_err(|error| Failure::new(exit::NEGATIVE, format_args!("cannot end the client daemon: {error}")))?;
    Ok(exit::OK)
}

/// As `sccache --dist-status` has it, for scripts that ask it for the number of processors.
fn show_dist(status: &ClientStatus) -> Result<u8, Failure> {
    let farm = farm_of(status)?;
    let slots: u64 = farm.builders.iter().map(|builder| u64::from(builder.slots)).sum();
    let leased: u64 = farm.builders.iter().map(|builder| u64::from(builder.leased)).sum();
    let url = format!("https://{}", status.scheduler);
    let numbers = json!({ "num_servers": farm.builders.len(), "num_cpus": slots, "in_progress": leased });
    print(&format!("{}\n", json!({ "SchedulerStatus": [url, numbers] })))
}

fn farm_of(status: &ClientStatus) -> Result<&FarmReport, Failure> {
    let scheduler = if status.scheduler.is_empty() { "the scheduler" } else { &status.scheduler };
    status.farm.as_ref().ok_or_else(|| {
        Failure::new(exit::NEGATIVE, format_args!("nothing is known of the farm: {scheduler}: {}", status.connection))
    })
}

fn render(status: &ClientStatus) -> String {
    let row = |name: &str, text: String| [name.to_owned(), text];
    let scheduler = match status.scheduler.as_str() {
        "" => status.connection.clone(),
        address => format!("{address}, {}", status.connection),
    };
    let mut rows = vec![
        row(
            "client daemon",
            format!("farcc {}, process {}, {} of CPU time", status.version, status.pid, duration(status.cpu)),
        ),
        row("scheduler", plain(&scheduler)),
        row(
            "units",
            format!(
                "{} remote, {} local (of {}), {} waiting",
                status.running_remote,
                status.running_local,
                count(status.local_slots, "slot"),
                status.waiting
            ),
        ),
        row("leases", status.leases.to_string()),
    ];
    if status.paused {
        rows.insert(1, row("paused", "everything is compiled here until `farccctl resume`".to_owned()));
    }
    let Some(farm) = &status.farm else { return table(&rows) };
    let slots: u64 = farm.builders.iter().map(|builder| u64::from(builder.slots)).sum();
    rows.push(row(
        "farm",
        format!(
            "{} with {}, {}, {} wanted",
            count(farm.builders.len() as u64, "builder"),
            count(slots, "slot"),
            count(farm.clients, "client"),
            count(farm.queued, "more slot")
        ),
    ));
    let builders = if farm.builders.is_empty() { String::new() } else { format!("\n{}", builders(&farm.builders)) };
    table(&rows) + &builders
}

fn builders(builders: &[BuilderReport]) -> String {
    let heading =
        ["BUILDER", "ADDRESS", "ARCHITECTURE", "SLOTS", "IN USE", "STATE", "DONE", "FAILED"].map(str::to_owned);
    let rows = builders.iter().map(|builder| {
        [
            plain(&builder.name),
            plain(&builder.address),
            plain(&builder.architecture),
            builder.slots.to_string(),
            builder.leased.to_string(),
            plain(&builder.state),
            builder.finished.to_string(),
            builder.failed.to_string(),
        ]
    });
    table(&std::iter::once(heading).chain(rows).collect::<Vec<_>>())
}
