//! The beginning of an SSH connection: greetings, key exchange, the host's key.
//!
//! Here lives [`KeyExchange`]. Invariants: dropping one ends its connection; until the peer has greeted, it gets
//! nothing but our own greeting, so of several that are tried at once only the chosen one costs a login; a
//! key that is not accepted ends it.

use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, PoisonError};
use std::task::{Context, Poll};

use futures_util::FutureExt;
use futures_util::future::{BoxFuture, MaybeDone, maybe_done};
use russh::client::{self, Handle};
use russh::keys::PublicKey;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::{oneshot, watch};

use super::handler::{ClientHandler, HandlerNotes};
use super::stream::{PeerPreamble, StreamKeeper, WatchedStream};
use crate::endpoint::Endpoint;
use crate::error::TransportError;
use crate::host_keys::HostKeyStore;

/// The settings of every handshake with an endpoint.
#[derive(Clone)]
pub(super) struct HandshakeConfig {
    pub(super) config: Arc<client::Config>,
    pub(super) keys: Arc<HostKeyStore>,
    /// Only the host's key is wanted.
    pub(super) only_probe: bool,
}

/// A connection on which the key exchange is under way.
pub(super) struct KeyExchange {
    connecting: MaybeDone<BoxFuture<'static, Result<Handle<ClientHandler>, russh::Error>>>,
    greeted: Arc<AtomicBool>,
    preamble: PeerPreamble,
    notes: Arc<HandlerNotes>,
    alive: oneshot::Sender<()>,
    ended: watch::Receiver<()>,
}

/// How a handshake ended that did not fail.
pub(super) enum HandshakeEnd {
    /// The login comes next. The connection ends when `alive` is dropped; the sender of `ended` is gone once it has
    /// ended.
    Connection {
        handle: Handle<ClientHandler>,
        notes: Arc<HandlerNotes>,
        alive: oneshot::Sender<()>,
        ended: watch::Receiver<()>,
    },
    /// The key that was wanted, and nothing more.
    Key(PublicKey),
}

impl KeyExchange {
    pub(super) fn start<S>(endpoint: &Endpoint, terms: &HandshakeConfig, stream: S, keeper: StreamKeeper) -> Self
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let greeted = Arc::new(AtomicBool::new(false));
        // The sender stays with this value, so that dropping it ends the stream, and the library's task with it.
        let (alive, closed) = oneshot::channel();
        let stream = WatchedStream::new(stream, keeper, Arc::clone(&greeted), closed);
        let preamble = stream.preamble();
        let notes = Arc::<HandlerNotes>::default();
        // The handler holds the sender, which the library drops with its task: that is the end of the connection.
        let (lives, ended) = watch::channel(());
        let handler = ClientHandler {
            keys: Arc::clone(&terms.keys),
            settings: Arc::clone(&endpoint.host_keys),
            host: endpoint.host.clone(),
            port: endpoint.port,
            only_probe: terms.only_probe,
            notes: Arc::clone(&notes),
            _lives: lives,
        };
        // `maybe_done` keeps a result that came while only the greeting was waited for.
        let connecting = maybe_done(client::connect_stream(Arc::clone(&terms.config), stream, handler).boxed());
        Self { connecting, greeted, preamble, notes, alive, ended }
    }

    /// Waits for the greeting.
    ///
    /// # Errors
    /// [`TransportError::TurnedAway`] if the peer closed the connection without a word, [`TransportError::Banner`] if
    /// it said something else.
    pub(super) async fn greeting(&mut self, endpoint: &Endpoint) -> Result<(), TransportError> {
        std::future::poll_fn(|cx| self.poll_greeting(cx)).await;
        // The flag first: the exchange may have failed after a good greeting, and `finish` reports that.
        if self.greeted.load(Ordering::Relaxed) {
            return Ok(());
        }
        let error = match Pin::new(&mut self.connecting).take_output() {
            Some(Err(error)) => error,
            Some(Ok(_)) | None => russh::Error::Disconnect,
        };
        Err(greeting_error(endpoint, &self.preamble.text(), &error))
    }

    /// Ready with the greeting, or with the end of the connection. The greeting is seen in the very poll in which the
    /// library reads it, so a caller that drops the other attempts then drops them before they come further.
    fn poll_greeting(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let ended = Pin::new(&mut self.connecting).poll(cx);
        if self.greeted.load(Ordering::Relaxed) { Poll::Ready(()) } else { ended }
    }

    /// Goes on after the greeting until keys are exchanged and the host's key is accepted, or seen.
    ///
    /// # Errors
    /// The error of the host's key, if it was not accepted; otherwise `failed` with the error of the library.
    pub(super) async fn finish(
        mut self,
        failed: impl FnOnce(&russh::Error) -> TransportError,
    ) -> Result<HandshakeEnd, TransportError> {
        (&mut self.connecting).await;
        // `greeting` takes the output only when it fails, so it is still there.
        let ended = Pin::new(&mut self.connecting).take_output().unwrap_or(Err(russh::Error::Disconnect));
        let error = match ended {
            Ok(handle) => {
                let Self { notes, alive, ended, .. } = self;
                return Ok(HandshakeEnd::Connection { handle, notes, alive, ended });
            }
            Err(error) => error,
        };
        // A probe refuses every key, so its success is an error of the library.
        if let Some(key) = self.notes.shown.lock().unwrap_or_else(PoisonError::into_inner).take() {
            return Ok(HandshakeEnd::Key(key));
        }
        // The verdict about the key is the cause; the library's error is only its effect.
        let judged = self.notes.verdict.lock().unwrap_or_else(PoisonError::into_inner).take();
        Err(judged.unwrap_or_else(|| failed(&error)))
    }
}

/// The error for a peer that did not greet; `said` is the text that came instead.
fn greeting_error(endpoint: &Endpoint, said: &str, error: &russh::Error) -> TransportError {
    let (host, port) = (endpoint.host.clone(), endpoint.port);
    let closed =
        matches!(error, russh::Error::Disconnect | russh::Error::HUP | russh::Error::IO(_) | russh::Error::Join(_));
    // sshd closes without a word at MaxStartups; newer versions say "Exceeded MaxStartups" first.
    if said.is_empty() && closed || said.contains("MaxStartups") {
        return TransportError::TurnedAway { host, port };
    }
    let reason = if said.is_empty() {
        format!("no SSH greeting came ({error})")
    } else {
        format!("what answered is not an SSH server; it said: {}", said.escape_debug())
    };
    TransportError::Banner { host, port, reason }
}
