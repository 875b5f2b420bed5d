//! A node's one connection, made again when it was lost, and the supervisords reached over it.
//!
//! Which backend reaches a supervisord is not known here: [`LiveInstance`] asks its capabilities, or calls a method.

use std::collections::BTreeSet;
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use secrecy::ExposeSecret;
use tokio::sync::{Mutex, OnceCell};
use tokio::time::timeout;
use tracing::debug;

use crate::node::access::NodeAccess;
use crate::node::passwords::PasswordFiles;
use ctl_event::{ProcessState, Via};
use ctl_guard::Rescue;
use ctl_inventory::{ControlAddress, Role, Supervisor};
use ctl_remote::Sudo;
use ctl_select::ServicePattern;
use ctl_supervisor::backend::interface::Capabilities;
use ctl_supervisor::backend::may_run_commands;
use ctl_supervisor::backend::search::{self, Diagnosis};
use ctl_supervisor::init_service::InitService;
use ctl_supervisor::node_scan;
use ctl_supervisor::process::{ProcessReading, SupervisorReading};
use ctl_supervisor::rescue::{self, RescueContext};
use ctl_supervisor::shell::NodeShell;
use ctl_supervisor::{ProcessInfo, RpcFault, SupervisorClient, SupervisorError};
use ctl_transport::{Endpoint, Session, Transport, TransportError};

/// The connection to one node. At most one at a time.
pub(crate) struct NodeConnection<T: Transport> {
    transport: Arc<T>,
    endpoint: Arc<Endpoint>,
    sudo: Sudo,
    passwords: Arc<PasswordFiles>,
    current: Mutex<Option<NodeShell<T::Session>>>,
}

impl<T: Transport> NodeConnection<T> {
    pub(crate) fn new(transport: Arc<T>, access: &NodeAccess) -> Self {
        let NodeAccess { endpoint, sudo, passwords, .. } = access.clone();
        Self { transport, endpoint, sudo, passwords, current: Mutex::default() }
    }

    /// How the guard starts a service that init runs again.
    pub(crate) fn rescue_of_init(&self, name: &str) -> Rescue {
        rescue::of_init(&self.sudo, name)
    }

    /// The ports that the node itself finds open; none if it did not list them within `patience`.
    pub(crate) async fn open_ports(&self, patience: Duration) -> Option<BTreeSet<u16>> {
        let asked = async {
            let shell = self.shell().await.map_err(|error| debug!(%error, "no shell")).ok()?;
            node_scan::open_ports(&shell).await.map_err(|error| debug!(%error, "cannot list its ports")).ok()
        };
        timeout(patience, asked).await.ok().flatten()
    }

    /// The connection that is open, else a new one.
    pub(crate) async fn session(&self) -> Result<Arc<T::Session>, TransportError> {
        Ok(Arc::clone(self.shell().await?.session()))
    }

    /// The shell on the connection that is open, else on a new one.
    pub(crate) async fn shell(&self) -> Result<NodeShell<T::Session>, TransportError> {
        // The lock is held while connecting, so that a node never gets two connections.
        let mut current = self.current.lock().await;
        if let Some(shell) = current.as_ref().filter(|shell| !shell.session().is_closed()) {
            return Ok(shell.clone());
        }
        if current.take().is_some() {
            debug!(host = self.endpoint.host, "the connection was lost; reconnecting");
        }
        let session = Arc::new(self.transport.connect(&self.endpoint).await?);
        let shell = NodeShell::new(session, self.sudo.clone());
        *current = Some(shell.clone());
        Ok(shell)
    }

    /// Ends once it is known that the node does not answer over the connection that is open; as long as it does, or if none is open, never.
    pub(crate) async fn falls_silent(&self) {
        // A lock that is held means a connect under way, whose silence the connect itself notices.
        let session = self.current.try_lock().ok().and_then(|current| Some(Arc::clone(current.as_ref()?.session())));
        match session {
            Some(session) => session.falls_silent().await,
            None => std::future::pending().await,
        }
    }

