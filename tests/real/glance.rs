//! The status of a whole cluster: twelve real nodes that have every state of Contrail and supervisord at once, and the
//! output of `ctl status` for each.
//!
//! [`STATES`] lists the states with the expected output: in JSON, and in the row of `-o contrail-status`. No state is
//! transient: a program that starts needs days for it, one that stops never ends, one that is retried cannot be
//! spawned. Only supervisord's UNKNOWN is missing, which stands for an internal error and cannot be produced.
//!
//! The tests first query a node's own supervisord for the state, so that no expected row relies on `ctl`.

use serde_json::Value;

use crate::harness::{Cluster, Finished, Instance, Listen, NodeSpec, Program};

/// A state, its location, and its expected output.
struct State {
    /// The name of the state, as in supervisord (in capitals) or contrail-status.
    what: &'static str,
    node: &'static str,
    service: &'static str,
    /// `state` of the JSON; empty for null.
    state: &'static str,
    /// `functional` of the JSON; empty for null.
    functional: &'static str,
    /// Part of `functional_reason`; empty for null, [`ANY`] for any value.
    reason: &'static str,
    /// The row of `-o contrail-status` after the name.
    row: &'static str,
}

const fn running(
    what: &'static str,
    place: (&'static str, &'static str),
    functional: &'static str,
    reason: &'static str,
    row: &'static str,
) -> State {
    State { what, node: place.0, service: place.1, state: "RUNNING", functional, reason, row }
}

const fn process(
    place: (&'static str, &'static str),
    state: &'static str,
    functional: &'static str,
    reason: &'static str,
    row: &'static str,
) -> State {
    State { what: state, node: place.0, service: place.1, state, functional, reason, row }
}

/// A reason in supervisord's words, which contains a date.
const ANY: &str = "*";

/// Every state.
const STATES: &[State] = &[
    // The states of supervisord.
    process(("an2", "contrail-collector"), "STOPPED", "inactive", "", "inactive"),
    process(("an2", "contrail-broadview"), "STOPPED", "inactive", "Not started", "inactive (Not started)"),
    process(("an2", "contrail-snmp-collector"), "STARTING", "initializing", "", "initializing"),
    running("RUNNING, without an introspect port", ("ctl1", "contrail-named"), "", "", "active "),
    process(
        ("an2", "contrail-query-engine"),
        "BACKOFF",
        "failed",
        "can't find command '/nonexistent/program'",
        "failed (BACKOFF: can't find command '/nonexistent/program')",
    ),
    process(("an2", "contrail-topology"), "STOPPING", "inactive", "", "inactive (STOPPING"),
    process(("an2", "contrail-alarm-gen"), "EXITED", "failed", ANY, "failed (EXITED: "),
    process(("an2", "contrail-analytics-api"), "EXITED", "failed", "code 3", "failed (EXITED: Bad exit code 3)"),
    process(
        ("an2", "contrail-analytics-nodemgr"),
        "FATAL",
        "failed",
        "can't find command '/nonexistent/program'",
        "failed (can't find command '/nonexistent/program')",
    ),
    process(("db2", "kafka"), "FATAL", "failed", "Exited too quickly", "failed (Exited too quickly"),
    // The states that contrail-status derives for a running service.
    running("active", ("cfg1", "contrail-api:0"), "active", "", "active "),
    running(
        "active, from the second of several NodeStatus",
        ("db2", "contrail-database-nodemgr"),
        "active",
        "",
        "active ",
    ),
    running(
        "initializing, with its own reason",
        ("an1", "contrail-collector"),
        "initializing",
        "Database:an1:Global connection down",
        "initializing (Database:an1:Global connection down)",
    ),
    running(
        "initializing, with some connections up",
        ("an1", "contrail-query-engine"),
        "initializing",
        "Collector:c-2, Redis-Query:r connection down",
        "initializing (Collector:c-2, Redis-Query:r connection down)",
    ),
    running(
        "initializing, with a ToR switch",
        ("c1", "contrail-vrouter-agent"),
        "initializing",
        "ToR:tor-7 connection down",
        "initializing (ToR:tor-7 connection down)",
    ),
    running(
        "initializing, connection refused",
        ("cfg2", "contrail-api:0"),
        "initializing",
        "nothing is listening on port 8084",
        "initializing (nothing is listening on port 8084)",
    ),
    running(
        "initializing, HTTP error",
        ("an1", "contrail-analytics-api"),
        "initializing",
        "port 8090 answers with HTTP status 500",
        "initializing (port 8090 answers with HTTP status 500 ",
    ),
    running(
        "initializing, without a NodeStatus",
        ("an1", "contrail-snmp-collector"),
        "initializing",
        "port 5920 answers without a NodeStatus",
        "initializing (port 5920 answers without a NodeStatus)",
    ),
    running(
        "initializing, with a NodeStatus that has no process_status",
        ("cfg2", "contrail-config-nodemgr"),
        "initializing",
        "port 8100 answers with a NodeStatus that has no process_status",
        "initializing (port 8100 answers with a NodeStatus that has no process_status)",
    ),
    running(
        "initializing, with an empty process_status",
        ("an1", "contrail-alarm-gen"),
        "initializing",
        "port 5995 answers with an empty process_status",
        "initializing (port 5995 answers with an empty process_status)",
    ),
    running(
        "initializing, reply is not HTTP",
        ("an1", "contrail-topology"),
        "initializing",
        "port 5921 does not speak HTTP",
        "initializing (port 5921 does not speak HTTP)",
    ),
    running(
        "initializing, endless reply",
        ("an1", "contrail-analytics-nodemgr"),
        "initializing",
        "port 8104 answers with more than 1048576 bytes",
        "initializing (port 8104 answers with more than 1048576 bytes)",
    ),
    running(
        "initializing, truncated XML",
        ("c2", "contrail-vrouter-nodemgr"),
        "initializing",
        "port 8102 answers with invalid or incomplete XML",
        "initializing (port 8102 answers with invalid or incomplete XML",
    ),
    running(
        "initializing, connection closed",
        ("c2", "contrail-vrouter-agent"),
        "initializing",
        "port 8085 closed the connection",
        "initializing (port 8085 closed the connection",
    ),
    running("backup", ("cfg2", "contrail-schema"), "backup", "", "backup "),
    running("backup", ("cfg2", "contrail-svc-monitor"), "backup", "", "backup "),
    running("backup", ("cfg2", "contrail-device-manager"), "backup", "", "backup "),
    running("timeout", ("cfg2", "contrail-discovery"), "timeout", "", "timeout "),
];

