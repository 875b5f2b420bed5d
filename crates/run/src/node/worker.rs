//! One node's worker in a run: it does the work items that the dispatcher gives it, one at a time.
//!
//! Here lives [`NodeWorker`]: the context of the node, its lock, and its last reading. The work itself is in the actions
//! and the gates. Invariants: one connection; each target found has one result; the worker never prints, never
//! decides which node is next, and ends within its time. Start reading at [`NodeWorker::work`].

use std::sync::Arc;

use tokio::time::timeout;
use tracing::debug;

use crate::action::change;
use crate::action::copy;
use crate::action::exec;
use crate::action::logs;
use crate::action::status;
use crate::action::status::NodeMemory;
use crate::action::wait;
use crate::engine::message::{NodeBatch, NodeInspection, WorkItem, WorkItemEnd};
use crate::gate;
use crate::node::context::{NodeContext, within};
use crate::node::discovery::DiscoveredNode;
use crate::node::lock::NodeLock;
use crate::node::signals::wait_until_set;
use crate::results::ResultBuilder;
use crate::sequence::{self, RunScopes};
use ctl_event::{Failure, FailureKind, Outcome, Stage};
use ctl_plan::{Plan, TaskIndex, Work};
use ctl_transport::Transport;

/// A node and all that is known of it in this run.
pub(crate) struct NodeWorker<T: Transport> {
    node: NodeContext<T>,
    lock: NodeLock,
    memory: NodeMemory<T>,
    scopes: Arc<RunScopes>,
}

impl<T: Transport> NodeWorker<T> {
    pub(crate) fn new(node: NodeContext<T>, lock: NodeLock, scopes: Arc<RunScopes>) -> Self {
        Self { node, lock, memory: NodeMemory::default(), scopes }
    }

    /// Does one work item.
    pub(crate) async fn work(&mut self, item: WorkItem) -> WorkItemEnd {
        match item {
            // A batch may have changed something, so it handles the signals itself.
            WorkItem::Batch(node_batch) => self.batch(node_batch).await,
            WorkItem::Item(item) => sequence::act(&self.node, item, &mut self.lock, &self.scopes).await,
            WorkItem::Connect(_) | WorkItem::Lock(_) | WorkItem::Inspect(_) | WorkItem::Check(_) => {
                // Before the first change there is nothing to finish, so the first signal drops the work. A check
                // handles that one itself, and only the second signal drops it.
                let is_check = matches!(item, WorkItem::Check(_));
                let signals = &self.node.signals;
                let mut signal = if is_check { signals.give_up.clone() } else { signals.stop_waiting.clone() };
                tokio::select! {
                    end = self.prepare(item) => end,
                    // The dispatcher reports the targets that were not changed.
                    () = wait_until_set(&mut signal) => WorkItemEnd::Done,
                }
            }
        }
    }

    async fn prepare(&mut self, item: WorkItem) -> WorkItemEnd {
        let node = &self.node;
        match item {
            WorkItem::Connect(_) => node.connect(item).await.map_or_else(|end| end, |_| WorkItemEnd::Done),
            WorkItem::Lock(_) => self.lock.take(node, item).await.map_or_else(|end| end, |()| WorkItemEnd::Done),
            WorkItem::Inspect(_) => {
                let limit = node.access.timeout;
                node.show(item, within("querying supervisord", limit)).await;
                match timeout(limit, self.inspect()).await {
                    Ok(Ok(inspection)) => WorkItemEnd::Inspected(inspection),
                    Ok(Err(end)) => end,
                    Err(_) => WorkItemEnd::Lost(Outcome::TimedOut, self.silent()),
                }
            }
            WorkItem::Check(node_batch) => gate::wait_at_node_gates(node, node_batch).await,
            WorkItem::Batch(_) | WorkItem::Item(_) => WorkItemEnd::Done,
        }
    }

    /// Does the work of a batch on this node.
    async fn batch(&mut self, node_batch: NodeBatch) -> WorkItemEnd {
        let Self { node, lock, memory, .. } = self;
        match node.results.task(node_batch).map(|task| &task.work) {
            Some(Work::Exec { command, input }) => exec::act(node, node_batch, lock, command, input.as_ref()).await,
            Some(Work::Copy(files)) => copy::act(node, node_batch, lock, files).await,
            Some(Work::Wait { goal, .. }) => wait::run(node, node_batch, *goal).await,
            Some(Work::Logs { tail, .. }) => logs::run(node, node_batch, *tail).await,
            Some(Work::Service { .. }) => change::change(node, node_batch, &mut memory.discovery, lock).await,
            Some(Work::Sequence(_)) => sequence::prepare(node, node_batch, lock).await,
            Some(Work::Status { .. } | Work::Ping) | None => {
                status::read(node, node_batch, memory, lock.is_guarded()).await
            }
        }
    }

