//! `ctl logs` over many nodes, and evidence folded over many nodes.

use std::collections::BTreeMap;
use std::io::Read as _;
use std::process::{Command, Stdio};

use contrail_lab::{Fault, Release, Role, SupervisorVersion};

use crate::following::Following;
use crate::harness::{ANALYTICS, COLLECTOR, Cluster, Running, node, parsed, single, uniform};

fn write(cluster: &Cluster, node: &str, text: &str) {
    assert!(cluster.node(node).write_log(ANALYTICS, COLLECTOR, false, text.as_bytes()), "{node}");
}

fn follow(cluster: &Cluster, words: &str) -> Following {
    Following::start(cluster.command(&format!("logs -f -n 100000 {COLLECTOR} {words}")))
}

/// The lines that the tests wrote, by node, in order of arrival. Checks that every line is complete.
fn told(logs: &Following) -> BTreeMap<String, Vec<usize>> {
    let mut told: BTreeMap<String, Vec<usize>> = BTreeMap::new();
    for line in logs.lines() {
        let (node, rest) = line.split_once(": ").unwrap_or_else(|| panic!("half a line: {line}"));
        let Some(rest) = rest.strip_prefix("line ") else { continue };
        let (number, own) = rest.split_once(" of ").unwrap_or_else(|| panic!("half a line: {line}"));
        assert_eq!(own, node, "a line of another node: {line}");
        told.entry(node.to_owned()).or_default().push(number.parse().expect("expected a number"));
    }
    told
}

#[test]
fn sixty_four_nodes_are_followed_at_once() {
    let cluster = Cluster::start(uniform(64));
    let nodes: Vec<String> = cluster.nodes().iter().map(|node| node.name().to_owned()).collect();
    // Fewer nodes are connected at once than are followed: no node waits for another to finish.
    let mut logs = follow(&cluster, "--forks 8");
    for number in 0..50 {
        for node in &nodes {
            // In two parts, so that a poll can happen in between.
            write(&cluster, node, &format!("line {number} "));
            write(&cluster, node, &format!("of {node}\n"));
        }
    }
    logs.until("every node's last line", |lines, _| {
        nodes.iter().all(|node| lines.iter().any(|line| *line == format!("{node}: line 49 of {node}")))
    });
    logs.interrupt();
    let wanted: BTreeMap<String, Vec<usize>> = nodes.into_iter().map(|node| (node, (0..50).collect())).collect();
    assert!(told(&logs) == wanted, "{logs}");
    assert_eq!(logs.notes(), Vec::<String>::new());
}

#[test]
fn connections_that_are_cut_lose_and_double_nothing() {
    let cluster = Cluster::start(uniform(8));
    let nodes: Vec<String> = cluster.nodes().iter().map(|node| node.name().to_owned()).collect();
    let mut logs = follow(&cluster, "");
    for round in 0..5_usize {
        for number in 0..20 {
            for node in &nodes {
                write(&cluster, node, &format!("line {} of {node}\n", round * 20 + number));
            }
        }
        let last = round * 20 + 19;
        logs.until("the round's last lines", |lines, _| {
            nodes.iter().all(|node| lines.iter().any(|line| *line == format!("{node}: line {last} of {node}")))
        });
        for node in cluster.nodes() {
            node.cut_connections();
        }
    }
    logs.interrupt();
    let wanted: BTreeMap<String, Vec<usize>> = nodes.into_iter().map(|node| (node, (0..100).collect())).collect();
    assert!(told(&logs) == wanted, "{logs}");
    assert!(logs.notes().iter().all(|note| note.contains("again") || note.ends_with("restored")), "{logs}");
}

#[test]
fn a_node_that_goes_and_comes_is_told_once() {
    let cluster = Cluster::start(uniform(2));
    let mut logs = follow(&cluster, "");
    for node in ["n01", "n02"] {
        write(&cluster, node, &format!("line 1 of {node}\n"));
        logs.until_line(&format!("{node}: line 1 of {node}"));
    }
    let node = cluster.node("n02");
    node.set_fault(Fault::Refused);
    node.cut_connections();
    logs.until_note("n02: ");
    write(&cluster, "n02", "line 2 of n02\n");
    write(&cluster, "n01", "line 2 of n01\n");
    logs.until_line("n01: line 2 of n01");
    node.remove_fault(&Fault::Refused);
    logs.until_line("n02: line 2 of n02");
    logs.until_note("n02: connected again");
    logs.interrupt();
    assert_eq!(logs.notes().len(), 2, "{logs}");
    assert!(logs.notes()[0].ends_with("; trying again"), "{logs}");
}

#[test]
fn a_log_that_is_rotated_goes_on_from_its_beginning() {
    let cluster = Cluster::start(uniform(1));
    let mut logs = follow(&cluster, "");
    write(&cluster, "n01", "line 1 of n01\n");
    logs.until_line("n01: line 1 of n01");
    assert!(cluster.node("n01").rotate_log(ANALYTICS, COLLECTOR));
    // Longer than the old content, so the size alone does not reveal the rotation.
    let text: String = (2..100).map(|number| format!("line {number} of n01\n")).collect();
    write(&cluster, "n01", &text);
    logs.until_line("n01: line 99 of n01");
    logs.interrupt();
    assert_eq!(told(&logs)["n01"], (1..100).collect::<Vec<usize>>(), "{logs}");
    // The lab's nodes keep no rotated file, so its last lines are unknown.
    let note = "its log was rotated or cleared: the last lines before that may be missing";
    assert_eq!(logs.notes(), [format!("n01 {COLLECTOR}: {note}")]);
}

