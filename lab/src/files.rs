//! The files that a lab writes for its clients: inventory, known_hosts, identity, ssh_config.
//!
//! Invariants: known_hosts has the entries that each node's faults require; only its owner can read the identity; a file
//! is replaced atomically.

use std::fmt::Write as _;
use std::io;
use std::net::Ipv4Addr;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use russh::keys::ssh_key::LineEnding;
use russh::keys::{PrivateKey, PublicKey};

use crate::LabError;
use crate::fault::Fault;
use crate::shared::Shared;

/// The data about one node for known_hosts and the inventory.
pub(crate) struct Host {
    pub(crate) shared: Arc<Shared>,
    pub(crate) address: Ipv4Addr,
    pub(crate) key: PublicKey,
}

/// See the module's head.
pub(crate) struct Files {
    dir: PathBuf,
    port: u16,
    hosts: Vec<Host>,
    /// A key that no node has.
    other: PublicKey,
}

impl Files {
    pub(crate) fn new(dir: PathBuf, port: u16, hosts: Vec<Host>, other: PublicKey) -> Self {
        Self { dir, port, hosts, other }
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.dir.join(name)
    }

    /// Writes all of them.
    pub(crate) fn write(&self, identity: &PrivateKey) -> Result<(), LabError> {
        let text = identity.to_openssh(LineEnding::LF).map_err(LabError::Key)?;
        write(&self.path("id_ed25519"), &text, 0o600)?;
        let public = identity.public_key().to_openssh().map_err(LabError::Key)?;
        write(&self.path("id_ed25519.pub"), &format!("{public}\n"), 0o644)?;
        self.write_known_hosts()?;
        write(&self.path("inventory.yaml"), &self.inventory(), 0o644)?;
        write(&self.path("ssh_config"), &self.ssh_config(), 0o644)
    }

    pub(crate) fn write_known_hosts(&self) -> Result<(), LabError> {
        let mut text = String::from("# Written by contrail-lab.\n");
        for host in &self.hosts {
            let names = format!("[{}]:{port},[{}]:{port}", host.address, host.shared.spec.name, port = self.port);
            let key = host.key.to_openssh().map_err(LabError::Key)?;
            let other = self.other.to_openssh().map_err(LabError::Key)?;
            let faults = host.shared.faults();
            let lines = if faults.has(&Fault::UnknownHostKey) {
                String::new()
            } else if faults.has(&Fault::WrongHostKey) {
                format!("{names} {other}\n")
            } else if faults.has(&Fault::RevokedHostKey) {
                format!("@revoked {names} {key}\n{names} {key}\n")
            } else {
                format!("{names} {key}\n")
            };
            text.push_str(&lines);
        }
        write(&self.path("known_hosts"), &text, 0o644)
    }

    fn inventory(&self) -> String {
        let identity = self.path("id_ed25519");
        let identity = yaml_string(&identity.to_string_lossy());
        let mut text =
            format!("version: 1\ndefaults: {{port: {}, user: root, identity: {identity}}}\nnodes:\n", self.port);
        for host in &self.hosts {
            let spec = &host.shared.spec;
            let faults = host.shared.faults();
            let is_listed = |role: &&str| !faults.has(&Fault::Unlisted((*role).to_owned()));
            let roles: Vec<_> = spec.roles.iter().map(|r| r.name()).filter(is_listed).collect();
            let mut line = format!("  {}: {{address: {}, roles: [{}]", spec.name, host.address, roles.join(", "));
            if spec.login() != "root" {
                line.push_str(&format!(", user: {}", yaml_string(spec.login())));
            }
            if spec.needs_sudo() {
                line.push_str(", sudo: true");
            }
            text.push_str(&line);
            text.push_str("}\n");
        }
        text
    }

    fn ssh_config(&self) -> String {
        let mut text = String::new();
        for host in &self.hosts {
            // Writing to a String cannot fail.
            let _ok = writeln!(
                text,
                "Host {}\n  HostName {}\n  User {}",
                host.shared.spec.name,
                host.address,
                host.shared.spec.login()
            )
            .is_ok();
        }
        let _ok = write!(
            text,
            "Host *\n  Port {}\n  IdentityFile \"{}\"\n  IdentitiesOnly yes\n  UserKnownHostsFile \"{}\"\n  \
             GlobalKnownHostsFile none\n  StrictHostKeyChecking yes\n",
            self.port,
            self.path("id_ed25519").display(),
            self.path("known_hosts").display()
        )
        .is_ok();
        text
    }
}

/// A YAML string in double quotes.
fn yaml_string(text: &str) -> String {
    format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\""))
}

/// Writes a file atomically: a reader sees the old text or the new one.
fn write(path: &Path, text: &str, mode: u32) -> Result<(), LabError> {
    let fail = |source| LabError::File { path: path.to_owned(), source };
    let new = path.with_extension("new");
    let replace = || -> io::Result<()> {
        let mut options = std::fs::OpenOptions::new();
        let mut file = options.write(true).create(true).truncate(true).mode(mode).open(&new)?;
        io::Write::write_all(&mut file, text.as_bytes())?;
        std::fs::rename(&new, path)
    };
    replace().map_err(fail)
}
