//! What the dynamic linker has mapped.
//!
//! It is asked by `dl_iterate_phdr`, which does not wait while another thread's constructors run (glibc holds another lock for
//! those; `elf/dl-iteratephdr.c`, `elf/dl-open.c`).

#![expect(
    unsafe_code,
    reason = "the dynamic linker's list is walked through C structures"
)]

use std::cell::RefCell;
use std::ffi::{CStr, CString, c_int, c_void};
use std::ops::Range;
use std::ptr::NonNull;
use std::sync::OnceLock;

/// A library or program that is mapped.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Mapped {
    /// As it was given to `dlopen`; empty for the program itself.
    pub(super) path: CString,
    pub(super) span: Range<usize>,
}

/// Where the program itself is.
pub(super) fn program() -> Range<usize> {
    static PROGRAM: OnceLock<Range<usize>> = OnceLock::new();
    PROGRAM
        .get_or_init(|| containing(program as fn() -> _ as usize).map_or(0..0, |it| it.span))
        .clone()
}

/// What is mapped at an address.
pub(super) fn containing(address: usize) -> Option<Mapped> {
    find(|_, span| span.contains(&address))
}

/// What is mapped from `path` at `span`.
pub(super) fn is_mapped(path: &CStr, span: &Range<usize>) -> bool {
    find(|name, at| name == path && at == span).is_some()
}

/// The paths of all that is mapped.
pub(super) fn paths() -> Vec<CString> {
    // A cell, as the search asks a function that changes nothing.
    let paths = RefCell::new(Vec::new());
    find(|name, _| {
        paths.borrow_mut().push(name.to_owned());
        false
    });
    paths.into_inner()
}

/// Keeps what is mapped from `path` until the process ends.
pub(super) fn keep(path: &CStr) {
    // SAFETY: a C string; nothing is mapped that is not, so that no constructor is run.
    unsafe {
        libc::dlopen(
            path.as_ptr(),
            libc::RTLD_NOW | libc::RTLD_NOLOAD | libc::RTLD_NODELETE,
        )
    };
}

/// Where the library with this handle is.
///
/// # Safety
/// The handle is `dlopen`'s, and was not closed.
pub(super) unsafe fn of_handle(handle: NonNull<c_void>) -> Option<Mapped> {
    let mut map: *const LinkMap = std::ptr::null();
    // SAFETY: the handle is good by the contract, and this request writes one pointer.
    let status = unsafe {
        libc::dlinfo(
            handle.as_ptr(),
            libc::RTLD_DI_LINKMAP,
            (&raw mut map).cast(),
        )
    };
    if status != 0 || map.is_null() {
        return None;
    }
    // SAFETY: the dynamic linker's own description, which lives as long as the handle. Its first fields are public (link.h).
    let dynamic = unsafe { (*map).dynamic };
    containing(dynamic as usize)
}

#[repr(C)]
struct LinkMap {
    base: usize,
    name: *const libc::c_char,
    dynamic: *const c_void,
}

type Matches<'a> = &'a dyn Fn(&CStr, &Range<usize>) -> bool;

struct Search<'a> {
    matches: Matches<'a>,
    found: Option<Mapped>,
}

fn find(matches: impl Fn(&CStr, &Range<usize>) -> bool) -> Option<Mapped> {
    let mut search = Search {
        matches: &matches,
        found: None,
    };
    // SAFETY: `look` has the type that is called, with the search that lives until the call returns.
    unsafe { libc::dl_iterate_phdr(Some(look), (&raw mut search).cast()) };
    search.found
}

unsafe extern "C" fn look(
    object: *mut libc::dl_phdr_info,
    _size: libc::size_t,
    search: *mut c_void,
) -> c_int {
    // SAFETY: valid for this call (dl_iterate_phdr(3)).
    let object = unsafe { &*object };
    // SAFETY: what `find` gave, and it uses it for nothing else meanwhile.
    let search = unsafe { &mut *search.cast::<Search<'_>>() };
    if object.dlpi_phdr.is_null() || object.dlpi_name.is_null() {
        return 0;
    }
    // SAFETY: the object's program headers, as many as it says.
    let headers =
        unsafe { std::slice::from_raw_parts(object.dlpi_phdr, usize::from(object.dlpi_phnum)) };
    // SAFETY: the object's name is a C string.
    let name = unsafe { CStr::from_ptr(object.dlpi_name) };
    let segments = || {
        headers
            .iter()
            .filter(|header| header.p_type == libc::PT_LOAD)
    };
    let at = |offset: u64| (object.dlpi_addr as usize).wrapping_add(offset as usize);
    let start = segments().map(|header| at(header.p_vaddr)).min();
    let end = segments()
        .map(|header| at(header.p_vaddr + header.p_memsz))
        .max();
    let (Some(start), Some(end)) = (start, end) else {
        return 0;
    };
    let span = start..end;
    if !(search.matches)(name, &span) {
        return 0;
    }
    search.found = Some(Mapped {
        path: name.to_owned(),
        span,
    });
    1
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_program_is_found_by_what_is_in_it() {
        static INSIDE: u8 = 1;
        assert!(program().contains(&(&raw const INSIDE as usize)));
        assert!(!program().contains(&(libc::malloc as *const () as usize)));
        let on_the_stack = 0_u8;
        assert_eq!(containing(&raw const on_the_stack as usize), None);
    }

    #[test]
    fn a_library_is_found_by_path_and_place() {
        let libc = containing(libc::getenv as *const () as usize).unwrap();
        assert!(is_mapped(&libc.path, &libc.span));
        assert!(!is_mapped(c"/nowhere.so", &libc.span));
        assert!(!is_mapped(
            &libc.path,
            &(libc.span.start..libc.span.end + 1)
        ));
    }
}
