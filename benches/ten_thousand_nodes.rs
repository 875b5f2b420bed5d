//! What the controller does with all nodes at once, at 1,000 and at 10,000 of them, without a node.
//!
//!     cargo bench --bench ten_thousand_nodes
//!
//! Ten times as many nodes should take ten times as long, or a little more: nothing here may be worse than O(n log n).

use std::future::Future;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use contrail_ctl::event::{CancelReason, Ledger};
use contrail_ctl::guard::LockHolder;
use contrail_ctl::inventory::{PathEnvironment, parse};
use contrail_ctl::journal::{Journal, RunController, RunRequest, SavedFile};
use contrail_ctl::plan::batch::{DownBudget, batches};
use contrail_ctl::plan::{Action, explain};
use contrail_ctl::remote::Sudo;
use contrail_ctl::run::{JournalAck, LockPolicy, NodeAccess, RunSetup, run};
use contrail_ctl::sink::{CsvSink, JsonSink, Sink, TableOptions, TableSink};
use contrail_ctl::transport::{
    AllowedFamilies, Endpoint, HostKeyPolicy, HostKeySettings, Keepalive, LoginSettings, ProxyRoute, SshSession,
    Transport, TransportError,
};
use divan::{Bencher, black_box};
use nodeset::NodeSet;

#[path = "support/cluster.rs"]
mod cluster;

use cluster::{events, folded, head, inventory, names, plan_of, selection, text};

const NODES: [usize; 2] = [1_000, 10_000];

fn main() {
    divan::main();
}

#[divan::bench(args = NODES, sample_count = 5)]
fn inventory_of_single_lines(bencher: Bencher<'_, '_>, nodes: usize) {
    let (text, nowhere) = (text(nodes), PathEnvironment::new(None, std::iter::empty::<(&str, &str)>()));
    bencher.bench_local(|| parse(&text, Path::new("inventory.yaml"), &nowhere));
}

#[divan::bench(args = NODES, sample_count = 5)]
fn selection_of_all(bencher: Bencher<'_, '_>, nodes: usize) {
    let inventory = inventory(nodes);
    bencher.bench_local(|| selection(&inventory));
}

#[divan::bench(args = NODES, sample_count = 5)]
fn plan_of_a_status(bencher: Bencher<'_, '_>, nodes: usize) {
    let inventory = inventory(nodes);
    bencher.bench_local(|| plan_of(&inventory, Action::Status));
}

/// One node of the database after the other.
#[divan::bench(args = NODES, sample_count = 5)]
fn plan_of_a_restart(bencher: Bencher<'_, '_>, nodes: usize) {
    let inventory = inventory(nodes);
    bencher.bench_local(|| explain::view(&plan_of(&inventory, Action::Restart), None));
}

/// One node after the other, all of one capped role.
#[divan::bench(args = NODES, sample_count = 5)]
fn batches_of_a_capped_role(bencher: Bencher<'_, '_>, nodes: usize) {
    let all: Vec<usize> = (0..nodes).collect();
    let budget = DownBudget {
        role: "database".to_owned(),
        limit: 1,
        members: all.iter().copied().collect(),
        down: [nodes / 2].into_iter().collect(),
        untouched: std::collections::BTreeSet::default(),
    };
    bencher.bench_local(|| batches(&all, |_| 3, std::slice::from_ref(&budget)));
}

#[divan::bench(args = NODES, sample_count = 5)]
fn folding_of_names(bencher: Bencher<'_, '_>, nodes: usize) {
    let names = names(nodes);
    bencher.bench_local(|| NodeSet::from_names(&names).to_string());
}

#[divan::bench(args = NODES, sample_count = 5)]
fn ledger(bencher: Bencher<'_, '_>, nodes: usize) {
    let events = events(nodes);
    bencher.bench_local(|| folded(&events));
}

#[divan::bench(args = NODES, sample_count = 5)]
fn results_in_order(bencher: Bencher<'_, '_>, nodes: usize) {
    // Without the end of the run, which puts them in order itself.
    let mut events = events(nodes);
    events.pop();
    let ledger = folded(&events);
    bencher.with_inputs(|| ledger.clone()).bench_local_values(|ledger| {
        black_box(ledger.results().len());
        ledger
    });
}

/// Writes all results to nowhere.
fn show(bencher: Bencher<'_, '_>, nodes: usize, sink: impl Fn() -> Box<dyn Sink>) {
    let ledger = folded(&events(nodes));
    bencher.bench_local(|| sink().finish(&ledger, 0));
}

#[divan::bench(args = NODES, sample_count = 5)]
fn table_folded(bencher: Bencher<'_, '_>, nodes: usize) {
    let options = TableOptions { fold: Some(true), width: Some(120), ..TableOptions::default() };
    show(bencher, nodes, || Box::new(TableSink::new(options, Box::new(std::io::sink()), Box::new(std::io::sink()))));
}

