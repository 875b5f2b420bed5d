//! Nodes whose sshd accepts the login and then runs nothing, runs one command at a time, or stops.

use crate::harness::{Cluster, Instance, NodeSpec, Program, eventually};

fn analytics() -> NodeSpec {
    NodeSpec::new(Instance::analytics().with(Program::steady("contrail-collector")))
}

/// Three nodes. On the second one the user has reached the process limit, which PAM sets at login.
fn at_the_process_limit() -> Cluster {
    let limited = analytics().sshd("UsePAM yes");
    let cluster = Cluster::builder()
        .node("a1", analytics())
        .node("a2", limited)
        .node("a3", analytics())
        .defaults("user: ctlops, sudo: true")
        .start();
    let node = cluster.node("a2");
    node.sh("mkdir -p /etc/security/limits.d && echo 'ctlops hard nproc 1' >/etc/security/limits.d/ctl.conf");
    // Other requirements of the machine's PAM do not matter for this test.
    node.sh("printf 'account required pam_permit.so\nsession required pam_limits.so\n' >/etc/pam.d/sshd");
    cluster
}

/// sshd answers the exec request with a failure, and gives the channel no window: the failure is reported at once, and
/// the other nodes continue.
#[test]
fn a_user_at_its_process_limit() {
    let cluster = at_the_process_limit();
    let before = cluster.node("a2").process("contrail-collector").unwrap().pid;
    for line in ["service contrail-collector restart -y -o json", "exec -y -o json -- true"] {
        let run = cluster.ctl(line).expect(1);
        for node in ["a1", "a3"] {
            assert_eq!(run.result(node)["outcome"], "changed", "{run}");
        }
        let failed = run.result("a2");
        assert_eq!((&failed["outcome"], &failed["failure"]["kind"]), (&"failed".into(), &"command".into()), "{run}");
        let text = format!("{} {}", failed["failure"]["message"], failed["failure"]["hint"]);
        assert!(text.contains("sshd refused to run a command") && text.contains("process limit"), "{run}");
    }
    assert_eq!(cluster.node("a2").process("contrail-collector").unwrap().pid, before);
    // Read-only commands report it too.
    let run = cluster.ctl("status contrail-collector -o json --all").expect(1);
    assert!(run.stdout.contains("process limit"), "{run}");
}

/// One command at a time on a connection: the guard stays on the first connection, and other commands use further ones.
fn one_session(user: &str, lines: &[&str]) {
    let spec = analytics().sshd("MaxSessions 1");
    let cluster = Cluster::builder().nodes("a", 2, &spec).defaults(user).start();
    for line in lines {
        let run = cluster.ctl(&format!("{line} -o json")).expect(0);
        for result in run.results() {
            let outcome = result["outcome"].as_str().unwrap_or_default();
            assert!(matches!(outcome, "changed" | "ok" | "not_configured"), "{line}: {run}");
        }
        for node in ["a1", "a2"] {
            cluster.node(node).wait_for("contrail-collector", "RUNNING");
        }
    }
}

#[test]
fn one_session_a_connection_as_root() {
    one_session(
        "",
        &[
            "service contrail-collector restart -y",
            "service contrail-collector restart -y --via supervisorctl",
            "service contrail-collector restart -y --via service",
            "service contrail-collector restart -y --check true",
            "service contrail-collector status --via supervisorctl",
        ],
    );
}

#[test]
fn one_session_a_connection_through_sudo() {
    one_session(
        "user: ctlops, sudo: true",
        &[
            "service contrail-collector restart -y",
            "service contrail-collector restart -y --via supervisorctl --check true",
            "service contrail-collector status",
        ],
    );
}

/// The cause for the loss of the further connection may be temporary: the action continues on the node, and is verified
/// over a new connection.
#[test]
fn a_further_connection_that_is_lost() {
    let slow = Instance::analytics().with(Program::slow_to_stop("contrail-collector", 3));
    let mut cluster = Cluster::of(1, &NodeSpec::new(slow).sshd("MaxSessions 1"));
    let line = "service contrail-collector restart -y -o json --via supervisorctl --retries 0 -vv";
    let run = cluster.ctl_start(line);
    let another = "opening another one";
    let opened = || run.until_said(another).matches(another).count();
    eventually("the service to stop", || {
        (cluster.node("a1").process("contrail-collector")?.state == "STOPPING").then_some(())
    });
    cluster.node_mut("a1").refuse();
    let before = opened();
    // All except the connection with the guard.
    cluster.node("a1").sh("for pid in $(pgrep -x sshd); do\n\
         child=$(pgrep -P $pid | head -n 1)\n\
         grep -q ctl-guard /proc/${child:-$pid}/cmdline || kill -KILL $pid\n\
         done; true");
    // The first attempt is refused.
    eventually("another attempt", || (opened() >= before + 2).then_some(()));
    cluster.node_mut("a1").listen();
    let run = run.finish().expect(0);
    assert_eq!(run.outcomes(), ["a1 contrail-collector changed"], "{run}");
}

#[test]
fn exec_with_one_session_a_connection() {
    let cluster = Cluster::of(2, &analytics().sshd("MaxSessions 1"));
    let run = cluster.ctl("exec -y -o json -- echo here").expect(0);
    assert_eq!(run.stdout.matches("here\\n").count(), 2, "{run}");
}

/// sshd of one node is stopped during the run: the other node is restarted, and this one times out unchanged.
#[test]
fn an_sshd_that_is_stopped() {
    let slow = NodeSpec::new(Instance::analytics().with(Program::slow_to_stop("contrail-collector", 3)));
    let cluster = Cluster::of(2, &slow);
    let second = cluster.node("a2");
    let before = second.process("contrail-collector").unwrap().pid;
    let run = cluster.ctl_start(
        "service contrail-collector restart --rolling --stable 0s --max-failures 100% -y -o json --timeout 12 \
         --connect-timeout 5",
    );
    eventually("the first node to stop", || {
        (cluster.node("a1").process("contrail-collector")?.state == "STOPPING").then_some(())
    });
    second.signal_connections("STOP");
    let run = run.finish();
    second.signal_connections("CONT");
    assert_eq!(run.outcomes(), ["a1 contrail-collector changed", "a2 contrail-collector timed_out timed_out"], "{run}");
    assert_eq!(second.process("contrail-collector").unwrap().pid, before, "{run}");
}
