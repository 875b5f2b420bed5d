//! Opens SSH connections: the route to the host, its key, the login.
//!
//! Here lives [`Connector`]. Invariants: a connect never outlives its budget, and leaves no half-open connection
//! behind; the key of a host is checked before anything is sent to it; an endpoint behind a bastion is never reached
//! without it. Start at [`Connector::connect`].

use std::sync::{Arc, PoisonError};
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use russh::keys::PublicKey;
use secrecy::SecretString;
use tokio::sync::mpsc;
use tokio::time::Instant;
use tracing::debug;

use super::auth::{self, AuthProgress, KeyRing};
use super::bastion_pool::{BastionChannel, BastionPool};
use super::client_config::{client_config, negotiation_failed};
use super::connection_loss::ConnectionLoss;
use super::dial::{AddressLog, connect_error, first_to_greet, greeting_timeout};
use super::handshake::{HandshakeConfig, HandshakeEnd, KeyExchange};
use super::login_throttle::{LoginPermit, LoginThrottle};
use super::phase::{ConnectPhase, CurrentPhase};
use super::proxy_command::{self, ProxyChild, ProxyEnvironment};
use super::resolver::{DialRoute, NameResolver};
use super::session::{AcceptedHost, ConnectFurther, SshSession};
use super::stream::PromptTcp;
use crate::endpoint::{Endpoint, ProxyRoute};
use crate::error::{Seconds, TransportError};
use crate::host_keys::HostKeyStore;

/// The longest pause between two attempts.
const LONGEST_PAUSE: Duration = Duration::from_secs(1);

/// Opens connections, and holds everything that all connections of a run share.
pub(super) struct Connector {
    pub(super) host_keys: Arc<HostKeyStore>,
    pub(super) keys: KeyRing,
    bastions: BastionPool,
    logins: Arc<LoginThrottle>,
    names: NameResolver,
    notices: mpsc::Sender<String>,
    delegate: Option<ConnectDelegate>,
}

/// Connects for a process that has no terminal and outlives the run.
pub(super) struct ConnectDelegate {
    pub(super) bastions: Arc<dyn BastionSource>,
    pub(super) proxy: ProxyEnvironment,
}

/// Where connections to bastions come from, if the transport does not make them itself.
pub trait BastionSource: Send + Sync + 'static {
    /// Connection `number` to a bastion, from 0.
    fn connect(
        &self,
        bastion: &Arc<Endpoint>,
        number: usize,
    ) -> BoxFuture<'static, Result<Arc<SshSession>, TransportError>>;
}

/// The purpose of a connection.
#[derive(Clone, Copy, PartialEq, Eq)]
enum ConnectPurpose {
    Login,
    /// Only to see the host's key.
    ProbeHostKey,
}

enum OpenedConnection {
    Session(Box<SshSession>),
    Key(PublicKey),
}

impl Connector {
    pub(super) fn new(password: Option<SecretString>, notices: mpsc::Sender<String>) -> Self {
        Self {
            host_keys: Arc::default(),
            keys: KeyRing::new(password),
            bastions: BastionPool::default(),
            logins: Arc::default(),
            names: NameResolver::default(),
            notices,
            delegate: None,
        }
    }

    /// As [`Connector::new`], for connections that `delegate` asks for.
    pub(super) fn delegated(
        keys: KeyRing,
        (host_keys, logins): (Arc<HostKeyStore>, Arc<LoginThrottle>),
        notices: mpsc::Sender<String>,
        delegate: ConnectDelegate,
    ) -> Self {
        Self { host_keys, keys, logins, delegate: Some(delegate), ..Self::new(None, notices) }
    }

