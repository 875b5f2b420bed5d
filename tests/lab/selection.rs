//! The selection of nodes and services, and the confirmation of changes.

use contrail_lab::{ClusterSpec, Release, Role, State};

use crate::harness::{ANALYTICS, COLLECTOR, Cluster, FAST, Running, ended, node, single, uniform, word};

fn demo() -> Cluster {
    Cluster::start(ClusterSpec::demo(12).timing(FAST))
}

/// The nodes that accepted a connection, by their names without the number.
fn contacted(cluster: &Cluster) -> Vec<String> {
    let nodes = cluster.nodes().iter().filter(|node| node.counters().connections > 0);
    let mut names: Vec<String> =
        nodes.map(|node| node.name().trim_end_matches(|char: char| char.is_ascii_digit()).to_owned()).collect();
    names.dedup();
    names
}

/// Without --role and --nodes, a service is looked up in the roles that the catalogue lists for it; the nodes' own
/// lists decide.
#[test]
fn a_service_goes_to_its_roles() {
    let cluster = demo();
    let run = cluster.ctl(&format!("service {COLLECTOR} restart -o json")).expect(0);
    assert_eq!(contacted(&cluster), ["a6s", "cfg", "web", "db"], "{run}");
    let by_outcome = &run.json()["summary"]["nodes_by_outcome"];
    assert_eq!(*by_outcome, serde_json::json!({"changed": 3, "not_configured": 5}), "{run}");
    for result in run.results() {
        let expected = if word(&result["node"]).starts_with("a6s") { "changed" } else { "not_configured" };
        assert_eq!(ended(&result), expected, "{run}");
    }
    // The table has only nodes that have the service; `wide` has all.
    let table = cluster.ctl(&format!("service {COLLECTOR} status")).expect(0);
    assert!(table.stdout.contains("a6s01") && !table.stdout.contains("db01"), "{table}");
    let wide = cluster.ctl(&format!("service {COLLECTOR} status -o wide")).expect(0);
    assert!(wide.stdout.contains("a6s01") && wide.stdout.contains("db01"), "{wide}");
}

#[test]
fn a_role_by_each_of_its_names() {
    let cluster = demo();
    for (role, nodes) in [
        ("analytics", "a6s"),
        ("collector", "a6s"),
        ("config", "cfg"),
        ("configuration", "cfg"),
        ("cfgm", "cfg"),
        ("control", "ctl"),
        ("web-ui", "web"),
        ("webui", "web"),
        ("compute", "c"),
        ("vrouter", "c"),
        ("database", "db"),
    ] {
        cluster.nodes().iter().for_each(contrail_lab::Node::reset_counters);
        let run = cluster.ctl(&format!("status -r {role} -o json")).expect(0);
        assert_eq!(contacted(&cluster), [nodes], "{role}\n{run}");
    }
}

/// Roles, node sets, and both.
#[test]
fn node_sets() {
    let cluster = demo();
    let groups = "groups: {rack1: \"a6s[01-02],db01\", rack2: \"@database!@rack1\"}\nnodes:\n";
    let inventory = cluster.write("groups.yaml", cluster.inventory().replace("nodes:\n", groups));
    for (options, expected) in [
        ("-w a6s[01-02]", "a6s01 a6s02"),
        ("-w a6s0*", "a6s01 a6s02 a6s03"),
        ("-w @rack1", "a6s01 a6s02 db01"),
        ("-w @rack2", "db02"),
        ("-w @analytics!a6s02", "a6s01 a6s03"),
        ("-w @rack1&@database", "db01"),
        ("-w @rack1^@database", "a6s01 a6s02 db02"),
        ("-w a6s[1-2]", ""),
        ("-r analytics -x a6s[02-03]", "a6s01"),
        ("-r analytics,database -w @rack1", "a6s01 a6s02 db01"),
        ("-r database -w @rack1", "db01"),
        ("-w web01,cfg01 -x web*", "cfg01"),
    ] {
        let code = if expected.is_empty() { 2 } else { 0 };
        let run =
            Running::start(cluster.command_with(&format!("ping -o json {options}"), &inventory)).finish().expect(code);
        if expected.is_empty() {
            // a6s1 and a6s01 are different nodes.
            assert!(run.stderr.contains("a6s"), "{run}");
            continue;
        }
        let mut nodes: Vec<String> = run.results().iter().map(|result| word(&result["node"]).to_owned()).collect();
        nodes.sort();
        nodes.dedup();
        assert_eq!(nodes.join(" "), expected, "{options}\n{run}");
    }
}

