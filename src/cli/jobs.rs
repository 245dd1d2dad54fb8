//! `farccctl jobs`: what this user's client daemon has in hand.

use crate::cli::arguments::JobsOptions;
use crate::cli::render::{duration, plain, table};
use crate::cli::{Failure, ask, print, say};
use crate::engine::wire::local::Question;
use crate::model::exit;
use crate::model::report::UnitAtWork;

pub(crate) fn show(options: &JobsOptions) -> Result<u8, Failure> {
    let json = ask::ask(Question::Jobs)?;
    if options.json {
        return print(&format!("{json}\n"));
    }
    let units: Vec<UnitAtWork> = ask::read(&json)?;
    if units.is_empty() {
        say("nothing is being compiled");
        return Ok(exit::OK);
    }
    print(&render(&units))
}

/// The longest in its present state first.
fn render(units: &[UnitAtWork]) -> String {
    let heading = ["STATE", "FOR", "BUILDER", "SOURCE"].map(str::to_owned);
    let mut units: Vec<_> = units.iter().collect();
    units.sort_by_key(|unit| std::cmp::Reverse(unit.since));
    let rows = units.iter().map(|unit| {
        [
            unit.state.clone(),
            duration(unit.since),
            plain(unit.builder.as_deref().unwrap_or("-")),
            plain(if unit.source.is_empty() { "-" } else { &unit.source }),
        ]
    });
    table(&std::iter::once(heading).chain(rows).collect::<Vec<_>>())
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn the_longest_comes_first() {
        let unit = |source: &str, seconds, builder: Option<&str>| UnitAtWork {
            source: source.to_owned(),
            state: if builder.is_some() { "remote" } else { "waiting" }.to_owned(),
            builder: builder.map(str::to_owned),
            job: None,
            since: Duration::from_secs(seconds),
        };
        let text = render(&[unit("/b.c", 2, None), unit("/a.c", 30, Some("oak"))]);
        assert_eq!(
            text,
            "STATE    FOR    BUILDER  SOURCE\nremote   30 s   oak      /a.c\nwaiting  2.0 s  -        /b.c\n"
        );
    }
}