    /// Connects and logs in. Boxed, since a bastion is connected to in the same way.
    pub(super) fn connect<'a>(
        self: &'a Arc<Self>,
        endpoint: &'a Endpoint,
    ) -> BoxFuture<'a, Result<SshSession, TransportError>> {
        async move {
            match self.open(endpoint, ConnectPurpose::Login).await? {
                OpenedConnection::Session(session) => Ok(*session),
                // `open` returns a key only for a probe, so this arm is never reached; an error costs less than a
                // panic.
                OpenedConnection::Key(_) => Err(TransportError::Lost { reason: "nobody was logged in".to_owned() }),
            }
        }
        .boxed()
    }

    /// The key that a host shows.
    pub(super) async fn probe_host_key(self: &Arc<Self>, endpoint: &Endpoint) -> Result<PublicKey, TransportError> {
        match self.open(endpoint, ConnectPurpose::ProbeHostKey).await? {
            OpenedConnection::Key(key) => Ok(key),
            OpenedConnection::Session(_) => Err(TransportError::Lost { reason: "no key was presented".to_owned() }),
        }
    }

    /// Connects to a bastion, for the pool. Keeps this connector: a connection that has started is made to its end.
    fn connect_bastion(
        self: &Arc<Self>,
        bastion: &Arc<Endpoint>,
        number: usize,
    ) -> BoxFuture<'static, Result<Arc<SshSession>, TransportError>> {
        if let Some(delegate) = &self.delegate {
            return delegate.bastions.connect(bastion, number);
        }
        let (this, bastion) = (Arc::clone(self), Arc::clone(bastion));
        async move { Ok(Arc::new(this.connect(&bastion).await?)) }.boxed()
    }

    /// The function by which a session opens further connections. It does not keep this connector, which ends with the
    /// run and not with the last session.
    fn reconnect_function(self: &Arc<Self>, endpoint: &Endpoint) -> ConnectFurther {
        let (this, endpoint) = (Arc::downgrade(self), Arc::new(endpoint.clone()));
        Box::new(move || {
            let (this, endpoint) = (this.upgrade()?, Arc::clone(&endpoint));
            Some(async move { this.connect(&endpoint).await }.boxed())
        })
    }

    /// Attempts until one succeeds, the time is over, or a failure is not transient. Waiting for the bastion, and for
    /// other logins at the same host, takes none of the time.
    async fn open(
        self: &Arc<Self>,
        endpoint: &Endpoint,
        purpose: ConnectPurpose,
    ) -> Result<OpenedConnection, TransportError> {
        let Endpoint { host, connect_timeout, .. } = endpoint;
        // The budget is counted by hand, because waits for the bastion and for other logins must not use it up.
        let mut left = *connect_timeout;
        let (mut retries, mut turned_away) = (0, 0_u32);
        loop {
            let channel = match &endpoint.proxy {
                ProxyRoute::Jump(bastion) => {
                    // Reserved for each attempt: the connection to the bastion may have been lost meanwhile.
                    Some(self.bastions.reserve(bastion, |bastion, number| self.connect_bastion(bastion, number)).await?)
                }
                ProxyRoute::Direct | ProxyRoute::Command(_) => None,
            };
            let permit = self.logins.enter(host).await;
            let began = Instant::now();
            let progress = ConnectProgress::default();
            let ended = tokio::time::timeout(left, self.attempt(endpoint, channel, purpose, &permit, &progress)).await;
            // An attempt that failed early leaves the rest of the time to the next one.
            left = left.saturating_sub(began.elapsed());
            let error = match ended {
                Ok(Ok(OpenedConnection::Session(session))) => {
                    let session = session.with_reconnect(host.clone(), self.reconnect_function(endpoint));
                    return Ok(OpenedConnection::Session(Box::new(session)));
                }
                Ok(Ok(opened @ OpenedConnection::Key(_))) => return Ok(opened),
                Ok(Err(error)) => error,
                // The whole budget is gone, so no attempt may follow.
                Err(_) => return Err(timeout_error(endpoint, &progress)),
            };
            // MaxStartups rejects at random, so it costs no retry: the budget alone limits these attempts.
            let pause = if error.is_turned_away() {
                turned_away += 1;
                if let Some(logins) = permit.turned_away() {
                    self.notify(format!(
                        "{host} rejects connections before its greeting (MaxStartups): limiting it to {logins} logins at once, whatever --forks says"
                    ));
                }
                // Random and growing, because many nodes or logins that were rejected together would come back
                // together.
                let most = LONGEST_PAUSE.min(Duration::from_millis(60) * 2_u32.saturating_pow(turned_away.min(6)));
                rand::random_range(most / 4..=most)
            } else if error.is_transient() && retries < endpoint.retries {
                retries += 1;
                Duration::from_millis(rand::random_range(150..=450)) * retries
            } else {
                return Err(error);
            };
            // The pause must not keep another login out.
            drop(permit);
            // The pause would end after the budget: the error at hand says more than a timeout.
            if pause >= left {
                return Err(error);
            }
            debug!(host, %error, pause_ms = pause.as_millis(), "trying again");
            tokio::time::sleep(pause).await;
            left -= pause;
        }
    }

    /// One attempt, from the name lookup to the login.
    async fn attempt(
        &self,
        endpoint: &Endpoint,
        channel: Option<BastionChannel>,
        purpose: ConnectPurpose,
        permit: &LoginPermit,
        progress: &ConnectProgress,
    ) -> Result<OpenedConnection, TransportError> {
        // The kinds of known keys are needed before the key exchange offers anything.
        let wanted = self.host_keys.wanted(&endpoint.host_keys, &endpoint.host, endpoint.port).await?;
        let terms = HandshakeConfig {
            config: Arc::new(client_config(endpoint, &wanted)?),
            keys: Arc::clone(&self.host_keys),
            only_probe: purpose == ConnectPurpose::ProbeHostKey,
        };
        let bastion = channel.as_ref().map(BastionChannel::bastion);
        let handshake = match (&endpoint.proxy, channel) {
            (ProxyRoute::Command(command), _) => {
                let environment = self.delegate.as_ref().map(|delegate| &delegate.proxy);
                by_command(endpoint, &terms, (command, environment), progress).await?
            }
            (ProxyRoute::Jump(_), Some(channel)) => by_bastion(endpoint, &terms, channel, progress).await?,
            // Never without the bastion that was asked for.
            (ProxyRoute::Jump(bastion), None) => {
                let reason = "there is no connection to it".to_owned();
                return Err(TransportError::Proxy { proxy: bastion.host.clone(), reason });
            }
            (ProxyRoute::Direct, _) => self.by_address(endpoint, &terms, permit, progress).await?,
        };
        progress.enter(ConnectPhase::Negotiating);
        match handshake.finish(|error| negotiation_failed(endpoint, error)).await? {
            // A probe ends with the key; there is no login.
            HandshakeEnd::Key(key) => Ok(OpenedConnection::Key(key)),
            HandshakeEnd::Connection { mut handle, notes, alive, ended } => {
                progress.enter(ConnectPhase::Authenticating);
                // The login notes its phase here, because a timeout drops it and its error must still say how far it
                // came.
                let login = AuthProgress { phase: &progress.phase, lost: &notes.lost, banner: &notes.banner };
                auth::authenticate(&mut handle, endpoint, &self.keys, &login).await?;
                let lost = ConnectionLoss { reason: Arc::clone(&notes.lost), ended };
                let accepted = notes.accepted.lock().unwrap_or_else(PoisonError::into_inner).take();
                let host = accepted.map(|key| AcceptedHost::new(endpoint, key, bastion));
                Ok(OpenedConnection::Session(Box::new(SshSession::new(handle, lost, alive, host))))
            }
        }
    }

    /// Connects to that address of the host which greets first.
    async fn by_address(
        &self,
        endpoint: &Endpoint,
        terms: &HandshakeConfig,
        permit: &LoginPermit,
        progress: &ConnectProgress,
    ) -> Result<KeyExchange, TransportError> {
        progress.enter(ConnectPhase::Resolving);
        let routes = self.names.routes(endpoint).await?;
        progress.enter(ConnectPhase::Dialling);
        let attempt = async |number: usize, route: DialRoute| {
            // sshd counts every connection that it has not let in, and two addresses may be one sshd.
            let _counted = (number > 0).then(|| permit.beside());
            let stream = route.connect().await.map_err(|error| connect_error(endpoint, route.to, &error))?;
            // Without it the connection is only slower.
            if let Err(error) = stream.set_nodelay(true) {
                debug!(%error, "TCP_NODELAY could not be set");
            }
            progress.addresses.connected(route.to);
            // Nothing leads to the peer but the socket itself, so there is no keeper.
            let mut handshake = KeyExchange::start(endpoint, terms, PromptTcp(stream), Box::new(()));
            handshake.greeting(endpoint).await?;
            debug!(host = endpoint.host, address = %route.to, "an SSH server greets");
            Ok(handshake)
        };
        match first_to_greet(routes, &progress.addresses, attempt).await {
            Some(handshake) => Ok(handshake),
            // All addresses have failed; the log has the reason of each.
            None => Err(timeout_error(endpoint, progress)),
        }
    }

    /// Sends a notice that concerns more than one node.
    pub(super) fn notify(&self, message: String) {
        // A full queue must not hold up a connection, and a notice is no result.
        if let Err(error) = self.notices.try_send(message) {
            debug!(%error, "a notice is dropped");
        }
    }
}

