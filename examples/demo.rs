//! A demo without setup: boots a simulated cluster on loopback, and runs `ctl` against it.
//!
//!     cargo run --release -p demo
//!     cargo run --release -p demo -- [--lab-nodes N] <any ctl arguments>
//!
//! Without arguments: restarts contrail-collector on the analytics nodes, then shows the cluster's status.

mod ctl_binary;

use std::ffi::OsString;
use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::CommandFactory;
use contrail_ctl::args::args::CliArgs;
use contrail_lab::{ClusterSpec, Lab};
use tokio::runtime::Runtime;
use tokio::signal::unix::{SignalKind, signal};

const RESTART: [&str; 5] = ["service", "contrail-collector", "restart", "--role", "analytics"];

fn main() -> ExitCode {
    let mut words: Vec<OsString> = std::env::args_os().skip(1).collect();
    let nodes = match take_lab_nodes(&mut words) {
        Ok(nodes) => nodes,
        Err(reason) => return fail(&reason),
    };
    let program = match ctl_binary::build() {
        Ok(program) => program,
        Err(reason) => return fail(&reason),
    };
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return fail(&error.to_string()),
    };
    let lab = match runtime.block_on(Lab::start(ClusterSpec::demo(nodes))) {
        Ok(lab) => lab,
        Err(error) => return fail(&format!("the lab does not start: {error}")),
    };
    let demo = Demo { lab, program, runtime: &runtime };
    let code = if words.is_empty() {
        let restarted = demo.show(RESTART.map(OsString::from).to_vec());
        let status = demo.show(vec!["status".into()]);
        if restarted == ExitCode::SUCCESS { status } else { restarted }
    } else {
        demo.ctl(words)
    };
    drop(demo);
    runtime.shutdown_background();
    code
}

/// The cluster and the program.
struct Demo<'r> {
    lab: Lab,
    program: PathBuf,
    runtime: &'r Runtime,
}

impl Demo<'_> {
    /// Prints a command line, and runs it.
    fn show(&self, words: Vec<OsString>) -> ExitCode {
        let typed: Vec<_> = words.iter().map(|word| word.to_string_lossy()).collect();
        say(&format!("\n$ ctl {}", typed.join(" ")));
        self.ctl(words)
    }

    /// Runs `ctl` with the options that point it to the lab.
    fn ctl(&self, words: Vec<OsString>) -> ExitCode {
        let mut words = words;
        // Options may stand before the command, so its words are looked for everywhere.
        let mut definition = CliArgs::command();
        // Gives each command the options that the one above it passes on.
        definition.build();
        let mut command = &definition;
        let mut after = 0;
        for (index, word) in words.iter().enumerate() {
            if let Some(inner) = command.find_subcommand(word) {
                (command, after) = (inner, index + 1);
            }
        }
        let takes = |option: &str| command.get_arguments().any(|argument| argument.get_long() == Some(option));
        let mut options: Vec<OsString> = Vec::new();
        if takes("inventory") {
            options.extend(["--inventory".into(), self.lab.inventory_path().into()]);
        }
        if takes("known-hosts") {
            let known_hosts = self.lab.known_hosts_path().into();
            options.extend(["--known-hosts".into(), known_hosts, "--ssh-config".into(), "none".into()]);
        }
        words.splice(after..after, options);
        let mut ctl = tokio::process::Command::new(&self.program);
        ctl.args(words).kill_on_drop(true);
        let ended = self.runtime.block_on(async {
            // Ctrl-C is for ctl, which the nodes have to outlive.
            let _ours = signal(SignalKind::interrupt())?;
            ctl.status().await
        });
        match ended {
            Ok(status) => {
                status.code().and_then(|code| u8::try_from(code).ok()).map_or(ExitCode::FAILURE, ExitCode::from)
            }
            Err(error) => fail(&format!("{} does not start: {error}", self.program.display())),
        }
    }
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
