//! The workers of a plan and the rounds in which they work: each round asks the dispatcher what to do, and does it.
//!
//! Here live [`WorkerPool`] and [`run`]. It uses the dispatcher, which decides, and the workers, which act. Invariants:
//! an event is observed before anything that follows from it is done; nothing starts whose intent the journal
//! does not have; a worker that panics costs its node, never the run. Start reading at [`WorkerPool::run_round`].

use std::collections::{HashMap, VecDeque};
use std::ops::ControlFlow;
use std::sync::Arc;

use tokio::sync::{Semaphore, mpsc, watch};
use tokio::task::{Id, JoinError, JoinSet};
use tracing::{Instrument, debug, error, info_span};

use crate::engine::dispatcher::Dispatcher;
use crate::engine::effect::{DispatcherInput, Effect};
use crate::engine::message::{NameCensus, WorkItem, WorkItemEnd, WorkerMessage};
use crate::engine::recorder::{JournalAck, Recorder};
use crate::node::access::NodeAccess;
use crate::node::context::NodeContext;
use crate::node::lock::{LockPolicy, NodeLock};
use crate::node::signals::RunSignals;
use crate::node::worker::NodeWorker;
use crate::sequence::RunScopes;
use ctl_event::{CancelReason, EventKind, RunEvent, RunHead};
use ctl_plan::Plan;
use ctl_transport::Transport;

/// Updates of workers that wait to be handled; past this a worker waits.
const UPDATE_LIMIT: usize = 1024;

/// The same where logs are read: each is up to 32 KiB of lines.
const LOG_UPDATE_LIMIT: usize = 32;

/// Everything that a run needs.
pub struct RunSetup<T: Transport> {
    /// The plan.
    pub plan: Arc<Plan>,
    /// The head of the run's events.
    pub head: RunHead,
    /// One entry for each node of the plan.
    pub access: Vec<NodeAccess>,
    /// Nodes worked on at once.
    pub forks: usize,
    /// Whether a node's connection is closed at the end of its batch: nothing more is asked of it, or not all can be open
    /// at once.
    pub hangs_up: bool,
    /// Opens sessions.
    pub transport: Arc<T>,
    /// Its notices that concern more than one node.
    pub notices: mpsc::Receiver<String>,
    /// How nodes are kept from others.
    pub guarding: LockPolicy,
    /// Number of the first event: not 0 where a run is resumed.
    pub first_seq: u64,
    /// Number of the first batch: 1, unless a run is resumed.
    pub first_batch: u32,
}

/// Runs a plan to its end. Events are given to `observe` in order, before anything that follows from them is done. Returns
/// the reason for which the run was given up, if it was.
pub async fn run<T: Transport>(
    setup: RunSetup<T>,
    mut signals: mpsc::Receiver<CancelReason>,
    observe: impl FnMut(&[RunEvent]) -> JournalAck,
) -> Option<CancelReason> {
    let head = setup.head.clone();
    WorkerPool::new(setup).run_round(head, &mut signals, observe).await
}

/// The workers of a plan, which can work in several rounds over the same connections. Only a plan that changes nothing
/// may have more than one round.
pub struct WorkerPool<T: Transport> {
    plan: Arc<Plan>,
    access: Vec<NodeAccess>,
    forks: usize,
    hangs_up: bool,
    turns: Arc<Semaphore>,
    transport: Arc<T>,
    notices: mpsc::Receiver<String>,
    guarding: Arc<LockPolicy>,
    /// The scopes of all sequences: an item of one node may run on another.
    scopes: Arc<RunScopes>,
    first_seq: u64,
    first_batch: u32,
    update: mpsc::Sender<WorkerMessage>,
    inbox: mpsc::Receiver<WorkerMessage>,
    stop_waiting: watch::Sender<bool>,
    give_up: watch::Sender<bool>,
    /// The names of the last round that its nodes have.
    census: Option<NameCensus>,
    /// By the index of their node. None: it is running, or it panicked.
    workers: Vec<Option<NodeWorker<T>>>,
}

