//! How a module process ends, and what it starts with.

use std::io::{BufRead as _, BufReader};
use std::os::fd::{AsFd as _, AsRawFd as _};
use std::os::unix::process::ExitStatusExt as _;
use std::process::Stdio;
use std::sync::mpsc;
use std::time::Duration;

use super::*;

/// More than any step takes on a loaded machine.
const DEADLINE: Duration = Duration::from_secs(30);

#[test]
fn it_ends_by_itself_when_it_takes_too_much() {
    const NAME: &str = "isolation::confine::tests::ends::it_ends_by_itself_when_it_takes_too_much";
    if let Some((scene, _)) = Scene::inherited(NAME) {
        confine(&scene);
        let too_much = usize::try_from(2 * scene::MEMORY).unwrap();
        let bytes = vec![1u8; too_much];
        unreachable!("it has {} bytes", bytes.len());
    }
    let run = Scene::new().run(NAME, Kind::Confined);
    assert_eq!(run.status().signal(), Some(libc::SIGABRT), "{}", run.text());
    assert!(
        run.text().contains("memory allocation of"),
        "{}",
        run.text()
    );
}

/// As the private copy of a module is where its directory is mounted noexec: made before, opened by its descriptor.
#[test]
fn a_library_in_memory_can_be_opened() {
    const NAME: &str = "isolation::confine::tests::ends::a_library_in_memory_can_be_opened";
    if let Some((scene, _)) = Scene::inherited(NAME) {
        let maps = std::fs::read_to_string("/proc/self/maps").unwrap();
        let library = maps
            .lines()
            .filter_map(|line| line.split_whitespace().last())
            .find(|path| path.contains("/libgcc_s"))
            .unwrap();
        let memory =
            nix::sys::memfd::memfd_create(c"copy", nix::sys::memfd::MFdFlags::MFD_CLOEXEC).unwrap();
        let mut memory = std::fs::File::from(memory);
        io::Write::write_all(&mut memory, &std::fs::read(library).unwrap()).unwrap();
        confine(&scene);
        let path = format!("/proc/self/fd/{}", memory.as_raw_fd());
        assert_eq!(allowed::open_library(&path), Ok(()), "{path}");
        return;
    }
    Scene::new().run(NAME, Kind::Confined).expect_success();
}

#[test]
fn it_ends_with_its_kernel_however_that_ends() {
    const NAME: &str = "isolation::confine::tests::ends::it_ends_with_its_kernel_however_that_ends";
    if let Some((scene, kind)) = Scene::inherited(NAME) {
        if kind == Kind::Free {
            // The kernel of this test: it starts the module process and waits, on a thread that stays.
            scene.command(NAME, Kind::Confined).status().unwrap();
        } else {
            confine(&scene);
            println!("\nconfined");
            loop {
                std::thread::park();
            }
        }
        return;
    }
    let scene = Scene::new();
    let mut kernel = scene
        .command(NAME, Kind::Free)
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let stdout = BufReader::new(kernel.stdout.take().unwrap());
    let (said, hear) = mpsc::channel();
    // Ends when nobody holds the other end any more, neither the kernel nor the module process.
    let listener = std::thread::spawn(move || {
        for line in stdout.lines() {
            let _ = said.send(line.unwrap());
        }
    });
    while hear.recv_timeout(DEADLINE).expect("it is confined in time") != "confined" {}
    kernel.kill().unwrap();
    assert_eq!(kernel.wait().unwrap().signal(), Some(libc::SIGKILL));
    assert_eq!(
        hear.recv_timeout(DEADLINE),
        Err(mpsc::RecvTimeoutError::Disconnected),
        "the module process is still there"
    );
    listener.join().unwrap();
}

#[test]
fn it_keeps_only_the_descriptors_it_was_given() {
    const NAME: &str =
        "isolation::confine::tests::ends::it_keeps_only_the_descriptors_it_was_given";
    if Scene::inherited(NAME).is_some() {
        let given = descriptors::take_stdin().unwrap();
        assert!(given.as_raw_fd() > 2);
        // Nothing is read from what stands in for it now.
        assert_eq!(io::read_to_string(io::stdin()).unwrap(), "");
        let stray = given.as_fd().try_clone_to_owned().unwrap();
        let stray = std::os::fd::IntoRawFd::into_raw_fd(stray);
        let closed = descriptors::close_strays(&[given.as_raw_fd()]);
        assert!(closed.contains(&stray), "{closed:?}");
        assert!(!closed.contains(&given.as_raw_fd()), "{closed:?}");
        assert!(closed.iter().all(|&number| number > 2), "{closed:?}");
        assert_eq!(descriptors::close_strays(&[given.as_raw_fd()]), [0; 0]);
        let text = io::read_to_string(std::fs::File::from(given)).unwrap();
        assert_eq!(text, "from the kernel");
        return;
    }
    let scene = Scene::new();
    let (near, far) = std::os::unix::net::UnixStream::pair().unwrap();
    io::Write::write_all(&mut &near, b"from the kernel").unwrap();
    near.shutdown(std::net::Shutdown::Write).unwrap();
    let output = scene
        .command(NAME, Kind::Free)
        .stdin(std::os::fd::OwnedFd::from(far))
        .output()
        .unwrap();
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stdout)
    );
}
