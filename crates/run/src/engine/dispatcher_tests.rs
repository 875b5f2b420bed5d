//! Schedules replayed: the dispatcher is fed what node tasks would say, and its effects are looked at.

#![expect(clippy::wildcard_enum_match_arm, reason = "a test looks at some of the effects and natures")]

mod rechecks;
mod rollouts;
mod sequences;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use proptest::prelude::*;

use crate::engine::dispatcher::Dispatcher;
use crate::engine::effect::{DispatcherInput, Effect};
use crate::engine::message::{
    NameCensus, NodeBatch, NodeInspection, TargetKey, WorkItem, WorkItemEnd, WorkerMessage, WorkerUpdate,
};
use ctl_event::{
    ActivityPhase, CancelReason, EventKind, Failure, FailureKind, Ledger, Outcome, PhaseKind, ProcessState, RunEvent,
    RunHead, RunScope, Stage, TargetResult,
};
use ctl_inventory::{InventorySsh, Node, Role};
use ctl_plan::amount::{BatchSizes, FailureLimit, NodeAmount};
use ctl_plan::policy::Policy;
use ctl_plan::{Action, Plan, PlanStep, RoleCap, StepIndex, Task, TaskIndex, Work};
use ctl_select::{SelectedNode, ServicePattern};

/// The behavior of a node in its turn.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum NodeBehavior {
    Good,
    Unreachable,
    NoGuard,
    Held,
    DownBefore,
    Fails,
    LosesItsConnection,
    Breaks,
    FailsTheCheck,
    /// It is up, and does not do its work.
    FailsItsGate,
}

const NATURES: [NodeBehavior; 10] = [
    NodeBehavior::Good,
    NodeBehavior::Unreachable,
    NodeBehavior::NoGuard,
    NodeBehavior::Held,
    NodeBehavior::DownBefore,
    NodeBehavior::Fails,
    NodeBehavior::LosesItsConnection,
    NodeBehavior::Breaks,
    NodeBehavior::FailsTheCheck,
    NodeBehavior::FailsItsGate,
];

fn node(name: &str, roles: &[&str]) -> SelectedNode {
    let role = |name: &&str| {
        Arc::new(Role {
            name: (*name).to_owned(),
            supervisors: Vec::new(),
            init_services: Vec::new(),
            max_unavailable: None,
            introspect: BTreeMap::new(),
            oneshot: Vec::new(),
        })
    };
    SelectedNode {
        node: Arc::new(Node {
            name: name.to_owned(),
            address: "127.0.0.1".to_owned(),
            roles: roles.iter().map(|role| (*role).to_owned()).collect(),
            ssh: InventorySsh::default(),
            sudo: false,
            via: None,
            timeout: None,
            maintenance: None,
        }),
        roles: roles.iter().map(role).collect(),
    }
}

/// `steps` are the nodes of each role, in order.
pub(super) fn plan_of(
    nodes: usize,
    watched: usize,
    steps: &[(&str, Vec<usize>)],
    action: Action,
    policy: Policy,
) -> Plan {
    let service = ServicePattern::parse("x").expect("a name");
    let of = |index: usize| {
        let roles: Vec<&str> = steps.iter().filter(|(_, own)| own.contains(&index)).map(|(role, _)| *role).collect();
        node(&format!("n{index:02}"), &roles)
    };
    let step = |(role, nodes): &(&str, Vec<usize>)| PlanStep {
        task: TaskIndex::default(),
        role: Some((*role).to_owned()),
        nodes: nodes.clone(),
    };
    let mut plan = Plan {
        tasks: vec![Task { policy, ..Task::new(Work::example(action, vec![service]), true) }].into(),
        via: None,
        nodes: (0..nodes + watched).map(of).collect(),
        selected: nodes,
        steps: steps.iter().map(step).collect(),
        caps: Vec::new(),
        idle: BTreeSet::new(),
        known_roles: Vec::new(),
    };
    plan.find_batched();
    plan
}

fn capped(mut plan: Plan, role: &str, limit: usize, members: Vec<usize>) -> Plan {
    let amount = NodeAmount::Nodes(u32::try_from(limit).expect("few"));
    plan.caps.push(RoleCap {
        task: TaskIndex::default(),
        role: role.to_owned(),
        amount,
        limit,
        members,
        expected: true,
    });
    plan.find_batched();
    plan
}

fn rolling(serial: &str) -> Policy {
    Policy { serial: Some(serial.parse::<BatchSizes>().expect("a list")), ..Policy::default() }
}

/// A run in a world of such nodes.
struct TestRun<'a> {
    plan: &'a Plan,
    natures: Vec<NodeBehavior>,
    /// Which of the things that could happen next does, and when signals come.
    script: Vec<u8>,
    signals: u32,
    running: Vec<WorkItem>,
    pausing: bool,
    finished: bool,
    /// The roles that are really down, each on a node.
    down: BTreeSet<(String, usize)>,
    log: Vec<Effect>,
    ledger: Ledger,
    seq: u64,
}

impl<'a> TestRun<'a> {
    fn new(plan: &'a Plan, natures: Vec<NodeBehavior>, script: Vec<u8>) -> Self {
        let down = natures.iter().enumerate();
        let down = down.filter(|(_, nature)| matches!(nature, NodeBehavior::DownBefore | NodeBehavior::Unreachable));
        let roles = ["r", "s"].map(str::to_owned);
        Self {
            plan,
            down: down.flat_map(|(index, _)| roles.clone().map(|role| (role, index))).collect(),
            natures,
            script,
            signals: 0,
            running: Vec::new(),
            pausing: false,
            finished: false,
            log: Vec::new(),
            ledger: Ledger::default(),
            seq: 0,
        }
    }

