//! The guards that this process is connected to.
//!
//! A node may have two names in an inventory, and a connection may be lost: in both cases a guard of this very process
//! holds the lock already. Only in the first case may a second guard run beside it.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::Notify;

/// The marks of the guards that this process is connected to. The lock of such a guard also covers the other name of
/// its host; any other guard of this process ends soon.
static LIVE: Mutex<BTreeMap<String, Option<Arc<Notify>>>> = Mutex::new(BTreeMap::new());

/// A mark in [`LIVE`], until it is dropped.
#[derive(Debug)]
pub(super) struct LiveMark(String);

impl LiveMark {
    /// Registers a guard that is ready.
    pub(super) fn new(mark: String) -> Self {
        Self::register(mark, None)
    }

    /// Registers one whose lock ends with a command, and so is released when the host is met under another name.
    pub(super) fn yielding(mark: String, yields: Arc<Notify>) -> Self {
        Self::register(mark, Some(yields))
    }

    fn register(mark: String, yields: Option<Arc<Notify>>) -> Self {
        LIVE.lock().unwrap_or_else(PoisonError::into_inner).insert(mark.clone(), yields);
        Self(mark)
    }

    /// Whether this process is connected to the guard with this mark.
    pub(super) fn is_live(mark: &str) -> bool {
        LIVE.lock().unwrap_or_else(PoisonError::into_inner).contains_key(mark)
    }

    /// Has the lock with this mark released, if it is one that ends with a command; otherwise false. A command that was
    /// started keeps it to its end.
    pub(super) fn yields(mark: &str) -> bool {
        let live = LIVE.lock().unwrap_or_else(PoisonError::into_inner);
        let yields = live.get(mark).and_then(Option::as_ref);
        yields.inspect(|yields| yields.notify_one()).is_some()
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

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;

    use super::*;

    /// Only the lock of a command is released for another name of its host, and only once it is asked for.
    #[test]
    fn a_lock_of_a_command_yields() {
        let notify = Arc::new(Notify::new());
        let (stays, ends) =
            (LiveMark::new("stays".to_owned()), LiveMark::yielding("ends".to_owned(), Arc::clone(&notify)));
        assert!(LiveMark::is_live("stays") && LiveMark::is_live("ends"));
        assert!(!LiveMark::yields("stays") && !LiveMark::yields("unknown"));
        assert!(notify.notified().now_or_never().is_none());
        assert!(LiveMark::yields("ends"));
        assert!(notify.notified().now_or_never().is_some());
        drop((stays, ends));
        assert!(!LiveMark::is_live("stays") && !LiveMark::yields("ends"));
    }
}
