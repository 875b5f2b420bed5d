//! The validated inventory: nodes, roles and groups, as data. This file does no parsing and no I/O.

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use nodeset::NodeSet;

use super::role_names::canonical_role;
use ctl_event::Via;

/// All facts about a cluster before the first connection.
#[derive(Debug, Clone)]
pub struct Inventory {
    /// Its file.
    pub path: PathBuf,
    /// Every node, in the order of the file.
    pub nodes: Vec<Arc<Node>>,
    /// Every role by its canonical name: the built-in ones with the file's changes, and the file's own.
    pub roles: BTreeMap<String, Arc<Role>>,
    /// Every group by name.
    pub groups: BTreeMap<String, NodeSet>,
    /// Omissions from the live source that do not change a connection, one line each.
    pub source_notes: Vec<String>,
}

impl Inventory {
    /// The node with this name.
    #[must_use]
    pub fn node(&self, name: &str) -> Option<&Arc<Node>> {
        self.nodes.iter().find(|node| node.name == name)
    }

    /// The role with this name or alias.
    #[must_use]
    pub fn role(&self, name: &str) -> Option<&Arc<Role>> {
        self.roles.get(canonical_role(name))
    }
}

/// A host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Node {
    /// Its name, as users type it.
    pub name: String,
    /// Host name or address to connect to; defaults to the name.
    pub address: String,
    /// Canonical names of its roles, in the order of the file, without duplicates.
    pub roles: Vec<String>,
    /// Connection settings: the node's own, with the file's `defaults` filled in.
    pub ssh: InventorySsh,
    /// Whether its commands use sudo.
    pub sudo: bool,
    /// The backend that reaches its supervisords; none means `auto`.
    pub via: Option<Via>,
    /// Time limit of an action on it.
    pub timeout: Option<Duration>,
    /// The reason for its maintenance: `ctl` leaves the node alone.
    pub maintenance: Option<String>,
}

/// A node's SSH settings in the inventory. None means not set.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct InventorySsh {
    /// TCP port, 1 to 65535.
    pub port: Option<u16>,
    /// User to log in as.
    pub user: Option<String>,
    /// Private key files, `~` and `$VAR` expanded.
    pub identities: Vec<PathBuf>,
    /// Jump hosts as written: `[user@]host[:port]`, separated by commas.
    pub jump: Option<String>,
    /// Time limit from the first attempt to an authenticated session.
    pub connect_timeout: Option<Duration>,
    /// How long the connection is kept after a command; zero: it is not.
    pub persist: Option<Duration>,
    /// The algorithms from `ssh_options`: each keyword at most once, in the order of [`SshKeyword::ALL`].
    pub algorithms: Vec<SshOption>,
}

/// One of a node's `ssh_options`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SshOption {
    /// The keyword of ssh_config.
    pub keyword: SshKeyword,
    /// Its value in the syntax of ssh_config: names that OpenSSH knows, separated by commas, optionally after `+`, `-`
    /// or `^`.
    pub value: Arc<str>,
    /// The source of the value.
    pub origin: OptionOrigin,
}

/// A keyword allowed in `ssh_options`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum SshKeyword {
    /// Host keys, and the signatures made with them.
    HostKeyAlgorithms,
    /// Key exchanges.
    KexAlgorithms,
    /// Ciphers.
    Ciphers,
    /// `MACs`.
    Macs,
    /// Signatures for public key authentication.
    PubkeyAcceptedAlgorithms,
}

impl SshKeyword {
    /// Every value, in order.
    pub const ALL: [Self; 5] =
        [Self::HostKeyAlgorithms, Self::KexAlgorithms, Self::Ciphers, Self::Macs, Self::PubkeyAcceptedAlgorithms];

