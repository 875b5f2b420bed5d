//! Collects the changes of one node while it is compared.

use std::cmp::Ordering;

use super::change::{ChangeKind, ChangeVerdict, NodeChange};
use super::node::{InstanceKey, ServiceKey};
use ctl_overview::TargetHealth;

/// The severity of a change, before or after; the most severe is listed first.
pub(super) type ChangeSeverity = Option<TargetHealth>;

/// The changes of one node.
pub(super) struct ChangesAt<'a> {
    pub(super) node: &'a str,
    pub(super) found: Vec<(ChangeSeverity, NodeChange)>,
}

/// The place of a change on a node.
#[derive(Clone, Copy, Default)]
pub(super) struct ChangePlace<'a> {
    pub(super) role: Option<&'a str>,
    pub(super) supervisor: Option<&'a str>,
    pub(super) service: Option<&'a str>,
}

impl<'a> ChangePlace<'a> {
    pub(super) fn instance((role, supervisor): InstanceKey<'a>) -> Self {
        Self { role, supervisor, service: None }
    }

    pub(super) fn service((instance, service): ServiceKey<'a>) -> Self {
        Self { service: Some(service), ..Self::instance(instance) }
    }
}

impl ChangesAt<'_> {
    pub(super) fn record(
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
    pub(super) fn turned(
        &mut self,
        place: ChangePlace<'_>,
        before: (TargetHealth, String),
        after: (TargetHealth, String),
    ) {
        let (verdict, severity) = match after.0.cmp(&before.0) {
            Ordering::Greater => (ChangeVerdict::Worse, after.0),
            Ordering::Less => (ChangeVerdict::Better, before.0),
            Ordering::Equal => (ChangeVerdict::Different, after.0),
        };
        self.record(place, (ChangeKind::State, verdict), (Some(before.1), Some(after.1)), Some(severity));
    }

    /// Records something new.
    pub(super) fn came(&mut self, place: ChangePlace<'_>, health: TargetHealth, how: String) {
        let verdict = if health == TargetHealth::Well { ChangeVerdict::Different } else { ChangeVerdict::Worse };
        self.record(place, (ChangeKind::Came, verdict), (None, Some(how)), Some(health));
    }

    /// Records something that is gone. Nothing is lost if it was not healthy.
    pub(super) fn went(&mut self, place: ChangePlace<'_>, health: TargetHealth, how: String) {
        let verdict = if health == TargetHealth::Well { ChangeVerdict::Worse } else { ChangeVerdict::Different };
        let severity = if health == TargetHealth::Well { TargetHealth::Down } else { TargetHealth::Well };
        self.record(place, (ChangeKind::Went, verdict), (Some(how), None), Some(severity));
    }
}
