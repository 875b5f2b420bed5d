//! What is worse, better or merely different.
//!
//! What always holds: the verdict on a state is that of [`TargetHealth`]; of a target each thing that changed is told once; of
//! a node that could not be read, and of a supervisord that did not answer, nothing more is told than that.

use std::cmp::{Ordering, Reverse};
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use serde::Serialize;

use super::Snapshot;
use super::node::{InstanceKey, NodeSnapshot, ServiceKey, is_well, nodes};
use crate::event::{FindingKind, NodeFinding, RunScope, TargetResult};
use crate::overview::{TargetHealth, reason};

/// What a change means to whoever is responsible.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum ChangeVerdict {
    /// Something that was well, or less bad, is not any more.
    Worse,
    /// Something that was bad is well, or less bad.
    Better,
    /// Neither.
    Different,
}

impl ChangeVerdict {
    /// The word for it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Worse => "worse",
            Self::Better => "better",
            Self::Different => "different",
        }
    }
}

/// What has changed. More may come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum ChangeKind {
    /// How it is: its state, what it says of its own work, whether it can be reached.
    State,
    /// It is there now and was not before.
    Came,
    /// It was there before and is not now.
    Went,
    /// It is another process than before.
    Restarted,
    /// It is of another version.
    Version,
    /// What was found on the node besides.
    Finding,
}

impl ChangeKind {
    /// The word for it.
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

/// One thing that is not as it was.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct NodeChange {
    /// Name of the node in the inventory.
    pub node: String,
    /// The role, where it is one's.
    pub role: Option<String>,
    /// The supervisord instance, where it is one's.
    pub supervisor: Option<String>,
    /// The service; none for a supervisord as a whole, and for a node.
    pub service: Option<String>,
    /// What has changed.
    #[serde(rename = "change")]
    pub kind: ChangeKind,
    /// What that means.
    pub verdict: ChangeVerdict,
    /// How it was; none if it was not there. Untrusted text: sinks make it safe.
    pub before: Option<String>,
    /// How it is; none if it is not there. Untrusted text: sinks make it safe.
    pub after: Option<String>,
}

impl NodeChange {
    /// Whether both are of one node, supervisord or service.
    fn is_of_same(&self, other: &Self) -> bool {
        self.node == other.node
            && self.role == other.role
            && self.supervisor == other.supervisor
            && self.service == other.service
    }
}

/// How many changes there are of each sort.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
pub struct DiffSummary {
    /// Changes for the worse.
    pub worse: usize,
    /// Changes for the better.
    pub better: usize,
    /// Other changes.
    pub different: usize,
    /// Nodes that were compared.
    pub nodes: usize,
    /// Those of them on which nothing has changed.
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

/// What has become of a cluster.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
pub struct SnapshotDiff {
    /// What changed: worse first, and of what is worse, the worst first; else in the order of the nodes.
    pub changes: Vec<NodeChange>,
    /// The same, counted.
    pub summary: DiffSummary,
}

impl SnapshotDiff {
    /// Whether anything is worse.
    #[must_use]
    pub fn is_worse(&self) -> bool {
        self.summary.worse > 0
    }

