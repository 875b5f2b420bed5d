//! The guard checks its rescue before anything is stopped: if the check fails, nothing is stopped; if it succeeds, the
//! rescue works, whatever authentication supervisord requires and whatever privileges the user has.

use std::fs;

use crate::harness::{Cluster, Finished, Instance, Node, NodeSpec, Program, eventually};

/// Contains characters that are special in an INI file, a shell and a format string.
const PASSWORD: &str = r#"s3c%ret;$x"q\'"#;

/// The same password as escaped in the configuration of supervisord 4.2.
const IN_CONFIGURATION: &str = r#"s3c%%ret;$x"q\'"#;

/// A pattern that matches the password, but not itself.
const TRACE: &str = "s3c[%]ret";

fn analytics() -> NodeSpec {
    NodeSpec::new(Instance::analytics().with(Program::slow_to_stop("contrail-collector", 3)))
}

/// A supervisord of a user-defined role that requires a password; `password` is the content of the inventory's password
/// file.
fn billing(password: &str, defaults: &str) -> (Cluster, tempfile::NamedTempFile) {
    let file = tempfile::NamedTempFile::new().unwrap();
    fs::write(file.path(), format!("{password}\n")).unwrap();
    let instance = Instance::billing().with(Program::slow_to_stop("invoicer", 3)).with(Program::steady("mailer"));
    let cluster = Cluster::builder()
        .node("b1", NodeSpec::new(instance.asking_for("op", IN_CONFIGURATION)))
        .sections(&format!(
            "roles:\n  billing: {{supervisor: supervisor-billing, socket: \"http://localhost:9010\", \
             services: [invoicer, mailer], username: op, password_file: {}}}",
            file.path().display()
        ))
        .defaults(defaults)
        .start();
    (cluster, file)
}

/// Asserts that other users cannot read the password anywhere on the node.
#[track_caller]
fn no_trace(node: &Node) {
    let script = format!(
        "grep -l -a '{TRACE}' /proc/[0-9]*/cmdline /proc/[0-9]*/environ 2>/dev/null || true\n\
         grep -rl -a '{TRACE}' /tmp /run/lock /run/home /var/log /dev/shm 2>/dev/null || true"
    );
    assert_eq!(node.sh(&script), "", "on {}", node.name);
}

fn is_locked(node: &Node) -> bool {
    node.sh("flock -n /run/lock true && echo free || echo held").trim() == "held"
}

/// Kills the controller while `service` is being stopped, and waits until its guard has started it again.
#[track_caller]
fn killed_while_stopping(cluster: &Cluster, node: &Node, service: &str, line: &str) {
    let before = node.process(service).unwrap().pid;
    let run = cluster.ctl_start(line);
    node.wait_for(service, "STOPPING");
    no_trace(node);
    run.signal("KILL");
    drop(run.finish());
    eventually("the guard to start it again", || {
        no_trace(node);
        node.process(service).filter(|now| now.state == "RUNNING" && now.pid != before)
    });
    eventually("the lock to be released", || (!is_locked(node)).then_some(()));
    no_trace(node);
}

/// Asserts that nothing was stopped, and that the reason is reported.
#[track_caller]
fn refused(run: &Finished, node: &str, kind: &str, said: &str) {
    let failure = &run.result(node)["failure"];
    let message = failure["message"].as_str().unwrap();
    assert_eq!((&run.result(node)["outcome"], &failure["kind"]), (&"failed".into(), &kind.into()), "{run}");
    assert!(message.contains("not stopped") && message.contains(said), "{run}");
    assert!(failure["hint"].as_str().unwrap().contains("--no-guard"), "{run}");
}

/// The password is sent over the held channel, and appears in no argument, environment or file of the node.
#[test]
fn a_supervisord_with_a_password_is_rescued() {
    let (cluster, _file) = billing(PASSWORD, "");
    let node = cluster.node("b1");
    killed_while_stopping(&cluster, node, "invoicer", "service invoicer mailer restart --role billing -y -vv");
    let run = cluster.ctl("service invoicer restart --role billing -y -o json -vv").expect(0);
    assert!(!run.stderr.contains("s3c%") && !run.stdout.contains("s3c%"), "{run}");
}

/// The same behind sudo, with a user other than the one who has the password.
#[test]
fn a_supervisord_with_a_password_behind_sudo_is_rescued() {
    let (cluster, _file) = billing(PASSWORD, "user: ctlops, sudo: true");
    killed_while_stopping(&cluster, cluster.node("b1"), "invoicer", "service invoicer restart --role billing -y");
}

