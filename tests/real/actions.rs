//! start, stop, restart, status and update of services that work, with each backend.

use serde_json::Value;

use crate::harness::{Cluster, Instance, Listen, Node, NodeSpec, Process, Program, eventually};

fn analytics() -> Instance {
    Instance::analytics().with(Program::steady("contrail-collector")).with(Program::steady("contrail-analytics-api"))
}

fn processes(cluster: &Cluster, name: &str) -> Vec<Process> {
    cluster.nodes().iter().map(|node| node.process(name).unwrap()).collect()
}

/// Asserts that every result has this outcome, and the process state that supervisord reports.
#[track_caller]
fn agrees(result: &Value, node: &Node, outcome: &str) {
    let real = node.process(result["service"].as_str().unwrap()).unwrap();
    assert_eq!(result["outcome"], outcome, "{result:#}");
    assert_eq!(result["state"], real.state.as_str(), "{result:#}");
    if real.state == "RUNNING" {
        assert_eq!(result["pid"], real.pid, "{result:#}");
    } else {
        assert!(result["pid"].is_null(), "{result:#}");
    }
    assert!(result["failure"].is_null(), "{result:#}");
}

/// Restart, status, two stops, two starts: an action without effect is `ok`, every other one `changed`, and only the
/// named service is affected.
fn life_of_a_service(cluster: &Cluster, options: &str, via: &str) {
    let run = |action: &str, outcome: &str| {
        let finished = cluster.ctl(&format!("service contrail-collector {action} -y -o json {options}")).expect(0);
        let results = finished.results();
        assert_eq!(results.len(), cluster.nodes().len(), "{finished}");
        for node in cluster.nodes() {
            let result = finished.result(&node.name);
            agrees(&result, node, outcome);
            assert_eq!(result["via"], via, "{finished}");
        }
    };
    let bystanders = processes(cluster, "contrail-analytics-api");
    let before = processes(cluster, "contrail-collector");
    run("restart", "changed");
    let after = processes(cluster, "contrail-collector");
    for (before, after) in before.iter().zip(&after) {
        assert_eq!(after.state, "RUNNING");
        assert_ne!(before.pid, after.pid);
    }
    run("status", "ok");
    run("start", "ok");
    assert_eq!(processes(cluster, "contrail-collector"), after);
    run("stop", "changed");
    assert!(processes(cluster, "contrail-collector").iter().all(|process| process.state == "STOPPED"));
    run("stop", "ok");
    run("start", "changed");
    assert!(processes(cluster, "contrail-collector").iter().all(|process| process.state == "RUNNING"));
    // A restart of a stopped service starts it.
    cluster.node("a1").sh(&format!("supervisorctl -s {} stop contrail-collector", address(cluster)));
    run("restart", "changed");
    assert_eq!(processes(cluster, "contrail-analytics-api"), bystanders);
}

fn address(cluster: &Cluster) -> &'static str {
    if cluster.node("a1").inside("/tmp/supervisord_analytics.sock").exists() {
        "unix:///tmp/supervisord_analytics.sock"
    } else if cluster.node("a1").inside("/run/supervisord_analytics.sock").exists() {
        "unix:///var/run/supervisord_analytics.sock"
    } else {
        "http://localhost:9002"
    }
}

#[test]
fn eight_nodes_as_root() {
    life_of_a_service(&Cluster::of(8, &NodeSpec::new(analytics())), "--role analytics", "rpc");
}

#[test]
fn eight_nodes_with_sudo() {
    let cluster =
        Cluster::builder().nodes("a", 8, &NodeSpec::new(analytics())).defaults("user: ctlops, sudo: true").start();
    // Only root may open the sockets, so ctl uses a relay started with sudo.
    life_of_a_service(&cluster, "--role analytics", "rpc");
}

#[test]
fn asked_for_rpc() {
    life_of_a_service(&Cluster::of(2, &NodeSpec::new(analytics())), "--via rpc", "rpc");
}

#[test]
fn asked_for_supervisorctl() {
    life_of_a_service(&Cluster::of(2, &NodeSpec::new(analytics())), "--via supervisorctl", "supervisorctl");
}

#[test]
fn asked_for_service() {
    life_of_a_service(&Cluster::of(2, &NodeSpec::new(analytics())), "--via service", "service");
}

