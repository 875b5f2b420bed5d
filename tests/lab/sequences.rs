//! What `each:` of a rollout does on a node: in order, one node after the other, up to the first failure.

use std::path::PathBuf;

use crate::harness::{ANALYTICS, COLLECTOR, Cluster, Finished, Running, eventually, uniform};

/// A file of this machine to which items on the controller write.
fn notes(cluster: &Cluster) -> PathBuf {
    cluster.write("notes", "")
}

fn lines(path: &PathBuf) -> Vec<String> {
    std::fs::read_to_string(path).expect("the notes").lines().map(str::to_owned).collect()
}

fn roll(cluster: &Cluster, steps: &str, words: &str) -> Finished {
    let rollout = cluster.write("rollout.yaml", format!("version: 1\nsteps:\n{steps}"));
    cluster.ctl(&format!("rollout {} -y {words}", rollout.display()))
}

/// The items of each node, with their outcomes, in the order of the results.
fn items(run: &Finished) -> Vec<String> {
    let text = |value: &serde_json::Value| value.as_str().unwrap_or("-").to_owned();
    let of = |result: &serde_json::Value| {
        format!(
            "{} {} {} {}",
            text(&result["node"]),
            text(&result["item"]),
            text(&result["service"]),
            text(&result["outcome"])
        )
    };
    run.results().iter().map(of).collect()
}

#[test]
fn items_run_in_order_on_one_node_after_the_other() {
    let cluster = Cluster::start(uniform(2));
    let notes = notes(&cluster);
    let note = |word: &str| format!("echo {word} $CTL_NODE $CTL_STEP $CTL_BATCH $CTL_REASON >> {}", notes.display());
    let steps = format!(
        "- name: roll
  role: analytics
  serial: 1
  stable: 0s
  each:
  - {{name: drain, on: controller, exec: '{}'}}
  - {{name: settle, wait: 10ms}}
  - {{name: restart, services: contrail-collector, action: restart}}
  - {{name: answers, check: 'echo $CTL_NODE $CTL_ROLE', until: 60s}}
  - {{name: look, exec: 'echo $CTL_NODE $CTL_ADDRESS'}}
  - {{name: return, on: controller, exec: '{}'}}
",
        note("drain"),
        note("return")
    );
    let run = roll(&cluster, &steps, "-o json --reason because").expect(0);
    assert_eq!(
        lines(&notes),
        [
            "drain n01 roll 1 because",
            "return n01 roll 1 because",
            "drain n02 roll 2 because",
            "return n02 roll 2 because"
        ]
    );
    let of_node = |node: &str| {
        [
            "drain - changed",
            "settle - ok",
            "restart contrail-collector changed",
            "answers - ok",
            "look - changed",
            "return - changed",
        ]
        .map(|item| format!("{node} {item}"))
    };
    assert_eq!(items(&run), [of_node("n01"), of_node("n02")].concat(), "{run}");
    let look = run.results().iter().find(|result| result["item"] == "look" && result["node"] == "n02").cloned();
    let look = look.expect("a result");
    assert_eq!(
        look["stdout"].as_str(),
        Some(format!("n02 {}\n", look["address"].as_str().unwrap_or_default()).as_str())
    );
    assert_eq!(cluster.counts(ANALYTICS, COLLECTOR), [(2, 1), (2, 1)]);
    cluster.at_rest();
}

#[test]
fn a_failure_ends_the_sequence_of_its_node() {
    let cluster = Cluster::start(uniform(3));
    let steps = "- name: roll
  role: analytics
  serial: 1
  stable: 0s
  each:
  - {name: drain, exec: 'test $CTL_NODE != n02'}
  - {name: restart, services: contrail-collector, action: restart}
";
    let run = roll(&cluster, steps, "-o json").expect(5);
    assert_eq!(
        items(&run),
        [
            "n01 drain - changed",
            "n01 restart contrail-collector changed",
            "n02 drain - failed",
            "n02 restart - not_started",
            "n03 - - not_started"
        ],
        "{run}"
    );
    assert_eq!(cluster.counts(ANALYTICS, COLLECTOR), [(2, 1), (1, 0), (1, 0)]);
    // The table shows the items, and a retry does what did not succeed.
    let shown = Running::start(cluster.bare("runs show last")).finish().expect(0);
    assert!(shown.stdout.contains("drain") && shown.stdout.contains("contrail-collector"), "{shown}");
    let retried = Running::start(cluster.bare("runs retry last -o json")).finish().expect(5);
    assert_eq!(
        items(&retried),
        ["n02 drain - failed", "n02 restart - not_started", "n03 - - not_started"],
        "{retried}"
    );
    cluster.at_rest();
}

