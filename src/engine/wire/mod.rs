//! Bytes on sockets: frames, the messages of each link, and the proofs of first contact. docs/protocol.md describes them.

pub mod farm;
pub mod frame;
pub mod handshake;
pub mod local;
