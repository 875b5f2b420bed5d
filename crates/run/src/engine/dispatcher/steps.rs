//! The steps of a plan: which nodes are the next batch, its gates, the pause, the end.
//!
//! Part of the dispatcher. Invariants: a batch starts only when the one before it has ended and met its gates; no
//! node is in two batches of a step; nodes that are not started have results that say why.

use super::recheck::EarlierVisit;
use super::{AtStep, Dispatcher, RunStage};
use crate::engine::effect::Effect;
use crate::engine::message::{NodeBatch, TargetKey, WorkItem};
use crate::engine::missing_results::defect;
use crate::results;
use ctl_event::{ActivityPhase, EventKind, Failure, Outcome, PhaseKind, TargetResult};
use ctl_plan::batch::BatchQueue;
use ctl_plan::{PlanStep, StepIndex};

impl Dispatcher<'_> {
    pub(super) fn next_in_steps(&mut self, index: StepIndex, effects: &mut Vec<Effect>) {
        if let Some(step) = &mut self.step {
            if step.checked {
                self.next_batch(index, effects);
            } else {
                step.checked = true;
                self.check_batch(effects);
            }
            return;
        }
        let Some(step) = self.plan.steps.get(index) else {
            self.stage = RunStage::Finished;
            effects.push(Effect::Finish);
            return;
        };
        let capped = !self.limits.budgets(step.task).is_empty();
        // An earlier task may have taken nodes down or up, so the nodes of a capped step are read again.
        if capped && self.outdated {
            self.inspect_again();
            return;
        }
        self.open_step(index, step, effects);
        let waiting = self.step.as_ref().map(|step| step.waiting.nodes()).unwrap_or_default();
        // No node is left half-way because the next item needs a helper that is known to be gone.
        if let Some(failure) = waiting.iter().find_map(|node| self.missing_helper(index, *node)) {
            self.limits.stop(step.task, failure);
        }
    }

    pub(super) fn open_step(&mut self, index: StepIndex, step: &PlanStep, effects: &mut Vec<Effect>) {
        let (mut rechecks, mut resumed, mut waiting) = (Vec::new(), Vec::new(), Vec::new());
        for node in &step.nodes {
            if self.lost.contains(node) {
                continue;
            }
            let maintenance = self.plan.nodes.get(*node).and_then(|selected| selected.node.maintenance.clone());
            match maintenance {
                None => match self.earlier_visit(index, *node) {
                    EarlierVisit::None => waiting.push(*node),
                    EarlierVisit::Begun => resumed.push(*node),
                    EarlierVisit::Ended => rechecks.push(*node),
                },
                Some(reason) => {
                    // Reported once for the whole task, not once for each of its steps.
                    self.lost.insert(*node);
                    let explain = |result: &mut TargetResult| result.message = format!("maintenance: {reason}");
                    self.report_unvisited(*node, step.task, Outcome::Skipped, explain, effects);
                }
            }
        }
        // No pause comes before the first batch of a run or of a task.
        let is_first = !self.begun || self.outdated;
        let queue = |nodes: &[usize]| BatchQueue::new(nodes, self.limits.budgets(step.task));
        let (resumed, waiting) = (queue(&resumed), queue(&waiting));
        self.step = Some(AtStep { rechecks, resumed, waiting, batches: 0, checked: true, paused: is_first });
    }

    /// Starts the next batch of the step, or ends the step.
    fn next_batch(&mut self, index: StepIndex, effects: &mut Vec<Effect>) {
        let (Some(step), Some(task), Some(at)) = (self.plan.steps.get(index), self.task(index), &mut self.step) else {
            return;
        };
        if !at.rechecks.is_empty() {
            let rechecks = std::mem::take(&mut at.rechecks);
            return self.begin_rechecks(index, &rechecks, effects);
        }
        let (waiting, batches, paused) = (at.queue(), at.batches, at.paused);
        let stop = self.limits.stop_of(step.task, task, waiting);
        if waiting.is_empty() || stop.is_some() {
            if let Some(failure) = stop {
                let waiting = at.nodes();
                self.not_begun(index, &waiting, &failure, effects);
            }
            self.close_step(index, effects);
            return;
        }
        // The nodes that an earlier controller has started were one batch.
        let is_resumed = !at.resumed.is_empty();
        let size = if is_resumed { waiting.len() } else { task.policy.batch_size(batches, step.nodes.len()) };
        let batch = waiting.next(size, self.limits.budgets(step.task));
        if batch.is_empty() {
            // A batch is empty only because a cap is spent; anything else is an internal error.
            let failure = self.limits.spent_cap(step.task, waiting).unwrap_or_else(defect);
            let waiting = at.nodes();
            self.not_begun(index, &waiting, &failure, effects);
            self.limits.stop(step.task, failure);
            self.close_step(index, effects);
            return;
        }
        if task.work.changes() && batch.len() < waiting.len() {
            // Before the batch starts, so that its own gates are already those of a batched task.
            self.limits.note_cut(step.task);
        }
        let pause = task.policy.pause;
        if !paused && !pause.is_zero() {
            // The pause is noted as made before it is over: the same batch is found again when it is.
            at.paused = true;
            self.pausing = true;
            let phase = ActivityPhase { kind: PhaseKind::Pause, limit: Some(pause), ..ActivityPhase::work("pausing") };
            effects.push(Effect::Record(EventKind::Progress { node: None, phase }));
            effects.push(Effect::Pause(pause));
            return;
        }
        // The cap is reported where it binds: fewer nodes go at once than the user requested.
        if batches == 0
            && batch.len() < size.min(waiting.len())
            && let Some(message) = self.limits.binding_cap(step.task, waiting)
        {
            effects.push(Effect::Record(EventKind::Notice { message }));
        }
        self.begin_batch(index, &batch, effects);
    }

    fn begin_batch(&mut self, index: StepIndex, batch: &[usize], effects: &mut Vec<Effect>) {
        self.begun = true;
        let visits = self.number_batch(index, batch, false, effects);
        self.waiting = visits.into_iter().map(WorkItem::Batch).collect();
        if let Some(step) = &mut self.step {
            batch.iter().for_each(|node| step.remove(*node));
            step.batches += 1;
            step.checked = false;
            step.paused = false;
        }
    }

    /// Records the start of a batch.
    pub(super) fn number_batch(
        &mut self,
        index: StepIndex,
        batch: &[usize],
        rechecks: bool,
        effects: &mut Vec<Effect>,
    ) -> Vec<NodeBatch> {
        self.batches += 1;
        let number = self.batches;
        let batched = self.plan.steps.get(index).is_some_and(|step| self.limits.is_batched(step.task));
        let role = self.plan.steps.get(index).and_then(|step| step.role.clone());
        let nodes = batch.iter().map(|node| results::node_name(self.plan, *node)).collect();
        let step = u32::try_from(usize::from(index)).unwrap_or(u32::MAX);
        effects.push(Effect::Record(EventKind::BatchStarted { batch: number, step, role, nodes, rechecks }));
        batch.iter().map(|node| NodeBatch { step: index, batch: number, node: *node, batched }).collect()
    }

    /// After a batch: the node gates, where every service is up. Elsewhere they could only repeat the failure.
    fn check_batch(&mut self, effects: &mut Vec<Effect>) {
        let visits: Vec<NodeBatch> = self.held.keys().copied().collect();
        for node_batch in visits {
            if self.meets_services(node_batch) {
                self.waiting.push_back(WorkItem::Check(node_batch));
            } else {
                self.release(node_batch, None, effects);
            }
        }
    }

    fn close_step(&mut self, index: StepIndex, effects: &mut Vec<Effect>) {
        self.step = None;
        self.give_all(index, effects);
        let task = |index: StepIndex| self.plan.steps.get(index).map(|step| step.task);
        self.outdated |= task(index) != task(index.next());
        self.step_index = index.next();
    }

    /// After a signal, or where nothing may start: every node that was not started gets results that say so.
    pub(super) fn end_early(&mut self, failure: &Failure, effects: &mut Vec<Effect>) {
        for node_batch in self.held.keys().copied().collect::<Vec<_>>() {
            // Their checks will not run any more, so the results stand as they are.
            self.release_ungated(node_batch, effects);
        }
        self.give_all(StepIndex::default(), effects);
        let mut first = self.step_index;
        if let Some(step) = self.step.take() {
            self.not_begun(first, &step.nodes(), failure, effects);
            first = first.next();
        }
        for (index, step) in self.plan.steps.indexed().skip(first.into()) {
            // Opening the step gives its nodes in maintenance their own results.
            self.open_step(index, step, effects);
            let waiting = self.step.take().map(|step| step.nodes()).unwrap_or_default();
            self.not_begun(index, &waiting, failure, effects);
        }
        self.stage = RunStage::Finished;
        effects.push(Effect::Finish);
    }

    pub(super) fn not_begun(&mut self, step: StepIndex, nodes: &[usize], failure: &Failure, effects: &mut Vec<Effect>) {
        let task = self.plan.steps.get(step).map(|step| step.task);
        for node in nodes {
            if self.lost.contains(node) || self.give_earlier(step, *node, effects) {
                continue;
            }
            for mut result in results::as_requested(self.plan, step, None, *node, Outcome::NotStarted) {
                let mistakes = task.and_then(|task| self.mistakes.get(&task));
                let mistake = mistakes.and_then(|own| own.get(result.service.as_deref()?)).cloned();
                if mistake.is_some() {
                    // The name is on no node, whatever the role.
                    (result.outcome, result.role) = (Outcome::Failed, None);
                }
                // Two tasks of a rollout may mean the same target: it has one result.
                if self.reported.insert((*node, TargetKey::of(&result))) {
                    result.failure = Some(mistake.unwrap_or_else(|| failure.clone()));
                    effects.push(Effect::Record(EventKind::Result(result)));
                }
            }
        }
    }
}
