//! Decides: which node is next, what a signal means, when the run is over.
//!
//! Synchronous, without I/O and without a clock, so that every schedule can be replayed in a test: inputs go in,
//! orders come out. What always holds: no node is started after the first signal; every visit of the plan ends
//! exactly once, and with results for everything that was selected.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use super::message::{Message, News, TargetKey, Visit, VisitEnd};
use crate::event::{CancelReason, EventKind, Failure, FailureKind, Outcome, Stage, TargetResult};
use crate::plan::Plan;

/// What the dispatcher is told.
#[derive(Debug)]
pub(super) enum Input {
    /// The run may begin.
    Begin,
    /// News of a node task.
    Message(Message),
    /// A visit's task has ended.
    Ended(Visit, VisitEnd),
    /// The process was told to end.
    Signal(CancelReason),
}

/// What is to be done.
#[derive(Debug, PartialEq)]
#[expect(clippy::large_enum_variant, reason = "most orders are records, and an order lives for a moment")]
pub(super) enum Order {
    /// Tell the world.
    Record(EventKind),
    /// Let a node task work.
    Grant(Visit),
    /// Tell the tasks to give up waiting, and to start again what they have stopped.
    GiveUp,
    /// Drop the tasks.
    Abandon,
    /// Nothing more will come.
    Finish,
}

/// The state of a run.
pub(super) struct Dispatcher<'a> {
    plan: &'a Plan,
    forks: usize,
    /// Batches not begun.
    batches: VecDeque<usize>,
    /// Visits of the batch at work that wait for a fork.
    waiting: VecDeque<Visit>,
    running: BTreeMap<Visit, Progress>,
    /// Nodes that cannot be asked.
    lost: BTreeSet<usize>,
    signals: u32,
    cancel: Option<CancelReason>,
    finished: bool,
}

/// What is known of a visit at work.
#[derive(Default)]
struct Progress {
    found: Vec<TargetKey>,
    begun: BTreeSet<TargetKey>,
    ended: BTreeSet<TargetKey>,
}

impl<'a> Dispatcher<'a> {
    /// A dispatcher for `plan` that lets at most `forks` nodes be worked on at once.
    pub(super) fn new(plan: &'a Plan, forks: usize) -> Self {
        Self {
            plan,
            forks: forks.max(1),
            batches: (0..plan.batches().count()).collect(),
            waiting: VecDeque::new(),
            running: BTreeMap::new(),
            lost: BTreeSet::new(),
            signals: 0,
            cancel: None,
            finished: false,
        }
    }

    /// The one place where something is decided.
    pub(super) fn handle(&mut self, input: Input) -> Vec<Order> {
        let mut orders = Vec::new();
        match input {
            Input::Begin => {}
            Input::Message(message) => self.message(message, &mut orders),
            Input::Ended(visit, end) => self.ended(visit, end, &mut orders),
            Input::Signal(reason) => self.signal(reason, &mut orders),
        }
        self.advance(&mut orders);
        orders
    }

    /// The reason for which the run is given up, if it is.
    pub(super) fn cancel(&self) -> Option<CancelReason> {
        self.cancel
    }

    fn message(&mut self, message: Message, orders: &mut Vec<Order>) {
        let Some(progress) = self.running.get_mut(&message.visit) else { return };
        match message.news {
            News::Phase(phase) => {
                let node = node_name(self.plan, message.visit.node);
                orders.push(Order::Record(EventKind::Progress { node, phase }));
            }
            News::Targets(found) => progress.found = found,
            News::Begun(key) => {
                progress.begun.insert(key);
            }
            News::Result(result) => {
                if progress.ended.insert(TargetKey::of(&result)) {
                    orders.push(Order::Record(EventKind::Result(*result)));
                }
            }
        }
    }

    fn ended(&mut self, visit: Visit, end: VisitEnd, orders: &mut Vec<Order>) {
        let Some(progress) = self.running.remove(&visit) else { return };
        if end == VisitEnd::NodeLost {
            self.lost.insert(visit.node);
        }
        self.fill(visit, &progress, end, orders);
        orders.push(Order::Record(EventKind::NodeFinished {
            batch: visit.batch,
            node: node_name(self.plan, visit.node),
        }));
    }

