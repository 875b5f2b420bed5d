//! SSH with russh: connecting, the host key, and the streams of a session.
//!
//! With `auth.rs` the only file that names the SSH library. What always holds: one TCP connection a session;
//! a connect never outlives its budget, and leaves no half-open connection behind; the key of a host is
//! checked before anything is sent to it.

use std::collections::HashMap;
use std::io;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicU8, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use rand::Rng;
use russh::client::{self, Handle};
use russh::keys::{Algorithm, EcdsaCurve, HashAlg, PublicKey, PublicKeyOrCertificate};
use russh::{Channel, ChannelMsg, ChannelOpenFailure, ChannelStream, Preferred, kex};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::sync::{Semaphore, oneshot};
use tokio::time::timeout;
use tracing::debug;

use super::auth::{self, KeyRing};
use super::error::{CONNECT_FAILED, Seconds};
use super::known_hosts::{self, KnownHosts, Verdict};
use super::{Endpoint, ExecOutput, Piece, RemoteCommand, Session, Transport, TransportError};

/// What a host is believed to be without a known key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HostKeyPolicy {
    /// Only keys that known_hosts holds.
    Strict,
    /// A key of a host never seen before is taken and written down; a changed one is not.
    AcceptNew,
}

/// What holds for all connections of a run.
#[derive(Debug, Clone)]
pub struct SshSettings {
    /// The files that hold known host keys, the user's first; new ones are written to the first.
    pub known_hosts: Vec<PathBuf>,
    /// What to do with unknown ones.
    pub host_key_policy: HostKeyPolicy,
    /// Socket of the SSH agent.
    pub agent: Option<PathBuf>,
}

/// Opens SSH sessions. Files (known hosts, keys) are read once and shared by all of them.
pub struct SshTransport {
    known: Arc<HostKeys>,
    keys: KeyRing,
}

impl std::fmt::Debug for SshTransport {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SshTransport").field("policy", &self.known.policy).finish_non_exhaustive()
    }
}

