//! One node of a run: its connection, its lock, its supervisords, and the worker that hands out the work.
//!
//! It uses `transport`, `supervisor` and `guard`. Invariants: one connection to a node at a time; its state is
//! read, never guessed. Start reading at `worker.rs`; `context.rs` is what actions and gates get.

pub(super) mod access;
pub(super) mod connection;
pub(super) mod context;
pub(super) mod deep_status;
pub(super) mod discovery;
pub(super) mod evidence;
pub(super) mod lock;
pub(super) mod oneshot;
pub(super) mod passwords;
pub(super) mod signals;
pub(super) mod turn;
pub(super) mod worker;
