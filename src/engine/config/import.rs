//! Makes a configuration file of ours of one that users of sccache bring along.
//!
//! Such a file loads as it is; to live among ours it has to become one: without the keys that say nothing here, and with the
//! address said that its author meant to listen on. sccache's daemons open their own sockets, so that a `public_addr` on loopback
//! keeps strangers out. Ours are handed a socket by systemd, which has to be told the same.

use std::collections::BTreeMap;

use toml::Value as Toml;

use crate::engine::config::address::{BUILDER_PORT, HostPort, SCHEDULER_PORT};
use crate::engine::config::auth;
use crate::engine::config::builder::BuilderConfig;
use crate::engine::config::client::ClientConfig;
use crate::engine::config::document::{Document, Entry, Place, Value};
use crate::engine::config::error::{Advice, ConfigError, Warning};
use crate::engine::config::facts::Facts;
use crate::engine::config::part::Part;
use crate::engine::config::reader::Checked;
use crate::engine::config::scheduler::SchedulerConfig;

/// What a file comes to.
#[derive(Clone, Debug)]
pub struct Import {
    /// A file of ours. It may hold a token.
    pub text: String,
    /// What was left out, and what does not do what its author may think.
    pub warnings: Vec<Warning>,
    /// Where the file has its daemon listen, if that is elsewhere than its socket unit does.
    pub listen: Option<HostPort>,
}

/// Keys and sections that one part has and no other.
const TELLTALES: &[(Part, &[&str])] = &[
    (Part::Client, &["dist", "cache", "server_startup_timeout_ms", "local_slots"]),
    (Part::Scheduler, &["client_auth", "server_auth"]),
    (Part::Builder, &["scheduler_auth", "builder", "bind_address"]),
];

/// Whose a document is. None where it could be of several, or of nobody.
pub fn recognise(document: &Document) -> Option<Part> {
    let is_of = |(_, names): &&(Part, &[&str])| {
        document.entries.keys().any(|key| names.contains(&key.split('.').next().unwrap_or(key)))
    };
    let mut parts = TELLTALES.iter().filter(is_of).map(|(part, _)| *part);
    parts.next().filter(|_| parts.next().is_none())
}

/// Makes of one file, which is `part`'s, one of ours.
///
/// # Errors
/// The first value that makes no sense, or a builder's token of a kind that there is not: without one it has no scheduler.
pub fn convert(part: Part, mut document: Document, facts: &Facts) -> Result<Import, ConfigError> {
    let mut warnings = match part {
        Part::Client => leave_out_auth(&mut document, &["dist.auth"]),
        Part::Scheduler => leave_out_auth(&mut document, &["client_auth", "server_auth"]),
        Part::Builder => leave_out_directories(&mut document),
    };
    if part == Part::Builder {
        keep_to_loopback(&mut document);
    }
    let (noticed, listen) = check(part, &document, facts)?;
    let says_nothing =
        |key: &str, at: &Place| noticed.iter().any(|warning| dropped_key(warning) == Some(key) && warning.at == *at);
    document.entries.retain(|key, entry| !says_nothing(key, &entry.at));
    warnings.extend(noticed);
    warnings.sort_by_key(|warning| warning.at.position);
    Ok(Import { text: write(&document), warnings, listen })
}

/// Reads the document as its daemon would: what is odd about it, and where it has that daemon listen.
fn check(part: Part, document: &Document, facts: &Facts) -> Result<(Vec<Warning>, Option<HostPort>), ConfigError> {
    let document = document.clone();
    Ok(match part {
        Part::Client => (ClientConfig::check(document, facts)?.warnings, None),
        Part::Scheduler => {
            let Checked { config, warnings } = SchedulerConfig::check(document, facts)?;
            (warnings, unless_usual(config.public_addr, SCHEDULER_PORT))
        }
        Part::Builder => {
            let Checked { config, warnings } = BuilderConfig::check(document, facts)?;
            (warnings, unless_usual(config.bind_address, BUILDER_PORT))
        }
    })
}

/// The socket units listen on every address.
fn unless_usual(address: HostPort, usual_port: u16) -> Option<HostPort> {
    (!address.is_wildcard() || address.port != usual_port).then_some(address)
}

