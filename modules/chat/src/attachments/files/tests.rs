//! The files on a real file system, each test in a directory of its own.

use std::io::Write as _;
use std::os::unix::fs::PermissionsExt as _;

use super::*;

/// A directory that goes with the test.
struct Dir(PathBuf);

impl Dir {
    fn make() -> (Dir, Files) {
        let name = format!("midplane-chat-{}", AttachmentId::generate());
        let dir = Dir(std::env::temp_dir().join(name));
        let files = Files::below(&dir.0);
        (dir, files)
    }
}

impl Drop for Dir {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

fn any(_usage: Usage) -> Result<(), ()> {
    Ok(())
}

fn upload(folder: &Folder, id: &AttachmentId, bytes: &[u8]) -> bool {
    let (mut file, part) = folder.begin(id).unwrap();
    file.write_all(bytes).unwrap();
    part.finish(&file).unwrap()
}

fn names(folder: &Folder) -> Vec<String> {
    let entries = std::fs::read_dir(folder.path()).unwrap();
    let mut names: Vec<_> = entries
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

#[test]
fn a_file_is_wanted_then_whole_then_gone() {
    let (_dir, files) = Dir::make();
    let (folder, id) = (files.folder("ada"), AttachmentId::from("atc_1"));
    assert_eq!(folder.standing(&id).unwrap(), Standing::Absent);
    assert_eq!(folder.usage().unwrap(), Usage::default());
    folder.reserve(&id, 5, any).unwrap().unwrap();
    assert_eq!(folder.standing(&id).unwrap(), Standing::Wanted);
    assert!(folder.open(&id).unwrap().is_none());
    assert!(upload(&folder, &id, b"hello"));
    assert_eq!(folder.standing(&id).unwrap(), Standing::Whole);
    assert_eq!(folder.read(&id, 100).unwrap(), Some((b"hello".to_vec(), 5)));
    assert_eq!(folder.read(&id, 2).unwrap(), Some((b"he".to_vec(), 5)));
    assert_eq!(names(&folder), ["atc_1"]);
    folder.remove(&id).unwrap();
    assert_eq!(folder.standing(&id).unwrap(), Standing::Absent);
    folder.remove(&id).unwrap();
}

#[test]
fn nobody_else_can_read_it() {
    let (dir, files) = Dir::make();
    let (folder, id) = (files.folder("../../etc"), AttachmentId::from("atc_1"));
    folder.reserve(&id, 1, any).unwrap().unwrap();
    let mode = |path: &Path| path.metadata().unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&dir.0.join(ROOT)), 0o700);
    assert_eq!(mode(folder.path()), 0o700);
    assert_eq!(mode(&folder.wanted(&id)), 0o600);
    assert!(upload(&folder, &id, b"x"));
    assert_eq!(mode(&folder.whole(&id)), 0o600);
    assert_eq!(folder.path().parent().unwrap(), dir.0.join(ROOT));
    assert_ne!(files.folder("ada").path(), files.folder("Ada").path());
}

#[test]
fn half_an_upload_is_not_seen_and_not_kept() {
    let (_dir, files) = Dir::make();
    let (folder, id) = (files.folder("ada"), AttachmentId::from("atc_1"));
    folder.reserve(&id, 5, any).unwrap().unwrap();
    let (mut file, part) = folder.begin(&id).unwrap();
    file.write_all(b"hel").unwrap();
    assert_eq!(folder.standing(&id).unwrap(), Standing::Wanted);
    assert_eq!(names(&folder).len(), 2);
    drop(part);
    assert_eq!(names(&folder), ["atc_1.wanted"]);
}

#[test]
fn what_is_deleted_while_it_is_uploaded_stays_away() {
    let (_dir, files) = Dir::make();
    let (folder, id) = (files.folder("ada"), AttachmentId::from("atc_1"));
    folder.reserve(&id, 5, any).unwrap().unwrap();
    let (mut file, part) = folder.begin(&id).unwrap();
    folder.remove(&id).unwrap();
    file.write_all(b"hello").unwrap();
    assert!(!part.finish(&file).unwrap());
    assert_eq!(names(&folder), [""; 0]);
}

#[test]
fn room_is_counted_from_the_announcement_and_once() {
    let (_dir, files) = Dir::make();
    let folder = files.folder("ada");
    let (first, second): (AttachmentId, AttachmentId) = ("atc_1".into(), "atc_2".into());
    folder.reserve(&first, 1 << 40, any).unwrap().unwrap();
    folder.reserve(&second, 7, any).unwrap().unwrap();
    let usage = Usage {
        bytes: (1 << 40) + 7,
        wanted: 2,
        whole: 0,
    };
    assert_eq!(folder.usage().unwrap(), usage);
    assert_eq!(folder.reserve(&"atc_3".into(), 1, Err).unwrap(), Err(usage));
    assert!(upload(&folder, &second, b"1234567"));
    // As a kill in the last step leaves it.
    std::fs::write(folder.wanted(&second), "1234567").unwrap();
    let usage = Usage {
        wanted: 1,
        whole: 1,
        ..usage
    };
    assert_eq!(folder.usage().unwrap(), usage);
    assert_eq!(folder.standing(&second).unwrap(), Standing::Whole);
    // Of another user, nothing is counted.
    assert_eq!(files.folder("eve").usage().unwrap(), Usage::default());
}

#[test]
fn entries_are_known_by_their_names_and_others_left_alone() {
    let (_dir, files) = Dir::make();
    let (folder, id) = (files.folder("ada"), AttachmentId::from("atc_1"));
    assert!(files.folders().unwrap().is_empty());
    folder.reserve(&id, 3, any).unwrap().unwrap();
    let (file, part) = folder.begin(&id).unwrap();
    folder.reserve(&"atc_2".into(), 0, any).unwrap().unwrap();
    assert!(upload(&folder, &"atc_2".into(), b""));
    std::fs::write(folder.path().join("notes.txt"), "").unwrap();
    std::fs::write(folder.path().join("atc_UPPER"), "").unwrap();
    let later = SystemTime::now() + Duration::from_secs(60);
    let mut entries = folder.entries(later).unwrap();
    entries.sort_by_key(|entry| entry.path.clone());
    let kinds: Vec<_> = entries.iter().map(|entry| entry.kind.clone()).collect();
    assert_eq!(
        kinds,
        [
            EntryKind::Part,
            EntryKind::Wanted(id),
            EntryKind::Whole("atc_2".into())
        ]
    );
    assert!(
        entries
            .iter()
            .all(|entry| entry.age >= Duration::from_secs(59))
    );
    // A clock that was set back makes nothing old.
    let entries = folder.entries(SystemTime::UNIX_EPOCH).unwrap();
    assert!(entries.iter().all(|entry| entry.age.is_zero()));
    assert_eq!(files.folders().unwrap().len(), 1);
    drop((file, part));
}
