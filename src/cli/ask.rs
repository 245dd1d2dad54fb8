//! Questions to the client daemon.

use std::path::PathBuf;

use serde::de::DeserializeOwned;

use crate::cli::Failure;
use crate::engine::wire::local::{FromDaemon, Question, ToDaemon};
use crate::model::exit;
use crate::os::local::{Link, LinkError, SocketPlaces};

/// What came back.
#[derive(Debug)]
pub(crate) enum Answer {
    /// JSON.
    Document(String),
    /// The two are of different versions.
    NotUnderstood,
}

/// The daemon's answer, as the JSON document that it sent.
pub(crate) fn ask(question: Question) -> Result<String, Failure> {
    ask_at(&sockets(), question)
}

/// As [`ask`], for those who can do without, or want to know what exactly is in the way.
pub(crate) fn try_ask(question: Question) -> Result<Answer, LinkError> {
    converse(&sockets(), question)
}

fn sockets() -> Vec<PathBuf> {
    let variable = |name| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    SocketPlaces::new(variable("FARCC_SOCKET"), variable("XDG_RUNTIME_DIR")).candidates
}

/// As [`ask`], at these sockets.
pub(crate) fn ask_at(sockets: &[PathBuf], question: Question) -> Result<String, Failure> {
    match converse(sockets, question) {
        Ok(Answer::Document(json)) => Ok(json),
        Ok(Answer::NotUnderstood) => {
            Err(Failure::new(exit::NO_DAEMON, "the client daemon is of another version of farcc; restart it"))
        }
        Err(LinkError::NoDaemon) => Err(Failure::new(
            exit::NO_DAEMON,
            "no client daemon runs for this user; it starts with the first compile, or by `farcc --start-server`",
        )),
        Err(error) => Err(Failure::new(exit::NO_DAEMON, format_args!("the client daemon does not answer: {error}"))),
    }
}

fn converse(sockets: &[PathBuf], question: Question) -> Result<Answer, LinkError> {
    let mut link = Link::connect_first(sockets)?;
    link.open(&ToDaemon::Ask(question), &[])?;
    loop {
        match link.receive()? {
            FromDaemon::SignOfLife => {}
            FromDaemon::Answer { json } => return Ok(Answer::Document(json)),
            _ => return Ok(Answer::NotUnderstood),
        }
    }
}

/// What the document says.
pub(crate) fn read<T: DeserializeOwned>(json: &str) -> Result<T, Failure> {
    serde_json::from_str(json).map_err(|error| {
        Failure::new(exit::NO_DAEMON, format_args!("the client daemon answers something else ({error}); restart it"))
    })
}
