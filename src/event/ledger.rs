//! The one fold from events to "now": which nodes are at work, which results there are, how many of what.
//!
//! Here live [`Ledger`] and [`Summary`]. They use nothing but this room's own types, do no I/O and know no clock: all
//! they know of time is in the events. What always holds: a target has at most one result in a batch, the first; the
//! order of [`Ledger::results`] does not depend on the order in which results came in; and a refused event changes
//! nothing. Start reading at [`Ledger::apply`].
//!
//! What the fold withstands: events that come twice, [`EventKind::Progress`] that is lost. It tells of a gap in the
//! numbers, and goes on. What it does not withstand: events out of order. A number below the highest one seen counts
//! as seen.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::sync::OnceLock;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::{CancelReason, Event, EventKind, Outcome, RunHead, TargetResult};

/// An event that does not fit what is known of the run.
///
/// [`Gap`](Self::Gap) apart, such an event has changed nothing.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LedgerError {
    /// Numbers are missing before this event; the event itself was applied.
    #[error("event {found} came where {expected} was due: those between are lost")]
    Gap {
        /// The number that was due.
        expected: u64,
        /// The number that came.
        found: u64,
    },
    /// The run has a head already.
    #[error("a second start, of run `{run}`")]
    SecondStart {
        /// Name of the run that the event speaks of.
        run: String,
    },
    /// The batch has begun already.
    #[error("a second start of batch {batch}")]
    SecondBatch {
        /// Number of the batch.
        batch: u32,
    },
    /// The target has a result in this batch already.
    #[error("a second result for `{}` of `{node}`", service.as_deref().unwrap_or("-"))]
    SecondResult {
        /// The node.
        node: String,
        /// Number of the batch.
        batch: Option<u32>,
        /// The supervisord instance.
        supervisor: Option<String>,
        /// The service.
        service: Option<String>,
    },
    /// All results of the node in this batch were said to be given.
    #[error("`{node}` had finished its batch when something more was told of it")]
    NodeWasFinished {
        /// The node.
        node: String,
        /// Number of the batch.
        batch: Option<u32>,
    },
    /// Nothing more was to happen.
    #[error("event {seq} came after the end of the run")]
    RunWasFinished {
        /// Number of the event.
        seq: u64,
    },
}

/// A batch as it was begun.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Batch {
    /// Its number, from 1 through the whole run.
    pub number: u32,
    /// The role whose step this is.
    pub role: Option<String>,
    /// Its nodes, in order.
    pub nodes: Vec<String>,
}

/// A node at work.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Running {
    /// Number of the batch.
    pub batch: u32,
    /// The node.
    pub node: String,
    /// What it is busy with; empty until it says so. Untrusted text: sinks make it safe.
    pub phase: String,
}

/// Facts folded into "now".
#[derive(Debug, Clone, Default)]
pub struct Ledger {
    head: Option<RunHead>,
    next_seq: u64,
    batches: Vec<Batch>,
    /// As they came; never taken out again.
    arrived: Vec<TargetResult>,
    /// The same in order of display, made when somebody asks.
    ordered: OnceLock<Vec<TargetResult>>,
    ended_targets: HashSet<TargetKey>,
    counts: BTreeMap<Outcome, u64>,
    running: Vec<Running>,
    finished_visits: HashSet<(u32, String)>,
    /// Visits begun or to come, of every node in a batch that has begun.
    due_visits: HashMap<String, u32>,
    finished_nodes: u64,
    cancel: Option<CancelReason>,
    elapsed: Duration,
    finished: bool,
}

/// What there is one result for.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct TargetKey {
    batch: Option<u32>,
    node: String,
    role: Option<String>,
    supervisor: Option<String>,
    service: Option<String>,
}

impl Ledger {
    /// Takes one event in. An event whose number was seen already is ignored.
    ///
    /// # Errors
    ///
    /// [`LedgerError::Gap`] if numbers are missing before it: then it is applied all the same. Every other error is
    /// the refusal of an event that does not fit: then nothing is changed, but its number counts as seen.
    pub fn apply(&mut self, event: &Event) -> Result<(), LedgerError> {
        if let EventKind::Progress { node, phase } = &event.kind {
            self.progress(node, phase);
            return Ok(());
        }
        if event.seq < self.next_seq {
            return Ok(());
        }
        let expected = self.next_seq;
        self.next_seq = event.seq.saturating_add(1);
        if self.finished {
            return Err(LedgerError::RunWasFinished { seq: event.seq });
        }
        self.fold(&event.kind)?;
        self.elapsed = match &event.kind {
            EventKind::RunFinished { elapsed_ms } => Duration::from_millis(*elapsed_ms),
            EventKind::RunStarted(_)
            | EventKind::BatchStarted { .. }
            | EventKind::NodeStarted { .. }
            | EventKind::Progress { .. }
            | EventKind::Result(_)
            | EventKind::NodeFinished { .. }
            | EventKind::CancelBegan { .. } => self.elapsed.max(event.elapsed),
        };
        if event.seq == expected { Ok(()) } else { Err(LedgerError::Gap { expected, found: event.seq }) }
    }

