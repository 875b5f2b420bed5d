//! One connection to the journal: what is noted, what is taken over, what is read.

use std::collections::HashMap;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use jiff::Timestamp;
use rusqlite::types::{ToSqlOutput, ValueRef};
use rusqlite::{Connection, OptionalExtension, Transaction, TransactionBehavior, named_params, params};

use super::controller::{self, RunController};
use super::lookup::{not_found, resolve};
use super::record::{RunRecord, RunRequest, RunState, RunSummary, SavedFile};
use super::rows::{SELECT_RUNS, at, find, integer, json, noted, read_events, record, stored, unreadable};
use super::{JournalError, schema};
use crate::event::{EventKind, RunEvent};

/// The record of everything that changed a node: one connection to it, for one thread.
///
/// Every method waits up to 10 s for other processes that write, and blocks meanwhile. Any of them may fail with
/// [`JournalError::Busy`], [`JournalError::Full`], [`JournalError::Damaged`] or [`JournalError::Storage`]; what
/// failed has changed nothing.
#[derive(Debug)]
pub struct Journal {
    connection: Connection,
    path: PathBuf,
    /// Name of this host.
    host: String,
    /// Runs that were begun or taken over through this connection, with the number that their controller had then.
    held: HashMap<String, i64>,
}

impl Journal {
    /// Opens the journal; makes it if it is not there (its directory for its owner only, and so the file), and brings
    /// the tables of an older `ctl` up to date.
    ///
    /// # Errors
    /// [`JournalError::Directory`], [`JournalError::File`] or [`JournalError::NotAFile`] if there can be no file;
    /// [`JournalError::NotAJournal`] or [`JournalError::Newer`] for one that is left as it is;
    /// [`JournalError::ReadOnly`].
    pub fn open(path: &Path) -> Result<Self, JournalError> {
        // Errors then name the whole path, and SQLite never takes a `file:` at its start for an address.
        let path = std::path::absolute(path).map_err(|source| JournalError::File { path: path.to_owned(), source })?;
        Ok(Self { connection: schema::open(&path)?, path, host: controller::host(), held: HashMap::new() })
    }

    /// Notes a run, before anything of it happens. `Ok` proves that the journal can be written.
    ///
    /// # Errors
    /// [`JournalError::Exists`] if there is a run of that name.
    pub fn begin(&mut self, request: &RunRequest) -> Result<(), JournalError> {
        let storage = at(&self.path);
        let transaction = write(&mut self.connection).map_err(&storage)?;
        let Some(number) = insert_run(&transaction, request).map_err(&storage)? else {
            return Err(JournalError::Exists { run: request.run.clone() });
        };
        let note = || {
            insert_document(&transaction, number, "inventory", &request.inventory)?;
            if let Some(rollout) = &request.rollout {
                insert_document(&transaction, number, "rollout", rollout)?;
            }
            insert_controller(&transaction, number, request.started, &request.controller)
        };
        let controller = note().map_err(&storage)?;
        transaction.commit().map_err(&storage)?;
        self.held.insert(request.run.clone(), controller);
        Ok(())
    }

    /// Notes one event of a run; it is on disk when this returns. [`EventKind::Progress`] is not kept.
    /// [`EventKind::RunFinished`] also gives the time of the run's end; what that end was, [`Journal::end`] says.
    ///
    /// # Errors
    /// [`JournalError::NotFound`] if there is no run of that name; [`JournalError::Conflict`] if another event has its
    /// number; [`JournalError::Ended`] for a new event after [`Journal::end`]; [`JournalError::TakenOver`] if the run
    /// was begun or taken over through this journal, and somebody else has taken it over since.
    pub fn append(&mut self, run: &str, event: &RunEvent) -> Result<(), JournalError> {
        self.append_all(run, std::slice::from_ref(event))
    }

    /// As [`Journal::append`], for several: all of them are noted, or none.
    ///
    /// # Errors
    /// As [`Journal::append`].
    pub fn append_all(&mut self, run: &str, events: &[RunEvent]) -> Result<(), JournalError> {
        let mut kept = events.iter().filter(|event| !matches!(event.kind, EventKind::Progress { .. })).peekable();
        if kept.peek().is_none() {
            return Ok(());
        }
        let storage = at(&self.path);
        let transaction = write(&mut self.connection).map_err(&storage)?;
        let (number, ended) = open_run(&transaction, &self.path, run, &self.held)?;
        for event in kept {
            if insert_event(&transaction, number, event).map_err(&storage)? {
                if ended {
                    return Err(JournalError::Ended { run: run.to_owned() });
                }
            } else if stored(&transaction, &self.path, run, number, event.seq)?.as_ref() != Some(event) {
                return Err(JournalError::Conflict { run: run.to_owned(), seq: event.seq });
            }
        }
        transaction.commit().map_err(&storage)
    }

