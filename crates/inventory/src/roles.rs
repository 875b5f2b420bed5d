//! The `roles` of an inventory: the built-in ones with changes, and the file's own.
//!
//! Here lives [`read`]. It uses [`super::catalogue`], [`super::values`], [`super::socket`] and [`super::ssh_options`].
//! Invariants: every role in the file is in the result, even an invalid one, so that the nodes that refer to it are not
//! reported as well. Start reading at [`read`].

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, HashMap, HashSet};
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use super::catalogue::ROLE_ORDER;
use super::catalogue::{built_in_role, built_in_roles};
use super::model::{ControlAddress, Role, Supervisor, UnavailableCap};
use super::problem::{Diagnostic, did_you_mean, quoted};
use super::raw::Value;
use super::role_names::canonical_role;
use super::socket::control_address;
use super::ssh_options::{self, GivenOption};
use super::values::{self, FieldEntry, ValueReader};

/// Keys of the short form, which describes a single instance.
const SHORT: [&str; 5] = ["supervisor", "socket", "services", "username", "password_file"];
/// Keys of a role.
const KEYS: [&str; 13] = [
    "supervisor",
    "socket",
    "services",
    "username",
    "password_file",
    "supervisors",
    "init_services",
    "max_unavailable",
    "introspect",
    "oneshot",
    "extends",
    "persist",
    "ssh_options",
];
/// Keys of an entry of `supervisors`.
const INSTANCE_KEYS: [&str; 5] = ["name", "socket", "services", "username", "password_file"];

const SYNONYMS: [(&str, &str); 12] = [
    ("supervisord", "supervisor"),
    ("instance", "supervisor"),
    ("sock", "socket"),
    ("url", "socket"),
    ("serverurl", "socket"),
    ("programs", "services"),
    ("program", "services"),
    ("user", "username"),
    ("cap", "max_unavailable"),
    ("inherits", "extends"),
    ("one_shot", "oneshot"),
    ("oneshots", "oneshot"),
];
const INSTANCE_SYNONYMS: [(&str, &str); 7] = [
    ("supervisor", "name"),
    ("sock", "socket"),
    ("url", "socket"),
    ("serverurl", "socket"),
    ("programs", "services"),
    ("user", "username"),
    ("password", "password_file"),
];

/// The roles of an inventory.
pub(super) struct RoleTable {
    /// All roles, by canonical name.
    pub(super) all: BTreeMap<String, Arc<Role>>,
    /// The roles in the file: the name as written, and its place.
    pub(super) keys: BTreeMap<String, (String, Range<usize>)>,
    /// Their connection settings, by canonical name.
    pub(super) ssh_options: BTreeMap<String, Vec<GivenOption>>,
    /// How long connections to their nodes are kept, by canonical name.
    pub(super) persist: BTreeMap<String, Duration>,
}

/// Reads the `roles`, if there are any, on top of the built-in ones.
pub(super) fn read(reader: &mut ValueReader<'_>, field: Option<FieldEntry<'_>>) -> RoleTable {
    let all = built_in_roles().into_iter().map(|(name, role)| (name, Arc::new(role))).collect();
    let mut roles = RoleTable { all, keys: BTreeMap::new(), ssh_options: BTreeMap::new(), persist: BTreeMap::new() };
    let given = field.and_then(|field| values::pairs(reader, field.key, field.value, "role"));
    for field in given.unwrap_or_default() {
        if let Err(flaw) = values::check_name(field.name, "._-") {
            reader.fault(flaw.fault(field.key, "role", field.name));
            continue;
        }
        // Compare canonical names: an alias defines the same role.
        let name = canonical_role(field.name);
        match roles.keys.entry(name.to_owned()) {
            Entry::Occupied(before) => {
                let (said, place) = before.get();
                let message =
                    format!("{} is another name for {}, which is also defined", quoted(field.name), quoted(said));
                let fault = Diagnostic::new(field.key.span.clone(), message)
                    .label("defined again here")
                    .related(place.clone(), "first defined here");
                reader.fault(fault);
                // The first definition counts.
                continue;
            }
            Entry::Vacant(entry) => entry.insert((field.name.to_owned(), field.key.span.clone())),
        };
        let (role, connection) = role(reader, name, field);
        roles.ssh_options.insert(name.to_owned(), connection.ssh_options);
        roles.persist.extend(connection.persist.map(|persist| (name.to_owned(), persist)));
        roles.all.insert(name.to_owned(), Arc::new(role));
    }
    roles
}

/// The settings of a role for the connections to its nodes.
struct RoleConnection {
    ssh_options: Vec<GivenOption>,
    persist: Option<Duration>,
}

