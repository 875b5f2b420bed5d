//! Suggestions for a name or pattern of nodes that the inventory does not have.
//!
//! Pure; it uses the names of an inventory, and `nodeset` to fold them. Invariants: a suggestion is only text: nothing
//! is selected by it. Start at [`meant_nodes`] and [`translated`].

use std::collections::HashMap;

use nodeset::NodeSet;

use ctl_inventory::{Inventory, ROLE_ALIASES};

/// Most names that are each looked up among the host names.
const MAX_LOOKUPS: u64 = 1000;

/// The most similar name.
pub(crate) fn nearest<'a>(typed: &str, known: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    // A third of the word's length, so that a short word does not suggest an unrelated one; ties go to the first in
    // alphabetical order.
    known
        .map(|word| (strsim::damerau_levenshtein(typed, word), word))
        .filter(|(distance, word)| *distance <= (word.len() / 3).max(1))
        .min()
        .map(|(_, word)| word)
}

/// `did you mean …?` for names that are no nodes: the same hosts with or without their domain, else a node with a similar
/// name, else a group or role with one.
#[must_use]
pub fn meant_nodes(inventory: &Inventory, strange: &NodeSet) -> Option<String> {
    let first = strange.iter().next()?;
    if first == "all" {
        return Some("did you mean '*'? Without -w, every node is selected".to_owned());
    }
    let group = || nearest(&first, group_names(inventory)).map(|group| format!("@{group}"));
    let meant = near_names(node_names(inventory), strange).or_else(group)?;
    Some(format!("did you mean {meant}?"))
}

/// The names that were probably meant by others: the same hosts with or without their domain, else one that is similar.
#[must_use]
pub fn near_names<'a>(known: impl Iterator<Item = &'a str> + Clone, strange: &NodeSet) -> Option<String> {
    let first = strange.iter().next()?;
    same_hosts(known.clone(), strange).or_else(|| nearest(&first, known).map(str::to_owned))
}

/// `did you mean …?` for a group that there is not.
pub(crate) fn meant_group(inventory: &Inventory, typed: &str) -> Option<String> {
    if node_names(inventory).any(|name| name == typed) {
        return Some(format!("{typed} is a node: write it without `@`"));
    }
    // Of a series such as rack1, rack2 any is as near: a list of the groups helps more.
    let letters = |name: &str| name.replace(|symbol: char| symbol.is_ascii_digit(), "");
    let others = group_names(inventory).filter(|name| letters(name) != letters(typed));
    nearest(typed, others).map(|group| format!("did you mean @{group}?"))
}

/// A pattern of Ansible's, in which `:` separates hosts, as a node set: a hint with it. None where it is no such pattern.
pub(crate) fn translated(inventory: &Inventory, pattern: &str) -> Option<String> {
    let terms = ansible_terms(pattern);
    // A node's name may be an address with colons.
    if terms.len() < 2 || node_names(inventory).any(|name| name.contains(':')) {
        return None;
    }
    let (mut set, mut is_known) = (String::new(), false);
    for (position, term) in terms.into_iter().enumerate() {
        let (operator, name) = match term.split_at_checked(1) {
            Some((operator @ ("!" | "&"), name)) => (operator, name),
            _ => (",", term),
        };
        // The first term has nothing to be taken from. A number is a port.
        if name.is_empty() || (position == 0 && operator != ",") || name.bytes().all(|byte| byte.is_ascii_digit()) {
            return None;
        }
        let meant = meant_term(inventory, name);
        is_known |= meant.is_some();
        set.push_str(if position == 0 { "" } else { operator });
        set.push_str(&meant.unwrap_or_else(|| name.to_owned()));
    }
    is_known.then(|| format!("Ansible's `:` is `,` here, `:!` is `!` and `:&` is `&`: did you mean '{set}'?"))
}

/// The terms of a pattern of Ansible's. A colon in brackets is a range of its own.
fn ansible_terms(pattern: &str) -> Vec<&str> {
    let mut is_bracketed = false;
    let is_separator = |symbol: char| {
        is_bracketed = symbol == '[' || (is_bracketed && symbol != ']');
        matches!(symbol, ':' | ',') && !is_bracketed
    };
    let terms: Vec<&str> = pattern.split(is_separator).collect();
    // Commas alone are those of a node set, unless an operator follows one.
    let has_operator = || terms.iter().skip(1).any(|term| term.starts_with(['!', '&']));
    if pattern.contains(':') || has_operator() { terms } else { Vec::new() }
}

/// A term that stands for something here, or that is similar to one that does.
fn meant_term(inventory: &Inventory, name: &str) -> Option<String> {
    let plain = name.trim_start_matches('@');
    let is_node = |name: &str| node_names(inventory).any(|known| known == name);
    let is_group = |name: &str| inventory.groups.contains_key(name) || inventory.role(name).is_some();
    if is_node(name) || is_group(plain) || name.contains(['*', '?', '[']) {
        return Some(name.to_owned());
    }
    if plain == "all" {
        return Some("*".to_owned());
    }
    let set = NodeSet::from_names([plain]);
    same_hosts(node_names(inventory), &set)
        .or_else(|| nearest(plain, group_names(inventory).chain(node_names(inventory))).map(str::to_owned))
}

