//! Faults on nodes and on the connections to them, and their results.

use std::time::Duration;

use crate::harness::{Cluster, Finished, HostKey, Instance, Listen, NodeSpec, Program, eventually};

fn analytics(program: Program) -> NodeSpec {
    NodeSpec::new(Instance::analytics().with(program).with(Program::steady("contrail-analytics-api")))
}

fn steady() -> NodeSpec {
    analytics(Program::steady("contrail-collector"))
}

/// Sixteen nodes, five of which fail in five ways.
#[test]
fn eleven_of_sixteen() {
    let mut cluster = Cluster::builder()
        .nodes("g", 11, &steady())
        .refused("x1", "analytics")
        .silent("x2", "analytics")
        .node("x3", steady())
        .host_key("x3", HostKey::Changed)
        .node("x4", analytics(Program::deaf("contrail-collector")))
        .node("x5", analytics(Program::deaf("contrail-collector")))
        .start();
    let before: Vec<u32> = cluster.nodes().iter().map(|node| node.process("contrail-collector").unwrap().pid).collect();
    let run = cluster.ctl_start("service contrail-collector restart --role analytics -y -o json --timeout 20s");
    cluster.node("x5").wait_for("contrail-collector", "STOPPING");
    cluster.node_mut("x5").refuse();
    cluster.node("x5").cut_connections();
    let finished = run.finish().expect(4);

    let document = finished.json();
    assert_eq!(document["summary"]["nodes"], 16, "{finished}");
    assert_eq!(document["results"].as_array().unwrap().len(), 16, "{finished}");
    assert_eq!(document["exit_code"], 4, "{finished}");
    for (node, before) in cluster.nodes().iter().zip(before).filter(|(node, _)| node.name.starts_with('g')) {
        let result = finished.result(&node.name);
        let now = node.process("contrail-collector").unwrap();
        assert_eq!(result["outcome"], "changed", "{result:#}");
        assert_eq!(result["pid"], now.pid, "{result:#}");
        assert!(now.pid != before && now.state == "RUNNING", "{result:#}");
    }
    let outcome = |node: &str| {
        let result = finished.result(node);
        format!("{} {}", result["outcome"].as_str().unwrap(), result["failure"]["kind"].as_str().unwrap_or("-"))
    };
    assert_eq!(outcome("x1"), "unreachable refused", "{finished}");
    assert_eq!(outcome("x2"), "unreachable banner", "{finished}");
    assert_eq!(outcome("x3"), "unreachable host_key_changed", "{finished}");
    assert_eq!(outcome("x4"), "timed_out timed_out", "{finished}");
    assert_eq!(outcome("x5"), "unknown connection_lost", "{finished}");
    for result in finished.results().iter().filter(|result| result["outcome"] != "changed") {
        assert!(!result["failure"]["message"].as_str().unwrap().is_empty(), "{result:#}");
    }
}

/// After a connection is lost during an action, ctl reconnects and reads the result of the action.
#[test]
fn a_cut_connection_is_made_again() {
    let cluster = Cluster::of(2, &analytics(Program::slow_to_stop("contrail-collector", 2)));
    let before = cluster.node("a1").process("contrail-collector").unwrap();
    let run = cluster.ctl_start("service contrail-collector restart -y -o json");
    cluster.node("a1").wait_for("contrail-collector", "STOPPING");
    cluster.node("a1").cut_connections();
    let finished = run.finish().expect(0);
    assert_eq!(finished.outcomes(), ["a1 contrail-collector changed", "a2 contrail-collector changed"], "{finished}");
    let after = cluster.node("a1").process("contrail-collector").unwrap();
    assert!(after.state == "RUNNING" && after.pid != before.pid, "{finished}");
    assert_eq!(finished.result("a1")["pid"], after.pid, "{finished}");
    // One connection for the action, one to read: the action was not repeated.
    let log = cluster.node("a1").read("/var/log/contrail/supervisord-analytics.log");
    assert_eq!(log.matches("stopped: contrail-collector").count(), 1, "{log}");
}

/// The same for a plain stop. Its result can be read, but it must not be sent again.
#[test]
fn a_cut_stop_is_read_again() {
    let cluster = Cluster::of(1, &analytics(Program::slow_to_stop("contrail-collector", 2)));
    let run = cluster.ctl_start("service contrail-collector stop -o json");
    cluster.node("a1").wait_for("contrail-collector", "STOPPING");
    cluster.node("a1").cut_connections();
    let finished = run.finish().expect(0);
    assert_eq!(finished.outcomes(), ["a1 contrail-collector changed"], "{finished}");
    assert_eq!(finished.result("a1")["state"], "STOPPED", "{finished}");
}

