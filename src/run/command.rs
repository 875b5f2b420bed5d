//! The operator's own commands on a node: those of `exec`, and the checks between batches.

use super::NodeAccess;
use super::link::Link;
use crate::event::{CommandRun, Failure, FailureKind, Outcome, Stage, TargetResult};
use crate::guard::command::{self, CommandEnd, CommandOutput, RunError};
use crate::transport::Transport;

/// What to do after a command whose end is not known.
const HALF_DONE: &str = "it may have done part of its work: look at the node";

/// Runs a command within the node's time.
pub(super) async fn run<T: Transport>(
    link: &Link<T>,
    line: &str,
    access: &NodeAccess,
    give_up: impl Future<Output = ()>,
) -> Result<CommandOutput, RunError> {
    let session = link.session().await?;
    command::run(session.as_ref(), line, &access.sudo, access.timeout, give_up).await
}

/// Runs a check: an error says why it was not passed.
pub(super) async fn check<T: Transport>(
    link: &Link<T>,
    line: &str,
    access: &NodeAccess,
    give_up: impl Future<Output = ()>,
) -> Result<(), Failure> {
    let hint = "the action itself was done; look at the node, or run the check there by hand";
    let failed = |message: String| Failure::new(Stage::Verify, FailureKind::Gate, message).with_hint(hint);
    match run(link, line, access, give_up).await {
        Ok(CommandOutput { end: CommandEnd::Exited(Some(0)) | CommandEnd::GivenUp, .. }) => Ok(()),
        Ok(output) => {
            let said = [&output.stderr, &output.stdout].into_iter().find_map(|stream| {
                let text = String::from_utf8_lossy(stream);
                let line = text.lines().rfind(|line| !line.trim().is_empty())?;
                Some(format!(": {}", line.trim().chars().take(200).collect::<String>()))
            });
            Err(failed(format!("the check {}{}", ended(&output.end, access), said.unwrap_or_default())))
        }
        Err(RunError::GivenUp) => Ok(()),
        Err(error) => Err(failed(format!("the check could not be run: {error}"))),
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
            let failure = error.failure(Stage::Act);
            result.outcome = if failure.kind == FailureKind::TimedOut {
                Outcome::TimedOut
            } else if failure.kind == FailureKind::Interrupted {
                Outcome::NotStarted
            } else {
                Outcome::Failed
            };
            result.failure = Some(failure);
            return result;
        }
    };
    let (outcome, kind, hint) = match &output.end {
        CommandEnd::Exited(Some(0)) => (Outcome::Changed, None, None),
        CommandEnd::Exited(_) => (Outcome::Failed, Some(FailureKind::Command), None),
        CommandEnd::TimedOut => (Outcome::TimedOut, Some(FailureKind::TimedOut), Some("--timeout gives it longer")),
        CommandEnd::GivenUp => (Outcome::Unknown, Some(FailureKind::Interrupted), Some(HALF_DONE)),
        CommandEnd::Lost => (Outcome::Unknown, Some(FailureKind::ConnectionLost), Some(HALF_DONE)),
    };
    result.outcome = outcome;
    result.failure = kind.map(|kind| Failure {
        hint: hint.map(str::to_owned),
        ..Failure::new(Stage::Act, kind, format!("the command {}", ended(&output.end, access)))
    });
    let exit = if let CommandEnd::Exited(code) = output.end { code } else { None };
    result.command = Some(CommandRun {
        exit_status: exit,
        stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
        stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
        truncated: output.truncated,
    });
    result
}

fn ended(end: &CommandEnd, access: &NodeAccess) -> String {
    match end {
        CommandEnd::Exited(Some(code)) => format!("exited {code}"),
        CommandEnd::Exited(None) => "was ended by a signal".to_owned(),
        CommandEnd::TimedOut => format!("was ended after {:.1} s", access.timeout.as_secs_f64()),
        CommandEnd::GivenUp => "was given up and ended".to_owned(),
        CommandEnd::Lost => "was under way when the connection was lost; the node ends it".to_owned(),
    }
}