fn role(reader: &mut ValueReader<'_>, name: &str, field: FieldEntry<'_>) -> (Role, RoleConnection) {
    let faults_before = reader.report.count();
    let fields = values::fields(reader, field.key, field.value, "a role", &KEYS, &SYNONYMS).unwrap_or_default();
    let find = |key: &str| fields.iter().copied().find(|field| field.name == key);
    let mut role = base(reader, name, find("extends"));

    let short: Vec<FieldEntry<'_>> = fields.iter().copied().filter(|field| SHORT.contains(&field.name)).collect();
    match (find("supervisors"), short.first()) {
        (Some(long), Some(short)) => {
            let message = format!("`supervisors` cannot be combined with {}", quoted(short.name));
            let fault = Diagnostic::new(long.key.span.clone(), message)
                .related(short.key.span.clone(), "for a single instance")
                .help("put everything in the list: `supervisors: [{name: …, socket: …}]`");
            reader.fault(fault);
        }
        (Some(long), None) => role.supervisors = instances(reader, &role, long),
        (None, Some(_)) => main_instance(reader, &mut role, &short),
        (None, None) => {}
    }
    if let Some(field) = find("init_services") {
        role.init_services = services(reader, field);
    }
    if let Some(field) = find("max_unavailable")
        && let Some(cap) = cap(reader, field)
    {
        role.max_unavailable = cap;
    }
    if let Some(field) = find("introspect") {
        role.introspect = introspect(reader, field);
    }
    if let Some(field) = find("oneshot") {
        role.oneshot = oneshot(reader, field);
    }
    let connection = RoleConnection {
        ssh_options: find("ssh_options").map(|field| ssh_options::read(reader, field)).unwrap_or_default(),
        persist: find("persist").and_then(|field| values::duration_or_zero(reader, field)),
    };
    // Report missing keys only if the role has no other fault.
    if reader.report.count() == faults_before {
        check_whole(reader, field, &role);
    }
    (role, connection)
}

/// The role that the file's keys modify.
fn base(reader: &mut ValueReader<'_>, name: &str, extends: Option<FieldEntry<'_>>) -> Role {
    let own = built_in_role(name);
    let Some(field) = extends else {
        return own.unwrap_or_else(|| empty(name));
    };
    // A built-in role has its own base already; `extends` would silently replace it.
    if own.is_some() {
        let message = format!("{} is built in and cannot extend another role", quoted(name));
        reader.fault(Diagnostic::new(field.key.span.clone(), message).help("give the role another name"));
    }
    let Some(said) = values::text(reader, field, "the name of a built-in role") else {
        return own.unwrap_or_else(|| empty(name));
    };
    match built_in_role(canonical_role(said)) {
        Some(role) => Role { name: name.to_owned(), ..role },
        None => {
            let fault = Diagnostic::new(field.value.place(), format!("no built-in role {}", quoted(said)))
                .help(format!("the built-in roles are {}", ROLE_ORDER.join(", ")))
                .help_if(did_you_mean(said, ROLE_ORDER));
            reader.fault(fault);
            own.unwrap_or_else(|| empty(name))
        }
    }
}

fn empty(name: &str) -> Role {
    Role {
        name: name.to_owned(),
        supervisors: Vec::new(),
        init_services: Vec::new(),
        max_unavailable: None,
        introspect: BTreeMap::new(),
        oneshot: Vec::new(),
    }
}

fn new_instance(name: String) -> Supervisor {
    Supervisor {
        name,
        addresses: Vec::new(),
        services: Vec::new(),
        cascades: Vec::new(),
        optional: false,
        config_file: None,
        username: None,
        password_file: None,
    }
}

/// The short form: changes the role's first instance, or creates its only one.
fn main_instance(reader: &mut ValueReader<'_>, role: &mut Role, fields: &[FieldEntry<'_>]) {
    if role.supervisors.is_empty() {
        role.supervisors.push(new_instance(format!("supervisor-{}", role.name)));
    }
    let Some(instance) = role.supervisors.first_mut() else { return };
    if let Some(field) = fields.iter().find(|field| field.name == "supervisor")
        && let Some(name) = values::name(reader, *field, "supervisord instance")
        && name != instance.name
    {
        instance.name = name;
        // A different instance has a different, unknown file.
        instance.config_file = None;
    }
    change(reader, instance, fields);
    if let Some(twice) = repeated(&role.supervisors) {
        let place = fields.iter().find(|field| field.name == "supervisor").map(|field| field.value.place());
        if let Some(place) = place {
            let message = format!("the role has another instance {}", quoted(&twice));
            reader.fault(Diagnostic::new(place, message).help("`supervisors` lists all of a role's instances"));
        }
    }
}

