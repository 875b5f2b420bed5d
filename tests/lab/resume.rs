//! Resuming, retrying and undoing a run: the nodes that are checked again first, the actions, and the messages.

use std::process::Command;

use contrail_lab::{ClusterSpec, Fault, InitFlavour, Introspect, NodeSpec, Release, Role, SpawnKind, State};

use crate::harness::{ANALYTICS, COLLECTOR, Cluster, FAST, Finished, Running, ended, eventually, list, uniform, word};

const UNTOUCHED: (u32, u32) = (1, 0);
const RESTARTED: (u32, u32) = (2, 1);

/// The collector cannot be started after a stop.
fn broken() -> Fault {
    Fault::SpawnError { program: COLLECTOR.to_owned(), kind: SpawnKind::Spawn }
}

/// A `ctl runs` command.
fn runs(cluster: &Cluster, words: &str) -> Finished {
    Running::start(cluster.bare(&format!("runs {words}"))).finish()
}

/// A rolling restart of the collector that stops at n02, which does not come up.
fn stopped_at_n02(cluster: &Cluster) -> Finished {
    let run = cluster.ctl(&format!("restart {COLLECTOR} -y --rolling --stable 0s -o json")).expect(5);
    assert_eq!(run.outcomes()[1], "n02 contrail-collector failed spawn_error", "{run}");
    // supervisord itself has tried again for the last time.
    cluster.wait_for("n02", ANALYTICS, COLLECTOR, State::Fatal);
    run
}

/// Starts a service by hand, as an operator does on the node.
fn start_by_hand(cluster: &Cluster, node: &str) {
    cluster.node(node).clear_fault();
    let state = cluster.path("by-hand");
    let mut command: Command = cluster.command(&format!("start {COLLECTOR} -w {node} -q"));
    command.env("XDG_STATE_HOME", state);
    Running::start(command).finish().expect(0);
}

/// A node that failed and is still down is not taken for healthy: no other node is touched.
#[test]
fn a_node_that_is_still_down_stops_the_run_again() {
    let cluster = Cluster::start(uniform(4).fault("n02", broken()));
    let first = stopped_at_n02(&cluster);
    assert!(first.stderr.contains("Fix n02 and resume the run, or retry"), "{first}");
    let run = runs(&cluster, "resume last -o json").expect(5);
    assert_eq!(
        run.outcomes(),
        [
            "n01 contrail-collector changed",
            "n02 contrail-collector failed fatal",
            "n03 contrail-collector not_started limit",
            "n04 contrail-collector not_started limit"
        ],
        "{run}"
    );
    let counts = cluster.counts(ANALYTICS, COLLECTOR);
    assert_eq!((counts[0], &counts[2..]), (RESTARTED, &[UNTOUCHED; 2][..]), "{run}");
    assert!(run.stderr.contains("checking n02 again before any other node"), "{run}");
    let failure = &run.result_of("n02", COLLECTOR)["failure"];
    assert!(word(&failure["message"]).starts_with("it is still FATAL"), "{run}");
    assert!(word(&failure["hint"]).contains("ctl runs retry"), "{run}");
    let id = word(&run.json()["run"]).to_owned();
    assert!(run.stderr.contains(&format!("with: ctl runs retry {id}")), "{run}");
    assert!(run.stderr.trim_end().ends_with(&format!("Resume it with: ctl runs resume {id}")), "{run}");
    cluster.at_rest();
}

/// A node that was put right meanwhile has a row that says so, is not acted on again, and lets the run go on.
#[test]
fn a_node_that_was_fixed_lets_the_run_go_on() {
    let cluster = Cluster::start(uniform(4).fault("n02", broken()));
    stopped_at_n02(&cluster);
    start_by_hand(&cluster, "n02");
    let before = cluster.collector("n02").pid;
    let run = runs(&cluster, "resume last -o json").expect(0);
    let all = ["n01", "n02", "n03", "n04"].map(|node| format!("{node} contrail-collector changed"));
    assert_eq!(run.outcomes(), all, "{run}");
    assert_eq!(cluster.collector("n02").pid, before, "n02 was acted on again\n{run}");
    assert!(!run.stderr.contains("ctl runs retry"), "{run}");
    let shown = runs(&cluster, "show last -o json").expect(0);
    assert_eq!(shown.document()["summary"]["changed"], 4, "{shown}");
    assert_eq!(shown.document()["summary"]["results"], 4, "{shown}");
    let listed = runs(&cluster, "list -n 1 -o json").expect(0);
    assert_eq!(
        (&listed.document()["runs"][0]["state"], &listed.document()["runs"][0]["stopped_by"]),
        (&"finished".into(), &serde_json::Value::Null),
        "{listed}"
    );
    assert!(runs(&cluster, "retry last").expect(0).stderr.contains("nothing to retry"));
    cluster.at_rest();
}

