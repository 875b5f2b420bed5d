//! Output formats as scripts and terminals see them.

use std::io::{BufRead, BufReader};
use std::process::Stdio;
use std::time::Duration;

use contrail_lab::{ClusterSpec, Fault, Release, Role, State};
use serde_json::Value;

use crate::harness::{COLLECTOR, Cluster, FAST, Running, check, ended, list, node, single, uniform, word};
use crate::terminal::{Left, Terminal};

/// The head of the JSON document.
#[test]
fn the_head_of_the_document() {
    let cluster = Cluster::start(uniform(2));
    let run = cluster.ctl("service contrail-collector contrail-topology restart -y -o json").expect(0);
    let document = run.json();
    assert_eq!((word(&document["command"]), word(&document["action"])), ("service", "restart"), "{run}");
    assert_eq!(list(&document["services"]), [COLLECTOR, "contrail-topology"], "{run}");
    assert!(!word(&document["run"]).is_empty() && document["elapsed_ms"].is_u64(), "{run}");
    assert!(word(&document["started"]).contains('T') && word(&document["started"]).ends_with('Z'), "{run}");
    let result = run.result_of("n01", COLLECTOR);
    assert_eq!(word(&result["address"]), cluster.node("n01").address().to_string(), "{run}");
    assert_eq!(
        (word(&result["role"]), word(&result["via"]), &result["batch"]),
        ("analytics", "rpc", &1.into()),
        "{run}"
    );
    assert!(result["uptime_s"].is_u64() && result["duration_ms"].is_u64(), "{run}");
    assert_eq!(document["summary"]["nodes_by_outcome"], serde_json::json!({"changed": 2}), "{run}");
    let ping = cluster.ctl("ping -o json").expect(0).json();
    assert_eq!((word(&ping["command"]), &ping["action"]), ("ping", &Value::Null));
}

/// One object per line, in the order of events: unreachable nodes come before the first action. The last line has the
/// summary.
#[test]
fn jsonl() {
    let cluster = Cluster::start(uniform(4).fault("n04", Fault::Refused));
    let run = cluster.ctl(&format!("service {COLLECTOR} restart -y -o jsonl")).expect(4);
    let events = run.events();
    assert!(events.iter().all(|event| event["schema"] == "ctl/1"), "{run}");
    let names: Vec<&str> = events.iter().map(|event| word(&event["event"])).collect();
    assert_eq!(
        names,
        ["run_started", "result", "batch_started", "result", "result", "result", "run_finished"],
        "{run}"
    );
    let (first, lost, batch, last) = (&events[0], &events[1], &events[2], &events[6]);
    assert_eq!(
        (word(&lost["node"]), ended(lost).as_str(), &lost["batch"]),
        ("n04", "unreachable refused", &Value::Null),
        "{run}"
    );
    assert_eq!((word(&first["command"]), word(&first["action"])), ("service", "restart"), "{run}");
    assert_eq!(first["run"], last["run"], "{run}");
    assert_eq!((&batch["batch"], list(&batch["nodes"]).len()), (&1.into(), 3), "{run}");
    assert_eq!((last["exit_code"].as_u64(), last["summary"]["changed"].as_u64()), (Some(4), Some(3)), "{run}");
    assert!(
        events[..6].iter().all(|event| event.get("summary").is_none() && event.get("exit_code").is_none()),
        "{run}"
    );
    let results: Vec<Value> = events.iter().filter(|event| event["event"] == "result").cloned().collect();
    check(&results.into(), &last["summary"], &run);
}

/// Steps and batches: each role is a step, in the order of the contract.
#[test]
fn the_order_of_the_roles() {
    let cluster = Cluster::start(ClusterSpec::demo(12).timing(FAST));
    let run = cluster.ctl("service all restart -y -o jsonl --stable 0s").expect(0);
    let events = run.events();
    let roles: Vec<&str> =
        events.iter().filter(|event| event["event"] == "batch_started").map(|event| word(&event["role"])).collect();
    // Nodes of database and config go one after the other, because their roles are capped.
    assert_eq!(
        roles,
        ["database", "database", "config", "config", "analytics", "control", "web-ui", "compute"],
        "{run}"
    );
    let mut now = (0, "");
    for event in &events {
        match word(&event["event"]) {
            "batch_started" => {
                assert_eq!(event["batch"], now.0 + 1, "{run}");
                now = (now.0 + 1, word(&event["role"]));
            }
            "result" => {
                assert_eq!((event["batch"].as_i64(), word(&event["role"])), (Some(now.0), now.1), "{event}");
                assert_eq!(event["outcome"], "changed", "{event}");
            }
            _ => {}
        }
    }
    for node in cluster.nodes() {
        assert_eq!(node.counters().logins, 1, "{}", node.name());
        for instance in node.instances() {
            for name in node.processes(&instance) {
                let process = cluster.process(node.name(), &instance, &name);
                // ifmap restarts its whole instance; then the counts start from zero.
                assert_eq!(process.state, State::Running, "{} {name}", node.name());
                assert!(process.starts >= 2 || instance == "supervisor-config", "{} {name} {process:?}", node.name());
            }
        }
    }
}