    fn run(mut self, forks: usize) -> Self {
        let mut dispatcher = Dispatcher::new(self.plan, forks, 1);
        let head = RunHead {
            run: "r".to_owned(),
            command: "service".to_owned(),
            action: None,
            services: Vec::new(),
            started: jiff::Timestamp::UNIX_EPOCH,
            nodes: 0,
            selection: RunScope::default(),
            input: None,
        };
        self.record(EventKind::RunStarted(head));
        let effects = dispatcher.handle(DispatcherInput::Begin);
        self.obey(effects, forks);
        let mut script = std::mem::take(&mut self.script).into_iter();
        for _ in 0..10_000 {
            if self.finished {
                return self;
            }
            let chance = script.next().unwrap_or(0);
            // Few runs get a signal.
            if chance > 250 {
                self.signals += 1;
                let effects = dispatcher.handle(DispatcherInput::Signal(CancelReason::Interrupted));
                self.obey(effects, forks);
                if self.signals >= 3 {
                    self.running.clear();
                }
                continue;
            }
            if self.running.is_empty() {
                assert!(std::mem::take(&mut self.pausing), "nothing is at work, and the run is not over");
                let effects = dispatcher.handle(DispatcherInput::PauseOver);
                self.obey(effects, forks);
                continue;
            }
            let item = self.running.remove(usize::from(chance) % self.running.len());
            for input in self.answers(item) {
                let effects = dispatcher.handle(input);
                self.obey(effects, forks);
            }
        }
        panic!("the run does not end: {:?}", self.log);
    }

    fn record(&mut self, kind: EventKind) {
        let kept = !matches!(kind, EventKind::Progress { .. });
        let event =
            RunEvent { seq: self.seq, at: jiff::Timestamp::UNIX_EPOCH, elapsed: std::time::Duration::ZERO, kind };
        self.ledger.apply(&event).unwrap_or_else(|error| panic!("{error}: {event:?} in {:?}", self.log));
        self.seq += u64::from(kept);
    }

    fn obey(&mut self, effects: Vec<Effect>, forks: usize) {
        for effect in effects {
            match &effect {
                Effect::Record(kind) => self.record(kind.clone()),
                Effect::Start(item) => {
                    self.begin(*item);
                    self.running.push(*item);
                    assert!(self.running.len() <= forks);
                }
                Effect::Pause(_) => self.pausing = true,
                Effect::Finish => self.finished = true,
                Effect::Abandon => self.running.clear(),
                Effect::StopWaiting | Effect::GiveUp | Effect::Unlock | Effect::Recorded => {}
            }
            self.log.push(effect);
        }
    }

    /// The rules that hold when something is started.
    fn begin(&mut self, item: WorkItem) {
        let WorkItem::Batch(node_batch) = item else { return };
        assert_eq!(self.signals, 0, "a visit after a signal: {:?}", self.log);
        let at_work = |node: &usize| {
            let visits = self.running.iter().chain([&item]);
            visits.into_iter().any(|item| matches!(item, WorkItem::Batch(node_batch) if node_batch.node == *node))
        };
        for cap in &self.plan.caps {
            let is_down = |node: &usize| self.down.contains(&(cap.role.clone(), *node));
            let down = cap.members.iter().filter(|node| is_down(node) || at_work(node)).count();
            let counts = cap.members.contains(&node_batch.node) && !is_down(&node_batch.node);
            assert!(!counts || down <= cap.limit, "{down} of {} down: {:?}", cap.role, self.log);
        }
    }

    fn answers(&mut self, item: WorkItem) -> Vec<DispatcherInput> {
        let nature = self.natures[item.node()];
        let failure = |kind| Failure::new(Stage::Act, kind, "x");
        let lost = || WorkItemEnd::Lost(Outcome::Unreachable, failure(FailureKind::ConnectionLost));
        let end = match (item, nature) {
            (WorkItem::Connect(_), NodeBehavior::Unreachable) => lost(),
            (WorkItem::Lock(_), NodeBehavior::NoGuard) => {
                WorkItemEnd::Lost(Outcome::Failed, failure(FailureKind::Command))
            }
            (WorkItem::Lock(_), NodeBehavior::Held) => WorkItemEnd::Held(failure(FailureKind::Locked), false),
            (WorkItem::Inspect(node), _) => {
                let down = self
                    .down
                    .iter()
                    .filter(|(_, other)| *other == node)
                    .map(|(role, _)| (TaskIndex::default(), role.clone()));
                let down = down.collect();
                WorkItemEnd::Inspected(NodeInspection { down, ..NodeInspection::default() })
            }
            (WorkItem::Check(_), NodeBehavior::FailsTheCheck) => {
                WorkItemEnd::Lost(Outcome::Failed, failure(FailureKind::Gate))
            }
            (WorkItem::Batch(node_batch), _) => return self.visited(node_batch, nature),
            _ => WorkItemEnd::Done,
        };
        vec![DispatcherInput::Ended(item, end)]
    }

