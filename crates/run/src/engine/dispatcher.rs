//! Decides: which node is next, how to act on a failure or a signal, when the run is over.
//!
//! Synchronous, without I/O and without a clock, so that every schedule can be replayed in a test: inputs go in,
//! effects come out. Invariants: no node is started after the first signal, nor in a task whose failure limit
//! is exceeded; nothing is changed before every node was connected to, locked and read; every batch ends on each of its nodes
//! exactly once, and with results for everything that was selected.
//!
//! A run that changes nodes goes through the stages of [`RunStage`] in order; one that only reads begins with the steps.

mod ending;
mod preparation;
mod recheck;
mod sequence;
mod steps;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use crate::engine::effect::{DispatcherInput, Effect};
use crate::engine::limits::RunLimits;
use crate::engine::message::{NameCensus, NodeBatch, TargetKey, WorkItem, WorkItemEnd, WorkerMessage, WorkerUpdate};
use crate::engine::missing_results::{ItemProgress, defect, is_down, missing_results};
use crate::engine::names::{MissingName, NameBook};
use crate::engine::sequence::SequenceRun;
use crate::results;
use ctl_event::{ActivityPhase, CancelReason, EventKind, Failure, Outcome, PhaseKind, TargetResult};
use ctl_plan::batch::BatchQueue;
use ctl_plan::{Plan, StepIndex, Task, TaskIndex};

/// Between two attempts at locks that another run holds.
const LOCK_POLL: Duration = Duration::from_secs(1);

/// How far the run has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum RunStage {
    /// Nothing was done.
    Begin,
    /// Every node is connected to.
    Connect,
    /// The first lock is taken: of two runs that begin at once, one gets it.
    LockFirst,
    /// The other locks are taken.
    LockRest,
    /// Every node is read.
    Inspect,
    /// Steps are carried out.
    Steps,
    /// Before a step, the nodes of its capped roles are read again.
    InspectAgain,
    /// Nothing more will come.
    Finished,
}

/// The state of a run.
pub(crate) struct Dispatcher<'a> {
    plan: &'a Plan,
    forks: usize,
    stage: RunStage,
    /// Work items that wait for a fork.
    waiting: VecDeque<WorkItem>,
    running: BTreeMap<WorkItem, ItemProgress>,
    /// Those of them whose node has not answered a connection for long.
    silent: BTreeSet<WorkItem>,
    /// Nodes that are not worked on any more; they have all their results.
    lost: BTreeSet<usize>,
    /// Nodes that are connected to.
    connected: BTreeSet<usize>,
    /// Nodes that items of other nodes run on.
    helpers: BTreeSet<usize>,
    /// Why no item can run on some of them.
    lost_helpers: BTreeMap<usize, Failure>,
    /// The step that is running.
    step: Option<AtStep>,
    /// Its index, or that of the step that comes next. It survives the loss of a lock, so that no step is repeated.
    step_index: StepIndex,
    batches: u32,
    /// Whether a batch was started.
    begun: bool,
    limits: RunLimits<'a>,
    /// A lock that another run holds, and whether it is waited for.
    locked: Option<(Failure, bool)>,
    /// Why nothing is started at all.
    halted: Option<Failure>,
    /// Watched nodes that a notice has named as not locked.
    unlocked: BTreeSet<usize>,
    /// Targets that have a result without a batch.
    reported: BTreeSet<(usize, TargetKey)>,
    /// Which of the names that were typed were found.
    names: NameBook<'a>,
    /// Names that no selected node has, for each task.
    mistakes: BTreeMap<TaskIndex, BTreeMap<String, Failure>>,
    /// Nodes that are shown as waited for, since another run holds their locks.
    lock_waits: BTreeSet<usize>,
    /// The nodes that are in the middle of their sequences.
    sequences: BTreeMap<NodeBatch, SequenceRun>,
    /// Results that wait for the check of their batch.
    held: BTreeMap<NodeBatch, Vec<TargetResult>>,
    pausing: bool,
    /// Whether another task may have outdated the readings.
    outdated: bool,
    signals: u32,
    cancel: Option<CancelReason>,
}

/// A step that is running.
struct AtStep {
    /// Nodes to be read again, before any other is acted on.
    rechecks: Vec<usize>,
    /// Nodes that an earlier controller has started, before all others.
    resumed: BatchQueue,
    /// Nodes not started.
    waiting: BatchQueue,
    /// Batches started.
    batches: usize,
    /// Whether the batch was checked, or needs no check.
    checked: bool,
    /// Whether the pause before the next batch was made, or is not due.
    paused: bool,
}

