//! The signals that the dispatcher sends to all workers at once.

use std::sync::Arc;

use tokio::sync::{Semaphore, watch};

/// One receiver of each signal. A signal that is set stays set.
#[derive(Clone)]
pub(in crate::run) struct RunSignals {
    /// Waiting at gates ends.
    pub(in crate::run) stop_waiting: watch::Receiver<bool>,
    /// All waiting ends.
    pub(in crate::run) give_up: watch::Receiver<bool>,
    /// Permits to connect, in a run that stays on all its nodes at once.
    pub(in crate::run) turns: Arc<Semaphore>,
}

/// Ends once the signal is set.
pub(in crate::run) async fn wait_until_set(signal: &mut watch::Receiver<bool>) {
    if signal.wait_for(|is_set| *is_set).await.is_err() {
        // The pool that could set it is gone: no signal comes any more, and the caller's own work decides when to end.
        std::future::pending::<()>().await;
    }
}
