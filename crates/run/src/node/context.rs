//! The parts of a node that every action and every gate gets: its connection, its results, the channel for updates, the
//! signals.
//!
//! Here lives [`NodeContext`]. It uses the messages, the results and the connection, and knows no action, no gate and no
//! worker, so that each of them can be read and tested alone. Invariants: a context belongs to one node of one
//! plan; nothing is decided here. Start reading at [`NodeContext`].

use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::time::timeout;
use tracing::debug;

use crate::engine::message::{NodeBatch, WorkItem, WorkItemEnd, WorkerMessage, WorkerUpdate};
use crate::node::access::NodeAccess;
use crate::node::connection::NodeConnection;
use crate::node::signals::RunSignals;
use crate::results::{ResultBuilder, node_name};
use ctl_event::{ActivityPhase, ItemLabel, TargetResult};
use ctl_plan::{Plan, TaskIndex};
use ctl_transport::{ProxyRoute, Transport};

/// A node that lets a connection wait for so long need not keep others from being worked on.
const SILENT: Duration = Duration::from_secs(1);

/// A node, and everything that the work on it needs.
pub(crate) struct NodeContext<T: Transport> {
    /// Makes its results; knows the plan and the index of the node.
    pub(crate) results: ResultBuilder,
    /// Its one connection.
    pub(crate) connection: Arc<NodeConnection<T>>,
    /// How it is reached, and the time for an action on it.
    pub(crate) access: NodeAccess,
    /// Where updates go.
    pub(crate) updates: mpsc::Sender<WorkerMessage>,
    /// The signals of the run.
    pub(crate) signals: RunSignals,
    /// As which item it reports, if an item of a sequence has a plan of its own.
    reporter: Option<ItemReporter>,
}

/// How the work on an item that has a plan of its own is reported: as that item of the run's plan.
#[derive(Clone)]
pub(crate) struct ItemReporter {
    /// The item.
    pub(crate) item: WorkItem,
    /// Its label, for its results.
    pub(crate) label: Option<ItemLabel>,
    /// Set once one of its results is bad.
    pub(crate) is_bad: Arc<AtomicBool>,
    /// The node that it is for, where it runs on another one: its name and its address.
    pub(crate) helped: Option<(String, Option<String>)>,
}

impl<T: Transport> NodeContext<T> {
    /// Of node `index` of `plan`. Connects to nothing yet.
    pub(crate) fn new(
        plan: Arc<Plan>,
        index: usize,
        access: NodeAccess,
        transport: Arc<T>,
        updates: mpsc::Sender<WorkerMessage>,
        signals: RunSignals,
    ) -> Self {
        let connection = Arc::new(NodeConnection::new(transport, &access));
        Self { results: ResultBuilder { plan, index }, connection, access, updates, signals, reporter: None }
    }

    /// The same node in a plan that reads all that is meant there, over the same connection. It reports to `updates`.
    pub(crate) fn reader(&self, updates: mpsc::Sender<WorkerMessage>, timeout: Duration) -> Self {
        Self {
            results: ResultBuilder { plan: Arc::new(self.results.plan.reading_of(self.results.index)), index: 0 },
            connection: Arc::clone(&self.connection),
            // A reading for a gate must not outlast the gate.
            access: NodeAccess { timeout: timeout.min(self.access.timeout), ..self.access.clone() },
            updates,
            signals: self.signals.clone(),
            reporter: None,
        }
    }

    /// Whether it works on an item of a sequence.
    pub(crate) fn is_of_item(&self) -> bool {
        self.reporter.is_some()
    }

    /// The same node in the plan of an item, over the same connection.
    pub(crate) fn of_item(&self, results: ResultBuilder, reporter: ItemReporter) -> Self {
        Self {
            results,
            connection: Arc::clone(&self.connection),
            access: self.access.clone(),
            updates: self.updates.clone(),
            signals: self.signals.clone(),
            reporter: Some(reporter),
        }
    }

    /// Its name.
    pub(crate) fn name(&self) -> String {
        node_name(&self.results.plan, self.results.index)
    }

    /// The index of the task of a batch.
    pub(crate) fn task_index(&self, node_batch: NodeBatch) -> TaskIndex {
        self.results.plan.steps.get(node_batch.step).map_or_else(TaskIndex::default, |step| step.task)
    }

    /// Time for the action on the node: that of the task, else that of the node.
    pub(crate) fn timeout(&self, node_batch: NodeBatch) -> Duration {
        self.results.task(node_batch).and_then(|task| task.timeout).unwrap_or(self.access.timeout)
    }

    /// Its access, with the time for the action of a batch.
    pub(crate) fn access_for(&self, node_batch: NodeBatch) -> NodeAccess {
        NodeAccess { timeout: self.timeout(node_batch), ..self.access.clone() }
    }

    /// Connects to the node, unless a connection is open, and shows that.
    pub(crate) async fn connect(&self, item: WorkItem) -> Result<Arc<T::Session>, WorkItemEnd> {
        // Where each hop has a time of its own, the time for all of them is not known.
        let limit = (self.access.endpoint.proxy == ProxyRoute::Direct).then_some(self.access.endpoint.connect_timeout);
        self.show(item, ActivityPhase { limit, ..ActivityPhase::work("connecting") }).await;
        let mut connecting = std::pin::pin!(self.connection.session());
        let connected = match timeout(SILENT, connecting.as_mut()).await {
            Ok(connected) => connected,
            Err(_) => {
                self.send(item, WorkerUpdate::Silent(true)).await;
                let connected = connecting.await;
                self.send(item, WorkerUpdate::Silent(false)).await;
                connected
            }
        };
        connected.map_err(|error| WorkItemEnd::of_failure(error.failure()))
    }

    /// Shows the current work of the node.
    pub(crate) async fn show(&self, item: WorkItem, phase: ActivityPhase) {
        self.send(item, WorkerUpdate::Phase(phase)).await;
    }

    /// Sends the results of targets.
    pub(crate) async fn send_results(&self, item: WorkItem, results: impl IntoIterator<Item = TargetResult>) {
        for result in results {
            self.send(item, WorkerUpdate::Result(Box::new(result))).await;
        }
    }

    /// Sends an update to the dispatcher. It waits while the dispatcher has too much to read.
    pub(crate) async fn send(&self, mut item: WorkItem, mut update: WorkerUpdate) {
        if let Some(reporter) = &self.reporter {
            item = reporter.item;
            if let WorkerUpdate::Result(result) = &mut update {
                result.item.clone_from(&reporter.label);
                if let Some((name, address)) = &reporter.helped {
                    result.node.clone_from(name);
                    result.address.clone_from(address);
                }
                reporter.is_bad.fetch_or(result.outcome.is_bad(), Relaxed);
            }
        }
        if self.updates.send(WorkerMessage { item, update }).await.is_err() {
            // The receiver is gone only once the run is over, and the work ends by itself then.
            debug!("the run no longer listens");
        }
    }
}

/// Something that takes at most `limit`.
pub(crate) fn within(what: impl Into<String>, limit: Duration) -> ActivityPhase {
    ActivityPhase::work(what).within(Duration::ZERO, limit)
}
