//! The streams of an SSH connection that is logged in.
//!
//! Here live [`SshSession`] and [`SshCommand`]. What always holds: one connection a session; what is read through it is
//! bounded; a connection that ended tells why, if the peer said so.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use russh::client::{self, Handle};
use russh::{Channel, ChannelMsg, ChannelOpenFailure, ChannelStream};
use tokio::sync::{Semaphore, oneshot};
use tokio::time::timeout;
use tracing::debug;

use super::error::CONNECT_FAILED;
use super::handshake::Handler;
use super::{ExecOutput, Piece, RemoteCommand, Session, TransportError};

/// sshd's MaxSessions is 10 by default and counts commands, not forwarded streams; some room is left for others.
const COMMANDS_AT_ONCE: usize = 3;

/// How long the streams of a command that has ended are read on.
const DRAIN: Duration = Duration::from_secs(1);

/// How often a command channel that was refused is asked for again: sshd counts a command until it has reaped it.
const CHANNEL_RETRIES: u32 = 10;

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
    pub(super) fn new(handle: Handle<Handler>, lost: Arc<Mutex<Option<String>>>, alive: oneshot::Sender<()>) -> Self {
        Self { handle, lost, commands: Semaphore::new(COMMANDS_AT_ONCE), _alive: alive }
    }

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
