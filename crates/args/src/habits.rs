//! What people type who come from other tools, and what to type here. Data only; `advice.rs` applies it.
//!
//! Sources of the words: supervisorctl 3.0 to 4.2, systemctl, Ansible (ad hoc and `ansible-playbook`), clush and pdsh, kubectl, and
//! the tasks of Contrail's fabric utilities. Invariants, tested row by row: a word here is no command or option of
//! ours (unless the row says so), each line is one that the parser accepts, and nothing of the table is ever run.

use ctl_inventory::roles_of_service;

/// A command of another tool.
#[derive(Debug)]
pub(crate) struct CommandHabit {
    /// The words that it begins with.
    pub(crate) typed: &'static str,
    /// The line here: `{}` stands for the words behind those, `{supervisorctl}` for what reaches a node's own supervisorctl.
    pub(crate) line: &'static str,
    /// What stands for `{}` if the words typed give no valid line.
    pub(crate) sample: &'static str,
    /// What there is instead.
    pub(crate) note: &'static str,
}

const fn command(typed: &'static str, line: &'static str, sample: &'static str, note: &'static str) -> CommandHabit {
    CommandHabit { typed, line, sample, note }
}

const COLLECTOR: &str = "contrail-collector";
const LOGS: &str = "`ctl logs` shows and follows logs";
const STATUS: &str = "`ctl status` shows the services";
const PROBLEMS: &str = "`ctl status` shows what is not running";
const INIT: &str = "supervisord has no such action; use the init system of the nodes";
const UPDATE: &str = "`ctl update` rereads the configuration, then adds, removes and restarts what changed";
const OWN: &str = "use the supervisorctl of the nodes";
const SIGNAL: &str = "supervisord delivers signals only since 3.2; use the supervisorctl of the nodes";
const NODES: &str = "`ctl inventory list` lists the nodes";
const EXEC: &str = "`ctl exec` runs a command on the nodes";
const JOURNAL: &str = "`ctl runs` is the journal of everything that changed a node";
const RESTART: &str = "`ctl restart` restarts services";
const IMPORT: &str = "`ctl inventory import` makes an inventory from that of another tool";
const INITIAL: &str = "`ctl init` looks at hosts and makes an inventory of them";
const ROLLOUT: &str = "`ctl rollout` runs the steps of a rollout file";
const ROLLING: &str = "`--rolling` restarts one node after the other";
const WAIT: &str = "`ctl wait` waits until services are in a state";