impl SshTransport {
    /// Reads the known_hosts files.
    ///
    /// # Errors
    /// [`TransportError::KnownHosts`] if one is there and cannot be read.
    pub fn new(settings: SshSettings) -> Result<Self, TransportError> {
        let known = KnownHosts::read(&settings.known_hosts)
            .map_err(|error| TransportError::KnownHosts { reason: error.to_string() })?;
        Ok(Self {
            known: Arc::new(HostKeys {
                known,
                policy: settings.host_key_policy,
                file: settings.known_hosts.first().cloned(),
                accepted: Mutex::new(HashMap::new()),
            }),
            keys: KeyRing::new(settings.agent),
        })
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
        let stream = Guarded { inner: tcp, greeted: Arc::clone(&greeted), seen: Vec::new(), closed: Some(closed) };
        let verdict = Arc::new(Mutex::new(None));
        let lost = Arc::new(Mutex::new(None));
        let handler = Handler {
            keys: Arc::clone(&self.known),
            host: host.clone(),
            port: *port,
            verdict: Arc::clone(&verdict),
            lost: Arc::clone(&lost),
        };
        let config = Arc::new(config(self.known.known.algorithms_for(host, *port)));
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
        Ok(SshSession { handle, lost, commands: Semaphore::new(COMMANDS_AT_ONCE), _alive: alive })
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

/// sshd's MaxSessions is 10 by default and counts commands, not forwarded streams; some room is left for others.
const COMMANDS_AT_ONCE: usize = 3;

/// How long the streams of a command that has ended are read on.
const DRAIN: Duration = Duration::from_secs(1);

/// How often a command channel that was refused is asked for again: sshd counts a command until it has reaped it.
const CHANNEL_RETRIES: u32 = 10;

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

/// The client's side of the protocol. `known` are the kinds of host key held for this host: they are preferred,
/// as OpenSSH does, or a host known by its RSA key would show its ed25519 key and look unknown.
fn config(known: Vec<Algorithm>) -> client::Config {
    let mut preferred = Preferred::DEFAULT;
    let mut kex = preferred.kex.to_vec();
    // Implemented by the library, but not offered by default; some hardened nodes take nothing else.
    let nist = [kex::ECDH_SHA2_NISTP256, kex::ECDH_SHA2_NISTP384, kex::ECDH_SHA2_NISTP521];
    kex.extend(nist.into_iter().filter(|name| !preferred.kex.contains(name)));
    preferred.kex = kex.into();
    let ecdsa = |curve| Algorithm::Ecdsa { curve };
    let rsa = |hash| Algorithm::Rsa { hash: Some(hash) };
    let mut keys = Vec::new();
    for algorithm in known {
        if matches!(algorithm, Algorithm::Rsa { .. }) {
            keys.extend([rsa(HashAlg::Sha512), rsa(HashAlg::Sha256)]);
        } else {
            keys.push(algorithm);
        }
    }
    keys.extend([
        Algorithm::Ed25519,
        ecdsa(EcdsaCurve::NistP256),
        ecdsa(EcdsaCurve::NistP384),
        ecdsa(EcdsaCurve::NistP521),
        rsa(HashAlg::Sha512),
        rsa(HashAlg::Sha256),
    ]);
    let mut seen = Vec::new();
    keys.retain(|key| {
        preferred.key.contains(key) && !seen.contains(key) && {
            seen.push(key.clone());
            true
        }
    });
    preferred.key = keys.into();
    client::Config {
        preferred,
        nodelay: true,
        // What a node may send unasked; a peer that has died without a word is noticed after 3 × 10 s.
        window_size: 256 * 1024,
        keepalive_interval: Some(Duration::from_secs(10)),
        keepalive_max: 3,
        inactivity_timeout: Some(Duration::from_secs(60)),
        ..client::Config::default()
    }
}

/// Known host keys and what may be added to them.
struct HostKeys {
    known: KnownHosts,
    policy: HostKeyPolicy,
    file: Option<PathBuf>,
    /// Keys taken in this run, so that two connections to one host agree.
    accepted: Mutex<HashMap<String, PublicKey>>,
}

impl HostKeys {
    async fn judge(self: &Arc<Self>, host: &str, port: u16, key: &PublicKey) -> Result<(), TransportError> {
        let name = if port == 22 { host.to_owned() } else { format!("[{host}]:{port}") };
        let shown = format!("{} {}", key.algorithm(), key.fingerprint(HashAlg::Sha256));
        let place = |file: &Path, line: usize| format!("{}:{line}", file.display());
        match self.known.check(host, port, key) {
            Verdict::Known { .. } => Ok(()),
            Verdict::Changed { file, line, .. } => {
                Err(TransportError::HostKeyChanged { name, key: shown, place: place(&file, line) })
            }
            Verdict::Revoked { file, line, .. } => {
                Err(TransportError::HostKeyRevoked { name, key: shown, place: place(&file, line) })
            }
            Verdict::Unknown => match (self.policy, &self.file) {
                (HostKeyPolicy::AcceptNew, Some(_)) => {
                    // The file is locked while it is written, maybe by another run.
                    let (this, host, key) = (Arc::clone(self), host.to_owned(), key.clone());
                    let written =
                        tokio::task::spawn_blocking(move || this.accept(&host, port, name, shown, &key)).await;
                    written.unwrap_or_else(|error| Err(TransportError::KnownHosts { reason: error.to_string() }))
                }
                (HostKeyPolicy::AcceptNew | HostKeyPolicy::Strict, file) => {
                    Err(TransportError::HostKeyUnknown { name, key: shown, file: file.clone() })
                }
            },
        }
    }

    fn accept(
        &self,
        host: &str,
        port: u16,
        name: String,
        shown: String,
        key: &PublicKey,
    ) -> Result<(), TransportError> {
        let Some(file) = &self.file else { return Ok(()) };
        let mut accepted = self.accepted.lock().unwrap_or_else(PoisonError::into_inner);
        match accepted.get(&name) {
            Some(other) if other.key_data() == key.key_data() => Ok(()),
            Some(_) => {
                Err(TransportError::HostKeyChanged { name, key: shown, place: "the key taken a moment ago".to_owned() })
            }
            None => {
                known_hosts::append(file, host, port, key)
                    .map_err(|error| TransportError::KnownHosts { reason: error.to_string() })?;
                accepted.insert(name, key.clone());
                Ok(())
            }
        }
    }
}

/// The library's callbacks.
struct Handler {
    keys: Arc<HostKeys>,
    host: String,
    port: u16,
    verdict: Arc<Mutex<Option<TransportError>>>,
    lost: Arc<Mutex<Option<String>>>,
}

impl client::Handler for Handler {
    type Error = russh::Error;

    async fn check_server_key(&mut self, key: &PublicKeyOrCertificate) -> Result<bool, russh::Error> {
        let judged = match key {
            PublicKeyOrCertificate::PublicKey { key, .. } => self.keys.judge(&self.host, self.port, key).await,
            PublicKeyOrCertificate::Certificate(_) => Err(TransportError::HostKeyUnknown {
                name: self.host.clone(),
                key: "a host certificate".to_owned(),
                file: None,
            }),
        };
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

/// A TCP stream that tells whether an SSH greeting was seen, and that ends when its owner is gone: a cancelled
/// connect would otherwise leave the library's own task and its socket behind for as long as the peer is silent.
struct Guarded {
    inner: TcpStream,
    greeted: Arc<AtomicBool>,
    /// The first bytes, until a greeting was found in them.
    seen: Vec<u8>,
    /// None once the owner is gone.
    closed: Option<oneshot::Receiver<()>>,
}

/// A greeting may follow other lines (RFC 4253, 4.2); the library gives up long before this many bytes.
const GREETING_LIMIT: usize = 16 * 1024;

impl AsyncRead for Guarded {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        if self.closed.as_mut().is_some_and(|closed| Pin::new(closed).poll(cx).is_ready()) {
            self.closed = None;
        }
        if self.closed.is_none() {
            return Poll::Ready(Ok(()));
        }
        let before = buf.filled().len();
        let polled = Pin::new(&mut self.inner).poll_read(cx, buf);
        if !self.greeted.load(Ordering::Relaxed) && self.seen.len() < GREETING_LIMIT {
            self.seen.extend_from_slice(buf.filled().get(before..).unwrap_or_default());
            if self.seen.split(|byte| *byte == b'\n').any(|line| line.starts_with(b"SSH-")) {
                self.greeted.store(true, Ordering::Relaxed);
                self.seen = Vec::new();
            }
        }
        polled
    }
}

impl AsyncWrite for Guarded {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.inner).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_shutdown(cx)
    }
}

/// One SSH connection, logged in.
pub struct SshSession {
    handle: Handle<Handler>,
    lost: Arc<Mutex<Option<String>>>,
    commands: Semaphore,
    _alive: oneshot::Sender<()>,
}

impl std::fmt::Debug for SshSession {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SshSession").field("closed", &self.is_closed()).finish_non_exhaustive()
    }
}

