//! The rest of a node's sequence, by the record of a run.
//!
//! Pure. Invariants: an item that is done and changes something is never done again; a command that was in flight, or
//! whose end nobody saw, never runs again in a resumed run, unless it is taken back first; services that were in flight are read first; a scope
//! that was open when its controller ended is closed.

use std::collections::BTreeMap;

use ctl_event::{
    CommandRun, Failure, FailureKind, ItemEvent, ItemLabel, ItemState, Outcome, Stage, TargetResult, TargetState,
};
use ctl_plan::{InFlightItem, ItemWork, Sequence, SequenceProgress};

/// How far a node came in its sequence.
#[derive(Debug, Default)]
pub(super) struct NodeSequence {
    /// The last state of each item, by its place.
    states: BTreeMap<usize, ItemState>,
    /// The last state of each scope, by the place of its item.
    scopes: BTreeMap<usize, ItemState>,
    /// The scopes in the order in which they were opened last.
    opened: Vec<usize>,
}

/// The work on a sequence that did not come to its end.
#[derive(Debug)]
pub(super) enum SequenceRest {
    /// It is done, or must not go on.
    Ended(Vec<TargetResult>),
    /// It goes on after this, and these results stand.
    GoesOn(SequenceProgress, Vec<TargetResult>),
}

impl NodeSequence {
    /// Takes in a record.
    pub(super) fn note(&mut self, event: &ItemEvent) {
        let Some(item) = place(&event.label) else { return };
        match event.state {
            ItemState::Started | ItemState::Done | ItemState::Failed => {
                self.states.insert(item, event.state);
            }
            ItemState::Opened => {
                self.scopes.insert(item, event.state);
                self.opened.retain(|other| *other != item);
                self.opened.push(item);
            }
            ItemState::Undone | ItemState::UndoFailed | ItemState::Kept => {
                self.scopes.insert(item, event.state);
            }
        }
    }

    /// Whether every item is done, and no scope is open.
    pub(super) fn is_done(&self, sequence: &Sequence) -> bool {
        let is_done = |item: usize| self.states.get(&item) == Some(&ItemState::Done);
        (0..sequence.items().len()).all(is_done) && self.scopes_in(&[ItemState::Opened]).is_empty()
    }

    /// The scopes in one of these states, in the order in which they are closed.
    pub(super) fn scopes_in(&self, states: &[ItemState]) -> Vec<usize> {
        let is_in = |item: &usize| self.scopes.get(item).is_some_and(|state| states.contains(state));
        self.opened.iter().rev().copied().filter(is_in).collect()
    }

    /// How far the node came, where the scopes of `undo_first` are taken back before it goes on. An item that is taken back
    /// is not done any more, if anything is left that stands behind it. Checks and waits hold only for what comes right
    /// after them, so they are repeated.
    fn progress(&self, sequence: &Sequence, undo_first: Vec<usize>) -> SequenceProgress {
        let is_done = |item: &usize| self.states.get(item) == Some(&ItemState::Done);
        let is_whole = (0..sequence.items().len()).all(|item| is_done(&item));
        let stands = |item: &usize| {
            let acts = sequence.items().get(*item).is_some_and(|own| own.work.acts());
            let is_undone = undo_first.contains(item) || self.scopes.get(item) == Some(&ItemState::Undone);
            is_whole || (acts && !is_undone)
        };
        let done = (0..sequence.items().len()).filter(is_done).filter(stands).collect();
        SequenceProgress { done, undo_first, ..SequenceProgress::default() }
    }

