//! One node's life in a run: connect, lock, read, act on each target, tell what became of it.
//!
//! What always holds: one connection; each target found has one result; the task never prints, never decides
//! which node is next, and ends within its time; nothing is stopped before the guard is armed to start it again.

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;
use futures_util::stream::{self, StreamExt};
use tokio::sync::{Semaphore, mpsc, watch};
use tokio::time::{Instant, timeout, timeout_at};
use tracing::debug;

use super::connection::NodeConnection;
use super::deep_status::{self, DeepStatus, PackageVersions};
use super::discovery::{DiscoveredNode, VisitPlan};
use super::exec;
use super::gate;
use super::init_service::InitTarget;
use super::job::{JobTable, NodeJob, TargetContext};
use super::logs::LogFollower;
use super::message::{NodeBatch, NodeInspection, TargetKey, WorkItem, WorkItemEnd, WorkerMessage, WorkerUpdate};
use super::oneshot;
use super::process::{Obligation, ProcessAction};
use super::recovery::{self, EarlyExit, EarlyExitCause, PAYING};
use super::rehearsal;
use super::results::ResultBuilder;
use super::snapshot_gate::SnapshotGate;
use super::{LockPolicy, NodeAccess, evidence, update, wait};
use crate::event::{
    ActivityPhase, Failure, FailureKind, Outcome, PhaseKind, ProcessState, Stage, TargetResult, TargetState,
};
use crate::guard::{Guard, LockHolder, TakeError};
use crate::plan::policy::Gate;
use crate::plan::{Action, CommandInput, LogTail, Plan, TaskIndex, WaitGoal, Work};
use crate::select::ServicePattern;
use crate::transport::{ProxyRoute, Transport, TransportError};

/// Groups of one supervisord that are worked on at once; each takes a channel of its own.
const GROUPS_AT_ONCE: usize = 8;

/// Services of one node that are asked at once how they do their work.
const SERVICES_AT_ONCE: usize = 32;

/// The guard of a controller that is gone ends after so long at the latest: it notices within 20 s, starts again what it
/// has to for 120 s, and looks a last time.
const OLD_GUARD: Duration = Duration::from_secs(160);

/// A node and all that is known of it in this run.
pub(super) struct NodeWorker<T: Transport> {
    rows: ResultBuilder,
    access: NodeAccess,
    link: Arc<NodeConnection<T>>,
    /// What was read, and for which task.
    view: Option<(TaskIndex, Arc<DiscoveredNode<T>>)>,
    /// What is read beyond it, if it is to be.
    depth: Option<DeepStatus<T>>,
    /// Versions of its packages, as they were read last.
    packages: Option<PackageVersions>,
    guarding: Arc<LockPolicy>,
    guard: Option<Guard>,
    /// Whether its lock could not be taken when that was last tried.
    is_unlockable: bool,
    update: mpsc::Sender<WorkerMessage>,
    signals: RunSignals,
}

/// What the dispatcher tells all tasks at once.
#[derive(Clone)]
pub(super) struct RunSignals {
    /// Waiting at gates is to end.
    pub(super) stop_waiting: watch::Receiver<bool>,
    /// All waiting is to end.
    pub(super) give_up: watch::Receiver<bool>,
    /// Room to connect, in a run that stays on all its nodes at once.
    pub(super) turns: Arc<Semaphore>,
}

impl<T: Transport> NodeWorker<T> {
    pub(super) fn new(
        plan: Arc<Plan>,
        index: usize,
        access: NodeAccess,
        transport: Arc<T>,
        guarding: Arc<LockPolicy>,
        update: mpsc::Sender<WorkerMessage>,
        signals: RunSignals,
    ) -> Self {
        let link = Arc::new(NodeConnection::new(transport, &access));
        Self {
            rows: ResultBuilder { plan, index },
            access,
            link,
            view: None,
            depth: None,
            packages: None,
            guarding,
            guard: None,
            is_unlockable: false,
            update,
            signals,
        }
    }

    /// Does one duty.
    pub(super) async fn work(&mut self, item: WorkItem) -> WorkItemEnd {
        match item {
            WorkItem::Batch(node_batch) => self.node_batch(node_batch).await,
            WorkItem::Connect(_) | WorkItem::Lock(_) | WorkItem::Inspect(_) | WorkItem::Check(_) => {
                // Before the first change there is nothing to finish. A check minds the signals itself.
                let is_check = matches!(item, WorkItem::Check(_));
                let signals = &self.signals;
                let mut signal = if is_check { signals.give_up.clone() } else { signals.stop_waiting.clone() };
                tokio::select! {
                    end = self.prepare(item) => end,
                    // What was not changed is told by the dispatcher.
                    () = wait_until_set(&mut signal) => WorkItemEnd::Done,
                }
            }
        }
    }

