//! What an artifact says of itself, read from the file without running any of its code.
//!
//! The bytes are a claim: [`Raw`] only becomes a [`Descriptor`] or an [`Error`]. ELF carries it as a note, found by program
//! header so that a file whose section headers were stripped is read too; Mach-O in `__DATA,__midplane`.

use midplane_abi::{self as abi, DescriptorBody};
use object::read::elf::{ElfFile64, FileHeader as _, ProgramHeader as _};
use object::read::macho::MachOFile64;
use object::{Endianness, FileKind, Object as _, ObjectSection as _};

pub use super::grants::Grants;
use super::grants::{is_callee, is_module_name};
use super::state::Schemas;

/// The largest artifact that is read. Release builds of real modules are 1 to 20 MiB, debug builds up to 200.
pub(crate) const ARTIFACT_LEN_MAX: u64 = 512 * 1024 * 1024;

/// A checked descriptor.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Descriptor {
    pub name: String,
    pub version: String,
    pub grants: Grants,
    /// Routes that need no session, effective where the operator allows it.
    pub public_routes: Vec<RoutePattern>,
    /// Routes that other modules may call, and nobody else.
    pub internal_routes: Vec<RoutePattern>,
    /// Only one generation of it may be at a time: the old one ends before the new one begins.
    pub exclusive: bool,
    /// Of the state it takes over and hands over; `None` when it has none.
    pub state: Option<Schemas>,
    /// What it was written with, for people.
    pub sdk: String,
    pub compiler: String,
}

/// A path below the module's prefix, or a prefix of paths.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RoutePattern {
    Exact(String),
    /// With its final slash.
    Prefix(String),
}

/// Why a file is no module for this kernel. Each message tells the author what to mend.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum Error {
    #[error(
        "not a shared library of this machine: {0}; build it with crate-type = [\"cdylib\"], and give the path of the library that the build made"
    )]
    NotALibrary(String),
    #[error("the library is built for {found}, and this machine is {arch}: build it for {arch}", arch = std::env::consts::ARCH)]
    WrongArchitecture { found: String },
    #[error("the file is cut short or damaged ({0}): build or copy it again")]
    Damaged(String),
    #[error(
        "no module descriptor: the library lacks the attribute #[midplane_sdk::module], or the linker dropped its note"
    )]
    Missing,
    #[error(
        "{0} module descriptors: a dependency is itself a module; depend on a plain library instead"
    )]
    Several(usize),
    #[error(
        "the descriptor's magic is {found:?} instead of \"MIDPLANE\": it was not written by this SDK or is damaged"
    )]
    WrongMagic { found: String },
    #[error(
        "the descriptor is {found} bytes long, and the kernel needs at least {needed}: build the module with a newer SDK"
    )]
    TooShort { found: u32, needed: usize },
    #[error(
        "the module is built for ABI {found}, the kernel has ABI {major}.{minor}: rebuild the module with an SDK of ABI {major}",
        major = abi::MAJOR,
        minor = abi::MINOR
    )]
    WrongMajor { found: u16 },
    #[error(
        "the module needs ABI {major}.{found}, the kernel has {major}.{minor}: update the kernel or build with an older SDK",
        major = abi::MAJOR,
        minor = abi::MINOR
    )]
    NewerMinor { found: u16 },
    #[error("the descriptor's field `{field}` is not valid: {why}")]
    BadField { field: &'static str, why: String },
    #[error(
        "the file is the module `{found}`, and the module `{configured}` was to be loaded: correct the path, or the name in the configuration or the request"
    )]
    OtherName { found: String, configured: String },
}

/// The bytes of a descriptor as they were found.
struct Raw<'a>(&'a [u8]);

impl Descriptor {
    /// Finds and checks the one descriptor of `artifact`.
    ///
    /// # Errors
    /// See [`Error`].
    pub fn read(artifact: &[u8]) -> Result<Descriptor, Error> {
        let mut found = match FileKind::parse(artifact) {
            Ok(FileKind::Elf64) => elf_notes(artifact)?,
            Ok(FileKind::MachO64) => macho_sections(artifact)?,
            Ok(other) => return Err(Error::NotALibrary(format!("it is of the kind {other:?}"))),
            Err(_unknown) => return Err(Error::NotALibrary(beginning(artifact))),
        };
        match found.len() {
            0 => Err(Error::Missing),
            1 => found.remove(0).check(),
            many => Err(Error::Several(many)),
        }
    }

    /// Refuses a module that is not the configured one.
    pub(crate) fn expect_name(&self, configured: &str) -> Result<(), Error> {
        if self.name == configured {
            return Ok(());
        }
        Err(Error::OtherName {
            found: self.name.clone(),
            configured: configured.to_owned(),
        })
    }
}