    fn visited(&mut self, node_batch: NodeBatch, nature: NodeBehavior) -> Vec<DispatcherInput> {
        let item = WorkItem::Batch(node_batch);
        let role = self.plan.steps.get(node_batch.step).expect("a step").role.clone();
        let key = TargetKey { role: role.clone(), supervisor: None, service: Some("x".to_owned()) };
        let update = |update| DispatcherInput::Message(WorkerMessage { item, update });
        let mut result = TargetResult::new(self.plan.nodes[node_batch.node].node.name.clone(), Outcome::Changed);
        (result.role, result.service, result.batch) = (role, key.service.clone(), Some(node_batch.batch));
        let own = (result.role.clone().unwrap_or_default(), node_batch.node);
        let mut answers = vec![update(WorkerUpdate::Targets(vec![key.clone()])), update(WorkerUpdate::Begun(key))];
        if matches!(nature, NodeBehavior::Fails | NodeBehavior::LosesItsConnection | NodeBehavior::Breaks) {
            self.down.insert(own.clone());
        }
        if nature == NodeBehavior::LosesItsConnection {
            self.down.extend(["r", "s"].map(|role| (role.to_owned(), node_batch.node)));
        }
        match nature {
            NodeBehavior::Fails => {
                result.outcome = Outcome::Failed;
                result.state = Some(ProcessState::Fatal);
                result.failure = Some(Failure::new(Stage::Verify, FailureKind::Fatal, "x"));
                answers.push(update(WorkerUpdate::Result(Box::new(result))));
                answers.push(DispatcherInput::Ended(item, WorkItemEnd::Done));
            }
            NodeBehavior::FailsItsGate => {
                self.down.remove(&own);
                result.outcome = Outcome::Failed;
                result.state = Some(ProcessState::Running);
                result.failure = Some(Failure::new(Stage::Verify, FailureKind::Gate, "x"));
                answers.push(update(WorkerUpdate::Result(Box::new(result))));
                answers.push(DispatcherInput::Ended(item, WorkItemEnd::Done));
            }
            NodeBehavior::LosesItsConnection => {
                let failure = Failure::new(Stage::Verify, FailureKind::ConnectionLost, "x");
                answers.push(DispatcherInput::Ended(item, WorkItemEnd::Lost(Outcome::Unreachable, failure)));
            }
            NodeBehavior::Breaks => answers.push(DispatcherInput::Ended(item, WorkItemEnd::Broken)),
            _ => {
                self.down.remove(&own);
                result.state = Some(ProcessState::Running);
                answers.push(update(WorkerUpdate::Result(Box::new(result))));
                answers.push(DispatcherInput::Ended(item, WorkItemEnd::Done));
            }
        }
        answers
    }

    fn batches(&self) -> Vec<Vec<String>> {
        let nodes = |effect: &Effect| match effect {
            Effect::Record(EventKind::BatchStarted { nodes, .. }) => Some(nodes.clone()),
            _ => None,
        };
        self.log.iter().filter_map(nodes).collect()
    }

    fn outcomes(&self) -> Vec<String> {
        let word = |result: &TargetResult| {
            let kind = result.failure.as_ref().map(|failure| format!("/{}", failure.kind)).unwrap_or_default();
            format!("{} {}{kind}", result.node, result.outcome)
        };
        self.ledger.results().iter().map(word).collect()
    }
}

fn all_good(count: usize) -> Vec<NodeBehavior> {
    vec![NodeBehavior::Good; count]
}

#[test]
fn a_change_connects_locks_and_reads_before_it_acts() {
    let plan = plan_of(2, 0, &[("r", vec![0, 1])], Action::Restart, Policy::default());
    let world = TestRun::new(&plan, all_good(2), Vec::new()).run(8);
    let duties: Vec<WorkItem> = world
        .log
        .iter()
        .filter_map(|effect| if let Effect::Start(item) = effect { Some(*item) } else { None })
        .collect();
    let node_batch = |node| WorkItem::Batch(NodeBatch { step: StepIndex::default(), batch: 1, node, batched: false });
    assert_eq!(
        duties,
        [
            WorkItem::Connect(0),
            WorkItem::Connect(1),
            WorkItem::Lock(0),
            WorkItem::Lock(1),
            WorkItem::Inspect(0),
            WorkItem::Inspect(1),
            node_batch(0),
            node_batch(1)
        ]
    );
    assert_eq!(world.outcomes(), ["n00 changed", "n01 changed"]);
}

#[test]
fn reading_begins_at_once() {
    let plan = plan_of(2, 0, &[("r", vec![0, 1])], Action::Status, Policy::default());
    let world = TestRun::new(&plan, all_good(2), Vec::new()).run(8);
    assert!(matches!(world.log[2], Effect::Start(WorkItem::Batch(_))), "{:?}", world.log);
}

#[test]
fn a_canary_that_fails_stops_the_run() {
    let plan = plan_of(3, 0, &[("r", vec![0, 1, 2])], Action::Restart, rolling("1"));
    let mut natures = all_good(3);
    natures[0] = NodeBehavior::Fails;
    let world = TestRun::new(&plan, natures, Vec::new()).run(8);
    assert_eq!(world.batches(), [["n00"]]);
    assert_eq!(world.outcomes(), ["n00 failed/fatal", "n01 not_started/limit", "n02 not_started/limit"]);
}

