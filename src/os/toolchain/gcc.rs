//! What belongs to a gcc, by its own answers.
//!
//! Left out on purpose: `collect2`, `lto1` and start files, since linking stays local, and all headers.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use crate::engine::toolchain::driver;
use crate::os::toolchain::ask::Driver;
use crate::os::toolchain::pack::{PackError, add_named_program};
use crate::os::toolchain::prefixes;
use crate::os::toolchain::tree::{Tree, list};

/// Adds everything but shared libraries; tells which programs need some.
pub(super) fn add(driver: &Driver<'_>, tree: &mut Tree) -> Result<Vec<PathBuf>, PackError> {
    let mut programs = Vec::new();
    for name in PROGRAMS {
        programs.extend(program(driver, name, tree)?);
    }
    let compilers = ["cc1", "cc1plus"].map(OsStr::new);
    if !programs.iter().any(|program| program.file_name().is_some_and(|name| compilers.contains(&name))) {
        return Err(missing(driver, "cc1", tree)?);
    }
    match program(driver, "as", tree)? {
        Some(assembler) => programs.push(assembler),
        None => return Err(missing(driver, "as", tree)?),
    }

    let searched = driver::search_directories(&driver.ask(&["-print-search-dirs"])?);
    prefixes::watch(driver.selectors, &searched, &[PROGRAMS, &["as", "specs"]].concat(), tree)?;
    for file in ["liblto_plugin.so", "specs"] {
        tree.add_file(&path_in(&driver.ask(&[&format!("-print-file-name={file}")])?))?;
    }
    add_search_directories(driver, tree)?;
    add_include_directories(driver, tree)?;
    Ok(programs)
}

/// Compilers proper; what splits DWARF; what the driver names in `COLLECT_LTO_WRAPPER` to the programs it starts.
const PROGRAMS: &[&str] = &["cc1", "cc1plus", "objcopy", "lto-wrapper"];

fn program(driver: &Driver<'_>, name: &'static str, tree: &mut Tree) -> Result<Option<PathBuf>, PackError> {
    let answer = path_in(&driver.ask(&[&format!("-print-prog-name={name}")])?);
    add_named_program(&answer, driver.search_path, tree)
}

/// The failure for want of a program, which is over as soon as the driver would find one.
fn missing(driver: &Driver<'_>, name: &'static str, tree: &mut Tree) -> Result<PackError, PackError> {
    for directory in driver::search_directories(&driver.ask(&["-print-search-dirs"])?) {
        tree.watch(&directory.join(name))?;
    }
    Ok(PackError::MissingProgram { name })
}

/// The driver drops directories that do not exist from what it hands on, and reads specs from those that do.
fn add_search_directories(driver: &Driver<'_>, tree: &mut Tree) -> Result<(), PackError> {
    let multilibs = driver.ask(&["-print-multi-lib"])?;
    for options in driver::multilib_options(&String::from_utf8_lossy(&multilibs)) {
        let mut question: Vec<_> = options.iter().map(String::as_str).collect();
        question.push("-print-search-dirs");
        for directory in driver::search_directories(&driver.ask(&question)?) {
            let Some(directory) = tree.add_directory(&directory)? else { continue };
            let is_own = directory.join("cc1").exists() || directory.join("crtbegin.o").exists();
            for name in list(&directory)?.iter().filter(|name| *name == "specs" || is_own && is_spec_file(name)) {
                tree.add_file(&directory.join(name))?;
            }
            if is_own {
                tree.watch(&directory)?;
            }
        }
    }
    Ok(())
}

/// Empty ones: a preprocessor without any complains, and each unit brings its own headers.
fn add_include_directories(driver: &Driver<'_>, tree: &mut Tree) -> Result<(), PackError> {
    for language in ["c", "c++"] {
        let answer = driver.run(&["-v", "-E", "-x", language, "/dev/null"])?;
        for directory in driver::include_directories(&answer.stderr) {
            tree.add_directory(&directory)?;
        }
    }
    Ok(())
}

/// `libgomp.spec` and its like, which some options include.
fn is_spec_file(name: &OsStr) -> bool {
    name.as_bytes().ends_with(b".spec")
}

/// Drivers answer with the bare name where they find nothing.
fn path_in(answer: &[u8]) -> PathBuf {
    Path::new(OsStr::from_bytes(answer.trim_ascii())).to_owned()
}
