//! `ctl init`: inventories of hosts that no inventory describes.

use std::path::{Path, PathBuf};

use contrail_lab::{ClusterSpec, Fault, NodeSpec, Release, Role, UserPolicy};

use crate::harness::{Cluster, FAST, Finished, Running, node, single, uniform, word};
use crate::terminal::{Left, Terminal};

const RELEASES: [Release; 4] = [Release::R1_05, Release::R2_20, Release::R3_0, Release::R3_2];

/// `ctl` with the lab's ssh_config, which has the address, the user and the key of each node.
fn begin(cluster: &Cluster, words: &str, inventory: &Path) -> Running {
    let ssh_config = cluster.inventory_path().with_file_name("ssh_config");
    let mut command = cluster.bare(words);
    command.arg("-i").arg(inventory).arg("--ssh-config").arg(ssh_config);
    Running::start(command)
}

fn ctl(cluster: &Cluster, words: &str, inventory: &Path) -> Finished {
    begin(cluster, words, inventory).finish()
}

/// The file that was written, once `ctl inventory check` has accepted it.
#[track_caller]
fn checked(cluster: &Cluster, inventory: &Path) -> String {
    let mut command = cluster.bare("inventory check");
    command.arg("-i").arg(inventory);
    Running::start(command).finish().expect(0);
    std::fs::read_to_string(inventory).expect("no inventory was written")
}

/// What a status says of each service, without what differs from one status to the next.
fn services(run: &Finished) -> Vec<String> {
    let fields = ["node", "role", "supervisor", "service", "outcome", "state", "pid", "functional", "via"];
    let line = |result: &serde_json::Value| fields.map(|field| result[field].to_string()).join(" ");
    let mut lines: Vec<String> = run.results().iter().map(line).collect();
    lines.sort();
    lines
}

/// The first status of the new inventory equals that of the lab's own, in every release.
#[test]
fn the_first_status_is_right() {
    for release in RELEASES {
        let cluster = Cluster::start(ClusterSpec::demo(12).release(release).timing(FAST));
        let inventory = cluster.path("new.yaml");
        let run = ctl(&cluster, "init --from ssh-config", &inventory).expect(0);
        assert!(run.stderr.contains("12 nodes, 6 roles. Next: ctl status -i "), "{run}");
        assert_eq!(run.stdout, "", "{run}");
        let text = checked(&cluster, &inventory);
        assert!(text.contains("a6s[01-03]: {roles: [analytics]}") && !text.contains("\nroles:"), "{release:?}\n{text}");
        let (own, new) = (cluster.ctl("status --all -o json"), ctl(&cluster, "status --all -o json", &inventory));
        let (own, new) = (own.expect(0), new.expect(0));
        assert!(services(&own).len() > 30, "{own}");
        assert_eq!(services(&new), services(&own), "{release:?}\n{text}");
    }
}

/// Nodes of all releases in one cluster, and several roles on a node.
#[test]
fn nodes_with_several_roles() {
    let specs =
        RELEASES.iter().enumerate().map(|(at, release)| NodeSpec::new(format!("n{at}"), *release).roles(Role::ALL));
    let cluster = Cluster::start(ClusterSpec::new(specs.collect()).timing(FAST));
    let inventory = cluster.path("new.yaml");
    ctl(&cluster, "init n[0-3]", &inventory).expect(0);
    let (own, new) = (cluster.ctl("status --all -o json"), ctl(&cluster, "status --all -o json", &inventory));
    assert_eq!(services(&new.expect(0)), services(&own.expect(0)));
}

/// Hosts with user and port, and the options of the command line, are in the file.
#[test]
fn the_way_to_each_host_is_kept() {
    let cluster = Cluster::start(uniform(2));
    let address = |name: &str| {
        let shown = cluster.ctl(&format!("inventory show {name} -o json")).expect(0).document();
        format!("{}:{}", word(&shown["address"]), shown["port"])
    };
    let hosts = cluster.write("hosts", format!("# two\nroot@{}  # first\n\n{}\n", address("n01"), address("n02")));
    let key = cluster.inventory_path().with_file_name("id_ed25519");
    let inventory = cluster.path("new.yaml");
    let words = format!("init --from {} -u root --identity {} --timeout 90s", hosts.display(), key.display());
    let mut command = cluster.command_with(&words, &inventory);
    command.env_remove("SSH_AUTH_SOCK");
    Running::start(command).finish().expect(0);
    let text = checked(&cluster, &inventory);
    assert!(text.contains("\ndefaults:\n  user: root\n") && text.contains("timeout: \"1m 30s\""), "{text}");
    assert!(text.contains("to be given again: --ssh-config none --known-hosts "), "{text}");
    assert!(
        text.contains(&format!("port: {}, user: root", address("n01").rsplit_once(':').expect("a port").1)),
        "{text}"
    );
    let status = Running::start(cluster.command_with("status --all -o json", &inventory)).finish().expect(0);
    assert_eq!(status.json()["summary"]["nodes"], 2, "{status}");
}

