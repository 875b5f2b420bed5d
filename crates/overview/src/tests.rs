//! Tables of the folding, and properties: nothing is lost or counted twice.

use std::collections::BTreeSet;

use proptest::prelude::*;

use super::*;
use ctl_event::{
    Failure, FailureKind, FindingKind, FunctionalStatus, NodeFacts, NodeFinding, Outcome, ProcessState, Stage,
    TargetResult, Via,
};

fn service(node: &str, role: &str, service: &str, state: ProcessState) -> TargetResult {
    TargetResult {
        address: Some(format!("{node}.example.net")),
        role: Some(role.to_owned()),
        supervisor: Some(format!("supervisor-{role}")),
        service: Some(service.to_owned()),
        state: Some(state),
        via: Some(Via::Rpc),
        ..TargetResult::new(node, Outcome::Ok)
    }
}

fn running(node: &str, role: &str, name: &str) -> TargetResult {
    service(node, role, name, ProcessState::Running)
}

fn saying(result: TargetResult, functional: &str, reason: &str) -> TargetResult {
    TargetResult { functional: Some(functional.into()), functional_reason: Some(reason.to_owned()), ..result }
}

/// An unreachable node, with a named service or all of them.
fn unreachable(node: &str, role: Option<&str>, service: Option<&str>, kind: FailureKind, why: &str) -> TargetResult {
    TargetResult {
        role: role.map(str::to_owned),
        service: service.map(str::to_owned),
        failure: Some(Failure::new(Stage::Connect, kind, why)),
        ..TargetResult::new(node, Outcome::Unreachable)
    }
}

/// A supervisord that does not answer.
fn down(node: &str, role: &str, service: &str, kind: FailureKind) -> TargetResult {
    let message = format!("supervisor-{role} is not running: nothing is listening at /var/run/x.sock");
    TargetResult {
        role: Some(role.to_owned()),
        supervisor: Some(format!("supervisor-{role}")),
        service: Some(service.to_owned()),
        failure: Some(Failure::new(Stage::Inspect, kind, message)),
        ..TargetResult::new(node, Outcome::Failed)
    }
}

/// `WHAT on NODES: REASON` for each.
fn told(troubles: &[ClusterIssue]) -> Vec<String> {
    troubles.iter().map(|trouble| format!("{} on {}: {}", trouble.what, trouble.nodes, trouble.reason)).collect()
}

/// `ROLE nodes services: WRONG` for each.
fn summed(roles: &[RoleSummary]) -> Vec<String> {
    let line = |role: &RoleSummary| {
        let wrong: Vec<String> =
            role.wrong.iter().map(|(health, count)| format!("{count} {}", health.0.as_str())).collect();
        let name = role.role.as_deref().unwrap_or("-");
        let RoleSummary { nodes, nodes_well, maintenance, services, services_well, .. } = role;
        let left = if *maintenance > 0 { format!(" (-{maintenance})") } else { String::new() };
        format!("{name} {nodes_well}/{nodes}{left} {services_well}/{services}: {}", wrong.join(", "))
    };
    roles.iter().map(line).collect()
}