impl<T: Transport> WorkerPool<T> {
    /// Connects to nothing yet. The head of `setup` is not used: each round has its own.
    #[must_use]
    pub fn new(setup: RunSetup<T>) -> Self {
        let RunSetup { plan, head: _, access, forks, hangs_up, transport, notices, guarding, first_seq, first_batch } =
            setup;
        let reads_logs = plan.tasks.iter().any(|task| task.work.tail().is_some());
        let (update, inbox) = mpsc::channel(if reads_logs { LOG_UPDATE_LIMIT } else { UPDATE_LIMIT });
        let (stop_waiting, _) = watch::channel(false);
        let (give_up, _) = watch::channel(false);
        let guarding = Arc::new(guarding);
        let turns = Arc::new(Semaphore::new(forks.max(1)));
        // A node that is followed never ends, and must not keep others from being started.
        let forks = if plan.follows() { plan.nodes.len() } else { forks };
        let workers = access.iter().map(|_| None).collect();
        Self {
            plan,
            access,
            forks,
            hangs_up,
            turns,
            transport,
            notices,
            guarding,
            scopes: Arc::default(),
            first_seq,
            first_batch,
            update,
            inbox,
            stop_waiting,
            give_up,
            census: None,
            workers,
        }
    }

    /// The typed names that the nodes of the last round have; none if none of them could be read.
    #[must_use]
    pub fn census(&self) -> Option<&NameCensus> {
        self.census.as_ref()
    }

    /// Has a worker for every node: a new one where there is none, or none any more.
    fn ensure_workers(&mut self) {
        let signals = RunSignals {
            stop_waiting: self.stop_waiting.subscribe(),
            give_up: self.give_up.subscribe(),
            turns: Arc::clone(&self.turns),
        };
        for (index, place) in self.workers.iter_mut().enumerate() {
            match (place.as_mut(), self.access.get(index)) {
                // A round must not rely on the readings of the one before.
                (Some(worker), _) => worker.forget(),
                (None, Some(access)) => {
                    let (plan, transport) = (Arc::clone(&self.plan), Arc::clone(&self.transport));
                    let (access, update) = (access.clone(), self.update.clone());
                    let node = NodeContext::new(plan, index, access, transport, update, signals.clone());
                    let lock = NodeLock::new(Arc::clone(&self.guarding), self.plan.only_helps(index));
                    *place = Some(NodeWorker::new(node, lock, Arc::clone(&self.scopes)));
                }
                (None, None) => {}
            }
        }
        // Updates of a worker that was aborted in the last round would be taken for this one's.
        while self.inbox.try_recv().is_ok() {}
    }

    /// Carries the plan out. Events are given to `observe` in order, before anything that follows from them is done;
    /// they are numbered anew in each round. Returns the reason for which the round was given up, if it was.
    pub async fn run_round(
        &mut self,
        head: RunHead,
        signals: &mut mpsc::Receiver<CancelReason>,
        observe: impl FnMut(&[RunEvent]) -> JournalAck,
    ) -> Option<CancelReason> {
        self.ensure_workers();
        let round = Round {
            dispatcher: Dispatcher::new(&self.plan, self.forks, self.first_batch),
            recorder: Recorder::new(self.first_seq, observe),
            plan: &self.plan,
            workers: &mut self.workers,
            inbox: &mut self.inbox,
            notices: &mut self.notices,
            stop_waiting: &self.stop_waiting,
            give_up: &self.give_up,
            hangs_up: self.hangs_up,
            effects: VecDeque::new(),
            running: JoinSet::new(),
            items: HashMap::new(),
            pause: None,
            is_journal_lost: false,
        };
        let (cancel, census) = round.run(head, signals).await;
        self.census = census;
        cancel
    }
}

/// One round: the dispatcher, the workers that are running, and the effects that wait to be carried out.
struct Round<'a, T: Transport, F: FnMut(&[RunEvent]) -> JournalAck> {
    plan: &'a Plan,
    dispatcher: Dispatcher<'a>,
    recorder: Recorder<F>,
    workers: &'a mut [Option<NodeWorker<T>>],
    inbox: &'a mut mpsc::Receiver<WorkerMessage>,
    notices: &'a mut mpsc::Receiver<String>,
    stop_waiting: &'a watch::Sender<bool>,
    give_up: &'a watch::Sender<bool>,
    hangs_up: bool,
    effects: VecDeque<Effect>,
    running: JoinSet<WorkerEnd<T>>,
    items: HashMap<Id, WorkItem>,
    /// When the pause between two batches is over.
    pause: Option<tokio::time::Instant>,
    /// Whether the dispatcher knows that the journal can no longer be written.
    is_journal_lost: bool,
}