    fn signal(&mut self, reason: CancelReason, orders: &mut Vec<Order>) {
        self.signals += 1;
        match self.signals {
            1 => {
                self.cancel = Some(reason);
                orders.push(Order::Record(EventKind::CancelBegan { reason }));
            }
            2 => {
                orders.push(Order::Record(EventKind::CancelBegan { reason: CancelReason::GivenUp }));
                orders.push(Order::GiveUp);
            }
            _ => {
                orders.push(Order::Abandon);
                for (visit, progress) in std::mem::take(&mut self.running) {
                    self.fill(visit, &progress, VisitEnd::Done, orders);
                    let node = node_name(self.plan, visit.node);
                    orders.push(Order::Record(EventKind::NodeFinished { batch: visit.batch, node }));
                }
            }
        }
    }

    fn advance(&mut self, orders: &mut Vec<Order>) {
        while !self.finished {
            if self.cancel.is_some() {
                self.drop_what_waits(orders);
            }
            while self.running.len() < self.forks
                && let Some(visit) = self.waiting.pop_front()
            {
                self.start(visit, orders);
            }
            if !self.running.is_empty() {
                return;
            }
            match self.batches.pop_front() {
                Some(index) => self.open_batch(index, orders),
                None if self.waiting.is_empty() => {
                    self.finished = true;
                    orders.push(Order::Finish);
                }
                None => {}
            }
        }
    }

    fn open_batch(&mut self, index: usize, orders: &mut Vec<Order>) {
        let Some((role, batch)) = self.plan.batches().nth(index) else { return };
        orders.push(Order::Record(EventKind::BatchStarted {
            batch: batch.number,
            role: role.map(str::to_owned),
            nodes: batch.nodes.iter().map(|node| node_name(self.plan, *node)).collect(),
        }));
        self.waiting = batch.nodes.iter().map(|node| Visit { batch: batch.number, node: *node }).collect();
    }

    fn start(&mut self, visit: Visit, orders: &mut Vec<Order>) {
        let node = node_name(self.plan, visit.node);
        if self.lost.contains(&visit.node) {
            orders.push(Order::Record(EventKind::NodeFinished { batch: visit.batch, node }));
            return;
        }
        let reason = self.plan.selection.nodes.get(visit.node).and_then(|selected| selected.node.maintenance.clone());
        if let Some(reason) = reason {
            // One word for all its visits: a node is not in maintenance once a step.
            self.lost.insert(visit.node);
            for mut result in self.typed(visit, Outcome::Skipped) {
                result.message = format!("maintenance: {reason}");
                orders.push(Order::Record(EventKind::Result(result)));
            }
            orders.push(Order::Record(EventKind::NodeFinished { batch: visit.batch, node }));
            return;
        }
        self.running.insert(visit, Progress::default());
        orders.push(Order::Record(EventKind::NodeStarted { batch: visit.batch, node }));
        orders.push(Order::Grant(visit));
    }

    /// After a signal: everything not begun is told as such, batch by batch.
    fn drop_what_waits(&mut self, orders: &mut Vec<Order>) {
        loop {
            for visit in std::mem::take(&mut self.waiting) {
                if !self.lost.contains(&visit.node) {
                    for result in self.not_begun(visit) {
                        orders.push(Order::Record(EventKind::Result(result)));
                    }
                }
                let node = node_name(self.plan, visit.node);
                orders.push(Order::Record(EventKind::NodeFinished { batch: visit.batch, node }));
            }
            match self.batches.pop_front() {
                Some(index) => self.open_batch(index, orders),
                None => return,
            }
        }
    }

