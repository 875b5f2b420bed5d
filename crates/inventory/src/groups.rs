//! The `groups` of an inventory: named node sets, which may use each other and roles.
//!
//! Here lives [`read`]. It uses `nodeset`. Invariants: a group that is invalid, or that uses an invalid one, is reported
//! once, at the cause. Start reading at [`read`].

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::ops::Range;

use nodeset::{GroupResolver, NodeSet, ParseError};

use super::nodes::NodeTable;
use super::problem::{Diagnostic, nearest, quoted};
use super::role_names::{ROLE_ALIASES, canonical_role};
use super::roles::RoleTable;
use super::values::{self, FieldEntry, ValueReader};

/// Maximum nesting of groups.
const MAX_DEPTH: usize = 100;

/// Reads the `groups`, if there are any. `sets` are those of the source, which the others may use.
pub(super) fn read(
    reader: &mut ValueReader<'_>,
    field: Option<FieldEntry<'_>>,
    sets: &BTreeMap<String, Vec<String>>,
    roles: &RoleTable,
    nodes: &NodeTable,
) -> BTreeMap<String, NodeSet> {
    let all = NodeSet::from_names(nodes.list.iter().map(|node| node.name.as_str()));
    let given = field.and_then(|field| values::pairs(reader, field.key, field.value, "group")).unwrap_or_default();
    let mut groups = BTreeMap::new();
    // The name must be usable as `@name` in an expression.
    for field in given {
        if let Err(flaw) = values::check_name(field.name, "._-") {
            reader.fault(flaw.fault(field.key, "group", field.name));
            continue;
        }
        // Check the expression even if the name clashes with a role, to report all faults at once.
        check_role(reader, field, roles);
        if sets.contains_key(field.name) {
            let message = format!("the source also has a group {}", quoted(field.name));
            reader.fault(Diagnostic::new(field.key.span.clone(), message).label("this group"));
        }
        let expression = expression(reader, field, &all, nodes.is_complete);
        groups.insert(field.name, GroupEntry { field, expression, set: None, is_open: false });
    }
    let mut known = role_sets(roles, nodes);
    let sets: BTreeMap<String, NodeSet> =
        sets.iter().map(|(name, nodes)| (name.clone(), NodeSet::from_names(nodes))).collect();
    // No group has the name of a role, so one table is enough.
    known.extend(sets.clone());
    let mut work = GroupResolution { all, roles: known, groups, is_complete: nodes.is_complete };
    // A copy of the names, since each resolution changes the groups.
    let names: Vec<&str> = work.groups.keys().copied().collect();
    for name in names {
        work.resolve(reader, name, 0);
    }
    let own = work.groups.into_iter().filter_map(|(name, group)| Some((name.to_owned(), group.set.flatten()?)));
    sets.into_iter().chain(own).collect()
}

/// `@name` must have one meaning.
fn check_role(reader: &mut ValueReader<'_>, field: FieldEntry<'_>, roles: &RoleTable) {
    let role = canonical_role(field.name);
    if !roles.all.contains_key(role) {
        return;
    }
    let message = if role == field.name {
        format!("{} is also the name of a role", quoted(field.name))
    } else {
        format!("{} is another name for the role {}", quoted(field.name), quoted(role))
    };
    let fault = Diagnostic::new(field.key.span.clone(), message)
        .label("this group")
        .help(format!("`@{}` already means the nodes of that role; give the group another name", field.name));
    reader.fault(match roles.keys.get(role) {
        Some((_, place)) => fault.related(place.clone(), "this role"),
        None => fault,
    });
}

struct GroupEntry<'r> {
    field: FieldEntry<'r>,
    expression: Option<GroupExpression<'r>>,
    /// Its nodes once resolved; `Some(None)` if it is invalid.
    set: Option<Option<NodeSet>>,
    /// Whether it is being resolved: a second visit is a cycle.
    is_open: bool,
}

/// A well-formed group, one item per list element.
struct GroupExpression<'r> {
    items: Vec<FieldEntry<'r>>,
    /// The groups and roles that it uses.
    uses: BTreeSet<String>,
}

/// The expression of a group, and the names that it uses.
fn expression<'r>(
    reader: &mut ValueReader<'_>,
    field: FieldEntry<'r>,
    all: &NodeSet,
    is_complete: bool,
) -> Option<GroupExpression<'r>> {
    let items = values::texts(reader, field, "a node set, such as node[01-40]")?;
    let uses = NameCollector { all, names: RefCell::default() };
    let mut is_good = true;
    for item in &items {
        if let Err(error) = NodeSet::parse_with(item.value.as_text().unwrap_or_default(), &uses) {
            is_good = false;
            tell(reader, *item, &error, is_complete);
        }
    }
    is_good.then(|| GroupExpression { items, uses: uses.names.into_inner() })
}

