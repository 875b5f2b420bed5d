//! The state of a cluster at one time, and its changes since.
//!
//! Here live [`Snapshot`], which is what `ctl status -o json` and `--save` write, read back; and [`diff`], which says what
//! is worse, better or merely different. The module uses `event`, `overview` and the crate `nodeset`; but for [`load`], which
//! reads one file, it is pure. Invariants: no text leads to a panic, nor to more memory than a few times its
//! length; a newer ctl's fields and words are passed over; what only one of two snapshots was asked for is not compared;
//! a snapshot differs from itself in nothing. Start reading at [`diff`].

mod change;
mod diff;
mod findings;
mod fold;
mod model;
mod node;
mod node_changes;
mod read;
mod rounds;
#[cfg(test)]
mod tests;

pub use self::change::{ChangeKind, ChangeVerdict, DiffSummary, NodeChange, SnapshotDiff};
pub use self::diff::diff;
pub use self::fold::ChangeLine;
pub use self::model::Snapshot;
pub use self::read::{SnapshotError, load, read};
pub use self::rounds::WatchRounds;
