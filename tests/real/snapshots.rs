//! Snapshots of real nodes: the changes since a snapshot, and the gate that compares with one.

use crate::harness::{Cluster, Instance, NodeSpec, Program, eventually};

const COLLECTOR: &str = "contrail-collector";
const ENGINE: &str = "contrail-query-engine";

/// Three nodes whose services report that they are active, and a snapshot of them.
fn cluster() -> Cluster {
    let instance =
        Instance::analytics().with(Program::introspecting(COLLECTOR, 8089)).with(Program::introspecting(ENGINE, 8091));
    let cluster = Cluster::of(3, &NodeSpec::new(instance));
    cluster.ctl("status -q --save before.json").expect(0);
    cluster
}

const SUPERVISORCTL: &str = "supervisorctl -s unix:///var/run/supervisord_analytics.sock";

#[test]
fn what_has_become_of_a_cluster() {
    let cluster = cluster();
    let diff = |code| cluster.ctl("snapshot diff before.json live -q").expect(code).stdout;
    assert_eq!(diff(0), "nothing has changed\n");
    cluster.node("a1").sh(&format!("{SUPERVISORCTL} restart {COLLECTOR}"));
    cluster.node("a2").introspect(ENGINE, "Non-Functional\nDatabase:x connection down");
    cluster.node("a3").sh(&format!("{SUPERVISORCTL} stop {ENGINE}"));
    let told = eventually("the collector of a1", || {
        let run = cluster.ctl("snapshot diff before.json live -q").expect(1);
        (!run.stdout.contains("initializing (nobody")).then_some(run.stdout)
    });
    let has = |start: &str| told.lines().any(|line| line.starts_with(start));
    assert!(has("worse: contrail-query-engine on a2: active → initializing ("), "{told}");
    assert!(has("worse: contrail-query-engine on a3: active → STOPPED"), "{told}");
    assert!(has("different: contrail-collector on a1: restarted"), "{told}");
    assert_eq!(told.lines().count(), 3, "{told}");

    // The reverse comparison, of two files.
    cluster.ctl("status -q --save after.json").expect(3);
    let back = cluster.ctl("snapshot diff after.json before.json -q").expect(0).stdout;
    assert!(back.contains("better: contrail-query-engine on a3: STOPPED ("), "{back}");
    cluster.node("a2").introspect(ENGINE, "Functional");
    cluster.node("a3").sh(&format!("{SUPERVISORCTL} start {ENGINE}"));
    eventually("no node to be worse than before", || {
        let run = cluster.ctl("snapshot diff before.json live -q");
        (run.code() == Some(0)).then_some(())
    });
}

#[test]
fn no_further_than_to_the_first_node_that_is_worse() {
    let cluster = cluster();
    cluster.node("a2").introspect(ENGINE, "Non-Functional\nDatabase:x connection down");
    let line = format!("service {COLLECTOR} restart -y --rolling --stable 1s --gate-snapshot before.json");
    let run = cluster.ctl(&format!("{line} --gate-timeout 3s -o json")).expect(5);
    let expected = [
        "a1 contrail-collector changed",
        "a2 contrail-collector failed gate",
        "a3 contrail-collector not_started gate",
    ];
    assert_eq!(run.outcomes(), expected, "{run}");
    let message = run.result_of("a2", COLLECTOR)["failure"]["message"].to_string();
    assert!(message.contains("contrail-query-engine: active → initializing ("), "{run}");
    // The problem is fixed while the gate waits.
    let running = cluster.ctl_start(&format!("{line} -o json"));
    let waits = || cluster.ctl("runs show last -o jsonl").stdout.contains("\"met\":null");
    eventually("the gate to wait", || waits().then_some(()));
    cluster.node("a2").introspect(ENGINE, "Functional");
    let run = running.finish().expect(0);
    assert!(run.outcomes().iter().all(|row| row.ends_with(" changed")), "{run}");
}
