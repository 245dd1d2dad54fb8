//! `farccctl toolchain`: packs compilers, shows what the client daemon has packed, tries a package out.

mod check;

use std::ffi::OsString;
use std::fs::{self, File};
use std::io::{self, BufWriter};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use crate::cli::arguments::{ListOptions, PackageOptions, ShowOptions};
use crate::cli::render::{plain, size, table};
use crate::cli::{Failure, ask, print, say};
use crate::engine::toolchain::selectors::selectors;
use crate::engine::wire::local::Question;
use crate::model::causes::with_causes;
use crate::model::exit;
use crate::model::report::{PackageReport, PackageSummary, ToolchainReport};
use crate::os::random;
use crate::os::toolchain::{self, Package, Subject, Variables, normal_path};

pub(crate) use check::check;

pub(crate) fn package(options: &PackageOptions) -> Result<u8, Failure> {
    let subject = subject(&options.compiler, &options.options)?;
    let package = pack(&subject)?;
    write(&package, &options.archive)?;
    print(&format!("{}: {}\n", subject.compiler.display(), describe(&package.summary())))
}

pub(crate) fn list(options: &ListOptions) -> Result<u8, Failure> {
    let json = ask::ask(Question::Toolchains)?;
    if options.json {
        return print(&format!("{json}\n"));
    }
    let reports: Vec<ToolchainReport> = ask::read(&json)?;
    if reports.is_empty() {
        say("no unit has needed a package since the client daemon started");
        return Ok(exit::NEGATIVE);
    }
    print(&rows(&reports))
}

pub(crate) fn show(options: &ShowOptions) -> Result<u8, Failure> {
    let reports: Vec<ToolchainReport> = ask::read(&ask::ask(Question::Toolchains)?)?;
    let wanted: Vec<_> = reports.into_iter().filter(|report| is_meant(&options.wanted, report)).collect();
    if wanted.is_empty() {
        let cause =
            format_args!("{}: the client daemon knows no such compiler or toolchain", options.wanted).to_string();
        return Err(Failure::new(exit::NEGATIVE, cause));
    }
    if options.json {
        let json = serde_json::to_string(&wanted).map_err(Failure::with(exit::INTERNAL))?;
        return print(&format!("{json}\n"));
    }
    print(&wanted.iter().map(tell).collect::<Vec<_>>().join("\n"))
}

/// The compiler as a build of this caller would see it.
fn subject(compiler: &Path, options: &[OsString]) -> Result<Subject, Failure> {
    let unusable = |cause: String| Failure::new(exit::NEGATIVE, cause);
    let cwd =
        std::env::current_dir().map_err(|error| unusable(format!("cannot tell the working directory: {error}")))?;
    let found = match compiler.as_os_str().as_bytes().contains(&b'/') {
        true => Some(cwd.join(compiler)),
        false => in_path(compiler),
    };
    let found = found.ok_or_else(|| unusable(format!("{}: command not found", compiler.display())))?;
    let compiler = normal_path(&found).map_err(|error| unusable(format!("{}: {error}", found.display())))?;
    let words: Vec<&[u8]> = options.iter().map(|option| option.as_bytes()).collect();
    Ok(Subject { compiler, selectors: selectors(&words, &cwd), variables: Variables::of(std::env::vars_os()) })
}

/// The first program of that name that is no launcher and not farcc under a compiler's name, which would be the same compiler
/// once more.
fn in_path(name: &Path) -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    let candidates = std::env::split_paths(&path).filter(|directory| directory.is_absolute()).map(|dir| dir.join(name));
    let mut programs = candidates.filter(|candidate| candidate.is_file());
    programs.find(|program| !toolchain::is_launcher(program))
}

fn pack(subject: &Subject) -> Result<Package, Failure> {
    toolchain::package(subject).map_err(|error| {
        Failure::new(exit::NEGATIVE, format_args!("{}: {}", subject.compiler.display(), with_causes(&error)))
    })
}

/// Under its name only when it is whole.
fn write(package: &Package, archive: &Path) -> Result<(), Failure> {
    let cannot = |error: &dyn std::error::Error| {
        Failure::new(exit::DIRECTORY, format_args!("cannot write {}: {}", archive.display(), with_causes(error)))
    };
    let mut name = archive.as_os_str().to_owned();
    name.push(format!(".{:016x}", u64::from_ne_bytes(random::bytes())));
    let temporary = Temporary(PathBuf::from(name));
    let file = File::create_new(&temporary.0).map_err(|error| cannot(&error))?;
    package.write_archive(BufWriter::new(file)).map_err(|error| cannot(&error))?;
    fs::rename(&temporary.0, archive).map_err(|error| cannot(&error))
}

/// A file that is gone when dropped, unless it has another name by then.
struct Temporary(PathBuf);

