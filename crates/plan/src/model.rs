//! The plan as data: its steps, its caps, and what follows from them.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::action::{Action, ServiceVerb};
use super::amount::NodeAmount;
use super::batch::{DownBudget, next_batch};
use super::index::{IndexVec, StepIndex, TaskIndex};
use super::input::CommandInput;
use super::sequence::{ItemPlace, ItemWork, Sequence, SequenceItem};
use super::targets::TargetFilter;
use super::task::{Task, Work};
use ctl_event::{RunScope, TargetResult, Via};
use ctl_inventory::Role;
use ctl_select::{SelectedNode, ServicePattern};

/// Everything that a run does.
#[derive(Debug, Clone)]
pub struct Plan {
    /// The tasks, in the order in which they run.
    pub tasks: IndexVec<TaskIndex, Task>,
    /// The way to the supervisords that the user chose; none leaves it to each node.
    pub via: Option<Via>,
    /// The nodes that any task selects, in the order of the inventory, with all roles that any task means there;
    /// behind them the nodes that are only watched, since they count towards a cap, and those that only items of other
    /// nodes run on.
    pub nodes: Vec<SelectedNode>,
    /// The number of selected nodes in `nodes`.
    pub selected: usize,
    /// The steps of all tasks, in the order in which they run.
    pub steps: IndexVec<StepIndex, PlanStep>,
    /// How many nodes of a role a task may take down.
    pub caps: Vec<RoleCap>,
    /// Selected nodes with nothing left to do.
    pub idle: BTreeSet<usize>,
    /// Every role of the inventory: a node may turn out to have others than its own.
    pub known_roles: Vec<Arc<Role>>,
}

/// A task on the nodes of one role.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PlanStep {
    /// Its task.
    pub task: TaskIndex,
    /// Its role; none where all of a node's roles are visited at once.
    pub role: Option<String>,
    /// Indexes into the plan's nodes, in the order of the inventory.
    pub nodes: Vec<usize>,
}

/// A cap of a task.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RoleCap {
    /// Its task.
    pub task: TaskIndex,
    /// The role.
    pub role: String,
    /// The cap as the user or the inventory states it.
    pub amount: NodeAmount,
    /// How many nodes may be down.
    pub limit: usize,
    /// All nodes of the role, or only the selected ones of an unexpected cap: indexes into the plan's nodes.
    pub members: Vec<usize>,
    /// Whether the task may touch the role, as far as the inventory knows. An unexpected cap counts only a node whose
    /// supervisords turn out to run a service of the task in this role.
    pub expected: bool,
}

impl Plan {
    /// Whether any task changes a node.
    #[must_use]
    pub fn changes(&self) -> bool {
        self.tasks.iter().any(|task| task.work.changes())
    }

    /// The task of a plan that does nothing on node `index` but run one command without input, all nodes at once: what
    /// the run has of the node may end with the command.
    #[must_use]
    pub fn sole_command(&self, index: usize) -> Option<(&Task, &str)> {
        let ([task], [step]) = (self.tasks.as_slice(), self.steps.as_slice()) else { return None };
        let Work::Exec { command, input: None } = &task.work else { return None };
        (!task.batched && step.nodes.contains(&index)).then_some((task, command.as_str()))
    }

    /// The action of the first task, which is the run's on a command line.
    #[must_use]
    pub fn action(&self) -> Option<Action> {
        self.tasks.first().map(|task| task.work.action())
    }

    /// Whether it stays on every node until a signal stops it.
    #[must_use]
    pub fn follows(&self) -> bool {
        self.tasks.iter().any(|task| task.work.tail().is_some_and(|tail| tail.follow))
    }

    /// Whether any task stops services for a moment to start them again.
    #[must_use]
    pub fn restarts(&self) -> bool {
        let stops = |verb| matches!(verb, ServiceVerb::Restart | ServiceVerb::Update);
        self.tasks.iter().any(|task| task.work.verbs().any(stops))
    }

