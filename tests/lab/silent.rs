//! Nodes that stop answering, at any point: the run ends in time, the other nodes are processed, and the silent one is
//! named.

use std::fmt::Write as _;
use std::iter::zip;
use std::process::Command;
use std::sync::{Condvar, Mutex, PoisonError};
use std::time::{Duration, Instant};

use contrail_lab::{Fault, Request, State};

use crate::harness::{ANALYTICS, COLLECTOR, Cluster, Finished, Running, ended, eventually, uniform, word};

/// The timeouts of these runs. A healthy node needs far less.
const TIMES: &str = "--connect-timeout 6 --timeout 6";

/// Labs of one test that run at once. They mostly wait.
const AT_ONCE: usize = 8;

/// The number of labs of all these tests that may run at once. With more, healthy nodes would not answer within
/// [`TIMES`].
static FREE: Mutex<usize> = Mutex::new(10);

/// Signalled when a lab has ended.
static ENDED: Condvar = Condvar::new();

/// A permit for one lab. Dropping it returns the permit.
struct LabPermit;

impl LabPermit {
    fn acquire() -> Self {
        let free = FREE.lock().unwrap_or_else(PoisonError::into_inner);
        let mut free = ENDED.wait_while(free, |free| *free == 0).unwrap_or_else(PoisonError::into_inner);
        *free -= 1;
        Self
    }
}

impl Drop for LabPermit {
    fn drop(&mut self) {
        *FREE.lock().unwrap_or_else(PoisonError::into_inner) += 1;
        ENDED.notify_one();
    }
}

/// The command that runs on the nodes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Work {
    Restart,
    /// With `supervisorctl`.
    RestartByCommand,
    Exec,
    Status,
    StatusByCommand,
    Wait,
    /// A deep status, which scans the node.
    Depth,
    Check,
}

impl Work {
    fn command(self, cluster: &Cluster, times: &str) -> Command {
        let words = match self {
            Self::Restart => format!("service {COLLECTOR} restart -y"),
            Self::RestartByCommand => format!("service {COLLECTOR} restart -y --via supervisorctl"),
            Self::Exec => "exec -y".to_owned(),
            Self::Status => format!("service {COLLECTOR} status"),
            Self::StatusByCommand => format!("service {COLLECTOR} status --via supervisorctl"),
            Self::Wait => format!("wait {COLLECTOR} --for running --wait-timeout 6"),
            Self::Depth => "status --all".to_owned(),
            Self::Check => format!("service {COLLECTOR} restart -y --max-failures 100% --stable 0s --check true"),
        };
        let mut command = cluster.command(&format!("{words} -o json {times}"));
        if self == Self::Exec {
            command.args(["--", "true"]);
        }
        command
    }

    fn changes(self) -> bool {
        matches!(self, Self::Restart | Self::RestartByCommand | Self::Exec | Self::Check)
    }

    /// The outcome on a healthy node.
    fn well(self) -> &'static str {
        if self.changes() { "changed" } else { "ok" }
    }

    /// The result for a node.
    fn result(self, run: &Finished, node: &str) -> serde_json::Value {
        let results = run.results();
        let own = |result: &&serde_json::Value| {
            result["node"] == node
                && result["outcome"] != "not_configured"
                && (self != Self::Depth || !matches!(word(&result["outcome"]), "ok"))
        };
        let any = |result: &&serde_json::Value| result["node"] == node;
        let found = results.iter().find(own).or_else(|| results.iter().find(any));
        found.unwrap_or_else(|| panic!("no result for {node}\n{run}")).clone()
    }
}

/// Runs a command on two nodes, one of which has a fault. Appends errors to `wrong`; returns the result of the silent
/// node, and the duration.
fn one(work: Work, fault: &Fault, silent: &str, good: &str, wrong: &mut String) -> (String, Finished, Duration) {
    let cluster = Cluster::start(uniform(2).fault(silent, fault.clone()));
    let before = cluster.collector(silent);
    let began = Instant::now();
    let run = Running::start(work.command(&cluster, TIMES)).finish();
    let took = began.elapsed();
    let mut say =
        |what: String| writeln!(wrong, "{work:?} {fault:?}: {what}\n{run}\n").expect("writing to a String cannot fail");
    let well = work.result(&run, good);
    if ended(&well) != work.well() {
        say(format!("expected {good} to succeed, got {}", ended(&well)));
    }
    let result = work.result(&run, silent);
    let now = cluster.collector(silent);
    if result["outcome"] == "unknown" && work != Work::Exec && (now.starts, now.stops) == (before.starts, before.stops)
    {
        say("unknown, though nothing was started".to_owned());
    }
    // The node itself restarts the stopped service.
    cluster.wait_for(silent, ANALYTICS, COLLECTOR, State::Running);
    (ended(&result), run, took)
}

