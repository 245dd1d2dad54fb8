//! What systemd gives a service: sockets, credentials, a watchdog, a journal, somebody to tell how it goes.
//!
//! Every part does nothing where systemd is not: the daemons run the same from a shell.

pub mod credentials;
