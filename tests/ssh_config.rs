//! The resolver of ssh_config must match `ssh -G`: the same text and host give the same result, key by key.
//!
//! [`compare`] runs both; [`corpus`] has hand-written cases, [`generate`] random ones with a fixed seed. The resolver
//! must fail exactly where `ssh` fails. `SSH_CONFIG_CASES` sets the number of random cases.

#![expect(clippy::print_stdout, reason = "the counts are for a reader with --nocapture")]

mod ssh_config {
    pub(crate) mod compare;
    pub(crate) mod corpus;
    pub(crate) mod generate;
}

use std::collections::BTreeMap;
use std::process::Command;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use ssh_config::compare::{Bench, Case, FAILING};
use ssh_config::{corpus, generate};

const RANDOM_CASES: usize = 300;
const SEED: u64 = 0x7373_685f_636f_6e66;

/// Compares all cases on a few threads and fails with all differences.
fn compare(cases: &[Case]) {
    let next = AtomicUsize::new(0);
    let differences = Mutex::new(Vec::new());
    thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                let bench = Bench::new();
                while let Some(case) = cases.get(next.fetch_add(1, Ordering::Relaxed)) {
                    if let Err(difference) = bench.compare(case) {
                        differences.lock().expect("the comparison panicked").push(difference);
                    }
                }
            });
        }
    });
    println!("both failed in {} cases so far", FAILING.load(Ordering::Relaxed));
    let differences = differences.into_inner().expect("the comparison panicked");
    let shown: Vec<&str> = differences.iter().take(10).map(String::as_str).collect();
    assert!(
        differences.is_empty(),
        "{} of {} cases differ from {} (the resolver follows OpenSSH 9.2):\n{}",
        differences.len(),
        cases.len(),
        version(),
        shown.join("\n")
    );
}

/// The version that `ssh` prints.
fn version() -> String {
    let output = Command::new("ssh").arg("-V").output().expect("ssh ran before");
    String::from_utf8_lossy(&output.stderr).trim().to_owned()
}

/// Prints the number of cases for each keyword.
fn tell(what: &str, cases: &[Case]) {
    let mut counts: BTreeMap<String, usize> = BTreeMap::new();
    for case in cases {
        for keyword in case.keywords() {
            *counts.entry(keyword).or_default() += 1;
        }
    }
    let counts: Vec<String> = counts.iter().map(|(keyword, count)| format!("{keyword} {count}")).collect();
    println!("{what}: {} cases; {}", cases.len(), counts.join(", "));
}

#[test]
fn written_cases_agree_with_ssh() {
    let cases = corpus::cases();
    tell("written", &cases);
    compare(&cases);
}

#[test]
fn every_keyword_of_the_contract_has_three_written_cases() {
    let cases = corpus::cases();
    for keyword in corpus::CONTRACT {
        let count =
            cases.iter().filter(|case| case.keywords().iter().any(|it| it.eq_ignore_ascii_case(keyword))).count();
        assert!(count >= 3, "{keyword}: {count}");
    }
}

#[test]
fn random_cases_agree_with_ssh() {
    let count = std::env::var("SSH_CONFIG_CASES").ok().and_then(|text| text.parse().ok()).unwrap_or(RANDOM_CASES);
    let seed = std::env::var("SSH_CONFIG_SEED").ok().and_then(|text| text.parse().ok()).unwrap_or(SEED);
    let cases = generate::cases(seed, count);
    tell("random", &cases);
    compare(&cases);
}
