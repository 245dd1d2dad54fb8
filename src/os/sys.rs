//! All `unsafe`: one safe function for each call that neither std nor rustix offers.

#![allow(unsafe_code, reason = "the one module that may; each block says why it is sound")]

/// Fills `bytes` from the kernel's generator; waits for it once after boot.
pub fn fill_random(bytes: &mut [u8]) {
    let mut n_filled = 0;
    while n_filled < bytes.len() {
        match rustix::rand::getrandom(&mut bytes[n_filled..], rustix::rand::GetRandomFlags::empty()) {
            Ok(n) => n_filled += n,
            Err(rustix::io::Errno::INTR) => {}
            Err(error) => panic!("the kernel has no random numbers: {error}"),
        }
    }
}