impl AtStep {
    /// The nodes of which the next batch is made.
    fn queue(&self) -> &BatchQueue {
        if self.resumed.is_empty() { &self.waiting } else { &self.resumed }
    }

    fn remove(&mut self, node: usize) {
        self.rechecks.retain(|own| *own != node);
        self.resumed.remove(node);
        self.waiting.remove(node);
    }

    /// All nodes that were not started.
    fn nodes(&self) -> Vec<usize> {
        let rechecks = self.rechecks.iter().copied();
        rechecks.chain(self.resumed.nodes()).chain(self.waiting.nodes()).collect()
    }
}

impl<'a> Dispatcher<'a> {
    /// A dispatcher for `plan` that lets at most `forks` nodes be worked on at once. Batches are counted from
    /// `first_batch`: from 1, unless a run is resumed.
    pub(crate) fn new(plan: &'a Plan, forks: usize, first_batch: u32) -> Self {
        Self {
            plan,
            forks: forks.max(1),
            stage: RunStage::Begin,
            waiting: VecDeque::new(),
            running: BTreeMap::new(),
            silent: BTreeSet::new(),
            lost: BTreeSet::new(),
            connected: BTreeSet::new(),
            helpers: plan.helpers(),
            lost_helpers: BTreeMap::new(),
            step: None,
            step_index: StepIndex::default(),
            batches: first_batch.saturating_sub(1),
            begun: false,
            limits: RunLimits::new(plan),
            locked: None,
            halted: None,
            unlocked: BTreeSet::new(),
            reported: BTreeSet::new(),
            names: NameBook::new(plan),
            mistakes: BTreeMap::new(),
            lock_waits: BTreeSet::new(),
            sequences: BTreeMap::new(),
            held: BTreeMap::new(),
            pausing: false,
            outdated: false,
            signals: 0,
            cancel: None,
        }
    }

    /// The one place where something is decided.
    pub(crate) fn handle(&mut self, input: DispatcherInput) -> Vec<Effect> {
        let mut effects = Vec::new();
        match input {
            DispatcherInput::Begin => {}
            DispatcherInput::Message(message) => self.message(message, &mut effects),
            DispatcherInput::Ended(item, end) => self.ended(item, end, &mut effects),
            DispatcherInput::PauseOver => self.pausing = false,
            DispatcherInput::Signal(reason) => self.signal(reason, &mut effects),
            DispatcherInput::JournalLost => self.stop(CancelReason::JournalLost, &mut effects),
        }
        self.advance(&mut effects);
        effects
    }

    /// The reason for which the run is given up, if it is.
    pub(crate) fn cancel(&self) -> Option<CancelReason> {
        self.cancel
    }