    /// The name in ssh_config.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::HostKeyAlgorithms => "HostKeyAlgorithms",
            Self::KexAlgorithms => "KexAlgorithms",
            Self::Ciphers => "Ciphers",
            Self::Macs => "MACs",
            Self::PubkeyAcceptedAlgorithms => "PubkeyAcceptedAlgorithms",
        }
    }
}

impl fmt::Display for SshKeyword {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// The source of a node's setting.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum OptionOrigin {
    /// Its own entry.
    Node,
    /// The first of its roles with the setting, by canonical name.
    Role(Arc<str>),
    /// `defaults`.
    Defaults,
}

impl fmt::Display for OptionOrigin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Node => f.write_str("the node"),
            Self::Role(role) => write!(f, "the role {role}"),
            Self::Defaults => f.write_str("defaults"),
        }
    }
}

/// A function of the cluster, with supervisords of its own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Role {
    /// Canonical name.
    pub name: String,
    /// Its supervisord instances.
    pub supervisors: Vec<Supervisor>,
    /// Its services outside supervisord, which init runs.
    pub init_services: Vec<String>,
    /// The number of its nodes that may be down at once; none means no limit.
    pub max_unavailable: Option<UnavailableCap>,
    /// Service to the port of its introspect server.
    pub introspect: BTreeMap<String, u16>,
    /// Programs that exit on purpose, as groups or `group:process`.
    pub oneshot: Vec<String>,
}

impl Role {
    /// Whether the file lists a process as oneshot.
    #[must_use]
    pub fn is_oneshot(&self, group: &str, process: &str) -> bool {
        let is_it = |name: &String| match name.split_once(':') {
            Some((of, own)) => of == group && own == process,
            None => name == group,
        };
        self.oneshot.iter().any(is_it)
    }

    /// Whether the catalogue or the file assigns this service to the role. `service` may be a program (`contrail-api`),
    /// a process (`contrail-api:0`), an instance or an init service.
    #[must_use]
    pub fn has_service(&self, service: &str) -> bool {
        let group = service.split(':').next().unwrap_or(service);
        self.init_services.iter().any(|name| name == service)
            || self.supervisors.iter().any(|supervisor| {
                supervisor.name == service || supervisor.services.iter().any(|name| name == group || name == service)
            })
    }
}

/// One supervisord instance of a role.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Supervisor {
    /// Name of its init service, such as `supervisor-analytics`.
    pub name: String,
    /// Candidate addresses; the first that answers is used.
    pub addresses: Vec<ControlAddress>,
    /// Names of its known groups or programs. Its own process list is authoritative.
    pub services: Vec<String>,
    /// The `services` whose stop makes Contrail's node manager restart the whole instance (config: from 1.10 on; in 3.2
    /// only for `ifmap`).
    pub cascades: Vec<String>,
    /// Not every release or distribution has it: its absence is not a fault.
    pub optional: bool,
    /// Its configuration file on the node, if known.
    pub config_file: Option<String>,
    /// User name for HTTP basic authentication.
    pub username: Option<String>,
    /// File on the controller with the password; read before the first connection.
    pub password_file: Option<PathBuf>,
}

/// An address at which a supervisord listens, on its own node.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ControlAddress {
    /// Absolute path of a unix socket.
    Unix(String),
    /// A TCP port; `host` from the node's point of view.
    Http {
        /// Usually `localhost`.
        host: String,
        /// 1 to 65535.
        port: u16,
    },
}

impl fmt::Display for ControlAddress {
    /// The syntax of `supervisorctl -s`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unix(path) => write!(f, "unix://{path}"),
            // An IPv6 address needs brackets in a URL (RFC 3986).
            Self::Http { host, port } if host.contains(':') => write!(f, "http://[{host}]:{port}"),
            Self::Http { host, port } => write!(f, "http://{host}:{port}"),
        }
    }
}

/// The number of a role's nodes that may be down at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum UnavailableCap {
    /// A number of nodes.
    Nodes(u32),
    /// A percentage, 1 to 100.
    Percent(u8),
}
