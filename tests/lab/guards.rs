//! The guard on a node: it starts the services again that a run has stopped, even if the run dies.

use std::time::Duration;

use contrail_lab::{ClusterSpec, Fault, Release, State, Timing};

use crate::harness::{ANALYTICS, Cluster, FAST, ended, eventually, uniform, word};

/// A program that ends on TERM, so the lab's timing controls how long it takes.
const SLOW: &str = "contrail-analytics-nodemgr";

/// Nodes on which [`SLOW`] takes a second and a half to stop.
fn slow_to_stop(nodes: usize) -> ClusterSpec {
    let timing = Timing { scale: 0.2, stop: Duration::from_millis(1500), ..FAST };
    ClusterSpec::uniform(nodes, Release::R3_2).timing(timing)
}

fn stopping(cluster: &Cluster) {
    for node in cluster.nodes() {
        cluster.wait_for(node.name(), ANALYTICS, SLOW, State::Stopping);
    }
}

/// Asserts that the guard of each node started the program once, that it runs, and that all nodes are unlocked.
#[track_caller]
fn rescued(cluster: &Cluster) {
    for node in cluster.nodes() {
        eventually("the rescue", || (node.guard().rescues == 1).then_some(()));
        cluster.wait_for(node.name(), ANALYTICS, SLOW, State::Running);
        let rescued = node.guard().rescued;
        assert!(rescued.len() == 1 && rescued[0].contains(SLOW), "{rescued:?}");
    }
    assert!(cluster.counts(ANALYTICS, SLOW).iter().all(|counts| *counts == (2, 1)));
    cluster.at_rest();
}

/// The controller dies between stop and start.
#[test]
fn a_controller_that_is_killed() {
    let cluster = Cluster::start(slow_to_stop(3));
    let run = cluster.begin(&format!("service {SLOW} restart -y"));
    stopping(&cluster);
    assert!(
        cluster.nodes().iter().all(|node| node.guard().armed.len() == 1),
        "expected the guard to be armed before the stop"
    );
    run.signal("KILL");
    rescued(&cluster);
}

/// Every connection is cut between stop and start: the guards start the program, and the run reports it.
#[test]
fn connections_that_are_cut() {
    let cluster = Cluster::start(slow_to_stop(2));
    let run = cluster.begin(&format!("service {SLOW} restart -y -o json"));
    stopping(&cluster);
    cluster.nodes().iter().for_each(contrail_lab::Node::cut_connections);
    let run = run.finish().expect(0);
    assert_eq!(run.json()["summary"]["changed"], 2, "{run}");
    rescued(&cluster);
}

/// The network dies silently: neither side gets an error, and the guard misses the keep-alive.
#[test]
fn a_network_that_falls_silent() {
    let cluster = Cluster::start(slow_to_stop(2).guard_silence(Duration::from_secs(4)));
    let run = cluster.begin(&format!("service {SLOW} restart -y -o json --timeout 4s"));
    stopping(&cluster);
    cluster.nodes().iter().for_each(|node| node.partition(None));
    let run = run.finish().expect(1);
    for node in cluster.nodes() {
        assert_eq!(word(&run.result(node.name())["outcome"]), "unknown", "{run}");
    }
    rescued(&cluster);
}

/// The network comes back in time: the run continues normally.
#[test]
fn a_network_that_comes_back() {
    let cluster = Cluster::start(slow_to_stop(2));
    let run = cluster.begin(&format!("service {SLOW} restart -y -o json"));
    stopping(&cluster);
    cluster.nodes().iter().for_each(|node| node.partition(Some(Duration::from_secs(3))));
    let run = run.finish().expect(0);
    assert_eq!(run.json()["summary"]["changed"], 2, "{run}");
    assert_eq!(cluster.counts(ANALYTICS, SLOW), [(2, 1); 2], "{run}");
    cluster.at_rest();
    assert!(cluster.nodes().iter().all(|node| node.guard().rescues == 0), "{run}");
}

/// The command of a rescue is checked before it is armed. Nothing is checked if the run stops nothing.
#[test]
fn a_node_where_a_start_is_all_that_can_be_done() {
    let spec = slow_to_stop(1).each(|node| node.faults.push(Fault::NoSupervisorctl));
    let cluster = Cluster::start(spec);
    let refused = cluster.ctl(&format!("service {SLOW} restart -o json")).expect(1);
    assert_eq!(ended(&refused.result("n01")), "failed command", "{refused}");
    assert_eq!(cluster.counts(ANALYTICS, SLOW), [(1, 0)], "{refused}");
    cluster.ctl(&format!("service {SLOW} stop -o json")).expect(0);
    cluster.ctl(&format!("service {SLOW} start -o json")).expect(0);
    cluster.at_rest();
}

/// The guard does not undo an explicit stop.
#[test]
fn a_stop_is_a_stop() {
    let cluster = Cluster::start(slow_to_stop(1));
    let run = cluster.begin(&format!("service {SLOW} stop"));
    stopping(&cluster);
    assert!(cluster.node("n01").guard().armed.is_empty() && cluster.node("n01").guard().holder.is_some());
    run.signal("KILL");
    cluster.wait_for("n01", ANALYTICS, SLOW, State::Stopped);
    cluster.at_rest();
    let guard = cluster.node("n01").guard();
    assert_eq!((guard.rescues, cluster.process("n01", ANALYTICS, SLOW).starts), (0, 1));
}

/// Without a guard (`--no-guard`) ctl itself fulfils the obligation on the second signal.
#[test]
fn without_a_guard() {
    let spec = slow_to_stop(1).each(|node| node.faults.push(Fault::NoFlock));
    let cluster = Cluster::start(spec);
    let run = cluster.begin(&format!("service {SLOW} restart -o json --no-guard"));
    stopping(&cluster);
    run.signal("INT");
    run.until_said("Press Ctrl-C again to stop waiting.");
    run.signal("INT");
    let run = run.finish().expect(130);
    assert_eq!(ended(&run.result("n01")), "unknown interrupted", "{run}");
    cluster.wait_for("n01", ANALYTICS, SLOW, State::Running);
    assert_eq!(cluster.counts(ANALYTICS, SLOW), [(2, 1)], "{run}");
}

/// While a run holds nodes, the lock says who holds it and why. After the run they are free and nothing is armed.
#[test]
fn a_holder_says_who_it_is() {
    let cluster = Cluster::start(uniform(2).each(|node| node.faults.push(Fault::SlowStart(Duration::from_secs(1)))));
    let mut command = cluster.command(&format!("service {} restart -y -o json", crate::harness::COLLECTOR));
    command.args(["--reason", "kernel; rm -rf / $(x) 'y'"]);
    let run = crate::harness::Running::start(command);
    cluster.wait_for("n01", ANALYTICS, crate::harness::COLLECTOR, State::Starting);
    let holder = cluster.node("n01").guard().holder.expect("expected a lock holder");
    let run = run.finish().expect(0);
    assert!(holder.contains(&format!("run={}", word(&run.json()["run"]))), "{holder}\n{run}");
    assert!(holder.contains("reason=kernel%3B%20rm"), "{holder}");
    cluster.at_rest();
    assert!(cluster.nodes().iter().all(|node| node.guard().rescues == 0), "{run}");
}
