//! What a throwaway farm did, in a table.

use std::collections::BTreeMap;
use std::path::Path;

use crate::cli::render::{count, duration, plain, table};
use crate::model::report::{Outcome, Stats, UnitRecord};

/// Units one by one, other commands by their reasons, then the sums.
pub(crate) fn render(units: &[UnitRecord], stats: &Stats) -> String {
    let cwd = std::env::current_dir().unwrap_or_default();
    let mut rows = vec![["FILE", "TIME", "WHERE", "WHY"].map(str::to_owned)];
    let mut passed_by: BTreeMap<&str, u64> = BTreeMap::new();
    for unit in units {
        match &unit.outcome {
            Outcome::StepAside { why } => *passed_by.entry(why.reason.name()).or_default() += 1,
            outcome => rows.push(row(unit, outcome, &cwd)),
        }
    }
    let mut text = String::from("what happened\n\n");
    if rows.len() > 1 {
        text.push_str(&table(&rows));
        text.push('\n');
    }
    if !passed_by.is_empty() {
        let reasons: Vec<_> = passed_by.iter().map(|(reason, number)| format!("{number} {reason}")).collect();
        text.push_str(&format!("not units to compile: {}\n", reasons.join(", ")));
    }
    text.push_str(&format!(
        "{}: {} remote, {} local, {} of these after a failure",
        count(stats.remote + stats.local, "unit"),
        stats.remote,
        stats.local,
        stats.fallbacks
    ));
    text
}

fn row(unit: &UnitRecord, outcome: &Outcome, cwd: &Path) -> [String; 4] {
    let path = Path::new(&unit.source);
    let short = path.strip_prefix(cwd).unwrap_or(path).display().to_string();
    let (place, mut why) = match outcome {
        Outcome::Remote { builder, .. } => (builder.clone(), Vec::new()),
        Outcome::Local { why } | Outcome::StepAside { why } => ("here".to_owned(), vec![why.to_string()]),
        Outcome::Running => ("on its way".to_owned(), Vec::new()),
        Outcome::Abandoned => ("nowhere".to_owned(), vec!["the wrapper went away".to_owned()]),
    };
    why.extend(unit.attempts.iter().map(|attempt| format!("not by {} ({})", attempt.builder, attempt.why)));
    [plain(&short), duration(unit.times.total), plain(&place), plain(&why.join("; "))]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::reason::{Reason, Why};
    use crate::model::report::{Attempt, Times};

    #[test]
    fn every_unit_has_a_line() {
        let unit = |source: &str, outcome| UnitRecord {
            request: 1,
            source: source.into(),
            output: String::new(),
            outcome,
            attempts: Vec::new(),
            times: Times::default(),
        };
        let remote = |builder: &str| Outcome::Remote { builder: builder.into(), job: "0a-1".into() };
        let mut retried = unit("/x/b.c", remote("b2"));
        retried.attempts.push(Attempt { builder: "b1".into(), job: "0a-2".into(), why: Reason::Timeout.into() });
        let units = [
            unit("/x/a.c", remote("b1")),
            retried,
            unit("/x/c.c", Outcome::Local { why: Why::new(Reason::Incbin, "logo.bin") }),
            unit("", Outcome::StepAside { why: Reason::Link.into() }),
        ];
        let stats = Stats { remote: 2, local: 1, ..Stats::default() };
        let expected = "what happened\n
FILE    TIME  WHERE  WHY
/x/a.c  0 ms  b1
/x/b.c  0 ms  b2     not by b1 (timeout)
/x/c.c  0 ms  here   incbin: logo.bin

not units to compile: 1 link
3 units: 2 remote, 1 local, 0 of these after a failure";
        assert_eq!(render(&units, &stats), expected);
    }
}
