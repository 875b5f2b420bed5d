//! The words as they are typed. Nothing is looked up or decided here.

use std::path::PathBuf;

use clap::{Args as ClapArgs, Parser, Subcommand, ValueEnum};

use crate::event::Via;
use crate::plan::amount::{Caps, FailureLimit, Serial};

/// Start, stop, restart and inspect the services of a Contrail cluster, on every node at once.
#[derive(Debug, Parser)]
#[command(name = "ctl", version, max_term_width = 100, arg_required_else_help = true)]
pub(super) struct Args {
    #[command(subcommand)]
    pub(super) command: Command,
}

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Start, stop, restart, update or show services
    Service(ServiceArgs),
    /// Run a command on the nodes, its output gathered
    Exec(ExecArgs),
    /// Carry out a rollout file: an upgrade as ordered steps, each in batches with gates
    Rollout(RolloutArgs),
    /// The runs that changed nodes: list them, show one, go on with it, do again what failed, undo what it stopped
    Runs(RunsArgs),
    /// Wait until services are running, active or stopped
    Wait(WaitArgs),
    /// Show what is not well in the cluster, or with the services named
    Status(StatusArgs),
    /// Show the full-screen live view of the cluster
    Top(TopArgs),
    /// Show the end of a service's log on every node, or follow it
    Logs(LogsArgs),
    /// Compare what `ctl status --save` saved with another snapshot or with the live cluster
    Snapshot(SnapshotArgs),
    /// Connect to the nodes and find their supervisords; say what is wrong and how to mend it
    Ping(PingArgs),
    /// Show or check the inventory
    Inventory(InventoryArgs),
    /// Fold, expand or count a node set; needs no inventory
    Nodeset(NodesetArgs),
    /// The settings that will be used for a host, in the form of `ssh -G`
    SshConfig(SshConfigArgs),
}

/// ctl service NAME... ACTION
#[derive(Debug, ClapArgs)]
pub(super) struct ServiceArgs {
    /// Services, and the action (start, stop, restart, status, update) first or last.
    ///
    /// A service is a program (contrail-collector), a group (contrail-api), one process of it (contrail-api:0), a
    /// glob ('contrail-*', all), a supervisord instance (supervisor-analytics), or a service that init runs.
    #[arg(value_name = "NAME... ACTION", required = true, num_args = 1..)]
    pub(super) words: Vec<String>,
    #[command(flatten)]
    pub(super) change: ChangeArgs,
    #[command(flatten)]
    pub(super) fanout: FanoutArgs,
}

/// ctl exec -- COMMAND...
#[derive(Debug, ClapArgs)]
pub(super) struct ExecArgs {
    /// One word goes to the login shell as it is, as with ssh; several words arrive as they were typed
    #[arg(value_name = "COMMAND", required = true, num_args = 1.., last = true)]
    pub(super) command: Vec<String>,
    /// Leave standard input alone; otherwise what a pipe or a file holds is sent to the command on every node
    #[arg(long)]
    pub(super) no_stdin: bool,
    #[command(flatten)]
    pub(super) change: ChangeArgs,
    #[command(flatten)]
    pub(super) fanout: FanoutArgs,
}

/// ctl rollout FILE
#[derive(Debug, ClapArgs)]
pub(super) struct RolloutArgs {
    /// The rollout file; docs/rollout.md explains it
    #[arg(value_name = "FILE")]
    pub(super) file: PathBuf,
    /// A variable of the file; may be given more than once
    #[arg(short = 'e', long = "var", value_name = "KEY=VALUE", value_parser = variable)]
    pub(super) vars: Vec<(String, String)>,
    /// Check the file against the inventory, and connect to nothing
    #[arg(long)]
    pub(super) validate: bool,
    #[command(flatten)]
    pub(super) go: GoArgs,
    #[command(flatten)]
    pub(super) fanout: FanoutArgs,
}

/// ctl runs
#[derive(Debug, ClapArgs)]
pub(super) struct RunsArgs {
    #[command(subcommand)]
    pub(super) command: Option<RunsCommand>,
    #[command(flatten)]
    pub(super) output: OutputArgs,
}