    /// What was asked of the run; none before it began.
    #[must_use]
    pub fn head(&self) -> Option<&RunHead> {
        self.head.as_ref()
    }

    /// The results so far, in order of batch, node as in its batch, supervisord, service.
    ///
    /// They are put in order when they are first asked for after a change: ask at the end rather than at each event.
    #[must_use]
    pub fn results(&self) -> &[TargetResult] {
        self.ordered.get_or_init(|| self.in_order())
    }

    /// Number of results so far.
    #[must_use]
    pub fn result_count(&self) -> u64 {
        self.counts.values().sum()
    }

    /// Number of results so far with this outcome.
    #[must_use]
    pub fn count(&self, outcome: Outcome) -> u64 {
        self.counts.get(&outcome).copied().unwrap_or(0)
    }

    /// The batch that was begun last.
    #[must_use]
    pub fn batch(&self) -> Option<&Batch> {
        self.batches.last()
    }

    /// Number of nodes that have finished every batch known to hold them. It falls when a batch begins that holds
    /// such a node again.
    #[must_use]
    pub fn finished_nodes(&self) -> u64 {
        self.finished_nodes
    }

    /// The nodes at work, those first that were started first.
    #[must_use]
    pub fn running(&self) -> &[Running] {
        &self.running
    }

    /// The most urgent reason for which the run is being given up, if it is.
    #[must_use]
    pub fn cancel(&self) -> Option<CancelReason> {
        self.cancel
    }

    /// Whether nothing more will happen.
    #[must_use]
    pub fn is_finished(&self) -> bool {
        self.finished
    }

    /// How long the run had taken at its last kept event; once it is finished, how long it took.
    #[must_use]
    pub fn elapsed(&self) -> Duration {
        self.elapsed
    }

    /// The results so far, counted.
    #[must_use]
    pub fn summary(&self) -> Summary {
        let mut worst: HashMap<&str, Outcome> = HashMap::new();
        for result in &self.arrived {
            let known = worst.entry(&result.node).or_insert(result.outcome);
            *known = result.outcome.max(*known);
        }
        let mut nodes_by_outcome = BTreeMap::new();
        for outcome in worst.values() {
            *nodes_by_outcome.entry(*outcome).or_insert(0) += 1;
        }
        Summary {
            nodes: count(worst.len()),
            results: self.result_count(),
            ok: self.count(Outcome::Ok),
            changed: self.count(Outcome::Changed),
            failed: self.count(Outcome::Failed),
            unreachable: self.count(Outcome::Unreachable),
            timed_out: self.count(Outcome::TimedOut),
            not_configured: self.count(Outcome::NotConfigured),
            skipped: self.count(Outcome::Skipped),
            not_started: self.count(Outcome::NotStarted),
            unknown: self.count(Outcome::Unknown),
            nodes_by_outcome,
        }
    }

    /// Checks first, then changes: an error leaves everything as it was.
    fn fold(&mut self, kind: &EventKind) -> Result<(), LedgerError> {
        match kind {
            EventKind::RunStarted(head) => {
                if self.head.is_some() {
                    return Err(LedgerError::SecondStart { run: head.run.clone() });
                }
                self.head = Some(head.clone());
            }
            EventKind::BatchStarted { batch, role, nodes } => {
                if self.batches.iter().any(|known| known.number == *batch) {
                    return Err(LedgerError::SecondBatch { batch: *batch });
                }
                self.begin_batch(Batch { number: *batch, role: role.clone(), nodes: nodes.clone() });
            }
            EventKind::NodeStarted { batch, node } => {
                self.refuse_finished(Some(*batch), node)?;
                if !self.running.iter().any(|running| running.batch == *batch && running.node == *node) {
                    self.running.push(Running { batch: *batch, node: node.clone(), phase: String::new() });
                }
            }
            EventKind::Progress { node, phase } => self.progress(node, phase),
            EventKind::Result(result) => self.take_result(result)?,
            EventKind::NodeFinished { batch, node } => {
                self.refuse_finished(Some(*batch), node)?;
                self.finish_visit(*batch, node);
            }
            EventKind::CancelBegan { reason } => self.cancel = self.cancel.max(Some(*reason)),
            EventKind::RunFinished { .. } => {
                self.finished = true;
                self.running.clear();
            }
        }
        Ok(())
    }

