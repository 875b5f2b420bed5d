//! Snapshots: a status is saved, compared with a later one, and used by gates.

use contrail_lab::{ClusterSpec, Fault, Release, Role};
use serde_json::Value;

use crate::harness::{ANALYTICS, COLLECTOR, Cluster, Finished, Running, list, node, single, uniform, word};

const ENGINE: &str = "contrail-query-engine";

/// Analytics nodes whose services report a functional state.
fn speaking(count: usize) -> ClusterSpec {
    uniform(count).each(|node| node.introspects = true)
}

fn broken(program: &str) -> Fault {
    Fault::NonFunctional { program: program.to_owned(), description: "Database:Global connection down".to_owned() }
}

/// A cluster of `count` nodes, and a snapshot taken while everything was healthy.
fn saved(count: usize) -> Cluster {
    let cluster = Cluster::start(speaking(count));
    cluster.ctl("status --save before.json -q").expect(0);
    cluster
}

/// The changes in a diff: `verdict change what on node`, sorted.
#[track_caller]
fn changes(run: &Finished) -> Vec<String> {
    let document = run.document();
    let what = |change: &Value| {
        let names = ["service", "supervisor", "node"].map(|field| change[field].as_str().map(str::to_owned));
        names.into_iter().flatten().next().unwrap_or_default()
    };
    let told = |change: &Value| {
        format!(
            "{} {} {} on {}",
            word(&change["verdict"]),
            word(&change["change"]),
            what(change),
            word(&change["node"])
        )
    };
    let mut changes: Vec<String> = list(&document["changes"]).iter().map(told).collect();
    let summary = &document["summary"];
    let counted: u64 = ["worse", "better", "different"].iter().filter_map(|verdict| summary[*verdict].as_u64()).sum();
    assert_eq!(counted, changes.len() as u64, "{run}");
    changes.sort();
    changes
}

#[test]
fn what_is_kept_is_the_json_document() {
    let cluster = Cluster::start(speaking(2));
    let run = cluster.ctl("status --save before.json -o json").expect(0);
    let kept = std::fs::read_to_string(cluster.path("before.json")).expect("cannot read the file");
    assert_eq!(kept, run.stdout);
    // Redirected JSON output is a valid snapshot too.
    std::fs::write(cluster.path("redirected.json"), &run.stdout).expect("cannot write the file");
    let run = cluster.ctl("snapshot diff before.json redirected.json").expect(0);
    assert_eq!(
        (run.stdout.as_str(), run.stderr.as_str()),
        ("nothing has changed\n", "0 worse, 0 better, 0 different; 2 nodes the same\n")
    );
    // The output format does not change the saved snapshot.
    cluster.ctl("status --save other.json --all --out status.txt").expect(0);
    cluster.ctl("snapshot diff before.json other.json -q").expect(0);
    // An unwritable snapshot file is rejected before any node is contacted.
    let connections = cluster.connections();
    let run = cluster.ctl("status --save no/such/folder.json").expect(2);
    assert!(run.stderr.contains("--save: cannot write to no/such"), "{run}");
    assert_eq!(cluster.connections(), connections);
}

#[test]
fn a_status_that_was_interrupted_keeps_nothing() {
    let cluster = Cluster::start(speaking(2).fault("n02", Fault::SearchHangs));
    std::fs::write(cluster.path("before.json"), "older").expect("cannot write the file");
    let running = cluster.begin("status --save before.json -o jsonl --timeout 60s");
    running.until_printed("\"node\":\"n01\"");
    running.signal("INT");
    running.signal("INT");
    let run = running.finish().expect(130);
    assert!(run.stderr.contains("--save: interrupted, nothing was saved"), "{run}");
    assert_eq!(std::fs::read_to_string(cluster.path("before.json")).expect("cannot read the file"), "older");
}

