//! Connections: their number, the traffic on them, and how many nodes are processed at once.

use std::time::Duration;

use contrail_lab::{ClusterSpec, Fault, Release, Role, State};

use crate::harness::{ANALYTICS, COLLECTOR, Cluster, FAST, ended, is_guard, list, node, single, uniform, word};

/// One connection and one login, however many supervisords and services.
#[test]
fn one_connection_for_a_node() {
    let cluster = Cluster::start(single(node(Release::R3_2, Role::ALL)));
    for (line, code) in [
        ("status -o json", 0),
        ("ping -o json", 0),
        ("service contrail-collector contrail-control restart -y -o json", 0),
        ("service contrail-collector contrail-control restart -y -o json --via supervisorctl", 0),
        ("service contrail-* status -o json", 0),
    ] {
        cluster.node("n").reset_counters();
        let run = cluster.ctl(line).expect(code);
        let seen = cluster.counters("n");
        assert_eq!((seen.connections, seen.logins, seen.max_open), (1, 1, 1), "{line}: {seen:?}\n{run}");
    }
}

/// Every supervisord of a node is queried through its own socket, without starting a process.
#[test]
fn a_status_that_starts_nothing_on_the_node() {
    let cluster = Cluster::start(single(node(Release::R3_2, Role::ALL)));
    let run = cluster.ctl("status -o json --via rpc").expect(0);
    let seen = cluster.counters("n");
    assert!(seen.execs.is_empty(), "{:?}\n{run}", seen.execs);
    assert_eq!(seen.connections, 1, "{run}");
    let results = run.results();
    for instance in cluster.node("n").instances() {
        let url = cluster.node("n").url(&instance).expect("no such instance");
        let path = url.trim_start_matches("unix://");
        assert!(seen.streamlocal_opens.iter().any(|open| open == path), "{path}: {seen:?}");
        let asked = seen.rpc_calls.iter().filter(|call| call.instance == instance).count();
        assert!(asked > 0, "{instance} was not queried\n{run}");
        let mut listed: Vec<&str> = results
            .iter()
            .filter(|result| result["supervisor"] == *instance)
            .map(|result| word(&result["service"]))
            .collect();
        let mut expected = cluster.node("n").processes(&instance);
        listed.sort_unstable();
        expected.sort();
        assert_eq!(listed, expected, "expected every process of {instance}\n{run}");
    }
    // A plain restart with `--via auto` starts only the guard.
    cluster.node("n").reset_counters();
    cluster.ctl(&format!("service {COLLECTOR} restart -o json")).expect(0);
    let execs = cluster.counters("n").execs;
    assert!(execs.len() == 1 && is_guard(&execs[0]), "{execs:?}");
}

/// A second service costs no call of a status. An action on it has a channel beside that of the first, and no further
/// process. A rolling restart opens one connection to each node.
#[test]
fn a_second_service_costs_its_own_calls() {
    let cluster = Cluster::start(uniform(4));
    let seen = |line: &str| {
        cluster.nodes().iter().for_each(|node| node.reset_counters());
        let run = cluster.ctl(&format!("service {line} -y -o json")).expect(0);
        let seen = cluster.nodes().iter().map(|node| node.counters());
        let counts = seen.inspect(|seen| assert_eq!((seen.connections, seen.logins), (1, 1), "{seen:?}\n{run}"));
        counts.map(|seen| [seen.execs.len(), seen.streamlocal_opens.len(), seen.rpc_calls.len()]).collect::<Vec<_>>()
    };
    let both = format!("{COLLECTOR} contrail-analytics-api");
    let status = seen(&format!("{COLLECTOR} status"));
    assert!(status.iter().all(|[execs, channels, _]| [*execs, *channels] == [0, 1]), "{status:?}");
    assert_eq!(seen(&format!("{both} status")), status);
    let channels =
        |line: String| seen(&line).into_iter().map(|[execs, channels, _]| [execs, channels]).collect::<Vec<_>>();
    assert_eq!(channels(format!("{COLLECTOR} restart --stable 0s")), [[1, 1]; 4]);
    assert_eq!(channels(format!("{both} restart --stable 0s")), [[1, 2]; 4]);
    assert_eq!(channels(format!("{COLLECTOR} restart --rolling --stable 0s")), [[1, 1]; 4]);
}

/// The same cluster gives the same status with each backend.
#[test]
fn the_status_of_a_cluster() {
    let cluster = Cluster::start(ClusterSpec::demo(12).timing(FAST));
    let run = cluster.ctl("status -o json").expect(0);
    let document = run.json();
    assert_eq!(document["summary"]["nodes"], 12, "{run}");
    assert_eq!((word(&document["command"]), word(&document["action"])), ("status", "status"), "{run}");
    for result in list(&document["results"]) {
        assert_eq!((word(&result["outcome"]), word(&result["state"])), ("ok", "RUNNING"), "{result:#}");
    }
    // Cassandra is run by init, and is listed too.
    let databases = cluster.nodes().iter().filter(|node| node.name().starts_with("db")).count();
    let seen = list(&document["results"]).iter().filter(|result| result["service"] == "contrail-database").count();
    assert_eq!(seen, databases, "{run}");
    let mut nodes: Vec<&str> = list(&document["results"]).iter().map(|result| word(&result["node"])).collect();
    nodes.dedup();
    let order: Vec<&str> = cluster.nodes().iter().map(contrail_lab::Node::name).collect();
    assert_eq!(nodes, order, "expected results in the order of the inventory\n{run}");
}

