//! Reports of imaginary clusters, made by the sink itself.

use std::io::Write;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use contrail_ctl::event::{
    EventKind, Failure, FailureKind, Ledger, NodeFacts, Outcome, ProcessState, RunEvent, RunHead, RunScope, Stage,
    TargetResult, Via,
};
use contrail_ctl::sink::{HtmlSink, Sink};

/// The content of a status: results and facts.
#[derive(Default)]
pub(crate) struct Status {
    pub(crate) results: Vec<TargetResult>,
    pub(crate) facts: Vec<NodeFacts>,
}

/// A running service.
pub(crate) fn running(node: &str, role: &str, service: &str) -> TargetResult {
    TargetResult {
        address: Some("10.0.0.1".to_owned()),
        role: Some(role.to_owned()),
        supervisor: Some(format!("supervisor-{role}")),
        service: Some(service.to_owned()),
        state: Some(ProcessState::Running),
        pid: Some(4711),
        uptime_s: Some(266_864),
        functional: Some("active".into()),
        via: Some(Via::Rpc),
        batch: Some(1),
        duration_ms: Some(12),
        ..TargetResult::new(node, Outcome::Ok)
    }
}

/// A node that could not be reached.
pub(crate) fn unreachable(node: &str, role: &str) -> TargetResult {
    let failure = Failure::new(Stage::Connect, FailureKind::Refused, "10.0.0.1 port 22: connection refused")
        .with_hint("is sshd running there, and on this port?");
    TargetResult {
        role: Some(role.to_owned()),
        failure: Some(failure),
        ..TargetResult::new(node, Outcome::Unreachable)
    }
}

/// `nodes` nodes of five roles with `services` services each; every hundredth node is unreachable, and every 97th
/// service is not healthy.
pub(crate) fn large(nodes: usize, services: usize) -> Status {
    const ROLES: [&str; 5] = ["database", "config", "analytics", "control", "compute"];
    let mut status = Status::default();
    let mut number = 0;
    for place in 0..nodes {
        let (node, role) = (format!("n{:04}", place + 1), ROLES[place * ROLES.len() / nodes.max(1)]);
        if place % 100 == 99 {
            status.results.push(unreachable(&node, role));
            continue;
        }
        for service in 0..services {
            number += 1;
            let mut result = running(&node, role, &format!("contrail-{role}-{service}"));
            result.pid = Some(1000 + number);
            result.uptime_s = Some(u64::from(number) * 61);
            if number % 97 == 0 {
                match number % 3 {
                    0 => {
                        result.functional = Some("initializing".into());
                        result.functional_reason = Some("Database:Cassandra connection down".to_owned());
                    }
                    1 => {
                        result.state = Some(ProcessState::Fatal);
                        (result.pid, result.uptime_s, result.functional) = (None, None, None);
                        result.message = "Exited too quickly (process log may have details)".to_owned();
                    }
                    _ => {
                        result.state = Some(ProcessState::Stopped);
                        (result.pid, result.uptime_s, result.functional) = (None, None, None);
                    }
                }
            }
            status.results.push(result);
        }
    }
    status
}

/// A writer whose content can be read.
#[derive(Clone, Default)]
struct Shared(Arc<Mutex<Vec<u8>>>);

impl Write for Shared {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().expect("the lock is poisoned").write(bytes)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

impl Status {
    /// The ledger of a run with these results.
    pub(crate) fn ledger(self) -> Ledger {
        let mut nodes: Vec<String> = self.results.iter().map(|result| result.node.clone()).collect();
        nodes.dedup();
        let head = RunHead {
            run: "20260301-080000-abcd".to_owned(),
            command: "status".to_owned(),
            action: Some("status".to_owned()),
            services: Vec::new(),
            started: "2026-03-01T08:00:00Z".parse().expect("expected a valid time"),
            nodes: u32::try_from(nodes.len()).expect("too many nodes"),
            selection: RunScope::default(),
            input: None,
        };
        let started = head.started;
        let mut kinds = vec![EventKind::RunStarted(head)];
        kinds.push(EventKind::BatchStarted { batch: 1, step: 0, role: None, nodes, rechecks: false });
        kinds.extend(self.facts.into_iter().map(EventKind::NodeFacts));
        kinds.extend(self.results.into_iter().map(EventKind::Result));
        kinds.push(EventKind::RunFinished { elapsed_ms: 812 });
        let mut ledger = Ledger::default();
        for (seq, kind) in (0..).zip(kinds) {
            ledger
                .apply(&RunEvent { seq, at: started, elapsed: Duration::ZERO, kind })
                .expect("the event does not fit the ledger");
        }
        ledger
    }

    /// Writes the report of this status.
    pub(crate) fn write(self, file: &Path) {
        let out = Shared::default();
        HtmlSink::new(Box::new(out.clone())).finish(&self.ledger(), 4).expect("cannot write the report");
        std::fs::write(file, &*out.0.lock().expect("the lock is poisoned")).expect("cannot write the file");
    }
}
