//! Compares docs/json.md with the output: every field has a row, every row is a field of the type and with the nulls
//! that it names, the examples are complete, and every kind of failure has a row.
//!
//! Samples come from the sinks and commands themselves. Each object is printed once with every field set and once with as
//! many null fields as there can be, so that a row that says too much or too little fails as well.

use std::collections::BTreeMap;
use std::fs;
use std::io::{self, Write};
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use clap::Parser;
use serde_json::Value;

use super::commands::connections::ConnectionListing;
use super::commands::{inventory, runs};
use super::json_page::{EVERY_LINE, Field, NEVER, fields, sections, table};
use super::json_schema_tests::assert_valid;
use super::output::{self, OutputDocument, ResultOutput};
use super::watch;
use ctl_args::args::{CliArgs, CliCommand, InventoryArgs, InventoryCommand};
use ctl_args::runs_args::RunsArgs;
use ctl_args::selection_args::SelectionArgs;
use ctl_args::settings::OutputSettings;
use ctl_connections::KeptConnection;
use ctl_event::{
    CommandRun, EventKind, Failure, FailureEvidence, FailureKind, FindingKind, InputDigest, ItemEvent, ItemLabel,
    ItemState, Ledger, LogLines, LogStream, NodeFacts, NodeFinding, Outcome, PendingUpdate, ProcessState, RunEvent,
    RunHead, RunScope, Stage, SupervisorFacts, TargetResult, Via,
};
use ctl_inventory::{Inventory, PathEnvironment, parse};
use ctl_journal::{Journal, RunController, RunOrigin, RunRequest, SavedFile, StopCause};
use ctl_plan::live::LiveState;
use ctl_plan::{Action, Plan, TaskSpec, Work, plan};
use ctl_select::{NodeQuery, select};
use ctl_session::rounds::ClusterState;
use ctl_sink::{JsonSink, JsonlSink, LogJsonSink, Sink, snapshot_diff};
use ctl_snapshot::{ChangeKind, ChangeVerdict, DiffSummary, NodeChange, SnapshotDiff};

const INVENTORY_PAGE: &str = include_str!("../../docs/inventory.md");

/// The examples in this language.
fn examples(text: &'static str, language: &str) -> Vec<&'static str> {
    let fence = format!("```{language}\n");
    text.split(&fence).skip(1).filter_map(|rest| rest.split("```").next()).collect()
}

fn json_type(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "boolean",
        Value::Number(number) if number.is_f64() => "number",
        Value::Number(_) => "integer",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
    }
}

/// The values of an array; none where there is null.
fn items(value: &Value) -> &[Value] {
    value.as_array().map(Vec::as_slice).unwrap_or_default()
}

/// How often a field was seen.
#[derive(Default)]
struct Seen {
    null: bool,
    value: bool,
}

/// Compares objects with the tables of the page, and whole documents and lines with the published schema.
struct Checker {
    sections: BTreeMap<&'static str, &'static str>,
    seen: BTreeMap<(&'static str, &'static str), Seen>,
}

impl Checker {
    fn new() -> Self {
        Self { sections: sections(), seen: BTreeMap::new() }
    }

