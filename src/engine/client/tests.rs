//! Stories of a client, one line each: what it is told, and what it does after the last of it.

use std::time::Duration;

use crate::engine::client::{Client, Failure, Input, Output, Settings};
use crate::engine::wire::farm::{Class, Lease};
use crate::model::digest::Digest;
use crate::model::id::{BuilderId, Instance, LeaseId, RequestId};
use crate::model::moment::Moment;
use crate::model::reason::Reason;
use crate::model::toolchain::{IsaLevel, ToolchainId};

/// `u1`, `l2`, `b3`: the number behind the letter.
fn number(word: &str) -> u64 {
    word[1..].parse().unwrap()
}

fn request(word: &str) -> RequestId {
    RequestId(number(word))
}

fn lease_id(word: &str) -> LeaseId {
    LeaseId { instance: Instance(0), number: number(word) }
}

fn lease(word: &str, builder: &str, epoch: u64) -> Lease {
    Lease {
        id: lease_id(word),
        builder: BuilderId(Digest::from_bytes([number(builder) as u8; 32])),
        builder_name: builder.to_owned(),
        addresses: Vec::new(),
        slots: 1,
        expires: Moment::START,
        epoch,
        mac: Digest::from_bytes([0; 32]),
    }
}

fn class() -> Class {
    Class {
        toolchain: ToolchainId(Digest::from_bytes([0; 32])),
        architecture: "x86_64".to_owned(),
        level: IsaLevel::default(),
    }
}

fn show(output: Output) -> String {
    match output {
        Output::RunRemote { request, lease } => format!("u{request} to l{}", lease.id.number),
        Output::RunLocal { request, why } => format!("u{request} here: {why}"),
        Output::Cancel { request, .. } => format!("cancel u{request}"),
        Output::Demand { slots, .. } => format!("want {slots}"),
        Output::Return { lease } => format!("return l{}", lease.number),
        Output::Complain { lease, about, .. } => format!("complain l{} of {about:?}", lease.number),
    }
}

struct Story {
    machine: Client,
    now: Moment,
}

impl Story {
    fn tell(&mut self, line: &str) {
        let words: Vec<&str> = line.split_whitespace().collect();
        let input = match words[..] {
            ["wait", millis] => return self.wait(millis.parse().unwrap()),
            ["up"] => Input::SchedulerUp,
            ["down"] => Input::SchedulerDown,
            ["hopeless"] => Input::Hopeless { class: class(), hopeless: true },
            ["hope"] => Input::Hopeless { class: class(), hopeless: false },
            [l, "at", b] => Input::Granted { lease: lease(l, b, 1), class: class() },
            [l, "at", b, "epoch", epoch] => {
                Input::Granted { lease: lease(l, b, epoch.parse().unwrap()), class: class() }
            }
            [l, "revoked"] => Input::Revoked { lease: lease_id(l) },
            [l, "recalled"] => Input::Recalled { lease: lease_id(l) },
            [u, "comes"] => Input::Arrived { request: request(u), class: class() },
            [u, "must", "stay"] => Input::ArrivedLocal { request: request(u), why: Reason::Native.into() },
            [u, "done"] => Input::RemoteFinished { request: request(u) },
            [u, "ended"] => Input::LocalEnded { request: request(u) },
            [u, "abandoned"] => Input::Abandoned { request: request(u) },
            [u, "lost"] => self.failed(u, Failure::Builder(Reason::BuilderLost.into())),
            [u, "misfit"] => self.failed(u, Failure::Unfit(Reason::RemoteSignal.into())),
            [u, "refused"] => self.failed(u, Failure::Lease(Reason::BuilderRefused.into())),
            [u, "erred"] => self.failed(u, Failure::Unit(Reason::RemoteError.into())),
            _ => panic!("what is {line:?}?"),
        };
        self.machine.handle(self.now, input);
    }

    fn failed(&self, unit: &str, failure: Failure) -> Input {
        Input::RemoteFailed { request: request(unit), failure }
    }

    fn wait(&mut self, millis: u64) {
        let end = self.now + Duration::from_millis(millis);
        while let Some(moment) = self.machine.poll_timeout().filter(|&moment| moment <= end) {
            self.machine.handle_timeout(moment);
        }
        self.now = end;
    }

    fn outputs(&mut self) -> Vec<String> {
        std::iter::from_fn(|| self.machine.poll_output()).map(show).collect()
    }
}

/// Tells a story to a client with these local slots and two for what must run here; what comes out after its last line.
fn tell_with(settings: Settings, text: &str) -> Vec<String> {
    let mut story = Story { machine: Client::new(settings), now: Moment::START };
    let mut outputs = Vec::new();
    for line in text.split(';') {
        story.outputs();
        story.tell(line.trim());
        outputs = story.outputs();
    }
    outputs
}