#[test]
fn what_has_become_of_a_cluster() {
    let cluster = saved(5);
    let run = cluster.ctl("snapshot diff before.json live").expect(0);
    assert_eq!(run.stdout, "nothing has changed\n", "{run}");

    cluster.node("n01").set_fault(broken(COLLECTOR));
    cluster.node("n03").set_fault(broken(COLLECTOR));
    cluster.ctl(&format!("service {ENGINE} restart -w n02 --stable 0s -q")).expect(0);
    cluster.ctl(&format!("service {ENGINE} stop -w n01 -q")).expect(0);
    cluster.node("n04").set_fault(Fault::CoreFile(COLLECTOR.to_owned()));
    cluster.node("n05").set_fault(Fault::Refused);

    let run = cluster.ctl("snapshot diff before.json live").expect(1);
    let lines: Vec<&str> = run.stdout.lines().collect();
    // Without the parts that differ from run to run.
    let short = |line: &&str| line.split(" (").flat_map(|part| part.split(": /")).next().unwrap_or_default().to_owned();
    assert_eq!(
        lines.iter().map(short).collect::<Vec<_>>(),
        [
            "worse: n05: reachable → unreachable",
            "worse: n04: new: core files in /var/crashes",
            "worse: contrail-query-engine on n01: active → STOPPED",
            "worse: contrail-collector on n[01,03]: active → initializing",
            "different: contrail-query-engine on n02: restarted",
        ],
        "{run}"
    );
    assert!(lines[3].ends_with("active → initializing (Database:Global connection down)"), "{run}");
    assert_eq!(run.stderr, "5 worse, 0 better, 1 different; 0 nodes the same\n");

    let run = cluster.ctl("snapshot diff before.json live -o json").expect(1);
    let worse = [
        "different restarted contrail-query-engine on n02",
        "worse finding n04 on n04",
        "worse state contrail-collector on n01",
        "worse state contrail-collector on n03",
        "worse state contrail-query-engine on n01",
        "worse state n05 on n05",
    ];
    assert_eq!(changes(&run), worse, "{run}");

    // Save the broken state, then fix it: the diff shows the reverse.
    cluster.ctl("status --save broken.json -q").expect(4);
    for node in ["n01", "n03", "n04", "n05"] {
        cluster.node(node).clear_fault();
    }
    cluster.ctl(&format!("service {ENGINE} start -w n01 --stable 0s -q")).expect(0);
    let run = cluster.ctl("snapshot diff broken.json live -o json").expect(0);
    let better = [
        "better finding n04 on n04",
        "better state contrail-collector on n01",
        "better state contrail-collector on n03",
        "better state contrail-query-engine on n01",
        "better state n05 on n05",
    ];
    assert_eq!(changes(&run), better, "{run}");

    // Two files, in every format; one row for each change in the wide one.
    let run = cluster.ctl("snapshot diff before.json broken.json -o wide").expect(1);
    assert_eq!((run.stdout.lines().count(), run.stdout.split_whitespace().next()), (7, Some("VERDICT")), "{run}");
    let run = cluster.ctl("snapshot diff before.json broken.json -o csv --out diff.csv").expect(1);
    assert_eq!(run.stdout, "", "{run}");
    let csv = std::fs::read_to_string(cluster.path("diff.csv")).expect("cannot read the file");
    assert_eq!(csv.lines().count(), 7, "{csv}");
    let run = cluster.ctl("snapshot diff before.json broken.json -o jsonl").expect(1);
    assert_eq!(run.events().last().expect("expected a line")["event"], "diff_finished", "{run}");
    let run = cluster.ctl("snapshot diff broken.json before.json -o yaml").expect(0);
    assert!(run.stdout.starts_with("schema: ctl/1\nchanges:\n"), "{run}");
    assert!(run.stderr.starts_with("warning: broken.json is newer than before.json"), "{run}");
    let run = cluster.ctl("snapshot diff broken.json before.json -q").expect(0);
    assert_eq!(run.stderr, "", "{run}");
}

