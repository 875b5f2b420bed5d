//! Compares two snapshots: each change is for the worse, for the better, or merely different.
//!
//! Invariants: [`TargetHealth`] rates every state; each change of a target is reported once; for a node that could not
//! be read, and for a supervisord that did not answer, only that fact is reported.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::change::{ChangeKind, ChangeVerdict, DiffSummary, NodeChange, SnapshotDiff};
use super::findings::FoundOnNode;
use super::model::Snapshot;
use super::node::{InstanceKey, NodeSnapshot, ServiceKey, is_well, nodes};
use super::node_changes::{ChangePlace, ChangeSeverity, ChangesAt};
use ctl_event::TargetResult;
use ctl_overview::{TargetHealth, reason};

/// The differences between two snapshots. Targets that only one of them selected are not compared.
#[must_use]
pub fn diff(before: &Snapshot, after: &Snapshot) -> SnapshotDiff {
    let work = DiffContext {
        before,
        after,
        same_services: before.services.iter().collect::<BTreeSet<_>>() == after.services.iter().collect(),
        gap: gap(before, after),
    };
    // Each side is limited to the roles of the other: a role that only one side selected has nothing to compare with.
    let (olds, news) = (nodes(before, &after.selection), nodes(after, &before.selection));
    let old: BTreeMap<&str, &NodeSnapshot<'_>> = olds.iter().map(|(name, node)| (*name, node)).collect();
    let new: BTreeMap<&str, &NodeSnapshot<'_>> = news.iter().map(|(name, node)| (*name, node)).collect();
    let only_new = news.iter().map(|(name, _)| *name).filter(|name| !old.contains_key(name));
    let mut found: Vec<(ChangeSeverity, NodeChange)> = Vec::new();
    let mut summary = DiffSummary::default();
    for name in olds.iter().map(|(name, _)| *name).chain(only_new) {
        let mut at = ChangesAt { node: name, found: Vec::new() };
        if !work.node(&mut at, old.get(name).copied(), new.get(name).copied()) {
            continue;
        }
        summary.nodes += 1;
        summary.nodes_same += usize::from(at.found.is_empty());
        found.append(&mut at.found);
    }
    // The sort is stable, so equal severities keep the order of the nodes.
    found.sort_by_key(|(severity, change)| (change.verdict, Reverse(*severity)));
    let changes: Vec<NodeChange> = found.into_iter().map(|(_, change)| change).collect();
    summary.count(&changes);
    SnapshotDiff { changes, summary }
}

/// The minimum uptime of a process that ran at the first snapshot and still runs at the second.
fn gap(before: &Snapshot, after: &Snapshot) -> Option<Duration> {
    let until = after.started?.duration_since(before.started?);
    Duration::try_from(until).ok()?.checked_sub(before.elapsed)
}

/// Two snapshots, and facts that apply to all of their nodes.
struct DiffContext<'a> {
    before: &'a Snapshot,
    after: &'a Snapshot,
    /// Whether both selected the same services.
    same_services: bool,
    gap: Option<Duration>,
}

