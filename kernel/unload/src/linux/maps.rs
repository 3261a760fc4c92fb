//! What `/proc/self/maps` says of a range of addresses (proc_pid_maps(5)).

use std::fs;
use std::ops::Range;

/// The file that a region is mapped from: device and inode, as the kernel writes them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct FileId(String);

/// `None` if it cannot be read.
pub(super) fn read() -> Option<String> {
    let bytes = fs::read("/proc/self/maps").ok()?;
    Some(String::from_utf8_lossy(&bytes).into_owned())
}

/// The file that is mapped within `span`.
pub(super) fn file_within(maps: &str, span: &Range<usize>) -> Option<FileId> {
    regions(maps, span).find_map(|(_, file)| file)
}

/// Whether anything of `file` is mapped within `span`.
pub(super) fn is_mapped(maps: &str, span: &Range<usize>, file: &FileId) -> bool {
    regions(maps, span).any(|(_, mapped)| mapped.as_ref() == Some(file))
}

/// The regions that have addresses of `span`, each with its file.
fn regions<'a>(
    maps: &'a str,
    span: &'a Range<usize>,
) -> impl Iterator<Item = (Range<usize>, Option<FileId>)> + 'a {
    maps.lines()
        .filter_map(region)
        .filter(|(region, _)| region.start < span.end && span.start < region.end)
}

fn region(line: &str) -> Option<(Range<usize>, Option<FileId>)> {
    let mut fields = line.split_ascii_whitespace();
    let (start, end) = fields.next()?.split_once('-')?;
    let start = usize::from_str_radix(start, 16).ok()?;
    let end = usize::from_str_radix(end, 16).ok()?;
    let (device, inode) = (fields.nth(2)?, fields.next()?);
    let file = (inode != "0").then(|| FileId(format!("{device} {inode}")));
    Some((start..end, file))
}

#[cfg(test)]
mod tests {
    use super::*;

    const MAPS: &str = "\
55d0-55e0 r-xp 00000000 fd:01 77                         /usr/bin/midplane
7f00-7f10 r--p 00000000 fd:01 42                         /data/modules/hello-1.so (deleted)
7f10-7f20 rw-p 00000000 00:00 0
7ffc-7ffd rw-p 00000000 00:00 0                          [stack]
not a region
";

    #[test]
    fn a_file_is_mapped_where_it_is() {
        let hello = file_within(MAPS, &(0x7f00..0x7f20)).unwrap();
        assert_eq!(hello, FileId("fd:01 42".to_owned()));
        for (span, mapped) in [
            (0x7f00..0x7f20, true),
            (0x7f0f..0x7f10, true),
            (0x7f10..0x7f20, false),
            (0x55d0..0x55e0, false),
            (0..0x55d0, false),
        ] {
            assert_eq!(is_mapped(MAPS, &span, &hello), mapped, "{span:x?}");
        }
    }

    #[test]
    fn memory_without_a_file_is_no_file() {
        assert_eq!(file_within(MAPS, &(0x7f10..0x8000)), None);
        assert_eq!(file_within("", &(0..usize::MAX)), None);
    }
}
