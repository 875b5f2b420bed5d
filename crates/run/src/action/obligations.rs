//! The obligations of this run to the targets of a node, and which results were reported.
//!
//! Here live [`Obligation`], the [`JobTable`] of a batch on one node, and the [`TargetContext`] through which an action
//! says what it is about to send. Invariants: an obligation is noted, the guard armed, and the dispatcher
//! notified before anything is sent; the table outlives the work, which may be dropped at any point. Start reading at
//! [`TargetContext::set_obligation`].

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;
use tracing::debug;

use crate::action::job::NodeJob;
use crate::action::rehearsal;
use crate::engine::message::{NodeBatch, TargetKey, WorkItem, WorkerUpdate};
use crate::node::context::NodeContext;
use ctl_event::{ActivityPhase, Failure, FailureKind, ProcessState, TargetResult};
use ctl_guard::{Guard, Rescue};
use ctl_transport::Transport;

/// The debt of this run to a target, should the work on it end early.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum Obligation {
    /// Nothing was sent.
    #[default]
    None,
    /// Something was sent; nothing is owed.
    Sent,
    /// A stop was sent that a start must follow.
    MustStart,
}

/// The jobs of a batch on a node, their obligations, and which were reported.
pub(crate) struct JobTable<T: Transport> {
    jobs: Mutex<Vec<Arc<NodeJob<T>>>>,
    entries: Mutex<BTreeMap<TargetKey, JobState>>,
    /// Jobs to do once more, over another connection.
    put_off: Mutex<Vec<Arc<NodeJob<T>>>>,
}

/// The state of a job.
#[derive(Debug, Default, Clone)]
pub(crate) struct JobState {
    /// The obligation.
    pub(crate) obligation: Obligation,
    /// Its result has been given.
    pub(crate) is_reported: bool,
    /// When it was started.
    pub(crate) since: Option<Instant>,
    /// Its results, where they are certain and only wait for evidence.
    pub(crate) settled: Vec<TargetResult>,
    /// The guard is being armed for it.
    pub(crate) arming: bool,
    /// The numbers of the rescues that the guard on the node runs for it.
    armed: Vec<u64>,
    /// It is done once more, over another connection.
    is_repeated: bool,
}

impl JobState {
    /// Whether the guard on the node starts something again for it.
    pub(crate) fn is_armed(&self) -> bool {
        !self.armed.is_empty()
    }
}

impl<T: Transport> Default for JobTable<T> {
    fn default() -> Self {
        Self { jobs: Mutex::default(), entries: Mutex::default(), put_off: Mutex::default() }
    }
}

impl<T: Transport> JobTable<T> {
    /// Notes the jobs of the batch.
    pub(crate) fn open(&self, jobs: &[Arc<NodeJob<T>>]) {
        self.jobs.lock().unwrap_or_else(PoisonError::into_inner).extend_from_slice(jobs);
    }

    /// All jobs of the batch.
    pub(crate) fn jobs(&self) -> Vec<Arc<NodeJob<T>>> {
        self.jobs.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Whether the guard is to start something again.
    pub(crate) fn is_armed(&self) -> bool {
        self.entries.lock().unwrap_or_else(PoisonError::into_inner).values().any(JobState::is_armed)
    }

    /// Notes whether the guard is being armed for it.
    fn note_arming(&self, key: &TargetKey, arming: bool) {
        self.entries.lock().unwrap_or_else(PoisonError::into_inner).entry(key.clone()).or_default().arming = arming;
    }

    /// Notes that the guard is armed for it.
    fn arm(&self, key: &TargetKey, number: u64) {
        let mut entries = self.entries.lock().unwrap_or_else(PoisonError::into_inner);
        entries.entry(key.clone()).or_default().armed.push(number);
    }

    /// Takes back all that the guard is armed with for it.
    fn disarm(&self, key: &TargetKey) -> Vec<u64> {
        let mut entries = self.entries.lock().unwrap_or_else(PoisonError::into_inner);
        entries.get_mut(key).map(|entry| std::mem::take(&mut entry.armed)).unwrap_or_default()
    }

    /// Whether to do a job once more that ended like this: the connection was lost before anything was sent for it. True
    /// only once for each job.
    pub(crate) fn is_to_be_repeated(&self, key: &TargetKey, results: &[TargetResult]) -> bool {
        let is_lost = |result: &TargetResult| {
            result.failure.as_ref().is_some_and(|failure| failure.kind == FailureKind::ConnectionLost)
        };
        let mut entries = self.entries.lock().unwrap_or_else(PoisonError::into_inner);
        let entry = entries.entry(key.clone()).or_default();
        // `since` is set before anything is sent: without it nothing was, and a second attempt repeats nothing.
        if entry.is_repeated || entry.since.is_some() || results.is_empty() || !results.iter().all(is_lost) {
            return false;
        }
        entry.is_repeated = true;
        true
    }

    /// Puts off a job that is to be repeated, and the jobs after it.
    pub(crate) fn put_off<'a>(&self, jobs: impl Iterator<Item = &'a Arc<NodeJob<T>>>)
    where
        T: 'a,
    {
        self.put_off.lock().unwrap_or_else(PoisonError::into_inner).extend(jobs.map(Arc::clone));
    }