/// A controller that is killed in the middle of a sequence leaves a record of the items done.
#[test]
fn a_resumed_sequence_repeats_nothing_that_is_done() {
    let cluster = Cluster::start(uniform(1));
    let notes = notes(&cluster);
    let note = |word: &str| format!("echo {word} >> {}", notes.display());
    let opened = cluster.path("opened");
    let steps = format!(
        "- name: roll
  role: analytics
  serial: 1
  stable: 0s
  each:
  - {{name: drain, on: controller, exec: '{}'}}
  - {{name: restart, services: contrail-collector, action: restart}}
  - {{name: answers, on: controller, check: '{}; test -e {}', until: 600s, interval: 20ms}}
  - {{name: return, on: controller, exec: '{}'}}
",
        note("drain"),
        note("look"),
        opened.display(),
        note("return")
    );
    let rollout = cluster.write("rollout.yaml", format!("version: 1\nsteps:\n{steps}"));
    let running = cluster.begin(&format!("rollout {} -y -o json", rollout.display()));
    eventually("the check runs", || lines(&notes).contains(&"look".to_owned()).then_some(()));
    running.signal("KILL");
    drop(running.finish());
    cluster.write("opened", "");
    let before = lines(&notes);
    let resumed = Running::start(cluster.bare("runs resume last -o json")).finish().expect(0);
    let done: Vec<String> = lines(&notes).split_off(before.len()).into_iter().filter(|line| line != "look").collect();
    assert_eq!((before[0].as_str(), done), ("drain", vec!["return".to_owned()]));
    assert_eq!(
        items(&resumed),
        ["n01 drain - changed", "n01 restart contrail-collector changed", "n01 answers - ok", "n01 return - changed"],
        "{resumed}"
    );
    assert_eq!(cluster.counts(ANALYTICS, COLLECTOR), [(2, 1)], "the restart is not repeated");
    cluster.at_rest();
}

/// A first Ctrl-C lets a sequence come to its end, and starts no other node.
#[test]
fn a_signal_lets_a_sequence_come_to_its_end() {
    let cluster = Cluster::start(uniform(2));
    let notes = notes(&cluster);
    let opened = cluster.path("opened");
    let steps = format!(
        "- name: roll
  role: analytics
  serial: 1
  stable: 0s
  each:
  - {{name: quiet, on: controller, check: 'echo look >> {}; test -e {}', until: 600s, interval: 20ms}}
  - {{name: restart, services: contrail-collector, action: restart}}
  - {{name: return, exec: 'echo back'}}
",
        notes.display(),
        opened.display(),
    );
    let rollout = cluster.write("rollout.yaml", format!("version: 1\nsteps:\n{steps}"));
    let running = cluster.begin(&format!("rollout {} -y -o json", rollout.display()));
    eventually("the check runs", || lines(&notes).contains(&"look".to_owned()).then_some(()));
    running.signal("INT");
    running.until_said("Stopping");
    cluster.write("opened", "");
    let run = running.finish().expect(130);
    assert_eq!(
        items(&run),
        ["n01 quiet - ok", "n01 restart contrail-collector changed", "n01 return - changed", "n02 - - not_started"],
        "{run}"
    );
    let resumed = Running::start(cluster.bare("runs resume last -o json")).finish().expect(0);
    assert_eq!(cluster.counts(ANALYTICS, COLLECTOR), [(2, 1), (2, 1)], "{resumed}");
    cluster.at_rest();
}

/// The items and the undos of each node, with their outcomes.
fn with_undos(run: &Finished) -> Vec<String> {
    let of = |(result, item): (&serde_json::Value, String)| {
        if result["undo"] == true { format!("{item} (undo)") } else { item }
    };
    run.results().iter().zip(items(run)).map(of).collect()
}

