//! Evidence of a failed start: the exit status or signal of a service, and the end of its log, from real supervisords.

use crate::harness::{Cluster, Finished, Instance, NodeSpec, Program};

const TRACEBACK: &str = r#"echo "Traceback (most recent call last):" >&2; echo "  File \"collector.py\", line $$" >&2; echo "IOError: no disk" >&2"#;

/// A program that comes up once, and runs `what` at the next start.
fn trapped(name: &str, what: &str) -> Program {
    let command = format!("/bin/bash -c 'if [ -e /run/trap ]; then {what}; fi; exec sleep 1000000'");
    Program::running(name, &command).set("startretries", "1")
}

fn restarted(program: Program) -> (Cluster, Finished) {
    let cluster = Cluster::of(2, &NodeSpec::new(Instance::webui().with(program)));
    for node in cluster.nodes() {
        node.sh("touch /run/trap");
    }
    let finished = cluster.ctl("service contrail-webui restart -y -o json").expect(1);
    (cluster, finished)
}

#[test]
fn a_traceback_is_shown_once_for_all_nodes() {
    let program = trapped("contrail-webui", "/bin/bash /etc/contrail/fail.sh; exit 7");
    let cluster = Cluster::of(2, &NodeSpec::new(Instance::webui().with(program)));
    for node in cluster.nodes() {
        node.sh(&format!("cat >/etc/contrail/fail.sh <<'EOF'\n{TRACEBACK}\nEOF\ntouch /run/trap"));
    }
    let finished = cluster.ctl("service contrail-webui restart -y").expect(1);
    let notes = &finished.stderr;
    assert_eq!(notes.matches("exit status 7; the end of its stderr log:\n").count(), 1, "{finished}");
    assert_eq!(notes.matches("    IOError: no disk\n").count(), 1, "expected the text once: {finished}");
    assert!(notes.contains("  same on a2, except for numbers\n") || notes.contains("on a[1-2]: "), "{finished}");

    // The journal has it too.
    let shown = cluster.ctl("runs show last");
    assert!(shown.stderr.contains("exit status 7; the end of its stderr log:\n"), "{shown}");
    assert!(shown.stderr.contains("    IOError: no disk\n"), "{shown}");
    let evidence = &cluster.ctl("runs show last -o json").result("a1")["evidence"];
    assert_eq!(evidence["exit_status"], 7);
    assert_eq!(evidence["ended"], "exit status 7; not expected");
    assert_eq!(evidence["stream"], "stderr");
    assert_eq!(evidence["lines"].as_array().unwrap().last().unwrap(), "IOError: no disk");
}

#[test]
fn a_signal_is_named() {
    let (_cluster, finished) = restarted(trapped("contrail-webui", "echo last words; kill -SEGV $$"));
    for node in ["a1", "a2"] {
        let result = finished.result(node);
        assert_eq!(result["failure"]["kind"], "fatal", "{finished}");
        let evidence = &result["evidence"];
        assert_eq!(evidence["exit_status"], serde_json::Value::Null);
        let ended = evidence["ended"].as_str().unwrap();
        assert!(ended.starts_with("terminated by SIGSEGV"), "{finished}");
        // stderr is empty.
        assert_eq!(evidence["stream"], "stdout");
        assert_eq!(evidence["lines"].as_array().unwrap().last().unwrap(), "last words", "{finished}");
    }
}

#[test]
fn one_that_is_tried_again_and_again() {
    let program = trapped("contrail-webui", "echo again >&2; exit 3").set("startretries", "100").set("startsecs", "2");
    let (_cluster, finished) = restarted(program);
    let result = finished.result("a1");
    assert_eq!(result["failure"]["kind"], "abnormal_termination", "{finished}");
    assert_eq!(result["evidence"]["exit_status"], 3, "{finished}");
    assert_eq!(result["evidence"]["lines"].as_array().unwrap().last().unwrap(), "again");
}

#[test]
fn one_that_ends_in_the_stable_window_and_one_that_supervisorctl_told_of() {
    let program = trapped("contrail-webui", "echo short >&2; sleep 2; exit 4").set("autorestart", "false");
    let cluster = Cluster::of(1, &NodeSpec::new(Instance::webui().with(program)));
    cluster.node("a1").sh("touch /run/trap");
    for via in ["rpc", "supervisorctl"] {
        let line = format!("service contrail-webui restart --stable 20s --via {via} -o json");
        let finished = cluster.ctl(&line).expect(1);
        let result = finished.result("a1");
        assert_eq!(result["failure"]["kind"], "unstable", "{finished}");
        assert_eq!(result["evidence"]["exit_status"], 4, "{finished}");
        assert_eq!(result["evidence"]["lines"].as_array().unwrap().last().unwrap(), "short", "{finished}");
    }
}

/// A program that never ran has no log; a log that is not UTF-8 is valid evidence.
#[test]
fn what_there_is_not_and_what_is_not_text() {
    let instance = Instance::webui()
        .with(Program::running("contrail-webui", "/nowhere/at-all").set("autostart", "false").set("startretries", "1"))
        .with(trapped("contrail-webui-middleware", "/bin/bash /etc/contrail/fail.sh; exit 5"));
    let cluster = Cluster::of(1, &NodeSpec::new(instance));
    cluster.node("a1").sh("cat >/etc/contrail/fail.sh <<'EOF'\nprintf 'caf\\351\\n' >&2\nEOF\ntouch /run/trap");
    let finished = cluster.ctl("service contrail-webui start -o json").expect(1);
    assert_eq!(finished.result("a1")["failure"]["kind"], "spawn_error", "{finished}");
    assert_eq!(finished.result("a1")["evidence"], serde_json::Value::Null, "{finished}");
    let finished = cluster.ctl("service contrail-webui-middleware restart -o json").expect(1);
    let evidence = &finished.result("a1")["evidence"];
    assert_eq!(evidence["exit_status"], 5, "{finished}");
    assert_eq!(evidence["lines"].as_array().unwrap().last().unwrap(), "caf\u{fffd}", "{finished}");
}
