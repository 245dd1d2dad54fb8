//! What a builder is and what a job on it can see, looked at from the builder's machine while a job runs.

use crate::farm::{BUILDERS, CLIENT, Host, SCHEDULER, eventually, farm};

#[test]
fn builders_have_neither_compiler_nor_header() {
    let _farm = farm();
    for builder in BUILDERS {
        let names = "-name cc1 -o -name gcc -o -name 'gcc-[0-9]*' -o -name clang -o -name 'clang-[0-9]*' -o -name as -o -name stdio.h";
        let found =
            builder.run(&format!("find /bin /usr /opt -path /usr/share -prune -o -type f \\( {names} \\) -print")).ok();
        assert_eq!(found, "", "{builder:?}");
    }
}

#[test]
fn scheduler_and_builders_are_not_root() {
    let _farm = farm();
    for (host, unit) in [(SCHEDULER, "farcc-scheduler"), (BUILDERS[0], "farcc-builder"), (BUILDERS[1], "farcc-builder")]
    {
        let group = host.run(&format!("systemctl show -P ControlGroup {unit}.service")).ok();
        let uids = host.run(&format!(
            "for pid in $(find /sys/fs/cgroup/systemd{group} /sys/fs/cgroup{group} -name cgroup.procs -exec cat {{}} + 2>/dev/null | sort -u); \
             do sed -n 's/^Uid:\\t//p' /proc/$pid/status; done"
        ));
        let uids = uids.ok();
        assert!(!uids.is_empty(), "{host:?} runs nothing in {group}");
        assert!(uids.split_whitespace().all(|uid| uid != "0"), "{host:?}: {uids}");
    }
}

#[test]
fn a_job_has_no_network_no_host_files_and_leaves_nothing() {
    let _farm = farm();
    let before = BUILDERS.map(traces);
    // Enough functions to keep the compiler busy while it is looked at.
    let source: String = (0..4000)
        .map(|n| {
            format!("int f{n}(int *a) {{ for (int i = 1; i < {n}; i++) a[i] *= a[i - 1] + a[0]; return a[{n}]; }}\n")
        })
        .collect();
    CLIENT.write("long.c", &source);
    let mut compile = CLIENT.start_dev("cd && farcc gcc -O2 -c long.c");
    let (builder, pid) = eventually("the compiler runs on a builder", || {
        BUILDERS.into_iter().find_map(|builder| compiler_on(builder).map(|pid| (builder, pid)))
    });
    let devices = builder.run(&format!("tail -n +3 /proc/{pid}/net/dev | cut -d: -f1 | tr -d ' '")).ok();
    let root = builder
        .run(&format!("ls /proc/{pid}/root/etc/farcc /proc/{pid}/root/var/lib /proc/{pid}/root/home 2>&1"))
        .stdout;
    assert!(n_layers(builder) > 0, "what a job writes to has another name");
    let capabilities = builder.run(&format!("grep CapEff /proc/{pid}/status")).ok();
    let privileges = builder.run(&format!("grep NoNewPrivs /proc/{pid}/status")).ok();
    assert!(compile.wait().expect("started").success());
    assert_eq!(devices, "lo", "a job sees a network");
    assert!(!root.contains("builder.toml") && !root.contains("farcc-builder") && !root.contains("systemd"), "{root}");
    assert!(capabilities.ends_with("0000000000000000"), "{capabilities}");
    assert!(privileges.ends_with('1'), "{privileges}");
    for (builder, before) in BUILDERS.into_iter().zip(before) {
        eventually("all traces of the job are gone", || (traces(builder) == before).then_some(()));
    }
}

/// A running cc1, by its process id.
pub(crate) fn compiler_on(builder: Host) -> Option<String> {
    let found = builder
        .run("for comm in /proc/[0-9]*/comm; do [ \"$(cat $comm 2>/dev/null)\" != cc1 ] || echo $comm; done")
        .ok();
    found.lines().next()?.split('/').nth(2).map(str::to_owned)
}

/// What a job could leave: processes of the builder's user, mounts, and what it wrote. What is kept on purpose, inputs and
/// toolchains, is no trace of a job.
fn traces(builder: Host) -> String {
    builder
        .run(
            "for status in /proc/[0-9]*/status; do sed -n 's/^Name:\\t//p' $status 2>/dev/null; done | grep -c -E '^(bwrap|cc1|as|gcc)$'; \
             wc -l </proc/self/mounts; \
             find /var/cache/farcc-builder /var/lib/farcc-builder /tmp /var/tmp /run /dev/shm \\( -name 'long.o' -o -name 'cc*.s' \\) -print 2>/dev/null",
        )
        .stdout
        + &n_layers(builder).to_string()
}

/// Processes that see the file system which a job writes to.
fn n_layers(builder: Host) -> usize {
    let seeing = builder.run("grep -ls ' - tmpfs layers ' /proc/[0-9]*/mountinfo | wc -l").ok();
    seeing.trim().parse().expect("a number")
}
