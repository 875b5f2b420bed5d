//! A command over a connection that is kept.
//!
//! Here lives [`KeptCommand`]. Invariants: writing reads on meanwhile, so that neither side waits for the other;
//! the data held meanwhile is bounded; the channel on the node is closed when this is dropped.

use std::collections::VecDeque;
use std::sync::Arc;

use ctl_transport::{OutputPiece, RemoteCommand, TransportError};
use tokio::net::UnixStream;
use tokio::net::unix::{OwnedReadHalf, OwnedWriteHalf};
use tracing::debug;

use crate::client::Attachment;
use crate::frames::{LONGEST_PIECE, PieceReader, StreamPiece, send_piece};
use crate::protocol::piece;

/// Pieces of output that are kept while something is written.
const KEPT: usize = 64;

/// A command, and its streams.
pub(crate) struct KeptCommand {
    read: PieceReader<OwnedReadHalf>,
    write: OwnedWriteHalf,
    /// Pieces that came while something was written.
    kept: VecDeque<StreamPiece>,
    attachment: Arc<Attachment>,
    signal: Option<String>,
    /// The stream has ended.
    is_over: bool,
    /// Its streams were closed.
    is_shut: bool,
}

impl KeptCommand {
    pub(crate) fn new(stream: UnixStream, attachment: Arc<Attachment>) -> Self {
        let (read, write) = stream.into_split();
        let (read, kept) = (PieceReader::new(read), VecDeque::new());
        Self { read, write, kept, attachment, signal: None, is_over: false, is_shut: false }
    }

    /// An error for a connection that ended under the command.
    pub(crate) fn loss(&self, otherwise: &str) -> TransportError {
        self.attachment.loss(otherwise)
    }
}

impl RemoteCommand for KeptCommand {
    async fn write(&mut self, bytes: &[u8]) -> Result<(), TransportError> {
        for bytes in bytes.chunks(LONGEST_PIECE) {
            let Self { read, write, kept, attachment, is_over, .. } = self;
            let sent = send_piece(write, piece::INPUT, bytes);
            tokio::pin!(sent);
            loop {
                // In this order, a write that has succeeded is not reported as lost because the stream ended right
                // after it.
                tokio::select! {
                    biased;
                    sent = &mut sent => match sent {
                        Ok(()) => break,
                        // Input to a command that has ended is lost without an error: `next` reports the end.
                        Err(_) if !attachment.is_closed() => return Ok(()),
                        Err(error) => return Err(attachment.loss(&error.to_string())),
                    },
                    said = read.next(), if kept.len() < KEPT && !*is_over => match said {
                        Ok(Some(frame)) => kept.push_back(frame),
                        Ok(None) | Err(_) => *is_over = true,
                    },
                }
            }
        }
        Ok(())
    }

    async fn next(&mut self) -> Option<OutputPiece> {
        loop {
            let frame = match self.kept.pop_front() {
                Some(frame) => frame,
                None if self.is_over => return None,
                None => match self.read.next().await {
                    Ok(Some(frame)) => frame,
                    Ok(None) => return None,
                    Err(error) => {
                        debug!(%error, "the stream of a command");
                        return None;
                    }
                },
            };
            let StreamPiece { kind, bytes } = frame;
            match kind {
                piece::STDOUT => return Some(OutputPiece::Stdout(bytes)),
                piece::STDERR => return Some(OutputPiece::Stderr(bytes)),
                piece::EXIT => {
                    let code = <[u8; 4]>::try_from(bytes).map(u32::from_be_bytes);
                    return Some(OutputPiece::Exit(code.ok()));
                }
                piece::SIGNAL => {
                    self.signal = String::from_utf8(bytes).ok().filter(|name| !name.is_empty());
                    return Some(OutputPiece::Exit(None));
                }
                // The holder sends nothing else.
                _ => debug!(kind, "an unknown piece"),
            }
        }
    }

    fn signal(&self) -> Option<&str> {
        self.signal.as_deref()
    }

    async fn close(&mut self) {
        if std::mem::replace(&mut self.is_shut, true) {
            return;
        }
        if let Err(error) = send_piece(&mut self.write, piece::CLOSE, &[]).await {
            debug!(%error, "cannot close a channel");
        }
    }
}
