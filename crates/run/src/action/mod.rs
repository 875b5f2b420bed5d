//! The actions on a node: one file for each action, and the parts that they share (jobs, obligations, recovery).
//!
//! They use the context of a node and the gates of its services, never the worker. Invariants: an action that may
//! have started is never sent twice; a service that was stopped is started, by this run or by the guard on the node.
//! Start reading at `change.rs` for actions that change services, at `status.rs` for those that read.

pub(super) mod batch;
pub(super) mod change;
pub(super) mod copy;
pub(super) mod exec;
pub(super) mod init_service;
pub(super) mod job;
pub(super) mod logs;
pub(super) mod obligations;
pub(super) mod process;
pub(super) mod process_target;
pub(super) mod recovery;
pub(super) mod rehearsal;
pub(super) mod start_proof;
pub(super) mod status;
pub(super) mod update;
pub(super) mod wait;
