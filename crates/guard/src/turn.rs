//! Turns: of several runs that use a node at once, one is inside at a time.
//!
//! A node that helps with other nodes may help several runs, whose guards share its lock. Invariants: the one that acts there has
//! the turn; the turn ends with its guard, with [`HelperTurn::leave`], or when it is dropped.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::sync::{mpsc, oneshot};
use tokio::time::{Instant, timeout};
use tracing::debug;

/// How long the node waits for one request. A guard that ends leaves a process on the node that waits at most as long.
const WAIT: Duration = Duration::from_secs(20);

/// How long the answer may take beyond that.
const PATIENCE: Duration = Duration::from_secs(10);

/// Why a turn was not had.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TurnError {
    /// The guard has ended, and the lock with it.
    #[error("the guard on the node has exited, so the lock is gone")]
    Gone,
    /// Another run was inside for so long.
    #[error("another run was using it for {} s", .0.as_secs())]
    Busy(Duration),
}

/// Whether a guard is alive.
#[derive(Debug, Clone)]
pub struct GuardLiveness(Arc<AtomicBool>);

impl GuardLiveness {
    pub(super) fn new(alive: &Arc<AtomicBool>) -> Self {
        Self(Arc::clone(alive))
    }

    /// Whether it is alive: a channel to it is open.
    #[must_use]
    pub fn is_alive(&self) -> bool {
        self.0.load(Ordering::Acquire)
    }
}

impl PartialEq for GuardLiveness {
    /// Whether both are of the same guard.
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

/// A request to the task that serves the guard.
#[derive(Debug)]
pub(super) enum TurnRequest {
    /// Wait for the turn for so long, and give it back if it has come.
    Enter(Duration, HelperTurn, TurnReply),
    /// The turn is over.
    Leave,
}

/// The caller that waits for a turn: it gets none if the time is over.
pub(super) type TurnReply = oneshot::Sender<Option<HelperTurn>>;

/// The way into a node. It keeps no guard alive.
#[derive(Debug, Clone)]
pub struct GuardDoor(mpsc::WeakSender<TurnRequest>);

impl GuardDoor {
    pub(super) fn new(asks: &mpsc::Sender<TurnRequest>) -> Self {
        Self(asks.downgrade())
    }

    /// Waits for the turn, for up to `patience`.
    ///
    /// # Errors
    /// [`TurnError`]: the caller must not act there.
    pub async fn enter(&self, patience: Duration) -> Result<HelperTurn, TurnError> {
        let deadline = Instant::now() + patience;
        loop {
            let wait = deadline.saturating_duration_since(Instant::now()).min(WAIT);
            let (reply, answer) = oneshot::channel();
            let ask = TurnRequest::Enter(wait, HelperTurn(Some(self.0.clone())), reply);
            let asked = async {
                self.0.upgrade()?.send(ask).await.ok()?;
                answer.await.ok()
            };
            match timeout(wait + PATIENCE, asked).await {
                Ok(Some(Some(turn))) => return Ok(turn),
                Ok(Some(None)) if Instant::now() < deadline => {}
                Ok(Some(None)) => return Err(TurnError::Busy(patience)),
                // A guard that does not answer is as good as gone.
                Ok(None) | Err(_) => return Err(TurnError::Gone),
            }
        }
    }
}

/// The turn of one run at a node.
#[derive(Debug)]
pub struct HelperTurn(Option<mpsc::WeakSender<TurnRequest>>);

impl HelperTurn {
    /// Drops one that did not come.
    pub(super) fn forget(mut self) {
        self.0.take();
    }

    /// Ends it.
    pub async fn leave(mut self) {
        let asks = self.0.take().and_then(|asks| asks.upgrade());
        if let Some(asks) = asks
            && !matches!(timeout(PATIENCE, asks.send(TurnRequest::Leave)).await, Ok(Ok(())))
        {
            debug!("the guard has exited or hangs, and the turn ends with it");
        }
    }
}

impl Drop for HelperTurn {
    fn drop(&mut self) {
        if let Some(asks) = self.0.take().and_then(|asks| asks.upgrade())
            && asks.try_send(TurnRequest::Leave).is_err()
        {
            debug!("the guard has exited or hangs, and the turn ends with it");
        }
    }
}
