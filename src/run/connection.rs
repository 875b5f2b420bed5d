//! A node's one connection, made again when it was lost, and the supervisords reached over it.

use std::collections::BTreeSet;
use std::sync::{Arc, PoisonError};

use secrecy::zeroize::Zeroizing;
use secrecy::{ExposeSecret, SecretString};
use tokio::sync::{Mutex, OnceCell};
use tracing::debug;

use super::{NodeAccess, PasswordFiles};
use crate::event::{ProcessState, Via};
use crate::guard::{ControlCommand, ControlSettings, Rescue};
use crate::inventory::{ControlAddress, Role, Supervisor};
use crate::remote::Sudo;
use crate::select::ServicePattern;
use crate::supervisor::command::{InitService, InitWrapper, NodeShell, Supervisorctl};
use crate::supervisor::rpc::{RpcClient, SocketRoute, SupervisorReading};
use crate::supervisor::via::{self, Diagnosis};
use crate::supervisor::{ProcessInfo, RpcFault, SupervisorClient, SupervisorError};
use crate::transport::{Endpoint, Session, Transport, TransportError};

/// The connection to one node. At most one at a time.
pub(super) struct NodeConnection<T: Transport> {
    transport: Arc<T>,
    endpoint: Endpoint,
    sudo: Sudo,
    passwords: Arc<PasswordFiles>,
    current: Mutex<Option<NodeShell<T::Session>>>,
}

impl<T: Transport> NodeConnection<T> {
    pub(super) fn new(transport: Arc<T>, access: &NodeAccess) -> Self {
        let NodeAccess { endpoint, sudo, passwords, .. } = access.clone();
        Self { transport, endpoint, sudo, passwords, current: Mutex::default() }
    }

    /// How the guard starts a service that init runs again.
    pub(super) fn rescue_of_init(&self, name: &str) -> Rescue {
        Rescue::Init { name: name.to_owned(), prefix: self.unattended_sudo() }
    }

    /// What stands before a command that the node's guard runs.
    fn unattended_sudo(&self) -> Vec<String> {
        self.sudo.unattended_words().iter().map(|word| (*word).to_owned()).collect()
    }

    /// The connection that is open, else a new one.
    pub(super) async fn session(&self) -> Result<Arc<T::Session>, TransportError> {
        Ok(Arc::clone(self.shell().await?.session()))
    }

    /// The shell on the connection that is open, else on a new one.
    pub(super) async fn shell(&self) -> Result<NodeShell<T::Session>, TransportError> {
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
    pub(super) async fn falls_silent(&self) {
        let session = self.current.try_lock().ok().and_then(|current| Some(Arc::clone(current.as_ref()?.session())));
        match session {
            Some(session) => session.falls_silent().await,
            None => std::future::pending().await,
        }
    }

    /// Closes the connection; what needs it again opens another.
    pub(super) async fn hang_up(&self) {
        self.current.lock().await.take();
    }

    /// Whether a connection is open now. A connect under way counts as none.
    pub(super) fn is_open(&self) -> bool {
        self.current.try_lock().is_ok_and(|current| current.as_ref().is_some_and(|shell| !shell.session().is_closed()))
    }
}

/// A supervisord on a node: which one, how it was reached, what it listed.
pub(super) struct LiveInstance<T: Transport> {
    pub(super) link: Arc<NodeConnection<T>>,
    pub(super) role: Arc<Role>,
    pub(super) supervisor: Supervisor,
    way: InstanceRoute,
    authorization: Option<String>,
    client: Mutex<ConnectedClient<T::Session>>,
    /// What it listed when it was first asked.
    pub(super) snapshot: SupervisorReading,
    /// Programs whose init wrapper was run: it acts on all processes of the program at once.
    wrapped: std::sync::Mutex<BTreeSet<String>>,
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

#[derive(Clone)]
enum InstanceRoute {
    Rpc(ControlAddress, SocketRoute),
    Supervisorctl(ControlAddress),
    Service,
}

/// What one look at a process shows.
#[derive(Debug, Clone)]
pub(super) struct ProcessReading {
    /// supervisord's own pid, where it matters and the way can tell.
    pub(super) supervisor_pid: Option<u32>,
    /// The process.
    pub(super) process: ProcessInfo,
}

impl<T: Transport> LiveInstance<T> {
    /// Finds the way to an instance.
    pub(super) async fn reach(
        link: &Arc<NodeConnection<T>>,
        role: &Arc<Role>,
        supervisor: &Supervisor,
        wanted: Option<Via>,
    ) -> Result<Self, crate::event::Failure> {
        let shell = link.shell().await.map_err(|error| error.failure())?;
        let authorization = authorization(supervisor, &link.passwords)?;
        let diagnosis = if supervisor.optional { Diagnosis::Spare } else { Diagnosis::Look };
        let reached = via::reach(&shell, supervisor, wanted, authorization.clone(), diagnosis).await?;
        let way = match &reached.client {
            SupervisorClient::Rpc(client) => InstanceRoute::Rpc(client.address().clone(), client.road()),
            SupervisorClient::Supervisorctl(client) => InstanceRoute::Supervisorctl(client.address().clone()),
            SupervisorClient::Service(_) => InstanceRoute::Service,
        };
        let session = Arc::clone(shell.session());
        Ok(Self {
            link: Arc::clone(link),
            role: Arc::clone(role),
            supervisor: supervisor.clone(),
            way,
            authorization,
            client: Mutex::new(ConnectedClient { session, client: Arc::new(reached.client) }),
            snapshot: reached.snapshot,
            wrapped: std::sync::Mutex::default(),
            up_at_once: OnceCell::new(),
            owed_groups: std::sync::Mutex::default(),
        })
    }

