//! Users without a service manager of their own, as jobs of cron and `sudo` are: the system's keeps a client daemon for each.

use crate::farm::{BUILDERS, CLIENT, Farm, Ran, SCHEDULER, eventually, farm};

/// Two people who have never logged in, and the administrator.
const USERS: [&str; 3] = ["baker", "miller", "root"];

#[test]
fn each_user_gets_a_daemon_of_the_systems_and_nobody_elses() {
    let farm = farm();
    let _kept = Kept::by_the_system(&farm);
    for user in USERS {
        if user != "root" {
            CLIENT.run(&format!("id {user} >/dev/null 2>&1 || useradd -m {user}")).ok();
        }
        let build = "cd && echo 'int kept;' >kept.c && gcc -c kept.c -o plain.o && farcc gcc -c kept.c -o kept.o && cmp plain.o kept.o && farccctl why kept.c";
        eventually("the unit is from a builder", || {
            let why = job_of(user, build).ok();
            BUILDERS.iter().any(|builder| why.contains(builder.0)).then_some(())
        });
    }
    let baker = uid("baker");
    let counted = |user: &str| job_of(user, "farccctl stats --json").json()["requests"].as_u64().expect("a number");
    let before = USERS.map(counted);
    job_of("baker", "cd && farcc gcc -c kept.c -o kept.o").ok();
    assert_eq!(USERS.map(counted), [before[0] + 1, before[1], before[2]], "each has counters of their own");
    for user in USERS {
        let uid = uid(user);
        let daemon = format!("/proc/$(systemctl show --value -p MainPID farcc-client@{uid}.service)");
        let daemon = CLIENT.run(&format!("stat -c %u {daemon} && cat {daemon}/comm")).ok();
        assert_eq!(daemon.lines().collect::<Vec<_>>(), [uid.as_str(), "farcc-clientd"], "{user}");
    }
    let others =
        format!("test ! -w /run/farcc/client/{baker}.sock && test -w /run/farcc/client/{}.sock", uid("miller"));
    job_of("miller", &others).ok();
    // Whoever has a daemon of their own is not sent to the system's.
    CLIENT.dev("cd && echo 'int own;' >own.c && farcc gcc -c own.c && farccctl why own.c").ok();
    let uid = CLIENT.dev("id -u").ok();
    assert!(!CLIENT.run(&format!("systemctl is-active farcc-client@{uid}.service")).is_ok());
}

/// A shell script as cron would run it: hardly an environment, and no session.
fn job_of(user: &str, script: &str) -> Ran {
    CLIENT.run(&format!(
        "setpriv --reuid {user} --regid {user} --init-groups env -i PATH=/usr/bin:/bin HOME=$(getent passwd {user} | cut -d: -f6) sh -euc '{}'",
        script.replace('\'', "'\\''")
    ))
}

fn uid(user: &str) -> String {
    CLIENT.run(&format!("id -u {user}")).ok()
}

/// For as long as this lives, the system keeps client daemons; and all users know the farm.
struct Kept<'a>(&'a Farm);

impl<'a> Kept<'a> {
    fn by_the_system(farm: &'a Farm) -> Self {
        let line = SCHEDULER.run("farccctl farm invite --client").ok();
        CLIENT.run(&format!("farccctl farm join --client --system '{line}'")).ok();
        CLIENT.run("systemctl enable --now farcc-clients.socket").ok();
        Self(farm)
    }
}

impl Drop for Kept<'_> {
    fn drop(&mut self) {
        CLIENT.run("systemctl disable --now farcc-clients.socket && systemctl stop 'farcc-client@*' && rm /etc/farcc/client.toml.d/farm.toml");
        if !std::thread::panicking() {
            self.0.wait_until_whole();
        }
    }
}
