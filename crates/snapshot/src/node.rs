//! A snapshot by node: the values read on each, and the parts that could not be read.

use std::collections::{BTreeMap, BTreeSet};

use super::model::Snapshot;
use ctl_event::{FailureKind, FindingKind, NodeFacts, NodeFinding, Outcome, RunScope, TargetResult};
use ctl_overview::TargetHealth;

/// The role and the name of a supervisord.
pub(super) type InstanceKey<'a> = (Option<&'a str>, Option<&'a str>);

/// A supervisord and one of its services; a service that init runs has no supervisord.
pub(super) type ServiceKey<'a> = (InstanceKey<'a>, &'a str);

/// The part of a snapshot about one node.
#[derive(Default)]
pub(super) struct NodeSnapshot<'a> {
    /// The run ended before it reached the node.
    pub(super) not_begun: bool,
    /// The failure, if the node could not be reached or read.
    pub(super) lost: Option<&'a TargetResult>,
    /// The result, if the node was skipped for maintenance.
    pub(super) resting: Option<&'a TargetResult>,
    /// All supervisords in the results.
    pub(super) instances: BTreeSet<InstanceKey<'a>>,
    /// The supervisords that did not answer.
    pub(super) silent: BTreeMap<InstanceKey<'a>, &'a TargetResult>,
    /// The services found, in the order of the results.
    pub(super) services: Vec<(ServiceKey<'a>, &'a TargetResult)>,
    /// Other facts about the node.
    pub(super) facts: Option<&'a NodeFacts>,
}

impl<'a> NodeSnapshot<'a> {
    /// The result of a service.
    pub(super) fn service(&self, key: &ServiceKey<'_>) -> Option<&'a TargetResult> {
        self.services.iter().find(|(own, _)| own == key).map(|(_, result)| *result)
    }

    /// Whether the node was read.
    pub(super) fn is_read(&self) -> bool {
        self.lost.is_none() && self.resting.is_none()
    }

    /// Whether the functional states of its services were read, as far as they have any.
    pub(super) fn asks_services(&self) -> bool {
        self.facts.is_some_and(|facts| facts.findings.iter().all(|found| found.kind != FindingKind::NoIntrospect))
    }

    /// The findings for the roles in `scope`.
    pub(super) fn findings<'b>(&self, scope: &'b RunScope) -> impl Iterator<Item = &'a NodeFinding> + use<'a, 'b> {
        let findings = self.facts.map(|facts| facts.findings.as_slice()).unwrap_or_default();
        findings.iter().filter(|finding| scope.concerns(finding.role.as_deref()))
    }
}

/// The nodes of a snapshot in its order, limited to the roles of `other` as well. A node without any result for those
/// roles is left out.
pub(super) fn nodes<'a>(snapshot: &'a Snapshot, other: &RunScope) -> Vec<(&'a str, NodeSnapshot<'a>)> {
    let mut order: Vec<&str> = Vec::new();
    let mut rows: BTreeMap<&str, Vec<&TargetResult>> = BTreeMap::new();
    for result in &snapshot.results {
        if !other.concerns(result.role.as_deref()) {
            continue;
        }
        let known = rows.entry(&result.node).or_insert_with(|| {
            order.push(&result.node);
            Vec::new()
        });
        known.push(result);
    }
    let facts: BTreeMap<&str, &NodeFacts> = snapshot.nodes.iter().map(|facts| (facts.node.as_str(), facts)).collect();
    let node = |name: &'a str| {
        let own = rows.get(name).map(Vec::as_slice).unwrap_or_default();
        (name, NodeSnapshot { facts: facts.get(name).copied(), ..node(own) })
    };
    order.into_iter().map(node).collect()
}

fn node<'a>(rows: &[&'a TargetResult]) -> NodeSnapshot<'a> {
    let mut node = NodeSnapshot::default();
    let answers: BTreeSet<InstanceKey<'_>> =
        rows.iter().filter(|row| row.state.is_some()).map(|row| instance_of(row)).collect();
    for row in rows.iter().copied() {
        let instance = instance_of(row);
        if row.supervisor.is_some() {
            node.instances.insert(instance);
        }
        // A failure without any reading: it belongs to the supervisord or the node, not to the service.
        let nothing = row.state.is_none() && row.outcome.is_bad();
        match (row.outcome, &row.service) {
            // The node does not run the service, whether or not the user named it explicitly.
            (Outcome::NotConfigured, _) => {}
            _ if is_no_such_service(row) => {}
            (Outcome::NotStarted, _) => node.not_begun = true,
            (Outcome::Skipped, _) => node.resting = node.resting.or(Some(row)),
            _ if nothing && row.supervisor.is_none() && row.via.is_none() => {
                node.lost = node.lost.or(Some(row));
            }
            // If another row has a state, supervisord did answer, and only this service failed.
            _ if nothing && row.supervisor.is_some() && !answers.contains(&instance) => {
                node.silent.entry(instance).or_insert(row);
            }
            (_, Some(service)) => {
                let key = (instance, service.as_str());
                // A service may be requested by several names: keep its first row.
                if node.service(&key).is_none() {
                    node.services.push((key, row));
                }
            }
            (_, None) => {}
        }
    }
    node
}

fn instance_of(row: &TargetResult) -> InstanceKey<'_> {
    (row.role.as_deref(), row.supervisor.as_deref())
}

fn is_no_such_service(row: &TargetResult) -> bool {
    row.failure.as_ref().is_some_and(|failure| failure.kind == FailureKind::NoSuchService)
}

/// Whether a target is healthy.
pub(super) fn is_well(result: &TargetResult) -> bool {
    TargetHealth::of(result) == TargetHealth::Well
}
