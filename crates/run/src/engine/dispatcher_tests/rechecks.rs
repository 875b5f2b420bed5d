//! Runs that go on: nodes that are checked again, nodes in flight, and failures of an earlier part.

use super::*;
use ctl_plan::{FinishedNode, NodeRecheck};

/// The result of an earlier part of the run.
fn earlier(node: usize, outcome: Outcome) -> TargetResult {
    let mut result = TargetResult::new(format!("n{node:02}"), outcome);
    (result.role, result.service, result.batch) = (Some("r".to_owned()), Some("x".to_owned()), Some(1));
    result.failure = outcome.is_bad().then(|| Failure::new(Stage::Verify, FailureKind::Fatal, "before"));
    result
}

/// Nodes to be checked again, each with its earlier outcome.
fn rechecking(mut plan: Plan, nodes: &[(usize, Outcome)]) -> Plan {
    for (node, outcome) in nodes {
        let recheck = NodeRecheck { results: vec![earlier(*node, *outcome)], ..NodeRecheck::default() };
        plan.tasks[0].rechecks.insert((StepIndex::default(), *node), recheck);
    }
    plan
}

fn four(serial: &str) -> Plan {
    plan_of(4, 0, &[("r", vec![0, 1, 2, 3])], Action::Restart, rolling(serial))
}

#[test]
fn a_node_that_is_still_bad_stops_the_run_before_any_other_is_touched() {
    let plan = rechecking(four("1"), &[(2, Outcome::Failed)]);
    let mut natures = all_good(4);
    natures[2] = NodeBehavior::Fails;
    let world = TestRun::new(&plan, natures, Vec::new()).run(8);
    assert_eq!(world.batches(), [["n02"]]);
    assert_eq!(
        world.outcomes(),
        ["n02 failed/fatal", "n00 not_started/limit", "n01 not_started/limit", "n03 not_started/limit"]
    );
    let world = TestRun::new(&plan, all_good(4), Vec::new()).run(8);
    assert_eq!(world.batches(), [["n02"], ["n00"], ["n01"], ["n03"]]);
    // All nodes that are checked again are one batch, and take no place in the sizes of the others.
    let plan = rechecking(four("1,100%"), &[(0, Outcome::Changed), (1, Outcome::Failed)]);
    let world = TestRun::new(&plan, all_good(4), Vec::new()).run(8);
    assert_eq!(world.batches(), [vec!["n00", "n01"], vec!["n02"], vec!["n03"]]);
}

#[test]
fn failures_of_an_earlier_part_count_and_so_do_its_nodes() {
    let of = |limit: FailureLimit, failed: Option<FailureKind>| {
        let mut plan = plan_of(4, 0, &[("r", vec![2, 3])], Action::Restart, rolling("1"));
        plan.tasks[0].policy.max_failures = Some(limit);
        plan.tasks[0].finished.insert("n00".to_owned(), FinishedNode { failed });
        plan.tasks[0].finished.insert("n01".to_owned(), FinishedNode::default());
        plan.recompute_idle();
        TestRun::new(&plan, all_good(4), Vec::new()).run(8).batches().len()
    };
    let failed = Some(FailureKind::Command);
    assert_eq!((of(FailureLimit::Nodes(0), failed), of(FailureLimit::Nodes(0), None)), (0, 2));
    // One of four, not one of the two that are left.
    assert_eq!((of(FailureLimit::Percent(25), failed), of(FailureLimit::Percent(24), failed)), (2, 0));
}

#[test]
fn what_was_in_flight_is_a_batch_before_the_others() {
    let mut plan = four("2");
    plan.tasks[0].in_flight = ["n02", "n03"].map(|node| (node.to_owned(), Vec::new())).into();
    let world = TestRun::new(&plan, all_good(4), Vec::new()).run(8);
    assert_eq!(world.batches(), [["n02", "n03"], ["n00", "n01"]]);
    // Where all nodes go at once, they still do.
    let mut plan = plan_of(2, 0, &[("r", vec![0, 1])], Action::Restart, Policy::default());
    plan.tasks[0].in_flight.insert("n01".to_owned(), Vec::new());
    let world = TestRun::new(&plan, all_good(2), Vec::new()).run(8);
    assert_eq!(world.batches(), [["n00", "n01"]]);
}

