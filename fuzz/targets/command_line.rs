//! Command lines of compilers: classification ends, and what comes of it can be run.
#![no_main]

use farcc::engine::compiler::{Classification, CompilerFamily, classify};
use farcc::model::job::Bytes;

// The first byte says whose command line it is, the others are its words as in `/proc/PID/cmdline`.
libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    let Some((family, text)) = data.split_first() else { return };
    let family = if family % 2 == 0 { CompilerFamily::Gcc } else { CompilerFamily::Clang };
    let argv: Vec<Bytes> = text.split(|byte| *byte == 0).map(Bytes::from).collect();
    if let Classification::Compile(command) = classify(family, &argv, &[]) {
        assert_eq!(command.words(), argv);
        assert!(!command.output.is_empty());
        command.dependency_run(b"list");
        command.preprocessing_run();
        command.probe();
        command.may_name_side_file(b"a.su");
        assert!(command.remote(&argv, b"report", None).argv.ends_with(&argv[1..]));
    }
});
