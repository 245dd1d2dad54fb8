//! Tables, times and counts for people.

use std::io;
use std::time::Duration;

/// Rows of cells, in columns as wide as they need; the last one is not padded.
pub(crate) fn table<const N: usize>(rows: &[[String; N]]) -> String {
    let width = |column: usize| rows.iter().map(|row| row[column].chars().count()).max().unwrap_or(0);
    let widths: Vec<usize> = (0..N).map(width).collect();
    let mut text = String::new();
    for row in rows {
        let mut line = String::new();
        for (cell, width) in row.iter().zip(&widths) {
            line.push_str(&format!("{cell:width$}  "));
        }
        text.push_str(line.trim_end());
        text.push('\n');
    }
    text
}

/// With as many digits as anyone looks at.
pub(crate) fn duration(time: Duration) -> String {
    match time.as_secs_f64() {
        seconds if seconds >= 10.0 => format!("{seconds:.0} s"),
        seconds if seconds >= 1.0 => format!("{seconds:.1} s"),
        seconds => format!("{:.0} ms", seconds * 1000.0),
    }
}

/// A long time, as people say it.
pub(crate) fn age(time: Duration) -> String {
    match time.as_secs() {
        seconds @ 0..120 => count(seconds, "second"),
        seconds @ 120..7200 => count(seconds / 60, "minute"),
        seconds @ 7200..172_800 => count(seconds / 3600, "hour"),
        seconds => count(seconds / 86_400, "day"),
    }
}

/// In the largest unit that leaves a whole number worth reading.
pub(crate) fn size(bytes: u64) -> String {
    match bytes {
        0..10_000 => format!("{bytes} B"),
        10_000..10_000_000 => format!("{} kB", bytes / 1000),
        _ => format!("{} MB", bytes / 1_000_000),
    }
}

/// `1 builder`, `2 builders`.
pub(crate) fn count(number: impl Into<u64>, one: &str) -> String {
    match number.into() {
        1 => format!("1 {one}"),
        number => format!("{number} {one}s"),
    }
}

/// Text from elsewhere on a terminal: control characters could do more than be seen.
pub(crate) fn plain(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { '\u{fffd}' } else { c }).collect()
}

/// Lines of at most `width` characters, broken between words; a word that is longer has a line of its own.
pub(crate) fn wrap(text: &str, width: usize) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    for word in text.split_whitespace() {
        match lines.last_mut() {
            Some(line) if line.chars().count() + 1 + word.chars().count() <= width => {
                line.push(' ');
                line.push_str(word);
            }
            _ => lines.push(word.to_owned()),
        }
    }
    lines
}

/// The width of the terminal that standard output is. None where it is something else: there, nothing needs to fit.
pub(crate) fn columns() -> Option<usize> {
    let size = rustix::termios::tcgetwinsize(io::stdout()).ok()?;
    Some(match size.ws_col {
        // A terminal that does not know, as some serial ones.
        0 => COLUMNS_USUAL,
        columns => columns.into(),
    })
}

const COLUMNS_USUAL: usize = 80;
const ROWS_USUAL: usize = 24;

/// Columns and rows of the terminal that standard output is.
pub(crate) fn screen() -> (usize, usize) {
    let rows = rustix::termios::tcgetwinsize(io::stdout()).map_or(0, |size| size.ws_row);
    (columns().unwrap_or(COLUMNS_USUAL), if rows == 0 { ROWS_USUAL } else { rows.into() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_break_between_words() {
        assert_eq!(wrap("one two  three", 7), ["one two", "three"]);
        assert_eq!(wrap("overlong a", 4), ["overlong", "a"]);
        assert_eq!(wrap("", 4), [""; 0]);
    }

    #[test]
    fn columns_line_up() {
        let rows = [["a", "bbb", "c"], ["aaaé", "b", ""]].map(|row| row.map(str::to_owned));
        assert_eq!(table(&rows), "a     bbb  c\naaaé  b\n");
    }

    #[test]
    fn sizes_have_few_digits() {
        assert_eq!([0, 9999, 123_456, 103_456_789].map(size), ["0 B", "9999 B", "123 kB", "103 MB"]);
    }

    #[test]
    fn ages_have_one_unit() {
        let check = |seconds| age(Duration::from_secs(seconds));
        assert_eq!(
            [1, 119, 7199, 7200, 259_200].map(check),
            ["1 second", "119 seconds", "119 minutes", "2 hours", "3 days"]
        );
    }

    #[test]
    fn times_have_few_digits() {
        let check = |milliseconds| duration(Duration::from_millis(milliseconds));
        assert_eq!((check(7), check(1240), check(65_400)), ("7 ms".into(), "1.2 s".into(), "65 s".into()));
    }
}
