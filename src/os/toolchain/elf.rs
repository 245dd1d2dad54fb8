//! What an ELF file says about the files it needs, read in a few small pieces: its symbols are never looked at.

use std::ffi::OsString;
use std::fmt;
use std::fs::File;
use std::io;
use std::os::unix::ffi::OsStringExt;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use goblin::container::Ctx;
use goblin::elf::dynamic::{DT_NEEDED, DT_RPATH, DT_RUNPATH, DT_SONAME, DT_STRTAB, Dynamic};
use goblin::elf::header::{EM_386, EM_AARCH64, EM_ARM, EM_PPC64, EM_RISCV, EM_S390, EM_X86_64};
use goblin::elf::program_header::{PT_DYNAMIC, PT_GNU_PROPERTY, PT_INTERP, PT_LOAD, ProgramHeader};
use goblin::elf::{Elf, Header};

use crate::model::limits::{ELF_DYNAMIC_BYTES_MAX, PATH_BYTES_MAX};
use crate::model::toolchain::IsaLevel;

/// Needs of one program or library.
#[derive(Debug, Default)]
pub(super) struct Needs {
    pub(super) kind: Kind,
    /// What the linker has noted that it needs of the processor.
    pub(super) level: IsaLevel,
    /// None for libraries and static programs.
    pub(super) interpreter: Option<PathBuf>,
    pub(super) libraries: Vec<OsString>,
    pub(super) rpath: Vec<u8>,
    pub(super) runpath: Vec<u8>,
    pub(super) soname: Option<OsString>,
}

/// What a file was made for: a loader skips libraries that differ in any of it.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Kind {
    is_64_bit: bool,
    is_little_endian: bool,
    machine: u16,
}

impl Kind {
    /// Whether jobs can run it: their filter ends 32-bit programs, and builders have the client's architecture.
    pub(super) fn is_native(self) -> bool {
        self.is_64_bit && self.name() == Some(std::env::consts::ARCH)
    }

    fn name(self) -> Option<&'static str> {
        MACHINES.iter().find(|(machine, _)| *machine == self.machine).map(|(_, name)| *name)
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let bits = if self.is_64_bit { 64 } else { 32 };
        match self.name() {
            Some(name) => write!(f, "{name} ({bits}-bit)"),
            None => write!(f, "machine {} ({bits}-bit)", self.machine),
        }
    }
}

/// Names as the kernel has them, where 64-bit ones differ from 32-bit ones: those of 64 bits.
const MACHINES: &[(u16, &str)] = &[
    (EM_386, "i386"),
    (EM_ARM, "arm"),
    (EM_X86_64, "x86_64"),
    (EM_AARCH64, "aarch64"),
    (EM_RISCV, "riscv64"),
    (EM_PPC64, "ppc64"),
    (EM_S390, "s390x"),
];

