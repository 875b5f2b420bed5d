//! Parses a file or its text into an [`Inventory`].
//!
//! Here live [`load`] and [`parse`]: the required parts of a file, and the order in which they are read. It uses the
//! other files of this module. Invariants: every fault of a well-formed file is reported in one pass. Start reading at
//! [`parse`].

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use super::environment::PathEnvironment;
use super::file::{self, NoText};
use super::model::Inventory;
use super::problem::{Diagnostic, InventoryError, ProblemReport, quoted};
use super::raw::{RawValue, Value};
use super::source::{SourceFailure, SourceRunner};
use super::values::{self, FieldEntry, ValueReader};
use super::{groups, nodes, roles, source};
use ctl_import::ForeignFile;
use ctl_local::file::FileAccess;

/// Maximum size of an inventory, in bytes.
pub const MAX_BYTES: u64 = 4 * 1024 * 1024;

const KIND: file::FileKind = file::FileKind { name: "an inventory", max_bytes: MAX_BYTES };

/// The version of the format.
const VERSION: u64 = 1;

const KEYS: [&str; 6] = ["version", "defaults", "roles", "groups", "nodes", "source"];
const SYNONYMS: [(&str, &str); 8] = [
    ("sources", "source"),
    ("hosts", "nodes"),
    ("all", "nodes"),
    ("servers", "nodes"),
    ("vars", "defaults"),
    ("default", "defaults"),
    ("roledefs", "roles"),
    ("children", "groups"),
];

/// The minimal file.
const EXAMPLE: &str = "the minimum is `version: 1` and `nodes: {node1: {roles: [analytics]}}`";

/// Reads the inventory from a file.
///
/// # Errors
/// [`InventoryError`] if it cannot be read, is a directory, is larger than 4 MiB, or is not text; else as [`parse`].
pub fn load(path: &Path, env: &PathEnvironment) -> Result<Inventory, InventoryError> {
    parse(&read(path)?.0, path, env)
}

/// Reads the text of an inventory file, and its access rights.
///
/// # Errors
/// [`InventoryError`] if it cannot be read, is a directory, is larger than 4 MiB, or is not text.
pub fn read(path: &Path) -> Result<(String, FileAccess), InventoryError> {
    file::load(path, KIND).map_err(|NoText { text, mut problems }| {
        // What stands beside an inventory of Ansible.
        if let [problem] = problems.as_mut_slice()
            && ["group_vars", "host_vars", "hosts"].iter().any(|name| path.join(name).exists())
        {
            let command = ForeignFile::Ansible.command(path);
            problem.help = Some(format!("if this is an Ansible inventory, convert it: {command}"));
        }
        InventoryError { path: path.to_owned(), text, problems }
    })
}

/// Parses an inventory from text. `path` is the source of the text: for messages, and as the base of relative paths.
///
/// # Errors
/// [`InventoryError`] with every fault; with only the first one if the text is not well-formed YAML. An inventory with a
/// `source` is a fault, too: use [`parse_with`].
pub fn parse(text: &str, path: &Path, env: &PathEnvironment) -> Result<Inventory, InventoryError> {
    let not_run = || SourceFailure { message: "the source is not run here".to_owned(), help: None };
    parse_with(text, path, env, &mut |_| Err(not_run()))
}

/// Parses an inventory, and gets the nodes of its `source` from `runner`, which is called at most once, and only if the text
/// itself has no fault.
///
/// # Errors
/// As [`parse`]; a failure of the source is a fault as well.
pub fn parse_with(
    text: &str,
    path: &Path,
    env: &PathEnvironment,
    runner: &mut SourceRunner<'_>,
) -> Result<Inventory, InventoryError> {
    let text = file::without_mark(text);
    let folder = path.parent().map(Path::to_owned).unwrap_or_default();
    let mut reader = ValueReader { report: ProblemReport::default(), env, folder };
    let inventory =
        file::tree(text, KIND, &mut reader.report).map(|root| whole(&mut reader, &root, path.to_owned(), runner));
    match inventory {
        Some(inventory) if reader.report.count() == 0 => Ok(inventory),
        // The faults of a file that is of another format would only hide that.
        _ => Err(foreign(path, text).unwrap_or_else(|| reader.report.into_error(path, text))),
    }
}

