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

/// A controller that is killed in the middle of a sequence leaves a record of what is done.
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