#[test]
fn only_what_both_were_asked_for_is_compared() {
    let cluster = saved(3);
    cluster.ctl("status -w n[01-02] --save some.json -q").expect(0);
    cluster.ctl("status -w n[02-03] --save named.json -q").expect(0);
    cluster.ctl(&format!("status {COLLECTOR} --save collectors.json -q")).expect(0);
    cluster.ctl("status -x n01 --save without.json -q").expect(0);
    for (before, after) in [
        ("before.json", "some.json"),
        ("some.json", "before.json"),
        ("before.json", "collectors.json"),
        ("collectors.json", "some.json"),
        ("some.json", "live"),
        ("collectors.json", "live"),
        ("before.json", "live -w n02"),
        ("before.json", "live -x n02"),
        ("before.json", "live -r collector"),
        ("without.json", "live"),
        ("named.json", "without.json"),
    ] {
        let run = cluster.ctl(&format!("snapshot diff {before} {after}")).expect(0);
        assert_eq!(run.stdout, "nothing has changed\n", "{run}");
    }
    // Other broken services do not affect a snapshot of collectors.
    cluster.node("n01").set_fault(broken(ENGINE));
    cluster.ctl("snapshot diff collectors.json live").expect(0);
    cluster.ctl("snapshot diff before.json live -w n[02-03]").expect(0);
    cluster.ctl("snapshot diff before.json live").expect(1);

    // A node that was removed from the inventory is reported as gone, an additional node as new, unless the snapshot's
    // nodes were selected explicitly.
    let inventory = cluster.inventory().replace("n03:", "n04:");
    let inventory = cluster.write("fewer.yaml", inventory);
    let line = "snapshot diff before.json live -o json";
    let run = Running::start(cluster.command_with(line, &inventory)).finish().expect(1);
    let told = changes(&run);
    let came = |line: &&String| line.starts_with("different came") && line.ends_with(" on n04");
    assert!(told.iter().filter(came).count() > 0, "{run}");
    let rest: Vec<&String> = told.iter().filter(|line| !came(line)).collect();
    assert_eq!(rest, ["worse state contrail-query-engine on n01", "worse went n03 on n03"], "{run}");
    let named = "snapshot diff named.json live -o json";
    let run = Running::start(cluster.command_with(named, &inventory)).finish().expect(1);
    assert_eq!(changes(&run), ["worse went n03 on n03"], "{run}");
    let inventory = cluster.write("other.yaml", "version: 1\nnodes: {x1: {roles: [analytics]}}\n");
    let run = Running::start(cluster.command_with(line, &inventory)).finish().expect(2);
    assert!(run.stderr.contains("none of the snapshot's nodes are in the inventory"), "{run}");
}

/// Core files of a node that was not scanned are neither new nor gone.
#[test]
fn what_was_not_searched_is_not_compared() {
    let cluster = Cluster::start(speaking(1).fault("n01", Fault::CoreFile(COLLECTOR.to_owned())));
    cluster.ctl("status --save before.json -q").expect(0);
    cluster.ctl("status --via rpc --save blind.json -q").expect(0);
    for (line, told) in [
        ("snapshot diff before.json live", None),
        ("snapshot diff blind.json live", Some("different finding n01 on n01")),
        ("snapshot diff before.json live --via rpc", Some("different finding n01 on n01")),
        ("snapshot diff blind.json live --via rpc", None),
    ] {
        let run = cluster.ctl(&format!("{line} -o json")).expect(0);
        assert_eq!(changes(&run), told.into_iter().collect::<Vec<_>>(), "{run}");
    }
    let line = format!("service {COLLECTOR} restart --via rpc --stable 0s --gate-timeout 2s");
    cluster.ctl(&format!("{line} --gate-snapshot before.json")).expect(0);
    cluster.ctl(&format!("{line} --gate-snapshot blind.json")).expect(0);
}

