//! Who has no business here is turned away, with one record that says who and why, and no secret in it.

use crate::farm::{BUILDERS, CLIENT, Farm, Host, SCHEDULER, eventually, farm};

/// `PEER_REFUSED` of `os::systemd::messages`.
const PEER_REFUSED: &str = "MESSAGE_ID=dd910afcda234397bd548fbe116c13d4";
/// `SCHEDULER_REFUSED` there.
const SCHEDULER_REFUSED: &str = "MESSAGE_ID=5a68edce2a1b42f7898758d513908931";
const CLIENT_ADDRESS: &str = "10.213.0.4";

#[test]
fn plain_http_is_refused_on_each_port() {
    let _farm = farm();
    for (host, port) in [(SCHEDULER, 10600), (BUILDERS[0], 10501)] {
        expect_refusal(host, || say(host, port, "printf \"GET / HTTP/1.1\\r\\nHost: farm\\r\\n\\r\\n\""));
    }
}

#[test]
fn random_bytes_are_refused_on_each_port() {
    let _farm = farm();
    for (host, port) in [(SCHEDULER, 10600), (BUILDERS[0], 10501)] {
        expect_refusal(host, || say(host, port, "head -c 30000 /dev/urandom"));
    }
}

#[test]
fn random_bytes_on_the_local_socket_are_refused() {
    let farm = farm();
    let cursor = CLIENT.journal_cursor();
    let script = "perl -MIO::Socket::UNIX -e '$SIG{PIPE} = q(IGNORE); \
        my $socket = IO::Socket::UNIX->new(Peer => qq($ENV{XDG_RUNTIME_DIR}/farcc/client.sock)) or die; \
        open my $random, q(<), q(/dev/urandom); read $random, my $bytes, 30000; print $socket $bytes; \
        $socket->flush; 1 while <$socket>'";
    CLIENT.dev(&format!("timeout 20 {script}"));
    let records = eventually("the client daemon says so", || {
        let records = CLIENT.journal_since(&cursor, PEER_REFUSED);
        (!records.is_empty()).then_some(records)
    });
    assert_eq!(records.len(), 1, "{records:#?}");
    farm.wait_until_whole();
}

#[test]
fn client_with_a_wrong_token_is_refused() {
    let _farm = farm();
    let stranger = Stranger::with("type = \"token\"\ntoken = \"not-the-secret-of-this-farm\"");
    stranger.is_refused("not-the-secret-of-this-farm");
}

#[test]
fn client_without_a_token_is_refused_or_does_not_ask() {
    let _farm = farm();
    let stranger = Stranger::with("");
    assert!(stranger.compile().is_ok(), "the build goes on locally");
    let said = CLIENT.run("farccctl --version; journalctl -q -b _UID=$(id -u stranger) -t farcc-clientd -o cat").ok();
    assert!(said.contains("token"), "nobody is told what is missing: {said}");
    assert_eq!(SCHEDULER.property("Scheduler1", "ClientCount"), 1);
}

/// Connects from the client's machine and says something, then waits until the other side has had enough.
fn say(host: Host, port: u16, what: &str) {
    CLIENT.run(&format!(
        "timeout 20 bash -c 'exec 3<>/dev/tcp/{}/{port}; {{ {what}; }} >&3; cat <&3 >/dev/null'",
        host.0
    ));
}

#[track_caller]
fn expect_refusal(host: Host, attempt: impl Fn()) {
    let cursor = host.journal_cursor();
    attempt();
    let records = eventually("a refusal is recorded", || {
        let records = host.journal_since(&cursor, PEER_REFUSED);
        (!records.is_empty()).then_some(records)
    });
    assert_eq!(records.len(), 1, "one line is enough: {records:#?}");
    let record = records[0].to_string();
    assert!(record.contains(CLIENT_ADDRESS), "does not name the peer: {record}");
    assert!(!records[0]["FARCC_REASON"].is_null(), "does not name the cause: {record}");
    assert_no_secrets(host, &record);
}

