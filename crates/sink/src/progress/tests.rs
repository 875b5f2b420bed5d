//! The display at 160, 80 and 40 columns. No line is too wide, no count goes backwards, and nothing stays on the
//! screen.

use std::io;
use std::num::NonZeroU16;

use indicatif::TermLike;

use super::super::fixtures::{self, SharedWriter};
use super::super::text;
use super::*;
use ctl_event::{ActivityPhase, CancelReason, Outcome, PhaseKind, TargetResult};

/// The display of these events, some time after the last one.
fn seen(columns: usize, outline: RunOutline, kinds: &[EventKind], after: u64) -> String {
    let (mut tally, mut activities) = (RunTally::new(outline), ActivityBoard::default());
    let start = Instant::now();
    for kind in kinds {
        tally.apply(kind);
        activities.apply(kind, start);
    }
    let time = Duration::from_secs(after);
    let lines = lines::lines(&tally, &activities, (time, start + time), (columns, false));
    for line in &lines {
        assert!(text::width(line) <= columns, "{line}");
    }
    lines.join("\n")
}

fn all_widths(outline: &RunOutline, kinds: &[EventKind], after: u64) -> String {
    [160, 80, 40].map(|columns| seen(columns, outline.clone(), kinds, after)).join("\n---\n")
}

fn node(number: u32) -> String {
    format!("a6s{number:02}")
}

fn progress(node: &str, phase: ActivityPhase) -> EventKind {
    EventKind::Progress { node: Some(node.to_owned()), phase }
}

/// Sixteen nodes in parallel, five of them done.
fn under_way(phase: &ActivityPhase) -> Vec<EventKind> {
    let mut kinds = vec![EventKind::RunStarted(fixtures::head(Some("restart"), 16))];
    kinds.push(EventKind::BatchStarted {
        batch: 1,
        step: 0,
        role: None,
        nodes: (1..=16).map(node).collect(),
        rechecks: false,
    });
    kinds.extend((1..=9).map(|number| EventKind::NodeStarted { batch: 1, node: node(number) }));
    for number in [1, 2, 5, 6, 7] {
        // Two services on each node still count as one node.
        for service in ["contrail-api", "contrail-collector"] {
            let result = match number {
                5 => fixtures::unknown_key(&node(number)),
                _ => fixtures::running(&node(number), Outcome::Changed, number, 4),
            };
            let service = Some(service.to_owned());
            kinds.push(EventKind::Result(TargetResult { service, batch: Some(1), ..result }));
        }
        kinds.push(EventKind::NodeFinished { batch: 1, node: node(number) });
    }
    kinds.extend([3, 4].map(|number| progress(&node(number), phase.clone())));
    kinds
}

/// A rollout of two tasks, the second in six batches over two roles.
fn rollout() -> RunOutline {
    let step = |task, name: &str, nodes: &[u32], batches| OutlineStep {
        task,
        name: Some(name.to_owned()),
        nodes: nodes.iter().map(|number| node(*number)).collect(),
        batches,
    };
    RunOutline {
        steps: vec![step(0, "drain", &[1, 2], 1), step(1, "upgrade", &[1, 2, 3], 3), step(1, "upgrade", &[4], 1)],
    }
}

fn batch(batch: u32, step: u32, role: &str, nodes: &[u32]) -> Vec<EventKind> {
    let nodes = nodes.iter().map(|number| node(*number)).collect();
    vec![EventKind::BatchStarted { batch, step, role: Some(role.to_owned()), nodes, rechecks: false }]
}

fn done(batch: u32, number: u32, outcome: Outcome) -> Vec<EventKind> {
    let result = TargetResult { batch: Some(batch), ..fixtures::running(&node(number), outcome, number, 4) };
    vec![EventKind::Result(result), EventKind::NodeFinished { batch, node: node(number) }]
}

