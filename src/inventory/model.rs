//! The validated inventory: nodes, roles and groups, as data. No text and no file is read here.

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use crate::event::Via;
use crate::nodeset::NodeSet;

/// Everything `ctl` knows of a cluster before it has asked a node.
#[derive(Debug, Clone)]
pub struct Inventory {
    /// The file it was read from.
    pub path: PathBuf,
    /// Every node, in the order of the file.
    pub nodes: Vec<Arc<Node>>,
    /// Every role by its canonical name: the built-in ones, changed by the file, and the file's own.
    pub roles: BTreeMap<String, Arc<Role>>,
    /// Every group by name.
    pub groups: BTreeMap<String, NodeSet>,
}

impl Inventory {
    /// The node of this name.
    #[must_use]
    pub fn node(&self, name: &str) -> Option<&Arc<Node>> {
        self.nodes.iter().find(|node| node.name == name)
    }

    /// The role of this name or alias.
    #[must_use]
    pub fn role(&self, name: &str) -> Option<&Arc<Role>> {
        self.roles.get(super::catalogue::canonical_role(name))
    }
}

/// A machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Node {
    /// Its name, as operators type it.
    pub name: String,
    /// Name or address to connect to; the name where the file gives none.
    pub address: String,
    /// Canonical names of its roles, in the order of the file, each once.
    pub roles: Vec<String>,
    /// How to connect. The node's own settings with the file's `defaults` filled in.
    pub ssh: InventorySsh,
    /// Whether commands on it go through sudo.
    pub sudo: bool,
    /// The way to its supervisords; none means `auto`.
    pub via: Option<Via>,
    /// Time for the action on it.
    pub timeout: Option<Duration>,
    /// Why it is not to be touched.
    pub maintenance: Option<String>,
}

/// What the inventory says of a node's SSH connection. None means that the file does not say.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct InventorySsh {
    /// TCP port, 1 to 65535.
    pub port: Option<u16>,
    /// User to log in as.
    pub user: Option<String>,
    /// Private key files, `~` and `$VAR` expanded.
    pub identities: Vec<PathBuf>,
    /// Bastions on the way, as written: `[user@]host[:port]`, commas between them.
    pub jump: Option<String>,
    /// Time from the first attempt to an authenticated session.
    pub connect_timeout: Option<Duration>,
    /// What may be negotiated, as `ssh_options` says it: each keyword at most once, in the order of [`SshKeyword::ALL`].
    pub algorithms: Vec<SshOption>,
}

/// One of a node's `ssh_options`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SshOption {
    /// The keyword of ssh_config.
    pub keyword: SshKeyword,
    /// Its value as ssh_config takes it: names that OpenSSH knows with commas between, perhaps behind `+`, `-` or `^`.
    pub value: Arc<str>,
    /// Who says so.
    pub origin: OptionOrigin,
}

/// A keyword that `ssh_options` takes.
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
    /// Signatures with which one logs in.
    PubkeyAcceptedAlgorithms,
}

impl SshKeyword {
    /// All of them.
    pub const ALL: [Self; 5] =
        [Self::HostKeyAlgorithms, Self::KexAlgorithms, Self::Ciphers, Self::Macs, Self::PubkeyAcceptedAlgorithms];

    /// As ssh_config writes it.
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

/// Where a node's setting comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum OptionOrigin {
    /// Its own entry.
    Node,
    /// The first of its roles that says so, by canonical name.
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

/// A function in the cluster that has its own supervisords.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Role {
    /// Canonical name.
    pub name: String,
    /// Its supervisord instances.
    pub supervisors: Vec<Supervisor>,
    /// Services of the role that init runs, outside supervisord.
    pub init_services: Vec<String>,
    /// How many of its nodes may be down at once; none means any number.
    pub max_unavailable: Option<UnavailableCap>,
    /// Service to the port of its introspect server.
    pub introspect: BTreeMap<String, u16>,
    /// Programs, as groups or `group:process`, that are made to end.
    pub oneshot: Vec<String>,
}

impl Role {
    /// Whether the file says that a process is made to end.
    #[must_use]
    pub fn is_oneshot(&self, group: &str, process: &str) -> bool {
        let is_it = |name: &String| match name.split_once(':') {
            Some((of, own)) => of == group && own == process,
            None => name == group,
        };
        self.oneshot.iter().any(is_it)
    }

    /// Whether the catalogue or the file gives this service to the role. `service` may be a program
    /// (`contrail-api`), a process (`contrail-api:0`), an instance or an init service.
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
    /// Name of the init service that runs it, such as `supervisor-analytics`.
    pub name: String,
    /// Where it may listen; the first that answers is used.
    pub addresses: Vec<ControlAddress>,
    /// Group or program names it is known to run. What it lists itself is the truth.
    pub services: Vec<String>,
    /// Those of `services` whose stop makes Contrail's node manager restart the whole instance (config: 1.10 to 3.1).
    pub cascades: Vec<String>,
    /// Not every release or distribution has it: where it is missing, that is no fault.
    pub optional: bool,
    /// Its configuration file on the node, where known.
    pub config_file: Option<String>,
    /// User name for HTTP basic authentication.
    pub username: Option<String>,
    /// File on the controller that holds the password; read before anything connects.
    pub password_file: Option<PathBuf>,
}

/// Where a supervisord listens, on its own node.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ControlAddress {
    /// Absolute path of a unix socket.
    Unix(String),
    /// A TCP port; `host` as seen from the node.
    Http {
        /// Usually `localhost`.
        host: String,
        /// 1 to 65535.
        port: u16,
    },
}

impl fmt::Display for ControlAddress {
    /// The form that `supervisorctl -s` takes.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unix(path) => write!(f, "unix://{path}"),
            Self::Http { host, port } if host.contains(':') => write!(f, "http://[{host}]:{port}"),
            Self::Http { host, port } => write!(f, "http://{host}:{port}"),
        }
    }
}

/// How many nodes of a role may be down at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum UnavailableCap {
    /// So many nodes.
    Nodes(u32),
    /// So many of a hundred, 1 to 100.
    Percent(u8),
}
