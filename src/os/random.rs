//! The only place that draws random numbers.

/// Fills `bytes` from the kernel's generator; waits for it once after boot.
pub fn fill(bytes: &mut [u8]) {
    let mut n_filled = 0;
    while n_filled < bytes.len() {
        match rustix::rand::getrandom(&mut bytes[n_filled..], rustix::rand::GetRandomFlags::empty()) {
            Ok(n) => n_filled += n,
            Err(rustix::io::Errno::INTR) => {}
            Err(error) => panic!("the kernel has no random numbers: {error}"),
        }
    }
}

/// Bytes that nobody can guess.
pub fn bytes<const N: usize>() -> [u8; N] {
    let mut bytes = [0; N];
    fill(&mut bytes);
    bytes
}
