//! Confined copies of this test program try things. The same tables run in a copy that is not confined, so that nothing counts as
//! refused that would have failed anyway.

#![expect(unsafe_code, reason = "system calls that no program should make")]

mod allowed;
mod denied;
mod ends;
mod machines;
mod programs;
mod scene;

use std::io;

use super::*;
use scene::{Kind, Scene};

/// What a copy of this program tries, and how it should end.
type Attempt = (&'static str, fn(&Scene) -> Outcome, Outcome);
/// As a system call answers: nothing, or an error number.
type Outcome = Result<(), i32>;

fn tried(answer: impl Into<i64>) -> Outcome {
    if answer.into() == -1 {
        Err(io::Error::last_os_error().raw_os_error().unwrap_or(0))
    } else {
        Ok(())
    }
}

fn ended<T>(result: io::Result<T>) -> Outcome {
    match result {
        Ok(_) => Ok(()),
        Err(error) => Err(error.raw_os_error().unwrap_or(0)),
    }
}

/// What the configuration of the tests lets a module do.
fn confinement(scene: &Scene) -> Confinement {
    Confinement {
        kernel: nix::unistd::getppid().as_raw(),
        library: Some(scene.path("library")),
        own: scene.path("own"),
        named: vec![
            scene.path("named"),
            scene.path(""),
            "/".into(),
            "/no/such/path".into(),
            scene.path("own/planted/key"),
        ],
        read: vec![
            scene.path("read"),
            scene.path("absent"),
            scene.path("own/planted"),
        ],
        write: vec![scene.path("write/planted"), scene.path("write")],
        memory_bytes: scene::MEMORY,
        files: scene::FILES,
        processes: false,
        require: true,
    }
}

/// Runs in the copy.
fn confine(scene: &Scene) -> Report {
    confinement(scene).apply_here().unwrap()
}

#[test]
fn a_module_process_may_do_this_and_not_that() {
    const NAME: &str = "isolation::confine::tests::a_module_process_may_do_this_and_not_that";
    let tables: Vec<Attempt> = denied::attempts()
        .chain(allowed::ATTEMPTS)
        .copied()
        .collect();
    if let Some((scene, kind)) = Scene::inherited(NAME) {
        if kind != Kind::Free {
            confine(&scene);
        }
        scene.report(
            tables
                .iter()
                .map(|(name, attempt, _)| (*name, attempt(&scene))),
        );
        return;
    }
    let mut kinds = vec![Kind::Confined, Kind::Free];
    if nix::unistd::getuid().is_root() {
        kinds.push(Kind::OtherUser);
    }
    for kind in kinds {
        let scene = Scene::new();
        let found = scene.run(NAME, kind).expect_success();
        assert_eq!(found.len(), tables.len());
        let wrong: Vec<String> = tables
            .iter()
            .filter_map(|(name, _, expect)| {
                let outcome = found[*name];
                let right = match kind {
                    // What only root could do is refused to others anyway.
                    Kind::Free if expect.is_err() => {
                        outcome != *expect || !nix::unistd::getuid().is_root()
                    }
                    Kind::Free | Kind::Confined | Kind::OtherUser => outcome == *expect,
                };
                (!right).then(|| format!("{name}: {outcome:?}, and not {expect:?}"))
            })
            .collect();
        assert!(wrong.is_empty(), "{kind:?}:\n{}", wrong.join("\n"));
        scene.expect_untouched();
    }
}

#[test]
fn the_report_says_what_is_in_force() {
    const NAME: &str = "isolation::confine::tests::the_report_says_what_is_in_force";
    if let Some((scene, _)) = Scene::inherited(NAME) {
        let report = confine(&scene);
        assert!(report.no_new_privs && report.closed_to_others && report.no_capabilities);
        assert_eq!(report.ends_with_kernel, report::EndsBy::Signal);
        assert!(matches!(report.landlock, report::Landlock::Abi(1..)));
        assert!(
            matches!(report.seccomp, report::Seccomp::RefusedCalls(100..)),
            "{report}"
        );
        assert_eq!(report.memory_bytes, Some(scene::MEMORY));
        assert_eq!(report.files, Some(scene::FILES));
        assert_eq!(report.processes, Some(0));
        for path in ["library", "named", "read"] {
            assert!(
                report.reads.contains(&scene.path(path)),
                "{path}: {report:?}"
            );
        }
        assert_eq!(
            report.writes,
            [
                PathBuf::from("/dev/null"),
                scene.path("own"),
                scene.path("write")
            ]
        );
        let missing = report.missing.join("\n");
        assert_eq!(report.missing.len(), 6, "{missing}");
        assert_eq!(
            missing.matches("lies where the module can write").count(),
            3,
            "{missing}"
        );
        assert!(missing.contains("/absent is not there"), "{missing}");
        assert!(missing.contains("name it in `confine.read`"), "{missing}");
        return;
    }
    Scene::new().run(NAME, Kind::Confined).expect_success();
}

#[test]
fn it_is_not_tried_beside_other_threads() {
    let scene = Scene::new();
    std::thread::scope(|scope| {
        let (done, wait) = std::sync::mpsc::channel::<()>();
        scope.spawn(move || wait.recv());
        let error = confinement(&scene).apply().unwrap_err();
        assert!(
            matches!(error, ConfineError::Threads { threads: 2.. }),
            "{error}"
        );
        drop(done);
    });
}

#[test]
fn a_kernel_that_is_gone_is_noticed() {
    const NAME: &str = "isolation::confine::tests::a_kernel_that_is_gone_is_noticed";
    if let Some((scene, _)) = Scene::inherited(NAME) {
        let orphan = Confinement {
            kernel: 1,
            ..confinement(&scene)
        };
        let error = orphan.apply_here().unwrap_err();
        assert!(matches!(error, ConfineError::Orphaned), "{error}");
        return;
    }
    Scene::new().run(NAME, Kind::Confined).expect_success();
}

#[test]
fn the_child_is_told_all_of_it() {
    let scene = Scene::new();
    let config = serde_json::json!({ "model": scene.path("named") });
    let made = Confinement::new(
        &crate::config::Confine {
            read: vec![scene.path("read")],
            ..crate::config::Confine::default()
        },
        config.as_object().unwrap(),
        scene.path("own"),
        Some(scene.path("library")),
    );
    assert_eq!(made.kernel, nix::unistd::getpid().as_raw());
    assert_eq!(made.named, [scene.path("named")]);
    let json = serde_json::to_string(&made).unwrap();
    assert_eq!(serde_json::from_str::<Confinement>(&json).unwrap(), made);
}
