//! The problems of a cluster, in the order that matters to an operator on call.
//!
//! Here live [`TargetHealth`], the one scale from healthy to worst, and [`Overview`], which folds the results and facts of
//! a status into a summary for each role, the problems, and the nodes that differ from the others. Pure; it uses `event`
//! and the crate `nodeset`. Invariants: every result that is not healthy is in exactly one [`ClusterIssue`], every
//! finding too; the order depends only on the results and findings. Table, report, metrics, live view and snapshots all use
//! it, so they cannot disagree. Start reading at [`TargetHealth::of`] and [`Overview::of`]; `message_template.rs` says which
//! reasons are one, `outliers.rs` finds the nodes that differ.

mod fold;
mod health;
mod issue;
mod message_template;
mod outliers;
mod roles;
#[cfg(test)]
mod tests;

pub use self::fold::Overview;
pub use self::health::{TargetHealth, reason, with_clock};
pub use self::issue::ClusterIssue;
pub use self::outliers::{Oddity, Outlier};
pub use self::roles::{NodeRoles, RoleSummary};
