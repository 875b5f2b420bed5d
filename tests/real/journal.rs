//! The journal of runs on real nodes: a disk that fills up, and the description of a run.

use std::fs;

use crate::harness::{Cluster, Instance, NodeSpec, Program, Running, eventually};

fn spec() -> NodeSpec {
    NodeSpec::new(Instance::analytics().with(Program::steady("contrail-collector")))
}

/// A disk that fills up during a run is reported once; no further node is started, and nodes in progress finish.
#[test]
fn a_full_disk_is_named_once() {
    let cluster = Cluster::of(2, &spec());
    let state = cluster.path("state");
    fs::create_dir_all(&state).unwrap();
    let line = "touch /run/up; while [ ! -e /run/go ]; do sleep 0.1; done";
    // Only this run sees the file system.
    let mut command = cluster.at_home("sh");
    let script = r#"mount -t tmpfs -o size=1m tmpfs "$XDG_STATE_HOME"; exec "$@""#;
    let ctl = [env!("CARGO_BIN_EXE_ctl"), "exec", "-y", "--serial", "1", "--", line];
    command.args(["-c", script, "sh"]).args(ctl);
    command.env("CTL_INVENTORY", cluster.inventory()).env("XDG_STATE_HOME", &state);
    let run = Running::start(command);
    eventually("the first command to run", || {
        (!cluster.node("a1").sh("ls /run/up 2>/dev/null || true").is_empty()).then_some(())
    });
    let seen = format!("/proc/{}/root{}/fill", run.id(), state.display());
    assert!(fs::write(&seen, vec![0; 2 << 20]).is_err(), "the disk is larger than requested");
    cluster.node("a1").sh("touch /run/go");
    let finished = run.finish();
    assert_eq!(finished.stderr.matches("no space left on device").count(), 1, "{finished}");
    assert!(finished.stderr.contains("cannot write the journal") && !finished.stderr.contains("SQL"), "{finished}");
    assert!(finished.stderr.contains("no further nodes will be started"), "{finished}");
    assert_eq!(cluster.node("a2").sh("ls /run/up 2>/dev/null || true"), "", "{finished}");
}

/// `runs show` begins with the description of the run.
#[test]
fn a_run_says_what_it_was() {
    let cluster = Cluster::of(1, &spec());
    cluster.ctl_words(&["exec", "-w", "a1", "--reason", "a test", "--", "echo", "a  b"]).expect(0);
    let shown = cluster.ctl("runs show last").expect(0);
    let lines: Vec<&str> =
        shown.stdout.lines().map(|line| line.split_once(' ').map_or(line, |(name, _)| name)).collect();
    assert_eq!(lines[..6], ["run:", "command:", "started:", "reason:", "selection:", "ended:"], "{shown}");
    for part in ["ctl exec -w a1 --reason 'a test' -- echo 'a  b'", "-w a1 (1 node)", "exit code 0", "a  b\n"] {
        assert!(shown.stdout.contains(part), "{part}\n{shown}");
    }
    let id = shown.stdout.lines().next().unwrap().rsplit(' ').next().unwrap().to_owned();
    let by_its_end = cluster.ctl(&format!("runs show {}", &id[id.len() - 4..])).expect(0);
    assert_eq!(by_its_end.stdout, shown.stdout);
}
