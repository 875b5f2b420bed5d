//! The remaining work of a run: to resume it, to retry its failures, or to start the services that it stopped.
//!
//! Pure: it reduces a plan by the record of a run, which `history.rs` reads. Invariants: a target recorded as successful
//! is never acted on again; a target that was in flight is inspected first; a command that was in flight never runs
//! again; a resumed run acts on no target that failed, and takes none for healthy that it has not read.

use std::collections::{BTreeMap, BTreeSet};

use super::history::{RunHistory, StepNode, failure_of, is_open};
use super::sequence::{NodeSequence, SequenceRest};
use ctl_event::{
    CommandRun, Failure, FailureKind, ItemEvent, ItemState, Outcome, ProcessState, RunEvent, Stage, TargetResult,
};
use ctl_plan::policy::Policy;
use ctl_plan::{
    ItemWork, NodeRecheck, Plan, SequenceProgress, ServiceVerb, StepIndex, TargetFilter, TargetName, Task, TaskIndex,
    Work,
};

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

/// Removes completed work from `plan`, so that it continues the run of `events`. Targets that were not started, whose
/// result is unknown, or whose node was unreachable before its batch are acted on. What failed, or was not waited for at
/// its gate, is only read again, before anything else; what cannot be read again counts as failed.
pub fn resume(plan: &mut Plan, events: &[RunEvent]) -> RemainingWork {
    reduce(plan, events, true)
}

/// Removes successful work from `plan`, and keeps the rest for another attempt.
pub fn retry(plan: &mut Plan, events: &[RunEvent]) -> RemainingWork {
    reduce(plan, events, false)
}

fn reduce(plan: &mut Plan, events: &[RunEvent], resumes: bool) -> RemainingWork {
    let history = RunHistory::read(events);
    let scopes = history.scopes.last().cloned().collect();
    let next_batch = history.last_batch + 1;
    let mut reduction = Reduction { history, resumes, results: Vec::new(), done: BTreeMap::new() };
    for (index, step) in (0_u32..).zip(&mut plan.steps) {
        let Some(task) = plan.tasks.get_mut(step.task) else { continue };
        step.nodes.retain(|node| {
            let Some(selected) = plan.nodes.get(*node) else { return false };
            // `key` holds the index of the step: a rollout can visit a node several times, and each visit counts alone.
            let key = (index, selected.node.name.clone());
            let visit = StepVisit { key, place: *node, address: Some(selected.node.address.clone()), task: step.task };
            reduction.is_left(&visit, task)
        });
    }
    for (task, done) in reduction.done {
        if let Some(task) = plan.tasks.get_mut(task) {
            task.targets = TargetFilter::Except(done);
        }
    }
    // The steps lost nodes, so the plan's idle nodes have changed too.
    plan.recompute_idle();
    RemainingWork { results: reduction.results, scopes, next_batch }
}

/// A node of a step, whose work may be done.
struct StepVisit {
    key: StepNode,
    /// The index of the node in the plan.
    place: usize,
    address: Option<String>,
    task: TaskIndex,
}

/// The rest of a plan, found out node by node.
struct Reduction {
    history: RunHistory,
    /// Whether the run itself goes on; a new run repeats what did not succeed.
    resumes: bool,
    /// The results that stand.
    results: Vec<TargetResult>,
    /// The targets that are not acted on again.
    done: BTreeMap<TaskIndex, BTreeMap<String, BTreeSet<TargetName>>>,
}

