//! The remaining work of a run: to resume it, to retry its failures, or to start the services that it stopped.
//!
//! Pure: it reduces a plan by the record of a run. Invariants: a target recorded as successful is never acted on again;
//! a target that was in flight is inspected first; a command that was in flight never runs again.

use std::collections::{BTreeMap, BTreeSet};

use super::sequence::{NodeSequence, SequenceRest};
use ctl_event::{
    CommandRun, EventKind, Failure, FailureKind, ItemEvent, ItemScopes, ItemState, Outcome, ProcessState, RunEvent,
    Stage, TargetResult, TargetState,
};
use ctl_plan::policy::Policy;
use ctl_plan::{ItemWork, Plan, SequenceProgress, ServiceVerb, StepIndex, TargetFilter, TargetName, TaskIndex, Work};

/// The events of a run by step.
#[derive(Debug, Default)]
struct RunHistory {
    /// The results of each step and node.
    results: BTreeMap<(u32, String), Vec<TargetResult>>,
    /// Nodes that started and did not finish, with their earlier states.
    in_flight: BTreeMap<(u32, String), Vec<TargetState>>,
    /// How far each node came in the sequence of a step.
    sequences: BTreeMap<(u32, String), NodeSequence>,
    last_batch: u32,
    /// The scopes of all items.
    scopes: ItemScopes,
}

impl RunHistory {
    fn read(events: &[RunEvent]) -> Self {
        let mut history = Self::default();
        let mut steps: BTreeMap<u32, u32> = BTreeMap::new();
        let mut before: BTreeMap<String, Vec<TargetState>> = BTreeMap::new();
        for event in events {
            match &event.kind {
                EventKind::BatchStarted { batch, step, .. } => {
                    steps.insert(*batch, *step);
                    history.last_batch = history.last_batch.max(*batch);
                }
                EventKind::Inspected { node, targets } => {
                    // `Inspected` precedes `NodeStarted`, which knows the batch and thus the step.
                    before.insert(node.clone(), targets.clone());
                }
                EventKind::NodeStarted { batch, node } => {
                    if let Some(step) = steps.get(batch) {
                        let states = before.get(node).cloned().unwrap_or_default();
                        history.in_flight.insert((*step, node.clone()), states);
                    }
                }
                EventKind::Result(result) => {
                    // A result without a batch (unreachable, not started) belongs to no visit, so its node is visited
                    // again.
                    if let Some(step) = result.batch.and_then(|batch| steps.get(&batch)) {
                        history.results.entry((*step, result.node.clone())).or_default().push(result.clone());
                    }
                }
                EventKind::Item(event) => {
                    history.scopes.note(event);
                    if let Some(step) = steps.get(&event.batch) {
                        history.sequences.entry((*step, event.node.clone())).or_default().note(event);
                    }
                }
                EventKind::NodeFinished { batch, node } => {
                    if let Some(step) = steps.get(batch) {
                        history.in_flight.remove(&(*step, node.clone()));
                    }
                }
                EventKind::RunStarted(_)
                | EventKind::NodeFacts(_)
                | EventKind::LogLines(_)
                | EventKind::PendingUpdate(_)
                | EventKind::Notice { .. }
                | EventKind::Gate { .. }
                | EventKind::Progress { .. }
                | EventKind::CancelBegan { .. }
                | EventKind::RunFinished { .. } => {}
            }
        }
        history
    }
}

/// The remaining work, and the results that stay valid.
#[derive(Debug)]
pub struct RemainingWork {
    /// The results that stay valid.
    pub results: Vec<TargetResult>,
    /// The last event of the scope of each item.
    pub scopes: Vec<ItemEvent>,
    /// The number of the next batch.
    pub next_batch: u32,
}

/// Removes completed work from `plan`, so that it continues the run of `events`. Failures stay as they are; targets
/// that were not started, whose result is unknown, or whose node was unreachable before its batch are acted on.
pub fn resume(plan: &mut Plan, events: &[RunEvent]) -> RemainingWork {
    let stands = |result: &TargetResult| !matches!(result.outcome, Outcome::NotStarted | Outcome::Unknown);
    reduce(plan, events, stands, true)
}

/// Removes successful work from `plan`, and keeps the rest for another attempt.
pub fn retry(plan: &mut Plan, events: &[RunEvent]) -> RemainingWork {
    let stands = |result: &TargetResult| !result.outcome.is_bad();
    reduce(plan, events, stands, false)
}

