//! The plan of a run, as plain data: its tasks, their nodes, and the order.
//!
//! Here live [`Plan`] and [`PlanStep`] (`model.rs`). Start at `task.rs`, which holds [`Task`] and its [`Work`];
//! `action.rs` has the names of actions. `assemble.rs` makes a plan of tasks ([`plan()`]); `amount.rs` and `policy.rs`
//! describe batches, limits and gates, and `batch.rs` chooses the nodes of the next batch. `index.rs` has the types of
//! the indexes, `explain.rs` and `live.rs` show a plan, `input.rs` holds the standard input of a command, `copy.rs` what
//! `ctl cp` copies, `targets.rs` and `stopped.rs` the targets that are left and those that the run itself stopped, and `rollout/` reads the file that
//! describes several tasks; `sequence.rs` holds what is done on one node in order, and `item_plan.rs` plans it. Pure; it uses `select` and `inventory`, and of `snapshot` the type. Invariants: the
//! steps of a task name every node that it selects, each role's nodes in one step, steps in the order of the roles.

mod action;
pub mod amount;
mod assemble;
pub mod batch;
mod copy;
mod earlier;
pub mod explain;
mod index;
mod input;
mod item_plan;
pub mod live;
mod model;
pub mod options;
pub mod policy;
pub mod rollout;
pub mod sequence;
mod stopped;
mod targets;
mod task;

pub use self::action::{Action, ServiceVerb};
pub use self::assemble::plan;
pub use self::copy::{CopySource, FileCopy};
pub use self::earlier::{FinishedNode, NodeRecheck};
pub use self::index::{IndexVec, StepIndex, TaskIndex};
pub use self::input::CommandInput;
pub use self::model::{Plan, PlanStep, RoleCap};
pub use self::sequence::{
    InFlightItem, ItemPlace, ItemUndo, ItemWork, Sequence, SequenceItem, SequenceProgress, UndoEnds,
};
pub use self::stopped::StoppedTarget;
pub use self::targets::{TargetFilter, TargetName};
pub use self::task::{LogTail, Task, TaskSpec, WaitCondition, WaitGoal, Work};
