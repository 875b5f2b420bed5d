//! The plan of a run, as plain data: its tasks, their nodes, and the order.
//!
//! Here live [`Plan`], [`Task`], [`PlanStep`] and [`plan`], which creates a plan; `amount.rs` and `policy.rs` hold the
//! settings of batches, limits and gates, `batch.rs` selects the next nodes, `explain.rs` prints the plan, `input.rs`
//! holds the standard input of a command, `stopped.rs` tracks services that the run itself has stopped, `rollout.rs`
//! reads the file with several tasks. Pure; it uses `select` and `inventory`, and only the type of `snapshot`.
//! Invariants: the steps of a task name every node that it selects, each role's nodes in one step, steps in the order
//! of the roles.

pub mod amount;
pub mod batch;
pub mod explain;
mod input;
pub mod live;
pub mod options;
pub mod policy;
pub mod rollout;
mod stopped;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use self::amount::{CapPolicy, NodeAmount};
use self::batch::DownBudget;
pub use self::input::CommandInput;
use self::policy::Policy;
pub use self::stopped::StoppedTarget;
use crate::event::{LogStream, RunScope, TargetResult, TargetState, Via};
use crate::inventory::{Inventory, ROLE_ORDER, Role};
use crate::select::{SelectedNode, Selection, ServicePattern};
use crate::snapshot::Snapshot;

/// An action on a service, or on a node.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action {
    /// Start it.
    Start,
    /// Stop it.
    Stop,
    /// Restart it.
    Restart,
    /// Read its state.
    Status,
    /// Reread the configuration, then add, remove and restart what changed.
    Update,
    /// Check whether its node and its supervisord answer.
    Ping,
    /// Run a command on the node.
    Exec,
    /// Wait until a service reaches a condition.
    Wait,
    /// Show a service's log.
    Logs,
}

/// The part of a log to show.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LogTail {
    /// The log.
    pub stream: LogStream,
    /// The number of lines at its end.
    pub lines: usize,
    /// Whether to follow new output, without an end.
    pub follow: bool,
}

/// The goal of `wait`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WaitGoal {
    /// The condition of every service.
    pub condition: WaitCondition,
    /// For how long it must hold, with the same pid.
    pub stable: Duration,
    /// How long to wait.
    pub limit: Duration,
}

/// A condition of a service.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WaitCondition {
    /// RUNNING.
    Running,
    /// RUNNING, and functionally active if it reports that.
    Active,
    /// Not running.
    Stopped,
}

impl WaitCondition {
    /// The name in output.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Running => "running",
            Self::Active => "active",
            Self::Stopped => "stopped",
        }
    }
}

impl Action {
    /// The name in output.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Start => "start",
            Self::Stop => "stop",
            Self::Restart => "restart",
            Self::Status => "status",
            Self::Update => "update",
            Self::Ping => "ping",
            Self::Exec => "exec",
            Self::Wait => "wait",
            Self::Logs => "logs",
        }
    }

    /// Whether it changes a node.
    #[must_use]
    pub const fn changes(self) -> bool {
        match self {
            Self::Start | Self::Stop | Self::Restart | Self::Update | Self::Exec => true,
            Self::Status | Self::Ping | Self::Wait | Self::Logs => false,
        }
    }

    /// Whether it proceeds role by role: a change of services does, a command runs once on each node.
    const fn goes_by_role(self) -> bool {
        match self {
            Self::Start | Self::Stop | Self::Restart | Self::Update => true,
            Self::Status | Self::Ping | Self::Exec | Self::Wait | Self::Logs => false,
        }
    }

    /// Whether it can take down a service that is up.
    const fn takes_down(self) -> bool {
        match self {
            Self::Stop | Self::Restart | Self::Update | Self::Exec => true,
            Self::Start | Self::Status | Self::Ping | Self::Wait | Self::Logs => false,
        }
    }
}