/// A node with two roles: the action goes to the supervisords of the selected role.
#[test]
fn a_role_limits_the_supervisords() {
    let cluster = Cluster::start(single(node(Release::R3_2, [Role::Analytics, Role::Control])));
    let run = cluster.ctl("status -r control -o json --via rpc").expect(0);
    assert!(run.results().iter().all(|result| result["supervisor"] == "supervisor-control"), "{run}");
    assert!(cluster.counters("n").rpc_calls.iter().all(|call| call.instance == "supervisor-control"), "{run}");
    let run = cluster.ctl("service all restart -r control -y -o json").expect(0);
    assert!(run.results().iter().all(|result| result["supervisor"] == "supervisor-control"), "{run}");
    assert_eq!(cluster.collector("n").starts, 1, "{run}");
    assert_eq!(cluster.process("n", "supervisor-control", "contrail-control").starts, 2, "{run}");
}

/// With a role or a node selected, a service is reported missing if it is not there. Without, any node may have it, but
/// at least one must.
#[test]
fn a_service_that_is_not_there() {
    let cluster = demo();
    for options in ["-r config", "-w cfg[01-02]"] {
        let run = cluster.ctl(&format!("service {COLLECTOR} restart {options} -o json")).expect(1);
        assert_eq!(
            run.outcomes(),
            ["cfg01 contrail-collector failed no_such_service", "cfg02 contrail-collector failed no_such_service"],
            "{run}"
        );
    }
    let run = cluster.ctl("service contrail-colector restart -r analytics -o json").expect(1);
    let hint = word(&run.result("a6s01")["failure"]["hint"]).to_owned();
    assert_eq!(ended(&run.result("a6s01")), "failed no_such_service", "{run}");
    assert!(hint.contains(COLLECTOR), "did you mean: {hint}");
    // No role has it: every node is queried, and the name is a mistake.
    let run = cluster.ctl("service nonesuch status -o json").expect(1);
    assert!(run.outcomes().iter().all(|line| line.ends_with(" nonesuch failed no_such_service")), "{run}");
    assert_eq!(run.json()["summary"]["nodes"], 12, "{run}");
    // Two services, one of which exists.
    let run = cluster.ctl(&format!("service {COLLECTOR} nonesuch status -w a6s01 -o json")).expect(1);
    assert_eq!(run.outcomes(), ["a6s01 contrail-collector ok", "a6s01 nonesuch failed no_such_service"], "{run}");
}

#[test]
fn globs_and_groups() {
    let cluster = Cluster::start(single(node(Release::R3_2, [Role::Analytics, Role::Config])));
    let services = |line: &str| -> Vec<String> {
        let run = cluster.ctl(&format!("{line} -o json --via rpc")).expect(0);
        let results = run.results().into_iter().filter(|result| result["outcome"] != "not_configured");
        let mut names: Vec<String> = results.map(|result| word(&result["service"]).to_owned()).collect();
        names.sort();
        names
    };
    assert_eq!(services("service contrail-api status"), ["contrail-api:0"]);
    assert_eq!(services("service contrail-api:0 status"), ["contrail-api:0"]);
    assert_eq!(services("service contrail-api:* status"), ["contrail-api:0"]);
    assert_eq!(services("service *-collector status"), ["contrail-collector", "contrail-snmp-collector"]);
    assert_eq!(services("service contrail-[ac]*-api status"), ["contrail-analytics-api"]);
    // `all` and globs match an instance only if they begin with `supervisor`.
    let everything = services("service all status");
    let on_node: usize =
        cluster.node("n").instances().iter().map(|instance| cluster.node("n").processes(instance).len()).sum();
    assert_eq!(everything.len(), on_node, "{everything:?}");
    assert!(!everything.iter().any(|name| name.starts_with("supervisor-")), "{everything:?}");
    assert_eq!(services("service s* status"), Vec::<String>::new());
    assert_eq!(
        services("service supervisor-* status"),
        ["supervisor-analytics", "supervisor-config", "supervisor-support-service"]
    );
}

