//! How a connection fails, as a message, a kind and a hint for the person on call.
//!
//! Here lives [`TransportError`]. Uses `event` for the kinds of failure, `local` to recognize an exhausted machine.

use std::borrow::Cow;
use std::net::IpAddr;
use std::path::PathBuf;

use ctl_event::{Failure, FailureKind, Stage};
use ctl_local::process::exhausted;
use serde::{Deserialize, Serialize};

/// The reason of a [`TransportError::ChannelRefused`] when the node tried to connect and could not.
///
/// It is `SSH_OPEN_CONNECT_FAILED` of RFC 4254, section 5.1. What it proves depends on the sshd (serverloop.c,
/// `server_input_channel_open`): OpenSSH 9.2 gives this reason for a socket that is missing, refuses or is forbidden,
/// and another one for a forbidden TCP port; OpenSSH 7.4 gives `SSH_OPEN_ADMINISTRATIVELY_PROHIBITED` for everything
/// that fails before the connection is under way, so for a missing socket too.
pub const CONNECT_FAILED: &str = "ConnectFailed";

/// The reason for a forbidden forwarding: `SSH_OPEN_ADMINISTRATIVELY_PROHIBITED` of RFC 4254, section 5.1. What it proves
/// depends on the sshd, see [`CONNECT_FAILED`].
pub(crate) const PROHIBITED: &str = "AdministrativelyProhibited";

/// The reason of a [`TransportError::Behind`] when the bastion has no room for another stream:
/// `SSH_OPEN_RESOURCE_SHORTAGE` of RFC 4254, section 5.1.
pub(super) const NO_ROOM: &str = "ResourceShortage";

/// The reason of a [`TransportError::CommandRefused`] when sshd was asked to run a command and could not start it.
pub(super) const REQUEST_FAILED: &str = "it could not start one";

/// What to do about a node that lets one in and then does not answer.
pub const HUNG: &str = "sshd accepted the connection and then hung: check the node's load, memory and disks";

