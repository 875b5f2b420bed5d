//! Tables of the diff, and the round trip through a file.

use std::time::Duration;

use proptest::prelude::*;

use super::*;
use ctl_event::{
    Failure, FailureKind, FindingKind, FunctionalStatus, NodeFacts, NodeFinding, Outcome, ProcessState, RunScope,
    Stage, TargetResult, Via,
};

fn row(node: &str, service: &str, state: ProcessState, functional: Option<&str>) -> TargetResult {
    TargetResult {
        role: Some("analytics".to_owned()),
        supervisor: Some("supervisor-analytics".to_owned()),
        service: Some(service.to_owned()),
        state: Some(state),
        pid: (state == ProcessState::Running).then_some(100),
        uptime_s: (state == ProcessState::Running).then_some(1000),
        functional: functional.map(FunctionalStatus::from),
        version: Some("3.1".to_owned()),
        via: Some(Via::Rpc),
        ..TargetResult::new(node, Outcome::Ok)
    }
}

fn well(node: &str, service: &str) -> TargetResult {
    row(node, service, ProcessState::Running, Some("active"))
}

fn lost(node: &str, kind: FailureKind) -> TargetResult {
    let failure = Some(Failure::new(Stage::Connect, kind, "no"));
    TargetResult { failure, ..TargetResult::new(node, Outcome::Unreachable) }
}

fn silent(node: &str) -> TargetResult {
    let failure = Some(Failure::new(Stage::Inspect, FailureKind::SupervisorDown, "nothing is listening"));
    TargetResult {
        role: Some("analytics".to_owned()),
        supervisor: Some("supervisor-analytics".to_owned()),
        service: Some("supervisor-analytics".to_owned()),
        failure,
        ..TargetResult::new(node, Outcome::Failed)
    }
}

fn resting(node: &str) -> TargetResult {
    TargetResult { message: "maintenance: new disks".to_owned(), ..TargetResult::new(node, Outcome::Skipped) }
}

fn facts(node: &str, findings: Vec<NodeFinding>) -> NodeFacts {
    NodeFacts { node: node.to_owned(), findings, ..NodeFacts::default() }
}

fn cores(names: &[&str]) -> NodeFinding {
    finding(FindingKind::CoreFiles, "core files in /var/crashes", names)
}

/// More core files than `details` names.
fn many_cores(names: &[&str], count: u64) -> NodeFinding {
    NodeFinding { count: Some(count), ..finding(FindingKind::CoreFiles, &format!("{count} core files"), names) }
}

fn finding(kind: FindingKind, message: &str, details: &[&str]) -> NodeFinding {
    let details = details.iter().map(|name| (*name).to_owned()).collect();
    NodeFinding { kind, role: None, message: message.to_owned(), details, count: None }
}

/// A deep snapshot taken at one o'clock plus `minutes`.
fn at(minutes: i64, results: Vec<TargetResult>) -> Snapshot {
    let mut names: Vec<&str> = results.iter().map(|result| result.node.as_str()).collect();
    names.dedup();
    let nodes = names.into_iter().map(|name| facts(name, Vec::new())).collect();
    let started = jiff::Timestamp::UNIX_EPOCH + jiff::SignedDuration::from_mins(minutes);
    Snapshot { started: Some(started), elapsed: Duration::from_secs(2), results, nodes, ..Snapshot::default() }
}

fn told(diff: &SnapshotDiff) -> Vec<String> {
    diff.changes
        .iter()
        .map(|change| {
            let what = change.service.as_ref().or(change.supervisor.as_ref()).unwrap_or(&change.node);
            let (before, after) = (change.before.as_deref().unwrap_or("-"), change.after.as_deref().unwrap_or("-"));
            format!("{} {} {what}: {before} > {after}", change.verdict.as_str(), change.kind.as_str())
        })
        .collect()
}

/// The lines for the changed results of one node.
fn of(before: Vec<TargetResult>, after: Vec<TargetResult>) -> Vec<String> {
    told(&diff(&at(0, before), &at(60, after)))
}

