//! Inventory files and directories: which reader reads which file.
//!
//! The rules are those of `ansible/inventory/manager.py`, without what would run a program.

use std::path::Path;

use super::model::AnsibleInventory;
use super::{ini, list, vars_files, yaml};
use crate::fleet::{ImportError, SourcePlace};
use crate::source_file::{self, SourceFile};
use crate::yaml_tree;

/// Maximum nesting of directories.
const MAX_DEPTH: usize = 16;

/// Files of an inventory directory that Ansible ignores.
const IGNORED: [&str; 11] = [".pyc", ".pyo", ".swp", ".bak", "~", ".rpm", ".md", ".txt", ".rst", ".orig", ".retry"];

/// Reads a file or a directory, with the variables beside it.
///
/// # Errors
/// A file that cannot be read; a file that was named and is no inventory.
pub(super) fn read(path: &Path) -> Result<AnsibleInventory, ImportError> {
    let mut inventory = AnsibleInventory::default();
    if source_file::is_directory(path) {
        read_directory(&mut inventory, path, MAX_DEPTH)?;
        vars_files::read(&mut inventory, path)?;
        return Ok(inventory);
    }
    read_file(&mut inventory, path)?;
    vars_files::read(&mut inventory, path.parent().unwrap_or(Path::new("")))?;
    Ok(inventory)
}

fn read_directory(inventory: &mut AnsibleInventory, path: &Path, depth: usize) -> Result<(), ImportError> {
    if depth == 0 {
        let place = SourcePlace::new(&path.into(), 0);
        return Err(ImportError::new(place, format!("more than {MAX_DEPTH} levels of directories")));
    }
    for entry in source_file::entries(path)? {
        let name = entry.file_name().unwrap_or_default().to_string_lossy();
        let is_ignored = name.starts_with('.')
            || matches!(&*name, "host_vars" | "group_vars" | "vars_plugins")
            || name.ends_with(".cfg")
            || IGNORED.iter().any(|end| name.ends_with(end));
        if is_ignored {
            continue;
        }
        if source_file::is_directory(&entry) {
            read_directory(inventory, &entry, depth - 1)?;
        } else {
            read_file(inventory, &entry)?;
        }
    }
    Ok(())
}

fn read_file(inventory: &mut AnsibleInventory, path: &Path) -> Result<(), ImportError> {
    let file = source_file::read(path)?;
    let place = SourcePlace::new(&file.path, 1);
    if file.text.starts_with("#!") && file.access.is_regular && file.access.mode & 0o111 != 0 {
        let why = "it is a program, which is not run here; use it as a `source`";
        inventory.omissions.warn(&place, "the file", why);
        return Ok(());
    }
    if file.text.starts_with("$ANSIBLE_VAULT;") {
        return Err(ImportError::new(place, "it is encrypted with Ansible's vault"));
    }
    let extension = path.extension().map(|extension| extension.to_string_lossy().into_owned());
    match extension.as_deref() {
        Some("toml") => {
            inventory.omissions.warn(
                &place,
                "the file",
                "TOML is not supported; convert it with `ansible-inventory --list`",
            );
            Ok(())
        }
        Some("yaml" | "yml" | "json") => read_yaml(inventory, &file),
        // Without an extension it can be YAML; INI is read if it is not.
        None => match yaml_tree::read(&file.text) {
            Ok(tree) if tree.is_map() => read_yaml(inventory, &file),
            _ => ini::read(inventory, &file),
        },
        Some(_) => ini::read(inventory, &file),
    }
}

fn read_yaml(inventory: &mut AnsibleInventory, file: &SourceFile) -> Result<(), ImportError> {
    if list::is_list(&file.text) {
        return list::read(inventory, &file.text, &file.path);
    }
    let place = |line| SourcePlace::new(&file.path, line);
    let tree = yaml_tree::read(&file.text)
        .map_err(|(line, why)| ImportError::new(place(line), format!("this is not valid YAML: {why}")))?;
    if !tree.is_map() {
        return Err(ImportError::new(place(1), "an inventory must be a mapping of groups"));
    }
    if let Some((_, key, _)) = tree.pairs().find(|(name, _, value)| *name == "plugin" && !value.is_null()) {
        let why = "this is the configuration of an inventory plugin; use `ansible-inventory --list` as a `source`";
        inventory.omissions.warn(&place(key.line), "the file", why);
        return Ok(());
    }
    yaml::read(inventory, file, &tree)
}
