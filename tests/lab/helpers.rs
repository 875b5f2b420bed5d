//! Items of a sequence that run on another node, its helper: one at a time, taken back by the helper's own guard.

use std::path::PathBuf;

use contrail_lab::Fault;

use crate::harness::{ANALYTICS, COLLECTOR, Cluster, Finished, Running, eventually, uniform, word};

/// Another run's lock.
const ANA: &str = "key=ffff run=20261122-101112-abcd user=ana host=jump since=2026-11-22T10:11:12Z reason=disk";

/// A step on some nodes, whose items are indented lines.
fn written(cluster: &Cluster, name: &str, nodes: &str, settings: &str, items: &str) -> PathBuf {
    let head = format!("version: 1\nsteps:\n- name: roll\n  nodes: '{nodes}'\n  stable: 0s\n  {settings}\n  each:\n");
    cluster.write(name, head + items)
}

fn roll(cluster: &Cluster, nodes: &str, settings: &str, items: &str) -> Finished {
    let rollout = written(cluster, "rollout.yaml", nodes, settings, items);
    cluster.ctl(&format!("rollout {} -y -o json", rollout.display()))
}

/// The items and the undos of each node, where they ran, with their outcomes.
fn items(run: &Finished) -> Vec<String> {
    let of = |result: &serde_json::Value| {
        let text = |key: &str| result[key].as_str().unwrap_or("-").to_owned();
        let undo = if result["undo"] == true { " (undo)" } else { "" };
        format!("{} {} on {} {}{undo}", text("node"), text("item"), text("on"), text("outcome"))
    };
    run.results().iter().map(of).collect()
}

fn lines(path: &PathBuf) -> Vec<String> {
    std::fs::read_to_string(path).unwrap_or_default().lines().map(str::to_owned).collect()
}

/// An item that waits on the controller until a file exists, and notes that it does.
fn gate(cluster: &Cluster, name: &str) -> (PathBuf, PathBuf, String) {
    let (noted, opened) = (cluster.path(&format!("{name}-noted")), cluster.path(&format!("{name}-opened")));
    let check = format!("echo $CTL_NODE >> {}; test -e {}", noted.display(), opened.display());
    let item = format!("  - {{name: {name}, on: controller, check: '{check}', until: 600s, interval: 20ms}}\n");
    (noted, opened, item)
}

fn open(path: &PathBuf) {
    std::fs::write(path, "").expect("a file");
}

fn resume() -> &'static str {
    "runs resume last -o json"
}

const DRAIN: &str = "  - {name: drain, on: n03, exec: 'hostname; echo $CTL_NODE', undo: 'echo return $CTL_NODE'}\n";
const RESTART: &str = "  - {name: restart, services: contrail-collector, action: restart}\n";

#[test]
fn an_item_runs_on_its_helper_and_the_helper_is_no_node_of_the_run() {
    let cluster = Cluster::start(uniform(3));
    let run = roll(&cluster, "n[01-02]", "serial: 100%", &format!("{DRAIN}{RESTART}")).expect(0);
    let of_node = |node: &str| {
        [
            format!("{node} drain on n03 changed"),
            format!("{node} restart on - changed"),
            format!("{node} drain on n03 changed (undo)"),
        ]
    };
    let mut expected = [of_node("n01"), of_node("n02")].concat();
    let mut found = items(&run);
    expected.sort();
    found.sort();
    assert_eq!(found, expected, "{run}");
    let drain = run.results().into_iter().find(|result| result["item"] == "drain" && result["node"] == "n02");
    assert_eq!(word(&drain.expect("a result")["stdout"]), "n03\nn02\n", "{run}");
    assert_eq!(run.document()["summary"]["nodes"], 2, "{run}");
    assert_eq!(cluster.counts(ANALYTICS, COLLECTOR), [(2, 1), (2, 1), (1, 0)]);
    assert_eq!(cluster.counters("n03").connections, 1);
    let table = Running::start(cluster.bare("runs show last")).finish().expect(0);
    assert!(table.stdout.contains("drain (on n03)"), "{table}");
    let plan = cluster.ctl(&format!("rollout {} --dry-run", cluster.path("rollout.yaml").display())).expect(0);
    assert!(plan.stdout.contains("(on n03)") && !plan.stdout.contains("3 nodes"), "{plan}");
    cluster.at_rest();
}

