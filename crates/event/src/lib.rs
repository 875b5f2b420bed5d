//! The events of a run, as plain data.
//!
//! Here live [`RunEvent`] and its parts: outcomes, failures, results. A leaf module: it uses no other module, holds no
//! channel and does no I/O. Invariants: every event can be written as JSON and read back, and `seq` counts the kept
//! events of a run without gaps. Start reading at [`EventKind`]; the fold to the current state is in [`ledger`].

mod facts;
mod functional;
mod item;
pub mod ledger;
mod log;
mod phase;
mod result;
mod run_event;
mod run_head;
mod standby;
mod string_enum;

pub use self::facts::{FindingKind, NodeFacts, NodeFinding, PendingUpdate, SupervisorFacts};
pub use self::functional::FunctionalStatus;
pub use self::item::{ItemEvent, ItemLabel, ItemScopes, ItemState, KeptItem, KeptReason};
pub use self::ledger::{Ledger, Summary};
pub use self::log::{FailureEvidence, LogLines, LogStream};
pub use self::phase::{ActivityPhase, PhaseKind};
pub use self::result::{CommandRun, Failure, FailureKind, Outcome, ProcessState, Stage, TargetResult, Via};
pub use self::run_event::{CancelReason, EventKind, RunEvent, TargetState};
pub use self::run_head::{InputDigest, RunHead, RunScope};
pub use self::string_enum::UnknownWord;