impl Reduction {
    /// Whether anything is left to do on a node; what there is to know of it is noted in its task.
    fn is_left(&mut self, visit: &StepVisit, task: &mut Task) -> bool {
        let (resumes, key, known) = (self.resumes, &visit.key, self.results.len());
        let recheck = if resumes {
            self.history.recheck(key, &task.work)
        } else {
            self.history.recheck_of_success(key, &task.work)
        };
        let is_read_only = recheck.as_ref().is_some_and(|recheck| !recheck.acts);
        let is_left = match (&task.work, &recheck) {
            (Work::Sequence(_), _) if !is_read_only => self.is_sequence_left(visit, task),
            _ => self.are_targets_left(visit, task, recheck.as_ref()),
        };
        if let Some(recheck) = recheck {
            task.rechecks.insert((index_of(key), visit.place), recheck);
        }
        // An interrupted command is no reason to stop a run that the user resumes.
        let is_known = |result: &&TargetResult| result.outcome != Outcome::Unknown;
        let failed = self.results.iter().skip(known).filter(is_known).find_map(failure_of);
        if resumes && (!is_left || failed.is_some()) {
            let finished = task.finished.entry(key.1.clone()).or_default();
            // A node with two roles is in two steps.
            finished.failed = finished.failed.or(failed);
        }
        is_left
    }

    fn is_sequence_left(&mut self, visit: &StepVisit, task: &mut Task) -> bool {
        let key = &visit.key;
        let Work::Sequence(sequence) = &task.work else { return true };
        let results = self.history.results_of(key);
        let in_flight = self.history.in_flight.get(key);
        let empty = NodeSequence::default();
        let node_sequence = self.history.sequences.get(key).unwrap_or(&empty);
        let left = match (self.resumes, in_flight.is_some() || !results.is_empty()) {
            (_, false) => return true,
            (true, true) => node_sequence.resume(sequence, results, in_flight),
            (false, true) => node_sequence.retry(sequence, results),
        };
        match left {
            SequenceRest::Ended(results) => {
                let of_node = |result| TargetResult { node: key.1.clone(), address: visit.address.clone(), ..result };
                self.results.extend(results.into_iter().map(of_node));
                false
            }
            SequenceRest::GoesOn(progress, results) => {
                self.results.extend(results);
                task.progress.insert(key.1.clone(), progress);
                if self.resumes {
                    // It was started, so it goes before nodes that were not.
                    task.in_flight.insert(key.1.clone(), in_flight.cloned().unwrap_or_default());
                }
                true
            }
        }
    }

    fn are_targets_left(&mut self, visit: &StepVisit, task: &mut Task, recheck: Option<&NodeRecheck>) -> bool {
        let (key, name) = (&visit.key, visit.key.1.clone());
        let results = self.history.results_of(key);
        let in_flight = self.history.in_flight.get(key);
        let read: &[TargetResult] = recheck.map(|recheck| recheck.results.as_slice()).unwrap_or_default();
        let is_read = |result: &TargetResult| {
            read.iter().any(|own| {
                (&own.role, &own.supervisor, &own.service, &own.item)
                    == (&result.role, &result.supervisor, &result.service, &result.item)
            })
        };
        // A resumed run leaves failures as they are, unless it reads them again; a retry repeats them.
        let stands = |result: &TargetResult| {
            if self.resumes { !is_open(result) } else { !result.outcome.is_bad() }
        };
        let kept: Vec<&TargetResult> = results.iter().filter(|own| stands(own) && !is_read(own)).collect();
        self.results.extend(kept.iter().map(|result| (*result).clone()));
        // An unknown result is as dangerous as no result: the command may have done its work.
        let given_up = results.iter().any(|result| result.outcome == Outcome::Unknown);
        if matches!(task.work, Work::Exec { .. }) && self.resumes && (in_flight.is_some() || given_up) {
            self.results.push(not_known(name.clone(), visit.address.clone()));
            return false;
        }
        let names = kept.iter().map(|result| (result.role.clone(), result.service.clone()));
        self.done.entry(visit.task).or_default().entry(name.clone()).or_default().extend(names);
        // Drop the node only if its visit finished with results and all of them are final. In flight, some targets
        // may have no result yet; without any result, nothing proves that work was done.
        if in_flight.is_none() && !results.is_empty() && kept.len() == results.len() {
            return false;
        }
        // Only a resumed run continues the visit: it compares with the recorded states to see what its predecessor
        // did. A retry is a new run and inspects the node itself.
        if self.resumes
            && let Some(before) = in_flight.or_else(|| self.history.before(key).filter(|_| given_up))
        {
            task.in_flight.insert(name, before.clone());
        }
        true
    }
}