#[track_caller]
fn check(story: &str, expected: &[&str]) {
    assert_eq!(tell_with(Settings::new(0, 2, true), story), expected);
}

#[track_caller]
fn check_with_local_slots(story: &str, expected: &[&str]) {
    assert_eq!(tell_with(Settings::new(1, 2, true), story), expected);
}

#[test]
fn units_wait_for_leases_in_order() {
    check("up; u1 comes", &["want 1"]);
    check("up; u1 comes; u2 comes; l1 at b1", &["u1 to l1"]);
    check("up; u1 comes; u2 comes; l1 at b1; u1 done", &["u2 to l1"]);
    check("up; u1 comes; l1 at b1; u1 done; u2 comes", &["u2 to l1"]);
    // The one used last is warm.
    check("up; u1 comes; u2 comes; l1 at b1; l2 at b2; u1 done; wait 10; u2 done; u3 comes", &["u3 to l2"]);
}

/// Another builder may have the instruction that this one lacks.
#[test]
fn a_builder_that_cannot_run_the_compiler_is_told_of_and_left() {
    let story = "up; u1 comes; u2 comes; l1 at b1; l2 at b1; u1 misfit";
    check(story, &["complain l1 of Toolchain"]);
    check(&format!("{story}; u2 done"), &["want 1", "return l2"]);
    check(&format!("{story}; l3 at b2"), &["u1 to l3"]);
    check(&format!("{story}; l3 at b2; u1 misfit"), &["complain l3 of Toolchain", "u1 here: remote-signal"]);
}

#[test]
fn a_free_remote_slot_comes_before_a_local_one() {
    check_with_local_slots("up; u1 comes", &["u1 here: local-slot", "want 1"]);
    check_with_local_slots("up; u1 comes; l1 at b1; u2 comes", &["u2 to l1", "want 2"]);
    check_with_local_slots("up; u1 comes; u2 comes; u1 ended", &["u2 here: local-slot"]);
    check_with_local_slots("u1 must stay; u2 comes; u3 must stay; u4 must stay", &[]);
    check_with_local_slots("u1 must stay; u2 must stay; u3 must stay; u1 ended", &["u3 here: native"]);
}

#[test]
fn without_a_scheduler_everything_runs_here() {
    let settings = || Settings::new(1, 1, false);
    assert_eq!(tell_with(settings(), "u1 comes"), ["u1 here: not-configured"]);
    assert_eq!(tell_with(settings(), "u1 comes; u2 comes; u1 ended"), ["u2 here: not-configured"]);
}

#[test]
fn idle_leases_go_back_after_their_demand() {
    let story = "up; u1 comes; u2 comes; l1 at b1; l2 at b1; u1 done; wait 100; u2 done";
    check(story, &[]);
    check(&format!("{story}; wait 1900"), &["want 1", "return l1"]);
    check(&format!("{story}; wait 1900; wait 100"), &["want 0", "return l2"]);
    // What nobody needs any more when it comes goes back as well.
    check("up; u1 comes; u1 abandoned", &["want 0"]);
    check("up; u1 comes; u1 abandoned; l1 at b1; wait 2000", &["return l1"]);
}

#[test]
fn small_gaps_are_not_announced() {
    let story = "up; u1 comes; u2 comes; u3 comes; u4 comes; u5 comes; u6 comes; u7 comes; u8 comes";
    check(story, &["want 8"]);
    check(&format!("{story}; u8 abandoned"), &[]);
    check(&format!("{story}; u8 abandoned; u9 comes"), &[]);
    check(&format!("{story}; u8 abandoned; u7 abandoned; u6 abandoned; u5 abandoned"), &["want 4"]);
}

#[test]
fn recalled_leases_go_back_when_their_job_is_done() {
    check("up; u1 comes; l1 at b1; u2 comes; l1 recalled", &[]);
    check("up; u1 comes; l1 at b1; u2 comes; l1 recalled; u1 done", &["want 1", "return l1"]);
    check("up; u1 comes; l1 at b1; u1 done; l1 recalled", &["want 0", "return l1"]);
    // A renewal does not undo it, and one that has crossed the return does not bring it back.
    check("up; u1 comes; l1 at b1; l1 recalled; l1 at b1; u1 done", &["want 0", "return l1"]);
    check("up; u1 comes; l1 at b1; u2 comes; l1 recalled; u1 done; l1 at b1", &[]);
}

