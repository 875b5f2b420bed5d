//! Services run by init, in particular those whose restart is interrupted or whose state cannot be read.

use contrail_lab::{Fault, InitFlavour, Release, Role, ServiceSnapshot};

use crate::harness::{Cluster, ended, node, single, word};

const DATABASE: &str = "contrail-database";

const INITS: [InitFlavour; 3] = [InitFlavour::SysV, InitFlavour::Upstart, InitFlavour::Systemd];

fn cluster(init: InitFlavour) -> Cluster {
    Cluster::start(single(node(Release::R3_2, [Role::Database]).init(init)))
}

fn on_node(cluster: &Cluster) -> ServiceSnapshot {
    cluster.node("n").service(DATABASE).expect("no such service")
}

/// The restart ends between its stop and its start, and then the node stops answering: the guard starts the service.
#[test]
fn a_restart_that_is_cut_short() {
    for init in INITS {
        let cluster = cluster(init);
        cluster.node("n").set_fault(Fault::HalfRestart);
        let run = cluster.ctl(&format!("service {DATABASE} restart -o json")).expect(1);
        assert_eq!(ended(&run.result("n")), "unknown command", "{init:?}\n{run}");
        let message = run.result("n")["failure"]["message"].to_string();
        assert!(message.contains("the guard on the node starts it if it was stopped"), "{init:?}\n{run}");
        cluster.at_rest();
        let now = on_node(&cluster);
        assert!(now.pid != 0 && (now.starts, now.stops) == (2, 1), "{init:?} {now:?}\n{run}");
    }
}

/// A refused restart leaves the service unchanged, running or stopped, and so does the guard.
#[test]
fn a_restart_that_is_refused() {
    for init in INITS {
        let cluster = cluster(init);
        cluster.node("n").set_fault(Fault::RestartDenied);
        for is_running in [true, false] {
            if !is_running {
                cluster.ctl(&format!("service {DATABASE} stop")).expect(0);
            }
            let before = on_node(&cluster);
            let run = cluster.ctl(&format!("service {DATABASE} restart -o json")).expect(1);
            assert_eq!(ended(&run.result("n")), "failed permission", "{init:?}\n{run}");
            cluster.at_rest();
            assert_eq!((on_node(&cluster), cluster.node("n").guard().rescues), (before, 0), "{init:?}\n{run}");
        }
    }
}

/// The node is gone for longer than the stable time, so the run cannot know that the service stayed up.
#[test]
fn a_node_that_is_gone_while_it_should_stay_up() {
    let cluster = cluster(InitFlavour::Systemd);
    let run = cluster.begin(&format!("service {DATABASE} restart -o jsonl --stable 4s --timeout 3s"));
    run.until_printed("\"event\":\"gate\"");
    cluster.node("n").set_fault(Fault::Refused);
    cluster.node("n").cut_connections();
    let run = run.finish().expect(1);
    let events = run.events();
    let result = events.iter().find(|event| event["event"] == "result").expect("expected a result");
    assert_eq!(ended(result), "unknown connection_lost", "{run}");
    assert!(!events.iter().any(|event| event["event"] == "gate" && event["met"] == true), "{run}");
}

/// A signal ends the wait, and the gate reports that it was not met: the wait was cut short.
#[test]
fn a_signal_while_it_should_stay_up() {
    let cluster = cluster(InitFlavour::Systemd);
    let run = cluster.begin(&format!("service {DATABASE} restart -o jsonl --stable 60s"));
    run.until_printed("\"event\":\"gate\"");
    run.signal("INT");
    let run = run.finish().expect(130);
    let cut: Vec<_> = run.events().into_iter().filter(|event| event["met"] == false).collect();
    assert!(word(&cut[0]["waiting_for"]).ends_with(", not waited for to the end"), "{run}");
}

/// The daemon inherits the streams of its init script. The script counts as done as soon as its exit status is known.
#[test]
fn a_daemon_that_keeps_the_streams_of_its_script() {
    let cluster = cluster(InitFlavour::SysV);
    cluster.node("n").set_fault(Fault::StreamsHeld);
    for action in ["restart", "stop", "start"] {
        let run = cluster.ctl(&format!("service {DATABASE} {action} -o json --timeout 10s")).expect(0);
        assert_eq!(ended(&run.result("n")), "changed", "{action}\n{run}");
    }
}

/// The script never ends: the error names init, not a supervisord.
#[test]
fn an_action_that_hangs() {
    let cluster = cluster(InitFlavour::SysV);
    cluster.node("n").set_fault(Fault::HangAction);
    let run = cluster.ctl(&format!("service {DATABASE} stop -o json --timeout 3s")).expect(1);
    assert_eq!(ended(&run.result("n")), "timed_out timed_out", "{run}");
    let message = run.result("n")["failure"]["message"].to_string();
    assert!(message.contains("`service contrail-database` does not answer"), "{run}");
}
