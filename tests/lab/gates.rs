//! Gates: conditions that a batch must meet before the next one starts.

use std::time::Duration;

use contrail_lab::{ClusterSpec, Fault, Introspect, Release, Role};

use crate::harness::{ANALYTICS, COLLECTOR, Cluster, ended, node, single, uniform, word};

const PORT: u16 = 8089;

/// Two analytics nodes. The collector of the first one gives this introspect reply.
fn says(answer: Introspect) -> ClusterSpec {
    let mut spec = uniform(2).each(|node| node.introspects = true);
    spec.nodes[0].introspect.push((COLLECTOR.to_owned(), PORT, answer));
    spec
}

fn untouched(cluster: &Cluster, node: &str) -> bool {
    let now = cluster.collector(node);
    (now.starts, now.stops) == (1, 0)
}

/// RUNNING for a moment is not enough.
#[test]
fn a_program_that_dies_again() {
    let unstable = Fault::Unstable { program: COLLECTOR.to_owned(), after: Duration::from_millis(500) };
    let cluster = Cluster::start(uniform(2).fault("n01", unstable));
    let run = cluster.ctl(&format!("service {COLLECTOR} restart -y -o json --serial 1 --stable 2s")).expect(5);
    assert_eq!(
        run.outcomes(),
        ["n01 contrail-collector failed unstable", "n02 contrail-collector not_started limit"],
        "{run}"
    );
    assert!(untouched(&cluster, "n02"), "{run}");
    cluster.at_rest();
}

/// The same without a gate: the restart succeeds.
#[test]
fn no_gate() {
    let unstable = Fault::Unstable { program: COLLECTOR.to_owned(), after: Duration::from_secs(600) };
    let cluster = Cluster::start(uniform(2).fault("n01", unstable));
    let run = cluster.ctl(&format!("service {COLLECTOR} restart -y -o json --serial 1 --gate none")).expect(0);
    assert_eq!(run.outcomes(), ["n01 contrail-collector changed", "n02 contrail-collector changed"], "{run}");
}

/// The gate waits until the service works, and so does the next batch.
#[test]
fn a_service_that_takes_its_time() {
    let cluster = Cluster::start(says(Introspect::FunctionalAfter(Duration::from_secs(2))));
    let line = format!("service {COLLECTOR} restart -y -o jsonl --serial 1 --stable 0s --gate active");
    let run = cluster.ctl(&line).expect(0);
    let events = run.events();
    for node in ["n01", "n02"] {
        let result = events.iter().find(|event| event["event"] == "result" && event["node"] == node);
        let result = result.unwrap_or_else(|| panic!("{node}\n{run}"));
        assert_eq!((ended(result).as_str(), word(&result["functional"])), ("changed", "active"), "{run}");
    }
    let apart = cluster.collector("n02").start - cluster.collector("n01").start;
    assert!(apart >= 2.0, "{apart}\n{run}");
    assert!(
        events.iter().any(|event| event["event"] == "gate" && event["node"] == "n01"),
        "expected a gate event\n{run}"
    );
    cluster.at_rest();
}

/// The service never works: the batch fails, and the run stops there.
#[test]
fn a_service_that_never_works() {
    for answer in [
        Introspect::NonFunctional("Database:Global connection down".to_owned()),
        Introspect::Silent,
        Introspect::ServerError,
        Introspect::GarbageXml,
        Introspect::Refused,
    ] {
        let cluster = Cluster::start(says(answer.clone()));
        let line = format!("service {COLLECTOR} restart -y -o json --serial 1 --stable 0s --gate active");
        let run = cluster.ctl(&format!("{line} --gate-timeout 2s")).expect(5);
        assert_eq!(
            run.outcomes(),
            ["n01 contrail-collector failed gate", "n02 contrail-collector not_started gate"],
            "{answer:?}\n{run}"
        );
        let result = run.result("n01");
        assert_eq!(
            (word(&result["state"]), &result["pid"]),
            ("RUNNING", &cluster.collector("n01").pid.into()),
            "{run}"
        );
        if let Introspect::NonFunctional(reason) = answer {
            assert!(word(&result["failure"]["message"]).contains(&reason), "{run}");
            assert_eq!(result["functional"], "initializing", "{run}");
        }
        assert!(untouched(&cluster, "n02"), "{run}");
        cluster.at_rest();
    }
}

