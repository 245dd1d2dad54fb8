//! What protects the architecture and nobody should have to watch: the direction of imports, the purity of `engine`, the
//! place of `unsafe` and of new processes, and that lists and their documents agree.
//!
//! Reads the sources as text: comments, strings and unit tests are cut out, then every path (`a::b::c`, `use` trees spelt
//! out) is looked at. Names that a file brings in by another file's re-export are that other file's business.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use farcc::model::reason::Reason;

/// Layers, lower ones first. A file may name its own layer and those of lower rank.
const LAYERS: &[(&str, u8)] =
    &[("model", 0), ("engine", 1), ("os", 2), ("daemon", 3), ("wrapper", 3), ("cli", 3), ("bin", 4)];

/// What decides must not be able to act.
const ENGINE_MAY_NOT: &[&str] = &[
    "std::fs",
    "std::net",
    "std::process",
    "std::env",
    "std::thread",
    "std::time::Instant",
    "std::time::SystemTime",
    "std::collections::HashMap",
    "std::collections::HashSet",
    "HashMap",
    "HashSet",
    "Instant",
    "SystemTime",
    "tokio",
    "rustix",
    "libc",
    "hyper",
    "zbus",
];

/// What only reaches the wrapper by accident, and would cost a millisecond with every unit.
const WRAPPER_MAY_NOT: &[&str] = &["tokio", "zbus", "hyper", "hyper_util", "rustls", "tracing_journald", "clap"];

/// The only place of `unsafe`.
const UNSAFE: &str = "src/os/sys.rs";

/// Who may name `process::Command`, and why. What a builder runs goes through `os::process` alone.
const COMMAND: &[(&str, &str)] = &[
    ("src/os/process/", "the place for it"),
    (UNSAFE, "prepares commands and starts none"),
    ("src/os/toolchain/ask.rs", "asks a compiler driver of this machine"),
    ("src/os/inputs/dependency_run.rs", "asks the unit's own compiler, as its user would"),
    ("src/wrapper/", "becomes the compiler"),
    ("src/cli/", "starts a throwaway farm and the command on it"),
];

struct Source {
    /// Relative to the package.
    path: String,
    text: String,
    /// Without comments, strings and unit tests.
    code: String,
    paths: BTreeSet<String>,
}

impl Source {
    fn layer(&self) -> Option<&str> {
        let rest = self.path.strip_prefix("src/")?;
        rest.split_once('/').map(|(layer, _)| layer)
    }

    /// Whether the file names `path` or something below it.
    fn names(&self, path: &str) -> bool {
        self.paths.iter().any(|named| is_below(named, path))
    }

    /// `crate::os::net` → `os/net`, for every path into this package.
    fn inner_paths(&self) -> impl Iterator<Item = &str> {
        let own = |path: &'static str| move |named: &&String| is_below(named, path);
        let strip = |named: &'_ String| named.split_once("::").map_or(0, |(root, _)| root.len() + 2);
        let of_crate = self.paths.iter().filter(own("crate"));
        let of_name = self.paths.iter().filter(own("farcc"));
        of_crate.chain(of_name).map(move |named| &named[strip(named)..])
    }
}

fn is_below(named: &str, path: &str) -> bool {
    named.strip_prefix(path).is_some_and(|rest| rest.is_empty() || rest.starts_with("::"))
}

fn package() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn sources() -> Vec<Source> {
    let mut files = Vec::new();
    list(&package().join("src"), &mut files);
    files.sort();
    assert!(files.len() > 20, "only {} sources found", files.len());
    files.iter().map(|file| read(file)).collect()
}

fn list(directory: &Path, files: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(directory).expect("a directory of sources") {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            list(&path, files);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            files.push(path);
        }
    }
}

fn read(file: &Path) -> Source {
    let text = fs::read_to_string(file).expect("a source in UTF-8");
    let path = file.strip_prefix(package()).expect("listed below it").display().to_string();
    let code = without_tests(&strip(&text)).to_owned();
    let paths = paths(&code);
    Source { path, text, code, paths }
}

