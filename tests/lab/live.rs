//! Live views: `ctl top`, and `ctl status --watch`.

use std::io::Read as _;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use contrail_lab::{Fault, Introspect, State};
use nodeset::NodeSet;
use serde_json::Value;

use crate::following::Following;
use crate::harness::{ANALYTICS, COLLECTOR, Cluster, eventually, parsed, uniform, word};
use crate::terminal::{Left, Terminal};

const WHY: &str = "Database:Global connection down";

/// Twelve analytics nodes: one collector waits for its database, and one node cannot be reached.
fn cluster() -> Cluster {
    let cluster = Cluster::start(uniform(12).fault("n07", Fault::Refused));
    settle(&cluster, false);
    cluster
}

fn top(cluster: &Cluster) -> Terminal {
    let terminal = Terminal::start(&cluster.command("top --interval 200ms"), 24, 80, &cluster.path(""));
    terminal.until("10 of 12 nodes healthy");
    terminal
}

fn settle(cluster: &Cluster, is_functional: bool) {
    let answer = if is_functional { Introspect::Functional } else { Introspect::NonFunctional(WHY.to_owned()) };
    cluster.node("n03").set_introspect(COLLECTOR, 8089, answer);
}

#[test]
fn top_shows_what_is_wrong_and_goes() {
    let cluster = cluster();
    let mut top = top(&cluster);
    top.until_screen("the map and the list", |text| {
        let has = |start: &str, part: &str| text.lines().any(|row| row.starts_with(start) && row.contains(part));
        has(" contrail-collector ", "··i···?·····") && has("? n07", "unreachable") && has("i n03", "initializing")
    });
    // The view shows the recovery.
    settle(&cluster, true);
    top.until("11 of 12 nodes healthy");
    settle(&cluster, false);
    top.until("10 of 12 nodes healthy");
    top.press("q");
    assert_eq!(top.finish(), Left::as_found(0));
}

/// Worse rows that come later go above those that came first: the list stays at its first row until a key is pressed.
#[test]
fn top_stays_at_its_first_row() {
    let cluster = Cluster::start(uniform(12));
    let set = |node: &contrail_lab::Node| {
        node.set_introspect(COLLECTOR, 8089, Introspect::NonFunctional(WHY.to_owned()));
    };
    let mut top = Terminal::start(&cluster.command("top --interval 200ms"), 24, 80, &cluster.path(""));
    top.until("12 of 12 nodes healthy");
    let first_row = |text: &str| {
        let rows = text.lines().skip_while(|row| !row.contains("services, worst first")).nth(1);
        rows.unwrap_or_default().to_owned()
    };
    cluster.nodes().iter().skip(1).for_each(set);
    top.until_screen("the worst row first", |text| {
        text.contains("1 of 12 nodes healthy") && first_row(text).starts_with("i n02 contrail-collector")
    });
    top.press("j");
    set(cluster.node("n01"));
    top.until_screen("the new worst row", |text| first_row(text).starts_with("i n01 contrail-collector"));
    top.press("\r");
    top.until("node n03  (Esc: back");
    top.press("q");
    assert_eq!(top.finish(), Left::as_found(0));
}

#[test]
fn top_filters_and_shows_a_node_with_a_log() {
    let cluster = cluster();
    assert!(cluster.node("n03").write_log(ANALYTICS, COLLECTOR, true, b"first\nno \x1b[2J database\n"));
    let mut top = top(&cluster);
    top.press("/initializing\r");
    top.until("1 of 78 services, worst first, filter: initializing");
    top.press("\r");
    top.until("no \\x1b[2J database");
    top.until("supervisor-analytics: supervisor 3");
    // The log is read again in every round.
    assert!(cluster.node("n03").write_log(ANALYTICS, COLLECTOR, true, b"another line\n"));
    top.until("another line");
    assert_eq!(cluster.counters("n03").connections, 2, "expected one connection for the rounds and one for the log");
    top.press("\x1b");
    top.until("1 of 78 services");
    top.press("q");
    assert_eq!(top.finish(), Left::as_found(0));
}

