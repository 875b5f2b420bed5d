//! Waits before a run, while no display says what they are for: named once they take longer than anybody expects.
//!
//! Invariants: nothing is said of a wait that is over within `PATIENCE`.

use std::collections::BTreeSet;
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use nodeset::NodeSet;

use crate::terminal;

/// A wait that lasts longer is named.
const PATIENCE: Duration = Duration::from_secs(1);

/// A wait: it is over when this is dropped.
pub struct WaitNotice {
    _over: Sender<()>,
}

impl WaitNotice {
    /// `what` names the wait when the notice is due.
    pub fn begin(what: impl FnOnce() -> String + Send + 'static) -> Self {
        let (over, ended) = channel();
        thread::spawn(move || {
            // A disconnect means that the wait is over; only a timeout means that it lasts.
            if ended.recv_timeout(PATIENCE) == Err(RecvTimeoutError::Timeout) {
                terminal::say(&format!("waiting for {}", what()));
            }
        });
        Self { _over: over }
    }
}

/// The result of `work`. A wait that takes long is reported as one for `what`.
pub fn on<T>(what: impl Into<String>, work: impl FnOnce() -> T) -> T {
    let what = what.into();
    // Dropped at the end of this function, which ends the notice's thread.
    let _waiting = WaitNotice::begin(move || what);
    work()
}

/// Nodes that have not answered yet.
#[derive(Clone)]
pub struct SilentNodes {
    names: Arc<Mutex<BTreeSet<String>>>,
}

impl SilentNodes {
    /// All of these.
    pub fn new(names: impl Iterator<Item = String>) -> Self {
        Self { names: Arc::new(Mutex::new(names.collect())) }
    }

    /// Takes out one that has.
    pub fn answered(&self, name: &str) {
        self.names.lock().unwrap_or_else(PoisonError::into_inner).remove(name);
    }

    /// The others, folded.
    pub fn folded(&self) -> String {
        NodeSet::from_names(self.names.lock().unwrap_or_else(PoisonError::into_inner).iter()).to_string()
    }
}
