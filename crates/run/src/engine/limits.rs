//! How much of a run has failed and how much is down, against what its tasks allow.
//!
//! Here lives [`RunLimits`]: the failures of each task against its failure limit, and the nodes of each role that are down
//! against its cap. Pure. Invariants: a node counts once in a task, whatever failed on it; a lock that another run holds
//! is no failure; a task that was stopped stays stopped, for the same reason.

use std::collections::{BTreeMap, BTreeSet};

use crate::engine::message::{NodeBatch, NodeInspection};
use crate::results;
use ctl_event::{Failure, FailureKind, Outcome, Stage, TargetResult};
use ctl_plan::amount::FailureLimit;
use ctl_plan::batch::{BatchQueue, DownBudget};
use ctl_plan::{IndexVec, Plan, StepIndex, Task, TaskIndex};
use nodeset::NodeSet;

/// The limits of a run, and how much of them is used.
pub(crate) struct RunLimits<'a> {
    plan: &'a Plan,
    /// The nodes that are known to be down, for each task and each of its caps.
    budgets: IndexVec<TaskIndex, Vec<DownBudget>>,
    /// How many nodes each task has.
    nodes: IndexVec<TaskIndex, usize>,
    /// Nodes that failed and the kind of their first failure, for each task.
    failed: IndexVec<TaskIndex, BTreeMap<usize, FailureKind>>,
    /// Tasks of which a batch was cut out of more nodes by whatever was down, where the plan did not know it.
    cut: IndexVec<TaskIndex, bool>,
    /// Why a task was stopped.
    stopped: IndexVec<TaskIndex, Option<Failure>>,
}

impl<'a> RunLimits<'a> {
    /// Nothing has failed yet but what an earlier part of the run says.
    pub(crate) fn new(plan: &'a Plan) -> Self {
        let tasks = plan.tasks.len();
        let finished = |task| {
            let finished = plan.tasks.get(task).map(|task| &task.finished);
            let place = |name: &String| plan.nodes.iter().position(|selected| selected.node.name == *name);
            finished.into_iter().flatten().filter_map(move |(name, node)| Some((place(name)?, node.failed)))
        };
        let nodes_of = |task| {
            let steps = plan.steps.iter().filter(|step| step.task == task);
            // A node is in one step for each of its roles.
            let left = steps.flat_map(|step| step.nodes.iter().copied());
            left.chain(finished(task).map(|(node, _)| node)).collect::<BTreeSet<usize>>().len()
        };
        let failed_of = |task| finished(task).filter_map(|(node, failed)| Some((node, failed?))).collect();
        Self {
            plan,
            nodes: plan.tasks.indexes().map(nodes_of).collect(),
            budgets: plan.tasks.indexes().map(|task| plan.budgets(task)).collect(),
            failed: plan.tasks.indexes().map(failed_of).collect(),
            cut: vec![false; tasks].into(),
            stopped: vec![None; tasks].into(),
        }
    }

    /// The caps of a task.
    pub(crate) fn budgets(&self, task: TaskIndex) -> &[DownBudget] {
        self.budgets.get(task).map(Vec::as_slice).unwrap_or_default()
    }

    /// Notes that a task goes in more than one batch although the plan did not know it.
    pub(crate) fn note_cut(&mut self, task: TaskIndex) {
        if let Some(cut) = self.cut.get_mut(task) {
            *cut = true;
        }
    }

    /// Stops a task.
    pub(crate) fn stop(&mut self, task: TaskIndex, failure: Failure) {
        if let Some(stopped) = self.stopped.get_mut(task) {
            *stopped = Some(failure);
        }
    }

    /// Counts a node that failed: once, whatever failed on it. A lock that another run holds is no failure.
    pub(crate) fn count(&mut self, step: StepIndex, node: usize, result: &TargetResult) {
        let counts =
            matches!(result.outcome, Outcome::Failed | Outcome::Unreachable | Outcome::TimedOut | Outcome::Unknown);
        if counts
            && let Some(task) = self.plan.steps.get(step).map(|step| step.task)
            && let Some(failed) = self.failed.get_mut(task)
        {
            let kind = result.failure.as_ref().map_or(FailureKind::Protocol, |failure| failure.kind);
            // The first failure of a node counts; later ones mostly follow from it.
            failed.entry(node).or_insert(kind);
        }
    }

