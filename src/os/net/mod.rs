//! The farm's links: TCP, TLS with pinned self-made certificates, HTTP/2, frames in bodies. And the local socket.

mod connect;
pub mod dial;
mod identity;
mod listen;
pub mod local;
mod strangers;
mod stream;
mod tls;

pub use connect::{ConnectError, Connection, connect};
pub use identity::{Identity, IdentityError};
pub use listen::{Handler, Peer, serve};
pub use stream::{
    Body, FrameReader, FrameWriter, Pace, StreamError, body_channel, empty_body, respond, single_frame_body,
};

#[cfg(test)]
mod tests;
