//! Every fault that the lab can inject, and its result. The other nodes are unaffected.

use std::fmt::Write as _;
use std::time::{Duration, Instant};

use contrail_lab::{ClusterSpec, Fault, Moment, Node, NodeSpec, ProcessSnapshot, Release, Role, SpawnKind, State};
use serde_json::Value;

use crate::harness::{ANALYTICS, COLLECTOR, Cluster, ended, eventually, is_free, list, single, uniform, word};

/// What happened to the collector, according to the node.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Did {
    /// The process is unchanged.
    Nothing,
    /// One stop and one start, and it runs: no action was repeated.
    Restarted,
    /// One stop, and no start.
    Stopped,
    /// Starts that failed.
    Tried,
    /// The stop is in progress and never ends.
    Hangs,
    /// Its supervisord is gone, and the process with it.
    Gone,
}

/// A restart of the collector on three nodes. The second node has the faults.
struct Case {
    faults: Vec<Fault>,
    options: &'static str,
    /// The outcome, and the failure kind.
    ended: &'static str,
    exit: i32,
    did: Did,
}

fn case(fault: Fault, options: &'static str, ended: &'static str, exit: i32, did: Did) -> Case {
    Case { faults: vec![fault], options, ended, exit, did }
}

fn did(before: &ProcessSnapshot, now: &ProcessSnapshot) -> Option<Did> {
    match (now.starts, now.stops, now.state) {
        (1, 0, State::Running) if now.pid == before.pid => Some(Did::Nothing),
        (2, 1, State::Running) if now.pid != before.pid => Some(Did::Restarted),
        (1, 1, State::Stopped) => Some(Did::Stopped),
        (2.., _, State::Backoff | State::Fatal | State::Starting) => Some(Did::Tried),
        (1, 0, State::Stopping) => Some(Did::Hangs),
        (_, _, State::Stopped) if now.pid == 0 => Some(Did::Gone),
        _ => None,
    }
}

/// Labs that run at once. They mostly wait.
const AT_ONCE: usize = 3;

/// Runs every case, and reports all that differ from the contract.
#[track_caller]
fn check(cases: Vec<Case>) {
    let mut wrong = String::new();
    for some in cases.chunks(AT_ONCE) {
        std::thread::scope(|scope| {
            let running: Vec<_> = some.iter().map(|case| scope.spawn(|| differences(case))).collect();
            for case in running {
                wrong += &case.join().expect("the case panicked");
            }
        });
    }
    assert!(wrong.is_empty(), "{wrong}");
}

/// The differences from the contract as text; empty if there are none.
fn differences(Case { faults, options, ended: expected, exit, did: done }: &Case) -> String {
    let mut spec = uniform(3);
    for fault in faults {
        spec = spec.fault("n02", fault.clone());
    }
    let cluster = Cluster::start(spec);
    let before: Vec<_> = ["n01", "n02", "n03"].map(|name| cluster.collector(name)).into();
    let run = cluster.ctl(&format!("service {COLLECTOR} restart -y -o json {options}"));
    let document = run.json();
    let mut wrong = String::new();
    let mut say = |what: String| {
        writeln!(wrong, "{faults:?} {options}: {what}\n{run}\n").expect("writing to a String cannot fail")
    };

    if document["summary"]["nodes"] != 3 {
        say("a node is missing".to_owned());
    }
    for (name, before) in ["n01", "n03"].iter().zip([&before[0], &before[2]]) {
        let (result, now) = (run.result(name), cluster.collector(name));
        if ended(&result) != "changed" || did(before, &now) != Some(Did::Restarted) || result["pid"] != now.pid {
            say(format!("result of {name}: {result:#}, state on the node: {now:?}"));
        }
    }
    let (result, now) = (run.result("n02"), cluster.collector("n02"));
    if ended(&result) != *expected {
        say(format!("expected {expected}, got {}", ended(&result)));
    }
    if document["exit_code"] != *exit {
        say(format!("expected exit code {exit}"));
    }
    // The guard may still be starting a process when ctl has ended.
    let is_done = || did(&before[1], &cluster.collector("n02")) == Some(*done);
    if !within(AFTERMATH, is_done) {
        say(format!("expected {done:?} on the node, got {:?}", cluster.collector("n02")));
    }
    // The guard keeps trying to start a process that hangs while it stops.
    let continue_on_failure = *done == Did::Hangs;
    let at_work = |node: &&Node| !is_free(&node.guard()) && (node.name() != "n02" || !continue_on_failure);
    if !within(AFTERMATH, || !cluster.nodes().iter().any(|node| at_work(&node))) {
        let held: Vec<_> = cluster.nodes().iter().map(Node::guard).collect();
        say(format!("the nodes are still locked: {held:?}"));
    }
    if *expected == "changed" && result["pid"] != now.pid {
        say(format!("the pid on the node is {}", now.pid));
    }
    wrong
}

