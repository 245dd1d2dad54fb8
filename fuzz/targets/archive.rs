//! Archives of toolchains: those that other tools made, and those that peers send.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| farcc::os::toolchain::fuzzing::archive(bytes));
