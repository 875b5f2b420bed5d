//! Sessions over SSH: the route to a host, its key, the login, and the channels of the connection.
//!
//! Here lives [`SshTransport`], the only part of the crate that speaks SSH. It uses the data of [`super::endpoint`],
//! judges keys by [`super::host_keys`] and implements the traits of [`super::session`]. Invariants: a connect
//! never outlives its budget, and leaves no half-open connection behind; nothing is sent to a host before its key is
//! checked; an endpoint behind a bastion is never reached without it.
//!
//! `transport.rs` is the face, `connect.rs` makes one connection after the other until one holds: `resolver.rs` and
//! `dial.rs` find the address, `bastion_pool.rs` and `proxy_command.rs` lead there, `handshake.rs` exchanges keys over
//! a `stream.rs`, `auth/` logs in, and `session.rs` with `command.rs` is the result. A file uses only files that do not
//! use it: `phase.rs` and `handler.rs` exist because both ends of that chain need them, and whatever must connect again
//! (a bastion, a further connection) is handed a function that does. Start at [`SshTransport::new`].

mod algorithms;
mod auth;
mod bastion_pool;
mod channel_load;
mod client_config;
mod command;
mod connect;
mod connection_loss;
mod dial;
mod handler;
mod handshake;
mod login_throttle;
mod peer_text;
mod phase;
mod proxy_command;
mod resolver;
mod session;
mod stream;
mod transport;

pub use self::auth::{LoginSecrets, UnlockError};
pub use self::command::SshCommand;
pub use self::connect::BastionSource;
pub use self::proxy_command::ProxyEnvironment;
pub use self::session::{ConnectFurther, SshSession};
pub use self::transport::{RunSshSettings, SharedLogins, SshTransport};
