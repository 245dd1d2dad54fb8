//! Programs and libraries: what a toolchain is found by, and what a loader has compiled in.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| farcc::os::toolchain::fuzzing::elf(bytes));
