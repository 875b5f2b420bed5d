//! Every example of every help page, run against the lab.
//!
//! The pages are read as `ctl` prints them. The lab is the demo cluster, whose nodes the examples name.

use std::collections::BTreeSet;
use std::process::Command;

use contrail_lab::ClusterSpec;

use crate::harness::{Cluster, FAST, Running};
use crate::terminal::Terminal;

/// The demo cluster, with the files that the examples name.
fn cluster() -> Cluster {
    let cluster = Cluster::start(ClusterSpec::demo(12).timing(FAST));
    let steps = "steps:\n  - {name: greet, role: compute, exec: 'echo {{ release }}'}\n";
    cluster.write("upgrade.yaml", format!("version: 1\nvars: {{release: none}}\n{steps}"));
    cluster.write("hosts", "127.0.0.1 localhost\n");
    cluster.write("hosts.ini", "[analytics]\na6s[01:03]\n");
    std::fs::create_dir(cluster.path("copies")).expect("cannot make the directory");
    cluster.ctl("status --save before.json").expect(0);
    cluster
}

/// The help page of a command.
fn page(cluster: &Cluster, command: &str) -> String {
    Running::start(cluster.bare(&format!("{command} --help"))).finish().expect(0).stdout
}

/// The names below a heading of a help page.
fn subcommands(page: &str) -> Vec<String> {
    let lines = page.lines().skip_while(|line| *line != "Commands:").skip(1).take_while(|line| !line.is_empty());
    // A description that is continued is indented further.
    let names = lines.filter(|line| !line.starts_with("   ")).filter_map(|line| line.split_whitespace().next());
    names.filter(|name| *name != "help").map(str::to_owned).collect()
}

/// Every command, `ctl` itself as the empty one.
fn commands(cluster: &Cluster) -> Vec<String> {
    let mut found = vec![String::new()];
    let mut at = 0;
    while at < found.len() {
        let parent = found[at].clone();
        let names = subcommands(&page(cluster, &parent));
        found.extend(names.iter().map(|name| format!("{parent} {name}").trim_start().to_owned()));
        at += 1;
    }
    found
}

/// The lines at the beginning of a page, without what they do.
fn examples(page: &str) -> Vec<String> {
    let mut lines = page.lines();
    assert_eq!(lines.next(), Some("Examples:"), "{page}");
    let lines = lines.take_while(|line| !line.is_empty()).map(str::trim_start);
    lines.map(|line| line.split("  ").next().unwrap_or(line).to_owned()).collect()
}

/// The words as a shell would pass them.
fn words(line: &str) -> Vec<String> {
    let print = format!("for word in {}; do printf '%s\\n' \"$word\"; done", line.trim_start_matches("ctl "));
    let output = Command::new("sh").args(["-fc", &print]).output().expect("cannot run sh");
    String::from_utf8(output.stdout).expect("UTF-8").lines().map(str::to_owned).collect()
}

/// The example as a command, with the lab's options in front of it where its page has them.
fn command(cluster: &Cluster, page: &str, line: &str) -> Command {
    let mut command = cluster.bare("");
    if line.starts_with("ctl init") {
        // It writes an inventory, and knows of its hosts what ssh_config says.
        command.arg("-i").arg(cluster.path("new.yaml"));
        command.arg("--ssh-config").arg(cluster.inventory_path().with_file_name("ssh_config"));
    } else if page.contains("--inventory <FILE>") {
        command.arg("-i").arg(cluster.inventory_path());
    }
    if page.contains("--known-hosts <FILE>") {
        command.arg("--known-hosts").arg(cluster.known_hosts_path());
        if !line.starts_with("ctl init") {
            command.args(["--ssh-config", "none"]);
        }
    }
    command.args(words(line));
    command
}

#[test]
fn the_examples_of_every_help_page_run() {
    let cluster = cluster();
    let commands = commands(&cluster);
    assert!(commands.len() > 20, "{commands:?}");
    let mut done = BTreeSet::new();
    for name in &commands {
        let own = page(&cluster, name);
        for line in examples(&own) {
            if !done.insert(line.clone()) {
                continue;
            }
            // An example of `ctl` or of a command with subcommands is one of another page.
            let longest = commands.iter().filter(|name| line.trim_start_matches("ctl ").starts_with(name.as_str()));
            let meant = longest.max_by_key(|name| name.len()).expect("a command");
            let page = if line.contains("-w a6s01 logs") { page(&cluster, "logs") } else { page(&cluster, meant) };
            run(&cluster, &page, &line);
        }
    }
}