/// The commands, of which the longest match counts.
pub(crate) const COMMANDS: &[CommandHabit] = &[
    // supervisorctl
    command("tail", "logs {}", COLLECTOR, LOGS),
    command("fg", "logs -f {}", COLLECTOR, "a program cannot be brought to the foreground; its log can be followed"),
    command("maintail", "exec {supervisorctl} maintail {}", "", OWN),
    command("clear", "exec {supervisorctl} clear {}", COLLECTOR, OWN),
    command("signal", "exec {supervisorctl} signal {}", "HUP contrail-collector", SIGNAL),
    command("pid", "status -o wide {}", COLLECTOR, "`ctl status -o wide` shows the pids"),
    command("avail", "status --all {}", "", STATUS),
    command("reread", "update all --dry-run=live {}", "", "`--dry-run=live` shows what an update would change"),
    command("add", "update {}", COLLECTOR, UPDATE),
    command("remove", "update {}", COLLECTOR, UPDATE),
    command("shutdown", "stop 'supervisor-*' {}", "-r analytics", "the supervisords are services too"),
    command(
        "reload",
        "restart {}",
        "supervisor-analytics -r analytics",
        "`ctl restart` restarts a service or a supervisord",
    ),
    command("version", "--version", "", "`ctl --version` shows the version of ctl"),
    // systemctl, service, journalctl
    command("is-active", "status {}", COLLECTOR, "`ctl status` exits 3 if a service is not running"),
    command("is-failed", "status {}", COLLECTOR, "`ctl status` exits 3 if a service is not running"),
    command("list-units", "status --all {}", "", STATUS),
    command("list-unit-files", "status --all {}", "", STATUS),
    command("list-units --failed", "status {}", "", PROBLEMS),
    command("--failed", "status {}", "", PROBLEMS),
    command("service --status-all", "status --all {}", "", STATUS),
    command("--status-all", "status --all {}", "", STATUS),
    command("reset-failed", "restart {}", COLLECTOR, RESTART),
    command("enable", "exec {role} -- systemctl enable {}", "supervisor-analytics", INIT),
    command("disable", "exec {role} -- systemctl disable {}", "supervisor-analytics", INIT),
    command("is-enabled", "exec {role} -- systemctl is-enabled {}", "supervisor-analytics", INIT),
    command("mask", "exec {role} -- systemctl mask {}", "supervisor-analytics", INIT),
    command("unmask", "exec {role} -- systemctl unmask {}", "supervisor-analytics", INIT),
    command("reboot", "exec {} -- reboot", "-w a6s01", EXEC),
    command("show", "status -o wide {}", COLLECTOR, STATUS),
    command("try-restart", "restart {}", COLLECTOR, RESTART),
    command("condrestart", "restart {}", COLLECTOR, RESTART),
    command("force-reload", "restart {}", COLLECTOR, RESTART),
    command("reload-or-restart", "restart {}", COLLECTOR, RESTART),
    command("daemon-reload", "update all {}", "", UPDATE),
    command("kill", "exec {supervisorctl} signal TERM {}", COLLECTOR, SIGNAL),
    command("kill -s", "exec {supervisorctl} signal {}", "HUP contrail-collector", SIGNAL),
    command("kill --signal", "exec {supervisorctl} signal {}", "HUP contrail-collector", SIGNAL),
    command("kill -9", "exec {supervisorctl} signal KILL {}", COLLECTOR, SIGNAL),
    command("kill -KILL", "exec {supervisorctl} signal KILL {}", COLLECTOR, SIGNAL),
    command("kill -1", "exec {supervisorctl} signal HUP {}", COLLECTOR, SIGNAL),
    command("kill -HUP", "exec {supervisorctl} signal HUP {}", COLLECTOR, SIGNAL),
    command("kill -15", "exec {supervisorctl} signal TERM {}", COLLECTOR, SIGNAL),
    command("kill -TERM", "exec {supervisorctl} signal TERM {}", COLLECTOR, SIGNAL),
    command("kill -USR1", "exec {supervisorctl} signal USR1 {}", COLLECTOR, SIGNAL),
    command("kill -USR2", "exec {supervisorctl} signal USR2 {}", COLLECTOR, SIGNAL),
    command("journalctl", "logs {}", COLLECTOR, LOGS),
    command("journalctl -f", "logs -f {}", "all", LOGS),
    command("journalctl -fu", "logs -f {}", COLLECTOR, LOGS),
    command("journalctl -xe", "logs {}", "all", LOGS),
    command("journalctl -xeu", "logs {}", COLLECTOR, LOGS),
    // kubectl
    command("get", "status --all {}", "", STATUS),
    command("get pods", "status --all {}", "", STATUS),
    command("get services", "status --all {}", "", STATUS),
    command("get all", "status --all {}", "", STATUS),
    command("get nodes", "inventory list {}", "", NODES),
    command("get no", "inventory list {}", "", NODES),
    command("get node", "inventory show {}", "a6s01", "`ctl inventory show` shows everything about a node"),
    command("get events", "runs {}", "", JOURNAL),
    command("events", "runs {}", "", JOURNAL),
    command("describe", "status -o wide {}", COLLECTOR, STATUS),
    command("describe node", "inventory show {}", "a6s01", "`ctl inventory show` shows everything about a node"),
    command("describe nodes", "inventory list {}", "", NODES),
    command("cluster-info", "status {}", "", STATUS),
    command("completion", "completions {}", "bash", "`ctl completions` prints the script for a shell"),
    command("create -f", "rollout {}", "upgrade.yaml", ROLLOUT),
    command("delete -f", "runs undo last", "", "`ctl runs undo` starts what a run stopped, and undoes what it kept"),
    command("diff -f", "rollout --dry-run=live {}", "upgrade.yaml", "--dry-run=live shows what a run would do"),
    command("apply", "rollout {}", "upgrade.yaml", ROLLOUT),
    command("apply -f", "rollout {}", "upgrade.yaml", ROLLOUT),
    command("delete", "restart {}", COLLECTOR, RESTART),
    command("delete pod", "restart {}", COLLECTOR, RESTART),
    command("rollout restart", "restart --rolling {}", COLLECTOR, ROLLING),
    command("rollout status", "wait --for running {wait}", COLLECTOR, WAIT),
    command("rollout undo", "runs undo last", "", "`ctl runs undo` starts what a run stopped, and undoes what it kept"),
    command("rollout history", "runs {}", "", JOURNAL),
    command("rollout resume", "runs resume last", "", "`ctl runs resume` resumes a run that did not finish"),
    command("rollout pause", "runs", "", "Ctrl-C ends a run after the nodes in progress; `ctl runs resume` resumes it"),
    command("drain", "stop all -w {}", "a6s01", "`maintenance` in the inventory keeps a node out of every run"),
    command("uncordon", "inventory show {}", "a6s01", "`maintenance` in the inventory keeps a node out of every run"),
    command("cordon", "inventory show {}", "a6s01", "`maintenance` in the inventory keeps a node out of every run"),
    // Ansible
    command("playbook", "rollout {}", "upgrade.yaml", ROLLOUT),
    // Contrail
    command("contrail-status", "status -o contrail-status {}", "", STATUS),
    command("contrail-version", "exec {} -- contrail-version", "", EXEC),
    command("all_command", "exec -- {}", "uptime", EXEC),
    // What the words of ctl could be as well.
    command("run", "exec {}", "-- uptime", EXEC),
    command("cmd", "exec {}", "-- uptime", EXEC),
    command("shell", "exec {}", "-- uptime", EXEC),
    command("ssh", "exec -w {}", "a6s01 -- uptime", EXEC),
    command("nodeset -l", "inventory list {}", "", NODES),
    command("nodeset -ll", "inventory list {}", "", NODES),
    command("runs last", "runs show last", "", JOURNAL),
    command("list", "inventory list {}", "", NODES),
    command("ls", "inventory list {}", "", NODES),
    command("nodes", "inventory list {}", "", NODES),
    command("hosts", "inventory list {}", "", NODES),
    command("ps", "status --all {}", "", STATUS),
    command("log", "logs {}", COLLECTOR, LOGS),
    command("watch", "status --watch {}", "", "`--watch` repeats the status"),
    command("import", "inventory import {}", "--from ansible hosts", IMPORT),
    command("import ansible", "inventory import --from ansible {}", "hosts", IMPORT),
    command("import clustershell", "inventory import --from clustershell {}", "groups.conf", IMPORT),
    command("import testbed", "inventory import --from testbed {}", "testbed.py", IMPORT),
    command("inventory import ansible", "inventory import --from ansible {}", "hosts", IMPORT),
    command("inventory import clustershell", "inventory import --from clustershell {}", "groups.conf", IMPORT),
    command("inventory import testbed", "inventory import --from testbed {}", "testbed.py", IMPORT),
    command(
        "inventory import --from ssh-config",
        "init --from ssh-config --ssh-config {}",
        "/etc/ssh/ssh_config",
        INITIAL,
    ),
    command(
        "inventory import --from known-hosts",
        "init --from known-hosts --known-hosts {}",
        "/etc/ssh/ssh_known_hosts",
        INITIAL,
    ),
    command("init --from ansible", "inventory import --from ansible {}", "hosts", IMPORT),
    command("init --from clustershell", "inventory import --from clustershell {}", "groups.conf", IMPORT),
    command("init --from testbed", "inventory import --from testbed {}", "testbed.py", IMPORT),
    command("history", "runs {}", "", JOURNAL),
    command("resume", "runs resume {}", "last", JOURNAL),
    command("retry", "runs retry {}", "last", JOURNAL),
    command("undo", "runs undo {}", "last", JOURNAL),
    command("diff", "snapshot diff {}", "before.json live", "`ctl snapshot diff` compares two snapshots"),
    command("validate", "rollout --validate {}", "upgrade.yaml", ROLLOUT),
    command("check", "inventory check {}", "", "`ctl inventory check` checks the inventory"),
];

