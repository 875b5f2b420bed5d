//! What the typed words mean: the inventory that is read, how each node is reached, where results go.
//!
//! After this no clap type exists. What always holds: a setting on the command line is stronger than the
//! inventory's, which is stronger than the default; what cannot be honoured is refused before a node is touched.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use secrecy::SecretString;

use super::args::{BatchArgs, FanoutArgs, GateArg, HostKey};
use super::report::CliError;
use super::terminal;
use crate::guard::Holder;
use crate::inventory::{self, Environment, Inventory, Node};
use crate::journal::Document;
use crate::plan::amount::Serial;
use crate::plan::policy::{GATE_TIMEOUT, Gate, Policy};
use crate::remote::Sudo;
use crate::run::NodeAccess;
use crate::select::SelectedNode;
use crate::transport::ssh_config::{self, HostQuery};
use crate::transport::{AddressFamily, Endpoint, HostKeyPolicy, HostKeySettings, Keepalive, Login, Method, Proxy};

const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
const ACTION_TIMEOUT: Duration = Duration::from_secs(120);
/// A peer that has died without a word is noticed after half a minute.
const KEEPALIVE: Keepalive = Keepalive { interval: Duration::from_secs(10), count: 3 };

/// The operator's own surroundings.
pub(super) struct Surroundings {
    pub(super) home: Option<PathBuf>,
    user: Option<String>,
    agent: Option<PathBuf>,
}

impl Surroundings {
    pub(super) fn read() -> Self {
        let text = |name: &str| std::env::var(name).ok().filter(|value| !value.is_empty());
        let path = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
        Self { home: path("HOME"), user: text("USER").or_else(|| text("LOGNAME")), agent: path("SSH_AUTH_SOCK") }
    }

    fn in_home(&self, file: &str) -> Option<PathBuf> {
        self.home.as_ref().map(|home| home.join(file))
    }
}

/// Finds and reads the inventory.
pub(super) fn inventory(named: Option<&Path>, sources: &Sources) -> Result<(Inventory, Document), CliError> {
    let environment = Environment::process();
    if let Some(Document { path, text }) = &sources.inventory {
        let inventory = inventory::parse(text, path, &environment)?;
        return Ok((inventory, Document { path: path.clone(), text: text.clone() }));
    }
    let path = match named {
        Some(path) => path.to_owned(),
        None => find_inventory()?,
    };
    let text = inventory::read(&path)?;
    let inventory = inventory::parse(&text, &path, &environment)?;
    let path = std::path::absolute(&path).unwrap_or(path);
    Ok((inventory, Document { path, text }))
}

/// Files as they were when a run was first asked for; none means as they are now.
#[derive(Debug, Default)]
pub(super) struct Sources {
    pub(super) inventory: Option<Document>,
    pub(super) rollout: Option<Document>,
}

/// Where the journal is.
pub(super) fn journal_path() -> Result<PathBuf, CliError> {
    let state = std::env::var_os("XDG_STATE_HOME").filter(|value| !value.is_empty()).map(PathBuf::from);
    let state = state.or_else(|| Surroundings::read().in_home(".local/state"));
    let Some(state) = state else {
        return Err(CliError::usage("there is no place for the journal: neither $XDG_STATE_HOME nor $HOME is set")
            .with_hint("a run that changes nodes is written down first, so that it can be gone on with"));
    };
    let path = state.join("ctl/journal.db");
    std::path::absolute(&path).map_err(|error| CliError::usage(format!("{}: {error}", path.display())))
}

/// The operator's name on this host.
pub(super) fn user() -> String {
    Surroundings::read().user.unwrap_or_else(user_id)
}

fn find_inventory() -> Result<PathBuf, CliError> {
    if let Some(path) = std::env::var_os("CTL_INVENTORY").filter(|value| !value.is_empty()) {
        return Ok(path.into());
    }
    let surroundings = Surroundings::read();
    let config = std::env::var_os("XDG_CONFIG_HOME")
        .filter(|value| !value.is_empty())
        .map(PathBuf::from)
        .or_else(|| surroundings.in_home(".config"));
    let mut places = vec![PathBuf::from("inventory.yaml")];
    places.extend(config.map(|config| config.join("ctl/inventory.yaml")));
    places.push(PathBuf::from("/etc/ctl/inventory.yaml"));
    if let Some(found) = places.iter().find(|place| place.exists()) {
        return Ok(found.clone());
    }
    let looked = places.iter().map(|place| place.display().to_string()).collect::<Vec<_>>().join(", ");
    Err(CliError::usage(format!("no inventory: neither -i nor $CTL_INVENTORY is given, and there is none at {looked}"))
        .with_hint("inventory.example.yaml shows what one looks like; `ctl inventory check -i FILE` reads it"))
}

