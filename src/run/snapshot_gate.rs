//! The gate that compares: a node of a batch is to be no worse than a snapshot says it was.
//!
//! Here lives [`SnapshotGate`]. What always holds: the node is read as `ctl status` reads it, all that is meant there and not
//! only what was acted on, over the connection that the run has; nothing is changed; a restart is no harm, nor is that
//! what the run was to stop is stopped; it is asked again until the gate's own time is over, or a signal ends the
//! waiting. Start reading at [`SnapshotGate::wait`].

use std::time::Duration;

use tokio::sync::mpsc;
use tokio::time::{Instant, sleep, timeout_at};

use super::message::{NodeBatch, WorkItem, WorkItemEnd, WorkerMessage, WorkerUpdate};
use super::node_worker::{NodeWorker, wait_until_set};
use crate::event::{ActivityPhase, Failure, FailureKind, Outcome, PhaseKind, RunScope, Stage};
use crate::plan::{StepIndex, StoppedTarget};
use crate::snapshot::{NodeChange, Snapshot, SnapshotDiff, diff};
use crate::transport::Transport;

/// Between two looks at the node.
const POLL: Duration = Duration::from_secs(1);

/// What a reader may tell before it waits.
const NEWS_LIMIT: usize = 64;

/// Changes that are told of; of more, the number.
const MOST_TOLD: usize = 3;

/// The wait of one node.
pub(super) struct SnapshotGate<'a, T: Transport> {
    task: &'a NodeWorker<T>,
    node_batch: NodeBatch,
    /// What the snapshot says of the node.
    before: Snapshot,
    limit: Duration,
    reader: NodeWorker<T>,
    inbox: mpsc::Receiver<WorkerMessage>,
}

impl<'a, T: Transport> SnapshotGate<'a, T> {
    /// Of the node of `task`, after its visit.
    pub(super) fn new(task: &'a NodeWorker<T>, node_batch: NodeBatch, snapshot: &Snapshot) -> Self {
        let rows = task.rows();
        let limit = rows.task(node_batch).map(|task| task.policy.gate_timeout).unwrap_or_default();
        let (update, inbox) = mpsc::channel(NEWS_LIMIT);
        let before = snapshot.of_node(&super::results::node_name(&rows.plan, rows.index));
        Self { task, node_batch, before, limit, reader: task.reader(update, limit), inbox }
    }

    /// Waits until nothing is worse. Not passed, it says what is.
    pub(super) async fn wait(mut self) -> WorkItemEnd {
        let scope = self.scope();
        if !self.before.results.iter().any(|result| scope.concerns(result.role.as_deref())) {
            self.gate(Some(true), "not in the snapshot".to_owned()).await;
            return WorkItemEnd::Done;
        }
        let mut stop_waiting = self.task.stop_waiting();
        tokio::select! {
            end = self.look_again() => end,
            () = wait_until_set(&mut stop_waiting) => WorkItemEnd::Done,
        }
    }

    async fn look_again(&mut self) -> WorkItemEnd {
        let began = Instant::now();
        let deadline = began + self.limit;
        let mut said = None;
        loop {
            let worse = match timeout_at(deadline, self.read()).await {
                Ok(after) => self.worse(&after),
                Err(_) => said.clone().or_else(|| Some("cannot read the node in time".to_owned())),
            };
            let Some(worse) = worse else {
                self.gate(Some(true), "nothing is worse than before".to_owned()).await;
                return WorkItemEnd::Done;
            };
            if Instant::now() + POLL >= deadline {
                self.gate(Some(false), worse.clone()).await;
                return WorkItemEnd::Lost(Outcome::Failed, self.failure(&worse));
            }
            if said.as_ref() != Some(&worse) {
                self.gate(None, worse.clone()).await;
            }
            let phase = ActivityPhase::wait(PhaseKind::Gate, worse.clone()).within(began.elapsed(), self.limit);
            self.say(WorkerUpdate::Phase(phase)).await;
            said = Some(worse);
            sleep(POLL).await;
        }
    }

    /// What is read of the node.
    fn scope(&self) -> RunScope {
        let rows = self.task.rows();
        rows.plan.scope_of(rows.index)
    }

    /// The node as it is now.
    async fn read(&mut self) -> Snapshot {
        let node_batch =
            NodeBatch { step: StepIndex::default(), batch: self.node_batch.batch, node: 0, batched: false };
        let selection = self.scope();
        let (reader, inbox) = (&mut self.reader, &mut self.inbox);
        reader.forget();
        // What was told by a look that was not waited for.
        while inbox.try_recv().is_ok() {}
        let mut after = Snapshot { selection, ..Snapshot::default() };
        let mut take = |update: WorkerUpdate| match update {
            WorkerUpdate::Result(result) => after.results.push(*result),
            WorkerUpdate::Facts(facts) => after.nodes.push(*facts),
            WorkerUpdate::Phase(_) | WorkerUpdate::Targets(_) | WorkerUpdate::Begun(_) | WorkerUpdate::Gate { .. } => {}
            WorkerUpdate::Lines(_) | WorkerUpdate::Notice(_) | WorkerUpdate::Names(_) | WorkerUpdate::Pending(_) => {}
        };
        let mut work = Box::pin(reader.node_batch(node_batch));
        loop {
            tokio::select! {
                biased;
                Some(message) = inbox.recv() => take(message.update),
                _ = &mut work => break,
            }
        }
        while let Ok(message) = inbox.try_recv() {
            take(message.update);
        }
        after
    }

    /// What is worse, if anything is.
    fn worse(&self, after: &Snapshot) -> Option<String> {
        let found = diff(&self.before, after);
        let worse: Vec<NodeChange> = found.worse().filter(|change| !self.is_wanted(change)).cloned().collect();
        if worse.is_empty() {
            return None;
        }
        let lines = SnapshotDiff { changes: worse, ..SnapshotDiff::default() }.lines();
        let reported = lines.iter().take(MOST_TOLD).map(|line| match &line.what {
            Some(what) => format!("{what}: {}", line.text),
            None => line.text.clone(),
        });
        let reported = reported.collect::<Vec<_>>().join("; ");
        let more = lines.len().saturating_sub(MOST_TOLD);
        Some(if more > 0 { format!("{reported}; and {more} more") } else { reported })
    }

    /// Whether the run itself was to bring a change about: it has stopped what is not up.
    fn is_wanted(&self, change: &NodeChange) -> bool {
        let rows = self.task.rows();
        let Some(step) = rows.plan.steps.get(self.node_batch.step) else { return false };
        let target = StoppedTarget {
            role: change.role.as_deref(),
            supervisor: change.supervisor.as_deref(),
            service: change.service.as_deref(),
        };
        rows.plan.has_stopped(step.task, rows.index, &target)
    }

    fn failure(&self, worse: &str) -> Failure {
        let rows = self.task.rows();
        let path = rows.task(self.node_batch).and_then(|task| task.policy.gate_snapshot.clone()).unwrap_or_default();
        let message = format!("worse than in {} after {} s: {worse}", path.display(), self.limit.as_secs());
        let node = super::results::node_name(&rows.plan, rows.index);
        Failure::new(Stage::Verify, FailureKind::Gate, message).with_hint(format!(
            "see all of it with `ctl snapshot diff {} live -w {node}`; allow more time with --gate-timeout",
            path.display()
        ))
    }

    async fn gate(&self, met: Option<bool>, waiting_for: String) {
        self.say(WorkerUpdate::Gate { service: None, met, waiting_for }).await;
    }

    async fn say(&self, update: WorkerUpdate) {
        self.task.send(WorkItem::Check(self.node_batch), update).await;
    }
}
