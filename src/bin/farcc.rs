//! The compiler wrapper. See `farcc::wrapper`.

use std::process::ExitCode;

fn main() -> ExitCode {
    farcc::wrapper::run()
}
