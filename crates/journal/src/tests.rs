//! Tests of the whole module: a journal in a temporary directory, used by one `ctl` and by several.

use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Barrier;
use std::thread;
use std::time::Duration;

use jiff::Timestamp;
use proptest::prelude::*;
use rusqlite::Connection;
use tempfile::TempDir;

use super::{
    Journal, JournalError, RunController, RunOrigin, RunRequest, RunState, SavedFile, StopCause, open, schema,
};
use ctl_event::{
    ActivityPhase, CancelReason, EventKind, Failure, FailureKind, InputDigest, ItemEvent, ItemLabel, ItemState,
    Outcome, ProcessState, RunEvent, RunHead, RunScope, Stage, TargetResult, Via,
};

const RUN: &str = "20261123-002634-muat";

/// A directory for a journal, removed at the end.
struct JournalPlace {
    dir: TempDir,
}

impl JournalPlace {
    fn new() -> Self {
        Self { dir: tempfile::tempdir().expect("a directory") }
    }

    fn path(&self) -> PathBuf {
        self.dir.path().join("state/ctl/journal.db")
    }

    #[track_caller]
    fn open(&self) -> Journal {
        Journal::open(&self.path()).expect("a journal")
    }

    /// A journal with one run.
    #[track_caller]
    fn with_run(&self, controller: RunController) -> Journal {
        let mut journal = self.open();
        journal.begin(&request(RUN, controller)).expect("a new run");
        journal
    }

    /// Changes the tables directly.
    #[track_caller]
    fn tamper(&self, sql: &str) {
        Connection::open(self.path()).and_then(|connection| connection.execute_batch(sql)).expect("a change");
    }
}

fn request(run: &str, controller: RunController) -> RunRequest {
    RunRequest {
        run: run.to_owned(),
        words: vec!["service".into(), "contrail-api".into(), "restart".into(), "--reason=a \"b\"".into()],
        directory: "/home/op".into(),
        inventory: SavedFile { path: "/etc/ctl/inventory.yaml".into(), text: "nodes:\n  a: {}\n".into() },
        rollout: None,
        controller,
        reason: Some("CVE \u{1f4a5}\n".into()),
        started: "2026-11-23T00:26:34.123456789Z".parse().expect("a time"),
        command: "service".into(),
        action: Some("restart".into()),
        services: vec!["contrail-api".into()],
        nodes: 3,
        input: None,
        origin: None,
    }
}

/// A controller on this host that has certainly exited.
fn dead() -> RunController {
    let mut child = Command::new("true").spawn().expect("a process");
    let pid = child.id();
    child.wait().expect("its end");
    RunController { pid, pid_start: Some(1), ..RunController::this() }
}

fn elsewhere() -> RunController {
    RunController { host: "another-host".into(), ..RunController::this() }
}

fn event(seq: u64, kind: EventKind) -> RunEvent {
    let at = Timestamp::from_second(1_800_000_000).expect("a time") + Duration::from_nanos(seq * 1_000_000_007);
    RunEvent { seq, at, elapsed: Duration::from_nanos(seq * 1_000_000_007), kind }
}

fn finished(seq: u64) -> RunEvent {
    event(seq, EventKind::RunFinished { elapsed_ms: 17 })
}

fn node_started(seq: u64, node: &str) -> RunEvent {
    event(seq, EventKind::NodeStarted { batch: 1, node: node.to_owned() })
}

fn full_result() -> TargetResult {
    TargetResult {
        address: Some("10.0.0.1".into()),
        role: Some("control".into()),
        supervisor: Some("supervisor-control".into()),
        service: Some("contrail-control".into()),
        state: Some(ProcessState::Backoff),
        pid: Some(7),
        uptime_s: Some(u64::MAX),
        functional: Some("active".into()),
        message: "\u{1b}[31m\u{0}".into(),
        failure: Some(Failure::new(Stage::Verify, FailureKind::Unstable, "it fell over").with_hint("look at its log")),
        via: Some(Via::Rpc),
        batch: Some(1),
        duration_ms: Some(12),
        ..TargetResult::new("a", Outcome::Failed)
    }
}

