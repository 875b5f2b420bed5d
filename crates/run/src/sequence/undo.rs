//! Takes an item back: runs its undo until it exits 0.
//!
//! Invariants: an undo is tried until it succeeds or its time is over; after a second signal it is left to the guard, if
//! that is armed for it, and else tried once more; the guard is disarmed only after a success.

use std::time::Duration;

use tokio::time::{Instant, sleep};

use super::command::ItemCommand;
use super::scope::RunScopes;
use crate::engine::message::{ItemVisit, WorkItem, WorkItemEnd};
use crate::node::context::{NodeContext, within};
use crate::node::lock::NodeLock;
use crate::node::signals::wait_until_set;
use crate::results;
use ctl_event::{Failure, FailureKind, Outcome, Stage, TargetResult};
use ctl_plan::{ItemPlace, SequenceItem};
use ctl_transport::Transport;

/// Between two attempts.
const PAUSE: Duration = Duration::from_secs(1);

/// Time for an undo that nobody else would do, once the run has given up waiting.
const LAST_TIME: Duration = Duration::from_secs(10);

/// Takes an item back, and sends a result that says so.
pub(super) async fn undo<T: Transport>(
    node: &NodeContext<T>,
    visit: ItemVisit,
    own: &SequenceItem,
    lock: &mut NodeLock,
    scopes: &RunScopes,
) -> WorkItemEnd {
    let Some(undo) = &own.undo else { return WorkItemEnd::Done };
    let item = WorkItem::Item(visit);
    let began = Instant::now();
    // A renewal after the undo would do it once more.
    scopes.stop_renewal(visit).await;
    let result = |outcome| results::of_item(&node.results.plan, visit, outcome);
    let left = format!("left to the guard on {}", own.place.helper().unwrap_or("the node"));
    if *node.signals.give_up.borrow() && scopes.is_left(visit) {
        let failure = Failure::new(Stage::Act, FailureKind::Interrupted, left);
        node.send_results(item, [TargetResult { failure: Some(failure), ..result(Outcome::Unknown) }]).await;
        return WorkItemEnd::Done;
    }
    // Where the node cannot be reached its guard takes the item back; one on the controller needs no node.
    if let Err(end) = lock.keep_ready(node, item).await
        && own.place != ItemPlace::Controller
    {
        let WorkItemEnd::Lost(outcome, failure) = end else { return end };
        let (outcome, message) =
            if undo.ends.lost { (Outcome::Unknown, left.as_str()) } else { (outcome, "not undone") };
        let failure = Failure { message: format!("{message}: {}", failure.message), ..failure };
        node.send_results(item, [TargetResult { failure: Some(failure), ..result(outcome) }]).await;
        return WorkItemEnd::Done;
    }
    node.show(item, within(format!("undoing {}", own.name), own.timeout.unwrap_or(node.timeout(visit.visit)))).await;
    let mut command = ItemCommand::of(node, visit, own, &undo.command, lock);
    let ended = if scopes.is_armed(visit, lock) {
        let mut give_up = node.signals.give_up.clone();
        tokio::select! {
            failure = until_done(&command) => Some(failure),
            () = wait_until_set(&mut give_up) => None,
        }
    } else {
        if *node.signals.give_up.borrow() {
            command.access.timeout = command.access.timeout.min(LAST_TIME);
        }
        command.patience = command.patience.min(command.access.timeout);
        Some(until_done(&command).await)
    };
    let mut result = match ended {
        Some(None) => {
            scopes.disarm(visit, lock).await;
            result(Outcome::Changed)
        }
        Some(Some(message)) => {
            let failure = Failure::new(Stage::Act, FailureKind::Command, message)
                .with_hint("undo it by hand, or with `ctl runs undo`");
            TargetResult { failure: Some(failure), ..result(Outcome::Failed) }
        }
        None => {
            // The end of its channel makes the guard take back what it is armed for.
            lock.leave_to_guard();
            let failure = Failure::new(Stage::Act, FailureKind::Interrupted, left);
            TargetResult { failure: Some(failure), ..result(Outcome::Unknown) }
        }
    };
    result.duration_ms = u64::try_from(began.elapsed().as_millis()).ok();
    node.send_results(item, [result]).await;
    WorkItemEnd::Done
}

/// Runs an undo until it exits 0; an error says how it ended last when its time was over.
async fn until_done<T: Transport>(command: &ItemCommand<T>) -> Option<String> {
    let began = Instant::now();
    loop {
        let said = command.failure("undo", std::future::pending()).await?;
        if began.elapsed() + PAUSE >= command.access.timeout {
            return Some(format!("{said} (tried for {:.1} s)", began.elapsed().as_secs_f64()));
        }
        sleep(PAUSE).await;
    }
}
