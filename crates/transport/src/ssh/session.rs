//! An SSH connection that is logged in, and its channels.
//!
//! Here lives [`SshSession`]; `command.rs` is what runs on a channel of it. Invariants: a node is asked for a
//! channel or a command no longer than [`ANSWER_TIME`]; every wait for the node ends with the connection; the output of
//! a command is bounded; an error about a connection that ended gives the peer's reason, if there is one; a further
//! connection is made only to an sshd that takes no more commands on this one (MaxSessions), by the function in
//! [`Reconnect`].

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use russh::client::{self, Handle};
use russh::{Channel, ChannelOpenFailure, ChannelStream};
use tokio::sync::{Semaphore, oneshot};
use tokio::time::timeout;
use tracing::debug;

use super::channel_load::{ChannelLoad, ChannelSeat, CommandStay};
use super::command::SshCommand;
use super::connection_loss::ConnectionLoss;
use super::handler::ClientHandler;
use crate::drain::collect;
use crate::endpoint::{Endpoint, HostKeySettings};
use crate::error::{CONNECT_FAILED, Seconds, TransportError};
use crate::host_keys::{HostKeyStore, ShownKey};
use crate::session::{ExecOutput, Session};

/// How long a node may take to answer a request for a channel or a command. One that swaps takes its time, too.
const ANSWER_TIME: Duration = Duration::from_secs(15);

/// sshd's MaxSessions is 10 by default and counts commands, not forwarded streams; some room is left for others.
const COMMANDS_AT_ONCE: usize = 3;

/// Connections to one node whose sshd takes only one command on each: for the guard, a relay, and three commands beside
/// them.
const MOST_CONNECTIONS: usize = 6;

/// How long a node may take to answer when it is only asked whether it is there.
const SIGN_OF_LIFE: Duration = Duration::from_secs(1);

/// How often a command channel that was refused is asked for again: sshd counts a command until it has reaped it.
const CHANNEL_RETRIES: u32 = 10;

/// The same where commands that stay fill the connection.
const RETRIES_BESIDE: u32 = 2;

/// One SSH connection, logged in.
pub struct SshSession {
    handle: Handle<ClientHandler>,
    lost: ConnectionLoss,
    commands: Arc<Semaphore>,
    load: Arc<ChannelLoad>,
    reconnect: Option<Reconnect>,
    further: tokio::sync::Mutex<Option<Arc<SshSession>>>,
    /// A sign of life did not come once.
    is_silent: AtomicBool,
    /// Channels that the node has opened, ever.
    opened: AtomicU64,
    host: Option<AcceptedHost>,
    /// Gone once this side has closed the connection.
    alive: Mutex<Option<oneshot::Sender<()>>>,
}

/// The host whose key was accepted, and the bastion on the way to it.
pub(super) struct AcceptedHost {
    settings: Arc<HostKeySettings>,
    host: String,
    port: u16,
    key: ShownKey,
    bastion: Option<Arc<SshSession>>,
}

impl AcceptedHost {
    pub(super) fn new(endpoint: &Endpoint, key: ShownKey, bastion: Option<Arc<SshSession>>) -> Self {
        let Endpoint { host, port, host_keys, .. } = endpoint;
        Self { settings: Arc::clone(host_keys), host: host.clone(), port: *port, key, bastion }
    }
}

/// Opens a further connection to the same node; none if the transport is gone.
pub type ConnectFurther = Box<dyn Fn() -> Option<BoxFuture<'static, Result<SshSession, TransportError>>> + Send + Sync>;

/// How a further connection to the same node is made.
struct Reconnect {
    host: String,
    connect: ConnectFurther,
    /// Which connection to the node this is, from 1.
    number: usize,
}

/// What sshd makes of the request for one more command.
enum ChannelRoom {
    Open(Channel<client::Msg>),
    /// None, and those that stay will not make any.
    NoneBesideStaying,
    /// None as long as others that pass are there.
    NoneBesidePassing,
}

impl std::fmt::Debug for SshSession {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SshSession").field("closed", &self.is_closed()).finish_non_exhaustive()
    }
}

