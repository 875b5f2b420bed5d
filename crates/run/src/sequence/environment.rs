//! What an item needs to know, as variables of its command's environment.
//!
//! Pure. Invariants: the names are those of docs/rollout.md; a value is never longer than [`MAX_VALUE`] characters, and
//! never part of a command's text.

use crate::engine::message::NodeBatch;
use crate::node::context::NodeContext;
use crate::results::node_name;
use ctl_guard::LockHolder;
use ctl_transport::Transport;

/// The longest value, in characters.
const MAX_VALUE: usize = 1000;

/// The variables of an item, by name.
pub(super) type ItemEnvironment = Vec<(&'static str, String)>;

/// The variables of the items of a node.
pub(super) fn of<T: Transport>(node: &NodeContext<T>, visit: NodeBatch, owner: &LockHolder) -> ItemEnvironment {
    let results = &node.results;
    // The node that the sequence is of, wherever the item runs.
    let selected = results.plan.nodes.get(visit.node);
    let roles = selected.map(|own| own.roles.iter().map(|role| role.name.as_str()).collect::<Vec<_>>().join(","));
    let variables = [
        ("CTL_RUN", owner.run.clone()),
        ("CTL_NODE", node_name(&results.plan, visit.node)),
        ("CTL_ADDRESS", selected.map(|own| own.node.address.clone()).unwrap_or_default()),
        ("CTL_ROLE", roles.unwrap_or_default()),
        ("CTL_STEP", results.task(visit).and_then(|task| task.name.clone()).unwrap_or_default()),
        ("CTL_BATCH", visit.batch.to_string()),
        ("CTL_REASON", owner.reason.clone()),
    ];
    variables.into_iter().map(|(name, value)| (name, bounded(&value))).collect()
}

/// A value as an environment can have it, in one line.
fn bounded(value: &str) -> String {
    let plain = value.chars().map(|char| if char.is_control() { ' ' } else { char });
    plain.take(MAX_VALUE).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_fits_into_an_environment() {
        assert_eq!(bounded("a\0b\nü"), "a b ü");
        assert_eq!(bounded(&"x".repeat(5000)).len(), MAX_VALUE);
    }
}
