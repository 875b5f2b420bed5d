//! The nodes of an inventory that have no role, in words.
//!
//! Uses `inventory`, and the crate `nodeset` to write the names short.

use ctl_inventory::Inventory;
use nodeset::NodeSet;

/// Nodes without a role, which are valid, but of which nothing can be read.
pub(super) fn missing_roles(inventory: &Inventory) -> Option<String> {
    let names: Vec<&str> =
        inventory.nodes.iter().filter(|node| node.roles.is_empty()).map(|node| node.name.as_str()).collect();
    let folded = NodeSet::from_names(&names).to_string();
    let have = if names.len() == 1 { "1 node has".to_owned() } else { format!("{} nodes have", names.len()) };
    (!names.is_empty()).then(|| format!("{have} no role, so `ctl status` reads nothing there: {folded}"))
}
