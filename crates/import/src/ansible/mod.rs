//! Ansible's inventories: files and directories, and the JSON of `ansible-inventory --list`.
//!
//! Start reading at [`read_path`] for files and at [`read_list`] for JSON; both fill an inventory (`model.rs`), whose variables are
//! resolved with Ansible's precedence and interpreted as a connection (`connection.rs`). `ini.rs`, `yaml.rs` and `list.rs` read one
//! format each, `vars_files.rs` the host_vars and group_vars. The model is ansible-core 2.19 with its default configuration.

mod connection;
mod ini;
mod list;
mod literal;
mod model;
mod pattern;
mod sources;
mod ssh_args;
mod value;
mod vars_files;
mod yaml;

use std::path::Path;

use self::connection::fleet;
pub use self::model::{ResolvedAnsible, ResolvedAnsibleHost};
pub use self::value::{AnsibleValue, PlacedValue};
use super::fleet::{ImportError, ImportedFleet};

/// Reads an inventory file or directory, with the host_vars and group_vars beside it; a file can also have the JSON of
/// `ansible-inventory --list`.
///
/// # Errors
/// A file that cannot be read, or that Ansible itself would reject.
pub fn read_path(path: &Path) -> Result<ImportedFleet, ImportError> {
    resolve_path(path).map(fleet)
}

/// The same, with the variables of a connection as Ansible has them.
///
/// # Errors
/// As [`read_path`].
pub fn resolve_path(path: &Path) -> Result<ResolvedAnsible, ImportError> {
    sources::read(path)?.resolve()
}

/// Reads the JSON that `ansible-inventory --list` or an inventory script printed; `source` names it in messages.
///
/// # Errors
/// Text that is not such JSON.
pub fn read_list(text: &str, source: &Path) -> Result<ImportedFleet, ImportError> {
    let mut inventory = model::AnsibleInventory::default();
    list::read(&mut inventory, text, &source.into())?;
    inventory.resolve().map(fleet)
}

/// A fleet as JSON in one line, which [`read_list`] reads back: without variables that do not matter, and without secrets.
#[must_use]
pub fn write_list(fleet: &ImportedFleet) -> String {
    list::write(fleet)
}