fn reduce(
    plan: &mut Plan,
    events: &[RunEvent],
    stands: impl Fn(&TargetResult) -> bool,
    resumes: bool,
) -> RemainingWork {
    let history = RunHistory::read(events);
    let scopes = history.scopes.last().cloned().collect();
    let mut rest = RemainingWork { results: Vec::new(), scopes, next_batch: history.last_batch + 1 };
    let mut done: BTreeMap<TaskIndex, BTreeMap<String, BTreeSet<TargetName>>> = BTreeMap::new();
    for (index, step) in (0_u32..).zip(&mut plan.steps) {
        let Some(task) = plan.tasks.get_mut(step.task) else { continue };
        step.nodes.retain(|node| {
            // `key` holds the index of the step: a rollout can visit a node several times, and each visit counts alone.
            let Some(name) = plan.nodes.get(*node).map(|selected| selected.node.name.clone()) else { return false };
            let key = (index, name);
            let results = history.results.get(&key).map(Vec::as_slice).unwrap_or_default();
            let kept: Vec<&TargetResult> = results.iter().filter(|result| stands(result)).collect();
            let in_flight = history.in_flight.get(&key);
            if let Work::Sequence(sequence) = &task.work {
                let empty = NodeSequence::default();
                let node_sequence = history.sequences.get(&key).unwrap_or(&empty);
                let left = match (resumes, in_flight.is_some() || !results.is_empty()) {
                    (_, false) => return true,
                    (true, true) => node_sequence.resume(sequence, results, in_flight),
                    (false, true) => node_sequence.retry(sequence, results),
                };
                return match left {
                    SequenceRest::Ended(results) => {
                        let address = plan.nodes.get(*node).map(|selected| selected.node.address.clone());
                        let of_node = |result| TargetResult { node: key.1.clone(), address: address.clone(), ..result };
                        rest.results.extend(results.into_iter().map(of_node));
                        false
                    }
                    SequenceRest::GoesOn(progress, results) => {
                        rest.results.extend(results);
                        task.progress.insert(key.1, progress);
                        true
                    }
                };
            }
            let name = key.1;
            rest.results.extend(kept.iter().map(|result| (*result).clone()));
            // An unknown result is as dangerous as no result: the command may have done its work.
            let given_up = results.iter().any(|result| result.outcome == Outcome::Unknown);
            if matches!(task.work, Work::Exec { .. }) && resumes && (in_flight.is_some() || given_up) {
                let selected = plan.nodes.get(*node);
                rest.results.push(not_known(name, selected.map(|selected| selected.node.address.clone())));
                return false;
            }
            let names = kept.iter().map(|result| (result.role.clone(), result.service.clone()));
            done.entry(step.task).or_default().entry(name.clone()).or_default().extend(names);
            // Drop the node only if its visit finished with results and all of them are final. In flight, some targets
            // may have no result yet; without any result, nothing proves that work was done.
            if in_flight.is_none() && !results.is_empty() && kept.len() == results.len() {
                return false;
            }
            // Only a resumed run continues the visit: it compares with the recorded states to see what its predecessor
            // did. A retry is a new run and inspects the node itself.
            if let Some(before) = in_flight
                && resumes
            {
                task.in_flight.insert(name, before.clone());
            }
            true
        });
    }
    for (task, done) in done {
        if let Some(task) = plan.tasks.get_mut(task) {
            task.targets = TargetFilter::Except(done);
        }
    }
    // The steps lost nodes, so the plan's idle nodes have changed too.
    plan.recompute_idle();
    rest
}

/// The result of a command that was in flight when its controller ended.
fn not_known(node: String, address: Option<String>) -> TargetResult {
    let message = "it was running when its controller ended, and is not run again";
    let failure = Failure::new(Stage::Act, FailureKind::ConnectionLost, message)
        .with_hint("it may have done some or all of its work; check the node");
    let command = Some(CommandRun::NOT_STARTED);
    TargetResult { address, failure: Some(failure), command, ..TargetResult::new(node, Outcome::Unknown) }
}

/// Leaves nothing in `plan` but the items that the run of `events` has not taken back: each task does no more than that.
pub fn undo_items(plan: &mut Plan, events: &[RunEvent]) {
    let history = RunHistory::read(events);
    let states = [ItemState::Kept, ItemState::UndoFailed, ItemState::Opened];
    for (index, step) in (0_u32..).zip(&mut plan.steps) {
        let Some(task) = plan.tasks.get_mut(step.task) else { continue };
        step.nodes.retain(|node| {
            let Some(sequence) = task.work.sequence() else { return false };
            let Some(name) = plan.nodes.get(*node).map(|selected| selected.node.name.clone()) else { return false };
            let own = history.sequences.get(&(index, name.clone()));
            let undo_first = own.map(|own| own.scopes_in(&states)).unwrap_or_default();
            if undo_first.is_empty() {
                return false;
            }
            let done = (0..sequence.items().len()).collect();
            task.progress.insert(name, SequenceProgress { done, undo_first, ..SequenceProgress::default() });
            true
        });
        // An undo harms nobody: neither batches nor limits hold it up.
        task.policy = Policy::default();
        task.continue_on_failure = true;
    }
    plan.caps.clear();
    plan.recompute_idle();
    plan.find_batched();
}