#[test]
fn the_limit_decides_who_goes_on() {
    let begun = |limit: &str, natures: Vec<NodeBehavior>| {
        let policy = Policy { max_failures: Some(limit.parse().expect("a limit")), ..rolling("1") };
        let plan = plan_of(4, 0, &[("r", vec![0, 1, 2, 3])], Action::Restart, policy);
        TestRun::new(&plan, natures, Vec::new()).run(8).batches().len()
    };
    let two = || vec![NodeBehavior::Fails, NodeBehavior::Fails, NodeBehavior::Good, NodeBehavior::Good];
    assert_eq!((begun("50%", two()), begun("49%", two())), (4, 2));
    assert_eq!((begun("100%", two()), begun("1", two()), begun("2", two())), (4, 2, 4));
    let one_away = vec![NodeBehavior::Good, NodeBehavior::Good, NodeBehavior::Good, NodeBehavior::Unreachable];
    assert_eq!(begun("0", one_away), 0, "what is unreachable counts before the first change");
}

#[test]
fn a_batch_that_fails_whole_does_not_end_a_run_that_the_limit_allows() {
    let policy = Policy { max_failures: Some(FailureLimit::Percent(50)), ..rolling("2") };
    let plan = plan_of(4, 0, &[("r", vec![0, 1, 2, 3])], Action::Restart, policy);
    let natures = vec![NodeBehavior::Fails, NodeBehavior::Fails, NodeBehavior::Good, NodeBehavior::Good];
    assert_eq!(TestRun::new(&plan, natures, Vec::new()).run(8).batches().len(), 2);
}

#[test]
fn a_held_lock_ends_the_run_before_it_begins() {
    let plan = plan_of(3, 0, &[("r", vec![0, 1, 2])], Action::Restart, Policy::default());
    let natures = vec![NodeBehavior::Good, NodeBehavior::Good, NodeBehavior::Held];
    let world = TestRun::new(&plan, natures, Vec::new()).run(8);
    assert_eq!(world.batches().len(), 0);
    let locked = ["n00", "n01", "n02"].map(|node| format!("{node} not_started/locked"));
    assert_eq!(world.outcomes(), locked);
}

#[test]
fn a_lock_that_is_waited_for_is_asked_for_again() {
    let plan = plan_of(2, 0, &[("r", vec![0, 1])], Action::Restart, Policy::default());
    let mut dispatcher = Dispatcher::new(&plan, 8, 1);
    let mut effects = dispatcher.handle(DispatcherInput::Begin);
    for node in [0, 1] {
        effects = dispatcher.handle(DispatcherInput::Ended(WorkItem::Connect(node), WorkItemEnd::Done));
    }
    assert_eq!(effects, [Effect::Start(WorkItem::Lock(0))]);
    let failure = Failure::new(Stage::Plan, FailureKind::Locked, "x");
    let effects = dispatcher.handle(DispatcherInput::Ended(WorkItem::Lock(0), WorkItemEnd::Held(failure, true)));
    assert!(matches!(effects.as_slice(), [Effect::Unlock, Effect::Pause(_)]), "{effects:?}");
    assert_eq!(dispatcher.handle(DispatcherInput::PauseOver), [Effect::Start(WorkItem::Lock(0))]);
}

/// Names are looked for on every node before the first change, and a name is a mistake only when every node answered.
#[test]
fn a_name_that_no_node_has_is_refused() {
    let plan = plan_of(2, 0, &[("r", vec![0, 1])], Action::Restart, Policy::default());
    let census = |found: &[&str], unsure: bool| NameCensus {
        task: TaskIndex::default(),
        found: found.iter().map(|name| (*name).to_owned()).collect(),
        unsure,
        listed: ["xy".to_owned()].into(),
    };
    let of = |names: [NameCensus; 2]| {
        let mut dispatcher = Dispatcher::new(&plan, 8, 1);
        let mut effects = dispatcher.handle(DispatcherInput::Begin);
        for item in [WorkItem::Connect(0), WorkItem::Connect(1), WorkItem::Lock(0), WorkItem::Lock(1)] {
            effects.extend(dispatcher.handle(DispatcherInput::Ended(item, WorkItemEnd::Done)));
        }
        for (node, names) in names.into_iter().enumerate() {
            let inspection = NodeInspection { names: vec![names], ..NodeInspection::default() };
            effects.extend(
                dispatcher.handle(DispatcherInput::Ended(WorkItem::Inspect(node), WorkItemEnd::Inspected(inspection))),
            );
        }
        let visits = effects.iter().filter(|effect| matches!(effect, Effect::Start(WorkItem::Batch(_)))).count();
        let result = |effect: &Effect| match effect {
            Effect::Record(EventKind::Result(result)) => {
                let failure = result.failure.clone().expect("a failure");
                Some(format!(
                    "{} {} {}: {}",
                    result.node,
                    result.outcome,
                    failure.kind,
                    failure.hint.unwrap_or_default()
                ))
            }
            _ => None,
        };
        (visits, effects.iter().filter_map(result).collect::<Vec<_>>())
    };
    let refused = ["n00", "n01"].map(|node| format!("{node} failed no_such_service: did you mean xy?"));
    assert_eq!(of([census(&[], false), census(&[], false)]), (0, refused.to_vec()));
    assert_eq!(of([census(&[], false), census(&["x"], false)]), (2, Vec::new()));
    assert_eq!(of([census(&[], false), census(&[], true)]), (2, Vec::new()));
}

