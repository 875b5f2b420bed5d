//! The cost of a frame of `ctl top` at 1,000 nodes with 10 services each, including the preparation of its data.
//!
//!     cargo bench --bench top
//!
//! A frame is drawn as on a terminal: laid out, compared with the previous frame, and written as escape sequences. One
//! thread does everything, so the time is CPU time.

use std::io::Sink;
use std::time::Duration;

use contrail_ctl::event::{EventKind, Ledger, Outcome, ProcessState, RunEvent, RunHead, RunScope, TargetResult};
use contrail_ctl::overview::NodeRoles;
use contrail_ctl::top::{TopKey, TopModel, draw};
use divan::Bencher;
use ratatui::backend::CrosstermBackend;
use ratatui::layout::Rect;
use ratatui::{Terminal, TerminalOptions, Viewport};

const NODES: usize = 1000;
const SERVICES: usize = 10;
const ROLES: [&str; 5] = ["database", "config", "analytics", "control", "compute"];

/// Columns and rows.
const SIZES: [(u16, u16); 2] = [(80, 24), (250, 80)];

fn main() {
    divan::main();
}

/// A round in which every 97th service is not healthy, other services each time.
fn round(number: usize) -> Ledger {
    let head = RunHead {
        run: "a-run".to_owned(),
        command: "status".to_owned(),
        action: Some("status".to_owned()),
        services: Vec::new(),
        started: jiff::Timestamp::UNIX_EPOCH,
        nodes: u32::try_from(NODES).unwrap_or_default(),
        selection: RunScope::default(),
        input: None,
    };
    let results = (0..NODES * SERVICES).map(|place| {
        let (node, service) = (place / SERVICES, place % SERVICES);
        let role = ROLES.get(node * ROLES.len() / NODES).copied().unwrap_or_default();
        let is_well = !(place + number).is_multiple_of(97);
        let word = if is_well { "active" } else { "initializing" };
        TargetResult {
            role: Some(role.to_owned()),
            service: Some(format!("contrail-{role}-{service}")),
            state: Some(ProcessState::Running),
            uptime_s: Some(u64::try_from(place).unwrap_or_default()),
            functional: Some(word.into()),
            functional_reason: (!is_well).then(|| "Database:Cassandra connection down".to_owned()),
            ..TargetResult::new(format!("n{node:04}"), Outcome::Ok)
        }
    });
    let kinds = std::iter::once(EventKind::RunStarted(head)).chain(results.map(EventKind::Result));
    let mut ledger = Ledger::default();
    for (seq, kind) in (0..).zip(kinds) {
        let event = RunEvent { seq, at: jiff::Timestamp::UNIX_EPOCH, elapsed: Duration::ZERO, kind };
        drop(ledger.apply(&event));
    }
    ledger
}

fn model() -> TopModel {
    let mut model = TopModel::new(NodeRoles::default(), Duration::from_secs(2), true);
    model.update(&round(0), Vec::new(), "12:00:00".to_owned());
    model
}

fn terminal((width, height): (u16, u16)) -> Terminal<CrosstermBackend<Sink>> {
    let viewport = Viewport::Fixed(Rect::new(0, 0, width, height));
    let backend = CrosstermBackend::new(std::io::sink());
    Terminal::with_options(backend, TerminalOptions { viewport })
        .expect("the buffer is in memory, so a write cannot fail")
}

fn frame(terminal: &mut Terminal<CrosstermBackend<Sink>>, model: &mut TopModel) {
    terminal.draw(|frame| draw(frame, model)).expect("the buffer is in memory, so a write cannot fail");
}

/// A frame after a key press: another service is selected.
#[divan::bench(args = SIZES)]
fn frame_after_a_key(bencher: Bencher<'_, '_>, size: (u16, u16)) {
    let (mut terminal, mut model) = (terminal(size), model());
    let mut keys = [TopKey::PageDown, TopKey::Down, TopKey::Home].into_iter().cycle();
    bencher.bench_local(|| {
        drop(keys.next().and_then(|key| model.key(key)));
        frame(&mut terminal, &mut model);
    });
}

/// The whole screen is new.
#[divan::bench(args = SIZES)]
fn first_frame(bencher: Bencher<'_, '_>, size: (u16, u16)) {
    let mut model = model();
    bencher.bench_local(|| frame(&mut terminal(size), &mut model));
}

/// A letter of the filter is typed, and the matching ones of 10,000 services are shown.
#[divan::bench(args = SIZES)]
fn frame_after_a_letter_of_the_filter(bencher: Bencher<'_, '_>, size: (u16, u16)) {
    let (mut terminal, mut model) = (terminal(size), model());
    drop(model.key(TopKey::Char('/')));
    let mut keys = [TopKey::Char('c'), TopKey::Backspace].into_iter().cycle();
    bencher.bench_local(|| {
        drop(keys.next().and_then(|key| model.key(key)));
        frame(&mut terminal, &mut model);
    });
}

/// The frame at the end of a round: the results are folded, filtered, sorted and shown.
#[divan::bench(args = SIZES)]
fn frame_after_a_round(bencher: Bencher<'_, '_>, size: (u16, u16)) {
    let (mut terminal, mut model) = (terminal(size), model());
    let ledgers = [round(1), round(2)];
    let mut rounds = ledgers.iter().cycle();
    bencher.bench_local(|| {
        if let Some(ledger) = rounds.next() {
            model.update(ledger, Vec::new(), "12:00:02".to_owned());
        }
        frame(&mut terminal, &mut model);
    });
}
