//! The operator's own commands on a node: those of `exec`, and the checks between batches.

use super::NodeAccess;
use super::connection::NodeConnection;
use crate::event::{CommandRun, Failure, FailureKind, Outcome, Stage, TargetResult};
use crate::guard::command::{self, CommandEnd, CommandOutput, RunError};
use crate::plan::CommandInput;
use crate::remote::NOT_RUN;
use crate::transport::Transport;

/// What to do after a command whose end is not known.
const HALF_DONE: &str = "it may have done part of its work; check the node";

/// Runs a command within the node's time.
pub(super) async fn run<T: Transport>(
    link: &NodeConnection<T>,
    line: &str,
    input: Option<&CommandInput>,
    access: &NodeAccess,
    give_up: impl Future<Output = ()>,
) -> Result<CommandOutput, RunError> {
    let session = link.session().await?;
    let input = input.map(CommandInput::base64).unwrap_or_default();
    command::run(session.as_ref(), line, input, &access.sudo, access.timeout, give_up).await
}

/// Runs a check: an error says why it was not passed.
pub(super) async fn check<T: Transport>(
    link: &NodeConnection<T>,
    line: &str,
    access: &NodeAccess,
    give_up: impl Future<Output = ()>,
) -> Result<(), Failure> {
    let hint = "the action itself succeeded; check the node, or run the check there by hand";
    let failed = |message: String| Failure::new(Stage::Verify, FailureKind::Gate, message).with_hint(hint);
    match run(link, line, None, access, give_up).await {
        Ok(CommandOutput { end: CommandEnd::Exited(0) | CommandEnd::GivenUp, .. }) => Ok(()),
        Ok(output) => {
            // Of what did not run it is part of what is said of the end.
            let is_said = matches!(output.end, CommandEnd::NotRun(_));
            let said = output.last_line().filter(|_| !is_said).map(|line| format!(": {line}")).unwrap_or_default();
            Err(failed(format!("the check {}{said}", ended(&output, access))))
        }
        Err(RunError::GivenUp) => Ok(()),
        Err(error) => Err(failed(format!("cannot run the check: {error}"))),
    }
}

/// The result of a command that was run.
pub(super) fn judged(
    mut result: TargetResult,
    ended_with: Result<CommandOutput, RunError>,
    access: &NodeAccess,
) -> TargetResult {
    let output = match ended_with {
        Ok(output) => output,
        Err(error) => {
            result.outcome = outcome_of(&error);
            result.failure = Some(error.failure(Stage::Act));
            return result;
        }
    };
    let (outcome, kind, hint) = match &output.end {
        CommandEnd::Exited(0) => (Outcome::Changed, None, None),
        CommandEnd::Exited(_) | CommandEnd::Signalled(_) | CommandEnd::NoStatus => {
            (Outcome::Failed, Some(FailureKind::Command), None)
        }
        CommandEnd::NotRun(_) => (Outcome::Failed, Some(FailureKind::Command), Some(NOT_RUN)),
        CommandEnd::TimedOut => {
            (Outcome::TimedOut, Some(FailureKind::TimedOut), Some("allow more time with --timeout"))
        }
        CommandEnd::GivenUp => (Outcome::Unknown, Some(FailureKind::Interrupted), Some(HALF_DONE)),
        CommandEnd::Lost => (Outcome::Unknown, Some(FailureKind::ConnectionLost), Some(HALF_DONE)),
    };
    result.outcome = outcome;
    result.failure = kind.map(|kind| Failure {
        hint: hint.map(str::to_owned),
        ..Failure::new(Stage::Act, kind, format!("the command {}", ended(&output, access)))
    });
    let (exit_status, signal) = match &output.end {
        CommandEnd::Exited(code) => (Some(*code), None),
        CommandEnd::Signalled(name) => (None, Some(name.clone())),
        CommandEnd::NoStatus
        | CommandEnd::NotRun(_)
        | CommandEnd::TimedOut
        | CommandEnd::GivenUp
        | CommandEnd::Lost => (None, None),
    };
    result.command = Some(CommandRun {
        exit_status,
        signal,
        stdout: Some(String::from_utf8_lossy(&output.stdout).into_owned()),
        stderr: Some(String::from_utf8_lossy(&output.stderr).into_owned()),
        truncated: Some(output.truncated),
    });
    result
}

/// The outcome of a command that was not run: of a lost connection the same as before the command's turn.
fn outcome_of(error: &RunError) -> Outcome {
    match error {
        RunError::Transport(error) => error.failure().outcome(),
        RunError::Sudo(_) => Outcome::Failed,
        RunError::Silent(_) => Outcome::TimedOut,
        RunError::GivenUp => Outcome::NotStarted,
    }
}

fn ended(output: &CommandOutput, access: &NodeAccess) -> String {
    let seconds = access.timeout.as_secs_f64();
    match &output.end {
        CommandEnd::Exited(code) => format!("exited {code}"),
        CommandEnd::Signalled(name) if name == "UNKNOWN" => "was killed by a signal".to_owned(),
        CommandEnd::Signalled(name) => format!("was killed by SIG{name}"),
        CommandEnd::NoStatus => "ended, but the node did not report how".to_owned(),
        CommandEnd::NotRun(code) => not_run(output.last_line(), *code),
        CommandEnd::TimedOut if output.started => format!("was killed after {seconds:.1} s"),
        CommandEnd::TimedOut => format!("did not start within {seconds:.1} s"),
        CommandEnd::GivenUp => "was killed because the run stopped waiting".to_owned(),
        CommandEnd::Lost => "was running when the connection was lost; the node ends it".to_owned(),
    }
}

/// What became of the login shell instead.
fn not_run(said: Option<String>, code: Option<u32>) -> String {
    let code = code.map(|code| format!(" and exited {code}")).unwrap_or_default();
    match said {
        Some(line) => format!("did not run: the login shell printed `{line}`{code}"),
        None => format!("did not run: the login shell printed nothing{code}"),
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::transport::TransportError;

    /// A cause has one outcome, whenever it comes: a connection that is lost at the lock is `unreachable` too.
    #[test]
    fn a_command_that_was_not_started() {
        let reason = || "it was reset".to_owned();
        let cases = [
            (RunError::Transport(TransportError::Lost { reason: reason() }), Outcome::Unreachable),
            (RunError::Transport(TransportError::Dns { host: "n".to_owned(), reason: reason() }), Outcome::Unreachable),
            (RunError::Transport(TransportError::CommandRefused { reason: reason() }), Outcome::Failed),
            (RunError::Silent(Duration::from_secs(1)), Outcome::TimedOut),
            (RunError::GivenUp, Outcome::NotStarted),
        ];
        for (error, expected) in cases {
            assert_eq!(outcome_of(&error), expected, "{error}");
        }
    }
}
