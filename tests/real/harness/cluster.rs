//! A cluster of real nodes and of failing addresses, with everything that a run of `ctl` against it needs.

use std::fmt::Write as _;
use std::fs;
use std::net::{Ipv4Addr, SocketAddrV4, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use super::bastion::Bastion;
use super::command::{Finished, Running};
use super::listening;
use super::node::{Node, Silent};
use super::spec::NodeSpec;

/// A node's host key in the client's known_hosts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum HostKey {
    #[default]
    Known,
    /// Not in known_hosts.
    Unknown,
    /// known_hosts has another key.
    Changed,
    /// known_hosts has the key, and a `@revoked` line with it.
    Revoked,
}

enum Member {
    Real(Box<NodeSpec>),
    /// Nothing listens.
    Refused,
    /// Accepts, and never sends anything.
    Silent,
}

struct Entry {
    name: String,
    member: Member,
    roles: Vec<&'static str>,
    settings: Vec<String>,
    host_key: HostKey,
}

/// The description of a cluster; see [`Cluster::builder`].
pub(crate) struct Builder {
    entries: Vec<Entry>,
    defaults: String,
    sections: String,
    agent: bool,
    rsa_key: bool,
}

/// Real nodes share the machine with other work: a slow sshd must not look like an unreachable node.
const PATIENT: &str = "connect_timeout: 60s";

/// A running cluster. It ends when it is dropped.
pub(crate) struct Cluster {
    nodes: Vec<Node>,
    agent: Option<Running>,
    _silent: Vec<Silent>,
    dir: tempfile::TempDir,
    /// Reserves the /24 for this cluster, among all test binaries of the machine.
    _reservation: TcpListener,
}

impl Builder {
    fn add(mut self, name: &str, member: Member, roles: Vec<&'static str>) -> Self {
        let settings = if let Member::Real(spec) = &member { spec.inventory.clone() } else { Vec::new() };
        self.entries.push(Entry { name: name.to_owned(), member, roles, settings, host_key: HostKey::Known });
        self
    }

    /// A real node.
    pub(crate) fn node(self, name: &str, spec: NodeSpec) -> Self {
        let roles = spec.roles();
        self.add(name, Member::Real(Box::new(spec)), roles)
    }

    /// `PREFIX1` to `PREFIXcount`, all with the same spec.
    pub(crate) fn nodes(mut self, prefix: &str, count: u32, spec: &NodeSpec) -> Self {
        for number in 1..=count {
            self = self.node(&format!("{prefix}{number}"), spec.clone());
        }
        self
    }

    /// An address where nothing listens.
    pub(crate) fn refused(self, name: &str, role: &'static str) -> Self {
        self.add(name, Member::Refused, vec![role])
    }

    /// An address that accepts connections and sends nothing.
    pub(crate) fn silent(self, name: &str, role: &'static str) -> Self {
        self.add(name, Member::Silent, vec![role])
    }

    /// The known_hosts entry of a node added before.
    pub(crate) fn host_key(mut self, name: &str, host_key: HostKey) -> Self {
        self.entries.iter_mut().find(|entry| entry.name == name).expect("no such node was added before").host_key =
            host_key;
        self
    }

    /// Further defaults of the inventory, such as `user: ctlops, sudo: true`; otherwise the user is root.
    pub(crate) fn defaults(mut self, settings: &str) -> Self {
        settings.clone_into(&mut self.defaults);
        self
    }

    /// Further top-level sections of the inventory (`roles:`, `groups:`), as YAML.
    pub(crate) fn sections(mut self, yaml: &str) -> Self {
        yaml.clone_into(&mut self.sections);
        self
    }

    /// The client key exists only in an ssh-agent, not in a file.
    pub(crate) fn with_agent(mut self) -> Self {
        self.agent = true;
        self
    }

    /// The client also has an RSA key, `~/.ssh/id_rsa`, which every node accepts, because the oldest sshds do not know
    /// ed25519.
    pub(crate) fn with_rsa_key(mut self) -> Self {
        self.rsa_key = true;
        self
    }

