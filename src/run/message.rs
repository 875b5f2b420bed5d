//! What node tasks and the dispatcher tell each other. Private to the room: what leaves it are events.

use std::collections::BTreeSet;

use crate::event::{ActivityPhase, Failure, LogLines, NodeFacts, Outcome, PendingUpdate, TargetResult, TargetState};
use crate::plan::{StepIndex, TaskIndex};

/// A batch's work on one node.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct NodeBatch {
    /// Its step.
    pub(super) step: StepIndex,
    /// Number of the batch.
    pub(super) batch: u32,
    /// Index of the node in the plan.
    pub(super) node: usize,
    /// Whether its task goes in more than one batch.
    pub(super) batched: bool,
}

/// What a node task is given to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) enum WorkItem {
    /// Connect to the node.
    Connect(usize),
    /// Take its lock, and start its guard.
    Lock(usize),
    /// Read the state of everything that is meant there.
    Inspect(usize),
    /// Act.
    Batch(NodeBatch),
    /// Run the check on it.
    Check(NodeBatch),
}

impl WorkItem {
    /// Index of the node.
    pub(super) const fn node(self) -> usize {
        match self {
            Self::Connect(node) | Self::Lock(node) | Self::Inspect(node) => node,
            Self::Batch(node_batch) | Self::Check(node_batch) => node_batch.node,
        }
    }
}

impl std::fmt::Display for WorkItem {
    /// For the log: what goes on on the node.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Connect(_) => f.write_str("connect"),
            Self::Lock(_) => f.write_str("lock"),
            Self::Inspect(_) => f.write_str("read before the first change"),
            Self::Batch(node_batch) => write!(f, "batch {}", node_batch.batch),
            Self::Check(node_batch) => write!(f, "check of batch {}", node_batch.batch),
        }
    }
}

/// How a duty ended.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum WorkItemEnd {
    /// Everything it had to tell is told; of a check: it was passed.
    Done,
    /// The node cannot be worked on, with the outcome that says so: later duties would only say the same again. Of a
    /// check: it was not passed.
    Lost(Outcome, Failure),
    /// Another run has the node; whether it is worth to ask again.
    Held(Failure, bool),
    /// What was read.
    Inspected(NodeInspection),
    /// The task ended without telling, by a defect of ours.
    Broken,
}

/// What a node looks like before it is touched.
#[derive(Debug, Clone, PartialEq, Default)]
pub(super) struct NodeInspection {
    /// Every target that was found, each once.
    pub(super) targets: Vec<TargetState>,
    /// The tasks and roles of which something is down here.
    pub(super) down: Vec<(TaskIndex, String)>,
    /// What it has of the names of each task.
    pub(super) names: Vec<NameCensus>,
    /// Why it must not be changed although it was read: a service stopped there could not be started again.
    pub(super) refusal: Option<(Outcome, Failure)>,
}

/// What a node has of the names that were typed.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct NameCensus {
    /// Index of the task.
    pub(super) task: TaskIndex,
    /// The names, as typed, of which it has something.
    pub(super) found: Vec<String>,
    /// Whether the others may be there all the same: a supervisord, or init, did not answer.
    pub(super) unsure: bool,
    /// Groups and processes that its supervisords list.
    pub(super) listed: BTreeSet<String>,
}

impl NameCensus {
    /// Whether every supervisord that may run them has answered.
    #[must_use]
    pub fn is_sure(&self) -> bool {
        !self.unsure
    }
}

/// One service of one supervisord on a node.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct TargetKey {
    /// Role.
    pub(super) role: Option<String>,
    /// Supervisord instance; none for a service that init runs.
    pub(super) supervisor: Option<String>,
    /// Service.
    pub(super) service: Option<String>,
}

impl TargetKey {
    /// The key of a result.
    pub(super) fn of(result: &TargetResult) -> Self {
        Self { role: result.role.clone(), supervisor: result.supervisor.clone(), service: result.service.clone() }
    }
}

/// From a node task, about its node.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct WorkerMessage {
    /// Which duty.
    pub(super) item: WorkItem,
    /// What.
    pub(super) update: WorkerUpdate,
}

/// What a node task has to tell.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum WorkerUpdate {
    /// What it is busy with.
    Phase(ActivityPhase),
    /// The targets it found; each will have a result.
    Targets(Vec<TargetKey>),
    /// From now on the target may be changed.
    Begun(TargetKey),
    /// A gate is waited for, or was met or not.
    Gate {
        /// The service.
        service: Option<String>,
        /// Whether it was met; none while it is waited for.
        met: Option<bool>,
        /// What is waited for, and why it is not met yet.
        waiting_for: String,
    },
    /// What the node has of the names that were typed.
    Names(NameCensus),
    /// What the node is like beyond its results.
    Facts(Box<NodeFacts>),
    /// What an update would change.
    Pending(Box<PendingUpdate>),
    /// Lines of a service's log.
    Lines(LogLines),
    /// Something that is worth telling at once.
    Notice(String),
    /// A target's end.
    Result(Box<TargetResult>),
}
