//! Takes typed values out of a [`Document`] by name; what nobody asked for is unknown.
//!
//! Asking is the schema: there is no second list of keys that could disagree with the code.

use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use crate::engine::config::document::{Document, Entry, Place, Value};
use crate::engine::config::error::{Advice, ConfigError, Problem, Warning};

/// A configuration that holds, and what its author should know.
#[derive(Clone, Debug)]
pub struct Checked<T> {
    pub config: T,
    pub warnings: Vec<Warning>,
}

/// One effective setting for people: name and value; secrets show as `(secret)`.
pub type Setting = (&'static str, String);

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Default)]
pub enum LogLevel {
    Error,
    Warning,
    /// What an administrator may act on.
    #[default]
    Info,
    Debug,
    Trace,
}

impl LogLevel {
    pub fn name(self) -> &'static str {
        match self {
            Self::Error => "error",
            Self::Warning => "warning",
            Self::Info => "info",
            Self::Debug => "debug",
            Self::Trace => "trace",
        }
    }
}

impl fmt::Display for LogLevel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("a log level is error, warning, info, debug or trace")]
pub struct LogLevelError;

impl FromStr for LogLevel {
    type Err = LogLevelError;

    fn from_str(text: &str) -> Result<Self, LogLevelError> {
        match text {
            "error" => Ok(Self::Error),
            "warning" | "warn" => Ok(Self::Warning),
            "info" => Ok(Self::Info),
            "debug" => Ok(Self::Debug),
            "trace" => Ok(Self::Trace),
            _ => Err(LogLevelError),
        }
    }
}

/// A value with the place that said it.
#[derive(Clone, Debug)]
pub(super) struct Found<T> {
    pub(super) value: T,
    pub(super) at: Place,
    pub(super) layer: usize,
}

impl<T> Found<T> {
    pub(super) fn fail(&self, problem: Problem) -> ConfigError {
        ConfigError { at: self.at.clone(), problem }
    }

    pub(super) fn map<U>(self, change: impl FnOnce(T) -> Result<U, Problem>) -> Result<Found<U>, ConfigError> {
        match change(self.value) {
            Ok(value) => Ok(Found { value, at: self.at, layer: self.layer }),
            Err(problem) => Err(ConfigError { at: self.at, problem }),
        }
    }
}

pub(super) type Taken<T> = Result<Option<Found<T>>, ConfigError>;

/// Keys of other programs that are read and mean nothing here, with the reason. A key ending in `.` stands for all below it.
pub(super) type NoMeaning = (&'static str, &'static str);

#[derive(Debug)]
pub(super) struct Reader {
    document: Document,
    asked: Vec<&'static str>,
    warnings: Vec<Warning>,
}

impl Reader {
    pub(super) fn new(document: Document) -> Self {
        Self { document, asked: Vec::new(), warnings: Vec::new() }
    }

    pub(super) fn text(&mut self, key: &'static str) -> Taken<String> {
        self.take(key, "a string", |value| match value {
            Value::Text(text) => Ok(text),
            other => Err(other),
        })
    }

    /// A string that must be there: for tables inside lists, which no layer completes.
    pub(super) fn required(&mut self, key: &'static str, table: &Place) -> Result<Found<String>, ConfigError> {
        self.text(key)?.ok_or_else(|| ConfigError { at: table.clone(), problem: Problem::Missing { key } })
    }

    pub(super) fn number(&mut self, key: &'static str, min: u32, max: u32) -> Taken<u32> {
        let number = self.take(key, "a number", |value| match value {
            Value::Number(number) => Ok(number),
            other => Err(other),
        })?;
        let range = || Problem::Range { key: key.to_owned(), min: min.into(), max: max.into() };
        let in_range = |number: i64| u32::try_from(number).ok().filter(|n| (min..=max).contains(n)).ok_or_else(range);
        number.map(|number| number.map(in_range)).transpose()
    }

