//! The events of a run, by step and node: the results and the state of each node.
//!
//! Pure. Invariants: a target has one result for each visit of a step, the newest; a visit that was started and not ended is
//! in flight; a gate that was not waited for stays open until a later visit of the node ends without such a gate.

use std::collections::{BTreeMap, BTreeSet};

use super::sequence::NodeSequence;
use ctl_event::{EventKind, FailureKind, ItemScopes, Outcome, RunEvent, TargetResult, TargetState};
use ctl_plan::{NodeRecheck, ServiceVerb, Work};

/// A node in a step: a rollout can visit a node several times, and each visit counts alone.
pub(super) type StepNode = (u32, String);

/// The events of a run by step.
#[derive(Debug, Default)]
pub(super) struct RunHistory {
    /// The results of each step and node.
    pub(super) results: BTreeMap<StepNode, Vec<TargetResult>>,
    /// Nodes that started and did not finish, with their earlier states.
    pub(super) in_flight: BTreeMap<StepNode, Vec<TargetState>>,
    /// How far each node came in the sequence of a step.
    pub(super) sequences: BTreeMap<StepNode, NodeSequence>,
    pub(super) last_batch: u32,
    /// The scopes of all items.
    pub(super) scopes: ItemScopes,
    /// The states of the targets before the first visit.
    before: BTreeMap<StepNode, Vec<TargetState>>,
    /// Nodes with a gate that was not met.
    open_gates: BTreeSet<StepNode>,
}

/// A batch at its start.
#[derive(Clone, Copy)]
struct RecordedBatch {
    step: u32,
    rechecks: bool,
}

impl RunHistory {
    pub(super) fn read(events: &[RunEvent]) -> Self {
        let mut history = Self::default();
        let mut batches: BTreeMap<u32, RecordedBatch> = BTreeMap::new();
        let mut inspected: BTreeMap<String, Vec<TargetState>> = BTreeMap::new();
        let mut unmet: BTreeSet<(u32, String)> = BTreeSet::new();
        for event in events {
            match &event.kind {
                EventKind::BatchStarted { batch, step, rechecks, .. } => {
                    batches.insert(*batch, RecordedBatch { step: *step, rechecks: *rechecks });
                    history.last_batch = history.last_batch.max(*batch);
                }
                EventKind::Inspected { node, targets } => {
                    // `Inspected` precedes `NodeStarted`, which knows the batch and thus the step.
                    inspected.insert(node.clone(), targets.clone());
                }
                EventKind::NodeStarted { batch, node } => {
                    // A node that is only read again is not in flight: nothing becomes of it.
                    if let Some(batch) = batches.get(batch).filter(|batch| !batch.rechecks) {
                        history.start((batch.step, node.clone()), inspected.get(node));
                    }
                }
                EventKind::Result(result) => {
                    // A result without a batch (unreachable, not started) belongs to no visit, so its node is visited
                    // again.
                    if let Some(batch) = result.batch.and_then(|batch| batches.get(&batch)) {
                        history.note_result((batch.step, result.node.clone()), result);
                    }
                }
                EventKind::Item(event) => {
                    history.scopes.note(event);
                    if let Some(batch) = batches.get(&event.batch) {
                        history.sequences.entry((batch.step, event.node.clone())).or_default().note(event);
                    }
                }
                EventKind::Gate { batch, node, met: Some(false), .. } => {
                    unmet.insert((*batch, node.clone()));
                }
                EventKind::NodeFinished { batch, node } => {
                    if let Some(RecordedBatch { step, .. }) = batches.get(batch) {
                        let is_open = unmet.contains(&(*batch, node.clone()));
                        history.finish((*step, node.clone()), *batch, is_open);
                    }
                }
                EventKind::RunStarted(_)
                | EventKind::NodeFacts(_)
                | EventKind::LogLines(_)
                | EventKind::PendingUpdate(_)
                | EventKind::Notice { .. }
                | EventKind::Gate { .. }
                | EventKind::Progress { .. }
                | EventKind::CancelBegan { .. }
                | EventKind::RunFinished { .. } => {}
            }
        }
        history
    }

    fn start(&mut self, key: StepNode, inspected: Option<&Vec<TargetState>>) {
        let states = inspected.cloned().unwrap_or_default();
        // What the first controller saw counts: a later one may see the work of the first.
        self.before.entry(key.clone()).or_insert_with(|| states.clone());
        // This visit gives them new ones. The results of items say how far a sequence came.
        if let Some(results) = self.results.get_mut(&key) {
            results.retain(|own| own.item.is_some() || !is_open(own));
        }
        self.in_flight.entry(key).or_insert(states);
    }