/// A node with two selected roles is visited in each step, over one connection.
#[test]
fn a_node_with_two_roles() {
    let cluster = Cluster::start(single(node(Release::R3_2, [Role::Analytics, Role::Control])));
    let run = cluster.ctl("service contrail-collector contrail-control restart -y -o jsonl -w n").expect(0);
    let events = run.events();
    let batches: Vec<&str> =
        events.iter().filter(|event| event["event"] == "batch_started").map(|event| word(&event["role"])).collect();
    assert_eq!(batches, ["analytics", "control"], "{run}");
    let changed: Vec<(&str, &str)> = events
        .iter()
        .filter(|event| event["event"] == "result" && event["outcome"] == "changed")
        .map(|event| (word(&event["service"]), word(&event["role"])))
        .collect();
    assert_eq!(changed, [("contrail-collector", "analytics"), ("contrail-control", "control")], "{run}");
    let seen = cluster.counters("n");
    assert_eq!((seen.connections, seen.logins), (1, 1), "{run}");
}

/// Lines are printed when things happen, not at the end.
#[test]
fn jsonl_as_it_happens() {
    let cluster = Cluster::start(uniform(2).fault("n02", Fault::HangAction));
    let run = cluster.begin(&format!("service {COLLECTOR} restart -y -o jsonl"));
    run.until_printed("\"changed\"");
    cluster.wait_for("n02", crate::harness::ANALYTICS, COLLECTOR, State::Stopping);
    for said in ["Press Ctrl-C again to stop waiting.", "Press Ctrl-C again to exit now."] {
        run.signal("INT");
        run.until_said(said);
    }
    run.finish().expect(130);
}

/// A reader that closes the pipe ends the output, not the run.
#[test]
fn a_closed_stdout_ends_quietly() {
    for form in ["jsonl", "json", "table", "csv", "yaml"] {
        let slow = Fault::SlowStart(Duration::from_millis(300));
        let cluster = Cluster::start(uniform(4).each(|node| node.faults.push(slow.clone())));
        let mut command = cluster.command(&format!("service {COLLECTOR} restart -y --forks 2 -o {form}"));
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("ctl");
        let mut stdout = BufReader::new(child.stdout.take().expect("no pipe"));
        if form == "jsonl" {
            let mut line = String::new();
            stdout.read_line(&mut line).expect("cannot read a line");
            assert!(line.contains("run_started"), "{line}");
        }
        drop(stdout);
        let output = child.wait_with_output().expect("cannot wait for ctl");
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(0), "{form}: {stderr}");
        assert!(!stderr.to_lowercase().contains("pipe") && !stderr.contains("warning"), "{form}: {stderr}");
        assert!(stderr.lines().count() <= 1, "{form}: {stderr}");
        for node in cluster.nodes() {
            let now = cluster.collector(node.name());
            assert_eq!((now.starts, now.stops, now.state), (2, 1, State::Running), "{form}: {}", node.name());
        }
    }
}

