//! Ansible's YAML inventories: groups with `hosts`, `vars` and `children`.
//!
//! The rules are those of `ansible/plugins/inventory/yaml.py`.

use super::model::AnsibleInventory;
use super::pattern;
use super::value::AnsibleValue;
use crate::fleet::{ImportError, SourcePlace};
use crate::source_file::SourceFile;
use crate::yaml_tree::{TreeKind, TreeValue};

/// Reads the groups at the top of a file into the inventory.
///
/// # Errors
/// A structure that Ansible rejects.
pub(super) fn read(inventory: &mut AnsibleInventory, file: &SourceFile, tree: &TreeValue) -> Result<(), ImportError> {
    groups(inventory, file, tree, None)
}

fn groups(
    inventory: &mut AnsibleInventory,
    file: &SourceFile,
    tree: &TreeValue,
    parent: Option<usize>,
) -> Result<(), ImportError> {
    for (key, value) in map_pairs(tree) {
        let place = SourcePlace::new(&file.path, key.line);
        let name = key.text().ok_or_else(|| ImportError::new(place.clone(), "the name of a group must be text"))?;
        if !value.is_map() && !value.is_null() {
            inventory.omissions.note(&place, name, "this is not a group: expected a mapping");
            // As a child it exists all the same.
            if parent.is_none() {
                continue;
            }
        }
        let group = inventory.group(name, &place)?;
        contents(inventory, file, value, group)?;
        if let Some(parent) = parent {
            inventory.add_child(parent, group, &place)?;
        }
    }
    Ok(())
}

/// The `hosts`, `vars` and `children` of a group.
fn contents(
    inventory: &mut AnsibleInventory,
    file: &SourceFile,
    value: &TreeValue,
    group: usize,
) -> Result<(), ImportError> {
    for (key, value) in map_pairs(value) {
        let place = SourcePlace::new(&file.path, key.line);
        let name = key.text().unwrap_or_default();
        if !matches!(name, "hosts" | "vars" | "children") {
            inventory.omissions.note(&place, name, "a group has only `hosts`, `vars` and `children`");
            continue;
        }
        // A single name is allowed instead of a mapping.
        let single = value.text().map(|_| TreeValue {
            line: value.line,
            kind: TreeKind::Map(vec![(value.clone(), TreeValue { line: value.line, kind: TreeKind::Null })]),
        });
        let value = single.as_ref().unwrap_or(value);
        if !value.is_map() && !value.is_null() {
            return Err(ImportError::new(place, format!("`{name}` must be a mapping")));
        }
        match name {
            "hosts" => hosts(inventory, file, value, group)?,
            "vars" => {
                for (name, key, value) in value.pairs() {
                    let place = SourcePlace::new(&file.path, key.line);
                    inventory.set_group(group, name, &AnsibleValue::from(value), &place)?;
                }
            }
            _ => groups(inventory, file, value, Some(group))?,
        }
    }
    Ok(())
}

fn hosts(
    inventory: &mut AnsibleInventory,
    file: &SourceFile,
    value: &TreeValue,
    group: usize,
) -> Result<(), ImportError> {
    for (key, variables) in map_pairs(value) {
        let place = SourcePlace::new(&file.path, key.line);
        let pattern = key
            .text()
            .ok_or_else(|| ImportError::new(place.clone(), "the name of a host must be text: put it in quotes"))?;
        if !variables.is_map() && !variables.is_null() {
            return Err(ImportError::new(place, format!("the variables of {pattern} must be a mapping")));
        }
        let (names, port) = pattern::expand(pattern).map_err(|why| ImportError::new(place.clone(), why))?;
        for name in names {
            let host = inventory.add_host(&name, port, group, &place)?;
            for (name, key, value) in variables.pairs() {
                let place = SourcePlace::new(&file.path, key.line);
                inventory.set_host(host, name, &AnsibleValue::from(value), &place);
            }
        }
    }
    Ok(())
}

fn map_pairs(value: &TreeValue) -> &[(TreeValue, TreeValue)] {
    if let TreeKind::Map(pairs) = &value.kind { pairs } else { &[] }
}
