//! Stories of a farm, one line each: what the scheduler is told, and what it says to the last of it.

use std::time::Duration;

use crate::engine::scheduler::{Input, Order, Output, Scheduler, Settings};
use crate::engine::wire::farm::{Class, Grievance};
use crate::model::digest::Digest;
use crate::model::id::{BuilderId, ClientId, Instance, LeaseId};
use crate::model::moment::Moment;
use crate::model::toolchain::{IsaLevel, ToolchainId};

/// `b1`, `c2`, `l3`: the number behind the letter.
fn number(word: &str) -> u8 {
    word[1..].parse().unwrap()
}

fn digest(word: &str) -> Digest {
    Digest::from_bytes([number(word); 32])
}

fn builder(word: &str) -> BuilderId {
    BuilderId(digest(word))
}

fn client(word: &str) -> ClientId {
    ClientId(digest(word))
}

/// `l3` is this scheduler's, `x3` another's.
fn lease(word: &str) -> LeaseId {
    let instance = Instance(u64::from(word.starts_with('x')));
    LeaseId { instance, number: number(word).into() }
}

fn leases(words: &[&str]) -> Vec<LeaseId> {
    words.iter().map(|word| lease(word)).collect()
}

fn class(architecture: &str) -> Class {
    Class {
        toolchain: ToolchainId(Digest::from_bytes([0; 32])),
        architecture: architecture.to_owned(),
        level: IsaLevel::default(),
    }
}

fn other_toolchain(word: &str) -> ToolchainId {
    ToolchainId(Digest::of(word.as_bytes()))
}

fn joining(b: &str, slots: &str, level: &str, outstanding: &[&str]) -> Input {
    Input::BuilderJoined {
        builder: builder(b),
        name: b.to_owned(),
        addresses: Vec::new(),
        slots: slots.parse().unwrap(),
        architecture: "x86_64".to_owned(),
        level: IsaLevel(level.parse().unwrap()),
        outstanding: leases(outstanding),
    }
}

fn complaint(c: &str, b: &str, l: &str, about: Grievance) -> Input {
    Input::Complaint { client: client(c), builder: builder(b), lease: lease(l), about }
}

fn name(letter: char, digest: Digest) -> String {
    format!("{letter}{}", digest.as_bytes()[0])
}

fn show(output: Output) -> String {
    let of = |client: ClientId| name('c', client.0);
    let at = |builder: BuilderId| name('b', builder.0);
    match output {
        Output::Granted { client, lease, builder, epoch, .. } => {
            format!("{} has l{} at {} epoch {epoch}", of(client), lease.number, at(builder))
        }
        Output::Revoked { client, lease } => format!("{} lost l{}", of(client), lease.number),
        Output::Recalled { client, lease } => format!("{} recall l{}", of(client), lease.number),
        Output::Hopeless { client, hopeless, .. } => format!("{} hopeless {hopeless}", of(client)),
        Output::Epoch { builder, epoch } => format!("{} epoch {epoch}", at(builder)),
        Output::Quarantined { builder, .. } => format!("{} quarantined", at(builder)),
        Output::CloseBuilder { builder } => format!("close {}", at(builder)),
        Output::CloseClient { client } => format!("close {}", of(client)),
    }
}

struct Story {
    machine: Scheduler,
    now: Moment,
}

impl Story {
    fn new() -> Self {
        Self { machine: Scheduler::new(Settings::new(Instance(0))), now: Moment::START }
    }

