//! A build of redis survives what happens to the farm in the middle of it, and the farm mends itself.
//!
//! Each fault strikes `FARCC_FAULT_ROUNDS` times, at random moments; every third round begins with builders that have no
//! toolchain, and strikes early, while it is on its way. A round fails the test when the build fails, an object differs, or
//! the farm is not whole afterwards. How much longer the builds took is printed, not judged: the machines share a few
//! processors with each other, and with whatever else runs below them. So builds without a fault are made in between, and each
//! round is compared with those before and after it.

use std::process::Child;
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use crate::farm::{BUILDERS, CLIENT, Farm, Host, SCHEDULER, eventually, farm};
use crate::isolation::compiler_on;
use crate::redis::{self, Part};

#[test]
fn client_daemon_is_killed() {
    strike_again_and_again("client daemon killed", |_| {
        CLIENT.dev("systemctl --user kill --kill-whom=main --signal=KILL farcc-client.service");
    });
}

#[test]
fn builder_is_killed() {
    strike_again_and_again("builder killed", |chance| kill(chance.builder()));
}

#[test]
fn scheduler_is_killed() {
    strike_again_and_again("scheduler killed", |_| {
        SCHEDULER.run("systemctl kill --kill-whom=main --signal=KILL farcc-scheduler.service");
    });
}

#[test]
fn builders_cable_is_pulled() {
    strike_again_and_again("cable pulled", |chance| {
        let builder = chance.builder();
        builder.pull_cable();
        std::thread::sleep(chance.below(Duration::from_secs(15)));
        builder.plug_cable();
    });
}

/// A line so slow that something can be done while a result of some megabytes is on it.
const SLOW: &str = "8mbit";

#[test]
fn builder_is_lost_while_a_result_streams() {
    let farm = farm();
    // Numbers that do not compress: an object of 4 MB.
    CLIENT
        .dev("cd && { echo 'unsigned a[] = {'; od -An -v -tu4 -w4 -N4000000 /dev/urandom | sed 's/$/u,/'; echo '};'; } >large.c && gcc -c large.c -o plain.o")
        .ok();
    for lose in [kill as fn(Host), Host::pull_cable] {
        let before = farm.stats();
        CLIENT.slow_down(SLOW);
        let mut compile = CLIENT.start_dev("cd && farcc gcc -c large.c -o large.o");
        let builder = eventually("a builder compiles", || BUILDERS.into_iter().find(|it| compiler_on(*it).is_some()));
        eventually("it has compiled", || compiler_on(builder).is_none().then_some(()));
        lose(builder);
        assert!(is_running(&mut compile), "the result was there already");
        CLIENT.plug_cable();
        assert!(compile.wait().expect("started").success());
        BUILDERS.into_iter().for_each(Host::plug_cable);
        CLIENT.dev("cd && cmp plain.o large.o").ok();
        farm.wait_until_whole();
        let after = farm.stats();
        assert_eq!(after.count("remote"), before.count("remote") + 1, "{after:?}");
    }
}

#[test]
fn builder_is_lost_while_a_toolchain_arrives() {
    let farm = farm();
    CLIENT.dev("cd && echo 'int x;' >small.c && gcc -c small.c -o plain.o").ok();
    for lose in [kill as fn(Host), Host::pull_cable] {
        forget_toolchains(&farm);
        BUILDERS.into_iter().for_each(|builder| builder.slow_down(SLOW));
        let received = |builder: Host| -> u64 {
            builder.run("cat /sys/class/net/eth0/statistics/rx_bytes").ok().parse().expect("a number")
        };
        let before = BUILDERS.map(received);
        let mut compile = CLIENT.start_dev("cd && farcc gcc -c small.c -o small.o");
        let builder = eventually("a toolchain is on its way", || {
            let grown = |(builder, before): &(Host, u64)| received(*builder) > before + 2_000_000;
            BUILDERS.into_iter().zip(before).find(grown).map(|(builder, _)| builder)
        });
        lose(builder);
        assert!(is_running(&mut compile), "the toolchain was there already");
        BUILDERS.into_iter().filter(|it| *it != builder).for_each(Host::plug_cable);
        assert!(compile.wait().expect("started").success());
        builder.plug_cable();
        CLIENT.dev("cd && cmp plain.o small.o").ok();
        farm.wait_until_whole();
    }
}

fn is_running(compile: &mut Child) -> bool {
    compile.try_wait().expect("started").is_none()
}

/// Part of a build's time within which faults strike: builds differ, and one that is over is no middle.
const MIDDLE: f64 = 0.85;