/// A failed write is reported, and changes the exit code. Each file is independent, and is written completely or not at
/// all.
#[test]
fn output_that_cannot_be_written_is_no_success() {
    let cluster = Cluster::start(uniform(1));
    let to_full = |words: &str| {
        let full = std::fs::File::options().write(true).open("/dev/full").expect("/dev/full");
        let output = cluster.command(words).stdout(full).output().expect("ctl");
        (output.status.code(), String::from_utf8_lossy(&output.stderr).into_owned())
    };
    let (code, said) = to_full("status --save kept.json");
    assert!(code == Some(2) && said.contains("No space left on device"), "{code:?} {said}");
    cluster.ctl("snapshot diff kept.json live").expect(0);
    let (code, said) = to_full(&format!("service {COLLECTOR} restart"));
    assert!(code == Some(1) && said.contains("No space left on device"), "{code:?} {said}");
    assert_eq!(cluster.collector("n01").starts, 2);

    // The disk is full after half a KiB, so one of the two fits.
    let limited = |words: &str| {
        let ctl = cluster.command(words);
        let mut shell = std::process::Command::new("sh");
        shell.args(["-c", "trap '' XFSZ; ulimit -f 1; exec \"$0\" \"$@\""]).arg(ctl.get_program()).args(ctl.get_args());
        shell.current_dir(cluster.path("")).env("HOME", cluster.path(""));
        Running::start(shell).finish()
    };
    let run = limited("status -q --save too-large.json --out small.txt").expect(2);
    assert!(run.stderr.contains("--save: too-large.json was not written"), "{run}");
    assert_eq!((cluster.path("too-large.json").exists(), cluster.path("small.txt").exists()), (false, true), "{run}");
    let run = limited(&format!("service {COLLECTOR} status -o json --out too-large.json")).expect(2);
    assert!(run.stderr.contains("--out: too-large.json was not written"), "{run}");
    assert!(!cluster.path("too-large.json").exists(), "{run}");
}

/// Without a terminal there is no color and no animation; -q prints only the results.
#[test]
fn off_a_terminal() {
    let cluster = Cluster::start(uniform(2).fault("n02", Fault::Refused));
    for form in ["table", "wide"] {
        let run = cluster.ctl(&format!("service {COLLECTOR} status -o {form}")).expect(4);
        assert!(!run.stdout.contains('\u{1b}') && !run.stderr.contains(['\u{1b}', '\r']), "{run}");
        assert!(run.stdout.contains("n01") && run.stdout.contains("n02"), "expected complete results: {run}");
        assert!(run.stderr.contains("2 nodes"), "expected a summary: {run}");
        let quiet = cluster.ctl(&format!("service {COLLECTOR} status -o {form} -q")).expect(4);
        assert!(quiet.stderr.is_empty() && quiet.stdout == run.stdout, "{quiet}");
    }
    let mut command = cluster.command(&format!("service {COLLECTOR} status --color always"));
    command.env("NO_COLOR", "1");
    let run = crate::harness::Running::start(command).finish().expect(4);
    assert!(run.stdout.contains('\u{1b}'), "expected the explicit option to take precedence: {run}");
}

/// A folded table has each outcome once, under a node set.
#[test]
fn folded() {
    let cluster = Cluster::start(uniform(12).fault("n05", Fault::Refused));
    let run = cluster.ctl(&format!("service {COLLECTOR} status --fold")).expect(4);
    assert!(run.stdout.contains("n[01-04,06-12]"), "{run}");
    assert!(run.stdout.lines().count() < 8, "{run}");
    let run = cluster.ctl(&format!("service {COLLECTOR} status --no-fold")).expect(4);
    assert!(run.stdout.contains("n12") && !run.stdout.contains('['), "{run}");
}

/// Formats that cannot fold reject the option.
#[test]
fn folding_is_refused_where_it_cannot_be() {
    let cluster = Cluster::start(uniform(1));
    cluster.ctl("status --save a.json").expect(0);
    cluster.ctl(&format!("service {COLLECTOR} restart -y")).expect(0);
    for words in [
        "runs list --fold",
        "runs list --no-fold",
        "runs show last --fold -o csv",
        "status --watch --fold -o jsonl",
        "snapshot diff a.json a.json --fold -o wide",
        "snapshot diff a.json a.json --fold -o json",
    ] {
        let line = if words.starts_with("runs") { cluster.bare(words) } else { cluster.command(words) };
        let run = Running::start(line).finish().expect(2);
        assert!(run.stderr.contains("fold cannot be used with"), "{words}\n{run}");
    }
    for option in ["--fold", "--no-fold"] {
        let command = cluster.command(&format!("top {option}"));
        let mut terminal = Terminal::start(&command, 24, 100, &cluster.path(""));
        assert_eq!(terminal.finish(), Left::as_found(2), "{}", terminal.text());
        assert!(terminal.text().contains("fold cannot be used with `ctl top`"), "{}", terminal.text());
        cluster.ctl(&format!("snapshot diff a.json a.json {option}")).expect(0);
    }
}
