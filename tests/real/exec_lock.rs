//! `ctl exec` and the lock of a node: what it costs there, and that it is held as long as the command runs.

use crate::harness::{Cluster, Instance, Node, NodeSpec, Program, Running, eventually};

fn spec() -> NodeSpec {
    NodeSpec::new(Instance::analytics().with(Program::steady("contrail-collector")))
}

/// The number of processes that were started on the node so far.
fn started(node: &Node) -> u32 {
    node.sh("cat /proc/sys/kernel/ns_last_pid").trim().parse().unwrap()
}

fn is_locked(node: &Node) -> bool {
    !node.sh("flock -n -o /run/lock true && echo free || true").contains("free")
}

/// A command that runs until a file exists, and leaves one where it was started.
const HELD: &str = "echo held; touch /run/started; until [ -e /run/go ]; do sleep 0.1; done";

fn has_started(node: &Node) -> bool {
    node.sh("ls /run/started 2>/dev/null || true").contains("started")
}

/// The number of processes that a node starts for a command, its lock and its watcher. Every process costs a node as much
/// as a small command.
#[test]
fn a_command_starts_few_processes() {
    let cluster = Cluster::of(1, &spec());
    let node = cluster.node("a1");
    let cost = |line: &[&str]| {
        let before = started(node);
        cluster.ctl_words(line).expect(0);
        started(node) - before
    };
    let without = cost(&["ping", "-o", "json"]);
    // sshd's child, which becomes the command; the gate; flock; the holder; its watchdog and the watchdog's sleep.
    for options in [&["-y"][..], &["-y", "--no-guard"]] {
        let words = [&["exec", "-o", "json"], options, &["--", "true"]].concat();
        let with = cost(&words);
        assert!(with <= without + 6, "{options:?}: {with} processes, and {without} for a ping");
    }
    // What a shell has to decode costs one more.
    let quoted = cost(&["exec", "-y", "-o", "json", "--", "echo 'a b' \\!"]);
    assert!(quoted <= without + 7, "{quoted} processes, and {without} for a ping");
}

/// A second run meets the lock of a command, before and while it runs; then the lock is free.
#[test]
fn a_lock_lasts_as_long_as_its_command() {
    let cluster = Cluster::of(2, &spec());
    let first = Running::start(cluster.ctl_command(["exec", "-y", "-o", "json", "--reason", "first", "--", HELD]));
    let nodes = cluster.nodes();
    eventually("the commands to run", || nodes.iter().all(has_started).then_some(()));
    let second = cluster.ctl("exec -y -o json -- true").expect(6);
    assert_eq!(second.outcomes(), ["a1 - not_started locked", "a2 - not_started locked"], "{second}");
    let message = second.result("a1")["failure"]["message"].as_str().unwrap().to_owned();
    assert!(message.contains("(first)"), "{second}");
    cluster.ctl("service contrail-collector restart -y -o json --no-guard").expect(6);
    for node in nodes {
        node.sh("touch /run/go");
    }
    let first = first.finish().expect(0);
    assert_eq!(first.result("a2")["stdout"], "held\n", "{first}");
    assert!(!nodes.iter().any(is_locked), "{first}");
}

/// A command whose turn has not come never runs, if its controller dies; the one that runs is ended.
#[test]
fn a_command_that_is_held_back_is_dropped() {
    let cluster = Cluster::of(2, &spec());
    let nodes = cluster.nodes();
    let run = Running::start(cluster.ctl_command(["exec", "-y", "-f", "1", "-o", "json", "--", HELD]));
    eventually("one command to run", || nodes.iter().any(has_started).then_some(()));
    assert!(nodes.iter().all(is_locked));
    run.signal("KILL");
    drop(run.finish());
    eventually("the nodes to be free", || {
        let is_free = |node| !is_locked(node) && !node_has(node, "ctl-staged") && !node_has(node, "sleep 0.1");
        nodes.iter().all(is_free).then_some(())
    });
    assert_eq!(nodes.iter().filter(|node| has_started(node)).count(), 1);
}

fn node_has(node: &Node, words: &str) -> bool {
    let (first, rest) = words.split_at(1);
    !node.sh(&format!("pgrep -f '[{first}]{rest}' || echo none")).contains("none")
}
