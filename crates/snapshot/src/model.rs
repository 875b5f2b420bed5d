//! A snapshot as data, and the snapshot of a run so far.

use std::time::Duration;

use ctl_event::{Ledger, NodeFacts, RunScope, TargetResult};

/// A saved status.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Snapshot {
    /// Name of the run that read it; none if unknown.
    pub run: Option<String>,
    /// Start of that run; none if unknown.
    pub started: Option<jiff::Timestamp>,
    /// Duration of that run.
    pub elapsed: Duration,
    /// The requested services as typed; empty means all.
    pub services: Vec<String>,
    /// The requested nodes and roles.
    pub selection: RunScope,
    /// One result per target.
    pub results: Vec<TargetResult>,
    /// Facts about the nodes beyond their results.
    pub nodes: Vec<NodeFacts>,
}

impl Snapshot {
    /// The part of the snapshot about one node.
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

    /// The results of a run so far.
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
            nodes: ledger.facts().to_vec(),
        }
    }
}
