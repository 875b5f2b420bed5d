//! The record of every change to a node: the runs, the request of each, and all of its events.
//!
//! Here live [`Journal`], one connection to the SQLite file, and its input and output ([`RunRequest`], [`RunSummary`],
//! [`RunRecord`]). The module may use the leaf `event`, and `resume.rs`, which is pure, may use `plan`. Its only I/O is
//! on its own file and on `/proc`; the caller chooses the path of the file.
//!
//! Invariants:
//! - Once [`Journal::begin`], [`Journal::append`] or [`Journal::end`] returns `Ok`, the data survives a power loss.
//! - Each (run, number) has one event, the first. A repeated event is ignored; a different one is rejected.
//! - A run has one controller at a time; of several simultaneous takeovers one succeeds, and later writes of an earlier
//!   controller are rejected.
//! - Several `ctl` processes may share a journal. Every change is one transaction that takes the write lock at its
//!   start, so it cannot lose a race halfway.
//! - A file that is not a ctl journal, or that a newer `ctl` wrote, is left unchanged.
//! - All reads are bounded: a value to 64 MiB, the events of one run to 1 GiB.
//!
//! Not supported: hosts that write one journal over a network file system at the same time (the WAL is shared memory),
//! and controllers in several PID namespaces under one host name, which cannot see each other's processes. The locks on
//! the nodes still protect against both.
//!
//! Start reading at [`Journal`] in `store.rs`; `schema.rs` holds the tables and their versions, `open.rs` opens the
//! file, `rows.rs` reads it, `lookup.rs` resolves ids, `controller.rs` checks whether a controller is alive.

mod controller;
mod error;
mod history;
mod lookup;
mod open;
mod record;
pub mod resume;
mod rows;
mod schema;
mod sequence;
mod store;
#[cfg(test)]
mod tests;

pub use self::controller::RunController;
pub use self::error::JournalError;
pub use self::record::{
    RunOrigin, RunRecord, RunRequest, RunState, RunSummary, RunTakeover, SavedFile, StopCause, state_text,
};
pub use self::store::Journal;