    /// Whether the init wrapper of a program is to be run: once a run, whichever of its processes comes first.
    pub(super) fn is_first_wrapped(&self, program: &str) -> bool {
        self.wrapped.lock().unwrap_or_else(PoisonError::into_inner).insert(program.to_owned())
    }

    /// Drops processes that another instance of the node lists as well: an init wrapper does not say whose they are.
    pub(super) fn leave_to_others(&mut self, taken: &mut BTreeSet<(String, String)>) {
        if self.via() == Via::Service {
            self.snapshot.processes.retain(|process| taken.insert((process.group.clone(), process.name.clone())));
        }
    }

    /// Whether supervisord's configuration says that a process is up as soon as it is spawned; none if that is not known.
    /// An answer is asked for once; a question that failed is asked again.
    pub(super) async fn is_up_at_once(&self, rpc: &RpcClient<T::Session>, process: &ProcessInfo) -> Option<bool> {
        match self.up_at_once.get_or_try_init(|| rpc.up_at_once()).await {
            Ok(at_once) => at_once.as_ref().map(|all| all.contains(&(process.group.clone(), process.name.clone()))),
            Err(error) => {
                debug!(supervisor = self.supervisor.name, %error, "cannot read the configuration of its programs");
                None
            }
        }
    }

    /// supervisorctl beside the init wrapper, which does not tell how a process has ended.
    pub(super) async fn beside_wrapper(&self) -> Option<Vec<Supervisorctl<T::Session>>> {
        let shell = self.link.shell().await.ok()?;
        let addresses = self.supervisor.addresses.iter();
        Some(addresses.map(|address| Supervisorctl::new(shell.clone(), address.clone())).collect())
    }

    /// Notes that a group was taken out to be put in again.
    pub(super) fn owe_group(&self, group: &str) {
        self.owed_groups.lock().unwrap_or_else(PoisonError::into_inner).insert(group.to_owned());
    }

    /// The group is in again.
    pub(super) fn group_is_in(&self, group: &str) {
        self.owed_groups.lock().unwrap_or_else(PoisonError::into_inner).remove(group);
    }

    /// Puts in again what an update has taken out. Ends only when all of it is in, so it is to be given a time.
    pub(super) async fn put_in_owed_groups(&self) {
        loop {
            let owed = self.owed_groups.lock().unwrap_or_else(PoisonError::into_inner).clone();
            if owed.is_empty() {
                return;
            }
            for group in owed {
                match self.put_in(&group).await {
                    Ok(true) => self.group_is_in(&group),
                    Ok(false) => {}
                    Err(error) => debug!(group, %error, "not added again yet"),
                }
            }
            tokio::time::sleep(std::time::Duration::from_millis(200)).await;
        }
    }

    /// Whether a group is in, and was told to start.
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
        client.start_group(group).await.map(|()| true)
    }

