//! The nodes of the next batch: as many as the user asked for, within the caps of the roles.
//!
//! Pure. Invariants: a batch takes nodes in the order in which they wait, except that down nodes come first; a batch
//! never takes a role past its cap by a node that is up; a node that is down uses no budget.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, BinaryHeap, HashMap};

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
    /// The members on which the task touches no service of the role: the role stays up there whatever the task does.
    pub untouched: BTreeSet<usize>,
}

impl DownBudget {
    /// Whether `node` counts once the task acts on it: it is a member with a service of the task, and up.
    #[must_use]
    pub fn counts(&self, node: usize) -> bool {
        self.is_touched(node) && !self.down.contains(&node)
    }

    /// Whether the task may touch the role on `node`.
    fn is_touched(&self, node: usize) -> bool {
        self.members.contains(&node) && !self.untouched.contains(&node)
    }

    /// Whether one more node may go down beside `going` others of the same batch.
    fn has_room(&self, going: usize) -> bool {
        // The rest of the batch counts as down: its nodes restart at the same time.
        self.down.len() + going < self.limit
    }
}

/// The nodes of a step that wait, in their order. A batch is found without a look at all of them, so that a run of one
/// node after the other takes no longer per node the more there are.
#[derive(Debug, Clone, Default)]
pub struct BatchQueue {
    /// Nodes that the same budgets count: they fit into a batch, or do not, together.
    kinds: Vec<WaitingKind>,
    /// The kind and the place of each node.
    places: HashMap<usize, (usize, usize)>,
}

/// Waiting nodes of one kind.
#[derive(Debug, Clone, Default)]
struct WaitingKind {
    /// The budgets of the roles that the task touches on them.
    counted_by: Vec<usize>,
    /// By their place in the order.
    nodes: BTreeMap<usize, usize>,
}

impl BatchQueue {
    /// All of `nodes`, in this order. Later calls must be given the same budgets, though other nodes may be down.
    #[must_use]
    pub fn new(nodes: &[usize], budgets: &[DownBudget]) -> Self {
        let mut queue = Self::default();
        let mut known: HashMap<Vec<usize>, usize> = HashMap::new();
        for (place, node) in nodes.iter().enumerate() {
            let members = budgets.iter().enumerate().filter(|(_, budget)| budget.is_touched(*node));
            let counted_by: Vec<usize> = members.map(|(index, _)| index).collect();
            let kind = *known.entry(counted_by).or_insert_with_key(|counted_by| {
                queue.kinds.push(WaitingKind { counted_by: counted_by.clone(), nodes: BTreeMap::new() });
                queue.kinds.len() - 1
            });
            queue.kinds[kind].nodes.insert(place, *node);
            queue.places.insert(*node, (kind, place));
        }
        queue
    }

    /// Takes a node out.
    pub fn remove(&mut self, node: usize) {
        if let Some((kind, place)) = self.places.remove(&node)
            && let Some(kind) = self.kinds.get_mut(kind)
        {
            kind.nodes.remove(&place);
        }
    }

    /// How many nodes wait.
    #[must_use]
    pub fn len(&self) -> usize {
        self.places.len()
    }