    /// With the changes of another, of the same nodes, that it does not have yet.
    pub(super) fn with(mut self, other: Self) -> Self {
        let is_told = |change: &NodeChange| {
            let mut same = self.changes.iter().filter(|own| own.kind == change.kind && own.is_of_same(change));
            // There may be several findings of one place.
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

    /// The changes of several nodes, of each its own, in one.
    #[must_use]
    pub fn of_nodes(diffs: impl IntoIterator<Item = Self>) -> Self {
        let mut all = Self::default();
        for diff in diffs {
            all.summary.nodes += diff.summary.nodes;
            all.summary.nodes_same += diff.summary.nodes_same;
            all.changes.extend(diff.changes);
        }
        // Stable: what is equally bad stays in the order of the nodes.
        all.changes.sort_by_key(|change| change.verdict);
        all.summary.count(&all.changes);
        all
    }

    /// The changes for the worse.
    pub fn worse(&self) -> impl Iterator<Item = &NodeChange> {
        self.changes.iter().filter(|change| change.verdict == ChangeVerdict::Worse)
    }
}

/// What has become of the cluster between two snapshots. What only one of them was asked for is not compared.
#[must_use]
pub fn diff(before: &Snapshot, after: &Snapshot) -> SnapshotDiff {
    let work = DiffContext {
        before,
        after,
        same_services: before.services.iter().collect::<BTreeSet<_>>() == after.services.iter().collect(),
        gap: gap(before, after),
    };
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
    // Stable: what is equally bad stays in the order of the nodes.
    found.sort_by_key(|(severity, change)| (change.verdict, Reverse(*severity)));
    let changes: Vec<NodeChange> = found.into_iter().map(|(_, change)| change).collect();
    summary.count(&changes);
    SnapshotDiff { changes, summary }
}

/// For how long at the least a process has run that was there when the first snapshot was read, and is when the second is.
fn gap(before: &Snapshot, after: &Snapshot) -> Option<Duration> {
    let until = after.started?.duration_since(before.started?);
    Duration::try_from(until).ok()?.checked_sub(before.elapsed)
}

/// How bad what changed is, or was: what is told first.
type ChangeSeverity = Option<TargetHealth>;

/// Two snapshots, and what holds for all of their nodes.
struct DiffContext<'a> {
    before: &'a Snapshot,
    after: &'a Snapshot,
    /// Whether both were asked for the same services.
    same_services: bool,
    gap: Option<Duration>,
}

/// The changes of one node.
struct ChangesAt<'a> {
    node: &'a str,
    found: Vec<(ChangeSeverity, NodeChange)>,
}

/// Where on a node something has changed.
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

    /// Something is not as it was, from `before` to `after`.
    fn turned(&mut self, place: ChangePlace<'_>, before: (TargetHealth, String), after: (TargetHealth, String)) {
        let (verdict, severity) = match after.0.cmp(&before.0) {
            Ordering::Greater => (ChangeVerdict::Worse, after.0),
            Ordering::Less => (ChangeVerdict::Better, before.0),
            Ordering::Equal => (ChangeVerdict::Different, after.0),
        };
        self.tell(place, (ChangeKind::State, verdict), (Some(before.1), Some(after.1)), Some(severity));
    }

    /// Something is there that was not.
    fn came(&mut self, place: ChangePlace<'_>, health: TargetHealth, how: String) {
        let verdict = if health == TargetHealth::Well { ChangeVerdict::Different } else { ChangeVerdict::Worse };
        self.tell(place, (ChangeKind::Came, verdict), (None, Some(how)), Some(health));
    }

    /// Something is not there that was. If it was not well, nothing is lost.
    fn went(&mut self, place: ChangePlace<'_>, health: TargetHealth, how: String) {
        let verdict = if health == TargetHealth::Well { ChangeVerdict::Worse } else { ChangeVerdict::Different };
        let severity = if health == TargetHealth::Well { TargetHealth::Down } else { TargetHealth::Well };
        self.tell(place, (ChangeKind::Went, verdict), (Some(how), None), Some(severity));
    }
}

