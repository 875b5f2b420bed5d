//! Folds events into the current state of a run: the batches started, the results, and their counts.
//!
//! Here live [`Ledger`] and [`Summary`]. They use only the types of this module, do no I/O and read no clock: all times
//! come from the events. Invariants: a target has at most one result per batch, the first; the order of
//! [`Ledger::results`] does not depend on the order in which results arrived; and a rejected event changes nothing.
//! Start reading at [`Ledger::apply`].
//!
//! The fold tolerates repeated events, and lost [`EventKind::Progress`], which only the display uses. It reports a gap
//! in the numbers, and continues. It does not tolerate reordering: a number below the highest one so far counts as a
//! repetition.

use std::collections::hash_map::RandomState;
use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::hash::BuildHasher as _;
use std::sync::OnceLock;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::{
    CancelReason, EventKind, ItemLabel, ItemScopes, KeptItem, NodeFacts, Outcome, RunEvent, RunHead, TargetResult,
    standby,
};

/// An event that contradicts the state of the run.
///
/// Except for [`Gap`](Self::Gap), such an event has changed nothing.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LedgerError {
    /// Events are missing before this one, which was applied.
    #[error("event {found} came where {expected} was due: those between are lost")]
    Gap {
        /// The expected number.
        expected: u64,
        /// The actual number.
        found: u64,
    },
    /// The run has started already.
    #[error("a second start, of run `{run}`")]
    SecondStart {
        /// Name of the run in the event.
        run: String,
    },
    /// The batch has started already.
    #[error("a second start of batch {batch}")]
    SecondBatch {
        /// Number of the batch.
        batch: u32,
    },
    /// The target has a result in this batch already.
    #[error("a second result for `{}` of `{node}`", service.as_deref().unwrap_or("-"))]
    SecondResult {
        /// The node.
        node: String,
        /// Number of the batch.
        batch: Option<u32>,
        /// The supervisord instance.
        supervisor: Option<String>,
        /// The service.
        service: Option<String>,
    },
    /// The node has finished this batch already.
    #[error("`{node}` had finished its batch when something more was told of it")]
    NodeWasFinished {
        /// The node.
        node: String,
        /// Number of the batch.
        batch: Option<u32>,
    },
    /// The run has finished already.
    #[error("event {seq} came after the end of the run")]
    RunWasFinished {
        /// Number of the event.
        seq: u64,
    },
}

/// A batch at its start.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LedgerBatch {
    /// Its number, counted from 1 across the whole run.
    pub number: u32,
    /// The role of its step.
    pub role: Option<String>,
    /// Its nodes, in order.
    pub nodes: Vec<String>,
}

/// The current state of a run.
#[derive(Debug, Clone, Default)]
pub struct Ledger {
    head: Option<RunHead>,
    next_seq: u64,
    batches: Vec<LedgerBatch>,
    batch_numbers: HashSet<u32>,
    /// In order of arrival; append-only. Empty once the run has finished.
    arrived: Vec<TargetResult>,
    /// In display order, built on demand. All there is once the run has finished.
    ordered: OnceLock<Vec<TargetResult>>,
    /// The hash of each target that has a result, and the place of that in `arrived`: the targets themselves, kept a second
    /// time, would take as much memory as their results.
    ended_targets: BTreeSet<(u64, usize)>,
    hasher: RandomState,
    /// By node. Empty once the run has finished.
    facts: BTreeMap<String, NodeFacts>,
    /// The same as a list, built on demand. All there is once the run has finished.
    listed_facts: OnceLock<Vec<NodeFacts>>,
    counts: BTreeMap<Outcome, u64>,
    /// The scopes of the items of sequences.
    scopes: ItemScopes,
    /// The batches that each node has finished.
    finished_visits: HashMap<String, BTreeSet<u32>>,
    cancel: Option<CancelReason>,
    elapsed: Duration,
    finished: bool,
}

/// Identifies a target in a batch: each has one result.
#[derive(PartialEq, Eq, Hash)]
struct LedgerKey<'a> {
    batch: Option<u32>,
    node: &'a str,
    role: Option<&'a str>,
    supervisor: Option<&'a str>,
    service: Option<&'a str>,
    item: Option<&'a ItemLabel>,
}

