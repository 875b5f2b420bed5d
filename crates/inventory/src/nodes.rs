//! The `nodes` and `defaults` of an inventory.
//!
//! Here lives [`read`], which expands the patterns into nodes. It uses [`super::settings`] for the keys of a node,
//! [`super::ssh_options`], and `nodeset` for the patterns. Invariants: names are unique and safe in a command line, no
//! two nodes are the same host, and there are at most [`MAX_NODES`]. Start reading at [`read`].

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use ctl_import::SourcePlace;
use nodeset::NodeSet;

use super::draft::DraftNode;
use super::environment;
use super::hosts::{UnexpandablePattern, check_host, expand, is_pattern};
use super::model::{InventorySsh, Node, SshOption};
use super::problem::{Diagnostic, quoted};
use super::raw::RawValue;
use super::roles::RoleTable;
use super::settings::{self, NodeSettings};
use super::ssh_options;
use super::values::{self, FieldEntry, ValueReader};

/// Maximum number of nodes in an inventory.
pub(super) const MAX_NODES: usize = 100_000;

/// The default port.
const SSH_PORT: u16 = 22;

/// The nodes of an inventory.
pub(super) struct NodeTable {
    pub(super) list: Vec<Arc<Node>>,
    /// Whether every name could be read, so that an absent name is certainly unknown.
    pub(super) is_complete: bool,
}

/// Reads the `nodes`, with `defaults` for their absent settings. They may be absent if there `has_source`.
pub(super) fn read<'r>(
    reader: &mut ValueReader<'_>,
    defaults: Option<FieldEntry<'r>>,
    nodes: Option<FieldEntry<'r>>,
    has_source: bool,
    roles: &RoleTable,
) -> NodeBuilder<'r> {
    let defaults = defaults.map(|field| settings::defaults(reader, field, roles)).unwrap_or_default();
    let mut builder = NodeBuilder { defaults, ..NodeBuilder::default() };
    let faults_before = reader.report.count();
    let given = nodes.and_then(|field| {
        let pairs = values::pairs(reader, field.key, field.value, "node")?;
        if pairs.is_empty() && !has_source && reader.report.count() == faults_before {
            let fault = Diagnostic::new(field.key.span.clone(), "the inventory has no nodes")
                .help("such as `nodes: {node1: {roles: [analytics]}}`");
            reader.fault(fault);
        }
        Some(pairs)
    });
    // A faulty pair is left out, and with it the nodes that it names.
    let is_missing = given.is_none() && !(nodes.is_none() && has_source);
    builder.is_complete = !is_missing && reader.report.count() == faults_before;
    for field in given.unwrap_or_default() {
        builder.entry(reader, field, roles);
        // Check after each entry, so that many large patterns cannot exhaust the memory.
        if builder.nodes.len() > MAX_NODES {
            let message = format!(
                "with {} there are {} nodes: an inventory may have at most {MAX_NODES}",
                quoted(field.name),
                builder.nodes.len()
            );
            reader.fault(Diagnostic::new(field.key.span.clone(), message));
            builder.is_complete = false;
            break;
        }
    }
    builder
}

/// Two nodes must not share this: address, port and jump hosts.
type MachineKey = (String, u16, Option<String>);

/// The nodes read so far.
#[derive(Default)]
pub(super) struct NodeBuilder<'r> {
    defaults: NodeSettings<'r>,
    nodes: Vec<Node>,
    /// Place of each entry's key.
    keys: Vec<Range<usize>>,
    /// The entry of each name.
    names: HashMap<String, usize>,
    /// Name, entry and place of each host.
    machines: HashMap<MachineKey, (String, usize, Range<usize>)>,
    /// Whether every name could be read.
    pub(super) is_complete: bool,
}

impl<'r> NodeBuilder<'r> {
    /// The finished table.
    pub(super) fn finish(self) -> NodeTable {
        NodeTable { list: self.nodes.into_iter().map(Arc::new).collect(), is_complete: self.is_complete }
    }

