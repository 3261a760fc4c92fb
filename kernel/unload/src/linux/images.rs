//! Which libraries are mapped, and where: the crate's own table, so that whose code is at an address can be told while the
//! dynamic linker is busy. Bookkeeping only.

use std::ffi::{CStr, CString};
use std::ops::Range;

use super::maps::FileId;

/// One load of a library; never used twice.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Id(u64);

impl Id {
    /// What is registered in the program's own name.
    pub(super) const PROGRAM: Id = Id(0);
}

/// Whose image has an address.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Owner {
    Known(Id),
    Nobody,
    /// The dynamic linker's list of what is mapped tells.
    Ask,
}

/// All libraries.
pub(super) struct Images {
    last: u64,
    all: Vec<Image>,
}

/// A library that is mapped, or about to be.
struct Image {
    id: Id,
    path: CString,
    /// Empty until it is known.
    span: Range<usize>,
    /// What it is mapped from, if that could be read.
    file: Option<FileId>,
    phase: Phase,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Phase {
    /// Its constructors may be running.
    Loading,
    Open,
    /// Nothing holds it, and it is being unmapped; its destructors for the process may be running.
    Closing,
    /// The dynamic linker was told to unmap it, and did not. It may do so at any time.
    Left,
}

/// Where a library is.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Place {
    pub(super) path: CString,
    pub(super) span: Range<usize>,
    pub(super) file: Option<FileId>,
}

impl Images {
    pub(super) const fn new() -> Images {
        Images {
            last: 0,
            all: Vec::new(),
        }
    }

    /// A library is about to be mapped from `path`; `None` if one is known under that path.
    pub(super) fn loading(&mut self, path: &CStr) -> Option<Id> {
        if self.has_path(path) {
            return None;
        }
        self.last += 1;
        let id = Id(self.last);
        self.all.push(Image {
            id,
            path: path.to_owned(),
            span: 0..0,
            file: None,
            phase: Phase::Loading,
        });
        Some(id)
    }

    pub(super) fn has_path(&self, path: &CStr) -> bool {
        self.all.iter().any(|image| *image.path == *path)
    }

    /// Another library whose constructors may be running.
    pub(super) fn loading_besides(&self, id: Id) -> Option<CString> {
        self.all
            .iter()
            .find(|image| image.phase == Phase::Loading && image.id != id)
            .map(|image| image.path.clone())
    }

    /// Whose image has this address.
    pub(super) fn owner(&self, address: usize) -> Owner {
        let found = self.all.iter().find(|image| image.span.contains(&address));
        match found {
            Some(image) if matches!(image.phase, Phase::Loading | Phase::Open) => {
                Owner::Known(image.id)
            }
            // It may have been unmapped a moment ago, and another be there by now.
            Some(_) => Owner::Ask,
            None if self.is_loading() => Owner::Ask,
            None => Owner::Nobody,
        }
    }

    /// Whether the constructors of a library may be running.
    fn is_loading(&self) -> bool {
        self.all.iter().any(|image| image.phase == Phase::Loading)
    }

    /// What [`Owner::Ask`] has found to be mapped at an address; it is told which library that is, if any.
    pub(super) fn located(&mut self, path: &CStr, span: &Range<usize>) -> Option<Id> {
        let image = self.all.iter().find(|image| *image.path == *path)?;
        let (id, phase) = (image.id, image.phase);
        if phase == Phase::Loading {
            self.place(id, span);
        }
        Some(id)
    }

    /// The library's constructors are done. Says whether it is a mapping of its own, and not that of another load.
    pub(super) fn loaded(&mut self, id: Id, span: &Range<usize>, file: Option<FileId>) -> bool {
        let is_taken = self.all.iter().any(|image| {
            let is_mapped = matches!(image.phase, Phase::Loading | Phase::Open);
            image.id != id && is_mapped && overlap(&image.span, span)
        });
        if is_taken {
            return false;
        }
        self.place(id, span);
        if let Some(image) = self.image(id) {
            image.file = file;
            image.phase = Phase::Open;
        }
        true
    }

