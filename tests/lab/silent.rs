//! Nodes that stop answering, wherever that is: the run ends in time, the others are served, and the silent one is named.

use std::fmt::Write as _;
use std::iter::zip;
use std::process::Command;
use std::sync::{Condvar, Mutex, PoisonError};
use std::time::{Duration, Instant};

use contrail_lab::{Fault, Request, State};

use crate::harness::{ANALYTICS, COLLECTOR, Cluster, Finished, Running, ended, eventually, uniform, word};

/// The times of these runs. Nothing of a good node comes near them.
const TIMES: &str = "--connect-timeout 6 --timeout 6";

/// Labs of a test that run at once. They wait most of the time.
const AT_ONCE: usize = 8;

/// Labs of all tests here that may run at once: more would keep good nodes from answering within [`TIMES`].
static FREE: Mutex<usize> = Mutex::new(10);

/// Signalled when a lab has ended.
static ENDED: Condvar = Condvar::new();

/// Room for one lab. Dropping it gives the room back.
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

/// What is run on the nodes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Work {
    Restart,
    /// By `supervisorctl`.
    RestartByCommand,
    Exec,
    Status,
    StatusByCommand,
    Wait,
    /// With the node searched.
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

    /// How it ends on a good node.
    fn well(self) -> &'static str {
        if self.changes() { "changed" } else { "ok" }
    }

    /// The result that tells of a node.
    fn result(self, run: &Finished, node: &str) -> serde_json::Value {
        let results = run.results();
        let own = |result: &&serde_json::Value| {
            result["node"] == node
                && result["outcome"] != "not_configured"
                && (self != Self::Depth || !matches!(word(&result["outcome"]), "ok"))
        };
        let any = |result: &&serde_json::Value| result["node"] == node;
        let found = results.iter().find(own).or_else(|| results.iter().find(any));
        found.unwrap_or_else(|| panic!("nothing of {node}\n{run}")).clone()
    }
}

/// One run of two nodes, one of which has a fault. Its errors go to `wrong`; gives how the one ended, and how
/// long the run took.
fn one(work: Work, fault: &Fault, silent: &str, good: &str, wrong: &mut String) -> (String, Finished, Duration) {
    let cluster = Cluster::start(uniform(2).fault(silent, fault.clone()));
    let before = cluster.collector(silent);
    let began = Instant::now();
    let run = Running::start(work.command(&cluster, TIMES)).finish();
    let took = began.elapsed();
    let mut say = |what: String| writeln!(wrong, "{work:?} {fault:?}: {what}\n{run}\n").expect("a string");
    let well = work.result(&run, good);
    if ended(&well) != work.well() {
        say(format!("{good}, which is well, ended as {}", ended(&well)));
    }
    let result = work.result(&run, silent);
    let now = cluster.collector(silent);
    if result["outcome"] == "unknown" && work != Work::Exec && (now.starts, now.stops) == (before.starts, before.stops)
    {
        say("unknown, though nothing was begun".to_owned());
    }
    // What was stopped is started again by the node itself.
    cluster.wait_for(silent, ANALYTICS, COLLECTOR, State::Running);
    (ended(&result), run, took)
}

/// Runs every case, several at once, and tells of all that differ.
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
            wrong += &case.join().expect("a case that runs to its end");
        }
    });
    assert!(wrong.is_empty(), "{wrong}");
}

/// A request that is never answered, or refused: one line for each phase.
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
        // Arming: nothing was stopped.
        (Restart, unanswered(Arm), "timed_out timed_out"),
    ];
    all(&cases, |(work, fault, expected)| {
        let mut wrong = String::new();
        let (got, run, _) = one(*work, fault, "n01", "n02", &mut wrong);
        if got != *expected {
            writeln!(wrong, "{work:?} {fault:?}: expected {expected}, got {got}\n{run}\n").expect("a string");
        }
        wrong
    });
}

/// The node says nothing from its message of number N on, for each N until the run is over before. Prints how long the
/// slowest run took, which depends on the machine (`--nocapture` shows it).
#[expect(clippy::print_stdout, reason = "the figure is for whoever measures")]
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
        first += u32::try_from(AT_ONCE).expect("a few");
        let ends: Vec<(String, String, Duration)> = std::thread::scope(|scope| {
            let run = |number: u32| {
                // The one that is locked first, and the other.
                let (silent, good) = if number.is_multiple_of(2) { ("n01", "n02") } else { ("n02", "n01") };
                let mut wrong = String::new();
                let _permit = LabPermit::acquire();
                let (got, run, took) = one(work, &Fault::SilentAfter(number), silent, good, &mut wrong);
                if got != work.well() && !may_be(&got) {
                    writeln!(wrong, "{work:?} from message {number} on: {got}\n{run}\n").expect("a string");
                }
                (got, wrong, took)
            };
            let running: Vec<_> = numbers.iter().map(|number| scope.spawn(move || run(*number))).collect();
            running.into_iter().map(|run| run.join().expect("a run that ends")).collect()
        });
        ends.iter().for_each(|(_, said, _)| wrong += said);
        worst = zip(&ends, numbers).map(|((.., took), number)| (*took, number)).fold(worst, Ord::max);
        if ends.iter().all(|(got, ..)| got == work.well()) {
            break;
        }
        assert!(first < 400, "it is never over\n{wrong}");
    }
    let (took, number) = worst;
    println!("silent: {work:?} took {:.1} s at worst, from message {number} on, with {TIMES}", took.as_secs_f64());
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

/// Of `logs` there is no document: it ends, and names the node.
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

/// The first Ctrl-C gives up a lock that is not answered, and says that nothing was begun.
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

/// What waits for a node ends with the connection, whatever the times.
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

/// A log that is followed: a node that does not answer is told, and the others are shown meanwhile.
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