#[derive(Debug, Subcommand)]
pub(super) enum RunsCommand {
    /// The newest runs
    List {
        /// At most so many
        #[arg(short = 'n', long, value_name = "N", default_value_t = 20)]
        limit: u32,
        #[command(flatten)]
        output: OutputArgs,
    },
    /// What became of a run
    Show {
        /// Its ID, any part that only it has, or `last`
        #[arg(value_name = "ID")]
        id: String,
        #[command(flatten)]
        output: OutputArgs,
    },
    /// Go on where a run stopped: first with the nodes that were in flight
    Resume {
        /// Its ID, any part that only it has, or `last`
        #[arg(value_name = "ID")]
        id: String,
        #[command(flatten)]
        output: OutputArgs,
    },
    /// Do again what did not succeed, as a new run
    Retry {
        /// Its ID, any part that only it has, or `last`
        #[arg(value_name = "ID")]
        id: String,
        #[command(flatten)]
        output: OutputArgs,
    },
    /// Start again what a run has stopped, as a new run
    Undo {
        /// Its ID, any part that only it has, or `last`
        #[arg(value_name = "ID")]
        id: String,
        #[command(flatten)]
        output: OutputArgs,
    },
}

impl RunsCommand {
    pub(super) fn output(&self) -> &OutputArgs {
        match self {
            Self::List { output, .. }
            | Self::Show { output, .. }
            | Self::Resume { output, .. }
            | Self::Retry { output, .. }
            | Self::Undo { output, .. } => output,
        }
    }
}