impl<'a> From<&'a TargetResult> for LedgerKey<'a> {
    fn from(result: &'a TargetResult) -> Self {
        Self {
            batch: result.batch,
            node: &result.node,
            role: result.role.as_deref(),
            supervisor: result.supervisor.as_deref(),
            service: result.service.as_deref(),
            item: result.item.as_ref(),
        }
    }
}

impl Ledger {
    /// Applies one event. An event with a number that was seen already is ignored.
    ///
    /// # Errors
    ///
    /// [`LedgerError::Gap`] if events are missing before it: the event is applied anyway. Every other error rejects an
    /// event that contradicts the state: nothing changes, but its number counts as seen.
    pub fn apply(&mut self, event: &RunEvent) -> Result<(), LedgerError> {
        // Progress shares its number with the next kept event, so it must not count as seen.
        if matches!(event.kind, EventKind::Progress { .. }) {
            return Ok(());
        }
        // A repetition: it is applied already.
        if event.seq < self.next_seq {
            return Ok(());
        }
        let expected = self.next_seq;
        // Advance before the checks: a rejected event must not turn the next one into a gap.
        // Saturate: a damaged journal may hold the highest number.
        self.next_seq = event.seq.saturating_add(1);
        if self.finished {
            return Err(LedgerError::RunWasFinished { seq: event.seq });
        }
        self.fold(&event.kind)?;
        self.elapsed = match &event.kind {
            // The total that the run itself reports counts, even if an earlier controller ran for longer.
            EventKind::RunFinished { elapsed_ms } => Duration::from_millis(*elapsed_ms),
            EventKind::RunStarted(_)
            | EventKind::BatchStarted { .. }
            | EventKind::NodeStarted { .. }
            | EventKind::Progress { .. }
            | EventKind::Inspected { .. }
            | EventKind::NodeFacts(_)
            | EventKind::LogLines(_)
            | EventKind::PendingUpdate(_)
            | EventKind::Notice { .. }
            | EventKind::Gate { .. }
            | EventKind::Result(_)
            | EventKind::Item(_)
            | EventKind::NodeFinished { .. }
            // `max`, since each controller of a resumed run starts its clock at 0.
            | EventKind::CancelBegan { .. } => self.elapsed.max(event.elapsed),
        };
        // Report the gap only now: the event itself is valid, and has been applied.
        if event.seq == expected { Ok(()) } else { Err(LedgerError::Gap { expected, found: event.seq }) }
    }

    /// The request of the run; none before it starts.
    #[must_use]
    pub fn head(&self) -> Option<&RunHead> {
        self.head.as_ref()
    }

    /// The results so far, by batch, then by node as in its batch, supervisord and service.
    ///
    /// The first call after a change sorts them, so call it at the end rather than at each event.
    #[must_use]
    pub fn results(&self) -> &[TargetResult] {
        self.ordered.get_or_init(|| self.in_order())
    }

    /// The facts about the nodes beyond their results, by name.
    #[must_use]
    pub fn facts(&self) -> &[NodeFacts] {
        self.listed_facts.get_or_init(|| self.facts.values().cloned().collect())
    }

    /// The items of sequences that were not taken back; none if nothing was to be.
    #[must_use]
    pub fn kept(&self) -> Option<Vec<KeptItem>> {
        self.scopes.kept()
    }

    /// Number of results so far.
    #[must_use]
    pub fn result_count(&self) -> u64 {
        self.counts.values().sum()
    }

    /// Number of results so far with this outcome.
    #[must_use]
    pub fn count(&self, outcome: Outcome) -> u64 {
        self.counts.get(&outcome).copied().unwrap_or(0)
    }

    /// The batch that started last.
    #[must_use]
    pub fn batch(&self) -> Option<&LedgerBatch> {
        self.batches.last()
    }

    /// The most urgent reason to end the run, if there is one.
    #[must_use]
    pub fn cancel(&self) -> Option<CancelReason> {
        self.cancel
    }

    /// Whether the run has ended.
    #[must_use]
    pub fn is_finished(&self) -> bool {
        self.finished
    }

    /// Elapsed time of the run at its last kept event; once it has ended, its total.
    #[must_use]
    pub fn elapsed(&self) -> Duration {
        self.elapsed
    }