/// The targets that a run has stopped, or may have stopped, by node.
#[must_use]
pub fn stopped(plan: &Plan, events: &[RunEvent]) -> BTreeMap<String, BTreeSet<TargetName>> {
    let history = RunHistory::read(events);
    let mut stopped: BTreeMap<String, BTreeSet<TargetName>> = BTreeMap::new();
    let work = |step: u32| Some(&plan.task_of(StepIndex::from(usize::try_from(step).ok()?))?.work);
    // An item of a sequence changes services in its own way.
    let verb_of = |step: u32, result: &TargetResult| {
        let work = work(step)?;
        let Some(label) = &result.item else { return work.verb() };
        let item = work.sequence()?.items().get(usize::try_from(label.item_number).ok()?.checked_sub(1)?)?;
        if let ItemWork::Service { verb, .. } = item.work { Some(verb) } else { None }
    };
    for ((step, node), results) in &history.results {
        let of = results.iter().filter(|result| match verb_of(*step, result) {
            Some(ServiceVerb::Stop) => {
                matches!(result.outcome, Outcome::Changed | Outcome::Unknown | Outcome::TimedOut)
            }
            Some(ServiceVerb::Restart | ServiceVerb::Update) => {
                result.outcome.is_bad()
                    && result.outcome != Outcome::NotStarted
                    && result.state != Some(ProcessState::Running)
            }
            Some(ServiceVerb::Start) | None => false,
        });
        let names = of.map(|result| (result.role.clone(), result.service.clone()));
        stopped.entry(node.clone()).or_default().extend(names);
    }
    for ((step, node), before) in &history.in_flight {
        if work(*step).is_some_and(|work| work.verbs().any(ServiceVerb::takes_down)) {
            let ran = before.iter().filter(|state| state.state == Some(ProcessState::Running));
            let names = ran.map(|state| (state.role.clone(), state.service.clone()));
            stopped.entry(node.clone()).or_default().extend(names);
        }
    }
    stopped.retain(|_, names| !names.is_empty());
    stopped
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use ctl_inventory::{InventorySsh, Node, Role};
    use ctl_plan::{Action, PlanStep, Task};
    use ctl_select::{SelectedNode, ServicePattern};

    fn plan(action: Action, nodes: usize) -> Plan {
        let role = Arc::new(Role {
            name: "r".to_owned(),
            supervisors: Vec::new(),
            init_services: Vec::new(),
            max_unavailable: None,
            introspect: BTreeMap::new(),
            oneshot: Vec::new(),
        });
        let node = |index: usize| SelectedNode {
            node: Arc::new(Node {
                name: format!("n{index}"),
                address: format!("10.0.0.{index}"),
                roles: vec!["r".to_owned()],
                ssh: InventorySsh::default(),
                sudo: false,
                via: None,
                timeout: None,
                maintenance: None,
            }),
            roles: vec![Arc::clone(&role)],
        };
        let services = vec![ServicePattern::parse("x").expect("a name")];
        let role = (action != Action::Exec).then(|| "r".to_owned());
        Plan {
            tasks: vec![Task::new(Work::example(action, services), true)].into(),
            via: None,
            nodes: (0..nodes).map(node).collect(),
            selected: nodes,
            steps: vec![PlanStep { task: TaskIndex::default(), role, nodes: (0..nodes).collect() }].into(),
            caps: Vec::new(),
            idle: BTreeSet::new(),
            known_roles: Vec::new(),
        }
    }

    fn result(node: usize, service: &str, outcome: Outcome, batch: Option<u32>) -> EventKind {
        let mut result = TargetResult::new(format!("n{node}"), outcome);
        (result.role, result.service, result.batch) = (Some("r".to_owned()), Some(service.to_owned()), batch);
        EventKind::Result(result)
    }

    fn state(service: &str, pid: u32) -> TargetState {
        TargetState {
            role: Some("r".to_owned()),
            supervisor: None,
            service: Some(service.to_owned()),
            state: Some(ProcessState::Running),
            pid: Some(pid),
            start: None,
        }
    }

    fn batch(batch: u32, nodes: &[usize]) -> EventKind {
        let nodes = nodes.iter().map(|node| format!("n{node}")).collect();
        EventKind::BatchStarted { batch, step: 0, role: Some("r".to_owned()), nodes }
    }

    fn started(batch: u32, node: usize) -> EventKind {
        EventKind::NodeStarted { batch, node: format!("n{node}") }
    }

    fn finished(batch: u32, node: usize) -> EventKind {
        EventKind::NodeFinished { batch, node: format!("n{node}") }
    }

    fn events(kinds: Vec<EventKind>) -> Vec<RunEvent> {
        let event =
            |(seq, kind)| RunEvent { seq, at: jiff::Timestamp::UNIX_EPOCH, elapsed: std::time::Duration::ZERO, kind };
        (0..).zip(kinds).map(event).collect()
    }

    /// n0 finished, n1 was in flight with one of two services done, n2 did not start, n3 failed, n4 was unreachable, n5
    /// has the result `not_started`.
    fn history() -> Vec<RunEvent> {
        let inspected = |node: usize| EventKind::Inspected {
            node: format!("n{node}"),
            targets: vec![state("x:0", 10), state("x:1", 11)],
        };
        events(vec![
            result(4, "x", Outcome::Unreachable, None),
            inspected(0),
            inspected(1),
            batch(1, &[0, 3]),
            started(1, 0),
            started(1, 3),
            result(0, "x:0", Outcome::Changed, Some(1)),
            finished(1, 0),
            result(3, "x:0", Outcome::Failed, Some(1)),
            finished(1, 3),
            batch(2, &[1]),
            started(2, 1),
            result(1, "x:0", Outcome::Changed, Some(2)),
            result(5, "x", Outcome::NotStarted, None),
        ])
    }

    #[test]
    fn a_resumed_run_continues_where_it_stopped() {
        let mut plan = plan(Action::Restart, 6);
        let rest = resume(&mut plan, &history());
        assert_eq!(plan.steps[0].nodes, [1, 2, 4, 5], "what ended, well or badly, stands");
        assert_eq!((rest.next_batch, rest.results.len()), (3, 3));
        let is_meant = |node: &str, service: &str| plan.tasks[0].targets.contains(node, Some("r"), Some(service));
        assert!(!is_meant("n1", "x:0") && is_meant("n1", "x:1") && is_meant("n2", "x:0"));
        assert_eq!(plan.tasks[0].in_flight.keys().collect::<Vec<_>>(), ["n1"]);
        assert_eq!(plan.tasks[0].in_flight["n1"][1].pid, Some(11));
        assert!(plan.is_selected(1) && !plan.is_selected(0) && !plan.is_selected(3));
    }

    #[test]
    fn a_retry_repeats_the_failures() {
        let mut plan = plan(Action::Restart, 6);
        let rest = retry(&mut plan, &history());
        assert_eq!(plan.steps[0].nodes, [1, 2, 3, 4, 5]);
        assert!(plan.tasks[0].in_flight.is_empty(), "a new run begins anew");
        assert_eq!(rest.results.len(), 2);
    }

    #[test]
    fn a_command_in_flight_is_never_run_again() {
        let mut plan = plan(Action::Exec, 3);
        let of = vec![batch(1, &[0, 1, 2]), started(1, 0), started(1, 1), finished(1, 1)];
        let rest = resume(&mut plan, &events(of));
        assert_eq!(plan.steps[0].nodes, [1, 2], "n1 has finished without a result: nothing is known to be done");
        let outcomes: Vec<_> = rest.results.iter().map(|result| (result.node.as_str(), result.outcome)).collect();
        assert_eq!(outcomes, [("n0", Outcome::Unknown)]);
    }

    #[test]
    fn stopped_targets_are_found() {
        let kinds = vec![
            batch(1, &[0, 1, 2]),
            started(1, 0),
            result(0, "x:0", Outcome::Changed, Some(1)),
            result(0, "x:1", Outcome::Ok, Some(1)),
            finished(1, 0),
            EventKind::Inspected { node: "n1".to_owned(), targets: vec![state("x:0", 10)] },
            started(1, 1),
        ];
        let names = |services: &[&str]| {
            services.iter().map(|service| (Some("r".to_owned()), Some((*service).to_owned()))).collect::<BTreeSet<_>>()
        };
        let of_stop = stopped(&plan(Action::Stop, 3), &events(kinds.clone()));
        assert_eq!(of_stop["n0"], names(&["x:0"]), "what was not running was not stopped");
        assert_eq!(of_stop["n1"], names(&["x:0"]), "in flight: it may be stopped");
        assert_eq!(of_stop.len(), 2);
        let of_restart = stopped(&plan(Action::Restart, 3), &events(kinds));
        assert_eq!(of_restart.keys().collect::<Vec<_>>(), ["n1"], "what was restarted runs");
    }
}
