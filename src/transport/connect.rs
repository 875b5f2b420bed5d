//! Opens SSH connections: the way there, the host's key, the login.
//!
//! Here lives [`SshTransport`]. What always holds: a connect never outlives its budget, and leaves no half-open connection
//! behind; the key of a host is checked before anything is sent to it; an endpoint behind a bastion is never reached
//! without it.

use std::collections::HashSet;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::time::Duration;

use rand::Rng;
use russh::client::{self, GexParams};
use russh::keys::PublicKey;
use secrecy::SecretString;
use tokio::sync::mpsc;
use tokio::time::Instant;
use tracing::debug;

use super::algorithms::{self, NegotiationFailure};
use super::auth::{self, AuthProgress, KeyRing, UnlockError};
use super::bastion::{BastionChannel, BastionPool};
use super::dial::{AddressLog, connect_error, first_to_greet, greeting_timeout};
use super::endpoint::{Endpoint, Keepalive, ProxyRoute};
use super::error::Seconds;
use super::handshake::{HandshakeConfig, HandshakeEnd, KeyExchange};
use super::host_keys::{HostKeyRequest, HostKeyStore};
use super::login_throttle::{LoginPermit, LoginThrottle};
use super::proxy_command::{self, ProxyChild};
use super::resolver::{DialRoute, NameResolver};
use super::session::{ConnectionLoss, SshSession};
use super::watched_stream::StreamOwner;
use super::{Transport, TransportError};

/// What holds for all connections of a run.
#[derive(Debug, Default)]
pub struct RunSshSettings {
    /// The operator's password on the nodes, where one was asked for.
    pub password: Option<SecretString>,
}

/// Opens SSH sessions. Files (known hosts, keys) are read once and shared by all of them, and so are the connections to
/// bastions.
#[derive(Clone)]
pub struct SshTransport {
    shared: Arc<SharedState>,
}

impl std::fmt::Debug for SshTransport {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SshTransport").finish_non_exhaustive()
    }
}

/// Sentences that wait to be told; past this one is dropped.
const NOTICES: usize = 64;

impl SshTransport {
    /// Reads nothing yet. What concerns more than one node, and so stands in no result, is told by the receiver.
    #[must_use]
    pub fn new(settings: RunSshSettings) -> (Self, mpsc::Receiver<String>) {
        let (notices, told) = mpsc::channel(NOTICES);
        let shared = SharedState {
            host_keys: Arc::default(),
            keys: KeyRing::new(settings.password),
            bastions: BastionPool::default(),
            doors: LoginThrottle::default(),
            names: NameResolver::default(),
            notices,
        };
        (Self { shared: Arc::new(shared) }, told)
    }

