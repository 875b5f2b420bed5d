//! What reading and changing have in common in a batch's work on one node: opening the jobs, their order, the end.
//!
//! Invariants: every job that was opened ends with a result, whichever way the work ends; a result is marked as
//! reported only after it was sent, so that an early end in between sends it again and the dispatcher drops the second.

use std::sync::Arc;

use crate::action::job::NodeJob;
use crate::action::obligations::JobTable;
use crate::action::recovery::{EarlyExit, EarlyExitCause};
use crate::engine::message::{NodeBatch, TargetKey, WorkItem, WorkItemEnd, WorkerUpdate};
use crate::node::context::NodeContext;
use crate::node::discovery::{DiscoveredNode, VisitPlan};
use ctl_event::{ActivityPhase, TargetResult};
use ctl_transport::Transport;

/// Why the work of a batch on a node ended.
pub(crate) enum BatchEnd {
    Done,
    Lost(WorkItemEnd),
    Early(EarlyExitCause),
}

/// Opens what there is to do: the jobs, and the results that can be given at once.
pub(crate) async fn open<T: Transport>(
    node: &NodeContext<T>,
    node_batch: NodeBatch,
    found: &DiscoveredNode<T>,
    table: &JobTable<T>,
) -> (Vec<Arc<NodeJob<T>>>, Vec<TargetResult>) {
    let VisitPlan { jobs, results } = found.agenda(node_batch);
    let jobs: Vec<Arc<NodeJob<T>>> = jobs.into_iter().map(Arc::new).collect();
    table.open(&jobs);
    // Which groups an update concerns is known only after it.
    let named = jobs.iter().filter(|job| !matches!(job.as_ref(), NodeJob::Update { .. }));
    let targets = named.map(|job| job.key()).chain(results.iter().map(TargetKey::of)).collect();
    node.send(WorkItem::Batch(node_batch), WorkerUpdate::Targets(targets)).await;
    (jobs, results)
}

/// Jobs that are done one after the other.
pub(crate) type Chain<'a, T> = Vec<&'a Arc<NodeJob<T>>>;

/// Orders jobs: the chains that come first, each alone, and those that can be worked on at the same time after them.
/// The processes of a group are one chain if they are changed, so that the service never goes dark. Where the stop of a
/// program restarts its whole instance, that program goes first.
pub(crate) fn chains<T: Transport>(jobs: &[Arc<NodeJob<T>>], changes: bool) -> (Vec<Chain<'_, T>>, Vec<Chain<'_, T>>) {
    let mut chains: Vec<Chain<'_, T>> = Vec::new();
    for job in jobs {
        let same = |chain: &&mut Chain<'_, T>| chain.first().is_some_and(|first| first.group() == job.group());
        match chains.iter_mut().find(same) {
            Some(chain) if job.group().is_some() && changes => chain.push(job),
            _ => chains.push(vec![job]),
        }
    }
    let cascades = |chain: &Chain<'_, T>| {
        chain.first().is_some_and(|job| match job.as_ref() {
            NodeJob::Process { instance, process } => instance.cascades(&process.group),
            NodeJob::Init { .. } | NodeJob::Update { .. } => false,
        })
    };
    chains.into_iter().partition(cascades)
}

/// Sends a result, and notes that.
pub(crate) async fn report<T: Transport>(
    node: &NodeContext<T>,
    node_batch: NodeBatch,
    table: &JobTable<T>,
    result: TargetResult,
) {
    let key = TargetKey::of(&result);
    node.send_results(WorkItem::Batch(node_batch), [result]).await;
    table.mark_reported(&key);
}

/// Sends the results that the work has left open. `is_guarded`: the guard of the node lives.
pub(crate) async fn finish<T: Transport>(
    node: &NodeContext<T>,
    node_batch: NodeBatch,
    table: &JobTable<T>,
    is_guarded: bool,
    ended: BatchEnd,
) -> WorkItemEnd {
    let item = WorkItem::Batch(node_batch);
    match ended {
        BatchEnd::Done => WorkItemEnd::Done,
        BatchEnd::Lost(end) => {
            if let WorkItemEnd::Lost(outcome, failure) = &end {
                node.send_results(item, node.results.as_requested(node_batch, *outcome, failure)).await;
            }
            end
        }
        BatchEnd::Early(cause) => {
            // The work was dropped at some point that nobody knows. The table survives it and has, for each job, the
            // obligation; the state is read from the node.
            node.show(item, ActivityPhase::work("checking the result")).await;
            let exit = EarlyExit { node, table, node_batch, cause, guarded: is_guarded };
            node.send_results(item, exit.results().await).await;
            WorkItemEnd::Done
        }
    }
}
