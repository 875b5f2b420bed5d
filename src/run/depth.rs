//! How a service does its work, beyond what supervisord says of its process.
//!
//! Uses `supervisor`. What always holds: nothing is changed; nothing is claimed that was not asked; a service is asked
//! again before it is called bad; each question is bounded in time.

use std::time::Duration;

use tokio::time::sleep;

use super::link::Instance;
use crate::event::{ProcessState, TargetResult};
use crate::supervisor::ProcessInfo;
use crate::supervisor::introspect::{self, Functional};
use crate::transport::Transport;

/// How long one answer is waited for: what contrail-status came to after it was raised three times, since busy nodes are
/// slow.
const PATIENCE: Duration = Duration::from_secs(2);

/// Before a service is asked again that did not answer as it should.
const PAUSE: Duration = Duration::from_millis(200);

/// Notes in the result of a process how it does its work.
pub(super) async fn judge<T: Transport>(result: &mut TargetResult, instance: &Instance<T>, process: &ProcessInfo) {
    let described = Some(process.description.clone()).filter(|text| !text.is_empty());
    let (word, reason) = match process.state {
        ProcessState::Running => match ask(instance, process).await {
            Some(said) => (Some(said.as_str()), said.reason().map(str::to_owned)),
            None => (None, None),
        },
        ProcessState::Starting => (Some("initializing"), None),
        ProcessState::Stopped => (Some("inactive"), None),
        ProcessState::Stopping => (Some("inactive"), Some("stopping".to_owned())),
        ProcessState::Exited | ProcessState::Fatal | ProcessState::Unknown => (Some("failed"), described),
        ProcessState::Backoff => {
            let why = described.map(|why| format!(": {why}")).unwrap_or_default();
            (Some("failed"), Some(format!("supervisord tries again{why}")))
        }
    };
    result.functional = word.map(str::to_owned);
    result.functional_reason = reason;
}

/// What a process says of itself; none where it has no introspect port, or the node cannot be asked.
async fn ask<T: Transport>(instance: &Instance<T>, process: &ProcessInfo) -> Option<Functional> {
    let port = introspect::port_of(&instance.role.introspect, &process.group, &process.name)?;
    let session = instance.link.session().await.ok()?;
    let said = introspect::ask(session.as_ref(), &process.group, port, PATIENCE).await.ok()?;
    if said.is_well() {
        return Some(said);
    }
    sleep(PAUSE).await;
    introspect::ask(session.as_ref(), &process.group, port, PATIENCE).await.ok()
}