impl SshSession {
    async fn command_channel(&self) -> Result<Channel<client::Msg>, TransportError> {
        let mut attempt = 0;
        loop {
            match self.handle.channel_open_session().await {
                Ok(channel) => return Ok(channel),
                Err(russh::Error::ChannelOpenFailure(reason)) if attempt < CHANNEL_RETRIES => {
                    attempt += 1;
                    debug!(?reason, attempt, "no command channel; trying again");
                    tokio::time::sleep(Duration::from_millis(50) * attempt).await;
                }
                Err(russh::Error::ChannelOpenFailure(reason)) => {
                    return Err(TransportError::CommandRefused { reason: format!("{reason:?}") });
                }
                Err(other) => return Err(self.lost(&other.to_string())),
            }
        }
    }

    fn channel_error(&self, what: &str, error: &russh::Error) -> TransportError {
        if let russh::Error::ChannelOpenFailure(reason) = error {
            let tried = matches!(reason, ChannelOpenFailure::ConnectFailed);
            let reason = if tried { CONNECT_FAILED.to_owned() } else { format!("{reason:?}") };
            return TransportError::ChannelRefused { what: what.to_owned(), reason };
        }
        self.lost(&error.to_string())
    }

    fn lost(&self, otherwise: &str) -> TransportError {
        lost(&self.lost, otherwise)
    }
}

/// A loss with the cause that the connection told, if it told one.
fn lost(told: &Mutex<Option<String>>, otherwise: &str) -> TransportError {
    let told = told.lock().unwrap_or_else(PoisonError::into_inner).clone();
    TransportError::Lost { reason: told.unwrap_or_else(|| otherwise.to_owned()) }
}

