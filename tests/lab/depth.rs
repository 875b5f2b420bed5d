//! The parts of `ctl status` beyond supervisord's states: functional states of services, and stray files on the nodes.

use std::path::PathBuf;

use contrail_lab::{ClusterSpec, Fault, Introspect, NodeSpec, Release, Role, UserPolicy};
use serde_json::Value;

use crate::harness::{ANALYTICS, COLLECTOR, Cluster, Finished, Running, eventually, node, single, uniform, word};

/// State, functional state and its reason of a service, with `-` for null.
#[track_caller]
fn said(run: &Finished, node: &str, service: &str) -> String {
    let result = run.result_of(node, service);
    let field = |name: &str| result[name].as_str().unwrap_or("-").to_owned();
    format!("{} {} ({})", field("state"), field("functional"), field("functional_reason"))
}

/// The facts of a node.
#[track_caller]
fn facts(run: &Finished, node: &str) -> Value {
    let document = run.json();
    let nodes = document["nodes"].as_array().unwrap_or_else(|| panic!("no nodes in the document\n{run}"));
    nodes.iter().find(|facts| facts["node"] == node).unwrap_or_else(|| panic!("no facts about {node}\n{run}")).clone()
}

/// The findings of a node: kind, role and message of each.
#[track_caller]
fn findings(run: &Finished, node: &str) -> Vec<String> {
    let facts = facts(run, node);
    let all = facts["findings"].as_array().expect("expected a list");
    let role = |finding: &Value| finding["role"].as_str().unwrap_or("-").to_owned();
    all.iter().map(|found| format!("{} {} {}", word(&found["kind"]), role(found), word(&found["message"]))).collect()
}

/// How often a node received a request to open a port.
fn questions(cluster: &Cluster, node: &str, port: u16) -> usize {
    let wanted = format!("localhost:{port}");
    cluster.counters(node).tcpip_opens.iter().filter(|opened| **opened == wanted).count()
}

#[test]
fn services_say_how_they_do_their_work() {
    let spec = node(Release::R3_2, [Role::Analytics, Role::Config])
        .introspect(
            "contrail-query-engine",
            8091,
            Introspect::NonFunctional("Redis-Query:q connection down".to_owned()),
        )
        .introspect("contrail-analytics-api", 8090, Introspect::Silent)
        .introspect("contrail-topology", 5921, Introspect::ServerError)
        .introspect("contrail-snmp-collector", 5920, Introspect::Garbage)
        .introspect("contrail-analytics-nodemgr", 8104, Introspect::GarbageXml)
        .introspect("contrail-alarm-gen", 5995, Introspect::Refused)
        .introspect("contrail-schema", 8087, Introspect::Refused)
        .fault(Fault::Backoff("ifmap".to_owned()));
    let cluster = Cluster::start(single(spec));
    let run = cluster.ctl("status -o json").expect(3);
    for (service, expected) in [
        (COLLECTOR, "RUNNING active (-)"),
        ("contrail-query-engine", "RUNNING initializing (Redis-Query:q connection down)"),
        ("contrail-analytics-api", "RUNNING timeout (-)"),
        ("contrail-topology", "RUNNING initializing (port 5921 answers with HTTP status 500 Internal Server Error)"),
        ("contrail-snmp-collector", "RUNNING initializing (port 5920 does not speak HTTP)"),
        ("contrail-analytics-nodemgr", "RUNNING initializing (port 8104 answers with invalid or incomplete XML)"),
        ("contrail-alarm-gen", "RUNNING initializing (nothing is listening on port 5995)"),
        (
            "contrail-schema",
            "RUNNING backup (no node is active: the one node with this service runs it, but nothing listens on its introspect port)",
        ),
        ("contrail-api:0", "RUNNING active (-)"),
        // No functional state is reported for services that have no introspect port.
        ("rabbitmq-server", "RUNNING - (-)"),
        ("ifmap", "BACKOFF failed (Exited too quickly (process log may have details))"),
    ] {
        assert_eq!(said(&run, "n", service), expected, "{run}");
    }
    // A service's own report counts. A result that may be transient is queried once more.
    let asked = [(8089, 1), (8091, 1), (8087, 1), (8090, 2), (5921, 2), (5920, 2), (8104, 2), (5995, 2)];
    for (port, times) in asked {
        assert_eq!(questions(&cluster, "n", port), times, "{port}");
    }
    assert_eq!(findings(&run, "n"), Vec::<String>::new());
    // Without deep status, only supervisord's states are read.
    cluster.node("n").reset_counters();
    let run = cluster.ctl("service contrail-query-engine status -o json").expect(0);
    assert_eq!(said(&run, "n", "contrail-query-engine"), "RUNNING - (-)");
    assert!(cluster.counters("n").tcpip_opens.is_empty());
}