/// ctl wait NAME...
#[derive(Debug, ClapArgs)]
pub(super) struct WaitArgs {
    /// Services
    #[arg(value_name = "NAME", required = true)]
    pub(super) names: Vec<String>,
    /// What has to be true of all of them
    #[arg(long = "for", value_name = "STATE")]
    pub(super) condition: ConditionArg,
    /// For how long, with the same pid
    #[arg(long, value_name = "D", value_parser = pause, default_value = "0s")]
    pub(super) stable: std::time::Duration,
    /// How long it is waited for
    #[arg(long, value_name = "D", value_parser = duration, default_value = "120s")]
    pub(super) wait_timeout: std::time::Duration,
    #[command(flatten)]
    pub(super) fanout: FanoutArgs,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum ConditionArg {
    /// RUNNING
    Running,
    /// RUNNING, and its introspect port says that it is active or a standby
    Active,
    /// Not running
    Stopped,
}

/// What every action that changes a node takes.
#[derive(Debug, ClapArgs)]
pub(super) struct ChangeArgs {
    #[command(flatten)]
    pub(super) batches: BatchArgs,
    #[command(flatten)]
    pub(super) go: GoArgs,
}

/// Batches, limits and gates.
#[derive(Debug, ClapArgs)]
pub(super) struct BatchArgs {
    /// Sizes of the batches: 1, 25%, or a list, of which the last repeats (1,25%,100%) [default: all at once]
    #[arg(long, value_name = "LIST", allow_hyphen_values = true, help_heading = "Batches")]
    pub(super) serial: Option<Serial>,
    /// One node at a time: --serial 1
    #[arg(long, conflicts_with = "serial", help_heading = "Batches")]
    pub(super) rolling: bool,
    /// No further batch once more nodes than this have failed [default: 0 when batched, else unlimited]
    #[arg(long, value_name = "N|P%", allow_hyphen_values = true, help_heading = "Batches")]
    pub(super) max_failures: Option<FailureLimit>,
    /// Nodes of a role that may be down at once [default: the inventory's; database and config: 1]
    #[arg(long, value_name = "N|P%|none", allow_hyphen_values = true, help_heading = "Batches")]
    pub(super) max_unavailable: Option<Caps>,
    /// Between batches
    #[arg(long, value_name = "D", value_parser = pause, help_heading = "Batches")]
    pub(super) pause: Option<std::time::Duration>,
    /// What ends a batch
    #[arg(long, value_name = "GATE", help_heading = "Batches")]
    pub(super) gate: Option<GateArg>,
    /// How long a service has to be RUNNING with its pid unchanged [default: 5s when batched, else 0s]
    #[arg(long, value_name = "D", value_parser = pause, help_heading = "Batches")]
    pub(super) stable: Option<std::time::Duration>,
    /// How long a gate may take [default: 120s]
    #[arg(long, value_name = "D", value_parser = duration, help_heading = "Batches")]
    pub(super) gate_timeout: Option<std::time::Duration>,
    /// Each node of a batch must be no worse than in this snapshot before the next
    #[arg(long, value_name = "FILE", help_heading = "Batches")]
    pub(super) gate_snapshot: Option<PathBuf>,
    /// A command that must exit 0 on each node of a batch before the next
    #[arg(long, value_name = "COMMAND", help_heading = "Batches")]
    pub(super) check: Option<String>,
}

/// How a changing run begins, and how it keeps nodes to itself.
#[derive(Debug, Clone, ClapArgs)]
pub(super) struct GoArgs {
    /// Ask no question
    #[arg(short, long)]
    pub(super) yes: bool,
    /// Show the plan and change nothing; `live` reads the nodes for it
    #[arg(long, value_name = "live", num_args = 0..=1, require_equals = true, default_missing_value = "plan")]
    pub(super) dry_run: Option<DryRun>,
    /// Why: kept in the journal, and shown to who meets the lock
    #[arg(long, value_name = "TEXT", help_heading = "Locks")]
    pub(super) reason: Option<String>,
    /// Wait for a lock that another run holds [default: 0s]
    #[arg(long, value_name = "D", value_parser = pause, help_heading = "Locks")]
    pub(super) lock_wait: Option<std::time::Duration>,
    /// Change nodes without guard and lock where they cannot offer them
    #[arg(long, help_heading = "Locks")]
    pub(super) no_guard: bool,
}

impl ChangeArgs {
    /// An option that means something only where something is changed, if one was given.
    pub(super) fn first_given(&self) -> Option<&'static str> {
        let given = [
            (self.batches.serial.is_some(), "--serial"),
            (self.batches.rolling, "--rolling"),
            (self.batches.max_failures.is_some(), "--max-failures"),
            (self.batches.max_unavailable.is_some(), "--max-unavailable"),
            (self.batches.pause.is_some(), "--pause"),
            (self.batches.gate.is_some(), "--gate"),
            (self.batches.stable.is_some(), "--stable"),
            (self.batches.gate_timeout.is_some(), "--gate-timeout"),
            (self.batches.gate_snapshot.is_some(), "--gate-snapshot"),
            (self.batches.check.is_some(), "--check"),
            (self.go.reason.is_some(), "--reason"),
            (self.go.lock_wait.is_some(), "--lock-wait"),
            (self.go.no_guard, "--no-guard"),
        ];
        given.into_iter().find_map(|(given, option)| given.then_some(option))
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum DryRun {
    /// Without connecting
    Plan,
    /// With what the nodes say
    Live,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum GateArg {
    /// Every service it touched is RUNNING, and stays so
    Running,
    /// And its introspect port says that it is active
    Active,
    /// Nothing but the proof that it was done
    None,
}

/// ctl status [NAME...]
#[derive(Debug, ClapArgs)]
pub(super) struct StatusArgs {
    /// Services; all without
    #[arg(value_name = "NAME")]
    pub(super) names: Vec<String>,
    /// Show everything, not only what is not well
    #[arg(long)]
    pub(super) all: bool,
    /// Again and again, every D, over the same connections; changes are marked
    #[arg(long, value_name = "D", value_parser = duration, num_args = 0..=1, default_missing_value = "2s", conflicts_with_all = ["save", "out"])]
    pub(super) watch: Option<std::time::Duration>,
    /// Save it to a file too, for `ctl snapshot diff` and --gate-snapshot
    #[arg(long, value_name = "FILE")]
    pub(super) save: Option<PathBuf>,
    #[command(flatten)]
    pub(super) fanout: FanoutArgs,
}

/// ctl top
#[derive(Debug, ClapArgs)]
pub(super) struct TopArgs {
    /// Services; all without
    #[arg(value_name = "NAME")]
    pub(super) names: Vec<String>,
    /// Between two looks at the cluster
    #[arg(long, value_name = "D", value_parser = duration, default_value = "2s")]
    pub(super) interval: std::time::Duration,
    #[command(flatten)]
    pub(super) fanout: FanoutArgs,
}

/// ctl logs NAME
#[derive(Debug, ClapArgs)]
#[command(mut_arg("forks", |arg| arg.short(None)))]
pub(super) struct LogsArgs {
    /// The service
    #[arg(value_name = "NAME")]
    pub(super) name: String,
    /// Go on with what is written from now on
    #[arg(short = 'f', long)]
    pub(super) follow: bool,
    /// So many of the last lines
    #[arg(short = 'n', long, value_name = "LINES", default_value_t = 10, value_parser = clap::value_parser!(u32).range(0..=100_000))]
    pub(super) lines: u32,
    /// Its standard error instead of its standard output
    #[arg(long)]
    pub(super) stderr: bool,
    #[command(flatten)]
    pub(super) fanout: FanoutArgs,
}

/// ctl snapshot
#[derive(Debug, ClapArgs)]
pub(super) struct SnapshotArgs {
    #[command(subcommand)]
    pub(super) command: SnapshotCommand,
}

#[derive(Debug, Subcommand)]
pub(super) enum SnapshotCommand {
    /// Say what is worse, better or merely different in B; exit code 1 if anything is worse
    Diff {
        /// What `ctl status --save` or `ctl status -o json` has written
        #[arg(value_name = "A")]
        before: String,
        /// The same, or `live` for the cluster as it is now
        #[arg(value_name = "B|live")]
        after: String,
        #[command(flatten)]
        fanout: Box<FanoutArgs>,
    },
}

/// ctl ping
#[derive(Debug, ClapArgs)]
pub(super) struct PingArgs {
    #[command(flatten)]
    pub(super) fanout: FanoutArgs,
}

/// What every command that goes to nodes takes.
#[derive(Debug, Clone, ClapArgs)]
pub(super) struct FanoutArgs {
    /// The inventory [default: $CTL_INVENTORY, ./inventory.yaml, $XDG_CONFIG_HOME/ctl/inventory.yaml, /etc/ctl/inventory.yaml]
    #[arg(short, long, value_name = "FILE", help_heading = "Nodes")]
    pub(super) inventory: Option<PathBuf>,
    /// Nodes that have any of the roles; the action goes to those roles' supervisords only
    #[arg(short, long, value_name = "ROLE", value_delimiter = ',', help_heading = "Nodes")]
    pub(super) role: Vec<String>,
    /// Nodes of this node set: names, node[01-40], globs, @group, @role, and the operators , ! & ^
    #[arg(short = 'w', long, value_name = "PATTERN", help_heading = "Nodes")]
    pub(super) nodes: Option<String>,
    /// Without the nodes of this node set
    #[arg(short = 'x', long, value_name = "PATTERN", help_heading = "Nodes")]
    pub(super) exclude: Option<String>,
    /// Nodes worked on at once
    #[arg(short, long, value_name = "N", default_value_t = 64, value_parser = clap::value_parser!(u32).range(1..=4096), help_heading = "Connection")]
    pub(super) forks: u32,
    /// For the action on one node [default: 120s]
    #[arg(long, value_name = "D", value_parser = duration, help_heading = "Connection")]
    pub(super) timeout: Option<std::time::Duration>,
    /// Connection attempts after the first, within --connect-timeout
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u32).range(0..=20), help_heading = "Connection")]
    pub(super) retries: u32,
    #[command(flatten)]
    pub(super) ssh: SshArgs,
    /// Run commands on the nodes through sudo
    #[arg(long, help_heading = "Connection")]
    pub(super) sudo: bool,
    /// Ask for sudo's password, once for all nodes
    #[arg(short = 'K', long, help_heading = "Connection")]
    pub(super) ask_sudo_pass: bool,
    /// Ask for the password to log in with, once for all nodes
    #[arg(long, help_heading = "Connection")]
    pub(super) ask_pass: bool,
    /// How supervisord is reached
    #[arg(long, value_name = "WAY", default_value = "auto", help_heading = "Connection")]
    pub(super) via: ViaArg,
    #[command(flatten)]
    pub(super) output: OutputArgs,
}

