//! Whether jobs can be isolated here, and which setting is in the way if not.

use crate::cli::doctor::finding::{Check, Finding};
use crate::os::sandbox::{SandboxError, SandboxFacts, Stacking};

/// What came of making a sandbox as a job gets one. `forbidden` is what the kernel's switches say by themselves: where bubblewrap
/// fails first, the second obstacle is named as well.
pub(crate) fn sandbox(
    outcome: &Result<SandboxFacts, SandboxError>,
    forbidden: Option<&SandboxError>,
    has_profile: bool,
) -> Vec<Finding> {
    let error = match outcome {
        Ok(facts) => return works(facts),
        Err(error) => error,
    };
    let also = forbidden.filter(|switch| *switch != error);
    also.into_iter().chain([error]).map(|error| trouble(error, has_profile)).collect()
}

fn works(facts: &SandboxFacts) -> Vec<Finding> {
    let SandboxFacts { bwrap, version, stacking } = facts;
    let by = match stacking {
        Stacking::ByBwrap => "bubblewrap stacks directories itself",
        Stacking::ByHelper => "the builder stacks directories for bubblewrap",
    };
    vec![
        Finding::ok(Check::Bubblewrap, format!("{}, version {version}", bwrap.display())),
        Finding::ok(Check::UserNamespaces, "users may make them"),
        Finding::ok(Check::Overlay, by),
        Finding::ok(Check::Sandbox, "starts, as it does for a job"),
    ]
}

fn trouble(error: &SandboxError, has_profile: bool) -> Finding {
    match error {
        SandboxError::BwrapMissing { path } => Finding::wrong(
            Check::Bubblewrap,
            format!("{path} is missing"),
            "install the package `bubblewrap`, or correct `bwrap_path` in builder.toml",
        ),
        SandboxError::BwrapTooOld { path, version } => Finding::wrong(
            Check::Bubblewrap,
            format!("{path} is version {version}, and 0.8.0 or later is needed"),
            "upgrade bubblewrap, or name a later one as `bwrap_path` in builder.toml",
        ),
        SandboxError::BwrapBroken { path, why } => Finding::wrong(
            Check::Bubblewrap,
            format!("{path} cannot be run: {why}"),
            "install the package `bubblewrap` again, or correct `bwrap_path` in builder.toml",
        ),
        SandboxError::NoUserNamespaces => Finding::wrong(
            Check::UserNamespaces,
            "they are switched off: user.max_user_namespaces is 0",
            keep("user.max_user_namespaces=65536"),
        ),
        SandboxError::UserNamespacesForRootOnly => Finding::wrong(
            Check::UserNamespaces,
            "only root may make them: kernel.unprivileged_userns_clone is 0",
            keep("kernel.unprivileged_userns_clone=1"),
        ),
        // This program has no profile, which says nothing of one that has.
        SandboxError::AppArmor if has_profile => Finding::not_checked(
            Check::Apparmor,
            "it forbids user namespaces to this program; the builder has a profile that allows them",
            "`systemctl status farcc-builder` tells whether that is enough",
        ),
        SandboxError::AppArmor => Finding::wrong(
            Check::Apparmor,
            "it forbids user namespaces: kernel.apparmor_restrict_unprivileged_userns is 1",
            format!(
                "load the builder's profile (/usr/share/doc/farcc-builder has it), or {}",
                keep("kernel.apparmor_restrict_unprivileged_userns=0")
            ),
        ),
        SandboxError::Namespaces { why } => Finding::wrong(
            Check::UserNamespaces,
            format!("they are forbidden, and not by a sysctl: {why}"),
            "lift the container's system call filter, or leave the chroot",
        ),
        SandboxError::Overlay { directory, why } => Finding::wrong(
            Check::Overlay,
            format!("none can be mounted on {}: {why}", directory.display()),
            "Linux 5.11 or later is needed, and a cache directory on ext4, xfs, btrfs or tmpfs",
        ),
        SandboxError::CoveredProc => Finding::wrong(
            Check::Sandbox,
            "part of /proc is covered, so that no fresh one can be mounted",
            "run the container with an unmasked /proc; in a unit, set ProtectKernelTunables=no and ProcSubset=all",
        ),
        SandboxError::NoOpenat2 => Finding::wrong(
            Check::Sandbox,
            "the system call openat2 is forbidden",
            "set RestrictSUIDSGID=no and DynamicUser=no in the unit, or lift the container's filter",
        ),
        SandboxError::Hangs => Finding::wrong(
            Check::Sandbox,
            "it does not start in time",
            "a system call filter of the unit or the container stops it: lift that",
        ),
        SandboxError::Other { why } => Finding::wrong(
            Check::Sandbox,
            format!("it does not work: {why}"),
            "`bwrap --ro-bind / / --unshare-all true` shows whether bubblewrap works at all",
        ),
    }
}

