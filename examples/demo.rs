//! A demo without setup: boots a simulated cluster on loopback, and runs `ctl` against it.
//!
//!     cargo run --release -p demo
//!     cargo run --release -p demo -- [--lab-nodes N] <any ctl arguments>
//!
//! Without arguments: restarts contrail-collector on the analytics nodes, then shows the cluster's status.

use std::ffi::OsString;
use std::io::Write;
use std::process::ExitCode;

use contrail_lab::{ClusterSpec, Lab};

const RESTART: [&str; 5] = ["service", "contrail-collector", "restart", "--role", "analytics"];

fn main() -> ExitCode {
    let mut words: Vec<OsString> = std::env::args_os().skip(1).collect();
    let nodes = match take_lab_nodes(&mut words) {
        Ok(nodes) => nodes,
        Err(reason) => return fail(&reason),
    };
    // The lab stands in for the cluster's machines, so it has its own runtime.
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return fail(&error.to_string()),
    };
    let lab = match runtime.block_on(Lab::start(ClusterSpec::demo(nodes))) {
        Ok(lab) => lab,
        Err(error) => return fail(&format!("the lab does not start: {error}")),
    };
    let code = if words.is_empty() {
        let restarted = show(&lab, RESTART.map(OsString::from).to_vec());
        let status = show(&lab, vec!["status".into()]);
        if restarted == ExitCode::SUCCESS { status } else { restarted }
    } else {
        ctl(&lab, words)
    };
    drop(lab);
    runtime.shutdown_background();
    code
}

/// Prints a command line, and runs it.
fn show(lab: &Lab, words: Vec<OsString>) -> ExitCode {
    let typed: Vec<_> = words.iter().map(|word| word.to_string_lossy()).collect();
    say(&format!("\n$ ctl {}", typed.join(" ")));
    ctl(lab, words)
}

/// Commands that connect to nodes.
const FANNED_OUT: [&str; 14] = [
    "service", "start", "stop", "restart", "update", "status", "ping", "exec", "cp", "logs", "top", "wait", "rollout",
    "snapshot",
];

/// The entry point of the binary, with the options that point it to the lab.
fn ctl(lab: &Lab, words: Vec<OsString>) -> ExitCode {
    // Options may stand before the command.
    let command = words.iter().find(|word| FANNED_OUT.iter().any(|name| word == name) || *word == "inventory");
    let knows_inventory = command.is_some();
    let goes_to_nodes = command.is_some_and(|word| word != "inventory");
    let mut all = vec![OsString::from("ctl")];
    if knows_inventory {
        all.extend(["--inventory".into(), lab.inventory_path().into()]);
    }
    if goes_to_nodes {
        all.extend(["--known-hosts".into(), lab.known_hosts_path().into(), "--ssh-config".into(), "none".into()]);
    }
    all.extend(words);
    contrail_ctl::cli::main(all)
}

/// Removes `--lab-nodes N` from the front.
fn take_lab_nodes(words: &mut Vec<OsString>) -> Result<usize, String> {
    if words.first().is_none_or(|word| word != "--lab-nodes") {
        return Ok(12);
    }
    let number = words.get(1).and_then(|word| word.to_str()).and_then(|word| word.parse().ok());
    let nodes = number.filter(|nodes| (6..=5000).contains(nodes)).ok_or("--lab-nodes takes a number from 6 to 5000")?;
    words.drain(..2);
    Ok(nodes)
}

fn say(text: &str) {
    drop(writeln!(std::io::stderr().lock(), "{text}"));
}

fn fail(reason: &str) -> ExitCode {
    say(&format!("error: {reason}"));
    ExitCode::FAILURE
}
