//! Has a sandbox made as a job gets one, by the user whose daemon would make it.

use std::io;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, Stdio};

use crate::cli::doctor::finding::{Check, Finding};
use crate::os::process::privileges::User;
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

const OWN_PROGRAM: &str = "/proc/self/exe";