fn cluster() -> Cluster {
    let asked = Program::introspecting;
    let database = |kafka: Program| {
        let instance = Instance::database().with(asked("contrail-database-nodemgr", 8103)).with(kafka);
        NodeSpec::new(instance).init_service("contrail-database")
    };
    let config = Instance::config().with(Program::steady("ifmap")).with(asked("contrail-config-nodemgr", 8100));
    let master = config
        .clone()
        .with(asked("contrail-api", 8084).workers(1))
        .with(asked("contrail-schema", 8087))
        .with(asked("contrail-svc-monitor", 8088))
        .with(asked("contrail-device-manager", 8096))
        .with(asked("contrail-discovery", 5997));
    let stand_by = config
        .with(Program::steady("contrail-api").workers(1))
        .with(Program::steady("contrail-schema"))
        .with(Program::steady("contrail-svc-monitor"))
        .with(Program::steady("contrail-device-manager"))
        .with(asked("contrail-discovery", 5997));
    let rabbit = || Instance::support_service().with(Program::steady("rabbitmq-server"));
    let talkers = Instance::analytics()
        .with(asked("contrail-collector", 8089))
        .with(asked("contrail-query-engine", 8091))
        .with(asked("contrail-analytics-api", 8090))
        .with(asked("contrail-alarm-gen", 5995))
        .with(asked("contrail-snmp-collector", 5920))
        .with(asked("contrail-topology", 5921))
        .with(asked("contrail-analytics-nodemgr", 8104));
    let missing = |name| Program::running(name, "/nonexistent/program").set("startretries", "0");
    let in_every_state = Instance::analytics()
        .with(Program::steady("contrail-collector"))
        .with(Program::steady("contrail-broadview").set("autostart", "false"))
        .with(Program::starting("contrail-snmp-collector"))
        .with(Program::deaf("contrail-topology").set("stopwaitsecs", "1000000"))
        .with(Program::backing_off("contrail-query-engine"))
        .with(Program::exits_at_once("contrail-alarm-gen", 0))
        .with(Program::exits_at_once("contrail-analytics-api", 3))
        .with(missing("contrail-analytics-nodemgr"));
    let control = || {
        Instance::control()
            .with(asked("contrail-control", 8083))
            .with(asked("contrail-control-nodemgr", 8101))
            .with(Program::steady("contrail-dns"))
            .with(Program::steady("contrail-named"))
    };
    let webui =
        || Instance::webui().with(Program::steady("contrail-webui")).with(Program::steady("contrail-webui-middleware"));
    let vrouter = || {
        Instance::vrouter().with(asked("contrail-vrouter-agent", 8085)).with(asked("contrail-vrouter-nodemgr", 8102))
    };
    Cluster::builder()
        .sections(
            "roles:\n  billing: {supervisor: supervisor-billing, socket: /var/run/supervisord_billing.sock, \
             services: [invoicer]}",
        )
        .node("db1", database(Program::steady("kafka")))
        .node("db2", database(Program::dies_at_once("kafka", 0)))
        .node("cfg1", NodeSpec::new(master).and(rabbit()))
        .node("cfg2", NodeSpec::new(stand_by).and(rabbit()))
        .node("an1", NodeSpec::new(talkers))
        .node("an2", NodeSpec::new(in_every_state))
        .node("ctl1", NodeSpec::new(control()))
        .node("ctl2", NodeSpec::new(control().listening(Listen::Tmp)))
        .node("web1", NodeSpec::new(webui()))
        .node("web2", NodeSpec::new(webui()).and(control().unlisted()).lacking("analytics"))
        .node("c1", NodeSpec::new(vrouter()))
        .node(
            "c2",
            NodeSpec::new(vrouter().listening(Listen::Tcp)).and(Instance::billing().with(Program::steady("invoicer"))),
        )
        .refused("gone", "compute")
        .start()
}