    async fn prepare(&mut self, item: WorkItem) -> WorkItemEnd {
        match item {
            WorkItem::Connect(_) => {
                self.show(item, self.connecting()).await;
                self.link.session().await.map_or_else(|error| lost(error.failure()), |_| WorkItemEnd::Done)
            }
            WorkItem::Lock(_) => self.lock(item).await.map_or_else(|end| end, |()| WorkItemEnd::Done),
            WorkItem::Inspect(_) => {
                self.show(item, within("querying supervisord", self.access.timeout)).await;
                match timeout(self.access.timeout, self.inspect()).await {
                    Ok(Ok(inspection)) => WorkItemEnd::Inspected(inspection),
                    Ok(Err(end)) => end,
                    Err(_) => WorkItemEnd::Lost(Outcome::TimedOut, self.silent()),
                }
            }
            WorkItem::Check(node_batch) => self.check(item, node_batch).await,
            WorkItem::Batch(_) => WorkItemEnd::Done,
        }
    }

    /// Has the node's guard, and with it its lock, within the time for the node.
    async fn lock(&mut self, item: WorkItem) -> Result<(), WorkItemEnd> {
        let locked = self.try_lock(item).await;
        self.is_unlockable = matches!(locked, Err(WorkItemEnd::Lost(Outcome::Failed, _)));
        locked
    }

    async fn try_lock(&mut self, item: WorkItem) -> Result<(), WorkItemEnd> {
        if self.guard.as_ref().is_some_and(Guard::is_alive) || !self.guarding.is_wanted {
            return Ok(());
        }
        let session = self.link.session().await.map_err(|error| lost(error.failure()))?;
        self.show(item, within("taking the lock", self.access.timeout)).await;
        let deadline = Instant::now() + self.access.timeout;
        let mut taken = self.take_guard(&session, deadline).await;
        if let Err(TakeError::Transport(TransportError::Lost { reason })) = &taken {
            // Nothing was changed over the first connection, so one more is all it costs, as in `inspect`.
            debug!(reason, "the connection dropped while taking the lock; reconnecting");
            self.link.hang_up().await;
            let session = self.link.session().await.map_err(|error| lost(error.failure()))?;
            taken = self.take_guard(&session, deadline).await;
        }
        match taken {
            Ok(guard) => {
                self.guard = Some(guard);
                Ok(())
            }
            Err(TakeError::Held(holder)) => {
                let end = self.held(holder);
                if let (WorkItemEnd::Held(failure, true), WorkItem::Lock(_)) = (&end, item) {
                    self.show(item, self.lock_wait(failure)).await;
                }
                Err(end)
            }
            Err(error) if self.guarding.is_optional && error.is_of_the_node() => {
                debug!(%error, "continuing without a guard");
                Ok(())
            }
            Err(TakeError::Sudo(error)) => Err(WorkItemEnd::Lost(Outcome::Failed, error.failure(Stage::Inspect))),
            Err(error) => Err(lost(error.failure())),
        }
    }

    async fn take_guard(&self, session: &T::Session, deadline: Instant) -> Result<Guard, TakeError> {
        let taken = Guard::take(session, &self.guarding.owner, &self.access.sudo);
        timeout_at(deadline, taken).await.unwrap_or(Err(TakeError::Silent(self.access.timeout)))
    }

    /// Another run has the node.
    fn held(&self, holder: LockHolder) -> WorkItemEnd {
        // What a dead controller of this very run left behind ends by itself.
        let ends_soon = holder.run == self.guarding.owner.run && self.guarding.began.elapsed() < OLD_GUARD;
        let again = ends_soon || self.guarding.waits_until > Instant::now();
        let failure = TakeError::Held(holder).failure();
        let name = super::results::node_name(&self.rows.plan, self.rows.index);
        WorkItemEnd::Held(Failure { message: format!("{name} is {}", failure.message), ..failure }, again)
    }

    /// Is connected to the node, and holds it where it is to be changed. A signal ends that: nothing was changed yet.
    async fn make_ready(&mut self, item: WorkItem, changes: bool) -> Result<(), WorkItemEnd> {
        let mut stop_waiting = self.signals.stop_waiting.clone();
        let ready = async {
            self.show(item, self.connecting()).await;
            self.link.session().await.map_err(|error| lost(error.failure()))?;
            if changes { self.lock(item).await } else { Ok(()) }
        };
        let ended = tokio::select! {
            biased;
            ready = ready => ready,
            () = wait_until_set(&mut stop_waiting), if changes => {
                let failure = Failure::new(Stage::Plan, FailureKind::Interrupted, "not started: the run was interrupted");
                Err(WorkItemEnd::Lost(Outcome::NotStarted, failure))
            }
        };
        // Another run may have got the node while its connection was lost.
        ended.map_err(not_begun)
    }