/// A rollout in which `drain` and `quiet` are taken back, and the check passes on all nodes but n02.
fn drained(notes: &std::path::Path, when: &str, undo: &str) -> String {
    let note = |word: &str| format!("echo {word} $CTL_NODE >> {}", notes.display());
    format!(
        "- name: roll
  role: analytics
  serial: 1
  stable: 0s
  max_failures: 100%
  each:
  - {{name: drain, on: controller, exec: '{}', undo: '{}; {undo}', when: {when}, timeout: 3s}}
  - {{name: quiet, on: controller, exec: '{}', undo: '{}'}}
  - {{name: answers, check: 'test $CTL_NODE != n02'}}
",
        note("drain"),
        note("return"),
        note("quiet"),
        note("loud"),
    )
}

#[test]
fn scopes_are_closed_in_reverse_order() {
    let cluster = Cluster::start(uniform(1));
    let notes = notes(&cluster);
    let run = roll(&cluster, &drained(&notes, "[success, failure, lost]", "true"), "-o json").expect(0);
    assert_eq!(lines(&notes), ["drain n01", "quiet n01", "loud n01", "return n01"]);
    assert_eq!(
        with_undos(&run),
        [
            "n01 drain - changed",
            "n01 quiet - changed",
            "n01 answers - ok",
            "n01 drain - changed (undo)",
            "n01 quiet - changed (undo)"
        ],
        "{run}"
    );
    assert_eq!(run.document()["kept"], serde_json::json!([]));
    // For people and spreadsheets, the name says which row is the undo.
    let expected = ["drain", "quiet", "answers", "drain (undo)", "quiet (undo)"];
    let table = Running::start(cluster.bare("runs show last")).finish().expect(0);
    let rows = table.stdout.lines().skip_while(|line| !line.starts_with("NODE ")).skip(1);
    let cells = |line: &str| -> Vec<String> {
        line.split("  ").map(|cell| cell.trim().to_owned()).filter(|cell| !cell.is_empty()).collect()
    };
    let names: Vec<String> = rows.map(|line| cells(line)[2].clone()).collect();
    assert_eq!(names, expected, "{table}");
    let table = Running::start(cluster.bare("runs show last -o csv")).finish().expect(0);
    let names: Vec<&str> = table.stdout.lines().skip(1).filter_map(|line| line.split(',').nth(4)).collect();
    assert_eq!(names, expected, "{table}");
    cluster.at_rest();
}

/// A node that does not come up stays drained, is named, and can be taken back.
#[test]
fn what_is_kept_is_named_and_can_be_undone() {
    let cluster = Cluster::start(uniform(2));
    let notes = notes(&cluster);
    let run = roll(&cluster, &drained(&notes, "[success, lost]", "true"), "-o json").expect(1);
    let kept = serde_json::json!([{"node": "n02", "item_number": 1, "item": "drain", "on": null, "reason": "kept"}]);
    assert_eq!(run.document()["kept"], kept, "{run}");
    assert!(!lines(&notes).contains(&"return n02".to_owned()) && lines(&notes).contains(&"loud n02".to_owned()));
    let shown = Running::start(cluster.bare("runs show last")).finish().expect(0);
    let said = [shown.stdout.as_str(), shown.stderr.as_str()].concat();
    assert!(said.contains("n02: drain: kept, as its `when` says") && said.contains("ctl runs undo "), "{shown}");
    let undone = Running::start(cluster.bare("runs undo last -o json")).finish().expect(0);
    assert_eq!(with_undos(&undone), ["n02 drain - changed (undo)"], "{undone}");
    assert_eq!(lines(&notes).last().map(String::as_str), Some("return n02"));
    assert_eq!(undone.document()["kept"], serde_json::json!([]));
    cluster.at_rest();
}

