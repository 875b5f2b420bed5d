//! A node's way through its sequence: which item comes next.
//!
//! Pure; the dispatcher keeps one [`SequenceRun`] for each node of a batch that has a sequence. Invariants: items run in
//! their order, each at most once; after one that did not succeed none runs.

use std::collections::{BTreeSet, VecDeque};

use ctl_event::{Failure, Outcome};

/// How far a node has come in its sequence.
#[derive(Debug, Default)]
pub(crate) struct SequenceRun {
    /// The items that are left, in order.
    left: VecDeque<usize>,
    /// The first item that did not succeed.
    failed: Option<usize>,
    /// Why the node cannot be worked on any more.
    lost: Option<(Outcome, Failure)>,
    /// Whether the last item that changed services left any of them down.
    is_down: bool,
}

impl SequenceRun {
    /// A sequence of so many items, of which these were done before.
    pub(crate) fn new(items: usize, done: &BTreeSet<usize>) -> Self {
        Self { left: (0..items).filter(|item| !done.contains(item)).collect(), ..Self::default() }
    }

    /// The item to run now; none once the sequence has ended.
    pub(crate) fn next(&mut self) -> Option<usize> {
        if self.failed.is_some() { None } else { self.left.pop_front() }
    }

    /// Notes the end of an item. `down`: whether it left a service down; none if it does not concern services.
    pub(crate) fn note(&mut self, item: usize, is_done: bool, down: Option<bool>, lost: Option<(Outcome, Failure)>) {
        if !is_done {
            self.failed.get_or_insert(item);
        }
        self.is_down = down.unwrap_or(self.is_down);
        self.lost = self.lost.take().or(lost);
    }

    /// The items that will not run, and the one that keeps them from it.
    pub(crate) fn not_run(&self) -> (Vec<usize>, Option<usize>) {
        (self.left.iter().copied().collect(), self.failed)
    }

    /// Whether the node counts as down for its caps: it may be in the middle of its work.
    pub(crate) fn is_down(&self) -> bool {
        self.is_down || self.failed.is_some()
    }

    /// Why the node cannot be worked on any more, if it cannot.
    pub(crate) fn take_lost(&mut self) -> Option<(Outcome, Failure)> {
        self.lost.take()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        /// Whatever fails and whatever was done before: every item runs at most once and in order, or is said not to
        /// have run.
        #[test]
        fn items_run_in_order_until_one_fails(
            items in 0_usize..8,
            done in prop::collection::btree_set(0_usize..8, 0..8),
            fails in prop::option::of(0_usize..8),
        ) {
            let mut run = SequenceRun::new(items, &done);
            let mut ran = Vec::new();
            while let Some(item) = run.next() {
                ran.push(item);
                run.note(item, Some(item) != fails, None, None);
            }
            let (not_run, failed) = run.not_run();
            prop_assert!(ran.is_sorted_by(|a, b| a < b));
            prop_assert!(ran.iter().all(|item| !done.contains(item)));
            prop_assert_eq!(failed, fails.filter(|item| ran.contains(item)));
            prop_assert_eq!(run.is_down(), failed.is_some());
            let all: BTreeSet<usize> = ran.iter().chain(&not_run).copied().collect();
            prop_assert_eq!(all.len(), ran.len() + not_run.len());
            prop_assert_eq!(all, (0..items).filter(|item| !done.contains(item)).collect());
            if let Some(failed) = failed {
                prop_assert_eq!(ran.last(), Some(&failed));
            }
        }
    }
}
