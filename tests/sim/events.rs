//! Random lists of events: whatever order they come in, no machine panics, and its invariants hold (debug builds look
//! after each event).

use std::collections::BTreeMap;
use std::time::Duration;

use farcc::engine::builder::{self, Builder, JobEnd};
use farcc::engine::client::{self, Client, Failure};
use farcc::engine::scheduler::{self, Scheduler};
use farcc::engine::wire::farm::{BuilderStatus, Class, Grievance, Lease};
use farcc::model::digest::Digest;
use farcc::model::id::{BuilderId, ClientId, Instance, JobId, LeaseId, RequestId};
use farcc::model::moment::Moment;
use farcc::model::reason::{Reason, Why};
use farcc::model::toolchain::{IsaLevel, ToolchainId};
use proptest::prelude::*;

fn digest(number: u8) -> Digest {
    Digest::from_bytes([number; 32])
}

fn builder_id() -> impl Strategy<Value = BuilderId> {
    (0..3u8).prop_map(|number| BuilderId(digest(number)))
}

fn client_id() -> impl Strategy<Value = ClientId> {
    (0..3u8).prop_map(|number| ClientId(digest(number)))
}

/// Few numbers, so that events meet.
fn lease_id() -> impl Strategy<Value = LeaseId> {
    (0..2u64, 0..20u64).prop_map(|(instance, number)| LeaseId { instance: Instance(instance), number })
}

fn class() -> impl Strategy<Value = Class> {
    (0..2u8, prop_oneof!["x86_64", "aarch64"], 0..4u8).prop_map(|(number, architecture, level)| Class {
        toolchain: ToolchainId(digest(number)),
        architecture,
        level: IsaLevel(level),
    })
}

fn grievance() -> impl Strategy<Value = Grievance> {
    prop_oneof![Just(Grievance::Work), Just(Grievance::Toolchain)]
}

fn request() -> impl Strategy<Value = RequestId> {
    (0..12u64).prop_map(RequestId)
}

fn why() -> impl Strategy<Value = Why> {
    proptest::sample::select(Reason::ALL).prop_map(Why::from)
}

fn failure() -> impl Strategy<Value = Failure> {
    prop_oneof![
        why().prop_map(Failure::Builder),
        why().prop_map(Failure::Unfit),
        why().prop_map(Failure::Lease),
        why().prop_map(Failure::Unit),
    ]
}

fn lease() -> impl Strategy<Value = Lease> {
    (lease_id(), builder_id(), 0..3u64).prop_map(|(id, builder, epoch)| Lease {
        id,
        builder,
        builder_name: String::new(),
        addresses: Vec::new(),
        slots: 1,
        expires: Moment::START,
        epoch,
        mac: digest(0),
    })
}

fn order() -> impl Strategy<Value = scheduler::Order> {
    use scheduler::Order;
    prop_oneof![
        Just(Order::Drain),
        Just(Order::Resume),
        (0..100u64).prop_map(|seconds| Order::Quarantine(Duration::from_secs(seconds))),
        Just(Order::Forget),
    ]
}

fn scheduler_input() -> impl Strategy<Value = scheduler::Input> {
    use scheduler::Input;
    let outstanding = || proptest::collection::vec(lease_id(), 0..4);
    prop_oneof![
        (builder_id(), 0..4u32, class(), outstanding()).prop_map(|(builder, slots, class, outstanding)| {
            let Class { architecture, level, .. } = class;
            Input::BuilderJoined {
                builder,
                name: String::new(),
                addresses: Vec::new(),
                slots,
                architecture,
                level,
                outstanding,
            }
        }),
        (builder_id(), outstanding(), 0..99u64, 0..4u64, proptest::option::of(0..6u32)).prop_map(
            |(builder, outstanding, finished, failed, slots)| Input::BuilderHeartbeat {
                builder,
                outstanding,
                finished,
                failed,
                slots
            }
        ),
        (builder_id(), order()).prop_map(|(builder, order)| Input::Ordered { builder, order }),
        (builder_id(), any::<bool>()).prop_map(|(builder, draining)| Input::BuilderDraining { builder, draining }),
        builder_id().prop_map(|builder| Input::BuilderLost { builder }),
        client_id().prop_map(|client| Input::ClientJoined { client, name: String::new() }),
        client_id().prop_map(|client| Input::ClientHeartbeat { client }),
        (client_id(), class(), 0..6u32).prop_map(|(client, class, slots)| Input::Demand { client, class, slots }),
        (client_id(), lease_id()).prop_map(|(client, lease)| Input::Returned { client, lease }),
        (client_id(), builder_id(), lease_id(), grievance())
            .prop_map(|(client, builder, lease, about)| { Input::Complaint { client, builder, lease, about } }),
        client_id().prop_map(|client| Input::ClientLost { client }),
    ]
}