/// How long a node may take to come to rest after a run.
const AFTERMATH: Duration = Duration::from_secs(20);

/// Whether the condition becomes true within `time`.
fn within(time: Duration, mut look: impl FnMut() -> bool) -> bool {
    let began = Instant::now();
    loop {
        if look() {
            return true;
        }
        if began.elapsed() > time {
            return false;
        }
        std::thread::sleep(Duration::from_millis(5));
    }
}

fn collector() -> String {
    COLLECTOR.to_owned()
}

fn spawn(kind: SpawnKind) -> Fault {
    Fault::SpawnError { program: collector(), kind }
}

#[test]
fn no_connection() {
    check(vec![
        case(Fault::Refused, "", "unreachable refused", 4, Did::Nothing),
        case(Fault::BlackHole, "--connect-timeout 4s", "unreachable connect_timeout", 4, Did::Nothing),
        case(Fault::Freeze, "--connect-timeout 4s", "unreachable connect_timeout", 4, Did::Nothing),
        case(Fault::SilentAfterAccept, "--connect-timeout 4s", "unreachable banner", 4, Did::Nothing),
        case(Fault::CloseBeforeBanner, "", "unreachable banner", 4, Did::Nothing),
        case(Fault::GarbageBanner, "", "unreachable banner", 4, Did::Nothing),
    ]);
}

#[test]
fn no_login() {
    check(vec![
        case(Fault::WrongHostKey, "", "unreachable host_key_changed", 4, Did::Nothing),
        case(Fault::WrongHostKey, "--host-key accept-new", "unreachable host_key_changed", 4, Did::Nothing),
        case(Fault::RevokedHostKey, "", "unreachable host_key_revoked", 4, Did::Nothing),
        case(Fault::RevokedHostKey, "--host-key accept-new", "unreachable host_key_revoked", 4, Did::Nothing),
        case(Fault::UnknownHostKey, "", "unreachable host_key_unknown", 4, Did::Nothing),
        case(Fault::UnknownHostKey, "--host-key accept-new", "changed", 0, Did::Restarted),
        case(Fault::AuthRefused, "", "unreachable auth", 4, Did::Nothing),
        case(Fault::HangOnLogin, "--connect-timeout 4s", "unreachable connect_timeout", 4, Did::Nothing),
    ]);
}

#[test]
fn an_action_that_hangs() {
    check(vec![
        case(Fault::HangAction, "--timeout 6s --via rpc", "timed_out timed_out", 1, Did::Hangs),
        case(Fault::HangAction, "--timeout 6s --via supervisorctl", "timed_out timed_out", 1, Did::Hangs),
        case(Fault::HangAction, "--timeout 6s --via service", "timed_out timed_out", 1, Did::Hangs),
    ]);
}

fn cut(after: Moment, come_back: bool) -> Fault {
    Fault::DropMidAction { after, come_back }
}

/// The connection is reopened to read the result of the action, which is not repeated.
#[test]
fn a_connection_cut_in_mid_action() {
    check(vec![
        case(cut(Moment::Stop, true), "--via rpc", "changed", 0, Did::Restarted),
        case(cut(Moment::Start, true), "--via rpc", "changed", 0, Did::Restarted),
        case(cut(Moment::Stop, true), "--via supervisorctl", "changed", 0, Did::Restarted),
        case(cut(Moment::Start, true), "--via supervisorctl", "changed", 0, Did::Restarted),
        case(cut(Moment::Stop, true), "--via service", "changed", 0, Did::Restarted),
    ]);
}