    /// Takes nothing for granted that was read before, but for the versions of packages; the connection is kept.
    pub(super) fn forget(&mut self) {
        self.view = None;
        self.depth = None;
    }

    /// Closes the connection, and with it what was reached over it.
    pub(super) async fn hang_up(&mut self) {
        self.forget();
        self.link.hang_up().await;
    }

    /// Lets the node go.
    pub(super) async fn release(&mut self) {
        let Some(guard) = self.guard.take() else { return };
        tokio::select! {
            () = guard.release() => {}
            () = self.link.falls_silent() => debug!("the node hangs: not waiting for its guard to exit"),
        }
    }

    /// Reads the node before the first change. A connection that is cut meanwhile is made again, once: nothing has been
    /// changed yet, so that is all it costs.
    async fn inspect(&mut self) -> Result<NodeInspection, WorkItemEnd> {
        match self.try_inspect().await {
            Err(WorkItemEnd::Lost(_, failure)) if failure.kind == FailureKind::ConnectionLost => {
                debug!(reason = failure.message, "the connection dropped before anything was changed; reading again");
                self.try_inspect().await
            }
            inspected => inspected,
        }
    }

    async fn try_inspect(&mut self) -> Result<NodeInspection, WorkItemEnd> {
        let view = Arc::new(DiscoveredNode::take(&self.link, self.rows.clone(), &self.access).await);
        if let Some(failure) = view.connection_lost() {
            return Err(lost(failure.clone()));
        }
        let mut inspection = view.inspect(&self.link).await;
        match self.rehearse(&view).await {
            Ok(()) => {}
            // The state that was read holds: its services may be up whatever its guard can do.
            Err(WorkItemEnd::Lost(outcome @ (Outcome::Failed | Outcome::TimedOut), failure)) => {
                inspection.refusal = Some((outcome, failure));
            }
            Err(end) => return Err(end),
        }
        let first = self.rows.plan.steps.iter().find(|step| step.nodes.contains(&self.rows.index));
        self.view = Some((first.map_or_else(TaskIndex::default, |step| step.task), view));
        Ok(inspection)
    }

    /// Has the node's guard try what it may have to do. A guard that went with its connection is replaced first. A node
    /// that could not be locked is only read; the dispatcher has the reason.
    async fn rehearse(&mut self, view: &DiscoveredNode<T>) -> Result<(), WorkItemEnd> {
        if self.guarding.is_optional || self.is_unlockable {
            return Ok(());
        }
        self.lock(WorkItem::Inspect(self.rows.index)).await?;
        let Some(guard) = &self.guard else { return Ok(()) };
        let Err(failure) = rehearsal::rehearse(guard, &view.rescues(&self.link), Stage::Inspect).await else {
            return Ok(());
        };
        if failure.kind == FailureKind::ConnectionLost {
            self.guard = None;
        }
        let is_lost = matches!(failure.kind, FailureKind::ConnectionLost | FailureKind::TimedOut);
        Err(if is_lost { lost(failure) } else { WorkItemEnd::Lost(Outcome::Failed, failure) })
    }

    /// What a batch waits for on the node beyond its services: the operator's check, then that nothing is worse than it was.
    async fn check(&mut self, item: WorkItem, node_batch: NodeBatch) -> WorkItemEnd {
        let end = self.run_check(item, node_batch).await;
        let snapshot = self.rows.task(node_batch).and_then(|task| task.snapshot.clone());
        match snapshot {
            Some(snapshot) if end == WorkItemEnd::Done => SnapshotGate::new(self, node_batch, &snapshot).wait().await,
            Some(_) | None => end,
        }
    }

    pub(super) fn rows(&self) -> &ResultBuilder {
        &self.rows
    }

    /// Whether waiting at gates is to end.
    pub(super) fn stop_waiting(&self) -> watch::Receiver<bool> {
        self.signals.stop_waiting.clone()
    }

    /// A task that reads everything on the node over the same connection, and tells it to `update`.
    pub(super) fn reader(&self, update: mpsc::Sender<WorkerMessage>, timeout: Duration) -> Self {
        Self {
            rows: ResultBuilder { plan: Arc::new(self.rows.plan.reading_of(self.rows.index)), index: 0 },
            access: NodeAccess { timeout: timeout.min(self.access.timeout), ..self.access.clone() },
            link: Arc::clone(&self.link),
            view: None,
            depth: None,
            packages: None,
            guarding: Arc::clone(&self.guarding),
            guard: None,
            is_unlockable: false,
            update,
            signals: self.signals.clone(),
        }
    }

