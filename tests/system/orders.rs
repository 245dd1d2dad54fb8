//! What administrators order, and who may.

use crate::farm::{BUILDERS, CLIENT, Host, SCHEDULER, eventually, farm};

/// May drain builders, by a rule of polkit's. Somebody else may not.
const OPERATOR: &str = "farmer";
const SOMEBODY: &str = "visitor";

#[test]
fn polkit_says_who_may_drain() {
    let farm = farm();
    let [drained, other] = BUILDERS;
    let rule = format!(
        "polkit.addRule(function(action, subject) {{ if (action.id == \"org.farcc.builder.drain\" && subject.user == \"{OPERATOR}\") return polkit.Result.YES; }});"
    );
    drained
        .run(&format!(
            "id {OPERATOR} >/dev/null 2>&1 || useradd {OPERATOR} && useradd {SOMEBODY} && mkdir -p /etc/polkit-1/rules.d && echo '{rule}' >/etc/polkit-1/rules.d/50-farm.rules"
        ))
        .ok();
    let as_user = |user: &str, command: &str| {
        drained.run(&format!("setpriv --reuid {user} --regid {user} --clear-groups {command}"))
    };
    let method =
        |method: &str| format!("busctl call org.farcc.Builder1 /org/farcc/Builder1 org.farcc.Builder1 {method}");
    // Everybody may look.
    as_user(SOMEBODY, "busctl get-property org.farcc.Builder1 /org/farcc/Builder1 org.farcc.Builder1 State").ok();
    let refused = as_user(SOMEBODY, &method("Drain"));
    assert!(!refused.is_ok() && refused.stderr.contains("org.farcc.builder.drain"), "{refused:?}");
    let refused = as_user(SOMEBODY, "farccctl drain");
    assert_eq!(refused.status, Some(77), "{refused:?}");
    // The rule is about one action.
    let refused = as_user(OPERATOR, &method("PurgeToolchains"));
    assert!(!refused.is_ok(), "{refused:?}");
    assert_eq!(drained.property("Builder1", "State"), "ready");

    as_user(OPERATOR, "farccctl drain").ok();
    assert_eq!(drained.property("Builder1", "State"), "draining");
    eventually("the scheduler knows", || (state(drained) == "draining").then_some(()));
    let before = farm.stats();
    compile();
    eventually("the other one has the unit", || {
        (farm.stats().builder(other) == before.builder(other) + 1).then_some(())
    });
    as_user(OPERATOR, &method("Resume")).ok();
    farm.wait_until_whole();
}

#[test]
fn scheduler_keeps_orders_over_restarts() {
    let farm = farm();
    let name = BUILDERS[1];
    let cursor = SCHEDULER.journal_cursor();
    SCHEDULER.run(&format!("farccctl drain {}", name.0)).ok();
    assert_eq!(state(name), "draining");
    SCHEDULER.run("systemctl restart farcc-scheduler.service").ok();
    name.run("systemctl restart farcc-builder.service").ok();
    eventually("it is drained still", || (state(name) == "draining").then_some(()));
    let explained = SCHEDULER.run(&format!("journalctl -x -q --after-cursor='{cursor}' -t farcc-schedulerd")).ok();
    assert!(explained.contains(&format!("Builder {} is under a new order: drained", name.0)), "{explained}");
    let path = format!("/org/farcc/Scheduler1/builders/{}", name.0);
    SCHEDULER.run(&format!("busctl call org.farcc.Scheduler1 {path} org.farcc.Scheduler1.Builder Resume")).ok();
    farm.wait_until_whole();

    SCHEDULER.run(&format!("farccctl quarantine {} --for 1h", name.0)).ok();
    assert_eq!(state(name), "quarantined");
    SCHEDULER.run(&format!("farccctl forget {}", name.0)).ok();
    farm.wait_until_whole();
    let unknown = SCHEDULER.run("farccctl drain nobody");
    assert_eq!(unknown.status, Some(1), "{unknown:?}");
}