/// After `head` exits, ctl ends without waiting for another line.
#[test]
fn head_ends_it() {
    let cluster = Cluster::start(uniform(4));
    for node in cluster.nodes() {
        write(&cluster, node.name(), "line 1 of it\n");
    }
    let mut ctl = cluster.command(&format!("logs -f {COLLECTOR}"));
    let mut child = ctl.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("cannot start ctl");
    let output = child.stdout.take().expect("no stdout");
    let head = Command::new("head").arg("-n1").stdin(output).output().expect("cannot run head");
    assert!(String::from_utf8_lossy(&head.stdout).starts_with('n'), "{head:?}");
    // Nothing is written any more.
    let ended = child.wait_with_output().expect("cannot wait for ctl");
    assert_eq!((ended.status.code(), String::from_utf8_lossy(&ended.stderr).as_ref()), (Some(0), ""));
}

/// A signal ends ctl even if its output is blocked because nobody reads it.
#[test]
fn a_signal_ends_it_also_while_nobody_reads() {
    let cluster = Cluster::start(uniform(2));
    let line = format!("{}\n", "x".repeat(999));
    for node in cluster.nodes() {
        write(&cluster, node.name(), &line.repeat(3000));
    }
    let mut ctl = cluster.command(&format!("logs -f -n 100000 {COLLECTOR}"));
    let mut child = ctl.stdout(Stdio::piped()).spawn().expect("cannot start ctl");
    // A pipe cannot hold six megabytes: once ctl has written a byte, it blocks soon.
    child.stdout.as_mut().expect("no stdout").read_exact(&mut [0]).expect("cannot read a byte");
    let sent = Command::new("kill").args(["-INT", &child.id().to_string()]).status();
    assert!(sent.is_ok_and(|status| status.success()));
    assert_eq!(child.wait().expect("cannot wait for ctl").code(), Some(130));
}

/// supervisorctl before 4.0.4 reads stderr if it is given the word `stdout`.
#[test]
fn supervisorctl_of_each_version_reads_the_stream_that_is_wanted() {
    for version in [SupervisorVersion::V3_0, SupervisorVersion::V3_3, SupervisorVersion::V4_2_5] {
        let cluster = Cluster::start(single(node(Release::R3_2, [Role::Analytics]).supervisor(version)));
        write(&cluster, "n", "to stdout\n");
        assert!(cluster.node("n").write_log(ANALYTICS, COLLECTOR, true, b"to stderr\n"));
        let read = |words: &str| cluster.ctl(&format!("logs {COLLECTOR} -n 1 --via supervisorctl {words}")).expect(0);
        assert_eq!(read("").stdout, "n: to stdout\n", "{version:?}");
        assert_eq!(read("--stderr").stdout, "n: to stderr\n", "{version:?}");
    }
}

#[test]
fn forms_that_logs_have_and_have_not() {
    let cluster = Cluster::start(uniform(2));
    for (words, said) in [
        ("-f -o json", "-o json cannot be used with -f, whose output does not end"),
        ("-o csv", "invalid value 'csv'"),
        ("-o wide", "invalid value 'wide'"),
        ("-o prom", "invalid value 'prom'"),
        ("-f --out /tmp/x", "--out cannot be used with -f"),
    ] {
        let finished = cluster.ctl(&format!("logs {COLLECTOR} {words}")).expect(2);
        assert!(finished.stderr.contains(said), "{finished}");
    }
    let mut logs = follow(&cluster, "-o jsonl -w n01");
    write(&cluster, "n01", "line 1 of n01\n");
    logs.until("an object", |lines, _| lines.iter().any(|line| line.contains(r#""line":"line 1 of n01"}"#)));
    logs.interrupt();
    let last = parsed(logs.lines().last().expect("expected a line"));
    assert_eq!((&last["event"], &last["exit_code"]), (&"run_finished".into(), &130.into()), "{logs}");
}

/// Identical evidence of 37 nodes is shown once.
#[test]
fn evidence_of_many_nodes_is_told_once() {
    let cluster = Cluster::start(uniform(40));
    for node in cluster.nodes().iter().take(37) {
        node.set_fault(Fault::Fatal(COLLECTOR.to_owned()));
        let line = format!("12:00:{} {}[{}]: cannot open /var/lib\n", node.name(), node.name(), node.name().len());
        assert!(node.write_log(ANALYTICS, COLLECTOR, true, line.as_bytes()));
    }
    let finished = cluster.ctl(&format!("service {COLLECTOR} restart -y --max-unavailable none --no-guard")).expect(1);
    let notes = &finished.stderr;
    assert_eq!(notes.matches("exit status 1; the end of its stderr log:").count(), 1, "{finished}");
    assert!(notes.contains("except for numbers") || notes.contains("on n[01-37]: exit status 1"), "{finished}");
    assert!(notes.lines().count() < 20, "{finished}");
    let document = Running::start(cluster.bare("runs show last -o json")).finish();
    let shown = document.document();
    let results = shown["results"].as_array().expect("results");
    let with = results.iter().filter(|result| result["evidence"]["exit_status"] == 1).count();
    assert_eq!(with, 37, "{document}");
}
