//! The bytes of a connection, watched.
//!
//! Here live [`WatchedStream`], over whatever leads to the peer, and [`PeerPreamble`], its words before the greeting. What always holds: the
//! stream ends when its owner is gone; what leads to the peer (a berth at a bastion, a command) lasts as long as the stream;
//! what is kept of the peer's words is bounded.

use std::io;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::sync::oneshot;

use super::bastion::BastionChannel;
use super::proxy_command::ProxyChild;

/// What lasts as long as the stream over it.
#[expect(dead_code, reason = "kept, not read")]
pub(super) enum StreamOwner {
    Nothing,
    Berth(BastionChannel),
    Child(Arc<ProxyChild>),
}

/// The first words of a peer, kept until its greeting was seen.
#[derive(Clone, Default)]
pub(super) struct PeerPreamble(Arc<Mutex<Vec<u8>>>);

/// So much of what is no greeting is told, in bytes.
const TOLD: usize = 200;

impl PeerPreamble {
    /// The beginning of what was said, as text.
    pub(super) fn text(&self) -> String {
        let seen = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        String::from_utf8_lossy(seen.get(..TOLD.min(seen.len())).unwrap_or_default()).trim().to_owned()
    }
}

/// A stream that tells whether an SSH greeting was seen, and that ends when its owner is gone: a cancelled
/// connect would otherwise leave the library's own task and its socket behind for as long as the peer is silent.
pub(super) struct WatchedStream<S> {
    inner: S,
    greeted: Arc<AtomicBool>,
    seen: PeerPreamble,
    _held: StreamOwner,
    /// None once the owner is gone.
    closed: Option<oneshot::Receiver<()>>,
}

impl<S> WatchedStream<S> {
    /// Over `inner`. `greeted` is set once the greeting was seen; when the sender of `closed` is dropped, the stream ends.
    pub(super) fn new(inner: S, held: StreamOwner, greeted: Arc<AtomicBool>, closed: oneshot::Receiver<()>) -> Self {
        Self { inner, greeted, seen: PeerPreamble::default(), closed: Some(closed), _held: held }
    }

    /// Whether its owner is gone. If not, that wakes the task.
    fn is_closed(&mut self, cx: &mut Context<'_>) -> bool {
        if self.closed.as_mut().is_some_and(|closed| Pin::new(closed).poll(cx).is_ready()) {
            self.closed = None;
        }
        self.closed.is_none()
    }

    /// What the peer says before its greeting.
    pub(super) fn seen(&self) -> PeerPreamble {
        self.seen.clone()
    }
}

/// A greeting may follow other lines (RFC 4253, 4.2); the library gives up long before this many bytes.
const GREETING_LIMIT: usize = 16 * 1024;

impl<S: AsyncRead + Unpin> AsyncRead for WatchedStream<S> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        if self.is_closed(cx) {
            return Poll::Ready(Ok(()));
        }
        let before = buf.filled().len();
        let polled = Pin::new(&mut self.inner).poll_read(cx, buf);
        if !self.greeted.load(Ordering::Relaxed) {
            let mut seen = self.seen.0.lock().unwrap_or_else(PoisonError::into_inner);
            if seen.len() < GREETING_LIMIT {
                seen.extend_from_slice(buf.filled().get(before..).unwrap_or_default());
                if seen
                    .split(|byte| *byte == b'\n')
                    .any(|line| line.starts_with(b"SSH-2.0") || line.starts_with(b"SSH-1.99"))
                {
                    self.greeted.store(true, Ordering::Relaxed);
                    *seen = Vec::new();
                }
            }
        }
        polled
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for WatchedStream<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        // A peer that takes nothing would hold it for good.
        if self.is_closed(cx) {
            return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into()));
        }
        Pin::new(&mut self.inner).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_shutdown(cx)
    }
}