    /// Bytes: a number, or a string such as `10G`.
    pub(super) fn size(&mut self, key: &'static str) -> Taken<u64> {
        const EXPECTED: &str = "a number of bytes or a size such as \"10G\"";
        let size = self.take(key, EXPECTED, |value| match value {
            Value::Number(number) => Ok(number.to_string()),
            Value::Text(text) => Ok(text),
            other => Err(other),
        })?;
        let bytes = |text: String| {
            parse_size(&text).ok_or(Problem::Value { key: key.to_owned(), expected: EXPECTED, found: text })
        };
        size.map(|size| size.map(bytes)).transpose()
    }

    pub(super) fn path(&mut self, key: &'static str, home: Option<&Path>) -> Taken<PathBuf> {
        let text = self.text(key)?;
        text.map(|text| text.map(|text| expand(&text, home).map_err(|error| error.problem(key)))).transpose()
    }

    pub(super) fn log_level(&mut self) -> Result<LogLevel, ConfigError> {
        let Some(text) = self.text("log")? else { return Ok(LogLevel::default()) };
        let wrong =
            |found| Problem::Value { key: "log".into(), expected: "error, warning, info, debug or trace", found };
        Ok(text.map(|text| text.parse().map_err(|LogLevelError| wrong(text)))?.value)
    }

    pub(super) fn list(&mut self, key: &'static str) -> Result<Vec<Entry>, ConfigError> {
        let list = self.take(key, "a list", |value| match value {
            Value::List(items) => Ok(items),
            other => Err(other),
        })?;
        Ok(list.map(|list| list.value).unwrap_or_default())
    }

    pub(super) fn warn(&mut self, at: &Place, advice: Advice) {
        self.warnings.push(Warning { at: at.clone(), advice });
    }

    pub(super) fn warn_all(&mut self, warnings: Vec<Warning>) {
        self.warnings.extend(warnings);
    }

    /// Ends the reading: names what is left over.
    pub(super) fn finish(mut self, no_meaning: &[NoMeaning]) -> Result<Vec<Warning>, ConfigError> {
        for (key, entry) in std::mem::take(&mut self.document.entries) {
            let is_section = self.asked.iter().any(|asked| is_below(asked, &key));
            if is_section && entry.value == Value::EmptyTable {
                continue;
            }
            if is_section {
                let problem = Problem::Type { key, expected: "a table", found: entry.value.kind() };
                return Err(ConfigError { at: entry.at, problem });
            }
            if let Some(asked) = self.asked.iter().find(|asked| is_below(&key, asked)) {
                let problem = Problem::Type { key: (*asked).to_owned(), expected: "a single value", found: "a table" };
                return Err(ConfigError { at: entry.at, problem });
            }
            self.warnings.push(Warning { advice: self.left_over(key, no_meaning), at: entry.at });
        }
        self.warnings.sort_by(|a, b| (&a.at.source, a.at.position).cmp(&(&b.at.source, b.at.position)));
        Ok(self.warnings)
    }

    fn left_over(&self, key: String, no_meaning: &[NoMeaning]) -> Advice {
        let covers = |row: &&NoMeaning| match row.0.strip_suffix('.') {
            Some(section) => key == section || is_below(&key, section),
            None => key == row.0,
        };
        match no_meaning.iter().find(covers) {
            Some((_, why)) => Advice::NoMeaning { key, why },
            None => Advice::UnknownKey { nearest: nearest(&key, &self.asked), key },
        }
    }

