//! Schedules of more than one task, in which a node or a lock is lost on the way.

use std::collections::VecDeque;

use super::*;

/// One task for each of these services, on all nodes of a role of which one may be down at once.
fn rollout(services: &[&str], nodes: usize, watched: usize) -> Plan {
    let selected: Vec<usize> = (0..nodes).collect();
    let mut plan = plan_of(nodes, watched, &[("r", selected.clone())], Action::Restart, Policy::default());
    let task = |name: &&str| {
        let services = vec![ServicePattern::parse(name).expect("a name")];
        Task::new(Work::example(Action::Restart, services), true)
    };
    plan.tasks = services.iter().map(task).collect();
    let step = |task| PlanStep { task: TaskIndex::from(task), role: Some("r".to_owned()), nodes: selected.clone() };
    plan.steps = (0..services.len()).map(step).collect();
    let cap = |task| RoleCap {
        task: TaskIndex::from(task),
        role: "r".to_owned(),
        amount: NodeAmount::Nodes(1),
        limit: 1,
        members: (0..nodes + watched).collect(),
        expected: true,
    };
    plan.caps = (0..services.len()).map(cap).collect();
    plan.find_batched();
    plan
}

/// Runs a plan to its end: `answer` is what comes of an order, if something else does than that all goes as it should.
fn replay(plan: &Plan, mut answer: impl FnMut(&Effect) -> Option<DispatcherInput>) -> Vec<Effect> {
    let mut dispatcher = Dispatcher::new(plan, 8, 1);
    let mut inputs = VecDeque::from([DispatcherInput::Begin]);
    let mut log = Vec::new();
    while let Some(input) = inputs.pop_front() {
        for order in dispatcher.handle(input) {
            let usual = match &order {
                Effect::Start(item @ WorkItem::Inspect(_)) => {
                    Some(DispatcherInput::Ended(*item, WorkItemEnd::Inspected(NodeInspection::default())))
                }
                Effect::Start(item) => Some(DispatcherInput::Ended(*item, WorkItemEnd::Done)),
                Effect::Pause(_) => Some(DispatcherInput::PauseOver),
                _ => None,
            };
            inputs.extend(answer(&order).or(usual));
            log.push(order);
        }
    }
    assert_eq!(log.last(), Some(&Effect::Finish), "{log:?}");
    log
}

/// The step and the node of each visit.
fn visits(log: &[Effect]) -> Vec<(usize, usize)> {
    let node_batch = |order: &Effect| match order {
        Effect::Start(WorkItem::Batch(node_batch)) => Some((node_batch.step.into(), node_batch.node)),
        _ => None,
    };
    log.iter().filter_map(node_batch).collect()
}

/// The results of nodes that were not visited.
fn unvisited(log: &[Effect]) -> Vec<String> {
    let result = |order: &Effect| match order {
        Effect::Record(EventKind::Result(result)) if result.batch.is_none() => {
            let kind = result.failure.as_ref().map(|failure| format!("/{}", failure.kind)).unwrap_or_default();
            Some(format!("{} {} {}{kind}", result.node, result.service.as_deref().unwrap_or("-"), result.outcome))
        }
        _ => None,
    };
    log.iter().filter_map(result).collect()
}

fn notices(log: &[Effect]) -> Vec<&str> {
    let notice = |order| match order {
        &Effect::Record(EventKind::Notice { ref message }) => Some(message.as_str()),
        _ => None,
    };
    log.iter().filter_map(notice).collect()
}

fn lost(outcome: Outcome, kind: FailureKind) -> WorkItemEnd {
    WorkItemEnd::Lost(outcome, Failure::new(Stage::Inspect, kind, "x"))
}

/// Ends a duty so when it is given for the `nth` time, counted from 1.
fn nth_time(wanted: WorkItem, nth: usize, end: WorkItemEnd) -> impl FnMut(&Effect) -> Option<DispatcherInput> {
    let mut seen = 0;
    move |order| {
        seen += usize::from(*order == Effect::Start(wanted));
        (*order == Effect::Start(wanted) && seen == nth).then(|| DispatcherInput::Ended(wanted, end.clone()))
    }
}

