//! Records what became of each request: counters for `farccctl stats`, the latest units for `farccctl why`.
//!
//! Decides nothing. The shell notes events as they happen; the time comes with each.

use std::collections::{BTreeMap, VecDeque};
use std::path::Path;
use std::time::Duration;

use crate::model::id::RequestId;
use crate::model::limits::{HISTORY_UNITS_MAX, PROJECTS_MAX};
use crate::model::moment::Moment;
use crate::model::path::without_detours;
use crate::model::report::{Attempt, Outcome, Stats, StatsReport, Times, UnitRecord};

/// Where a request's time goes. May be noted more than once; the times add up.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Phase {
    Inputs,
    Queued,
    Remote,
}

#[derive(Debug, Default)]
pub struct Recorder {
    report: StatsReport,
    records: BTreeMap<RequestId, UnitRecord>,
    /// Oldest first; the bound of `records`.
    order: VecDeque<RequestId>,
    /// When those that have not ended began.
    began: BTreeMap<RequestId, Beginning>,
}

#[derive(Debug)]
struct Beginning {
    at: Moment,
    /// Empty where it is of none.
    project: String,
}

impl Recorder {
    /// Counts on from what an earlier daemon has kept.
    pub fn new(kept: StatsReport) -> Self {
        Self { report: kept, ..Self::default() }
    }

    /// A wrapper asks, for the project of this name; an empty one is none.
    pub fn arrived(&mut self, now: Moment, request: RequestId, project: &str) {
        self.began.insert(request, Beginning { at: now, project: project.to_owned() });
        self.count(project, |stats| stats.requests += 1);
        let record = UnitRecord {
            request: request.0,
            source: String::new(),
            output: String::new(),
            outcome: Outcome::Running,
            attempts: Vec::new(),
            times: Times::default(),
        };
        if self.records.insert(request, record).is_none() {
            self.order.push_back(request);
        }
        if self.order.len() > HISTORY_UNITS_MAX
            && let Some(oldest) = self.order.pop_front()
        {
            self.records.remove(&oldest);
        }
    }

    /// What the request is about, once that is known, by absolute paths. Detours are left out: whoever asks later is somewhere else.
    pub fn named(&mut self, request: RequestId, source: &Path, output: &Path) {
        let name = |path| without_detours(path).display().to_string();
        if let Some(record) = self.records.get_mut(&request) {
            record.source = name(source);
            record.output = name(output);
        }
    }

    pub fn spent(&mut self, request: RequestId, phase: Phase, time: Duration) {
        let Some(record) = self.records.get_mut(&request) else { return };
        let sum = match phase {
            Phase::Inputs => &mut record.times.inputs,
            Phase::Queued => &mut record.times.queued,
            Phase::Remote => &mut record.times.remote,
        };
        *sum += time;
    }

    /// A builder was tried in vain, whether or not another will do.
    pub fn attempt_failed(&mut self, request: RequestId, attempt: Attempt) {
        let project = self.began.get(&request).map(|began| began.project.clone()).unwrap_or_default();
        self.count(&project, |stats| stats.failed_attempts += 1);
        if let Some(record) = self.records.get_mut(&request) {
            record.attempts.push(attempt);
        }
    }

    /// The request is over. Only the first outcome counts.
    pub fn ended(&mut self, now: Moment, request: RequestId, outcome: Outcome) {
        let Some(began) = self.began.remove(&request) else { return };
        self.count(&began.project, |stats| add(stats, &outcome));
        if let Some(record) = self.records.get_mut(&request) {
            record.times.total = now.since(began.at);
            record.outcome = outcome;
        }
    }

    /// In the total, and for the project.
    fn count(&mut self, project: &str, count: impl Fn(&mut Stats)) {
        count(&mut self.report.total);
        if project.is_empty() {
            return;
        }
        let projects = &mut self.report.projects;
        if !projects.contains_key(project) && projects.len() >= PROJECTS_MAX {
            let least = projects.iter().min_by_key(|(_, stats)| stats.requests).map(|(name, _)| name.clone());
            least.and_then(|least| projects.remove(&least));
        }
        count(projects.entry(project.to_owned()).or_default());
    }

    pub fn stats(&self) -> &Stats {
        &self.report.total
    }

    /// All counters: what is shown, and kept for the next daemon.
    pub fn report(&self) -> &StatsReport {
        &self.report
    }

    /// Counters go back to zero at this time of day; what is known of units stays.
    pub fn reset(&mut self, since_usec: u64) {
        self.report = StatsReport { since_usec, ..StatsReport::default() };
    }

    /// The last unit with this source or output.
    pub fn why(&self, path: &str) -> Option<&UnitRecord> {
        self.history().rev().find(|record| record.source == path || record.output == path)
    }

    /// What is known of one request.
    pub fn record(&self, request: RequestId) -> Option<&UnitRecord> {
        self.records.get(&request)
    }

    /// What is remembered, oldest first.
    pub fn history(&self) -> impl DoubleEndedIterator<Item = &UnitRecord> {
        self.order.iter().filter_map(|request| self.records.get(request))
    }
}

