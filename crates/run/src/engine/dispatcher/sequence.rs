//! The sequences of a batch's nodes: each item is a work item of its own, recorded before it starts.
//!
//! Part of the dispatcher. Invariants: the items of a node run one after the other, and ahead of nodes that have not
//! started; a sequence that has started goes on after a first signal, since a node half-way through is worse than a run
//! that ends a little later; every item has a result in the end.

use super::Dispatcher;
use crate::engine::effect::Effect;
use crate::engine::message::{ItemVisit, NodeBatch, WorkItem, WorkItemEnd};
use crate::engine::missing_results::{ItemProgress, is_down, missing_item_results};
use crate::engine::sequence::SequenceRun;
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
        let done = self.task(visit.step).and_then(|task| task.progress.get(&node)).map(|progress| &progress.done);
        let run = SequenceRun::new(sequence.items().len(), &done.cloned().unwrap_or_default());
        self.sequences.insert(visit, run);
        self.continue_sequence(visit, effects);
    }

    fn continue_sequence(&mut self, visit: NodeBatch, effects: &mut Vec<Effect>) {
        match self.sequences.get_mut(&visit).and_then(SequenceRun::next) {
            // In front of nodes that have not started: what has begun ends first.
            Some(item) => self.waiting.push_front(WorkItem::Item(ItemVisit { visit, item })),
            None => self.end_sequence(visit, effects),
        }
    }

    /// Records that an item is about to run.
    pub(super) fn note_item(&self, ItemVisit { visit, item }: ItemVisit, state: ItemState, effects: &mut Vec<Effect>) {
        let Some(label) = self.sequence(visit.step).and_then(|sequence| results::item_label(sequence, item)) else {
            return;
        };
        let node = results::node_name(self.plan, visit.node);
        effects.push(Effect::Record(EventKind::Item(ItemEvent { batch: visit.batch, node, label, state })));
    }

    /// The end of an item.
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
        self.note_item(item, if is_done { ItemState::Done } else { ItemState::Failed }, effects);
        let sequence = self.sequence(item.visit.step);
        let work = sequence.and_then(|sequence| sequence.items().get(item.item)).map(|item| &item.work);
        let down = matches!(work, Some(ItemWork::Service { .. })).then_some(progress.down);
        let lost = if let WorkItemEnd::Lost(outcome, failure) = end { Some((outcome, failure)) } else { None };
        if let Some(run) = self.sequences.get_mut(&item.visit) {
            run.note(item.item, is_done, down, lost);
        }
        self.continue_sequence(item.visit, effects);
    }

    /// A result of an item that is running.
    pub(super) fn item_result(
        &mut self,
        visit: NodeBatch,
        progress: &mut ItemProgress,
        result: TargetResult,
        effects: &mut Vec<Effect>,
    ) {
        progress.down |= is_down(&result);
        progress.is_bad |= result.outcome.is_bad();
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
                let result = results::of_item(self.plan, ItemVisit { visit, item }, Outcome::NotStarted);
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

    /// The run is dropped: what was under way in a sequence has its results, and nothing else of it runs.
    pub(super) fn abandon_sequences(&mut self, effects: &mut Vec<Effect>) {
        self.waiting.retain(|item| !matches!(item, WorkItem::Item(_)));
        for visit in self.sequences.keys().copied().collect::<Vec<_>>() {
            self.end_sequence(visit, effects);
        }
    }
}
