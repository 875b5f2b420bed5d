//! The scopes of all sequences of a run, as the guards of the nodes know them.
//!
//! The items of one sequence may run on several nodes, and several sequences may have scopes on one node, so that the
//! workers share what is here. Invariants: a scope is armed before its item runs, and disarmed only once it is undone,
//! or kept on purpose; closing one leaves the others at the same guard armed; one that was armed at a guard that has ended
//! since is taken back by that guard, so that nothing may rely on it.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::command::ItemCommand;
use super::renewal::LeaseRenewal;
use crate::engine::message::{ItemVisit, NodeBatch};
use crate::node::lock::NodeLock;
use ctl_event::{Failure, FailureKind, Stage};
use ctl_guard::GuardLiveness;
use ctl_guard::command::NodeCommand;
use ctl_plan::SequenceItem;
use ctl_transport::Transport;

/// The scopes that the guards of a run's nodes would take back.
#[derive(Debug, Default)]
pub(crate) struct RunScopes(Mutex<OpenScopes>);

/// By the sequence and the place of the item in it.
#[derive(Debug, Default)]
struct OpenScopes {
    armed: BTreeMap<(NodeBatch, usize), ArmedScope>,
    /// The leases that are renewed, each with the name of its item.
    renewals: BTreeMap<(NodeBatch, usize), (String, LeaseRenewal)>,
}

/// A scope that is armed.
#[derive(Debug)]
struct ArmedScope {
    name: String,
    /// The other node that it is on.
    helper: Option<String>,
    /// The guard that is armed: the node may have had others since.
    guard: GuardLiveness,
    /// Its number there.
    number: u64,
}

impl RunScopes {
    fn open(&self) -> MutexGuard<'_, OpenScopes> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Why nothing may rely on the scopes of a sequence any more: a guard has taken one back, because its connection was
    /// lost.
    pub(super) fn lost(&self, visit: NodeBatch) -> Option<String> {
        let open = self.open();
        let mut own = open.armed.iter().filter(|((of, _), _)| *of == visit).map(|(_, scope)| scope);
        let ArmedScope { name, helper, .. } = own.find(|scope| !scope.guard.is_alive())?;
        Some(match helper {
            None => format!("the connection was lost, and the guard on the node undoes {name}"),
            Some(helper) => format!("the connection to {helper} was lost, and its guard undoes {name}"),
        })
    }

    /// Whether the present guard of the node would take it back.
    pub(super) fn is_armed(&self, visit: ItemVisit, lock: &NodeLock) -> bool {
        let present = lock.guard().map(ctl_guard::Guard::liveness);
        let open = self.open();
        let scope = open.armed.get(&(visit.visit, visit.item));
        scope.is_some_and(|scope| scope.guard.is_alive() && Some(&scope.guard) == present.as_ref())
    }

    /// Whether a guard takes it back already, since its channel has ended.
    pub(super) fn is_left(&self, visit: ItemVisit) -> bool {
        self.open().armed.get(&(visit.visit, visit.item)).is_some_and(|scope| !scope.guard.is_alive())
    }

    /// Renews a lease from now on.
    pub(super) fn renew(&self, visit: ItemVisit, name: &str, renewal: LeaseRenewal) {
        self.open().renewals.insert((visit.visit, visit.item), (name.to_owned(), renewal));
    }

    /// Ends the renewal of a lease.
    pub(super) async fn stop_renewal(&self, visit: ItemVisit) {
        let renewal = self.open().renewals.remove(&(visit.visit, visit.item));
        if let Some((_, renewal)) = renewal {
            renewal.stop().await;
        }
    }

    /// A lease of a sequence that could not be renewed: its name, and how the last attempt ended.
    pub(super) fn lapsing(&self, visit: NodeBatch) -> Option<(String, String)> {
        let open = self.open();
        let mut own = open.renewals.iter().filter(|((of, _), _)| *of == visit).map(|(_, own)| own);
        own.find_map(|(name, renewal)| Some((name.clone(), renewal.failure()?)))
    }

    /// Arms the guard of the node that the item runs on. An error says why it is not armed; then the item must not run.
    pub(super) async fn arm<T: Transport>(
        &self,
        visit: ItemVisit,
        item: &SequenceItem,
        undo: &ItemCommand<T>,
        lock: &NodeLock,
    ) -> Result<(), Failure> {
        // Without a guard the operator accepts that nobody takes it back if the controller is gone.
        let Some(guard) = lock.guard() else { return Ok(()) };
        let command = NodeCommand { text: &undo.text, input: "", environment: &undo.environment };
        match guard.arm_undo(command, &undo.access.sudo, undo.access.timeout).await {
            Ok(number) => {
                let (name, helper) = (item.name.clone(), item.place.helper().map(str::to_owned));
                let scope = ArmedScope { name, helper, guard: guard.liveness(), number };
                self.open().armed.insert((visit.visit, visit.item), scope);
                Ok(())
            }
            Err(error) if lock.is_optional() => {
                tracing::debug!(%error, "continuing without its guard");
                Ok(())
            }
            Err(error) => {
                let message = format!("not started: cannot hand its undo to the guard: {error}");
                Err(Failure::new(Stage::Act, FailureKind::ConnectionLost, message)
                    .with_hint("use --no-guard to accept that nothing undoes it if ctl is killed or loses its network"))
            }
        }
    }

    /// Disarms the guard: the scope is closed.
    pub(super) async fn disarm(&self, visit: ItemVisit, lock: &NodeLock) {
        self.stop_renewal(visit).await;
        let scope = self.open().armed.remove(&(visit.visit, visit.item));
        if let Some(scope) = scope
            && let Some(guard) = lock.guard()
            && guard.liveness() == scope.guard
        {
            guard.disarm(scope.number).await;
        }
    }
}