    fn note_result(&mut self, key: StepNode, result: &TargetResult) {
        let results = self.results.entry(key).or_default();
        let same = |own: &TargetResult| {
            (&own.role, &own.supervisor, &own.service, &own.item)
                == (&result.role, &result.supervisor, &result.service, &result.item)
        };
        results.retain(|own| !same(own));
        results.push(result.clone());
    }

    fn finish(&mut self, key: StepNode, batch: u32, has_open_gate: bool) {
        self.in_flight.remove(&key);
        // Every failure was read again, whatever its services were called before. The results of items say how far a sequence
        // came.
        if let Some(results) = self.results.get_mut(&key) {
            results.retain(|own| own.item.is_some() || own.batch == Some(batch) || !has_failed(own));
        }
        if has_open_gate {
            self.open_gates.insert(key);
        } else {
            self.open_gates.remove(&key);
        }
    }

    /// The targets of a node before a step, if the step was started there.
    pub(super) fn before(&self, key: &StepNode) -> Option<&Vec<TargetState>> {
        self.before.get(key)
    }

    /// The results of a node in a step.
    pub(super) fn results_of(&self, key: &StepNode) -> &[TargetResult] {
        self.results.get(key).map(Vec::as_slice).unwrap_or_default()
    }

    /// The targets to read again on a node, for a resumed run: its failures, and everything if its gate was not waited
    /// for. None if there is nothing, or nothing can be read again.
    pub(super) fn recheck(&self, key: &StepNode, work: &Work) -> Option<NodeRecheck> {
        let results = self.results_of(key);
        let has_open_gate = self.open_gates.contains(key) && !self.in_flight.contains_key(key);
        let is_due = |result: &&TargetResult| has_open_gate || has_failed(result);
        let again: Vec<TargetResult> = if let Work::Service { verb, .. } = work {
            // An update is of all its groups.
            let all = *verb == ServiceVerb::Update && results.iter().any(|result| is_due(&result));
            results.iter().filter(|result| !is_open(result) && (all || is_due(result))).cloned().collect()
        } else {
            // What a command did cannot be read: only its gates can.
            let is_done = !self.in_flight.contains_key(key)
                && self.sequences.get(key).is_none_or(|own| work.sequence().is_some_and(|all| own.is_done(all)));
            let is_gated = |result: &TargetResult| !result.outcome.is_bad() || failed_at_gate(result);
            let is_all = is_done && results.iter().all(is_gated) && results.iter().any(|result| is_due(&result));
            if is_all { results.iter().map(before_gate).collect() } else { Vec::new() }
        };
        let acts = self.in_flight.contains_key(key) || results.iter().any(is_open);
        let before = self.before(key).cloned().unwrap_or_default();
        (!again.is_empty()).then_some(NodeRecheck { before, results: again, acts })
    }

    /// The same for a new run that repeats what did not succeed: only a gate that was not waited for is left to read.
    pub(super) fn recheck_of_success(&self, key: &StepNode, work: &Work) -> Option<NodeRecheck> {
        let is_good = self.results_of(key).iter().all(|result| !result.outcome.is_bad());
        if is_good { self.recheck(key, work).filter(|recheck| !recheck.acts) } else { None }
    }
}

/// Why a target failed, if it did. One whose end is not known counts as failed.
pub(super) fn failure_of(result: &TargetResult) -> Option<FailureKind> {
    let is_failure = has_failed(result) || result.outcome == Outcome::Unknown;
    is_failure.then(|| result.failure.as_ref().map_or(FailureKind::Protocol, |failure| failure.kind))
}

/// Whether a target is still to be acted on.
pub(super) fn is_open(result: &TargetResult) -> bool {
    matches!(result.outcome, Outcome::NotStarted | Outcome::Unknown)
}

fn has_failed(result: &TargetResult) -> bool {
    matches!(result.outcome, Outcome::Failed | Outcome::TimedOut | Outcome::Unreachable)
}

fn failed_at_gate(result: &TargetResult) -> bool {
    has_failed(result) && result.failure.as_ref().is_some_and(|failure| failure.kind == FailureKind::Gate)
}

/// The result as it was before the gate of its node made a failure of it.
fn before_gate(result: &TargetResult) -> TargetResult {
    if !failed_at_gate(result) {
        return result.clone();
    }
    let acted = result.command.is_some() || result.service.is_some();
    let outcome = if acted { Outcome::Changed } else { Outcome::Ok };
    TargetResult { outcome, failure: None, ..result.clone() }
}
