//! The messages between workers and the dispatcher. Private to `run`: only events leave it.

use std::collections::BTreeSet;

use crate::engine::sequence::ItemPart;
use ctl_event::{ActivityPhase, Failure, LogLines, NodeFacts, Outcome, PendingUpdate, TargetResult, TargetState};
use ctl_plan::{StepIndex, TaskIndex};

/// A batch's work on one node.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct NodeBatch {
    /// Its step.
    pub(crate) step: StepIndex,
    /// Number of the batch.
    pub(crate) batch: u32,
    /// Index of the node in the plan.
    pub(crate) node: usize,
    /// Whether its task goes in more than one batch.
    pub(crate) batched: bool,
}

/// An item of the sequence of a node.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct ItemVisit {
    /// The batch's work on the node.
    pub(crate) visit: NodeBatch,
    /// The place of the item in the sequence.
    pub(crate) item: usize,
    /// The act: the item itself, or its undo.
    pub(crate) part: ItemPart,
    /// Index of the node whose worker does it: another one where the item runs on a helper.
    pub(crate) worker: usize,
}

impl ItemVisit {
    /// Whether it is done on another node than the one that the sequence is of.
    pub(crate) const fn is_on_helper(self) -> bool {
        self.worker != self.visit.node
    }
}

/// One piece of work for a worker.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum WorkItem {
    /// Connect to the node.
    Connect(usize),
    /// Take its lock, and start its guard.
    Lock(usize),
    /// Read the state of everything that is meant there.
    Inspect(usize),
    /// Act.
    Batch(NodeBatch),
    /// Do an item of its sequence.
    Item(ItemVisit),
    /// Run the check on it.
    Check(NodeBatch),
}

impl WorkItem {
    /// Index of the node that it is for.
    pub(crate) const fn node(self) -> usize {
        match self {
            Self::Connect(node) | Self::Lock(node) | Self::Inspect(node) => node,
            Self::Batch(node_batch) | Self::Check(node_batch) => node_batch.node,
            Self::Item(item) => item.visit.node,
        }
    }

    /// Index of the node whose worker does it. A worker does one work item at a time.
    pub(crate) const fn worker(self) -> usize {
        match self {
            Self::Item(item) => item.worker,
            Self::Connect(_) | Self::Lock(_) | Self::Inspect(_) | Self::Batch(_) | Self::Check(_) => self.node(),
        }
    }
}

impl WorkItem {
    /// Whether it does something new, whose intent has to be in the journal. To take something back is always right.
    pub(crate) const fn is_an_act(self) -> bool {
        matches!(self, Self::Batch(_) | Self::Item(ItemVisit { part: ItemPart::Run, .. }))
    }
}

impl std::fmt::Display for WorkItem {
    /// For the log.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Connect(_) => f.write_str("connect"),
            Self::Lock(_) => f.write_str("lock"),
            Self::Inspect(_) => f.write_str("read before the first change"),
            Self::Batch(node_batch) => write!(f, "batch {}", node_batch.batch),
            Self::Item(ItemVisit { visit, item, part: ItemPart::Run, .. }) => {
                write!(f, "item {} in batch {}", item + 1, visit.batch)
            }
            Self::Item(ItemVisit { visit, item, .. }) => {
                write!(f, "end of item {} in batch {}", item + 1, visit.batch)
            }
            Self::Check(node_batch) => write!(f, "check of batch {}", node_batch.batch),
        }
    }
}

/// How a work item ended.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum WorkItemEnd {
    /// Everything was reported; of a check: it was passed.
    Done,
    /// The node cannot be worked on, with the outcome that says so: later work items would only fail in the same way. Of a
    /// check: it was not passed.
    Lost(Outcome, Failure),
    /// Another run has the node; whether another attempt is worthwhile.
    Held(Failure, bool),
    /// The state that was read.
    Inspected(NodeInspection),
    /// The worker panicked: an internal error.
    Broken,
}

impl WorkItemEnd {
    /// The end of a node that cannot be worked on: it is not reached, does not answer, or runs nothing.
    pub(crate) fn of_failure(failure: Failure) -> Self {
        Self::Lost(failure.outcome(), failure)
    }
}

/// The state of a node before it is touched.
#[derive(Debug, Clone, PartialEq, Default)]
pub(crate) struct NodeInspection {
    /// Every target that was found, each once.
    pub(crate) targets: Vec<TargetState>,
    /// The tasks and roles of which something is down here.
    pub(crate) down: Vec<(TaskIndex, String)>,
    /// The tasks and capped roles without a service to touch here.
    pub(crate) untouched: Vec<(TaskIndex, String)>,
    /// The names of each task that the node has.
    pub(crate) names: Vec<NameCensus>,
    /// Why it must not be changed although it was read: a service stopped there could not be started again.
    pub(crate) refusal: Option<(Outcome, Failure)>,
}

impl NodeInspection {
    /// Adds the reading for an item of a task's sequence.
    pub(crate) fn add_item(&mut self, task: TaskIndex, of_item: Self) {
        for target in of_item.targets {
            // Several items may mean the same target.
            if !self.targets.contains(&target) {
                self.targets.push(target);
            }
        }
        self.down.extend(of_item.down.into_iter().map(|(_, role)| (task, role)));
    }
}

/// The typed names that a node has.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct NameCensus {
    /// Index of the task.
    pub(crate) task: TaskIndex,
    /// The names, as typed, of which it has something.
    pub(crate) found: Vec<String>,
    /// Whether the others may be there all the same: a supervisord, or init, did not answer.
    pub(crate) unsure: bool,
    /// Groups and processes that its supervisords list.
    pub(crate) listed: BTreeSet<String>,
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
pub(crate) struct TargetKey {
    /// Role.
    pub(crate) role: Option<String>,
    /// Supervisord instance; none for a service that init runs.
    pub(crate) supervisor: Option<String>,
    /// Service.
    pub(crate) service: Option<String>,
}

impl TargetKey {
    /// The key of a result.
    pub(crate) fn of(result: &TargetResult) -> Self {
        Self { role: result.role.clone(), supervisor: result.supervisor.clone(), service: result.service.clone() }
    }
}

/// From a worker, about its node.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct WorkerMessage {
    /// The work item.
    pub(crate) item: WorkItem,
    /// Its content.
    pub(crate) update: WorkerUpdate,
}

/// An update of a worker.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum WorkerUpdate {
    /// The phase to show.
    Phase(ActivityPhase),
    /// Whether the node has let a connection wait for long: then another may have its fork meanwhile.
    Silent(bool),
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
        /// The condition, and why it is not met yet.
        waiting_for: String,
    },
    /// The typed names that the node has.
    Names(NameCensus),
    /// The facts of the node beyond its results.
    Facts(Box<NodeFacts>),
    /// The changes that an update would make.
    Pending(Box<PendingUpdate>),
    /// Lines of a service's log.
    Lines(LogLines),
    /// A notice for the operator.
    Notice(String),
    /// A target's end.
    Result(Box<TargetResult>),
}
