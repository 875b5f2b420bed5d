//! The words as they are typed. Nothing is looked up or decided here.

use std::path::PathBuf;

use clap::{Args as ClapArgs, Parser, Subcommand, ValueEnum};

use crate::change_args::{ChangeArgs, GoArgs};
use crate::connect_args::{ConnectArgs, SshArgs};
use crate::connections_args::ConnectionsArgs;
use crate::durations::{duration, duration_or_zero};
use crate::format::{self, Content, OutputFormat};
use crate::output_args::OutputArgs;
use crate::runs_args::RunsArgs;
use crate::selection_args::SelectionArgs;

/// Start, stop, restart and inspect the services of a Contrail cluster, on every node at once.
#[derive(Debug, Parser)]
#[command(name = "ctl", version, max_term_width = 100, arg_required_else_help = true)]
pub struct CliArgs {
    /// What to do.
    #[command(subcommand)]
    pub command: CliCommand,
}

/// The commands.
#[derive(Debug, Subcommand)]
pub enum CliCommand {
    /// Start, stop, restart, update or show services
    Service(ServiceArgs),
    /// Start services; short for `ctl service NAME... start`
    Start(VerbArgs),
    /// Stop services; short for `ctl service NAME... stop`
    Stop(VerbArgs),
    /// Restart services; short for `ctl service NAME... restart`
    Restart(VerbArgs),
    /// Apply changed configuration; short for `ctl service NAME... update`
    Update(VerbArgs),
    /// Run a command on the nodes and collect its output
    Exec(ExecArgs),
    /// Copy files to the nodes, or a file from each of them
    Cp(CpArgs),
    /// Run the steps of a rollout file, such as an upgrade, in batches with gates
    Rollout(RolloutArgs),
    /// List, show, resume, retry or undo past runs
    Runs(RunsArgs),
    /// Wait until services are running, active or stopped
    Wait(WaitArgs),
    /// Show the problems of the cluster, or of the named services
    Status(StatusArgs),
    /// Show a full-screen live view of the cluster
    Top(TopArgs),
    /// Show the end of a service's log on every node, or follow it
    Logs(LogsArgs),
    /// Compare a snapshot from `ctl status --save` with another one or with the live cluster
    Snapshot(SnapshotArgs),
    /// Connect to the nodes and find their supervisords; report problems and how to fix them
    Ping(PingArgs),
    /// Look at hosts, find their supervisords, and write an inventory
    Init(InitArgs),
    /// Show, check or import the inventory (from Ansible, a testbed.py, ClusterShell)
    Inventory(InventoryArgs),
    /// Fold, expand or count a node set; works without an inventory
    Nodeset(NodesetArgs),
    /// Show the SSH settings used for a host, in the format of `ssh -G`
    SshConfig(SshConfigArgs),
    /// List or close the connections that --persist keeps
    Connections(ConnectionsArgs),
    /// Print the completion script for a shell
    Completions(CompletionsArgs),
    /// Show the manual page of ctl or of one of its commands
    Man(ManArgs),
}

/// ctl service NAME... ACTION
#[derive(Debug, ClapArgs)]
pub struct ServiceArgs {
    /// Services, and the action (start, stop, restart, status, update) first or last
    ///
    /// A service is a program (contrail-collector), a group (contrail-api), one process of it (contrail-api:0), a
    /// glob ('contrail-*', all), a supervisord instance (supervisor-analytics), or a service that init runs.
    #[arg(value_name = "NAME... ACTION", required = true, num_args = 1..)]
    pub words: Vec<String>,
    /// How nodes are changed.
    #[command(flatten)]
    pub change: ChangeArgs,
    /// Which nodes, and how they are reached.
    #[command(flatten)]
    pub fanout: FanoutArgs,
}

/// ctl start NAME...
#[derive(Debug, ClapArgs)]
pub struct VerbArgs {
    /// Services: programs, groups (contrail-api), single processes (contrail-api:0), globs ('contrail-*', all),
    /// supervisord instances (supervisor-analytics), or services that init runs
    #[arg(value_name = "NAME", required = true)]
    pub names: Vec<String>,
    /// How nodes are changed.
    #[command(flatten)]
    pub change: ChangeArgs,
    /// Which nodes, and how they are reached.
    #[command(flatten)]
    pub fanout: FanoutArgs,
}

/// ctl exec -- COMMAND...
#[derive(Debug, ClapArgs)]
pub struct ExecArgs {
    /// The command: a single word is passed to the login shell as with ssh, several words are quoted and arrive as typed
    #[arg(value_name = "COMMAND", required = true, num_args = 1.., last = true)]
    pub command: Vec<String>,
    /// Do not read standard input; otherwise a pipe or a file is sent to the command on every node
    #[arg(long)]
    pub no_stdin: bool,
    /// How nodes are changed.
    #[command(flatten)]
    pub change: ChangeArgs,
    /// Which nodes, and how they are reached.
    #[command(flatten)]
    pub fanout: FanoutArgs,
}