/// Programs that fail to start, with each backend.
fn bad_starts(options: &str) {
    let instance = Instance::webui()
        .with(Program::running("contrail-webui", "/nonexistent/contrail-webui").set("autostart", "false"))
        .with(Program::dies_at_once("contrail-webui-middleware", 1).set("autostart", "false"))
        .with(Program::steady("redis-webui"));
    let cluster = Cluster::of(1, &NodeSpec::new(instance));
    let run = |line: &str, code| cluster.ctl(&format!("{line} -o json {options}")).expect(code);
    let kind = |finished: &Finished| {
        let result = finished.result("a1");
        assert_eq!(result["outcome"], "failed", "{finished}");
        assert!(!result["failure"]["message"].as_str().unwrap().is_empty(), "{finished}");
        assert!(result["failure"]["hint"].is_string(), "{finished}");
        result["failure"]["kind"].as_str().unwrap().to_owned()
    };
    assert_eq!(kind(&run("service contrail-webui start", 1)), "spawn_error");
    // For a program that exits at once, supervisord 4 answers SPAWN_ERROR, supervisord 3 ABNORMAL_TERMINATION; and it
    // may have given up when the state is read.
    let died = ["spawn_error", "abnormal_termination", "fatal"];
    let start = kind(&run("service contrail-webui-middleware start", 1));
    assert!(died.contains(&start.as_str()), "{start}");
    // A restart of a FATAL program tries again, and fails again.
    cluster.node("a1").wait_for("contrail-webui-middleware", "FATAL");
    let restart = kind(&run("service contrail-webui-middleware restart", 1));
    assert!(died.contains(&restart.as_str()), "{restart}");
    cluster.node("a1").wait_for("contrail-webui-middleware", "FATAL");
    let status = run("service contrail-webui-middleware status", 3);
    assert_eq!(status.result("a1")["state"], "FATAL", "{status}");
    // Healthy services are not affected by failed ones.
    let all = run("service all start", 1);
    assert_eq!(all.result_of("a1", "redis-webui")["outcome"], "ok", "{all}");
}

#[test]
fn bad_starts_over_rpc() {
    bad_starts("--via rpc");
}

#[test]
fn bad_starts_through_supervisorctl() {
    bad_starts("--via supervisorctl");
}

#[test]
fn bad_starts_through_service() {
    bad_starts("--via service");
}

/// "already started" is not a success while the program is in BACKOFF.
#[test]
fn backoff_is_not_running() {
    let cluster = Cluster::of(1, &analytics(Program::dies_at_once("contrail-collector", 1000)));
    for via in ["rpc", "supervisorctl", "service"] {
        eventually("BACKOFF or STARTING", || {
            cluster.node("a1").process("contrail-collector").filter(|process| process.state == "BACKOFF")
        });
        let finished = cluster.ctl(&format!("service contrail-collector start -o json --via {via}")).expect(1);
        assert_eq!(finished.result("a1")["outcome"], "failed", "{finished}");
        let kind = finished.result("a1")["failure"]["kind"].clone();
        assert!(["unstable", "abnormal_termination", "fatal"].iter().any(|word| kind == *word), "{finished}");
    }
}

#[test]
fn a_supervisord_that_is_down() {
    let cluster = Cluster::of(2, &steady());
    let pid = cluster.node("a2").supervisord_pid("supervisor-analytics").unwrap();
    cluster.node("a2").sh(&format!("kill -9 {pid}"));
    for line in ["status", "service contrail-collector status", "service contrail-collector status --via supervisorctl"]
    {
        let finished = cluster.ctl(&format!("{line} -o json")).expect(3);
        let results = finished.results();
        let down: Vec<_> = results.iter().filter(|result| result["node"] == "a2").collect();
        assert!(!down.is_empty(), "{finished}");
        assert!(down.iter().all(|result| result["failure"]["kind"] == "supervisor_down"), "{finished}");
        assert!(results.iter().any(|result| result["node"] == "a1" && result["outcome"] == "ok"), "{finished}");
    }
    let restart = cluster.ctl("service contrail-collector restart -y -o json").expect(1);
    assert_eq!(restart.outcomes(), ["a1 contrail-collector changed", "a2 contrail-collector failed supervisor_down"]);
}

/// A cleanup of /tmp removes the socket while supervisord keeps running: the hint must not suggest to start it.
#[test]
fn a_supervisord_whose_socket_is_gone() {
    let instance = Instance::analytics().listening(Listen::Tmp).with(Program::steady("contrail-collector"));
    let cluster = Cluster::of(2, &NodeSpec::new(instance));
    let pid = cluster.node("a1").supervisord_pid("supervisor-analytics").unwrap();
    cluster.node("a1").sh("rm /tmp/supervisord_analytics.sock");
    let dead = cluster.node("a2").supervisord_pid("supervisor-analytics").unwrap();
    cluster.node("a2").sh(&format!("kill -9 {dead}; rm /tmp/supervisord_analytics.sock"));
    let finished = cluster.ctl("status -o json").expect(3);
    for (node, message, hint) in [
        ("a1", format!("runs (pid {pid}), but its socket is gone"), "restart"),
        ("a2", "is not running".into(), "start"),
    ] {
        let failure = &finished.result(node)["failure"];
        assert_eq!(failure["kind"], "supervisor_down", "{finished}");
        assert!(failure["message"].as_str().unwrap().contains(&message), "{finished}");
        let hinted = failure["hint"].as_str().unwrap();
        assert!(hinted.contains(&format!("ctl service supervisor-analytics {hint}")), "{finished}");
    }
}