/// A service that runs as the same process as before was not restarted, whatever its state: that stays a failure.
#[test]
fn a_restart_that_never_happened_is_no_success() {
    let node = |name: &str| NodeSpec::new(name, Release::R3_2).roles([Role::Database]).init(InitFlavour::Systemd);
    let cluster = Cluster::start(ClusterSpec::new(["db1", "db2", "db3"].map(node).to_vec()).timing(FAST));
    cluster.node("db2").set_fault(Fault::RestartDenied);
    let first = cluster.ctl("restart contrail-database -y --rolling --stable 0s -o json").expect(5);
    assert_eq!(ended(&first.result("db2")), "failed permission", "{first}");
    cluster.node("db2").clear_fault();
    let run = runs(&cluster, "resume last -o json").expect(5);
    let result = run.result("db2");
    assert_eq!(ended(&result), "failed abnormal_termination", "{run}");
    assert!(word(&result["failure"]["message"]).contains("nothing proves that it was restarted"), "{run}");
    assert!(word(&result["failure"]["hint"]).contains("`ctl runs retry`"), "{run}");
    let starts = |node: &str| cluster.node(node).service("contrail-database").expect("no such service").starts;
    assert_eq!(["db1", "db2", "db3"].map(starts), [2, 1, 1], "{run}");
    // A retry acts on it, and on those not started.
    runs(&cluster, "retry last -o json").expect(0);
    assert_eq!(["db1", "db2", "db3"].map(starts), [2, 2, 2]);
    cluster.at_rest();
}

/// The same for the other actions: what a resume reads decides, and it acts on no node that failed.
#[test]
fn every_action_is_checked_again() {
    for action in ["start", "update"] {
        let cluster = Cluster::start(uniform(3));
        match action {
            "start" => drop(cluster.ctl(&format!("stop {COLLECTOR} -y")).expect(0)),
            _ => cluster.nodes().iter().for_each(|node| node.change_program(ANALYTICS, COLLECTOR)),
        }
        cluster.node("n02").set_fault(broken());
        let first = cluster.ctl(&format!("{action} {COLLECTOR} -y --rolling --stable 0s -o json")).expect(5);
        assert!(first.outcomes()[1].starts_with("n02 contrail-collector failed"), "{first}");
        cluster.wait_for("n02", ANALYTICS, COLLECTOR, State::Fatal);
        let run = runs(&cluster, "resume last -o json").expect(5);
        assert!(run.outcomes()[1].starts_with("n02 contrail-collector failed"), "{run}");
        assert!(run.outcomes()[2].starts_with("n03 contrail-collector not_started"), "{run}");
        start_by_hand(&cluster, "n02");
        let before = cluster.collector("n02").pid;
        let run = runs(&cluster, "resume last -o json").expect(0);
        assert_eq!(run.outcomes()[1], "n02 contrail-collector changed", "{run}");
        assert_eq!(run.outcomes().len(), 3, "{run}");
        assert_eq!(cluster.collector("n02").pid, before, "n02 was acted on again\n{run}");
        cluster.at_rest();
    }
}

/// The limit of a resume counts the failures of the whole run, and can be raised.
#[test]
fn a_higher_limit_goes_on_without_the_node() {
    let cluster = Cluster::start(uniform(4).fault("n02", broken()));
    stopped_at_n02(&cluster);
    let run = runs(&cluster, "resume last --max-failures 1 -o json").expect(1);
    assert_eq!(
        run.outcomes(),
        [
            "n01 contrail-collector changed",
            "n02 contrail-collector failed fatal",
            "n03 contrail-collector changed",
            "n04 contrail-collector changed"
        ],
        "{run}"
    );
    assert!(run.stderr.contains("Failed on n02. Retry everything that did not succeed with: ctl runs retry "), "{run}");
    assert!(!run.stderr.contains("Resume it with"), "{run}");
    cluster.at_rest();
}

