//! One supervisord over a [`Session`](ctl_transport::Session): listing, start, stop, update, logs.
//!
//! [`backend`] has the ways to control it, one file each, and [`backend::search::reach`], which finds the one that works.
//! [`parse`] reads the text that commands print, [`logs`] follows what services write. Shared by them: [`shell`], commands on
//! the node; `rpc_caller` and `relay`, calls over a forwarded socket or through sudo; [`process`] and [`error`], the values;
//! [`rescue`], the words for the node's guard. Beside supervisord, [`introspect`] queries the services themselves,
//! [`init_service`] controls what init runs, [`node_scan`] searches a node, and [`instance_search`] finds supervisords that no
//! inventory describes. The module uses `transport`, `remote`, `guard` for the type of a rescue, `xmlrpc` for the bytes of a
//! call, `inventory` for the description of an instance, and the leaf `event`. Invariants: states decide, exit codes and
//! reply texts only explain; everything read is bounded in size and time. Start at [`backend`].

pub mod backend;
mod command_answer;
pub mod error;
pub mod init_service;
pub mod instance_search;
pub mod introspect;
pub mod logs;
pub mod node_scan;
pub mod parse;
pub mod process;
mod relay;
pub mod rescue;
mod rpc_caller;
pub mod shell;

pub use self::backend::SupervisorClient;
pub use self::error::{RpcFault, SupervisorError};
pub use self::introspect::FunctionalState;
pub use self::process::{ProcessInfo, UpdateSummary};