    /// The standard input of its commands, if they have one.
    #[must_use]
    pub fn input(&self) -> Option<&CommandInput> {
        self.tasks.iter().find_map(|task| if let Work::Exec { input, .. } = &task.work { input.as_ref() } else { None })
    }

    /// Gives every command this standard input.
    pub fn set_input(&mut self, new: &CommandInput) {
        for task in &mut self.tasks {
            if let Work::Exec { input, .. } = &mut task.work {
                *input = Some(new.clone());
            }
        }
    }

    /// The task of a step.
    #[must_use]
    pub fn task_of(&self, step: StepIndex) -> Option<&Task> {
        self.tasks.get(self.steps.get(step)?.task)
    }

    /// The roles of node `index` in a step of `role`.
    #[must_use]
    pub fn roles_in(&self, index: usize, role: Option<&str>) -> Vec<Arc<Role>> {
        let Some(node) = self.nodes.get(index) else { return Vec::new() };
        node.roles.iter().filter(|own| role.is_none_or(|role| own.name == role)).cloned().collect()
    }

    /// The services of all tasks.
    pub fn services(&self) -> impl Iterator<Item = &ServicePattern> {
        self.tasks.iter().flat_map(|task| task.work.services())
    }

    /// Whether any task covers every service.
    #[must_use]
    pub fn means_all_services(&self) -> bool {
        self.tasks.iter().any(|task| task.work.means_all_services())
    }

    /// The node that an item in the sequence of node `index` runs on; of one on the controller, the node itself, whose
    /// worker does it. None if the plan does not have it.
    #[must_use]
    pub fn place_of(&self, item: &SequenceItem, index: usize) -> Option<usize> {
        match item.place.helper() {
            // Helpers come last.
            Some(name) => self.nodes.iter().rposition(|selected| selected.node.name == name),
            None => Some(index),
        }
    }

    /// The nodes that items of other nodes run on.
    #[must_use]
    pub fn helpers(&self) -> BTreeSet<usize> {
        let items = self.tasks.iter().filter_map(|task| task.work.sequence()).flat_map(Sequence::items);
        let items = items.filter(|item| item.place.helper().is_some());
        items.filter_map(|item| self.place_of(item, 0)).collect()
    }

    /// Whether node `index` is in the plan for the items of other nodes alone: nothing is done for itself, nor does it
    /// count towards a cap.
    #[must_use]
    pub fn only_helps(&self, index: usize) -> bool {
        let counts = || self.caps.iter().any(|cap| cap.members.contains(&index));
        !self.is_selected(index) && !counts() && self.helpers().contains(&index)
    }

    /// Whether node `index` itself is needed. It is not where all that is left of its sequences is to take back what they did
    /// elsewhere: on helpers, or on the controller.
    #[must_use]
    pub fn is_needed(&self, index: usize) -> bool {
        let Some(name) = self.nodes.get(index).map(|selected| selected.node.name.as_str()) else { return false };
        let is_left = |step: &PlanStep| {
            let Some(task) = self.tasks.get(step.task) else { return false };
            let (Some(sequence), Some(progress)) = (task.work.sequence(), task.progress.get(name)) else { return true };
            let is_here = |item: &usize| sequence.items().get(*item).is_some_and(|own| own.place == ItemPlace::Node);
            (0..sequence.items().len()).any(|item| !progress.done.contains(&item))
                || progress.undo_first.iter().chain(&progress.open).any(is_here)
        };
        // Only a later run has any progress to look at.
        let is_first = self.tasks.iter().all(|task| task.progress.is_empty());
        is_first || self.steps.iter().any(|step| step.nodes.contains(&index) && is_left(step))
    }

    /// Whether a task may change node `index`.
    #[must_use]
    pub fn is_selected(&self, index: usize) -> bool {
        index < self.selected && !self.idle.contains(&index)
    }

    /// Whether the inventory gives node `index` no role, so that no supervisord of it is known.
    #[must_use]
    pub fn has_no_role(&self, index: usize) -> bool {
        self.nodes.get(index).is_some_and(|selected| selected.node.roles.is_empty())
    }