    /// Reads the known_hosts files and the revoked keys of all endpoints.
    ///
    /// # Errors
    /// [`TransportError::KnownHosts`], [`TransportError::RevokedKeys`] for the first that cannot be read.
    pub fn check_host_key_files<'e>(
        &self,
        endpoints: impl Iterator<Item = &'e Endpoint>,
    ) -> Result<(), TransportError> {
        let mut seen = HashSet::new();
        for endpoint in endpoints.filter(|endpoint| seen.insert(Arc::as_ptr(&endpoint.host_keys))) {
            self.shared.host_keys.check_files(&endpoint.host_keys)?;
        }
        Ok(())
    }

    /// Whether nothing at all is known of a host's key. Nothing is connected to.
    #[must_use]
    pub fn has_no_known_key(&self, endpoint: &Endpoint) -> bool {
        let unheard_of = self.shared.host_keys.has_no_known_key(&endpoint.host_keys, &endpoint.host, endpoint.port);
        unheard_of.is_ok_and(|unheard_of| unheard_of)
    }

    /// Reads the key files and certificates of all endpoints and of the bastions on the way, so that no login waits for
    /// one. What cannot be read is told by the logins that would need it.
    pub async fn read_key_files(&self, endpoints: &[&Endpoint]) {
        self.shared.keys.read_files(endpoints).await;
    }

    /// The encrypted key files that would be offered to these hosts and to the bastions on the way, and whose keys no agent
    /// holds: each once, in the order of the endpoints. Whoever is asked for their passphrases can be asked now.
    pub async fn locked_identities(&self, endpoints: impl Iterator<Item = &Endpoint>) -> Vec<PathBuf> {
        self.shared.keys.locked(endpoints.collect()).await
    }

    /// Decrypts a key file for all connections of this transport. Where it fails the key is not used.
    ///
    /// # Errors
    /// [`UnlockError::WrongPassphrase`], after which it may be tried again; [`UnlockError::Unusable`].
    pub async fn unlock(&self, file: &Path, passphrase: SecretString) -> Result<(), UnlockError> {
        self.shared.keys.unlock(file, passphrase).await
    }

    /// The key that a host shows, as it is; nothing is sent to the host but the key exchange. Hosts behind a bastion are
    /// asked through it, for which it is logged in to.
    ///
    /// # Errors
    /// As [`Transport::connect`].
    pub async fn probe_host_key(&self, endpoint: &Endpoint) -> Result<PublicKey, TransportError> {
        match self.shared.open(endpoint, ConnectPurpose::Look).await? {
            OpenedConnection::Key(key) => Ok(key),
            OpenedConnection::Session(_) => Err(TransportError::Lost { reason: "no key was presented".to_owned() }),
        }
    }

    /// Writes down a key of the host that the operator has confirmed, whatever the policy.
    ///
    /// # Errors
    /// [`TransportError::HostKeyChanged`], [`TransportError::HostKeyRevoked`], [`TransportError::HostKeyTooShort`],
    /// [`TransportError::HostKeyUnknown`] if there is no file to write to, [`TransportError::KnownHosts`],
    /// [`TransportError::RevokedKeys`].
    pub async fn trust(&self, endpoint: &Endpoint, key: &PublicKey) -> Result<(), TransportError> {
        self.shared.host_keys.accept(&endpoint.host_keys, &endpoint.host, endpoint.port, key).await
    }
}

impl Transport for SshTransport {
    type Session = SshSession;

    async fn connect(&self, endpoint: &Endpoint) -> Result<SshSession, TransportError> {
        self.shared.connect(endpoint).await
    }
}

/// What all connections of a run have in common.
pub(super) struct SharedState {
    host_keys: Arc<HostKeyStore>,
    keys: KeyRing,
    bastions: BastionPool,
    doors: LoginThrottle,
    names: NameResolver,
    notices: mpsc::Sender<String>,
}

/// What a connection is opened for.
#[derive(Clone, Copy, PartialEq, Eq)]
enum ConnectPurpose {
    Login,
    /// Only to see the host's key.
    Look,
}

enum OpenedConnection {
    Session(Box<SshSession>),
    Key(PublicKey),
}

/// The longest pause between two attempts.
const LONGEST_PAUSE: Duration = Duration::from_secs(1);