/// One action and its targets: a command line is one task, a rollout has several.
#[derive(Debug, Clone)]
pub struct Task {
    /// Its name in the rollout.
    pub name: Option<String>,
    /// The action.
    pub action: Action,
    /// The services; empty means all.
    pub services: Vec<ServicePattern>,
    /// The command of [`Action::Exec`], for the login shell.
    pub command: Option<String>,
    /// Its standard input; none is empty input.
    pub input: Option<CommandInput>,
    /// The goal of [`Action::Wait`].
    pub until: Option<WaitGoal>,
    /// The part of the log for [`Action::Logs`].
    pub tail: Option<LogTail>,
    /// Time limit of the action on one node; none means the node's own.
    pub timeout: Option<Duration>,
    /// Whether the user named the nodes or roles, so that a node without the service is a failure.
    pub explicit: bool,
    /// Whether it has more than one batch, or a gate that the user asked for. [`plan`] determines this; a resumed run
    /// keeps it, however few nodes are left.
    pub batched: bool,
    /// Whether to read functional states and search nodes for other problems: `ctl status`.
    pub in_depth: bool,
    /// Services whose pending update is shown but not applied.
    pub looks_ahead: Vec<ServicePattern>,
    /// Names of services that an earlier task may add: before that, no node needs to have them.
    pub may_be_new: BTreeSet<String>,
    /// Batches, limits and gates.
    pub policy: Policy,
    /// The content of [`Policy::gate_snapshot`]. The creator of the task reads the file.
    pub snapshot: Option<Arc<Snapshot>>,
    /// Whether later tasks run even if the failure limit, a cap or a gate stopped this one.
    pub continue_on_failure: bool,
    /// The targets to act on.
    pub targets: TargetFilter,
    /// The state of a node's targets before an earlier controller started on it, by node name: a target that differs
    /// from it was acted on.
    pub begun: BTreeMap<String, Vec<TargetState>>,
}

/// The targets to act on, by node name; `(role, service)` each.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum TargetFilter {
    /// All.
    #[default]
    All,
    /// Only these.
    Only(BTreeMap<String, BTreeSet<TargetName>>),
    /// All but these, which are done.
    Except(BTreeMap<String, BTreeSet<TargetName>>),
}

/// The role and the service of a target, on a known node.
pub type TargetName = (Option<String>, Option<String>);

impl TargetFilter {
    /// Whether the filter includes a target.
    #[must_use]
    pub fn contains(&self, node: &str, role: Option<&str>, service: Option<&str>) -> bool {
        let name = (role.map(str::to_owned), service.map(str::to_owned));
        let listed =
            |targets: &BTreeMap<String, BTreeSet<TargetName>>| targets.get(node).is_some_and(|own| own.contains(&name));
        match self {
            Self::All => true,
            Self::Only(targets) => listed(targets),
            Self::Except(targets) => !listed(targets),
        }
    }
}

impl Task {
    /// A task with the default policy.
    #[must_use]
    pub fn new(action: Action, services: Vec<ServicePattern>, explicit: bool) -> Self {
        Self {
            name: None,
            action,
            services,
            command: None,
            input: None,
            until: None,
            tail: None,
            timeout: None,
            explicit,
            batched: false,
            in_depth: false,
            looks_ahead: Vec::new(),
            may_be_new: BTreeSet::new(),
            policy: Policy::default(),
            snapshot: None,
            continue_on_failure: false,
            targets: TargetFilter::All,
            begun: BTreeMap::new(),
        }
    }
}

/// The whole plan of a run.
#[derive(Debug, Clone)]
pub struct Plan {
    /// The tasks, in order.
    pub tasks: Vec<Task>,
    /// The backend that the user asked for; none leaves the choice to each node.
    pub via: Option<Via>,
    /// The nodes of all tasks, in the order of the inventory, with all of their roles in any task; after them, nodes
    /// that are only watched because they count towards a cap.
    pub nodes: Vec<SelectedNode>,
    /// The number of selected nodes in `nodes`.
    pub selected: usize,
    /// In order.
    pub steps: Vec<PlanStep>,
    /// The caps of each task's roles.
    pub caps: Vec<RoleCap>,
    /// Selected nodes with nothing left to do.
    pub idle: BTreeSet<usize>,
    /// Every role of the inventory: a node may turn out to have others than its own.
    pub known_roles: Vec<Arc<Role>>,
}

/// A task on the nodes of one role.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PlanStep {
    /// Index of the task.
    pub task: usize,
    /// Its role; none if it visits all roles of a node at once.
    pub role: Option<String>,
    /// Indexes into the plan's nodes, in the order of the inventory.
    pub nodes: Vec<usize>,
}

