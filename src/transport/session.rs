//! The streams of an SSH connection that is logged in.
//!
//! Here live [`SshSession`] and [`SshCommand`]. What always holds: a node is asked for a channel or a command no longer than
//! [`ANSWER_TIME`]; what waits for the node ends with the connection; what is read through it is bounded; a connection that
//! ended tells why, if the peer said so; a further connection is made only to an sshd that takes no more commands on this
//! one (MaxSessions).

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use russh::client::{self, Handle};
use russh::{Channel, ChannelMsg, ChannelOpenFailure, ChannelReadHalf, ChannelStream, ChannelWriteHalf, Sig};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot, watch};
use tokio::time::timeout;
use tracing::debug;

use super::connect::SharedState;
use super::endpoint::Endpoint;
use super::error::{CONNECT_FAILED, REQUEST_FAILED, Seconds};
use super::handshake::ClientHandler;
use super::{ExecOutput, OutputDrain, OutputPiece, RemoteCommand, Session, TransportError};

/// How long a node may take to answer a request for a channel or a command. One that swaps takes its time, too.
const ANSWER_TIME: Duration = Duration::from_secs(15);

/// sshd's MaxSessions is 10 by default and counts commands, not forwarded streams; some room is left for others.
const COMMANDS_AT_ONCE: usize = 3;

/// Connections to one node whose sshd takes only one command on each: for the guard, a relay, and three commands beside them.
const MOST_CONNECTIONS: usize = 6;

/// How long a node may take to answer when it is only asked whether it is there.
const SIGN_OF_LIFE: Duration = Duration::from_secs(1);

/// How long it may take to close a channel.
const CLOSE_TIME: Duration = Duration::from_secs(1);

/// How often a command channel that was refused is asked for again: sshd counts a command until it has reaped it.
const CHANNEL_RETRIES: u32 = 10;

/// The same where commands that stay are what there is no room beside.
const RETRIES_BESIDE: u32 = 2;

/// Messages of a command that are kept while something is written to it.
const KEPT: usize = 64;

/// One SSH connection, logged in.
pub struct SshSession {
    handle: Handle<ClientHandler>,
    lost: ConnectionLoss,
    commands: Arc<Semaphore>,
    load: Arc<ChannelLoad>,
    origin: Option<ReconnectSource>,
    further: tokio::sync::Mutex<Option<Arc<SshSession>>>,
    /// A sign of life did not come once.
    is_silent: AtomicBool,
    _alive: oneshot::Sender<()>,
}

/// What a further connection to the same node is made from.
struct ReconnectSource {
    shared: Weak<SharedState>,
    endpoint: Endpoint,
    /// Which connection to the node this is, from 1.
    number: usize,
}

/// Command channels that are open on a connection.
#[derive(Default)]
struct ChannelLoad {
    /// Of commands that may stay for the whole run.
    staying: AtomicUsize,
    /// Of commands that end soon.
    passing: AtomicUsize,
    /// So many that stay are known to leave no room beside them; 0: not known.
    full_at: AtomicUsize,
}

impl ChannelLoad {
    fn of(&self, stay: CommandStay) -> &AtomicUsize {
        match stay {
            CommandStay::Long => &self.staying,
            CommandStay::Short => &self.passing,
        }
    }

    fn is_full(&self) -> bool {
        let full_at = self.full_at.load(Ordering::Relaxed);
        full_at > 0 && self.staying.load(Ordering::Relaxed) >= full_at
    }
}

/// How long a command is there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum CommandStay {
    /// Perhaps for the whole run.
    Long,
    /// It is a question: it ends soon, and takes its turn.
    Short,
}

/// The place of a command on its connection. Dropping it gives the place back.
struct ChannelSeat {
    load: Arc<ChannelLoad>,
    stay: CommandStay,
    _turn: Option<OwnedSemaphorePermit>,
}

impl ChannelSeat {
    fn take(load: &Arc<ChannelLoad>, stay: CommandStay, turn: Option<OwnedSemaphorePermit>) -> Self {
        load.of(stay).fetch_add(1, Ordering::Relaxed);
        Self { load: Arc::clone(load), stay, _turn: turn }
    }
}

impl Drop for ChannelSeat {
    fn drop(&mut self) {
        self.load.of(self.stay).fetch_sub(1, Ordering::Relaxed);
    }
}

