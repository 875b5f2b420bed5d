//! The gate that compares: a node of a batch must be no worse than in a snapshot.
//!
//! Here lives [`SnapshotGate`]. Invariants: the node is read as `ctl status` reads it, everything that is meant
//! there and not only the targets of the action, over the connection of the run; nothing is changed; a restart is no
//! harm, nor is a service that this run stopped; the node is read again until the gate's own time is over, or a signal
//! ends the waiting. Start reading at [`wait`].

use std::path::Path;
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::time::{Instant, timeout_at};

use super::{GateReporter, PollEnd, PolledGate, poll};
use crate::action::status::{self, NodeMemory};
use crate::engine::message::{NodeBatch, WorkItemEnd, WorkerMessage, WorkerUpdate};
use crate::node::context::NodeContext;
use crate::node::signals::wait_until_set;
use ctl_event::{Failure, FailureKind, Outcome, RunScope, Stage};
use ctl_plan::{StepIndex, StoppedTarget};
use ctl_snapshot::{NodeChange, Snapshot, SnapshotDiff, diff};
use ctl_transport::Transport;

/// Updates that a reading may send before it waits.
const UPDATE_LIMIT: usize = 64;

/// Changes that a message names; of more, the number.
const MOST_NAMED: usize = 3;

/// Waits until nothing on the node is worse than in the snapshot of its task, which was read from `path`.
pub(super) async fn wait<T: Transport>(
    node: &NodeContext<T>,
    node_batch: NodeBatch,
    path: &Path,
    limit: Duration,
) -> WorkItemEnd {
    let Some(snapshot) = node.results.task(node_batch).and_then(|task| task.snapshot.clone()) else {
        return WorkItemEnd::Done;
    };
    let (updates, inbox) = mpsc::channel(UPDATE_LIMIT);
    let before = snapshot.of_node(&node.name());
    let (reader, memory) = (node.reader(updates, limit), NodeMemory::default());
    SnapshotGate { node, node_batch, path, before, limit, reader, memory, inbox, last_worse: None }.wait().await
}

/// The wait of one node.
struct SnapshotGate<'a, T: Transport> {
    node: &'a NodeContext<T>,
    node_batch: NodeBatch,
    path: &'a Path,
    /// The part of the snapshot that is about the node.
    before: Snapshot,
    limit: Duration,
    /// Reads the node into `inbox`.
    reader: NodeContext<T>,
    memory: NodeMemory<T>,
    inbox: mpsc::Receiver<WorkerMessage>,
    /// The last comparison, if something was worse.
    last_worse: Option<String>,
}

