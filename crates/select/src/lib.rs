//! Resolves the user's selection in the inventory: nodes, their roles, and service patterns.
//!
//! Pure; it uses `inventory` and the crate `nodeset`. Invariants: a [`Selection`] names each node once, in
//! the order of the inventory; nothing that was typed wrong selects less than was meant, it is an error.

mod suggest;

use std::collections::BTreeSet;
use std::sync::Arc;

use nodeset::{GroupResolver, NodeSet, ParseError};

use crate::suggest::{meant_group, nearest, translated};
use ctl_inventory::{Inventory, Node, ROLE_ORDER, Role, canonical_role, roles_of_service};

pub use crate::suggest::{meant_nodes, near_names};

/// A service name as typed, with its matching rules.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServicePattern {
    typed: String,
    glob: glob::Pattern,
}

impl ServicePattern {
    /// Parses a service name or glob.
    ///
    /// # Errors
    /// [`SelectError::EmptyService`] for an empty name; [`SelectError::Service`] for one with spaces or control
    /// characters, and for an invalid glob.
    pub fn parse(typed: &str) -> Result<Self, SelectError> {
        let bad = |reason: &str| SelectError::Service { name: typed.to_owned(), reason: reason.to_owned() };
        if typed.is_empty() {
            return Err(SelectError::EmptyService);
        }
        if typed.starts_with('-') {
            return Err(bad("it begins with `-`"));
        }
        // supervisord allows no spaces in a name since 3.0 and no slashes since 3.3.2 (`process_or_group_name` in its
        // `datatypes.py`).
        if typed.chars().any(|c| c.is_whitespace() || c.is_control() || c == '/' || c == '\\') {
            return Err(bad("a service name cannot contain spaces, slashes or control characters"));
        }
        // supervisord joins group and process with one colon, and allows none inside a name.
        if typed.matches(':').count() > 1 {
            return Err(bad("expected `program`, `group:program` or a glob"));
        }
        // `all` is supervisorctl's own word for every process.
        let glob = if typed == "all" { "*" } else { typed };
        let glob = glob::Pattern::new(glob).map_err(|error| bad(error.msg))?;
        Ok(Self { typed: typed.to_owned(), glob })
    }

    /// The text as typed.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.typed
    }

    /// The part before a colon: the group, or the whole name.
    #[must_use]
    pub fn group(&self) -> &str {
        self.typed.split(':').next().unwrap_or(&self.typed)
    }

    /// Whether it can match several services.
    #[must_use]
    pub fn is_glob(&self) -> bool {
        self.typed == "all" || self.typed.contains(['*', '?', '['])
    }

    /// Whether it matches a process. A plain name matches its whole group, a glob is compared with the group and with
    /// `group:process`.
    #[must_use]
    pub fn matches_process(&self, group: &str, process: &str) -> bool {
        // With a colon it names one process of a group, so the group alone is not enough.
        if self.typed.contains(':') {
            return self.glob.matches(&format!("{group}:{process}"));
        }
        self.glob.matches(group) || (self.is_glob() && self.glob.matches(&format!("{group}:{process}")))
    }

    /// Whether it matches a group as a whole.
    #[must_use]
    pub fn matches_group(&self, group: &str) -> bool {
        // `group:*` is how supervisorctl writes a whole group.
        let name = self.typed.strip_suffix(":*").unwrap_or(&self.typed);
        name == group || self.glob.matches(group)
    }

    /// Whether it matches the supervisord instance `name`. `all` and globs never do, unless they start with
    /// `supervisor`.
    #[must_use]
    pub fn matches_instance(&self, name: &str) -> bool {
        self.typed.starts_with("supervisor") && self.glob.matches(name)
    }

    /// Whether it matches the init service `name`.
    #[must_use]
    pub fn matches_init_service(&self, name: &str) -> bool {
        self.glob.matches(name)
    }

    /// Whether it matches a service of which only the full name is known: `group:process`, or one name.
    #[must_use]
    pub fn matches_full_name(&self, name: &str) -> bool {
        let (group, process) = name.split_once(':').unwrap_or((name, name));
        self.matches_process(group, process) || self.matches_group(name)
    }

    /// The known name that a glob without a match most likely stands for: the one whose beginning is most similar to the
    /// text before the first wildcard; if the glob begins with one, whose end is to the text after the last.
    #[must_use]
    pub fn nearest_to_glob<'a>(&self, known: impl Iterator<Item = &'a str>) -> Option<&'a str> {
        let is_wildcard = |symbol: char| matches!(symbol, '*' | '?' | '[' | ']');
        let head = self.typed.split(is_wildcard).next().unwrap_or_default();
        let tail = self.typed.rsplit(is_wildcard).next().unwrap_or_default();
        let (fixed, is_tail) = if head.is_empty() { (tail, true) } else { (head, false) };
        let length = fixed.chars().count();
        // A shorter text is similar to the beginning of anything.
        if length < 3 {
            return None;
        }
        let part = |name: &str| -> String {
            let skipped = if is_tail { name.chars().count().saturating_sub(length) } else { 0 };
            name.chars().skip(skipped).take(length).collect()
        };
        known
            .map(|name| (strsim::damerau_levenshtein(fixed, &part(name)), name))
            .filter(|(distance, _)| *distance <= length / 3)
            .min()
            .map(|(_, name)| name)
    }
}