/// The nodes that are the same hosts, written with a domain or without: each name has to be one of them.
fn same_hosts<'a>(known: impl Iterator<Item = &'a str>, typed: &NodeSet) -> Option<String> {
    if typed.len() > MAX_LOOKUPS {
        return None;
    }
    let label = |name: &str| name.split('.').next().unwrap_or_default().to_ascii_lowercase();
    let mut by_label: HashMap<String, Vec<&str>> = HashMap::new();
    for name in known {
        by_label.entry(label(name)).or_default().push(name);
    }
    let mut meant: Vec<&str> = Vec::new();
    for name in typed.iter() {
        // The first part of an address is no host name.
        let own = label(&name);
        let known = by_label.get(&own).filter(|_| own.bytes().any(|byte| byte.is_ascii_alphabetic()))?;
        // Two domains are two hosts.
        let is_same = |known: &&str| !name.contains('.') || !known.contains('.') || name.eq_ignore_ascii_case(known);
        let before = meant.len();
        meant.extend(known.iter().copied().filter(is_same));
        if meant.len() == before {
            return None;
        }
    }
    Some(NodeSet::from_names(meant).to_string())
}

fn node_names(inventory: &Inventory) -> impl Iterator<Item = &str> + Clone {
    inventory.nodes.iter().map(|node| node.name.as_str())
}

/// Groups, roles and the aliases of roles.
fn group_names(inventory: &Inventory) -> impl Iterator<Item = &str> {
    let own = inventory.groups.keys().chain(inventory.roles.keys()).map(String::as_str);
    own.chain(ROLE_ALIASES.iter().map(|(alias, _)| *alias))
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use ctl_inventory::{PathEnvironment, parse};

    const INVENTORY: &str = "
version: 1
groups: {rack1: 'an[01-02].example.net,db1', edge: db2}
nodes:
  an[01-03].example.net: {roles: [analytics]}
  dual.a.net: {roles: [config]}
  dual.b.net: {roles: [config]}
  db[1-2]: {roles: [database]}
  10.0.0.7: {roles: [compute]}
";

    fn inventory() -> Inventory {
        let nowhere = PathEnvironment::new(None, std::iter::empty::<(&str, &str)>());
        parse(INVENTORY, Path::new("inventory.yaml"), &nowhere).expect("an inventory")
    }

    #[test]
    fn names_that_are_no_nodes() {
        let inventory = inventory();
        let table = [
            ("an01", Some("did you mean an01.example.net?")),
            ("AN02", Some("did you mean an02.example.net?")),
            ("an[01-03]", Some("did you mean an[01-03].example.net?")),
            ("dual", Some("did you mean dual.a.net,dual.b.net?")),
            ("db1.example.net", Some("did you mean db1?")),
            ("an01.exmaple.net", Some("did you mean an01.example.net?")),
            ("rak1", Some("did you mean @rack1?")),
            ("databse", Some("did you mean @database?")),
            ("colector", Some("did you mean @collector?")),
            ("all", Some("did you mean '*'? Without -w, every node is selected")),
            ("10", None),
            ("elsewhere", None),
        ];
        for (typed, expected) in table {
            let strange = NodeSet::parse(typed).expect(typed);
            assert_eq!(meant_nodes(&inventory, &strange).as_deref(), expected, "{typed}");
        }
        let group = |typed| meant_group(&inventory, typed);
        assert_eq!(group("databse").as_deref(), Some("did you mean @database?"));
        assert_eq!(group("rac1").as_deref(), Some("did you mean @rack1?"));
        assert_eq!(group("db1").as_deref(), Some("db1 is a node: write it without `@`"));
        assert_eq!((group("nothing-like-it"), group("rack2")), (None, None));
    }

    #[test]
    fn patterns_of_ansible_are_translated() {
        let inventory = inventory();
        let table = [
            ("analytics:!rack1", Some("analytics!rack1")),
            ("analytics:&rack1:!db1", Some("analytics&rack1!db1")),
            ("rack1:edge", Some("rack1,edge")),
            ("all:!databse", Some("*!database")),
            ("@analytcs:!@rack1", Some("analytics!@rack1")),
            ("an01:db*", Some("an01.example.net,db*")),
            ("analytics,!rack1", Some("analytics!rack1")),
            ("nothing-here:!rack1", Some("nothing-here!rack1")),
            ("db1:22", None),
            ("nothing:of-it", None),
            ("!rack1:db1", None),
            ("rack1,db1", None),
            ("db[1:2]", None),
            ("rack1:", None),
            ("", None),
        ];
        for (typed, expected) in table {
            let hint = translated(&inventory, typed);
            let set = hint.as_ref().and_then(|hint| hint.split_once("did you mean '")).map(|(_, set)| set);
            assert_eq!(set.and_then(|set| set.strip_suffix("'?")), expected, "{typed}");
        }
    }
}
