//! Runs a plan: one dispatcher that decides, one task a node that works, one stream of events that leaves.
//!
//! It uses `plan`, `select`, `transport`, `supervisor`, `guard` and the leaf `event`; never a sink, never the command
//! line; the journal is whoever observes. What always holds: every selected node ends with results, whatever is thrown
//! at the run; nothing is started after the first signal, nor before its intent was noted. Start at [`run`]; what is decided is in `dispatcher.rs`, what is done in `node_worker.rs`.

mod connection;
mod deep_status;
mod discovery;
mod dispatcher;
#[cfg(test)]
mod dispatcher_tests;
mod evidence;
mod exec;
mod gate;
mod init_service;
mod job;
mod logs;
mod message;
mod names;
mod node_worker;
mod oneshot;
mod passwords;
mod process;
mod recovery;
mod rehearsal;
mod results;
mod snapshot_gate;
mod update;
mod wait;

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::{Semaphore, mpsc, watch};
use tokio::task::{Id, JoinSet};
use tracing::{Instrument, debug, error, info_span};

use self::dispatcher::{Dispatcher, DispatcherInput, Effect};
pub use self::message::NameCensus;
use self::message::{WorkItem, WorkItemEnd};
pub use self::names::{MissingName, missing_names};
use self::node_worker::{NodeWorker, RunSignals};
pub use self::passwords::PasswordFiles;
use crate::event::{CancelReason, EventKind, RunEvent, RunHead, Via};
use crate::guard::LockHolder;
use crate::plan::Plan;
use crate::remote::Sudo;
use crate::transport::{Endpoint, Transport};

/// How one selected node is worked on.
#[derive(Debug, Clone)]
pub struct NodeAccess {
    /// How to connect.
    pub endpoint: Endpoint,
    /// Whether and how commands go through sudo.
    pub sudo: Sudo,
    /// The way to its supervisords that the inventory names; none is `auto`.
    pub via: Option<Via>,
    /// Time for the action, from the moment the session is there.
    pub timeout: Duration,
    /// What its supervisords ask for.
    pub passwords: Arc<PasswordFiles>,
}

/// News of node tasks that wait to be handled; past this a task waits.
const NEWS_LIMIT: usize = 1024;

/// The same where logs are read: each is up to 32 KiB of lines.
const LOG_NEWS_LIMIT: usize = 32;

/// Who changes the nodes, and how they are kept from others meanwhile.
#[derive(Debug)]
pub struct LockPolicy {
    /// Whether nodes are locked and guarded: they are if they are changed.
    is_wanted: bool,
    /// Whether a node that cannot offer it is changed without.
    is_optional: bool,
    /// What others read who meet the lock.
    owner: LockHolder,
    /// Until when locks are waited for.
    waits_until: tokio::time::Instant,
    began: tokio::time::Instant,
}

impl LockPolicy {
    /// For a run of `owner`. Locks that others hold are waited for up to `lock_wait`. `is_optional`: a node that has no
    /// shell or no flock is changed all the same.
    #[must_use]
    pub fn new(owner: LockHolder, lock_wait: Duration, is_optional: bool, plan: &Plan) -> Self {
        let began = tokio::time::Instant::now();
        Self { is_wanted: plan.changes(), is_optional, owner, waits_until: began + lock_wait, began }
    }
}

/// Everything that a run needs.
pub struct RunSetup<T: Transport> {
    /// What is done.
    pub plan: Arc<Plan>,
    /// What was asked.
    pub head: RunHead,
    /// One entry for each node of the plan.
    pub access: Vec<NodeAccess>,
    /// Nodes worked on at once.
    pub forks: usize,
    /// Whether a node's connection is closed at the end of its visit, for want of room.
    pub hangs_up: bool,
    /// Opens sessions.
    pub transport: Arc<T>,
    /// What it has to say that concerns more than one node.
    pub notices: mpsc::Receiver<String>,
    /// How nodes are kept from others.
    pub guarding: LockPolicy,
    /// Number of the first event: not 0 where a run is gone on with.
    pub first_seq: u64,
    /// Number of the first batch: 1, unless a run is gone on with.
    pub first_batch: u32,
}

/// Whether what was to be noted is noted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use]
pub enum JournalAck {
    /// It is.
    Yes,
    /// It is not: nothing new may be begun.
    No,
}

/// Runs a plan to its end. Events are given to `observe` in order, before anything that follows from them is done. Returns the
/// reason for which the run was given up, if it was.
pub async fn run<T: Transport>(
    setup: RunSetup<T>,
    mut signals: mpsc::Receiver<CancelReason>,
    observe: impl FnMut(&[RunEvent]) -> JournalAck,
) -> Option<CancelReason> {
    let head = setup.head.clone();
    WorkerPool::new(setup).run_round(head, &mut signals, observe).await
}

