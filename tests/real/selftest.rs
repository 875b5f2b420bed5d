//! Tests of the harness itself, with OpenSSH's client and without `ctl`. The other tests rely on these properties.

use std::process::Command;

use crate::harness::{Cluster, HostKey, Instance, Listen, NodeSpec, Program, Running, eventually};

fn analytics() -> NodeSpec {
    NodeSpec::new(
        Instance::analytics()
            .with(Program::steady("contrail-collector"))
            .with(Program::steady("contrail-api").workers(2)),
    )
}

fn run(mut command: Command, words: &[&str]) -> crate::harness::Finished {
    command.args(words);
    Running::start(command).finish()
}

#[test]
fn ssh_reaches_a_node_and_its_supervisord() {
    let cluster = Cluster::of(2, &analytics());
    let status =
        run(cluster.ssh("root", "a1", &[]), &["supervisorctl -s unix:///var/run/supervisord_analytics.sock status"])
            .expect(0);
    let names: Vec<&str> = status.stdout.lines().filter_map(|line| line.split_whitespace().next()).collect();
    assert_eq!(names, ["contrail-api:0", "contrail-api:1", "contrail-collector"], "{status}");

    // The nodes share only the machine.
    run(cluster.ssh("root", "a1", &[]), &["touch /tmp/mine /etc/contrail/mine /run/mine"]).expect(0);
    assert!(!cluster.node("a2").inside("/run/mine").exists());
    assert!(cluster.node("a1").inside("/tmp/mine").exists());

    let before = cluster.node("a1").process("contrail-collector").unwrap();
    let restart = run(cluster.ssh("root", "a1", &[]), &["service contrail-collector restart"]).expect(0);
    assert_eq!(restart.stdout, "contrail-collector: stopped\ncontrail-collector: started\n");
    assert_ne!(cluster.node("a1").process("contrail-collector").unwrap().pid, before.pid);

    let group = run(cluster.ssh("root", "a1", &[]), &["service contrail-api status"]).expect(0);
    assert_eq!(group.stdout.lines().count(), 2, "{group}");
}

#[test]
fn supervisord_answers_over_a_forwarded_socket() {
    let cluster = Cluster::of(1, &analytics());
    let local = cluster.path("forwarded.sock");
    let forward = format!("{}:/var/run/supervisord_analytics.sock", local.display());
    let tunnel = Running::start(cluster.ssh("root", "a1", &["-N", "-o", "ExitOnForwardFailure=yes", "-L", &forward]));
    let process = eventually("an answer through the tunnel", || crate::harness::process_over(&local, "contrail-api:0"));
    assert_eq!(Some(process), cluster.node("a1").process("contrail-api:0"));
    let log = cluster.node("a1").sshd_log();
    assert!(log.contains("direct-streamlocal@openssh.com"), "{log}");
    assert!(!log.contains("ctype session"), "{log}");
    drop(tunnel);
}

#[test]
fn instance_scripts_speak_as_contrails_do() {
    let cluster = Cluster::of(1, &analytics().init_service("contrail-database"));
    let node = cluster.node("a1");
    let first = node.supervisord_pid("supervisor-analytics").unwrap();
    assert_eq!(node.sh("service supervisor-analytics status"), format!("supervisord (pid  {first}) is running...\n"));
    node.sh("service supervisor-analytics restart");
    let second = node.supervisord_pid("supervisor-analytics").unwrap();
    assert_ne!(first, second);
    node.sh("service supervisor-analytics stop");
    assert_eq!(node.sh("service supervisor-analytics status || echo $?"), "supervisord is stopped\n3\n");

    assert!(node.sh("service contrail-database status").ends_with(" is running...\n"));
    node.sh("service contrail-database stop");
    assert_eq!(node.sh("service contrail-database status || echo $?"), "contrail-database is stopped\n3\n");
}

#[test]
fn users_have_sudo_or_not() {
    let cluster = Cluster::of(1, &analytics());
    let socket = "unix:///var/run/supervisord_analytics.sock";
    let sudo = run(
        cluster.ssh("ctlops", "a1", &[]),
        &[&format!("id -un; sudo -n supervisorctl -s {socket} pid contrail-collector")],
    )
    .expect(0);
    let pid = cluster.node("a1").process("contrail-collector").unwrap().pid;
    assert_eq!(sudo.stdout, format!("ctlops\n{pid}\n"));
    assert!(
        run(cluster.ssh("ctlops", "a1", &[]), &["sudo -n service contrail-collector status"])
            .expect(0)
            .stdout
            .contains("RUNNING")
    );
    run(cluster.ssh("ctlguest", "a1", &[]), &["sudo -n true"]).expect(1);
}