/// Host keys that are not known are asked about once, for all hosts together.
#[test]
fn unknown_host_keys_are_asked_about_once() {
    let cluster = Cluster::start(uniform(3));
    let config = std::fs::read_to_string(cluster.inventory_path().with_file_name("ssh_config")).expect("it is there");
    let config = cluster.write("config", config.replace("StrictHostKeyChecking yes", "StrictHostKeyChecking ask"));
    let (known, inventory) = (cluster.write("known", ""), cluster.path("new.yaml"));
    let mut command = cluster.bare("init --from ssh-config");
    command.arg("-i").arg(&inventory).arg("--ssh-config").arg(config).arg("--known-hosts").arg(&known);
    let mut terminal = Terminal::start(&command, 40, 120, &cluster.path(""));
    terminal.until("(yes/no)");
    terminal.press("yes\n");
    assert_eq!(terminal.finish(), Left::as_found(0), "{}", terminal.text());
    let text = terminal.text();
    assert_eq!((text.matches("(yes/no)").count(), text.contains("The keys of 3 hosts")), (1, true), "{text}");
    assert!(checked(&cluster, &inventory).contains("n[01-03]: {roles: [analytics]}"));
    assert_eq!(std::fs::read_to_string(known).expect("written").lines().count(), 3);
}

/// Two names of a machine are one node.
#[test]
fn a_machine_is_looked_at_once() {
    let cluster = Cluster::start(uniform(1));
    let address = word(&cluster.ctl("inventory show n01 -o json").expect(0).document()["address"]).to_owned();
    let inventory = cluster.path("new.yaml");
    let run = ctl(&cluster, &format!("init n01 root@{address}"), &inventory).expect(0);
    assert!(run.stderr.contains(&format!("{address}: the same machine as n01\n")), "{run}");
    let text = checked(&cluster, &inventory);
    assert!(text.contains("  n01: {roles: [analytics]}\n") && cluster.connections() == 1, "{text}");
}

/// A host that is not reached is a comment, and the exit code is that of an unreachable node.
#[test]
fn hosts_that_are_not_reached_are_comments() {
    let spec = ["n02", "n03"].into_iter().fold(uniform(4), |spec, name| spec.fault(name, Fault::Refused));
    let cluster = Cluster::start(spec);
    let inventory = cluster.path("new.yaml");
    let run = ctl(&cluster, "init --from ssh-config --retries 0", &inventory).expect(4);
    assert!(run.stderr.contains("n02: not reached: ") && run.stderr.contains("n03: not reached: "), "{run}");
    let text = checked(&cluster, &inventory);
    assert!(text.contains("# Hosts that are not in this inventory:\n#   n02: not reached: "), "{text}");
    assert!(text.contains("  n[01,04]: {roles: [analytics]}\n"), "{text}");

    let none = cluster.path("none.yaml");
    let run = ctl(&cluster, "init n[02-03] --retries 0", &none).expect(4);
    assert!(run.stderr.contains("no inventory was written") && !none.exists(), "{run}");
}

/// A host without a supervisord, and one whose supervisord is down, are named.
#[test]
fn hosts_without_an_answer_are_named() {
    let spec = uniform(3).fault("n02", Fault::SupervisorMissing).fault("n03", Fault::SupervisorDown);
    let cluster = Cluster::start(spec);
    let inventory = cluster.path("new.yaml");
    let run = ctl(&cluster, "init --from ssh-config", &inventory).expect(0);
    assert!(run.stderr.contains("n02: no supervisord found\n"), "{run}");
    assert!(run.stderr.contains("n03: supervisor-analytics"), "{run}");
    let text = checked(&cluster, &inventory);
    assert!(text.contains("#   n02: no supervisord found\n#   n03: supervisor-analytics"), "{text}");
}

