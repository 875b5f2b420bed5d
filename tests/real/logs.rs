//! `ctl logs` with real supervisords: all kinds of logs, and everything that can happen to a log that is followed.

use crate::executed_questions::replace_supervisorctl;
use crate::following::Following;
use crate::harness::{Cluster, Instance, NodeSpec, Program, eventually};

const WEBUI: &str = "/var/log/contrail/webui.log";

/// A program whose stdout the test writes through a pipe, so that supervisord writes the log.
fn told(name: &str) -> Program {
    let pipe = format!("/run/tell-{name}");
    let command = format!(
        r#"/bin/bash -c "mkfifo {pipe} 2>/dev/null; exec 3<>{pipe}; while IFS= read -r line <&3; do printf '%%b' \"$line\"; done""#
    );
    Program::running(name, &command).set("stdout_logfile", &format!("/var/log/contrail/{name}.log"))
}

/// Makes such a program print `text`, with escapes as in printf's `%b`.
fn tell(cluster: &Cluster, node: &str, name: &str, text: &str) {
    cluster.node(node).sh(&format!("printf '%s\\n' '{text}' >/run/tell-{name}"));
}

fn node(program: Program) -> NodeSpec {
    NodeSpec::new(Instance::webui().with(program))
}

fn one(program: Program) -> Cluster {
    Cluster::of(1, &node(program))
}

/// An existing log that only the test writes.
fn written(log: &str) -> Program {
    Program::steady("contrail-webui").set("stdout_logfile", log)
}

#[test]
fn the_last_lines_are_those_of_the_file() {
    let cluster = one(written(WEBUI));
    // 20,000 lines with 3-byte characters, so that a chunk may begin within a character.
    cluster.node("a1").sh(&format!("i=1; while [ $i -le 20000 ]; do echo \"線 $i 終\"; i=$((i+1)); done >{WEBUI}"));
    for count in [0_usize, 1, 10, 999, 20_000, 100_000] {
        let finished = cluster.ctl(&format!("logs contrail-webui -n {count}")).expect(0);
        let lines: Vec<&str> = finished.stdout.lines().collect();
        let wanted: Vec<String> =
            (1..=20_000).skip(20_000_usize.saturating_sub(count)).map(|i| format!("a1: 線 {i} 終")).collect();
        assert!(lines == wanted, "-n {count}: {} lines, the first {:?}", lines.len(), lines.first());
        assert_eq!(finished.stderr, "", "{finished}");
    }
    let log = cluster.node("a1").sshd_log();
    assert!(!log.contains("ctype session"), "expected no command: {log}");
}

#[test]
fn what_is_written_is_followed_over_a_restart() {
    let cluster = one(told("contrail-webui"));
    tell(&cluster, "a1", "contrail-webui", "one\\ntwo\\n");
    let mut logs = Following::start(cluster.ctl_command(["logs", "-f", "contrail-webui"]));
    logs.until_line("a1: two");
    tell(&cluster, "a1", "contrail-webui", "a beginning, ");
    tell(&cluster, "a1", "contrail-webui", "and its end \\033[31m\\r\\n");
    logs.until_line("a1: a beginning, and its end \\x1b[31m");
    let before = cluster.node("a1").process("contrail-webui").unwrap();
    cluster.ctl("service contrail-webui restart -y").expect(0);
    assert_ne!(cluster.node("a1").process("contrail-webui").unwrap().pid, before.pid);
    tell(&cluster, "a1", "contrail-webui", "new\\n");
    logs.until_line("a1: new");
    logs.interrupt();
    assert_eq!(logs.lines(), ["a1: one", "a1: two", "a1: a beginning, and its end \\x1b[31m", "a1: new"], "{logs}");
    assert_eq!(logs.notes(), Vec::<String>::new());
}

/// supervisord rotates several times between two polls, and no line is lost or repeated.
#[test]
fn nothing_is_lost_when_supervisord_rotates() {
    let program = told("contrail-webui").set("stdout_logfile_maxbytes", "20000").set("stdout_logfile_backups", "10");
    let cluster = one(program);
    let mut logs = Following::start(cluster.ctl_command(["logs", "-f", "contrail-webui"]));
    tell(&cluster, "a1", "contrail-webui", "first\\n");
    logs.until_line("a1: first");
    for part in 0..4 {
        // About 60 KB at a time, so that several files have lines by then.
        cluster.node("a1").sh(&format!(
            "i=0; while [ $i -lt 1200 ]; do printf 'line %04d of the log, and some more words ...\\\\n\\n' $(({part} * 1200 + i)); i=$((i+1)); done >/run/tell-contrail-webui"
        ));
        logs.until_line(&format!("a1: line {:04} of the log, and some more words ...", part * 1200 + 1199));
    }
    logs.interrupt();
    let wanted: Vec<String> = std::iter::once("a1: first".to_owned())
        .chain((0..4800).map(|i| format!("a1: line {i:04} of the log, and some more words ...")))
        .collect();
    assert!(logs.lines() == wanted, "{logs}");
    let rotated = logs.notes().iter().filter(|note| note.contains("a1 contrail-webui: its log was rotated")).count();
    assert!((4..=13).contains(&rotated), "{logs}");
}

