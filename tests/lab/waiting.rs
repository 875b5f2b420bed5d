//! Messages during waits, and the effect of a signal on them.

use std::time::Duration;

use contrail_lab::{ClusterSpec, Fault, Release, Timing};

use crate::harness::{ANALYTICS, COLLECTOR, Cluster, FAST, ended, uniform};
use crate::terminal::{Left, Terminal};

/// A program that ends on TERM, so the lab's timing controls how long it takes.
const SLOW: &str = "contrail-analytics-nodemgr";

fn at_terminal(cluster: &Cluster, words: &str, columns: u16) -> Terminal {
    Terminal::start(&cluster.command(words), 24, columns, &cluster.path(""))
}

/// While ctl waits for a node that does not answer, it names the node and the remaining time.
#[test]
fn a_node_that_does_not_answer_is_named_before_the_first_change() {
    for columns in [80, 40] {
        let cluster = Cluster::start(uniform(3).fault("n02", Fault::BlackHole));
        let line = format!("service {COLLECTOR} restart -y --connect-timeout 4s --retries 0");
        let mut terminal = at_terminal(&cluster, &line, columns);
        terminal.until_screen("the name of the silent node", |text| {
            let lines: Vec<&str> = text.lines().filter(|line| !line.is_empty()).collect();
            lines.len() == 2 && lines[0].contains("0/3 nodes") && lines[1].contains("connecting to n02 for")
        });
        assert_eq!(terminal.finish(), Left::as_found(4));
        let text = terminal.text();
        assert!(
            !text.contains("connecting to") && !text.contains("3 nodes ·"),
            "expected the display to be erased: {text}"
        );
    }
}

/// A lock held by another run.
#[test]
fn a_lock_that_is_waited_for_is_said_with_its_holder() {
    const ANA: &str = "key=ffff run=20261122-101112-abcd user=ana host=jump since=2026-11-22T10:11:12Z reason=x";
    let cluster = Cluster::start(uniform(3));
    assert!(cluster.node("n02").take_lock(ANA));
    let line = format!("service {COLLECTOR} restart -y --lock-wait 10m");
    let mut terminal = at_terminal(&cluster, &line, 160);
    terminal.until_screen("the holder, and the remaining time", |text| {
        let said = |line: &str| {
            line.starts_with("waiting for n02: locked by run 20261122-101112-abcd") && line.contains(" s of 600 s left")
        };
        text.lines().any(said) && text.contains("0/3 nodes")
    });
    assert!(cluster.node("n02").release_lock());
    assert_eq!(terminal.finish(), Left::as_found(0));
    assert!(cluster.node("n02").take_lock(ANA));
    let run = cluster.ctl(&format!("service {COLLECTOR} restart -y --lock-wait 1s")).expect(6);
    let said = run.stderr.lines().filter(|line| line.starts_with("waiting for n02: locked by run 20261122"));
    assert_eq!(said.count(), 1, "{run}");
}

/// A process that takes long to stop.
#[test]
fn a_process_that_is_stopping_is_said_with_for_how_long() {
    let timing = Timing { scale: 0.5, stop: Duration::from_secs(4), ..FAST };
    let cluster = Cluster::start(ClusterSpec::uniform(2, Release::R3_2).timing(timing));
    let mut terminal = at_terminal(&cluster, &format!("service {SLOW} restart -y"), 80);
    // The nodes are shown as one after ctl has read both.
    terminal.until(&format!("stopping {SLOW} on n[01-02]: STOPPING for "));
    assert_eq!(terminal.finish(), Left::as_found(0));
}

/// The display shows a pause, and a signal ends it; the signal's effect is printed next to the display, with every
/// verbosity option.
#[test]
fn a_pause_is_said_and_ended_by_a_signal() {
    for (options, shows) in [("", true), ("-q", false), ("--no-progress", false)] {
        let cluster = Cluster::start(uniform(3));
        let line = format!("service {COLLECTOR} restart -y --serial 1 --stable 0s --pause 10m {options}");
        let mut terminal = at_terminal(&cluster, &line, 120);
        if shows {
            terminal.until("pausing before batch 2/3");
        } else {
            crate::harness::eventually("the first batch", || {
                (cluster.counts(ANALYTICS, COLLECTOR) == [(2, 1), (1, 0), (1, 0)]).then_some(())
            });
        }
        terminal.signal("TERM");
        assert_eq!(terminal.finish(), Left::as_found(143), "{options}");
        let text = terminal.text();
        assert!(text.contains("Stopping: finishing the nodes in progress, starting no more."), "{options}: {text}");
        assert!(text.contains("Press Ctrl-C again to stop waiting."), "{options}: {text}");
    }
}

/// A read-only command ends at the first signal with the results so far, and says so.
#[test]
fn a_reading_command_ends_at_the_first_signal() {
    let silent = Fault::SilentAfterAccept;
    let cluster = Cluster::start(uniform(3).fault("n02", silent));
    for (command, signal, code) in [("status", "INT", 130), ("ping", "TERM", 143), ("status -q", "HUP", 129)] {
        let run = cluster.begin(&format!("{command} -o jsonl --connect-timeout 10m"));
        for node in ["n01", "n03"] {
            run.until_printed(&format!("\"node\":\"{node}\""));
        }
        run.signal(signal);
        let run = run.finish().expect(code);
        assert!(run.stdout.contains("\"event\":\"run_finished\""), "{run}");
        let lost = run.stdout.lines().filter(|line| line.contains("\"node\":\"n02\""));
        assert!(lost.count() > 0, "{run}");
        assert!(run.stderr.contains("Press Ctrl-C again to exit now."), "{run}");
    }
    let before = cluster.counters("n01").connections;
    let run = cluster.begin(&format!("wait {COLLECTOR} --for stopped --wait-timeout 10m -w n01 -o json"));
    crate::harness::eventually("ctl to connect", || (cluster.counters("n01").connections > before).then_some(()));
    run.signal("INT");
    let run = run.finish().expect(130);
    assert_eq!(ended(&run.result("n01")), "not_started interrupted", "{run}");
}

/// In a log: one line for each batch, as in `kubectl rollout status`; nothing for commands that change nothing.
#[test]
fn off_a_terminal_a_batch_is_a_line() {
    let cluster = Cluster::start(uniform(3));
    let run = cluster.ctl(&format!("service {COLLECTOR} restart -y --serial 1,2 --stable 0s --pause 1s")).expect(0);
    for line in [
        "batch 1/2 of analytics: n01 … 1 changed",
        "pausing 1 s before batch 2/2",
        "batch 2/2 of analytics: n[02-03] … 2 changed",
    ] {
        assert!(run.stderr.lines().any(|said| said == line), "{line}\n{run}");
    }
    for calm in [
        format!("service {COLLECTOR} restart -y --serial 1 --stable 0s -q"),
        format!("service {COLLECTOR} restart -y --serial 1 --stable 0s --no-progress"),
        format!("service {COLLECTOR} restart -y --serial 1 --stable 0s -o jsonl"),
        format!("service {COLLECTOR} restart -y"),
        "status".to_owned(),
    ] {
        let run = cluster.ctl(&calm).expect(0);
        assert!(!run.stderr.contains("batch "), "{run}");
    }
}