/// The user's options for the selection.
#[derive(Debug, Clone, Default)]
pub struct NodeQuery<'a> {
    /// `--role`, split at commas.
    pub roles: &'a [String],
    /// Each `--nodes`; they are combined.
    pub nodes: &'a [String],
    /// Each `--exclude`; they are combined.
    pub exclude: &'a [String],
    /// The services as typed; none means all of them.
    pub services: &'a [String],
}

/// A resolved selection.
#[derive(Debug, Clone)]
pub struct Selection {
    /// The nodes, in the order of the inventory.
    pub nodes: Vec<SelectedNode>,
    /// The services; empty means all.
    pub services: Vec<ServicePattern>,
    /// Whether the user named the nodes or roles, so that a node without the service is a failure.
    pub explicit: bool,
    /// Whether every node of the inventory is selected.
    pub whole_inventory: bool,
}

/// A node with its selected roles.
#[derive(Debug, Clone)]
pub struct SelectedNode {
    /// The node.
    pub node: Arc<Node>,
    /// The selected roles, in the order of the steps.
    pub roles: Vec<Arc<Role>>,
}

/// Why a selection is invalid.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SelectError {
    /// No such role.
    #[error("unknown role `{name}`")]
    Role {
        /// As typed.
        name: String,
        /// The most similar role, or all of them.
        hint: String,
    },
    /// An invalid node set.
    #[error("{option}: {error}")]
    Pattern {
        /// `--nodes` or `--exclude`.
        option: &'static str,
        /// As typed.
        pattern: String,
        /// The error.
        error: ParseError,
    },
    /// Nodes that the inventory does not have.
    #[error("{option}: the inventory has no node {nodes}")]
    Nodes {
        /// `--nodes` or `--exclude`.
        option: &'static str,
        /// The names, folded.
        nodes: String,
        /// The most similar name.
        hint: Option<String>,
    },
    /// An empty service name.
    #[error("the service name is empty")]
    EmptyService,
    /// An invalid service name.
    #[error("`{name}` is not a valid service name: {reason}")]
    Service {
        /// As typed.
        name: String,
        /// The reason.
        reason: String,
    },
    /// The name of a node or a group in the place of a service.
    #[error("`{name}` is a {kind}, not a service")]
    NotAService {
        /// As typed.
        name: String,
        /// `node` or `group`.
        kind: &'static str,
        /// How to select it.
        hint: String,
    },
    /// Nothing is left.
    #[error("no nodes selected: {reason}")]
    Nothing {
        /// The reason.
        reason: String,
    },
}

/// Names of the inventory for node set expressions: groups, roles and their aliases.
struct InventoryNames<'a> {
    inventory: &'a Inventory,
    all: NodeSet,
}

