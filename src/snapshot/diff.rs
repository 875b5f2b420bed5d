//! Compares two snapshots: each change is for the worse, for the better, or merely different.
//!
//! Invariants: [`TargetHealth`] rates every state; each change of a target is reported once; for a node that could not
//! be read, and for a supervisord that did not answer, only that fact is reported.

use std::cmp::{Ordering, Reverse};
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use serde::Serialize;

use super::Snapshot;
use super::node::{InstanceKey, NodeSnapshot, ServiceKey, is_well, nodes};
use crate::event::{FindingKind, NodeFinding, RunScope, TargetResult};
use crate::overview::{TargetHealth, reason};

/// Whether a change is for the worse.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum ChangeVerdict {
    /// Something is worse than before.
    Worse,
    /// Something that was bad is better than before.
    Better,
    /// Neither.
    Different,
}

impl ChangeVerdict {
    /// The name in output.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Worse => "worse",
            Self::Better => "better",
            Self::Different => "different",
        }
    }
}

/// Kind of a change. Later versions can add values.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum ChangeKind {
    /// Its state, its report on its own work, or whether it can be reached.
    State,
    /// It exists now and did not before.
    Came,
    /// It existed before and does not now.
    Went,
    /// The process is a different one.
    Restarted,
    /// The version differs.
    Version,
    /// A finding on the node.
    Finding,
}

impl ChangeKind {
    /// The name in output.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::State => "state",
            Self::Came => "came",
            Self::Went => "went",
            Self::Restarted => "restarted",
            Self::Version => "version",
            Self::Finding => "finding",
        }
    }
}

/// One difference between two states of a cluster.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema), schemars(rename = "Change"))]
pub struct NodeChange {
    /// Name of the node in the inventory.
    pub node: String,
    /// The role, if the change belongs to one.
    pub role: Option<String>,
    /// The supervisord instance, if the change belongs to one.
    pub supervisor: Option<String>,
    /// The service; none for a whole supervisord or node.
    pub service: Option<String>,
    /// The kind of the change.
    #[serde(rename = "change")]
    pub kind: ChangeKind,
    /// Its meaning.
    pub verdict: ChangeVerdict,
    /// The value before; none if it did not exist. Untrusted text: sinks make it safe.
    pub before: Option<String>,
    /// The value after; none if it does not exist. Untrusted text: sinks make it safe.
    pub after: Option<String>,
}

impl NodeChange {
    /// Whether both belong to the same node, supervisord or service.
    fn is_of_same(&self, other: &Self) -> bool {
        self.node == other.node
            && self.role == other.role
            && self.supervisor == other.supervisor
            && self.service == other.service
    }
}

/// Changes by verdict, and nodes, counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct DiffSummary {
    /// Changes for the worse.
    pub worse: usize,
    /// Changes for the better.
    pub better: usize,
    /// Other changes.
    pub different: usize,
    /// Nodes compared.
    pub nodes: usize,
    /// Compared nodes without a change.
    pub nodes_same: usize,
}

impl DiffSummary {
    fn count(&mut self, changes: &[NodeChange]) {
        let count = |verdict| changes.iter().filter(|change| change.verdict == verdict).count();
        self.worse = count(ChangeVerdict::Worse);
        self.better = count(ChangeVerdict::Better);
        self.different = count(ChangeVerdict::Different);
    }
}

/// The differences between two states of a cluster.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
pub struct SnapshotDiff {
    /// The changes: those for the worse first, the most severe on top; the others in the order of the nodes.
    pub changes: Vec<NodeChange>,
    /// Their counts.
    pub summary: DiffSummary,
}

impl SnapshotDiff {
    /// Whether any change is for the worse.
    #[must_use]
    pub fn is_worse(&self) -> bool {
        self.summary.worse > 0
    }

    /// Adds the changes of another diff of the same nodes, without duplicates.
    pub(super) fn with(mut self, other: Self) -> Self {
        let is_told = |change: &NodeChange| {
            let mut same = self.changes.iter().filter(|own| own.kind == change.kind && own.is_of_same(change));
            // One place may have several findings.
            same.any(|own| change.kind != ChangeKind::Finding || own == change)
        };
        let more: Vec<NodeChange> = other.changes.into_iter().filter(|change| !is_told(change)).collect();
        let changed =
            |changes: &[NodeChange]| changes.iter().map(|change| change.node.clone()).collect::<BTreeSet<_>>();
        let (old, new) = (changed(&self.changes), changed(&more));
        self.summary.nodes_same = self.summary.nodes_same.saturating_sub(new.difference(&old).count());
        self.changes.extend(more);
        self.changes.sort_by_key(|change| change.verdict);
        self.summary.count(&self.changes);
        self
    }