#[test]
fn a_log_that_is_cleared_is_read_from_its_beginning() {
    let cluster = one(told("contrail-webui"));
    tell(&cluster, "a1", "contrail-webui", "old\\n");
    let mut logs = Following::start(cluster.ctl_command(["logs", "-f", "contrail-webui"]));
    logs.until_line("a1: old");
    let clear = "supervisorctl -s unix:///var/run/supervisord_webui.sock clear contrail-webui";
    cluster.node("a1").sh(clear);
    // As long as the old content, so that the size alone does not reveal the change.
    tell(&cluster, "a1", "contrail-webui", "new\\n");
    logs.until_line("a1: new");
    logs.interrupt();
    assert_eq!(logs.lines(), ["a1: old", "a1: new"]);
    let note = "a1 contrail-webui: its log was rotated or cleared: the last lines before that may be missing";
    assert_eq!(logs.notes(), [note]);
}

#[test]
fn a_lost_connection_loses_and_doubles_no_line() {
    let mut cluster = one(told("contrail-webui"));
    let mut logs = Following::start(cluster.ctl_command(["logs", "-f", "contrail-webui"]));
    tell(&cluster, "a1", "contrail-webui", "one\\nhalf a ");
    logs.until_line("a1: one");
    cluster.node_mut("a1").refuse();
    cluster.node("a1").cut_connections();
    logs.until_note("a1: ");
    tell(&cluster, "a1", "contrail-webui", "line\\ntwo\\n");
    cluster.node_mut("a1").listen();
    logs.until_line("a1: two");
    logs.until_note("a1: connected again");
    // Once more, with nothing written meanwhile.
    cluster.node("a1").cut_connections();
    logs.until_note("a1: the connection was lost and restored");
    tell(&cluster, "a1", "contrail-webui", "three\\n");
    logs.until_line("a1: three");
    logs.interrupt();
    assert_eq!(logs.lines(), ["a1: one", "a1: half a line", "a1: two", "a1: three"], "{logs}");
    let notes = logs.notes();
    assert!(notes.len() == 3 && notes[0].ends_with("; trying again"), "{logs}");
}

#[test]
fn a_supervisord_that_is_restarted_is_followed_on() {
    let cluster = one(told("contrail-webui"));
    let mut logs = Following::start(cluster.ctl_command(["logs", "-f", "contrail-webui"]));
    tell(&cluster, "a1", "contrail-webui", "one\\n");
    logs.until_line("a1: one");
    cluster.node("a1").sh("/etc/init.d/supervisor-webui stop");
    logs.until_note("a1 contrail-webui: ");
    cluster.node("a1").sh("/etc/init.d/supervisor-webui start");
    logs.until_note("a1 contrail-webui: its log is readable again");
    cluster.node("a1").wait_for("contrail-webui", "RUNNING");
    tell(&cluster, "a1", "contrail-webui", "two\\n");
    logs.until_line("a1: two");
    logs.interrupt();
    assert_eq!(logs.lines(), ["a1: one", "a1: two"], "{logs}");
    assert_eq!(logs.notes().len(), 2, "{logs}");
}

#[test]
fn a_node_that_is_away_at_first_is_waited_for() {
    let mut cluster = Cluster::of(2, &node(written(WEBUI)));
    for name in ["a1", "a2"] {
        cluster.node(name).sh(&format!("echo here >{WEBUI}"));
    }
    cluster.node_mut("a2").refuse();
    let mut logs = Following::start(cluster.ctl_command(["logs", "-f", "contrail-webui"]));
    logs.until_line("a1: here");
    logs.until_note("a2: ");
    cluster.node_mut("a2").listen();
    logs.until_line("a2: here");
    logs.until_note("a2: answering again");
    logs.interrupt();
    assert_eq!(logs.lines().len(), 2, "{logs}");

    cluster.node_mut("a2").refuse();
    let finished = cluster.ctl("logs contrail-webui").expect(4);
    assert_eq!(finished.stdout, "a1: here\n", "{finished}");
    assert!(finished.stderr.starts_with("a2: refused: "), "{finished}");
}