impl Session for SshSession {
    type Stream = ChannelStream<client::Msg>;
    type Command = SshCommand;

    async fn start(&self, command: &str) -> Result<SshCommand, TransportError> {
        let channel = self.command_channel().await?;
        channel.exec(true, command).await.map_err(|error| self.lost(&error.to_string()))?;
        Ok(SshCommand { channel, lost: Arc::clone(&self.lost), told_end: false, closed: false })
    }

    async fn exec(&self, command: &str, limit: usize) -> Result<ExecOutput, TransportError> {
        let _permit = self.commands.acquire().await.map_err(|error| self.lost(&error.to_string()))?;
        let mut running = self.start(command).await?;
        let (mut stdout, mut stderr) = (Vec::new(), Vec::new());
        let mut output = ExecOutput::default();
        let mut ended = false;
        loop {
            // What it leaves behind may hold its streams open: they are waited for only so long.
            let next = if ended { timeout(DRAIN, running.next()).await.unwrap_or(None) } else { running.next().await };
            match next {
                Some(Piece::Stdout(bytes)) => stdout.extend(bytes),
                Some(Piece::Stderr(bytes)) => stderr.extend(bytes),
                Some(Piece::Exit(code)) => {
                    output.exit = code;
                    ended = true;
                }
                Some(Piece::Refused) => {
                    let reason = "the request was denied".to_owned();
                    return Err(TransportError::CommandRefused { reason });
                }
                None => break,
            }
            if stdout.len() > limit || stderr.len() > limit {
                output.truncated = true;
                ended = true;
                break;
            }
        }
        if !ended {
            return Err(self.lost("it ended while a command ran"));
        }
        running.close().await;
        stdout.truncate(limit);
        stderr.truncate(limit);
        output.stdout = String::from_utf8_lossy(&stdout).into_owned();
        output.stderr = String::from_utf8_lossy(&stderr).into_owned();
        Ok(output)
    }

    async fn open_unix(&self, path: &str) -> Result<Self::Stream, TransportError> {
        let opened = self.handle.channel_open_direct_streamlocal(path).await;
        Ok(opened.map_err(|error| self.channel_error(path, &error))?.into_stream())
    }

    async fn open_tcp(&self, host: &str, port: u16) -> Result<Self::Stream, TransportError> {
        let opened = self.handle.channel_open_direct_tcpip(host, u32::from(port), "127.0.0.1", 0).await;
        Ok(opened.map_err(|error| self.channel_error(&format!("{host}:{port}"), &error))?.into_stream())
    }

    fn is_closed(&self) -> bool {
        self.handle.is_closed()
    }
}

/// A command on a channel of its own.
pub struct SshCommand {
    channel: Channel<client::Msg>,
    lost: Arc<Mutex<Option<String>>>,
    told_end: bool,
    closed: bool,
}

impl RemoteCommand for SshCommand {
    async fn close(&mut self) {
        if let Err(error) = self.channel.close().await {
            debug!(%error, "a channel could not be closed");
        }
    }

    async fn write(&mut self, bytes: &[u8]) -> Result<(), TransportError> {
        self.channel.data(bytes).await.map_err(|error| lost(&self.lost, &error.to_string()))
    }

    #[expect(clippy::wildcard_enum_match_arm, reason = "what else a node says of a channel tells nothing of a command")]
    async fn next(&mut self) -> Option<Piece> {
        while !self.closed {
            match self.channel.wait().await? {
                ChannelMsg::Data { data } => return Some(Piece::Stdout(data.to_vec())),
                ChannelMsg::ExtendedData { data, ext: 1 } => return Some(Piece::Stderr(data.to_vec())),
                ChannelMsg::ExitStatus { exit_status } => {
                    self.told_end = true;
                    return Some(Piece::Exit(Some(exit_status)));
                }
                ChannelMsg::ExitSignal { .. } => {
                    self.told_end = true;
                    return Some(Piece::Exit(None));
                }
                ChannelMsg::Failure => return Some(Piece::Refused),
                ChannelMsg::Close => {
                    self.closed = true;
                    if !self.told_end {
                        return Some(Piece::Exit(None));
                    }
                }
                _ => {}
            }
        }
        None
    }
}