    /// Adds the nodes of the source, which `field` is the key of.
    pub(super) fn add(
        &mut self,
        reader: &mut ValueReader<'_>,
        field: FieldEntry<'_>,
        nodes: Vec<(DraftNode, SourcePlace)>,
        roles: &RoleTable,
    ) {
        let place = field.key.span.clone();
        let fault = |message: String| Diagnostic::new(place.clone(), message).label("this source");
        if self.nodes.len() + nodes.len() > MAX_NODES || self.nodes.len() + nodes.len() == 0 {
            let message = if nodes.is_empty() {
                "the source has no hosts".to_owned()
            } else {
                format!(
                    "with the source there are {} nodes: an inventory may have at most {MAX_NODES}",
                    self.nodes.len() + nodes.len()
                )
            };
            reader.fault(fault(message));
            return;
        }
        let entry = self.keys.len();
        self.keys.push(place.clone());
        let mut is_told = BTreeSet::new();
        for (DraftNode { name, settings, .. }, _) in nodes {
            if let Some(other) = self.names.insert(name.clone(), entry) {
                let fault = fault(format!("the node {} is defined in `nodes` and by the source", quoted(&name)));
                let before = self.keys.get(other).cloned().filter(|_| other != entry);
                reader.fault(match before {
                    Some(before) => fault.related(before, "defined here"),
                    None => fault,
                });
                continue;
            }
            let mut identities = Vec::with_capacity(settings.identities.len());
            for path in &settings.identities {
                match environment::expand(path, reader.env) {
                    Ok(path) => identities.push(reader.folder.join(path)),
                    Err(error) => reader.fault(fault(format!("the key file of {}: {}", quoted(&name), error.message))),
                }
            }
            let own = NodeSettings {
                roles: (!settings.roles.is_empty()).then_some(settings.roles),
                port: settings.port,
                user: settings.user,
                identities: (!identities.is_empty()).then_some(identities),
                jump: settings.jump,
                sudo: settings.sudo,
                ..NodeSettings::default()
            };
            let address = match (settings.address, self.defaults.address) {
                (Some(address), _) => address,
                (None, Some(default)) => {
                    let addresses = settings::addresses(reader, default, 1, field.key, false);
                    addresses.and_then(|addresses| addresses.into_iter().next()).unwrap_or_default()
                }
                (None, None) => name.clone(),
            };
            let persist = self.persist(&own, roles);
            let ssh_options = ssh_options::of_nodes(
                reader,
                field.key,
                &[],
                self.roles(&own),
                &roles.ssh_options,
                &self.defaults.ssh_options,
            );
            let node = self.node(name, address, &own, (&ssh_options, persist));
            self.machine(reader, &node, entry, &place, &mut is_told);
            self.nodes.push(node);
        }
    }

    /// Reads one entry: a pattern, and the settings of all its nodes.
    fn entry(&mut self, reader: &mut ValueReader<'_>, field: FieldEntry<'r>, roles: &RoleTable) {
        // Read the settings even if the name turns out to be invalid, to report their faults as well.
        let own = settings::of_node(reader, field, roles);
        let Some(names) = names(reader, field.key) else {
            self.is_complete = false;
            return;
        };
        let persist = self.persist(&own, roles);
        let ssh_options = ssh_options::of_nodes(
            reader,
            field.key,
            &own.ssh_options,
            self.roles(&own),
            &roles.ssh_options,
            &self.defaults.ssh_options,
        );
        // Before `new_names`: the addresses match the pattern's names one to one, including repeated ones.
        let addresses = match own.address.or(self.defaults.address) {
            Some(address) => settings::addresses(reader, address, names.len(), field.key, own.address.is_some()),
            None => Some(names.clone()),
        };
        let entry = self.keys.len();
        self.keys.push(field.key.span.clone());
        let names = self.new_names(reader, field.key, entry, names);
        // Keep the node despite its invalid address: otherwise groups would report it as unknown.
        let addresses = addresses.unwrap_or_else(|| vec![String::new(); names.len()]);
        let place = own.address.map_or_else(|| field.key.span.clone(), |address| address.value.place());
        // One fault per pair of entries, not per node: two large patterns can share all of their addresses.
        let mut is_told = BTreeSet::new();
        for (name, address) in names.into_iter().zip(addresses) {
            let Some(name) = name else { continue };
            let node = self.node(name, address, &own, (&ssh_options, persist));
            self.machine(reader, &node, entry, &place, &mut is_told);
            self.nodes.push(node);
        }
    }

    /// The new names of an entry; one fault per entry for all names that exist already.
    fn new_names(
        &mut self,
        reader: &mut ValueReader<'_>,
        key: &RawValue,
        entry: usize,
        names: Vec<String>,
    ) -> Vec<Option<String>> {
        let mut twice: BTreeMap<usize, Vec<String>> = BTreeMap::new();
        let mut kept = Vec::with_capacity(names.len());
        for name in names {
            if let Some(other) = self.names.get(&name) {
                twice.entry(*other).or_default().push(name);
                kept.push(None);
            } else {
                self.names.insert(name.clone(), entry);
                kept.push(Some(name));
            }
        }
        for (other, names) in twice {
            let message = match names.as_slice() {
                [name] => format!("the node {} is defined twice", quoted(name)),
                _ => format!("the nodes {} are defined twice", quoted(&NodeSet::from_names(&names).to_string())),
            };
            let fault = Diagnostic::new(key.span.clone(), message);
            let before = self.keys.get(other).filter(|_| other != entry).cloned();
            reader.fault(match before {
                Some(before) => fault.label("defined again here").related(before, "first defined here"),
                None => fault.label("twice in this pattern"),
            });
        }
        kept
    }

