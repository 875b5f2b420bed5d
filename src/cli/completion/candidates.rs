//! The names that a value can be completed to: from the inventory, the journal, and Contrail's catalogue.
//!
//! Invariants: each file is read at most once, and only if the cursor is in a value that needs it.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsString;
use std::path::PathBuf;
use std::sync::OnceLock;

use clap::CommandFactory;
use clap_complete::engine::{CompletionCandidate, PathCompleter, ValueCompleter};

use super::node_set::TypedNodeSet;
use super::typed;
use crate::cli::commands::service;
use ctl_args::args::CliArgs;
use ctl_args::settings;
use ctl_inventory::{NameSuggestions, RoleNames};
use ctl_journal::{RunState, RunSummary};
use ctl_sink::text;

/// Runs that are offered.
const RUNS: u32 = 50;

/// Where the values of an argument come from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum CandidateSource {
    /// A node.
    Node,
    /// A node set: nodes, `@group`, `@role`.
    NodeSet,
    Role,
    /// A program of the nodes' roles.
    Program,
    /// Whatever a NAME may be.
    Service,
    /// The same, and the action.
    ServiceOrAction,
    /// A run.
    Run,
    /// A run that can be resumed.
    UnfinishedRun,
    /// A snapshot, or `live`.
    Snapshot,
    /// A command of `ctl`.
    CommandName,
}

impl CandidateSource {
    /// The source for an argument of a command.
    pub(super) fn of_argument(command: &str, id: &str) -> Option<Self> {
        Some(match (command, id) {
            ("man", "command") => Self::CommandName,
            ("logs", "name") => Self::Program,
            ("resume", "id") => Self::UnfinishedRun,
            ("service", "words") => Self::ServiceOrAction,
            ("diff", "after") => Self::Snapshot,
            ("show", "node") | (_, "host") => Self::Node,
            (_, "nodes" | "exclude") => Self::NodeSet,
            (_, "role") => Self::Role,
            (_, "names") => Self::Service,
            (_, "id") => Self::Run,
            ("diff", "before") => Self::Snapshot,
            _ => return None,
        })
    }
}

/// What can be named, read when it is first needed.
pub(super) struct KnownNames {
    /// Named by the words before the cursor.
    path: Option<PathBuf>,
    words: Vec<String>,
    inventory: OnceLock<Option<NameSuggestions>>,
}

impl KnownNames {
    pub(super) fn new(words: &[OsString]) -> Self {
        let path = typed::inventory(words, settings::home());
        let words = words.iter().map(|word| word.to_string_lossy().into_owned()).collect();
        Self { path, words, inventory: OnceLock::new() }
    }

    /// The candidates for a value that begins like this.
    pub(super) fn candidates(&self, source: CandidateSource, value: &str) -> Vec<CompletionCandidate> {
        let value = typed::without_open_quote(value);
        match source {
            CandidateSource::Node => self.nodes(value, ""),
            CandidateSource::NodeSet => self.node_set(value),
            CandidateSource::Role => self.roles(value, ""),
            CandidateSource::Program => self.services(value, false),
            CandidateSource::Service => self.services(value, true),
            CandidateSource::ServiceOrAction => {
                let mut all = self.actions(value);
                all.extend(self.services(value, true));
                all
            }
            CandidateSource::Run => runs(value, |_| true),
            CandidateSource::UnfinishedRun => runs(value, |run| run.state == RunState::Interrupted),
            CandidateSource::Snapshot => snapshots(value),
            CandidateSource::CommandName => self.command_names(value),
        }
    }

    fn inventory(&self) -> Option<&NameSuggestions> {
        self.inventory.get_or_init(|| settings::glance_at_inventory(self.path.as_deref())).as_ref()
    }

    fn nodes(&self, start: &str, before: &str) -> Vec<CompletionCandidate> {
        let nodes = self.inventory().map(|inventory| inventory.nodes.as_slice()).unwrap_or_default();
        let nodes = nodes.iter().filter(|(name, _)| name.starts_with(start));
        nodes.map(|(name, roles)| candidate(before, name, &text::single_line(&roles.join(", ")), "node")).collect()
    }

    fn node_set(&self, value: &str) -> Vec<CompletionCandidate> {
        let typed = TypedNodeSet::parse(value);
        let Some(member) = typed.member else {
            let nodes = self.inventory().map(|inventory| inventory.nodes.as_slice()).unwrap_or_default();
            let names = nodes.iter().map(|(name, _)| name.as_str());
            let ranges = typed.range.map(|range| range.complete(names)).unwrap_or_default();
            return ranges.iter().map(|range| candidate(typed.before, range, "", "node")).collect();
        };
        if let Some(name) = member.strip_prefix('@') {
            let before = format!("{}@", typed.before);
            let mut all = self.groups(name, &before);
            all.extend(self.roles(name, &before));
            return all;
        }
        let mut all = self.nodes(member, typed.before);
        // A member of the set would not change it.
        all.retain(|candidate| {
            let name = candidate.get_value().to_str().and_then(|whole| whole.strip_prefix(typed.before));
            !name.is_some_and(|name| typed.has(name))
        });
        if member.is_empty() {
            let before = format!("{}@", typed.before);
            all.extend(self.groups("", &before));
            all.extend(self.roles("", &before));
        }
        all
    }

