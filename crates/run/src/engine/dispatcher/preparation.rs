//! Before the first change: every node is connected to, locked and read, and work that must not start is refused.
//!
//! Part of the dispatcher. Invariants: a stage starts only when every work item of the one before it has ended;
//! nothing is changed before all of them are over.

use std::collections::{BTreeSet, HashSet};

use super::{Dispatcher, RunStage};
use crate::engine::effect::Effect;
use crate::engine::message::{NodeInspection, WorkItem, WorkItemEnd};
use crate::engine::missing_results::defect;
use crate::results;
use ctl_event::{EventKind, Failure, Outcome};
use ctl_plan::{ItemWork, Sequence, ServiceVerb, StepIndex, TaskIndex};

impl Dispatcher<'_> {
    /// All work items of a stage have ended: the next stage.
    pub(super) fn next_preparation(&mut self, effects: &mut Vec<Effect>) {
        match self.stage {
            RunStage::Begin if self.plan.changes() => {
                self.stage = RunStage::Connect;
                // Before the first change every node is connected to that is to be changed, or counts towards a cap.
                let capped: HashSet<usize> =
                    self.plan.caps.iter().flat_map(|cap| cap.members.iter().copied()).collect();
                let all = 0..self.plan.nodes.len();
                let is_used = |node: &usize| capped.contains(node) || self.helpers.contains(node);
                let all = all.filter(|node| is_used(node) || self.is_to_be_changed(*node));
                self.waiting = all.map(WorkItem::Connect).collect();
            }
            RunStage::Begin => self.stage = RunStage::Steps,
            // If too many cannot be reached, nothing is locked or read for nothing.
            RunStage::Connect if self.is_hopeless() => self.stage = RunStage::Steps,
            RunStage::Connect => {
                self.stage = RunStage::LockFirst;
                // One lock alone: of two runs that start at once one gets it, and the other holds no lock meanwhile.
                self.waiting = self.by_name().first().map(|node| WorkItem::Lock(*node)).into_iter().collect();
            }
            RunStage::LockFirst => {
                self.stage = RunStage::LockRest;
                self.waiting = self.by_name().into_iter().skip(1).map(WorkItem::Lock).collect();
            }
            RunStage::LockRest => {
                // All locks are taken, so no node is shown as waited for any more.
                let waited_for = std::mem::take(&mut self.lock_waits);
                self.show_idle(waited_for, effects);
                if self.step_index == StepIndex::default() {
                    self.stage = RunStage::Inspect;
                    let nodes = self.connected.iter().copied().filter(|node| self.is_read_first(*node));
                    self.waiting = nodes.map(WorkItem::Inspect).collect();
                } else {
                    // A lock was lost between two tasks: the run continues where it was.
                    self.inspect_again();
                }
            }
            RunStage::Inspect | RunStage::InspectAgain => {
                // Names and stops are checked once; later readings only serve the caps.
                if self.stage == RunStage::Inspect {
                    self.refuse_mistakes(effects);
                    if self.halted.is_none() {
                        self.refuse_stops(effects);
                    }
                }
                self.outdated = false;
                self.stage = RunStage::Steps;
            }
            RunStage::Steps | RunStage::Finished => {}
        }
    }

    /// The end of a work item that comes before the first change.
    pub(super) fn prepared(&mut self, item: WorkItem, node: usize, end: WorkItemEnd, effects: &mut Vec<Effect>) {
        match (end, item) {
            (WorkItemEnd::Inspected(inspection), _) => self.inspected(node, inspection, effects),
            (WorkItemEnd::Held(failure, again), _) => {
                // Waiting for the other locks is pointless if one of them will not become free soon.
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
        self.lose_helper(node, failure);
        if self.is_only_helper(node) {
            return;
        }
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
        self.limits.mark_down(node);
        self.lose_helper(node, failure);
        self.lose(node, self.task_at_hand(), outcome, failure, effects);
    }

    fn inspected(&mut self, node: usize, inspection: NodeInspection, effects: &mut Vec<Effect>) {
        self.limits.note_inspected(node, &inspection);
        // A node that is only watched is read for its caps alone.
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

    /// A name that no selected node has is a mistake, and nothing is changed.
    fn refuse_mistakes(&mut self, effects: &mut Vec<Effect>) {
        for task in self.plan.tasks.indexes() {
            self.say_missing(task, effects);
            let mistakes = self.names.mistakes(task);
            if let Some(failure) = mistakes.values().next() {
                let message = format!("not started: {}", failure.message);
                let why = Failure { message, ..failure.clone() };
                // The first reason found is the one that is shown.
                self.halted.get_or_insert(why);
                self.mistakes.insert(task, mistakes);
            }
        }
    }

    /// Whether a task changes the node itself: none changes one in maintenance.
    fn is_to_be_changed(&self, node: usize) -> bool {
        self.plan.is_selected(node) && !self.rests(node) && self.plan.is_needed(node)
    }

    /// The nodes that are connected to, by name; those whose locks several runs may share come last.
    fn by_name(&self) -> Vec<usize> {
        // The same order in every run, so that two runs compete for the same first lock.
        let mut nodes: Vec<usize> = self.connected.iter().copied().collect();
        nodes.sort_by_cached_key(|node| (self.is_only_helper(*node), results::node_name(self.plan, *node)));
        nodes
    }

    /// Whether items of other nodes run on the node, and nothing else is done with it.
    fn is_only_helper(&self, node: usize) -> bool {
        self.helpers.contains(&node) && self.plan.only_helps(node)
    }

    /// Whether the state of the node is read before the first change: of a helper, only if services are changed there.
    fn is_read_first(&self, node: usize) -> bool {
        let mut items = self.plan.tasks.iter().filter_map(|task| task.work.sequence()).flat_map(Sequence::items);
        !self.is_only_helper(node)
            || items.any(|item| {
                item.place.helper().is_some()
                    && matches!(item.work, ItemWork::Service { .. })
                    && self.plan.place_of(item, node) == Some(node)
            })
    }

    /// No item of another node can run on the node.
    fn lose_helper(&mut self, node: usize, failure: &Failure) {
        if self.helpers.contains(&node) {
            self.lost_helpers.entry(node).or_insert_with(|| failure.clone());
        }
    }

    /// Why a node must not begin its sequence in a step: an item that is left of it would have to run on a helper that is
    /// lost. What only has to be taken back is tried all the same.
    pub(super) fn missing_helper(&self, step: StepIndex, node: usize) -> Option<Failure> {
        let task = self.task(step)?;
        let done = task.progress.get(&results::node_name(self.plan, node)).map(|progress| &progress.done);
        let items = task.work.sequence()?.items().iter().enumerate();
        let mut left =
            items.filter(|(item, own)| own.place.helper().is_some() && done.is_none_or(|done| !done.contains(item)));
        left.find_map(|(_, item)| {
            let failure = self.lost_helpers.get(&self.plan.place_of(item, node)?)?;
            let message =
                format!("not started: {} is to run on {}: {}", item.name, item.place.as_str(), failure.message);
            Some(Failure { message, ..failure.clone() })
        })
    }

    /// Whether nothing of the plan will be started.
    fn is_hopeless(&self) -> bool {
        let continue_on_failure = self.plan.tasks.first().is_none_or(|task| task.continue_on_failure);
        let is_left = |node: usize| {
            let can_start = self.connected.contains(&node) || !self.plan.is_needed(node);
            can_start && self.plan.is_selected(node) && !self.lost.contains(&node)
        };
        !(0..self.plan.selected).any(is_left)
            || (self.limits.is_over_limit(TaskIndex::default()) && !continue_on_failure)
    }

    /// A stop that takes more of a role down than its cap allows is refused as a whole, before anything is changed.
    fn refuse_stops(&mut self, effects: &mut Vec<Effect>) {
        let stops = self.plan.tasks.indexed().filter(|(_, task)| task.work.verb() == Some(ServiceVerb::Stop));
        for (index, _) in stops {
            // Nodes that are lost or in maintenance are not stopped, and leave the role as it is.
            let selected: BTreeSet<usize> = self
                .plan
                .steps
                .iter()
                .filter(|step| step.task == index)
                .flat_map(|step| step.nodes.iter().copied())
                .filter(|node| !self.lost.contains(node) && !self.rests(*node))
                .collect();
            if let Some(failure) = self.limits.refusal_of_stop(index, &selected) {
                let message = failure.message.clone();
                self.halted.get_or_insert(failure);
                effects.push(Effect::Record(EventKind::Notice { message }));
            }
        }
    }

    /// Reads the nodes of the capped roles of the next step's task again.
    pub(super) fn inspect_again(&mut self) {
        self.stage = RunStage::InspectAgain;
        let task = self.task_at_hand();
        let members: BTreeSet<usize> =
            self.plan.caps.iter().filter(|cap| cap.task == task).flat_map(|cap| cap.members.clone()).collect();
        self.waiting = members.intersection(&self.connected).copied().map(WorkItem::Inspect).collect();
    }
}