#[test]
fn services_of_a_helper_are_changed_for_a_node() {
    let cluster = Cluster::start(uniform(3));
    let each = "  - {name: reload, on: n03, services: contrail-collector, action: restart}\n";
    let run = roll(&cluster, "n[01-02]", "serial: 100%", each).expect(0);
    let mut found = items(&run);
    found.sort();
    assert_eq!(found, ["n01 reload on n03 changed", "n02 reload on n03 changed"], "{run}");
    assert!(run.results().iter().all(|result| result["service"] == COLLECTOR), "{run}");
    assert_eq!(cluster.counts(ANALYTICS, COLLECTOR), [(1, 0), (1, 0), (3, 2)]);
    // A hint about an unknown service names the helper.
    let each = "  - {name: reload, on: n03, services: nonesuch, action: restart}\n";
    let run = roll(&cluster, "n01", "serial: 100%", each).expect(1);
    assert_eq!(items(&run), ["n01 reload on n03 failed"], "{run}");
    assert!(word(&run.results()[0]["failure"]["hint"]).contains("-w n03"), "{run}");
    cluster.at_rest();
}

/// A node can be its own helper, and one of the nodes of its batch.
#[test]
fn a_helper_may_be_one_of_the_nodes() {
    let cluster = Cluster::start(uniform(3));
    let each = format!("{DRAIN}{RESTART}");
    for settings in ["serial: 100%", "serial: 1"] {
        let run = roll(&cluster, "n[01-03]", settings, &each).expect(0);
        assert_eq!(items(&run).iter().filter(|item| item.contains("on n03 changed")).count(), 6, "{run}");
        assert_eq!(run.document()["summary"]["nodes"], 3, "{run}");
        cluster.at_rest();
    }
    let rollout = cluster.path("rollout.yaml");
    cluster.ctl(&format!("rollout {} -y -o json -f 1", rollout.display())).expect(0);
    assert_eq!(cluster.counts(ANALYTICS, COLLECTOR), [(4, 3); 3]);
    cluster.at_rest();
}

/// A helper that is not in the inventory, or in maintenance, is an error of the file, before anything is connected to.
#[test]
fn a_helper_that_is_not_there_is_refused_with_its_place() {
    let cluster = Cluster::start(uniform(3));
    let each = "  - {name: drain, on: n04, exec: 'true'}\n  - {name: look, on: n02, check: 'true'}\n";
    let rollout = written(&cluster, "rollout.yaml", "n01", "serial: 1", each);
    let text = cluster.inventory().replacen("n02: {", "n02: {maintenance: new disks, ", 1);
    let inventory = cluster.write("inventory.yaml", text);
    for words in ["-y", "--dry-run", "--validate"] {
        let line = format!("rollout {} {words}", rollout.display());
        let run = Running::start(cluster.command_with(&line, &inventory)).finish().expect(2);
        for said in [
            "rollout.yaml:8:23",
            "`on`: the inventory has no node `n04`",
            "did you mean n0",
            "rollout.yaml:9:22",
            "`on`: `n02` is in maintenance: new disks",
        ] {
            assert!(run.stderr.contains(said), "{said}: {run}");
        }
    }
    assert_eq!(cluster.connections(), 0);
}

/// Nothing is started that would have to stop half-way.
#[test]
fn a_helper_that_cannot_be_used_keeps_the_step_from_starting() {
    let cluster = Cluster::start(uniform(3));
    cluster.node("n03").set_fault(Fault::Refused);
    let run = roll(&cluster, "n[01-02]", "serial: 1", &format!("{RESTART}{DRAIN}")).expect(5);
    assert_eq!(items(&run), ["n01 - on - not_started", "n02 - on - not_started"], "{run}");
    let message = word(&run.results()[0]["failure"]["message"]).to_owned();
    assert!(message.starts_with("not started: drain is to run on n03: "), "{message}");
    assert_eq!(run.results()[0]["failure"]["kind"], "refused", "{run}");
    let live = cluster.ctl(&format!("rollout {} --dry-run=live", cluster.path("rollout.yaml").display())).expect(4);
    let said = "not started (a node that its items run on cannot be reached): n[01-02]";
    assert!(live.stdout.contains(said) && live.stdout.contains("cannot be reached: n03 (refused"), "{live}");
    cluster.node("n03").clear_fault();
    assert!(cluster.node("n03").take_lock(ANA));
    let run = roll(&cluster, "n[01-02]", "serial: 1", &format!("{RESTART}{DRAIN}")).expect(6);
    assert_eq!(run.results()[0]["failure"]["kind"], "locked", "{run}");
    assert_eq!(cluster.counts(ANALYTICS, COLLECTOR), [(1, 0); 3]);
    assert!(cluster.node("n03").release_lock());
    cluster.at_rest();
}