/// Brings every node into the states of [`STATES`], and waits until its own supervisord reports them.
fn arrange(cluster: &Cluster) {
    let an1 = cluster.node("an1");
    an1.introspect("contrail-collector", "Non-Functional\nDatabase:an1:Global connection down");
    an1.introspect(
        "contrail-query-engine",
        "Connections\nCollector\tc-2\tDown\nDatabase\td-1\tUp\nRedis-Query\tr\tInitializing",
    );
    an1.introspect("contrail-analytics-api", "Status\n500");
    an1.introspect("contrail-alarm-gen", "EmptyList");
    an1.introspect("contrail-snmp-collector", "NoNodeStatus");
    an1.introspect("contrail-topology", "Garbage");
    an1.introspect("contrail-analytics-nodemgr", "Huge");
    cluster.node("db2").introspect("contrail-database-nodemgr", "Several");
    cluster.node("cfg2").introspect("contrail-discovery", "Hang");
    cluster.node("cfg2").introspect("contrail-config-nodemgr", "NoProcesses");
    cluster.node("c1").introspect("contrail-vrouter-agent", "ToR\nDown");
    cluster.node("c2").introspect("contrail-vrouter-agent", "Close");
    cluster.node("c2").introspect("contrail-vrouter-nodemgr", "Cut");

    let an2 = cluster.node("an2");
    an2.sh("supervisorctl -s unix:///var/run/supervisord_analytics.sock stop contrail-collector");
    an2.begin_to_stop("contrail-topology");
    cluster.node("db2").sh("service contrail-database stop");
    for state in STATES.iter().filter(|state| !state.state.is_empty()) {
        cluster.node(state.node).wait_for(state.service, state.state);
    }
    // Findings of a node, which do not belong to a service.
    an1.sh("echo >/var/crashes/core.contrail-collec.1234; echo >/var/crashes/core.contrail-query-.99; echo >/var/crashes/note");
    cluster
        .node("ctl1")
        .sh("python3 -S -c 'import socket; socket.socket(socket.AF_UNIX).bind(\"/tmp/supervisord_control.sock\")'");
    let ctl2 = cluster.node("ctl2");
    ctl2.sh("rm /tmp/supervisord_control.sock");
    cluster.node("web1").sh("kill -9 $(cat /var/run/supervisord_webui.pid)");
}

/// A field of a result, empty for null.
fn field<'a>(result: &'a Value, name: &str) -> &'a str {
    result[name].as_str().unwrap_or_default()
}

