//! Logins and host keys with OpenSSH's server and agent.

use std::fs;

use crate::harness::{Cluster, HostKey, Instance, NodeSpec, Program};

fn spec() -> NodeSpec {
    NodeSpec::new(Instance::analytics().with(Program::steady("contrail-collector")))
}

#[test]
fn a_key_in_the_agent() {
    let cluster = Cluster::builder().nodes("a", 3, &spec()).with_agent().start();
    cluster.ctl("service contrail-collector restart -y").expect(0);
    // Without the agent there are no credentials.
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
    assert_eq!(refused.outcomes(), ["a1 contrail-collector unreachable key_file"], "expected no credentials");
    cluster.ctl(&format!("service contrail-collector status --identity {}", key.display())).expect(0);
    let missing = cluster.ctl("service contrail-collector status -o json --identity /nonexistent/key").expect(4);
    assert_eq!(missing.outcomes(), ["a1 contrail-collector unreachable key_file"]);
    // A key that the node does not accept.
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
    // There was no login to a host that did not prove its key.
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
    // OpenSSH and ctl itself accept the keys that ctl has written.
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

/// A peer that dies silently is given up after ServerAliveInterval × ServerAliveCountMax, long before the timeout of
/// the action.
#[test]
fn a_dead_peer_is_noticed() {
    let mut cluster = Cluster::of(1, &spec());
    let config = cluster.path("ssh_config");
    fs::write(&config, "Host *\n  ServerAliveInterval 1\n  ServerAliveCountMax 2\n").unwrap();
    let line = format!("exec -y -o json --timeout 30m --ssh-config {} -- sleep 1800", config.display());
    let running = cluster.ctl_start(&line);
    crate::harness::eventually("the command to start", || {
        cluster.node("a1").sh("pgrep -f '^sleep 1800' || true").trim().parse::<u32>().ok()
    });
    cluster.node_mut("a1").refuse();
    cluster.node("a1").signal_connections("STOP");
    let finished = running.finish();
    cluster.node("a1").signal_connections("CONT");
    let result = finished.result("a1");
    assert_eq!(result["outcome"], "unknown", "{finished}");
}

/// The host key settings of ssh_config are applied; other tests compare the decisions with `ssh`.
#[test]
fn host_keys_as_ssh_config_says() {
    let cluster = Cluster::of(1, &spec());
    let dir = cluster.path("keys");
    fs::create_dir(&dir).unwrap();
    let keygen = |words: &[&str]| {
        let output = std::process::Command::new("ssh-keygen").arg("-q").args(words).current_dir(&dir).output().unwrap();
        assert!(output.status.success(), "{words:?}: {}", String::from_utf8_lossy(&output.stderr));
    };
    let key = |name: &str| {
        keygen(&["-t", "ed25519", "-N", "", "-C", "", "-f", name]);
        fs::read_to_string(dir.join(format!("{name}.pub"))).unwrap().trim().to_owned()
    };
    let (host, ca) = (key("host"), key("ca"));
    keygen(&["-s", "ca", "-h", "-I", "host", "-n", "web", "host.pub"]);
    keygen(&["-k", "-f", "revoked", "host.pub"]);
    let path = |name: &str| dir.join(name).display().to_string();
    let sshd = cluster.bare_sshd(1, &format!("HostKey {}\nHostCertificate {}", path("host"), path("host-cert.pub")));
    let inventory = cluster.path("target.yaml");
    fs::write(&inventory, "version: 1\nnodes:\n  target: {roles: [analytics]}\n").unwrap();
    let (user_file, global_file) = (path("known_hosts"), path("global"));
    let decide = |known: &str, global: &str, settings: &str| {
        fs::write(&user_file, known).unwrap();
        fs::write(&global_file, global).unwrap();
        let config = path("config");
        let text = format!(
            "Host target\n  HostName {}\n  Port {}\n  User root\n  UserKnownHostsFile {user_file}\n  \
             GlobalKnownHostsFile {global_file}\n{settings}\n",
            sshd.address(),
            sshd.endpoint.port()
        );
        fs::write(&config, text).unwrap();
        let finished = cluster.ctl(&format!("ping -i {} --ssh-config {config} -o json", inventory.display()));
        let failure = finished.results().remove(0)["failure"].clone();
        let kind = failure["kind"].as_str().unwrap_or_default().to_owned();
        // No supervisord runs there, so a supervisor failure means that the login succeeded.
        if kind.starts_with("supervisor") { "in".to_owned() } else { kind }
    };
    let name = format!("[{}]:{}", sshd.address(), sshd.endpoint.port());
    assert_eq!(decide("", "", ""), "host_key_unknown");
    assert_eq!(decide(&format!("{name} {host}\n"), "", ""), "in");
    assert_eq!(decide("", &format!("{name} {host}\n"), ""), "in");
    assert_eq!(decide(&format!("{name} {ca}\n"), "", ""), "host_key_changed");
    assert_eq!(decide(&format!("alias {host}\n"), "", "  HostKeyAlias alias"), "in");
    assert_eq!(decide(&format!("@cert-authority web {ca}\n"), "", "  HostKeyAlias web"), "in");
    assert_eq!(
        decide(&format!("@cert-authority * {ca}\n"), "", ""),
        "host_key_unknown",
        "the certificate is for another host name"
    );
    let revoked = format!("  RevokedHostKeys {}", path("revoked"));
    assert_eq!(decide(&format!("{name} {host}\n"), "", &revoked), "host_key_revoked");
    assert_eq!(decide("", "", "  StrictHostKeyChecking accept-new\n  HashKnownHosts yes"), "in");
    let written = fs::read_to_string(&user_file).unwrap();
    assert!(written.starts_with("|1|") && written.lines().count() == 1, "{written}");
}
