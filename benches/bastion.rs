//! The cost of a bastion: the status of 64 real nodes behind one sshd, compared with the same nodes reached directly.
//!
//!     cargo bench --bench bastion
//!
//! Measures the total time of `ctl service contrail-collector status`, 10 runs of each, alternating; compares the
//! medians, and counts the bastion's logins. Nodes are OpenSSH's sshd and supervisord in namespaces of this machine,
//! the bastion is a separate sshd. Has the same requirements as `tests/run`, and needs root.
#![expect(
    clippy::unwrap_used,
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "if a measurement fails, it ends with the reason"
)]

use std::time::Duration;

#[path = "../tests/real/harness/mod.rs"]
#[expect(dead_code, unused_imports, reason = "the tests use the other functions")]
mod harness;
#[path = "support/spread.rs"]
mod spread;

use harness::{Cluster, Instance, NodeSpec, Program};
use spread::report;

const NODES: u32 = 64;
const RUNS: usize = 10;

fn main() {
    // cargo test also runs benches, to check that they work; nothing is measured then.
    if !std::env::args().any(|word| word == "--bench") {
        return;
    }
    let spec = NodeSpec::new(Instance::analytics().with(Program::steady("contrail-collector")));
    let cluster = Cluster::of(NODES, &spec);
    let bastion = cluster.bastion(1, "");
    let status = "service contrail-collector status -o json";
    let behind = format!("{status} -J root@{}:{}", bastion.address(), bastion.endpoint.port());
    let (mut direct, mut through) = (Vec::new(), Vec::new());
    for _ in 0..RUNS {
        direct.push(whole(&cluster, status));
        let before = bastion.logins();
        through.push(whole(&cluster, &behind));
        assert_eq!(bastion.logins() - before, 1, "connections to the bastion in one run");
    }
    let (direct, through) = (report("direct", direct), report("behind the bastion", through));
    println!("ratio {:.2}, one connection to the bastion", through.as_secs_f64() / direct.as_secs_f64());
}

fn whole(cluster: &Cluster, line: &str) -> Duration {
    let finished = cluster.ctl(line).expect(0);
    assert_eq!(finished.json()["summary"]["ok"], NODES, "{finished}");
    finished.took
}