    /// The jobs put off so far, which are no longer put off after this.
    pub(crate) fn take_put_off(&self) -> Vec<Arc<NodeJob<T>>> {
        std::mem::take(&mut self.put_off.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Sets the obligation from now on.
    fn set_obligation(&self, key: &TargetKey, obligation: Obligation) {
        let mut entries = self.entries.lock().unwrap_or_else(PoisonError::into_inner);
        let entry = entries.entry(key.clone()).or_default();
        entry.obligation = obligation;
        // The first obligation marks the start of the work; later ones do not move it.
        entry.since.get_or_insert_with(Instant::now);
    }

    /// Notes results that are certain: they stand, whether or not their evidence arrives.
    pub(crate) fn finalize(&self, key: &TargetKey, results: Vec<TargetResult>) {
        self.entries.lock().unwrap_or_else(PoisonError::into_inner).entry(key.clone()).or_default().settled = results;
    }

    /// Notes that a result was given.
    pub(crate) fn mark_reported(&self, key: &TargetKey) {
        self.entries.lock().unwrap_or_else(PoisonError::into_inner).entry(key.clone()).or_default().is_reported = true;
    }

    /// The state of a job.
    pub(crate) fn entry(&self, key: &TargetKey) -> JobState {
        self.entries.lock().unwrap_or_else(PoisonError::into_inner).get(key).cloned().unwrap_or_default()
    }
}

/// One target of an action: its obligation, and the guard on the node that fulfils it if this run cannot.
pub(crate) struct TargetContext<'a, T: Transport> {
    pub(crate) node: &'a NodeContext<T>,
    pub(crate) table: &'a JobTable<T>,
    pub(crate) key: TargetKey,
    pub(crate) node_batch: NodeBatch,
    /// None where the operator does without.
    pub(crate) guard: Option<&'a Guard>,
    /// Whether the operator does without where it would not work.
    pub(crate) guard_is_optional: bool,
    /// When the work on it began, and how long it may take.
    pub(crate) time: (Instant, Duration),
}

impl<T: Transport> TargetContext<'_, T> {
    /// Sets the obligation from now on. Once this has returned, the guard sends a start that is still owed when this run
    /// comes to an end; `rescue` says how.
    ///
    /// An error says that the guard could not be armed: then nothing may be stopped.
    pub(crate) async fn set_obligation(&self, obligation: Obligation, rescue: Option<Rescue>) -> Result<(), Failure> {
        match (obligation, rescue, self.guard) {
            (Obligation::MustStart, Some(rescue), Some(guard)) => {
                let name = self.key.service.as_deref().unwrap_or("it");
                self.phase(self.work(format!("setting the guard for {name}"))).await;
                // An early end while the guard does not answer can say that nothing was stopped.
                self.table.note_arming(&self.key, true);
                let armed = rehearsal::arm(guard, &rescue).await;
                self.table.note_arming(&self.key, false);
                match armed {
                    Ok(number) => self.table.arm(&self.key, number),
                    Err(failure) if self.guard_is_optional => debug!(failure.message, "continuing without its guard"),
                    // Nothing was sent and nothing is noted: the target is as it was.
                    Err(failure) => return Err(failure),
                }
                self.phase(self.work(format!("restarting {name}"))).await;
            }
            // Without a guard or a rescue this run alone owes the start.
            (Obligation::MustStart, _, _) => {}
            (Obligation::Sent | Obligation::None, _, guard) => {
                // Only after the process is known to be up, or nothing was stopped at all.
                for number in self.table.disarm(&self.key) {
                    if let Some(guard) = guard {
                        guard.disarm(number).await;
                    }
                }
            }
        }
        // After the guard is armed and before anything is sent. Dropped in between, an armed guard starts a process that
        // runs, which does nothing.
        self.table.set_obligation(&self.key, obligation);
        if obligation != Obligation::None {
            self.send(WorkerUpdate::Begun(self.key.clone())).await;
        }
        Ok(())
    }

    /// Records the condition that a gate waits for, or whether it was met.
    pub(crate) async fn gate(&self, met: Option<bool>, waiting_for: impl Into<String>) {
        self.send(WorkerUpdate::Gate { service: self.key.service.clone(), met, waiting_for: waiting_for.into() }).await;
    }

    /// Something that is done for it, within its time.
    fn work(&self, what: String) -> ActivityPhase {
        let (began, limit) = self.time;
        ActivityPhase::work(what).within(began.elapsed(), limit)
    }

    /// The same while the process is in a state that has lasted for so long.
    pub(crate) fn work_in_state(&self, what: String, state: ProcessState, lasts: Duration) -> ActivityPhase {
        let (began, limit) = self.time;
        // The phase counts from the beginning of the state, the limit from the beginning of the work.
        let left = limit.saturating_sub(began.elapsed());
        ActivityPhase { limit: Some(lasts + left), ..ActivityPhase::work(what).in_state(state.as_str(), lasts) }
    }

    /// Shows a phase.
    pub(crate) async fn phase(&self, phase: ActivityPhase) {
        self.send(WorkerUpdate::Phase(phase)).await;
    }

    /// Whether the waiting at gates is to end: a signal came.
    pub(crate) fn waits_no_more(&self) -> bool {
        let signals = &self.node.signals;
        // The next item of a sequence relies on the gate, and a sequence that has started goes on after a first signal.
        *if self.node.is_of_item() { &signals.give_up } else { &signals.stop_waiting }.borrow()
    }

    async fn send(&self, update: WorkerUpdate) {
        self.node.send(WorkItem::Batch(self.node_batch), update).await;
    }
}