    fn tell(&mut self, line: &str) {
        let words: Vec<&str> = line.split_whitespace().collect();
        let input = match words[..] {
            ["wait", millis] => return self.wait(millis.parse().unwrap()),
            [b, "joins", slots, "level", level] => joining(b, slots, level, &[]),
            [b, "joins", slots, ref outstanding @ ..] => joining(b, slots, "0", outstanding),
            [b, "beats", finished, ref outstanding @ ..] => Input::BuilderHeartbeat {
                builder: builder(b),
                outstanding: leases(outstanding),
                finished: finished.parse().unwrap(),
                failed: 0,
                slots: None,
            },
            [b, "has", slots, "slots", ref outstanding @ ..] => Input::BuilderHeartbeat {
                builder: builder(b),
                outstanding: leases(outstanding),
                finished: 0,
                failed: 0,
                slots: slots.parse().ok(),
            },
            ["drain", b] => Input::Ordered { builder: builder(b), order: Order::Drain },
            ["resume", b] => Input::Ordered { builder: builder(b), order: Order::Resume },
            ["forget", b] => Input::Ordered { builder: builder(b), order: Order::Forget },
            ["quarantine", b, seconds] => Input::Ordered {
                builder: builder(b),
                order: Order::Quarantine(Duration::from_secs(seconds.parse().unwrap())),
            },
            [b, "fails", failed] => Input::BuilderHeartbeat {
                builder: builder(b),
                outstanding: Vec::new(),
                finished: 0,
                failed: failed.parse().unwrap(),
                slots: None,
            },
            [b, "drains"] => Input::BuilderDraining { builder: builder(b), draining: true },
            [b, "resumes"] => Input::BuilderDraining { builder: builder(b), draining: false },
            [b, "is", "lost"] => Input::BuilderLost { builder: builder(b) },
            [c, "comes"] => Input::ClientJoined { client: client(c), name: c.to_owned() },
            [c, "beats"] => Input::ClientHeartbeat { client: client(c) },
            [c, "wants", slots] => {
                Input::Demand { client: client(c), class: class("x86_64"), slots: slots.parse().unwrap() }
            }
            [c, "wants", slots, "level", level] => Input::Demand {
                client: client(c),
                class: Class { level: IsaLevel(level.parse().unwrap()), ..class("x86_64") },
                slots: slots.parse().unwrap(),
            },
            [c, "wants", slots, "of", toolchain] => Input::Demand {
                client: client(c),
                class: Class { toolchain: other_toolchain(toolchain), ..class("x86_64") },
                slots: slots.parse().unwrap(),
            },
            [c, "wants", slots, architecture] => {
                Input::Demand { client: client(c), class: class(architecture), slots: slots.parse().unwrap() }
            }
            [c, "returns", l] => Input::Returned { client: client(c), lease: lease(l) },
            [c, "complains", b, l] => complaint(c, b, l, Grievance::Work),
            [c, "misfits", b, l] => complaint(c, b, l, Grievance::Toolchain),
            [c, "is", "gone"] => Input::ClientLost { client: client(c) },
            _ => panic!("what is {line:?}?"),
        };
        self.machine.handle(self.now, input);
    }