/// An instance and one of its programs in the same command: both are restarted.
#[test]
fn an_instance_and_its_program() {
    let cluster = Cluster::start(uniform(1));
    let before = (cluster.collector("n01").pid, cluster.node("n01").supervisor_pid(ANALYTICS));
    let run = cluster.ctl(&format!("service {ANALYTICS} {COLLECTOR} restart -o json")).expect(0);
    assert_eq!(run.outcomes(), ["n01 contrail-collector changed", "n01 supervisor-analytics changed"], "{run}");
    let now = (cluster.collector("n01").pid, cluster.node("n01").supervisor_pid(ANALYTICS));
    assert!(now.0 != before.0 && now.1 != before.1 && now.1.is_some(), "{run}");
    assert_eq!(run.result_of("n01", COLLECTOR)["pid"], now.0, "{run}");
}

/// The action may also come first.
#[test]
fn the_action_comes_first_or_last() {
    let cluster = Cluster::start(uniform(1));
    for line in ["service restart contrail-collector", "service contrail-collector restart"] {
        cluster.ctl(line).expect(0);
    }
    assert_eq!(cluster.collector("n01").starts, 3);
}

/// A service that is named twice is acted on once.
#[test]
fn a_service_that_is_named_twice() {
    let cluster = Cluster::start(uniform(1));
    let run = cluster.ctl("service contrail-collector contrail-collector contrail-coll* restart -o json").expect(0);
    assert_eq!(run.outcomes(), ["n01 contrail-collector changed"], "{run}");
    assert_eq!(cluster.collector("n01").starts, 2, "{run}");
}

/// Nodes in maintenance are listed, but never connected to.
#[test]
fn maintenance() {
    let cluster = Cluster::start(uniform(3));
    let text = cluster.inventory().replace("n02: {", "n02: {maintenance: \"disk, ask Ana\", ");
    let inventory = cluster.write("maintenance.yaml", text);
    let run = Running::start(cluster.command_with("service contrail-collector restart -y -o json", &inventory));
    let run = run.finish().expect(0);
    assert_eq!(
        run.outcomes(),
        ["n01 contrail-collector changed", "n02 contrail-collector skipped", "n03 contrail-collector changed"]
    );
    assert!(word(&run.result("n02")["message"]).contains("disk, ask Ana"), "{run}");
    assert_eq!(cluster.counters("n02").connections, 0, "{run}");
    let table = Running::start(cluster.command_with("service contrail-collector restart -y", &inventory)).finish();
    assert!(table.expect(0).stdout.contains("disk, ask Ana"));
}

/// A change to the whole inventory requires confirmation, and is refused without a terminal.
#[test]
fn the_whole_inventory_needs_a_yes() {
    let cluster = Cluster::start(uniform(3));
    for line in [
        "service contrail-collector restart",
        "service contrail-collector restart -r analytics",
        "service contrail-collector stop -w n[01-03]",
        "service contrail-collector start -w *",
        "service contrail-collector update",
        "service all restart -o json",
    ] {
        let run = cluster.ctl(line).expect(2);
        assert!(run.stdout.is_empty(), "{run}");
        assert!(run.stderr.contains("-y") || run.stderr.contains("--yes"), "expected a hint with the fix: {run}");
    }
    assert_eq!(cluster.connections(), 0, "a node was contacted");
    assert_eq!(cluster.collector("n01").starts, 1);
    // A part of the inventory needs no confirmation, and neither does a read-only command.
    cluster.ctl("service contrail-collector restart -w n[01-02]").expect(0);
    cluster.ctl("service contrail-collector restart -x n01").expect(0);
    cluster.ctl("service contrail-collector status").expect(0);
    cluster.ctl("status").expect(0);
    for yes in ["-y", "--yes"] {
        cluster.ctl(&format!("service contrail-collector restart {yes}")).expect(0);
    }
    let starts: Vec<u32> = cluster.nodes().iter().map(|node| cluster.collector(node.name()).starts).collect();
    assert_eq!(starts, [4, 5, 4]);
    // An inventory of one node needs no confirmation.
    let alone = Cluster::start(uniform(1));
    alone.ctl("service contrail-collector restart").expect(0);
}