#[test]
fn the_lines_show_progress_and_outcomes() {
    let phase = ActivityPhase::work("restarting contrail-collector").within(Duration::ZERO, Duration::from_secs(120));
    insta::assert_snapshot!(all_widths(&RunOutline::default(), &under_way(&phase), 12), @r"
    [=>      ] 5/16 nodes · 1 unreachable · 4 changed · 12 s
    restarting contrail-collector on a6s[03-04] for 12 s, 108 s left
    ---
    [=>      ] 5/16 nodes · 1 unreachable · 4 changed · 12 s
    restarting contrail-collector on a6s[03-04] for 12 s, 108 s left
    ---
    5/16 nodes · 1 unreachable · 4 changed
    restarting contr… a6s[03-04], 108 s left
    ");
}

#[test]
fn a_wait_names_the_node_the_reason_and_the_time_left() {
    let wait = |why: &str| ActivityPhase::wait(PhaseKind::Gate, why).of_service("contrail-api:0");
    let phase = wait("initializing (Zookeeper down)").within(Duration::from_secs(104), Duration::from_secs(120));
    insta::assert_snapshot!(all_widths(&RunOutline::default(), &under_way(&phase), 2), @r"
    [=>      ] 5/16 nodes · 1 unreachable · 4 changed · 2 s
    waiting for a6s[03-04]: initializing (Zookeeper down), 14 s of 120 s left (contrail-api:0)
    ---
    [=>      ] 5/16 nodes · 1 unreachable · 4 changed · 2 s
    waiting for a6s[03-04]: initializing (Zookeeper down), 14 s of 120 s left
    ---
    5/16 nodes · 1 unreachable · 4 changed
    a6s[03-04]: initializing (Zo…, 14 s left
    ");
}

#[test]
fn a_stopping_process_is_shown_with_its_time() {
    let phase = ActivityPhase::work("stopping contrail-collector").in_state("STOPPING", Duration::from_secs(10));
    let phase = ActivityPhase { limit: Some(Duration::from_secs(120)), ..phase };
    insta::assert_snapshot!(all_widths(&RunOutline::default(), &under_way(&phase), 2), @r"
    [=>      ] 5/16 nodes · 1 unreachable · 4 changed · 2 s
    stopping contrail-collector on a6s[03-04]: STOPPING for 12 s, 108 s left
    ---
    [=>      ] 5/16 nodes · 1 unreachable · 4 changed · 2 s
    stopping contrail-collector on a6s[03-04]: STOPPING for 12 s, 108 s left
    ---
    5/16 nodes · 1 unreachable · 4 changed
    a6s[03-04]: STOPPING for 12 s
    ");
}

#[test]
fn the_first_frame_is_empty() {
    let head = EventKind::RunStarted(fixtures::head(Some("restart"), 16));
    insta::assert_snapshot!(seen(80, RunOutline::default(), &[head], 0), @"[        ] 0/16 nodes · 0 s");
}

#[test]
fn connecting_nodes_are_shown_before_the_first_batch() {
    let mut kinds = vec![EventKind::RunStarted(fixtures::head(Some("restart"), 3))];
    let connecting = ActivityPhase::work("connecting").within(Duration::ZERO, Duration::from_secs(5));
    kinds.extend((1..=3).map(|number| progress(&node(number), connecting.clone())));
    kinds.extend([1, 3].map(|number| progress(&node(number), ActivityPhase::default())));
    insta::assert_snapshot!(all_widths(&rollout(), &kinds, 3), @r"
    [        ] 0/3 nodes · 3 s
    connecting to a6s02 for 3 s, 2 s left
    ---
    [        ] 0/3 nodes · 3 s
    connecting to a6s02 for 3 s, 2 s left
    ---
    [        ] 0/3 nodes · 3 s
    connecting to a6s02 for 3 s, 2 s left
    ");
}

#[test]
fn a_lock_of_another_run_is_waited_for_by_name() {
    let why = "locked by run 20260301-080000-abcd (admin@bastion, since 08:00:00: upgrade)";
    let phase = ActivityPhase::wait(PhaseKind::Lock, why).within(Duration::from_secs(1), Duration::from_secs(60));
    let kinds = [EventKind::RunStarted(fixtures::head(Some("restart"), 3)), progress("a6s02", phase)];
    insta::assert_snapshot!(all_widths(&rollout(), &kinds, 19), @r"
    [        ] 0/3 nodes · 19 s
    waiting for a6s02: locked by run 20260301-080000-abcd (admin@bastion, since 08:00:00: upgrade), 40 s of 60 s left
    ---
    [        ] 0/3 nodes · 19 s
    a6s02: locked by run 20260301-080000-abcd (admin@bastion, since 08:0…, 40 s left
    ---
    [        ] 0/3 nodes · 19 s
    a6s02: locked by run 2026030…, 40 s left
    ");
}

#[test]
fn a_rollout_says_which_batch_and_step_and_never_goes_backwards() {
    let mut kinds = vec![EventKind::RunStarted(fixtures::head(Some("restart"), 4))];
    kinds.extend(batch(1, 0, "config", &[1, 2]));
    kinds.extend([done(1, 1, Outcome::Changed), done(1, 2, Outcome::Changed)].concat());
    kinds.extend(batch(2, 1, "config", &[1]));
    kinds.extend(done(2, 1, Outcome::Failed));
    kinds.extend(batch(3, 1, "config", &[2]));
    kinds.push(progress(&node(2), ActivityPhase::work("restarting contrail-api:0")));
    insta::assert_snapshot!(all_widths(&rollout(), &kinds, 0), @r"
    [=>      ] 1/4 nodes · 1 failed · batch 3/5 of config · step 2/2 (upgrade) · 0 s
    restarting contrail-api:0 on a6s02
    ---
    [=>      ] 1/4 nodes · 1 failed · batch 3/5 of config · step 2/2 (upgrade) · 0 s
    restarting contrail-api:0 on a6s02
    ---
    1/4 nodes · 1 failed · batch 3/5
    restarting contrail-api:0 on a6s02
    ");
    let mut before = 0;
    for end in 0..kinds.len() {
        let mut tally = RunTally::new(rollout());
        kinds[..end].iter().for_each(|kind| tally.apply(kind));
        assert!(tally.finished() >= before, "{:?}", &kinds[..end]);
        before = tally.finished();
    }
    let pause = EventKind::Progress {
        node: None,
        phase: ActivityPhase {
            kind: PhaseKind::Pause,
            limit: Some(Duration::from_secs(30)),
            ..ActivityPhase::work("pausing")
        },
    };
    kinds.extend(done(3, 2, Outcome::Changed));
    kinds.push(pause);
    insta::assert_snapshot!(all_widths(&rollout(), &kinds, 18), @r"
    [===>    ] 2/4 nodes · 1 failed · batch 3/5 of config · step 2/2 (upgrade) · 1 changed · 18 s
    pausing before batch 4/5, 12 s of 30 s left
    ---
    2/4 nodes · 1 failed · batch 3/5 of config · step 2/2 (upgrade) · 1 changed
    pausing before batch 4/5, 12 s of 30 s left
    ---
    2/4 nodes · 1 failed · batch 3/5
    pausing, 12 s left
    ");
    kinds.push(EventKind::CancelBegan { reason: CancelReason::Interrupted });
    insta::assert_snapshot!(seen(80, rollout(), &kinds, 18), @"stopping · 2/4 nodes · 1 failed · batch 3/5 of config · step 2/2 (upgrade)");
}

#[test]
fn failures_are_red_where_there_are_colours() {
    let mut tally = RunTally::new(RunOutline::default());
    under_way(&ActivityPhase::work("x")).iter().for_each(|kind| tally.apply(kind));
    let line = lines::lines(&tally, &ActivityBoard::default(), (Duration::ZERO, Instant::now()), (80, true)).concat();
    assert!(line.contains("\u{1b}[31m\u{1b}[1m1 unreachable\u{1b}[0m"), "{line:?}");
    let plain = "[=>      ] 5/16 nodes · 1 unreachable · 4 changed · 0 s";
    assert_eq!(console::strip_ansi_codes(&line), plain);
}

#[test]
fn phases_are_untrusted() {
    let phase = ActivityPhase::work("\x1b[2J\r\nx\u{202e}").in_state("\x07", Duration::ZERO);
    insta::assert_snapshot!(seen(160, RunOutline::default(), &under_way(&phase), 0), @r"
    [=>      ] 5/16 nodes · 1 unreachable · 4 changed · 0 s
    \x1b[2J\r\nx\u{202e} on a6s[03-04]: \x07
    ");
}

/// A terminal emulator.
#[derive(Clone)]
struct EmulatedTerminal(Arc<Mutex<vt100::Parser>>);

impl std::fmt::Debug for EmulatedTerminal {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.write_str("Screen")
    }
}

impl EmulatedTerminal {
    fn new(columns: u16) -> Self {
        let size = |number| NonZeroU16::new(number).expect("a size");
        Self(Arc::new(Mutex::new(vt100::Parser::new(size(24), size(columns), 0))))
    }

    fn text(&self) -> String {
        let parser = self.0.lock().expect("a lock");
        let (_, columns) = parser.screen().size();
        let rows: Vec<String> = parser.screen().rows(0, columns.into()).collect();
        rows.join("\n").trim_end().to_owned()
    }

    fn write(&self, bytes: &str) -> io::Result<()> {
        self.0.lock().expect("a lock").process(bytes.as_bytes());
        Ok(())
    }
}

impl TermLike for EmulatedTerminal {
    fn width(&self) -> u16 {
        self.0.lock().expect("a lock").screen().size().1.into()
    }
    fn move_cursor_up(&self, count: usize) -> io::Result<()> {
        if count > 0 { self.write(&format!("\x1b[{count}A")) } else { Ok(()) }
    }
    fn move_cursor_down(&self, count: usize) -> io::Result<()> {
        if count > 0 { self.write(&format!("\x1b[{count}B")) } else { Ok(()) }
    }
    fn move_cursor_right(&self, count: usize) -> io::Result<()> {
        if count > 0 { self.write(&format!("\x1b[{count}C")) } else { Ok(()) }
    }
    fn move_cursor_left(&self, count: usize) -> io::Result<()> {
        if count > 0 { self.write(&format!("\x1b[{count}D")) } else { Ok(()) }
    }
    fn write_line(&self, text: &str) -> io::Result<()> {
        self.write(&format!("{text}\r\n"))
    }
    fn write_str(&self, text: &str) -> io::Result<()> {
        self.write(text)
    }
    fn clear_line(&self) -> io::Result<()> {
        self.write("\r\x1b[2K")
    }
    fn flush(&self) -> io::Result<()> {
        Ok(())
    }
}

fn sink_on(screen: &EmulatedTerminal, columns: u16) -> ProgressSink {
    let options = ProgressOptions { color: true, columns: Box::new(move || Some(columns)) };
    ProgressSink::new(ProgressDrawTarget::term_like(Box::new(screen.clone())), RunOutline::default(), options)
}

#[test]
fn the_display_is_erased_at_the_end_and_around_messages() {
    for columns in [80, 40] {
        let screen = EmulatedTerminal::new(columns);
        let mut sink = sink_on(&screen, columns);
        let mut ledger = Ledger::default();
        let mut kinds = under_way(&ActivityPhase::work("restarting contrail-collector"));
        kinds.push(EventKind::Notice { message: "a bastion\x1b is slow".to_owned() });
        for event in fixtures::numbered(kinds) {
            ledger.apply(&event).expect("an event that fits");
            sink.event(&event, &ledger).expect("a sink that takes it");
        }
        sink.bar().suspend(|| screen.write_line("said").expect("a line"));
        sink.bar().force_draw();
        let text = screen.text();
        let rows: Vec<&str> = text.lines().map(str::trim_end).collect();
        assert_eq!(rows[..2], [r"a bastion\x1b is slow", "said"], "{text}");
        assert!(rows.len() == 4 && rows[2].contains("5/16 nodes") && rows[3].contains("a6s[03-04]"), "{text}");
        sink.finish(&ledger, 0).expect("a sink that ends");
        assert_eq!(screen.text().lines().count(), 2, "{}", screen.text());
    }
}

#[test]
fn a_hidden_display_does_nothing() {
    let options = ProgressOptions { color: false, columns: Box::new(|| None) };
    let mut sink = ProgressSink::new(ProgressDrawTarget::hidden(), RunOutline::default(), options);
    fixtures::play(&mut sink, &fixtures::restart().0, 0);
    assert_eq!(sink.display.lock().expect("a lock").tally.nodes(), 0);
}

/// The plain log of these events.
fn logged(outline: RunOutline, kinds: Vec<EventKind>) -> String {
    let out = SharedWriter::default();
    fixtures::play(&mut PlainProgressSink::new(outline, out.writer()), &fixtures::numbered(kinds), 0);
    out.text()
}

#[test]
fn off_a_terminal_each_batch_and_each_long_wait_is_a_line() {
    let lock =
        ActivityPhase::wait(PhaseKind::Lock, "locked by run x\x1b").within(Duration::ZERO, Duration::from_secs(60));
    let mut kinds = vec![EventKind::RunStarted(fixtures::head(Some("restart"), 4)), progress("a6s02", lock.clone())];
    kinds.push(progress("a6s02", lock));
    kinds.extend(batch(1, 0, "config", &[1, 2]));
    kinds.extend([done(1, 1, Outcome::Changed), done(1, 2, Outcome::Failed)].concat());
    kinds.push(EventKind::Progress {
        node: None,
        phase: ActivityPhase {
            kind: PhaseKind::Pause,
            limit: Some(Duration::from_secs(30)),
            ..ActivityPhase::work("pausing")
        },
    });
    kinds.extend(batch(2, 1, "config", &[1]));
    kinds.push(EventKind::RunFinished { elapsed_ms: 1 });
    insta::assert_snapshot!(logged(rollout(), kinds), @r"
    waiting for a6s02: locked by run x\x1b, up to 60 s
    step 1/2 (drain), batch 1/5 of config: a6s[01-02] … 1 failed, 1 changed
    pausing 30 s before batch 2/5
    step 2/2 (upgrade), batch 2/5 of config: a6s01 … 1 not finished
    ");
}

#[test]
fn off_a_terminal_a_run_of_one_batch_says_nothing() {
    let (events, _) = fixtures::restart();
    assert_eq!(logged(RunOutline::default(), events.into_iter().map(|event| event.kind).collect()), "");
}
