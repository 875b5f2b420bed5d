//! A node's way through its sequence: which item comes next, and which scope is closed.
//!
//! Pure; the dispatcher keeps one [`SequenceRun`] for each node of a batch that has a sequence. Invariants: items run in
//! their order, each at most once; after one that did not succeed none runs; every scope that was opened is closed once, in
//! the reverse order, whether its item succeeded or not: it is taken back, or kept on purpose.

use std::collections::VecDeque;

use ctl_event::{Failure, Outcome};
use ctl_plan::{SequenceProgress, UndoEnds};

/// What to do about an item now.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum ItemPart {
    /// Do it.
    Run,
    /// Take it back.
    Undo,
    /// Leave it as it is, on purpose.
    Keep,
}

/// How far a node has come in its sequence.
#[derive(Debug, Default)]
pub(crate) struct SequenceRun {
    /// By item: the ends on which it is taken back, if it is.
    scopes: Vec<Option<UndoEnds>>,
    /// Scopes of an earlier controller to take back before anything else, the next one last.
    undo_first: Vec<usize>,
    /// The items that are left, in order.
    left: VecDeque<usize>,
    /// Scopes that are open, in the order in which they were opened.
    open: Vec<usize>,
    /// The first item that did not succeed.
    failed: Option<usize>,
    /// Why the node cannot be worked on any more.
    lost: Option<(Outcome, Failure)>,
    /// Whether the last item that changed services left any of them down.
    is_down: bool,
}

impl SequenceRun {
    /// A sequence of items with these scopes, as far as it came before.
    pub(crate) fn new(scopes: Vec<Option<UndoEnds>>, before: &SequenceProgress) -> Self {
        let left = (0..scopes.len()).filter(|item| !before.done.contains(item)).collect();
        let mut undo_first = before.undo_first.clone();
        undo_first.reverse();
        Self { scopes, undo_first, left, open: before.open.clone(), failed: before.failed, ..Self::default() }
    }

    /// What comes now; none once the sequence has ended.
    pub(crate) fn next(&mut self) -> Option<(usize, ItemPart)> {
        if let Some(item) = self.undo_first.pop() {
            return Some((item, ItemPart::Undo));
        }
        if self.failed.is_none()
            && let Some(item) = self.left.pop_front()
        {
            if self.has_scope(item) {
                self.open.push(item);
            }
            return Some((item, ItemPart::Run));
        }
        let item = self.open.pop()?;
        let ends = self.scopes.get(item).copied().flatten()?;
        let is_undone = if self.failed.is_some() { ends.failure } else { ends.success };
        Some((item, if is_undone { ItemPart::Undo } else { ItemPart::Keep }))
    }

    /// Whether an item opens a scope.
    pub(crate) fn has_scope(&self, item: usize) -> bool {
        self.scopes.get(item).is_some_and(Option::is_some)
    }

    /// Notes the end of an item. `down`: whether it left a service down; none if it does not concern services.
    pub(crate) fn note(&mut self, item: usize, is_done: bool, down: Option<bool>) {
        if !is_done {
            self.failed.get_or_insert(item);
        }
        self.is_down = down.unwrap_or(self.is_down);
    }

    /// Notes that the node cannot be worked on any more.
    pub(crate) fn note_lost(&mut self, outcome: Outcome, failure: Failure) {
        self.lost.get_or_insert((outcome, failure));
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
    use std::collections::BTreeSet;

    use super::*;
    use proptest::prelude::*;

    fn ends() -> impl Strategy<Value = UndoEnds> {
        any::<(bool, bool, bool)>().prop_map(|(success, failure, lost)| UndoEnds { success, failure, lost })
    }

    /// A sequence of up to eight items, those done before, and the item that fails.
    fn sequences() -> impl Strategy<Value = (Vec<Option<UndoEnds>>, SequenceProgress, Option<usize>)> {
        let scopes = prop::collection::vec(prop::option::of(ends()), 0..8);
        let before = (
            prop::collection::btree_set(0_usize..8, 0..8),
            prop::option::weighted(0.2, 0_usize..8),
            prop::collection::btree_set(0_usize..8, 0..4),
            prop::collection::btree_set(0_usize..8, 0..4),
        );
        (scopes, before, prop::option::of(0_usize..8)).prop_map(|(scopes, (mut done, failed, open, first), fails)| {
            let has_scope = |item: &usize| scopes.get(*item).is_some_and(Option::is_some);
            let undo_first: Vec<usize> = first.into_iter().filter(has_scope).rev().collect();
            let is_open = |item: &usize| has_scope(item) && !undo_first.contains(item);
            let open: Vec<usize> = open.into_iter().filter(is_open).collect();
            // An item whose scope is open has run.
            done.extend(&open);
            done.retain(|item| *item < scopes.len());
            (scopes, SequenceProgress { done, failed, open, undo_first, in_flight: None }, fails)
        })
    }

    proptest! {
        /// Whatever fails and whatever was done before: every item runs at most once and in order, or is said not to have
        /// run; every opened scope is closed once, the last one first, and after the last item.
        #[test]
        fn items_run_in_order_and_every_scope_is_closed_once((scopes, before, fails) in sequences()) {
            let mut run = SequenceRun::new(scopes.clone(), &before);
            let (mut ran, mut open, mut closed) = (Vec::new(), before.open.clone(), Vec::new());
            let mut first = before.undo_first.clone();
            while let Some((item, part)) = run.next() {
                if let Some(expected) = first.first().copied() {
                    prop_assert_eq!((item, part), (expected, ItemPart::Undo), "what is open comes first");
                    first.remove(0);
                    continue;
                }
                match part {
                    ItemPart::Run => {
                        prop_assert!(closed.is_empty(), "no item runs after a scope was closed");
                        ran.push(item);
                        if run.has_scope(item) {
                            open.push(item);
                        }
                        run.note(item, Some(item) != fails, None);
                    }
                    ItemPart::Undo | ItemPart::Keep => {
                        prop_assert_eq!(open.pop(), Some(item), "the last one is closed first");
                        let (_, failed) = run.not_run();
                        let ends = scopes[item].expect("a scope");
                        let is_undone = if failed.is_some() { ends.failure } else { ends.success };
                        prop_assert_eq!(part == ItemPart::Undo, is_undone);
                        closed.push(item);
                    }
                }
            }
            prop_assert!(open.is_empty() && first.is_empty(), "every scope is closed");
            let (not_run, failed) = run.not_run();
            prop_assert!(ran.is_sorted_by(|a, b| a < b));
            prop_assert!(ran.iter().all(|item| !before.done.contains(item)));
            prop_assert_eq!(failed, before.failed.or(fails.filter(|item| ran.contains(item))));
            prop_assert_eq!(run.is_down(), failed.is_some());
            let all: BTreeSet<usize> = ran.iter().chain(&not_run).copied().collect();
            prop_assert_eq!(all.len(), ran.len() + not_run.len());
            prop_assert_eq!(all, (0..scopes.len()).filter(|item| !before.done.contains(item)).collect());
        }
    }
}
