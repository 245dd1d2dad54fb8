//! What the doctor says: one finding for each check, for people and for scripts.

use serde::{Deserialize, Serialize};

use crate::cli::render::{plain, wrap};

/// Everything that is looked at. The names are an interface, and the manual has them all.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Check {
    Configuration,
    Token,
    Scheduler,
    Farm,
    Daemon,
    Wrapper,
    Bubblewrap,
    UserNamespaces,
    Apparmor,
    Overlay,
    Sandbox,
    Port,
    Service,
    Disk,
    Descriptors,
    Clock,
    Versions,
}

impl Check {
    /// As in JSON.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Configuration => "configuration",
            Self::Token => "token",
            Self::Scheduler => "scheduler",
            Self::Farm => "farm",
            Self::Daemon => "daemon",
            Self::Wrapper => "wrapper",
            Self::Bubblewrap => "bubblewrap",
            Self::UserNamespaces => "user-namespaces",
            Self::Apparmor => "apparmor",
            Self::Overlay => "overlay",
            Self::Sandbox => "sandbox",
            Self::Port => "port",
            Self::Service => "service",
            Self::Disk => "disk",
            Self::Descriptors => "descriptors",
            Self::Clock => "clock",
            Self::Versions => "versions",
        }
    }
}

/// What a check came to, best first.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Verdict {
    Ok,
    /// This user cannot look, or there is nothing to look at yet.
    NotChecked,
    /// It works, and not as well as it could; or it may be meant.
    Warning,
    Wrong,
}

impl Verdict {
    fn words(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::NotChecked => "not checked",
            Self::Warning => "warning",
            Self::Wrong => "wrong",
        }
    }
}

#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub(crate) struct Finding {
    pub(crate) check: Check,
    pub(crate) verdict: Verdict,
    pub(crate) found: String,
    /// What to do about it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) mend: Option<String>,
}

impl Finding {
    pub(crate) fn ok(check: Check, found: impl Into<String>) -> Self {
        Self { check, verdict: Verdict::Ok, found: found.into(), mend: None }
    }

    pub(crate) fn not_checked(check: Check, found: impl Into<String>, mend: impl Into<String>) -> Self {
        Self { check, verdict: Verdict::NotChecked, found: found.into(), mend: Some(mend.into()) }
    }

    pub(crate) fn warning(check: Check, found: impl Into<String>, mend: impl Into<String>) -> Self {
        Self { check, verdict: Verdict::Warning, found: found.into(), mend: Some(mend.into()) }
    }

    pub(crate) fn wrong(check: Check, found: impl Into<String>, mend: impl Into<String>) -> Self {
        Self { check, verdict: Verdict::Wrong, found: found.into(), mend: Some(mend.into()) }
    }
}

/// One line. On a terminal of `columns` it is broken, and what to do has a line of its own.
pub(crate) fn render(finding: &Finding, columns: Option<usize>) -> String {
    let head = format!("  {:VERDICT_WIDTH$}  {:CHECK_WIDTH$}  ", finding.verdict.words(), finding.check.name());
    let found = plain(&finding.found);
    let mend = finding.mend.as_deref().map(plain);
    let Some(columns) = columns else {
        let mend = mend.map(|mend| format!(" -> {mend}")).unwrap_or_default();
        return format!("{head}{found}{mend}\n");
    };
    let indent = " ".repeat(head.len());
    let width = columns.saturating_sub(head.len()).max(TEXT_WIDTH_MIN);
    let mut lines = wrap(&found, width);
    // The arrow stands out, and what follows it lines up.
    for (n, line) in mend.iter().flat_map(|mend| wrap(mend, width - ARROW.len())).enumerate() {
        lines.push(format!("{}{line}", if n == 0 { ARROW } else { "   " }));
    }
    let rest = lines.iter().skip(1).map(|line| format!("{indent}{line}\n"));
    format!("{head}{}\n{}", lines.first().map_or("", String::as_str), rest.collect::<String>())
}

const VERDICT_WIDTH: usize = "not checked".len();
const CHECK_WIDTH: usize = "user-namespaces".len();
const ARROW: &str = "-> ";
/// On a terminal that is hardly there, lines run over.
const TEXT_WIDTH_MIN: usize = 20;

#[cfg(test)]
mod tests {
    use super::*;

    const ALL: &[Check] = &[
        Check::Configuration,
        Check::Token,
        Check::Scheduler,
        Check::Farm,
        Check::Daemon,
        Check::Wrapper,
        Check::Bubblewrap,
        Check::UserNamespaces,
        Check::Apparmor,
        Check::Overlay,
        Check::Sandbox,
        Check::Port,
        Check::Service,
        Check::Disk,
        Check::Descriptors,
        Check::Clock,
        Check::Versions,
    ];

    #[test]
    fn names_are_those_of_the_manual() {
        let page = include_str!("../../../docs/man/farccctl.1.md");
        let (_, section) = page.split_once("# CHECKS\n").expect("a section");
        let (section, _) = section.split_once("\n# ").expect("another after it");
        let documented: Vec<_> =
            section.lines().filter_map(|line| line.strip_prefix("**")?.strip_suffix("**")).collect();
        let known: Vec<_> = ALL.iter().map(|check| check.name()).collect();
        assert_eq!(documented, known);
        let json = serde_json::to_value(ALL).unwrap();
        assert_eq!(json, serde_json::json!(known));
    }

    #[test]
    fn everything_fits_a_terminal_and_is_one_line_elsewhere() {
        let findings = [
            Finding::ok(Check::Port, "free"),
            Finding::wrong(
                Check::UserNamespaces,
                "switched off: ".repeat(6),
                "set `sysctl user.max_user_namespaces=65536` and keep it",
            ),
        ];
        let render = |columns| findings.iter().map(|finding| render(finding, columns)).collect::<String>();
        let terminal = render(Some(80));
        assert!(terminal.lines().all(|line| line.len() <= 80), "{terminal}");
        assert!(terminal.contains(&format!("\n{}-> set `sysctl", " ".repeat(32))), "{terminal}");
        let piped = render(None);
        assert_eq!(piped.lines().count(), 2);
        assert!(piped.lines().next().is_some_and(|line| line == "  ok           port             free"), "{piped}");
    }
}
