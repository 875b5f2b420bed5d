//! The observations of a host, as data. Everything in it but the host's name is untrusted.

use std::collections::BTreeSet;

use ctl_inventory::ControlAddress;
use ctl_inventory::draft::DraftSettings;

/// A host and the observations of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ObservedHost {
    /// Its name in the inventory.
    pub name: String,
    /// The settings of its node, without roles.
    pub settings: DraftSettings,
    /// The result of the look.
    pub outcome: HostOutcome,
}

/// The result of a look at a host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum HostOutcome {
    /// There is no session.
    Unreachable(LookFailure),
    /// It was reached and could not be searched.
    Failed(LookFailure),
    /// It was not looked at, since it is the machine of this other host.
    SameAs(String),
    /// Its supervisords; none if it has none.
    Searched(Vec<ObservedInstance>),
}

/// Why there was no look at a host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LookFailure {
    /// The reason, for people.
    pub message: String,
    /// What to do about it.
    pub hint: Option<String>,
}

/// A supervisord of a host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ObservedInstance {
    /// Where it answered, or where it should.
    pub address: Option<ControlAddress>,
    /// Its `identifier`, unless that is supervisord's default.
    pub identifier: Option<String>,
    /// The systemd unit that it runs in.
    pub unit: Option<String>,
    /// Its configuration file.
    pub config_file: Option<String>,
    /// The user name that it requires.
    pub username: Option<String>,
    /// The groups of its processes, or why they are not known.
    pub services: Result<BTreeSet<String>, UnreadInstance>,
}

/// Why the services of a supervisord are not known.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UnreadInstance {
    /// The kind of reason.
    pub cause: UnreadCause,
    /// The reason, for people.
    pub message: String,
    /// What to do about it.
    pub hint: Option<String>,
}

/// The kind of reason for an unread supervisord.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum UnreadCause {
    /// A process listens on its socket, which the user may not open.
    Forbidden,
    /// It wants a password that is not known.
    Password,
    /// A supervisord listens at its address, and does not answer.
    Silent,
    /// It does not answer.
    Other,
}