    /// Starts everything, and waits until every program has left STARTING.
    pub(crate) fn start(self) -> Cluster {
        let dir = tempfile::Builder::new().prefix("ctl-real-").tempdir().unwrap();
        let home = dir.path().join("home");
        fs::create_dir_all(home.join(".ssh")).unwrap();
        let client_key = home.join(".ssh/id_ed25519");
        let mut client_public = keygen(&client_key, "ed25519");
        if self.rsa_key {
            client_public.push_str(&keygen(&home.join(".ssh/id_rsa"), "rsa"));
        }
        let agent = self.agent.then(|| start_agent(dir.path(), &client_key));

        let (reservation, network) = reserve_network();
        let addresses: Vec<Ipv4Addr> =
            (11..).take(self.entries.len()).map(|last| Ipv4Addr::new(127, network.0, network.1, last)).collect();
        let port = free_port(&addresses);

        let mut nodes = Vec::new();
        let mut silent = Vec::new();
        let mut known_hosts = String::new();
        let mut inventory = format!("version: 1\ndefaults: {{port: {port}");
        if self.defaults.contains("user:") {
            write!(inventory, ", {}", self.defaults).unwrap();
        } else {
            let separator = if self.defaults.is_empty() { "" } else { ", " };
            write!(inventory, ", user: root{separator}{}", self.defaults).unwrap();
        }
        write!(inventory, "}}\n{}\nnodes:\n", self.sections).unwrap();
        for (entry, address) in self.entries.into_iter().zip(addresses) {
            write!(inventory, "  {}: {{address: \"{address}\", roles: [{}]", entry.name, entry.roles.join(", "))
                .unwrap();
            for setting in &entry.settings {
                write!(inventory, ", {setting}").unwrap();
            }
            let patient = |settings: &str| settings.contains("connect_timeout");
            if matches!(entry.member, Member::Real(_))
                && !patient(&self.defaults)
                && !entry.settings.iter().any(|setting| patient(setting))
            {
                write!(inventory, ", {PATIENT}").unwrap();
            }
            inventory.push_str("}\n");

            let kinds = if let Member::Real(spec) = &entry.member { spec.host_keys() } else { vec!["ed25519"] };
            let host = format!("[{address}]:{port}");
            let mut key_files = Vec::new();
            for kind in kinds {
                let key_file = dir.path().join(format!("{}.{kind}", entry.name));
                let public = keygen(&key_file, kind);
                key_files.push(key_file);
                match entry.host_key {
                    HostKey::Known => {
                        writeln!(known_hosts, "{host} {}", public.trim()).unwrap();
                    }
                    HostKey::Unknown => {}
                    HostKey::Changed => {
                        let other = keygen(&dir.path().join(format!("{}.{kind}.other", entry.name)), kind);
                        writeln!(known_hosts, "{host} {}", other.trim()).unwrap();
                    }
                    HostKey::Revoked => {
                        writeln!(known_hosts, "{host} {0}\n@revoked * {0}", public.trim()).unwrap();
                    }
                }
            }
            match entry.member {
                Member::Real(spec) => nodes.push(Node::boot(
                    &entry.name,
                    SocketAddrV4::new(address, port),
                    *spec,
                    &dir.path().join(&entry.name),
                    &client_public,
                    &key_files,
                )),
                Member::Refused => {}
                Member::Silent => silent.push(Silent::open(address, port)),
            }
        }
        fs::write(home.join(".ssh/known_hosts"), known_hosts).unwrap();
        fs::write(dir.path().join("inventory.yaml"), inventory).unwrap();
        fs::write(dir.path().join("passwd"), passwd_with_home(&home)).unwrap();
        for node in &mut nodes {
            node.ready();
        }
        Cluster { nodes, agent, _silent: silent, dir, _reservation: reservation }
    }
}

impl Cluster {
    pub(crate) fn builder() -> Builder {
        Builder { entries: Vec::new(), defaults: String::new(), sections: String::new(), agent: false, rsa_key: false }
    }

    /// `count` nodes `a1`…, all with the same spec.
    pub(crate) fn of(count: u32, spec: &NodeSpec) -> Self {
        Self::builder().nodes("a", count, spec).start()
    }

    /// The real node of that name.
    pub(crate) fn node(&self, name: &str) -> &Node {
        self.nodes.iter().find(|node| node.name == name).unwrap_or_else(|| panic!("no real node {name}"))
    }

