//! Finds the backend that reaches an instance on this node, and says why the others did not.
//!
//! Without a choice of the user it tries XML-RPC at each address the inventory names, first through sshd, then, where sudo is
//! on, through the relay; then it checks the sockets once, and tries `supervisorctl` and the init wrapper only where they can
//! help. What always holds: nothing is changed on the node; a cause is named only when it was seen (a missing socket, a refused
//! one, a forbidden one and one without permission look the same over SSH). Start at [`reach`].

use tracing::debug;

use super::SupervisorClient;
use super::init_wrapper::InitWrapperBackend;
use super::interface::Backend;
use super::rpc::RpcBackend;
use super::socket_probe::{self, SocketProbe};
use super::supervisorctl::SupervisorctlBackend;
use crate::error::SupervisorError;
use crate::process::SupervisorReading;
use crate::rpc_caller::SocketRoute;
use crate::shell::NodeShell;
use ctl_event::{Failure, FailureKind, Stage, Via};
use ctl_inventory::{ControlAddress, Supervisor};
use ctl_remote::SudoError;
use ctl_transport::Session;

/// A supervisord that answered, and its first answer.
pub struct ReachedSupervisor<S: Session> {
    /// The client.
    pub client: SupervisorClient<S>,
    /// The answer.
    pub snapshot: SupervisorReading,
}

/// How hard to look for the reason when nothing answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Diagnosis {
    /// Look at the sockets on the node with one command.
    Look,
    /// Do not: the node need not have this instance.
    Spare,
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
    let sudo = shell.sudo().is_on();
    let search = BackendSearch { supervisor, shell };
    match wanted {
        Some(Via::Rpc) => match search.rpc(authorization).await {
            Ok(reached) => Ok(reached),
            // Another look on the node cannot change these errors, or the caller does not need the cause.
            Err(error) if error.is_connection_lost() || is_final(&error) || diagnosis == Diagnosis::Spare => {
                Err(search.failure(&error))
            }
            // The user may not open the sockets, and the relay does not run: the probe would find no more than that.
            Err(error @ (SupervisorError::Sudo(_) | SupervisorError::CommandMissing(_))) => Err(search.failure(&error)),
            Err(error) => {
                let seen = socket_probe::probe(shell, supervisor).await;
                // Either nobody listens or sshd refuses to forward: only a query on the node itself can show which.
                if seen.has_writable() && search.supervisorctl(Some(&seen)).await.is_ok() {
                    return Err(search.not_forwarded());
                }
                Err(seen.explain(supervisor, sudo, &error))
            }
        },
        Some(Via::Supervisorctl) => match search.supervisorctl(None).await {
            Ok(reached) => Ok(reached),
            Err(error) => Err(search.explain(&error, diagnosis).await),
        },
        Some(Via::Service) => match search.wrapper().await {
            Ok(reached) => Ok(reached),
            Err(error) => Err(search.explain(&error, diagnosis).await),
        },
        None => search.auto(authorization, sudo).await,
    }
}

/// Whether no other backend could change the answer: the supervisord is there, and answered something; or sudo will refuse
/// every command.
fn is_final(error: &SupervisorError) -> bool {
    match error {
        // sudoers may forbid the relay's Python and still allow supervisorctl.
        SupervisorError::Sudo(SudoError::PasswordWanted | SudoError::NotAllowed) => false,
        SupervisorError::Sudo(_) => true,
        // supervisord answered something, so any other backend would reach the same supervisord.
        SupervisorError::Protocol(_) | SupervisorError::Silent(_) | SupervisorError::Fault { .. } => true,
        // supervisord wants a password, or not even the relay as root may open the socket.
        SupervisorError::Permission(_) => true,
        SupervisorError::Down(_)
        | SupervisorError::NoSocket(_)
        | SupervisorError::Transport(_)
        | SupervisorError::NoAnswer(_)
        | SupervisorError::CommandMissing(_)
        | SupervisorError::Unsupported(_) => false,
    }
}