    pub(super) fn via(&self) -> Via {
        match self.way {
            InstanceRoute::Rpc(..) => Via::Rpc,
            InstanceRoute::Supervisorctl(_) => Via::Supervisorctl,
            InstanceRoute::Service => Via::Service,
        }
    }

    /// Where it was reached.
    pub(super) fn address(&self) -> String {
        match &self.way {
            InstanceRoute::Rpc(address, _) | InstanceRoute::Supervisorctl(address) => address.to_string(),
            InstanceRoute::Service => format!("the init wrappers of {}", self.supervisor.name),
        }
    }

    /// The unix socket at which it was reached.
    pub(super) fn socket(&self) -> Option<&str> {
        match &self.way {
            InstanceRoute::Rpc(ControlAddress::Unix(path), _)
            | InstanceRoute::Supervisorctl(ControlAddress::Unix(path)) => Some(path),
            InstanceRoute::Rpc(..) | InstanceRoute::Supervisorctl(_) | InstanceRoute::Service => None,
        }
    }

    /// Whether sshd has opened a TCP port for it.
    pub(super) fn is_forwarded_to_tcp(&self) -> bool {
        matches!(self.way, InstanceRoute::Rpc(ControlAddress::Http { .. }, SocketRoute::Forwarded))
    }

    /// The client, on the connection that is open now.
    pub(super) async fn client(&self) -> Result<Arc<SupervisorClient<T::Session>>, TransportError> {
        let shell = self.link.shell().await?;
        let session = Arc::clone(shell.session());
        let mut client = self.client.lock().await;
        if !Arc::ptr_eq(&client.session, &session) {
            let new = match self.way.clone() {
                InstanceRoute::Rpc(address, road) => {
                    SupervisorClient::Rpc(RpcClient::new(shell, road, address, self.authorization.clone()))
                }
                InstanceRoute::Supervisorctl(address) => {
                    SupervisorClient::Supervisorctl(Supervisorctl::new(shell, address))
                }
                InstanceRoute::Service => {
                    SupervisorClient::Service(InitWrapper::new(shell, self.supervisor.services.clone()))
                }
            };
            *client = ConnectedClient { session, client: Arc::new(new) };
        }
        Ok(Arc::clone(&client.client))
    }

    /// The process as it is now. supervisord's own pid is asked for where a stop of the program restarts it all.
    pub(super) async fn look(&self, group: &str, name: &str) -> Result<ProcessReading, SupervisorError> {
        let client = self.client().await?;
        let cascades = self.may_be_restarted();
        match client.as_ref() {
            SupervisorClient::Rpc(rpc) => {
                let (supervisor_pid, process) = rpc.look(&rpc_name(group, name)).await?;
                Ok(ProcessReading { supervisor_pid, process })
            }
            SupervisorClient::Supervisorctl(_) | SupervisorClient::Service(_) => {
                let supervisor_pid = if cascades { client.pid().await? } else { None };
                let found =
                    client.list().await?.into_iter().find(|process| process.group == group && process.name == name);
                let process = found.ok_or_else(|| SupervisorError::Fault {
                    fault: RpcFault::BadName,
                    text: format!("{} no longer lists it", self.supervisor.name),
                })?;
                Ok(ProcessReading { supervisor_pid, process })
            }
        }
    }

    /// How the guard starts a process of it again.
    pub(super) fn rescue(&self, group: &str, name: &str) -> Rescue {
        match &self.way {
            InstanceRoute::Rpc(..) | InstanceRoute::Supervisorctl(_) => {
                Rescue::Process { name: rpc_name(group, name), control: self.control() }
            }
            InstanceRoute::Service => self.link.rescue_of_init(group),
        }
    }

    /// How the guard puts a group of it in again.
    pub(super) fn rescue_group(&self, group: &str) -> Rescue {
        Rescue::Group { name: group.to_owned(), control: self.control() }
    }

    /// The same for all its groups that are meant.
    pub(super) fn rescues_of_groups(&self, services: &[ServicePattern]) -> Vec<Rescue> {
        if self.via() == Via::Service {
            // A wrapper cannot update anything.
            return Vec::new();
        }
        let groups: BTreeSet<&String> = self.snapshot.processes.iter().map(|process| &process.group).collect();
        let meant = groups.into_iter().filter(|group| services.iter().any(|service| service.matches_group(group)));
        meant.map(|group| self.rescue_group(group)).collect()
    }