#[test]
fn programs_misbehave_as_ordered() {
    let instance = Instance::control()
        .listening(Listen::Tcp)
        .with(Program::steady("contrail-control"))
        .with(Program::deaf("contrail-dns"))
        .with(Program::dies_at_once("contrail-named", 1))
        .with(Program::running("contrail-missing", "/nonexistent/program"));
    let cluster = Cluster::of(1, &NodeSpec::new(instance));
    let node = cluster.node("a1");
    node.wait_for("contrail-control", "RUNNING");
    node.wait_for("contrail-named", "FATAL");
    node.wait_for("contrail-missing", "FATAL");
    // Release 1.0x: over the node's own localhost, which differs from the machine's.
    let mut stop = cluster.ssh("root", "a1", &[]);
    stop.arg("supervisorctl -s http://localhost:9003 stop contrail-dns");
    let mut stop = Running::start(stop);
    node.wait_for("contrail-dns", "STOPPING");
    assert!(stop.is_running());
    assert!(std::net::TcpStream::connect("127.0.0.1:9003").is_err());
}

#[test]
fn a_node_manager_cascades() {
    let instance = Instance::config()
        .with(Program::steady("contrail-api").workers(1))
        .with(Program::cascading_node_manager("contrail-config-nodemgr"));
    let cluster = Cluster::of(1, &NodeSpec::new(instance));
    let node = cluster.node("a1");
    let before = node.supervisord_pid("supervisor-config").unwrap();
    node.sh("supervisorctl -s unix:///var/run/supervisord_config.sock stop contrail-api:0");
    eventually("another supervisord", || node.supervisord_pid("supervisor-config").filter(|pid| *pid != before));
    node.wait_for("contrail-api:0", "RUNNING");
}

#[test]
fn connections_can_be_cut_and_refused() {
    let mut cluster = Cluster::of(1, &analytics());
    let mut session = Running::start({
        let mut command = cluster.ssh("root", "a1", &[]);
        command.arg("echo on >/run/on; exec sleep 1000");
        command
    });
    eventually("the session", || (cluster.node("a1").read("/run/on") == "on\n").then_some(()));
    assert!(session.is_running());
    cluster.node("a1").cut_connections();
    session.finish().expect(255);

    cluster.node_mut("a1").refuse();
    let refused = run(cluster.ssh("root", "a1", &[]), &["true"]).expect(255);
    assert!(refused.stderr.contains("Connection refused"), "{refused}");
    cluster.node_mut("a1").listen();
    run(cluster.ssh("root", "a1", &[]), &["true"]).expect(0);
}

#[test]
fn host_keys_and_logins_are_as_ordered() {
    let cluster = Cluster::builder()
        .nodes("a", 4, &analytics())
        .host_key("a2", HostKey::Unknown)
        .host_key("a3", HostKey::Changed)
        .host_key("a4", HostKey::Revoked)
        .with_agent()
        .start();
    run(cluster.ssh("root", "a1", &[]), &["true"]).expect(0);
    for (node, text) in
        [("a2", "No ED25519 host key is known"), ("a3", "IDENTIFICATION HAS CHANGED"), ("a4", "REVOKED HOST KEY")]
    {
        let refused = run(cluster.ssh("root", node, &["-o", "StrictHostKeyChecking=yes"]), &["true"]).expect(255);
        assert!(refused.stderr.contains(text), "{refused}");
    }
}

#[test]
fn a_dropped_cluster_leaves_no_process() {
    let cluster = Cluster::of(1, &analytics());
    let root = cluster.node("a1").inside("");
    assert!(root.join("run").exists());
    drop(cluster);
    eventually("the node's pid 1 to be gone", || (!root.join("run").exists()).then_some(()));
}

/// Every node has Contrail's fixed ports on its own localhost.
#[test]
fn introspect_ports_are_the_nodes_own() {
    let instance = Instance::analytics().with(Program::introspecting("contrail-collector", 8089));
    let cluster = Cluster::of(2, &NodeSpec::new(instance));
    for (node, state) in [("a1", "Functional"), ("a2", "Non-Functional")] {
        cluster.node(node).introspect("contrail-collector", &format!("{state}\nsaid so\n"));
    }
    for (node, state) in [("a1", ">Functional<"), ("a2", ">Non-Functional<")] {
        let request = "GET /Snh_SandeshUVECacheReq?x=NodeStatus HTTP/1.0\r\n\r\n";
        let answer = eventually("an answer of the introspect port", || {
            let forward = Running::typing(cluster.ssh("root", node, &["-W", "localhost:8089"]), request).finish();
            forward.stdout.contains("ProcessStatus").then_some(forward)
        });
        assert!(answer.stdout.contains(state), "{answer}");
    }
}