impl<T: Transport> SnapshotGate<'_, T> {
    async fn wait(mut self) -> WorkItemEnd {
        let scope = self.scope();
        let reporter = GateReporter::Node(self.node, self.node_batch);
        // A node that is not in the snapshot cannot be worse than there.
        if !self.before.results.iter().any(|result| scope.concerns(result.role.as_deref())) {
            reporter.gate(Some(true), "not in the snapshot".to_owned()).await;
            return WorkItemEnd::Done;
        }
        let mut stop_waiting = self.node.signals.stop_waiting.clone();
        let limit = self.limit;
        let end = tokio::select! {
            end = poll(&mut self, limit, &reporter) => end,
            // A reading that is dropped here has changed nothing, and no further batch starts after a signal.
            () = wait_until_set(&mut stop_waiting) => {
                reporter.gate(Some(false), "not waited for to the end".to_owned()).await;
                PollEnd::Cut
            }
        };
        match end {
            PollEnd::Met | PollEnd::Cut => WorkItemEnd::Done,
            PollEnd::NotMet(worse) => WorkItemEnd::Lost(Outcome::Failed, self.failure(&worse)),
        }
    }

    /// The roles and services that are read.
    fn scope(&self) -> RunScope {
        self.node.results.plan.scope_of(self.node.results.index)
    }

    /// The node as it is now.
    async fn read_node(&mut self) -> Snapshot {
        let node_batch =
            NodeBatch { step: StepIndex::default(), batch: self.node_batch.batch, node: 0, batched: false };
        let selection = self.scope();
        let Self { reader, memory, inbox, .. } = self;
        // The gate needs the node as it is now, not as the batch found it.
        memory.discovery.clear();
        // Updates of a reading that was dropped at its deadline.
        while inbox.try_recv().is_ok() {}
        let mut after = Snapshot { selection, ..Snapshot::default() };
        let mut take = |update: WorkerUpdate| match update {
            WorkerUpdate::Result(result) => after.results.push(*result),
            WorkerUpdate::Facts(facts) => after.nodes.push(*facts),
            WorkerUpdate::Phase(_) | WorkerUpdate::Silent(_) | WorkerUpdate::Targets(_) => {}
            WorkerUpdate::Begun(_) | WorkerUpdate::Gate { .. } => {}
            WorkerUpdate::Lines(_) | WorkerUpdate::Notice(_) | WorkerUpdate::Names(_) | WorkerUpdate::Pending(_) => {}
        };
        let mut work = Box::pin(status::read(reader, node_batch, memory, false));
        loop {
            tokio::select! {
                // The inbox first: it is bounded, and a reading that finds it full waits for us.
                biased;
                Some(message) = inbox.recv() => take(message.update),
                _ = &mut work => break,
            }
        }
        // The reading has ended, but its last updates may still be in the inbox.
        while let Ok(message) = inbox.try_recv() {
            take(message.update);
        }
        after
    }

    /// The changes for the worse, in words; none if there are none.
    fn worse(&self, after: &Snapshot) -> Option<String> {
        let found = diff(&self.before, after);
        let worse: Vec<NodeChange> = found.worse().filter(|change| !self.is_wanted(change)).cloned().collect();
        if worse.is_empty() {
            return None;
        }
        let lines = SnapshotDiff { changes: worse, ..SnapshotDiff::default() }.lines();
        let reported = lines.iter().take(MOST_NAMED).map(|line| match &line.what {
            Some(what) => format!("{what}: {}", line.text),
            None => line.text.clone(),
        });
        let reported = reported.collect::<Vec<_>>().join("; ");
        let more = lines.len().saturating_sub(MOST_NAMED);
        Some(if more > 0 { format!("{reported}; and {more} more") } else { reported })
    }

    /// Whether the run itself was to cause a change: it stopped the service that is not up.
    fn is_wanted(&self, change: &NodeChange) -> bool {
        let rows = &self.node.results;
        let Some(step) = rows.plan.steps.get(self.node_batch.step) else { return false };
        let target = StoppedTarget {
            role: change.role.as_deref(),
            supervisor: change.supervisor.as_deref(),
            service: change.service.as_deref(),
        };
        rows.plan.has_stopped(step.task, rows.index, &target)
    }

    fn failure(&self, worse: &str) -> Failure {
        let path = self.path;
        let message = format!("worse than in {} after {} s: {worse}", path.display(), self.limit.as_secs());
        let node = self.node.name();
        Failure::new(Stage::Verify, FailureKind::Gate, message).with_hint(format!(
            "see all of it with `ctl snapshot diff {} live -w {node}`; allow more time with --gate-timeout",
            path.display()
        ))
    }
}

impl<T: Transport> PolledGate for SnapshotGate<'_, T> {
    const PAUSE: Duration = Duration::from_secs(1);
    // No reading that could not end in time is started.
    const MARGIN: Duration = Self::PAUSE;

    async fn read(&mut self, deadline: Instant) -> Result<String, String> {
        let worse = match timeout_at(deadline, self.read_node()).await {
            Ok(after) => self.worse(&after),
            // The last comparison that was made still holds; without one, that is the failure.
            Err(_) => self.last_worse.take().or_else(|| Some("cannot read the node in time".to_owned())),
        };
        self.last_worse.clone_from(&worse);
        worse.map_or_else(|| Ok("nothing is worse than before".to_owned()), Err)
    }
}
