//! The time that a completion takes, in an inventory of 5,000 nodes.
//!
//!     cargo bench --bench completion
//!
//! Measures the whole process, as a shell runs it when Tab is pressed, 20 times each after a warm-up run, and prints the
//! median, the minimum and the maximum. The inventory has a line for each node, or one range for all of them.
#![expect(clippy::unwrap_used, clippy::print_stdout, reason = "if a measurement fails, it ends with the reason")]

use std::fmt::Write;
use std::path::Path;
use std::process::Command;
use std::time::Instant;

#[path = "support/spread.rs"]
mod spread;

const NODES: usize = 5000;
const RUNS: usize = 20;

fn main() {
    // cargo test also runs benches, to check that they work; nothing is measured then.
    if !std::env::args().any(|word| word == "--bench") {
        return;
    }
    let mut lines = "version: 1\ngroups: {rack1: 'c[0001-0040]'}\nnodes:\n".to_owned();
    for node in 1..=NODES {
        let (high, low) = (node / 250, node % 250 + 1);
        writeln!(lines, "  c{node:04}: {{roles: [compute], address: 10.0.{high}.{low}}}").unwrap();
    }
    let range = format!("version: 1\nnodes:\n  c[0001-{NODES}]: {{roles: [compute]}}\n");
    for (kind, inventory) in [("a line for each node", lines), ("one range", range)] {
        let home = tempfile::TempDir::new().unwrap();
        std::fs::write(home.path().join("inventory.yaml"), inventory).unwrap();
        println!("{NODES} nodes, {kind}:");
        for (what, words) in [
            ("one node", vec!["status", "-w", "c2345"]),
            ("every node", vec!["status", "-w", "c"]),
            ("the last member of a node set", vec!["status", "-w", "c[0001-0100],c234"]),
            ("a role", vec!["status", "-r", "c"]),
            ("a command (reads no inventory)", vec!["sta"]),
        ] {
            let mut times: Vec<_> = (0..=RUNS).map(|_| measured(home.path(), &words)).collect();
            spread::report(what, times.split_off(1));
        }
    }
}

fn measured(home: &Path, words: &[&str]) -> std::time::Duration {
    let mut ctl = Command::new(env!("CARGO_BIN_EXE_ctl"));
    ctl.current_dir(home).env_clear().env("HOME", home).env("CTL_COMPLETE", "bash");
    ctl.env("_CLAP_IFS", "\n").env("_CLAP_COMPLETE_INDEX", words.len().to_string());
    ctl.args(["--", "ctl"]).args(words);
    let began = Instant::now();
    let output = ctl.output().unwrap();
    let took = began.elapsed();
    assert!(output.status.success() && !output.stdout.is_empty(), "{words:?} has no candidates");
    took
}
