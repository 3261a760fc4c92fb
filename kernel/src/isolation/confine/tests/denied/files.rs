//! Files that are not its own.

use super::*;

pub(super) const ATTEMPTS: &[Attempt] = &[
    (
        "read another's key from a thread",
        |s| {
            let key = s.path("other/key");
            std::thread::spawn(|| ended(fs::read(key))).join().unwrap()
        },
        Err(EACCES),
    ),
    (
        "read the accounts",
        |_| ended(fs::read("/etc/passwd")),
        Err(EACCES),
    ),
    (
        "read another's key",
        |s| ended(fs::read(s.path("other/key"))),
        Err(EACCES),
    ),
    (
        "read another's key by a link",
        |s| {
            let link = s.path("own/link");
            ended(
                std::os::unix::fs::symlink(s.path("other/key"), &link)
                    .and_then(|()| fs::read(&link)),
            )
        },
        Err(EACCES),
    ),
    (
        "read another's key from its own directory",
        |s| ended(fs::read(s.path("own/../other/key"))),
        Err(EACCES),
    ),
    (
        "list the directory above",
        |s| ended(fs::read_dir(s.path(""))),
        Err(EACCES),
    ),
    ("list everything", |_| ended(fs::read_dir("/")), Err(EACCES)),
    (
        "list the homes",
        |_| ended(fs::read_dir("/root")),
        Err(EACCES),
    ),
    (
        "write another's key",
        |s| ended(OpenOptions::new().append(true).open(s.path("other/key"))),
        Err(EACCES),
    ),
    (
        "empty another's key",
        |s| {
            let path = c_path(&s.path("other/key"));
            // SAFETY: the path ends with a zero.
            tried(unsafe { libc::truncate(path.as_ptr(), 20) })
        },
        Err(EACCES),
    ),
    (
        "write what it may read",
        |s| ended(OpenOptions::new().append(true).open(s.path("read/file"))),
        Err(EACCES),
    ),
    (
        "write its library",
        |s| ended(OpenOptions::new().append(true).open(s.path("library"))),
        Err(EACCES),
    ),
    (
        "write to the common directory",
        |_| ended(tempfile::tempfile_in("/tmp")),
        Err(EACCES),
    ),
    (
        "make a file beside its directory",
        |s| ended(File::create(s.path("new"))),
        Err(EACCES),
    ),
    (
        "make shared memory",
        |s| ended(File::create(Path::new("/dev/shm").join(shm_name(s)))),
        Err(EACCES),
    ),
    (
        "take another's key",
        |s| ended(fs::hard_link(s.path("other/key"), s.path("own/key"))),
        Err(EXDEV),
    ),
    (
        "put a file elsewhere",
        |s| {
            ended(
                File::create(s.path("own/gift"))
                    .and_then(|_| fs::rename(s.path("own/gift"), s.path("read/gift"))),
            )
        },
        Err(EACCES),
    ),
    (
        "remove what it may read",
        |s| ended(fs::remove_file(s.path("read/removable"))),
        Err(EACCES),
    ),
    (
        "make a socket in its directory",
        |s| {
            let path = c_path(&s.path("own/socket"));
            // SAFETY: the path ends with a zero.
            tried(unsafe { libc::mknod(path.as_ptr(), libc::S_IFSOCK | 0o600, 0) })
        },
        Err(EACCES),
    ),
    (
        "make a pipe in its directory",
        |s| {
            ended(
                nix::unistd::mkfifo(&s.path("own/pipe"), nix::sys::stat::Mode::S_IRWXU)
                    .map_err(Into::into),
            )
        },
        Err(EACCES),
    ),
    (
        "open another's key to all",
        |s| {
            ended(fs::set_permissions(
                s.path("other/key"),
                fs::Permissions::from_mode(0o666),
            ))
        },
        Err(EPERM),
    ),
    (
        "give another's key away",
        |s| ended(std::os::unix::fs::chown(s.path("other/key"), None, None)),
        Err(EPERM),
    ),
    (
        "mark another's key",
        |s| {
            let path = c_path(&s.path("other/key"));
            // SAFETY: the strings end with a zero, and no bytes are read.
            tried(unsafe {
                libc::setxattr(path.as_ptr(), c"user.x".as_ptr(), c"".as_ptr().cast(), 0, 0)
            })
        },
        Err(EPERM),
    ),
    (
        "date another's key",
        |s| {
            let path = c_path(&s.path("other/key"));
            // SAFETY: the path ends with a zero, and no times mean now.
            tried(unsafe { libc::utimensat(libc::AT_FDCWD, path.as_ptr(), std::ptr::null(), 0) })
        },
        Err(EPERM),
    ),
    (
        "open a file by its number",
        |_| call(libc::SYS_open_by_handle_at, [0; 6]),
        Err(EPERM),
    ),
];
