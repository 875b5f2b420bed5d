//! The rounds of a watch: changes since the last round, and, after a gap, since the last successful read.
//!
//! Invariants: it keeps two rounds and the last known state, no more; after a gap, nothing is reported twice, and no
//! change made during the gap is lost.

use std::collections::{BTreeMap, BTreeSet};

use super::change::{ChangeKind, ChangeVerdict, NodeChange, SnapshotDiff};
use super::diff::diff;
use super::model::Snapshot;
use super::node::nodes;
use ctl_event::{FindingKind, NodeFacts, NodeFinding, RunScope, TargetResult};

/// The rounds of a watch.
#[derive(Debug, Default)]
pub struct WatchRounds {
    /// The previous round; none before the first.
    last: Option<Snapshot>,
    /// The last successful read of each node and supervisord.
    known: Snapshot,
}

impl WatchRounds {
    /// Adds a round, and returns its changes. Before the first nothing is known, so all of its problems are new.
    pub fn take(&mut self, now: Snapshot) -> SnapshotDiff {
        let changes = match &self.last {
            None => {
                // An empty snapshot with the same request: everything that is not healthy is new.
                let (services, selection) = (now.services.clone(), now.selection.clone());
                diff(&Snapshot { services, selection, ..Snapshot::default() }, &now)
            }
            Some(last) => {
                let unread = unread(last);
                let changes = diff(last, &now);
                // The last round knows nothing about unread targets, so compare these with their last known state.
                if unread.is_empty() { changes } else { changes.with(self.regained(&unread, last, &now)) }
            }
        };
        // After the comparison, which needs the old state.
        self.known = self.learned(&now);
        self.last = Some(now);
        changes
    }

    /// The changes of nodes that the last round could not read completely.
    fn regained(&self, unread: &BTreeSet<&str>, last: &Snapshot, now: &Snapshot) -> SnapshotDiff {
        let known = Snapshot { started: last.started, elapsed: last.elapsed, ..of_nodes(&self.known, unread) };
        let mut now = of_nodes(now, unread);
        let old: BTreeMap<&str, &NodeFacts> = known.nodes.iter().map(|facts| (facts.node.as_str(), facts)).collect();
        for facts in &mut now.nodes {
            facts.findings = findings(facts, old.get(facts.node.as_str()).copied());
        }
        let mut found = diff(&known, &now);
        let is_known = |change: &NodeChange| {
            let mut rows = known.results.iter().filter(|row| row.node == change.node && row.state.is_some());
            rows.any(|row| row.role == change.role && row.supervisor == change.supervisor)
        };
        found.changes.retain(|change| match change.kind {
            ChangeKind::Finding => true,
            // A healthy target without a known earlier state is not news.
            ChangeKind::Came => {
                change.service.is_some() && (change.verdict == ChangeVerdict::Worse || is_known(change))
            }
            // Reachability is compared from round to round, so report only services here.
            ChangeKind::State | ChangeKind::Went | ChangeKind::Restarted | ChangeKind::Version => {
                change.service.is_some()
            }
        });
        found
    }

    /// The last known state after a round.
    fn learned(&self, now: &Snapshot) -> Snapshot {
        let mut known: BTreeMap<&str, Vec<&TargetResult>> = BTreeMap::new();
        for result in &self.known.results {
            known.entry(&result.node).or_default().push(result);
        }
        let mut read: BTreeMap<&str, Vec<&TargetResult>> = BTreeMap::new();
        for result in &now.results {
            read.entry(&result.node).or_default().push(result);
        }
        let facts: BTreeMap<&str, &NodeFacts> =
            self.known.nodes.iter().map(|facts| (facts.node.as_str(), facts)).collect();
        let mut learned = Snapshot { results: Vec::new(), nodes: Vec::new(), ..now.clone() };
        for (name, node) in nodes(now, &RunScope::default()) {
            let old = known.get(name).map(Vec::as_slice).unwrap_or_default();
            let is_silent = |row: &TargetResult| {
                let instance = (row.role.as_deref(), row.supervisor.as_deref());
                node.lost.is_some() || node.silent.contains_key(&instance)
            };
            // A target that could not be read keeps its last known state.
            learned.results.extend(old.iter().filter(|row| is_silent(row)).map(|row| (*row).clone()));
            let read = read.get(name).map(Vec::as_slice).unwrap_or_default();
            for row in read.iter().filter(|row| !is_silent(row)) {
                let before = old.iter().find(|old| old.service == row.service && old.supervisor == row.supervisor);
                learned.results.push(match before {
                    // Keep the last known functional state.
                    Some(before) if row.functional.is_none() && row.state == before.state && !node.asks_services() => {
                        TargetResult {
                            functional: before.functional.clone(),
                            functional_reason: before.functional_reason.clone(),
                            ..(*row).clone()
                        }
                    }
                    _ => (*row).clone(),
                });
            }
            let old = facts.get(name).copied();
            let new = node.facts.map(|facts| NodeFacts { findings: findings(facts, old), ..facts.clone() });
            learned.nodes.extend(new.or_else(|| old.cloned()));
        }
        learned
    }
}

/// The nodes that could not be read completely.
fn unread(snapshot: &Snapshot) -> BTreeSet<&str> {
    let nodes = nodes(snapshot, &RunScope::default()).into_iter();
    let unread = nodes.filter(|(_, node)| {
        node.lost.is_some() || !node.silent.is_empty() || !node.facts.is_some_and(is_searched) || !node.asks_services()
    });
    unread.map(|(name, _)| name).collect()
}

fn is_searched(facts: &NodeFacts) -> bool {
    facts.findings.iter().all(|found| found.kind != FindingKind::NotSearched)
}

/// The findings of the last search of a node, without the finding that it could not be searched.
fn findings(now: &NodeFacts, before: Option<&NodeFacts>) -> Vec<NodeFinding> {
    let facts = if is_searched(now) { Some(now) } else { before };
    let findings = facts.map(|facts| facts.findings.as_slice()).unwrap_or_default();
    findings.iter().filter(|found| found.kind != FindingKind::NoIntrospect).cloned().collect()
}

/// The part of a snapshot about these nodes.
fn of_nodes(snapshot: &Snapshot, names: &BTreeSet<&str>) -> Snapshot {
    Snapshot {
        services: snapshot.services.clone(),
        selection: snapshot.selection.clone(),
        results: snapshot.results.iter().filter(|row| names.contains(row.node.as_str())).cloned().collect(),
        nodes: snapshot.nodes.iter().filter(|facts| names.contains(facts.node.as_str())).cloned().collect(),
        ..Snapshot::default()
    }
}
