//! The rollout file: an upgrade as an ordered list of steps over roles or node sets.
//!
//! Here live [`Rollout`] and its steps, as data, and the way to them: [`load`] from a file, [`read`] from its text. It
//! uses `select` and `inventory`, whose YAML reader it shares, so that errors in both files read alike.
//! [`load`] reads that one file and nothing else is touched: no network, no process, no environment.
//!
//! Invariants:
//! - A [`Rollout`] is validated as a whole against the inventory: every step selects a node and does one thing, its
//!   names are unique, its roles exist, its services can be services, and no `{{ … }}` is left in it.
//! - All errors are reported at once, with their places ([`RolloutError`]); for a file that is not well-formed YAML, only the
//!   first one.
//! - No text leads to a panic, and there are limits: 1 MiB, [`MAX_STEPS`] steps, and what a variable can blow a value
//!   up to.
//!
//! Start reading in `model.rs` for the types, and in `file.rs` for the reader, which uses `variables.rs`, `settings.rs`,
//! `step.rs`, `item.rs` and `action.rs`. `docs/rollout.md` describes the format.

mod action;
mod file;
mod item;
mod model;
mod reader;
mod settings;
mod step;
#[cfg(test)]
mod tests;
mod variables;

pub use ctl_inventory::InventoryProblem;

pub use self::file::{MAX_STEPS, load, read};
pub use self::model::{Rollout, RolloutError, RolloutStep, StepAction};