/// An existing file, even an empty one, is never replaced, and no host is touched then.
#[test]
fn a_file_that_is_there_is_left_alone() {
    let cluster = Cluster::start(uniform(1));
    let inventory = cluster.write("new.yaml", "");
    let run = ctl(&cluster, "init n01", &inventory).expect(2);
    assert!(run.stderr.contains("new.yaml exists already; nothing was done"), "{run}");
    let link: PathBuf = cluster.path("link.yaml");
    std::os::unix::fs::symlink("nowhere", &link).expect("cannot make the link");
    ctl(&cluster, "init n01", &link).expect(2);
    ctl(&cluster, "init n01", &cluster.path("no/such/new.yaml")).expect(2);
    assert_eq!(cluster.connections(), 0);
    assert_eq!(std::fs::read(&inventory).expect("it is there"), b"");
}

/// A dry run prints the same file and writes none, also beside one that is there.
#[test]
fn a_dry_run_prints_the_file() {
    let cluster = Cluster::start(uniform(2));
    let inventory = cluster.path("new.yaml");
    let run = ctl(&cluster, "init n[01-02] --dry-run", &inventory).expect(0);
    assert!(!inventory.exists() && run.stderr.is_empty(), "{run}");
    ctl(&cluster, "init n[01-02]", &inventory).expect(0);
    assert_eq!(std::fs::read_to_string(&inventory).expect("written"), run.stdout);
    ctl(&cluster, "init n[01-02] --dry-run", &inventory).expect(0);
}

/// Through sudo every socket is opened; without it a socket that may not be opened still shows its role.
#[test]
fn sockets_that_may_not_be_opened() {
    let spec = NodeSpec { policy: UserPolicy::SudoNoPassword, ..node(Release::R3_2, [Role::Analytics, Role::Control]) };
    let cluster = Cluster::start(single(spec));
    let with = cluster.path("with.yaml");
    ctl(&cluster, "init n --sudo", &with).expect(0);
    let text = checked(&cluster, &with);
    assert!(
        text.contains("defaults:\n  sudo: true\n") && text.contains("  \"n\": {roles: [analytics, control]}\n"),
        "{text}"
    );
    ctl(&cluster, "status", &with).expect(0);

    let without = cluster.path("without.yaml");
    let run = ctl(&cluster, "init n", &without).expect(0);
    assert!(run.stderr.contains("n: supervisor-analytics: the user may not open its socket"), "{run}");
    let text = checked(&cluster, &without);
    assert!(text.contains("  # supervisor-control: the user may not open its socket"), "{text}");
    assert!(text.contains("  \"n\": {roles: [analytics, control]}\n"), "{text}");
}

/// A host that hangs has an end, and Ctrl-C writes nothing.
#[test]
fn a_host_that_hangs() {
    let cluster = Cluster::start(uniform(2).fault("n02", Fault::SearchHangs));
    let inventory = cluster.path("new.yaml");
    let run = ctl(&cluster, "init --from ssh-config --timeout 2s", &inventory).expect(1);
    assert!(run.stderr.contains("n02: not searched: the search took longer than 2 s"), "{run}");
    checked(&cluster, &inventory);

    let other = cluster.path("other.yaml");
    let running = begin(&cluster, "init --from ssh-config", &other);
    running.until_said("waiting for n02");
    running.signal("INT");
    running.finish().expect(130);
    assert!(!other.exists());
}

/// Names in known_hosts are hosts; hashed ones are counted.
#[test]
fn hosts_of_known_hosts() {
    let cluster = Cluster::start(uniform(2));
    let known = cluster.known_hosts()
        + "|1|BwcHBwcHBwcHBwcHBwcHBwcHBwc=|AAAAAAAAAAAAAAAAAAAAAAAAAAA= ssh-ed25519 \
        AAAAC3NzaC1lZDI1NTE5AAAAIB9dG4kjRhQTtWTVzd2t27+t0DEHBPW7iOD23TUiYLio\n";
    let known = cluster.write("known", known);
    let inventory = cluster.path("new.yaml");
    let run =
        ctl(&cluster, &format!("init --from known-hosts --known-hosts {}", known.display()), &inventory).expect(0);
    assert!(run.stderr.contains("note: known_hosts: 1 name is hashed and cannot be read"), "{run}");
    assert!(run.stderr.contains("other names of the same hosts are left out: 127."), "{run}");
    let text = checked(&cluster, &inventory);
    assert!(text.contains("  n[01-02]: {roles: [analytics], port: "), "{text}");
}
