//! The one fold from events to "now": which batches were started, which results there are, how many of what.
//!
//! Here live [`Ledger`] and [`Summary`]. They use nothing but this room's own types, do no I/O and know no clock: all
//! they know of time is in the events. What always holds: a target has at most one result in a batch, the first; the
//! order of [`Ledger::results`] does not depend on the order in which results came in; and a refused event changes
//! nothing. Start reading at [`Ledger::apply`].
//!
//! What the fold withstands: events that come twice, [`EventKind::Progress`] that is lost, which is the display's alone. It
//! tells of a gap in the numbers, and goes on. What it does not withstand: events out of order. A number below the highest one seen counts
//! as seen.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::OnceLock;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::{CancelReason, EventKind, NodeFacts, Outcome, RunEvent, RunHead, TargetResult, standby};

/// An event that does not fit what is known of the run.
///
/// [`Gap`](Self::Gap) apart, such an event has changed nothing.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LedgerError {
    /// Numbers are missing before this event; the event itself was applied.
    #[error("event {found} came where {expected} was due: those between are lost")]
    Gap {
        /// The number that was due.
        expected: u64,
        /// The number that came.
        found: u64,
    },
    /// The run has a head already.
    #[error("a second start, of run `{run}`")]
    SecondStart {
        /// Name of the run that the event speaks of.
        run: String,
    },
    /// The batch has begun already.
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
    /// All results of the node in this batch were said to be given.
    #[error("`{node}` had finished its batch when something more was told of it")]
    NodeWasFinished {
        /// The node.
        node: String,
        /// Number of the batch.
        batch: Option<u32>,
    },
    /// Nothing more was to happen.
    #[error("event {seq} came after the end of the run")]
    RunWasFinished {
        /// Number of the event.
        seq: u64,
    },
}

/// A batch as it was begun.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LedgerBatch {
    /// Its number, from 1 through the whole run.
    pub number: u32,
    /// The role whose step this is.
    pub role: Option<String>,
    /// Its nodes, in order.
    pub nodes: Vec<String>,
}

/// Facts folded into "now".
#[derive(Debug, Clone, Default)]
pub struct Ledger {
    head: Option<RunHead>,
    next_seq: u64,
    batches: Vec<LedgerBatch>,
    /// As they came; never taken out again.
    arrived: Vec<TargetResult>,
    /// The same in order of display, made when somebody asks.
    ordered: OnceLock<Vec<TargetResult>>,
    ended_targets: HashSet<LedgerKey>,
    facts: BTreeMap<String, NodeFacts>,
    counts: BTreeMap<Outcome, u64>,
    finished_visits: HashSet<(u32, String)>,
    cancel: Option<CancelReason>,
    elapsed: Duration,
    finished: bool,
}

/// What there is one result for.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct LedgerKey {
    batch: Option<u32>,
    node: String,
    role: Option<String>,
    supervisor: Option<String>,
    service: Option<String>,
}

impl Ledger {
    /// Takes one event in. An event whose number was seen already is ignored.
    ///
    /// # Errors
    ///
    /// [`LedgerError::Gap`] if numbers are missing before it: then it is applied all the same. Every other error is
    /// the refusal of an event that does not fit: then nothing is changed, but its number counts as seen.
    pub fn apply(&mut self, event: &RunEvent) -> Result<(), LedgerError> {
        if matches!(event.kind, EventKind::Progress { .. }) {
            return Ok(());
        }
        if event.seq < self.next_seq {
            return Ok(());
        }
        let expected = self.next_seq;
        self.next_seq = event.seq.saturating_add(1);
        if self.finished {
            return Err(LedgerError::RunWasFinished { seq: event.seq });
        }
        self.fold(&event.kind)?;
        self.elapsed = match &event.kind {
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
            | EventKind::NodeFinished { .. }
            | EventKind::CancelBegan { .. } => self.elapsed.max(event.elapsed),
        };
        if event.seq == expected { Ok(()) } else { Err(LedgerError::Gap { expected, found: event.seq }) }
    }

    /// What was asked of the run; none before it began.
    #[must_use]
    pub fn head(&self) -> Option<&RunHead> {
        self.head.as_ref()
    }

    /// The results so far, in order of batch, node as in its batch, supervisord, service.
    ///
    /// They are put in order when they are first asked for after a change: ask at the end rather than at each event.
    #[must_use]
    pub fn results(&self) -> &[TargetResult] {
        self.ordered.get_or_init(|| self.in_order())
    }

