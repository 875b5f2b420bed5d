//! The guards that this process is connected to.
//!
//! A node may have two names in an inventory, and a connection may be lost: in both cases a guard of this very process
//! holds the lock already. Only in the first case may a second guard run beside it.

use std::collections::BTreeSet;
use std::sync::{Mutex, PoisonError};

/// The marks of the guards that this process is connected to. The lock of such a guard also covers the other name of
/// its host; any other guard of this process ends soon.
static LIVE: Mutex<BTreeSet<String>> = Mutex::new(BTreeSet::new());

/// A mark in [`LIVE`], until it is dropped.
#[derive(Debug)]
pub(super) struct LiveMark(String);

impl LiveMark {
    /// Registers a guard that is ready.
    pub(super) fn new(mark: String) -> Self {
        LIVE.lock().unwrap_or_else(PoisonError::into_inner).insert(mark.clone());
        Self(mark)
    }

    /// Whether this process is connected to the guard with this mark.
    pub(super) fn is_live(mark: &str) -> bool {
        LIVE.lock().unwrap_or_else(PoisonError::into_inner).contains(mark)
    }

    /// Unregisters a guard that has ended or is being released.
    pub(super) fn end(&self) {
        LIVE.lock().unwrap_or_else(PoisonError::into_inner).remove(&self.0);
    }
}

impl Drop for LiveMark {
    fn drop(&mut self) {
        self.end();
    }
}