    /// Notes how a run ended: its exit code, and whether everything it was to do was done (`complete`).
    ///
    /// # Errors
    /// [`JournalError::NotFound`] if there is no run of that name; [`JournalError::Ended`] if its end is noted already;
    /// [`JournalError::TakenOver`] as for [`Journal::append`].
    pub fn end(&mut self, run: &str, exit_code: u8, complete: bool) -> Result<(), JournalError> {
        let storage = at(&self.path);
        let transaction = write(&mut self.connection).map_err(&storage)?;
        let (number, ended) = open_run(&transaction, &self.path, run, &self.held)?;
        if ended {
            return Err(JournalError::Ended { run: run.to_owned() });
        }
        transaction
            .execute(
                "UPDATE runs SET ended = coalesce(ended, ?2), exit_code = ?3, complete = ?4 WHERE number = ?1",
                params![number, Timestamp::now().to_string(), exit_code, complete],
            )
            .map_err(&storage)?;
        transaction.commit().map_err(&storage)
    }

    /// Makes `controller` the controller of a run that ended early, or whose controller is gone, and opens the run
    /// again: its end is forgotten, and events may follow. Of several that try at once, one gets it.
    ///
    /// A run of another host can be taken over from here only if it ended: nobody here can tell a controller there
    /// that is gone from one that is slow, and two controllers of one run are worse than a walk to that host.
    ///
    /// # Errors
    /// [`JournalError::NotFound`] if there is no run of that name; [`JournalError::StillRunning`];
    /// [`JournalError::Finished`].
    pub fn take_over(&mut self, run: &str, controller: &RunController) -> Result<(), JournalError> {
        let storage = at(&self.path);
        let transaction = write(&mut self.connection).map_err(&storage)?;
        let Some(noted) = find(&transaction, &self.path, &self.host, run)? else {
            return Err(not_found(&transaction, &self.path, run));
        };
        let run = run.to_owned();
        match noted.summary.state {
            RunState::Finished => return Err(JournalError::Finished { run }),
            RunState::Running => {
                let RunController { pid, host, .. } = noted.controller;
                return Err(JournalError::StillRunning { run, pid, host });
            }
            RunState::Interrupted => {}
        }
        let note = || {
            let reopen = "UPDATE runs SET ended = NULL, exit_code = NULL, complete = NULL WHERE number = ?1";
            transaction.execute(reopen, [noted.number])?;
            insert_controller(&transaction, noted.number, Timestamp::now(), controller)
        };
        let controller = note().map_err(&storage)?;
        transaction.commit().map_err(&storage)?;
        self.held.insert(run, controller);
        Ok(())
    }

    /// The newest runs, newest first: those that were noted last.
    ///
    /// # Errors
    /// [`JournalError::UnreadableRun`].
    pub fn runs(&self, limit: u32) -> Result<Vec<RunSummary>, JournalError> {
        let storage = at(&self.path);
        let mut statement =
            self.connection.prepare(&format!("{SELECT_RUNS} ORDER BY r.number DESC LIMIT ?1")).map_err(&storage)?;
        let mut rows = statement.query([limit]).map_err(&storage)?;
        let mut runs = Vec::new();
        while let Some(row) = rows.next().map_err(&storage)? {
            runs.push(noted(row, &self.path, &self.host)?.summary);
        }
        Ok(runs)
    }

    /// One run, by its name, by the beginning of its name (4 characters or more, if no other begins so), or by `last`
    /// for the newest.
    ///
    /// # Errors
    /// [`JournalError::NotFound`], [`JournalError::Ambiguous`] or [`JournalError::TooShort`] if that names no run, or
    /// several; [`JournalError::UnreadableRun`], [`JournalError::UnreadableEvent`] or [`JournalError::TooLarge`] if it
    /// cannot be read.
    pub fn load(&self, id: &str) -> Result<RunRecord, JournalError> {
        // One transaction, so that nobody writes between the questions.
        let snapshot = self.connection.unchecked_transaction().map_err(at(&self.path))?;
        let run = resolve(&snapshot, &self.path, id)?;
        let Some(noted) = find(&snapshot, &self.path, &self.host, &run)? else {
            return Err(not_found(&snapshot, &self.path, &run));
        };
        let events = read_events(&snapshot, &self.path, &run, noted.number)?;
        record(&snapshot, noted, events).map_err(unreadable(&self.path, &run))
    }
}

