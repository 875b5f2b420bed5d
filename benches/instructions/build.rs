//! Names the compiler: the counts of one say little about those of another.

use std::process::Command;

fn main() {
    let variable = |name: &str| std::env::var(name).expect("cargo sets it");
    let output = Command::new(variable("RUSTC")).arg("--version").output().expect("a compiler");
    let version = String::from_utf8_lossy(&output.stdout);
    let number = version.split_whitespace().nth(1).unwrap_or("unknown");
    println!("cargo::rustc-env=CTL_COMPILER=rustc {number}, {}", variable("TARGET"));
    println!("cargo::rerun-if-changed=build.rs");
}
