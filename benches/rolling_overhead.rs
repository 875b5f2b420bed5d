//! The overhead of `ctl` in a restart: a rolling restart of 8 real nodes compared with the same two calls made on the
//! nodes themselves.
//!
//!     cargo bench --bench rolling_overhead
//!
//! Measures the time between the results of consecutive nodes (for the first node: from the start of the program, so
//! that connecting, locking and reading all 8 is included) of `ctl service contrail-collector restart --rolling
//! --stable 0s`, and the time that a local XML-RPC client takes for stopProcess and startProcess of the same program on
//! the same node; 5 runs of each over 8 nodes, alternating. Compares the medians of all 40. Nodes are OpenSSH's sshd
//! and supervisord 4.2.5 in namespaces of this machine. Has the same requirements as `tests/run`, and needs root.
#![expect(
    clippy::unwrap_used,
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "if a measurement fails, it ends with the reason"
)]

use std::io::{BufRead, BufReader};
use std::process::Stdio;
use std::time::{Duration, Instant};

#[path = "../tests/real/harness/mod.rs"]
#[expect(dead_code, unused_imports, reason = "the tests use the other functions")]
mod harness;
#[path = "support/spread.rs"]
mod spread;

use harness::{Cluster, Instance, Node, NodeSpec, Program};
use spread::report;

const NODES: u32 = 8;
const RUNS: usize = 5;

fn main() {
    // cargo test also runs benches, to check that they work; nothing is measured then.
    if !std::env::args().any(|word| word == "--bench") {
        return;
    }
    let instance = Instance::analytics().with(Program::steady("contrail-collector"));
    let socket = instance.socket();
    let cluster = Cluster::of(NODES, &NodeSpec::new(instance));
    let (mut ours, mut local) = (Vec::new(), Vec::new());
    for _ in 0..RUNS {
        local.extend(cluster.nodes().iter().map(|node| on_the_node(node, &socket)));
        ours.extend(through_ctl(&cluster));
    }
    let (ours, local) = (report("ctl, per node", ours), report("on the node itself", local));
    println!("ctl adds {} ms at the median", ours.saturating_sub(local).as_millis());
}

/// Time between consecutive results.
fn through_ctl(cluster: &Cluster) -> Vec<Duration> {
    let line = "service contrail-collector restart --rolling --stable 0s -y --via rpc -o jsonl";
    let mut command = cluster.ctl_command(line.split(' '));
    let mut last = Instant::now();
    let mut child = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
    let mut times = Vec::new();
    for line in BufReader::new(child.stdout.take().unwrap()).lines() {
        if line.unwrap().contains("\"event\":\"result\"") {
            times.push(last.elapsed());
            last = Instant::now();
        }
    }
    assert!(child.wait().unwrap().success() && times.len() == NODES as usize);
    times
}

/// Time of the two calls alone, without the start of the client.
fn on_the_node(node: &Node, socket: &str) -> Duration {
    let script = format!(
        "python3 - <<'END'\n\
         import time\n\
         from supervisor.childutils import getRPCInterface\n\
         rpc = getRPCInterface({{'SUPERVISOR_SERVER_URL': 'unix://{socket}'}})\n\
         rpc.supervisor.getState()\n\
         began = time.monotonic()\n\
         rpc.supervisor.stopProcess('contrail-collector:contrail-collector')\n\
         rpc.supervisor.startProcess('contrail-collector:contrail-collector')\n\
         print(time.monotonic() - began)\n\
         END"
    );
    Duration::from_secs_f64(node.sh(&script).trim().parse().unwrap())
}
