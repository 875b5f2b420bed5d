//! Interrupted runs: the table is complete, and services that the run stopped run again.

use crate::harness::{Cluster, Instance, NodeSpec, Program, eventually};

fn slow(seconds: u32) -> NodeSpec {
    NodeSpec::new(Instance::analytics().with(Program::slow_to_stop("contrail-collector", seconds)))
}

/// The first signal lets nodes in progress finish, and starts no more.
fn first_signal(name: &str, code: i32) {
    let cluster = Cluster::of(4, &slow(6));
    let pids =
        || cluster.nodes().iter().map(|node| node.process("contrail-collector").unwrap().pid).collect::<Vec<_>>();
    let before = pids();
    let run = cluster.ctl_start("service contrail-collector restart -y -o json --forks 2");
    let stopping = || {
        cluster
            .nodes()
            .iter()
            .filter(|node| node.process("contrail-collector").is_some_and(|p| p.state == "STOPPING"))
            .count()
    };
    eventually("two nodes to stop", || (stopping() == 2).then_some(()));
    run.signal(name);
    let finished = run.finish().expect(code);
    assert_eq!(finished.json()["exit_code"], code, "{finished}");
    assert_eq!(finished.results().len(), 4, "{finished}");
    let mut begun = 0;
    for ((node, before), after) in cluster.nodes().iter().zip(before).zip(pids()) {
        let result = finished.result(&node.name);
        if after == before {
            assert_eq!(result["outcome"], "not_started", "{finished}");
            assert_eq!(result["failure"]["kind"], "interrupted", "{finished}");
        } else {
            assert_eq!(result["outcome"], "changed", "{finished}");
            begun += 1;
        }
    }
    assert_eq!(begun, 2, "{finished}");
}

#[test]
fn ctrl_c_once() {
    first_signal("INT", 130);
}

#[test]
fn terminated_once() {
    first_signal("TERM", 143);
}

#[test]
fn hung_up_once() {
    first_signal("HUP", 129);
}

/// The second signal ends the wait; services that the run has stopped are started anyway.
#[test]
fn ctrl_c_twice() {
    let cluster = Cluster::of(4, &slow(2));
    let mut run = cluster.ctl_start("service contrail-collector restart -y -o json --forks 2");
    eventually("a node to stop", || {
        cluster
            .nodes()
            .iter()
            .any(|node| node.process("contrail-collector").is_some_and(|p| p.state == "STOPPING"))
            .then_some(())
    });
    run.signal("INT");
    // Two signals in quick succession may be delivered as one.
    std::thread::sleep(std::time::Duration::from_millis(200));
    assert!(run.is_running());
    run.signal("INT");
    let finished = run.finish().expect(130);
    assert_eq!(finished.results().len(), 4, "{finished}");
    for result in finished.results() {
        let outcome = result["outcome"].as_str().unwrap();
        assert!(["unknown", "not_started", "changed"].contains(&outcome), "{finished}");
    }
    for node in cluster.nodes() {
        node.wait_for("contrail-collector", "RUNNING");
    }
}

/// An explicit stop is not undone: after the second signal only services stopped by a restart are started.
#[test]
fn ctrl_c_twice_does_not_undo_a_stop() {
    let cluster = Cluster::of(1, &slow(2));
    let run = cluster.ctl_start("service contrail-collector stop -o json");
    cluster.node("a1").wait_for("contrail-collector", "STOPPING");
    run.signal("INT");
    std::thread::sleep(std::time::Duration::from_millis(200));
    run.signal("INT");
    run.finish().expect(130);
    cluster.node("a1").wait_for("contrail-collector", "STOPPED");
}
