//! The events of a recorded run, as if one controller had brought it to its end.
//!
//! Pure. Invariants: of each target the newest result is kept; a good one stands until it is read again.

use std::collections::BTreeMap;

use ctl_event::{EventKind, Outcome, RunEvent, TargetResult};

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
    results: Vec<(u64, &'a TargetResult)>,
    /// The starts of nodes, but for those that were only read again.
    visits: Vec<(u64, u32, &'a str)>,
}

impl<'a> LaterResults<'a> {
    fn read(events: &'a [RunEvent]) -> Self {
        let mut later = Self::default();
        for event in events {
            match &event.kind {
                EventKind::BatchStarted { batch, step, rechecks, .. } => {
                    later.batches.insert(*batch, (*step, *rechecks));
                }
                EventKind::NodeStarted { batch, node } => {
                    let started = later.batches.get(batch).filter(|(_, rechecks)| !rechecks);
                    later.visits.extend(started.map(|(step, _)| (event.seq, *step, node.as_str())));
                }
                EventKind::Result(result) => later.results.push((event.seq, result)),
                EventKind::RunStarted(_)
                | EventKind::RunFinished { .. }
                | EventKind::CancelBegan { .. }
                | EventKind::NodeFinished { .. }
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
            if *other_seq <= seq || other.node != own.node || other.role != own.role {
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
        // What was not started in one visit has its results of the next, whatever its services are called there.
        let is_open = matches!(own.outcome, Outcome::NotStarted | Outcome::Unknown) && own.item.is_none();
        let is_visited = |(other_seq, step, node): &(u64, u32, &str)| {
            *other_seq > seq && Some(*step) == own_step && *node == own.node
        };
        self.results.iter().any(is_later) || (is_open && self.visits.iter().any(is_visited))
    }
}
