//! Sessions over connections that the holder keeps, and the transport that chooses.
//!
//! Here live [`NodeTransport`] and [`NodeSession`]: over a kept connection where the endpoint says so, else over one of
//! this process. Invariants: a kept connection that died before anything was done over it is replaced without a
//! word; a command that may have started is never started twice.

use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::{io, mem};

use ctl_transport::{
    Endpoint, ExecOutput, OutputPiece, RemoteCommand, Session, SshCommand, SshSession, SshTransport, Transport,
    TransportError, collect,
};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::UnixStream;
use tracing::debug;

use crate::client::{Attachment, HolderError, HolderLink, HolderProgram};
use crate::command::KeptCommand;
use crate::protocol::{ChannelRequest, HolderReply, HolderRequest};

/// The reason of a loss where there is no better one.
const HOLDER_GONE: &str = "the process that keeps connections has ended";

/// Opens sessions: over connections that are kept where the endpoint says so.
pub struct NodeTransport {
    direct: SshTransport,
    link: Option<Arc<HolderLink>>,
    has_warned: AtomicBool,
}

impl std::fmt::Debug for NodeTransport {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("NodeTransport").field("keeps", &self.link.is_some()).finish_non_exhaustive()
    }
}

impl NodeTransport {
    /// Over `direct`, and over connections that `holder` keeps, if it is given.
    #[must_use]
    pub fn new(direct: SshTransport, holder: Option<HolderProgram>) -> Self {
        let link = holder.map(|program| Arc::new(HolderLink::new(program, direct.clone())));
        Self { direct, link, has_warned: AtomicBool::new(false) }
    }

    /// The transport for connections of this process, which also has the secrets of all.
    #[must_use]
    pub fn direct(&self) -> &SshTransport {
        &self.direct
    }

    /// Of each endpoint, whether it has a connection that would be used, so that nobody needs to log in. Those that do
    /// not answer do not count if `checked`.
    pub async fn kept(&self, endpoints: &[&Endpoint], checked: bool) -> Vec<bool> {
        let wanted: Vec<&Endpoint> = endpoints.iter().copied().filter(|endpoint| endpoint.keep.is_some()).collect();
        let Some(link) = self.link.as_ref().filter(|_| !wanted.is_empty()) else { return vec![false; endpoints.len()] };
        let mut kept = match link.kept(&wanted, checked).await {
            Ok(kept) => kept.into_iter(),
            Err(error) => {
                self.warn(&error);
                return vec![false; endpoints.len()];
            }
        };
        endpoints.iter().map(|endpoint| endpoint.keep.is_some() && kept.next().is_some_and(|kept| kept)).collect()
    }

    /// Says once that nothing is kept.
    fn warn(&self, error: &HolderError) {
        if !self.has_warned.swap(true, Ordering::Relaxed) {
            self.direct.notify(format!("connections are not kept: {error}"));
        }
    }
}

impl Transport for NodeTransport {
    type Session = NodeSession;

    async fn connect(&self, endpoint: &Endpoint) -> Result<NodeSession, TransportError> {
        if let Some(link) = self.link.as_ref().filter(|_| endpoint.keep.is_some()) {
            match Box::pin(KeptNode::attach(link, endpoint)).await {
                Ok(attached) => return attached.map(|node| NodeSession(SessionKind::Kept(Box::new(node)))),
                // The command does its work without.
                Err(error) => self.warn(&error),
            }
        }
        let session = self.direct.connect(endpoint).await?;
        Ok(NodeSession(SessionKind::Direct(Box::new(session))))
    }
}

/// A session over a connection of this process or over one that is kept.
#[derive(Debug)]
pub struct NodeSession(SessionKind);

#[derive(Debug)]
enum SessionKind {
    Direct(Box<SshSession>),
    Kept(Box<KeptNode>),
}

/// A byte stream to something on a node.
pub struct NodeStream(StreamKind);