#[test]
fn a_cap_makes_batches() {
    let plan =
        capped(plan_of(3, 0, &[("r", vec![0, 1, 2])], Action::Restart, Policy::default()), "r", 1, vec![0, 1, 2]);
    let world = TestRun::new(&plan, all_good(3), Vec::new()).run(8);
    assert_eq!(world.batches(), [["n00"], ["n01"], ["n02"]]);
    let notices = world.log.iter().filter(|effect| matches!(effect, Effect::Record(EventKind::Notice { .. }))).count();
    assert_eq!(notices, 1, "the cap is said once, where it bites");
}

#[test]
fn what_is_down_goes_first_and_a_spent_budget_ends_the_run() {
    let of = |natures: Vec<NodeBehavior>| {
        let watched = natures.len() - 3;
        let members = (0..natures.len()).collect();
        let policy = Policy::default();
        let plan = capped(plan_of(3, watched, &[("r", vec![0, 1, 2])], Action::Restart, policy), "r", 1, members);
        let world = TestRun::new(&plan, natures, Vec::new()).run(8);
        (world.batches(), world.outcomes())
    };
    let (batches, _) = of(vec![NodeBehavior::Good, NodeBehavior::Good, NodeBehavior::DownBefore]);
    assert_eq!(batches, [["n02"], ["n00"], ["n01"]]);
    let (batches, outcomes) =
        of(vec![NodeBehavior::Good, NodeBehavior::Good, NodeBehavior::Good, NodeBehavior::DownBefore]);
    assert_eq!(batches.len(), 0, "a watched node is down");
    assert_eq!(outcomes, ["n00", "n01", "n02"].map(|node| format!("{node} not_started/max_unavailable")));
    let (batches, outcomes) = of(vec![NodeBehavior::Fails, NodeBehavior::Good, NodeBehavior::Good]);
    assert_eq!(batches, [["n00"]], "what failed stays down");
    assert_eq!(outcomes[1..], ["n01", "n02"].map(|node| format!("{node} not_started/max_unavailable")));
}

#[test]
fn a_stop_that_breaks_the_cap_is_refused() {
    let of = |nodes: Vec<usize>| {
        let plan = capped(plan_of(3, 0, &[("r", nodes)], Action::Stop, Policy::default()), "r", 1, vec![0, 1, 2]);
        TestRun::new(&plan, all_good(3), Vec::new()).run(8).batches().len()
    };
    assert_eq!((of(vec![0, 1]), of(vec![0])), (0, 1));
}

/// The failures and the number of batches, of three nodes of which the first fails its gate, and then of all.
#[test]
fn a_gate_stops_a_run_that_the_cap_has_cut() {
    let gate = |count: usize| {
        let mut natures = all_good(3);
        natures[..count].fill(NodeBehavior::FailsItsGate);
        natures
    };
    let of = |policy: Policy, natures: Vec<NodeBehavior>, limit: usize| {
        let members = (0..natures.len()).collect();
        let watched = natures.len() - 3;
        let plan = capped(plan_of(3, watched, &[("r", vec![0, 1, 2])], Action::Restart, policy), "r", limit, members);
        let world = TestRun::new(&plan, natures, Vec::new()).run(8);
        (world.batches(), world.outcomes())
    };
    let (batches, outcomes) = of(Policy::default(), gate(3), 1);
    assert_eq!(batches, [["n00"]]);
    assert_eq!(outcomes, ["n00 failed/gate", "n01 not_started/gate", "n02 not_started/gate"]);
    // The cap lets all of them go at once: there is no second batch that a limit could keep back.
    let (_, outcomes) = of(Policy::default(), gate(3), 3);
    assert_eq!(outcomes, ["n00", "n01", "n02"].map(|node| format!("{node} failed/gate")));
    // Another node of the role is down: the cap makes more batches than the plan knew.
    let mut natures = gate(1);
    natures.push(NodeBehavior::DownBefore);
    let (batches, outcomes) = of(Policy::default(), natures, 3);
    assert_eq!(batches, [["n00", "n01"]]);
    assert_eq!(outcomes, ["n00 failed/gate", "n01 changed", "n02 not_started/gate"]);
    // A limit that the user sets counts, however the batches came about.
    let said = Policy { max_failures: Some(FailureLimit::Nodes(3)), ..Policy::default() };
    assert_eq!(of(said, gate(3), 1).0.len(), 3);
}

/// Batches are batches, however they come about; so is a gate that the user requested.
#[test]
fn a_run_is_batched_when_it_has_batches_or_a_gate_that_was_asked_for() {
    let one = || vec![("r", vec![0, 1, 2])];
    let two = || vec![("r", vec![0]), ("s", vec![1])];
    let of = |steps: Vec<(&str, Vec<usize>)>, policy: Policy| plan_of(3, 0, &steps, Action::Restart, policy);
    let batched = |plan: &Plan| plan.tasks[0].batched;
    assert!(!batched(&of(one(), Policy::default())) && !batched(&of(two(), Policy::default())));
    assert!(batched(&of(one(), rolling("1"))) && batched(&of(two(), rolling("1"))));
    assert!(!batched(&of(one(), rolling("3"))) && !batched(&of(vec![("r", vec![0])], rolling("1"))));
    assert!(batched(&of(one(), Policy { check: Some("true".to_owned()), ..Policy::default() })));
    assert!(batched(&capped(of(one(), Policy::default()), "r", 2, vec![0, 1, 2])));
    assert!(!batched(&capped(of(one(), Policy::default()), "r", 3, vec![0, 1, 2])));
    assert!(!batched(&capped(of(vec![("r", vec![0])], Policy::default()), "r", 1, vec![0, 1, 2])));
    let reads = plan_of(3, 0, &one(), Action::Status, rolling("1"));
    assert!(!batched(&reads));
}

