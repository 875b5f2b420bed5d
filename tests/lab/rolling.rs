//! Batches, failure limits and caps: the order of nodes, and which nodes are left out.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use contrail_lab::{ClusterSpec, Fault, NodeSpec, Release, Role, SpawnKind, State};

use crate::harness::{ANALYTICS, COLLECTOR, Cluster, FAST, Finished, is_guard, list, uniform, word};

const DATABASE: &str = "supervisor-database";
const KAFKA: &str = "kafka";

/// Database nodes, `db1` and up.
fn databases(count: usize) -> ClusterSpec {
    let nodes = (1..=count).map(|number| NodeSpec::new(format!("db{number}"), Release::R3_2).roles([Role::Database]));
    ClusterSpec::new(nodes.collect()).timing(FAST)
}

/// The collector cannot be started after a stop.
fn broken() -> Fault {
    Fault::SpawnError { program: COLLECTOR.to_owned(), kind: SpawnKind::Spawn }
}

/// A restart of the collector with a short stable time.
fn restart(cluster: &Cluster, options: &str) -> Finished {
    cluster.ctl(&format!("service {COLLECTOR} restart -y --stable 0s {options}"))
}

const UNTOUCHED: (u32, u32) = (1, 0);
const RESTARTED: (u32, u32) = (2, 1);

/// The plan and the run have the requested batch sizes.
#[test]
fn batches() {
    let cluster = Cluster::start(uniform(22));
    for (serial, nodes, expected) in [
        ("2", 10, vec![2, 2, 2, 2, 2]),
        ("1,2,3", 10, vec![1, 2, 3, 3, 1]),
        ("20%", 3, vec![1, 1, 1]),
        ("20%", 11, vec![2, 2, 2, 2, 2, 1]),
        ("1,5,20%", 22, vec![1, 5, 4, 4, 4, 4]),
        ("1,25%,100%", 22, vec![1, 5, 16]),
        ("50", 22, vec![22]),
    ] {
        let run = restart(&cluster, &format!("--serial {serial} -w n[01-{nodes:02}] --dry-run -o json")).expect(0);
        let plan = run.document();
        let steps = list(&plan["plan"]["steps"]);
        assert_eq!((steps.len(), word(&steps[0]["role"]), word(&steps[0]["action"])), (1, "analytics", "restart"));
        assert_eq!(list(&steps[0]["services"]), [COLLECTOR], "{run}");
        let batches = list(&steps[0]["batches"]);
        let sizes: Vec<usize> = batches.iter().map(|batch| list(batch).len()).collect();
        assert_eq!(sizes, expected, "{serial} of {nodes}\n{run}");
        let planned: Vec<&str> = batches.iter().flat_map(list).map(word).collect();
        let all: Vec<&str> = cluster.nodes()[..nodes].iter().map(contrail_lab::Node::name).collect();
        assert_eq!(planned, all, "{run}");
    }
    assert_eq!(cluster.connections(), 0, "a plan connected to a node");

    let run = restart(&cluster, "--serial 1,2,3 -w n[01-10] -o jsonl").expect(0);
    assert_eq!(run.batches(), ["n01", "n02 n03", "n04 n05 n06", "n07 n08 n09", "n10"], "{run}");
    let events = run.events();
    let numbers = events.iter().filter(|event| event["event"] == "batch_started").map(|event| event["batch"].as_u64());
    assert_eq!(numbers.collect::<Vec<_>>(), [1, 2, 3, 4, 5].map(Some), "{run}");
    for result in events.iter().filter(|event| event["event"] == "result") {
        let batch = run.batches().iter().position(|batch| batch.contains(word(&result["node"]))).map(|index| index + 1);
        assert_eq!(result["batch"].as_u64().and_then(|batch| usize::try_from(batch).ok()), batch, "{result}");
    }
    // A batch is up before the next one begins, by the lab's clock.
    let times = |batch: &String| batch.split(' ').map(|node| cluster.collector(node).start).collect::<Vec<_>>();
    let times: Vec<Vec<f64>> = run.batches().iter().map(times).collect();
    for pair in times.windows(2) {
        let latest = pair[0].iter().copied().fold(f64::MIN, f64::max);
        assert!(pair[1].iter().all(|start| *start > latest), "{times:?}\n{run}");
    }
    assert_eq!(cluster.counts(ANALYTICS, COLLECTOR)[..10], [RESTARTED; 10], "{run}");
    assert_eq!(cluster.counts(ANALYTICS, COLLECTOR)[10..], [UNTOUCHED; 12], "{run}");
    cluster.at_rest();

    let run = restart(&cluster, "--rolling -w n[01-03] -o jsonl").expect(0);
    assert_eq!(run.batches(), ["n01", "n02", "n03"], "{run}");
}

