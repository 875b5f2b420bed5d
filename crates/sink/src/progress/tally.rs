//! Counts finished nodes, batches and steps, with their totals.
//!
//! Pure. Invariants: a node counts once, whatever the number of its services and batches; a finished node stays
//! finished, so that the display never goes backwards.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use ctl_event::{EventKind, Outcome, RunHead, TargetResult};

/// The parts of a run that are known before it starts.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct RunOutline {
    /// Its steps, in the order of [`EventKind::BatchStarted`]'s `step`.
    pub steps: Vec<OutlineStep>,
}

/// One step of a [`RunOutline`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OutlineStep {
    /// Index of its task; a rollout has several.
    pub task: usize,
    /// The task's name in the rollout.
    pub name: Option<String>,
    /// The nodes that it visits.
    pub nodes: Vec<String>,
    /// The number of batches if nothing fails.
    pub batches: usize,
}

/// The position of one item in a sequence.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct RunPosition {
    /// Counted from 1.
    pub(super) number: usize,
    /// The total; `None` if unknown.
    pub(super) of: Option<usize>,
    /// The role of a batch, or the name of a step. Untrusted text.
    pub(super) name: Option<String>,
}

/// A batch that has started.
#[derive(Debug, Clone)]
struct CurrentBatch {
    number: usize,
    step: usize,
    role: Option<String>,
}

/// The progress of a run.
#[derive(Debug, Default)]
pub(super) struct RunTally {
    outline: RunOutline,
    nodes: u64,
    visits_left: HashMap<String, usize>,
    finished: BTreeSet<String>,
    worst: BTreeMap<String, Outcome>,
    batch: Option<CurrentBatch>,
    /// Number of the first batch of this controller; not 1 if the run is resumed.
    first: usize,
    /// Batches started, by step.
    started: BTreeMap<usize, usize>,
    /// Nodes whose batch has started, by step.
    taken: BTreeMap<usize, BTreeSet<String>>,
    is_stopping: bool,
}

impl RunTally {
    pub(super) fn new(outline: RunOutline) -> Self {
        let mut visits_left = HashMap::new();
        for node in outline.steps.iter().flat_map(|step| &step.nodes) {
            *visits_left.entry(node.clone()).or_insert(0) += 1;
        }
        Self { outline, visits_left, ..Self::default() }
    }

    pub(super) fn apply(&mut self, kind: &EventKind) {
        match kind {
            EventKind::RunStarted(RunHead { nodes, .. }) => self.nodes = u64::from(*nodes),
            EventKind::BatchStarted { batch, step, role, nodes, .. } => {
                self.start_batch(*batch, *step, role.clone(), nodes);
            }
            EventKind::Result(result) => self.take(result),
            EventKind::NodeFinished { node, .. } => self.finish_visit(node),
            EventKind::CancelBegan { .. } => self.is_stopping = true,
            EventKind::NodeStarted { .. }
            | EventKind::Inspected { .. }
            | EventKind::NodeFacts(_)
            | EventKind::Item(_)
            | EventKind::LogLines(_)
            | EventKind::PendingUpdate(_)
            | EventKind::Notice { .. }
            | EventKind::Gate { .. }
            | EventKind::Progress { .. }
            | EventKind::RunFinished { .. } => {}
        }
    }

    fn start_batch(&mut self, batch: u32, step: u32, role: Option<String>, nodes: &[String]) {
        let (number, step) =
            (usize::try_from(batch).unwrap_or(usize::MAX), usize::try_from(step).unwrap_or(usize::MAX));
        // The first batch of this controller: a resumed run continues the numbers of its predecessor.
        if self.batch.is_none() {
            self.first = number;
        }
        *self.started.entry(step).or_insert(0) += 1;
        self.taken.entry(step).or_default().extend(nodes.iter().cloned());
        self.batch = Some(CurrentBatch { number, step, role });
    }

    fn take(&mut self, result: &TargetResult) {
        let worst = self.worst.entry(result.node.clone()).or_insert(result.outcome);
        *worst = result.outcome.max(*worst);
        // Nothing more arrives for a node without a visit, or for one that the run finished before it was resumed.
        if result.batch.is_none() || !self.visits_left.contains_key(&result.node) && !self.outline.steps.is_empty() {
            self.finished.insert(result.node.clone());
        }
    }

    fn finish_visit(&mut self, node: &str) {
        let left = self.visits_left.get_mut(node).map_or(0, |left| {
            *left = left.saturating_sub(1);
            *left
        });
        if left == 0 {
            self.finished.insert(node.to_owned());
        }
    }

    pub(super) fn nodes(&self) -> u64 {
        self.nodes
    }

    pub(super) fn finished(&self) -> u64 {
        u64::try_from(self.finished.len()).unwrap_or(u64::MAX).min(self.nodes)
    }

    pub(super) fn is_stopping(&self) -> bool {
        self.is_stopping
    }

    /// Nodes by their worst outcome, worst first: finished nodes, and nodes with a failure.
    pub(super) fn outcomes(&self) -> Vec<(Outcome, usize)> {
        let mut counts: BTreeMap<Outcome, usize> = BTreeMap::new();
        for (node, outcome) in &self.worst {
            // Show failures at once, but successes only when the node is done: a later service may still fail.
            if *outcome != Outcome::NotConfigured && (outcome.is_bad() || self.finished.contains(node)) {
                *counts.entry(*outcome).or_insert(0) += 1;
            }
        }
        counts.into_iter().rev().collect()
    }

    /// The batch that started last, and the expected total.
    pub(super) fn batch(&self) -> Option<RunPosition> {
        let batch = self.batch.as_ref()?;
        let of = self.batches(batch);
        Some(RunPosition { number: batch.number, of, name: batch.role.clone() })
    }

    fn batches(&self, current: &CurrentBatch) -> Option<usize> {
        if self.outline.steps.is_empty() {
            return None;
        }
        let started = |step: &usize| self.started.get(step).copied().unwrap_or_default();
        let of_step = |(index, step): (usize, &OutlineStep)| match index.cmp(&current.step) {
            // Past steps are exact, later ones are the plan's estimate.
            std::cmp::Ordering::Less => started(&index),
            std::cmp::Ordering::Greater => step.batches,
            std::cmp::Ordering::Equal => {
                let taken = self.taken.get(&index);
                let waits = |node: &&String| {
                    !taken.is_some_and(|taken| taken.contains(*node)) && !self.finished.contains(*node)
                };
                let is_last = !step.nodes.iter().any(|node| waits(&node));
                // Failures can split a step further than planned: while nodes wait, there is at least one more batch.
                if is_last { started(&index) } else { step.batches.max(started(&index) + 1) }
            }
        };
        let here: usize = self.outline.steps.iter().enumerate().map(of_step).sum();
        Some((self.first.saturating_sub(1) + here).max(current.number))
    }

    /// The current step of a rollout; `None` if there is only one.
    pub(super) fn step(&self) -> Option<RunPosition> {
        let tasks = self.outline.steps.iter().map(|step| step.task + 1).max().filter(|tasks| *tasks > 1)?;
        let step = self.outline.steps.get(self.batch.as_ref()?.step)?;
        Some(RunPosition { number: step.task + 1, of: Some(tasks), name: step.name.clone() })
    }
}
