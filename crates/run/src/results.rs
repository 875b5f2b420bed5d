//! Builds the results of a node: each names node, role, supervisord and service, and the end of the work on it.
//!
//! Pure: no I/O and no decisions here.

use std::sync::Arc;

use super::engine::message::{ItemVisit, NodeBatch};
use super::engine::sequence::ItemPart;
use super::node::connection::LiveInstance;
use super::verdict::{ActionVerdict, InitVerdict};
use ctl_event::{CommandRun, Failure, FailureKind, ItemLabel, Outcome, ProcessState, Stage, TargetResult, Via};
use ctl_inventory::{Role, Supervisor};
use ctl_plan::{Action, ItemWork, Plan, Sequence, StepIndex, Task, Work};
use ctl_select::ServicePattern;
use ctl_supervisor::ProcessInfo;
use ctl_transport::Transport;

/// The name of node `index`.
pub(super) fn node_name(plan: &Plan, index: usize) -> String {
    plan.nodes.get(index).map(|selected| selected.node.name.clone()).unwrap_or_default()
}

/// A result of a node alone. The role is that of the step, or the only one that is meant.
pub(super) fn of_node(
    plan: &Plan,
    step: StepIndex,
    batch: Option<u32>,
    index: usize,
    outcome: Outcome,
) -> TargetResult {
    let selected = plan.nodes.get(index);
    let mut result = TargetResult::new(node_name(plan, index), outcome);
    result.address = selected.map(|selected| selected.node.address.clone());
    result.batch = batch;
    let only = selected.filter(|selected| selected.roles.len() == 1).and_then(|selected| selected.roles.first());
    let role = plan.steps.get(step).and_then(|step| step.role.clone());
    result.role = role.or_else(|| only.map(|role| role.name.clone()));
    let is_exec = plan.task_of(step).is_some_and(|task| matches!(task.work, Work::Exec { .. }));
    result.command = is_exec.then_some(CommandRun::NOT_STARTED);
    result
}

/// The label of an item in its sequence.
pub(super) fn item_label(sequence: &Sequence, visit: ItemVisit) -> Option<ItemLabel> {
    let own = sequence.items().get(visit.item)?;
    let (item, on) = (own.name.clone(), own.place.helper().map(str::to_owned));
    let (undo, item_number) = (visit.part == ItemPart::Undo, u32::try_from(visit.item + 1).unwrap_or(u32::MAX));
    Some(ItemLabel { undo, item_number, item, on })
}

/// A result of an item of a node's sequence.
pub(super) fn of_item(plan: &Plan, own: ItemVisit, outcome: Outcome) -> TargetResult {
    let ItemVisit { visit, item, part, .. } = own;
    let mut result = of_node(plan, visit.step, Some(visit.batch), visit.node, outcome);
    let sequence = plan.task_of(visit.step).and_then(|task| task.work.sequence());
    result.item = sequence.and_then(|sequence| item_label(sequence, own));
    let work = sequence.and_then(|sequence| sequence.items().get(item)).map(|item| &item.work);
    let is_command = part == ItemPart::Run && matches!(work, Some(ItemWork::Exec { .. }));
    result.command = is_command.then_some(CommandRun::NOT_STARTED);
    result
}

/// One result for each service of a step as it was typed; one for a whole sequence.
pub(super) fn as_requested(
    plan: &Plan,
    step: StepIndex,
    batch: Option<u32>,
    index: usize,
    outcome: Outcome,
) -> Vec<TargetResult> {
    let task = plan.task_of(step).filter(|task| task.work.sequence().is_none());
    let services = task.map(|task| task.work.services()).unwrap_or_default();
    let names: Vec<Option<String>> = if services.is_empty() {
        vec![None]
    } else {
        services.iter().map(|service| Some(service.as_str().to_owned())).collect()
    };
    names.into_iter().map(|service| TargetResult { service, ..of_node(plan, step, batch, index, outcome) }).collect()
}

/// Makes the results of one node.
#[derive(Clone)]
pub(super) struct ResultBuilder {
    pub(super) plan: Arc<Plan>,
    pub(super) index: usize,
}

/// The fix for a node without a role.
const ADD_ROLES: &str = "add `roles` to it in the inventory";

fn nowhere(service: &ServicePattern) -> String {
    format!("no supervisord on this node runs {}", service.as_str())
}

impl ResultBuilder {
    /// The task of a batch.
    pub(super) fn task(&self, node_batch: NodeBatch) -> Option<&Task> {
        self.plan.task_of(node_batch.step)
    }

    /// The services of a batch's task.
    pub(super) fn services(&self, node_batch: NodeBatch) -> &[ServicePattern] {
        self.task(node_batch).map(|task| task.work.services()).unwrap_or_default()
    }

    /// The action of a batch.
    pub(super) fn action(&self, node_batch: NodeBatch) -> Action {
        self.task(node_batch).map_or(Action::Status, |task| task.work.action())
    }

    fn explicit(&self, node_batch: NodeBatch) -> bool {
        self.task(node_batch).is_some_and(|task| task.explicit)
    }

