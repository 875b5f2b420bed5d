//! Interrupted runs: the document is complete, nodes in progress finish, and services that the run stopped run again.

use std::time::Duration;

use contrail_lab::{ClusterSpec, Fault, Moment, Node, Release, State, Timing};

use crate::harness::{ANALYTICS, COLLECTOR, Cluster, Finished, Running, ended, eventually, is_free, uniform, word};

/// A program that ends on TERM, so the lab's timing controls how long it takes.
const SLOW: &str = "contrail-analytics-nodemgr";

/// A lab where [`SLOW`] takes a second and a half to stop.
fn slow_to_stop(nodes: usize) -> Cluster {
    let timing = Timing { scale: 0.2, stop: Duration::from_millis(1500), ..crate::harness::FAST };
    Cluster::start(ClusterSpec::uniform(nodes, Release::R3_2).timing(timing))
}

fn count(cluster: &Cluster, name: &str, state: State) -> usize {
    cluster.nodes().iter().filter(|node| cluster.process(node.name(), ANALYTICS, name).state == state).count()
}

/// The first signal lets nodes in progress finish, and starts no more.
fn first_signal(signal: &str, code: i32) {
    let slow = Fault::SlowStart(Duration::from_millis(800));
    let cluster = Cluster::start(uniform(5).each(|node| node.faults.push(slow.clone())));
    let run = cluster.begin(&format!("service {COLLECTOR} restart -y -o json --forks 2"));
    eventually("two nodes to start", || (count(&cluster, COLLECTOR, State::Starting) == 2).then_some(()));
    run.signal(signal);
    let run = run.finish().expect(code);
    assert_eq!(run.results().len(), 5, "{run}");
    let mut begun = 0;
    for node in cluster.nodes() {
        let (result, now) = (run.result(node.name()), cluster.collector(node.name()));
        // The lock was released before the run ended.
        assert!(is_free(&node.guard()), "{:?}\n{run}", node.guard());
        if now.starts == 1 {
            assert_eq!(ended(&result), "not_started interrupted", "{run}");
            assert_eq!((now.stops, now.state), (0, State::Running), "{run}");
            assert!(result["batch"] == 1 || result["batch"].is_null(), "{run}");
        } else {
            assert_eq!(ended(&result), "changed", "{run}");
            assert_eq!(
                (now.starts, now.state, result["pid"].as_u64()),
                (2, State::Running, Some(now.pid.into())),
                "{run}"
            );
            begun += 1;
        }
    }
    assert_eq!(begun, 2, "{run}");
}