#[test]
fn a_lock_that_is_lost_between_two_tasks_repeats_nothing() {
    let plan = rollout(&["x", "y"], 2, 0);
    let held = |again| WorkItemEnd::Held(Failure::new(Stage::Plan, FailureKind::Locked, "x"), again);
    // It is free again after a while: the locks are taken anew, the nodes read, and the second task is carried out.
    let log = replay(&plan, nth_time(WorkItem::Inspect(1), 2, held(true)));
    assert_eq!(visits(&log), [(0, 0), (0, 1), (1, 0), (1, 1)]);
    let count = |order: &Effect| log.iter().filter(|own| *own == order).count();
    assert_eq!((count(&Effect::Unlock), count(&Effect::Start(WorkItem::Lock(1)))), (1, 2), "{log:?}");
    assert_eq!(count(&Effect::Start(WorkItem::Inspect(0))), 3, "{log:?}");
    let read = |order: &&Effect| matches!(order, Effect::Record(EventKind::Inspected { .. }));
    assert_eq!(log.iter().filter(read).count(), 2, "what the first task found stands");
    assert_eq!(unvisited(&log), [""; 0]);
    // It stays locked, or the wait for it is interrupted: the first task has no further result.
    let log = replay(&plan, nth_time(WorkItem::Inspect(1), 2, held(false)));
    assert_eq!(visits(&log), [(0, 0), (0, 1)]);
    assert_eq!(unvisited(&log), ["n00 y not_started/locked", "n01 y not_started/locked"]);
    let mut lose = nth_time(WorkItem::Inspect(1), 2, held(true));
    let log = replay(&plan, |order| match order {
        Effect::Pause(_) => Some(DispatcherInput::Signal(CancelReason::Interrupted)),
        _ => lose(order),
    });
    assert_eq!(visits(&log), [(0, 0), (0, 1)]);
    assert_eq!(unvisited(&log), ["n00 y not_started/interrupted", "n01 y not_started/interrupted"]);
}

/// With nobody left to visit, only the rest of the run is given up.
#[test]
fn nodes_that_are_all_lost_with_a_lock_repeat_nothing() {
    let plan = rollout(&["x", "y"], 1, 1);
    let held = WorkItemEnd::Held(Failure::new(Stage::Plan, FailureKind::Locked, "x"), true);
    let mut lose = nth_time(WorkItem::Inspect(1), 2, held);
    let mut unreachable = nth_time(WorkItem::Inspect(0), 2, lost(Outcome::Unreachable, FailureKind::Refused));
    let log = replay(&plan, |order| lose(order).or_else(|| unreachable(order)));
    assert_eq!(visits(&log), [(0, 0)]);
    assert_eq!(unvisited(&log), ["n00 y unreachable/refused"]);
}

#[test]
fn a_node_that_is_lost_has_a_result_in_each_task_to_come() {
    let plan = rollout(&["x", "y", "z"], 2, 0);
    let refused = || lost(Outcome::Unreachable, FailureKind::Refused);
    let results = |services: &[&str]| -> Vec<String> {
        services.iter().map(|service| format!("n00 {service} unreachable/refused")).collect()
    };
    // The others are kept back: the node counts as failed in each of these tasks.
    let of_first = |log: &[Effect]| -> Vec<String> {
        unvisited(log).into_iter().filter(|result| result.starts_with("n00")).collect()
    };
    let log = replay(&plan, nth_time(WorkItem::Connect(0), 1, refused()));
    assert_eq!(of_first(&log), results(&["x", "y", "z"]));
    let log = replay(&plan, nth_time(WorkItem::Inspect(0), 2, refused()));
    assert_eq!(of_first(&log), results(&["y", "z"]));
    assert_eq!(visits(&log), [(0, 0), (0, 1)]);
    let node_batch = WorkItem::Batch(NodeBatch { step: StepIndex::default(), batch: 1, node: 0, batched: true });
    let log = replay(&plan, nth_time(node_batch, 1, refused()));
    assert_eq!(of_first(&log), results(&["y", "z"]));
    // Tasks that mean the same have one result.
    let log = replay(&rollout(&["x", "x"], 2, 0), nth_time(WorkItem::Connect(0), 1, refused()));
    assert_eq!(of_first(&log), results(&["x"]));
}