    /// Time passes, and nobody is heard of.
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

/// Tells a story; what comes out after its last line.
#[track_caller]
fn check(story: &str, expected: &[&str]) {
    assert_eq!(tell(story), expected);
}

fn tell(text: &str) -> Vec<String> {
    let mut story = Story::new();
    let mut outputs = Vec::new();
    for line in text.split(';') {
        story.outputs();
        story.tell(line.trim());
        outputs = story.outputs();
    }
    outputs
}

#[test]
fn demand_is_met_by_the_roomiest_builders_and_no_further() {
    check(
        "b1 joins 2; b2 joins 4; c1 comes; c1 wants 5",
        &[
            "c1 has l1 at b2 epoch 2",
            "c1 has l2 at b1 epoch 1",
            "c1 has l3 at b2 epoch 2",
            "c1 has l4 at b2 epoch 2",
            "c1 has l5 at b1 epoch 1",
        ],
    );
    check("b1 joins 1; c1 comes; c1 wants 1; c1 wants 3", &[]);
    check("c1 comes; c1 wants 1; b1 joins 2", &["b1 epoch 1", "c1 has l1 at b1 epoch 1"]);
    check("b1 joins 1; c1 comes; c1 wants 3; c1 returns l1", &["c1 has l2 at b1 epoch 1"]);
    check("b1 joins 1; c1 comes; c1 wants 3; c1 wants 0; c1 returns l1", &[]);
}

#[test]
fn a_lease_is_renewed_before_it_ends() {
    check(
        "b1 joins 1; c1 comes; c1 wants 1; wait 3900; c1 beats; b1 beats 0; wait 3900; c1 beats; b1 beats 0; wait 2200",
        &["c1 has l1 at b1 epoch 1"],
    );
}

#[test]
fn others_get_their_share_back_once() {
    check("b1 joins 4; c1 comes; c2 comes; c1 wants 9; c2 wants 9", &["c1 recall l1", "c1 recall l2"]);
    check("b1 joins 4; c1 comes; c2 comes; c1 wants 9; c2 wants 9; c2 wants 10", &[]);
    check("b1 joins 4; c1 comes; c2 comes; c1 wants 9; c2 wants 9; c1 returns l2", &["c2 has l5 at b1 epoch 1"]);
    check("b1 joins 4; c1 comes; c2 comes; c1 wants 9; c2 wants 1", &["c1 recall l1"]);
    // Those without a job go first.
    check(
        "b1 joins 4; c1 comes; c2 comes; c1 wants 9; b1 beats 0 l1 l2; c2 wants 9",
        &["c1 recall l3", "c1 recall l4"],
    );
}

#[test]
fn a_single_slot_changes_hands_after_a_turn() {
    let story = "b1 joins 1; c1 comes; c2 comes; c1 wants 9; c2 wants 9";
    check(story, &[]);
    check(&format!("{story}; wait 1999"), &[]);
    check(&format!("{story}; wait 2000"), &["c1 recall l1"]);
}

#[test]
fn a_lost_builder_is_forgotten_and_welcome() {
    let story = "b1 joins 1; b2 joins 1; c1 comes; c1 wants 2";
    check(&format!("{story}; b1 is lost"), &["c1 lost l1"]);
    check(&format!("{story}; b1 is lost; b1 joins 1"), &["b1 epoch 3", "c1 has l3 at b1 epoch 3"]);
    // It has come back before anybody noticed that it was gone.
    check(&format!("{story}; b1 joins 1"), &["c1 lost l1", "b1 epoch 3", "c1 has l3 at b1 epoch 3"]);
    check("b1 joins 1; c1 comes; wait 3000; c1 beats; wait 1000", &["close b1"]);
}

#[test]
fn slots_of_an_earlier_scheduler_are_taken_until_a_heartbeat_frees_them() {
    let story = "c1 comes; c1 wants 2; b1 joins 2 x7 x8";
    check(story, &["b1 epoch 1"]);
    check(&format!("{story}; b1 beats 0 x7"), &["c1 has l1 at b1 epoch 1"]);
    check(&format!("{story}; b1 beats 0 x7; b1 beats 0 x7"), &[]);
    check(&format!("{story}; b1 beats 0 x7; b1 beats 0"), &["c1 has l2 at b1 epoch 1"]);
}

#[test]
fn a_lost_clients_leases_are_void_and_others_renewed() {
    let story = "b1 joins 2; c1 comes; c2 comes; c1 wants 1; c2 wants 2; c1 is gone";
    check(story, &["c2 has l2 at b1 epoch 2", "b1 epoch 2"]);
    check(&format!("{story}; b1 beats 0 l1"), &[]);
    check(&format!("{story}; b1 beats 0"), &["c2 has l3 at b1 epoch 2"]);
    check("b1 joins 1; c1 comes; wait 3000; b1 beats 0; wait 1000", &["close c1"]);
    check("b1 joins 1; c1 comes; c1 wants 1; c1 comes", &["b1 epoch 2"]);
}

#[test]
fn a_complaint_keeps_the_builder_from_the_client_for_a_time_that_doubles() {
    let story = "b1 joins 2; c1 comes; c1 wants 2; c1 complains b1 l1";
    check(story, &["c1 recall l2"]);
    let alone = "b1 joins 1; c1 comes; c1 wants 1; c1 complains b1 l1; b1 beats 0";
    check(alone, &[]);
    check(&format!("{alone}; wait 1999"), &[]);
    check(&format!("{alone}; wait 2000"), &["c1 has l2 at b1 epoch 1"]);
    let again = format!("{alone}; wait 2000; c1 complains b1 l2; b1 beats 0; c1 beats");
    check(&format!("{again}; wait 3900"), &[]);
    check(&format!("{again}; wait 3900; c1 beats; b1 beats 0; wait 100"), &["c1 has l3 at b1 epoch 1"]);
    // Forgiven after good work: its own, not that of others.
    let others = format!("{alone}; wait 2000; b1 beats 32; c1 complains b1 l2; b1 beats 32; c1 beats");
    check(&format!("{others}; wait 3900; c1 beats; b1 beats 32; wait 99"), &[]);
    let work = "b1 beats 0 l2; ".repeat(32);
    let forgiven = format!("{alone}; wait 2000; {work}c1 complains b1 l2; b1 beats 0; c1 beats");
    check(&format!("{forgiven}; wait 2000"), &["c1 has l3 at b1 epoch 1"]);
    // Not its fault any more, or never was.
    check("b1 joins 1; c1 comes; c1 wants 1; b1 joins 1; c1 complains b1 l1", &[]);
    check(
        "b1 joins 1; c1 comes; c1 wants 1; c2 comes; c2 complains b1 l1; c1 returns l1",
        &["c1 has l2 at b1 epoch 1"],
    );
}

#[test]
fn one_clients_trouble_is_not_the_others() {
    let story = "b1 joins 2; b1 beats 0; c1 comes; c2 comes; c1 wants 1; c2 wants 1";
    check(&format!("{story}; c1 complains b1 l1; c2 wants 2; b1 beats 0 l2"), &["c2 has l3 at b1 epoch 1"]);
    // Nothing is asked back for a client that could not use it.
    let full = format!("{story}; c1 complains b1 l1; c2 wants 2; b1 beats 0 l2");
    check(&format!("{full}; c1 wants 2"), &[]);
    check(&format!("{full}; c1 wants 2; b1 beats 0 l2; wait 2000"), &["c2 recall l3"]);
    // It goes to where it can.
    check(&format!("{full}; c1 wants 2; b2 joins 1"), &["b2 epoch 2", "c1 has l4 at b2 epoch 2"]);
}

/// A processor lacks an instruction: that holds for as long as the builder is there, for that toolchain, and is not its fault.
#[test]
fn a_builder_that_cannot_run_a_toolchain_gets_no_more_of_it() {
    let story = "b1 joins 2; c1 comes; c1 wants 2; c1 misfits b1 l1";
    check(story, &["c1 recall l2"]);
    let alone = "b1 joins 1; b1 beats 0; c1 comes; c1 wants 1; c1 misfits b1 l1; b1 beats 0; c1 beats";
    check(&format!("{alone}; wait 1000; b1 beats 0; c1 beats"), &[]);
    // Other toolchains of the client, and the same of other clients, go there.
    check(&format!("{alone}; c1 wants 1 of another"), &["c1 has l2 at b1 epoch 1"]);
    check(&format!("{alone}; c2 comes; c2 wants 1"), &["c2 has l2 at b1 epoch 1"]);
    // It goes to where it can, and nothing is asked back for it that it could not use.
    check(&format!("{alone}; b2 joins 1"), &["b2 epoch 2", "c1 has l2 at b2 epoch 2"]);
    check(&format!("{alone}; c2 comes; c2 wants 1; b1 beats 0 l2; c1 beats; wait 2000"), &[]);
    // Whoever waits for it is told, and told again when a machine comes that can, or that may be another one.
    let long = "b1 joins 1; wait 3000; b1 beats 0; wait 3000; b1 beats 0; c1 comes; c1 wants 1";
    let hopeless = format!("{long}; c1 misfits b1 l1");
    check(&hopeless, &["c1 hopeless true"]);
    check(&format!("{hopeless}; b2 joins 1"), &["b2 epoch 2", "c1 has l2 at b2 epoch 2", "c1 hopeless false"]);
    check(&format!("{hopeless}; b1 joins 1"), &["b1 epoch 2", "c1 has l2 at b1 epoch 2", "c1 hopeless false"]);
}

#[test]
fn toolchains_go_to_processors_that_run_them() {
    let story = "b1 joins 1 level 2; b2 joins 1 level 3; b1 beats 0; b2 beats 0; c1 comes";
    check(&format!("{story}; c1 wants 2 level 3"), &["c1 has l1 at b2 epoch 2"]);
    check(&format!("{story}; c1 wants 2 level 2"), &["c1 has l1 at b1 epoch 1", "c1 has l2 at b2 epoch 2"]);
    check(&format!("{story}; c1 wants 2"), &["c1 has l1 at b1 epoch 1", "c1 has l2 at b2 epoch 2"]);
    // A builder of an older version does not say.
    check("b1 joins 1; c1 comes; c1 wants 1 level 4", &["c1 has l1 at b1 epoch 1"]);
    let old = "b1 joins 1 level 1; wait 3000; b1 beats 0; wait 3000; b1 beats 0; c1 comes; c1 wants 1 level 3";
    check(old, &["c1 hopeless true"]);
    let newer = ["b2 epoch 2", "c1 has l1 at b2 epoch 2", "c1 hopeless false"];
    check(&format!("{old}; b2 joins 1 level 4"), &newer);
}

#[test]
fn two_clients_that_agree_are_believed() {
    let story = "b1 joins 2; b1 beats 0; c1 comes; c2 comes; c3 comes; c1 wants 1; c2 wants 1; c1 complains b1 l1";
    check(&format!("{story}; c2 complains b1 l2"), &["b1 quarantined"]);
    check(&format!("{story}; c2 complains b1 l2; b1 beats 0; c3 wants 1"), &[]);
    check(
        &format!("{story}; c2 complains b1 l2; b1 beats 0; c3 wants 1; wait 2000"),
        &["c3 has l3 at b1 epoch 1", "c1 has l4 at b1 epoch 1"],
    );
    // It works, for some at least.
    check(&format!("{story}; b1 beats 1 l2; c2 complains b1 l2; b1 beats 1; c3 wants 1"), &["c3 has l3 at b1 epoch 1"]);
    // Again the same one.
    let again = "b1 beats 0 l2; wait 2000; b1 beats 0 l2; c1 complains b1 l3; b1 beats 0 l2";
    check(&format!("{story}; {again}; c3 wants 1"), &["c3 has l4 at b1 epoch 1"]);
}

#[test]
fn a_builder_that_counts_failures_is_left_alone_by_all() {
    let story = "b1 joins 2; b1 fails 3; c1 comes; c2 comes; c1 wants 1";
    check(story, &["c1 has l1 at b1 epoch 1"]);
    check(&format!("{story}; b1 fails 3"), &[]);
    check(&format!("{story}; b1 fails 4"), &["c1 recall l1", "b1 quarantined"]);
    check(&format!("{story}; b1 fails 4; b1 fails 5"), &[]);
    check(&format!("{story}; b1 fails 4; c2 wants 1"), &[]);
    check(&format!("{story}; b1 fails 4; c2 wants 1; wait 2000"), &["c2 has l2 at b1 epoch 1"]);
}

#[test]
fn a_pause_outlives_a_restart() {
    check("b1 joins 1; c1 comes; c1 wants 1; c1 complains b1 l1; b1 is lost; b1 joins 1", &["b1 epoch 2"]);
}

#[test]
fn a_draining_builder_gets_nothing_new() {
    check("b1 joins 1; c1 comes; c1 wants 2; b1 drains", &["c1 recall l1"]);
    check("b1 joins 1; c1 comes; c1 wants 2; b1 drains; c1 returns l1", &[]);
}

#[test]
fn an_order_to_drain_holds_whatever_the_builder_says() {
    let story = "b1 joins 1; c1 comes; c1 wants 2; drain b1";
    check(story, &["c1 recall l1"]);
    check(&format!("{story}; c1 returns l1"), &[]);
    check(&format!("{story}; c1 returns l1; b1 drains; b1 resumes"), &[]);
    check(&format!("{story}; b1 is lost; b1 joins 1"), &["b1 epoch 2"]);
    check(&format!("{story}; c1 returns l1; resume b1"), &["c1 has l2 at b1 epoch 1"]);
    check(&format!("{story}; c1 returns l1; forget b1"), &["c1 has l2 at b1 epoch 1"]);
    // One that comes later.
    check("drain b1; b1 joins 1; c1 comes; c1 wants 1", &[]);
}

#[test]
fn an_ordered_quarantine_ends_by_itself_or_by_order() {
    let story = "b1 joins 1; c1 comes; c1 wants 1; quarantine b1 2";
    check(story, &["c1 recall l1"]);
    check(&format!("{story}; c1 returns l1; wait 1999"), &[]);
    check(&format!("{story}; c1 returns l1; wait 2000"), &["c1 has l2 at b1 epoch 1"]);
    check(&format!("{story}; c1 returns l1; resume b1"), &["c1 has l2 at b1 epoch 1"]);
}

#[test]
fn what_is_forgotten_counts_no_more() {
    let failed = "b1 joins 1; c1 comes; c1 wants 1; c1 complains b1 l1; b1 beats 0";
    check(failed, &[]);
    check(&format!("{failed}; forget b1"), &["c1 has l2 at b1 epoch 1"]);
    let misfit = "b1 joins 1; c1 comes; c1 wants 1; c1 misfits b1 l1; b1 beats 0";
    check(&format!("{misfit}; forget b1"), &["c1 has l2 at b1 epoch 1"]);
}

#[test]
fn slots_come_and_go_while_a_builder_runs() {
    let story = "b1 joins 3; c1 comes; c1 wants 9";
    check(&format!("{story}; b1 has 3 slots"), &[]);
    check(&format!("{story}; b1 has 4 slots"), &["c1 has l4 at b1 epoch 1"]);
    // Those without a job go first.
    check(&format!("{story}; b1 has 1 slots l1 l2"), &["c1 recall l3", "c1 recall l1"]);
    check(&format!("{story}; b1 has 1 slots l1; c1 returns l2; c1 returns l3"), &[]);
    check(
        &format!("{story}; b1 has 1 slots l1; c1 returns l2; c1 returns l3; c1 returns l1"),
        &["c1 has l4 at b1 epoch 1"],
    );
    // What was asked for because of fewer slots makes room for nobody.
    check("b1 joins 4; c1 comes; c2 comes; c1 wants 9; b1 has 2 slots; c2 wants 9", &["c1 recall l3"]);
    check("b1 joins 4; c1 comes; c2 comes; c1 wants 9; b1 has 3 slots; c2 wants 9", &["c1 recall l2"]);
}

#[test]
fn hope_has_its_time() {
    let story = "b1 joins 1; c1 comes; c1 wants 1 aarch64";
    check(&format!("{story}; wait 3999"), &[]);
    check(&format!("{story}; wait 3999; c1 beats; b1 beats 0; wait 1"), &["c1 hopeless true"]);
    let late = "b1 joins 1; c1 comes; wait 3999; b1 beats 0; c1 beats; wait 3000; b1 beats 0; c1 beats; b1 is lost";
    check(&format!("{late}; c1 wants 1"), &[]);
    check(&format!("{late}; c1 wants 1; wait 3000; c1 beats; wait 1000"), &["c1 hopeless true"]);
    check(
        &format!("{late}; c1 wants 1; wait 3000; c1 beats; wait 1000; c1 wants 0; b1 joins 1"),
        &["b1 epoch 2", "c1 hopeless false"],
    );
}

#[test]
fn a_drained_builder_is_no_hope_and_a_short_pause_is() {
    let old = "b1 joins 1; c1 comes; wait 3999; b1 beats 0; c1 beats; wait 1";
    check(&format!("{old}; c1 wants 1; b1 drains"), &["c1 recall l1", "c1 hopeless true"]);
    check(&format!("{old}; b1 drains; c1 wants 1"), &["c1 hopeless true"]);
    check(
        &format!("{old}; c1 wants 1; b1 drains; c1 returns l1; b1 resumes"),
        &["c1 has l2 at b1 epoch 1", "c1 hopeless false"],
    );
    // The other one is full, which is no reason to give up.
    check(&format!("{old}; b2 joins 1; c1 wants 2; b1 drains"), &["c1 recall l1"]);
    // Two seconds are worth waiting for, four are not.
    let once = format!("{old}; c1 wants 1; c1 complains b1 l1; b1 beats 0; c1 beats");
    check(&format!("{old}; c1 wants 1; c1 complains b1 l1"), &[]);
    check(&format!("{once}; wait 2000; c1 complains b1 l2"), &["c1 hopeless true"]);
    let twice = format!("{once}; wait 2000; c1 complains b1 l2; b1 beats 0; wait 3000; b1 beats 0; c1 beats; wait 999");
    check(&twice, &[]);
    check(&format!("{twice}; wait 1"), &["c1 has l3 at b1 epoch 1", "c1 hopeless false"]);
}

#[test]
fn people_see_the_state_of_each_builder() {
    let mut story = Story::new();
    let text =
        "b1 joins 2; b2 joins 2; b2 fails 0; b3 joins 2 x1; b4 joins 2; c1 comes; c1 wants 8; b2 fails 1; b4 drains";
    for line in text.split(';') {
        story.tell(line.trim());
    }
    let farm = story.machine.snapshot(story.now);
    let states: Vec<&str> = farm.builders.iter().map(|builder| builder.state.as_str()).collect();
    assert_eq!(states, ["ready", "quarantined", "recovering", "draining"]);
    assert_eq!((farm.clients, farm.queued), (1, 1));
}
