//! The parts of `ctl status` beyond supervisord's states, on real nodes. `glance.rs` covers every state; this file
//! covers the sources: ports, sshd restrictions, stray files, and services that exit repeatedly.

use serde_json::Value;

use crate::harness::{Cluster, Finished, Instance, Listen, NodeSpec, Program, eventually};

const CONF: &str = "/etc/contrail/supervisord_analytics.conf";

fn analytics(program: Program) -> NodeSpec {
    NodeSpec::new(Instance::analytics().with(program))
}

/// Functional state of a service and its reason, with `-` for null.
#[track_caller]
fn said(run: &Finished, node: &str, service: &str) -> String {
    let result = run.result_of(node, service);
    let field = |name: &str| result[name].as_str().unwrap_or("-").to_owned();
    format!("{} ({})", field("functional"), field("functional_reason"))
}

/// Kind and message of each finding of a node.
#[track_caller]
fn findings(run: &Finished, node: &str) -> Vec<String> {
    let document = run.json();
    let facts = document["nodes"].as_array().unwrap().iter().find(|facts| facts["node"] == node);
    let facts = facts.unwrap_or_else(|| panic!("no facts about {node}\n{run}"));
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    let all = facts["findings"].as_array().unwrap().iter();
    all.map(|finding| format!("{}: {}", text(&finding["kind"]), text(&finding["message"]))).collect()
}

/// sshd forwards to sockets but not to ports, a common setting: no functional state is reported.
#[test]
fn forwarding_to_ports_may_be_forbidden() {
    let spec = analytics(Program::introspecting("contrail-collector", 8089))
        .sshd("AllowTcpForwarding no\nAllowStreamLocalForwarding yes");
    let cluster = Cluster::of(1, &spec);
    cluster.node("a1").introspect("contrail-collector", "Non-Functional\nDatabase connection down");
    let run = cluster.ctl("status -o json").expect(0);
    assert_eq!(said(&run, "a1", "contrail-collector"), "- (-)");
    assert_eq!(
        findings(&run, "a1"),
        ["no_introspect: sshd forbids forwarding: the functional state of services is unknown"]
    );
}

/// sshd allows one session at a time.
#[test]
fn one_session_is_enough() {
    let instance = Instance::webui().with(Program::steady("contrail-webui"));
    let spec =
        NodeSpec::new(instance).and(Instance::control().with(Program::steady("contrail-dns"))).sshd("MaxSessions 1");
    let cluster = Cluster::of(1, &spec);
    for via in ["auto", "supervisorctl"] {
        let run = cluster.ctl(&format!("status -o json --via {via}")).expect(0);
        assert_eq!(run.outcomes(), ["a1 contrail-dns ok", "a1 contrail-webui ok"], "{via}");
        assert_eq!(findings(&run, "a1"), Vec::<String>::new(), "{via}");
    }
}

#[test]
fn a_port_that_the_node_was_told() {
    let other = Program::introspecting("contrail-query-engine", 8191);
    let spec =
        NodeSpec::new(Instance::analytics().with(Program::introspecting("contrail-collector", 8189)).with(other));
    let cluster = Cluster::of(1, &spec);
    let node = cluster.node("a1");
    node.sh("printf '[DEFAULT]\\n# http_server_port=8089\\nhttp_server_port = 8189\\n' >/etc/contrail/contrail-collector.conf");
    let run = cluster.ctl("status -o json").expect(3);
    assert_eq!(said(&run, "a1", "contrail-collector"), "active (-)");
    assert_eq!(said(&run, "a1", "contrail-query-engine"), "initializing (nothing is listening on port 8091)");
    // The command line takes precedence over the file.
    node.sh("printf '[DEFAULTS]\\nhttp_server_port=8192\\n' >/etc/contrail/contrail-query-engine.conf");
    node.sh("sed -i 's|^command=.*|& --http_server_port 8191|' /etc/contrail/supervisord_analytics_files/contrail-query-engine.ini");
    let run = cluster.ctl("status -o json").expect(0);
    assert_eq!(said(&run, "a1", "contrail-query-engine"), "active (-)");
}