    /// Whether no node waits.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.places.is_empty()
    }

    /// The nodes that wait, in their order.
    #[must_use]
    pub fn nodes(&self) -> Vec<usize> {
        let mut all: Vec<(usize, usize)> = self.places.iter().map(|(node, (_, place))| (*place, *node)).collect();
        all.sort_unstable();
        all.into_iter().map(|(_, node)| node).collect()
    }

    /// Whether a node on which the task touches a budget's role waits, by the budget's index.
    #[must_use]
    pub fn has_member_of(&self, budget: usize) -> bool {
        self.kinds.iter().any(|kind| !kind.nodes.is_empty() && kind.counted_by.contains(&budget))
    }

    /// The next batch: at most `size` nodes, as far as the budgets allow. Empty if no node may start. The nodes stay in the
    /// queue.
    #[must_use]
    pub fn next(&self, size: usize, budgets: &[DownBudget]) -> Vec<usize> {
        let size = size.max(1);
        let mut batch = GrowingBatch { budgets, going: vec![0; budgets.len()], nodes: Vec::new() };
        // Down nodes first: once they are up again they free their budget for the others.
        let down: BTreeSet<usize> = budgets.iter().flat_map(|budget| budget.down.iter().copied()).collect();
        let mut first: Vec<(usize, usize)> =
            down.iter().filter_map(|node| Some((self.places.get(node)?.1, *node))).collect();
        first.sort_unstable();
        for (_, node) in first {
            if batch.nodes.len() == size {
                return batch.nodes;
            }
            batch.offer(node);
        }
        // The first waiting node of each kind; the smallest place of them is next.
        let mut waiting: Vec<_> = self.kinds.iter().map(|kind| kind.nodes.iter()).collect();
        let mut heads: BinaryHeap<Reverse<(usize, usize, usize)>> = BinaryHeap::new();
        let next_of = |waiting: &mut std::collections::btree_map::Iter<'_, usize, usize>, kind: usize| {
            let (place, node) = waiting.find(|(_, node)| !down.contains(node))?;
            Some(Reverse((*place, *node, kind)))
        };
        heads.extend(waiting.iter_mut().enumerate().filter_map(|(kind, waiting)| next_of(waiting, kind)));
        while batch.nodes.len() < size
            && let Some(Reverse((_, node, kind))) = heads.pop()
        {
            // Another node of a kind that does not fit does not fit either, but a node of another kind may: it may have
            // other roles.
            if batch.offer(node) {
                heads.extend(waiting.get_mut(kind).and_then(|waiting| next_of(waiting, kind)));
            }
        }
        batch.nodes
    }
}

/// A batch that is being found.
struct GrowingBatch<'b> {
    budgets: &'b [DownBudget],
    /// The nodes of the batch that each budget counts.
    going: Vec<usize>,
    nodes: Vec<usize>,
}

impl GrowingBatch<'_> {
    /// Takes a node if it fits. One that is down already does not change the count, even past the limit: acting on it can
    /// only help.
    fn offer(&mut self, node: usize) -> bool {
        let counts = || self.budgets.iter().map(|budget| budget.counts(node));
        let fits = self.budgets.iter().zip(&self.going).zip(counts());
        if !fits.into_iter().all(|((budget, going), counts)| !counts || budget.has_room(*going)) {
            return false;
        }
        let counts: Vec<bool> = counts().collect();
        for (going, counts) in self.going.iter_mut().zip(counts) {
            *going += usize::from(counts);
        }
        self.nodes.push(node);
        true
    }
}

/// The next batch of `waiting` nodes; see [`BatchQueue::next`].
#[must_use]
pub fn next_batch(waiting: &[usize], size: usize, budgets: &[DownBudget]) -> Vec<usize> {
    BatchQueue::new(waiting, budgets).next(size, budgets)
}

