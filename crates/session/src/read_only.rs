//! The parts of a run that changes nothing: its head, its setup, its locks.
//!
//! For one run and for the rounds of a watch. Uses `run`. Invariants: no lock is taken.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc;

use crate::limits::FileBudget;
use ctl_args::settings::{self, Settings};
use ctl_connections::NodeTransport;
use ctl_event::RunHead;
use ctl_guard::LockHolder;
use ctl_plan::{Action, Plan};
use ctl_run::{LockPolicy, NodeAccess, RunSetup};

/// The head of a run that only reads.
pub fn head(plan: &Plan, services: &[String], settings: &Settings) -> RunHead {
    RunHead {
        run: settings::run_id(),
        command: "status".to_owned(),
        action: Some(Action::Status.as_str().to_owned()),
        services: services.to_vec(),
        started: jiff::Timestamp::now(),
        nodes: u32::try_from(plan.selected).unwrap_or(u32::MAX),
        selection: settings::scope(settings),
        input: None,
    }
}

/// Everything that such a run needs, over a transport that others use too.
pub fn setup(
    plan: Plan,
    head: RunHead,
    access: Vec<NodeAccess>,
    budget: FileBudget,
    transport: &Arc<NodeTransport>,
    notices: mpsc::Receiver<String>,
) -> RunSetup<NodeTransport> {
    RunSetup {
        guarding: no_locks(&plan),
        plan: Arc::new(plan),
        head,
        access,
        forks: budget.forks,
        hangs_up: budget.hangs_up,
        transport: Arc::clone(transport),
        notices,
        first_seq: 0,
        first_batch: 1,
    }
}

/// Locks for a run that takes none.
pub fn no_locks(plan: &Plan) -> LockPolicy {
    // No lock is taken, so the holder and the wait are never used.
    LockPolicy::new(LockHolder::default(), Duration::ZERO, true, plan)
}
