//! The running lab: it starts the nodes, writes the files, and stops everything when it is dropped.
//!
//! Invariants: `start` returns only when every node that should listen does, and only addresses in 127/8 are bound.

use std::io;
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use russh::keys::{Algorithm, PrivateKey};
use tempfile::TempDir;
use tokio::net::TcpListener;

use crate::files::{Files, Host};
use crate::net;
use crate::node::{Node, NodeInner};
use crate::shared::Shared;
use crate::spec::{ClusterSpec, NodeSpec};
use crate::sshd::Login;
use crate::util::Clock;

/// An error that keeps a lab from starting, or from finding a node.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LabError {
    /// No port was free on all addresses.
    #[error("find a port that is free on every node's address")]
    NoPort(#[source] io::Error),
    /// A file of the lab could not be written.
    #[error("write {path}")]
    File {
        /// The path of the file.
        path: PathBuf,
        /// The cause.
        #[source]
        source: io::Error,
    },
    /// The temporary directory could not be created.
    #[error("create a temporary directory")]
    Dir(#[source] io::Error),
    /// A key could not be generated or written.
    #[error("make a key")]
    Key(#[source] russh::keys::ssh_key::Error),
    /// Two nodes share a name or address, an address is outside 127/8, or none is left.
    #[error("use the node specification: {0}")]
    Spec(String),
    /// No node has this name.
    #[error("find a node named `{0}`")]
    UnknownNode(String),
    /// Unknown fault name.
    #[error("understand the fault `{0}`")]
    UnknownFault(String),
    /// `Lab::start` was polled outside a tokio runtime.
    #[error("find the tokio runtime that the lab is to run on")]
    NoRuntime(#[source] tokio::runtime::TryCurrentError),
}

/// A running cluster. Dropping it closes every listener and connection and removes the directory.
pub struct Lab {
    nodes: Vec<Node>,
    files: Arc<Files>,
    port: u16,
    dir: TempDir,
}

/// The number of other ports to try when one is in use on some address.
const PORT_TRIES: usize = 20;

impl Lab {
    /// Starts the cluster on the caller's runtime, with everything running.
    ///
    /// # Errors
    /// [`LabError`]; nothing is left running then.
    pub async fn start(spec: ClusterSpec) -> Result<Self, LabError> {
        let runtime = tokio::runtime::Handle::try_current().map_err(LabError::NoRuntime)?;
        let addresses = addresses(&spec.nodes)?;
        let (port, listeners) = bind_all(&addresses, spec.port)?;
        let dir = tempfile::Builder::new().prefix("contrail-lab-").tempdir().map_err(LabError::Dir)?;
        let identity = new_key()?;
        let other = new_key()?;
        let clock = Clock::start();
        let (mut hosts, mut starts) = (Vec::new(), Vec::new());
        for (index, ((node, address), listener)) in spec.nodes.into_iter().zip(addresses).zip(listeners).enumerate() {
            let key = new_key()?;
            let public = key.public_key().clone();
            let password = node.password.is_some();
            let login = Login::new(key, identity.public_key().clone(), password);
            // Pids differ between nodes, so that a test notices when it mixes up two nodes.
            let first_pid = 1000 + u32::try_from(index).unwrap_or(0) % 500 * 40;
            let shared = Shared::new(node, spec.timing, spec.guard_silence, clock, runtime.clone(), first_pid);
            let inner = Arc::new(NodeInner::new(shared, address, port));
            hosts.push(Host { shared: Arc::clone(&inner.shared), address, key: public });
            starts.push((inner, Arc::new(login), listener));
        }
        let other = other.public_key().clone();
        let files = Arc::new(Files::new(dir.path().to_owned(), port, hosts, other));
        files.write(&identity)?;
        let mut nodes = Vec::with_capacity(starts.len());
        for (inner, login, listener) in starts {
            runtime.spawn(net::run(Arc::clone(&inner), login, listener));
            nodes.push(Node { inner, files: Arc::clone(&files) });
        }
        let lab = Self { nodes, files, port, dir };
        lab.settle().await;
        Ok(lab)
    }

    /// Waits until listeners that should not exist are gone and black holes are in place.
    async fn settle(&self) {
        for node in &self.nodes {
            node.settled().await;
        }
    }

    /// The directory with the lab's files.
    #[must_use]
    pub fn dir(&self) -> &Path {
        self.dir.path()
    }

    /// The inventory.
    #[must_use]
    pub fn inventory_path(&self) -> PathBuf {
        self.files.path("inventory.yaml")
    }

    /// The known_hosts file; it follows the nodes' faults.
    #[must_use]
    pub fn known_hosts_path(&self) -> PathBuf {
        self.files.path("known_hosts")
    }

    /// The private key that the nodes accept.
    #[must_use]
    pub fn identity_path(&self) -> PathBuf {
        self.files.path("id_ed25519")
    }

    /// An ssh_config that lets OpenSSH reach every node by its name.
    #[must_use]
    pub fn ssh_config_path(&self) -> PathBuf {
        self.files.path("ssh_config")
    }

    /// The SSH port of all nodes.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The nodes in the order of the inventory.
    #[must_use]
    pub fn nodes(&self) -> &[Node] {
        &self.nodes
    }

    /// The node of that name.
    ///
    /// # Errors
    /// [`LabError::UnknownNode`] if there is no such node.
    pub fn node(&self, name: &str) -> Result<&Node, LabError> {
        self.nodes.iter().find(|node| node.name() == name).ok_or_else(|| LabError::UnknownNode(name.to_owned()))
    }
}

impl Drop for Lab {
    fn drop(&mut self) {
        for node in &self.nodes {
            node.inner.shared.closing.send_replace(true);
        }
    }
}

fn new_key() -> Result<PrivateKey, LabError> {
    PrivateKey::random(&mut russh::keys::key::safe_rng(), Algorithm::Ed25519).map_err(LabError::Key)
}

/// Each node's address: its own, or the next one from 127.10.0.1 on.
fn addresses(nodes: &[NodeSpec]) -> Result<Vec<Ipv4Addr>, LabError> {
    let mut names = std::collections::HashSet::new();
    let mut taken = std::collections::HashSet::new();
    let mut all = Vec::with_capacity(nodes.len());
    for (index, node) in nodes.iter().enumerate() {
        let index = u16::try_from(index).map_err(|_| LabError::Spec("more than 65,536 nodes".to_owned()))?;
        // 250 addresses to a network, so that no part is 0 or 255.
        let (c, d) = (index / 250, index % 250 + 1);
        let own = Ipv4Addr::new(127, 10, c.to_be_bytes()[1], d.to_be_bytes()[1]);
        let address = node.address.unwrap_or(own);
        if !address.is_loopback() {
            return Err(LabError::Spec(format!("{address} is not in 127/8")));
        }
        if !names.insert(&node.name) || !taken.insert(address) {
            return Err(LabError::Spec(format!("{} or {address} occurs twice", node.name)));
        }
        all.push(address);
    }
    if all.is_empty() {
        return Err(LabError::Spec("no nodes".to_owned()));
    }
    Ok(all)
}

/// Binds one port on all addresses. If the caller requires no port, another one is tried while it is in use on some
/// address.
fn bind_all(addresses: &[Ipv4Addr], asked: Option<u16>) -> Result<(u16, Vec<TcpListener>), LabError> {
    let mut last = io::Error::from(io::ErrorKind::AddrInUse);
    for _ in 0..PORT_TRIES {
        match try_bind_all(addresses, asked.unwrap_or(0)) {
            Ok(bound) => return Ok(bound),
            Err(error) => last = error,
        }
        if asked.is_some() || last.kind() != io::ErrorKind::AddrInUse {
            break;
        }
    }
    Err(LabError::NoPort(last))
}

fn try_bind_all(addresses: &[Ipv4Addr], port: u16) -> io::Result<(u16, Vec<TcpListener>)> {
    let mut port = port;
    let mut all = Vec::with_capacity(addresses.len());
    for address in addresses {
        let listener = net::bind(*address, port)?;
        port = listener.local_addr()?.port();
        all.push(listener);
    }
    Ok((port, all))
}
