//! `ctl inventory [list | show NODE | check]`; `inventory_import.rs` has `import`.

use std::io::Write;
use std::sync::Arc;

use nodeset::NodeSet;
use serde::Serialize;

use super::inventory_import;
use crate::cli::missing_roles::missing_roles;
use crate::cli::output::OutputDocument;
use ctl_args::args::{InventoryArgs, InventoryCommand};
use ctl_args::connect_args::SshArgs;
use ctl_args::format::{Encoding, OutputFormat};
use ctl_args::selection_args::SelectionArgs;
use ctl_args::settings;
use ctl_console::error::CliError;
use ctl_console::exit::ExitStatus;
use ctl_console::terminal;
use ctl_inventory::{Inventory, Node, SshKeyword};
use ctl_select::{NodeQuery, meant_nodes, select};
use ctl_session::endpoints::{self, EndpointResolver};
use ctl_sink::{encode, plain_table, text};

pub(in crate::cli) fn run(args: InventoryArgs) -> Result<ExitStatus, CliError> {
    // clap requires the tool.
    if let Some(InventoryCommand::Import { from: Some(from), path, out }) = args.command {
        if !args.output.is_text() {
            return Err(CliError::usage("-o is not supported by `inventory import`: an inventory is always YAML"));
        }
        return inventory_import::run(from, &path, out.as_deref());
    }
    let (inventory, _) = settings::inventory(args.inventory.as_deref(), &settings::SavedInputs::default())?;
    let every = InventoryCommand::List { selection: SelectionArgs::default() };
    let shown = match args.command.unwrap_or(every) {
        InventoryCommand::List { selection } => list(&inventory, &selection, args.output)?,
        // Done above.
        InventoryCommand::Import { .. } => String::new(),
        InventoryCommand::Show { node, ssh } => show(&inventory, &node, &ssh, args.output)?,
        InventoryCommand::Check => {
            for note in &inventory.source_notes {
                terminal::say(&format!("note: not used from the source: {note}"));
            }
            check(&inventory, args.output)?
        }
    };
    // Names and reasons come from a file, so control characters are made visible.
    match writeln!(std::io::stdout().lock(), "{}", text::visible_lines(shown.trim_end())) {
        // A reader such as `head` that has seen enough is no error.
        Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe => {
            Err(CliError::usage(format!("standard output: {error}")))
        }
        Ok(()) | Err(_) => Ok(ExitStatus::Good),
    }
}

/// A node of the inventory.
#[derive(Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema), schemars(rename = "InventoryNode"))]
pub(in crate::cli) struct NodeView<'a> {
    node: &'a str,
    address: &'a str,
    roles: &'a [String],
    groups: Vec<&'a str>,
    user: Option<&'a str>,
    port: Option<u16>,
    identity: Vec<String>,
    jump: Option<&'a str>,
    sudo: bool,
    via: &'a str,
    connect_timeout_ms: Option<u128>,
    timeout_ms: Option<u128>,
    maintenance: Option<&'a str>,
}

/// The document of `inventory list`.
#[derive(Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema), schemars(rename = "Inventory"))]
pub(in crate::cli) struct InventoryListing<'a> {
    nodes: Vec<NodeView<'a>>,
}

/// The document of `inventory show`.
#[derive(Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema), schemars(rename = "InventoryShow"))]
pub(in crate::cli) struct ShownInventory<'a> {
    #[serde(flatten)]
    node: NodeView<'a>,
    connection: Vec<SettingOrigin>,
}

/// The document of `inventory check`.
#[derive(Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub(in crate::cli) struct InventoryCheck {
    file: String,
    nodes: usize,
    roles: usize,
    groups: usize,
}

fn view<'a>(inventory: &'a Inventory, node: &'a Node) -> NodeView<'a> {
    let groups = inventory.groups.iter().filter(|(_, set)| set.contains(&node.name)).map(|(name, _)| name.as_str());
    NodeView {
        node: &node.name,
        address: &node.address,
        roles: &node.roles,
        groups: groups.collect(),
        user: node.ssh.user.as_deref(),
        port: node.ssh.port,
        identity: node.ssh.identities.iter().map(|file| file.display().to_string()).collect(),
        jump: node.ssh.jump.as_deref(),
        sudo: node.sudo,
        via: node.via.map_or("auto", ctl_event::Via::as_str),
        connect_timeout_ms: node.ssh.connect_timeout.map(|time| time.as_millis()),
        timeout_ms: node.timeout.map(|time| time.as_millis()),
        maintenance: node.maintenance.as_deref(),
    }
}