    fn section(&self, heading: &str) -> &'static str {
        self.sections.get(heading).copied().unwrap_or_else(|| panic!("docs/json.md has no section {heading}"))
    }

    /// The object has the fields of these sections and no others.
    fn object(&mut self, value: &Value, headings: &[&'static str]) {
        let object = value.as_object().unwrap_or_else(|| panic!("{headings:?}: not an object: {value}"));
        let of = |heading: &&'static str| {
            fields(self.section(heading)).into_iter().map(|field| (*heading, field)).collect::<Vec<_>>()
        };
        let rows: Vec<(&'static str, Field)> = headings.iter().flat_map(of).collect();
        for key in object.keys() {
            let is_there = rows.iter().any(|(_, field)| field.name == key);
            assert!(is_there, "docs/json.md has no row for {key} in {headings:?}");
        }
        for (heading, field) in rows {
            let Some(value) = object.get(field.name) else {
                panic!("docs/json.md has a row for {} in {heading}, and it is not printed: {value}", field.name);
            };
            let seen = self.seen.entry((heading, field.name)).or_default();
            if value.is_null() {
                assert_ne!(field.null, NEVER, "{} in {heading} is null", field.name);
                seen.null = true;
            } else {
                assert_eq!(json_type(value), field.json_type, "{} in {heading}", field.name);
                seen.value = true;
            }
        }
    }

    /// The same, unless it is null.
    fn nullable(&mut self, value: &Value, heading: &'static str) {
        if !value.is_null() {
            self.object(value, &[heading]);
        }
    }

    fn run(&mut self, document: &Value) {
        assert_valid(document);
        self.object(document, &["Run"]);
        self.nullable(&document["selection"], "Selection");
        items(&document["results"]).iter().for_each(|result| self.result(result, &[]));
        items(&document["nodes"]).iter().for_each(|node| self.node(node, &[]));
        items(&document["kept"]).iter().for_each(|item| self.object(item, &["Kept item"]));
        self.object(&document["summary"], &["Summary"]);
    }

    fn result(&mut self, result: &Value, besides: &[&'static str]) {
        let mut headings = [besides, &["Result"]].concat();
        headings.extend(result.get("truncated").map(|_| "Result of `exec`"));
        headings.extend(result.get("lines").map(|_| "Result of `logs`"));
        headings.extend(result.get("item").map(|_| "Result of a sequence"));
        self.object(result, &headings);
        self.nullable(&result["failure"], "Failure");
        self.nullable(&result["evidence"], "Evidence");
    }

    fn node(&mut self, node: &Value, besides: &[&'static str]) {
        self.object(node, &[besides, &["Node"]].concat());
        items(&node["supervisors"]).iter().for_each(|supervisor| self.object(supervisor, &["Supervisord"]));
        items(&node["findings"]).iter().for_each(|finding| self.object(finding, &["Finding"]));
    }

    fn lines(&mut self, lines: &str) {
        for line in lines.lines() {
            self.line(&serde_json::from_str(line).expect("a line of JSON"));
        }
    }

    fn line(&mut self, line: &Value) {
        assert_valid(line);
        match line["event"].as_str().expect("a name") {
            "run_started" => {
                self.object(line, &[EVERY_LINE, "`run_started`"]);
                self.object(&line["selection"], &["Selection"]);
                self.nullable(&line["input"], "Input");
            }
            "batch_started" => self.object(line, &[EVERY_LINE, "`batch_started`"]),
            "result" => self.result(line, &[EVERY_LINE]),
            "node" => self.node(line, &[EVERY_LINE]),
            "log" => self.object(line, &[EVERY_LINE, "`log`"]),
            "gate" => self.object(line, &[EVERY_LINE, "`gate`"]),
            "run_finished" => {
                self.object(line, &[EVERY_LINE, "`run_finished`"]);
                items(&line["kept"]).iter().for_each(|item| self.object(item, &["Kept item"]));
                self.object(&line["summary"], &["Summary"]);
            }
            "watch_started" => self.object(line, &[EVERY_LINE, "`watch_started`"]),
            "change" if line.get("at").is_some() => self.object(line, &[EVERY_LINE, "Change", "Watched change"]),
            "change" => self.object(line, &[EVERY_LINE, "Change"]),
            "diff_finished" => {
                self.object(line, &[EVERY_LINE, "`diff_finished`"]);
                self.object(&line["summary"], &["Summary of a diff"]);
            }
            other => panic!("docs/json.md is not compared with lines {other}"),
        }
    }

    fn plan(&mut self, document: &Value) {
        assert_valid(document);
        self.object(document, &["Plan document"]);
        let plan = &document["plan"];
        self.object(plan, &["Steps"]);
        for step in items(&plan["steps"]) {
            self.object(step, &["Step"]);
            items(&step["caps"]).iter().for_each(|cap| self.object(cap, &["Cap"]));
            items(&step["items"]).iter().for_each(|item| self.object(item, &["Sequence item"]));
        }
        if !plan["live"].is_null() {
            self.live(&plan["live"]);
        }
    }

    fn live(&mut self, live: &Value) {
        self.object(live, &["Live plan"]);
        items(&live["unreachable"]).iter().for_each(|node| self.object(node, &["Unreachable node"]));
        for down in items(&live["down"]) {
            self.object(down, &["Service that is down"]);
            self.nullable(&down["failure"], "Failure");
        }
        for update in items(&live["updates"]) {
            self.object(update, &["Pending update"]);
            self.nullable(&update["failure"], "Failure");
        }
        items(&live["no_such_service"]).iter().for_each(|name| self.object(name, &["Unknown service"]));
    }

    fn diff(&mut self, document: &Value) {
        assert_valid(document);
        self.object(document, &["Snapshot diff"]);
        items(&document["changes"]).iter().for_each(|change| self.object(change, &["Change"]));
        self.object(&document["summary"], &["Summary of a diff"]);
    }

    fn runs(&mut self, document: &Value) {
        assert_valid(document);
        self.object(document, &["List of runs"]);
        for run in items(&document["runs"]) {
            self.object(run, &["Recorded run"]);
            self.nullable(&run["origin"], "Origin");
        }
    }

    fn connections(&mut self, document: &Value) {
        assert_valid(document);
        self.object(document, &["List of connections"]);
        items(&document["connections"]).iter().for_each(|one| self.object(one, &["Connection"]));
    }

    fn inventory_list(&mut self, document: &Value) {
        assert_valid(document);
        self.object(document, &["Inventory"]);
        items(&document["nodes"]).iter().for_each(|node| self.object(node, &["Inventory node"]));
    }

    fn inventory_check(&mut self, document: &Value) {
        assert_valid(document);
        self.object(document, &["Inventory check"]);
    }

    fn inventory_show(&mut self, document: &Value) {
        assert_valid(document);
        self.object(document, &["Inventory node", "Inventory show"]);
        items(&document["connection"]).iter().for_each(|setting| self.object(setting, &["Connection setting"]));
    }

    /// Every row was compared with a value, and with null where it says when the field is null.
    fn assert_complete(&self) {
        for (&heading, &text) in &self.sections {
            for Field { name, null, .. } in fields(text) {
                let Some(seen) = self.seen.get(&(heading, name)) else { panic!("no sample has {name} of {heading}") };
                assert!(seen.value, "{name} of {heading} is null in every sample");
                assert!(seen.null || null == NEVER, "{name} of {heading} is null in no sample");
            }
        }
    }
}

#[derive(Clone, Default)]
struct Shared(Arc<Mutex<Vec<u8>>>);

impl Write for Shared {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().expect("a lock").write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// What a sink writes of a run.
fn written<S: Sink>(make: impl FnOnce(Box<dyn Write + Send>) -> S, events: Vec<EventKind>) -> String {
    let out = Shared::default();
    let mut sink = make(Box::new(out.clone()));
    let ledger = folded(events, |event, ledger| sink.event(event, ledger).expect("written"));
    sink.finish(&ledger, 4).expect("written");
    let bytes = out.0.lock().expect("a lock").clone();
    String::from_utf8(bytes).expect("UTF-8")
}

fn folded(events: Vec<EventKind>, mut each: impl FnMut(&RunEvent, &Ledger)) -> Ledger {
    let mut ledger = Ledger::default();
    for (seq, kind) in (0..).zip(events) {
        let event = RunEvent { seq, at: at(), elapsed: Duration::from_millis(seq), kind };
        ledger.apply(&event).expect("an event that fits");
        each(&event, &ledger);
    }
    ledger
}

/// The output of `-o json --out FILE`.
fn in_a_file(write: impl FnOnce(&OutputSettings)) -> Value {
    let dir = tempfile::tempdir().expect("a folder");
    let path = dir.path().join("out.json");
    let words = ["ctl", "runs", "-o", "json", "--out", path.to_str().expect("UTF-8")];
    let CliCommand::Runs(RunsArgs { output, .. }) = CliArgs::try_parse_from(words).expect("words").command else {
        panic!("another command")
    };
    write(&output.into());
    parsed(&fs::read_to_string(path).expect("a file"))
}

fn parsed(json: &str) -> Value {
    serde_json::from_str(json).expect("JSON")
}

fn at() -> jiff::Timestamp {
    "2026-03-01T08:00:00Z".parse().expect("a time")
}

fn text(text: &str) -> Option<String> {
    Some(text.to_owned())
}

fn failures() -> [Failure; 2] {
    let failure = Failure::new(Stage::Connect, FailureKind::Refused, "connection refused");
    [failure.clone().with_hint("look at it"), failure]
}

/// A head with every field set.
fn head() -> RunHead {
    RunHead {
        run: "20260301-080000-abcd".to_owned(),
        command: "rollout".to_owned(),
        action: text("rollout"),
        services: vec!["contrail-collector".to_owned()],
        started: at(),
        nodes: 2,
        selection: RunScope { roles: vec!["analytics".to_owned()], nodes: text("a[1-2]"), exclude: text("a3") },
        input: Some(InputDigest { bytes: 1, sha256: "00".to_owned() }),
    }
}

/// A result with every field set.
fn result() -> TargetResult {
    let [failure, _] = failures();
    TargetResult {
        node: "a1".to_owned(),
        address: text("10.0.0.1"),
        role: text("analytics"),
        supervisor: text("supervisor-analytics"),
        service: text("contrail-collector"),
        outcome: Outcome::Failed,
        state: Some(ProcessState::Backoff),
        pid: Some(7),
        uptime_s: Some(8),
        functional: Some("failed".into()),
        functional_reason: text("a reason"),
        version: text("3.2"),
        message: "a message".to_owned(),
        failure: Some(failure),
        evidence: Some(FailureEvidence {
            exit_status: Some(1),
            ended: text("exit status 1; not expected"),
            stream: LogStream::Stderr,
            lines: vec!["a line".to_owned()],
        }),
        via: Some(Via::Rpc),
        batch: Some(1),
        duration_ms: Some(9),
        item: None,
        command: None,
    }
}

/// Results with every field set, with none, and of commands that were started and were not.
fn results() -> Vec<TargetResult> {
    let [_, failure] = failures();
    let ran = |exit_status: Option<u32>, signal: Option<String>| {
        Some(CommandRun { exit_status, signal, stdout: text("out"), stderr: text("err"), truncated: Some(false) })
    };
    let evidence = FailureEvidence { exit_status: None, ended: None, stream: LogStream::Stdout, lines: Vec::new() };
    let label = ItemLabel { undo: true, item_number: 1, item: "drain".to_owned(), on: Some("lb1".to_owned()) };
    vec![
        result(),
        TargetResult { failure: Some(failure), evidence: Some(evidence), ..TargetResult::new("a2", Outcome::Failed) },
        TargetResult::new("a3", Outcome::Ok),
        TargetResult { command: ran(Some(1), None), ..TargetResult::new("a4", Outcome::Failed) },
        TargetResult { command: ran(None, text("KILL")), ..TargetResult::new("a5", Outcome::Failed) },
        TargetResult { command: Some(CommandRun::NOT_STARTED), ..TargetResult::new("a6", Outcome::Unreachable) },
        TargetResult {
            item: Some(ItemLabel { on: None, ..label.clone() }),
            ..TargetResult::new("a7", Outcome::Changed)
        },
        TargetResult { item: Some(label), ..TargetResult::new("a8", Outcome::Changed) },
    ]
}

fn facts() -> NodeFacts {
    let full = SupervisorFacts {
        role: "analytics".to_owned(),
        name: "supervisor-analytics".to_owned(),
        address: text("unix:///run/x.sock"),
        via: Via::Rpc,
        version: text("3.3.1"),
        pid: Some(1000),
    };
    let empty = SupervisorFacts { address: None, via: Via::Service, version: None, pid: None, ..full.clone() };
    let found = |kind, role, count| NodeFinding { kind, role, message: "found".to_owned(), details: Vec::new(), count };
    NodeFacts {
        node: "a1".to_owned(),
        supervisors: vec![full, empty],
        packages: [("contrail-analytics".to_owned(), "3.2".to_owned())].into(),
        findings: vec![
            found(FindingKind::CoreFiles, None, Some(1)),
            found(FindingKind::StaleSocket, text("analytics"), None),
        ],
    }
}

fn log_lines() -> EventKind {
    EventKind::LogLines(LogLines {
        node: "a1".to_owned(),
        role: "analytics".to_owned(),
        supervisor: "supervisor-analytics".to_owned(),
        service: "contrail-collector".to_owned(),
        stream: LogStream::Stdout,
        among_others: false,
        lines: vec!["a line".to_owned()],
    })
}

/// A run in which everything happens that is printed.
fn events(head: RunHead) -> Vec<EventKind> {
    let batch =
        |batch, role| EventKind::BatchStarted { batch, step: 0, role, nodes: vec!["a1".to_owned()], rechecks: false };
    let gate = |service, met| {
        let (node, waiting_for) = ("a1".to_owned(), "RUNNING".to_owned());
        EventKind::Gate { batch: 1, node, service, met, waiting_for }
    };
    let head_is_of_a_change = head.command != "logs";
    let mut events = vec![
        EventKind::RunStarted(head),
        batch(1, text("analytics")),
        batch(2, None),
        gate(text("contrail-collector"), None),
        gate(None, Some(true)),
        EventKind::NodeFacts(facts()),
        log_lines(),
    ];
    events.extend(results().into_iter().map(EventKind::Result));
    if head_is_of_a_change {
        let label = ItemLabel { undo: false, item_number: 1, item: "drain".to_owned(), on: Some("lb1".to_owned()) };
        for (node, label) in [("a1", label.clone()), ("a2", ItemLabel { on: None, ..label })] {
            let (node, state) = (node.to_owned(), ItemState::Kept);
            events.push(EventKind::Item(ItemEvent { batch: 1, step: 0, node, label, state }));
        }
    }
    events.push(EventKind::RunFinished { elapsed_ms: 812 });
    events
}

/// As many nodes as there are plans that differ.
fn fleet() -> Inventory {
    let text = "version: 1\ngroups: {rack1: a1}\nnodes:\n  cfg[1-3]: {roles: [config]}\n  a[2-4]: {roles: [analytics]}\n  \
        a1: {roles: [analytics], address: 10.0.0.1, user: root, port: 22, identity: /k, jump: gate, connect_timeout: 5s, \
        timeout: 2m, maintenance: disk}\n";
    parse(text, Path::new("inventory.yaml"), &PathEnvironment::default()).expect("an inventory")
}

/// A step of a rollout with a cap, or a command.
fn planned(inventory: &Inventory, action: Action) -> Plan {
    let (services, roles) = (["contrail-api".to_owned()], ["config".to_owned()]);
    let query = if action == Action::Exec {
        NodeQuery::default()
    } else {
        NodeQuery { roles: &roles, services: &services, ..NodeQuery::default() }
    };
    let selection = select(inventory, &query).expect("a selection");
    let mut wanted = TaskSpec::new(selection, |services| Work::example(action, services));
    if action != Action::Exec {
        wanted.task.name = text("restart the API");
    }
    plan(vec![wanted], inventory, None)
}

/// What nodes say of a plan, with every field set and with none.
fn live(plan: &Plan) -> LiveState {
    let mut live = LiveState::default();
    let [hint, no_hint] = failures();
    let unreachable = |node: &str, failure: &Failure| TargetResult {
        failure: Some(failure.clone()),
        ..TargetResult::new(node, Outcome::Unreachable)
    };
    let unknown = |service: &str, failure: &Failure| TargetResult {
        service: text(service),
        failure: Some(Failure { kind: FailureKind::NoSuchService, ..failure.clone() }),
        ..TargetResult::new("cfg1", Outcome::Failed)
    };
    let fatal = TargetResult { failure: None, state: Some(ProcessState::Fatal), outcome: Outcome::Ok, ..result() };
    let unread = TargetResult {
        via: Some(Via::Service),
        failure: Some(hint.clone()),
        ..TargetResult::new("cfg3", Outcome::Failed)
    };
    for result in [
        unreachable("cfg1", &hint),
        unreachable("cfg2", &no_hint),
        unknown("one", &hint),
        unknown("two", &no_hint),
        TargetResult { node: "cfg3".to_owned(), ..fatal },
        unread,
        TargetResult::new("cfg3", Outcome::NotStarted),
    ] {
        live.result(plan, &result);
    }
    for failure in [Some(hint), None] {
        live.update(PendingUpdate {
            node: "cfg3".to_owned(),
            role: "config".to_owned(),
            supervisor: "supervisor-config".to_owned(),
            added: Vec::new(),
            changed: Vec::new(),
            removed: Vec::new(),
            failure,
        });
    }
    live
}

fn changed() -> SnapshotDiff {
    let full = NodeChange {
        node: "a1".to_owned(),
        role: text("analytics"),
        supervisor: text("supervisor-analytics"),
        service: text("contrail-collector"),
        kind: ChangeKind::State,
        verdict: ChangeVerdict::Worse,
        before: text("active"),
        after: text("FATAL"),
    };
    let empty = NodeChange { role: None, supervisor: None, service: None, before: None, after: None, ..full.clone() };
    SnapshotDiff { changes: vec![full, empty], summary: DiffSummary::default() }
}

/// A journal with a run that goes back to another and has ended, one that has stopped, and one that has not ended.
fn journal(dir: &Path) -> Journal {
    let mut journal = Journal::open(&dir.join("journal.db")).expect("a journal");
    let request = RunRequest {
        run: "20260301-090000-efgh".to_owned(),
        words: vec!["service".to_owned()],
        directory: "/".into(),
        inventory: SavedFile { path: "/inventory.yaml".into(), text: String::new() },
        rollout: None,
        controller: RunController::this(),
        reason: text("CHG-4711"),
        started: at(),
        command: "service".to_owned(),
        action: text("restart"),
        services: vec!["contrail-collector".to_owned()],
        nodes: 1,
        input: None,
        origin: Some(RunOrigin::Retry { run: "20260301-080000-abcd".to_owned() }),
    };
    journal.begin(&request).expect("a run");
    journal.end(&request.run, 0, true, None).expect("its end");
    let stopped = RunRequest { run: "20260301-093000-mnop".to_owned(), ..request.clone() };
    journal.begin(&stopped).expect("a run");
    journal.end(&stopped.run, 5, false, Some(StopCause::FailureLimit)).expect("its end");
    let run = "20260301-100000-ijkl".to_owned();
    journal.begin(&RunRequest { run, reason: None, origin: None, ..request }).expect("a run");
    journal
}

/// A connection to a node, which is idle, and one to a bastion, which is in use.
fn kept_connections() -> [KeptConnection; 2] {
    let idle = KeptConnection {
        node: text("a1"),
        host: "10.0.0.1".to_owned(),
        port: 22,
        user: "root".to_owned(),
        age: Duration::from_secs(60),
        idle: Some(Duration::from_secs(42)),
        keep: Duration::from_secs(600),
        channels: 0,
    };
    [KeptConnection { node: None, idle: None, ..idle.clone() }, idle]
}

#[test]
fn every_field_that_is_printed_has_a_row_and_every_row_is_printed() {
    let mut page = Checker::new();
    let bare = RunHead { action: None, input: None, selection: RunScope::default(), ..head() };
    for events in [Vec::new(), events(head()), events(bare)] {
        page.run(&parsed(&written(JsonSink::new, events.clone())));
        page.lines(&written(JsonlSink::new, events));
    }
    let logs = RunHead { command: "logs".to_owned(), action: text("logs"), ..head() };
    page.run(&parsed(&written(LogJsonSink::new, events(logs))));

    let inventory = fleet();
    for action in [Action::Restart, Action::Exec, Action::Sequence] {
        let plan = planned(&inventory, action);
        for live in [None, Some(live(&plan))] {
            page.plan(&in_a_file(|output| {
                let out = ResultOutput::open(output.out.as_deref()).expect("a file");
                output::dry_run(&plan, live.as_ref(), output, out).expect("written");
            }));
        }
    }

    page.diff(&parsed(&snapshot_diff::json(&changed()).expect("JSON")));
    page.lines(&snapshot_diff::jsonl(&changed()).expect("JSON"));
    let picture = ClusterState {
        ledger: folded(events(head()), |_, _| {}),
        changes: changed(),
        late: Vec::new(),
        mistakes: Vec::new(),
    };
    page.lines(&watch::json_lines(&picture, true, at()));

    let dir = tempfile::tempdir().expect("a folder");
    let journal = journal(dir.path());
    page.runs(&in_a_file(|output| {
        runs::list(&journal, 20, output).expect("a list");
    }));

    let words = ["ctl", "inventory", "show", "a1", "--ssh-config", "none", "-o", "json"];
    let CliCommand::Inventory(InventoryArgs {
        command: Some(InventoryCommand::Show { node, ssh }), output: form, ..
    }) = CliArgs::try_parse_from(words).expect("words").command
    else {
        panic!("another command")
    };
    let kept = kept_connections();
    let listing = ConnectionListing::new(&kept, at());
    page.connections(&serde_json::to_value(OutputDocument::new(&listing)).expect("JSON"));
    page.inventory_list(&parsed(&inventory::list(&inventory, &SelectionArgs::default(), form).expect("a list")));
    page.inventory_show(&parsed(&inventory::show(&inventory, &node, &ssh, form).expect("a node")));
    page.inventory_check(&parsed(&inventory::check(&inventory, form).expect("no fault")));
    page.assert_complete();
}

#[test]
fn the_examples_have_every_field() {
    let mut page = Checker::new();
    let mut count = 0;
    for (heading, text) in sections() {
        for example in examples(text, "json").into_iter().map(parsed) {
            match heading {
                "Run" => page.run(&example),
                "Result of `exec`" | "Result of `logs`" | "Result of a sequence" => page.result(&example, &[]),
                "Evidence" => page.object(&example, &["Evidence"]),
                "Node" => page.node(&example, &[]),
                "Plan" => page.plan(&example),
                "Live plan" => page.live(&example),
                "Snapshot diff" => page.diff(&example),
                "List of runs" => page.runs(&example),
                "List of connections" => page.connections(&example),
                "Inventory" => page.inventory_list(&example),
                "Inventory show" => page.inventory_show(&example),
                "Inventory check" => page.inventory_check(&example),
                other => panic!("the example of {other} is not compared"),
            }
            count += 1;
        }
        for lines in examples(text, "jsonl") {
            page.lines(lines);
            count += 1;
        }
    }
    assert!(count > 10, "{count} examples");
}

#[test]
fn every_word_has_its_place() {
    let page = sections();
    let kinds = |heading: &str| -> Vec<&'static str> {
        table(page[heading], "kind").iter().map(|row| row[0].trim_matches('`')).collect()
    };
    let failures: Vec<&str> = FailureKind::ALL.iter().map(|kind| kind.as_str()).collect();
    assert_eq!(kinds("Failure kinds"), failures);
    let findings: Vec<&str> = FindingKind::ALL.iter().map(|kind| kind.as_str()).collect();
    assert_eq!(kinds("Finding"), findings);
    let has = |heading: &str, word: &str| {
        assert!(page[heading].contains(&format!("`{word}`")), "{heading} of docs/json.md does not have {word}");
    };
    Stage::ALL.iter().for_each(|stage| has("Failure", stage.as_str()));
    ProcessState::ALL.iter().for_each(|state| has("Result", state.as_str()));
    // The fields `via` refer to the key of the inventory.
    let row = INVENTORY_PAGE.lines().find(|line| line.starts_with("| `via` |")).expect("a row for via");
    for via in Via::ALL {
        assert!(row.contains(&format!("`{via}`")), "`via` in docs/inventory.md does not have {via}");
    }
    LogStream::ALL.iter().for_each(|stream| has("Result of `logs`", stream.as_str()));
    for kind in [
        ChangeKind::State,
        ChangeKind::Came,
        ChangeKind::Went,
        ChangeKind::Restarted,
        ChangeKind::Version,
        ChangeKind::Finding,
    ] {
        has("Change", kind.as_str());
    }
    for verdict in [ChangeVerdict::Worse, ChangeVerdict::Better, ChangeVerdict::Different] {
        has("Change", verdict.as_str());
    }
}
