//! What the typed words mean: the inventory that is read, how each node is reached, where results go.
//!
//! After this no clap type exists. What always holds: a setting on the command line is stronger than the
//! inventory's, which is stronger than the default; what cannot be honoured is refused before a node is touched.

use std::path::{Path, PathBuf};
use std::time::Duration;

use super::args::{BatchArgs, FanoutArgs, GateArg, HostKey};
use super::report::CliError;
use crate::guard::Holder;
use crate::inventory::{self, Environment, Inventory, Node};
use crate::journal::Document;
use crate::plan::amount::Serial;
use crate::plan::policy::{GATE_TIMEOUT, Gate, Policy};
use crate::run::NodeAccess;
use crate::select::SelectedNode;
use crate::transport::{Endpoint, HostKeyPolicy, SshSettings};

const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
const ACTION_TIMEOUT: Duration = Duration::from_secs(120);

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

/// How each node of a plan is reached.
pub(super) fn access(args: &FanoutArgs, nodes: &[SelectedNode]) -> Result<Vec<NodeAccess>, CliError> {
    let surroundings = Surroundings::read();
    refuse_jumps(nodes)?;
    nodes.iter().map(|selected| node_access(args, &selected.node, &surroundings)).collect()
}

fn node_access(args: &FanoutArgs, node: &Node, surroundings: &Surroundings) -> Result<NodeAccess, CliError> {
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
            user,
            identities: if identities_named { named } else { default() },
            identities_named,
            connect_timeout: args.connect_timeout.or(node.ssh.connect_timeout).unwrap_or(CONNECT_TIMEOUT),
            retries: args.retries,
        },
        sudo: args.sudo || node.sudo,
        via: node.via,
        timeout: args.timeout.or(node.timeout).unwrap_or(ACTION_TIMEOUT),
    })
}

/// What holds for all connections.
pub(super) fn ssh(args: &FanoutArgs) -> Result<SshSettings, CliError> {
    let surroundings = Surroundings::read();
    if let Some(file) = &args.known_hosts
        && args.host_key == HostKey::Strict
        && !file.exists()
    {
        return Err(CliError::usage(format!("--known-hosts: there is no file {}", file.display())));
    }
    let user = match &args.known_hosts {
        Some(file) => vec![file.clone()],
        None => {
            [".ssh/known_hosts", ".ssh/known_hosts2"].iter().filter_map(|file| surroundings.in_home(file)).collect()
        }
    };
    let global = ["/etc/ssh/ssh_known_hosts", "/etc/ssh/ssh_known_hosts2"].map(PathBuf::from);
    Ok(SshSettings {
        known_hosts: user.into_iter().chain(global).collect(),
        host_key_policy: match args.host_key {
            HostKey::Strict => HostKeyPolicy::Strict,
            HostKey::AcceptNew => HostKeyPolicy::AcceptNew,
        },
        agent: surroundings.agent,
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