/// Closing the scope of one node leaves those of the others open.
#[test]
fn each_node_has_its_own_scope_on_a_helper() {
    let cluster = Cluster::start(uniform(3));
    let opened = cluster.path("opened");
    let look = format!("test $CTL_NODE = n01 || test -e {}", opened.display());
    let each = format!("{DRAIN}  - {{name: quiet, on: controller, check: '{look}', until: 600s, interval: 20ms}}\n");
    let rollout = written(&cluster, "rollout.yaml", "n[01-02]", "serial: 100%", &each);
    let running = cluster.begin(&format!("rollout {} -y -o jsonl", rollout.display()));
    running.until_printed("\"undo\":true");
    // The guard answers no order to disarm, so it may still be on its way.
    eventually("the scope of n01 to be closed", || {
        let armed = cluster.node("n03").guard().armed;
        (armed.len() == 1 && armed[0].1.contains("CTL_NODE=n02")).then_some(())
    });
    open(&opened);
    drop(running.finish().expect(0));
    assert_eq!(cluster.node("n03").guard().rescues, 0);
    cluster.at_rest();
}

#[test]
fn the_guard_of_a_helper_takes_back_what_a_killed_controller_left() {
    let cluster = Cluster::start(uniform(3));
    let (noted, opened, wait) = gate(&cluster, "quiet");
    let leave = "  - {name: leave, exec: 'true', undo: 'echo join $CTL_NODE'}\n";
    let rollout =
        written(&cluster, "rollout.yaml", "n[01-02]", "serial: 100%", &format!("{DRAIN}{leave}{RESTART}{wait}"));
    let running = cluster.begin(&format!("rollout {} -y -o json", rollout.display()));
    eventually("both nodes", || {
        (lines(&noted).contains(&"n01".to_owned()) && lines(&noted).contains(&"n02".to_owned())).then_some(())
    });
    running.signal("KILL");
    drop(running.finish());
    eventually("the guards", || {
        let of = |name: &str| cluster.node(name).guard().rescues;
        (of("n01") == 1 && of("n02") == 1 && of("n03") == 1).then_some(())
    });
    let rescued = cluster.node("n03").guard().rescued;
    assert_eq!(rescued.iter().filter(|code| code.contains("echo return")).count(), 2, "{rescued:?}");
    open(&opened);
    let resumed = Running::start(cluster.bare(resume())).finish().expect(0);
    assert_eq!(resumed.document()["kept"], serde_json::json!([]), "{resumed}");
    assert_eq!(cluster.counts(ANALYTICS, COLLECTOR), [(2, 1), (2, 1), (1, 0)], "no restart is repeated");
    cluster.at_rest();
}

/// What a guard took back does not hold any more, so no further item of the node runs; the other nodes wait for theirs.
#[test]
fn a_helper_whose_connection_is_lost_ends_the_sequences_that_rely_on_it() {
    let cluster = Cluster::start(uniform(3));
    let (noted, opened, wait) = gate(&cluster, "quiet");
    let rollout = written(&cluster, "rollout.yaml", "n[01-02]", "serial: 1", &format!("{DRAIN}{wait}{RESTART}"));
    let running = cluster.begin(&format!("rollout {} -y -o json", rollout.display()));
    eventually("the check", || (!lines(&noted).is_empty()).then_some(()));
    cluster.node("n03").cut_connections();
    eventually("the guard", || (cluster.node("n03").guard().rescues == 1).then_some(()));
    open(&opened);
    let run = running.finish().expect(5);
    assert_eq!(
        items(&run),
        [
            "n01 drain on n03 changed",
            "n01 quiet on - ok",
            "n01 restart on - not_started",
            "n01 drain on n03 changed (undo)",
            "n02 drain on n03 changed",
            "n02 quiet on - ok",
            "n02 restart on - changed",
            "n02 drain on n03 changed (undo)",
        ],
        "{run}"
    );
    let message = "not started: the connection to n03 was lost, and its guard undoes drain";
    assert_eq!(run.results()[2]["failure"]["message"], message, "{run}");
    assert_eq!(cluster.counts(ANALYTICS, COLLECTOR), [(1, 0), (2, 1), (1, 0)]);
    Running::start(cluster.bare(resume())).finish().expect(0);
    assert_eq!(cluster.counts(ANALYTICS, COLLECTOR), [(2, 1), (2, 1), (1, 0)]);
    cluster.at_rest();
}

