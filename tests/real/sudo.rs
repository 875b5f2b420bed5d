//! Debian's sudo: without a password, with one, and all its refusals.

use crate::harness::{Cluster, Finished, Instance, Node, NodeSpec, Program, Screen, eventually};

/// The password that boot.sh sets for ctlpass and ctlalien. A shell that expanded it would change it.
pub(crate) const PASSWORD: &str = "horse's $HOME battery";

/// A pattern that matches the password, but not itself.
const TRACE: &str = "HOME batter[y]";

pub(crate) const QUESTION: &str = "sudo password for the nodes: ";

/// sudo logs each command as a line in this file.
const LOGGED: &str = "Defaults logfile=/var/log/sudo.log, loglinelen=0";

fn analytics() -> Instance {
    Instance::analytics().with(Program::slow_to_stop("contrail-collector", 1))
}

fn spec(sudoers: &str) -> NodeSpec {
    NodeSpec::new(analytics()).sudoers(&format!("{LOGGED}\n{sudoers}"))
}

/// ctlpass may run everything, with its password.
fn asking(more: &str) -> NodeSpec {
    spec(&format!("ctlpass ALL=(ALL:ALL) ALL\n{more}"))
}

/// `ctl LINE -K` on its own terminal, before any input.
fn at_a_terminal(cluster: &Cluster, line: &str) -> Screen {
    let (words, operand) = line.split_once(" -- ").unwrap_or((line, ""));
    let operand = if operand.is_empty() { String::new() } else { format!(" -- {operand}") };
    cluster.at_a_terminal(&format!("{words} -K{operand}"))
}

/// `ctl LINE -K`, with the password typed at the prompt. The screen's text is in `stderr`, the JSON document in
/// `stdout`.
pub(crate) fn with_password(cluster: &Cluster, line: &str, password: &str) -> Finished {
    let mut screen = at_a_terminal(cluster, line);
    screen.answer_unseen(QUESTION, password);
    let finished = screen.finish();
    assert_eq!(finished.stderr.matches(QUESTION).count(), 1, "{finished}");
    for text in [&finished.stderr, &finished.stdout] {
        assert!(!text.contains("HOME battery"), "the password is shown\n{finished}");
    }
    finished
}

/// sudo's log on a node: a line for each command or refusal.
fn sudo_log(node: &Node) -> Vec<String> {
    node.read("/var/log/sudo.log").lines().map(str::to_owned).collect()
}

/// Asserts that other users cannot read the password anywhere on the node.
fn no_trace(node: &Node) {
    let script = format!(
        "grep -l -a '{TRACE}' /proc/[0-9]*/cmdline /proc/[0-9]*/environ /var/log/sudo.log /var/log/sshd.log 2>/dev/null || true"
    );
    assert_eq!(node.sh(&script), "", "on {}", node.name);
}

fn failure(finished: &Finished, node: &str) -> (String, String, String) {
    let failure = finished.result(node)["failure"].clone();
    let text = |key: &str| failure[key].as_str().unwrap_or_default().to_owned();
    (text("kind"), text("message"), text("hint"))
}

