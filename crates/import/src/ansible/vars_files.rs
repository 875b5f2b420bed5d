//! The files in `group_vars` and `host_vars` beside an inventory.
//!
//! The rules are those of `ansible/plugins/vars/host_group_vars.py` and of `find_vars_files` in `ansible/parsing/dataloader.py`.

use std::path::{Path, PathBuf};

use super::model::{AnsibleInventory, Variables};
use super::value::AnsibleValue;
use crate::fleet::{ImportError, SourcePlace};
use crate::source_file;
use crate::yaml_tree::{self, TreeValue};

/// Maximum nesting of directories.
const MAX_DEPTH: usize = 16;

/// Reads the variables of every group and host from `folder`.
///
/// # Errors
/// A file that cannot be read, or that has no variables.
pub(super) fn read(inventory: &mut AnsibleInventory, folder: &Path) -> Result<(), ImportError> {
    let directory = folder.join("group_vars");
    if source_file::is_directory(&directory) {
        let names: Vec<String> = inventory.groups.iter().map(|group| group.name.clone()).collect();
        for (index, name) in names.iter().enumerate() {
            let variables = of_name(inventory, &directory, name)?;
            if let Some(group) = inventory.groups.get_mut(index) {
                group.from_files.extend(variables);
            }
        }
    }
    let directory = folder.join("host_vars");
    if source_file::is_directory(&directory) {
        let names: Vec<String> = inventory.hosts.iter().map(|host| host.name.clone()).collect();
        for (index, name) in names.iter().enumerate() {
            let variables = of_name(inventory, &directory, name)?;
            if let Some(host) = inventory.hosts.get_mut(index) {
                host.from_files.extend(variables);
            }
        }
    }
    Ok(())
}

fn of_name(inventory: &mut AnsibleInventory, directory: &Path, name: &str) -> Result<Variables, ImportError> {
    let mut variables = Variables::new();
    // A name must not lead out of the directory.
    if name.contains('/') || name == "." || name == ".." {
        return Ok(variables);
    }
    for path in files_of(directory, name)? {
        for (name, value) in of_file(inventory, &path)? {
            variables.insert(name, value);
        }
    }
    Ok(variables)
}

/// The files of a name: the first that exists of `name`, `name.yml`, `name.yaml` and `name.json`, which may be a directory.
fn files_of(directory: &Path, name: &str) -> Result<Vec<PathBuf>, ImportError> {
    for extension in ["", ".yml", ".yaml", ".json"] {
        let path = directory.join(format!("{name}{extension}"));
        if source_file::is_directory(&path) {
            let mut files = Vec::new();
            files_below(&path, MAX_DEPTH, &mut files)?;
            return Ok(files);
        }
        if ctl_local::file::exists(&path) {
            return Ok(vec![path]);
        }
    }
    Ok(Vec::new())
}

fn files_below(directory: &Path, depth: usize, files: &mut Vec<PathBuf>) -> Result<(), ImportError> {
    if depth == 0 {
        let place = SourcePlace::new(&directory.into(), 0);
        return Err(ImportError::new(place, format!("more than {MAX_DEPTH} levels of directories")));
    }
    for path in source_file::entries(directory)? {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        if name.starts_with('.') || name.ends_with('~') {
            continue;
        }
        let extension = path.extension().map(|extension| extension.to_string_lossy());
        if source_file::is_directory(&path) {
            // A directory with an extension is no directory of variables.
            if extension.is_none() {
                files_below(&path, depth - 1, files)?;
            }
        } else if extension.is_none_or(|extension| matches!(&*extension, "yml" | "yaml" | "json")) {
            files.push(path);
        }
    }
    Ok(())
}

fn of_file(inventory: &mut AnsibleInventory, path: &Path) -> Result<Variables, ImportError> {
    let file = source_file::read(path)?;
    let place = |line| SourcePlace::new(&file.path, line);
    if file.text.starts_with("$ANSIBLE_VAULT;") {
        inventory.omissions.warn(&place(1), "the file", "it is encrypted with Ansible's vault");
        return Ok(Variables::new());
    }
    if file.text.trim().is_empty() {
        return Ok(Variables::new());
    }
    let tree: TreeValue = yaml_tree::read(&file.text)
        .map_err(|(line, why)| ImportError::new(place(line), format!("this is not valid YAML: {why}")))?;
    if !tree.is_map() && !tree.is_null() {
        return Err(ImportError::new(place(1), "a file of variables must be a mapping"));
    }
    let mut variables = Variables::new();
    for (name, key, value) in tree.pairs() {
        let kept = inventory.file_variable(name, &AnsibleValue::from(value), &place(key.line));
        variables.extend(kept.map(|value| (name.to_owned(), value)));
    }
    Ok(variables)
}