/// A worker that is done with a work item.
type WorkerEnd<T> = (WorkItem, NodeWorker<T>, WorkItemEnd);

/// The next thing that happens.
#[expect(clippy::large_enum_variant, reason = "an arrival lives for a moment")]
enum Arrival<T: Transport> {
    Input(DispatcherInput),
    Notice(String),
    Worker(Result<(Id, WorkerEnd<T>), JoinError>),
}

impl<T: Transport, F: FnMut(&[RunEvent]) -> JournalAck> Round<'_, T, F> {
    async fn run(
        mut self,
        head: RunHead,
        signals: &mut mpsc::Receiver<CancelReason>,
    ) -> (Option<CancelReason>, Option<NameCensus>) {
        self.recorder.record([EventKind::RunStarted(head)]);
        self.decide(DispatcherInput::Begin);
        loop {
            self.record_effects();
            while let Some(effect) = self.effects.pop_front() {
                if matches!(effect, Effect::Finish) {
                    return self.finish().await;
                }
                if self.apply(effect).await.is_break() {
                    // The dispatcher has decided anew: its records go out before anything else of it is done.
                    break;
                }
            }
            if self.effects.is_empty() {
                let arrival = self.next_arrival(signals).await;
                self.take(arrival);
            }
        }
    }

    fn decide(&mut self, input: DispatcherInput) {
        self.effects.extend(self.dispatcher.handle(input));
    }

    /// Records the events of the waiting effects, in one go. Only then are the other effects carried out, so nothing is
    /// done whose intent is not in the journal.
    fn record_effects(&mut self) {
        loop {
            let records: Vec<EventKind> = self.effects.iter_mut().filter_map(Effect::take_record).collect();
            self.recorder.record(records);
            if !self.recorder.is_lost || std::mem::replace(&mut self.is_journal_lost, true) {
                return;
            }
            // The dispatcher stops the run. Its own records come after it, though the journal may not take them either:
            // other observers do.
            self.decide(DispatcherInput::JournalLost);
        }
    }

    /// Carries out one effect. Break: the dispatcher decided anew.
    async fn apply(&mut self, effect: Effect) -> ControlFlow<()> {
        match effect {
            Effect::Record(_) | Effect::Recorded | Effect::Finish => {}
            Effect::Start(item) => return self.start(item),
            Effect::Pause(time) => self.pause = Some(tokio::time::Instant::now() + time),
            Effect::StopWaiting => set(self.stop_waiting),
            Effect::GiveUp => set(self.give_up),
            Effect::Unlock => release(self.workers).await,
            // Their changes are not lost: the dispatcher has a result for each target by now, and the guards on the
            // nodes start the stopped services when their channels end.
            Effect::Abandon => self.running.abort_all(),
        }
        ControlFlow::Continue(())
    }

    /// Lets a worker do a work item.
    fn start(&mut self, item: WorkItem) -> ControlFlow<()> {
        if self.recorder.is_lost && item.is_an_act() {
            // Its intent was not recorded, so a resumed run would not know that it may have changed something.
            self.decide(DispatcherInput::Ended(item, WorkItemEnd::Done));
            return ControlFlow::Break(());
        }
        let Some(mut worker) = self.workers.get_mut(item.worker()).and_then(Option::take) else {
            // It panicked in an earlier work item. The dispatcher gives the node results that say so.
            self.decide(DispatcherInput::Ended(item, WorkItemEnd::Broken));
            return ControlFlow::Break(());
        };
        let name = self.plan.nodes.get(item.node()).map(|selected| selected.node.name.as_str());
        let span = info_span!("node", name, phase = %item);
        let hangs_up = self.hangs_up;
        // The worker moves into its task and comes back with the end, so no two tasks ever have the same node.
        let work = async move {
            let end = Box::pin(worker.work(item)).await;
            if hangs_up && matches!(item, WorkItem::Batch(_)) {
                worker.hang_up().await;
            }
            (item, worker, end)
        };
        self.items.insert(self.running.spawn(work.instrument(span)).id(), item);
        ControlFlow::Continue(())
    }

    /// Waits for the next thing that happens. Every branch may be dropped without losing anything: a message that was not
    /// received stays in its channel, and an ended task in the set.
    async fn next_arrival(&mut self, signals: &mut mpsc::Receiver<CancelReason>) -> Arrival<T> {
        tokio::select! {
            // Signals first: under a flood of updates they would otherwise wait.
            biased;
            Some(reason) = signals.recv() => Arrival::Input(DispatcherInput::Signal(reason)),
            Some(message) = self.inbox.recv() => Arrival::Input(DispatcherInput::Message(message)),
            Some(message) = self.notices.recv() => Arrival::Notice(message),
            Some(joined) = self.running.join_next_with_id() => Arrival::Worker(joined),
            () = over(self.pause) => {
                self.pause = None;
                Arrival::Input(DispatcherInput::PauseOver)
            }
        }
    }

    fn take(&mut self, arrival: Arrival<T>) {
        let input = match arrival {
            Arrival::Input(input) => input,
            Arrival::Notice(message) => return self.recorder.record([EventKind::Notice { message }]),
            Arrival::Worker(joined) => {
                // Its last updates may have come in since the inbox was read. They go first, or the dispatcher would
                // take its targets for targets without a result.
                self.drain_inbox();
                match self.ended(joined) {
                    Some(input) => input,
                    None => return,
                }
            }
        };
        if let DispatcherInput::Signal(_) = input {
            self.pause = None;
            // Results that were reported before the signal count.
            self.drain_inbox();
        }
        self.decide(input);
        // Whatever else has come in meanwhile is recorded together with it: what is durable at once costs one wait for the
        // disk, not one for each node.
        while let Some(joined) = self.running.try_join_next_with_id() {
            self.drain_inbox();
            if let Some(input) = self.ended(joined) {
                self.decide(input);
            }
        }
        // At most one inbox full: workers that send faster than this reads must not keep the effects waiting.
        for _ in 0..self.inbox.max_capacity() {
            let Ok(message) = self.inbox.try_recv() else { break };
            self.decide(DispatcherInput::Message(message));
        }
    }

    fn drain_inbox(&mut self) {
        while let Ok(message) = self.inbox.try_recv() {
            self.decide(DispatcherInput::Message(message));
        }
    }

    /// A task of a worker that has ended; none if its work item ended before.
    fn ended(&mut self, joined: Result<(Id, WorkerEnd<T>), JoinError>) -> Option<DispatcherInput> {
        match joined {
            Ok((id, (item, worker, end))) => {
                self.items.remove(&id);
                // The worker goes back to its place, for the next work item of its node.
                if let Some(place) = self.workers.get_mut(item.worker()) {
                    *place = Some(worker);
                }
                Some(DispatcherInput::Ended(item, end))
            }
            Err(broken) => {
                let item = self.items.remove(&broken.id())?;
                // Only a panic is an error; an aborted task was dropped on purpose.
                if broken.is_panic() {
                    error!(%broken, "a worker ended because of an internal error");
                }
                Some(DispatcherInput::Ended(item, WorkItemEnd::Broken))
            }
        }
    }

    async fn finish(mut self) -> (Option<CancelReason>, Option<NameCensus>) {
        // The run counts as finished only once its locks are free for others.
        release(self.workers).await;
        let elapsed_ms = self.recorder.elapsed_ms();
        self.recorder.record([EventKind::RunFinished { elapsed_ms }]);
        (self.dispatcher.cancel(), self.dispatcher.census())
    }
}

/// Ends at `pause`; without one, never.
async fn over(pause: Option<tokio::time::Instant>) {
    match pause {
        Some(pause) => tokio::time::sleep_until(pause).await,
        None => std::future::pending().await,
    }
}

fn set(signal: &watch::Sender<bool>) {
    if signal.send(true).is_err() {
        debug!("no worker is left to receive the signal");
    }
}

/// Releases the locks of all nodes whose workers are idle.
async fn release<T: Transport>(workers: &mut [Option<NodeWorker<T>>]) {
    futures_util::future::join_all(workers.iter_mut().flatten().map(NodeWorker::release)).await;
}
