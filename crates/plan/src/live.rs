//! The state of the nodes before a plan is executed: for `--dry-run=live`.
//!
//! Pure: the results of a read-only run fill [`LiveState`], which is shown with the plan. Invariants: an unread node
//! never appears as ready.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;

use nodeset::NodeSet;
use serde::Serialize;

use super::Plan;
use ctl_event::{Failure, FailureKind, Outcome, PendingUpdate, ProcessState, TargetResult};

/// Roles that are down on a node, `(role, node)` each.
pub type DownServices = BTreeSet<(String, String)>;

/// The state of the nodes of a plan.
#[derive(Debug, Clone, Default)]
pub struct LiveState {
    /// The roles that are down on each node.
    pub down: DownServices,
    /// Nodes that could not be reached or read, with the failure.
    pub unreachable: BTreeMap<String, Failure>,
    /// Nodes that were not read because a signal ended the run.
    pub unread: BTreeSet<String>,
    /// Service names that no selected node has.
    pub mistakes: BTreeMap<String, Failure>,
    /// The services and supervisords that are down.
    pub(super) targets: Vec<DownTarget>,
    /// The changes that an update would make.
    pub(super) updates: Vec<PendingUpdate>,
}

/// A service or a supervisord that is down.
#[derive(Debug, Clone, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema), schemars(rename = "DownService"))]
pub(super) struct DownTarget {
    node: String,
    role: Option<String>,
    supervisor: Option<String>,
    service: Option<String>,
    state: Option<ProcessState>,
    failure: Option<Failure>,
}

/// State of the nodes now, from `--dry-run=live`.
#[derive(Debug, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema), schemars(rename = "LivePlan"))]
pub struct LiveView {
    unreachable: Vec<NodeFailure>,
    not_read: Vec<String>,
    down: Vec<DownTarget>,
    updates: Vec<PendingUpdate>,
    no_such_service: Vec<PlanMistake>,
}

/// A node that could not be reached or read.
#[derive(Debug, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema), schemars(rename = "UnreachableNode"))]
struct NodeFailure {
    node: String,
    #[serde(flatten)]
    failure: Failure,
}

/// A service name that no selected node has.
#[derive(Debug, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema), schemars(rename = "UnknownService"))]
struct PlanMistake {
    service: String,
    #[serde(flatten)]
    failure: Failure,
}

impl LiveState {
    /// Adds one result of the read-only run.
    pub fn result(&mut self, plan: &Plan, result: &TargetResult) {
        let kind = result.failure.as_ref().map(|failure| failure.kind);
        let named = plan.nodes.iter().enumerate().find(|(_, selected)| selected.node.name == result.node);
        let Some((index, roles)) = named else { return };
        // Of a node that only helps, no service is meant.
        if plan.only_helps(index) && !matches!(result.outcome, Outcome::Unreachable | Outcome::NotStarted) {
            return;
        }
        match (result.outcome, &result.failure) {
            // A node in maintenance takes no part in the plan.
            (Outcome::Skipped, _) => return,
            (Outcome::NotStarted, _) => {
                self.unread.insert(result.node.clone());
            }
            (Outcome::Failed, Some(failure)) if kind == Some(FailureKind::NoSuchService) => {
                let name = result.service.clone().unwrap_or_default();
                // Every node reports the same mistake: one is enough.
                self.mistakes.entry(name).or_insert_with(|| failure.clone());
                return;
            }
            // A failure of the node as a whole: a result of one supervisord has its name, and one of a service that init
            // runs has its `via`.
            (Outcome::Unreachable | Outcome::TimedOut | Outcome::Failed, Some(failure))
                if result.outcome == Outcome::Unreachable
                    || result.supervisor.is_none() && result.state.is_none() && result.via.is_none() =>
            {
                // Each of its services reports the same failure: one is enough.
                self.unreachable.entry(result.node.clone()).or_insert_with(|| failure.clone());
            }
            _ if result.is_down() => self.targets.push(DownTarget {
                node: result.node.clone(),
                role: result.role.clone(),
                supervisor: result.supervisor.clone(),
                service: result.service.clone(),
                state: result.state,
                failure: result.failure.clone(),
            }),
            _ => return,
        }
        let own = roles.roles.iter().map(|role| &role.name).filter(|role| {
            // A failure of the node concerns all its roles.
            result.role.as_ref().is_none_or(|own| own == *role) || result.outcome == Outcome::Unreachable
        });
        self.down.extend(own.map(|role| (role.clone(), result.node.clone())));
    }

