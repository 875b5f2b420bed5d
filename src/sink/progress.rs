//! One line that moves while the run goes on: how far it is, what has come of it, who is busy with what.
//!
//! Here lives [`ProgressSink`]. It uses `event` and this room. What always holds: it is one line, however narrow the
//! terminal; it is gone from the screen before the run's results are written; a hidden target costs nothing. What is
//! bad stands first, so that a narrow terminal cuts the rest. Start reading at [`ProgressSink::new`].

use std::time::Duration;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use super::{Sink, SinkError, text};
use crate::event::{Event, EventKind, Ledger, Outcome};

/// Time between two drawings while nothing happens.
const TICK: Duration = Duration::from_millis(200);

/// Longest phase that is shown, in columns.
const PHASE_LIMIT: usize = 48;

/// Nodes that are named; the others are counted.
const NAMED_NODES: usize = 2;

/// A bar with what is going on behind it.
pub struct ProgressSink {
    bar: ProgressBar,
}

impl ProgressSink {
    /// Draws on `target`, from the start of the run to its end.
    #[must_use]
    pub fn new(target: ProgressDrawTarget) -> Self {
        let bar = ProgressBar::with_draw_target(Some(0), target);
        // The template is ours and fixed; a bar in another style would still be a bar.
        if let Ok(style) = ProgressStyle::with_template("[{bar:8}] {pos}/{len} nodes · {elapsed} · {wide_msg}") {
            bar.set_style(style.progress_chars("=> "));
        }
        Self { bar }
    }

    fn begin(&self, ledger: &Ledger) {
        if self.bar.is_hidden() {
            return;
        }
        self.bar.reset();
        self.bar.enable_steady_tick(TICK);
        self.show(ledger);
    }

    fn show(&self, ledger: &Ledger) {
        if self.bar.is_hidden() || self.bar.is_finished() {
            return;
        }
        self.bar.update(|state| {
            state.set_len(ledger.head().map_or(0, |head| u64::from(head.nodes)));
            state.set_pos(ledger.finished_nodes());
        });
        self.bar.set_message(message(ledger));
    }

    fn clear(&self) {
        if !self.bar.is_finished() {
            self.bar.finish_and_clear();
        }
    }
}

impl Sink for ProgressSink {
    fn event(&mut self, event: &Event, ledger: &Ledger) -> Result<(), SinkError> {
        match &event.kind {
            EventKind::RunStarted(_) => self.begin(ledger),
            EventKind::RunFinished { .. } => self.clear(),
            EventKind::Notice { message } => self.bar.println(text::single_line(message)),
            EventKind::BatchStarted { .. }
            | EventKind::NodeStarted { .. }
            | EventKind::Progress { .. }
            | EventKind::Inspected { .. }
            | EventKind::NodeFacts(_)
            | EventKind::LogLines(_)
            | EventKind::PendingUpdate(_)
            | EventKind::Gate { .. }
            | EventKind::Result(_)
            | EventKind::NodeFinished { .. }
            | EventKind::CancelBegan { .. } => self.show(ledger),
        }
        Ok(())
    }

    fn finish(&mut self, _ledger: &Ledger, _exit_code: u8) -> Result<(), SinkError> {
        self.clear();
        Ok(())
    }
}

/// What stands behind the bar.
fn message(ledger: &Ledger) -> String {
    let mut parts = Vec::new();
    if ledger.cancel().is_some() {
        parts.push("stopping".to_owned());
    }
    let counts: Vec<String> = Outcome::ALL
        .iter()
        .rev()
        .filter(|outcome| **outcome != Outcome::NotConfigured)
        .map(|outcome| (outcome, ledger.count(*outcome)))
        .filter(|(_, count)| *count > 0)
        .map(|(outcome, count)| format!("{count} {outcome}"))
        .collect();
    if !counts.is_empty() {
        parts.push(counts.join(", "));
    }
    // Where there are batches, which one.
    if let Some(batch) = ledger.batch().filter(|batch| batch.number > 1) {
        let role = batch.role.as_deref().map(|role| format!(" of {}", text::single_line(role)));
        parts.push(format!("batch {}{}", batch.number, role.unwrap_or_default()));
    }
    parts.extend(busy(ledger));
    parts.join(" · ")
}

/// What the node is busy with that has been at it longest, and which other nodes are busy with the same.
fn busy(ledger: &Ledger) -> Option<String> {
    let running = ledger.running();
    let phase = running.iter().map(|running| running.phase.as_str()).find(|phase| !phase.is_empty())?;
    let names: Vec<String> = running
        .iter()
        .filter(|running| running.phase == phase)
        .take(NAMED_NODES)
        .map(|running| text::single_line(&running.node))
        .collect();
    let more = match running.len() - names.len() {
        0 => String::new(),
        more => format!(" (+{more})"),
    };
    let phase = text::single_line(phase);
    // What is waited for, how long still, and why: `waiting for db2: initializing (Zookeeper down), 14 s of 120 s`.
    if let Some(what) = phase.strip_prefix("waiting: ") {
        return Some(format!("waiting for {}{more}: {what}", names.join(", ")));
    }
    Some(format!("{} on {}{more}", text::cut(&phase, PHASE_LIMIT), names.join(", ")))
}

#[cfg(test)]
mod tests {
    use std::io;
    use std::sync::{Arc, Mutex};

    use indicatif::TermLike;

    use super::super::samples;
    use super::*;
    use crate::event::{CancelReason, TargetResult};

    /// A terminal that knows its last line.
    #[derive(Debug, Clone)]
    struct Screen {
        columns: u16,
        line: Arc<Mutex<String>>,
    }