    /// Merges the diffs of several nodes into one.
    #[must_use]
    pub fn of_nodes(diffs: impl IntoIterator<Item = Self>) -> Self {
        let mut all = Self::default();
        for diff in diffs {
            all.summary.nodes += diff.summary.nodes;
            all.summary.nodes_same += diff.summary.nodes_same;
            all.changes.extend(diff.changes);
        }
        // The sort is stable, so equal verdicts keep the order of the nodes.
        all.changes.sort_by_key(|change| change.verdict);
        all.summary.count(&all.changes);
        all
    }

    /// The changes for the worse.
    pub fn worse(&self) -> impl Iterator<Item = &NodeChange> {
        self.changes.iter().filter(|change| change.verdict == ChangeVerdict::Worse)
    }
}

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

/// The severity of a change, before or after; the most severe is listed first.
type ChangeSeverity = Option<TargetHealth>;

/// Two snapshots, and facts that apply to all of their nodes.
struct DiffContext<'a> {
    before: &'a Snapshot,
    after: &'a Snapshot,
    /// Whether both selected the same services.
    same_services: bool,
    gap: Option<Duration>,
}

/// The changes of one node.
struct ChangesAt<'a> {
    node: &'a str,
    found: Vec<(ChangeSeverity, NodeChange)>,
}

/// The place of a change on a node.
#[derive(Clone, Copy, Default)]
struct ChangePlace<'a> {
    role: Option<&'a str>,
    supervisor: Option<&'a str>,
    service: Option<&'a str>,
}

impl<'a> ChangePlace<'a> {
    fn instance((role, supervisor): InstanceKey<'a>) -> Self {
        Self { role, supervisor, service: None }
    }

    fn service((instance, service): ServiceKey<'a>) -> Self {
        Self { service: Some(service), ..Self::instance(instance) }
    }
}

impl ChangesAt<'_> {
    fn tell(
        &mut self,
        place: ChangePlace<'_>,
        (kind, verdict): (ChangeKind, ChangeVerdict),
        (before, after): (Option<String>, Option<String>),
        severity: ChangeSeverity,
    ) {
        let change = NodeChange {
            node: self.node.to_owned(),
            role: place.role.map(str::to_owned),
            supervisor: place.supervisor.map(str::to_owned),
            service: place.service.map(str::to_owned),
            kind,
            verdict,
            before,
            after,
        };
        self.found.push((severity, change));
    }

    /// Records a change of state from `before` to `after`.
    fn turned(&mut self, place: ChangePlace<'_>, before: (TargetHealth, String), after: (TargetHealth, String)) {
        let (verdict, severity) = match after.0.cmp(&before.0) {
            Ordering::Greater => (ChangeVerdict::Worse, after.0),
            Ordering::Less => (ChangeVerdict::Better, before.0),
            Ordering::Equal => (ChangeVerdict::Different, after.0),
        };
        self.tell(place, (ChangeKind::State, verdict), (Some(before.1), Some(after.1)), Some(severity));
    }

    /// Records something new.
    fn came(&mut self, place: ChangePlace<'_>, health: TargetHealth, how: String) {
        let verdict = if health == TargetHealth::Well { ChangeVerdict::Different } else { ChangeVerdict::Worse };
        self.tell(place, (ChangeKind::Came, verdict), (None, Some(how)), Some(health));
    }

    /// Records something that is gone. Nothing is lost if it was not healthy.
    fn went(&mut self, place: ChangePlace<'_>, health: TargetHealth, how: String) {
        let verdict = if health == TargetHealth::Well { ChangeVerdict::Worse } else { ChangeVerdict::Different };
        let severity = if health == TargetHealth::Well { TargetHealth::Down } else { TargetHealth::Well };
        self.tell(place, (ChangeKind::Went, verdict), (Some(how), None), Some(severity));
    }
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
                found.tell(at, *key, None);
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
            at.tell(place, what, (told(old), told(new)), Some(TargetHealth::Well));
        }
        if let (Some(was), Some(is)) = (&old.version, &new.version)
            && was != is
        {
            let what = (ChangeKind::Version, ChangeVerdict::Different);
            at.tell(place, what, (Some(was.clone()), Some(is.clone())), Some(TargetHealth::Well));
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
                None if old.tells_of(key.0) => found.tell(at, *key, None),
                Some(was) => found.tell(at, *key, Some(was)),
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

/// Identifies a finding: its kind and its role.
type FindingKey<'a> = (FindingKind, Option<&'a str>);

