//! Which files a module process reads and writes, by Landlock: nothing but what is named here (landlock(7)).
//!
//! Landlock judges what is opened, listed, made, renamed and removed. It does not hide that a file is there, how large it is and
//! when it was changed; what changes files without opening them `calls` refuses.

use super::{Confinement, Report};

#[cfg(not(target_os = "linux"))]
pub(super) fn restrict(_confinement: &Confinement, _report: &mut Report) {}

#[cfg(target_os = "linux")]
pub(super) use linux::restrict;

#[cfg(target_os = "linux")]
mod linux {
    use std::path::{Path, PathBuf};

    use landlock::{
        ABI, Access as _, AccessFs, BitFlags, LandlockStatus, PathBeneath, PathFd,
        RestrictionStatus, Ruleset, RulesetAttr as _, RulesetCreated, RulesetCreatedAttr as _,
        RulesetError, RulesetStatus, Scope, make_bitflags,
    };

    use super::super::{paths, report::Landlock};
    use super::{Confinement, Report};

    /// The version whose rights were tried; an older system gets what it has, a newer one no more than this.
    const KNOWN: ABI = ABI::V7;
    const READ: BitFlags<AccessFs> = make_bitflags!(AccessFs::{ReadFile | ReadDir});
    /// Files, directories and links; no devices, sockets or pipes, and nothing that is there can be run.
    const WRITE: BitFlags<AccessFs> = make_bitflags!(AccessFs::{
        ReadFile | ReadDir | WriteFile | Truncate | RemoveDir | RemoveFile | MakeDir | MakeReg | MakeSym | Refer
    });
    const RUN: BitFlags<AccessFs> = make_bitflags!(AccessFs::{ReadFile | ReadDir | Execute});

    pub(in super::super) fn restrict(confinement: &Confinement, report: &mut Report) {
        match try_restrict(confinement, report) {
            Ok(landlock) => report.landlock = landlock,
            Err(error) => report.landlock = Landlock::Unavailable(error.to_string()),
        }
        if matches!(report.landlock, Landlock::Unavailable(_)) {
            report.reads.clear();
            report.writes.clear();
        }
    }

    fn try_restrict(
        confinement: &Confinement,
        report: &mut Report,
    ) -> Result<Landlock, RulesetError> {
        let ruleset = Ruleset::default()
            .handle_access(AccessFs::from_all(KNOWN))?
            .scope(Scope::from_all(KNOWN))?
            .create()?;
        let mut rules = Rules { ruleset, report };
        rules.of_the_system(confinement.processes)?;
        rules.of_the_module(confinement)?;
        let status = rules.ruleset.restrict_self()?;
        Ok(in_force(&status))
    }

    fn in_force(status: &RestrictionStatus) -> Landlock {
        match status.landlock {
            LandlockStatus::Available { effective_abi, .. }
                if status.ruleset != RulesetStatus::NotEnforced =>
            {
                Landlock::Abi(effective_abi.min(KNOWN) as u32)
            }
            LandlockStatus::NotEnabled => {
                Landlock::Unavailable("it was not enabled when the system started".to_owned())
            }
            _ => Landlock::Unavailable("this system's kernel was built without it".to_owned()),
        }
    }

    struct Rules<'a> {
        ruleset: RulesetCreated,
        report: &'a mut Report,
    }

    impl Rules<'_> {
        fn of_the_system(&mut self, programs: bool) -> Result<(), RulesetError> {
            // Some programs lie beside libraries.
            let access = if programs { RUN } else { READ };
            for path in paths::OF_THE_SYSTEM {
                self.grant(Path::new(path), access)?;
            }
            if programs {
                for path in paths::PROGRAMS {
                    self.grant(Path::new(path), RUN)?;
                }
            }
            self.grant(Path::new(paths::NULL), WRITE)?;
            Ok(())
        }

        fn of_the_module(&mut self, confinement: &Confinement) -> Result<(), RulesetError> {
            // The code that is loaded: unlike what is only named it must be there, which the loader will find.
            if let Some(library) = &confinement.library {
                self.grant(library, READ)?;
            }
            let own = real(&confinement.own);
            let writable: Vec<PathBuf> = std::iter::once(&confinement.own)
                .chain(&confinement.write)
                .map(|path| real(path))
                .collect();
            let read = if confinement.processes { RUN } else { READ };
            for path in paths::named_by_environment(|name| std::env::var_os(name)) {
                if !paths::is_too_wide(&real(&path), &own) {
                    self.grant(&path, read)?;
                }
            }
            for path in &confinement.named {
                // A string that is no path, or of a file that is not there yet.
                let Ok(real) = path.canonicalize() else {
                    continue;
                };
                if paths::is_too_wide(&real, &own) {
                    self.report.missing.push(format!(
                        "{} stands in its configuration and is not opened to it: more than the module's lies there; name it in `confine.read` if that is meant",
                        path.display()
                    ));
                } else {
                    self.asked_for(path, READ, &writable)?;
                }
            }
            for path in &confinement.read {
                self.asked_for(path, read, &writable)?;
            }
            for path in std::iter::once(&confinement.own).chain(&confinement.write) {
                self.asked_for(path, WRITE, &writable)?;
            }
            Ok(())
        }

        /// What somebody named must be there, and must be what he named: where a generation before could write, it could have put
        /// a link to anything in its place. There is nothing to grant, since it may read and write it already.
        fn asked_for(
            &mut self,
            path: &Path,
            access: BitFlags<AccessFs>,
            writable: &[PathBuf],
        ) -> Result<(), RulesetError> {
            if paths::is_led_through(path, writable) {
                self.report.missing.push(format!(
                    "{} lies where the module can write, so no more is granted to it than there",
                    path.display()
                ));
            } else if !self.grant(path, access)? {
                self.report.missing.push(format!(
                    "{} is not there and stays closed until the module is reloaded",
                    path.display()
                ));
            }
            Ok(())
        }

        fn grant(&mut self, path: &Path, access: BitFlags<AccessFs>) -> Result<bool, RulesetError> {
            let there = self.allow(path, access)?;
            let granted = if access == WRITE {
                &mut self.report.writes
            } else {
                &mut self.report.reads
            };
            if there && !granted.iter().any(|known| known == path) {
                granted.push(path.to_owned());
            }
            Ok(there)
        }

        /// False when it cannot be opened, so that there is nothing to allow.
        fn allow(&mut self, path: &Path, access: BitFlags<AccessFs>) -> Result<bool, RulesetError> {
            let Ok(opened) = PathFd::new(path) else {
                return Ok(false);
            };
            // Rights that only directories have are left out for files (and so is that from the status).
            let access = if path.is_dir() {
                access
            } else {
                access & AccessFs::from_file(KNOWN)
            };
            (&mut self.ruleset).add_rule(PathBeneath::new(opened, access))?;
            Ok(true)
        }
    }

    /// Without links, if it is there.
    fn real(path: &Path) -> PathBuf {
        path.canonicalize().unwrap_or_else(|_| path.to_owned())
    }
}