/// How hosts are reached; stronger than the inventory, which is stronger than ssh_config.
#[derive(Debug, Clone, ClapArgs)]
pub(super) struct SshArgs {
    /// From the first attempt to an authenticated session, for one node [default: 5s]
    #[arg(long, value_name = "D", value_parser = duration, help_heading = "Connection")]
    pub(super) connect_timeout: Option<std::time::Duration>,
    /// User to log in as
    #[arg(short, long, value_name = "USER", help_heading = "Connection")]
    pub(super) user: Option<String>,
    /// Port to connect to
    #[arg(long, value_name = "PORT", value_parser = clap::value_parser!(u16).range(1..), help_heading = "Connection")]
    pub(super) port: Option<u16>,
    /// Private key file
    #[arg(long, value_name = "FILE", help_heading = "Connection")]
    pub(super) identity: Option<PathBuf>,
    /// Bastion on the way to the nodes: [user@]host[:port], commas for a chain; `none` for none
    #[arg(short = 'J', long, value_name = "HOST", help_heading = "Connection")]
    pub(super) jump: Option<String>,
    /// ssh_config to read instead of the user's and the system's; `none` for none
    #[arg(long, value_name = "FILE", help_heading = "Connection")]
    pub(super) ssh_config: Option<PathBuf>,
    /// Known host keys [default: ~/.ssh/known_hosts]
    #[arg(long, value_name = "FILE", help_heading = "Connection")]
    pub(super) known_hosts: Option<PathBuf>,
    /// What to do with a host whose key is not known [default: strict]
    #[arg(long, value_name = "POLICY", help_heading = "Connection")]
    pub(super) host_key: Option<HostKey>,
}

