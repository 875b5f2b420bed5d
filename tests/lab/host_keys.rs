//! Keys of hosts never seen before, written down by two runs at once.

use std::collections::BTreeSet;

use crate::harness::{COLLECTOR, Cluster, Running, uniform};

const NODES: usize = 200;

/// Rounds of two runs; each begins without a file, or with one whose last line has no end.
const ROUNDS: usize = 2;

#[test]
fn two_runs_write_one_line_for_each_host() {
    let cluster = Cluster::start(uniform(NODES));
    for round in 0..ROUNDS {
        let known_hosts = cluster.path("new_known_hosts");
        let before = if round % 2 == 0 { "" } else { "# a line without an end" };
        std::fs::write(&known_hosts, before).expect("written");
        let begin = || {
            let mut command = cluster.bare(&format!("service {COLLECTOR} status -o json --ssh-config none -f 64"));
            command.args(["--host-key", "accept-new", "--connect-timeout", "60s", "--known-hosts"]).arg(&known_hosts);
            command.arg("-i").arg(cluster.write("inventory.yaml", cluster.inventory()));
            Running::start(command)
        };
        let both = [begin(), begin()].map(|run| run.finish().expect(0));
        for run in &both {
            assert_eq!(run.results().len(), NODES, "round {round}\n{run}");
        }
        let text = std::fs::read_to_string(&known_hosts).expect("a file");
        let lines: Vec<&str> = text.lines().filter(|line| !line.starts_with('#')).collect();
        let hosts: BTreeSet<&str> = lines.iter().filter_map(|line| line.split(' ').next()).collect();
        assert_eq!((lines.len(), hosts.len()), (NODES, NODES), "round {round}");
        let whole = |line: &&str| line.split(' ').count() == 3 && line.contains(" ssh-ed25519 AAAAC3");
        assert!(lines.iter().all(|line| whole(&line)) && text.ends_with('\n'), "round {round}: a torn line\n{text}");
    }
}
