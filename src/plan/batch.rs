//! Which nodes go next: the size that was asked for, and the caps of the roles.
//!
//! Pure. What always holds: a batch takes nodes in the order in which they wait, those that are down already first;
//! with a node that is up it never takes a role past its cap; a node that is down costs nothing.

use std::collections::BTreeSet;

/// How many nodes of a role may be down at once, and which are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DownBudget {
    /// The role.
    pub role: String,
    /// So many nodes may be down.
    pub limit: usize,
    /// All nodes of the role, also those not selected: indexes into the plan's nodes.
    pub members: BTreeSet<usize>,
    /// Those of them that are down.
    pub down: BTreeSet<usize>,
}

impl DownBudget {
    /// Whether one more node may go down, with those of `batch` going down as well.
    fn has_room(&self, node: usize, batch: &[usize]) -> bool {
        if !self.members.contains(&node) || self.down.contains(&node) {
            return true;
        }
        let going = batch.iter().filter(|other| self.members.contains(other) && !self.down.contains(other)).count();
        self.down.len() + going < self.limit
    }
}

/// The next batch: at most `size` of the nodes that wait, as far as the budgets go. Empty where no node may go.
#[must_use]
pub fn next_batch(waiting: &[usize], size: usize, budgets: &[DownBudget]) -> Vec<usize> {
    let is_down = |node: &usize| budgets.iter().any(|budget| budget.down.contains(node));
    let (down, up): (Vec<usize>, Vec<usize>) = waiting.iter().partition(|node| is_down(node));
    let mut batch: Vec<usize> = Vec::new();
    for node in down.into_iter().chain(up) {
        if batch.len() >= size.max(1) {
            break;
        }
        if budgets.iter().all(|budget| budget.has_room(node, &batch)) {
            batch.push(node);
        }
    }
    batch
}

/// The batches of a step if nothing goes wrong: what a plan can promise.
#[must_use]
pub fn batches(nodes: &[usize], size: impl Fn(usize) -> usize, budgets: &[DownBudget]) -> Vec<Vec<usize>> {
    let mut waiting = nodes.to_vec();
    let mut budgets = budgets.to_vec();
    let mut batches = Vec::new();
    while !waiting.is_empty() {
        let batch = next_batch(&waiting, size(batches.len()), &budgets);
        if batch.is_empty() {
            break;
        }
        waiting.retain(|node| !batch.contains(node));
        // What was down comes up with its batch.
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
    use crate::plan::amount::BatchSizes;

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
    fn what_is_down_goes_first_and_costs_nothing() {
        // 2 is down already: it goes, alone, since with it down nothing else may go.
        assert_eq!(next_batch(&[0, 1, 2], 3, &[budget(1, &[0, 1, 2], &[2])]), [2]);
        assert_eq!(next_batch(&[0, 1, 2], 3, &[budget(2, &[0, 1, 2], &[2])]), [2, 0]);
        // All that is selected is down: it all goes, however many that are.
        assert_eq!(next_batch(&[0, 1], 3, &[budget(1, &[0, 1, 2], &[0, 1])]), [0, 1]);
    }

    #[test]
    fn what_is_down_elsewhere_costs() {
        assert_eq!(next_batch(&[0, 1], 2, &[budget(1, &[0, 1, 9], &[9])]), [0; 0]);
        assert_eq!(next_batch(&[0, 1], 2, &[budget(2, &[0, 1, 9], &[9])]), [0]);
    }

    #[test]
    fn a_node_with_two_capped_roles_counts_in_both() {
        let (first, second) = (budget(2, &[0, 1, 2], &[]), budget(1, &[0, 1], &[]));
        // 1 would be the second one down in the second role; 2 is in the first alone.
        assert_eq!(next_batch(&[0, 1, 2], 3, &[first, second]), [0, 2]);
    }

    proptest! {
        /// Batches partition what waits and respect size and caps; with no cap they keep the order.
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
