//! Signals, and the early end of a run: the work still done, the work dropped, and the results that follow.
//!
//! Part of the dispatcher. Invariants: after the first signal no node starts; what has started ends by itself, until a
//! third signal drops it; nothing that is dropped is without a result.

use super::Dispatcher;
use crate::engine::effect::Effect;
use crate::engine::message::{NodeBatch, WorkItem, WorkItemEnd};
use crate::engine::missing_results::interrupted;
use crate::results;
use ctl_event::{CancelReason, EventKind, Failure, Outcome};

impl Dispatcher<'_> {
    /// A signal, more urgent each time.
    pub(super) fn signal(&mut self, reason: CancelReason, effects: &mut Vec<Effect>) {
        self.signals += 1;
        match self.signals {
            1 => {
                self.stop(reason, effects);
                // Work that only reads ends at once. Before the first change the workers end by themselves, and keep
                // their guards to be released.
                if !self.running.keys().any(|item| self.has_to_finish(*item)) {
                    self.abandon(effects);
                }
            }
            2 => {
                // Workers give up by themselves and report their last readings: nothing is dropped yet.
                effects.push(Effect::Record(EventKind::CancelBegan { reason: CancelReason::GivenUp }));
                effects.push(Effect::GiveUp);
            }
            // A third signal exits at once. The guards on the nodes start the services that were stopped.
            _ => self.abandon(effects),
        }
    }

    /// Whether a first signal lets a work item finish: it may have changed something or hold a lock, or its results are
    /// complete at any moment (logs).
    fn has_to_finish(&self, item: WorkItem) -> bool {
        match item {
            WorkItem::Batch(node_batch) | WorkItem::Check(node_batch) => {
                self.task(node_batch.step).is_some_and(|task| task.work.changes() || task.work.tail().is_some())
            }
            WorkItem::Item(_) | WorkItem::Connect(_) | WorkItem::Lock(_) | WorkItem::Inspect(_) => true,
        }
    }

    /// Drops the running work; its targets get the results that are true now.
    fn abandon(&mut self, effects: &mut Vec<Effect>) {
        effects.push(Effect::Abandon);
        // Taken out of the table first: an update of a dropped worker that still comes in finds no work item, so no target
        // gets a second result.
        self.silent.clear();
        for (item, mut progress) in std::mem::take(&mut self.running) {
            progress.is_dropped = true;
            match item {
                WorkItem::Batch(node_batch) => {
                    let misses = self.report_missing(node_batch, &progress, &WorkItemEnd::Done, effects);
                    self.limits.note_down(node_batch, progress.down || misses);
                    if !self.held.contains_key(&node_batch) {
                        self.finish_node(node_batch, effects);
                    }
                }
                WorkItem::Item(item) => self.item_ended(item, progress, WorkItemEnd::Done, effects),
                WorkItem::Check(node_batch) => self.release_ungated(node_batch, effects),
                WorkItem::Connect(_) | WorkItem::Lock(_) | WorkItem::Inspect(_) => {}
            }
        }
        self.abandon_sequences(effects);
    }

    /// Nothing new is started from here on.
    pub(super) fn stop(&mut self, reason: CancelReason, effects: &mut Vec<Effect>) {
        self.cancel = self.cancel.max(Some(reason));
        // The pause belongs to a batch that will not start any more.
        self.pausing = false;
        effects.push(Effect::Record(EventKind::CancelBegan { reason }));
        effects.push(Effect::StopWaiting);
    }

    /// Why nothing new is started; none if it is.
    pub(super) fn early_end(&self) -> Option<Failure> {
        if self.cancel.is_some() { Some(interrupted()) } else { self.halted.clone() }
    }

    /// Drops the work that waited for a fork when the run was given up.
    pub(super) fn drop_what_waits(&mut self, failure: &Failure, effects: &mut Vec<Effect>) {
        for item in std::mem::take(&mut self.waiting) {
            match item {
                // A sequence that has started goes on to its end.
                WorkItem::Item(_) => self.waiting.push_back(item),
                WorkItem::Batch(node_batch) => {
                    let NodeBatch { step, batch, node, .. } = node_batch;
                    let mut dropped = results::as_requested(self.plan, step, Some(batch), node, Outcome::NotStarted);
                    dropped.iter_mut().for_each(|result| result.failure = Some(failure.clone()));
                    for result in self.or_earlier(node_batch, dropped, effects) {
                        effects.push(Effect::Record(EventKind::Result(result)));
                    }
                    self.finish_node(node_batch, effects);
                }
                WorkItem::Check(node_batch) => self.release_ungated(node_batch, effects),
                WorkItem::Connect(_) | WorkItem::Lock(_) | WorkItem::Inspect(_) => {}
            }
        }
    }
}