/// The same for a plain stop and a plain start.
#[test]
fn a_cut_stop_and_a_cut_start_are_read_again() {
    for via in ["rpc", "supervisorctl"] {
        let cluster = Cluster::start(uniform(1).fault("n01", cut(Moment::Stop, true)));
        let run = cluster.ctl(&format!("service {COLLECTOR} stop -o json --via {via}")).expect(0);
        assert_eq!(run.outcomes(), ["n01 contrail-collector changed"], "{run}");
        assert_eq!(
            (run.result("n01")["state"].as_str(), cluster.collector("n01").stops),
            (Some("STOPPED"), 1),
            "{run}"
        );
        cluster.node("n01").set_fault(cut(Moment::Start, true));
        let run = cluster.ctl(&format!("service {COLLECTOR} start -o json --via {via}")).expect(0);
        assert_eq!(run.outcomes(), ["n01 contrail-collector changed"], "{run}");
        assert_eq!(cluster.collector("n01").starts, 2, "{run}");
        assert_eq!(cluster.counters("n01").logins, 4, "{run}");
    }
}

/// ctl waits up to --timeout for a node that is away. Its guard has fulfilled the obligation by then, and ctl reads the
/// result.
#[test]
fn a_node_that_comes_back() {
    let cluster = Cluster::start(uniform(1).fault("n01", cut(Moment::Stop, false)));
    let run = cluster.begin(&format!("service {COLLECTOR} restart -o json --timeout 30s --via rpc -v"));
    // The guard may have started it before the test sees it stopped.
    eventually("the guard's rescue", || (cluster.node("n01").guard().rescues == 1).then_some(()));
    run.until_said("reconnecting");
    cluster.node("n01").remove_fault(&Fault::Refused);
    let run = run.finish().expect(0);
    assert_eq!(run.outcomes(), ["n01 contrail-collector changed"], "{run}");
    let now = cluster.collector("n01");
    assert_eq!((now.starts, now.stops, now.state), (2, 1, State::Running), "{run}");
}

/// The action may have started, and the result cannot be read. A stopped service runs again anyway: the node's guard
/// starts it, or the command in progress finishes.
#[test]
fn a_node_lost_in_mid_action() {
    check(vec![
        case(cut(Moment::Stop, false), "--timeout 6s --via rpc", "unknown connection_lost", 1, Did::Restarted),
        case(cut(Moment::Start, false), "--timeout 6s --via rpc", "unknown connection_lost", 1, Did::Restarted),
        case(
            cut(Moment::Stop, false),
            "--timeout 6s --via supervisorctl",
            "unknown connection_lost",
            1,
            Did::Restarted,
        ),
    ]);
}

#[test]
fn programs_that_do_not_come_up() {
    check(vec![
        case(Fault::SlowStart(Duration::from_millis(600)), "", "changed", 0, Did::Restarted),
        case(Fault::Fatal(collector()), "", "failed fatal", 1, Did::Tried),
        case(spawn(SpawnKind::Spawn), "", "failed spawn_error", 1, Did::Tried),
        case(spawn(SpawnKind::NoFile), "", "failed spawn_error", 1, Did::Stopped),
        case(spawn(SpawnKind::NotExecutable), "", "failed spawn_error", 1, Did::Stopped),
        case(spawn(SpawnKind::NoFile), "--via supervisorctl", "failed spawn_error", 1, Did::Stopped),
        case(spawn(SpawnKind::NotExecutable), "--via supervisorctl", "failed spawn_error", 1, Did::Stopped),
        case(spawn(SpawnKind::Spawn), "--via supervisorctl", "failed spawn_error", 1, Did::Tried),
    ]);
}

/// supervisord retries forever; its success replies do not make the action successful.
#[test]
fn a_program_in_backoff() {
    check(vec![case(Fault::Backoff(collector()), "", "failed abnormal_termination", 1, Did::Tried)]);
}

