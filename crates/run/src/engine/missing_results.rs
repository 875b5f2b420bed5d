//! The results that a work item leaves out: it panicked, was dropped, or found nothing to do.
//!
//! Pure. Invariants: each target that was found and each service that was requested has a result in the end; a
//! target that may have been changed and was not read again is `unknown`, never `not_started`.

use std::collections::BTreeSet;

use crate::engine::message::{ItemVisit, NodeBatch, TargetKey, WorkItemEnd};
use crate::engine::sequence::ItemPart;
use crate::results;
use ctl_event::{CancelReason, Failure, FailureKind, Outcome, ProcessState, Stage, TargetResult};
use ctl_plan::Plan;

/// The progress of a work item that is running.
#[derive(Default)]
pub(crate) struct ItemProgress {
    /// Targets that were found.
    pub(crate) found: Vec<TargetKey>,
    /// Targets that may have been changed.
    pub(crate) begun: BTreeSet<TargetKey>,
    /// Targets that have a result.
    pub(crate) ended: BTreeSet<TargetKey>,
    /// Whether something did not end up RUNNING.
    pub(crate) down: bool,
    /// Whether the run no longer waits for it.
    pub(crate) is_dropped: bool,
    /// Whether a result of it is bad.
    pub(crate) is_bad: bool,
    /// Whether a phase of it was shown.
    pub(crate) is_shown: bool,
}

/// A result for each target of an ended work item that has none yet.
pub(crate) fn missing_results(
    plan: &Plan,
    node_batch: NodeBatch,
    progress: &ItemProgress,
    end: &WorkItemEnd,
    cancel: Option<CancelReason>,
) -> Vec<TargetResult> {
    let broken = matches!(end, WorkItemEnd::Broken);
    let mut missing = Vec::new();
    for key in progress.found.iter().filter(|key| !progress.ended.contains(key)) {
        let begun = progress.begun.contains(key);
        let outcome = if begun { Outcome::Unknown } else { Outcome::NotStarted };
        let mut result = results::of_node(plan, node_batch.step, Some(node_batch.batch), node_batch.node, outcome);
        result.role.clone_from(&key.role);
        result.supervisor.clone_from(&key.supervisor);
        result.service.clone_from(&key.service);
        result.failure = Some(if broken { defect() } else { given_up(begun) });
        missing.push(result);
    }
    // Nothing was found or reported, so the results go by the services as they were requested.
    if progress.found.is_empty() && progress.ended.is_empty() {
        let begun = !progress.begun.is_empty();
        let (outcome, failure) = match (broken, cancel) {
            (true, _) if begun => (Outcome::Unknown, Some(defect())),
            (false, Some(_)) if begun => (Outcome::Unknown, Some(given_up(true))),
            (true, _) => (Outcome::Failed, Some(defect())),
            (false, Some(_)) => (Outcome::NotStarted, Some(interrupted())),
            // The work ended by itself and found no target.
            (false, None) => (Outcome::NotConfigured, None),
        };
        for mut result in results::as_requested(plan, node_batch.step, Some(node_batch.batch), node_batch.node, outcome)
        {
            if failure.is_none() {
                result.message = "nothing to do on this node".to_owned();
            }
            result.failure.clone_from(&failure);
            missing.push(result);
        }
    }
    missing
}

/// A result for each target of an ended item of a sequence that has none yet; for an item without results, its own.
pub(crate) fn missing_item_results(
    plan: &Plan,
    item: ItemVisit,
    progress: &ItemProgress,
    end: &WorkItemEnd,
    cancel: Option<CancelReason>,
) -> Vec<TargetResult> {
    if item.part == ItemPart::Keep {
        return Vec::new();
    }
    let has_begun = !progress.begun.is_empty();
    let (outcome, failure) = match end {
        WorkItemEnd::Broken => (if has_begun { Outcome::Unknown } else { Outcome::Failed }, defect()),
        WorkItemEnd::Lost(outcome, failure) => (*outcome, failure.clone()),
        WorkItemEnd::Done | WorkItemEnd::Held(..) | WorkItemEnd::Inspected(_) if has_begun => {
            (Outcome::Unknown, given_up(true))
        }
        WorkItemEnd::Done | WorkItemEnd::Held(..) | WorkItemEnd::Inspected(_) => {
            (Outcome::NotStarted, if cancel.is_some() { interrupted() } else { defect() })
        }
    };
    let of_item = |outcome| results::of_item(plan, item, outcome);
    if progress.found.is_empty() {
        let missing = progress.ended.is_empty().then(|| TargetResult { failure: Some(failure), ..of_item(outcome) });
        return missing.into_iter().collect();
    }
    let missing = progress.found.iter().filter(|key| !progress.ended.contains(key));
    missing
        .map(|key| {
            let begun = progress.begun.contains(key);
            let outcome = if begun { Outcome::Unknown } else { Outcome::NotStarted };
            let TargetKey { role, supervisor, service } = key.clone();
            let failure = if matches!(end, WorkItemEnd::Broken) { defect() } else { given_up(begun) };
            TargetResult { role, supervisor, service, failure: Some(failure), ..of_item(outcome) }
        })
        .collect()
}

/// Whether a result says that something is down.
pub(crate) fn is_down(result: &TargetResult) -> bool {
    // A service that is nowhere on the node cannot be down there.
    let is_nowhere = result.failure.as_ref().is_some_and(|failure| failure.kind == FailureKind::NoSuchService);
    match result.state {
        Some(state) => state != ProcessState::Running && !result.has_ended_well(),
        None => result.outcome.is_bad() && !is_nowhere,
    }
}

/// The failure of a target that a signal kept from being started.
pub(crate) fn interrupted() -> Failure {
    Failure::new(Stage::Plan, FailureKind::Interrupted, "not started: the run was interrupted")
}

fn given_up(begun: bool) -> Failure {
    let message = if begun { "stopped waiting for it to finish" } else { "not started: the run was interrupted" };
    let failure = Failure::new(Stage::Act, FailureKind::Interrupted, message);
    if begun { failure.with_hint("run `ctl status {service} -w {node}` to see its current state") } else { failure }
}

/// The failure of a target whose work ended because of a bug of ours.
pub(crate) fn defect() -> Failure {
    Failure::new(Stage::Act, FailureKind::Protocol, "an internal error ended the work on this node")
        .with_hint("run `ctl status {service} -w {node}` to see its current state; please report this bug")
}