/// All actions on a node, with a password that is typed once for three nodes.
fn life_with_a_password(spec: NodeSpec, more: &str, via: &str) {
    let cluster =
        Cluster::builder().nodes("a", 2, &spec.init_service("cassandra")).defaults("user: ctlpass, sudo: true").start();
    let all = |line: &str, code: i32| {
        with_password(&cluster, &line.replacen(" -", &format!("{more} -"), 1), PASSWORD).expect(code)
    };
    let status = all("service contrail-collector status -vv", 0);
    assert_eq!(status.outcomes(), ["a1 contrail-collector ok", "a2 contrail-collector ok"], "{status}");
    assert_eq!(status.result("a1")["via"], via, "{status}");

    let before: Vec<_> = cluster.nodes().iter().map(|node| node.process("contrail-collector").unwrap().pid).collect();
    let mut running =
        at_a_terminal(&cluster, &format!("service contrail-collector restart --rolling --stable 0s -y -vv{more}"));
    running.answer_unseen(QUESTION, PASSWORD);
    for node in cluster.nodes() {
        node.wait_for("contrail-collector", "STOPPING");
        no_trace(node);
    }
    let screen = running.finish().expect(0).stderr;
    assert!(!screen.contains("HOME battery") && screen.contains("ctl-ask-"), "{screen}");
    let after: Vec<_> = cluster.nodes().iter().map(|node| node.process("contrail-collector").unwrap().pid).collect();
    assert!(before.iter().zip(&after).all(|(before, after)| before != after), "{screen}");

    let exec = all("exec -y -- id -u; cat; echo said >&2", 0);
    for node in cluster.nodes() {
        let result = exec.result(&node.name);
        assert_eq!((&result["stdout"], &result["stderr"]), (&"0\n".into(), &"said\n".into()), "{exec}");
    }
    let init = all("service supervisor-analytics restart -y", 0);
    assert_eq!(init.outcomes(), ["a1 supervisor-analytics changed", "a2 supervisor-analytics changed"], "{init}");
    if via != "service" {
        for node in cluster.nodes() {
            node.write_program("supervisor-analytics", &Program::steady("contrail-collector"));
        }
        let update = all("service contrail-collector update -y", 0);
        assert_eq!(update.outcomes(), ["a1 contrail-collector changed", "a2 contrail-collector changed"], "{update}");
    }
    for node in cluster.nodes() {
        no_trace(node);
        let refused = sudo_log(node).iter().filter(|line| line.contains("incorrect")).count();
        assert_eq!(refused, 0, "{:?}", sudo_log(node));
    }
}

#[test]
fn a_password_for_all_nodes() {
    life_with_a_password(asking(""), "", "rpc");
}

#[test]
fn a_password_through_supervisorctl() {
    life_with_a_password(asking(""), " --via supervisorctl", "supervisorctl");
}

/// The guard, a relay and the commands next to them each need their own connection.
#[test]
fn a_password_where_sshd_takes_one_session() {
    life_with_a_password(asking("").sshd("MaxSessions 1"), "", "rpc");
}

/// sudo's behavior by default from 1.9.14 on, without a ticket cache, and with a lecture in its own words before the
/// prompt.
#[test]
fn a_password_with_a_lecture_and_a_pty() {
    let sudoers = "Defaults use_pty, timestamp_timeout=0, lecture=always, passprompt_override, passprompt=\"sealed: \"";
    life_with_a_password(asking(sudoers), "", "rpc");
}

/// The same without a password, where only the socket's owner may open it.
#[test]
fn no_password_is_wanted() {
    let cluster = Cluster::builder()
        .nodes("a", 2, &spec("Defaults lecture=always, use_pty"))
        .defaults("user: ctlops, sudo: true")
        .start();
    let line = "service contrail-collector status -o json";
    let status = cluster.ctl(line).expect(0);
    for node in cluster.nodes() {
        assert_eq!(status.result(&node.name)["via"], "rpc", "{status}");
        let log = sudo_log(node);
        assert_eq!(
            log.iter().filter(|line| line.contains("COMMAND=")).count(),
            1,
            "expected exactly one relay: {log:?}"
        );
    }
    // The password is typed, but never sent.
    let with = with_password(&cluster, "service contrail-collector restart -y", "not the password").expect(0);
    assert_eq!(with.outcomes(), ["a1 contrail-collector changed", "a2 contrail-collector changed"], "{with}");
    let log = sudo_log(cluster.node("a1"));
    assert!(!log.iter().any(|line| line.contains("incorrect")), "{log:?}");
    let log = cluster.ctl(&format!("{line} --via supervisorctl")).expect(0);
    assert_eq!(log.result("a1")["via"], "supervisorctl", "{log}");
    // The relays have ended with their channels.
    for node in cluster.nodes() {
        eventually("the relay to end", || node.sh("pgrep -f ctl-ru[n] || echo none").contains("none").then_some(()));
    }
}

