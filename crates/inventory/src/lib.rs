//! The user's description of the cluster: nodes, roles and groups, from a YAML file.
//!
//! Here live the validated [`Inventory`], its reader ([`load()`], [`parse`]), and Contrail's roles, sockets and
//! services as data ([`ROLE_ORDER`], [`built_in_roles`], [`roles_of_service`]). It may use `nodeset`, `import` for other tools' data, and, from `event`,
//! the enum [`Via`](ctl_event::Via). It reads files and accesses nothing else: no network, no other process, and the
//! process environment only through [`PathEnvironment`].
//!
//! Invariants:
//! - An [`Inventory`] is validated as a whole: every role of a node exists, every name is unique and safe in a command
//!   line and at a terminal, every group has only nodes of the inventory.
//! - All faults are reported together, with their places ([`InventoryError`]); for a file that is not well-formed YAML,
//!   only the first one.
//! - No text causes a panic, and there are limits on its size (4 MiB, a million values, 24 levels), on repetition by
//!   anchors, and on the nodes (100,000), so that memory and time are bounded.
//!
//! [`draft`] writes new inventories.
//!
//! Start reading in `model.rs` for the types, and in `load.rs` for the reader, which uses `raw.rs` (YAML to a tree with
//! places), `roles.rs`, `nodes.rs` with `settings.rs` and `ssh_options.rs`, and `groups.rs`; `catalogue.rs` has the
//! built-in roles. `docs/inventory.md` describes the format. `file.rs`, `problem.rs`, `raw.rs` and `values.rs` do not
//! depend on nodes: the rollout file shares them, so that its faults look the same.

mod catalogue;
pub mod draft;
mod environment;
pub mod file;
mod groups;
mod hosts;
mod imported;
mod load;
mod model;
mod names;
mod nodes;
pub mod problem;
pub mod raw;
mod role_names;
mod roles;
mod settings;
mod socket;
mod source;
mod ssh_options;
mod syntax;
#[cfg(test)]
mod tests;
pub mod values;
mod yaml;

pub use self::catalogue::{ROLE_ORDER, built_in_role, built_in_roles, introspect_port, packages_of, roles_of_service};
pub use self::environment::PathEnvironment;
pub use self::hosts::check_host;
pub use self::imported::draft_of;
pub use self::load::{MAX_BYTES, load, parse, parse_with, read};
pub use self::model::{
    ControlAddress, Inventory, InventorySsh, Node, OptionOrigin, Role, SshKeyword, SshOption, Supervisor,
    UnavailableCap,
};
pub use self::names::{NameSuggestions, RoleNames, names};
pub use self::problem::{InventoryError, InventoryProblem};
pub use self::role_names::{ROLE_ALIASES, canonical_role};
pub use self::source::{SourceCommand, SourceFailure, SourceRunner};
pub use self::values::{ValueError, check_user};