#[test]
fn snapshots_without_anything_in_common() {
    let cluster = Cluster::start(single(node(Release::R3_2, [Role::Analytics, Role::Config])));
    cluster.ctl("status -r analytics --save analytics.json -q").expect(0);
    cluster.ctl("status -r config --save config.json -q").expect(0);
    for after in ["config.json", "live -r config"] {
        let run = cluster.ctl(&format!("snapshot diff analytics.json {after} -q")).expect(2);
        assert!(run.stdout.is_empty() && run.stderr.contains("share no node or role"), "{run}");
    }
    let line = "service contrail-schema restart -r config --stable 0s --gate-snapshot analytics.json -o jsonl";
    let run = cluster.ctl(line).expect(0);
    assert!(run.stderr.contains("note: the snapshot has no data on n, so its gate does not check them"), "{run}");
    let gates: Vec<Value> = run.events().into_iter().filter(|event| event["event"] == "gate").collect();
    let told: Vec<&str> = gates.iter().map(|gate| word(&gate["waiting_for"])).collect();
    assert!(told.contains(&"not in the snapshot"), "{run}");
}

#[test]
fn what_is_no_snapshot_is_refused() {
    let cluster = saved(1);
    let whole = std::fs::read_to_string(cluster.path("before.json")).expect("cannot read the file");
    let run = cluster.ctl(&format!("service {COLLECTOR} status -o json")).expect(0);
    for (text, why) in [
        (String::new(), "it is empty"),
        (whole[..whole.len() / 2].to_owned(), "it is truncated"),
        ("hello".to_owned(), "it is not the JSON of a snapshot"),
        (run.stdout, "it was written by `ctl service`, not by `ctl status`"),
        (whole.replace("ctl/1", "ctl/2"), "its schema is ctl/2"),
    ] {
        std::fs::write(cluster.path("bad.json"), text).expect("cannot write the file");
        let connections = cluster.connections();
        for line in [
            "snapshot diff bad.json before.json".to_owned(),
            "snapshot diff before.json bad.json".to_owned(),
            "snapshot diff bad.json live".to_owned(),
            format!("service {COLLECTOR} restart --gate-snapshot bad.json"),
        ] {
            let run = cluster.ctl(&line).expect(2);
            assert!(run.stderr.contains(&format!("bad.json: {why}")), "{why}\n{run}");
        }
        assert_eq!(cluster.connections(), connections, "{why}");
    }
    for (line, why) in [
        ("snapshot diff live before.json", "only the second snapshot can be `live`"),
        ("snapshot diff live live", "only the second snapshot can be `live`"),
        ("snapshot diff before.json gone.json", "gone.json: No such file or directory"),
        ("snapshot diff before.json before.json -w n01", "-r, -w and -x cannot be used to compare two files"),
        ("snapshot diff before.json before.json -o html", "invalid value 'html' for '--output <FORMAT>'"),
        (
            &format!("service {COLLECTOR} status --gate-snapshot before.json"),
            "--gate-snapshot cannot be used with `status`",
        ),
    ] {
        let run = cluster.ctl(line).expect(2);
        assert!(run.stderr.contains(why), "{run}");
    }
}