/// Only the gates of a command can be met again: it is not run.
#[test]
fn of_a_command_only_the_gates_are_met_again() {
    let policy = Policy { check: Some("true".to_owned()), ..rolling("1") };
    let plan = plan_of(2, 0, &[("r", vec![0, 1])], Action::Exec, policy);
    let plan = rechecking(plan, &[(0, Outcome::Changed)]);
    let starts = |world: &TestRun<'_>| -> Vec<String> {
        let start = |effect: &Effect| match effect {
            Effect::Start(item @ (WorkItem::Batch(_) | WorkItem::Check(_))) => Some(format!("{} {item}", item.node())),
            _ => None,
        };
        world.log.iter().filter_map(start).collect()
    };
    let world = TestRun::new(&plan, all_good(2), Vec::new()).run(8);
    assert_eq!(starts(&world), ["0 check of batch 1", "1 batch 2", "1 check of batch 2"]);
    let natures = vec![NodeBehavior::FailsTheCheck, NodeBehavior::Good];
    let world = TestRun::new(&plan, natures, Vec::new()).run(8);
    assert_eq!(starts(&world), ["0 check of batch 1"]);
    assert_eq!(world.outcomes(), ["n00 failed/gate", "n01 not_started/gate"]);
}

/// The last gate event of a batch and node.
fn is_unmet(world: &TestRun<'_>, name: &str) -> bool {
    let met = |effect: &Effect| match effect {
        Effect::Record(EventKind::Gate { node, met, .. }) if node == name => Some(*met),
        _ => None,
    };
    world.log.iter().filter_map(met).next_back() == Some(Some(false))
}

#[test]
fn a_signal_leaves_the_gate_of_a_node_unmet() {
    let policy = Policy { check: Some("true".to_owned()), ..rolling("1") };
    let plan = plan_of(2, 0, &[("r", vec![0, 1])], Action::Restart, policy);
    // Six steps of preparation, the visit, and a signal while the check is running.
    let script = [[0; 7].as_slice(), &[255]].concat();
    let world = TestRun::new(&plan, all_good(2), script).run(8);
    assert_eq!(world.outcomes(), ["n00 changed", "n01 not_started/interrupted"]);
    assert!(is_unmet(&world, "n00"), "{:?}", world.log);
}

proptest! {
    /// Whatever fails and whenever signals come: a node that is to be checked again is not acted on and keeps a result of
    /// its own, and no other node starts before that.
    #[test]
    fn nodes_that_are_checked_again_come_first_and_keep_a_result(
        natures in prop::collection::vec(prop::sample::select(&NATURES[..]), 4),
        outcomes in prop::collection::btree_map(0_usize..4, prop::sample::select(&[Outcome::Failed, Outcome::Changed][..]), 1..4),
        script in prop::collection::vec(any::<u8>(), 0..60),
        check in any::<bool>(),
    ) {
        let policy = Policy { check: check.then(|| "true".to_owned()), ..rolling("1") };
        let plan = plan_of(4, 0, &[("r", vec![0, 1, 2, 3])], Action::Restart, policy);
        let nodes: Vec<(usize, Outcome)> = outcomes.into_iter().collect();
        let plan = rechecking(plan, &nodes);
        let world = TestRun::new(&plan, natures, script).run(8);
        let mut rechecks = BTreeMap::new();
        for effect in &world.log {
            match effect {
                Effect::Record(EventKind::BatchStarted { batch, rechecks: is_recheck, .. }) => {
                    prop_assert!(*is_recheck == rechecks.is_empty(), "it comes first, and once");
                    rechecks.insert(*batch, *is_recheck);
                }
                Effect::Start(WorkItem::Batch(visit)) => {
                    let is_meant = nodes.iter().any(|(node, _)| *node == visit.node);
                    prop_assert_eq!(rechecks.get(&visit.batch).copied(), Some(is_meant));
                }
                _ => {}
            }
        }
        for (node, _) in &nodes {
            let name = format!("n{node:02}");
            let own: Vec<_> = world.ledger.results().iter().filter(|result| result.node == name).collect();
            prop_assert_eq!(own.len(), 1, "{:?}", own);
            prop_assert!(!matches!(own[0].outcome, Outcome::NotStarted | Outcome::Unknown), "{:?}", own);
        }
    }
}