    /// The same, mutable, to open and close its port.
    pub(crate) fn node_mut(&mut self, name: &str) -> &mut Node {
        self.nodes.iter_mut().find(|node| node.name == name).unwrap_or_else(|| panic!("no real node {name}"))
    }

    /// The real nodes.
    pub(crate) fn nodes(&self) -> &[Node] {
        &self.nodes
    }

    /// The home directory for runs of `ctl`.
    pub(crate) fn home(&self) -> PathBuf {
        self.dir.path().join("home")
    }

    pub(crate) fn inventory(&self) -> PathBuf {
        self.dir.path().join("inventory.yaml")
    }

    /// The address of the sshd that [`Cluster::bare_sshd`] or [`Cluster::bastion`] starts for this number.
    pub(crate) fn bare_address(&self, number: u8) -> Ipv4Addr {
        let [a, b, c, _] = self.nodes.first().expect("the cluster has no node").endpoint.ip().octets();
        Ipv4Addr::new(a, b, c, 200 + number)
    }

    /// Starts an sshd without a node behind it. `settings` give its host keys. It has no known_hosts entry.
    pub(crate) fn bare_sshd(&self, number: u8, settings: &str) -> Bastion {
        let port = self.nodes.first().expect("the cluster has no node").endpoint.port();
        let endpoint = SocketAddrV4::new(self.bare_address(number), port);
        let client_key = fs::read_to_string(self.home().join(".ssh/id_ed25519.pub")).unwrap();
        Bastion::start(endpoint, &self.path(&format!("bastion{number}")), &client_key, settings)
    }

    /// Starts a bastion; `number` distinguishes several. Its key is in known_hosts, and it accepts the cluster's key.
    pub(crate) fn bastion(&self, number: u8, settings: &str) -> Bastion {
        let dir = self.path(&format!("bastion{number}"));
        fs::create_dir_all(&dir).unwrap();
        let host_key = dir.join("host_key");
        let public = keygen(&host_key, "ed25519");
        let bastion = self.bare_sshd(number, &format!("{settings}\nHostKey {}", host_key.display()));
        let known_hosts = self.home().join(".ssh/known_hosts");
        let mut known = fs::read_to_string(&known_hosts).unwrap();
        writeln!(known, "[{}]:{} {}", bastion.address(), bastion.endpoint.port(), public.trim()).unwrap();
        fs::write(&known_hosts, known).unwrap();
        bastion
    }

    /// The number of SSH connections that all real nodes have accepted together.
    pub(crate) fn connections(&self) -> u32 {
        self.nodes.iter().map(Node::connections).sum()
    }

    /// Gives a client on this machine a clean environment.
    pub(crate) fn environment(&self, command: &mut Command) {
        command
            .env_clear()
            .env("PATH", "/usr/local/bin:/usr/bin:/bin")
            .env("HOME", self.home())
            .env("LANG", "C.UTF-8")
            .current_dir(self.dir.path())
            .stdin(Stdio::null());
        if self.agent.is_some() {
            command.env("SSH_AUTH_SOCK", agent_socket(self.dir.path()));
        }
    }

    /// A command whose password database has the cluster's home too, because `ssh` and `ctl` look there. The program
    /// has the process id of this command.
    pub(crate) fn at_home(&self, program: &str) -> Command {
        self.with_passwd(&self.path("passwd"), program)
    }

    /// The same with another password database.
    pub(crate) fn with_passwd(&self, passwd: &Path, program: &str) -> Command {
        let mut command = Command::new("unshare");
        self.environment(&mut command);
        let script = "mount --bind \"$0\" /etc/passwd && exec \"$@\"";
        command.args(["--mount", "--propagation", "private", "sh", "-c", script]).arg(passwd).arg(program);
        command
    }

