//! The gates of a batch: the conditions for the next batch to start. One file for each.
//!
//! Here is the list of them: [`wait_at_service_gates`] for those that each service meets right after the action on it,
//! [`wait_at_node_gates`] for those that a node meets once all its services were acted on. [`ServiceGate`] and
//! [`NodeGate`] are their data; the plan makes them of the options. They use the context of the node and the target of an
//! action, never the worker. What always holds: a gate changes nothing; a signal ends the waiting, and then the gate
//! counts as met, since the action stands. To add a gate: its file here, its variant of one of the two, one line in the
//! function for it below, its option and docs.

pub(super) mod active;
mod check;
mod snapshot;
pub(super) mod stable;

use std::time::Duration;

use super::action::obligations::TargetContext;
use super::engine::message::{NodeBatch, WorkItemEnd};
use super::node::connection::LiveInstance;
use super::node::context::NodeContext;
use ctl_event::{Failure, FunctionalStatus};
use ctl_plan::policy::{NodeGate, ServiceGate};
use ctl_supervisor::ProcessInfo;
use ctl_transport::Transport;

/// The end of the gates of a service.
#[derive(Debug, Default)]
pub(super) struct ServiceGateEnd {
    /// The last report of the service about its own work, where it was queried.
    pub(super) functional: Option<FunctionalStatus>,
    /// Why a gate was not met.
    pub(super) failure: Option<Failure>,
}

/// For how long a service has to stay up. The proof of its start waits for that, since it watches the process anyway.
pub(super) fn stable_time(gates: &[ServiceGate]) -> Duration {
    let times = gates.iter().filter_map(|gate| if let ServiceGate::Stable(time) = gate { Some(*time) } else { None });
    times.max().unwrap_or_default()
}

/// Waits until a process that is up meets the gates of each service.
pub(super) async fn wait_at_service_gates<T: Transport>(
    instance: &LiveInstance<T>,
    process: &ProcessInfo,
    gates: &[ServiceGate],
    context: &TargetContext<'_, T>,
) -> ServiceGateEnd {
    let mut end = ServiceGateEnd::default();
    for gate in gates {
        match gate {
            ServiceGate::Active(limit) => {
                (end.functional, end.failure) = active::wait(instance, process, *limit, context).await;
            }
            // Met already: without it the action has no proof, and does not come here.
            ServiceGate::Stable(_) => {}
        }
        if end.failure.is_some() {
            break;
        }
    }
    end
}

/// Waits until the node meets the gates of its batch. The first that is not met ends it.
pub(super) async fn wait_at_node_gates<T: Transport>(node: &NodeContext<T>, node_batch: NodeBatch) -> WorkItemEnd {
    let gates = node.results.task(node_batch).map(|task| task.policy.node_gates()).unwrap_or_default();
    for gate in &gates {
        let end = match gate {
            NodeGate::Check(command) => check::wait(node, node_batch, command).await,
            NodeGate::Snapshot(path, limit) => snapshot::wait(node, node_batch, path, *limit).await,
        };
        if end != WorkItemEnd::Done {
            return end;
        }
    }
    WorkItemEnd::Done
}