fn add(stats: &mut Stats, outcome: &Outcome) {
    let why = match outcome {
        Outcome::Remote { builder, .. } => {
            stats.remote += 1;
            *stats.builders.entry(builder.clone()).or_default() += 1;
            return;
        }
        Outcome::Abandoned => {
            stats.abandoned += 1;
            return;
        }
        Outcome::Running => return,
        Outcome::Local { why } => {
            stats.local += 1;
            stats.fallbacks += u64::from(why.reason.is_fallback());
            why
        }
        Outcome::StepAside { why } => {
            stats.bypassed += 1;
            why
        }
    };
    *stats.reasons.entry(why.reason.name().to_owned()).or_default() += 1;
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::reason::Reason;

    fn at(seconds: u64) -> Moment {
        Moment::START + Duration::from_secs(seconds)
    }

    fn local(reason: Reason) -> Outcome {
        Outcome::Local { why: reason.into() }
    }

    fn remote() -> Outcome {
        Outcome::Remote { builder: "b".to_owned(), job: "1-1".to_owned() }
    }

    #[test]
    fn outcomes_are_counted_by_kind_and_reason() {
        let mut recorder = Recorder::default();
        let outcomes = [
            remote(),
            local(Reason::LocalSlot),
            local(Reason::BuilderLost),
            Outcome::StepAside { why: Reason::Link.into() },
            Outcome::Abandoned,
        ];
        for (number, outcome) in (0..).zip(outcomes) {
            recorder.arrived(at(0), RequestId(number), "");
            recorder.ended(at(1), RequestId(number), outcome);
        }
        let count = |pairs: &[(&str, u64)]| pairs.iter().map(|(name, n)| ((*name).to_owned(), *n)).collect();
        let expected = Stats {
            requests: 5,
            remote: 1,
            local: 2,
            fallbacks: 1,
            bypassed: 1,
            abandoned: 1,
            reasons: count(&[("local-slot", 1), ("builder-lost", 1), ("link", 1)]),
            builders: count(&[("b", 1)]),
            ..Stats::default()
        };
        assert_eq!(*recorder.stats(), expected);
        recorder.reset(7);
        assert_eq!(*recorder.report(), StatsReport { since_usec: 7, ..StatsReport::default() });
        assert_eq!(recorder.history().count(), 5);
    }

    #[test]
    fn projects_are_counted_apart_and_go_on_where_they_were() {
        let mut recorder = Recorder::default();
        for (number, project) in [(0, "/a"), (1, "/b"), (2, "/a"), (3, "")] {
            recorder.arrived(at(0), RequestId(number), project);
            recorder.ended(at(1), RequestId(number), remote());
        }
        let kept = serde_json::to_string(recorder.report()).unwrap();
        let mut recorder = Recorder::new(serde_json::from_str(&kept).unwrap());
        recorder.arrived(at(0), RequestId(4), "/b");
        let count = |name: &str| recorder.report().projects.get(name).map(|stats| (stats.requests, stats.remote));
        assert_eq!((recorder.stats().requests, recorder.stats().remote), (5, 4));
        assert_eq!([count("/a"), count("/b"), count("")], [Some((2, 2)), Some((2, 1)), None]);
    }

    #[test]
    fn the_smallest_project_makes_room() {
        let mut recorder = Recorder::default();
        for number in 0..PROJECTS_MAX as u64 + 1 {
            recorder.arrived(at(0), RequestId(number), &format!("/{}", number.min(1)));
            recorder.arrived(at(0), RequestId(1000 + number), &format!("/x{number}"));
        }
        assert_eq!(recorder.report().projects.len(), PROJECTS_MAX);
        assert!(recorder.report().projects.contains_key("/1"));
    }

    #[test]
    fn the_latest_unit_of_a_path_wins() {
        let mut recorder = Recorder::default();
        for number in 0..3 {
            recorder.arrived(at(number), RequestId(number), "");
            recorder.named(RequestId(number), Path::new("/b/../a.c"), Path::new(&format!("/b/./../{number}.o")));
        }
        recorder.ended(at(9), RequestId(2), remote());
        let record = recorder.why("/a.c").unwrap();
        assert_eq!((record.request, record.times.total), (2, Duration::from_secs(7)));
        assert_eq!(recorder.why("/1.o").unwrap().request, 1);
        assert_eq!(recorder.why("/b.c"), None);
    }

    #[test]
    fn history_is_bounded() {
        let mut recorder = Recorder::default();
        for number in 0..=HISTORY_UNITS_MAX as u64 {
            recorder.arrived(at(0), RequestId(number), "");
        }
        assert_eq!(recorder.history().count(), HISTORY_UNITS_MAX);
        assert_eq!(recorder.history().next().unwrap().request, 1);
        recorder.ended(at(1), RequestId(0), local(Reason::LocalSlot));
        assert_eq!(recorder.stats().local, 1);
    }
}