/// The part before the unit tests, which stand at the end of a file and may do as they like.
fn without_tests(code: &str) -> &str {
    code.find("#[cfg(test)]\nmod tests").map_or(code, |start| &code[..start])
}

/// Cuts out comments and the insides of strings.
fn strip(text: &str) -> String {
    let mut code = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(next) = rest.chars().next() {
        let skipped = skip(rest, code.chars().next_back());
        if skipped > 0 {
            code.push(' ');
            rest = &rest[skipped..];
        } else {
            code.push(next);
            rest = &rest[next.len_utf8()..];
        }
    }
    code
}

/// Bytes of the comment, string or character that `rest` begins with.
fn skip(rest: &str, before: Option<char>) -> usize {
    if rest.starts_with("//") {
        return rest.find('\n').unwrap_or(rest.len());
    }
    if rest.starts_with("/*") {
        return rest.find("*/").map_or(rest.len(), |end| end + 2);
    }
    let in_word = before.is_some_and(|before| before.is_alphanumeric() || before == '_');
    if !in_word && let Some(raw) = raw_string(rest) {
        return raw;
    }
    if rest.starts_with('"') {
        return quoted(rest);
    }
    // A character, not a lifetime: it closes after one character or one escape.
    if let Some(inside) = rest.strip_prefix('\'') {
        let width = if inside.starts_with('\\') { 2 } else { inside.chars().next().map_or(0, char::len_utf8) };
        if inside.get(width..).is_some_and(|after| after.starts_with('\'')) {
            return width + 2;
        }
    }
    0
}

fn quoted(rest: &str) -> usize {
    let mut escaped = false;
    for (index, byte) in rest.bytes().enumerate().skip(1) {
        match byte {
            b'"' if !escaped => return index + 1,
            _ => escaped = byte == b'\\' && !escaped,
        }
    }
    rest.len()
}

fn raw_string(rest: &str) -> Option<usize> {
    let body = rest.strip_prefix("br").or_else(|| rest.strip_prefix('r'))?;
    let hashes = body.len() - body.trim_start_matches('#').len();
    let inside = body[hashes..].strip_prefix('"')?;
    let end = format!("\"{}", "#".repeat(hashes));
    let start = rest.len() - inside.len();
    Some(inside.find(&end).map_or(rest.len(), |at| start + at + end.len()))
}

/// Every path in the code, `use` trees spelt out, single names too.
fn paths(code: &str) -> BTreeSet<String> {
    let tokens = tokens(code);
    let mut found = BTreeSet::new();
    let mut index = 0;
    while index < tokens.len() {
        if tokens[index] == "use" {
            index = tree(&tokens, index + 1, "", &mut found);
        } else if is_word(tokens[index]) {
            let mut path = tokens[index].to_owned();
            while tokens.get(index + 1) == Some(&"::") && tokens.get(index + 2).is_some_and(|token| is_word(token)) {
                path = format!("{path}::{}", tokens[index + 2]);
                index += 2;
            }
            found.insert(path);
        }
        index += 1;
    }
    found
}

/// Spells out the `use` tree that begins at `index`; where it ends.
fn tree(tokens: &[&str], mut index: usize, prefix: &str, found: &mut BTreeSet<String>) -> usize {
    let mut path = prefix.to_owned();
    loop {
        match tokens.get(index).copied() {
            Some("::") => {}
            Some("{") => {
                index += 1;
                while let Some(&token) = tokens.get(index)
                    && token != "}"
                {
                    index = if token == "," { index + 1 } else { tree(tokens, index, &path, found) };
                }
                return index + 1;
            }
            // The new name is of no interest.
            Some("as") => index += 1,
            Some(word) if is_word(word) || word == "*" => {
                path = if path.is_empty() { word.to_owned() } else { format!("{path}::{word}") };
            }
            _ => {
                found.insert(path);
                return index;
            }
        }
        index += 1;
    }
}

