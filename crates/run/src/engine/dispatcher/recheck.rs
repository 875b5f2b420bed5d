//! Nodes that an earlier part of the run has visited: they are read again, or gone on with, before any other is acted on.
//!
//! Part of the dispatcher. Invariants: a node that is read again is not acted on; one that could not be read again keeps
//! its earlier results; a gate that was not waited for is recorded as not met, so that a later part of the run waits for it.

use super::Dispatcher;
use crate::engine::effect::Effect;
use crate::engine::message::{NodeBatch, TargetKey, WorkItem};
use crate::gate::stable::CUT;
use crate::results;
use ctl_event::{EventKind, Outcome, TargetResult};
use ctl_plan::{NodeRecheck, StepIndex, Work};
use nodeset::NodeSet;

/// What an earlier part of the run did on a node in a step.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum EarlierVisit {
    /// Nothing, or nothing that others have to wait for.
    None,
    /// It was started, and its work continues.
    Begun,
    /// It has ended, and the node is only read again.
    Ended,
}

impl<'a> Dispatcher<'a> {
    pub(super) fn earlier_visit(&self, step: StepIndex, node: usize) -> EarlierVisit {
        let Some(task) = self.task(step) else { return EarlierVisit::None };
        if self.recheck(step, node).is_some() {
            return EarlierVisit::Ended;
        }
        let name = results::node_name(self.plan, node);
        let has_begun = task.rechecks.contains_key(&(step, node)) || task.in_flight.contains_key(&name);
        let goes_in_batches = self
            .plan
            .steps
            .get(step)
            .is_some_and(|step| self.limits.is_batched(step.task) || !self.limits.budgets(step.task).is_empty());
        // Where all nodes go at once, they still do.
        if has_begun && goes_in_batches { EarlierVisit::Begun } else { EarlierVisit::None }
    }

    /// The recheck of a node on which nothing is left to be done.
    fn recheck(&self, step: StepIndex, node: usize) -> Option<&'a NodeRecheck> {
        self.task(step)?.rechecks.get(&(step, node)).filter(|recheck| !recheck.acts)
    }

    /// Reads nodes again: their services, or, where nothing but its gates can be read, only those.
    pub(super) fn begin_rechecks(&mut self, index: StepIndex, nodes: &[usize], effects: &mut Vec<Effect>) {
        let has_failed = |node: &usize| {
            let recheck = self.recheck(index, *node);
            recheck.is_some_and(|recheck| recheck.results.iter().any(|result| result.outcome.is_bad()))
        };
        let (failed, ungated): (Vec<usize>, Vec<usize>) = nodes.iter().partition(|node| has_failed(node));
        for (nodes, why) in [(failed, "failed before"), (ungated, "gate not waited for")] {
            let names: Vec<String> = nodes.iter().map(|node| results::node_name(self.plan, *node)).collect();
            if !names.is_empty() {
                let set = NodeSet::from_names(names.iter().map(String::as_str));
                let message = format!("checking {set} again before any other node ({why})");
                effects.push(Effect::Record(EventKind::Notice { message }));
            }
        }
        let reads = self.task(index).is_some_and(|task| matches!(task.work, Work::Service { .. }));
        for visit in self.number_batch(index, nodes, true, effects) {
            if reads {
                self.waiting.push_back(WorkItem::Batch(visit));
                continue;
            }
            let node = results::node_name(self.plan, visit.node);
            effects.push(Effect::Record(EventKind::NodeStarted { batch: visit.batch, node }));
            self.held.insert(visit, self.earlier_results(visit));
        }
        if let Some(step) = &mut self.step {
            step.checked = false;
        }
    }

    /// The results of an earlier visit, as those of this one.
    fn earlier_results(&self, visit: NodeBatch) -> Vec<TargetResult> {
        let earlier = self.recheck(visit.step, visit.node).map(|recheck| recheck.results.clone()).unwrap_or_default();
        earlier.into_iter().map(|result| TargetResult { batch: Some(visit.batch), ..result }).collect()
    }

    /// The results of a node, or, where a signal kept it from being read again, those of the earlier visit.
    pub(super) fn or_earlier(
        &mut self,
        visit: NodeBatch,
        results: Vec<TargetResult>,
        effects: &mut Vec<Effect>,
    ) -> Vec<TargetResult> {
        let is_unread = |result: &TargetResult| matches!(result.outcome, Outcome::NotStarted | Outcome::Unknown);
        if self.recheck(visit.step, visit.node).is_none() || !results.iter().any(is_unread) {
            return results;
        }
        if self.cancel.is_none() {
            // Nothing was done on it, and nothing proves that it is as it should be.
            let fail = |result: TargetResult| {
                let outcome = if is_unread(&result) { Outcome::Failed } else { result.outcome };
                TargetResult { outcome, ..result }
            };
            return results.into_iter().map(fail).collect();
        }
        self.note_unmet(visit, effects);
        let (unread, read): (Vec<_>, Vec<_>) = results.into_iter().partition(is_unread);
        let unread: Vec<TargetKey> = unread.iter().map(TargetKey::of).collect();
        let earlier = self.earlier_results(visit);
        let is_meant = |result: &TargetResult| unread.contains(&TargetKey::of(result));
        // Without a reading the services are known only as they were typed.
        let is_known = earlier.iter().any(is_meant);
        read.into_iter().chain(earlier.into_iter().filter(|result| !is_known || is_meant(result))).collect()
    }

    /// Gives a node that was not visited again the results that it has. Whether nothing else is to be said of it.
    pub(super) fn give_earlier(&mut self, step: StepIndex, node: usize, effects: &mut Vec<Effect>) -> bool {
        let Some(recheck) = self.task(step).and_then(|task| task.rechecks.get(&(step, node))) else { return false };
        for result in &recheck.results {
            // Without a batch: it is not of this visit.
            let result = TargetResult { batch: None, ..result.clone() };
            if self.reported.insert((node, TargetKey::of(&result))) {
                effects.push(Effect::Record(EventKind::Result(result)));
            }
        }
        !recheck.acts
    }

    /// Whether all that was done on a node succeeded, so that its own gates count.
    pub(super) fn meets_services(&self, visit: NodeBatch) -> bool {
        self.held.get(&visit).is_some_and(|results| {
            results.iter().all(|result| !result.outcome.is_bad())
                && results.iter().any(|result| matches!(result.outcome, Outcome::Changed | Outcome::Ok))
        })
    }

    /// Records the results of a node whose gates were not waited for.
    pub(super) fn release_ungated(&mut self, visit: NodeBatch, effects: &mut Vec<Effect>) {
        if self.meets_services(visit) {
            self.note_unmet(visit, effects);
            for result in self.held.get_mut(&visit).into_iter().flatten().filter(|result| result.message.is_empty()) {
                CUT.clone_into(&mut result.message);
            }
        }
        self.release(visit, None, effects);
    }

    /// Records that the gates of a node are still to be met.
    fn note_unmet(&self, visit: NodeBatch, effects: &mut Vec<Effect>) {
        let waiting_for = "not waited for: the run was interrupted".to_owned();
        let node = results::node_name(self.plan, visit.node);
        let (batch, service, met) = (visit.batch, None, Some(false));
        effects.push(Effect::Record(EventKind::Gate { batch, node, service, met, waiting_for }));
    }
}
