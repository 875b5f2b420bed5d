//! Start, stop, restart and inspect the services of a Contrail cluster, on every node at once.
//!
//! The modules, in the order in which data flows through them:
//!
//! - [`local`]: bounded reads of local files, and the account and process of the user.
//! - [`nodeset`]: folded sets of node names; pure.
//! - [`inventory`]: parses the YAML of a cluster into validated nodes, roles and groups.
//! - [`select`]: resolves the user's arguments to nodes, roles and services.
//! - [`plan`]: the tasks of a run and their order, as data.
//! - [`transport`]: one authenticated SSH session with a node.
//! - [`remote`]: runs commands on a node, with or without sudo.
//! - [`supervisor`]: one supervisord over a session.
//! - [`guard`]: protects a node while a run owns it: its lock, and a dead-man's switch.
//! - [`journal`]: the record of every change to a node; on disk before it is shown.
//! - [`run`]: executes a plan and emits events.
//! - [`event`]: the events as data, and the ledger that folds them into the current state.
//! - [`overview`]: the problems of a cluster, worst first; pure.
//! - [`snapshot`]: a saved status, and the changes since.
//! - [`sink`]: renders events as tables, JSON, progress.
//! - [`top`]: the live view: a model, its frames, the terminal.
//! - [`cli`]: arguments, terminals and exit codes; the only module that knows them.
//!
//! `tests/layers.rs` checks the dependencies between modules; `docs/architecture.md` has the diagram.

pub mod cli;
pub mod event;
pub mod guard;
pub mod inventory;
pub mod journal;
pub mod local;
pub mod nodeset;
pub mod overview;
pub mod plan;
pub mod remote;
pub mod run;
pub mod select;
pub mod sink;
pub mod snapshot;
pub mod supervisor;
pub mod top;
pub mod transport;