#[test]
fn nonsense_on_the_wire() {
    check(vec![
        case(Fault::GarbageRpc, "", "failed protocol", 1, Did::Nothing),
        case(Fault::GarbageXml, "", "failed protocol", 1, Did::Nothing),
        case(Fault::EndlessRpc, "", "failed protocol", 1, Did::Nothing),
        case(Fault::EndlessExec, "--via supervisorctl", "failed protocol", 1, Did::Nothing),
        case(Fault::EndlessExec, "--via service", "failed protocol", 1, Did::Nothing),
        // ctl reads supervisord without a shell, but the guard needs one.
        case(Fault::EndlessExec, "", "failed protocol", 1, Did::Nothing),
        case(Fault::EndlessExec, "--no-guard", "changed", 0, Did::Restarted),
    ]);
}

#[test]
fn supervisords_that_do_not_answer() {
    check(vec![
        case(Fault::SupervisorDown, "", "failed supervisor_down", 1, Did::Gone),
        case(Fault::SupervisorDown, "--via rpc", "failed supervisor_down", 1, Did::Gone),
        case(Fault::SupervisorDown, "--via supervisorctl", "failed supervisor_down", 1, Did::Gone),
        case(Fault::InstanceDown(ANALYTICS.to_owned()), "", "failed supervisor_down", 1, Did::Gone),
        case(Fault::SupervisorMissing, "", "failed supervisor_missing", 1, Did::Gone),
        case(Fault::SupervisorMissing, "--via rpc", "failed supervisor_missing", 1, Did::Gone),
        case(Fault::SupervisorMissing, "--via supervisorctl", "failed supervisor_missing", 1, Did::Gone),
        case(Fault::SupervisorMissing, "--via service", "failed supervisor_missing", 1, Did::Gone),
        Case {
            faults: vec![Fault::SupervisorMissing, Fault::NoSupervisorctl],
            options: "--via supervisorctl",
            ended: "failed supervisor_missing",
            exit: 1,
            did: Did::Gone,
        },
        case(Fault::ShutdownState, "", "failed supervisor_down", 1, Did::Nothing),
        case(Fault::ShutdownState, "--via supervisorctl", "failed supervisor_down", 1, Did::Nothing),
    ]);
}

#[test]
fn ways_that_are_closed() {
    let forbidden = || vec![Fault::ForwardingForbidden, Fault::NoSupervisorctl];
    check(vec![
        case(Fault::PermissionDenied, "", "failed permission", 1, Did::Nothing),
        case(Fault::PermissionDenied, "--via rpc", "failed permission", 1, Did::Nothing),
        case(Fault::PermissionDenied, "--via supervisorctl", "failed permission", 1, Did::Nothing),
        case(Fault::ForwardingForbidden, "", "changed", 0, Did::Restarted),
        case(Fault::ForwardingForbidden, "--via rpc", "failed permission", 1, Did::Nothing),
        // ctl can query supervisord without supervisorctl, but a guard could not start the service again if the run
        // died.
        case(Fault::NoSupervisorctl, "", "failed command", 1, Did::Nothing),
        case(Fault::NoSupervisorctl, "--no-guard", "changed", 0, Did::Restarted),
        case(Fault::NoSupervisorctl, "--via supervisorctl", "failed command", 1, Did::Nothing),
        Case {
            faults: forbidden(),
            options: "--via supervisorctl",
            ended: "failed command",
            exit: 1,
            did: Did::Nothing,
        },
        case(Fault::StaleTmpSocket, "", "changed", 0, Did::Restarted),
        case(Fault::StaleTmpSocket, "--via supervisorctl", "changed", 0, Did::Restarted),
    ]);
}

/// The state read afterwards decides, not the reply or the exit code.
#[test]
fn answers_that_cannot_be_trusted() {
    let lying = |fault| vec![Fault::LyingExitCode, fault];
    check(vec![
        case(Fault::ReplyLost, "", "changed", 0, Did::Restarted),
        case(Fault::LyingExitCode, "--via supervisorctl", "changed", 0, Did::Restarted),
        case(Fault::LyingExitCode, "--via service", "changed", 0, Did::Restarted),
        Case {
            faults: lying(Fault::Fatal(collector())),
            options: "--via supervisorctl",
            ended: "failed fatal",
            exit: 1,
            did: Did::Tried,
        },
        Case {
            faults: lying(spawn(SpawnKind::NoFile)),
            options: "--via service",
            ended: "failed spawn_error",
            exit: 1,
            did: Did::Stopped,
        },
    ]);
}