/// An option of another tool, or a word that works as one.
#[derive(Debug)]
pub(crate) struct OptionHabit {
    pub(crate) typed: &'static [&'static str],
    /// The commands of ours on which the row counts; empty for all.
    pub(crate) on: &'static [&'static str],
    /// An example of its value, if it takes one.
    pub(crate) value: Option<&'static str>,
    /// The words here, in which `{}` stands for the value; none if it is to be left out.
    pub(crate) words: &'static str,
    pub(crate) note: &'static str,
    /// Whether the command has an option of this name that means something else.
    pub(crate) is_ours: bool,
    /// What the word behind the option must be like for the row to count.
    pub(crate) when: Option<fn(&str) -> bool>,
}

const fn option(
    typed: &'static [&'static str],
    on: &'static [&'static str],
    words: &'static str,
    note: &'static str,
) -> OptionHabit {
    OptionHabit { typed, on, value: None, words, note, is_ours: false, when: None }
}

const fn valued(
    typed: &'static [&'static str],
    on: &'static [&'static str],
    value: &'static str,
    words: &'static str,
    note: &'static str,
) -> OptionHabit {
    OptionHabit { typed, on, value: Some(value), words, note, is_ours: false, when: None }
}

const fn ours(habit: OptionHabit) -> OptionHabit {
    OptionHabit { is_ours: true, ..habit }
}