    /// The counts of the results so far.
    #[must_use]
    pub fn summary(&self) -> Summary {
        let mut worst: HashMap<&str, Outcome> = HashMap::new();
        // Once the run has finished they are all in order, and nothing is left behind.
        let finished = self.ordered.get().filter(|_| self.finished);
        for result in finished.unwrap_or(&self.arrived) {
            let known = worst.entry(&result.node).or_insert(result.outcome);
            // The order of the outcomes is their severity.
            *known = result.outcome.max(*known);
        }
        let mut nodes_by_outcome = BTreeMap::new();
        for outcome in worst.values() {
            *nodes_by_outcome.entry(*outcome).or_insert(0) += 1;
        }
        Summary {
            nodes: count(worst.len()),
            results: self.result_count(),
            ok: self.count(Outcome::Ok),
            changed: self.count(Outcome::Changed),
            failed: self.count(Outcome::Failed),
            unreachable: self.count(Outcome::Unreachable),
            timed_out: self.count(Outcome::TimedOut),
            not_configured: self.count(Outcome::NotConfigured),
            skipped: self.count(Outcome::Skipped),
            not_started: self.count(Outcome::NotStarted),
            unknown: self.count(Outcome::Unknown),
            nodes_by_outcome,
        }
    }

    /// Checks first, then changes, so that an error leaves the state as it was.
    fn fold(&mut self, kind: &EventKind) -> Result<(), LedgerError> {
        match kind {
            EventKind::RunStarted(head) => {
                if self.head.is_some() {
                    return Err(LedgerError::SecondStart { run: head.run.clone() });
                }
                self.head = Some(head.clone());
            }
            EventKind::BatchStarted { batch, role, nodes, .. } => {
                if !self.batch_numbers.insert(*batch) {
                    return Err(LedgerError::SecondBatch { batch: *batch });
                }
                self.batches.push(LedgerBatch { number: *batch, role: role.clone(), nodes: nodes.clone() });
            }
            // A start changes no state, but must not follow the node's end.
            EventKind::NodeStarted { batch, node } => self.refuse_finished(Some(*batch), node)?,
            EventKind::NodeFacts(facts) => {
                self.facts.insert(facts.node.clone(), facts.clone());
                self.listed_facts = OnceLock::new();
            }
            // These are shown or compared as they arrive; the state of the run does not depend on them.
            EventKind::Inspected { .. }
            | EventKind::LogLines(_)
            | EventKind::PendingUpdate(_)
            | EventKind::Notice { .. }
            | EventKind::Gate { .. }
            | EventKind::Progress { .. } => {}
            EventKind::Item(event) => self.scopes.note(event),
            EventKind::Result(result) => self.take_result(result)?,
            EventKind::NodeFinished { batch, node } => {
                self.refuse_finished(Some(*batch), node)?;
                self.finished_visits.entry(node.clone()).or_default().insert(*batch);
            }
            // Ctrl-C during another cancellation raises the reason, never lowers it.
            EventKind::CancelBegan { reason } => self.cancel = self.cancel.max(Some(*reason)),
            EventKind::RunFinished { .. } => {
                self.finished = true;
                // No result follows: they are put in order where they are, and not copied.
                let order = self.order();
                let mut results = std::mem::take(&mut self.arrived);
                put_in_order(&mut results, order);
                if let Some(head) = self.head.as_ref().filter(|head| head.action.as_deref() == Some("status")) {
                    // Standby can only be judged on the complete set.
                    standby::judge(&mut results, &head.selection);
                }
                self.ordered = OnceLock::from(results);
                self.listed_facts = OnceLock::from(std::mem::take(&mut self.facts).into_values().collect::<Vec<_>>());
            }
        }
        Ok(())
    }

    fn take_result(&mut self, result: &TargetResult) -> Result<(), LedgerError> {
        self.refuse_finished(result.batch, &result.node)?;
        let key = LedgerKey::from(result);
        let hash = self.hasher.hash_one(&key);
        let is_same = |place: usize| self.arrived.get(place).is_some_and(|known| LedgerKey::from(known) == key);
        // The first result counts: a late second one cannot overwrite a result that was shown.
        if self.ended_targets.range((hash, 0)..=(hash, usize::MAX)).any(|(_, place)| is_same(*place)) {
            return Err(LedgerError::SecondResult {
                node: result.node.clone(),
                batch: result.batch,
                supervisor: result.supervisor.clone(),
                service: result.service.clone(),
            });
        }
        *self.counts.entry(result.outcome).or_insert(0) += 1;
        self.ended_targets.insert((hash, self.arrived.len()));
        // A new result invalidates the sorted copy.
        self.ordered = OnceLock::new();
        self.arrived.push(result.clone());
        Ok(())
    }

