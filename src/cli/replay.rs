//! The events of a recorded run, as if one controller had brought it to its end.
//!
//! Pure. Invariants: of each target the newest result is kept; a good one stands until it is read again.

use std::collections::{BTreeMap, HashMap};

use ctl_event::{EventKind, RunEvent, TargetResult};

/// The events of a run as if it had never been interrupted. Results that a later part of the run replaced are left out,
/// and so are the ends of the earlier parts.
pub(super) fn last_words(events: &[RunEvent]) -> Vec<&RunEvent> {
    let later = LaterResults::read(events);
    let last_start = events.iter().rposition(|event| matches!(event.kind, EventKind::RunStarted(_))).unwrap_or(0);
    let is_kept = |(index, event): &(usize, &RunEvent)| match &event.kind {
        EventKind::RunStarted(_) => *index == 0,
        EventKind::RunFinished { .. } | EventKind::CancelBegan { .. } => *index > last_start,
        EventKind::Result(own) => !later.replace(event.seq, own),
        EventKind::BatchStarted { .. }
        | EventKind::NodeStarted { .. }
        | EventKind::NodeFinished { .. }
        | EventKind::PendingUpdate(_)
        | EventKind::Inspected { .. }
        | EventKind::NodeFacts(_)
        | EventKind::LogLines(_)
        | EventKind::Notice { .. }
        | EventKind::Item(_)
        | EventKind::Gate { .. }
        | EventKind::Progress { .. } => true,
    };
    events.iter().enumerate().filter(is_kept).map(|(_, event)| event).collect()
}

/// What a later part of a run says of targets that have a result already.
#[derive(Default)]
struct LaterResults<'a> {
    /// The step of each batch, and whether it only read its nodes again.
    batches: BTreeMap<u32, (u32, bool)>,
    /// By node.
    results: HashMap<&'a str, Vec<(u64, &'a TargetResult)>>,
    /// The visits of each node that came to their end: when, in which batch and step.
    visits: HashMap<&'a str, Vec<(u64, u32, u32)>>,
}

impl<'a> LaterResults<'a> {
    fn read(events: &'a [RunEvent]) -> Self {
        let mut later = Self::default();
        for event in events {
            match &event.kind {
                EventKind::BatchStarted { batch, step, rechecks, .. } => {
                    later.batches.insert(*batch, (*step, *rechecks));
                }
                EventKind::NodeFinished { batch, node } => {
                    let step = later.batches.get(batch).map(|(step, _)| *step);
                    let visits = later.visits.entry(node).or_default();
                    visits.extend(step.map(|step| (event.seq, *batch, step)));
                }
                EventKind::Result(result) => later.results.entry(&result.node).or_default().push((event.seq, result)),
                EventKind::RunStarted(_)
                | EventKind::RunFinished { .. }
                | EventKind::CancelBegan { .. }
                | EventKind::NodeStarted { .. }
                | EventKind::PendingUpdate(_)
                | EventKind::Inspected { .. }
                | EventKind::NodeFacts(_)
                | EventKind::LogLines(_)
                | EventKind::Notice { .. }
                | EventKind::Item(_)
                | EventKind::Gate { .. }
                | EventKind::Progress { .. } => {}
            }
        }
        later
    }

    /// Whether one of them takes the place of the result of an event.
    fn replace(&self, seq: u64, own: &TargetResult) -> bool {
        let step = |result: &TargetResult| result.batch.and_then(|batch| self.batches.get(&batch)).copied();
        let own_step = step(own).map(|(step, _)| step);
        let is_later = |(other_seq, other): &(u64, &TargetResult)| {
            if *other_seq <= seq || other.role != own.role {
                return false;
            }
            let is_same = own.batch.is_none() || (&other.service, &other.item) == (&own.service, &own.item);
            match step(other) {
                _ if !is_same => false,
                // It says the same again: the node was not visited in that part.
                None if own.batch.is_some() => TargetResult { batch: own.batch, ..(*other).clone() } == *own,
                // Only bad results are replaced: a good one stands until it is read again.
                None => own.outcome.is_bad(),
                Some((step, rechecks)) => own_step.is_none_or(|own| own == step) && (own.outcome.is_bad() || rechecks),
            }
        };
        // A later visit has results for everything that was bad, whatever the services are called there.
        let is_visited = |(other_seq, batch, step): &(u64, u32, u32)| {
            *other_seq > seq && own.batch != Some(*batch) && Some(*step) == own_step
        };
        let is_bad = own.outcome.is_bad() && own.item.is_none();
        let mut results = self.results.get(own.node.as_str()).into_iter().flatten();
        let mut visits = self.visits.get(own.node.as_str()).into_iter().flatten();
        results.any(is_later) || (is_bad && visits.any(is_visited))
    }
}
