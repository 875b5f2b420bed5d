//! Whether the guard on a node could start a service that is about to be stopped: reads the answers of its commands when
//! they are tried.
//!
//! Invariants: a rescue passes only if supervisorctl, or init, answered about the very thing that it starts.

use ctl_event::{Failure, FailureKind, Stage};
use ctl_guard::{ArmError, Guard, Rescue, TrialAnswer};
use ctl_remote::SudoError;
use ctl_supervisor::parse::init::{self, InitState};
use ctl_supervisor::parse::problem::ControlProblem;
use ctl_supervisor::parse::supervisorctl;

/// The exit code of a command that was ended because it took too long.
const KILLED: u32 = 137;

/// From here on an exit code says that the command itself did not run.
const NOT_RUN: u32 = 126;

/// Longest part of an answer that is shown.
const TOLD: usize = 300;

/// Tries the commands that the guard would run for all of these. After a failure none of their services may be stopped.
pub(crate) async fn rehearse(guard: &Guard, rescues: &[Rescue], stage: Stage) -> Result<(), Failure> {
    guard.rehearse(rescues, judge_first).await.map_err(|error| failure(error, stage))
}

/// Arms the guard with a rescue. After a failure its service must not be stopped.
pub(crate) async fn arm(guard: &Guard, rescue: &Rescue) -> Result<u64, Failure> {
    guard.arm(rescue, judge).await.map_err(|error| failure(error, Stage::Act))
}

fn failure(error: ArmError, stage: Stage) -> Failure {
    let kind = match error {
        // The refusal already has its own kind and hint; only the stage is known here.
        ArmError::Refused(failure) => return Failure { stage, ..*failure },
        ArmError::Gone => FailureKind::ConnectionLost,
        ArmError::Silent(_) => FailureKind::TimedOut,
        ArmError::Unable(_) => FailureKind::Command,
    };
    Failure::new(stage, kind, format!("nothing was stopped: {error}"))
        .with_hint("check the node, or use --no-guard to continue without a guard")
}

/// The same before the first change: a service that init does not know is not there to be stopped.
fn judge_first(rescue: &Rescue, answer: &TrialAnswer) -> Result<(), Failure> {
    let is_absent = |name: &str| init::parse_status(name, &answer.said, "", answer.exit).state == InitState::NotFound;
    match rescue {
        Rescue::Init { name, .. } if is_absent(name) => Ok(()),
        Rescue::Init { .. } | Rescue::Process { .. } | Rescue::Group { .. } => judge(rescue, answer),
    }
}

/// Whether the rescue would work, by the answer of its own words.
fn judge(rescue: &Rescue, answer: &TrialAnswer) -> Result<(), Failure> {
    let (is_known, problem) = match rescue {
        Rescue::Process { name, .. } => {
            of_supervisorctl(answer, |group, process| *name == format!("{group}:{process}"))
        }
        Rescue::Group { name, .. } => of_supervisorctl(answer, |group, _| group == name),
        Rescue::Init { name, .. } => of_init(name, answer),
    };
    if is_known { Ok(()) } else { Err(refused(rescue, answer, problem)) }
}

/// Whether supervisorctl reported the state of the process, and the problem if it did not.
fn of_supervisorctl(answer: &TrialAnswer, is_meant: impl Fn(&str, &str) -> bool) -> (bool, Option<ControlProblem>) {
    let status = supervisorctl::parse_status(&answer.said, "", answer.exit);
    // An answer about other processes does not prove that this one can be started.
    let is_known = status.processes.iter().any(|line| is_meant(&line.group, &line.process));
    (is_known, status.problems.into_iter().next())
}

/// Whether init reported the state of the service. Scripts have their own wording, so that it ran is enough.
fn of_init(name: &str, answer: &TrialAnswer) -> (bool, Option<ControlProblem>) {
    let has_run = answer.exit.is_some_and(|code| code < NOT_RUN);
    let is_known = match init::parse_status(name, &answer.said, "", answer.exit).state {
        InitState::NotFound | InitState::Denied => false,
        InitState::Unknown => has_run,
        InitState::Running
        | InitState::Starting
        | InitState::Stopping
        | InitState::Stopped
        | InitState::Failed
        | InitState::Exited => true,
    };
    (is_known, supervisorctl::parse_status(&answer.said, "", answer.exit).problems.into_iter().next())
}

/// A process that is alone in its group goes by one name.
fn short(name: &str) -> &str {
    match name.split_once(':') {
        Some((group, process)) if group == process => group,
        _ => name,
    }
}