#[test]
fn a_service_is_judged_by_its_health() {
    use ProcessState as P;
    let (running, active) = (P::Running, Some("active"));
    type How = (P, Option<&'static str>);
    let table: &[(How, How, &[&str])] = &[
        ((running, active), (running, active), &[]),
        ((running, None), (running, None), &[]),
        ((running, None), (running, active), &[]),
        ((running, active), (running, None), &[]),
        ((running, active), (running, Some("initializing")), &["worse state x: active > initializing"]),
        (
            (running, active),
            (running, Some("timeout")),
            &["worse state x: active > timeout (no answer on its introspect port)"],
        ),
        ((running, active), (running, Some("backup")), &["different state x: active > backup"]),
        ((running, None), (running, Some("failed")), &["worse state x: active > failed"]),
        ((running, active), (P::Stopped, Some("inactive")), &["worse state x: active > STOPPED"]),
        ((running, active), (P::Starting, Some("initializing")), &["worse state x: active > STARTING"]),
        ((P::Fatal, Some("failed")), (running, active), &["better state x: FATAL > active"]),
        ((P::Stopped, Some("inactive")), (P::Fatal, Some("failed")), &["worse state x: STOPPED > FATAL"]),
        ((P::Exited, Some("failed")), (P::Fatal, Some("failed")), &["different state x: EXITED > FATAL"]),
        ((P::Backoff, Some("failed")), (P::Starting, Some("initializing")), &["better state x: BACKOFF > STARTING"]),
        ((running, Some("something_new")), (running, active), &["better state x: something_new > active"]),
    ];
    for ((old, said), (new, says), expected) in table {
        let found = of(vec![row("n1", "x", *old, *said)], vec![row("n1", "x", *new, *says)]);
        assert_eq!(&found, expected, "{old} {said:?} to {new} {says:?}");
    }
}

#[test]
fn why_a_service_is_not_well_may_be_another_reason() {
    let with = |reason: &str, word: &str| TargetResult {
        functional_reason: Some(reason.to_owned()),
        ..row("n1", "x", ProcessState::Running, Some(word))
    };
    assert_eq!(
        of(
            vec![with("Database connection down", "initializing")],
            vec![with("Collector connection down", "initializing")]
        ),
        ["different state x: initializing (Database connection down) > initializing (Collector connection down)"]
    );
    assert_eq!(of(vec![with("a", "active")], vec![with("b", "active")]), [""; 0]);
}

#[test]
fn another_process_is_a_restart_and_no_more() {
    let with = |pid: Option<u32>, uptime_s: Option<u64>| TargetResult { pid, uptime_s, ..well("n1", "x") };
    type PidAndUptime = (Option<u32>, Option<u64>);
    let table: &[(PidAndUptime, PidAndUptime, &[&str])] = &[
        ((Some(1), Some(10)), (Some(1), Some(3610)), &[]),
        // Without pids, times alone prove nothing.
        ((Some(1), Some(5000)), (Some(1), Some(10)), &[]),
        ((Some(1), Some(10)), (Some(2), Some(10)), &["different restarted x: pid 1 > pid 2"]),
        ((None, Some(10)), (None, Some(3610)), &[]),
        ((None, Some(10)), (None, Some(3597)), &[]),
        ((None, Some(10)), (None, Some(3596)), &["different restarted x: up 10 s > up 3596 s"]),
        ((None, Some(10)), (None, Some(3500)), &["different restarted x: up 10 s > up 3500 s"]),
        ((None, Some(5000)), (None, Some(4999)), &["different restarted x: up 5000 s > up 4999 s"]),
        ((Some(1), Some(10)), (None, Some(3500)), &["different restarted x: pid 1 > up 3500 s"]),
        ((Some(1), None), (None, None), &[]),
        ((None, None), (Some(2), Some(1)), &[]),
    ];
    for ((old, was), (new, is), expected) in table {
        assert_eq!(&of(vec![with(*old, *was)], vec![with(*new, *is)]), expected, "{old:?} {was:?} to {new:?} {is:?}");
    }
    // Without start times only a smaller uptime proves a restart.
    let bare = |uptime| Snapshot { started: None, ..at(0, vec![with(None, Some(uptime))]) };
    assert_eq!(told(&diff(&bare(10), &bare(11))), [""; 0]);
    assert_eq!(told(&diff(&bare(10), &bare(9))), ["different restarted x: up 10 s > up 9 s"]);
}

#[test]
fn a_new_version_is_different() {
    let with = |version: Option<&str>| TargetResult { version: version.map(str::to_owned), ..well("n1", "x") };
    assert_eq!(of(vec![with(Some("3.1"))], vec![with(Some("3.2"))]), ["different version x: 3.1 > 3.2"]);
    assert_eq!(of(vec![with(None)], vec![with(Some("3.2"))]), [""; 0]);
}

#[test]
fn services_come_and_go() {
    let fatal = || row("n1", "y", ProcessState::Fatal, Some("failed"));
    let x = || well("n1", "x");
    let table: &[(Vec<TargetResult>, Vec<TargetResult>, &[&str])] = &[
        (vec![x(), well("n1", "y")], vec![x()], &["worse went y: active > -"]),
        (vec![x(), fatal()], vec![x()], &["different went y: FATAL > -"]),
        (vec![x()], vec![x(), well("n1", "y")], &["different came y: - > active"]),
        (vec![x()], vec![x(), fatal()], &["worse came y: - > FATAL"]),
    ];
    for (before, after, expected) in table {
        assert_eq!(&of(before.clone(), after.clone()), expected);
    }
    // A supervisord that no longer lists the service.
    let unlisted = TargetResult { outcome: Outcome::NotConfigured, state: None, ..well("n1", "x") };
    assert_eq!(of(vec![x()], vec![unlisted]), ["worse went x: active > -"]);
}

#[test]
fn nodes_come_and_go() {
    let fatal = || row("n2", "y", ProcessState::Fatal, Some("failed"));
    let gone = || lost("n2", FailureKind::Refused);
    let with = |mut more: Vec<TargetResult>| {
        more.insert(0, well("n1", "x"));
        more
    };
    let told_lost = "unreachable (refused: no)";
    let table: &[(Vec<TargetResult>, Vec<TargetResult>, Vec<String>)] = &[
        (vec![well("n2", "x")], vec![], vec!["worse went n2: reachable > -".to_owned()]),
        (vec![gone()], vec![], vec![format!("different went n2: {told_lost} > -")]),
        (vec![resting("n2")], vec![], vec!["different went n2: maintenance: new disks > -".to_owned()]),
        (vec![], vec![well("n2", "x")], vec!["different came n2: - > reachable".to_owned()]),
        (
            vec![],
            vec![well("n2", "x"), fatal()],
            vec!["worse came y: - > FATAL".to_owned(), "different came n2: - > reachable".to_owned()],
        ),
        (vec![], vec![gone()], vec![format!("worse came n2: - > {told_lost}")]),
        (vec![well("n2", "x"), fatal()], vec![gone()], vec![format!("worse state n2: reachable > {told_lost}")]),
        (vec![gone()], vec![well("n2", "x"), fatal()], vec![format!("better state n2: {told_lost} > reachable")]),
        (vec![gone()], vec![gone()], vec![]),
        (
            vec![gone()],
            vec![lost("n2", FailureKind::Auth)],
            vec![format!("different state n2: {told_lost} > unreachable (auth: no)")],
        ),
        (vec![resting("n2")], vec![resting("n2")], vec![]),
        (
            vec![well("n2", "x")],
            vec![resting("n2")],
            vec!["different state n2: reachable > maintenance: new disks".to_owned()],
        ),
        (
            vec![resting("n2")],
            vec![well("n2", "x"), fatal()],
            vec![
                "worse came y: - > FATAL".to_owned(),
                "different state n2: maintenance: new disks > reachable".to_owned(),
            ],
        ),
        (vec![resting("n2")], vec![gone()], vec![format!("worse state n2: maintenance: new disks > {told_lost}")]),
    ];
    for (before, after, expected) in table {
        let found = diff(&at(0, with(before.clone())), &at(60, with(after.clone())));
        assert_eq!(&told(&found), expected);
        let same = if expected.is_empty() { 2 } else { 1 };
        assert_eq!((found.summary.nodes, found.summary.nodes_same), (2, same), "{expected:?}");
    }
}

#[test]
fn a_supervisord_that_does_not_answer_is_one_change() {
    let two = || vec![well("n1", "x"), row("n1", "y", ProcessState::Fatal, Some("failed"))];
    let down = "down (nothing is listening)";
    assert_eq!(of(two(), vec![silent("n1")]), [format!("worse state supervisor-analytics: up > {down}")]);
    assert_eq!(of(vec![silent("n1")], two()), [format!("better state supervisor-analytics: {down} > up")]);
    assert_eq!(of(vec![silent("n1")], vec![silent("n1")]), [""; 0]);
    let other = TargetResult { role: Some("config".to_owned()), supervisor: Some("s".to_owned()), ..well("n1", "z") };
    assert_eq!(
        of(vec![other.clone()], vec![other, silent("n1")]),
        [format!("worse came supervisor-analytics: - > {down}")]
    );
}

/// Named explicitly, it is a failure, otherwise it is `not_configured`: either way the node does not run it.
#[test]
fn a_service_that_a_node_has_not_is_nothing() {
    let asked = |outcome, kind: Option<FailureKind>| TargetResult {
        service: Some("y".to_owned()),
        failure: kind.map(|kind| Failure::new(Stage::Inspect, kind, "no such service")),
        ..TargetResult::new("n1", outcome)
    };
    let passed = || vec![well("n1", "x"), asked(Outcome::NotConfigured, None)];
    let failed = || vec![well("n1", "x"), asked(Outcome::Failed, Some(FailureKind::NoSuchService))];
    assert_eq!(of(passed(), failed()), [""; 0]);
    assert_eq!(of(failed(), passed()), [""; 0]);
    assert_eq!(of(vec![well("n1", "x"), well("n1", "y")], failed()), ["worse went y: active > -"]);
    assert_eq!(of(failed(), vec![well("n1", "x"), well("n1", "y")]), ["different came y: - > active"]);
}

#[test]
fn findings_come_and_go() {
    let socket = || finding(FindingKind::StaleSocket, "nothing is listening on /tmp/a.sock", &["/tmp/a.sock"]);
    let blind = || finding(FindingKind::NotSearched, "not searched: no shell", &[]);
    let many: Vec<String> = (0..20).map(|number| format!("c{number:02}")).collect();
    let many: Vec<&str> = many.iter().map(String::as_str).collect();
    let table: Vec<(Vec<NodeFinding>, Vec<NodeFinding>, Vec<&str>)> = vec![
        (vec![cores(&["a"])], vec![cores(&["a"])], vec![]),
        (vec![], vec![cores(&["a"])], vec!["worse finding n1: - > core files in /var/crashes: a"]),
        (vec![cores(&["a"])], vec![], vec!["better finding n1: core files in /var/crashes: a > -"]),
        (
            vec![cores(&["a", "b"])],
            vec![cores(&["b", "c"])],
            vec![
                "worse finding n1: - > core files in /var/crashes: c",
                "better finding n1: core files in /var/crashes: a > -",
            ],
        ),
        // Beyond the named files, the count decides.
        (vec![many_cores(&many, 25)], vec![many_cores(&many, 26)], vec!["worse finding n1: 25 core files: c00"]),
        (vec![many_cores(&many, 26)], vec![many_cores(&many, 25)], vec!["better finding n1"]),
        (vec![many_cores(&many, 25)], vec![many_cores(&many, 25)], vec![]),
        (vec![many_cores(&many, 25)], vec![many_cores(&["x"], 25)], vec!["different finding n1"]),
        (vec![cores(&["c00"])], vec![many_cores(&many, 25)], vec!["worse finding n1"]),
        (vec![cores(&many)], vec![many_cores(&many, 21)], vec!["worse finding n1"]),
        (vec![many_cores(&many, 25)], vec![cores(&["c00"])], vec!["better finding n1"]),
        (vec![], vec![socket()], vec!["different finding n1: - > nothing is listening on /tmp/a.sock"]),
        (vec![socket()], vec![], vec!["different finding n1: nothing is listening on /tmp/a.sock > -"]),
        // Without a search, a finding is neither present nor gone.
        (vec![cores(&["a"]), socket()], vec![blind()], vec!["different finding n1: - > not searched: no shell"]),
        (vec![blind()], vec![cores(&["a"])], vec!["different finding n1: not searched: no shell > -"]),
    ];
    for (before, after, expected) in table {
        let with =
            |minutes, findings| Snapshot { nodes: vec![facts("n1", findings)], ..at(minutes, vec![well("n1", "x")]) };
        let found = told(&diff(&with(0, before), &with(60, after)));
        assert_eq!(found.len(), expected.len(), "{found:?}");
        for (found, expected) in found.iter().zip(expected) {
            assert!(found.starts_with(expected), "{found}");
        }
    }
}

#[test]
fn functional_states_are_compared_only_if_both_were_read() {
    let forbidden = || vec![facts("n1", vec![finding(FindingKind::NoIntrospect, "sshd forbids forwarding", &[])])];
    let bad = || at(0, vec![row("n1", "x", ProcessState::Running, Some("initializing"))]);
    let blind = || at(60, vec![row("n1", "x", ProcessState::Running, None)]);
    let found = diff(&bad(), &Snapshot { nodes: forbidden(), ..blind() });
    assert_eq!(told(&found), ["different finding n1: - > sshd forbids forwarding"]);
    assert_eq!(told(&diff(&bad(), &Snapshot { nodes: Vec::new(), ..blind() })), [""; 0]);
    // The service no longer reports a state, so supervisord's state applies.
    assert_eq!(told(&diff(&bad(), &blind())), ["better state x: initializing > active"]);
}

#[test]
fn targets_of_only_one_snapshot_are_not_compared() {
    let config = |node: &str| TargetResult { role: Some("config".to_owned()), ..well(node, "api") };
    let everything = || {
        at(
            0,
            vec![
                well("n1", "x"),
                well("n1", "y"),
                config("n1"),
                well("n2", "x"),
                config("n3"),
                lost("n4", FailureKind::Dns),
            ],
        )
    };
    let roles = |roles: &[&str]| RunScope {
        roles: roles.iter().map(|role| (*role).to_owned()).collect(),
        ..RunScope::default()
    };
    let nodes = |nodes: &str| RunScope { nodes: Some(nodes.to_owned()), ..RunScope::default() };
    let with = |selection: RunScope, services: &[&str], results: Vec<TargetResult>| Snapshot {
        selection,
        services: services.iter().map(|name| (*name).to_owned()).collect(),
        ..at(60, results)
    };
    let some = [
        with(roles(&["analytics"]), &[], vec![well("n1", "x"), well("n1", "y"), well("n2", "x")]),
        with(nodes("n1"), &[], vec![well("n1", "x"), well("n1", "y"), config("n1")]),
        with(RunScope::default(), &["x"], vec![well("n1", "x"), well("n2", "x")]),
        with(
            RunScope { exclude: Some("n[2-4]".to_owned()), ..RunScope::default() },
            &[],
            vec![well("n1", "x"), well("n1", "y"), config("n1")],
        ),
        with(roles(&["control"]), &[], Vec::new()),
    ];
    for some in some {
        assert_eq!(told(&diff(&everything(), &some)), [""; 0], "{:?}", some.selection);
        assert_eq!(told(&diff(&some, &everything())), [""; 0], "{:?}", some.selection);
    }
    // Both selected the same targets: a missing one is gone.
    let selection =
        || RunScope { roles: vec!["analytics".to_owned()], nodes: Some("@rack1".to_owned()), exclude: None };
    let (old, new) = (
        with(selection(), &["x"], vec![well("n1", "x"), well("n2", "x")]),
        with(selection(), &["x"], vec![well("n1", "x")]),
    );
    assert_eq!(told(&diff(&old, &new)), ["worse went n2: reachable > -"]);
    // A role that both selected, and a node that lost it.
    let both = with(
        roles(&["analytics", "config"]),
        &[],
        vec![well("n1", "x"), well("n1", "y"), well("n2", "x"), config("n3")],
    );
    assert_eq!(told(&diff(&everything(), &both)), ["worse went api: active > -"]);
}

#[test]
fn a_node_that_the_run_did_not_come_to_is_not_compared() {
    let failure = Some(Failure::new(Stage::Plan, FailureKind::Interrupted, "not begun"));
    let cut = TargetResult { failure, ..TargetResult::new("n2", Outcome::NotStarted) };
    let found = diff(&at(0, vec![well("n1", "x"), well("n2", "x")]), &at(60, vec![well("n1", "x"), cut]));
    assert_eq!(told(&found), [""; 0]);
}

#[test]
fn the_same_on_several_nodes_is_one_line_worse_first() {
    let names: Vec<String> = (1..=7).map(|number| format!("a6s{number:02}")).collect();
    let services = ["contrail-alarm-gen", "contrail-analytics-api", "contrail-collector", "contrail-query-engine"];
    let all = |edit: &dyn Fn(&mut TargetResult)| {
        let rows = names.iter().flat_map(|node| services.iter().map(move |service| well(node, service)));
        rows.map(|mut result| {
            edit(&mut result);
            result
        })
        .collect::<Vec<_>>()
    };
    let before = at(0, all(&|_| {}));
    let mut after = at(
        60,
        all(&|result| {
            result.pid = Some(200);
            if ["a6s03", "a6s07"].contains(&result.node.as_str())
                && result.service.as_deref() == Some("contrail-collector")
            {
                result.functional = Some("initializing".into());
                result.functional_reason = Some("Database connection down".to_owned());
            }
        }),
    );
    after.nodes[0].findings = vec![cores(&["/var/crashes/core.a"])];
    after.nodes[1].findings = vec![cores(&["/var/crashes/core.b"])];
    after.results.retain(|result| result.node != "a6s06");
    after.results.push(lost("a6s06", FailureKind::Refused));
    let found = diff(&before, &after);
    let lines: Vec<String> = found.lines().iter().map(ToString::to_string).collect();
    insta::assert_snapshot!(lines.join("\n"), @r"
    worse: a6s06: reachable → unreachable (refused: no)
    worse: a6s[01-02]: new: core files in /var/crashes
    worse: contrail-collector on a6s[03,07]: active → initializing (Database connection down)
    different: 4 services of analytics on a6s[01-05,07]: restarted
    ");
    assert_eq!(found.summary, DiffSummary { worse: 5, better: 0, different: 24, nodes: 7, nodes_same: 0 });
    assert!(found.is_worse());
}

#[test]
fn a_document_is_read_back_as_it_was_meant() {
    let text = r#"{"schema": "ctl/1", "run": "r", "command": "status", "action": "status", "services": ["x"],
        "selection": {"roles": ["analytics"], "nodes": "n[1-3]", "exclude": null, "racks": [1]},
        "started": "2026-03-01T08:00:00Z", "elapsed_ms": 812, "exit_code": 3, "colour": {"deep": [[1]]},
        "results": [
          {"node": "n1", "outcome": "ok", "state": "RUNNING", "pid": 3, "mood": "good"},
          {"node": "n2", "outcome": "pondering", "state": "DREAMING", "via": "telepathy",
           "failure": {"stage": "sleep", "kind": "nightmare", "message": "a wolf", "hint": null, "depth": 3}}],
        "nodes": [{"node": "n1", "supervisors": [{"role": "r", "name": "s", "address": null, "via": "rpc", "version": null, "pid": 1},
                                                 {"role": "r", "name": "t", "via": "telepathy"}],
                   "packages": {}, "findings": [{"kind": "ghost", "role": null, "message": "boo", "details": []}]}],
        "summary": {}}"#;
    let snapshot = read(text.as_bytes()).expect("a snapshot");
    assert_eq!((snapshot.run.as_deref(), snapshot.elapsed), (Some("r"), Duration::from_millis(812)));
    assert_eq!(snapshot.selection.nodes.as_deref(), Some("n[1-3]"));
    assert_eq!((snapshot.results[0].state, snapshot.results[0].pid), (Some(ProcessState::Running), Some(3)));
    let second = &snapshot.results[1];
    assert_eq!((second.outcome, second.state, second.via), (Outcome::Unknown, Some(ProcessState::Unknown), None));
    assert_eq!(second.failure.as_ref().expect("a failure").message, "nightmare: a wolf");
    assert_eq!((snapshot.nodes[0].supervisors.len(), snapshot.nodes[0].findings.len()), (1, 0));
}

#[test]
fn a_file_that_is_not_a_snapshot_has_an_error() {
    let whole = r#"{"schema":"ctl/1","command":"status","results":[{"node":"n1","outcome":"ok"}]}"#;
    assert!(read(whole.as_bytes()).is_ok());
    let table: &[(&str, &str)] = &[
        ("", "it is empty"),
        (" \n", "it is empty"),
        ("hello", "it is not the JSON of a snapshot: expected value at line 1 column 1"),
        ("7", "it is not the JSON of a snapshot: invalid type: integer `7`"),
        ("[1]", "it does not have the schema ctl/1"),
        ("{}", "it does not have the schema ctl/1"),
        (r#"{"schema":1}"#, "it does not have the schema ctl/1"),
        (r#"{"schema":"ctl/2"}"#, "its schema is ctl/2; this ctl reads ctl/1"),
        (r#"{"schema":"ctl/1","runs":[]}"#, "it was not written by `ctl status`"),
        (
            r#"{"schema":"ctl/1","command":"service","results":[]}"#,
            "it was written by `ctl service`, not by `ctl status`",
        ),
        (
            r#"{"schema":"ctl/1","command":"status"}"#,
            "it is not in the form that `ctl status` writes: missing field `results`",
        ),
        (
            r#"{"schema":"ctl/1","command":"status","results":[{"node":7,"outcome":"ok"}]}"#,
            "it is not in the form that `ctl status` writes: invalid type: integer `7`, expected a string",
        ),
        ("{\"schema\":\"ctl/1\",\"command\":\"status\"}\n{}", "it is not the JSON of a snapshot: trailing characters"),
    ];
    for (text, expected) in table {
        let error = read(text.as_bytes()).expect_err(text);
        assert!(error.to_string().starts_with(expected), "{text}: {error}");
        assert!(!error.hint().is_empty());
    }
    for end in 1..whole.len() {
        assert!(matches!(read(&whole.as_bytes()[..end]), Err(SnapshotError::Truncated(_))), "{end}");
    }
    assert!(matches!(read(b"{\"schema\":\"ctl/1\xff\"}"), Err(SnapshotError::NotJson(_))));
    let folder = std::env::temp_dir();
    assert!(matches!(load(&folder), Err(SnapshotError::Folder)));
    assert!(matches!(load(&folder.join("no such file of ctl")), Err(SnapshotError::Io(_))));
}

#[test]
fn a_file_that_is_too_large_is_not_read_to_its_end() {
    let file = tempfile::NamedTempFile::new().expect("a file");
    file.as_file().set_len(super::read::MAX_BYTES + 1).expect("a length");
    let error = load(file.path()).expect_err("too large");
    assert_eq!(error.to_string(), "it is larger than 256 MiB");
}

fn any_row() -> impl Strategy<Value = TargetResult> {
    let state = prop::sample::select(ProcessState::ALL.to_vec());
    let word = prop::option::of(prop::sample::select(vec![
        "active",
        "backup",
        "initializing",
        "timeout",
        "failed",
        "inactive",
    ]));
    (0..3_u8, 0..3_u8, state, word, prop::option::of(1..4_u32), 0..4_u8).prop_map(
        |(node, service, state, word, pid, what)| {
            let node = format!("n{node}");
            match what {
                0 => lost(&node, FailureKind::Refused),
                1 => silent(&node),
                _ => TargetResult { pid, ..row(&node, &format!("s{service}"), state, word) },
            }
        },
    )
}

fn any_snapshot() -> impl Strategy<Value = Snapshot> {
    (0..100_i64, prop::collection::vec(any_row(), 0..12)).prop_map(|(minutes, results)| at(minutes, results))
}

proptest! {
    #[test]
    fn a_snapshot_differs_from_itself_in_nothing(snapshot in any_snapshot()) {
        prop_assert_eq!(diff(&snapshot, &snapshot).changes, Vec::new());
    }

    #[test]
    fn a_reversed_diff_turns_worse_into_better(before in any_snapshot(), after in any_snapshot()) {
        let states = |diff: &SnapshotDiff| {
            let of = |change: &NodeChange| (change.node.clone(), change.supervisor.clone(), change.service.clone());
            let states = diff.changes.iter().filter(|change| change.kind == ChangeKind::State);
            let mut states: Vec<_> = states.map(|change| (of(change), change.verdict, change.before.clone(), change.after.clone())).collect();
            states.sort();
            states
        };
        let mirrored = |verdict| match verdict {
            ChangeVerdict::Worse => ChangeVerdict::Better,
            ChangeVerdict::Better => ChangeVerdict::Worse,
            ChangeVerdict::Different => ChangeVerdict::Different,
        };
        let forth = states(&diff(&before, &after));
        let back = states(&diff(&after, &before));
        let mut turned: Vec<_> = forth.into_iter().map(|(of, verdict, old, new)| (of, mirrored(verdict), new, old)).collect();
        turned.sort();
        prop_assert_eq!(turned, back);
    }

    #[test]
    fn every_change_is_counted_and_in_a_line(before in any_snapshot(), after in any_snapshot()) {
        let found = diff(&before, &after);
        let summary = found.summary;
        prop_assert_eq!(summary.worse + summary.better + summary.different, found.changes.len());
        let nodes = |verdict| found.changes.iter().filter(|change| change.verdict == verdict).map(|change| change.node.clone()).collect::<std::collections::BTreeSet<_>>();
        for verdict in [ChangeVerdict::Worse, ChangeVerdict::Better, ChangeVerdict::Different] {
            let lines = found.lines();
            let told = lines.iter().filter(|line| line.verdict == verdict).flat_map(|line| line.nodes.iter().collect::<Vec<_>>()).collect();
            prop_assert_eq!(nodes(verdict), told);
        }
        prop_assert!(found.changes.is_sorted_by_key(|change| change.verdict));
    }

    #[test]
    fn no_text_leads_to_a_panic(text in "\\PC*|\\{\"schema\":\"ctl/1\",\"command\":\"status\",\"results\":[\\[\\]{}:,\"a-z0-9]{0,30}") {
        drop(read(text.as_bytes()));
    }
}

/// The changes of each round of a watch after the first.
fn rounds(all: Vec<Snapshot>) -> Vec<Vec<String>> {
    let mut rounds = WatchRounds::default();
    let all = all.into_iter().map(|now| told(&rounds.take(now)));
    all.collect::<Vec<_>>().split_off(1)
}

#[test]
fn a_watch_loses_nothing_while_something_cannot_be_read() {
    use ProcessState as P;
    let round = |results: Vec<TargetResult>, findings: Vec<NodeFinding>| {
        let nodes = vec![facts("n1", findings)];
        Snapshot { nodes, ..at(0, results) }
    };
    let other = |row: TargetResult| TargetResult { pid: Some(200), ..row };
    let fatal = || row("n1", "x", P::Fatal, Some("failed"));
    let blind = || finding(FindingKind::NotSearched, "not searched", &[]);
    let deaf = || finding(FindingKind::NoIntrospect, "sshd forbids forwarding", &[]);
    let unsaid = || row("n1", "x", P::Running, None);
    let slow = || row("n1", "x", P::Running, Some("initializing"));
    let both = || vec![well("n1", "x"), well("n1", "y")];
    let gone = || Snapshot { nodes: Vec::new(), ..at(0, vec![lost("n1", FailureKind::Refused)]) };
    let unreachable = "worse state n1: reachable > unreachable (refused: no)".to_owned();
    let reachable = "better state n1: unreachable (refused: no) > reachable".to_owned();
    let (down, up) = ("up > down (nothing is listening)", "down (nothing is listening) > up");

    // A node that was unreachable for two rounds.
    let told =
        rounds(vec![round(both(), vec![]), gone(), gone(), round(vec![fatal(), other(well("n1", "y"))], vec![])]);
    let back = vec![
        "worse state x: active > FATAL".to_owned(),
        reachable.clone(),
        "different restarted y: pid 100 > pid 200".to_owned(),
    ];
    assert_eq!(told, [vec![unreachable.clone()], vec![], back]);
    // A node without a known earlier state.
    let told = rounds(vec![gone(), round(vec![fatal(), well("n1", "y")], vec![cores(&["a"])])]);
    let news = ["worse came x: - > FATAL", "worse finding n1: - > core files in /var/crashes: a"];
    assert_eq!(told, [[news.map(str::to_owned).to_vec(), vec![reachable.clone()]].concat()]);
    // Its supervisord was down; later changes are reported once.
    let told = rounds(vec![
        round(both(), vec![]),
        round(vec![silent("n1")], vec![]),
        round(vec![fatal(), well("n1", "y")], vec![]),
        round(vec![fatal(), well("n1", "y")], vec![]),
    ]);
    let silent_told = vec![format!("worse state supervisor-analytics: {down}")];
    let back = vec!["worse state x: active > FATAL".to_owned(), format!("better state supervisor-analytics: {up}")];
    assert_eq!(told, [silent_told, back, vec![]]);
    // The failed search is a change of its own.
    let told = rounds(vec![
        round(both(), vec![cores(&["a"])]),
        round(both(), vec![blind()]),
        round(both(), vec![blind()]),
        round(both(), vec![cores(&["a", "b"])]),
    ]);
    let found = "worse finding n1: - > core files in /var/crashes: b";
    assert_eq!(told[0], ["different finding n1: - > not searched"]);
    assert_eq!(
        (told[1].len(), told[2].as_slice()),
        (0, [found, "different finding n1: not searched > -"].map(str::to_owned).as_slice())
    );
    // Its services could not be asked.
    let told = rounds(vec![
        round(vec![well("n1", "x")], vec![]),
        round(vec![unsaid()], vec![deaf()]),
        round(vec![slow()], vec![]),
        round(vec![unsaid()], vec![deaf()]),
        round(vec![fatal()], vec![deaf()]),
        round(vec![fatal()], vec![]),
    ]);
    let forbidden = "different finding n1: - > sshd forbids forwarding".to_owned();
    let allowed = "different finding n1: sshd forbids forwarding > -".to_owned();
    assert_eq!(
        told,
        [
            vec![forbidden.clone()],
            vec!["worse state x: active > initializing".to_owned(), allowed.clone()],
            vec![forbidden],
            vec!["worse state x: active > FATAL".to_owned()],
            vec![allowed],
        ]
    );
}
