//! Sample runs for tests, with fixed times and pids.

use std::io::{self, Write};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use super::Sink;
use ctl_event::{
    EventKind, Failure, FailureKind, Ledger, Outcome, ProcessState, RunEvent, RunHead, RunScope, Stage, TargetResult,
    Via,
};

/// A writer whose output a test can read.
#[derive(Clone, Default)]
pub(super) struct SharedWriter(Arc<Mutex<Vec<u8>>>);

impl SharedWriter {
    pub(super) fn writer(&self) -> Box<dyn Write + Send> {
        Box::new(self.clone())
    }

    pub(super) fn text(&self) -> String {
        String::from_utf8(self.0.lock().expect("a lock").clone()).expect("UTF-8")
    }
}

impl Write for SharedWriter {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().expect("a lock").write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Plays a whole run into a sink.
pub(super) fn play(sink: &mut impl Sink, events: &[RunEvent], exit_code: u8) {
    let mut ledger = Ledger::default();
    for event in events {
        ledger.apply(event).expect("an event that fits");
        sink.event(event, &ledger).expect("a sink that takes it");
    }
    sink.finish(&ledger, exit_code).expect("a sink that takes it");
}

/// Numbers the events, one millisecond apart.
pub(super) fn numbered(kinds: impl IntoIterator<Item = EventKind>) -> Vec<RunEvent> {
    let mut seq = 0;
    let number = |kind: EventKind| {
        let event = RunEvent { seq, at: start(), elapsed: Duration::from_millis(seq), kind };
        seq += u64::from(!matches!(event.kind, EventKind::Progress { .. }));
        event
    };
    kinds.into_iter().map(number).collect()
}

/// The ledger after the events.
pub(super) fn ledger(events: &[RunEvent]) -> Ledger {
    let mut ledger = Ledger::default();
    for event in events {
        ledger.apply(event).expect("an event that fits");
    }
    ledger
}

fn start() -> jiff::Timestamp {
    "2026-03-01T08:00:00Z".parse().expect("a time")
}

/// The head of a run on `nodes` nodes.
pub(super) fn head(action: Option<&str>, nodes: u32) -> RunHead {
    RunHead {
        run: "20260301-080000-abcd".to_owned(),
        command: if action.is_some() { "service" } else { "ping" }.to_owned(),
        action: action.map(str::to_owned),
        services: vec!["contrail-collector".to_owned()],
        started: start(),
        nodes,
        selection: RunScope::default(),
        input: None,
    }
}

/// A result of `contrail-collector` on an analytics node.
pub(super) fn result(node: &str, outcome: Outcome) -> TargetResult {
    TargetResult {
        address: Some("127.0.1.1".to_owned()),
        role: Some("analytics".to_owned()),
        supervisor: Some("supervisor-analytics".to_owned()),
        service: Some("contrail-collector".to_owned()),
        via: Some(Via::Rpc),
        batch: Some(1),
        duration_ms: Some(640),
        ..TargetResult::new(node, outcome)
    }
}

/// The same result with a running process.
pub(super) fn running(node: &str, outcome: Outcome, pid: u32, uptime_s: u64) -> TargetResult {
    TargetResult {
        state: Some(ProcessState::Running),
        pid: Some(pid),
        uptime_s: Some(uptime_s),
        ..result(node, outcome)
    }
}

/// A node whose host key is unknown.
pub(super) fn unknown_key(node: &str) -> TargetResult {
    let failure = Failure::new(Stage::Connect, FailureKind::HostKeyUnknown, "no known_hosts file holds its key")
        .with_hint("ssh-keyscan it, compare, and add it to known_hosts");
    TargetResult { supervisor: None, via: None, failure: Some(failure), ..result(node, Outcome::Unreachable) }
}

/// A run of one batch with these results, in 812 ms.
pub(super) fn run(action: Option<&str>, results: Vec<TargetResult>) -> Vec<RunEvent> {
    let mut nodes: Vec<String> = Vec::new();
    for result in &results {
        if !nodes.contains(&result.node) {
            nodes.push(result.node.clone());
        }
    }
    let count = u32::try_from(nodes.len()).expect("a few nodes");
    let mut kinds = vec![EventKind::RunStarted(head(action, count))];
    kinds.push(EventKind::BatchStarted { batch: 1, step: 0, role: None, nodes: nodes.clone(), rechecks: false });
    kinds.extend(nodes.iter().map(|node| EventKind::NodeStarted { batch: 1, node: node.clone() }));
    kinds.extend(results.into_iter().map(EventKind::Result));
    kinds.extend(nodes.into_iter().map(|node| EventKind::NodeFinished { batch: 1, node }));
    kinds.push(EventKind::RunFinished { elapsed_ms: 812 });
    numbered(kinds)
}

/// A restart on three nodes, one of them unreachable.
pub(super) fn restart() -> (Vec<RunEvent>, Ledger) {
    let events = run(
        Some("restart"),
        vec![
            running("a6s01", Outcome::Changed, 20071, 4),
            unknown_key("a6s02"),
            running("a6s03", Outcome::Changed, 1187, 5),
        ],
    );
    let ledger = ledger(&events);
    (events, ledger)
}