/// The visits of a run that a cap cuts know it, so that they wait for the same gates as batches do.
#[test]
fn visits_know_that_there_are_more_batches() {
    let visits = |limit: usize, natures: Vec<NodeBehavior>| -> Vec<bool> {
        let members = (0..natures.len()).collect();
        let watched = natures.len() - 2;
        let plan = plan_of(2, watched, &[("r", vec![0, 1])], Action::Restart, Policy::default());
        let world_plan = capped(plan, "r", limit, members);
        let world = TestRun::new(&world_plan, natures, Vec::new()).run(8);
        let node_batch = |effect: &Effect| {
            if let Effect::Start(WorkItem::Batch(node_batch)) = effect { Some(node_batch.batched) } else { None }
        };
        world.log.iter().filter_map(node_batch).collect()
    };
    assert_eq!(visits(1, all_good(2)), [true, true]);
    assert_eq!(visits(2, all_good(2)), [false, false]);
    assert_eq!(visits(2, vec![NodeBehavior::Good, NodeBehavior::Good, NodeBehavior::DownBefore]), [true, true]);
}

#[test]
fn a_check_that_fails_makes_its_node_fail() {
    let policy = Policy { check: Some("true".to_owned()), ..rolling("2") };
    let plan = plan_of(4, 0, &[("r", vec![0, 1, 2, 3])], Action::Restart, policy);
    let natures = vec![NodeBehavior::FailsTheCheck, NodeBehavior::Good, NodeBehavior::Good, NodeBehavior::Good];
    let world = TestRun::new(&plan, natures, Vec::new()).run(8);
    assert_eq!(world.batches(), [["n00", "n01"]]);
    assert_eq!(world.outcomes(), ["n00 failed/gate", "n01 changed", "n02 not_started/gate", "n03 not_started/gate"]);
}

#[test]
fn pauses_are_between_batches() {
    let policy = Policy { pause: std::time::Duration::from_secs(9), ..rolling("1") };
    let plan = plan_of(3, 0, &[("r", vec![0, 1]), ("s", vec![2])], Action::Restart, policy);
    let world = TestRun::new(&plan, all_good(3), Vec::new()).run(8);
    let words: Vec<&str> = world
        .log
        .iter()
        .filter_map(|effect| match effect {
            Effect::Pause(_) => Some("pause"),
            Effect::Record(EventKind::BatchStarted { .. }) => Some("batch"),
            _ => None,
        })
        .collect();
    assert_eq!(words, ["batch", "pause", "batch", "pause", "batch"]);
}

#[test]
fn a_lost_journal_begins_nothing_new() {
    let plan = plan_of(2, 0, &[("r", vec![0, 1])], Action::Status, Policy::default());
    let mut dispatcher = Dispatcher::new(&plan, 1, 1);
    let first = dispatcher.handle(DispatcherInput::Begin);
    assert!(first.contains(&Effect::Start(WorkItem::Batch(NodeBatch {
        step: StepIndex::default(),
        batch: 1,
        node: 0,
        batched: false
    }))));
    drop(dispatcher.handle(DispatcherInput::JournalLost));
    let effects = dispatcher.handle(DispatcherInput::Ended(
        WorkItem::Batch(NodeBatch { step: StepIndex::default(), batch: 1, node: 0, batched: false }),
        WorkItemEnd::Done,
    ));
    assert!(effects.contains(&Effect::Finish) && !effects.iter().any(|effect| matches!(effect, Effect::Start(_))));
}

/// The running work items, and the effects of a first signal, after so many of them have ended well.
fn interrupted_after(plan: &Plan, ended: usize) -> (Vec<WorkItem>, Vec<Effect>) {
    let mut dispatcher = Dispatcher::new(plan, 8, 1);
    let started = |effects: &[Effect]| -> Vec<WorkItem> {
        effects.iter().filter_map(|effect| if let Effect::Start(item) = effect { Some(*item) } else { None }).collect()
    };
    let mut running = started(&dispatcher.handle(DispatcherInput::Begin));
    for _ in 0..ended {
        let item = running.remove(0);
        let end = if let WorkItem::Inspect(_) = item {
            WorkItemEnd::Inspected(NodeInspection::default())
        } else {
            WorkItemEnd::Done
        };
        running.extend(started(&dispatcher.handle(DispatcherInput::Ended(item, end))));
    }
    let mut effects = dispatcher.handle(DispatcherInput::Signal(CancelReason::Interrupted));
    if !effects.contains(&Effect::Abandon) {
        // They end by themselves after the signal.
        assert!(effects.contains(&Effect::StopWaiting), "{effects:?}");
        for item in running.iter().copied().filter(|item| !matches!(item, WorkItem::Batch(_))) {
            effects.extend(dispatcher.handle(DispatcherInput::Ended(item, WorkItemEnd::Done)));
        }
    }
    (running, effects)
}

