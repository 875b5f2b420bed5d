//! Turns at a node that items of several nodes, and of several runs, use: one is inside at a time.
//!
//! Invariants: of one run, the mutex lets one in; of several runs, the node itself does (`ctl_guard::GuardDoor`). A turn is
//! waited for, since the others end within their own time.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Mutex, OwnedMutexGuard};

use ctl_event::{Failure, FailureKind, Stage};
use ctl_guard::{GuardDoor, HelperTurn, TurnError};

/// How long a turn is waited for: what another run does there, and all that waits before us, may take its time.
pub(crate) const PATIENCE: Duration = Duration::from_secs(600);

/// The way into a node.
#[derive(Debug, Clone)]
pub(crate) struct NodeTurns {
    pub(super) inside: Arc<Mutex<()>>,
    /// None where the operator does without a guard.
    pub(super) door: Option<GuardDoor>,
}

/// A turn.
#[derive(Debug)]
pub(crate) struct NodeTurn {
    turn: Option<HelperTurn>,
    /// Freed last, when the node knows that the turn is over.
    _inside: OwnedMutexGuard<()>,
}

impl NodeTurns {
    /// Waits for the turn, for up to `patience` while another run has it.
    pub(crate) async fn enter(&self, patience: Duration) -> Result<NodeTurn, Failure> {
        let inside = Arc::clone(&self.inside).lock_owned().await;
        let turn = match &self.door {
            Some(door) => Some(door.enter(patience).await.map_err(|error| failure(&error))?),
            None => None,
        };
        Ok(NodeTurn { turn, _inside: inside })
    }
}

impl NodeTurn {
    /// Ends it.
    pub(crate) async fn leave(mut self) {
        if let Some(turn) = self.turn.take() {
            turn.leave().await;
        }
    }
}

fn failure(error: &TurnError) -> Failure {
    let kind = match error {
        TurnError::Gone => FailureKind::ConnectionLost,
        TurnError::Busy(_) => FailureKind::Locked,
    };
    Failure::new(Stage::Act, kind, format!("not started: {error}"))
}
