//! Opens SSH connections: resolve, connect, check the host's key, log in.
//!
//! Here lives [`SshTransport`]. What always holds: a connect never outlives its budget, and leaves no half-open connection
//! behind; the key of a host is checked before anything is sent to it.

use std::collections::HashSet;
use std::io;
use std::sync::atomic::{AtomicBool, AtomicU8, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use rand::Rng;
use russh::client;
use russh::keys::{PublicKey, PublicKeyOrCertificate};
use secrecy::SecretString;
use tokio::net::TcpStream;
use tokio::sync::oneshot;
use tracing::debug;

use super::auth::{self, KeyRing};
use super::endpoint::{Endpoint, HostKeySettings, Keepalive, Proxy};
use super::error::Seconds;
use super::host_keys::{HostKeyStore, Wanted};
use super::session::SshSession;
use super::wire::Wire;
use super::{Transport, TransportError, algorithms};

/// What holds for all connections of a run.
#[derive(Debug, Default)]
pub struct SshSettings {
    /// The operator's password on the nodes, where one was asked for.
    pub password: Option<SecretString>,
}

/// Opens SSH sessions. Files (known hosts, keys) are read once and shared by all of them.
#[derive(Default)]
pub struct SshTransport {
    host_keys: Arc<HostKeyStore>,
    keys: KeyRing,
}

impl std::fmt::Debug for SshTransport {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SshTransport").finish_non_exhaustive()
    }
}

impl SshTransport {
    /// Reads nothing yet.
    #[must_use]
    pub fn new(settings: SshSettings) -> Self {
        Self { host_keys: Arc::default(), keys: KeyRing::new(settings.password) }
    }

    /// Reads the known_hosts files and the revoked keys of all endpoints, and of the bastions on the way to them.
    ///
    /// # Errors
    /// [`TransportError::KnownHosts`], [`TransportError::RevokedKeys`] for the first that cannot be read.
    pub fn check_host_key_files<'a>(
        &self,
        endpoints: impl Iterator<Item = &'a Endpoint>,
    ) -> Result<(), TransportError> {
        let mut checked: HashSet<&HostKeySettings> = HashSet::new();
        for endpoint in endpoints {
            let mut next = Some(endpoint);
            while let Some(endpoint) = next {
                if checked.insert(&endpoint.host_keys) {
                    self.host_keys.check_files(&endpoint.host_keys)?;
                }
                next = if let Proxy::Jump(bastion) = &endpoint.proxy { Some(bastion) } else { None };
            }
        }
        Ok(())
    }

    /// Whether known_hosts holds neither a key nor an authority for the host. Nothing is connected to.
    ///
    /// # Errors
    /// [`TransportError::KnownHosts`] if a file cannot be read.
    pub fn is_host_unheard_of(&self, endpoint: &Endpoint) -> Result<bool, TransportError> {
        self.host_keys.is_unheard_of(&endpoint.host_keys, &endpoint.host, endpoint.port)
    }

    /// Writes down a key of the host that the operator has confirmed, whatever the policy.
    ///
    /// # Errors
    /// [`TransportError::HostKeyChanged`], [`TransportError::HostKeyRevoked`], [`TransportError::HostKeyTooShort`],
    /// [`TransportError::HostKeyUnknown`] if there is no file to write to, [`TransportError::KnownHosts`],
    /// [`TransportError::RevokedKeys`].
    pub async fn accept_host_key(&self, endpoint: &Endpoint, key: &PublicKey) -> Result<(), TransportError> {
        self.host_keys.accept(&endpoint.host_keys, &endpoint.host, endpoint.port, key).await
    }

    async fn attempt(&self, endpoint: &Endpoint, step: &AtomicU8) -> Result<SshSession, TransportError> {
        let Endpoint { host, port, .. } = endpoint;
        step.store(Step::Resolving as u8, Ordering::Relaxed);
        let addresses = tokio::net::lookup_host((host.as_str(), *port))
            .await
            .map_err(|error| TransportError::Dns { host: host.clone(), reason: error.to_string() })?;
        step.store(Step::Connecting as u8, Ordering::Relaxed);
        let mut failure = TransportError::Dns { host: host.clone(), reason: "no address found".to_owned() };
        for address in addresses {
            match TcpStream::connect(address).await {
                Ok(stream) => return self.handshake(endpoint, stream, step).await,
                Err(error) => failure = connect_error(endpoint, &error),
            }
        }
        Err(failure)
    }

    async fn handshake(
        &self,
        endpoint: &Endpoint,
        tcp: TcpStream,
        step: &AtomicU8,
    ) -> Result<SshSession, TransportError> {
        let Endpoint { host, port, .. } = endpoint;
        step.store(Step::Greeting as u8, Ordering::Relaxed);
        if let Err(error) = tcp.set_nodelay(true) {
            debug!(%error, "TCP_NODELAY could not be set");
        }
        let greeted = Arc::new(AtomicBool::new(false));
        let (alive, closed) = oneshot::channel();
        let stream = Wire::new(tcp, Arc::clone(&greeted), closed);
        let verdict = Arc::new(Mutex::new(None));
        let lost = Arc::new(Mutex::new(None));
        let handler = Handler {
            keys: Arc::clone(&self.host_keys),
            settings: Arc::clone(&endpoint.host_keys),
            host: host.clone(),
            port: *port,
            verdict: Arc::clone(&verdict),
            lost: Arc::clone(&lost),
        };
        let wanted = self.host_keys.wanted(&endpoint.host_keys, host, *port).await?;
        let config = Arc::new(config(endpoint, &wanted));
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
        let handle = match handle {
            Ok(handle) => handle,
            Err(error) => {
                let judged = verdict.lock().unwrap_or_else(PoisonError::into_inner).take();
                return Err(
                    judged.unwrap_or_else(|| handshake_error(endpoint, greeted.load(Ordering::Relaxed), &error))
                );
            }
        };
        step.store(Step::Authenticating as u8, Ordering::Relaxed);
        let mut handle = handle;
        auth::authenticate(&mut handle, endpoint, &self.keys, &lost).await?;
        Ok(SshSession::new(handle, lost, alive))
    }
}