fn tokens(code: &str) -> Vec<&str> {
    let mut tokens = Vec::new();
    let mut rest = code.trim_start();
    while let Some(first) = rest.chars().next() {
        let word = rest.find(|c: char| !(c.is_alphanumeric() || c == '_')).unwrap_or(rest.len());
        let len = if word > 0 {
            word
        } else if rest.starts_with("::") {
            2
        } else {
            first.len_utf8()
        };
        tokens.push(&rest[..len]);
        rest = rest[len..].trim_start();
    }
    tokens
}

fn is_word(token: &str) -> bool {
    token.starts_with(|c: char| c.is_alphabetic() || c == '_')
}

/// Fails with every line at once.
#[track_caller]
fn expect_none(broken: &[String]) {
    assert!(broken.is_empty(), "\n{}", broken.join("\n"));
}

#[test]
fn imports_point_down() {
    let ranks: BTreeMap<&str, u8> = LAYERS.iter().copied().collect();
    let mut broken = Vec::new();
    for source in sources() {
        let Some(layer) = source.layer() else { continue };
        let rank = *ranks.get(layer).unwrap_or_else(|| panic!("{}: the layer {layer} is not listed here", source.path));
        for inner in source.inner_paths() {
            let target = inner.split("::").next().unwrap_or_default();
            let is_allowed = target == layer || ranks.get(target).is_none_or(|&other| other < rank);
            if !is_allowed {
                broken.push(format!("{}: {layer} may not name {inner}", source.path));
            }
        }
    }
    expect_none(&broken);
}

#[test]
fn daemons_do_not_know_each_other() {
    let mut broken = Vec::new();
    for source in sources() {
        let Some((own, _)) = source.path.strip_prefix("src/daemon/").and_then(|rest| rest.split_once('/')) else {
            continue;
        };
        for inner in source.inner_paths() {
            let other = inner.strip_prefix("daemon::").and_then(|rest| rest.split("::").next());
            if other.is_some_and(|other| other != own && package().join("src/daemon").join(other).is_dir()) {
                broken.push(format!("{}: names {inner}", source.path));
            }
        }
    }
    expect_none(&broken);
}

#[test]
fn the_engine_cannot_act() {
    let mut broken = Vec::new();
    for source in sources().iter().filter(|source| matches!(source.layer(), Some("engine" | "model"))) {
        for name in ENGINE_MAY_NOT {
            if source.names(name) {
                broken.push(format!("{}: names {name}", source.path));
            }
        }
    }
    expect_none(&broken);
}

#[test]
fn the_wrapper_reaches_no_runtime() {
    let sources = sources();
    let by_path: BTreeMap<&str, &Source> = sources.iter().map(|source| (source.path.as_str(), source)).collect();
    let is_start = |path: &str| path.starts_with("src/wrapper/") || path == "src/bin/farcc.rs";
    let mut todo: Vec<&str> = by_path.keys().copied().filter(|path| is_start(path)).collect();
    let mut reached = BTreeSet::new();
    let mut broken = Vec::new();
    while let Some(path) = todo.pop() {
        let source = by_path[path];
        if !reached.insert(path) {
            continue;
        }
        for name in WRAPPER_MAY_NOT {
            if source.names(name) {
                broken.push(format!("{path}: names {name}, and the wrapper reaches it"));
            }
        }
        todo.extend(source.inner_paths().filter_map(|inner| file_of(inner, &by_path)));
    }
    assert!(reached.len() > 5, "the wrapper reaches only {reached:?}");
    expect_none(&broken);
}

/// The deepest file that a path leads to.
fn file_of<'a>(inner: &str, by_path: &BTreeMap<&'a str, &Source>) -> Option<&'a str> {
    let mut path = inner.replace("::", "/");
    loop {
        for candidate in [format!("src/{path}.rs"), format!("src/{path}/mod.rs")] {
            if let Some((&known, _)) = by_path.get_key_value(candidate.as_str()) {
                return Some(known);
            }
        }
        path.truncate(path.rfind('/')?);
    }
}