fn strike_again_and_again(fault: &str, strike: impl Fn(&mut Chance)) {
    let farm = farm();
    let rounds: u32 = variable("FARCC_FAULT_ROUNDS").unwrap_or(1);
    let mut chance = Chance::of_this_run(fault);
    let expected = redis::reference(Part::Server);
    let undisturbed = Undisturbed::of_this_run(&farm, rounds);
    let mut calm = Vec::new();
    let mut struck = Vec::new();
    for round in 0..rounds {
        if round % CALM_EVERY == 0 && rounds > CALM_EVERY {
            calm.push(redis::build(Part::Server, "farcc gcc", "").1);
            println!("{fault}: without a fault: took {:.1} s", calm[calm.len() - 1].as_secs_f64());
        }
        let cold = round % COLD_EVERY == COLD_EVERY - 1;
        let usual = if cold { undisturbed.cold } else { undisturbed.warm };
        let moment = chance.below(if cold { Duration::from_secs(4) } else { usual.mul_f64(MIDDLE) });
        if cold {
            forget_toolchains(&farm);
        }
        let build = redis::start(Part::Server, "farcc gcc", "");
        std::thread::sleep(moment);
        let struck_in_time = build.is_running();
        strike(&mut chance);
        let (objects, wall) = build.finish();
        redis::assert_same(expected, &objects);
        let started = Instant::now();
        farm.wait_until_whole();
        println!(
            "{fault}: round {round}{} at {:.1} s{}: took {:.1} s, whole {:.1} s after the build",
            if cold { ", cold" } else { "" },
            moment.as_secs_f64(),
            if struck_in_time { "" } else { " (after the build)" },
            wall.as_secs_f64(),
            started.elapsed().as_secs_f64(),
        );
        let extra = if cold { undisturbed.cold.as_secs_f64() - undisturbed.warm.as_secs_f64() } else { 0.0 };
        struck.push((wall.as_secs_f64() - extra, calm.len()));
    }
    calm.push(if calm.is_empty() { undisturbed.warm } else { redis::build(Part::Server, "farcc gcc", "").1 });
    let calm: Vec<f64> = calm.iter().map(Duration::as_secs_f64).collect();
    // Between the calm builds before and after it.
    let around = |n_before: usize| (calm[n_before.max(1) - 1] + calm[n_before.min(calm.len() - 1)]) / 2.0;
    let added = struck.iter().map(|(wall, n_before)| wall - around(*n_before)).collect();
    summarize(fault, &calm, added);
}

/// Rounds between two builds without a fault.
const CALM_EVERY: u32 = 4;

fn kill(builder: Host) {
    builder.run("systemctl kill --kill-whom=main --signal=KILL farcc-builder.service");
}

/// How long builds take when nothing happens.
#[derive(Clone, Copy, Debug)]
struct Undisturbed {
    warm: Duration,
    /// With the toolchain to bring to the builders.
    cold: Duration,
}

impl Undisturbed {
    /// Medians of a few builds, made once in a run.
    fn of_this_run(farm: &Farm, rounds: u32) -> Self {
        static KNOWN: OnceLock<Undisturbed> = OnceLock::new();
        let build = || redis::build(Part::Server, "farcc gcc", "").1;
        *KNOWN.get_or_init(|| {
            let (n_cold, n_warm) = if rounds > COLD_EVERY { (3, 5) } else { (1, 1) };
            let cold = (0..n_cold).map(|_| {
                forget_toolchains(farm);
                build()
            });
            let cold = median(cold.collect());
            Self { cold, warm: median((0..n_warm).map(|_| build()).collect()) }
        })
    }
}

/// Each third round begins cold.
const COLD_EVERY: u32 = 3;

/// As after a fresh installation.
fn forget_toolchains(farm: &Farm) {
    for builder in BUILDERS {
        let service = "farcc-builder.service";
        builder
            .run(&format!(
                "systemctl stop {service} && systemctl clean --what=cache {service} && systemctl start {service}"
            ))
            .ok();
    }
    farm.wait_until_whole();
}

fn summarize(fault: &str, calm: &[f64], mut added: Vec<f64>) {
    added.sort_by(f64::total_cmp);
    let [shortest, longest] = [f64::min, f64::max].map(|pick| calm.iter().copied().reduce(pick).unwrap_or_default());
    let at = |share: f64| added[((added.len() as f64 * share).ceil() as usize).clamp(1, added.len()) - 1];
    println!(
        "{fault}: {} rounds; builds without a fault took {shortest:.1} to {longest:.1} s; added {:+.1} s median, {:+.1} s p99, {:+.1} s at most",
        added.len(),
        at(0.5),
        at(0.99),
        at(1.0),
    );
}

fn median(mut times: Vec<Duration>) -> Duration {
    times.sort();
    times[times.len() / 2]
}

fn variable<T: std::str::FromStr>(name: &str) -> Option<T> {
    std::env::var(name).ok()?.parse().ok()
}

/// Random numbers that a seed repeats (splitmix64).
struct Chance(u64);

impl Chance {
    /// One seed for a run, printed; each fault draws from a sequence of its own, so that one can be replayed alone.
    fn of_this_run(fault: &str) -> Self {
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).expect("after 1970");
        let seed = variable("FARCC_SEED").unwrap_or(now.as_secs());
        println!("{fault}: FARCC_SEED={seed}");
        Self(fault.bytes().fold(seed, |state, byte| state.wrapping_mul(31).wrapping_add(u64::from(byte))))
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn below(&mut self, limit: Duration) -> Duration {
        limit.mul_f64(self.next() as f64 / u64::MAX as f64)
    }

    fn builder(&mut self) -> Host {
        BUILDERS[usize::try_from(self.next() % BUILDERS.len() as u64).expect("two")]
    }
}
