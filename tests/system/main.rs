//! The system test: farcc on booted machines, looked at through its public faces only.
//!
//! `run.sh` boots the machines and starts this program; alone it has nothing to talk to. The tests take turns on one farm,
//! each leaves it whole, and none depends on another having run.

#![expect(clippy::print_stdout, reason = "figures for whoever started the run")]

mod addresses;
mod faces;
mod farm;
mod faults;
mod isolation;
mod orders;
mod redis;
mod refusals;
mod units;
mod users;