/// What a command did cannot be read again: its failure counts until the command is retried, or the limit is raised.
#[test]
fn a_failed_command_counts_until_it_is_retried() {
    let cluster = Cluster::start(uniform(3));
    let run = cluster.exec("-y --rolling -o json", &["false"]).finish().expect(5);
    assert_eq!(run.outcomes()[0], "n01 - failed command", "{run}");
    let again = runs(&cluster, "resume last -o json").expect(5);
    assert_eq!(again.outcomes(), run.outcomes(), "{again}");
    assert_eq!(cluster.node("n02").commands().finished, 0, "{again}");
    let raised = runs(&cluster, "resume last --max-failures 100% -o json").expect(1);
    assert_eq!(raised.outcomes().len(), 3, "{raised}");
    let ran: Vec<usize> = cluster.nodes().iter().map(|node| node.commands().finished).collect();
    assert_eq!(ran, [1, 1, 1], "{raised}");
    cluster.at_rest();
}

/// Three analytics nodes whose collector reports this; only that of the first is ever changed.
fn says(answer: Introspect) -> ClusterSpec {
    let mut spec = uniform(3).each(|node| node.introspects = true);
    for node in &mut spec.nodes {
        node.introspect.push((COLLECTOR.to_owned(), PORT, Introspect::Functional));
    }
    spec.nodes[0].introspect = vec![(COLLECTOR.to_owned(), PORT, answer)];
    spec
}

const PORT: u16 = 8089;

/// A signal, or the end of the controller, while a gate waits: the gate is waited for again before the next batch.
#[test]
fn a_gate_that_was_cut_short_is_waited_for_again() {
    for signal in ["INT", "KILL"] {
        let cluster = Cluster::start(says(Introspect::NonFunctional("not yet".to_owned())));
        let line = format!("restart {COLLECTOR} -y -o jsonl --serial 1 --stable 0s --gate active --gate-timeout 2s");
        let running = cluster.begin(&line.replace("2s", "10m"));
        running.until_printed("\"gate\"");
        running.signal(signal);
        let first = running.finish();
        let cut = first.events().into_iter().any(|event| event["event"] == "gate" && event["met"] == false);
        assert_eq!(cut, signal == "INT", "{first}");
        // It is still not met: no other node is touched. A running wait is cut short again.
        let running = Running::start(cluster.bare("runs resume last -o jsonl"));
        running.until_printed("\"gate\"");
        running.signal("INT");
        let run = running.finish().expect(130);
        assert_eq!(run.batches(), ["n01"], "{signal}\n{run}");
        assert_eq!(cluster.counts(ANALYTICS, COLLECTOR), [RESTARTED, UNTOUCHED, UNTOUCHED], "{signal}\n{run}");
        // It is met: the rest follows.
        cluster.node("n01").set_introspect(COLLECTOR, PORT, Introspect::Functional);
        let run = runs(&cluster, "resume last -o jsonl").expect(0);
        assert_eq!(run.batches(), ["n01", "n02", "n03"], "{signal}\n{run}");
        assert_eq!(cluster.counts(ANALYTICS, COLLECTOR), [RESTARTED; 3], "{signal}\n{run}");
        let shown = runs(&cluster, "show last -o json").expect(0);
        let all = ["n01", "n02", "n03"].map(|node| format!("{node} contrail-collector changed"));
        assert_eq!(outcomes(&shown), all, "{shown}");
        cluster.at_rest();
    }
}

/// The outcomes of a document whose exit code is not that of the command.
fn outcomes(shown: &Finished) -> Vec<String> {
    let line = |result: &serde_json::Value| {
        format!("{} {} {}", word(&result["node"]), word(&result["service"]), ended(result))
    };
    list(&shown.document()["results"]).iter().map(line).collect()
}