#[derive(Debug, thiserror::Error)]
pub enum ElfError {
    #[error("cannot be read")]
    Read(#[from] io::Error),
    #[error("is no ELF file")]
    NotElf,
    #[error("is a damaged ELF file")]
    Malformed,
}

/// Reads `path`, following symlinks.
pub(super) fn read(path: &Path) -> Result<Needs, ElfError> {
    let file = File::open(path)?;
    let mut first = [0; HEADER_BYTES_MAX];
    let length = read_up_to(&file, &mut first)?;
    if !first[..length].starts_with(b"\x7fELF") {
        return Err(ElfError::NotElf);
    }
    let header = Elf::parse_header(&first[..length]).map_err(|_| ElfError::Malformed)?;
    let context = context(&header).ok_or(ElfError::Malformed)?;
    let mut segments = segments(&file, &header, context)?;

    let mut needs = Needs {
        kind: Kind {
            is_64_bit: context.container.is_big(),
            is_little_endian: context.le.is_little(),
            machine: header.e_machine,
        },
        level: level(&file, &segments, context)?,
        interpreter: interpreter(&file, &segments)?,
        ..Needs::default()
    };
    let Some(at) = segments.iter().position(|segment| segment.p_type == PT_DYNAMIC) else { return Ok(needs) };
    let table = read_at(&file, segments[at].p_offset, segments[at].p_filesz, ELF_DYNAMIC_BYTES_MAX)?;
    // The parser finds the table by its offset; it has the table alone.
    segments[at].p_offset = 0;
    let dynamic = Dynamic::parse(&table, &segments, context).map_err(|_| ElfError::Malformed)?;
    let Some(dynamic) = dynamic else { return Ok(needs) };
    fill(&mut needs, &file, &dynamic, &segments)?;
    Ok(needs)
}

fn context(header: &Header) -> Option<Ctx> {
    Some(Ctx::new(header.container().ok()?, header.endianness().ok()?))
}

fn segments(file: &File, header: &Header, context: Ctx) -> Result<Vec<ProgramHeader>, ElfError> {
    let count = usize::from(header.e_phnum);
    let bytes = u64::from(header.e_phentsize) * u64::from(header.e_phnum);
    let table = read_at(file, header.e_phoff, bytes, ELF_DYNAMIC_BYTES_MAX)?;
    ProgramHeader::parse(&table, 0, count, context).map_err(|_| ElfError::Malformed)
}

fn interpreter(file: &File, segments: &[ProgramHeader]) -> Result<Option<PathBuf>, ElfError> {
    let Some(segment) = segments.iter().find(|segment| segment.p_type == PT_INTERP) else { return Ok(None) };
    let text = read_at(file, segment.p_offset, segment.p_filesz, PATH_BYTES_MAX as u64)?;
    Ok(Some(OsString::from_vec(until_nul(text)).into()))
}

/// From the note that says which properties a file has, if it says so.
fn level(file: &File, segments: &[ProgramHeader], context: Ctx) -> Result<IsaLevel, ElfError> {
    let Some(segment) = segments.iter().find(|segment| segment.p_type == PT_GNU_PROPERTY) else {
        return Ok(IsaLevel::default());
    };
    let note = read_at(file, segment.p_offset, segment.p_filesz, ELF_DYNAMIC_BYTES_MAX)?;
    Ok(noted_level(&note, context).unwrap_or_default())
}

/// A note of type [`PROPERTIES`] by `GNU`; in it each property with type, length and value, padded to eight bytes.
fn noted_level(note: &[u8], context: Ctx) -> Option<IsaLevel> {
    let word = |bytes: &[u8]| {
        let bytes = bytes.first_chunk::<4>()?;
        Some(if context.le.is_little() { u32::from_le_bytes(*bytes) } else { u32::from_be_bytes(*bytes) })
    };
    if word(note.get(8..)?)? != PROPERTIES || note.get(12..16)? != b"GNU\0" {
        return None;
    }
    let mut properties = note.get(16..)?;
    loop {
        let length = word(properties.get(4..)?)? as usize;
        if word(properties)? == ISA_NEEDED && length == 4 {
            let levels = word(properties.get(8..)?)?;
            return Some(IsaLevel((u32::BITS - levels.leading_zeros()) as u8));
        }
        properties = properties.get(length.checked_next_multiple_of(8)?.checked_add(8)?..)?;
    }
}

fn fill(needs: &mut Needs, file: &File, dynamic: &Dynamic, segments: &[ProgramHeader]) -> Result<(), ElfError> {
    let strings = dynamic.dyns.iter().find(|entry| entry.d_tag == DT_STRTAB).ok_or(ElfError::Malformed)?;
    let strings = file_offset(strings.d_val, segments).ok_or(ElfError::Malformed)?;
    let string = |offset: u64| {
        let mut text = vec![0; PATH_BYTES_MAX];
        let length = file.read_at(&mut text, strings.checked_add(offset).ok_or(ElfError::Malformed)?)?;
        text.truncate(length);
        Ok::<_, ElfError>(until_nul(text))
    };
    for entry in &dynamic.dyns {
        match entry.d_tag {
            DT_NEEDED => needs.libraries.push(OsString::from_vec(string(entry.d_val)?)),
            DT_RPATH => needs.rpath = string(entry.d_val)?,
            DT_RUNPATH => needs.runpath = string(entry.d_val)?,
            DT_SONAME => needs.soname = Some(OsString::from_vec(string(entry.d_val)?)),
            _ => {}
        }
    }
    Ok(())
}

/// Where in the file an address of the loaded image lies.
fn file_offset(address: u64, segments: &[ProgramHeader]) -> Option<u64> {
    let holds = |segment: &&ProgramHeader| {
        segment.p_type == PT_LOAD
            && address.checked_sub(segment.p_vaddr).is_some_and(|within| within < segment.p_filesz)
    };
    let segment = segments.iter().find(holds)?;
    (address - segment.p_vaddr).checked_add(segment.p_offset)
}

fn read_at(file: &File, offset: u64, length: u64, max: u64) -> Result<Vec<u8>, ElfError> {
    if length > max {
        return Err(ElfError::Malformed);
    }
    let mut bytes = vec![0; length as usize];
    file.read_exact_at(&mut bytes, offset).map_err(|error| match error.kind() {
        io::ErrorKind::UnexpectedEof => ElfError::Malformed,
        _ => ElfError::Read(error),
    })?;
    Ok(bytes)
}

fn read_up_to(file: &File, buffer: &mut [u8]) -> io::Result<usize> {
    let mut length = 0;
    loop {
        match file.read_at(&mut buffer[length..], length as u64)? {
            0 => return Ok(length),
            more => length += more,
        }
    }
}

fn until_nul(mut text: Vec<u8>) -> Vec<u8> {
    let end = text.iter().position(|&byte| byte == 0).unwrap_or(text.len());
    text.truncate(end);
    text
}

/// `NT_GNU_PROPERTY_TYPE_0`
const PROPERTIES: u32 = 5;
/// `GNU_PROPERTY_X86_ISA_1_NEEDED`: a bit for each level, the lowest first.
const ISA_NEEDED: u32 = 0xc000_8002;

/// The 64-bit ELF header; the 32-bit one is shorter.
const HEADER_BYTES_MAX: usize = 64;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_names_its_loader_and_libraries() {
        let needs = read(Path::new("/usr/bin/gcc")).unwrap();
        assert!(needs.interpreter.unwrap().is_absolute());
        assert!(needs.libraries.iter().any(|library| library.to_string_lossy().starts_with("libc.so")));
        assert!(needs.soname.is_none());
        assert!(needs.kind.is_native(), "{}", needs.kind);
    }