/// The network dies silently in the middle of a restart: the action may have started, and the result cannot be read.
#[test]
fn a_network_that_dies_in_mid_action() {
    let spec = uniform(2).fault("n02", Fault::SlowStart(Duration::from_secs(1)));
    let cluster = Cluster::start(spec);
    let run = cluster.begin(&format!("service {COLLECTOR} restart -y -o json --timeout 6s"));
    cluster.wait_for("n02", ANALYTICS, COLLECTOR, State::Starting);
    cluster.node("n02").set_fault(Fault::Freeze);
    let run = run.finish().expect(1);
    assert_eq!(ended(&run.result("n01")), "changed", "{run}");
    assert_eq!(word(&run.result("n02")["outcome"]), "unknown", "{run}");
    assert_eq!(cluster.collector("n02").starts, 2, "{run}");
}

/// A run over all faults at once: no result is missing, and each names its own failure.
#[test]
fn all_of_it_in_one_run() {
    let faults = [
        (Fault::Refused, "unreachable refused"),
        (Fault::BlackHole, "unreachable connect_timeout"),
        (Fault::SilentAfterAccept, "unreachable banner"),
        (Fault::CloseBeforeBanner, "unreachable banner"),
        (Fault::GarbageBanner, "unreachable banner"),
        (Fault::WrongHostKey, "unreachable host_key_changed"),
        (Fault::RevokedHostKey, "unreachable host_key_revoked"),
        (Fault::UnknownHostKey, "unreachable host_key_unknown"),
        (Fault::AuthRefused, "unreachable auth"),
        (Fault::HangOnLogin, "unreachable connect_timeout"),
        (Fault::HangAction, "timed_out timed_out"),
        (cut(Moment::Stop, true), "changed"),
        (cut(Moment::Start, false), "unknown connection_lost"),
        (Fault::Fatal(collector()), "failed fatal"),
        (spawn(SpawnKind::Spawn), "failed spawn_error"),
        (Fault::GarbageRpc, "failed protocol"),
        (Fault::GarbageXml, "failed protocol"),
        (Fault::EndlessRpc, "failed protocol"),
        (Fault::SupervisorDown, "failed supervisor_down"),
        (Fault::SupervisorMissing, "failed supervisor_missing"),
        (Fault::PermissionDenied, "failed permission"),
        (Fault::ForwardingForbidden, "changed"),
        (Fault::ReplyLost, "changed"),
    ];
    let bad = faults.len();
    let mut spec = uniform(bad + 8);
    for (index, (fault, _)) in faults.iter().enumerate() {
        spec.nodes[index].faults.push(fault.clone());
    }
    let cluster = Cluster::start(spec);
    let run =
        cluster.ctl("service contrail-collector restart -y -o json --connect-timeout 12s --timeout 20s").expect(4);
    let results = run.results();
    assert_eq!(results.len(), bad + 8, "{run}");
    let expected = faults.iter().map(|(_, ended)| *ended).chain(std::iter::repeat_n("changed", 8));
    let got: Vec<String> = cluster.nodes().iter().map(|node| ended(&run.result(node.name()))).collect();
    let wrong: Vec<_> =
        expected.zip(&got).enumerate().filter(|(_, (expected, got))| *expected != got.as_str()).collect();
    assert!(wrong.is_empty(), "{wrong:#?}\n{run}");
}

/// Five of sixteen nodes fail, each in its own way.
#[test]
fn eleven_of_sixteen() {
    let spec = uniform(16)
        .fault("n03", Fault::Refused)
        .fault("n06", Fault::SilentAfterAccept)
        .fault("n09", Fault::WrongHostKey)
        .fault("n12", Fault::HangAction)
        .fault("n15", cut(Moment::Stop, false));
    let cluster = Cluster::start(spec);
    let run =
        cluster.ctl("service contrail-collector restart -y -o json --connect-timeout 12s --timeout 20s").expect(4);
    assert_eq!(run.results().len(), 16, "{run}");
    let summary = &run.json()["summary"];
    assert_eq!(
        ["changed", "unreachable", "timed_out", "unknown"].map(|outcome| summary[outcome].as_u64()),
        [11, 3, 1, 1].map(Some),
        "{run}"
    );
}