    async fn run_check(&mut self, item: WorkItem, node_batch: NodeBatch) -> WorkItemEnd {
        let Some(check) = self.rows.task(node_batch).and_then(|task| task.policy.check.clone()) else {
            return WorkItemEnd::Done;
        };
        self.show(item, within("running the check", self.timeout(node_batch))).await;
        let mut stop_waiting = self.signals.stop_waiting.clone();
        let access = NodeAccess { timeout: self.timeout(node_batch), ..self.access.clone() };
        let outcome = exec::check(&self.link, &check, &access, wait_until_set(&mut stop_waiting)).await;
        let (met, said) = match &outcome {
            Ok(()) => (Some(true), "the check exited 0".to_owned()),
            Err(failure) => (Some(false), failure.message.clone()),
        };
        let update = WorkerUpdate::Gate { service: None, met, waiting_for: said };
        self.send(item, update).await;
        outcome.map_or_else(|failure| WorkItemEnd::Lost(Outcome::Failed, failure), |()| WorkItemEnd::Done)
    }

    /// Does a batch's work on this node.
    pub(super) async fn node_batch(&mut self, node_batch: NodeBatch) -> WorkItemEnd {
        let item = WorkItem::Batch(node_batch);
        match self.rows.task(node_batch).map(|task| task.work.clone()) {
            Some(Work::Exec { command, input }) => return self.exec(node_batch, &command, input.as_ref()).await,
            Some(Work::Wait { goal, .. }) => return self.wait(node_batch, goal).await,
            Some(Work::Logs { tail, .. }) => return self.logs(node_batch, tail).await,
            Some(Work::Service { .. } | Work::Status { .. } | Work::Ping) | None => {}
        }
        let mut give_up = self.signals.give_up.clone();
        let book = JobTable::default();
        let ended = tokio::select! {
            ended = self.act(node_batch, &book) => ended,
            () = wait_until_set(&mut give_up) => BatchEnd::Early(EarlyExitCause::GivenUp),
        };
        let end = match ended {
            BatchEnd::Done => WorkItemEnd::Done,
            BatchEnd::Lost(end) => {
                if let WorkItemEnd::Lost(outcome, failure) = &end {
                    for result in self.rows.as_requested(node_batch, *outcome, failure) {
                        self.send(item, WorkerUpdate::Result(Box::new(result))).await;
                    }
                }
                end
            }
            BatchEnd::Early(cause) => {
                self.show(item, ActivityPhase::work("checking the result")).await;
                let (rows, link, access) = (&self.rows, &self.link, &self.access);
                let guarded = self.guard.as_ref().is_some_and(Guard::is_alive);
                let salvage = EarlyExit { rows, link, access, book: &book, node_batch, cause, guarded };
                for result in salvage.results().await {
                    self.send(item, WorkerUpdate::Result(Box::new(result))).await;
                }
                WorkItemEnd::Done
            }
        };
        if book.is_armed() {
            // What is still owed is the guard's now: when its channel ends, it pays.
            self.guard = None;
        }
        end
    }

