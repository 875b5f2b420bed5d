//! Start, stop, restart and inspect the services of a Contrail cluster, on every node at once.
//!
//! The rooms, in the order in which data goes through them:
//!
//! - [`local`]: files of this machine, read within bounds, and the account and process of the user.
//! - [`nodeset`]: sets of node names, written short; pure.
//! - [`inventory`]: the YAML of a cluster becomes validated nodes, roles and groups.
//! - [`select`]: what was typed becomes the nodes, roles and services that are meant.
//! - [`plan`]: what will be done, in which order, as data.
//! - [`transport`]: one authenticated SSH session with a node.
//! - [`remote`]: how something is run on a node, through sudo where asked.
//! - [`supervisor`]: one supervisord over a session.
//! - [`guard`]: what holds a node while a run owns it: its lock, and a dead-man's switch.
//! - [`journal`]: the record of everything that changed a node; on disk before it is told.
//! - [`run`]: the plan is carried out; events come out.
//! - [`event`]: what can happen, as data, and the ledger that folds it into "now".
//! - [`overview`]: what is wrong in a cluster, worst first; pure.
//! - [`snapshot`]: a status that was kept, and what has become of the cluster since.
//! - [`sink`]: events become tables, JSON, progress.
//! - [`top`]: the live view: a model, its frames, the terminal.
//! - [`cli`]: arguments, terminals and exit codes; the only room that knows them.
//!
//! Who may use whom is checked by `tests/layers.rs`; the picture is in `docs/architecture.md`.

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