/// The second reply counts.
#[test]
fn who_is_busy_for_a_moment_is_well() {
    let cluster = Cluster::start(uniform(1));
    cluster.node("n01").set_introspect(COLLECTOR, 8089, Introspect::ServerError);
    let run = cluster.begin("status contrail-collector -o json");
    eventually("the first query", || (questions(&cluster, "n01", 8089) == 1).then_some(()));
    cluster.node("n01").set_introspect(COLLECTOR, 8089, Introspect::Functional);
    let run = run.finish().expect(0);
    assert_eq!(said(&run, "n01", COLLECTOR), "RUNNING active (-)");
}

/// Standby services and services without an introspect port count as healthy. Initializing does not, and neither does a
/// service that is on standby on every node.
#[test]
fn the_exit_code_tells_how_services_do_their_work() {
    let spec = node(Release::R3_2, [Role::Config, Role::WebUi])
        .fault(Fault::IntrospectClosed("contrail-schema".to_owned()))
        .fault(Fault::NonFunctional { program: "contrail-api".to_owned(), description: "x".to_owned() });
    let cluster = Cluster::start(single(spec));
    cluster.ctl("status contrail-schema contrail-webui -w n").expect(0);
    cluster.ctl("status contrail-schema contrail-webui").expect(3);
    cluster.ctl("status contrail-api").expect(3);
    cluster.ctl("service contrail-api status").expect(0);
}

#[test]
fn where_forwarding_is_forbidden_nothing_is_called_bad() {
    let cluster = Cluster::start(uniform(1).fault("n01", Fault::ForwardingForbidden));
    let run = cluster.ctl("status -o json").expect(0);
    assert_eq!(said(&run, "n01", COLLECTOR), "RUNNING - (-)");
    assert_eq!(
        findings(&run, "n01"),
        ["no_introspect - sshd forbids forwarding: the functional state of services is unknown"]
    );
    // A closed port on the node does not mean that sshd is down.
    let all = Fault::IntrospectClosed("all".to_owned());
    let cluster = Cluster::start(uniform(1).fault("n01", all));
    let run = cluster.ctl("status -o json").expect(3);
    assert_eq!(said(&run, "n01", COLLECTOR), "RUNNING initializing (nothing is listening on port 8089)");
    assert_eq!(findings(&run, "n01"), Vec::<String>::new());
}

fn with_roles(cluster: &Cluster, roles: &str) -> PathBuf {
    cluster.write("roles.yaml", format!("{roles}\n{}", cluster.inventory()))
}

#[test]
fn a_port_may_stand_on_the_node_or_in_the_inventory() {
    let spec = node(Release::R3_2, [Role::Analytics]).introspect(COLLECTOR, 8189, Introspect::Functional);
    let cluster = Cluster::start(single(spec));
    let run = cluster.ctl("status contrail-collector -o json").expect(0);
    assert_eq!(said(&run, "n", COLLECTOR), "RUNNING active (-)");
    assert_eq!((questions(&cluster, "n", 8089), questions(&cluster, "n", 8189)), (1, 1));
    for (port, expected, code) in [
        (8189, "RUNNING active (-)", 0),
        // An explicit port in the inventory takes precedence.
        (8190, "RUNNING initializing (nothing is listening on port 8190)", 3),
    ] {
        let roles = format!("roles: {{analytics: {{introspect: {{contrail-collector: {port}}}}}}}");
        let inventory = with_roles(&cluster, &roles);
        let run = Running::start(cluster.command_with("status contrail-collector -o json", &inventory)).finish();
        assert_eq!(said(&run.expect(code), "n", COLLECTOR), expected);
    }
}

