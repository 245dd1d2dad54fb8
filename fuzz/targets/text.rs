//! Whatever text compilers read or write: sources, dependency lists, search paths, commands of `-###`.
#![no_main]

use farcc::engine::compiler::{CompilerFamily, Language, assembled, depfile, native, same_commands, search, tokens};

libfuzzer_sys::fuzz_target!(|text: &[u8]| {
    tokens::scan(text);
    for language in [Language::C, Language::AssemblerWithCpp] {
        assembled::reads(text, language);
    }
    for family in [CompilerFamily::Gcc, CompilerFamily::Clang] {
        native::resolve(family, text);
    }
    depfile::prerequisites(text).ok();
    search::SearchPath::parse(text).ok();
    same_commands(text, text);
});