#[test]
fn asked_for_service_with_sudo() {
    let cluster = Cluster::builder().nodes("a", 2, &NodeSpec::new(analytics())).start();
    life_of_a_service(&cluster, "--via service -u ctlops --sudo", "service");
}

#[test]
fn sockets_of_contrail_1_10() {
    life_of_a_service(&Cluster::of(2, &NodeSpec::new(analytics().listening(Listen::Tmp))), "", "rpc");
}

#[test]
fn ports_of_contrail_1_0() {
    life_of_a_service(&Cluster::of(2, &NodeSpec::new(analytics().listening(Listen::Tcp))), "", "rpc");
}

/// A socket file left in /tmp by an upgrade, without a listener.
#[test]
fn a_stale_socket_does_not_mislead() {
    let cluster = Cluster::of(1, &NodeSpec::new(analytics()));
    cluster
        .node("a1")
        .sh("python3 -c 'import socket; socket.socket(socket.AF_UNIX).bind(\"/tmp/supervisord_analytics.sock\")'");
    let finished = cluster.ctl("service contrail-collector restart -y -o json").expect(0);
    agrees(&finished.result("a1"), cluster.node("a1"), "changed");
}

fn config() -> Instance {
    Instance::config()
        .with(Program::steady("contrail-api").workers(2))
        .with(Program::steady("contrail-schema"))
        .with(Program::steady("contrail-svc-monitor"))
        .with(Program::steady("ifmap"))
}

const CONFIG_PROCESSES: [&str; 5] =
    ["contrail-api:0", "contrail-api:1", "contrail-schema", "contrail-svc-monitor", "ifmap"];

fn names_groups_and_globs(via: &str) {
    let cluster = Cluster::of(1, &NodeSpec::new(config()));
    let node = cluster.node("a1");
    for (names, expected) in [
        (vec!["contrail-api"], vec!["contrail-api:0", "contrail-api:1"]),
        (vec!["contrail-api:0"], vec!["contrail-api:0"]),
        (vec!["contrail-s*"], vec!["contrail-schema", "contrail-svc-monitor"]),
        (vec!["contrail-schema", "ifmap"], vec!["contrail-schema", "ifmap"]),
        (vec!["contrail-schema", "contrail-s*"], vec!["contrail-schema", "contrail-svc-monitor"]),
        (vec!["all"], CONFIG_PROCESSES.to_vec()),
    ] {
        let before = CONFIG_PROCESSES.map(|name| node.process(name).unwrap().pid);
        let instance = node.supervisord_pid("supervisor-config");
        let mut words = vec!["service"];
        words.extend(&names);
        words.extend(["restart", "--role", "config", "-y", "-o", "json", "--via", via]);
        let finished = cluster.ctl_words(&words).expect(0);
        let mut services: Vec<String> =
            finished.results().iter().map(|result| result["service"].as_str().unwrap().to_owned()).collect();
        services.sort();
        assert_eq!(services, expected, "{finished}");
        for (name, before) in CONFIG_PROCESSES.iter().zip(before) {
            let named = expected.contains(name);
            assert_eq!(node.process(name).unwrap().pid != before, named, "{name}, asked for {names:?}\n{finished}");
        }
        assert_eq!(node.supervisord_pid("supervisor-config"), instance, "{finished}");
    }
}

#[test]
fn names_groups_and_globs_over_rpc() {
    names_groups_and_globs("rpc");
}

#[test]
fn names_groups_and_globs_through_supervisorctl() {
    names_groups_and_globs("supervisorctl");
}

/// The processes of a group are restarted one after the other, so that the service stays available.
fn a_group_never_goes_dark(via: &str) {
    let cluster = Cluster::of(1, &NodeSpec::new(config()));
    let node = cluster.node("a1");
    let old = node.read("/var/log/contrail/supervisord-config.log").len();
    let finished = cluster.ctl(&format!("service contrail-api restart --role config -y -o json --via {via}")).expect(0);
    assert_eq!(finished.outcomes(), ["a1 contrail-api:0 changed", "a1 contrail-api:1 changed"]);
    let log = node.read("/var/log/contrail/supervisord-config.log");
    let at = |text: &str| log[old..].find(text).unwrap_or_else(|| panic!("no {text:?} in\n{}", &log[old..]));
    for process in ["0", "1"] {
        assert_eq!(
            log[old..].matches(&format!("stopped: {process} ")).count(),
            1,
            "expected one stop: {}",
            &log[old..]
        );
    }
    let (first, second) = if at("stopped: 0") < at("stopped: 1") { ("0", "1") } else { ("1", "0") };
    assert!(at(&format!("success: {first} entered RUNNING")) < at(&format!("stopped: {second}")), "{log}");
}

