//! Start, stop, restart and inspect the services of a Contrail cluster, on every node at once.
//!
//! The layers, in the order in which data goes through them. Each is a crate in `crates/`, shown here under its own
//! name:
//!
//! - [`local`]: files of this machine, read within bounds, and the account and process of the user.
//! - [`inventory`]: the YAML of a cluster becomes validated nodes, roles and groups.
//! - [`select`]: words of the command line become nodes, roles and services.
//! - [`plan`]: the actions to be done and their order, as data.
//! - [`transport`]: one authenticated SSH session with a node.
//! - [`connections`]: keeps such sessions between commands, in a process of the user's own.
//! - [`remote`]: runs commands on a node, with or without sudo.
//! - [`guard`]: a run's hold on a node: its lock, and a dead-man's switch.
//! - [`supervisor`]: one supervisord over a session, through one of several backends.
//! - [`discovery`]: the supervisords of hosts become a new inventory.
//! - [`journal`]: the record of everything that changed a node; on disk before it is reported.
//! - [`run`]: the plan is carried out; events come out.
//! - [`event`]: everything that can happen, as data, and the ledger that folds it into "now".
//! - [`overview`]: the problems of a cluster, worst first; pure.
//! - [`snapshot`]: a saved status, and how the cluster differs from it.
//! - [`sink`]: events become tables, JSON, progress.
//! - [`top`]: the live view: a model, its frames, the terminal.
//! - [`console`]: the terminal of the user: messages, errors, secrets, signals and exit codes.
//! - [`args`]: the words of the command line, and what they mean.
//! - [`session`]: the way from settings to the nodes, and what a run needs.
//!
//! The commands are not here: they are the binary's, in `src/cli`. Below all of them stand two crates that know nothing of clusters: [`nodeset`], sets of node names written short, and
//! [`openssh_config`], the settings of a host in ssh_config.
//!
//! A layer uses only those that its manifest names; `docs/architecture.md` has the picture.

pub use ctl_args as args;
pub use ctl_connections as connections;
pub use ctl_console as console;
pub use ctl_discovery as discovery;
pub use ctl_event as event;
pub use ctl_guard as guard;
pub use ctl_inventory as inventory;
pub use ctl_journal as journal;
pub use ctl_local as local;
pub use ctl_overview as overview;
pub use ctl_plan as plan;
pub use ctl_remote as remote;
pub use ctl_run as run;
pub use ctl_select as select;
pub use ctl_session as session;
pub use ctl_sink as sink;
pub use ctl_snapshot as snapshot;
pub use ctl_supervisor as supervisor;
pub use ctl_top as top;
pub use ctl_transport as transport;