    fn roles<'s>(&'s self, own: &'s NodeSettings<'_>) -> &'s [String] {
        own.roles.as_ref().or(self.defaults.roles.as_ref()).map(Vec::as_slice).unwrap_or_default()
    }

    /// How long the connection to a node is kept: as the node says, else as its roles say, else as `defaults` says. Of
    /// several roles the shortest time counts, since a role may have a reason not to keep connections.
    fn persist(&self, own: &NodeSettings<'_>, roles: &RoleTable) -> Option<Duration> {
        let of_roles = || self.roles(own).iter().filter_map(|role| roles.persist.get(role)).min().copied();
        own.persist.or_else(of_roles).or(self.defaults.persist)
    }

    fn node(
        &self,
        name: String,
        address: String,
        own: &NodeSettings<'_>,
        (ssh_options, persist): (&[SshOption], Option<Duration>),
    ) -> Node {
        let defaults = &self.defaults;
        Node {
            name,
            address,
            roles: self.roles(own).to_vec(),
            ssh: InventorySsh {
                port: own.port.or(defaults.port),
                user: own.user.as_ref().or(defaults.user.as_ref()).cloned(),
                identities: own.identities.as_ref().or(defaults.identities.as_ref()).cloned().unwrap_or_default(),
                jump: own.jump.as_ref().or(defaults.jump.as_ref()).cloned(),
                connect_timeout: own.connect_timeout.or(defaults.connect_timeout),
                persist,
                algorithms: ssh_options.to_vec(),
            },
            sudo: own.sudo.or(defaults.sudo).unwrap_or(false),
            via: own.via.or(defaults.via).flatten(),
            timeout: own.timeout.or(defaults.timeout),
            maintenance: own.maintenance.clone(),
        }
    }

    /// Rejects a second name for a host: two workers would act on it at once.
    fn machine(
        &mut self,
        reader: &mut ValueReader<'_>,
        node: &Node,
        entry: usize,
        place: &Range<usize>,
        is_told: &mut BTreeSet<usize>,
    ) {
        // Its invalid address has a fault already.
        if node.address.is_empty() {
            return;
        }
        let port = node.ssh.port.unwrap_or(SSH_PORT);
        // Host names are case insensitive. Behind different jump hosts the same address can be two hosts.
        let machine = (node.address.to_ascii_lowercase(), port, node.ssh.jump.clone());
        let Some((other, other_entry, other_place)) = self.machines.get(&machine) else {
            self.machines.insert(machine, (node.name.clone(), entry, place.clone()));
            return;
        };
        // The two entries have their fault already.
        if !is_told.insert(*other_entry) {
            return;
        }
        let message = format!(
            "{} and {} are the same machine: both have address {} and port {port}",
            quoted(other),
            quoted(&node.name),
            quoted(&node.address),
        );
        let fault = Diagnostic::new(place.clone(), message)
            .help("each node must be a machine of its own, with its own `address` or `port`");
        // Nodes of one entry, or with the address of `defaults`: there is no second place to show.
        let fault = if other_place == place {
            fault
        } else {
            fault.related(other_place.clone(), format!("the address of {}", quoted(other)))
        };
        reader.fault(fault);
    }
}

/// The names of a key, in the order of the pattern.
fn names(reader: &mut ValueReader<'_>, key: &RawValue) -> Option<Vec<String>> {
    let said = key.as_text()?;
    let is_pattern = is_pattern(said);
    let names = match expand(said, MAX_NODES) {
        Ok(names) => names,
        Err(UnexpandablePattern::Pattern(error)) => {
            let fault =
                Diagnostic::new(key.part(error.span()), error.message()).help_if(error.hint().map(str::to_owned));
            reader.fault(fault);
            return None;
        }
        Err(UnexpandablePattern::TooMany(count)) => {
            let message = format!("{} is {count} nodes: an inventory may have at most {MAX_NODES}", quoted(said));
            reader.fault(Diagnostic::new(key.span.clone(), message));
            return None;
        }
    };
    for name in &names {
        if let Err(flaw) = check_host(name, false) {
            let fault = if is_pattern {
                let message = format!("{} is not a valid node name: {}", quoted(name), flaw.why);
                Diagnostic::new(key.span.clone(), message)
            } else {
                flaw.fault(key, "node", name)
            };
            // The user probably expects a node set expression here.
            let is_expression = said.contains(['@', '!', '&', '^', '*', '?']);
            let fault = if is_expression {
                fault.help("a node key can only have names and ranges, such as `node[01-40]`")
            } else {
                fault
            };
            reader.fault(fault);
            return None;
        }
    }
    Some(names)
}