    async fn act(&mut self, node_batch: NodeBatch, book: &JobTable<T>) -> BatchEnd {
        let item = WorkItem::Batch(node_batch);
        let changes = self.rows.action(node_batch).changes();
        if let Err(end) = self.make_ready(item, changes).await {
            return BatchEnd::Lost(end);
        }
        let policy = self.rows.task(node_batch).map(|task| task.policy.clone()).unwrap_or_default();
        let mut time = self.timeout(node_batch);
        if changes {
            time += policy.gates(node_batch.batched).iter().map(Gate::time_in_action).sum::<Duration>();
        }
        let deadline = Instant::now() + time;
        let deep = self.rows.task(node_batch).is_some_and(|task| task.work.is_deep());
        if deep {
            let via = self.rows.plan.via.or(self.access.via);
            self.depth = Some(DeepStatus::begin(&self.link, &self.rows, via, self.packages.take(), deadline));
        }
        let work = async {
            let Ok(view) = timeout_at(deadline, self.view(node_batch)).await else {
                return BatchEnd::Early(EarlyExitCause::TimedOut);
            };
            if let Some(failure) = view.connection_lost() {
                return BatchEnd::Lost(lost(failure.clone()));
            }
            if !changes {
                let task = self.rows.plan.steps.get(node_batch.step).map_or_else(TaskIndex::default, |step| step.task);
                self.send(item, WorkerUpdate::Names(view.names(task).await)).await;
                for pending in view.pending_updates(task).await {
                    self.send(item, WorkerUpdate::Pending(Box::new(pending))).await;
                }
            }
            if deep {
                self.show(item, ActivityPhase::work("querying services")).await;
            }
            let VisitPlan { jobs, results } = view.agenda(node_batch);
            let jobs: Vec<Arc<NodeJob<T>>> = jobs.into_iter().map(Arc::new).collect();
            book.open(&jobs);
            // Whom an update concerns is known only after it.
            let named = jobs.iter().filter(|job| !matches!(job.as_ref(), NodeJob::Update { .. }));
            let found = named.map(|job| job.key()).chain(results.iter().map(TargetKey::of)).collect();
            self.send(item, WorkerUpdate::Targets(found)).await;
            let tell_rest = async {
                for mut result in results {
                    if let Some(depth) = &self.depth {
                        depth.judge_other(&mut result).await;
                    }
                    self.send(item, WorkerUpdate::Result(Box::new(result))).await;
                }
            };
            // What is said already may have to wait for a version.
            tokio::join!(tell_rest, self.do_all(node_batch, &jobs, book));
            let again = book.take_put_off();
            if !again.is_empty() {
                match self.guard_again(item).await {
                    Ok(()) => self.do_all(node_batch, &again, book).await,
                    Err(end) => self.tell_lost(node_batch, &again, book, &end).await,
                }
            }
            if let Some(depth) = &self.depth {
                let facts = depth.facts(Some(&view)).await;
                self.packages = depth.packages().await;
                self.send(item, WorkerUpdate::Facts(Box::new(facts))).await;
            }
            BatchEnd::Done
        };
        // What was read in depth until the time was over is told.
        let end = if deep { deadline + deep_status::GRACE } else { deadline };
        let ended = timeout_at(end, work).await.unwrap_or(BatchEnd::Early(EarlyExitCause::TimedOut));
        if let (BatchEnd::Early(_), Some(depth)) = (&ended, &self.depth) {
            let facts = depth.facts(None).await;
            self.send(item, WorkerUpdate::Facts(Box::new(facts))).await;
        }
        ended
    }

    /// What was read for this visit's task; read anew if it was read for another.
    async fn view(&mut self, node_batch: NodeBatch) -> Arc<DiscoveredNode<T>> {
        let task = self.rows.plan.steps.get(node_batch.step).map_or_else(TaskIndex::default, |step| step.task);
        if let Some((of, view)) = &self.view
            && *of == task
        {
            return Arc::clone(view);
        }
        self.show(WorkItem::Batch(node_batch), within("querying supervisord", self.access.timeout)).await;
        let view = Arc::new(DiscoveredNode::take(&self.link, self.rows.clone(), &self.access).await);
        self.view = Some((task, Arc::clone(&view)));
        view
    }

    /// Does the jobs: the processes of a group one after the other if they are changed, all else at the same time.
    /// Where the stop of a program restarts its whole instance, that program goes first, and alone.
    async fn do_all(&self, node_batch: NodeBatch, jobs: &[Arc<NodeJob<T>>], book: &JobTable<T>) {
        let mut chains: Vec<Vec<&Arc<NodeJob<T>>>> = Vec::new();
        for job in jobs {
            let same =
                |chain: &&mut Vec<&Arc<NodeJob<T>>>| chain.first().is_some_and(|first| first.group() == job.group());
            match chains.iter_mut().find(same) {
                Some(chain) if job.group().is_some() && self.rows.action(node_batch).changes() => chain.push(job),
                _ => chains.push(vec![job]),
            }
        }
        let cascades = |chain: &Vec<&Arc<NodeJob<T>>>| {
            chain.first().is_some_and(|job| match job.as_ref() {
                NodeJob::Process { instance, process } => instance.cascades(&process.group),
                NodeJob::Init { .. } | NodeJob::Update { .. } => false,
            })
        };
        let (first, rest): (Vec<_>, Vec<_>) = chains.into_iter().partition(cascades);
        for chain in first {
            self.do_chain(node_batch, chain, book).await;
        }
        stream::iter(rest)
            .for_each_concurrent(
                if self.depth.is_some() { SERVICES_AT_ONCE } else { GROUPS_AT_ONCE },
                |chain| async move { self.do_chain(node_batch, chain, book).await },
            )
            .await;
    }

    /// Connects to the node again and has its guard, and with it the lock, after both were lost.
    async fn guard_again(&mut self, item: WorkItem) -> Result<(), WorkItemEnd> {
        debug!("the connection dropped before everything was started; reconnecting");
        // No sign of life is asked for: the guard may not have noticed the loss yet. If it lives, closing its channel makes
        // it start what it is armed with and release the lock, and only then can the next lock be had.
        self.guard = None;
        self.lock(item).await.map_err(not_begun)
    }