const fn only(when: fn(&str) -> bool, habit: OptionHabit) -> OptionHabit {
    OptionHabit { when: Some(when), ..habit }
}

fn is_number(word: &str) -> bool {
    !word.is_empty() && word.bytes().all(|byte| byte.is_ascii_digit())
}

fn is_no_number(word: &str) -> bool {
    !is_number(word)
}

/// A label of kubectl, such as `app=contrail-api`.
fn is_label(word: &str) -> bool {
    word.contains('=')
}

/// Neither a label nor a service, so that it can be a node or a user.
fn is_name(word: &str) -> bool {
    !is_label(word) && !is_service(word)
}

fn is_service(word: &str) -> bool {
    !roles_of_service(word).is_empty()
}

/// An address or a file.
fn is_path(word: &str) -> bool {
    word.contains(['/', ':'])
}

/// Root through sudo, which is what --sudo does.
fn is_sudo(word: &str) -> bool {
    matches!(word, "root" | "sudo")
}

/// A connection type of pdsh.
fn is_connection(word: &str) -> bool {
    matches!(word, "ssh" | "rsh" | "exec" | "mrsh" | "krb4")
}

fn is_condition(word: &str) -> bool {
    word.starts_with("condition") || word.starts_with("jsonpath")
}

fn is_assignment(word: &str) -> bool {
    word.contains('=') && !word.starts_with(['{', '@'])
}

const FORMAT: &str = "-o chooses the output format";
const SELECT: &str = "-w selects nodes";
const GROUP: &str = "-w selects nodes, also those of a group";
const USER: &str = "-u is the user to log in as";
const ALL: &str = "all nodes are the default";
const SUDO: &str = "--sudo runs commands on the nodes through sudo";
const FOLD: &str = "--fold combines nodes with the same output";
const WORST: &str = "the exit code is always that of the worst node";
const PREFIX: &str = "each node's output carries its name";
const PLAN: &str = "--dry-run shows the plan and changes nothing";
const TERMINAL: &str = "commands have no terminal; `ssh -t NODE` has one";
const CLUSTER: &str = "each cluster has an inventory of its own";
const LABEL: &str = "services have names and no labels";
const SOCKETS: &str = "the inventory has the sockets of the supervisords";
const STEPS: &str = "a rollout runs all of its steps, and --dry-run shows them";
const SET: &str = "`ctl nodeset` has commands for it";