    impl Screen {
        fn new(columns: u16) -> Self {
            Self { columns, line: Arc::default() }
        }

        fn line(&self) -> String {
            let line = self.line.lock().expect("a lock").clone();
            assert!(text::width(line.trim_end()) <= usize::from(self.columns), "{line}");
            line.trim_end().to_owned()
        }
    }

    impl TermLike for Screen {
        fn width(&self) -> u16 {
            self.columns
        }
        fn move_cursor_up(&self, _: usize) -> io::Result<()> {
            Ok(())
        }
        fn move_cursor_down(&self, _: usize) -> io::Result<()> {
            Ok(())
        }
        fn move_cursor_right(&self, _: usize) -> io::Result<()> {
            Ok(())
        }
        fn move_cursor_left(&self, _: usize) -> io::Result<()> {
            Ok(())
        }
        fn write_line(&self, text: &str) -> io::Result<()> {
            self.write_str(text)
        }
        fn write_str(&self, text: &str) -> io::Result<()> {
            self.line.lock().expect("a lock").push_str(text.trim_start_matches('\r'));
            Ok(())
        }
        fn clear_line(&self) -> io::Result<()> {
            self.line.lock().expect("a lock").clear();
            Ok(())
        }
        fn flush(&self) -> io::Result<()> {
            Ok(())
        }
    }

    /// The line that is seen while the events have come that far.
    fn seen(columns: u16, events: &[Event]) -> String {
        let screen = Screen::new(columns);
        let mut sink = ProgressSink::new(ProgressDrawTarget::term_like(Box::new(screen.clone())));
        let mut ledger = Ledger::default();
        for event in events {
            ledger.apply(event).expect("an event that fits");
            sink.event(event, &ledger).expect("a sink that takes it");
        }
        sink.bar.disable_steady_tick();
        sink.bar.force_draw();
        // A slow machine is no other display.
        (1..10).fold(screen.line(), |line, seconds| line.replace(&format!("· {seconds}s ·"), "· 0s ·"))
    }

    fn under_way(phase: &str) -> Vec<Event> {
        let node = |number: u32| format!("a6s{number:02}");
        let mut kinds = vec![EventKind::RunStarted(samples::head(Some("restart"), 16))];
        kinds.push(EventKind::BatchStarted { batch: 1, step: 0, role: None, nodes: (1..=16).map(node).collect() });
        kinds.extend((1..=9).map(|number| EventKind::NodeStarted { batch: 1, node: node(number) }));
        for number in [1, 2, 5, 6, 7] {
            let result = match number {
                5 => samples::unknown_key(&node(number)),
                _ => samples::running(&node(number), Outcome::Changed, number, 4),
            };
            kinds.push(EventKind::Result(TargetResult { batch: Some(1), ..result }));
            kinds.push(EventKind::NodeFinished { batch: 1, node: node(number) });
        }
        for number in [3, 4] {
            kinds.push(EventKind::Progress { node: node(number), phase: phase.to_owned() });
        }
        samples::numbered(kinds)
    }

    #[test]
    fn the_line_says_how_far_it_is() {
        let events = under_way("restarting contrail-collector");
        insta::assert_snapshot!(seen(160, &events), @"[==>     ] 5/16 nodes · 0s · 1 unreachable, 4 changed · restarting contrail-collector on a6s03, a6s04 (+2)");
        insta::assert_snapshot!(seen(80, &events), @"[==>     ] 5/16 nodes · 0s · 1 unreachable, 4 changed · restarting contrail-coll");
        insta::assert_snapshot!(seen(40, &events), @"[==>     ] 5/16 nodes · 0s · 1 unreachab");
    }

    #[test]
    fn what_is_waited_for_is_told_with_its_node() {
        let events = under_way("waiting: initializing (Zookeeper down), 14 s of 120 s (contrail-api:0)");
        insta::assert_snapshot!(seen(160, &events), @"[==>     ] 5/16 nodes · 0s · 1 unreachable, 4 changed · waiting for a6s03, a6s04 (+2): initializing (Zookeeper down), 14 s of 120 s (contrail-api:0)");
    }

    #[test]
    fn phases_are_untrusted() {
        insta::assert_snapshot!(seen(160, &under_way("\x1b[2J\r\nx\u{202e}")), @r"[==>     ] 5/16 nodes · 0s · 1 unreachable, 4 changed · \x1b[2J\r\nx\u{202e} on a6s03, a6s04 (+2)");
    }

    #[test]
    fn later_batches_and_signals_are_told() {
        let mut kinds: Vec<EventKind> = under_way("stopping").into_iter().map(|event| event.kind).collect();
        let nodes = vec!["a6s01".to_owned()];
        kinds.push(EventKind::BatchStarted { batch: 2, step: 0, role: Some("config".to_owned()), nodes });
        kinds.push(EventKind::CancelBegan { reason: CancelReason::Interrupted });
        insta::assert_snapshot!(seen(160, &samples::numbered(kinds)), @"[==>     ] 4/16 nodes · 0s · stopping · 1 unreachable, 4 changed · batch 2 of config · stopping on a6s03, a6s04 (+2)");
    }

    #[test]
    fn it_is_gone_when_the_run_is_over() {
        let screen = Screen::new(80);
        let mut sink = ProgressSink::new(ProgressDrawTarget::term_like(Box::new(screen.clone())));
        samples::play(&mut sink, &samples::restart().0, 0);
        assert_eq!(screen.line(), "");
    }

    #[test]
    fn a_hidden_bar_does_nothing() {
        let mut sink = ProgressSink::new(ProgressDrawTarget::hidden());
        samples::play(&mut sink, &under_way("connecting"), 0);
        assert_eq!(sink.bar.message(), "");
    }
}
