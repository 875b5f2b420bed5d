//! The signals that the dispatcher sends to all workers at once.

use std::sync::Arc;

use tokio::sync::{Semaphore, watch};

/// One receiver of each signal. A signal that is set stays set.
#[derive(Clone)]
pub(crate) struct RunSignals {
    /// Waiting at gates ends.
    pub(crate) stop_waiting: watch::Receiver<bool>,
    /// All waiting ends.
    pub(crate) give_up: watch::Receiver<bool>,
    /// Permits to connect, in a run that stays on all its nodes at once.
    pub(crate) turns: Arc<Semaphore>,
}

/// Ends once the signal is set.
pub(crate) async fn wait_until_set(signal: &mut watch::Receiver<bool>) {
    if signal.wait_for(|is_set| *is_set).await.is_err() {
        // The pool that could set it is gone: no signal comes any more, and the caller's own work decides when to end.
        std::future::pending::<()>().await;
    }
}