/// The options. Rows with the same option are alternatives, and all of them are shown.
pub(crate) const OPTIONS: &[OptionHabit] = &[
    // Output
    option(&["--json"], &[], "-o json", FORMAT),
    option(&["--yaml"], &[], "-o yaml", FORMAT),
    option(&["--csv"], &[], "-o csv", FORMAT),
    option(&["--wide"], &[], "-o wide", FORMAT),
    option(&["--debug"], &[], "-vv", "-v logs each step, -vv also the SSH protocol"),
    option(&["--no-pager", "--no-headers"], &[], "", "there is no pager, and scripts read -o json"),
    // Which nodes
    valued(&["--limit"], &[], "a6s01", "-w {}", SELECT),
    valued(&["--hosts", "--host", "-H"], &[], "a6s01", "-w {}", SELECT),
    only(is_name, valued(&["-l"], &[], "a6s01", "-w {}", SELECT)),
    only(is_name, valued(&["-l"], &[], "admin", "-u {}", USER)),
    only(
        is_label,
        valued(&["-l", "--selector"], &["status", "logs", "restart", "stop"], "app=contrail-api", "{=}", LABEL),
    ),
    only(is_service, option(&["-l"], &["status"], "", "nothing is shortened")),
    option(&["--full"], &["status"], "", "nothing is shortened"),
    option(&["--failed"], &["status"], "", "`ctl status` shows only problems"),
    valued(&["-X"], &[], "rack2", "-x @{}", "-x leaves nodes out, also those of a group"),
    valued(&["-g", "--group"], &[], "rack1", "-w @{}", GROUP),
    valued(&["-R", "--roles"], &[], "config", "-r {}", "-r selects roles"),
    option(&["-a", "-A", "--all-namespaces"], &["status"], "--all", "--all shows every row, not only problems"),
    option(&["-a", "--all"], &[], "", ALL),
    only(is_no_number, valued(&["-n", "--namespace", "--context", "--kubeconfig"], &[], "prod.yaml", "-i {}", CLUSTER)),
    only(is_no_number, ours(valued(&["-n"], &["logs"], "prod.yaml", "-i {}", CLUSTER))),
    only(is_number, valued(&["-n", "--lines"], &["status"], "10", "", "`ctl logs -n` shows the end of a log")),
    only(is_path, valued(&["-s", "--serverurl", "-c", "--configuration"], &[], "/tmp/s.sock", "", SOCKETS)),
    // How they are reached
    option(&["-b"], &["exec"], "--sudo", SUDO),
    option(&["-b", "-B"], &["exec"], "--fold", FOLD),
    option(&["-b", "--become"], &[], "--sudo", SUDO),
    only(is_sudo, valued(&["--become-user", "--become-method"], &[], "root", "--sudo", SUDO)),
    option(&["-k"], &[], "--ask-pass", "--ask-pass asks for the SSH password, -K for that of sudo"),
    option(&["--ask-become-pass"], &[], "-K", "-K asks for sudo's password"),
    only(is_number, valued(&["-p"], &[], "2222", "--port {}", "--port is the port of SSH")),
    valued(&["--private-key", "--key-file"], &[], "id_ed25519", "--identity {}", "--identity is the private key"),
    valued(
        &["--fanout", "--parallel", "-z", "--pool-size"],
        &[],
        "32",
        "-f {}",
        "-f is the number of nodes worked on at once",
    ),
    // The changes
    ours(option(&["--check"], &["start", "stop", "restart", "update", "service", "exec"], "--dry-run", PLAN)),
    option(&["--check"], &["rollout"], "--dry-run=live", "--dry-run=live shows what a run would do"),
    option(&["-C", "--diff", "--list-hosts", "--list-tasks"], &[], "--dry-run", PLAN),
    option(&["--syntax-check"], &["rollout"], "--validate", "--validate checks the file"),
    only(is_assignment, valued(&["--extra-vars"], &["rollout"], "release=3.2", "-e {}", "-e sets a variable")),
    valued(&["--tags", "--skip-tags", "-t", "--start-at-task"], &["rollout"], "config", "--dry-run", STEPS),
    ours(option(&["--dry-run=client", "--dry-run=none"], &[], "--dry-run", PLAN)),
    ours(option(&["--dry-run=server"], &[], "--dry-run=live", PLAN)),
    option(&["--now", "--wait"], &["start", "stop", "restart", "update"], "", "it is done at once, and waited for"),
    only(is_condition, ours(valued(&["--for"], &["wait"], "condition=Ready", "--for running", WAIT))),
    valued(&["--batch-size"], &[], "2", "--serial {}", "--serial is the size of the batches"),
    option(&["--force"], &["start", "stop", "restart", "update", "service"], "-y", "-y answers the question"),
    // exec
    option(&["-it", "-ti", "-t", "--tty"], &["exec"], "", TERMINAL),
    option(&["-L", "-N"], &["exec"], "--no-fold", PREFIX),
    option(&["-S"], &["exec"], "", WORST),
    option(&["-P"], &["exec"], "", "nodes are worked on side by side"),
    option(&["--diff"], &["exec"], "--fold", FOLD),
    option(&["--nostdin"], &["exec"], "--no-stdin", "--no-stdin leaves standard input alone"),
    only(
        is_number,
        valued(&["-t"], &["exec"], "5", "--connect-timeout {}s", "--connect-timeout bounds the connection"),
    ),
    only(
        is_number,
        ours(valued(&["-u"], &["exec"], "10", "--timeout {}s", "--timeout bounds the command, -u is the user")),
    ),
    only(is_sudo, valued(&["-m", "--mode"], &["exec"], "sudo", "--sudo", SUDO)),
    only(is_connection, valued(&["-R"], &["exec"], "ssh", "", "every connection is one of SSH")),
    // cp
    option(&["-p", "--preserve"], &["cp"], "", "the permissions are always copied, the times and the owner never"),
    // logs and status
    ours(valued(
        &["-u", "--unit"],
        &["logs"],
        "contrail-collector",
        "{}",
        "-u is the user to log in as, and the service has no option",
    )),
    valued(&["--unit"], &["logs"], "contrail-collector", "{}", "the service has no option"),
    valued(&["--tail"], &["logs"], "50", "-n {}", "-n is the number of lines"),
    valued(
        &["--since", "-S"],
        &["logs"],
        "1h",
        "-n 1000",
        "supervisord cannot search logs by time; -n is the number of lines",
    ),
    option(&["stderr"], &["logs"], "--stderr", "--stderr shows standard error"),
    option(&["stdout"], &["logs"], "", "standard output is the default"),
    valued(&["-NUM"], &["logs"], "100", "-n {}", "-n is the number of lines"),
    valued(&["-c", "--container"], &["logs"], "main", "", "services have no containers"),
    option(&["-p", "--previous", "--all-containers"], &["logs"], "", "a log goes on over restarts"),
    option(&["-F"], &["logs"], "-f", "-f follows a log, also where it is rotated"),
    ours(option(&["-w"], &["status"], "--watch", "-w selects nodes, --watch repeats the status")),
    // inventory and nodeset
    option(&["--list", "--graph"], &["inventory"], "list", NODES),
    valued(&["--host"], &["inventory"], "a6s01", "show {}", "`ctl inventory show` shows everything about a node"),
    option(&["-f", "--fold"], &["nodeset"], "fold", SET),
    option(&["-e", "--expand"], &["nodeset"], "expand", SET),
    option(&["-c", "--count"], &["nodeset"], "count", SET),
];