/// What sshd makes of the request for one more command.
enum ChannelRoom {
    Open(Channel<client::Msg>),
    /// None, and those that stay will not make any.
    NoneBesideStaying,
    /// None as long as others that pass are there.
    NoneBesidePassing,
}

/// Tells that a connection ended, and why.
#[derive(Clone)]
pub(super) struct ConnectionLoss {
    pub(super) reason: Arc<Mutex<Option<String>>>,
    /// Its sender is gone once the connection is.
    pub(super) ended: watch::Receiver<()>,
}

impl ConnectionLoss {
    /// A loss with the cause that the connection told, if it told one.
    fn error(&self, otherwise: &str) -> TransportError {
        let told = self.reason.lock().unwrap_or_else(PoisonError::into_inner).clone();
        TransportError::Lost { reason: told.unwrap_or_else(|| otherwise.to_owned()) }
    }
}

impl std::fmt::Debug for SshSession {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SshSession").field("closed", &self.is_closed()).finish_non_exhaustive()
    }
}

impl SshSession {
    pub(super) fn new(handle: Handle<ClientHandler>, lost: ConnectionLoss, alive: oneshot::Sender<()>) -> Self {
        Self {
            handle,
            lost,
            commands: Arc::new(Semaphore::new(COMMANDS_AT_ONCE)),
            load: Arc::default(),
            origin: None,
            further: tokio::sync::Mutex::default(),
            is_silent: AtomicBool::new(false),
            _alive: alive,
        }
    }

    /// Notes where it leads, so that a further connection can be made.
    pub(super) fn to(mut self, shared: &Arc<SharedState>, endpoint: &Endpoint) -> Self {
        self.origin = Some(ReconnectSource { shared: Arc::downgrade(shared), endpoint: endpoint.clone(), number: 1 });
        self
    }

