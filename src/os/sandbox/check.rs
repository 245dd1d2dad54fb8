//! Whether sandboxes work on this machine, and if not, which setting is in the way.

use std::fs;
use std::path::{Path, PathBuf};

use crate::model::digest::Digest;
use crate::model::id::{Instance, JobId};
use crate::model::job::{Bytes, JobLimits, JobSpec, Manifest};
use crate::model::limits::SANDBOX_START_MAX;
use crate::model::path::SandboxPath;
use crate::model::toolchain::ToolchainId;
use crate::os::sandbox::bwrap::{BwrapVersion, Stacking};
use crate::os::sandbox::helper::{BwrapError, Cancel};
use crate::os::sandbox::workshop::{Ran, RunFault, Workshop};

/// What a working builder has.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct SandboxFacts {
    pub bwrap: PathBuf,
    pub version: BwrapVersion,
    pub stacking: Stacking,
}

/// Why no job can run here: one line that names what is wrong and what to change.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum SandboxError {
    #[error("{path} is missing: install the package `bubblewrap`, or set `bwrap_path` in builder.toml")]
    BwrapMissing { path: String },
    #[error("{path} is bubblewrap {version}: 0.8.0 or later is needed")]
    BwrapTooOld { path: String, version: BwrapVersion },
    #[error("{path} cannot be run: {why}")]
    BwrapBroken { path: String, why: String },
    #[error("user namespaces are switched off: set `sysctl user.max_user_namespaces=65536`")]
    NoUserNamespaces,
    #[error("user namespaces are forbidden to users: set `sysctl kernel.unprivileged_userns_clone=1`")]
    UserNamespacesForRootOnly,
    #[error(
        "AppArmor forbids user namespaces: load a profile that allows `userns` for the builder, or set `sysctl kernel.apparmor_restrict_unprivileged_userns=0`"
    )]
    AppArmor,
    #[error(
        "namespaces are forbidden ({why}): lift RestrictNamespaces= and SystemCallFilter= of the unit, or the container's filter, or leave the chroot"
    )]
    Namespaces { why: String },
    #[error(
        "part of /proc is covered, so that no fresh one can be mounted: set ProtectKernelTunables=no, ProtectKernelLogs=no, ProtectHostname=no \
         and ProcSubset=all in the unit, or run the container with an unmasked /proc"
    )]
    CoveredProc,
    #[error("openat2 is forbidden: set RestrictSUIDSGID=no and DynamicUser=no in the unit")]
    NoOpenat2,
    #[error("no overlay can be mounted on {}: Linux 5.11 or later, and a directory on ext4, xfs, btrfs or tmpfs is needed ({why})", directory.display())]
    Overlay { directory: PathBuf, why: String },
    #[error("the sandbox does not start within {} s: a system call filter of the unit or the container stops it", SANDBOX_START_MAX.as_secs())]
    Hangs,
    #[error("the sandbox does not work: {why}")]
    Other { why: String },
}

/// Switches of the kernel that forbid namespaces.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
struct Switches {
    max_user_namespaces: Option<u64>,
    unprivileged_userns_clone: Option<u64>,
    apparmor_restrict_unprivileged_userns: Option<u64>,
}

impl Switches {
    fn read() -> Self {
        let read = |name: &str| fs::read_to_string(Path::new("/proc/sys").join(name)).ok()?.trim().parse().ok();
        Self {
            max_user_namespaces: read("user/max_user_namespaces"),
            unprivileged_userns_clone: read("kernel/unprivileged_userns_clone"),
            apparmor_restrict_unprivileged_userns: read("kernel/apparmor_restrict_unprivileged_userns"),
        }
    }

    fn forbid(&self) -> Option<SandboxError> {
        match self {
            Self { max_user_namespaces: Some(0), .. } => Some(SandboxError::NoUserNamespaces),
            Self { unprivileged_userns_clone: Some(0), .. } => Some(SandboxError::UserNamespacesForRootOnly),
            Self { apparmor_restrict_unprivileged_userns: Some(1..), .. } => Some(SandboxError::AppArmor),
            _ => None,
        }
    }
}

/// What the kernel's switches say before anything is tried: the one that forbids users to make namespaces.
pub fn forbidden_by_kernel() -> Option<SandboxError> {
    Switches::read().forbid()
}

