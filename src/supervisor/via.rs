//! Finds the way to a supervisord that works on this node, and says why the others did not.
//!
//! `auto` tries XML-RPC at each address the inventory names, first through sshd, then, where sudo is on, through the
//! relay; then it looks at the sockets once, and goes on with `supervisorctl` and the init wrapper only where they can
//! help. What always holds: nothing is changed here;
//! a cause is told only when it was seen (a missing socket, a refused one, a forbidden one and one without
//! permission look the same over SSH).

use tracing::debug;

use super::command::{InitWrapper, NodeShell, Supervisorctl};
use super::rpc::{RpcClient, SocketRoute, SupervisorReading};
use super::{ProcessInfo, SupervisorError, UpdateSummary};
use crate::event::{Failure, FailureKind, Stage, Via};
use crate::inventory::{ControlAddress, Supervisor};
use crate::remote::SudoError;
use crate::transport::Session;

/// A client of one supervisord, whichever way it is reached.
pub enum SupervisorClient<S: Session> {
    /// XML-RPC over a forwarded socket.
    Rpc(RpcClient<S>),
    /// `supervisorctl` on the node.
    Supervisorctl(Supervisorctl<S>),
    /// The init wrappers of its programs.
    Service(InitWrapper<S>),
}

impl<S: Session> SupervisorClient<S> {
    /// The way.
    pub fn via(&self) -> Via {
        match self {
            Self::Rpc(_) => Via::Rpc,
            Self::Supervisorctl(_) => Via::Supervisorctl,
            Self::Service(_) => Via::Service,
        }
    }

    /// Where the supervisord listens, as far as the way knows.
    pub fn address(&self) -> Option<&ControlAddress> {
        match self {
            Self::Rpc(client) => Some(client.address()),
            Self::Supervisorctl(client) => Some(client.address()),
            Self::Service(_) => None,
        }
    }

    /// All processes.
    ///
    /// # Errors
    /// [`SupervisorError`] for anything that kept it from answering.
    pub async fn list(&self) -> Result<Vec<ProcessInfo>, SupervisorError> {
        match self {
            Self::Rpc(client) => Ok(client.snapshot().await?.processes),
            Self::Supervisorctl(client) => client.list().await,
            Self::Service(client) => client.list().await,
        }
    }

    /// supervisord's own pid, where the way can tell.
    ///
    /// # Errors
    /// As [`SupervisorClient::list`].
    pub async fn pid(&self) -> Result<Option<u32>, SupervisorError> {
        match self {
            Self::Rpc(client) => Ok(client.snapshot().await?.pid),
            Self::Supervisorctl(client) => client.pid().await,
            Self::Service(_) => Ok(None),
        }
    }

    /// Rereads the configuration; nothing is applied.
    ///
    /// # Errors
    /// As [`SupervisorClient::list`]; [`SupervisorError::Unsupported`] for the init wrapper.
    pub async fn reload_config(&self) -> Result<UpdateSummary, SupervisorError> {
        match self {
            Self::Rpc(client) => client.reload_config().await,
            Self::Supervisorctl(client) => client.reload_config().await,
            Self::Service(_) => Err(no_update()),
        }
    }

    /// Stops a group and takes it out of the running configuration.
    ///
    /// # Errors
    /// As [`SupervisorClient::reload_config`].
    pub async fn remove_group(&self, group: &str) -> Result<(), SupervisorError> {
        match self {
            Self::Rpc(client) => {
                client.stop_group(group).await?;
                client.remove_group(group).await
            }
            Self::Supervisorctl(client) => {
                client.act("stop", &format!("{group}:*")).await?;
                client.act("remove", group).await?;
                // supervisorctl ends well on a refusal too: what it lists decides.
                if client.list().await?.iter().any(|process| process.group == group) {
                    let text = format!("{group} was not removed: its processes are still running");
                    return Err(SupervisorError::Fault { fault: super::RpcFault::StillRunning, text });
                }
                Ok(())
            }
            Self::Service(_) => Err(no_update()),
        }
    }

    /// Starts all processes of a group, and does not wait for them.
    ///
    /// # Errors
    /// As [`SupervisorClient::list`].
    pub async fn start_group(&self, group: &str) -> Result<(), SupervisorError> {
        match self {
            Self::Rpc(client) => client.start_group(group).await,
            Self::Supervisorctl(client) => client.act("start", &format!("{group}:*")).await,
            Self::Service(client) => client.act("start", group).await,
        }
    }

    /// Takes a group of the reread configuration in, and starts what starts by itself.
    ///
    /// # Errors
    /// As [`SupervisorClient::reload_config`].
    pub async fn add_group(&self, group: &str) -> Result<(), SupervisorError> {
        match self {
            Self::Rpc(client) => client.add_group(group).await,
            Self::Supervisorctl(client) => client.act("add", group).await,
            Self::Service(_) => Err(no_update()),
        }
    }
}