    /// What is known of the nodes beyond their results, in order of their names.
    #[must_use]
    pub fn facts(&self) -> Vec<NodeFacts> {
        self.facts.values().cloned().collect()
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

    /// The batch that was begun last.
    #[must_use]
    pub fn batch(&self) -> Option<&LedgerBatch> {
        self.batches.last()
    }

    /// The most urgent reason for which the run is being given up, if it is.
    #[must_use]
    pub fn cancel(&self) -> Option<CancelReason> {
        self.cancel
    }

    /// Whether nothing more will happen.
    #[must_use]
    pub fn is_finished(&self) -> bool {
        self.finished
    }

    /// How long the run had taken at its last kept event; once it is finished, how long it took.
    #[must_use]
    pub fn elapsed(&self) -> Duration {
        self.elapsed
    }

    /// The results so far, counted.
    #[must_use]
    pub fn summary(&self) -> Summary {
        let mut worst: HashMap<&str, Outcome> = HashMap::new();
        for result in &self.arrived {
            let known = worst.entry(&result.node).or_insert(result.outcome);
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

    /// Checks first, then changes: an error leaves everything as it was.
    fn fold(&mut self, kind: &EventKind) -> Result<(), LedgerError> {
        match kind {
            EventKind::RunStarted(head) => {
                if self.head.is_some() {
                    return Err(LedgerError::SecondStart { run: head.run.clone() });
                }
                self.head = Some(head.clone());
            }
            EventKind::BatchStarted { batch, role, nodes, .. } => {
                if self.batches.iter().any(|known| known.number == *batch) {
                    return Err(LedgerError::SecondBatch { batch: *batch });
                }
                self.batches.push(LedgerBatch { number: *batch, role: role.clone(), nodes: nodes.clone() });
            }
            EventKind::NodeStarted { batch, node } => self.refuse_finished(Some(*batch), node)?,
            EventKind::NodeFacts(facts) => {
                self.facts.insert(facts.node.clone(), facts.clone());
            }
            EventKind::Inspected { .. }
            | EventKind::LogLines(_)
            | EventKind::PendingUpdate(_)
            | EventKind::Notice { .. }
            | EventKind::Gate { .. }
            | EventKind::Progress { .. } => {}
            EventKind::Result(result) => self.take_result(result)?,
            EventKind::NodeFinished { batch, node } => {
                self.refuse_finished(Some(*batch), node)?;
                self.finished_visits.insert((*batch, node.clone()));
            }
            EventKind::CancelBegan { reason } => self.cancel = self.cancel.max(Some(*reason)),
            EventKind::RunFinished { .. } => {
                self.finished = true;
                if let Some(head) = self.head.as_ref().filter(|head| head.action.as_deref() == Some("status")) {
                    // Nothing comes after this.
                    let mut results = self.in_order();
                    standby::judge(&mut results, &head.selection);
                    self.ordered = OnceLock::from(results);
                }
            }
        }
        Ok(())
    }

    fn take_result(&mut self, result: &TargetResult) -> Result<(), LedgerError> {
        self.refuse_finished(result.batch, &result.node)?;
        let key = LedgerKey {
            batch: result.batch,
            node: result.node.clone(),
            role: result.role.clone(),
            supervisor: result.supervisor.clone(),
            service: result.service.clone(),
        };
        if !self.ended_targets.insert(key) {
            return Err(LedgerError::SecondResult {
                node: result.node.clone(),
                batch: result.batch,
                supervisor: result.supervisor.clone(),
                service: result.service.clone(),
            });
        }
        *self.counts.entry(result.outcome).or_insert(0) += 1;
        self.ordered = OnceLock::new();
        self.arrived.push(result.clone());
        Ok(())
    }

    /// A result without a batch is taken for one of the batch that was begun last.
    /// What is told of no batch can come at any time: a node that is not begun in a later step.
    fn refuse_finished(&self, batch: Option<u32>, node: &str) -> Result<(), LedgerError> {
        let finished = batch.is_some_and(|batch| self.finished_visits.contains(&(batch, node.to_owned())));
        if finished { Err(LedgerError::NodeWasFinished { node: node.to_owned(), batch }) } else { Ok(()) }
    }

    fn in_order(&self) -> Vec<TargetResult> {
        let mut places: HashMap<(u32, &str), usize> = HashMap::new();
        for batch in &self.batches {
            for (place, node) in batch.nodes.iter().enumerate() {
                places.entry((batch.number, node)).or_insert(place);
            }
        }
        let mut keyed: Vec<_> = self
            .arrived
            .iter()
            .map(|result| {
                let batch = result.batch.unwrap_or(u32::MAX);
                let place = places.get(&(batch, result.node.as_str())).copied().unwrap_or(usize::MAX);
                let target = (&result.node, &result.supervisor, &result.service, &result.role);
                ((batch, place, target), result)
            })
            .collect();
        keyed.sort_by_key(|(key, _)| *key);
        keyed.into_iter().map(|(_, result)| result.clone()).collect()
    }
}

fn count(length: usize) -> u64 {
    u64::try_from(length).unwrap_or(u64::MAX)
}

/// Results, counted: the `summary` of the JSON output, in its order.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Summary {
    /// Number of nodes that have results.
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
    use crate::event::ActivityPhase;

    fn head() -> RunHead {
        RunHead {
            run: "r".to_owned(),
            command: "service".to_owned(),
            action: Some("restart".to_owned()),
            services: Vec::new(),
            started: jiff::Timestamp::UNIX_EPOCH,
            nodes: 3,
            selection: crate::event::RunScope::default(),
            input: None,
        }
    }

    fn event(seq: u64, kind: EventKind) -> RunEvent {
        RunEvent { seq, at: jiff::Timestamp::UNIX_EPOCH, elapsed: Duration::from_millis(seq), kind }
    }

    /// Numbers the events as a run does.
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
    fn what_does_not_fit_is_refused() {
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
        // The same service in another batch is another target.
        assert_eq!(begin().apply(&event(4, result(2, "a", "x", Outcome::Ok))), Ok(()));
    }

    #[test]
    fn a_gap_is_told_and_the_event_kept() {
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

    /// Everything that a ledger tells.
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

    /// A run as a dispatcher could make it, cut short anywhere: batches of nodes, each node with some services.
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
            // After each event any of those before it, once more.
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