/// What every command that shows results takes.
#[derive(Debug, Clone, ClapArgs)]
pub(super) struct OutputArgs {
    /// Form of the results
    #[arg(short, long, value_name = "FORM", default_value = "table", help_heading = "Output")]
    pub(super) output: Form,
    /// Write the results to a file, whole or not at all
    #[arg(long, value_name = "FILE", help_heading = "Output")]
    pub(super) out: Option<PathBuf>,
    /// Gather rows with one outcome under a folded node set [default: past 32 rows at a terminal]
    #[arg(long, overrides_with = "no_fold", help_heading = "Output")]
    pub(super) fold: bool,
    /// One row for each result
    #[arg(long, overrides_with = "fold", help_heading = "Output")]
    pub(super) no_fold: bool,
    /// Results only: no progress, no summary
    #[arg(short, long, conflicts_with = "verbose", help_heading = "Output")]
    pub(super) quiet: bool,
    /// Say what is done, and why; twice: the SSH protocol as well
    #[arg(short, long, action = clap::ArgAction::Count, help_heading = "Output")]
    pub(super) verbose: u8,
    /// Colour
    #[arg(long, value_name = "WHEN", default_value = "auto", help_heading = "Output")]
    pub(super) color: When,
    /// No progress display
    #[arg(long, help_heading = "Output")]
    pub(super) no_progress: bool,
    /// Write what -v says to a file
    #[arg(long, value_name = "FILE", help_heading = "Output")]
    pub(super) log_file: Option<PathBuf>,
}

/// ctl inventory
#[derive(Debug, ClapArgs)]
pub(super) struct InventoryArgs {
    #[command(subcommand)]
    pub(super) command: Option<InventoryCommand>,
    /// The inventory [default: $CTL_INVENTORY, ./inventory.yaml, $XDG_CONFIG_HOME/ctl/inventory.yaml, /etc/ctl/inventory.yaml]
    #[arg(short, long, value_name = "FILE", global = true)]
    pub(super) inventory: Option<PathBuf>,
    /// Form of the results
    #[arg(short, long, value_name = "FORM", default_value = "table", global = true)]
    pub(super) output: PlainForm,
}

#[derive(Debug, Subcommand)]
pub(super) enum InventoryCommand {
    /// All nodes with their addresses, roles and groups
    List,
    /// All that is known of one node
    Show {
        /// The node
        node: String,
        #[command(flatten)]
        ssh: Box<SshArgs>,
    },
    /// Read the file and say what is wrong with it
    Check,
}