/// A log in Latin-1 is read with a command, because supervisord on Python 3 cannot return it.
#[test]
fn a_log_that_is_not_utf_8_is_read_by_a_command() {
    let cluster = one(told("contrail-webui"));
    let node = cluster.node("a1");
    tell(&cluster, "a1", "contrail-webui", "caf\\0351\\n");
    let finished = cluster.ctl("logs contrail-webui").expect(0);
    assert_eq!(finished.stdout, "a1: caf\u{fffd}\n", "{finished}");
    let mut logs = Following::start(cluster.ctl_command(["logs", "-f", "contrail-webui"]));
    logs.until_line("a1: caf\u{fffd}");
    tell(&cluster, "a1", "contrail-webui", "na\\0357ve\\nplain\\n\\0351\\n");
    logs.until_line("a1: \u{fffd}");
    node.sh("supervisorctl -s unix:///var/run/supervisord_webui.sock clear contrail-webui");
    tell(&cluster, "a1", "contrail-webui", "\\0374ber\\n");
    logs.until_line("a1: \u{fffd}ber");
    logs.interrupt();
    let wanted = ["a1: caf\u{fffd}", "a1: na\u{fffd}ve", "a1: plain", "a1: \u{fffd}", "a1: \u{fffd}ber"];
    assert_eq!(logs.lines(), wanted, "{logs}");

    let finished = cluster.ctl("logs contrail-webui --via rpc").expect(1);
    assert!(finished.stderr.contains("a1: no_log: its log is not UTF-8"), "{finished}");
}

/// A UTF-8 log that stops being UTF-8 while it is followed, and a character that arrives in two parts.
#[test]
fn the_middle_of_a_character_is_waited_for() {
    let cluster = one(told("contrail-webui"));
    let mut logs = Following::start(cluster.ctl_command(["logs", "-f", "contrail-webui"]));
    tell(&cluster, "a1", "contrail-webui", "gr\\0303");
    tell(&cluster, "a1", "contrail-webui", "\\0274n\\n");
    logs.until_line("a1: grün");
    tell(&cluster, "a1", "contrail-webui", "caf\\0351\\n");
    logs.until_line("a1: caf\u{fffd}");
    tell(&cluster, "a1", "contrail-webui", "gr\\0303\\0274n\\n");
    logs.until("green again", |lines, _| lines.len() == 3);
    logs.interrupt();
    assert_eq!(logs.lines(), ["a1: grün", "a1: caf\u{fffd}", "a1: grün"], "{logs}");
}

#[test]
fn logs_that_are_none() {
    let instance = Instance::webui()
        .with(Program::steady("contrail-webui").set("stdout_logfile", "NONE").set("redirect_stderr", "true"))
        .with(Program::steady("contrail-webui-middleware").set("stdout_logfile", WEBUI));
    let spec = NodeSpec::new(instance).and(Instance::database().with(Program::steady("kafka")));
    let cluster = Cluster::of(1, &spec.init_service("contrail-database"));
    for line in ["logs contrail-webui", "logs contrail-webui --stderr"] {
        let finished = cluster.ctl(&format!("{line} -o json")).expect(1);
        assert_eq!(finished.outcomes(), ["a1 contrail-webui failed no_log"], "{finished}");
        let follows = cluster.ctl(&line.replace("logs", "logs -f")).expect(1);
        assert!(follows.stderr.contains("a1 contrail-webui: "), "expected no follower: {follows}");
    }
    // The log exists and is empty: supervisord creates the file when it starts the program.
    let finished = cluster.ctl("logs contrail-webui-middleware").expect(0);
    assert_eq!(finished.stdout, "", "{finished}");
    assert_eq!(finished.stderr, "contrail-webui-middleware on a1: nothing was written to it yet\n");
    let finished = cluster.ctl("logs contrail-database -o json").expect(1);
    assert_eq!(finished.outcomes(), ["a1 contrail-database failed no_log"], "{finished}");
    let finished = cluster.ctl("logs contrail-webui-middleware --via service -o json").expect(1);
    assert_eq!(finished.outcomes(), ["a1 contrail-webui-middleware failed no_log"], "{finished}");
    let finished = cluster.ctl("logs contrail-nonsense -w a1 -o json").expect(1);
    assert_eq!(finished.outcomes(), ["a1 contrail-nonsense failed no_such_service"], "{finished}");
    let finished = cluster.ctl("logs contrail-nonsense").expect(1);
    assert!(finished.stderr.contains("no selected node has a service 'contrail-nonsense'"), "{finished}");
}

