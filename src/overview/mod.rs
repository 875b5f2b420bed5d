//! The problems of a cluster, in the order that matters to an operator on call.
//!
//! Here live [`TargetHealth`], the one scale from well to worst, and [`Overview`], which folds results and facts of a status
//! into a summary a role, what is not well, and what is unlike the others. Pure; it uses `event` and the crate
//! `nodeset`. What always holds: every result that is not well is in exactly one [`ClusterIssue`], every finding too; the
//! order depends on nothing but what is said. Table, report, metrics, live view and snapshots all judge by it, so they
//! cannot disagree. Start reading at [`TargetHealth::of`] and [`Overview::of`]; `message_template.rs` says which reasons are one,
//! `outliers.rs` what is unlike the others.

mod fold;
mod health;
mod issue;
mod message_template;
mod outliers;
mod roles;
#[cfg(test)]
mod tests;

pub use self::fold::Overview;
pub use self::health::{TargetHealth, reason};
pub use self::issue::ClusterIssue;
pub use self::outliers::{Oddity, Outlier};
pub use self::roles::{NodeRoles, RoleSummary};