/// The last batch counts too: a run whose last gate was cut short has not finished.
#[test]
fn the_last_gate_is_waited_for_again() {
    let cluster = Cluster::start(uniform(1));
    let running = cluster.begin(&format!("restart {COLLECTOR} -y -o jsonl --stable 10m"));
    running.until_printed("\"gate\"");
    running.signal("INT");
    let run = running.finish().expect(130);
    let result = run.events().into_iter().find(|event| event["event"] == "result").expect("expected a result");
    assert_eq!((ended(&result).as_str(), word(&result["message"])), ("changed", "interrupted before its gate was met"));
    // It does not stay up: what looked like a success is none.
    cluster.node("n01").set_fault(broken());
    assert!(cluster.node("n01").kill(ANALYTICS, COLLECTOR));
    cluster.wait_for("n01", ANALYTICS, COLLECTOR, State::Fatal);
    let run = runs(&cluster, "resume last -o json").expect(1);
    assert_eq!(run.outcomes(), ["n01 contrail-collector failed fatal"], "{run}");
    cluster.at_rest();
}

/// The same of a gate of the node: in a rollout, the next step waits for it, and a check is run again.
#[test]
fn a_check_that_was_cut_short_is_run_again() {
    let each = "each: [{name: restart, services: contrail-collector, action: restart}]";
    for work in ["services: contrail-collector, action: restart", "exec: 'true'", each] {
        let cluster = Cluster::start(uniform(2));
        let text = format!(
            "version: 1\ndefaults: {{stable: 0s}}\nsteps:\n\
             - {{name: first, role: analytics, nodes: n01, {work}, check: 'test -e /go || sleep 100000', gate: none}}\n\
             - {{name: second, role: analytics, services: contrail-topology, action: restart}}\n"
        );
        let rollout = cluster.write("rollout.yaml", text);
        let running = cluster.begin(&format!("rollout {} -y -o jsonl", rollout.display()));
        let is_checked = || cluster.node("n01").commands().running == 1 && cluster.collector("n01").starts > 0;
        eventually("the check runs", || (is_checked() && checks(&cluster) == 1).then_some(()));
        running.signal("INT");
        running.finish().expect(130);
        let started = cluster.collector("n01").starts;
        let running = Running::start(cluster.bare("runs resume last -o jsonl"));
        eventually("the check runs again", || (checks(&cluster) == 2).then_some(()));
        assert_eq!(cluster.counts(ANALYTICS, "contrail-topology"), [UNTOUCHED; 2], "{work}");
        running.signal("KILL");
        drop(running.finish());
        cluster.at_rest();
        cluster.node("n01").put_file("/go", "");
        let run = runs(&cluster, "resume last -o json").expect(0);
        assert_eq!(checks(&cluster), 3, "{work}\n{run}");
        assert_eq!(cluster.counts(ANALYTICS, "contrail-topology"), [RESTARTED; 2], "{work}\n{run}");
        assert_eq!(cluster.collector("n01").starts, started, "{work}\n{run}");
        assert!(run.results().iter().all(|result| result["outcome"] == "changed"), "{work}\n{run}");
        cluster.at_rest();
    }
}

/// How often the check was sent to n01.
fn checks(cluster: &Cluster) -> usize {
    cluster.counters("n01").execs.iter().filter(|command| command.contains("test -e /go")).count()
}

/// Nodes in flight are one batch again, before nodes that were not touched.
#[test]
fn nodes_in_flight_come_before_those_that_were_not_touched() {
    let cluster = Cluster::start(says(Introspect::NonFunctional("not yet".to_owned())));
    let line = format!("restart {COLLECTOR} -y -o jsonl --serial 2 --stable 0s --gate active --gate-timeout 10m");
    let running = cluster.begin(&line);
    running.until_printed("\"node\":\"n02\",\"address\"");
    running.signal("KILL");
    drop(running.finish());
    let running = Running::start(cluster.bare("runs resume last -o jsonl"));
    running.until_printed("\"gate\"");
    running.signal("INT");
    let run = running.finish().expect(130);
    assert_eq!(run.batches(), ["n01"], "{run}");
    assert_eq!(cluster.counts(ANALYTICS, COLLECTOR)[2], UNTOUCHED, "{run}");
    cluster.at_rest();
}