    /// Sends a result for each job that was not started because the node was lost.
    async fn tell_lost(&self, node_batch: NodeBatch, jobs: &[Arc<NodeJob<T>>], book: &JobTable<T>, end: &WorkItemEnd) {
        let WorkItemEnd::Lost(outcome, failure) = end else { return };
        for job in jobs {
            let result =
                TargetResult { failure: Some(failure.clone()), ..job.result(&self.rows, node_batch, *outcome) };
            self.tell_result(node_batch, book, result).await;
            book.mark_reported(&job.key());
        }
    }

    async fn do_chain(&self, node_batch: NodeBatch, chain: Vec<&Arc<NodeJob<T>>>, book: &JobTable<T>) {
        let mut down: Option<String> = None;
        for (place, job) in chain.iter().enumerate() {
            if let Some(first) = &down
                && self.rows.action(node_batch) == Action::Restart
            {
                if let NodeJob::Process { instance, process } = job.as_ref() {
                    let result = self.rows.sibling_skipped(node_batch, instance, process, first);
                    self.tell_result(node_batch, book, result).await;
                }
                continue;
            }
            let Some(results) = self.one(node_batch, job, book).await else {
                return book.put_off(chain.iter().skip(place).copied());
            };
            for result in results {
                if result.outcome.is_bad() {
                    down.clone_from(&result.service);
                }
                self.tell_result(node_batch, book, result).await;
            }
            book.mark_reported(&job.key());
        }
    }

    /// Does one job. None: nothing was sent for it, and it has to be done once more, over another connection.
    async fn one(&self, node_batch: NodeBatch, job: &NodeJob<T>, book: &JobTable<T>) -> Option<Vec<TargetResult>> {
        let began = Instant::now();
        let key = job.key();
        let action = self.rows.action(node_batch);
        let policy = self.rows.task(node_batch).map(|task| task.policy.clone()).unwrap_or_default();
        let stable = policy.stable_time(node_batch.batched);
        if action.changes() {
            let name = key.service.as_deref().unwrap_or("the configuration");
            let phase = within(format!("{} {name}", doing(action)), self.timeout(node_batch));
            self.show(WorkItem::Batch(node_batch), phase).await;
        }
        let context = TargetContext {
            book,
            key: key.clone(),
            node_batch,
            guard: self.guard.as_ref(),
            guard_is_optional: self.guarding.is_optional,
            update: &self.update,
            stop_waiting: self.signals.stop_waiting.clone(),
            time: (began, self.timeout(node_batch)),
        };
        let mut suspects = Vec::new();
        let mut results = match job {
            NodeJob::Process { instance, process } => {
                let begun = self.begun(node_batch, &key);
                let work =
                    ProcessAction { instance: instance.as_ref(), listed: process, context: &context, stable, begun };
                let mut verdict = match action {
                    Action::Start => work.start().await,
                    Action::Stop => work.stop().await,
                    Action::Restart => work.restart().await,
                    Action::Status | Action::Update | Action::Ping | Action::Exec | Action::Wait | Action::Logs => {
                        let mut result = self.rows.read(node_batch, instance, process);
                        if let Some(depth) = &self.depth {
                            depth.judge(&mut result, instance, process).await;
                            result.duration_ms = u64::try_from(began.elapsed().as_millis()).ok();
                        }
                        if oneshot::is_well(instance, process).await {
                            result = result.ended_well();
                        }
                        return Some(vec![result]);
                    }
                };
                verdict.was_begun(begun);
                // However the work ended: what this run has stopped is started again, if that can still be done.
                if book.entry(&key).obligation == Obligation::MustStart && verdict.leaves_it_down() {
                    let mut seen = None;
                    let fulfil = recovery::fulfil(instance, process, Obligation::MustStart, PAYING, &mut seen);
                    let paid = timeout(PAYING, fulfil).await.unwrap_or(false);
                    verdict.was_mended(seen, paid);
                }
                let mut functional = None;
                let has_ended = verdict.process.as_ref().is_some_and(|process| process.state == ProcessState::Exited);
                if has_ended && action != Action::Stop && matches!(verdict.outcome, Outcome::Changed | Outcome::Ok) {
                    let result = self.rows.acted_on(node_batch, instance, process, verdict);
                    return Some(vec![TargetResult {
                        duration_ms: u64::try_from(began.elapsed().as_millis()).ok(),
                        ..result.ended_well()
                    }]);
                }
                if let Some(limit) = policy.active_limit()
                    && action != Action::Stop
                    && !verdict.outcome.is_bad()
                {
                    let (said, failure) = gate::active(instance, process, limit, &context).await;
                    functional = said;
                    if let Some(failure) = failure {
                        verdict.outcome = Outcome::Failed;
                        verdict.failure = Some(failure);
                    }
                }
                let mut result = self.rows.acted_on(node_batch, instance, process, verdict);
                result.functional = functional;
                if action != Action::Stop {
                    suspects.push((0, instance, process.clone()));
                }
                vec![result]
            }
            NodeJob::Init { role, service, is_instance, named } => {
                let target = InitTarget { link: &self.link, name: service, is_instance: *is_instance, stable };
                let verdict = match self.begun(node_batch, &key) {
                    Some(before) if action == Action::Restart => target.resume_restart(before, &context).await,
                    _ => target.act(action, Some(&context)).await,
                };
                let mut result = self.rows.of_init(node_batch, role, service, *is_instance, *named, verdict);
                if let Some(depth) = &self.depth {
                    depth.judge_other(&mut result).await;
                }
                vec![result]
            }
            NodeJob::Update { instances, .. } => {
                let services = self.rows.services(node_batch);
                let mut results = Vec::new();
                for instance in instances {
                    for (group, verdict) in update::update(instance, services, &policy, stable, &context).await {
                        suspects.extend(verdict.process.clone().map(|process| (results.len(), instance, process)));
                        results.push(self.rows.updated(node_batch, instance, group, verdict));
                    }
                }
                let concerns = |service: &ServicePattern, result: &TargetResult| {
                    result
                        .service
                        .as_deref()
                        .is_some_and(|name| name == service.as_str() || service.matches_group(name))
                };
                for service in services {
                    if !results.iter().any(|result| concerns(service, result)) {
                        results.push(self.rows.not_in_any_configuration(node_batch, service));
                    }
                }
                results
            }
        };
        if action.changes() && book.is_to_be_repeated(&key, &results) {
            return None;
        }
        let took = u64::try_from(began.elapsed().as_millis()).ok();
        for result in &mut results {
            result.duration_ms = took;
        }
        suspects.retain(|(place, ..)| results.get(*place).is_some_and(evidence::is_called_for));
        if !suspects.is_empty() {
            // Whatever becomes of the evidence: what is to be told of the targets stands.
            book.finalize(&key, results.clone());
            self.show(WorkItem::Batch(node_batch), ActivityPhase::work("finding out why it is not up")).await;
            let gathered = suspects.iter().map(|(_, instance, process)| evidence::gather(instance.as_ref(), process));
            let gathered = join_all(gathered).await;
            for ((place, ..), evidence) in suspects.iter().zip(gathered) {
                if let Some(result) = results.get_mut(*place) {
                    result.evidence = evidence;
                }
            }
        }
        Some(results)
    }

