//! The command of an item, where it runs.
//!
//! Invariants: it ends within its time, and when the run gives up; its environment is sent as data.

use std::time::Duration;

use super::environment::{self, ItemEnvironment};
use super::local;
use crate::action::exec;
use crate::engine::message::ItemVisit;
use crate::node::access::NodeAccess;
use crate::node::context::NodeContext;
use crate::node::lock::NodeLock;
use ctl_event::Failure;
use ctl_guard::command::{CommandEnd, CommandOutput, NodeCommand, RunError};
use ctl_plan::{ItemPlace, SequenceItem};
use ctl_transport::Transport;

/// A command of an item.
pub(super) struct ItemCommand<'a, T: Transport> {
    pub(super) node: &'a NodeContext<T>,
    pub(super) place: ItemPlace,
    pub(super) text: &'a str,
    pub(super) environment: ItemEnvironment,
    pub(super) time: Duration,
}

impl<'a, T: Transport> ItemCommand<'a, T> {
    /// A command of an item, where the item runs.
    pub(super) fn of(
        node: &'a NodeContext<T>,
        visit: ItemVisit,
        own: &SequenceItem,
        text: &'a str,
        lock: &NodeLock,
    ) -> Self {
        let environment = environment::of(node, visit.visit, lock.owner());
        Self { node, place: own.place, text, environment, time: own.timeout.unwrap_or(node.timeout(visit.visit)) }
    }

    /// How the node is reached, with the time of the item.
    pub(super) fn access(&self) -> NodeAccess {
        NodeAccess { timeout: self.time, ..self.node.access.clone() }
    }

    /// Runs it once. An error says why it cannot be run on the controller.
    pub(super) async fn run(
        &self,
        give_up: impl Future<Output = ()>,
    ) -> Result<Result<CommandOutput, RunError>, Failure> {
        match self.place {
            ItemPlace::Node => {
                let command = NodeCommand { text: self.text, input: "", environment: &self.environment };
                Ok(exec::run(&self.node.connection, command, &self.access(), give_up).await)
            }
            ItemPlace::Controller => {
                local::run(self.text.to_owned(), self.environment.clone(), self.time, give_up).await.map(Ok)
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
                Some(format!("the {noun} {}{said}", exec::ended(&output, &self.access())))
            }
            Ok(Err(error)) => Some(format!("cannot run the {noun}: {error}")),
            Err(failure) => Some(failure.message),
        }
    }
}
