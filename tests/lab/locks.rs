//! One run at a time: locks held by others, and nodes that cannot be locked.

use std::time::Duration;

use contrail_lab::{ClusterSpec, Fault, Introspect, Moment, NodeSpec, Release, Role, State};

use crate::harness::{ANALYTICS, COLLECTOR, Cluster, FAST, ended, eventually, is_guard, uniform, word};

/// The description of another controller's lock.
const ANA: &str =
    "key=ffff run=20261122-101112-abcd user=ana host=jump since=2026-11-22T10:11:12Z reason=disk%20swap%2C%20rack%201";

fn guards_sent(cluster: &Cluster, node: &str) -> usize {
    cluster.counters(node).execs.iter().filter(|command| is_guard(command)).count()
}

/// All locks or none: nothing is changed anywhere, and the error names the holder.
#[test]
fn a_lock_that_another_run_holds() {
    let cluster = Cluster::start(uniform(3));
    assert!(cluster.node("n02").take_lock(ANA));
    for options in ["", "--serial 1 --stable 0s", "-f 1", "--no-guard"] {
        let run = cluster.ctl(&format!("service {COLLECTOR} restart -y -o json {options}")).expect(6);
        for name in ["n01", "n02", "n03"] {
            let result = run.result(name);
            assert_eq!(ended(&result), "not_started locked", "{options}\n{run}");
            assert!(result["batch"].is_null(), "{run}");
            let message = word(&result["failure"]["message"]);
            for said in ["n02", "20261122-101112-abcd", "ana@jump", "2026-11-22T10:11:12Z", "disk swap, rack 1"] {
                assert!(message.contains(said), "{said}: {message}");
            }
        }
        assert_eq!(cluster.counts(ANALYTICS, COLLECTOR), [(1, 0); 3], "{options}\n{run}");
        for free in ["n01", "n03"] {
            assert_eq!(cluster.node(free).guard().holder, None, "{options}\n{run}");
        }
        assert_eq!(cluster.node("n02").guard().holder.as_deref(), Some(ANA), "{options}\n{run}");
    }
    let table = cluster.ctl(&format!("service {COLLECTOR} restart -y")).expect(6);
    let said = format!("{}{}", table.stdout, table.stderr);
    assert!(said.contains("ana@jump") && said.contains("disk swap, rack 1"), "{table}");
    let exec = cluster.exec("-y -o json", &["true"]).finish().expect(6);
    assert_eq!(ended(&exec.result("n01")), "not_started locked", "{exec}");
    assert!(cluster.nodes().iter().all(|node| node.commands() == contrail_lab::CommandsSnapshot::default()));
    // Read-only commands need no lock, and runs on other nodes are not affected.
    cluster.ctl("status -o json").expect(0);
    cluster.ctl(&format!("service {COLLECTOR} restart -w n01,n03 -o json")).expect(0);
    assert!(cluster.node("n02").release_lock());
    cluster.at_rest();
}

/// The run waits for the lock, holds no other lock meanwhile, and then continues.
#[test]
fn a_lock_that_is_waited_for() {
    let cluster = Cluster::start(uniform(3));
    assert!(cluster.node("n03").take_lock(ANA));
    let run = cluster.begin(&format!("service {COLLECTOR} restart -y -o json --lock-wait 10m"));
    eventually("a second attempt", || (guards_sent(&cluster, "n03") >= 2).then_some(()));
    assert_eq!(cluster.counts(ANALYTICS, COLLECTOR), [(1, 0); 3]);
    eventually("the other nodes to be released", || {
        let held = ["n01", "n02"].iter().any(|name| cluster.node(name).guard().holder.is_some());
        (!held).then_some(())
    });
    assert!(cluster.node("n03").release_lock());
    let run = run.finish().expect(0);
    assert_eq!(run.json()["summary"]["changed"], 3, "{run}");
    assert_eq!(cluster.counts(ANALYTICS, COLLECTOR), [(2, 1); 3], "{run}");
    cluster.at_rest();
}

