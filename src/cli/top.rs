//! `farccctl top`: the farm and this user's units, live. A frame a second, drawn over the one before.

use std::io::{self, IsTerminal};
use std::thread;

use crate::cli::arguments::TopOptions;
use crate::cli::render::{count, duration, plain, screen};
use crate::cli::{Failure, ask, print};
use crate::engine::wire::local::Question;
use crate::model::exit;
use crate::model::report::{BuilderReport, ClientStatus, UnitAtWork};

/// Until it is interrupted, or the reader of the terminal is gone.
pub(crate) fn run(options: &TopOptions) -> Result<u8, Failure> {
    if !io::stdout().is_terminal() {
        return Err(Failure::new(exit::USAGE, "top draws on a terminal; `farccctl status --json` is for programs"));
    }
    loop {
        let status: ClientStatus = ask::read(&ask::ask(Question::Status)?)?;
        let units: Vec<UnitAtWork> = ask::read(&ask::ask(Question::Jobs)?)?;
        let (columns, rows) = screen();
        let lines = frame(&status, &units, columns, rows);
        // Home, each line to its end, then what is left of the frame before.
        let text: String = lines.iter().map(|line| format!("{line}\x1b[K\r\n")).collect();
        print(&format!("\x1b[H{text}\x1b[J"))?;
        thread::sleep(options.every);
    }
}

/// The lines of one frame, at most as many and as wide as there is room for; the last row is the cursor's.
fn frame(status: &ClientStatus, units: &[UnitAtWork], columns: usize, rows: usize) -> Vec<String> {
    let paused = if status.paused { ", paused" } else { "" };
    let mut lines = vec![
        format!("farcc {}: {}{paused}", plain(&status.scheduler), plain(&status.connection)),
        format!(
            "{} remote, {} local of {}, {} waiting",
            status.running_remote,
            status.running_local,
            count(status.local_slots, "slot"),
            status.waiting
        ),
    ];
    if let Some(farm) = &status.farm {
        lines.push(String::new());
        let width = farm.builders.iter().map(|builder| plain(&builder.name).chars().count()).max().unwrap_or(0);
        lines.extend(farm.builders.iter().map(|builder| bar(builder, width)));
    }
    lines.push(String::new());
    let mut units: Vec<_> = units.iter().collect();
    units.sort_by_key(|unit| std::cmp::Reverse(unit.since));
    lines.extend(units.into_iter().map(|unit| {
        let place = unit.builder.as_deref().map_or_else(|| unit.state.clone(), plain);
        format!("{:>8}  {place}  {}", duration(unit.since), plain(&unit.source))
    }));
    let room = rows.saturating_sub(1).max(1);
    if lines.len() > room {
        let hidden = lines.len() + 1 - room;
        lines.truncate(room - 1);
        lines.push(format!("and {hidden} more lines"));
    }
    lines.into_iter().map(|line| line.chars().take(columns).collect()).collect()
}

/// A builder with a mark for each slot, leased or free.
fn bar(builder: &BuilderReport, width: usize) -> String {
    let BuilderReport { name, slots, leased, state, .. } = builder;
    let marks = |count: u32, mark: &str| mark.repeat(count.min(SLOTS_DRAWN) as usize);
    let free = slots.saturating_sub(*leased);
    let drawn =
        if *slots <= SLOTS_DRAWN { format!("[{}{}] ", marks(*leased, "#"), marks(free, ".")) } else { String::new() };
    let state = if state == "ready" { String::new() } else { format!("  {}", plain(state)) };
    format!("{:width$}  {drawn}{leased} of {slots}{state}", plain(name))
}

/// Builders with more are numbers only: a mark for each would fill the line.
const SLOTS_DRAWN: u32 = 40;

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::model::report::FarmReport;

    fn status(builders: Vec<BuilderReport>) -> ClientStatus {
        ClientStatus {
            scheduler: "farm:10600".to_owned(),
            connection: "connected".to_owned(),
            running_remote: 2,
            farm: Some(FarmReport { builders, ..FarmReport::default() }),
            ..ClientStatus::default()
        }
    }

    fn builder(name: &str, slots: u32, leased: u32, state: &str) -> BuilderReport {
        BuilderReport { name: name.to_owned(), slots, leased, state: state.to_owned(), ..BuilderReport::default() }
    }

    fn unit(source: &str, seconds: u64) -> UnitAtWork {
        UnitAtWork {
            source: source.to_owned(),
            state: "waiting".to_owned(),
            since: Duration::from_secs(seconds),
            ..UnitAtWork::default()
        }
    }

    #[test]
    fn a_frame_shows_builders_and_the_longest_units_first() {
        let builders = vec![builder("oak", 4, 3, "ready"), builder("elm-2", 64, 1, "draining")];
        let lines = frame(&status(builders), &[unit("/b.c", 2), unit("/a.c", 30)], 80, 24);
        let expected = [
            "farcc farm:10600: connected",
            "2 remote, 0 local of 0 slots, 0 waiting",
            "",
            "oak    [###.] 3 of 4",
            "elm-2  1 of 64  draining",
            "",
            "    30 s  waiting  /a.c",
            "   2.0 s  waiting  /b.c",
        ];
        assert_eq!(lines, expected);
    }

    #[test]
    fn a_frame_fits_its_terminal() {
        let units: Vec<_> = (0..100).map(|number| unit(&"x".repeat(200), number)).collect();
        for (columns, rows) in [(80, 24), (20, 5), (1, 1)] {
            let lines = frame(&status(vec![builder("oak", 4, 3, "ready")]), &units, columns, rows);
            assert!(
                lines.len() < rows.max(2) && lines.iter().all(|line| line.chars().count() <= columns),
                "{lines:#?}"
            );
        }
        let lines = frame(&status(Vec::new()), &units, 80, 24);
        assert_eq!(lines.last().map(String::as_str), Some("and 82 more lines"));
    }
}
