//! What node tasks and the dispatcher tell each other. Private to the room: what leaves it are events.

use crate::event::TargetResult;

/// A batch's work on one node.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct Visit {
    /// Number of the batch.
    pub(super) batch: u32,
    /// Index of the node in the selection.
    pub(super) node: usize,
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

/// From a node task, about a visit.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Message {
    /// Which.
    pub(super) visit: Visit,
    /// What.
    pub(super) news: News,
}

/// What a node task has to tell.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum News {
    /// What it is busy with.
    Phase(String),
    /// The targets it found; each will have a result.
    Targets(Vec<TargetKey>),
    /// From now on the target may be changed.
    Begun(TargetKey),
    /// A target's end.
    Result(Box<TargetResult>),
}

/// How a visit ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum VisitEnd {
    /// Everything it had to tell is told.
    Done,
    /// The node cannot be asked: later visits would only say the same again.
    NodeLost,
    /// The task ended without telling, by a defect of ours.
    Broken,
}