fn no_update() -> SupervisorError {
    SupervisorError::Unsupported(
        "the init wrapper cannot reread the configuration; use --via rpc or supervisorctl".to_owned(),
    )
}

/// A supervisord that answered, and what it said first.
pub struct ReachedSupervisor<S: Session> {
    /// The client.
    pub client: SupervisorClient<S>,
    /// What it lists.
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

/// Finds the way to `supervisor`. `wanted` is the way asked for; none is `auto`.
///
/// # Errors
/// A [`Failure`] with the reason of the best way, and a hint; kind `connection_lost` if the connection ended.
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
            Err(error) if error.is_connection_lost() || is_final(&error) || diagnosis == Diagnosis::Spare => {
                Err(search.failure(&error))
            }
            // The user may open no socket, and the relay does not run.
            Err(error @ (SupervisorError::Sudo(_) | SupervisorError::CommandMissing(_))) => Err(search.failure(&error)),
            Err(error) => {
                let seen = search.look().await;
                // Whether nobody listens or sshd does not forward: only asking on the node itself tells them apart.
                if seen.sockets.contains(&ProbedSocket::Writable) && search.supervisorctl(Some(&seen)).await.is_ok() {
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

/// Whether another way could not change the answer: it is there, and answered something; or sudo will say the same of
/// every command.
fn is_final(error: &SupervisorError) -> bool {
    match error {
        // The relay may be forbidden where supervisorctl is not.
        SupervisorError::Sudo(SudoError::PasswordWanted | SudoError::NotAllowed) => false,
        SupervisorError::Sudo(_) => true,
        SupervisorError::Protocol(_) | SupervisorError::Silent(_) | SupervisorError::Fault { .. } => true,
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

    /// Why a way that executes commands did not work: whether the instance is there at all is seen at its sockets.
    async fn explain(&self, error: &SupervisorError, diagnosis: Diagnosis) -> Failure {
        // That a way has nothing to ask with says nothing of the instance.
        let has_no_command = matches!(error, SupervisorError::CommandMissing(_));
        let is_down = matches!(error, SupervisorError::Down(_) | SupervisorError::NoSocket(_));
        if !has_no_command && (!is_down || diagnosis == Diagnosis::Spare) {
            return self.failure(error);
        }
        let seen = self.look().await;
        let failure = seen.explain(self.supervisor, self.shell.sudo().is_on(), error);
        let is_gone = seen.blind.is_none() && seen.sockets.iter().all(|socket| *socket == ProbedSocket::Missing);
        if has_no_command && !is_gone && failure.kind != FailureKind::SupervisorMissing {
            return self.failure(error);
        }
        failure
    }

    async fn auto(&self, authorization: Option<String>, sudo: bool) -> Result<ReachedSupervisor<S>, Failure> {
        let name = &self.supervisor.name;
        let rpc = match self.rpc(authorization).await {
            Ok(reached) => return Ok(reached),
            Err(error) if error.is_connection_lost() || is_final(&error) => return Err(self.failure(&error)),
            Err(error) => error,
        };
        debug!(supervisor = name, why = %rpc, "not by XML-RPC");
        let seen = self.look().await;
        if !seen.may_help(sudo) {
            return Err(seen.explain(self.supervisor, sudo, &rpc));
        }
        let control = match self.supervisorctl(Some(&seen)).await {
            Ok(reached) => return Ok(reached),
            Err(error) => error,
        };
        debug!(supervisor = name, why = %control, "not by supervisorctl");
        if !matches!(control, SupervisorError::CommandMissing(_)) {
            let failure = self.failure(&control);
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
                failure.message = format!("{}; supervisorctl: {control}; service: {error}", failure.message);
                Err(failure)
            }
        }
    }

    /// Over the socket that sshd opens, else over the one that the relay opens.
    async fn rpc(&self, authorization: Option<String>) -> Result<ReachedSupervisor<S>, SupervisorError> {
        let refused = match self.rpc_over(SocketRoute::Forwarded, authorization.clone()).await {
            Err(error @ SupervisorError::Transport(_)) if !error.is_connection_lost() => error,
            reached => return reached,
        };
        let is_unix = |address: &ControlAddress| matches!(address, ControlAddress::Unix(_));
        if !self.shell.sudo().is_on() || !self.supervisor.addresses.iter().any(is_unix) {
            return Err(refused);
        }
        debug!(supervisor = self.supervisor.name, why = %refused, "not through sshd");
        // Before the first question, which is to be answered soon.
        self.shell.relay().await?;
        self.rpc_over(SocketRoute::Relayed, authorization).await
    }

    async fn rpc_over(
        &self,
        road: SocketRoute,
        authorization: Option<String>,
    ) -> Result<ReachedSupervisor<S>, SupervisorError> {
        let mut worst: Option<SupervisorError> = None;
        let usable =
            |address: &&ControlAddress| road == SocketRoute::Forwarded || matches!(address, ControlAddress::Unix(_));
        for address in self.supervisor.addresses.iter().filter(usable) {
            let client = RpcClient::new(self.shell.clone(), road, address.clone(), authorization.clone());
            match client.snapshot().await {
                Ok(snapshot) => {
                    debug!(supervisor = self.supervisor.name, %address, %road, "answers by XML-RPC");
                    return Ok(ReachedSupervisor { client: SupervisorClient::Rpc(client), snapshot });
                }
                Err(error) if error.is_connection_lost() => return Err(error),
                Err(error) => {
                    debug!(supervisor = self.supervisor.name, %address, why = %error, "does not answer");
                    // An answer, even an invalid one, says more than a socket that cannot be opened.
                    let says_little = |worst: &SupervisorError| {
                        matches!(worst, SupervisorError::Transport(_) | SupervisorError::NoSocket(_))
                    };
                    if worst.as_ref().is_none_or(says_little) {
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
            if seen.is_some_and(|seen| !seen.worth_asking(index)) {
                continue;
            }
            let client = Supervisorctl::new(self.shell.clone(), address.clone());
            match client.list().await {
                Ok(processes) => {
                    let snapshot = SupervisorReading { version: String::new(), pid: None, processes, unnamed: 0 };
                    return Ok(ReachedSupervisor { client: SupervisorClient::Supervisorctl(client), snapshot });
                }
                Err(error @ (SupervisorError::Down(_) | SupervisorError::NoSocket(_))) => worst = error,
                Err(error) => return Err(error),
            }
        }
        Err(worst)
    }

    async fn wrapper(&self) -> Result<ReachedSupervisor<S>, SupervisorError> {
        let client = InitWrapper::new(self.shell.clone(), self.supervisor.services.clone());
        let processes = client.list().await?;
        let snapshot = SupervisorReading { version: String::new(), pid: None, processes, unnamed: 0 };
        Ok(ReachedSupervisor { client: SupervisorClient::Service(client), snapshot })
    }

    /// Looks at the sockets with one command, without sudo.
    async fn look(&self) -> SocketProbe {
        let mut script = String::new();
        let mut test = |flag: &str, path: &str, mark: &str| {
            if let Ok(path) = shlex::try_quote(path) {
                script.push_str(&format!("test {flag} {path} && echo {mark}; "));
            }
        };
        for (index, address) in self.supervisor.addresses.iter().enumerate() {
            if let ControlAddress::Unix(path) = address {
                test("-S", path, &format!("ctl-socket-{index}"));
                test("-w", path, &format!("ctl-writable-{index}"));
            }
        }
        if let Some(file) = &self.supervisor.config_file {
            test("-e", file, "ctl-config");
        }
        test("-e", &format!("/etc/init.d/{}", self.supervisor.name), "ctl-init");
        test("-e", &format!("/etc/init/{}.conf", self.supervisor.name), "ctl-init");
        script.push(':');
        let (output, blind) = match self.shell.script(&script).await {
            Ok(answer) => (answer.stdout, None),
            Err(error) => {
                debug!(%error, "cannot check the sockets");
                (String::new(), Some(error))
            }
        };
        let has = |mark: String| output.lines().any(|line| line.trim() == mark);
        let sockets = (self.supervisor.addresses.iter().enumerate())
            .map(|(index, address)| match address {
                ControlAddress::Http { .. } => ProbedSocket::Tcp,
                ControlAddress::Unix(_) if has(format!("ctl-writable-{index}")) => ProbedSocket::Writable,
                ControlAddress::Unix(_) if has(format!("ctl-socket-{index}")) => ProbedSocket::Forbidden,
                ControlAddress::Unix(_) => ProbedSocket::Missing,
            })
            .collect();
        let mut seen = SocketProbe {
            blind,
            sockets,
            config: has("ctl-config".to_owned()),
            init: has("ctl-init".to_owned()),
            alive: None,
        };
        let is_gone = |socket: &ProbedSocket| matches!(socket, ProbedSocket::Missing | ProbedSocket::Tcp);
        if seen.blind.is_none() && seen.config && seen.sockets.iter().all(is_gone) {
            seen.alive = self.alive().await;
        }
        seen
    }

    /// The pid of the supervisord that runs with the instance's configuration file, if one does.
    async fn alive(&self) -> Option<u32> {
        let file = shlex::try_quote(self.supervisor.config_file.as_deref()?).ok()?;
        // The shell and grep have the file among their words too; only a supervisord is meant. A question may not change
        // the words of the shell that asks it, in which the mark stands.
        let script = format!(
            "for file in $(grep -laF -e {file} /proc/[0-9]*/cmdline 2>/dev/null); do \
             case \"$(cat \"${{file%cmdline}}comm\" 2>/dev/null)\" in \
             supervisord*|python*) echo \"ctl-alive $file\";; esac; done"
        );
        let output = self.shell.script(&script).await.ok()?.stdout;
        let paths = output.lines().filter_map(|line| line.trim().strip_prefix("ctl-alive /proc/"));
        paths.filter_map(|path| path.strip_suffix("/cmdline")?.parse().ok()).next()
    }
}

/// What a look at the node's file system showed.
struct SocketProbe {
    /// Why nothing was seen.
    blind: Option<SupervisorError>,
    /// One for each address of the instance.
    sockets: Vec<ProbedSocket>,
    /// Its configuration file is there.
    config: bool,
    /// init knows it.
    init: bool,
    /// The pid of a supervisord that runs with its configuration, though it has no socket.
    alive: Option<u32>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum ProbedSocket {
    /// A TCP port: cannot be looked at.
    Tcp,
    /// No such socket.
    Missing,
    /// There, and the user may connect: then nobody listens, or sshd forbids the forwarding.
    Writable,
    /// There, and the user may not connect.
    Forbidden,
}

impl SocketProbe {
    fn worth_asking(&self, index: usize) -> bool {
        self.blind.is_some() || self.sockets.get(index) != Some(&ProbedSocket::Missing)
    }

    /// Whether executing something on the node can do what forwarding could not.
    fn may_help(&self, sudo: bool) -> bool {
        if matches!(self.blind, Some(SupervisorError::NoAnswer(_))) {
            return false;
        }
        self.blind.is_some()
            || self.sockets.iter().any(|socket| match socket {
                ProbedSocket::Tcp | ProbedSocket::Writable => true,
                ProbedSocket::Forbidden => sudo,
                ProbedSocket::Missing => false,
            })
    }

    fn explain(&self, supervisor: &Supervisor, sudo: bool, error: &SupervisorError) -> Failure {
        let name = &supervisor.name;
        let places = supervisor.addresses.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
        let start = format!(
            "start it with `ctl service {name} start -w {{node}}`, or `restart` if init says that it is already running"
        );
        let failure = |kind, message: String| Failure::new(Stage::Inspect, kind, message);
        if let Some(blind @ SupervisorError::NoAnswer(_)) = &self.blind {
            let failure = blind.failure(Stage::Inspect);
            return Failure { message: format!("{name}: {}; by XML-RPC: {error}", failure.message), ..failure };
        }
        if self.blind.is_some() {
            return failure(FailureKind::SupervisorDown, format!("{name} does not answer at {places}: {error}")).with_hint(format!(
                "the socket may be missing, refused or forbidden, or sshd forbids forwarding; if it is down, {start}"
            ));
        }
        if !sudo && self.sockets.contains(&ProbedSocket::Forbidden) {
            return failure(FailureKind::Permission, format!("{name}: the user may not open its socket ({places})"))
                .with_hint("log in as root, or set `sudo: true` for the node (or --sudo)");
        }
        if self.sockets.iter().any(|socket| matches!(socket, ProbedSocket::Writable | ProbedSocket::Forbidden)) {
            let why = if matches!(error, SupervisorError::Down(_) | SupervisorError::NoSocket(_)) {
                error.to_string()
            } else {
                "the socket exists but nothing is listening on it".to_owned()
            };
            return failure(FailureKind::SupervisorDown, format!("{name}: {why} ({places})")).with_hint(start);
        }
        if let Some(config) = supervisor.config_file.as_deref().filter(|_| !self.config && !self.init) {
            let message =
                format!("the node has no {name}: no socket ({places}), no configuration ({config}), no init script");
            return failure(FailureKind::SupervisorMissing, message).with_hint(
                "if it listens elsewhere, set that in the inventory: `roles: {{role}: {socket: /PATH/OF/ITS.sock}}`; otherwise remove role {role} from this node",
            );
        }
        if let Some(pid) = self.alive {
            let message = format!("{name} runs (pid {pid}), but its socket is gone ({places})");
            return failure(FailureKind::SupervisorDown, message).with_hint(format!(
                "a cleaner of /tmp may have removed it; only a restart of the instance, which restarts its services, creates a new one: `ctl service {name} restart -w {{node}}`"
            ));
        }
        failure(FailureKind::SupervisorDown, format!("{name} is not running: nothing is listening at {places}"))
            .with_hint(start)
    }
}