fn run(cluster: &Cluster, page: &str, line: &str) {
    let command = command(cluster, page, line);
    if line.starts_with("ctl top") {
        let mut top = Terminal::start(&command, 24, 80, &cluster.path(""));
        top.until("nodes healthy");
        top.press("q");
        assert_eq!(top.finish().code, Some(0), "{line}");
    } else if line.starts_with("ctl logs -f") {
        let name = cluster.nodes()[0].name().to_owned();
        let follow = Running::start(command);
        follow.until_printed(&name);
        follow.signal("INT");
        follow.finish().expect(130);
    } else {
        // A line with a question would be one that is refused without a terminal.
        Running::start(command).finish().expect(0);
    }
}

/// The page for somebody who starts with their own hosts. Its commands run in their order: `ctl init` writes the inventory
/// that the others find.
#[test]
fn the_commands_of_ten_minutes_run() {
    let cluster = cluster();
    let lines = include_str!("../../docs/ten-minutes.md").lines().filter_map(|line| line.strip_prefix("    ctl "));
    let mut count = 0;
    for line in lines {
        count += 1;
        let words = words(line);
        let name = words.iter().take_while(|word| !word.contains('-')).take(2).cloned().collect::<Vec<_>>().join(" ");
        let mut command = cluster.bare("");
        // The lab's addresses, ports and keys are in its ssh_config.
        if page(&cluster, &name).contains("--ssh-config <FILE>") {
            command.arg("--ssh-config").arg(cluster.inventory_path().with_file_name("ssh_config"));
            command.arg("--known-hosts").arg(cluster.known_hosts_path());
        }
        command.args(words);
        Running::start(command).finish().expect(0);
    }
    assert!(count > 10, "{count} commands");
}

/// A reader such as `head` that has seen enough is no error, whatever is printed.
#[test]
fn a_closed_pipe_ends_every_output_quietly() {
    let cluster = cluster();
    let mut lines: Vec<String> = vec!["--version".to_owned()];
    lines.extend(["bash", "zsh", "fish"].map(|shell| format!("completions {shell}")));
    for command in commands(&cluster) {
        lines.extend([format!("{command} --help"), format!("{command} -h"), format!("help {command}")]);
        lines.push(format!("man {command}"));
    }
    let inventory = cluster.inventory_path().display().to_string();
    lines.extend(["list", "check"].map(|command| format!("inventory {command} -i {inventory}")));
    lines.push("nodeset expand a[1-3]".to_owned());
    lines.push("inventory import --from ansible hosts.ini".to_owned());
    let mut runs: Vec<Command> = lines.iter().map(|line| cluster.bare(line)).collect();
    for line in [
        "inventory show a6s01",
        "status",
        "ping",
        "wait all --for running",
        "logs contrail-collector",
        "restart contrail-collector --dry-run",
        "restart contrail-collector --dry-run=live",
        "rollout upgrade.yaml --dry-run",
        "snapshot diff before.json live",
    ] {
        runs.push(cluster.command(line));
    }
    runs.push(cluster.bare("runs list"));
    runs.push(cluster.bare("connections list"));
    runs.push(cluster.bare("ssh-config a6s01 --ssh-config none"));
    for mut command in runs {
        let (reader, writer) = std::io::pipe().expect("a pipe");
        drop(reader);
        command.stdout(writer).stderr(std::process::Stdio::piped());
        let output = command.spawn().expect("ctl").wait_with_output().expect("cannot wait for ctl");
        let stderr = String::from_utf8_lossy(&output.stderr).to_lowercase();
        assert_eq!(output.status.code(), Some(0), "{command:?}: {stderr}");
        assert!(!stderr.contains("pipe") && !stderr.contains("error"), "{command:?}: {stderr}");
    }
    // A mistake stays one.
    let (reader, writer) = std::io::pipe().expect("a pipe");
    drop(reader);
    let status = cluster.bare("staus").stdout(std::process::Stdio::null()).stderr(writer).status().expect("ctl");
    assert_eq!(status.code(), Some(2));
}
