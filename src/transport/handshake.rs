//! The beginning of an SSH connection: greetings, key exchange, the host's key.
//!
//! Here lives [`KeyExchange`]. What always holds: dropping one ends its connection; until it has greeted, the peer has got
//! nothing but our own greeting, so of several that are tried at once only the one that is gone on with costs a login; a
//! key that is not accepted ends it.

use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};

use futures_util::FutureExt;
use futures_util::future::{BoxFuture, MaybeDone, maybe_done};
use russh::client::{self, Handle};
use russh::keys::{PublicKey, PublicKeyOrCertificate};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::{oneshot, watch};
use tracing::debug;

use super::TransportError;
use super::auth;
use super::endpoint::{Endpoint, HostKeySettings};
use super::host_keys::HostKeyStore;
use super::watched_stream::{PeerPreamble, StreamOwner, WatchedStream};

/// What the library is given for every connection of an endpoint.
#[derive(Clone)]
pub(super) struct HandshakeConfig {
    pub(super) config: Arc<client::Config>,
    pub(super) keys: Arc<HostKeyStore>,
    /// The host's key is only to be seen.
    pub(super) only_look: bool,
}

/// A connection on which the key exchange is under way.
pub(super) struct KeyExchange {
    connecting: MaybeDone<BoxFuture<'static, Result<Handle<ClientHandler>, russh::Error>>>,
    greeted: Arc<AtomicBool>,
    seen: PeerPreamble,
    notes: Arc<HandlerNotes>,
    alive: oneshot::Sender<()>,
    ended: watch::Receiver<()>,
}

/// What the library's callbacks have to say.
#[derive(Default)]
pub(super) struct HandlerNotes {
    /// Why the host's key was not accepted.
    verdict: Mutex<Option<TransportError>>,
    /// The key that was only to be seen.
    shown: Mutex<Option<PublicKey>>,
    /// How the connection ended.
    pub(super) lost: Arc<Mutex<Option<String>>>,
    /// What the host says to whoever logs in.
    pub(super) banner: Mutex<Option<String>>,
}

/// How a handshake ended that did not fail.
pub(super) enum HandshakeEnd {
    /// Nobody is logged in yet. It ends when `alive` is dropped; the sender of `ended` is gone once it has ended.
    Connection {
        handle: Handle<ClientHandler>,
        notes: Arc<HandlerNotes>,
        alive: oneshot::Sender<()>,
        ended: watch::Receiver<()>,
    },
    /// The key that was only to be seen.
    Key(PublicKey),
}

impl KeyExchange {
    pub(super) fn start<S>(endpoint: &Endpoint, terms: &HandshakeConfig, stream: S, held: StreamOwner) -> Self
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let greeted = Arc::new(AtomicBool::new(false));
        let (alive, closed) = oneshot::channel();
        let stream = WatchedStream::new(stream, held, Arc::clone(&greeted), closed);
        let seen = stream.seen();
        let notes = Arc::<HandlerNotes>::default();
        let (lives, ended) = watch::channel(());
        let handler = ClientHandler {
            keys: Arc::clone(&terms.keys),
            settings: Arc::clone(&endpoint.host_keys),
            host: endpoint.host.clone(),
            port: endpoint.port,
            only_look: terms.only_look,
            notes: Arc::clone(&notes),
            _lives: lives,
        };
        let connecting = maybe_done(client::connect_stream(Arc::clone(&terms.config), stream, handler).boxed());
        Self { connecting, greeted, seen, notes, alive, ended }
    }

    /// Waits for the greeting.
    ///
    /// # Errors
    /// [`TransportError::TurnedAway`] if the peer closed the connection without a word, [`TransportError::Banner`] if it
    /// said something else.
    pub(super) async fn greeting(&mut self, endpoint: &Endpoint) -> Result<(), TransportError> {
        std::future::poll_fn(|cx| self.poll_greeting(cx)).await;
        if self.greeted.load(Ordering::Relaxed) {
            return Ok(());
        }
        let error = match Pin::new(&mut self.connecting).take_output() {
            Some(Err(error)) => error,
            Some(Ok(_)) | None => russh::Error::Disconnect,
        };
        Err(greeting_error(endpoint, &self.seen.text(), &error))
    }

    /// Ready with the greeting, or with the end of the connection. The greeting is seen in the very poll in which the library
    /// reads it, so whoever drops the other attempts then drops them before they come further.
    fn poll_greeting(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let ended = Pin::new(&mut self.connecting).poll(cx);
        if self.greeted.load(Ordering::Relaxed) { Poll::Ready(()) } else { ended }
    }

    /// Goes on after the greeting until keys are exchanged and the host's key is accepted, or seen.
    ///
    /// # Errors
    /// What the host's key was judged to be; otherwise `failed` of what the library says.
    pub(super) async fn finish(
        mut self,
        failed: impl FnOnce(&russh::Error) -> TransportError,
    ) -> Result<HandshakeEnd, TransportError> {
        (&mut self.connecting).await;
        let ended = Pin::new(&mut self.connecting).take_output().unwrap_or(Err(russh::Error::Disconnect));
        let error = match ended {
            Ok(handle) => {
                let Self { notes, alive, ended, .. } = self;
                return Ok(HandshakeEnd::Connection { handle, notes, alive, ended });
            }
            Err(error) => error,
        };
        if let Some(key) = self.notes.shown.lock().unwrap_or_else(PoisonError::into_inner).take() {
            return Ok(HandshakeEnd::Key(key));
        }
        let judged = self.notes.verdict.lock().unwrap_or_else(PoisonError::into_inner).take();
        Err(judged.unwrap_or_else(|| failed(&error)))
    }
}

/// `said` is what came instead of a greeting.
fn greeting_error(endpoint: &Endpoint, said: &str, error: &russh::Error) -> TransportError {
    let (host, port) = (endpoint.host.clone(), endpoint.port);
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
    TransportError::Banner { host, port, reason }
}

/// The library's callbacks.
pub(super) struct ClientHandler {
    keys: Arc<HostKeyStore>,
    settings: Arc<HostKeySettings>,
    host: String,
    port: u16,
    only_look: bool,
    notes: Arc<HandlerNotes>,
    /// Gone with the connection.
    _lives: watch::Sender<()>,
}

impl client::Handler for ClientHandler {
    type Error = russh::Error;

    async fn check_server_key(&mut self, key: &PublicKeyOrCertificate) -> Result<bool, russh::Error> {
        if self.only_look {
            *self.notes.shown.lock().unwrap_or_else(PoisonError::into_inner) = Some(key.public_key());
            return Ok(false);
        }
        let judged = self.keys.judge(&self.settings, &self.host, self.port, key).await;
        let accepted = judged.is_ok();
        *self.notes.verdict.lock().unwrap_or_else(PoisonError::into_inner) = judged.err();
        Ok(accepted)
    }

    async fn auth_banner(&mut self, banner: &str, _session: &mut client::Session) -> Result<(), russh::Error> {
        let words = auth::words(banner);
        debug!(host = self.host, "the node says: {words}");
        *self.notes.banner.lock().unwrap_or_else(PoisonError::into_inner) = Some(words);
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
        *self.notes.lost.lock().unwrap_or_else(PoisonError::into_inner) = Some(text);
        Ok(())
    }
}
