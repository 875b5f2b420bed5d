//! Which of the targets found on a node a task means: what a resumed or retried run leaves out.
//!
//! Pure.

use std::collections::{BTreeMap, BTreeSet};

/// The targets that a task means, by the name of their node.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum TargetFilter {
    /// All that are found.
    #[default]
    All,
    /// These.
    Only(BTreeMap<String, BTreeSet<TargetName>>),
    /// All but these, which are done.
    Except(BTreeMap<String, BTreeSet<TargetName>>),
}

/// The role and the service of a target on a given node.
pub type TargetName = (Option<String>, Option<String>);

impl TargetFilter {
    /// Whether it lets a target through.
    #[must_use]
    pub fn contains(&self, node: &str, role: Option<&str>, service: Option<&str>) -> bool {
        let name = (role.map(str::to_owned), service.map(str::to_owned));
        let listed =
            |targets: &BTreeMap<String, BTreeSet<TargetName>>| targets.get(node).is_some_and(|own| own.contains(&name));
        match self {
            Self::All => true,
            Self::Only(targets) => listed(targets),
            Self::Except(targets) => !listed(targets),
        }
    }
}
