//! The machines of all three daemons in one deterministic world.
//!
//! `SIM_SEED=…` replays one seed, `SIM_SEEDS=…` tries that many; a failing test prints its seed and the last events.

mod chance;
mod events;
mod world;

use std::time::Duration;

use farcc::engine::scheduler::Order;
use farcc::model::reason::Reason;

use crate::chance::seeds;
use crate::world::{Build, Faults, Node, Verdict, World};

fn seconds(n: u64) -> Duration {
    Duration::from_secs(n)
}

fn is_remote(_: usize, verdict: &Verdict) -> bool {
    matches!(verdict, Verdict::Remote(_))
}

#[track_caller]
fn finish(world: &mut World, within: Duration) {
    assert!(world.run_until(within, World::is_done), "units are left after {within:?}");
}

#[track_caller]
fn become_whole(world: &mut World, within: Duration) {
    assert!(world.run_until(within, World::is_whole), "the farm is not whole after {within:?}");
}

/// One thing goes wrong somewhere.
fn disturb(world: &mut World) {
    let nodes = world.nodes();
    let node = nodes[world.chance.below(nodes.len())];
    let back = world.chance.millis(50, 6000);
    match world.chance.below(12) {
        0..=2 => world.kill(node, back),
        3 => world.unplug(node, back),
        4 => world.cut(node),
        5 => world.mute(node),
        6 => world.drain(node, true),
        7 => world.drain(node, false),
        8 => world.order(node, Order::Drain),
        9 => world.order(node, Order::Resume),
        10 => world.order(node, Order::Quarantine(back)),
        _ => {
            let slots = 1 + world.chance.below(4) as u32;
            world.resize(node, slots);
        }
    }
}

#[test]
fn every_unit_gets_one_verdict_and_the_farm_is_whole_again() {
    for seed in seeds(150) {
        let mut world = World::new(seed);
        world.faults = Faults { job: 20, slow: 10, abandon: 30, sick: None };
        for slots in [4, 2, 3] {
            world.builder(slots, "x86_64");
        }
        for (local_slots, parallel) in [(0, 8), (2, 4), (0, 12)] {
            world.client(local_slots, Build::new(60, parallel).with_toolchains(2));
        }
        for _ in 0..12 {
            let pause = world.chance.millis(0, 2500);
            world.run_for(pause);
            disturb(&mut world);
        }
        world.heal();
        finish(&mut world, seconds(600));
        assert_eq!(world.verdicts.len(), 180);
        become_whole(&mut world, seconds(600));

        // And it works as if nothing had been.
        let before = world.count(is_remote);
        for client in [0, 2] {
            world.build(client, Build::new(20, 8));
        }
        finish(&mut world, seconds(60));
        assert_eq!(world.count(is_remote) - before, 40);
    }
}

#[test]
fn a_full_farm_queues_and_nothing_goes_local() {
    for seed in seeds(40) {
        let mut world = World::new(seed);
        world.faults.abandon = 20;
        world.faults.slow = 20;
        for slots in [3, 1, 2] {
            world.builder(slots, "x86_64");
        }
        for client in 0..5 {
            world.client(0, Build::new(40, 4 + 8 * client).with_toolchains(1 + client as u8 % 3));
        }
        finish(&mut world, seconds(600));
        assert_eq!(world.count(|_, verdict| matches!(verdict, Verdict::Local(_))), 0);
        for builder in 0..3 {
            assert!(world.count(|_, verdict| *verdict == Verdict::Remote(builder)) > 0, "builder {builder} was idle");
        }
        become_whole(&mut world, seconds(10));
    }
}

#[test]
fn local_slots_are_used_when_the_farm_is_full_and_never_as_a_fallback() {
    for seed in seeds(10) {
        let mut world = World::new(seed);
        world.builder(2, "x86_64");
        let client = world.client(2, Build::new(60, 8));
        finish(&mut world, seconds(120));
        let chosen = world.count(|_, verdict| *verdict == Verdict::Local(Reason::LocalSlot.into()));
        assert!(chosen > 0 && world.remote(client) > 0);
        assert_eq!(chosen + world.remote(client), 60);
    }
}

#[test]
fn two_clients_get_half_each() {
    for seed in seeds(20) {
        let mut world = World::new(seed);
        for slots in [4, 3] {
            world.builder(slots, "x86_64");
        }
        // The first has the farm to itself for a while, with jobs that take long.
        let first = world.client(0, Build::new(10_000, 16).jobs_take(500, 1500));
        world.run_for(seconds(20));
        let second = world.client(0, Build::new(10_000, 16).jobs_take(500, 1500));
        world.run_for(seconds(3));
        let before = (world.remote(first), world.remote(second));
        world.run_for(seconds(60));
        let (a, b) = (world.remote(first) - before.0, world.remote(second) - before.1);
        let share = b as f64 / (a + b) as f64;
        assert!((0.4..0.6).contains(&share), "{a} against {b}");
    }
}