impl SharedState {
    /// Connects and logs in. Boxed, since a bastion is connected to in the same way.
    pub(super) fn connect<'a>(
        self: &'a Arc<Self>,
        endpoint: &'a Endpoint,
    ) -> Pin<Box<dyn Future<Output = Result<SshSession, TransportError>> + Send + 'a>> {
        Box::pin(async move {
            match self.open(endpoint, ConnectPurpose::Login).await? {
                OpenedConnection::Session(session) => Ok(*session),
                OpenedConnection::Key(_) => Err(TransportError::Lost { reason: "nobody was logged in".to_owned() }),
            }
        })
    }

    /// Attempts until one succeeds, the time is over, or a failure does not pass. Waiting for the bastion and for others
    /// at the same door costs nothing of the time.
    async fn open(
        self: &Arc<Self>,
        endpoint: &Endpoint,
        purpose: ConnectPurpose,
    ) -> Result<OpenedConnection, TransportError> {
        let Endpoint { host, connect_timeout, .. } = endpoint;
        let mut left = *connect_timeout;
        let (mut retries, mut turned_away) = (0, 0_u32);
        loop {
            let berth = match &endpoint.proxy {
                ProxyRoute::Jump(bastion) => Some(self.bastions.berth(self, bastion).await?),
                ProxyRoute::Direct | ProxyRoute::Command(_) => None,
            };
            let place = self.doors.enter(host).await;
            let began = Instant::now();
            let progress = ConnectProgress::default();
            let ended = tokio::time::timeout(left, self.attempt(endpoint, berth, purpose, &place, &progress)).await;
            left = left.saturating_sub(began.elapsed());
            let error = match ended {
                Ok(Ok(OpenedConnection::Session(session))) => {
                    return Ok(OpenedConnection::Session(Box::new(session.to(self, endpoint))));
                }
                Ok(Ok(opened @ OpenedConnection::Key(_))) => return Ok(opened),
                Ok(Err(error)) => error,
                Err(_) => return Err(timeout_error(endpoint, &progress)),
            };
            let pause = if error.is_turned_away() {
                turned_away += 1;
                if let Some(logins) = place.turned_away() {
                    self.tell(format!(
                        "{host} rejects connections before its greeting (MaxStartups): limiting it to {logins} logins at once, whatever --forks says"
                    ));
                }
                let most = LONGEST_PAUSE.min(Duration::from_millis(60) * 2_u32.saturating_pow(turned_away.min(6)));
                rand::rng().random_range(most / 4..=most)
            } else if error.is_transient() && retries < endpoint.retries {
                retries += 1;
                Duration::from_millis(rand::rng().random_range(150..=450)) * retries
            } else {
                return Err(error);
            };
            drop(place);
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
        berth: Option<BastionChannel>,
        purpose: ConnectPurpose,
        place: &LoginPermit,
        progress: &ConnectProgress,
    ) -> Result<OpenedConnection, TransportError> {
        let wanted = self.host_keys.wanted(&endpoint.host_keys, &endpoint.host, endpoint.port).await?;
        let terms = HandshakeConfig {
            config: Arc::new(config(endpoint, &wanted)?),
            keys: Arc::clone(&self.host_keys),
            only_look: purpose == ConnectPurpose::Look,
        };
        let handshake = match (&endpoint.proxy, berth) {
            (ProxyRoute::Command(command), _) => by_command(endpoint, &terms, command, progress).await?,
            (ProxyRoute::Jump(_), Some(berth)) => by_bastion(endpoint, &terms, berth, progress).await?,
            // Never without the bastion that was asked for.
            (ProxyRoute::Jump(bastion), None) => {
                let reason = "there is no connection to it".to_owned();
                return Err(TransportError::Proxy { proxy: bastion.host.clone(), reason });
            }
            (ProxyRoute::Direct, _) => self.by_address(endpoint, &terms, place, progress).await?,
        };
        progress.at(ConnectPhase::Negotiating);
        match handshake.finish(|error| negotiation_failed(endpoint, error)).await? {
            HandshakeEnd::Key(key) => Ok(OpenedConnection::Key(key)),
            HandshakeEnd::Connection { mut handle, notes, alive, ended } => {
                progress.at(ConnectPhase::Authenticating);
                let heard = AuthProgress { step: &progress.step, lost: &notes.lost, banner: &notes.banner };
                auth::authenticate(&mut handle, endpoint, &self.keys, &heard).await?;
                let lost = ConnectionLoss { reason: Arc::clone(&notes.lost), ended };
                Ok(OpenedConnection::Session(Box::new(SshSession::new(handle, lost, alive))))
            }
        }
    }

    /// Connects to that address of the host which greets first.
    async fn by_address(
        &self,
        endpoint: &Endpoint,
        terms: &HandshakeConfig,
        place: &LoginPermit,
        progress: &ConnectProgress,
    ) -> Result<KeyExchange, TransportError> {
        progress.at(ConnectPhase::Resolving);
        let routes = self.names.routes(endpoint).await?;
        progress.at(ConnectPhase::Dialling);
        let attempt = async |number: usize, route: DialRoute| {
            // sshd counts every connection that it has not let in, and two addresses may be one sshd.
            let _counted = (number > 0).then(|| place.beside());
            let stream = route.connect().await.map_err(|error| connect_error(endpoint, route.to, &error))?;
            if let Err(error) = stream.set_nodelay(true) {
                debug!(%error, "TCP_NODELAY could not be set");
            }
            progress.addresses.connected(route.to);
            let mut handshake = KeyExchange::start(endpoint, terms, stream, StreamOwner::Nothing);
            handshake.greeting(endpoint).await?;
            debug!(host = endpoint.host, address = %route.to, "an SSH server greets");
            Ok(handshake)
        };
        match first_to_greet(routes, &progress.addresses, attempt).await {
            Some(handshake) => Ok(handshake),
            None => Err(timeout_error(endpoint, progress)),
        }
    }

    /// Tells what concerns more than one node.
    pub(super) fn tell(&self, message: String) {
        if let Err(error) = self.notices.try_send(message) {
            debug!(%error, "nobody is told");
        }
    }
}

