//! The operator's own commands on a node: those of `exec`. The check between batches runs its command through here too.
//!
//! Invariants: a command is started at most once; it takes the lock of the node, since it may change it; how it
//! ended decides the outcome, and an end that nobody saw is `unknown`.

use tokio::time::Instant;

use crate::engine::message::{NodeBatch, TargetKey, WorkItem, WorkItemEnd, WorkerUpdate};
use crate::node::access::NodeAccess;
use crate::node::connection::NodeConnection;
use crate::node::context::{NodeContext, within};
use crate::node::lock::NodeLock;
use crate::node::signals::wait_until_set;
use ctl_event::{CommandRun, Failure, FailureKind, Outcome, Stage, TargetResult};
use ctl_guard::command::{self, CommandEnd, CommandOutput, NodeCommand, RunError};
use ctl_plan::CommandInput;
use ctl_remote::NOT_RUN;
use ctl_transport::Transport;

/// What to do after a command whose end is not known.
const HALF_DONE: &str = "it may have done part of its work; check the node";

/// Does the work of a batch that runs a command.
pub(crate) async fn act<T: Transport>(
    node: &NodeContext<T>,
    node_batch: NodeBatch,
    lock: &mut NodeLock,
    command: &str,
    input: Option<&CommandInput>,
) -> WorkItemEnd {
    let item = WorkItem::Batch(node_batch);
    if let Err(end) = lock.make_ready(node, item).await {
        if let WorkItemEnd::Lost(outcome, failure) = &end {
            node.send_results(item, node.results.as_requested(node_batch, *outcome, failure)).await;
        }
        return end;
    }
    // Recorded before it is sent: should the run end in between, the result is `unknown`, and a resumed run does not
    // start the command a second time.
    let key = TargetKey::of(&node.results.empty(node_batch, Outcome::Ok));
    node.send(item, WorkerUpdate::Begun(key)).await;
    node.show(item, within("running the command", node.timeout(node_batch))).await;
    let started = Instant::now();
    let mut give_up = node.signals.give_up.clone();
    let access = node.access_for(node_batch);
    let give_up = wait_until_set(&mut give_up);
    let ended = match lock.take_staged() {
        // It waits on the node, and has the lock.
        Some(staged) => staged.run(give_up).await,
        None => {
            let input = input.map(CommandInput::base64).unwrap_or_default();
            let command = NodeCommand { text: command, input, environment: &[] };
            run(&node.connection, command, &access, give_up).await
        }
    };
    let mut result = judged(node.results.empty(node_batch, Outcome::Changed), ended, &access);
    result.duration_ms = u64::try_from(started.elapsed().as_millis()).ok();
    node.send_results(item, [result]).await;
    WorkItemEnd::Done
}

/// Runs a command within the node's time.
pub(crate) async fn run<T: Transport>(
    link: &NodeConnection<T>,
    command: NodeCommand<'_>,
    access: &NodeAccess,
    give_up: impl Future<Output = ()>,
) -> Result<CommandOutput, RunError> {
    let session = link.session().await?;
    command::run(session.as_ref(), command, &access.sudo, access.timeout, give_up).await
}

/// The result of a command that was run.
pub(crate) fn judged(
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
        // Nobody saw the end of these two, so they may have done part of their work.
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
pub(crate) fn outcome_of(error: &RunError) -> Outcome {
    match error {
        RunError::Transport(error) => error.failure().outcome(),
        RunError::Sudo(_) => Outcome::Failed,
        RunError::Silent(_) => Outcome::TimedOut,
        RunError::GivenUp => Outcome::NotStarted,
    }
}

/// How a command ended, in words.
pub(crate) fn ended(output: &CommandOutput, access: &NodeAccess) -> String {
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

/// The words of the login shell, which ran instead.
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
    use ctl_transport::TransportError;

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
