//! The sequences of a batch's nodes: each item, and each closing of a scope, is a work item of its own, recorded before it
//! starts.
//!
//! Part of the dispatcher. Invariants: the items of a node run one after the other, and ahead of nodes that have not
//! started; a sequence that has started goes on after a first signal, since a node half-way through is worse than a run
//! that ends a little later; every item has a result in the end, and so has every undo.

use super::Dispatcher;
use crate::engine::effect::Effect;
use crate::engine::message::{ItemVisit, NodeBatch, WorkItem, WorkItemEnd};
use crate::engine::missing_results::{ItemProgress, is_down, missing_item_results};
use crate::engine::sequence::{ItemPart, SequenceRun};
use crate::results;
use ctl_event::{EventKind, Failure, FailureKind, ItemEvent, ItemState, Outcome, Stage, TargetResult};
use ctl_plan::{ItemWork, Sequence, StepIndex};

impl<'a> Dispatcher<'a> {
    /// The sequence of a step.
    pub(super) fn sequence(&self, step: StepIndex) -> Option<&'a Sequence> {
        self.task(step)?.work.sequence()
    }

    /// A node is ready for its sequence.
    pub(super) fn begin_sequence(&mut self, visit: NodeBatch, sequence: &Sequence, effects: &mut Vec<Effect>) {
        let node = results::node_name(self.plan, visit.node);
        let before = self.task(visit.step).and_then(|task| task.progress.get(&node)).cloned().unwrap_or_default();
        let scopes = sequence.items().iter().map(|item| item.undo.as_ref().map(|undo| undo.ends)).collect();
        self.sequences.insert(visit, SequenceRun::new(scopes, &before));
        self.continue_sequence(visit, effects);
    }

    fn continue_sequence(&mut self, visit: NodeBatch, effects: &mut Vec<Effect>) {
        match self.sequences.get_mut(&visit).and_then(SequenceRun::next) {
            // In front of nodes that have not started: what has begun ends first.
            Some((item, part)) => self.waiting.push_front(WorkItem::Item(self.item_visit(visit, item, part))),
            None => self.end_sequence(visit, effects),
        }
    }

    fn item_visit(&self, visit: NodeBatch, item: usize, part: ItemPart) -> ItemVisit {
        let own = self.sequence(visit.step).and_then(|sequence| sequence.items().get(item));
        let worker = own.and_then(|own| self.plan.place_of(own, visit.node));
        // No plan lacks a helper; if one did, the item would end as an internal error, and not run elsewhere.
        ItemVisit { visit, item, part, worker: worker.unwrap_or(usize::MAX) }
    }

    /// Records the next act on an item.
    pub(super) fn note_start(&self, item: ItemVisit, effects: &mut Vec<Effect>) {
        match item.part {
            ItemPart::Run => {
                if self.sequences.get(&item.visit).is_some_and(|run| run.has_scope(item.item)) {
                    self.note_item(item, ItemState::Opened, effects);
                }
                self.note_item(item, ItemState::Started, effects);
            }
            // A controller that dies right after this leaves it as it is, whatever the guard still knows of it.
            ItemPart::Keep => self.note_item(item, ItemState::Kept, effects),
            // An undo may run several times, so only its end counts.
            ItemPart::Undo => {}
        }
    }

    fn note_item(&self, item: ItemVisit, state: ItemState, effects: &mut Vec<Effect>) {
        let ItemVisit { visit: NodeBatch { batch, step, node, .. }, .. } = item;
        let Some(label) = self.sequence(step).and_then(|sequence| results::item_label(sequence, item)) else { return };
        let node = results::node_name(self.plan, node);
        let step = u32::try_from(usize::from(step)).unwrap_or(u32::MAX);
        effects.push(Effect::Record(EventKind::Item(ItemEvent { batch, step, node, label, state })));
    }

    /// The end of an item, or of its undo.
    pub(super) fn item_ended(
        &mut self,
        item: ItemVisit,
        mut progress: ItemProgress,
        end: WorkItemEnd,
        effects: &mut Vec<Effect>,
    ) {
        for result in missing_item_results(self.plan, item, &progress, &end, self.cancel) {
            self.item_result(item.visit, &mut progress, result, effects);
        }
        let is_done = !progress.is_bad && end == WorkItemEnd::Done;
        match item.part {
            ItemPart::Run => {
                self.note_item(item, if is_done { ItemState::Done } else { ItemState::Failed }, effects);
                let sequence = self.sequence(item.visit.step);
                let work = sequence.and_then(|sequence| sequence.items().get(item.item)).map(|item| &item.work);
                let changes_node = matches!(work, Some(ItemWork::Service { .. })) && !item.is_on_helper();
                let down = changes_node.then_some(progress.down);
                if let Some(run) = self.sequences.get_mut(&item.visit) {
                    run.note(item.item, is_done, down);
                }
            }
            // A run that is dropped leaves its scopes open: nobody knows how far the undo came.
            ItemPart::Undo if progress.is_dropped => {}
            ItemPart::Undo => {
                self.note_item(item, if is_done { ItemState::Undone } else { ItemState::UndoFailed }, effects);
            }
            ItemPart::Keep => {}
        }
        // A helper that is gone makes the item fail; the node itself can still be worked on.
        if let WorkItemEnd::Lost(outcome, failure) = end
            && !item.is_on_helper()
            && let Some(run) = self.sequences.get_mut(&item.visit)
        {
            run.note_lost(outcome, failure);
        }
        self.continue_sequence(item.visit, effects);
    }

    /// A result of a target. Those of an item also decide whether the item succeeded.
    pub(super) fn target_ended(&mut self, item: WorkItem, result: TargetResult, effects: &mut Vec<Effect>) {
        let WorkItem::Item(ItemVisit { visit, .. }) = item else { return self.result(item, result, effects) };
        let Some(mut progress) = self.running.remove(&item) else { return };
        self.item_result(visit, &mut progress, result, effects);
        self.running.insert(item, progress);
    }

    fn item_result(
        &mut self,
        visit: NodeBatch,
        progress: &mut ItemProgress,
        result: TargetResult,
        effects: &mut Vec<Effect>,
    ) {
        progress.down |= is_down(&result);
        progress.is_bad |= result.outcome.is_bad();
        // An undo that is left to the guard is neither done nor failed.
        progress.is_dropped |= result.outcome == Outcome::Unknown;
        self.result(WorkItem::Batch(visit), result, effects);
    }

    /// All that is left of a sequence: what did not run, and whether the node can be worked on.
    fn end_sequence(&mut self, visit: NodeBatch, effects: &mut Vec<Effect>) {
        let Some(mut run) = self.sequences.remove(&visit) else { return };
        let (not_run, failed) = run.not_run();
        if let Some(sequence) = self.sequence(visit.step) {
            let failed = failed.and_then(|item| sequence.items().get(item));
            let name = failed.map(|item| item.name.as_str()).unwrap_or_default();
            let failure = Failure::new(Stage::Plan, FailureKind::Gate, format!("not started: {name} did not succeed"));
            for item in not_run {
                let visited = self.item_visit(visit, item, ItemPart::Run);
                let result = results::of_item(self.plan, visited, Outcome::NotStarted);
                self.result(WorkItem::Batch(visit), TargetResult { failure: Some(failure.clone()), ..result }, effects);
            }
        }
        self.limits.note_down(visit, run.is_down());
        if let Some((outcome, failure)) = run.take_lost() {
            self.lose_after(visit, outcome, &failure, effects);
        }
        if !self.held.contains_key(&visit) {
            self.finish_node(visit, effects);
        }
    }

    /// The run is dropped: items under way in a sequence have their results, and nothing else of it runs.
    pub(super) fn abandon_sequences(&mut self, effects: &mut Vec<Effect>) {
        for item in std::mem::take(&mut self.waiting) {
            let WorkItem::Item(item) = item else {
                self.waiting.push_back(item);
                continue;
            };
            // It waited for a fork, or for the helper that it runs on.
            if item.part == ItemPart::Run {
                let (progress, end) = (ItemProgress::default(), WorkItemEnd::Done);
                for result in missing_item_results(self.plan, item, &progress, &end, self.cancel) {
                    self.result(WorkItem::Batch(item.visit), result, effects);
                }
                if let Some(run) = self.sequences.get_mut(&item.visit) {
                    run.note(item.item, false, None);
                }
            }
        }
        for visit in self.sequences.keys().copied().collect::<Vec<_>>() {
            self.end_sequence(visit, effects);
        }
    }
}
