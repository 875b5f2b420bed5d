//! The gate of the operator's own command: it must exit 0 on the node.
//!
//! Invariants: the command runs once, within the time for the node; a signal ends
//! it, and then nothing is said against the node.

use super::GateReporter;
use crate::action::exec;
use crate::engine::message::{NodeBatch, WorkItem, WorkItemEnd};
use crate::node::context::{NodeContext, within};
use crate::node::signals::wait_until_set;
use ctl_event::{Failure, FailureKind, Outcome, Stage};
use ctl_guard::command::{CommandEnd, CommandOutput, NodeCommand, RunError};
use ctl_transport::Transport;

/// Runs the check, and sends whether it was passed.
pub(super) async fn wait<T: Transport>(node: &NodeContext<T>, node_batch: NodeBatch, command: &str) -> WorkItemEnd {
    let item = WorkItem::Check(node_batch);
    node.show(item, within("running the check", node.timeout(node_batch))).await;
    let outcome = run(node, node_batch, command).await;
    let (met, waiting_for) = match &outcome {
        Ok(true) => (Some(true), "the check exited 0".to_owned()),
        Ok(false) => (Some(false), "the check was interrupted".to_owned()),
        Err(failure) => (Some(false), failure.message.clone()),
    };
    GateReporter::Node(node, node_batch).gate(met, waiting_for).await;
    outcome.map_or_else(|failure| WorkItemEnd::Lost(Outcome::Failed, failure), |_| WorkItemEnd::Done)
}

/// Whether it was run to its end. An error says why the check was not passed.
async fn run<T: Transport>(node: &NodeContext<T>, node_batch: NodeBatch, command: &str) -> Result<bool, Failure> {
    let hint = "the action itself succeeded; check the node, or run the check there by hand";
    let failed = |message: String| Failure::new(Stage::Verify, FailureKind::Gate, message).with_hint(hint);
    let mut stop_waiting = node.signals.stop_waiting.clone();
    let access = node.access_for(node_batch);
    let command = NodeCommand { text: command, ..NodeCommand::default() };
    match exec::run(&node.connection, command, &access, wait_until_set(&mut stop_waiting)).await {
        // A check that a signal cut short says nothing against the node, and its batch is done: no further one starts.
        Ok(CommandOutput { end: CommandEnd::GivenUp, .. }) | Err(RunError::GivenUp) => Ok(false),
        Ok(CommandOutput { end: CommandEnd::Exited(0), .. }) => Ok(true),
        Ok(output) => {
            // Of a command that did not run, the last line is part of the reason already.
            let is_said = matches!(output.end, CommandEnd::NotRun(_));
            let said = output.last_line().filter(|_| !is_said).map(|line| format!(": {line}")).unwrap_or_default();
            Err(failed(format!("the check {}{said}", exec::ended(&output, &access))))
        }
        Err(error) => Err(failed(format!("cannot run the check: {error}"))),
    }
}