    /// For a resumed run. `in_flight`: the targets of the node as they were before, if its controller was gone before the
    /// node was finished.
    pub(super) fn resume(
        &self,
        sequence: &Sequence,
        results: &[TargetResult],
        in_flight: Option<&Vec<TargetState>>,
    ) -> SequenceRest {
        let own = |item: usize| results.iter().filter(move |result| number(result) == Some(item));
        let is_started = |(item, state): (&usize, &ItemState)| {
            // Of services that were given up, too, the node knows what became of them.
            let is_open = own(*item).any(|result| result.outcome == Outcome::Unknown);
            (*state == ItemState::Started || is_open).then_some(*item)
        };
        let started = self.states.iter().find_map(is_started);
        let was_cut = results.iter().any(|result| {
            // What a failed item kept from running is final; what an interruption kept from running is not.
            let kind = result.failure.as_ref().map(|failure| failure.kind);
            result.outcome == Outcome::NotStarted && kind != Some(FailureKind::Gate)
        });
        // Nobody knows whether these were taken back: a guard does that by itself once its controller is gone.
        let open = self.scopes_in(&[ItemState::Opened]);
        if in_flight.is_none() && started.is_none() && !was_cut && open.is_empty() {
            return SequenceRest::Ended(results.to_vec());
        }
        let ends = |item: &usize| sequence.items().get(*item)?.undo.as_ref().map(|undo| undo.ends);
        let (undo_first, mut stays): (Vec<usize>, Vec<usize>) =
            open.into_iter().partition(|item| ends(item).is_some_and(|ends| ends.lost));
        stays.reverse();
        let mut progress = SequenceProgress { open: stays, ..self.progress(sequence, undo_first) };
        progress.failed = self.states.iter().find(|(_, state)| **state == ItemState::Failed).map(|(item, _)| *item);
        if was_cut {
            // An interruption is no failure of the item.
            progress.failed = None;
        }
        // Its result stands.
        progress.done.extend(progress.failed);
        let is_kept = |result: &&TargetResult| {
            let is_done = number(result)
                .is_some_and(|item| progress.done.contains(&item) || [started, progress.failed].contains(&Some(item)));
            is_done && !is_undo(result) && !matches!(result.outcome, Outcome::NotStarted | Outcome::Unknown)
        };
        let mut kept: Vec<TargetResult> = results.iter().filter(is_kept).cloned().collect();
        // An item that is taken back first is simply done again.
        if let Some(item) = started.filter(|item| !progress.undo_first.contains(item)) {
            match sequence.items().get(item).map(|item| &item.work) {
                Some(ItemWork::Exec { .. }) => {
                    kept.push(not_known(sequence, item, results));
                    // Nothing runs after it, but open scopes are still closed.
                    progress.failed = Some(item);
                    progress.done.insert(item);
                    if progress.undo_first.is_empty() && progress.open.is_empty() {
                        return SequenceRest::Ended(kept);
                    }
                }
                Some(ItemWork::Service { .. }) => {
                    let done = own(item).filter(|result| result.outcome != Outcome::Unknown);
                    let done = done.map(|result| (result.role.clone(), result.service.clone())).collect();
                    // How a helper was before this item, nobody knows: other nodes may have changed it since it was read.
                    let is_helped = sequence.items().get(item).is_some_and(|own| own.place.helper().is_some());
                    let before = in_flight.filter(|_| !is_helped).cloned().unwrap_or_default();
                    progress.in_flight = Some(InFlightItem { item, done, before });
                }
                Some(ItemWork::Check { .. } | ItemWork::Wait(_)) | None => {}
            }
        }
        SequenceRest::GoesOn(progress, kept)
    }

    /// For another attempt, of which the results do not matter.
    pub(super) fn retry(&self, sequence: &Sequence, results: &[TargetResult]) -> SequenceRest {
        if !results.is_empty() && results.iter().all(|result| !result.outcome.is_bad()) {
            return SequenceRest::Ended(results.to_vec());
        }
        let undo_first = self.scopes_in(&[ItemState::Opened, ItemState::UndoFailed]);
        SequenceRest::GoesOn(self.progress(sequence, undo_first), Vec::new())
    }
}

fn is_undo(result: &TargetResult) -> bool {
    result.item.as_ref().is_some_and(|label| label.undo)
}

/// The place of an item in its sequence.
fn place(label: &ItemLabel) -> Option<usize> {
    usize::try_from(label.item_number).ok()?.checked_sub(1)
}

fn number(result: &TargetResult) -> Option<usize> {
    place(result.item.as_ref()?)
}

