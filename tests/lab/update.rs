//! `update`: rereads the configuration, and applies only changes of the named services.

use std::time::Duration;

use contrail_lab::{Fault, Moment, Release, Role, State};

use crate::harness::{ANALYTICS, COLLECTOR, Cluster, ended, node, single, uniform, word};

fn cluster(fault: Option<Fault>) -> Cluster {
    let mut spec = node(Release::R3_2, [Role::Analytics]);
    spec.faults.extend(fault);
    Cluster::start(single(spec))
}

const TOPOLOGY: &str = "contrail-topology";

#[test]
fn nothing_has_changed() {
    for via in ["rpc", "supervisorctl"] {
        let cluster = cluster(None);
        let run = cluster.ctl(&format!("service {COLLECTOR} update -o json --via {via}")).expect(0);
        assert_eq!(run.outcomes(), ["n contrail-collector ok"], "{run}");
        let now = cluster.collector("n");
        assert_eq!((now.starts, now.stops), (1, 0), "{run}");
    }
}

/// Of all changes only the named ones are applied.
#[test]
fn only_what_is_named() {
    for via in ["rpc", "supervisorctl"] {
        let cluster = cluster(None);
        let on_node = || cluster.node("n");
        let before = (cluster.collector("n"), cluster.process("n", ANALYTICS, TOPOLOGY));
        on_node().change_program(ANALYTICS, COLLECTOR);
        on_node().change_program(ANALYTICS, TOPOLOGY);
        on_node().add_program(ANALYTICS, "new-one");
        on_node().add_program(ANALYTICS, "new-two");
        on_node().remove_program(ANALYTICS, "contrail-snmp-collector");
        on_node().remove_program(ANALYTICS, "contrail-query-engine");

        let names = format!("{COLLECTOR} new-one contrail-snmp-collector");
        let run = cluster.ctl(&format!("service {names} update -o json -w n --via {via}")).expect(0);
        assert_eq!(
            run.outcomes(),
            ["n contrail-collector changed", "n contrail-snmp-collector changed", "n new-one changed"],
            "{run}"
        );
        let now = cluster.collector("n");
        assert!(now.state == State::Running && now.pid != before.0.pid, "{run}");
        assert_eq!(run.result_of("n", COLLECTOR)["pid"], now.pid, "{run}");
        assert_eq!(cluster.process("n", ANALYTICS, "new-one").state, State::Running, "{run}");
        let listed = on_node().processes(ANALYTICS);
        let has = |name: &str| listed.iter().any(|listed| listed == name);
        assert!(!has("contrail-snmp-collector"), "{listed:?}");
        // Unnamed services are unchanged.
        assert_eq!(cluster.process("n", ANALYTICS, TOPOLOGY).pid, before.1.pid, "{run}");
        assert!(has("contrail-query-engine") && !has("new-two"), "{listed:?}");

        // `all` applies the other changes.
        let run = cluster.ctl(&format!("service all update -o json --via {via}")).expect(0);
        assert_ne!(cluster.process("n", ANALYTICS, TOPOLOGY).pid, before.1.pid, "{run}");
        assert_eq!(cluster.collector("n").pid, now.pid, "{run}");
        let changed: Vec<String> = run.outcomes().into_iter().filter(|line| line.ends_with("changed")).collect();
        assert_eq!(
            changed,
            ["n contrail-query-engine changed", "n contrail-topology changed", "n new-two changed"],
            "{run}"
        );
    }
}

#[test]
fn a_configuration_that_cannot_be_read() {
    for via in ["rpc", "supervisorctl"] {
        let cluster = cluster(Some(Fault::BadConfig));
        let run = cluster.ctl(&format!("service {COLLECTOR} update -o json --via {via}")).expect(1);
        assert_eq!(word(&run.result("n")["outcome"]), "failed", "{run}");
        assert!(word(&run.result("n")["failure"]["message"]).contains("supervisord_analytics.conf"), "{run}");
        assert_eq!((cluster.collector("n").starts, cluster.collector("n").stops), (1, 0), "{run}");
    }
}

/// A changed program that does not come up again.
#[test]
fn a_change_that_does_not_come_up() {
    let cluster = cluster(None);
    cluster.node("n").change_program(ANALYTICS, COLLECTOR);
    cluster.node("n").set_fault(Fault::Fatal(COLLECTOR.to_owned()));
    let run = cluster.ctl(&format!("service {COLLECTOR} update -o json")).expect(1);
    let result = ended(&run.result("n"));
    assert!(["failed fatal", "failed abnormal_termination"].contains(&result.as_str()), "{run}");
}

/// A service that is neither running nor in the configuration.
#[test]
fn a_program_that_nobody_knows() {
    let cluster = cluster(None);
    let run = cluster.ctl("service nonesuch update -o json").expect(1);
    assert_eq!(run.outcomes(), ["n nonesuch failed no_such_service"], "{run}");
    let run = cluster.ctl("service nonesuch update -o json -w n").expect(1);
    assert_eq!(run.outcomes(), ["n nonesuch failed no_such_service"], "{run}");
}

/// A group that was removed is added again over a new connection, exactly once.
#[test]
fn a_connection_cut_in_mid_update() {
    for via in ["rpc", "supervisorctl"] {
        let cluster = cluster(Some(Fault::DropMidAction { after: Moment::Stop, come_back: true }));
        let before = cluster.collector("n");
        cluster.node("n").change_program(ANALYTICS, COLLECTOR);
        let run = cluster.ctl(&format!("service {COLLECTOR} update -o json --via {via}")).expect(0);
        assert_eq!(run.outcomes(), ["n contrail-collector changed"], "{run}");
        let now = cluster.collector("n");
        assert!(now.state == State::Running && now.pid != before.pid, "{run}");
    }
}

/// The init wrapper cannot reread a configuration.
#[test]
fn not_by_the_init_wrapper() {
    let cluster = cluster(None);
    let run = cluster.ctl(&format!("service {COLLECTOR} update -o json --via service")).expect(1);
    assert_eq!(word(&run.result("n")["outcome"]), "failed", "{run}");
    assert!(word(&run.result("n")["failure"]["message"]).contains("--via rpc"), "{run}");
}

/// A program started by an update is subject to the gate of its batch, as after a restart: the next node is not
/// started.
#[test]
fn a_change_that_does_not_stay_up() {
    let unstable = Fault::Unstable { program: COLLECTOR.to_owned(), after: Duration::from_millis(300) };
    let closed = Fault::IntrospectClosed(COLLECTOR.to_owned());
    let gated = "--gate active --gate-timeout 1s --stable 0s";
    for (fault, options, expected) in [(unstable, "--stable 3s", "failed unstable"), (closed, gated, "failed gate")] {
        for via in ["rpc", "supervisorctl"] {
            let cluster = Cluster::start(uniform(2));
            for node in cluster.nodes() {
                node.change_program(ANALYTICS, COLLECTOR);
                node.set_fault(fault.clone());
            }
            let run = cluster.ctl(&format!("service {COLLECTOR} update -y -o json --rolling --via {via} {options}"));
            let run = run.expect(5);
            assert_eq!(ended(&run.result("n01")), expected, "{via}\n{run}");
            assert_eq!(word(&run.result("n02")["outcome"]), "not_started", "{via}\n{run}");
            assert_eq!(cluster.collector("n02").starts, 1, "{via}\n{run}");
        }
    }
}
