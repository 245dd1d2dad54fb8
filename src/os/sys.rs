//! All `unsafe`: one safe function for each call that neither std nor rustix offers.

#![allow(unsafe_code, reason = "the one module that may; each block says why it is sound")]
