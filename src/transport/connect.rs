//! Opens SSH connections: the way there, the host's key, the login.
//!
//! Here lives [`SshTransport`]. What always holds: a connect never outlives its budget, and leaves no half-open connection
//! behind; the key of a host is checked before anything is sent to it; an endpoint behind a bastion is never reached
//! without it.

use std::collections::HashSet;
use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicU8, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use rand::Rng;
use russh::client::{self, GexParams};
use russh::keys::{PublicKey, PublicKeyOrCertificate};
use secrecy::SecretString;
use tokio::net::{TcpSocket, TcpStream};
use tokio::sync::{mpsc, oneshot};
use tokio::time::Instant;
use tracing::debug;

use super::algorithms::{self, Disagreement};
use super::auth::{self, Heard, KeyRing, UnlockError};
use super::bastion::{Bastions, Berth};
use super::door::Doors;
use super::endpoint::{AddressFamily, Endpoint, HostKeySettings, Keepalive, Proxy};
use super::error::Seconds;
use super::host_keys::{HostKeyStore, Wanted};
use super::proxy_command::{self, ProxyChild};
use super::session::SshSession;
use super::wire::{Held, Wire};
use super::{Transport, TransportError};

/// What holds for all connections of a run.
#[derive(Debug, Default)]
pub struct SshSettings {
    /// The operator's password on the nodes, where one was asked for.
    pub password: Option<SecretString>,
}