#[test]
fn equal_reasons_are_grouped_worst_first() {
    use FailureKind as K;
    use ProcessState as S;
    let stopped = |node: &str, at: &str| TargetResult {
        message: at.to_owned(),
        ..service(node, "analytics", "contrail-topology", S::Stopped)
    };
    let results = [
        saying(running("a1", "analytics", "contrail-collector"), "initializing", "Database connection down"),
        stopped("a2", "Mar 01 07:12 AM"),
        stopped("a1", "Apr 11 12:01 PM"),
        saying(running("a3", "analytics", "contrail-collector"), "initializing", "Database connection down"),
        saying(running("a2", "analytics", "contrail-collector"), "initializing", "Redis connection down"),
        saying(running("a2", "analytics", "contrail-schema"), "backup", ""),
        saying(service("c1", "compute", "contrail-vrouter-agent", S::Fatal), "failed", "exit status 1"),
        saying(service("c2", "compute", "contrail-vrouter-agent", S::Fatal), "failed", "exit status 2"),
        saying(service("c3", "compute", "contrail-vrouter-agent", S::Backoff), "failed", "Exited too quickly"),
        unreachable("c7", Some("compute"), None, K::ConnectTimeout, "c7.example.net:22: no answer in 5 s"),
        unreachable("c13", Some("compute"), None, K::ConnectTimeout, "c13.example.net:22: no answer in 5 s"),
        unreachable("a9", None, None, K::Refused, "10.0.0.9:22 refused"),
        down("a4", "analytics", "contrail-collector", K::SupervisorDown),
        down("a4", "analytics", "contrail-topology", K::SupervisorDown),
        down("c4", "web-ui", "contrail-webui", K::SupervisorMissing),
    ];
    let mut results = results.to_vec();
    for (node, place) in [("c7", 9), ("c13", 10)] {
        results[place].address = Some(format!("{node}.example.net"));
    }
    let overview = Overview::of(&results, &[]);
    insta::assert_snapshot!(told(&overview.troubles).join("\n"), @"
    the node on c[7,13]: unreachable (connect_timeout: no answer in 5 s)
    the node on a9: unreachable (refused: 10.0.0.9:22 refused)
    supervisor-analytics on a4: down (nothing is listening at /var/run/x.sock)
    supervisor-web-ui on c4: missing (the inventory lists role web-ui)
    contrail-vrouter-agent on c1: FATAL (exit status 1)
    contrail-vrouter-agent on c2: FATAL (exit status 2)
    contrail-vrouter-agent on c3: BACKOFF (Exited too quickly)
    contrail-topology on a[1-2]: STOPPED
    contrail-collector on a[1,3]: initializing (Database connection down)
    contrail-collector on a2: initializing (Redis connection down)
    ");
    insta::assert_snapshot!(summed(&overview.roles).join("\n"), @"
    analytics 0/4 1/6: 1 down, 2 inactive, 3 initializing
    compute 0/5 0/3: 2 unreachable, 3 failed
    web-ui 0/1 0/0: 1 down
    - 0/1 0/0: 1 unreachable
    ");
}

#[test]
fn many_reasons_are_three_lines_at_most() {
    let why = |number: usize| "x".repeat(number / 2 + 1);
    let result = |number: usize| {
        saying(service(&format!("c{number}"), "compute", "agent", ProcessState::Fatal), "failed", &why(number))
    };
    let results: Vec<TargetResult> = (0..40).map(result).collect();
    insta::assert_snapshot!(told(&Overview::of(&results, &[]).troubles).join("\n"), @"
    agent on c[4-39]: FATAL (xxx; xxxx; and 16 other reasons)
    agent on c[0-1]: FATAL (x)
    agent on c[2-3]: FATAL (xx)
    ");
    let few: Vec<TargetResult> = results.into_iter().take(6).collect();
    insta::assert_snapshot!(told(&Overview::of(&few, &[]).troubles).join("\n"), @"
    agent on c[0-1]: FATAL (x)
    agent on c[2-3]: FATAL (xx)
    agent on c[4-5]: FATAL (xxx)
    ");
}

#[test]
fn a_node_that_does_not_answer_counts_in_every_role_it_has() {
    let gone = |node: &str, role| unreachable(node, role, Some("contrail-collector"), FailureKind::Refused, "it");
    let results = [
        running("a1", "config", "contrail-api:0"),
        gone("a2", None),
        gone("a3", Some("analytics")),
        running("a1", "analytics", "contrail-collector"),
        TargetResult::new("a4", Outcome::NotConfigured),
        TargetResult { message: "maintenance: disk replaced".to_owned(), ..TargetResult::new("a5", Outcome::Skipped) },
    ];
    let overview = Overview::of(&results, &[]);
    let wanted = ["config 1/1 1/1: ", "analytics 1/2 1/1: 1 unreachable", "- 0/2 (-1) 0/0: 1 unreachable"];
    assert_eq!(summed(&overview.roles), wanted);
    let none = NodeRoles::new(&[], [("a4".to_owned(), Vec::new()), ("a1".to_owned(), Vec::new())]);
    assert_eq!(Overview::of_nodes(&results, &[], &none).without_role, ["a4"]);
    let both = || vec!["analytics".to_owned(), "config".to_owned()];
    let known = NodeRoles::new(
        &["analytics", "config"],
        [("a2".to_owned(), both()), ("a5".to_owned(), both()), ("a4".to_owned(), both())],
    );
    let overview = Overview::of_nodes(&results, &[], &known);
    let wanted = ["analytics 1/4 (-1) 1/1: 2 unreachable", "config 1/3 (-1) 1/1: 1 unreachable"];
    assert_eq!(summed(&overview.roles), wanted);
    assert_eq!(told(&overview.troubles), ["the node on a[2-3]: unreachable (refused: it)"]);
    assert_eq!(told(&overview.maintenance), ["the node on a5: maintenance (disk replaced)"]);
    assert_eq!((overview.nodes, overview.nodes_well), (4, 1));
}

#[test]
fn findings_come_after_problems() {
    let finding = |kind, message: &str, details: &[&str]| NodeFinding {
        kind,
        role: Some("analytics".to_owned()),
        message: message.to_owned(),
        details: details.iter().map(|path| (*path).to_owned()).collect(),
        count: None,
    };
    let cores = |files: &[&str]| finding(FindingKind::CoreFiles, "core files in /var/crashes", files);
    let facts = |node: &str, findings| NodeFacts { node: node.to_owned(), findings, ..NodeFacts::default() };
    let facts = [
        facts(
            "a1",
            vec![
                finding(FindingKind::StaleSocket, "nothing is listening on /tmp/x.sock", &[]),
                cores(&["/var/crashes/core.contrail-collec.471.176", "/var/crashes/core.contrail-collec.9.177"]),
            ],
        ),
        facts("a2", vec![cores(&["/var/crashes/core.contrail-collec.12.1"])]),
        facts("a3", vec![finding(FindingKind::NotSearched, "find: no such command", &[])]),
        facts("a4", vec![cores(&["/var/crashes/core.a.b.12", "/var/crashes/core", "/var/crashes/core.named.3"])]),
        facts("a5", vec![cores(&["/var/crashes/core.4711"])]),
    ];
    let results = [service("a9", "analytics", "contrail-collector", ProcessState::Stopped)];
    let overview = Overview::of(&results, &facts);
    let wanted = [
        "contrail-collector on a9: STOPPED",
        "core files on a[1-2]: contrail-collec in /var/crashes",
        "core files on a4: a.b, named in /var/crashes",
        "core files on a5: in /var/crashes",
        "stale socket on a1: nothing is listening on /tmp/x.sock",
        "the node on a3: find: no such command",
    ];
    assert_eq!(told(&overview.troubles), wanted);
    assert_eq!(
        overview.troubles.iter().map(|trouble| trouble.health.is_none()).collect::<Vec<_>>(),
        [false, true, true, true, true, true]
    );
}

fn any_result() -> impl Strategy<Value = TargetResult> {
    let states = vec![
        ProcessState::Running,
        ProcessState::Starting,
        ProcessState::Stopped,
        ProcessState::Backoff,
        ProcessState::Fatal,
    ];
    let state = proptest::option::of(proptest::sample::select(states));
    let functional =
        proptest::option::of(proptest::sample::select(vec!["active", "initializing", "timeout", "failed", "new"]));
    let kinds = vec![
        FailureKind::Refused,
        FailureKind::SupervisorDown,
        FailureKind::SupervisorMissing,
        FailureKind::NoSuchService,
        FailureKind::TimedOut,
    ];
    let kind = proptest::sample::select(kinds);
    let stage = proptest::sample::select(vec![Stage::Connect, Stage::Inspect, Stage::Act]);
    let place = (0..5_u8, proptest::option::of(0..3_u8), proptest::option::of(0..3_u8), proptest::option::of(0..3_u8));
    let why = proptest::sample::select(vec!["", "one", "two", "pid 3", "pid 4", "three", "four", "five"]);
    let outcome = proptest::sample::select(Outcome::ALL);
    (place, outcome, state, functional, (kind, stage, why)).prop_map(
        |((node, role, supervisor, service), outcome, state, functional, (kind, stage, why))| {
            let failure = outcome.is_bad().then(|| Failure::new(stage, kind, why));
            TargetResult {
                role: role.map(|role| format!("r{role}")),
                supervisor: supervisor.map(|name| format!("supervisor-{name}")),
                service: service.map(|name| format!("s{name}")),
                state: state.filter(|_| !outcome.is_bad()),
                functional: functional.filter(|_| !outcome.is_bad()).map(FunctionalStatus::from),
                functional_reason: Some(why.to_owned()),
                failure,
                ..TargetResult::new(format!("n{node}"), outcome)
            }
        },
    )
}

proptest! {
    #[test]
    fn all_that_is_not_well_is_in_exactly_one_trouble(results in proptest::collection::vec(any_result(), 0..40)) {
        let overview = Overview::of(&results, &[]);
        let unwell: Vec<&TargetResult> =
            results.iter().filter(|result| TargetHealth::of(result) != TargetHealth::Well).collect();
        prop_assert_eq!(overview.troubles.iter().map(|trouble| trouble.count).sum::<usize>(), unwell.len());
        for result in &unwell {
            let why = reason(result);
            let word = why.split([' ', ':']).next();
            let is_its = |trouble: &&ClusterIssue| {
                trouble.health == Some(TargetHealth::of(result))
                    && trouble.what == issue::what(result)
                    && trouble.reason.split([' ', ':']).next() == word
                    && trouble.nodes.contains(&result.node)
            };
            prop_assert!(overview.troubles.iter().any(|trouble| is_its(&trouble)), "{result:?}");
        }
        // An issue names only nodes with a problem.
        for trouble in &overview.troubles {
            let nodes: BTreeSet<&str> = unwell.iter()
                .filter(|result| issue::what(result) == trouble.what && Some(TargetHealth::of(result)) == trouble.health)
                .map(|result| result.node.as_str()).collect();
            prop_assert!(trouble.nodes.iter().all(|node| nodes.contains(node.as_str())));
        }
        prop_assert!(overview.troubles.is_sorted_by_key(|trouble| std::cmp::Reverse(trouble.health)));
        // Each health of a subject has at most three lines for one state and kind.
        let unwell_nodes: BTreeSet<&str> = unwell.iter().map(|result| result.node.as_str()).collect();
        prop_assert!(overview.nodes_well + unwell_nodes.len() <= overview.nodes);
        let of_roles: usize = overview.roles.iter().map(|role| role.services - role.services_well).sum();
        prop_assert!(of_roles <= unwell.len() * 3);
    }
}