/// An introspect server follows an order from the next request on.
#[test]
fn introspect_servers_obey() {
    let instance = Instance::analytics().with(Program::introspecting("contrail-collector", 8089));
    let cluster = Cluster::of(1, &NodeSpec::new(instance));
    let ask = || {
        let request = "GET /Snh_SandeshUVECacheReq?x=NodeStatus HTTP/1.0\r\n\r\n";
        Running::typing(cluster.ssh("root", "a1", &["-W", "localhost:8089"]), request).finish().stdout
    };
    let well = ask();
    assert!(well.contains("200 OK") && well.contains(">Functional<"), "before the first order: {well}");
    for (order, wanted) in [
        ("Non-Functional\nno <b> & no c", ">no &lt;b&gt; &amp; no c</description>"),
        ("Connections\nDatabase\td-1\tDown\nZookeeper\tz\tUp", "Database:d-1 connection down"),
        ("ToR\nDown", ">tor-7</name>"),
        ("Several", "process_info"),
        ("EmptyList", "size=\"0\"></list></process_status>"),
        ("NoProcesses", "</name></NodeStatus>"),
        ("NoNodeStatus", "<__NodeStatusUVE_list type=\"slist\"><SandeshUVECacheResp"),
        ("Status\n503", "HTTP/1.1 503 As Ordered"),
        ("Garbage", "ESMTP"),
        ("Functional", ">Functional<"),
    ] {
        cluster.node("a1").introspect("contrail-collector", order);
        let answer = ask();
        assert!(answer.contains(wanted), "{order}: {answer}");
    }
    cluster.node("a1").introspect("contrail-collector", "Cut");
    let cut = ask();
    assert!(cut.contains("<NodeStatus>") && !cut.contains("</ProcessStatus>"), "{cut}");
    cluster.node("a1").introspect("contrail-collector", "Huge");
    assert!(ask().len() > 4 << 20);
    cluster.node("a1").introspect("contrail-collector", "Close");
    assert_eq!(ask(), "");
    cluster.node("a1").introspect("contrail-collector", "Hang");
    let request = "GET /Snh_SandeshUVECacheReq?x=NodeStatus HTTP/1.0\r\n\r\n";
    let mut hanging = Running::typing(cluster.ssh("root", "a1", &["-W", "localhost:8089"]), request);
    // Later requests are answered.
    let hangs = || cluster.node("a1").read("/run/introspect-contrail-collector.hangs");
    eventually("the request to arrive", || (!hangs().is_empty()).then_some(()));
    cluster.node("a1").introspect("contrail-collector", "Functional");
    assert!(ask().contains(">Functional<"));
    assert!(hanging.is_running());
}

/// States that are transient elsewhere are stable here.
#[test]
fn states_are_held_still() {
    let instance = Instance::control()
        .with(Program::starting("contrail-control"))
        .with(Program::backing_off("contrail-dns"))
        .with(Program::exits_at_once("contrail-named", 3))
        .with(Program::deaf("contrail-control-nodemgr"))
        .with(Program::restarting("contrail-vrouter-dpdk"));
    let spec = NodeSpec::new(instance).and(Instance::billing().unlisted()).lacking("web-ui");
    let cluster = Cluster::of(1, &spec.and(Instance::support_service()));
    let node = cluster.node("a1");
    node.begin_to_stop("contrail-control-nodemgr");
    let states = [
        ("contrail-control", "STARTING"),
        ("contrail-dns", "BACKOFF"),
        ("contrail-named", "EXITED"),
        ("contrail-control-nodemgr", "STOPPING"),
    ];
    for (name, state) in states {
        node.wait_for(name, state);
    }
    for (name, state) in states {
        assert_eq!(node.process(name).unwrap().state, state, "{name}");
    }
    let first = node.wait_for("contrail-vrouter-dpdk", "RUNNING");
    eventually("another pid", || (node.wait_for("contrail-vrouter-dpdk", "RUNNING").pid != first.pid).then_some(()));
    let inventory = std::fs::read_to_string(cluster.inventory()).unwrap();
    assert!(inventory.contains("roles: [control, config, web-ui]"), "{inventory}");
    assert!(node.supervisord_pid("supervisor-billing").is_some());
}