/// The result of a command that was in flight when its controller ended.
fn not_known(sequence: &Sequence, item: usize, results: &[TargetResult]) -> TargetResult {
    let own = results.iter().find(|result| number(result) == Some(item) && !is_undo(result)).cloned();
    let message = "it was running when ctl ended; a resume does not repeat it";
    let failure = Failure::new(Stage::Act, FailureKind::ConnectionLost, message)
        .with_hint("it may have done some or all of its work; check, then repeat it with `ctl runs retry`");
    own.unwrap_or_else(|| TargetResult {
        failure: Some(failure),
        command: Some(CommandRun::NOT_STARTED),
        item: sequence.items().get(item).map(|own| ItemLabel {
            undo: false,
            item_number: u32::try_from(item + 1).unwrap_or(u32::MAX),
            item: own.name.clone(),
            on: own.place.helper().map(str::to_owned),
        }),
        ..TargetResult::new(String::new(), Outcome::Unknown)
    })
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use ctl_plan::{ItemPlace, SequenceItem, ServiceVerb};
    use ctl_select::ServicePattern;

    /// drain, a check, a restart, and the return.
    fn sequence() -> Sequence {
        let item = |(name, work): (&str, ItemWork)| SequenceItem {
            name: name.to_owned(),
            place: ItemPlace::Node,
            work,
            timeout: None,
            undo: None,
            renew: None,
        };
        let exec = || ItemWork::Exec { command: "true".to_owned() };
        let services = vec![ServicePattern::parse("x").expect("a name")];
        let restart = ItemWork::Service { verb: ServiceVerb::Restart, services, policy: Default::default() };
        let check =
            ItemWork::Check { command: "true".to_owned(), until: None, interval: std::time::Duration::from_secs(1) };
        Sequence::new([("drain", exec()), ("quiet", check), ("restart", restart), ("return", exec())].map(item).into())
    }

    fn label(item: usize) -> ItemLabel {
        let name = sequence().items()[item].name.clone();
        ItemLabel { undo: false, item_number: u32::try_from(item).expect("a small number") + 1, item: name, on: None }
    }

    fn states(states: &[ItemState]) -> NodeSequence {
        let mut node = NodeSequence::default();
        for (item, state) in states.iter().enumerate() {
            node.note(&ItemEvent { batch: 1, step: 0, node: "n".to_owned(), label: label(item), state: *state });
        }
        node
    }

    fn result(item: usize, outcome: Outcome, kind: Option<FailureKind>) -> TargetResult {
        let failure = kind.map(|kind| Failure::new(Stage::Act, kind, "x"));
        TargetResult { item: Some(label(item)), failure, ..TargetResult::new("n", outcome) }
    }

    const DONE: ItemState = ItemState::Done;
    const STARTED: ItemState = ItemState::Started;

    fn goes_on(rest: SequenceRest) -> (SequenceProgress, Vec<TargetResult>) {
        let SequenceRest::GoesOn(progress, kept) = rest else { panic!("{rest:?}") };
        (progress, kept)
    }

    #[test]
    fn what_is_done_is_not_repeated_but_checks_are() {
        let results = [result(0, Outcome::Changed, None), result(1, Outcome::Ok, None)];
        let rest = states(&[DONE, DONE]).resume(&sequence(), &results, Some(&Vec::new()));
        let (progress, kept) = goes_on(rest);
        assert_eq!(progress, SequenceProgress { done: BTreeSet::from([0]), ..SequenceProgress::default() });
        assert_eq!(kept, results[..1]);
    }

    #[test]
    fn services_in_flight_are_read_and_a_command_is_not_run_again() {
        let mut done = result(2, Outcome::Changed, None);
        done.service = Some("x:0".to_owned());
        let (progress, kept) =
            goes_on(states(&[DONE, DONE, STARTED]).resume(&sequence(), &[done.clone()], Some(&Vec::new())));
        let in_flight = progress.in_flight.expect("an item in flight");
        assert_eq!((in_flight.item, in_flight.done.len(), kept), (2, 1, vec![done]));
        let ended = states(&[DONE, DONE, DONE, STARTED]).resume(&sequence(), &[], Some(&Vec::new()));
        let SequenceRest::Ended(kept) = ended else { panic!("{ended:?}") };
        assert_eq!(
            kept.iter().map(|own| (own.outcome, own.item.clone())).collect::<Vec<_>>(),
            [(Outcome::Unknown, Some(label(3)))]
        );
    }

    #[test]
    fn a_failure_is_final_for_a_resume_and_not_for_a_retry() {
        let failed = [
            result(0, Outcome::Changed, None),
            result(1, Outcome::Failed, Some(FailureKind::Gate)),
            result(2, Outcome::NotStarted, Some(FailureKind::Gate)),
        ];
        let node = states(&[DONE, ItemState::Failed]);
        assert!(matches!(node.resume(&sequence(), &failed, None), SequenceRest::Ended(kept) if kept == failed));
        let (progress, _) = goes_on(node.retry(&sequence(), &failed));
        assert_eq!(progress.done, BTreeSet::from([0]));
        // What a lost journal kept from running goes on.
        let cut = [result(0, Outcome::Changed, None), result(1, Outcome::NotStarted, Some(FailureKind::Interrupted))];
        let (progress, _) = goes_on(states(&[DONE]).resume(&sequence(), &cut, None));
        assert_eq!(progress.done, BTreeSet::from([0]));
        let all = [result(0, Outcome::Changed, None)];
        assert!(matches!(states(&[DONE]).retry(&sequence(), &all), SequenceRest::Ended(_)));
    }
}
