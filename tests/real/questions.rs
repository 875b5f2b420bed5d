//! Prompts on a terminal before the first real connection.

use std::fs;
use std::process::Command;

use crate::harness::{Cluster, HostKey, Instance, NodeSpec, Program};

fn spec() -> NodeSpec {
    NodeSpec::new(Instance::analytics().with(Program::steady("contrail-collector")))
}

const STATUS: &str = "service contrail-collector status";

/// The fingerprint of the node's key as ssh-keygen prints it: "256 SHA256:…".
fn fingerprint(cluster: &Cluster, node: &str) -> String {
    let text = cluster.node(node).sh("ssh-keygen -lf /etc/ssh/host_key0");
    let words: Vec<&str> = text.split_whitespace().collect();
    format!("{} {} ", words[0], words[1])
}

#[test]
fn unknown_hosts_are_shown_together_once() {
    let cluster = Cluster::builder()
        .nodes("a", 4, &spec())
        .host_key("a2", HostKey::Unknown)
        .host_key("a4", HostKey::Unknown)
        .start();
    let known_hosts = cluster.home().join(".ssh/known_hosts");
    let before = fs::read_to_string(&known_hosts).unwrap();

    // The answer "no" is respected.
    let mut screen = cluster.at_a_terminal(STATUS);
    screen.answer("(yes/no)", "perhaps");
    screen.answer("Please type yes or no.", "no");
    let declined = screen.finish().expect(4);
    assert!(declined.stderr.contains("The keys of 2 hosts are not known"), "{declined}");
    for node in ["a2", "a4"] {
        assert!(declined.stderr.contains(&fingerprint(&cluster, node)), "{declined}");
        assert_eq!(declined.result(node)["failure"]["kind"], "host_key_unknown", "{declined}");
    }
    assert_eq!(fs::read_to_string(&known_hosts).unwrap(), before);

    let mut screen = cluster.at_a_terminal(STATUS);
    screen.answer("(yes/no)", "yes");
    let trusted = screen.finish().expect(0);
    assert_eq!(trusted.stderr.matches("(yes/no)").count(), 1, "{trusted}");
    assert_eq!(trusted.results().len(), 4, "{trusted}");
    let after = fs::read_to_string(&known_hosts).unwrap();
    assert_eq!(after.lines().count(), before.lines().count() + 2);
    // Now there is no prompt, and `ssh` knows the keys too.
    let again = cluster.at_a_terminal(STATUS).finish().expect(0);
    assert!(!again.stderr.contains("(yes/no)"), "{again}");
    let mut ssh = cluster.ssh("root", "a4", &["-o", "StrictHostKeyChecking=yes"]);
    ssh.arg("true");
    crate::harness::Running::start(ssh).finish().expect(0);
}

#[test]
fn a_bastion_is_asked_about_before_the_nodes_behind_it() {
    let cluster = Cluster::builder().nodes("a", 2, &spec()).host_key("a1", HostKey::Unknown).start();
    let known_hosts = cluster.home().join(".ssh/known_hosts");
    let before = fs::read_to_string(&known_hosts).unwrap();
    let bastion = cluster.bastion(1, "");
    fs::write(&known_hosts, before).unwrap();
    let line = format!("{STATUS} --connect-timeout 60s -J root@{}:{}", bastion.address(), bastion.endpoint.port());
    let mut screen = cluster.at_a_terminal(&line);
    screen.answer(&format!("bastion {}", bastion.address()), "yes");
    screen.answer("a1 127.", "yes");
    let finished = screen.finish().expect(0);
    assert_eq!(finished.stderr.matches("(yes/no)").count(), 2, "{finished}");
    assert!(!cluster.at_a_terminal(&line).finish().expect(0).stderr.contains("(yes/no)"));
}

#[test]
fn a_passphrase_is_asked_for_once() {
    let cluster = Cluster::of(3, &spec());
    let key = cluster.home().join(".ssh/id_ed25519");
    let locked =
        Command::new("ssh-keygen").args(["-q", "-p", "-P", "", "-N", "correct horse", "-f"]).arg(&key).output();
    assert!(locked.unwrap().status.success());

    let mut screen = cluster.at_a_terminal(STATUS);
    screen.answer_unseen("Passphrase for", "wrong");
    screen.answer_unseen("wrong passphrase", "correct horse");
    let finished = screen.finish().expect(0);
    assert_eq!(finished.stderr.matches("Passphrase for").count(), 2, "{finished}");
    assert!(!finished.stderr.contains("horse"), "{finished}");

    // Without a terminal there is no prompt.
    let finished = cluster.ctl(&format!("{STATUS} -o json")).expect(4);
    let failure = finished.result("a1")["failure"].clone();
    assert_eq!(failure["kind"], "key_file", "{finished}");
    assert!(failure["message"].as_str().unwrap().contains("encrypted"), "{finished}");
    assert!(failure["hint"].as_str().unwrap().contains("ssh-add"), "{finished}");
}

#[test]
fn a_password_is_asked_for_once() {
    let spec = spec().sshd("PasswordAuthentication yes\nPermitRootLogin yes");
    let cluster = Cluster::of(3, &spec);
    fs::remove_file(cluster.home().join(".ssh/id_ed25519")).unwrap();
    for node in cluster.nodes() {
        node.sh("echo 'root:tr0ub4dor&3' | chpasswd");
    }
    let line = format!("{STATUS} --ask-pass");
    let mut screen = cluster.at_a_terminal(&line);
    screen.answer_unseen("SSH password for the nodes", "tr0ub4dor&3");
    let finished = screen.finish().expect(0);
    assert!(!finished.stderr.contains("tr0ub4dor"), "{finished}");

    let mut screen = cluster.at_a_terminal(&line);
    screen.answer_unseen("SSH password for the nodes", "correct horse");
    let finished = screen.finish().expect(4);
    let failure = finished.result("a1")["failure"].clone();
    assert_eq!(failure["kind"], "auth", "{finished}");
    assert!(failure["message"].as_str().unwrap().contains("password"), "{finished}");
    // The password was sent once to each node, so that no account is locked.
    for node in cluster.nodes() {
        let log = node.sshd_log();
        assert_eq!(log.matches("Failed password").count(), 1, "{log}");
    }
    let no_terminal = cluster.ctl(&line).expect(2);
    assert!(no_terminal.stderr.contains("--ask-pass"), "{no_terminal}");
}
