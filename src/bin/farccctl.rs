//! The control command. See `farcc::cli`.

use std::process::ExitCode;

fn main() -> ExitCode {
    farcc::cli::run()
}