/// Why a session could not be had or was lost.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error, Serialize, Deserialize)]
pub enum TransportError {
    /// The name has no address.
    #[error("`{host}` has no address: {reason}")]
    Dns {
        /// The name.
        host: String,
        /// The resolver's reason.
        reason: String,
    },
    /// Nothing listens on the port.
    #[error("{host} port {port}: connection refused")]
    Refused {
        /// Host as asked for.
        host: String,
        /// Port.
        port: u16,
    },
    /// No way to the host.
    #[error("{host} port {port}: {reason}")]
    Network {
        /// Host as asked for.
        host: String,
        /// Port.
        port: u16,
        /// The system's reason.
        reason: String,
    },
    /// The time to connect was over while `doing`.
    #[error("{host} port {port}: no session after {seconds:.1} s, while {doing}")]
    Timeout {
        /// Host as asked for.
        host: String,
        /// Port.
        port: u16,
        /// The budget, in seconds.
        seconds: Seconds,
        /// The step that did not end.
        doing: Cow<'static, str>,
    },
    /// The peer did not greet as an SSH server.
    #[error("{host} port {port}: {reason}")]
    Banner {
        /// Host as asked for.
        host: String,
        /// Port.
        port: u16,
        /// The peer's behavior.
        reason: String,
    },
    /// The peer closed the connection before its greeting, as sshd does while too many log in at once.
    #[error("{host} port {port}: the connection was closed before an SSH greeting")]
    TurnedAway {
        /// Host as asked for.
        host: String,
        /// Port.
        port: u16,
    },
    /// The host has several addresses, and none of them greeted as an SSH server.
    #[error("{host} port {port}: no address answers as an SSH server: {}", each_address(failures))]
    Addresses {
        /// Host as asked for.
        host: String,
        /// Port.
        port: u16,
        /// Each address, in the order in which they were tried.
        failures: Vec<AddressFailure>,
    },
    /// The bastion on the way failed.
    #[error("bastion {bastion}: {source}")]
    Bastion {
        /// Its name.
        bastion: String,
        /// How it failed.
        source: Box<TransportError>,
    },
    /// The bastion opens no connection to the host.
    #[error("bastion {bastion} cannot connect to {host} port {port}: {}", behind(reason))]
    Behind {
        /// Its name.
        bastion: String,
        /// Host as asked for.
        host: String,
        /// Port.
        port: u16,
        /// Its reason; [`CONNECT_FAILED`] if it tried.
        reason: String,
    },
    /// The command that is the way to the host failed.
    #[error("ProxyCommand {proxy}: {reason}")]
    Proxy {
        /// The command.
        proxy: String,
        /// How it failed.
        reason: String,
    },
    /// The key exchange failed.
    #[error("{host} port {port}: {reason}")]
    Negotiation {
        /// Host as asked for.
        host: String,
        /// Port.
        port: u16,
        /// The disagreement.
        reason: String,
        /// The setting that would help, where one is known.
        hint: Option<String>,
    },
    /// No known_hosts file holds a key for the host.
    #[error(
        "the host key of {name} is not known: it shows {key}; {}{}",
        looked_in(files),
        certificate_flaw(certificate)
    )]
    HostKeyUnknown {
        /// The name as known_hosts writes it.
        name: String,
        /// The key shown, as `ssh-keygen -l` prints it.
        key: String,
        /// Files that were looked in.
        files: Vec<PathBuf>,
        /// Why the certificate that it showed does not hold, if it showed one.
        certificate: Option<String>,
    },
    /// Another key is known for the host.
    #[error("the host key of {name} has CHANGED: it shows {key}, {known}")]
    HostKeyChanged {
        /// The name as known_hosts writes it.
        name: String,
        /// The key shown, as `ssh-keygen -l` prints it.
        key: String,
        /// The key that is known, with its file and line: `FILE:LINE holds …`.
        known: String,
        /// The command that removes the host's known keys.
        remove: Option<String>,
    },
    /// The key is revoked.
    #[error("the {what} of {name} is revoked by {place}: {key}")]
    HostKeyRevoked {
        /// The name as known_hosts writes it.
        name: String,
        /// The revoked key, as `ssh-keygen -l` prints it.
        key: String,
        /// The revoked object: the host's key, its certificate, or the authority that signed that.
        what: String,
        /// File and line of the revocation; the file alone if it is a key revocation list.
        place: String,
    },
    /// The host has a short RSA key.
    #[error("the host key of {name} is too short: {key}; at least {min} bits are required")]
    HostKeyTooShort {
        /// The name as known_hosts writes it.
        name: String,
        /// The key shown, as `ssh-keygen -l` prints it.
        key: String,
        /// The least size, in bits.
        min: u32,
    },
    /// known_hosts could not be used.
    #[error("{reason}")]
    KnownHosts {
        /// The problem, with the file.
        reason: String,
    },
    /// A file of revoked keys could not be read, so that every key might be revoked.
    #[error("{reason}")]
    RevokedKeys {
        /// The problem, with the file.
        reason: String,
    },
    /// The node did not let the user in.
    #[error("{user}@{host}: {reason}")]
    Auth {
        /// User.
        user: String,
        /// Host as asked for.
        host: String,
        /// The cause; then each attempt with its answer, the methods that the node accepts, the unused keys.
        reason: String,
        /// What to do about it.
        hint: String,
    },
    /// A key or certificate that was meant to be used cannot be, or there is none.
    #[error("{user}@{host}: {reason}")]
    KeyFile {
        /// User.
        user: String,
        /// Host as asked for.
        host: String,
        /// The file and its problem, and the attempts.
        reason: String,
        /// What to do about it.
        hint: String,
    },
    /// The agent failed, and no other key was accepted.
    #[error("{user}@{host}: the SSH agent failed: {reason}")]
    Agent {
        /// User.
        user: String,
        /// Host as asked for.
        host: String,
        /// The agent's error, and the attempts.
        reason: String,
    },
    /// This machine could not do its part.
    #[error("ctl is out of {what} on this machine: {reason}")]
    Controller {
        /// The exhausted resource.
        what: Cow<'static, str>,
        /// The system's reason.
        reason: String,
    },
    /// The connection ended.
    #[error("the connection was lost: {reason}")]
    Lost {
        /// The cause, as far as it is known.
        reason: String,
    },
    /// The connection is there, and a request is not answered.
    #[error("the node did not answer {what} within {seconds:.0} s")]
    Silent {
        /// The request.
        what: String,
        /// How long it was waited for.
        seconds: Seconds,
    },
    /// The node runs no commands for this user.
    #[error("sshd refused to run a command: {reason}")]
    CommandRefused {
        /// The node's reason.
        reason: String,
    },
    /// The node opened no channel.
    #[error("the node did not open {what}: {reason}")]
    ChannelRefused {
        /// The other end that was requested.
        what: String,
        /// The node's reason; [`CONNECT_FAILED`] if it tried.
        reason: String,
    },
}

