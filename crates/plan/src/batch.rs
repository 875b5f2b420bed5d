//! The nodes of the next batch: as many as the user asked for, within the caps of the roles.
//!
//! Pure. Invariants: a batch takes nodes in the order in which they wait, except that down nodes come first; a batch
//! never takes a role past its cap by a node that is up; a node that is down uses no budget.

use std::collections::BTreeSet;

/// The budget of a role: how many of its nodes may be down at once, and which ones are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DownBudget {
    /// The role.
    pub role: String,
    /// How many nodes may be down.
    pub limit: usize,
    /// All nodes of the role, even those not selected: indexes into the plan's nodes.
    pub members: BTreeSet<usize>,
    /// The members that are down.
    pub down: BTreeSet<usize>,
}

impl DownBudget {
    /// Whether `node` may go down together with `batch`.
    fn has_room(&self, node: usize, batch: &[usize]) -> bool {
        // A node that is down already does not change the count, even past the limit: acting on it can only help.
        if !self.members.contains(&node) || self.down.contains(&node) {
            return true;
        }
        // Count the rest of this batch as down: its nodes restart at the same time.
        let going = batch.iter().filter(|other| self.members.contains(other) && !self.down.contains(other)).count();
        self.down.len() + going < self.limit
    }
}

/// The next batch: at most `size` of the waiting nodes, as far as the budgets allow. Empty if no node may start.
#[must_use]
pub fn next_batch(waiting: &[usize], size: usize, budgets: &[DownBudget]) -> Vec<usize> {
    let is_down = |node: &usize| budgets.iter().any(|budget| budget.down.contains(node));
    let (down, up): (Vec<usize>, Vec<usize>) = waiting.iter().partition(|node| is_down(node));
    let mut batch: Vec<usize> = Vec::new();
    // Down nodes first: once they are up again they free their budget for the others.
    for node in down.into_iter().chain(up) {
        if batch.len() >= size.max(1) {
            break;
        }
        // Skip a node that does not fit rather than stop: a later node may have other roles.
        if budgets.iter().all(|budget| budget.has_room(node, &batch)) {
            batch.push(node);
        }
    }
    batch
}

/// The batches of a step if nothing fails: the promise of a plan.
#[must_use]
pub fn batches(nodes: &[usize], size: impl Fn(usize) -> usize, budgets: &[DownBudget]) -> Vec<Vec<usize>> {
    let mut waiting = nodes.to_vec();
    let mut budgets = budgets.to_vec();
    let mut batches = Vec::new();
    while !waiting.is_empty() {
        let batch = next_batch(&waiting, size(batches.len()), &budgets);
        // Down nodes outside the step use up a budget, so no further batch is possible.
        if batch.is_empty() {
            break;
        }
        waiting.retain(|node| !batch.contains(node));
        // Nodes that were down come up with their batch.
        for budget in &mut budgets {
            budget.down.retain(|node| !batch.contains(node));
        }
        batches.push(batch);
    }
    batches
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::amount::BatchSizes;

    fn budget(limit: usize, members: &[usize], down: &[usize]) -> DownBudget {
        let set = |nodes: &[usize]| nodes.iter().copied().collect();
        DownBudget { role: "r".to_owned(), limit, members: set(members), down: set(down) }
    }

    fn sizes(nodes: usize, serial: &str) -> Vec<usize> {
        let serial: BatchSizes = serial.parse().expect("a list");
        let all: Vec<usize> = (0..nodes).collect();
        batches(&all, |index| serial.size(index, nodes), &[]).iter().map(Vec::len).collect()
    }

    #[test]
    fn batches_are_as_large_as_asked() {
        assert_eq!(sizes(10, "2"), [2, 2, 2, 2, 2]);
        assert_eq!(sizes(10, "1,2,3"), [1, 2, 3, 3, 1]);
        assert_eq!(sizes(3, "20%"), [1, 1, 1]);
        assert_eq!(sizes(11, "20%"), [2, 2, 2, 2, 2, 1]);
        assert_eq!(sizes(22, "1,5,20%"), [1, 5, 4, 4, 4, 4]);
    }

    #[test]
    fn a_cap_makes_them_smaller() {
        let all = [0, 1, 2];
        assert_eq!(batches(&all, |_| 3, &[budget(1, &all, &[])]), [vec![0], vec![1], vec![2]]);
        assert_eq!(batches(&all, |_| 3, &[budget(2, &all, &[])]), [vec![0, 1], vec![2]]);
    }

    #[test]
    fn down_nodes_go_first_and_use_no_budget() {
        // 2 is down already: it goes alone, since no other node may go down with it.
        assert_eq!(next_batch(&[0, 1, 2], 3, &[budget(1, &[0, 1, 2], &[2])]), [2]);
        assert_eq!(next_batch(&[0, 1, 2], 3, &[budget(2, &[0, 1, 2], &[2])]), [2, 0]);
        // All selected nodes are down: all of them go, whatever the limit.
        assert_eq!(next_batch(&[0, 1], 3, &[budget(1, &[0, 1, 2], &[0, 1])]), [0, 1]);
    }

    #[test]
    fn down_nodes_outside_the_step_use_budget() {
        assert_eq!(next_batch(&[0, 1], 2, &[budget(1, &[0, 1, 9], &[9])]), [0; 0]);
        assert_eq!(next_batch(&[0, 1], 2, &[budget(2, &[0, 1, 9], &[9])]), [0]);
    }

    #[test]
    fn a_node_with_two_capped_roles_counts_in_both() {
        let (first, second) = (budget(2, &[0, 1, 2], &[]), budget(1, &[0, 1], &[]));
        // 1 would be the second node down in the second role; 2 is only in the first.
        assert_eq!(next_batch(&[0, 1, 2], 3, &[first, second]), [0, 2]);
    }

    proptest! {
        /// Batches partition the waiting nodes and respect size and caps; without a cap they keep the order.
        #[test]
        fn size_and_caps_hold(
            nodes in 1_usize..30,
            size in 1_usize..8,
            caps in prop::collection::vec((1_usize..5, prop::collection::btree_set(0_usize..36, 0..30), prop::collection::btree_set(0_usize..36, 0..6)), 0..3),
        ) {
            let mut budgets: Vec<DownBudget> = caps.into_iter().map(|(limit, members, down)| {
                let down = down.intersection(&members).copied().collect();
                DownBudget { role: "r".to_owned(), limit, members, down }
            }).collect();
            let waiting: Vec<usize> = (0..nodes).collect();
            let made = batches(&waiting, |_| size, &budgets);
            let mut seen = BTreeSet::new();
            for batch in &made {
                prop_assert!(!batch.is_empty() && batch.len() <= size);
                for budget in &mut budgets {
                    let going: Vec<_> = batch.iter().filter(|node| budget.members.contains(node) && !budget.down.contains(node)).collect();
                    prop_assert!(going.is_empty() || budget.down.len() + going.len() <= budget.limit);
                }
                for budget in &mut budgets {
                    budget.down.retain(|node| !batch.contains(node));
                }
                for node in batch {
                    prop_assert!(*node < nodes && seen.insert(*node));
                }
            }
            if budgets.is_empty() {
                prop_assert_eq!(made.concat(), waiting);
            }
        }
    }
}