impl Transport for SshTransport {
    type Session = SshSession;

    async fn connect(&self, endpoint: &Endpoint) -> Result<SshSession, TransportError> {
        let step = AtomicU8::new(Step::Resolving as u8);
        let attempts = async {
            let mut attempt = 0;
            loop {
                match self.attempt(endpoint, &step).await {
                    Err(error) if attempt < endpoint.retries && error.may_pass() => {
                        attempt += 1;
                        let pause = Duration::from_millis(rand::rng().random_range(150..=450)) * attempt;
                        debug!(host = endpoint.host, %error, attempt, ?pause, "trying again");
                        tokio::time::sleep(pause).await;
                    }
                    ended => return ended,
                }
            }
        };
        match tokio::time::timeout(endpoint.connect_timeout, attempts).await {
            Ok(ended) => ended,
            Err(_) => Err(timeout_error(endpoint, Step::from_u8(step.load(Ordering::Relaxed)))),
        }
    }
}

/// How far a connection has come.
#[derive(Clone, Copy)]
#[repr(u8)]
enum Step {
    Resolving,
    Connecting,
    Greeting,
    Negotiating,
    Authenticating,
}

impl Step {
    fn from_u8(step: u8) -> Self {
        [Self::Resolving, Self::Connecting, Self::Greeting, Self::Negotiating]
            .into_iter()
            .find(|known| *known as u8 == step)
            .unwrap_or(Self::Authenticating)
    }
}

fn connect_error(endpoint: &Endpoint, error: &io::Error) -> TransportError {
    let (host, port) = (endpoint.host.clone(), endpoint.port);
    if error.kind() == io::ErrorKind::ConnectionRefused {
        return TransportError::Refused { host, port };
    }
    TransportError::Network { host, port, reason: error.to_string() }
}

fn timeout_error(endpoint: &Endpoint, step: Step) -> TransportError {
    let (host, port) = (endpoint.host.clone(), endpoint.port);
    let seconds = Seconds(endpoint.connect_timeout.as_millis());
    let doing = match step {
        Step::Resolving => "looking up its address",
        Step::Connecting => "opening the TCP connection",
        Step::Greeting => {
            let reason = format!("connected, but no SSH greeting came within {seconds:.1} s");
            return TransportError::Banner { host, port, reason };
        }
        Step::Negotiating => "exchanging keys",
        Step::Authenticating => "logging in",
    };
    TransportError::Timeout { host, port, seconds, doing }
}

fn handshake_error(endpoint: &Endpoint, greeted: bool, error: &russh::Error) -> TransportError {
    let (host, port) = (endpoint.host.clone(), endpoint.port);
    if !greeted {
        let reason = if matches!(error, russh::Error::Version) {
            "what answered is not an SSH server".to_owned()
        } else {
            format!("the connection was closed before an SSH greeting came ({error})")
        };
        return TransportError::Banner { host, port, reason };
    }
    let reason = if let russh::Error::NoCommonAlgo { kind, theirs, .. } = error {
        format!("no common {} algorithm; the node offers {}", format!("{kind:?}").to_lowercase(), theirs.join(", "))
    } else {
        format!("key exchange failed: {error}")
    };
    TransportError::Negotiation { host, port, reason }
}

/// The client's side of the protocol.
fn config(endpoint: &Endpoint, wanted: &Wanted) -> client::Config {
    let Keepalive { interval, count } = endpoint.keepalive;
    let asks = !interval.is_zero() && count > 0;
    client::Config {
        preferred: algorithms::preferred(&endpoint.algorithms, wanted),
        nodelay: true,
        // What a node may send unasked.
        window_size: 256 * 1024,
        keepalive_interval: asks.then_some(interval),
        keepalive_max: count as usize,
        // A peer that is alive answers well before: one question at least is asked and waited for.
        inactivity_timeout: asks.then(|| interval * count.max(2)),
        ..client::Config::default()
    }
}

/// The library's callbacks.
pub(super) struct Handler {
    keys: Arc<HostKeyStore>,
    settings: Arc<HostKeySettings>,
    host: String,
    port: u16,
    verdict: Arc<Mutex<Option<TransportError>>>,
    lost: Arc<Mutex<Option<String>>>,
}

impl client::Handler for Handler {
    type Error = russh::Error;

    async fn check_server_key(&mut self, key: &PublicKeyOrCertificate) -> Result<bool, russh::Error> {
        let judged = self.keys.judge(&self.settings, &self.host, self.port, key).await;
        let accepted = judged.is_ok();
        *self.verdict.lock().unwrap_or_else(PoisonError::into_inner) = judged.err();
        Ok(accepted)
    }

    async fn disconnected(&mut self, reason: client::DisconnectReason<russh::Error>) -> Result<(), russh::Error> {
        let text = match reason {
            client::DisconnectReason::ReceivedDisconnect(_) => "the node ended it".to_owned(),
            client::DisconnectReason::Error(error) => error.to_string(),
        };
        *self.lost.lock().unwrap_or_else(PoisonError::into_inner) = Some(text);
        Ok(())
    }
}