/// A percentage is of the role's selected nodes, and batches do not cross roles.
#[test]
fn batches_of_each_role() {
    let cluster = Cluster::start(ClusterSpec::demo(12).timing(FAST));
    let line = "service *-nodemgr restart -y --serial 50% -r analytics,control,database --dry-run -o json";
    let run = cluster.ctl(line).expect(0);
    let plan = run.document();
    let steps: Vec<(&str, Vec<usize>)> = list(&plan["plan"]["steps"])
        .iter()
        .map(|step| (word(&step["role"]), list(&step["batches"]).iter().map(|batch| list(batch).len()).collect()))
        .collect();
    assert_eq!(steps, [("database", vec![1, 1]), ("analytics", vec![1, 1, 1]), ("control", vec![1, 1])], "{run}");
    assert_eq!(cluster.connections(), 0, "a plan connected to a node");
}

/// The first node fails, and no other node is touched.
#[test]
fn a_canary_that_fails() {
    let cluster = Cluster::start(uniform(4).fault("n01", broken()));
    let run = restart(&cluster, "--serial 1,100% -o json").expect(5);
    assert_eq!(
        run.outcomes(),
        [
            "n01 contrail-collector failed spawn_error",
            "n02 contrail-collector not_started limit",
            "n03 contrail-collector not_started limit",
            "n04 contrail-collector not_started limit"
        ],
        "{run}"
    );
    for node in ["n02", "n03", "n04"] {
        let result = run.result(node);
        assert!(result["batch"].is_null() && result["failure"]["hint"].is_string(), "{result:#}");
        assert!(
            word(&result["failure"]["message"]).contains("n01"),
            "expected the failed node in the message: {result:#}"
        );
    }
    assert_eq!(cluster.counts(ANALYTICS, COLLECTOR)[1..], [UNTOUCHED; 3], "{run}");
    cluster.at_rest();
}

/// A percentage is compared unrounded: two of four are not more than 50 %, but more than 49 %.
#[test]
fn a_limit_in_percent() {
    for (limit, exit, others) in [("50%", 1, RESTARTED), ("49%", 5, UNTOUCHED)] {
        let cluster = Cluster::start(uniform(4).fault("n01", broken()).fault("n02", broken()));
        let run = restart(&cluster, &format!("--serial 1 --max-failures {limit} -o json")).expect(exit);
        let expected = if exit == 1 { "changed" } else { "not_started limit" };
        assert_eq!(
            run.outcomes(),
            [
                "n01 contrail-collector failed spawn_error".to_owned(),
                "n02 contrail-collector failed spawn_error".to_owned(),
                format!("n03 contrail-collector {expected}"),
                format!("n04 contrail-collector {expected}")
            ],
            "{limit}\n{run}"
        );
        assert_eq!(cluster.counts(ANALYTICS, COLLECTOR)[2..], [others; 2], "{limit}\n{run}");
        cluster.at_rest();
    }
}

