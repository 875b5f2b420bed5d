//! The JSON of `ansible-inventory --list` and of inventory scripts.

use std::path::Path;
use std::sync::Arc;

use serde_json::{Map, Value};

use super::model::AnsibleInventory;
use super::value::AnsibleValue;
use crate::fleet::{ImportError, ImportedFleet, ImportedHost, SourcePlace};

/// Whether a text is such JSON, and not a YAML inventory that is written as JSON.
pub(super) fn is_list(text: &str) -> bool {
    text.trim_start().starts_with('{')
        && serde_json::from_str::<Map<String, Value>>(text).is_ok_and(|map| map.contains_key("_meta"))
}

/// Reads such JSON into the inventory.
///
/// # Errors
/// Text that is not JSON, or not an inventory.
pub(super) fn read(inventory: &mut AnsibleInventory, text: &str, file: &Arc<Path>) -> Result<(), ImportError> {
    let place = SourcePlace::new(file, 0);
    let root: Value = serde_json::from_str(text).map_err(|error| {
        // The library's own message ends with the place.
        let said = error.to_string();
        let said = said.split(" at line ").next().unwrap_or_default();
        ImportError::new(SourcePlace::new(file, error.line()), format!("this is not valid JSON: {said}"))
    })?;
    let Value::Object(root) = root else {
        return Err(ImportError::new(place, "this is not the JSON of `ansible-inventory --list`: expected an object"));
    };
    // Children may be named before they are defined, so the groups come first.
    let groups = || root.iter().filter(|(name, _)| *name != "_meta");
    for (name, _) in groups() {
        inventory.group(name, &place)?;
    }
    for (name, value) in groups() {
        let group = inventory.group(name, &place)?;
        match value {
            // The old form: a list of hosts.
            Value::Array(hosts) => add_hosts(inventory, group, name, hosts, &place)?,
            Value::Object(value) => group_value(inventory, group, name, value, &place)?,
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {
                return Err(ImportError::new(place, format!("the group {name} must be an object or a list of hosts")));
            }
        }
    }
    let vars = root.get("_meta").and_then(|meta| meta.get("hostvars")).and_then(Value::as_object);
    if vars.is_none() && !inventory.hosts.is_empty() {
        let why = "there is no `_meta`, and hosts are not asked for one by one: they have no variables";
        inventory.omissions.warn(&place, "hostvars", why);
    }
    for (name, variables) in vars.into_iter().flatten() {
        let Value::Object(variables) = variables else {
            return Err(ImportError::new(place, format!("the variables of {name} must be an object")));
        };
        // A host without a group stands only here.
        let all = inventory.group("all", &place)?;
        let host = inventory.add_host(name, None, all, &place)?;
        for (name, value) in variables {
            inventory.set_host(host, name, &to_value(value), &place);
        }
    }
    Ok(())
}

fn group_value(
    inventory: &mut AnsibleInventory,
    group: usize,
    name: &str,
    value: &Map<String, Value>,
    place: &SourcePlace,
) -> Result<(), ImportError> {
    let list = |key: &str| match value.get(key) {
        None | Some(Value::Null) => Ok(&[] as &[Value]),
        Some(Value::Array(items)) => Ok(items.as_slice()),
        Some(_) => Err(ImportError::new(place.clone(), format!("`{key}` of the group {name} must be a list"))),
    };
    add_hosts(inventory, group, name, list("hosts")?, place)?;
    for child in list("children")? {
        let Value::String(child) = child else {
            return Err(ImportError::new(place.clone(), format!("a child of the group {name} must be text")));
        };
        let child = inventory.group(child, place)?;
        inventory.add_child(group, child, place)?;
    }
    match value.get("vars") {
        None | Some(Value::Null) => Ok(()),
        Some(Value::Object(variables)) => {
            variables.iter().try_for_each(|(name, value)| inventory.set_group(group, name, &to_value(value), place))
        }
        Some(_) => Err(ImportError::new(place.clone(), format!("`vars` of the group {name} must be an object"))),
    }
}

fn add_hosts(
    inventory: &mut AnsibleInventory,
    group: usize,
    group_name: &str,
    hosts: &[Value],
    place: &SourcePlace,
) -> Result<(), ImportError> {
    for host in hosts {
        let Value::String(name) = host else {
            return Err(ImportError::new(place.clone(), format!("a host of the group {group_name} must be text")));
        };
        inventory.add_host(name, None, group, place)?;
    }
    Ok(())
}

/// Such JSON with the hosts, groups and connections of a fleet, in one line. Valid values are read back as they are.
pub(super) fn write(fleet: &ImportedFleet) -> String {
    let mut hostvars = Map::new();
    for host in &fleet.hosts {
        let ImportedHost { name, place: _, address, port, user, identity, jump, sudo } = host;
        let variables = [
            ("ansible_host", address.clone().map(Value::from)),
            ("ansible_port", port.map(Value::from)),
            ("ansible_user", user.clone().map(Value::from)),
            ("ansible_private_key_file", identity.clone().map(Value::from)),
            ("ansible_ssh_common_args", jump.as_ref().map(|jump| Value::from(format!("-J {jump}")))),
            ("ansible_become", sudo.map(Value::from)),
        ];
        let variables = variables.into_iter().filter_map(|(name, value)| Some((name.to_owned(), value?)));
        hostvars.insert(name.clone(), Value::Object(variables.collect()));
    }
    let mut root = Map::new();
    for (name, hosts) in &fleet.groups {
        root.insert(name.clone(), serde_json::json!({ "hosts": hosts }));
    }
    root.insert("_meta".to_owned(), serde_json::json!({ "hostvars": hostvars }));
    Value::Object(root).to_string()
}

fn to_value(value: &Value) -> AnsibleValue {
    match value {
        Value::Null => AnsibleValue::Null,
        Value::Bool(value) => AnsibleValue::Bool(*value),
        Value::Number(number) => number.as_i64().map_or(AnsibleValue::Other, AnsibleValue::Int),
        Value::String(text) => AnsibleValue::Text(text.clone()),
        // Text that its vault has encrypted, or that no template may change, is an object.
        Value::Object(map) => match (map.get("__ansible_vault"), map.get("__ansible_unsafe")) {
            (Some(Value::String(text)), _) | (_, Some(Value::String(text))) => AnsibleValue::Text(text.clone()),
            _ => AnsibleValue::Other,
        },
        Value::Array(_) => AnsibleValue::Other,
    }
}