/// Why one address of a host could not be used.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AddressFailure {
    /// The address.
    pub address: IpAddr,
    /// How it failed; none if the time was over before it was tried.
    pub error: Option<TransportError>,
}

/// A name may have more addresses than a message has room for.
const ADDRESSES_NAMED: usize = 8;

fn each_address(failures: &[AddressFailure]) -> String {
    let mut named: Vec<String> = failures
        .iter()
        .take(ADDRESSES_NAMED)
        .map(|AddressFailure { address, error }| {
            format!("{address}: {}", error.as_ref().map_or("not tried".to_owned(), TransportError::without_host))
        })
        .collect();
    // The rest is counted, so that nobody takes the list for complete.
    if let more @ 1.. = failures.len().saturating_sub(ADDRESSES_NAMED) {
        named.push(format!("and {more} more"));
    }
    named.join("; ")
}

impl TransportError {
    /// The error as one of this machine's resources, if it is one.
    pub(super) fn of_controller(error: &std::io::Error) -> Option<Self> {
        let what = exhausted(error)?;
        Some(Self::Controller { what: what.into(), reason: error.to_string() })
    }
}

/// Seconds, kept as milliseconds so that errors can be compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Seconds(pub u128);

impl std::fmt::Display for Seconds {
    #[expect(clippy::cast_precision_loss, reason = "a time budget, shown with one digit")]
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        (self.0 as f64 / 1000.0).fmt(f)
    }
}

fn looked_in(files: &[PathBuf]) -> String {
    if files.is_empty() {
        return "no known_hosts file is named".to_owned();
    }
    let files: Vec<String> = files.iter().map(|file| file.display().to_string()).collect();
    format!("looked in {}", files.join(", "))
}

fn certificate_flaw(flaw: &Option<String>) -> String {
    flaw.as_ref().map_or_else(String::new, |flaw| format!("; its certificate is not valid: {flaw}"))
}

fn behind(reason: &str) -> &str {
    match reason {
        CONNECT_FAILED => "refused, unreachable or unknown from there",
        PROHIBITED => {
            "it forbids forwarding, or cannot resolve or reach the host (OpenSSH 7.4 and older do not say which)"
        }
        NO_ROOM => "it accepts no more channels",
        other => other,
    }
}

impl TransportError {
    /// The failure that says most of several: of the address that came furthest.
    fn leading(&self) -> Option<&Self> {
        let Self::Addresses { failures, .. } = self else { return Some(self) };
        // An exhausted machine explains every other failure. After it counts how far an address came: closed, no SSH
        // greeting, refused, silent.
        let distance = |error: &&Self| {
            if matches!(error, Self::Controller { .. }) {
                5
            } else if matches!(error, Self::TurnedAway { .. }) {
                4
            } else if matches!(error, Self::Banner { .. }) {
                3
            } else if matches!(error, Self::Refused { .. }) {
                2
            } else {
                u8::from(matches!(error, Self::Timeout { .. }))
            }
        };
        // Of equals, the first that was tried.
        failures.iter().rev().filter_map(|failure| failure.error.as_ref()).max_by_key(distance)
    }

