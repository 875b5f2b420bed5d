//! One file for each command: from typed words to calls of the other modules.

pub(super) mod completions;
pub(super) mod connections;
pub(super) mod cp;
pub(super) mod exec;
pub(super) mod init;
pub(super) mod inventory;
pub(super) mod inventory_import;
pub(super) mod logs;
pub(super) mod man;
pub(super) mod nodeset;
pub(super) mod ping;
pub(super) mod rollout;
pub(super) mod runs;
pub(super) mod service;
pub(super) mod snapshot;
pub(super) mod ssh_config;
pub(super) mod status;
pub(super) mod top;
pub(super) mod wait;