    /// `supervisorctl` as the guard calls it. A password is never sent as an argument: the node's own configuration has
    /// it where the inventory names that, else supervisorctl reads it from its standard input.
    fn control(&self) -> ControlCommand {
        let address = match &self.way {
            InstanceRoute::Rpc(address, _) | InstanceRoute::Supervisorctl(address) => address.to_string(),
            InstanceRoute::Service => String::new(),
        };
        let (option, value, settings) = match (&self.supervisor.config_file, self.login()) {
            (Some(file), Some(_)) => ("-c", file.clone(), None),
            (None, Some((user, password))) => {
                let version = &self.snapshot.version;
                ("-c", "/dev/stdin".to_owned(), Some(settings(&address, &user, &password, version)))
            }
            (_, None) => ("-s", address, None),
        };
        let mut words = self.link.unattended_sudo();
        words.extend(["supervisorctl".to_owned(), option.to_owned(), value]);
        ControlCommand { words, settings }
    }

    /// The user and the password that supervisord asks for, as they stand in the header that it is sent.
    fn login(&self) -> Option<(String, SecretString)> {
        use base64::Engine;
        let pair = self.authorization.as_ref()?.strip_prefix("Basic ")?;
        let pair = Zeroizing::new(base64::engine::general_purpose::STANDARD.decode(pair).ok()?);
        let (user, password) = std::str::from_utf8(&pair).ok()?.split_once(':')?;
        Some((user.to_owned(), password.into()))
    }

    /// Whether the instance is another than when it was first asked, and the process with it.
    pub(super) fn was_restarted(&self, now: &ProcessReading) -> bool {
        let listed = self.snapshot.processes.iter();
        let mut listed = listed.filter(|known| known.group == now.process.group && known.name == now.process.name);
        self.snapshot.pid.is_some()
            && now.supervisor_pid.is_some()
            && self.snapshot.pid != now.supervisor_pid
            && listed.any(|known| now.process.is_another_than(known))
    }

    /// Whether the stop of some program of it makes the node manager restart the whole instance.
    pub(super) fn may_be_restarted(&self) -> bool {
        !self.supervisor.cascades.is_empty()
    }

    /// Whether a stop of this program makes the node manager restart the whole instance.
    pub(super) fn cascades(&self, group: &str) -> bool {
        self.supervisor.cascades.iter().any(|name| name == group)
    }
}

/// The name that the API takes: always with the group.
pub(super) fn rpc_name(group: &str, name: &str) -> String {
    format!("{group}:{name}")
}

/// A configuration for supervisorctl. It expands what begins with a per cent sign from supervisor 3.2 on
/// (`options.py`, `saneget`).
fn settings(address: &str, user: &str, password: &SecretString, version: &str) -> ControlSettings {
    let mut numbers = version.split('.').map(|number| number.parse::<u32>().ok());
    let is_older =
        matches!((numbers.next().flatten(), numbers.next().flatten()), (Some(3), Some(0 | 1)) | (Some(0..=2), _));
    let literal = |text: &str| Zeroizing::new(if is_older { text.to_owned() } else { text.replace('%', "%%") });
    let (address, user, password) = (literal(address), literal(user), literal(password.expose_secret()));
    let text = format!(
        "[supervisorctl]\nserverurl={}\nusername={}\npassword={}",
        address.as_str(),
        user.as_str(),
        password.as_str()
    );
    ControlSettings::new(text.into())
}

/// A service that init runs, over the connection that is open now.
pub(super) async fn init_service<T: Transport>(
    link: &NodeConnection<T>,
    name: &str,
) -> Result<InitService<T::Session>, TransportError> {
    Ok(InitService::new(link.shell().await?, name.to_owned()))
}

/// The value of the Authorization header.
fn authorization(supervisor: &Supervisor, passwords: &PasswordFiles) -> Result<Option<String>, crate::event::Failure> {
    use base64::Engine;
    let Some(user) = &supervisor.username else { return Ok(None) };
    let password = supervisor.password_file.as_deref().map(|file| passwords.of(file)).transpose()?;
    let pair = format!("{user}:{}", password.map(|password| password.expose_secret()).unwrap_or_default());
    Ok(Some(format!("Basic {}", base64::engine::general_purpose::STANDARD.encode(pair))))
}