#[test]
fn a_first_signal_ends_what_has_changed_nothing_in_every_stage() {
    let plan = plan_of(2, 0, &[("r", vec![0, 1])], Action::Restart, Policy::default());
    // Two connect, then one lock and the other, then both are read.
    for ended in 0..6 {
        let (running, effects) = interrupted_after(&plan, ended);
        assert!(!running.iter().any(|item| matches!(item, WorkItem::Batch(_))), "{ended}: {running:?}");
        assert_eq!(effects.last(), Some(&Effect::Finish), "{ended}: {effects:?}");
        let results = effects.iter().filter(
            |effect| matches!(effect, Effect::Record(EventKind::Result(result)) if result.outcome == Outcome::NotStarted),
        );
        assert_eq!(results.count(), 2, "{ended}: {effects:?}");
    }
    let (running, effects) = interrupted_after(&plan, 6);
    assert!(running.iter().all(|item| matches!(item, WorkItem::Batch(_))), "{running:?}");
    assert!(
        !effects.contains(&Effect::Finish) && !effects.contains(&Effect::Abandon),
        "what acts finishes: {effects:?}"
    );
}

#[test]
fn a_first_signal_ends_what_only_reads() {
    for action in [Action::Status, Action::Ping, Action::Wait] {
        let plan = plan_of(2, 0, &[("r", vec![0, 1])], action, Policy::default());
        let (running, effects) = interrupted_after(&plan, 1);
        assert_eq!(running.len(), 1);
        assert!(
            effects.contains(&Effect::Abandon) && effects.last() == Some(&Effect::Finish),
            "{action:?}: {effects:?}"
        );
    }
}

#[test]
fn what_is_read_after_a_lost_journal_is_dropped_by_a_signal() {
    let plan = plan_of(1, 0, &[("r", vec![0])], Action::Status, Policy::default());
    let mut dispatcher = Dispatcher::new(&plan, 8, 1);
    drop(dispatcher.handle(DispatcherInput::Begin));
    drop(dispatcher.handle(DispatcherInput::JournalLost));
    assert_eq!(dispatcher.handle(DispatcherInput::Signal(CancelReason::Terminated)).last(), Some(&Effect::Finish));
}

/// A node that does not answer keeps no other from its turn, but a quarter of the forks is all that is lent, and nothing to
/// a few.
#[test]
fn the_fork_of_a_silent_node_goes_to_another() {
    let plan = plan_of(20, 0, &[("r", (0..20).collect())], Action::Status, Policy::default());
    let started = |effects: &[Effect]| effects.iter().filter(|effect| matches!(effect, Effect::Start(_))).count();
    let item = |node| WorkItem::Batch(NodeBatch { step: StepIndex::default(), batch: 1, node, batched: false });
    let silent = |node, is_silent| {
        DispatcherInput::Message(WorkerMessage { item: item(node), update: WorkerUpdate::Silent(is_silent) })
    };
    let mut dispatcher = Dispatcher::new(&plan, 8, 1);
    assert_eq!(started(&dispatcher.handle(DispatcherInput::Begin)), 8);
    assert_eq!(started(&dispatcher.handle(silent(0, true))), 1);
    assert_eq!(started(&dispatcher.handle(silent(1, true))), 1);
    assert_eq!(started(&dispatcher.handle(silent(2, true))), 0, "two of eight are lent");
    // One of three has its fork back; as many as before are lent.
    assert_eq!(started(&dispatcher.handle(silent(2, false))), 0);
    assert_eq!(started(&dispatcher.handle(silent(1, false))), 0);
    // Ten are at work, of nine: the next starts only when two have ended.
    assert_eq!(started(&dispatcher.handle(DispatcherInput::Ended(item(3), WorkItemEnd::Done))), 0);
    assert_eq!(started(&dispatcher.handle(DispatcherInput::Ended(item(4), WorkItemEnd::Done))), 1);
    // The fork that was lent comes back with the end of the silent node.
    assert_eq!(started(&dispatcher.handle(DispatcherInput::Ended(item(0), WorkItemEnd::Done))), 0);
    assert_eq!(started(&dispatcher.handle(DispatcherInput::Ended(item(5), WorkItemEnd::Done))), 1);
    let mut dispatcher = Dispatcher::new(&plan, 3, 1);
    assert_eq!(started(&dispatcher.handle(DispatcherInput::Begin)), 3);
    assert_eq!(started(&dispatcher.handle(silent(0, true))), 0);
}

/// The phases that are shown of a work item, or of the run as a whole.
fn shown(effects: &[Effect]) -> Vec<(Option<&str>, &ActivityPhase)> {
    let shown = |effect| match effect {
        &Effect::Record(EventKind::Progress { ref node, ref phase }) => Some((node.as_deref(), phase)),
        _ => None,
    };
    effects.iter().filter_map(shown).collect()
}

