//! A whole status folded: a line a role, and what is not well, worst first.

use std::collections::{BTreeMap, BTreeSet};

use super::health::{Health, reason};
use crate::event::{FindingKind, NodeFacts, Outcome, TargetResult};
use crate::nodeset::NodeSet;

/// A status at a glance.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Overview {
    /// The roles, in the order in which they first appear; what has no role comes last.
    pub roles: Vec<RoleSummary>,
    /// What is not well, worst first.
    pub troubles: Vec<Trouble>,
}

/// How a role is.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct RoleSummary {
    /// The role; none for results without one.
    pub role: Option<String>,
    /// Its nodes.
    pub nodes: usize,
    /// Those on which everything of the role is well.
    pub nodes_well: usize,
    /// Its services, counted on each node.
    pub services: usize,
    /// Those that are well.
    pub services_well: usize,
    /// What is not well, worst first: how many targets.
    pub wrong: BTreeMap<std::cmp::Reverse<Health>, usize>,
}

/// The same thing that is wrong on one or more nodes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Trouble {
    /// How bad it is; none for a finding, which is worth a look and stops nothing.
    pub health: Option<Health>,
    /// What: a service, a supervisord instance, or `node`.
    pub what: String,
    /// The role, where it is one's.
    pub role: Option<String>,
    /// Where.
    pub nodes: NodeSet,
    /// Why: one line. Untrusted text: sinks make it safe.
    pub reason: String,
}

impl Overview {
    /// Folds the results and facts of a status. `results` are one round's: each target once.
    #[must_use]
    pub fn of(results: &[TargetResult], facts: &[NodeFacts]) -> Self {
        let mut troubles = of_results(results);
        troubles.extend(of_findings(facts));
        // Stable: what is equally bad stays in the order of the nodes.
        troubles.sort_by_key(|trouble| std::cmp::Reverse(trouble.health));
        Self { roles: roles(results), troubles }
    }
}

/// The unit of [`Trouble`]: what, role, health, reason.
type TroubleKey = (String, Option<String>, Option<Health>, String);

fn gathered(found: impl Iterator<Item = (TroubleKey, String)>) -> Vec<Trouble> {
    let mut order: Vec<TroubleKey> = Vec::new();
    let mut nodes: BTreeMap<TroubleKey, Vec<String>> = BTreeMap::new();
    for (key, node) in found {
        if !nodes.contains_key(&key) {
            order.push(key.clone());
        }
        nodes.entry(key).or_default().push(node);
    }
    order
        .into_iter()
        .map(|key| {
            let nodes = NodeSet::from_names(nodes.get(&key).into_iter().flatten());
            let (what, role, health, reason) = key;
            Trouble { health, what, role, nodes, reason }
        })
        .collect()
}

fn of_results(results: &[TargetResult]) -> Vec<Trouble> {
    gathered(results.iter().filter(|result| Health::of(result) != Health::Well).map(|result| {
        let what = match (result.outcome, &result.service, &result.supervisor) {
            (Outcome::Unreachable, ..) => "node".to_owned(),
            (_, Some(name), _) | (_, None, Some(name)) => name.clone(),
            (_, None, None) => "node".to_owned(),
        };
        let key = (what, result.role.clone(), Some(Health::of(result)), reason(result));
        (key, result.node.clone())
    }))
}

fn of_findings(facts: &[NodeFacts]) -> Vec<Trouble> {
    let findings = facts.iter().flat_map(|facts| facts.findings.iter().map(move |finding| (facts, finding)));
    gathered(findings.map(|(facts, finding)| {
        let what = match finding.kind {
            FindingKind::CoreFiles => "core files",
            FindingKind::StaleSocket => "stale socket",
            FindingKind::UnlistedRole => "unlisted role",
            FindingKind::NoIntrospect | FindingKind::NotSearched => "node",
        };
        ((what.to_owned(), finding.role.clone(), None, finding.message.clone()), facts.node.clone())
    }))
}

fn roles(results: &[TargetResult]) -> Vec<RoleSummary> {
    let mut names: Vec<&Option<String>> = Vec::new();
    for result in results {
        if !names.contains(&&result.role) {
            names.push(&result.role);
        }
    }
    names.sort_by_key(|name| name.is_none());
    names.into_iter().map(|name| summary(name, results.iter().filter(|result| result.role == *name))).collect()
}

fn summary<'a>(role: &Option<String>, results: impl Iterator<Item = &'a TargetResult>) -> RoleSummary {
    let mut summary = RoleSummary { role: role.clone(), ..RoleSummary::default() };
    let (mut nodes, mut unwell) = (BTreeSet::new(), BTreeSet::new());
    for result in results {
        let health = Health::of(result);
        nodes.insert(&result.node);
        if health != Health::Well {
            unwell.insert(&result.node);
            *summary.wrong.entry(std::cmp::Reverse(health)).or_insert(0) += 1;
        }
        if result.state.is_some() {
            summary.services += 1;
            summary.services_well += usize::from(health == Health::Well);
        }
    }
    summary.nodes = nodes.len();
    summary.nodes_well = nodes.len() - unwell.len();
    summary
}