#[track_caller]
fn assert_no_secrets(host: Host, record: &str) {
    let tokens = host
        .run("cat /etc/farcc/*.toml /var/lib/farcc-*/*token* 2>/dev/null | grep -o '[A-Za-z0-9_-]\\{20,\\}' || true")
        .ok();
    for token in tokens.lines() {
        assert!(!record.contains(token), "a secret in the journal: {record}");
    }
}

/// Another user on the client's machine, whose configuration is wrong.
struct Stranger;

impl Stranger {
    fn with(auth: &str) -> Self {
        CLIENT.run("useradd --create-home stranger && loginctl enable-linger stranger").ok();
        eventually("the stranger's manager runs", || {
            CLIENT
                .user("stranger", "systemctl --user is-system-running --wait")
                .stdout
                .contains("running")
                .then_some(())
        });
        let config = format!("scheduler_url = \"https://scheduler\"\n[dist.auth]\n{auth}\n");
        CLIENT
            .user(
                "stranger",
                &format!(
                    "mkdir -p ~/.config/farcc && printf '%s' '{config}' >~/.config/farcc/config.toml &&
                    systemctl --user enable --now farcc-client.socket"
                ),
            )
            .ok();
        Self
    }

    fn compile(&self) -> crate::farm::Ran {
        CLIENT.user("stranger", "cd && echo 'int x;' >x.c && farcc gcc -c x.c")
    }

    #[track_caller]
    fn is_refused(&self, secret: &str) {
        let cursors = (SCHEDULER.journal_cursor(), CLIENT.journal_cursor());
        assert!(self.compile().is_ok(), "the build goes on locally");
        let seen_by_scheduler = eventually("the scheduler records the refusal", || {
            let records = SCHEDULER.journal_since(&cursors.0, PEER_REFUSED);
            (!records.is_empty()).then_some(records)
        });
        let seen_by_client = eventually("the client records the refusal", || {
            let records = CLIENT.journal_since(&cursors.1, SCHEDULER_REFUSED);
            (!records.is_empty()).then_some(records)
        });
        let said = format!("{seen_by_scheduler:?}");
        assert!(said.contains(CLIENT_ADDRESS), "{said}");
        for record in [said, format!("{seen_by_client:?}")] {
            assert!(!record.contains(secret), "the wrong secret is somebody's right one: {record}");
            assert_no_secrets(SCHEDULER, &record);
        }
        assert_eq!(SCHEDULER.property("Scheduler1", "ClientCount"), 1);
    }
}

impl Drop for Stranger {
    fn drop(&mut self) {
        CLIENT.run(
            "loginctl disable-linger stranger; loginctl terminate-user stranger; userdel --force --remove stranger",
        );
    }
}

#[test]
fn builder_with_a_wrong_token_is_refused_and_says_so() {
    let farm = farm();
    let builder = BUILDERS[1];
    let cursors = (SCHEDULER.journal_cursor(), builder.journal_cursor());
    let secret = "not-the-secret-of-this-farm";
    let file = "/etc/farcc/builder.toml.d/zz-wrong.toml";
    builder
        .run(&format!(
            "mkdir -p /etc/farcc/builder.toml.d && printf '[scheduler_auth]\\ntype = \"token\"\\ntoken = \"{secret}\"\\n' >{file} &&
            systemctl restart farcc-builder.service"
        ))
        .ok();
    let at_scheduler = eventually("the scheduler records the refusal", || first(SCHEDULER, &cursors.0, PEER_REFUSED));
    let at_builder = eventually("the builder records the refusal", || first(builder, &cursors.1, SCHEDULER_REFUSED));
    let says_so = || builder.property("Builder1", "SchedulerConnection").to_string().contains("refused").then_some(());
    eventually("the bus shows the refusal", says_so);
    mend(&farm, builder, file);
    assert!(at_scheduler.contains("10.213.0.3"), "{at_scheduler}");
    assert!(!at_scheduler.contains(secret) && !at_builder.contains(secret), "{at_scheduler}\n{at_builder}");
}

fn first(host: Host, cursor: &str, matches: &str) -> Option<String> {
    host.journal_since(cursor, matches).first().map(ToString::to_string)
}

fn mend(farm: &Farm, builder: Host, file: &str) {
    builder.run(&format!("rm {file} && systemctl restart farcc-builder.service")).ok();
    farm.wait_until_whole();
}