    /// Waits until all is as wanted; a signal ends the waiting.
    async fn wait(&mut self, node_batch: NodeBatch, until: WaitGoal) -> WorkItemEnd {
        let item = WorkItem::Batch(node_batch);
        let mut stop_waiting = self.signals.stop_waiting.clone();
        let update = self.update.clone();
        // What is shown may be dropped.
        let say = move |phase: ActivityPhase| {
            drop(update.try_send(WorkerMessage { item, update: WorkerUpdate::Phase(phase) }))
        };
        let results = tokio::select! {
            (results, names) = wait::wait(&self.link, &self.rows, &self.access, until, node_batch, say) => {
                if let Some(names) = names {
                    self.send(item, WorkerUpdate::Names(names)).await;
                }
                results
            }
            () = wait_until_set(&mut stop_waiting) => return WorkItemEnd::Done,
        };
        for result in results {
            self.send(item, WorkerUpdate::Result(Box::new(result))).await;
        }
        WorkItemEnd::Done
    }

    /// Shows logs. A signal ends it, and then it was as asked.
    async fn logs(&mut self, node_batch: NodeBatch, tail: LogTail) -> WorkItemEnd {
        let item = WorkItem::Batch(node_batch);
        let mut stop_waiting = self.signals.stop_waiting.clone();
        let (link, rows, access) = (&self.link, &self.rows, &self.access);
        let mut logs = LogFollower::new(link, rows, access, node_batch, tail, &self.update, &self.signals.turns);
        tokio::select! {
            () = logs.show() => {}
            () = wait_until_set(&mut stop_waiting) => {}
        }
        for result in logs.results() {
            self.send(item, WorkerUpdate::Result(Box::new(result))).await;
        }
        WorkItemEnd::Done
    }

    /// What a target was before a controller that is gone began with it.
    fn begun(&self, node_batch: NodeBatch, key: &TargetKey) -> Option<&TargetState> {
        let name = &self.rows.plan.nodes.get(self.rows.index)?.node.name;
        let states = self.rows.task(node_batch)?.in_flight.get(name)?;
        states
            .iter()
            .find(|state| state.role == key.role && state.supervisor == key.supervisor && state.service == key.service)
    }