    /// Counts a node as down in every cap.
    pub(crate) fn mark_down(&mut self, node: usize) {
        for budget in self.budgets.iter_mut().flatten() {
            if budget.members.contains(&node) {
                budget.down.insert(node);
            }
        }
    }

    /// Notes which roles of a node are up, as it was read.
    pub(crate) fn note_inspected(&mut self, node: usize, inspection: &NodeInspection) {
        for (task, budgets) in self.plan.tasks.indexes().zip(&mut self.budgets) {
            for budget in budgets.iter_mut().filter(|budget| budget.members.contains(&node)) {
                let has =
                    |found: &[(TaskIndex, String)]| found.iter().any(|(of, role)| *of == task && *role == budget.role);
                if has(&inspection.untouched) {
                    budget.untouched.insert(node);
                } else {
                    // The inventory may not know that the role runs the service here.
                    budget.untouched.remove(&node);
                }
                if has(&inspection.down) {
                    budget.down.insert(node);
                } else {
                    // The node was read, so an older reading no longer counts.
                    budget.down.remove(&node);
                }
            }
        }
    }

    /// After a batch: whether the role of its step is up on the node.
    pub(crate) fn note_down(&mut self, node_batch: NodeBatch, is_down: bool) {
        let Some(step) = self.plan.steps.get(node_batch.step) else { return };
        // A step without a role acts on every role of the node.
        let own = |budget: &&mut DownBudget| step.role.as_deref().is_none_or(|role| role == budget.role);
        let Some(budgets) = self.budgets.get_mut(step.task) else { return };
        for budget in budgets.iter_mut().filter(own).filter(|budget| budget.members.contains(&node_batch.node)) {
            if is_down {
                budget.down.insert(node_batch.node);
            } else {
                budget.down.remove(&node_batch.node);
            }
        }
    }

    /// Whether a task goes in more than one batch.
    pub(crate) fn is_batched(&self, task: TaskIndex) -> bool {
        self.plan.tasks.get(task).is_some_and(|task| task.batched) || self.cut.get(task).copied().unwrap_or(false)
    }

    /// Whether more nodes of a task have failed than it allows.
    pub(crate) fn is_over_limit(&self, task: TaskIndex) -> bool {
        let batched = self.is_batched(task);
        let Some(limit) = self.plan.tasks.get(task).map(|task| task.policy.failure_limit(batched)) else {
            return false;
        };
        let nodes = self.nodes.get(task).copied().unwrap_or_default();
        limit.is_exceeded(self.failed.get(task).map_or(0, BTreeMap::len), nodes)
    }

    /// Why a stop on `selected` is refused: it would take more of a role down than its cap allows.
    pub(crate) fn refusal_of_stop(&self, task: TaskIndex, selected: &BTreeSet<usize>) -> Option<Failure> {
        let broken = self.budgets(task).iter().find(|budget| {
            // A node that is down already takes nothing more down, nor does one without a service to stop.
            let going = selected.iter().filter(|node| budget.counts(**node)).count();
            going > 0 && budget.down.len() + going > budget.limit
        })?;
        Some(self.spent(broken, "stopping them would leave more of the role down"))
    }

    /// The cap that makes a batch of waiting nodes smaller, in words.
    pub(crate) fn binding_cap(&self, task: TaskIndex, waiting: &BatchQueue) -> Option<String> {
        let mut budgets = self.budgets(task).iter().enumerate();
        let (_, budget) = budgets.find(|(index, _)| waiting.has_member_of(*index))?;
        let (limit, members, role) = (budget.limit, budget.members.len(), &budget.role);
        Some(format!("max_unavailable: at most {limit} of the {members} nodes of {role} may be down at once"))
    }

