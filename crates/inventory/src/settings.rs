//! The keys of a node, which `defaults` shares.
//!
//! Here live [`NodeSettings`], where every part is optional, and the functions that read them. It uses
//! [`super::values`], [`super::hosts`] and [`super::ssh_options`]. Invariants: an absent value stays `None` or empty, so
//! that defaults can fill it. Start reading at [`of_node`].

use std::net::Ipv6Addr;
use std::path::PathBuf;
use std::time::Duration;

use super::hosts::{UnexpandablePattern, check_host, check_jump, expand, is_pattern};
use super::problem::{Diagnostic, quoted};
use super::raw::{RawValue, Value};
use super::roles::RoleTable;
use super::ssh_options::{self, GivenOption};
use super::values::{self, FieldEntry, ValueReader};
use ctl_event::Via;

/// Keys of a node. `defaults` has all but the last.
const KEYS: [&str; 13] = [
    "roles",
    "address",
    "port",
    "user",
    "identity",
    "jump",
    "sudo",
    "via",
    "connect_timeout",
    "timeout",
    "persist",
    "ssh_options",
    "maintenance",
];

/// Keys of Ansible, ssh_config and others, with ours.
const SYNONYMS: [(&str, &str); 33] = [
    ("role", "roles"),
    ("host", "address"),
    ("hostname", "address"),
    ("ip", "address"),
    ("addr", "address"),
    ("ansible_host", "address"),
    ("HostName", "address"),
    ("ansible_port", "port"),
    ("ssh_port", "port"),
    ("username", "user"),
    ("login", "user"),
    ("remote_user", "user"),
    ("ansible_user", "user"),
    ("identities", "identity"),
    ("identity_file", "identity"),
    ("IdentityFile", "identity"),
    ("key", "identity"),
    ("ssh_key", "identity"),
    ("proxy_jump", "jump"),
    ("ProxyJump", "jump"),
    ("bastion", "jump"),
    ("become", "sudo"),
    ("ansible_become", "sudo"),
    ("ConnectTimeout", "connect_timeout"),
    ("ControlPersist", "persist"),
    ("control_persist", "persist"),
    ("ssh", "ssh_options"),
    ("ssh_config", "ssh_options"),
    ("HostKeyAlgorithms", "ssh_options"),
    ("KexAlgorithms", "ssh_options"),
    ("Ciphers", "ssh_options"),
    ("MACs", "ssh_options"),
    ("PubkeyAcceptedAlgorithms", "ssh_options"),
];

/// The settings of one node, or of all.
#[derive(Debug, Clone, Default)]
pub(super) struct NodeSettings<'r> {
    pub(super) roles: Option<Vec<String>>,
    /// As written: its expansion is checked once the names are known.
    pub(super) address: Option<FieldEntry<'r>>,
    pub(super) port: Option<u16>,
    pub(super) user: Option<String>,
    pub(super) identities: Option<Vec<PathBuf>>,
    pub(super) jump: Option<String>,
    pub(super) sudo: Option<bool>,
    /// `auto` is `Some(None)`.
    pub(super) via: Option<Option<Via>>,
    pub(super) connect_timeout: Option<Duration>,
    pub(super) timeout: Option<Duration>,
    pub(super) persist: Option<Duration>,
    pub(super) ssh_options: Vec<GivenOption>,
    pub(super) maintenance: Option<String>,
}

/// The settings of a node, or of a pattern's nodes.
pub(super) fn of_node<'r>(reader: &mut ValueReader<'_>, field: FieldEntry<'r>, roles: &RoleTable) -> NodeSettings<'r> {
    read(reader, field, "a node", &KEYS, roles)
}

/// The settings of `defaults`.
pub(super) fn defaults<'r>(reader: &mut ValueReader<'_>, field: FieldEntry<'r>, roles: &RoleTable) -> NodeSettings<'r> {
    // `maintenance`, the last key, concerns a single node.
    let keys = KEYS.split_last().map_or(&[] as &[&str], |(_, keys)| keys);
    read(reader, field, "`defaults`", keys, roles)
}

fn read<'r>(
    reader: &mut ValueReader<'_>,
    field: FieldEntry<'r>,
    owner: &str,
    keys: &[&str],
    roles: &RoleTable,
) -> NodeSettings<'r> {
    let mut settings = NodeSettings::default();
    let fields = values::fields(reader, field.key, field.value, owner, keys, &SYNONYMS);
    for field in fields.unwrap_or_default() {
        match field.name {
            "roles" => settings.roles = values::role_names(reader, field, &roles.all),
            // Keep the text: it may be a pattern, which needs the names of the node to expand.
            "address" => settings.address = values::text(reader, field, "a host's name or address").map(|_| field),
            "port" => settings.port = values::port(reader, field),
            "user" => settings.user = user(reader, field),
            "identity" => settings.identities = identities(reader, field),
            "jump" => settings.jump = jump(reader, field),
            "sudo" => settings.sudo = values::boolean(reader, field),
            "via" => settings.via = via(reader, field),
            "connect_timeout" => settings.connect_timeout = values::duration(reader, field),
            "timeout" => settings.timeout = values::duration(reader, field),
            "persist" => settings.persist = values::duration_or_zero(reader, field),
            "ssh_options" => settings.ssh_options = ssh_options::read(reader, field),
            "maintenance" => settings.maintenance = maintenance(reader, field),
            // `fields` has removed unknown keys.
            _ => {}
        }
    }
    settings
}

fn user(reader: &mut ValueReader<'_>, field: FieldEntry<'_>) -> Option<String> {
    let said = values::text(reader, field, "a user's name")?;
    match values::check_user(said) {
        Ok(()) => Some(said.to_owned()),
        Err(flaw) => {
            reader.fault(flaw.fault(field.value, "user", said));
            None
        }
    }
}