/// How far an attempt has come; it is read when its time is over.
#[derive(Default)]
struct ConnectProgress {
    phase: CurrentPhase,
    addresses: AddressLog,
}

impl ConnectProgress {
    fn enter(&self, phase: ConnectPhase) {
        self.phase.enter(phase);
    }
}

/// Connects through the streams of a command.
async fn by_command(
    endpoint: &Endpoint,
    terms: &HandshakeConfig,
    (command, environment): (&str, Option<&ProxyEnvironment>),
    progress: &ConnectProgress,
) -> Result<KeyExchange, TransportError> {
    // The command makes the TCP connection itself, so the first sign of life is the greeting.
    progress.enter(ConnectPhase::Greeting);
    let (child, stream) = proxy_command::start(command, environment)?;
    let mut handshake = KeyExchange::start(endpoint, terms, stream, Box::new(Arc::clone(&child)));
    match handshake.greeting(endpoint).await {
        Ok(()) => Ok(handshake),
        // A command that ended has usually said why on stderr, which is better than "no greeting".
        Err(error) => Err(proxy_error(command, &child, error).await),
    }
}

/// Connects through a stream of a bastion, which looks the name up itself.
async fn by_bastion(
    endpoint: &Endpoint,
    terms: &HandshakeConfig,
    channel: BastionChannel,
    progress: &ConnectProgress,
) -> Result<KeyExchange, TransportError> {
    progress.enter(ConnectPhase::Connecting);
    let stream = channel.open(&endpoint.host, endpoint.port).await?;
    progress.enter(ConnectPhase::Greeting);
    // The channel is the keeper: its seat at the bastion is free only when the stream is gone.
    let mut handshake = KeyExchange::start(endpoint, terms, stream, Box::new(channel));
    handshake.greeting(endpoint).await?;
    Ok(handshake)
}

