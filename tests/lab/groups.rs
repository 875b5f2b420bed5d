//! Several processes of one program, and programs whose stop restarts their whole instance.

use contrail_lab::{Fault, Node, NodeSpec, ProcessSnapshot, Release, Role, State};

use crate::harness::{CONFIG, Cluster, ended, node, single, word};

fn config(release: Release, workers: u8) -> NodeSpec {
    let mut spec = node(release, [Role::Config]);
    spec.api_workers = workers;
    spec
}

/// The starts and stops that a node's supervisords received, `stop contrail-api:0`, in order.
fn actions(node: &Node) -> Vec<String> {
    let calls = node.counters().rpc_calls.into_iter();
    calls
        .filter_map(|call| {
            let verb = match call.method.as_str() {
                "supervisor.stopProcess" => "stop",
                "supervisor.startProcess" => "start",
                "supervisor.stopProcessGroup" => "stop group",
                "supervisor.startProcessGroup" => "start group",
                _ => return None,
            };
            Some(format!("{verb} {}", call.args.first()?.trim_matches('"')))
        })
        .collect()
}

fn api(cluster: &Cluster, number: u8) -> ProcessSnapshot {
    cluster.process("n", CONFIG, &format!("contrail-api:{number}"))
}

/// One after the other, so that the service always stays available.
#[test]
fn workers_are_restarted_one_after_the_other() {
    for line in ["service contrail-api restart", "service contrail-api:1 contrail-api:0 restart"] {
        let mut spec = config(Release::R3_2, 2);
        spec.cascades = false;
        let cluster = Cluster::start(single(spec));
        let before = [api(&cluster, 0), api(&cluster, 1)];
        let run = cluster.ctl(&format!("{line} -o json --via rpc")).expect(0);
        assert_eq!(run.outcomes(), ["n contrail-api:0 changed", "n contrail-api:1 changed"], "{run}");
        assert_eq!(
            actions(cluster.node("n")),
            ["stop contrail-api:0", "start contrail-api:0", "stop contrail-api:1", "start contrail-api:1"],
            "{run}"
        );
        for (number, before) in before.iter().enumerate() {
            let now = api(&cluster, u8::try_from(number).expect("expected a digit"));
            assert!(now.state == State::Running && now.pid != before.pid && (now.starts, now.stops) == (2, 1), "{run}");
            assert_eq!(run.result_of("n", &format!("contrail-api:{number}"))["pid"], now.pid, "{run}");
        }
    }
}

/// The second worker is left unchanged if the first does not come up.
#[test]
fn a_worker_that_fails_keeps_the_next_alive() {
    for via in ["rpc", "supervisorctl"] {
        let spec = config(Release::R3_2, 2).fault(Fault::Fatal("contrail-api:0".to_owned()));
        let cluster = Cluster::start(single(spec));
        let before = api(&cluster, 1);
        let run = cluster.ctl(&format!("service contrail-api restart -o json --via {via}")).expect(5);
        assert_eq!(run.outcomes(), ["n contrail-api:0 failed fatal", "n contrail-api:1 not_started gate"], "{run}");
        let now = api(&cluster, 1);
        assert_eq!((now.pid, now.starts, now.stops, now.state), (before.pid, 1, 0, State::Running), "{run}");
    }
}

/// An action on one process affects no other process.
#[test]
fn one_worker_of_two() {
    let mut spec = config(Release::R3_2, 2);
    spec.cascades = false;
    let cluster = Cluster::start(single(spec));
    let before = api(&cluster, 0);
    let run = cluster.ctl("service contrail-api:1 restart -o json").expect(0);
    assert_eq!(run.outcomes(), ["n contrail-api:1 changed"], "{run}");
    assert_eq!(api(&cluster, 0).pid, before.pid, "{run}");
    assert_eq!(api(&cluster, 1).starts, 2, "{run}");
    // The init wrapper cannot restart one process, and reports this instead of restarting both.
    let run = cluster.ctl("service contrail-api:1 restart -o json --via service").expect(1);
    assert_eq!(word(&run.configured("n")["outcome"]), "failed", "{run}");
    assert_eq!(api(&cluster, 0).pid, before.pid, "{run}");
    assert_eq!(api(&cluster, 1).starts, 2, "{run}");
}

