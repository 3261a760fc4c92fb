//! Whether all of a library is there, told from its bytes alone.
//!
//! A linker or a copy writes in steps, and a file may be quiet between them. Whole means: its headers are there, what they
//! speak of lies within the file, and its descriptor is not cut. What is no library at all is not waited for: the loader
//! refuses it, and says why.

use object::read::elf::{FileHeader as _, ProgramHeader as _, SectionHeader as _};
use object::read::macho::MachOFile64;
use object::{Endianness, FileKind, Object as _, ObjectSegment as _, elf};

use crate::modules::descriptor::{self, Descriptor};

/// Both kinds' headers have at most this many bytes; nothing can be said of fewer.
const HEADER_LEN: usize = 64;
/// ELF, and Mach-O of 64 bits in this machine's byte order.
const MAGICS: [[u8; 4]; 2] = [*b"\x7fELF", 0xfeed_facf_u32.to_ne_bytes()];

/// What is still missing of a library.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub(super) enum Incomplete {
    #[error("the file is empty")]
    Empty,
    #[error("its header is not written yet")]
    Header,
    #[error("a {what} reaches to byte {end} of {len}")]
    Cut {
        what: &'static str,
        end: u64,
        len: u64,
    },
    #[error("its headers or its descriptor are cut short ({0})")]
    Damaged(String),
}

/// Refuses a library that is not all there.
pub(super) fn check(bytes: &[u8]) -> Result<(), Incomplete> {
    if bytes.is_empty() {
        return Err(Incomplete::Empty);
    }
    let start = &bytes[..bytes.len().min(4)];
    // Some linkers write the header last.
    if start.iter().all(|byte| *byte == 0) {
        return Err(Incomplete::Header);
    }
    let is_library = MAGICS.iter().any(|magic| magic.starts_with(start));
    if is_library && bytes.len() < HEADER_LEN {
        return Err(Incomplete::Header);
    }
    match FileKind::parse(bytes) {
        Ok(FileKind::Elf64) => check_elf(bytes)?,
        Ok(FileKind::MachO64) => check_macho(bytes)?,
        _ => return Ok(()),
    }
    match Descriptor::read(bytes) {
        Err(descriptor::Error::Damaged(why)) => Err(Incomplete::Damaged(why)),
        // Anything else is for the loader to say.
        Ok(_) | Err(_) => Ok(()),
    }
}

fn check_elf(bytes: &[u8]) -> Result<(), Incomplete> {
    let damaged = |error: object::Error| Incomplete::Damaged(error.to_string());
    let header = elf::FileHeader64::<Endianness>::parse(bytes).map_err(damaged)?;
    let endian = header.endian().map_err(damaged)?;
    for segment in header.program_headers(endian, bytes).map_err(damaged)? {
        within(
            bytes,
            "segment",
            segment.p_offset(endian),
            segment.p_filesz(endian),
        )?;
    }
    for section in header.section_headers(endian, bytes).map_err(damaged)? {
        if let Some((start, len)) = section.file_range(endian) {
            within(bytes, "section", start, len)?;
        }
    }
    Ok(())
}

fn check_macho(bytes: &[u8]) -> Result<(), Incomplete> {
    let damaged = |error: object::Error| Incomplete::Damaged(error.to_string());
    let file: MachOFile64<'_, Endianness> = MachOFile64::parse(bytes).map_err(damaged)?;
    for segment in file.segments() {
        let (start, len) = segment.file_range();
        within(bytes, "segment", start, len)?;
    }
    Ok(())
}

fn within(bytes: &[u8], what: &'static str, start: u64, len: u64) -> Result<(), Incomplete> {
    let end = start.saturating_add(len);
    if end > bytes.len() as u64 {
        return Err(Incomplete::Cut {
            what,
            end,
            len: bytes.len() as u64,
        });
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_library_is_not_waited_for() {
        for (bytes, expect) in [
            (&b""[..], Err(Incomplete::Empty)),
            (b"\0", Err(Incomplete::Header)),
            (&[0; 4096], Err(Incomplete::Header)),
            (b"\x7f", Err(Incomplete::Header)),
            (b"\x7fELF\x02\x01\x01", Err(Incomplete::Header)),
            (&MAGICS[1], Err(Incomplete::Header)),
            (b"#", Ok(())),
            (b"#!/bin/sh\nexit 0\n", Ok(())),
            (
                b"\x7fELSE, and long enough to be a header, if only it were one, but no",
                Ok(()),
            ),
            (&[0xff; 4096], Ok(())),
        ] {
            assert_eq!(check(bytes), expect, "{:?}", &bytes[..bytes.len().min(16)]);
        }
    }

    #[test]
    fn a_real_library_is_whole_with_its_last_byte_and_not_before() {
        // A position-independent executable is laid out as a library is. It has no descriptor, which is for the loader.
        let whole = std::fs::read(std::env::current_exe().unwrap()).unwrap();
        assert_eq!(check(&whole), Ok(()));
        for len in [
            1,
            3,
            HEADER_LEN - 1,
            HEADER_LEN,
            HEADER_LEN + 1,
            4096,
            whole.len() / 2,
            whole.len() - 1,
        ] {
            assert!(check(&whole[..len]).is_err(), "{len} of {}", whole.len());
        }
        // The header last, as a linker that seeks back writes it.
        let mut headless = whole.clone();
        headless[..HEADER_LEN].fill(0);
        assert_eq!(check(&headless), Err(Incomplete::Header));
    }
}