impl<'a> InventoryNames<'a> {
    fn new(inventory: &'a Inventory) -> Self {
        Self { inventory, all: NodeSet::from_names(inventory.nodes.iter().map(|node| node.name.as_str())) }
    }
}

impl GroupResolver for InventoryNames<'_> {
    fn group(&self, name: &str) -> Option<NodeSet> {
        if let Some(group) = self.inventory.groups.get(name) {
            return Some(group.clone());
        }
        let role = self.inventory.role(name)?;
        let with = self.inventory.nodes.iter().filter(|node| node.roles.contains(&role.name));
        Some(NodeSet::from_names(with.map(|node| node.name.as_str())))
    }

    fn plain_group(&self, name: &str) -> Option<NodeSet> {
        // A node wins over a group of its name, which `@` still reaches.
        if self.all.contains(name) { None } else { self.group(name) }
    }

    fn all(&self) -> &NodeSet {
        &self.all
    }

    fn group_names(&self) -> Vec<String> {
        self.inventory.groups.keys().chain(self.inventory.roles.keys()).cloned().collect()
    }
}

/// Resolves a selection.
///
/// # Errors
/// [`SelectError`] for every name without a match, and if nothing is selected.
pub fn select(inventory: &Inventory, query: &NodeQuery<'_>) -> Result<Selection, SelectError> {
    let services: Vec<_> = query.services.iter().map(|name| ServicePattern::parse(name)).collect::<Result<_, _>>()?;
    let roles = named_roles(inventory, query.roles)?;
    let names = InventoryNames::new(inventory);
    let wanted = node_sets("--nodes", query.nodes, &names)?;
    let unwanted = node_sets("--exclude", query.exclude, &names)?;
    let explicit = wanted.is_some() || !roles.is_empty();
    // Named nodes or roles are authoritative: the catalogue narrows only an open selection.
    let given = if explicit { Vec::new() } else { catalogue_roles(inventory, &services) };
    if !explicit {
        no_node_among(&services, &names)?;
    }

    let mut nodes = Vec::new();
    for node in &inventory.nodes {
        if wanted.as_ref().is_some_and(|set| !set.contains(&node.name)) {
            continue;
        }
        if unwanted.as_ref().is_some_and(|set| set.contains(&node.name)) {
            continue;
        }
        let mut own: Vec<_> = node.roles.iter().filter_map(|name| inventory.role(name)).cloned().collect();
        let limit = if roles.is_empty() { &given } else { &roles };
        if !limit.is_empty() {
            own.retain(|role| limit.contains(&role.name));
            // The node has none of the roles: it is outside the selection, not an error.
            if own.is_empty() {
                continue;
            }
        }
        own.sort_by_key(|role| ROLE_ORDER.iter().position(|name| *name == role.name).unwrap_or(ROLE_ORDER.len()));
        nodes.push(SelectedNode { node: Arc::clone(node), roles: own });
    }
    if nodes.is_empty() {
        return Err(SelectError::Nothing { reason: nothing(query, &given) });
    }
    // Each node occurs once, so equal counts mean the same nodes.
    let whole_inventory = nodes.len() == inventory.nodes.len();
    Ok(Selection { nodes, services, explicit, whole_inventory })
}

/// Checks that no word for a service is the name of a node or a group, as in `ctl restart SERVICE NODE`: an unknown service may run
/// on any node, so the action would reach all of them. Who has such a service can name nodes or a role.
fn no_node_among(services: &[ServicePattern], names: &InventoryNames<'_>) -> Result<(), SelectError> {
    for service in services.iter().filter(|service| !service.is_glob()) {
        let name = service.as_str();
        let (kind, hint) = if names.all.contains(name) {
            ("node", format!("use -w {name}"))
        } else if names.inventory.groups.contains_key(name) {
            ("group", format!("use -w @{name}"))
        } else {
            continue;
        };
        if catalogue_roles(names.inventory, std::slice::from_ref(service)).is_empty() {
            return Err(SelectError::NotAService { name: name.to_owned(), kind, hint });
        }
    }
    Ok(())
}

