//! The gate of a service's own word: it reports over its introspect port that it is active, or a standby.
//!
//! Invariants: a query that fails or is not answered in time is repeated until the gate's own time is over.

use std::time::Duration;

use tokio::time::Instant;

use super::{GateReporter, PollEnd, PolledGate, ServiceGateEnd, poll};
use crate::action::obligations::TargetContext;
use crate::node::connection::LiveInstance;
use ctl_event::{Failure, FailureKind, FunctionalStatus, Stage};
use ctl_supervisor::ProcessInfo;
use ctl_supervisor::introspect;
use ctl_transport::Transport;

/// How long one answer may take: contrail-status, too, waits 2 s, since busy nodes are slow.
const PATIENCE: Duration = Duration::from_secs(2);

/// The state that a process reports of itself now; none where it has no introspect port or the node cannot be queried.
pub(crate) async fn functional<T: Transport>(
    instance: &LiveInstance<T>,
    process: &ProcessInfo,
) -> Option<FunctionalStatus> {
    let port = introspect::port_of(&instance.role.introspect, &process.group, &process.name)?;
    // Without an answer the caller judges the process by its state alone.
    let session = instance.link.session().await.ok()?;
    let is_closed = instance.is_closed(port, PATIENCE);
    let said = introspect::ask(session.as_ref(), &process.group, port, PATIENCE, is_closed).await.ok()?;
    Some(said.status())
}

/// Waits until a process reports that it is active, or a standby. Its last report, and a failure if it was not healthy
/// within `limit`. A service without an introspect port is healthy when it is RUNNING.
pub(super) async fn wait<T: Transport>(
    instance: &LiveInstance<T>,
    process: &ProcessInfo,
    limit: Duration,
    context: &TargetContext<'_, T>,
) -> ServiceGateEnd {
    let Some(port) = introspect::port_of(&instance.role.introspect, &process.group, &process.name) else {
        return ServiceGateEnd::default();
    };
    let mut gate = ActiveGate { instance, process, port, status: None };
    let end = poll(&mut gate, limit, &GateReporter::Service(context, process.full_name())).await;
    let is_cut = matches!(end, PollEnd::Cut);
    let failure = match end {
        PollEnd::Met | PollEnd::Cut => None,
        PollEnd::NotMet(text) => {
            let message = format!("the gate was not met within {} s: {text}", limit.as_secs());
            Some(Failure::new(Stage::Verify, FailureKind::Gate, message).with_hint(
                "look at its log: `ctl logs {service} --stderr -w {node}`; allow more time with --gate-timeout",
            ))
        }
    };
    ServiceGateEnd { functional: gate.status, failure, is_cut }
}

/// The wait of one service.
struct ActiveGate<'a, T: Transport> {
    instance: &'a LiveInstance<T>,
    process: &'a ProcessInfo,
    /// Its introspect port.
    port: u16,
    /// Its last report.
    status: Option<FunctionalStatus>,
}

impl<T: Transport> PolledGate for ActiveGate<'_, T> {
    const PAUSE: Duration = Duration::from_millis(500);
    // Each query has a time of its own, so the last one may begin at any time.
    const MARGIN: Duration = Duration::ZERO;

    async fn read(&mut self, _: Instant) -> Result<String, String> {
        // The report before says nothing about now.
        self.status = None;
        // A connection that was cut is opened again here: the action is over, so asking again repeats nothing.
        let session = self.instance.link.session().await.map_err(|error| error.to_string())?;
        let is_closed = self.instance.is_closed(self.port, PATIENCE);
        let now = introspect::ask(session.as_ref(), &self.process.group, self.port, PATIENCE, is_closed).await;
        let now = now.map_err(|error| error.to_string())?;
        let status = self.status.insert(now.status());
        if status.is_healthy() { Ok(now.to_string()) } else { Err(now.to_string()) }
    }
}