#[test]
fn a_group_never_goes_dark_over_rpc() {
    a_group_never_goes_dark("rpc");
}

#[test]
fn a_group_never_goes_dark_through_supervisorctl() {
    a_group_never_goes_dark("supervisorctl");
}

/// The init wrapper of a group acts on all its processes, once each.
#[test]
fn a_group_through_service() {
    a_group_never_goes_dark("service");
}

/// The catalogue lists contrail-dns in two instances. A node with one of them has one wrapper, which is run once.
#[test]
fn a_wrapper_is_run_once() {
    let instance = Instance::control().with(Program::steady("contrail-control")).with(Program::steady("contrail-dns"));
    let cluster = Cluster::of(1, &NodeSpec::new(instance));
    let finished = cluster.ctl("service contrail-dns restart --role control -y -o json --via service").expect(0);
    let log = cluster.node("a1").read("/var/log/contrail/supervisord-control.log");
    assert_eq!(log.matches("stopped: contrail-dns").count(), 1, "{log}");
    assert_eq!(finished.outcomes().iter().filter(|line| line.ends_with(" changed")).count(), 1, "{finished}");
}

/// sshd allows ten sessions on a connection, or fewer if hardened, and querying a wrapper takes one.
#[test]
fn wrappers_stay_within_max_sessions() {
    let cluster = Cluster::of(1, &NodeSpec::new(analytics()).sshd("MaxSessions 4"));
    for _ in 0..2 {
        let finished = cluster.ctl("service contrail-collector restart --via service -o json").expect(0);
        assert_eq!(finished.outcomes(), ["a1 contrail-collector changed"]);
    }
}

/// The wrapper cannot act on one process of a group, and ctl must not touch the others.
#[test]
fn one_process_of_a_group_through_service() {
    let cluster = Cluster::of(1, &NodeSpec::new(config()));
    let before = cluster.node("a1").process("contrail-api:1");
    let finished = cluster.ctl("service contrail-api:0 restart --role config -y -o json --via service");
    assert_eq!(cluster.node("a1").process("contrail-api:1"), before, "{finished}");
}

#[test]
fn an_instance_through_init() {
    let cluster = Cluster::of(2, &NodeSpec::new(analytics()));
    let pids =
        || cluster.nodes().iter().map(|node| node.supervisord_pid("supervisor-analytics").unwrap()).collect::<Vec<_>>();
    let before = pids();
    let status = cluster.ctl("service supervisor-analytics status").expect(0);
    for pid in &before {
        assert!(status.stdout.contains(&format!("supervisord (pid {pid}) is running...")), "{status}");
    }
    let restart = cluster.ctl("service supervisor-analytics restart -y -o json").expect(0);
    assert_eq!(restart.outcomes(), ["a1 supervisor-analytics changed", "a2 supervisor-analytics changed"]);
    for ((node, before), after) in cluster.nodes().iter().zip(before).zip(pids()) {
        assert_ne!(before, after, "{restart}");
        assert_eq!(restart.result(&node.name)["pid"], after, "{restart}");
    }
    let stop = cluster.ctl("service supervisor-analytics stop -y -o json").expect(0);
    assert_eq!(stop.outcomes(), ["a1 supervisor-analytics changed", "a2 supervisor-analytics changed"]);
    assert_eq!(cluster.node("a1").supervisord_pid("supervisor-analytics"), None);
    cluster.ctl("service supervisor-analytics stop -y").expect(0);
    cluster.ctl("service supervisor-analytics status").expect(3);
    let start = cluster.ctl("service supervisor-analytics start -y -o json").expect(0);
    assert_eq!(start.outcomes(), ["a1 supervisor-analytics changed", "a2 supervisor-analytics changed"]);
    cluster.node("a1").wait_for("contrail-collector", "RUNNING");
}