fn identities(reader: &mut ValueReader<'_>, field: FieldEntry<'_>) -> Option<Vec<PathBuf>> {
    let items = values::texts(reader, field, "the path of a private key")?;
    Some(items.into_iter().filter_map(|item| values::path(reader, item)).collect())
}

fn jump(reader: &mut ValueReader<'_>, field: FieldEntry<'_>) -> Option<String> {
    let hops = values::texts(reader, field, "a bastion such as user@host:port")?;
    let mut said = Vec::new();
    for hop in hops {
        let text = hop.value.as_text().unwrap_or_default();
        match check_jump(text) {
            Ok(()) => said.push(text),
            Err(flaw) => {
                let message = format!("{} is not a valid list of bastions: {}", quoted(text), flaw.why);
                let place = hop.value.part(flaw.part);
                let place = if place.is_empty() { hop.value.place() } else { place };
                reader.fault(Diagnostic::new(place, message).help("write `[user@]host[:port]`, separated by commas"));
            }
        }
    }
    if said.is_empty() { None } else { Some(said.join(",")) }
}

fn via(reader: &mut ValueReader<'_>, field: FieldEntry<'_>) -> Option<Option<Via>> {
    let said = field.value.as_text().unwrap_or_default();
    if said == "auto" {
        return Some(None);
    }
    if let Ok(via) = said.parse::<Via>() {
        return Some(Some(via));
    }
    let names: Vec<&str> = Via::ALL.iter().map(|via| via.as_str()).collect();
    let (last, others) = names.split_last().unwrap_or((&"", &[]));
    values::wrong_value(reader, field, &format!("auto, {} or {last}", others.join(", ")));
    None
}

/// The reason, in one line. `false` means no maintenance.
fn maintenance(reader: &mut ValueReader<'_>, field: FieldEntry<'_>) -> Option<String> {
    match &field.value.value {
        Value::Bool(false) => None,
        // The reason is required: it is the message for users of the node.
        Value::Bool(true) => {
            let fault = Diagnostic::new(field.value.place(), "`maintenance` must be the reason, not true")
                .help("such as `maintenance: \"disk is being replaced, ask Ana\"`");
            reader.fault(fault);
            None
        }
        Value::Null | Value::Number(_) | Value::Text(_) | Value::List(_) | Value::Map(_) => {
            let said = values::text(reader, field, "the reason, in words")?;
            // One line, since a message quotes it.
            Some(said.split_whitespace().collect::<Vec<_>>().join(" "))
        }
    }
}

/// The `count` addresses of an address with or without ranges. `own` is false for that of `defaults`; `key` is the
/// node's.
pub(super) fn addresses(
    reader: &mut ValueReader<'_>,
    field: FieldEntry<'_>,
    count: usize,
    key: &RawValue,
    own: bool,
) -> Option<Vec<String>> {
    let said = field.value.as_text().unwrap_or_default();
    let is_pattern = is_pattern(said);
    // Brackets are ranges in a pattern: `[::1]` would expand to nonsense.
    let unbracketed = said.strip_prefix('[').and_then(|rest| rest.strip_suffix(']'));
    if let Some(inner) = unbracketed.filter(|inner| inner.parse::<Ipv6Addr>().is_ok()) {
        let fault =
            Diagnostic::new(field.value.place(), format!("{} has brackets, which are only for ranges", quoted(said)));
        reader.fault(fault.help(format!("write `address: \"{inner}\"`")));
        return None;
    }
    let addresses = match expand(said, count) {
        Ok(addresses) => addresses,
        Err(UnexpandablePattern::Pattern(error)) => {
            let place = field.value.part(error.span());
            reader.fault(Diagnostic::new(place, error.message()).help_if(error.hint().map(str::to_owned)));
            return None;
        }
        // The pattern is not expanded past the number of nodes: its count is enough for the message.
        Err(UnexpandablePattern::TooMany(given)) => {
            unequal(reader, field, given, count, key, own);
            return None;
        }
    };
    for address in &addresses {
        if let Err(flaw) = check_host(address, true) {
            let message = format!("{} is not a valid address: {}", quoted(address), flaw.why);
            let place = if is_pattern { field.value.place() } else { field.value.part(flaw.part) };
            // The two most frequent mistakes: `user@host` and `host:port`.
            let help = if said.contains('@') {
                Some("use the separate key for the user: `user: root`")
            } else if said.contains(':') {
                Some("use the separate key for the port: `port: 2222`")
            } else {
                None
            };
            reader.fault(Diagnostic::new(place, message).help_if(help.map(str::to_owned)));
            return None;
        }
    }
    if addresses.len() == count {
        return Some(addresses);
    }
    unequal(reader, field, addresses.len() as u64, count, key, own);
    None
}

/// Reports a number of addresses that differs from the number of nodes.
fn unequal(reader: &mut ValueReader<'_>, field: FieldEntry<'_>, given: u64, count: usize, key: &RawValue, own: bool) {
    let (given, needed) = (plural(given, "address", "addresses"), plural(count as u64, "node", "nodes"));
    let said = field.value.as_text().unwrap_or_default();
    let fault = Diagnostic::new(field.value.place(), format!("{} has {given} for {needed}", quoted(said))).label(given);
    let words = if own { needed } else { format!("{needed} without an `address`") };
    let fault = fault.related(key.span.clone(), words);
    reader.fault(fault.help("the ranges of a node's name and address must have the same length"));
}

fn plural(count: u64, one: &str, many: &str) -> String {
    if count == 1 { format!("1 {one}") } else { format!("{count} {many}") }
}
