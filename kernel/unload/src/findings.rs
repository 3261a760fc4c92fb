//! What a library's file says about unloading it, read before it is mapped, and the one thing in it that is changed.
//!
//! Reads untrusted bytes; maps and runs nothing.

use object::elf::{self, FileHeader64};
use object::read::elf::{Dyn as _, ElfFile64, FileHeader as _, ProgramHeader as _};
use object::{Endianness, Object as _, ObjectSymbol as _, SymbolFlags};

use crate::pin::Pin;

/// A library with more unique symbols than this has all it takes to stay; their names are for a person to read.
const NAMES_MAX: usize = 16;

/// Functions that leave something behind which is not followed: threads and keys that do not pass through the functions that
/// this crate stands in for, and calls back that nothing takes back when the library goes.
const UNFOLLOWED: [&str; 13] = [
    "_ZSt13set_terminatePFvvE",
    "_ZSt15set_new_handlerPFvvE",
    "aio_read",
    "aio_write",
    "clone",
    "clone3",
    "getaddrinfo_a",
    "mq_notify",
    "on_exit",
    "register_printf_specifier",
    "thrd_create",
    "timer_create",
    "tss_create",
];

/// What a library's file says about unloading it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Findings {
    /// Whether the mark that forbids unloading (`DF_1_NODELETE`) was there, and was removed.
    pub nodelete_cleared: bool,
    unique_symbols: Vec<String>,
    unfollowed: Vec<String>,
    unreadable: Option<String>,
}

/// Reads what the file says about unloading it, and clears the mark that forbids it (`DF_1_NODELETE`), as well as the one that
/// would make its names global (`DF_1_GLOBAL`).
///
/// Call it on the bytes of the private copy before they are written. It never fails: what cannot be read becomes a finding,
/// with which the library loads, and stays.
pub fn prepare(bytes: &mut [u8]) -> Findings {
    match examine(bytes) {
        Ok((mut findings, flags)) => {
            if let Some(flags) = flags {
                let cleared = flags.value & !(elf::DF_1_NODELETE.0 | elf::DF_1_GLOBAL.0);
                findings.nodelete_cleared = flags.value & elf::DF_1_NODELETE.0 != 0;
                bytes[flags.at..][..8].copy_from_slice(&match flags.endian {
                    Endianness::Little => cleared.to_le_bytes(),
                    Endianness::Big => cleared.to_be_bytes(),
                });
            }
            findings
        }
        Err(why) => Findings {
            unreadable: Some(why),
            ..Findings::default()
        },
    }
}

impl Findings {
    pub(crate) fn pins(&self) -> Vec<Pin> {
        let some = |names: &Vec<String>| (!names.is_empty()).then(|| names.clone());
        [
            self.unreadable.clone().map(Pin::Unreadable),
            some(&self.unique_symbols).map(Pin::UniqueSymbols),
            some(&self.unfollowed).map(Pin::Unfollowed),
        ]
        .into_iter()
        .flatten()
        .collect()
    }
}

/// The value of `DT_FLAGS_1`, and where in the file it is.
struct Flags {
    at: usize,
    value: u64,
    endian: Endianness,
}

fn examine(bytes: &[u8]) -> Result<(Findings, Option<Flags>), String> {
    let text = |error: object::Error| error.to_string();
    let file = ElfFile64::<Endianness>::parse(bytes).map_err(text)?;
    if file.dynamic_symbol_table().is_none() {
        return Err("it has no table of dynamic symbols".to_owned());
    }
    let mut findings = Findings::default();
    for symbol in file.dynamic_symbols() {
        let name = symbol.name().map_err(text)?;
        let SymbolFlags::Elf { st_info, .. } = symbol.flags() else {
            continue;
        };
        if symbol.is_undefined() {
            if UNFOLLOWED.contains(&name) {
                findings.unfollowed.push(name.to_owned());
            }
        } else if st_info.st_bind() == elf::STB_GNU_UNIQUE
            && findings.unique_symbols.len() < NAMES_MAX
        {
            findings.unique_symbols.push(name.to_owned());
        }
    }
    Ok((findings, flags(bytes)?))
}

fn flags(bytes: &[u8]) -> Result<Option<Flags>, String> {
    let text = |error: object::Error| error.to_string();
    let header = FileHeader64::<Endianness>::parse(bytes).map_err(text)?;
    let endian = header.endian().map_err(text)?;
    for segment in header.program_headers(endian, bytes).map_err(text)? {
        let Some(entries) = segment.dynamic(endian, bytes).map_err(text)? else {
            continue;
        };
        for (i, entry) in entries.iter().enumerate() {
            if entry.d_tag(endian) == elf::DT_NULL {
                break;
            }
            if entry.d_tag(endian) == elf::DT_FLAGS_1 {
                // In bounds: the entry was read from there. Its value is its second word.
                let at = segment.p_offset(endian) as usize + i * size_of_val(entry) + 8;
                let value = entry.d_val(endian);
                return Ok(Some(Flags { at, value, endian }));
            }
        }
    }
    Ok(None)
}
