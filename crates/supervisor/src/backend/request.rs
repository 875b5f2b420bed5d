//! A request to reach an instance: the facts that every backend has, and the general reason why one did not reach it.
//!
//! Uses the socket probe, `event` and `inventory`. Invariants: a cause is named only when it was seen. Start at
//! [`ReachRequest`].

use super::socket_probe;
use crate::error::SupervisorError;
use crate::shell::NodeShell;
use ctl_event::{Failure, FailureKind, Stage};
use ctl_inventory::Supervisor;
use ctl_transport::Session;

/// How hard to look for the reason when nothing answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Diagnosis {
    /// Look at the sockets on the node with one command.
    Look,
    /// Do not: the node need not have this instance.
    Spare,
}

/// A request to reach an instance.
pub(super) struct ReachRequest<'a, S: Session> {
    /// The instance, as the inventory describes it.
    pub(super) supervisor: &'a Supervisor,
    /// Commands on its node.
    pub(super) shell: &'a NodeShell<S>,
    /// The whole value of the Authorization header that its supervisord expects.
    pub(super) authorization: Option<String>,
    /// How hard to look for the reason of a failure.
    pub(super) diagnosis: Diagnosis,
}

impl<S: Session> ReachRequest<'_, S> {
    /// An error as a failure that names the instance.
    pub(super) fn failure(&self, error: &SupervisorError) -> Failure {
        let failure = error.failure(Stage::Inspect);
        Failure { message: format!("{}: {}", self.supervisor.name, failure.message), ..failure }
    }

    /// Why a backend that runs commands did not work: the sockets show whether the instance is there at all.
    pub(super) async fn explain(&self, error: &SupervisorError) -> Failure {
        // That the node lacks a command says nothing about the instance.
        let has_no_command = matches!(error, SupervisorError::CommandMissing(_));
        let is_down = matches!(error, SupervisorError::Down(_) | SupervisorError::NoSocket(_));
        // Only a missing command or a silent socket needs the probe; any other error explains itself.
        if !has_no_command && (!is_down || self.diagnosis == Diagnosis::Spare) {
            return self.failure(error);
        }
        let seen = socket_probe::probe(self.shell, self.supervisor).await;
        let failure = seen.explain(self.supervisor, self.shell.sudo().is_on(), error);
        let is_gone = seen.is_gone();
        // The missing command is the cause unless the probe shows that the instance itself is gone.
        if has_no_command && !is_gone && failure.kind != FailureKind::SupervisorMissing {
            return self.failure(error);
        }
        failure
    }
}