/// The output and exit codes of `status` and `ping`.
#[test]
fn questions() {
    let table = [
        (Fault::Refused, "unreachable refused", 4, 4),
        (Fault::AuthRefused, "unreachable auth", 4, 4),
        (Fault::SupervisorDown, "failed supervisor_down", 3, 1),
        (Fault::SupervisorMissing, "failed supervisor_missing", 3, 1),
        (Fault::ShutdownState, "failed supervisor_down", 3, 1),
        (Fault::PermissionDenied, "failed permission", 1, 1),
        (Fault::GarbageXml, "failed protocol", 1, 1),
        (Fault::EndlessRpc, "failed protocol", 1, 1),
    ];
    for (fault, expected, status, ping) in table {
        let cluster = Cluster::start(uniform(2).fault("n02", fault.clone()));
        for (line, exit) in [
            ("status", status),
            ("status contrail-collector", status),
            ("service contrail-collector status", status),
            ("ping", ping),
        ] {
            let run = cluster.ctl(&format!("{line} -o json")).expect(exit);
            let (bad, good): (Vec<Value>, Vec<Value>) =
                run.results().into_iter().partition(|result| result["node"] == "n02");
            assert!(!bad.is_empty() && !good.is_empty(), "{line} {fault:?}\n{run}");
            // init runs redis-server independently of supervisord.
            assert!(bad.iter().any(|result| ended(result) == expected), "{line} {fault:?}\n{run}");
            assert!(good.iter().all(|result| result["outcome"] == "ok"), "{line} {fault:?}\n{run}");
        }
        assert_eq!(cluster.collector("n01").starts, 1, "a read-only command changed something");
    }
}

/// `status` read everything, and something is not RUNNING: exit code 3.
#[test]
fn the_status_of_what_does_not_run() {
    let spec = uniform(3).fault("n02", Fault::Fatal(collector())).fault("n03", Fault::Backoff(collector()));
    let cluster = Cluster::start(spec);
    cluster.wait_for("n02", ANALYTICS, COLLECTOR, State::Fatal);
    let run = cluster.ctl("service contrail-collector status -o json").expect(3);
    assert_eq!(run.result("n01")["state"], "RUNNING", "{run}");
    assert_eq!(run.result("n02")["state"], "FATAL", "{run}");
    assert!(["BACKOFF", "STARTING"].contains(&word(&run.result("n03")["state"])), "{run}");
    for result in run.results() {
        assert_eq!(result["outcome"], "ok", "expected a complete status: {run}");
        assert!(result["pid"].is_null() == (result["state"] != "RUNNING" && result["state"] != "STARTING"), "{run}");
    }
    cluster.ctl("service contrail-collector status -o json -w n01").expect(0);
}

/// Control characters from a node never reach a terminal unescaped; scripts get the text unchanged.
#[test]
fn control_characters_are_made_visible() {
    let evil = |text: &str| text.chars().any(|char| char.is_control() && char != '\n');
    let spec = uniform(1).fault("n01", Fault::ControlCharacters).fault("n01", Fault::Fatal(collector()));
    let cluster = Cluster::start(spec);
    eventually("control characters in a description", || evil(&cluster.collector("n01").description).then_some(()));
    for via in ["rpc", "supervisorctl", "service"] {
        for line in ["service contrail-collector status", "service contrail-collector start", "status", "ping"] {
            for form in cluster.formats(line) {
                let run = cluster.ctl(&format!("{line} --via {via} -o {form} --color always"));
                // Colour is the table's own.
                let stdout = if matches!(form.as_str(), "table" | "wide") {
                    without_colour(&run.stdout)
                } else {
                    run.stdout.clone()
                };
                assert!(!evil(&stdout) && !evil(&run.stderr), "{:?}\n{:?}", run.stdout, run.stderr);
            }
        }
    }
    let run = cluster.ctl("service contrail-collector status -o json --via rpc").expect(3);
    let message = run.result("n01")["message"].clone();
    assert!(word(&message).contains("\u{1b}]0;owned\u{7}"), "expected the original text in JSON: {message}");
    let run = cluster.ctl("service contrail-collector status -o wide --via rpc").expect(3);
    assert!(run.stdout.contains("owned"), "expected the escaped text in the table\n{run}");
}