/// The nodes that the same options select in every other command; without them, all.
pub(in crate::cli) fn list(
    inventory: &Inventory,
    selection: &SelectionArgs,
    format: OutputFormat,
) -> Result<String, CliError> {
    let SelectionArgs { role, nodes, exclude } = selection;
    let nodes: Vec<Arc<Node>> = if role.is_empty() && nodes.is_empty() && exclude.is_empty() {
        inventory.nodes.clone()
    } else {
        let selected = select(inventory, &NodeQuery { roles: role, nodes, exclude, services: &[] })?;
        selected.nodes.into_iter().map(|selected| selected.node).collect()
    };
    let views: Vec<_> = nodes.iter().map(|node| view(inventory, node)).collect();
    if !format.is_text() {
        return document(&InventoryListing { nodes: views }, format);
    }
    let rows = views.iter().map(|view| {
        let note = view.maintenance.map(|why| format!("maintenance: {}", text::single_line(why))).unwrap_or_default();
        vec![view.node.to_owned(), view.address.to_owned(), view.roles.join(","), view.groups.join(","), note]
    });
    Ok(plain_table(&["NODE", "ADDRESS", "ROLES", "GROUPS", ""], rows))
}

/// A setting of the connection, and where it comes from.
#[derive(Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema), schemars(rename = "ConnectionSetting"))]
pub(in crate::cli) struct SettingOrigin {
    setting: &'static str,
    value: String,
    from: String,
}

/// What holds for the connection to a node, the command line's word included.
fn connection(node: &Node, ssh: &SshArgs) -> Result<Vec<SettingOrigin>, CliError> {
    let ssh = ssh.clone().into();
    let ways = EndpointResolver::new(&ssh)?;
    let resolved = ways.of_node(node)?;
    ways.judge(&resolved);
    // Notes and no error: showing the settings connects to nothing.
    for line in ways.notes() {
        terminal::say(&format!("note: {line}"));
    }
    let mut settings = Vec::new();
    let mut add = |setting, value: String, from: &openssh_config::ConfigOrigin| {
        settings.push(SettingOrigin { setting, value, from: from.to_string() });
    };
    add("address", resolved.host_name.value.to_string(), &resolved.host_name.origin);
    add("port", resolved.port.value.to_string(), &resolved.port.origin);
    add("user", resolved.user.value.to_string(), &resolved.user.origin);
    let identities = resolved.identity_paths(ways.operator())?;
    // Nothing is set, and a list of seven default files would be less clear.
    if identities.iter().all(|identity| identity.origin == openssh_config::ConfigOrigin::Default) {
        add("identity", "agent keys and default identity files".to_owned(), &openssh_config::ConfigOrigin::Default);
    } else {
        for identity in identities {
            add("identity", identity.value.display().to_string(), &identity.origin);
        }
    }
    for certificate in resolved.certificate_paths(ways.operator())? {
        add("certificate", certificate.value.display().to_string(), &certificate.origin);
    }
    let proxy = &resolved.proxy;
    match &proxy.value {
        openssh_config::ConfigProxy::Direct => add("jump", "none".to_owned(), &proxy.origin),
        openssh_config::ConfigProxy::Jump(jump) => add("jump", jump.as_str().to_owned(), &proxy.origin),
        openssh_config::ConfigProxy::Command(_) => {
            add("proxy command", resolved.proxy_command(ways.operator())?.unwrap_or_default(), &proxy.origin);
        }
    }
    let timeout = &resolved.connect_timeout;
    add(
        "connect timeout",
        humantime::format_duration(endpoints::connect_timeout(&resolved)).to_string(),
        &timeout.origin,
    );
    if let Some(persist) = node.ssh.persist {
        let time = if persist.is_zero() { "no".to_owned() } else { humantime::format_duration(persist).to_string() };
        add("kept when idle", time, &openssh_config::ConfigOrigin::Inventory("".into()));
    }
    let checking = &resolved.strict_host_key_checking;
    add("host key checking", checking.value.as_str().to_owned(), &checking.origin);
    let files = &resolved.user_known_hosts_files;
    let shown: Vec<String> = files.value.iter().map(|file| file.display().to_string()).collect();
    add("known hosts", shown.join(", "), &files.origin);
    if let Some(alias) = &resolved.host_key_alias {
        add("host key alias", alias.value.to_string(), &alias.origin);
    }
    for (name, keyword, list) in [
        ("host key algorithms", SshKeyword::HostKeyAlgorithms, &resolved.host_key_algorithms),
        ("key exchanges", SshKeyword::KexAlgorithms, &resolved.kex_algorithms),
        ("ciphers", SshKeyword::Ciphers, &resolved.ciphers),
        ("MACs", SshKeyword::Macs, &resolved.macs),
        ("public key algorithms", SshKeyword::PubkeyAcceptedAlgorithms, &resolved.pubkey_accepted_algorithms),
    ] {
        // The inventory's are shown as they were written; `ctl ssh-config` has the whole list.
        let written = node.ssh.algorithms.iter().find(|option| option.keyword == keyword);
        match (&list.origin, written) {
            (openssh_config::ConfigOrigin::Default, _) => {}
            (openssh_config::ConfigOrigin::Inventory(_), Some(option)) => {
                add(name, option.value.to_string(), &list.origin)
            }
            (origin, _) => add(name, list.value.as_str().to_owned(), origin),
        }
    }
    Ok(settings)
}

