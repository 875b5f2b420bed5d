//! The command channels that are open on one connection.
//!
//! Here live [`ChannelLoad`], which counts them, and a [`ChannelSeat`], one that is counted. Uses nothing of ours.
//! Invariants: a seat is counted from when it is taken until it is dropped.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::sync::OwnedSemaphorePermit;

/// Command channels that are open on a connection.
#[derive(Default)]
pub(super) struct ChannelLoad {
    /// Of commands that may stay for the whole run.
    staying: AtomicUsize,
    /// Of commands that end soon.
    passing: AtomicUsize,
    /// The number of staying ones that is known to leave no room beside them; 0: not known.
    full_at: AtomicUsize,
}

impl ChannelLoad {
    /// Commands that are open and may stay for the whole run.
    pub(super) fn staying(&self) -> usize {
        // Relaxed is enough here and below: the counts are hints, and sshd itself decides.
        self.staying.load(Ordering::Relaxed)
    }

    /// Commands that are open and end soon.
    pub(super) fn passing(&self) -> usize {
        self.passing.load(Ordering::Relaxed)
    }

    /// Notes that the staying ones of this moment leave no room.
    pub(super) fn set_full(&self) {
        self.full_at.store(self.staying(), Ordering::Relaxed);
    }

    fn count(&self, stay: CommandStay) -> &AtomicUsize {
        match stay {
            CommandStay::Long => &self.staying,
            CommandStay::Short => &self.passing,
        }
    }

    /// Whether the staying ones are known to leave no room.
    pub(super) fn is_full(&self) -> bool {
        let full_at = self.full_at.load(Ordering::Relaxed);
        // A staying command that has ended makes room again, and the note no longer holds.
        full_at > 0 && self.staying() >= full_at
    }
}

/// How long a command is there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum CommandStay {
    /// Perhaps for the whole run.
    Long,
    /// It is a question: it ends soon, and takes its turn.
    Short,
}

/// The place of a command on its connection. Dropping it gives the place back.
pub(super) struct ChannelSeat {
    load: Arc<ChannelLoad>,
    stay: CommandStay,
    _turn: Option<OwnedSemaphorePermit>,
}

impl ChannelSeat {
    pub(super) fn take(load: &Arc<ChannelLoad>, stay: CommandStay, turn: Option<OwnedSemaphorePermit>) -> Self {
        load.count(stay).fetch_add(1, Ordering::Relaxed);
        Self { load: Arc::clone(load), stay, _turn: turn }
    }
}

impl Drop for ChannelSeat {
    fn drop(&mut self) {
        self.load.count(self.stay).fetch_sub(1, Ordering::Relaxed);
    }
}