/// A password that contains the start of an INI comment: nothing is stopped.
#[test]
fn a_password_that_cannot_be_handed_over() {
    let instance = Instance::billing().with(Program::slow_to_stop("invoicer", 3));
    let file = tempfile::NamedTempFile::new().unwrap();
    fs::write(file.path(), "a ;b").unwrap();
    let cluster = Cluster::builder()
        .node("b1", NodeSpec::new(instance.asking_for("op", "{SHA}502fe4228aff63afeeaa3c846d27cc6d755589d3")))
        .sections(&format!(
            "roles:\n  billing: {{supervisor: supervisor-billing, socket: \"http://localhost:9010\", \
             services: [invoicer], username: op, password_file: {}}}",
            file.path().display()
        ))
        .start();
    let node = cluster.node("b1");
    let before = node.process("invoicer").unwrap();
    let run = cluster.ctl("service invoicer restart --role billing -o json").expect(1);
    refused(&run, "b1", "permission", "/dev/stdin");
    assert_eq!(node.process("invoicer").unwrap(), before, "{run}");
}

/// An update removes and adds a group: its rescue is checked too.
#[test]
fn an_update_with_a_password_is_rescued() {
    let (cluster, _file) = billing(PASSWORD, "");
    let node = cluster.node("b1");
    let changed = Program::slow_to_stop("invoicer", 3).set("priority", "7");
    node.write_program("supervisor-billing", &changed);
    killed_while_stopping(&cluster, node, "invoicer", "service invoicer update --role billing -y");
}

/// The interpreter of supervisorctl is missing: the shell's error is reported, and nothing is stopped on this node; the
/// others are not affected.
#[test]
fn a_supervisorctl_that_cannot_run() {
    let cluster = Cluster::of(2, &analytics());
    let node = cluster.node("a2");
    node.sh(
        "printf '#!/usr/bin/python2.6\\n' >/run/nopy; chmod +x /run/nopy; mount --bind /run/nopy $(command -v supervisorctl)",
    );
    let before = node.process("contrail-collector").unwrap();
    let run = cluster.ctl("service contrail-collector restart -y -o json --max-failures 100%").expect(1);
    assert_eq!(run.result("a1")["outcome"], "changed", "{run}");
    refused(&run, "a2", "command", "supervisorctl");
    assert_eq!(node.process("contrail-collector").unwrap(), before, "{run}");
    assert!(!is_locked(node));
    let run = cluster.ctl("service contrail-collector restart -w a2 -y -o json --no-guard").expect(0);
    assert_eq!(run.result("a2")["outcome"], "changed", "{run}");
}

/// supervisorctl prints an invalid answer and exits with 0.
#[test]
fn a_supervisorctl_that_answers_nothing() {
    let cluster = Cluster::of(1, &analytics());
    let node = cluster.node("a1");
    node.sh("printf '#!/bin/sh\\necho ready.\\n' >/run/mute; chmod +x /run/mute; mount --bind /run/mute $(command -v supervisorctl)");
    let before = node.process("contrail-collector").unwrap();
    let run = cluster.ctl("service contrail-collector restart -o json").expect(1);
    refused(&run, "a1", "command", "ready.");
    assert_eq!(node.process("contrail-collector").unwrap(), before, "{run}");
}

/// sudo allows the user everything except this command.
#[test]
fn a_sudo_that_refuses_the_rescue() {
    let spec = analytics().sudoers("ctlops ALL=(ALL:ALL) NOPASSWD: ALL, !/usr/bin/supervisorctl");
    let cluster = Cluster::builder().node("a1", spec).defaults("user: ctlops, sudo: true").start();
    let node = cluster.node("a1");
    let before = node.process("contrail-collector").unwrap();
    let run = cluster.ctl("service contrail-collector restart -o json").expect(1);
    refused(&run, "a1", "permission", "sudo -n supervisorctl");
    assert_eq!(node.process("contrail-collector").unwrap(), before, "{run}");
}

/// A node manager's password differs from the one in the node's configuration file for `supervisorctl`.
#[test]
fn a_configuration_on_the_node_without_the_password() {
    let instance = Instance::analytics().with(Program::slow_to_stop("contrail-collector", 3));
    let file = tempfile::NamedTempFile::new().unwrap();
    fs::write(file.path(), PASSWORD).unwrap();
    let cluster = Cluster::builder()
        .node("a1", NodeSpec::new(instance.asking_for("op", IN_CONFIGURATION)))
        .sections(&format!("roles:\n  analytics: {{username: op, password_file: {}}}", file.path().display()))
        .start();
    let node = cluster.node("a1");
    let before = node.process("contrail-collector").unwrap();
    let run = cluster.ctl("service contrail-collector restart -o json").expect(1);
    refused(&run, "a1", "permission", "/etc/contrail/supervisord_analytics.conf");
    assert_eq!(node.process("contrail-collector").unwrap(), before, "{run}");
}

/// One init command stops and starts, and runs to its end without ctl; the guard does not interfere.
#[test]
fn a_restart_through_the_init_wrapper() {
    let cluster = Cluster::of(1, &analytics());
    let node = cluster.node("a1");
    killed_while_stopping(&cluster, node, "contrail-collector", "service contrail-collector restart --via service -y");
}

/// The controller dies while init restarts a whole supervisord.
#[test]
fn a_restart_of_an_instance() {
    let cluster = Cluster::of(1, &analytics());
    let node = cluster.node("a1");
    killed_while_stopping(&cluster, node, "contrail-collector", "service supervisor-analytics restart -y");
}