#[test]
fn a_failed_builder_is_reported_and_left() {
    let story = "up; u1 comes; u2 comes; u3 comes; l1 at b1; l2 at b1; l3 at b1; u3 done; u1 lost";
    check(story, &["complain l1 of Work", "want 2", "return l3"]);
    check(&format!("{story}; u2 done"), &["want 1", "return l2"]);
    check(&format!("{story}; l4 at b1"), &[]);
    check(&format!("{story}; l4 at b1; wait 1000"), &["u1 to l4"]);
    check(&format!("{story}; l5 at b2"), &["u1 to l5"]);
    check(&format!("{story}; l5 at b2; u1 lost"), &["complain l5 of Work", "u1 here: builder-lost"]);
}

#[test]
fn a_revoked_lease_takes_no_unit_and_spares_its_job() {
    let story = "up; u1 comes; l1 at b1; l1 revoked";
    check(story, &["want 0"]);
    check(&format!("{story}; u1 done; u2 comes; l2 at b2"), &["u2 to l2"]);
    // The builder is gone indeed. That is no news to the scheduler.
    check(&format!("{story}; u1 lost"), &["want 1"]);
    check(&format!("{story}; u1 lost; l2 at b2"), &["u1 to l2"]);
    check("up; u1 comes; l1 at b1; u1 done; l1 revoked", &["want 0"]);
    check("up; u1 comes; l1 at b1; u1 done; l1 revoked; u2 comes", &["want 1"]);
}

#[test]
fn a_refused_lease_is_no_attempt_and_has_an_end() {
    let story = "up; u1 comes; l1 at b1; u1 refused";
    check(story, &["return l1"]);
    check(&format!("{story}; l2 at b1"), &[]);
    check(&format!("{story}; l2 at b1; wait 20"), &["u1 to l2"]);
    // Renewed under a new epoch while it was on its way.
    check("up; u1 comes; l1 at b1; l1 at b1 epoch 2; u1 refused", &[]);
    check("up; u1 comes; l1 at b1; l1 at b1 epoch 2; u1 refused; wait 20", &["u1 to l1"]);
    let forever: String = (2..=9).map(|n| format!("; wait 2560; l{n} at b1; u1 refused")).collect();
    check(&format!("{story}{forever}"), &["want 0", "return l9", "u1 here: builder-refused"]);
}

#[test]
fn what_no_builder_can_do_runs_here() {
    check("up; u1 comes; u2 comes; l1 at b1; u1 erred", &["u2 to l1", "u1 here: remote-error"]);
}

#[test]
fn a_short_absence_of_the_scheduler_goes_unnoticed() {
    check("up; u1 comes; down; wait 1999", &[]);
    check("up; u1 comes; down; wait 1999; up", &["want 1"]);
    check("up; u1 comes; down; wait 2000", &["u1 here: no-scheduler"]);
    check("u1 comes; wait 1999", &[]);
    check("wait 5000; u1 comes", &["u1 here: no-scheduler"]);
    // Those that find no slot here are still for the farm.
    check("up; u1 comes; u2 comes; u3 comes; down; wait 2000; up; l1 at b1", &["u3 to l1"]);
}

#[test]
fn leases_outlive_their_scheduler() {
    let story = "up; u1 comes; l1 at b1; down; u2 comes; wait 5000";
    check(&format!("{story}; u1 done"), &["u2 to l1"]);
    check(&format!("{story}; u1 done; u2 done; wait 5000; u3 comes"), &["u3 to l1"]);
    // No longer than builders take them.
    check(&format!("{story}; wait 25000"), &["u2 here: no-scheduler"]);
    // A new scheduler knows nothing of them, nor of what runs on them.
    check(&format!("{story}; up"), &["want 1"]);
    check(&format!("{story}; up; u1 done"), &[]);
    check(&format!("{story}; up; u1 done; l2 at b1"), &["u2 to l2"]);
}

#[test]
fn without_a_builder_units_wait_a_little() {
    check("up; u1 comes; hopeless; wait 2999", &[]);
    check("up; u1 comes; hopeless; wait 3000", &["u1 here: no-builder", "want 0"]);
    check("up; u1 comes; hopeless; wait 3000; u2 comes", &["u2 here: no-builder"]);
    check("up; u1 comes; hopeless; wait 3000; hope; u2 comes", &["want 1"]);
}

#[test]
fn abandoned_units_leave_nothing() {
    check("up; u1 comes; l1 at b1; u2 comes; u1 abandoned", &["cancel u1", "u2 to l1"]);
    check("up; u1 comes; u2 comes; u1 abandoned; l1 at b1", &["u2 to l1"]);
    check("u1 must stay; u2 must stay; u3 must stay; u4 must stay; u3 abandoned; u1 abandoned", &["u4 here: native"]);
    check_with_local_slots("up; u1 comes; u2 comes; u1 abandoned", &["u2 here: local-slot"]);
}