/// The error for a command that ended before a greeting came: its own message, if it has one.
async fn proxy_error(command: &str, child: &ProxyChild, error: TransportError) -> TransportError {
    match child.end().await {
        Some(reason) => TransportError::Proxy { proxy: format!("`{command}`"), reason },
        None => error,
    }
}

fn timeout_error(endpoint: &Endpoint, progress: &ConnectProgress) -> TransportError {
    let (host, port) = (endpoint.host.clone(), endpoint.port);
    let seconds = Seconds(endpoint.connect_timeout.as_millis());
    let doing = match progress.phase.get() {
        ConnectPhase::Resolving => "looking up its address",
        // Each address failed in its own way, so the log has a better error than a timeout.
        ConnectPhase::Dialling => match progress.addresses.failure(endpoint) {
            Some(failure) => return failure,
            None => "opening the TCP connection",
        },
        ConnectPhase::Connecting => "the bastion opened the connection to it",
        // The peer accepted the connection and is silent, which is no timeout of the network: a hung sshd looks like
        // that.
        ConnectPhase::Greeting => return greeting_timeout(endpoint),
        ConnectPhase::Negotiating => "exchanging keys",
        ConnectPhase::Authenticating => "logging in",
        ConnectPhase::AskingAgent => return auth::agent_timeout(endpoint),
        ConnectPhase::AwaitingPassword => {
            "waiting for its answer to the password (it may want a new one: log in with ssh once)"
        }
    };
    TransportError::Timeout { host, port, seconds, doing: doing.into() }
}