    /// Starts a command: on this connection, or, where sshd takes no more on it, on a further one.
    fn begin<'a>(&'a self, command: &'a str, stay: CommandStay) -> BoxFuture<'a, Result<SshCommand, TransportError>> {
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
            let turn = match stay {
                CommandStay::Long => None,
                CommandStay::Short => Arc::clone(&self.commands).acquire_owned().await.ok(),
            };
            if self.load.is_full() {
                return Ok(None);
            }
            match answered("a request for a session", self.channel()).await?? {
                ChannelRoom::Open(channel) => return Ok(Some((channel, ChannelSeat::take(&self.load, stay, turn)))),
                ChannelRoom::NoneBesideStaying => {
                    self.load.full_at.store(self.load.staying.load(Ordering::Relaxed), Ordering::Relaxed);
                    return Ok(None);
                }
                // From now on one fewer at once, and this one comes when another has ended.
                ChannelRoom::NoneBesidePassing => match turn {
                    Some(turn) => turn.forget(),
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
                Ok(channel) => return Ok(ChannelRoom::Open(channel)),
                Err(russh::Error::ChannelOpenFailure(reason)) => reason,
                Err(other) => return Err(self.lost.error(&other.to_string())),
            };
            let staying = self.load.staying.load(Ordering::Relaxed);
            beside_others |= self.load.passing.load(Ordering::Relaxed) > 0;
            if staying > 0 && attempt >= RETRIES_BESIDE {
                return Ok(ChannelRoom::NoneBesideStaying);
            }
            if attempt >= CHANNEL_RETRIES {
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
            tokio::time::sleep(Duration::from_millis(50) * attempt).await;
        }
    }

    /// The further connection to the node; made now, if there is none.
    async fn further(&self) -> Result<Arc<SshSession>, TransportError> {
        let refused = |why: &str| TransportError::CommandRefused {
            reason: format!("it accepts no more commands on one connection (MaxSessions), {why}"),
        };
        let mut further = self.further.lock().await;
        if let Some(session) = further.as_ref().filter(|session| !session.is_closed()) {
            return Ok(Arc::clone(session));
        }
        let way = self.origin.as_ref().and_then(|origin| Some((origin, origin.shared.upgrade()?)));
        let Some((origin, shared)) = way.filter(|(origin, _)| origin.number < MOST_CONNECTIONS) else {
            return Err(refused("and there are enough connections to it"));
        };
        debug!(host = origin.endpoint.host, "sshd accepts no more commands on this connection; opening another one");
        let made = shared.connect(&origin.endpoint).await;
        let mut session = made.map_err(|error| {
            if self.is_closed() {
                self.lost.error(&error.to_string())
            } else if error.may_come_back() {
                error
            } else {
                refused(&format!("and a further connection failed: {error}"))
            }
        })?;
        if let Some(next) = &mut session.origin {
            next.number = origin.number + 1;
        }
        let session = Arc::new(session);
        *further = Some(Arc::clone(&session));
        Ok(session)
    }

    /// Opens a stream to a TCP port as seen from the other end, however long that takes.
    pub(super) async fn forward(&self, host: &str, port: u16) -> Result<ChannelStream<client::Msg>, TransportError> {
        let opened = self.handle.channel_open_direct_tcpip(host, u32::from(port), "127.0.0.1", 0).await;
        Ok(opened.map_err(|error| self.channel_error(&format!("{host}:{port}"), &error))?.into_stream())
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

/// What the node answers to a request, if it answers in time.
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
        let (mut stdout, mut stderr) = (Vec::new(), Vec::new());
        let mut output = ExecOutput::default();
        let mut ended = false;
        let mut rest: Option<OutputDrain> = None;
        loop {
            let next = match rest {
                Some(rest) => rest.next(&mut running).await,
                None => running.next().await,
            };
            match next {
                Some(OutputPiece::Stdout(bytes)) => stdout.extend(bytes),
                Some(OutputPiece::Stderr(bytes)) => stderr.extend(bytes),
                Some(OutputPiece::Exit(code)) => {
                    output.exit = code;
                    ended = true;
                    rest = Some(OutputDrain::start());
                }
                None => break,
            }
            if stdout.len() > limit || stderr.len() > limit {
                output.truncated = true;
                ended = true;
                break;
            }
            if is_whole(&stdout) {
                ended = true;
                break;
            }
        }
        if !ended {
            return Err(running.lost.error("it closed while a command was running"));
        }
        running.close().await;
        stdout.truncate(limit);
        stderr.truncate(limit);
        output.stdout = String::from_utf8_lossy(&stdout).into_owned();
        output.stderr = String::from_utf8_lossy(&stderr).into_owned();
        Ok(output)
    }

    async fn open_unix(&self, path: &str) -> Result<Self::Stream, TransportError> {
        let opened =
            answered(&format!("a request for {path}"), self.handle.channel_open_direct_streamlocal(path)).await?;
        Ok(opened.map_err(|error| self.channel_error(path, &error))?.into_stream())
    }

    async fn open_tcp(&self, host: &str, port: u16) -> Result<Self::Stream, TransportError> {
        answered(&format!("a request for {host}:{port}"), self.forward(host, port)).await?
    }

    fn is_closed(&self) -> bool {
        self.handle.is_closed()
    }

    async fn falls_silent(&self) {
        while !self.is_silent.load(Ordering::Relaxed)
            && let Ok(Ok(())) = timeout(SIGN_OF_LIFE, self.handle.send_ping()).await
            && !self.is_closed()
        {
            tokio::time::sleep(SIGN_OF_LIFE).await;
        }
        self.is_silent.store(true, Ordering::Relaxed);
    }
}

/// The name of a signal as people write it. One that the protocol does not know comes from sshd as an address of its own.
fn signal_word(signal: &Sig) -> String {
    let Sig::Custom(name) = signal else { return format!("{signal:?}") };
    let is_word = (1..16).contains(&name.len()) && name.bytes().all(|byte| byte.is_ascii_alphanumeric());
    if is_word { name.clone() } else { "UNKNOWN".to_owned() }
}

/// Whether a message says something of the command itself: what it prints, or how it ends.
fn is_of_command(message: &ChannelMsg) -> bool {
    matches!(
        message,
        ChannelMsg::Data { .. }
            | ChannelMsg::ExtendedData { ext: 1, .. }
            | ChannelMsg::ExitStatus { .. }
            | ChannelMsg::ExitSignal { .. }
            | ChannelMsg::Close
    )
}

/// A command on a channel of its own.
pub struct SshCommand {
    read: ChannelReadHalf,
    write: Arc<ChannelWriteHalf<client::Msg>>,
    /// What came while something else was waited for.
    kept: VecDeque<ChannelMsg>,
    lost: ConnectionLoss,
    signal: Option<String>,
    told_end: bool,
    /// The node has closed the channel.
    closed: bool,
    /// We have.
    shut: bool,
    _seat: ChannelSeat,
}

impl SshCommand {
    fn new(channel: Channel<client::Msg>, lost: ConnectionLoss, seat: ChannelSeat) -> Self {
        let (read, write) = channel.split();
        let kept = VecDeque::new();
        Self {
            read,
            write: Arc::new(write),
            kept,
            lost,
            signal: None,
            told_end: false,
            closed: false,
            shut: false,
            _seat: seat,
        }
    }

