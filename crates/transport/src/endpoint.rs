//! Where a connection leads, and how: data only.
//!
//! Here lives [`Endpoint`] and its parts. It uses nothing of ours. Invariants: an endpoint says everything about
//! a connection, so that equal endpoints may share one; it holds no secret.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};

/// How to reach one node, or a bastion on the way to it.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Endpoint {
    /// Name or address to connect to; also the name that known_hosts is asked for.
    pub host: String,
    /// TCP port.
    pub port: u16,
    /// Which kinds of address are used.
    pub family: AllowedFamilies,
    /// The address to connect from (`BindAddress`).
    pub bind: Option<String>,
    /// How it is reached.
    pub proxy: ProxyRoute,
    /// User and credentials.
    pub login: LoginSettings,
    /// How the key of the host is judged.
    pub host_keys: Arc<HostKeySettings>,
    /// What may be negotiated.
    pub algorithms: Arc<AlgorithmLists>,
    /// How a peer that died silently is noticed.
    pub keepalive: Keepalive,
    /// Time from the first attempt to an authenticated session, all attempts together. Each hop has its own.
    pub connect_timeout: Duration,
    /// Attempts after the first, for failures that pass.
    pub retries: u32,
    /// Whether the connection stays open for later commands; none: it ends with the run.
    pub keep: Option<KeepSettings>,
}

/// How a connection is kept between commands.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct KeepSettings {
    /// The name of the node, to list its connection under.
    pub name: String,
    /// How long it stays open without being used.
    pub idle: Duration,
}

/// Which kinds of address are used.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum AllowedFamilies {
    /// Any.
    #[default]
    Any,
    /// IPv4.
    Inet,
    /// IPv6.
    Inet6,
}

/// How a host is reached.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum ProxyRoute {
    /// Directly.
    #[default]
    Direct,
    /// A bastion, which opens the connection to the host. All hosts behind an equal bastion share its connection.
    Jump(Arc<Endpoint>),
    /// A command of the operator whose standard input and output are the connection; run by the shell.
    Command(String),
}

/// User and credentials.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct LoginSettings {
    /// User on the host.
    pub user: String,
    /// Private key files to offer.
    pub identities: Vec<PathBuf>,
    /// Whether `identities` were named by the operator (they are then offered before the agent's other keys,
    /// and one that cannot be read is worth reporting) or are the default ones.
    pub identities_named: bool,
    /// Files with OpenSSH user certificates for them.
    pub certificates: Vec<PathBuf>,
    /// Of the agent's keys, only those that are in `identities` or `certificates`.
    pub identities_only: bool,
    /// Socket of the SSH agent; none: no agent is asked.
    pub agent: Option<PathBuf>,
    /// Methods that may be tried, in this order.
    pub methods: Vec<AuthMethod>,
}

/// A way to log in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum AuthMethod {
    /// A key of a file or of the agent, or a certificate.
    PublicKey,
    /// Questions of the host, answered with the password where they are not echoed.
    KeyboardInteractive,
    /// The password.
    Password,
}

/// How the key of a host is judged.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct HostKeySettings {
    /// Files that hold known keys, the user's; new ones are written to the first.
    pub user_files: Vec<PathBuf>,
    /// The machine's files.
    pub global_files: Vec<PathBuf>,
    /// Files with revoked keys (`RevokedHostKeys`): public keys, a line each, or a key revocation list.
    pub revoked: Vec<PathBuf>,
    /// The name that is looked up instead of the host's (`HostKeyAlias`); it has no port.
    pub alias: Option<String>,
    /// The policy for unknown keys.
    pub policy: HostKeyPolicy,
    /// Whether names are hashed as they are written.
    pub hash_names: bool,
    /// RSA keys with fewer bits are refused (`RequiredRSASize`).
    pub min_rsa_bits: u32,
}

/// Whether a host without a known key is accepted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum HostKeyPolicy {
    /// Only keys that known_hosts holds.
    Strict,
    /// The same, but the operator may be asked beforehand whether those of hosts never seen before are to be trusted.
    Ask,
    /// A key of a host never seen before is taken and written down; a changed one is not.
    AcceptNew,
}

/// What may be negotiated, each list in the order of preference and with OpenSSH's names. None: our default.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct AlgorithmLists {
    /// `HostKeyAlgorithms`.
    pub host_keys: Option<Vec<String>>,
    /// `KexAlgorithms`.
    pub kex: Option<Vec<String>>,
    /// `Ciphers`.
    pub ciphers: Option<Vec<String>>,
    /// `MACs`.
    pub macs: Option<Vec<String>>,
    /// `PubkeyAcceptedAlgorithms`: signatures with which one logs in.
    pub accepted: Option<Vec<String>>,
}

/// How a peer that died silently is noticed: it is after `interval` × `count`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Keepalive {
    /// How long the peer may send nothing before it is sent a keepalive; zero: none is sent.
    pub interval: Duration,
    /// Unanswered keepalives after which it is given up.
    pub count: u32,
    /// Whether a connection that is kept is asked also while no command uses it: where the user has set the interval.
    pub when_idle: bool,
}

/// Endpoints for tests.
#[cfg(test)]
pub(super) mod fixtures {
    use super::*;

    /// An endpoint on loopback that knows no host key and has no key to log in with.
    pub(crate) fn loopback(port: u16) -> Endpoint {
        Endpoint {
            host: "127.0.0.1".to_owned(),
            port,
            family: AllowedFamilies::Any,
            bind: None,
            proxy: ProxyRoute::Direct,
            login: LoginSettings {
                user: "nobody".to_owned(),
                identities: Vec::new(),
                identities_named: false,
                certificates: Vec::new(),
                identities_only: false,
                agent: None,
                methods: vec![AuthMethod::PublicKey],
            },
            host_keys: Arc::new(HostKeySettings {
                user_files: vec![PathBuf::from("/nonexistent/known_hosts")],
                global_files: Vec::new(),
                revoked: Vec::new(),
                alias: None,
                policy: HostKeyPolicy::Strict,
                hash_names: false,
                min_rsa_bits: 1024,
            }),
            algorithms: Arc::default(),
            keepalive: Keepalive { interval: Duration::from_secs(10), count: 3, when_idle: false },
            connect_timeout: Duration::from_millis(1500),
            retries: 1,
            keep: None,
        }
    }
}