#[test]
fn every_service_has_a_result_when_the_time_is_over() {
    let cluster = Cluster::start(uniform(1).fault("n01", Fault::IntrospectHang("all".to_owned())));
    let run = cluster.ctl("status -o json --timeout 1s").expect(3);
    let results = run.results();
    assert_eq!(results.len(), cluster.node("n01").processes(ANALYTICS).len(), "{run}");
    for result in &results {
        assert_eq!((word(&result["outcome"]), word(&result["state"])), ("ok", "RUNNING"), "{result:#}");
        assert_eq!(word(&result["functional"]), "timeout", "{result:#}");
        assert!(word(&result["functional_reason"]).contains("the node's timeout expired"), "{result:#}");
        assert_eq!(result["version"], "3.2.1.0-27", "{result:#}");
    }
}

#[test]
fn a_search_that_hangs_keeps_nothing_back_but_versions() {
    let cluster = Cluster::start(uniform(2).fault("n01", Fault::SearchHangs));
    let run = cluster.ctl("status -o json --timeout 1s").expect(0);
    assert_eq!(said(&run, "n01", COLLECTOR), "RUNNING active (-)");
    assert_eq!(run.result_of("n01", COLLECTOR)["version"], Value::Null);
    let found = "not_searched - not searched for core files and sockets: the node's timeout expired";
    assert_eq!(findings(&run, "n01"), [found]);
    assert_eq!(findings(&run, "n02"), Vec::<String>::new());
    assert_eq!(run.result_of("n02", COLLECTOR)["version"], "3.2.1.0-27");
}

/// A connection that ends while services are queried is opened again.
#[test]
fn a_lost_connection_is_made_again_to_ask() {
    let cluster = Cluster::start(uniform(1).fault("n01", Fault::IntrospectHang(COLLECTOR.to_owned())));
    let run = cluster.begin("status -o json");
    eventually("the query", || (questions(&cluster, "n01", 8089) == 1).then_some(()));
    cluster.node("n01").cut_connections();
    let run = run.finish().expect(3);
    assert_eq!(said(&run, "n01", COLLECTOR), "RUNNING timeout (-)");
    assert_eq!(run.results().len(), 7, "{run}");
    assert_eq!(cluster.connections(), 2);
}

#[test]
fn who_does_not_stay_up_is_told_by_each_way() {
    let fault = |program: &str| Fault::CrashLoop(program.to_owned());
    let spec = node(Release::R3_2, [Role::Analytics, Role::Config])
        .fault(fault(COLLECTOR))
        .fault(fault("contrail-discovery:0"))
        .fault(fault("contrail-schema"));
    let cluster = Cluster::start(single(spec));
    for via in ["rpc", "supervisorctl"] {
        let run = cluster.ctl(&format!("status -o json --via {via}")).expect(3);
        // Two groups have a process of this name; the other one has been up for long.
        for service in [COLLECTOR, "contrail-schema", "contrail-discovery:0"] {
            let said = said(&run, "n", service);
            assert!(said.starts_with("RUNNING failed (its pid keeps changing: it exited "), "{via}: {said}");
            assert!(said.ends_with(" s (exit status 1; not expected))"), "{via}: {said}");
        }
        assert_eq!(said(&run, "n", "contrail-api:0"), "RUNNING active (-)", "{via}");
    }
    cluster.ctl("service contrail-collector status").expect(0);
    // After an explicit restart, earlier exits no longer count.
    cluster.node("n").remove_fault(&fault(COLLECTOR));
    cluster.ctl("service contrail-collector restart -y").expect(0);
    let run = cluster.ctl("status contrail-collector -o json").expect(0);
    assert_eq!(said(&run, "n", COLLECTOR), "RUNNING active (-)");
}

/// The log is read only for processes that started recently.
#[test]
fn the_log_is_read_only_where_something_was_begun_of_late() {
    let cluster = Cluster::start(uniform(1));
    let reads = || cluster.counters("n01").rpc_calls.iter().filter(|call| call.method.contains("eadLog")).count();
    cluster.ctl("status").expect(0);
    assert_eq!(reads(), 0);
    cluster.ctl("service contrail-collector contrail-topology restart -y").expect(0);
    let before = reads();
    cluster.ctl("status").expect(0);
    assert_eq!(reads() - before, 1);
}

