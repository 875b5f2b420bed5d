//! A rollout as data: its steps, and the error of an invalid file.

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use crate::action::ServiceVerb;
use crate::policy::Policy;
use crate::sequence::Sequence;
use ctl_inventory::InventoryProblem;
use ctl_inventory::problem::write_lines;

/// A rollout: its steps, in order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rollout {
    /// Its name, in one line.
    pub name: Option<String>,
    /// In order; at least one.
    pub steps: Vec<RolloutStep>,
}

/// One action on nodes of the inventory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RolloutStep {
    /// Its name, in one line; unique.
    pub name: String,
    /// Canonical names of the roles, without duplicates; empty means all roles of the nodes.
    pub roles: Vec<String>,
    /// A node set, as for `--nodes`.
    pub nodes: Option<String>,
    /// A node set, as for `--exclude`.
    pub exclude: Option<String>,
    /// The action.
    pub what: StepAction,
    /// Batches, limits and gates.
    pub policy: Policy,
    /// Time limit of the action on one node; none leaves it to the node and the program.
    pub timeout: Option<Duration>,
    /// Whether later steps start even if it failed (`on_failure: continue`).
    pub continue_on_failure: bool,
}

/// The action of a step.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum StepAction {
    /// A change of services.
    Service {
        /// Patterns in the syntax of [`ServicePattern`](ctl_select::ServicePattern), without duplicates; at least
        /// one.
        services: Vec<String>,
        /// How they change.
        verb: ServiceVerb,
    },
    /// Items that are done on each node of a batch, in order (`each`).
    Each(Sequence),
    /// A command.
    Exec {
        /// Text for the login shell: not empty, and without a NUL.
        command: String,
    },
}

/// A rollout that cannot be used, with every problem found in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RolloutError {
    /// The file.
    pub path: PathBuf,
    /// Its text, which the spans of `problems` point into. Empty if the file could not be read.
    pub text: String,
    /// The problems, in the order of the file. Never empty.
    pub problems: Vec<InventoryProblem>,
}

impl fmt::Display for RolloutError {
    /// One line per problem: `PATH:LINE:COLUMN: MESSAGE (HELP)`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_lines(f, &self.path, &self.problems)
    }
}

impl std::error::Error for RolloutError {}
