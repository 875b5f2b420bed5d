//! Schedules of more than one task, in which a node or a lock is lost on the way.

use std::collections::VecDeque;

use super::*;

/// One task for each of these services, on all nodes of a role of which one may be down at once.
fn rollout(services: &[&str], nodes: usize, watched: usize) -> Plan {
    let selected: Vec<usize> = (0..nodes).collect();
    let mut plan = plan_of(nodes, watched, &[("r", selected.clone())], Action::Restart, Policy::default());
    let task = |name: &&str| Task::new(Action::Restart, vec![ServicePattern::parse(name).expect("a name")], true);
    plan.tasks = services.iter().map(task).collect();
    let step = |task| Step { task, role: Some("r".to_owned()), nodes: selected.clone() };
    plan.steps = (0..services.len()).map(step).collect();
    let cap = |task| RoleCap {
        task,
        role: "r".to_owned(),
        amount: Amount::Nodes(1),
        limit: 1,
        members: (0..nodes + watched).collect(),
    };
    plan.caps = (0..services.len()).map(cap).collect();
    plan.find_batched();
    plan
}

/// Runs a plan to its end: `answer` is what comes of an order, if something else does than that all goes as it should.
fn replay(plan: &Plan, mut answer: impl FnMut(&Order) -> Option<Input>) -> Vec<Order> {
    let mut dispatcher = Dispatcher::new(plan, 8, 1);
    let mut inputs = VecDeque::from([Input::Begin]);
    let mut log = Vec::new();
    while let Some(input) = inputs.pop_front() {
        for order in dispatcher.handle(input) {
            let usual = match &order {
                Order::Start(duty @ Duty::Inspect(_)) => {
                    Some(Input::Ended(*duty, DutyEnd::Inspected(Inspection::default())))
                }
                Order::Start(duty) => Some(Input::Ended(*duty, DutyEnd::Done)),
                Order::Pause(_) => Some(Input::PauseOver),
                _ => None,
            };
            inputs.extend(answer(&order).or(usual));
            log.push(order);
        }
    }
    assert_eq!(log.last(), Some(&Order::Finish), "{log:?}");
    log
}

/// The step and the node of each visit.
fn visits(log: &[Order]) -> Vec<(usize, usize)> {
    let visit = |order: &Order| match order {
        Order::Start(Duty::Visit(visit)) => Some((visit.step, visit.node)),
        _ => None,
    };
    log.iter().filter_map(visit).collect()
}

/// The results of what was not visited.
fn unvisited(log: &[Order]) -> Vec<String> {
    let result = |order: &Order| match order {
        Order::Record(EventKind::Result(result)) if result.batch.is_none() => {
            let kind = result.failure.as_ref().map(|failure| format!("/{}", failure.kind)).unwrap_or_default();
            Some(format!("{} {} {}{kind}", result.node, result.service.as_deref().unwrap_or("-"), result.outcome))
        }
        _ => None,
    };
    log.iter().filter_map(result).collect()
}

/// Ends a duty so when it is given for the `nth` time, counted from 1.
fn nth_time(wanted: Duty, nth: usize, end: DutyEnd) -> impl FnMut(&Order) -> Option<Input> {
    let mut seen = 0;
    move |order| {
        seen += usize::from(*order == Order::Start(wanted));
        (*order == Order::Start(wanted) && seen == nth).then(|| Input::Ended(wanted, end.clone()))
    }
}

#[test]
fn a_lock_that_is_lost_between_two_tasks_repeats_nothing() {
    let plan = rollout(&["x", "y"], 2, 0);
    let held = |again| DutyEnd::Held(Failure::new(Stage::Plan, FailureKind::Locked, "x"), again);
    // It is free again after a while: the locks are taken anew, the nodes read, and the second task is carried out.
    let log = replay(&plan, nth_time(Duty::Inspect(1), 2, held(true)));
    assert_eq!(visits(&log), [(0, 0), (0, 1), (1, 0), (1, 1)]);
    let count = |order: &Order| log.iter().filter(|own| *own == order).count();
    assert_eq!((count(&Order::Unlock), count(&Order::Start(Duty::Lock(1)))), (1, 2), "{log:?}");
    assert_eq!(count(&Order::Start(Duty::Inspect(0))), 3, "{log:?}");
    let read = |order: &&Order| matches!(order, Order::Record(EventKind::Inspected { .. }));
    assert_eq!(log.iter().filter(read).count(), 2, "what the first task found stands");
    assert_eq!(unvisited(&log), [""; 0]);
    // It stays locked, or the wait for it is interrupted: the first task has no further result.
    let log = replay(&plan, nth_time(Duty::Inspect(1), 2, held(false)));
    assert_eq!(visits(&log), [(0, 0), (0, 1)]);
    assert_eq!(unvisited(&log), ["n00 y not_started/locked", "n01 y not_started/locked"]);
    let mut lose = nth_time(Duty::Inspect(1), 2, held(true));
    let log = replay(&plan, |order| match order {
        Order::Pause(_) => Some(Input::Signal(CancelReason::Interrupted)),
        _ => lose(order),
    });
    assert_eq!(visits(&log), [(0, 0), (0, 1)]);
    assert_eq!(unvisited(&log), ["n00 y not_started/interrupted", "n01 y not_started/interrupted"]);
}