#[test]
fn where_clients_outnumber_slots_they_take_turns() {
    for seed in seeds(10) {
        let mut world = World::new(seed);
        world.builder(2, "x86_64");
        for _ in 0..5 {
            world.client(0, Build::new(10_000, 4).jobs_take(100, 300));
        }
        world.run_for(seconds(120));
        let counts: Vec<usize> = (0..5).map(|client| world.remote(client)).collect();
        let (least, most) = (counts.iter().min(), counts.iter().max());
        assert!(least.zip(most).is_some_and(|(least, most)| most < &(2 * least)), "{counts:?}");
    }
}

#[test]
fn a_client_with_two_compilers_is_one_client() {
    for seed in seeds(10) {
        let mut world = World::new(seed);
        world.builder(6, "x86_64");
        let two = world.client(0, Build::new(10_000, 16).jobs_take(500, 1500).with_toolchains(2));
        let one = world.client(0, Build::new(10_000, 16).jobs_take(500, 1500));
        world.run_for(seconds(90));
        let share = world.remote(one) as f64 / (world.remote(one) + world.remote(two)) as f64;
        assert!((0.4..0.6).contains(&share), "{share}");
    }
}

#[test]
fn a_killed_scheduler_costs_little_and_nothing_goes_local() {
    for seed in seeds(30) {
        let mut world = World::new(seed);
        for slots in [4, 4] {
            world.builder(slots, "x86_64");
        }
        world.client(0, Build::new(200, 8));
        world.client(0, Build::new(200, 8));
        for _ in 0..3 {
            let pause = world.chance.millis(0, 6000);
            world.run_for(pause);
            let back = world.chance.millis(50, 800);
            world.kill(Node::Scheduler, back);
        }
        finish(&mut world, seconds(60));
        assert_eq!(world.count(is_remote), 400);
        become_whole(&mut world, seconds(30));
    }
}

#[test]
fn a_lost_builder_leaves_its_units_to_the_other() {
    for seed in seeds(30) {
        let mut world = World::new(seed);
        let doomed = world.builder(4, "x86_64");
        world.builder(4, "x86_64");
        world.client(0, Build::new(150, 8));
        let pause = world.chance.millis(200, 6000);
        world.run_for(pause);
        if seed % 2 == 0 {
            world.kill(doomed, seconds(1))
        } else {
            world.unplug(doomed, seconds(8))
        }
        finish(&mut world, seconds(60));
        assert_eq!(world.count(is_remote), 150);
        become_whole(&mut world, seconds(30));
    }
}

#[test]
fn a_builder_whose_link_breaks_goes_on_with_its_jobs() {
    for seed in seeds(20) {
        let mut world = World::new(seed);
        let builder = world.builder(4, "x86_64");
        let client = world.client(0, Build::new(4, 4).jobs_take(10_000, 20_000));
        world.run_for(seconds(3));
        if seed % 2 == 0 {
            world.cut(builder)
        } else {
            world.mute(builder)
        }
        finish(&mut world, seconds(60));
        assert_eq!((world.remote(client), world.n_attempts()), (4, 4));
        become_whole(&mut world, seconds(30));
    }
}

#[test]
fn a_lost_client_leaves_its_slots_to_others_within_seconds() {
    for seed in seeds(20) {
        let mut world = World::new(seed);
        world.builder(4, "x86_64");
        let doomed = world.client(0, Build::new(10_000, 8).jobs_take(10_000, 20_000));
        world.run_for(seconds(3));
        if seed % 2 == 0 {
            world.kill(Node::Client(doomed), seconds(500));
        } else {
            world.unplug(Node::Client(doomed), seconds(500));
        }
        let other = world.client(0, Build::new(20, 4));
        assert!(world.run_until(seconds(20), |world| world.is_done_for(other)));
        assert_eq!(world.remote(other), 20);
    }
}

#[test]
fn a_farm_of_another_architecture_is_hopeless_until_a_builder_comes() {
    let mut world = World::new(7);
    world.builder(4, "aarch64");
    let client = world.client(0, Build::new(20, 4));
    finish(&mut world, seconds(60));
    let no_builder = |_: usize, verdict: &Verdict| *verdict == Verdict::Local(Reason::NoBuilder.into());
    assert_eq!(world.count(no_builder), 20);
    world.builder(4, "x86_64");
    world.run_for(seconds(1));
    world.build(client, Build::new(20, 4));
    finish(&mut world, seconds(60));
    assert_eq!(world.remote(client), 20);
}

