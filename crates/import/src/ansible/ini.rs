//! Ansible's INI inventories: `[group]`, `[group:vars]`, `[group:children]`.
//!
//! The rules are those of `ansible/plugins/inventory/ini.py`.

use std::collections::BTreeMap;

use super::literal::literal;
use super::model::AnsibleInventory;
use super::pattern;
use super::value::AnsibleValue;
use crate::fleet::{ImportError, SourcePlace};
use crate::source_file::SourceFile;
use crate::words;

/// What the lines of a section are.
#[derive(Clone, Copy, PartialEq, Eq)]
enum IniSection {
    Hosts,
    Vars,
    Children,
}

/// Groups that a section names before they are declared.
#[derive(Default)]
struct PendingGroups {
    /// `[group:vars]` without the group so far.
    vars: BTreeMap<String, SourcePlace>,
    /// Children, with the sections that name them.
    children: BTreeMap<String, Vec<(usize, SourcePlace)>>,
}

/// Reads a file into the inventory.
///
/// # Errors
/// A line that Ansible rejects.
pub(super) fn read(inventory: &mut AnsibleInventory, file: &SourceFile) -> Result<(), ImportError> {
    let mut group = inventory.group("ungrouped", &SourcePlace::new(&file.path, 0))?;
    let mut section = IniSection::Hosts;
    let mut pending = PendingGroups::default();
    for (index, line) in file.text.lines().enumerate() {
        let place = SourcePlace::new(&file.path, index + 1);
        let line = line.trim();
        if line.is_empty() || line.starts_with(['#', ';']) {
            continue;
        }
        if let Some((name, kind)) = section_of(line, &place)? {
            section = kind;
            let is_new = !inventory.has_group(name);
            group = inventory.group(name, &place)?;
            if kind == IniSection::Vars {
                if is_new && !pending.children.contains_key(name) {
                    pending.vars.insert(name.to_owned(), place);
                }
                continue;
            }
            pending.vars.remove(name);
            for (parent, place) in pending.children.remove(name).unwrap_or_default() {
                inventory.add_child(parent, group, &place)?;
            }
            continue;
        }
        match section {
            IniSection::Hosts => host_line(inventory, group, line, &place)?,
            IniSection::Vars => {
                let (name, value) =
                    line.split_once('=').ok_or_else(|| ImportError::new(place.clone(), "expected `variable=value`"))?;
                inventory.set_group(group, name.trim(), &literal(value.trim()), &place)?;
            }
            IniSection::Children => {
                let name =
                    group_name(line).ok_or_else(|| ImportError::new(place.clone(), "expected the name of a group"))?;
                if inventory.has_group(name) {
                    let child = inventory.group(name, &place)?;
                    inventory.add_child(group, child, &place)?;
                } else {
                    pending.children.entry(name.to_owned()).or_default().push((group, place));
                }
            }
        }
    }
    if let Some((name, place)) = pending.vars.into_iter().next() {
        return Err(ImportError::new(place, format!("the group {name} is not defined")));
    }
    for (name, places) in pending.children {
        if let Some((_, place)) = places.into_iter().next() {
            return Err(ImportError::new(place, format!("the group {name} is not defined")));
        }
    }
    Ok(())
}

/// The group and the kind of a `[section]` line.
fn section_of<'l>(line: &'l str, place: &SourcePlace) -> Result<Option<(&'l str, IniSection)>, ImportError> {
    let Some((inner, after)) = line.strip_prefix('[').and_then(|rest| rest.split_once(']')) else { return Ok(None) };
    let after = after.trim_start();
    let is_name = |name: &str| !name.is_empty() && !name.contains(|c: char| c == ':' || c.is_whitespace());
    let (name, kind) = inner.split_once(':').map_or((inner, None), |(name, kind)| (name, Some(kind)));
    let is_kind = |kind: &str| !kind.is_empty() && kind.chars().all(|c| c.is_alphanumeric() || c == '_');
    if is_name(name) && kind.is_none_or(is_kind) && (after.is_empty() || after.starts_with('#')) {
        return match kind {
            None | Some("hosts") => Ok(Some((name, IniSection::Hosts))),
            Some("vars") => Ok(Some((name, IniSection::Vars))),
            Some("children") => Ok(Some((name, IniSection::Children))),
            Some(other) => {
                let message = format!("unknown kind of section `{other}`: expected hosts, vars or children");
                Err(ImportError::new(place.clone(), message))
            }
        };
    }
    if line.ends_with(']') {
        return Err(ImportError::new(place.clone(), "this is not a valid section"));
    }
    // Such as `[::1]:22`, which is a host.
    Ok(None)
}

/// A group's name, before a comment.
fn group_name(line: &str) -> Option<&str> {
    let end = line.find(|c: char| c == ':' || c == ']' || c.is_whitespace()).unwrap_or(line.len());
    let (name, rest) = line.split_at(end);
    let rest = rest.trim_start();
    (!name.is_empty() && (rest.is_empty() || rest.starts_with('#'))).then_some(name)
}

/// `pattern variable=value …`
fn host_line(
    inventory: &mut AnsibleInventory,
    group: usize,
    line: &str,
    place: &SourcePlace,
) -> Result<(), ImportError> {
    let error = |message: String| ImportError::new(place.clone(), message);
    let words = words::split(line, true).map_err(|why| error(why.to_owned()))?;
    let Some((pattern, assignments)) = words.split_first() else { return Ok(()) };
    let (names, port) = pattern::expand(pattern).map_err(error)?;
    if pattern.ends_with(':') && port.is_none() {
        return Err(error(format!("{pattern} ends with `:`, which needs a port")));
    }
    if names.iter().any(|name| name.trim() == "---") {
        return Err(error("`---` begins YAML, but the rest is not YAML".to_owned()));
    }
    let mut variables: Vec<(&str, AnsibleValue)> = Vec::with_capacity(assignments.len());
    for assignment in assignments {
        let (name, value) =
            assignment.split_once('=').ok_or_else(|| error(format!("expected `variable=value`, not {assignment}")))?;
        variables.push((name, literal(value)));
    }
    for name in names {
        let host = inventory.add_host(&name, port, group, place)?;
        for (name, value) in &variables {
            inventory.set_host(host, name, value, place);
        }
    }
    Ok(())
}
