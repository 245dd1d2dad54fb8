//! Configuration files, and the tokens in them.

use std::io::ErrorKind;

use crate::cli::doctor::facts::{ConfigurationFacts, SecretFile};
use crate::cli::doctor::finding::{Check, Finding};
use crate::engine::config::{Advice, Problem, Warning};
use crate::os::config::LoadError;

/// Files that cannot be used, what is odd in those that can, and a token that is missing.
pub(crate) fn configuration(facts: &ConfigurationFacts) -> Vec<Finding> {
    let warnings = match &facts.loaded {
        Err(error) => return vec![unusable(error, facts)],
        Ok(warnings) => warnings,
    };
    let mut findings: Vec<_> = warnings.iter().map(odd).collect();
    if findings.iter().all(|finding| finding.check != Check::Configuration) {
        let files =
            if facts.files.is_empty() { "no file; everything is as it comes".into() } else { facts.files.join(", ") };
        findings.insert(0, Finding::ok(Check::Configuration, files));
    }
    findings
}

fn unusable(error: &LoadError, facts: &ConfigurationFacts) -> Finding {
    match error {
        LoadError::Unreadable { path, cause } if cause.kind() == ErrorKind::PermissionDenied => {
            let found = format!("{}: this user may not read it", path.display());
            match facts.role {
                // Whose daemon is this user's, so it cannot either.
                "client" => Finding::wrong(Check::Configuration, found, "let every user read it: `chmod a+r` the file"),
                _ => Finding::not_checked(Check::Configuration, found, AS_ROOT),
            }
        }
        LoadError::Config(error) => match token_trouble(&error.problem) {
            Some(_) if matches!(error.problem, Problem::NoToken { .. }) && facts.has_hidden_credentials => {
                Finding::not_checked(
                    Check::Token,
                    "no file has one, and a credential that the service may have cannot be seen from here",
                    AS_ROOT,
                )
            }
            Some(mend) => Finding::wrong(Check::Token, error.to_string(), mend),
            None => Finding::wrong(Check::Configuration, error.to_string(), mend(&error.problem, facts.role)),
        },
        error => Finding::wrong(Check::Configuration, error.to_string(), look_again(facts.role)),
    }
}

/// What to do about a token that cannot be had. None where something else is wrong.
fn token_trouble(problem: &Problem) -> Option<&'static str> {
    match problem {
        Problem::TokenFile { .. } => Some("put the token into that file, readable by the daemon's user alone"),
        Problem::NoToken { .. } => Some(JOIN),
        Problem::TwoTokens(_) | Problem::Secret(_) => Some("keep one token, on one line"),
        Problem::AuthNotSupported(_) | Problem::AuthType { .. } | Problem::Insecure => {
            Some("share a token: `farccctl auth generate-shared-token` makes one")
        }
        _ => None,
    }
}

fn mend(problem: &Problem, role: &str) -> String {
    match problem {
        Problem::NoScheduler(_) => JOIN.to_owned(),
        _ => look_again(role),
    }
}

fn look_again(role: &str) -> String {
    format!("correct it there; `farccctl config check {role}` looks again")
}

fn odd(warning: &Warning) -> Finding {
    let found = warning.to_string();
    match &warning.advice {
        Advice::NoToken => Finding::wrong(Check::Token, found, JOIN),
        Advice::ShortToken => Finding::warning(
            Check::Token,
            found,
            "take one that `farccctl auth generate-shared-token` has made, on every machine of the farm",
        ),
        Advice::UnknownKey { nearest: Some(nearest), .. } => {
            Finding::warning(Check::Configuration, found, format!("write `{nearest}`, if that was meant"))
        }
        Advice::UnknownKey { nearest: None, .. } => {
            Finding::warning(Check::Configuration, found, "remove it; farcc.toml(5) has every key")
        }
        Advice::PlainHttp => Finding::warning(Check::Configuration, found, "write https://"),
        Advice::NoMeaning { .. } | Advice::AuthLeftOut { .. } => {
            Finding::warning(Check::Configuration, found, "remove it")
        }
    }
}

/// Who can read the files that hold tokens: whoever has to, and nobody else.
pub(crate) fn secrets(files: &[SecretFile]) -> Vec<Finding> {
    files.iter().map(secret).collect()
}

fn secret(file: &SecretFile) -> Finding {
    let path = file.path.display();
    if file.mode & WRITABLE_BY_OTHERS != 0 {
        return Finding::wrong(
            Check::Token,
            format!("{path}: every user may change it"),
            format!("`chmod o-w {path}`"),
        );
    }
    if file.mode & READABLE_BY_OTHERS != 0 && !file.is_for_all {
        let found = format!("{path}: every user of this machine may read the token");
        return Finding::wrong(
            Check::Token,
            found,
            format!("`chmod o= {path}`, and take a new token if they are not trusted"),
        );
    }
    match &file.reader {
        Some(reader) if !reader.may_read => Finding::wrong(
            Check::Token,
            format!("{path}: the user {} may not read it, and the daemon runs as that", reader.name),
            format!("`chgrp {} {path} && chmod 640 {path}`", reader.name),
        ),
        _ if file.is_for_all => Finding::ok(Check::Token, format!("{path}: for every user of this machine")),
        _ => Finding::ok(Check::Token, format!("{path}: not for others")),
    }
}