fn named_roles(inventory: &Inventory, typed: &[String]) -> Result<Vec<String>, SelectError> {
    let mut roles = Vec::new();
    for name in typed {
        let name = name.trim();
        match inventory.role(name) {
            Some(role) => roles.push(role.name.clone()),
            None => {
                if inventory.groups.contains_key(name) {
                    let hint = format!("{name} is a group: use -w @{name}");
                    return Err(SelectError::Role { name: name.to_owned(), hint });
                }
                let known: Vec<&str> = inventory.roles.keys().map(String::as_str).collect();
                // Aliases count as well: the user may have mistyped one of them.
                let hint = nearest(
                    name,
                    known.iter().copied().chain(["configuration", "webui", "vrouter", "collector", "cfgm"]),
                )
                .map_or_else(|| format!("the roles are {}", known.join(", ")), |near| format!("did you mean {near}?"));
                return Err(SelectError::Role { name: name.to_owned(), hint });
            }
        }
    }
    Ok(roles)
}

/// The groups and roles of an inventory, for expressions in which a plain name always stands for itself.
struct GroupsOnly<'a>(InventoryNames<'a>);

impl GroupResolver for GroupsOnly<'_> {
    fn group(&self, name: &str) -> Option<NodeSet> {
        self.0.group(name)
    }

    fn all(&self) -> &NodeSet {
        self.0.all()
    }

    fn group_names(&self) -> Vec<String> {
        self.0.group_names()
    }
}

/// A set of any names, whose groups and globs are those of the inventory. The other names need not be nodes.
///
/// # Errors
/// If it is no node set, or has an unknown group or a glob that matches no node.
pub fn named_set(inventory: &Inventory, pattern: &str) -> Result<NodeSet, ParseError> {
    NodeSet::parse_with(pattern, &GroupsOnly(InventoryNames::new(inventory))).map_err(|error| {
        let meant = error.unknown_group().and_then(|group| meant_group(inventory, group));
        match meant {
            Some(meant) => error.with_hint(meant),
            None => error,
        }
    })
}

/// The nodes of every pattern together; `None` without a pattern.
fn node_sets(
    option: &'static str,
    patterns: &[String],
    names: &InventoryNames<'_>,
) -> Result<Option<NodeSet>, SelectError> {
    // Each by itself: an operator in one of them says nothing about the others.
    let sets = patterns.iter().map(|pattern| node_set(option, pattern, names));
    sets.reduce(|all, set| Ok(all?.union(&set?))).transpose()
}

fn node_set(option: &'static str, pattern: &str, names: &InventoryNames<'_>) -> Result<NodeSet, SelectError> {
    let nodes = |nodes: String, hint| Err(SelectError::Nodes { option, nodes, hint });
    let translation = translated(names.inventory, pattern);
    // With its colons, each name is of nothing, and an intersection with it would be empty.
    if translation.is_some() && pattern.contains(':') {
        return nodes(pattern.to_owned(), translation);
    }
    let set = NodeSet::parse_with(pattern, names).map_err(|error| {
        let meant = error.unknown_group().and_then(|group| meant_group(names.inventory, group)).or(translation);
        let error = match meant {
            Some(meant) => error.with_hint(meant),
            None => error,
        };
        SelectError::Pattern { option, pattern: pattern.to_owned(), error }
    })?;
    // Without this check, a mistyped name would silently select, or exclude, fewer nodes.
    let strange = set.difference(&names.all);
    if strange.is_empty() { Ok(set) } else { nodes(strange.to_string(), meant_nodes(names.inventory, &strange)) }
}

