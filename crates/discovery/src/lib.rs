//! From hosts to an inventory: finds the supervisords that hosts run, and the roles that describe them.
//!
//! Here live [`parse_hosts`] and [`name_hosts`], which read the hosts that users name; [`look`], the only part with I/O, which
//! connects to one host and asks its supervisords; and [`describe`], which makes an [`InventoryDraft`] of all answers. The
//! crate uses `transport`, `remote` and `supervisor` to look, and `inventory` for the catalogue and the draft. Invariants:
//! nothing on a host is changed; no password leaves [`look`]; whatever could not be read is in [`Description::problems`]
//! and in the draft as a comment. Start reading at [`describe`], which uses `recognition.rs` for Contrail's roles and
//! `own_roles.rs` for all others.
//!
//! [`InventoryDraft`]: ctl_inventory::draft::InventoryDraft

mod description;
#[cfg(test)]
mod fixtures;
mod host_list;
mod look;
mod observation;
mod own_roles;
mod recognition;

pub use self::description::{Description, HostProblem, describe};
pub use self::host_list::{HostListError, HostSpec, NamedHost, name_hosts, parse_hosts};
pub use self::look::{HostAccess, look};
pub use self::observation::{HostOutcome, LookFailure, ObservedHost, ObservedInstance, UnreadCause, UnreadInstance};