/// The findings on a node, apart from its services.
struct FoundOnNode<'a> {
    by_kind: BTreeMap<FindingKey<'a>, Sighting<'a>>,
}

/// Findings of one kind.
#[derive(Default, PartialEq, Eq)]
struct Sighting<'a> {
    messages: BTreeSet<&'a str>,
    details: BTreeSet<&'a str>,
    /// The total; `details` may name fewer.
    count: u64,
}

impl<'a> FoundOnNode<'a> {
    fn of(node: &NodeSnapshot<'a>, scope: &RunScope) -> Self {
        let mut by_kind: BTreeMap<FindingKey<'a>, Sighting<'a>> = BTreeMap::new();
        for finding in node.findings(scope) {
            let NodeFinding { kind, role, message, details, count } = finding;
            let sighting = by_kind.entry((*kind, role.as_deref())).or_default();
            sighting.messages.insert(message);
            sighting.details.extend(details.iter().map(String::as_str));
            sighting.count += count.unwrap_or(details.len() as u64);
        }
        Self { by_kind }
    }

    /// Whether absence here means that there is none: a node that was not searched proves nothing.
    fn tells_of(&self, kind: FindingKind) -> bool {
        let searched = !self.by_kind.keys().any(|(own, _)| *own == FindingKind::NotSearched);
        searched || matches!(kind, FindingKind::NotSearched | FindingKind::NoIntrospect)
    }
}

impl Sighting<'_> {
    /// Records a finding; `before` is its earlier state, if any.
    fn tell(&self, at: &mut ChangesAt<'_>, (kind, role): FindingKey<'_>, before: Option<&Sighting<'_>>) {
        let place = ChangePlace { role, ..ChangePlace::default() };
        let Some(before) = before else {
            let verdict = if kind == FindingKind::CoreFiles { ChangeVerdict::Worse } else { ChangeVerdict::Different };
            at.tell(
                place,
                (ChangeKind::Finding, verdict),
                (None, Some(self.told(&self.details))),
                Some(TargetHealth::Failed),
            );
            return;
        };
        let is_core = kind == FindingKind::CoreFiles;
        // Unless both sides name every file, the individual files are not comparable: only the counts are.
        if !is_core || !self.is_whole() || !before.is_whole() {
            let is_new = before.is_whole() && !self.details.is_subset(&before.details);
            let (verdict, severity) = match self.count.cmp(&before.count) {
                _ if !is_core => (ChangeVerdict::Different, TargetHealth::Well),
                _ if is_new => (ChangeVerdict::Worse, TargetHealth::Failed),
                Ordering::Greater => (ChangeVerdict::Worse, TargetHealth::Failed),
                Ordering::Equal => (ChangeVerdict::Different, TargetHealth::Well),
                Ordering::Less => (ChangeVerdict::Better, TargetHealth::Well),
            };
            if self != before {
                let texts = (before.told(&before.details), self.told(&self.details));
                at.tell(place, (ChangeKind::Finding, verdict), (Some(texts.0), Some(texts.1)), Some(severity));
            }
            return;
        }
        let new: BTreeSet<&str> = self.details.difference(&before.details).copied().collect();
        let gone: BTreeSet<&str> = before.details.difference(&self.details).copied().collect();
        if !new.is_empty() {
            let what = (ChangeKind::Finding, ChangeVerdict::Worse);
            at.tell(place, what, (None, Some(self.told(&new))), Some(TargetHealth::Failed));
        }
        if !gone.is_empty() {
            at.tell(place, (ChangeKind::Finding, ChangeVerdict::Better), (Some(before.told(&gone)), None), None);
        }
    }

    /// Records a finding that is gone.
    fn gone(&self, at: &mut ChangesAt<'_>, (kind, role): FindingKey<'_>) {
        let verdict = if kind == FindingKind::CoreFiles { ChangeVerdict::Better } else { ChangeVerdict::Different };
        let place = ChangePlace { role, ..ChangePlace::default() };
        at.tell(place, (ChangeKind::Finding, verdict), (Some(self.told(&self.details)), None), None);
    }

    /// Whether `details` names all of them.
    fn is_whole(&self) -> bool {
        self.count <= self.details.len() as u64
    }

    fn told(&self, details: &BTreeSet<&str>) -> String {
        let message = self.messages.iter().copied().collect::<Vec<_>>().join("; ");
        let details: Vec<&str> = details.iter().copied().filter(|detail| !message.ends_with(detail)).collect();
        if details.is_empty() { message } else { format!("{message}: {}", details.join(", ")) }
    }
}
