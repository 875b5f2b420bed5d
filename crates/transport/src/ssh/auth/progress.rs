//! The connection of a login, as seen from outside of it.
//!
//! Here lives [`AuthProgress`]. The login reads and writes it; the connect that waits for the login reads it when its
//! time is over.

use std::sync::Mutex;

use crate::ssh::phase::CurrentPhase;

/// Facts about a connection besides the answers of the node.
pub(in crate::ssh) struct AuthProgress<'a> {
    /// How far the connect has come.
    pub(in crate::ssh) phase: &'a CurrentPhase,
    /// How it ended.
    pub(in crate::ssh) lost: &'a Mutex<Option<String>>,
    /// The node's last message to the users that log in.
    pub(in crate::ssh) banner: &'a Mutex<Option<String>>,
}