#[test]
fn a_record_is_read_back() {
    let place = JournalPlace::new();
    let mut journal = place.open();
    let odd = Path::new(OsStr::from_bytes(b"/tmp/\xff")).to_owned();
    let request = RunRequest {
        rollout: Some(SavedFile { path: odd, text: "steps: []\n".into() }),
        input: Some(InputDigest { bytes: 5, sha256: "5e".into() }),
        origin: Some(RunOrigin::Retry { run: "20261122-120000-aaaa".into() }),
        ..request(RUN, RunController::this())
    };
    journal.begin(&request).expect("a new run");
    let events = [node_started(0, "a"), event(1, EventKind::Result(full_result()))];
    for event in &events {
        journal.append(RUN, event).expect("an event");
    }
    let progress = EventKind::Progress { node: Some("a".into()), phase: ActivityPhase::work("connecting") };
    journal.append(RUN, &event(2, progress)).expect("an event that is not kept");

    let record = place.open().load(RUN).expect("the run");
    assert_eq!(record.request, request);
    assert_eq!(record.events, events);
    assert_eq!((record.state, record.ended, record.exit_code), (RunState::Running, None, None));
    assert_eq!(record.controller(), &request.controller);
    assert!(record.takeovers.is_empty());
}

#[test]
fn a_run_goes_from_running_to_its_end() {
    for (complete, state) in [(true, RunState::Finished), (false, RunState::Interrupted)] {
        let place = JournalPlace::new();
        let mut journal = place.with_run(RunController::this());
        let last = finished(0);
        journal.append(RUN, &last).expect("an event");
        let before = journal.load(RUN).expect("the run");
        assert_eq!((before.state, before.ended), (RunState::Running, Some(last.at)), "how it ended is not said yet");

        journal.end(RUN, 3, complete, None).expect("an end");
        let after = journal.load(RUN).expect("the run");
        assert_eq!((after.state, after.ended, after.exit_code), (state, Some(last.at), Some(3)));

        journal.append(RUN, &last).expect("the same event again");
        let late = journal.append(RUN, &finished(1));
        assert!(matches!(late, Err(JournalError::Ended { .. })), "{late:?}");
        let again = journal.end(RUN, 0, true, None);
        assert!(matches!(again, Err(JournalError::Ended { .. })), "{again:?}");
        assert_eq!(journal.load(RUN).expect("the run"), after);
    }
}

#[test]
fn an_end_without_a_last_event_has_a_time() {
    let place = JournalPlace::new();
    let mut journal = place.with_run(RunController::this());
    journal.end(RUN, 130, false, None).expect("an end");
    assert!(journal.runs(1).expect("a list")[0].ended.is_some());
}

#[test]
fn the_list_has_the_newest_first() {
    let place = JournalPlace::new();
    let mut journal = place.open();
    assert_eq!(journal.runs(10).expect("a list"), []);
    // In insertion order, whatever the clock shows.
    for run in ["20261123-000000-aaaa", "20261123-000000-cccc", "20261122-000000-bbbb"] {
        journal.begin(&request(run, RunController::this())).expect("a new run");
    }
    let list = |limit| -> Vec<String> {
        journal.runs(limit).expect("a list").into_iter().map(|summary| summary.run).collect()
    };
    assert_eq!(list(2), ["20261122-000000-bbbb", "20261123-000000-cccc"]);
    assert_eq!(list(u32::MAX).len(), 3);
    assert_eq!(list(0).len(), 0);
}

#[test]
fn a_list_has_the_words_of_the_contract() {
    let place = JournalPlace::new();
    let undo = Some(RunOrigin::Undo { run: "20261122-120000-aaaa".into() });
    let mut journal = place.open();
    journal.begin(&RunRequest { origin: undo, ..request(RUN, elsewhere()) }).expect("a new run");
    journal.end(RUN, 2, false, Some(StopCause::MaxUnavailable)).expect("an end");
    let mut json = serde_json::to_value(&journal.runs(1).expect("a list")[0]).expect("JSON");
    json["ended"] = "T".into();
    json["user"] = "U".into();
    let wanted = serde_json::json!({
        "run": RUN, "started": "2026-11-23T00:26:34.123456789Z", "ended": "T", "state": "interrupted",
        "stopped_by": "max_unavailable", "command": "service", "action": "restart", "services": ["contrail-api"], "nodes": 3, "user": "U",
        "host": "another-host", "reason": "CVE \u{1f4a5}\n", "exit_code": 2,
        "origin": {"kind": "undo", "run": "20261122-120000-aaaa"},
    });
    assert_eq!(json, wanted);
}

