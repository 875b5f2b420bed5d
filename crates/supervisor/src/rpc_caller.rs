//! XML-RPC calls to one supervisord, over a stream that sshd forwards or that the node's relay opens.
//!
//! Here lives [`RpcCaller`]; it knows HTTP and XML-RPC, and none of supervisord's methods (`backend/rpc.rs` does).
//! Invariants: one request in flight a channel (supervisord answers 400 to a pipelined one although it acts on it); a
//! channel that had an error is not used again; an answer is at most [`BODY_LIMIT`] bytes. Start at `RpcCaller::call`.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use dxr::{TryToParams, Value};
use http_body_util::{BodyExt, Full, LengthLimitError, Limited};
use hyper::body::Incoming;
use hyper::client::conn::http1::{self, SendRequest};
use hyper::header::{AUTHORIZATION, CONTENT_TYPE, HOST};
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};
use tracing::debug;

use super::error::{RpcFault, SupervisorError};
use super::shell::NodeShell;
use ctl_inventory::ControlAddress;
use ctl_transport::{Session, TransportError};
use ctl_xmlrpc::{self as xmlrpc, XmlRpcError};

/// Longest answer read: some thousand processes.
const BODY_LIMIT: usize = 4 * 1024 * 1024;

/// A call that starts nothing is answered at once, or the supervisord hangs.
const QUICK_TIME: Duration = Duration::from_secs(10);

/// Channels that wait for their next request.
const IDLE_CHANNELS: usize = 4;

/// How the socket of a supervisord is reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum SocketRoute {
    /// sshd opens it, as the login user.
    Forwarded,
    /// The relay opens it, through sudo. For unix sockets only.
    Relayed,
}

impl std::fmt::Display for SocketRoute {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Forwarded => "forwarded by sshd",
            Self::Relayed => "relayed through sudo",
        })
    }
}

/// The answer to a call.
pub(super) enum RpcAnswer {
    /// The body of an answer.
    Body(Bytes),
    /// The call made supervisord raise: HTTP status 500, without a reason.
    Raised,
}

/// Makes calls to one supervisord. Connects when the first call is made.
pub(super) struct RpcCaller<S: Session> {
    shell: NodeShell<S>,
    route: SocketRoute,
    address: ControlAddress,
    authorization: Option<String>,
    idle: Mutex<Vec<SendRequest<Full<Bytes>>>>,
}

impl<S: Session> RpcCaller<S> {
    /// For the supervisord at `address`. `authorization` is the whole value of the header of that name.
    pub(super) fn new(
        shell: NodeShell<S>,
        route: SocketRoute,
        address: ControlAddress,
        authorization: Option<String>,
    ) -> Self {
        Self { shell, route, address, authorization, idle: Mutex::default() }
    }

    /// The same on another connection to the node.
    pub(super) fn on(&self, shell: NodeShell<S>) -> Self {
        Self::new(shell, self.route, self.address.clone(), self.authorization.clone())
    }

    /// The shell on whose session it is.
    pub(super) fn shell(&self) -> &NodeShell<S> {
        &self.shell
    }

    /// How the socket is reached.
    pub(super) fn route(&self) -> SocketRoute {
        self.route
    }

    /// Where it listens.
    pub(super) fn address(&self) -> &ControlAddress {
        &self.address
    }

    /// A call that supervisord answers at once.
    pub(super) async fn call_quick(&self, method: &str, params: &impl TryToParams) -> Result<Value, SupervisorError> {
        match tokio::time::timeout(QUICK_TIME, self.call(method, params)).await {
            Ok(answer) => answer,
            Err(_) => Err(SupervisorError::Silent(self.address.to_string())),
        }
    }