/// The rows of a node in `-o contrail-status`, without the header of the node and the empty row after the last.
fn rows_of<'a>(text: &'a str, node: &str) -> Vec<&'a str> {
    let head = format!("{node}:");
    let rows = text.lines().skip_while(|line| *line != head).skip(1);
    let mut rows: Vec<&str> = rows.take_while(|line| !is_head(line)).collect();
    rows.pop_if(|last| last.is_empty());
    rows
}

fn is_head(line: &str) -> bool {
    line.ends_with(':') && !line.contains(' ')
}

#[test]
fn every_state_is_shown_right() {
    let cluster = cluster();
    arrange(&cluster);
    let json = cluster.ctl("status -x gone -o json").expect(3);
    let text = cluster.ctl("status -x gone -o contrail-status").expect(3);
    let wrong: Vec<String> = STATES.iter().flat_map(|state| what_is_wrong(state, &json, &text)).collect();
    assert!(wrong.is_empty(), "{}\n{json}\n{text}", wrong.join("\n"));
    supervisords_are_told_apart(&json, &text);
    findings_are_told(&json, &text);
    exit_codes_tell(&cluster);
}

/// The differences between the output and the expected state.
fn what_is_wrong(wanted: &State, json: &Finished, text: &Finished) -> Vec<String> {
    let State { what, node, service, state, functional, reason, row } = wanted;
    let mut wrong = Vec::new();
    let result = json.result_of(node, service);
    let told = field(&result, "functional_reason");
    let said = match *reason {
        "" => told.is_empty(),
        ANY => true,
        part => told.contains(part),
    };
    if field(&result, "state") != *state || field(&result, "functional") != *functional || !said {
        wrong.push(format!("{what}: {result}"));
    }
    let row = format!("{service:<30}{row}");
    let rows = rows_of(&text.stdout, node);
    if !rows.iter().any(|line| line.starts_with(&row)) {
        wrong.push(format!("{what}: no row `{row}` among {rows:#?}"));
    }
    wrong
}

/// Supervisords that work, are dead, have lost their socket, or do not exist; and services run by init.
fn supervisords_are_told_apart(json: &Finished, text: &Finished) {
    for (node, service, kind, message, row) in [
        (
            "web1",
            "supervisor-webui",
            "supervisor_down",
            "the socket exists but nothing is listening on it",
            "inactive (supervisor-webui: the socket exists but nothing is listening on it",
        ),
        (
            "ctl2",
            "supervisor-control",
            "supervisor_down",
            "but its socket is gone",
            "inactive (supervisor-control runs (pid ",
        ),
        (
            "web2",
            "supervisor-analytics",
            "supervisor_missing",
            "the node has no supervisor-analytics",
            "inactive (disabled on boot) (the node has no supervisor-analytics",
        ),
    ] {
        let result = json.result_of(node, service);
        assert_eq!(result["failure"]["kind"], kind, "{json}");
        assert!(field(&result["failure"], "message").contains(message), "{json}");
        let row = format!("{:<30}{row}", format!("{service}:"));
        let rows = rows_of(&text.stdout, node);
        let at = rows.iter().position(|line| line.starts_with(&row)).unwrap_or_else(|| panic!("{row}\n{text}"));
        // No rows are invented for the programs of a supervisord that cannot be queried.
        assert_eq!(rows.get(at + 1).copied().unwrap_or_default(), "", "{text}");
    }
    for (node, rows) in [
        ("db1", ["== Contrail Database ==", "contrail-database:            active"].as_slice()),
        ("db1", &["== Contrail Supervisor Database ==", "supervisor-database:          active"]),
        ("db2", &["== Contrail Database ==", "contrail-database:            inactive"]),
        ("cfg1", &["== Contrail Config ==", "supervisor-config:            active"]),
        ("cfg1", &["== Contrail Support Services ==", "supervisor-support-service:   active"]),
        ("an1", &["== Contrail Analytics ==", "supervisor-analytics:         active"]),
        ("ctl1", &["== Contrail Control ==", "supervisor-control:           active"]),
        ("web2", &["== Contrail Web UI ==", "supervisor-webui:             active"]),
        ("c1", &["== Contrail vRouter ==", "supervisor-vrouter:           active"]),
        (
            "c2",
            &[
                "== Role billing ==",
                "supervisor-billing:           active",
                "invoicer                      active              ",
            ],
        ),
    ] {
        let shown = rows_of(&text.stdout, node);
        assert!(shown.windows(rows.len()).any(|window| window == rows), "{node}: {rows:?}\n{text}");
    }
    let heads: Vec<&str> = text.stdout.lines().filter(|line| is_head(line)).collect();
    let nodes = ["db1", "db2", "cfg1", "cfg2", "an1", "an2", "ctl1", "ctl2", "web1", "web2", "c1", "c2"];
    assert_eq!(heads, nodes.map(|node| format!("{node}:")), "expected the order of the inventory");
}