/// The node tasks of a plan, which can be sent out again and again over the same connections. Only what changes nothing
/// may be done more than once.
pub struct WorkerPool<T: Transport> {
    plan: Arc<Plan>,
    access: Vec<NodeAccess>,
    forks: usize,
    hangs_up: bool,
    turns: Arc<Semaphore>,
    transport: Arc<T>,
    notices: mpsc::Receiver<String>,
    guarding: Arc<LockPolicy>,
    first_seq: u64,
    first_batch: u32,
    update: mpsc::Sender<message::WorkerMessage>,
    inbox: mpsc::Receiver<message::WorkerMessage>,
    stop_waiting: watch::Sender<bool>,
    give_up: watch::Sender<bool>,
    /// What the nodes of the last round have of the names that were typed.
    census: Option<NameCensus>,
    /// By the index of their node. None: it is at work, or ended by a defect.
    tasks: Vec<Option<NodeWorker<T>>>,
}

impl<T: Transport> WorkerPool<T> {
    /// Connects to nothing yet. The head of `setup` is not used: each round has its own.
    #[must_use]
    pub fn new(setup: RunSetup<T>) -> Self {
        let RunSetup { plan, head: _, access, forks, hangs_up, transport, notices, guarding, first_seq, first_batch } =
            setup;
        let reads_logs = plan.tasks.iter().any(|task| task.work.tail().is_some());
        let (update, inbox) = mpsc::channel(if reads_logs { LOG_NEWS_LIMIT } else { NEWS_LIMIT });
        let (stop_waiting, _) = watch::channel(false);
        let (give_up, _) = watch::channel(false);
        let guarding = Arc::new(guarding);
        let turns = Arc::new(Semaphore::new(forks.max(1)));
        // A node that is never done with must not keep others from being begun.
        let forks = if plan.follows() { plan.nodes.len() } else { forks };
        let tasks = access.iter().map(|_| None).collect();
        Self {
            plan,
            access,
            forks,
            hangs_up,
            turns,
            transport,
            notices,
            guarding,
            first_seq,
            first_batch,
            update,
            inbox,
            stop_waiting,
            give_up,
            census: None,
            tasks,
        }
    }

    /// What the nodes of the last round have of the names that were typed; none if none of them could be read.
    #[must_use]
    pub fn census(&self) -> Option<&NameCensus> {
        self.census.as_ref()
    }

    /// Has a task for every node: a new one where there is none, or none any more.
    fn ensure_workers(&mut self) {
        let reported = RunSignals {
            stop_waiting: self.stop_waiting.subscribe(),
            give_up: self.give_up.subscribe(),
            turns: Arc::clone(&self.turns),
        };
        for (index, place) in self.tasks.iter_mut().enumerate() {
            match (place.as_mut(), self.access.get(index)) {
                (Some(task), _) => task.forget(),
                (None, Some(access)) => {
                    let (plan, transport, guarding) =
                        (Arc::clone(&self.plan), Arc::clone(&self.transport), Arc::clone(&self.guarding));
                    let (access, update) = (access.clone(), self.update.clone());
                    *place = Some(NodeWorker::new(plan, index, access, transport, guarding, update, reported.clone()));
                }
                (None, None) => {}
            }
        }
        // What a task of the last round told that was aborted.
        while self.inbox.try_recv().is_ok() {}
    }

