//! Guarantees around a run: locks, guards, the journal, and limited commands that leave nothing behind.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use crate::harness::{Cluster, Instance, Node, NodeSpec, Program, Running, eventually};

fn analytics() -> NodeSpec {
    NodeSpec::new(Instance::analytics().with(Program::slow_to_stop("contrail-collector", 3)))
}

fn collector(node: &Node) -> (u32, String) {
    let process = node.process("contrail-collector").unwrap();
    (process.pid, process.state)
}

/// Whether the node is locked, as any user of the node can see.
fn is_locked(node: &Node) -> bool {
    node.sh("flock -n /run/lock true && echo free || echo held").trim() == "held"
}

fn state(node: &Node, wanted: &str) -> Option<()> {
    (collector(node).1 == wanted).then_some(())
}

/// The controller is killed during a restart: the guard starts the service and releases the lock, and the resumed run
/// restarts nothing again.
fn killed_in_mid_restart(via: &str) {
    let cluster = Cluster::of(3, &analytics());
    let before: Vec<u32> = cluster.nodes().iter().map(|node| collector(node).0).collect();
    let run = cluster.ctl_start(&format!(
        "service contrail-collector restart --rolling --stable 0s -y -o json --via {via} --reason drill"
    ));
    let second = cluster.node("a2");
    eventually("the second node to stop", || state(second, "STOPPING"));
    assert!(cluster.nodes().iter().all(is_locked), "expected a lock on every node, including the one not started yet");
    run.signal("KILL");
    drop(run.finish());
    eventually("the guard to start it", || state(second, "RUNNING"));
    eventually("the locks to be released", || (!cluster.nodes().iter().any(is_locked)).then_some(()));
    let guarded: Vec<u32> = cluster.nodes().iter().map(|node| collector(node).0).collect();
    assert_ne!(guarded[1], before[1]);
    assert_eq!(guarded[2], before[2], "the third node was changed");

    let list = cluster.ctl("runs list -o json").expect(0).json();
    assert_eq!(list["runs"][0]["state"], "interrupted");
    assert_eq!(list["runs"][0]["reason"], "drill");
    let id = list["runs"][0]["run"].as_str().unwrap().to_owned();
    let resumed = cluster.ctl(&format!("runs resume {id} -o json")).expect(0);
    assert_eq!(
        resumed.outcomes(),
        ["a1 contrail-collector changed", "a2 contrail-collector changed", "a3 contrail-collector changed"],
        "{resumed}"
    );
    let after: Vec<u32> = cluster.nodes().iter().map(|node| collector(node).0).collect();
    assert_eq!(after[..2], guarded[..2], "expected one restart: {resumed}");
    assert_ne!(after[2], guarded[2], "{resumed}");
    assert_eq!(resumed.json()["run"], id.as_str());
    let again = cluster.ctl(&format!("runs resume {id}")).expect(0);
    assert!(again.stderr.contains("has already finished"), "{again}");
}

#[test]
fn killed_in_mid_restart_over_rpc() {
    killed_in_mid_restart("rpc");
}

#[test]
fn killed_in_mid_restart_through_supervisorctl() {
    killed_in_mid_restart("supervisorctl");
}

/// A second run reports the lock's holder, changes nothing, and leaves no lock behind; also as another user.
#[test]
fn two_runs_do_not_meet() {
    let cluster = Cluster::of(2, &analytics());
    // The first run keeps the locks until this file exists.
    let check = "until [ -e /run/go ]; do sleep 0.1; done";
    let words = "service contrail-collector restart -y -o json --reason first --check";
    let first = Running::start(cluster.ctl_command(words.split(' ').chain([check])));
    let node = cluster.node("a1");
    eventually("the first run to stop it", || state(node, "STOPPING"));
    let before = cluster.nodes().iter().map(|node| collector(node).0).collect::<Vec<_>>();
    for user in ["root", "ctlops --sudo"] {
        let second = cluster.ctl(&format!("service contrail-collector stop -y -o json -u {user}")).expect(6);
        assert_eq!(
            second.outcomes(),
            ["a1 contrail-collector not_started locked", "a2 contrail-collector not_started locked"],
            "{second}"
        );
        let message = second.result("a1")["failure"]["message"].as_str().unwrap().to_owned();
        assert!(message.contains("run 2") && message.contains("(first)"), "{second}");
    }
    for node in cluster.nodes() {
        node.sh("touch /run/go");
    }
    first.finish().expect(0);
    assert_eq!(cluster.nodes().iter().map(|node| collector(node).1).collect::<Vec<_>>(), ["RUNNING", "RUNNING"]);
    assert!(before.len() == 2 && !cluster.nodes().iter().any(is_locked));
}

