//! The gate of a service's own word: it reports over its introspect port that it is active, or a standby.
//!
//! What always holds: a query that fails or is not answered in time is repeated until the gate's own time is over.

use std::time::Duration;

use tokio::time::{Instant, sleep};

use crate::action::obligations::TargetContext;
use crate::node::connection::LiveInstance;
use ctl_event::{ActivityPhase, Failure, FailureKind, FunctionalStatus, PhaseKind, Stage};
use ctl_supervisor::ProcessInfo;
use ctl_supervisor::introspect::{self, FunctionalState};
use ctl_transport::Transport;

/// Between two questions.
const POLL: Duration = Duration::from_millis(500);

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
    let said = introspect::ask(session.as_ref(), &process.group, port, PATIENCE).await.ok()?;
    Some(said.status())
}

/// Waits until a process reports that it is active, or a standby. Its last report, and a failure if it was not healthy
/// within `limit`. A service without an introspect port is healthy when it is RUNNING.
pub(super) async fn wait<T: Transport>(
    instance: &LiveInstance<T>,
    process: &ProcessInfo,
    limit: Duration,
    context: &TargetContext<'_, T>,
) -> (Option<FunctionalStatus>, Option<Failure>) {
    let Some(port) = introspect::port_of(&instance.role.introspect, &process.group, &process.name) else {
        return (None, None);
    };
    let began = Instant::now();
    let mut said: Option<String> = None;
    loop {
        // A connection that was cut is opened again here: the action is over, so asking again repeats nothing.
        let now = match instance.link.session().await {
            Ok(session) => introspect::ask(session.as_ref(), &process.group, port, PATIENCE)
                .await
                .map_or_else(|error| (None, error.to_string()), |now| (Some(now.clone()), now.to_string())),
            Err(error) => (None, error.to_string()),
        };
        let waited = began.elapsed();
        let (functional, text) = now;
        let status = functional.as_ref().map(FunctionalState::status);
        if status.as_ref().is_some_and(FunctionalStatus::is_healthy) {
            context.gate(Some(true), text).await;
            return (status, None);
        }
        // Asked once at least, so that the result says how the service is; then a signal ends the waiting, and the
        // action stands without a verdict of this gate.
        if context.waits_no_more() {
            return (status, None);
        }
        if waited >= limit {
            context.gate(Some(false), text.clone()).await;
            let message = format!("the gate was not met within {} s: {text}", limit.as_secs());
            let failure = Failure::new(Stage::Verify, FailureKind::Gate, message).with_hint(
                "look at its log: `ctl logs {service} --stderr -w {node}`; allow more time with --gate-timeout",
            );
            return (status, Some(failure));
        }
        // Each reason is recorded once, not at every query.
        if said.as_ref() != Some(&text) {
            context.gate(None, text.clone()).await;
            said = Some(text.clone());
        }
        let name = process.full_name();
        context.phase(ActivityPhase::wait(PhaseKind::Gate, text).of_service(name).within(waited, limit)).await;
        sleep(POLL).await;
    }
}