    /// A call that may take as long as an action.
    pub(super) async fn call(&self, method: &str, params: &impl TryToParams) -> Result<Value, SupervisorError> {
        match self.send_call(method, params).await? {
            RpcAnswer::Body(body) => self.decode(&body),
            RpcAnswer::Raised => {
                // supervisord writes the reason only to its own log.
                Err(self.protocol_error(&format!("HTTP status {}", StatusCode::INTERNAL_SERVER_ERROR)))
            }
        }
    }

    /// A call that supervisord answers at once, or raises an exception at.
    pub(super) async fn try_call(&self, method: &str, params: &impl TryToParams) -> Result<RpcAnswer, SupervisorError> {
        match tokio::time::timeout(QUICK_TIME, self.send_call(method, params)).await {
            Ok(answer) => answer,
            Err(_) => Err(SupervisorError::Silent(self.address.to_string())),
        }
    }

    /// The value in an answer, or the fault.
    pub(super) fn decode(&self, body: &[u8]) -> Result<Value, SupervisorError> {
        match xmlrpc::decode(body) {
            Ok(value) => Ok(value),
            Err(XmlRpcError::Fault { code, text }) => Err(fault_error(code, text)),
            Err(error @ XmlRpcError::Malformed(_)) => Err(self.protocol_error(&error.to_string())),
        }
    }

    /// Why an answer that should be a text is not one.
    pub(super) fn not_text(&self, body: &[u8]) -> SupervisorError {
        self.decode(body).err().unwrap_or_else(|| self.protocol_error("no text"))
    }

    async fn send_call(&self, method: &str, params: &impl TryToParams) -> Result<RpcAnswer, SupervisorError> {
        let body = xmlrpc::encode(method, params).map_err(|error| self.protocol_error(&error.to_string()))?;
        debug!(address = %self.address, method, "calling");
        let (answer, channel) = self.exchange(body).await?;
        if let Some(channel) = channel {
            let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
            if idle.len() < IDLE_CHANNELS {
                idle.push(channel);
            }
        }
        Ok(answer)
    }

    /// One request and its answer; the channel comes back if it may be used again.
    async fn exchange(&self, body: String) -> Result<(RpcAnswer, Option<SendRequest<Full<Bytes>>>), SupervisorError> {
        // HTTP/1.1 requires a Host (RFC 9112, 3.2), and a unix socket has no name to put there.
        let mut request = Request::post("/RPC2").header(HOST, "localhost").header(CONTENT_TYPE, "text/xml");
        if let Some(authorization) = &self.authorization {
            request = request.header(AUTHORIZATION, authorization);
        }
        let request =
            request.body(Full::new(Bytes::from(body))).map_err(|error| self.protocol_error(&error.to_string()))?;
        let (response, channel) = self.send(request).await?;
        match response.status() {
            StatusCode::OK => {}
            // The channel is dropped: after an error it is not used again.
            StatusCode::INTERNAL_SERVER_ERROR => return Ok((RpcAnswer::Raised, None)),
            StatusCode::UNAUTHORIZED => {
                let text = format!("{} asks for a user name and a password", self.address);
                return Err(SupervisorError::Permission(text));
            }
            other => return Err(self.protocol_error(&format!("HTTP status {other}"))),
        }
        let answer = match Limited::new(response.into_body(), BODY_LIMIT).collect().await {
            Ok(answer) => answer.to_bytes(),
            Err(error) if error.is::<LengthLimitError>() => {
                return Err(self.protocol_error(&format!("the answer is longer than {BODY_LIMIT} bytes")));
            }
            Err(error) => match error.downcast::<hyper::Error>() {
                Ok(error) => return Err(self.http(&error)),
                Err(error) => return Err(self.protocol_error(&error.to_string())),
            },
        };
        // A channel that supervisord closes after its answer is of no more use.
        Ok((RpcAnswer::Body(answer), (!channel.is_closed()).then_some(channel)))
    }

