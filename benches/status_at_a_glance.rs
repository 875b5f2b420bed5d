//! `ctl status`, introspect and all, against what an administrator has without it: `supervisorctl status` on one node
//! after the other by a loop of the shell, and on all at once by `clush -b`.
//!
//!     cargo bench --bench status_at_a_glance
//!
//! Measured: the whole command, from its start to its end, on 16 nodes with 6 services each that answer NodeStatus on
//! their introspect ports; `ctl` asks all 96 and searches the nodes, the others read supervisord's states only. 10 runs
//! of each, in turn, after one that does not count; the median, the least and the most are printed, and the ratios.
//! `support/mod.rs` says what it needs.
#![expect(
    clippy::unwrap_used,
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a measurement that cannot be made ends and says why"
)]

mod support;

use support::harness::Program;
use support::{Others, measure, warm_up};

const SERVICES: [(&str, u16); 6] = [
    ("contrail-alarm-gen", 5995),
    ("contrail-analytics-api", 8090),
    ("contrail-analytics-nodemgr", 8104),
    ("contrail-collector", 8089),
    ("contrail-query-engine", 8091),
    ("contrail-topology", 5921),
];

fn main() {
    // cargo test runs benches too, to see that they work; there is nothing to measure then.
    if !std::env::args().any(|word| word == "--bench") {
        return;
    }
    let cluster = support::cluster(SERVICES.map(|(name, port)| Program::introspecting(name, port)));
    let others = Others::of(&cluster);
    let ctl = || cluster.ctl_command(["status"]);
    warm_up(cluster.ctl_command(["status", "-o", "json"]), "\"functional\": \"active\"", SERVICES.len());
    warm_up(others.ssh_loop(), "RUNNING", SERVICES.len());
    assert!(others.clush().output().unwrap().status.success());
    let medians = measure(&[
        ("ctl status", &ctl),
        ("for node: ssh supervisorctl status", &|| others.ssh_loop()),
        ("clush -b supervisorctl status", &|| others.clush()),
    ]);
    for (name, median) in ["the loop", "clush"].iter().zip(&medians[1..]) {
        println!("{name} takes {:.1} times as long", median.as_secs_f64() / medians[0].as_secs_f64());
    }
}
