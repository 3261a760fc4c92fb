//! Machines that have less than this one: the copy takes a measure away from itself before it is confined.

use seccompiler::{BpfProgram, SeccompAction, SeccompFilter};

use super::report::{Landlock, Seccomp};
use super::*;

/// From here on the system answers as one that has not got the call.
fn without(call: libc::c_long) {
    let filter: BpfProgram = SeccompFilter::new(
        [(call, Vec::new())].into(),
        SeccompAction::Allow,
        SeccompAction::Errno(libc::ENOSYS.unsigned_abs()),
        std::env::consts::ARCH.try_into().unwrap(),
    )
    .unwrap()
    .try_into()
    .unwrap();
    seccompiler::apply_filter(&filter).unwrap();
}

/// The report without `require`, and what is said with it. What a thread has given up another still has.
fn both(scene: &Scene, call: libc::c_long) -> (Report, String) {
    let required = std::thread::scope(|scope| {
        let thread = scope.spawn(|| {
            without(call);
            confinement(scene).apply_here().unwrap_err()
        });
        thread.join().unwrap()
    });
    assert!(
        matches!(required, ConfineError::Required { .. }),
        "{required}"
    );
    without(call);
    let as_far_as_it_goes = Confinement {
        require: false,
        ..confinement(scene)
    };
    let report = as_far_as_it_goes.apply_here().unwrap();
    (report, required.to_string())
}

#[test]
fn without_landlock_the_rest_is_in_force() {
    const NAME: &str = "isolation::confine::tests::machines::without_landlock_the_rest_is_in_force";
    if let Some((scene, _)) = Scene::inherited(NAME) {
        let (report, refused) = both(&scene, libc::SYS_landlock_create_ruleset);
        assert!(
            matches!(&report.landlock, Landlock::Unavailable(why) if why.contains("built without")),
            "{report}"
        );
        assert!(report.reads.is_empty() && report.writes.is_empty());
        assert!(matches!(report.seccomp, Seccomp::RefusedCalls(_)));
        assert!(refused.contains("Landlock: "), "{refused}");
        assert!(!refused.contains("seccomp: "), "{refused}");
        assert_eq!(ended(std::fs::read(scene.path("other/key"))), Ok(()));
        assert_eq!(
            ended(std::process::Command::new("/bin/true").status()),
            Err(libc::EPERM)
        );
        return;
    }
    Scene::new().run(NAME, Kind::Confined).expect_success();
}

#[test]
fn without_seccomp_the_rest_is_in_force() {
    const NAME: &str = "isolation::confine::tests::machines::without_seccomp_the_rest_is_in_force";
    if let Some((scene, _)) = Scene::inherited(NAME) {
        let (report, refused) = both(&scene, libc::SYS_seccomp);
        assert!(
            matches!(report.seccomp, Seccomp::Unavailable(_)),
            "{report}"
        );
        assert_eq!(report.processes, None);
        assert!(matches!(report.landlock, Landlock::Abi(1..)));
        assert!(refused.contains("seccomp: "), "{refused}");
        assert!(!refused.contains("Landlock: "), "{refused}");
        assert_eq!(
            ended(std::fs::read(scene.path("other/key"))),
            Err(libc::EACCES)
        );
        // No file may be run either.
        assert_eq!(
            ended(std::process::Command::new("/bin/true").status()),
            Err(libc::EACCES)
        );
        return;
    }
    Scene::new().run(NAME, Kind::Confined).expect_success();
}
