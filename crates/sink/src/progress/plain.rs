//! Progress without redrawing: one line per batch, and one at the start of a long wait.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Write;

use nodeset::NodeSet;

use super::super::{Sink, SinkError, text};
use super::lines::of;
use super::tally::{RunOutline, RunPosition, RunTally};
use ctl_event::{ActivityPhase, EventKind, Ledger, Outcome, PhaseKind, RunEvent, TargetResult};

/// One line per batch of a run that has several.
pub struct PlainProgressSink {
    out: Box<dyn Write + Send>,
    tally: RunTally,
    batch: Option<OpenBatch>,
    /// Locks whose wait has been reported.
    locks: BTreeSet<String>,
}

/// A batch whose line is not written yet.
struct OpenBatch {
    number: u32,
    nodes: Vec<String>,
    in_progress: BTreeSet<String>,
    outcomes: BTreeMap<String, Outcome>,
}

impl OpenBatch {
    fn take(&mut self, result: &TargetResult) {
        if result.batch == Some(self.number) {
            let worst = self.outcomes.entry(result.node.clone()).or_insert(result.outcome);
            *worst = result.outcome.max(*worst);
        }
    }

    /// `cfg02 … 1 changed`
    fn text(&self) -> String {
        let mut counts: BTreeMap<Outcome, usize> = BTreeMap::new();
        for outcome in self.outcomes.values() {
            *counts.entry(*outcome).or_insert(0) += 1;
        }
        let mut counts: Vec<String> =
            counts.iter().rev().map(|(outcome, count)| format!("{count} {outcome}")).collect();
        if !self.in_progress.is_empty() {
            counts.push(format!("{} not finished", self.in_progress.len()));
        }
        format!("{} … {}", NodeSet::from_names(&self.nodes), counts.join(", "))
    }
}

impl PlainProgressSink {
    /// Writes the progress of a run with this outline to `out`.
    #[must_use]
    pub fn new(outline: RunOutline, out: Box<dyn Write + Send>) -> Self {
        Self { out, tally: RunTally::new(outline), batch: None, locks: BTreeSet::new() }
    }

    /// Progress is optional, so a failed write is ignored.
    fn say(&mut self, line: &str) {
        drop(writeln!(self.out, "{}", text::single_line(line)).and_then(|()| self.out.flush()));
    }

    fn end_batch(&mut self) {
        let (Some(batch), Some(position)) = (self.batch.take(), self.tally.batch()) else { return };
        // A run of one batch needs no line: its results follow at once.
        if position.number == 1 && position.of.is_none_or(|of| of < 2) {
            return;
        }
        let step = self.tally.step().map(|step| {
            let name = step.name.as_ref().map(|name| format!(" ({name})")).unwrap_or_default();
            format!("step {}{name}, ", of(&step))
        });
        let role = position.name.as_ref().map(|role| format!(" of {role}")).unwrap_or_default();
        let line = format!("{}batch {}{role}: {}", step.unwrap_or_default(), of(&position), batch.text());
        self.say(&line);
    }

    fn wait(&mut self, node: Option<&str>, phase: &ActivityPhase) {
        let limit = phase.limit.map(|limit| limit.as_secs());
        match (phase.kind, node) {
            (PhaseKind::Pause, _) if !phase.is_over() => {
                let next = self.tally.batch().map(|batch| RunPosition { number: batch.number + 1, ..batch });
                let next = next.map(|next| format!(" before batch {}", of(&next))).unwrap_or_default();
                self.say(&format!("pausing {} s{next}", limit.unwrap_or_default()));
            }
            // The wait is reported repeatedly, but one line per node is enough.
            (PhaseKind::Lock, Some(node)) if self.locks.insert(node.to_owned()) => {
                let why = phase.why.as_deref().unwrap_or_default();
                let limit = limit.map(|limit| format!(", up to {limit} s")).unwrap_or_default();
                self.say(&format!("waiting for {node}: {why}{limit}"));
            }
            (PhaseKind::Pause | PhaseKind::Lock | PhaseKind::Work | PhaseKind::Gate, _) => {}
        }
    }
}

impl Sink for PlainProgressSink {
    fn event(&mut self, event: &RunEvent, _ledger: &Ledger) -> Result<(), SinkError> {
        if let EventKind::BatchStarted { .. } | EventKind::RunFinished { .. } = &event.kind {
            self.end_batch();
        }
        self.tally.apply(&event.kind);
        match &event.kind {
            EventKind::BatchStarted { batch, nodes, .. } => {
                let (nodes, in_progress) = (nodes.clone(), nodes.iter().cloned().collect());
                self.batch = Some(OpenBatch { number: *batch, nodes, in_progress, outcomes: BTreeMap::new() });
            }
            EventKind::Result(result) => self.batch.iter_mut().for_each(|batch| batch.take(result)),
            EventKind::NodeFinished { batch, node } => {
                let open = self.batch.as_mut().filter(|open| open.number == *batch);
                if open.is_some_and(|open| open.in_progress.remove(node) && open.in_progress.is_empty()) {
                    self.end_batch();
                }
            }
            EventKind::Progress { node, phase } => self.wait(node.as_deref(), phase),
            EventKind::RunStarted(_)
            | EventKind::NodeStarted { .. }
            | EventKind::Inspected { .. }
            | EventKind::NodeFacts(_)
            | EventKind::Item(_)
            | EventKind::LogLines(_)
            | EventKind::PendingUpdate(_)
            | EventKind::Notice { .. }
            | EventKind::Gate { .. }
            | EventKind::CancelBegan { .. }
            | EventKind::RunFinished { .. } => {}
        }
        Ok(())
    }

    fn finish(&mut self, _ledger: &Ledger, _exit_code: u8) -> Result<(), SinkError> {
        Ok(())
    }
}