    fn task(&self, step: StepIndex) -> Option<&'a Task> {
        self.plan.task_of(step)
    }

    /// The typed names that the nodes have.
    pub(crate) fn census(&self) -> Option<NameCensus> {
        self.names.census()
    }

    fn message(&mut self, message: WorkerMessage, effects: &mut Vec<Effect>) {
        let node = results::node_name(self.plan, message.item.node());
        // An update that was sent before its worker was dropped.
        let Some(progress) = self.running.get_mut(&message.item) else { return };
        match message.update {
            WorkerUpdate::Phase(phase) => self.phase(message.item, phase, effects),
            WorkerUpdate::Silent(true) => drop(self.silent.insert(message.item)),
            WorkerUpdate::Silent(false) => drop(self.silent.remove(&message.item)),
            WorkerUpdate::Gate { service, met, waiting_for } => {
                let batch = match message.item {
                    WorkItem::Batch(node_batch) | WorkItem::Check(node_batch) => node_batch.batch,
                    WorkItem::Item(item) => item.visit.batch,
                    WorkItem::Connect(_) | WorkItem::Lock(_) | WorkItem::Inspect(_) => 0,
                };
                effects.push(Effect::Record(EventKind::Gate { batch, node, service, met, waiting_for }));
            }
            WorkerUpdate::Targets(found) => progress.found = found,
            WorkerUpdate::Names(census) => {
                // Most readings bring no name that was missing, and what waits need not be looked through for them.
                if self.names.note(message.item.node(), census) {
                    let released = self.names.release_found();
                    self.give(released, effects);
                }
            }
            WorkerUpdate::Facts(facts) => effects.push(Effect::Record(EventKind::NodeFacts(*facts))),
            WorkerUpdate::Pending(pending) => effects.push(Effect::Record(EventKind::PendingUpdate(*pending))),
            WorkerUpdate::Lines(lines) => effects.push(Effect::Record(EventKind::LogLines(lines))),
            WorkerUpdate::Notice(message) => effects.push(Effect::Record(EventKind::Notice { message })),
            WorkerUpdate::Begun(key) => {
                progress.begun.insert(key);
            }
            WorkerUpdate::Result(result) => {
                // The first one counts. An early end may report a target again whose result was already on its way.
                if progress.ended.insert(TargetKey::of(&result)) {
                    self.target_ended(message.item, *result, effects);
                }
            }
        }
    }

    /// Shows the current work of a node.
    fn phase(&mut self, item: WorkItem, phase: ActivityPhase, effects: &mut Vec<Effect>) {
        let node = item.node();
        if phase.kind == PhaseKind::Lock {
            self.lock_waits.insert(node);
        } else if !self.lock_waits.is_empty() && matches!(item, WorkItem::Connect(_) | WorkItem::Lock(_)) {
            // Each attempt at the locks would hide the lock that is waited for.
            return;
        } else if let Some(progress) = self.running.get_mut(&item) {
            progress.is_shown = true;
        }
        let node = Some(results::node_name(self.plan, node));
        effects.push(Effect::Record(EventKind::Progress { node, phase }));
    }

    /// Shows that these nodes are not waited for any more.
    fn show_idle(&self, nodes: impl IntoIterator<Item = usize>, effects: &mut Vec<Effect>) {
        for node in nodes {
            let node = Some(results::node_name(self.plan, node));
            effects.push(Effect::Record(EventKind::Progress { node, phase: ActivityPhase::default() }));
        }
    }

    /// A target's result: counted, and recorded unless a gate of the node is to come.
    fn result(&mut self, item: WorkItem, result: TargetResult, effects: &mut Vec<Effect>) {
        let WorkItem::Batch(node_batch) = item else {
            effects.push(Effect::Record(EventKind::Result(result)));
            return;
        };
        for result in self.or_earlier(node_batch, vec![result], effects) {
            self.batch_result(node_batch, result, effects);
        }
    }

    fn batch_result(&mut self, node_batch: NodeBatch, result: TargetResult, effects: &mut Vec<Effect>) {
        let item = WorkItem::Batch(node_batch);
        if let Some(progress) = self.running.get_mut(&item) {
            progress.down |= is_down(&result);
        }
        self.limits.count(node_batch.step, node_batch.node, &result);
        if self.names.is_open(node_batch, &result) {
            self.names.hold(node_batch, result);
        } else if self.has_check(node_batch.step) {
            // Results wait for the gates of the node, which may still turn them into failures.
            self.held.entry(node_batch).or_default().push(result);
        } else {
            effects.push(Effect::Record(EventKind::Result(result)));
        }
    }

    fn has_check(&self, step: StepIndex) -> bool {
        self.task(step).is_some_and(|task| task.work.changes() && !task.policy.node_gates().is_empty())
    }

    fn ended(&mut self, item: WorkItem, end: WorkItemEnd, effects: &mut Vec<Effect>) {
        // An end that comes after the item was abandoned: its results are recorded already.
        let Some(progress) = self.running.remove(&item) else { return };
        self.silent.remove(&item);
        match item {
            WorkItem::Connect(node) | WorkItem::Lock(node) | WorkItem::Inspect(node) => {
                // A lock that is held is tried again, and its node stays shown meanwhile.
                let is_waited_for = matches!(end, WorkItemEnd::Held(..));
                self.prepared(item, node, end, effects);
                if progress.is_shown && !is_waited_for {
                    self.show_idle([node], effects);
                }
            }
            WorkItem::Item(item) => self.item_ended(item, progress, end, effects),
            WorkItem::Batch(node_batch)
                if end == WorkItemEnd::Done
                    && self.cancel.is_none()
                    && let Some(sequence) = self.sequence(node_batch.step) =>
            {
                self.begin_sequence(node_batch, sequence, effects);
            }
            WorkItem::Batch(node_batch) => {
                let is_lost = matches!(end, WorkItemEnd::Lost(..) | WorkItemEnd::Broken);
                let misses = self.report_missing(node_batch, &progress, &end, effects);
                // A node whose work was cut short counts as down until it is read again.
                self.limits.note_down(node_batch, progress.down || misses || is_lost);
                if let WorkItemEnd::Lost(outcome, failure) = &end {
                    self.lose_after(node_batch, *outcome, failure, effects);
                }
                // A node whose results wait for a check ends with that check.
                if !self.held.contains_key(&node_batch) {
                    self.finish_node(node_batch, effects);
                }
            }
            WorkItem::Check(node_batch) => {
                let failure = match end {
                    // Where a signal came, its gates may not have been waited for.
                    WorkItemEnd::Done if self.cancel.is_some() => return self.release_ungated(node_batch, effects),
                    WorkItemEnd::Done | WorkItemEnd::Held(..) | WorkItemEnd::Inspected(_) => None,
                    WorkItemEnd::Lost(_, failure) => Some(failure),
                    WorkItemEnd::Broken => Some(defect()),
                };
                self.release(node_batch, failure.as_ref(), effects);
            }
        }
    }

    /// A node that is lost for the tasks after that of a batch; the results of this one stand.
    fn lose_after(&mut self, node_batch: NodeBatch, outcome: Outcome, failure: &Failure, effects: &mut Vec<Effect>) {
        self.limits.mark_down(node_batch.node);
        let task = self.plan.steps.get(node_batch.step).map_or_else(TaskIndex::default, |step| step.task);
        self.lose(node_batch.node, task.next(), outcome, failure, effects);
    }

    /// A node that is not worked on any more. Results of earlier tasks stand; it counts as failed in each task from `task` on.
    fn lose(&mut self, node: usize, task: TaskIndex, outcome: Outcome, failure: &Failure, effects: &mut Vec<Effect>) {
        if self.plan.is_selected(node) && !self.rests(node) && self.lost.insert(node) {
            // It has its results, so no later batch of the open step takes it.
            if let Some(step) = &mut self.step {
                step.remove(node);
            }
            let fail = |result: &mut TargetResult| result.failure = Some(failure.clone());
            self.report_unvisited(node, task, outcome, fail, effects);
        }
    }

    /// Gives a node one result for each service as it was typed in each task from `task` on, under the first step there.
    fn report_unvisited(
        &mut self,
        node: usize,
        task: TaskIndex,
        outcome: Outcome,
        explain: impl Fn(&mut TargetResult),
        effects: &mut Vec<Effect>,
    ) {
        let mut reported = None;
        for (index, step) in self.plan.steps.indexed() {
            if step.task < task || !step.nodes.contains(&node) || reported.replace(step.task) == Some(step.task) {
                continue;
            }
            for mut result in results::as_requested(self.plan, index, None, node, outcome) {
                explain(&mut result);
                self.limits.count(index, node, &result);
                // Two tasks of a rollout may mean the same target: it has one result without a batch.
                if self.reported.insert((node, TargetKey::of(&result))) {
                    effects.push(Effect::Record(EventKind::Result(result)));
                }
            }
        }
    }

    /// The task of the step that is running, or of the next one.
    fn task_at_hand(&self) -> TaskIndex {
        self.plan.steps.get(self.step_index).map_or_else(TaskIndex::default, |step| step.task)
    }

    /// Records results that had waited for the names of other nodes.
    fn give(&mut self, released: Vec<(NodeBatch, Vec<TargetResult>, bool)>, effects: &mut Vec<Effect>) {
        for (node_batch, results, is_over) in released {
            for result in results {
                self.limits.count(node_batch.step, node_batch.node, &result);
                effects.push(Effect::Record(EventKind::Result(result)));
            }
            if is_over {
                self.finish_node(node_batch, effects);
            }
        }
    }

    /// At the end of a step that reads, and wherever a run ends early: results that waited are recorded.
    fn give_all(&mut self, step: StepIndex, effects: &mut Vec<Effect>) {
        let task = self.plan.steps.get(step).map_or_else(TaskIndex::default, |step| step.task);
        // An interrupted run has not read every node, so it says nothing about missing names.
        if self.task(step).is_some_and(|task| !task.work.changes()) && self.cancel.is_none() {
            self.say_missing(task, effects);
        }
        let released = self.names.release_all();
        self.give(released, effects);
    }

    /// Reports the names that were found nowhere, or on no node that answered.
    fn say_missing(&self, task: TaskIndex, effects: &mut Vec<Effect>) {
        for (_, verdict) in self.names.verdicts(task) {
            let message = match verdict {
                MissingName::Mistake(Failure { message, hint, .. }) => match hint {
                    Some(hint) => format!("{message}; {hint}"),
                    None => message,
                },
                MissingName::Unsure(message) => message,
            };
            effects.push(Effect::Record(EventKind::Notice { message }));
        }
    }

    fn finish_node(&mut self, node_batch: NodeBatch, effects: &mut Vec<Effect>) {
        if self.names.holds_end(node_batch) {
            return;
        }
        let node = results::node_name(self.plan, node_batch.node);
        effects.push(Effect::Record(EventKind::NodeFinished { batch: node_batch.batch, node }));
    }

    /// Records the results that waited for a check; `failure` says why it was not passed.
    fn release(&mut self, node_batch: NodeBatch, failure: Option<&Failure>, effects: &mut Vec<Effect>) {
        for mut result in self.held.remove(&node_batch).unwrap_or_default() {
            // A result that is bad already keeps its own failure.
            if let Some(failure) = failure
                && !result.outcome.is_bad()
                && result.outcome != Outcome::NotConfigured
            {
                result.outcome = Outcome::Failed;
                result.failure = Some(failure.clone());
                self.limits.count(node_batch.step, node_batch.node, &result);
            }
            effects.push(Effect::Record(EventKind::Result(result)));
        }
        self.finish_node(node_batch, effects);
    }

    /// Gives every target of an ended item that has no result yet the one that is true of it. Whether one of them may be
    /// down.
    fn report_missing(
        &mut self,
        node_batch: NodeBatch,
        progress: &ItemProgress,
        end: &WorkItemEnd,
        effects: &mut Vec<Effect>,
    ) -> bool {
        let missing = missing_results(self.plan, node_batch, progress, end, self.cancel);
        let missing = self.or_earlier(node_batch, missing, effects);
        let misses = missing.iter().any(is_down);
        for result in missing {
            self.limits.count(node_batch.step, node_batch.node, &result);
            // The results of a node come out together, so this one joins those that wait.
            if self.held.contains_key(&node_batch) {
                self.held.entry(node_batch).or_default().push(result);
            } else {
                effects.push(Effect::Record(EventKind::Result(result)));
            }
        }
        misses
    }

    fn advance(&mut self, effects: &mut Vec<Effect>) {
        while self.stage != RunStage::Finished {
            if let Some(failure) = self.early_end() {
                self.drop_what_waits(&failure, effects);
            }
            while self.running.len() < self.forks + self.lent()
                && let Some(item) = self.take_waiting()
            {
                self.start(item, effects);
            }
            // The end of the work under way may change the next decision.
            if !self.running.is_empty() || self.pausing {
                return;
            }
            if self.waiting.is_empty() {
                self.next(effects);
            }
        }
    }

    /// The next work item that waits for nothing but a fork. A node that helps several others does one item after the other.
    fn take_waiting(&mut self) -> Option<WorkItem> {
        let is_free = |item: &WorkItem| self.running.keys().all(|running| running.worker() != item.worker());
        let place = self.waiting.iter().position(is_free)?;
        self.waiting.remove(place)
    }

    /// Forks of nodes that do not answer, which others have meanwhile: a quarter of all at most, since those nodes may
    /// answer after all.
    fn lent(&self) -> usize {
        self.silent.len().min(self.forks / 4)
    }

    /// Everything that was started has ended: the next stage.
    fn next(&mut self, effects: &mut Vec<Effect>) {
        if let Some(failure) = self.early_end() {
            self.end_early(&failure, effects);
            return;
        }
        if let Some((failure, again)) = self.locked.take() {
            // All locks or none: two runs that wait for each other's would wait for good. The first lock is taken alone, so
            // of two runs that start at once one gets it and the other waits without holding any.
            if again {
                effects.push(Effect::Unlock);
                effects.push(Effect::Pause(LOCK_POLL));
                self.pausing = true;
                self.stage = RunStage::Connect;
            } else {
                self.halted = Some(failure);
            }
            return;
        }
        match self.stage {
            RunStage::Begin
            | RunStage::Connect
            | RunStage::LockFirst
            | RunStage::LockRest
            | RunStage::Inspect
            | RunStage::InspectAgain => self.next_preparation(effects),
            RunStage::Steps => self.next_in_steps(self.step_index, effects),
            RunStage::Finished => {}
        }
    }

    fn rests(&self, node: usize) -> bool {
        self.plan.nodes.get(node).is_some_and(|selected| selected.node.maintenance.is_some())
    }

    fn start(&mut self, item: WorkItem, effects: &mut Vec<Effect>) {
        if let WorkItem::Batch(node_batch) = item {
            let node = results::node_name(self.plan, node_batch.node);
            effects.push(Effect::Record(EventKind::NodeStarted { batch: node_batch.batch, node }));
        }
        if let WorkItem::Item(item) = item {
            self.note_start(item, effects);
        }
        self.running.insert(item, ItemProgress::default());
        effects.push(Effect::Start(item));
    }
}