    fn begin_batch(&mut self, batch: Batch) {
        let distinct: BTreeSet<&String> = batch.nodes.iter().collect();
        for node in distinct {
            match self.due_visits.get_mut(node) {
                Some(due) => {
                    if *due == 0 {
                        self.finished_nodes = self.finished_nodes.saturating_sub(1);
                    }
                    *due += 1;
                }
                None => {
                    self.due_visits.insert(node.clone(), 1);
                }
            }
        }
        self.batches.push(batch);
    }

    fn finish_visit(&mut self, batch: u32, node: &str) {
        self.finished_visits.insert((batch, node.to_owned()));
        self.running.retain(|running| running.batch != batch || running.node != node);
        match self.due_visits.get_mut(node) {
            // A visit that no batch announced: as good as any other.
            None => {
                self.due_visits.insert(node.to_owned(), 0);
                self.finished_nodes += 1;
            }
            Some(0) => {}
            Some(due) => {
                *due -= 1;
                if *due == 0 {
                    self.finished_nodes += 1;
                }
            }
        }
    }

    fn take_result(&mut self, result: &TargetResult) -> Result<(), LedgerError> {
        self.refuse_finished(result.batch, &result.node)?;
        let key = TargetKey {
            batch: result.batch,
            node: result.node.clone(),
            role: result.role.clone(),
            supervisor: result.supervisor.clone(),
            service: result.service.clone(),
        };
        if !self.ended_targets.insert(key) {
            return Err(LedgerError::SecondResult {
                node: result.node.clone(),
                batch: result.batch,
                supervisor: result.supervisor.clone(),
                service: result.service.clone(),
            });
        }
        *self.counts.entry(result.outcome).or_insert(0) += 1;
        self.ordered = OnceLock::new();
        self.arrived.push(result.clone());
        Ok(())
    }

    /// A result without a batch is taken for one of the batch that was begun last.
    fn refuse_finished(&self, batch: Option<u32>, node: &str) -> Result<(), LedgerError> {
        let finished = batch
            .or_else(|| self.batch().map(|batch| batch.number))
            .is_some_and(|batch| self.finished_visits.contains(&(batch, node.to_owned())));
        if finished { Err(LedgerError::NodeWasFinished { node: node.to_owned(), batch }) } else { Ok(()) }
    }

    fn progress(&mut self, node: &str, phase: &str) {
        for running in self.running.iter_mut().filter(|running| running.node == node) {
            phase.clone_into(&mut running.phase);
        }
    }

    fn in_order(&self) -> Vec<TargetResult> {
        let mut places: HashMap<(u32, &str), usize> = HashMap::new();
        for batch in &self.batches {
            for (place, node) in batch.nodes.iter().enumerate() {
                places.entry((batch.number, node)).or_insert(place);
            }
        }
        let mut keyed: Vec<_> = self
            .arrived
            .iter()
            .map(|result| {
                let batch = result.batch.unwrap_or(u32::MAX);
                let place = places.get(&(batch, result.node.as_str())).copied().unwrap_or(usize::MAX);
                let target = (&result.node, &result.supervisor, &result.service, &result.role);
                ((batch, place, target), result)
            })
            .collect();
        keyed.sort_by_key(|(key, _)| *key);
        keyed.into_iter().map(|(_, result)| result.clone()).collect()
    }
}

fn count(length: usize) -> u64 {
    u64::try_from(length).unwrap_or(u64::MAX)
}

/// Results, counted: the `summary` of the JSON output, in its order.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Summary {
    /// Number of nodes that have results.
    pub nodes: u64,
    /// Number of results.
    pub results: u64,
    /// Results with [`Outcome::Ok`].
    pub ok: u64,
    /// Results with [`Outcome::Changed`].
    pub changed: u64,
    /// Results with [`Outcome::Failed`].
    pub failed: u64,
    /// Results with [`Outcome::Unreachable`].
    pub unreachable: u64,
    /// Results with [`Outcome::TimedOut`].
    pub timed_out: u64,
    /// Results with [`Outcome::NotConfigured`].
    pub not_configured: u64,
    /// Results with [`Outcome::Skipped`].
    pub skipped: u64,
    /// Results with [`Outcome::NotStarted`].
    pub not_started: u64,
    /// Results with [`Outcome::Unknown`].
    pub unknown: u64,
    /// Number of nodes under each outcome that is the worst of at least one node.
    pub nodes_by_outcome: BTreeMap<Outcome, u64>,
}

impl Summary {
    /// Number of results with this outcome.
    #[must_use]
    pub const fn count(&self, outcome: Outcome) -> u64 {
        match outcome {
            Outcome::NotConfigured => self.not_configured,
            Outcome::Ok => self.ok,
            Outcome::Changed => self.changed,
            Outcome::Skipped => self.skipped,
            Outcome::NotStarted => self.not_started,
            Outcome::Unreachable => self.unreachable,
            Outcome::TimedOut => self.timed_out,
            Outcome::Failed => self.failed,
            Outcome::Unknown => self.unknown,
        }
    }
}
