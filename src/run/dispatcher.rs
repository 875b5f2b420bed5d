//! Decides: which node is next, what a failure or a signal means, when the run is over.
//!
//! Synchronous, without I/O and without a clock, so that every schedule can be replayed in a test: inputs go in,
//! effects come out. What always holds: no node is started after the first signal, nor in a task whose failure limit
//! is exceeded; nothing is changed before every node was connected to, locked and read; every visit of the plan ends
//! exactly once, and with results for everything that was selected.
//!
//! A run that changes nodes goes through the stages of [`RunStage`] in order; one that only reads begins with the steps.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use nodeset::NodeSet;

use super::message::{
    NameCensus, NodeBatch, NodeInspection, TargetKey, WorkItem, WorkItemEnd, WorkerMessage, WorkerUpdate,
};
use super::names::{MissingName, NameBook};
use super::results;
use crate::event::{
    ActivityPhase, CancelReason, EventKind, Failure, FailureKind, Outcome, PhaseKind, ProcessState, Stage as At,
    TargetResult,
};
use crate::plan::amount::FailureLimit;
use crate::plan::batch::{DownBudget, next_batch};
use crate::plan::policy::Gate;
use crate::plan::{IndexVec, Plan, PlanStep, ServiceVerb, StepIndex, Task, TaskIndex};

/// Between two attempts at locks that another run holds.
const LOCK_POLL: Duration = Duration::from_secs(1);

/// What the dispatcher is told.
#[derive(Debug)]
pub(super) enum DispatcherInput {
    /// The run may begin.
    Begin,
    /// News of a node task.
    Message(WorkerMessage),
    /// A duty has ended.
    Ended(WorkItem, WorkItemEnd),
    /// The pause between two batches is over.
    PauseOver,
    /// The process was told to end.
    Signal(CancelReason),
    /// The journal can no longer be written.
    JournalLost,
}

/// What is to be done.
#[derive(Debug, PartialEq)]
#[expect(clippy::large_enum_variant, reason = "most effects are records, and an effect lives for a moment")]
pub(super) enum Effect {
    /// Tell the world.
    Record(EventKind),
    /// Told already.
    Recorded,
    /// Let a node task work.
    Start(WorkItem),
    /// Wait, then say so.
    Pause(Duration),
    /// Tell the tasks to end their waiting at gates.
    StopWaiting,
    /// Tell the tasks to give up waiting.
    GiveUp,
    /// Let all nodes go whose locks are held.
    Unlock,
    /// Drop the tasks.
    Abandon,
    /// Nothing more will come.
    Finish,
}

impl Effect {
    /// What is to be told, if it was not told yet.
    pub(super) fn take_record(&mut self) -> Option<EventKind> {
        if !matches!(self, Self::Record(_)) {
            return None;
        }
        if let Self::Record(kind) = std::mem::replace(self, Self::Recorded) { Some(kind) } else { None }
    }
}

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
pub(super) struct Dispatcher<'a> {
    plan: &'a Plan,
    forks: usize,
    stage: RunStage,
    /// Duties that wait for a fork.
    waiting: VecDeque<WorkItem>,
    running: BTreeMap<WorkItem, ItemProgress>,
    /// Nodes that will not be visited any more; what there was to tell of them is told.
    lost: BTreeSet<usize>,
    /// Nodes that are connected to.
    connected: BTreeSet<usize>,
    /// The step at work.
    step: Option<AtStep>,
    /// Its index, or that of the step that comes next. It survives the loss of a lock, so that no step is repeated.
    step_index: StepIndex,
    batches: u32,
    /// Whether a batch was begun.
    begun: bool,
    /// What is known to be down, for each task.
    budgets: IndexVec<TaskIndex, Vec<DownBudget>>,
    /// Nodes that failed, and of what, for each task.
    failed: IndexVec<TaskIndex, BTreeMap<usize, FailureKind>>,
    /// Tasks of which a batch was cut out of more nodes, by whatever was down, where the plan did not know it.
    cut: IndexVec<TaskIndex, bool>,
    /// Why a task is not gone on with.
    stopped: IndexVec<TaskIndex, Option<Failure>>,
    /// A lock that another run holds, and whether it is waited for.
    locked: Option<(Failure, bool)>,
    /// Why nothing is begun at all.
    halted: Option<Failure>,
    /// Watched nodes that a notice has named as not locked.
    unlocked: BTreeSet<usize>,
    /// Targets that were told without a batch.
    reported: BTreeSet<(usize, TargetKey)>,
    /// Which of the names that were typed were found.
    names: NameBook<'a>,
    /// Names that no selected node has, for each task.
    mistakes: BTreeMap<TaskIndex, BTreeMap<String, Failure>>,
    /// Nodes that are shown as waited for, since another run holds their locks.
    lock_waits: BTreeSet<usize>,
    /// Results that wait for the check of their batch.
    held: BTreeMap<NodeBatch, Vec<TargetResult>>,
    pausing: bool,
    /// Whether what was read may be outdated by another task.
    outdated: bool,
    signals: u32,
    cancel: Option<CancelReason>,
}

/// A step at work.
struct AtStep {
    /// Nodes not begun.
    waiting: Vec<usize>,
    /// Batches begun.
    batches: usize,
    /// Whether the batch was checked, or needs no check.
    checked: bool,
    /// Whether the pause before the next batch was made, or is not due.
    paused: bool,
}

