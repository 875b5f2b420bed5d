//! Groups changes for people: the same change on several nodes appears once, under their folded node set.
//!
//! Invariants: every change is in exactly one line; lines keep the order of the changes.

use std::collections::BTreeMap;

use nodeset::NodeSet;

use super::change::{ChangeKind, ChangeVerdict, NodeChange, SnapshotDiff};

/// Above this number of merely different services, only the count appears.
const MOST_NAMES: usize = 3;

/// The same change on one or more nodes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ChangeLine {
    /// The meaning of the change.
    pub verdict: ChangeVerdict,
    /// The services or the supervisord; none for whole nodes. Untrusted text: sinks make it safe.
    pub what: Option<String>,
    /// The nodes.
    pub nodes: NodeSet,
    /// The change in one line. Untrusted text: sinks make it safe.
    pub text: String,
}

/// Changes with the same key share a line.
type ChangeKey<'a> = (ChangeVerdict, Option<&'a str>, Option<&'a str>, Option<&'a str>, ChangeKind, String);

/// One change on several nodes.
struct ChangeGroup<'a> {
    first: &'a NodeChange,
    nodes: Vec<&'a str>,
    /// Whether all of them have the same text.
    alike: bool,
}

impl ChangeLine {
    /// The line of a single change.
    #[must_use]
    pub fn of(change: &NodeChange) -> Self {
        Self {
            verdict: change.verdict,
            what: change.service.clone().or_else(|| change.supervisor.clone()),
            nodes: NodeSet::from_names([&change.node]),
            text: text(change),
        }
    }
}

impl SnapshotDiff {
    /// The changes, grouped.
    #[must_use]
    pub fn lines(&self) -> Vec<ChangeLine> {
        let mut order: Vec<ChangeKey<'_>> = Vec::new();
        let mut groups: BTreeMap<ChangeKey<'_>, ChangeGroup<'_>> = BTreeMap::new();
        for change in &self.changes {
            let role = change.role.as_deref();
            let (supervisor, service) = (change.supervisor.as_deref(), change.service.as_deref());
            let key: ChangeKey<'_> = (change.verdict, role, supervisor, service, change.kind, head(change));
            let group = groups.entry(key.clone()).or_insert_with(|| {
                order.push(key);
                ChangeGroup { first: change, nodes: Vec::new(), alike: true }
            });
            group.nodes.push(&change.node);
            group.alike &= text(group.first) == text(change);
        }
        let mut lines: Vec<(Option<&str>, Vec<&str>, ChangeLine)> = Vec::new();
        for key in order {
            let Some(group) = groups.remove(&key) else { continue };
            let (verdict, role, supervisor, service, _, head) = key;
            let text = if group.alike { text(group.first) } else { head };
            let nodes = NodeSet::from_names(group.nodes);
            let line = ChangeLine { verdict, what: supervisor.map(str::to_owned), nodes, text };
            let same = |other: &&mut (Option<&str>, Vec<&str>, ChangeLine)| {
                let (own, services, known) = &**other;
                let is_service = service.is_some() && !services.is_empty();
                is_service
                    && *own == role
                    && (known.verdict, &known.nodes, &known.text) == (line.verdict, &line.nodes, &line.text)
            };
            match (lines.iter_mut().find(same), service) {
                (Some((_, services, _)), Some(service)) => services.push(service),
                (_, service) => lines.push((role, service.into_iter().collect(), line)),
            }
        }
        lines.into_iter().map(|(role, services, line)| named(role, &services, line)).collect()
    }
}

/// A line with its subject.
fn named(role: Option<&str>, services: &[&str], line: ChangeLine) -> ChangeLine {
    let is_minor = line.verdict != ChangeVerdict::Worse && services.len() > MOST_NAMES;
    let what = match (role, services) {
        (_, []) => line.what,
        (Some(role), _) if is_minor => Some(format!("{} services of {role}", services.len())),
        _ => Some(services.join(", ")),
    };
    ChangeLine { what, ..line }
}

/// A change as one line.
fn text(change: &NodeChange) -> String {
    let (before, after) = (change.before.as_deref().unwrap_or("-"), change.after.as_deref().unwrap_or("-"));
    match (change.kind, &change.before, &change.after) {
        (ChangeKind::Came, ..) => format!("new ({after})"),
        (ChangeKind::Went, ..) => format!("gone (was {before})"),
        (ChangeKind::Restarted, ..) => "restarted".to_owned(),
        (ChangeKind::Version, ..) => format!("version {before} → {after}"),
        (ChangeKind::Finding, None, _) => format!("new: {after}"),
        (ChangeKind::Finding, _, None) => format!("gone: {before}"),
        (ChangeKind::State | ChangeKind::Finding, ..) => format!("{before} → {after}"),
    }
}

/// The same line without the paths in a finding, which differ from node to node.
fn head(change: &NodeChange) -> String {
    let short = |told: &Option<String>| {
        told.as_deref().map(|told| told.split_once(": ").map_or(told, |(head, _)| head).to_owned())
    };
    match change.kind {
        ChangeKind::Finding => {
            text(&NodeChange { before: short(&change.before), after: short(&change.after), ..change.clone() })
        }
        ChangeKind::State | ChangeKind::Came | ChangeKind::Went | ChangeKind::Restarted | ChangeKind::Version => {
            text(change)
        }
    }
}

/// `worse: contrail-collector on a6s[03,07]: active → initializing (Database connection down)`.
impl std::fmt::Display for ChangeLine {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}: ", self.verdict.as_str())?;
        if let Some(what) = &self.what {
            write!(f, "{what} on ")?;
        }
        write!(f, "{}: {}", self.nodes, self.text)
    }
}
