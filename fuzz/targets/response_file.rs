//! Response files that name each other: expansion ends, within its bounds.
#![no_main]

use farcc::engine::compiler::{Expansion, Files, expand};
use farcc::model::job::Bytes;

// Files are separated by NUL, and called by their numbers.
libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    let mut files: Files = data
        .split(|byte| *byte == 0)
        .enumerate()
        .map(|(number, text)| (Bytes::from(number.to_string().as_bytes()), Some(Bytes::from(text))))
        .collect();
    while let Ok(Expansion::Needs(missing)) = expand(&[Bytes::from(*b"@0")], &files) {
        assert!(files.insert(missing, None).is_none(), "asked for a file that is known");
    }
});
