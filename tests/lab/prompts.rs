//! Secrets typed at a pseudo terminal.

use std::fs;
use std::path::Path;
use std::process::Command;

use contrail_lab::Fault;

use crate::harness::{COLLECTOR, Cluster, uniform};
use crate::terminal::{Left, Terminal};

const SECRET: &str = "tr0ub4dor";
const QUESTION: &str = "SSH password for the nodes";

/// A node that accepts only a password, because the inventory names no key.
fn cluster() -> (Cluster, Command) {
    let cluster = Cluster::start(uniform(1).each(|node| node.password = Some(SECRET.to_owned())));
    let inventory = cluster.inventory();
    let (before, after) = inventory.split_once(", identity: ").expect("no key in the inventory");
    let (_, after) = after.split_once('}').expect("cannot find the end of the defaults");
    let inventory = cluster.write("password.yaml", format!("{before}}}{after}"));
    let command = cluster.command_with(&format!("service {COLLECTOR} status --ask-pass"), &inventory);
    (cluster, command)
}

/// An answer typed right after the prompt is not echoed, and input typed before the prompt is discarded.
#[test]
fn what_is_typed_ahead_is_thrown_away_and_what_is_typed_at_once_is_not_shown() {
    let (cluster, command) = cluster();
    let mut terminal = Terminal::start(&command, 24, 80, &cluster.path(""));
    // The terminal itself echoes this, because there is no prompt yet.
    terminal.press("early\n");
    terminal.until(QUESTION);
    terminal.press(&format!("{SECRET}\n"));
    assert_eq!(terminal.finish(), Left::as_found(0), "{}", terminal.text());
    let text = terminal.text();
    assert!(text.contains("RUNNING") && !text.contains(SECRET), "{text}");
    assert_eq!(text.matches(QUESTION).count(), 1, "{text}");
}

/// However the prompt ends, the terminal settings are restored, and no core file is left.
#[test]
fn a_signal_at_the_question_leaves_the_terminal_as_it_was() {
    for (signal, code) in [(None, 130), (Some("INT"), 130), (Some("TERM"), 143), (Some("HUP"), 129)] {
        let (cluster, command) = cluster();
        let mut terminal = Terminal::start(&command, 24, 80, &cluster.path(""));
        terminal.until(QUESTION);
        let pid = fs::read_to_string(cluster.path("pid")).expect("cannot read the file");
        let limits = fs::read_to_string(format!("/proc/{}/limits", pid.trim())).expect("cannot read the file");
        let core =
            limits.lines().find(|line| line.starts_with("Max core file size")).expect("expected a limit").to_owned();
        assert_eq!(core.split_whitespace().collect::<Vec<_>>()[4..6], ["0", "0"], "{core}");
        match signal {
            None => terminal.press("\x03"),
            Some(signal) => terminal.signal(signal),
        }
        // Read this before the terminal is closed, which also ends the prompt.
        let process = format!("/proc/{}", pid.trim());
        crate::harness::eventually("ctl to end", || (!Path::new(&process).exists()).then_some(()));
        assert_eq!(terminal.finish(), Left::as_found(code), "{signal:?}\n{}", terminal.text());
    }
}

/// After a stop and a continue at the prompt, it is shown again.
#[test]
fn a_stop_at_the_question() {
    let (cluster, command) = cluster();
    let mut terminal = Terminal::start(&command, 24, 80, &cluster.path(""));
    terminal.until(QUESTION);
    terminal.signal("TSTP");
    let pid = fs::read_to_string(cluster.path("pid")).expect("cannot read the file");
    let state = || {
        let status = fs::read_to_string(format!("/proc/{}/status", pid.trim())).expect("cannot read the file");
        status.lines().any(|line| line.starts_with("State:") && line.contains('T'))
    };
    crate::harness::eventually("a stopped process", || state().then_some(()));
    terminal.signal("CONT");
    terminal.until_screen("the second prompt", |text| text.matches(QUESTION).count() == 2);
    terminal.press(&format!("{SECRET}\n"));
    assert_eq!(terminal.finish(), Left::as_found(0), "{}", terminal.text());
    assert!(!terminal.text().contains(SECRET), "{}", terminal.text());
}

/// Input typed before a prompt is not its answer.
#[test]
fn a_question_is_not_answered_ahead() {
    let cluster = Cluster::start(uniform(2));
    let pipe = cluster.path("inventory");
    assert!(Command::new("mkfifo").arg(&pipe).status().expect("cannot run the program").success());
    let command = cluster.command_with(&format!("service {COLLECTOR} restart"), &pipe);
    let mut terminal = Terminal::start(&command, 24, 120, &cluster.path(""));
    // ctl waits for its inventory and says so, while the terminal echoes the input.
    terminal.until("waiting for the inventory");
    terminal.press("2\n");
    // Behind the path, which may contain a 2 as well.
    let is_echoed = |text: &str| text.rsplit_once("/inventory").is_some_and(|(_, rest)| rest.contains('2'));
    terminal.until_screen("the echo of the input", is_echoed);
    fs::write(&pipe, cluster.inventory()).expect("cannot write the file");
    terminal.until("to continue:");
    terminal.press("none\n");
    assert_eq!(terminal.finish(), Left::as_found(2), "{}", terminal.text());
    assert!(terminal.text().contains("not confirmed"), "{}", terminal.text());
    assert_eq!(cluster.connections(), 0);
}

/// If a host with an unknown key does not answer, the wait names it, and can be interrupted.
#[test]
fn a_silent_host_is_named_before_the_question() {
    let cluster =
        Cluster::start(uniform(3).fault("n02", Fault::SilentAfterAccept).fault("n03", Fault::SilentAfterAccept));
    let known = cluster.write("known_hosts", "");
    let mut command = cluster.bare("ping --connect-timeout 60s --ssh-config none");
    command.arg("-i").arg(cluster.inventory_path()).arg("--known-hosts").arg(known);
    let mut terminal = Terminal::start(&command, 24, 120, &cluster.path(""));
    terminal.until("waiting for the host keys of n[02-03] (up to 1m each)");
    terminal.press("\x03");
    assert_eq!(terminal.finish(), Left::as_found(130), "{}", terminal.text());
}

/// If standard input belongs to the command, ctl prompts on the terminal.
#[test]
fn a_question_beside_the_input_of_a_command() {
    let cluster = Cluster::start(uniform(2));
    let input = cluster.write("input", "from the file\n");
    let mut command = cluster.command("exec");
    // The terminal's shell parses this as a redirection.
    command.args(["--", "cat", &format!("<{}", input.display())]);
    let mut terminal = Terminal::start(&command, 24, 120, &cluster.path(""));
    terminal.until("to continue:");
    terminal.press("2\n");
    assert_eq!(terminal.finish(), Left::as_found(0), "{}", terminal.text());
    assert!(terminal.text().contains("from the file"), "{}", terminal.text());
}