    fn groups(&self, start: &str, before: &str) -> Vec<CompletionCandidate> {
        let groups = self.inventory().into_iter().flat_map(|inventory| &inventory.groups);
        let groups = groups.filter(|(name, _)| name.starts_with(start));
        groups.map(|(name, nodes)| candidate(before, name, &text::single_line(nodes), "group")).collect()
    }

    /// Roles that a node has, with the number of their nodes; without a node all of Contrail's.
    fn used_roles(&self) -> BTreeMap<&str, u64> {
        let mut used = BTreeMap::new();
        for role in self.inventory().into_iter().flat_map(|inventory| &inventory.nodes).flat_map(|(_, roles)| roles) {
            *used.entry(role.as_str()).or_default() += 1;
        }
        // A name that could not be typed is no role.
        used.retain(|name, _| self.inventory().is_some_and(|inventory| inventory.roles.contains_key(*name)));
        if used.is_empty() { ctl_inventory::ROLE_ORDER.iter().map(|role| (*role, 0)).collect() } else { used }
    }

    fn roles(&self, start: &str, before: &str) -> Vec<CompletionCandidate> {
        let roles = self.used_roles().into_iter().filter(|(name, _)| name.starts_with(start));
        roles.map(|(name, nodes)| candidate(before, name, &count(nodes, "node"), "role")).collect()
    }

    fn services(&self, start: &str, with_patterns: bool) -> Vec<CompletionCandidate> {
        let mut names: BTreeMap<String, BTreeSet<&str>> = BTreeMap::new();
        for role in self.used_roles().into_keys() {
            let built_in = RoleNames::built_in(role);
            let known = self.inventory().and_then(|inventory| inventory.roles.get(role)).unwrap_or(&built_in);
            let others = known.others.iter().filter(|_| with_patterns);
            for service in known.programs.iter().chain(others).filter(|service| service.starts_with(start)) {
                names.entry(service.clone()).or_default().insert(role);
            }
        }
        let listed = |roles: &BTreeSet<&str>| roles.iter().copied().collect::<Vec<_>>().join(", ");
        let mut all: Vec<_> =
            names.iter().map(|(name, roles)| candidate("", name, &listed(roles), "service")).collect();
        if with_patterns && "all".starts_with(start) {
            all.push(candidate("", "all", "every service", "service"));
        }
        all
    }

    /// The actions, unless one is typed already.
    fn actions(&self, start: &str) -> Vec<CompletionCandidate> {
        let typed = self.words.split_last().map(|(_, words)| words).unwrap_or_default();
        let names = service::action_names();
        if typed.iter().any(|word| names.contains(&word.as_str())) {
            return Vec::new();
        }
        let fitting = names.into_iter().filter(|name| name.starts_with(start));
        fitting.map(|name| candidate("", name, "action", "action")).collect()
    }

    /// The commands below those that are typed after `man`.
    fn command_names(&self, start: &str) -> Vec<CompletionCandidate> {
        let mut command = CliArgs::command();
        let typed = self.words.split_last().map(|(_, words)| words).unwrap_or_default();
        for word in typed.iter().skip_while(|word| *word != "man").skip(1) {
            match command.find_subcommand(word) {
                Some(sub) => command = sub.clone(),
                None => return Vec::new(),
            }
        }
        let subs = command.get_subcommands().filter(|sub| !sub.is_hide_set() && sub.get_name().starts_with(start));
        let about = |sub: &clap::Command| sub.get_about().map(ToString::to_string).unwrap_or_default();
        subs.map(|sub| candidate("", sub.get_name(), &about(sub), "command")).collect()
    }
}

fn runs(start: &str, is_wanted: impl Fn(&RunSummary) -> bool) -> Vec<CompletionCandidate> {
    let runs = settings::glance_at_runs(RUNS);
    let wanted: Vec<_> = runs.iter().filter(|run| is_wanted(run)).collect();
    let mut all: Vec<_> = (wanted.iter())
        .filter(|run| run.run.starts_with(start))
        .map(|run| {
            // Of a command without services, the action is its name.
            let action = run.action.as_deref().filter(|action| *action != run.command);
            let what = run.services.iter().map(String::as_str).chain(action);
            let what = what.fold(run.command.clone(), |all, word| format!("{all} {word}"));
            candidate("", &run.run, &text::single_line(&format!("{what} ({})", run.state.as_str())), "run")
        })
        .collect();
    if !wanted.is_empty() && "last".starts_with(start) {
        all.insert(0, candidate("", "last", "the newest run", "run"));
    }
    all
}

/// Files, and the live cluster.
fn snapshots(start: &str) -> Vec<CompletionCandidate> {
    let live = "live".starts_with(start).then(|| candidate("", "live", "the cluster as it is now", "snapshot"));
    live.into_iter().chain(PathCompleter::file().complete(start.as_ref())).collect()
}

/// A candidate; `before` is what the value already holds before it. One tag a kind, which the engine would else format
/// anew for each of thousands.
fn candidate(before: &str, name: &str, help: &str, tag: &'static str) -> CompletionCandidate {
    let help = (!help.is_empty()).then(|| help.to_owned().into());
    CompletionCandidate::new(format!("{before}{name}")).help(help).tag(Some(tag.into()))
}

fn count(number: u64, noun: &str) -> String {
    match number {
        0 => String::new(),
        1 => format!("1 {noun}"),
        _ => format!("{number} {noun}s"),
    }
}