/// ctl cp FILE... :PATH
#[derive(Debug, ClapArgs)]
#[command(override_usage = "ctl cp [OPTIONS] <FILE>... <:PATH>\n       ctl cp [OPTIONS] <:PATH> <DIR>")]
pub struct CpArgs {
    /// What to copy and where to; a path on the nodes begins with a colon
    ///
    /// To the nodes: files, and a path there. A target that is a directory, or ends in a slash, gets the files under their
    /// own names. From the nodes: a path there, and a directory here, which gets a directory for each node.
    #[arg(value_name = "FILE... :PATH | :PATH DIR", required = true, num_args = 1.., value_hint = clap::ValueHint::AnyPath)]
    pub words: Vec<String>,
    /// How nodes are changed.
    #[command(flatten)]
    pub change: ChangeArgs,
    /// Which nodes, and how they are reached.
    #[command(flatten)]
    pub fanout: FanoutArgs,
}

/// ctl rollout FILE
#[derive(Debug, ClapArgs)]
pub struct RolloutArgs {
    /// Rollout file; see docs/rollout.md
    #[arg(value_name = "FILE")]
    pub file: PathBuf,
    /// Set a variable of the file; can be repeated
    #[arg(short = 'e', long = "var", value_name = "KEY=VALUE", value_parser = variable)]
    pub vars: Vec<(String, String)>,
    /// Check the file against the inventory without connecting
    #[arg(long)]
    pub validate: bool,
    /// Whether the run starts, and under which locks.
    #[command(flatten)]
    pub go: GoArgs,
    /// Which nodes, and how they are reached.
    #[command(flatten)]
    pub fanout: FanoutArgs,
}

/// ctl wait NAME...
#[derive(Debug, ClapArgs)]
pub struct WaitArgs {
    /// Services
    #[arg(value_name = "NAME", required = true)]
    pub names: Vec<String>,
    /// State that all of them must reach
    #[arg(long = "for", value_name = "STATE")]
    pub condition: ConditionArg,
    /// How long the state must last with the same pid
    #[arg(long, value_name = "DURATION", value_parser = duration_or_zero, default_value = "0s")]
    pub stable: std::time::Duration,
    /// How long to wait
    #[arg(long, value_name = "DURATION", value_parser = duration, default_value = "120s")]
    pub wait_timeout: std::time::Duration,
    /// Which nodes, and how they are reached.
    #[command(flatten)]
    pub fanout: FanoutArgs,
}

/// What a service can be waited for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum ConditionArg {
    /// RUNNING
    Running,
    /// RUNNING, and active or standby according to its introspect port
    Active,
    /// Not running
    Stopped,
}

/// ctl status [NAME...]
#[derive(Debug, ClapArgs)]
#[command(mut_arg("output", |arg| arg.value_parser(format::parser(Content::Status))))]
pub struct StatusArgs {
    /// Services [default: all]
    #[arg(value_name = "NAME")]
    pub names: Vec<String>,
    /// Show everything, not only problems
    #[arg(long)]
    pub all: bool,
    /// Repeat every DURATION over the same connections and mark changes
    #[arg(long, value_name = "DURATION", value_parser = duration, num_args = 0..=1, default_missing_value = "2s", conflicts_with_all = ["save", "out"])]
    pub watch: Option<std::time::Duration>,
    /// Also save the status to a file, for `ctl snapshot diff` and --gate-snapshot
    #[arg(long, value_name = "FILE")]
    pub save: Option<PathBuf>,
    /// Which nodes, and how they are reached.
    #[command(flatten)]
    pub fanout: FanoutArgs,
}

/// ctl top
#[derive(Debug, ClapArgs)]
pub struct TopArgs {
    /// Services [default: all]
    #[arg(value_name = "NAME")]
    pub names: Vec<String>,
    /// Refresh interval
    #[arg(long, value_name = "DURATION", value_parser = duration, default_value = "2s")]
    pub interval: std::time::Duration,
    /// Which nodes, and how they are reached.
    #[command(flatten)]
    pub fanout: FanoutArgs,
}

/// ctl logs NAME
#[derive(Debug, ClapArgs)]
#[command(mut_arg("forks", |arg| arg.short(None)))]
#[command(mut_arg("output", |arg| arg.value_parser(format::parser(Content::Logs))))]
pub struct LogsArgs {
    /// The service
    #[arg(value_name = "NAME")]
    pub name: String,
    /// Follow new output
    #[arg(short = 'f', long)]
    pub follow: bool,
    /// Show the last LINES lines
    #[arg(short = 'n', long, value_name = "LINES", default_value_t = 10, value_parser = clap::value_parser!(u32).range(0..=100_000))]
    pub lines: u32,
    /// Show standard error instead of standard output
    #[arg(long)]
    pub stderr: bool,
    /// Which nodes, and how they are reached.
    #[command(flatten)]
    pub fanout: FanoutArgs,
}