#[test]
fn a_run_name_is_used_once() {
    let place = JournalPlace::new();
    let mut journal = place.with_run(RunController::this());
    let again = journal.begin(&request(RUN, dead()));
    assert!(matches!(again, Err(JournalError::Exists { .. })), "{again:?}");
    assert_eq!(journal.load(RUN).expect("the run").request, request(RUN, RunController::this()));
}

#[test]
fn another_event_of_the_same_number_is_refused() {
    let place = JournalPlace::new();
    let mut journal = place.with_run(RunController::this());
    journal.append(RUN, &node_started(0, "a")).expect("an event");
    let refused = journal.append_all(RUN, &[node_started(1, "b"), node_started(0, "c")]);
    assert!(matches!(refused, Err(JournalError::Conflict { seq: 0, .. })), "{refused:?}");
    assert_eq!(journal.load(RUN).expect("the run").events, [node_started(0, "a")], "all of them or none");
}

#[test]
fn an_unknown_run_takes_no_events() {
    let place = JournalPlace::new();
    let mut journal = place.open();
    for answer in [
        journal.append(RUN, &finished(0)),
        journal.end(RUN, 0, true, None),
        journal.take_over(RUN, &RunController::this()),
    ] {
        assert!(matches!(answer, Err(JournalError::NotFound { .. })), "{answer:?}");
    }
}

#[test]
fn the_state_follows_the_controller() {
    let stranger = |start| RunController { pid_start: Some(start), ..RunController::this() };
    for (controller, state, what) in [
        (RunController::this(), RunState::Running, "alive"),
        (dead(), RunState::Interrupted, "dead"),
        (stranger(1), RunState::Interrupted, "its process id now belongs to another process"),
        (elsewhere(), RunState::Running, "on another host, where nobody here can look"),
    ] {
        let place = JournalPlace::new();
        assert_eq!(place.with_run(controller).load(RUN).expect("the run").state, state, "{what}");
    }
}

#[test]
fn the_last_event_ends_a_run_whose_controller_is_out_of_sight() {
    let place = JournalPlace::new();
    let mut journal = place.with_run(elsewhere());
    journal.append(RUN, &finished(0)).expect("an event");
    assert_eq!(journal.load(RUN).expect("the run").state, RunState::Interrupted);
}

#[test]
fn a_run_without_a_controller_is_taken_over() {
    let place = JournalPlace::new();
    let began = dead();
    let mut journal = place.with_run(began.clone());
    journal.append(RUN, &finished(0)).expect("an event");
    journal.end(RUN, 2, false, None).expect("an end");

    journal.take_over(RUN, &RunController::this()).expect("a run to take over");
    let record = journal.load(RUN).expect("the run");
    assert_eq!((record.state, record.ended, record.exit_code), (RunState::Running, None, None));
    assert_eq!(record.request.controller, began, "who began it is not forgotten");
    assert_eq!(record.controller(), &RunController::this());
    assert_eq!(record.takeovers.len(), 1);

    journal.append(RUN, &finished(1)).expect("an event");
    journal.end(RUN, 0, true, None).expect("an end");
    let finished = journal.take_over(RUN, &RunController::this());
    assert!(matches!(finished, Err(JournalError::Finished { .. })), "{finished:?}");
}

#[test]
fn a_controller_that_was_believed_dead_writes_nothing_more() {
    let place = JournalPlace::new();
    let mut first = place.with_run(dead());
    let mut second = place.open();
    second.take_over(RUN, &RunController::this()).expect("a run to take over");
    for answer in [first.append(RUN, &finished(0)), first.end(RUN, 0, true, None)] {
        assert!(matches!(answer, Err(JournalError::TakenOver { .. })), "{answer:?}");
    }
    second.append(RUN, &finished(0)).expect("an event");
    second.end(RUN, 0, false, None).expect("an end");
    first.take_over(RUN, &RunController::this()).expect("a run to take over");
    first.append(RUN, &finished(1)).expect("an event");
    assert_eq!(first.load(RUN).expect("the run").takeovers.len(), 2);
}

#[test]
fn a_run_with_a_controller_is_not_taken_over() {
    for controller in [RunController::this(), elsewhere()] {
        let place = JournalPlace::new();
        let mut journal = place.with_run(controller.clone());
        let answer = journal.take_over(RUN, &RunController::this());
        let Err(JournalError::StillRunning { run, pid, host }) = answer else { panic!("{answer:?}") };
        assert_eq!((run.as_str(), pid, host), (RUN, controller.pid, controller.host));
        assert!(journal.load(RUN).expect("the run").takeovers.is_empty());
    }
}

