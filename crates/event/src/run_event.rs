//! The event itself: its number, its time, and its kinds.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::facts::{NodeFacts, PendingUpdate};
use super::item::ItemEvent;
use super::log::LogLines;
use super::phase::ActivityPhase;
use super::result::{ProcessState, TargetResult};
use super::run_head::RunHead;

/// One event of a run, for the journal and the sinks.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RunEvent {
    /// Counts the kept events of the run from 0, without gaps. [`EventKind::Progress`], which is not kept, has the
    /// number of the next event.
    pub seq: u64,
    /// The controller's wall clock.
    pub at: jiff::Timestamp,
    /// Time since the start of the run, from a monotonic clock.
    pub elapsed: Duration,
    /// The content.
    pub kind: EventKind,
}

/// The content of an event.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "snake_case")]
#[expect(clippy::large_enum_variant, reason = "most events are results, and few live at once")]
pub enum EventKind {
    /// The run started; its head has the request.
    RunStarted(RunHead),
    /// A batch of nodes started. Batches are numbered from 1 across the whole run.
    BatchStarted {
        /// Number of the batch.
        batch: u32,
        /// Index of its step in the plan.
        step: u32,
        /// The role of its step; none if the run has no role order (`status`, `ping`).
        role: Option<String>,
        /// The nodes of the batch, in order.
        nodes: Vec<String>,
        /// Whether it only reads its nodes again, on which an earlier part of the run, or the run that is retried, has acted.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        rechecks: bool,
    },
    /// A node of a batch started.
    NodeStarted {
        /// Number of the batch.
        batch: u32,
        /// The node.
        node: String,
    },
    /// The state of a selected node before any change, for a resumed run to compare with.
    Inspected {
        /// The node.
        node: String,
        /// Every target found on it.
        targets: Vec<TargetState>,
    },
    /// Facts about a node beyond its results; at most once per node and run.
    NodeFacts(NodeFacts),
    /// The changes of an update; only in a dry run.
    PendingUpdate(PendingUpdate),
    /// Lines of a service's log.
    LogLines(LogLines),
    /// A notice about the run as a whole.
    Notice {
        /// Its text.
        message: String,
    },
    /// A gate is waiting, has passed, or has failed.
    Gate {
        /// Number of the batch.
        batch: u32,
        /// The node.
        node: String,
        /// The service; none for a check, which concerns the node.
        service: Option<String>,
        /// Whether it passed; none while it is waiting.
        met: Option<bool>,
        /// The condition, and why it does not hold yet. Untrusted text: sinks make it safe.
        waiting_for: String,
    },
    /// The current activity of a node, for the display only: may be dropped, is not kept.
    Progress {
        /// The node; none if the run as a whole is waiting.
        node: Option<String>,
        /// The activity.
        phase: ActivityPhase,
    },
    /// The result of one target. There is exactly one for each (node, supervisor, service) of a batch.
    Result(TargetResult),
    /// A node has come further in its sequence.
    Item(ItemEvent),
    /// All results of a node in this batch are complete.
    NodeFinished {
        /// Number of the batch.
        batch: u32,
        /// The node.
        node: String,
    },
    /// The run is being canceled, in part or as a whole.
    CancelBegan {
        /// The reason.
        reason: CancelReason,
    },
    /// The run ended.
    RunFinished {
        /// Total time of the run in milliseconds.
        elapsed_ms: u64,
    },
}

/// The state of a target before any change.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TargetState {
    /// Its role.
    pub role: Option<String>,
    /// The supervisord instance; none for a service that init runs.
    pub supervisor: Option<String>,
    /// The service.
    pub service: Option<String>,
    /// Its state in supervisord or init.
    pub state: Option<ProcessState>,
    /// Its pid on the node.
    pub pid: Option<u32>,
    /// Its start in epoch seconds of the node, if reported.
    pub start: Option<i64>,
}

/// Why a run is canceled, in order of rising urgency; the reason of a run only rises.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CancelReason {
    /// The reader closed the output, and the output is the run's only purpose.
    OutputClosed,
    /// The journal cannot be written.
    JournalLost,
    /// SIGHUP: the terminal closed.
    HungUp,
    /// SIGINT: Ctrl-C.
    Interrupted,
    /// SIGTERM.
    Terminated,
    /// A second signal: the run stops waiting.
    GivenUp,
}
