//! The summary of each role, and the roles of nodes that could not be read.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};

use super::health::TargetHealth;
use super::issue::what;
use ctl_event::{Outcome, TargetResult};

/// The summary of a role.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct RoleSummary {
    /// The role; none for results without one.
    pub role: Option<String>,
    /// Its nodes, without those that run none of its services.
    pub nodes: usize,
    /// Nodes on which the whole role is healthy.
    pub nodes_well: usize,
    /// Nodes skipped on purpose: neither healthy nor unhealthy.
    pub maintenance: usize,
    /// Its services, counted on each node.
    pub services: usize,
    /// Healthy services.
    pub services_well: usize,
    /// The number of unhealthy services, supervisords and nodes by health, worst first.
    pub wrong: BTreeMap<Reverse<TargetHealth>, usize>,
}

/// The roles of each node. The results of an unreachable node with several roles do not list them.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct NodeRoles {
    order: Vec<String>,
    roles: BTreeMap<String, Vec<String>>,
}

impl NodeRoles {
    /// Creates the map from nodes to roles. An overview lists the roles in `order`, with others after them.
    #[must_use]
    pub fn new(order: &[&str], nodes: impl IntoIterator<Item = (String, Vec<String>)>) -> Self {
        Self { order: order.iter().map(|role| (*role).to_owned()).collect(), roles: nodes.into_iter().collect() }
    }

    /// The roles of a node; empty if unknown.
    #[must_use]
    pub fn of(&self, node: &str) -> &[String] {
        self.roles.get(node).map(Vec::as_slice).unwrap_or_default()
    }

    /// Whether a node is known, and has no role.
    #[must_use]
    pub fn lacks_role(&self, node: &str) -> bool {
        self.roles.get(node).is_some_and(Vec::is_empty)
    }

    /// The rank of a role in the order; unknown roles come after it, and no role comes last.
    #[must_use]
    pub fn place(&self, role: Option<&str>) -> usize {
        let place = role.map(|role| self.order.iter().position(|own| own == role).unwrap_or(self.order.len()));
        place.unwrap_or(usize::MAX)
    }
}

/// The counts of a role.
#[derive(Default)]
struct RoleCount<'a> {
    nodes: BTreeSet<&'a str>,
    unwell: BTreeSet<&'a str>,
    maintenance: BTreeSet<&'a str>,
    wrong: BTreeMap<(&'a str, &'a str), TargetHealth>,
    services: usize,
    services_well: usize,
}

impl<'a> RoleCount<'a> {
    fn take(&mut self, result: &'a TargetResult, health: TargetHealth) {
        let node = result.node.as_str();
        self.nodes.insert(node);
        if result.outcome == Outcome::Skipped {
            self.maintenance.insert(node);
        }
        if health != TargetHealth::Well {
            self.unwell.insert(node);
            // A node that failed has a result per service: count it once, at its worst.
            let worst = self.wrong.entry((node, what(result))).or_insert(health);
            *worst = health.max(*worst);
        }
        // A result without a state is a supervisord or a node, not a service.
        if result.state.is_some() {
            self.services += 1;
            self.services_well += usize::from(health == TargetHealth::Well);
        }
    }

    fn summary(&self, role: Option<&str>) -> RoleSummary {
        let mut wrong = BTreeMap::new();
        for health in self.wrong.values() {
            *wrong.entry(Reverse(*health)).or_insert(0) += 1;
        }
        let well = self.nodes.iter().filter(|node| !self.unwell.contains(*node) && !self.maintenance.contains(*node));
        RoleSummary {
            role: role.map(str::to_owned),
            nodes: self.nodes.len(),
            nodes_well: well.count(),
            maintenance: self.maintenance.len(),
            services: self.services,
            services_well: self.services_well,
            wrong,
        }
    }
}

/// One summary per role; results without a role come last.
pub(super) fn summaries<'a>(results: &'a [TargetResult], known: &'a NodeRoles) -> Vec<RoleSummary> {
    let mut seen: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for result in results {
        let roles = seen.entry(&result.node).or_default();
        roles.extend(result.role.as_deref().filter(|role| !roles.contains(role)));
    }
    let roles_of = |result: &'a TargetResult| -> Vec<Option<&'a str>> {
        if let Some(role) = &result.role {
            return vec![Some(role)];
        }
        let node = result.node.as_str();
        // Prefer the inventory's roles. Without them, another result of the node may name its roles.
        match (known.of(node), seen.get(node).filter(|roles| !roles.is_empty())) {
            ([], Some(roles)) => roles.iter().map(|role| Some(*role)).collect(),
            ([], None) => vec![None],
            (roles, _) => roles.iter().map(|role| Some(role.as_str())).collect(),
        }
    };
    let mut order: Vec<Option<&str>> = Vec::new();
    let mut counts: BTreeMap<Option<&str>, RoleCount<'_>> = BTreeMap::new();
    // A node without the requested service does not belong to this overview.
    for result in results.iter().filter(|result| result.outcome != Outcome::NotConfigured) {
        let health = TargetHealth::of(result);
        for role in roles_of(result) {
            if !order.contains(&role) {
                order.push(role);
            }
            counts.entry(role).or_default().take(result, health);
        }
    }
    order.sort_by_key(|role| known.place(*role));
    order.into_iter().filter_map(|role| Some(counts.get(&role)?.summary(role))).collect()
}
