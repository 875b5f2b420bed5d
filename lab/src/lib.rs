//! A simulated Contrail cluster on loopback: real SSH protocol, simulated supervisords, injectable faults.
//!
//! Start at [`Lab`] and [`ClusterSpec`]. A lab runs in the caller's process, on the caller's tokio runtime:
//!
//! ```no_run
//! # async fn example() -> Result<(), contrail_lab::LabError> {
//! use contrail_lab::{ClusterSpec, Fault, Lab};
//!
//! let lab = Lab::start(ClusterSpec::demo(12).fault("a6s02", Fault::Refused)).await?;
//! // … run a client with lab.inventory_path() and lab.known_hosts_path() …
//! let collector = lab.node("a6s01")?.process("supervisor-analytics", "contrail-collector");
//! assert!(collector.is_some_and(|p| p.starts == 2));
//! # Ok(())
//! # }
//! ```
//!
//! The modules, each using only those before it: `util`, `fault`, [`spec`](ClusterSpec), `catalogue` (the contents of a
//! release) · `process`, `supervisord`, `actions` (state over time) · `rpcfault`, `xml`, `rpc`, `http` (the XML-RPC
//! interface of supervisord) · `supervisorctl`, `init`, `shell`, `commands` (exec requests), `streams` · `guard`,
//! `rescue`, `bounded` (commands on held channels) · `introspect` · `conn`, `sshd`, `net`, `files`, `node`, `lab`.
//!
//! Invariants: only addresses in 127/8 are bound; no command of the real machine is run and none of its files is read;
//! everything ends when [`Lab`] is dropped. The lab must be no more forgiving than the real programs: if it is, that is
//! a bug of the lab.

mod actions;
mod bounded;
mod catalogue;
mod commands;
mod conn;
mod copies;
mod fault;
mod files;
mod guard;
mod http;
mod init;
mod introspect;
mod lab;
mod logs;
mod net;
mod node;
mod node_scan;
mod process;
mod questions;
mod rescue;
mod rpc;
mod rpcfault;
mod shared;
mod shell;
mod spec;
mod sshd;
mod streams;
mod supervisorctl;
mod supervisord;
mod util;
mod xml;

pub use bounded::CommandsSnapshot;
pub use fault::{Fault, Moment, Request, SpawnKind};
pub use guard::GuardSnapshot;
pub use introspect::Introspect;
pub use lab::{Lab, LabError};
pub use node::{Node, ProcessSnapshot, ServiceSnapshot};
pub use process::State;
pub use shared::{Counters, RpcCall};
pub use spec::{ClusterSpec, InitFlavour, NodeSpec, Release, Role, SupervisorVersion, Timing, UserPolicy};
