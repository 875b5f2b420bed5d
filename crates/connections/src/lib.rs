//! Connections that are kept between commands, by a process of the user's own.
//!
//! A command that wants its connections kept does not connect itself: the *holder*, a process of the same program that
//! it starts if there is none, does so and stays. Here live both ends. [`NodeTransport`] is the command's, a
//! [`ctl_transport::Transport`] whose channels may go through the holder's unix socket; [`hold`] is the holder.
//!
//! Invariants: only processes of one user talk to each other; secrets go to the holder when it logs in and are
//! dropped with the login; whatever a command has opened on a node ends with the command. `place.rs` is where the socket
//! is, `protocol.rs` and `frames.rs` the language; `client.rs`, `session.rs` and `command.rs` are the command's end,
//! `holder.rs`, `login.rs`, `table.rs` and `relay.rs` the holder's. Start at [`NodeTransport::new`].

mod client;
mod command;
mod frames;
mod holder;
mod login;
mod place;
mod protocol;
mod relay;
mod session;
mod table;

pub use self::client::{HolderError, HolderProgram, close, list};
pub use self::holder::hold;
pub use self::place::{HolderPlace, PlaceError};
pub use self::protocol::KeptConnection;
pub use self::session::{ConnectionCommand, NodeSession, NodeStream, NodeTransport};
