//! Turns the answer of a command on the node into processes, nothing, or a [`SupervisorError`].
//!
//! For every command whose answer is that of supervisorctl, also behind another name. Pure. Invariants: an exit code
//! is never proof of success; an answer of which no line is understood, or that ended as answers do not, is an error and
//! never an empty list.

use super::error::{RpcFault, SupervisorError};
use super::parse::problem::ControlProblem;
use super::parse::supervisorctl::{self, ActionResult};
use super::process::ProcessInfo;
use ctl_remote::{CommandAnswer, NoAnswer, last_line};

/// The processes of a `status`: all of them, or an error. A supervisord without programs prints nothing and ends with 0.
pub(super) fn processes(
    command: &str,
    answer: &CommandAnswer,
    is_behind_sudo: bool,
    is_usual: impl Fn(u32) -> bool,
) -> Result<Vec<ProcessInfo>, SupervisorError> {
    // sudo's PAM modules may print before the answer, for example that a password expires.
    let stdout = if is_behind_sudo { supervisorctl::without_preface(&answer.stdout) } else { &answer.stdout };
    let status = supervisorctl::parse_status(stdout, &answer.stderr, Some(answer.status));
    // A problem that kept the command from working explains every other line, so it goes first.
    refuse(&status.problems)?;
    let unread = status
        .problems
        .iter()
        .find_map(|problem| if let ControlProblem::Unrecognised { line } = problem { Some(line) } else { None });
    let is_explained = status.problems.iter().any(|problem| !matches!(problem, ControlProblem::Unrecognised { .. }));
    // After an unusual exit code the list may be incomplete, even where each line of it can be read.
    if !is_usual(answer.status) || (status.processes.is_empty() && answer.status != 0 && !is_explained) {
        return Err(failed(command, answer));
    }
    // The line that cannot be read may be the very process that the caller looks for, so a partial list is an error.
    if let Some(line) = unread {
        let text = format!("`{command}` printed a line that is not a process of its list: `{line}`");
        return Err(SupervisorError::Protocol(text));
    }
    let process = |line: supervisorctl::StatusLine| ProcessInfo {
        group: line.group,
        name: line.process,
        state: line.state,
        pid: line.pid,
        start: None,
        uptime: line.uptime,
        exited_as_expected: None,
        description: line.description,
    };
    Ok(status.processes.into_iter().map(process).collect())
}

/// The problems that kept a command from doing its work.
pub(super) fn problems_of(answer: &CommandAnswer) -> Vec<ControlProblem> {
    supervisorctl::parse_status(&answer.stdout, &answer.stderr, Some(answer.status)).problems
}

/// A command that ended, and of whose answer nothing explains how.
pub(super) fn failed(command: &str, answer: &CommandAnswer) -> SupervisorError {
    let said = last_line(if answer.stdout.trim().is_empty() { &answer.stderr } else { &answer.stdout });
    NoAnswer::Failed { command: command.to_owned(), status: answer.status, said }.into()
}

/// The first problem that kept supervisorctl from doing its work at all.
pub(super) fn refuse(problems: &[ControlProblem]) -> Result<(), SupervisorError> {
    for problem in problems {
        let text = problem.to_string();
        return Err(match problem {
            ControlProblem::Refused { .. }
            | ControlProblem::NoSuchFile { .. }
            | ControlProblem::ShuttingDown
            | ControlProblem::HungUp => SupervisorError::Down(text),
            ControlProblem::PermissionDenied | ControlProblem::Unauthorized => SupervisorError::Permission(text),
            ControlProblem::Sudo(error) => SupervisorError::Sudo(error.clone()),
            ControlProblem::CommandNotFound => SupervisorError::CommandMissing(text),
            ControlProblem::PythonError { .. } => SupervisorError::Protocol(text),
            // These concern one name or one line; the command itself has worked.
            ControlProblem::NoSuchProcess { .. }
            | ControlProblem::NoSuchGroup { .. }
            | ControlProblem::Unrecognised { .. } => continue,
        });
    }
    Ok(())
}

/// Whether a start, stop or restart was refused, by the words of supervisorctl.
pub(super) fn acted(command: &str, answer: &CommandAnswer) -> Result<(), SupervisorError> {
    use ActionResult as R;

    let action = supervisorctl::parse_action(&answer.stdout, &answer.stderr, Some(answer.status));
    refuse(&action.problems)?;
    // An action that prints nothing has proved nothing, whatever its exit code.
    if action.lines.is_empty() {
        return Err(failed(command, answer));
    }
    for line in &action.lines {
        let fault = match line.result {
            R::SpawnError => RpcFault::SpawnError,
            R::AbnormalTermination => RpcFault::AbnormalTermination,
            R::NoSuchFile => RpcFault::NoFile,
            R::NotExecutable => RpcFault::NotExecutable,
            R::NoSuchProcess | R::NoSuchGroup => RpcFault::BadName,
            R::Failed => RpcFault::Failed,
            // A restart of a stopped program prints "not running" before "started", so neither line alone is a
            // refusal.
            R::Started
            | R::Stopped
            | R::Signalled
            | R::Cleared
            | R::Added
            | R::Removed
            | R::Updated
            | R::AlreadyStarted
            | R::NotRunning
            | R::BadSignal
            | R::AlreadyAdded
            | R::StillRunning
            | R::Other => continue,
        };
        return Err(SupervisorError::Fault { fault, text: line.text.clone() });
    }
    Ok(())
}
