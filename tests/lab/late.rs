//! One unresponsive node among others: `ctl top` and `ctl status --watch` show the others at once.

use contrail_lab::{Fault, Introspect};
use serde_json::Value;

use crate::following::Following;
use crate::harness::{COLLECTOR, Cluster, eventually, parsed, uniform, word};
use crate::terminal::{Left, Terminal};

/// Ways to be unresponsive.
const SILENCES: [Fault; 3] = [Fault::BlackHole, Fault::SilentAfterAccept, Fault::HangOnLogin];

/// Three nodes, the first of which never answers.
fn cluster(fault: Fault) -> Cluster {
    Cluster::start(uniform(3).fault("n01", fault))
}

/// One fork, so that the unresponsive node occupies the only one; and connects that never time out.
fn view(cluster: &Cluster, words: &str) -> Terminal {
    let line = format!("{words} --connect-timeout 10m --forks 1");
    Terminal::start(&cluster.command(&line), 24, 100, &cluster.path(""))
}

fn not_functional(cluster: &Cluster, node: &str) {
    let answer = Introspect::NonFunctional("Database:Global connection down".to_owned());
    cluster.node(node).set_introspect(COLLECTOR, 8089, answer);
}

#[test]
fn top_shows_the_others_and_who_is_missing() {
    for fault in SILENCES {
        let cluster = cluster(fault);
        let mut top = view(&cluster, "top --interval 200ms");
        top.until("2 of 2 nodes healthy");
        top.until("connecting to n01 for ");
        // The rounds of the others continue.
        not_functional(&cluster, "n03");
        top.until("1 of 2 nodes healthy");
        top.press("q");
        assert_eq!(top.finish(), Left::as_found(0));
        assert!(cluster.counters("n01").connections <= 1, "expected one connection at a time");
    }
}

#[test]
fn a_watch_shows_the_others_and_who_is_missing() {
    for fault in SILENCES {
        let cluster = cluster(fault);
        let mut watch = view(&cluster, "status --watch=200ms");
        watch.until("2 nodes, 2 healthy");
        watch.until("connecting to n01 for ");
        not_functional(&cluster, "n03");
        watch.until(&format!("worse: {COLLECTOR} on n03: active → initializing"));
        watch.signal("INT");
        assert_eq!(watch.finish(), Left::as_found(130));
    }
}

#[test]
fn a_watch_off_a_terminal_begins_without_it() {
    let cluster = cluster(Fault::SilentAfterAccept);
    let mut watch = Following::start(cluster.command("status --watch=200ms --connect-timeout 10m --forks 1"));
    watch.until("the first round", |lines, _| lines.len() == 1);
    eventually("the other nodes to be read", || (cluster.counters("n03").connections == 1).then_some(()));
    not_functional(&cluster, "n03");
    watch.until("a change", |lines, _| lines.iter().any(|line| line.contains("n03")));
    watch.interrupt();
    let lines: Vec<Value> = watch.lines().iter().map(|line| parsed(line)).collect();
    assert_eq!((word(&lines[0]["event"]), lines[0]["nodes"].as_u64()), ("watch_started", Some(3)), "{watch}");
    let of_others = lines[1..].iter().all(|line| line["event"] == "change" && line["node"] == "n03");
    assert!(of_others, "expected no change of nodes that were not read: {watch}");
}

/// A node that disappears is shown with its last state until it is known to be unreachable, and neither as worse nor as
/// better meanwhile.
#[test]
fn a_node_that_falls_silent_is_shown_as_it_was() {
    let cluster = Cluster::start(uniform(3));
    let line = "status --watch=200ms --timeout 6s --connect-timeout 6s --retries 0";
    let mut watch = Terminal::start(&cluster.command(line), 24, 100, &cluster.path(""));
    watch.until("3 nodes, 3 healthy");
    cluster.node("n02").set_fault(Fault::Freeze);
    watch.until_screen("the node with its last state", |text| {
        text.contains("no answer from n02: showing data up to ") && text.contains("3 nodes, 3 healthy")
    });
    watch.until("worse: n02: ");
    watch.until("3 nodes, 2 healthy");
    watch.signal("INT");
    assert_eq!(watch.finish(), Left::as_found(130));
}
