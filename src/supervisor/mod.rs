//! One supervisord over a [`Session`](crate::transport::Session): what it lists, start, stop, update.
//!
//! Here live [`SupervisorClient`], with one way each in `rpc.rs` (over a forwarded socket, or over the
//! relay of `relay.rs` to one that the user may not open), `supervisorctl.rs` (executed on
//! the node) and `init.rs` (the init wrapper), and [`reach`](via::reach), which finds the way that works. Beside them
//! [`introspect`] asks the services themselves, which supervisord knows nothing of, and [`log`] reads what they wrote. The room uses `transport`, `remote`,
//! `inventory::model` for the addresses, and the leaf `event`. What always holds: states decide, exit codes and
//! reply texts only explain; everything read is bounded in size and time. Start at [`via::reach`].

pub mod command;
pub mod follow;
pub mod introspect;
pub mod line_buffer;
pub mod log;
pub mod node_scan;
pub mod parse;
mod process;
mod relay;
pub mod rpc;
pub mod tail_follower;
pub mod via;
pub mod xmlrpc;

pub use self::introspect::FunctionalState;
pub use self::process::{ProcessInfo, RpcFault, SupervisorError, UpdateSummary};
pub use self::via::{ReachedSupervisor, SupervisorClient};