/// Runs every case, several at once, and reports all that differ.
#[track_caller]
fn all<C: Sync>(cases: &[C], check: impl Fn(&C) -> String + Sync) {
    let mut wrong = String::new();
    let check = |case| {
        let _permit = LabPermit::acquire();
        check(case)
    };
    std::thread::scope(|scope| {
        let check = &check;
        let running: Vec<_> = cases.iter().map(|case| scope.spawn(move || check(case))).collect();
        for case in running {
            wrong += &case.join().expect("the case panicked");
        }
    });
    assert!(wrong.is_empty(), "{wrong}");
}

/// Requests that are never answered, or refused: one line for each phase.
#[test]
fn each_request_left_unanswered() {
    use Request::{Arm, Command, Forwarding, Guard, HalfGuard, Session};
    use Work::{Depth, Exec, Restart, RestartByCommand, Status, StatusByCommand, Wait};
    let unanswered = Fault::Unanswered;
    let cases = [
        // Locking.
        (Restart, unanswered(Session), "timed_out timed_out"),
        (Restart, unanswered(Command), "timed_out timed_out"),
        (Restart, unanswered(Guard), "timed_out timed_out"),
        (Restart, unanswered(HalfGuard), "timed_out timed_out"),
        (Restart, Fault::NoWindow, "timed_out timed_out"),
        (Restart, Fault::CommandRefused, "failed command"),
        (Exec, unanswered(Session), "timed_out timed_out"),
        (Exec, unanswered(Command), "timed_out timed_out"),
        (Exec, unanswered(Guard), "timed_out timed_out"),
        (Exec, Fault::NoWindow, "timed_out timed_out"),
        (Exec, Fault::CommandRefused, "failed command"),
        (RestartByCommand, unanswered(Command), "timed_out timed_out"),
        (RestartByCommand, Fault::CommandRefused, "failed command"),
        // Reading.
        (Restart, unanswered(Forwarding), "timed_out timed_out"),
        (Status, unanswered(Forwarding), "timed_out timed_out"),
        (StatusByCommand, unanswered(Session), "timed_out timed_out"),
        (StatusByCommand, unanswered(Command), "timed_out timed_out"),
        (StatusByCommand, Fault::CommandRefused, "failed command"),
        (Wait, unanswered(Forwarding), "timed_out timed_out"),
        (Depth, unanswered(Forwarding), "timed_out timed_out"),
        // Arming: nothing was stopped yet.
        (Restart, unanswered(Arm), "timed_out timed_out"),
    ];
    all(&cases, |(work, fault, expected)| {
        let mut wrong = String::new();
        let (got, run, _) = one(*work, fault, "n01", "n02", &mut wrong);
        if got != *expected {
            writeln!(wrong, "{work:?} {fault:?}: expected {expected}, got {got}\n{run}\n")
                .expect("writing to a String cannot fail");
        }
        wrong
    });
}

/// The node sends nothing from its message number N on, for each N until the run completes before message N. Prints the
/// duration of the slowest run, which depends on the machine (`--nocapture` shows it).
#[expect(clippy::print_stdout, reason = "the measured duration is part of the output of this test")]
fn from_each_message(work: Work) {
    let may_be = |got: &str| {
        let (outcome, kind) = got.split_once(' ').unwrap_or((got, ""));
        matches!(outcome, "unreachable" | "timed_out" | "failed" | "unknown")
            && matches!(kind, "banner" | "connect_timeout" | "connection_lost" | "timed_out" | "gate")
    };
    let mut wrong = String::new();
    let mut first = 0;
    let mut worst = (Duration::ZERO, 0);
    loop {
        let numbers: Vec<u32> = (first..).take(AT_ONCE).collect();
        first += u32::try_from(AT_ONCE).expect("too many labs");
        let ends: Vec<(String, String, Duration)> = std::thread::scope(|scope| {
            let run = |number: u32| {
                // The node that is locked first, and the other one.
                let (silent, good) = if number.is_multiple_of(2) { ("n01", "n02") } else { ("n02", "n01") };
                let mut wrong = String::new();
                let _permit = LabPermit::acquire();
                let (got, run, took) = one(work, &Fault::SilentAfter(number), silent, good, &mut wrong);
                if got != work.well() && !may_be(&got) {
                    writeln!(wrong, "{work:?} from message {number} on: {got}\n{run}\n")
                        .expect("writing to a String cannot fail");
                }
                (got, wrong, took)
            };
            let running: Vec<_> = numbers.iter().map(|number| scope.spawn(move || run(*number))).collect();
            running.into_iter().map(|run| run.join().expect("the run panicked")).collect()
        });
        ends.iter().for_each(|(_, said, _)| wrong += said);
        worst = zip(&ends, numbers).map(|((.., took), number)| (*took, number)).fold(worst, Ord::max);
        if ends.iter().all(|(got, ..)| got == work.well()) {
            break;
        }
        assert!(first < 400, "the run never completes\n{wrong}");
    }
    let (took, number) = worst;
    println!("silent: {work:?} took at most {:.1} s, from message {number} on, with {TIMES}", took.as_secs_f64());
    assert!(wrong.is_empty(), "{wrong}");
}