/// ctl ssh-config
#[derive(Debug, ClapArgs)]
pub(super) struct SshConfigArgs {
    /// A node of the inventory, or any other host
    #[arg(value_name = "NODE|HOST")]
    pub(super) host: String,
    /// The inventory [default: as for the other commands, if there is one]
    #[arg(short, long, value_name = "FILE")]
    pub(super) inventory: Option<PathBuf>,
    #[command(flatten)]
    pub(super) ssh: SshArgs,
}

/// ctl nodeset
#[derive(Debug, ClapArgs)]
pub(super) struct NodesetArgs {
    #[command(subcommand)]
    pub(super) command: NodesetCommand,
}

#[derive(Debug, Subcommand)]
pub(super) enum NodesetCommand {
    /// Write a node set as short as can be
    Fold(PatternArgs),
    /// Write out every name, in order
    Expand(PatternArgs),
    /// Say how many names there are
    Count(PatternArgs),
}

#[derive(Debug, ClapArgs)]
pub(super) struct PatternArgs {
    /// Node set; several are joined; `-` reads standard input
    #[arg(value_name = "PATTERN", required = true, allow_hyphen_values = true)]
    pub(super) patterns: Vec<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum HostKey {
    /// It is refused
    Strict,
    /// It is taken and written down; a changed key is still refused
    AcceptNew,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum ViaArg {
    /// The first of the others that works
    Auto,
    /// XML-RPC over a forwarded socket
    Rpc,
    /// supervisorctl, executed on the node
    Supervisorctl,
    /// The init wrapper
    Service,
}

impl ViaArg {
    pub(super) fn via(self) -> Option<Via> {
        match self {
            Self::Auto => None,
            Self::Rpc => Some(Via::Rpc),
            Self::Supervisorctl => Some(Via::Supervisorctl),
            Self::Service => Some(Via::Service),
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum Form {
    /// For people
    Table,
    /// For people, with more columns and rows
    Wide,
    /// One document
    Json,
    /// One object a line, as it happens
    Jsonl,
    /// The JSON document as YAML
    Yaml,
    /// One row a result
    Csv,
    /// A report for the browser; of `ctl status` alone
    Html,
    /// Metrics for Prometheus; of `ctl status` alone
    Prom,
    /// Each node as contrail-status would show it; of `ctl status` alone
    ContrailStatus,
}

impl Form {
    /// Whether only a status can be shown so.
    pub(super) const fn is_of_status(self) -> bool {
        match self {
            Self::Html | Self::Prom | Self::ContrailStatus => true,
            Self::Table | Self::Wide | Self::Json | Self::Jsonl | Self::Yaml | Self::Csv => false,
        }
    }

    /// The word for it.
    pub(super) fn as_str(self) -> String {
        self.to_possible_value().map(|value| value.get_name().to_owned()).unwrap_or_default()
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum PlainForm {
    /// For people
    Table,
    /// One document
    Json,
    /// The same as YAML
    Yaml,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum When {
    /// At a terminal, unless NO_COLOR is set
    Auto,
    /// Also off a terminal
    Always,
    /// Not at all
    Never,
}

/// `KEY=VALUE`
fn variable(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((key, value)) if !key.is_empty() => Ok((key.to_owned(), value.to_owned())),
        _ => Err("a variable is given as KEY=VALUE".to_owned()),
    }
}

/// A time that may be none: `0s`, else as [`duration`].
fn pause(text: &str) -> Result<std::time::Duration, String> {
    match humantime::parse_duration(text) {
        Ok(time) if time.is_zero() => Ok(time),
        _ if text == "0" => Ok(std::time::Duration::ZERO),
        _ => duration(text),
    }
}

/// `5s`, `2m`, `500ms`; a bare number is seconds. From a millisecond to a day.
fn duration(text: &str) -> Result<std::time::Duration, String> {
    let duration = match text.parse::<u64>() {
        Ok(seconds) => std::time::Duration::from_secs(seconds),
        Err(_) => humantime::parse_duration(text).map_err(|error| format!("{error}; a duration is 500ms, 5s or 2m"))?,
    };
    if duration.is_zero() || duration > std::time::Duration::from_secs(86_400) {
        return Err("a duration is from 1ms to 1day".to_owned());
    }
    Ok(duration)
}