#[test]
fn top_acts_when_it_is_confirmed() {
    let cluster = cluster();
    let mut top = top(&cluster);
    top.press("/n03 contrail-collector\r");
    top.until("1 of 78 services");
    top.press("r");
    top.until("restart contrail-collector of analytics");
    top.press("n\r");
    top.until_screen("the prompt to close", |text| !text.contains("Really?"));
    assert_eq!(cluster.collector("n03").starts, 1);
    top.press("ry\r");
    top.until("Press Enter to return to the view");
    top.until("$ ctl service contrail-collector restart -w n03 -y --role analytics");
    top.until("1 changed");
    assert_eq!(cluster.collector("n03").starts, 2);
    assert_eq!(cluster.counts(ANALYTICS, COLLECTOR).iter().filter(|(starts, _)| *starts == 2).count(), 1);
    top.press("\r");
    top.until("10 of 12 nodes healthy");
    top.press("q");
    assert_eq!(top.finish(), Left::as_found(0));
}

#[test]
fn top_leaves_the_terminal_when_it_is_ended() {
    let cluster = cluster();
    for (signal, code) in [("INT", 130), ("TERM", 143), ("HUP", 129)] {
        let mut top = top(&cluster);
        top.signal(signal);
        assert_eq!(top.finish(), Left::as_found(code), "{signal}");
    }
    // Ctrl-C is a key in this view.
    let mut top = top(&cluster);
    top.press("\x03");
    assert_eq!(top.finish(), Left::as_found(0));
}

#[test]
fn what_has_no_terminal_any_more_ends() {
    let cluster = cluster();
    top(&cluster).close();
    let deaf = Terminal::start(&deaf_to_hangups(&cluster, "top"), 24, 80, &cluster.path(""));
    deaf.until("10 of 12 nodes healthy");
    deaf.close();
    let watch = Terminal::start(&cluster.command("status --watch 200ms"), 24, 80, &cluster.path(""));
    watch.until("12 nodes, 10 healthy");
    watch.close();
}

/// Runs `ctl` as `nohup` does, which ignores SIGHUP and leaves a terminal's input alone.
fn deaf_to_hangups(cluster: &Cluster, words: &str) -> Command {
    let command = cluster.command(words);
    let mut deaf = Command::new("env");
    deaf.arg("--ignore-signal=HUP").arg(command.get_program()).args(command.get_args());
    deaf.env("HOME", cluster.path(""));
    deaf
}

#[test]
fn top_is_refused_where_there_is_no_terminal() {
    let cluster = Cluster::start(uniform(1));
    let run = cluster.ctl("top").expect(2);
    assert!(run.stderr.contains("ctl status --watch"), "{run}");
    assert_eq!(cluster.connections(), 0);
}

#[test]
fn a_watch_is_drawn_in_place() {
    let cluster = cluster();
    let mut watch = Terminal::start(&cluster.command("status --watch 200ms"), 24, 120, &cluster.path(""));
    watch.until("contrail-collector on n03: initializing (Database:Global connection down)");
    settle(&cluster, true);
    watch.until("better: contrail-collector on n03: initializing (Database:Global connection down) → active");
    assert!(!watch.text().contains("contrail-collector on n03: initializing (Database:Global connection down)\n"));
    settle(&cluster, false);
    watch.until("worse: contrail-collector on n03: active → initializing");
    // One connection to each node, and one for each attempt to reach the missing node.
    let lost = cluster.counters("n07").connections;
    assert_eq!(cluster.connections() - lost, 11);
    watch.signal("INT");
    assert_eq!(watch.finish(), Left::as_found(130));
    assert!(watch.text().contains("changes, newest first:"), "expected the frame to stay visible: {}", watch.text());
}

/// The JSON objects of a watch.
fn objects(watch: &Following) -> Vec<Value> {
    watch.lines().iter().map(|line| parsed(line)).collect()
}

#[test]
fn a_watch_off_a_terminal_is_a_line_for_each_change() {
    let cluster = cluster();
    let mut watch = Following::start(cluster.command("status --watch=200ms"));
    watch.until("the first round", |lines, _| lines.len() == 3);
    settle(&cluster, true);
    watch.until("a change", |lines, _| lines.len() == 4);
    assert!(cluster.node("n01").kill(ANALYTICS, COLLECTOR));
    eventually("the collector of n01 to be restarted", || {
        objects(&watch).iter().any(|line| line["node"] == "n01").then_some(())
    });
    watch.interrupt();
    let lines = objects(&watch);
    assert!(lines.iter().all(|line| line["schema"] == "ctl/1"), "{watch}");
    assert_eq!(lines[0]["event"], "watch_started");
    let told = |line: &Value| ["event", "verdict", "node", "service"].map(|key| word(&line[key]).to_owned());
    let first: Vec<_> = lines[1..3].iter().map(told).collect();
    assert!(first.contains(&["change", "worse", "n03", COLLECTOR].map(str::to_owned)), "{watch}");
    assert!(first.iter().any(|line| line[2] == "n07"), "{watch}");
    assert_eq!(told(&lines[3]), ["change", "better", "n03", COLLECTOR], "{watch}");
    assert!(lines[4..].iter().any(|line| line["node"] == "n01" && line["service"] == COLLECTOR), "{watch}");
}

