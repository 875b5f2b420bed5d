//! The gates of a batch: the conditions for the next batch to start. One file for each.
//!
//! Here is the list of them: [`wait_at_service_gates`] for those that each service meets right after the action on it,
//! [`wait_at_node_gates`] for those that a node meets once all its services were acted on. [`ServiceGate`] and
//! [`NodeGate`] are their data; the plan makes them of the options. They use the context of the node and the target of an
//! action, never the worker. Invariants: a gate changes nothing; a signal ends the waiting, and then the gate
//! is recorded as not met although the action stands: a resumed run waits for it. To add a gate: its file here, its variant of one of the two, one line in the
//! function for it below, its option and docs. A gate that reads something until it holds is a [`PolledGate`].

pub(super) mod active;
mod check;
mod snapshot;
pub(super) mod stable;

use std::time::Duration;

use tokio::time::{Instant, sleep};

use super::action::obligations::TargetContext;
use super::engine::message::{NodeBatch, WorkItem, WorkItemEnd, WorkerUpdate};
use super::node::connection::LiveInstance;
use super::node::context::NodeContext;
use ctl_event::{ActivityPhase, Failure, FunctionalStatus, PhaseKind};
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
    /// Whether a signal ended the waiting.
    pub(super) is_cut: bool,
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
                end = active::wait(instance, process, *limit, context).await;
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

/// Where a gate shows what it waits for.
enum GateReporter<'a, T: Transport> {
    /// At a service, by its full name.
    Service(&'a TargetContext<'a, T>, String),
    /// At a node.
    Node(&'a NodeContext<T>, NodeBatch),
}

impl<T: Transport> GateReporter<'_, T> {
    /// Records the condition that is waited for, or whether it was met.
    async fn gate(&self, met: Option<bool>, waiting_for: String) {
        match self {
            Self::Service(context, _) => context.gate(met, waiting_for).await,
            Self::Node(node, node_batch) => {
                let update = WorkerUpdate::Gate { service: None, met, waiting_for };
                node.send(WorkItem::Check(*node_batch), update).await;
            }
        }
    }

    /// Shows the wait.
    async fn phase(&self, phase: ActivityPhase) {
        match self {
            Self::Service(context, name) => context.phase(phase.of_service(name.as_str())).await,
            Self::Node(node, node_batch) => node.show(WorkItem::Check(*node_batch), phase).await,
        }
    }

    /// Whether a signal ends the waiting.
    fn is_cut(&self) -> bool {
        match self {
            Self::Service(context, _) => context.waits_no_more(),
            Self::Node(node, _) => *node.signals.stop_waiting.borrow(),
        }
    }
}

/// A gate that is read repeatedly until it is met.
trait PolledGate: Send {
    /// Between two readings.
    const PAUSE: Duration;
    /// No further reading begins when no more than this is left of the time.
    const MARGIN: Duration;

    /// Reads once. `Ok` says that the gate is met, `Err` that it is not; both with the state that was read.
    fn read(&mut self, deadline: Instant) -> impl Future<Output = Result<String, String>> + Send;
}

/// How the wait at a [`PolledGate`] ended.
enum PollEnd {
    Met,
    /// A signal ended it.
    Cut,
    /// The time is over; with the state that was read last.
    NotMet(String),
}

/// Reads a gate until it is met, its time is over or a signal comes, at least once, and shows that.
async fn poll<T: Transport, G: PolledGate>(gate: &mut G, limit: Duration, reporter: &GateReporter<'_, T>) -> PollEnd {
    let began = Instant::now();
    let mut shown: Option<String> = None;
    loop {
        let reading = gate.read(began + limit).await;
        let waited = began.elapsed();
        let text = match reading {
            Ok(text) => {
                reporter.gate(Some(true), text).await;
                return PollEnd::Met;
            }
            Err(text) => text,
        };
        // Only after a reading, so that the result says how the target is. The action stands without a verdict of this
        // gate.
        if reporter.is_cut() {
            reporter.gate(Some(false), format!("{text}, not waited for to the end")).await;
            return PollEnd::Cut;
        }
        if waited >= limit.saturating_sub(G::MARGIN) {
            reporter.gate(Some(false), text.clone()).await;
            return PollEnd::NotMet(text);
        }
        // Each reason is recorded once; the phase below is shown at every reading.
        if shown.as_ref() != Some(&text) {
            reporter.gate(None, text.clone()).await;
        }
        reporter.phase(ActivityPhase::wait(PhaseKind::Gate, text.clone()).within(waited, limit)).await;
        shown = Some(text);
        sleep(G::PAUSE).await;
    }
}