    fn place(&mut self, id: Id, span: &Range<usize>) {
        for image in &mut self.all {
            // What was at these addresses is not mapped any more.
            if overlap(&image.span, span) {
                image.span = 0..0;
            }
            if image.id == id {
                image.span = span.clone();
            }
        }
    }

    /// Every library that code may be running of.
    pub(super) fn ids(&self) -> Vec<Id> {
        self.all
            .iter()
            .filter(|image| image.phase != Phase::Left)
            .map(|image| image.id)
            .collect()
    }

    /// The library is being unmapped.
    pub(super) fn closing(&mut self, id: Id) {
        if let Some(image) = self.image(id) {
            image.phase = Phase::Closing;
        }
    }

    /// The library is not mapped any more.
    pub(super) fn gone(&mut self, id: Id) {
        self.all.retain(|image| image.id != id);
    }

    pub(super) fn phase(&self, id: Id) -> Option<Phase> {
        let found = self.all.iter().find(|image| image.id == id);
        found.map(|image| image.phase)
    }

    /// The library was closed, but stays mapped.
    pub(super) fn left(&mut self, id: Id) {
        if let Some(image) = self.image(id) {
            image.phase = Phase::Left;
        }
    }

    /// Nowhere, if others are mapped there since.
    pub(super) fn place_of(&self, id: Id) -> Place {
        self.all
            .iter()
            .find(|image| image.id == id)
            .map(|image| Place {
                path: image.path.clone(),
                span: image.span.clone(),
                file: image.file.clone(),
            })
            .unwrap_or_default()
    }

    fn image(&mut self, id: Id) -> Option<&mut Image> {
        self.all.iter_mut().find(|image| image.id == id)
    }
}

fn overlap(a: &Range<usize>, b: &Range<usize>) -> bool {
    a.start < b.end && b.start < a.end
}

#[cfg(test)]
mod tests {
    use super::*;

    fn open(images: &mut Images, path: &CStr, span: Range<usize>) -> Id {
        let id = images.loading(path).unwrap();
        assert!(images.loaded(id, &span, None));
        id
    }

    #[test]
    fn an_address_is_looked_up_while_it_may_be_changing_hands() {
        let images = &mut Images::new();
        let a = open(images, c"/a", 10..20);
        assert_eq!(
            (images.owner(9), images.owner(20)),
            (Owner::Nobody, Owner::Nobody)
        );
        assert_eq!(images.owner(10), Owner::Known(a));

        // A constructor of b registers something before b's place is known.
        let b = images.loading(c"/b").unwrap();
        assert_eq!(images.owner(25), Owner::Ask);
        assert_eq!(images.located(c"/needed-by-b", &(40..50)), None);
        assert_eq!(images.located(c"/b", &(20..30)), Some(b));
        assert_eq!(images.owner(25), Owner::Known(b));
        assert!(images.loaded(b, &(20..30), None));

        // a is unmapped, and c is mapped at its place before that is noted.
        images.closing(a);
        assert_eq!(images.owner(15), Owner::Ask);
        assert_eq!(images.located(c"/a", &(10..20)), Some(a));
        let c = images.loading(c"/c").unwrap();
        assert_eq!(images.located(c"/c", &(10..20)), Some(c));
        assert_eq!(images.owner(15), Owner::Known(c));
        images.gone(a);
        assert_eq!(images.owner(15), Owner::Known(c));
    }

    #[test]
    fn a_mapping_belongs_to_one_load() {
        let images = &mut Images::new();
        let a = open(images, c"/a", 10..20);
        assert_eq!(images.loading(c"/a"), None);
        let link = images.loading(c"/link-to-a").unwrap();
        assert_eq!(images.loading_besides(a).as_deref(), Some(c"/link-to-a"));
        assert_eq!(images.loading_besides(link), None);
        assert!(!images.loaded(link, &(10..20), None));
        images.gone(link);
        assert_eq!(images.owner(10), Owner::Known(a));
    }
}