#[test]
fn a_node_in_maintenance_is_skipped_in_each_task() {
    let mut plan = rollout(&["x", "y"], 2, 0);
    let node = Arc::make_mut(&mut plan.nodes[0].node);
    node.maintenance = Some("disk".to_owned());
    let log = replay(&plan, |_| None);
    assert_eq!(unvisited(&log), ["n00 x skipped", "n00 y skipped"]);
    assert_eq!(visits(&log), [(0, 1), (1, 1)]);
}

/// It is still read, and one notice says that it is not locked, however often the locks are tried.
#[test]
fn a_watched_node_that_cannot_be_locked_counts_if_it_is_down() {
    let plan = rollout(&["x"], 2, 1);
    let of = |is_down: bool| {
        let held = WorkItemEnd::Held(Failure::new(Stage::Plan, FailureKind::Locked, "x"), true);
        let mut wait = nth_time(WorkItem::Lock(1), 1, held);
        replay(&plan, move |order| match order {
            Effect::Start(item @ WorkItem::Lock(2)) => {
                Some(DispatcherInput::Ended(*item, lost(Outcome::Failed, FailureKind::Command)))
            }
            Effect::Start(item @ WorkItem::Inspect(2)) if is_down => {
                let down = vec![(TaskIndex::default(), "r".to_owned())];
                Some(DispatcherInput::Ended(
                    *item,
                    WorkItemEnd::Inspected(NodeInspection { down, ..NodeInspection::default() }),
                ))
            }
            _ => wait(order),
        })
    };
    let not_locked = |log: &[Effect]| notices(log).iter().filter(|notice| notice.contains("is not locked")).count();
    let log = of(true);
    assert_eq!((visits(&log), not_locked(&log)), (Vec::new(), 1), "{log:?}");
    assert_eq!(unvisited(&log), ["n00", "n01"].map(|node| format!("{node} x not_started/max_unavailable")));
    let log = of(false);
    assert_eq!((visits(&log), not_locked(&log)), (vec![(0, 0), (0, 1)], 1), "{log:?}");
}

/// Whether a node's services are up does not depend on its guard: only a service that could not be read counts as down.
#[test]
fn a_node_that_may_not_be_changed_counts_as_it_was_read() {
    let mut plan = rollout(&["x"], 2, 0);
    plan.tasks[0].policy.max_failures = Some(FailureLimit::Nodes(1));
    let failed = || (Outcome::Failed, Failure::new(Stage::Act, FailureKind::Command, "x"));
    let refused = |role: Option<&str>| NodeInspection {
        down: role.map(|role| (TaskIndex::default(), role.to_owned())).into_iter().collect(),
        refusal: Some(failed()),
        ..NodeInspection::default()
    };
    let (no_lock, no_rescue) = (WorkItem::Lock(0), WorkItem::Inspect(0));
    let cases = [
        (no_lock, lost(Outcome::Failed, FailureKind::Command), 1),
        (no_rescue, WorkItemEnd::Inspected(refused(None)), 1),
        (no_rescue, WorkItemEnd::Inspected(refused(Some("r"))), 0),
        (no_rescue, lost(Outcome::TimedOut, FailureKind::TimedOut), 0),
    ];
    for (item, end, expected) in cases {
        let log = replay(&plan, nth_time(item, 1, end));
        assert_eq!(visits(&log).len(), expected, "{log:?}");
        assert_eq!(unvisited(&log).iter().filter(|result| result.starts_with("n00 x")).count(), 1, "{log:?}");
    }
}