#[test]
fn a_restart_from_each_message_on() {
    from_each_message(Work::Restart);
}

#[test]
fn a_restart_with_a_check_from_each_message_on() {
    from_each_message(Work::Check);
}

#[test]
fn an_exec_from_each_message_on() {
    from_each_message(Work::Exec);
}

#[test]
fn a_status_from_each_message_on() {
    from_each_message(Work::Status);
}

/// `logs` has no document: it ends, and names the node.
#[test]
fn logs_from_each_message_on() {
    let numbers: Vec<u32> = (0..24).collect();
    all(&numbers, |number| {
        let cluster = Cluster::start(uniform(2).fault("n01", Fault::SilentAfter(*number)));
        for name in ["n01", "n02"] {
            assert!(cluster.node(name).write_log(ANALYTICS, COLLECTOR, false, b"a line\n"), "{name}");
        }
        let run = cluster.ctl(&format!("logs {COLLECTOR} {TIMES}"));
        let has = |name: &str| run.stdout.contains(&format!("{name}: a line"));
        if has("n02") && (has("n01") || run.stderr.contains("n01")) {
            String::new()
        } else {
            format!("{number}: {run}\n")
        }
    });
}

/// The first Ctrl-C ends the wait for a lock request, and says that nothing was started.
#[test]
fn the_first_signal_ends_the_way_to_the_guard() {
    let cases = [
        (Work::Restart, Fault::Unanswered(Request::Guard)),
        (Work::Restart, Fault::Unanswered(Request::Session)),
        (Work::Exec, Fault::Unanswered(Request::Command)),
        (Work::Restart, Fault::Unanswered(Request::Forwarding)),
        (Work::Restart, Fault::SilentAfter(0)),
    ];
    all(&cases, |(work, fault)| {
        let cluster = Cluster::start(uniform(2).fault("n01", fault.clone()));
        let run = Running::start(work.command(&cluster, "--timeout 600 --connect-timeout 600"));
        eventually("a connection", || (cluster.counters("n01").connections > 0).then_some(()));
        run.signal("INT");
        let run = run.finish();
        let ends: Vec<String> = ["n01", "n02"].map(|name| ended(&work.result(&run, name))).into();
        if ends.iter().all(|end| end == "not_started interrupted") {
            return String::new();
        }
        format!("{work:?} {fault:?}: {ends:?}\n{run}\n")
    });
}

/// A wait for a node ends when its connection is lost, whatever the timeouts.
#[test]
fn a_connection_that_is_gone_is_not_waited_for() {
    use Request::{Arm, Command, Forwarding, Guard, Session};
    let cases = [
        (Work::Restart, Fault::NoWindow),
        (Work::Restart, Fault::Unanswered(Session)),
        (Work::Restart, Fault::Unanswered(Command)),
        (Work::Restart, Fault::Unanswered(Guard)),
        (Work::Restart, Fault::Unanswered(Forwarding)),
        (Work::Restart, Fault::Unanswered(Arm)),
        (Work::Exec, Fault::NoWindow),
        (Work::StatusByCommand, Fault::Unanswered(Command)),
    ];
    all(&cases, |(work, fault)| {
        let cluster = Cluster::start(uniform(2).fault("n01", fault.clone()));
        let run = Running::start(work.command(&cluster, "--timeout 600 --connect-timeout 600 --retries 0"));
        let node = cluster.node("n01");
        eventually("a login", || (node.counters().logins > 0).then_some(()));
        node.set_fault(Fault::Refused);
        node.cut_connections();
        let run = run.finish();
        let (gone, good) = (work.result(&run, "n01"), work.result(&run, "n02"));
        let kind = word(&gone["failure"]["kind"]);
        if matches!(kind, "connection_lost" | "refused") && ended(&good) == work.well() {
            return String::new();
        }
        format!("{work:?} {fault:?}\n{run}\n")
    });
}

/// `logs --follow` reports a node that does not answer, and shows the others meanwhile.
#[test]
fn a_followed_log_of_a_node_that_does_not_answer() {
    for fault in [Fault::Unanswered(Request::Forwarding), Fault::SilentAfter(8)] {
        let cluster = Cluster::start(uniform(2).fault("n01", fault));
        for name in ["n01", "n02"] {
            assert!(cluster.node(name).write_log(ANALYTICS, COLLECTOR, false, b"a line\n"), "{name}");
        }
        let run = cluster.begin(&format!("logs -f {COLLECTOR} --connect-timeout 3 --timeout 3"));
        run.until_printed("n02: a line");
        run.until_said("n01: ");
        run.signal("INT");
        run.finish();
    }
}