    /// Closes the connection; what needs it again opens another.
    pub(crate) async fn hang_up(&self) {
        self.current.lock().await.take();
    }

    /// Whether a connection is open now. A connect under way counts as none.
    pub(crate) fn is_open(&self) -> bool {
        self.current.try_lock().is_ok_and(|current| current.as_ref().is_some_and(|shell| !shell.session().is_closed()))
    }
}

/// A supervisord on a node: which one, the client that reaches it, and its first answer.
pub(crate) struct LiveInstance<T: Transport> {
    pub(crate) link: Arc<NodeConnection<T>>,
    pub(crate) role: Arc<Role>,
    pub(crate) supervisor: Supervisor,
    authorization: Option<String>,
    /// Whether the user lets commands run on the node.
    may_run: bool,
    client: std::sync::Mutex<ConnectedClient<T::Session>>,
    /// Its first answer.
    pub(crate) snapshot: SupervisorReading,
    /// Programs that were acted on, where an action reaches all processes of a program at once.
    acted_on: std::sync::Mutex<BTreeSet<String>>,
    /// Processes whose `startsecs` is 0, once supervisord has answered; none if it does not have that in its answer.
    up_at_once: OnceCell<Option<BTreeSet<(String, String)>>>,
    /// Groups that an update has taken out and not yet put in again.
    owed_groups: std::sync::Mutex<BTreeSet<String>>,
}

/// A client and the connection it is on.
struct ConnectedClient<S: Session> {
    session: Arc<S>,
    client: Arc<SupervisorClient<S>>,
}

impl<T: Transport> LiveInstance<T> {
    /// Finds the backend that reaches an instance.
    pub(crate) async fn reach(
        link: &Arc<NodeConnection<T>>,
        role: &Arc<Role>,
        supervisor: &Supervisor,
        wanted: Option<Via>,
    ) -> Result<Self, ctl_event::Failure> {
        let shell = link.shell().await.map_err(|error| error.failure())?;
        let authorization = authorization(supervisor, &link.passwords)?;
        // An optional instance may simply not exist, so its absence needs no explanation.
        let diagnosis = if supervisor.optional { Diagnosis::Spare } else { Diagnosis::Look };
        let reached = search::reach(&shell, supervisor, wanted, authorization.clone(), diagnosis).await?;
        let session = Arc::clone(shell.session());
        Ok(Self {
            link: Arc::clone(link),
            role: Arc::clone(role),
            supervisor: supervisor.clone(),
            authorization,
            may_run: may_run_commands(wanted),
            client: std::sync::Mutex::new(ConnectedClient { session, client: Arc::new(reached.client) }),
            snapshot: reached.snapshot,
            acted_on: std::sync::Mutex::default(),
            up_at_once: OnceCell::new(),
            owed_groups: std::sync::Mutex::default(),
        })
    }

    /// Whether the action on a program is still to be sent, where it reaches all its processes: once a run, whichever of them
    /// comes first.
    pub(crate) fn is_first_of_program(&self, program: &str) -> bool {
        self.acted_on.lock().unwrap_or_else(PoisonError::into_inner).insert(program.to_owned())
    }

    /// Whether the node itself finds that nothing listens on a port; `false` if it cannot say so within `patience`.
    pub(crate) async fn is_closed(&self, port: u16, patience: Duration) -> bool {
        self.may_run && self.link.open_ports(patience).await.is_some_and(|open| !open.contains(&port))
    }

    /// Drops processes that another instance of the node lists as well, where the backend does not say whose they are.
    pub(crate) fn leave_to_others(&mut self, taken: &mut BTreeSet<(String, String)>) {
        if self.capabilities().lists_other_instances {
            // The first instance that lists a process keeps it.
            self.snapshot.processes.retain(|process| taken.insert((process.group.clone(), process.name.clone())));
        }
    }

