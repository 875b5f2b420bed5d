//! One thing to do on a node, and the book of what is owed and told.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::{mpsc, watch};
use tokio::time::Instant;
use tracing::debug;

use super::connection::LiveInstance;
use super::message::{NodeBatch, TargetKey, WorkItem, WorkerMessage, WorkerUpdate};
use super::process::Obligation;
use super::rehearsal;
use super::results::ResultBuilder;
use crate::event::{ActivityPhase, Failure, FailureKind, Outcome, ProcessState, TargetResult};
use crate::guard::{Guard, Rescue};
use crate::inventory::Role;
use crate::supervisor::ProcessInfo;
use crate::transport::Transport;

/// One thing to do.
pub(super) enum NodeJob<T: Transport> {
    /// The action on a process.
    Process { instance: Arc<LiveInstance<T>>, process: ProcessInfo },
    /// The action on a service that init runs. `named`: it was typed itself, not matched by a glob.
    Init { role: Arc<Role>, service: String, is_instance: bool, named: bool },
    /// Rereading the configuration of a role's instances; which groups that concerns is known only then.
    Update { role: Arc<Role>, instances: Vec<Arc<LiveInstance<T>>> },
}

impl<T: Transport> NodeJob<T> {
    /// Whose result it will have.
    pub(super) fn key(&self) -> TargetKey {
        match self {
            Self::Process { instance, process } => TargetKey {
                role: Some(instance.role.name.clone()),
                supervisor: Some(instance.supervisor.name.clone()),
                service: Some(process.full_name()),
            },
            Self::Init { role, service, is_instance, .. } => TargetKey {
                role: Some(role.name.clone()),
                supervisor: is_instance.then(|| service.clone()),
                service: Some(service.clone()),
            },
            Self::Update { role, .. } => TargetKey { role: Some(role.name.clone()), supervisor: None, service: None },
        }
    }

    /// A result for it of which nothing is known but its outcome.
    pub(super) fn result(&self, rows: &ResultBuilder, node_batch: NodeBatch, outcome: Outcome) -> TargetResult {
        let result = match self {
            Self::Process { instance, .. } => rows.of(node_batch, instance, outcome),
            Self::Init { .. } | Self::Update { .. } => rows.empty(node_batch, outcome),
        };
        let TargetKey { role, supervisor, service } = self.key();
        TargetResult { role, supervisor, service, ..result }
    }

    /// What is restarted one after the other: the processes of a group.
    pub(super) fn group(&self) -> Option<(&str, &str)> {
        match self {
            Self::Process { instance, process } => Some((&instance.supervisor.name, &process.group)),
            Self::Init { .. } | Self::Update { .. } => None,
        }
    }
}

/// The jobs of a visit, what is owed for each, and which have been told of.
pub(super) struct JobTable<T: Transport> {
    jobs: Mutex<Vec<Arc<NodeJob<T>>>>,
    entries: Mutex<BTreeMap<TargetKey, JobState>>,
    /// Jobs to do once more, over another connection.
    put_off: Mutex<Vec<Arc<NodeJob<T>>>>,
}

/// What is known of a job.
#[derive(Debug, Default, Clone)]
pub(super) struct JobState {
    /// What is owed.
    pub(super) obligation: Obligation,
    /// Its result has been given.
    pub(super) is_reported: bool,
    /// When it was begun.
    pub(super) since: Option<Instant>,
    /// Its results, where they are certain and only wait for evidence.
    pub(super) settled: Vec<TargetResult>,
    /// The guard is being armed for it.
    pub(super) arming: bool,
    /// What the guard on the node starts again for it.
    armed: Vec<u64>,
    /// It is done once more, over another connection.
    is_repeated: bool,
}

impl JobState {
    /// Whether the guard on the node starts something again for it.
    pub(super) fn is_armed(&self) -> bool {
        !self.armed.is_empty()
    }
}

impl<T: Transport> Default for JobTable<T> {
    fn default() -> Self {
        Self { jobs: Mutex::default(), entries: Mutex::default(), put_off: Mutex::default() }
    }
}

impl<T: Transport> JobTable<T> {
    /// Notes the jobs of the visit.
    pub(super) fn open(&self, jobs: &[Arc<NodeJob<T>>]) {
        self.jobs.lock().unwrap_or_else(PoisonError::into_inner).extend_from_slice(jobs);
    }

