//! Tests of the whole module: from text to inventories or faults.

mod bad;
mod good;
mod hostile;
mod source;

use std::path::{Path, PathBuf};

use super::{Inventory, InventoryError, PathEnvironment, parse};

/// The environment of these tests.
fn environment() -> PathEnvironment {
    PathEnvironment::new(Some(PathBuf::from("/home/op")), [("HOME", "/home/op"), ("KEYS", "/srv/keys")])
}

fn read(text: &str) -> Result<Inventory, InventoryError> {
    parse(text, Path::new("conf/inventory.yaml"), &environment())
}

#[track_caller]
fn good(text: &str) -> Inventory {
    match read(text) {
        Ok(inventory) => inventory,
        Err(error) => panic!("{error}\n{text}"),
    }
}

#[track_caller]
fn bad(text: &str) -> InventoryError {
    match read(text) {
        Ok(_) => panic!("no fault in\n{text}"),
        Err(error) => error,
    }
}

/// The faults as `LINE:COLUMN: MESSAGE (HELP)`.
#[track_caller]
fn faults(text: &str) -> Vec<String> {
    let said = bad(text).to_string();
    said.lines().map(|line| line.strip_prefix("conf/inventory.yaml:").unwrap_or(line).trim_start().to_owned()).collect()
}
