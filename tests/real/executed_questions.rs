//! Commands that query or act on a node and do not run, die, or follow other output of the login shell.
//!
//! Forwarding is forbidden on every node here, so that ctl reaches supervisord only with commands.

use std::fmt::Write as _;

use serde_json::Value;

use crate::harness::{Cluster, Finished, Instance, Node, NodeSpec, Program};
use crate::sudo::{PASSWORD, with_password};

/// A busy machine must not look like an unreachable node.
const PATIENT: &str = "connect_timeout: 60s";

const NOLOGIN: &str = r#"ForceCommand echo "This account is currently not available."; exit 1"#;

/// A FATAL program is first in the list, where output of the shell could hide it.
fn spec() -> NodeSpec {
    let programs = Instance::analytics()
        .with(Program::dies_at_once("contrail-alarm-gen", 0))
        .with(Program::steady("contrail-collector"));
    NodeSpec::new(programs).sshd("DisableForwarding yes")
}

/// Replaces the node's supervisorctl with a script; `@REAL@` in it is the real one.
pub(crate) fn replace_supervisorctl(node: &Node, script: &str) {
    let script = script.replace("@REAL@", "/run/supervisorctl.real");
    let path = "$(readlink -f \"$(command -v supervisorctl)\")";
    node.sh(&format!(
        "cp {path} /run/supervisorctl.real; printf '%s\\n' '#!/bin/sh' '{script}' >/run/fake; chmod 755 /run/fake; \
         mount --bind /run/fake {path}"
    ));
}

/// Adds lines to the file that root's login shell reads first.
fn write_rc(node: &Node, line: &str) {
    node.sh(&format!("printf '%s\\n' '{line}' >/run/home/root/.bashrc"));
}

/// Asserts that all results of a node are `command` or `protocol` failures; returns the messages as one text.
#[track_caller]
fn all_failed(finished: &Finished, node: &str) -> String {
    let results: Vec<Value> = finished.results().into_iter().filter(|result| result["node"] == node).collect();
    assert!(!results.is_empty(), "no result for {node}\n{finished}");
    let mut text = String::new();
    for result in results {
        let failure = &result["failure"];
        assert_eq!(result["outcome"], "failed", "{node}\n{finished}");
        assert!(matches!(failure["kind"].as_str(), Some("command" | "protocol")), "{node}: {failure}\n{finished}");
        writeln!(text, "{}", failure["message"].as_str().unwrap_or_default()).unwrap();
    }
    text
}

/// Asserts that reads and changes are not reported as successful.
fn nothing_is_well(cluster: &Cluster, said: &[(&str, &str)]) {
    let status = cluster.ctl("status -o json").expect(1);
    for (node, said) in said {
        let text = all_failed(&status, node);
        assert!(text.contains(said), "{node} said {said:?}\n{status}");
    }
    let named = cluster.ctl("service contrail-collector status -o json").expect(1);
    let wait = cluster.ctl("wait contrail-collector --for running --wait-timeout 1s -o json").expect(1);
    let ping = cluster.ctl("ping -o json").expect(1);
    for (node, _) in said {
        all_failed(&named, node);
        all_failed(&ping, node);
        assert!(wait.results().iter().any(|result| result["node"] == *node && result["outcome"] != "ok"), "{wait}");
    }
    assert_ne!(cluster.ctl("logs contrail-collector").code(), Some(0));
    for action in ["stop", "start", "restart", "update"] {
        for more in ["", " --no-guard"] {
            let finished = cluster.ctl(&format!("service contrail-collector {action} -y -o json{more}")).expect(1);
            let fine = |result: &Value| matches!(result["outcome"].as_str(), Some("ok" | "changed" | "not_configured"));
            assert!(!finished.results().iter().any(fine), "{finished}");
        }
    }
    for (node, _) in said {
        assert_eq!(
            cluster.node(node).process("contrail-collector").map(|found| found.state).as_deref(),
            Some("RUNNING")
        );
    }
}

