//! `ctl status` of a whole cluster, and its cost for the nodes.

use crate::harness::{Cluster, Instance, NodeSpec, Program};

/// Sixteen nodes are read without starting a process on any of them.
#[test]
fn status_over_rpc_opens_no_session() {
    let spec = NodeSpec::new(Instance::webui().with(Program::steady("contrail-webui")));
    let cluster = Cluster::of(16, &spec);
    let finished = cluster.ctl("status --via rpc -o json").expect(0);
    assert_eq!(finished.json()["summary"]["nodes"], 16, "{finished}");
    for node in cluster.nodes() {
        assert_eq!(finished.result_of(&node.name, "contrail-webui")["state"], "RUNNING", "{finished}");
        assert_eq!(node.connections(), 1, "{}", node.name);
        let log = node.sshd_log();
        assert!(log.contains("Accepted publickey"), "{log}");
        assert!(log.contains("ctype direct-streamlocal@openssh.com"), "{log}");
        assert!(!log.contains("ctype session"), "{log}");
        assert!(!log.contains("req exec"), "{log}");
    }

    // Proof that a session would be detected.
    cluster.ctl("service contrail-webui status --via supervisorctl -w a1").expect(0);
    let log = cluster.node("a1").sshd_log();
    assert!(log.contains("ctype session") && log.contains("req exec"), "{log}");
}

#[test]
fn everything_that_is_not_well_is_exit_3() {
    let instance =
        Instance::webui().with(Program::steady("contrail-webui")).with(Program::steady("contrail-webui-middleware"));
    let cluster = Cluster::of(2, &NodeSpec::new(instance));
    cluster.ctl("status").expect(0);
    cluster.node("a2").sh("supervisorctl -s unix:///var/run/supervisord_webui.sock stop contrail-webui");
    let finished = cluster.ctl("status -o json").expect(3);
    assert_eq!(finished.result_of("a2", "contrail-webui")["state"], "STOPPED", "{finished}");
    assert_eq!(
        finished.result_of("a2", "contrail-webui")["outcome"],
        "ok",
        "expected the results in JSON and on the screen: {finished}"
    );
    let table = cluster.ctl("status").expect(3);
    assert!(table.stdout.contains("\ncontrail-webui on a2: STOPPED ("), "{table}");
    assert!(cluster.ctl("status -w a1").expect(0).stdout.contains("\nall healthy on 1 node\n"), "{table}");
    let every = cluster.ctl("status --all").expect(3);
    assert!(every.stdout.starts_with("NODE ") && every.stdout.contains("contrail-webui-middleware"), "{every}");
    cluster.ctl("status contrail-webui-middleware").expect(0);
    cluster.ctl("service contrail-webui status").expect(3);
    cluster.ctl("service contrail-webui status -w a1").expect(0);
}

/// The fields that scripts may rely on: all present, null where they do not apply.
#[test]
fn the_json_document() {
    let cluster = Cluster::builder()
        .node("a1", NodeSpec::new(Instance::webui().with(Program::steady("contrail-webui"))))
        .refused("x1", "web-ui")
        .start();
    let finished = cluster.ctl("service contrail-webui restart -y -o json").expect(4);
    let document = finished.json();
    let keys = |value: &serde_json::Value| {
        let mut keys: Vec<String> = value.as_object().unwrap().keys().cloned().collect();
        keys.sort();
        keys
    };
    assert_eq!(
        keys(&document),
        [
            "action",
            "command",
            "elapsed_ms",
            "exit_code",
            "kept",
            "nodes",
            "results",
            "run",
            "schema",
            "selection",
            "services",
            "started",
            "summary"
        ]
    );
    assert_eq!(document["schema"], "ctl/1");
    assert_eq!(document["command"], "service");
    assert_eq!(document["action"], "restart");
    assert_eq!(document["services"], serde_json::json!(["contrail-webui"]));
    assert_eq!(document["exit_code"], 4);
    let fields = [
        "address",
        "batch",
        "duration_ms",
        "evidence",
        "failure",
        "functional",
        "functional_reason",
        "message",
        "node",
        "outcome",
        "pid",
        "role",
        "service",
        "state",
        "supervisor",
        "uptime_s",
        "version",
        "via",
    ];
    for result in document["results"].as_array().unwrap() {
        assert_eq!(keys(result), fields, "{finished}");
    }
    let good = finished.result("a1");
    assert_eq!(good["address"], cluster.node("a1").endpoint.ip().to_string().as_str());
    assert_eq!((&good["role"], &good["supervisor"]), (&"web-ui".into(), &"supervisor-webui".into()));
    assert_eq!((&good["via"], &good["state"]), (&"rpc".into(), &"RUNNING".into()));
    assert!(good["uptime_s"].is_u64() && good["duration_ms"].is_u64() && good["pid"].is_u64(), "{finished}");
    let bad = finished.result("x1");
    assert_eq!(bad["service"], "contrail-webui", "expected the service as requested");
    assert_eq!(keys(&bad["failure"]), ["hint", "kind", "message", "stage"], "{finished}");
    let mut summary = keys(&document["summary"]);
    summary.retain(|key| key != "nodes_by_outcome");
    assert_eq!(
        summary,
        [
            "changed",
            "failed",
            "nodes",
            "not_configured",
            "not_started",
            "ok",
            "results",
            "skipped",
            "timed_out",
            "unknown",
            "unreachable",
        ]
    );
    assert_eq!(
        document["summary"]["nodes_by_outcome"],
        serde_json::json!({"changed": 1, "unreachable": 1}),
        "{finished}"
    );
}

#[test]
fn a_node_in_maintenance_is_skipped() {
    let spec = NodeSpec::new(Instance::webui().with(Program::steady("contrail-webui")));
    let cluster = Cluster::builder()
        .node("a1", spec.clone())
        .node("a2", spec.inventory("maintenance: \"disk replaced\""))
        .start();
    let before = cluster.node("a2").process("contrail-webui");
    let finished = cluster.ctl("service contrail-webui restart -y -o json").expect(0);
    assert_eq!(finished.outcomes(), ["a1 contrail-webui changed", "a2 contrail-webui skipped"]);
    assert!(finished.result("a2")["message"].as_str().unwrap().contains("disk replaced"), "{finished}");
    assert_eq!(cluster.node("a2").process("contrail-webui"), before);
    assert_eq!(cluster.node("a2").connections(), 0);
}
