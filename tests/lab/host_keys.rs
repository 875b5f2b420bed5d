//! New host keys are recorded completely and once, even if many connections and runs do it at the same time.

use std::collections::BTreeSet;
use std::fs;

use contrail_lab::Fault;

use crate::harness::{Cluster, PATIENCE, Running, uniform};

const NODES: usize = 200;
/// The number of rounds in which two runs start at once. `CTL_ROUNDS=10` sets more for manual runs.
const ROUNDS: usize = 3;

fn is_key(line: &&str) -> bool {
    !line.starts_with('#')
}

#[test]
fn two_runs_write_each_key_down_once() {
    let cluster = Cluster::start(uniform(NODES));
    let rounds =
        std::env::var("CTL_ROUNDS").map_or(ROUNDS, |rounds| rounds.parse().expect("CTL_ROUNDS is not a valid number"));
    // The lab's own file has each node's name after its address.
    let expected: BTreeSet<String> = cluster
        .known_hosts()
        .lines()
        .filter(is_key)
        .map(|line| {
            let (names, key) = line.split_once(' ').expect("expected names and a key");
            format!("{} {key}", names.split(',').next().unwrap_or_default())
        })
        .collect();
    assert_eq!(expected.len(), NODES);
    for round in 0..rounds {
        // A last line without newline, and a comment, stay unchanged.
        let before = if round % 2 == 0 { "" } else { "# by hand\nelsewhere ssh-ed25519 AAAA" };
        let file = cluster.write(&format!("known_hosts{round}"), before);
        let begin = || {
            let mut command = cluster.bare("ping -o json --forks 64 --host-key accept-new --connect-timeout 300s");
            command.arg("-i").arg(cluster.inventory_path()).arg("--known-hosts").arg(&file);
            command.args(["--ssh-config", "none"]);
            Running::start(command)
        };
        for run in [begin(), begin()] {
            let run = run.finish_within(5 * PATIENCE).expect(0);
            assert_eq!(run.json()["summary"]["nodes_by_outcome"]["ok"], NODES, "{run}");
        }
        let text = fs::read_to_string(&file).expect("cannot read known_hosts");
        let added =
            text.strip_prefix(before).unwrap_or_else(|| panic!("expected the existing text to stay unchanged: {text}"));
        assert!(added.ends_with('\n') && added.starts_with('\n') != before.is_empty(), "{text}");
        let lines: Vec<String> = added.lines().filter(|line| !line.is_empty()).map(str::to_owned).collect();
        assert_eq!(lines.len(), NODES, "expected one line for each host in round {round}: {text}");
        assert_eq!(lines.into_iter().collect::<BTreeSet<_>>(), expected, "expected complete lines in round {round}");
    }
}

/// A host that presents another key than the one just recorded is rejected under every policy.
#[test]
fn a_new_key_that_changes() {
    let cluster = Cluster::start(uniform(2).each(|node| node.faults.push(Fault::UnknownHostKey)));
    cluster.ctl("ping -o json --host-key accept-new").expect(0);
    let known = cluster.known_hosts();
    let mut lines: Vec<&str> = known.lines().filter(is_key).collect();
    lines.sort_unstable();
    let key = |line: &str| line.split_once(' ').expect("expected a name and a key").1.to_owned();
    let name = |line: &str| line.split_once(' ').expect("expected a name and a key").0.to_owned();
    // Each node now has the other's key.
    let swapped = format!("{} {}\n{} {}\n", name(lines[0]), key(lines[1]), name(lines[1]), key(lines[0]));
    let file = cluster.write("swapped", &swapped);
    for policy in ["strict", "accept-new"] {
        let mut command = cluster.bare(&format!("ping -o json --ssh-config none --host-key {policy}"));
        command.arg("-i").arg(cluster.inventory_path()).arg("--known-hosts").arg(&file);
        let run = Running::start(command).finish().expect(4);
        for (number, result) in run.results().iter().enumerate() {
            let failure = &result["failure"];
            assert_eq!(failure["kind"], "host_key_changed", "{run}");
            let message = failure["message"].as_str().unwrap_or_default();
            assert!(message.contains(&format!("{}:{} has 256 SHA256:", file.display(), number + 1)), "{message}");
        }
    }
    assert_eq!(fs::read_to_string(&file).expect("cannot read the file"), swapped);
}