/// Opens SSH sessions. Files (known hosts, keys) are read once and shared by all of them, and so are the connections to
/// bastions.
#[derive(Clone)]
pub struct SshTransport {
    shared: Arc<Shared>,
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
    pub fn new(settings: SshSettings) -> (Self, mpsc::Receiver<String>) {
        let (notices, told) = mpsc::channel(NOTICES);
        let shared = Shared {
            host_keys: Arc::default(),
            keys: KeyRing::new(settings.password),
            bastions: Bastions::default(),
            doors: Doors::default(),
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
    pub fn is_unheard_of(&self, endpoint: &Endpoint) -> bool {
        let unheard_of = self.shared.host_keys.is_unheard_of(&endpoint.host_keys, &endpoint.host, endpoint.port);
        unheard_of.is_ok_and(|unheard_of| unheard_of)
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
    pub async fn shown_key(&self, endpoint: &Endpoint) -> Result<PublicKey, TransportError> {
        match self.shared.open(endpoint, Purpose::Look).await? {
            Opened::Key(key) => Ok(key),
            Opened::Session(_) => Err(TransportError::Lost { reason: "no key was shown".to_owned() }),
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
pub(super) struct Shared {
    host_keys: Arc<HostKeyStore>,
    keys: KeyRing,
    bastions: Bastions,
    doors: Doors,
    notices: mpsc::Sender<String>,
}

/// What a connection is opened for.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Purpose {
    Login,
    /// Only to see the host's key.
    Look,
}

enum Opened {
    Session(Box<SshSession>),
    Key(PublicKey),
}

/// The longest pause between two attempts.
const LONGEST_PAUSE: Duration = Duration::from_secs(1);

impl Shared {
    /// Connects and logs in. Boxed, since a bastion is connected to in the same way.
    pub(super) fn connect<'a>(
        self: &'a Arc<Self>,
        endpoint: &'a Endpoint,
    ) -> Pin<Box<dyn Future<Output = Result<SshSession, TransportError>> + Send + 'a>> {
        Box::pin(async move {
            match self.open(endpoint, Purpose::Login).await? {
                Opened::Session(session) => Ok(*session),
                Opened::Key(_) => Err(TransportError::Lost { reason: "nobody was logged in".to_owned() }),
            }
        })
    }

    /// Attempts until one succeeds, the time is over, or a failure does not pass. Waiting for the bastion and for others
    /// at the same door costs nothing of the time.
    async fn open(self: &Arc<Self>, endpoint: &Endpoint, purpose: Purpose) -> Result<Opened, TransportError> {
        let Endpoint { host, connect_timeout, .. } = endpoint;
        let mut left = *connect_timeout;
        let (mut retries, mut turned_away) = (0, 0_u32);
        loop {
            let berth = match &endpoint.proxy {
                Proxy::Jump(bastion) => Some(self.bastions.berth(self, bastion).await?),
                Proxy::Direct | Proxy::Command(_) => None,
            };
            let place = self.doors.enter(host).await;
            let began = Instant::now();
            let step = AtomicU8::new(Step::Resolving as u8);
            let ended = tokio::time::timeout(left, self.attempt(endpoint, berth, purpose, &step)).await;
            left = left.saturating_sub(began.elapsed());
            let error = match ended {
                Ok(Ok(opened)) => return Ok(opened),
                Ok(Err(error)) => error,
                Err(_) => return Err(timeout_error(endpoint, Step::from_u8(step.load(Ordering::Relaxed)))),
            };
            let pause = if let TransportError::TurnedAway { .. } = error {
                turned_away += 1;
                if let Some(logins) = place.turned_away() {
                    self.tell(format!(
                        "{host} turns connections away before its greeting (MaxStartups): at most {logins} \
                         logins there at once from now on, whatever --forks says"
                    ));
                }
                let most = LONGEST_PAUSE.min(Duration::from_millis(60) * 2_u32.saturating_pow(turned_away.min(6)));
                rand::rng().random_range(most / 4..=most)
            } else if error.may_pass() && retries < endpoint.retries {
                retries += 1;
                Duration::from_millis(rand::rng().random_range(150..=450)) * retries
            } else {
                return Err(error);
            };
            drop(place);
            if pause >= left {
                return Err(error);
            }
            debug!(host, %error, ?pause, "trying again");
            tokio::time::sleep(pause).await;
            left -= pause;
        }
    }

    async fn attempt(
        &self,
        endpoint: &Endpoint,
        berth: Option<Berth>,
        purpose: Purpose,
        step: &AtomicU8,
    ) -> Result<Opened, TransportError> {
        let (host, port) = (endpoint.host.as_str(), endpoint.port);
        match (&endpoint.proxy, berth) {
            (Proxy::Command(command), _) => {
                let (child, stream) = proxy_command::start(command)?;
                let opened = self.handshake(endpoint, stream, Held::Child(Arc::clone(&child)), purpose, step).await;
                match opened {
                    Err(error) if error.is_before_greeting() => Err(proxy_error(command, &child, error).await),
                    opened => opened,
                }
            }
            (Proxy::Jump(_), Some(berth)) => {
                step.store(Step::Connecting as u8, Ordering::Relaxed);
                let stream = berth.open(host, port).await?;
                self.handshake(endpoint, stream, Held::Berth(berth), purpose, step).await
            }
            // Never without the bastion that was asked for.
            (Proxy::Jump(bastion), None) => Err(TransportError::Proxy {
                proxy: bastion.host.clone(),
                reason: "there is no connection to it".to_owned(),
            }),
            (Proxy::Direct, _) => {
                let stream = tcp(endpoint, step).await?;
                if let Err(error) = stream.set_nodelay(true) {
                    debug!(%error, "TCP_NODELAY could not be set");
                }
                self.handshake(endpoint, stream, Held::Nothing, purpose, step).await
            }
        }
    }

    async fn handshake<S>(
        &self,
        endpoint: &Endpoint,
        stream: S,
        held: Held,
        purpose: Purpose,
        step: &AtomicU8,
    ) -> Result<Opened, TransportError>
    where
        S: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin + Send + 'static,
    {
        let Endpoint { host, port, .. } = endpoint;
        step.store(Step::Greeting as u8, Ordering::Relaxed);
        let greeted = Arc::new(AtomicBool::new(false));
        let (alive, closed) = oneshot::channel();
        let stream = Wire::new(stream, held, Arc::clone(&greeted), closed);
        let seen = stream.seen();
        let verdict = Arc::new(Mutex::new(None));
        let lost = Arc::new(Mutex::new(None));
        let banner = Arc::new(Mutex::new(None));
        let shown = Arc::new(Mutex::new(None));
        let handler = Handler {
            keys: Arc::clone(&self.host_keys),
            settings: Arc::clone(&endpoint.host_keys),
            host: host.clone(),
            port: *port,
            shown: (purpose == Purpose::Look).then(|| Arc::clone(&shown)),
            verdict: Arc::clone(&verdict),
            lost: Arc::clone(&lost),
            banner: Arc::clone(&banner),
        };
        let wanted = self.host_keys.wanted(&endpoint.host_keys, host, *port).await?;
        let config = Arc::new(config(endpoint, &wanted)?);
        let connecting = client::connect_stream(config, stream, handler);
        let watch = async {
            // The stage is known only by looking: the library tells nothing between greeting and key exchange.
            loop {
                tokio::time::sleep(Duration::from_millis(5)).await;
                if greeted.load(Ordering::Relaxed) {
                    step.store(Step::Negotiating as u8, Ordering::Relaxed);
                    std::future::pending::<()>().await;
                }
            }
        };
        let handle = tokio::select! {
            connected = connecting => connected,
            () = watch => Err(russh::Error::Disconnect),
        };
        let mut handle = match handle {
            Ok(handle) => handle,
            Err(error) => {
                if let Some(key) = shown.lock().unwrap_or_else(PoisonError::into_inner).take() {
                    return Ok(Opened::Key(key));
                }
                let judged = verdict.lock().unwrap_or_else(PoisonError::into_inner).take();
                return Err(judged.unwrap_or_else(|| {
                    handshake_error(endpoint, greeted.load(Ordering::Relaxed), &seen.text(), &error)
                }));
            }
        };
        step.store(Step::Authenticating as u8, Ordering::Relaxed);
        let heard = Heard { step, lost: &lost, banner: &banner };
        auth::authenticate(&mut handle, endpoint, &self.keys, &heard).await?;
        Ok(Opened::Session(Box::new(SshSession::new(handle, lost, alive))))
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
pub(super) enum Step {
    Resolving,
    Connecting,
    Greeting,
    Negotiating,
    Authenticating,
    /// The operator's agent is waited for.
    AskingAgent,
    /// The password was sent.
    AwaitingPassword,
}

impl Step {
    fn from_u8(step: u8) -> Self {
        [
            Self::Resolving,
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

/// Tries the addresses of a host one after the other.
async fn tcp(endpoint: &Endpoint, step: &AtomicU8) -> Result<TcpStream, TransportError> {
    let Endpoint { host, port, family, .. } = endpoint;
    step.store(Step::Resolving as u8, Ordering::Relaxed);
    let fits = |address: &SocketAddr| match family {
        AddressFamily::Any => true,
        AddressFamily::Inet => address.is_ipv4(),
        AddressFamily::Inet6 => address.is_ipv6(),
    };
    let no_address = |reason: String| TransportError::Dns { host: host.clone(), reason };
    let addresses =
        tokio::net::lookup_host((host.as_str(), *port)).await.map_err(|error| no_address(error.to_string()))?;
    let from = match &endpoint.bind {
        Some(bind) => tokio::net::lookup_host((bind.as_str(), 0))
            .await
            .map_err(|error| no_address(format!("BindAddress {bind}: {error}")))?
            .collect::<Vec<_>>(),
        None => Vec::new(),
    };
    step.store(Step::Connecting as u8, Ordering::Relaxed);
    let mut failure = no_address("no address of the wanted kind found".to_owned());
    for address in addresses.filter(fits) {
        let connected = if endpoint.bind.is_none() {
            TcpStream::connect(address).await
        } else if let Some(from) = from.iter().find(|from| from.is_ipv4() == address.is_ipv4()) {
            connect_from(*from, address).await
        } else {
            continue;
        };
        match connected {
            Ok(stream) => return Ok(stream),
            Err(error) => failure = connect_error(endpoint, &error),
        }
    }
    Err(failure)
}

async fn connect_from(from: SocketAddr, to: SocketAddr) -> io::Result<TcpStream> {
    let socket = if to.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
    socket.bind(from)?;
    socket.connect(to).await
}

fn connect_error(endpoint: &Endpoint, error: &io::Error) -> TransportError {
    let (host, port) = (endpoint.host.clone(), endpoint.port);
    if error.kind() == io::ErrorKind::ConnectionRefused {
        return TransportError::Refused { host, port };
    }
    TransportError::Network { host, port, reason: error.to_string() }
}

/// What a command that ended before a greeting came has to say.
async fn proxy_error(command: &str, child: &ProxyChild, error: TransportError) -> TransportError {
    match child.end().await {
        Some(reason) => TransportError::Proxy { proxy: format!("`{command}`"), reason },
        None => error,
    }
}

fn timeout_error(endpoint: &Endpoint, step: Step) -> TransportError {
    let (host, port) = (endpoint.host.clone(), endpoint.port);
    let seconds = Seconds(endpoint.connect_timeout.as_millis());
    let doing = match (step, &endpoint.proxy) {
        (Step::Resolving, _) => "looking up its address",
        (Step::Connecting, Proxy::Jump(_)) => "the bastion opened the connection to it",
        (Step::Connecting, Proxy::Direct | Proxy::Command(_)) => "opening the TCP connection",
        (Step::Greeting, _) => {
            let reason = format!("connected, but no SSH greeting came within {seconds:.1} s");
            return TransportError::Banner { host, port, reason };
        }
        (Step::Negotiating, _) => "exchanging keys",
        (Step::Authenticating, _) => "logging in",
        (Step::AskingAgent, _) => return auth::agent_timeout(endpoint),
        (Step::AwaitingPassword, _) => {
            "waiting for its answer to the password (it may want a new one: log in with ssh once)"
        }
    };
    TransportError::Timeout { host, port, seconds, doing }
}

/// `said` is what came before a greeting.
fn handshake_error(endpoint: &Endpoint, greeted: bool, said: &str, error: &russh::Error) -> TransportError {
    let (host, port) = (endpoint.host.clone(), endpoint.port);
    if !greeted {
        let closed =
            matches!(error, russh::Error::Disconnect | russh::Error::HUP | russh::Error::IO(_) | russh::Error::Join(_));
        if said.is_empty() && closed || said.contains("MaxStartups") {
            return TransportError::TurnedAway { host, port };
        }
        let reason = if said.is_empty() {
            format!("no SSH greeting came ({error})")
        } else {
            format!("what answered is not an SSH server; it said: {}", said.escape_debug())
        };
        return TransportError::Banner { host, port, reason };
    }
    if let russh::Error::NoCommonAlgo { kind, theirs, .. } = error {
        return negotiation_error(endpoint, algorithms::disagreement(kind, theirs, &endpoint.algorithms));
    }
    TransportError::Negotiation { host, port, reason: format!("key exchange failed: {error}"), hint: None }
}

fn negotiation_error(endpoint: &Endpoint, Disagreement { reason, hint }: Disagreement) -> TransportError {
    TransportError::Negotiation { host: endpoint.host.clone(), port: endpoint.port, reason, hint: Some(hint) }
}

/// Bounds of what a file may ask for, so that no time overflows.
const LONGEST_INTERVAL: Duration = Duration::from_secs(24 * 60 * 60);
const MOST_QUESTIONS: u32 = 1000;

/// The client's side of the protocol.
///
/// # Errors
/// [`TransportError::Negotiation`] if what the endpoint allows leaves nothing to offer.
fn config(endpoint: &Endpoint, wanted: &Wanted) -> Result<client::Config, TransportError> {
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

/// The library's callbacks.
pub(super) struct Handler {
    keys: Arc<HostKeyStore>,
    settings: Arc<HostKeySettings>,
    host: String,
    port: u16,
    /// Where the key is put that is only to be seen.
    shown: Option<Arc<Mutex<Option<PublicKey>>>>,
    verdict: Arc<Mutex<Option<TransportError>>>,
    lost: Arc<Mutex<Option<String>>>,
    banner: Arc<Mutex<Option<String>>>,
}

impl client::Handler for Handler {
    type Error = russh::Error;

    async fn check_server_key(&mut self, key: &PublicKeyOrCertificate) -> Result<bool, russh::Error> {
        if let Some(shown) = &self.shown {
            *shown.lock().unwrap_or_else(PoisonError::into_inner) = Some(key.public_key());
            return Ok(false);
        }
        let judged = self.keys.judge(&self.settings, &self.host, self.port, key).await;
        let accepted = judged.is_ok();
        *self.verdict.lock().unwrap_or_else(PoisonError::into_inner) = judged.err();
        Ok(accepted)
    }

    async fn auth_banner(&mut self, banner: &str, _session: &mut client::Session) -> Result<(), russh::Error> {
        let words = auth::words(banner);
        debug!(host = self.host, "the node says: {words}");
        *self.banner.lock().unwrap_or_else(PoisonError::into_inner) = Some(words);
        Ok(())
    }

    async fn disconnected(&mut self, reason: client::DisconnectReason<russh::Error>) -> Result<(), russh::Error> {
        let text = match reason {
            client::DisconnectReason::ReceivedDisconnect(info) if info.message.trim().is_empty() => {
                auth::NODE_ENDED.to_owned()
            }
            client::DisconnectReason::ReceivedDisconnect(info) => {
                format!("{}: {}", auth::NODE_ENDED, auth::words(&info.message))
            }
            client::DisconnectReason::Error(russh::Error::NoAuthMethod) => {
                format!("{}, as far as there are methods in common", auth::NODE_ENDED)
            }
            client::DisconnectReason::Error(error) => error.to_string(),
        };
        *self.lost.lock().unwrap_or_else(PoisonError::into_inner) = Some(text);
        Ok(())
    }
}

#[cfg(test)]
mod tests;
