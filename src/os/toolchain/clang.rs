//! What belongs to a clang, by its own answers, and the files it probes without telling.

use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use crate::engine::toolchain::driver::{ClangReport, clang_report, included_configurations};
use crate::os::toolchain::ask::Driver;
use crate::os::toolchain::pack::{PackError, add_named_program};
use crate::os::toolchain::prefixes;
use crate::os::toolchain::tree::{Tree, list};

/// Adds everything but shared libraries; tells which programs need some.
pub(super) fn add(driver: &Driver<'_>, tree: &mut Tree) -> Result<Vec<PathBuf>, PackError> {
    for options in QUESTIONS {
        let question = [*options, &["-v", "-###", "-c", "/dev/null"]].concat();
        add_reported(&clang_report(&driver.run(&question)?.stderr), tree)?;
    }
    for path in PROBED {
        tree.add_file(Path::new(path))?;
    }
    tree.add_whole(Path::new("/etc/env.d/gcc"))?;
    for path in PROBED_DIRECTORIES {
        tree.add_directory(Path::new(path))?;
    }
    for parent in ["/lib", "/usr/lib", "/usr/include"] {
        add_multiarch_directories(Path::new(parent), tree)?;
    }

    // Only `-fno-integrated-as` wants it, so there need not be one; objcopy serves old ways of splitting DWARF.
    let mut programs = Vec::new();
    for name in PROGRAMS {
        let answer = driver.ask(&[&format!("-print-prog-name={name}")])?;
        let answer = Path::new(OsStr::from_bytes(answer.trim_ascii()));
        programs.extend(add_named_program(answer, driver.search_path, tree)?);
    }
    prefixes::watch(driver.selectors, &[], PROGRAMS, tree)?;
    Ok(programs)
}

const PROGRAMS: &[&str] = &["as", "objcopy"];

/// Each makes the driver look at directories that the others do not.
const QUESTIONS: &[&[&str]] =
    &[&["-x", "c"], &["-x", "c++"], &["-x", "c++", "-stdlib=libc++"], &["-x", "c", "-m32"], &["-x", "c++", "-m32"]];

/// By these the driver tells distributions apart.
const PROBED: &[&str] = &[
    "/etc/lsb-release",
    "/etc/os-release",
    "/usr/lib/os-release",
    "/etc/redhat-release",
    "/etc/debian_version",
    "/etc/SuSE-release",
    "/etc/gentoo-release",
    "/etc/alpine-release",
    "/etc/arch-release",
    "/etc/exherbo-release",
];

/// By these it chooses library directories.
const PROBED_DIRECTORIES: &[&str] = &["/usr/lib32", "/usr/lib64", "/usr/libx32", "/lib32", "/lib64", "/libx32", "/opt"];

fn add_reported(report: &ClangReport, tree: &mut Tree) -> Result<(), PackError> {
    for installation in &report.gcc_installations {
        add_gcc_installation(installation, tree)?;
    }
    for file in &report.configuration_files {
        add_configuration(file, INCLUDE_DEPTH_MAX, tree)?;
    }
    if let Some(directory) = &report.installed_dir {
        for name in ["../lib", "../lib32", "../lib64", "../libx32", "../lib/libc++.so", "../lib/libc++.a"] {
            tree.add(&directory.join(name))?;
        }
        tree.watch(directory)?;
    }
    if let Some(directory) = &report.resource_dir {
        tree.add_directory(directory)?;
        // Lists of what sanitizers ignore: passed on where they exist.
        tree.add_whole(&directory.join("share"))?;
    }
    for argument in &report.arguments {
        tree.add_directory(argument)?;
    }
    Ok(())
}

/// A gcc installation counts where it has `crtbegin.o`; its subdirectories are multilibs by the same sign.
fn add_gcc_installation(installation: &Path, tree: &mut Tree) -> Result<(), PackError> {
    let Some(directory) = tree.add_directory(installation)? else { return Ok(()) };
    tree.add_file(&installation.join("crtbegin.o"))?;
    for name in list(&directory)? {
        let start_file = directory.join(&name).join("crtbegin.o");
        if start_file.is_file() {
            tree.add_file(&start_file)?;
        }
    }
    // Another version installed beside it may be the one that is taken then.
    for above in [installation.parent(), installation.parent().and_then(Path::parent)].into_iter().flatten() {
        tree.watch(above)?;
    }
    Ok(())
}

fn add_configuration(file: &Path, depth: usize, tree: &mut Tree) -> Result<(), PackError> {
    let Some(real) = tree.add_file(file)? else { return Ok(()) };
    let text = fs::read(&real).map_err(|source| PackError::Read { path: real, source })?;
    let directory = file.parent().unwrap_or(Path::new("/"));
    for included in included_configurations(&text, directory) {
        if depth > 0 {
            add_configuration(&included, depth - 1, tree)?;
        }
    }
    Ok(())
}

fn add_multiarch_directories(parent: &Path, tree: &mut Tree) -> Result<(), PackError> {
    for name in list(parent)? {
        if name.to_string_lossy().contains("-linux-") {
            tree.add_directory(&parent.join(name))?;
        }
    }
    Ok(())
}

/// Deeper than anybody nests configuration files.
const INCLUDE_DEPTH_MAX: usize = 8;