/// The lock is not released in time, and the wait is interrupted.
#[test]
fn a_lock_that_stays() {
    let cluster = Cluster::start(uniform(2));
    assert!(cluster.node("n01").take_lock(ANA));
    let run = cluster.ctl(&format!("service {COLLECTOR} restart -y -o json --lock-wait 1s")).expect(6);
    assert_eq!(ended(&run.result("n02")), "not_started locked", "{run}");
    let sent = guards_sent(&cluster, "n01");
    let run = cluster.begin(&format!("service {COLLECTOR} restart -y -o json --lock-wait 10m"));
    eventually("an attempt", || (guards_sent(&cluster, "n01") > sent).then_some(()));
    run.signal("INT");
    let run = run.finish().expect(130);
    assert_eq!(
        run.outcomes(),
        ["n01 contrail-collector not_started interrupted", "n02 contrail-collector not_started interrupted"],
        "{run}"
    );
    assert_eq!(cluster.counts(ANALYTICS, COLLECTOR), [(1, 0); 2], "{run}");
    assert_eq!(cluster.node("n02").guard().holder, None, "{run}");
}

/// All nodes of a capped role are locked, including those that are not selected.
#[test]
fn a_capped_role_is_locked_whole() {
    let nodes = (1..=3).map(|number| NodeSpec::new(format!("db{number}"), Release::R3_2).roles([Role::Database]));
    let cluster = Cluster::start(ClusterSpec::new(nodes.collect()).timing(FAST));
    assert!(cluster.node("db3").take_lock(ANA));
    let run = cluster.ctl("service kafka restart -w db1 -o json").expect(6);
    assert_eq!(run.outcomes(), ["db1 kafka not_started locked"], "{run}");
    assert_eq!(cluster.counts("supervisor-database", "kafka"), [(1, 0); 3], "{run}");
    // Without the cap the other nodes do not matter.
    let run = cluster.ctl("service kafka restart -w db1 -o json --max-unavailable none").expect(0);
    assert_eq!(run.outcomes(), ["db1 kafka changed"], "{run}");
    assert!(cluster.node("db3").release_lock());
    cluster.at_rest();
}

/// A node without flock, or whose user has no shell: refused with a hint, and the hint works.
#[test]
fn a_node_that_cannot_be_guarded() {
    for fault in [Fault::NoFlock, Fault::NoLogin] {
        let cluster = Cluster::start(uniform(3).fault("n02", fault.clone()));
        let run = cluster.ctl(&format!("service {COLLECTOR} restart -y -o json")).expect(1);
        let result = run.result("n02");
        assert_eq!(ended(&result), "failed command", "{fault:?}\n{run}");
        assert!(word(&result["failure"]["hint"]).contains("--no-guard"), "{fault:?}\n{run}");
        assert_eq!(cluster.counts(ANALYTICS, COLLECTOR), [(2, 1), (1, 0), (2, 1)], "{fault:?}\n{run}");
        cluster.at_rest();
        let run = cluster.ctl(&format!("service {COLLECTOR} restart -y -o json --no-guard")).expect(0);
        assert_eq!(run.json()["summary"]["changed"], 3, "{fault:?}\n{run}");
        assert_eq!(cluster.counts(ANALYTICS, COLLECTOR), [(3, 2), (2, 1), (3, 2)], "{fault:?}\n{run}");
        cluster.at_rest();
    }
}

/// A node that only counts towards the cap is read even if it cannot be locked.
#[test]
fn a_watched_node_that_cannot_be_locked() {
    let nodes = (1..=3).map(|number| NodeSpec::new(format!("db{number}"), Release::R3_2).roles([Role::Database]));
    let spec = ClusterSpec::new(nodes.collect()).timing(FAST).fault("db3", Fault::NoFlock);
    let cluster = Cluster::start(spec);
    let restart = || cluster.ctl("service kafka restart -w db[1-2] -y -o json");
    let run = restart().expect(0);
    assert_eq!(run.outcomes(), ["db1 kafka changed", "db2 kafka changed"], "{run}");
    assert_eq!(run.stderr.matches("db3, which counts towards a cap, is not locked").count(), 1, "{run}");
    cluster.node("db3").set_fault(Fault::Fatal("kafka".to_owned()));
    cluster.wait_for("db3", "supervisor-database", "kafka", State::Fatal);
    let run = restart().expect(5);
    let expected = ["db1 kafka not_started max_unavailable", "db2 kafka not_started max_unavailable"];
    assert_eq!(run.outcomes(), expected, "{run}");
    assert!(word(&run.result("db1")["failure"]["message"]).contains("db3"), "{run}");
}