#[test]
fn an_undo_that_fails_is_a_result_of_its_own() {
    let cluster = Cluster::start(uniform(1));
    let notes = notes(&cluster);
    let run = roll(&cluster, &drained(&notes, "success", "false"), "-o json").expect(1);
    let of_undo: Vec<String> = with_undos(&run).into_iter().filter(|item| item.ends_with("(undo)")).collect();
    assert_eq!(of_undo, ["n01 drain - failed (undo)", "n01 quiet - changed (undo)"], "{run}");
    assert_eq!(run.document()["kept"][0]["reason"], "undo_failed");
    let tries = lines(&notes).iter().filter(|line| *line == "return n01").count();
    assert!(tries > 1, "it is tried again within its time: {tries}");
    cluster.at_rest();
}

/// A controller that is killed leaves its scopes to the guard, and the journal knows which items are to be done again.
#[test]
fn a_resumed_sequence_takes_back_what_was_open_and_does_it_again() {
    let cluster = Cluster::start(uniform(1));
    let notes = notes(&cluster);
    let note = |word: &str| format!("echo {word} >> {}", notes.display());
    let opened = cluster.path("opened");
    let steps = format!(
        "- name: roll
  role: analytics
  serial: 1
  stable: 0s
  each:
  - {{name: silence, on: controller, exec: '{}', undo: '{}'}}
  - {{name: leave, exec: 'true', undo: 'echo joined'}}
  - {{name: restart, services: contrail-collector, action: restart}}
  - {{name: answers, on: controller, check: '{}; test -e {}', until: 600s, interval: 20ms}}
",
        note("silence"),
        note("speak"),
        note("look"),
        opened.display(),
    );
    let rollout = cluster.write("rollout.yaml", format!("version: 1\nsteps:\n{steps}"));
    let running = cluster.begin(&format!("rollout {} -y -o json", rollout.display()));
    eventually("the check runs", || lines(&notes).contains(&"look".to_owned()).then_some(()));
    let armed = cluster.node("n01").guard().armed;
    assert!(armed.len() == 1 && armed[0].1.contains("echo joined"), "{armed:?}");
    running.signal("KILL");
    drop(running.finish());
    eventually("the guard", || (cluster.node("n01").guard().rescues == 1).then_some(()));
    assert!(cluster.node("n01").guard().rescued[0].contains("echo joined"));
    let shown = Running::start(cluster.bare("runs show last")).finish().expect(0);
    let said = [shown.stdout.as_str(), shown.stderr.as_str()].concat();
    assert!(said.contains("n01: silence: still open when the run ended"), "{shown}");
    cluster.write("opened", "");
    let resumed = Running::start(cluster.bare("runs resume last -o json")).finish().expect(0);
    let acts: Vec<String> = lines(&notes).into_iter().filter(|line| line != "look").collect();
    assert_eq!(acts, ["silence", "speak", "silence", "speak"], "what was open is undone, done again and undone");
    assert_eq!(cluster.counts(ANALYTICS, COLLECTOR), [(2, 1)], "the restart is not repeated");
    assert_eq!(resumed.document()["kept"], serde_json::json!([]), "{resumed}");
    cluster.at_rest();
}

/// A connection that is lost between two items makes the guard take everything back, so no further item relies on it.
#[test]
fn a_lost_connection_starts_no_item_that_relies_on_what_the_guard_took_back() {
    let cluster = Cluster::start(uniform(1));
    let notes = notes(&cluster);
    let opened = cluster.path("opened");
    let steps = format!(
        "- name: roll
  role: analytics
  serial: 1
  stable: 0s
  each:
  - {{name: leave, exec: 'true', undo: 'echo joined'}}
  - {{name: quiet, on: controller, check: 'echo look >> {}; test -e {}', until: 600s, interval: 20ms}}
  - {{name: restart, services: contrail-collector, action: restart}}
",
        notes.display(),
        opened.display(),
    );
    let rollout = cluster.write("rollout.yaml", format!("version: 1\nsteps:\n{steps}"));
    let running = cluster.begin(&format!("rollout {} -y -o json", rollout.display()));
    eventually("the check runs", || lines(&notes).contains(&"look".to_owned()).then_some(()));
    cluster.node("n01").cut_connections();
    eventually("the guard", || (cluster.node("n01").guard().rescues == 1).then_some(()));
    cluster.write("opened", "");
    let run = running.finish().expect(5);
    assert_eq!(
        with_undos(&run),
        ["n01 leave - changed", "n01 quiet - ok", "n01 restart - not_started", "n01 leave - changed (undo)"],
        "{run}"
    );
    assert_eq!(run.results()[2]["failure"]["kind"], "connection_lost");
    assert_eq!(cluster.counts(ANALYTICS, COLLECTOR), [(1, 0)], "nothing is restarted while it takes traffic");
    assert!(run.stderr.contains("ctl runs resume "), "{run}");
    let resumed = Running::start(cluster.bare("runs resume last -o json")).finish().expect(0);
    assert_eq!(cluster.counts(ANALYTICS, COLLECTOR), [(2, 1)], "{resumed}");
    assert_eq!(resumed.document()["kept"], serde_json::json!([]), "{resumed}");
    cluster.at_rest();
}

