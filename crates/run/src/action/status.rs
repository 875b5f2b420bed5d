//! Reads a node: `ctl status`, `ctl ping`, and the readings of the snapshot gate.
//!
//! Invariants: nothing is changed and no lock is taken; each target that is meant has a result, also where the
//! node does not answer in time. Start reading at [`read`].

use std::time::Duration;

use futures_util::stream::{self, StreamExt};
use tokio::time::{Instant, timeout_at};

use crate::action::batch::{self, BatchEnd, Chain};
use crate::action::init_service::InitTarget;
use crate::action::job::NodeJob;
use crate::action::obligations::JobTable;
use crate::action::recovery::EarlyExitCause;
use crate::engine::message::{NodeBatch, WorkItem, WorkItemEnd, WorkerUpdate};
use crate::node::context::NodeContext;
use crate::node::deep_status::{self, DeepStatus, PackageVersions};
use crate::node::discovery::DiscoveryCache;
use crate::node::oneshot;
use crate::node::signals::wait_until_set;
use ctl_event::{ActivityPhase, TargetResult};
use ctl_plan::Action;
use ctl_transport::Transport;

/// Targets of one node that are read at once; each takes a channel of its own.
const AT_ONCE: usize = 8;

/// The same where services are also queried about their work.
const SERVICES_AT_ONCE: usize = 32;

/// The parts of a reading of a node that are kept for the next one.
pub(crate) struct NodeMemory<T: Transport> {
    /// Its supervisords, as they were read last.
    pub(crate) discovery: DiscoveryCache<T>,
    /// Versions of its packages, as they were read last.
    packages: Option<PackageVersions>,
}

impl<T: Transport> Default for NodeMemory<T> {
    fn default() -> Self {
        Self { discovery: DiscoveryCache::default(), packages: None }
    }
}

/// Does the work of a batch that reads. `is_guarded`: the guard of the node lives.
pub(crate) async fn read<T: Transport>(
    node: &NodeContext<T>,
    node_batch: NodeBatch,
    memory: &mut NodeMemory<T>,
    is_guarded: bool,
) -> WorkItemEnd {
    let mut give_up = node.signals.give_up.clone();
    let table = JobTable::default();
    let ended = tokio::select! {
        ended = read_in_time(node, node_batch, memory, &table) => ended,
        () = wait_until_set(&mut give_up) => BatchEnd::Early(EarlyExitCause::GivenUp),
    };
    batch::finish(node, node_batch, &table, is_guarded, ended).await
}

async fn read_in_time<T: Transport>(
    node: &NodeContext<T>,
    node_batch: NodeBatch,
    memory: &mut NodeMemory<T>,
    table: &JobTable<T>,
) -> BatchEnd {
    let item = WorkItem::Batch(node_batch);
    if let Err(end) = node.connect(item).await {
        return BatchEnd::Lost(end);
    }
    // Only from here on: connecting has a time of its own.
    let deadline = Instant::now() + node.timeout(node_batch);
    let NodeMemory { discovery, packages } = memory;
    let is_deep = node.results.task(node_batch).is_some_and(|task| task.work.is_deep());
    let deep = is_deep.then(|| {
        let via = node.results.plan.via.or(node.access.via);
        DeepStatus::begin(&node.connection, &node.results, via, packages.take(), deadline)
    });
    let work = read_all(node, node_batch, discovery, deep.as_ref(), deadline, table);
    // A deep status ends its own queries at the deadline, and reports the facts that were read until then.
    let end = if is_deep { deadline + deep_status::GRACE } else { deadline };
    let ended = timeout_at(end, work).await.unwrap_or(BatchEnd::Early(EarlyExitCause::TimedOut));
    if let Some(deep) = &deep {
        match &ended {
            BatchEnd::Done => *packages = deep.packages().await,
            BatchEnd::Early(_) => {
                // The facts that were read in time are shown anyway.
                let facts = deep.facts(None).await;
                node.send(item, WorkerUpdate::Facts(Box::new(facts))).await;
            }
            BatchEnd::Lost(_) => {}
        }
    }
    ended
}

async fn read_all<T: Transport>(
    node: &NodeContext<T>,
    node_batch: NodeBatch,
    discovery: &mut DiscoveryCache<T>,
    deep: Option<&DeepStatus<T>>,
    deadline: Instant,
    table: &JobTable<T>,
) -> BatchEnd {
    let item = WorkItem::Batch(node_batch);
    // The node's own deadline: the grace time is only for the results of a deep status.
    let Ok(found) = timeout_at(deadline, discovery.get(node, node_batch)).await else {
        return BatchEnd::Early(EarlyExitCause::TimedOut);
    };
    if let Some(failure) = found.connection_lost() {
        return BatchEnd::Lost(WorkItemEnd::of_failure(failure.clone()));
    }
    let task = node.task_index(node_batch);
    node.send(item, WorkerUpdate::Names(found.names(task).await)).await;
    for pending in found.pending_updates(task).await {
        node.send(item, WorkerUpdate::Pending(Box::new(pending))).await;
    }
    if deep.is_some() {
        node.show(item, ActivityPhase::work("querying services")).await;
    }
    let (jobs, results) = batch::open(node, node_batch, &found, table).await;
    let report_rest = async {
        for mut result in results {
            if let Some(deep) = deep {
                deep.judge_other(&mut result).await;
            }
            node.send_results(item, [result]).await;
        }
    };
    let read_chain = async |chain: Chain<'_, T>| {
        for job in chain {
            let result = read_job(node, node_batch, job, deep).await;
            batch::report(node, node_batch, table, result).await;
            table.mark_reported(&job.key());
        }
    };
    let read_jobs = async {
        let (first, rest) = batch::chains(&jobs, false);
        for chain in first {
            read_chain(chain).await;
        }
        let at_once = if deep.is_some() { SERVICES_AT_ONCE } else { AT_ONCE };
        stream::iter(rest).for_each_concurrent(at_once, &read_chain).await;
    };
    // A result that is known already may have to wait for a version.
    tokio::join!(report_rest, read_jobs);
    if let Some(deep) = deep {
        let facts = deep.facts(Some(&found)).await;
        node.send(item, WorkerUpdate::Facts(Box::new(facts))).await;
    }
    BatchEnd::Done
}

async fn read_job<T: Transport>(
    node: &NodeContext<T>,
    node_batch: NodeBatch,
    job: &NodeJob<T>,
    deep: Option<&DeepStatus<T>>,
) -> TargetResult {
    let started = Instant::now();
    let took = || u64::try_from(started.elapsed().as_millis()).ok();
    match job {
        NodeJob::Process { instance, process } => {
            let mut result = node.results.read(node_batch, instance, process);
            if let Some(deep) = deep {
                deep.judge(&mut result, instance, process).await;
                result.duration_ms = took();
            }
            if oneshot::is_well(instance, process).await { result.ended_well() } else { result }
        }
        NodeJob::Init { role, service, is_instance, named } => {
            let (link, is_instance) = (&node.connection, *is_instance);
            let target = InitTarget { link, name: service, is_instance, stable: Duration::ZERO };
            let verdict = target.act(Action::Status, None).await;
            let mut result = node.results.of_init(node_batch, role, service, is_instance, *named, verdict);
            if let Some(deep) = deep {
                deep.judge_other(&mut result).await;
            }
            TargetResult { duration_ms: took(), ..result }
        }
        // Nothing is updated where nothing is changed: such a job is never opened here.
        NodeJob::Update { .. } => job.result(&node.results, node_batch, ctl_event::Outcome::Ok),
    }
}