/// A helper that is gone for good fails the item, and the node is not lost with it.
#[test]
fn a_helper_that_dies_fails_the_items_that_are_left_for_it() {
    let cluster = Cluster::start(uniform(3));
    let (noted, opened, wait) = gate(&cluster, "quiet");
    let each = format!("{DRAIN}{wait}  - {{name: look, on: n03, check: 'true'}}\n{RESTART}");
    let rollout = written(&cluster, "rollout.yaml", "n01", "serial: 1", &each);
    let text = std::fs::read_to_string(&rollout).expect("the file");
    std::fs::write(&rollout, text + "- {name: then, nodes: n01, exec: 'true'}\n").expect("the file");
    let running = cluster.begin(&format!("rollout {} -y -o json", rollout.display()));
    eventually("the check", || (!lines(&noted).is_empty()).then_some(()));
    cluster.node("n03").set_fault(Fault::Refused);
    cluster.node("n03").cut_connections();
    eventually("the guard", || (cluster.node("n03").guard().rescues == 1).then_some(()));
    open(&opened);
    let run = running.finish().expect(5);
    let kinds: Vec<String> = items(&run);
    assert!(kinds.contains(&"n01 look on n03 unreachable".to_owned()), "{run}");
    assert!(kinds.contains(&"n01 restart on - not_started".to_owned()), "{run}");
    assert!(kinds.contains(&"n01 drain on n03 unknown (undo)".to_owned()), "{run}");
    let of_undo = run.results().into_iter().find(|result| result["undo"] == true).expect("an undo");
    assert!(word(&of_undo["failure"]["message"]).starts_with("left to the guard on n03: "), "{run}");
    cluster.node("n03").clear_fault();
    // A failure is final for a resumed run, but open items are undone; a retry does it all.
    let resumed = Running::start(cluster.bare(resume())).finish().expect(5);
    assert!(items(&resumed).contains(&"n01 drain on n03 changed (undo)".to_owned()), "{resumed}");
    assert_eq!(resumed.document()["kept"], serde_json::json!([]), "{resumed}");
    let retried = Running::start(cluster.bare("runs retry last -o json")).finish().expect(0);
    assert!(items(&retried).contains(&"n01 restart on - changed".to_owned()), "{retried}");
    assert_eq!(cluster.counts(ANALYTICS, COLLECTOR)[0], (2, 1));
    cluster.at_rest();
}

/// Several runs use a helper at once, and only they do.
#[test]
fn two_runs_share_a_helper() {
    let cluster = Cluster::start(uniform(3));
    let (noted, opened, wait) = gate(&cluster, "quiet");
    let first = written(&cluster, "first.yaml", "n01", "serial: 1", &format!("{DRAIN}{wait}"));
    let running = cluster.begin(&format!("rollout {} -y -o json", first.display()));
    eventually("the check", || (!lines(&noted).is_empty()).then_some(()));
    let second = roll(&cluster, "n02", "serial: 1", &format!("{DRAIN}{RESTART}")).expect(0);
    assert_eq!(items(&second)[0], "n02 drain on n03 changed", "{second}");
    // The node cannot be changed meanwhile.
    let run = cluster.ctl(&format!("service {COLLECTOR} restart -w n03 -y -o json")).expect(6);
    assert_eq!(run.results()[0]["failure"]["kind"], "locked", "{run}");
    assert!(cluster.node("n03").guard().armed.iter().all(|(_, code)| code.contains("CTL_NODE=n01")));
    open(&opened);
    running.finish().expect(0);
    assert_eq!(cluster.node("n03").guard().rescues, 0);
    cluster.at_rest();
}

/// An item that is kept on a helper is named with it, and is undone there.
#[test]
fn what_is_kept_on_a_helper_is_undone_there() {
    let cluster = Cluster::start(uniform(3));
    let each = "  - {name: drain, on: n03, exec: 'true', undo: 'hostname', when: lost}\n";
    let run = roll(&cluster, "n[01-02]", "serial: 1", each).expect(0);
    let kept = |node: &str| serde_json::json!({"node": node, "item_number": 1, "item": "drain", "on": "n03", "reason": "kept"});
    assert_eq!(run.document()["kept"], serde_json::json!([kept("n01"), kept("n02")]), "{run}");
    let shown = Running::start(cluster.bare("runs show last")).finish().expect(0);
    let said = [shown.stdout.as_str(), shown.stderr.as_str()].concat();
    assert!(said.contains("n[01-02]: drain (on n03): kept, as its `when` says"), "{shown}");
    let before = cluster.node("n03").commands();
    // The node itself is not needed for that.
    cluster.node("n01").set_fault(Fault::Refused);
    let undone = Running::start(cluster.bare("runs undo last -o json")).finish().expect(0);
    let mut found = items(&undone);
    found.sort();
    assert_eq!(found, ["n01 drain on n03 changed (undo)", "n02 drain on n03 changed (undo)"], "{undone}");
    assert_ne!(cluster.node("n03").commands(), before);
    assert_eq!(undone.document()["kept"], serde_json::json!([]));
    cluster.at_rest();
}