#[test]
fn interrupted_once() {
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

/// Sends the signal, waits until ctl reports it, and sends it again. Two signals in quick succession may be delivered
/// as one.
fn twice(cluster: &Cluster, line: &str, in_flight: impl Fn() -> bool) -> Finished {
    let run = cluster.begin(line);
    eventually("an action in progress", || in_flight().then_some(()));
    run.signal("INT");
    run.until_said("Press Ctrl-C again to stop waiting.");
    run.signal("INT");
    run.until_said("Press Ctrl-C again to exit now.");
    run.finish().expect(130)
}

/// The second signal ends the wait; the guard on the node starts again what the run has stopped.
#[test]
fn interrupted_twice() {
    for via in ["rpc", "supervisorctl"] {
        let cluster = slow_to_stop(4);
        let line = format!("service {SLOW} restart -y -o json --forks 2 --via {via}");
        let run = twice(&cluster, &line, || count(&cluster, SLOW, State::Stopping) == 2);
        assert_eq!(run.results().len(), 4, "{run}");
        for node in cluster.nodes() {
            let result = run.result(node.name());
            let now = cluster.process(node.name(), ANALYTICS, SLOW);
            let untouched = (now.state, now.starts) == (State::Running, 1);
            let expected = if untouched { "not_started interrupted" } else { "unknown interrupted" };
            assert_eq!(ended(&result), expected, "{via}\n{run}");
            cluster.wait_for(node.name(), ANALYTICS, SLOW, State::Running);
            let now = cluster.process(node.name(), ANALYTICS, SLOW);
            assert_eq!((now.starts, now.stops), if untouched { (1, 0) } else { (2, 1) }, "{via}\n{run}");
            eventually("the node to be unlocked", || is_free(&node.guard()).then_some(()));
            assert_eq!(node.guard().rescues, u32::from(!untouched), "{via}\n{run}");
        }
        assert_eq!(run.json()["summary"]["unknown"], 2, "{run}");
    }
}

/// An explicit stop is not undone.
#[test]
fn interrupted_twice_a_stop_stays_a_stop() {
    let cluster = slow_to_stop(1);
    let run = twice(&cluster, &format!("service {SLOW} stop -o json"), || count(&cluster, SLOW, State::Stopping) == 1);
    assert_eq!(ended(&run.result("n01")), "unknown interrupted", "{run}");
    assert!(!run.stderr.contains("start again"), "{run}");
    cluster.wait_for("n01", ANALYTICS, SLOW, State::Stopped);
    assert_eq!(cluster.process("n01", ANALYTICS, SLOW).starts, 1, "{run}");
}

/// The second signal while the start hangs: the wait ends, and the process is still starting.
#[test]
fn interrupted_twice_while_it_starts() {
    let slow = Fault::SlowStart(Duration::from_secs(3));
    let cluster = Cluster::start(uniform(1).fault("n01", slow));
    let line = format!("service {COLLECTOR} restart -o json");
    let run = twice(&cluster, &line, || count(&cluster, COLLECTOR, State::Starting) == 1);
    assert_eq!(ended(&run.result("n01")), "unknown interrupted", "{run}");
    cluster.wait_for("n01", ANALYTICS, COLLECTOR, State::Running);
    assert_eq!(cluster.collector("n01").starts, 2, "{run}");
}

/// Without a guard ctl itself tries to start again what it has stopped. A third signal exits at once, with a complete
/// document.
#[test]
fn interrupted_three_times() {
    let spec = uniform(3).each(|node| node.faults.extend([Fault::HangAction, Fault::NoFlock]));
    let cluster = Cluster::start(spec);
    let run = cluster.begin(&format!("service {COLLECTOR} restart -y -o json --forks 2 --no-guard"));
    eventually("two nodes to hang", || (count(&cluster, COLLECTOR, State::Stopping) == 2).then_some(()));
    for said in ["Press Ctrl-C again to stop waiting.", "Press Ctrl-C again to exit now."] {
        run.signal("INT");
        run.until_said(said);
    }
    run.signal("INT");
    let run = run.finish().expect(130);
    let mut outcomes: Vec<String> = run.results().iter().map(ended).collect();
    outcomes.sort();
    assert_eq!(outcomes, ["not_started interrupted", "unknown interrupted", "unknown interrupted"], "{run}");
    assert!(run.stderr.contains("Exiting now."), "{run}");
}

/// The first signal while nodes do not answer: nothing was changed, so ctl does not wait.
#[test]
fn interrupted_while_it_connects() {
    let spec = uniform(3).each(|node| node.faults.push(Fault::SilentAfterAccept));
    let cluster = Cluster::start(spec);
    let run = cluster.begin(&format!("service {COLLECTOR} restart -y -o json --forks 2 --connect-timeout 600s"));
    let reached = |nodes: &[Node]| nodes.iter().filter(|node| node.counters().connections > 0).count();
    eventually("two connections", || (reached(cluster.nodes()) == 2).then_some(()));
    run.signal("TERM");
    let run = run.finish().expect(143);
    let mut outcomes: Vec<String> = run.results().iter().map(ended).collect();
    outcomes.sort();
    assert_eq!(outcomes, ["not_started interrupted"; 3], "{run}");
    assert_eq!(reached(cluster.nodes()), 2, "{run}");
    let said = "Stopping before the first change: this run has changed nothing. Press Ctrl-C again to stop waiting.";
    assert!(run.stderr.contains(said), "{run}");
}

/// A second signal after the connection was lost for good, on a node without a guard: ctl cannot send the start, and
/// reports this.
#[test]
fn what_could_not_be_started_again_is_told() {
    let cut = Fault::DropMidAction { after: Moment::Stop, come_back: false };
    let cluster = Cluster::start(uniform(1).fault("n01", cut).fault("n01", Fault::NoFlock));
    let line = format!("service {COLLECTOR} restart -o json --no-guard");
    let run = twice(&cluster, &line, || count(&cluster, COLLECTOR, State::Stopped) == 1);
    let result = run.result("n01");
    assert_eq!(word(&result["outcome"]), "unknown", "{run}");
    let hint = word(&result["failure"]["hint"]);
    assert!(
        hint.contains("start") && hint.contains(COLLECTOR) && hint.contains("n01"),
        "expected the command in the message\n{run}"
    );
}

/// The same with a guard: it has started the service again, and no message claims that it may be stopped.
#[test]
fn what_the_guard_starts_again_is_not_told_as_stopped() {
    let cut = Fault::DropMidAction { after: Moment::Stop, come_back: false };
    let cluster = Cluster::start(uniform(1).fault("n01", cut));
    let line = format!("service {COLLECTOR} restart -o json -v");
    let run = twice(&cluster, &line, || cluster.node("n01").guard().rescues == 1);
    let result = run.result("n01");
    assert_eq!(word(&result["outcome"]), "unknown", "{run}");
    cluster.wait_for("n01", ANALYTICS, COLLECTOR, State::Running);
    let now = cluster.collector("n01");
    assert_eq!((now.starts, now.stops), (2, 1), "{run}");
}

/// The messages mention guards only where they start something again, whatever the first step of a rollout is. A resume
/// does not deny the changes of the earlier part of the run.
#[test]
fn a_rollout_that_is_interrupted() {
    let exec = |line: &str| format!("  - {{name: exec, role: analytics, exec: {line}}}\n");
    let act =
        |action: &str| format!("  - {{name: act, role: analytics, services: {SLOW}, action: {action}, stable: 0s}}\n");
    let cases = [
        (exec("'true'") + &act("restart"), State::Stopping, true),
        (act("stop") + &exec("sleep 600"), State::Stopped, false),
    ];
    for (steps, in_flight, is_guarded) in cases {
        let cluster = slow_to_stop(1);
        let file = cluster.write("rollout.yaml", format!("version: 1\nsteps:\n{steps}"));
        let line = format!("rollout {} -o json", file.display());
        let run = twice(&cluster, &line, || {
            let at_command = is_guarded || cluster.node("n01").commands().running == 1;
            count(&cluster, SLOW, in_flight) == 1 && at_command
        });
        assert_eq!(run.stderr.contains("guards on the nodes will start again"), is_guarded, "{run}");
        if is_guarded {
            cluster.wait_for("n01", ANALYTICS, SLOW, State::Running);
            cluster.at_rest();
            cluster.node("n01").set_fault(Fault::SilentAfterAccept);
            let before = cluster.counters("n01").connections;
            let resumed = Running::start(cluster.bare("runs resume last"));
            eventually("a connection", || (cluster.counters("n01").connections > before).then_some(()));
            resumed.signal("INT");
            let resumed = resumed.finish().expect(130);
            assert!(!resumed.stderr.contains("has changed nothing"), "{resumed}");
        }
    }
}

/// No part of the comparison is printed.
#[test]
fn a_comparison_that_is_interrupted() {
    let cluster = Cluster::start(uniform(2));
    cluster.ctl("status --save before.json").expect(0);
    cluster.node("n02").set_fault(Fault::SilentAfterAccept);
    let before = cluster.counters("n02").connections;
    let run = cluster.begin("snapshot diff before.json live --connect-timeout 600s");
    eventually("a connection", || (cluster.counters("n02").connections > before).then_some(()));
    run.signal("INT");
    let run = run.finish().expect(130);
    assert!(run.stderr.contains("Stopping: nothing will be compared. Press Ctrl-C again to exit now."), "{run}");
    assert!(!run.stderr.contains("showing what was read"), "{run}");
}