#[cfg(test)]
impl Journal {
    /// What tests put limits on.
    pub(super) fn connection(&self) -> &Connection {
        &self.connection
    }
}

/// A transaction that has the write lock from its start.
fn write(connection: &mut Connection) -> rusqlite::Result<Transaction<'_>> {
    connection.transaction_with_behavior(TransactionBehavior::Immediate)
}

/// Number in this file of a run that is to be written, and whether its end is noted.
fn open_run(
    connection: &Connection,
    path: &Path,
    run: &str,
    held: &HashMap<String, i64>,
) -> Result<(i64, bool), JournalError> {
    let found: Option<(i64, bool, Option<i64>)> = connection
        .query_one(
            "SELECT number, complete IS NOT NULL, (SELECT max(number) FROM controllers WHERE run = runs.number)
             FROM runs WHERE run = ?1",
            [run],
            |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)),
        )
        .optional()
        .map_err(at(path))?;
    let (number, ended, controller) = found.ok_or_else(|| not_found(connection, path, run))?;
    if held.get(run).is_some_and(|ours| controller != Some(*ours)) {
        return Err(JournalError::TakenOver { run: run.to_owned() });
    }
    Ok((number, ended))
}

/// Gives the run its number; none if the name is taken.
fn insert_run(connection: &Connection, request: &RunRequest) -> rusqlite::Result<Option<i64>> {
    let inserted = connection.execute(
        "INSERT INTO runs (run, words, directory, command, action, services, nodes, reason, input, origin, started)
         VALUES (:run, :words, :directory, :command, :action, :services, :nodes, :reason, :input, :origin, :started)
         ON CONFLICT (run) DO NOTHING",
        named_params! {
            ":run": request.run,
            ":words": json(&request.words)?,
            ":directory": json(&request.directory)?,
            ":command": request.command,
            ":action": request.action,
            ":services": json(&request.services)?,
            ":nodes": request.nodes,
            ":reason": request.reason,
            ":input": request.input.as_ref().map(json).transpose()?,
            ":origin": request.origin.as_ref().map(json).transpose()?,
            ":started": request.started.to_string(),
        },
    )?;
    Ok((inserted == 1).then(|| connection.last_insert_rowid()))
}

fn insert_document(connection: &Connection, run: i64, kind: &str, document: &SavedFile) -> rusqlite::Result<()> {
    let bytes = document.path.as_os_str().as_bytes();
    let path = document.path.to_str().map_or(ValueRef::Blob(bytes), |text| ValueRef::Text(text.as_bytes()));
    connection
        .execute(
            "INSERT INTO documents (run, kind, path, text) VALUES (?1, ?2, ?3, ?4)",
            params![run, kind, ToSqlOutput::Borrowed(path), document.text],
        )
        .map(drop)
}

/// Notes who works at the run from now on; gives the number of that controller. Number 0 began it.
fn insert_controller(
    connection: &Connection,
    run: i64,
    since: Timestamp,
    controller: &RunController,
) -> rusqlite::Result<i64> {
    connection.query_one(
        "INSERT INTO controllers (run, number, since, user, host, pid, pid_start)
         SELECT :run, count(*), :since, :user, :host, :pid, :pid_start FROM controllers WHERE run = :run
         RETURNING number",
        named_params! {
            ":run": run,
            ":since": since.to_string(),
            ":user": controller.user,
            ":host": controller.host,
            ":pid": controller.pid,
            ":pid_start": controller.pid_start.map(integer).transpose()?,
        },
        |row| row.get(0),
    )
}

/// Whether the event is new: its number was free.
fn insert_event(connection: &Connection, run: i64, event: &RunEvent) -> rusqlite::Result<bool> {
    let inserted = connection.execute(
        "INSERT INTO events (run, seq, event) VALUES (?1, ?2, ?3) ON CONFLICT (run, seq) DO NOTHING",
        params![run, integer(event.seq)?, json(event)?],
    )?;
    if inserted == 1 && matches!(event.kind, EventKind::RunFinished { .. }) {
        connection.execute("UPDATE runs SET ended = ?2 WHERE number = ?1", params![run, event.at.to_string()])?;
    }
    Ok(inserted == 1)
}