#[test]
fn an_instance_through_init_with_sudo() {
    let cluster = Cluster::of(1, &NodeSpec::new(analytics()));
    let before = cluster.node("a1").supervisord_pid("supervisor-analytics");
    let restart = cluster.ctl("service supervisor-analytics restart -y -o json -u ctlops --sudo").expect(0);
    assert_eq!(restart.outcomes(), ["a1 supervisor-analytics changed"]);
    assert_ne!(cluster.node("a1").supervisord_pid("supervisor-analytics"), before);
}

/// contrail-database is Cassandra, which init runs from Contrail 3.0 on.
#[test]
fn a_service_that_init_runs() {
    let spec = NodeSpec::new(Instance::database().with(Program::steady("kafka"))).init_service("contrail-database");
    let cluster = Cluster::of(1, &spec);
    let node = cluster.node("a1");
    let pid = || node.read("/run/contrail-database.pid").trim().to_owned();
    let before = pid();
    let status = cluster.ctl("service contrail-database status --role database -o json").expect(0);
    assert_eq!(status.result("a1")["outcome"], "ok", "{status}");
    assert_eq!(status.result("a1")["pid"].to_string(), before, "{status}");
    let restart = cluster.ctl("service contrail-database restart --role database -y -o json").expect(0);
    assert_eq!(restart.outcomes(), ["a1 contrail-database changed"]);
    assert_ne!(pid(), before);
    cluster.ctl("service contrail-database stop --role database -y").expect(0);
    assert_eq!(pid(), "");
    cluster.ctl("service contrail-database stop --role database -y").expect(0);
    cluster.ctl("service contrail-database status --role database").expect(3);
    let start = cluster.ctl("service contrail-database start --role database -y -o json").expect(0);
    assert_eq!(start.outcomes(), ["a1 contrail-database changed"]);
    assert_ne!(pid(), "");
}

/// Several supervisords on one node are reached over its one connection.
#[test]
fn several_instances_share_a_connection() {
    let spec = NodeSpec::new(analytics()).and(config()).and(Instance::webui().with(Program::steady("contrail-webui")));
    let cluster = Cluster::of(1, &spec);
    let finished = cluster.ctl("service all restart -y -o json").expect(0);
    assert_eq!(finished.results().len(), 2 + CONFIG_PROCESSES.len() + 1, "{finished}");
    assert!(finished.results().iter().all(|result| result["outcome"] == "changed"), "{finished}");
    assert_eq!(cluster.connections(), 1, "{finished}");
    let roles: Vec<Value> = ["contrail-collector", "contrail-schema", "contrail-webui"]
        .iter()
        .map(|service| finished.result_of("a1", service)["supervisor"].clone())
        .collect();
    assert_eq!(roles, ["supervisor-analytics", "supervisor-config", "supervisor-webui"]);
}

/// --role restricts the action to the supervisords of that role.
#[test]
fn the_action_goes_to_the_named_roles_only() {
    let spec = NodeSpec::new(analytics()).and(Instance::config().with(Program::steady("contrail-schema")));
    let cluster = Cluster::of(1, &spec);
    let before = cluster.node("a1").process("contrail-schema");
    let finished = cluster.ctl("service all restart --role analytics -y -o json").expect(0);
    assert_eq!(finished.outcomes(), ["a1 contrail-analytics-api changed", "a1 contrail-collector changed"]);
    assert_eq!(cluster.node("a1").process("contrail-schema"), before);
}

/// A user-defined role: any supervisord can be described.
#[test]
fn a_role_that_contrail_does_not_know() {
    let instance = Instance::analytics().with(Program::steady("invoicer")).with(Program::steady("mailer"));
    let cluster = Cluster::builder()
        .node("b1", NodeSpec::new(instance.serving("billing")))
        .sections(
            "roles:\n  billing: {supervisor: supervisor-billing, socket: /var/run/supervisord_analytics.sock, services: [invoicer, mailer]}",
        )
        .start();
    let finished = cluster.ctl("service invoicer restart --role billing -y -o json").expect(0);
    let result = finished.result("b1");
    assert_eq!(
        (&result["outcome"], &result["supervisor"]),
        (&"changed".into(), &"supervisor-billing".into()),
        "{finished}"
    );
    let status = cluster.ctl("status -o json").expect(0);
    assert_eq!(status.result_of("b1", "mailer")["state"], "RUNNING", "{status}");
}