#[test]
fn of_two_that_take_over_at_once_one_does() {
    for _ in 0..10 {
        let place = JournalPlace::new();
        drop(place.with_run(dead()));
        let barrier = Barrier::new(2);
        let take_over = || {
            let mut journal = place.open();
            barrier.wait();
            journal.take_over(RUN, &RunController::this())
        };
        let answers = thread::scope(|scope| {
            [scope.spawn(take_over), scope.spawn(take_over)].map(|thread| thread.join().expect("no panic"))
        });
        assert_eq!(answers.iter().filter(|answer| answer.is_ok()).count(), 1, "{answers:?}");
        let refused = answers.iter().any(|answer| matches!(answer, Err(JournalError::StillRunning { .. })));
        assert!(refused, "{answers:?}");
        assert_eq!(place.open().load(RUN).expect("the run").takeovers.len(), 1);
    }
}

#[test]
fn several_make_and_write_one_journal_at_once() {
    const THREADS: u64 = 6;
    const EVENTS: u64 = 25;
    let place = JournalPlace::new();
    let barrier = Barrier::new(THREADS as usize);
    let name = |thread| format!("20261123-00000{thread}-aaaa");
    thread::scope(|scope| {
        for number in 0..THREADS {
            let (place, barrier) = (&place, &barrier);
            scope.spawn(move || {
                barrier.wait();
                let mut journal = place.open();
                journal.begin(&request(&name(number), RunController::this())).expect("a new run");
                for seq in 0..EVENTS {
                    journal.append(&name(number), &node_started(seq, &format!("{number}"))).expect("an event");
                }
            });
        }
    });
    let journal = place.open();
    assert_eq!(journal.runs(100).expect("a list").len() as u64, THREADS);
    for number in 0..THREADS {
        let wanted: Vec<RunEvent> = (0..EVENTS).map(|seq| node_started(seq, &format!("{number}"))).collect();
        assert_eq!(journal.load(&name(number)).expect("the run").events, wanted);
    }
}

#[test]
fn a_run_is_found_by_any_part_of_its_name() {
    let place = JournalPlace::new();
    let mut journal = place.open();
    let empty = journal.load("last").expect_err("an empty journal").to_string();
    assert!(empty.ends_with("journal.db, which is empty"), "{empty}");

    let runs = ["20261123-002634-muat", "20261123-002635-abcd", "20261124-000000-wxyz"];
    for run in runs {
        journal.begin(&request(run, RunController::this())).expect("a new run");
    }
    let found = |id: &str| journal.load(id).map(|record| record.request.run);
    for (id, run) in [
        (runs[0], runs[0]),
        ("20261123-002634", runs[0]),
        ("20261124", runs[2]),
        ("muat", runs[0]),
        ("2635-ab", runs[1]),
        ("last", runs[2]),
    ] {
        assert_eq!(found(id).expect("a run"), run, "{id}");
    }
    for (id, wanted) in [
        ("2026", "`2026` matches run 20261124-000000-wxyz, 20261123-002635-abcd, 20261123-002634-muat: give more"),
        ("-00263", "`-00263` matches run 20261123-002635-abcd, 20261123-002634-muat: give more"),
        ("202", "at least 4 characters of the run ID, or 'last'"),
        ("", "at least 4 characters of the run ID, or 'last'"),
        ("20261123-002634-maut", "did you mean `20261123-002634-muat`?"),
        ("2025", "; the newest is `20261124-000000-wxyz`"),
        ("2026%", "; the newest is `20261124-000000-wxyz`"),
        ("2026*-00", "; the newest is `20261124-000000-wxyz`"),
        (&"x".repeat(100_000), "; the newest is `20261124-000000-wxyz`"),
    ] {
        let error = found(id).expect_err("no run, or several").to_string();
        assert!(error.contains(wanted), "{error}");
    }
}

#[test]
fn of_many_that_could_be_meant_some_are_named() {
    let place = JournalPlace::new();
    let mut journal = place.open();
    for number in 10..22 {
        journal.begin(&request(&format!("2026-{number}"), RunController::this())).expect("a new run");
    }
    let answer = journal.load("2026-");
    let Err(JournalError::Ambiguous { matches, more, .. }) = answer else { panic!("{answer:?}") };
    assert_eq!((matches.len(), matches[0].as_str(), more), (10, "2026-21", true));
}