    /// Whether supervisord's configuration says that a process is up as soon as it is spawned; none if that is not known. It is
    /// read once; a query that failed is repeated.
    pub(crate) async fn is_up_at_once(
        &self,
        client: &SupervisorClient<T::Session>,
        process: &ProcessInfo,
    ) -> Option<bool> {
        match self.up_at_once.get_or_try_init(|| client.up_at_once()).await {
            Ok(at_once) => at_once.as_ref().map(|all| all.contains(&(process.group.clone(), process.name.clone()))),
            Err(error) => {
                debug!(supervisor = self.supervisor.name, %error, "cannot read the configuration of its programs");
                None
            }
        }
    }

    /// Notes that a group was taken out to be put in again.
    pub(crate) fn owe_group(&self, group: &str) {
        self.owed_groups.lock().unwrap_or_else(PoisonError::into_inner).insert(group.to_owned());
    }

    /// The group is in again.
    pub(crate) fn group_is_in(&self, group: &str) {
        self.owed_groups.lock().unwrap_or_else(PoisonError::into_inner).remove(group);
    }

    /// Puts in again the groups that an update has taken out. Ends only when all of them are in, so the caller sets a
    /// time.
    pub(crate) async fn put_in_owed_groups(&self) {
        loop {
            let owed = self.owed_groups.lock().unwrap_or_else(PoisonError::into_inner).clone();
            if owed.is_empty() {
                return;
            }
            for group in owed {
                match self.put_in(&group).await {
                    Ok(true) => self.group_is_in(&group),
                    // A process of the group is still stopping, so the next round tries again.
                    Ok(false) => {}
                    Err(error) => debug!(group, %error, "not added again yet"),
                }
            }
            tokio::time::sleep(std::time::Duration::from_millis(200)).await;
        }
    }

    /// Whether a group is in, and a start was sent to it.
    async fn put_in(&self, group: &str) -> Result<bool, SupervisorError> {
        let client = self.client().await?;
        match client.add_group(group).await {
            // It was not taken out yet. One that is being stopped takes no start, though supervisord says it does.
            Err(SupervisorError::Fault { fault: RpcFault::AlreadyAdded, .. }) => {}
            added => return added.map(|()| true),
        }
        let stopping = |process: &ProcessInfo| process.group == group && process.state == ProcessState::Stopping;
        if client.list().await?.iter().any(stopping) {
            return Ok(false);
        }
        // A removal stops the processes before it takes the group out, so a group that is still in may be stopped.
        client.start_group(group).await.map(|()| true)
    }

    /// The client on the connection that was open last.
    fn last_client(&self) -> Arc<SupervisorClient<T::Session>> {
        Arc::clone(&self.client.lock().unwrap_or_else(PoisonError::into_inner).client)
    }

    /// Which backend reaches it.
    pub(crate) fn via(&self) -> Via {
        self.last_client().via()
    }

    /// What that backend is like.
    pub(crate) fn capabilities(&self) -> Capabilities {
        self.last_client().capabilities()
    }

    /// Where it listens, if the backend knows.
    pub(crate) fn address(&self) -> Option<ControlAddress> {
        self.last_client().address().cloned()
    }

    /// Where it was reached, for people to read.
    pub(crate) fn place(&self) -> String {
        self.last_client().place(&self.supervisor.name)
    }

    /// The unix socket at which it was reached.
    pub(crate) fn socket(&self) -> Option<String> {
        match self.address() {
            Some(ControlAddress::Unix(path)) => Some(path),
            Some(ControlAddress::Http { .. }) | None => None,
        }
    }

    /// Whether sshd has opened a TCP port for it.
    pub(crate) fn is_forwarded_to_tcp(&self) -> bool {
        self.last_client().is_forwarded_to_tcp()
    }