    fn take<T>(
        &mut self,
        key: &'static str,
        expected: &'static str,
        read: impl FnOnce(Value) -> Result<T, Value>,
    ) -> Taken<T> {
        self.asked.push(key);
        let Some(Entry { value, at, layer }) = self.document.entries.remove(key) else { return Ok(None) };
        match read(value) {
            Ok(value) => Ok(Some(Found { value, at, layer })),
            Err(other) => {
                Err(ConfigError { at, problem: Problem::Type { key: key.to_owned(), expected, found: other.kind() } })
            }
        }
    }
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum PathError {
    Relative,
    NoHome,
}

impl PathError {
    fn problem(self, key: &str) -> Problem {
        match self {
            Self::Relative => Problem::RelativePath { key: key.to_owned() },
            Self::NoHome => Problem::NoHome { key: key.to_owned() },
        }
    }
}

/// `~/` is the home directory; everything else is absolute.
pub(super) fn expand(text: &str, home: Option<&Path>) -> Result<PathBuf, PathError> {
    match text.strip_prefix("~/") {
        Some(rest) => home.map(|home| home.join(rest)).ok_or(PathError::NoHome),
        None if text.starts_with('/') => Ok(PathBuf::from(text)),
        None => Err(PathError::Relative),
    }
}

/// `512`, `10K`, `10M`, `10G`, `10GB`, `10GiB`, `1T`: powers of 1024, as sccache reads them.
fn parse_size(text: &str) -> Option<u64> {
    let digits = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let shift = match text[digits..].trim().trim_end_matches(['B', 'b']).trim_end_matches('i') {
        "" => 0,
        "K" | "k" => 10,
        "M" => 20,
        "G" => 30,
        "T" => 40,
        _ => return None,
    };
    text[..digits].parse::<u64>().ok()?.checked_mul(1 << shift)
}

fn is_below(key: &str, section: &str) -> bool {
    key.strip_prefix(section).is_some_and(|rest| rest.starts_with('.'))
}

/// The known key that `key` is most likely a misspelling of: same last word elsewhere, or few letters apart.
fn nearest(key: &str, known: &[&'static str]) -> Option<&'static str> {
    let last = |key: &str| key.rsplit('.').next().unwrap_or_default().to_owned();
    let (distance, nearest) = known.iter().map(|known| (distance(key, known), *known)).min()?;
    if distance <= 1 + key.len() / 5 {
        return Some(nearest);
    }
    known.iter().find(|known| last(known) == last(key)).copied()
}

/// Letters to insert, delete or replace (Levenshtein).
fn distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, a) in a.chars().enumerate() {
        let mut diagonal = std::mem::replace(&mut row[0], i + 1);
        for (j, b) in b.iter().enumerate() {
            let replaced = diagonal + usize::from(a != *b);
            diagonal = row[j + 1];
            row[j + 1] = replaced.min(row[j] + 1).min(diagonal + 1);
        }
    }
    row[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::config::document::parse;

    #[test]
    fn sizes_are_powers_of_1024() {
        assert_eq!(parse_size("512"), Some(512));
        assert_eq!(parse_size("10G"), Some(10 << 30));
        assert_eq!(
            (parse_size("1 GiB"), parse_size("1MB"), parse_size("2k")),
            (Some(1 << 30), Some(1 << 20), Some(2048))
        );
        assert_eq!(
            (parse_size("-1"), parse_size("G"), parse_size("1X"), parse_size("99999999T")),
            (None, None, None, None)
        );
    }

    #[test]
    fn misspellings_find_their_key() {
        let known = ["scheduler_url", "dist.auth.type", "slots"];
        assert_eq!(nearest("shceduler_url", &known), Some("scheduler_url"));
        assert_eq!(nearest("slot", &known), Some("slots"));
        assert_eq!(nearest("auth.type", &known), Some("dist.auth.type"));
        assert_eq!(nearest("colour", &known), None);
    }

    #[test]
    fn a_section_is_no_value_and_a_value_no_section() {
        let finish = |text| {
            let mut reader = Reader::new(parse("f", text).unwrap());
            reader.text("dist.auth.type").unwrap();
            reader.text("log").unwrap();
            reader.finish(&[]).map(|warnings| warnings.len()).map_err(|error| error.to_string())
        };
        assert_eq!(finish("[dist.auth]\n"), Ok(0));
        assert_eq!(finish("dist = 5"), Err("f:1:1: `dist` must be a table, not a number".into()));
        assert_eq!(finish("log.level = 5"), Err("f:1:5: `log` must be a single value, not a table".into()));
        assert_eq!(finish("[other]"), Ok(1));
    }
}
