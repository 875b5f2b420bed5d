//! `ctl inventory [list | show NODE | check]`.

use std::io::Write;

use serde::Serialize;

use crate::cli::args::{InventoryArgs, InventoryCommand, PlainForm};
use crate::cli::exit::Exit;
use crate::cli::report::CliError;
use crate::cli::settings;
use crate::inventory::{Inventory, Node};
use crate::sink::{plain_table, text};

pub(in crate::cli) fn run(args: InventoryArgs) -> Result<Exit, CliError> {
    let (inventory, _) = settings::inventory(args.inventory.as_deref(), &settings::Sources::default())?;
    let shown = match args.command.unwrap_or(InventoryCommand::List) {
        InventoryCommand::List => list(&inventory, args.output)?,
        InventoryCommand::Show { node, .. } => show(&inventory, &node, args.output)?,
        InventoryCommand::Check => check(&inventory, args.output)?,
    };
    match writeln!(std::io::stdout().lock(), "{}", shown.trim_end()) {
        Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe => {
            Err(CliError::usage(format!("standard output: {error}")))
        }
        Ok(()) | Err(_) => Ok(Exit::Good),
    }
}

/// A node as it is shown.
#[derive(Serialize)]
struct NodeView<'a> {
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
        via: node.via.map_or("auto", crate::event::Via::as_str),
        connect_timeout_ms: node.ssh.connect_timeout.map(|time| time.as_millis()),
        timeout_ms: node.timeout.map(|time| time.as_millis()),
        maintenance: node.maintenance.as_deref(),
    }
}

fn list(inventory: &Inventory, form: PlainForm) -> Result<String, CliError> {
    let views: Vec<_> = inventory.nodes.iter().map(|node| view(inventory, node)).collect();
    if form != PlainForm::Table {
        #[derive(Serialize)]
        struct List<'a> {
            schema: &'static str,
            nodes: Vec<NodeView<'a>>,
        }
        return document(&List { schema: "ctl/1", nodes: views }, form);
    }
    let rows = views.iter().map(|view| {
        let note = view.maintenance.map(|why| format!("maintenance: {}", text::single_line(why))).unwrap_or_default();
        vec![view.node.to_owned(), view.address.to_owned(), view.roles.join(","), view.groups.join(","), note]
    });
    Ok(plain_table(&["NODE", "ADDRESS", "ROLES", "GROUPS", ""], rows))
}

fn show(inventory: &Inventory, name: &str, form: PlainForm) -> Result<String, CliError> {
    let Some(node) = inventory.node(name) else {
        return Err(CliError::usage(format!("the inventory has no node {}", text::single_line(name)))
            .with_hint("`ctl inventory list` shows its nodes"));
    };
    let view = view(inventory, node);
    if form != PlainForm::Table {
        return document(&view, form);
    }
    let mut rows = vec![
        vec!["node".to_owned(), view.node.to_owned()],
        vec!["address".to_owned(), view.address.to_owned()],
        vec!["groups".to_owned(), view.groups.join(", ")],
        vec!["user".to_owned(), view.user.unwrap_or("(whoever runs ctl)").to_owned()],
        vec!["port".to_owned(), view.port.unwrap_or(22).to_string()],
        vec![
            "identity".to_owned(),
            if view.identity.is_empty() {
                "(the agent and the usual files)".to_owned()
            } else {
                view.identity.join(", ")
            },
        ],
        vec!["sudo".to_owned(), if view.sudo { "yes" } else { "no" }.to_owned()],
        vec!["via".to_owned(), view.via.to_owned()],
    ];
    rows.extend(view.jump.map(|jump| vec!["jump".to_owned(), jump.to_owned()]));
    rows.extend(view.maintenance.map(|why| vec!["maintenance".to_owned(), text::single_line(why)]));
    for role in node.roles.iter().filter_map(|role| inventory.role(role)) {
        let names: Vec<&str> = role.supervisors.iter().map(|supervisor| supervisor.name.as_str()).collect();
        rows.push(vec!["role".to_owned(), format!("{}: {}", role.name, names.join(", "))]);
        for supervisor in &role.supervisors {
            let places: Vec<String> = supervisor.addresses.iter().map(ToString::to_string).collect();
            rows.push(vec![format!("  {}", supervisor.name), places.join(", ")]);
            rows.push(vec![String::new(), supervisor.services.join(", ")]);
        }
        if !role.init_services.is_empty() {
            rows.push(vec!["  run by init".to_owned(), role.init_services.join(", ")]);
        }
    }
    Ok(plain_table(&[], rows.into_iter()))
}

fn check(inventory: &Inventory, form: PlainForm) -> Result<String, CliError> {
    #[derive(Serialize)]
    struct Check {
        file: String,
        nodes: usize,
        roles: usize,
        groups: usize,
    }
    let used = inventory.roles.keys().filter(|role| inventory.nodes.iter().any(|node| node.roles.contains(role)));
    let check = Check {
        file: inventory.path.display().to_string(),
        nodes: inventory.nodes.len(),
        roles: used.count(),
        groups: inventory.groups.len(),
    };
    if form != PlainForm::Table {
        return document(&check, form);
    }
    Ok(format!(
        "{}: {} nodes with {} roles, {} groups; nothing is wrong",
        check.file, check.nodes, check.roles, check.groups
    ))
}

fn document(value: &impl Serialize, form: PlainForm) -> Result<String, CliError> {
    let failed = |error: &dyn std::fmt::Display| CliError::usage(format!("it cannot be written: {error}"));
    match form {
        PlainForm::Yaml => serde_saphyr::to_string(value).map_err(|error| failed(&error)),
        PlainForm::Table | PlainForm::Json => serde_json::to_string_pretty(value).map_err(|error| failed(&error)),
    }
}
