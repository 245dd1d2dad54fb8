//! Makes a sandbox as a job gets one, as the user whose daemon would.
//!
//! In a process of its own, `farccctl sandbox-check`: root may do what a builder may not, so root becomes the builder's user there;
//! and the sandbox helper has to be forked while there is one thread.

use std::fs::DirBuilder;
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;

use crate::cli::arguments::SandboxCheckOptions;
use crate::cli::doctor::finding::{Check, Finding};
use crate::cli::doctor::gather::host::has_builder_profile;
use crate::cli::doctor::judge;
use crate::cli::{Failure, print};
use crate::model::exit;
use crate::model::limits::INPUTS_BYTES_MAX;
use crate::os::process::privileges::User;
use crate::os::random;
use crate::os::sandbox::{
    Helper, HelperSettings, SandboxError, SandboxFacts, Workshop, WorkshopSettings, forbidden_by_kernel,
};
use crate::os::store::remove::remove_tree;
use crate::os::sys::wrapper::die_with_this_process;

/// What a builder that runs as `user` would find, with its caches in `directory`.
pub(crate) fn findings(bwrap: &Path, directory: &Path, user: Option<&User>) -> Vec<Finding> {
    attempt(bwrap, directory, user).unwrap_or_else(|error| {
        vec![Finding::not_checked(
            Check::Sandbox,
            format!("cannot try: {error}"),
            "run this as root or as the builder's user",
        )]
    })
}

fn attempt(bwrap: &Path, directory: &Path, user: Option<&User>) -> io::Result<Vec<Finding>> {
    let mut command = Command::new(OWN_PROGRAM);
    command.arg("sandbox-check").arg("--bwrap").arg(bwrap).arg(directory).arg("/tmp");
    command.env_clear().current_dir("/").stdin(Stdio::null()).stderr(Stdio::null());
    if let Some(user) = user {
        command.uid(user.uid).gid(user.gid);
    }
    die_with_this_process(&mut command, libc::SIGTERM);
    let output = command.output()?;
    serde_json::from_slice(&output.stdout).map_err(io::Error::other)
}

/// `farccctl sandbox-check`: the findings as JSON, and nothing left behind.
pub(crate) fn check(options: &SandboxCheckOptions) -> Result<u8, Failure> {
    // While there is one thread.
    let settings = HelperSettings { bwrap: options.bwrap.clone(), stacking: None, slots: 1 };
    let helper = Helper::fork(settings).map_err(Failure::with(exit::SANDBOX))?;
    let directory = make_directory(&options.directories).map_err(Failure::with(exit::DIRECTORY))?;
    let outcome = try_out(helper, &directory);
    remove_tree(&directory).map_err(Failure::with(exit::DIRECTORY))?;
    let findings = judge::sandbox(&outcome, forbidden_by_kernel().as_ref(), has_builder_profile());
    let json = serde_json::to_string(&findings).map_err(Failure::with(exit::INTERNAL))?;
    print(&format!("{json}\n"))
}

fn try_out(helper: Helper, directory: &Path) -> Result<SandboxFacts, SandboxError> {
    let settings = WorkshopSettings { input_cache_bytes: INPUTS_BYTES_MAX };
    let workshop = Workshop::open(directory, Arc::new(helper), &settings);
    workshop.map_err(|error| SandboxError::Other { why: error.to_string() })?.check()
}

/// In the first place where this user may make one: what jobs get is stacked on the caches' file system.
fn make_directory(places: &[PathBuf]) -> io::Result<PathBuf> {
    let name: String = random::bytes::<8>().iter().map(|byte| format!("{byte:02x}")).collect();
    let mut last = io::ErrorKind::NotFound.into();
    for place in places {
        let path = place.join(format!("farcc-doctor-{name}"));
        match DirBuilder::new().mode(0o700).create(&path) {
            Ok(()) => return Ok(path),
            Err(error) => last = error,
        }
    }
    Err(last)
}

const OWN_PROGRAM: &str = "/proc/self/exe";