/// A socket that the user may open is opened without sudo.
#[test]
fn a_socket_of_ones_own() {
    let cluster = Cluster::of(1, &spec(""));
    let node = cluster.node("a1");
    node.sh("chown ctlguest /run/supervisord_analytics.sock");
    let own = cluster.ctl("service contrail-collector restart -o json -u ctlguest").expect(0);
    assert_eq!(own.result("a1")["via"], "rpc", "{own}");
    node.sh("chown root:ctlops /run/supervisord_analytics.sock; chmod 0770 /run/supervisord_analytics.sock");
    let group = cluster.ctl("service contrail-collector status -o json -u ctlops --sudo").expect(0);
    assert_eq!(group.result("a1")["via"], "rpc", "{group}");
    assert!(sudo_log(node).is_empty(), "{:?}", sudo_log(node));
}

/// A wrong password is sent once to a node, however many of its supervisords are queried at the same time.
#[test]
fn a_wrong_password() {
    let spec = asking("").and(Instance::config().with(Program::steady("contrail-schema"))).and(Instance::control());
    let cluster = Cluster::builder().nodes("a", 2, &spec).defaults("user: ctlpass, sudo: true").start();
    for line in ["status -r analytics,config,control", "service contrail-collector restart -y", "exec -y -- id"] {
        let before: Vec<usize> = cluster.nodes().iter().map(|node| sudo_log(node).len()).collect();
        let wrong = with_password(&cluster, line, "wrong").expect(1);
        for (node, before) in cluster.nodes().iter().zip(before) {
            let log = sudo_log(node).split_off(before);
            assert_eq!(log.iter().filter(|line| line.contains("1 incorrect password attempt")).count(), 1, "{log:?}");
            let results = wrong.results();
            let mut of_node = results.iter().filter(|result| result["node"] == node.name.as_str());
            let all = of_node.all(|result| {
                result["failure"]["kind"] == "sudo"
                    && result["failure"]["message"].as_str().unwrap().contains("did not accept the password")
            });
            assert!(all, "{wrong}");
        }
    }
}

#[test]
fn no_password_is_known() {
    let cluster = Cluster::builder().nodes("a", 1, &asking("")).defaults("user: ctlpass, sudo: true").start();
    for line in ["service contrail-collector restart -o json", "service contrail-collector status -o json --via rpc"] {
        let finished = cluster.ctl(line).expect(1);
        let (kind, message, hint) = failure(&finished, "a1");
        assert_eq!(kind, "sudo", "{finished}");
        assert!(
            message.contains("requires a password") && hint.contains("-K") && hint.contains("NOPASSWD"),
            "{finished}"
        );
    }
    let exec = cluster.ctl("exec -o json -- id").expect(1);
    assert_eq!(failure(&exec, "a1").0, "sudo", "{exec}");
    // Without a terminal there is no prompt, and no connection.
    let connections = cluster.connections();
    let refused = cluster.ctl("service contrail-collector status -K").expect(2);
    assert!(refused.stderr.contains("-K"), "{refused}");
    assert_eq!(cluster.connections(), connections);
}

