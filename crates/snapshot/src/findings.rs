//! Compares the findings on a node, such as core files.

use std::cmp::Ordering;
use std::collections::{BTreeMap, BTreeSet};

use super::change::{ChangeKind, ChangeVerdict};
use super::node::NodeSnapshot;
use super::node_changes::{ChangePlace, ChangesAt};
use ctl_event::{FindingKind, NodeFinding, RunScope};
use ctl_overview::TargetHealth;

/// Identifies a finding: its kind and its role.
pub(super) type FindingKey<'a> = (FindingKind, Option<&'a str>);

/// The findings on a node, apart from its services.
pub(super) struct FoundOnNode<'a> {
    pub(super) by_kind: BTreeMap<FindingKey<'a>, Sighting<'a>>,
}

/// Findings of one kind.
#[derive(Default, PartialEq, Eq)]
pub(super) struct Sighting<'a> {
    messages: BTreeSet<&'a str>,
    details: BTreeSet<&'a str>,
    /// The total; `details` may name fewer.
    count: u64,
}

impl<'a> FoundOnNode<'a> {
    pub(super) fn of(node: &NodeSnapshot<'a>, scope: &RunScope) -> Self {
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
    pub(super) fn tells_of(&self, kind: FindingKind) -> bool {
        let searched = !self.by_kind.keys().any(|(own, _)| *own == FindingKind::NotSearched);
        searched || matches!(kind, FindingKind::NotSearched | FindingKind::NoIntrospect)
    }
}

impl Sighting<'_> {
    /// Records a finding; `before` is its earlier state, if any.
    pub(super) fn record(&self, at: &mut ChangesAt<'_>, (kind, role): FindingKey<'_>, before: Option<&Sighting<'_>>) {
        let place = ChangePlace { role, ..ChangePlace::default() };
        let Some(before) = before else {
            let verdict = if kind == FindingKind::CoreFiles { ChangeVerdict::Worse } else { ChangeVerdict::Different };
            at.record(
                place,
                (ChangeKind::Finding, verdict),
                (None, Some(self.text(&self.details))),
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
                let texts = (before.text(&before.details), self.text(&self.details));
                at.record(place, (ChangeKind::Finding, verdict), (Some(texts.0), Some(texts.1)), Some(severity));
            }
            return;
        }
        let new: BTreeSet<&str> = self.details.difference(&before.details).copied().collect();
        let gone: BTreeSet<&str> = before.details.difference(&self.details).copied().collect();
        if !new.is_empty() {
            let what = (ChangeKind::Finding, ChangeVerdict::Worse);
            at.record(place, what, (None, Some(self.text(&new))), Some(TargetHealth::Failed));
        }
        if !gone.is_empty() {
            at.record(place, (ChangeKind::Finding, ChangeVerdict::Better), (Some(before.text(&gone)), None), None);
        }
    }

    /// Records a finding that is gone.
    pub(super) fn gone(&self, at: &mut ChangesAt<'_>, (kind, role): FindingKey<'_>) {
        let verdict = if kind == FindingKind::CoreFiles { ChangeVerdict::Better } else { ChangeVerdict::Different };
        let place = ChangePlace { role, ..ChangePlace::default() };
        at.record(place, (ChangeKind::Finding, verdict), (Some(self.text(&self.details)), None), None);
    }

    /// Whether `details` names all of them.
    fn is_whole(&self) -> bool {
        self.count <= self.details.len() as u64
    }

    fn text(&self, details: &BTreeSet<&str>) -> String {
        let message = self.messages.iter().copied().collect::<Vec<_>>().join("; ");
        let details: Vec<&str> = details.iter().copied().filter(|detail| !message.ends_with(detail)).collect();
        if details.is_empty() { message } else { format!("{message}: {}", details.join(", ")) }
    }
}