#[test]
fn only_its_owner_reads_it() {
    let place = JournalPlace::new();
    let _journal = place.with_run(RunController::this());
    let mode = |path: &Path| fs::metadata(path).expect("a file").permissions().mode() & 0o777;
    let file = place.path();
    let dir = file.parent().expect("a directory");
    assert_eq!((mode(dir), mode(&file)), (0o700, 0o600));
    for beside in fs::read_dir(dir).expect("a directory") {
        let path = beside.expect("a file").path();
        assert_eq!(mode(&path), 0o600, "{}", path.display());
    }
}

#[test]
fn it_is_kept_in_wal_mode_with_every_commit_on_disk() {
    let place = JournalPlace::new();
    let connection = open::open(&{
        drop(place.open());
        place.path()
    })
    .expect("a journal");
    let pragma = |name| {
        let value: rusqlite::types::Value =
            connection.pragma_query_value(None, name, |row| row.get(0)).expect("a pragma");
        value
    };
    assert_eq!(pragma("journal_mode"), "wal".to_owned().into());
    assert_eq!(pragma("synchronous"), 3.into());
    assert_eq!(pragma("foreign_keys"), 1.into());
}

#[test]
fn a_journal_of_a_newer_ctl_is_left_alone() {
    let place = JournalPlace::new();
    drop(place.with_run(RunController::this()));
    place.tamper("PRAGMA user_version = 99");
    let error = Journal::open(&place.path()).expect_err("a newer format");
    assert!(matches!(error, JournalError::Newer { found: 99, .. }), "{error:?}");
    assert!(error.to_string().contains("was written by a newer ctl"), "{error}");
    place.tamper(&format!("PRAGMA user_version = {}", schema::VERSION));
    assert!(place.open().load(RUN).is_ok(), "nothing was lost");
}

#[test]
fn a_journal_of_an_older_ctl_is_brought_up_to_date() {
    let place = JournalPlace::new();
    drop(place.with_run(RunController::this()));
    place
        .tamper("ALTER TABLE runs DROP COLUMN input; ALTER TABLE runs DROP COLUMN stopped_by; PRAGMA user_version = 1");
    let mut journal = place.open();
    assert_eq!(journal.load(RUN).expect("its run").request.input, None);
    let input = Some(InputDigest { bytes: 5, sha256: "5e".into() });
    let request = RunRequest { input, ..request("20261124-080000-abcd", RunController::this()) };
    journal.begin(&request).expect("a new run");
    assert_eq!(place.open().load(&request.run).expect("the run").request, request);
}

#[test]
fn a_file_that_is_no_journal_is_left_alone() {
    for content in [&b"no database\n"[..], &[b'x'; 100_000], &[0; 8192]] {
        let place = JournalPlace::new();
        let path = place.dir.path().join("journal.db");
        fs::write(&path, content).expect("a file");
        let error = Journal::open(&path).expect_err("no journal");
        assert!(matches!(error, JournalError::NotAJournal { .. }), "{error:?}");
        assert!(error.to_string().contains(&path.display().to_string()), "{error}");
        assert_eq!(fs::read(&path).expect("the file"), content);
    }
}

#[test]
fn the_database_of_another_program_is_left_alone() {
    for sql in ["CREATE TABLE cookies (a)", "PRAGMA user_version = 1", "PRAGMA application_id = 7"] {
        let place = JournalPlace::new();
        let path = place.dir.path().join("journal.db");
        Connection::open(&path).and_then(|connection| connection.execute_batch(sql)).expect("a database");
        let before = fs::read(&path).expect("the file");
        let error = Journal::open(&path).expect_err("no journal");
        assert!(matches!(error, JournalError::NotAJournal { .. }), "{sql}: {error:?}");
        assert_eq!(fs::read(&path).expect("the file"), before, "{sql}");
    }
}

