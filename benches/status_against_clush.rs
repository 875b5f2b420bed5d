//! `ctl status` against `clush -b` running `supervisorctl status`, on the same real nodes, one after the other.
//!
//!     cargo bench --bench status_against_clush
//!
//! Measured: the whole command, from its start to its end, on 16 nodes (OpenSSH's sshd and supervisord 4.2.5, in
//! namespaces of this machine) with 6 programs each; 10 runs of each, in turn, after one that does not count; the
//! median, the least and the most are printed. Needs what `tests/run` needs, `clush` (Debian: clustershell), and root.
#![expect(
    clippy::unwrap_used,
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a measurement that cannot be made ends and says why"
)]

use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

#[path = "../tests/real/harness/mod.rs"]
#[expect(dead_code, unused_imports, reason = "the tests use the rest")]
mod harness;

use harness::{Cluster, Instance, NodeSpec, Program};

const NODES: u32 = 16;
const RUNS: usize = 10;

fn main() {
    // cargo test runs benches too, to see that they work; there is nothing to measure then.
    if !std::env::args().any(|word| word == "--bench") {
        return;
    }
    let mut instance = Instance::analytics();
    for number in 1..=6 {
        instance = instance.with(Program::steady(&format!("contrail-program-{number}")));
    }
    let spec = NodeSpec::new(instance);
    let cluster = Cluster::of(NODES, &spec);
    let address = Instance::analytics().address();

    let first = cluster.nodes().first().unwrap();
    let ssh = cluster.ssh("root", &first.name, &[]);
    let words: Vec<String> = ssh.get_args().map(|word| word.to_string_lossy().into_owned()).collect();
    // All of the ssh command line but the host, which comes last.
    let options = words.get(..words.len() - 1).unwrap_or_default();
    let hosts: Vec<String> = cluster.nodes().iter().map(|node| node.endpoint.ip().to_string()).collect();

    let ctl = || cluster.ctl_command(["status", "--via", "rpc"]);
    let clush = || {
        let mut command = Command::new("clush");
        command.args(["-b", "-q", "-l", "root", "-f", "64", "-w", &hosts.join(",")]);
        command.args(["-o", &options.join(" ")]);
        command.args(["supervisorctl", "-s", &address, "status"]);
        command
    };
    let seen = ctl().output().unwrap();
    let rows = String::from_utf8_lossy(&seen.stdout).matches("RUNNING").count();
    assert_eq!(rows, NODES as usize * 6, "{seen:?}");
    let seen = clush().output().unwrap();
    let text = String::from_utf8_lossy(&seen.stdout);
    assert!(text.contains("RUNNING") && seen.status.success(), "{seen:?}");

    let (mut ours, mut theirs) = (Vec::new(), Vec::new());
    for _ in 0..RUNS {
        ours.push(time(ctl()));
        theirs.push(time(clush()));
    }
    let (ours, theirs) = (report("ctl status --via rpc", ours), report("clush -b supervisorctl status", theirs));
    println!("clush takes {:.1} times as long", theirs.as_secs_f64() / ours.as_secs_f64());
}

fn time(mut command: Command) -> Duration {
    let began = Instant::now();
    let status = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).status().unwrap();
    assert!(status.success(), "{command:?}");
    began.elapsed()
}

fn report(name: &str, mut times: Vec<Duration>) -> Duration {
    times.sort();
    let median = times[times.len() / 2];
    println!("{name:32} median {median:>8.1?}  least {:>8.1?}  most {:>8.1?}", times[0], times[times.len() - 1]);
    median
}