    /// Takes in the changes that an update would make.
    pub fn update(&mut self, pending: PendingUpdate) {
        self.updates.push(pending);
    }

    /// Whether the node is ready for work.
    #[must_use]
    pub fn can_be_done(&self, node: &str) -> bool {
        !self.unreachable.contains_key(node) && !self.unread.contains(node)
    }

    /// The state as data.
    #[must_use]
    pub fn view(&self) -> LiveView {
        let mut down = self.targets.clone();
        // The results arrive in any order.
        down.sort_by(|a, b| (&a.node, &a.role, &a.service).cmp(&(&b.node, &b.role, &b.service)));
        let mut updates = self.updates.clone();
        updates.sort_by(|a, b| (&a.node, &a.supervisor).cmp(&(&b.node, &b.supervisor)));
        let node = |(node, failure): (&String, &Failure)| NodeFailure { node: node.clone(), failure: failure.clone() };
        let mistake =
            |(name, failure): (&String, &Failure)| PlanMistake { service: name.clone(), failure: failure.clone() };
        LiveView {
            unreachable: self.unreachable.iter().map(node).collect(),
            not_read: self.unread.iter().cloned().collect(),
            down,
            updates,
            no_such_service: self.mistakes.iter().map(mistake).collect(),
        }
    }

    /// The same as text; nodes with the same line are folded.
    pub(super) fn text(&self, text: &mut String) -> std::fmt::Result {
        for failure in self.mistakes.values() {
            let hint = failure.hint.as_deref().map(|hint| format!("; {hint}")).unwrap_or_default();
            writeln!(text, "{}{hint}", failure.message)?;
        }
        let failed = self.unreachable.iter();
        let failed = failed.map(|(node, failure)| (format!("{}: {}", failure.kind, failure.message), node.clone()));
        folded(text, "cannot be reached", failed)?;
        folded(text, "not read", self.unread.iter().map(|node| ("interrupted".to_owned(), node.clone())))?;
        let down = self.targets.iter().map(|target| (target.text(), target.node.clone()));
        folded(text, "down now", down)?;
        let pending = self.updates.iter().map(|update| (pending_text(update), update.node.clone()));
        folded(text, "an update now", pending)
    }
}

impl DownTarget {
    fn text(&self) -> String {
        let name = self.service.as_deref().or(self.supervisor.as_deref()).unwrap_or("it");
        match (self.state, &self.failure) {
            (Some(state), _) => format!("{name} is {state}"),
            (None, Some(failure)) => format!("{name}: {}: {}", failure.kind, failure.message),
            (None, None) => format!("{name} is not running"),
        }
    }
}

fn pending_text(update: &PendingUpdate) -> String {
    if let Some(failure) = &update.failure {
        return format!("{}: {}: {}", update.supervisor, failure.kind, failure.message);
    }
    let lists = [("adds", &update.added), ("restarts", &update.changed), ("removes", &update.removed)];
    let lists = lists.iter().filter(|(_, groups)| !groups.is_empty());
    let changes: Vec<String> = lists.map(|(verb, groups)| format!("{verb} {}", groups.join(", "))).collect();
    let changes = if changes.is_empty() { "changes nothing".to_owned() } else { changes.join("; ") };
    format!("{}: {changes}", update.supervisor)
}

/// A text of a node on one line. The sinks make its control characters visible.
fn one_line(text: &str) -> String {
    text.split(['\r', '\n']).map(str::trim).filter(|part| !part.is_empty()).collect::<Vec<_>>().join(" ")
}

/// One line for each different text, with its nodes.
fn folded(text: &mut String, head: &str, texts: impl Iterator<Item = (String, String)>) -> std::fmt::Result {
    let mut nodes: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for (what, node) in texts {
        nodes.entry(what).or_default().push(node);
    }
    for (what, nodes) in nodes {
        let set = NodeSet::from_names(nodes.iter().map(String::as_str));
        writeln!(text, "{head}: {set} ({})", one_line(&what))?;
    }
    Ok(())
}