#[test]
fn a_watch_ends_when_nobody_reads() {
    let cluster = Cluster::start(uniform(2).fault("n01", Fault::Refused));
    let mut command = cluster.command("status --watch=100ms");
    let mut watch = command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().expect("cannot start ctl");
    let mut out = watch.stdout.take().expect("no pipe");
    let mut byte = [0];
    out.read_exact(&mut byte).expect("no output");
    drop(out);
    // It notices the closed pipe only when it writes.
    eventually("the watch to end", || {
        // While the process restarts there is nothing to kill.
        let (status, _was_up) =
            (watch.try_wait().expect("cannot query the child"), cluster.node("n02").kill(ANALYTICS, COLLECTOR));
        status.map(drop)
    });
}

/// Nodes that wait for a free fork are not reported as late.
#[test]
fn a_watch_does_not_blame_nodes_that_were_not_asked() {
    // Each silent node occupies the only fork for a second.
    let silent = ["n01", "n02", "n03", "n04", "n05", "n06"];
    let spec = silent.into_iter().fold(uniform(7), |spec, node| spec.fault(node, Fault::SilentAfterAccept));
    let cluster = Cluster::start(spec);
    let command = cluster.command("status --watch 200ms --forks 1 --connect-timeout 10m");
    let mut watch = Terminal::start(&command, 24, 120, &cluster.path(""));
    watch.until("not read yet: n[");
    watch.until_screen("all silent nodes", |text| {
        // Their order is not certain, nor how fast n07 answers on a busy machine.
        let nodes_after = |label: &str| {
            let line = text.lines().find_map(|line| line.strip_prefix(label));
            NodeSet::parse(line.and_then(|line| line.split(' ').next()).unwrap_or_default()).expect("a node set")
        };
        let (late, waiting) = (nodes_after("connecting to "), nodes_after("not read yet: "));
        assert!(late.intersection(&waiting).is_empty(), "{text}");
        late.to_string() == "n[01-06]"
    });
    watch.signal("INT");
    assert_eq!(watch.finish(), Left::as_found(130));
}

/// A third Ctrl-C during an action ends the action, and the view continues.
#[test]
fn top_outlives_an_action_that_is_interrupted_three_times() {
    let cluster = Cluster::start(uniform(1).fault("n01", Fault::HangAction));
    let command = cluster.command("top contrail-collector --interval 200ms");
    let mut top = Terminal::start(&command, 40, 160, &cluster.path(""));
    top.until("1 of 1 nodes healthy");
    top.press("/n01 contrail-collector\r");
    top.until("filter: n01 contrail-collector");
    top.press("ry\r");
    cluster.wait_for("n01", ANALYTICS, COLLECTOR, State::Stopping);
    // The frozen node cannot release its guard, which takes a few seconds, so the third signal arrives during the
    // action.
    cluster.node("n01").set_fault(Fault::Freeze);
    for said in ["Press Ctrl-C again to stop waiting.", "Press Ctrl-C again to exit now."] {
        top.press("\x03");
        top.until(said);
    }
    top.press("\x03");
    top.until("Press Enter to return to the view");
    // If the action has ended before the third signal, that one discards keys that are typed beside it.
    let mut pressed = None;
    eventually("the view", || {
        if pressed.is_none_or(|at: Instant| at.elapsed() > Duration::from_secs(2)) {
            top.press("\r");
            pressed = Some(Instant::now());
        }
        top.text().contains("filter: n01 contrail-collector").then_some(())
    });
    // Longer than the wait for a stuck process.
    std::thread::sleep(Duration::from_secs(6));
    top.press("q");
    assert_eq!(top.finish(), Left::as_found(0), "{}", top.text());
}