impl SshSession {
    pub(super) fn new(
        handle: Handle<ClientHandler>,
        lost: ConnectionLoss,
        alive: oneshot::Sender<()>,
        host: Option<AcceptedHost>,
    ) -> Self {
        Self {
            handle,
            lost,
            // A semaphore of its own for each connection, since MaxSessions counts on each.
            commands: Arc::new(Semaphore::new(COMMANDS_AT_ONCE)),
            load: Arc::default(),
            reconnect: None,
            further: tokio::sync::Mutex::default(),
            is_silent: AtomicBool::new(false),
            opened: AtomicU64::new(0),
            host,
            alive: Mutex::new(Some(alive)),
        }
    }

    /// Whether the key that the host has shown, and those of the bastions on the way, would be accepted now.
    pub(super) fn is_trusted<'a>(&'a self, host_keys: &'a Arc<HostKeyStore>) -> BoxFuture<'a, bool> {
        // Boxed, because a bastion is judged in the same way.
        async move {
            let Some(AcceptedHost { settings, host, port, key, bastion }) = &self.host else { return false };
            if let Err(error) = host_keys.judge(settings, host, *port, key).await {
                debug!(host, %error, "a connection is not trusted any more");
                return false;
            }
            match bastion {
                Some(bastion) => bastion.is_trusted(host_keys).await,
                None => true,
            }
        }
        .boxed()
    }

    /// Closes the connection. What runs on it ends.
    pub fn hang_up(&self) {
        self.alive.lock().unwrap_or_else(PoisonError::into_inner).take();
    }

    /// Whether it ended, or did not answer when it was last asked for a sign of life.
    #[must_use]
    pub fn is_dead(&self) -> bool {
        self.is_closed() || self.is_silent.load(Ordering::Relaxed)
    }

    /// How many channels the node has opened on it, ever.
    #[must_use]
    pub fn channels_opened(&self) -> u64 {
        self.opened.load(Ordering::Relaxed)
    }

    /// Ends with the connection.
    pub fn ended(&self) -> impl Future<Output = ()> + Send + use<> {
        let mut ended = self.lost.ended.clone();
        // Nothing is ever sent: a change is an error, which comes with the end.
        async move { while ended.changed().await.is_ok() {} }
    }

    /// Why it ended.
    #[must_use]
    pub fn loss(&self) -> TransportError {
        self.lost.error("it was closed")
    }

    /// Asks for a sign of life, and closes the connection if none comes within `patience`.
    pub async fn check(&self, patience: Duration) {
        let answered = timeout(patience, self.handle.send_ping()).await;
        if !matches!(answered, Ok(Ok(()))) || self.is_closed() {
            self.is_silent.store(true, Ordering::Relaxed);
            let mut reason = self.lost.reason.lock().unwrap_or_else(PoisonError::into_inner);
            reason.get_or_insert_with(|| "it did not answer any more".to_owned());
            drop(reason);
            self.hang_up();
        }
    }

    /// Starts a command that ends soon, in the login shell, and keeps its streams.
    ///
    /// # Errors
    /// As [`Session::start`].
    pub async fn start_short(&self, command: &str) -> Result<SshCommand, TransportError> {
        self.begin(command, CommandStay::Short).await
    }

    /// Notes how a further connection to `host`, its node, can be made.
    #[must_use]
    pub fn with_reconnect(mut self, host: String, connect: ConnectFurther) -> Self {
        self.reconnect = Some(Reconnect { host, connect, number: 1 });
        self
    }

    /// Starts a command: on this connection, or, where sshd takes no more on it, on a further one.
    fn begin<'a>(&'a self, command: &'a str, stay: CommandStay) -> BoxFuture<'a, Result<SshCommand, TransportError>> {
        // Boxed, because a further connection begins the command in the same way.
        async move {
            let Some((channel, seat)) = self.seat(stay).await? else {
                return self.further().await?.begin(command, stay).await;
            };
            let mut started = SshCommand::new(channel, self.lost.clone(), seat);
            answered("a request to run a command", started.request(command)).await??;
            Ok(started)
        }
        .boxed()
    }