    /// All jobs of the visit.
    pub(super) fn jobs(&self) -> Vec<Arc<NodeJob<T>>> {
        self.jobs.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Whether the guard is to start something again.
    pub(super) fn is_armed(&self) -> bool {
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
    pub(super) fn is_to_be_repeated(&self, key: &TargetKey, results: &[TargetResult]) -> bool {
        let is_lost = |result: &TargetResult| {
            result.failure.as_ref().is_some_and(|failure| failure.kind == FailureKind::ConnectionLost)
        };
        let mut entries = self.entries.lock().unwrap_or_else(PoisonError::into_inner);
        let entry = entries.entry(key.clone()).or_default();
        if entry.is_repeated || entry.since.is_some() || results.is_empty() || !results.iter().all(is_lost) {
            return false;
        }
        entry.is_repeated = true;
        true
    }

    /// Puts off a job that is to be repeated, and what was to come after it.
    pub(super) fn put_off<'a>(&self, jobs: impl Iterator<Item = &'a Arc<NodeJob<T>>>)
    where
        T: 'a,
    {
        self.put_off.lock().unwrap_or_else(PoisonError::into_inner).extend(jobs.map(Arc::clone));
    }

    /// The jobs put off so far, which are no longer put off after this.
    pub(super) fn take_put_off(&self) -> Vec<Arc<NodeJob<T>>> {
        std::mem::take(&mut self.put_off.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Notes what is owed from now on.
    fn set_obligation(&self, key: &TargetKey, obligation: Obligation) {
        let mut entries = self.entries.lock().unwrap_or_else(PoisonError::into_inner);
        let entry = entries.entry(key.clone()).or_default();
        entry.obligation = obligation;
        entry.since.get_or_insert_with(Instant::now);
    }

    /// Notes results that are certain: they stand, whatever becomes of what is still fetched for them.
    pub(super) fn finalize(&self, key: &TargetKey, results: Vec<TargetResult>) {
        self.entries.lock().unwrap_or_else(PoisonError::into_inner).entry(key.clone()).or_default().settled = results;
    }

    /// Notes that a result was given.
    pub(super) fn mark_reported(&self, key: &TargetKey) {
        self.entries.lock().unwrap_or_else(PoisonError::into_inner).entry(key.clone()).or_default().is_reported = true;
    }

    /// What is known of a job.
    pub(super) fn entry(&self, key: &TargetKey) -> JobState {
        self.entries.lock().unwrap_or_else(PoisonError::into_inner).get(key).cloned().unwrap_or_default()
    }
}

/// The account of one target: what is owed for it, and the switch on the node that pays if this run cannot.
pub(super) struct TargetContext<'a, T: Transport> {
    pub(super) book: &'a JobTable<T>,
    pub(super) key: TargetKey,
    pub(super) node_batch: NodeBatch,
    /// None where the operator does without.
    pub(super) guard: Option<&'a Guard>,
    /// Whether the operator does without where it would not work.
    pub(super) guard_is_optional: bool,
    pub(super) update: &'a mpsc::Sender<WorkerMessage>,
    /// Whether waiting at gates is to end.
    pub(super) stop_waiting: watch::Receiver<bool>,
    /// When the work on it began, and how long it may take.
    pub(super) time: (Instant, Duration),
}

impl<T: Transport> TargetContext<'_, T> {
    /// Notes what is owed from now on. Once this has returned, a start that is owed is paid by the guard if this run
    /// comes to an end; `rescue` says how.
    ///
    /// An error says that the guard could not be armed: then nothing may be stopped.
    pub(super) async fn set_obligation(&self, obligation: Obligation, rescue: Option<Rescue>) -> Result<(), Failure> {
        match (obligation, rescue, self.guard) {
            (Obligation::MustStart, Some(rescue), Some(guard)) => {
                let name = self.key.service.as_deref().unwrap_or("it");
                self.phase(self.work(format!("setting the guard for {name}"))).await;
                self.book.note_arming(&self.key, true);
                let armed = rehearsal::arm(guard, &rescue).await;
                self.book.note_arming(&self.key, false);
                match armed {
                    Ok(number) => self.book.arm(&self.key, number),
                    Err(failure) if self.guard_is_optional => debug!(failure.message, "continuing without its guard"),
                    Err(failure) => return Err(failure),
                }
                self.phase(self.work(format!("restarting {name}"))).await;
            }
            (Obligation::MustStart, _, _) => {}
            (Obligation::Sent | Obligation::None, _, guard) => {
                for number in self.book.disarm(&self.key) {
                    if let Some(guard) = guard {
                        guard.disarm(number).await;
                    }
                }
            }
        }
        self.book.set_obligation(&self.key, obligation);
        if obligation != Obligation::None {
            self.send(WorkerUpdate::Begun(self.key.clone())).await;
        }
        Ok(())
    }

    /// What a gate waits for, or whether it was met.
    pub(super) async fn gate(&self, met: Option<bool>, waiting_for: impl Into<String>) {
        self.send(WorkerUpdate::Gate { service: self.key.service.clone(), met, waiting_for: waiting_for.into() }).await;
    }

    /// Something that is done for it, within its time.
    fn work(&self, what: String) -> ActivityPhase {
        let (began, limit) = self.time;
        ActivityPhase::work(what).within(began.elapsed(), limit)
    }

    /// The same while the process is in a state that has lasted for so long.
    pub(super) fn work_in_state(&self, what: String, state: ProcessState, lasts: Duration) -> ActivityPhase {
        let (began, limit) = self.time;
        let left = limit.saturating_sub(began.elapsed());
        ActivityPhase { limit: Some(lasts + left), ..ActivityPhase::work(what).in_state(state.as_str(), lasts) }
    }

    /// Shows what is done or waited for.
    pub(super) async fn phase(&self, phase: ActivityPhase) {
        self.send(WorkerUpdate::Phase(phase)).await;
    }

    /// Whether the waiting at gates is to end: the run was told to stop.
    pub(super) fn waits_no_more(&self) -> bool {
        *self.stop_waiting.borrow()
    }

    async fn send(&self, update: WorkerUpdate) {
        if self.update.send(WorkerMessage { item: WorkItem::Batch(self.node_batch), update }).await.is_err() {
            debug!("the run no longer listens");
        }
    }
}