/// After a second Ctrl-C all scopes on a helper are left to its guard, and nobody waits for it.
#[test]
fn a_second_signal_leaves_all_scopes_to_the_guard_of_the_helper() {
    let cluster = Cluster::start(uniform(3));
    let (noted, _, wait) = gate(&cluster, "quiet");
    let rollout = written(&cluster, "rollout.yaml", "n[01-02]", "serial: 100%", &format!("{DRAIN}{wait}"));
    let running = cluster.begin(&format!("rollout {} -y -o json", rollout.display()));
    let both = ["n01", "n02"].map(str::to_owned);
    eventually("both nodes", || both.iter().all(|node| lines(&noted).contains(node)).then_some(()));
    running.signal("INT");
    running.until_said("Stopping");
    running.signal("INT");
    let run = running.finish().expect(130);
    let mut undos: Vec<String> = items(&run).into_iter().filter(|item| item.ends_with("(undo)")).collect();
    undos.sort();
    assert_eq!(undos, ["n01 drain on n03 unknown (undo)", "n02 drain on n03 unknown (undo)"], "{run}");
    eventually("the guard", || (cluster.node("n03").guard().rescued.len() == 2).then_some(()));
    cluster.at_rest();
}

/// A lease on a helper is renewed there until it is taken back, in turn with the other items.
#[test]
fn a_lease_is_renewed_on_its_helper() {
    let cluster = Cluster::start(uniform(3));
    let (noted, opened, wait) = gate(&cluster, "quiet");
    let lease = "  - {name: silence, on: n03, exec: 'true', undo: 'true', renew: 10ms}\n";
    let reload = "  - {name: reload, on: n03, services: contrail-collector, action: restart}\n";
    let rollout = written(&cluster, "rollout.yaml", "n01", "serial: 1", &format!("{lease}{wait}{reload}"));
    let running = cluster.begin(&format!("rollout {} -y -o json", rollout.display()));
    eventually("the check", || (!lines(&noted).is_empty()).then_some(()));
    let sent = || cluster.counters("n03").execs.len();
    let before = sent();
    eventually("renewals", || (sent() > before + 3).then_some(()));
    open(&opened);
    let run = running.finish().expect(0);
    assert!(items(&run).contains(&"n01 reload on n03 changed".to_owned()), "{run}");
    cluster.at_rest();
}

/// The services that a run stopped on a helper are started there again.
#[test]
fn what_was_stopped_on_a_helper_is_started_there() {
    let cluster = Cluster::start(uniform(3));
    let each = "  - {name: stop, on: n03, services: contrail-collector, action: stop}\n";
    roll(&cluster, "n01", "serial: 1", each).expect(0);
    assert_eq!(cluster.collector("n03").state, contrail_lab::State::Stopped);
    let undone = Running::start(cluster.bare("runs undo last -o json")).finish().expect(0);
    assert_eq!(undone.result("n03")["outcome"], "changed", "{undone}");
    assert_eq!(cluster.collector("n03").state, contrail_lab::State::Running);
    assert_eq!(cluster.counts(ANALYTICS, COLLECTOR), [(1, 0), (1, 0), (2, 1)]);
    cluster.at_rest();
}

/// A command on a helper whose end nobody saw is never run again.
#[test]
fn a_helper_that_is_cut_off_in_the_middle_of_an_item() {
    let cluster = Cluster::start(uniform(3));
    let slow = "  - {name: slow, on: n03, exec: 'echo slow; sleep 3600', undo: 'echo return'}\n";
    let rollout = written(&cluster, "rollout.yaml", "n[01-02]", "serial: 1", &format!("{slow}{RESTART}"));
    let running = cluster.begin(&format!("rollout {} -y -o json", rollout.display()));
    eventually("the command", || (cluster.node("n03").commands().running > 0).then_some(()));
    cluster.node("n03").cut_connections();
    let run = running.finish().expect(5);
    let expected = [
        "n01 slow on n03 unknown",
        "n01 restart on - not_started",
        "n01 slow on n03 changed (undo)",
        "n02 - on - not_started",
    ];
    assert_eq!(items(&run), expected, "{run}");
    assert_eq!(cluster.counts(ANALYTICS, COLLECTOR), [(1, 0); 3]);
    assert_eq!(run.document()["kept"], serde_json::json!([]), "{run}");
    cluster.at_rest();
}