/// At most --forks nodes are processed at once: a node is done before the next but one starts.
#[test]
fn forks_bound_the_nodes_at_work() {
    let slow = Duration::from_millis(250);
    for forks in [1, 2] {
        let spec = uniform(6).each(|node| node.faults.push(Fault::SlowStart(slow)));
        let cluster = Cluster::start(spec);
        let run = cluster.ctl(&format!("service {COLLECTOR} restart -y -o json --forks {forks}")).expect(0);
        // Each node is in progress from before its start until it is up, which takes `slow` and its startsecs.
        let mut begun: Vec<f64> = cluster.nodes().iter().map(|node| cluster.collector(node.name()).start).collect();
        begun.sort_by(f64::total_cmp);
        for pair in begun.windows(forks + 1) {
            let apart = pair[forks] - pair[0];
            assert!(apart >= slow.as_secs_f64(), "{forks} forks, {apart} s apart: {begun:?}\n{run}");
        }
    }
}

/// With as many forks as nodes, all of them are processed at once.
#[test]
fn forks_are_used() {
    let spec = uniform(5).each(|node| node.faults.push(Fault::HangAction));
    let cluster = Cluster::start(spec);
    let run = cluster.begin(&format!("service {COLLECTOR} restart -y -o json --forks 4 --timeout 20s"));
    let stopping =
        || cluster.nodes().iter().filter(|node| cluster.collector(node.name()).state == State::Stopping).count();
    crate::harness::eventually("four nodes to hang", || (stopping() == 4).then_some(()));
    run.signal("INT");
    run.until_said("Press Ctrl-C again to stop waiting.");
    run.signal("INT");
    run.until_said("Press Ctrl-C again to exit now.");
    let run = run.finish().expect(130);
    assert_eq!(stopping(), 4, "{run}");
    let untouched = |node: &&contrail_lab::Node| {
        let calls = node.counters().rpc_calls;
        !calls.iter().any(|call| call.method.contains("stop") || call.method.contains("start"))
    };
    let untouched: Vec<&str> = cluster.nodes().iter().filter(untouched).map(contrail_lab::Node::name).collect();
    assert_eq!(untouched.len(), 1, "{run}");
    assert_eq!(ended(&run.result(untouched[0])), "not_started interrupted", "{run}");
}

/// `accept-new` records each key once, though many nodes connect at the same time; afterwards it is known.
#[test]
fn new_host_keys_are_written_down() {
    let spec = uniform(12).each(|node| node.faults.push(Fault::UnknownHostKey));
    let cluster = Cluster::start(spec);
    let strict = cluster.ctl("ping -o json").expect(4);
    assert_eq!(strict.json()["summary"]["unreachable"], 12, "{strict}");
    assert_eq!(cluster.nodes().iter().map(|node| node.counters().logins).sum::<u64>(), 0, "{strict}");
    for _ in 0..2 {
        let run = cluster.ctl("ping -o json --host-key accept-new").expect(0);
        assert_eq!(run.json()["summary"]["nodes_by_outcome"]["ok"], 12, "{run}");
        let known = cluster.known_hosts();
        let keys = known.lines().filter(|line| line.contains("ssh-ed25519")).count();
        assert_eq!(keys, 12, "{known}");
    }
    cluster.ctl("ping -o json").expect(0);
}

/// Results belong to the node that they name.
#[test]
fn a_cluster_of_a_hundred() {
    let cluster = Cluster::start(uniform(100));
    let run = cluster.ctl(&format!("service {COLLECTOR} status -o json --connect-timeout 30s")).expect(0);
    assert_eq!(run.results().len(), 100);
    for node in cluster.nodes() {
        let (result, now) = (run.result(node.name()), cluster.process(node.name(), ANALYTICS, COLLECTOR));
        assert_eq!(result["pid"], now.pid, "{result:#}");
        assert_eq!(word(&result["address"]), node.address().to_string(), "{result:#}");
        assert_eq!(node.counters().max_open, 1);
    }
}

/// With every backend: the locations that were tried, and a hint.
#[test]
fn a_supervisord_that_does_not_answer_is_explained() {
    for via in ["auto", "rpc", "supervisorctl", "service"] {
        for (fault, said, hint) in [
            (Fault::SupervisorMissing, "the node has no supervisor-analytics", "roles: {analytics: {socket: "),
            (
                Fault::SupervisorDown,
                "/var/run/supervisord_analytics.sock",
                "ctl service supervisor-analytics start -w n01",
            ),
        ] {
            let cluster = Cluster::start(uniform(1).fault("n01", fault.clone()));
            let run = cluster.ctl(&format!("service {COLLECTOR} status -o json --via {via}"));
            let failure = run.result("n01")["failure"].clone();
            assert!(word(&failure["message"]).contains(said), "{via} {fault:?}\n{run}");
            assert!(word(&failure["hint"]).contains(hint), "{via} {fault:?}\n{run}");
        }
    }
}