/// The roles to which the catalogue or the inventory assigns the services; none if one of the services is unknown
/// there, or a glob that may match more than they know.
#[must_use]
pub fn catalogue_roles(inventory: &Inventory, services: &[ServicePattern]) -> Vec<String> {
    let mut roles = Vec::new();
    for service in services {
        let of_service: Vec<String> = if service.is_glob() {
            (inventory.roles.values()).filter(|role| has_match(role, service)).map(|role| role.name.clone()).collect()
        } else {
            let seed = roles_of_service(service.as_str()).into_iter().map(|name| canonical_role(name).to_owned());
            let own = inventory
                .roles
                .values()
                .filter(|role| role.has_service(service.as_str()))
                .map(|role| role.name.clone());
            seed.chain(own).collect()
        };
        // An unknown service may run anywhere, and a glob may match services that the catalogue lacks.
        if of_service.is_empty() || (service.is_glob() && !service.as_str().starts_with("supervisor")) {
            return Vec::new();
        }
        roles.extend(of_service);
    }
    roles
}

fn has_match(role: &Role, service: &ServicePattern) -> bool {
    role.supervisors.iter().any(|supervisor| {
        service.matches_instance(&supervisor.name)
            || supervisor.services.iter().any(|name| service.matches_process(name, name))
    }) || role.init_services.iter().any(|name| service.matches_init_service(name))
}