/// Unreachable nodes count before anything is started, at any position in the order.
#[test]
fn nothing_begins_past_the_limit() {
    let cluster = Cluster::start(uniform(4).fault("n04", Fault::Refused));
    let run = restart(&cluster, "--serial 1 -o json").expect(5);
    assert_eq!(
        run.outcomes(),
        [
            "n01 contrail-collector not_started limit",
            "n02 contrail-collector not_started limit",
            "n03 contrail-collector not_started limit",
            "n04 contrail-collector unreachable refused"
        ],
        "{run}"
    );
    assert_eq!(cluster.counts(ANALYTICS, COLLECTOR), [UNTOUCHED; 4], "{run}");
    cluster.at_rest();
    // Without batches there is no limit, and with one more failure allowed the run continues.
    restart(&cluster, "-o json").expect(4);
    restart(&cluster, "--serial 1 --max-failures 1 -o json").expect(4);
    assert_eq!(cluster.counts(ANALYTICS, COLLECTOR)[..3], [(3, 2); 3]);
    // An explicit limit applies without batches, too.
    restart(&cluster, "--max-failures 0 -o json").expect(5);
    assert_eq!(cluster.counts(ANALYTICS, COLLECTOR)[..3], [(3, 2); 3]);
    cluster.at_rest();
}

/// If all nodes of a batch fail, the run continues as long as the limit allows it.
#[test]
fn a_batch_that_fails_whole() {
    let cluster = Cluster::start(uniform(4).fault("n01", broken()).fault("n02", broken()));
    let run = restart(&cluster, "--serial 2 --max-failures 2 -o jsonl").expect(1);
    assert_eq!(run.batches(), ["n01 n02", "n03 n04"], "{run}");
    assert_eq!(cluster.counts(ANALYTICS, COLLECTOR)[2..], [RESTARTED; 2], "{run}");
    cluster.at_rest();
}

/// The highest number of nodes on which a program was not RUNNING at the same time, while `work` ran.
fn most_down<R>(cluster: &Cluster, instance: &str, name: &str, work: impl FnOnce() -> R) -> (usize, R) {
    let over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let watch = scope.spawn(|| {
            let mut most = 0;
            while !over.load(Ordering::Acquire) {
                let nodes = cluster.nodes().iter();
                let down = nodes.filter(|node| cluster.process(node.name(), instance, name).state != State::Running);
                most = most.max(down.count());
                std::thread::sleep(Duration::from_millis(1));
            }
            most
        });
        let done = work();
        over.store(true, Ordering::Release);
        (watch.join().expect("the watching thread panicked"), done)
    })
}

/// In a capped role at most one node is ever down, without any option.
#[test]
fn a_cap_that_nobody_asked_for() {
    let slow = || Fault::SlowStart(Duration::from_millis(150));
    for (options, most, batches) in [
        ("", 1, vec!["db1", "db2", "db3"]),
        ("--serial 3 --stable 0s", 1, vec!["db1", "db2", "db3"]),
        ("--max-unavailable 2", 2, vec!["db1 db2", "db3"]),
        ("--max-unavailable 67%", 2, vec!["db1 db2", "db3"]),
        ("--max-unavailable none", 3, vec!["db1 db2 db3"]),
    ] {
        let cluster = Cluster::start(databases(3).each(|node| node.faults.push(slow())));
        let restart = || cluster.ctl(&format!("service {KAFKA} restart -y -o jsonl {options}")).expect(0);
        let (seen, run) = most_down(&cluster, DATABASE, KAFKA, restart);
        assert_eq!(run.batches(), batches, "{options}\n{run}");
        assert_eq!(seen, most, "down at once with {options}\n{run}");
        assert_eq!(cluster.counts(DATABASE, KAFKA), [RESTARTED; 3], "{options}\n{run}");
        let is_said = run.stderr.contains("max_unavailable") || run.stderr.contains("may be down at once");
        assert_eq!(
            is_said,
            most == 1 || options.contains('2') || options.contains('7'),
            "expected a message about the cap where it applies\n{run}"
        );
        cluster.at_rest();
    }
}

