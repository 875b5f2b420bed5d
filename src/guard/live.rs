//! Which guards this process speaks with.
//!
//! A node may stand under two names in an inventory, and a connection may be lost: in both cases a guard of this very
//! process holds the lock already. Only the first is a reason to go on beside it.

use std::collections::BTreeSet;
use std::sync::{Mutex, PoisonError};

/// The marks of the guards that this process speaks with. The lock of one of them holds for another name of its machine;
/// that of any other guard of ours ends soon.
static LIVE: Mutex<BTreeSet<String>> = Mutex::new(BTreeSet::new());

/// A mark in [`LIVE`], until it is dropped.
#[derive(Debug)]
pub(super) struct LiveMark(String);

impl LiveMark {
    /// Of a guard that is ready.
    pub(super) fn new(mark: String) -> Self {
        LIVE.lock().unwrap_or_else(PoisonError::into_inner).insert(mark.clone());
        Self(mark)
    }

    /// Whether this process speaks with the guard of that mark.
    pub(super) fn is_live(mark: &str) -> bool {
        LIVE.lock().unwrap_or_else(PoisonError::into_inner).contains(mark)
    }

    /// The guard has ended, or is let go.
    pub(super) fn end(&self) {
        LIVE.lock().unwrap_or_else(PoisonError::into_inner).remove(&self.0);
    }
}

impl Drop for LiveMark {
    fn drop(&mut self) {
        self.end();
    }
}