    /// Rejects an event for a node that has finished its batch.
    ///
    /// An event without a batch can come at any time, such as the result of a node that a later step does not start.
    fn refuse_finished(&self, batch: Option<u32>, node: &str) -> Result<(), LedgerError> {
        let visits = self.finished_visits.get(node);
        let finished = batch.is_some_and(|batch| visits.is_some_and(|visits| visits.contains(&batch)));
        if finished { Err(LedgerError::NodeWasFinished { node: node.to_owned(), batch }) } else { Ok(()) }
    }

    fn in_order(&self) -> Vec<TargetResult> {
        self.order().into_iter().filter_map(|place| self.arrived.get(place).cloned()).collect()
    }

    /// The places of the results in `arrived`, in display order.
    fn order(&self) -> Vec<usize> {
        let mut places: HashMap<(u32, &str), usize> = HashMap::new();
        for batch in &self.batches {
            for (place, node) in batch.nodes.iter().enumerate() {
                // A node that its batch lists twice keeps its first place.
                places.entry((batch.number, node)).or_insert(place);
            }
        }
        let mut keyed: Vec<_> = self
            .arrived
            .iter()
            .enumerate()
            .map(|(index, result)| {
                // Results without a batch, and nodes outside their batch, come last.
                let batch = result.batch.unwrap_or(u32::MAX);
                let place = places.get(&(batch, result.node.as_str())).copied().unwrap_or(usize::MAX);
                // Together with the batch, this is the whole key of a target, so the order never depends on the
                // arrival.
                // The items of a sequence come in their order, which is that of their labels.
                let target = (&result.node, &result.item, &result.supervisor, &result.service, &result.role);
                ((batch, place, target), index)
            })
            .collect();
        keyed.sort_by_key(|(key, _)| *key);
        keyed.into_iter().map(|(_, index)| index).collect()
    }
}

/// Puts each item at the place whose number in `order` is that of the item's own place; every place occurs there once.
fn put_in_order<T>(items: &mut [T], mut order: Vec<usize>) {
    for start in 0..order.len() {
        let mut at = start;
        // Each round of places that take each other's items is followed once; the item that is in the way is carried along.
        while order[at] != start {
            let from = order[at];
            items.swap(at, from);
            order[at] = at;
            at = from;
        }
        order[at] = at;
    }
}

fn count(length: usize) -> u64 {
    u64::try_from(length).unwrap_or(u64::MAX)
}

/// Results and nodes, counted.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Summary {
    /// Number of nodes with results.
    pub nodes: u64,
    /// Number of results.
    pub results: u64,
    /// Results with [`Outcome::Ok`].
    pub ok: u64,
    /// Results with [`Outcome::Changed`].
    pub changed: u64,
    /// Results with [`Outcome::Failed`].
    pub failed: u64,
    /// Results with [`Outcome::Unreachable`].
    pub unreachable: u64,
    /// Results with [`Outcome::TimedOut`].
    pub timed_out: u64,
    /// Results with [`Outcome::NotConfigured`].
    pub not_configured: u64,
    /// Results with [`Outcome::Skipped`].
    pub skipped: u64,
    /// Results with [`Outcome::NotStarted`].
    pub not_started: u64,
    /// Results with [`Outcome::Unknown`].
    pub unknown: u64,
    /// Number of nodes under each outcome that is the worst of at least one node.
    #[cfg_attr(feature = "schema", schemars(extend("propertyNames" = {"$ref": "#/$defs/Outcome"})))]
    pub nodes_by_outcome: BTreeMap<Outcome, u64>,
}