    /// A plan that reads every service that this one means, on the same nodes, and changes nothing.
    #[must_use]
    pub fn reading(&self) -> Self {
        let all = self.means_all_services();
        let services = if all { Vec::new() } else { self.services().cloned().collect() };
        let updates = self.tasks.iter().filter(|task| task.work.verb() == Some(ServiceVerb::Update));
        let update_preview = updates.flat_map(|task| task.work.services()).cloned().collect();
        let is_known = |name: &str| {
            let tasks = self.tasks.iter().filter(|task| !task.may_be_new.contains(name));
            tasks.flat_map(|task| task.work.services()).any(|service| service.as_str() == name)
        };
        let new = self.tasks.iter().flat_map(|task| &task.may_be_new).filter(|name| !is_known(name));
        let may_be_new = new.cloned().collect();
        let nodes: Vec<usize> = (0..self.nodes.len()).collect();
        Self {
            tasks: vec![Task {
                may_be_new,
                ..Task::new(Work::Status { services, update_preview, deep: false }, false)
            }]
            .into(),
            via: self.via,
            nodes: self.nodes.clone(),
            selected: nodes.len(),
            steps: vec![PlanStep { task: TaskIndex::default(), role: None, nodes }].into(),
            caps: Vec::new(),
            idle: BTreeSet::new(),
            known_roles: self.known_roles.clone(),
        }
    }

    /// The part of a read-only plan for node `index`.
    #[must_use]
    pub fn of_node(&self, index: usize) -> Self {
        // A name that this node lacks may exist on the other nodes, so it must not count as a mistake here.
        let task = |task: &Task| Task { targets: TargetFilter::Except(BTreeMap::new()), ..task.clone() };
        let steps = self.steps.iter().filter(|step| step.nodes.contains(&index));
        Self {
            tasks: self.tasks.iter().map(task).collect(),
            via: self.via,
            nodes: self.nodes.get(index).cloned().into_iter().collect(),
            selected: 1,
            steps: steps.map(|step| PlanStep { nodes: vec![0], ..step.clone() }).collect(),
            caps: Vec::new(),
            idle: BTreeSet::new(),
            known_roles: self.known_roles.clone(),
        }
    }

    /// A plan that reads what `ctl status` shows of node `index`, for all roles that this one means there.
    #[must_use]
    pub fn reading_of(&self, index: usize) -> Self {
        Self {
            tasks: vec![Task::new(Work::deep_status(Vec::new()), false)].into(),
            via: self.via,
            nodes: self.nodes.get(index).cloned().into_iter().collect(),
            selected: 1,
            steps: vec![PlanStep { task: TaskIndex::default(), role: None, nodes: vec![0] }].into(),
            caps: Vec::new(),
            idle: BTreeSet::new(),
            known_roles: self.known_roles.clone(),
        }
    }

    /// The nodes of a task for which the snapshot of its gate has no result in the roles that the run means there: the
    /// gate cannot compare them.
    #[must_use]
    pub fn nodes_not_in_snapshot(&self, task: TaskIndex) -> Vec<&str> {
        let Some(snapshot) = self.tasks.get(task).and_then(|task| task.snapshot.as_ref()) else { return Vec::new() };
        let mut known: BTreeMap<&str, Vec<&TargetResult>> = BTreeMap::new();
        for result in &snapshot.results {
            known.entry(&result.node).or_default().push(result);
        }
        let is_known = |index: usize, name: &str| {
            let scope = self.scope_of(index);
            known.get(name).is_some_and(|rows| rows.iter().any(|row| scope.concerns(row.role.as_deref())))
        };
        let indices = self.steps.iter().filter(|step| step.task == task).flat_map(|step| step.nodes.iter().copied());
        let names = indices.filter_map(|index| Some((index, self.nodes.get(index)?.node.name.as_str())));
        let nodes_not_in_snapshot = names.filter(|(index, name)| !is_known(*index, name)).map(|(_, name)| name);
        nodes_not_in_snapshot.collect::<BTreeSet<_>>().into_iter().collect()
    }