    /// A channel for a command; none if sshd takes no more on this connection.
    async fn seat(&self, stay: CommandStay) -> Result<Option<(Channel<client::Msg>, ChannelSeat)>, TransportError> {
        loop {
            // Commands that stay take no turn: they would hold it for the whole run, and short ones would wait for
            // ever.
            let turn = match stay {
                CommandStay::Long => None,
                // The semaphore is never closed; `ok` only spares an error that cannot come.
                CommandStay::Short => Arc::clone(&self.commands).acquire_owned().await.ok(),
            };
            // Known to be full: another request would only cost its retries.
            if self.load.is_full() {
                return Ok(None);
            }
            match answered("a request for a session", self.channel()).await?? {
                ChannelRoom::Open(channel) => return Ok(Some((channel, ChannelSeat::take(&self.load, stay, turn)))),
                ChannelRoom::NoneBesideStaying => {
                    // Remembered, so that later commands go to the further connection at once.
                    self.load.set_full();
                    return Ok(None);
                }
                // From now on one fewer at once, and this one comes when another has ended.
                ChannelRoom::NoneBesidePassing => match turn {
                    Some(turn) => turn.forget(),
                    // A long command has no turn to give up, so it needs another connection.
                    None => return Ok(None),
                },
            }
        }
    }

    async fn channel(&self) -> Result<ChannelRoom, TransportError> {
        let mut attempt = 0;
        let mut beside_others = false;
        loop {
            let reason = match self.handle.channel_open_session().await {
                Ok(channel) => {
                    self.opened.fetch_add(1, Ordering::Relaxed);
                    return Ok(ChannelRoom::Open(channel));
                }
                Err(russh::Error::ChannelOpenFailure(reason)) => reason,
                Err(other) => return Err(self.lost.error(&other.to_string())),
            };
            // Read after the refusal: a command may have ended while the node was answering.
            let staying = self.load.staying();
            beside_others |= self.load.passing() > 0;
            // Commands that stay will not make room, so few retries are enough: they only cover one that sshd has not
            // reaped yet.
            if staying > 0 && attempt >= RETRIES_BESIDE {
                return Ok(ChannelRoom::NoneBesideStaying);
            }
            if attempt >= CHANNEL_RETRIES {
                // Others that pass explain the refusal; without any, sshd refuses sessions altogether.
                return if beside_others {
                    Ok(ChannelRoom::NoneBesidePassing)
                } else {
                    Err(TransportError::CommandRefused {
                        reason: format!("it refuses sessions ({})", refusal(&reason)),
                    })
                };
            }
            attempt += 1;
            debug!(reason = refusal(&reason), attempt, "no command channel; trying again");
            // Growing pauses: sshd counts a command until it has reaped it, which takes longer on a loaded node.
            tokio::time::sleep(Duration::from_millis(50) * attempt).await;
        }
    }

    /// The further connection to the node; made now, if there is none.
    async fn further(&self) -> Result<Arc<SshSession>, TransportError> {
        let refused = |why: &str| TransportError::CommandRefused {
            reason: format!("it accepts no more commands on one connection (MaxSessions), {why}"),
        };
        // Held while connecting, so that commands that come together share one further connection.
        let mut further = self.further.lock().await;
        // One that was lost is replaced.
        if let Some(session) = further.as_ref().filter(|session| !session.is_closed()) {
            return Ok(Arc::clone(session));
        }
        // The number bounds the chain: each further connection may open the next one.
        let reconnect = self.reconnect.as_ref().filter(|reconnect| reconnect.number < MOST_CONNECTIONS);
        let Some((reconnect, connecting)) = reconnect.and_then(|known| Some((known, (known.connect)()?))) else {
            return Err(refused("and there are enough connections to it"));
        };
        debug!(host = reconnect.host, "sshd accepts no more commands on this connection; opening another one");
        let mut session = connecting.await.map_err(|error| {
            // The reason that this connection ended is the cause; the failed further one is only its effect.
            if self.is_closed() {
                self.lost.error(&error.to_string())
            } else if error.may_come_back() {
                error
            } else {
                refused(&format!("and a further connection failed: {error}"))
            }
        })?;
        // The session counts itself as the first; in this chain it is one more.
        if let Some(next) = &mut session.reconnect {
            next.number = reconnect.number + 1;
        }
        let session = Arc::new(session);
        *further = Some(Arc::clone(&session));
        Ok(session)
    }

