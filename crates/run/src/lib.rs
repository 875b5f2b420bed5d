//! Runs a plan: one dispatcher that decides, one worker for each node, one stream of events that leaves.
//!
//! It uses `plan`, `select`, `transport`, `supervisor`, `guard` and the leaf module `event`; never a sink, never the
//! command line; the journal is an observer of the events. Invariants: every selected node ends with results,
//! whatever is thrown at the run; nothing is started after the first signal, nor before its intent was recorded. No two
//! files below use each other, directly or through others. Start at [`run`] in
//! `engine/pool.rs`: `engine/dispatcher.rs` decides, `node/worker.rs` hands each work item to a file of `action/`,
//! `gate/` or `sequence/`.

mod action;
mod engine;
mod gate;
mod node;
mod results;
mod sequence;
mod verdict;

pub use self::engine::message::NameCensus;
pub use self::engine::names::{MissingName, missing_names};
pub use self::engine::pool::{RunSetup, WorkerPool, run};
pub use self::engine::recorder::JournalAck;
pub use self::node::access::NodeAccess;
pub use self::node::lock::LockPolicy;
pub use self::node::passwords::PasswordFiles;
