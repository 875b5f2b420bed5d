//! What is wrong in a cluster, in the order in which somebody on call wants to know it.
//!
//! Here live [`Health`], the one scale from well to worst, and [`Overview`], which folds results and facts of a status
//! into a summary a role and what is not well. Pure; it uses `event` and the leaf `nodeset`. What always holds: every
//! result that is not well is in exactly one [`Trouble`], every finding too; the order depends on nothing but what is
//! said. Table, report, metrics, live view and snapshots all judge by it, so they cannot disagree. Start reading at
//! [`Health::of`] and [`Overview::of`].

mod fold;
mod health;

pub use self::fold::{Overview, RoleSummary, Trouble};
pub use self::health::{Health, reason};
