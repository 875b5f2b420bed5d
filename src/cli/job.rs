//! From typed words to a plan: what a command line, a rollout file or an earlier run asks for.

use std::path::PathBuf;

use super::error::CliError;
use super::settings::{self, SavedInputs, Settings};
use crate::inventory::Inventory;
use crate::journal::{RunOrigin, SavedFile};
use crate::plan::policy::Policy;
use crate::plan::{Action, LogTail, Plan, TaskSpec, WaitGoal, plan};
use crate::select::{NodeQuery, select};

/// A plan, and what is told of it.
pub(super) struct CliJob {
    pub(super) command: String,
    pub(super) action: Option<String>,
    pub(super) services: Vec<String>,
    pub(super) plan: Plan,
    /// What the run does, such as `restarts contrail-api`: asked about before every node of the inventory is changed.
    pub(super) confirm: Option<String>,
    pub(super) inventory: SavedFile,
    pub(super) rollout: Option<SavedFile>,
    pub(super) origin: Option<RunOrigin>,
    /// Whether standard input is its command's.
    pub(super) reads_stdin: bool,
    /// How its results are shown besides.
    pub(super) shown: StatusDisplay,
}

/// How the results of a status are shown.
#[derive(Debug, Default)]
pub(super) struct StatusDisplay {
    /// As a table, only what is not well.
    pub(super) first_screen: bool,
    /// A file that gets the JSON document too.
    pub(super) save: Option<PathBuf>,
}

/// What a command asks for.
pub(super) struct JobRequest<'a> {
    pub(super) command: &'a str,
    pub(super) action: Action,
    pub(super) services: &'a [String],
    /// The command of `exec`.
    pub(super) line: Option<String>,
    /// What `wait` waits for.
    pub(super) until: Option<WaitGoal>,
    /// What `logs` shows.
    pub(super) tail: Option<LogTail>,
    /// Whether services are asked how their work goes, and nodes for what else is wrong there.
    pub(super) in_depth: bool,
    /// How carefully; none for what changes nothing.
    pub(super) change: Option<&'a Policy>,
    pub(super) settings: &'a Settings,
}

impl<'a> JobRequest<'a> {
    /// A request that changes nothing.
    pub(super) fn new(command: &'a str, action: Action, services: &'a [String], settings: &'a Settings) -> Self {
        Self { command, action, services, line: None, until: None, tail: None, in_depth: false, change: None, settings }
    }

    /// What it means.
    pub(super) fn job(self, sources: &SavedInputs) -> Result<CliJob, CliError> {
        let (inventory, document) = settings::inventory(self.settings.inventory.as_deref(), sources)?;
        self.job_in(&inventory, document)
    }

    /// What it means in an inventory that has been read.
    pub(super) fn job_in(self, inventory: &Inventory, document: SavedFile) -> Result<CliJob, CliError> {
        let Self { action, settings, .. } = self;
        let query = NodeQuery {
            roles: &settings.roles,
            nodes: settings.nodes.as_deref(),
            exclude: settings.exclude.as_deref(),
            services: self.services,
        };
        let selection = select(inventory, &query)?;
        let what = match (&self.line, self.services) {
            (Some(line), _) => format!("runs `{line}`"),
            (None, [all]) if all == "all" => format!("{}s every service", action.as_str()),
            (None, services) => format!("{}s {}", action.as_str(), services.join(", ")),
        };
        let confirm = selection.whole_inventory.then_some(what);
        let mut wanted = TaskSpec::new(action, selection);
        wanted.task.command = self.line;
        wanted.task.until = self.until;
        wanted.task.tail = self.tail;
        wanted.task.in_depth = self.in_depth;
        wanted.task.policy = self.change.cloned().unwrap_or_default();
        let mut wanted = [wanted];
        settings::gate_snapshots(&mut wanted)?;
        Ok(CliJob {
            command: self.command.to_owned(),
            action: (action != Action::Ping).then(|| action.as_str().to_owned()),
            services: self.services.to_vec(),
            plan: plan(wanted.into(), inventory, settings.via),
            confirm,
            inventory: document,
            rollout: None,
            origin: None,
            reads_stdin: false,
            shown: StatusDisplay::default(),
        })
    }
}
