//! From typed words to a plan: what a command line, a rollout file or an earlier run asks for.

use std::path::PathBuf;

use ctl_args::settings::{self, SavedInputs, Settings};
use ctl_console::error::CliError;
use ctl_inventory::Inventory;
use ctl_journal::{RunOrigin, SavedFile};
use ctl_plan::policy::Policy;
use ctl_plan::{Plan, TaskSpec, Work, plan};
use ctl_select::{NodeQuery, ServicePattern, select};

/// The service names of a command line. A comma separates names as a space does, except in the brackets of a glob.
pub(super) fn service_names(words: &[String]) -> Vec<String> {
    let names = words.iter().flat_map(|word| {
        let mut is_bracketed = false;
        word.split(move |symbol| {
            is_bracketed = symbol == '[' || (is_bracketed && symbol != ']');
            symbol == ',' && !is_bracketed
        })
    });
    names.map(str::to_owned).collect()
}

/// A plan, and its description.
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
    /// As a table, only problems.
    pub(super) first_screen: bool,
    /// A file that gets the JSON document too.
    pub(super) save: Option<PathBuf>,
}

/// What a command asks for.
pub(super) struct JobRequest<'a, W> {
    pub(super) command: &'a str,
    pub(super) services: &'a [String],
    /// The work on the services, once their names are resolved.
    pub(super) work: W,
    /// The policy options; none for what changes nothing.
    pub(super) change: Option<&'a Policy>,
    pub(super) settings: &'a Settings,
}

impl<'a, W: FnOnce(Vec<ServicePattern>) -> Work> JobRequest<'a, W> {
    /// A request without policy options.
    pub(super) const fn new(command: &'a str, services: &'a [String], settings: &'a Settings, work: W) -> Self {
        Self { command, services, work, change: None, settings }
    }

    /// The job that the request stands for.
    pub(super) fn job(self, sources: &SavedInputs) -> Result<CliJob, CliError> {
        let (inventory, document) = settings::inventory(self.settings.inventory.as_deref(), sources)?;
        self.job_in(&inventory, document)
    }

    /// The same, in an inventory that has been read.
    pub(super) fn job_in(self, inventory: &Inventory, document: SavedFile) -> Result<CliJob, CliError> {
        let settings = self.settings;
        let query = NodeQuery {
            roles: &settings.roles,
            nodes: &settings.nodes,
            exclude: &settings.exclude,
            services: self.services,
        };
        let selection = select(inventory, &query)?;
        let is_whole = selection.whole_inventory;
        let mut wanted = TaskSpec::new(selection, self.work);
        let action = wanted.task.work.action().as_str();
        let what = match (&wanted.task.work, self.services) {
            (Work::Exec { command, .. }, _) => format!("runs `{command}`"),
            (Work::Copy(copy), _) => format!("copies {}", copy.description()),
            (_, [all]) if all == "all" => format!("{action}s every service"),
            (_, services) => format!("{action}s {}", services.join(", ")),
        };
        let changes = wanted.task.work.changes_nodes();
        let is_ping = matches!(wanted.task.work, Work::Ping);
        wanted.task.policy = self.change.cloned().unwrap_or_default();
        let mut wanted = [wanted];
        settings::gate_snapshots(&mut wanted)?;
        Ok(CliJob {
            command: self.command.to_owned(),
            action: (!is_ping).then(|| action.to_owned()),
            services: self.services.to_vec(),
            plan: plan(wanted.into(), inventory, settings.via),
            // Only a run on the whole inventory is confirmed: anything smaller was selected on purpose.
            confirm: (is_whole && changes).then_some(what),
            inventory: document,
            rollout: None,
            origin: None,
            reads_stdin: false,
            shown: StatusDisplay::default(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::service_names;

    #[test]
    fn commas_separate_names() {
        let names = |words: &[&str]| service_names(&words.iter().map(|word| (*word).to_owned()).collect::<Vec<_>>());
        assert_eq!(names(&["a,b", "c"]), ["a", "b", "c"]);
        assert_eq!(names(&["contrail-[ab,c]*,d"]), ["contrail-[ab,c]*", "d"]);
        // Nothing is left out in silence: an empty name is an error where it is used.
        assert_eq!(names(&["a,", ""]), ["a", "", ""]);
    }
}