/// A node that cannot be locked, or whose guard could not start its services again, is not changed. Its services still
/// run, so the cap does not block the other nodes.
#[test]
fn a_node_that_is_left_alone_is_not_down() {
    for fault in [Fault::NoFlock, Fault::NoSupervisorctl] {
        let nodes = (1..=3).map(|number| NodeSpec::new(format!("db{number}"), Release::R3_2).roles([Role::Database]));
        let cluster = Cluster::start(ClusterSpec::new(nodes.collect()).timing(FAST).fault("db1", fault.clone()));
        let run = cluster.ctl("service kafka restart -y -o json --max-failures 1 --stable 0s").expect(1);
        let expected = ["db1 kafka failed command", "db2 kafka changed", "db3 kafka changed"];
        assert_eq!(run.outcomes(), expected, "{fault:?}\n{run}");
        assert_eq!(cluster.process("db1", "supervisor-database", "kafka").stops, 0, "{fault:?}\n{run}");
        let run = cluster.ctl("service kafka restart -y -o json").expect(5);
        let expected = ["db1 kafka failed command", "db2 kafka not_started limit", "db3 kafka not_started limit"];
        assert_eq!(run.outcomes(), expected, "{fault:?}\n{run}");
    }
}

/// If a connection is cut while the lock is taken, ctl reconnects, as it does while it reads a node.
#[test]
fn a_connection_that_is_cut_at_the_lock() {
    let cut = Fault::DropMidAction { after: Moment::Lock, come_back: true };
    let cluster = Cluster::start(uniform(2).fault("n02", cut.clone()));
    let run = cluster.ctl(&format!("service {COLLECTOR} restart -y -o json --serial 1 --stable 0s")).expect(0);
    assert_eq!(cluster.counts(ANALYTICS, COLLECTOR), [(2, 1); 2], "{run}");
    assert_eq!((cluster.counters("n02").connections, guards_sent(&cluster, "n02")), (2, 2), "{run}");
    cluster.at_rest();
    cluster.node("n02").set_fault(cut);
    let run = cluster.exec("-y -o json", &["true"]).finish().expect(0);
    assert_eq!(run.json()["summary"]["changed"], 2, "{run}");
}

/// ctl also reconnects if the cut comes while the guard is armed: nothing was stopped yet.
#[test]
fn a_connection_that_is_cut_when_the_guard_is_set() {
    for via in ["rpc", "supervisorctl", "service"] {
        let cut = Fault::DropMidAction { after: Moment::Arm, come_back: true };
        let cluster = Cluster::start(uniform(2).fault("n02", cut));
        let run = cluster.ctl(&format!("service {COLLECTOR} restart -y -o json --stable 0s --via {via}")).expect(0);
        assert_eq!(run.json()["summary"]["changed"], 2, "{via}\n{run}");
        assert_eq!(cluster.counts(ANALYTICS, COLLECTOR), [(2, 1); 2], "{via}\n{run}");
        assert_eq!((cluster.counters("n02").connections, guards_sent(&cluster, "n02")), (2, 2), "{via}\n{run}");
        cluster.at_rest();
    }
}

/// All services of a node at once. Each is restarted once.
#[test]
fn a_connection_that_is_cut_while_many_guards_are_set() {
    let cut = Fault::DropMidAction { after: Moment::Arm, come_back: true };
    let cluster = Cluster::start(uniform(1).fault("n01", cut));
    let run = cluster.ctl("service all restart --role analytics -y -o json --stable 0s").expect(0);
    for result in run.results() {
        let service = word(&result["service"]);
        assert_eq!(result["outcome"], "changed", "{run}");
        assert_eq!(cluster.process("n01", ANALYTICS, service).stops, 1, "{service}\n{run}");
    }
    assert!(run.results().len() > 3, "{run}");
    cluster.at_rest();
}

/// A node that does not come back after the cut was not changed, and the result says so.
#[test]
fn a_node_that_is_away_when_the_guard_is_set() {
    let cut = Fault::DropMidAction { after: Moment::Arm, come_back: false };
    let cluster = Cluster::start(uniform(1).fault("n01", cut));
    let run = cluster.ctl(&format!("service {COLLECTOR} restart -y -o json --stable 0s --timeout 6s")).expect(4);
    assert_eq!(ended(&run.result("n01")), "unreachable refused", "{run}");
    assert_eq!(cluster.counts(ANALYTICS, COLLECTOR), [(1, 0)], "{run}");
}

