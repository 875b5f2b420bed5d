//! The problems of a cluster, in the order that matters to an operator on call.
//!
//! Here live [`TargetHealth`], the single scale from healthy to worst, and [`Overview`], which folds the results and
//! facts of a status into a summary per role, the problems, and the outliers. Pure; it uses `event` and the leaf
//! `nodeset`. Invariants: every unhealthy result, and every finding, is in exactly one [`ClusterIssue`]; the order
//! depends only on the content. Table, report, metrics, live view and snapshots all use this scale, so they cannot
//! disagree. Start reading at [`TargetHealth::of`] and [`Overview::of`]; `message_template.rs` merges similar reasons,
//! `outliers.rs` finds the targets that differ.

mod fold;
mod health;
mod message_template;
mod outliers;
mod roles;
#[cfg(test)]
mod tests;

pub use self::fold::{ClusterIssue, Overview};
pub use self::health::{TargetHealth, reason};
pub use self::outliers::{Oddity, Outlier};
pub use self::roles::{NodeRoles, RoleSummary};