impl Drop for Temporary {
    fn drop(&mut self) {
        match fs::remove_file(&self.0) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                say(&format!("cannot remove {}: {error}", self.0.display()));
            }
            _ => {}
        }
    }
}

fn describe(package: &PackageSummary) -> String {
    let PackageSummary { id, compiler, files, bytes, .. } = package;
    format!("{compiler}, toolchain {id}, {files} files, {}", size(*bytes))
}

/// One line for each that differs in what is shown.
fn rows(reports: &[ToolchainReport]) -> String {
    let mut rows: Vec<_> = reports.iter().map(row).collect();
    rows.dedup();
    table(&rows)
}

fn row(report: &ToolchainReport) -> [String; 4] {
    let name = called(report);
    match &report.package {
        PackageReport::Running => [name, "-".into(), "being packaged".into(), String::new()],
        PackageReport::Failed { why } => [name, "-".into(), "not packaged".into(), plain(why)],
        PackageReport::Packaged(package) => {
            let origin =
                package.archive.as_ref().map(|archive| format!(", from {}", plain(archive))).unwrap_or_default();
            let contents = format!("{} files, {}{origin}", package.files, size(package.bytes));
            [name, plain(&package.compiler), package.id.chars().take(ID_DIGITS).collect(), contents]
        }
    }
}

fn called(report: &ToolchainReport) -> String {
    let words: Vec<_> = std::iter::once(&report.compiler).chain(&report.options).map(|word| plain(word)).collect();
    words.join(" ")
}

/// By its path, its name, or an id that begins so.
fn is_meant(wanted: &str, report: &ToolchainReport) -> bool {
    let compiler = Path::new(&report.compiler);
    let has_id = matches!(&report.package, PackageReport::Packaged(package) if package.id.starts_with(wanted));
    compiler == Path::new(wanted)
        || compiler.file_name().is_some_and(|name| name == wanted)
        || has_id && wanted.len() >= ID_DIGITS_MIN
}

fn tell(report: &ToolchainReport) -> String {
    let mut text = format!("{}\n", called(report));
    let mut line = |name: &str, value: &str| text.push_str(&format!("  {name:9}  {}\n", plain(value)));
    match &report.package {
        PackageReport::Running => line("package", "being made"),
        PackageReport::Failed { why } => {
            line("package", "none; tried again when a file changes that this is about");
            line("because", why);
        }
        PackageReport::Packaged(package) => {
            line("compiler", &package.compiler);
            line("toolchain", &package.id);
            line("contents", &format!("{} files, {}", package.files, size(package.bytes)));
            if let Some(archive) = &package.archive {
                line("archive", archive);
            }
        }
    }
    for (name, value) in &report.variables {
        line(name, value);
    }
    text
}

/// As `Digest::short` has it.
const ID_DIGITS: usize = 12;
/// Fewer could be a compiler's name, `cc` for one.
const ID_DIGITS_MIN: usize = 4;

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    fn report(compiler: &str, package: PackageReport) -> ToolchainReport {
        let variables = BTreeMap::from([("PATH".to_owned(), "/bin\u{1b}".to_owned())]);
        ToolchainReport { compiler: compiler.into(), options: vec!["-m32".into()], variables, package }
    }

    fn packaged() -> PackageReport {
        PackageReport::Packaged(PackageSummary {
            id: "0123456789abcdef".into(),
            compiler: "gcc 12.2.0".into(),
            files: 57,
            bytes: 103_000_000,
            archive: None,
        })
    }

    #[test]
    fn a_list_says_what_is_and_what_is_not() {
        let failed = PackageReport::Failed { why: "it is a script".into() };
        let reports = [
            report("/usr/bin/gcc", packaged()),
            report("/usr/bin/gcc", packaged()),
            report("/opt/cc", failed),
            report("/opt/gcc", PackageReport::Running),
        ];
        let expected = "\
/usr/bin/gcc -m32  gcc 12.2.0  0123456789ab    57 files, 103 MB
/opt/cc -m32       -           not packaged    it is a script
/opt/gcc -m32      -           being packaged
";
        assert_eq!(rows(&reports), expected);
    }

    #[test]
    fn one_is_shown_in_full() {
        let told = tell(&report("/usr/bin/gcc", packaged()));
        for words in
            ["/usr/bin/gcc -m32\n", "gcc 12.2.0", "0123456789abcdef", "57 files, 103 MB", "PATH       /bin\u{fffd}"]
        {
            assert!(told.contains(words), "{words}: {told}");
        }
    }

    #[test]
    fn a_toolchain_goes_by_path_name_and_id() {
        let report = report("/usr/bin/gcc", packaged());
        for (wanted, expected) in
            [("/usr/bin/gcc", true), ("gcc", true), ("01234", true), ("012", false), ("/bin/gcc", false), ("cc", false)]
        {
            assert_eq!(is_meant(wanted, &report), expected, "{wanted}");
        }
    }
}
