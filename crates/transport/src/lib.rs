//! The seam to a node: one authenticated session that carries commands and forwarded streams.
//!
//! Here live [`Transport`] and [`Session`], the data they need ([`Endpoint`]) and how they fail ([`TransportError`]).
//! The module may use the leaves `event` and `local`. Invariants: a session is one connection; everything read
//! through it is bounded in size, and everything done through it fails with an error that names the cause. `session.rs`
//! is the seam, `endpoint.rs` says where and how to connect, and `ssh/` does it over SSH; `host_keys.rs` decides about
//! the keys of hosts; `known_hosts.rs` and `ssh_config/` touch no network. No two files use each other, directly or
//! through others. Start at [`Transport::connect`].

mod drain;
mod endpoint;
mod error;
mod host_keys;
mod known_hosts;
mod session;
mod ssh;

pub use russh::keys::PublicKey;

pub use self::drain::{OutputDrain, collect};
pub use self::endpoint::{
    AlgorithmLists, AllowedFamilies, AuthMethod, Endpoint, HostKeyPolicy, HostKeySettings, KeepSettings, Keepalive,
    LoginSettings, ProxyRoute,
};
pub use self::error::{CONNECT_FAILED, HUNG, TransportError};
pub use self::host_keys::fingerprint;
pub use self::known_hosts::{KnownHostName, KnownHostNames};
pub use self::session::{ExecOutput, OutputPiece, RemoteCommand, Session, Transport};
pub use self::ssh::{
    BastionSource, ConnectFurther, LoginSecrets, ProxyEnvironment, RunSshSettings, SharedLogins, SshCommand,
    SshSession, SshTransport, UnlockError,
};
