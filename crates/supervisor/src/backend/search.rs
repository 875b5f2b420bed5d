//! Finds the backend that reaches an instance on this node, and says why the others did not.
//!
//! Without a choice of the user it tries the backends in the order of [`Via`]: the first is XML-RPC, which starts nothing on
//! the node; then it checks the sockets once, and tries the others only where they can help. Invariants: no backend
//! is named here; nothing is changed on the node; a cause is named only when it was seen (a missing socket, a refused one, a
//! forbidden one and one without permission look the same over SSH). Start at [`reach`].

use tracing::debug;

use super::SupervisorClient;
use super::interface::FailedAttempt;
pub use super::request::Diagnosis;
use super::request::ReachRequest;
use super::socket_probe::{self, SocketProbe};
use crate::error::SupervisorError;
use crate::process::SupervisorReading;
use crate::shell::NodeShell;
use ctl_event::{Failure, FailureKind, Via};
use ctl_inventory::Supervisor;
use ctl_transport::Session;

/// A supervisord that answered, and its first answer.
pub struct ReachedSupervisor<S: Session> {
    /// The client.
    pub client: SupervisorClient<S>,
    /// The answer.
    pub snapshot: SupervisorReading,
}

/// Finds the backend for `supervisor`. `wanted` is the choice of the user; none is `auto`.
///
/// # Errors
/// A [`Failure`] with the reason of the most likely backend, and a hint; kind `connection_lost` if the connection ended.
pub async fn reach<S: Session>(
    shell: &NodeShell<S>,
    supervisor: &Supervisor,
    wanted: Option<Via>,
    authorization: Option<String>,
    diagnosis: Diagnosis,
) -> Result<ReachedSupervisor<S>, Failure> {
    let request = ReachRequest { supervisor, shell, authorization, diagnosis };
    let (client, snapshot) = match wanted {
        Some(via) => match SupervisorClient::reach(via, &request, None).await {
            Ok(reached) => reached,
            Err(failed) => return Err(SupervisorClient::explain(via, &request, &failed.error).await),
        },
        None => auto(&request).await?,
    };
    Ok(ReachedSupervisor { client, snapshot })
}

/// Tries every backend, until one answers.
async fn auto<S: Session>(request: &ReachRequest<'_, S>) -> Result<(SupervisorClient<S>, SupervisorReading), Failure> {
    let ReachRequest { supervisor, shell, .. } = request;
    let sudo = shell.sudo().is_on();
    // The sockets, and why the first backend failed: what users read if no other backend says more.
    let mut first: Option<(SocketProbe, SupervisorError)> = None;
    let mut others = String::new();
    for &via in Via::ALL {
        let seen = first.as_ref().map(|(seen, _)| seen);
        let FailedAttempt { backend, error, is_final } = match SupervisorClient::reach(via, request, seen).await {
            Ok(reached) => return Ok(reached),
            Err(failed) => failed,
        };
        // The others would only cost time.
        if first.is_none() && is_final {
            return Err(request.failure(&error));
        }
        debug!(supervisor = supervisor.name, why = %error, "not by {backend}");
        match &first {
            None => {
                let seen = socket_probe::probe(shell, supervisor).await;
                // Each further backend starts a Python on the node, so it is tried only where a socket promises an answer.
                if !seen.may_help(sudo) {
                    return Err(seen.explain(supervisor, sudo, &error));
                }
                first = Some((seen, error));
            }
            Some((seen, first)) if is_final => {
                let failure = request.failure(&error);
                // The probe knows why nothing answers; a command on the node only knows that.
                return Err(if failure.kind == FailureKind::SupervisorDown {
                    seen.explain(supervisor, sudo, first)
                } else {
                    failure
                });
            }
            // All reasons are shown in the end, since any of them may be the one to fix.
            Some(_) => others.push_str(&format!("; {via}: {error}")),
        }
    }
    // The loop has filled it, unless there is no backend at all.
    let Some((seen, first)) = first else {
        return Err(request.failure(&SupervisorError::Unsupported("there is no backend".to_owned())));
    };
    let failure = seen.explain(supervisor, sudo, &first);
    Err(Failure { message: failure.message + &others, ..failure })
}
