//! `farccctl stats`.

use std::collections::BTreeMap;

use crate::cli::arguments::StatsOptions;
use crate::cli::render::{plain, table};
use crate::cli::{Failure, ask, print};
use crate::engine::wire::local::Question;
use crate::model::report::Stats;

pub(crate) fn show(options: &StatsOptions) -> Result<u8, Failure> {
    let json = ask::ask(Question::Stats)?;
    let text = if options.json { format!("{json}\n") } else { render(&ask::read(&json)?) };
    if options.reset {
        ask::ask(Question::ResetStats)?;
    }
    print(&text)
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
            requests: 12,
            hits: 0,
            remote: 8,
            local: 2,
            bypassed: 2,
            fallbacks: 1,
            failed_attempts: 3,
            reasons: counts(&[("incbin", 1), ("link", 2), ("timeout", 1)]),
            builders: counts(&[("b1", 8)]),
        };
        let expected = "\
requests                            12
  remote                             8   80 %
  local                              2   20 %
    of these after a failure         1   10 %
  hits                               0    0 %
  not compiles of one unit           2
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
