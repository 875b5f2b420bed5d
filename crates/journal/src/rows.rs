//! Converts table rows to values, or to errors that name the run.

use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;
use std::path::{Path, PathBuf};

use jiff::Timestamp;
use rusqlite::types::{FromSqlError, Type};
use rusqlite::{Connection, OptionalExtension, Row, params};
use serde::Serialize;
use serde::de::{DeserializeOwned, Error as _};

use super::JournalError;
use super::controller::{ControllerLife, RunController};
use super::record::{RunRecord, RunRequest, RunState, RunSummary, RunTakeover, SavedFile, StopCause};
use ctl_event::{InputDigest, RunEvent};

/// Maximum bytes of events to read for one run, enough for a million results.
const EVENT_BYTES: i64 = 1 << 30;

/// The runs, each with its latest controller.
pub(super) const SELECT_RUNS: &str = "
SELECT r.number, r.run, r.words, r.directory, r.command, r.action, r.services, r.nodes, r.reason, r.input, r.origin, r.started, r.ended,
       r.exit_code, r.complete, r.stopped_by, c.number AS controller, c.since, c.user, c.host, c.pid, c.pid_start
FROM runs r LEFT JOIN controllers c
     ON c.run = r.number AND c.number = (SELECT max(number) FROM controllers WHERE run = r.number)";

/// A row of [`SELECT_RUNS`].
pub(super) struct RunRow {
    /// The number of the run in this file.
    pub(super) number: i64,
    pub(super) summary: RunSummary,
    words: Vec<String>,
    directory: PathBuf,
    input: Option<InputDigest>,
    /// The latest controller.
    pub(super) controller: RunController,
}

/// Converts an SQLite error to one that names the file.
pub(super) fn at(path: &Path) -> impl Fn(rusqlite::Error) -> JournalError {
    |error| JournalError::storage(path, error)
}

/// As [`at`], for a read of one run: an invalid value is an error of the run, not of the file.
pub(super) fn unreadable(path: &Path, run: &str) -> impl Fn(rusqlite::Error) -> JournalError {
    |source| match source.sqlite_error_code() {
        Some(_) => JournalError::storage(path, source),
        None => JournalError::UnreadableRun { path: path.to_owned(), run: run.to_owned(), source },
    }
}

/// The run with exactly this name.
pub(super) fn find(
    connection: &Connection,
    path: &Path,
    host: &str,
    run: &str,
) -> Result<Option<RunRow>, JournalError> {
    let mut statement = connection.prepare(&format!("{SELECT_RUNS} WHERE r.run = ?1")).map_err(at(path))?;
    let mut rows = statement.query([run]).map_err(at(path))?;
    rows.next().map_err(at(path))?.map(|row| noted(row, path, host)).transpose()
}

/// A run from a row of [`SELECT_RUNS`].
pub(super) fn noted(row: &Row<'_>, path: &Path, host: &str) -> Result<RunRow, JournalError> {
    let run: String = row.get("run").map_err(at(path))?;
    let read = || {
        let controller = read_controller(row)?;
        let ended = optional_time(row, "ended")?;
        let complete: Option<bool> = row.get("complete")?;
        let state = state(complete, ended.is_some(), &controller, host);
        // Without an outcome it has not ended itself.
        let is_gone = state == RunState::Interrupted && complete.is_none();
        let summary = RunSummary {
            run: run.clone(),
            started: time(row, "started")?,
            ended,
            state,
            stopped_by: if is_gone { Some(StopCause::ControllerGone) } else { optional_json(row, "stopped_by")? },
            command: row.get("command")?,
            action: row.get("action")?,
            services: from_json(row, "services")?,
            nodes: row.get("nodes")?,
            user: controller.user.clone(),
            host: controller.host.clone(),
            reason: row.get("reason")?,
            exit_code: row.get("exit_code")?,
            origin: optional_json(row, "origin")?,
        };
        let (words, directory) = (from_json(row, "words")?, from_json(row, "directory")?);
        let input = optional_json(row, "input")?;
        Ok(RunRow { number: row.get("number")?, summary, words, directory, input, controller })
    };
    read().map_err(unreadable(path, &run))
}

/// The state of a run, as seen from the host named `here`. The time of its end alone is not enough: until the outcome
/// is recorded, its controller is about to record it, or has died.
fn state(complete: Option<bool>, ended: bool, controller: &RunController, here: &str) -> RunState {
    match complete {
        Some(true) => RunState::Finished,
        // It ended on its own, with work left.
        Some(false) => RunState::Interrupted,
        None => match controller.life(here) {
            ControllerLife::Lives => RunState::Running,
            // In doubt it is still running: a second controller is worse than a wait.
            ControllerLife::Unknown if !ended => RunState::Running,
            ControllerLife::Unknown | ControllerLife::Gone => RunState::Interrupted,
        },
    }
}

/// The record of a run, with the given events.
pub(super) fn record(connection: &Connection, noted: RunRow, events: Vec<RunEvent>) -> rusqlite::Result<RunRecord> {
    let RunRow { number, summary, words, directory, input, controller: _ } = noted;
    let inventory = read_document(connection, number, "inventory")?.ok_or(rusqlite::Error::QueryReturnedNoRows)?;
    let rollout = read_document(connection, number, "rollout")?;
    let mut controllers = connection.prepare("SELECT * FROM controllers WHERE run = ?1 ORDER BY number")?;
    let mut controllers = controllers
        .query_map([number], |row| Ok(RunTakeover { at: time(row, "since")?, controller: read_controller(row)? }))?;
    let began = controllers.next().ok_or(rusqlite::Error::QueryReturnedNoRows)??;
    let request = RunRequest {
        run: summary.run,
        words,
        directory,
        inventory,
        rollout,
        controller: began.controller,
        reason: summary.reason,
        started: summary.started,
        command: summary.command,
        action: summary.action,
        services: summary.services,
        nodes: summary.nodes,
        input,
        origin: summary.origin,
    };
    Ok(RunRecord {
        request,
        state: summary.state,
        stopped_by: summary.stopped_by,
        ended: summary.ended,
        exit_code: summary.exit_code,
        takeovers: controllers.collect::<Result<_, _>>()?,
        events,
    })
}