/// The batches of a step if nothing fails: the promise of a plan.
#[must_use]
pub fn batches(nodes: &[usize], size: impl Fn(usize) -> usize, budgets: &[DownBudget]) -> Vec<Vec<usize>> {
    let mut queue = BatchQueue::new(nodes, budgets);
    let mut budgets = budgets.to_vec();
    let mut batches = Vec::new();
    while !queue.is_empty() {
        let batch = queue.next(size(batches.len()), &budgets);
        // Down nodes outside the step use up a budget, so no further batch is possible.
        if batch.is_empty() {
            break;
        }
        for node in &batch {
            queue.remove(*node);
            // Nodes that were down come up with their batch.
            for budget in &mut budgets {
                budget.down.remove(node);
            }
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
        DownBudget { role: "r".to_owned(), limit, members: set(members), down: set(down), untouched: BTreeSet::new() }
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
    fn nodes_without_a_service_of_the_role_use_no_budget() {
        let of = |down: &[usize]| {
            let budget = DownBudget { untouched: BTreeSet::from([1, 2]), ..budget(1, &[0, 1, 2, 3], down) };
            next_batch(&[0, 1, 2, 3], 4, &[budget])
        };
        assert_eq!(of(&[]), [0, 1, 2], "3 would be the second to go down");
        assert_eq!(of(&[9]), [1, 2], "the budget is spent");
    }

    #[test]
    fn a_node_with_two_capped_roles_counts_in_both() {
        let (first, second) = (budget(2, &[0, 1, 2], &[]), budget(1, &[0, 1], &[]));
        // 1 would be the second node down in the second role; 2 is only in the first.
        assert_eq!(next_batch(&[0, 1, 2], 3, &[first, second]), [0, 2]);
    }

    /// The same with a look at all waiting nodes for each batch: the meaning of [`BatchQueue::next`].
    fn by_looking_at_all(waiting: &[usize], size: usize, budgets: &[DownBudget]) -> Vec<usize> {
        let is_down = |node: &usize| budgets.iter().any(|budget| budget.down.contains(node));
        let (down, up): (Vec<usize>, Vec<usize>) = waiting.iter().partition(|node| is_down(node));
        let mut batch: Vec<usize> = Vec::new();
        for node in down.into_iter().chain(up) {
            let fits = |budget: &DownBudget| {
                let going = batch.iter().filter(|other| budget.counts(**other)).count();
                !budget.counts(node) || budget.down.len() + going < budget.limit
            };
            if batch.len() < size.max(1) && budgets.iter().all(fits) {
                batch.push(node);
            }
        }
        batch
    }

    proptest! {
        /// Whatever goes down or comes up between two batches, a queue has the batches that a look at all nodes finds.
        #[test]
        fn a_queue_skips_no_node(
            nodes in Just((0_usize..24).collect::<Vec<_>>()).prop_shuffle(),
            sizes in prop::collection::vec(0_usize..6, 1..12),
            caps in prop::collection::vec((0_usize..5, prop::collection::btree_set(0_usize..30, 0..24)), 0..4),
            down in prop::collection::vec(prop::collection::btree_set(0_usize..30, 0..8), 12),
        ) {
            let mut budgets: Vec<DownBudget> = caps.into_iter().map(|(limit, members)| {
                DownBudget { role: "r".to_owned(), limit, members, down: BTreeSet::new(), untouched: BTreeSet::new() }
            }).collect();
            let mut queue = BatchQueue::new(&nodes, &budgets);
            let mut waiting = nodes;
            for (size, now) in sizes.into_iter().zip(down) {
                for budget in &mut budgets {
                    budget.down = now.intersection(&budget.members).copied().collect();
                }
                let batch = queue.next(size, &budgets);
                prop_assert_eq!(&batch, &by_looking_at_all(&waiting, size, &budgets));
                for node in &batch {
                    queue.remove(*node);
                }
                waiting.retain(|node| !batch.contains(node));
                prop_assert_eq!(queue.nodes(), waiting.clone());
                for (index, budget) in budgets.iter().enumerate() {
                    prop_assert_eq!(queue.has_member_of(index), waiting.iter().any(|node| budget.members.contains(node)));
                }
            }
        }

        /// Batches partition the waiting nodes and respect size and caps; without a cap they keep the order.
        #[test]
        fn size_and_caps_hold(
            nodes in 1_usize..30,
            size in 1_usize..8,
            caps in prop::collection::vec((1_usize..5, prop::collection::btree_set(0_usize..36, 0..30), prop::collection::btree_set(0_usize..36, 0..6)), 0..3),
        ) {
            let mut budgets: Vec<DownBudget> = caps.into_iter().map(|(limit, members, down)| {
                let down = down.intersection(&members).copied().collect();
                DownBudget { role: "r".to_owned(), limit, members, down, untouched: BTreeSet::new() }
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