impl DiffContext<'_> {
    /// Whether what `side` does not tell of is not there: it was asked for all nodes, or for the same as the other.
    fn tells_of_nodes(&self, side: &Snapshot) -> bool {
        let limited = side.selection.nodes.is_some() || side.selection.exclude.is_some();
        self.tells_of_services(side) && (!limited || self.before.selection == self.after.selection)
    }

    /// The same of services.
    fn tells_of_services(&self, side: &Snapshot) -> bool {
        side.services.is_empty() || self.same_services
    }

    /// Compares a node. False if that cannot be done.
    fn node(
        &self,
        at: &mut ChangesAt<'_>,
        before: Option<&NodeSnapshot<'_>>,
        after: Option<&NodeSnapshot<'_>>,
    ) -> bool {
        if before.into_iter().chain(after).any(|node| node.not_begun) {
            return false;
        }
        match (before, after) {
            (Some(before), Some(after)) => self.both(at, before, after),
            (Some(node), None) if self.is_missing(node, self.after) => {
                let (health, how) = whole(node);
                // One in maintenance was out of the way already.
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
        // Of one that was not read nobody knows whether it is of the roles that `side` was asked for.
        let is_meant = |row: &TargetResult| {
            side.selection.roles.is_empty() || row.role.is_some() || self.before.selection == self.after.selection
        };
        self.tells_of_nodes(side) && node.lost.or(node.resting).is_none_or(is_meant)
    }

    /// A node that is looked at for the first time, with all that is not well there.
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
            // Nobody knew how it was while it was in maintenance.
            (false, true) if before.resting.is_some() => self.arrived(at, after, Some(old.1)),
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

    /// Supervisords that do not answer, or did not.
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
                (None, Some(new)) if before.instances.contains(key) => at.turned(place, up(), told(new)),
                (Some(old), None) if after.instances.contains(key) => at.turned(place, told(old), up()),
                (None, Some(new)) if self.tells_of_services(self.before) => at.came(place, told(new).0, told(new).1),
                (Some(old), None) if self.tells_of_services(self.after) => at.went(place, told(old).0, told(old).1),
                _ => {}
            }
        }
    }

    fn services(&self, at: &mut ChangesAt<'_>, before: &NodeSnapshot<'_>, after: &NodeSnapshot<'_>) {
        // Of those whose supervisord did not answer nothing is known.
        let is_silent = |(instance, _): &ServiceKey<'_>| {
            before.silent.contains_key(instance) || after.silent.contains_key(instance)
        };
        // What services say of their own work is compared where both could be asked.
        let asked = before.asks_services() && after.asks_services();
        for (key, old) in before.services.iter().filter(|(key, _)| !is_silent(key)) {
            match after.service(key) {
                Some(new) if asked => self.service(at, ChangePlace::service(*key), old, new),
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
            ((Some(old), Some(new)), _) => old != new,
            (_, (Some(old), Some(new))) => {
                // Whole seconds are told.
                let begun_since = self.gap.is_some_and(|gap| Duration::from_secs(new.saturating_add(1)) < gap);
                new < old || begun_since
            }
            _ => false,
        }
    }

    fn findings(&self, at: &mut ChangesAt<'_>, before: &NodeSnapshot<'_>, after: &NodeSnapshot<'_>) {
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

/// The result without what a service says of its own work.
fn by_state(result: &TargetResult) -> TargetResult {
    TargetResult { functional: None, functional_reason: None, ..result.clone() }
}

/// How a node is as a whole.
fn whole(node: &NodeSnapshot<'_>) -> (TargetHealth, String) {
    match (node.lost, node.resting) {
        (Some(row), _) => (TargetHealth::Unreachable, reason(row)),
        (None, Some(row)) if row.message.is_empty() => (TargetHealth::Well, "maintenance".to_owned()),
        (None, Some(row)) => (TargetHealth::Well, row.message.clone()),
        (None, None) => (TargetHealth::Well, "reachable".to_owned()),
    }
}

/// What a finding is told by: what it is, and of which role.
type FindingKey<'a> = (FindingKind, Option<&'a str>);

/// What was found on a node besides its services.
struct FoundOnNode<'a> {
    by_kind: BTreeMap<FindingKey<'a>, Sighting<'a>>,
}

/// Findings of one kind.
#[derive(Default, PartialEq, Eq)]
struct Sighting<'a> {
    messages: BTreeSet<&'a str>,
    details: BTreeSet<&'a str>,
    /// How many there are, of which `details` may not name all.
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

    /// Whether what is not among these is not there: where the node was not searched, nobody knows.
    fn tells_of(&self, kind: FindingKind) -> bool {
        let searched = !self.by_kind.keys().any(|(own, _)| *own == FindingKind::NotSearched);
        searched || matches!(kind, FindingKind::NotSearched | FindingKind::NoIntrospect)
    }
}

impl Sighting<'_> {
    /// It is there now; `before` is how it was, if it was.
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

    /// It was there, and is not any more.
    fn gone(&self, at: &mut ChangesAt<'_>, (kind, role): FindingKey<'_>) {
        let verdict = if kind == FindingKind::CoreFiles { ChangeVerdict::Better } else { ChangeVerdict::Different };
        let place = ChangePlace { role, ..ChangePlace::default() };
        at.tell(place, (ChangeKind::Finding, verdict), (Some(self.told(&self.details)), None), None);
    }

    /// Whether all of it is named.
    fn is_whole(&self) -> bool {
        self.count <= self.details.len() as u64
    }

    fn told(&self, details: &BTreeSet<&str>) -> String {
        let message = self.messages.iter().copied().collect::<Vec<_>>().join("; ");
        let details: Vec<&str> = details.iter().copied().filter(|detail| !message.ends_with(detail)).collect();
        if details.is_empty() { message } else { format!("{message}: {}", details.join(", ")) }
    }
}