/// The event with this number.
pub(super) fn stored(
    connection: &Connection,
    path: &Path,
    run: &str,
    number: i64,
    seq: u64,
) -> Result<Option<RunEvent>, JournalError> {
    let seq = integer(seq).map_err(at(path))?;
    let mut statement =
        connection.prepare("SELECT seq, event FROM events WHERE run = ?1 AND seq = ?2").map_err(at(path))?;
    let mut rows = statement.query([number, seq]).map_err(at(path))?;
    rows.next().map_err(at(path))?.map(|row| read_event(row, path, run)).transpose()
}

/// The events of a run, in order.
pub(super) fn read_events(
    connection: &Connection,
    path: &Path,
    run: &str,
    number: i64,
) -> Result<Vec<RunEvent>, JournalError> {
    let storage = at(path);
    let size = "SELECT coalesce(sum(octet_length(event)), 0) FROM events WHERE run = ?1";
    let bytes: i64 = connection.query_one(size, [number], |row| row.get(0)).map_err(&storage)?;
    // Check before reading: the rows may not fit in memory.
    if bytes > EVENT_BYTES {
        return Err(JournalError::TooLarge { path: path.to_owned(), run: run.to_owned(), bytes });
    }
    let mut statement =
        connection.prepare("SELECT seq, event FROM events WHERE run = ?1 ORDER BY seq").map_err(&storage)?;
    let mut rows = statement.query([number]).map_err(&storage)?;
    let mut events = Vec::new();
    while let Some(row) = rows.next().map_err(&storage)? {
        events.push(read_event(row, path, run)?);
    }
    Ok(events)
}

/// An event from a row with its number and its text.
fn read_event(row: &Row<'_>, path: &Path, run: &str) -> Result<RunEvent, JournalError> {
    let seq: i64 = row.get(0).map_err(at(path))?;
    let bytes = row.get_ref(1).and_then(|value| Ok(value.as_bytes()?)).map_err(unreadable(path, run))?;
    serde_json::from_slice::<RunEvent>(bytes)
        .and_then(|event| match i64::try_from(event.seq) {
            Ok(own) if own == seq => Ok(event),
            Ok(_) | Err(_) => Err(serde_json::Error::custom(format!("its own number is {}", event.seq))),
        })
        .map_err(|source| JournalError::UnreadableEvent { path: path.to_owned(), run: run.to_owned(), seq, source })
}

fn read_document(connection: &Connection, run: i64, kind: &str) -> rusqlite::Result<Option<SavedFile>> {
    let read = |row: &Row<'_>| {
        let path = row.get_ref(0)?.as_bytes()?.to_vec();
        Ok(SavedFile { path: PathBuf::from(OsString::from_vec(path)), text: row.get(1)? })
    };
    connection
        .query_one("SELECT path, text FROM documents WHERE run = ?1 AND kind = ?2", params![run, kind], read)
        .optional()
}

fn read_controller(row: &Row<'_>) -> rusqlite::Result<RunController> {
    let pid_start: Option<i64> = row.get("pid_start")?;
    Ok(RunController {
        user: row.get("user")?,
        host: row.get("host")?,
        pid: row.get("pid")?,
        pid_start: pid_start.map(i64::cast_unsigned),
    })
}

fn time(row: &Row<'_>, column: &str) -> rusqlite::Result<Timestamp> {
    optional_time(row, column)?.ok_or_else(|| invalid(row, column, FromSqlError::InvalidType))
}

fn optional_time(row: &Row<'_>, column: &str) -> rusqlite::Result<Option<Timestamp>> {
    let text: Option<String> = row.get(column)?;
    text.map(|text| text.parse().map_err(|error: jiff::Error| invalid(row, column, error))).transpose()
}

/// JSON, for values without a column of their own.
pub(super) fn json<T: Serialize>(value: &T) -> rusqlite::Result<String> {
    serde_json::to_string(value).map_err(|error| rusqlite::Error::ToSqlConversionFailure(Box::new(error)))
}

fn from_json<T: DeserializeOwned>(row: &Row<'_>, column: &str) -> rusqlite::Result<T> {
    serde_json::from_slice(row.get_ref(column)?.as_bytes()?).map_err(|error| invalid(row, column, error))
}

fn optional_json<T: DeserializeOwned>(row: &Row<'_>, column: &str) -> rusqlite::Result<Option<T>> {
    row.get::<_, Option<String>>(column)?.map(|_| from_json(row, column)).transpose()
}

/// SQLite integers are signed.
pub(super) fn integer(number: u64) -> rusqlite::Result<i64> {
    i64::try_from(number).map_err(|error| rusqlite::Error::ToSqlConversionFailure(Box::new(error)))
}

fn invalid(row: &Row<'_>, column: &str, error: impl std::error::Error + Send + Sync + 'static) -> rusqlite::Error {
    let index = row.as_ref().column_index(column).unwrap_or_default();
    rusqlite::Error::FromSqlConversionFailure(index, Type::Text, Box::new(error))
}
