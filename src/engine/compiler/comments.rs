//! Tells which places of a text stand in comments.
//!
//! Only comments that open on a line without a quote before them are believed: what looks like one may stand in a string, and where
//! strings end is not known here. Prose about assembler is common, and each unit with it would have to be preprocessed to know
//! better.

/// Reads a text from its beginning on, each byte once, however many places are asked about.
#[derive(Debug)]
pub(super) struct Comments<'a> {
    text: &'a [u8],
    /// What was read so far.
    at: usize,
    before: u8,
    /// On this line.
    has_quote: bool,
    /// Whether to believe the first `//` of this line.
    by_line: Option<bool>,
    by_block: bool,
}

impl<'a> Comments<'a> {
    pub(super) fn of(text: &'a [u8]) -> Self {
        Self { text, at: 0, before: b'\n', has_quote: false, by_line: None, by_block: false }
    }

    /// What follows the first `at` bytes stands in a comment. Asked about places in ascending order.
    pub(super) fn cover(&mut self, at: usize) -> bool {
        while self.at < at {
            self.step();
        }
        self.by_block || self.by_line == Some(true)
    }

    fn step(&mut self) {
        let byte = self.text[self.at];
        match (self.before, byte) {
            (_, b'\n') => {
                self.has_quote = false;
                self.by_line = None;
            }
            (_, b'"') => self.has_quote = true,
            (b'/', b'/') => {
                self.by_line.get_or_insert(!self.has_quote);
            }
            (b'/', b'*') => self.by_block = !self.has_quote,
            (b'*', b'/') => self.by_block = false,
            _ => {}
        }
        self.before = byte;
        self.at += 1;
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// The same, looking back from the place.
    fn is_commented(before: &[u8]) -> bool {
        let find = |wanted: &[u8]| before.windows(2).rposition(|pair| pair == wanted);
        let line_of = |at: usize| before[..at].iter().rposition(|&byte| byte == b'\n').map_or(0, |newline| newline + 1);
        let is_plain = |at: usize| !before[line_of(at)..at].contains(&b'"');
        let line = line_of(before.len());
        let by_line = before[line..].windows(2).position(|pair| pair == b"//").is_some_and(|at| is_plain(line + at));
        let by_block = find(b"/*").is_some_and(|open| find(b"*/").is_none_or(|close| close < open) && is_plain(open));
        by_line || by_block
    }

    proptest! {
        #[test]
        fn every_place_is_what_a_look_back_says(pieces in prop::collection::vec(
            prop::sample::select(vec!["/*", "*/", "//", "/", "*", "\"", "\n", " .incbin ", "\\", "x"]), 0..60,
        )) {
            let text = pieces.concat();
            let text = text.as_bytes();
            let mut comments = Comments::of(text);
            for at in 0..=text.len() {
                prop_assert_eq!(comments.cover(at), is_commented(&text[..at]), "{}", text[..at].escape_ascii());
            }
        }
    }

    #[test]
    fn no_byte_is_read_twice() {
        let text = "/* .incbin */ \"//\" .include\n// .incbin\n".repeat(1000);
        let mut comments = Comments::of(text.as_bytes());
        let (mut n_places, mut n_steps, mut n_covered) = (0, 0, 0);
        for (at, _) in text.match_indices(".inc") {
            let before = comments.at;
            n_covered += usize::from(comments.cover(at));
            n_steps += comments.at - before;
            n_places += 1;
        }
        assert_eq!((n_places, n_covered), (3000, 2000));
        assert!(n_steps <= text.len(), "{n_steps} steps for {} bytes", text.len());
    }
}