/// Takes out sections that ask for a kind of authentication that there is not. A scheduler makes tokens of its own then, and a
/// client joins with an invitation.
fn leave_out_auth(document: &mut Document, sections: &[&'static str]) -> Vec<Warning> {
    let mut warnings = Vec::new();
    for section in sections {
        let kind = document.entries.get(&format!("{section}.type"));
        let Some(Entry { value: Value::Text(kind), at, .. }) = kind else { continue };
        if auth::is_other_kind(kind) {
            let advice = Advice::AuthLeftOut { section, kind: kind.clone() };
            warnings.push(Warning { at: at.clone(), advice });
            let inside = format!("{section}.");
            document.entries.retain(|key, _| !key.starts_with(&inside));
        }
    }
    warnings
}

/// The service keeps its caches where systemd has made room for them, and may write nowhere else.
fn leave_out_directories(document: &mut Document) -> Vec<Warning> {
    const WHY: &str = "the service keeps its caches in the directory that its unit names in CacheDirectory=";
    let keys = ["cache_dir", "builder.build_dir"];
    let removed = keys.iter().filter_map(|key| document.entries.remove_entry(*key));
    removed.map(|(key, Entry { at, .. })| Warning { at, advice: Advice::NoMeaning { key, why: WHY } }).collect()
}

/// A builder that clients reach over loopback alone listens there alone, as sccache's does.
fn keep_to_loopback(document: &mut Document) {
    let Some(public) = document.entries.get("public_addr") else { return };
    let Value::Text(text) = &public.value else { return };
    let is_loopback = HostPort::parse(text, BUILDER_PORT).is_ok_and(|address| address.is_loopback());
    if is_loopback && !document.entries.contains_key("bind_address") {
        let public = public.clone();
        document.entries.insert("bind_address".to_owned(), public);
    }
}

fn dropped_key(warning: &Warning) -> Option<&str> {
    match &warning.advice {
        Advice::UnknownKey { key, .. } | Advice::NoMeaning { key, .. } => Some(key),
        Advice::AuthLeftOut { .. } | Advice::ShortToken | Advice::PlainHttp | Advice::NoToken => None,
    }
}

/// TOML: single values first, then a section for each prefix, then lists of tables.
fn write(document: &Document) -> String {
    let mut sections: BTreeMap<&str, String> = BTreeMap::new();
    let mut tables = String::new();
    for (key, entry) in &document.entries {
        let (section, name) = key.rsplit_once('.').unwrap_or(("", key));
        match (&entry.value, scalar(key, &entry.value)) {
            (Value::List(items), _) => tables.extend(items.iter().map(|item| table(key, item))),
            (_, Some(value)) => sections.entry(section).or_default().push_str(&format!("{name} = {value}\n")),
            (_, None) => {}
        }
    }
    let mut text = sections.remove("").unwrap_or_default();
    for (section, lines) in sections {
        text.push_str(&format!("\n[{section}]\n{lines}"));
    }
    text + &tables
}

fn table(name: &str, item: &Entry) -> String {
    let Value::Table(document) = &item.value else { return String::new() };
    let lines = document.entries.iter().filter_map(|(key, entry)| Some((key, scalar(key, &entry.value)?)));
    lines.fold(format!("\n[[{name}]]\n"), |text, (key, value)| format!("{text}{key} = {value}\n"))
}

/// None for what is no single value. Every connection is encrypted, so the scheme says so.
fn scalar(key: &str, value: &Value) -> Option<Toml> {
    match value {
        Value::Text(text) if key.ends_with("scheduler_url") => match text.strip_prefix("http://") {
            Some(rest) => Some(Toml::String(format!("https://{rest}"))),
            None => Some(Toml::String(text.clone())),
        },
        Value::Text(text) => Some(Toml::String(text.clone())),
        Value::Number(number) => Some(Toml::Integer(*number)),
        Value::Flag(flag) => Some(Toml::Boolean(*flag)),
        Value::List(_) | Value::Table(_) | Value::EmptyTable | Value::Other(_) => None,
    }
}

/// A drop-in of a socket unit that makes it listen on `address` and nowhere else. systemd resolves no names: for one, it is every
/// address.
pub fn socket_drop_in(address: &HostPort) -> String {
    let (stream, free_bind) = match address.ip() {
        // An address that a network brings along later must not keep the machine from starting.
        Some(ip) if !address.is_wildcard() => (
            HostPort::new(ip.to_string(), address.port).to_string(),
            if ip.is_loopback() { "" } else { "FreeBind=yes\n" },
        ),
        _ => (address.port.to_string(), ""),
    };
    format!("[Socket]\nListenStream=\nListenStream={stream}\n{free_bind}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::config::parse;

    #[track_caller]
    fn imported(text: &str) -> Import {
        let document = parse("f", text).unwrap();
        let part = recognise(&document).unwrap();
        let import = convert(part, document, &Facts::default()).unwrap();
        let again = check(part, &parse("ours", &import.text).unwrap(), &Facts::default()).unwrap();
        let odd: Vec<_> = again.0.iter().filter(|warning| dropped_key(warning).is_some()).collect();
        assert!(odd.is_empty(), "{odd:?}");
        import
    }

    fn warnings(import: &Import) -> Vec<String> {
        import.warnings.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn a_file_tells_whose_it_is() {
        let part = |text: &str| recognise(&parse("f", text).unwrap());
        assert_eq!(part("[dist]\nscheduler_url = \"x\""), Some(Part::Client));
        assert_eq!(part("[cache.disk]\nsize = 1"), Some(Part::Client));
        assert_eq!(part("client_auth = { type = \"token\", token = \"x\" }"), Some(Part::Scheduler));
        assert_eq!(part("[builder]\ntype = \"overlay\""), Some(Part::Builder));
        assert_eq!(part("public_addr = \"x\"\nscheduler_url = \"y\""), None);
        assert_eq!(part("[builder]\n[dist]"), None);
        assert_eq!(part(""), None);
    }

    #[test]
    fn what_says_nothing_here_is_left_out_and_named() {
        let import = imported(
            "[dist]\nscheduler_url = \"http://farm\"\ntoolchains = []\nrewrite_includes_only = true\nnonsense = 1\n\
             [dist.auth]\ntype = \"token\"\ntoken = \"a token of \\\"some\\\" length\"\n",
        );
        assert_eq!(
            import.text,
            "\n[dist]\nscheduler_url = \"https://farm\"\n\n[dist.auth]\ntoken = 'a token of \"some\" length'\ntype = \"token\"\n"
        );
        let warnings = warnings(&import);
        assert!(warnings.iter().any(|line| line.starts_with("f:4:1: `dist.rewrite_includes_only` has no effect")));
        assert!(warnings.iter().any(|line| line.starts_with("f:5:1: unknown key `dist.nonsense`")), "{warnings:?}");
    }

    #[test]
    fn rules_for_toolchains_come_along() {
        let rule = "\n[[dist.toolchains]]\ncompiler_executable = \"/opt/cc\"\ntype = \"no_dist\"\n";
        assert_eq!(imported(rule).text, rule);
    }

    #[test]
    fn other_authentication_is_left_out_but_for_builders() {
        let scheduler = imported(
            "client_auth.type = \"mozilla\"\nclient_auth.required_groups = [\"g\"]\n[server_auth]\ntype = \"DANGEROUSLY_INSECURE\"",
        );
        assert_eq!(scheduler.text, "");
        assert_eq!(warnings(&scheduler).len(), 2);
        assert!(warnings(&scheduler)[0].contains("\"mozilla\" is not supported, so [client_auth] is left out"));
        let builder =
            parse("f", "scheduler_url = \"farm\"\n[scheduler_auth]\ntype = \"jwt_token\"\ntoken = \"ey\"").unwrap();
        let refused = convert(Part::Builder, builder, &Facts::default()).unwrap_err().to_string();
        assert!(refused.starts_with("f:3:1: authentication of type \"jwt_token\" is not supported"), "{refused}");
    }

    const AUTH: &str =
        "scheduler_url = \"farm\"\n[scheduler_auth]\ntype = \"token\"\ntoken = \"a-token-of-some-length\"\n";

    #[test]
    fn a_builder_on_loopback_stays_there() {
        let import = imported(&format!("public_addr = \"127.0.0.1:10501\"\n{AUTH}"));
        assert!(import.text.contains("bind_address = \"127.0.0.1:10501\"\n"), "{}", import.text);
        assert_eq!(import.listen, Some(HostPort::new("127.0.0.1", 10501)));
        let said = imported(&format!("public_addr = \"127.0.0.1:9\"\nbind_address = \"[::]:10501\"\n{AUTH}"));
        assert_eq!(said.listen, None);
    }

    #[test]
    fn the_socket_follows_the_file() {
        let listen = |head: &str| imported(&format!("{head}\n{AUTH}")).listen.map(|address| address.to_string());
        assert_eq!(listen("public_addr = \"192.0.2.1:10501\""), None);
        assert_eq!(listen("public_addr = \"192.0.2.1:10500\""), Some("[::]:10500".into()));
        assert_eq!(listen("bind_address = \"192.0.2.1\""), Some("192.0.2.1:10501".into()));
        let scheduler =
            |text: &str| imported(&format!("{text}\n[client_auth]")).listen.map(|address| address.to_string());
        assert_eq!(scheduler("public_addr = \"127.0.0.1:10600\""), Some("127.0.0.1:10600".into()));
        assert_eq!(scheduler("public_addr = \"0.0.0.0:10600\""), None);
        let drop_in = |host: &str| socket_drop_in(&HostPort::new(host, 7));
        assert_eq!(drop_in("127.0.0.1"), "[Socket]\nListenStream=\nListenStream=127.0.0.1:7\n");
        assert_eq!(drop_in("localhost"), "[Socket]\nListenStream=\nListenStream=127.0.0.1:7\n");
        assert_eq!(drop_in("::1"), "[Socket]\nListenStream=\nListenStream=[::1]:7\n");
        assert_eq!(drop_in("192.0.2.1"), "[Socket]\nListenStream=\nListenStream=192.0.2.1:7\nFreeBind=yes\n");
        assert_eq!(drop_in("::"), "[Socket]\nListenStream=\nListenStream=7\n");
        assert_eq!(drop_in("farm.example"), "[Socket]\nListenStream=\nListenStream=7\n");
    }

    #[test]
    fn caches_are_where_the_unit_has_them() {
        let import =
            imported(&format!("cache_dir = \"/srv/x\"\n{AUTH}[builder]\ntype = \"overlay\"\nbuild_dir = \"/srv/y\"\n"));
        assert!(!import.text.contains("/srv"), "{}", import.text);
        assert_eq!(warnings(&import).len(), 2);
        assert!(warnings(&import)[0].contains("`cache_dir` has no effect here: the service keeps its caches"));
    }
}
