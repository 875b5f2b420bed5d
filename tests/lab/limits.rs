//! Resource limits of the controller's machine are not reported as faults of a node.

use std::process::Command;

use crate::harness::{COLLECTOR, Cluster, Running, ended, uniform};

/// `ctl` with a limit on open files.
fn with_files(cluster: &Cluster, files: usize, words: &str) -> Running {
    let command = cluster.command(words);
    let mut shell = Command::new("sh");
    shell.args(["-c", &format!("ulimit -n {files}; exec \"$@\""), "sh"]);
    shell.arg(command.get_program()).args(command.get_args()).current_dir(cluster.path(""));
    shell.env_clear().envs(command.get_envs().filter_map(|(name, value)| Some((name, value?))));
    Running::start(shell)
}

/// With 64 open files 200 nodes are read, fewer at once, with a warning; a run that must hold all connections does not
/// start.
#[test]
fn two_hundred_nodes_with_64_open_files() {
    let cluster = Cluster::start(uniform(200));
    let run = with_files(&cluster, 64, &format!("service {COLLECTOR} status -o json")).finish().expect(0);
    assert_eq!(run.results().len(), 200, "{run}");
    assert!(run.results().iter().all(|result| ended(result) == "ok"), "{run}");
    assert!(run.stderr.contains("nodes at a time: the limit on open files is 64"), "{run}");

    let run = with_files(&cluster, 64, &format!("service {COLLECTOR} restart -y -o json")).finish().expect(2);
    assert!(run.stderr.contains("the limit is 64"), "{run}");
    assert!(run.stderr.contains("ulimit -n") && run.stderr.contains("-w"), "{run}");
    assert!(cluster.nodes().iter().all(|node| cluster.collector(node.name()).starts == 1), "{run}");
    let plan = with_files(&cluster, 64, &format!("service {COLLECTOR} restart -y --dry-run=live")).finish().expect(0);
    assert!(plan.stderr.contains("nodes at a time"), "{plan}");

    // A few nodes fit into the limit.
    let run = with_files(&cluster, 64, &format!("service {COLLECTOR} restart -y -w n[001-010] -o json"));
    assert_eq!(run.finish().expect(0).results().len(), 10);
    let run = with_files(&cluster, 20, &format!("service {COLLECTOR} status")).finish().expect(2);
    assert!(run.stderr.contains("the limit is 20"), "{run}");
}
