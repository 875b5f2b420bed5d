//! A TCP stream that can be cut or frozen from outside, so that the lab can simulate a broken network.
//!
//! Invariants: a cut stream ends for both sides at once; a frozen one moves no byte until it is cut or thawed, and its
//! peer sees neither data nor an end.

use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Waker};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;

use crate::util::lock;

/// The condition of a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum CutKind {
    /// Works normally.
    #[default]
    Live,
    /// No byte moves.
    Frozen,
    /// It has ended.
    Reset,
}

#[derive(Debug, Default)]
struct ConnectionState {
    kind: CutKind,
    readers: Option<Waker>,
    writers: Option<Waker>,
}

/// The handle that cuts, freezes or thaws a connection.
#[derive(Debug, Default)]
pub(crate) struct Switch(Mutex<ConnectionState>);

impl Switch {
    /// Changes the condition of the connection. A reset connection stays reset.
    pub(crate) fn turn(&self, kind: CutKind) {
        let wakers = {
            let mut state = lock(&self.0);
            if state.kind != CutKind::Reset {
                state.kind = kind;
            }
            [state.readers.take(), state.writers.take()]
        };
        wakers.into_iter().flatten().for_each(Waker::wake);
    }

    fn check(&self, cx: &Context<'_>, reading: bool) -> CutKind {
        let mut state = lock(&self.0);
        let waker = Some(cx.waker().clone());
        if reading {
            state.readers = waker;
        } else {
            state.writers = waker;
        }
        state.kind
    }
}

/// The stream.
pub(crate) struct CutStream {
    stream: TcpStream,
    switch: Arc<Switch>,
    /// The number of writes that still go out; later ones are dropped. `None`: all go out.
    left: Option<u32>,
}

impl CutStream {
    pub(crate) fn new(stream: TcpStream, switch: Arc<Switch>) -> Self {
        Self { stream, switch, left: None }
    }

    /// The same stream, with a limit on the number of writes that go out.
    pub(crate) fn silent_after(self, left: Option<u32>) -> Self {
        Self { left, ..self }
    }
}

fn reset() -> io::Error {
    io::Error::from(io::ErrorKind::ConnectionReset)
}

impl AsyncRead for CutStream {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        match self.switch.check(cx, true) {
            CutKind::Reset => Poll::Ready(Err(reset())),
            CutKind::Frozen => Poll::Pending,
            CutKind::Live => Pin::new(&mut self.stream).poll_read(cx, buf),
        }
    }
}

impl AsyncWrite for CutStream {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        match self.switch.check(cx, false) {
            CutKind::Reset => Poll::Ready(Err(reset())),
            CutKind::Frozen => Poll::Pending,
            CutKind::Live if self.left == Some(0) => Poll::Ready(Ok(buf.len())),
            CutKind::Live => {
                let written = Pin::new(&mut self.stream).poll_write(cx, buf);
                if let (Poll::Ready(Ok(_)), Some(left)) = (&written, &mut self.left) {
                    *left -= 1;
                }
                written
            }
        }
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.switch.check(cx, false) {
            CutKind::Reset => Poll::Ready(Err(reset())),
            CutKind::Frozen => Poll::Pending,
            CutKind::Live => Pin::new(&mut self.stream).poll_flush(cx),
        }
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.switch.check(cx, false) {
            CutKind::Frozen => Poll::Pending,
            CutKind::Live | CutKind::Reset => Pin::new(&mut self.stream).poll_shutdown(cx),
        }
    }
}