impl std::fmt::Display for RoutePattern {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            RoutePattern::Exact(path) => f.write_str(path),
            RoutePattern::Prefix(prefix) => write!(f, "{prefix}*"),
        }
    }
}

impl RoutePattern {
    /// Reads `/path` or `/prefix/*`.
    pub(crate) fn parse(text: &str) -> Option<RoutePattern> {
        let pattern = match text.strip_suffix('*') {
            Some(prefix) if prefix.ends_with('/') => RoutePattern::Prefix(prefix.to_owned()),
            Some(_) => return None,
            None => RoutePattern::Exact(text.to_owned()),
        };
        (text.starts_with('/') && !text[..text.len() - 1].contains('*')).then_some(pattern)
    }

    /// Whether `path`, below the module's prefix, is meant.
    pub(crate) fn matches(&self, path: &str) -> bool {
        match self {
            RoutePattern::Exact(exact) => path == exact,
            RoutePattern::Prefix(prefix) => path.starts_with(prefix.as_str()),
        }
    }
}

/// What stands at the beginning of a file that is of no known kind.
fn beginning(artifact: &[u8]) -> String {
    if artifact.is_empty() {
        return "the file is empty".to_owned();
    }
    let start = &artifact[..artifact.len().min(16)];
    format!("it starts with \"{}\"", start.escape_ascii())
}

fn elf_notes(artifact: &[u8]) -> Result<Vec<Raw<'_>>, Error> {
    let damaged = |error: object::Error| Error::Damaged(error.to_string());
    let file: ElfFile64<'_, Endianness> = ElfFile64::parse(artifact).map_err(damaged)?;
    let header = file.elf_header();
    let endian = file.endian();
    if file.architecture() != native_architecture() {
        return Err(Error::WrongArchitecture {
            found: named(file.architecture()),
        });
    }
    if header.e_type(endian) != object::elf::ET_DYN {
        return Err(Error::NotALibrary("it is not a shared object".to_owned()));
    }
    let mut found = Vec::new();
    for segment in header.program_headers(endian, artifact).map_err(damaged)? {
        // A file that ends before a segment does would fault when it is mapped and touched.
        if segment
            .p_offset(endian)
            .checked_add(segment.p_filesz(endian))
            .is_none_or(|end| end > artifact.len() as u64)
        {
            return Err(Error::Damaged(
                "a segment reaches past the end of the file".to_owned(),
            ));
        }
        let Some(mut notes) = segment.notes(endian, artifact).map_err(damaged)? else {
            continue;
        };
        while let Some(note) = notes.next().map_err(damaged)? {
            if note.name() == abi::NOTE_NAME.strip_suffix(b"\0").unwrap_or_default()
                && note.n_type(endian).0 == abi::NOTE_TYPE
            {
                found.push(Raw(note.desc()));
            }
        }
    }
    Ok(found)
}

fn macho_sections(artifact: &[u8]) -> Result<Vec<Raw<'_>>, Error> {
    /// What stands before the description in the note.
    const NOTE_HEADER_LEN: usize = size_of::<abi::Descriptor>() - size_of::<DescriptorBody>();
    let damaged = |error: object::Error| Error::Damaged(error.to_string());
    let file: MachOFile64<'_, Endianness> = MachOFile64::parse(artifact).map_err(damaged)?;
    if file.architecture() != native_architecture() {
        return Err(Error::WrongArchitecture {
            found: named(file.architecture()),
        });
    }
    let mut found = Vec::new();
    for section in file.sections() {
        if section.name().map_err(damaged)? == "__midplane" {
            let bytes = section.data().map_err(damaged)?;
            found.extend(
                bytes
                    .chunks(size_of::<abi::Descriptor>())
                    .map(|note| Raw(note.get(NOTE_HEADER_LEN..).unwrap_or_default())),
            );
        }
    }
    Ok(found)
}

/// As targets are named: `x86_64`, `aarch64`.
fn named(architecture: object::Architecture) -> String {
    format!("{architecture:?}").to_ascii_lowercase()
}

const fn native_architecture() -> object::Architecture {
    if cfg!(target_arch = "aarch64") {
        object::Architecture::Aarch64
    } else {
        object::Architecture::X86_64
    }
}

/// Where the fields stand; see [`DescriptorBody`].
macro_rules! field {
    ($raw:expr, $field:ident, $len:expr) => {
        $raw.array::<{ $len }>(std::mem::offset_of!(DescriptorBody, $field))
    };
}