/// The findings of a node with this kind: message and details of each.
fn findings(json: &Finished, node: &str, kind: &str) -> Vec<(String, Vec<String>)> {
    let document = json.json();
    let nodes = document["nodes"].as_array().unwrap_or_else(|| panic!("no nodes in the document\n{json}"));
    let facts =
        nodes.iter().find(|facts| facts["node"] == node).unwrap_or_else(|| panic!("no facts about {node}\n{json}"));
    let all = facts["findings"].as_array().unwrap();
    let of_kind = all.iter().filter(|finding| finding["kind"] == kind);
    let words = |value: &Value| value.as_str().unwrap().to_owned();
    of_kind
        .map(|finding| (words(&finding["message"]), finding["details"].as_array().unwrap().iter().map(words).collect()))
        .collect()
}

/// The stray files of a node.
fn findings_are_told(json: &Finished, text: &Finished) {
    let cores = ["/var/crashes/core.contrail-collec.1234", "/var/crashes/core.contrail-query-.99"];
    let [(_, details)] = findings(json, "an1", "core_files").try_into().unwrap();
    assert_eq!(details, cores);
    let rows = rows_of(&text.stdout, "an1");
    let title = "========Run time service failures=============";
    let at = rows.iter().position(|line| *line == title).unwrap_or_else(|| panic!("{text}"));
    assert_eq!(&rows[at + 1..], cores, "{text}");

    let [(_, details)] = findings(json, "ctl1", "stale_socket").try_into().unwrap();
    assert_eq!(details, ["/tmp/supervisord_control.sock"]);
    let [(message, _)] = findings(json, "web2", "unlisted_role").try_into().unwrap();
    assert!(message.contains("control"), "{message}");
    for (node, word) in [("ctl1", "stale_socket: "), ("web2", "unlisted_role: ")] {
        let rows = rows_of(&text.stdout, node);
        assert!(rows.iter().any(|line| line.starts_with(word)), "{node}: {word}\n{text}");
    }
    for node in ["db1", "cfg1", "c1"] {
        for kind in ["core_files", "stale_socket", "unlisted_role", "no_introspect", "not_searched"] {
            assert_eq!(findings(json, node, kind), [], "{node} {kind}");
        }
    }
}

/// The exit codes for scripts.
fn exit_codes_tell(cluster: &Cluster) {
    for (line, code) in [
        ("status -w db1,cfg1", 0),
        // A service on standby counts as healthy.
        ("status contrail-schema contrail-svc-monitor contrail-device-manager -r config", 0),
        // Initializing, a timeout, and each state other than RUNNING.
        ("status contrail-api -w cfg2", 3),
        ("status contrail-discovery -w cfg2", 3),
        ("status contrail-collector -w an2", 3),
        ("status contrail-snmp-collector -w an2", 3),
        ("status contrail-query-engine -w an2", 3),
        ("status contrail-topology -w an2", 3),
        ("status contrail-alarm-gen -w an2", 3),
        ("status contrail-analytics-nodemgr -w an2", 3),
        // supervisord dead, without its socket, or missing.
        ("status -w web1", 3),
        ("status -w ctl2", 3),
        ("status -w web2 -r analytics", 3),
    ] {
        cluster.ctl(line).expect(code);
    }
    let gone = cluster.ctl("status -w c1,gone -o contrail-status").expect(4);
    let rows = rows_of(&gone.stdout, "gone");
    assert!(rows.len() == 1 && rows[0].starts_with("unreachable (refused: "), "{gone}");
    assert!(rows_of(&gone.stdout, "c1").contains(&"supervisor-vrouter:           active"), "{gone}");
}
