//! What systemd gives a service: sockets, credentials, a watchdog, a journal, somebody to tell how it goes.
//!
//! Every part does nothing, or the plain thing, where systemd is not: the daemons run the same from a shell.

pub mod activation;
pub mod credentials;
pub mod journal;
pub mod messages;
pub mod notify;
pub mod watchdog;
