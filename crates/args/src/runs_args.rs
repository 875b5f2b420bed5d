//! The words of `ctl runs`.

use clap::{Args as ClapArgs, Subcommand};

use crate::change_args::DryRun;
use crate::format::{self, Content};
use crate::output_args::OutputArgs;
use ctl_plan::amount::FailureLimit;

/// ctl runs
#[derive(Debug, ClapArgs)]
#[command(mut_arg("output", |arg| arg.value_parser(format::parser(Content::Runs))))]
pub struct RunsArgs {
    /// What to do with the runs; none is to list them.
    #[command(subcommand)]
    pub command: Option<RunsCommand>,
    /// The form of the list.
    #[command(flatten)]
    pub output: OutputArgs,
}

/// What can be done with recorded runs.
#[derive(Debug, Subcommand)]
pub enum RunsCommand {
    /// List the newest runs
    #[command(mut_arg("output", |arg| arg.value_parser(format::parser(Content::Runs))))]
    List {
        /// Show at most N runs
        #[arg(short = 'n', long, value_name = "N", default_value_t = 20)]
        limit: u32,
        /// Form and place of the output.
        #[command(flatten)]
        output: OutputArgs,
    },
    /// Show the results of a run
    Show {
        /// The run.
        #[command(flatten)]
        id: RunIdArg,
        /// Form and place of the output.
        #[command(flatten)]
        output: OutputArgs,
    },
    /// Resume a run where it stopped: first check again what failed or was in progress
    ///
    /// Nodes that failed, and nodes whose gate was not waited for, are checked before any other node is changed; nothing is
    /// done on them. If they are still not as they should be and the failure limit is exceeded, the run stops again.
    /// Fix them and resume, or use `ctl runs retry` to repeat the action there.
    Resume {
        /// The run.
        #[command(flatten)]
        id: RunIdArg,
        /// How many nodes may fail in all before no further node is started [default: the limit of the run]
        #[arg(long, value_name = "N|P%", allow_hyphen_values = true)]
        max_failures: Option<FailureLimit>,
        /// The dry run.
        #[command(flatten)]
        dry: DryRunArg,
        /// Form and place of the output.
        #[command(flatten)]
        output: OutputArgs,
    },
    /// Retry everything that did not succeed, as a new run
    ///
    /// The new run has the options and the inventory of the original one.
    Retry {
        /// The run.
        #[command(flatten)]
        id: RunIdArg,
        /// The dry run.
        #[command(flatten)]
        dry: DryRunArg,
        /// Form and place of the output.
        #[command(flatten)]
        output: OutputArgs,
    },
    /// Start the services that a run stopped, and undo the items that its sequences kept, as a new run
    ///
    /// Started again: services that a `stop` of the run stopped, and services that a restart or an update left down.
    /// Undone: items of a sequence (`each:` in a rollout) that have an `undo` and were kept, could not be undone, or
    /// are still open; services are started first.
    ///
    /// Nothing else is undone: services that were started or restarted stay as they are, and so does what commands
    /// (`ctl exec`), copied files (`ctl cp`) and updates of the configuration have changed.
    Undo {
        /// The run.
        #[command(flatten)]
        id: RunIdArg,
        /// The dry run.
        #[command(flatten)]
        dry: DryRunArg,
        /// Form and place of the output.
        #[command(flatten)]
        output: OutputArgs,
    },
}

/// A run that is in the journal.
#[derive(Debug, Clone, ClapArgs)]
pub struct RunIdArg {
    /// Run ID, any unique part of it, or `last`: the newest run in `ctl runs list`
    #[arg(value_name = "ID")]
    pub id: String,
}

/// Whether only the plan is shown.
#[derive(Debug, Clone, Copy, ClapArgs)]
pub struct DryRunArg {
    /// Show the plan and change nothing; `live` also reads the nodes
    #[arg(long, value_name = "live", num_args = 0..=1, require_equals = true, default_missing_value = "plan")]
    pub dry_run: Option<DryRun>,
}

impl RunsCommand {
    /// Form and place of the output.
    pub fn output(&self) -> &OutputArgs {
        match self {
            Self::List { output, .. }
            | Self::Show { output, .. }
            | Self::Resume { output, .. }
            | Self::Retry { output, .. }
            | Self::Undo { output, .. } => output,
        }
    }
}