    /// The failure of nodes that wait while a cap is spent; none if no cap is.
    pub(crate) fn spent_cap(&self, task: TaskIndex, waiting: &BatchQueue) -> Option<Failure> {
        let mut budgets = self.budgets(task).iter().enumerate().filter(|(index, _)| waiting.has_member_of(*index));
        let (_, spent) = budgets.find(|(_, budget)| budget.down.len() >= budget.limit)?;
        Some(self.spent(spent, "no other node may go down"))
    }

    /// Why a task is stopped, if it is: its own limit, or an earlier task without `continue_on_failure`.
    pub(crate) fn stop_of(&mut self, index: TaskIndex, task: &Task, waiting: &BatchQueue) -> Option<Failure> {
        if self.stopped.get(index).is_some_and(Option::is_none) && self.is_over_limit(index) {
            let spent = self.spent_before_limit(index, task, waiting);
            let failure = spent.unwrap_or_else(|| self.limit_failure(index, task));
            // Kept, although more may fail or come up later: nodes that were refused must not be started after others.
            self.stop(index, failure);
        }
        // An earlier task that was stopped stops this one too, unless that task says otherwise.
        let earlier = self.plan.tasks.iter().zip(&self.stopped).take(index.into());
        let earlier = earlier.filter(|(task, _)| !task.continue_on_failure).find_map(|(_, stopped)| stopped.clone());
        earlier.or_else(|| self.stopped.get(index).cloned().flatten())
    }

    /// Where the cap alone has made the batches, a spent cap keeps the others from being started: to allow more
    /// failures would not help them.
    fn spent_before_limit(&self, index: TaskIndex, task: &Task, waiting: &BatchQueue) -> Option<Failure> {
        let policy = &task.policy;
        // With another limit or a gate, the cap alone did not make the batches.
        if policy.max_failures.is_some() || policy.serial.is_some() || policy.asks_for_gate() || waiting.is_empty() {
            return None;
        }
        if waiting.next(1, self.budgets(index)).is_empty() { self.spent_cap(index, waiting) } else { None }
    }

    /// Why no further batch of a task is started.
    fn limit_failure(&self, index: TaskIndex, task: &Task) -> Failure {
        let failed = self.failed.get(index).cloned().unwrap_or_default();
        let names: Vec<String> = failed.keys().map(|node| results::node_name(self.plan, *node)).collect();
        let set = NodeSet::from_names(names.iter().map(String::as_str));
        let limit = task.policy.failure_limit(self.is_batched(index));
        let noun = if failed.len() == 1 { "node" } else { "nodes" };
        let by_gate = failed.values().any(|kind| *kind == FailureKind::Gate);
        let kind = if by_gate { FailureKind::Gate } else { FailureKind::Limit };
        let message = match limit {
            FailureLimit::Nodes(0) | FailureLimit::Percent(0) => {
                format!("not started: {set} failed and no failures are allowed")
            }
            FailureLimit::Nodes(_) | FailureLimit::Percent(_) | FailureLimit::Unlimited => {
                format!("not started: {} {noun} failed ({set}), more than the limit of {limit}", failed.len())
            }
        };
        Failure::new(Stage::Plan, kind, message)
            .with_hint(format!("fix {set} first and resume the run, or allow more failures with --max-failures"))
    }

    /// The failure of work that a cap does not let start.
    fn spent(&self, budget: &DownBudget, why: &str) -> Failure {
        let down: Vec<String> = budget.down.iter().map(|node| results::node_name(self.plan, *node)).collect();
        let set = NodeSet::from_names(down.iter().map(String::as_str));
        let down = if down.is_empty() { "none is down now".to_owned() } else { format!("down now: {set}") };
        let message = format!(
            "at most {} of the {} nodes of {} may be down at once: {why} ({down})",
            budget.limit,
            budget.members.len(),
            budget.role
        );
        Failure::new(Stage::Plan, FailureKind::MaxUnavailable, message)
            .with_hint("fix the nodes that are down first, or allow more with --max-unavailable")
    }
}
