//! `ctl init HOST...`: from hosts to an inventory.
//!
//! Invariants: no host is touched before the file is known to be new and the hosts to be valid; the file is written
//! completely or not at all, and never over another; each host is reached as the written file says.

use std::collections::{HashMap, HashSet};
use std::fs::Permissions;
use std::io::{self, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use tempfile::NamedTempFile;

use crate::cli::output::{self, ResultOutput};
use ctl_args::args::InitArgs;
use ctl_args::connect_args::HostKey;
use ctl_args::settings::{self, Settings};
use ctl_console::error::CliError;
use ctl_console::exit::ExitStatus;
use ctl_console::terminal;
use ctl_console::waiting;
use ctl_discovery::{HostOutcome, NamedHost, ObservedHost, describe, name_hosts};
use ctl_inventory::draft::{DraftNode, DraftSettings, InventoryDraft};
use ctl_inventory::{Inventory, Node, PathEnvironment};
use ctl_local::file::reason;
use ctl_run::NodeAccess;
use ctl_select::SelectedNode;
use ctl_session::endpoints::{self, EndpointResolver};
use ctl_session::{host_looks, host_sources};
use ctl_sink::text;

pub(in crate::cli) fn run(args: &InitArgs) -> Result<ExitStatus, CliError> {
    let mut settings = Settings::from(args);
    settings.output.start_log()?;
    let path = settings::new_inventory(args.inventory.as_deref());
    let file = if args.dry_run { None } else { Some(NewFile::at(&path)?) };
    let hosts = {
        // It checks the names on the command line too.
        let ways = waiting::on("the ssh_config", || EndpointResolver::new(&settings.ssh))?;
        let specs = host_sources::collect(&args.hosts, args.from.as_deref(), &ways)?;
        name_hosts(&specs).map_err(|error| CliError::usage(text::single_line(&error.to_string())))?
    };
    let header = header(&settings, hosts.len());
    let defaults = take_defaults(&mut settings)?;
    let (nodes, access) = reach(&hosts, &defaults, &settings, &path)?;
    let outcomes = host_looks::look_at(&nodes, access, &settings)?;
    let observed: Vec<ObservedHost> = (hosts.iter().zip(outcomes))
        .map(|(host, outcome)| ObservedHost { name: host.name.clone(), settings: node_settings(host), outcome })
        .collect();
    let description = describe(&observed, defaults, header);
    for problem in &description.problems {
        terminal::say(&text::single_line(&format!("{}: {}", problem.hosts, problem.message)));
    }
    for hint in &description.hints {
        terminal::say(&text::single_line(&format!("→ {}: {}", hint.hosts, hint.message)));
    }
    let is_empty = description.draft.nodes.is_empty();
    let exit = match description.has_unreachable {
        true => ExitStatus::Unreachable,
        false if description.has_failed || is_empty => ExitStatus::Failed,
        false => ExitStatus::Good,
    };
    if is_empty {
        let is_seen = |host: &ObservedHost| matches!(host.outcome, HostOutcome::Searched(_));
        let what = if observed.iter().any(is_seen) { "no supervisord was found" } else { "no host could be searched" };
        terminal::say(&format!("error: {what}; no inventory was written"));
        return Ok(exit);
    }
    let yaml = description.draft.to_yaml();
    let inventory = ctl_inventory::parse(&yaml, &path, &PathEnvironment::process())
        .map_err(|error| CliError::internal(format!("the new inventory is not valid: {error}")))?;
    match file {
        None => output::write(ResultOutput::Stdout, &yaml)?,
        Some(file) => {
            file.write(&yaml)?;
            if !settings.output.quiet {
                say_what_was_written(&path, &inventory, args.inventory.is_some());
            }
        }
    }
    Ok(exit)
}

/// A file that does not exist yet.
struct NewFile {
    path: PathBuf,
}

impl NewFile {
    /// # Errors
    /// If there is a file of this name, or none can be made.
    fn at(path: &Path) -> Result<Self, CliError> {
        let shown = path.display();
        // A link that leads nowhere is there too: what it leads to is not for this command to make.
        if path.symlink_metadata().is_ok() {
            return Err(CliError::usage(format!("{shown} exists already; nothing was done"))
                .with_hint("write another file with -i FILE, or print the inventory with --dry-run"));
        }
        let file = Self { path: path.to_owned() };
        // Before any host is touched. It is removed again: a signal at a question ends the process at once, and would leave it.
        file.temporary().map_err(|error| CliError::usage(format!("cannot write {shown}: {}", reason(&error))))?;
        Ok(file)
    }

    /// A file beside it. The mode is what the umask leaves.
    fn temporary(&self) -> io::Result<NamedTempFile> {
        let folder = self.path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
        tempfile::Builder::new().permissions(Permissions::from_mode(0o666)).tempfile_in(folder)
    }

    /// # Errors
    /// If it cannot be written, or if another file of its name was made meanwhile.
    fn write(self, text: &str) -> Result<(), CliError> {
        let written = self.temporary().and_then(|mut temporary| {
            temporary.write_all(text.as_bytes())?;
            temporary.as_file().sync_all()?;
            temporary.persist_noclobber(&self.path).map_err(|error| error.error)
        });
        let shown = self.path.display();
        written.map(drop).map_err(|error| CliError::usage(format!("{shown} was not written: {}", reason(&error))))
    }
}

/// The first lines of the file.
fn header(settings: &Settings, hosts: usize) -> Vec<String> {
    let mut lines = vec![
        format!(
            "Written by `ctl init` on {}, after a look at {}. It is yours to change: `ctl inventory check` checks it.",
            jiff::Zoned::now().strftime("%Y-%m-%d"),
            if hosts == 1 { "1 host".to_owned() } else { format!("{hosts} hosts") }
        ),
        "Comments say what could not be read.".to_owned(),
    ];
    let ssh = &settings.ssh;
    let file = |option: &str, file: &Option<PathBuf>| file.as_ref().map(|file| format!("{option} {}", file.display()));
    let missing = [
        file("--ssh-config", &ssh.ssh_config),
        file("--known-hosts", &ssh.known_hosts),
        (ssh.host_key == Some(HostKey::AcceptNew)).then(|| "--host-key accept-new".to_owned()),
        settings.ask_sudo_password.then(|| "-K".to_owned()),
        settings.ask_ssh_password.then(|| "--ask-pass".to_owned()),
    ];
    let missing: Vec<String> = missing.into_iter().flatten().collect();
    if !missing.is_empty() {
        lines.push(format!("Options that an inventory cannot hold, to be given again: {}", missing.join(" ")));
    }
    lines
}

/// Moves the options that an inventory can hold from the command line to its defaults: there they are no stronger than
/// what a host says of itself, and the hosts are reached as by the next command.
fn take_defaults(settings: &mut Settings) -> Result<DraftSettings, CliError> {
    let identity = settings.ssh.identity.take().map(|file| {
        // Relative to the current directory here, and to the file's there.
        let file = std::path::absolute(&file).map_err(|error| CliError::usage(format!("--identity: {error}")))?;
        let text = file.to_str().map(str::to_owned);
        text.ok_or_else(|| CliError::usage(format!("--identity: {} is not UTF-8", file.display())))
    });
    Ok(DraftSettings {
        user: settings.ssh.user.take(),
        port: settings.ssh.port.take(),
        identities: identity.transpose()?.into_iter().collect(),
        jump: settings.ssh.jump.take(),
        sudo: settings.sudo.then_some(true),
        via: settings.via,
        connect_timeout: settings.ssh.connect_timeout.take(),
        timeout: settings.timeout,
        ..DraftSettings::default()
    })
}

fn node_settings(host: &NamedHost) -> DraftSettings {
    DraftSettings {
        address: host.address.clone(),
        user: host.user.clone(),
        port: host.port,
        ..DraftSettings::default()
    }
}

/// The hosts as nodes, in order, and how each is reached.
fn reach(
    hosts: &[NamedHost],
    defaults: &DraftSettings,
    settings: &Settings,
    path: &Path,
) -> Result<(Vec<SelectedNode>, Vec<NodeAccess>), CliError> {
    let nodes = hosts.iter().map(|host| DraftNode {
        name: host.name.clone(),
        settings: node_settings(host),
        comments: Vec::new(),
    });
    let draft = InventoryDraft { defaults: defaults.clone(), nodes: nodes.collect(), ..InventoryDraft::default() };
    // What the file could not hold is a mistake now, and not after a look at a thousand hosts.
    let inventory = ctl_inventory::parse(&draft.to_yaml(), path, &PathEnvironment::process())?;
    let by_name: HashMap<&str, &Arc<Node>> = inventory.nodes.iter().map(|node| (node.name.as_str(), node)).collect();
    let nodes = hosts.iter().filter_map(|host| by_name.get(host.name.as_str()));
    let nodes: Vec<SelectedNode> =
        nodes.map(|node| SelectedNode { node: Arc::clone(node), roles: Vec::new() }).collect();
    let access = endpoints::access(settings, &nodes)?;
    Ok((nodes, access))
}

fn say_what_was_written(path: &Path, inventory: &Inventory, is_named: bool) {
    let roles: HashSet<&String> = inventory.nodes.iter().flat_map(|node| &node.roles).collect();
    let counted = |count: usize, noun: &str| format!("{count} {noun}{}", if count == 1 { "" } else { "s" });
    let shown = path.display().to_string();
    let option = match shlex::try_quote(&shown) {
        Ok(quoted) if is_named => format!(" -i {quoted}"),
        _ => String::new(),
    };
    terminal::say(&format!(
        "Wrote {shown}: {}, {}. Next: ctl status{option}",
        counted(inventory.nodes.len(), "node"),
        counted(roles.len(), "role")
    ));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_new_file_leaves_nothing_until_it_is_written() {
        let folder = tempfile::tempdir().expect("a folder");
        let count = || std::fs::read_dir(folder.path()).expect("readable").count();
        let path = folder.path().join("inventory.yaml");
        // A process that a signal ends now, as at the question about host keys, removes nothing.
        let file = NewFile::at(&path).expect("a place");
        assert_eq!(count(), 0);
        file.write("version: 1").expect("written");
        assert_eq!((count(), std::fs::read_to_string(&path).expect("a file")), (1, "version: 1".to_owned()));
        assert!(NewFile::at(&path).is_err());
    }
}
