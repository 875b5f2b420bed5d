//! A command that runs on a channel of its own.
//!
//! Here lives [`SshCommand`], the [`RemoteCommand`] of SSH. Invariants: a node is asked once to run it, and no
//! input is sent before it runs; writing ends with the connection, and reads on meanwhile, so that neither side waits
//! for the other; the channel is closed when the command is dropped.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use russh::client;
use russh::{Channel, ChannelMsg, ChannelReadHalf, ChannelWriteHalf, Sig};
use tokio::time::timeout;
use tracing::debug;

use super::channel_load::ChannelSeat;
use super::connection_loss::ConnectionLoss;
use crate::error::{REQUEST_FAILED, TransportError};
use crate::session::{OutputPiece, RemoteCommand};

/// How long it may take to close a channel.
const CLOSE_TIME: Duration = Duration::from_secs(1);

/// Messages of a command that are kept while something is written to it.
const KEPT: usize = 64;

/// The name of a signal as people write it. For one that the protocol does not name sshd sends `SIG@openssh.com`
/// (session.c, `sig2name`).
fn signal_name(signal: &Sig) -> String {
    let Sig::Custom(name) = signal else { return format!("{signal:?}") };
    // `SIG@openssh.com` names no signal, and a name from another peer is untrusted text.
    let is_word = (1..16).contains(&name.len()) && name.bytes().all(|byte| byte.is_ascii_alphanumeric());
    if is_word { name.clone() } else { "UNKNOWN".to_owned() }
}

/// Whether a message is about the command itself: its output, or its end.
fn is_about_command(message: &ChannelMsg) -> bool {
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
    /// Messages that came while something else was waited for.
    kept: VecDeque<ChannelMsg>,
    lost: ConnectionLoss,
    signal: Option<String>,
    has_ended: bool,
    /// The node has closed the channel.
    closed: bool,
    /// We have.
    shut: bool,
    _seat: ChannelSeat,
}

impl SshCommand {
    pub(super) fn new(channel: Channel<client::Msg>, lost: ConnectionLoss, seat: ChannelSeat) -> Self {
        let (read, write) = channel.split();
        let kept = VecDeque::new();
        Self {
            read,
            write: Arc::new(write),
            kept,
            lost,
            signal: None,
            has_ended: false,
            closed: false,
            shut: false,
            _seat: seat,
        }
    }

    /// Has the node run the command, and waits until it says that it does: sshd takes no input before, and none ever if
    /// it could not start it.
    ///
    /// # Errors
    /// [`TransportError::CommandRefused`], [`TransportError::Lost`].
    pub(super) async fn request(&mut self, command: &str) -> Result<(), TransportError> {
        // `true` asks for a reply: nothing else says whether the command runs.
        self.write.exec(true, command).await.map_err(|error| self.lost.error(&error.to_string()))?;
        loop {
            match self.read.wait().await {
                Some(ChannelMsg::Success) => return Ok(()),
                // OpenSSH answers a failed fork with a failure, and some servers close the channel instead.
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
                // Window adjustments and the like may come before the reply.
                Some(_) => {}
                None => return Err(self.lost.error("it closed before a command was started")),
            }
        }
    }
}

impl Drop for SshCommand {
    fn drop(&mut self) {
        // The library closes no channel by itself, and sshd counts it until it is closed.
        // Without a runtime the connection is gone too, and the channel with it.
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
        // A peer that does not read would block the close; the connection ends the channel anyway.
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
            // The library waits for room in the node's window, and would keep waiting after the connection has ended.
            // In this order, a write that has succeeded is not reported as lost because the connection ended right
            // after it.
            tokio::select! {
                biased;
                sent = &mut sent => return sent.map_err(|error| lost.error(&error.to_string())),
                _ = ended.changed() => return Err(lost.error("it closed while writing to a command")),
                // Reading on keeps a command that writes before it reads from blocking; the bound makes it wait instead
                // of filling memory.
                said = read.wait(), if kept.len() < KEPT => {
                    let Some(said) = said else { return Err(lost.error("it closed while writing to a command")) };
                    let is_over = matches!(said, ChannelMsg::Close);
                    // A node that takes much input opens its window many times: its messages about that must not crowd out the
                    // command's end.
                    if is_about_command(&said) {
                        kept.push_back(said);
                    }
                    // Input to a command that has ended is lost without an error: `next` reports the end.
                    if is_over {
                        return Ok(());
                    }
                }
            }
        }
    }

    #[expect(clippy::wildcard_enum_match_arm, reason = "other messages of a channel are not about the command")]
    async fn next(&mut self) -> Option<OutputPiece> {
        // Kept messages came first, so they are read before new ones.
        while !self.closed {
            let message = match self.kept.pop_front() {
                Some(kept) => kept,
                None => self.read.wait().await?,
            };
            match message {
                ChannelMsg::Data { data } => return Some(OutputPiece::Stdout(data.to_vec())),
                ChannelMsg::ExtendedData { data, ext: 1 } => return Some(OutputPiece::Stderr(data.to_vec())),
                ChannelMsg::ExitStatus { exit_status } => {
                    self.has_ended = true;
                    return Some(OutputPiece::Exit(Some(exit_status)));
                }
                ChannelMsg::ExitSignal { signal_name: name, .. } => {
                    self.has_ended = true;
                    self.signal = Some(signal_name(&name));
                    return Some(OutputPiece::Exit(None));
                }
                ChannelMsg::Close => {
                    self.closed = true;
                    // Some servers close the channel without an exit status; the caller still needs an end.
                    if !self.has_ended {
                        return Some(OutputPiece::Exit(None));
                    }
                }
                // Eof says nothing: the streams end with the channel.
                _ => {}
            }
        }
        None
    }
}

impl SshCommand {
    /// Ends its standard input and lets the node close the channel, as it does once the command has ended; closes it
    /// after a while all the same. The SSH library keeps a record of every channel that this side closes first, for as
    /// long as the connection lasts.
    pub async fn finish(&mut self) {
        let ended = async {
            self.write.eof().await.ok()?;
            // What still comes is read and dropped.
            while !matches!(self.read.wait().await?, ChannelMsg::Close) {}
            Some(())
        };
        if let Ok(Some(())) = timeout(CLOSE_TIME, ended).await {
            self.closed = true;
        } else {
            self.close().await;
        }
    }

    /// An error for a connection that ended under the command.
    pub(super) fn lost(&self, otherwise: &str) -> TransportError {
        self.lost.error(otherwise)
    }
}