    /// The client, on the connection that is open now.
    pub(crate) async fn client(&self) -> Result<Arc<SupervisorClient<T::Session>>, TransportError> {
        let shell = self.link.shell().await?;
        let session = Arc::clone(shell.session());
        let mut connected = self.client.lock().unwrap_or_else(PoisonError::into_inner);
        // The node was reconnected: the client moves to the new connection and keeps its backend.
        if !Arc::ptr_eq(&connected.session, &session) {
            let client = Arc::new(connected.client.on(shell));
            *connected = ConnectedClient { session, client };
        }
        Ok(Arc::clone(&connected.client))
    }

    /// The process as it is now. supervisord's own pid is read as well where a stop of the program restarts all of it.
    pub(crate) async fn look(&self, group: &str, name: &str) -> Result<ProcessReading, SupervisorError> {
        let client = self.client().await?;
        let reading = client.read(group, name, self.may_be_restarted()).await?;
        reading.ok_or_else(|| SupervisorError::Fault {
            fault: RpcFault::BadName,
            text: format!("{} no longer lists it", self.supervisor.name),
        })
    }

    /// How the guard starts a process of it again; none where it cannot.
    pub(crate) fn rescue(&self, group: &str, name: &str) -> Option<Rescue> {
        self.last_client().rescue(&self.rescue_context(), group, name)
    }

    /// How the guard adds a group of it again; none where an update can remove no group.
    pub(crate) fn rescue_group(&self, group: &str) -> Option<Rescue> {
        self.last_client().rescue_group(&self.rescue_context(), group)
    }

    /// The same for all its groups that are meant.
    pub(crate) fn rescues_of_groups(&self, services: &[ServicePattern]) -> Vec<Rescue> {
        let groups: BTreeSet<&String> = self.snapshot.processes.iter().map(|process| &process.group).collect();
        let meant = groups.into_iter().filter(|group| services.iter().any(|service| service.matches_group(group)));
        meant.filter_map(|group| self.rescue_group(group)).collect()
    }

    fn rescue_context(&self) -> RescueContext<'_> {
        RescueContext {
            supervisor: &self.supervisor,
            authorization: self.authorization.as_deref(),
            version: &self.snapshot.version,
        }
    }

    /// Whether the instance was restarted since it was first read, and the process with it.
    pub(crate) fn was_restarted(&self, now: &ProcessReading) -> bool {
        let listed = self.snapshot.processes.iter();
        let mut listed = listed.filter(|known| known.group == now.process.group && known.name == now.process.name);
        // A new supervisord alone is not enough, since it may not have started the process yet.
        self.snapshot.pid.is_some()
            && now.supervisor_pid.is_some()
            && self.snapshot.pid != now.supervisor_pid
            && listed.any(|known| now.process.is_another_than(known))
    }

    /// Whether the stop of some program of it makes the node manager restart the whole instance.
    pub(crate) fn may_be_restarted(&self) -> bool {
        !self.supervisor.cascades.is_empty()
    }

    /// Whether a stop of this program makes the node manager restart the whole instance.
    pub(crate) fn cascades(&self, group: &str) -> bool {
        self.supervisor.cascades.iter().any(|name| name == group)
    }
}

/// A service that init runs, over the connection that is open now.
pub(crate) async fn init_service<T: Transport>(
    link: &NodeConnection<T>,
    name: &str,
) -> Result<InitService<T::Session>, TransportError> {
    Ok(InitService::new(link.shell().await?, name.to_owned()))
}

/// The value of the Authorization header.
fn authorization(supervisor: &Supervisor, passwords: &PasswordFiles) -> Result<Option<String>, ctl_event::Failure> {
    use base64::Engine;
    let Some(user) = &supervisor.username else { return Ok(None) };
    let password = supervisor.password_file.as_deref().map(|file| passwords.of(file)).transpose()?;
    let pair = format!("{user}:{}", password.map(|password| password.expose_secret()).unwrap_or_default());
    Ok(Some(format!("Basic {}", base64::engine::general_purpose::STANDARD.encode(pair))))
}
