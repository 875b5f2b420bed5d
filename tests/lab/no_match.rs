//! Service patterns that match nothing: a mistake in every command, whichever nodes are selected.

use contrail_lab::{ClusterSpec, Fault, NodeSpec, Release, Role};

use crate::harness::{COLLECTOR, Cluster, FAST, uniform};
use crate::terminal::{Left, Terminal};

/// What the message of every command says.
const MESSAGE: &str = "error: no selected node has a service that matches 'contrail-colec*'";
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
fn a_glob_without_a_match_is_a_mistake_in_every_command() {
    let cluster = Cluster::start(uniform(3));
    for options in ["", "-r analytics", "-w n[01-02]", "-x n01", "-o json", "-q"] {
        for words in COMMANDS {
            let run = cluster.ctl(&format!("{words} {options}")).expect(1);
            let is_plan = words.contains("--dry-run");
            let said = if is_plan { &run.stdout } else { &run.stderr };
            assert!(said.contains(MESSAGE.trim_start_matches("error: ")), "{run}");
            assert!(said.contains("did you mean contrail-collector?"), "{run}");
            if !is_plan {
                assert!(run.stderr.contains(&format!("{MESSAGE}\n{HINT}\n")), "{run}");
            }
            if options == "-o json" && !is_plan && !words.starts_with("logs") {
                assert_eq!(run.json()["exit_code"], 1, "{run}");
            }
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

/// The live views end with it, as with a name that no node has.
#[test]
fn the_live_views_end() {
    let cluster = Cluster::start(uniform(2));
    for words in ["status contrail-colec* --watch", "top contrail-colec*", "top contrail-colec* -w n01"] {
        let mut terminal = Terminal::start(&cluster.command(words), 24, 100, &cluster.path(""));
        assert_eq!(terminal.finish(), Left::as_found(1), "{words}");
        assert!(terminal.text().contains(MESSAGE), "{words}: {}", terminal.text());
    }
    let run = cluster.ctl("status contrail-colec* --watch").expect(1);
    assert!(run.stderr.contains(MESSAGE) && run.stderr.contains(HINT), "{run}");
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
