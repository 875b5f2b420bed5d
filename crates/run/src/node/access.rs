//! How one selected node is reached. Data only; the command line fills it in.

use std::sync::Arc;
use std::time::Duration;

use crate::node::passwords::PasswordFiles;
use ctl_event::Via;
use ctl_remote::Sudo;
use ctl_transport::Endpoint;

/// How one selected node is worked on.
#[derive(Debug, Clone)]
pub struct NodeAccess {
    /// How to connect.
    pub endpoint: Arc<Endpoint>,
    /// Whether and how commands go through sudo.
    pub sudo: Sudo,
    /// The backend that the inventory names for its supervisords; none is `auto`.
    pub via: Option<Via>,
    /// Time for the action, from the moment the session is open.
    pub timeout: Duration,
    /// The passwords that its supervisords ask for.
    pub passwords: Arc<PasswordFiles>,
}