#[test]
fn a_service_that_nobody_has() {
    let cluster = Cluster::of(2, &steady());
    let by_hand = cluster.ctl("service contrail-nonesuch restart --role analytics -y -o json").expect(1);
    assert_eq!(
        by_hand.outcomes(),
        ["a1 contrail-nonesuch failed no_such_service", "a2 contrail-nonesuch failed no_such_service"]
    );
    let node_by_hand = cluster.ctl("service contrail-nonesuch restart -w a1 -o json").expect(1);
    assert_eq!(node_by_hand.outcomes(), ["a1 contrail-nonesuch failed no_such_service"]);
    // Without --role and --nodes every node is queried. If no node has the service, the name is a mistake.
    let nowhere = cluster.ctl("service contrail-nonesuch status -o json").expect(1);
    assert_eq!(nowhere.outcomes(), by_hand.outcomes());
}

/// The initial manual page lists the collector for config and web-ui too; the nodes' own lists decide.
#[test]
fn what_the_nodes_list_is_the_truth() {
    let cluster = Cluster::builder()
        .node("a1", steady())
        .node("w1", NodeSpec::new(Instance::webui().with(Program::steady("contrail-webui"))))
        .start();
    let finished = cluster.ctl("service contrail-collector restart -y -o json").expect(0);
    assert_eq!(finished.outcomes(), ["a1 contrail-collector changed", "w1 contrail-collector not_configured"]);
    assert_eq!(finished.json()["summary"]["not_configured"], 1, "{finished}");
}

#[test]
fn sudo_that_is_not_allowed() {
    let cluster = Cluster::of(1, &steady());
    let finished = cluster.ctl("service contrail-collector restart -o json -u ctlguest --sudo").expect(1);
    assert_eq!(finished.outcomes(), ["a1 contrail-collector failed sudo"]);
    let finished = cluster.ctl("service contrail-collector restart -o json -u ctlguest").expect(1);
    assert_eq!(finished.outcomes(), ["a1 contrail-collector failed permission"]);
}

/// RHEL's sudoers required a terminal, which `ssh host sudo …` does not have.
#[test]
fn sudo_that_wants_a_terminal() {
    let cluster = Cluster::of(1, &steady().sudoers("Defaults requiretty"));
    let finished = cluster.ctl("service contrail-collector restart -o json -u ctlops --sudo").expect(1);
    assert_eq!(finished.outcomes(), ["a1 contrail-collector failed sudo"]);
    let failure = finished.result("a1")["failure"].to_string();
    assert!(failure.contains("tty") || failure.contains("terminal"), "{finished}");
}

#[test]
fn forwarding_that_is_forbidden() {
    let cluster = Cluster::of(1, &steady().sshd("AllowStreamLocalForwarding no\nAllowTcpForwarding no"));
    let finished = cluster.ctl("service contrail-collector restart -o json").expect(0);
    assert_eq!(finished.result("a1")["outcome"], "changed", "{finished}");
    assert_eq!(finished.result("a1")["via"], "supervisorctl", "{finished}");
    let told = cluster.ctl("service contrail-collector status -v").expect(0);
    assert!(told.stderr.contains("not by XML-RPC"), "expected the reason with -v\n{told}");
    // A closed route to supervisord must not be reported as supervisor_down.
    let strict = cluster.ctl("service contrail-collector restart -o json --via rpc").expect(1);
    assert_ne!(strict.result("a1")["failure"]["kind"], "supervisor_down", "{strict}");
}

/// A hanging node takes no longer than the timeout, and does not affect the others.
#[test]
fn a_hanging_stop_is_timed_out() {
    for via in ["rpc", "supervisorctl"] {
        let cluster =
            Cluster::builder().node("a1", analytics(Program::deaf("contrail-collector"))).node("a2", steady()).start();
        let finished =
            cluster.ctl(&format!("service contrail-collector restart -y -o json --timeout 10s --via {via}")).expect(1);
        // On a busy machine no time may be left to query the state again; it is then reported as unknown.
        let outcomes = finished.outcomes();
        let of_the_deaf = outcomes.first().map(String::as_str);
        let is_told = of_the_deaf == Some("a1 contrail-collector timed_out timed_out")
            || (via == "supervisorctl" && of_the_deaf == Some("a1 contrail-collector unknown timed_out"));
        assert!(is_told && outcomes.get(1).is_some_and(|other| other == "a2 contrail-collector changed"), "{finished}");
        // The run ends by its own timeout, well before supervisord's ten minutes.
        assert!(finished.took < Duration::from_secs(50), "{finished}");
    }
}
