//! `farccctl sandbox-check`: makes a sandbox as a job gets one.
//!
//! A process of its own, because root may do what a builder may not, so that it has to become the builder's user; and because the
//! sandbox helper has to be forked while there is one thread.

use std::fs::DirBuilder;
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::cli::arguments::SandboxCheckOptions;
use crate::cli::doctor::gather::host::has_builder_profile;
use crate::cli::doctor::judge;
use crate::cli::{Failure, print};
use crate::model::exit;
use crate::model::limits::INPUTS_BYTES_MAX;
use crate::os::random;
use crate::os::sandbox::{
    Helper, HelperSettings, SandboxError, SandboxFacts, Workshop, WorkshopSettings, forbidden_by_kernel,
};
use crate::os::store::remove::remove_tree;

/// Prints the findings as JSON, and leaves nothing behind.
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