/// update rereads the configuration, then adds, removes and restarts only services that are named and changed.
fn update_touches_only_what_is_named(via: &str) {
    let cluster = Cluster::of(1, &NodeSpec::new(config()));
    let node = cluster.node("a1");
    let before = CONFIG_PROCESSES.map(|name| node.process(name).unwrap());
    let quiet = cluster.ctl(&format!("service contrail-schema update -y -o json --via {via}")).expect(0);
    assert_eq!(quiet.outcomes(), ["a1 contrail-schema ok"]);

    node.write_program("supervisor-config", &Program::steady("contrail-schema").set("priority", "450"));
    node.write_program("supervisor-config", &Program::steady("ifmap").set("priority", "420"));
    let update = cluster.ctl(&format!("service contrail-schema update -y -o json --via {via}")).expect(0);
    assert_eq!(update.outcomes(), ["a1 contrail-schema changed"]);
    for (name, before) in CONFIG_PROCESSES.iter().zip(before) {
        let now = node.process(name).unwrap();
        assert_eq!(now.pid != before.pid, *name == "contrail-schema", "{name}\n{update}");
    }

    // A new program, and a removed one.
    node.write_program("supervisor-config", &Program::steady("contrail-device-manager"));
    let added =
        cluster.ctl(&format!("service contrail-device-manager update --role config -y -o json --via {via}")).expect(0);
    assert_eq!(added.outcomes(), ["a1 contrail-device-manager changed"]);
    let running = node.sh("supervisorctl -s unix:///var/run/supervisord_config.sock pid contrail-device-manager");
    assert_ne!(running.trim(), "0");
    node.sh("rm /etc/contrail/supervisord_config_files/contrail-svc-monitor.ini");
    let removed =
        cluster.ctl(&format!("service contrail-svc-monitor update --role config -y -o json --via {via}")).expect(0);
    assert_eq!(removed.outcomes(), ["a1 contrail-svc-monitor changed"]);
    assert_eq!(node.process("contrail-svc-monitor"), None);
}

#[test]
fn update_over_rpc() {
    update_touches_only_what_is_named("rpc");
}

#[test]
fn update_through_supervisorctl() {
    update_touches_only_what_is_named("supervisorctl");
}

/// Stopping contrail-api makes the node manager restart the whole instance. The restart still counts as successful.
fn a_cascade_is_a_change(via: &str) {
    let instance = Instance::config()
        .with(Program::steady("contrail-api").workers(1))
        .with(Program::steady("contrail-schema"))
        .with(Program::cascading_node_manager("contrail-config-nodemgr"));
    let cluster = Cluster::of(1, &NodeSpec::new(instance));
    let node = cluster.node("a1");
    let instance = node.supervisord_pid("supervisor-config").unwrap();
    let finished = cluster.ctl(&format!("service contrail-api restart --role config -y -o json --via {via}")).expect(0);
    let result = finished.result("a1");
    assert_eq!(result["outcome"], "changed", "{finished}");
    assert_eq!(result["state"], "RUNNING", "{finished}");
    assert!(result["message"].as_str().unwrap().contains("restarted"), "{finished}");
    let after =
        eventually("another supervisord", || node.supervisord_pid("supervisor-config").filter(|pid| *pid != instance));
    assert_eq!(result["pid"], node.wait_for("contrail-api:0", "RUNNING").pid, "{finished}");
    assert_eq!(node.supervisord_pid("supervisor-config"), Some(after), "expected one restart");
}

#[test]
fn a_cascade_over_rpc() {
    a_cascade_is_a_change("rpc");
}

#[test]
fn a_cascade_through_supervisorctl() {
    a_cascade_is_a_change("supervisorctl");
}

/// Restarting supervisor-vrouter can take down the network, and the connection with it.
#[test]
fn a_restart_that_cuts_its_own_connection() {
    let instance = Instance::vrouter().with(Program::steady("contrail-vrouter-agent")).cutting_ssh();
    let cluster = Cluster::of(2, &NodeSpec::new(instance));
    let pids = || cluster.nodes().iter().map(|node| node.supervisord_pid("supervisor-vrouter")).collect::<Vec<_>>();
    let before = pids();
    let finished = cluster.ctl("service supervisor-vrouter restart -y -o json").expect(0);
    assert_eq!(finished.outcomes(), ["a1 supervisor-vrouter changed", "a2 supervisor-vrouter changed"]);
    for (before, after) in before.iter().zip(pids()) {
        assert!(after.is_some() && after != *before, "{finished}");
    }
}
