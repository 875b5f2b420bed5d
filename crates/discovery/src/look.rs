//! A look at one host: connects, searches it with one command, and asks each supervisord what it runs.
//!
//! Uses `transport`, `remote` and `supervisor`. Invariants: at most [`AT_ONCE`] supervisords are asked at the same time,
//! since sshd limits the channels of a connection; every wait has an end.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use futures_util::{StreamExt, stream};
use tokio::time::timeout;

use super::observation::{HostOutcome, LookFailure, ObservedInstance, UnreadCause, UnreadInstance};
use super::recognition::Catalogue;
use ctl_event::{Failure, FailureKind, Stage, Via};
use ctl_inventory::{ControlAddress, Supervisor};
use ctl_remote::Sudo;
use ctl_supervisor::backend::search::{Diagnosis, reach};
use ctl_supervisor::error::asks_for_password;
use ctl_supervisor::instance_search::{CandidateServer, InstanceCandidate, read_authorization, search};
use ctl_supervisor::process::SupervisorReading;
use ctl_supervisor::shell::NodeShell;
use ctl_transport::{Endpoint, Session, Transport};

/// Supervisords that are asked at the same time.
const AT_ONCE: usize = 4;

/// How a host is reached and asked.
#[derive(Debug, Clone)]
pub struct HostAccess {
    /// How to connect.
    pub endpoint: Arc<Endpoint>,
    /// Whether and how commands go through sudo.
    pub sudo: Sudo,
    /// The backend that the user chose; none is `auto`.
    pub via: Option<Via>,
    /// Time for the look, once the session is open.
    pub limit: Duration,
}

/// Looks at a host.
pub async fn look<T: Transport>(transport: &T, access: &HostAccess) -> HostOutcome {
    let session = match transport.connect(&access.endpoint).await {
        Ok(session) => session,
        Err(error) => return HostOutcome::Unreachable(error.failure().into()),
    };
    let shell = NodeShell::new(Arc::new(session), access.sudo.clone());
    match timeout(access.limit, search_host(&shell, access.via)).await {
        Ok(outcome) => outcome,
        Err(_) => HostOutcome::Failed(LookFailure {
            message: format!("the search took longer than {} s", access.limit.as_secs()),
            hint: Some("allow more time with --timeout".to_owned()),
        }),
    }
}

async fn search_host<S: Session>(shell: &NodeShell<S>, via: Option<Via>) -> HostOutcome {
    let catalogue = Catalogue::built_in();
    let found = match search(shell, &catalogue.sockets(), &catalogue.config_files()).await {
        Ok(found) => found,
        Err(error) => return HostOutcome::Failed(error.failure(Stage::Inspect).into()),
    };
    let candidates = found.candidates();
    let asked = candidates.iter().map(|candidate| ask(shell, via, candidate, &catalogue));
    // In order, so that the same host gives the same inventory.
    let asked: Vec<AskedInstance> = stream::iter(asked).buffered(AT_ONCE).collect().await;
    let mut pids = BTreeSet::new();
    // A supervisord may be found by two addresses, or by a link to its socket.
    let is_new = |asked: &AskedInstance| asked.pid.is_none_or(|pid| pids.insert(pid));
    HostOutcome::Searched(asked.into_iter().filter(is_new).map(|asked| asked.instance).collect())
}

/// A supervisord that was asked.
struct AskedInstance {
    instance: ObservedInstance,
    /// Its process id, if it answered.
    pid: Option<u32>,
}

/// Asks a candidate at its addresses, until one answers.
async fn ask<S: Session>(
    shell: &NodeShell<S>,
    via: Option<Via>,
    candidate: &InstanceCandidate,
    catalogue: &Catalogue,
) -> AskedInstance {
    let mut unread: Option<(&CandidateServer, UnreadInstance)> = None;
    let mut servers: Vec<&CandidateServer> = candidate.servers.iter().collect();
    // The address that the catalogue has needs no entry in the inventory.
    servers.sort_by_key(|server| catalogue.at(&server.address).is_none());
    for server in servers {
        match ask_server(shell, via, server, catalogue).await {
            Ok(reading) => {
                let services = reading.processes.into_iter().map(|process| process.group).collect();
                return AskedInstance { instance: observed(candidate, Some(server), Ok(services)), pid: reading.pid };
            }
            Err(failure) => {
                let cause = cause(&failure, candidate, server, catalogue);
                // The reason that the user can do something about counts.
                if unread.as_ref().is_none_or(|(_, unread)| unread.cause == UnreadCause::Other) {
                    unread = Some((server, UnreadInstance { cause, message: failure.message, hint: failure.hint }));
                }
            }
        }
    }
    let (server, reason) = match unread {
        Some((server, mut reason)) => {
            if let Some(obstacle) = &candidate.obstacle {
                reason.message = format!("{}; {obstacle}", reason.message);
            }
            (Some(server), reason)
        }
        None => {
            let message = candidate.obstacle.clone().unwrap_or_else(|| "a supervisord has no address".to_owned());
            (None, UnreadInstance { cause: UnreadCause::Other, message, hint: None })
        }
    };
    AskedInstance { instance: observed(candidate, server, Err(reason)), pid: None }
}

async fn ask_server<S: Session>(
    shell: &NodeShell<S>,
    via: Option<Via>,
    server: &CandidateServer,
    catalogue: &Catalogue,
) -> Result<SupervisorReading, Failure> {
    let name = catalogue.at(&server.address).map_or("supervisord", |known| &known.supervisor.name);
    let supervisor = Supervisor {
        name: name.to_owned(),
        addresses: vec![server.address.clone()],
        services: Vec::new(),
        cascades: Vec::new(),
        optional: false,
        config_file: None,
        username: None,
        password_file: None,
    };
    let authorization = read_authorization(shell, server).await.map_err(|error| error.failure(Stage::Inspect))?;
    reach(shell, &supervisor, via, authorization, Diagnosis::Look).await.map(|reached| reached.snapshot)
}

fn cause(
    failure: &Failure,
    candidate: &InstanceCandidate,
    server: &CandidateServer,
    catalogue: &Catalogue,
) -> UnreadCause {
    let is_unix = matches!(server.address, ControlAddress::Unix(_));
    if failure.kind != FailureKind::Permission {
        // Any program may have a socket with such a name, so one without a process needs the catalogue.
        let is_supervisord = candidate.pid.is_some() || catalogue.at(&server.address).is_some();
        let is_silent = failure.kind == FailureKind::TimedOut && server.listens && is_supervisord;
        if is_silent { UnreadCause::Silent } else { UnreadCause::Other }
    } else if server.has_password || !is_unix || asks_for_password(&failure.message) {
        // A port has no permissions, so it is supervisord that refuses.
        UnreadCause::Password
    } else if server.listens {
        UnreadCause::Forbidden
    } else {
        UnreadCause::Other
    }
}

impl From<Failure> for LookFailure {
    fn from(failure: Failure) -> Self {
        Self { message: failure.message, hint: failure.hint }
    }
}

fn observed(
    candidate: &InstanceCandidate,
    server: Option<&CandidateServer>,
    services: Result<BTreeSet<String>, UnreadInstance>,
) -> ObservedInstance {
    ObservedInstance {
        address: server.map(|server| server.address.clone()),
        identifier: candidate.identifier.clone(),
        unit: candidate.unit.clone(),
        config_file: candidate.config_file.clone(),
        // Also without a password: supervisord wants both or none.
        username: server.and_then(|server| server.username.clone()),
        services,
    }
}
