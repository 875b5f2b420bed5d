//! The bytes of a connection, watched.
//!
//! Here live [`WatchedStream`], over any stream to the peer, [`PeerPreamble`], the peer's text before the greeting, and
//! [`PromptTcp`], a TCP stream that acknowledges at once. Uses nothing of ours: its [`StreamKeeper`] is only kept. Invariants: the stream ends when its owner is gone;
//! its keeper (a channel of a bastion, a command) lasts as long as the stream; the text that is kept is bounded.

use std::any::Any;
use std::io;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::sync::oneshot;

/// Whatever leads to the peer and must last as long as the stream over it: a channel of a bastion, a command, or
/// nothing.
pub(super) type StreamKeeper = Box<dyn Any + Send>;

/// The first bytes of a peer, kept until its greeting was seen.
#[derive(Clone, Default)]
pub(super) struct PeerPreamble(Arc<Mutex<Vec<u8>>>);

/// A TCP stream that acknowledges each piece of data as soon as it is read.
///
/// sshd leaves Nagle's algorithm on until it runs a first command, and so holds its next small packet back until its last
/// one is acknowledged. The kernel would delay that by 40 ms, in the hope of data to send along.
pub(super) struct PromptTcp(pub(super) TcpStream);

impl AsyncRead for PromptTcp {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        let polled = Pin::new(&mut self.0).poll_read(cx, buf);
        // The kernel falls back to delays by itself, so it is asked each time. A refusal only makes it slower.
        #[cfg(target_os = "linux")]
        if buf.filled().len() > before
            && let Err(error) = self.0.set_quickack(true)
        {
            tracing::trace!(%error, "TCP_QUICKACK could not be set");
        }
        #[cfg(not(target_os = "linux"))]
        let _ = before;
        polled
    }
}

impl AsyncWrite for PromptTcp {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_shutdown(cx)
    }
}

/// The longest text of a peer that did not greet, in bytes.
const MOST_SHOWN: usize = 200;

impl PeerPreamble {
    /// Its beginning, as text.
    pub(super) fn text(&self) -> String {
        let seen = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        String::from_utf8_lossy(seen.get(..MOST_SHOWN.min(seen.len())).unwrap_or_default()).trim().to_owned()
    }
}

/// A stream that notes whether an SSH greeting was seen, and that ends when its owner is gone: a cancelled
/// connect would otherwise leave the library's own task and its socket behind for as long as the peer is silent.
pub(super) struct WatchedStream<S> {
    inner: S,
    greeted: Arc<AtomicBool>,
    preamble: PeerPreamble,
    _keeper: StreamKeeper,
    /// None once the owner is gone.
    closed: Option<oneshot::Receiver<()>>,
}

impl<S> WatchedStream<S> {
    /// Over `inner`. `greeted` is set once the greeting was seen; when the sender of `closed` is dropped, the stream
    /// ends.
    pub(super) fn new(inner: S, keeper: StreamKeeper, greeted: Arc<AtomicBool>, closed: oneshot::Receiver<()>) -> Self {
        Self { inner, greeted, preamble: PeerPreamble::default(), closed: Some(closed), _keeper: keeper }
    }

    /// Whether its owner is gone. If not, that wakes the task.
    fn is_closed(&mut self, cx: &mut Context<'_>) -> bool {
        // A dropped sender makes the receiver ready, and polling registers the task to be woken by that.
        if self.closed.as_mut().is_some_and(|closed| Pin::new(closed).poll(cx).is_ready()) {
            self.closed = None;
        }
        self.closed.is_none()
    }

    /// The peer's text before its greeting.
    pub(super) fn preamble(&self) -> PeerPreamble {
        self.preamble.clone()
    }
}

/// A greeting may follow other lines (RFC 4253, 4.2); the library gives up long before this many bytes.
const GREETING_LIMIT: usize = 16 * 1024;

impl<S: AsyncRead + Unpin> AsyncRead for WatchedStream<S> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        // An end of the stream makes the library's task end by itself.
        if self.is_closed(cx) {
            return Poll::Ready(Ok(()));
        }
        // `buf` may hold bytes of earlier reads, which were looked at already.
        let before = buf.filled().len();
        let polled = Pin::new(&mut self.inner).poll_read(cx, buf);
        // After the greeting nothing is kept, so that watching costs one load.
        if !self.greeted.load(Ordering::Relaxed) {
            let mut seen = self.preamble.0.lock().unwrap_or_else(PoisonError::into_inner);
            // A peer that talks without end must not fill the memory.
            if seen.len() < GREETING_LIMIT {
                seen.extend_from_slice(buf.filled().get(before..).unwrap_or_default());
                // Other lines may come first (RFC 4253, section 4.2), so each line is looked at. `SSH-1.99` is a server
                // that knows 2.0 as well.
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
