//! The record of everything that changed a node: which runs there were, what each was asked, and every event of it.
//!
//! Here live [`Journal`], one connection to the SQLite file, and what goes in and comes out ([`RunRequest`],
//! [`RunSummary`], [`RunRecord`]). The room may use the leaf `event`, and `resume.rs`, which is pure, `plan`. It does
//! I/O on its own file and on `/proc`, and nothing else: where the file is, the caller says.
//!
//! What always holds:
//! - What [`Journal::begin`], [`Journal::append`] and [`Journal::end`] returned `Ok` for survives the loss of power.
//! - Of one (run, number) there is one event, the first. The same event again is ignored, another one is refused.
//! - A run has one controller at a time; of several that want to take it over at once, one gets it, and what an
//!   earlier one still writes is refused.
//! - Several `ctl` may use one journal at the same time. Every change is one transaction that has the write lock from
//!   its start, so none finds in its middle that another was faster.
//! - A file that is no journal of ours, or that a newer `ctl` wrote, is left as it is.
//! - Everything read is bounded: a value to 64 MiB, the events of one run to 1 GiB.
//!
//! What it does not withstand: hosts that write one journal over a network file system at the same time (the WAL is
//! shared memory), and controllers in several PID namespaces under one host name, which cannot see each other live.
//! The locks on the nodes still hold there.
//!
//! Start reading at [`Journal`] in `store.rs`; `schema.rs` holds the tables and their versions, `rows.rs` how they are
//! read, `lookup.rs` which run is meant, `controller.rs` how the dead are told from the living.

mod controller;
mod error;
mod lookup;
mod record;
pub mod resume;
mod rows;
mod schema;
mod store;
#[cfg(test)]
mod tests;

pub use self::controller::RunController;
pub use self::error::JournalError;
pub use self::record::{RunOrigin, RunRecord, RunRequest, RunState, RunSummary, RunTakeover, SavedFile};
pub use self::store::Journal;