/// Output of the login shell itself is ignored.
#[test]
fn a_login_shell_that_speaks() {
    let cluster = Cluster::start(uniform(2).fault("n02", Fault::ChattyLogin));
    let run = cluster.ctl(&format!("service {COLLECTOR} restart -y -o json")).expect(0);
    assert_eq!(run.json()["summary"]["changed"], 2, "{run}");
    assert_eq!(guards_sent(&cluster, "n02"), 1, "{run}");
    cluster.at_rest();
    assert!(cluster.node("n02").take_lock(ANA));
    let run = cluster.ctl(&format!("service {COLLECTOR} restart -y -o json")).expect(6);
    assert!(word(&run.result("n02")["failure"]["message"]).contains("ana@jump"), "{run}");
}

/// Two concurrent runs on the same nodes: one changes them, the other changes nothing, and neither waits for the other.
#[test]
fn two_at_once() {
    let not_yet = Introspect::NonFunctional("not yet".to_owned());
    let gated = uniform(4).each(|node| node.introspect.push((COLLECTOR.to_owned(), 8089, not_yet.clone())));
    let cluster = Cluster::start(gated);
    let line = format!("service {COLLECTOR} restart -y -o json --gate active --gate-timeout 5m");
    let mut runs = [cluster.begin(&line), cluster.begin(&line)];
    // The winner stays at its gate until the loser has ended.
    eventually("one of the two runs to end", || runs.iter_mut().any(crate::harness::Running::has_ended).then_some(()));
    for node in cluster.nodes() {
        node.set_introspect(COLLECTOR, 8089, Introspect::Functional);
    }
    let ends = runs.map(crate::harness::Running::finish);
    let mut codes: Vec<u64> = ends.iter().filter_map(|run| run.json()["exit_code"].as_u64()).collect();
    codes.sort_unstable();
    assert_eq!(codes, [0, 6], "{}\n{}", ends[0], ends[1]);
    assert_eq!(cluster.counts(ANALYTICS, COLLECTOR), [(2, 1); 4]);
    let (winner, loser) = if ends[0].json()["exit_code"] == 0 { (&ends[0], &ends[1]) } else { (&ends[1], &ends[0]) };
    let message = word(&loser.result("n01")["failure"]["message"]).to_owned();
    assert!(message.contains(word(&winner.json()["run"])), "{message}\n{winner}");
    cluster.at_rest();
}

/// If a lock is lost during the run and taken by another process, that node is not changed.
#[test]
fn a_lock_that_is_lost_on_the_way() {
    for taken in [true, false] {
        let slow = Fault::SlowStart(Duration::from_secs(1));
        let cluster = Cluster::start(uniform(2).fault("n01", slow));
        let line = format!("service {COLLECTOR} restart -y -o json --serial 1 --stable 0s");
        let run = cluster.begin(&line);
        cluster.wait_for("n01", ANALYTICS, COLLECTOR, contrail_lab::State::Starting);
        assert_eq!(cluster.node("n02").kill_guards(), 1);
        if taken {
            eventually("the lock", || cluster.node("n02").take_lock(ANA).then_some(()));
            let run = run.finish().expect(6);
            assert_eq!(
                run.outcomes(),
                ["n01 contrail-collector changed", "n02 contrail-collector not_started locked"],
                "{run}"
            );
            assert_eq!(cluster.collector("n02").starts, 1, "{run}");
        } else {
            let run = run.finish().expect(0);
            assert_eq!(cluster.collector("n02").starts, 2, "{run}");
            assert_eq!(guards_sent(&cluster, "n02"), 2, "expected a new guard\n{run}");
        }
    }
}

/// A start that always fails: the run reports it, and leaves nothing behind that would block the next run.
#[test]
fn a_start_that_is_refused_for_good() {
    for kind in [contrail_lab::SpawnKind::NoFile, contrail_lab::SpawnKind::NotExecutable] {
        let gone = Fault::SpawnError { program: COLLECTOR.to_owned(), kind };
        let cluster = Cluster::start(uniform(1).fault("n01", gone.clone()));
        let run = cluster.ctl(&format!("service {COLLECTOR} restart -o json")).expect(1);
        assert_eq!(ended(&run.result("n01")), "failed spawn_error", "{run}");
        // The operator fixes the problem and resumes at once.
        cluster.node("n01").remove_fault(&gone);
        let run = cluster.ctl(&format!("service {COLLECTOR} start -o json")).expect(0);
        assert_eq!(ended(&run.result("n01")), "changed", "{run}");
        cluster.at_rest();
    }
}