    /// One result for each service as it was typed.
    pub(super) fn as_requested(&self, node_batch: NodeBatch, outcome: Outcome, failure: &Failure) -> Vec<TargetResult> {
        let mut results = as_requested(&self.plan, node_batch.step, Some(node_batch.batch), self.index, outcome);
        for result in &mut results {
            result.failure = Some(failure.clone());
        }
        results
    }

    /// Of a service that was named by hand and that none of the supervisords lists (`known` are the names that they
    /// list).
    pub(super) fn no_such_service(
        &self,
        node_batch: NodeBatch,
        service: &ServicePattern,
        known: &[String],
    ) -> TargetResult {
        let near = known
            .iter()
            .map(|name| (strsim::damerau_levenshtein(service.as_str(), name), name))
            .filter(|(distance, name)| *distance <= name.len() / 3)
            .min();
        let (message, hint) = match near {
            // Of a node without a role nothing is read, so nothing is known that could be listed.
            _ if self.plan.has_no_role(self.index) => (
                "this node has no role in the inventory, so no supervisord is queried".to_owned(),
                ADD_ROLES.to_owned(),
            ),
            Some((_, name)) => (nowhere(service), format!("did you mean {name}?")),
            None => (nowhere(service), "`ctl status --all -w {node}` lists what its supervisords run".to_owned()),
        };
        let mut result = self.empty(node_batch, Outcome::Failed);
        result.service = Some(service.as_str().to_owned());
        result.failure = Some(Failure::new(Stage::Inspect, FailureKind::NoSuchService, message).with_hint(hint));
        result
    }

    /// Of a supervisord that does not answer: one for each service that it may run.
    pub(super) fn not_reached(
        &self,
        node_batch: NodeBatch,
        role: &Arc<Role>,
        supervisor: &Supervisor,
        failure: &Failure,
    ) -> Vec<TargetResult> {
        let services = self.services(node_batch);
        let outcome = if failure.kind == FailureKind::TimedOut { Outcome::TimedOut } else { Outcome::Failed };
        let with = |service: Option<String>| TargetResult {
            role: Some(role.name.clone()),
            supervisor: Some(supervisor.name.clone()),
            service,
            failure: Some(failure.clone()),
            ..self.empty(node_batch, outcome)
        };
        let meant: Vec<&ServicePattern> =
            services.iter().filter(|service| !service.matches_instance(&supervisor.name)).collect();
        // Without names the instance as a whole is meant.
        if services.is_empty() {
            return vec![with(Some(supervisor.name.clone()))];
        }
        // Another instance of the role may be the one that runs it.
        let other = |service: &ServicePattern| {
            let known =
                |supervisor: &Supervisor| supervisor.services.iter().any(|name| service.matches_process(name, name));
            !known(supervisor) && role.supervisors.iter().any(known)
        };
        meant
            .into_iter()
            .filter(|service| !other(service))
            .map(|service| with(Some(service.as_str().to_owned())))
            .collect()
    }

    /// Of a supervisord that answers.
    pub(super) fn ping<T: Transport>(&self, node_batch: NodeBatch, instance: &LiveInstance<T>) -> TargetResult {
        let mut result = self.of(node_batch, instance, Outcome::Ok);
        result.state = Some(ProcessState::Running);
        result.pid = instance.snapshot.pid;
        let version = &instance.snapshot.version;
        let count = instance.snapshot.processes.len();
        let noun = if count == 1 { "process" } else { "processes" };
        let version = if version.is_empty() { String::new() } else { format!("supervisor {version} ") };
        result.message = format!("{version}at {}, {count} {noun}", instance.place());
        result
    }

    /// Of a process that was only read.
    pub(super) fn read<T: Transport>(
        &self,
        node_batch: NodeBatch,
        instance: &LiveInstance<T>,
        process: &ProcessInfo,
    ) -> TargetResult {
        let mut result = self.of_process(node_batch, instance, process, Outcome::Ok);
        // The description of a RUNNING process only repeats its pid and uptime.
        if process.state != ProcessState::Running {
            result.message.clone_from(&process.description);
        }
        result.duration_ms = Some(0);
        result
    }

    /// Of a process that was acted on.
    pub(super) fn acted_on<T: Transport>(
        &self,
        node_batch: NodeBatch,
        instance: &LiveInstance<T>,
        listed: &ProcessInfo,
        verdict: ActionVerdict,
    ) -> TargetResult {
        let process = verdict.process.as_ref().unwrap_or(listed);
        let mut result = self.of_process(node_batch, instance, process, verdict.outcome);
        // The process could not be read, so the state from the list must not pass for the present one.
        if verdict.process.is_none() {
            (result.state, result.pid, result.uptime_s) = (None, None, None);
        }
        result.message = verdict.message;
        result.failure = verdict.failure;
        result
    }