/// A login shell that runs nothing, or exits before the command.
#[test]
fn what_did_not_run_is_not_all_well() {
    let cluster =
        Cluster::builder().node("nologin", spec().sshd(NOLOGIN)).node("ends", spec()).node("fails", spec()).start();
    write_rc(cluster.node("ends"), "echo maintenance; exit 0");
    write_rc(cluster.node("fails"), "echo closed for today >&2; exit 1");
    let said = [
        ("nologin", "This account is currently not available."),
        ("ends", "maintenance"),
        ("fails", "closed for today"),
    ];
    nothing_is_well(&cluster, &said);
}

/// A supervisorctl that dies, exits with an unknown code, or prints something else or nothing.
#[test]
fn a_supervisorctl_that_does_not_answer_is_not_all_well() {
    let cluster = Cluster::builder().nodes("a", 5, &spec()).defaults(PATIENT).start();
    let said = [
        ("a1", "kill -9 $$", "signal 9"),
        ("a2", "exit 7", "7"),
        ("a3", "echo Segmentation fault in module xyz", "Segmentation fault in module xyz"),
        ("a4", "exit 0", ""),
        ("a5", "@REAL@ \"$@\" | head -n 1; kill -TERM $$", "signal 15"),
    ];
    for (node, script, _) in said {
        replace_supervisorctl(cluster.node(node), script);
    }
    // No output and exit code 0, like a supervisord without programs.
    let silent = cluster.ctl("status -w a4 -o json");
    assert_eq!(silent.result("a4")["message"], "it runs no programs", "{silent}");
    let wrong: Vec<_> = said.iter().filter(|(node, ..)| *node != "a4").map(|(node, _, said)| (*node, *said)).collect();
    let status = cluster.ctl("status -x a4 -o json").expect(1);
    for (node, said) in &wrong {
        assert!(all_failed(&status, node).contains(said), "{node} said {said:?}\n{status}");
    }
    for line in ["stop", "restart"] {
        let finished = cluster.ctl(&format!("service contrail-collector {line} -y -x a4 -o json")).expect(1);
        for (node, _) in &wrong {
            all_failed(&finished, node);
        }
    }
}

/// Asserts that every process is read and every action works, despite the output of the shell.
fn all_is_read(cluster: &Cluster, run: impl Fn(&str, i32) -> Finished) {
    let nodes: Vec<&str> = cluster.nodes().iter().map(|node| node.name.as_str()).collect();
    let status = run("status -o json", 3);
    for node in &nodes {
        assert_eq!(status.result_of(node, "contrail-alarm-gen")["state"], "FATAL", "{status}");
        assert_eq!(status.result_of(node, "contrail-collector")["state"], "RUNNING", "{status}");
        assert_eq!(status.result_of(node, "contrail-collector")["via"], "supervisorctl", "{status}");
    }
    let restart = run("service contrail-collector restart -y -o json", 0);
    let stop = run("service contrail-collector stop -y -o json", 0);
    let start = run("service contrail-collector start -y -o json", 0);
    let init = run("service supervisor-analytics status -o json", 0);
    for node in &nodes {
        for finished in [&restart, &stop, &start] {
            assert_eq!(finished.result_of(node, "contrail-collector")["outcome"], "changed", "{finished}");
        }
        assert_eq!(init.result_of(node, "supervisor-analytics")["state"], "RUNNING", "{init}");
    }
    run("wait contrail-collector --for running --wait-timeout 20s -o json", 0);
    for node in cluster.nodes() {
        node.sh("echo one line of it >>$(ls /var/log/contrail/contrail-collector-stdout*.log)");
    }
    let logs = run("logs contrail-collector -n 1 -o json", 0);
    assert_eq!(logs.stdout.matches("one line of it").count(), nodes.len(), "{logs}");
    assert!(!logs.stdout.contains("Authorized"), "{logs}");
}