#[divan::bench(args = NODES, sample_count = 5)]
fn table_of_all_rows(bencher: Bencher<'_, '_>, nodes: usize) {
    let options = TableOptions { fold: Some(false), width: Some(120), ..TableOptions::default() };
    show(bencher, nodes, || Box::new(TableSink::new(options, Box::new(std::io::sink()), Box::new(std::io::sink()))));
}

#[divan::bench(args = NODES, sample_count = 5)]
fn json(bencher: Bencher<'_, '_>, nodes: usize) {
    show(bencher, nodes, || Box::new(JsonSink::new(Box::new(std::io::sink()))));
}

#[divan::bench(args = NODES, sample_count = 5)]
fn csv(bencher: Bencher<'_, '_>, nodes: usize) {
    show(bencher, nodes, || Box::new(CsvSink::new(Box::new(std::io::sink()))));
}

/// All results of a run in one transaction: what workers report at once is written at once, and only then shown.
#[divan::bench(args = NODES, sample_count = 3)]
fn journal(bencher: Bencher<'_, '_>, nodes: usize) {
    let events = events(nodes);
    let folder = tempfile::TempDir::new().expect("a folder");
    let mut journals = 0;
    let begun = || {
        journals += 1;
        let mut journal = Journal::open(&folder.path().join(format!("{journals}.db"))).expect("a journal");
        journal.begin(&request(nodes)).expect("a run");
        journal
    };
    bencher.with_inputs(begun).bench_local_values(|mut journal| {
        journal.append_all("20260301-080000-abcd", &events).expect("written");
        journal
    });
}

fn request(nodes: usize) -> RunRequest {
    let head = head(nodes);
    RunRequest {
        run: head.run,
        words: Vec::new(),
        directory: "/".into(),
        inventory: SavedFile { path: "inventory.yaml".into(), text: String::new() },
        rollout: None,
        controller: RunController::this(),
        reason: None,
        started: head.started,
        command: head.command,
        action: head.action,
        services: head.services,
        nodes: head.nodes,
        input: None,
        origin: None,
    }
}

/// Reaches no node.
struct Nowhere;

impl Transport for Nowhere {
    type Session = SshSession;

    fn connect(&self, endpoint: &Endpoint) -> impl Future<Output = Result<SshSession, TransportError>> + Send {
        let (host, port) = (endpoint.host.clone(), endpoint.port);
        std::future::ready(Err(TransportError::Refused { host, port }))
    }
}

fn access(nodes: usize) -> Vec<NodeAccess> {
    let endpoint = Arc::new(Endpoint {
        host: "127.0.0.1".to_owned(),
        port: 22,
        family: AllowedFamilies::Any,
        bind: None,
        proxy: ProxyRoute::Direct,
        login: LoginSettings {
            user: "root".to_owned(),
            identities: Vec::new(),
            identities_named: false,
            certificates: Vec::new(),
            identities_only: false,
            agent: None,
            methods: Vec::new(),
        },
        host_keys: Arc::new(HostKeySettings {
            user_files: Vec::new(),
            global_files: Vec::new(),
            revoked: Vec::new(),
            alias: None,
            policy: HostKeyPolicy::Strict,
            hash_names: false,
            min_rsa_bits: 1024,
        }),
        algorithms: Arc::default(),
        keepalive: Keepalive { interval: Duration::from_secs(10), count: 3, when_idle: false },
        connect_timeout: Duration::from_secs(5),
        retries: 0,
        keep: None,
    });
    let one =
        NodeAccess { endpoint, sudo: Sudo::No, via: None, timeout: Duration::from_secs(60), passwords: Arc::default() };
    vec![one; nodes]
}

/// A run in which every node fails at once: the dispatcher, the workers, the events and the ledger.
fn run_nowhere(bencher: Bencher<'_, '_>, nodes: usize, action: Action) {
    let (plan, access) = (Arc::new(plan_of(&inventory(nodes), action)), access(nodes));
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    bencher.bench_local(|| {
        runtime.block_on(async {
            let (_none, notices) = tokio::sync::mpsc::channel(1);
            let (_quiet, signals) = tokio::sync::mpsc::channel::<CancelReason>(1);
            let setup = RunSetup {
                plan: Arc::clone(&plan),
                head: head(nodes),
                access: access.clone(),
                forks: 256,
                hangs_up: true,
                transport: Arc::new(Nowhere),
                notices,
                guarding: LockPolicy::new(LockHolder::default(), Duration::ZERO, true, &plan),
                first_seq: 0,
                first_batch: 1,
            };
            let mut ledger = Ledger::default();
            run(setup, signals, |events| {
                for event in events {
                    ledger.apply(event).expect("an event that fits");
                }
                JournalAck::Yes
            })
            .await;
            ledger.result_count()
        })
    });
}

#[divan::bench(args = NODES, sample_count = 3)]
fn run_of_a_status(bencher: Bencher<'_, '_>, nodes: usize) {
    run_nowhere(bencher, nodes, Action::Status);
}

#[divan::bench(args = NODES, sample_count = 3)]
fn run_of_a_restart(bencher: Bencher<'_, '_>, nodes: usize) {
    run_nowhere(bencher, nodes, Action::Restart);
}
