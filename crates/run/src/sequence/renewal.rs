//! Leases: an item with `renew` is run again and again while its scope is open.
//!
//! What it makes lapses by itself when nobody renews it, so a controller that dies leaves it to lapse. Invariants: a renewal
//! ends before the item is taken back; one that fails is tried again, and until it succeeds no further item may rely on it.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::sleep;

use super::command::ItemCommand;
use ctl_transport::Transport;

/// Between two attempts after one that failed.
const PAUSE: Duration = Duration::from_secs(1);

/// The renewal of one item. It ends when this is dropped.
#[derive(Debug)]
pub(super) struct LeaseRenewal {
    task: JoinHandle<()>,
    /// Becomes true when it is to end.
    end: watch::Sender<bool>,
    /// How the last attempt ended, if it failed.
    failure: Arc<Mutex<Option<String>>>,
}

impl LeaseRenewal {
    /// Renews by a command, which has just run, after every `interval`.
    pub(super) fn start<T: Transport>(command: ItemCommand<T>, interval: Duration) -> Self {
        let failure: Arc<Mutex<Option<String>>> = Arc::default();
        let noted = Arc::clone(&failure);
        let (end, ending) = watch::channel(false);
        let task = tokio::spawn(async move {
            let is_to_end = || {
                let mut ending = ending.clone();
                // A sender that is gone means the same.
                async move { drop(ending.wait_for(|end| *end).await) }
            };
            let mut pause = interval;
            loop {
                tokio::select! {
                    biased;
                    () = is_to_end() => return,
                    () = sleep(pause) => {}
                }
                let said = command.failure("renewal", is_to_end()).await;
                // A lease that is not renewed in time may lapse, so it is tried again soon.
                pause = if said.is_some() { PAUSE.min(interval) } else { interval };
                *noted.lock().unwrap_or_else(PoisonError::into_inner) = said;
            }
        });
        Self { task, end, failure }
    }

    /// How the last attempt ended, if it failed.
    pub(super) fn failure(&self) -> Option<String> {
        self.failure.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Ends it, and waits until no attempt is under way any more.
    pub(super) async fn stop(mut self) {
        // Aborting the task would leave a command on this machine to its own thread, which may only just start it.
        self.end.send_replace(true);
        // An error says that it panicked, and then no attempt is under way either.
        drop((&mut self.task).await);
    }
}

impl Drop for LeaseRenewal {
    fn drop(&mut self) {
        self.task.abort();
    }
}