/// The socket of a killed supervisord whose replacement listens elsewhere, as after an upgrade.
#[test]
fn a_socket_that_a_dead_supervisord_left() {
    let cluster = Cluster::of(
        1,
        &NodeSpec::new(Instance::analytics().listening(Listen::Tmp).with(Program::steady("contrail-broadview"))),
    );
    let node = cluster.node("a1");
    assert_eq!(findings(&cluster.ctl("status -o json").expect(0), "a1"), Vec::<String>::new());
    node.sh("kill -9 $(cat /var/run/supervisord-analytics.pid)");
    // Dead and not replaced: this is reported once, for the supervisord.
    let run = cluster.ctl("status -o json").expect(3);
    assert_eq!(run.outcomes(), ["a1 supervisor-analytics failed supervisor_down"], "{run}");
    assert_eq!(findings(&run, "a1"), Vec::<String>::new());
    node.sh(&format!("sed -i 's|/tmp/supervisord|/var/run/supervisord|' {CONF}; service supervisor-analytics start"));
    let run = eventually("the new supervisord", || {
        let run = cluster.ctl("status -o json");
        (run.outcomes() == ["a1 contrail-broadview ok"]).then_some(run)
    });
    assert_eq!(findings(&run, "a1"), ["stale_socket: nothing is listening on /tmp/supervisord_analytics.sock"]);
}

#[test]
fn who_does_not_stay_up() {
    let instance = Instance::analytics()
        .with(Program::restarting("contrail-collector"))
        .with(Program::steady("contrail-broadview"));
    let cluster = Cluster::of(1, &NodeSpec::new(instance));
    let log = || cluster.node("a1").read("/var/log/contrail/supervisord-analytics.log");
    eventually("three exits", || (log().matches("exited: contrail-collector (").count() > 2).then_some(()));
    for via in ["rpc", "supervisorctl"] {
        // It is repeatedly EXITED for a moment.
        let run = eventually("a status while it is up", || {
            let run = cluster.ctl(&format!("status -o json --via {via}")).expect(3);
            (run.result_of("a1", "contrail-collector")["state"] == "RUNNING").then_some(run)
        });
        let said = said(&run, "a1", "contrail-collector");
        assert!(
            said.starts_with("failed (its pid keeps changing: it exited ")
                && said.ends_with(" s (exit status 0; expected))"),
            "{via}: {said}"
        );
        assert_eq!(run.result_of("a1", "contrail-broadview")["functional"], Value::Null, "{via}");
    }
}

/// Without a log, two reads reveal it.
#[test]
fn who_does_not_stay_up_though_nobody_noted_it() {
    let instance = Instance::analytics()
        .with(Program::running("contrail-collector", "/bin/sleep 1.5").set("startsecs", "0").set("autorestart", "true"))
        .with(Program::steady("contrail-broadview"));
    let cluster = Cluster::of(1, &NodeSpec::new(instance));
    let node = cluster.node("a1");
    let before = node.supervisord_pid("supervisor-analytics");
    node.sh(&format!("sed -i 's|^logfile=.*|logfile=/dev/null|' {CONF}; service supervisor-analytics restart"));
    eventually("another supervisord", || {
        node.supervisord_pid("supervisor-analytics").filter(|pid| Some(*pid) != before)
    });
    node.wait_for("contrail-broadview", "RUNNING");
    let run = eventually("a status while it is up", || {
        let run = cluster.ctl("status -o json");
        let result = run.result_of("a1", "contrail-collector");
        let is_told = said(&run, "a1", "contrail-collector").starts_with("failed (it does not stay up: ");
        (result["state"] == "RUNNING" && is_told).then_some(run)
    });
    assert_eq!(run.result_of("a1", "contrail-broadview")["functional"], Value::Null, "{run}");
}

/// Only root may read these directories: the scan uses sudo.
#[test]
fn a_node_is_searched_through_sudo() {
    let spec = analytics(Program::steady("contrail-broadview"));
    let cluster = Cluster::builder().node("a1", spec).defaults("user: ctlops").start();
    cluster.node("a1").sh("echo >/var/crashes/core.contrail-collec.7; chmod 0700 /var/crashes");
    let run = cluster.ctl("status -o json");
    assert_eq!(findings(&run, "a1"), ["not_searched: the user may not read /var/crashes"]);
    let run = cluster.ctl("status -o json --sudo").expect(0);
    assert_eq!(findings(&run, "a1"), ["core_files: core files in /var/crashes"]);
}
