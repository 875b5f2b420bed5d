//! Schedules of sequences: whatever fails or interrupts, items keep their order and scopes are closed.

use proptest::prelude::*;

use super::{node, rolling};
use crate::engine::dispatcher::Dispatcher;
use crate::engine::effect::{DispatcherInput, Effect};
use crate::engine::message::{
    ItemVisit, NodeInspection, TargetKey, WorkItem, WorkItemEnd, WorkerMessage, WorkerUpdate,
};
use crate::engine::sequence::ItemPart;
use crate::results;
use ctl_event::{
    CancelReason, EventKind, Failure, FailureKind, ItemEvent, ItemState, Ledger, Outcome, RunEvent, Stage, TargetResult,
};
use ctl_plan::policy::Policy;
use ctl_plan::{
    ItemPlace, ItemUndo, ItemWork, Plan, PlanStep, Sequence, SequenceItem, Task, TaskIndex, UndoEnds, Work,
};

/// How one piece of work ends.
#[derive(Debug, Clone, Copy)]
enum ItemAnswer {
    Good,
    Bad,
    Lost,
    Broken,
}

/// A node that items of the others run on.
const HELPER: &str = "lb";

/// A sequence of commands on each of so many nodes; each is taken back on the ends with a bit, 0 for none. Where an item
/// runs: 1 for the helper, 2 for the first of the nodes, 3 for the controller, else the node itself.
fn plan_of(nodes: usize, scopes: &[(u8, u8)], policy: Policy) -> Plan {
    let undo = |bits: u8| {
        let ends = UndoEnds { success: bits & 1 != 0, failure: bits & 2 != 0, lost: true };
        (bits != 0).then(|| ItemUndo { command: "true".to_owned(), ends })
    };
    let item = |(index, (bits, place)): (usize, &(u8, u8))| SequenceItem {
        name: format!("i{index}"),
        place: match place {
            1 => ItemPlace::Helper(HELPER.to_owned()),
            2 => ItemPlace::Helper("n00".to_owned()),
            3 => ItemPlace::Controller,
            _ => ItemPlace::Node,
        },
        work: ItemWork::Exec { command: "true".to_owned() },
        timeout: None,
        undo: undo(*bits),
        renew: None,
    };
    let sequence = Sequence::new(scopes.iter().enumerate().map(item).collect());
    let mut plan = Plan {
        tasks: vec![Task { policy, ..Task::new(Work::Sequence(sequence.into()), true) }].into(),
        via: None,
        nodes: (0..nodes).map(|index| node(&format!("n{index:02}"), &["r"])).chain([node(HELPER, &[])]).collect(),
        selected: nodes,
        steps: vec![PlanStep { task: TaskIndex::default(), role: None, nodes: (0..nodes).collect() }].into(),
        caps: Vec::new(),
        idle: std::collections::BTreeSet::new(),
        known_roles: Vec::new(),
    };
    plan.find_batched();
    plan
}

/// What a worker would say about a work item.
fn answers(plan: &Plan, item: WorkItem, answer: ItemAnswer) -> Vec<DispatcherInput> {
    let failure = || Failure::new(Stage::Act, FailureKind::Command, "x");
    let end = |end| DispatcherInput::Ended(item, end);
    match (item, answer) {
        (WorkItem::Connect(node), ItemAnswer::Lost) if !plan.is_selected(node) => {
            vec![end(WorkItemEnd::Lost(Outcome::Unreachable, failure()))]
        }
        (WorkItem::Inspect(_), _) => vec![end(WorkItemEnd::Inspected(NodeInspection::default()))],
        (WorkItem::Item(ItemVisit { part: ItemPart::Keep, .. }), _) => vec![end(WorkItemEnd::Done)],
        (WorkItem::Item(_), ItemAnswer::Lost) => vec![end(WorkItemEnd::Lost(Outcome::Unreachable, failure()))],
        (WorkItem::Item(_), ItemAnswer::Broken) => vec![end(WorkItemEnd::Broken)],
        (WorkItem::Item(visit), ItemAnswer::Good | ItemAnswer::Bad) => {
            let is_bad = matches!(answer, ItemAnswer::Bad);
            let outcome = if is_bad { Outcome::Failed } else { Outcome::Changed };
            let result = results::of_item(plan, visit, outcome);
            let result = TargetResult { failure: is_bad.then(failure), ..result };
            let begun = WorkerUpdate::Begun(TargetKey::of(&result));
            let update = |update| DispatcherInput::Message(WorkerMessage { item, update });
            vec![update(begun), update(WorkerUpdate::Result(Box::new(result))), end(WorkItemEnd::Done)]
        }
        _ => vec![end(WorkItemEnd::Done)],
    }
}