/// Reports an invalid expression. A glob may match a node whose name could not be read.
fn tell(reader: &mut ValueReader<'_>, item: FieldEntry<'_>, error: &ParseError, is_complete: bool) {
    // A fault for it would only follow from the unreadable name, which has its own.
    if !is_complete && item.value.as_text().is_some_and(|said| said.contains(['*', '?'])) {
        return;
    }
    let place = item.value.part(error.span());
    // An error at the end of the text has an empty span, which nothing could underline.
    let place = if place.is_empty() { item.value.place() } else { place };
    reader.fault(Diagnostic::new(place, error.message()).help_if(error.hint().map(str::to_owned)));
}

/// Resolves every name to the empty set, and records it.
struct NameCollector<'a> {
    all: &'a NodeSet,
    names: RefCell<BTreeSet<String>>,
}

impl GroupResolver for NameCollector<'_> {
    fn group(&self, name: &str) -> Option<NodeSet> {
        // Every name exists for now: `is_usable` reports the unknown ones.
        self.names.borrow_mut().insert(name.to_owned());
        Some(NodeSet::from_names::<[&str; 0], &str>([]))
    }

    fn all(&self) -> &NodeSet {
        self.all
    }

    fn group_names(&self) -> Vec<String> {
        // Only an unknown group needs them, and here every group is known.
        Vec::new()
    }
}

fn role_sets(roles: &RoleTable, nodes: &NodeTable) -> HashMap<String, NodeSet> {
    // A role without nodes is known, too: `@role` is empty then.
    let mut names: HashMap<&str, Vec<&str>> = roles.all.keys().map(|role| (role.as_str(), Vec::new())).collect();
    for node in &nodes.list {
        for role in &node.roles {
            names.entry(role).or_default().push(&node.name);
        }
    }
    names.into_iter().map(|(role, names)| (role.to_owned(), NodeSet::from_names(names))).collect()
}

struct GroupResolution<'r> {
    all: NodeSet,
    roles: HashMap<String, NodeSet>,
    groups: BTreeMap<&'r str, GroupEntry<'r>>,
    is_complete: bool,
}

impl<'r> GroupResolution<'r> {
    /// Resolves a group after the groups that it uses.
    fn resolve(&mut self, reader: &mut ValueReader<'_>, name: &'r str, depth: usize) {
        // Another group may have resolved it already.
        let Some(group) = self.groups.get_mut(name).filter(|group| group.set.is_none()) else { return };
        // Open until it is resolved, so that a cycle comes back to an open group.
        group.is_open = true;
        let items = group.expression.as_ref().map(|expression| expression.items.clone());
        let uses: Vec<String> =
            group.expression.iter().flat_map(|expression| expression.uses.iter().cloned()).collect();
        let mut is_good = items.is_some();
        for used in &uses {
            // No short circuit: every unknown name gets its fault.
            is_good &= self.is_usable(reader, name, used, depth);
        }
        let set = items.filter(|_| is_good).and_then(|items| self.evaluate(reader, &items));
        if let Some(group) = self.groups.get_mut(name) {
            group.is_open = false;
            group.set = Some(set);
        }
    }

    /// Whether a name in a group has a set; reports an unknown name or a cycle.
    fn is_usable(&mut self, reader: &mut ValueReader<'_>, user: &'r str, used: &str, depth: usize) -> bool {
        let Some((&used, group)) = self.groups.get_key_value(used) else {
            // Roles have no dependencies.
            if self.roles.contains_key(canonical_role(used)) {
                return true;
            }
            // Count it without searching for a similar name, which is the expensive part.
            if reader.report.is_full() {
                reader.report.add_undescribed();
                return false;
            }
            let names = self.groups.keys().copied().chain(self.roles.keys().map(String::as_str));
            let affords = reader.report.affords(self.groups.len() + self.roles.len());
            let names = names.chain(ROLE_ALIASES.map(|(alias, _)| alias));
            let near = if affords { nearest(used, names) } else { None };
            let fault = Diagnostic::new(self.place_of(user, used), format!("unknown group or role {}", quoted(used)))
                .label("unknown group")
                .help_if(near.map(|near| format!("did you mean @{near}?")));
            reader.fault(fault);
            return false;
        };
        if group.is_open {
            let message = if used == user {
                format!("group {} includes itself", quoted(user))
            } else {
                format!("groups {} and {} include each other", quoted(used), quoted(user))
            };
            let fault = Diagnostic::new(self.place_of(user, used), message).label("this closes the loop");
            let fault =
                if used == user { fault } else { fault.related(group.field.key.span.clone(), "the loop begins here") };
            reader.fault(fault);
            return false;
        }
        // Bounds the recursion, and with it the stack.
        if depth >= MAX_DEPTH {
            let message = format!("groups may be nested at most {MAX_DEPTH} deep");
            reader.fault(Diagnostic::new(self.place_of(user, used), message));
            return false;
        }
        self.resolve(reader, used, depth + 1);
        self.groups.get(used).is_some_and(|group| matches!(group.set, Some(Some(_))))
    }