/// How carefully nodes are changed.
pub(super) fn policy(args: &BatchArgs) -> Policy {
    Policy {
        serial: if args.rolling { Some(Serial::one()) } else { args.serial.clone() },
        max_failures: args.max_failures,
        caps: args.max_unavailable.unwrap_or_default(),
        pause: args.pause.unwrap_or_default(),
        gate: match args.gate {
            Some(GateArg::Active) => Gate::Active,
            Some(GateArg::None) => Gate::None,
            Some(GateArg::Running) | None => Gate::Running,
        },
        stable: args.stable,
        gate_timeout: args.gate_timeout.unwrap_or(GATE_TIMEOUT),
        check: args.check.clone(),
    }
}

/// The user's number, where the surroundings do not tell the name (proc(5), `Uid`).
fn user_id() -> String {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let id = status.lines().find_map(|line| line.strip_prefix("Uid:")?.split_whitespace().next());
    format!("uid-{}", id.unwrap_or("unknown"))
}

/// Who the nodes are told has them.
pub(super) fn owner(run: &str, started: jiff::Timestamp, reason: Option<&str>) -> Holder {
    let host = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    Holder {
        key: format!("{:016x}", rand::random::<u64>()),
        run: run.to_owned(),
        user: user(),
        host: host.trim().to_owned(),
        since: started.strftime("%Y-%m-%dT%H:%M:%SZ").to_string(),
        reason: reason.unwrap_or_default().to_owned(),
    }
}

/// How each node of a plan is reached. What only the operator knows is asked for if it `connects`.
pub(super) fn access(args: &FanoutArgs, nodes: &[SelectedNode], connects: bool) -> Result<Vec<NodeAccess>, CliError> {
    let surroundings = Surroundings::read();
    refuse_jumps(nodes)?;
    refuse_ssh_config(args, nodes, &surroundings)?;
    let host_keys = Arc::new(host_keys(args, &surroundings)?);
    let password = if connects { sudo_password(args, nodes)? } else { None };
    nodes
        .iter()
        .map(|selected| node_access(args, &selected.node, &surroundings, &host_keys, password.as_ref()))
        .collect()
}

/// The password of sudo, if it was to be asked for and some node may want it.
fn sudo_password(args: &FanoutArgs, nodes: &[SelectedNode]) -> Result<Option<Arc<SecretString>>, CliError> {
    if !args.ask_sudo_password || !nodes.iter().any(|selected| args.sudo || selected.node.sudo) {
        return Ok(None);
    }
    match terminal::ask_secret("password for sudo on the nodes: ") {
        Ok(secret) => Ok(Some(Arc::new(secret))),
        Err(error) => Err(CliError::usage(format!("sudo's password could not be asked for: {error}"))
            .with_hint("-K needs a terminal; without it, allow the commands without a password (NOPASSWD in sudoers)")),
    }
}

/// How commands on a node go through sudo.
fn sudo(args: &FanoutArgs, node: &Node, password: Option<&Arc<SecretString>>) -> Sudo {
    match password {
        _ if !args.sudo && !node.sudo => Sudo::No,
        Some(secret) => Sudo::with_password(Arc::clone(secret)),
        None => Sudo::Plain,
    }
}

fn node_access(
    args: &FanoutArgs,
    node: &Node,
    surroundings: &Surroundings,
    host_keys: &Arc<HostKeySettings>,
    password: Option<&Arc<SecretString>>,
) -> Result<NodeAccess, CliError> {
    let user = args.user.clone().or_else(|| node.ssh.user.clone()).or_else(|| surroundings.user.clone());
    let Some(user) = user else {
        return Err(CliError::usage(format!("no user to log in to {} as", node.name))
            .with_hint("give one with -u, or with `user` in the inventory"));
    };
    let named: Vec<PathBuf> = match &args.identity {
        Some(file) => vec![file.clone()],
        None => node.ssh.identities.clone(),
    };
    let identities_named = !named.is_empty();
    let default = || {
        let files = [".ssh/id_ed25519", ".ssh/id_ecdsa", ".ssh/id_rsa"];
        files.iter().filter_map(|file| surroundings.in_home(file)).collect()
    };
    Ok(NodeAccess {
        endpoint: Endpoint {
            host: node.address.clone(),
            port: args.port.or(node.ssh.port).unwrap_or(22),
            family: AddressFamily::Any,
            bind: None,
            proxy: Proxy::Direct,
            login: Login {
                user,
                identities: if identities_named { named } else { default() },
                identities_named,
                certificates: Vec::new(),
                identities_only: false,
                agent: surroundings.agent.clone(),
                methods: vec![Method::PublicKey],
            },
            host_keys: Arc::clone(host_keys),
            algorithms: Arc::default(),
            keepalive: KEEPALIVE,
            connect_timeout: args.connect_timeout.or(node.ssh.connect_timeout).unwrap_or(CONNECT_TIMEOUT),
            retries: args.retries,
        },
        sudo: sudo(args, node, password),
        via: node.via,
        timeout: args.timeout.or(node.timeout).unwrap_or(ACTION_TIMEOUT),
    })
}