/// Every other refusal has its own message and hint.
#[test]
fn refusals() {
    let tty = asking("Defaults requiretty");
    let few = spec("ctlpass ALL=(ALL:ALL) /usr/bin/uptime");
    let cluster =
        Cluster::builder().node("tty", tty).node("few", few).node("none", asking("")).defaults("sudo: true").start();
    cluster.node("none").sh("mount --bind /dev/null /usr/bin/sudo");
    let restart = "service contrail-collector restart -y --connect-timeout 30s";
    let expected = [
        ("tty", "ctlpass", "requires a terminal", "!requiretty"),
        ("few", "ctlpass", "does not allow the user this command", "sudoers"),
        ("few", "ctlalien", "not in sudoers", "-u root"),
        ("none", "ctlpass", "sudo is missing on the node", "-u root"),
    ];
    for (node, user, words, remedy) in expected {
        let before = cluster.node(node).process("contrail-collector");
        for action in [restart, "exec -y"] {
            let tail = if action == restart { "" } else { " -- id" };
            let line = format!("{action} -w {node} -u {user}");
            let finished = with_password(&cluster, &format!("{line}{tail}"), PASSWORD);
            let finished = finished.expect(1);
            let (kind, message, hint) = failure(&finished, node);
            assert_eq!(kind, "sudo", "{finished}");
            assert!(message.contains(words) && hint.contains(remedy), "{finished}");
        }
        assert_eq!(cluster.node(node).process("contrail-collector"), before);
    }
    let plain = cluster.ctl("service contrail-collector restart -o json -w tty -u ctlops").expect(1);
    assert!(failure(&plain, "tty").2.contains("!requiretty"), "{plain}");
}

/// The user may run only supervisorctl: there is no relay, and everything still works.
#[test]
fn supervisorctl_alone_is_allowed() {
    let spec = spec("ctlpass ALL=(root) NOPASSWD: /usr/bin/supervisorctl");
    let cluster = Cluster::builder().nodes("a", 1, &spec).defaults("user: ctlpass, sudo: true").start();
    let restart = cluster.ctl("service contrail-collector restart -o json").expect(0);
    assert_eq!(restart.result("a1")["via"], "supervisorctl", "{restart}");
}

/// A prompt for something other than the password is reported, and does not hang.
#[test]
fn a_strange_question() {
    let cluster = Cluster::builder().nodes("a", 1, &asking("")).defaults("user: ctlpass, sudo: true").start();
    let node = cluster.node("a1");
    node.sh(
        "printf '#!/bin/sh\\nprintf \"Verification code: \" >&2\\nread -r x\\necho \"$x\" >>/tmp/typed\\n' >/tmp/sudo\n\
             chmod 755 /tmp/sudo; mount --bind /tmp/sudo /usr/bin/sudo",
    );
    let finished = with_password(&cluster, "service contrail-collector status", PASSWORD).expect(1);
    let (kind, message, _) = failure(&finished, "a1");
    assert_eq!(kind, "sudo", "{finished}");
    assert!(message.contains("Verification code:"), "{finished}");
    assert_eq!(node.read("/tmp/typed").trim(), "", "the password was sent");
}

/// The controller is killed during a restart: the guard, which was started with the password, starts the service again.
fn killed_with_a_password(via: &str) {
    let cluster =
        Cluster::builder().nodes("a", 2, &asking("Defaults use_pty")).defaults("user: ctlpass, sudo: true").start();
    let line = format!("service contrail-collector restart --rolling --stable 0s -y --via {via}");
    let mut running = at_a_terminal(&cluster, &line);
    running.answer_unseen(QUESTION, PASSWORD);
    let node = cluster.node("a1");
    let before = node.process("contrail-collector").unwrap().pid;
    node.wait_for("contrail-collector", "STOPPING");
    running.kill();
    let began = std::time::Instant::now();
    let after = node.wait_for("contrail-collector", "RUNNING");
    assert_ne!(after.pid, before);
    assert!(began.elapsed().as_secs() < 35, "{:?}", began.elapsed());
    drop(running.finish());
    for node in cluster.nodes() {
        let free = "flock -n /run/lock true && echo free || echo held";
        eventually("the lock to be released", || (node.sh(free).trim() == "free").then_some(()));
        no_trace(node);
    }
}

#[test]
fn killed_with_a_password_over_rpc() {
    killed_with_a_password("rpc");
}

#[test]
fn killed_with_a_password_through_supervisorctl() {
    killed_with_a_password("supervisorctl");
}