/// After a second Ctrl-C a command is ended, its node is left to the guard, and open scopes are closed.
#[test]
fn a_second_signal_leaves_a_node_to_its_guard() {
    let cluster = Cluster::start(uniform(1));
    let notes = notes(&cluster);
    let steps = format!(
        "- name: roll
  role: analytics
  serial: 1
  stable: 0s
  each:
  - {{name: silence, on: controller, exec: 'true', undo: 'echo speak >> {}'}}
  - {{name: leave, exec: 'true', undo: 'echo joined'}}
  - {{name: quiet, on: controller, check: 'echo look >> {}; false', until: 600s, interval: 20ms}}
",
        notes.display(),
        notes.display(),
    );
    let rollout = cluster.write("rollout.yaml", format!("version: 1\nsteps:\n{steps}"));
    let running = cluster.begin(&format!("rollout {} -y -o json", rollout.display()));
    eventually("the check runs", || lines(&notes).contains(&"look".to_owned()).then_some(()));
    running.signal("INT");
    running.until_said("Stopping");
    running.signal("INT");
    let run = running.finish().expect(130);
    eventually("the guard", || (cluster.node("n01").guard().rescues == 1).then_some(()));
    assert_eq!(lines(&notes).last().map(String::as_str), Some("speak"), "{run}");
    let of_undo: Vec<String> = with_undos(&run).into_iter().filter(|item| item.ends_with("(undo)")).collect();
    assert_eq!(of_undo, ["n01 silence - changed (undo)", "n01 leave - unknown (undo)"], "{run}");
    cluster.at_rest();
}

/// A lease is renewed while its scope is open, and not after it was taken back.
#[test]
fn a_lease_is_renewed_until_it_is_taken_back() {
    let cluster = Cluster::start(uniform(1));
    let notes = notes(&cluster);
    let at = notes.display();
    let steps = format!(
        "- name: roll
  role: analytics
  each:
  - {{name: silence, on: controller, exec: 'echo silence >> {at}', undo: 'echo speak >> {at}', renew: 20ms}}
  - {{name: quiet, on: controller, check: 'test $(grep -c silence {at}) -gt 3', until: 600s, interval: 20ms}}
"
    );
    roll(&cluster, &steps, "-o json").expect(0);
    assert_eq!(lines(&notes).last().map(String::as_str), Some("speak"), "no renewal comes after the undo");
    cluster.at_rest();
}

/// Behind a lease that cannot be renewed nothing starts.
#[test]
fn nothing_starts_behind_a_lease_that_cannot_be_renewed() {
    let cluster = Cluster::start(uniform(1));
    let notes = notes(&cluster);
    let at = notes.display();
    let steps = format!(
        "- name: roll
  role: analytics
  each:
  - {{name: silence, on: controller, exec: 'echo silence >> {at}; test $(grep -c silence {at}) -lt 2', undo: 'true', renew: 20ms}}
  - {{name: quiet, on: controller, check: 'test $(grep -c silence {at}) -gt 2', until: 600s, interval: 20ms}}
  - {{name: restart, services: contrail-collector, action: restart}}
"
    );
    let run = roll(&cluster, &steps, "-o json").expect(5);
    assert!(items(&run).contains(&"n01 restart - not_started".to_owned()), "{run}");
    assert!(run.stdout.contains("silence could not be renewed"), "{run}");
    assert_eq!(cluster.counts(ANALYTICS, COLLECTOR), [(1, 0)]);
    cluster.at_rest();
}