/// How far a connection has come.
#[derive(Clone, Copy)]
#[repr(u8)]
pub(super) enum ConnectPhase {
    Resolving,
    /// The addresses of the host are tried; how far each has come stands in the [`AddressLog`].
    Dialling,
    /// The bastion is connecting.
    Connecting,
    Greeting,
    Negotiating,
    Authenticating,
    /// The operator's agent is waited for.
    AskingAgent,
    /// The password was sent.
    AwaitingPassword,
}

impl ConnectPhase {
    fn from_u8(step: u8) -> Self {
        [
            Self::Resolving,
            Self::Dialling,
            Self::Connecting,
            Self::Greeting,
            Self::Negotiating,
            Self::AskingAgent,
            Self::AwaitingPassword,
        ]
        .into_iter()
        .find(|known| *known as u8 == step)
        .unwrap_or(Self::Authenticating)
    }
}

/// How far an attempt has come; it is read when its time is over.
#[derive(Default)]
struct ConnectProgress {
    step: AtomicU8,
    addresses: AddressLog,
}

impl ConnectProgress {
    fn at(&self, step: ConnectPhase) {
        self.step.store(step as u8, Ordering::Relaxed);
    }
}

/// Connects through the streams of a command.
async fn by_command(
    endpoint: &Endpoint,
    terms: &HandshakeConfig,
    command: &str,
    progress: &ConnectProgress,
) -> Result<KeyExchange, TransportError> {
    progress.at(ConnectPhase::Greeting);
    let (child, stream) = proxy_command::start(command)?;
    let mut handshake = KeyExchange::start(endpoint, terms, stream, StreamOwner::Child(Arc::clone(&child)));
    match handshake.greeting(endpoint).await {
        Ok(()) => Ok(handshake),
        Err(error) => Err(proxy_error(command, &child, error).await),
    }
}

/// Connects through a stream of a bastion, which looks the name up itself.
async fn by_bastion(
    endpoint: &Endpoint,
    terms: &HandshakeConfig,
    berth: BastionChannel,
    progress: &ConnectProgress,
) -> Result<KeyExchange, TransportError> {
    progress.at(ConnectPhase::Connecting);
    let stream = berth.open(&endpoint.host, endpoint.port).await?;
    progress.at(ConnectPhase::Greeting);
    let mut handshake = KeyExchange::start(endpoint, terms, stream, StreamOwner::Berth(berth));
    handshake.greeting(endpoint).await?;
    Ok(handshake)
}