    /// Opens a stream to a TCP port as seen from the other end, however long that takes.
    pub(super) async fn forward(&self, host: &str, port: u16) -> Result<ChannelStream<client::Msg>, TransportError> {
        // The originator (RFC 4254, section 7.2) only informs the node; no client connection stands behind the stream
        // here.
        let opened = self.handle.channel_open_direct_tcpip(host, u32::from(port), "127.0.0.1", 0).await;
        self.stream(&format!("{host}:{port}"), opened)
    }

    fn stream(
        &self,
        what: &str,
        opened: Result<Channel<client::Msg>, russh::Error>,
    ) -> Result<ChannelStream<client::Msg>, TransportError> {
        let channel = opened.map_err(|error| self.channel_error(what, &error))?;
        self.opened.fetch_add(1, Ordering::Relaxed);
        Ok(channel.into_stream())
    }

    fn channel_error(&self, what: &str, error: &russh::Error) -> TransportError {
        if let russh::Error::ChannelOpenFailure(reason) = error {
            return TransportError::ChannelRefused { what: what.to_owned(), reason: refusal(reason) };
        }
        self.lost.error(&error.to_string())
    }
}

/// Why the node opens no channel, by the name that RFC 4254, section 5.1, gives the reason; else in its own words.
fn refusal(reason: &ChannelOpenFailure) -> String {
    match reason {
        ChannelOpenFailure::ConnectFailed => CONNECT_FAILED.to_owned(),
        ChannelOpenFailure::Other { code, reason } => format!("{reason} (code {code})"),
        known @ (ChannelOpenFailure::AdministrativelyProhibited
        | ChannelOpenFailure::UnknownChannelType
        | ChannelOpenFailure::ResourceShortage) => format!("{known:?}"),
    }
}

/// The node's answer to a request, if it comes in time.
async fn answered<R>(what: &str, request: impl Future<Output = R>) -> Result<R, TransportError> {
    let silent = |_| TransportError::Silent { what: what.to_owned(), seconds: Seconds(ANSWER_TIME.as_millis()) };
    timeout(ANSWER_TIME, request).await.map_err(silent)
}

impl Session for SshSession {
    type Stream = ChannelStream<client::Msg>;
    type Command = SshCommand;

    async fn start(&self, command: &str) -> Result<SshCommand, TransportError> {
        self.begin(command, CommandStay::Long).await
    }

    async fn exec(
        &self,
        command: &str,
        limit: usize,
        is_whole: impl Fn(&[u8]) -> bool + Send,
    ) -> Result<ExecOutput, TransportError> {
        let mut running = self.begin(command, CommandStay::Short).await?;
        match collect(&mut running, limit, is_whole).await {
            Some(output) => Ok(output),
            // No exit and no other reason to stop: the connection is gone.
            None => Err(running.lost("it closed while a command was running")),
        }
    }

    async fn open_unix(&self, path: &str) -> Result<Self::Stream, TransportError> {
        let opened =
            answered(&format!("a request for {path}"), self.handle.channel_open_direct_streamlocal(path)).await?;
        self.stream(path, opened)
    }

    async fn open_tcp(&self, host: &str, port: u16) -> Result<Self::Stream, TransportError> {
        // `forward` itself has no limit, since a bastion may take as long as the connect; here the node must answer.
        answered(&format!("a request for {host}:{port}"), self.forward(host, port)).await?
    }

    fn is_closed(&self) -> bool {
        self.handle.is_closed()
    }

    async fn falls_silent(&self) {
        // The ping is a request with a reply, so an open socket alone proves nothing. It returns without an error at
        // the end of the connection too, hence `is_closed`.
        while !self.is_silent.load(Ordering::Relaxed)
            && let Ok(Ok(())) = timeout(SIGN_OF_LIFE, self.handle.send_ping()).await
            && !self.is_closed()
        {
            tokio::time::sleep(SIGN_OF_LIFE).await;
        }
        // Remembered: a connection that fell silent is not trusted again, and later callers need not wait.
        self.is_silent.store(true, Ordering::Relaxed);
    }
}
