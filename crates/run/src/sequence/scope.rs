//! The scopes of a node's sequence, as the guard of the node knows them.
//!
//! Invariants: a scope is armed before its item runs, and disarmed only once it is taken back, or kept on purpose; one that
//! was armed at a guard that has ended since is taken back by that guard, so that nothing may rely on it.

use std::collections::BTreeMap;

use super::command::ItemCommand;
use super::renewal::LeaseRenewal;
use crate::engine::message::{ItemVisit, NodeBatch};
use crate::node::lock::NodeLock;
use ctl_event::{Failure, FailureKind, Stage};
use ctl_guard::command::NodeCommand;
use ctl_transport::Transport;

/// The scopes that the guard of a node would take back.
#[derive(Debug, Default)]
pub(crate) struct ArmedScopes {
    armed: BTreeMap<(NodeBatch, usize), ArmedScope>,
    /// The leases that are renewed, each with the name of its item.
    renewals: BTreeMap<(NodeBatch, usize), (String, LeaseRenewal)>,
}

/// A scope that is armed.
#[derive(Debug)]
struct ArmedScope {
    name: String,
    /// Which of the guards that the node has had.
    guard: u32,
    /// Its number there.
    number: u64,
}

impl ArmedScopes {
    /// The name of an open scope of this node that a guard has taken back, because the connection was lost.
    pub(super) fn lost(&self, visit: NodeBatch, lock: &NodeLock) -> Option<&str> {
        let mut own = self.armed.iter().filter(|((of, _), _)| *of == visit).map(|(_, scope)| scope);
        own.find(|scope| !lock.is_guarded() || scope.guard != lock.guards()).map(|scope| scope.name.as_str())
    }

    /// Whether the guard of the node would take it back.
    pub(super) fn is_armed(&self, visit: ItemVisit, lock: &NodeLock) -> bool {
        let scope = self.armed.get(&(visit.visit, visit.item));
        scope.is_some_and(|scope| lock.is_guarded() && scope.guard == lock.guards())
    }

    /// Renews a lease from now on.
    pub(super) fn renew(&mut self, visit: ItemVisit, name: &str, renewal: LeaseRenewal) {
        self.renewals.insert((visit.visit, visit.item), (name.to_owned(), renewal));
    }

    /// Ends the renewal of a lease.
    pub(super) async fn stop_renewal(&mut self, visit: ItemVisit) {
        if let Some((_, renewal)) = self.renewals.remove(&(visit.visit, visit.item)) {
            renewal.stop().await;
        }
    }

    /// A lease of this node that could not be renewed: its name, and how the last attempt ended.
    pub(super) fn lapsing(&self, visit: NodeBatch) -> Option<(&str, String)> {
        let mut own = self.renewals.iter().filter(|((of, _), _)| *of == visit).map(|(_, own)| own);
        own.find_map(|(name, renewal)| Some((name.as_str(), renewal.failure()?)))
    }

    /// Arms the guard. An error says why it is not armed; then the item must not run.
    pub(super) async fn arm<T: Transport>(
        &mut self,
        visit: ItemVisit,
        name: &str,
        undo: &ItemCommand<T>,
        lock: &NodeLock,
    ) -> Result<(), Failure> {
        // Without a guard the operator accepts that nobody takes it back if the controller is gone.
        let Some(guard) = lock.guard() else { return Ok(()) };
        let command = NodeCommand { text: &undo.text, input: "", environment: &undo.environment };
        match guard.arm_undo(command, &undo.access.sudo, undo.access.timeout).await {
            Ok(number) => {
                let scope = ArmedScope { name: name.to_owned(), guard: lock.guards(), number };
                self.armed.insert((visit.visit, visit.item), scope);
                Ok(())
            }
            Err(error) if lock.is_optional() => {
                tracing::debug!(%error, "continuing without its guard");
                Ok(())
            }
            Err(error) => {
                let message = format!("not started: its undo cannot be armed: {error}");
                Err(Failure::new(Stage::Act, FailureKind::ConnectionLost, message)
                    .with_hint("--no-guard does without, and nobody takes it back if ctl is gone"))
            }
        }
    }

    /// Disarms the guard: the scope is closed.
    pub(super) async fn disarm(&mut self, visit: ItemVisit, lock: &NodeLock) {
        self.stop_renewal(visit).await;
        if let Some(scope) = self.armed.remove(&(visit.visit, visit.item))
            && scope.guard == lock.guards()
            && let Some(guard) = lock.guard()
        {
            guard.disarm(scope.number).await;
        }
    }
}
