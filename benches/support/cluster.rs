//! A large cluster as the parts of the controller see it: its inventory, its plan, and the events of a run.

use std::fmt::Write as _;
use std::path::Path;
use std::time::Duration;

use ctl_event::{EventKind, Ledger, Outcome, ProcessState, RunEvent, RunHead, RunScope, TargetResult, Via};
use ctl_inventory::{Inventory, PathEnvironment, parse};
use ctl_plan::{Action, Plan, Task, TaskSpec, Work, plan};
use ctl_select::{NodeQuery, Selection, select};

const SERVICES: usize = 8;

/// An inventory with a line for each node.
pub(crate) fn text(nodes: usize) -> String {
    let mut text = "version: 1\nnodes:\n".to_owned();
    for node in 0..nodes {
        let role = ["compute", "compute", "compute", "analytics", "database"][node % 5];
        let (second, third, last) = (node / 62_500, node / 250 % 250, node % 250 + 1);
        writeln!(text, "  n{node:05}: {{address: 10.{second}.{third}.{last}, roles: [{role}]}}")
            .expect("memory takes every text");
    }
    text
}

pub(crate) fn inventory(nodes: usize) -> Inventory {
    let nowhere = PathEnvironment::new(None, std::iter::empty::<(&str, &str)>());
    parse(&text(nodes), Path::new("inventory.yaml"), &nowhere).expect("an inventory")
}

pub(crate) fn selection(inventory: &Inventory) -> Selection {
    let query = NodeQuery { roles: &[], nodes: &[], exclude: &[], services: &[] };
    select(inventory, &query).expect("all nodes")
}

pub(crate) fn plan_of(inventory: &Inventory, action: Action) -> Plan {
    let task = Task::new(Work::example(action, Vec::new()), false);
    plan(vec![TaskSpec { task, nodes: selection(inventory).nodes }], inventory, None)
}

pub(crate) fn head(nodes: usize) -> RunHead {
    RunHead {
        run: "20260301-080000-abcd".to_owned(),
        command: "status".to_owned(),
        action: Some("status".to_owned()),
        services: Vec::new(),
        started: jiff::Timestamp::UNIX_EPOCH,
        nodes: u32::try_from(nodes).unwrap_or_default(),
        selection: RunScope::default(),
        input: None,
    }
}

/// The events of a status, with other pids and times on each node.
pub(crate) fn events(nodes: usize) -> Vec<RunEvent> {
    let name = |node: usize| format!("n{node:05}");
    let results = (0..nodes * SERVICES).map(|place| {
        let (node, service) = (place / SERVICES, place % SERVICES);
        EventKind::Result(TargetResult {
            address: Some(format!("10.0.{}.{}", node / 250, node % 250 + 1)),
            role: Some("analytics".to_owned()),
            supervisor: Some("supervisor-analytics".to_owned()),
            service: Some(format!("contrail-service-{service}")),
            state: Some(ProcessState::Running),
            pid: u32::try_from(place).ok(),
            uptime_s: u64::try_from(place).ok(),
            via: Some(Via::Rpc),
            batch: Some(1),
            duration_ms: Some(1),
            ..TargetResult::new(name(node), Outcome::Ok)
        })
    });
    let batch = EventKind::BatchStarted {
        batch: 1,
        step: 0,
        role: None,
        nodes: (0..nodes).map(name).collect(),
        rechecks: false,
    };
    let ends = (0..nodes).map(|node| EventKind::NodeFinished { batch: 1, node: name(node) });
    let kinds = [EventKind::RunStarted(head(nodes)), batch].into_iter().chain(results).chain(ends);
    let kinds = kinds.chain([EventKind::RunFinished { elapsed_ms: 1 }]);
    let event = |(seq, kind)| RunEvent { seq, at: jiff::Timestamp::UNIX_EPOCH, elapsed: Duration::ZERO, kind };
    (0..).zip(kinds).map(event).collect()
}

pub(crate) fn folded(events: &[RunEvent]) -> Ledger {
    let mut ledger = Ledger::default();
    for event in events {
        ledger.apply(event).expect("an event that fits");
    }
    ledger
}

/// The names of the nodes without one in seven, or one range would be all.
pub(crate) fn names(nodes: usize) -> Vec<String> {
    (0..nodes).filter(|node| node % 7 > 0).map(|node| format!("n{node:05}")).collect()
}
