//! `ctl status` compared with `clush -b` running `supervisorctl status`, on the same real nodes.
//!
//!     cargo bench --bench status_against_clush
//!
//! Measures the whole command, on 16 nodes with 6 programs each that have no introspect port; 10 runs of each,
//! alternating, after a warm-up run. Prints the median, the minimum and the maximum. `support/mod.rs` has the
//! requirements.
#![expect(
    clippy::unwrap_used,
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "if a measurement fails, it ends with the reason"
)]

mod support;

use support::harness::Program;
use support::{Others, measure, warm_up};

fn main() {
    // cargo test also runs benches, to check that they work; nothing is measured then.
    if !std::env::args().any(|word| word == "--bench") {
        return;
    }
    let cluster = support::cluster((1..=6).map(|number| Program::steady(&format!("contrail-program-{number}"))));
    let others = Others::of(&cluster);
    let ctl = || cluster.ctl_command(["status", "--via", "rpc"]);
    warm_up(cluster.ctl_command(["status", "--via", "rpc", "-o", "csv"]), "RUNNING", 6);
    warm_up(others.ssh_loop(), "RUNNING", 6);
    assert!(others.clush().output().unwrap().status.success());
    let medians = measure(&[("ctl status --via rpc", &ctl), ("clush -b supervisorctl status", &|| others.clush())]);
    println!("clush takes {:.1} times as long", medians[1].as_secs_f64() / medians[0].as_secs_f64());
}