/// What is known of a visit at work.
#[derive(Default)]
struct ItemProgress {
    found: Vec<TargetKey>,
    begun: BTreeSet<TargetKey>,
    ended: BTreeSet<TargetKey>,
    /// Whether something did not end up RUNNING.
    down: bool,
    /// Whether something was shown of it.
    is_shown: bool,
}

impl<'a> Dispatcher<'a> {
    /// A dispatcher for `plan` that lets at most `forks` nodes be worked on at once. Batches are counted from
    /// `first_batch`: from 1, unless a run is gone on with.
    pub(super) fn new(plan: &'a Plan, forks: usize, first_batch: u32) -> Self {
        let tasks = plan.tasks.len();
        Self {
            plan,
            forks: forks.max(1),
            stage: RunStage::Begin,
            waiting: VecDeque::new(),
            running: BTreeMap::new(),
            lost: BTreeSet::new(),
            connected: BTreeSet::new(),
            step: None,
            step_index: StepIndex::default(),
            batches: first_batch.saturating_sub(1),
            begun: false,
            budgets: plan.tasks.indexes().map(|task| plan.budgets(task)).collect(),
            failed: vec![BTreeMap::new(); tasks].into(),
            cut: vec![false; tasks].into(),
            stopped: vec![None; tasks].into(),
            locked: None,
            halted: None,
            unlocked: BTreeSet::new(),
            reported: BTreeSet::new(),
            names: NameBook::new(plan),
            mistakes: BTreeMap::new(),
            lock_waits: BTreeSet::new(),
            held: BTreeMap::new(),
            pausing: false,
            outdated: false,
            signals: 0,
            cancel: None,
        }
    }

    /// The one place where something is decided.
    pub(super) fn handle(&mut self, input: DispatcherInput) -> Vec<Effect> {
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
    pub(super) fn cancel(&self) -> Option<CancelReason> {
        self.cancel
    }

    fn task(&self, step: StepIndex) -> Option<&'a Task> {
        self.plan.task_of(step)
    }

    /// What the nodes have of the names that were typed.
    pub(super) fn census(&self) -> Option<NameCensus> {
        self.names.census()
    }

    fn message(&mut self, message: WorkerMessage, effects: &mut Vec<Effect>) {
        let node = results::node_name(self.plan, message.item.node());
        let Some(progress) = self.running.get_mut(&message.item) else { return };
        match message.update {
            WorkerUpdate::Phase(phase) => self.phase(message.item, phase, effects),
            WorkerUpdate::Gate { service, met, waiting_for } => {
                let batch = if let WorkItem::Batch(node_batch) | WorkItem::Check(node_batch) = message.item {
                    node_batch.batch
                } else {
                    0
                };
                effects.push(Effect::Record(EventKind::Gate { batch, node, service, met, waiting_for }));
            }
            WorkerUpdate::Targets(found) => progress.found = found,
            WorkerUpdate::Names(census) => {
                self.names.note(message.item.node(), census);
                let released = self.names.release_found();
                self.give(released, effects);
            }
            WorkerUpdate::Facts(facts) => effects.push(Effect::Record(EventKind::NodeFacts(*facts))),
            WorkerUpdate::Pending(pending) => effects.push(Effect::Record(EventKind::PendingUpdate(*pending))),
            WorkerUpdate::Lines(lines) => effects.push(Effect::Record(EventKind::LogLines(lines))),
            WorkerUpdate::Notice(message) => effects.push(Effect::Record(EventKind::Notice { message })),
            WorkerUpdate::Begun(key) => {
                progress.begun.insert(key);
            }
            WorkerUpdate::Result(result) => {
                if progress.ended.insert(TargetKey::of(&result)) {
                    self.result(message.item, *result, effects);
                }
            }
        }
    }

