//! The bytes of a connection, watched.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::sync::oneshot;

/// A stream that tells whether an SSH greeting was seen, and that ends when its owner is gone: a cancelled
/// connect would otherwise leave the library's own task and its socket behind for as long as the peer is silent.
pub(super) struct Wire<S> {
    inner: S,
    greeted: Arc<AtomicBool>,
    /// The first bytes, until a greeting was found in them.
    seen: Vec<u8>,
    /// None once the owner is gone.
    closed: Option<oneshot::Receiver<()>>,
}

impl<S> Wire<S> {
    /// Over `inner`. `greeted` is set once the greeting was seen; when the sender of `closed` is dropped, the stream ends.
    pub(super) fn new(inner: S, greeted: Arc<AtomicBool>, closed: oneshot::Receiver<()>) -> Self {
        Self { inner, greeted, seen: Vec::new(), closed: Some(closed) }
    }
}

/// A greeting may follow other lines (RFC 4253, 4.2); the library gives up long before this many bytes.
const GREETING_LIMIT: usize = 16 * 1024;

impl<S: AsyncRead + Unpin> AsyncRead for Wire<S> {
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

impl<S: AsyncWrite + Unpin> AsyncWrite for Wire<S> {
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
