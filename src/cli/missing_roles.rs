//! The nodes of an inventory that have no role, in words.
//!
//! Uses `inventory`, and the crate `nodeset` to write the names short. Invariants: only a built-in role is proposed, for a group
//! whose name is that of the role but for a prefix or an ending.

use ctl_inventory::{Inventory, Node, built_in_role, canonical_role};
use nodeset::NodeSet;

/// Nodes without a role, which are valid, but of which nothing can be read.
pub(super) fn missing_roles(inventory: &Inventory) -> Option<String> {
    let roleless: Vec<&Node> =
        inventory.nodes.iter().filter(|node| node.roles.is_empty()).map(|node| node.as_ref()).collect();
    let names: Vec<&str> = roleless.iter().map(|node| node.name.as_str()).collect();
    let folded = NodeSet::from_names(&names).to_string();
    let have = if names.len() == 1 { "1 node has".to_owned() } else { format!("{} nodes have", names.len()) };
    let proposed: Vec<String> = inventory
        .groups
        .iter()
        .filter(|(_, members)| names.iter().any(|name| members.contains(name)))
        .filter_map(|(group, _)| Some(format!("group {group}: did you mean the role {}?", role_like(group)?)))
        .collect();
    let proposed = if proposed.is_empty() { String::new() } else { format!(" ({})", proposed.join(", ")) };
    (!names.is_empty()).then(|| format!("{have} no role, so `ctl status` reads nothing there: {folded}{proposed}"))
}

/// The built-in role that a group's name stands for: `computes`, `contrail_vrouters`, `vrouters-rack1`.
fn role_like(group: &str) -> Option<String> {
    let words = group.split(['_', '-', '.']);
    let singular = words.map(|word| word.strip_suffix('s').filter(|_| built_in_role(word).is_none()).unwrap_or(word));
    singular.map(canonical_role).find(|word| built_in_role(word).is_some()).map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::role_like;

    #[test]
    fn a_group_may_be_named_like_a_role() {
        for (group, role) in [
            ("computes", Some("compute")),
            ("contrail_collectors", Some("analytics")),
            ("vrouters-rack1", Some("compute")),
            ("analytics", Some("analytics")),
            ("cfgm", Some("config")),
            ("rack1", None),
            ("s", None),
        ] {
            assert_eq!(role_like(group).as_deref(), role, "{group}");
        }
    }
}
