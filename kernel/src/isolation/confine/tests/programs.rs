//! A module that may start programs: they are confined as it is.

use std::process::{Command, Output};

use super::report::{Landlock, Seccomp};
use super::*;

#[test]
fn its_programs_may_do_no_more_than_it_may() {
    const NAME: &str =
        "isolation::confine::tests::programs::its_programs_may_do_no_more_than_it_may";
    if let Some((scene, _)) = Scene::inherited(NAME) {
        let kernel = nix::unistd::getppid();
        let report = Confinement {
            processes: true,
            ..confinement(&scene)
        }
        .apply_here()
        .unwrap();
        assert_eq!(report.processes, None);
        assert!(matches!(report.seccomp, Seccomp::RefusedCalls(_)));
        let sh = |script: &str| -> Output {
            Command::new("/bin/sh")
                .args(["-c", script])
                .current_dir(scene.path("own"))
                .output()
                .unwrap()
        };
        for (script, works) in [
            ("true", true),
            ("echo words > file && cat file && rm file", true),
            ("cat ../read/file | grep -q canary", true),
            ("sleep 600 & kill $! && wait $!; test $? = 143", true),
            ("cat ../other/key", false),
            ("echo words > ../other/key", false),
            ("cat /etc/passwd", false),
            ("chmod 644 ../other/key", false),
            ("ls /proc", false),
            ("ulimit -n 4096", false),
            ("cp /bin/true own-program && ./own-program", false),
        ] {
            let output = sh(script);
            assert_eq!(output.status.success(), works, "{script}: {output:?}");
        }
        if matches!(report.landlock, Landlock::Abi(6..)) {
            let output = sh(&format!("kill -0 {kernel}"));
            assert!(!output.status.success(), "{output:?}");
            assert!(report.missing.iter().all(|what| !what.contains("signal")));
        }
        assert_eq!(
            ended(std::os::unix::net::UnixStream::connect(
                scene.path("kernel.sock")
            )),
            Err(libc::EPERM)
        );
        return;
    }
    Scene::new().run(NAME, Kind::Confined).expect_success();
}
