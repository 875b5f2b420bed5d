//! The engine of a run: the dispatcher decides, the pool lets workers do it, the recorder hands the events out.
//!
//! It uses the worker of a node and the results, and knows no action and no gate. Invariants: every decision is
//! made in `dispatcher.rs`, without I/O and without a clock. Start reading at `pool.rs`.

pub(super) mod dispatcher;
#[cfg(test)]
mod dispatcher_tests;
pub(super) mod effect;
pub(super) mod limits;
pub(super) mod message;
pub(super) mod missing_results;
pub(super) mod names;
pub(super) mod pool;
#[cfg(test)]
mod pool_tests;
pub(super) mod recorder;
pub(super) mod sequence;