    /// Carries the plan out. Events are given to `observe` in order, before anything that follows from them is done;
    /// they are numbered anew in each round. Returns the reason for which the round was given up, if it was.
    pub async fn run_round(
        &mut self,
        head: RunHead,
        signals: &mut mpsc::Receiver<CancelReason>,
        mut observe: impl FnMut(&[RunEvent]) -> JournalAck,
    ) -> Option<CancelReason> {
        self.ensure_workers();
        let Self { plan, tasks, inbox, notices, stop_waiting, give_up, census, .. } = self;
        let mut recorder = Recorder { began: Instant::now(), seq: self.first_seq, lost: false, observe: &mut observe };
        let hangs_up = self.hangs_up;
        let mut dispatcher = Dispatcher::new(plan, self.forks, self.first_batch);
        let mut working: JoinSet<(WorkItem, NodeWorker<T>, WorkItemEnd)> = JoinSet::new();
        let mut duties: HashMap<Id, WorkItem> = HashMap::new();
        let mut pause: Option<tokio::time::Instant> = None;
        let mut journal_lost = false;

        recorder.record([EventKind::RunStarted(head)]);
        let mut effects = VecDeque::from(dispatcher.handle(DispatcherInput::Begin));
        loop {
            // What is to be told is told first, in one go: nothing is done of which the intent is not noted.
            let reported = effects.iter_mut().filter_map(Effect::take_record);
            recorder.record(reported.collect::<Vec<_>>());
            if recorder.lost && !std::mem::replace(&mut journal_lost, true) {
                effects.extend(dispatcher.handle(DispatcherInput::JournalLost));
                continue;
            }
            while let Some(effect) = effects.pop_front() {
                match effect {
                    Effect::Record(_) | Effect::Recorded => {}
                    // What was not noted is not done.
                    Effect::Start(item) if recorder.lost && matches!(item, WorkItem::Batch(_)) => {
                        effects.extend(dispatcher.handle(DispatcherInput::Ended(item, WorkItemEnd::Done)));
                        break;
                    }
                    Effect::Start(item) => match tasks.get_mut(item.node()).and_then(Option::take) {
                        Some(mut task) => {
                            let name = plan.nodes.get(item.node()).map(|selected| selected.node.name.as_str());
                            let span = info_span!("node", name, phase = %item);
                            let work = async move {
                                let end = Box::pin(task.work(item)).await;
                                if hangs_up && matches!(item, WorkItem::Batch(_)) {
                                    task.hang_up().await;
                                }
                                (item, task, end)
                            };
                            duties.insert(working.spawn(work.instrument(span)).id(), item);
                        }
                        None => {
                            effects.extend(dispatcher.handle(DispatcherInput::Ended(item, WorkItemEnd::Broken)));
                            break;
                        }
                    },
                    Effect::Pause(time) => pause = Some(tokio::time::Instant::now() + time),
                    Effect::StopWaiting => raise(stop_waiting),
                    Effect::GiveUp => raise(give_up),
                    Effect::Unlock => release(tasks).await,
                    Effect::Abandon => working.abort_all(),
                    Effect::Finish => {
                        release(tasks).await;
                        *census = dispatcher.census();
                        let elapsed_ms = u64::try_from(recorder.began.elapsed().as_millis()).unwrap_or(u64::MAX);
                        recorder.record([EventKind::RunFinished { elapsed_ms }]);
                        return dispatcher.cancel();
                    }
                }
            }
            if !effects.is_empty() {
                continue;
            }
            let input = tokio::select! {
                biased;
                Some(reason) = signals.recv() => DispatcherInput::Signal(reason),
                Some(message) = inbox.recv() => DispatcherInput::Message(message),
                Some(message) = notices.recv() => {
                    recorder.record([EventKind::Notice { message }]);
                    continue;
                }
                Some(joined) = working.join_next_with_id() => {
                    // What the task told before it ended may have come in since the inbox was looked at.
                    while let Ok(message) = inbox.try_recv() {
                        effects.extend(dispatcher.handle(DispatcherInput::Message(message)));
                    }
                    match joined {
                        Ok((id, (item, task, end))) => {
                            duties.remove(&id);
                            if let Some(place) = tasks.get_mut(item.node()) {
                                *place = Some(task);
                            }
                            DispatcherInput::Ended(item, end)
                        }
                        Err(broken) => {
                            let Some(item) = duties.remove(&broken.id()) else { continue };
                            if broken.is_panic() {
                                error!(%broken, "a node task ended because of an internal error");
                            }
                            DispatcherInput::Ended(item, WorkItemEnd::Broken)
                        }
                    }
                },
                () = over(pause) => {
                    pause = None;
                    DispatcherInput::PauseOver
                }
            };
            if let DispatcherInput::Signal(_) = input {
                pause = None;
                // What was reported before the signal counts.
                while let Ok(message) = inbox.try_recv() {
                    effects.extend(dispatcher.handle(DispatcherInput::Message(message)));
                }
            }
            effects.extend(dispatcher.handle(input));
            // What else has come in meanwhile is noted together with it.
            for _ in 0..inbox.max_capacity() {
                let Ok(message) = inbox.try_recv() else { break };
                effects.extend(dispatcher.handle(DispatcherInput::Message(message)));
            }
        }
    }
}

/// Ends at `pause`; without one, never.
async fn over(pause: Option<tokio::time::Instant>) {
    match pause {
        Some(pause) => tokio::time::sleep_until(pause).await,
        None => std::future::pending().await,
    }
}

fn raise(signal: &watch::Sender<bool>) {
    if signal.send(true).is_err() {
        debug!("no task is left to be told");
    }
}

/// Lets all nodes go that no task is at work on.
async fn release<T: Transport>(tasks: &mut [Option<NodeWorker<T>>]) {
    futures_util::future::join_all(tasks.iter_mut().flatten().map(NodeWorker::release)).await;
}

/// Numbers events and hands them out.
struct Recorder<'a, F: FnMut(&[RunEvent]) -> JournalAck> {
    began: Instant,
    seq: u64,
    /// Whether something could not be noted.
    lost: bool,
    observe: &'a mut F,
}

impl<F: FnMut(&[RunEvent]) -> JournalAck> Recorder<'_, F> {
    fn record(&mut self, kinds: impl IntoIterator<Item = EventKind>) {
        let mut events = Vec::new();
        for kind in kinds {
            let kept = !matches!(kind, EventKind::Progress { .. });
            let kind = if let EventKind::Result(result) = kind {
                EventKind::Result(result.with_names_in_hint())
            } else {
                kind
            };
            events.push(RunEvent { seq: self.seq, at: jiff::Timestamp::now(), elapsed: self.began.elapsed(), kind });
            self.seq += u64::from(kept);
        }
        if !events.is_empty() {
            self.lost |= (self.observe)(&events) == JournalAck::No;
        }
    }
}
