//! `--dry-run=live`: the state of the nodes affects the plan and the exit code; nothing is changed.

use contrail_lab::{ClusterSpec, Fault, NodeSpec, Release, Role, State};
use serde_json::Value;

use crate::harness::{ANALYTICS, COLLECTOR, Cluster, FAST, Finished, uniform};

fn plan(run: &Finished) -> Value {
    run.document()["plan"].clone()
}

/// An unreachable node is in no batch, and the exit code reports it.
#[test]
fn what_cannot_be_reached() {
    let cluster = Cluster::start(uniform(3).fault("n02", Fault::Refused));
    for words in [format!("service {COLLECTOR} restart --dry-run=live -r analytics"), "exec --dry-run=live".to_owned()]
    {
        let mut command = cluster.command(&format!("{words} -o json"));
        if words.starts_with("exec") {
            command.args(["--", "true"]);
        }
        let run = crate::harness::Running::start(command).finish().expect(4);
        let plan = plan(&run);
        let step = &plan["steps"][0];
        assert_eq!(step["unreachable"], serde_json::json!(["n02"]), "{run}");
        assert_eq!(step["batches"], serde_json::json!([["n01", "n03"]]), "{run}");
        assert_eq!(plan["live"]["unreachable"][0]["node"], "n02", "{run}");
        assert_eq!(plan["live"]["unreachable"][0]["kind"], "refused", "{run}");
    }
    let run = cluster.ctl(&format!("service {COLLECTOR} restart --dry-run=live -r analytics")).expect(4);
    assert!(run.stdout.contains("cannot be reached: n02 (refused: "), "{run}");
    assert!(run.stdout.contains("batch 1: n[01,03] (2)"), "{run}");
    // Runs in batches allow no failed node, and one has failed, so that nothing would be started.
    let run = cluster.ctl(&format!("service {COLLECTOR} restart --dry-run=live -r analytics --rolling -o json"));
    let plan = plan(&run.expect(4));
    assert_eq!(plan["steps"][0]["batches"], serde_json::json!([]));
    assert_eq!(plan["steps"][0]["not_started"], serde_json::json!(["n01", "n03"]));
    assert_eq!(cluster.collector("n01").starts, 1);
}

/// A service that is already down: exit code 3, as for a status.
#[test]
fn what_is_down() {
    let cluster = Cluster::start(uniform(2).fault("n02", Fault::Fatal(COLLECTOR.to_owned())));
    cluster.wait_for("n02", ANALYTICS, COLLECTOR, State::Fatal);
    let run = cluster.ctl(&format!("service {COLLECTOR} restart --dry-run=live -r analytics -o json")).expect(3);
    let down = &plan(&run)["live"]["down"];
    assert_eq!(down.as_array().map(Vec::len), Some(1), "{run}");
    assert_eq!(
        (&down[0]["node"], &down[0]["service"], &down[0]["state"]),
        (&"n02".into(), &COLLECTOR.into(), &"FATAL".into())
    );
    let run = cluster.ctl(&format!("service {COLLECTOR} restart --dry-run=live -r analytics")).expect(3);
    assert!(run.stdout.contains("down now: n02 (contrail-collector is FATAL)"), "{run}");
    // Services that were not selected do not count.
    cluster.ctl("service contrail-topology restart --dry-run=live -r analytics").expect(0);
}

/// The plan shows what an update would change, and applies nothing.
#[test]
fn what_an_update_would_change() {
    for via in ["rpc", "supervisorctl"] {
        let cluster = Cluster::start(uniform(2));
        let before = cluster.collector("n02");
        cluster.node("n02").change_program(ANALYTICS, COLLECTOR);
        cluster.node("n02").add_program(ANALYTICS, "new-one");
        cluster.node("n02").add_program(ANALYTICS, "new-two");
        let line = format!("service {COLLECTOR} new-one update --dry-run=live -r analytics --via {via}");
        let run = cluster.ctl(&format!("{line} -o json")).expect(0);
        let updates = &plan(&run)["live"]["updates"];
        let of = |node: &str, what: &str| -> Value {
            let updates = updates.as_array().into_iter().flatten();
            updates.filter(|update| update["node"] == node).map(|update| update[what].clone()).collect()
        };
        assert_eq!(of("n01", "changed"), serde_json::json!([[]]), "{run}");
        assert_eq!(of("n02", "changed"), serde_json::json!([[COLLECTOR]]), "{run}");
        assert_eq!(of("n02", "added"), serde_json::json!([["new-one"]]), "{run}");
        let run = cluster.ctl(&line).expect(0);
        assert!(run.stdout.contains("n01 (supervisor-analytics: changes nothing)"), "{run}");
        let said = "n02 (supervisor-analytics: adds new-one; restarts contrail-collector)";
        assert!(run.stdout.contains(said), "{run}");
        assert_eq!(cluster.collector("n02").pid, before.pid);
        assert!(cluster.node("n02").process(ANALYTICS, "new-one").is_none());
    }
}

/// For an unreadable configuration, the hint names the node and the services.
#[test]
fn a_configuration_that_cannot_be_read() {
    let cluster = Cluster::start(uniform(1).fault("n01", Fault::BadConfig));
    let run = cluster.ctl(&format!("service {COLLECTOR} new-one update --dry-run=live -o json -w n01"));
    let failure = plan(&run)["live"]["updates"][0]["failure"].clone();
    assert_eq!(failure["kind"], "config", "{run}");
    let hint = format!("`ctl service {COLLECTOR} new-one update -w n01`");
    assert!(failure["hint"].as_str().is_some_and(|text| text.contains(&hint)), "{run}");
}

/// If init reports nothing about one service, its node has not failed: the plan contains the other services.
#[test]
fn a_service_that_init_says_nothing_of() {
    let nodes = vec![NodeSpec::new("d1", Release::R3_2).roles([Role::Database])];
    let cluster = Cluster::start(ClusterSpec::new(nodes).timing(FAST));
    cluster.node("d1").set_fault(Fault::CommandRefused);
    let services = "contrail-database contrail-database-nodemgr";
    let run = cluster.ctl(&format!("service {services} restart --dry-run=live -o json -w d1")).expect(1);
    let plan = plan(&run);
    assert_eq!(plan["live"]["unreachable"], serde_json::json!([]), "{run}");
    let down = &plan["live"]["down"];
    assert_eq!((down.as_array().map(Vec::len), &down[0]["service"]), (Some(1), &"contrail-database".into()), "{run}");
    assert_eq!(plan["steps"][0]["batches"], serde_json::json!([["d1"]]), "{run}");
}

/// A signal ends the run, with the results so far.
#[test]
fn a_signal_ends_it() {
    let cluster = Cluster::start(uniform(2).fault("n02", Fault::SilentAfterAccept));
    let line = format!("service {COLLECTOR} restart --dry-run=live -r analytics -o json --connect-timeout 50s -v");
    let run = cluster.begin(&line);
    run.until_said("n01");
    run.signal("INT");
    let run = run.finish().expect(130);
    assert!(run.stdout.contains("\"steps\""), "{run}");
}