    /// Has the node run the command, and waits until it says that it does: sshd takes no input before, and none ever if it
    /// could not start it.
    async fn request(&mut self, command: &str) -> Result<(), TransportError> {
        self.write.exec(true, command).await.map_err(|error| self.lost.error(&error.to_string()))?;
        loop {
            match self.read.wait().await {
                Some(ChannelMsg::Success) => return Ok(()),
                Some(ChannelMsg::Failure | ChannelMsg::Close) => {
                    return Err(TransportError::CommandRefused { reason: REQUEST_FAILED.to_owned() });
                }
                // It runs, whatever is answered later.
                Some(
                    first @ (ChannelMsg::Data { .. }
                    | ChannelMsg::ExtendedData { .. }
                    | ChannelMsg::ExitStatus { .. }
                    | ChannelMsg::ExitSignal { .. }),
                ) => {
                    self.kept.push_back(first);
                    return Ok(());
                }
                Some(_) => {}
                None => return Err(self.lost.error("it closed before a command was started")),
            }
        }
    }
}

impl Drop for SshCommand {
    fn drop(&mut self) {
        // The library closes no channel by itself, and sshd counts it until it is closed.
        if let Ok(runtime) = tokio::runtime::Handle::try_current()
            && !(self.closed || self.shut)
        {
            let write = Arc::clone(&self.write);
            runtime.spawn(async move { write.close().await });
        }
    }
}

impl RemoteCommand for SshCommand {
    fn signal(&self) -> Option<&str> {
        self.signal.as_deref()
    }

    async fn close(&mut self) {
        self.shut = true;
        match timeout(CLOSE_TIME, self.write.close()).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => debug!(%error, "cannot close a channel"),
            Err(_) => debug!("cannot close a channel in time"),
        }
    }

    async fn write(&mut self, bytes: &[u8]) -> Result<(), TransportError> {
        let Self { read, write, kept, lost, .. } = self;
        let mut ended = lost.ended.clone();
        let sent = write.data(bytes);
        tokio::pin!(sent);
        loop {
            // The library waits for room in the node's window, and would wait on when there is nobody to give it.
            tokio::select! {
                biased;
                sent = &mut sent => return sent.map_err(|error| lost.error(&error.to_string())),
                _ = ended.changed() => return Err(lost.error("it closed while writing to a command")),
                said = read.wait(), if kept.len() < KEPT => {
                    let Some(said) = said else { return Err(lost.error("it closed while writing to a command")) };
                    let is_over = matches!(said, ChannelMsg::Close);
                    // One that takes much opens its window many times: that is not to keep its end from being read.
                    if is_of_command(&said) {
                        kept.push_back(said);
                    }
                    if is_over {
                        return Ok(());
                    }
                }
            }
        }
    }

    #[expect(clippy::wildcard_enum_match_arm, reason = "what else a node says of a channel tells nothing of a command")]
    async fn next(&mut self) -> Option<OutputPiece> {
        while !self.closed {
            let message = match self.kept.pop_front() {
                Some(kept) => kept,
                None => self.read.wait().await?,
            };
            match message {
                ChannelMsg::Data { data } => return Some(OutputPiece::Stdout(data.to_vec())),
                ChannelMsg::ExtendedData { data, ext: 1 } => return Some(OutputPiece::Stderr(data.to_vec())),
                ChannelMsg::ExitStatus { exit_status } => {
                    self.told_end = true;
                    return Some(OutputPiece::Exit(Some(exit_status)));
                }
                ChannelMsg::ExitSignal { signal_name, .. } => {
                    self.told_end = true;
                    self.signal = Some(signal_word(&signal_name));
                    return Some(OutputPiece::Exit(None));
                }
                ChannelMsg::Close => {
                    self.closed = true;
                    if !self.told_end {
                        return Some(OutputPiece::Exit(None));
                    }
                }
                _ => {}
            }
        }
        None
    }
}