    /// The reason alone.
    fn without_host(&self) -> String {
        // The list of addresses names the host once, so the parts must not repeat it.
        if let Self::Network { reason, .. } | Self::Banner { reason, .. } = self {
            return reason.clone();
        }
        if matches!(self, Self::Refused { .. }) {
            "connection refused".to_owned()
        } else if matches!(self, Self::Timeout { .. }) {
            "timed out".to_owned()
        } else if matches!(self, Self::TurnedAway { .. }) {
            "closed before an SSH greeting".to_owned()
        } else {
            self.to_string()
        }
    }

    /// Whether the peer, or one of its addresses, closed the connection before its greeting.
    #[must_use]
    pub fn is_turned_away(&self) -> bool {
        matches!(self.leading(), Some(Self::TurnedAway { .. }))
    }

    /// Whether a second attempt may fare better: the peer turned us away before it had looked at us.
    #[must_use]
    pub fn is_transient(&self) -> bool {
        // Of several addresses, the one that came furthest says whether sshd is there at all.
        let leading = self.leading();
        matches!(
            leading,
            Some(
                Self::Refused { .. }
                    | Self::Banner { .. }
                    | Self::Network { .. }
                    | Self::Lost { .. }
                    | Self::Controller { .. }
            )
        ) || matches!(self, Self::Behind { reason, .. } if [CONNECT_FAILED, NO_ROOM, PROHIBITED].contains(&&**reason))
    }

    /// Whether the node, or the bastion on the way to it, may be there again later, as one that is starting is. A login
    /// or a host key that is refused will be refused again.
    #[must_use]
    pub fn may_come_back(&self) -> bool {
        // A bastion may be starting just like a node; its own error decides.
        if let Self::Bastion { source, .. } = self {
            return source.may_come_back();
        }
        // A forwarding that is forbidden stays so. An old bastion that could not resolve the name at once reports the
        // same, but a node that restarts is not the cause of that.
        if matches!(self, Self::Behind { reason, .. } if reason == PROHIBITED) {
            return false;
        }
        // A timeout is not transient within one connect, because it has used up the whole budget.
        self.is_transient() || matches!(self, Self::Timeout { .. })
    }

    /// Whether the node tried to open a stream and nothing listened at its end, as far as it distinguishes the causes:
    /// see [`CONNECT_FAILED`]. A forbidden forwarding proves nothing about listeners.
    #[must_use]
    pub fn nobody_listens(&self) -> bool {
        matches!(self, Self::ChannelRefused { reason, .. } if reason == CONNECT_FAILED)
    }

    /// Whether the node refused a stream because forwarding is forbidden or, if its sshd is old, because nothing
    /// listens at the other end: see [`CONNECT_FAILED`].
    #[must_use]
    pub fn is_prohibited(&self) -> bool {
        matches!(self, Self::ChannelRefused { reason, .. } if reason == PROHIBITED)
    }

