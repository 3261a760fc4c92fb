//! From the rules to filters in force.

mod arguments;
mod refused;
mod unknown;

use seccompiler::{BpfProgram, SeccompAction, SeccompFilter};

use super::super::Report;
use super::super::report::{Landlock, Seccomp};
use refused::Rules;

/// `processes`: it may start programs, and signal them.
pub(in super::super) fn restrict(processes: bool, report: &mut Report) {
    report.processes = (!processes).then_some(0);
    let signals_scoped = matches!(report.landlock, Landlock::Abi(abi) if abi >= SCOPES_SINCE);
    if processes && !signals_scoped {
        report.missing.push(
            "it may signal other processes of its user, since it may start programs and this system's Landlock keeps no signals in".to_owned(),
        );
    }
    let rules = refused::rules(processes);
    let count = u32::try_from(rules.len()).expect("there are some hundred system calls");
    match install(rules) {
        Ok(()) => report.seccomp = Seccomp::RefusedCalls(count),
        Err(error) => {
            report.seccomp = Seccomp::Unavailable(error.to_string());
            report.processes = None;
        }
    }
}

/// The first version of Landlock that keeps signals in.
const SCOPES_SINCE: u32 = 6;

fn install(rules: Rules) -> Result<(), seccompiler::Error> {
    let architecture = std::env::consts::ARCH
        .try_into()
        .map_err(seccompiler::Error::Backend)?;
    let refused: BpfProgram = SeccompFilter::new(
        rules,
        SeccompAction::Allow,
        SeccompAction::Errno(libc::EPERM.unsigned_abs()),
        architecture,
    )
    .and_then(TryInto::try_into)
    .map_err(seccompiler::Error::Backend)?;
    // Each stays in force under the next; of two answers the system takes that of the newest.
    seccompiler::apply_filter(&unknown::filter())?;
    seccompiler::apply_filter(&refused)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_lists_fit_into_a_filter() {
        for processes in [false, true] {
            let rules = refused::rules(processes);
            let filter = SeccompFilter::new(
                rules,
                SeccompAction::Allow,
                SeccompAction::Errno(1),
                std::env::consts::ARCH.try_into().unwrap(),
            )
            .unwrap();
            let program: BpfProgram = filter.try_into().unwrap();
            assert!(program.len() < 4096, "{}", program.len());
        }
    }

    #[test]
    fn starting_programs_is_all_that_the_longer_list_adds() {
        let (without, with) = (refused::rules(false), refused::rules(true));
        let only: Vec<i64> = without
            .keys()
            .copied()
            .filter(|call| !with.contains_key(call))
            .collect();
        for call in [libc::SYS_execve, libc::SYS_execveat, libc::SYS_kill] {
            assert!(only.contains(&call), "{call}");
        }
        for call in [libc::SYS_ptrace, libc::SYS_mount, libc::SYS_clone] {
            assert!(with.contains_key(&call), "{call}");
        }
        assert!(with.keys().all(|call| without.contains_key(call)));
    }
}
