//! Node sets of a million names: folding, counting, reading, operators.
//!
//!     cargo bench -p nodeset

use divan::{Bencher, black_box};
use nodeset::NodeSet;

fn main() {
    divan::main();
}

/// A million names with commas between them.
fn million() -> String {
    (0..1_000_000).map(|number| format!("node{number}")).collect::<Vec<_>>().join(",")
}

#[divan::bench]
fn read_and_fold_a_range() -> String {
    NodeSet::parse(black_box("node[0-999999]")).map(|set| set.to_string()).unwrap_or_default()
}

#[divan::bench]
fn read_and_count_a_range() -> u64 {
    NodeSet::parse(black_box("node[0-999999]")).map(|set| set.len()).unwrap_or_default()
}

#[divan::bench(sample_count = 10)]
fn read_and_fold_a_million_names(bencher: Bencher<'_, '_>) {
    let text = million();
    bencher.bench(|| NodeSet::parse(black_box(&text)).map(|set| set.to_string()).unwrap_or_default());
}

#[divan::bench(sample_count = 10)]
fn read_and_count_a_million_names(bencher: Bencher<'_, '_>) {
    let text = million();
    bencher.bench(|| NodeSet::parse(black_box(&text)).map(|set| set.len()).unwrap_or_default());
}

#[divan::bench]
fn take_a_rack_out_of_a_thousand() -> String {
    let set = NodeSet::parse(black_box("rack[1-1000]-node[1-1000]!rack500-node[1-1000]"));
    set.map(|set| set.to_string()).unwrap_or_default()
}