struct BackendSearch<'a, S: Session> {
    supervisor: &'a Supervisor,
    shell: &'a NodeShell<S>,
}

impl<S: Session> BackendSearch<'_, S> {
    fn not_forwarded(&self) -> Failure {
        let message = format!("{} runs, but sshd on the node does not forward to its socket", self.supervisor.name);
        Failure::new(Stage::Inspect, FailureKind::Permission, message).with_hint(
            "use --via supervisorctl or auto, or allow AllowStreamLocalForwarding and AllowTcpForwarding in its sshd_config",
        )
    }

    /// An error as a failure that names the instance.
    fn failure(&self, error: &SupervisorError) -> Failure {
        let failure = error.failure(Stage::Inspect);
        Failure { message: format!("{}: {}", self.supervisor.name, failure.message), ..failure }
    }

    /// Why a backend that runs commands did not work: the sockets show whether the instance is there at all.
    async fn explain(&self, error: &SupervisorError, diagnosis: Diagnosis) -> Failure {
        // That the node lacks a command says nothing about the instance.
        let has_no_command = matches!(error, SupervisorError::CommandMissing(_));
        let is_down = matches!(error, SupervisorError::Down(_) | SupervisorError::NoSocket(_));
        // Only a missing command or a silent socket needs the probe; any other error explains itself.
        if !has_no_command && (!is_down || diagnosis == Diagnosis::Spare) {
            return self.failure(error);
        }
        let seen = socket_probe::probe(self.shell, self.supervisor).await;
        let failure = seen.explain(self.supervisor, self.shell.sudo().is_on(), error);
        let is_gone = seen.is_gone();
        // The missing command is the cause unless the probe shows that the instance itself is gone.
        if has_no_command && !is_gone && failure.kind != FailureKind::SupervisorMissing {
            return self.failure(error);
        }
        failure
    }

    async fn auto(&self, authorization: Option<String>, sudo: bool) -> Result<ReachedSupervisor<S>, Failure> {
        let name = &self.supervisor.name;
        let rpc = match self.rpc(authorization).await {
            Ok(reached) => return Ok(reached),
            // These errors are the same for every backend, and trying the others would only cost time.
            Err(error) if error.is_connection_lost() || is_final(&error) => return Err(self.failure(&error)),
            Err(error) => error,
        };
        debug!(supervisor = name, why = %rpc, "not by XML-RPC");
        let seen = socket_probe::probe(self.shell, self.supervisor).await;
        // Each further backend starts a Python on the node, so it is tried only where a socket promises an answer.
        if !seen.may_help(sudo) {
            return Err(seen.explain(self.supervisor, sudo, &rpc));
        }
        let control = match self.supervisorctl(Some(&seen)).await {
            Ok(reached) => return Ok(reached),
            Err(error) => error,
        };
        debug!(supervisor = name, why = %control, "not by supervisorctl");
        // Once supervisorctl has run, the wrapper cannot do better: it is supervisorctl behind another name.
        if !matches!(control, SupervisorError::CommandMissing(_)) {
            let failure = self.failure(&control);
            // The probe knows why nothing answers; supervisorctl only knows that.
            return Err(if failure.kind == FailureKind::SupervisorDown {
                seen.explain(self.supervisor, sudo, &rpc)
            } else {
                failure
            });
        }
        match self.wrapper().await {
            Ok(reached) => Ok(reached),
            Err(error) => {
                debug!(supervisor = name, why = %error, "not by the init wrapper");
                let mut failure = seen.explain(self.supervisor, sudo, &rpc);
                // All three reasons are shown, since any of them may be the one to fix.
                failure.message = format!("{}; supervisorctl: {control}; service: {error}", failure.message);
                Err(failure)
            }
        }
    }

    /// Over the socket that sshd opens, else over the one that the relay opens.
    async fn rpc(&self, authorization: Option<String>) -> Result<ReachedSupervisor<S>, SupervisorError> {
        let refused = match self.rpc_over(SocketRoute::Forwarded, authorization.clone()).await {
            // Only a channel that sshd refused can fare better as root; other errors come from supervisord or the
            // connection.
            Err(error @ SupervisorError::Transport(_)) if !error.is_connection_lost() => error,
            reached => return reached,
        };
        let is_unix = |address: &ControlAddress| matches!(address, ControlAddress::Unix(_));
        // The relay opens unix sockets only: sudo changes nothing for a TCP port.
        if !self.shell.sudo().is_on() || !self.supervisor.addresses.iter().any(is_unix) {
            return Err(refused);
        }
        debug!(supervisor = self.supervisor.name, why = %refused, "not through sshd");
        // Started before the first call, whose time limit leaves no room for sudo and Python.
        self.shell.relay().await?;
        self.rpc_over(SocketRoute::Relayed, authorization).await
    }

    async fn rpc_over(
        &self,
        route: SocketRoute,
        authorization: Option<String>,
    ) -> Result<ReachedSupervisor<S>, SupervisorError> {
        let mut worst: Option<SupervisorError> = None;
        let usable =
            |address: &&ControlAddress| route == SocketRoute::Forwarded || matches!(address, ControlAddress::Unix(_));
        for address in self.supervisor.addresses.iter().filter(usable) {
            let client = RpcBackend::new(self.shell.clone(), route, address.clone(), authorization.clone());
            match client.read_all().await {
                Ok(snapshot) => {
                    debug!(supervisor = self.supervisor.name, %address, %route, "answers by XML-RPC");
                    return Ok(ReachedSupervisor { client: SupervisorClient::Rpc(client), snapshot });
                }
                // All addresses are reached over this one connection, so the rest would fail too.
                Err(error) if error.is_connection_lost() => return Err(error),
                Err(error) => {
                    debug!(supervisor = self.supervisor.name, %address, why = %error, "does not answer");
                    // An address that answered something, if only nonsense, explains more than one that cannot be opened.
                    let explains_little = |worst: &SupervisorError| {
                        matches!(worst, SupervisorError::Transport(_) | SupervisorError::NoSocket(_))
                    };
                    if worst.as_ref().is_none_or(explains_little) {
                        worst = Some(error);
                    }
                }
            }
        }
        Err(worst.unwrap_or_else(|| SupervisorError::Down("the inventory names no address for it".to_owned())))
    }

    async fn supervisorctl(&self, seen: Option<&SocketProbe>) -> Result<ReachedSupervisor<S>, SupervisorError> {
        let mut worst = SupervisorError::Down("the inventory names no address for it".to_owned());
        for (index, address) in self.supervisor.addresses.iter().enumerate() {
            // A missing socket is not worth the start of a Python.
            if seen.is_some_and(|seen| !seen.worth_asking(index)) {
                continue;
            }
            let client = SupervisorctlBackend::new(self.shell.clone(), address.clone());
            match client.list().await {
                Ok(processes) => {
                    let snapshot = SupervisorReading::of_processes(processes);
                    return Ok(ReachedSupervisor { client: SupervisorClient::Supervisorctl(client), snapshot });
                }
                // The instance may listen at the next address; any other error would only repeat there.
                Err(error @ (SupervisorError::Down(_) | SupervisorError::NoSocket(_))) => worst = error,
                Err(error) => return Err(error),
            }
        }
        Err(worst)
    }

    async fn wrapper(&self) -> Result<ReachedSupervisor<S>, SupervisorError> {
        let client = InitWrapperBackend::new(self.shell.clone(), self.supervisor);
        let processes = client.list().await?;
        let snapshot = SupervisorReading::of_processes(processes);
        Ok(ReachedSupervisor { client: SupervisorClient::Service(client), snapshot })
    }
}
