//! `farccctl stats`.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::cli::arguments::StatsOptions;
use crate::cli::render::{age, plain, table};
use crate::cli::{Failure, ask, print};
use crate::engine::wire::local::Question;
use crate::model::exit;
use crate::model::report::{Stats, StatsReport};
use crate::os::clock;

pub(crate) fn show(options: &StatsOptions) -> Result<u8, Failure> {
    let json = ask::ask(Question::Stats)?;
    let report: StatsReport = ask::read(&json)?;
    let text = match options {
        StatsOptions { project: Some(wanted), json, .. } => {
            let stats = of_project(&report, wanted)?;
            if *json { to_json(stats)? } else { render(stats) }
        }
        StatsOptions { json: true, .. } => format!("{json}\n"),
        _ => format!("{}{}{}", since(&report), render(&report.total), projects(&report)),
    };
    if options.reset {
        ask::ask(Question::ResetStats)?;
    }
    print(&text)
}

/// By its whole name, or the directory that has the end of it.
fn of_project<'a>(report: &'a StatsReport, wanted: &str) -> Result<&'a Stats, Failure> {
    let is_meant = |name: &str| name == wanted || name.strip_suffix(wanted).is_some_and(|rest| rest.ends_with('/'));
    let mut meant = report.projects.iter().filter(|(name, _)| is_meant(name));
    match (meant.next(), meant.next()) {
        (Some((_, stats)), None) => Ok(stats),
        (None, _) => Err(Failure::new(exit::NEGATIVE, format_args!("nothing is counted for a project {wanted}"))),
        _ => Err(Failure::new(exit::NEGATIVE, format_args!("several projects end in {wanted}; name one whole"))),
    }
}

fn to_json(stats: &Stats) -> Result<String, Failure> {
    serde_json::to_string(stats).map(|json| json + "\n").map_err(Failure::with(exit::INTERNAL))
}

fn since(report: &StatsReport) -> String {
    if report.since_usec == 0 {
        return String::new();
    }
    let usec = clock::usec_since_1970().saturating_sub(report.since_usec);
    format!("counted for {}\n", age(Duration::from_micros(usec)))
}

/// Most requests first; where there is one project only, it is the total.
fn projects(report: &StatsReport) -> String {
    if report.projects.len() < 2 {
        return String::new();
    }
    let mut sorted: Vec<_> = report.projects.iter().collect();
    sorted.sort_by_key(|&(name, stats)| (std::cmp::Reverse(stats.requests), name));
    let heading = ["PROJECT", "REQUESTS", "REMOTE", "LOCAL", "FAILED"].map(str::to_owned);
    let rows = sorted.into_iter().map(|(name, stats)| {
        let Stats { requests, remote, local, fallbacks, .. } = stats;
        [plain(name), requests.to_string(), remote.to_string(), local.to_string(), fallbacks.to_string()]
    });
    format!("\n{}", table(&std::iter::once(heading).chain(rows).collect::<Vec<_>>()))
}

/// Counters in the words of the documentation.
pub(crate) fn render(stats: &Stats) -> String {
    let units = stats.remote + stats.local + stats.hits;
    let share = |count: u64| match units {
        0 => String::new(),
        units => format!("{} %", (count * 100 + units / 2) / units),
    };
    let row = |name: &str, count: u64, share: String| [name.to_owned(), format!("{count:>8}"), format!("{share:>5}")];
    let mut text = table(&[
        row("requests", stats.requests, String::new()),
        row("  remote", stats.remote, share(stats.remote)),
        row("  local", stats.local, share(stats.local)),
        row("    of these after a failure", stats.fallbacks, share(stats.fallbacks)),
        row("  hits", stats.hits, share(stats.hits)),
        row("  not compiles of one unit", stats.bypassed, String::new()),
        row("  interrupted", stats.abandoned, String::new()),
        row("attempts that failed", stats.failed_attempts, String::new()),
    ]);
    text.push_str(&counts("Why not remote", &stats.reasons));
    text.push_str(&counts("Remote by builder", &stats.builders));
    text
}

/// A heading and what was counted, most first.
fn counts(heading: &str, counts: &BTreeMap<String, u64>) -> String {
    if counts.is_empty() {
        return String::new();
    }
    let mut sorted: Vec<_> = counts.iter().collect();
    sorted.sort_by_key(|&(name, &count)| (std::cmp::Reverse(count), name));
    let rows: Vec<_> =
        sorted.iter().map(|(name, count)| [format!("  {}", plain(name)), format!("{count:>8}")]).collect();
    format!("\n{heading}:\n{}", table(&rows))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn everything_is_shown() {
        let counts = |pairs: &[(&str, u64)]| pairs.iter().map(|&(name, count)| (name.to_owned(), count)).collect();
        let stats = Stats {
            requests: 13,
            hits: 0,
            remote: 8,
            local: 2,
            bypassed: 2,
            abandoned: 1,
            fallbacks: 1,
            failed_attempts: 3,
            reasons: counts(&[("incbin", 1), ("link", 2), ("timeout", 1)]),
            builders: counts(&[("b1", 8)]),
        };
        let expected = "\
requests                            13
  remote                             8   80 %
  local                              2   20 %
    of these after a failure         1   10 %
  hits                               0    0 %
  not compiles of one unit           2
  interrupted                        1
attempts that failed                 3

Why not remote:
  link            2
  incbin          1
  timeout         1

Remote by builder:
  b1         8
";
        assert_eq!(render(&stats), expected);
    }
}