    /// Of a group whose configuration was reread.
    pub(super) fn updated<T: Transport>(
        &self,
        node_batch: NodeBatch,
        instance: &LiveInstance<T>,
        group: String,
        verdict: ActionVerdict,
    ) -> TargetResult {
        let mut result = self.of(node_batch, instance, verdict.outcome);
        result.service = Some(group);
        if let Some(process) = &verdict.process {
            result.state = Some(process.state);
            result.pid = process.pid;
            result.uptime_s = process.uptime.map(|uptime| uptime.as_secs());
        }
        let has_ended = result.state == Some(ProcessState::Exited) && result.outcome == Outcome::Changed;
        result.message = verdict.message;
        result.failure = verdict.failure;
        if has_ended { result.ended_well() } else { result }
    }

    /// Of a service of an update that no supervisord of the role lists or has in its configuration.
    pub(super) fn not_in_any_configuration(&self, node_batch: NodeBatch, service: &ServicePattern) -> TargetResult {
        let message = "no supervisord lists it, and no configuration has it";
        let mut result = self.empty(node_batch, Outcome::NotConfigured);
        result.service = Some(service.as_str().to_owned());
        // Only a name that the user typed is a mistake; a glob or a plan may name more than a node has.
        if self.explicit(node_batch) && !service.is_glob() {
            result.outcome = Outcome::Failed;
            result.failure = Some(
                Failure::new(Stage::Inspect, FailureKind::NoSuchService, message)
                    .with_hint("`ctl status --all -w {node}` lists what its supervisords run"),
            );
        } else {
            message.clone_into(&mut result.message);
        }
        result
    }

    /// Of a service that init runs; none: init does not know it.
    pub(super) fn of_init(
        &self,
        node_batch: NodeBatch,
        role: &Role,
        service: &str,
        is_instance: bool,
        named: bool,
        verdict: Option<InitVerdict>,
    ) -> TargetResult {
        let mut result = self.empty(node_batch, Outcome::NotConfigured);
        result.role = Some(role.name.clone());
        result.service = Some(service.to_owned());
        result.supervisor = is_instance.then(|| service.to_owned());
        result.via = Some(Via::Service);
        let Some(verdict) = verdict else {
            result.message = "init does not know it".to_owned();
            // An instance belongs to its role, so its absence is a failure in any case.
            if is_instance || (named && self.explicit(node_batch)) {
                let (kind, what) = if is_instance {
                    (FailureKind::SupervisorMissing, "instance")
                } else {
                    (FailureKind::NoSuchService, "service")
                };
                let message = format!("init on this node has no {what} {service}");
                let hint = if is_instance {
                    "if the node has role {role}, set the name that init has for it in the inventory: `roles: {{role}: {supervisor: NAME}}`"
                } else {
                    "if init on the node has it under another name, set that in the inventory: `roles: {{role}: {init_services: [NAME]}}`"
                };
                result.outcome = Outcome::Failed;
                result.failure = Some(Failure::new(Stage::Inspect, kind, message).with_hint(hint));
                result.message = String::new();
            }
            return result;
        };
        result.outcome = verdict.outcome;
        result.state = verdict.state;
        result.pid = verdict.pid;
        result.message = verdict.message;
        result.failure = verdict.failure;
        result
    }

    /// Of a process that was not touched because its sibling did not come up.
    pub(super) fn sibling_skipped<T: Transport>(
        &self,
        node_batch: NodeBatch,
        instance: &LiveInstance<T>,
        process: &ProcessInfo,
        first: &str,
    ) -> TargetResult {
        let message = format!("not touched, because {first} did not come up");
        let failure = Failure::new(Stage::Act, FailureKind::Gate, message).with_hint(format!("fix {first} first"));
        TargetResult { failure: Some(failure), ..self.of_process(node_batch, instance, process, Outcome::NotStarted) }
    }

    /// Of a process.
    pub(super) fn of_process<T: Transport>(
        &self,
        node_batch: NodeBatch,
        instance: &LiveInstance<T>,
        process: &ProcessInfo,
        outcome: Outcome,
    ) -> TargetResult {
        let mut result = self.of(node_batch, instance, outcome);
        result.service = Some(process.full_name());
        result.state = Some(process.state);
        result.pid = process.pid;
        result.uptime_s = process.uptime.map(|uptime| uptime.as_secs());
        result
    }

    /// Of an instance.
    pub(super) fn of<T: Transport>(
        &self,
        node_batch: NodeBatch,
        instance: &LiveInstance<T>,
        outcome: Outcome,
    ) -> TargetResult {
        TargetResult {
            role: Some(instance.role.name.clone()),
            supervisor: Some(instance.supervisor.name.clone()),
            via: Some(instance.via()),
            ..self.empty(node_batch, outcome)
        }
    }

    /// Of the node alone.
    pub(super) fn empty(&self, node_batch: NodeBatch, outcome: Outcome) -> TargetResult {
        of_node(&self.plan, node_batch.step, Some(node_batch.batch), self.index, outcome)
    }

    /// The role of the step that a batch belongs to.
    pub(super) fn role_of(&self, node_batch: NodeBatch) -> Option<&str> {
        self.plan.steps.get(node_batch.step).and_then(|step| step.role.as_deref())
    }
}