#[test]
fn unsafe_stays_in_its_place() {
    let mut broken = Vec::new();
    for source in sources().iter().filter(|source| source.path != UNSAFE) {
        if tokens(&source.code).contains(&"unsafe") {
            broken.push(format!("{}: unsafe belongs in {UNSAFE}", source.path));
        }
    }
    expect_none(&broken);
}

#[test]
fn processes_start_in_few_places() {
    let starts = |path: &String| !path.starts_with("crate::") && path.contains("process::Command");
    let mut broken = Vec::new();
    for source in &sources() {
        let is_listed = COMMAND.iter().any(|(place, _)| source.path.starts_with(place));
        if source.paths.iter().any(starts) && !is_listed {
            broken.push(format!("{}: starts a process", source.path));
        }
    }
    expect_none(&broken);
}

/// One panic must not take along whoever asks for the same lock later.
#[test]
fn locks_survive_a_panic() {
    let is_brittle = |source: &&Source| {
        let code: String = source.code.split_whitespace().collect();
        [".lock().unwrap()", ".lock().expect("].iter().any(|call| code.contains(call))
    };
    expect_none(&sources().iter().filter(is_brittle).map(|source| source.path.clone()).collect::<Vec<_>>());
}

#[test]
fn every_file_says_what_it_is_for() {
    let is_silent = |source: &&Source| !source.text.starts_with("//! ");
    expect_none(&sources().iter().filter(is_silent).map(|source| source.path.clone()).collect::<Vec<_>>());
}

#[test]
fn every_reason_has_a_paragraph() {
    let document = fs::read_to_string(package().join("docs/reasons.md")).unwrap();
    let entry = |line: &str| Some(line.strip_prefix("**`")?.split_once("`**")?.0.to_owned());
    let documented: Vec<String> = document.lines().filter_map(entry).collect();
    let names: Vec<String> = Reason::ALL.iter().map(|reason| reason.name().to_owned()).collect();
    assert_eq!(documented, names, "docs/reasons.md has one paragraph for each reason, in the order of model::reason");
}

#[test]
fn every_wrong_result_has_its_test() {
    let document = fs::read_to_string(package().join("docs/wrong-results.md")).unwrap();
    let mut files = Vec::new();
    for directory in ["src", "tests"] {
        list(&package().join(directory), &mut files);
    }
    let code: String = files.iter().map(|file| fs::read_to_string(file).unwrap()).collect();
    let rows = document.lines().filter(|line| line.starts_with("| ") && line.contains('`'));
    let names: Vec<&str> =
        rows.flat_map(|row| row.rsplit(" | ").next().unwrap().split('`').skip(1).step_by(2)).collect();
    assert!(names.len() > 20, "{names:?}");
    let is_missing = |name: &&&str| !code.contains(&format!("fn {name}()"));
    expect_none(&names.iter().filter(is_missing).map(|name| (*name).to_owned()).collect::<Vec<_>>());
}

#[test]
fn every_limit_has_its_reason() {
    let limits = fs::read_to_string(package().join("src/model/limits.rs")).unwrap();
    let lines: Vec<&str> = limits.lines().collect();
    let is_bare = |pair: &&[&str]| pair[1].starts_with("pub const") && !pair[0].starts_with("/// ");
    let bare: Vec<String> = lines.windows(2).filter(is_bare).map(|pair| pair[1].to_owned()).collect();
    assert!(limits.matches("pub const").count() > 20);
    expect_none(&bare);
}

#[test]
fn the_reader_reads() {
    let code =
        strip("use a::{b, c::{d as e, f}}; // use g::h\nlet x = \"i::j\"; k::l(r#\"m::n\"#, '\"', 'x'); o::<p>();");
    let found: Vec<String> = paths(&code).into_iter().filter(|path| path.contains("::")).collect();
    assert_eq!(found, ["a::b", "a::c::d", "a::c::f", "k::l"]);
    assert!(is_below("std::fs::read", "std::fs") && !is_below("std::fsx", "std::fs"));
}
