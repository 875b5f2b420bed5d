//! Who knows the groups and nodes that an expression may name: the inventory of the caller, or nobody.

use super::set::NodeSet;

/// Knows the groups and nodes that expressions may name.
pub trait GroupResolver {
    /// The nodes of a group or role, given its name without `@`; `None` if there is none.
    fn group(&self, name: &str) -> Option<NodeSet>;

    /// The nodes of a group that is meant by a name without `@`, where no node has this name.
    fn plain_group(&self, _name: &str) -> Option<NodeSet> {
        None
    }

    /// All nodes: what `@*` stands for and what globs are matched against.
    fn all(&self) -> &NodeSet;

    /// The names `group` knows, to suggest another.
    fn group_names(&self) -> Vec<String>;
}

/// A resolver that cannot exist.
pub(crate) enum NoInventory {}

impl GroupResolver for NoInventory {
    fn group(&self, _name: &str) -> Option<NodeSet> {
        match *self {}
    }

    fn all(&self) -> &NodeSet {
        match *self {}
    }

    fn group_names(&self) -> Vec<String> {
        match *self {}
    }
}