// Only the first instance was renamed, so only its name can clash.
fn repeated(instances: &[Supervisor]) -> Option<String> {
    let (first, others) = instances.split_first()?;
    others.iter().find(|other| other.name == first.name).map(|other| other.name.clone())
}

/// The list of `supervisors`. An entry with the name of a built-in instance of the role starts from that instance.
fn instances(reader: &mut ValueReader<'_>, role: &Role, field: FieldEntry<'_>) -> Vec<Supervisor> {
    let items: Vec<_> = match &field.value.value {
        Value::List(items) => items.iter().collect(),
        // A single mapping is a list of one.
        Value::Map(_) => vec![field.value],
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::Text(_) => {
            values::wrong_value(reader, field, "a list of `{name: …, socket: …}`");
            return Vec::new();
        }
    };
    let mut instances: Vec<Supervisor> = Vec::new();
    let mut places: HashMap<String, Range<usize>> = HashMap::new();
    for value in items {
        let faults_before = reader.report.count();
        let Some(fields) =
            values::fields(reader, field.key, value, "a supervisord", &INSTANCE_KEYS, &INSTANCE_SYNONYMS)
        else {
            continue;
        };
        let Some(name_field) = fields.iter().find(|field| field.name == "name") else {
            let place = if value.place().is_empty() { field.key.span.clone() } else { value.place() };
            reader.fault(
                Diagnostic::new(place, "a supervisord has no `name`")
                    .help("the name of its init service, such as supervisor-billing"),
            );
            continue;
        };
        let Some(name) = values::name(reader, *name_field, "supervisord instance") else { continue };
        let place = name_field.value.place();
        if let Some(before) = places.get(&name) {
            let message = format!("the supervisord {} is defined twice", quoted(&name));
            reader.fault(
                Diagnostic::new(place, message)
                    .label("defined again here")
                    .related(before.clone(), "first defined here"),
            );
            continue;
        }
        places.insert(name.clone(), place.clone());
        // The file need not repeat the addresses and services of a built-in instance.
        let built_in = role.supervisors.iter().find(|own| own.name == name).cloned();
        let mut instance = built_in.unwrap_or_else(|| new_instance(name));
        change(reader, &mut instance, &fields);
        if instance.addresses.is_empty() && reader.report.count() == faults_before {
            let message = format!("the supervisord {} has no `socket`", quoted(&instance.name));
            reader.fault(Diagnostic::new(place, message).help("such as `socket: /var/run/supervisord.sock`"));
        }
        instances.push(instance);
    }
    if matches!(&field.value.value, Value::List(items) if items.is_empty()) {
        // Only an empty list: one with faulty items has faults already.
        reader.fault(
            Diagnostic::new(field.value.place(), "`supervisors` is empty")
                .help("leave it out if the role has only init services"),
        );
    }
    instances
}

/// Applies the keys of both forms to an instance.
fn change(reader: &mut ValueReader<'_>, instance: &mut Supervisor, fields: &[FieldEntry<'_>]) {
    let find = |key: &str| fields.iter().copied().find(|field| field.name == key);
    if let Some(field) = find("socket") {
        instance.addresses = addresses(reader, field);
        // With a moved socket the file may have moved too; its absence would prove nothing.
        instance.config_file = None;
    }
    if let Some(field) = find("services") {
        instance.services = services(reader, field);
        // A service that the instance does not run cannot restart it.
        instance.cascades.retain(|name| instance.services.contains(name));
    }
    let (username, password_file) = (find("username"), find("password_file"));
    if let Some(field) = username {
        instance.username = values::text(reader, field, "a user name").map(str::to_owned);
    }
    if let Some(field) = password_file {
        instance.password_file = values::path(reader, field);
    }
    // A value from the built-in instance or an earlier key can complete the pair.
    let alone = match (username, password_file) {
        (Some(field), None) if instance.password_file.is_none() => Some((field, "password_file")),
        (None, Some(field)) if instance.username.is_none() => Some((field, "username")),
        _ => None,
    };
    if let Some((field, other)) = alone {
        let message = format!("{} also needs `{other}`", quoted(field.name));
        reader.fault(Diagnostic::new(field.key.span.clone(), message).help("supervisord asks for both or neither"));
    }
}

