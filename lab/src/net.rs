//! The nodes' listeners: normal ones, refusing ones, and ones that drop connects.
//!
//! Invariants: only addresses in 127/8 are bound; a change of a node's faults changes its listener at once; everything
//! ends when the lab is dropped.

use std::io;
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4};
use std::sync::Arc;
use std::time::Duration;

use socket2::SockRef;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpSocket, TcpStream};

use crate::conn::CutStream;
use crate::fault::Fault;
use crate::node::NodeInner;
use crate::shared::Shared;
use crate::sshd::{self, Login};

/// The normal backlog of a listener, in connections.
const QUEUE: i32 = 1024;

/// Binds a listener with a normal backlog.
pub(crate) fn bind(address: Ipv4Addr, port: u16) -> io::Result<TcpListener> {
    bound(address, port)?.listen(QUEUE.unsigned_abs())
}

fn bound(address: Ipv4Addr, port: u16) -> io::Result<TcpSocket> {
    let socket = TcpSocket::new_v4()?;
    socket.set_reuseaddr(true)?;
    socket.bind(SocketAddr::V4(SocketAddrV4::new(address, port)))?;
    Ok(socket)
}

/// The mode of a node's listener.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Mode {
    Open,
    Refused,
    BlackHole,
}

fn mode(shared: &Shared) -> Mode {
    let faults = shared.faults();
    if faults.has(&Fault::Refused) {
        Mode::Refused
    } else if faults.has(&Fault::BlackHole) || faults.has(&Fault::Freeze) {
        Mode::BlackHole
    } else {
        Mode::Open
    }
}

/// A listener with a full backlog, so that the kernel drops further SYNs. It stays full only while this value lives.
struct BlackHole {
    listener: TcpListener,
    _queued: Vec<TcpStream>,
}

impl BlackHole {
    /// Turns a working listener into a black hole. The listener is never closed, so that no connect is refused
    /// meanwhile, and no other process can take the port.
    async fn dig(listener: TcpListener) -> io::Result<Self> {
        SockRef::from(&listener).listen(0)?;
        let address = listener.local_addr()?;
        let mut queued = Vec::new();
        // Connect until a connect hangs; Linux accepts one or two with a backlog of zero.
        for _ in 0..8 {
            match tokio::time::timeout(Duration::from_millis(50), TcpStream::connect(address)).await {
                Ok(Ok(stream)) => queued.push(stream),
                Ok(Err(error)) => return Err(error),
                Err(_) => break,
            }
        }
        Ok(Self { listener, _queued: queued })
    }

    /// The listener, with a normal backlog again.
    fn filled(self) -> io::Result<TcpListener> {
        SockRef::from(&self.listener).listen(QUEUE)?;
        Ok(self.listener)
    }
}

/// The socket that holds a node's port.
enum Port {
    Listening(TcpListener),
    /// Bound, so that no other process takes the port, but not listening, so that connects are refused.
    Refusing(TcpSocket),
    Hole(BlackHole),
}

impl Port {
    /// Switches to another mode.
    async fn turned(self, mode: Mode, address: Ipv4Addr, port: u16) -> io::Result<Self> {
        let listener = match self {
            Self::Listening(listener) => listener,
            Self::Refusing(socket) => socket.listen(QUEUE.unsigned_abs())?,
            Self::Hole(hole) => hole.filled()?,
        };
        match mode {
            Mode::Open => Ok(Self::Listening(listener)),
            Mode::Refused => {
                drop(listener);
                Ok(Self::Refusing(bound(address, port)?))
            }
            Mode::BlackHole => Ok(Self::Hole(BlackHole::dig(listener).await?)),
        }
    }

    fn mode(&self) -> Mode {
        match self {
            Self::Listening(_) => Mode::Open,
            Self::Refusing(_) => Mode::Refused,
            Self::Hole(_) => Mode::BlackHole,
        }
    }
}

/// Runs a node's listener until the lab is dropped. `listener` is already bound.
pub(crate) async fn run(node: Arc<NodeInner>, login: Arc<Login>, listener: TcpListener) {
    let mut changed = node.shared.faults_changed.subscribe();
    let mut port = Some(Port::Listening(listener));
    loop {
        let version = *changed.borrow_and_update();
        let wanted = mode(&node.shared);
        if port.as_ref().map(Port::mode) != Some(wanted) {
            let held = port.take().map_or_else(|| bound(node.address, node.port).map(Port::Refusing), Ok);
            let turned = async { held?.turned(wanted, node.address, node.port).await };
            port =
                turned.await.inspect_err(|error| tracing::error!(%error, ?wanted, "the listener cannot follow")).ok();
        }
        node.shared.listening.send_replace(Some(version));
        tokio::select! {
            () = node.shared.until_closing() => return,
            end = changed.changed() => if end.is_err() { return },
            accepted = accept(port.as_ref()) => match accepted {
                // The port is about to close. A client that connected just before is rejected anyway.
                Ok(_) if mode(&node.shared) == Mode::Refused => {}
                Ok(stream) => {
                    tokio::spawn(connection(Arc::clone(&node), Arc::clone(&login), stream));
                }
                Err(error) => {
                    // Most likely there are no descriptors left; other connections may end soon.
                    tracing::warn!(%error, "accept");
                    tokio::time::sleep(Duration::from_millis(20)).await;
                }
            },
        }
    }
}

async fn accept(port: Option<&Port>) -> io::Result<TcpStream> {
    match port {
        Some(Port::Listening(listener)) => listener.accept().await.map(|(stream, _)| stream),
        Some(Port::Refusing(_) | Port::Hole(_)) | None => std::future::pending().await,
    }
}

async fn connection(node: Arc<NodeInner>, login: Arc<Login>, mut stream: TcpStream) {
    let shared = Arc::clone(&node.shared);
    let switch = shared.opened();
    let faults = shared.faults();
    // Nagle's delay would distort measurements; the connection also works with it.
    let _slow = stream.set_nodelay(true).is_err();
    if faults.has(&Fault::CloseBeforeBanner) {
        drop(stream);
    } else if faults.has(&Fault::SilentAfterAccept) {
        silence(&shared, &mut stream).await;
    } else if faults.has(&Fault::GarbageBanner) {
        let garbage = b"\x00\xff\x16\x03\x01HTTP/1.1 200 OK\r\n\r\n\x1b[31mnot ssh\r\n".repeat(20);
        if stream.write_all(&garbage).await.is_ok() {
            silence(&shared, &mut stream).await;
        }
    } else {
        let stream = CutStream::new(stream, Arc::clone(&switch)).silent_after(faults.silent_after());
        tokio::select! {
            () = sshd::serve(node, login, stream) => {}
            () = shared.until_closing() => switch.turn(crate::conn::CutKind::Reset),
        }
    }
    shared.closed();
}

/// Reads and sends nothing until the peer or the lab closes the connection.
async fn silence(shared: &Shared, stream: &mut TcpStream) {
    let mut sink = [0; 1024];
    let swallow = async { while matches!(stream.read(&mut sink).await, Ok(n) if n > 0) {} };
    tokio::select! {
        () = swallow => {}
        () = shared.until_closing() => {}
    }
}