fn refused(rescue: &Rescue, answer: &TrialAnswer, problem: Option<ControlProblem>) -> Failure {
    // A refusal by sudo explains more than any other line.
    let problem = SudoError::of_text(&answer.said).map(ControlProblem::Sudo).or(problem);
    let is_forbidden = matches!(
        problem,
        Some(ControlProblem::PermissionDenied | ControlProblem::Unauthorized | ControlProblem::Sudo(_))
    );
    let kind = if is_forbidden { FailureKind::Permission } else { FailureKind::Command };
    let last = answer.said.lines().rfind(|line| !line.trim().is_empty()).map(str::trim);
    let said = match (problem, last) {
        (Some(problem), _) if !matches!(problem, ControlProblem::Unrecognised { .. }) => problem.to_string(),
        (_, Some(last)) => last.to_owned(),
        (_, None) if answer.exit == Some(KILLED) => "no answer in time".to_owned(),
        (_, None) => {
            answer.exit.map_or_else(|| "no answer".to_owned(), |code| format!("no answer, exit status {code}"))
        }
    };
    let said: String = said.chars().take(TOLD).collect();
    let message = format!(
        "{} was not stopped, because the guard on the node could not start it again: `{}` printed: {said}",
        short(rescue.name()),
        answer.command
    );
    Failure::new(Stage::Act, kind, message)
        .with_hint("make this command work for the login user on the node, or accept the risk with --no-guard")
}

#[cfg(test)]
mod tests {
    use super::*;
    use ctl_guard::ControlCommand;

    fn process() -> Rescue {
        let words = ["supervisorctl", "-s", "unix:///x"].map(str::to_owned).to_vec();
        Rescue::Process { name: "slow:slow".to_owned(), control: ControlCommand { words, settings: None } }
    }

    fn init() -> Rescue {
        Rescue::Init { name: "cassandra".to_owned(), prefix: Vec::new() }
    }

    fn judged(rescue: &Rescue, said: &str, exit: u32) -> Option<FailureKind> {
        let answer =
            TrialAnswer { command: "supervisorctl status".to_owned(), said: said.to_owned(), exit: Some(exit) };
        judge(rescue, &answer).err().map(|failure| failure.kind)
    }

    #[test]
    fn only_an_answer_about_the_very_process_passes() {
        let (permission, command) = (Some(FailureKind::Permission), Some(FailureKind::Command));
        let cases = [
            ("slow                             RUNNING   pid 5, uptime 0:07:48", 0, None),
            ("slow STOPPED Not started\nother: ERROR (no such process)", 4, None),
            ("other                            RUNNING   pid 5, uptime 0:07:48", 0, command),
            ("slow: ERROR (no such process)", 4, command),
            ("", 137, command),
            ("", 0, command),
            ("ready.", 0, command),
            ("setsid: failed to execute supervisorctl: No such file or directory", 127, command),
            ("/bin/sh: 1: supervisorctl: not found", 127, command),
            ("unix:///x refused connection", 4, command),
            ("Server requires authentication\nerror: <class 'xmlrpc.client.ProtocolError'>, 401", 1, permission),
            ("sudo: a password is required", 1, permission),
            ("Sorry, user eve is not allowed to execute '/usr/bin/supervisorctl' as root on a6s01.", 1, permission),
            ("error: <class 'PermissionError'>, [Errno 13] Permission denied: file: socket.py line: 3", 1, permission),
        ];
        for (said, exit, expected) in cases {
            assert_eq!(judged(&process(), said, exit), expected, "{said}");
        }
    }

    #[test]
    fn a_service_of_init_passes_if_its_script_ran() {
        let cases = [
            ("cassandra (pid  7) is running...", 0, None),
            ("cassandra is stopped", 3, None),
            ("Usage: cassandra start|stop", 1, None),
            ("cassandra: unrecognized service", 1, Some(FailureKind::Command)),
            ("sudo: a password is required", 1, Some(FailureKind::Permission)),
            ("setsid: failed to execute service: No such file or directory", 127, Some(FailureKind::Command)),
            ("", 137, Some(FailureKind::Command)),
        ];
        for (said, exit, expected) in cases {
            assert_eq!(judged(&init(), said, exit), expected, "{said}");
        }
        let first = |said: &str| {
            let answer = TrialAnswer { said: said.to_owned(), exit: Some(1), ..TrialAnswer::default() };
            judge_first(&init(), &answer).is_ok()
        };
        assert!(first("cassandra: unrecognized service") && !first("sudo: a password is required"));
    }
}