/// If only supervisorctl reaches supervisord, as on nodes whose sshd forbids forwarding.
#[test]
fn supervisorctl_shows_and_follows_logs_too() {
    let mut cluster = one(told("contrail-webui").set("stderr_logfile", "/var/log/contrail/webui.err"));
    tell(&cluster, "a1", "contrail-webui", "old\\none, gr\\0303\\0274n\\nhalf");
    let mut command = vec!["logs", "-n", "1", "contrail-webui", "--via", "supervisorctl"];
    let finished = cluster.ctl(&command.join(" ")).expect(0);
    assert_eq!(finished.stdout, "a1: half\n", "{finished}");
    cluster.node("a1").sh("echo broken >/var/log/contrail/webui.err");
    let finished = cluster.ctl(&format!("{} --stderr", command.join(" "))).expect(0);
    assert_eq!(finished.stdout, "a1: broken\n", "{finished}");
    // Unusually long lines.
    cluster
        .node("a1")
        .sh("i=0; while [ $i -lt 20 ]; do printf '%02000d\\n' $i; i=$((i+1)); done >/var/log/contrail/webui.err");
    let finished = cluster.ctl("logs -n 12 contrail-webui --via supervisorctl --stderr").expect(0);
    let numbers: Vec<&str> = finished.stdout.lines().map(|line| &line[line.len() - 2..]).collect();
    assert_eq!(numbers, ["08", "09", "10", "11", "12", "13", "14", "15", "16", "17", "18", "19"], "{finished}");
    cluster.node("a1").sh("echo broken >/var/log/contrail/webui.err");

    command.extend(["-f", "-n", "2"]);
    command.drain(1..3);
    let mut logs = Following::start(cluster.ctl_command(command));
    logs.until_line("a1: one, grün");
    tell(&cluster, "a1", "contrail-webui", " a line\\ntwo\\n");
    logs.until_line("a1: two");
    // More than supervisorctl shows of older output, written while the node is unreachable.
    cluster.node_mut("a1").refuse();
    cluster.node("a1").cut_connections();
    logs.until_note("a1: ");
    cluster.node("a1").sh(
        "i=0; while [ $i -lt 200 ]; do printf 'line %04d of the log\\\\n\\n' $i; i=$((i+1)); done >/run/tell-contrail-webui",
    );
    cluster.node_mut("a1").listen();
    logs.until_line("a1: line 0199 of the log");
    tell(&cluster, "a1", "contrail-webui", "last\\n");
    logs.until_line("a1: last");
    logs.interrupt();
    let wanted: Vec<String> = ["a1: one, grün", "a1: half a line", "a1: two"]
        .map(str::to_owned)
        .into_iter()
        .chain((0..200).map(|i| format!("a1: line {i:04} of the log")))
        .chain(["a1: last".to_owned()])
        .collect();
    assert!(logs.lines() == wanted, "{logs}");
    // No process is left on the node.
    eventually("supervisorctl to end on the node", || {
        cluster
            .node("a1")
            .sh("cat /proc/[0-9]*/cmdline 2>/dev/null | tr '\\0' ' '; true")
            .contains("tail -f")
            .then_some(())
            .is_none()
            .then_some(())
    });
}

/// supervisord before 3.1.1 never looks at the path again, so that `tail -f` stays with the old file and is silent.
#[test]
fn a_rotation_that_an_old_supervisord_does_not_notice() {
    let cluster = one(written(WEBUI));
    let node = cluster.node("a1");
    // The real one, but for its version and for following by descriptor.
    let script = format!(
        r#"case "$*" in *" version") echo 3.0;; *"tail -f"*) echo "==> Press Ctrl-C to exit <=="; exec tail -c 1024 -f {WEBUI};; *) exec @REAL@ "$@";; esac"#
    );
    replace_supervisorctl(node, &script);
    node.sh(&format!("printf 'one\\n' >{WEBUI}"));
    let mut logs = Following::start(cluster.ctl_command(["logs", "-f", "contrail-webui", "--via", "supervisorctl"]));
    logs.until_line("a1: one");
    node.sh(&format!("printf 'two\\n' >>{WEBUI}"));
    logs.until_line("a1: two");
    for round in 0..2 {
        node.sh(&format!("mv {WEBUI} {WEBUI}.{round}; printf 'after {round}\\n' >{WEBUI}"));
        logs.until_line(&format!("a1: after {round}"));
        node.sh(&format!("printf 'more {round}\\n' >>{WEBUI}"));
        logs.until_line(&format!("a1: more {round}"));
    }
    // An empty log is not reported again and again.
    node.sh(&format!("mv {WEBUI} {WEBUI}.2; : >{WEBUI}"));
    logs.until("the last rotation", |_, notes| notes.len() == 3);
    node.sh(&format!("printf 'last\\n' >>{WEBUI}"));
    logs.until_line("a1: last");
    logs.interrupt();
    let lines = ["a1: one", "a1: two", "a1: after 0", "a1: more 0", "a1: after 1", "a1: more 1", "a1: last"];
    assert_eq!(logs.lines(), lines, "{logs}");
    let note = "a1 contrail-webui: its log was rotated, or written too fast: lines may be missing";
    assert_eq!(logs.notes(), [note; 3], "{logs}");
}

