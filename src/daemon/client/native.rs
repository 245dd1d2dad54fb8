//! Finds out what `native` means to a compiler on this machine, once for each class of commands.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::sync::Arc;

use tokio::task::spawn_blocking;

use super::classes::ByClass;
use crate::engine::compiler::{Native, native};
use crate::model::job::Bytes;
use crate::model::reason::{Reason, Why};
use crate::model::toolchain::ToolchainId;
use crate::os::inputs::Unit as Wanted;
use crate::os::process::{Command, Output, SpawnError};

/// None: not understood.
#[derive(Debug, Default)]
pub(super) struct Natives(ByClass<Option<Arc<Native>>>);

impl Natives {
    /// # Errors
    /// [`Reason::Native`]
    pub(super) async fn resolve(&self, toolchain: ToolchainId, wanted: &Wanted) -> Result<Arc<Native>, Why> {
        let answer = self.0.of(toolchain, wanted.command.class_words());
        let ask = async || {
            let family = wanted.command.family;
            let wanted = wanted.clone();
            let asked = spawn_blocking(move || run_here(&wanted, &wanted.command.probe())).await;
            native::resolve(family, &asked.ok()?.ok()?.stderr).map(Arc::new)
        };
        answer.get_or_init(ask).await.clone().ok_or_else(|| Reason::Native.into())
    }
}

/// What the driver says here, in the caller's environment: what a job does not get of it must make no difference.
pub(super) fn run_here(wanted: &Wanted, argv: &[Bytes]) -> Result<Output, SpawnError> {
    let word = |bytes: &Bytes| OsStr::from_bytes(bytes).to_owned();
    let (name, arguments) = argv.split_first().expect("a command has a name");
    let asked = Command::new(&wanted.compiler)
        .argv0(word(name))
        .args(arguments.iter().map(word))
        .env(wanted.env.iter().map(|(name, value)| (word(name), word(value))))
        .cwd(Path::new(OsStr::from_bytes(&wanted.cwd)));
    asked.run()
}
