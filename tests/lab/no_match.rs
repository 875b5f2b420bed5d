//! Globs that match no service: no fault, as the nodes decide what they run, but named, since it is often a typo.

use contrail_lab::{ClusterSpec, Fault, NodeSpec, Release, Role};

use crate::harness::{COLLECTOR, Cluster, FAST, uniform};

/// What the message of every command says.
const MESSAGE: &str = "no selected node has a service that matches 'contrail-colec*'";
const HINT: &str = "  → did you mean contrail-collector?";

/// The commands that take a service, with a glob that matches nothing.
const COMMANDS: [&str; 12] = [
    "service contrail-colec* status",
    "service contrail-colec* restart -y",
    "status contrail-colec*",
    "status --all contrail-colec*",
    "start contrail-colec* -y",
    "stop contrail-colec* -y",
    "restart contrail-colec* -y",
    "update contrail-colec* -y",
    "wait contrail-colec* --for running",
    "wait contrail-colec* --for stopped",
    "logs contrail-colec*",
    "restart contrail-colec* -y --dry-run=live",
];

#[test]
fn a_glob_without_a_match_is_named_in_every_command() {
    let cluster = Cluster::start(uniform(3));
    // A node that was selected by hand and has no such service fails by itself.
    let selections = [("", 0), ("-x n01", 0), ("-o json", 0), ("-q", 0), ("-r analytics", 1), ("-w n[01-02]", 1)];
    for (options, code) in selections {
        for words in COMMANDS {
            let waits = words.starts_with("wait");
            // Neither an update nor a plan has a result for a missing service.
            let has_results = !words.starts_with("update") && !words.contains("--dry-run");
            let expected = if waits || has_results && code == 1 { 1 } else { 0 };
            let run = cluster.ctl(&format!("{words} {options}")).expect(expected);
            let label = if waits { "error" } else { "warning" };
            assert!(run.stderr.contains(&format!("{label}: {MESSAGE}\n{HINT}\n")), "{run}");
        }
    }
    // Where another name is right, its results are shown as well.
    let run = cluster.ctl(&format!("wait {COLLECTOR} typo* --for running")).expect(1);
    assert!(run.stdout.contains(COLLECTOR) && run.stderr.contains("matches 'typo*'"), "{run}");
    // `all` is a pattern like others, and here it matches.
    cluster.ctl("wait all contrail-* --for running").expect(0);
    cluster.at_rest();
}

/// A match on one node is enough, and a node that does not answer may have one.
#[test]
fn a_glob_is_no_mistake_where_it_may_match() {
    let nodes = [("a1", Role::Analytics), ("c1", Role::Config)];
    let nodes = nodes.map(|(name, role)| NodeSpec::new(name, Release::R3_2).roles([role]));
    let cluster = Cluster::start(ClusterSpec::new(nodes.to_vec()).timing(FAST));
    for pattern in ["contrail-coll*", "contrail-s*", "supervisor-ana*"] {
        cluster.ctl(&format!("service {pattern} status")).expect(0);
    }
    cluster.node("c1").set_fault(Fault::Refused);
    let run = cluster.ctl("service contrail-sch* status").expect(4);
    assert!(!run.stderr.contains("no selected node has"), "{run}");
}

/// A role and a node set that select nothing are errors before any node is touched.
#[test]
fn a_node_set_without_a_match_touches_nothing() {
    let cluster = Cluster::start(uniform(2));
    for options in ["-w typo*", "-w @typo", "-w n09", "-x typo*", "-r compute", "-w n01!n01"] {
        let mut runs = vec![cluster.exec(&format!("{options} -y"), &["date"]).finish()];
        for command in COMMANDS.into_iter().chain(["ping", "top", "cp -y /etc/hostname :/tmp/"]) {
            runs.push(cluster.ctl(&format!("{command} {options}")));
        }
        for run in runs {
            let run = run.expect(2);
            assert!(run.stdout.is_empty() && run.stderr.starts_with("error: "), "{run}");
        }
    }
    assert_eq!(cluster.connections(), 0, "a node was contacted");
}