    /// Gives every target of an ended visit that has no result yet the one that is true of it.
    fn fill(&self, visit: Visit, progress: &Progress, end: VisitEnd, orders: &mut Vec<Order>) {
        for key in progress.found.iter().filter(|key| !progress.ended.contains(key)) {
            let begun = progress.begun.contains(key);
            let outcome = if begun { Outcome::Unknown } else { Outcome::NotStarted };
            let mut result = self.result(visit, outcome);
            result.role.clone_from(&key.role);
            result.supervisor.clone_from(&key.supervisor);
            result.service.clone_from(&key.service);
            result.failure = Some(if end == VisitEnd::Broken { defect() } else { given_up(begun) });
            orders.push(Order::Record(EventKind::Result(result)));
        }
        if progress.found.is_empty() && progress.ended.is_empty() {
            let begun = !progress.begun.is_empty();
            let (outcome, failure) = match (end, self.cancel) {
                (VisitEnd::Broken, _) if begun => (Outcome::Unknown, Some(defect())),
                (VisitEnd::Done | VisitEnd::NodeLost, Some(_)) if begun => (Outcome::Unknown, Some(given_up(true))),
                (VisitEnd::Broken, _) => (Outcome::Failed, Some(defect())),
                (VisitEnd::Done | VisitEnd::NodeLost, Some(_)) => (Outcome::NotStarted, Some(interrupted())),
                (VisitEnd::Done | VisitEnd::NodeLost, None) => (Outcome::NotConfigured, None),
            };
            for mut result in self.typed(visit, outcome) {
                if failure.is_none() {
                    result.message = "nothing to do on this node".to_owned();
                }
                result.failure.clone_from(&failure);
                orders.push(Order::Record(EventKind::Result(result)));
            }
        }
    }

    fn not_begun(&self, visit: Visit) -> Vec<TargetResult> {
        let mut results = self.typed(visit, Outcome::NotStarted);
        for result in &mut results {
            result.failure = Some(interrupted());
        }
        results
    }

    /// One result for each service as it was typed.
    fn typed(&self, visit: Visit, outcome: Outcome) -> Vec<TargetResult> {
        let services = &self.plan.selection.services;
        let names: Vec<Option<String>> = if services.is_empty() {
            vec![None]
        } else {
            services.iter().map(|service| Some(service.as_str().to_owned())).collect()
        };
        let with = |service| TargetResult { service, ..self.result(visit, outcome) };
        names.into_iter().map(with).collect()
    }

    fn result(&self, visit: Visit, outcome: Outcome) -> TargetResult {
        let mut result = TargetResult::new(node_name(self.plan, visit.node), outcome);
        let selected = self.plan.selection.nodes.get(visit.node);
        let step = self.plan.batches().find(|(_, batch)| batch.number == visit.batch).and_then(|(role, _)| role);
        result.address = selected.map(|selected| selected.node.address.clone());
        result.role = step.map(str::to_owned).or_else(|| {
            selected
                .filter(|selected| selected.roles.len() == 1)
                .and_then(|selected| Some(selected.roles.first()?.name.clone()))
        });
        result.batch = Some(visit.batch);
        result
    }
}

fn node_name(plan: &Plan, index: usize) -> String {
    plan.selection.nodes.get(index).map(|selected| selected.node.name.clone()).unwrap_or_default()
}

fn interrupted() -> Failure {
    Failure::new(Stage::Plan, FailureKind::Interrupted, "not begun: the run was interrupted")
}

fn given_up(begun: bool) -> Failure {
    let message = if begun { "the wait for its end was given up" } else { "not begun: the run was interrupted" };
    let failure = Failure::new(Stage::Act, FailureKind::Interrupted, message);
    if begun { failure.with_hint("look with `ctl status` what became of it") } else { failure }
}