/// The events of a whole run. `script`: which work ends next and how; a signal now and then.
fn run(plan: &Plan, forks: usize, script: &[u8]) -> (Vec<EventKind>, u32) {
    let mut dispatcher = Dispatcher::new(plan, forks, 1);
    let (mut running, mut events, mut signals, mut is_over) = (Vec::new(), Vec::new(), 0, false);
    let mut take = |effects: Vec<Effect>, running: &mut Vec<WorkItem>| {
        for effect in effects {
            match effect {
                Effect::Record(kind) => events.push(kind),
                Effect::Start(item) => {
                    let worker = item.worker();
                    assert!(running.iter().all(|other| other.worker() != worker), "two at once on node {worker}");
                    running.push(item);
                }
                Effect::Abandon => running.clear(),
                Effect::Finish => is_over = true,
                _ => {}
            }
        }
        assert!(running.len() <= forks);
        is_over
    };
    let mut ended = take(dispatcher.handle(DispatcherInput::Begin), &mut running);
    for chance in script.iter().copied().chain(std::iter::repeat_n(0, 5000)) {
        if ended {
            break;
        }
        if chance > 247 {
            signals += 1;
            ended = take(dispatcher.handle(DispatcherInput::Signal(CancelReason::Interrupted)), &mut running);
            continue;
        }
        let item = running.remove(usize::from(chance) % running.len());
        let answer = match chance % 23 {
            20 => ItemAnswer::Bad,
            21 => ItemAnswer::Lost,
            22 => ItemAnswer::Broken,
            _ => ItemAnswer::Good,
        };
        for input in answers(plan, item, answer) {
            ended = take(dispatcher.handle(input), &mut running);
        }
    }
    assert!(ended, "the run does not end: {events:?}");
    (events, signals)
}

/// The scopes and items of one node, checked step by step.
#[derive(Default)]
struct NodeOrder {
    open: Vec<u32>,
    last_started: u32,
    is_running: bool,
    has_failed: bool,
}

impl NodeOrder {
    fn check(&mut self, event: &ItemEvent) {
        let number = event.label.item_number;
        match event.state {
            ItemState::Opened => self.open.push(number),
            ItemState::Started => {
                assert!(!self.is_running && !self.has_failed, "{event:?} starts behind one that is not done");
                assert!(number > self.last_started, "{event:?} starts out of its order");
                (self.is_running, self.last_started) = (true, number);
            }
            ItemState::Done => self.is_running = false,
            ItemState::Failed => (self.is_running, self.has_failed) = (false, true),
            ItemState::Undone | ItemState::UndoFailed | ItemState::Kept => {
                assert!(!self.is_running, "{event:?} while an item runs");
                assert_eq!(self.open.pop(), Some(number), "{event:?} is not the last that was opened");
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1024))]

    #[test]
    fn items_keep_their_order_and_scopes_are_closed(
        nodes in 1_usize..5,
        scopes in prop::collection::vec((0_u8..4, 0_u8..5), 1..5),
        serial in prop::sample::select(vec!["1", "2", "100%"]),
        check in any::<bool>(),
        forks in 1_usize..4,
        script in prop::collection::vec(any::<u8>(), 0..150),
    ) {
        let policy = Policy { check: check.then(|| "true".to_owned()), ..rolling(serial) };
        let plan = plan_of(nodes, &scopes, policy);
        let (events, signals) = run(&plan, forks, &script);
        let mut ledger = Ledger::default();
        let mut orders: Vec<NodeOrder> = (0..nodes).map(|_| NodeOrder::default()).collect();
        let mut is_stopped = false;
        for (seq, kind) in (0..).zip(events.iter().filter(|kind| !matches!(kind, EventKind::Progress { .. }))) {
            match kind {
                EventKind::Item(event) => {
                    let index: usize = event.node[1..].parse().expect("a node");
                    orders[index].check(event);
                }
                EventKind::CancelBegan { .. } => is_stopped = true,
                EventKind::NodeStarted { .. } => prop_assert!(!is_stopped, "a node starts after a signal"),
                _ => {}
            }
            let event = RunEvent {
                seq,
                at: jiff::Timestamp::UNIX_EPOCH,
                elapsed: std::time::Duration::ZERO,
                kind: kind.clone(),
            };
            // The ledger refuses a second result of an item.
            ledger.apply(&event).unwrap_or_else(|error| panic!("{error} in {events:?}"));
        }
        prop_assert!(ledger.results().iter().all(|own| own.node != HELPER), "the helper is no node of the run");
        for (index, order) in orders.iter().enumerate() {
            // A third signal drops open scopes, and the ledger says so.
            let kept = ledger.kept().unwrap_or_default();
            let is_said = |number: &u32| {
                let name = &plan.nodes[index].node.name;
                kept.iter().any(|own| own.node == *name && own.item_number == *number)
            };
            prop_assert!(order.open.is_empty() || signals >= 3, "open scopes of {index}: {events:?}");
            prop_assert!(order.open.iter().all(is_said), "{kept:?}");
            let results = ledger.results().iter().filter(|own| own.node == plan.nodes[index].node.name);
            let items = results.clone().filter(|own| own.item.as_ref().is_some_and(|label| !label.undo)).count();
            prop_assert!(items == scopes.len() || (items == 0 && results.count() == 1), "{events:?}");
        }
    }
}