#[test]
fn stderr_and_the_processes_of_a_group() {
    let instance = Instance::config()
        .with(
            Program::running("contrail-api", r#"/bin/sh -c "echo out; echo err >&2; exec sleep 100000""#)
                .workers(2)
                .set("stderr_logfile", "/var/log/contrail/api-%(process_num)s.err"),
        )
        .with(Program::steady("contrail-schema").set("stdout_logfile", WEBUI));
    let cluster = Cluster::of(1, &NodeSpec::new(instance));
    cluster.node("a1").sh(&format!("echo here >{WEBUI}"));
    let sorted = |line: &str| {
        let finished = cluster.ctl(line).expect(0);
        let mut lines: Vec<String> = finished.stdout.lines().map(str::to_owned).collect();
        lines.sort();
        lines
    };
    assert_eq!(sorted("logs contrail-api --stderr"), ["a1 contrail-api:0: err", "a1 contrail-api:1: err"]);
    assert_eq!(sorted("logs contrail-api:1"), ["a1: out"]);
    let all = ["a1 contrail-api:0: out", "a1 contrail-api:1: out", "a1 contrail-schema: here"];
    assert_eq!(sorted("logs contrail-*"), all);
    let lines = cluster.ctl("logs contrail-schema -o jsonl").expect(0).stdout;
    let line = lines.lines().find(|line| line.contains(r#""event":"log""#)).expect("expected a line");
    assert_eq!(
        line,
        r#"{"schema":"ctl/1","event":"log","node":"a1","role":"config","supervisor":"supervisor-config","service":"contrail-schema","stream":"stdout","line":"here"}"#
    );
    let document = cluster.ctl("logs contrail-schema -o json").expect(0);
    assert_eq!(document.result("a1")["lines"], serde_json::json!(["here"]));
}

/// Everything that needs root on the node uses sudo: the relay to the socket, the file that is not UTF-8, the rotated
/// file, and supervisorctl.
#[test]
fn logs_through_sudo() {
    let cluster = Cluster::builder()
        .node("a1", node(told("contrail-webui").set("stdout_logfile_maxbytes", "1000")).inventory("sudo: true"))
        .defaults("user: ctlops")
        .start();
    cluster.node("a1").sh("chmod 700 /var/log/contrail");
    tell(&cluster, "a1", "contrail-webui", "one\\n");
    let mut ways: Vec<Following> = ["rpc", "supervisorctl", "auto"]
        .map(|via| Following::start(cluster.ctl_command(["logs", "-f", "contrail-webui", "--via", via])))
        .into_iter()
        .collect();
    for logs in &mut ways {
        logs.until_line("a1: one");
    }
    tell(&cluster, "a1", "contrail-webui", "two\\n");
    for logs in &mut ways {
        logs.until_line("a1: two");
    }
    drop(ways.drain(..2));
    let mut logs = ways.remove(0);
    // The end of the old file and the beginning of the new one, written between two polls.
    cluster.node("a1").sh(
        "i=0; while [ $i -lt 60 ]; do printf 'line %02d of the log\\\\n\\n' $i; i=$((i+1)); done >/run/tell-contrail-webui",
    );
    logs.until_line("a1: line 59 of the log");
    tell(&cluster, "a1", "contrail-webui", "caf\\0351\\n");
    logs.until_line("a1: caf\u{fffd}");
    logs.interrupt();
    let wanted: Vec<String> = ["a1: one".to_owned(), "a1: two".to_owned()]
        .into_iter()
        .chain((0..60).map(|i| format!("a1: line {i:02} of the log")))
        .chain(["a1: caf\u{fffd}".to_owned()])
        .collect();
    assert!(logs.lines() == wanted, "{logs}");
    assert!(logs.notes().iter().all(|note| note.contains("rotated")), "{logs}");
}