    /// Shows what a node is busy with.
    fn phase(&mut self, item: WorkItem, phase: ActivityPhase, effects: &mut Vec<Effect>) {
        let node = item.node();
        if phase.kind == PhaseKind::Lock {
            self.lock_waits.insert(node);
        } else if !self.lock_waits.is_empty() && matches!(item, WorkItem::Connect(_) | WorkItem::Lock(_)) {
            // Each attempt at the locks would hide what is waited for.
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

    /// A target's end: counted, and told unless a check is to come.
    fn result(&mut self, item: WorkItem, result: TargetResult, effects: &mut Vec<Effect>) {
        let WorkItem::Batch(node_batch) = item else {
            effects.push(Effect::Record(EventKind::Result(result)));
            return;
        };
        if let Some(progress) = self.running.get_mut(&item) {
            progress.down |= is_down(&result);
        }
        self.count(node_batch.step, node_batch.node, &result);
        if self.names.is_open(node_batch, &result) {
            self.names.hold(node_batch, result);
        } else if self.has_check(node_batch.step) {
            self.held.entry(node_batch).or_default().push(result);
        } else {
            effects.push(Effect::Record(EventKind::Result(result)));
        }
    }

    /// Counts a node that failed: once, whatever failed on it. A lock that another run holds is no failure.
    fn count(&mut self, step: StepIndex, node: usize, result: &TargetResult) {
        let counts =
            matches!(result.outcome, Outcome::Failed | Outcome::Unreachable | Outcome::TimedOut | Outcome::Unknown);
        if counts
            && let Some(task) = self.plan.steps.get(step).map(|step| step.task)
            && let Some(failed) = self.failed.get_mut(task)
        {
            let kind = result.failure.as_ref().map_or(FailureKind::Protocol, |failure| failure.kind);
            failed.entry(node).or_insert(kind);
        }
    }

    fn has_check(&self, step: StepIndex) -> bool {
        let has_node_gate = |task: &Task| task.policy.gates(task.batched).iter().any(Gate::is_of_node);
        self.task(step).is_some_and(|task| task.work.changes() && has_node_gate(task))
    }

    fn ended(&mut self, item: WorkItem, end: WorkItemEnd, effects: &mut Vec<Effect>) {
        let Some(progress) = self.running.remove(&item) else { return };
        match item {
            WorkItem::Connect(node) | WorkItem::Lock(node) | WorkItem::Inspect(node) => {
                let is_waited_for = matches!(end, WorkItemEnd::Held(..));
                self.prepared(item, node, end, effects);
                if progress.is_shown && !is_waited_for {
                    self.show_idle([node], effects);
                }
            }
            WorkItem::Batch(node_batch) => {
                let is_lost = matches!(end, WorkItemEnd::Lost(..) | WorkItemEnd::Broken);
                let misses = self.fill(node_batch, &progress, &end, effects);
                self.note_down(node_batch, progress.down || misses || is_lost);
                if let WorkItemEnd::Lost(outcome, failure) = &end {
                    self.mark_down(node_batch.node);
                    let task = self.plan.steps.get(node_batch.step).map_or_else(TaskIndex::default, |step| step.task);
                    self.lose(node_batch.node, task.next(), *outcome, failure, effects);
                }
                if !self.held.contains_key(&node_batch) {
                    self.finish_node(node_batch, effects);
                }
            }
            WorkItem::Check(node_batch) => {
                let failure = match end {
                    WorkItemEnd::Done | WorkItemEnd::Held(..) | WorkItemEnd::Inspected(_) => None,
                    WorkItemEnd::Lost(_, failure) => Some(failure),
                    WorkItemEnd::Broken => Some(defect()),
                };
                self.release(node_batch, failure.as_ref(), effects);
            }
        }
    }

    /// The end of a duty that comes before the first change.
    fn prepared(&mut self, item: WorkItem, node: usize, end: WorkItemEnd, effects: &mut Vec<Effect>) {
        match (end, item) {
            (WorkItemEnd::Inspected(inspection), _) => self.inspected(node, inspection, effects),
            (WorkItemEnd::Held(failure, again), _) => {
                let again = again && self.locked.as_ref().is_none_or(|(_, again)| *again);
                self.locked = Some((failure, again));
            }
            (WorkItemEnd::Done, WorkItem::Connect(_)) => {
                self.connected.insert(node);
            }
            (WorkItemEnd::Done, _) => {}
            // A node that cannot be locked may have all its services up: it is still read.
            (WorkItemEnd::Lost(outcome @ Outcome::Failed, failure), WorkItem::Lock(_)) => {
                self.refuse(node, outcome, &failure, effects);
            }
            (WorkItemEnd::Lost(outcome, failure), _) => self.lose_unread(node, outcome, &failure, effects),
            (WorkItemEnd::Broken, _) => self.lose_unread(node, Outcome::Failed, &defect(), effects),
        }
    }

    /// A node that can be read but must not be changed.
    fn refuse(&mut self, node: usize, outcome: Outcome, failure: &Failure, effects: &mut Vec<Effect>) {
        if self.plan.is_selected(node) {
            self.lose(node, self.task_at_hand(), outcome, failure, effects);
        } else if self.unlocked.insert(node) {
            // It is only watched, but another run could change it meanwhile.
            let node = results::node_name(self.plan, node);
            let message = format!("{node}, which counts towards a cap, is not locked: {}", failure.message);
            effects.push(Effect::Record(EventKind::Notice { message }));
        }
    }

    /// A node that cannot be reached or read: it counts as down in every role.
    fn lose_unread(&mut self, node: usize, outcome: Outcome, failure: &Failure, effects: &mut Vec<Effect>) {
        self.connected.remove(&node);
        self.mark_down(node);
        self.lose(node, self.task_at_hand(), outcome, failure, effects);
    }

    /// A node that is not visited any more. Results of earlier tasks stand; it counts as failed in each task from `task` on.
    fn lose(&mut self, node: usize, task: TaskIndex, outcome: Outcome, failure: &Failure, effects: &mut Vec<Effect>) {
        if self.plan.is_selected(node) && !self.rests(node) && self.lost.insert(node) {
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
                self.count(index, node, &result);
                // Two tasks of a rollout may mean the same target: it has one result without a batch.
                if self.reported.insert((node, TargetKey::of(&result))) {
                    effects.push(Effect::Record(EventKind::Result(result)));
                }
            }
        }
    }

    /// The task of the step at work, or of the one that comes next.
    fn task_at_hand(&self) -> TaskIndex {
        self.plan.steps.get(self.step_index).map_or_else(TaskIndex::default, |step| step.task)
    }

    fn mark_down(&mut self, node: usize) {
        for budget in self.budgets.iter_mut().flatten() {
            if budget.members.contains(&node) {
                budget.down.insert(node);
            }
        }
    }

    fn inspected(&mut self, node: usize, inspection: NodeInspection, effects: &mut Vec<Effect>) {
        for (task, budgets) in self.plan.tasks.indexes().zip(&mut self.budgets) {
            for budget in budgets.iter_mut().filter(|budget| budget.members.contains(&node)) {
                if inspection.down.iter().any(|(of, role)| *of == task && *role == budget.role) {
                    budget.down.insert(node);
                } else {
                    budget.down.remove(&node);
                }
            }
        }
        if self.stage == RunStage::Inspect && self.plan.is_selected(node) {
            for census in inspection.names {
                self.names.note(node, census);
            }
            let name = results::node_name(self.plan, node);
            effects.push(Effect::Record(EventKind::Inspected { node: name, targets: inspection.targets }));
        }
        if let Some((outcome, failure)) = inspection.refusal {
            self.refuse(node, outcome, &failure, effects);
        }
    }

    /// After a visit: whether the role of its step is up on the node.
    fn note_down(&mut self, node_batch: NodeBatch, is_down: bool) {
        let Some(step) = self.plan.steps.get(node_batch.step) else { return };
        let own = |budget: &&mut DownBudget| step.role.as_deref().is_none_or(|role| role == budget.role);
        let Some(budgets) = self.budgets.get_mut(step.task) else { return };
        for budget in budgets.iter_mut().filter(own).filter(|budget| budget.members.contains(&node_batch.node)) {
            if is_down {
                budget.down.insert(node_batch.node);
            } else {
                budget.down.remove(&node_batch.node);
            }
        }
    }

    /// Tells results that had waited for what other nodes have.
    fn give(&mut self, released: Vec<(NodeBatch, Vec<TargetResult>, bool)>, effects: &mut Vec<Effect>) {
        for (node_batch, results, is_over) in released {
            for result in results {
                self.count(node_batch.step, node_batch.node, &result);
                effects.push(Effect::Record(EventKind::Result(result)));
            }
            if is_over {
                self.finish_node(node_batch, effects);
            }
        }
    }

    /// At the end of a step that reads, and wherever a run ends early: what waited is told as it turned out.
    fn give_all(&mut self, step: StepIndex, effects: &mut Vec<Effect>) {
        let task = self.plan.steps.get(step).map_or_else(TaskIndex::default, |step| step.task);
        if self.task(step).is_some_and(|task| !task.work.changes()) && self.cancel.is_none() {
            self.say_missing(task, effects);
        }
        let released = self.names.release_all();
        self.give(released, effects);
    }

    /// Says which names were found nowhere, or nowhere that could be asked.
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

    /// A name that no selected node has is a mistake, and nothing is changed.
    fn refuse_mistakes(&mut self, effects: &mut Vec<Effect>) {
        for task in self.plan.tasks.indexes() {
            self.say_missing(task, effects);
            let mistakes = self.names.mistakes(task);
            if let Some(failure) = mistakes.values().next() {
                let message = format!("not started: {}", failure.message);
                let why = Failure { message, ..failure.clone() };
                self.halted.get_or_insert(why);
                self.mistakes.insert(task, mistakes);
            }
        }
    }

    fn finish_node(&mut self, node_batch: NodeBatch, effects: &mut Vec<Effect>) {
        if self.names.holds_end(node_batch) {
            return;
        }
        let node = results::node_name(self.plan, node_batch.node);
        effects.push(Effect::Record(EventKind::NodeFinished { batch: node_batch.batch, node }));
    }

    /// Tells the results that waited for a check; `failure` says why it was not passed.
    fn release(&mut self, node_batch: NodeBatch, failure: Option<&Failure>, effects: &mut Vec<Effect>) {
        for mut result in self.held.remove(&node_batch).unwrap_or_default() {
            if let Some(failure) = failure
                && !result.outcome.is_bad()
                && result.outcome != Outcome::NotConfigured
            {
                result.outcome = Outcome::Failed;
                result.failure = Some(failure.clone());
                self.count(node_batch.step, node_batch.node, &result);
            }
            effects.push(Effect::Record(EventKind::Result(result)));
        }
        self.finish_node(node_batch, effects);
    }

    fn signal(&mut self, reason: CancelReason, effects: &mut Vec<Effect>) {
        self.signals += 1;
        match self.signals {
            1 => {
                self.stop(reason, effects);
                // What only reads ends at once. Before the first change the tasks end by themselves, and keep their guards
                // to be released.
                if !self.running.keys().any(|item| self.has_to_finish(*item)) {
                    self.abandon(effects);
                }
            }
            2 => {
                effects.push(Effect::Record(EventKind::CancelBegan { reason: CancelReason::GivenUp }));
                effects.push(Effect::GiveUp);
            }
            _ => self.abandon(effects),
        }
    }

    /// Whether a first signal lets a duty finish: it may have changed something or hold a lock, or its results are as
    /// asked (logs).
    fn has_to_finish(&self, item: WorkItem) -> bool {
        match item {
            WorkItem::Batch(node_batch) | WorkItem::Check(node_batch) => {
                self.task(node_batch.step).is_some_and(|task| task.work.changes() || task.work.tail().is_some())
            }
            WorkItem::Connect(_) | WorkItem::Lock(_) | WorkItem::Inspect(_) => true,
        }
    }

    /// Drops what is running; its targets have the results that are true of them now.
    fn abandon(&mut self, effects: &mut Vec<Effect>) {
        effects.push(Effect::Abandon);
        for (item, progress) in std::mem::take(&mut self.running) {
            match item {
                WorkItem::Batch(node_batch) => {
                    let misses = self.fill(node_batch, &progress, &WorkItemEnd::Done, effects);
                    self.note_down(node_batch, progress.down || misses);
                    if !self.held.contains_key(&node_batch) {
                        self.finish_node(node_batch, effects);
                    }
                }
                WorkItem::Check(node_batch) => self.release(node_batch, None, effects),
                WorkItem::Connect(_) | WorkItem::Lock(_) | WorkItem::Inspect(_) => {}
            }
        }
    }

    /// Nothing new is begun from here on.
    fn stop(&mut self, reason: CancelReason, effects: &mut Vec<Effect>) {
        self.cancel = self.cancel.max(Some(reason));
        self.pausing = false;
        effects.push(Effect::Record(EventKind::CancelBegan { reason }));
        effects.push(Effect::StopWaiting);
    }

    fn advance(&mut self, effects: &mut Vec<Effect>) {
        while self.stage != RunStage::Finished {
            if let Some(failure) = self.early_end() {
                self.drop_what_waits(&failure, effects);
            }
            while self.running.len() < self.forks
                && let Some(item) = self.waiting.pop_front()
            {
                self.start(item, effects);
            }
            if !self.running.is_empty() || self.pausing {
                return;
            }
            if self.waiting.is_empty() {
                self.next(effects);
            }
        }
    }

    /// Why nothing new is begun, if that is so.
    fn early_end(&self) -> Option<Failure> {
        if self.cancel.is_some() { Some(interrupted()) } else { self.halted.clone() }
    }

    /// What waited for a fork when the run was given up.
    fn drop_what_waits(&mut self, failure: &Failure, effects: &mut Vec<Effect>) {
        for item in std::mem::take(&mut self.waiting) {
            match item {
                WorkItem::Batch(node_batch) => {
                    for mut result in results::as_requested(
                        self.plan,
                        node_batch.step,
                        Some(node_batch.batch),
                        node_batch.node,
                        Outcome::NotStarted,
                    ) {
                        result.failure = Some(failure.clone());
                        effects.push(Effect::Record(EventKind::Result(result)));
                    }
                    self.finish_node(node_batch, effects);
                }
                WorkItem::Check(node_batch) => self.release(node_batch, None, effects),
                WorkItem::Connect(_) | WorkItem::Lock(_) | WorkItem::Inspect(_) => {}
            }
        }
    }

    /// Everything that was begun has ended: what comes now.
    fn next(&mut self, effects: &mut Vec<Effect>) {
        if let Some(failure) = self.early_end() {
            self.end_early(&failure, effects);
            return;
        }
        if let Some((failure, again)) = self.locked.take() {
            // All locks or none: two runs that wait for each other's would wait for good.
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
            RunStage::Begin if self.plan.changes() => {
                self.stage = RunStage::Connect;
                let all = (0..self.plan.nodes.len()).filter(|node| self.needs_connection(*node));
                self.waiting = all.map(WorkItem::Connect).collect();
            }
            RunStage::Begin => self.stage = RunStage::Steps,
            // If too many cannot be reached, nothing is locked or read for nothing.
            RunStage::Connect if self.is_hopeless() => self.stage = RunStage::Steps,
            RunStage::Connect => {
                self.stage = RunStage::LockFirst;
                self.waiting = self.by_name().first().map(|node| WorkItem::Lock(*node)).into_iter().collect();
            }
            RunStage::LockFirst => {
                self.stage = RunStage::LockRest;
                self.waiting = self.by_name().into_iter().skip(1).map(WorkItem::Lock).collect();
            }
            RunStage::LockRest => {
                let waited_for = std::mem::take(&mut self.lock_waits);
                self.show_idle(waited_for, effects);
                if self.step_index == StepIndex::default() {
                    self.stage = RunStage::Inspect;
                    self.waiting = self.connected.iter().copied().map(WorkItem::Inspect).collect();
                } else {
                    // A lock was lost between two tasks: the run continues where it was.
                    self.inspect_again();
                }
            }
            RunStage::Inspect | RunStage::InspectAgain => {
                if self.stage == RunStage::Inspect {
                    self.refuse_mistakes(effects);
                    if self.halted.is_none() {
                        self.refuse_stops(effects);
                    }
                }
                self.outdated = false;
                self.stage = RunStage::Steps;
            }
            RunStage::Steps => self.next_in_steps(self.step_index, effects),
            RunStage::Finished => {}
        }
    }

    /// A node is connected to before the first change if it is to be changed, or counts towards a cap.
    fn needs_connection(&self, node: usize) -> bool {
        let is_capped = self.plan.caps.iter().any(|cap| cap.members.contains(&node));
        let rests = self.plan.nodes.get(node).is_some_and(|selected| selected.node.maintenance.is_some());
        is_capped || (self.plan.is_selected(node) && !rests)
    }

    /// The nodes that are connected to, by name.
    fn by_name(&self) -> Vec<usize> {
        let mut nodes: Vec<usize> = self.connected.iter().copied().collect();
        nodes.sort_by_cached_key(|node| results::node_name(self.plan, *node));
        nodes
    }

    /// Whether nothing of the plan will be begun.
    fn is_hopeless(&self) -> bool {
        let continue_on_failure = self.plan.tasks.first().is_none_or(|task| task.continue_on_failure);
        let is_left = |node: &usize| self.plan.is_selected(*node) && !self.lost.contains(node);
        !self.connected.iter().any(is_left) || (self.is_over_limit(TaskIndex::default()) && !continue_on_failure)
    }

    /// Whether a task goes in more than one batch.
    fn is_batched(&self, task: TaskIndex) -> bool {
        self.plan.tasks.get(task).is_some_and(|task| task.batched) || self.cut.get(task).copied().unwrap_or(false)
    }

    fn is_over_limit(&self, task: TaskIndex) -> bool {
        let batched = self.is_batched(task);
        let Some(limit) = self.plan.tasks.get(task).map(|task| task.policy.failure_limit(batched)) else {
            return false;
        };
        let steps = self.plan.steps.iter().filter(|step| step.task == task);
        let nodes: BTreeSet<usize> = steps.flat_map(|step| step.nodes.iter().copied()).collect();
        limit.is_exceeded(self.failed.get(task).map_or(0, BTreeMap::len), nodes.len())
    }

    /// A stop that takes more of a role down than its cap allows is refused as a whole, before anything is changed.
    fn refuse_stops(&mut self, effects: &mut Vec<Effect>) {
        let stops = self.plan.tasks.indexed().filter(|(_, task)| task.work.verb() == Some(ServiceVerb::Stop));
        for (index, _) in stops {
            let selected: BTreeSet<usize> = self
                .plan
                .steps
                .iter()
                .filter(|step| step.task == index)
                .flat_map(|step| step.nodes.iter().copied())
                .filter(|node| !self.lost.contains(node) && !self.rests(*node))
                .collect();
            let broken = self.budgets.get(index).into_iter().flatten().find(|budget| {
                let going = selected.iter().filter(|node| budget.members.contains(node));
                let going = going.filter(|node| !budget.down.contains(node)).count();
                going > 0 && budget.down.len() + going > budget.limit
            });
            if let Some(budget) = broken {
                let failure = self.spent(budget, "stopping them would leave more of the role down");
                let message = failure.message.clone();
                self.halted.get_or_insert(failure);
                effects.push(Effect::Record(EventKind::Notice { message }));
            }
        }
    }

    fn rests(&self, node: usize) -> bool {
        self.plan.nodes.get(node).is_some_and(|selected| selected.node.maintenance.is_some())
    }

    /// The failure of what a cap does not let begin.
    fn spent(&self, budget: &DownBudget, why: &str) -> Failure {
        let down: Vec<String> = budget.down.iter().map(|node| results::node_name(self.plan, *node)).collect();
        let set = NodeSet::from_names(down.iter().map(String::as_str));
        let down = if down.is_empty() { "none is down now".to_owned() } else { format!("down now: {set}") };
        let message = format!(
            "at most {} of the {} nodes of {} may be down at once: {why} ({down})",
            budget.limit,
            budget.members.len(),
            budget.role
        );
        Failure::new(At::Plan, FailureKind::MaxUnavailable, message)
            .with_hint("fix the nodes that are down first, or allow more with --max-unavailable")
    }

    fn next_in_steps(&mut self, index: StepIndex, effects: &mut Vec<Effect>) {
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
        let capped = self.budgets.get(step.task).is_some_and(|budgets| !budgets.is_empty());
        if capped && self.outdated {
            self.inspect_again();
            return;
        }
        self.open_step(step, effects);
    }

    /// Reads the nodes of the capped roles of the next step's task again.
    fn inspect_again(&mut self) {
        self.stage = RunStage::InspectAgain;
        let task = self.task_at_hand();
        let members: BTreeSet<usize> =
            self.plan.caps.iter().filter(|cap| cap.task == task).flat_map(|cap| cap.members.clone()).collect();
        self.waiting = members.intersection(&self.connected).copied().map(WorkItem::Inspect).collect();
    }

    fn open_step(&mut self, step: &PlanStep, effects: &mut Vec<Effect>) {
        let mut waiting = Vec::new();
        for node in &step.nodes {
            if self.lost.contains(node) {
                continue;
            }
            let maintenance = self.plan.nodes.get(*node).and_then(|selected| selected.node.maintenance.clone());
            match maintenance {
                None => waiting.push(*node),
                Some(reason) => {
                    // One word for all steps of a task: a node is not in maintenance once a step.
                    self.lost.insert(*node);
                    let explain = |result: &mut TargetResult| result.message = format!("maintenance: {reason}");
                    self.report_unvisited(*node, step.task, Outcome::Skipped, explain, effects);
                }
            }
        }
        let is_first = !self.begun || self.outdated;
        self.step = Some(AtStep { waiting, batches: 0, checked: true, paused: is_first });
    }

    /// Begins the next batch of the step at work, or ends the step.
    fn next_batch(&mut self, index: StepIndex, effects: &mut Vec<Effect>) {
        let (Some(step), Some(task), Some(at)) = (self.plan.steps.get(index), self.task(index), &mut self.step) else {
            return;
        };
        at.waiting.retain(|node| !self.lost.contains(node));
        let (waiting, batches, paused) = (at.waiting.clone(), at.batches, at.paused);
        let stop = self.stop_of(step.task, task, &waiting);
        if waiting.is_empty() || stop.is_some() {
            if let Some(failure) = stop {
                self.not_begun(index, &waiting, &failure, effects);
            }
            self.close_step(index, effects);
            return;
        }
        let size = task.policy.batch_size(batches, step.nodes.len());
        let budgets = self.budgets.get(step.task).map(Vec::as_slice).unwrap_or_default();
        let batch = next_batch(&waiting, size, budgets);
        let bites = |budget: &&DownBudget| waiting.iter().any(|node| budget.members.contains(node));
        if batch.is_empty() {
            let spent = budgets.iter().filter(bites).find(|budget| budget.down.len() >= budget.limit);
            let failure = spent.map_or_else(defect, |budget| self.spent(budget, "no other node may go down"));
            self.not_begun(index, &waiting, &failure, effects);
            if let Some(stopped) = self.stopped.get_mut(step.task) {
                *stopped = Some(failure);
            }
            self.close_step(index, effects);
            return;
        }
        if task.work.changes()
            && batch.len() < waiting.len()
            && let Some(cut) = self.cut.get_mut(step.task)
        {
            *cut = true;
        }
        let pause = task.policy.pause;
        if !paused && !pause.is_zero() {
            at_pause(&mut self.step);
            self.pausing = true;
            let phase = ActivityPhase { kind: PhaseKind::Pause, limit: Some(pause), ..ActivityPhase::work("pausing") };
            effects.push(Effect::Record(EventKind::Progress { node: None, phase }));
            effects.push(Effect::Pause(pause));
            return;
        }
        // The cap is said where it bites: fewer go at once than was asked for.
        if batches == 0
            && batch.len() < size.min(waiting.len())
            && let Some(budget) = budgets.iter().find(bites)
        {
            let (limit, members, role) = (budget.limit, budget.members.len(), &budget.role);
            let message =
                format!("max_unavailable: at most {limit} of the {members} nodes of {role} may be down at once");
            effects.push(Effect::Record(EventKind::Notice { message }));
        }
        self.begin_batch(index, &batch, effects);
    }

    /// Why a task is not gone on with, if that is so: its own limit, or an earlier task that was to be the last then.
    fn stop_of(&mut self, index: TaskIndex, task: &Task, waiting: &[usize]) -> Option<Failure> {
        if self.stopped.get(index).is_some_and(Option::is_none) && self.is_over_limit(index) {
            let spent = self.spent_before_limit(index, task, waiting);
            let failure = spent.unwrap_or_else(|| self.limit_failure(index, task));
            if let Some(stopped) = self.stopped.get_mut(index) {
                *stopped = Some(failure);
            }
        }
        let earlier = self.plan.tasks.iter().zip(&self.stopped).take(index.into());
        let earlier = earlier.filter(|(task, _)| !task.continue_on_failure).find_map(|(_, stopped)| stopped.clone());
        earlier.or_else(|| self.stopped.get(index).cloned().flatten())
    }

    /// Where the cap alone has made the batches, a spent cap is what keeps the others from being started: to allow more
    /// failures would not help them.
    fn spent_before_limit(&self, index: TaskIndex, task: &Task, waiting: &[usize]) -> Option<Failure> {
        let policy = &task.policy;
        if policy.max_failures.is_some() || policy.serial.is_some() || policy.asks_for_gate() || waiting.is_empty() {
            return None;
        }
        let budgets = self.budgets.get(index).map(Vec::as_slice).unwrap_or_default();
        if !next_batch(waiting, 1, budgets).is_empty() {
            return None;
        }
        let bites = |budget: &&DownBudget| waiting.iter().any(|node| budget.members.contains(node));
        let spent = budgets.iter().filter(bites).find(|budget| budget.down.len() >= budget.limit)?;
        Some(self.spent(spent, "no other node may go down"))
    }

    fn begin_batch(&mut self, index: StepIndex, batch: &[usize], effects: &mut Vec<Effect>) {
        self.batches += 1;
        self.begun = true;
        let number = self.batches;
        let batched = self.plan.steps.get(index).is_some_and(|step| self.is_batched(step.task));
        let role = self.plan.steps.get(index).and_then(|step| step.role.clone());
        let nodes = batch.iter().map(|node| results::node_name(self.plan, *node)).collect();
        let step = u32::try_from(usize::from(index)).unwrap_or(u32::MAX);
        effects.push(Effect::Record(EventKind::BatchStarted { batch: number, step, role, nodes }));
        self.waiting = batch
            .iter()
            .map(|node| WorkItem::Batch(NodeBatch { step: index, batch: number, node: *node, batched }))
            .collect();
        if let Some(step) = &mut self.step {
            step.waiting.retain(|node| !batch.contains(node));
            step.batches += 1;
            step.checked = false;
            step.paused = false;
        }
    }

    /// After the visits of a batch: the checks of the nodes on which all went well.
    fn check_batch(&mut self, effects: &mut Vec<Effect>) {
        let visits: Vec<NodeBatch> = self.held.keys().copied().collect();
        for node_batch in visits {
            let well = |results: &Vec<TargetResult>| {
                results.iter().all(|result| !result.outcome.is_bad())
                    && results.iter().any(|result| matches!(result.outcome, Outcome::Changed | Outcome::Ok))
            };
            if self.held.get(&node_batch).is_some_and(well) {
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

    /// Why no further batch of a task is started.
    fn limit_failure(&self, index: TaskIndex, task: &Task) -> Failure {
        let failed = self.failed.get(index).cloned().unwrap_or_default();
        let names: Vec<String> = failed.keys().map(|node| results::node_name(self.plan, *node)).collect();
        let set = NodeSet::from_names(names.iter().map(String::as_str));
        let limit = task.policy.failure_limit(self.is_batched(index));
        let noun = if failed.len() == 1 { "node" } else { "nodes" };
        let by_gate = failed.values().any(|kind| *kind == FailureKind::Gate);
        let kind = if by_gate { FailureKind::Gate } else { FailureKind::Limit };
        let message = match limit {
            FailureLimit::Nodes(0) | FailureLimit::Percent(0) => {
                format!("not started: {set} failed and no failures are allowed")
            }
            FailureLimit::Nodes(_) | FailureLimit::Percent(_) | FailureLimit::Unlimited => {
                format!("not started: {} {noun} failed ({set}), more than the limit of {limit}", failed.len())
            }
        };
        Failure::new(At::Plan, kind, message)
            .with_hint(format!("fix {set} first, or allow more failures with --max-failures"))
    }

    fn start(&mut self, item: WorkItem, effects: &mut Vec<Effect>) {
        if let WorkItem::Batch(node_batch) = item {
            let node = results::node_name(self.plan, node_batch.node);
            effects.push(Effect::Record(EventKind::NodeStarted { batch: node_batch.batch, node }));
        }
        self.running.insert(item, ItemProgress::default());
        effects.push(Effect::Start(item));
    }

    /// After a signal, or where nothing may begin: everything not begun is told as such.
    fn end_early(&mut self, failure: &Failure, effects: &mut Vec<Effect>) {
        for node_batch in self.held.keys().copied().collect::<Vec<_>>() {
            self.release(node_batch, None, effects);
        }
        self.give_all(StepIndex::default(), effects);
        let mut first = self.step_index;
        if let Some(step) = self.step.take() {
            self.not_begun(first, &step.waiting, failure, effects);
            first = first.next();
        }
        for (index, step) in self.plan.steps.indexed().skip(first.into()) {
            self.open_step(step, effects);
            let waiting = self.step.take().map(|step| step.waiting).unwrap_or_default();
            self.not_begun(index, &waiting, failure, effects);
        }
        self.stage = RunStage::Finished;
        effects.push(Effect::Finish);
    }

    fn not_begun(&mut self, step: StepIndex, nodes: &[usize], failure: &Failure, effects: &mut Vec<Effect>) {
        let task = self.plan.steps.get(step).map(|step| step.task);
        for node in nodes.iter().filter(|node| !self.lost.contains(node)) {
            for mut result in results::as_requested(self.plan, step, None, *node, Outcome::NotStarted) {
                let mistakes = task.and_then(|task| self.mistakes.get(&task));
                let mistake = mistakes.and_then(|own| own.get(result.service.as_deref()?)).cloned();
                if mistake.is_some() {
                    // The name is on no node, whatever the role.
                    (result.outcome, result.role) = (Outcome::Failed, None);
                }
                // Two tasks of a rollout may mean the same target: it is told once.
                if self.reported.insert((*node, TargetKey::of(&result))) {
                    result.failure = Some(mistake.unwrap_or_else(|| failure.clone()));
                    effects.push(Effect::Record(EventKind::Result(result)));
                }
            }
        }
    }

    /// Gives every target of an ended visit that has no result yet the one that is true of it. Whether one of them may
    /// be down.
    fn fill(
        &mut self,
        node_batch: NodeBatch,
        progress: &ItemProgress,
        end: &WorkItemEnd,
        effects: &mut Vec<Effect>,
    ) -> bool {
        let broken = matches!(end, WorkItemEnd::Broken);
        let mut missing = Vec::new();
        for key in progress.found.iter().filter(|key| !progress.ended.contains(key)) {
            let begun = progress.begun.contains(key);
            let outcome = if begun { Outcome::Unknown } else { Outcome::NotStarted };
            let mut result =
                results::of_node(self.plan, node_batch.step, Some(node_batch.batch), node_batch.node, outcome);
            result.role.clone_from(&key.role);
            result.supervisor.clone_from(&key.supervisor);
            result.service.clone_from(&key.service);
            result.failure = Some(if broken { defect() } else { given_up(begun) });
            missing.push(result);
        }
        if progress.found.is_empty() && progress.ended.is_empty() {
            let begun = !progress.begun.is_empty();
            let (outcome, failure) = match (broken, self.cancel) {
                (true, _) if begun => (Outcome::Unknown, Some(defect())),
                (false, Some(_)) if begun => (Outcome::Unknown, Some(given_up(true))),
                (true, _) => (Outcome::Failed, Some(defect())),
                (false, Some(_)) => (Outcome::NotStarted, Some(interrupted())),
                (false, None) => (Outcome::NotConfigured, None),
            };
            for mut result in
                results::as_requested(self.plan, node_batch.step, Some(node_batch.batch), node_batch.node, outcome)
            {
                if failure.is_none() {
                    result.message = "nothing to do on this node".to_owned();
                }
                result.failure.clone_from(&failure);
                missing.push(result);
            }
        }
        let misses = missing.iter().any(is_down);
        for result in missing {
            self.count(node_batch.step, node_batch.node, &result);
            if self.held.contains_key(&node_batch) {
                self.held.entry(node_batch).or_default().push(result);
            } else {
                effects.push(Effect::Record(EventKind::Result(result)));
            }
        }
        misses
    }
}

/// The pause before the next batch is made.
fn at_pause(step: &mut Option<AtStep>) {
    if let Some(step) = step {
        step.paused = true;
    }
}

/// Whether a result says that something is down.
fn is_down(result: &TargetResult) -> bool {
    let is_nowhere = result.failure.as_ref().is_some_and(|failure| failure.kind == FailureKind::NoSuchService);
    match result.state {
        Some(state) => state != ProcessState::Running && !result.has_ended_well(),
        None => result.outcome.is_bad() && !is_nowhere,
    }
}

fn interrupted() -> Failure {
    Failure::new(At::Plan, FailureKind::Interrupted, "not started: the run was interrupted")
}

fn given_up(begun: bool) -> Failure {
    let message = if begun { "stopped waiting for it to finish" } else { "not started: the run was interrupted" };
    let failure = Failure::new(At::Act, FailureKind::Interrupted, message);
    if begun { failure.with_hint("run `ctl status {service} -w {node}` to see its current state") } else { failure }
}

fn defect() -> Failure {
    Failure::new(At::Act, FailureKind::Protocol, "an internal error ended the work on this node")
        .with_hint("run `ctl status {service} -w {node}` to see its current state; please report this bug")
}
