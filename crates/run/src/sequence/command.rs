//! The command of an item, where it runs.
//!
//! Invariants: it ends within its time, and when the run gives up; its environment is sent as data.

use std::sync::Arc;

use super::environment::{self, ItemEnvironment};
use super::local;
use crate::action::exec;
use crate::engine::message::ItemVisit;
use crate::node::access::NodeAccess;
use crate::node::connection::NodeConnection;
use crate::node::context::NodeContext;
use crate::node::lock::NodeLock;
use crate::node::turn::NodeTurns;
use ctl_event::Failure;
use ctl_guard::command::{CommandEnd, CommandOutput, NodeCommand, RunError};
use ctl_plan::{ItemPlace, SequenceItem};
use ctl_transport::Transport;

/// A command of an item.
pub(super) struct ItemCommand<T: Transport> {
    connection: Arc<NodeConnection<T>>,
    pub(super) access: NodeAccess,
    place: ItemPlace,
    turns: NodeTurns,
    pub(super) text: String,
    pub(super) environment: ItemEnvironment,
}

impl<T: Transport> ItemCommand<T> {
    /// A command of an item, where the item runs.
    pub(super) fn of(node: &NodeContext<T>, visit: ItemVisit, own: &SequenceItem, text: &str, lock: &NodeLock) -> Self {
        let timeout = own.timeout.unwrap_or(node.timeout(visit.visit));
        Self {
            connection: Arc::clone(&node.connection),
            access: NodeAccess { timeout, ..node.access.clone() },
            place: own.place.clone(),
            turns: lock.turns(),
            text: text.to_owned(),
            environment: environment::of(node, visit.visit, lock.owner()),
        }
    }

    /// Runs it once. On a helper it waits for its turn first. An error says why it cannot be run there, or on the controller.
    pub(super) async fn run(
        &self,
        give_up: impl Future<Output = ()>,
    ) -> Result<Result<CommandOutput, RunError>, Failure> {
        let command = NodeCommand { text: &self.text, input: "", environment: &self.environment };
        match self.place {
            ItemPlace::Node => Ok(exec::run(&self.connection, command, &self.access, give_up).await),
            ItemPlace::Helper(_) => {
                tokio::pin!(give_up);
                let turn = tokio::select! {
                    turn = self.turns.enter() => turn?,
                    () = &mut give_up => return Ok(Err(RunError::GivenUp)),
                };
                let ended = exec::run(&self.connection, command, &self.access, give_up).await;
                turn.leave().await;
                Ok(ended)
            }
            ItemPlace::Controller => {
                local::run(self.text.clone(), self.environment.clone(), self.access.timeout, give_up).await.map(Ok)
            }
        }
    }

    /// Runs it once; none if it exits 0, else how it ended. `noun` names it.
    pub(super) async fn failure(&self, noun: &str, give_up: impl Future<Output = ()>) -> Option<String> {
        match self.run(give_up).await {
            Ok(Ok(CommandOutput { end: CommandEnd::Exited(0), .. })) => None,
            Ok(Ok(output)) => {
                // Of a command that did not run, the last line is part of the reason already.
                let is_said = matches!(output.end, CommandEnd::NotRun(_));
                let said = output.last_line().filter(|_| !is_said).map(|line| format!(": {line}")).unwrap_or_default();
                Some(format!("the {noun} {}{said}", exec::ended(&output, &self.access)))
            }
            Ok(Err(error)) => Some(format!("cannot run the {noun}: {error}")),
            Err(failure) => Some(failure.message),
        }
    }
}