#[test]
fn who_is_not_waited_for_any_more_is_not_shown() {
    let plan = plan_of(2, 0, &[("r", vec![0, 1])], Action::Restart, Policy::default());
    let mut dispatcher = Dispatcher::new(&plan, 8, 1);
    drop(dispatcher.handle(DispatcherInput::Begin));
    let update = |item, phase| DispatcherInput::Message(WorkerMessage { item, update: WorkerUpdate::Phase(phase) });
    let connecting = ActivityPhase::work("connecting");
    let effects = dispatcher.handle(update(WorkItem::Connect(0), connecting.clone()));
    assert_eq!(shown(&effects), [(Some("n00"), &connecting)]);
    let effects = dispatcher.handle(DispatcherInput::Ended(WorkItem::Connect(0), WorkItemEnd::Done));
    assert_eq!(shown(&effects), [(Some("n00"), &ActivityPhase::default())]);
    drop(dispatcher.handle(DispatcherInput::Ended(WorkItem::Connect(1), WorkItemEnd::Done)));
    // A lock that is waited for stays shown during further attempts.
    let lock = ActivityPhase::wait(PhaseKind::Lock, "locked by x");
    let failure = Failure::new(Stage::Plan, FailureKind::Locked, "x");
    drop(dispatcher.handle(update(WorkItem::Lock(0), lock)));
    drop(dispatcher.handle(DispatcherInput::Ended(WorkItem::Lock(0), WorkItemEnd::Held(failure, true))));
    drop(dispatcher.handle(DispatcherInput::PauseOver));
    assert_eq!(shown(&dispatcher.handle(update(WorkItem::Lock(0), ActivityPhase::work("taking its lock")))), []);
    drop(dispatcher.handle(DispatcherInput::Ended(WorkItem::Lock(0), WorkItemEnd::Done)));
    let effects = dispatcher.handle(DispatcherInput::Ended(WorkItem::Lock(1), WorkItemEnd::Done));
    assert_eq!(shown(&effects), [(Some("n00"), &ActivityPhase::default())], "it has them all");
}

#[test]
fn a_pause_is_shown_with_its_length() {
    let pause = std::time::Duration::from_secs(9);
    let plan = plan_of(2, 0, &[("r", vec![0, 1])], Action::Restart, Policy { pause, ..rolling("1") });
    let world = TestRun::new(&plan, all_good(2), Vec::new()).run(8);
    let phases = shown(&world.log);
    assert!(matches!(phases.as_slice(), [(None, phase)] if phase.limit == Some(pause)), "{phases:?}");
}

fn any_plan() -> impl Strategy<Value = (Plan, Vec<NodeBehavior>)> {
    let natures = prop::collection::vec(prop::sample::select(NATURES.to_vec()), 1..9);
    let serial = prop::sample::select(vec!["1", "2", "1,3", "50%", "100%"]);
    let limit = prop::option::of(prop::sample::select(vec!["0", "1", "50%", "100%"]));
    let action = prop::sample::select(vec![Action::Restart, Action::Stop, Action::Start, Action::Status]);
    let caps = prop::collection::vec((0_usize..2, 1_usize..4), 0..2);
    (natures, prop::option::of(serial), limit, action, caps, any::<bool>(), any::<u16>(), 0_usize..3).prop_map(
        |(mut natures, serial, limit, action, caps, check, second, watched)| {
            let nodes = natures.len();
            natures.extend(NATURES.into_iter().skip(3).take(watched));
            let policy = Policy {
                serial: serial.map(|list| list.parse().expect("a list")),
                max_failures: limit.map(|limit| limit.parse().expect("a limit")),
                check: check.then(|| "true".to_owned()),
                ..Policy::default()
            };
            let all: Vec<usize> = (0..nodes).collect();
            let some = all.iter().copied().filter(|node| second >> node & 1 == 1).collect();
            let mut plan = plan_of(nodes, watched, &[("r", all), ("s", some)], action, policy);
            for (role, limit) in caps {
                let name = ["r", "s"][role];
                let members = plan.steps[role].nodes.iter().copied().chain(nodes..nodes + watched).collect();
                // Work that only reads or starts has no caps.
                if matches!(action, Action::Restart | Action::Stop) {
                    plan = capped(plan, name, limit, members);
                }
            }
            (plan, natures)
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2048))]

    /// Whatever fails or interrupts: the run ends; every target ends exactly once (the ledger refuses a second
    /// end); no more than the cap is down by the run's own doing and no visit follows a signal (both in `begin`); and no
    /// batch begins after the limit is exceeded.
    #[test]
    fn every_schedule_keeps_the_promises(
        (plan, natures) in any_plan(),
        forks in 1_usize..6,
        script in prop::collection::vec(any::<u8>(), 0..120),
    ) {
        let world = TestRun::new(&plan, natures, script).run(forks);
        let mut failed: BTreeSet<String> = BTreeSet::new();
        let limit = plan.tasks[0].policy.failure_limit(plan.tasks[0].batched);
        let nodes: BTreeSet<usize> = plan.steps.iter().flat_map(|step| step.nodes.iter().copied()).collect();
        for effect in &world.log {
            match effect {
                Effect::Record(EventKind::Result(result)) if matches!(result.outcome, Outcome::Failed | Outcome::Unreachable | Outcome::TimedOut | Outcome::Unknown) => {
                    failed.insert(result.node.clone());
                }
                Effect::Record(EventKind::BatchStarted { .. }) => {
                    prop_assert!(!limit.is_exceeded(failed.len(), nodes.len()), "{:?}", world.log);
                }
                _ => {}
            }
        }
        for index in 0..plan.selected {
            let name = &plan.nodes[index].node.name;
            let steps = plan.steps.iter().filter(|step| step.nodes.contains(&index)).count();
            let ends = world.ledger.results().iter().filter(|result| &result.node == name).count();
            let is_told_once = ends == steps || (ends >= 1 && failed.contains(name));
            prop_assert!(is_told_once, "{name} has {ends} ends in {steps} steps: {:?}", world.log);
        }
    }
}