impl Summary {
    /// Number of results with this outcome.
    #[must_use]
    pub const fn count(&self, outcome: Outcome) -> u64 {
        match outcome {
            Outcome::NotConfigured => self.not_configured,
            Outcome::Ok => self.ok,
            Outcome::Changed => self.changed,
            Outcome::Skipped => self.skipped,
            Outcome::NotStarted => self.not_started,
            Outcome::Unreachable => self.unreachable,
            Outcome::TimedOut => self.timed_out,
            Outcome::Failed => self.failed,
            Outcome::Unknown => self.unknown,
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::ActivityPhase;

    proptest! {
        #[test]
        fn items_are_put_in_any_order(order in Just((0_usize..12).collect::<Vec<_>>()).prop_shuffle()) {
            let mut items: Vec<usize> = (0..12).collect();
            put_in_order(&mut items, order.clone());
            prop_assert_eq!(items, order);
        }
    }

    fn head() -> RunHead {
        RunHead {
            run: "r".to_owned(),
            command: "service".to_owned(),
            action: Some("restart".to_owned()),
            services: Vec::new(),
            started: jiff::Timestamp::UNIX_EPOCH,
            nodes: 3,
            selection: crate::RunScope::default(),
            input: None,
        }
    }

    fn event(seq: u64, kind: EventKind) -> RunEvent {
        RunEvent { seq, at: jiff::Timestamp::UNIX_EPOCH, elapsed: Duration::from_millis(seq), kind }
    }

    /// Numbers the events like a run.
    fn numbered(kinds: impl IntoIterator<Item = EventKind>) -> Vec<RunEvent> {
        let mut seq = 0;
        let number = |kind| {
            let kept = !matches!(kind, EventKind::Progress { .. });
            let event = event(seq, kind);
            seq += u64::from(kept);
            event
        };
        kinds.into_iter().map(number).collect()
    }

    fn batch(batch: u32, nodes: &[&str]) -> EventKind {
        EventKind::BatchStarted {
            batch,
            step: 0,
            role: None,
            nodes: nodes.iter().map(|node| (*node).to_owned()).collect(),
            rechecks: false,
        }
    }

    fn started(batch: u32, node: &str) -> EventKind {
        EventKind::NodeStarted { batch, node: node.to_owned() }
    }

    fn finished(batch: u32, node: &str) -> EventKind {
        EventKind::NodeFinished { batch, node: node.to_owned() }
    }

    fn phase(node: &str, phase: &str) -> EventKind {
        EventKind::Progress { node: Some(node.to_owned()), phase: ActivityPhase::work(phase) }
    }

    fn result(batch: u32, node: &str, service: &str, outcome: Outcome) -> EventKind {
        EventKind::Result(TargetResult {
            batch: Some(batch),
            supervisor: Some("supervisor-analytics".to_owned()),
            service: Some(service.to_owned()),
            ..TargetResult::new(node, outcome)
        })
    }

    fn fold(kinds: impl IntoIterator<Item = EventKind>) -> Ledger {
        let mut ledger = Ledger::default();
        for event in numbered(kinds) {
            ledger.apply(&event).expect("an event that fits");
        }
        ledger
    }

    #[test]
    fn results_stand_in_the_order_of_batches_and_not_of_arrival() {
        let ledger = fold([
            batch(1, &["b", "a"]),
            result(1, "a", "z", Outcome::Ok),
            batch(2, &["c"]),
            result(2, "c", "y", Outcome::Ok),
            result(1, "b", "y", Outcome::Ok),
            result(1, "stranger", "y", Outcome::Ok),
            result(1, "b", "x", Outcome::Ok),
        ]);
        let order: Vec<_> =
            ledger.results().iter().map(|result| (result.node.as_str(), result.service.as_deref())).collect();
        let wanted = [("b", "x"), ("b", "y"), ("a", "z"), ("stranger", "y"), ("c", "y")];
        assert_eq!(order, wanted.map(|(node, service)| (node, Some(service))));
    }

    #[test]
    fn results_asked_for_early_do_not_hide_later_ones() {
        let mut ledger = fold([result(1, "a", "x", Outcome::Ok)]);
        assert_eq!(ledger.results().len(), 1);
        ledger.apply(&event(1, result(1, "a", "y", Outcome::Ok))).expect("an event that fits");
        assert_eq!(ledger.results().len(), 2);
    }

    #[test]
    fn a_node_counts_under_its_worst() {
        let ledger = fold([
            result(1, "a", "x", Outcome::Changed),
            result(2, "a", "x", Outcome::Failed),
            result(1, "b", "x", Outcome::NotConfigured),
            result(1, "b", "y", Outcome::Ok),
            result(1, "c", "x", Outcome::NotConfigured),
        ]);
        let summary = ledger.summary();
        assert_eq!((summary.nodes, summary.results), (3, 5));
        assert_eq!((summary.changed, summary.failed, summary.ok, summary.not_configured), (1, 1, 1, 2));
        let by_outcome = [(Outcome::NotConfigured, 1), (Outcome::Ok, 1), (Outcome::Failed, 1)];
        assert_eq!(summary.nodes_by_outcome, BTreeMap::from(by_outcome));
        assert_eq!(Outcome::ALL.iter().map(|outcome| summary.count(*outcome)).sum::<u64>(), summary.results);
    }

    #[test]
    fn contradictory_events_are_rejected() {
        let begin = || {
            fold([
                EventKind::RunStarted(head()),
                batch(1, &["a", "b"]),
                result(1, "a", "x", Outcome::Ok),
                finished(1, "b"),
            ])
        };
        let second = LedgerError::SecondResult {
            node: "a".to_owned(),
            batch: Some(1),
            supervisor: Some("supervisor-analytics".to_owned()),
            service: Some("x".to_owned()),
        };
        let late = || LedgerError::NodeWasFinished { node: "b".to_owned(), batch: Some(1) };
        let table = [
            (result(1, "a", "x", Outcome::Failed), second),
            (result(1, "b", "x", Outcome::Ok), late()),
            (started(1, "b"), late()),
            (finished(1, "b"), late()),
            (batch(1, &["c"]), LedgerError::SecondBatch { batch: 1 }),
            (EventKind::RunStarted(head()), LedgerError::SecondStart { run: "r".to_owned() }),
        ];
        for (kind, wanted) in table {
            let mut ledger = begin();
            assert_eq!(ledger.apply(&event(4, kind)), Err(wanted));
            assert_eq!(view(&ledger), LedgerView { next_seq: 5, ..view(&begin()) });
        }
        // In another batch the same service is another target.
        assert_eq!(begin().apply(&event(4, result(2, "a", "x", Outcome::Ok))), Ok(()));
    }

    #[test]
    fn a_gap_is_reported_and_the_event_kept() {
        let mut ledger = fold([EventKind::RunStarted(head())]);
        let gap = LedgerError::Gap { expected: 1, found: 7 };
        assert_eq!(ledger.apply(&event(7, result(1, "a", "x", Outcome::Ok))), Err(gap));
        assert_eq!(ledger.result_count(), 1);
        assert_eq!(ledger.apply(&event(8, result(1, "a", "y", Outcome::Ok))), Ok(()));
    }

    #[test]
    fn nothing_comes_after_the_end() {
        let mut ledger = fold([started(1, "a"), EventKind::RunFinished { elapsed_ms: 812 }]);
        assert!(ledger.is_finished());
        assert_eq!(ledger.elapsed(), Duration::from_millis(812));
        assert_eq!(
            ledger.apply(&event(2, result(1, "a", "x", Outcome::Ok))),
            Err(LedgerError::RunWasFinished { seq: 2 })
        );
        assert_eq!(ledger.apply(&event(1, EventKind::RunFinished { elapsed_ms: 9 })), Ok(()));
        assert_eq!(ledger.elapsed(), Duration::from_millis(812));
    }

    #[test]
    fn the_reason_only_rises() {
        let cancel = |reason| EventKind::CancelBegan { reason };
        assert_eq!(fold([]).cancel(), None);
        let ledger = fold([cancel(CancelReason::Terminated), cancel(CancelReason::Interrupted)]);
        assert_eq!(ledger.cancel(), Some(CancelReason::Terminated));
    }

    #[test]
    fn the_summary_is_that_of_the_contract() {
        let ledger = fold([
            result(1, "a", "x", Outcome::Changed),
            result(1, "b", "x", Outcome::Changed),
            result(1, "c", "x", Outcome::Changed),
        ]);
        let wanted = concat!(
            r#"{"nodes":3,"results":3,"ok":0,"changed":3,"failed":0,"unreachable":0,"timed_out":0,"#,
            r#""not_configured":0,"skipped":0,"not_started":0,"unknown":0,"nodes_by_outcome":{"changed":3}}"#
        );
        assert_eq!(serde_json::to_string(&ledger.summary()).expect("JSON"), wanted);
    }

    /// The whole visible state of a ledger.
    #[derive(Debug, PartialEq)]
    struct LedgerView {
        next_seq: u64,
        head: Option<RunHead>,
        batches: Vec<LedgerBatch>,
        results: Vec<TargetResult>,
        cancel: Option<CancelReason>,
        elapsed: Duration,
        finished: bool,
        summary: Summary,
    }

    fn view(ledger: &Ledger) -> LedgerView {
        LedgerView {
            next_seq: ledger.next_seq,
            head: ledger.head().cloned(),
            batches: ledger.batches.clone(),
            results: ledger.results().to_vec(),
            cancel: ledger.cancel(),
            elapsed: ledger.elapsed(),
            finished: ledger.is_finished(),
            summary: ledger.summary(),
        }
    }

    /// Any run of a dispatcher, cut off anywhere: batches of nodes, each node with some services.
    fn any_run() -> impl Strategy<Value = Vec<RunEvent>> {
        let outcome = proptest::sample::select(Outcome::ALL);
        let services = proptest::collection::vec(outcome, 0..4);
        let nodes = proptest::collection::vec(services, 0..4);
        let batches = proptest::collection::vec(nodes, 0..4);
        (batches, any::<proptest::sample::Index>(), any::<bool>()).prop_map(|(batches, end, cancelled)| {
            let mut kinds = vec![EventKind::RunStarted(head())];
            for (batch_index, nodes) in batches.iter().enumerate() {
                let number = u32::try_from(batch_index).expect("few batches") + 1;
                let names: Vec<String> = (0..nodes.len()).rev().map(|index| format!("node{index}")).collect();
                kinds.push(batch(number, &names.iter().map(String::as_str).collect::<Vec<_>>()));
                kinds.extend(names.iter().map(|name| started(number, name)));
                for (name, outcomes) in names.iter().zip(nodes) {
                    kinds.push(phase(name, "connecting"));
                    for (service, outcome) in outcomes.iter().enumerate() {
                        kinds.push(result(number, name, &format!("service{service}"), *outcome));
                        kinds.push(phase(name, "going on"));
                    }
                    kinds.push(finished(number, name));
                }
            }
            if cancelled {
                kinds.push(EventKind::CancelBegan { reason: CancelReason::Interrupted });
            }
            kinds.push(EventKind::RunFinished { elapsed_ms: 812 });
            kinds.truncate(end.index(kinds.len()) + 1);
            numbered(kinds)
        })
    }

    fn folded<'a>(events: impl IntoIterator<Item = &'a RunEvent>) -> LedgerView {
        let mut ledger = Ledger::default();
        for event in events {
            ledger.apply(event).expect("an event that fits");
        }
        view(&ledger)
    }

    proptest! {
        #[test]
        fn events_that_come_again_change_nothing(
            events in any_run(),
            again in proptest::collection::vec(any::<proptest::sample::Index>(), 64),
        ) {
            let wanted = folded(&events);
            prop_assert_eq!(&folded(events.iter().flat_map(|event| [event, event])), &wanted);
            // Repeats a random earlier event after each event.
            let repeated = events.iter().enumerate().flat_map(|(place, event)| {
                let earlier = again.get(place % again.len()).and_then(|index| events.get(index.index(place + 1)));
                [Some(event), earlier].into_iter().flatten()
            });
            prop_assert_eq!(&folded(repeated), &wanted);
            prop_assert_eq!(&folded(events.iter().chain(&events)), &wanted);
        }

        #[test]
        fn progress_that_is_lost_changes_nothing(events in any_run(), lost in any::<u64>()) {
            let wanted = folded(&events);
            let is_progress = |event: &RunEvent| matches!(event.kind, EventKind::Progress { .. });
            prop_assert_eq!(&folded(events.iter().filter(|event| !is_progress(event))), &wanted);
            let some = events.iter().enumerate();
            let some = some.filter(|(place, event)| !is_progress(event) || lost >> (place % 64) & 1 == 0);
            prop_assert_eq!(&folded(some.map(|(_, event)| event)), &wanted);
        }

        #[test]
        fn every_result_is_counted_once(events in any_run()) {
            let given = events.iter().filter(|event| matches!(event.kind, EventKind::Result(_))).count();
            let view = folded(&events);
            prop_assert_eq!(view.results.len(), given);
            prop_assert_eq!(view.summary.results, given as u64);
            prop_assert_eq!(view.summary.nodes_by_outcome.values().sum::<u64>(), view.summary.nodes);
        }
    }
}