/// A command that times out is ended with all its children, and its output is kept.
#[test]
fn a_command_is_ended_on_the_node() {
    let cluster = Cluster::of(2, &analytics());
    let command = "echo before; sleep 600 & sleep 601; echo after";
    let run = cluster.ctl_words(&["exec", "-y", "--timeout", "2s", "-o", "json", "--", command]);
    let run = run.expect(1);
    for node in cluster.nodes() {
        let result = run.result(&node.name);
        assert_eq!((&result["outcome"], &result["stdout"]), (&"timed_out".into(), &"before\n".into()), "{run}");
        eventually("every sleep to end", || {
            node.sh("pgrep -f 'sleep 60[01]' || echo none").contains("none").then_some(())
        });
        assert!(!is_locked(node));
    }
}

/// Without `flock` a node is not changed, unless the operator uses --no-guard.
#[test]
fn a_node_that_cannot_be_guarded() {
    let cluster = Cluster::of(1, &analytics());
    let node = cluster.node("a1");
    node.sh("mount --bind /dev/null /usr/bin/flock");
    let before = collector(node).0;
    let refused = cluster.ctl("service contrail-collector restart -o json").expect(1);
    assert_eq!(refused.outcomes(), ["a1 contrail-collector failed command"], "{refused}");
    assert_eq!(collector(node).0, before);
    cluster.ctl("service contrail-collector restart -o json --no-guard").expect(0);
    assert_ne!(collector(node).0, before);
}

/// A command on eight nodes times out while one of them is disconnected: no process of it is left anywhere, and its
/// output so far is kept.
#[test]
fn a_command_is_ended_also_where_the_connection_was_cut() {
    let cluster = Cluster::of(8, &NodeSpec::new(Instance::analytics().with(Program::steady("contrail-collector"))));
    let command = "echo before; sleep 600";
    let words = ["exec", "-y", "--connect-timeout", "30s", "--timeout", "2s", "-o", "json", "--", command];
    let run = Running::start(cluster.ctl_command(words));
    let cut = cluster.node("a5");
    eventually("the command to start", || node_runs(cut, "sleep 600").then_some(()));
    cut.cut_connections();
    let run = run.finish().expect(1);
    for node in cluster.nodes() {
        let result = run.result(&node.name);
        let expected = if node.name == "a5" { "unknown" } else { "timed_out" };
        assert_eq!((&result["outcome"], &result["stdout"]), (&expected.into(), &"before\n".into()), "{run}");
        eventually("all processes to end", || (!node_runs(node, "sleep 600") && !is_locked(node)).then_some(()));
    }
}

fn node_runs(node: &Node, command: &str) -> bool {
    !node.sh(&format!("pgrep -f '^{command}' || echo none")).contains("none")
}

/// Samples every node every 20 ms, without `ctl` and without SSH: the number of nodes that are down never exceeds the
/// cap.
#[test]
fn a_cap_is_never_passed() {
    let program = Program::slow_to_stop("contrail-schema", 1);
    let cluster = Cluster::of(4, &NodeSpec::new(Instance::config().with(program)));
    let over = AtomicBool::new(false);
    let most = std::thread::scope(|scope| {
        let prober = scope.spawn(|| {
            let mut most = 0;
            while !over.load(Ordering::SeqCst) {
                let runs = |node: &&Node| node.process("contrail-schema").is_some_and(|found| found.state == "RUNNING");
                most = most.max(cluster.nodes().iter().filter(|node| !runs(node)).count());
                std::thread::sleep(Duration::from_millis(20));
            }
            most
        });
        let run = cluster.ctl("service contrail-schema restart -y -o json --connect-timeout 30s").expect(0);
        assert_eq!(run.outcomes().len(), 4, "{run}");
        over.store(true, Ordering::SeqCst);
        prober.join().unwrap()
    });
    assert_eq!(most, 1, "more nodes of config were down than the cap allows");
}

/// After a connection is lost, its guard still runs: ctl waits until that guard has ended and the new one has the lock,
/// and keeps it.
#[test]
fn the_guard_of_a_lost_connection_is_waited_for() {
    let cluster = Cluster::of(2, &analytics());
    let command = "until [ -e /run/go ]; do sleep 0.1; done";
    let run = Running::start(cluster.ctl_command(["exec", "-vv", "-y", "--serial", "1", "-o", "json", "--", command]));
    let [first, second] = ["a1", "a2"].map(|name| cluster.node(name));
    let runs = |node: &Node| !node.sh("pgrep -f '^[^ ]*sh -c until [[] -e' || echo none").contains("none");
    eventually("the command to run on the first node", || runs(first).then_some(()));
    let old = second.sh("pgrep -f '[c]tl-guard' | tr '\\n' ' '");
    second.sh(&format!("kill -STOP {old}"));
    second.cut_connections();
    first.sh("touch /run/go");
    run.until_said("waiting for the guard of a lost connection");
    assert!(!runs(second));
    second.sh(&format!("kill -CONT {old}"));
    eventually("the command to run on the second node", || runs(second).then_some(()));
    eventually("the old guard to end", || {
        second.sh(&format!("for pid in {old}; do [ ! -d /proc/$pid ] || echo left; done")).is_empty().then_some(())
    });
    assert!(is_locked(second));
    second.sh("touch /run/go");
    let run = run.finish().expect(0);
    assert_eq!(run.outcomes(), ["a1 - changed", "a2 - changed"], "{run}");
}