/// A mistake on the command line changes nothing.
#[test]
fn mistakes_touch_nothing() {
    let cluster = Cluster::start(uniform(2));
    for line in [
        "service contrail-collector restrat",
        "service restart contrail-collector stop",
        "service restart",
        "service contrail-collector restart -r analitics",
        "service contrail-collector restart -w n09",
        "service contrail-collector restart -w n[02-01]",
        "service contrail-collector restart -w @nogroup",
        "service contrail-collector restart -x n[01-02] -y",
        "service contrail-collector restart --rolling --serial 2 -y",
        "service contrail-collector restart --serial 0 -y",
        "service contrail-collector restart --serial=-1 -y",
        "service contrail-collector restart --serial 101% -y",
        "service contrail-collector restart --serial 0% -y",
        "service contrail-collector restart --serial abc -y",
        "service contrail-collector restart --serial 1,,2 -y",
        "service contrail-collector restart --max-failures x -y",
        "service contrail-collector restart --max-failures 101% -y",
        "service contrail-collector restart --max-unavailable 0 -y",
        "service contrail-collector restart --max-unavailable some -y",
        "service contrail-collector restart --pause soon -y",
        "service contrail-collector restart --gate up -y",
        "service contrail-collector restart --gate-timeout 0s -y",
        "service contrail-collector restart --stable soon -y",
        "service contrail-collector restart --dry-run=alive -y",
        "service contrail-collector status --serial 1",
        "service contrail-collector status --no-guard",
        "exec -y",
        "exec -y --",
        "service contrail-collector restart -y --timeout 0s",
        "service contrail-collector restart -y -f 0",
        "service contrail-collector restart -y -o html",
        "service contrail-collector restart -y --host-key no",
        "service contrail-collector restart -y -J bas/tion",
        "service contrail-collector restart -y -J bastion,,other",
        "service contrail-collector restart -y -J bastion:0",
        "service contrail-collector restart -y -K",
        "service a/b restart -y",
        "service contrail-[ restart -y",
    ] {
        let run = cluster.ctl(line).expect(2);
        assert!(run.stdout.is_empty() && !run.stderr.is_empty(), "{run}");
    }
    // ctl would read the options at the end as the file, so these stand alone.
    for (options, word) in [
        ("--ssh-config /etc/passwd", "/etc/passwd:1"),
        ("--ssh-config /nonexistent", "/nonexistent"),
        ("--known-hosts /nonexistent", "/nonexistent"),
    ] {
        let mut command = cluster.bare(&format!("service contrail-collector restart -y {options}"));
        command.arg("-i").arg(cluster.write("inventory.yaml", cluster.inventory()));
        let run = Running::start(command).finish().expect(2);
        assert!(run.stderr.contains(word), "{run}");
    }
    assert_eq!(cluster.connections(), 0, "a node was contacted");
}

/// An unsupported ssh_config option that would change the destination or the security is rejected, others cause a
/// warning; a bastion is never bypassed.
#[test]
fn what_is_not_honoured_is_refused_or_named() {
    let cluster = Cluster::start(uniform(2));
    std::fs::create_dir(cluster.path(".ssh")).expect("cannot create the directory");
    let run = |config: &str| {
        std::fs::write(cluster.path(".ssh/config"), config).expect("cannot write the file");
        let known_hosts = cluster.write("known_hosts", cluster.known_hosts());
        let mut command = cluster.bare(&format!("service {COLLECTOR} status -w n01"));
        command.arg("--known-hosts").arg(known_hosts).arg("--ssh-config").arg(cluster.path(".ssh/config"));
        command.arg("-i").arg(cluster.write("inventory.yaml", cluster.inventory()));
        Running::start(command).finish()
    };
    let refused = run("Host 127.*\n  CanonicalizeHostname yes\n").expect(2);
    assert!(refused.stderr.contains("CanonicalizeHostname") && refused.stderr.contains(".ssh/config:2"), "{refused}");
    let refused = run("Host n01\n  KnownHostsCommand /usr/bin/keys %H\n").expect(2);
    assert!(refused.stderr.contains("KnownHostsCommand"), "{refused}");
    let refused = run("Host *\n  ProxyJmup bastion\n").expect(2);
    assert!(refused.stderr.to_lowercase().contains("proxyjmup") && refused.stderr.contains(":2"), "{refused}");
    assert_eq!(cluster.connections(), 0, "a node was contacted");

    // Other options cause one warning.
    let named = run("Host *\n  RekeyLimit 1M\n  LogLevel DEBUG\n").expect(0);
    assert_eq!(named.stderr.matches("RekeyLimit").count(), 1, "{named}");
    assert!(!named.stderr.contains("LogLevel"), "{named}");
    // Options in a block that does not apply cause no warning.
    let quiet = run("Host elsewhere\n  CanonicalizeHostname yes\n  RekeyLimit 1M\n").expect(0);
    assert!(!quiet.stderr.contains("RekeyLimit"), "{quiet}");

    let before = cluster.connections();
    let behind = run("Host n01\n  ProxyJump no-such-bastion.invalid\n").expect(4);
    assert!(behind.stderr.contains("no-such-bastion.invalid"), "{behind}");
    assert_eq!(cluster.connections(), before, "a connection bypassed the bastion");
}