    /// Sends on a channel that waits, else on a new one. A waiting channel that supervisord has closed in the
    /// meantime fails before anything was sent; only then is the request sent again.
    async fn send(
        &self,
        request: Request<Full<Bytes>>,
    ) -> Result<(Response<Incoming>, SendRequest<Full<Bytes>>), SupervisorError> {
        let mut request = request;
        while let Some(mut channel) = self.idle_channel() {
            match channel.try_send_request(request).await {
                Ok(response) => return Ok((response, channel)),
                Err(mut error) => match error.take_message() {
                    // No byte was sent, so the same request cannot act twice.
                    Some(unsent) => request = unsent,
                    // supervisord may have read the request, and repeating it could start or stop something twice.
                    None => return Err(self.http(error.error())),
                },
            }
        }
        let mut channel = self.open().await?;
        let response = channel.send_request(request).await.map_err(|error| self.http(&error))?;
        Ok((response, channel))
    }

    fn idle_channel(&self) -> Option<SendRequest<Full<Bytes>>> {
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        while let Some(channel) = idle.pop() {
            // supervisord may have closed the channel meanwhile; then dropping it is all that is left to do.
            if channel.is_ready() {
                return Some(channel);
            }
        }
        None
    }

    async fn open(&self) -> Result<SendRequest<Full<Bytes>>, SupervisorError> {
        let session = self.shell.session();
        match (&self.address, self.route) {
            (ControlAddress::Unix(path), SocketRoute::Forwarded) => {
                self.handshake(session.open_unix(path).await?).await
            }
            (ControlAddress::Unix(path), SocketRoute::Relayed) => {
                let relay = self.shell.relay().await?;
                self.handshake(relay.open(path).await?).await
            }
            (ControlAddress::Http { host, port }, _) => self.handshake(session.open_tcp(host, *port).await?).await,
        }
    }

    async fn handshake(
        &self,
        stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    ) -> Result<SendRequest<Full<Bytes>>, SupervisorError> {
        let (mut channel, connection) =
            http1::handshake(TokioIo::new(stream)).await.map_err(|error| self.http(&error))?;
        // hyper requires its connection to be polled as long as the channel is used.
        tokio::spawn(async move {
            if let Err(error) = connection.await {
                debug!(%error, "a channel to supervisord closed");
            }
        });
        channel.ready().await.map_err(|error| self.http(&error))?;
        Ok(channel)
    }

    fn http(&self, error: &hyper::Error) -> SupervisorError {
        if error.is_parse() {
            return self.protocol_error(&format!("not HTTP ({error})"));
        }
        // The stream also ends when the connection to the node does; only the session knows which of the two it was.
        if self.shell.session().is_closed() {
            let reason = "it closed while querying supervisord".to_owned();
            return SupervisorError::Transport(TransportError::Lost { reason });
        }
        SupervisorError::Down(format!("{} closed the connection ({error})", self.address))
    }

    /// An answer that makes no sense.
    pub(super) fn protocol_error(&self, reason: &str) -> SupervisorError {
        SupervisorError::Protocol(format!("{}: {reason}", self.address))
    }
}

/// A fault as an error.
pub(super) fn fault_error(code: i32, text: String) -> SupervisorError {
    let fault = RpcFault::from_code(code);
    // Soon nothing listens there any more, so callers can treat it as down already.
    if fault == RpcFault::ShutdownState {
        return SupervisorError::Down("supervisord is shutting down".to_owned());
    }
    // The text is untrusted and ends up in messages, so its length is limited.
    SupervisorError::Fault { fault, text: text.chars().take(512).collect() }
}

/// A part of a multicall answer that is a fault.
pub(super) fn fault_of(value: &Value) -> Option<(i32, String)> {
    let members = xmlrpc::members(value)?;
    let code = members.get("faultCode").and_then(xmlrpc::integer)?;
    let text = members.get("faultString").and_then(xmlrpc::text).unwrap_or_default();
    Some((i32::try_from(code).unwrap_or_default(), text.to_owned()))
}