/// A schema transformer that has lost the election opens no port: it is on standby, and healthy.
#[test]
fn a_service_that_stands_by() {
    let standby = Fault::IntrospectClosed("contrail-schema".to_owned());
    let cluster = Cluster::start(single(node(Release::R3_2, [Role::Config]).fault(standby)));
    let run = cluster.ctl("service contrail-schema restart -o json --gate active --gate-timeout 10s").expect(0);
    let result = run.result_of("n", "contrail-schema");
    assert_eq!((ended(&result).as_str(), word(&result["functional"])), ("changed", "backup"), "{run}");
    cluster.at_rest();
}

/// A service without an introspect port is healthy when it is RUNNING.
#[test]
fn a_service_without_a_port() {
    let cluster = Cluster::start(single(node(Release::R3_2, [Role::WebUi])));
    let run = cluster.ctl("service contrail-webui restart -o json --gate active --gate-timeout 10s").expect(0);
    let result = run.result_of("n", "contrail-webui");
    assert_eq!(ended(&result), "changed", "{run}");
    assert!(result["functional"].is_null(), "{run}");
    cluster.at_rest();
}

/// The check command runs on each node of the batch, before the next batch.
#[test]
fn a_check() {
    let cluster = Cluster::start(uniform(2));
    let line = format!("service {COLLECTOR} restart -y -o json --serial 1 --stable 0s --check");
    let run = cluster.ctl(&format!("{line} true")).expect(0);
    assert_eq!(run.outcomes(), ["n01 contrail-collector changed", "n02 contrail-collector changed"], "{run}");
    let checks: Vec<usize> = cluster.nodes().iter().map(|node| node.commands().finished).collect();
    assert_eq!(checks, [1, 1], "{run}");
    cluster.at_rest();

    let run = cluster.ctl(&format!("{line} false")).expect(5);
    assert_eq!(
        run.outcomes(),
        ["n01 contrail-collector failed gate", "n02 contrail-collector not_started gate"],
        "{run}"
    );
    assert_eq!(cluster.collector("n01").starts, 3, "expected the restart in the result\n{run}");
    assert_eq!(cluster.collector("n02").starts, 2, "{run}");
    assert_eq!(cluster.node("n02").commands().finished, 1, "{run}");
    cluster.at_rest();
}

/// The output of a check explains its failure; a node that failed is not checked.
#[test]
fn a_check_that_speaks() {
    let broken = Fault::SpawnError { program: COLLECTOR.to_owned(), kind: contrail_lab::SpawnKind::Spawn };
    let cluster = Cluster::start(uniform(2).fault("n01", broken));
    let mut command = cluster.command(&format!("service {COLLECTOR} restart -y -o json --stable 0s"));
    command.args(["--check", "echo no quorum >&2; exit 3"]);
    let run = crate::harness::Running::start(command).finish().expect(1);
    assert_eq!(
        run.outcomes(),
        ["n01 contrail-collector failed spawn_error", "n02 contrail-collector failed gate"],
        "{run}"
    );
    let message = word(&run.result("n02")["failure"]["message"]).to_owned();
    assert!(message.contains("no quorum") && message.contains('3'), "{message}");
    assert_eq!(cluster.node("n01").commands().finished, 0, "{run}");
    assert_eq!(cluster.process("n02", ANALYTICS, COLLECTOR).starts, 2, "{run}");
    cluster.at_rest();
}

/// The first signal ends the wait at a gate.
#[test]
fn a_signal_at_a_gate() {
    let cluster = Cluster::start(says(Introspect::NonFunctional("not yet".to_owned())));
    let line = format!("service {COLLECTOR} restart -y -o jsonl --serial 1 --stable 0s --gate active");
    let run = cluster.begin(&format!("{line} --gate-timeout 10m"));
    run.until_printed("\"gate\"");
    run.signal("TERM");
    let run = run.finish().expect(143);
    assert_eq!(run.batches(), ["n01"], "{run}");
    assert!(untouched(&cluster, "n02"), "{run}");
    cluster.at_rest();
}