#[test]
fn what_lies_about_on_a_node_is_told() {
    let two = |name: &str| NodeSpec::new(name, Release::R3_2).roles([Role::Analytics, Role::WebUi]);
    let nodes = vec![
        two("cores").fault(Fault::CoreFile(COLLECTOR.to_owned())),
        two("stale").fault(Fault::StaleTmpSocket),
        two("unlisted").fault(Fault::Unlisted("web-ui".to_owned())),
        two("left").fault(Fault::LeftConfig("config".to_owned())),
        two("new").fault(Fault::Version("3.2.2.0-31".to_owned())),
        two("dead").fault(Fault::InstanceDown("supervisor-webui".to_owned())),
        NodeSpec::new("old", Release::R1_05).roles([Role::Analytics, Role::Control]),
    ];
    let cluster = Cluster::start(ClusterSpec::new(nodes).timing(crate::harness::FAST));
    let run = cluster.ctl("status -o json").expect(3);
    assert_eq!(findings(&run, "cores"), ["core_files - core files in /var/crashes"]);
    let details = &facts(&run, "cores")["findings"][0]["details"];
    assert_eq!(*details, serde_json::json!(["/var/crashes/core.contrail-collector.4711.1763884800"]));
    assert_eq!(
        findings(&run, "stale"),
        [
            "stale_socket analytics nothing is listening on /tmp/supervisord_analytics.sock",
            "stale_socket web-ui nothing is listening on /tmp/supervisord_webui.sock"
        ]
    );
    assert_eq!(
        findings(&run, "unlisted"),
        ["unlisted_role web-ui supervisor-webui runs, but the inventory does not list role web-ui"]
    );
    assert_eq!(
        findings(&run, "left"),
        ["unlisted_role config supervisor-config is installed, but the inventory does not list role config"]
    );
    for none in ["new", "dead", "old"] {
        assert_eq!(findings(&run, none), Vec::<String>::new(), "{none}: {run}");
    }
    for (node, version) in [("new", "3.2.2.0-31"), ("cores", "3.2.1.0-27")] {
        assert_eq!(run.result_of(node, COLLECTOR)["version"], version);
    }
    let dead = run.result_of("dead", "supervisor-webui");
    assert_eq!((word(&dead["failure"]["kind"]), word(&dead["version"])), ("supervisor_down", "3.2.1.0-27"));
    let supervisors = &facts(&run, "new")["supervisors"];
    assert_eq!(supervisors.as_array().map(Vec::len), Some(2), "{supervisors:#}");
    assert_eq!(supervisors[0]["address"], "unix:///var/run/supervisord_analytics.sock");
    assert_eq!(supervisors[0]["pid"], cluster.node("new").supervisor_pid(ANALYTICS).expect("supervisord is down"));
    assert_eq!(facts(&run, "new")["packages"]["contrail-analytics"], "3.2.2.0-31");
    // With only some of a node's roles selected, the others are not reported as unlisted.
    let run = cluster.ctl("status -r web-ui -w new -o json").expect(0);
    assert_eq!(findings(&run, "new"), Vec::<String>::new());
}

/// With --via rpc nothing is executed on the node. If nothing can be executed, the result says so.
#[test]
fn a_node_that_cannot_be_searched_is_no_worse_for_it() {
    let cluster = Cluster::start(uniform(1));
    let run = cluster.ctl("status --via rpc -o json").expect(0);
    let found = "not_searched - not searched for core files and sockets: --via rpc runs no commands on the node";
    assert_eq!(
        (said(&run, "n01", COLLECTOR).as_str(), findings(&run, "n01")),
        ("RUNNING active (-)", vec![found.to_owned()])
    );
    assert!(cluster.counters("n01").execs.is_empty());

    let cluster = Cluster::start(uniform(1).fault("n01", Fault::NoLogin));
    let run = cluster.ctl("status -o json").expect(0);
    let found = findings(&run, "n01");
    assert!(matches!(found.as_slice(), [one] if one.starts_with("not_searched - ")), "{found:?}");

    // sudo is refused, but this user may open the sockets without it.
    let spec = NodeSpec { policy: UserPolicy::SocketGroup, ..node(Release::R3_2, [Role::Analytics]) };
    let cluster = Cluster::start(single(spec));
    let run = cluster.ctl("status --sudo -o json").expect(0);
    let found = findings(&run, "n");
    assert!(matches!(found.as_slice(), [one] if one.starts_with("not_searched - ")), "{found:?}");
    cluster.ctl("status -o json").expect(0);
}