/// Actions of init scripts and units that are a restart here.
pub(crate) const RESTART_ACTIONS: [&str; 5] =
    ["reload", "force-reload", "condrestart", "try-restart", "reload-or-restart"];

/// Modules of Ansible's ad hoc commands that run their arguments.
pub(crate) const SHELL_MODULES: [&str; 4] = ["shell", "command", "raw", "script"];
/// Modules of Ansible's ad hoc commands that change services.
pub(crate) const SERVICE_MODULES: [&str; 4] = ["service", "systemd", "supervisorctl", "sysvinit"];
/// Their states, and the commands here.
pub(crate) const SERVICE_STATES: [(&str, &str); 6] = [
    ("started", "start"),
    ("stopped", "stop"),
    ("restarted", "restart"),
    ("reloaded", "restart"),
    ("present", "update"),
    ("absent", "update"),
];

/// The commands of kubectl that take a kind before a name, and the kinds without a counterpart.
pub(crate) const WITH_KIND: [&str; 5] = ["get", "describe", "delete", "rollout restart", "rollout status"];
pub(crate) const OTHER_KINDS: [&str; 9] =
    ["services", "daemonsets", "statefulsets", "replicasets", "rs", "namespaces", "ns", "configmaps", "cm"];

/// What kubectl writes before a name.
pub(crate) const KINDS: [&str; 12] = [
    "deployment/",
    "deployments/",
    "deploy/",
    "pod/",
    "pods/",
    "po/",
    "service/",
    "svc/",
    "daemonset/",
    "ds/",
    "statefulset/",
    "sts/",
];