    /// A command line of `ctl` for this cluster, not started yet.
    pub(crate) fn ctl_command<'a>(&self, words: impl IntoIterator<Item = &'a str>) -> Command {
        let mut command = self.at_home(env!("CARGO_BIN_EXE_ctl"));
        command.env("CTL_INVENTORY", self.inventory()).args(words);
        command
    }

    /// Runs `ctl` with these space-separated words to its end.
    pub(crate) fn ctl(&self, line: &str) -> Finished {
        self.ctl_start(line).finish()
    }

    /// Runs `ctl` with words that may contain spaces.
    pub(crate) fn ctl_words(&self, words: &[&str]) -> Finished {
        Running::start(self.ctl_command(words.iter().copied())).finish()
    }

    /// Starts `ctl` with these space-separated words.
    pub(crate) fn ctl_start(&self, line: &str) -> Running {
        Running::start(self.ctl_command(line.split_whitespace()))
    }

    /// OpenSSH's client for a node, with the cluster's key and known_hosts: `ssh OPTIONS user@node`.
    pub(crate) fn ssh(&self, user: &str, node: &str, options: &[&str]) -> Command {
        let endpoint = self.node(node).endpoint;
        let mut command = Command::new("ssh");
        self.environment(&mut command);
        command
            .args(["-F", "none", "-o", "BatchMode=yes", "-o", "IdentityFile=none"])
            .args(["-o", &format!("UserKnownHostsFile={}", self.home().join(".ssh/known_hosts").display())]);
        if self.agent.is_none() {
            command.arg("-i").arg(self.home().join(".ssh/id_ed25519"));
        }
        command.args(options).args(["-p", &endpoint.port().to_string(), &format!("{user}@{}", endpoint.ip())]);
        command
    }

    /// Creates a key pair that no node accepts; returns the path of the private key.
    pub(crate) fn new_key(&self, name: &str) -> PathBuf {
        let path = self.path(name);
        keygen(&path, "ed25519");
        path
    }

    /// The path of a file for the test itself.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("inventory:\n{}", fs::read_to_string(self.inventory()).unwrap_or_default());
        }
        self.agent = None;
    }
}

/// Creates a key pair without a passphrase, and returns the public key.
pub(super) fn keygen(path: &Path, kind: &str) -> String {
    let output =
        Command::new("ssh-keygen").args(["-q", "-t", kind, "-N", "", "-C", "", "-f"]).arg(path).output().unwrap();
    assert!(output.status.success(), "ssh-keygen: {}", String::from_utf8_lossy(&output.stderr));
    fs::read_to_string(path.with_file_name(format!("{}.pub", path.file_name().unwrap().to_string_lossy()))).unwrap()
}

fn agent_socket(dir: &Path) -> PathBuf {
    dir.join("agent.sock")
}

/// The machine's password database, except for the home of root, who runs all of this.
fn passwd_with_home(home: &Path) -> String {
    let passwd = fs::read_to_string("/etc/passwd").unwrap();
    let of_root = |line: &str| {
        let mut fields: Vec<_> = line.split(':').map(str::to_owned).collect();
        if fields.get(2).is_some_and(|uid| uid == "0") {
            home.to_str().unwrap().clone_into(&mut fields[5]);
        }
        fields.join(":") + "\n"
    };
    passwd.lines().map(of_root).collect()
}

/// Starts an agent in the foreground, adds the key to it, and removes the file.
fn start_agent(dir: &Path, key: &Path) -> Running {
    let socket = agent_socket(dir);
    let mut command = Command::new("ssh-agent");
    command.args(["-D", "-a"]).arg(&socket).stdin(Stdio::null());
    let agent = Running::start(command);
    listening("the agent", &socket);
    let added = Command::new("ssh-add").arg("-q").arg(key).env("SSH_AUTH_SOCK", &socket).output().unwrap();
    assert!(added.status.success(), "ssh-add: {}", String::from_utf8_lossy(&added.stderr));
    fs::remove_file(key).unwrap();
    agent
}

/// Reserves a /24 of loopback for this cluster: the process that can bind its last address owns it.
pub(super) fn reserve_network() -> (TcpListener, (u8, u8)) {
    (77..100)
        .flat_map(|second| (1..=254).map(move |third| (second, third)))
        .find_map(|(second, third)| {
            let listener = TcpListener::bind((Ipv4Addr::new(127, second, third, 254), 47_999)).ok()?;
            Some((listener, (second, third)))
        })
        .expect("cannot find a free /24 of loopback")
}

/// A port that is free on all the addresses. It is below the kernel's range for client ports, so that it stays free.
pub(super) fn free_port(addresses: &[Ipv4Addr]) -> u16 {
    (2222..3222)
        .find(|port| addresses.iter().all(|address| TcpListener::bind((*address, *port)).is_ok()))
        .expect("cannot find a port that is free on every address of the cluster")
}