fn nothing(query: &NodeQuery<'_>, given: &[String]) -> String {
    if !query.roles.is_empty() {
        let scope = if !query.nodes.is_empty() || !query.exclude.is_empty() { " in that node set" } else { "" };
        return format!("no node{scope} has the role {}", query.roles.join(", "));
    }
    if !query.nodes.is_empty() {
        let pattern = query.nodes.join(",");
        return if pattern.trim().is_empty() {
            "--nodes is empty".to_owned()
        } else {
            format!("`{pattern}` matches no node")
        };
    }
    if !query.exclude.is_empty() {
        return "--exclude leaves no nodes".to_owned();
    }
    let roles: BTreeSet<&str> = given.iter().map(String::as_str).collect();
    format!("no node has the role of that service ({})", roles.into_iter().collect::<Vec<_>>().join(", "))
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use proptest::prelude::*;

    use super::*;
    use ctl_inventory::{PathEnvironment, parse};

    const INVENTORY: &str = "
version: 1
roles:
  billing: {socket: /run/b.sock, services: [invoicer, mailer], init_services: [billing-proxy]}
groups: {rack1: 'a[1-2],d1', rack2: '@database!@rack1'}
nodes:
  a[1-3]: {roles: [control, analytics]}
  d[1-2]: {roles: [database]}
  c1: {roles: [config]}
  w1: {roles: [web-ui]}
  b1: {roles: [billing]}
";

    fn inventory() -> Inventory {
        let nowhere = PathEnvironment::new(None, std::iter::empty::<(&str, &str)>());
        parse(INVENTORY, Path::new("inventory.yaml"), &nowhere).expect("an inventory")
    }

    fn words(text: &str) -> Vec<String> {
        text.split_whitespace().map(str::to_owned).collect()
    }

    /// The selection of `-r ROLES -w NODES -x EXCLUDE SERVICES`; `-` stands for an absent option.
    fn selected(roles: &str, nodes: &str, exclude: &str, services: &str) -> Result<Selection, SelectError> {
        let given = |text: &str| (text != "-").then(|| text.to_owned());
        // `|` separates the values of an option that is given twice.
        let repeated =
            |text| given(text).iter().flat_map(|text| text.split('|')).map(str::to_owned).collect::<Vec<_>>();
        let (roles, services) = (words(&given(roles).unwrap_or_default()), words(services));
        let (nodes, exclude) = (repeated(nodes), repeated(exclude));
        let query = NodeQuery { roles: &roles, nodes: &nodes, exclude: &exclude, services: &services };
        select(&inventory(), &query)
    }

    fn names(selection: &Selection) -> String {
        selection.nodes.iter().map(|selected| selected.node.name.as_str()).collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn nodes_come_from_roles_node_sets_and_services() {
        // Roles, nodes, excluded, services; then the nodes, whether explicit, whether the whole inventory.
        let table = [
            ("-", "-", "-", "", "a1 a2 a3 d1 d2 c1 w1 b1", false, true),
            ("analytics", "-", "-", "", "a1 a2 a3", true, false),
            ("collector", "-", "-", "", "a1 a2 a3", true, false),
            ("database config", "-", "-", "", "d1 d2 c1", true, false),
            ("-", "d2,a[1-2]", "-", "", "a1 a2 d2", true, false),
            ("-", "@rack1", "-", "", "a1 a2 d1", true, false),
            ("-", "@rack2", "-", "", "d2", true, false),
            // Without `@`, and given twice.
            ("-", "rack1", "-", "", "a1 a2 d1", true, false),
            ("-", "a3,analytics!rack1", "-", "", "a3", true, false),
            ("-", "rack[1-2]", "-", "", "a1 a2 d1 d2", true, false),
            ("-", "a3,rack[2,1]", "rack[1]", "", "a3 d2", true, false),
            ("-", "a1", "rack1!a1", "", "a1", true, false),
            ("-", "a1|d2", "-", "", "a1 d2", true, false),
            ("-", "a1|@rack1!a1", "-", "", "a1 a2 d1", true, false),
            ("-", "-", "a*|w1|@database!d1", "", "d1 c1 b1", false, false),
            ("-", "@analytics!a2", "-", "", "a1 a3", true, false),
            ("-", "@collector", "-", "", "a1 a2 a3", true, false),
            ("-", "*1", "-", "", "a1 d1 c1 w1 b1", true, false),
            ("-", "*", "-", "", "a1 a2 a3 d1 d2 c1 w1 b1", true, true),
            ("-", "-", "a*,@database", "", "c1 w1 b1", false, false),
            ("analytics", "@rack1", "a1", "", "a2", true, false),
            // The manual assigns the collector to four roles; `nonesuch` is unknown.
            ("-", "-", "-", "contrail-collector", "a1 a2 a3 d1 d2 c1 w1", false, false),
            ("-", "-", "-", "contrail-api:0", "c1", false, false),
            ("-", "-", "-", "contrail-control", "a1 a2 a3", false, false),
            ("-", "-", "-", "supervisor-database", "d1 d2", false, false),
            ("-", "-", "-", "supervisor-*", "a1 a2 a3 d1 d2 c1 w1 b1", false, true),
            ("-", "-", "-", "mailer", "b1", false, false),
            ("-", "-", "-", "billing-proxy", "b1", false, false),
            ("-", "-", "-", "mailer contrail-api", "c1 b1", false, false),
            ("-", "-", "-", "mailer nonesuch", "a1 a2 a3 d1 d2 c1 w1 b1", false, true),
            ("-", "-", "-", "contrail-*", "a1 a2 a3 d1 d2 c1 w1 b1", false, true),
            ("-", "-", "-", "all", "a1 a2 a3 d1 d2 c1 w1 b1", false, true),
            ("-", "-", "c1", "contrail-api mailer", "b1", false, false),
            ("billing", "-", "-", "contrail-collector", "b1", true, false),
        ];
        for (roles, nodes, exclude, services, expected, explicit, whole) in table {
            let said = format!("-r {roles} -w {nodes} -x {exclude} {services}");
            let selection = selected(roles, nodes, exclude, services).unwrap_or_else(|error| panic!("{said}: {error}"));
            assert_eq!(names(&selection), expected, "{said}");
            assert_eq!((selection.explicit, selection.whole_inventory), (explicit, whole), "{said}");
        }
    }

    #[test]
    fn a_node_goes_with_the_roles_that_are_meant_in_their_order() {
        let roles = |selection: &Selection| {
            selection.nodes[0].roles.iter().map(|role| role.name.as_str()).collect::<Vec<_>>().join(" ")
        };
        let of = |roles_: &str, services: &str| roles(&selected(roles_, "a1", "-", services).expect("a1"));
        assert_eq!(of("-", ""), "analytics control");
        assert_eq!(of("control", ""), "control");
        // An explicit selection is not limited to the roles in the catalogue.
        assert_eq!(of("-", "contrail-control"), "analytics control");
        let by_service = selected("-", "-", "-", "contrail-control").expect("some");
        assert_eq!(roles(&by_service), "control");
    }

    #[test]
    fn invalid_selections_are_errors() {
        let table = [
            ("analitics", "-", "-", "", "unknown role `analitics`"),
            ("-", "a4", "-", "", "--nodes: the inventory has no node a4"),
            ("-", "a[1-5]", "-", "", "--nodes: the inventory has no node a[4-5]"),
            ("-", "rack[1-4]", "-", "", "--nodes: the inventory has no node rack[3-4]"),
            ("-", "-", "z9", "", "--exclude: the inventory has no node z9"),
            ("-", "a[3-1]", "-", "", "--nodes: range `3-1` runs backwards"),
            ("-", "@rack9", "-", "", "--nodes: unknown group `@rack9`"),
            ("compute", "-", "-", "", "no nodes selected: no node has the role compute"),
            ("database", "a1", "-", "", "no nodes selected: no node in that node set has the role database"),
            ("-", "a1!a1", "-", "", "no nodes selected: `a1!a1` matches no node"),
            ("-", "-", "*", "", "no nodes selected: --exclude leaves no nodes"),
            (
                "-",
                "-",
                "-",
                "a/b",
                "`a/b` is not a valid service name: a service name cannot contain spaces, slashes or control characters",
            ),
            ("-", "-", "-", "-x", "`-x` is not a valid service name: it begins with `-`"),
            ("-", "-", "-", "contrail-control a1", "`a1` is a node, not a service"),
            ("-", "-", "w1", "rack1", "`rack1` is a group, not a service"),
            (
                "-",
                "-",
                "-",
                "a:b:c",
                "`a:b:c` is not a valid service name: expected `program`, `group:program` or a glob",
            ),
        ];
        for (roles, nodes, exclude, services, expected) in table {
            let error = selected(roles, nodes, exclude, services).expect_err(expected);
            assert_eq!(error.to_string(), expected);
        }
        for (typed, wanted) in [("analitics", "did you mean analytics?"), ("rack1", "rack1 is a group: use -w @rack1")]
        {
            let SelectError::Role { hint, .. } = selected(typed, "-", "-", "").expect_err("no role") else {
                panic!("a role is wrong");
            };
            assert_eq!(hint, wanted);
        }
        // With nodes or a role it may be a service that the inventory does not list.
        assert!(selected("-", "a1", "-", "a1").is_ok() && selected("billing", "-", "-", "rack1").is_ok());
        assert_eq!(ServicePattern::parse("").expect_err("no name").to_string(), "the service name is empty");
        assert!(ServicePattern::parse("a b").is_err());
        assert!(ServicePattern::parse("a\u{1b}").is_err() && ServicePattern::parse("a[").is_err());
    }

    #[test]
    fn service_names_match_processes() {
        // Typed; group, process; whether it matches.
        let table = [
            ("contrail-api", "contrail-api", "0", true),
            ("contrail-api", "contrail-api", "1", true),
            ("contrail-api:0", "contrail-api", "0", true),
            ("contrail-api:0", "contrail-api", "1", false),
            ("contrail-api:*", "contrail-api", "1", true),
            ("contrail-api", "contrail-api-2", "0", false),
            ("contrail-*", "contrail-api", "0", true),
            ("contrail-*", "ifmap", "ifmap", false),
            ("*:0", "contrail-api", "0", true),
            ("*:0", "contrail-api", "1", false),
            ("*0", "contrail-api", "0", true),
            ("contrail-[ac]*", "contrail-api", "0", true),
            ("contrail-[!a]*", "contrail-api", "0", false),
            ("all", "ifmap", "ifmap", true),
            ("contrail-collector", "contrail-collector", "contrail-collector", true),
            ("Contrail-collector", "contrail-collector", "contrail-collector", false),
        ];
        for (typed, group, process, expected) in table {
            let pattern = ServicePattern::parse(typed).expect(typed);
            assert_eq!(pattern.matches_process(group, process), expected, "{typed} and {group}:{process}");
            assert_eq!(pattern.as_str(), typed);
        }
    }

    #[test]
    fn globs_match_no_instance_unless_they_start_with_supervisor() {
        let meant =
            |typed: &str| ServicePattern::parse(typed).is_ok_and(|p| p.matches_instance("supervisor-analytics"));
        for typed in ["supervisor-analytics", "supervisor-*", "supervisor*", "supervisor-a*"] {
            assert!(meant(typed), "{typed}");
        }
        for typed in ["all", "*", "s*", "*-analytics", "supervisor-config", "[s]upervisor-*", "contrail-analytics"] {
            assert!(!meant(typed), "{typed}");
        }
    }

    #[test]
    fn a_glob_without_a_match_has_a_nearest_name() {
        let known = ["contrail-api", "contrail-collector", "contrail-query-engine", "kafka", "supervisor-analytics"];
        let table = [
            ("contrail-colec*", Some("contrail-collector")),
            ("contrial-a*", Some("contrail-api")),
            ("contral-[cq]*", Some("contrail-api")),
            ("*-colector", Some("contrail-collector")),
            ("kafak*", Some("kafka")),
            ("supervisro-*", Some("supervisor-analytics")),
            ("typo*", None),
            ("k*", None),
            ("*", None),
            ("all", None),
        ];
        for (typed, expected) in table {
            let pattern = ServicePattern::parse(typed).expect(typed);
            assert_eq!(pattern.nearest_to_glob(known.into_iter()), expected, "{typed}");
        }
        let matches = |typed: &str, name: &str| ServicePattern::parse(typed).is_ok_and(|p| p.matches_full_name(name));
        assert!(matches("contrail-*", "contrail-api:0") && matches("*:0", "contrail-api:0") && matches("all", "x"));
        assert!(matches("contrail-api:*", "contrail-api") && !matches("contrail-a*", "contrail-collector"));
    }

    #[test]
    fn groups_as_a_whole() {
        let meant = |typed: &str, group: &str| ServicePattern::parse(typed).is_ok_and(|p| p.matches_group(group));
        assert!(meant("contrail-api", "contrail-api") && meant("contrail-api:*", "contrail-api"));
        assert!(meant("contrail-*", "contrail-api") && meant("all", "contrail-api"));
        assert!(!meant("contrail-api:0", "contrail-api") && !meant("contrail", "contrail-api"));
        let group = |typed: &str| ServicePattern::parse(typed).expect(typed).group().to_owned();
        assert_eq!((group("contrail-api:0").as_str(), group("ifmap").as_str()), ("contrail-api", "ifmap"));
        let is_glob = |typed: &str| ServicePattern::parse(typed).is_ok_and(|p| p.is_glob());
        assert!(is_glob("all") && is_glob("a*") && is_glob("a?") && is_glob("a[b]") && !is_glob("allow"));
    }

    proptest! {
        /// For any input: no panic, and each node at most once, in the order of the inventory, with a role.
        #[test]
        fn any_words_select_in_order(
            role in prop::option::of("(analytics|webui|data.{0,5}|.{0,8})"),
            nodes in prop::option::of("([acdw@*!&^,1-3\\[\\]-]{0,8}|.{0,8})"),
            services in prop::collection::vec("(contrail-(api|collector)|all|mailer|supervisor-.?|.{0,6})", 0..3),
        ) {
            let inventory = inventory();
            let roles: Vec<String> = role.into_iter().collect();
            let query = NodeQuery { roles: &roles, nodes: nodes.as_slice(), exclude: &[], services: &services };
            let Ok(selection) = select(&inventory, &query) else { return Ok(()) };
            let places: Vec<usize> = selection.nodes.iter()
                .map(|selected| inventory.nodes.iter().position(|node| node.name == selected.node.name).expect("a node"))
                .collect();
            prop_assert!(!places.is_empty() && places.is_sorted_by(|a, b| a < b));
            for selected in &selection.nodes {
                prop_assert!(!selected.roles.is_empty());
                prop_assert!(selected.roles.iter().all(|role| selected.node.roles.contains(&role.name)));
            }
        }
    }
}
