//! What `native` means on this machine, in words that mean the same on every other.
//!
//! Drivers look at the processor and hand the compiler proper a list of what it has. `-###` shows that list; a builder's
//! driver is made to hand over the same.

use crate::engine::compiler::CompilerFamily;
use crate::engine::compiler::response::split;
use crate::model::job::Bytes;

/// Where a job finds [`Native::Specs`].
pub const SPECS_PATH: &[u8] = b"/tmp/.farcc-native.specs";

/// This machine's processor, for a driver.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Native {
    /// For gcc, whose words show in debug information in the order that its own specification has: that specification, with the
    /// answers in place of the questions.
    Specs(Bytes),
    /// For clang.
    Words {
        cpu: Bytes,
        /// None: as `cpu`.
        tune: Option<Bytes>,
        /// `+avx2`, `-sgx`.
        features: Vec<Bytes>,
    },
}

/// Reads the answer to `-###` of a command with `native` in it. None where it is not understood.
pub fn resolve(family: CompilerFamily, listing: &[u8]) -> Option<Native> {
    let lines = listing.split(|&byte| byte == b'\n').filter(|line| line.starts_with(b" "));
    match family {
        CompilerFamily::Gcc => lines.map(split).find_map(|words| gccs(&words)),
        CompilerFamily::Clang => lines.map(split).find_map(|words| clangs(&words)),
    }
}

/// The driver's answers stand in one row between the source and the second `-quiet` (`cc1_options` in gcc's specification).
fn gccs(words: &[Bytes]) -> Option<Native> {
    let program = words.first()?.rsplit(|&byte| byte == b'/').next()?;
    if !program.starts_with(b"cc1") {
        return None;
    }
    let end = words.iter().rposition(|word| word.as_slice() == b"-quiet")?;
    let is_answer = |word: &Bytes| {
        [&b"-march="[..], b"-mtune=", b"-mcpu=", b"--param"].iter().any(|beginning| word.starts_with(beginning))
    };
    let start = words[..end].iter().position(is_answer)?;
    let mut text = b"*cc1_cpu:\n%>march=native %>mtune=native".to_vec();
    for word in &words[start..end] {
        // Anything else would mean something to a specification.
        if !word.iter().all(|byte| byte.is_ascii_alphanumeric() || b"-_=.+".contains(byte)) {
            return None;
        }
        text.push(b' ');
        text.extend_from_slice(word);
    }
    text.extend_from_slice(b"\n\n");
    Some(Native::Specs(Bytes::from(text)))
}

fn clangs(words: &[Bytes]) -> Option<Native> {
    words.iter().find(|word| word.as_slice() == b"-cc1")?;
    let behind = |name: &'static [u8]| {
        words.windows(2).filter(move |pair| pair[0].as_slice() == name).map(|pair| pair[1].clone())
    };
    Some(Native::Words {
        cpu: behind(b"-target-cpu").next()?,
        tune: behind(b"-tune-cpu").next(),
        features: behind(b"-target-feature").collect(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gcc_hands_over_a_row_of_words() {
        let listing = b"Target: x\n /usr/lib/cc1 -quiet -imultiarch x n.c \"-march=znver3\" -mavx2 -mno-sgx --param \
            \"l1-cache-size=32\" \"-mtune=znver3\" -quiet -dumpbase n.c -mno-red-zone -o /tmp/cc123456.s\n as x\n";
        let expected =
            b"*cc1_cpu:\n%>march=native %>mtune=native -march=znver3 -mavx2 -mno-sgx --param l1-cache-size=32 \
            -mtune=znver3\n\n";
        assert_eq!(resolve(CompilerFamily::Gcc, listing), Some(Native::Specs(Bytes::from(*expected))));
        assert_eq!(resolve(CompilerFamily::Gcc, b" cc1 -quiet n.c -quiet -dumpbase n.c\n"), None);
        assert_eq!(resolve(CompilerFamily::Gcc, b" cc1 -quiet n.c -march=%x -quiet\n"), None);
        assert_eq!(resolve(CompilerFamily::Gcc, b""), None);
    }

    #[test]
    fn clang_names_processor_and_features() {
        let listing = b" \"/usr/bin/clang\" \"-cc1\" \"-target-cpu\" \"znver3\" \"-target-feature\" \"+avx\" \
            \"-target-feature\" \"-sgx\" \"-o\" \"n.o\"\n";
        let text = |text: &str| Bytes::from(text.as_bytes());
        let expected = Native::Words { cpu: text("znver3"), tune: None, features: vec![text("+avx"), text("-sgx")] };
        assert_eq!(resolve(CompilerFamily::Clang, listing), Some(expected));
        assert_eq!(resolve(CompilerFamily::Clang, b" \"clang\" \"-cc1\"\n"), None);
    }
}