impl DiffContext<'_> {
    /// Whether a node absent from `side` does not exist: `side` selected all nodes, or the same ones as the other
    /// snapshot.
    fn tells_of_nodes(&self, side: &Snapshot) -> bool {
        let limited = side.selection.nodes.is_some() || side.selection.exclude.is_some();
        self.tells_of_services(side) && (!limited || self.before.selection == self.after.selection)
    }

    /// The same for services.
    fn tells_of_services(&self, side: &Snapshot) -> bool {
        side.services.is_empty() || self.same_services
    }

    /// Compares a node. False if that is impossible.
    fn node(
        &self,
        at: &mut ChangesAt<'_>,
        before: Option<&NodeSnapshot<'_>>,
        after: Option<&NodeSnapshot<'_>>,
    ) -> bool {
        // An interrupted run did not read the node: its absence proves nothing.
        if before.into_iter().chain(after).any(|node| node.not_begun) {
            return false;
        }
        match (before, after) {
            (Some(before), Some(after)) => self.both(at, before, after),
            (Some(node), None) if self.is_missing(node, self.after) => {
                let (health, how) = whole(node);
                // A node in maintenance was out of service already, so nothing is lost.
                let health = if node.resting.is_some() { TargetHealth::Inactive } else { health };
                at.went(ChangePlace::default(), health, how);
            }
            (None, Some(node)) if self.is_missing(node, self.before) => self.arrived(at, node, None),
            _ => return false,
        }
        true
    }

    /// Whether a node that only the other snapshot has is missing in `side`.
    fn is_missing(&self, node: &NodeSnapshot<'_>, side: &Snapshot) -> bool {
        // An unread node does not list its roles, so it may lie outside those that `side` selected.
        let is_meant = |row: &TargetResult| {
            side.selection.roles.is_empty() || row.role.is_some() || self.before.selection == self.after.selection
        };
        self.tells_of_nodes(side) && node.lost.or(node.resting).is_none_or(is_meant)
    }

    /// A node read for the first time, with all of its problems.
    fn arrived(&self, at: &mut ChangesAt<'_>, node: &NodeSnapshot<'_>, before: Option<String>) {
        let (health, how) = whole(node);
        match before {
            None => at.came(ChangePlace::default(), health, how),
            Some(before) => at.turned(ChangePlace::default(), (TargetHealth::Well, before), (health, how)),
        }
        if node.is_read() {
            for (key, result) in &node.silent {
                at.came(ChangePlace::instance(*key), TargetHealth::of(result), reason(result));
            }
            for (key, result) in node.services.iter().filter(|(_, result)| !is_well(result)) {
                at.came(ChangePlace::service(*key), TargetHealth::of(result), reason(result));
            }
            for (key, found) in &FoundOnNode::of(node, &self.before.selection).by_kind {
                found.record(at, *key, None);
            }
        }
    }

    fn both(&self, at: &mut ChangesAt<'_>, before: &NodeSnapshot<'_>, after: &NodeSnapshot<'_>) {
        let (old, new) = (whole(before), whole(after));
        match (before.is_read(), after.is_read()) {
            (true, true) => {
                self.instances(at, before, after);
                self.services(at, before, after);
                self.findings(at, before, after);
            }
            // Its state during maintenance is unknown, so treat the node as new.
            (false, true) if before.resting.is_some() => self.arrived(at, after, Some(old.1)),
            // Both unread: only a different cause is news, not a different message with the same cause.
            (false, false) => {
                let kind = |node: &NodeSnapshot<'_>| {
                    (node.resting.is_some(), node.lost.and_then(|row| row.failure.as_ref()).map(|failure| failure.kind))
                };
                if kind(before) != kind(after) {
                    at.turned(ChangePlace::default(), old, new);
                }
            }
            (true, false) | (false, true) => at.turned(ChangePlace::default(), old, new),
        }
    }

    /// Supervisords that do not answer, or did not before.
    fn instances(&self, at: &mut ChangesAt<'_>, before: &NodeSnapshot<'_>, after: &NodeSnapshot<'_>) {
        let all: BTreeSet<&InstanceKey<'_>> = before.silent.keys().chain(after.silent.keys()).collect();
        for key in all {
            let place = ChangePlace::instance(*key);
            let told = |row: &TargetResult| (TargetHealth::of(row), reason(row));
            let kind = |row: &TargetResult| row.failure.as_ref().map(|failure| failure.kind);
            let up = || (TargetHealth::Well, "up".to_owned());
            match (before.silent.get(key), after.silent.get(key)) {
                (Some(old), Some(new)) if kind(old) == kind(new) => {}
                (Some(old), Some(new)) => at.turned(place, told(old), told(new)),
                // It had results before, so it was up.
                (None, Some(new)) if before.instances.contains(key) => at.turned(place, up(), told(new)),
                (Some(old), None) if after.instances.contains(key) => at.turned(place, told(old), up()),
                // It is new or gone only if the other side would have listed it; otherwise it was not asked for.
                (None, Some(new)) if self.tells_of_services(self.before) => at.came(place, told(new).0, told(new).1),
                (Some(old), None) if self.tells_of_services(self.after) => at.went(place, told(old).0, told(old).1),
                _ => {}
            }
        }
    }

    fn services(&self, at: &mut ChangesAt<'_>, before: &NodeSnapshot<'_>, after: &NodeSnapshot<'_>) {
        // The services of a silent supervisord are unknown.
        let is_silent = |(instance, _): &ServiceKey<'_>| {
            before.silent.contains_key(instance) || after.silent.contains_key(instance)
        };
        // Functional states are comparable only if both snapshots have them.
        let asked = before.asks_services() && after.asks_services();
        for (key, old) in before.services.iter().filter(|(key, _)| !is_silent(key)) {
            match after.service(key) {
                Some(new) if asked => self.service(at, ChangePlace::service(*key), old, new),
                // One side lacks the functional states: compare what both have, the states of supervisord.
                Some(new) => self.service(at, ChangePlace::service(*key), &by_state(old), &by_state(new)),
                None if self.tells_of_services(self.after) => {
                    at.went(ChangePlace::service(*key), TargetHealth::of(old), reason(old));
                }
                None => {}
            }
        }
        for (key, new) in after.services.iter().filter(|(key, _)| !is_silent(key)) {
            if before.service(key).is_none() && self.tells_of_services(self.before) {
                at.came(ChangePlace::service(*key), TargetHealth::of(new), reason(new));
            }
        }
    }

    fn service(&self, at: &mut ChangesAt<'_>, place: ChangePlace<'_>, old: &TargetResult, new: &TargetResult) {
        let (was, is) = (TargetHealth::of(old), TargetHealth::of(new));
        let kind = |row: &TargetResult| row.failure.as_ref().map(|failure| failure.kind);
        // A functional state that one side lacks is not a change.
        let no_word = old.functional.is_none() || new.functional.is_none();
        let same_words =
            old.state == new.state && kind(old) == kind(new) && (no_word || old.functional == new.functional);
        let same_reason = is == TargetHealth::Well || no_word || old.functional_reason == new.functional_reason;
        if was != is || !same_words || !same_reason {
            at.turned(place, (was, reason(old)), (is, reason(new)));
        }
        if self.is_restarted(old, new) {
            let told = |row: &TargetResult| match (row.pid, row.uptime_s) {
                (Some(pid), _) => Some(format!("pid {pid}")),
                (None, uptime) => uptime.map(|seconds| format!("up {seconds} s")),
            };
            let what = (ChangeKind::Restarted, ChangeVerdict::Different);
            at.record(place, what, (told(old), told(new)), Some(TargetHealth::Well));
        }
        if let (Some(was), Some(is)) = (&old.version, &new.version)
            && was != is
        {
            let what = (ChangeKind::Version, ChangeVerdict::Different);
            at.record(place, what, (Some(was.clone()), Some(is.clone())), Some(TargetHealth::Well));
        }
    }

    fn is_restarted(&self, old: &TargetResult, new: &TargetResult) -> bool {
        match ((old.pid, new.pid), (old.uptime_s, new.uptime_s)) {
            // Pids are the best evidence; uptimes count only without them.
            ((Some(old), Some(new)), _) => old != new,
            (_, (Some(old), Some(new))) => {
                // Uptimes are whole seconds; allow for the rounding.
                let begun_since = self.gap.is_some_and(|gap| Duration::from_secs(new.saturating_add(1)) < gap);
                new < old || begun_since
            }
            _ => false,
        }
    }

    fn findings(&self, at: &mut ChangesAt<'_>, before: &NodeSnapshot<'_>, after: &NodeSnapshot<'_>) {
        // A status without facts did not search the node.
        if before.facts.is_none() || after.facts.is_none() {
            return;
        }
        let (old, new) =
            (FoundOnNode::of(before, &self.after.selection), FoundOnNode::of(after, &self.before.selection));
        for (key, found) in &new.by_kind {
            match old.by_kind.get(key) {
                None if old.tells_of(key.0) => found.record(at, *key, None),
                Some(was) => found.record(at, *key, Some(was)),
                None => {}
            }
        }
        for (key, found) in old.by_kind.iter().filter(|(key, _)| !new.by_kind.contains_key(*key)) {
            if new.tells_of(key.0) {
                found.gone(at, *key);
            }
        }
    }
}

/// The result without its functional state.
fn by_state(result: &TargetResult) -> TargetResult {
    TargetResult { functional: None, functional_reason: None, ..result.clone() }
}

/// The state of a node as a whole.
fn whole(node: &NodeSnapshot<'_>) -> (TargetHealth, String) {
    match (node.lost, node.resting) {
        (Some(row), _) => (TargetHealth::Unreachable, reason(row)),
        (None, Some(row)) if row.message.is_empty() => (TargetHealth::Well, "maintenance".to_owned()),
        (None, Some(row)) => (TargetHealth::Well, row.message.clone()),
        (None, None) => (TargetHealth::Well, "reachable".to_owned()),
    }
}