enum StreamKind {
    Direct(Box<<SshSession as Session>::Stream>),
    Kept(UnixStream),
}

/// A command that runs on a node.
pub struct ConnectionCommand(CommandKind);

enum CommandKind {
    Direct(Box<SshCommand>),
    Kept(Box<KeptCommand>),
}

/// A node over a connection that is kept.
struct KeptNode {
    link: Arc<HolderLink>,
    endpoint: Endpoint,
    /// Replaced if the connection died before it was used.
    current: Mutex<Arc<Attachment>>,
    /// Held while it is replaced.
    replacing: tokio::sync::Mutex<()>,
}

impl std::fmt::Debug for KeptNode {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("KeptNode").field("host", &self.endpoint.host).finish_non_exhaustive()
    }
}

impl KeptNode {
    async fn attach(link: &Arc<HolderLink>, endpoint: &Endpoint) -> Result<Result<Self, TransportError>, HolderError> {
        Ok(link.attach(endpoint).await?.map(|(attachment, is_reused)| {
            debug!(host = endpoint.host, is_reused, "a connection that is kept");
            let current = Mutex::new(Arc::new(attachment));
            Self {
                link: Arc::clone(link),
                endpoint: endpoint.clone(),
                current,
                replacing: tokio::sync::Mutex::default(),
            }
        }))
    }

