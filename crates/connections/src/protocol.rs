//! The messages between a command and the holder.
//!
//! Data only. A stream begins with a [`HolderRequest`] of the command. Invariants: nothing here prints a secret.

use std::path::PathBuf;
use std::time::Duration;

use ctl_transport::{Endpoint, ProxyEnvironment, TransportError};
use secrecy::SecretString;
use serde::{Deserialize, Deserializer, Serialize};

/// The first message on a stream.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum HolderRequest {
    /// A command begins; the stream lasts as long as it does, and carries [`ClientNotice`]s. Answered with
    /// [`HolderReply::Client`].
    Client,
    /// The connection to an endpoint is wanted; it is in use as long as the stream lasts. Answered with
    /// [`HolderReply::Attached`] and, when the connection ends, with [`HolderReply::Failed`].
    Attach {
        client: u64,
        endpoint: Box<Endpoint>,
    },
    /// A channel over a connection. Answered with [`HolderReply::Opened`], and then the stream is the channel.
    Open {
        session: u64,
        channel: ChannelRequest,
    },
    /// A message once the connection has fallen silent. Answered with [`HolderReply::Opened`] then.
    AwaitSilence {
        session: u64,
    },
    /// Which endpoints have a connection that would be used; those that do not answer are closed if `checked`.
    Kept {
        client: u64,
        endpoints: Vec<Endpoint>,
        checked: bool,
    },
    List,
    /// Close the connections of these nodes; none: all.
    Close {
        nodes: Option<Vec<String>>,
    },
    /// Keep nothing any longer, since a program of another version is in use. Its form never changes.
    Retire,
}

/// A channel that is asked for.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) enum ChannelRequest {
    /// A command in the login shell. The stream then carries pieces.
    Command { command: String, is_short: bool },
    /// A unix socket on the node. The stream is the bytes.
    Unix { path: String },
    /// A TCP port as seen from the node. The stream is the bytes.
    Tcp { host: String, port: u16 },
}

/// An answer of the holder.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum HolderReply {
    /// The command's number.
    Client(u64),
    Attached {
        session: u64,
        /// Whether the connection was there already.
        is_reused: bool,
    },
    Opened,
    Failed(TransportError),
    /// The connection was there and ended before anything was done over it: another can be made.
    Gone,
    Kept(Vec<bool>),
    Connections(Vec<KeptConnection>),
    Done,
}

/// A message of the holder to a command.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum ClientNotice {
    /// The secrets are needed, to log in.
    Login,
    /// A notice that concerns more than one node.
    Text(String),
}

/// The answer to [`ClientNotice::Login`].
#[derive(Serialize)]
pub(crate) struct LoginAnswer<'a> {
    pub(crate) password: Option<&'a str>,
    pub(crate) keys: Vec<(&'a PathBuf, &'a str)>,
    pub(crate) environment: ProxyEnvironment,
}

/// The same as it arrives.
#[derive(Debug, Deserialize)]
pub(crate) struct ReceivedLogin {
    pub(crate) password: Option<SecretText>,
    pub(crate) keys: Vec<(PathBuf, SecretText)>,
    pub(crate) environment: ProxyEnvironment,
}

/// A secret that can be read from a message, and written into none.
#[derive(Debug)]
pub(crate) struct SecretText(pub(crate) SecretString);

impl<'de> Deserialize<'de> for SecretText {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        // The text moves into the secret, and is overwritten with it.
        String::deserialize(deserializer).map(|text| Self(SecretString::from(text)))
    }
}

/// The kinds of pieces on the stream of a command.
pub(crate) mod piece {
    /// To the command: bytes of its standard input.
    pub(crate) const INPUT: u8 = b'i';
    /// To the command: its streams are closed.
    pub(crate) const CLOSE: u8 = b'c';
    /// Bytes of its standard output.
    pub(crate) const STDOUT: u8 = b'o';
    /// Bytes of its standard error.
    pub(crate) const STDERR: u8 = b'e';
    /// Its end, with the exit code in four bytes.
    pub(crate) const EXIT: u8 = b'x';
    /// Its end without an exit code, with the name of the signal, if there is one.
    pub(crate) const SIGNAL: u8 = b's';
}

/// A connection that is kept.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeptConnection {
    /// The node; none for a bastion.
    pub node: Option<String>,
    /// The host as it was connected to.
    pub host: String,
    /// TCP port.
    pub port: u16,
    /// The user who is logged in.
    pub user: String,
    /// How long ago it was made.
    pub age: Duration,
    /// How long it has not been used; none if it is in use.
    pub idle: Option<Duration>,
    /// How long it stays open without being used.
    pub keep: Duration,
    /// The channels that are open.
    pub channels: usize,
}