#[test]
fn a_scheduler_that_stays_away_sends_units_home() {
    let mut world = World::new(7);
    world.builder(4, "x86_64");
    let client = world.client(0, Build::new(400, 8));
    world.run_for(seconds(5));
    world.kill(Node::Scheduler, seconds(10_000));
    finish(&mut world, seconds(300));
    let no_scheduler = |_: usize, verdict: &Verdict| *verdict == Verdict::Local(Reason::NoScheduler.into());
    // Its leases serve until they expire; then the rest is compiled here.
    assert_eq!(world.count(no_scheduler) + world.remote(client), 400);
    assert!(world.count(no_scheduler) > 0 && world.remote(client) > 100);
}

/// In the midst of a build on two builders, the larger of which something will happen to.
fn build_on_two(seed: u64) -> (World, Node) {
    let mut world = World::new(seed);
    let larger = world.builder(4, "x86_64");
    world.builder(2, "x86_64");
    world.client(0, Build::new(100, 8));
    world.run_for(seconds(2));
    (world, larger)
}

fn states(world: &World) -> Vec<String> {
    world.farm().builders.into_iter().map(|builder| builder.state).collect()
}

#[test]
fn a_draining_builder_finishes_what_it_has() {
    for seed in seeds(10) {
        let (mut world, drained) = build_on_two(seed);
        world.drain(drained, true);
        finish(&mut world, seconds(120));
        assert_eq!(world.count(is_remote), 100);
        assert!(states(&world).contains(&"draining".to_owned()), "{:?}", states(&world));
    }
}

/// An order outlives whatever the builder and the scheduler go through.
#[test]
fn a_builder_drained_by_order_stays_so() {
    for seed in seeds(10) {
        let (mut world, drained) = build_on_two(seed);
        world.order(drained, Order::Drain);
        let back = world.chance.millis(50, 1000);
        world.kill(drained, back);
        world.kill(Node::Scheduler, back);
        finish(&mut world, seconds(120));
        assert!(states(&world).contains(&"draining".to_owned()), "{:?}", states(&world));
    }
}

#[test]
fn a_builder_with_fewer_slots_than_before_is_not_overrun() {
    for seed in seeds(10) {
        let (mut world, shrunk) = build_on_two(seed);
        world.resize(shrunk, 1);
        finish(&mut world, seconds(120));
        assert_eq!(world.count(is_remote), 100);
        world.resize(shrunk, 4);
        become_whole(&mut world, seconds(30));
        assert_eq!(world.farm().builders.iter().map(|builder| builder.slots).sum::<u32>(), 6);
    }
}

#[test]
fn a_farm_that_is_drained_altogether_sends_units_home() {
    for seed in seeds(10) {
        let mut world = World::new(seed);
        let builders = [world.builder(4, "x86_64"), world.builder(2, "x86_64")];
        let client = world.client(0, Build::new(60, 8));
        let pause = world.chance.millis(0, 3000);
        world.run_for(pause);
        for builder in builders {
            world.drain(builder, true);
        }
        finish(&mut world, seconds(120));
        let home = world.count(|_, verdict| *verdict == Verdict::Local(Reason::NoBuilder.into()));
        assert_eq!(home + world.remote(client), 60);
        assert!(home > 0);
        world.heal();
        world.run_for(seconds(1));
        world.build(client, Build::new(20, 4));
        let before = world.remote(client);
        finish(&mut world, seconds(60));
        assert_eq!(world.remote(client) - before, 20);
    }
}

#[test]
fn a_builder_that_breaks_jobs_is_left_alone() {
    let mut world = World::new(3);
    world.builder(2, "x86_64");
    world.faults.job = 1000;
    let client = world.client(0, Build::new(1, 1));
    finish(&mut world, seconds(60));
    assert_eq!(world.count(|_, verdict| *verdict == Verdict::Local(Reason::BuilderFault.into())), 1);
    assert!(world.farm().builders.iter().any(|builder| builder.state == "quarantined"));
    world.heal();
    world.build(client, Build::new(10, 4));
    finish(&mut world, seconds(60));
    assert_eq!(world.remote(client), 10);
}

#[test]
fn one_clients_broken_jobs_cost_the_others_nothing() {
    for seed in seeds(10) {
        let mut world = World::new(seed);
        world.builder(2, "x86_64");
        world.builder(2, "x86_64");
        world.faults.sick = Some(0);
        let sick = world.client(0, Build::new(10_000, 8));
        let well = world.client(0, Build::new(10_000, 8));
        world.run_for(seconds(60));
        // Four slots, 410 ms a job: almost 600 if it had been alone.
        assert!(world.remote(well) > 450, "{}", world.remote(well));
        assert_eq!(world.remote(sick), 0);
        assert!(world.farm().builders.iter().all(|builder| builder.state != "quarantined"));
    }
}

#[test]
fn the_same_seed_is_the_same_world() {
    let run = || {
        let mut world = World::new(42);
        world.builder(4, "x86_64");
        world.client(1, Build::new(50, 8));
        finish(&mut world, seconds(60));
        (world.now, world.verdicts.clone())
    };
    assert_eq!(run(), run());
}
