//! Questions to the client daemon.

use std::path::PathBuf;

use serde::de::DeserializeOwned;

use crate::cli::Failure;
use crate::engine::wire::local::{FromDaemon, Question, ToDaemon};
use crate::model::exit;
use crate::os::local::{Link, LinkError, SocketPlaces};

/// The daemon's answer, as the JSON document that it sent.
pub(crate) fn ask(question: Question) -> Result<String, Failure> {
    let variable = |name| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    ask_at(&SocketPlaces::new(variable("FARCC_SOCKET"), variable("XDG_RUNTIME_DIR")).candidates, question)
}

/// As [`ask`], at these sockets.
pub(crate) fn ask_at(sockets: &[PathBuf], question: Question) -> Result<String, Failure> {
    converse(sockets, question)
        .map_err(|error| match error {
            LinkError::NoDaemon => Failure::new(
                exit::NO_DAEMON,
                "no client daemon runs for this user; it starts with the first compile, or by `farcc --start-server`",
            ),
            error => Failure::new(exit::NO_DAEMON, format_args!("the client daemon does not answer: {error}")),
        })?
        .ok_or_else(|| Failure::new(exit::NO_DAEMON, "the client daemon is of another version of farcc; restart it"))
}

/// None where the two do not understand each other.
fn converse(sockets: &[PathBuf], question: Question) -> Result<Option<String>, LinkError> {
    let mut link = Link::connect_first(sockets)?;
    link.open(&ToDaemon::Ask(question), &[])?;
    loop {
        match link.receive()? {
            FromDaemon::SignOfLife => {}
            FromDaemon::Answer { json } => return Ok(Some(json)),
            _ => return Ok(None),
        }
    }
}

/// What the document says.
pub(crate) fn read<T: DeserializeOwned>(json: &str) -> Result<T, Failure> {
    serde_json::from_str(json).map_err(|error| {
        Failure::new(exit::NO_DAEMON, format_args!("the client daemon answers something else ({error}); restart it"))
    })
}