    /// The place of `@used` in a group's text.
    fn place_of(&self, user: &str, used: &str) -> Range<usize> {
        let Some(group) = self.groups.get(user) else { return 0..0 };
        let reference = format!("@{used}");
        let items = group.expression.iter().flat_map(|expression| &expression.items);
        for item in items {
            let said = item.value.as_text().unwrap_or_default();
            for (at, _) in said.match_indices(&reference) {
                let after = said.get(at + reference.len()..).and_then(|rest| rest.chars().next());
                // `@rack1` must not match the beginning of `@rack10`.
                if !after.is_some_and(|c| c.is_alphanumeric() || "._-".contains(c)) {
                    return item.value.part(at..at + reference.len());
                }
            }
        }
        // The name is written with a range, such as `@rack[1-3]`.
        group.field.value.place()
    }

    fn evaluate(&self, reader: &mut ValueReader<'_>, items: &[FieldEntry<'_>]) -> Option<NodeSet> {
        let mut union: Option<NodeSet> = None;
        for item in items {
            let said = item.value.as_text().unwrap_or_default();
            let set = match NodeSet::parse_with(said, self) {
                Ok(set) => set,
                Err(error) => {
                    tell(reader, *item, &error, self.is_complete);
                    return None;
                }
            };
            self.check_nodes(reader, *item, said, &set);
            union = Some(match union {
                Some(union) => union.union(&set),
                None => set,
            });
        }
        Some(union.unwrap_or_else(|| NodeSet::from_names::<[&str; 0], &str>([])))
    }

    /// A group has only nodes of the inventory: any other name is probably misspelled.
    fn check_nodes(&self, reader: &mut ValueReader<'_>, item: FieldEntry<'_>, said: &str, set: &NodeSet) {
        let strange = set.difference(&self.all);
        // With unreadable node names, an unknown name may be one of them.
        if strange.is_empty() || !self.is_complete {
            return;
        }
        let first = strange.iter().next().unwrap_or_default();
        let help = self.near_node(reader, &first);
        // A name from a range is not in the text.
        let place = said.find(&first).map_or_else(|| item.value.place(), |at| item.value.part(at..at + first.len()));
        let message = format!("the inventory has no node {}", quoted(&strange.to_string()));
        reader.fault(Diagnostic::new(place, message).label("unknown node").help_if(help));
    }

    /// A node with a similar name. Names that differ only in their digits are not misspellings.
    fn near_node(&self, reader: &mut ValueReader<'_>, name: &str) -> Option<String> {
        if !reader.report.affords(usize::try_from(self.all.len()).unwrap_or(usize::MAX)) {
            return None;
        }
        // A host that is named without its domain, or with one that the inventory does not use.
        let label = |name: &str| name.split('.').next().unwrap_or_default().to_ascii_lowercase();
        let is_short = |known: &str| label(known) == label(name) && name.contains('.') != known.contains('.');
        if label(name).bytes().any(|byte| byte.is_ascii_alphabetic())
            && let Some(full) = self.all.iter().find(|known| is_short(known))
        {
            return Some(format!("did you mean {full}?"));
        }
        // In a series such as `node[01-99]`, every node is equally near: such a hint would not help.
        let letters = |name: &str| name.replace(|c: char| c.is_ascii_digit(), "");
        let wanted = letters(name);
        let names: Vec<String> = self.all.iter().filter(|known| letters(known) != wanted).collect();
        let near = nearest(name, names.iter().map(String::as_str))?;
        Some(format!("did you mean {near}?"))
    }
}

impl GroupResolver for GroupResolution<'_> {
    fn group(&self, name: &str) -> Option<NodeSet> {
        match self.groups.get(name) {
            Some(group) => group.set.clone().flatten(),
            None => self.roles.get(canonical_role(name)).cloned(),
        }
    }

    fn all(&self) -> &NodeSet {
        &self.all
    }

    fn group_names(&self) -> Vec<String> {
        self.groups.keys().map(|name| (*name).to_owned()).chain(self.roles.keys().cloned()).collect()
    }
}