/// Output of a shell without a line end hides nothing.
#[test]
fn what_a_shell_prints_before_is_not_read() {
    let greeting = r#"ForceCommand printf "Authorized use only. "; eval "$SSH_ORIGINAL_COMMAND""#;
    let merging = r#"ForceCommand printf "Authorized use only. "; eval "$SSH_ORIGINAL_COMMAND" 2>&1"#;
    let cluster = Cluster::builder()
        .node("greets", spec().sshd(greeting))
        .node("merges", spec().sshd(merging))
        .nodes("a", 3, &spec())
        .defaults(PATIENT)
        .start();
    write_rc(cluster.node("a1"), r#"printf "\033]0;root@a1: Authorized\007""#);
    write_rc(cluster.node("a2"), r#"printf "Authorized: 10%%\rAuthorized: 100%%\r"; printf "Authorized? " >&2"#);
    write_rc(
        cluster.node("a3"),
        r#"echo "bash: fortune: command not found" >&2; echo "contrail-gone RUNNING pid 7, uptime 0:00:07""#,
    );
    all_is_read(&cluster, |line, code| cluster.ctl(line).expect(code));
}

/// The same behind sudo, with and without a password.
#[test]
fn what_a_shell_prints_before_sudo_is_not_read() {
    let greeting =
        r#"ForceCommand printf "Authorized use only. "; printf "Authorized? " >&2; eval "$SSH_ORIGINAL_COMMAND""#;
    let spec = spec().sshd(greeting).sudoers("Defaults lecture=always\nctlpass ALL=(ALL:ALL) ALL");
    let cluster =
        Cluster::builder().nodes("a", 1, &spec).defaults("user: ctlops, sudo: true, connect_timeout: 60s").start();
    all_is_read(&cluster, |line, code| cluster.ctl(&format!("{line} --via supervisorctl")).expect(code));
    all_is_read(&cluster, |line, code| {
        let line = line.replace(" -o json", "");
        with_password(&cluster, &format!("{line} -u ctlpass --via supervisorctl"), PASSWORD).expect(code)
    });
}

/// A command that dies behind sudo, or that sudo does not run, is reported too.
#[test]
fn what_dies_behind_sudo_is_not_all_well() {
    let cluster = Cluster::builder()
        .nodes("a", 1, &spec().sudoers("ctlpass ALL=(ALL:ALL) ALL"))
        .node("nologin", spec().sshd(NOLOGIN))
        .defaults("user: ctlops, sudo: true, connect_timeout: 60s")
        .start();
    replace_supervisorctl(cluster.node("a1"), "kill -9 $$");
    let plain = cluster.ctl("status --via supervisorctl -o json").expect(1);
    let asked = with_password(&cluster, "status -u ctlpass --via supervisorctl", PASSWORD).expect(1);
    for finished in [plain, asked] {
        assert!(all_failed(&finished, "a1").contains("signal 9"), "{finished}");
        assert!(all_failed(&finished, "nologin").contains("This account is currently not available."), "{finished}");
    }
}

/// A Python warning is not parsed as a process, and is not lost.
#[test]
fn a_warning_is_not_an_answer() {
    let cluster = Cluster::builder()
        .nodes("a", 1, &spec())
        .node("none", NodeSpec::new(Instance::analytics()).sshd("DisableForwarding yes"))
        .defaults(PATIENT)
        .start();
    let warning = "/usr/lib/python3/dist-packages/supervisor/options.py:13: UserWarning: pkg_resources is deprecated";
    for node in cluster.nodes() {
        replace_supervisorctl(
            node,
            &format!("echo \"{warning}\" >&2; echo \"  import pkg_resources\" >&2; exec @REAL@ \"$@\""),
        );
    }
    let status = cluster.ctl("status -o json").expect(3);
    assert_eq!(status.result_of("a1", "contrail-alarm-gen")["state"], "FATAL", "{status}");
    assert_eq!(status.result("none")["message"], "it runs no programs", "{status}");
}
