//! The command of an item, where it runs.
//!
//! Invariants: it ends within its time, and when the run gives up; its environment is sent as data.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::time::timeout;

use super::environment::{self, ItemEnvironment};
use super::local;
use crate::action::exec;
use crate::engine::message::{ItemVisit, WorkItem, WorkerMessage, WorkerUpdate};
use crate::node::access::NodeAccess;
use crate::node::connection::NodeConnection;
use crate::node::context::{NodeContext, within};
use crate::node::lock::NodeLock;
use crate::node::turn::{self, NodeTurn, NodeTurns};
use ctl_event::{ActivityPhase, Failure, PhaseKind};
use ctl_guard::command::{CommandEnd, CommandOutput, NodeCommand, RunError};
use ctl_plan::{ItemPlace, SequenceItem};
use ctl_transport::Transport;

/// A turn that comes within this time is not shown as waited for.
const UNSEEN: Duration = Duration::from_millis(500);

/// A command of an item.
pub(super) struct ItemCommand<T: Transport> {
    connection: Arc<NodeConnection<T>>,
    pub(super) access: NodeAccess,
    place: ItemPlace,
    turns: NodeTurns,
    /// How long it waits for its turn on a helper.
    pub(super) patience: Duration,
    /// Shows that it waits.
    updates: mpsc::Sender<WorkerMessage>,
    item: WorkItem,
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
            patience: turn::PATIENCE,
            updates: node.updates.clone(),
            item: WorkItem::Item(visit),
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
            ItemPlace::Helper(ref helper) => {
                tokio::pin!(give_up);
                let turn = tokio::select! {
                    turn = self.enter(helper) => turn?,
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

    /// Waits for its turn, and shows that, if it takes a while.
    async fn enter(&self, helper: &str) -> Result<NodeTurn, Failure> {
        let mut entering = std::pin::pin!(self.turns.enter(self.patience));
        if let Ok(turn) = timeout(UNSEEN, entering.as_mut()).await {
            return turn;
        }
        let show = async |phase| {
            let message = WorkerMessage { item: self.item, update: WorkerUpdate::Phase(phase) };
            // Nobody listens once the run is over.
            drop(self.updates.send(message).await);
        };
        show(ActivityPhase::wait(PhaseKind::Gate, format!("{helper} is in use")).within(UNSEEN, self.patience)).await;
        let turn = entering.await;
        show(within(format!("working on {helper}"), self.access.timeout)).await;
        turn
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