/// A cap of a task.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RoleCap {
    /// Index of the task.
    pub task: usize,
    /// The role.
    pub role: String,
    /// As given.
    pub amount: NodeAmount,
    /// The number of nodes that may be down.
    pub limit: usize,
    /// All nodes of the role: indexes into the plan's nodes.
    pub members: Vec<usize>,
}

impl Plan {
    /// Whether any task changes a node.
    #[must_use]
    pub fn changes(&self) -> bool {
        self.tasks.iter().any(|task| task.action.changes())
    }

    /// The action of the first task, which is the run's on a command line.
    #[must_use]
    pub fn action(&self) -> Option<Action> {
        self.tasks.first().map(|task| task.action)
    }

    /// Whether it stays on every node until it is stopped.
    #[must_use]
    pub fn follows(&self) -> bool {
        self.tasks.iter().any(|task| task.tail.is_some_and(|tail| tail.follow))
    }

    /// The task of a step.
    #[must_use]
    pub fn task_of(&self, step: usize) -> Option<&Task> {
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
        self.tasks.iter().flat_map(|task| &task.services)
    }

    /// Whether any task covers every service.
    #[must_use]
    pub fn means_all_services(&self) -> bool {
        self.tasks.iter().any(|task| task.services.is_empty() && task.action != Action::Exec)
    }

    /// Whether a task may change node `index`.
    #[must_use]
    pub fn is_selected(&self, index: usize) -> bool {
        index < self.selected && !self.idle.contains(&index)
    }

    /// A plan that reads all targets of this one on the same nodes, and changes nothing.
    #[must_use]
    pub fn reading(&self) -> Self {
        let all = self.means_all_services();
        let services = if all { Vec::new() } else { self.services().cloned().collect() };
        let updates = self.tasks.iter().filter(|task| task.action == Action::Update);
        let looks_ahead = updates.flat_map(|task| task.services.clone()).collect();
        let is_known = |name: &str| {
            let tasks = self.tasks.iter().filter(|task| !task.may_be_new.contains(name));
            tasks.flat_map(|task| &task.services).any(|service| service.as_str() == name)
        };
        let new = self.tasks.iter().flat_map(|task| &task.may_be_new).filter(|name| !is_known(name));
        let may_be_new = new.cloned().collect();
        let nodes: Vec<usize> = (0..self.nodes.len()).collect();
        Self {
            tasks: vec![Task { looks_ahead, may_be_new, ..Task::new(Action::Status, services, false) }],
            via: self.via,
            nodes: self.nodes.clone(),
            selected: nodes.len(),
            steps: vec![PlanStep { task: 0, role: None, nodes }],
            caps: Vec::new(),
            idle: BTreeSet::new(),
            known_roles: self.known_roles.clone(),
        }
    }