impl Raw<'_> {
    /// `N` bytes at `at`; the length has been checked by then.
    fn array<const N: usize>(&self, at: usize) -> [u8; N] {
        self.0
            .get(at..at + N)
            .and_then(|bytes| bytes.try_into().ok())
            .unwrap_or([0; N])
    }

    fn check(&self) -> Result<Descriptor, Error> {
        let magic = field!(self, magic, 8);
        if magic != DescriptorBody::MAGIC {
            return Err(Error::WrongMagic {
                found: String::from_utf8_lossy(&magic).into_owned(),
            });
        }
        // Before the length: another major may have another layout, and the number of the ABI is the better answer.
        let major = u16::from_le_bytes(field!(self, abi_major, 2));
        if major != abi::MAJOR {
            return Err(Error::WrongMajor { found: major });
        }
        let minor = u16::from_le_bytes(field!(self, abi_minor, 2));
        if minor > abi::MINOR {
            return Err(Error::NewerMinor { found: minor });
        }
        let len = u32::from_le_bytes(field!(self, len, 4));
        let needed = size_of::<DescriptorBody>();
        if (len as usize) < needed || self.0.len() < needed {
            return Err(Error::TooShort {
                found: len.min(u32::try_from(self.0.len()).unwrap_or(u32::MAX)),
                needed,
            });
        }
        let flags = u32::from_le_bytes(field!(self, flags, 4));
        let reserved = flags & !abi::flag::EXCLUSIVE;
        if reserved != 0 {
            return Err(bad(
                "flags",
                format!("{reserved:#x} is reserved and must be zero"),
            ));
        }
        let (exclusive, state) = (flags & abi::flag::EXCLUSIVE != 0, self.schemas()?);
        if exclusive && state.is_some() {
            return Err(bad(
                "state_schema_min",
                "an exclusive module hands no state over: it keeps its state in what it owns"
                    .to_owned(),
            ));
        }
        let grants = u32::from_le_bytes(field!(self, grants, 4));
        if grants & !abi::grant::SECRETS != 0 {
            return Err(bad(
                "grants",
                format!(
                    "this kernel knows no grant {:#x}",
                    grants & !abi::grant::SECRETS
                ),
            ));
        }
        let name = text("name", &field!(self, name, 64))?;
        if !is_module_name(&name) {
            return Err(bad("name", no_name(&name)));
        }
        let calls = text("calls", &field!(self, calls, 256))?;
        let calls = calls
            .lines()
            .map(|line| match is_callee(line) {
                true => Ok(line.to_owned()),
                false => Err(bad("calls", no_name(line))),
            })
            .collect::<Result<_, _>>()?;
        Ok(Descriptor {
            name,
            version: text("version", &field!(self, version, 64))?,
            grants: Grants {
                secrets: grants & abi::grant::SECRETS != 0,
                calls,
            },
            public_routes: routes("public_routes", &field!(self, public_routes, 256))?,
            internal_routes: routes("internal_routes", &field!(self, internal_routes, 256))?,
            exclusive,
            state,
            sdk: text("sdk", &field!(self, sdk, 64))?,
            compiler: text("compiler", &field!(self, compiler, 64))?,
        })
    }

    fn schemas(&self) -> Result<Option<Schemas>, Error> {
        let min = u32::from_le_bytes(field!(self, state_schema_min, 4));
        let max = u32::from_le_bytes(field!(self, state_schema_max, 4));
        match (min, max) {
            (0, 0) => Ok(None),
            (1.., _) if min <= max => Ok(Some(Schemas { min, max })),
            _ => Err(bad(
                "state_schema_min",
                format!("{min} to {max} is no range of schemas, which are counted from 1"),
            )),
        }
    }
}

fn routes(field: &'static str, bytes: &[u8]) -> Result<Vec<RoutePattern>, Error> {
    let pattern = |line: &str| {
        let why = || format!("{line:?} is not a path or a prefix like /files/*");
        RoutePattern::parse(line).ok_or_else(|| bad(field, why()))
    };
    text(field, bytes)?.lines().map(pattern).collect()
}

fn no_name(name: &str) -> String {
    format!("{name:?} is not a name: lower-case letters, digits, - and _, 32 at most")
}

fn bad(field: &'static str, why: String) -> Error {
    Error::BadField { field, why }
}

fn text(field: &'static str, bytes: &[u8]) -> Result<String, Error> {
    let end = bytes
        .iter()
        .position(|byte| *byte == 0)
        .unwrap_or(bytes.len());
    match std::str::from_utf8(&bytes[..end]) {
        Ok(text) if text.chars().all(|c| !c.is_control() || c == '\n') => Ok(text.to_owned()),
        Ok(_) => Err(bad(field, "it has control characters".to_owned())),
        Err(error) => Err(bad(field, error.to_string())),
    }
}

#[cfg(test)]
mod tests;
