//! What can happen in a run, as plain data.
//!
//! Here live [`RunEvent`] and all it is made of: outcomes, failures, results. It is a leaf: it uses no other
//! room, holds no channel and does no I/O. What always holds: every event can be written as JSON and read
//! back, and `seq` counts the kept events of a run without gaps. Start reading at [`EventKind`]; the fold
//! from events to "now" is in [`ledger`].

mod facts;
pub mod ledger;
mod phase;
mod result;
mod standby;
mod string_enum;

use std::time::Duration;

use serde::{Deserialize, Serialize};

pub use self::facts::{
    FailureEvidence, FindingKind, LogLines, LogStream, NodeFacts, NodeFinding, PendingUpdate, SupervisorFacts,
};
pub use self::ledger::{Ledger, Summary};
pub use self::phase::{ActivityPhase, PhaseKind};
pub use self::result::{CommandRun, Failure, FailureKind, Outcome, ProcessState, Stage, TargetResult, Via};
pub use self::string_enum::UnknownWord;

/// One fact of a run, as the journal and the sinks see it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RunEvent {
    /// Counts the kept events of the run from 0, without gaps. [`EventKind::Progress`], which is not kept, has the
    /// number of the event after it.
    pub seq: u64,
    /// The controller's wall clock.
    pub at: jiff::Timestamp,
    /// Time since the run began, from a clock that only rises.
    pub elapsed: Duration,
    /// What happened.
    pub kind: EventKind,
}

/// What happened.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "snake_case")]
#[expect(clippy::large_enum_variant, reason = "most events are results, and few live at once")]
pub enum EventKind {
    /// The run began; its head says what was asked.
    RunStarted(RunHead),
    /// A batch of nodes may now be worked on. Batches are numbered from 1 through the whole run.
    BatchStarted {
        /// Number of the batch.
        batch: u32,
        /// Index of its step in the plan.
        step: u32,
        /// The role whose step this is; none where the run has no role order (`status`, `ping`).
        role: Option<String>,
        /// The nodes of the batch, in order.
        nodes: Vec<String>,
    },
    /// Work on one node of a batch was granted.
    NodeStarted {
        /// Number of the batch.
        batch: u32,
        /// The node.
        node: String,
    },
    /// A selected node as it was before anything was changed: what a resumed run compares with.
    Inspected {
        /// The node.
        node: String,
        /// Every target that was found there.
        targets: Vec<TargetState>,
    },
    /// What a node is like beyond its results; at most one of a node in a run.
    NodeFacts(NodeFacts),
    /// What an update would change; only of a run that looks ahead.
    PendingUpdate(PendingUpdate),
    /// Lines of a service's log.
    LogLines(LogLines),
    /// Something about the run as a whole that is worth telling.
    Notice {
        /// What.
        message: String,
    },
    /// A gate is waited for, was met, or was not.
    Gate {
        /// Number of the batch.
        batch: u32,
        /// The node.
        node: String,
        /// The service; none for a check, which is of the node.
        service: Option<String>,
        /// Whether it was met; none while it is waited for.
        met: Option<bool>,
        /// What is waited for, and why it is not met yet. Untrusted text: sinks make it safe.
        waiting_for: String,
    },
    /// What a node is busy with, for the display only: may be dropped, is not kept.
    Progress {
        /// The node; none where the run as a whole waits.
        node: Option<String>,
        /// What it is busy with.
        phase: ActivityPhase,
    },
    /// One target ended. There is exactly one for each (node, supervisor, service) of a batch.
    Result(TargetResult),
    /// All results of a node in this batch have been given.
    NodeFinished {
        /// Number of the batch.
        batch: u32,
        /// The node.
        node: String,
    },
    /// The run is being given up, in part or whole.
    CancelBegan {
        /// Why.
        reason: CancelReason,
    },
    /// Nothing more will happen.
    RunFinished {
        /// Time the whole run took, in milliseconds.
        elapsed_ms: u64,
    },
}

/// What was asked of a run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RunHead {
    /// Name of the run, sortable by time, unique for all practical purposes.
    pub run: String,
    /// The command, such as `service`.
    pub command: String,
    /// The action, such as `restart`; none for commands that have none.
    pub action: Option<String>,
    /// The services as they were typed.
    pub services: Vec<String>,
    /// When the run began.
    pub started: jiff::Timestamp,
    /// Number of nodes selected.
    pub nodes: u32,
    /// The nodes and roles that were asked for.
    #[serde(default)]
    pub selection: RunScope,
    /// The standard input of its command, which is kept nowhere.
    #[serde(default)]
    pub input: Option<InputDigest>,
}

/// By what an input is known again.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct InputDigest {
    /// Its length.
    pub bytes: u64,
    /// Its SHA-256, in hexadecimal.
    pub sha256: String,
}

/// The nodes and roles that were asked for: what was not asked for cannot be said to be missing.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct RunScope {
    /// Canonical names of the roles; empty means all.
    pub roles: Vec<String>,
    /// The node set as it was typed; none means all.
    pub nodes: Option<String>,
    /// The node set that was left out, as it was typed.
    pub exclude: Option<String>,
}

impl RunScope {
    /// Whether something of `role` was asked for; what is of no role always was.
    #[must_use]
    pub fn concerns(&self, role: Option<&str>) -> bool {
        self.roles.is_empty() || role.is_none_or(|role| self.roles.iter().any(|own| own == role))
    }
}

/// A target as it was before anything was done.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TargetState {
    /// Its role.
    pub role: Option<String>,
    /// The supervisord instance; none for a service that init runs.
    pub supervisor: Option<String>,
    /// The service.
    pub service: Option<String>,
    /// What supervisord or init said of it.
    pub state: Option<ProcessState>,
    /// Its pid on the node.
    pub pid: Option<u32>,
    /// When it was started, in epoch seconds of the node, where that was told.
    pub start: Option<i64>,
}

/// Why a run is given up. The order is of rising urgency, and a run's reason only rises.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CancelReason {
    /// Nobody reads the output any more, and the output is all there is to the run.
    OutputClosed,
    /// The journal could not be written any more.
    JournalLost,
    /// SIGHUP: the terminal went away.
    HungUp,
    /// SIGINT: Ctrl-C.
    Interrupted,
    /// SIGTERM.
    Terminated,
    /// A second signal: waiting is given up.
    GivenUp,
}