/// A wrapper restarts all workers of its program, once.
#[test]
fn workers_through_their_wrapper() {
    let mut spec = config(Release::R3_2, 2);
    spec.cascades = false;
    let cluster = Cluster::start(single(spec));
    let run = cluster.ctl("service contrail-api restart -o json --via service").expect(0);
    assert_eq!(run.outcomes(), ["n contrail-api:0 changed", "n contrail-api:1 changed"], "{run}");
    for number in [0, 1] {
        let now = api(&cluster, number);
        assert_eq!((now.starts, now.stops, now.state), (2, 1, State::Running), "{run}");
    }
    let restarts = cluster.counters("n").execs.iter().filter(|command| command.contains("restart")).count();
    assert_eq!(restarts, 1, "{run}");
}

/// Contrail's node manager restarts the instance when the API server stops. The restart is verified anyway.
#[test]
fn a_restart_that_restarts_the_instance() {
    for (release, via) in [(Release::R3_0, "rpc"), (Release::R3_0, "supervisorctl"), (Release::R2_20, "rpc")] {
        let cluster = Cluster::start(single(config(release, 1)));
        let before = (api(&cluster, 0), cluster.node("n").supervisor_pid(CONFIG));
        let run = cluster.ctl(&format!("service contrail-api restart -o json --via {via}")).expect(0);
        let result = run.configured("n");
        assert_eq!(ended(&result), "changed", "{run}");
        let message = word(&result["message"]);
        assert!(
            message.contains(CONFIG) && message.contains("restarted"),
            "expected the result to mention the restart of the instance: {run}"
        );
        let now = (api(&cluster, 0), cluster.node("n").supervisor_pid(CONFIG));
        assert!(now.1.is_some() && now.1 != before.1, "expected the lab to restart the instance\n{run}");
        assert!(now.0.state == State::Running && now.0.pid != before.0.pid, "{run}");
        assert_eq!(result["pid"], now.0.pid, "{run}");
    }
}

/// Without a node manager it is an ordinary restart.
#[test]
fn a_restart_without_a_cascade() {
    let mut spec = config(Release::R3_0, 1);
    spec.cascades = false;
    let cluster = Cluster::start(single(spec));
    let before = cluster.node("n").supervisor_pid(CONFIG);
    let run = cluster.ctl("service contrail-api restart -o json").expect(0);
    assert_eq!((ended(&run.configured("n")).as_str(), word(&run.configured("n")["message"])), ("changed", ""), "{run}");
    assert_eq!(cluster.node("n").supervisor_pid(CONFIG), before, "{run}");
    assert_eq!(api(&cluster, 0).starts, 2, "{run}");
}

/// The worker came up and did not stay up: RUNNING once is not enough within the window.
#[test]
fn a_worker_that_does_not_stay_up() {
    let unstable =
        Fault::Unstable { program: "contrail-api:0".to_owned(), after: std::time::Duration::from_millis(400) };
    let mut spec = config(Release::R3_0, 1).fault(unstable);
    spec.cascades = false;
    let cluster = Cluster::start(single(spec));
    let run = cluster.ctl("service contrail-api restart -o json").expect(1);
    assert_eq!(ended(&run.configured("n")), "failed unstable", "{run}");
}

/// A stop that does not last is not a success.
#[test]
fn a_stop_that_something_undoes() {
    let cluster = Cluster::start(single(config(Release::R3_0, 1)));
    let run = cluster.ctl("service contrail-api stop -o json").expect(1);
    assert_eq!(ended(&run.configured("n")), "failed unstable", "{run}");
    assert!(
        word(&run.configured("n")["failure"]["hint"]).contains(CONFIG),
        "expected the hint to name the service to stop\n{run}"
    );
    cluster.wait_for("n", CONFIG, "contrail-api:0", State::Running);
    // Without a node manager the stop lasts.
    let mut quiet = config(Release::R3_0, 1);
    quiet.cascades = false;
    let cluster = Cluster::start(single(quiet));
    let run = cluster.ctl("service contrail-api stop -o json").expect(0);
    assert_eq!(ended(&run.configured("n")), "changed", "{run}");
    assert_eq!(api(&cluster, 0).state, State::Stopped, "{run}");
}