/// The error of a file that is an inventory of another tool.
fn foreign(path: &Path, text: &str) -> Option<InventoryError> {
    let format = ForeignFile::recognize(path, text)?;
    let message = format!("this is {}, not a ctl inventory", format.name());
    let help = format!("convert it: {}", format.command(path));
    let mut report = ProblemReport::default();
    report.add(Diagnostic::new(0..0, message).help(help));
    Some(report.into_error(path, text))
}

/// Reads the parts, each after those that it refers to.
fn whole(reader: &mut ValueReader<'_>, root: &RawValue, path: PathBuf, runner: &mut SourceRunner<'_>) -> Inventory {
    let empty = || Inventory {
        path: path.clone(),
        nodes: Vec::new(),
        roles: BTreeMap::new(),
        groups: BTreeMap::new(),
        source_notes: Vec::new(),
    };
    match &root.value {
        Value::Map(_) => {}
        Value::Null => {
            reader.fault(Diagnostic::new(0..0, "the inventory is empty").help(EXAMPLE));
            return empty();
        }
        Value::Bool(_) | Value::Number(_) | Value::Text(_) | Value::List(_) => {
            let message =
                format!("an inventory must be a mapping with the keys {}, not {}", KEYS.join(", "), root.kind());
            let is_glued =
                root.as_text().is_some_and(|said| KEYS.iter().any(|key| said.starts_with(&format!("{key}:"))));
            let help = if is_glued { "put a space after the colon" } else { EXAMPLE };
            reader.fault(Diagnostic::new(root.place(), message).help(help));
            return empty();
        }
    }
    let mut fields = values::pairs(reader, root, root, "key").unwrap_or_default();
    // Reserved for users, for instance to hold anchors.
    fields.retain(|field| !field.name.starts_with("x-"));
    let meant = values::keep_known(reader, &mut fields, "the inventory", &KEYS, &SYNONYMS);
    let find = |key: &str| fields.iter().copied().find(|field| field.name == key);

    // A misspelled key already has its fault: do not report it as missing, too.
    if find("version").is_some() || !meant.contains(&"version") {
        version(reader, find("version"));
    }
    let has_nodes = |key: &&str| find(key).is_some() || meant.contains(key);
    if !["nodes", "source"].iter().any(has_nodes) {
        reader.fault(Diagnostic::new(0..0, "the inventory has no `nodes`").help(EXAMPLE));
    }
    // Nodes refer to roles, groups to both.
    let roles = roles::read(reader, find("roles"));
    let source = find("source").and_then(|field| source::read(reader, field, &roles));
    let mut nodes = nodes::read(reader, find("defaults"), find("nodes"), find("source").is_some(), &roles);
    let (mut sets, mut source_notes) = (BTreeMap::new(), Vec::new());
    // A program is not run for a file that cannot be used anyway.
    if let Some(source) = source.filter(|_| reader.report.count() == 0)
        && let Some((checked, notes)) = source::nodes_of(reader, &source, &roles, runner)
    {
        sets = checked.groups;
        source_notes = notes;
        nodes.add(reader, source.field, checked.nodes, &roles);
    }
    // Without the nodes of the source, a name that is unknown may be one of them.
    nodes.is_complete &= find("source").is_none() || reader.report.count() == 0;
    let nodes = nodes.finish();
    let groups = groups::read(reader, find("groups"), &sets, &roles, &nodes);
    Inventory { path, nodes: nodes.list, roles: roles.all, groups, source_notes }
}

fn version(reader: &mut ValueReader<'_>, field: Option<FieldEntry<'_>>) {
    let Some(field) = values::format_version(reader, field, "inventory", VERSION) else { return };
    match field.value.as_text() {
        Some(text) => {
            let message = format!("invalid value {} for `version`: expected {VERSION}", quoted(text));
            reader.fault(Diagnostic::new(field.value.place(), message));
        }
        None => values::wrong_value(reader, field, "the number 1"),
    }
}