    /// The part of node `index` that the run means: all of its roles that are in any step.
    #[must_use]
    pub fn scope_of(&self, index: usize) -> RunScope {
        let roles = self.roles_in(index, None).iter().map(|role| role.name.clone()).collect();
        let nodes = self.nodes.get(index).map(|selected| selected.node.name.clone());
        RunScope { roles, nodes, exclude: None }
    }

    /// Recomputes `idle` after nodes were removed from steps: a node in no step is no longer changed, though it may
    /// still count towards a cap.
    pub fn recompute_idle(&mut self) {
        let busy: BTreeSet<usize> = self.steps.iter().flat_map(|step| step.nodes.iter().copied()).collect();
        self.idle = (0..self.selected).filter(|node| !busy.contains(node)).collect();
    }

    /// Sets `batched` of each task, as far as it is known before any node is read: with a node that is down, a cap may
    /// make more batches.
    pub fn find_batched(&mut self) {
        let batched: Vec<bool> = self.tasks.indexes().map(|task| self.is_batched(task)).collect();
        for (task, batched) in self.tasks.iter_mut().zip(batched) {
            task.batched = batched;
        }
    }

    /// Sets the names that a command or an update of an earlier task may bring.
    pub(super) fn find_new_names(&mut self) {
        let mut after_change = false;
        for task in &mut self.tasks {
            if after_change {
                task.may_be_new = task.work.services().iter().map(|service| service.as_str().to_owned()).collect();
            }
            if let Work::Sequence(sequence) = &task.work {
                let (names, changed) = new_names_within(sequence, after_change);
                task.may_be_new = names;
                after_change = changed;
            }
            after_change |= matches!(task.work, Work::Exec { .. } | Work::Service { verb: ServiceVerb::Update, .. });
        }
    }

    fn is_batched(&self, index: TaskIndex) -> bool {
        let Some(task) = self.tasks.get(index).filter(|task| task.work.changes()) else { return false };
        let budgets = self.budgets(index);
        let rests = |node: &&usize| self.nodes.get(**node).is_some_and(|own| own.node.maintenance.is_some());
        let steps = self.steps.iter().filter(|step| step.task == index);
        let steps = steps.map(|step| -> (usize, Vec<usize>) {
            (step.nodes.len(), step.nodes.iter().filter(|node| !rests(node)).copied().collect())
        });
        let mut active_steps = 0;
        for (of, nodes) in steps.filter(|(_, nodes)| !nodes.is_empty()) {
            active_steps += 1;
            if next_batch(&nodes, task.policy.batch_size(0, of), &budgets).len() < nodes.len() {
                return true;
            }
        }
        task.policy.asks_for_gate() || (task.policy.serial.is_some() && active_steps > 1)
    }

    /// The budgets of a task, without down nodes.
    #[must_use]
    pub fn budgets(&self, task: TaskIndex) -> Vec<DownBudget> {
        let of_task = self.caps.iter().filter(|cap| cap.task == task);
        of_task
            .map(|cap| DownBudget {
                role: cap.role.clone(),
                limit: cap.limit,
                members: cap.members.iter().copied().collect(),
                down: BTreeSet::new(),
                untouched: if cap.expected { BTreeSet::new() } else { cap.members.iter().copied().collect() },
            })
            .collect()
    }
}

/// The names of a sequence's services that an earlier item may bring, and whether its items may bring new ones to the
/// tasks after it. `after_change`: an earlier task may have brought any.
fn new_names_within(sequence: &Sequence, mut after_change: bool) -> (BTreeSet<String>, bool) {
    let mut names = BTreeSet::new();
    for item in sequence.items() {
        after_change |=
            matches!(item.work, ItemWork::Exec { .. } | ItemWork::Service { verb: ServiceVerb::Update, .. });
        if after_change {
            names.extend(item.work.services().iter().map(|service| service.as_str().to_owned()));
        }
    }
    (names, after_change)
}