/// ctl snapshot
#[derive(Debug, ClapArgs)]
pub struct SnapshotArgs {
    /// What to do with the snapshots.
    #[command(subcommand)]
    pub command: SnapshotCommand,
}

/// What can be done with snapshots.
#[derive(Debug, Subcommand)]
pub enum SnapshotCommand {
    /// Show what is worse, better or different in B; exit code 1 if anything is worse
    #[command(mut_arg("output", |arg| arg.value_parser(format::parser(Content::Changes))))]
    Diff {
        /// Output of `ctl status --save` or `ctl status -o json`
        #[arg(value_name = "A")]
        before: String,
        /// The same, or `live` for the current state of the cluster
        #[arg(value_name = "B|live")]
        after: String,
        /// Which nodes, and how they are reached.
        #[command(flatten)]
        fanout: Box<FanoutArgs>,
    },
}

/// ctl ping
#[derive(Debug, ClapArgs)]
pub struct PingArgs {
    /// Which nodes, and how they are reached.
    #[command(flatten)]
    pub fanout: FanoutArgs,
}

/// What every command that goes to nodes takes.
#[derive(Debug, Clone, ClapArgs)]
pub struct FanoutArgs {
    /// Inventory file [default: $CTL_INVENTORY, ./inventory.yaml, $XDG_CONFIG_HOME/ctl/inventory.yaml, /etc/ctl/inventory.yaml]
    #[arg(short, long, value_name = "FILE", help_heading = "Nodes")]
    pub(crate) inventory: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) selection: SelectionArgs,
    #[command(flatten)]
    pub(crate) connect: ConnectArgs,
    #[command(flatten)]
    pub(crate) output: OutputArgs,
}

/// ctl init
#[derive(Debug, ClapArgs)]
#[command(
    override_usage = "ctl init [OPTIONS] <HOST>...\n       ctl init [OPTIONS] --from <ssh-config|known-hosts|FILE>"
)]
pub struct InitArgs {
    /// The hosts to look at, as typed.
    #[arg(help = "Hosts: [user@]host[:port], or a pattern such as node[01-40]", value_name = "HOST", required_unless_present = "from", value_hint = clap::ValueHint::Hostname)]
    pub hosts: Vec<String>,
    /// Take the hosts from ssh_config, from known_hosts, or from a file with a host or pattern on each line
    #[arg(long, value_name = "ssh-config|known-hosts|FILE")]
    pub from: Option<PathBuf>,
    /// Inventory to write; it must not exist [default: $CTL_INVENTORY, ./inventory.yaml]
    #[arg(short, long, visible_alias = "out", value_name = "FILE")]
    pub inventory: Option<PathBuf>,
    /// Print the inventory and write no file; the hosts are looked at all the same
    #[arg(long)]
    pub dry_run: bool,
    #[command(flatten)]
    pub(crate) connect: ConnectArgs,
    /// Show only what could not be read
    #[arg(short, long, conflicts_with = "verbose", help_heading = "Output")]
    pub(crate) quiet: bool,
    /// Log each step and the reason for it; -vv also logs the SSH protocol
    #[arg(short, long, action = clap::ArgAction::Count, help_heading = "Output")]
    pub(crate) verbose: u8,
    /// Write the log of -v to a file
    #[arg(long, value_name = "FILE", help_heading = "Output")]
    pub(crate) log_file: Option<PathBuf>,
}

/// ctl inventory
#[derive(Debug, ClapArgs)]
pub struct InventoryArgs {
    /// What to do with the inventory; none is to list it.
    #[command(subcommand)]
    pub command: Option<InventoryCommand>,
    /// Inventory file [default: $CTL_INVENTORY, ./inventory.yaml, $XDG_CONFIG_HOME/ctl/inventory.yaml, /etc/ctl/inventory.yaml]
    #[arg(short, long, value_name = "FILE", global = true)]
    pub inventory: Option<PathBuf>,
    /// Output format
    #[arg(short, long, value_name = "FORMAT", default_value = "table", value_parser = format::parser(Content::Inventory), global = true)]
    pub output: OutputFormat,
}