fn defect() -> Failure {
    Failure::new(Stage::Act, FailureKind::Protocol, "a defect in ctl ended the work on this node")
        .with_hint("look with `ctl status` what became of it, and report the defect")
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use proptest::prelude::*;

    use super::*;
    use crate::inventory::{Node, SshSettings};
    use crate::plan::{Action, Batch, Step};
    use crate::select::{SelectedNode, Selection, ServicePattern};

    fn plan_of(nodes: usize, batches: &[&[usize]]) -> Plan {
        let node = |index: usize| SelectedNode {
            node: Arc::new(Node {
                name: format!("n{index}"),
                address: format!("127.0.0.{index}"),
                roles: Vec::new(),
                ssh: SshSettings::default(),
                sudo: false,
                via: None,
                timeout: None,
                maintenance: None,
            }),
            roles: Vec::new(),
        };
        let step = |(number, nodes): (u32, &&[usize])| Step {
            role: Some(format!("r{number}")),
            batches: vec![Batch { number, nodes: nodes.to_vec() }],
        };
        Plan {
            action: Action::Restart,
            via: None,
            selection: Selection {
                nodes: (0..nodes).map(node).collect(),
                services: vec![ServicePattern::parse("x").expect("a name")],
                by_hand: false,
                whole_inventory: true,
            },
            steps: (1..).zip(batches).map(step).collect(),
        }
    }

    fn granted(orders: &[Order]) -> Vec<Visit> {
        orders.iter().filter_map(|order| if let Order::Grant(visit) = order { Some(*visit) } else { None }).collect()
    }

    fn results(orders: &[Order]) -> Vec<(String, Option<u32>, Outcome)> {
        let result = |order: &Order| {
            let Order::Record(EventKind::Result(result)) = order else { return None };
            Some((result.node.clone(), result.batch, result.outcome))
        };
        orders.iter().filter_map(result).collect()
    }

    fn visit(batch: u32, node: usize) -> Visit {
        Visit { batch, node }
    }

    fn told(visit: Visit, node: &str) -> Input {
        let mut result = TargetResult::new(node, Outcome::Changed);
        result.batch = Some(visit.batch);
        Input::Message(Message { visit, news: News::Result(Box::new(result)) })
    }

    #[test]
    fn forks_bound_the_nodes_and_batches_follow_each_other() {
        let plan = plan_of(3, &[&[0, 1, 2], &[0]]);
        let mut dispatcher = Dispatcher::new(&plan, 2);
        assert_eq!(granted(&dispatcher.handle(Input::Begin)), [visit(1, 0), visit(1, 1)]);
        dispatcher.handle(told(visit(1, 0), "n0"));
        assert_eq!(granted(&dispatcher.handle(Input::Ended(visit(1, 0), VisitEnd::Done))), [visit(1, 2)]);
        assert_eq!(granted(&dispatcher.handle(Input::Ended(visit(1, 1), VisitEnd::Done))), []);
        assert_eq!(granted(&dispatcher.handle(Input::Ended(visit(1, 2), VisitEnd::Done))), [visit(2, 0)]);
        let last = dispatcher.handle(Input::Ended(visit(2, 0), VisitEnd::Done));
        assert_eq!(last.last(), Some(&Order::Finish));
    }

    #[test]
    fn the_first_signal_starts_no_new_node_and_tells_of_all_that_wait() {
        let plan = plan_of(3, &[&[0, 1], &[2]]);
        let mut dispatcher = Dispatcher::new(&plan, 1);
        dispatcher.handle(Input::Begin);
        let orders = dispatcher.handle(Input::Signal(CancelReason::Interrupted));
        assert_eq!(granted(&orders), []);
        assert_eq!(
            results(&orders),
            [("n1".to_owned(), Some(1), Outcome::NotStarted), ("n2".to_owned(), Some(2), Outcome::NotStarted)]
        );
        assert!(!orders.contains(&Order::Finish), "n0 is still at work");
        dispatcher.handle(told(visit(1, 0), "n0"));
        let orders = dispatcher.handle(Input::Ended(visit(1, 0), VisitEnd::Done));
        assert_eq!(results(&orders), []);
        assert_eq!(orders.last(), Some(&Order::Finish));
        assert_eq!(dispatcher.cancel(), Some(CancelReason::Interrupted));
    }

    #[test]
    fn the_second_signal_gives_up_and_the_third_leaves() {
        let plan = plan_of(1, &[&[0]]);
        let mut dispatcher = Dispatcher::new(&plan, 1);
        dispatcher.handle(Input::Begin);
        let key = TargetKey { role: None, supervisor: Some("s".to_owned()), service: Some("x".to_owned()) };
        let other = TargetKey { service: Some("y".to_owned()), ..key.clone() };
        let news = |news| Input::Message(Message { visit: visit(1, 0), news });
        dispatcher.handle(news(News::Targets(vec![key.clone(), other])));
        dispatcher.handle(news(News::Begun(key)));
        dispatcher.handle(Input::Signal(CancelReason::Terminated));
        assert!(dispatcher.handle(Input::Signal(CancelReason::Terminated)).contains(&Order::GiveUp));
        let orders = dispatcher.handle(Input::Signal(CancelReason::Interrupted));
        assert!(orders.contains(&Order::Abandon));
        let outcomes: Vec<Outcome> = results(&orders).into_iter().map(|(_, _, outcome)| outcome).collect();
        assert_eq!(outcomes, [Outcome::Unknown, Outcome::NotStarted]);
        assert_eq!(orders.last(), Some(&Order::Finish));
        assert_eq!(dispatcher.cancel(), Some(CancelReason::Terminated), "the first reason stands");
    }

    #[test]
    fn a_node_that_cannot_be_asked_is_told_of_once() {
        let plan = plan_of(1, &[&[0], &[0]]);
        let mut dispatcher = Dispatcher::new(&plan, 4);
        dispatcher.handle(Input::Begin);
        let news = News::Result(Box::new(TargetResult::new("n0", Outcome::Unreachable)));
        dispatcher.handle(Input::Message(Message { visit: visit(1, 0), news }));
        let orders = dispatcher.handle(Input::Ended(visit(1, 0), VisitEnd::NodeLost));
        assert_eq!(granted(&orders), []);
        assert_eq!(results(&orders), []);
        assert_eq!(orders.last(), Some(&Order::Finish));
    }

    #[test]
    fn a_task_that_breaks_leaves_no_target_without_a_result() {
        let plan = plan_of(1, &[&[0]]);
        let mut dispatcher = Dispatcher::new(&plan, 4);
        dispatcher.handle(Input::Begin);
        let orders = dispatcher.handle(Input::Ended(visit(1, 0), VisitEnd::Broken));
        assert_eq!(results(&orders), [("n0".to_owned(), Some(1), Outcome::Failed)]);
    }

    #[derive(Debug, Clone, Copy)]
    enum Turn {
        Signal,
        End(VisitEnd),
    }

    fn scripts() -> impl Strategy<Value = Vec<Turn>> {
        let step = prop_oneof![
            1 => Just(Turn::Signal),
            4 => Just(Turn::End(VisitEnd::Done)),
            1 => Just(Turn::End(VisitEnd::NodeLost)),
            1 => Just(Turn::End(VisitEnd::Broken)),
        ];
        proptest::collection::vec(step, 0..40)
    }

    proptest! {
        /// Under any script of ends and signals: every visit of the plan ends once, no visit is granted twice, no
        /// more than `forks` at once, every node has a result, and the run finishes once.
        #[test]
        fn every_visit_ends_exactly_once(script in scripts(), forks in 1_usize..5) {
            let plan = plan_of(5, &[&[0, 1, 2, 3], &[4], &[0, 2, 4]]);
            let mut dispatcher = Dispatcher::new(&plan, forks);
            let mut all = dispatcher.handle(Input::Begin);
            let mut open = granted(&all);
            let mut steps = script.into_iter();
            while !all.contains(&Order::Finish) {
                let input = match (steps.next(), open.first().copied()) {
                    (Some(Turn::Signal), _) | (_, None) => Input::Signal(CancelReason::Interrupted),
                    (Some(Turn::End(end)), Some(visit)) => {
                        open.remove(0);
                        Input::Ended(visit, end)
                    }
                    (None, Some(visit)) => {
                        open.remove(0);
                        Input::Ended(visit, VisitEnd::Done)
                    }
                };
                let orders = dispatcher.handle(input);
                open.extend(granted(&orders));
                if orders.contains(&Order::Abandon) {
                    open.clear();
                }
                prop_assert!(open.len() <= forks);
                all.extend(orders);
            }
            let mut ends: Vec<(u32, String)> = all
                .iter()
                .filter_map(|order| {
                    let Order::Record(EventKind::NodeFinished { batch, node }) = order else { return None };
                    Some((*batch, node.clone()))
                })
                .collect();
            ends.sort();
            let mut expected: Vec<(u32, String)> = plan.batches()
                .flat_map(|(_, batch)| batch.nodes.iter().map(|node| (batch.number, format!("n{node}"))))
                .collect();
            expected.sort();
            prop_assert_eq!(ends, expected);
            let mut visits = granted(&all);
            let count = visits.len();
            visits.sort();
            visits.dedup();
            prop_assert_eq!(visits.len(), count);
            prop_assert_eq!(all.iter().filter(|order| **order == Order::Finish).count(), 1);
            for node in 0..5 {
                let name = format!("n{node}");
                prop_assert!(results(&all).iter().any(|(of, _, _)| *of == name), "{} has no result", name);
            }
        }
    }
}