/// How host keys are judged.
fn host_keys(args: &FanoutArgs, surroundings: &Surroundings) -> Result<HostKeySettings, CliError> {
    if let Some(file) = &args.known_hosts
        && args.host_key == HostKey::Strict
        && !file.exists()
    {
        return Err(CliError::usage(format!("--known-hosts: there is no file {}", file.display())));
    }
    let user_files = match &args.known_hosts {
        Some(file) => vec![file.clone()],
        None => {
            [".ssh/known_hosts", ".ssh/known_hosts2"].iter().filter_map(|file| surroundings.in_home(file)).collect()
        }
    };
    Ok(HostKeySettings {
        user_files,
        global_files: ["/etc/ssh/ssh_known_hosts", "/etc/ssh/ssh_known_hosts2"].map(PathBuf::from).to_vec(),
        revoked: Vec::new(),
        alias: None,
        policy: match args.host_key {
            HostKey::Strict => HostKeyPolicy::Strict,
            HostKey::AcceptNew => HostKeyPolicy::AcceptNew,
        },
        hash_names: false,
        min_rsa_bits: 1024,
    })
}

/// A bastion that is passed by would be a connection other than the one that was asked for.
fn refuse_jumps(nodes: &[SelectedNode]) -> Result<(), CliError> {
    let behind = nodes.iter().find_map(|selected| {
        let jump = selected.node.ssh.jump.as_deref().filter(|jump| *jump != "none")?;
        Some((&selected.node.name, jump))
    });
    match behind {
        Some((node, jump)) => {
            Err(CliError::usage(format!("{node} is reached through a bastion (jump: {jump}), which ctl cannot do yet"))
                .with_hint("leave such nodes out with -x, or run ctl on the bastion itself"))
        }
        None => Ok(()),
    }
}

/// Until ssh_config is honoured, what it says about a selected node is refused rather than ignored.
fn refuse_ssh_config(args: &FanoutArgs, nodes: &[SelectedNode], surroundings: &Surroundings) -> Result<(), CliError> {
    match args.ssh_config.as_deref() {
        Some("none") => return Ok(()),
        Some(other) => {
            return Err(CliError::usage(format!("--ssh-config {other}: ssh_config files are not honoured yet"))
                .with_hint("say in the inventory what it would say, and give --ssh-config none"));
        }
        None => {}
    }
    let places = [surroundings.in_home(".ssh/config"), Some(PathBuf::from("/etc/ssh/ssh_config"))];
    let mut files = Vec::new();
    for path in places.into_iter().flatten() {
        let read = ssh_config::read_config(&path)
            .map_err(|error| CliError::usage(error.to_string()).with_hint("--ssh-config none goes without it"))?;
        files.extend(read.map(|text| (path, text)));
    }
    let queries: Vec<HostQuery> = nodes
        .iter()
        .flat_map(|selected| {
            let node = &selected.node;
            let query = |name: &str| HostQuery {
                name: name.to_owned(),
                // The node's address stands in the inventory, if only as its name.
                address_set: node.address != node.name,
                jump_set: false,
                user_set: args.user.is_some() || node.ssh.user.is_some(),
                port_set: args.port.is_some() || node.ssh.port.is_some(),
                identity_set: args.identity.is_some() || !node.ssh.identities.is_empty(),
                known_hosts_set: args.known_hosts.is_some(),
            };
            [Some(query(&node.name)), (node.address != node.name).then(|| query(&node.address))]
        })
        .flatten()
        .collect();
    let found = ssh_config::unhonoured(&files, &queries, |file, pattern| {
        ssh_config::read_included(file, pattern, surroundings.home.as_deref())
    });
    let Some(first) = found.first() else { return Ok(()) };
    let mut lines: Vec<String> = found
        .iter()
        .map(|one| format!("{}:{}: {} (for {})", one.file.display(), one.line, one.keyword, one.host))
        .collect();
    lines.dedup();
    let more = lines.len().saturating_sub(8);
    lines.truncate(8);
    if more > 0 {
        lines.push(format!("and {more} more"));
    }
    Err(CliError::usage(format!(
        "ssh_config is not honoured yet, and says {} for {}, which ctl would have to ignore:\n  {}",
        first.keyword,
        first.host,
        lines.join("\n  ")
    ))
    .with_hint("say it in the inventory or on the command line; --ssh-config none then goes without the files"))
}