fn addresses(reader: &mut ValueReader<'_>, field: FieldEntry<'_>) -> Vec<ControlAddress> {
    const EXPECTED: &str = "a socket's path, or http://localhost:PORT";
    let mut addresses = Vec::new();
    let items = values::texts(reader, field, EXPECTED);
    // A list with faulty items is empty as well, but has faults already.
    if items.as_ref().is_some_and(Vec::is_empty) && matches!(&field.value.value, Value::List(items) if items.is_empty())
    {
        reader.fault(Diagnostic::new(field.value.place(), format!("`socket` is an empty list: expected {EXPECTED}")));
    }
    let mut known = HashSet::new();
    for item in items.unwrap_or_default() {
        let said = item.value.as_text().unwrap_or_default();
        match control_address(said.trim()) {
            Ok(address) if known.insert(address.clone()) => addresses.push(address),
            // A repeated address is harmless, and one attempt per address is enough.
            Ok(_) => {}
            Err((message, help)) => {
                let message = format!("{} {message}", quoted(said));
                reader.fault(Diagnostic::new(item.value.place(), message).help(help));
            }
        }
    }
    addresses
}

fn services(reader: &mut ValueReader<'_>, field: FieldEntry<'_>) -> Vec<String> {
    let mut names: Vec<String> = Vec::new();
    let mut known = HashSet::new();
    for item in values::texts(reader, field, "the name of a service").unwrap_or_default() {
        if let Some(name) = values::name(reader, item, "service")
            && known.insert(name.clone())
        {
            names.push(name);
        }
    }
    names
}

/// Oneshot programs: `program`, or `group:process`.
fn oneshot(reader: &mut ValueReader<'_>, field: FieldEntry<'_>) -> Vec<String> {
    let mut names: Vec<String> = Vec::new();
    for item in values::texts(reader, field, "the name of a program").unwrap_or_default() {
        let said = item.value.as_text().unwrap_or_default();
        if let Err(flaw) = values::check_name(said, "._-:@") {
            reader.fault(flaw.fault(item.value, "program", said));
        } else if !names.iter().any(|name| name == said) {
            names.push(said.to_owned());
        }
    }
    names
}

fn cap(reader: &mut ValueReader<'_>, field: FieldEntry<'_>) -> Option<Option<UnavailableCap>> {
    const EXPECTED: &str = "a number of nodes, a percentage such as 25%, or none";
    let said = field.value.as_text().unwrap_or_default().trim();
    // Removes the cap of a built-in role.
    if said == "none" {
        return Some(None);
    }
    let cap = match said.strip_suffix('%') {
        Some(percent) => {
            values::digits(percent.trim_end()).filter(|percent| *percent <= 100).map(UnavailableCap::Percent)
        }
        None => values::digits(said).map(UnavailableCap::Nodes),
    };
    match cap {
        Some(UnavailableCap::Nodes(0) | UnavailableCap::Percent(0)) => {
            let fault = Diagnostic::new(field.value.place(), "a `max_unavailable` of 0 would prevent every restart")
                .label(format!("expected {EXPECTED}"));
            reader.fault(fault);
            None
        }
        Some(cap) => Some(Some(cap)),
        None => {
            values::wrong_value(reader, field, EXPECTED);
            None
        }
    }
}

fn introspect(reader: &mut ValueReader<'_>, field: FieldEntry<'_>) -> BTreeMap<String, u16> {
    let mut ports = BTreeMap::new();
    for field in values::pairs(reader, field.key, field.value, "service").unwrap_or_default() {
        if let Err(flaw) = values::check_name(field.name, "._-:@") {
            reader.fault(flaw.fault(field.key, "service", field.name));
        } else if let Some(port) = values::port(reader, field) {
            ports.insert(field.name.to_owned(), port);
        }
    }
    ports
}

/// A role must have a target, and an address for it.
fn check_whole(reader: &mut ValueReader<'_>, field: FieldEntry<'_>, role: &Role) {
    let name = quoted(field.name);
    if role.supervisors.is_empty() && role.init_services.is_empty() {
        let fault = Diagnostic::new(
            field.key.span.clone(),
            format!("the role {name} has neither a supervisord nor an init service"),
        )
        .help(format!("such as `{}: {{socket: /var/run/supervisord.sock}}`", field.name))
        .help_if(did_you_mean(field.name, ROLE_ORDER));
        reader.fault(fault);
    }
    for instance in role.supervisors.iter().filter(|instance| instance.addresses.is_empty()) {
        let fault = Diagnostic::new(
            field.key.span.clone(),
            format!("the role {name} does not say where {} listens", quoted(&instance.name)),
        )
        .help("add its `socket`, such as `socket: /var/run/supervisord.sock`");
        reader.fault(fault);
    }
}