/// A node that is not selected counts too: if it is down, none of the others may be stopped.
#[test]
fn one_that_is_down_elsewhere() {
    let dead = Fault::Fatal(KAFKA.to_owned());
    let (fatal, away) = (databases(3).fault("db3", dead), databases(3).fault("db3", Fault::Refused));
    for (spec, options) in [(fatal, "-w db[1-2]"), (away.clone(), "-w db[1-2]"), (away, "")] {
        let is_away = spec.nodes[2].faults == [Fault::Refused];
        let cluster = Cluster::start(spec);
        if !is_away {
            cluster.wait_for("db3", DATABASE, KAFKA, State::Fatal);
        }
        let run = cluster.ctl(&format!("service {KAFKA} restart -y -o json {options}")).expect(5);
        let mut expected = vec!["db1 kafka not_started max_unavailable", "db2 kafka not_started max_unavailable"];
        if options.is_empty() {
            expected.push("db3 kafka unreachable refused");
        }
        assert_eq!(run.outcomes(), expected, "{run}");
        let failure = &run.result("db1")["failure"];
        assert!(word(&failure["message"]).contains("db3") && failure["hint"].is_string(), "{failure:#}");
        assert_eq!(cluster.counts(DATABASE, KAFKA)[..2], [UNTOUCHED; 2], "{run}");
        cluster.at_rest();
    }
}

/// A selected node that is already down goes first, and does not count against the cap.
#[test]
fn one_that_is_down_goes_first() {
    let cluster = Cluster::start(databases(3));
    // One node may be down, so one may be stopped.
    cluster.ctl(&format!("service {KAFKA} stop -w db3")).expect(0);
    cluster.wait_for("db3", DATABASE, KAFKA, State::Stopped);
    let run = cluster.ctl(&format!("service {KAFKA} restart -y -o jsonl")).expect(0);
    assert_eq!(run.batches(), ["db3", "db1", "db2"], "{run}");
    assert_eq!(cluster.counts(DATABASE, KAFKA), [RESTARTED; 3], "{run}");
    cluster.at_rest();
}

/// A stop that would exceed the cap is refused as a whole, unless an option allows it.
#[test]
fn a_stop_that_breaks_the_cap() {
    let cluster = Cluster::start(databases(3));
    let stop = |options: &str| cluster.ctl(&format!("service {KAFKA} stop -w db[1-2] -o json {options}"));
    for options in ["", "--serial 1 --stable 0s"] {
        let run = stop(options).expect(5);
        let expected = ["db1 kafka not_started max_unavailable", "db2 kafka not_started max_unavailable"];
        assert_eq!(run.outcomes(), expected, "{run}");
        assert!(run.result("db1")["batch"].is_null(), "{run}");
        assert_eq!(cluster.counts(DATABASE, KAFKA), [UNTOUCHED; 3], "{run}");
        cluster.at_rest();
    }
    let run = stop("--max-unavailable none").expect(0);
    assert_eq!(run.outcomes(), ["db1 kafka changed", "db2 kafka changed"], "{run}");
    assert_eq!(cluster.counts(DATABASE, KAFKA), [(1, 1), (1, 1), UNTOUCHED], "{run}");
    // Already stopped: no further node goes down.
    stop("").expect(0);
    cluster.at_rest();
}