#[test]
fn a_gate_that_holds() {
    let cluster = saved(3);
    let line = format!("service {COLLECTOR} restart -y --rolling --stable 0s --gate-snapshot before.json");
    let run = cluster.ctl(&format!("{line} --dry-run")).expect(0);
    assert!(run.stdout.contains("no worse than before.json, within 2m"), "{run}");
    let run = cluster.ctl(&format!("{line} -o json")).expect(0);
    let changed = |node: &str| format!("{node} {COLLECTOR} changed");
    assert_eq!(run.outcomes(), ["n01", "n02", "n03"].map(changed), "{run}");
    assert_eq!(cluster.counts(ANALYTICS, COLLECTOR), [(2, 1); 3]);
    assert!(
        cluster.nodes().iter().all(|node| node.counters().connections == 2),
        "expected one connection per run\n{run}"
    );
    cluster.at_rest();
    // A service that was not healthy before may stay so.
    cluster.node("n02").set_fault(broken(ENGINE));
    cluster.ctl("status --save before.json -q").expect(3);
    cluster.ctl(&line).expect(0);
    // A service that the run itself stops may be stopped; other services may not.
    let line = format!("service {COLLECTOR} stop -w n01 --gate-snapshot before.json --gate-timeout 1s");
    cluster.ctl(&line).expect(0);
    // A node that is not in the snapshot passes, with a note.
    cluster.ctl("status -w n01 --save one.json -q").expect(3);
    let line = format!("service {COLLECTOR} restart -w n[02-03] --stable 0s --gate-snapshot one.json");
    let run = cluster.ctl(&line).expect(0);
    assert!(run.stderr.contains("note: the snapshot has no data on n[02-03]"), "{run}");
    cluster.at_rest();
}

#[test]
fn a_gate_that_does_not_hold() {
    let cluster = saved(3);
    // Another service than the one of the action.
    cluster.node("n02").set_fault(broken(ENGINE));
    let line = format!("service {COLLECTOR} restart -y --rolling --stable 0s --gate-snapshot before.json");
    let run = cluster.ctl(&format!("{line} --gate-timeout 2s -o json")).expect(5);
    assert_eq!(
        run.outcomes(),
        [
            "n01 contrail-collector changed",
            "n02 contrail-collector failed gate",
            "n03 contrail-collector not_started gate"
        ],
        "{run}"
    );
    let result = run.result("n02");
    let message = word(&result["failure"]["message"]);
    assert!(
        message.starts_with("worse than in before.json after 2 s: contrail-query-engine: active → initializing"),
        "{run}"
    );
    assert_eq!(cluster.counts(ANALYTICS, COLLECTOR), [(2, 1), (2, 1), (1, 0)]);
    cluster.at_rest();
    // The same holds after a stop, though the collector itself may be down.
    let line = format!("service {COLLECTOR} stop -w n02 --gate-snapshot before.json --gate-timeout 1s -o json");
    let run = cluster.ctl(&line).expect(1);
    let result = run.result("n02");
    let message = word(&result["failure"]["message"]);
    assert!(message.contains(ENGINE) && !message.contains(COLLECTOR), "{run}");
}

#[test]
fn a_gate_that_is_met_in_the_end() {
    let cluster = saved(2);
    let fault = broken(ENGINE);
    cluster.node("n01").set_fault(fault.clone());
    let line = format!("service {COLLECTOR} restart -y --rolling --stable 0s --gate-snapshot before.json -o jsonl");
    let running = cluster.begin(&line);
    running.until_printed("\"event\":\"gate\"");
    assert_eq!(cluster.collector("n02").starts, 1);
    cluster.node("n01").remove_fault(&fault);
    let run = running.finish().expect(0);
    let met: Vec<Value> =
        run.events().iter().filter(|event| event["event"] == "gate").map(|event| event["met"].clone()).collect();
    assert_eq!(met, [Value::Null, true.into(), true.into()], "{run}");
    cluster.at_rest();
}

/// The first signal ends the wait: finished actions are reported as done, and no further node is started.
#[test]
fn a_signal_ends_the_waiting() {
    let cluster = saved(2);
    cluster.node("n01").set_fault(broken(ENGINE));
    let line = format!("service {COLLECTOR} restart -y --rolling --stable 0s --gate-snapshot before.json -o jsonl");
    let running = cluster.begin(&line);
    running.until_printed("\"event\":\"gate\"");
    running.signal("INT");
    let run = running.finish().expect(130);
    let results: Vec<Value> = run.events().into_iter().filter(|event| event["event"] == "result").collect();
    let told: Vec<&str> = results.iter().map(|result| word(&result["outcome"])).collect();
    assert_eq!(told, ["changed", "not_started"], "{run}");
    cluster.at_rest();
}