#[test]
fn a_damaged_journal_is_an_error() {
    let place = JournalPlace::new();
    let mut journal = place.with_run(RunController::this());
    let many: Vec<RunEvent> = (0..2000).map(|seq| node_started(seq, "a")).collect();
    journal.append_all(RUN, &many).expect("events");
    drop(journal);
    let mut bytes = fs::read(place.path()).expect("the file");
    let pages = bytes.len() / 4096;
    for page in bytes.chunks_mut(4096).skip(pages / 2) {
        page.fill(0xa5);
    }
    fs::write(place.path(), bytes).expect("the file");
    let error = Journal::open(&place.path()).and_then(|journal| journal.load(RUN)).expect_err("a damaged file");
    assert!(matches!(error, JournalError::Damaged { .. }), "{error:?}");
    assert!(error.to_string().contains("journal.db is damaged"), "{error}");
}

#[test]
fn where_there_can_be_no_file_the_place_is_named() {
    let place = JournalPlace::new();
    let root = place.dir.path();
    fs::write(root.join("file"), "").expect("a file");
    fs::create_dir(root.join("journal.db")).expect("a directory");
    let below = Journal::open(&root.join("file/ctl/journal.db")).expect_err("no directory");
    assert!(matches!(&below, JournalError::Directory { dir, .. } if *dir == root.join("file/ctl")), "{below:?}");
    let taken = Journal::open(&root.join("journal.db")).expect_err("no file");
    assert!(matches!(&taken, JournalError::NotAFile { path } if *path == root.join("journal.db")), "{taken:?}");
    let device = Journal::open(Path::new("/dev/null")).expect_err("no file");
    assert!(matches!(device, JournalError::NotAFile { .. }), "{device:?}");
    std::os::unix::fs::symlink(root.join("nowhere/x"), root.join("link")).expect("a link");
    let dangling = Journal::open(&root.join("link")).expect_err("no file");
    assert!(dangling.to_string().contains(&root.join("link").display().to_string()), "{dangling}");
}

#[test]
fn a_full_disk_loses_no_recorded_events() {
    let place = JournalPlace::new();
    let mut journal = place.with_run(RunController::this());
    journal.append(RUN, &node_started(0, "a")).expect("an event");
    let pages: i64 = journal.connection().pragma_query_value(None, "page_count", |row| row.get(0)).expect("a number");
    journal.connection().query_one(&format!("PRAGMA max_page_count = {pages}"), [], |_| Ok(())).expect("a limit");
    let error = journal.append(RUN, &node_started(1, &"x".repeat(1 << 20))).expect_err("no room");
    assert!(matches!(error, JournalError::Full { .. }), "{error:?}");
    assert_eq!(place.open().load(RUN).expect("the run").events, [node_started(0, "a")]);
}

#[test]
fn a_value_too_large_to_read_is_not_written() {
    let place = JournalPlace::new();
    let mut journal = place.with_run(RunController::this());
    let error = journal.append(RUN, &node_started(0, &"x".repeat(65 << 20))).expect_err("too large");
    assert!(matches!(error, JournalError::Storage { .. }), "{error:?}");
    assert_eq!(journal.load(RUN).expect("the run").events, []);
}