/// Removes `ESC [ digits m`.
fn without_colour(text: &str) -> String {
    let mut plain = String::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once("\u{1b}[") {
        plain.push_str(before);
        let end = after.trim_start_matches(|char: char| char.is_ascii_digit() || char == ';');
        match end.strip_prefix('m') {
            Some(end) => rest = end,
            None => {
                plain.push('\u{1b}');
                rest = after;
            }
        }
    }
    plain + rest
}

/// A restart of supervisor-vrouter may cut the connection that it was sent over.
#[test]
fn a_restart_that_cuts_its_own_connection() {
    let mut node = NodeSpec::new("c1", Release::R3_2).roles([Role::Compute]);
    node.vrouter_cuts_ssh = true;
    let cluster = Cluster::start(single(node));
    let before = cluster.node("c1").supervisor_pid("supervisor-vrouter");
    let run = cluster.ctl("service supervisor-vrouter restart -o json").expect(0);
    let after = cluster.node("c1").supervisor_pid("supervisor-vrouter");
    assert!(after.is_some() && after != before, "{run}");
    assert_eq!(run.outcomes(), ["c1 supervisor-vrouter changed"], "{run}");
    assert_eq!(run.result("c1")["pid"].as_u64(), after.map(u64::from), "{run}");
    assert_eq!(cluster.counters("c1").logins, 2, "expected a second connection\n{run}");
    let restarts = cluster.counters("c1").execs.iter().filter(|command| command.contains("restart")).count();
    assert_eq!(restarts, 1, "{run}");
}

/// sudo that requires a password or a terminal, or denies; and a user who may open the sockets without it.
#[test]
fn sudo() {
    use contrail_lab::UserPolicy as P;
    let table = [
        (P::SudoNoPassword, "", "changed", 0),
        (P::SudoPassword("secret".to_owned()), "", "failed sudo", 1),
        (P::RequireTty, "", "failed sudo", 1),
        (P::NoSudo, "", "failed sudo", 1),
        (P::SocketGroup, "", "changed", 0),
        (P::SocketGroup, "--via supervisorctl", "changed", 0),
        (P::SudoNoPassword, "--via service", "changed", 0),
    ];
    for (policy, options, expected, exit) in table {
        let cluster = Cluster::start(ClusterSpec::new(uniform(1).nodes).timing(crate::harness::FAST).each(|node| {
            node.policy = policy.clone();
        }));
        let run = cluster.ctl(&format!("service {COLLECTOR} restart -o json {options}")).expect(exit);
        assert_eq!(ended(&run.result("n01")), expected, "{policy:?} {options}\n{run}");
        let starts = cluster.collector("n01").starts;
        assert_eq!(starts, if exit == 0 { 2 } else { 1 }, "{policy:?} {options}\n{run}");
    }
}

/// Every failure has a hint, in the table too.
#[test]
fn a_hint_for_the_person_on_call() {
    let spec = uniform(4)
        .fault("n01", Fault::Refused)
        .fault("n02", Fault::WrongHostKey)
        .fault("n03", Fault::SupervisorDown)
        .fault("n04", Fault::AuthRefused);
    let cluster = Cluster::start(spec);
    let run = cluster.ctl("ping -o json").expect(4);
    for result in list(&run.json()["results"]) {
        assert!(result["failure"]["hint"].as_str().is_some_and(|hint| !hint.is_empty()), "{result:#}");
    }
    let run = cluster.ctl("ping").expect(4);
    for kind in ["refused", "host_key_changed", "supervisor_down", "auth"] {
        assert!(run.stderr.contains(kind), "{kind}\n{run}");
    }
}