    /// Runs the operator's command.
    async fn exec(&mut self, node_batch: NodeBatch, command: &str, input: Option<&CommandInput>) -> WorkItemEnd {
        let item = WorkItem::Batch(node_batch);
        if let Err(end) = self.make_ready(item, true).await {
            if let WorkItemEnd::Lost(outcome, failure) = &end {
                for result in self.rows.as_requested(node_batch, *outcome, failure) {
                    self.send(item, WorkerUpdate::Result(Box::new(result))).await;
                }
            }
            return end;
        }
        let key = TargetKey::of(&self.rows.empty(node_batch, Outcome::Ok));
        self.send(item, WorkerUpdate::Begun(key)).await;
        self.show(item, within("running the command", self.timeout(node_batch))).await;
        let began = Instant::now();
        let mut give_up = self.signals.give_up.clone();
        let access = NodeAccess { timeout: self.timeout(node_batch), ..self.access.clone() };
        let ended = exec::run(&self.link, command, input, &access, wait_until_set(&mut give_up)).await;
        let mut result = exec::judged(self.rows.empty(node_batch, Outcome::Changed), ended, &access);
        result.duration_ms = u64::try_from(began.elapsed().as_millis()).ok();
        self.send(item, WorkerUpdate::Result(Box::new(result))).await;
        WorkItemEnd::Done
    }

    /// Time for the action on the node: what the task says, else what holds for the node.
    fn timeout(&self, node_batch: NodeBatch) -> Duration {
        self.rows.task(node_batch).and_then(|task| task.timeout).unwrap_or(self.access.timeout)
    }

    fn silent(&self) -> Failure {
        let message = format!(
            "not finished after {:.1} s: its supervisords did not answer in time",
            self.access.timeout.as_secs_f64()
        );
        Failure::new(Stage::Inspect, FailureKind::TimedOut, message)
            .with_hint("check the node first; allow more time with --timeout")
    }

    /// Shows what is done or waited for.
    async fn show(&self, item: WorkItem, phase: ActivityPhase) {
        self.send(item, WorkerUpdate::Phase(phase)).await;
    }

    /// Where each hop has a time of its own, how long it takes in all is not known.
    fn connecting(&self) -> ActivityPhase {
        let limit = (self.access.endpoint.proxy == ProxyRoute::Direct).then_some(self.access.endpoint.connect_timeout);
        ActivityPhase { limit, ..ActivityPhase::work("connecting") }
    }

    /// What is waited for while another run has the node.
    fn lock_wait(&self, failure: &Failure) -> ActivityPhase {
        let name = super::results::node_name(&self.rows.plan, self.rows.index);
        let why = failure.message.strip_prefix(&format!("{name} is ")).unwrap_or(&failure.message);
        let (waited, wait) = (self.guarding.began.elapsed(), self.guarding.waits_until - self.guarding.began);
        ActivityPhase::wait(PhaseKind::Lock, why).within(waited, if waited < wait { wait } else { OLD_GUARD })
    }

    async fn tell_result(&self, node_batch: NodeBatch, book: &JobTable<T>, result: TargetResult) {
        let key = TargetKey::of(&result);
        self.send(WorkItem::Batch(node_batch), WorkerUpdate::Result(Box::new(result))).await;
        book.mark_reported(&key);
    }

    pub(super) async fn send(&self, item: WorkItem, update: WorkerUpdate) {
        if self.update.send(WorkerMessage { item, update }).await.is_err() {
            debug!("the run no longer listens");
        }
    }
}

/// Why a visit's work ended.
enum BatchEnd {
    Done,
    Lost(WorkItemEnd),
    Early(EarlyExitCause),
}

/// A node that another run has got is not begun.
fn not_begun(end: WorkItemEnd) -> WorkItemEnd {
    if let WorkItemEnd::Held(failure, _) = end { WorkItemEnd::Lost(Outcome::NotStarted, failure) } else { end }
}

/// The end of a node that cannot be worked on: it is not reached, does not answer, or runs nothing.
fn lost(failure: Failure) -> WorkItemEnd {
    WorkItemEnd::Lost(failure.outcome(), failure)
}

/// Ends when all tasks are told so.
pub(super) async fn wait_until_set(signal: &mut watch::Receiver<bool>) {
    if signal.wait_for(|reported| *reported).await.is_err() {
        std::future::pending::<()>().await;
    }
}

/// Something that is done, and given up after a time.
fn within(what: impl Into<String>, limit: Duration) -> ActivityPhase {
    ActivityPhase::work(what).within(Duration::ZERO, limit)
}

fn doing(action: Action) -> &'static str {
    match action {
        Action::Start => "starting",
        Action::Stop => "stopping",
        Action::Restart => "restarting",
        Action::Update => "updating",
        Action::Status | Action::Ping | Action::Exec | Action::Wait | Action::Logs => "reading",
    }
}
