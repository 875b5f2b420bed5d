//! Logins and host keys, against OpenSSH's server and agent.

use std::fs;

use crate::harness::{Cluster, HostKey, Instance, NodeSpec, Program};

fn spec() -> NodeSpec {
    NodeSpec::new(Instance::analytics().with(Program::steady("contrail-collector")))
}

#[test]
fn a_key_in_the_agent() {
    let cluster = Cluster::builder().nodes("a", 3, &spec()).with_agent().start();
    cluster.ctl("service contrail-collector restart -y").expect(0);
    // Without the agent there is nothing to log in with.
    let mut command = cluster.ctl_command(["service", "contrail-collector", "status", "-o", "json"]);
    command.env_remove("SSH_AUTH_SOCK");
    let finished = crate::harness::Running::start(command).finish().expect(4);
    assert_eq!(finished.outcomes()[0], "a1 contrail-collector unreachable key_file", "{finished}");
}

#[test]
fn an_identity_that_is_named() {
    let cluster = Cluster::of(1, &spec());
    let key = cluster.path("moved-key");
    fs::rename(cluster.home().join(".ssh/id_ed25519"), &key).unwrap();
    let refused = cluster.ctl("service contrail-collector status -o json").expect(4);
    assert_eq!(refused.outcomes(), ["a1 contrail-collector unreachable key_file"], "nothing to offer");
    cluster.ctl(&format!("service contrail-collector status --identity {}", key.display())).expect(0);
    let missing = cluster.ctl("service contrail-collector status -o json --identity /nonexistent/key").expect(4);
    assert_eq!(missing.outcomes(), ["a1 contrail-collector unreachable key_file"]);
    // A key that the node does not know.
    let stranger = cluster.new_key("stranger");
    let line = format!("service contrail-collector restart -o json --identity {}", stranger.display());
    let before = cluster.node("a1").process("contrail-collector");
    assert_eq!(cluster.ctl(&line).expect(4).outcomes(), ["a1 contrail-collector unreachable auth"]);
    assert_eq!(cluster.node("a1").process("contrail-collector"), before);
}

#[test]
fn host_keys_that_are_not_known() {
    let cluster = Cluster::builder()
        .nodes("a", 4, &spec())
        .host_key("a2", HostKey::Unknown)
        .host_key("a3", HostKey::Changed)
        .host_key("a4", HostKey::Revoked)
        .start();
    let line = "service contrail-collector status -o json";
    let strict = cluster.ctl(line).expect(4);
    assert_eq!(
        strict.outcomes(),
        [
            "a1 contrail-collector ok",
            "a2 contrail-collector unreachable host_key_unknown",
            "a3 contrail-collector unreachable host_key_changed",
            "a4 contrail-collector unreachable host_key_revoked",
        ]
    );
    // Whoever did not prove its key got no login.
    for node in ["a2", "a3", "a4"] {
        let log = cluster.node(node).sshd_log();
        assert!(!log.contains("Accepted publickey"), "{log}");
    }

    let known_hosts = cluster.home().join(".ssh/known_hosts");
    let before = fs::read_to_string(&known_hosts).unwrap();
    let accepted = cluster.ctl(&format!("{line} --host-key accept-new")).expect(4);
    assert_eq!(
        accepted.outcomes(),
        [
            "a1 contrail-collector ok",
            "a2 contrail-collector ok",
            "a3 contrail-collector unreachable host_key_changed",
            "a4 contrail-collector unreachable host_key_revoked",
        ]
    );
    let after = fs::read_to_string(&known_hosts).unwrap();
    let added = after.strip_prefix(&before).unwrap_or_else(|| panic!("rewritten:\n{after}"));
    assert_eq!(added.lines().count(), 1, "{added}");
    // What ctl has written, OpenSSH and ctl itself believe.
    let mut ssh = cluster.ssh("root", "a2", &["-o", "StrictHostKeyChecking=yes"]);
    ssh.arg("true");
    crate::harness::Running::start(ssh).finish().expect(0);
    assert_eq!(cluster.ctl(line).expect(4).outcomes()[1], "a2 contrail-collector ok");
}

#[test]
fn ping_says_what_is_wrong() {
    let mut cluster =
        Cluster::builder().nodes("a", 3, &spec()).host_key("a2", HostKey::Unknown).refused("x1", "analytics").start();
    let pid = cluster.node("a3").supervisord_pid("supervisor-analytics").unwrap();
    cluster.node("a3").sh(&format!("kill -9 {pid}"));
    let finished = cluster.ctl("ping -o json").expect(4);
    let failure = |node: &str| finished.result(node)["failure"].clone();
    assert!(failure("a1").is_null(), "{finished}");
    for (node, kind) in [("a2", "host_key_unknown"), ("a3", "supervisor_down"), ("x1", "refused")] {
        assert_eq!(failure(node)["kind"], kind, "{finished}");
        assert!(failure(node)["hint"].as_str().is_some_and(|hint| !hint.is_empty()), "{finished}");
    }
    cluster.node_mut("a1").refuse();
    assert_eq!(cluster.ctl("ping -w a1 -o json").expect(4).result("a1")["failure"]["kind"], "refused");
}

/// A peer that died without a word is given up after ServerAliveInterval × ServerAliveCountMax, long before the time for
/// the action is over.
#[test]
fn a_dead_peer_is_noticed() {
    let mut cluster = Cluster::of(1, &spec());
    let config = cluster.path("ssh_config");
    fs::write(&config, "Host *\n  ServerAliveInterval 1\n  ServerAliveCountMax 2\n").unwrap();
    let line = format!("exec -y -o json --timeout 30m --ssh-config {} -- sleep 1800", config.display());
    let running = cluster.ctl_start(&line);
    crate::harness::eventually("the command", || {
        cluster.node("a1").sh("pgrep -f '^sleep 1800' || true").trim().parse::<u32>().ok()
    });
    cluster.node_mut("a1").refuse();
    cluster.node("a1").signal_connections("STOP");
    let finished = running.finish();
    cluster.node("a1").signal_connections("CONT");
    let result = finished.result("a1");
    assert_eq!(result["outcome"], "unknown", "{finished}");
}