/// A cap counts only the roles in which a node has a service of the action: config has no contrail-dns.
#[test]
fn a_role_without_the_service_has_no_cap() {
    const CONTROL: &str = "supervisor-control";
    const DNS: &str = "contrail-dns";
    let node = |number| NodeSpec::new(format!("n{number}"), Release::R3_2).roles([Role::Config, Role::Control]);
    let cluster = Cluster::start(ClusterSpec::new((1..=2).map(node).collect()).timing(FAST));
    let run = cluster.ctl(&format!("service {DNS} restart -w n[1-2] -y -o jsonl")).expect(0);
    assert_eq!(run.batches().last().map(String::as_str), Some("n1 n2"), "{run}");
    assert!(!run.stderr.contains("may be down at once"), "{run}");
    assert_eq!(cluster.counts(CONTROL, DNS), [RESTARTED; 2], "{run}");
    // A glob may match a service of either role: the nodes are read, and only what they have counts.
    let run = cluster.ctl("service contrail-d[n]s stop -w n[1-2] -y -o json").expect(0);
    assert_eq!(cluster.counts(CONTROL, DNS), [(2, 2); 2], "{run}");
    let run = cluster.ctl("service contrail-d* stop -w n[1-2] -y -o json").expect(5);
    assert!(run.outcomes().iter().all(|outcome| outcome.ends_with("not_started max_unavailable")), "{run}");
    cluster.at_rest();
}

/// All nodes of a role without a cap are processed at once.
#[test]
fn no_cap() {
    let slow = Fault::SlowStart(Duration::from_millis(500));
    let cluster = Cluster::start(uniform(3).each(|node| node.faults.push(slow.clone())));
    let (seen, run) = most_down(&cluster, ANALYTICS, COLLECTOR, || restart(&cluster, "-o jsonl").expect(0));
    assert_eq!((run.batches().len(), seen), (1, 3), "{run}");
    cluster.at_rest();
}

/// The pause between batches, by the lab's clock.
#[test]
fn a_pause() {
    let cluster = Cluster::start(uniform(3));
    let run = restart(&cluster, "--serial 1 --pause 600ms -o json").expect(0);
    let starts: Vec<f64> = cluster.nodes().iter().map(|node| cluster.collector(node.name()).start).collect();
    assert!(starts.windows(2).all(|pair| pair[1] - pair[0] >= 0.6), "{starts:?}\n{run}");
    cluster.at_rest();
}

/// A signal ends a pause; nodes that were not started are reported.
#[test]
fn a_signal_in_a_pause() {
    let cluster = Cluster::start(uniform(2));
    let run = cluster.begin(&format!("service {COLLECTOR} restart -y --stable 0s --serial 1 --pause 10m -o jsonl"));
    run.until_printed("\"changed\"");
    run.signal("INT");
    let run = run.finish().expect(130);
    assert_eq!(run.batches(), ["n01"], "{run}");
    assert_eq!(cluster.counts(ANALYTICS, COLLECTOR), [RESTARTED, UNTOUCHED], "{run}");
    cluster.at_rest();
}

/// `--dry-run=live` reads the nodes for the plan, and neither locks nor changes any.
#[test]
fn a_live_plan() {
    let cluster = Cluster::start(databases(3).fault("db3", Fault::Fatal(KAFKA.to_owned())));
    cluster.wait_for("db3", DATABASE, KAFKA, State::Fatal);
    let run = cluster.ctl(&format!("service {KAFKA} restart -y --dry-run=live -o json")).expect(3);
    let plan = run.document();
    let step = &plan["plan"]["steps"][0];
    assert_eq!(list(&list(&step["batches"])[0]), ["db3"], "expected the node that is down to go first\n{run}");
    // The result of the first node decides about the others; the plan lists them all.
    let mut all: Vec<&str> = list(&step["batches"]).iter().flat_map(list).map(word).collect();
    all.extend(list(&step["not_started"]).iter().map(word));
    all.sort_unstable();
    assert_eq!(all, ["db1", "db2", "db3"], "{run}");
    for node in cluster.nodes() {
        let seen = node.counters();
        assert!(seen.logins == 1 && !seen.execs.iter().any(|command| is_guard(command)), "{seen:?}");
    }
    assert_eq!(cluster.counts(DATABASE, KAFKA)[..2], [UNTOUCHED; 2], "{run}");
}
