//! Programs that are meant to end: the same result with each backend.

use crate::harness::{Cluster, Finished, Instance, Node, NodeSpec, Program};

/// Programs listed in the role's `oneshot`, programs that are one-shot only because of their `startsecs`; and one that
/// should keep running and does not.
fn analytics() -> Instance {
    let ends = |name: &str, startsecs: &str| {
        Program::running(name, "/bin/sh -c 'sleep 2'").set("startsecs", startsecs).set("autorestart", "false")
    };
    Instance::analytics()
        .with(Program::steady("contrail-collector"))
        .with(Program::exits_at_once("contrail-topology", 0))
        .with(Program::exits_at_once("contrail-snmp-collector", 3))
        .with(ends("contrail-alarm-gen", "0"))
        .with(Program::exits_at_once("contrail-query-engine", 0))
        .with(Program::exits_at_once("contrail-analytics-api", 3))
        .with(ends("contrail-broadview", "1"))
}

const LISTED: &str = "roles:\n  analytics: {oneshot: [contrail-topology, contrail-snmp-collector, contrail-alarm-gen]}";

/// The outcome of a start or restart of each.
const EXPECTED: [(&str, &str); 7] = [
    ("contrail-collector", "changed"),
    ("contrail-topology", "changed"),
    ("contrail-snmp-collector", "failed abnormal_termination"),
    ("contrail-alarm-gen", "changed"),
    ("contrail-query-engine", "changed"),
    ("contrail-analytics-api", "failed abnormal_termination"),
    ("contrail-broadview", "failed unstable"),
];

fn cluster() -> Cluster {
    let cluster = Cluster::builder().sections(LISTED).node("a1", NodeSpec::new(analytics())).start();
    for (name, _) in EXPECTED.iter().skip(1) {
        cluster.node("a1").wait_for(name, "EXITED");
    }
    cluster
}

/// How often supervisord has spawned a program.
fn spawned(node: &Node, name: &str) -> usize {
    let log = node.inside("/var/log/contrail/supervisord-analytics.log");
    let log = std::fs::read_to_string(log).unwrap();
    log.matches(&format!("spawned: '{name}'")).count()
}

fn ended(run: &Finished, service: &str) -> String {
    let result = run.result_of("a1", service);
    let kind = result["failure"]["kind"].as_str().map(|kind| format!(" {kind}")).unwrap_or_default();
    format!("{}{kind}", result["outcome"].as_str().unwrap())
}

fn every_action(via: &str) {
    let cluster = cluster();
    let node = cluster.node("a1");
    let names = EXPECTED.map(|(name, _)| name).join(" ");
    let before = EXPECTED.map(|(name, _)| spawned(node, name));
    let run = cluster.ctl(&format!("service {names} restart -y -o json --stable 5s --via {via}")).expect(1);
    for (index, (name, expected)) in EXPECTED.into_iter().enumerate() {
        assert_eq!(ended(&run, name), expected, "{name}\n{run}");
        assert_eq!(run.result_of("a1", name)["via"], via, "{run}");
        assert_eq!(spawned(node, name), before[index] + 1, "expected one spawn of {name}\n{run}");
    }
    let started = "contrail-topology contrail-snmp-collector contrail-alarm-gen contrail-query-engine";
    let run = cluster.ctl(&format!("service {started} start -y -o json --via {via}")).expect(1);
    for name in started.split(' ') {
        let expected = EXPECTED.iter().find(|(other, _)| *other == name).unwrap().1;
        assert_eq!(ended(&run, name), expected, "{name}\n{run}");
    }
    // A stop of a program that has ended changes nothing.
    let run = cluster.ctl(&format!("service contrail-topology stop -y -o json --via {via}")).expect(0);
    assert_eq!(ended(&run, "contrail-topology"), "ok", "{run}");
}

/// Read-only commands: a program is healthy if the inventory lists it and it has ended as expected.
fn every_question(via: &str) {
    let cluster = cluster();
    let run =
        cluster.ctl(&format!("service contrail-topology contrail-alarm-gen status -o json --via {via}")).expect(0);
    for name in ["contrail-topology", "contrail-alarm-gen"] {
        let result = run.result_of("a1", name);
        assert_eq!((&result["state"], &result["functional"]), (&"EXITED".into(), &"active".into()), "{run}");
    }
    cluster.ctl(&format!("wait contrail-topology --for running --via {via}")).expect(0);
    for name in ["contrail-snmp-collector", "contrail-query-engine"] {
        cluster.ctl(&format!("service {name} status --via {via}")).expect(3);
    }
    cluster.ctl(&format!("service contrail-topology restart --dry-run=live --via {via}")).expect(0);
}

#[test]
fn actions_over_rpc() {
    every_action("rpc");
}

#[test]
fn actions_over_supervisorctl() {
    every_action("supervisorctl");
}

#[test]
fn actions_over_the_wrapper() {
    every_action("service");
}

#[test]
fn questions_over_rpc() {
    every_question("rpc");
}

#[test]
fn questions_over_supervisorctl() {
    every_question("supervisorctl");
}

#[test]
fn questions_over_the_wrapper() {
    every_question("service");
}