impl Workshop {
    /// Makes a real sandbox for a program that does not exist. If bwrap gets so far as to miss it, all else works.
    pub fn check(&self) -> Result<SandboxFacts, SandboxError> {
        let craft = self.helper().craft()?;
        match self.attempt() {
            Err(RunFault::ProgramMissing(_)) => {
                Ok(SandboxFacts { bwrap: craft.bwrap.clone(), version: craft.version, stacking: craft.stacking })
            }
            Err(RunFault::Wall(_)) => Err(SandboxError::Hangs),
            Err(RunFault::Sandbox(why)) => Err(diagnose(why, self.trees(), Switches::read())),
            Err(other) => Err(SandboxError::Other { why: other.to_string() }),
            Ok(_) => Err(SandboxError::Other { why: "a program that does not exist has run".into() }),
        }
    }

    fn attempt(&self) -> Result<Ran, RunFault> {
        let manifest = Manifest::default();
        let reservation = self.reserve(&manifest)?;
        let program = SandboxPath::new(*b"/farcc-check").map_err(|_| RunFault::Command("its path".into()))?;
        let spec = JobSpec {
            job: JobId { instance: Instance(0), number: 0 },
            toolchain: ToolchainId(Digest::of(b"")),
            argv: vec![Bytes::from(program.as_bytes())],
            program,
            env: Vec::new(),
            cwd: SandboxPath::root(),
            manifest,
            report: None,
            limits: JobLimits { wall: SANDBOX_START_MAX, output_bytes: OUTPUT_BYTES_MAX },
        };
        let toolchain = self.trees().join("no-toolchain");
        fs::create_dir_all(&toolchain)?;
        self.run(reservation, &spec, &toolchain, &Cancel::new()?)
    }
}

/// Room for a line of bwrap's.
const OUTPUT_BYTES_MAX: u64 = 64 << 10;

impl From<BwrapError> for SandboxError {
    fn from(error: BwrapError) -> Self {
        match error {
            BwrapError::Missing(path) => Self::BwrapMissing { path },
            BwrapError::TooOld { path, version } => Self::BwrapTooOld { path, version },
            BwrapError::CannotStack { path, version } => {
                Self::BwrapBroken { path, why: format!("bubblewrap {version} cannot stack directories") }
            }
            BwrapError::Broken { path, why } => Self::BwrapBroken { path, why },
        }
    }
}

/// Finds the setting behind what the helper or bwrap said.
fn diagnose(why: String, directory: &Path, switches: Switches) -> SandboxError {
    let says = |text: &str| why.contains(text);
    if says("openat2") || says("Function not implemented") {
        return SandboxError::NoOpenat2;
    }
    if says("create namespaces:")
        || says("uid_map")
        || says("uid map")
        || says("setgroups")
        || says("Creating new namespace")
    {
        return switches.forbid().unwrap_or(SandboxError::Namespaces { why });
    }
    // AppArmor lets a namespace be made and then forbids everything in it.
    if let (true, Some(error)) = (says("mount") || says("loopback") || says("capset"), switches.forbid()) {
        return error;
    }
    if says("mount proc") {
        return SandboxError::CoveredProc;
    }
    if says("mount overlay") || says("overlay") {
        return SandboxError::Overlay { directory: directory.to_owned(), why };
    }
    SandboxError::Other { why }
}

#[cfg(test)]
mod tests {
    use super::*;

    const OPEN: Switches = Switches {
        max_user_namespaces: Some(9000),
        unprivileged_userns_clone: Some(1),
        apparmor_restrict_unprivileged_userns: Some(0),
    };

    #[track_caller]
    fn check(why: &str, switches: Switches, expected: &str) {
        let text = diagnose(why.to_owned(), Path::new("/c"), switches).to_string();
        assert!(text.contains(expected), "{text}");
        assert!(!text.contains('\n'), "{text}");
    }

    #[test]
    fn each_cause_names_its_setting() {
        let refused = "create namespaces: No space left on device (os error 28)";
        check(refused, Switches { max_user_namespaces: Some(0), ..OPEN }, "user.max_user_namespaces");
        check(refused, Switches { unprivileged_userns_clone: Some(0), ..OPEN }, "kernel.unprivileged_userns_clone=1");
        check(refused, OPEN, "RestrictNamespaces=");
        let apparmor = Switches { apparmor_restrict_unprivileged_userns: Some(1), ..OPEN };
        check(
            "mount proc: Permission denied (os error 13)",
            apparmor,
            "kernel.apparmor_restrict_unprivileged_userns=0",
        );
        check("mount proc: Operation not permitted (os error 1)", OPEN, "ProtectKernelTunables=no");
        check("bwrap: Can't mount proc on /newroot/proc: Operation not permitted", OPEN, "ProtectKernelTunables=no");
        check("mount overlay: Invalid argument (os error 22)", OPEN, "Linux 5.11");
        check("bwrap: openat2: Function not implemented", OPEN, "RestrictSUIDSGID=no");
        check("bwrap: something else", OPEN, "something else");
    }
}
