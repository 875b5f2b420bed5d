//! Start, stop, restart and inspect the services of a Contrail cluster, on every node at once.
//!
//! The modules, in the order in which data goes through them:
//!
//! - [`local`]: files of this machine, read within bounds, and the account and process of the user.
//! - [`inventory`]: the YAML of a cluster becomes validated nodes, roles and groups.
//! - [`select`]: words of the command line become nodes, roles and services.
//! - [`plan`]: the actions to be done and their order, as data.
//! - [`transport`]: one authenticated SSH session with a node.
//! - [`remote`]: runs commands on a node, with or without sudo.
//! - [`guard`]: a run's hold on a node: its lock, and a dead-man's switch.
//! - [`supervisor`]: one supervisord over a session, through one of several backends.
//! - [`journal`]: the record of everything that changed a node; on disk before it is reported.
//! - [`run`]: the plan is carried out; events come out.
//! - [`event`]: everything that can happen, as data, and the ledger that folds it into "now".
//! - [`overview`]: the problems of a cluster, worst first; pure.
//! - [`snapshot`]: a saved status, and how the cluster differs from it.
//! - [`sink`]: events become tables, JSON, progress.
//! - [`top`]: the live view: a model, its frames, the terminal.
//! - [`cli`]: arguments, terminals and exit codes; the only module that knows them.
//!
//! Below them stand the crates in `crates/`, which use nothing of this one: [`nodeset`], sets of node names,
//! written short, and [`openssh_config`], the settings of a host in ssh_config.
//!
//! The dependencies between modules are checked by `tests/layers.rs`; the picture is in `docs/architecture.md`.

pub mod cli;
pub mod event;
pub mod guard;
pub mod inventory;
pub mod journal;
pub mod local;
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
