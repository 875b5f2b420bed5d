//! Nodes with equal settings as entries with a pattern: `a6s[01-03]`, with `10.0.0.[11-13]` for their addresses.
//!
//! Invariants: the patterns expand to exactly the nodes and, in the same order, to their addresses.

use std::collections::HashMap;

use nodeset::{NodeSet, expand_in_order};

use super::{DraftNode, DraftSettings};

/// An entry of `nodes`.
pub(super) struct DraftEntry<'d> {
    pub(super) key: String,
    /// The address, or the pattern of the addresses.
    pub(super) address: Option<String>,
    /// The other settings.
    pub(super) settings: &'d DraftSettings,
    pub(super) comments: &'d [String],
}

/// The entries of some nodes, each at the place of its first node.
pub(super) fn of_nodes(nodes: &[DraftNode]) -> Vec<DraftEntry<'_>> {
    let mut alike: HashMap<(DraftSettings, &[String]), usize> = HashMap::new();
    let mut classes: Vec<Vec<&DraftNode>> = Vec::new();
    for node in nodes {
        // Nodes that differ in their addresses can share an entry; nodes with and without one cannot.
        let address = node.settings.address.is_some().then(String::new);
        let settings = DraftSettings { address, ..node.settings.clone() };
        let class = *alike.entry((settings, &node.comments)).or_insert_with(|| {
            classes.push(Vec::new());
            classes.len() - 1
        });
        classes[class].push(node);
    }
    classes.iter().flat_map(|class| entries(class)).collect()
}

/// The entries of nodes that differ only in name and address.
fn entries<'d>(class: &[&'d DraftNode]) -> Vec<DraftEntry<'d>> {
    let Some(first) = class.first() else { return Vec::new() };
    let entry = |key: String, address: Option<String>| DraftEntry {
        key,
        address,
        settings: &first.settings,
        comments: &first.comments,
    };
    if first.settings.address.is_none() {
        let names: Vec<&str> = class.iter().map(|node| node.name.as_str()).collect();
        return patterns(&names).into_iter().map(|key| entry(key, None)).collect();
    }
    let mut found = Vec::new();
    let mut rest = class;
    while !rest.is_empty() {
        let (run, after) = rest.split_at(run_length(rest));
        rest = after;
        let [names, addresses] =
            [|node: &&DraftNode| node.name.clone(), address].map(|part| run.iter().map(part).collect());
        match (in_order(&names), in_order(&addresses)) {
            (Some(names), Some(addresses)) => found.push(entry(names, Some(addresses))),
            _ => found.extend(names.into_iter().zip(addresses).map(|(name, address)| entry(name, Some(address)))),
        }
    }
    found
}

fn address(node: &&DraftNode) -> String {
    node.settings.address.clone().unwrap_or_default()
}

/// A longer pattern is split: YAML allows 1024 characters in a key.
const MAX_KEY: usize = 900;

/// The patterns of these names, one for each kind of name: `a[1-3]`, `b7`.
fn patterns(names: &[&str]) -> Vec<String> {
    let folded = NodeSet::from_names(names).to_string();
    // A comma inside brackets belongs to a range.
    let mut depth = 0_i32;
    let parts = folded.split(|c| {
        depth += i32::from(c == '[') - i32::from(c == ']');
        c == ',' && depth == 0
    });
    let parts: Vec<String> = parts.map(str::to_owned).collect();
    // Names that the notation cannot express stay as they are; the reader reports them.
    let is_same = NodeSet::parse(&folded).is_ok_and(|set| set == NodeSet::from_names(names));
    if !is_same {
        return names.iter().map(|name| (*name).to_owned()).collect();
    }
    let mut short = Vec::with_capacity(parts.len());
    for part in parts {
        if part.len() <= MAX_KEY {
            short.push(part);
            continue;
        }
        let expanded = expand_in_order(&part).unwrap_or_default();
        let names: Vec<&str> = expanded.iter().map(String::as_str).collect();
        // A single name is never split: the recursion ends.
        let halves = names.chunks(names.len().div_ceil(2).max(1));
        short.extend(if names.len() < 2 { vec![part] } else { halves.flat_map(patterns).collect() });
    }
    short
}

/// A pattern that expands to these texts in this order.
fn in_order(texts: &Vec<String>) -> Option<String> {
    let folded = match texts.as_slice() {
        [one] => return Some(one.clone()),
        several => NodeSet::from_names(several).to_string(),
    };
    // The set could be larger only if a text had operators; count before it is expanded.
    let is_size = NodeSet::parse(&folded).is_ok_and(|set| set.len() == texts.len() as u64);
    (is_size && expand_in_order(&folded).as_ref() == Ok(texts)).then_some(folded)
}

/// How many of the nodes, from the first, count up in name and address together.
fn run_length(nodes: &[&DraftNode]) -> usize {
    let follows = |pair: &[&DraftNode]| match pair {
        [before, after] => counts_up(&before.name, &after.name) && counts_up(&address(before), &address(after)),
        _ => false,
    };
    1 + nodes.windows(2).take_while(|pair| follows(pair)).count()
}

/// Whether the texts differ only in a number, and the second number is the next one.
fn counts_up(before: &str, after: &str) -> bool {
    let differ = before.bytes().zip(after.bytes()).position(|(a, b)| a != b);
    let Some(at) = differ else { return false };
    // From the first difference back to the start of its number.
    let common = before.as_bytes().get(..at).unwrap_or_default();
    let start = common.iter().rposition(|byte| !byte.is_ascii_digit()).map_or(0, |position| position + 1);
    let number = |text: &str| {
        let digits: String = text.bytes().skip(start).take_while(u8::is_ascii_digit).map(char::from).collect();
        (digits.parse::<u64>().ok(), start + digits.len())
    };
    let ((Some(low), low_end), (Some(high), high_end)) = (number(before), number(after)) else { return false };
    low.checked_add(1) == Some(high) && before.get(low_end..) == after.get(high_end..)
}