#[test]
fn an_event_that_cannot_be_read_is_named() {
    for (text, why) in [
        (r#"{"seq":7,"at":"2026-11-23T00:26:34Z","elapsed":{"secs":0,"nanos":0},"kind":{"event":"later"}}"#, "later"),
        (
            r#"{"seq":8,"at":"2026-11-23T00:26:34Z","elapsed":{"secs":0,"nanos":0},"kind":{"event":"run_finished","elapsed_ms":1}}"#,
            "number is 8",
        ),
        ("{", "EOF"),
        ("", "EOF"),
        (&"[".repeat(1_000_000), "expected"),
    ] {
        let place = JournalPlace::new();
        let mut journal = place.with_run(RunController::this());
        place.tamper(&format!("INSERT INTO events (run, seq, event) VALUES (1, 7, '{text}')"));
        let load = journal.load(RUN).expect_err("an unreadable event");
        let append = journal.append(RUN, &finished(7)).expect_err("an unreadable event");
        for error in [load, append] {
            assert!(matches!(error, JournalError::UnreadableEvent { seq: 7, .. }), "{error:?}");
            let said = error.to_string();
            assert!(said.contains(&format!("number 7 of run `{RUN}`")) && said.contains(why), "{said}");
        }
    }
}

#[test]
fn a_run_that_makes_no_sense_is_named() {
    for sql in [
        "UPDATE runs SET started = 'yesterday'",
        "UPDATE runs SET words = '{'",
        "UPDATE runs SET origin = '{}'",
        "UPDATE runs SET exit_code = 256",
        "UPDATE runs SET nodes = -1",
        "DELETE FROM controllers",
        "DELETE FROM documents",
    ] {
        let place = JournalPlace::new();
        let journal = place.with_run(RunController::this());
        place.tamper(sql);
        let error = journal.load(RUN).expect_err("nonsense");
        assert!(matches!(&error, JournalError::UnreadableRun { run, .. } if run == RUN), "{sql}: {error:?}");
    }
}

/// Any event, apart from its number.
fn kind() -> impl Strategy<Value = EventKind> {
    let node = || "[a-c]|\\PC{0,8}";
    let outcome = prop::sample::select(Outcome::ALL);
    prop_oneof![
        ("\\PC{0,8}", any::<u32>()).prop_map(|(word, nodes)| EventKind::RunStarted(RunHead {
            run: RUN.into(),
            command: word.clone(),
            action: Some(word.clone()),
            services: vec![word],
            started: Timestamp::UNIX_EPOCH,
            nodes,
            selection: RunScope::default(),
            input: None,
        })),
        (any::<u32>(), prop::option::of(node()), prop::collection::vec(node(), 0..4))
            .prop_map(|(batch, role, nodes)| EventKind::BatchStarted { batch, step: 0, role, nodes, rechecks: false }),
        (any::<u32>(), node()).prop_map(|(batch, node)| EventKind::NodeStarted { batch, node }),
        (node(), node())
            .prop_map(|(node, phase)| EventKind::Progress { node: Some(node), phase: ActivityPhase::work(phase) }),
        (outcome, any::<String>()).prop_map(|(outcome, message)| EventKind::Result(TargetResult {
            outcome,
            message,
            ..full_result()
        })),
        (any::<u32>(), node()).prop_map(|(batch, node)| EventKind::NodeFinished { batch, node }),
        (any::<u32>(), node(), prop::sample::select(ItemState::ALL)).prop_map(|(batch, item, state)| {
            let (node, label) = (item.clone(), ItemLabel { undo: false, item_number: batch, item, on: None });
            EventKind::Item(ItemEvent { batch, step: 0, node, label, state })
        }),
        Just(EventKind::CancelBegan { reason: CancelReason::HungUp }),
        any::<u64>().prop_map(|elapsed_ms| EventKind::RunFinished { elapsed_ms }),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn any_events_with_repeats_are_read_back(
        kinds in prop::collection::vec(kind(), 1..24),
        order in prop::collection::vec((any::<prop::sample::Index>(), 1..4_usize), 0..12),
    ) {
        let events: Vec<RunEvent> = (0..).zip(kinds).map(|(seq, kind)| event(seq, kind)).collect();
        let place = JournalPlace::new();
        let mut journal = place.with_run(RunController::this());
        for (start, length) in order {
            let start = start.index(events.len());
            let some = &events[start..events.len().min(start + length)];
            journal.append_all(RUN, some).expect("events");
        }
        journal.append_all(RUN, &events).expect("events");
        let kept: Vec<RunEvent> =
            events.into_iter().filter(|event| !matches!(event.kind, EventKind::Progress { .. })).collect();
        prop_assert_eq!(journal.load(RUN).expect("the run").events, kept);
    }
}

#[test]
fn a_journal_that_is_only_read_is_neither_made_nor_changed() {
    let place = JournalPlace::new();
    assert!(matches!(Journal::open_read_only(&place.path()), Err(JournalError::File { .. })));
    assert!(!place.path().exists());
    let mut writer = place.with_run(elsewhere());
    // Beside a writer that holds the lock.
    place.tamper("BEGIN IMMEDIATE");
    let mut reader = Journal::open_read_only(&place.path()).expect("a journal");
    assert_eq!(reader.runs(10).expect("its runs").len(), 1);
    assert!(reader.begin(&request("another", elsewhere())).is_err());
    writer.begin(&request("another", elsewhere())).expect("a second run");
    drop((reader, writer));
    place.tamper("PRAGMA user_version = 1");
    assert!(matches!(Journal::open_read_only(&place.path()), Err(JournalError::NotAJournal { .. })));
    fs::set_permissions(place.path(), fs::Permissions::from_mode(0o666)).expect("chmod");
    assert!(matches!(Journal::open_read_only(&place.path()), Err(JournalError::OfOthers { .. })));
}