    #[test]
    fn other_machines_have_names() {
        let kind = |is_64_bit, machine| Kind { is_64_bit, is_little_endian: true, machine };
        assert_eq!(kind(false, EM_386).to_string(), "i386 (32-bit)");
        assert_eq!(kind(true, 9999).to_string(), "machine 9999 (64-bit)");
        assert!(!kind(false, EM_X86_64).is_native() && !kind(false, EM_AARCH64).is_native(), "x32 and its like");
    }

    #[test]
    fn other_files_are_told_apart() {
        let file = tempfile::NamedTempFile::new().unwrap();
        assert!(matches!(read(file.path()), Err(ElfError::NotElf)));
        std::fs::write(file.path(), "#!/bin/sh\n").unwrap();
        assert!(matches!(read(file.path()), Err(ElfError::NotElf)));
        std::fs::write(file.path(), b"\x7fELF\x02\x01\x01").unwrap();
        assert!(matches!(read(file.path()), Err(ElfError::Malformed)));
        assert!(matches!(read(Path::new("/nonexistent")), Err(ElfError::Read(_))));
    }

    #[test]
    fn damage_is_an_error_and_no_panic() {
        let mut whole = std::fs::read("/usr/bin/env").unwrap();
        let file = tempfile::NamedTempFile::new().unwrap();
        for at in 0..600 {
            whole[at] ^= 0xff;
            std::fs::write(file.path(), &whole[..4096.max(at)]).unwrap();
            // Some bytes mean nothing here; what counts is that none makes the reader panic or run away.
            read(file.path()).ok();
            whole[at] ^= 0xff;
        }
    }
}