fn client_input() -> impl Strategy<Value = client::Input> {
    use client::Input;
    prop_oneof![
        3 => (request(), class()).prop_map(|(request, class)| Input::Arrived { request, class }),
        1 => (request(), why()).prop_map(|(request, why)| Input::ArrivedLocal { request, why }),
        1 => request().prop_map(|request| Input::Abandoned { request }),
        2 => request().prop_map(|request| Input::RemoteFinished { request }),
        2 => (request(), failure()).prop_map(|(request, failure)| Input::RemoteFailed { request, failure }),
        1 => request().prop_map(|request| Input::LocalEnded { request }),
        1 => Just(Input::SchedulerUp),
        1 => Just(Input::SchedulerDown),
        4 => (lease(), class()).prop_map(|(lease, class)| Input::Granted { lease, class }),
        1 => lease_id().prop_map(|lease| Input::Revoked { lease }),
        1 => lease_id().prop_map(|lease| Input::Recalled { lease }),
        1 => (class(), any::<bool>()).prop_map(|(class, hopeless)| Input::Hopeless { class, hopeless }),
    ]
}

/// Events with the milliseconds before each.
fn timed<I: std::fmt::Debug>(input: impl Strategy<Value = I>) -> impl Strategy<Value = Vec<(u64, I)>> {
    proptest::collection::vec((prop_oneof![4 => Just(0), 3 => 0..1500u64, 1 => 0..60_000u64], input), 0..80)
}

/// Calls `at` for each moment of `timeouts` until `now` has come.
fn pass(now: Moment, mut timeout: impl FnMut(Option<Moment>) -> Option<Moment>) {
    let mut last = None;
    let mut repeats = 0;
    let mut due = timeout(None);
    while let Some(moment) = due.filter(|&moment| moment <= now) {
        repeats = if last == Some(moment) { repeats + 1 } else { 0 };
        assert!(repeats < 2, "a timeout at {moment:?} comes back at once");
        last = Some(moment);
        due = timeout(Some(moment));
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn the_scheduler_survives_any_events(events in timed(scheduler_input())) {
        let mut machine = Scheduler::new(scheduler::Settings::new(Instance(0)));
        let mut now = Moment::START;
        let mut leased = BTreeMap::new();
        for (pause, input) in events {
            now = now + Duration::from_millis(pause);
            pass(now, |moment| {
                if let Some(moment) = moment {
                    machine.handle_timeout(moment);
                }
                machine.poll_timeout()
            });
            machine.handle(now, input);
            machine.check();
            while machine.poll_output().is_some() {}
            let farm = machine.snapshot(now);
            // More than its slots only where those have become fewer, and then no lease is added.
            let before = |builder: &BuilderId| leased.get(builder).copied().unwrap_or(0);
            let is_sound = |status: &BuilderStatus| status.leased <= status.slots.max(before(&status.builder));
            prop_assert!(farm.builders.iter().all(is_sound));
            leased = farm.builders.iter().map(|builder| (builder.builder, builder.leased)).collect();
        }
    }

    #[test]
    fn the_client_survives_any_events(
        events in timed(client_input()), local_slots in 0..3u32, has_scheduler in any::<bool>()
    ) {
        let mut machine = Client::new(client::Settings::new(local_slots, 2, has_scheduler));
        let mut now = Moment::START;
        for (pause, input) in events {
            now = now + Duration::from_millis(pause);
            pass(now, |moment| {
                if let Some(moment) = moment {
                    machine.handle_timeout(moment);
                }
                machine.poll_timeout()
            });
            machine.handle(now, input);
            machine.check();
            while machine.poll_output().is_some() {}
        }
        // Whatever was, every unit comes to an end when each place it gets is given back.
        for _ in 0..200 {
            if let Some(moment) = machine.poll_timeout() {
                now = now.max(moment);
                machine.handle_timeout(now);
            }
            for number in 0..12 {
                machine.handle(now, client::Input::LocalEnded { request: RequestId(number) });
            }
        }
        prop_assert_eq!(machine.snapshot().waiting + machine.snapshot().running_local, 0);
    }

    #[test]
    fn the_builder_never_runs_more_than_its_slots(
        events in proptest::collection::vec((0..6u8, lease(), client_id(), 0..6u64), 0..60)
    ) {
        let id = BuilderId(digest(0));
        let mut machine = Builder::new(builder::Settings { slots: 2 }, id);
        let now = Moment::START;
        for (kind, mut lease, client, number) in events {
            let job = JobId { instance: Instance(0), number };
            lease.builder = id;
            lease.mac = lease.code(&digest(9), client);
            match kind {
                0 => machine.welcomed(now, digest(9), Moment::START, lease.epoch),
                1 => machine.clock(now, Moment::START, lease.epoch),
                2 => machine.ended(job, JobEnd::Finished),
                3 => machine.drain(number % 2 == 0),
                _ => {
                    let was_draining = machine.is_draining();
                    let admitted = machine.admit(now, client, &lease, job) == builder::Admission::Admitted;
                    prop_assert!(!(admitted && was_draining));
                }
            }
            prop_assert!(machine.snapshot().running <= 2 && machine.outstanding().len() <= 2);
        }
    }
}