/// At once, and after the next boot.
fn keep(setting: &str) -> String {
    format!("`sysctl {setting}`, and the same line in /etc/sysctl.d/farcc.conf")
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use super::*;
    use crate::cli::doctor::finding::Verdict;
    use crate::os::sandbox::BwrapVersion;

    fn version(minor: u32) -> BwrapVersion {
        BwrapVersion { major: 0, minor, patch: 0 }
    }

    #[track_caller]
    fn check(error: SandboxError, check: Check, words: &[&str]) {
        let findings = sandbox(&Err(error), None, false);
        let [finding] = findings.as_slice() else { panic!("{findings:?}") };
        assert_eq!((finding.check, finding.verdict), (check, Verdict::Wrong));
        let text = format!("{} {}", finding.found, finding.mend.as_deref().unwrap());
        for word in words {
            assert!(text.contains(word), "{word:?} is not in {text}");
        }
    }

    #[test]
    fn each_obstacle_names_its_setting() {
        let path = || "/usr/bin/bwrap".to_owned();
        check(SandboxError::BwrapMissing { path: path() }, Check::Bubblewrap, &["is missing", "install"]);
        check(SandboxError::BwrapTooOld { path: path(), version: version(4) }, Check::Bubblewrap, &["0.4.0", "0.8.0"]);
        let broken = SandboxError::BwrapBroken { path: path(), why: "no such library".into() };
        check(broken, Check::Bubblewrap, &["no such library"]);
        check(SandboxError::NoUserNamespaces, Check::UserNamespaces, &["sysctl user.max_user_namespaces=65536"]);
        let for_root = SandboxError::UserNamespacesForRootOnly;
        check(for_root, Check::UserNamespaces, &["sysctl kernel.unprivileged_userns_clone=1"]);
        check(SandboxError::AppArmor, Check::Apparmor, &["sysctl kernel.apparmor_restrict_unprivileged_userns=0"]);
        check(SandboxError::Namespaces { why: "EPERM".into() }, Check::UserNamespaces, &["EPERM", "container"]);
        let overlay = SandboxError::Overlay { directory: PathBuf::from("/c"), why: "EINVAL".into() };
        check(overlay, Check::Overlay, &["/c", "Linux 5.11"]);
        check(SandboxError::CoveredProc, Check::Sandbox, &["/proc"]);
        check(SandboxError::NoOpenat2, Check::Sandbox, &["RestrictSUIDSGID=no"]);
        check(SandboxError::Hangs, Check::Sandbox, &["filter"]);
        check(SandboxError::Other { why: "odd".into() }, Check::Sandbox, &["odd"]);
    }

    #[test]
    fn two_obstacles_are_both_named() {
        let missing = Err(SandboxError::BwrapMissing { path: "/b".into() });
        let findings = sandbox(&missing, Some(&SandboxError::NoUserNamespaces), false);
        let checks: Vec<_> = findings.iter().map(|finding| finding.check).collect();
        assert_eq!(checks, [Check::UserNamespaces, Check::Bubblewrap]);
        assert_eq!(sandbox(&Err(SandboxError::AppArmor), Some(&SandboxError::AppArmor), false).len(), 1);
    }

    #[test]
    fn a_profile_of_the_builders_is_not_this_programs() {
        let findings = sandbox(&Err(SandboxError::AppArmor), None, true);
        assert_eq!((findings[0].check, findings[0].verdict), (Check::Apparmor, Verdict::NotChecked));
    }

    #[test]
    fn what_works_says_with_what() {
        let facts = SandboxFacts { bwrap: "/b".into(), version: version(8), stacking: Stacking::ByHelper };
        let findings = sandbox(&Ok(facts), None, false);
        assert!(findings.iter().all(|finding| finding.verdict == Verdict::Ok) && findings.len() == 4, "{findings:?}");
        assert_eq!(findings[0].found, "/b, version 0.8.0");
    }
}