    /// The part of a read-only plan for node `index`.
    #[must_use]
    pub fn of_node(&self, index: usize) -> Self {
        // The absence of a name on this node says nothing about the others.
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

    /// A plan that reads everything on node `index`, including functional states, in all of its selected roles, and
    /// changes nothing.
    #[must_use]
    pub fn reading_of(&self, index: usize) -> Self {
        Self {
            tasks: vec![Task { in_depth: true, ..Task::new(Action::Status, Vec::new(), false) }],
            via: self.via,
            nodes: self.nodes.get(index).cloned().into_iter().collect(),
            selected: 1,
            steps: vec![PlanStep { task: 0, role: None, nodes: vec![0] }],
            caps: Vec::new(),
            idle: BTreeSet::new(),
            known_roles: self.known_roles.clone(),
        }
    }

    /// The nodes of a task that its gate's snapshot does not cover in their selected roles: there is nothing to compare
    /// with.
    #[must_use]
    pub fn nodes_not_in_snapshot(&self, task: usize) -> Vec<&str> {
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

    /// The scope of node `index`: its roles in all steps.
    #[must_use]
    pub fn scope_of(&self, index: usize) -> RunScope {
        let roles = self.roles_in(index, None).iter().map(|role| role.name.clone()).collect();
        let nodes = self.nodes.get(index).map(|selected| selected.node.name.clone());
        RunScope { roles, nodes, exclude: None }
    }

    /// Updates the idle nodes after nodes were removed from steps: a node in no step is not changed any more, but may
    /// still count towards a cap.
    pub fn recompute_idle(&mut self) {
        self.idle =
            (0..self.selected).filter(|node| !self.steps.iter().any(|step| step.nodes.contains(node))).collect();
    }

    /// Determines which tasks are batched, as far as this is known without the nodes: a down node may make a cap split
    /// further.
    pub fn find_batched(&mut self) {
        let batched: Vec<bool> = (0..self.tasks.len()).map(|task| self.is_batched(task)).collect();
        for (task, batched) in self.tasks.iter_mut().zip(batched) {
            task.batched = batched;
        }
    }

    /// Determines which names a command or an update of an earlier task may add.
    fn find_new_names(&mut self) {
        let mut after_change = false;
        for task in &mut self.tasks {
            if after_change {
                task.may_be_new = task.services.iter().map(|service| service.as_str().to_owned()).collect();
            }
            // After the assignment: the names that a task adds are new only for later tasks.
            after_change |= matches!(task.action, Action::Exec | Action::Update);
        }
    }

    fn is_batched(&self, index: usize) -> bool {
        let Some(task) = self.tasks.get(index).filter(|task| task.action.changes()) else { return false };
        let budgets = self.budgets(index);
        let rests = |node: &&usize| self.nodes.get(**node).is_some_and(|own| own.node.maintenance.is_some());
        let steps = self.steps.iter().filter(|step| step.task == index);
        let steps = steps.map(|step| -> (usize, Vec<usize>) {
            (step.nodes.len(), step.nodes.iter().filter(|node| !rests(node)).copied().collect())
        });
        let mut at_work = 0;
        for (of, nodes) in steps.filter(|(_, nodes)| !nodes.is_empty()) {
            at_work += 1;
            // If the first batch does not take the whole step, there is a second one.
            if batch::next_batch(&nodes, task.policy.batch_size(0, of), &budgets).len() < nodes.len() {
                return true;
            }
        }
        // With `--serial`, several steps are several batches even if each fits into one.
        task.policy.asks_for_gate() || (task.policy.serial.is_some() && at_work > 1)
    }

    /// The budgets of a task, without down nodes.
    #[must_use]
    pub fn budgets(&self, task: usize) -> Vec<DownBudget> {
        let of_task = self.caps.iter().filter(|cap| cap.task == task);
        of_task
            .map(|cap| DownBudget {
                role: cap.role.clone(),
                limit: cap.limit,
                members: cap.members.iter().copied().collect(),
                down: BTreeSet::new(),
            })
            .collect()
    }
}

/// The request for a task, with its selection.
#[derive(Debug, Clone)]
pub struct TaskSpec {
    /// The task.
    pub task: Task,
    /// Its nodes.
    pub nodes: Vec<SelectedNode>,
}

impl TaskSpec {
    /// A task as typed.
    #[must_use]
    pub fn new(action: Action, selection: Selection) -> Self {
        Self { task: Task::new(action, selection.services, selection.explicit), nodes: selection.nodes }
    }
}

/// The plan for the requested tasks, one after the other. Reads and commands are one step over all nodes; a change of
/// services proceeds role by role, in the order of a Contrail upgrade, so that dependencies are up again first.
#[must_use]
pub fn plan(wanted: Vec<TaskSpec>, inventory: &Inventory, via: Option<Via>) -> Plan {
    let mut nodes: Vec<SelectedNode> = Vec::new();
    // Several tasks may select one node with different roles: keep it once, with all of them.
    for own in wanted.iter().flat_map(|wanted| &wanted.nodes) {
        match nodes.iter_mut().find(|known| known.node.name == own.node.name) {
            Some(known) => {
                let new = own.roles.iter().filter(|role| !known.roles.iter().any(|other| other.name == role.name));
                let new: Vec<_> = new.cloned().collect();
                known.roles.extend(new);
                known.roles.sort_by_key(|role| place(&role.name));
            }
            None => nodes.push(own.clone()),
        }
    }
    let order: BTreeMap<&str, usize> =
        inventory.nodes.iter().enumerate().map(|(place, node)| (node.name.as_str(), place)).collect();
    nodes.sort_by_key(|selected| order.get(selected.node.name.as_str()).copied());
    let mut plan = Plan {
        tasks: Vec::new(),
        via,
        selected: nodes.len(),
        nodes,
        steps: Vec::new(),
        caps: Vec::new(),
        idle: BTreeSet::new(),
        known_roles: inventory.roles.values().cloned().collect(),
    };
    for (index, TaskSpec { task, nodes }) in wanted.into_iter().enumerate() {
        let names: BTreeMap<&str, &SelectedNode> =
            nodes.iter().map(|selected| (selected.node.name.as_str(), selected)).collect();
        // Only the selected nodes: `cap` appends watched ones, which no step may visit.
        let meant: Vec<(usize, &SelectedNode)> = (0..plan.selected)
            .filter_map(|index| Some((index, *names.get(plan.nodes.get(index)?.node.name.as_str())?)))
            .collect();
        plan.steps.extend(steps(index, &task, &meant));
        cap(&mut plan, index, &task, &meant, inventory);
        plan.tasks.push(task);
    }
    plan.find_batched();
    plan.find_new_names();
    plan
}

/// The rank of a role in the order of the steps.
fn place(role: &str) -> usize {
    ROLE_ORDER.iter().position(|name| *name == role).unwrap_or(ROLE_ORDER.len())
}

fn steps(index: usize, task: &Task, meant: &[(usize, &SelectedNode)]) -> Vec<PlanStep> {
    let step = |role: Option<&str>, nodes: Vec<usize>| PlanStep { task: index, role: role.map(str::to_owned), nodes };
    if !task.action.goes_by_role() {
        return vec![step(None, meant.iter().map(|(index, _)| *index).collect())];
    }
    let mut roles: Vec<&str> = ROLE_ORDER.to_vec();
    for role in meant.iter().flat_map(|(_, node)| &node.roles) {
        if !roles.contains(&role.name.as_str()) {
            roles.push(&role.name);
        }
    }
    let with = |role: &str| -> Vec<usize> {
        let has = |node: &SelectedNode| node.roles.iter().any(|own| own.name == role);
        meant.iter().filter(|(_, node)| has(node)).map(|(index, _)| *index).collect()
    };
    let mut steps: Vec<PlanStep> = roles.into_iter().map(|role| step(Some(role), with(role))).collect();
    // A node without a role still gets its step, after all roles.
    steps.push(step(None, meant.iter().filter(|(_, node)| node.roles.is_empty()).map(|(index, _)| *index).collect()));
    steps.retain(|step| !step.nodes.is_empty());
    steps
}

/// Records the caps of a task, and watches all nodes of the capped roles.
fn cap(plan: &mut Plan, task_index: usize, task: &Task, meant: &[(usize, &SelectedNode)], inventory: &Inventory) {
    if !task.action.takes_down() || task.policy.caps == CapPolicy::Off {
        return;
    }
    let mut roles: Vec<&Arc<Role>> = Vec::new();
    for role in meant.iter().flat_map(|(_, node)| &node.roles) {
        if !roles.iter().any(|known| known.name == role.name) {
            roles.push(role);
        }
    }
    roles.sort_by_key(|role| place(&role.name));
    for role in roles {
        let amount = match (task.policy.caps, role.max_unavailable) {
            (CapPolicy::Each(amount), _) => amount,
            // A command need not take a service down, so only a cap given for this run applies to it.
            (CapPolicy::Inventory, Some(cap)) if task.action != Action::Exec => cap.into(),
            (CapPolicy::Inventory | CapPolicy::Off, _) => continue,
        };
        // All nodes of the role count, not just the selected ones: those outside the selection can be down too.
        let with = inventory.nodes.iter().filter(|node| node.roles.contains(&role.name));
        let mut members = Vec::new();
        for node in with {
            let known = plan.nodes.iter().position(|known| known.node.name == node.name);
            let index = known.unwrap_or_else(|| {
                plan.nodes.push(SelectedNode { node: Arc::clone(node), roles: Vec::new() });
                plan.nodes.len() - 1
            });
            // Only watched nodes gain a role here. A selected one must not: a step would act on it.
            if let Some(watched) = plan.nodes.get_mut(index)
                && !watched.roles.iter().any(|own| own.name == role.name)
                && index >= plan.selected
            {
                watched.roles.push(Arc::clone(role));
            }
            members.push(index);
        }
        let limit = amount.of(members.len());
        plan.caps.push(RoleCap { task: task_index, role: role.name.clone(), amount, limit, members });
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use proptest::prelude::*;

    use super::*;
    use crate::inventory::{InventorySsh, Node};
    use crate::select::SelectedNode;

    const CHANGES: [Action; 4] = [Action::Start, Action::Stop, Action::Restart, Action::Update];
    const QUESTIONS: [Action; 2] = [Action::Status, Action::Ping];

    fn role(name: &str) -> Arc<Role> {
        Arc::new(Role {
            name: name.to_owned(),
            supervisors: Vec::new(),
            init_services: Vec::new(),
            max_unavailable: None,
            introspect: std::collections::BTreeMap::new(),
            oneshot: Vec::new(),
        })
    }

    /// One node for each list of roles.
    fn inventory(nodes: &[&[&str]]) -> Inventory {
        let node = |(index, roles): (usize, &&[&str])| {
            Arc::new(Node {
                name: format!("n{index:02}"),
                address: format!("10.0.0.{index}"),
                roles: roles.iter().map(|role| (*role).to_owned()).collect(),
                ssh: InventorySsh::default(),
                sudo: false,
                via: None,
                timeout: None,
                maintenance: None,
            })
        };
        Inventory {
            path: "inventory.yaml".into(),
            nodes: nodes.iter().enumerate().map(node).collect(),
            roles: nodes.iter().copied().flatten().map(|name| ((*name).to_owned(), role(name))).collect(),
            groups: BTreeMap::new(),
        }
    }

    /// These nodes, with all their roles.
    fn wanted(inventory: &Inventory, action: Action, nodes: &[usize]) -> TaskSpec {
        let select = |index: &usize| {
            let node = Arc::clone(&inventory.nodes[*index]);
            let roles = node.roles.iter().map(|name| Arc::clone(&inventory.roles[name])).collect();
            SelectedNode { node, roles }
        };
        TaskSpec { task: Task::new(action, Vec::new(), false), nodes: nodes.iter().map(select).collect() }
    }

    fn plan_all(nodes: &[&[&str]], action: Action, via: Option<Via>) -> Plan {
        let inventory = inventory(nodes);
        let all: Vec<usize> = (0..nodes.len()).collect();
        plan(vec![wanted(&inventory, action, &all)], &inventory, via)
    }

    fn steps(plan: &Plan) -> Vec<String> {
        plan.steps.iter().map(|step| format!("{}: {:?}", step.role.as_deref().unwrap_or("-"), step.nodes)).collect()
    }

    #[test]
    fn a_change_goes_role_by_role() {
        let nodes: [&[&str]; 7] = [
            &["compute"],
            &["analytics", "config"],
            &["database"],
            &["billing"],
            &["web-ui", "control"],
            &["config"],
            &[],
        ];
        for action in CHANGES {
            let plan = plan_all(&nodes, action, None);
            assert_eq!(
                steps(&plan),
                [
                    "database: [2]",
                    "config: [1, 5]",
                    "analytics: [1]",
                    "control: [4]",
                    "web-ui: [4]",
                    "compute: [0]",
                    "billing: [3]",
                    "-: [6]"
                ]
            );
            let of = |index, role| plan.roles_in(index, role).iter().map(|role| role.name.clone()).collect::<Vec<_>>();
            assert_eq!((of(1, Some("config")), of(1, None)), (words("config"), words("analytics config")));
            assert_eq!((of(1, Some("compute")), of(6, None), of(99, None)), (Vec::new(), Vec::new(), Vec::new()));
        }
    }

    fn words(text: &str) -> Vec<String> {
        text.split_whitespace().map(str::to_owned).collect()
    }

    #[test]
    fn a_question_goes_to_all_at_once() {
        let nodes: [&[&str]; 3] = [&["compute"], &["analytics", "config"], &["database"]];
        for action in QUESTIONS {
            let plan = plan_all(&nodes, action, Some(Via::Rpc));
            assert_eq!(steps(&plan), ["-: [0, 1, 2]"]);
            assert_eq!((plan.action(), plan.via), (Some(action), Some(Via::Rpc)));
        }
    }

    #[test]
    fn actions_have_their_words() {
        let words = ["start", "stop", "restart", "update"];
        assert_eq!(CHANGES.map(Action::as_str), words);
        assert!(CHANGES.into_iter().all(Action::changes) && !QUESTIONS.into_iter().any(Action::changes));
    }

    proptest! {
        /// Every role of every node is visited exactly once, steps are in the order of the roles, batches are counted.
        #[test]
        fn every_role_of_every_node_is_visited_once(
            nodes in prop::collection::vec(prop::sample::subsequence(
                vec!["database", "config", "analytics", "control", "web-ui", "compute", "billing", "mail"], 0..4), 1..20),
            change in 0_usize..4,
        ) {
            let slices: Vec<&[&str]> = nodes.iter().map(Vec::as_slice).collect();
            let plan = plan_all(&slices, CHANGES[change], None);
            let mut visits: Vec<(usize, String)> = Vec::new();
            for step in &plan.steps {
                prop_assert!(!step.nodes.is_empty() && step.nodes.is_sorted());
                for index in &step.nodes {
                    match &step.role {
                        Some(role) => visits.push((*index, role.clone())),
                        None => prop_assert!(nodes[*index].is_empty()),
                    }
                }
            }
            visits.sort();
            let mut expected: Vec<(usize, String)> = nodes.iter().enumerate()
                .flat_map(|(index, roles)| roles.iter().map(move |role| (index, (*role).to_owned())))
                .collect();
            expected.sort();
            prop_assert_eq!(visits, expected);
            let place = |role: &str| ROLE_ORDER.iter().position(|name| *name == role);
            let known: Vec<usize> = plan.steps.iter().filter_map(|step| place(step.role.as_deref()?)).collect();
            prop_assert!(known.is_sorted_by(|a, b| a < b));
        }
    }

    #[test]
    fn a_command_is_run_once_on_a_node() {
        let plan = plan_all(&[&["config", "database"], &["config"]], Action::Exec, None);
        assert_eq!(steps(&plan), ["-: [0, 1]"]);
    }

    #[test]
    fn a_capped_role_is_watched_whole() {
        let mut inventory = inventory(&[&["database"], &["database", "config"], &["config"], &["compute"]]);
        let capped =
            Role { max_unavailable: Some(crate::inventory::UnavailableCap::Nodes(1)), ..(*role("database")).clone() };
        inventory.roles.insert("database".to_owned(), Arc::new(capped));
        let of = |action, caps, nodes: &[usize]| {
            let mut wanted = wanted(&inventory, action, nodes);
            wanted.task.policy.caps = caps;
            let plan = plan(vec![wanted], &inventory, None);
            let caps: Vec<_> = plan.caps.iter().map(|cap| (cap.role.clone(), cap.limit, cap.members.clone())).collect();
            (plan.selected, plan.nodes.len(), caps)
        };
        let database = |members: &[usize]| vec![("database".to_owned(), 1, members.to_vec())];
        assert_eq!(of(Action::Restart, CapPolicy::Inventory, &[1]), (1, 2, database(&[1, 0])));
        assert_eq!(of(Action::Restart, CapPolicy::Inventory, &[2]), (1, 1, Vec::new()));
        assert_eq!(of(Action::Restart, CapPolicy::Off, &[1]), (1, 1, Vec::new()));
        assert_eq!(of(Action::Start, CapPolicy::Inventory, &[1]), (1, 1, Vec::new()), "a start takes nothing down");
        assert_eq!(of(Action::Exec, CapPolicy::Inventory, &[1]), (1, 1, Vec::new()));
        let each = CapPolicy::Each(NodeAmount::Nodes(1));
        assert_eq!(of(Action::Exec, each, &[0]), (1, 2, database(&[0, 1])));
    }

    #[test]
    fn a_rollout_has_the_steps_of_all_its_tasks() {
        let inventory = inventory(&[&["database"], &["config"], &["compute"]]);
        let tasks = vec![
            wanted(&inventory, Action::Stop, &[1]),
            wanted(&inventory, Action::Exec, &[0, 1]),
            wanted(&inventory, Action::Start, &[1, 0]),
        ];
        let plan = plan(tasks, &inventory, None);
        let steps: Vec<_> = plan.steps.iter().map(|step| (step.task, step.role.clone(), step.nodes.clone())).collect();
        let role = |name: &str| Some(name.to_owned());
        assert_eq!(
            steps,
            [
                (0, role("config"), vec![1]),
                (1, None, vec![0, 1]),
                (2, role("database"), vec![0]),
                (2, role("config"), vec![1])
            ]
        );
        assert_eq!(plan.selected, 2);
    }
}
