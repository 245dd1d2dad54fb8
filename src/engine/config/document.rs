//! Configuration as it was typed: every value under its full name, with the place it came from.
//!
//! Sections and inline tables read alike (`[dist.auth] type = …` and `dist.auth = { type = … }` both give `dist.auth.type`),
//! which is also what makes layers merge by single keys.

use std::collections::BTreeMap;
use std::fmt;
use std::ops::Range;
use std::sync::Arc;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use crate::engine::config::error::{ConfigError, Problem};

/// Where something was said.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Place {
    /// A file's path or a variable's name.
    pub source: Arc<str>,
    /// Line and column, counted from one; absent for a variable or a whole file.
    pub position: Option<(usize, usize)>,
}

impl Place {
    pub fn whole(source: &str) -> Self {
        Self { source: source.into(), position: None }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.position {
            Some((line, column)) => write!(f, "{}:{line}:{column}", self.source),
            None => f.write_str(&self.source),
        }
    }
}

/// Dotted name to value.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct Document {
    pub(super) entries: BTreeMap<String, Entry>,
}

#[derive(Clone, PartialEq, Debug)]
pub(super) struct Entry {
    pub(super) value: Value,
    pub(super) at: Place,
    /// Which layer said it; a higher one wins. Set by [`merge`].
    pub(super) layer: usize,
}

/// Any of these may be a token, so `Debug` says only what kind it is.
#[derive(Clone, PartialEq)]
pub(super) enum Value {
    Text(String),
    Number(i64),
    Flag(bool),
    List(Vec<Entry>),
    /// A table inside a list.
    Table(Document),
    /// A section without a key; only its name can be wrong.
    EmptyTable,
    /// Something no key here takes; the word for it.
    Other(&'static str),
}

impl Value {
    pub(super) fn kind(&self) -> &'static str {
        match self {
            Self::Text(_) => "a string",
            Self::Number(_) => "a number",
            Self::Flag(_) => "true or false",
            Self::List(_) => "a list",
            Self::Table(_) | Self::EmptyTable => "a table",
            Self::Other(kind) => kind,
        }
    }
}

impl fmt::Debug for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.kind())
    }
}

/// Reads TOML. `source` names the text in errors and warnings.
///
/// # Errors
/// The first thing that is no TOML, with its place.
pub fn parse(source: &str, text: &str) -> Result<Document, ConfigError> {
    let source: Arc<str> = source.into();
    let places = Places { source: &source, text };
    let table = DeTable::parse(text).map_err(|error| ConfigError {
        at: places.at(&error.span().unwrap_or(text.len()..text.len())),
        problem: Problem::Syntax(error.message().lines().collect::<Vec<_>>().join(", ")),
    })?;
    let mut document = Document::default();
    flatten(table.get_ref(), "", &places, &mut document);
    Ok(document)
}

/// Lays documents over each other; later ones win, key by key.
pub fn merge(layers: Vec<Document>) -> Document {
    let mut merged = Document::default();
    for (layer, document) in layers.into_iter().enumerate() {
        merged.entries.extend(document.entries.into_iter().map(|(key, entry)| (key, Entry { layer, ..entry })));
    }
    merged
}

fn flatten(table: &DeTable<'_>, prefix: &str, places: &Places<'_>, document: &mut Document) {
    for (key, value) in table {
        let name = match prefix {
            "" => key.get_ref().to_string(),
            _ => format!("{prefix}.{}", key.get_ref()),
        };
        match value.get_ref() {
            DeValue::Table(inner) if !inner.is_empty() => flatten(inner, &name, places, document),
            _ => {
                let entry = Entry { value: read(value, places), at: places.at(&key.span()), layer: 0 };
                document.entries.insert(name, entry);
            }
        }
    }
}

fn read(value: &Spanned<DeValue<'_>>, places: &Places<'_>) -> Value {
    match value.get_ref() {
        DeValue::String(text) => Value::Text(text.to_string()),
        DeValue::Boolean(flag) => Value::Flag(*flag),
        DeValue::Integer(number) => i64::from_str_radix(number.as_str(), number.radix())
            .map_or(Value::Other("a number that is far too large"), Value::Number),
        DeValue::Array(items) => Value::List(
            items
                .iter()
                .map(|item| Entry { value: read(item, places), at: places.at(&item.span()), layer: 0 })
                .collect(),
        ),
        DeValue::Table(table) if table.is_empty() => Value::EmptyTable,
        DeValue::Table(table) => {
            let mut document = Document::default();
            flatten(table, "", places, &mut document);
            Value::Table(document)
        }
        DeValue::Float(_) => Value::Other("a number with a fraction"),
        DeValue::Datetime(_) => Value::Other("a date"),
    }
}

struct Places<'a> {
    source: &'a Arc<str>,
    text: &'a str,
}

impl Places<'_> {
    fn at(&self, span: &Range<usize>) -> Place {
        let before = &self.text.as_bytes()[..span.start.min(self.text.len())];
        let line_start = before.iter().rposition(|byte| *byte == b'\n').map_or(0, |newline| newline + 1);
        let line = before.iter().filter(|byte| **byte == b'\n').count() + 1;
        let column = String::from_utf8_lossy(&before[line_start..]).chars().count() + 1;
        Place { source: self.source.clone(), position: Some((line, column)) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn render(document: &Document) -> Vec<String> {
        document.entries.iter().map(|(key, entry)| format!("{key} {} {}", entry.at, entry.value.kind())).collect()
    }

    #[test]
    fn sections_and_inline_tables_read_alike() {
        let section = parse("f", "[dist.auth]\ntype = \"token\"\n").unwrap();
        let inline = parse("f", "\ndist.auth = { type = \"token\" }\n").unwrap();
        assert_eq!(render(&section), ["dist.auth.type f:2:1 a string"]);
        assert_eq!(render(&inline), ["dist.auth.type f:2:15 a string"]);
    }

    #[test]
    fn later_layers_win_key_by_key() {
        let merged = merge(vec![parse("a", "x = 1\ny = 1").unwrap(), parse("b", "y = true").unwrap()]);
        assert_eq!(render(&merged), ["x a:1:1 a number", "y b:1:1 true or false"]);
    }

    #[test]
    fn syntax_errors_have_a_place() {
        let error = parse("f", "a = 1\nb = \"x\nc = 2\n").unwrap_err();
        assert!(error.to_string().starts_with("f:2:"), "{error}");
        assert_eq!(error.to_string().lines().count(), 1);
    }

    #[test]
    fn neither_errors_nor_debug_show_a_value() {
        let error = parse("f", "[dist.auth]\ntoken = \"hunter2\n").unwrap_err();
        let document = parse("f", "[dist.auth]\ntoken = \"hunter2\"\nmore = [{ token = \"hunter2\" }]").unwrap();
        assert!(!format!("{error} {error:?} {document:?}").contains("hunter2"));
    }

    proptest::proptest! {
        #[test]
        fn no_text_panics(text in "[a-c\\[\\]{}=.\"'#\n 0-9_\u{e9}-]{0,60}") {
            parse("f", &text).ok();
        }
    }
}
