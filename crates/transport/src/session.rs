//! The seam to a node, as traits: how a session is opened, and what can be done over it.
//!
//! Here live [`Transport`], [`Session`] and [`RemoteCommand`], and the data that they return. `error.rs` says how they
//! fail. Invariants: a session is one connection; everything read through it is bounded in size.

use std::future::Future;

use tokio::io::{AsyncRead, AsyncWrite};

use super::endpoint::Endpoint;
use super::error::TransportError;

/// Opens sessions.
pub trait Transport: Send + Sync + 'static {
    /// The sessions that it opens.
    type Session: Session;

    /// Connects, checks the host's key and logs in.
    ///
    /// # Errors
    /// Every [`TransportError`] but `CommandTooLong`; never later than the endpoint's `connect_timeout`.
    fn connect(&self, endpoint: &Endpoint) -> impl Future<Output = Result<Self::Session, TransportError>> + Send;
}

/// One authenticated connection to a node.
pub trait Session: Send + Sync + 'static {
    /// A byte stream to something on the node.
    type Stream: AsyncRead + AsyncWrite + Unpin + Send + 'static;
    /// A command that runs on the node.
    type Command: RemoteCommand;

    /// Starts a command in the login shell and keeps its streams. When this returns it runs.
    ///
    /// # Errors
    /// [`TransportError::Lost`], [`TransportError::CommandRefused`] if the node runs no command,
    /// [`TransportError::Silent`].
    fn start(&self, command: &str) -> impl Future<Output = Result<Self::Command, TransportError>> + Send;

    /// Runs a command in the login shell and collects its output, at most `limit` bytes of each stream: to its end, or
    /// until its standard output `is_whole`. A process that it leaves behind may hold its streams open for ever.
    ///
    /// # Errors
    /// [`TransportError::Lost`] if the connection ended before the node reported the command's end,
    /// [`TransportError::CommandRefused`] if the node runs no command, [`TransportError::Silent`].
    fn exec(
        &self,
        command: &str,
        limit: usize,
        is_whole: impl Fn(&[u8]) -> bool + Send,
    ) -> impl Future<Output = Result<ExecOutput, TransportError>> + Send;

    /// Opens a stream to a unix socket on the node.
    ///
    /// # Errors
    /// [`TransportError::ChannelRefused`] if the node cannot or will not connect it (a missing socket, a refused
    /// connection, a missing permission and a forbidden forwarding all look the same), [`TransportError::Lost`],
    /// [`TransportError::Silent`].
    fn open_unix(&self, path: &str) -> impl Future<Output = Result<Self::Stream, TransportError>> + Send;

    /// Opens a stream to a TCP port as seen from the node.
    ///
    /// # Errors
    /// As [`Session::open_unix`], but a forbidden forwarding has a reason of its own; see
    /// [`CONNECT_FAILED`](super::error::CONNECT_FAILED).
    fn open_tcp(&self, host: &str, port: u16) -> impl Future<Output = Result<Self::Stream, TransportError>> + Send;

    /// Whether the connection has ended.
    fn is_closed(&self) -> bool;

    /// Asks for a sign of life, and ends if none comes. As long as the other end answers, it does not end. For a
    /// connection that fell silent once it ends at once.
    fn falls_silent(&self) -> impl Future<Output = ()> + Send;
}

/// A command that runs on a node, and its streams. Dropping it closes them; the node decides whether that ends the
/// command.
pub trait RemoteCommand: Send + 'static {
    /// Writes to its standard input. Waits as long as the node reads nothing: the caller bounds that time. Input to
    /// a command that has ended is lost without an error, since its end is reported.
    ///
    /// # Errors
    /// [`TransportError::Lost`] if the connection ends.
    fn write(&mut self, bytes: &[u8]) -> impl Future<Output = Result<(), TransportError>> + Send;

    /// The next piece of its output; may be dropped and called again. None: nothing more comes, and if no
    /// [`OutputPiece::Exit`] came before, the node did not report its end.
    fn next(&mut self) -> impl Future<Output = Option<OutputPiece>> + Send;

    /// The name of the signal that ended it (`KILL`), if [`OutputPiece::Exit`] came without a code for that reason;
    /// `UNKNOWN` where sshd has no name for it.
    fn signal(&self) -> Option<&str> {
        None
    }

    /// Closes its streams: its standard input ends.
    fn close(&mut self) -> impl Future<Output = ()> + Send;
}

/// A piece of a command's output, or its end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum OutputPiece {
    /// Bytes of its standard output.
    Stdout(Vec<u8>),
    /// Bytes of its standard error.
    Stderr(Vec<u8>),
    /// Its end: the exit code; none if a signal ended it ([`RemoteCommand::signal`]) or the node did not report how.
    Exit(Option<u32>),
}

/// The output of a command, and how it ended.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ExecOutput {
    /// Standard output, broken UTF-8 replaced.
    pub stdout: String,
    /// Standard error, broken UTF-8 replaced.
    pub stderr: String,
    /// Exit code; none if a signal ended it or the node did not report it.
    pub exit: Option<u32>,
    /// Whether a stream was longer than the limit; the command was then given up.
    pub truncated: bool,
}