    /// The same as a failure of a result.
    #[must_use]
    pub fn failure(&self) -> Failure {
        use FailureKind as K;
        let (stage, kind, hint) = match self {
            Self::Dns { .. } => (Stage::Connect, K::Dns, Some("check the name, or give the node an `address` in the inventory".to_owned())),
            Self::Refused { .. } => (Stage::Connect, K::Refused, Some("is sshd running there, and on this port? (`port` in the inventory, or --port)".to_owned())),
            Self::Network { .. } => (Stage::Connect, K::UnreachableNetwork, Some("is the node up, and is there a route to it?".to_owned())),
            Self::Timeout { .. } => (Stage::Connect, K::ConnectTimeout, Some("is the node up, and does a firewall drop the packets? (allow more time with --connect-timeout)".to_owned())),
            Self::Banner { .. } => (Stage::Connect, K::Banner, Some("the port is open, but sshd did not answer: it may be hung, overloaded (MaxStartups), or not an SSH server (check `port` in the inventory, or --port)".to_owned())),
            Self::TurnedAway { .. } => (Stage::Connect, K::Banner, Some("sshd rejects connections while many log in (MaxStartups), or by their address (TCP wrappers, a firewall): lower --forks, or check its log".to_owned())),
            Self::Addresses { .. } => match self.leading() {
                Some(leading) => return Failure { message: self.to_string(), ..leading.failure() },
                None => (Stage::Connect, K::ConnectTimeout, None),
            },
            Self::Bastion { bastion, source } => {
                let inner = source.failure();
                // A problem with a bastion's key or login is fixed as with a node's.
                let kept =
                    [K::HostKeyUnknown, K::HostKeyChanged, K::HostKeyRevoked, K::Auth, K::KeyFile, K::Agent];
                let kind = if kept.contains(&inner.kind) { inner.kind } else { K::Proxy };
                let hint = inner.hint.map_or_else(|| format!("check the bastion first: ssh {bastion}"), |hint| format!("at the bastion {bastion}: {hint}"));
                // The stage is the inner one: a bastion can fail at the login too.
                return Failure { stage: inner.stage, kind, message: self.to_string(), hint: Some(hint) };
            }
            Self::Behind { reason, .. } if reason == CONNECT_FAILED => (Stage::Connect, K::UnreachableNetwork, Some("is the node up, and does the bastion know its name and reach its port?".to_owned())),
            Self::Behind { bastion, reason, .. } if reason == NO_ROOM => (Stage::Connect, K::Proxy, Some(format!("use fewer nodes at a time with --forks, or check the limits of sshd on {bastion}"))),
            Self::Behind { bastion, host, port, reason } if reason == PROHIBITED => (Stage::Connect, K::Proxy, Some(format!("does {bastion} resolve {host}, and reach its port {port}? If so, the sshd of {bastion} must allow TCP forwarding (AllowTcpForwarding, PermitOpen)"))),
            Self::Behind { bastion, .. } => (Stage::Connect, K::Proxy, Some(format!("the sshd of {bastion} must allow TCP forwarding (AllowTcpForwarding, PermitOpen)"))),
            Self::Proxy { .. } => (Stage::Connect, K::Proxy, Some("run the command yourself: it must print the node's SSH greeting".to_owned())),
            Self::Negotiation { hint, .. } => (Stage::Connect, K::Negotiation, hint.clone()),
            Self::HostKeyUnknown { .. } => (
                Stage::Connect,
                K::HostKeyUnknown,
                Some("compare the fingerprint with the node's console, then run ctl at a terminal and answer yes, add the key with `ssh-keyscan`, or run once with --host-key accept-new".to_owned()),
            ),
            Self::HostKeyChanged { remove, .. } => {
                let mut hint = "this may be an attack, or the node was reinstalled: check the fingerprint on the node's console".to_owned();
                if let Some(remove) = remove {
                    hint.push_str(&format!("; if it is the new key, remove the old one with `{remove}`"));
                }
                (Stage::Connect, K::HostKeyChanged, Some(hint))
            }
            Self::HostKeyRevoked { .. } => (Stage::Connect, K::HostKeyRevoked, Some("do not connect: give the node a new host key".to_owned())),
            Self::HostKeyTooShort { .. } => (Stage::Connect, K::Negotiation, Some("give the node a longer RSA key, or an ed25519 key (RequiredRSASize sets the minimum)".to_owned())),
            Self::KnownHosts { .. } => (Stage::Connect, K::HostKeyUnknown, Some("fix the file, or use another with --known-hosts".to_owned())),
            Self::RevokedKeys { .. } => (Stage::Connect, K::HostKeyUnknown, Some("fix the file that RevokedHostKeys names: until then any key might be revoked, and none is accepted".to_owned())),
            Self::Auth { hint, .. } => (Stage::Authenticate, K::Auth, Some(hint.clone())),
            Self::KeyFile { hint, .. } => (Stage::Authenticate, K::KeyFile, Some(hint.clone())),
            Self::Agent { .. } => (Stage::Authenticate, K::Agent, Some("check $SSH_AUTH_SOCK and `ssh-add -l`".to_owned())),
            Self::Controller { .. } => (
                Stage::Connect,
                K::Controller,
                Some("raise the limit (`ulimit -n`, `ulimit -u`), or use fewer nodes at a time with --forks".to_owned()),
            ),
            Self::Lost { .. } => (Stage::Connect, K::ConnectionLost, None),
            Self::Silent { .. } => (Stage::Inspect, K::TimedOut, Some(HUNG.to_owned())),
            Self::CommandRefused { reason } if reason == REQUEST_FAILED => (
                Stage::Inspect,
                K::Command,
                Some("the user is probably at its process limit (`nproc` in limits.conf, TasksMax): check as another user with `ps -u USER`; an account that may not run commands (file transfer only) is refused in the same way".to_owned()),
            ),
            Self::CommandRefused { .. } => (
                Stage::Inspect,
                K::Command,
                Some("raise MaxSessions in the node's sshd_config, or allow commands for this user".to_owned()),
            ),
            Self::ChannelRefused { .. } => (Stage::Inspect, K::Protocol, Some("something must listen there, and the node's sshd_config must allow forwarding for this user (AllowTcpForwarding, AllowStreamLocalForwarding, PermitOpen); or use --via supervisorctl".to_owned())),
        };
        Failure { stage, kind, message: self.to_string(), hint }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bastion_is_named_with_what_to_do_there() {
        let hint = |reason: &str| {
            let [bastion, host, reason] = ["gate", "n1", reason].map(str::to_owned);
            TransportError::Behind { bastion, host, port: 22, reason }.failure().hint.unwrap_or_default()
        };
        assert!(hint(NO_ROOM).contains("--forks") && hint(NO_ROOM).contains("sshd on gate"), "{}", hint(NO_ROOM));
        let forbidden = hint("AdministrativelyProhibited");
        assert!(forbidden.contains("sshd of gate") && forbidden.contains("AllowTcpForwarding"), "{forbidden}");
    }

    /// OpenSSH 7.4 gives this reason also for a name that it cannot resolve and for a port that refuses at once.
    #[test]
    fn a_prohibited_stream_names_both_causes() {
        let [bastion, host, reason] = ["gate", "n1", "AdministrativelyProhibited"].map(str::to_owned);
        let behind = TransportError::Behind { bastion, host, port: 22, reason };
        let Failure { kind, message, hint, .. } = behind.failure();
        let hint = hint.unwrap_or_default();
        assert_eq!(kind, FailureKind::Proxy);
        assert!(message.contains("it forbids forwarding, or cannot resolve or reach the host"), "{message}");
        assert!(hint.contains("gate resolve n1") && hint.contains("AllowTcpForwarding"), "{hint}");
        assert!(behind.is_transient() && !behind.may_come_back());
        let [what, reason] = ["localhost:8089", "AdministrativelyProhibited"].map(str::to_owned);
        let refused = TransportError::ChannelRefused { what, reason };
        assert!(refused.is_prohibited() && !refused.nobody_listens() && !refused.is_transient());
        let hint = refused.failure().hint.unwrap_or_default();
        assert!(hint.contains("listen") && hint.contains("AllowTcpForwarding"), "{hint}");
    }

    #[test]
    fn what_may_come_back_may_also_be_a_bastion() {
        let at_a_bastion = |source| TransportError::Bastion { bastion: "gate".to_owned(), source: Box::new(source) };
        let lost = || TransportError::Lost { reason: "cut".to_owned() };
        assert!(lost().may_come_back() && at_a_bastion(lost()).may_come_back());
        assert!(at_a_bastion(at_a_bastion(lost())).may_come_back());
        let forbidden = || TransportError::ChannelRefused {
            what: "a socket".to_owned(),
            reason: "AdministrativelyProhibited".to_owned(),
        };
        assert!(!forbidden().may_come_back() && !at_a_bastion(forbidden()).may_come_back());
    }

    /// sshd counts no stream against MaxSessions.
    #[test]
    fn a_stream_that_is_refused_is_no_matter_of_sessions() {
        let [what, reason] = ["/run/a.sock", "AdministrativelyProhibited"].map(str::to_owned);
        let hint = TransportError::ChannelRefused { what, reason }.failure().hint.unwrap_or_default();
        assert!(!hint.contains("MaxSessions") && hint.contains("--via supervisorctl"), "{hint}");
    }
}
