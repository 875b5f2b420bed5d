//! The inputs and the effects of the dispatcher: all that it learns, and all that it can ask for. Data only.

use std::time::Duration;

use crate::engine::message::{WorkItem, WorkItemEnd, WorkerMessage};
use ctl_event::{CancelReason, EventKind};

/// Something that happened, for the dispatcher.
#[derive(Debug)]
pub(crate) enum DispatcherInput {
    /// The run may begin.
    Begin,
    /// An update of a worker.
    Message(WorkerMessage),
    /// A work item has ended.
    Ended(WorkItem, WorkItemEnd),
    /// The pause between two batches is over.
    PauseOver,
    /// The process received a signal.
    Signal(CancelReason),
    /// The journal can no longer be written.
    JournalLost,
}

/// Something to do.
#[derive(Debug, PartialEq)]
#[expect(clippy::large_enum_variant, reason = "most effects are records, and an effect lives for a moment")]
pub(crate) enum Effect {
    /// Give this to the observer.
    Record(EventKind),
    /// Given to the observer already.
    Recorded,
    /// Let a worker work.
    Start(WorkItem),
    /// Wait, then report that.
    Pause(Duration),
    /// Make the workers end their waiting at gates.
    StopWaiting,
    /// Make the workers give up waiting.
    GiveUp,
    /// Release the locks of all nodes.
    Unlock,
    /// Drop the workers that are running.
    Abandon,
    /// Nothing more will come.
    Finish,
}

impl Effect {
    /// The event to record, if it was not recorded yet.
    pub(crate) fn take_record(&mut self) -> Option<EventKind> {
        if !matches!(self, Self::Record(_)) {
            return None;
        }
        if let Self::Record(kind) = std::mem::replace(self, Self::Recorded) { Some(kind) } else { None }
    }
}