#[test]
fn slots_change_while_a_builder_runs() {
    let farm = farm();
    let builder = BUILDERS[0];
    let before = builder.property("Builder1", "SlotsTotal");
    let total = SCHEDULER.property("Scheduler1", "SlotsTotal").as_u64().expect("a number");
    builder.run("farccctl slots 1").ok();
    let missing = before.as_u64().expect("a number") - 1;
    eventually("the scheduler knows", || {
        (SCHEDULER.property("Scheduler1", "SlotsTotal") == total - missing).then_some(())
    });
    let refused = builder.run("farccctl slots 100000");
    assert!(!refused.is_ok(), "{refused:?}");
    compile();
    // What is configured is back with a restart, or, here, with a reload that has something to apply.
    builder.run(&format!("farccctl slots {before}")).ok();
    eventually("all are back", || (SCHEDULER.property("Scheduler1", "SlotsTotal") == total).then_some(()));
    farm.wait_until_whole();
}

#[test]
fn a_reload_applies_what_it_can_and_names_the_rest() {
    let farm = farm();
    let builder = BUILDERS[0];
    let slots = builder.property("Builder1", "SlotsTotal");
    let cursor = builder.journal_cursor();
    let file = "/etc/farcc/builder.toml.d/60-test.toml";
    builder
        .run(&format!("printf 'slots = 1\\nname = \"elsewhere\"\\n' >{file} && systemctl reload farcc-builder.service"))
        .ok();
    eventually("the slots are fewer", || (builder.property("Builder1", "SlotsTotal") == 1).then_some(()));
    let records = builder.journal_since(&cursor, "-t farcc-builderd");
    let said =
        |word: &str| records.iter().any(|record| record["FARCC_REASON"].as_str().is_some_and(|it| it.contains(word)));
    assert!(said("name") && !said("slots"), "{records:#?}");
    // One that makes no sense changes nothing.
    let cursor = builder.journal_cursor();
    builder.run(&format!("echo 'slots = many' >{file}; systemctl reload farcc-builder.service || true")).ok();
    eventually("it says what is wrong", || {
        let records = builder.journal_since(&cursor, "-t farcc-builderd -p err");
        records
            .iter()
            .any(|record| record["FARCC_REASON"].as_str().is_some_and(|it| it.contains("60-test.toml:1")))
            .then_some(())
    });
    assert_eq!(builder.property("Builder1", "State"), "ready");
    assert_eq!(builder.property("Builder1", "Name"), builder.0);
    builder.run(&format!("echo 'slots = {slots}' >{file} && systemctl reload farcc-builder.service")).ok();
    eventually("the slots are back", || (builder.property("Builder1", "SlotsTotal") == slots).then_some(()));
    builder.run(&format!("rm {file} && systemctl reload farcc-builder.service")).ok();
    farm.wait_until_whole();
    compile();
}

#[test]
fn a_user_can_keep_everything_here() {
    let farm = farm();
    let before = farm.stats();
    CLIENT.dev("farccctl pause").ok();
    assert_eq!(CLIENT.dev("farccctl status --json").json()["paused"], true);
    compile();
    eventually("it is counted", || (farm.stats().reason("paused") == before.reason("paused") + 1).then_some(()));
    CLIENT.dev("farccctl resume").ok();
    compile();
    eventually("it is counted", || (farm.stats().count("remote") == before.count("remote") + 1).then_some(()));
}

/// In the scheduler's eyes; nothing while it is not connected.
fn state(builder: Host) -> String {
    let path = format!("/org/farcc/Scheduler1/builders/{}", builder.0);
    let asked = SCHEDULER.run(&format!(
        "busctl --json=short get-property org.farcc.Scheduler1 {path} org.farcc.Scheduler1.Builder State"
    ));
    let answer: Option<serde_json::Value> = serde_json::from_str(&asked.stdout).ok();
    answer.and_then(|answer| answer["data"].as_str().map(str::to_owned)).unwrap_or_default()
}

fn compile() {
    CLIENT.dev("cd && echo 'int x;' >ordered.c && farcc gcc -c ordered.c").ok();
}