/// What can be done with an inventory.
#[derive(Debug, Subcommand)]
pub enum InventoryCommand {
    /// List the nodes with their addresses, roles and groups
    List {
        /// Which nodes.
        #[command(flatten)]
        selection: SelectionArgs,
    },
    /// Show everything about one node
    Show {
        /// The node
        node: String,
        /// Options of a connection.
        #[command(flatten)]
        ssh: Box<SshArgs>,
    },
    /// Check the file and show all its errors
    Check,
    /// Write an inventory from that of another tool
    ///
    /// Prints the new inventory, or writes it to --out FILE, which must not exist. Anything that cannot be carried over is listed at
    /// its end as comments, each with its file and line. Nothing is executed, and secrets are never carried over.
    Import {
        /// The other tool
        // The error without it names the tool, for which the line is read once more.
        #[arg(long, value_name = "TOOL", required = true)]
        from: Option<ImportTool>,
        /// Its inventory: a file, or a directory (ansible, clustershell)
        path: PathBuf,
        /// Write to a new FILE instead of standard output
        #[arg(long, value_name = "FILE")]
        out: Option<PathBuf>,
    },
}

/// A tool whose inventory can be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum ImportTool {
    /// INI, YAML or `--list` JSON, with host_vars and group_vars beside it
    Ansible,
    /// fabric's testbed.py for Contrail
    Testbed,
    /// groups.conf, or groups in YAML or as `group: nodes`
    Clustershell,
}

/// ctl ssh-config
#[derive(Debug, ClapArgs)]
pub struct SshConfigArgs {
    /// Node of the inventory, or any other host
    #[arg(value_name = "NODE|HOST")]
    pub host: String,
    /// Inventory file [default: as for the other commands, if there is one]
    #[arg(short, long, value_name = "FILE")]
    pub inventory: Option<PathBuf>,
    /// Options of a connection.
    #[command(flatten)]
    pub ssh: SshArgs,
}

/// ctl nodeset
#[derive(Debug, ClapArgs)]
pub struct NodesetArgs {
    /// What to do with the node sets.
    #[command(subcommand)]
    pub command: NodesetCommand,
    /// Inventory file for groups and globs [default: as for the other commands, if there is one]
    #[arg(short, long, value_name = "FILE", global = true)]
    pub inventory: Option<PathBuf>,
}

/// What can be done with node sets.
#[derive(Debug, Subcommand)]
pub enum NodesetCommand {
    /// Print a node set in its shortest form
    Fold(PatternArgs),
    /// Print every name, in order
    Expand(PatternArgs),
    /// Print the number of names
    Count(PatternArgs),
}

/// Node sets as they are typed.
#[derive(Debug, ClapArgs)]
pub struct PatternArgs {
    /// Node set; several are combined; `-` reads standard input
    #[arg(value_name = "PATTERN", required = true)]
    pub patterns: Vec<String>,
}

/// ctl completions SHELL
#[derive(Debug, ClapArgs)]
pub struct CompletionsArgs {
    /// The shell
    ///
    /// To load the completions into the current shell:
    ///
    ///   bash: source <(ctl completions bash)
    ///   zsh:  source <(ctl completions zsh)
    ///   fish: ctl completions fish | source
    #[arg(value_name = "SHELL", verbatim_doc_comment)]
    pub shell: CompletionShell,
}

/// A shell that `ctl` has completions for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
#[expect(missing_docs, reason = "the name says it all, and a doc comment would be its help text")]
pub enum CompletionShell {
    Bash,
    Zsh,
    Fish,
}

/// ctl man
#[derive(Debug, ClapArgs)]
pub struct ManArgs {
    /// A command, such as `status` or `runs resume` [default: ctl itself]
    #[arg(value_name = "COMMAND")]
    pub command: Vec<String>,
    /// Write the pages of all commands to a directory, as roff
    #[arg(long, value_name = "DIR", conflicts_with = "command")]
    pub dir: Option<PathBuf>,
}

/// `KEY=VALUE`
fn variable(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((key, value)) if !key.is_empty() => Ok((key.to_owned(), value.to_owned())),
        _ => Err("expected KEY=VALUE".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ctl_event::Via;

    /// What clap prints, with single spaces: the width of its columns depends on the longest name.
    fn printed(words: &[&str]) -> String {
        let Err(error) = CliArgs::try_parse_from(words) else { panic!("{words:?} are valid") };
        error.to_string().split_whitespace().collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn help_and_mistakes_list_every_backend() {
        let choices: Vec<String> = Via::ALL.iter().map(|via| format!(" - {via}: {}", via.description())).collect();
        let help = format!(
            "How to reach supervisord Possible values: - auto: The first method that works{} [default: auto]",
            choices.concat()
        );
        for command in ["ping", "status"] {
            assert!(printed(&["ctl", command, "--help"]).contains(&help), "ctl {command}");
        }
        let names: Vec<&str> = Via::ALL.iter().map(|via| via.as_str()).collect();
        let mistake = format!(
            "error: invalid value 'ssh' for '--via <METHOD>' [possible values: auto, {}] For more",
            names.join(", ")
        );
        assert!(printed(&["ctl", "ping", "--via", "ssh"]).starts_with(&mistake));
    }
}
