//! The way from the settings of a command to its nodes.
//!
//! [`endpoints`] finds how each node is reached, [`prompts`] asks for what only the operator knows, [`session`] opens what a
//! run needs, [`rounds`] and [`log_ends`] read nodes again and again, [`host_looks`] looks at hosts that no inventory has
//! yet, and [`unmatched`] finds globs that match nothing. Uses `run` and `transport`; shows no results. Invariants: nothing
//! is connected to before everything that can be refused is refused.

pub mod endpoints;
pub mod host_looks;
pub mod host_sources;
pub mod limits;
pub mod log_ends;
pub mod prompts;
pub mod read_only;
pub mod rounds;
pub mod session;
pub mod unmatched;