fn index_of(key: &StepNode) -> StepIndex {
    StepIndex::from(usize::try_from(key.0).unwrap_or(usize::MAX))
}

/// The result of a command that was in flight when its controller ended.
fn not_known(node: String, address: Option<String>) -> TargetResult {
    let message = "it was running when ctl ended; a resume does not repeat it";
    let failure = Failure::new(Stage::Act, FailureKind::ConnectionLost, message)
        .with_hint("it may have done some or all of its work; check, then repeat it with `ctl runs retry`");
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
        // Of another plan, and no run goes on here.
        task.rechecks.clear();
        task.finished.clear();
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
    // An item of a sequence changes services in its own way, and maybe on another node.
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
        for result in of {
            let helper = result.item.as_ref().and_then(|label| label.on.as_ref());
            let name = (result.role.clone(), result.service.clone());
            stopped.entry(helper.unwrap_or(node).clone()).or_default().insert(name);
        }
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
    use ctl_event::{EventKind, TargetState};
    use ctl_inventory::{InventorySsh, Node, Role};
    use ctl_plan::{Action, PlanStep};
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
        EventKind::BatchStarted { batch, step: 0, role: Some("r".to_owned()), nodes, rechecks: false }
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
        assert_eq!(plan.steps[0].nodes, [1, 2, 3, 4, 5], "what ended well stands");
        assert_eq!((rest.next_batch, rest.results.len()), (3, 2));
        let rechecks: Vec<_> = plan.tasks[0].rechecks.iter().map(|((_, node), own)| (*node, own.acts)).collect();
        assert_eq!(rechecks, [(3, false)], "what ended badly is only read again");
        assert_eq!(plan.tasks[0].finished.keys().collect::<Vec<_>>(), ["n0"]);
        let is_meant = |node: &str, service: &str| plan.tasks[0].targets.contains(node, Some("r"), Some(service));
        assert!(!is_meant("n1", "x:0") && is_meant("n1", "x:1") && is_meant("n2", "x:0"));
        assert_eq!(plan.tasks[0].in_flight.keys().collect::<Vec<_>>(), ["n1"]);
        assert_eq!(plan.tasks[0].in_flight["n1"][1].pid, Some(11));
        assert!(plan.is_selected(1) && !plan.is_selected(0));
    }

    #[test]
    fn a_retry_repeats_the_failures() {
        let mut plan = plan(Action::Restart, 6);
        let rest = retry(&mut plan, &history());
        assert_eq!(plan.steps[0].nodes, [1, 2, 3, 4, 5]);
        assert!(plan.tasks[0].in_flight.is_empty(), "a new run begins anew");
        assert_eq!(rest.results.len(), 2);
    }

    fn gate(batch: u32, node: usize, met: Option<bool>) -> EventKind {
        EventKind::Gate { batch, node: format!("n{node}"), service: None, met, waiting_for: "x".to_owned() }
    }

    fn recheck(batch: u32, nodes: &[usize]) -> EventKind {
        let nodes = nodes.iter().map(|node| format!("n{node}")).collect();
        EventKind::BatchStarted { batch, step: 0, role: Some("r".to_owned()), nodes, rechecks: true }
    }

    /// The nodes of the only step, and those of them that are only read again.
    fn left(action: Action, nodes: usize, kinds: &[EventKind]) -> (Vec<usize>, Vec<usize>) {
        let mut plan = plan(action, nodes);
        resume(&mut plan, &events(kinds.to_vec()));
        let rechecks = plan.tasks[0].rechecks.iter().filter(|(_, own)| !own.acts).map(|((_, node), _)| *node);
        (plan.steps[0].nodes.clone(), rechecks.collect())
    }

    /// A gate is open from the signal that cut it short until a later visit ends without that, even if controllers die in between.
    #[test]
    fn a_gate_stays_open_until_it_is_met() {
        let mut kinds = vec![
            batch(1, &[0]),
            started(1, 0),
            gate(1, 0, None),
            gate(1, 0, Some(false)),
            result(0, "x:0", Outcome::Changed, Some(1)),
            finished(1, 0),
        ];
        assert_eq!(left(Action::Restart, 2, &kinds), (vec![0, 1], vec![0]));
        let before = kinds.clone();
        kinds.extend([recheck(2, &[0]), started(2, 0), result(0, "x:0", Outcome::Changed, Some(2))]);
        assert_eq!(left(Action::Restart, 2, &kinds), (vec![0, 1], vec![0]), "not in flight: nothing was done");
        kinds.push(finished(2, 0));
        assert_eq!(left(Action::Restart, 2, &kinds), (vec![1], vec![]));
        // A command, too, has gates, and a retry waits for them as well.
        assert_eq!(left(Action::Exec, 2, &before), (vec![0, 1], vec![0]));
        let mut plan = plan(Action::Restart, 2);
        retry(&mut plan, &events(before));
        assert_eq!(plan.tasks[0].rechecks.len(), 1);
    }

    /// A target that was read again has the newest result, under whatever name its services had before.
    #[test]
    fn a_failure_that_was_put_right_is_forgotten() {
        let kinds = vec![
            batch(1, &[0]),
            started(1, 0),
            result(0, "x*", Outcome::Unreachable, Some(1)),
            finished(1, 0),
            recheck(2, &[0]),
            started(2, 0),
            result(0, "x:0", Outcome::Changed, Some(2)),
            finished(2, 0),
        ];
        assert_eq!(left(Action::Restart, 1, &kinds), (vec![], vec![]));
        let mut plan = plan(Action::Restart, 1);
        let rest = resume(&mut plan, &events(kinds.clone()));
        assert_eq!(rest.results.iter().map(|own| own.outcome).collect::<Vec<_>>(), [Outcome::Changed]);
        assert_eq!(plan.tasks[0].finished["n0"].failed, None);
    }

    /// A target that failed is only read, although its sibling, which was not started, is acted on.
    #[test]
    fn beside_what_failed_the_rest_of_a_node_is_done() {
        let kinds = vec![
            batch(1, &[0]),
            started(1, 0),
            result(0, "x:0", Outcome::Failed, Some(1)),
            result(0, "x:1", Outcome::NotStarted, Some(1)),
            finished(1, 0),
        ];
        let mut plan = plan(Action::Restart, 1);
        resume(&mut plan, &events(kinds));
        let recheck = &plan.tasks[0].rechecks[&(StepIndex::default(), 0)];
        assert!(recheck.acts && recheck.result(Some("r"), None, Some("x:0")).is_some());
        assert!(recheck.result(Some("r"), None, Some("x:1")).is_none());
        assert!(plan.tasks[0].targets.contains("n0", Some("r"), Some("x:0")));
    }

    /// What a command did cannot be read: one that failed counts, and one that was interrupted does not.
    #[test]
    fn a_command_that_failed_counts() {
        let kinds = [
            batch(1, &[0]),
            started(1, 0),
            result(0, "x", Outcome::Failed, Some(1)),
            finished(1, 0),
            batch(2, &[1]),
            started(2, 1),
        ];
        let mut plan = plan(Action::Exec, 3);
        resume(&mut plan, &events(kinds.to_vec()));
        assert_eq!(plan.steps[0].nodes, [2]);
        let finished = &plan.tasks[0].finished;
        assert!(finished["n0"].failed.is_some() && finished["n1"].failed.is_none(), "{finished:?}");
        // Its undo is a run of its own.
        undo_items(&mut plan, &events(kinds.to_vec()));
        assert!(plan.tasks[0].finished.is_empty());
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