    /// Reads the node before the first change. A connection that is cut meanwhile is opened again, once: nothing has
    /// been changed yet, so that is all it costs.
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
        let node = &self.node;
        let found = Arc::new(DiscoveredNode::take(&node.connection, node.results.clone(), &node.access).await);
        // Results of a node that went away halfway would blame its supervisords, so the whole reading is dropped.
        if let Some(failure) = found.connection_lost() {
            return Err(WorkItemEnd::of_failure(failure.clone()));
        }
        let mut inspection = found.inspect(&node.connection).await;
        let mut rescues = found.rescues(&node.connection);
        for (task, of_item) in self.item_plans() {
            let of_item = found.in_plan(ResultBuilder { plan: Arc::new(of_item), index: 0 });
            rescues.extend(of_item.rescues(&node.connection));
            inspection.add_item(task, of_item.inspect(&node.connection).await);
        }
        for of_item in self.helped_plans() {
            // Services that are down there count towards no cap.
            let of_item = found.in_plan(ResultBuilder { plan: Arc::new(of_item), index: 0 });
            rescues.extend(of_item.rescues(&node.connection));
        }
        match self.lock.rehearse(node, &rescues).await {
            Ok(()) => {}
            // The state that was read holds: its services may be up whatever its guard can do.
            Err(WorkItemEnd::Lost(outcome @ (Outcome::Failed | Outcome::TimedOut), failure)) => {
                inspection.refusal = Some((outcome, failure));
            }
            Err(end) => return Err(end),
        }
        let results = &node.results;
        // The reading serves the first task of this node; a later task may have changed the node and reads it again.
        let first = results.plan.steps.iter().find(|step| step.nodes.contains(&results.index));
        self.memory.discovery.set(first.map_or_else(TaskIndex::default, |step| step.task), found);
        Ok(inspection)
    }

    /// The plans of all items in the sequences of this node that change its services, each with the task of its sequence.
    fn item_plans(&self) -> Vec<(TaskIndex, Plan)> {
        let ResultBuilder { plan, index } = &self.node.results;
        let tasks = plan.tasks.indexed().filter_map(|(task, own)| Some((task, own.work.sequence()?)));
        // A node that only counts towards the cap of a sequence is read for it too.
        let is_meant = |task: TaskIndex| {
            plan.steps.iter().any(|step| step.task == task && step.nodes.contains(index))
                || plan.caps.iter().any(|cap| cap.task == task && cap.members.contains(index))
        };
        let items = tasks.filter(|(task, _)| is_meant(*task)).flat_map(|(task, sequence)| {
            let own = sequence.items().iter().enumerate().filter(|(_, item)| item.place.helper().is_none());
            own.filter_map(move |(item, _)| Some((task, plan.of_item(task, item, *index)?)))
        });
        items.collect()
    }

    /// The plans of all items that change services of this node for other nodes.
    fn helped_plans(&self) -> Vec<Plan> {
        let ResultBuilder { plan, index } = &self.node.results;
        let tasks = plan.tasks.indexed().filter_map(|(task, own)| Some((task, own.work.sequence()?)));
        let items = tasks.flat_map(|(task, sequence)| {
            let items = sequence.items().iter().enumerate().filter(|(_, item)| item.place.helper().is_some());
            let here = items.filter(|(_, item)| plan.place_of(item, *index) == Some(*index));
            here.filter_map(move |(item, _)| plan.of_item(task, item, *index))
        });
        items.collect()
    }

    /// Takes nothing for granted that was read before, but for the versions of packages; the connection is kept.
    pub(crate) fn forget(&mut self) {
        self.memory.discovery.clear();
    }

    /// Closes the connection. Everything reached over it is read anew.
    pub(crate) async fn hang_up(&mut self) {
        self.forget();
        self.node.connection.hang_up().await;
    }

    /// Releases the lock of the node.
    pub(crate) async fn release(&mut self) {
        self.lock.release(&self.node).await;
    }

    fn silent(&self) -> Failure {
        let seconds = self.node.access.timeout.as_secs_f64();
        let message = format!("not finished after {seconds:.1} s: its supervisords did not answer in time");
        Failure::new(Stage::Inspect, FailureKind::TimedOut, message)
            .with_hint("check the node first; allow more time with --timeout")
    }
}
