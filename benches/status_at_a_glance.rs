//! `ctl status`, including introspect, compared with the alternatives of an administrator: `supervisorctl status` on
//! each node in a shell loop, and on all nodes at once with `clush -b`.
//!
//!     cargo bench --bench status_at_a_glance
//!
//! Measures the whole command, on 16 nodes with 6 services each that report NodeStatus on their introspect ports. `ctl`
//! queries all 96 and scans the nodes; the others read only supervisord's states. 10 runs of each, alternating, after a
//! warm-up run. Prints the median, the minimum and the maximum, and the ratios. `support/mod.rs` has the requirements.
#![expect(
    clippy::unwrap_used,
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "if a measurement fails, it ends with the reason"
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
    // cargo test also runs benches, to check that they work; nothing is measured then.
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