/// In a rollout: the path is relative to the rollout's directory, services that a step stops are left out in later
/// steps, and a resumed run keeps its gate.
#[test]
fn a_rollout_with_such_gates() {
    let cluster = saved(2);
    std::fs::create_dir(cluster.path("plans")).expect("cannot create the directory");
    std::fs::rename(cluster.path("before.json"), cluster.path("plans/before.json")).expect("cannot rename the file");
    let text = format!(
        "version: 1\ndefaults: {{gate_snapshot: '{{{{ kept }}}}.json', gate_timeout: 60s, stable: 0s}}\nvars: {{kept: before}}\nsteps:\n\
         - {{name: down, role: analytics, services: contrail-topology, action: stop}}\n\
         - {{name: engines, role: analytics, services: {ENGINE}, action: restart, serial: 1}}\n\
         - {{name: look, nodes: n01, exec: 'true', gate_snapshot: none}}\n"
    );
    cluster.write("plans/rollout.yaml", text);
    let run = cluster.ctl("rollout plans/rollout.yaml -e kept=gone").expect(2);
    assert!(run.stderr.contains("plans/gone.json: No such file"), "{run}");
    assert_eq!(cluster.process("n01", ANALYTICS, "contrail-topology").stops, 0);

    cluster.node("n02").set_fault(broken(COLLECTOR));
    let running = cluster.begin("rollout plans/rollout.yaml -y -o jsonl");
    running.until_printed("\"met\":null");
    running.signal("KILL");
    drop(running.finish());
    let kept = cluster.path("plans/before.json");
    let snapshot = std::fs::read_to_string(&kept).expect("cannot read the file");

    // A run is not resumed if its snapshot is missing or newer.
    std::fs::remove_file(&kept).expect("cannot remove the file");
    let run = Running::start(cluster.bare("runs resume last")).finish().expect(2);
    assert!(run.stderr.contains("plans/before.json: No such file"), "{run}");
    cluster.ctl("status --save plans/before.json -q").expect(3);
    let run = Running::start(cluster.bare("runs resume last")).finish().expect(2);
    assert!(run.stderr.contains("was taken after run"), "{run}");

    std::fs::write(&kept, snapshot).expect("cannot write the file");
    cluster.node("n02").clear_fault();
    let run = Running::start(cluster.bare("runs resume last -o json")).finish().expect(0);
    assert!(run.results().iter().all(|result| word(&result["outcome"]) != "failed"), "{run}");
    assert_eq!(cluster.counts(ANALYTICS, ENGINE), [(2, 1); 2], "{run}");
    assert_eq!(cluster.counts(ANALYTICS, "contrail-topology"), [(1, 1); 2], "{run}");
    cluster.at_rest();
}

/// Changes that happened while a node was away are reported when it is back.
#[test]
fn a_watch_tells_what_happened_behind_its_back() {
    let cluster = Cluster::start(speaking(2));
    let running = cluster.begin("status --watch 200ms -o jsonl");
    running.until_printed("watch_started");
    let node = cluster.node("n01");
    node.set_fault(Fault::Refused);
    node.cut_connections();
    running.until_printed("unreachable");
    node.set_fault(broken(COLLECTOR));
    node.remove_fault(&Fault::Refused);
    running.until_printed("initializing");
    running.signal("INT");
    let run = running.finish().expect(130);
    let events = run.events();
    let change = events.iter().find(|event| event["service"] == COLLECTOR).unwrap_or_else(|| panic!("{run}"));
    assert_eq!((word(&change["verdict"]), word(&change["before"])), ("worse", "active"), "{run}");
    let of_node = events.iter().filter(|event| event["node"] == "n01" && event["service"].is_null());
    let told: Vec<&str> = of_node.map(|event| word(&event["verdict"])).collect();
    assert_eq!(told, ["worse", "better"], "{run}");
}
