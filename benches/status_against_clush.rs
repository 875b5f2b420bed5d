//! `ctl status` against `clush -b` running `supervisorctl status`, on the same real nodes, one after the other.
//!
//!     cargo bench --bench status_against_clush
//!
//! Measured: the whole command, from its start to its end, on 16 nodes with 6 programs each that have nothing to say of
//! themselves; 10 runs of each, in turn, after one that does not count; the median, the least and the most are printed.
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

fn main() {
    // cargo test runs benches too, to see that they work; there is nothing to measure then.
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