const WRITABLE_BY_OTHERS: u32 = 0o002;
const READABLE_BY_OTHERS: u32 = 0o004;
const AS_ROOT: &str = "run this as root";
/// Brings address, certificate and token at once.
const JOIN: &str =
    "`farccctl farm join LINE`, with the line that `farccctl farm invite` prints on the scheduler's machine";

#[cfg(test)]
mod tests {
    use std::io;
    use std::path::PathBuf;

    use super::*;
    use crate::cli::doctor::facts::Reader;
    use crate::cli::doctor::finding::Verdict;
    use crate::engine::config::{BuilderConfig, ClientConfig, ConfigError, Facts, parse};

    fn facts(role: &'static str, loaded: Result<Vec<Warning>, LoadError>) -> ConfigurationFacts {
        ConfigurationFacts { role, files: vec!["/etc/farcc/x.toml".into()], loaded, has_hidden_credentials: false }
    }

    fn client(text: &str) -> Vec<Finding> {
        let checked = parse("f", text).and_then(|document| ClientConfig::check(document, &Facts::default()));
        configuration(&facts("client", checked.map(|checked| checked.warnings).map_err(LoadError::from)))
    }

    fn builder(text: &str) -> ConfigurationFacts {
        let checked = parse("f", text).and_then(|document| BuilderConfig::check(document, &Facts::default()));
        facts("builder", checked.map(|checked| checked.warnings).map_err(|error: ConfigError| error.into()))
    }

    #[track_caller]
    fn check(finding: &Finding, check: Check, verdict: Verdict, words: &[&str]) {
        assert_eq!((finding.check, finding.verdict), (check, verdict), "{finding:?}");
        let text = format!("{} {}", finding.found, finding.mend.as_deref().unwrap_or_default());
        for word in words {
            assert!(text.contains(word), "{word:?} is not in {finding:?}");
        }
    }

    #[test]
    fn what_is_no_toml_is_wrong_and_what_is_odd_a_warning() {
        check(&client("log = [")[0], Check::Configuration, Verdict::Wrong, &["f:1:", "TOML", "config check client"]);
        check(
            &client("local_slotz = 1")[0],
            Check::Configuration,
            Verdict::Warning,
            &["f:1:1", "`local_slotz`", "write `local_slots`"],
        );
        check(&client("")[0], Check::Configuration, Verdict::Ok, &["/etc/farcc/x.toml"]);
    }

    #[test]
    fn a_token_that_is_missing() {
        let findings = client("scheduler_url = \"farm\"");
        check(&findings[0], Check::Configuration, Verdict::Ok, &[]);
        check(&findings[1], Check::Token, Verdict::Wrong, &["f:1:1", "farm join"]);
        let no_token = builder("scheduler_url = \"farm\"");
        check(&configuration(&no_token)[0], Check::Token, Verdict::Wrong, &["scheduler_auth", "farm invite"]);
        let hidden = ConfigurationFacts { has_hidden_credentials: true, ..no_token };
        check(&configuration(&hidden)[0], Check::Token, Verdict::NotChecked, &["credential", "as root"]);
        let jwt = builder("scheduler_url = \"farm\"\nscheduler_auth.type = \"jwt_token\"");
        check(&configuration(&jwt)[0], Check::Token, Verdict::Wrong, &["not supported", "generate-shared-token"]);
        let nowhere = builder("");
        check(&configuration(&nowhere)[0], Check::Configuration, Verdict::Wrong, &["scheduler_url", "farm join"]);
    }

    #[test]
    fn what_this_user_may_not_read_is_not_called_good() {
        let unreadable = || LoadError::Unreadable { path: "/f".into(), cause: io::ErrorKind::PermissionDenied.into() };
        let findings = configuration(&facts("builder", Err(unreadable())));
        check(&findings[0], Check::Configuration, Verdict::NotChecked, &["/f", "as root"]);
        check(
            &configuration(&facts("client", Err(unreadable())))[0],
            Check::Configuration,
            Verdict::Wrong,
            &["chmod a+r"],
        );
    }

    #[test]
    fn tokens_are_for_whoever_needs_them_alone() {
        let file = |mode| SecretFile { path: PathBuf::from("/t"), mode, reader: None, is_for_all: false };
        let reader = |may_read| Some(Reader { name: "farcc-builder".into(), may_read });
        let found = |file: &SecretFile| secrets(std::slice::from_ref(file)).remove(0);
        check(&found(&file(0o100_600)), Check::Token, Verdict::Ok, &[]);
        check(&found(&file(0o100_644)), Check::Token, Verdict::Wrong, &["/t", "every user", "chmod o= /t"]);
        check(&found(&SecretFile { is_for_all: true, ..file(0o100_644) }), Check::Token, Verdict::Ok, &[]);
        check(&found(&SecretFile { is_for_all: true, ..file(0o100_666) }), Check::Token, Verdict::Wrong, &["change"]);
        check(
            &found(&SecretFile { reader: reader(false), ..file(0o100_600) }),
            Check::Token,
            Verdict::Wrong,
            &["chgrp"],
        );
        check(&found(&SecretFile { reader: reader(true), ..file(0o100_640) }), Check::Token, Verdict::Ok, &[]);
    }
}
