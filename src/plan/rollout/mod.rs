//! The rollout file: an upgrade as an ordered list of steps over roles or node sets.
//!
//! Here live [`Rollout`] and its steps, as data, and the way to them: [`load`] from a file, [`read`] from its text. It
//! uses `select` and `inventory`, whose reader of YAML it shares, so that both files are told wrong in the same words.
//! [`load`] reads that one file and nothing else is touched: no network, no process, no environment.
//!
//! What always holds:
//! - A [`Rollout`] has been checked as a whole against the inventory: every step selects a node and does one thing, its
//!   names are unique, its roles exist, its services can be services, and no `{{ … }}` is left in it.
//! - What is wrong is told at once, with its place ([`RolloutError`]); of a file that is not well-formed YAML the first
//!   fault.
//! - No text leads to a panic, and there are limits: 1 MiB, [`MAX_STEPS`] steps, and what a variable can blow a value
//!   up to.
//!
//! Where to start reading: here for what comes out; `file.rs` for the way there, which goes through `variables.rs`,
//! `settings.rs` and `step.rs`. The format is described in `docs/rollout.md`.

mod file;
mod settings;
mod step;
#[cfg(test)]
mod tests;
mod variables;

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use super::Action;
use super::policy::Policy;
pub use crate::inventory::InventoryProblem;
use crate::inventory::problem::write_lines;

pub use self::file::{MAX_STEPS, load, read};

/// What is done, step after step.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rollout {
    /// What it is called, in one line.
    pub name: Option<String>,
    /// In order; at least one.
    pub steps: Vec<RolloutStep>,
}

/// One action on nodes of the inventory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RolloutStep {
    /// Its name, in one line; no other step has it.
    pub name: String,
    /// Canonical names of the roles, each once; none means whatever roles the nodes have.
    pub roles: Vec<String>,
    /// A node set, as `--nodes` takes it.
    pub nodes: Option<String>,
    /// A node set, as `--exclude` takes it.
    pub exclude: Option<String>,
    /// The action.
    pub what: StepAction,
    /// How carefully.
    pub policy: Policy,
    /// Time for the action on one node; none leaves it to the node and the program.
    pub timeout: Option<Duration>,
    /// Whether the steps after it begin even if it failed (`on_failure: continue`).
    pub continue_on_failure: bool,
}

/// What a step does.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum StepAction {
    /// An action on services.
    Service {
        /// As [`ServicePattern`](crate::select::ServicePattern) takes them, each once; at least one.
        services: Vec<String>,
        /// One that changes a node.
        action: Action,
    },
    /// A command.
    Exec {
        /// Text for the login shell: not empty, and without a NUL.
        command: String,
    },
}

/// A rollout that cannot be used, with every fault that was found in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RolloutError {
    /// The file.
    pub path: PathBuf,
    /// Its text, into which the spans of `problems` point. Empty where the file could not be read.
    pub text: String,
    /// What is wrong, in the order of the file. Never empty.
    pub problems: Vec<InventoryProblem>,
}

impl fmt::Display for RolloutError {
    /// A line for each problem: `PATH:LINE:COLUMN: MESSAGE (HELP)`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_lines(f, &self.path, &self.problems)
    }
}

impl std::error::Error for RolloutError {}
