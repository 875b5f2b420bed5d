//! The cluster as the operator describes it: nodes, roles and groups, from a YAML file.
//!
//! What lives here: the validated [`Inventory`], the reader that makes one from a file ([`load()`], [`parse`]) and Contrail's roles, sockets and services as data ([`ROLE_ORDER`], [`built_in_roles`],
//! [`roles_of_service`]). It may use `nodeset` and, of `event`, the word [`Via`](crate::event::Via). It reads files
//! and nothing else: no network, no other process, and the process environment only through [`PathEnvironment`].
//!
//! What always holds:
//! - An [`Inventory`] has been checked as a whole: every role of a node exists, every name is unique and safe in a
//!   command line and at a terminal, every group holds nodes of the inventory.
//! - What is wrong is told at once, with its place ([`InventoryError`]); of a file that is not well-formed YAML the
//!   first fault.
//! - No text leads to a panic, and there are limits on its size (4 MiB, a million values, 24 levels), on what anchors
//!   repeat, and on the nodes (100,000), so that none takes memory or time without end.
//!
//! Where to start reading: `model.rs` for what comes out; `load.rs` for the way there, which goes through `raw.rs`
//! (YAML to a tree with places), `roles.rs`, `nodes.rs` with `settings.rs` and `ssh_options.rs`, and `groups.rs`; `catalogue.rs` for the
//! built-in roles. The format is described in `docs/inventory.md`. `file.rs`, `problem.rs`, `raw.rs` and `values.rs` know
//! nothing of nodes: the rollout file is read with them, too, so that its faults look the same.

mod catalogue;
mod environment;
pub(crate) mod file;
mod groups;
mod hosts;
mod load;
mod model;
mod nodes;
pub(crate) mod problem;
pub(crate) mod raw;
mod roles;
mod settings;
mod socket;
mod ssh_options;
mod syntax;
#[cfg(test)]
mod tests;
pub(crate) mod values;

pub use self::catalogue::{
    ROLE_ALIASES, ROLE_ORDER, built_in_role, built_in_roles, canonical_role, introspect_port, packages_of,
    roles_of_service,
};
pub use self::environment::PathEnvironment;
pub(crate) use self::hosts::check_host;
pub use self::load::{load, parse, read};
pub use self::model::{
    ControlAddress, Inventory, InventorySsh, Node, OptionOrigin, Role, SshKeyword, SshOption, Supervisor,
    UnavailableCap,
};
pub use self::problem::{InventoryError, InventoryProblem};
pub(crate) use self::values::{ValueError, check_user};