/// What a command that ended before a greeting came has to say.
async fn proxy_error(command: &str, child: &ProxyChild, error: TransportError) -> TransportError {
    match child.end().await {
        Some(reason) => TransportError::Proxy { proxy: format!("`{command}`"), reason },
        None => error,
    }
}

fn timeout_error(endpoint: &Endpoint, progress: &ConnectProgress) -> TransportError {
    let step = ConnectPhase::from_u8(progress.step.load(Ordering::Relaxed));
    let (host, port) = (endpoint.host.clone(), endpoint.port);
    let seconds = Seconds(endpoint.connect_timeout.as_millis());
    let doing = match step {
        ConnectPhase::Resolving => "looking up its address",
        ConnectPhase::Dialling => match progress.addresses.failure(endpoint) {
            Some(failure) => return failure,
            None => "opening the TCP connection",
        },
        ConnectPhase::Connecting => "the bastion opened the connection to it",
        ConnectPhase::Greeting => return greeting_timeout(endpoint),
        ConnectPhase::Negotiating => "exchanging keys",
        ConnectPhase::Authenticating => "logging in",
        ConnectPhase::AskingAgent => return auth::agent_timeout(endpoint),
        ConnectPhase::AwaitingPassword => {
            "waiting for its answer to the password (it may want a new one: log in with ssh once)"
        }
    };
    TransportError::Timeout { host, port, seconds, doing }
}

fn negotiation_failed(endpoint: &Endpoint, error: &russh::Error) -> TransportError {
    if let russh::Error::NoCommonAlgo { kind, theirs, .. } = error {
        return negotiation_error(endpoint, algorithms::disagreement(kind, theirs, &endpoint.algorithms));
    }
    TransportError::Negotiation {
        host: endpoint.host.clone(),
        port: endpoint.port,
        reason: format!("key exchange failed: {error}"),
        hint: None,
    }
}

fn negotiation_error(endpoint: &Endpoint, NegotiationFailure { reason, hint }: NegotiationFailure) -> TransportError {
    TransportError::Negotiation { host: endpoint.host.clone(), port: endpoint.port, reason, hint: Some(hint) }
}

/// Bounds of what a file may ask for, so that no time overflows.
const LONGEST_INTERVAL: Duration = Duration::from_secs(24 * 60 * 60);
const MOST_QUESTIONS: u32 = 1000;

/// The client's side of the protocol.
///
/// # Errors
/// [`TransportError::Negotiation`] if what the endpoint allows leaves nothing to offer.
fn config(endpoint: &Endpoint, wanted: &HostKeyRequest) -> Result<client::Config, TransportError> {
    let preferred = algorithms::preferred(&endpoint.algorithms, wanted)
        .map_err(|disagreement| negotiation_error(endpoint, disagreement))?;
    // As OpenSSH, at least 2048 bits: the library's own least, 3072, is more than nodes have that know a fixed group only.
    let gex = GexParams::new(2048, 3072, 8192).unwrap_or_default();
    let Keepalive { interval, count } = endpoint.keepalive;
    let asks = !interval.is_zero();
    let (interval, count) = (interval.min(LONGEST_INTERVAL), count.min(MOST_QUESTIONS));
    // The library gives up when one question more than its number is due. The number 0 means never.
    let (every, unanswered) = match count {
        0 => (interval, 0),
        1 => (interval / 2, 1),
        more => (interval, more as usize - 1),
    };
    Ok(client::Config {
        preferred,
        gex,
        nodelay: true,
        // What a node may send unasked.
        window_size: 256 * 1024,
        // A stream that is not read for a while does not hold up the others of its connection.
        channel_buffer_size: 1024,
        keepalive_interval: asks.then_some(every),
        keepalive_max: unanswered,
        // The library asks only those that are logged in.
        inactivity_timeout: asks.then(|| (interval * (count + 2)).max(endpoint.connect_timeout * 2)),
        ..client::Config::default()
    })
}

#[cfg(test)]
pub(in crate::transport) mod tests;
