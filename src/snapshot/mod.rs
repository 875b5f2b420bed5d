//! What was true of a cluster at one time, and what has become of it since.
//!
//! Here live [`Snapshot`], which is what `ctl status -o json` and `--save` write, read back; and [`diff`], which says what
//! is worse, better or merely different. The room uses `event`, `overview` and the leaf `nodeset`; but for [`load`], which
//! reads one file, it is pure. What always holds: no text leads to a panic, nor to more memory than a few times its
//! length; a newer ctl's fields and words are passed over; what only one of two snapshots was asked for is not compared;
//! a snapshot differs from itself in nothing. Start reading at [`diff`].

mod diff;
mod fold;
mod node;
mod read;
mod rounds;
#[cfg(test)]
mod tests;

use std::time::Duration;

pub use self::diff::{ChangeKind, ChangeVerdict, DiffSummary, NodeChange, SnapshotDiff, diff};
pub use self::fold::ChangeLine;
pub use self::read::{SnapshotError, load, read};
pub use self::rounds::WatchRounds;

use crate::event::{Ledger, NodeFacts, RunScope, TargetResult};

/// A status, kept.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Snapshot {
    /// Name of the run that read it; none where that is not known.
    pub run: Option<String>,
    /// When it was begun; none where that is not known.
    pub started: Option<jiff::Timestamp>,
    /// How long it took.
    pub elapsed: Duration,
    /// The services that were asked for, as they were typed; empty means all.
    pub services: Vec<String>,
    /// The nodes and roles that were asked for.
    pub selection: RunScope,
    /// One for each target.
    pub results: Vec<TargetResult>,
    /// What the nodes are like beyond their results.
    pub nodes: Vec<NodeFacts>,
}

impl Snapshot {
    /// What it says of one node.
    #[must_use]
    pub fn of_node(&self, node: &str) -> Self {
        let results = self.results.iter().filter(|result| result.node == node).cloned().collect();
        let nodes = self.nodes.iter().filter(|facts| facts.node == node).cloned().collect();
        Self {
            run: self.run.clone(),
            started: self.started,
            elapsed: self.elapsed,
            services: self.services.clone(),
            selection: self.selection.clone(),
            results,
            nodes,
        }
    }

    /// What a run has read so far.
    #[must_use]
    pub fn of(ledger: &Ledger) -> Self {
        let head = ledger.head();
        Self {
            run: head.map(|head| head.run.clone()),
            started: head.map(|head| head.started),
            elapsed: ledger.elapsed(),
            services: head.map(|head| head.services.clone()).unwrap_or_default(),
            selection: head.map(|head| head.selection.clone()).unwrap_or_default(),
            results: ledger.results().to_vec(),
            nodes: ledger.facts(),
        }
    }
}
