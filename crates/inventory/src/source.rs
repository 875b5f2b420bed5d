//! The `source` of an inventory: a program that prints nodes, as the JSON of `ansible-inventory --list`.
//!
//! Here live [`SourceCommand`], the program to run, [`read`], which reads the key, and [`nodes_of`], which checks what the program
//! printed. It runs nothing: the caller does, and gives a [`SourceRunner`]. It uses `imported.rs`. Invariants: a host that could not be
//! connected to as the source says is a fault of the inventory, so that no command acts on a part of the cluster. Start reading at
//! [`read`].

use std::collections::BTreeMap;
use std::ops::Range;
use std::path::PathBuf;

use ctl_import::ImportedFleet;

use super::imported::{CheckedNodes, built_in_role_of, checked_nodes};
use super::problem::{Diagnostic, quoted};
use super::role_names::canonical_role;
use super::roles::RoleTable;
use super::values::{self, FieldEntry, ValueReader};

const KEYS: [&str; 2] = ["command", "roles"];
const SYNONYMS: [(&str, &str); 5] =
    [("cmd", "command"), ("program", "command"), ("script", "command"), ("groups", "roles"), ("role", "roles")];

/// The command of a source.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SourceCommand {
    /// The program: a path, or a name without `/` to be found in `$PATH`.
    pub program: PathBuf,
    /// Its arguments.
    pub arguments: Vec<String>,
    /// The directory to run it in, that of the inventory.
    pub folder: PathBuf,
}

/// Why a source gave no nodes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SourceFailure {
    /// What happened.
    pub message: String,
    /// What to do.
    pub help: Option<String>,
}

/// Runs the command of a source, and reads what it prints.
pub type SourceRunner<'a> = dyn FnMut(&SourceCommand) -> Result<ImportedFleet, SourceFailure> + 'a;

/// The key `source`, without errors.
pub(super) struct SourceSpec<'r> {
    pub(super) field: FieldEntry<'r>,
    command: SourceCommand,
    place: Range<usize>,
    /// Roles of groups, canonical.
    roles: BTreeMap<String, String>,
}

/// Reads the key.
pub(super) fn read<'r>(
    reader: &mut ValueReader<'_>,
    field: FieldEntry<'r>,
    roles: &RoleTable,
) -> Option<SourceSpec<'r>> {
    let faults_before = reader.report.count();
    let fields = values::fields(reader, field.key, field.value, "`source`", &KEYS, &SYNONYMS)?;
    let find = |key: &str| fields.iter().copied().find(|field| field.name == key);
    let Some(command) = find("command") else {
        if reader.report.count() == faults_before {
            let fault = Diagnostic::new(field.key.span.clone(), "`source` has no `command`");
            reader.fault(fault.help("such as `command: [ansible-inventory, -i, hosts, --list]`"));
        }
        return None;
    };
    let words = values::texts(reader, command, "a program and its arguments")?;
    let Some((program, arguments)) = words.split_first() else {
        // An item that is no text has its fault already.
        if reader.report.count() == faults_before {
            reader.fault(Diagnostic::new(command.key.span.clone(), "`command` has no program"));
        }
        return None;
    };
    let said = program.value.as_text().unwrap_or_default();
    // One text with spaces would need a shell.
    if words.len() == 1 && said.contains(char::is_whitespace) {
        let list = said.split_whitespace().collect::<Vec<_>>().join(", ");
        let fault = Diagnostic::new(program.value.place(), "the command must be a list: no shell splits it into words");
        reader.fault(fault.help(format!("write `command: [{list}]`")));
        return None;
    }
    let program = if said.contains('/') { values::path(reader, *program)? } else { PathBuf::from(said) };
    let mut of_groups = BTreeMap::new();
    for group in
        find("roles").and_then(|field| values::pairs(reader, field.key, field.value, "group")).unwrap_or_default()
    {
        match values::role_names(reader, group, &roles.all).as_deref() {
            Some([role]) => {
                of_groups.insert(group.name.to_owned(), role.clone());
            }
            Some([_, ..]) => reader.fault(Diagnostic::new(group.value.place(), "a group stands for one role only")),
            Some([]) | None => {}
        }
    }
    let arguments = arguments.iter().filter_map(|word| word.value.as_text()).map(str::to_owned).collect();
    let command_value = SourceCommand { program, arguments, folder: reader.folder.clone() };
    (reader.report.count() == faults_before).then(|| SourceSpec {
        field,
        command: command_value,
        place: command.key.span.clone(),
        roles: of_groups,
    })
}

/// The nodes that the source prints, checked; the second value are the things left out that do not change a connection.
pub(super) fn nodes_of(
    reader: &mut ValueReader<'_>,
    spec: &SourceSpec<'_>,
    roles: &RoleTable,
    runner: &mut SourceRunner<'_>,
) -> Option<(CheckedNodes, Vec<String>)> {
    let fleet = match runner(&spec.command) {
        Ok(fleet) => fleet,
        Err(SourceFailure { message, help }) => {
            reader.fault(Diagnostic::new(spec.place.clone(), message).help_if(help));
            return None;
        }
    };
    let is_role = |name: &str| roles.all.contains_key(canonical_role(name));
    let role_of = |group: &str| {
        let mapped = spec.roles.get(group).cloned();
        let own = || is_role(group).then(|| canonical_role(group).to_owned());
        mapped.or_else(own).or_else(|| built_in_role_of(group))
    };
    for group in spec.roles.keys().filter(|group| !fleet.groups.contains_key(*group)) {
        let message = format!("the source has no group {}", quoted(group));
        reader.fault(Diagnostic::new(spec.field.key.span.clone(), message));
    }
    let checked = checked_nodes(fleet, role_of, is_role);
    let mut notes = Vec::new();
    for omission in &checked.omissions {
        if omission.changes_connection {
            let fault = Diagnostic::new(spec.place.clone(), format!("the source cannot be used: {omission}"));
            reader.fault(fault.help("without it, a node would be connected to in another way"));
        } else {
            notes.push(omission.to_string());
        }
    }
    Some((checked, notes))
}