    fn current(&self) -> Arc<Attachment> {
        Arc::clone(&self.current.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Opens a channel; over another connection if the one that was kept turns out to be dead.
    async fn open(&self, channel: ChannelRequest) -> Result<UnixStream, TransportError> {
        let mut attachment = self.current();
        // Twice, since the second connection is a new one.
        for _ in 0..2 {
            let request = HolderRequest::Open { session: attachment.session(), channel: channel.clone() };
            match attachment.ask(&request).await {
                Ok((stream, HolderReply::Opened)) => return Ok(stream),
                Ok((_, HolderReply::Failed(error))) => return Err(error),
                Ok((_, HolderReply::Gone)) => attachment = self.replace(&attachment).await?,
                Ok(_) => return Err(attachment.loss("an answer that was not expected")),
                Err(error) => {
                    debug!(%error, "no channel");
                    return Err(attachment.loss(HOLDER_GONE));
                }
            }
        }
        Err(attachment.loss(HOLDER_GONE))
    }

    async fn replace(&self, dead: &Arc<Attachment>) -> Result<Arc<Attachment>, TransportError> {
        let _replacing = self.replacing.lock().await;
        let current = self.current();
        // Another channel has replaced it already.
        if !Arc::ptr_eq(&current, dead) {
            return Ok(current);
        }
        debug!(host = self.endpoint.host, "the kept connection is dead; connecting anew");
        match self.link.attach(&self.endpoint).await {
            Ok(Ok((attachment, _))) => {
                let attachment = Arc::new(attachment);
                let mut current = self.current.lock().unwrap_or_else(PoisonError::into_inner);
                drop(mem::replace(&mut *current, Arc::clone(&attachment)));
                Ok(attachment)
            }
            Ok(Err(error)) => Err(error),
            Err(error) => Err(TransportError::Lost { reason: error.to_string() }),
        }
    }

    async fn command(&self, command: &str, is_short: bool) -> Result<KeptCommand, TransportError> {
        let stream = self.open(ChannelRequest::Command { command: command.to_owned(), is_short }).await?;
        Ok(KeptCommand::new(stream, self.current()))
    }

    /// Ends once the holder says that the connection has fallen silent.
    async fn falls_silent(&self) {
        let attachment = self.current();
        let asked = attachment.ask(&HolderRequest::AwaitSilence { session: attachment.session() }).await;
        // A connection that is gone, or a holder that is, will not answer any more.
        if let Err(error) = asked {
            debug!(%error, "no sign of life");
        }
    }
}

impl Session for NodeSession {
    type Stream = NodeStream;
    type Command = ConnectionCommand;

    async fn start(&self, command: &str) -> Result<ConnectionCommand, TransportError> {
        Ok(ConnectionCommand(match &self.0 {
            SessionKind::Direct(session) => CommandKind::Direct(Box::new(session.start(command).await?)),
            SessionKind::Kept(node) => CommandKind::Kept(Box::new(node.command(command, false).await?)),
        }))
    }

    async fn exec(
        &self,
        command: &str,
        limit: usize,
        is_whole: impl Fn(&[u8]) -> bool + Send,
    ) -> Result<ExecOutput, TransportError> {
        match &self.0 {
            SessionKind::Direct(session) => session.exec(command, limit, is_whole).await,
            SessionKind::Kept(node) => {
                let mut running = node.command(command, true).await?;
                let output = collect(&mut running, limit, is_whole).await;
                output.ok_or_else(|| running.loss("it closed while a command was running"))
            }
        }
    }

    async fn open_unix(&self, path: &str) -> Result<NodeStream, TransportError> {
        Ok(NodeStream(match &self.0 {
            SessionKind::Direct(session) => StreamKind::Direct(Box::new(session.open_unix(path).await?)),
            SessionKind::Kept(node) => {
                StreamKind::Kept(node.open(ChannelRequest::Unix { path: path.to_owned() }).await?)
            }
        }))
    }

    async fn open_tcp(&self, host: &str, port: u16) -> Result<NodeStream, TransportError> {
        Ok(NodeStream(match &self.0 {
            SessionKind::Direct(session) => StreamKind::Direct(Box::new(session.open_tcp(host, port).await?)),
            SessionKind::Kept(node) => {
                StreamKind::Kept(node.open(ChannelRequest::Tcp { host: host.to_owned(), port }).await?)
            }
        }))
    }

    fn is_closed(&self) -> bool {
        match &self.0 {
            SessionKind::Direct(session) => session.is_closed(),
            SessionKind::Kept(node) => node.current().is_closed(),
        }
    }

    async fn falls_silent(&self) {
        match &self.0 {
            SessionKind::Direct(session) => session.falls_silent().await,
            SessionKind::Kept(node) => node.falls_silent().await,
        }
    }
}

impl RemoteCommand for ConnectionCommand {
    async fn write(&mut self, bytes: &[u8]) -> Result<(), TransportError> {
        match &mut self.0 {
            CommandKind::Direct(command) => command.write(bytes).await,
            CommandKind::Kept(command) => command.write(bytes).await,
        }
    }

    async fn next(&mut self) -> Option<OutputPiece> {
        match &mut self.0 {
            CommandKind::Direct(command) => command.next().await,
            CommandKind::Kept(command) => command.next().await,
        }
    }

    fn signal(&self) -> Option<&str> {
        match &self.0 {
            CommandKind::Direct(command) => command.signal(),
            CommandKind::Kept(command) => command.signal(),
        }
    }

    async fn close(&mut self) {
        match &mut self.0 {
            CommandKind::Direct(command) => command.close().await,
            CommandKind::Kept(command) => command.close().await,
        }
    }
}

impl AsyncRead for NodeStream {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        match &mut self.0 {
            StreamKind::Direct(stream) => Pin::new(stream).poll_read(cx, buf),
            StreamKind::Kept(stream) => Pin::new(stream).poll_read(cx, buf),
        }
    }
}

impl AsyncWrite for NodeStream {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        match &mut self.0 {
            StreamKind::Direct(stream) => Pin::new(stream).poll_write(cx, buf),
            StreamKind::Kept(stream) => Pin::new(stream).poll_write(cx, buf),
        }
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.0 {
            StreamKind::Direct(stream) => Pin::new(stream).poll_flush(cx),
            StreamKind::Kept(stream) => Pin::new(stream).poll_flush(cx),
        }
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.0 {
            StreamKind::Direct(stream) => Pin::new(stream).poll_shutdown(cx),
            StreamKind::Kept(stream) => Pin::new(stream).poll_shutdown(cx),
        }
    }
}