pub(in crate::cli) fn show(
    inventory: &Inventory,
    name: &str,
    ssh: &SshArgs,
    format: OutputFormat,
) -> Result<String, CliError> {
    let Some(node) = inventory.node(name) else {
        let meant = meant_nodes(inventory, &NodeSet::from_names([name]));
        return Err(CliError::usage(format!("the inventory has no node {}", text::single_line(name)))
            .with_hint(meant.unwrap_or_else(|| "`ctl inventory list` lists the nodes".to_owned())));
    };
    let view = view(inventory, node);
    let connection = connection(node, ssh)?;
    if !format.is_text() {
        return document(&ShownInventory { node: view, connection }, format);
    }
    let row = |name: &str, value: &str| vec![name.to_owned(), value.to_owned()];
    let mut rows = vec![row("node", view.node), row("groups", &view.groups.join(", "))];
    for SettingOrigin { setting, value, from } in connection {
        rows.push(row(setting, &text::single_line(&format!("{value} ({from})"))));
    }
    rows.push(row("sudo", if view.sudo { "yes" } else { "no" }));
    rows.push(row("via", view.via));
    rows.extend(view.maintenance.map(|why| row("maintenance", &text::single_line(why))));
    for role in node.roles.iter().filter_map(|role| inventory.role(role)) {
        let names: Vec<&str> = role.supervisors.iter().map(|supervisor| supervisor.name.as_str()).collect();
        rows.push(row("role", &format!("{}: {}", role.name, names.join(", "))));
        for supervisor in &role.supervisors {
            let places: Vec<String> = supervisor.addresses.iter().map(ToString::to_string).collect();
            rows.push(row(&format!("  {}", supervisor.name), &places.join(", ")));
            rows.push(row("", &supervisor.services.join(", ")));
        }
        if !role.init_services.is_empty() {
            rows.push(row("  run by init", &role.init_services.join(", ")));
        }
    }
    Ok(plain_table(&[], rows.into_iter()))
}

pub(in crate::cli) fn check(inventory: &Inventory, format: OutputFormat) -> Result<String, CliError> {
    // Only roles in use: the others say nothing about these nodes.
    let used = inventory.roles.keys().filter(|role| inventory.nodes.iter().any(|node| node.roles.contains(role)));
    let check = InventoryCheck {
        file: inventory.path.display().to_string(),
        nodes: inventory.nodes.len(),
        roles: used.count(),
        groups: inventory.groups.len(),
    };
    if !format.is_text() {
        return document(&check, format);
    }
    let without_role = missing_roles(inventory).map(|said| format!(", but {said}")).unwrap_or_default();
    Ok(format!(
        "{}: {}, {}, {}; no problems found{without_role}",
        check.file,
        counted(check.nodes, "node"),
        counted(check.roles, "role"),
        counted(check.groups, "group")
    ))
}

fn counted(count: usize, noun: &str) -> String {
    let ending = if count == 1 { "" } else { "s" };
    format!("{count} {noun}{ending}")
}

fn document(data: &impl Serialize, format: OutputFormat) -> Result<String, CliError> {
    let failed = |error: &dyn std::fmt::Display| CliError::usage(format!("cannot write the output: {error}"));
    let document = OutputDocument::new(data);
    let text = if format.encoding() == Encoding::Yaml { encode::yaml(&document) } else { encode::json(&document) };
    text.map_err(|error| failed(&error))
}
