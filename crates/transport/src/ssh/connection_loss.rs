//! That a connection ended, and why.
//!
//! Here lives [`ConnectionLoss`]. Everything that waits for a node holds one, so that no wait outlives the connection.

use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::watch;

use crate::error::TransportError;

/// How a connection ended, once it has.
#[derive(Clone)]
pub(super) struct ConnectionLoss {
    /// The reason that the peer or the library gave, if any.
    pub(super) reason: Arc<Mutex<Option<String>>>,
    /// Its sender is gone once the connection is.
    pub(super) ended: watch::Receiver<()>,
}

impl ConnectionLoss {
    /// A loss with the cause that the connection gave, else with this one.
    pub(super) fn error(&self, otherwise: &str) -> TransportError {
        let given = self.reason.lock().unwrap_or_else(PoisonError::into_inner).clone();
        TransportError::Lost { reason: given.unwrap_or_else(|| otherwise.to_owned()) }
    }
}