/// Starting a running service and stopping a stopped one both succeed.
#[test]
fn what_is_so_already_is_well() {
    let cluster = Cluster::start(uniform(1));
    let action = |verb: &str| cluster.ctl(&format!("service {COLLECTOR} {verb} -o json")).expect(0);
    let before = cluster.collector("n01");
    let changing = || {
        let calls = cluster.counters("n01").rpc_calls;
        calls.iter().filter(|call| call.method.contains("start") || call.method.contains("stop")).count()
    };
    let run = action("start");
    assert_eq!((run.outcomes(), changing()), (vec!["n01 contrail-collector ok".to_owned()], 0), "{run}");
    assert_eq!(cluster.collector("n01").pid, before.pid, "{run}");
    let run = action("stop");
    assert_eq!((run.outcomes(), changing()), (vec!["n01 contrail-collector changed".to_owned()], 1), "{run}");
    let run = action("stop");
    assert_eq!((run.outcomes(), changing()), (vec!["n01 contrail-collector ok".to_owned()], 1), "{run}");
    cluster.wait_for("n01", ANALYTICS, COLLECTOR, State::Stopped);
    let run = action("start");
    assert_eq!((run.outcomes(), changing()), (vec!["n01 contrail-collector changed".to_owned()], 2), "{run}");
    assert_eq!(cluster.collector("n01").starts, 2, "{run}");
}

/// supervisord before 3.1.0 refuses to stop a process between two attempts, and goes on trying to start it.
#[test]
fn a_stop_in_backoff_that_is_refused_is_not_a_stop() {
    for via in ["rpc", "supervisorctl", "service"] {
        let mut spec = node(Release::R2_20, [Role::Analytics]);
        spec.faults.push(contrail_lab::Fault::Backoff(COLLECTOR.to_owned()));
        let cluster = Cluster::start(single(spec));
        cluster.wait_for("n", ANALYTICS, COLLECTOR, State::Backoff);
        let run = cluster.ctl(&format!("service {COLLECTOR} stop -o json --via {via}")).expect(1);
        let result = run.result("n");
        assert_eq!(result["outcome"], "failed", "{via}\n{run}");
        let message = result["failure"]["message"].as_str().unwrap_or_default();
        assert!(message.starts_with("it was not stopped") && message.contains("it wasn't running"), "{via}\n{run}");
        assert!(matches!(word(&result["state"]), "BACKOFF" | "STARTING"), "{via}\n{run}");
    }
}

/// "already started" in BACKOFF does not mean running.
#[test]
fn already_started_in_backoff_is_not_running() {
    for via in ["rpc", "supervisorctl", "service"] {
        let cluster = Cluster::start(uniform(1).fault("n01", contrail_lab::Fault::Backoff(COLLECTOR.to_owned())));
        cluster.wait_for("n01", ANALYTICS, COLLECTOR, State::Backoff);
        let run = cluster.ctl(&format!("service {COLLECTOR} start -o json --via {via}")).expect(1);
        assert_eq!(ended(&run.result("n01")), "failed abnormal_termination", "{run}");
    }
}