/// Within a sequence a first signal does not cut a gate short: what stands behind it relies on it.
#[test]
fn a_gate_within_a_sequence_is_waited_for() {
    let cluster = Cluster::start(says(Introspect::NonFunctional("not yet".to_owned())));
    let text = "version: 1\nsteps:\n- name: roll\n  role: analytics\n  serial: 1\n  stable: 0s\n  each:\n  \
        - {name: restart, services: contrail-collector, action: restart, gate: active, gate_timeout: 10m, stable: 0s}\n  \
        - {name: return, exec: 'echo back'}\n";
    let rollout = cluster.write("rollout.yaml", text);
    let running = cluster.begin(&format!("rollout {} -y -o jsonl", rollout.display()));
    running.until_printed("\"gate\"");
    running.signal("INT");
    running.until_said("Stopping");
    let sent = || cluster.counters("n01").execs.iter().any(|command| command.contains("echo back"));
    assert!(!sent());
    cluster.node("n01").set_introspect(COLLECTOR, PORT, Introspect::Functional);
    let run = running.finish().expect(130);
    let met = run.events().into_iter().filter(|event| event["event"] == "gate" && !event["met"].is_null());
    assert_eq!(met.map(|event| event["met"] == true).collect::<Vec<_>>(), [true], "{run}");
    assert!(sent(), "{run}");
    let run = runs(&cluster, "resume last -o json").expect(0);
    assert_eq!(cluster.counts(ANALYTICS, COLLECTOR), [RESTARTED; 3], "{run}");
    cluster.at_rest();
}

/// One line says which run is meant, and a dry run shows what would be done and touches neither node nor journal.
#[test]
fn the_run_that_is_meant_is_named_and_can_be_planned() {
    let cluster = Cluster::start(uniform(4).fault("n02", broken()));
    let first = stopped_at_n02(&cluster);
    let id = word(&first.json()["run"]).to_owned();
    let (connections, counts) = (cluster.connections(), cluster.counts(ANALYTICS, COLLECTOR));
    let listed = runs(&cluster, "list -o json").expect(0).stdout;
    for (verb, doing, planned) in [
        ("resume", "Resuming", "checked again first, and not changed: n02"),
        ("retry", "Retrying", "(3 nodes, 3 batches)"),
        ("undo", "Undoing", "step 1: start contrail-collector"),
    ] {
        let run = runs(&cluster, &format!("{verb} last --dry-run")).expect(0);
        let named = format!("{doing} run {id} (dry run): ctl restart {COLLECTOR} -y --rolling");
        assert!(run.stderr.contains(&named), "{run}");
        assert!(run.stdout.contains(planned), "{run}");
        let quiet = runs(&cluster, &format!("{verb} last --dry-run -q")).expect(0);
        assert_eq!(quiet.stderr, "", "{quiet}");
        runs(&cluster, &format!("{verb} last --dry-run -o json")).expect(0).document();
    }
    assert_eq!(cluster.connections(), connections, "a plan connected to a node");
    let live = runs(&cluster, "resume last --dry-run=live").expect(3);
    assert!(live.stdout.contains("n02"), "{live}");
    assert_eq!(runs(&cluster, "list -o json").expect(0).stdout, listed);
    // supervisord itself tries to start the one on n02 again.
    assert_eq!(cluster.counts(ANALYTICS, COLLECTOR)[2..], counts[2..]);
    let plan = runs(&cluster, "resume last --dry-run -o json").expect(0).document();
    let step = &plan["plan"]["steps"][0];
    assert_eq!(step["rechecks"], serde_json::json!(["n02"]));
    assert_eq!(step["batches"], serde_json::json!([["n03"], ["n04"]]));
    cluster.at_rest();
}

/// The list says what ended a run, and a retry counts its own nodes.
#[test]
fn the_list_says_what_ended_a_run() {
    let cluster = Cluster::start(uniform(4).fault("n02", broken()));
    stopped_at_n02(&cluster);
    let table = runs(&cluster, "list").expect(0);
    assert!(table.stdout.contains("stopped (failure limit)"), "{table}");
    let listed = runs(&cluster, "list -o json").expect(0).document();
    assert_eq!(
        (word(&listed["runs"][0]["state"]), word(&listed["runs"][0]["stopped_by"])),
        ("interrupted", "failure_limit")
    );
    cluster.node("n02").clear_fault();
    let run = runs(&cluster, "retry last -o json").expect(0);
    let listed = runs(&cluster, "list -o json").expect(0).document();
    assert_eq!(listed["runs"][0]["nodes"], 3, "{run}");
    cluster.at_rest();
}
